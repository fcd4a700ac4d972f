//! From the raw configuration to the checked one: what must be there, what fits together, what rowfall keeps to itself.

use std::collections::BTreeMap;
use std::time::Duration;

use rowfall_dialects::contract::{Compression, Storage, TableName, Target};
use url::Url;

use super::error::{Place, Problem};
use super::not_yet;
use super::raw::{
    Raw, RawColumn, RawCompression, RawFlatten, RawKafka, RawNested, RawNull, RawStartFrom, RawTarget, RawTopic,
    RawUnit, RawUnknownFields,
};
use super::scalars::{Scalar, Workers};
use super::settings::{
    BatchLimits, ColumnSettings, Flatten, KafkaSettings, Nested, NullPolicy, Overrides, Route, Settings, StartFrom,
    Unit, UnknownFields,
};
use super::tree::{Node, dotted};
use super::typed::listed;

/// librdkafka properties that rowfall sets itself, with the reason or the setting to use.
pub(super) const OWNED_PROPERTIES: [(&str, &str); 10] = [
    ("bootstrap.servers", "use `kafka.brokers`"),
    ("metadata.broker.list", "use `kafka.brokers`"),
    ("group.id", "use `name`"),
    ("auto.offset.reset", "use `kafka.start_from`"),
    ("queued.max.messages.kbytes", "use `memory`: rowfall derives it"),
    ("enable.auto.commit", "rowfall commits what the database has acknowledged, and nothing else"),
    ("auto.commit.enable", "rowfall commits what the database has acknowledged, and nothing else"),
    ("enable.auto.offset.store", "rowfall commits what the database has acknowledged, and nothing else"),
    ("enable.partition.eof", "rowfall needs it to know that it has read everything"),
    ("*_cb", "a callback is code and cannot be set here"),
];

/// Properties whose values rowfall has to know.
const PROPERTY_VALUES: [(&str, &[&str]); 2] = [
    ("isolation.level", &["read_committed", "read_uncommitted"]),
    ("partition.assignment.strategy", &["range", "roundrobin", "cooperative-sticky"]),
];

/// Schemes that have a dialect.
const SCHEMES: [&str; 3] = ["clickhouse", "clickhouses", "sqlite"];

/// A column of texts holds less than 4 GiB, and a single record may come on top of the limit.
const MAX_BATCH_BYTES: usize = 1 << 30;
const MIN_BATCH_BYTES: usize = 1 << 10;
const DEFAULT_BATCH_BYTES: usize = 64 << 20;
const MAX_WORKERS: usize = 1024;

/// Checks everything; `tree` is what `raw` was read from.
pub(super) fn check(raw: Raw, tree: &Node, flags: &Overrides) -> Result<Settings, Vec<Problem>> {
    let mut checker = Checker { tree, problems: Vec::new() };
    let derived = flags.replace_file().then(|| {
        let topics: Vec<_> = raw.topics.0.iter().map(|(topic, _)| topic.as_str()).collect();
        format!("rowfall-{}", topics.join("-"))
    });
    let name = checker.required(&["name"], raw.name.or(derived), "it is the consumer group: `name: shop`");
    let kafka = checker.kafka(raw.kafka);
    let target = checker.target(raw.target);
    let memory = raw.memory.0.0;
    let bytes = raw.batch.bytes.map_or_else(|| DEFAULT_BATCH_BYTES.min(memory / 2), |size| size.0);
    let batch = BatchLimits { rows: raw.batch.rows, bytes, age: raw.batch.age.0 };
    checker.batch(batch, memory);
    let workers = checker.workers(raw.workers);
    let routes = checker.routes(raw.topics.0);
    match target {
        Some(target) if checker.problems.is_empty() => {
            Ok(Settings { name, kafka, target, batch, memory, workers, show_values: raw.errors.show_values, routes })
        }
        _ => Err(checker.problems),
    }
}

struct Checker<'a> {
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn refuse(&mut self, path: &[&str], message: String, help: &str) {
        let problem = Problem::new(message).at(self.tree.place(path));
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    /// A text that must be there and not be empty.
    fn required(&mut self, path: &[&str], value: Option<String>, help: &str) -> String {
        let key = dotted(path);
        match value {
            Some(text) if !text.trim().is_empty() => return text,
            Some(_) => self.refuse(path, format!("`{key}` is empty"), help),
            None => {
                let parent = &path[..path.len() - 1];
                let place: Option<Place> = self.tree.key_place(path).or_else(|| self.tree.key_place(parent));
                self.problems.push(Problem::new(format!("`{key}` is missing")).help(help).at(place));
            }
        }
        String::new()
    }

    fn kafka(&mut self, raw: RawKafka) -> KafkaSettings {
        let help = "say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092";
        let brokers = self.required(&["kafka", "brokers"], raw.brokers, help);
        let start_from = match raw.start_from {
            RawStartFrom::Earliest => StartFrom::Earliest,
            RawStartFrom::Latest => StartFrom::Latest,
        };
        let properties: BTreeMap<_, _> = raw.properties.into_iter().map(|(key, Scalar(value))| (key, value)).collect();
        for (name, value) in &properties {
            self.property(name, value);
        }
        KafkaSettings { brokers, start_from, properties }
    }

    fn property(&mut self, name: &str, value: &str) {
        let path = ["kafka", "properties", name];
        let owns = |pattern: &str| match pattern.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == pattern,
        };
        if let Some((_, reason)) = OWNED_PROPERTIES.iter().find(|(pattern, _)| owns(pattern)) {
            let problem = Problem::new(format!("`{}` is rowfall's own", dotted(&path)));
            self.problems.push(problem.help(*reason).at(self.tree.key_place(&path)));
        }
        if let Some((_, known)) = PROPERTY_VALUES.iter().find(|(property, _)| *property == name)
            && !value.split(',').all(|part| known.contains(&part.trim()))
        {
            self.refuse(&path, format!("`{}` takes {}", dotted(&path), listed(known, "or")), "");
        }
    }

    fn target(&mut self, raw: RawTarget) -> Option<Target> {
        const HELP: &str = "say where rows go, such as clickhouse://user:password@localhost:8123/shop or \
                            sqlite://orders.db, in `target.url` or with --to";
        let path = ["target", "url"];
        let compression = match raw.compression {
            RawCompression::Auto => Compression::Auto,
            RawCompression::None => Compression::None,
            RawCompression::Lz4 => Compression::Lz4,
        };
        let text = self.required(&path, raw.url, HELP);
        if text.is_empty() {
            return None;
        }
        let url = match Url::parse(&text) {
            Ok(url) => url,
            Err(error) => {
                self.refuse(&path, format!("`target.url` is no URL: {error}"), HELP);
                return None;
            }
        };
        match url.scheme() {
            scheme if not_yet::SCHEMES.contains(&scheme) => {
                let problem = not_yet::problem(&format!("{scheme}://"))
                    .help("use clickhouse://, clickhouses:// (TLS) or sqlite://");
                self.problems.push(problem.at(self.tree.place(&path)));
            }
            scheme if !SCHEMES.contains(&scheme) => {
                self.refuse(&path, "`target.url` names no database that rowfall knows".to_owned(), HELP);
            }
            "clickhouse" | "clickhouses" if url.host_str().is_none_or(str::is_empty) => {
                self.refuse(&path, "`target.url` has no host".to_owned(), HELP);
            }
            _ => {}
        }
        Some(Target { url, compression })
    }

    fn batch(&mut self, batch: BatchLimits, memory: usize) {
        if batch.rows == 0 {
            self.refuse(&["batch", "rows"], "`batch.rows` must be at least 1".to_owned(), "");
        }
        let path = ["batch", "bytes"];
        if memory < 2 * MIN_BATCH_BYTES {
            let help = "a number without a unit counts bytes: write 256MiB";
            self.refuse(&["memory"], "`memory` must be at least 2KiB".to_owned(), help);
        } else if batch.bytes < MIN_BATCH_BYTES {
            let help = "a number without a unit counts bytes: write 64MiB";
            self.refuse(&path, "`batch.bytes` must be at least 1KiB".to_owned(), help);
        } else if batch.bytes > MAX_BATCH_BYTES {
            self.refuse(&path, "`batch.bytes` must be at most 1GiB".to_owned(), "");
        } else if batch.bytes > memory / 2 {
            let help = "one batch is filled while another is written: raise `memory` or lower `batch.bytes`";
            self.refuse(&path, "`batch.bytes` must be at most half of `memory`".to_owned(), help);
        }
        if batch.age < Duration::from_millis(1) {
            self.refuse(&["batch", "age"], "`batch.age` must be at least 1ms".to_owned(), "");
        }
    }

    fn workers(&mut self, workers: Workers) -> usize {
        match workers {
            Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from).min(8),
            Workers::Exactly(workers) => {
                if !(1..=MAX_WORKERS).contains(&workers) {
                    self.refuse(&["workers"], format!("`workers` must be from 1 to {MAX_WORKERS}, or `auto`"), "");
                }
                workers
            }
        }
    }

    fn routes(&mut self, topics: Vec<(String, RawTopic)>) -> Vec<Route> {
        if topics.is_empty() {
            let help = "say which topics to read: `topics: { orders: {} }` or --topic orders";
            let problem = Problem::new("`topics` is missing or empty");
            self.problems.push(problem.help(help).at(self.tree.key_place(&["topics"])));
        }
        topics.into_iter().map(|(topic, raw)| self.route(topic, raw)).collect()
    }

    fn route(&mut self, topic: String, raw: RawTopic) -> Route {
        let path = ["topics", topic.as_str()];
        if topic.starts_with('/') && topic.ends_with('/') {
            let problem = Problem::new("topics by regular expression are not available yet in this version");
            let problem = problem.label("not available yet").help("name each topic");
            self.problems.push(problem.at(self.tree.key_place(&path)));
        } else if !is_topic(&topic) {
            let problem = Problem::new(format!("`{topic}` cannot be the name of a topic"));
            let help = "1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`";
            self.problems.push(problem.help(help).at(self.tree.key_place(&path)));
        }
        let table = match &raw.table {
            None => TableName { schema: None, name: topic.clone() },
            Some(text) => {
                let name = TableName::parse(text);
                let fill_in = |part: String| part.replace("${topic}", &topic);
                TableName { schema: name.schema.map(fill_in), name: fill_in(name.name) }
            }
        };
        if table.name.is_empty() || table.schema.as_ref().is_some_and(String::is_empty) {
            let path = ["topics", topic.as_str(), "table"];
            self.refuse(&path, format!("`{}` is no table's name", dotted(&path)), "write `name` or `schema.name`");
        }
        let unknown_fields = match raw.unknown_fields {
            RawUnknownFields::Error => UnknownFields::Error,
            RawUnknownFields::Ignore => UnknownFields::Ignore,
            RawUnknownFields::Column(name) => {
                let path = ["topics", topic.as_str(), "unknown_fields"];
                if not_yet::value(&path.map(str::to_owned), &name) {
                    self.problems.push(not_yet::problem(&format!("unknown_fields: {name}")).at(self.tree.place(&path)));
                } else if name.trim().is_empty() {
                    self.refuse(
                        &path,
                        format!("`{}` is empty", dotted(&path)),
                        "say `error`, `ignore` or a column's name",
                    );
                }
                UnknownFields::Column(name)
            }
        };
        let null = match raw.null {
            RawNull::Error => NullPolicy::Error,
            RawNull::Default => NullPolicy::Default,
        };
        let flatten = self.flatten(&topic, raw.flatten);
        let nested = raw.nested.into();
        let columns = raw.columns.0.into_iter().map(|(name, column)| self.column(&topic, name, column)).collect();
        let storage = Storage {
            engine: raw.clickhouse.engine,
            order_by: raw.clickhouse.order_by.0,
            partition_by: raw.clickhouse.partition_by,
            ttl: raw.clickhouse.ttl,
            settings: raw.clickhouse.settings.into_iter().map(|(key, Scalar(value))| (key, value)).collect(),
        };
        Route { topic, table, create: raw.create, unknown_fields, null, nested, flatten, columns, storage }
    }

    fn flatten(&mut self, topic: &str, RawFlatten { separator, depth }: RawFlatten) -> Flatten {
        if separator.is_empty() {
            let path = ["topics", topic, "flatten", "separator"];
            let help = "without one a column's name would not say which field it is: write `_`";
            self.refuse(&path, format!("`{}` is empty", dotted(&path)), help);
        }
        if !(2..=64).contains(&depth) {
            let path = ["topics", topic, "flatten", "depth"];
            let help = "it counts the names in a column's name: `a_b_c` has 3";
            self.refuse(&path, format!("`{}` must be from 2 to 64", dotted(&path)), help);
        }
        Flatten { separator, depth }
    }

    fn column(&mut self, topic: &str, name: String, raw: RawColumn) -> ColumnSettings {
        let path = ["topics", topic, "columns", name.as_str()];
        if name.is_empty() {
            let problem = Problem::new(format!("`{}` has a column without a name", dotted(&path[..3])));
            self.problems.push(problem.at(self.tree.key_place(&path)));
        }
        for (key, value) in [("type", &raw.type_text), ("from", &raw.from)] {
            if value.as_ref().is_some_and(|text| text.trim().is_empty()) {
                let path = ["topics", topic, "columns", name.as_str(), key];
                self.refuse(&path, format!("`{}` is empty", dotted(&path)), "");
            }
        }
        let from = raw.from.unwrap_or_else(|| name.clone());
        let (nested, unit) = (raw.nested.map(Into::into), raw.unit.map(Into::into));
        ColumnSettings { name, from, type_text: raw.type_text, nullable: raw.nullable, drop: raw.drop, nested, unit }
    }
}

impl From<RawNested> for Nested {
    fn from(raw: RawNested) -> Self {
        match raw {
            RawNested::Native => Self::Native,
            RawNested::Json => Self::Json,
            RawNested::Flatten => Self::Flatten,
        }
    }
}

impl From<RawUnit> for Unit {
    fn from(raw: RawUnit) -> Self {
        match raw {
            RawUnit::S => Self::Seconds,
            RawUnit::Ms => Self::Milliseconds,
            RawUnit::Us => Self::Microseconds,
            RawUnit::Ns => Self::Nanoseconds,
            RawUnit::Days => Self::Days,
        }
    }
}

/// What Kafka takes as a topic's name.
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
