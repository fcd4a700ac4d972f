//! Rows on their way: the units that are filled and closed together, each of which is written and committed as one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use rowfall_dialects::contract::{Block, Column, Op, Token};
use tokio::sync::oneshot;

use crate::budget::{Budget, Permit};
use crate::decode::{BadRecord, Record, RowDecoder, RowProgram};
use crate::fold::fold;
use crate::source::position::{Offset, Owned, Span};

/// What one worker has read of one topic, or of some of its partitions: blocks for 1..n tables, all cut at the same offsets.
#[derive(Debug)]
pub struct Unit {
    /// One per table that the worker knew, in its order; some may have no rows.
    pub blocks: Vec<Block>,
    /// How the rows of each block came to be.
    programs: Vec<Arc<RowProgram>>,
    /// One per partition that it holds records or gaps of.
    pub spans: Vec<Span>,
    /// Whether its age closed it: a larger one would have been possible.
    pub aged: bool,
    /// With claims: brings the token under which it is written, once its claim is committed. It is not written before,
    /// and not at all when the other end is dropped.
    pub claimed: Option<oneshot::Receiver<Token>>,
    /// Held until the unit's columns are given back or dropped.
    permit: Permit,
    home: Sender<Spare>,
}

impl Unit {
    /// Gives the columns back to the worker that filled them, once their rows are written or given up: memory that is
    /// used again costs no page faults.
    pub fn give_back(self) {
        let columns = self.programs.into_iter().zip(self.blocks).map(|(program, block)| (program, block.columns));
        // A worker that has ended needs no columns.
        let _ = self.home.send(Spare { columns: columns.collect(), permit: self.permit });
    }

    /// Makes rows of one key one, where rows have keys. What was filled is dropped when its copy is made, and the copy's
    /// columns are those that are filled again.
    #[must_use]
    pub fn fold(mut self) -> Self {
        for (block, program) in self.blocks.iter_mut().zip(&self.programs) {
            if let Some(folding) = program.folding {
                *block = fold(block, folding);
            }
        }
        self
    }

    /// Rows of all blocks.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.rows).sum()
    }
}

/// Columns to be filled again; their memory counts against the budget meanwhile.
#[derive(Debug)]
pub struct Spare {
    /// Those of each table, with the program that filled them.
    columns: Vec<(Arc<RowProgram>, Vec<Column>)>,
    permit: Permit,
}

/// Where one worker's units of one topic come from and where their columns return to.
#[derive(Debug)]
pub struct Units {
    budget: Arc<Budget>,
    /// How many partitions a unit holds at most.
    partitions: usize,
    home: Sender<Spare>,
    spares: Receiver<Spare>,
}

impl Units {
    /// Units that count against this budget, of at most so many partitions each.
    #[must_use]
    pub fn new(budget: Arc<Budget>, partitions: usize) -> Self {
        let (home, spares) = std::sync::mpsc::channel();
        Self { budget, partitions, home, spares }
    }

    /// An empty unit, for the tables that are filled by these programs; more follow when its partitions are too many.
    #[must_use]
    pub fn open<'p>(&self, programs: impl Iterator<Item = &'p Arc<RowProgram>>) -> OpenUnits {
        OpenUnits {
            units: vec![self.unit(programs)],
            partitions: self.partitions,
            rows: 0,
            value_bytes: 0,
            spans: Vec::new(),
            last: 0,
            unit: 0,
            opened: Instant::now(),
            home: self.home.clone(),
        }
    }

    /// In columns that were used before where there are any.
    fn unit<'p>(&self, programs: impl Iterator<Item = &'p Arc<RowProgram>>) -> OpenUnit {
        let spare = self.spares.try_recv();
        let Spare { columns, permit } =
            spare.unwrap_or_else(|_| Spare { columns: Vec::new(), permit: self.budget.permit() });
        let parts = columns.into_iter().map(|(program, columns)| Part::new(program, columns)).collect();
        let mut unit = OpenUnit { parts, permit };
        unit.fit(programs);
        unit
    }

    /// Frees the columns that wait to be used again.
    pub fn drop_spares(&self) {
        while self.spares.try_recv().is_ok() {}
    }
}

/// What is being filled, and closed together: one unit, or as many as its partitions need where a unit may not hold them
/// all. Partitions are shared out as they are seen, so that no more units are written than that takes, whichever
/// partitions have records. Rows, bytes and age are those of all: what a worker holds does not grow with its partitions.
#[derive(Debug)]
pub struct OpenUnits {
    /// The first holds the first `partitions` of `spans`, the next the next.
    units: Vec<OpenUnit>,
    partitions: usize,
    rows: usize,
    /// Bytes of the records' values.
    value_bytes: usize,
    /// In the order in which their partitions were seen first.
    spans: Vec<Span>,
    /// Index in `spans` of the partition that was seen last; behind them where it has no row yet.
    last: usize,
    /// Index in `units` of that partition's.
    unit: usize,
    opened: Instant,
    home: Sender<Spare>,
}

/// The rows of one of them.
#[derive(Debug)]
struct OpenUnit {
    /// By the number that the worker gives a table.
    parts: Vec<Part>,
    permit: Permit,
}

/// The rows of one table.
#[derive(Debug)]
struct Part {
    program: Arc<RowProgram>,
    columns: Vec<Column>,
    /// What each row does, where rows have keys.
    ops: Vec<Op>,
    rows: usize,
}

impl Part {
    fn new(program: Arc<RowProgram>, mut columns: Vec<Column>) -> Self {
        for column in &mut columns {
            column.truncate(0);
        }
        Self { program, columns, ops: Vec::new(), rows: 0 }
    }

    fn empty(program: &Arc<RowProgram>) -> Self {
        Self::new(Arc::clone(program), program.layout.empty_columns())
    }
}

impl OpenUnit {
    fn fit<'p>(&mut self, programs: impl Iterator<Item = &'p Arc<RowProgram>>) {
        for (table, program) in programs.enumerate() {
            match self.parts.get_mut(table) {
                Some(part) if Arc::ptr_eq(&part.program, program) => {}
                // Its columns were filled for the table as it was.
                Some(part) => *part = Part::empty(program),
                None => self.parts.push(Part::empty(program)),
            }
        }
    }

    fn account(&mut self) -> usize {
        let bytes = self.parts.iter().flat_map(|part| &part.columns).map(Column::used).sum();
        // Columns that were used before still hold what they held then.
        self.permit.raise(bytes);
        bytes
    }
}

impl OpenUnits {
    /// Makes room for tables that are filled by these programs, in the order of their numbers. To be called before a
    /// row of a new table, and never when one of the programs has rows here and is another now.
    pub fn fit<'p>(&mut self, programs: impl Iterator<Item = &'p Arc<RowProgram>> + Clone) {
        self.units.iter_mut().for_each(|unit| unit.fit(programs.clone()));
    }

    /// Decodes a record into a row of this table. `more`: where these were opened, for one more when that is needed.
    ///
    /// # Errors
    /// When the record is bad; nothing of it is held.
    #[inline]
    pub fn push(
        &mut self,
        more: &Units,
        table: usize,
        decoder: &mut RowDecoder,
        owned: &Arc<Owned>,
        record: &Record<'_>,
    ) -> Result<(), BadRecord> {
        if !self.spans.get(self.last).is_some_and(|span| Arc::ptr_eq(&span.owned, owned)) {
            self.turn_to(more, owned);
        }
        let part = &mut self.units[self.unit].parts[table];
        let op = decoder.decode(record, &mut part.columns, part.rows)?;
        part.ops.extend(op);
        part.rows += 1;
        self.rows += 1;
        self.value_bytes += record.value.map_or(0, <[u8]>::len);
        let offset = Offset(record.offset);
        match self.spans.get_mut(self.last) {
            Some(span) => span.end = offset.next(),
            None => self.spans.push(Span { owned: Arc::clone(owned), start: offset, end: offset.next() }),
        }
        Ok(())
    }

    /// The next row is this partition's.
    fn turn_to(&mut self, more: &Units, owned: &Arc<Owned>) {
        let known = self.spans.iter().position(|span| Arc::ptr_eq(&span.owned, owned));
        self.last = known.unwrap_or(self.spans.len());
        self.unit = self.last / self.partitions;
        if self.unit == self.units.len() {
            let unit = more.unit(self.units[0].parts.iter().map(|part| &part.program));
            self.units.push(unit);
        }
    }

    /// Extends the partition's span over a gap, if it has one here.
    pub fn extend(&mut self, owned: &Arc<Owned>, end: Offset) -> bool {
        match self.spans.iter_mut().find(|span| span.owned == *owned) {
            Some(span) => {
                span.end = end;
                true
            }
            None => false,
        }
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the records' values so far.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// When the first record came.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Tells the budget what they occupy, and answers the bytes of their rows.
    pub fn account(&mut self) -> usize {
        self.units.iter_mut().map(OpenUnit::account).sum()
    }

    /// Closes them. What they occupy is accounted for, also when they were filled faster than anyone asked. One may have no
    /// span: its first record was bad.
    pub fn close(mut self, aged: bool) -> impl Iterator<Item = Unit> {
        self.account();
        let Self { units, partitions, spans, home, .. } = self;
        let mut spans = spans.into_iter();
        units.into_iter().map(move |OpenUnit { parts, permit }| {
            let spans = spans.by_ref().take(partitions).collect();
            let (mut blocks, mut programs) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
            for Part { program, columns, ops, rows } in parts {
                blocks.push(Block { ops, ..Block::new(Arc::clone(&program.layout), columns, rows) });
                programs.push(program);
            }
            Unit { blocks, programs, spans, aged, claimed: None, permit, home: home.clone() }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rowfall_dialects::contract::{TableName, TableSchema, Values};

    use super::*;
    use crate::config::Route;
    use crate::source::position::{Period, TopicPartition};
    use crate::testing::{column, record};

    /// A worker that reads partitions whose records are numbers.
    struct Reader {
        budget: Arc<Budget>,
        units: Units,
        decoder: RowDecoder,
        owned: Vec<Arc<Owned>>,
    }

    impl Reader {
        /// With so many partitions in a unit at most.
        fn new(partitions: usize) -> Self {
            let name = TableName { schema: None, name: "numbers".into() };
            let table = Arc::new(TableSchema::new(name.clone(), "", vec![column("n int64")]));
            let program = Arc::new(RowProgram::compile(&table, &Route::new("t", name), None).expect("it fits"));
            let owned = |partition| {
                let partition = TopicPartition { topic: "t".into(), partition };
                Arc::new(Owned { partition, period: Period(1), taken: None })
            };
            let budget = Budget::new(1);
            Self {
                units: Units::new(Arc::clone(&budget), partitions),
                budget,
                decoder: RowDecoder::new(program),
                owned: (0..9).map(owned).collect(),
            }
        }

        fn open(&self) -> OpenUnits {
            self.units.open([self.decoder.program()].into_iter())
        }

        /// Whether it fits.
        fn push(&mut self, open: &mut OpenUnits, partition: usize, offset: usize, number: &str) -> bool {
            let value = format!(r#"{{"n":{number}}}"#);
            let owned = &self.owned[partition];
            let record = record(owned, i64::try_from(offset).expect("small"), &value);
            open.push(&self.units, 0, &mut self.decoder, owned, &record).is_ok()
        }
    }

    /// The partitions of a unit, each with where its span begins and ends, and its rows.
    fn held(unit: &Unit) -> (Vec<(usize, i64, i64)>, Vec<usize>) {
        let span = |span: &Span| {
            let partition = usize::try_from(span.owned.partition.partition).expect("a number");
            (partition, span.start.0, span.end.0)
        };
        let Values::Int64(numbers) = &unit.blocks[0].columns[0].values else { panic!("it holds int64") };
        assert_eq!(unit.blocks[0].rows, numbers.len());
        let numbers = numbers.iter().map(|number| usize::try_from(*number).expect("a number"));
        (unit.spans.iter().map(span).collect(), numbers.collect())
    }

    #[test]
    fn partitions_that_take_turns_are_as_few_units_as_hold_them() {
        let mut reader = Reader::new(2);
        let mut open = reader.open();
        for (number, partition) in [3, 0, 7, 3, 0, 7, 1, 2, 3].into_iter().enumerate() {
            assert!(reader.push(&mut open, partition, number, &number.to_string()));
        }
        let units: Vec<_> = open.close(false).map(|unit| held(&unit)).collect();
        let first = (vec![(3, 0, 9), (0, 1, 5)], vec![0, 1, 3, 4, 8]);
        let second = (vec![(7, 2, 6), (1, 6, 7)], vec![2, 5, 6]);
        assert_eq!(units, [first, second, (vec![(2, 7, 8)], vec![7])]);
    }

    #[test]
    fn a_bad_record_is_in_no_unit() {
        let mut reader = Reader::new(1);
        let mut open = reader.open();
        assert!(reader.push(&mut open, 0, 0, "1"));
        assert!(!reader.push(&mut open, 1, 0, "true"));
        assert!(reader.push(&mut open, 0, 1, "2"));
        assert!(!reader.push(&mut open, 2, 0, "true"));
        assert_eq!(open.rows(), 2);
        let units: Vec<_> = open.close(false).map(|unit| held(&unit)).collect();
        assert_eq!(units, [(vec![(0, 0, 2)], vec![1, 2]), (vec![], vec![])]);
    }

    #[test]
    fn all_units_count_against_the_budget_until_the_last_is_done() {
        let mut reader = Reader::new(1);
        let mut open = reader.open();
        for partition in 0..3 {
            assert!(reader.push(&mut open, partition, 0, "1"));
        }
        let units: Vec<_> = open.close(false).collect();
        for unit in units {
            assert!(!reader.budget.has_room());
            drop(unit);
        }
        assert!(reader.budget.has_room());
    }

    proptest! {
        /// However partitions take turns, and however few a unit holds.
        #[test]
        fn each_record_is_in_the_unit_that_has_its_partition(
            turns in proptest::collection::vec(0..9_usize, 1..60), most in 1..5_usize,
        ) {
            let (mut reader, mut unbound) = (Reader::new(most), Reader::new(usize::MAX));
            let (mut open, mut one) = (reader.open(), unbound.open());
            for (number, partition) in turns.iter().enumerate() {
                prop_assert!(reader.push(&mut open, *partition, number, &number.to_string()));
                prop_assert!(unbound.push(&mut one, *partition, number, &number.to_string()));
            }
            prop_assert_eq!(open.rows(), turns.len());
            prop_assert_eq!(open.account(), one.account(), "what is held does not hang on how it is shared out");
            let (units, one): (Vec<_>, Vec<_>) = (open.close(false).collect(), one.close(false).collect());
            prop_assert_eq!(one.len(), 1);
            prop_assert_eq!(units.len(), one[0].spans.len().div_ceil(most));
            let spans: Vec<_> = units.iter().flat_map(|unit| unit.spans.clone()).collect();
            prop_assert_eq!(spans.iter().map(|s| &s.owned.partition).collect::<Vec<_>>(),
                one[0].spans.iter().map(|s| &s.owned.partition).collect::<Vec<_>>());
            for unit in &units {
                let (spans, numbers) = held(unit);
                let theirs = |number: &usize| spans.iter().any(|(partition, ..)| *partition == turns[*number]);
                prop_assert_eq!(numbers, (0..turns.len()).filter(theirs).collect::<Vec<_>>());
                for (partition, start, end) in spans {
                    let of = || turns.iter().enumerate().filter(|(_, turn)| **turn == partition);
                    let (first, last) = (of().next().unwrap().0, of().next_back().unwrap().0);
                    prop_assert_eq!((start, end), (i64::try_from(first).unwrap(), i64::try_from(last + 1).unwrap()));
                }
            }
        }
    }
}
