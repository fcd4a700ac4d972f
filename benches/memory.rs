//! The workload's records in memory, and what the micro-benches share: no server is needed.

#![allow(dead_code, reason = "each bench uses a part")]

use std::sync::Arc;
use std::time::Instant;

use rowfall::config::Route;
use rowfall::decode::{JsonDecoder, Program};
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

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Decodes all into the columns, which are empty before.
    pub(crate) fn decode(&self, decoder: &mut JsonDecoder, columns: &mut [Column]) {
        for (row, record) in self.iter().enumerate() {
            decoder.decode(record, columns, row).expect("a good record");
        }
    }
}

/// The schema of the workload's records in Avro.
pub(crate) const AVRO: &str = r#"{"type":"record","name":"order","fields":[
    {"name":"id","type":"long"},{"name":"user_id","type":"int"},{"name":"event","type":"string"},
    {"name":"country","type":"string"},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"quantity","type":"int"},{"name":"ok","type":"boolean"},{"name":"score","type":"double"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"session","type":{"type":"fixed","name":"session","size":16,"logicalType":"uuid"}},
    {"name":"url","type":"string"},{"name":"note","type":["null","string"]}]}"#;

/// The same records in Avro, without the ids of schemas, written by hand.
pub(crate) fn avro(count: u64) -> Records {
    fn long(out: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            out.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).expect("seven bits"));
    }
    fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        long(out, i64::try_from(value.len()).expect("short"));
        out.extend_from_slice(value);
    }
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        let record: serde_json::Value = serde_json::from_str(&workload::record(number)).expect("JSON");
        let text = |name: &str| record[name].as_str().expect("a text").as_bytes();
        let integer = |name: &str| record[name].as_i64().expect("an integer");
        long(&mut out, integer("id"));
        long(&mut out, integer("user_id"));
        bytes(&mut out, text("event"));
        bytes(&mut out, text("country"));
        let cents = i64::try_from(number * 37 % 10_000_000).expect("small").to_be_bytes();
        let start = (0..7).take_while(|at| cents[*at] == 0 && cents[at + 1] < 0x80).count();
        bytes(&mut out, &cents[start..]);
        long(&mut out, integer("quantity"));
        out.push(record["ok"].as_bool().expect("a boolean").into());
        out.extend_from_slice(&record["score"].as_f64().expect("a number").to_le_bytes());
        long(&mut out, i64::try_from(1_764_000_000_000 + number * 11).expect("in range"));
        let session: uuid::Uuid = record["session"].as_str().expect("a text").parse().expect("a UUID");
        out.extend_from_slice(session.as_bytes());
        bytes(&mut out, text("url"));
        match &record["note"] {
            serde_json::Value::Null => long(&mut out, 0),
            note => {
                long(&mut out, 1);
                bytes(&mut out, note.as_str().expect("a text").as_bytes());
            }
        }
        ends.push(out.len());
    }
    Records { bytes: out, ends }
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
