//! What a service has to tell: how it is installed, prepared, run and asked whether it is there. How a process is
//! started, found again, stopped and killed is the same for all of them and is in `server`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clickhouse::ClickHouseService;
use crate::error::Error;
use crate::kafka::KafkaService;
use crate::mysql::{MariaDbService, MySqlService};
use crate::needs::Need;
use crate::postgres::PostgresService;
use crate::process::Signal;
use crate::registry::RegistryService;

/// Everything that can be installed and run, in the order in which it is started. A new one is one file and one entry.
pub(crate) const SERVICES: &[&dyn Service] =
    &[&KafkaService, &ClickHouseService, &PostgresService, &MariaDbService, &MySqlService, &RegistryService];

pub(crate) trait Service: Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> &'static str;
    /// Must be there before `install`.
    fn needs_to_install(&self) -> &'static [Need];
    /// Must be there whenever the server is started.
    fn needs_to_run(&self) -> &'static [Need];
    /// Names of the ports that it listens on; the first is the one that clients use.
    fn ports(&self) -> &'static [&'static str];

    /// Fetches the software from its registry into an empty directory; programs write to `log`.
    fn install(&self, into: &Path, log: &Path) -> Result<(), Error>;
    /// Writes the configuration, and makes the data directory if it is not there. Runs before every start, so it
    /// must leave data alone.
    fn prepare(&self, site: &Site) -> Result<(), Error>;
    /// The server in the foreground.
    fn command(&self, site: &Site) -> Command;
    /// Whether it serves clients now. Returns within a few seconds, whatever the server does.
    fn answers(&self, site: &Site) -> bool;
    /// How long a start may take, including recovery after a crash.
    fn start_patience(&self) -> Duration;
    /// How long a stop may take before the server is killed.
    fn stop_patience(&self) -> Duration;
    /// What asks it to stop.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

/// One server's directories and ports.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) install: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) ports: BTreeMap<String, u16>,
}

impl Site {
    /// The port of this name; all of the service's are there from the moment the site exists.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.run.join("data")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.run.join("log")
    }
}

/// The services of these names, all of them if there are none.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static dyn Service>, Error> {
    for name in names {
        if !SERVICES.iter().any(|service| service.name() == name) {
            let known: Vec<_> = SERVICES.iter().map(|service| service.name()).collect();
            return Err(Error::Unknown { name: name.clone(), known: known.join(", ") });
        }
    }
    let chosen = |service: &&dyn Service| names.is_empty() || names.iter().any(|n| n == service.name());
    Ok(SERVICES.iter().copied().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_a_wrong_one_is_answered_with_the_right_ones() {
        assert_eq!(named(&[]).unwrap().len(), SERVICES.len());
        assert_eq!(named(&["kafka".into()]).unwrap()[0].name(), "kafka");
        let error = named(&["kafak".into()]).err().unwrap().to_string();
        assert_eq!(
            error,
            "there is no service `kafak`; there are kafka, clickhouse, postgres, mariadb, mysql, registry"
        );
    }
}
