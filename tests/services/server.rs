//! A server in its run directory: the same for the shared ones and for the private ones of a test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::place::{Place, create, remove, write};
use crate::ports;
use crate::process::{Leash, Process, spawn, tail};
use crate::service::{Service, Site};

/// Kept in the run directory, so that any process can find, check and stop the server.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: String,
    ports: BTreeMap<String, u16>,
    process: Option<Process>,
}

impl Record {
    fn path(run: &Path) -> PathBuf {
        run.join("server.json")
    }

    /// None if the server was never started here. A record that cannot be read counts as none, too: a half-written
    /// one belongs to a start that was interrupted.
    fn read(run: &Path) -> Option<Record> {
        let text = fs::read_to_string(Record::path(run)).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, run: &Path) -> Result<(), Error> {
        let path = Record::path(run);
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::io("write", &path)(error.into()))?;
        // Renamed into place: a reader sees the old record or the new one.
        let new = path.with_added_extension("new");
        write(&new, &text)?;
        fs::rename(&new, &path).map_err(Error::io("rename", &new))
    }
}

/// One server that can be stopped, killed and started again, on the same ports and the same data.
///
/// All methods take `&self` and read the server's state from its run directory, so that several tests, and several
/// processes, may hold the same one.
pub struct Server {
    service: &'static dyn Service,
    site: Site,
    /// Only a private server has one: it ends with the process that started it.
    leash: Option<Mutex<Option<Leash>>>,
}

impl Server {
    /// The server of a run directory; chooses its ports if this is the first time.
    fn at(service: &'static dyn Service, run: PathBuf, private: bool) -> Result<Server, Error> {
        create(&run.join("log"))?;
        let ports = match Record::read(&run) {
            Some(record) if service.ports().iter().all(|p| record.ports.contains_key(*p)) => record.ports,
            _ => choose_ports(service, &run)?,
        };
        let site = Site { install: Place::of_workspace().install_dir(service), run, ports };
        Ok(Server { service, site, leash: private.then(Mutex::default) })
    }

    /// The shared server, running or not. The caller holds the place's lock.
    pub(crate) fn shared(service: &'static dyn Service) -> Result<Server, Error> {
        let run = Place::of_workspace().run_dir(service);
        if let Some(old) = Record::read(&run)
            && old.version != service.version()
        {
            // Its data may not suit the version that is to run now.
            let old = Server::at(service, run.clone(), false)?;
            old.stop()?;
            old.forget()?;
        }
        Server::at(service, run, false)
    }

    /// The shared server if it is up and answers.
    pub(crate) fn running(service: &'static dyn Service) -> Result<Server, Error> {
        let run = Place::of_workspace().run_dir(service);
        let not_running = Error::NotRunning { service: service.name() };
        match Record::read(&run) {
            Some(record) if record.version == service.version() => {
                let server = Server::at(service, run, false)?;
                server.is_up().then_some(server).ok_or(not_running)
            }
            _ => Err(not_running),
        }
    }

    /// A server of one's own in `run`, started.
    pub(crate) fn private(service: &'static dyn Service, run: &Path) -> Result<Server, Error> {
        {
            let place = Place::of_workspace();
            let _lock = place.lock()?;
            place.install(&[service])?;
        }
        create(run)?;
        let run = fs::canonicalize(run).map_err(Error::io("find", run))?;
        let server = Server::at(service, run, true)?;
        server.start()?;
        Ok(server)
    }

    /// Starts it and waits until it answers. Does nothing if it does already.
    pub fn start(&self) -> Result<(), Error> {
        let lock = self.lock()?;
        if self.process().is_none() {
            self.service.prepare(&self.site)?;
            let command = self.service.command(&self.site);
            let program = Path::new(command.get_program()).to_path_buf();
            let process = spawn(&command, &self.output()).map_err(Error::io("start", &program))?;
            if let Some(leash) = &self.leash {
                let new = Leash::tie(process).map_err(Error::io("watch", &program))?;
                *leash.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
            }
            self.record(Some(process))?;
        }
        drop(lock);
        self.wait_until_it_answers()
    }

    /// Stops it in its own orderly way; kills it if that takes too long.
    pub fn stop(&self) -> Result<(), Error> {
        self.end(|process| process.stop(self.service.stop_signal(), self.service.stop_patience()))
    }

    /// `kill -9`: what was acknowledged must survive it.
    pub fn kill9(&self) -> Result<(), Error> {
        self.end(Process::kill)
    }

    fn end(&self, how: impl FnOnce(Process) -> std::io::Result<()>) -> Result<(), Error> {
        let _lock = self.lock()?;
        if let Some(process) = self.process() {
            how(process).map_err(Error::io("stop the server in", &self.site.run))?;
            self.record(None)?;
        }
        Ok(())
    }

    /// Whether it runs and answers.
    pub fn is_up(&self) -> bool {
        self.process().is_some() && self.service.answers(&self.site)
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(|process| process.pid)
    }

    /// Resident memory in MB while it runs.
    pub fn memory(&self) -> Option<u64> {
        self.process().and_then(Process::memory)
    }

    /// The directory of its logs.
    pub fn logs(&self) -> PathBuf {
        self.site.logs()
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        self.site.port(name)
    }

    pub(crate) fn service(&self) -> &'static dyn Service {
        self.service
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Removes data, ports and configuration of a stopped server; logs stay.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        remove(&self.site.data())?;
        match fs::remove_file(Record::path(&self.site.run)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove the record in", &self.site.run)(error))
            }
            _ => Ok(()),
        }
    }

    /// So that of two tests that start the same server only one does.
    fn lock(&self) -> Result<File, Error> {
        let path = self.site.run.join("lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    fn process(&self) -> Option<Process> {
        let process = Record::read(&self.site.run)?.process?;
        process.is_alive().then_some(process)
    }

    fn record(&self, process: Option<Process>) -> Result<(), Error> {
        Record { version: self.service.version().to_owned(), ports: self.site.ports.clone(), process }
            .write(&self.site.run)
    }

    fn output(&self) -> PathBuf {
        self.site.logs().join("output.log")
    }

    fn wait_until_it_answers(&self) -> Result<(), Error> {
        let began = Instant::now();
        let patience = self.service.start_patience();
        loop {
            if self.is_up() {
                return Ok(());
            }
            let how = if self.process().is_none() {
                "ended while it was starting".to_owned()
            } else if began.elapsed() > patience {
                // Killed, so that the next start does not find the same silent process.
                self.kill9()?;
                format!("did not answer within {} s", patience.as_secs())
            } else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            return Err(Error::Start {
                service: self.service.name(),
                how,
                log: self.output(),
                tail: tail(&self.output(), 20),
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.leash.is_some() {
            // There is nobody to tell; the leash, dropped next, tries once more.
            let _ = self.kill9();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("service", &self.service.name())
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// New ports, recorded at once so that they stay the same.
fn choose_ports(service: &dyn Service, run: &Path) -> Result<BTreeMap<String, u16>, Error> {
    let names = service.ports();
    let free = ports::free(names.len()).map_err(Error::io("find ports for", run))?;
    let ports: BTreeMap<_, _> = names.iter().map(|name| (*name).to_owned()).zip(free).collect();
    let record = Record { version: service.version().to_owned(), ports: ports.clone(), process: None };
    record.write(run)?;
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::SERVICES;

    #[test]
    fn ports_are_chosen_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        for service in SERVICES {
            let run = dir.path().join(service.name());
            let first = Server::at(*service, run.clone(), false).unwrap();
            let second = Server::at(*service, run, false).unwrap();
            assert_eq!(first.site.ports, second.site.ports);
            assert_eq!(first.site.ports.len(), service.ports().len());
        }
    }

    #[test]
    fn a_half_written_record_and_a_process_of_the_past_count_as_not_running() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::at(SERVICES[0], dir.path().to_path_buf(), false).unwrap();
        let me = Process::of(std::process::id()).unwrap();
        server.record(Some(me)).unwrap();
        assert_eq!(server.pid(), Some(me.pid));
        let past = Process { began: me.began - 1, ..me };
        server.record(Some(past)).unwrap();
        assert_eq!(server.pid(), None);
        server.kill9().unwrap();
        write(&Record::path(dir.path()), "{\"version\": \"4").unwrap();
        assert_eq!(server.pid(), None);
    }

    #[test]
    fn forgetting_leaves_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::at(SERVICES[0], dir.path().to_path_buf(), false).unwrap();
        create(&server.site.data()).unwrap();
        write(&server.output(), "said").unwrap();
        server.forget().unwrap();
        server.forget().unwrap();
        assert!(!server.site.data().exists() && !Record::path(dir.path()).exists());
        assert_eq!(tail(&server.output(), 1), "said");
    }
}
