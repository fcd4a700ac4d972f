//! A database of one's own, which can be killed, stopped, filled and cut off.

use rowfall_services::{ClickHouse, MySql, Postgres, Product, Server};

use crate::exactly_once::{Rows, ask, rows_of};
use crate::front::Front;
use crate::support;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Database {
    ClickHouse,
    Postgres,
    MySql,
    MariaDb,
    Sqlite,
}

impl Database {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClickHouse => "clickhouse",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
            Self::Sqlite => "sqlite",
        }
    }
}

pub(super) struct Place {
    pub(super) database: Database,
    server: Running,
    /// What stands between it and rowfall.
    front: Option<Front>,
    folder: tempfile::TempDir,
}

enum Running {
    ClickHouse(ClickHouse),
    Postgres(Postgres),
    MySql(MySql),
    /// Without a server.
    File,
}

impl Place {
    pub(super) fn start(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let started = || -> Result<(Running, Option<u16>), rowfall_services::Error> {
            let path = folder.path().join("server");
            Ok(match database {
                Database::ClickHouse => {
                    let server = ClickHouse::start_private(path)?;
                    let port = server.http_port;
                    (Running::ClickHouse(server), Some(port))
                }
                Database::Postgres => {
                    let server = Postgres::start_private(path)?;
                    let port = server.port;
                    (Running::Postgres(server), Some(port))
                }
                Database::MySql | Database::MariaDb => {
                    let product = if database == Database::MySql { Product::MySql } else { Product::MariaDb };
                    let server = MySql::start_private(product, path)?;
                    let url = server.url("mysql");
                    ask::<sqlx::MySqlConnection>(&url, "CREATE DATABASE shop").expect("created");
                    let port = server.port;
                    (Running::MySql(server), Some(port))
                }
                Database::Sqlite => (Running::File, None),
            })
        };
        let (server, port) = started().unwrap_or_else(|error| panic!("a server of its own: {error}"));
        Self { database, server, front: port.map(Front::start), folder }
    }

    /// Where the server itself is, past the front.
    fn straight(&self) -> String {
        match &self.server {
            Running::ClickHouse(server) => support::target(server),
            Running::Postgres(server) => server.url(),
            Running::MySql(server) => server.url("shop"),
            Running::File => format!("sqlite://{}", self.folder.path().join("rows.db").display()),
        }
    }

    /// Where rowfall is to write.
    pub(super) fn url(&self) -> String {
        let straight = self.straight();
        let Some(front) = &self.front else { return straight };
        let (before, after) = straight.split_once("127.0.0.1:").expect("on loopback");
        let path = after.find('/').map_or("", |at| &after[at..]);
        format!("{before}127.0.0.1:{}{path}", front.port)
    }

    /// Nothing while the database does not answer.
    pub(super) fn ask(&self, sql: &str) -> Option<Rows> {
        let url = self.straight();
        match &self.server {
            Running::ClickHouse(server) => server.query(sql).ok().map(|answer| rows_of(&answer)),
            Running::Postgres(_) => ask::<sqlx::PgConnection>(&url, sql).ok(),
            Running::MySql(_) => ask::<sqlx::MySqlConnection>(&url, sql).ok(),
            Running::File => ask::<sqlx::SqliteConnection>(&url, sql).ok(),
        }
    }

    /// The table as it reads once what was replaced is gone.
    pub(super) fn settled(&self, table: &str) -> String {
        match self.database {
            Database::ClickHouse => format!("{table} FINAL"),
            _ => table.to_owned(),
        }
    }

    /// A 64-bit integer that may be null, in a statement.
    pub(super) fn integer(&self) -> &'static str {
        if self.database == Database::ClickHouse { "Nullable(Int64)" } else { "BIGINT" }
    }

    /// The server, where there is one.
    pub(super) fn server(&self) -> Option<&Server> {
        match &self.server {
            Running::ClickHouse(server) => Some(&server.server),
            Running::Postgres(server) => Some(&server.server),
            Running::MySql(server) => Some(&server.server),
            Running::File => None,
        }
    }

    pub(super) fn front(&self) -> &Front {
        self.front.as_ref().expect("it has a server")
    }
}
