//! rowfall from Kafka into ClickHouse, measured on the real servers: beside what bounds it, beside its peers, or with
//! batches of several sizes; or into each of the other databases beside its bare statement. One table from one run.
//!
//! `./x bench --records 1000000 --runs 1 --marks`, `./x bench peers`, `./x bench curve`, `./x bench databases`,
//! `./x bench latency`
//!
//! All CPU is counted by the kernel for whole processes: whatever else uses the servers meanwhile is counted as theirs.

mod bounds;
mod ceilings;
mod cost;
mod curve;
mod databases;
mod latency;
#[allow(dead_code, reason = "written for the tests, which use the rest")]
#[path = "../load.rs"]
mod load;
mod marks;
#[path = "../memory.rs"]
mod memory;
mod peers;
mod stage;
#[allow(dead_code, reason = "written for the tests, which use the rest")]
#[path = "../../tests/support.rs"]
mod support;
mod table;
mod topic;
#[path = "../workload.rs"]
mod workload;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rowfall_services::ClickHouse;

/// Partitions of the topic.
const PARTITIONS: i32 = 4;

#[derive(Parser)]
struct Arguments {
    /// What rowfall is measured beside
    #[arg(value_enum, default_value_t = Beside::Bounds)]
    beside: Beside,
    /// Records to move; 4,000,000, or 200,000 into databases
    #[arg(long)]
    records: Option<u32>,
    /// Runs of everything, of which the median is shown, for databases the best
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Fail unless rowfall with its defaults keeps the marks
    #[arg(long)]
    marks: bool,
    /// Of the peers or databases, only those that have this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare reader
    #[arg(long, hide = true, num_args = 2)]
    read: Option<Vec<String>>,
}

impl Arguments {
    fn records(&self) -> u32 {
        self.records.unwrap_or(match self.beside {
            Beside::Databases => 200_000,
            Beside::Bounds | Beside::Peers | Beside::Curve | Beside::Latency => 4_000_000,
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Beside {
    /// A bare reader, and the server's own insert
    Bounds,
    /// Others that do the same
    Peers,
    /// Itself, with batches of several sizes
    Curve,
    /// The bare statement of each database with transactions
    Databases,
    /// The clock: how old rows are when they arrive, with either delivery
    Latency,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(read) = &arguments.read {
        ceilings::read(&read[0], &read[1], arguments.records());
        return ExitCode::SUCCESS;
    }
    // Under `cargo test --all-targets` there is nothing to measure.
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: a mark is missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the marks are kept, if they are asked for.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let services = support::services();
    match arguments.beside {
        Beside::Bounds => bounds::run(arguments, &services),
        Beside::Peers => peers::run(arguments, &services, &Private::start()?.clickhouse),
        Beside::Curve => curve::run(arguments, &services, &Private::start()?.clickhouse).map(|()| true),
        Beside::Databases => databases::run(arguments, &services),
        Beside::Latency => latency::run(arguments, &services).map(|()| true),
    }
}

/// A ClickHouse for this run alone: nobody else's work counts, and nobody else has to live with what a peer leaves behind.
struct Private {
    // Dropped in this order: the server ends before its folder goes, and the next may begin when both are gone.
    clickhouse: ClickHouse,
    _folder: Folder,
    _lock: File,
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // If it cannot be, the next run tries again and says why it cannot.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Private {
    /// Always in the same folder, so that a run which was interrupted leaves its rows only until the next.
    fn start() -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-clickhouse");
        let lock = File::create(folder.with_added_extension("lock")).map_err(|error| error.to_string())?;
        lock.try_lock().map_err(|_| "another bench runs here, and each would spoil the other's figures".to_owned())?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        }
        let merged = folder.join("config.d");
        let written = || {
            std::fs::create_dir_all(&merged)?;
            std::fs::write(merged.join("kafka.xml"), peers::SERVER_CONFIG)
        };
        written().map_err(|error| error.to_string())?;
        let clickhouse = ClickHouse::start_private(&folder).map_err(|error| error.to_string())?;
        Ok(Self { clickhouse, _folder: Folder(folder), _lock: lock })
    }
}

/// For below the table.
fn what_was_moved(arguments: &Arguments) -> String {
    format!(
        "{} records of `benches/workload.rs`, {PARTITIONS} partitions, lz4; {}",
        table::thousands(arguments.records()),
        if arguments.runs == 1 { "one run".to_owned() } else { format!("medians of {} runs", arguments.runs) },
    )
}
