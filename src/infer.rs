//! What a sample of schemaless records shows of their fields.

use rowfall_dialects::contract::LogicalType;

use crate::decode::text_kind;

/// A field as the sample shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferredField {
    /// Its name.
    pub name: String,
    /// The narrowest type that holds every value of the sample.
    pub logical: LogicalType,
}

/// What one value, or several together, can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Null,
    Bool,
    /// An integer that i64 holds.
    Int,
    /// A non-negative one that only u64 holds.
    UInt,
    Float,
    Date,
    /// With this many digits behind the second.
    Timestamp(u8),
    Uuid,
    Text,
}

/// The fields of these JSON objects, in the order in which they are first seen. Values that are no objects are left
/// out: the decoder will refuse them by name. Fields that are null throughout become strings.
#[must_use]
pub fn infer(values: &[Vec<u8>]) -> Vec<InferredField> {
    let mut fields: Vec<(String, Shape)> = Vec::new();
    for value in values {
        let Ok(text) = std::str::from_utf8(value) else { continue };
        if sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(text).is_err() {
            continue;
        }
        for field in sonic_rs::to_object_iter(text) {
            let Ok((name, value)) = field else { break };
            let shape = Shape::of(value.as_raw_str());
            match fields.iter_mut().find(|(known, _)| *known == *name) {
                Some((_, known)) => *known = known.with(shape),
                None => fields.push((name.to_string(), shape)),
            }
        }
    }
    fields.into_iter().map(|(name, shape)| InferredField { name, logical: shape.logical() }).collect()
}

impl Shape {
    fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => match text_kind(&raw[1..raw.len() - 1]) {
                Some(LogicalType::Date) => Self::Date,
                Some(LogicalType::Timestamp { digits }) => Self::Timestamp(digits),
                Some(LogicalType::Uuid) => Self::Uuid,
                _ => Self::Text,
            },
            Some(b'{' | b'[') => Self::Text,
            _ if raw.parse::<i64>().is_ok() => Self::Int,
            _ if raw.parse::<u64>().is_ok() => Self::UInt,
            // An integer of more digits than any number type keeps as a double.
            _ if raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') => Self::Text,
            _ => Self::Float,
        }
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, known) | (known, Self::Null) => known,
            (Self::Int | Self::UInt, Self::Float) | (Self::Float, Self::Int | Self::UInt) => Self::Float,
            (Self::Int, Self::UInt) | (Self::UInt, Self::Int) => Self::UInt,
            (Self::Timestamp(a), Self::Timestamp(b)) => Self::Timestamp(a.max(b)),
            _ => Self::Text,
        }
    }

    fn logical(self) -> LogicalType {
        match self {
            Self::Bool => LogicalType::Bool,
            Self::Int => LogicalType::Int64,
            Self::UInt => LogicalType::UInt64,
            Self::Float => LogicalType::Float64,
            Self::Date => LogicalType::Date,
            Self::Timestamp(digits) => LogicalType::Timestamp { digits },
            Self::Uuid => LogicalType::Uuid,
            Self::Null | Self::Text => LogicalType::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(records: &[&str]) -> String {
        let values: Vec<_> = records.iter().map(|r| r.as_bytes().to_vec()).collect();
        let text = |f: InferredField| format!("{} {}", f.name, f.logical);
        infer(&values).into_iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_narrowest_type_that_holds_the_sample() {
        assert_eq!(inferred(&[r#"{"a":1,"b":"x","c":true}"#, r#"{"b":"y","a":-2}"#]), "a int64, b string, c bool");
        assert_eq!(inferred(&[r#"{"a":1}"#, r#"{"a":1.5}"#, r#"{"a":null}"#]), "a float64");
        assert_eq!(inferred(&[r#"{"a":18446744073709551615}"#, r#"{"a":1}"#]), "a uint64");
        assert_eq!(inferred(&[r#"{"a":184467440737095516150}"#]), "a string");
        assert_eq!(inferred(&[r#"{"a":1}"#, r#"{"a":"1"}"#]), "a string");
        assert_eq!(inferred(&[r#"{"a":null,"b":{"c":1},"d":[1]}"#]), "a string, b string, d string");
        assert_eq!(
            inferred(&[r#"{"t":"2024-02-29T12:00:00Z","d":"2024-02-29","u":"00000000-0000-0000-0000-000000000001"}"#]),
            "t timestamp(3), d date, u uuid"
        );
        assert_eq!(inferred(&[r#"{"t":"2024-02-29T12:00:00.1234+02:00"}"#]), "t timestamp(6)");
        assert_eq!(inferred(&[r#"{"t":"2024-02-29T12:00:00"}"#]), "t string");
        assert_eq!(inferred(&["[1]", "x", r#"{"a":1}"#]), "a int64");
    }
}
