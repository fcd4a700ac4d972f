//! Which column types hold every value of another, in the same words for it.

use super::grammar::literal;
use super::type_names;
use super::types;
use crate::contract::{LogicalType, ValueType};

/// The type of a column that is `present` and shall be `wanted`, nullable too if so asked: `None` where the present one
/// does already.
///
/// # Errors
/// Where values would be lost, or said otherwise.
pub(super) fn widened(present: &str, wanted: &str, nullable: bool) -> Result<Option<String>, String> {
    let parsed = |text: &str| types::parse(text).map(|column| column.value).map_err(|refusal| refusal.0);
    let (from, to) = (parsed(present)?, parsed(wanted)?);
    if present.starts_with("SimpleAggregateFunction") {
        return Err("its values are an aggregate's, whose type they have".into());
    }
    let nullable = nullable || from.nullable || to.nullable;
    let text = match (&from.logical, &to.logical) {
        _ if holds(&to, &from) && !holds(&from, &to) => match (&to.logical, &from.zone) {
            // The zone in which its texts are read stays.
            (LogicalType::Timestamp { digits }, zone) => match zone {
                Some(zone) => format!("DateTime64({digits}, {})", literal(zone)),
                None => format!("DateTime64({digits})"),
            },
            _ => type_names::not_nullable(wanted),
        },
        // The present type holds what is wanted, or is the same.
        _ if holds(&from, &to) => type_names::not_nullable(present),
        _ => return Err(format!("not every {present} is a {wanted}")),
    };
    let text = if nullable { type_names::nullable(&text).map_err(|refusal| refusal.0)? } else { text };
    Ok((text != present).then_some(text))
}

/// Whether each value of `narrow`, null aside, is one of `wide`.
fn holds(wide: &ValueType, narrow: &ValueType) -> bool {
    use LogicalType as T;
    match (&wide.logical, &narrow.logical) {
        (T::Timestamp { digits: w }, T::Timestamp { digits: n }) => w >= n && covers(wide, narrow, w - n),
        (T::Time { digits: w }, T::Time { digits: n }) => w >= n && covers(wide, narrow, w - n),
        (T::Date, T::Date) => covers(wide, narrow, 0),
        (T::Enum(wide), T::Enum(narrow)) => narrow.iter().all(|value| wide.contains(value)),
        (T::Float64, T::Float32) => true,
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision, scale }) => {
            s >= scale && p - s >= precision - scale
        }
        (T::List(wide), T::List(narrow)) => (wide.nullable || !narrow.nullable) && holds(wide, narrow),
        (wide, narrow) => match (integer(wide), integer(narrow)) {
            (Some((true, wide)), Some((false, narrow))) => wide > narrow,
            (Some((signed, wide)), Some((narrow_signed, narrow))) => signed == narrow_signed && wide >= narrow,
            _ => wide == narrow,
        },
    }
}

/// Whether the range of `wide`, whose ticks are 10^`digits` to one of `narrow`, covers that of `narrow`.
fn covers(wide: &ValueType, narrow: &ValueType, digits: u8) -> bool {
    let ticks = 10_i128.pow(digits.into());
    match (&wide.range, &narrow.range) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => {
            let (start, end) = (i128::from(*narrow.start()) * ticks, i128::from(*narrow.end()) * ticks);
            i128::from(*wide.start()) <= start && end <= i128::from(*wide.end())
        }
    }
}

/// Signed, and of how many bits.
fn integer(logical: &LogicalType) -> Option<(bool, u16)> {
    Some(match logical {
        LogicalType::Int8 => (true, 8),
        LogicalType::Int16 => (true, 16),
        LogicalType::Int32 => (true, 32),
        LogicalType::Int64 => (true, 64),
        LogicalType::Int128 => (true, 128),
        LogicalType::Int256 => (true, 256),
        LogicalType::UInt8 => (false, 8),
        LogicalType::UInt16 => (false, 16),
        LogicalType::UInt32 => (false, 32),
        LogicalType::UInt64 => (false, 64),
        LogicalType::UInt128 => (false, 128),
        LogicalType::UInt256 => (false, 256),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(present: &str, wanted: &str) -> Option<String> {
        widened(present, wanted, false).unwrap_or_else(|why| panic!("{present} to {wanted}: {why}"))
    }

    #[test]
    fn every_value_stays_what_it_is() {
        for (present, wanted) in [
            ("Int8", "Int16"),
            ("Int32", "Int64"),
            ("UInt8", "Int16"),
            ("UInt64", "UInt256"),
            ("Float32", "Float64"),
            ("Decimal(9, 2)", "Decimal(18, 4)"),
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)"),
            ("Enum8('a' = 1)", "Enum16('b' = 300, 'a' = 1)"),
            ("Date", "Date32"),
            ("Time", "Time64(3)"),
            ("Array(Int8)", "Array(Int64)"),
            ("Array(Int8)", "Array(Nullable(Int8))"),
        ] {
            assert_eq!(to(present, wanted).as_deref(), Some(wanted), "{present}");
            if wanted != "Date32" {
                assert_eq!(to(wanted, present), None, "{wanted} holds {present}");
            }
        }
        assert_eq!(
            to("DateTime('Asia/Tokyo')", "DateTime64(3, 'UTC')").as_deref(),
            Some("DateTime64(3, 'Asia/Tokyo')")
        );
        assert_eq!(to("DateTime", "DateTime64(9)").as_deref(), Some("DateTime64(9)"));
        assert_eq!(to("DateTime64(3)", "DateTime64(6, 'UTC')").as_deref(), Some("DateTime64(6)"));
        assert_eq!(to("Nullable(Int32)", "Int64").as_deref(), Some("Nullable(Int64)"));
        assert_eq!(to("Int64", "Nullable(Int32)").as_deref(), Some("Nullable(Int64)"));
        for same in ["String", "LowCardinality(Nullable(String))", "Map(String, Int8)", "Decimal32(2)"] {
            assert_eq!(to(same, same), None);
        }
    }

    #[test]
    fn null_comes_to_where_it_can() {
        let null = |present: &str| widened(present, &type_names::not_nullable(present), true);
        assert_eq!(null("Int8"), Ok(Some("Nullable(Int8)".into())));
        assert_eq!(null("LowCardinality(String)"), Ok(Some("LowCardinality(Nullable(String))".into())));
        assert_eq!(null("Nullable(Int8)"), Ok(None));
        insta::assert_snapshot!(null("Array(Int8)").unwrap_err(), @"ClickHouse has no nullable Array(Int8)");
    }

    #[test]
    fn what_would_lose_values_is_refused() {
        for (present, wanted) in [
            ("UInt64", "Int64"),
            ("Int8", "UInt64"),
            ("Decimal(9, 2)", "Decimal(9, 3)"),
            ("Int64", "Float64"),
            ("DateTime64(3)", "DateTime64(9)"),
            ("Enum8('a' = 1)", "Enum8('a' = 2)"),
            ("Array(Nullable(Int8))", "Array(Int16)"),
            ("FixedString(2)", "FixedString(3)"),
            ("Int8", "String"),
            ("String", "Int8"),
            ("Bool", "Int8"),
        ] {
            let error = widened(present, wanted, false).expect_err(present);
            assert_eq!(error, format!("not every {present} is a {wanted}"));
        }
        assert!(widened("SimpleAggregateFunction(max, Int8)", "Int16", false).is_err());
    }
}
