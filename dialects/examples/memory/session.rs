use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rowfall_dialects::contract::{
    Advice, Block, ColumnDefault, Ddl, Error, Intent, Mark, Op, Partition, Progress, Receipt, Resumed, Session,
    TableColumn, TableName, TableSchema, Upserts, Values,
};
use rowfall_dialects::generic::settled;

use crate::database::{Database, Row, Table};

pub(crate) struct MemorySession(pub(crate) Arc<Mutex<Database>>);

#[async_trait]
impl Session for MemorySession {
    async fn server(&self) -> Result<String, Error> {
        Ok(concat!("Memory ", env!("CARGO_PKG_VERSION")).into())
    }

    // What cannot be written is told here, before there are rows.
    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        let database = self.lock();
        if let Some(schema) = &table.schema {
            return Err(Error::pause(format!("memory has no schema `{schema}`")).with_hint("leave it out"));
        }
        if database.views.contains(&table.name) {
            return Err(Error::pause(format!("`{table}` is a view")).with_hint("name a table"));
        }
        Ok(database.table(&table.name).map(|stored| {
            let schema = TableSchema::new(table.clone(), "table", stored.columns.clone());
            let name = |column: &usize| stored.columns[*column].name.clone();
            let key = Some(stored.key.iter().map(name).collect::<Vec<_>>()).filter(|key| !key.is_empty());
            TableSchema { upserts: Upserts::Keys(key.into_iter().collect()), ..schema }
        }))
    }

    // A database with users looks for the rights here; one with a disk, whether it may write.
    async fn check(&self, _: Intent<'_>) -> Result<Vec<Error>, Error> {
        Ok(Vec::new())
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        self.transaction(|database| {
            let run = |statement: &String| database.run(statement).map_err(Error::pause);
            ddl.statements.iter().try_for_each(run)
        })
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        self.transaction(|database| {
            let rows = blocks.iter().map(|block| block.rows).sum();
            // Progress comes first: it takes the lock, and tells at once who owns the partitions no longer.
            let is_new = progress.map_or(Ok(true), |progress| advance(database, progress))?;
            if is_new {
                blocks.iter().try_for_each(|block| apply(database, block))?;
            }
            Ok(Receipt { rows, bytes: 0 })
        })
    }

    async fn resume(&self, pipeline: &str, partitions: &[Partition]) -> Result<Vec<Resumed>, Error> {
        self.transaction(|database| {
            let resumed = partitions.iter().map(|partition| {
                let key = (pipeline.to_owned(), partition.clone());
                let kept = database.offsets.entry(key).or_insert(Resumed { epoch: 0, next: None });
                kept.epoch += 1;
                *kept
            });
            Ok(resumed.collect())
        })
    }
}

impl MemorySession {
    fn lock(&self) -> MutexGuard<'_, Database> {
        // What a panic left is the state before its transaction.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that `work` does, or nothing where it fails.
    fn transaction<T>(&self, work: impl FnOnce(&mut Database) -> Result<T, Error>) -> Result<T, Error> {
        let mut stored = self.lock();
        let mut database = stored.clone();
        let done = work(&mut database)?;
        *stored = database;
        Ok(done)
    }
}

/// Compare and swap; false when an earlier attempt was committed and its answer lost.
fn advance(database: &mut Database, progress: &Progress) -> Result<bool, Error> {
    let key = |partition: &Partition| (progress.pipeline.clone(), partition.clone());
    let found: Vec<_> =
        progress.moves.iter().map(|step| database.offsets.get(&key(&step.partition)).copied()).collect();
    let expected = progress.moves.iter().map(|step| Some(Resumed { epoch: step.epoch, next: step.from }));
    if !expected.eq(found.iter().copied()) {
        return settled(progress, &found).map(|()| false);
    }
    for step in &progress.moves {
        let at = Resumed { epoch: step.epoch, next: Some(step.to) };
        database.offsets.insert(key(&step.partition), at);
    }
    Ok(true)
}

fn apply(database: &mut Database, block: &Block) -> Result<(), Error> {
    let name = &block.layout.table.name;
    let Some(table) = database.table_mut(&name.name) else {
        return Err(Error::new(Advice::Refresh, format!("table `{name}` is gone")));
    };
    // The table may have changed since it was described.
    let place = |column: &TableColumn| {
        let place = table.columns.iter().position(|stored| stored.name == column.name);
        place.ok_or_else(|| Error::new(Advice::Refresh, format!("table `{name}` has no column `{}`", column.name)))
    };
    let places = block.layout.columns().map(place).collect::<Result<Vec<_>, _>>()?;
    for row in 0..block.rows {
        let op = block.ops.get(row);
        let cells = block.columns.iter().map(|column| match column.marks.get(row) {
            Mark::Value => text(&column.values, row).map(|text| Some(Some(text))),
            Mark::Null => Ok(Some(None)),
            Mark::Absent => Ok(None),
        });
        let mut given = vec![None; table.columns.len()];
        for (place, cell) in places.iter().zip(cells) {
            given[*place] = cell?;
        }
        let of_key = |place: &usize| block.layout.key.iter().any(|key| places[*key] == *place);
        let stored = op.and_then(|_| table.find((0..given.len()).filter(of_key).map(|place| (place, &given[place]))));
        let before = stored.map(|stored| table.rows.remove(&stored)).unwrap_or_default();
        match op {
            Some(Op::Delete) => continue,
            Some(Op::Upsert) => add(table, name, given, before)?,
            Some(Op::Replace) | None => add(table, name, given, None)?,
        }
    }
    Ok(())
}

/// Adds a row; what it does not give is as before, or as the database fills it in.
fn add(
    table: &mut Table,
    name: &TableName,
    given: Vec<Option<Option<String>>>,
    before: Option<Row>,
) -> Result<(), Error> {
    let mut row = Row::new();
    for (place, cell) in given.into_iter().enumerate() {
        let column = &table.columns[place];
        let filled_in = || match column.default {
            ColumnDefault::Expression => Some(table.defaults[place].to_string()),
            _ => None,
        };
        let value = cell.unwrap_or_else(|| before.as_ref().map_or_else(filled_in, |before| before[place].clone()));
        if value.is_none() && column.value.as_ref().is_ok_and(|value| !value.nullable) {
            let message = format!("table `{name}`, column `{}`: a value is missing", column.name);
            // The other rows can be written without this one.
            return Err(Error::new(Advice::Split, message));
        }
        row.push(value);
    }
    table.insert(row).map_err(|why| Error::new(Advice::Split, format!("table `{name}`: {why}")))
}

fn text(values: &Values, row: usize) -> Result<String, Error> {
    match values {
        Values::Int64(values) => Ok(values[row].to_string()),
        Values::Float64(values) => Ok(format!("{:?}", values[row])),
        Values::Text(values) => match std::str::from_utf8(values.row(row)) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(Error::new(Advice::Split, "a text is not UTF-8").with_source(error)),
        },
        _ => Err(Error::pause("`parse_type` has no such type")),
    }
}
