//! Archives from Maven's central repository.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::step::run;
use crate::versions;

/// Unpacks one artifact, `group:artifact:version`, without what it depends on.
pub(crate) fn unpack(artifact: &str, into: &Path, log: &Path) -> Result<(), Error> {
    let goal = format!("org.apache.maven.plugins:maven-dependency-plugin:{}:unpack", versions::MAVEN_DEPENDENCY_PLUGIN);
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", &goal, "-DoutputDirectory=."]).arg(format!("-Dartifact={artifact}"));
    run(maven.current_dir(into), log)
}
