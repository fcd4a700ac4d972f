//! ClickHouse goes away and comes back while records keep coming.

use std::process::Command;
use std::time::{Duration, Instant};

use rowfall_services::Server;

use crate::report::Report;
use crate::stage::Stage;

const PER_SECOND: u64 = 20_000;
/// Records behind when it has caught up: a batch is a second old before it is written, and half a second until it is
/// committed.
const CAUGHT_UP: u64 = 3 * PER_SECOND;
/// The default of `memory`, in MiB.
const MEMORY: u64 = 256;
/// What may be under way when the server stops, and may have landed without an acknowledgement.
const UNDER_WAY: u64 = 5 * PER_SECOND;

pub(crate) fn run(minutes: u32, report: &mut Report) {
    let stage = Stage::new("outage", &[], "ENGINE = MergeTree ORDER BY id", "");
    let load = stage.load(PER_SECOND);
    let (began, run) = (Instant::now(), stage.start());
    let warm = stage.catches_up(&load, CAUGHT_UP, Duration::from_secs(60));
    std::thread::sleep(Duration::from_secs(20));
    report.promise(warm.is_some(), &format!("{PER_SECOND} records/s are kept up with"));
    run.calm(began, 3, report);
    for away in [Away::Killed, Away::Stopped, Away::Frozen] {
        let since = Instant::now();
        report.say(&format!("ClickHouse: {away:?}"));
        away.begin(&stage.clickhouse.server);
        std::thread::sleep(Duration::from_secs(60 * u64::from(minutes)));
        let behind = stage.lag(&load);
        report.say(&format!("it comes back; {behind} records are behind"));
        away.end(&stage.clickhouse.server);
        // The longest pause between two tries, and then five times as fast as they come.
        let within = Duration::from_secs(20 + behind / (5 * PER_SECOND));
        let took = stage.catches_up(&load, CAUGHT_UP, within);
        let shown = took.map_or("not yet".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        report.promise(took.is_some(), &format!("it catches up: {shown}, {} s may be", within.as_secs()));
        std::thread::sleep(Duration::from_secs(5));
        run.calm(since, u64::from(minutes) + 2, report);
    }
    run.within_memory(began, MEMORY, report);
    stage.end(0, load, run, 3 * UNDER_WAY, report);
}

#[derive(Clone, Copy, Debug)]
enum Away {
    /// With -9: connections are refused.
    Killed,
    /// In order.
    Stopped,
    /// It takes connections and answers none.
    Frozen,
}

impl Away {
    fn begin(self, server: &Server) {
        match self {
            Self::Killed => server.kill9().expect("killed"),
            Self::Stopped => server.stop().expect("stopped"),
            Self::Frozen => signal(server, "STOP"),
        }
    }

    fn end(self, server: &Server) {
        match self {
            Self::Killed | Self::Stopped => server.start().expect("started again"),
            Self::Frozen => signal(server, "CONT"),
        }
    }
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().expect("it runs").to_string();
    let status = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
    assert!(status.success(), "kill -s {signal} {pid}");
}
