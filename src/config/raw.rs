//! The file as users write it. These types and their comments are the reference: `docs/configuration.md` and the JSON
//! Schema are made of them.
//!
//! Every field has a default, so that what is wrong can be left out and reading goes on; `check` asks for what must be
//! there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalars::{Age, OneOrMany, Ordered, Scalar, Size, StartFrom, Workers};
use super::settings::DEFAULT_MAX_TABLES;

/// Kafka topics into database tables.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map of settings")]
#[schemars(title = "rowfall.yaml")]
pub(super) struct Raw {
    /// The consumer group, and the key of rowfall's bookkeeping. Required; where `--brokers`, `--topic` or `--to` is
    /// given it is `rowfall-` and the topics unless it is written.
    pub(super) name: Option<String>,
    /// Where records come from.
    pub(super) kafka: RawKafka,
    /// Where the schemas of records are, for formats that have them there.
    pub(super) registry: RawRegistry,
    /// Where rows go.
    pub(super) target: RawTarget,
    /// What a crash may do. Default: `exactly-once`.
    pub(super) delivery: Option<Delivery>,
    /// When a batch is closed and written: at whichever limit it meets first.
    pub(super) batch: RawBatch,
    /// Bytes in flight between Kafka and the database. When they are spent, rowfall stops reading. At least twice
    /// `batch.bytes`.
    pub(super) memory: Memory,
    /// Threads that decode: a number, or `auto` for one per core that this process may use, at most 8.
    pub(super) workers: Workers,
    /// What to do with records that cannot be decoded.
    pub(super) errors: RawErrors,
    /// Topics with their tables. Required. A key is a topic, several with commas between (`orders, returns`), or a
    /// regular expression between slashes that a topic's whole name matches (`/orders-(.*)/`); of several keys that
    /// match a topic the first one holds. Topics that appear while rowfall runs are taken, too. Kafka's own topics,
    /// `__…`, are matched only by an expression that begins with `__`. A key without a value takes all defaults:
    /// `orders:`.
    pub(super) topics: Ordered<RawTopic>,
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ brokers: localhost:9092 }`")]
pub(super) struct RawKafka {
    /// Brokers to begin with: `host:port`, several with commas between. Required.
    pub(super) brokers: Option<String>,
    /// Where to begin in a partition for which the group has committed nothing: `earliest` (at the oldest record),
    /// `latest` (behind the newest), a time (`2026-11-24T00:00:00Z`, or a date: its first moment in UTC) for the first
    /// record that is not older, or an offset. Partitions and topics that appear while rowfall runs are read from
    /// their beginning in any case.
    pub(super) start_from: StartFrom,
    /// A name that is this process's own and stays the same when it is started again: static membership
    /// (`group.instance.id`). A process that comes back within `session.timeout.ms` has its partitions again and no
    /// other process notices. Default: none.
    pub(super) instance: Option<String>,
    /// Where this process runs, as the brokers' `broker.rack` calls it (`client.rack`): it then reads from the nearest
    /// replica, where the brokers allow that. Default: none.
    pub(super) rack: Option<String>,
    /// Any librdkafka property, by its own name. Those that rowfall sets itself are refused.
    pub(super) properties: BTreeMap<String, Scalar>,
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ url: http://localhost:8081 }`")]
pub(super) struct RawRegistry {
    /// A schema registry with Confluent's API: Confluent's own, Karapace, or Apicurio's under `/apis/ccompat/v7`. Several
    /// of the same schemas as a list: the next is asked when one does not answer. Required for `value: avro` and
    /// `key: avro`, but where a file has the schema.
    pub(super) url: OneOrMany,
    /// A user's name, or the key of an API key.
    pub(super) username: Option<String>,
    /// The password, or the secret of an API key: `${env:REGISTRY_PASSWORD}`.
    pub(super) password: Option<String>,
    /// A bearer token.
    pub(super) token: Option<String>,
    /// Where bearer tokens are got, by OAuth 2.0 client credentials.
    pub(super) oauth: Option<RawOAuth>,
    /// A PEM file of certificates to trust besides the public ones.
    pub(super) ca: Option<String>,
    /// A PEM file of the certificate to show (mutual TLS).
    pub(super) certificate: Option<String>,
    /// A PEM file of that certificate's private key.
    pub(super) private_key: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ url: https://login.example.com/token }`")]
pub(super) struct RawOAuth {
    /// The token endpoint. Required.
    pub(super) url: Option<String>,
    /// The client's id. Required.
    pub(super) client_id: Option<String>,
    /// The client's secret. Required.
    pub(super) client_secret: Option<String>,
    /// The scope to ask for.
    pub(super) scope: Option<String>,
    /// Headers that the registry wants with the token, such as `target-sr-cluster` and `Confluent-Identity-Pool-Id`.
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ url: sqlite://orders.db }`")]
pub(super) struct RawTarget {
    /// `clickhouse://user:password@host:port/database`, `clickhouses://…` (TLS), `postgres://user:password@host:port/database`
    /// (TLS by `?sslmode=`), `mysql://…`, `mariadb://…` (TLS by `?ssl-mode=`) or `sqlite://path`. Required. ClickHouse may
    /// have several hosts, `clickhouse://user:password@host:port,host:port/database`: inserts go around those that answer.
    /// Each must reach the same table: be a replica of it, or have a Distributed table over it.
    pub(super) url: Option<String>,
    /// Compression of what is sent, where the database knows it.
    pub(super) compression: RawCompression,
    /// How long `run` waits at the start for a server that does not answer, such as one that is being woken up; `0s`
    /// fails at once. Once it has answered, `run` waits for as long as it takes.
    pub(super) wait: Age,
}

impl Default for RawTarget {
    fn default() -> Self {
        let wait = Age(std::time::Duration::from_secs(120));
        Self { url: None, compression: RawCompression::default(), wait }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawCompression {
    /// Off on loopback, LZ4 elsewhere.
    #[default]
    Auto,
    /// Off.
    None,
    /// LZ4.
    Lz4,
    /// ZSTD: fewer bytes than LZ4 for more CPU on both sides.
    Zstd,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Delivery {
    /// Every record arrives, once. A database with transactions keeps how far each partition has come, in the table
    /// `rowfall_offsets`, in the transaction that writes the rows. ClickHouse drops what comes again: what is written
    /// next is told to the group in a Kafka transaction before.
    ExactlyOnce,
    /// Every record arrives; after a crash the last batches may arrive twice.
    AtLeastOnce,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ rows: 500000, age: 1s }`")]
pub(super) struct RawBatch {
    /// Rows; at least 1.
    #[schemars(range(min = 1))]
    pub(super) rows: usize,
    /// Bytes of its columns; from 1KiB to 1GiB, and at most half of `memory`. Default: 64MiB, or half of `memory` where
    /// that is less.
    pub(super) bytes: Option<Size>,
    /// Time since its first row; at least 1ms. While a table takes writes slowly, its batches close later than that, up
    /// to 30s: four times as late as a write of such a batch takes, and twice as late with each write that ClickHouse
    /// refuses because its merges fall behind.
    pub(super) age: Age,
}

impl Default for RawBatch {
    fn default() -> Self {
        Self { rows: 500_000, bytes: None, age: Age(std::time::Duration::from_secs(1)) }
    }
}

/// A [`Size`] with the default of `memory`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(inline)]
pub(super) struct Memory(pub(super) Size);

impl Default for Memory {
    fn default() -> Self {
        Self(Size(256 << 20))
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ show_values: false }`")]
pub(super) struct RawErrors {
    /// What to do with a record that cannot be decoded.
    pub(super) bad_record: BadRecord,
    /// Whether messages may show the values of such records. Mind who reads the logs.
    pub(super) show_values: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BadRecord {
    /// Its partition stops and says why.
    #[default]
    Stop,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ table: orders }`")]
pub(super) struct RawTopic {
    /// The table, as `name` or `schema.name`; a part that holds a dot itself stands in double quotes or backquotes.
    /// `${topic}` stands for the topic, `${1}` for what the first group of the key's regular expression matched, and so
    /// on. `${header:x}` stands for each record's header `x`, `${field:x}` for field `x` of its value (`${field:a.b}` for
    /// one inside an object): a text, an integer or a boolean, so that one topic fills several tables. Several topics may
    /// go into one table. Default: the topic's name.
    pub(super) table: Option<String>,
    /// Tables that the records of one topic may be spread over, by `${header:x}` and `${field:x}`; a record that needs one
    /// more is bad. At least 1.
    #[schemars(range(min = 1))]
    pub(super) max_tables: usize,
    /// The format of the records' values.
    pub(super) value: ValueFormat,
    /// With `value: avro`: a file with the schema of all values, which then stand alone, without the id of a schema. No
    /// registry is asked.
    pub(super) value_schema: Option<String>,
    /// What surrounds the row in a record's value.
    pub(super) envelope: Envelope,
    /// The format of the records' keys, where `primary_key` or `deletes` reads them.
    pub(super) key: KeyFormat,
    /// With `key: avro`: the same for keys.
    pub(super) key_schema: Option<String>,
    /// What a record does to the table.
    pub(super) mode: Mode,
    /// Which stored row a record is about, with `mode: upsert`: columns that the record's value fills (`[customer, id]`),
    /// `record-key` (the fields of the record's key; a key that is no object fills the table's one key column, or the one
    /// that `record-key:id` names), `header:x` (the record's header `x`, as text, fills the column of that name, or the one
    /// that says `from: x`; several as a list), or `coordinates` (columns `_topic`, `_partition` and `_offset`: a record that comes
    /// twice stands once). The table needs a primary key or a unique index of these columns; one that rowfall creates
    /// gets it. Default: the primary key that the table has.
    pub(super) primary_key: OneOrMany,
    /// Whether records without a value (tombstones) delete the row of their key, with `mode: upsert`. The record's key
    /// then has to say all columns of `primary_key`.
    pub(super) deletes: bool,
    /// What an upsert does with a column that the record lacks.
    pub(super) absent: RawAbsent,
    /// Whether to create the table when it is missing.
    pub(super) create: bool,
    /// Whether to leave the topic unread for now: its table is looked at and its partitions are taken, but no record is
    /// read and nothing committed.
    pub(super) paused: bool,
    /// What may change in a table that is there, for a record that does not fit it otherwise.
    pub(super) evolve: Evolve,
    /// What to do with a field for which the table has no column: `error` (the record is bad), `ignore` (the field is
    /// left out), `add` (the table gets the column; needs `evolve`), or the name of a column that takes all such fields
    /// as one JSON object. Default: `add` where `evolve` is set, otherwise `error`.
    pub(super) unknown_fields: Option<RawUnknownFields>,
    /// What to do where a column that cannot be null gets null, or has no DEFAULT and its field is lacking.
    pub(super) null: RawNull,
    /// What becomes of objects and arrays. A column's own `nested` goes before it.
    pub(super) nested: RawNested,
    /// How `nested: flatten` names columns.
    pub(super) flatten: RawFlatten,
    /// Settings of single columns, by the column's name in the table. Short form: `amount: decimal(18,2)` for
    /// `amount: { type: decimal(18,2) }`.
    pub(super) columns: Ordered<RawColumn>,
    /// How ClickHouse should keep a table that rowfall creates. Other databases pass over it.
    pub(super) clickhouse: RawClickhouse,
}

impl Default for RawTopic {
    fn default() -> Self {
        Self {
            table: None,
            max_tables: DEFAULT_MAX_TABLES,
            value: ValueFormat::default(),
            value_schema: None,
            envelope: Envelope::default(),
            key: KeyFormat::default(),
            key_schema: None,
            mode: Mode::default(),
            primary_key: OneOrMany::default(),
            deletes: false,
            absent: RawAbsent::default(),
            create: true,
            paused: false,
            evolve: Evolve::default(),
            unknown_fields: None,
            null: RawNull::default(),
            nested: RawNested::default(),
            flatten: RawFlatten::default(),
            columns: Ordered::default(),
            clickhouse: RawClickhouse::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ValueFormat {
    /// A JSON object; its fields are the columns.
    #[default]
    Json,
    /// JSON with its schema, `{"schema": …, "payload": …}`, as Kafka Connect's JsonConverter writes it.
    ConnectJson,
    /// An Avro record with the id of its schema in front or in a header, as serializers with a registry write it.
    Avro,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Envelope {
    /// Nothing: the value is the row.
    #[default]
    None,
    /// Debezium's change events: the row is under `after`. One that says that the row is gone deletes it, by the record's
    /// key, as a tombstone does (`deletes: true`). A value that the source does not say, since it had not changed, stays
    /// as it is where `absent: keep` can do that.
    Debezium,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// It becomes a row.
    #[default]
    Insert,
    /// It becomes a row, or changes the row that has its key.
    Upsert,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum KeyFormat {
    /// JSON: an object with a field per column, or one value.
    #[default]
    Json,
    /// UTF-8 text, as it is.
    String,
    /// JSON with its schema, as Kafka Connect's JsonConverter writes it.
    ConnectJson,
    /// Avro with the id of its schema: a record with a field per column, or one value.
    Avro,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawAbsent {
    /// It stays as it is; a new row gets the column's DEFAULT. ClickHouse replaces whole rows, so that such a record is
    /// bad there unless the table is a CoalescingMergeTree.
    #[default]
    Keep,
    /// It gets its DEFAULT, or null.
    Default,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Evolve {
    /// Nothing.
    #[default]
    None,
    /// It gets columns.
    Add,
    /// It gets columns, and columns become wider: a larger integer or float, finer timestamps, null where there was
    /// none. No value that is stored changes.
    Widen,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub(super) enum RawUnknownFields {
    Error,
    Ignore,
    Add,
    Column(String),
}

impl From<String> for RawUnknownFields {
    fn from(text: String) -> Self {
        match text.as_str() {
            "error" => Self::Error,
            "ignore" => Self::Ignore,
            "add" => Self::Add,
            _ => Self::Column(text),
        }
    }
}

impl From<RawUnknownFields> for String {
    fn from(raw: RawUnknownFields) -> Self {
        match raw {
            RawUnknownFields::Error => "error".to_owned(),
            RawUnknownFields::Ignore => "ignore".to_owned(),
            RawUnknownFields::Add => "add".to_owned(),
            RawUnknownFields::Column(name) => name,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawNull {
    /// The record is bad.
    #[default]
    Error,
    /// The column gets its DEFAULT, or its type's own where it has none.
    Default,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawNested {
    /// What the column's type makes of it: a list, map, struct or JSON column takes it as such, a string as JSON text.
    #[default]
    Native,
    /// JSON text, in a string or JSON column.
    Json,
    /// An object's fields go into columns of their own: `a: { b: 1 }` into `a_b`. Arrays as `native`.
    Flatten,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ separator: _, depth: 3 }`")]
pub(super) struct RawFlatten {
    /// Stands between the names of an object and of its field.
    pub(super) separator: String,
    /// Names in a column's name at most; from 2 to 64. An object further in goes into the last one's column as JSON text.
    #[schemars(range(min = 2, max = 64))]
    pub(super) depth: usize,
}

impl Default for RawFlatten {
    fn default() -> Self {
        Self { separator: "_".to_owned(), depth: 10 }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// Days; for dates.
    Days,
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a type such as `decimal(18,2)` or a map such as `{ from: amt }`")]
#[schemars(extend("type" = ["object", "string", "null"]))]
pub(super) struct RawColumn {
    /// The field's name in the record, or the way to it through objects: `from: customer.name`. Default: the column's
    /// name.
    pub(super) from: Option<String>,
    /// The type of a column that rowfall creates: `bool`, `int8` … `int256`, `uint8` … `uint256`, `float32`, `float64`,
    /// `decimal(digits,scale)`, `string`, `uuid`, `date`, `time(digits)`, `timestamp(digits)`, `json`, `ipv4`, `ipv6`,
    /// or a type of the database's own.
    /// Default: what a sample of records shows.
    #[serde(rename = "type")]
    pub(super) type_text: Option<String>,
    /// Whether a column that rowfall creates takes null. Default: `true` where the database can (ClickHouse has no
    /// nullable arrays and maps).
    pub(super) nullable: Option<bool>,
    /// DEFAULT of a column that rowfall creates: an expression of the database's, so that a text stands in quotes of its
    /// own: `default: "'new'"`.
    pub(super) default: Option<Scalar>,
    /// Leaves the field out although records have it.
    pub(super) drop: bool,
    /// CODEC of a column that rowfall creates: `Delta, ZSTD(3)`. ClickHouse only.
    pub(super) codec: Option<String>,
    /// COMMENT of a column that rowfall creates. ClickHouse only.
    pub(super) comment: Option<String>,
    /// TTL of a column that rowfall creates, an expression. ClickHouse only.
    pub(super) ttl: Option<String>,
    /// What becomes of objects and arrays in this field. Default: as the topic's `nested` says.
    pub(super) nested: Option<RawNested>,
    /// What a number, or digits in a string, count that stand for a date or timestamp, since 1970-01-01T00:00:00Z.
    /// Default: units of the column's own last digit.
    pub(super) unit: Option<RawUnit>,
}

#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map such as `{ order_by: id }`")]
pub(super) struct RawClickhouse {
    /// The engine with its arguments. Default: `MergeTree`.
    pub(super) engine: Option<String>,
    /// ORDER BY: one expression or a list. Default: `tuple()`.
    pub(super) order_by: OneOrMany,
    /// PARTITION BY, an expression.
    pub(super) partition_by: Option<String>,
    /// PRIMARY KEY, where it is a beginning of ORDER BY: one expression or a list.
    pub(super) primary_key: OneOrMany,
    /// SAMPLE BY, an expression.
    pub(super) sample_by: Option<String>,
    /// TTL, an expression.
    pub(super) ttl: Option<String>,
    /// SETTINGS of the table.
    pub(super) settings: BTreeMap<String, Scalar>,
    /// INDEX, by name: `note TYPE bloom_filter(0.01) GRANULARITY 4`.
    pub(super) indexes: BTreeMap<String, String>,
    /// PROJECTION, by name: `SELECT country, count() GROUP BY country`.
    pub(super) projections: BTreeMap<String, String>,
    /// COMMENT of the table.
    pub(super) comment: Option<String>,
    /// ON CLUSTER: every server of this cluster gets the table, and no row is written before each of them has it.
    pub(super) cluster: Option<String>,
}
