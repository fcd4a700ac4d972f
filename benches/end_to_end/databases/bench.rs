//! One database: its tables, its block of rows, and what is measured with them.

use std::sync::Arc;
use std::time::Instant;

use rowfall::config::Route;
use rowfall::decode::{JsonDecoder, Program};
use rowfall_dialects::contract::{
    Block, ColumnSpec, Compression, Connection, Error, Layout, LogicalType, Op, Storage, TableName, TableSpec, Target,
};
use rowfall_services::Services;
use sqlx::Connection as _;
use tokio::runtime::Runtime;

use super::bare::{self, Bare, COLUMNS};
use crate::memory::Records;
use crate::topic::Topic;
use crate::{stage, support};

/// In MariaDB and MySQL.
pub(super) const DATABASE: &str = "rowfall_bench";

/// What becomes of the rows.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    /// They are added to an empty table without a key.
    Append,
    /// Half of them are stored already, with other values.
    Upsert,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Append => "added",
            Self::Upsert => "upserted",
        }
    }
}

pub(super) struct Bench {
    runtime: Runtime,
    rowfall: Connection,
    bare: Box<dyn Bare>,
    url: String,
    brokers: String,
    topic: String,
    /// Holds the rows as they must be.
    rows: String,
    tables: [Filled; 2],
    sums: Vec<i64>,
}

/// A table that is filled again and again, and what rowfall fills it with.
struct Filled {
    table: String,
    block: Block,
}

impl Bench {
    /// Makes the tables, and with them all that the clock shall not count.
    pub(super) fn new(url: &str, services: &Services, topic: &Topic) -> Result<Self, String> {
        let runtime = Runtime::new().expect("a runtime");
        let target = Target::new(url.parse().expect("a URL"), Compression::None);
        let records = Records::new(topic.records.into());
        let made = runtime.block_on(async {
            let rowfall = rowfall_dialects::connect(&target).await?;
            let name = support::unique("bench");
            let tables = [
                Filled::new(&rowfall, format!("{name}_added"), &[], &records).await?,
                Filled::new(&rowfall, format!("{name}_upserted"), &["id"], &records).await?,
            ];
            let rows = Filled::new(&rowfall, format!("{name}_rows"), &["id"], &records).await?;
            rowfall.session.write(&[&rows.block], None).await?;
            let bare = bare::connect(url, &rows.table).await;
            Ok::<_, Error>((rowfall, tables, rows.table, bare))
        });
        let (rowfall, tables, rows, bare) = made.map_err(|error| error.to_string())?;
        let (topic, brokers) = (topic.name.clone(), services.kafka.brokers.clone());
        let sums = sums(&records);
        let mut bench = Self { runtime, rowfall, bare, url: url.to_owned(), brokers, topic, rows, tables, sums };
        // What the ceilings are made of was written by rowfall: it counts only when it is what it should be.
        bench.verify(&bench.rows.clone())?;
        Ok(bench)
    }

    /// Seconds of the bare statement.
    pub(super) fn ceiling(&mut self, what: Operation) -> Result<f64, String> {
        let table = self.prepare(what);
        let seconds = self.runtime.block_on(self.bare.write(&table, what));
        self.verify(&table)?;
        Ok(seconds)
    }

    /// Seconds of rowfall's write.
    pub(super) fn write(&mut self, what: Operation) -> Result<f64, String> {
        let table = self.prepare(what);
        let started = Instant::now();
        let blocks = [&self.tables[what as usize].block];
        let written = self.rowfall.session.write(&blocks, None);
        self.runtime.block_on(written).map_err(|error| error.to_string())?;
        let seconds = started.elapsed().as_secs_f64();
        self.verify(&table)?;
        Ok(seconds)
    }

    /// Seconds of the program, from the assignment of the partitions, and those of its CPU.
    pub(super) fn end_to_end(&mut self, what: Operation) -> Result<(f64, f64), String> {
        let table = self.prepare(what);
        let mode = match what {
            Operation::Append => "",
            Operation::Upsert => ", mode: upsert, primary_key: id",
        };
        let done = stage::rowfall(
            &format!(
                "name: {}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\n\
                 topics: {{ {}: {{ table: {table}{mode} }} }}\n",
                support::unique(&table),
                self.brokers,
                self.url,
                self.topic
            ),
            &[],
        )?;
        self.verify(&table)?;
        Ok((done.seconds, done.own.expect("a process").cpu))
    }

    /// The table as it is before each run.
    fn prepare(&mut self, what: Operation) -> String {
        let table = self.tables[what as usize].table.clone();
        let empty = self.bare.empty(&table);
        let half = match what {
            Operation::Append => String::new(),
            Operation::Upsert => {
                let other = |column| match column {
                    "quantity" => "1000",
                    "note" => "NULL",
                    same => same,
                };
                let values = COLUMNS.map(other).join(", ");
                let columns = COLUMNS.join(", ");
                format!("; INSERT INTO {table} ({columns}) SELECT {values} FROM {} WHERE id % 2 = 0", self.rows)
            }
        };
        self.runtime.block_on(self.bare.run(&format!("{empty}{half}")));
        table
    }

    /// Fails unless the table has exactly the rows.
    fn verify(&mut self, table: &str) -> Result<(), String> {
        let integer = self.bare.integer();
        let all = SUMS.map(|sum| format!("CAST({sum} AS {integer})")).join(", ");
        let found = self.runtime.block_on(self.bare.numbers(&format!("SELECT {all} FROM {table}")));
        if found == self.sums {
            return Ok(());
        }
        Err(format!("{table}: count and sums are {found:?}; they should be {:?}", self.sums))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let tables = self.tables.iter().map(|filled| &filled.table).chain([&self.rows]);
        let drop: Vec<_> = tables.map(|table| format!("DROP TABLE {table}")).collect();
        self.runtime.block_on(self.bare.run(&drop.join("; ")));
    }
}

impl Filled {
    /// Creates the table with the types that rowfall chooses.
    async fn new(rowfall: &Connection, table: String, key: &[&str], records: &Records) -> Result<Self, Error> {
        let refused = |why: rowfall_dialects::contract::Refusal| Error::pause(why.to_string());
        let columns = columns().into_iter().map(|(name, logical, nullable)| {
            Ok(ColumnSpec::new(name, rowfall.grammar.column_type(&logical).map_err(refused)?, nullable))
        });
        let spec = TableSpec {
            name: TableName { schema: None, name: table.clone() },
            columns: columns.collect::<Result<_, Error>>()?,
            key: key.iter().map(ToString::to_string).collect(),
            storage: Storage::default(),
        };
        rowfall.session.execute(&rowfall.grammar.create_table(&spec).map_err(refused)?).await?;
        let described = Arc::new(rowfall.session.describe(&spec.name).await?.expect("it was created"));
        let route = Route::new("orders", spec.name);
        let program = Arc::new(Program::compile(&described, &route).expect("all columns can be filled"));
        let mut values = program.layout.empty_columns();
        let (targets, rows) = (program.layout.targets.clone(), records.len());
        records.decode(&mut JsonDecoder::new(program), &mut values);
        let mut layout = Layout::new(described, targets);
        let mut ops = Vec::new();
        if !key.is_empty() {
            layout.key = [0].into();
            ops = vec![Op::Upsert; rows];
        }
        let block = Block { ops, ..Block::new(Arc::new(layout), values, rows) };
        Ok(Self { table, block })
    }
}

/// The workload's columns, and whether they take null.
fn columns() -> [(&'static str, LogicalType, bool); COLUMNS.len()] {
    let types = [
        LogicalType::Int64,
        LogicalType::Int32,
        LogicalType::String,
        LogicalType::String,
        LogicalType::Decimal { precision: 18, scale: 2 },
        LogicalType::Int32,
        LogicalType::Bool,
        LogicalType::Float64,
        LogicalType::Timestamp { digits: 3 },
        LogicalType::Uuid,
        LogicalType::String,
        LogicalType::String,
    ];
    let mut types = types.into_iter();
    COLUMNS.map(|name| (name, types.next().expect("a type for each"), name == "note"))
}

/// What tells whether a table has the rows; products tell whether values stand in their own rows.
const SUMS: [&str; 7] = [
    "count(*)",
    "count(DISTINCT id)",
    "sum(id * quantity)",
    "sum(user_id)",
    "round(sum(price * 100))",
    "sum(id % 1000 * length(url))",
    "sum(id % 1000 * length(note))",
];

/// The same, computed from the records.
fn sums(records: &Records) -> Vec<i64> {
    let mut sums = vec![0; SUMS.len()];
    for record in records.iter() {
        let value: serde_json::Value = serde_json::from_slice(record).expect("JSON");
        let int = |name: &str| value[name].as_i64().expect("an integer");
        let length = |name: &str| i64::try_from(value[name].as_str().map_or(0, str::len)).expect("short");
        let id = int("id");
        let terms = [
            1,
            1,
            id * int("quantity"),
            int("user_id"),
            id * 37 % 10_000_000,
            id % 1000 * length("url"),
            id % 1000 * length("note"),
        ];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    sums
}

/// Where the tables of MariaDB and MySQL are.
pub(super) fn create_database(url: &str) -> Result<(), String> {
    let create = async {
        let mut connection = sqlx::MySqlConnection::connect(url).await?;
        let create = format!("CREATE DATABASE IF NOT EXISTS {DATABASE}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await
    };
    Runtime::new().expect("a runtime").block_on(create).map(drop).map_err(|error| error.to_string())
}
