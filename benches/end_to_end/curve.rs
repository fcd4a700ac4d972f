//! How much larger batches are worth: rowfall with batches of several sizes, everything else alike.

use std::cell::Cell;

use rowfall_services::{ClickHouse, Services};

use crate::stage::Stage;
use crate::table::{Row, Table, number, thousands};
use crate::topic::Topic;
use crate::{Arguments, PARTITIONS};

/// Rows of a batch; the last is what nobody has to set.
const SIZES: [Option<u32>; 7] =
    [Some(10_000), Some(50_000), Some(100_000), Some(250_000), Some(500_000), Some(1_000_000), None];

/// What a row of the workload occupies in columns, with something to spare: a vector grows by doubling.
const BYTES_PER_ROW: u64 = 256;
const MIB: u64 = 1 << 20;

struct Case {
    name: String,
    /// Mebibytes.
    memory: u64,
    settings: Vec<String>,
    /// Rows of an insert as the server counted them: fewer than asked for where the topic ended, or memory was short.
    inserted: Cell<f64>,
}

impl Case {
    fn new(rows: Option<u32>) -> Self {
        let Some(rows) = rows else {
            return Self {
                name: "by default".to_owned(),
                memory: 256,
                settings: Vec::new(),
                inserted: Cell::default(),
            };
        };
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(8)) as u64;
        // So much that the rows alone decide when a batch is closed: it may occupy its share of seven eighths of the
        // memory, of which each worker has two and one is left.
        let batch = u64::from(rows) * BYTES_PER_ROW;
        let memory = (batch * (2 * workers + 1) * 8 / 7).div_ceil(MIB).max(256);
        let bytes = batch.div_ceil(MIB).max(64);
        let settings =
            vec![format!("memory={memory}MiB"), format!("batch={{ rows: {rows}, bytes: {bytes}MiB, age: 1m }}")];
        Self { name: thousands(rows), memory, settings, inserted: Cell::default() }
    }
}

/// Prints the table.
pub(crate) fn run(arguments: &Arguments, services: &Services, clickhouse: &ClickHouse) -> Result<(), String> {
    let machine = crate::table::machine(services);
    let topic = Topic::filled(&services.kafka, arguments.records(), PARTITIONS);
    let stage = Stage::new(&services.kafka, clickhouse, topic);
    let cases = SIZES.map(Case::new);
    let inserts = || -> f64 {
        stage.query("SELECT sum(value) FROM system.events WHERE event = 'InsertQuery'").parse().expect("a number")
    };
    let named = cases.iter().map(|case| (case.name.clone(), case));
    let rows = stage.rows(arguments.runs, named, |name, case| {
        let before = inserts();
        let cost = stage.fill(&format!("batches of {name}"), |table| stage.rowfall(table, &case.settings))?;
        case.inserted.set(f64::from(stage.topic.records) / (inserts() - before));
        Ok(cost)
    })?;

    let mut table = Table::new(&[
        "rows of a batch",
        "of an insert",
        "memory MiB",
        "s",
        "M rows/s",
        "own CPU",
        "server CPU",
        "with merges",
        "CPU in all",
        "peak MiB",
    ]);
    for (case, Row { name, rate, cost }) in cases.iter().zip(&rows) {
        table.row([
            name.clone(),
            number(case.inserted.get(), 0),
            case.memory.to_string(),
            number(cost.seconds, 2),
            number(*rate, 2),
            number(cost.own, 2),
            number(cost.server, 2),
            number(cost.with_merges, 2),
            number(cost.in_all(), 2),
            number(cost.peak, 0),
        ]);
    }
    table.note(&crate::what_was_moved(arguments));
    table.note(&machine);
    table.publish("bench-curve.md");
    Ok(())
}
