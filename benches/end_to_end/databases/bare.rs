//! The ceilings: each database's own fastest statement with everything that it is given made beforehand, by the same
//! client in one transaction.
//!
//! The values are what the database itself answers for the rows, so that no encoder of rowfall's has a part in them.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::mysql::MySqlArguments;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::sqlite::SqliteArguments;
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Encode, Executor as _, MySqlConnection, PgConnection, Postgres,
    Row as _, SqlSafeStr as _, SqlStr, SqliteConnection, Type,
};

use super::bench::Operation;

/// The workload's columns; the first is the key.
pub(super) const COLUMNS: [&str; 12] =
    ["id", "user_id", "event", "country", "price", "quantity", "ok", "score", "at", "session", "url", "note"];

/// Rows of a statement with arrays, as rowfall's.
const ARRAYS: usize = 10_000;
/// Rows of a statement with a parameter for each value, as rowfall's.
const VALUES: usize = 1_000;

/// A database without rowfall.
#[async_trait]
pub(super) trait Bare: Send {
    /// What `CAST` calls an integer of 64 bits.
    fn integer(&self) -> &'static str;
    /// What empties a table.
    fn empty(&self, table: &str) -> String;
    /// Runs statements.
    async fn run(&mut self, sql: &str);
    /// The one row that a query answers.
    async fn numbers(&mut self, sql: &str) -> Vec<i64>;
    /// Writes all rows; the seconds that it took.
    async fn write(&mut self, table: &str, what: Operation) -> f64;
}

/// A bare connection, with the rows of this table at hand.
pub(super) async fn connect(url: &str, rows: &str) -> Box<dyn Bare> {
    match url.split_once(':').expect("a scheme").0 {
        "postgres" => Box::new(BarePostgres::new(url, rows).await),
        "sqlite" => Box::new(BareSqlite::new(url, rows).await),
        _ => Box::new(BareMySql::new(url, rows).await),
    }
}

fn sql(text: impl Into<String>) -> SqlStr {
    AssertSqlSafe(text.into()).into_sql_str()
}

/// `SET`'s list: each column but the key becomes what it is in the new row.
fn assignments(new: impl Fn(&str) -> String) -> String {
    COLUMNS[1..].iter().map(|column| format!("{column} = {}", new(column))).collect::<Vec<_>>().join(", ")
}

fn on_conflict() -> String {
    format!("ON CONFLICT (id) DO UPDATE SET {}", assignments(|column| format!("excluded.{column}")))
}

/// MySQL knows the function that MariaDB needs as well.
fn on_duplicate_key() -> String {
    format!("ON DUPLICATE KEY UPDATE {}", assignments(|column| format!("VALUES({column})")))
}

/// A parameter for each value of so many rows.
fn insert(table: &str, rows: usize, ending: &str) -> SqlStr {
    let row = format!("({})", vec!["?"; COLUMNS.len()].join(","));
    sql(format!("INSERT INTO {table} ({}) VALUES {} {ending}", COLUMNS.join(", "), vec![row; rows].join(",")))
}

struct BarePostgres {
    connection: PgConnection,
    /// What `COPY` takes, in a file.
    copy: File,
    /// Arrays of [`ARRAYS`] rows each.
    arrays: Vec<Vec<Array>>,
    types: Vec<String>,
}

/// An array as the server sent it.
#[derive(Clone)]
struct Array(Vec<u8>);

impl Type<Postgres> for Array {
    /// The statement says which.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl BarePostgres {
    async fn new(url: &str, rows: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("connected");
        let mut copy = tempfile::tempfile().expect("a file");
        let text = format!("COPY (SELECT * FROM {rows} ORDER BY id) TO STDOUT (FORMAT BINARY)");
        let mut out = connection.copy_out_raw(&text).await.expect("rows");
        while let Some(bytes) = out.next().await {
            copy.write_all(&bytes.expect("rows")).expect("written");
        }
        drop(out);
        let types = format!(
            "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = '{rows}'::regclass AND attnum > 0 \
             ORDER BY attnum"
        );
        let types = sqlx::query_scalar(sql(types)).fetch_all(&mut connection).await.expect("types");
        let all = COLUMNS.map(|column| format!("array_agg({column} ORDER BY id)")).join(", ");
        // Prepared, so that the server answers in the binary form, which is also what it takes.
        let text = sql(format!("SELECT {all} FROM {rows} GROUP BY id / {ARRAYS} ORDER BY id / {ARRAYS}"));
        let answered = sqlx::query(text).fetch_all(&mut connection).await.expect("arrays");
        let array = |row: &sqlx::postgres::PgRow, column| {
            let value = row.try_get_raw(column).expect("a column");
            Array(value.as_bytes().expect("an array").to_owned())
        };
        let arrays = answered.iter().map(|row| (0..COLUMNS.len()).map(|column| array(row, column)).collect());
        Self { connection, copy, arrays: arrays.collect(), types }
    }
}

#[async_trait]
impl Bare for BarePostgres {
    fn integer(&self) -> &'static str {
        "bigint"
    }

    fn empty(&self, table: &str) -> String {
        format!("TRUNCATE {table}")
    }

    async fn run(&mut self, text: &str) {
        sqlx::raw_sql(sql(text)).execute(&mut self.connection).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    async fn numbers(&mut self, text: &str) -> Vec<i64> {
        let row = self.connection.fetch_one(sqlx::query(sql(text))).await.unwrap_or_else(|e| panic!("{text}: {e}"));
        (0..row.len()).map(|column| row.get(column)).collect()
    }

    async fn write(&mut self, table: &str, what: Operation) -> f64 {
        match what {
            Operation::Append => {
                self.copy.rewind().expect("a file");
                let mut chunk = vec![0; 256 << 10];
                let started = Instant::now();
                let text = format!("COPY {table} FROM STDIN (FORMAT BINARY)");
                let mut copying = self.connection.copy_in_raw(&text).await.expect("taken");
                loop {
                    let length = self.copy.read(&mut chunk).expect("a file");
                    if length == 0 {
                        break;
                    }
                    copying.send(&chunk[..length]).await.expect("sent");
                }
                copying.finish().await.expect("copied");
                started.elapsed().as_secs_f64()
            }
            Operation::Upsert => {
                let parameters: Vec<_> =
                    self.types.iter().enumerate().map(|(place, name)| format!("${}::{name}[]", place + 1)).collect();
                let columns = COLUMNS.join(", ");
                let text = sql(format!(
                    "INSERT INTO {table} ({columns}) SELECT * FROM unnest({}) {}",
                    parameters.join(", "),
                    on_conflict()
                ));
                let all = self.arrays.iter().map(|arrays| {
                    let mut arguments = PgArguments::default();
                    arrays.iter().for_each(|array| arguments.add(array.clone()).expect("bytes"));
                    arguments
                });
                let all: Vec<_> = all.collect();
                let started = Instant::now();
                let mut transaction = self.connection.begin().await.expect("begun");
                for arguments in all {
                    let query = sqlx::query_with(text.clone(), arguments);
                    query.execute(&mut *transaction).await.expect("upserted");
                }
                transaction.commit().await.expect("committed");
                started.elapsed().as_secs_f64()
            }
        }
    }
}

/// A row as these databases are given it.
type Values = (i64, i32, String, String, String, i32, bool, f64, String, String, String, Option<String>);

/// The two databases that take a parameter for each value.
macro_rules! by_values {
    ($bare:ident, $connection:ty, $arguments:ty, $integer:literal, $text:literal, $setup:literal, $empty:literal, $upsert:ident) => {
        struct $bare {
            connection: $connection,
            /// The parameters of each statement, and its rows.
            arguments: Vec<($arguments, usize)>,
        }

        impl $bare {
            async fn new(url: &str, rows: &str) -> Self {
                let mut connection = <$connection>::connect(url).await.expect("connected");
                sqlx::raw_sql($setup).execute(&mut connection).await.expect("set up");
                let as_text = |column: &str| match column {
                    "price" | "at" | "session" => format!("CAST({column} AS {})", $text),
                    _ => column.to_owned(),
                };
                let text = sql(format!("SELECT {} FROM {rows} ORDER BY id", COLUMNS.map(as_text).join(", ")));
                let values: Vec<Values> = sqlx::query_as(text).fetch_all(&mut connection).await.expect("rows");
                let arguments = values.chunks(VALUES).map(|rows| {
                    let mut arguments = <$arguments>::default();
                    for (id, user, event, country, price, quantity, ok, score, at, session, url, note) in rows {
                        by_values!(@bind arguments: id user event country price quantity ok score at session url note);
                    }
                    (arguments, rows.len())
                });
                Self { arguments: arguments.collect(), connection }
            }
        }

        #[async_trait]
        impl Bare for $bare {
            fn integer(&self) -> &'static str {
                $integer
            }

            fn empty(&self, table: &str) -> String {
                format!("{} {table}", $empty)
            }

            async fn run(&mut self, text: &str) {
                sqlx::raw_sql(sql(text)).execute(&mut self.connection).await.unwrap_or_else(|e| panic!("{text}: {e}"));
            }

            async fn numbers(&mut self, text: &str) -> Vec<i64> {
                let row = self.connection.fetch_one(sqlx::query(sql(text))).await;
                let row = row.unwrap_or_else(|e| panic!("{text}: {e}"));
                (0..row.len()).map(|column| row.get(column)).collect()
            }

            async fn write(&mut self, table: &str, what: Operation) -> f64 {
                let ending = match what {
                    Operation::Append => "",
                    Operation::Upsert => &$upsert(),
                };
                let full = insert(table, VALUES, ending);
                let all = self.arguments.clone();
                let started = Instant::now();
                let mut transaction = self.connection.begin().await.expect("begun");
                for (arguments, rows) in all {
                    let text = if rows == VALUES { full.clone() } else { insert(table, rows, ending) };
                    sqlx::query_with(text, arguments).execute(&mut *transaction).await.expect("written");
                }
                transaction.commit().await.expect("committed");
                started.elapsed().as_secs_f64()
            }
        }
    };
    (@bind $arguments:ident: $($value:ident)*) => {
        $($arguments.add($value).expect("a value");)*
    };
}

by_values!(
    BareMySql,
    MySqlConnection,
    MySqlArguments,
    "SIGNED",
    "CHAR",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "TRUNCATE TABLE",
    on_duplicate_key
);
by_values!(
    BareSqlite,
    SqliteConnection,
    SqliteArguments,
    "INTEGER",
    "TEXT",
    "PRAGMA synchronous = EXTRA",
    "DELETE FROM",
    on_conflict
);
