//! Apache Kafka: one process that is broker and controller, in plain text on the loopback address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::needs::Need;
use crate::place::{create, remove, write};
use crate::server::Server;
use crate::service::{Service, Site};
use crate::step::run;
use crate::versions;

/// A running Kafka broker.
#[derive(Debug)]
pub struct Kafka {
    /// `bootstrap.servers` for clients.
    pub brokers: String,
    /// The process: stop it, kill it, start it again.
    pub server: Server,
}

impl Kafka {
    /// The shared broker. An error that names the command if it is not up.
    pub fn running() -> Result<Kafka, Error> {
        Server::running(&KafkaService).map(Kafka::of)
    }

    /// A broker of one's own in `dir`, on its own ports; it ends when it is dropped, and with this process at the
    /// latest. Settings in `dir/extra.properties` win over ours.
    pub fn start_private(dir: impl AsRef<Path>) -> Result<Kafka, Error> {
        Server::private(&KafkaService, dir.as_ref()).map(Kafka::of)
    }

    fn of(server: Server) -> Kafka {
        Kafka { brokers: format!("127.0.0.1:{}", server.port(BROKER)), server }
    }

    /// One of Kafka's own tools by its class, for instance `org.apache.kafka.tools.TopicCommand`; arguments are the
    /// caller's, `--bootstrap-server` among them.
    pub fn tool(&self, class: &str) -> Command {
        let mut command = java(&self.server.site().install);
        command.arg(class);
        command
    }
}

pub(crate) struct KafkaService;

const BROKER: &str = "broker";
const CONTROLLER: &str = "controller";

/// Any 16 bytes in base64 will do: the cluster has one node and never meets another.
const CLUSTER: &str = "cm93ZmFsbC1zZXJ2aWNlcw";

impl Service for KafkaService {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn version(&self) -> &'static str {
        versions::KAFKA
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Java, Need::Maven]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[Need::Java]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[BROKER, CONTROLLER]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        write(&into.join("pom.xml"), &pom())?;
        let goal = format!(
            "org.apache.maven.plugins:maven-dependency-plugin:{}:copy-dependencies",
            versions::MAVEN_DEPENDENCY_PLUGIN
        );
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", &goal, "-DoutputDirectory=libs"]);
        run(maven.current_dir(into), log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        let properties = site.run.join("server.properties");
        write(&properties, &server_properties(site))?;
        write(&site.run.join("log4j2.properties"), &log4j(site))?;
        let data = site.data();
        // Written last by the formatting: without it, that was interrupted.
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        remove(&data)?;
        create(&data)?;
        let mut format = java(&site.install);
        format.args(["kafka.tools.StorageTool", "format", "--standalone"]);
        format.args(["-t", CLUSTER, "-c"]).arg(&properties);
        run(&mut format, &site.logs().join("format.log"))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("java");
        let mut log4j = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        log4j.push(site.run.join("log4j2.properties"));
        command.arg("-Xmx512m").arg(log4j);
        command.arg("-cp").arg(site.install.join("libs/*"));
        command.arg("kafka.Kafka");
        command.arg(site.run.join("server.properties"));
        command.current_dir(&site.run);
        command
    }

    fn answers(&self, site: &Site) -> bool {
        lists_a_broker(site.port(BROKER)).unwrap_or(false)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(90)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// For programs that end soon: the small heap and the simple collector start fastest.
fn java(install: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-cp").arg(install.join("libs/*"));
    command
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    let broker = format!("kafka_{}", versions::KAFKA_SCALA);
    let dependencies = [
        dependency("org.apache.kafka", &broker, versions::KAFKA),
        dependency("org.apache.kafka", "kafka-tools", versions::KAFKA),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", versions::LOG4J_SLF4J),
    ]
    .concat();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>rowfall</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"
    )
}

/// One node, so every replication factor is 1; few partitions of the internal topics, so that starts are quick. After
/// a kill the broker is let in again when its old session has run out, so that is short.
fn server_properties(site: &Site) -> String {
    let (broker, controller) = (site.port(BROKER), site.port(CONTROLLER));
    let listeners = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let data = site.data();
    let extra = std::fs::read_to_string(site.run.join("extra.properties")).unwrap_or_default();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners}
advertised.listeners={listeners}
log.dirs={}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
{extra}",
        data.display()
    )
}

/// Warnings, and what explains a test that hangs: starts, stops and rebalances.
fn log4j(site: &Site) -> String {
    format!(
        "status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %-5p %c{{1}} %m%n
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
logger.group.name=org.apache.kafka.coordinator.group
logger.group.level=info
",
        site.logs().join("kafka.log").display()
    )
}

/// Asks for the cluster's metadata. A broker is listed once it may serve clients, seconds after its port is open.
fn lists_a_broker(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(2);
    // Size; key 3 (Metadata), version 4, correlation 7, no client id; no topics, no creation of any.
    const REQUEST: &[u8] = &[0, 0, 0, 15, 0, 3, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0, 0];
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    // Size, correlation, throttle time, number of brokers.
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    Ok(head[4..8] == [0, 0, 0, 7] && head[12..16] != [0, 0, 0, 0])
}
