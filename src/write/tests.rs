use std::collections::BTreeMap;

use async_trait::async_trait;
use rowfall_dialects::contract::{
    ColumnDefault, Ddl, Intent, Layout, LogicalType, Partition, Progress, TableName, TableSchema, ValueType, Values,
};

use super::*;
use crate::batch::Units;
use crate::budget::Budget;
use crate::config::Route;
use crate::decode::{RowDecoder, RowProgram};
use crate::source::position::{Period, Taken, TopicPartition};

fn table() -> Arc<TableSchema> {
    let column = TableColumn {
        name: "n".into(),
        type_text: "Int64".into(),
        value: Ok(ValueType::from(LogicalType::Int64)),
        default: ColumnDefault::None,
    };
    Arc::new(TableSchema::new(TableName { schema: None, name: "numbers".into() }, "", vec![column]))
}

fn writer(session: Arc<dyn Session>, keeper: Option<&str>) -> Writer {
    Writer {
        session,
        pace: Arc::new(Pace::new(Duration::from_secs(1))),
        outages: Arc::default(),
        moves: keeper.map(|pipeline| Moves::new(pipeline.into())),
        left: Mutex::default(),
        under_way: Arc::new(AtomicUsize::new(100)),
    }
}

fn numbers(block: &Block) -> Vec<i64> {
    let Values::Int64(values) = &block.columns[0].values else { panic!("it holds int64") };
    values.clone()
}

/// A database that takes two rows at a time, and fails every other write.
#[derive(Default)]
struct Narrow {
    refused: Mutex<bool>,
    writes: Mutex<Vec<Vec<i64>>>,
    attempts: Mutex<u32>,
}

#[async_trait]
impl Session for Narrow {
    async fn server(&self) -> Result<String, Error> {
        Ok("1".into())
    }

    async fn describe(&self, _: &TableName) -> Result<Option<TableSchema>, Error> {
        Ok(None)
    }

    async fn check(&self, _: Intent<'_>) -> Result<Vec<Error>, Error> {
        Ok(Vec::new())
    }

    async fn execute(&self, _: &Ddl) -> Result<(), Error> {
        Ok(())
    }

    async fn cut(&self, block: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
        let rows: Vec<_> = (0..u32::try_from(block.rows).unwrap()).collect();
        Ok(self.refused.lock().unwrap().then(|| rows.chunks(2).map(<[u32]>::to_vec).collect()))
    }

    async fn write(&self, blocks: &[&Block], _: Option<&Progress>) -> Result<Receipt, Error> {
        let [block] = blocks else { panic!("one at a time") };
        if block.rows > 2 {
            *self.refused.lock().unwrap() = true;
            return Err(Error::new(Advice::Cut, "too many"));
        }
        let mut attempts = self.attempts.lock().unwrap();
        *attempts += 1;
        if attempts.is_multiple_of(2) {
            return Err(Error::new(Advice::Retry, "away"));
        }
        self.writes.lock().unwrap().push(numbers(block));
        Ok(Receipt { rows: block.rows, bytes: 1 })
    }
}

#[tokio::test(flavor = "current_thread")]
async fn pieces_are_written_once_each_whatever_fails_between_them() {
    let layout = Layout::new(table(), [0]);
    let mut columns = layout.empty_columns();
    columns[0].values = Values::Int64((0..7).collect());
    let block = Block::new(Arc::new(layout), columns, 7);
    let session = Arc::new(Narrow::default());
    let writer = writer(Arc::clone(&session) as _, None);
    let receipt = writer.write_block(&block, true).await.expect("written");
    assert_eq!(receipt, Receipt { rows: 7, bytes: 4 });
    assert_eq!(*session.writes.lock().unwrap(), [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]]);
    assert_eq!(*session.attempts.lock().unwrap(), 7, "three failed");
}

/// What becomes of a write.
#[derive(Clone, Copy)]
enum Fault {
    /// It does not arrive.
    Lost,
    /// It is done, and nobody is told.
    AnswerLost,
}

/// A database that keeps rows and progress together.
#[derive(Default)]
struct Ledger {
    rows: Mutex<Vec<i64>>,
    /// Epochs and next offsets.
    places: Mutex<BTreeMap<Partition, (i64, Option<i64>)>>,
    /// What happens to the next writes.
    faults: Mutex<Vec<Fault>>,
}

#[async_trait]
impl Session for Ledger {
    async fn server(&self) -> Result<String, Error> {
        Ok("1".into())
    }

    async fn describe(&self, _: &TableName) -> Result<Option<TableSchema>, Error> {
        Ok(None)
    }

    async fn check(&self, _: Intent<'_>) -> Result<Vec<Error>, Error> {
        Ok(Vec::new())
    }

    async fn execute(&self, _: &Ddl) -> Result<(), Error> {
        Ok(())
    }

    async fn cut(&self, _: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
        panic!("a transaction is not cut")
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        let progress = progress.expect("it is transactional");
        let fault = self.faults.lock().unwrap().pop();
        if let Some(Fault::Lost) = fault {
            return Err(Error::new(Advice::Retry, "away"));
        }
        let mut places = self.places.lock().unwrap();
        let written = blocks.iter().flat_map(|block| numbers(block)).collect::<Vec<_>>();
        let receipt = Receipt { rows: written.len(), bytes: 1 };
        let at = |to: bool| {
            progress.moves.iter().all(|m| places[&m.partition] == (m.epoch, if to { Some(m.to) } else { m.from }))
        };
        if at(false) {
            self.rows.lock().unwrap().extend(written);
            places.extend(progress.moves.iter().map(|m| (m.partition.clone(), (m.epoch, Some(m.to)))));
        } else if !at(true) {
            return Err(Error::new(Advice::Fenced, "moved by another"));
        }
        match fault {
            Some(Fault::AnswerLost) => Err(Error::new(Advice::Retry, "away")),
            _ => Ok(receipt),
        }
    }
}

/// Units of partitions that are in the ledger, in the epoch 1 and at their beginnings.
struct Maker {
    decoder: RowDecoder,
    units: Units,
    owned: Vec<Arc<Owned>>,
}

impl Maker {
    fn new(ledger: &Ledger, partitions: i32) -> Self {
        let route = Route::new("t", TableName { schema: None, name: "numbers".into() });
        let program = Arc::new(RowProgram::compile(&table(), &route, None).expect("it fits"));
        let units = Units::new(Budget::new(1 << 20), usize::MAX);
        let owned = |number| {
            let partition = Partition { topic: "t@id".into(), partition: number };
            ledger.places.lock().unwrap().insert(partition.clone(), (1, None));
            let taken = Some(Taken { partition, epoch: 1, next: None });
            let partition = TopicPartition { topic: "t".into(), partition: number };
            Arc::new(Owned { partition, period: Period(1), taken })
        };
        Self { decoder: RowDecoder::new(program), units, owned: (0..partitions).map(owned).collect() }
    }

    /// A unit of these records: partition, and number, which is the offset, too.
    fn unit(&mut self, records: &[(usize, i64)]) -> Unit {
        let mut open = self.units.open([self.decoder.program()].into_iter());
        for (partition, number) in records {
            let value = format!(r#"{{"n":{number}}}"#);
            let owned = &self.owned[*partition];
            let record = crate::testing::record(owned, *number, &value);
            open.push(&self.units, 0, &mut self.decoder, owned, &record).unwrap_or_else(|_| panic!("{value} fits"));
        }
        open.close(false).next().expect("one")
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_unit_is_written_once_whether_it_or_its_answer_is_lost() {
    let ledger = Arc::new(Ledger::default());
    let mut maker = Maker::new(&ledger, 2);
    let writer = writer(Arc::clone(&ledger) as _, Some("shop"));
    *ledger.faults.lock().unwrap() =
        vec![Fault::AnswerLost, Fault::Lost, Fault::AnswerLost, Fault::AnswerLost, Fault::Lost];
    // Behind 12 is a gap in the second partition.
    let units: [&[(usize, i64)]; 4] = [&[(0, 1), (1, 11), (0, 2), (1, 12)], &[(1, 17), (0, 3)], &[(0, 4)], &[(1, 18)]];
    for records in units {
        let outcome = writer.finish(maker.unit(records)).await;
        let Outcome::Written { rows, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(rows, records.len());
    }
    assert!(ledger.faults.lock().unwrap().is_empty(), "all of them happened");
    assert_eq!(*ledger.rows.lock().unwrap(), [1, 11, 2, 12, 17, 3, 4, 18]);
    let places = ledger.places.lock().unwrap();
    assert_eq!(places.values().copied().collect::<Vec<_>>(), [(1, Some(5)), (1, Some(19))]);
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_behind_a_fenced_unit_is_written_and_all_else_is() {
    let ledger = Arc::new(Ledger::default());
    let mut maker = Maker::new(&ledger, 3);
    let writer = writer(Arc::clone(&ledger) as _, Some("shop"));
    let finish = async |unit| match writer.finish(unit).await {
        Outcome::Written { .. } => "written",
        Outcome::Fenced { .. } => "fenced",
        Outcome::Refused { why, .. } => panic!("{why}"),
    };
    assert_eq!(finish(maker.unit(&[(0, 1), (1, 2), (2, 3)])).await, "written");
    // Another process takes the second.
    ledger.places.lock().unwrap().get_mut(&Partition { topic: "t@id".into(), partition: 1 }).unwrap().0 = 2;
    assert_eq!(finish(maker.unit(&[(2, 4)])).await, "written");
    assert_eq!(finish(maker.unit(&[(0, 5), (1, 6)])).await, "fenced");
    assert_eq!(finish(maker.unit(&[(0, 7)])).await, "fenced", "5 is missing before it");
    assert_eq!(finish(maker.unit(&[(2, 8)])).await, "written");
    assert_eq!(*ledger.rows.lock().unwrap(), [1, 2, 3, 4, 8]);
    // Taken over again, they are read again.
    for (partition, next) in [(0, 2), (1, 3)] {
        let known_as = Partition { topic: "t@id".into(), partition };
        ledger.places.lock().unwrap().get_mut(&known_as).unwrap().0 = 3;
        let index = usize::try_from(partition).unwrap();
        let taken = Some(Taken { partition: known_as, epoch: 3, next: Some(next) });
        let partition = maker.owned[index].partition.clone();
        maker.owned[index] = Arc::new(Owned { partition, period: Period(2), taken });
    }
    assert_eq!(finish(maker.unit(&[(0, 5), (1, 6), (0, 7)])).await, "written");
    assert_eq!(*ledger.rows.lock().unwrap(), [1, 2, 3, 4, 8, 5, 6, 7]);
}
