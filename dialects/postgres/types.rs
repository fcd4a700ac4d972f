//! Postgres' column types and rowfall's; the one place that knows both.
//!
//! | declared | takes | notes |
//! |---|---|---|
//! | `smallint`, `integer`, `bigint` | int16, int32, int64 | |
//! | `numeric(p,s)` | decimal(p,s) | p beyond 76: decimal(76,s) |
//! | `numeric` | decimal(76,38) | stored without the zeros at the end |
//! | `real`, `double precision` | float32, float64 | NaN and infinities too |
//! | `boolean`, `uuid` | bool, uuid | |
//! | `text`, `varchar(n)`, `char(n)`, `citext` | string | n characters; `char(n)` takes no text that ends in a space, since it could not be told from the filling |
//! | an enum | string | the server knows the labels |
//! | a domain | what its base takes | the server checks its constraints |
//! | `date` | date, 4713 BC to 5874897 | |
//! | `time(d)` | time(d) | up to 24:00:00 |
//! | `timestamp(d)`, `timestamp(d) with time zone` | timestamp(d), 4713 BC to 294276 | without a zone: UTC; 6 without digits |
//! | `json` | json | kept as it was written |
//! | `jsonb` | json | equal as JSON: keys lose their order, and a key that stands twice keeps the last value; `\u0000` is refused |
//! | `inet` | string | an address, or a network `10.0.0.0/8` |
//! | `bytea` | bytes | |
//! | arrays of these | list | one dimension; not of domains and enums |
//!
//! Postgres rounds what has more digits than the column and cuts spaces that are too many, without a word: values are
//! checked here before they are sent.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::contract::{LogicalType, MAX_DECIMAL_PRECISION, Refusal, ValueType};
use crate::generic::days_from_civil;

/// The name of a type that the catalog explains: a domain and its base, an enum.
const DOMAIN: &str = ", a domain over ";
const ENUM: &str = ", an enum";

/// How values of a type are written in the binary form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Stored with the scale of the type, or with what the value needs.
    Numeric {
        fixed_scale: bool,
    },
    /// At most so many characters; `char(n)` fills up with spaces.
    Text {
        max: Option<u32>,
        padded: bool,
    },
    /// The name of one, quoted where it must be.
    Enum,
    Bytea,
    Uuid,
    Date,
    Time,
    Timestamp {
        zoned: bool,
    },
    Json,
    Jsonb,
    Inet,
    Array(Box<Declared>),
}

/// What a declared type takes and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) kind: Kind,
    /// What values it takes.
    pub(super) logical: LogicalType,
}

impl Declared {
    fn new(kind: Kind, logical: LogicalType) -> Self {
        Self { kind, logical }
    }

    /// Whether values that are equal to the server may be different ones as they come: `0.0` and `-0.0`, `::1` and
    /// `0::1`. Rows of such a key cannot be told apart here as the server does.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self.kind, Kind::Float4 | Kind::Float8 | Kind::Inet | Kind::Json | Kind::Jsonb | Kind::Array(_))
    }

    /// What the type is called in the protocol, without its length, its scale. Enums, which are another one in each
    /// database, travel as texts.
    pub(super) fn wire(&self) -> Wire {
        let wire = |name, oid, array| Wire { name, oid, array };
        match &self.kind {
            Kind::Bool => wire("boolean", 16, 1000),
            Kind::Int2 => wire("smallint", 21, 1005),
            Kind::Int4 => wire("integer", 23, 1007),
            Kind::Int8 => wire("bigint", 20, 1016),
            Kind::Float4 => wire("real", 700, 1021),
            Kind::Float8 => wire("double precision", 701, 1022),
            Kind::Numeric { .. } => wire("numeric", 1700, 1231),
            Kind::Text { padded: true, .. } => wire("bpchar", 1042, 1014),
            Kind::Text { max: Some(_), .. } => wire("varchar", 1043, 1015),
            Kind::Text { .. } | Kind::Enum => wire("text", 25, 1009),
            Kind::Bytea => wire("bytea", 17, 1001),
            Kind::Uuid => wire("uuid", 2950, 2951),
            Kind::Date => wire("date", 1082, 1182),
            Kind::Time => wire("time", 1083, 1183),
            Kind::Timestamp { zoned: true } => wire("timestamptz", 1184, 1185),
            Kind::Timestamp { zoned: false } => wire("timestamp", 1114, 1115),
            Kind::Json => wire("json", 114, 199),
            Kind::Jsonb => wire("jsonb", 3802, 3807),
            Kind::Inet => wire("inet", 869, 1041),
            // There are no arrays of arrays.
            Kind::Array(element) => element.wire(),
        }
    }
}

/// A type in the protocol.
pub(super) struct Wire {
    pub(super) name: &'static str,
    pub(super) oid: u32,
    /// Of its arrays.
    pub(super) array: u32,
}

/// The type that a new column gets.
///
/// # Errors
/// For types that Postgres has nothing for.
pub(super) fn column_type(logical: &LogicalType) -> Result<String, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("Postgres keeps no {logical}: {why}")));
    Ok(match logical {
        LogicalType::Bool => "boolean".into(),
        LogicalType::Int8 | LogicalType::Int16 | LogicalType::UInt8 => "smallint".into(),
        LogicalType::Int32 | LogicalType::UInt16 => "integer".into(),
        LogicalType::Int64 | LogicalType::UInt32 => "bigint".into(),
        LogicalType::UInt64 => "numeric(20,0)".into(),
        LogicalType::Int128 | LogicalType::UInt128 => "numeric(39,0)".into(),
        LogicalType::Int256 | LogicalType::UInt256 => {
            return refuse("78 digits are more than rowfall's 76; a string holds the digits");
        }
        LogicalType::Float32 => "real".into(),
        LogicalType::Float64 => "double precision".into(),
        LogicalType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        LogicalType::String | LogicalType::FixedString { .. } | LogicalType::Enum(_) => "text".into(),
        LogicalType::Bytes => "bytea".into(),
        LogicalType::Uuid => "uuid".into(),
        LogicalType::Date => "date".into(),
        LogicalType::Ipv4 | LogicalType::Ipv6 => "inet".into(),
        LogicalType::Json => "jsonb".into(),
        LogicalType::Time { digits: digits @ 0..=6 } => format!("time({digits})"),
        LogicalType::Timestamp { digits: digits @ 0..=6 } => format!("timestamp({digits}) with time zone"),
        LogicalType::Time { .. } | LogicalType::Timestamp { .. } => {
            return refuse("it counts microseconds; say a type with 6 digits, or a string, which holds the text");
        }
        LogicalType::List(element) => match column_type(&element.logical)? {
            nested if nested.ends_with(']') => return refuse("arrays of arrays; json holds the value"),
            element => format!("{element}[]"),
        },
        LogicalType::Map(_) | LogicalType::Struct(_) | LogicalType::Variant(_) => {
            return refuse("json holds the value");
        }
    })
}

/// Reads a type as `format_type` writes it, and most ways in which people do.
pub(super) fn parse(text: &str) -> Result<Declared, Refusal> {
    use LogicalType as T;
    let refuse = |why: &str| Err(refuse(text, why));
    if let Some((_, base)) = text.rsplit_once(DOMAIN) {
        return parse(base).map_err(|Refusal(why)| Refusal(format!("{why} (the base of `{text}`)")));
    }
    if text.ends_with(ENUM) {
        return Ok(Declared::new(Kind::Enum, T::String));
    }
    if let Some(element) = text.strip_suffix("[]") {
        return match parse(element)? {
            Declared { kind: Kind::Enum | Kind::Array(_), .. } => Err(refuse_array(text)),
            _ if element == "citext" || element.contains(DOMAIN) => Err(refuse_array(text)),
            element => {
                let value = ValueType { nullable: true, ..value(&element, true) };
                Ok(Declared::new(Kind::Array(Box::new(element)), T::List(Arc::new(value))))
            }
        };
    }
    let Some((name, arguments)) = split(text) else { return refuse("its arguments cannot be read") };
    let digits = match arguments.as_slice() {
        [] => Some(6),
        &[digits] => u8::try_from(digits).ok().filter(|digits| *digits <= 6),
        _ => None,
    };
    let text_of = |max: Option<i64>, padded| match max.map(u32::try_from) {
        Some(Err(_)) => refuse("a length is a number of characters"),
        max => Ok(Declared::new(Kind::Text { max: max.and_then(Result::ok), padded }, T::String)),
    };
    match (name.as_str(), arguments.as_slice()) {
        ("boolean" | "bool", []) => Ok(Declared::new(Kind::Bool, T::Bool)),
        ("smallint" | "int2", []) => Ok(Declared::new(Kind::Int2, T::Int16)),
        ("integer" | "int" | "int4", []) => Ok(Declared::new(Kind::Int4, T::Int32)),
        ("bigint" | "int8", []) => Ok(Declared::new(Kind::Int8, T::Int64)),
        ("real" | "float4", []) | ("float", [1..=24]) => Ok(Declared::new(Kind::Float4, T::Float32)),
        ("double precision" | "float8" | "float", []) | ("float", [25..=53]) => {
            Ok(Declared::new(Kind::Float8, T::Float64))
        }
        ("numeric" | "decimal" | "dec", []) => {
            let logical = T::Decimal { precision: MAX_DECIMAL_PRECISION, scale: MAX_DECIMAL_PRECISION / 2 };
            Ok(Declared::new(Kind::Numeric { fixed_scale: false }, logical))
        }
        ("numeric" | "decimal" | "dec", &[precision]) => numeric(precision, 0).map_or_else(refuse, Ok),
        ("numeric" | "decimal" | "dec", &[precision, scale]) => numeric(precision, scale).map_or_else(refuse, Ok),
        ("text" | "citext" | "varchar" | "character varying" | "char varying", []) => text_of(None, false),
        ("varchar" | "character varying" | "char varying", &[max]) => text_of(Some(max), false),
        ("character" | "char", []) => text_of(Some(1), true),
        ("character" | "char" | "bpchar", &[max]) => text_of(Some(max), true),
        ("uuid", []) => Ok(Declared::new(Kind::Uuid, T::Uuid)),
        ("date", []) => Ok(Declared::new(Kind::Date, T::Date)),
        ("time" | "time without time zone", _) => match digits {
            Some(digits) => Ok(Declared::new(Kind::Time, T::Time { digits })),
            None => refuse("0 to 6 digits can stand behind the second"),
        },
        ("timestamp" | "timestamp without time zone" | "timestamptz" | "timestamp with time zone", _) => match digits {
            Some(digits) => {
                let zoned = matches!(name.as_str(), "timestamptz" | "timestamp with time zone");
                Ok(Declared::new(Kind::Timestamp { zoned }, T::Timestamp { digits }))
            }
            None => refuse("0 to 6 digits can stand behind the second"),
        },
        ("json", []) => Ok(Declared::new(Kind::Json, T::Json)),
        ("jsonb", []) => Ok(Declared::new(Kind::Jsonb, T::Json)),
        ("inet", []) => Ok(Declared::new(Kind::Inet, T::String)),
        ("bytea", []) => Ok(Declared::new(Kind::Bytea, T::Bytes)),
        ("bit" | "bit varying" | "varbit", _) => refuse("rowfall writes no bits: declare it text"),
        ("bpchar", _) => refuse("spaces at the end would be lost: declare it text"),
        ("time with time zone" | "timetz", _) => refuse("a time with a zone has no day: declare it time"),
        ("interval", _) => refuse("months have no fixed length: declare it bigint and count a unit, or text"),
        ("money", _) => refuse("its digits depend on the server's locale: declare it numeric(p,s)"),
        ("xml", _) => refuse("declare it text"),
        ("cidr" | "macaddr" | "macaddr8", _) => refuse("declare it inet or text"),
        ("name" | "\"char\"" | "oid", _) => refuse("a type for Postgres' own catalogs: declare it text or bigint"),
        (name, _) if name.ends_with("range") => refuse("declare a column for each end"),
        _ => refuse("not a type that rowfall knows: declare it text, or as the base of its values"),
    }
}

/// A type that cannot be written, and why.
pub(super) fn refuse(text: &str, why: &str) -> Refusal {
    Refusal(format!("Postgres type `{text}`: {why}"))
}

/// The elements' object ids, which stand in an array's binary form, are other ones in each database.
pub(super) fn refuse_array(text: &str) -> Refusal {
    refuse(text, "arrays of domains, enums and types of extensions are not written: declare it text[]")
}

/// A type in words that [`parse`] reads, from the catalog's.
pub(super) fn described(declared: &str, base: &str, kind: &str) -> String {
    let suffix = if kind == "e" { ENUM } else { "" };
    if declared == base { format!("{declared}{suffix}") } else { format!("{declared}{DOMAIN}{base}{suffix}") }
}

/// Whether the catalog still says of a column what was described.
pub(super) fn is_still(text: &str, declared: &str) -> bool {
    text.strip_prefix(declared).is_some_and(|rest| rest.is_empty() || rest.starts_with(DOMAIN) || rest == ENUM)
}

/// What a text has to be cast to that is meant for a column of this type: an enum, which texts do not become by
/// themselves.
pub(super) fn cast<'t>(text: &'t str, declared: &Declared) -> Option<&'t str> {
    let name = text.split_once(DOMAIN).map_or_else(|| text.strip_suffix(ENUM), |(domain, _)| Some(domain));
    name.filter(|_| declared.kind == Kind::Enum)
}

/// What a column of this type takes.
pub(super) fn value(declared: &Declared, nullable: bool) -> ValueType {
    let range = range(&declared.logical);
    let length = match declared.kind {
        Kind::Text { max, .. } => max,
        _ => None,
    };
    ValueType { logical: declared.logical.clone(), nullable, range, length, binary: false, zone: None }
}

/// What a date, time or timestamp can hold, in days or ticks.
pub(super) fn range(logical: &LogicalType) -> Option<RangeInclusive<i64>> {
    // 4713-11-24 BC: day 0 of the Julian calendar, in which Postgres counts.
    const FIRST: i64 = days_from_civil(-4713, 11, 24);
    match *logical {
        LogicalType::Date => Some(FIRST..=days_from_civil(5_874_898, 1, 1) - 1),
        LogicalType::Time { digits } => Some(0..=86_400 * 10_i64.pow(digits.into())),
        LogicalType::Timestamp { digits } => {
            let per_day = 86_400 * 10_i64.pow(digits.into());
            let end = days_from_civil(294_277, 1, 1).checked_mul(per_day);
            Some(FIRST * per_day..=end.map_or(i64::MAX, |end| end - 1))
        }
        _ => None,
    }
}

/// Whether a column can become another type that holds each of its values as it is: `Some`, and whether the server
/// writes the table anew for it. A column of a domain stays: its constraints would be gone.
pub(super) fn widening(text: &str, from: &Declared, to: &Declared) -> Option<bool> {
    use LogicalType as T;
    let decimal = |logical: &LogicalType| match *logical {
        T::Int16 => Some((5, 0)),
        T::Int32 => Some((10, 0)),
        T::Int64 => Some((19, 0)),
        T::Decimal { precision, scale } => Some((precision - scale, scale)),
        _ => None,
    };
    if text.contains(DOMAIN) {
        return None;
    }
    let holds = match (&from.kind, &to.kind) {
        (Kind::Int2, Kind::Int4 | Kind::Int8) | (Kind::Int4, Kind::Int8) | (Kind::Float4, Kind::Float8) => true,
        (Kind::Numeric { fixed_scale: false }, _) => false,
        (Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Numeric { .. }, Kind::Numeric { .. }) => {
            let ((whole, behind), (wide, deep)) = (decimal(&from.logical)?, decimal(&to.logical)?);
            whole <= wide && behind <= deep
        }
        (Kind::Text { max, padded }, Kind::Text { max: more, padded: fills }) => {
            (*padded || !fills) && more.is_none_or(|more| max.is_some_and(|max| max <= more))
        }
        (Kind::Time, Kind::Time) => digits(&from.logical) <= digits(&to.logical),
        (Kind::Timestamp { zoned }, Kind::Timestamp { zoned: other }) => {
            zoned == other && digits(&from.logical) <= digits(&to.logical)
        }
        _ => false,
    };
    // Of the same kind the bytes of a value are the same, unless it is filled up or rounded.
    let stays = match (&from.kind, &to.kind) {
        (Kind::Text { padded: false, .. }, _) | (Kind::Time | Kind::Timestamp { .. }, _) => true,
        (Kind::Numeric { .. }, Kind::Numeric { .. }) => digits(&from.logical) == digits(&to.logical),
        _ => false,
    };
    holds.then_some(!stays)
}

/// Digits behind the point.
fn digits(logical: &LogicalType) -> Option<u8> {
    match *logical {
        LogicalType::Decimal { scale: digits, .. }
        | LogicalType::Time { digits }
        | LogicalType::Timestamp { digits } => Some(digits),
        _ => None,
    }
}

fn numeric(precision: i64, scale: i64) -> Result<Declared, &'static str> {
    if scale < 0 {
        return Err("digits before the point would be rounded away: declare a scale of 0 or more");
    }
    if scale > precision || !(1..=1000).contains(&precision) {
        return Err("the scale has to be between 0 and the precision, and that at most 1000");
    }
    let most = i64::from(MAX_DECIMAL_PRECISION);
    match (u8::try_from(precision.min(most)), u8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if scale <= precision => {
            Ok(Declared::new(Kind::Numeric { fixed_scale: true }, LogicalType::Decimal { precision, scale }))
        }
        _ => Err("rowfall's decimals have at most 76 digits behind the point"),
    }
}

/// `Character  Varying (20)` → (`character varying`, [20]); `timestamp(3) with time zone` → (…, [3]).
fn split(text: &str) -> Option<(String, Vec<i64>)> {
    let (before, arguments, after) = match text.split_once('(') {
        None => (text, None, ""),
        Some((before, rest)) => {
            let (arguments, after) = rest.split_once(')')?;
            (before, Some(arguments), after)
        }
    };
    let words: Vec<_> =
        before.split_whitespace().chain(after.split_whitespace()).map(str::to_ascii_lowercase).collect();
    let arguments = arguments
        .map_or(Some(Vec::new()), |list| list.split(',').map(|number| number.trim().parse().ok()).collect())?;
    Some((words.join(" "), arguments))
}
