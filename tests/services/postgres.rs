//! PostgreSQL: the server alone, as `embedded-postgres-binaries` packs it; there are no client programs.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::needs::Need;
use crate::place::{create, remove, write};
use crate::process::Signal;
use crate::server::Server;
use crate::service::{Service, Site};
use crate::step::run;
use crate::{maven, unprivileged, versions};

/// A running PostgreSQL server. Passwords are checked (SCRAM); there is no TLS.
#[derive(Debug)]
pub struct Postgres {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// A user who may do everything.
    pub user: &'static str,
    /// That user's password.
    pub password: &'static str,
    /// The process: stop it, kill it, start it again.
    pub server: Server,
}

/// A user who may do everything, with a password.
const ALL: (&str, &str) = ("rowfall", "rowfall-secret");

/// The database that every server has.
const DATABASE: &str = "postgres";

impl Postgres {
    /// A user who may read everything and write nothing, and the password.
    pub const READER: (&'static str, &'static str) = ("reader", "reader-secret");
    /// A user who may only log in, and the password.
    pub const NOGRANT: (&'static str, &'static str) = ("nogrant", "nogrant-secret");

    /// The shared server. An error that names the command if it is not up.
    pub fn running() -> Result<Postgres, Error> {
        Server::running(&PostgresService).map(Postgres::of)
    }

    /// A server of one's own in `dir`, on its own port; it ends when it is dropped, and with this process at the
    /// latest. Settings in `dir/extra.conf` win over ours.
    pub fn start_private(dir: impl AsRef<Path>) -> Result<Postgres, Error> {
        Server::private(&PostgresService, dir.as_ref()).map(Postgres::of)
    }

    fn of(server: Server) -> Postgres {
        Postgres { port: server.port(SQL), user: ALL.0, password: ALL.1, server }
    }

    /// The URL for the user who may do everything.
    pub fn url(&self) -> String {
        self.url_as(ALL)
    }

    /// The URL for `(user, password)`.
    pub fn url_as(&self, (user, password): (&str, &str)) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{DATABASE}", self.port)
    }
}

pub(crate) struct PostgresService;

const SQL: &str = "sql";

impl Service for PostgresService {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn version(&self) -> &'static str {
        versions::POSTGRES
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Java, Need::Maven, Need::Xz]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[SQL]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        let jar = into.join("jar");
        create(&jar)?;
        let arch = if cfg!(target_arch = "aarch64") { "arm64v8" } else { "amd64" };
        let artifact =
            format!("io.zonky.test.postgres:embedded-postgres-binaries-linux-{arch}:{}", versions::POSTGRES_BINARIES);
        maven::unpack(&artifact, &jar, log)?;
        let entries = fs::read_dir(&jar).map_err(Error::io("read", &jar))?;
        let archives = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        for archive in archives.filter(|path| path.extension().is_some_and(|extension| extension == "txz")) {
            run(Command::new("tar").arg("-xJf").arg(archive).current_dir(into), log)?;
        }
        remove(&jar)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        let data = site.data();
        if data.exists() {
            wait_for_children(&data);
        } else {
            // Renamed into place when it is complete.
            let new = site.run.join("data.new");
            remove(&new)?;
            create(&new)?;
            unprivileged::give(&new)?;
            initialize(site, &new)?;
            fs::rename(&new, &data).map_err(Error::io("rename", &new))?;
        }
        let conf = data.join("postgresql.auto.conf");
        let extra = fs::read_to_string(site.run.join("extra.conf")).unwrap_or_default();
        write(&conf, &format!("{CONF}{extra}"))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = unprivileged::command(&site.install.join("bin/postgres"));
        command.arg("-D").arg(site.data()).args(["-p", &site.port(SQL).to_string()]);
        command.env("TZ", "UTC").current_dir("/");
        command
    }

    fn answers(&self, site: &Site) -> bool {
        asks_for_a_password(site.port(SQL)).unwrap_or(false)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// Its orderly stop on SIGTERM would wait until the last client has gone.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

/// No socket file: its directory would have to be writable, and its path is often too long. `wal_level` is for those
/// who read the changes. Nothing here crashes the machine, and what a killed process has written stays in its memory, so
/// that a commit need not wait for the disk.
const CONF: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
fsync = off
max_wal_size = '2GB'
timezone = 'UTC'
log_timezone = 'UTC'
";

/// An empty cluster with our users.
fn initialize(site: &Site, data: &Path) -> Result<(), Error> {
    let log = site.logs().join("initdb.log");
    let password = site.run.join("password");
    write(&password, ALL.1)?;
    let bin = site.install.join("bin");
    let mut initdb = unprivileged::command(&bin.join("initdb"));
    initdb.arg("-D").arg(data).arg(format!("--pwfile={}", password.display()));
    initdb.args(["-U", ALL.0, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    run(initdb.current_dir("/"), &log)?;
    // Without a client program, the server itself is told in its single-user mode: one statement a line.
    let role = |(name, password), rights| format!("CREATE ROLE {name} LOGIN PASSWORD '{password}' {rights};\n");
    let statements = [role(Postgres::READER, "IN ROLE pg_read_all_data"), role(Postgres::NOGRANT, "")].concat();
    let mut single = unprivileged::command(&bin.join("postgres"));
    single.arg("--single").arg("-D").arg(data).arg(DATABASE).current_dir("/");
    let program = bin.join("postgres");
    let output = fs::File::options().append(true).open(&log).map_err(Error::io("open", &log))?;
    let copy = output.try_clone().map_err(Error::io("open", &log))?;
    let mut child =
        single.stdin(Stdio::piped()).stdout(output).stderr(copy).spawn().map_err(Error::io("start", &program))?;
    let mut input = child.stdin.take();
    input.iter_mut().try_for_each(|pipe| pipe.write_all(statements.as_bytes())).map_err(Error::io("tell", &program))?;
    drop(input);
    child.wait().map_err(Error::io("wait for", &program)).map(drop)
}

/// After `kill -9` of the server its children end by themselves, a moment later; until then none can start in its
/// place. They are known by the directory in which they work.
fn wait_for_children(data: &Path) {
    let works_there = |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data);
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let Ok(mut processes) = fs::read_dir("/proc") else { return };
        if !processes.any(|entry| entry.as_ref().is_ok_and(works_there)) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Begins to log in. While it starts, the server answers that with an error.
fn asks_for_a_password(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let parameters = format!("user\0{}\0database\0{DATABASE}\0\0", ALL.0);
    let length = u32::try_from(parameters.len() + 8).unwrap_or(u32::MAX);
    // Length, protocol 3.0, parameters.
    let request = [&length.to_be_bytes()[..], &[0, 3, 0, 0], parameters.as_bytes()].concat();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&request)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}
