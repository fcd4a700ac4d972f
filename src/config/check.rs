//! From the raw configuration to the checked one: what must be there, what fits together, what rowfall keeps to itself.

mod mode;
mod registry;

use std::collections::BTreeMap;
use std::time::Duration;

use rowfall_dialects::contract::{ColumnStorage, Compression, Storage, TableName, Target};
use url::Url;

use super::error::{Place, Problem};
use super::raw::{
    self, Envelope as RawEnvelope, Evolve as RawEvolve, Raw, RawColumn, RawCompression, RawFlatten, RawKafka,
    RawNested, RawNull, RawTarget, RawTopic, RawUnit, RawUnknownFields,
};
use super::routes::{Routes, Rule, Topics};
use super::scalars::{Scalar, Workers};
use super::settings::{
    BatchLimits, ColumnSettings, Delivery, Envelope, Evolve, Flatten, KafkaSettings, Nested, NullPolicy, Overrides,
    Route, Settings, Unit, UnknownFields,
};
use super::template;
use super::tree::{Node, dotted};
use super::typed::listed;
use crate::schemas::Schemas;

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
const SCHEMES: [&str; 7] = ["clickhouse", "clickhouses", "postgres", "postgresql", "mysql", "mariadb", "sqlite"];

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
    let wait = raw.target.wait.0;
    let target = checker.target(raw.target);
    let memory = raw.memory.0.0;
    let bytes = raw.batch.bytes.map_or_else(|| DEFAULT_BATCH_BYTES.min(memory / 2), |size| size.0);
    let batch = BatchLimits { rows: raw.batch.rows, bytes, age: raw.batch.age.0 };
    checker.batch(batch, memory);
    let workers = checker.workers(raw.workers);
    let schemas = checker.registry(raw.registry);
    let routes = checker.routes(raw.topics.0, schemas.as_ref());
    match target {
        Some(target) if checker.problems.is_empty() => Ok(Settings {
            name,
            kafka,
            target,
            wait,
            delivery: raw.delivery.map(|delivery| match delivery {
                raw::Delivery::ExactlyOnce => Delivery::ExactlyOnce,
                raw::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
            }),
            batch,
            memory,
            workers,
            show_values: raw.errors.show_values,
            routes,
        }),
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
        let properties: BTreeMap<_, _> =
            raw.properties.iter().map(|(key, Scalar(value))| (key.clone(), value.clone())).collect();
        for (name, value) in &properties {
            self.property(name, value);
        }
        for (key, value, property) in
            [("instance", &raw.instance, "group.instance.id"), ("rack", &raw.rack, "client.rack")]
        {
            if value.as_ref().is_some_and(|text| text.trim().is_empty()) {
                self.refuse(&["kafka", key], format!("`kafka.{key}` is empty"), "");
            }
            let path = ["kafka", "properties", property];
            if value.is_some() && properties.contains_key(property) {
                let problem = Problem::new(format!("`{}` and `kafka.{key}` are the same setting", dotted(&path)));
                let help = format!("leave `kafka.{key}` and take this away");
                self.problems.push(problem.help(help).at(self.tree.key_place(&path)));
            }
        }
        let RawKafka { start_from, instance, rack, .. } = raw;
        KafkaSettings { brokers, start_from, instance, rack, properties }
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
            RawCompression::Zstd => Compression::Zstd,
        };
        let text = self.required(&path, raw.url, HELP);
        if text.is_empty() {
            return None;
        }
        let target = match Target::parse(&text, compression) {
            Ok(target) => target,
            Err(error) => {
                self.refuse(&path, format!("`target.url` is no URL: {error}"), HELP);
                return None;
            }
        };
        let no_host = |url: &Url| url.host_str().is_none_or(str::is_empty);
        match target.url.scheme() {
            scheme if !SCHEMES.contains(&scheme) => {
                self.refuse(&path, "`target.url` names no database that rowfall knows".to_owned(), HELP);
            }
            "clickhouse" | "clickhouses" if [&target.url].into_iter().chain(&target.others).any(no_host) => {
                self.refuse(&path, "`target.url` has no host".to_owned(), HELP);
            }
            _ => {}
        }
        Some(target)
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

    fn routes(&mut self, topics: Vec<(String, RawTopic)>, schemas: Option<&Schemas>) -> Routes {
        if topics.is_empty() {
            let help = "say which topics to read: `topics: { orders: {} }` or --topic orders";
            let problem = Problem::new("`topics` is missing or empty");
            self.problems.push(problem.help(help).at(self.tree.key_place(&["topics"])));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for (key, raw) in topics {
            let path = ["topics", key.as_str()];
            let topics = Topics::parse(&key).map_err(|(message, help)| {
                self.problems.push(Problem::new(message).help(help).at(self.tree.key_place(&path)));
            });
            let topics = topics.ok();
            for name in topics.as_ref().map_or(&[][..], Topics::names) {
                if let Some(first) = rules.iter().find(|rule| rule.topics.take(name)) {
                    let message = format!("`{name}` is taken by the key `{}` already", first.key);
                    let help = "the first key that matches a topic holds: take it out of one, or put this one first";
                    self.problems.push(Problem::new(message).help(help).at(self.tree.key_place(&path)));
                }
            }
            let paused = raw.paused;
            let template = self.route(key.clone(), topics.as_ref(), raw, schemas);
            if let Some(topics) = topics {
                rules.push(Rule { key, topics, paused, template });
            }
        }
        Routes::new(rules)
    }

    /// The route of a key, with the templates of its table still in it.
    fn route(&mut self, topic: String, topics: Option<&Topics>, raw: RawTopic, schemas: Option<&Schemas>) -> Route {
        let table = match &raw.table {
            None => TableName { schema: None, name: "${topic}".to_owned() },
            Some(text) => template::parse_table(text),
        };
        if let (Some(topics), Some(text)) = (topics, &raw.table)
            && let Err((template, message)) = topics.check_template(text)
        {
            let place = self.tree.place(&["topics", topic.as_str(), "table"]).map(|place| place.find(template));
            let help = "`${topic}` is the topic's name, `${1}` the first group of the key's regular expression, \
                        `${header:x}` and `${field:x}` are a record's";
            self.problems.push(Problem::new(message).help(help).at(place));
        }
        if table.name.is_empty() || table.schema.as_ref().is_some_and(String::is_empty) {
            let path = ["topics", topic.as_str(), "table"];
            self.refuse(&path, format!("`{}` is no table's name", dotted(&path)), "write `name` or `schema.name`");
        }
        let max_tables = raw.max_tables;
        if max_tables == 0 {
            let path = ["topics", topic.as_str(), "max_tables"];
            self.refuse(&path, format!("`{}` must be at least 1", dotted(&path)), "");
        }
        let value = self.value_format(&topic, &raw, schemas);
        let mode = self.mode(&topic, &raw, schemas);
        let evolve = match raw.evolve {
            RawEvolve::None => Evolve::None,
            RawEvolve::Add => Evolve::Add,
            RawEvolve::Widen => Evolve::Widen,
        };
        let unknown_fields = match raw.unknown_fields {
            None if evolve == Evolve::None => UnknownFields::Error,
            None => UnknownFields::Add,
            Some(RawUnknownFields::Error) => UnknownFields::Error,
            Some(RawUnknownFields::Ignore) => UnknownFields::Ignore,
            Some(RawUnknownFields::Add) => {
                if evolve == Evolve::None {
                    let path = ["topics", topic.as_str(), "unknown_fields"];
                    let message = format!("`{}: add` needs `evolve: add`", dotted(&path));
                    self.refuse(&path, message, "set `evolve: add` for the topic");
                }
                UnknownFields::Add
            }
            Some(RawUnknownFields::Column(name)) => {
                let path = ["topics", topic.as_str(), "unknown_fields"];
                if name.trim().is_empty() {
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
            primary_key: raw.clickhouse.primary_key.0,
            sample_by: raw.clickhouse.sample_by,
            ttl: raw.clickhouse.ttl,
            settings: raw.clickhouse.settings.into_iter().map(|(key, Scalar(value))| (key, value)).collect(),
            indexes: raw.clickhouse.indexes,
            projections: raw.clickhouse.projections,
            comment: raw.clickhouse.comment,
            cluster: raw.clickhouse.cluster,
        };
        let key = topic.clone();
        Route {
            key,
            topic,
            table,
            by_record: None,
            max_tables,
            value,
            envelope: match raw.envelope {
                RawEnvelope::None => Envelope::None,
                RawEnvelope::Debezium => Envelope::Debezium,
            },
            mode,
            create: raw.create,
            evolve,
            unknown_fields,
            null,
            nested,
            flatten,
            columns,
            storage,
        }
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
        let default = raw.default.map(|Scalar(text)| text);
        let texts = [
            ("type", &raw.type_text),
            ("from", &raw.from),
            ("default", &default),
            ("codec", &raw.codec),
            ("ttl", &raw.ttl),
        ];
        for (key, value) in texts {
            if value.as_ref().is_some_and(|text| text.trim().is_empty()) {
                let path = ["topics", topic, "columns", name.as_str(), key];
                self.refuse(&path, format!("`{}` is empty", dotted(&path)), "");
            }
        }
        let from = raw.from.unwrap_or_else(|| name.clone());
        ColumnSettings {
            name,
            from,
            type_text: raw.type_text,
            nullable: raw.nullable,
            default,
            drop: raw.drop,
            storage: ColumnStorage { codec: raw.codec, comment: raw.comment, ttl: raw.ttl },
            nested: raw.nested.map(Into::into),
            unit: raw.unit.map(Into::into),
        }
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
