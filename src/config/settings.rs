use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rowfall_dialects::contract::{COORDINATES, ColumnStorage, Storage, TableName, Target};
use url::Url;

use super::routes::Routes;
use super::template::TableTemplate;
use crate::schemas::Schemas;

/// What the command line says besides the file.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `-c FILE`; `rowfall.yaml` in the working directory where absent and no other flag makes a file needless.
    pub file: Option<PathBuf>,
    /// `--set path=value`, in the order given.
    pub set: Vec<String>,
    /// `--brokers`
    pub brokers: Option<String>,
    /// `--topic`, once per topic.
    pub topics: Vec<String>,
    /// `--to URL`
    pub to: Option<String>,
    /// `--name`
    pub name: Option<String>,
}

impl Overrides {
    /// Whether these flags make a file needless: then none is read unless it is named.
    pub(super) fn replace_file(&self) -> bool {
        self.brokers.is_some() || self.to.is_some() || !self.topics.is_empty()
    }
}

/// Everything a run needs to know, checked. Made by [`load`](super::load) only.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The consumer group, and the key of rowfall's bookkeeping. Not empty.
    pub name: String,
    /// Where records come from.
    pub kafka: KafkaSettings,
    /// Where rows go.
    pub target: Target,
    /// How long a run waits at the start for a server that does not answer.
    pub wait: Duration,
    /// What a crash may do; where nothing is said, the best that the database can.
    pub delivery: Option<Delivery>,
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Bytes that may be in flight between Kafka and the database; at least twice `batch.bytes`.
    pub memory: usize,
    /// Threads that decode; at least 1.
    pub workers: usize,
    /// Whether messages may show the values of bad records.
    pub show_values: bool,
    /// Which table each topic goes to; never empty.
    pub routes: Routes,
}

/// The Kafka side.
#[derive(Clone)]
pub struct KafkaSettings {
    /// librdkafka's `bootstrap.servers`.
    pub brokers: String,
    /// Where to begin in a partition for which the group has committed nothing.
    pub start_from: StartFrom,
    /// librdkafka's `group.instance.id`: static membership.
    pub instance: Option<String>,
    /// librdkafka's `client.rack`.
    pub rack: Option<String>,
    /// Further librdkafka properties; none of those that rowfall owns. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

/// Leaves out the properties' values: some are secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("start_from", &self.start_from)
            .field("instance", &self.instance)
            .field("rack", &self.rack)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Where to begin in a partition for which the group has committed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record that is not older; behind the newest where all are.
    Time(jiff::Timestamp),
    /// At this offset, in every partition.
    Offset(i64),
}

/// What a crash may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Every record arrives, once.
    ExactlyOnce,
    /// Every record arrives; the last batches may arrive twice.
    AtLeastOnce,
}

/// When a batch is closed: whichever limit it meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows; at least 1.
    pub rows: usize,
    /// Bytes that its columns occupy; at least 1, at most half of [`Settings::memory`].
    pub bytes: usize,
    /// Time since its first row; more than zero.
    pub age: Duration,
}

/// [`Route::max_tables`] where the file says nothing.
pub(super) const DEFAULT_MAX_TABLES: usize = 100;

/// One topic and the table that its records go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The topic.
    pub topic: String,
    /// The key under `topics:` that it comes by, as it is written; for messages.
    pub key: String,
    /// The table, with its templates filled in, but those for which each record has a value of its own.
    pub table: TableName,
    /// The table where each record says a part of its name.
    pub by_record: Option<TableTemplate>,
    /// Tables that the records of one topic may be spread over; at least 1.
    pub max_tables: usize,
    /// How the records' values are written; never [`Format::String`].
    pub value: Format,
    /// What surrounds the row in them.
    pub envelope: Envelope,
    /// What a record does to the table.
    pub mode: Mode,
    /// Whether to create the table when it is missing.
    pub create: bool,
    /// What may change in a table that is there.
    pub evolve: Evolve,
    /// What to do with a field for which the table has no column.
    pub unknown_fields: UnknownFields,
    /// What to do with null, or nothing, for a column that takes neither.
    pub null: NullPolicy,
    /// What becomes of objects and arrays, where a column does not say it itself.
    pub nested: Nested,
    /// How objects are flattened.
    pub flatten: Flatten,
    /// What the file says about single columns, in the file's order; each column once.
    pub columns: Vec<ColumnSettings>,
    /// How the database should keep a table that rowfall creates.
    pub storage: Storage,
}

impl Route {
    /// This topic into this table, all else as it is where the file says nothing, but that no table is created.
    #[must_use]
    pub fn new(topic: &str, table: TableName) -> Self {
        Self {
            topic: topic.to_owned(),
            key: topic.to_owned(),
            table,
            by_record: None,
            max_tables: DEFAULT_MAX_TABLES,
            value: Format::Json,
            envelope: Envelope::None,
            mode: Mode::Insert,
            create: false,
            evolve: Evolve::None,
            unknown_fields: UnknownFields::Error,
            null: NullPolicy::Error,
            nested: Nested::Native,
            flatten: Flatten { separator: "_".to_owned(), depth: 10 },
            columns: Vec::new(),
            storage: Storage::default(),
        }
    }

    /// The same into one of the tables that its records say.
    #[must_use]
    pub fn into_table(&self, table: TableName) -> Self {
        Self { table, by_record: None, ..self.clone() }
    }
}

/// What a record does to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It becomes a row.
    Insert,
    /// It becomes a row, or changes the row that has its key.
    Upsert {
        /// Which row that is.
        key: KeySource,
        /// The format of the records' keys.
        format: Format,
        /// Whether a record without a value deletes it.
        deletes: bool,
        /// What becomes of a column that the record lacks.
        absent: Absent,
    },
}

/// Which stored row a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The record's value fills these columns; where there is none, those of the table's primary key.
    Value(Vec<String>),
    /// The record's key fills these columns; where there is none, those that it has fields for, or the table's primary
    /// key.
    Record(Vec<String>),
    /// The record's headers fill these columns.
    Headers(Vec<HeaderColumn>),
    /// [`COORDINATES`](rowfall_dialects::contract::COORDINATES).
    Coordinates,
}

impl KeySource {
    /// The columns that it names; none where it leaves them to the table or the records.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Value(names) | Self::Record(names) => names.clone(),
            Self::Headers(headers) => headers.iter().map(|header| header.column.clone()).collect(),
            Self::Coordinates => COORDINATES.map(str::to_owned).to_vec(),
        }
    }
}

/// A header and the column that it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderColumn {
    /// The header's name.
    pub header: String,
    /// The column's.
    pub column: String,
}

impl HeaderColumn {
    /// The header's name as librdkafka wants it.
    pub(crate) fn c_name(&self) -> CString {
        CString::new(self.header.as_str()).expect("the configuration refuses NUL")
    }
}

/// How a record's key or its value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// UTF-8 text.
    String,
    /// Avro, each with the id of a schema.
    Avro(Schemas),
    /// JSON, each with its schema.
    ConnectJson,
}

/// What surrounds the row in a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing.
    None,
    /// A change event of Debezium's.
    Debezium,
}

/// A schema registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Servers with the same schemas; at least one.
    pub urls: Vec<Url>,
    /// What it wants to see of us.
    pub access: RegistryAccess,
    /// A PEM file of certificates to trust besides the public ones.
    pub ca: Option<PathBuf>,
    /// PEM files of the certificate to show and of its private key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What a schema registry wants to see of us. Holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryAccess {
    /// Nothing.
    None,
    /// HTTP's Basic authentication.
    Basic {
        /// The user.
        user: String,
        /// The user's password.
        password: String,
    },
    /// This bearer token.
    Bearer(String),
    /// A bearer token that is got by OAuth 2.0 client credentials.
    OAuth {
        /// The token endpoint.
        url: Url,
        /// Who asks.
        client_id: String,
        /// The secret of who asks.
        client_secret: String,
        /// What for.
        scope: Option<String>,
        /// Headers that go with the token.
        headers: BTreeMap<String, String>,
    },
}

/// Leaves out what may be secret.
impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.urls.iter().map(|url| url.as_str())).finish()
    }
}

/// What an upsert does with a column that the record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It stays as it is.
    Keep,
    /// It gets its DEFAULT, or null.
    Default,
}

/// What becomes of an object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nested {
    /// What the column's type makes of it.
    Native,
    /// JSON text.
    Json,
    /// Of an object's fields, columns of their own.
    Flatten,
}

/// How objects are flattened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// Between the names of an object and of its field; not empty.
    pub separator: String,
    /// Names in a column's name at most; at least 2.
    pub depth: usize,
}

/// What a number counts that stands for a date or an instant, since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Days.
    Days,
}

/// What may change in a table that is there, for a record that does not fit it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evolve {
    /// Nothing.
    None,
    /// It gets columns.
    Add,
    /// It gets columns, and columns become wider.
    Widen,
}

/// What to do with a field for which the table has no column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// The record is bad.
    Error,
    /// The field is left out.
    Ignore,
    /// The table gets the column.
    Add,
    /// All such fields go into this column, as one JSON object.
    Column(String),
}

/// What to do with null for a column that cannot be null, and with nothing for one that has no DEFAULT either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullPolicy {
    /// The record is bad.
    Error,
    /// The column gets its DEFAULT, or its type's own.
    Default,
}

/// What the file says about one column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSettings {
    /// The column's name in the table.
    pub name: String,
    /// The field's name in the record, or the way to it with dots between the steps.
    pub from: String,
    /// A logical type's text or the database's own type; unchecked, as only the dialect knows its types.
    pub type_text: Option<String>,
    /// Whether a column that rowfall creates takes null; where nothing is said, it does if the database can.
    pub nullable: Option<bool>,
    /// DEFAULT of a column that rowfall creates, an expression of the database's.
    pub default: Option<String>,
    /// Whether the field is left out although the record has it.
    pub drop: bool,
    /// How the database should keep a column that rowfall creates.
    pub storage: ColumnStorage,
    /// What becomes of objects and arrays; as the route says where absent.
    pub nested: Option<Nested>,
    /// For dates and timestamps: what a number counts.
    pub unit: Option<Unit>,
}

impl ColumnSettings {
    /// Of a column of which the file says nothing but its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            from: name.to_owned(),
            type_text: None,
            nullable: None,
            default: None,
            drop: false,
            storage: ColumnStorage::default(),
            nested: None,
            unit: None,
        }
    }
}
