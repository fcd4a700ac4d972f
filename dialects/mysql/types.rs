//! MySQL's and MariaDB's column types and rowfall's; the one place that knows both.
//!
//! | declared | takes |
//! |---|---|
//! | `tinyint(1)`, `bool`, `bit(1)` | bool |
//! | `tinyint` … `bigint`, `unsigned` or not | int8 … int64, uint8 … uint64; `mediumint` as the 32-bit ones, the server refuses the rest |
//! | `bit(n)`, n > 1 | uint64, the server refuses what has more bits |
//! | `year` | uint16, 1901 to 2155 |
//! | `decimal(p,s)`, `numeric(p,s)`: p ≤ 65, s ≤ 30 | decimal(p,s) |
//! | `float`, `double`, `real` | float32, float64 but NaN and the infinities; with digits, `float(7,4)`, they would round |
//! | `varchar(n)`, `text` … | string; see below |
//! | `char(n)` | string that does not end with a space: the server takes those away |
//! | `enum('a','b')` | one of the names |
//! | `json` | any JSON value. MariaDB keeps the text as it is. MySQL sorts keys, drops doubled ones and keeps numbers as 64-bit integers or doubles: a number that is neither is refused, and what lies more than 100 deep |
//! | `date` | date, years 1000 to 9999 |
//! | `datetime(d)` | timestamp(d) in UTC, years 1000 to 9999 |
//! | `timestamp(d)` | timestamp(d), 1970-01-01 00:00:01 to 2038-01-19 03:14:07 |
//! | `time(d)` | time(d) up to ±838:59:59 |
//! | `varbinary(n)`, `blob` … | bytes |
//! | `uuid`, `inet4`, `inet6` (MariaDB) | uuid, ipv4, ipv6 |
//!
//! - **Texts.** New columns are `longtext`, which holds what any record holds, and `varchar(n)` where they are of a key,
//!   since only that can be indexed whole. New tables compare texts byte by byte, trailing spaces too
//!   (`utf8mb4_0900_bin`, `utf8mb4_nopad_bin`): two keys of a topic that differ in case are two rows. A text that is too
//!   long is refused by the server, but for spaces at its end, which it would cut off: those are refused here, as is a
//!   character that the column's set lacks, since not every server names the column. Sets of which it is not known that
//!   they give back what was written are refused as a whole.
//! - **A uuid** becomes `char(36)` in MySQL: a `binary(16)` is smaller, but nothing says that it is one.
//! - **`set`, geometry** and all that is not listed are refused by name.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::contract::{EnumValue, LogicalType, Refusal, ValueType};
use crate::generic::days_from_civil;
use crate::mysql::grammar::Flavor;
use crate::mysql::type_text::TypeText;

/// A character set whose characters come back as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// Every character.
    Unicode,
    /// Those of at most three bytes in UTF-8.
    ThreeBytes,
    /// Windows-1252, by which the servers mean it.
    Latin1,
    Ascii,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        match name {
            "utf8mb4" | "utf16" | "utf16le" | "utf32" => Some(Self::Unicode),
            "utf8mb3" | "utf8" | "ucs2" => Some(Self::ThreeBytes),
            "latin1" => Some(Self::Latin1),
            "ascii" => Some(Self::Ascii),
            _ => None,
        }
    }

    /// Whether all characters of a text are in it.
    pub(super) fn has(self, text: &str) -> bool {
        let has = |c: char| match self {
            Self::Unicode => true,
            Self::ThreeBytes => c <= '\u{ffff}',
            // The five codes that Windows leaves open stand for control characters.
            Self::Latin1 => {
                matches!(c, '\0'..='\x7f' | '\u{a0}'..='\u{ff}' | '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}')
                    || "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ".contains(c)
            }
            Self::Ascii => c.is_ascii(),
        };
        self == Self::Unicode || text.is_ascii() || text.chars().all(has)
    }
}

/// The most digits that a decimal has, and how many of them behind the point.
const DECIMAL: (u8, u8) = (65, 30);

/// What a declared type takes, and what the server would do to some values without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// What values it takes.
    pub(super) logical: LogicalType,
    /// Strings only.
    pub(super) room: Room,
    /// Strings only.
    pub(super) charset: Charset,
    /// The collation, where one is known.
    pub(super) collation: Option<String>,
    /// Whether it is a `year`, which takes small numbers for short forms, or a `timestamp`.
    pub(super) special: Option<Special>,
}

/// How much of a text fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// So many characters; `true`: what ends with a space loses it.
    Characters(u64, bool),
    /// So many bytes.
    Bytes(u64),
}

/// A type whose values have rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    Year,
    Timestamp,
}

impl From<LogicalType> for Declared {
    fn from(logical: LogicalType) -> Self {
        Self { logical, room: Room::Bytes(u32::MAX.into()), charset: Charset::Unicode, collation: None, special: None }
    }
}

impl Declared {
    /// Whether two texts that differ in their bytes are always two: needed of a key.
    pub(super) fn tells_texts_apart(&self) -> bool {
        self.collation.as_ref().is_none_or(|name| name.ends_with("_bin") || name == "binary")
    }

    /// Whether a text is the same as one with spaces behind it.
    pub(super) fn ignores_trailing_spaces(&self) -> bool {
        let nopad = |name: &String| name.contains("_nopad_") || name.contains("_0900_") || name == "binary";
        self.logical == LogicalType::String && !self.collation.as_ref().is_some_and(nopad)
    }
}

/// The type that a new column gets.
///
/// # Errors
/// For types that the server has nothing for.
pub(super) fn column_type(flavor: Flavor, logical: &LogicalType) -> Result<String, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("{} keeps no {logical}: {why}", flavor.name())));
    let text = "a string holds the text";
    Ok(match *logical {
        LogicalType::Bool => "tinyint(1)".into(),
        // Not the one of width 1, which is a bool.
        LogicalType::Int8 => "tinyint".into(),
        LogicalType::Int16 => "smallint".into(),
        LogicalType::Int32 => "int".into(),
        LogicalType::Int64 => "bigint".into(),
        LogicalType::UInt8 => "tinyint unsigned".into(),
        LogicalType::UInt16 => "smallint unsigned".into(),
        LogicalType::UInt32 => "int unsigned".into(),
        LogicalType::UInt64 => "bigint unsigned".into(),
        LogicalType::Int128 | LogicalType::UInt128 => "decimal(39,0)".into(),
        LogicalType::Float32 => "float".into(),
        LogicalType::Float64 => "double".into(),
        LogicalType::Decimal { precision, scale } if precision <= DECIMAL.0 && scale <= DECIMAL.1 => {
            format!("decimal({precision},{scale})")
        }
        LogicalType::Decimal { .. } => {
            return refuse("a decimal has at most 65 digits there, 30 of them behind the point");
        }
        LogicalType::String => "longtext".into(),
        LogicalType::Bytes => "longblob".into(),
        LogicalType::Json => "json".into(),
        LogicalType::Uuid if flavor == Flavor::MariaDb => "uuid".into(),
        LogicalType::Uuid => "char(36)".into(),
        LogicalType::Ipv4 if flavor == Flavor::MariaDb => "inet4".into(),
        LogicalType::Ipv6 if flavor == Flavor::MariaDb => "inet6".into(),
        LogicalType::Date => "date".into(),
        LogicalType::Time { digits } if digits <= 6 => format!("time({digits})"),
        LogicalType::Timestamp { digits } if digits <= 6 => format!("datetime({digits})"),
        LogicalType::Time { .. } | LogicalType::Timestamp { .. } => {
            return refuse("it has six digits behind the second; a string or an integer holds more");
        }
        LogicalType::Int256 | LogicalType::UInt256 => return refuse("its numbers have at most 65 digits"),
        LogicalType::FixedString { .. } | LogicalType::Enum(_) | LogicalType::Ipv4 | LogicalType::Ipv6 => {
            return refuse(text);
        }
        LogicalType::List(_) | LogicalType::Map(_) | LogicalType::Struct(_) | LogicalType::Variant(_) => {
            return refuse("it has no nested types; json holds the value");
        }
    })
}

/// Reads a declared type.
///
/// # Errors
/// When rowfall cannot write it, with the reason.
pub(super) fn parse(text: &str) -> Result<Declared, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("type `{text}`: {why}")));
    let Some(parsed) = TypeText::parse(text) else { return refuse("it cannot be read as a type") };
    let numbers = parsed.numbers.as_slice();
    let of = |logical: LogicalType| Ok(Declared::from(logical));
    let integer = |signed: LogicalType, unsigned| of(if parsed.unsigned { unsigned } else { signed });
    let digits = |most: u64| match numbers {
        [] => Some(0),
        &[digits] if digits <= most => u8::try_from(digits).ok(),
        _ => None,
    };
    let limited = |default: u64| numbers.first().copied().unwrap_or(default);
    let string = |room| string(&parsed, room).map_or_else(&refuse, Ok);
    let bytes = |most| Ok(Declared { room: Room::Bytes(most), ..LogicalType::Bytes.into() });
    match parsed.name.as_str() {
        "bool" | "boolean" => of(LogicalType::Bool),
        "tinyint" if numbers == [1] && !parsed.unsigned => of(LogicalType::Bool),
        "bit" if limited(1) == 1 => of(LogicalType::Bool),
        "bit" => of(LogicalType::UInt64),
        "tinyint" | "int1" => integer(LogicalType::Int8, LogicalType::UInt8),
        "smallint" | "int2" => integer(LogicalType::Int16, LogicalType::UInt16),
        "mediumint" | "int3" | "int" | "integer" | "int4" => integer(LogicalType::Int32, LogicalType::UInt32),
        "bigint" | "int8" => integer(LogicalType::Int64, LogicalType::UInt64),
        "year" => Ok(Declared { special: Some(Special::Year), ..LogicalType::UInt16.into() }),
        "decimal" | "numeric" | "dec" | "fixed" => match *numbers {
            [] => decimal(10, 0).map_or_else(&refuse, of),
            [precision] => decimal(precision, 0).map_or_else(&refuse, of),
            [precision, scale] => decimal(precision, scale).map_or_else(&refuse, of),
            _ => refuse("its arguments cannot be read"),
        },
        "float" | "float4" | "double" | "double precision" | "real" | "float8" if numbers.len() > 1 => {
            refuse("it would round what it gets: declare it without digits, or decimal(p,s)")
        }
        "float" | "float4" if limited(24) <= 24 => of(LogicalType::Float32),
        "float" | "double" | "double precision" | "real" | "float8" => of(LogicalType::Float64),
        "char" | "character" => string(Room::Characters(limited(1), true)),
        "varchar" | "character varying" if numbers.len() != 1 => refuse("it needs a length"),
        "varchar" | "character varying" => string(Room::Characters(limited(0), false)),
        "tinytext" => string(Room::Bytes(255)),
        "text" => string(Room::Bytes(65_535)),
        "mediumtext" => string(Room::Bytes(16_777_215)),
        "longtext" => string(Room::Bytes(u32::MAX.into())),
        "enum" => enumeration(&parsed.texts).map_or_else(&refuse, of),
        "json" => of(LogicalType::Json),
        "uuid" => of(LogicalType::Uuid),
        "inet4" => of(LogicalType::Ipv4),
        "inet6" => of(LogicalType::Ipv6),
        "date" => of(LogicalType::Date),
        "time" => match digits(6) {
            Some(digits) => of(LogicalType::Time { digits }),
            None => refuse("0 to 6 digits can stand behind the second"),
        },
        "datetime" | "timestamp" => match digits(6) {
            Some(digits) => {
                let special = (parsed.name == "timestamp").then_some(Special::Timestamp);
                Ok(Declared { special, ..LogicalType::Timestamp { digits }.into() })
            }
            None => refuse("0 to 6 digits can stand behind the second"),
        },
        "set" => refuse("the server puts its parts into another order: declare it text or json"),
        "varbinary" if numbers.len() != 1 => refuse("it needs a length"),
        "varbinary" => bytes(limited(0)),
        "tinyblob" => bytes(255),
        "blob" => bytes(65_535),
        "mediumblob" => bytes(16_777_215),
        "longblob" => bytes(u32::MAX.into()),
        "binary" => refuse("it fills values up with zero bytes: declare it varbinary"),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => refuse("rowfall writes no geometry: declare it text or json"),
        _ => refuse("not a type that rowfall knows"),
    }
}

/// What a column of this type takes.
pub(super) fn value(declared: &Declared, nullable: bool) -> ValueType {
    let length = match declared.room {
        Room::Characters(most, _) if declared.logical == LogicalType::String => u32::try_from(most).ok(),
        Room::Bytes(most) if declared.logical == LogicalType::Bytes => u32::try_from(most).ok(),
        _ => None,
    };
    let logical = declared.logical.clone();
    ValueType { range: range(declared), logical, nullable, length, binary: false, zone: None }
}

/// What a date, time or timestamp column can hold, in days or ticks.
pub(super) fn range(declared: &Declared) -> Option<RangeInclusive<i64>> {
    const FIRST: i64 = days_from_civil(1000, 1, 1);
    const END: i64 = days_from_civil(10_000, 1, 1);
    const LONGEST: i64 = 838 * 3600 + 59 * 60 + 59;
    let ticks = |digits: u8| 10_i64.pow(digits.into());
    match declared.logical {
        LogicalType::Date => Some(FIRST..=END - 1),
        LogicalType::Timestamp { digits } if declared.special == Some(Special::Timestamp) => {
            // Second 0 is how the zero date is kept.
            Some(ticks(digits)..=i64::from(i32::MAX) * ticks(digits))
        }
        LogicalType::Timestamp { digits } => {
            let per_day = 86_400 * ticks(digits);
            Some(FIRST * per_day..=END * per_day - 1)
        }
        LogicalType::Time { digits } => Some(-LONGEST * ticks(digits)..=LONGEST * ticks(digits)),
        _ => None,
    }
}

fn decimal(precision: u64, scale: u64) -> Result<LogicalType, &'static str> {
    let logical = |precision, scale| Some((u8::try_from(precision).ok()?, u8::try_from(scale).ok()?));
    match logical(precision, scale) {
        Some((precision @ 1..=65, scale @ 0..=30)) if scale <= precision => {
            Ok(LogicalType::Decimal { precision, scale })
        }
        _ => Err("a decimal has 1 to 65 digits, and at most 30 of them behind the point"),
    }
}

fn string(parsed: &TypeText, room: Room) -> Result<Declared, &'static str> {
    match parsed.charset.as_deref() {
        Some("binary") => Err("it holds bytes: declare it with a character set, or varbinary"),
        charset => match Charset::named(charset.unwrap_or("utf8mb4")) {
            Some(charset) => {
                Ok(Declared { room, charset, collation: parsed.collation.clone(), ..LogicalType::String.into() })
            }
            None => Err("it is not known whether its character set gives back every text: use utf8mb4"),
        },
    }
}

fn enumeration(names: &[String]) -> Result<LogicalType, &'static str> {
    if names.is_empty() {
        return Err("its names cannot be read");
    }
    let values = (1..=i16::MAX).zip(names).map(|(number, name)| EnumValue { name: name.clone(), number });
    let values: Arc<[_]> = values.collect();
    if values.len() < names.len() { Err("it has more than 32,767 names") } else { Ok(LogicalType::Enum(values)) }
}
