//! ClickHouse: the server's own code from the `chdb-core` package, served by `clickhouse.py`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::http;
use crate::needs::Need;
use crate::place::{create, write};
use crate::python;
use crate::server::Server;
use crate::service::{Service, Site};
use crate::versions;

/// A running ClickHouse server.
#[derive(Debug)]
pub struct ClickHouse {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The HTTP port in `url`.
    pub http_port: u16,
    /// The port of the native protocol.
    pub tcp_port: u16,
    /// A user who may do everything.
    pub user: &'static str,
    /// That user's password.
    pub password: &'static str,
    /// The process: stop it, kill it, start it again.
    pub server: Server,
}

/// A user who may do everything, with a password.
const ALL: (&str, &str) = ("rowfall", "rowfall-secret");

impl ClickHouse {
    /// A user who may read everything and write nothing, and the password.
    pub const READER: (&'static str, &'static str) = ("reader", "reader-secret");
    /// A user who may not even read, and the password.
    pub const NOGRANT: (&'static str, &'static str) = ("nogrant", "nogrant-secret");

    /// The shared server. An error that names the command if it is not up.
    pub fn running() -> Result<ClickHouse, Error> {
        Server::running(&ClickHouseService).map(ClickHouse::of)
    }

    /// A server of one's own in `dir`, on its own ports; it ends when it is dropped, and with this process at the
    /// latest. Files in `dir/config.d` and `dir/users.d` are merged into the configuration, as ClickHouse does.
    pub fn start_private(dir: impl AsRef<Path>) -> Result<ClickHouse, Error> {
        Server::private(&ClickHouseService, dir.as_ref()).map(ClickHouse::of)
    }

    /// Two servers of one's own, `dir/first` and `dir/second`, each of which knows both as the cluster `name`, a shard
    /// each, and has a `graphite_rollup`.
    pub fn start_private_cluster(dir: impl AsRef<Path>, name: &str) -> Result<[ClickHouse; 2], Error> {
        let dirs = ["first", "second"].map(|name| dir.as_ref().join(name));
        let [first, second] = dirs.each_ref().map(ClickHouse::start_private);
        let servers = [first?, second?];
        let shard = |server: &ClickHouse| {
            let ClickHouse { tcp_port, user, password, .. } = server;
            format!(
                "<shard><replica><host>127.0.0.1</host><port>{tcp_port}</port><user>{user}</user>\
                 <password>{password}</password></replica></shard>"
            )
        };
        let config = format!(
            "<clickhouse>
  <remote_servers><{name}>{}</{name}></remote_servers>
  <graphite_rollup><default>
    <function>avg</function><retention><age>0</age><precision>60</precision></retention>
  </default></graphite_rollup>
</clickhouse>
",
            servers.each_ref().map(shard).concat(),
        );
        // Each has to know the other's port, which is chosen at its first start.
        for (server, dir) in servers.iter().zip(dirs) {
            create(&dir.join("config.d"))?;
            write(&dir.join("config.d/cluster.xml"), &config)?;
            server.server.stop()?;
            server.server.start()?;
        }
        Ok(servers)
    }

    fn of(server: Server) -> ClickHouse {
        let http_port = server.port(HTTP);
        ClickHouse {
            url: format!("http://127.0.0.1:{http_port}"),
            http_port,
            tcp_port: server.port(TCP),
            user: ALL.0,
            password: ALL.1,
            server,
        }
    }

    /// Runs one statement as the user who may do everything; the answer is tab-separated unless it says otherwise.
    pub fn query(&self, sql: &str) -> Result<String, Error> {
        self.query_as(ALL, sql)
    }

    /// Runs one statement as `(user, password)`.
    pub fn query_as(&self, credentials: (&str, &str), sql: &str) -> Result<String, Error> {
        const PATIENCE: Duration = Duration::from_secs(300);
        let (status, body) =
            http::post(self.http_port, credentials, sql, PATIENCE).map_err(Error::io("query", Path::new(&self.url)))?;
        if status == 200 { Ok(body) } else { Err(Error::Refused { status, body }) }
    }
}

pub(crate) struct ClickHouseService;

const HTTP: &str = "http";
const TCP: &str = "tcp";

impl Service for ClickHouseService {
    fn name(&self) -> &'static str {
        "clickhouse"
    }

    fn version(&self) -> &'static str {
        versions::CHDB_CORE
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Python, Need::Pip]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[Need::Python]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[HTTP, TCP]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        python::install(&[format!("chdb-core=={}", versions::CHDB_CORE)], into, log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        create(&site.data())?;
        write(&site.run.join("config.xml"), &config(site))?;
        write(&site.run.join("users.xml"), &users())?;
        write(&site.run.join("clickhouse.py"), include_str!("clickhouse.py"))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("python3");
        command.args(["-I", "-B", "clickhouse.py"]).arg(&site.install);
        command.arg(site.port(HTTP).to_string()).arg(site.data());
        // `<timezone>` alone leaves the machine's name of it in place.
        command.env("TZ", "UTC").current_dir(&site.run);
        command
    }

    fn answers(&self, site: &Site) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        let answer = http::post(site.port(HTTP), ALL, "SELECT 1", PATIENCE);
        answer.is_ok_and(|(status, body)| status == 200 && body == "1\n")
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

fn config(site: &Site) -> String {
    let (logs, data) = (site.logs(), site.data());
    format!(
        "<clickhouse>
  <logger>
    <level>warning</level>
    <log>{logs}/clickhouse.log</log>
    <errorlog>{logs}/clickhouse-errors.log</errorlog>
    <size>50M</size>
    <count>2</count>
  </logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http}</http_port>
  <tcp_port>{tcp}</tcp_port>
  <path>{data}/</path>
  <tmp_path>{data}/tmp/</tmp_path>
  <users_config>users.xml</users_config>
  <timezone>UTC</timezone>
  <!-- Exactly-once needs it. A test of what is said without it makes a table with 0. -->
  <merge_tree><non_replicated_deduplication_window>25000</non_replicated_deduplication_window></merge_tree>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <flush_interval_milliseconds>1000</flush_interval_milliseconds>
  </query_log>
</clickhouse>
",
        logs = logs.display(),
        data = data.display(),
        http = site.port(HTTP),
        tcp = site.port(TCP),
    )
}

fn users() -> String {
    let user = |(name, password): (&str, &str), rights: &str| {
        format!(
            "    <{name}>
      <password>{password}</password>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      {rights}
    </{name}>
"
        )
    };
    let granted = |grant: &str| format!("<grants><query>{grant}</query></grants>");
    let users = [
        user(("default", ""), "<access_management>1</access_management>"),
        user(ALL, &granted("GRANT ALL ON *.* WITH GRANT OPTION")),
        user(ClickHouse::READER, &granted("GRANT SELECT ON *.*")),
        user(ClickHouse::NOGRANT, &granted("REVOKE ALL ON *.*")),
    ]
    .concat();
    format!(
        "<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
{users}  </users>
</clickhouse>
"
    )
}
