//! rowfall beside others that move the same topic into the same table of the same server.
//!
//! A new peer is one file with a [`Peer`] and one entry in [`all`]. It is installed and started by the file itself (see
//! `rowfall_services::python_clients` for packages from a registry); the table, the clock of the servers, the check of every
//! value and the report are the stage's.

mod kafka_engine;
mod python;

use rowfall_services::{ClickHouse, Services};

use crate::stage::{Done, Stage};
use crate::table::{Row, Table, number};
use crate::topic::Topic;
use crate::{Arguments, PARTITIONS, marks};

use kafka_engine::KafkaEngine;
pub(crate) use kafka_engine::SERVER_CONFIG;
use python::Python;

/// Something that moves a topic into a table.
trait Peer {
    /// Its row in the report.
    fn name(&self) -> String;

    /// Moves every record of the stage's topic into the empty table, from the beginning, under a consumer group that no run
    /// has used; returns when the last row is in and nothing of it is left running. The seconds are those from the
    /// assignment of partitions to the last row. An error says what went wrong; the name of the peer is put before it.
    fn fill(&self, stage: &Stage<'_>, table: &str) -> Result<Done, String>;
}

fn all() -> Vec<Box<dyn Peer>> {
    // As many threads or processes as rowfall has by itself.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let each = cores.min(PARTITIONS.unsigned_abs() as usize);
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(KafkaEngine::JsonEachRow { consumers: each }),
        Box::new(KafkaEngine::RawBlob { consumers: each }),
        Box::new(Python { processes: 1 }),
    ];
    if each > 1 {
        peers.push(Box::new(Python { processes: each }));
    }
    peers
}

/// The mark that `--marks` holds: rowfall's rows per second as a multiple of any peer's.
const TIMES_FASTER: f64 = 5.0;

struct Rowfall;

impl Peer for Rowfall {
    fn name(&self) -> String {
        "**rowfall**".to_owned()
    }

    fn fill(&self, stage: &Stage<'_>, table: &str) -> Result<Done, String> {
        stage.rowfall(table, &[])
    }
}

/// Prints the table; whether the marks are kept, if they are asked for.
pub(crate) fn run(arguments: &Arguments, services: &Services, clickhouse: &ClickHouse) -> Result<bool, String> {
    let machine = crate::table::machine(services);
    let topic = Topic::filled(&services.kafka, arguments.records(), PARTITIONS);
    let stage = Stage::new(&services.kafka, clickhouse, topic);
    let mut peers = all();
    peers.retain(|peer| peer.name().to_lowercase().contains(&arguments.only.to_lowercase()));
    if peers.is_empty() {
        let names: Vec<_> = all().iter().map(|peer| peer.name()).collect();
        return Err(format!("no peer has `{}` in its name; there are: {}", arguments.only, names.join("; ")));
    }
    peers.insert(0, Box::new(Rowfall));
    let cases = peers.into_iter().map(|peer| (peer.name(), peer));
    let rows = stage.rows(arguments.runs, cases, |name, peer| stage.fill(name, |table| peer.fill(&stage, table)))?;

    let (rowfall, peers) = rows.split_first().expect("rowfall is the first");
    let mut table = table(rowfall, peers);
    table.note(&crate::what_was_moved(arguments));
    table.note(&machine);
    table.publish("bench-peers.md");
    let mark =
        |peer: &Row| marks::at_least(&format!("rowfall × {}", peer.name), rowfall.rate / peer.rate, TIMES_FASTER);
    Ok(!arguments.marks || marks::all_kept(&peers.iter().map(mark).collect::<Vec<_>>()))
}

fn table(rowfall: &Row, peers: &[Row]) -> Table {
    let mut table = Table::new(&[
        "",
        "s",
        "M rows/s",
        "own CPU",
        "server CPU",
        "with merges",
        "CPU in all",
        "broker CPU",
        "peak MiB",
        "rowfall is",
    ]);
    for row in [rowfall].into_iter().chain(peers) {
        let Row { name, rate, cost } = row;
        table.row([
            name.clone(),
            number(cost.seconds, 2),
            number(*rate, 2),
            number(cost.own, 2),
            number(cost.server, 2),
            number(cost.with_merges, 2),
            number(cost.in_all(), 2),
            number(cost.broker, 2),
            number(cost.peak, 0),
            if std::ptr::eq(row, rowfall) { String::new() } else { format!("{:.1}× faster", rowfall.rate / rate) },
        ]);
    }
    table
}
