//! The workload's records in memory, and what the micro-benches share: no server is needed.

#![allow(dead_code, reason = "each bench uses a part")]

use std::sync::Arc;
use std::time::Instant;

use rowfall::config::Route;
use rowfall::decode::{Decoder, Program};
use rowfall_dialects::contract::{Column, ColumnDefault, Compression, TableColumn, TableName, TableSchema, Target};

use crate::workload;

/// Records that lie one behind the other, as in a fetch buffer: with a heap block for each, a decoder would be measured
/// that mostly waits for memory.
pub(crate) struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    pub(crate) fn new(count: u64) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for number in 0..count {
            workload::write_record(number, &mut text);
            ends.push(text.len());
        }
        Self { bytes: text.into_bytes(), ends }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Decodes all into the columns, which are empty before.
    pub(crate) fn decode(&self, decoder: &mut Decoder, columns: &mut [Column]) {
        for (row, record) in self.iter().enumerate() {
            decoder.decode(record, columns, row).expect("a good record");
        }
    }
}

/// What fills the workload's table in ClickHouse.
pub(crate) fn program() -> Arc<Program> {
    let url = "clickhouse://localhost/default".parse().expect("a URL");
    // Sends nothing: the grammar is what is wanted.
    let connection = rowfall_dialects::clickhouse::connect(&Target::new(url, Compression::None));
    let grammar = connection.expect("a target").grammar;
    let column = |text: &str| {
        let (name, type_text) = text.split_once(' ').expect("a name and a type");
        TableColumn {
            name: name.to_owned(),
            type_text: type_text.to_owned(),
            value: Ok(grammar.parse_type(type_text).expect("a type that rowfall writes")),
            default: ColumnDefault::None,
        }
    };
    let name = TableName { schema: None, name: "orders".to_owned() };
    let columns = workload::columns().into_iter().map(column).collect();
    let table = Arc::new(TableSchema::new(name.clone(), "MergeTree", columns));
    let route = Route::new("orders", name);
    Arc::new(Program::compile(&table, &route).expect("all columns can be filled"))
}

/// Rounds of a comparison.
const ROUNDS: usize = 15;

/// The median seconds of each: they are run in turn, so that what else the machine does meets all of them alike. Divan
/// runs one to its end and then the next, which is no ground for a ratio on shared cores.
pub(crate) fn in_turn<const N: usize>(mut runs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut seconds: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (run, seconds) in runs.iter_mut().zip(&mut seconds) {
            let started = Instant::now();
            run();
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[ROUNDS / 2]
    })
}

/// Whether cargo asks for a measurement, and not `cargo test` for a trial.
pub(crate) fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
