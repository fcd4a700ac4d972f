//! rowfall beside what bounds it: a bare reader of the same topic, and the server's own insert of the same rows.

use std::process::Command;

use rowfall_services::Services;

use crate::ceilings::Parts;
use crate::cost::{self, Cost};
use crate::stage::{Done, Stage};
use crate::table::{Row, Table, number, ratio};
use crate::topic::Topic;
use crate::{Arguments, PARTITIONS, marks};

enum Case {
    Reader,
    /// The server's own insert: all rows in one request, or in one per part.
    Native {
        at_once: bool,
    },
    /// rowfall with this setting.
    Rowfall(Option<&'static str>),
}

const CASES: [(&str, Case); 8] = [
    ("bare reader", Case::Reader),
    ("Native, one POST", Case::Native { at_once: true }),
    ("Native, POSTs of 500,000", Case::Native { at_once: false }),
    ("**rowfall**", Case::Rowfall(None)),
    ("rowfall, at least once", Case::Rowfall(Some("delivery=at-least-once"))),
    ("rowfall, LZ4", Case::Rowfall(Some("target.compression=lz4"))),
    ("rowfall, one worker", Case::Rowfall(Some("workers=1"))),
    ("rowfall, batches of 100,000", Case::Rowfall(Some("batch.rows=100000"))),
];
const READER: usize = 0;
const POSTS: usize = 2;
const ROWFALL: usize = 3;
const AT_LEAST_ONCE: usize = 4;
const LZ4: usize = 5;

/// The marks that `--marks` holds, of rowfall with its defaults: own CPU seconds per million records, without compression
/// and with LZ4; how often the bare reader's; own and the server's together; millions of rows per second; and MiB of
/// memory, the default of `memory` and what the program takes beside it.
const MOST_CPU: f64 = 0.75;
const MOST_CPU_LZ4: f64 = 0.9;
const MOST_TIMES_READER: f64 = 1.8;
const MOST_CPU_IN_ALL: f64 = 1.5;
const LEAST_ROWS: f64 = 1.25;
/// Of the rows per second with at-least-once.
const LEAST_OF_AT_LEAST_ONCE: f64 = 0.9;
const MOST_MEMORY: f64 = 256.0 + 100.0;

/// The topic for the mark on memory: each partition has a queue of its own in librdkafka.
const MANY_PARTITIONS: i32 = 64;
const RECORDS_IN_MANY: u32 = 1_000_000;

/// Prints the table; whether the marks are kept, if they are asked for.
pub(crate) fn run(arguments: &Arguments, services: &Services) -> Result<bool, String> {
    let Services { kafka, clickhouse, .. } = services;
    let machine = crate::table::machine(services);
    let stage = Stage::new(kafka, clickhouse, Topic::filled(kafka, arguments.records(), PARTITIONS));
    let parts = stage.with_expected_rows(|table| Parts::of(clickhouse, table, arguments.records()));
    let cases = CASES.map(|(name, case)| (name.to_owned(), case));
    let mut rows = stage.rows(arguments.runs, cases, |name, case| match case {
        Case::Reader => reader(&stage),
        Case::Native { at_once } => {
            let insert = |table: &str| Ok(Done { seconds: parts.insert(clickhouse, table, *at_once), own: None });
            Ok(Cost { broker: None, ..stage.fill(name, insert)? })
        }
        Case::Rowfall(setting) => {
            let settings: Vec<_> = setting.iter().map(ToString::to_string).collect();
            stage.fill(name, |table| stage.rowfall(table, &settings))
        }
    })?;
    if arguments.marks {
        let many = Stage::new(kafka, clickhouse, Topic::filled(kafka, RECORDS_IN_MANY, MANY_PARTITIONS));
        let name = format!("rowfall, {MANY_PARTITIONS} partitions");
        rows.extend(
            many.rows(arguments.runs, [(name, ())], |name, ()| many.fill(name, |table| many.rowfall(table, &[])))?,
        );
    }
    let mut table = table(&rows);
    table.note(&crate::what_was_moved(arguments));
    table.note(&machine);
    table.publish("bench.md");
    if !arguments.marks {
        return Ok(true);
    }
    let (reader, rowfall, lz4, many) = (&rows[READER], &rows[ROWFALL], &rows[LZ4], &rows[CASES.len()]);
    let own = |row: &Row| row.cost.own.unwrap_or(f64::NAN);
    let in_all = rowfall.cost.in_all().unwrap_or(f64::NAN);
    let memory =
        |row: &Row| marks::at_most(&format!("MiB of {}", row.name), row.cost.peak.unwrap_or(f64::NAN), MOST_MEMORY);
    Ok(marks::all_kept(&[
        marks::at_most("rowfall's CPU seconds per million records", own(rowfall), MOST_CPU),
        marks::at_most("the same with LZ4", own(lz4), MOST_CPU_LZ4),
        marks::at_most("rowfall's CPU in the bare reader's", own(rowfall) / own(reader), MOST_TIMES_READER),
        marks::at_most("rowfall's and the server's CPU with merges", in_all, MOST_CPU_IN_ALL),
        marks::at_least("rowfall's M rows/s", rowfall.rate, LEAST_ROWS),
        marks::at_least(
            "the same in those of at-least-once",
            rowfall.rate / rows[AT_LEAST_ONCE].rate,
            LEAST_OF_AT_LEAST_ONCE,
        ),
        memory(rowfall),
        memory(many),
    ]))
}

fn reader(stage: &Stage<'_>) -> Result<Cost, String> {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--read", &stage.kafka.brokers, &stage.topic.name, "--records", &stage.topic.records.to_string()]);
    let read = || {
        let ran = cost::run(&mut [command])?;
        Ok(Done { seconds: ran.stdout.trim().parse().expect("seconds"), own: Some(ran) })
    };
    Ok(Cost { server: None, with_merges: None, ..stage.beside(read, || {})? })
}

/// The reader and the POSTs of the same size are what the others are compared with.
fn table(rows: &[Row]) -> Table {
    let (reader, posts) = (&rows[READER].cost, &rows[POSTS].cost);
    let mut table = Table::new(&[
        "",
        "s",
        "M rows/s",
        "own CPU",
        "× reader",
        "server CPU",
        "with merges",
        "× POSTs",
        "broker CPU",
        "peak MiB",
    ]);
    for Row { name, rate, cost } in rows {
        table.row([
            name.clone(),
            number(cost.seconds, 2),
            number(*rate, 2),
            number(cost.own, 2),
            ratio(cost.own, reader.own),
            number(cost.server, 2),
            number(cost.with_merges, 2),
            ratio(cost.with_merges, posts.with_merges),
            number(cost.broker, 2),
            number(cost.peak, 0),
        ]);
    }
    table
}
