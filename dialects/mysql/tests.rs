use std::sync::Arc;

use insta::assert_snapshot;
use rowfall_services::{MySql, Product};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::conformance::{self, Probe};
use crate::contract::{
    Advice, Block, Change, Column, ColumnSpec, Compression, Connection, Ddl, Error, Intent, Layout, LogicalType, Mark,
    Op, Partition, Progress, Storage, TableColumn, TableName, TableSchema, TableSpec, Target, Upserts, Values,
};
use crate::generic::Statement;
use crate::mysql::connect;
use crate::mysql::grammar::SYNTAX;

const BOTH: [Product; 2] = [Product::MariaDb, Product::MySql];

/// A database of its own for each test, dropped by the next one of that name.
struct Database {
    server: MySql,
    name: String,
}

impl Database {
    async fn new(product: Product, name: &str) -> Self {
        let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
        let database = Self { server, name: format!("rowfall_test_{name}") };
        let mut connection = Self::open(&database.server.url("")).await;
        let name = SYNTAX.identifier(&database.name);
        let sql = format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::raw_sql(&Statement::ddl(&sql)).execute(&mut connection).await.unwrap();
        database
    }

    async fn open(url: &str) -> MySqlConnection {
        url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap()
    }

    fn connect(&self) -> Connection {
        connect(&target(&self.server.url(&self.name))).unwrap()
    }

    /// Another connection, as another program has it.
    async fn other(&self) -> MySqlConnection {
        Self::open(&self.server.url(&self.name)).await
    }

    async fn run(&self, sql: &str) {
        let done = sqlx::raw_sql(&Statement::ddl(sql)).execute(&mut self.other().await).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn read(&self, table: &TableSchema) -> Vec<Vec<Option<String>>> {
        Probe::read(self, &table.name, &table.columns).await
    }

    /// The rows with a comma between the columns, `-` for null.
    async fn rows(&self, table: &TableSchema) -> Vec<String> {
        let text = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
        let rows = self.read(table).await;
        rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(",")).collect()
    }
}

#[async_trait::async_trait]
impl Probe for Database {
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
        let expression = |column: &TableColumn| {
            let name = SYNTAX.identifier(&column.name);
            match column.value.as_ref().map(|value| &value.logical) {
                Ok(LogicalType::Float32 | LogicalType::Float64 | LogicalType::String) => name,
                Ok(LogicalType::Bool) => format!("CASE {name} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE {name} END"),
                _ => format!("CAST({name} AS CHAR)"),
            }
        };
        let expressions: Vec<_> = columns.iter().map(expression).collect();
        let first = SYNTAX.identifier(&columns[0].name);
        let sql = format!("SELECT {} FROM {} ORDER BY {first}", expressions.join(", "), SYNTAX.table(table));
        let rows = sqlx::query(&Statement::ddl(&sql)).fetch_all(&mut self.other().await).await.unwrap();
        let text = |row: &sqlx::mysql::MySqlRow, index: usize| match columns[index].value.as_ref().map(|v| &v.logical) {
            Ok(LogicalType::Float32) => row.get::<Option<f32>, _>(index).map(|float| format!("{float:?}")),
            Ok(LogicalType::Float64) => row.get::<Option<f64>, _>(index).map(|float| format!("{float:?}")),
            _ => row.get_unchecked::<Option<String>, _>(index),
        };
        rows.iter().map(|row| (0..columns.len()).map(|index| text(row, index)).collect()).collect()
    }
}

fn target(url: &str) -> Target {
    Target::new(url.parse().unwrap(), Compression::Auto)
}

async fn describe(connection: &Connection, table: &str) -> Arc<TableSchema> {
    Arc::new(connection.session.describe(&TableName::parse(table)).await.unwrap().unwrap())
}

/// A block for all of a table's columns from texts: `-` is null, `~` absent.
fn block(table: &Arc<TableSchema>, key: &[usize], rows: &[(Option<Op>, &[&str])]) -> Block {
    let targets: Vec<_> = (0..table.columns.len()).collect();
    let layout = Layout { key: key.into(), ..Layout::new(Arc::clone(table), targets) };
    let mut columns = layout.empty_columns();
    for (_, cells) in rows {
        for (column, cell) in columns.iter_mut().zip(*cells) {
            push(column, cell);
        }
    }
    let ops = rows.iter().filter_map(|(op, _)| *op).collect();
    Block { ops, ..Block::new(Arc::new(layout), columns, rows.len()) }
}

fn push(column: &mut Column, cell: &str) {
    match (cell, &mut column.values) {
        ("-", _) => column.push_mark(Mark::Null),
        ("~", _) => column.push_mark(Mark::Absent),
        (text, Values::Bool(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int8(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int16(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int32(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int64(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt16(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt32(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt64(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int128(v)) => v.push(text.parse().unwrap()),
        (text, Values::Float32(v)) => v.push(text.parse().unwrap()),
        (text, Values::Float64(v)) => v.push(text.parse().unwrap()),
        (text, Values::Text(v)) => v.push(text),
        (text, other) => panic!("{text} into {other:?}"),
    }
}

/// Adds rows.
async fn insert(connection: &Connection, table: &Arc<TableSchema>, rows: &[&[&str]]) -> Result<(), Error> {
    let rows: Vec<_> = rows.iter().map(|row| (None, *row)).collect();
    connection.session.write(&[&block(table, &[], &rows)], None).await.map(drop)
}

/// Changes rows by the first column.
async fn change(connection: &Connection, table: &Arc<TableSchema>, rows: &[(Op, &[&str])]) -> Result<(), Error> {
    let rows: Vec<_> = rows.iter().map(|(op, row)| (Some(*op), *row)).collect();
    connection.session.write(&[&block(table, &[0], &rows)], None).await.map(drop)
}

fn says(error: &Error) -> String {
    format!("{:?} {error} | {}", error.advice, error.hint.clone().unwrap_or_default())
}

#[tokio::test]
async fn both_keep_the_contract() {
    for product in BOTH {
        let database = Database::new(product, "conformance").await;
        conformance::run(&database.connect(), None, &database).await;
        let elsewhere = connect(&target(&database.server.url(""))).unwrap();
        conformance::run(&elsewhere, Some(&database.name), &database).await;
    }
}
