//! The table has too many parts: ClickHouse refuses inserts until its merges have caught up.

use std::time::{Duration, Instant};

use crate::report::Report;
use crate::stage::Stage;
use crate::support;

const PER_SECOND: u64 = 20_000;
/// Records behind when it has caught up; see `outage`.
const CAUGHT_UP: u64 = 3 * PER_SECOND;
/// The default of `memory`, in MiB.
const MEMORY: u64 = 256;

pub(crate) fn run(minutes: u32, report: &mut Report) {
    // So few that they are reached within seconds.
    let settings = "parts_to_delay_insert = 20, parts_to_throw_insert = 40";
    let table = format!("ENGINE = MergeTree ORDER BY id SETTINGS {settings}");
    let stage = Stage::new("parts", &[], &table, "");
    let load = stage.load(PER_SECOND);
    let (began, run) = (Instant::now(), stage.start());
    let warm = stage.catches_up(&load, CAUGHT_UP, Duration::from_secs(60));
    report.promise(warm.is_some(), &format!("{PER_SECOND} records/s are kept up with"));
    run.calm(began, 3, report);

    let since = Instant::now();
    report.say(&format!("SYSTEM STOP MERGES; the table has {settings}"));
    support::query(&stage.clickhouse, &format!("SYSTEM STOP MERGES {}", stage.name));
    std::thread::sleep(Duration::from_secs(60 * u64::from(minutes)));
    let behind = stage.lag(&load);
    let refused = refusals(&stage);
    report.say(&format!("SYSTEM START MERGES; {behind} records are behind, {refused} inserts were refused"));
    report.promise(refused > 0 && behind > CAUGHT_UP, "ClickHouse refused inserts: the scenario took place");
    // A server that refuses must not be hammered: each of four inserts of two workers is tried again soon at first, and
    // then after five to ten seconds.
    let may = 8 * (10 + 12 * u64::from(minutes));
    report.promise(refused <= may, &format!("it slows down: {refused} inserts were refused, {may} may be"));
    support::query(&stage.clickhouse, &format!("SYSTEM START MERGES {}", stage.name));
    let within = Duration::from_secs(30 + behind / (2 * PER_SECOND));
    let took = stage.catches_up(&load, CAUGHT_UP, within);
    let shown = took.map_or("not yet".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
    report.promise(took.is_some(), &format!("it catches up: {shown}, {} s may be", within.as_secs()));
    std::thread::sleep(Duration::from_secs(5));
    run.calm(since, u64::from(minutes) + 3, report);
    run.within_memory(began, MEMORY, report);
    // A refusal is an answer: what was refused has not landed.
    stage.end(0, load, run, 0, report);
}

/// How many inserts were refused for too many parts so far.
fn refusals(stage: &Stage) -> u64 {
    support::query(&stage.clickhouse, "SYSTEM FLUSH LOGS");
    let [refused] = stage.numbers("SELECT count() FROM system.query_log WHERE exception_code = 252");
    refused
}
