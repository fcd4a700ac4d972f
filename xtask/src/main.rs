//! The project's command set, the same for people and for CI: `./x demo`, `./x test`, `./x lint`, `./x services up`.

mod cargo;
mod chaos;
mod docs;
mod fuzz;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use cargo::cargo;
use chaos::Chaos;

#[derive(Parser)]
#[command(name = "./x", bin_name = "./x", about = "Builds, tests and measures rowfall")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build rowfall and run its demo
    Demo(Passed),
    /// Run all tests against real servers, which are started if need be
    Test(WithServers),
    /// Check format, clippy's lints, licences and advisories
    Lint {
        /// Install cargo-deny first if it is missing (takes minutes)
        #[arg(long)]
        deny: bool,
    },
    /// Run the benches, the last against real servers: one table, also written to target/. `peers`, `curve`, `databases` and
    /// `latency` in front of the arguments measure other things and leave the first benches out
    Bench(Measured),
    /// Prove over minutes what is promised of a long run: outages, too many parts, full load, memory; with private servers
    Soak {
        /// Passed on: outage, parts, full or memory, all if none is named; --minutes N
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Break everything, as a seed picks: processes, brokers and servers are killed, frozen, moved and altered under load
    Chaos(Chaos),
    /// Fuzz for a while: all targets, or one
    Fuzz(Fuzzed),
    /// Write the generated pages and the API's documentation
    Docs,
    /// Install, start and stop the servers that tests need
    Services {
        #[command(subcommand)]
        action: Action,
    },
}

#[derive(Args)]
struct Passed {
    /// Passed on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Args)]
struct WithServers {
    /// Leave the servers running afterwards
    #[arg(long)]
    keep: bool,
    /// Passed on to cargo
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Args)]
struct Measured {
    /// Leave the servers running afterwards
    #[arg(long)]
    keep: bool,
    /// Passed on to the end-to-end bench: [peers|curve|databases|latency] --records N, --runs N, --marks
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Args)]
struct Fuzzed {
    /// json (any records, two parsers that must agree) or native (any table, read back by a server)
    target: Option<String>,
    /// For how long each
    #[arg(long, default_value_t = 5)]
    minutes: u64,
}

#[derive(Subcommand)]
enum Action {
    /// Install what is missing and start what is not running
    Up {
        /// Which ones; all if none is named
        names: Vec<String>,
    },
    /// Stop, and remove the data; logs stay
    Down {
        /// Which ones; all if none is named
        names: Vec<String>,
    },
    /// Say what is running, and where
    Status {
        /// Which ones; all if none is named
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(Passed { args }) => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            cargo(["run", "--release", "--bin", "rowfall", "--", "demo"], &args)
        }
        Command::Test(with) => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            with_servers(with.keep, || cargo(test_command(&with.args), &with.args))
        }
        Command::Bench(Measured { keep, args }) => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            with_servers(keep, || {
                if measures_cores(&args) {
                    cargo(["bench", "--quiet", "--bench", "decode", "--bench", "encode"], &[])?;
                }
                cargo(["bench", "--quiet", "--bench", "end_to_end", "--"], &args)
            })
        }
        Command::Soak { args } => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            cargo(["bench", "--quiet", "--bench", "soak", "--"], &args)
        }
        Command::Chaos(chaos) => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            chaos.run()
        }
        Command::Fuzz(Fuzzed { target, minutes }) => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            fuzz::run(target.as_deref(), minutes)
        }
        Command::Lint { deny } => lint(deny),
        Command::Docs => {
            rowfall_services::ensure(rowfall_services::BUILD)?;
            docs::write()
        }
        Command::Services { action } => services(action),
    }
}

/// All packages, unless the caller names some.
fn test_command(args: &[String]) -> Vec<&'static str> {
    let own = args.iter().take_while(|arg| *arg != "--");
    let is_choice = |arg: &String| arg.starts_with("-p") || arg.starts_with("--package");
    if own.into_iter().any(is_choice) { vec!["test"] } else { vec!["test", "--workspace"] }
}

/// Whether a bench with these arguments is also one of what a core decodes and encodes.
fn measures_cores(args: &[String]) -> bool {
    !args.first().is_some_and(|first| matches!(first.as_str(), "peers" | "curve" | "databases" | "latency"))
}

/// Runs `work` with all servers up, and leaves them as they were found.
fn with_servers(keep: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = rowfall_services::up(&[])?;
    // Ctrl-C ends cargo, which shares our terminal; we stay to take the servers down.
    cargo::outlive_interrupts()?;
    let result = work();
    if !keep && !started.is_empty() {
        rowfall_services::down(&started)?;
    }
    result
}

fn services(action: Action) -> Result<()> {
    match action {
        Action::Up { names } => {
            rowfall_services::up(&names)?;
        }
        Action::Down { names } => rowfall_services::down(&names)?,
        Action::Status { names } => {
            for line in rowfall_services::status(&names)? {
                println!("{line}");
            }
        }
    }
    Ok(())
}

fn lint(install_deny: bool) -> Result<()> {
    rowfall_services::ensure(rowfall_services::BUILD)?;
    cargo(["fmt", "--all", "--check"], &[])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    cargo(clippy, &[])?;
    let installed = cargo::has_subcommand("deny");
    if !installed && !install_deny {
        eprintln!("cargo deny: not installed, so not checked; `./x lint --deny` installs it (takes minutes)");
        return Ok(());
    }
    if !installed {
        cargo(["install", "--locked", "cargo-deny"], &[])?;
    }
    cargo(["deny", "check"], &[])
}

/// The root of the workspace, where all commands run.
fn workspace() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_reach_cargo_as_they_are() {
        let cli = Cli::parse_from(["x", "test", "--keep", "--test", "it", "--", "--nocapture"]);
        let Command::Test(with) = cli.command else {
            panic!("not a test");
        };
        assert!(with.keep);
        assert_eq!(with.args, ["--test", "it", "--", "--nocapture"]);
    }

    #[test]
    fn peers_batch_sizes_and_databases_are_measured_without_the_rest() {
        let bench = |args: &[&str]| match Cli::parse_from([&["x", "bench"], args].concat()).command {
            Command::Bench(Measured { keep, args }) => (keep, measures_cores(&args), args),
            _ => panic!("not a bench"),
        };
        let (keep, cores, args) = bench(&["--keep", "peers", "--records", "300000", "--marks"]);
        assert!(keep && !cores);
        assert_eq!(args, ["peers", "--records", "300000", "--marks"]);
        assert!(!bench(&["curve"]).1);
        assert!(!bench(&["databases"]).1);
        assert!(bench(&["--marks"]).1);
        assert!(bench(&[]).1);
    }

    #[test]
    fn a_named_package_replaces_the_workspace() {
        let command = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(ToString::to_string).collect();
            test_command(&args)
        };
        assert_eq!(command(&["--lib"]), ["test", "--workspace"]);
        assert_eq!(command(&["-p", "rowfall-dialects"]), ["test"]);
        assert_eq!(command(&["--package=xtask"]), ["test"]);
        assert_eq!(command(&["--", "-p"]), ["test", "--workspace"]);
    }
}
