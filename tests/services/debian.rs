//! Programs from Debian's packages, unpacked with all their libraries into a directory of their own: nothing is
//! installed on this system, whose own libraries may be older.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::place::{create, remove, write};
use crate::step::run;

/// The suite whose packages are taken: the one that has the newest of everything.
const SUITE: &str = "sid";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks a package, given as `name=version` where the version may hold `*`, and all that it depends on.
pub(crate) fn unpack(package: &str, into: &Path, log: &Path) -> Result<(), Error> {
    let mirror = mirror().ok_or_else(|| Error::Missing {
        what: "the address of a Debian mirror in /etc/apt".to_owned(),
        advice: "run this on Debian".to_owned(),
    })?;
    let apt = into.join("apt");
    for directory in ["lists/partial", "cache/archives/partial"] {
        create(&apt.join(directory))?;
    }
    write(&apt.join("sources.list"), &format!("deb [signed-by={KEYS}] {mirror} {SUITE} main\n"))?;
    // Empty: what this system has installed counts for nothing, so that everything needed is fetched.
    write(&apt.join("status"), "")?;
    let get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        let places = [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::Status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, place) in places {
            command.arg("-o").arg(format!("{option}={}", apt.join(place).display()));
        }
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Debug::NoLocking=true"]);
        // It would become another user, who may not write here.
        command.args(["-o", "APT::Sandbox::User=", "--yes"]).args(arguments);
        run(&mut command, log)
    };
    get(&["update"])?;
    get(&["install", "--no-install-recommends", "--download-only", package])?;
    let archives = apt.join("cache/archives");
    for entry in fs::read_dir(&archives).map_err(Error::io("read", &archives))? {
        let file = entry.map_err(Error::io("read", &archives))?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(file).arg(into), log)?;
        }
    }
    remove(&apt)
}

/// Where this system's own packages come from.
fn mirror() -> Option<String> {
    let lists = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    lists.iter().filter_map(|list| fs::read_to_string(list).ok()).find_map(|text| first_address(&text))
}

/// Of either format: `URIs: …` and `deb [options] … suite component`.
fn first_address(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let address = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
    lines.flat_map(str::split_whitespace).find(address).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_name_a_mirror() {
        let new = "Types: deb\n# http://old/debian\nURIs: http://mirror/debian\nSuites: x\n\nURIs: http://other/\n";
        assert_eq!(first_address(new).as_deref(), Some("http://mirror/debian"));
        let old = "# deb http://old/debian x main\ndeb [arch=amd64] https://mirror/debian x main\n";
        assert_eq!(first_address(old).as_deref(), Some("https://mirror/debian"));
        assert_eq!(first_address("deb cdrom:[x]/ y main\n"), None);
    }
}
