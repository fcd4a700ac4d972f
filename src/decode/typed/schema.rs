//! What records of a schema are, whichever format wrote them.

use rowfall_dialects::contract::MAX_DECIMAL_PRECISION;

/// A type's place in [`Schema::types`].
pub(crate) type TypeId = usize;

/// The types of a schema in one list, so that a type can hold itself.
#[derive(Debug)]
pub struct Schema {
    pub(crate) types: Vec<Type>,
    /// What a value is.
    pub(crate) root: TypeId,
}

/// What a value is, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Null,
    Boolean,
    /// An `int` or a `long`, which are written alike; whether it has only 32 bits.
    Integer {
        short: bool,
    },
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// The names, by their numbers.
    Enum(Box<[Box<str>]>),
    Array(TypeId),
    Map(TypeId),
    Union(Box<[TypeId]>),
    Record(Box<[Field]>),
    /// An unscaled number, in bytes or in `size` of them.
    Decimal {
        precision: usize,
        scale: u8,
        size: Option<usize>,
    },
    /// Debezium's: a record of a scale and an unscaled number in bytes.
    VariableDecimal,
    /// In 16 bytes.
    Uuid,
    /// As a text.
    UuidText,
    /// Days.
    Date,
    /// Since midnight, in units of 10^−`digits` seconds.
    Time {
        digits: u8,
    },
    /// Since 1970, in units of 10^−`digits` seconds; `local`: as clocks on the wall show it, in no zone.
    Timestamp {
        digits: u8,
        local: bool,
    },
    /// Months, days and milliseconds.
    Duration,
    /// A text that holds JSON.
    Json,
    /// An instant as ISO 8601 writes it.
    TimestampText,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    /// What it was called before.
    pub(crate) aliases: Box<[Box<str>]>,
    pub(crate) id: TypeId,
}

impl Schema {
    /// The type behind an id.
    #[inline]
    pub(crate) fn of(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The fields of a type that is a record, or a record or null.
    pub(crate) fn record(&self, id: TypeId) -> Option<&[Field]> {
        match (self.of(id), self.beside_null(id)) {
            (Type::Record(fields), _) => Some(fields),
            (_, Some(other)) => match self.of(other) {
                Type::Record(fields) => Some(fields),
                _ => None,
            },
            _ => None,
        }
    }

    /// The other type of a union of two, one of which is null.
    pub(crate) fn beside_null(&self, id: TypeId) -> Option<TypeId> {
        let Type::Union(branches) = self.of(id) else { return None };
        let [first, second] = **branches else { return None };
        match (self.of(first), self.of(second)) {
            (Type::Null, _) => Some(second),
            (_, Type::Null) => Some(first),
            _ => None,
        }
    }

    /// A type in the specification's words.
    pub(crate) fn name(&self, id: TypeId) -> String {
        let unit = |digits: u8| match digits {
            3 => "millis",
            6 => "micros",
            _ => "nanos",
        };
        match self.of(id) {
            Type::Null => "null".to_owned(),
            Type::Boolean => "boolean".to_owned(),
            Type::Integer { short: true } => "int".to_owned(),
            Type::Integer { short: false } => "long".to_owned(),
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::String => "string".to_owned(),
            Type::Fixed(size) => format!("fixed({size})"),
            Type::Enum(_) => "enum".to_owned(),
            Type::Array(_) => "array".to_owned(),
            Type::Map(_) => "map".to_owned(),
            Type::Record(_) => "record".to_owned(),
            Type::Union(branches) => branches.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(" or "),
            Type::Decimal { precision, scale, .. } => format!("decimal({precision},{scale})"),
            Type::VariableDecimal => "decimal of any scale".to_owned(),
            Type::Uuid | Type::UuidText => "uuid".to_owned(),
            Type::Date => "date".to_owned(),
            Type::Time { digits } => format!("time-{}", unit(*digits)),
            Type::Timestamp { digits, local: false } => format!("timestamp-{}", unit(*digits)),
            Type::Timestamp { digits, local: true } => format!("local-timestamp-{}", unit(*digits)),
            Type::Duration => "duration".to_owned(),
            Type::Json => "JSON".to_owned(),
            Type::TimestampText => "timestamp as text".to_owned(),
        }
    }

    /// Whether a value may take no byte at all, so that an array may have any number of them.
    pub(crate) fn may_be_empty(&self, id: TypeId) -> bool {
        // A type that holds itself and nothing else has no values.
        fn look(schema: &Schema, id: TypeId, depth: usize) -> bool {
            match schema.of(id) {
                Type::Null | Type::Fixed(0) | Type::Decimal { size: Some(0), .. } => true,
                Type::Record(fields) => depth > 64 || fields.iter().all(|field| look(schema, field.id, depth + 1)),
                _ => false,
            }
        }
        look(self, id, 0)
    }
}

/// What a type stands for that somebody gives this name: Avro's logical types, Kafka Connect's, Debezium's. What the
/// underlying type cannot be is passed over.
pub(crate) fn meaning(plain: Type, name: &str, precision: Option<usize>, scale: Option<usize>) -> Type {
    let local = |digits| Type::Timestamp { digits, local: true };
    let instant = |digits| Type::Timestamp { digits, local: false };
    let decimal = |precision: Option<usize>, size| {
        let (precision, scale) = (precision?, scale.unwrap_or(0));
        let is_one = precision > 0 && scale <= precision;
        is_one.then_some(Type::Decimal { precision, scale: u8::try_from(scale).ok()?, size })
    };
    match (&plain, name) {
        (Type::Bytes, "decimal") => decimal(precision, None).unwrap_or(plain),
        (Type::Fixed(size), "decimal") => decimal(precision, Some(*size)).unwrap_or(plain),
        // Connect's own says its scale alone, often.
        (Type::Bytes, "org.apache.kafka.connect.data.Decimal") => {
            decimal(precision.or(Some(MAX_DECIMAL_PRECISION.into())), None).unwrap_or(plain)
        }
        (Type::Fixed(16), "uuid") => Type::Uuid,
        (Type::Fixed(12), "duration") => Type::Duration,
        (Type::String, "uuid" | "io.debezium.data.Uuid") => Type::UuidText,
        (Type::String, "io.debezium.data.Json") => Type::Json,
        (Type::String, "io.debezium.time.ZonedTimestamp") => Type::TimestampText,
        (Type::Integer { short: true }, "date" | "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date") => {
            Type::Date
        }
        (
            Type::Integer { short: true },
            "time-millis" | "org.apache.kafka.connect.data.Time" | "io.debezium.time.Time",
        ) => Type::Time { digits: 3 },
        (Type::Integer { short: false }, "time-micros" | "io.debezium.time.MicroTime") => Type::Time { digits: 6 },
        (Type::Integer { short: false }, "io.debezium.time.NanoTime") => Type::Time { digits: 9 },
        (Type::Integer { short: false }, "timestamp-millis" | "org.apache.kafka.connect.data.Timestamp") => instant(3),
        (Type::Integer { short: false }, "timestamp-micros") => instant(6),
        (Type::Integer { short: false }, "timestamp-nanos") => instant(9),
        (Type::Integer { short: false }, "local-timestamp-millis" | "io.debezium.time.Timestamp") => local(3),
        (Type::Integer { short: false }, "local-timestamp-micros" | "io.debezium.time.MicroTimestamp") => local(6),
        (Type::Integer { short: false }, "local-timestamp-nanos" | "io.debezium.time.NanoTimestamp") => local(9),
        _ => plain,
    }
}
