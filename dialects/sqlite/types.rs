//! SQLite's column types and rowfall's; the one place that knows both.
//!
//! SQLite keeps what a column was declared as, but obeys only the *affinity* that it reads from that text
//! (<https://sqlite.org/datatype3.html#determination_of_column_affinity>): a text that looks like a number becomes a
//! number in a column of NUMERIC, INTEGER or REAL affinity, and so loses zeros and digits. A type is written here only
//! where the affinity leaves each of its values as it is.
//!
//! | declared | takes | stored as |
//! |---|---|---|
//! | `BOOLEAN` | bool | INTEGER 0, 1 |
//! | `INTEGER`, `INT`, `BIGINT`, … | int64: SQLite gives all of them 64 bits | INTEGER |
//! | `REAL`, `DOUBLE`, `FLOAT` | float64 but NaN, which SQLite would turn into NULL; −0.0 becomes 0.0 | REAL |
//! | `DECIMAL(p,s)`, `NUMERIC(p,s)`, p ≤ 15 | decimal(p,s) | INTEGER or REAL |
//! | `DECIMAL_TEXT(p,s)` | decimal(p,s) | TEXT with s digits behind the point |
//! | `TEXT`, `VARCHAR(n)`, … | string | TEXT |
//! | `BLOB` | bytes | BLOB |
//! | `UUID` | uuid | TEXT, 36 characters, lower case |
//! | `DATE` | date, years 0 to 9999 | TEXT `YYYY-MM-DD` |
//! | `DATETIME(d)`, `TIMESTAMP(d)`; 6 without digits | timestamp(d), years 0 to 9999 | TEXT `YYYY-MM-DD HH:MM:SS.ffffff`, UTC |
//!
//! - `DECIMAL` with at most 15 digits is exact although it is stored as a double: a double tells any two decimals of 15
//!   significant digits apart (`DBL_DIG`), so rounding what is read to `s` digits gives back what was written, and
//!   sums and comparisons in SQL see numbers. With more digits it would not: those are texts, under a name that holds
//!   `TEXT` (and so has TEXT affinity) and still says precision and scale.
//! - `UUID`, `DATE` and `DATETIME` have NUMERIC affinity, but none of their texts looks like a number.
//! - Years beyond 9999 could be stored, but not read by SQLite's own date functions.

use std::ops::RangeInclusive;

use crate::contract::{LogicalType, Refusal, ValueType};
use crate::generic::days_from_civil;

/// A double holds every decimal of so many digits.
const DOUBLE_DIGITS: u8 = 15;

/// What a declared type takes and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// What values it takes.
    pub(super) logical: LogicalType,
    /// Decimals only: a number, not a text.
    pub(super) number: bool,
}

impl From<LogicalType> for Declared {
    fn from(logical: LogicalType) -> Self {
        Self { logical, number: false }
    }
}

/// The type that a new column gets.
///
/// # Errors
/// For types that SQLite has nothing for.
pub(super) fn column_type(logical: &LogicalType) -> Result<String, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("SQLite keeps no {logical}: {why}")));
    Ok(match *logical {
        LogicalType::Bool => "BOOLEAN".into(),
        LogicalType::Int8
        | LogicalType::Int16
        | LogicalType::Int32
        | LogicalType::Int64
        | LogicalType::UInt8
        | LogicalType::UInt16
        | LogicalType::UInt32 => "INTEGER".into(),
        // INTEGER ends at 2⁶³−1; what is larger would become a double.
        LogicalType::UInt64 => "DECIMAL_TEXT(20,0)".into(),
        LogicalType::Float32 | LogicalType::Float64 => "REAL".into(),
        LogicalType::Decimal { precision, scale } if precision <= DOUBLE_DIGITS => {
            format!("DECIMAL({precision},{scale})")
        }
        LogicalType::Decimal { precision, scale } => format!("DECIMAL_TEXT({precision},{scale})"),
        LogicalType::String => "TEXT".into(),
        LogicalType::Bytes => "BLOB".into(),
        LogicalType::Uuid => "UUID".into(),
        LogicalType::Date => "DATE".into(),
        LogicalType::Timestamp { digits } => format!("DATETIME({digits})"),
        LogicalType::Int128 | LogicalType::Int256 | LogicalType::UInt128 | LogicalType::UInt256 => {
            return refuse("its integers have 64 bits; a decimal of as many digits becomes a text");
        }
        LogicalType::FixedString { .. } | LogicalType::Enum(_) | LogicalType::Ipv4 | LogicalType::Ipv6 => {
            return refuse("it has no such type; a string holds the text");
        }
        LogicalType::Json => return refuse("JSON is a text there; a string holds it"),
        LogicalType::Time { .. } => return refuse("it has no type for a time without a day; a string holds the text"),
        LogicalType::List(_) | LogicalType::Map(_) | LogicalType::Struct(_) | LogicalType::Variant(_) => {
            return refuse("it has no nested types; a string holds the value as JSON");
        }
    })
}

/// Reads a declared type.
pub(super) fn parse(text: &str) -> Result<Declared, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("SQLite type `{text}`: {why}")));
    let Some((name, arguments)) = split(text) else { return refuse("its arguments cannot be read") };
    let decimal = |number| match arguments.as_slice() {
        [] => refuse("an exact number needs a precision: declare DECIMAL(p,s) or TEXT"),
        &[precision] => decimal(precision, 0, number).map_or_else(&refuse, Ok),
        &[precision, scale] => decimal(precision, scale, number).map_or_else(&refuse, Ok),
        _ => refuse("its arguments cannot be read"),
    };
    match name.as_str() {
        "BOOLEAN" | "BOOL" => Ok(LogicalType::Bool.into()),
        "REAL" | "DOUBLE" | "DOUBLE PRECISION" | "FLOAT" => Ok(LogicalType::Float64.into()),
        "TEXT" | "CLOB" | "CHAR" | "VARCHAR" | "CHARACTER" | "CHARACTER VARYING" | "VARYING CHARACTER" | "NCHAR"
        | "NVARCHAR" | "NATIVE CHARACTER" => Ok(LogicalType::String.into()),
        "UUID" => Ok(LogicalType::Uuid.into()),
        "DATE" => Ok(LogicalType::Date.into()),
        "DATETIME" | "TIMESTAMP" => match arguments.as_slice() {
            // Any number of digits can stand in the text; six is what most programs that write such columns keep.
            [] => Ok(LogicalType::Timestamp { digits: 6 }.into()),
            &[digits @ 0..=9] => Ok(LogicalType::Timestamp { digits }.into()),
            _ => refuse("0 to 9 digits can stand behind the second"),
        },
        "DECIMAL" | "NUMERIC" => decimal(true),
        "DECIMAL_TEXT" => decimal(false),
        "" | "ANY" => refuse("nothing says what the column takes: declare a type"),
        "BLOB" => Ok(LogicalType::Bytes.into()),
        name if is_integer(name) => Ok(LogicalType::Int64.into()),
        name => match affinity(name) {
            "TEXT" => refuse("not a type that rowfall knows: declare it TEXT"),
            "BLOB" => refuse("not a type that rowfall knows"),
            affinity => refuse(&format!(
                "not a type that rowfall knows, and its {affinity} affinity would turn texts like 007 into numbers: \
                 declare it TEXT, or as the number that it is"
            )),
        },
    }
}

/// What a column of this type takes.
pub(super) fn value(logical: LogicalType, nullable: bool) -> ValueType {
    ValueType { range: range(&logical), logical, nullable, length: None, binary: false, zone: None }
}

/// What a date or timestamp column can hold, in days or ticks.
pub(super) fn range(logical: &LogicalType) -> Option<RangeInclusive<i64>> {
    const FIRST: i64 = days_from_civil(0, 1, 1);
    const END: i64 = days_from_civil(10_000, 1, 1);
    match *logical {
        LogicalType::Date => Some(FIRST..=END - 1),
        LogicalType::Timestamp { digits } => {
            let per_day = 86_400 * 10_i64.pow(digits.into());
            Some(FIRST.saturating_mul(per_day)..=END.checked_mul(per_day).map_or(i64::MAX, |end| end - 1))
        }
        _ => None,
    }
}

fn decimal(precision: u8, scale: u8, number: bool) -> Result<Declared, &'static str> {
    let logical = LogicalType::Decimal { precision, scale };
    match logical.to_string().parse::<LogicalType>() {
        Err(_) => Err("a decimal has 1 to 76 digits, and no more than these behind the point"),
        Ok(_) if number && precision > DOUBLE_DIGITS => Err(
            "SQLite would store it as a double, which is exact up to 15 digits only: declare it TEXT or DECIMAL_TEXT(p,s)",
        ),
        Ok(logical) => Ok(Declared { logical, number }),
    }
}

/// `Varying  Character (20)` → (`VARYING CHARACTER`, [20]).
fn split(text: &str) -> Option<(String, Vec<u8>)> {
    let (before, arguments, after) = match text.split_once('(') {
        None => (text, None, ""),
        Some((before, rest)) => {
            let (arguments, after) = rest.split_once(')')?;
            (before, Some(arguments), after)
        }
    };
    let words: Vec<_> =
        before.split_whitespace().chain(after.split_whitespace()).map(str::to_ascii_uppercase).collect();
    // Lengths beyond 255 are of no interest: SQLite does not obey them.
    let number = |text: &str| text.trim().parse::<u64>().map(|n| u8::try_from(n).unwrap_or(u8::MAX)).ok();
    let arguments = arguments.map_or(Some(Vec::new()), |list| list.split(',').map(number).collect())?;
    Some((words.join(" "), arguments))
}

fn is_integer(name: &str) -> bool {
    let is_word = |word| {
        matches!(
            word,
            "INTEGER"
                | "INT"
                | "TINYINT"
                | "SMALLINT"
                | "MEDIUMINT"
                | "BIGINT"
                | "INT2"
                | "INT4"
                | "INT8"
                | "BIG"
                | "SIGNED"
                | "UNSIGNED"
        )
    };
    name.contains("INT") && name.split(' ').all(is_word)
}

/// SQLite's own rules, in its order.
fn affinity(name: &str) -> &'static str {
    let has = |part: &&str| name.contains(*part);
    match () {
        () if has(&"INT") => "INTEGER",
        () if ["CHAR", "CLOB", "TEXT"].iter().any(has) => "TEXT",
        () if has(&"BLOB") => "BLOB",
        () if ["REAL", "FLOA", "DOUB"].iter().any(has) => "REAL",
        () => "NUMERIC",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    #[test]
    fn a_created_column_is_read_as_what_it_was_created_for() {
        let mut widened = String::new();
        for name in [
            "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
            "string", "uuid", "date",
        ] {
            let logical: LogicalType = name.parse().unwrap();
            let text = column_type(&logical).unwrap();
            let read = parse(&text).unwrap().logical;
            if read != logical {
                widened += &format!("{logical} {text} {read}\n");
            }
        }
        assert_snapshot!(widened, @"
        int8 INTEGER int64
        int16 INTEGER int64
        int32 INTEGER int64
        uint8 INTEGER int64
        uint16 INTEGER int64
        uint32 INTEGER int64
        uint64 DECIMAL_TEXT(20,0) decimal(20,0)
        float32 REAL float64
        ");
    }

    proptest! {
        #[test]
        fn decimals_and_timestamps_are_read_as_they_were_created(p in 1u8..=76, s in 0u8..=76, digits in 0u8..=9) {
            let decimal = LogicalType::Decimal { precision: p, scale: s.min(p) };
            let text = column_type(&decimal).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), Declared { logical: decimal, number: p <= 15 });
            prop_assert_eq!(affinity(&text), if p <= 15 { "NUMERIC" } else { "TEXT" });
            let timestamp = LogicalType::Timestamp { digits };
            prop_assert_eq!(parse(&column_type(&timestamp).unwrap()).unwrap().logical, timestamp);
        }
    }

    #[test]
    fn declared_types_are_read_whatever_their_spelling() {
        let mut read = String::new();
        for text in [
            "integer",
            "INT(11)",
            "BIGINT UNSIGNED",
            "unsigned big int",
            "int(10) unsigned",
            "Boolean",
            "varchar(255)",
            "VARCHAR(4000)",
            "Varying  Character (20)",
            "double precision",
            "NUMERIC( 10 , 2 )",
            "decimal(5)",
            "timestamp",
            "TIMESTAMP(3)",
            "datetime(0)",
        ] {
            read += &format!("{text}: {}\n", parse(text).unwrap().logical);
        }
        assert_snapshot!(read, @"
        integer: int64
        INT(11): int64
        BIGINT UNSIGNED: int64
        unsigned big int: int64
        int(10) unsigned: int64
        Boolean: bool
        varchar(255): string
        VARCHAR(4000): string
        Varying  Character (20): string
        double precision: float64
        NUMERIC( 10 , 2 ): decimal(10,2)
        decimal(5): decimal(5,0)
        timestamp: timestamp(6)
        TIMESTAMP(3): timestamp(3)
        datetime(0): timestamp(0)
        ");
    }

    #[test]
    fn what_would_change_values_is_refused_with_the_reason() {
        let mut refusals = String::new();
        for text in [
            "",
            "STRING",
            "JSON",
            "POINT",
            "FLOATING POINT",
            "DECIMAL",
            "DECIMAL(18,2)",
            "DECIMAL(5,6)",
            "DECIMAL_TEXT(77,0)",
            "DATETIME(10)",
            "LONGTEXT",
            "TEXT(",
            "ANY",
        ] {
            refusals += &format!("{}\n", parse(text).unwrap_err());
        }
        assert_snapshot!(refusals, @"
        SQLite type ``: nothing says what the column takes: declare a type
        SQLite type `STRING`: not a type that rowfall knows, and its NUMERIC affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
        SQLite type `JSON`: not a type that rowfall knows, and its NUMERIC affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
        SQLite type `POINT`: not a type that rowfall knows, and its INTEGER affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
        SQLite type `FLOATING POINT`: not a type that rowfall knows, and its INTEGER affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
        SQLite type `DECIMAL`: an exact number needs a precision: declare DECIMAL(p,s) or TEXT
        SQLite type `DECIMAL(18,2)`: SQLite would store it as a double, which is exact up to 15 digits only: declare it TEXT or DECIMAL_TEXT(p,s)
        SQLite type `DECIMAL(5,6)`: a decimal has 1 to 76 digits, and no more than these behind the point
        SQLite type `DECIMAL_TEXT(77,0)`: a decimal has 1 to 76 digits, and no more than these behind the point
        SQLite type `DATETIME(10)`: 0 to 9 digits can stand behind the second
        SQLite type `LONGTEXT`: not a type that rowfall knows: declare it TEXT
        SQLite type `TEXT(`: its arguments cannot be read
        SQLite type `ANY`: nothing says what the column takes: declare a type
        ");
    }

    #[test]
    fn what_it_has_no_type_for_is_refused_by_name() {
        let refusal = |logical| column_type(&logical).unwrap_err().0;
        let list = LogicalType::List(std::sync::Arc::new(LogicalType::Int8.into()));
        assert_snapshot!(refusal(list), @"SQLite keeps no list(int8): it has no nested types; a string holds the value as JSON");
        assert_snapshot!(refusal(LogicalType::Int128), @"SQLite keeps no int128: its integers have 64 bits; a decimal of as many digits becomes a text");
        assert_snapshot!(refusal(LogicalType::Ipv6), @"SQLite keeps no ipv6: it has no such type; a string holds the text");
    }

    #[test]
    fn ranges_end_with_the_year_9999() {
        assert_eq!(range(&LogicalType::Date), Some(-719_528..=2_932_896));
        assert_eq!(range(&LogicalType::Timestamp { digits: 0 }), Some(-62_167_219_200..=253_402_300_799));
        assert_eq!(range(&LogicalType::Timestamp { digits: 9 }), Some(i64::MIN..=i64::MAX));
    }
}
