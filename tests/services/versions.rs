//! Every version that is installed, in one place. What the first release was measured against; a newer one is a
//! deliberate change, because the facts in `docs/` name these.

pub(crate) const KAFKA: &str = "4.1.2";
pub(crate) const KAFKA_SCALA: &str = "2.13";
/// Kafka logs through slf4j 1.7; without this binding it is silent.
pub(crate) const LOG4J_SLF4J: &str = "2.24.3";
/// The real server's code, packaged as a Python module.
pub(crate) const CHDB_CORE: &str = "26.9.0";
pub(crate) const MAVEN_DEPENDENCY_PLUGIN: &str = "3.8.1";
