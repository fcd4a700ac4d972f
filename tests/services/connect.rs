//! Kafka Connect with Debezium's connectors, which read what is done in a database: one process, for one test.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::kafka::KafkaService;
use crate::needs::Need;
use crate::place::{Place, create, write};
use crate::server::Server;
use crate::service::{Service, Site};
use crate::{http, maven, versions};

/// A running Connect worker.
#[derive(Debug)]
pub struct Connect {
    /// The process.
    pub server: Server,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Connect {
    /// A worker of one's own in `dir`, beside these brokers; it ends when it is dropped, and with this process at the
    /// latest.
    pub fn start_private(dir: impl AsRef<Path>, brokers: &str) -> Result<Connect, Error> {
        create(dir.as_ref())?;
        write(&dir.as_ref().join("brokers"), brokers)?;
        {
            // Its own libraries are Kafka's.
            let place = Place::of_workspace();
            let _lock = place.lock()?;
            place.install(&[&KafkaService])?;
        }
        Server::private(&ConnectService, dir.as_ref()).map(|server| Connect { server })
    }

    /// Starts a connector, `{"name": …, "config": {…}}` as JSON.
    pub fn create(&self, connector: &str) -> Result<String, Error> {
        self.send("POST", "/connectors", connector)
    }

    /// What becomes of a connector, as JSON.
    pub fn status(&self, name: &str) -> Result<String, Error> {
        self.send("GET", &format!("/connectors/{name}/status"), "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Result<String, Error> {
        let port = self.server.port(REST);
        let headers = [("Content-Type", "application/json")];
        let answer = http::send(port, method, path, &headers, body, PATIENCE);
        let (status, body) = answer.map_err(Error::io("ask Kafka Connect", Path::new(path)))?;
        if (200..300).contains(&status) { Ok(body) } else { Err(Error::Refused { status, body }) }
    }
}

struct ConnectService;

const REST: &str = "rest";

impl Service for ConnectService {
    fn name(&self) -> &'static str {
        "debezium"
    }

    fn version(&self) -> &'static str {
        versions::DEBEZIUM
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Java, Need::Maven]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[Need::Java]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[REST]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        let connector =
            |database: &str| format!("io.debezium:debezium-connector-{database}:{}:tar.gz:plugin", versions::DEBEZIUM);
        maven::unpack(&connector("postgres"), into, log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        create(&site.data())?;
        let brokers = std::fs::read_to_string(site.run.join("brokers")).unwrap_or_default();
        let settings = format!(
            "bootstrap.servers={brokers}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename={data}/offsets
offset.flush.interval.ms=1000
listeners=http://127.0.0.1:{port}
plugin.path={plugins}
",
            data = site.data().display(),
            port = site.port(REST),
            plugins = site.install.display(),
        );
        write(&site.run.join("worker.properties"), &settings)
    }

    fn command(&self, site: &Site) -> Command {
        let libraries = Place::of_workspace().install_dir(&KafkaService).join("libs/*");
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(libraries);
        command.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg("worker.properties");
        command.current_dir(&site.run);
        command
    }

    fn answers(&self, site: &Site) -> bool {
        let answer = http::send(site.port(REST), "GET", "/connectors", &[], "", Duration::from_secs(2));
        answer.is_ok_and(|(status, _)| status == 200)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(120)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}
