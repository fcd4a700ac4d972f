//! Connections to one server, with all settings pinned that decide what becomes of a value.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::contract::Error;
use crate::generic::{answered, answered_at_once};
use crate::mysql::codes;
use crate::mysql::grammar::Flavor;
use crate::mysql::values::Limits;

/// READ COMMITTED, since nothing is read twice, and fewer locks are held. Strict, so that what does not fit is an error,
/// for engines without transactions too; 0 stays 0 where a number could be made up. Whoever is cut off in a transaction
/// holds its locks no longer than others wait for an answer: MariaDB ends only such, MySQL any connection that rests.
const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET NAMES utf8mb4, autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 10, foreign_key_checks = 1, \
    unique_checks = 1, /*!80000 wait_timeout = 60, */ /*M! idle_transaction_timeout = 60, */ \
    sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'";

const SERVER: &str = "SELECT version(), CAST(@@max_allowed_packet AS SIGNED), CAST(@@lower_case_table_names AS SIGNED)";

/// A connection that rested longer is asked whether it is still one: servers and what is before them close such.
const REST: Duration = Duration::from_secs(30);

/// A statement holds no more, so that a block of long texts is not copied as a whole.
const STATEMENT: usize = 1 << 20;

/// What the server says of itself.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) flavor: Flavor,
    /// As it prints it.
    pub(super) version: String,
    max_packet: usize,
    /// Whether names of tables that differ in case are two.
    pub(super) tells_case: bool,
}

impl Server {
    pub(super) fn limits(&self) -> Limits {
        Limits { statement: STATEMENT.min(self.max_packet / 2), packet: self.max_packet }
    }
}

/// Idle connections; those in use are their users'.
pub(super) struct Pool {
    options: MySqlConnectOptions,
    address: String,
    flavor: Arc<OnceLock<Flavor>>,
    idle: Mutex<Vec<(Live, Instant)>>,
}

/// A connection and the server behind it.
pub(super) struct Live {
    pub(super) connection: MySqlConnection,
    pub(super) server: Server,
}

impl Pool {
    pub(super) fn new(options: MySqlConnectOptions, address: String) -> Self {
        Self { options, address, flavor: Arc::default(), idle: Mutex::default() }
    }

    /// Which server it is, once one was asked.
    pub(super) fn flavor(&self) -> Arc<OnceLock<Flavor>> {
        Arc::clone(&self.flavor)
    }

    /// Runs `work` on a connection. A call that fails or is dropped half-way leaves no transaction open: the connection
    /// goes back only when it is known to be clean.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&mut Live) -> Result<T, Error>) -> Result<T, Error> {
        let mut live = self.take().await?;
        let result = work(&mut live).await;
        let clean = match &result {
            Ok(_) => true,
            Err(_) => answered_at_once(sqlx::raw_sql("ROLLBACK").execute(&mut live.connection)).await.is_ok(),
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match clean {
            true => idle.push((live, Instant::now())),
            // What ended this one has ended those, too, and each would be waited for.
            false => idle.clear(),
        }
        drop(idle);
        result
    }

    async fn take(&self) -> Result<Live, Error> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((mut live, since)) = idle else { break };
            if since.elapsed() < REST || answered_at_once(live.connection.ping()).await.is_ok() {
                return Ok(live);
            }
        }
        self.open().await
    }

    async fn open(&self) -> Result<Live, Error> {
        let doing = format!("connecting to {}", self.address);
        let failed = |error| codes::error(&doing, error);
        let mut connection = answered(self.options.connect()).await.map_err(failed)?;
        answered(sqlx::raw_sql(SETTINGS).execute(&mut connection)).await.map_err(failed)?;
        let row = answered(sqlx::query(SERVER).fetch_one(&mut connection)).await.map_err(failed)?;
        let version: String = row.try_get(0).map_err(failed)?;
        let flavor = self.supported(&version)?;
        let max_packet: i64 = row.try_get(1).map_err(failed)?;
        let server = Server {
            flavor,
            version,
            max_packet: usize::try_from(max_packet).unwrap_or(usize::MAX),
            tells_case: row.try_get::<i64, _>(2).map_err(failed)? == 0,
        };
        Ok(Live { connection, server: Server { flavor: *self.flavor.get_or_init(|| flavor), ..server } })
    }

    /// Which server a version is of, if it is one that knows every statement of ours.
    fn supported(&self, version: &str) -> Result<Flavor, Error> {
        let (flavor, oldest) = match version.contains("MariaDB") {
            true => (Flavor::MariaDb, [10, 11, 0]),
            false => (Flavor::MySql, [8, 0, 19]),
        };
        // MariaDB puts this before its own, for replicas of MySQL.
        let numbers = version.strip_prefix("5.5.5-").unwrap_or(version);
        let numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        let numbers: Vec<_> = numbers.take(3).collect();
        if numbers.as_slice() < oldest.as_slice() {
            let [major, minor, patch] = oldest;
            return Err(Error::pause(format!(
                "{} is {} {version}; rowfall needs {major}.{minor}.{patch} or later",
                self.address,
                flavor.name()
            )));
        }
        Ok(flavor)
    }
}
