//! What the machine itself must have, and how to get it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::place::Place;
use crate::step::{run, step};

/// A program or library that is looked for before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A Java runtime, 17 or newer.
    Java,
    /// `mvn`.
    Maven,
    /// `apt-get`, which fetches Debian's packages.
    Apt,
    /// `python3`.
    Python,
    /// pip, as a module of `python3`.
    Pip,
    /// `xz`, with which archives are packed.
    Xz,
    /// C and C++ compilers.
    Compiler,
    /// `make`.
    Make,
    /// `pkg-config`.
    PkgConfig,
    /// OpenSSL's headers.
    OpenSsl,
    /// zlib's headers.
    Zlib,
}

/// What building the project takes: librdkafka is compiled from its C sources.
pub const BUILD: &[Need] = &[Need::Compiler, Need::Make, Need::PkgConfig, Need::OpenSsl, Need::Zlib];

const JAVA_OLDEST: u32 = 17;

impl Need {
    fn what(self) -> &'static str {
        match self {
            Need::Java => "java (17 or newer)",
            Need::Maven => "mvn (Maven)",
            Need::Apt => "apt-get",
            Need::Python => "python3",
            Need::Pip => "pip for python3",
            Need::Xz => "xz",
            Need::Compiler => "cc and c++ (C compilers)",
            Need::Make => "make",
            Need::PkgConfig => "pkg-config",
            Need::OpenSsl => "OpenSSL's headers",
            Need::Zlib => "zlib's headers",
        }
    }

    /// Debian's and Ubuntu's name of the package.
    fn package(self) -> &'static str {
        match self {
            Need::Java => "default-jre-headless",
            Need::Maven => "maven",
            Need::Apt => "apt",
            Need::Python => "python3",
            Need::Pip => "python3-pip",
            Need::Xz => "xz-utils",
            Need::Compiler => "build-essential",
            Need::Make => "make",
            Need::PkgConfig => "pkg-config",
            Need::OpenSsl => "libssl-dev",
            Need::Zlib => "zlib1g-dev",
        }
    }

    fn is_met(self) -> bool {
        match self {
            Need::Java => java_version().is_some_and(|version| version >= JAVA_OLDEST),
            Need::Maven => is_on_path("mvn"),
            Need::Apt => is_on_path("apt-get") && is_on_path("dpkg-deb"),
            Need::Python => is_on_path("python3"),
            Need::Pip => succeeds("python3", &["-m", "pip", "--version"]),
            Need::Xz => is_on_path("xz"),
            Need::Compiler => is_on_path("cc") && is_on_path("c++"),
            Need::Make => is_on_path("make"),
            Need::PkgConfig => is_on_path("pkg-config"),
            Need::OpenSsl => {
                std::env::var_os("OPENSSL_DIR").is_some() || succeeds("pkg-config", &["--exists", "openssl"])
            }
            Need::Zlib => succeeds("pkg-config", &["--exists", "zlib"]),
        }
    }
}

/// Makes sure of `needs`: root on Debian or Ubuntu gets what is missing by apt-get, everybody else one error that
/// names all of it and the command to type.
pub fn ensure(needs: &[Need]) -> Result<(), Error> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let apt = is_on_path("apt-get");
    if !(apt && rustix::process::geteuid().is_root()) {
        return Err(lacks(&missing, apt));
    }
    let packages = packages(&missing);
    let log = Place::of_workspace().install_log("apt")?;
    step("apt-get update", || run(apt_get().arg("update"), &log))?;
    step(format_args!("apt-get install {}", packages.join(" ")), || {
        let mut install = apt_get();
        install.args(["install", "--yes", "--no-install-recommends"]);
        run(install.args(&packages), &log)
    })?;
    // A distribution may be too old: its package is installed, and still not what is needed.
    let missing = self::missing(needs);
    if missing.is_empty() { Ok(()) } else { Err(lacks(&missing, apt)) }
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| !need.is_met()).collect()
}

fn packages(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs.iter().map(|need| need.package()).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn lacks(needs: &[Need], apt: bool) -> Error {
    let what: Vec<_> = needs.iter().map(|need| need.what()).collect();
    let packages = packages(needs).join(" ");
    Error::Missing {
        what: what.join(", "),
        advice: if apt {
            format!("type `sudo apt-get update && sudo apt-get install --yes {packages}`")
        } else {
            format!("install what Debian calls {packages}")
        },
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| is_executable(&dir.join(program)))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").output().ok()?;
    parse_java_version(&String::from_utf8_lossy(&output.stderr))
}

/// The major version in `openjdk version "17.0.15" 2025-04-15`; `1.8.0` is 8 and far too old, so 1 will do.
fn parse_java_version(text: &str) -> Option<u32> {
    let (_, quoted) = text.split_once("version \"")?;
    let digits: String = quoted.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_names_its_version_in_several_ways() {
        let version = |text| parse_java_version(text);
        assert_eq!(version("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(version("java version \"1.8.0_411\"\n"), Some(1));
        assert_eq!(version("Picked up X\nopenjdk version \"25\" 2025"), Some(25));
        assert_eq!(version("no java"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_to_type() {
        let error = lacks(&[Need::Java, Need::Maven], true).to_string();
        assert_eq!(
            error,
            "this machine lacks java (17 or newer), mvn (Maven); \
             type `sudo apt-get update && sudo apt-get install --yes default-jre-headless maven`"
        );
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program"));
    }
}
