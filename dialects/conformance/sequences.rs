//! Any sequence of upserts and deletes, cut into blocks anywhere, leaves what a map would hold.

use std::collections::BTreeMap;

use super::keyed::{Change, Keyed, Rows, Values, cell, with_defaults};
use super::{Cell, Suite};
use crate::contract::{Op, Upserts};

const SEQUENCES: u32 = 150;
const RECORDS: usize = 24;

/// Few, so that most records meet an earlier one; a database that takes two of them for one is found out.
const PARTS: [&str; 5] = ["a", "A", "á", "a ", ""];

/// A record as it comes from a topic: of a key, and with values or, where it deletes, without.
#[derive(Clone, Debug)]
struct Record {
    key: (String, i64),
    values: Option<Values>,
}

/// Whether a record says all that a row holds, so that what it lacks is the default, or only what is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    All,
    Changes,
}

impl Suite<'_> {
    pub(super) async fn ends_as_a_map_would(&self) {
        let keyed = self.keyed("sequences").await;
        let mut expected = Rows::new();
        let mut histories = BTreeMap::new();
        for sequence in 0..SEQUENCES {
            let mut random = Random(sequence.into());
            let says = if keyed.partial && random.below(3) > 0 { Says::Changes } else { Says::All };
            let mut history = format!("{says:?}");
            let mut block = Vec::new();
            for left in (0..RECORDS).rev() {
                let record = record(&mut random, sequence, says, &keyed, &expected);
                history += &format!("\n{record:?}");
                apply(&mut expected, &record, says);
                block.push(record);
                if left == 0 || random.below(4) == 0 {
                    history += "\n-- written";
                    keyed.write(&folded(&std::mem::take(&mut block), says)).await;
                }
            }
            histories.insert(i64::from(sequence), history);
        }
        let rows = keyed.rows().await;
        for key in expected.keys().chain(rows.keys()) {
            let (row, expected) = (rows.get(key), expected.get(key));
            assert_eq!(
                row, expected,
                "the row of {key:?} (left: the table's) after this sequence: {}",
                histories[&key.1]
            );
        }
    }
}

fn record(random: &mut Random, sequence: u32, says: Says, keyed: &Keyed<'_>, stored: &Rows) -> Record {
    let key = (PARTS[random.below(PARTS.len())].to_owned(), i64::from(sequence));
    if keyed.deletes && random.below(4) == 0 {
        return Record { key, values: None };
    }
    let by_statements = matches!(keyed.layout.table.upserts, Upserts::Keys(_));
    // Where rows are put together from several, a null is what a row does not say.
    let nulls = by_statements || says == Says::All;
    let mut value = |nullable: bool, may_lack: bool| match random.below(4) {
        0 if may_lack => Cell::Absent,
        1 if nullable && nulls => Cell::Null,
        _ => cell(&random.below(1000).to_string()),
    };
    let is_there = stored.contains_key(&key);
    let must = value(false, says == Says::Changes && by_statements && is_there);
    Record { values: Some([value(true, true), value(true, true), value(false, true), must]), key }
}

/// What one record does to the table, as the map has it.
fn apply(rows: &mut Rows, Record { key, values }: &Record, says: Says) {
    let Some(values) = values else {
        rows.remove(key);
        return;
    };
    match rows.get_mut(key) {
        Some(stored) if says == Says::Changes => overlay(stored, values),
        _ => drop(rows.insert(key.clone(), with_defaults(values))),
    }
}

fn overlay(stored: &mut Values, values: &Values) {
    for (stored, value) in stored.iter_mut().zip(values).filter(|(_, value)| **value != Cell::Absent) {
        *stored = value.clone();
    }
}

/// One change per key: what the contract says that a block is.
fn folded(records: &[Record], says: Says) -> Vec<Change> {
    let mut changes: BTreeMap<_, Change> = BTreeMap::new();
    for Record { key, values } in records {
        let before = changes.remove(key);
        let change = |op, values| Change { op, key: key.clone(), values };
        let change = match (values, before) {
            (None, _) => change(Op::Delete, ["."; 4].map(cell)),
            (Some(values), _) if says == Says::All => {
                let op = if values.contains(&Cell::Absent) { Op::Replace } else { Op::Upsert };
                change(op, values.clone())
            }
            (Some(values), None) => change(Op::Upsert, values.clone()),
            (Some(values), Some(Change { op: Op::Delete, .. })) => change(Op::Replace, values.clone()),
            (Some(values), Some(mut before)) => {
                overlay(&mut before.values, values);
                before
            }
        };
        changes.insert(key.clone(), change);
    }
    changes.into_values().collect()
}

/// SplitMix64: the same sequences in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let end = u64::try_from(end).expect("a small number");
        usize::try_from((z ^ (z >> 31)) % end).expect("below a small number")
    }
}
