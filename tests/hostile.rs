//! Names and values that mean harm, or that no database was made for: each arrives exactly as it was produced or is refused by
//! name. The tables of cases are in `values` and `names`; here is what runs them: topics that are filled once, and for each
//! database one process that moves them all into a database of its own.
//!
//! What is refused stops its own partition and nothing else, so that a case is a topic.

mod names;
mod values;

use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::Kafka;

use crate::places::Place;
use crate::support::{self, Rowfall};
use crate::workload;

/// What becomes of a case in one database.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The database has this, as its own text.
    Is(&'static str),
    /// It is refused: the message says this, and names topic, table and column.
    Refused(&'static str),
    /// The record is refused, of which no column can be named: the message says this, and names topic, place and table.
    Unread(&'static str),
}

/// The same in every database.
const fn all<T: Copy>(one: T) -> [T; 5] {
    [one; 5]
}

/// A topic with these records, keys and values, in one partition.
struct Topic {
    name: String,
    records: Vec<(Option<String>, Option<Vec<u8>>)>,
}

fn fill(topics: &[Topic]) {
    let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
    support::create_topics(&kafka, &topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>());
    let producer = workload::producer(&kafka.brokers);
    for Topic { name, records } in topics {
        for (key, value) in records {
            let mut record = BaseRecord::<str, [u8]>::to(name).partition(0);
            (record.key, record.payload) = (key.as_deref(), value.as_deref());
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all are acknowledged");
}

/// Moves the topics, each with these settings, and returns why each stopped, the place and the hint included; `None` of
/// those that did not.
///
/// Each is called by a regular expression, so that those that cannot be moved do not keep the others from being moved.
fn run(place: &Place, topics: &[(&str, String)]) -> Vec<Option<String>> {
    let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
    let routes: Vec<_> = topics.iter().map(|(topic, settings)| format!("  '/{topic}/': {settings}\n")).collect();
    let config = support::config_file(&format!(
        "name: {}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics:\n{}",
        support::unique("hostile"),
        kafka.brokers,
        place.url,
        routes.concat()
    ));
    let output = Rowfall::with_config("run", &config, &["--until-end"]).output();
    assert_eq!(output.code(), 1, "{output:#?}");
    let stopped: Vec<_> = output.stderr.split("rowfall: stopped: ").skip(1).collect();
    let why = |topic: &str| {
        let of_topic =
            |why: &&&str| why.starts_with(&format!("{topic}[0] offset")) || why.contains(&format!("topic {topic}"));
        stopped.iter().find(of_topic).map(|why| (*why).trim_end().to_owned())
    };
    let whys: Vec<_> = topics.iter().map(|(topic, _)| why(topic)).collect();
    assert_eq!(whys.iter().flatten().count(), stopped.len(), "each is told of one topic: {}", output.stderr);
    whys
}

/// What is wrong with what became of a case; `None` when it is as it must be. `read` asks for what the database has.
fn wrong(
    then: Then,
    why: Option<&String>,
    table: &str,
    column: &str,
    read: impl FnOnce() -> Result<Vec<String>, String>,
    same: impl Fn(&str, &str) -> bool,
) -> Option<String> {
    let rows = read();
    match (then, why) {
        (Then::Is(_), Some(why)) => Some(format!("refused: {why}")),
        (Then::Is(expected), None) => match rows {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(rows) if rows.len() == 1 && same(expected, &rows[0]) => None,
            Ok(rows) => Some(format!("{}, not {}", shortened(&format!("{rows:?}")), shortened(expected))),
        },
        (Then::Refused(_) | Then::Unread(_), None) => Some(format!("not refused: {}", shortened(&format!("{rows:?}")))),
        (Then::Refused(part) | Then::Unread(part), Some(why)) => {
            let ways = ["`{}`", "'{}'", "\"{}\"", ".{}`", "column {} of"];
            let names_column = ways.iter().any(|way| why.contains(&way.replace("{}", column)));
            if !why.contains(part) {
                Some(format!("not told `{part}`: {why}"))
            } else if !why.contains(table) {
                Some(format!("does not name the table: {why}"))
            } else if matches!(then, Then::Refused(_)) && !names_column {
                Some(format!("does not name the column: {why}"))
            } else if !why.contains("\n  → ") {
                Some(format!("does not say what to do: {why}"))
            } else {
                rows.ok().filter(|rows| !rows.is_empty()).map(|rows| format!("refused, yet there: {rows:?}"))
            }
        }
    }
}

fn shortened(text: &str) -> String {
    let start: String = text.chars().take(300).collect();
    if start.len() == text.len() { start } else { format!("{start}… ({} bytes)", text.len()) }
}
