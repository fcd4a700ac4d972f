//! ClickHouse's column types: the one place that knows what each takes and how it is sent.
//!
//! Sources: <https://clickhouse.com/docs/sql-reference/data-types> for ranges and notation,
//! <https://clickhouse.com/docs/interfaces/formats/Native> for the wire.
//!
//! | type | takes |
//! |---|---|
//! | `Int8` … `Int256`, `UInt8` … `UInt256`, `Float32`, `Float64`, `Bool`, `Decimal`, `String`, `UUID`, `IPv4`, `IPv6` | the same; a `String` takes bytes, too |
//! | `FixedString(n)` | fixed(n), filled up with zero bytes |
//! | `Enum8`, `Enum16` | enum |
//! | `Date`, `Date32`, `DateTime`, `DateTime64(p)`, `Time`, `Time64(p)` | date, timestamp(p), time(p), within the type's range |
//! | `Array(T)` | list; one in `Nested(…)`, where that is a single column, of structs |
//! | `Map(K, V)`, `Tuple(…)` | map, struct |
//! | `Point`, `Ring`, `LineString`, `MultiPoint`, `Polygon`, `MultiLineString`, `MultiPolygon` | struct of two float64, in lists |
//! | `JSON`, `JSON(…)` | json, objects only; the server takes it apart. It keeps a number as an integer of 64 bits or a double: what is neither is refused, where the type does not say what the path holds |
//! | `Variant(…)` | variant, and null |
//! | `Dynamic` | variant of bool, int64, uint64, float64 and string, and null |
//! | `Nullable(T)` | T and null |
//! | `LowCardinality(T)`, `SimpleAggregateFunction(f, T)` | T, and it is sent as T: the dictionary is the server's business |

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::grammar::quote;
use super::type_text::{Call, call, element, quoted, string};
use crate::contract::{EnumValue, LogicalType, MAX_DECIMAL_PRECISION, Refusal, StructField, ValueType};

/// What a type text says, of a column or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// What values it takes.
    pub(super) value: ValueType,
    /// How they lie in a Native block.
    pub(super) wire: Wire,
    /// The type under which they are sent: its own without LowCardinality and without its own nullability.
    pub(super) wire_name: String,
}

/// How values lie in a Native block, seen from rowfall's own columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// Side by side.
    Scalar(Scalar),
    /// The ends of the rows, then all rows' elements. A map is a list of tuples.
    List(Box<ColumnType>),
    /// One part after the other.
    Tuple(Vec<ColumnType>),
    /// The types' numbers, row by row, then the values of one type after the other.
    Variant(Variants),
}

/// The types of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variants {
    /// In the order of [`LogicalType::Variant`], in which a value is tried.
    pub(super) types: Vec<ColumnType>,
    /// Their indices in the order in which they are sent; ClickHouse's for a Variant, that of the names' bytes.
    pub(super) order: Vec<usize>,
    /// A Dynamic, which is told its types with every block.
    pub(super) dynamic: bool,
}

/// How a single value lies in a Native block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// As in the column, little-endian.
    Same,
    /// Days as u16 instead of i32.
    Date,
    /// As in the column; but where a row has no value, ClickHouse's default is not zero, it is [`DATE32_DEFAULT`].
    Date32,
    /// Seconds as u32 instead of i64.
    DateTime,
    /// Seconds as i32 instead of i64.
    Time,
    /// A number of one byte instead of an i16; this one where a row has no value.
    Enum8(i8),
    /// As in the column; this number where a row has no value.
    Enum16(i16),
    /// Two little-endian u64, the high half first.
    Uuid,
    /// The length as a varint, then the bytes.
    String,
    /// As many bytes, filled up with zeros.
    FixedString(usize),
    /// A text of an object.
    Json,
}

/// 1900-01-01 and 2299-12-31, what Date32 and DateTime64 can hold, in days since 1970-01-01.
const WIDE_DAYS: RangeInclusive<i64> = -25_567..=120_529;

/// What a Date32 holds when an insert leaves it out: 1900-01-01.
pub(super) const DATE32_DEFAULT: i32 = -25_567;

const SECONDS_PER_DAY: i64 = 86_400;

/// The first second that a Time cannot hold: 1000 hours.
const TIME_END: i64 = 3_600_000;

/// Types within types beyond which a text is taken for a mistake.
const MAX_DEPTH: usize = 64;

/// What a Dynamic is given: what a JSON value that is no list and no object can be.
const DYNAMIC: &[&str] = &["Bool", "Int64", "UInt64", "Float64", "String"];

/// A variant's number for a row is a byte, and 255 is null.
const MAX_VARIANTS: usize = 254;

/// Types that rowfall does not write, and why not.
const REFUSED: &[(&str, &str)] = &[
    (
        "AggregateFunction",
        "only ClickHouse makes its states: write the plain values, and let a materialized view aggregate",
    ),
    ("Geometry", "nothing says which of its shapes a list of points is: declare the shape, such as Polygon"),
    ("Object", "ClickHouse has given it up: declare it JSON"),
    ("QBit", "it is made from an Array by ClickHouse: fill it from one with MATERIALIZED"),
    ("BFloat16", "most values would be rounded: declare it Float32"),
    ("Nothing", "it has no values"),
    ("Interval", "rowfall has no such type: declare the number, such as Int64"),
];

/// Reads a column type.
///
/// # Errors
/// For types that rowfall cannot write, with the reason.
pub(super) fn parse(text: &str) -> Result<ColumnType, Refusal> {
    let text = text.trim();
    parse_at(text, 0).map_err(|why| {
        let own = why.strip_prefix(text).and_then(|why| why.strip_prefix(": "));
        Refusal(format!("rowfall cannot write columns of type {text}: {}", own.unwrap_or(&why)))
    })
}

fn parse_at(text: &str, depth: usize) -> Result<ColumnType, String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} types within types"));
    }
    let Call { name, arguments } = call(text).ok_or_else(|| format!("`{text}` is not a type"))?;
    let inner = |text: &str| parse_at(text, depth + 1);
    match (name, arguments.as_slice()) {
        ("LowCardinality", [of]) | ("SimpleAggregateFunction", [_, of]) => inner(of),
        ("Nullable", [of]) => match inner(of)? {
            ColumnType { value, .. }
                if value.nullable || matches!(value.logical, LogicalType::List(_) | LogicalType::Map(_)) =>
            {
                Err(format!("{of} cannot be nullable"))
            }
            mut column => {
                column.value.nullable = true;
                Ok(column)
            }
        },
        ("Array", [of]) => Ok(list(inner(of)?)),
        ("Map", [key, value]) => {
            let (key, value) = (inner(key)?, inner(value)?);
            let wire_name = format!("Map({}, {})", key.full_name(), value.full_name());
            let logical = LogicalType::Map(Arc::new((key.value.clone(), value.value.clone())));
            let pair = tuple_of("Tuple", vec![(None, key), (None, value)]);
            Ok(ColumnType { value: logical.into(), wire_name, ..list(pair) })
        }
        ("Tuple", [_, ..]) => tuple(name, &arguments, depth),
        ("Nested", [_, ..]) => {
            let elements = tuple("Nested", &arguments, depth)?;
            let wire_name = elements.wire_name.clone();
            Ok(ColumnType { wire_name, ..list(elements) })
        }
        ("Variant", [_, ..]) => variant(&arguments, depth),
        ("Dynamic", [] | [_]) => {
            let types = DYNAMIC.iter().map(|text| inner(text)).collect::<Result<Vec<_>, _>>()?;
            let order = (0..types.len()).collect();
            Ok(variant_of(Variants { types, order, dynamic: true }, text.trim().to_owned()))
        }
        ("Point", []) => Ok(ColumnType { wire_name: name.into(), ..inner("Tuple(Float64, Float64)")? }),
        ("Ring" | "LineString" | "MultiPoint", []) => {
            Ok(ColumnType { wire_name: name.into(), ..list(inner("Point")?) })
        }
        ("Polygon" | "MultiLineString", []) => Ok(ColumnType { wire_name: name.into(), ..list(inner("Ring")?) }),
        ("MultiPolygon", []) => Ok(ColumnType { wire_name: name.into(), ..list(inner("Polygon")?) }),
        _ => {
            let (value, wire) = scalar_type(name, &arguments).ok_or_else(|| why_not(text, name))?;
            Ok(ColumnType { value, wire: Wire::Scalar(wire), wire_name: text.trim().to_owned() })
        }
    }
}

impl ColumnType {
    /// The type under which values are sent, with its nullability.
    pub(super) fn full_name(&self) -> String {
        if self.has_null_map() { format!("Nullable({})", self.wire_name) } else { self.wire_name.clone() }
    }

    /// Whether nulls are told by a byte per row; a variant has a type's number for them.
    pub(super) fn has_null_map(&self) -> bool {
        self.value.nullable && !matches!(self.wire, Wire::Variant(_))
    }
}

fn list(element: ColumnType) -> ColumnType {
    let wire_name = format!("Array({})", element.full_name());
    let logical = LogicalType::List(Arc::new(element.value.clone()));
    ColumnType { value: logical.into(), wire: Wire::List(Box::new(element)), wire_name }
}

fn tuple(name: &str, elements: &[&str], depth: usize) -> Result<ColumnType, String> {
    let part = |text: &&str| {
        let (name, type_text) = element(text).ok_or_else(|| format!("`{text}` is not an element"))?;
        Ok((name, parse_at(type_text, depth + 1)?))
    };
    Ok(tuple_of(name, elements.iter().map(part).collect::<Result<_, String>>()?))
}

fn tuple_of(name: &str, elements: Vec<(Option<String>, ColumnType)>) -> ColumnType {
    let text = |(name, part): &(Option<String>, ColumnType)| match name {
        Some(name) => format!("{} {}", quote(name), part.full_name()),
        None => part.full_name(),
    };
    let wire_name = format!("{name}({})", elements.iter().map(text).collect::<Vec<_>>().join(", "));
    let field =
        |(name, part): &(Option<String>, ColumnType)| StructField { name: name.clone(), value: part.value.clone() };
    let logical = LogicalType::Struct(elements.iter().map(field).collect());
    let parts = elements.into_iter().map(|(_, part)| part).collect();
    ColumnType { value: logical.into(), wire: Wire::Tuple(parts), wire_name }
}

fn variant(texts: &[&str], depth: usize) -> Result<ColumnType, String> {
    let mut types: Vec<(&str, ColumnType)> = Vec::new();
    for text in texts {
        // The order depends on the names, so that these must stay as they are.
        if text.contains("LowCardinality(") || text.contains("SimpleAggregateFunction(") {
            return Err(format!("{text} inside Variant"));
        }
        let column = parse_at(text, depth + 1)?;
        if column.value.nullable {
            return Err(format!("{text} inside Variant: a Variant is null by itself"));
        }
        types.push((text, column));
    }
    if types.len() > MAX_VARIANTS {
        return Err(format!("more than {MAX_VARIANTS} types"));
    }
    types.sort_by_key(|(_, column)| rank(&column.value.logical));
    let mut order: Vec<_> = (0..types.len()).collect();
    order.sort_by_key(|index| types[*index].0);
    let names: Vec<_> = order.iter().map(|index| types[*index].0).collect();
    let wire_name = format!("Variant({})", names.join(", "));
    let types = types.into_iter().map(|(_, column)| column).collect();
    Ok(variant_of(Variants { types, order, dynamic: false }, wire_name))
}

fn variant_of(variants: Variants, wire_name: String) -> ColumnType {
    let logical = LogicalType::Variant(variants.types.iter().map(|column| column.value.clone()).collect());
    let value = ValueType { nullable: true, ..logical.into() };
    ColumnType { value, wire: Wire::Variant(variants), wire_name }
}

/// The order in which a value is tried with a variant's types: the narrow before the wide, strings last, as ClickHouse
/// does where it reads JSON itself.
fn rank(logical: &LogicalType) -> u16 {
    match logical {
        LogicalType::Bool => 0,
        LogicalType::Int8 => 1,
        LogicalType::UInt8 => 2,
        LogicalType::Int16 => 3,
        LogicalType::UInt16 => 4,
        LogicalType::Int32 => 5,
        LogicalType::UInt32 => 6,
        LogicalType::Int64 => 7,
        LogicalType::UInt64 => 8,
        LogicalType::Int128 => 9,
        LogicalType::UInt128 => 10,
        LogicalType::Int256 => 11,
        LogicalType::UInt256 => 12,
        LogicalType::Decimal { precision, .. } => 20 + u16::from(*precision),
        LogicalType::Float32 => 200,
        LogicalType::Float64 => 201,
        LogicalType::Date => 210,
        LogicalType::Timestamp { digits } => 211 + u16::from(*digits),
        LogicalType::Time { digits } => 222 + u16::from(*digits),
        LogicalType::Uuid => 240,
        LogicalType::Ipv4 => 241,
        LogicalType::Ipv6 => 242,
        LogicalType::Enum(_) => 250,
        LogicalType::List(_) => 260,
        LogicalType::Struct(_) => 261,
        LogicalType::Map(_) => 262,
        LogicalType::Variant(_) => 263,
        LogicalType::Json => 264,
        LogicalType::FixedString { .. } => 270,
        LogicalType::String => 271,
        LogicalType::Bytes => 272,
    }
}

fn why_not(text: &str, name: &str) -> String {
    let name = if name.starts_with("Interval") { "Interval" } else { name };
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, why)) => format!("{text}: {why}"),
        None => format!("{text} is not a type that rowfall knows"),
    }
}

/// What a type without others inside takes, and how it is sent.
fn scalar_type(name: &str, arguments: &[&str]) -> Option<(ValueType, Scalar)> {
    let (mut range, mut zone, mut scalar) = (None, None, Scalar::Same);
    let logical = match (name, arguments) {
        ("Int8", []) => LogicalType::Int8,
        ("Int16", []) => LogicalType::Int16,
        ("Int32", []) => LogicalType::Int32,
        ("Int64", []) => LogicalType::Int64,
        ("Int128", []) => LogicalType::Int128,
        ("Int256", []) => LogicalType::Int256,
        ("UInt8", []) => LogicalType::UInt8,
        ("UInt16", []) => LogicalType::UInt16,
        ("UInt32", []) => LogicalType::UInt32,
        ("UInt64", []) => LogicalType::UInt64,
        ("UInt128", []) => LogicalType::UInt128,
        ("UInt256", []) => LogicalType::UInt256,
        ("Float32", []) => LogicalType::Float32,
        ("Float64", []) => LogicalType::Float64,
        ("Bool", []) => LogicalType::Bool,
        ("Decimal", [precision, scale]) => decimal(precision, scale)?,
        ("Decimal32", [scale]) => decimal("9", scale)?,
        ("Decimal64", [scale]) => decimal("18", scale)?,
        ("Decimal128", [scale]) => decimal("38", scale)?,
        ("Decimal256", [scale]) => decimal("76", scale)?,
        ("IPv4", []) => LogicalType::Ipv4,
        ("IPv6", []) => LogicalType::Ipv6,
        ("String", []) => {
            scalar = Scalar::String;
            LogicalType::String
        }
        ("FixedString", [bytes]) => {
            let bytes: u32 = bytes.parse().ok().filter(|bytes| *bytes > 0)?;
            scalar = Scalar::FixedString(usize::try_from(bytes).ok()?);
            LogicalType::FixedString { bytes }
        }
        ("Enum8", [_, ..]) => {
            let values = enum_values(arguments)?;
            scalar = Scalar::Enum8(i8::try_from(smallest(&values)).ok()?);
            values.iter().all(|value| i8::try_from(value.number).is_ok()).then_some(LogicalType::Enum(values))?
        }
        ("Enum16", [_, ..]) => {
            let values = enum_values(arguments)?;
            scalar = Scalar::Enum16(smallest(&values));
            LogicalType::Enum(values)
        }
        ("JSON", _) => {
            scalar = Scalar::Json;
            LogicalType::Json
        }
        ("UUID", []) => {
            scalar = Scalar::Uuid;
            LogicalType::Uuid
        }
        ("Date", []) => {
            range = Some(0..=u16::MAX.into());
            scalar = Scalar::Date;
            LogicalType::Date
        }
        ("Date32", []) => {
            range = Some(WIDE_DAYS);
            scalar = Scalar::Date32;
            LogicalType::Date
        }
        ("DateTime", [] | [_]) => {
            zone = arguments.first().map(|quoted| zone_name(quoted).ok_or(())).transpose().ok()?;
            range = Some(0..=u32::MAX.into());
            scalar = Scalar::DateTime;
            LogicalType::Timestamp { digits: 0 }
        }
        ("DateTime64", [digits] | [digits, _]) => {
            zone = arguments.get(1).map(|quoted| zone_name(quoted).ok_or(())).transpose().ok()?;
            let digits = digits_behind(digits)?;
            range = Some(wide_ticks(digits));
            LogicalType::Timestamp { digits }
        }
        ("Time", []) => {
            range = Some(1 - TIME_END..=TIME_END - 1);
            scalar = Scalar::Time;
            LogicalType::Time { digits: 0 }
        }
        ("Time64", [digits]) => {
            let digits = digits_behind(digits)?;
            let end = TIME_END * 10_i64.pow(digits.into());
            range = Some(1 - end..=end - 1);
            LogicalType::Time { digits }
        }
        _ => return None,
    };
    let binary = matches!(logical, LogicalType::String | LogicalType::FixedString { .. });
    Some((ValueType { logical, nullable: false, range, length: None, binary, zone }, scalar))
}

/// What a DateTime64 of so many digits can hold, in its own ticks. Nine digits reach the ends of i64 first, in 2262.
fn wide_ticks(digits: u8) -> RangeInclusive<i64> {
    let ticks_per_second = 10_i64.pow(digits.into());
    let ticks = |seconds: i64| seconds.saturating_mul(ticks_per_second);
    let start = ticks(WIDE_DAYS.start() * SECONDS_PER_DAY);
    let end = ticks((WIDE_DAYS.end() + 1) * SECONDS_PER_DAY);
    start..=if end == i64::MAX { end } else { end - 1 }
}

fn decimal(precision: &str, scale: &str) -> Option<LogicalType> {
    let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
    let valid = (1..=MAX_DECIMAL_PRECISION).contains(&precision) && scale <= precision;
    valid.then_some(LogicalType::Decimal { precision, scale })
}

fn digits_behind(text: &str) -> Option<u8> {
    text.parse().ok().filter(|digits| *digits <= 9)
}

fn zone_name(quoted: &str) -> Option<String> {
    string(quoted).filter(|zone| !zone.is_empty())
}

/// `'a' = 1, 'b' = -2`; where numbers are left out, ClickHouse counts on from the last one, from 1 at first.
fn enum_values(arguments: &[&str]) -> Option<Arc<[EnumValue]>> {
    let mut next = 1_i16;
    let value = |text: &&str| {
        let (name, rest) = text.starts_with('\'').then(|| quoted(text))??;
        let number = match rest.trim() {
            "" => next,
            rest => rest.strip_prefix('=')?.trim().parse().ok()?,
        };
        next = number.saturating_add(1);
        Some(EnumValue { name, number })
    };
    arguments.iter().map(value).collect()
}

/// What an enum holds when an insert leaves it out.
fn smallest(values: &[EnumValue]) -> i16 {
    values.iter().map(|value| value.number).min().unwrap_or(0)
}

#[cfg(test)]
mod tests;
