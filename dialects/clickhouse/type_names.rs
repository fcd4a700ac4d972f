//! The types that new columns get.

use super::grammar::quote;
use super::type_text::{Call, call};
use crate::contract::{LogicalType, Refusal, ValueType};

/// The type of a new column.
///
/// # Errors
/// For types that ClickHouse has nothing for, with the reason.
pub(super) fn name(logical: &LogicalType) -> Result<String, Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("ClickHouse has no type for {logical}: {why}")));
    Ok(match logical {
        LogicalType::Bool => "Bool".into(),
        LogicalType::Int8 => "Int8".into(),
        LogicalType::Int16 => "Int16".into(),
        LogicalType::Int32 => "Int32".into(),
        LogicalType::Int64 => "Int64".into(),
        LogicalType::Int128 => "Int128".into(),
        LogicalType::Int256 => "Int256".into(),
        LogicalType::UInt8 => "UInt8".into(),
        LogicalType::UInt16 => "UInt16".into(),
        LogicalType::UInt32 => "UInt32".into(),
        LogicalType::UInt64 => "UInt64".into(),
        LogicalType::UInt128 => "UInt128".into(),
        LogicalType::UInt256 => "UInt256".into(),
        LogicalType::Float32 => "Float32".into(),
        LogicalType::Float64 => "Float64".into(),
        LogicalType::Decimal { precision, scale } => format!("Decimal({precision}, {scale})"),
        LogicalType::String | LogicalType::Bytes => "String".into(),
        LogicalType::FixedString { bytes } => format!("FixedString({bytes})"),
        LogicalType::Enum(_) => return refuse("its names and numbers are for the table's owner to declare"),
        LogicalType::Json => "JSON".into(),
        LogicalType::Uuid => "UUID".into(),
        LogicalType::Date => "Date32".into(),
        LogicalType::Time { digits: 0 } => "Time".into(),
        LogicalType::Time { digits } => format!("Time64({digits})"),
        LogicalType::Ipv4 => "IPv4".into(),
        LogicalType::Ipv6 => "IPv6".into(),
        LogicalType::Timestamp { digits } => format!("DateTime64({digits}, 'UTC')"),
        LogicalType::List(element) => format!("Array({})", part(element)?),
        LogicalType::Map(pair) if pair.0.nullable => return refuse("a key cannot be null"),
        LogicalType::Map(pair) => format!("Map({}, {})", part(&pair.0)?, part(&pair.1)?),
        LogicalType::Struct(fields) if fields.is_empty() => return refuse("it has no parts"),
        LogicalType::Struct(fields) => {
            let field = |name: &Option<String>, value| {
                let name = name.as_ref().map_or_else(String::new, |name| quote(name) + " ");
                Ok(format!("{name}{}", part(value)?))
            };
            let fields = fields.iter().map(|of| field(&of.name, &of.value)).collect::<Result<Vec<_>, Refusal>>()?;
            format!("Tuple({})", fields.join(", "))
        }
        LogicalType::Variant(types) if types.iter().any(|value| value.nullable) => {
            return refuse("one of its types is nullable");
        }
        LogicalType::Variant(types) => {
            let types = types.iter().map(|value| name(&value.logical)).collect::<Result<Vec<_>, _>>()?;
            format!("Variant({})", types.join(", "))
        }
    })
}

fn part(value: &ValueType) -> Result<String, Refusal> {
    let text = name(&value.logical)?;
    if value.nullable { nullable(&text) } else { Ok(text) }
}

/// The type that also takes null. `LowCardinality` has it inside, and what is nullable already stays as it is.
///
/// # Errors
/// For types that cannot be nullable.
pub(super) fn nullable(text: &str) -> Result<String, Refusal> {
    let Some(call) = call(text) else { return Ok(format!("Nullable({text})")) };
    match (call.name, call.arguments.as_slice()) {
        ("LowCardinality", [inner]) => Ok(format!("LowCardinality({})", nullable(inner)?)),
        ("Nullable" | "Variant" | "Dynamic", _) => Ok(text.to_owned()),
        (
            "Array" | "Map" | "Nested" | "Ring" | "LineString" | "MultiPoint" | "Polygon" | "MultiLineString"
            | "MultiPolygon",
            _,
        ) => Err(Refusal(format!("ClickHouse has no nullable {text}"))),
        _ => Ok(format!("Nullable({text})")),
    }
}

/// The type without null.
pub(super) fn not_nullable(text: &str) -> String {
    match call(text) {
        Some(Call { name: "LowCardinality", arguments }) if arguments.len() == 1 => {
            format!("LowCardinality({})", not_nullable(arguments[0]))
        }
        Some(Call { name: "Nullable", arguments }) if arguments.len() == 1 => arguments[0].to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::types::parse;
    use super::*;
    use crate::contract::{EnumValue, StructField};
    use proptest::prelude::*;

    fn scalars() -> impl Strategy<Value = LogicalType> {
        prop_oneof![
            proptest::sample::select(vec![
                LogicalType::Bool,
                LogicalType::Int8,
                LogicalType::Int16,
                LogicalType::Int32,
                LogicalType::Int64,
                LogicalType::Int128,
                LogicalType::Int256,
                LogicalType::UInt8,
                LogicalType::UInt16,
                LogicalType::UInt32,
                LogicalType::UInt64,
                LogicalType::UInt128,
                LogicalType::UInt256,
                LogicalType::Float32,
                LogicalType::Float64,
                LogicalType::String,
                LogicalType::Json,
                LogicalType::Uuid,
                LogicalType::Ipv4,
                LogicalType::Ipv6,
                LogicalType::Date,
            ]),
            (1u8..=76, 0u8..=76)
                .prop_map(|(precision, scale)| LogicalType::Decimal { precision, scale: scale.min(precision) }),
            (0u8..=9).prop_map(|digits| LogicalType::Timestamp { digits }),
            (0u8..=9).prop_map(|digits| LogicalType::Time { digits }),
            (1..=u32::MAX).prop_map(|bytes| LogicalType::FixedString { bytes }),
        ]
    }

    /// A part, nullable where ClickHouse can.
    fn part(logical: impl Strategy<Value = LogicalType>) -> impl Strategy<Value = ValueType> {
        (logical, any::<bool>()).prop_map(|(logical, nullable)| {
            let text = name(&logical).unwrap();
            let is_nullable = nullable && super::nullable(&text).is_ok();
            let read = parse(&text).unwrap().value;
            ValueType { logical, nullable: is_nullable, ..read }
        })
    }

    fn logical_types() -> impl Strategy<Value = LogicalType> {
        scalars().prop_recursive(3, 12, 4, |inner| {
            let field = ("\\PC{1,6}", part(inner.clone()));
            prop_oneof![
                part(inner.clone()).prop_map(|element| LogicalType::List(Arc::new(element))),
                (scalars(), part(inner)).prop_map(|(key, value)| {
                    LogicalType::Map(Arc::new((parse(&name(&key).unwrap()).unwrap().value, value)))
                }),
                (proptest::collection::vec(field, 1..4), any::<bool>()).prop_map(|(fields, named)| {
                    let field = |(name, value)| StructField { name: Some(name).filter(|_| named), value };
                    LogicalType::Struct(fields.into_iter().map(field).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_type_is_read_back_from_its_name(logical in logical_types()) {
            let text = name(&logical).unwrap();
            let mut column = parse(&text).unwrap();
            prop_assert_eq!(&column.value.logical, &logical);
            prop_assert!(!column.value.nullable);
            if let Ok(text) = nullable(&text) {
                column.value.nullable = true;
                prop_assert_eq!(parse(&text).unwrap(), column);
            }
        }
    }

    #[test]
    fn what_cannot_be_created_is_refused() {
        let refusal = |logical| name(&logical).unwrap_err().0;
        let of = |logical: LogicalType| ValueType { nullable: true, ..logical.into() };
        let list = LogicalType::List(Arc::new(LogicalType::Int8.into()));
        insta::assert_snapshot!(refusal(LogicalType::List(Arc::new(of(list)))), @"ClickHouse has no nullable Array(Int8)");
        insta::assert_snapshot!(refusal(LogicalType::Map(Arc::new((of(LogicalType::Int8), of(LogicalType::Int8))))), @"ClickHouse has no type for map(int8?, int8?): a key cannot be null");
        insta::assert_snapshot!(refusal(LogicalType::Enum([EnumValue { name: "a".into(), number: 1 }].into())), @"ClickHouse has no type for enum: its names and numbers are for the table's owner to declare");
        insta::assert_snapshot!(refusal(LogicalType::Struct([].into())), @"ClickHouse has no type for struct(): it has no parts");
        insta::assert_snapshot!(refusal(LogicalType::Variant([of(LogicalType::Int8)].into())), @"ClickHouse has no type for variant(int8?): one of its types is nullable");
    }

    #[test]
    fn nullability_stands_where_it_can() {
        assert_eq!(nullable("LowCardinality(String)").unwrap(), "LowCardinality(Nullable(String))");
        assert_eq!(nullable("Nullable(String)").unwrap(), "Nullable(String)");
        assert_eq!(nullable("Variant(Int8)").unwrap(), "Variant(Int8)");
        assert_eq!(nullable("Tuple(Int8)").unwrap(), "Nullable(Tuple(Int8))");
        assert_eq!(not_nullable("LowCardinality(Nullable(String))"), "LowCardinality(String)");
        assert_eq!(not_nullable("Nullable(Decimal(9, 2))"), "Decimal(9, 2)");
        assert_eq!(not_nullable("Array(Nullable(Int8))"), "Array(Nullable(Int8))");
        assert_eq!(nullable("Array(Int8)").unwrap_err().0, "ClickHouse has no nullable Array(Int8)");
    }
}
