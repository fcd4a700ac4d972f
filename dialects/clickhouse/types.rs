//! ClickHouse's column types: the one place that reads and writes their texts.
//!
//! Sources: <https://clickhouse.com/docs/sql-reference/data-types> for ranges and notation,
//! <https://clickhouse.com/docs/interfaces/formats/Native> for the wire.

use std::ops::RangeInclusive;

use crate::contract::{LogicalType, MAX_DECIMAL_PRECISION, Refusal};

/// What a column's type text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// What values it takes.
    pub(super) logical: LogicalType,
    /// Whether it takes null.
    pub(super) nullable: bool,
    /// For dates (days) and timestamps (ticks): what it can hold.
    pub(super) range: Option<RangeInclusive<i64>>,
    /// The zone that the type names.
    pub(super) zone: Option<String>,
    /// How its values lie in a Native block.
    pub(super) wire: Wire,
    /// The type under which its values are sent: the column's own without nullability and LowCardinality.
    pub(super) wire_name: String,
}

/// How a value lies in a Native block, seen from rowfall's own columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// As in the column, little-endian.
    Same,
    /// Days as u16 instead of i32.
    Date,
    /// As in the column; but where a row has no value, ClickHouse's default is not zero, it is [`DATE32_DEFAULT`].
    Date32,
    /// Seconds as u32 instead of i64.
    DateTime,
    /// Two little-endian u64, the high half first.
    Uuid,
    /// The length as a varint, then the bytes.
    String,
}

/// 1900-01-01 and 2299-12-31, what Date32 and DateTime64 can hold, in days since 1970-01-01.
const WIDE_DAYS: RangeInclusive<i64> = -25_567..=120_529;

/// What a Date32 holds when an insert leaves it out: 1900-01-01.
pub(super) const DATE32_DEFAULT: i32 = -25_567;

const SECONDS_PER_DAY: i64 = 86_400;

/// Reads a column type.
///
/// # Errors
/// For types that rowfall cannot write, named.
pub(super) fn parse(text: &str) -> Result<ColumnType, Refusal> {
    let text = text.trim();
    let unsupported = || Refusal(format!("rowfall cannot write columns of type {text} yet"));
    if let Some(inner) = argument(text, "LowCardinality") {
        // Sent as the plain type: the dictionary is the server's business, and it takes that without a conversion.
        return parse(inner).map_err(|_| unsupported());
    }
    if let Some(inner) = argument(text, "Nullable") {
        let column = parse(inner).map_err(|_| unsupported())?;
        return Ok(ColumnType { nullable: true, ..column });
    }

    let (name, arguments) = split(text).ok_or_else(unsupported)?;
    let mut range = None;
    let mut zone = None;
    let mut wire = Wire::Same;
    let logical = match (name, arguments.as_slice()) {
        ("Int8", []) => LogicalType::Int8,
        ("Int16", []) => LogicalType::Int16,
        ("Int32", []) => LogicalType::Int32,
        ("Int64", []) => LogicalType::Int64,
        ("UInt8", []) => LogicalType::UInt8,
        ("UInt16", []) => LogicalType::UInt16,
        ("UInt32", []) => LogicalType::UInt32,
        ("UInt64", []) => LogicalType::UInt64,
        ("Float32", []) => LogicalType::Float32,
        ("Float64", []) => LogicalType::Float64,
        ("Bool", []) => LogicalType::Bool,
        ("Decimal", [precision, scale]) => decimal(precision, scale).ok_or_else(unsupported)?,
        ("Decimal32", [scale]) => decimal("9", scale).ok_or_else(unsupported)?,
        ("Decimal64", [scale]) => decimal("18", scale).ok_or_else(unsupported)?,
        ("Decimal128", [scale]) => decimal("38", scale).ok_or_else(unsupported)?,
        ("Decimal256", [scale]) => decimal("76", scale).ok_or_else(unsupported)?,
        ("String", []) => {
            wire = Wire::String;
            LogicalType::String
        }
        ("UUID", []) => {
            wire = Wire::Uuid;
            LogicalType::Uuid
        }
        ("Date", []) => {
            range = Some(0..=u16::MAX.into());
            wire = Wire::Date;
            LogicalType::Date
        }
        ("Date32", []) => {
            range = Some(WIDE_DAYS);
            wire = Wire::Date32;
            LogicalType::Date
        }
        ("DateTime", [] | [_]) => {
            zone = arguments.first().map(|quoted| unquote(quoted).ok_or_else(unsupported)).transpose()?;
            range = Some(0..=u32::MAX.into());
            wire = Wire::DateTime;
            LogicalType::Timestamp { digits: 0 }
        }
        ("DateTime64", [digits] | [digits, _]) => {
            zone = arguments.get(1).map(|quoted| unquote(quoted).ok_or_else(unsupported)).transpose()?;
            let digits = digits.parse().ok().filter(|digits| *digits <= 9).ok_or_else(unsupported)?;
            range = Some(wide_ticks(digits));
            LogicalType::Timestamp { digits }
        }
        _ => return Err(unsupported()),
    };
    Ok(ColumnType { logical, nullable: false, range, zone, wire, wire_name: text.to_owned() })
}

/// The type that a new column gets.
pub(super) fn name(logical: LogicalType) -> String {
    match logical {
        LogicalType::Bool => "Bool".into(),
        LogicalType::Int8 => "Int8".into(),
        LogicalType::Int16 => "Int16".into(),
        LogicalType::Int32 => "Int32".into(),
        LogicalType::Int64 => "Int64".into(),
        LogicalType::UInt8 => "UInt8".into(),
        LogicalType::UInt16 => "UInt16".into(),
        LogicalType::UInt32 => "UInt32".into(),
        LogicalType::UInt64 => "UInt64".into(),
        LogicalType::Float32 => "Float32".into(),
        LogicalType::Float64 => "Float64".into(),
        LogicalType::Decimal { precision, scale } => format!("Decimal({precision}, {scale})"),
        LogicalType::String => "String".into(),
        LogicalType::Uuid => "UUID".into(),
        LogicalType::Date => "Date32".into(),
        LogicalType::Timestamp { digits } => format!("DateTime64({digits}, 'UTC')"),
    }
}

/// The type that also takes null. `LowCardinality` has it inside, and what is nullable already stays as it is.
pub(super) fn nullable(text: &str) -> String {
    match argument(text, "LowCardinality") {
        Some(inner) => format!("LowCardinality({})", nullable(inner)),
        None if argument(text, "Nullable").is_some() => text.to_owned(),
        None => format!("Nullable({text})"),
    }
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

/// What stands in the parentheses behind `name`, where `text` is `name(…)`.
fn argument<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// A type's name and its arguments, none of which has commas of its own in the types above.
fn split(text: &str) -> Option<(&str, Vec<&str>)> {
    match text.split_once('(') {
        None => Some((text, Vec::new())),
        Some((name, rest)) => Some((name, rest.strip_suffix(')')?.split(',').map(str::trim).collect())),
    }
}

fn unquote(quoted: &str) -> Option<String> {
    let zone = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    (!zone.is_empty()).then(|| zone.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logical_types() -> impl Strategy<Value = LogicalType> {
        prop_oneof![
            proptest::sample::select(vec![
                LogicalType::Bool,
                LogicalType::Int8,
                LogicalType::Int16,
                LogicalType::Int32,
                LogicalType::Int64,
                LogicalType::UInt8,
                LogicalType::UInt16,
                LogicalType::UInt32,
                LogicalType::UInt64,
                LogicalType::Float32,
                LogicalType::Float64,
                LogicalType::String,
                LogicalType::Uuid,
                LogicalType::Date,
            ]),
            (1u8..=76, 0u8..=76)
                .prop_map(|(precision, scale)| LogicalType::Decimal { precision, scale: scale.min(precision) }),
            (0u8..=9).prop_map(|digits| LogicalType::Timestamp { digits }),
        ]
    }

    proptest! {
        #[test]
        fn a_type_is_read_back_from_its_name(logical in logical_types()) {
            let text = name(logical);
            let column = parse(&text).unwrap();
            prop_assert_eq!(column.logical, logical);
            prop_assert!(!column.nullable);
            let nullable_column = parse(&nullable(&text)).unwrap();
            prop_assert_eq!(nullable_column, ColumnType { nullable: true, ..column });
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn wrappers_are_seen_through() {
        let column = parse("LowCardinality(Nullable(String))").unwrap();
        assert_eq!((column.logical, column.nullable, column.wire_name.as_str()), (LogicalType::String, true, "String"));
        let column = parse("LowCardinality(FixedString(3))");
        assert_eq!(column.unwrap_err().0, "rowfall cannot write columns of type LowCardinality(FixedString(3)) yet");
    }

    #[test]
    fn decimals_have_two_spellings() {
        for (spelling, precision, scale) in [
            ("Decimal(9, 2)", 9, 2),
            ("Decimal(76,76)", 76, 76),
            ("Decimal32(2)", 9, 2),
            ("Decimal64(18)", 18, 18),
            ("Decimal128(0)", 38, 0),
            ("Decimal256(5)", 76, 5),
        ] {
            assert_eq!(parse(spelling).unwrap().logical, LogicalType::Decimal { precision, scale }, "{spelling}");
        }
        for spelling in ["Decimal(77, 2)", "Decimal(0, 0)", "Decimal(3, 4)", "Decimal32(10)", "Decimal(1)"] {
            assert!(parse(spelling).is_err(), "{spelling}");
        }
    }

    #[test]
    fn instants_know_their_range_and_zone() {
        let of = |text: &str| {
            let column = parse(text).unwrap();
            (column.logical, column.range.unwrap(), column.zone)
        };
        let digits = |digits| LogicalType::Timestamp { digits };
        assert_eq!(of("DateTime"), (digits(0), 0..=4_294_967_295, None));
        assert_eq!(of("DateTime('Europe/Berlin')"), (digits(0), 0..=4_294_967_295, Some("Europe/Berlin".into())));
        assert_eq!(of("DateTime64(0)"), (digits(0), -2_208_988_800..=10_413_791_999, None));
        assert_eq!(
            of("DateTime64(3, 'UTC')"),
            (digits(3), -2_208_988_800_000..=10_413_791_999_999, Some("UTC".into()))
        );
        assert_eq!(of("DateTime64(9)"), (digits(9), -2_208_988_800_000_000_000..=i64::MAX, None));
        assert_eq!(of("Date"), (LogicalType::Date, 0..=65_535, None));
        assert_eq!(of("Date32"), (LogicalType::Date, -25_567..=120_529, None));
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for text in [
            "Array(String)",
            "Map(String, UInt8)",
            "Tuple(a UInt8)",
            "FixedString(3)",
            "IPv4",
            "Int128",
            "UInt256",
            "BFloat16",
            "JSON",
            "Enum8('a' = 1)",
            "Variant(String, UInt8)",
            "SimpleAggregateFunction(max, UInt64)",
            "Time64(3)",
            "DateTime64(10)",
            "DateTime64(3, UTC)",
            "String(3)",
            "",
            "Nullable(",
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.0, format!("rowfall cannot write columns of type {text} yet"));
        }
    }
}
