//! Where servers are installed and where they run.
//!
//! ```text
//! .services/install/kafka-4.1.2/   complete, or not there at all
//! .services/run/kafka/             server.json (ports, pid), configuration, data/, log/
//! .services/log/                   what the installers said
//! .services/lock                   held while something is installed, started or stopped
//! ```

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::needs;
use crate::service::Service;
use crate::step::step;

/// Another place for everything below `.services`, for instance one that several checkouts share.
const ELSEWHERE: &str = "ROWFALL_SERVICES";

pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    pub(crate) fn of_workspace() -> Place {
        let member = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = member.ancestors().nth(2).unwrap_or(member);
        let root = std::env::var_os(ELSEWHERE).unwrap_or_else(|| ".services".into());
        // Programs run in different directories, so a relative one is one of the workspace.
        let root = workspace.join(root);
        Place { root }
    }

    /// The run directory of the shared server.
    pub(crate) fn run_dir(&self, service: &dyn Service) -> PathBuf {
        self.root.join("run").join(service.name())
    }

    pub(crate) fn install_dir(&self, service: &dyn Service) -> PathBuf {
        self.directory(service.name(), service.version())
    }

    /// Where something of this name and version is installed.
    pub(crate) fn directory(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("install").join(format!("{name}-{version}"))
    }

    pub(crate) fn install_log(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.root.join("log");
        create(&dir)?;
        Ok(dir.join(format!("{name}.log")))
    }

    /// Waits until no other process installs, starts or stops; the lock ends with the returned file.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        create(&self.root)?;
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    /// Installs `services` unless they are, under the lock, and returns nothing but a complete installation: each is
    /// made beside its place and renamed into it, so that an interrupted one is repeated from the start.
    pub(crate) fn install(&self, services: &[&dyn Service]) -> Result<(), Error> {
        let missing: Vec<_> = services.iter().filter(|service| !self.install_dir(**service).exists()).collect();
        let to_run = services.iter().flat_map(|service| service.needs_to_run());
        let to_install = missing.iter().flat_map(|service| service.needs_to_install());
        let mut all = Vec::new();
        for need in to_run.chain(to_install) {
            if !all.contains(need) {
                all.push(*need);
            }
        }
        needs::ensure(&all)?;
        for service in missing {
            self.complete(service.name(), service.version(), |into, log| service.install(into, log))?;
        }
        Ok(())
    }

    /// The directory of what is installed under this name and version, by `install` if it is not there yet.
    pub(crate) fn complete(
        &self,
        name: &str,
        version: &str,
        install: impl FnOnce(&Path, &Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let complete = self.directory(name, version);
        if complete.exists() {
            return Ok(complete);
        }
        // The name is this process's own: an installer whose starter was killed may still be writing.
        let partial = complete.with_added_extension(format!("partial-{}", std::process::id()));
        let log = self.install_log(name)?;
        step(format_args!("{name} {version}: install"), || {
            self.remove_partial()?;
            create(&partial)?;
            install(&partial, &log)?;
            fs::rename(&partial, &complete).map_err(Error::io("rename", &partial))
        })?;
        Ok(complete)
    }

    /// What interrupted installations left behind.
    fn remove_partial(&self) -> Result<(), Error> {
        let dir = self.root.join("install");
        let Ok(entries) = fs::read_dir(&dir) else {
            return Ok(());
        };
        for entry in entries {
            let path = entry.map_err(Error::io("read", &dir))?.path();
            if path.extension().is_some_and(|e| e.to_string_lossy().starts_with("partial-")) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn create(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io("create", dir))
}

pub(crate) fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(Error::io("write", file))
}

/// Removes a directory with all that is in it; one that is not there is fine.
pub(crate) fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::SERVICES;

    #[test]
    fn an_installation_is_named_by_its_version() {
        let place = Place { root: PathBuf::from("/p") };
        for service in SERVICES {
            let dir = place.install_dir(*service);
            let name = dir.file_name().unwrap().to_str().unwrap();
            assert!(name.ends_with(service.version()), "{name}");
        }
    }

    #[test]
    fn leftovers_of_interrupted_installations_go_and_complete_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { root: dir.path().to_path_buf() };
        place.remove_partial().unwrap();
        let complete = place.install_dir(SERVICES[0]);
        let partial = complete.with_added_extension("partial-77");
        create(&complete).unwrap();
        create(&partial).unwrap();
        place.remove_partial().unwrap();
        assert!(complete.exists() && !partial.exists());
    }
}
