//! Python packages, each set in a directory of its own that goes into `PYTHONPATH`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::needs::{self, Need};
use crate::place::Place;
use crate::step::run;
use crate::versions;

/// The directory with the clients for Kafka and ClickHouse that a consumer written in Python uses: `confluent-kafka`,
/// `orjson` and `clickhouse-connect` with its compiled codec. Installed from PyPI if they are not there.
pub fn python_clients() -> Result<PathBuf, Error> {
    let clients = versions::PYTHON_CLIENTS;
    let all: Vec<_> = clients.iter().map(|(_, version)| *version).collect();
    let place = Place::of_workspace();
    let _lock = place.lock()?;
    needs::ensure(&[Need::Python, Need::Pip])?;
    place.complete("python-clients", &all.join("-"), |into, log| {
        let pinned: Vec<_> = clients.iter().map(|(name, version)| format!("{name}=={version}")).collect();
        install(&pinned, into, log)
    })
}

/// Installs exactly these packages, without what they need.
pub(crate) fn install(packages: &[String], into: &Path, log: &Path) -> Result<(), Error> {
    let mut pip = Command::new("python3");
    // Into a directory of our own, which also a Python that its distribution manages allows.
    pip.args(["-m", "pip", "install", "--no-deps", "--target"]).arg(into).args(packages);
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    pip.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    run(&mut pip, log)
}
