mod faults;
mod tables;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowfall_services::Postgres;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::conformance::{self, Probe};
use crate::contract::{
    Block, Column, Compression, Connection, Layout, LogicalType, TableColumn, TableName, TableSchema, Target, Values,
};
use crate::generic::Statement;
use crate::postgres::grammar::SYNTAX;
use crate::postgres::session::PostgresSession;
use crate::postgres::{address, connect};

/// A user who may do everything.
const ALL: (&str, &str) = ("rowfall", "rowfall-secret");

/// The shared server, and a schema of its own for each test.
struct Shop {
    server: Postgres,
    schema: String,
    /// To look at tables.
    reader: tokio::sync::Mutex<PgConnection>,
}

impl Shop {
    async fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let server = Postgres::running().unwrap_or_else(|error| panic!("{error}"));
        let schema = format!("Shop_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut reader = other(&server, &schema).await;
        let sql = format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE; CREATE SCHEMA \"{schema}\"");
        sqlx::raw_sql(&Statement::ddl(&sql)).execute(&mut reader).await.unwrap();
        Self { server, schema, reader: reader.into() }
    }

    fn connect(&self) -> Connection {
        self.connect_as(ALL)
    }

    fn connect_as(&self, user: (&str, &str)) -> Connection {
        connect(&target(&self.url(user))).unwrap()
    }

    fn url(&self, user: (&str, &str)) -> String {
        format!("{}?search_path=\"{}\"", self.server.url_as(user), self.schema)
    }

    /// Another program's connection.
    async fn other(&self) -> PgConnection {
        other(&self.server, &self.schema).await
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(&Statement::ddl(sql)).execute(&mut *self.reader.lock().await).await.unwrap();
    }

    /// One text.
    async fn ask(&self, sql: &str) -> String {
        let row = sqlx::query(&Statement::ddl(sql)).fetch_one(&mut *self.reader.lock().await).await.unwrap();
        row.get(0)
    }
}

#[async_trait::async_trait]
impl Probe for Shop {
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
        let text = |column: &TableColumn| {
            let name = SYNTAX.identifier(&column.name);
            match column.value.as_ref().map(|value| &value.logical) {
                Ok(LogicalType::Timestamp { digits }) => {
                    let digits = if *digits == 0 { 19 } else { 20 + digits };
                    format!("left(to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US'), {digits})")
                }
                _ => format!("{name}::text"),
            }
        };
        let texts: Vec<_> = columns.iter().map(text).collect();
        // Qualified: the texts have the names of columns, too.
        let first = SYNTAX.identifier(&columns[0].name);
        let sql = format!("SELECT {} FROM {} AS t ORDER BY t.{first}", texts.join(", "), SYNTAX.table(table));
        let rows = sqlx::query(&Statement::ddl(&sql)).fetch_all(&mut *self.reader.lock().await).await.unwrap();
        rows.iter().map(|row| (0..columns.len()).map(|index| row.get(index)).collect()).collect()
    }
}

async fn other(server: &Postgres, schema: &str) -> PgConnection {
    let options: PgConnectOptions = server.url().parse().unwrap();
    options.options([("search_path", format!("\"{schema}\""))]).connect().await.unwrap()
}

fn target(url: &str) -> Target {
    Target::new(url.parse().unwrap(), Compression::Auto)
}

async fn describe(connection: &Connection, table: &str) -> Arc<TableSchema> {
    Arc::new(connection.session.describe(&TableName::parse(table)).await.unwrap().unwrap())
}

/// A block for all of a table's columns; `fill` pushes one row after the other.
fn block(table: &Arc<TableSchema>, rows: usize, mut fill: impl FnMut(usize, &mut [Column])) -> Block {
    let layout = Layout::new(Arc::clone(table), (0..table.columns.len()).collect::<Vec<_>>());
    let mut columns = layout.empty_columns();
    for row in 0..rows {
        fill(row, &mut columns);
    }
    Block::new(Arc::new(layout), columns, rows)
}

fn push_i64(column: &mut Column, value: i64) {
    match &mut column.values {
        Values::Int64(values) => values.push(value),
        Values::Int32(values) => values.push(value.try_into().unwrap()),
        Values::Int16(values) => values.push(value.try_into().unwrap()),
        _ => panic!("not an integer column"),
    }
}

fn push_text(column: &mut Column, value: &str) {
    let Values::Text(values) = &mut column.values else { panic!("not a string column") };
    values.push(value);
}

/// Once with the schema named and few rows in arrays, once with the search path and every new row by `COPY`.
#[tokio::test]
async fn keeps_the_contract() {
    let shop = Shop::new().await;
    let (connection, other) = (shop.connect(), shop.connect());
    conformance::run(&connection, Some(&shop.schema), &shop).await;
    conformance::compete(&connection, &other, Some(&shop.schema), &shop).await;
    let session = PostgresSession::new(address::options(&shop.url(ALL).parse().unwrap()).unwrap(), 0);
    let copies = Connection { session: Arc::new(session), ..shop.connect() };
    conformance::run(&copies, None, &shop).await;
}
