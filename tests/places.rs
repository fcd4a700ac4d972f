//! A database of one's own, whichever it is: for tests that do the same in all five.

use std::cell::RefCell;

use rowfall_services::{ClickHouse, MySql, Postgres, Product};
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Decode, Executor, IntoArguments, Row, SqlSafeStr, Type};

use crate::support;

/// The databases, in the order of the tables' columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    ClickHouse,
    Postgres,
    MySql,
    MariaDb,
    Sqlite,
}

/// A database of one's own on one of the servers.
pub(crate) struct Place {
    pub(crate) database: Database,
    /// As rowfall takes it.
    pub(crate) url: String,
    /// What stands before a table's name.
    prefix: String,
    pub(crate) ask: Box<Ask>,
    /// What ends it.
    end: Box<dyn Fn()>,
}

/// The rows that a statement answers, of one column of texts.
pub(crate) type Ask = dyn Fn(&str) -> Result<Vec<String>, String>;

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (self.end)();
        }
    }
}

impl Place {
    pub(crate) fn new(database: Database) -> Self {
        let name = support::unique("place");
        let (create, drop) = (format!("CREATE DATABASE {name}"), format!("DROP DATABASE {name}"));
        let prefix = String::new();
        match database {
            Database::ClickHouse => {
                let server = ClickHouse::running().unwrap_or_else(|error| panic!("{error}"));
                support::query(&server, &create);
                let (url, prefix) =
                    (support::target(&server).replace("/default", &format!("/{name}")), format!("{name}."));
                let ask = Box::new(move |sql: &str| {
                    let server = ClickHouse::running().expect("it is up");
                    let answer = server.query(sql).map_err(|error| error.to_string());
                    answer.map(|text| text.lines().map(str::to_owned).collect())
                });
                Self { database, url, prefix, ask, end: Box::new(move || _ = support::query(&server, &drop)) }
            }
            Database::Postgres => {
                let server = Postgres::running().unwrap_or_else(|error| panic!("{error}")).url();
                let admin = ask::<sqlx::PgConnection>(&server);
                admin(&create).expect("created");
                let url = format!("{}/{name}", server.rsplit_once('/').expect("a database").0);
                let end = Box::new(move || _ = admin(&format!("{drop} WITH (FORCE)")).expect("dropped"));
                Self { database, ask: ask::<sqlx::PgConnection>(&url), url, prefix, end }
            }
            Database::MySql | Database::MariaDb => {
                let product = if database == Database::MySql { Product::MySql } else { Product::MariaDb };
                let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
                let admin = ask::<sqlx::MySqlConnection>(&server.url(""));
                admin(&create).expect("created");
                let url = server.url(&name);
                let end = Box::new(move || _ = admin(&drop).expect("dropped"));
                Self { database, ask: ask::<sqlx::MySqlConnection>(&url), url, prefix, end }
            }
            Database::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let url = format!("sqlite://{}", folder.path().join("place.db").display());
                let ask = ask::<sqlx::SqliteConnection>(&format!("{url}?mode=rwc"));
                ask("PRAGMA journal_mode = WAL").expect("a new file");
                Self { database, url, prefix, ask, end: Box::new(move || assert!(folder.path().exists())) }
            }
        }
    }

    /// An identifier as the database's manual says, not as rowfall does.
    pub(crate) fn quote(&self, name: &str) -> String {
        match self.database {
            Database::ClickHouse => {
                let mut quoted = String::from("`");
                name.bytes().for_each(|byte| quoted += &format!("\\x{byte:02x}"));
                quoted + "`"
            }
            Database::MySql | Database::MariaDb => format!("`{}`", name.replace('`', "``")),
            Database::Postgres | Database::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// A table of this database.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}{}", self.prefix, self.quote(name))
    }

    /// The values of a column in all rows of a table, as the database's own texts; `behind` the table stands `more`.
    pub(crate) fn read(&self, table: &str, column: &str, more: &str) -> Result<Vec<String>, String> {
        let (table, column) = (self.table(table), self.quote(column));
        let text = match self.database {
            Database::ClickHouse => format!("concat('=', hex(toString({column})))"),
            Database::Postgres => format!("'=' || encode(convert_to({column}::text, 'UTF8'), 'hex')"),
            Database::MySql | Database::MariaDb => format!("concat('=', hex(CAST({column} AS CHAR)))"),
            // By itself it would show 15 digits.
            Database::Sqlite => format!(
                "CASE typeof({column}) WHEN 'null' THEN NULL WHEN 'real' THEN '=' || hex(printf('%!.17g', {column})) \
                 ELSE '=' || hex(CAST({column} AS TEXT)) END"
            ),
        };
        let rows = (self.ask)(&format!("SELECT coalesce({text}, 'NULL') FROM {table} {more}"))?;
        Ok(rows.iter().map(|row| row.strip_prefix('=').map_or_else(|| row.clone(), unhexed)).collect())
    }
}

fn unhexed(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let bytes = (0..hex.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes).unwrap_or_else(|error| format!("not UTF-8: {error}"))
}

/// Asks by a connection that stays open.
fn ask<C>(url: &str) -> Box<Ask>
where
    C: Connection + 'static,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    <C::Database as sqlx::Database>::Arguments: IntoArguments<C::Database>,
    for<'r> String: Decode<'r, C::Database> + Type<C::Database>,
    usize: ColumnIndex<<C::Database as sqlx::Database>::Row>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let connection = RefCell::new(runtime.block_on(C::connect(url)).expect("connected"));
    Box::new(move |sql| {
        let query = sqlx::query(AssertSqlSafe(sql).into_sql_str());
        let rows = runtime.block_on(connection.borrow_mut().fetch_all(query)).map_err(|error| error.to_string())?;
        rows.iter().map(|row| row.try_get(0).map_err(|error| error.to_string())).collect()
    })
}
