//! What is promised of a process that runs for months, proven over minutes: outages, too many parts, full load, memory.
//!
//! `./x soak`, or one of them: `./x soak outage --minutes 1`
//!
//! Each has a broker and a server of its own, which are gone afterwards. The report says which promises were kept; when one
//! was broken the exit status is 1.

mod full;
#[path = "../load.rs"]
mod load;
mod memory;
mod outage;
mod parts;
mod report;
mod stage;
#[allow(dead_code, reason = "written for the tests, which use the rest")]
#[path = "../../tests/support.rs"]
mod support;
mod watch;
#[path = "../workload.rs"]
mod workload;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::Report;

#[derive(Parser)]
struct Arguments {
    /// Which one; all, one after the other, if none is named
    name: Option<Name>,
    /// How long its main part lasts; `memory`: how many million records. Each has its own default
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// ClickHouse is killed, stopped and frozen, for 3 minutes each
    Outage,
    /// ClickHouse merges nothing for 2 minutes and refuses inserts: too many parts
    Parts,
    /// 10 minutes of as much as can be produced
    Full,
    /// Peak memory with many partitions, wide records, large values and a backlog of 4 million records
    Memory,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Under `cargo test --all-targets` there is nothing to prove.
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    let names = arguments.name.map_or(Name::value_variants().to_vec(), |name| vec![name]);
    let mut broken = 0;
    for name in names {
        let minutes = |default| arguments.minutes.unwrap_or(default);
        let mut report = Report::new(&format!("{name:?}").to_lowercase());
        match name {
            Name::Outage => outage::run(minutes(3), &mut report),
            Name::Parts => parts::run(minutes(2), &mut report),
            Name::Full => full::run(minutes(10), &mut report),
            Name::Memory => memory::run(minutes(4), &mut report),
        }
        broken += report.end();
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
