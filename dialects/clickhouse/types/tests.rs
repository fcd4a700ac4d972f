use super::*;
use proptest::prelude::*;

#[test]
fn wrappers_are_seen_through() {
    let column = parse("LowCardinality(Nullable(String))").unwrap();
    assert_eq!(column.value.to_string(), "string?");
    assert_eq!(column.wire_name, "String");
    let column = parse("Map(LowCardinality(String), Array(LowCardinality(Nullable(FixedString(3)))))").unwrap();
    assert_eq!(column.value.to_string(), "map(string, list(fixed(3)?))");
    assert_eq!(column.wire_name, "Map(String, Array(Nullable(FixedString(3))))");
    let column = parse("SimpleAggregateFunction(groupArrayArray(5), Array(UInt8))").unwrap();
    assert_eq!((column.value.to_string().as_str(), column.wire_name.as_str()), ("list(uint8)", "Array(UInt8)"));
}

#[test]
fn every_type_says_what_it_takes() {
    let mut read = String::new();
    for text in [
        "Int256",
        "UInt128",
        "IPv4",
        "IPv6",
        "Time",
        "Time64(6)",
        "Nested(a UInt8, `b c` Array(String))",
        "Tuple(`it\\`s` Nullable(Int8), b Tuple(Int8, Nullable(Tuple(Date))))",
        "Array(Map(String, Array(Nullable(Decimal(9, 2)))))",
        "JSON(max_dynamic_paths=5, `a.b` UInt32, SKIP c, SKIP REGEXP 'x,\\'y\\\\.(')",
        "Nullable(JSON)",
        "Variant(Array(String), Bool, Float64, Int64, JSON, String, UInt64)",
        "Array(Dynamic(max_types=3))",
        "Point",
        "MultiPolygon",
    ] {
        let column = parse(text).unwrap();
        let sent = if column.full_name() == text { String::new() } else { format!(", sent as {}", column.full_name()) };
        read += &format!("{text}: {}{sent}\n", column.value);
    }
    insta::assert_snapshot!(read, @r"
    Int256: int256
    UInt128: uint128
    IPv4: ipv4
    IPv6: ipv6
    Time: time(0)
    Time64(6): time(6)
    Nested(a UInt8, `b c` Array(String)): list(struct(a uint8, b c list(string))), sent as Nested(`a` UInt8, `b c` Array(String))
    Tuple(`it\`s` Nullable(Int8), b Tuple(Int8, Nullable(Tuple(Date)))): struct(it`s int8?, b struct(int8, struct(date)?)), sent as Tuple(`it\`s` Nullable(Int8), `b` Tuple(Int8, Nullable(Tuple(Date))))
    Array(Map(String, Array(Nullable(Decimal(9, 2))))): list(map(string, list(decimal(9,2)?)))
    JSON(max_dynamic_paths=5, `a.b` UInt32, SKIP c, SKIP REGEXP 'x,\'y\\.('): json
    Nullable(JSON): json?
    Variant(Array(String), Bool, Float64, Int64, JSON, String, UInt64): variant(bool, int64, uint64, float64, list(string), json, string)?
    Array(Dynamic(max_types=3)): list(variant(bool, int64, uint64, float64, string)?)
    Point: struct(float64, float64)
    MultiPolygon: list(list(list(struct(float64, float64))))
    ");
}

#[test]
fn enums_have_names_and_numbers() {
    let of = |text: &str| match parse(text).map(|column| column.value.logical) {
        Ok(LogicalType::Enum(values)) => {
            Some(values.iter().map(|value| (value.name.clone(), value.number)).collect::<Vec<_>>())
        }
        _ => None,
    };
    let values = |values: &[(&str, i16)]| Some(values.iter().map(|(name, number)| ((*name).into(), *number)).collect());
    assert_eq!(
        of(r"Enum8('a\'b' = -128, 'c,(' = 2, '\n\\' = 127)"),
        values(&[("a'b", -128), ("c,(", 2), ("\n\\", 127)])
    );
    assert_eq!(of("Enum16('' = -32768,'ü'=32767)"), values(&[("", -32_768), ("ü", 32_767)]));
    assert_eq!(of("Enum8('a', 'b')"), values(&[("a", 1), ("b", 2)]));
    for text in ["Enum8()", "Enum8(1)", "Enum8('a' = 128)", "Enum16('a' = 32768)", "Enum8('a' 1)", "Enum8('a)"] {
        assert_eq!(of(text), None, "{text}");
    }
    assert_eq!(parse("Enum8('a' = 3, 'b' = -2)").unwrap().wire, Wire::Scalar(Scalar::Enum8(-2)));
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
        assert_eq!(parse(spelling).unwrap().value.logical, LogicalType::Decimal { precision, scale }, "{spelling}");
    }
    for spelling in ["Decimal(77, 2)", "Decimal(0, 0)", "Decimal(3, 4)", "Decimal32(10)", "Decimal(1)"] {
        assert!(parse(spelling).is_err(), "{spelling}");
    }
}

#[test]
fn instants_know_their_range_and_zone() {
    let of = |text: &str| {
        let value = parse(text).unwrap().value;
        (value.logical, value.range.unwrap(), value.zone)
    };
    let digits = |digits| LogicalType::Timestamp { digits };
    assert_eq!(of("DateTime"), (digits(0), 0..=4_294_967_295, None));
    assert_eq!(of("DateTime('Europe/Berlin')"), (digits(0), 0..=4_294_967_295, Some("Europe/Berlin".into())));
    assert_eq!(of("DateTime64(0)"), (digits(0), -2_208_988_800..=10_413_791_999, None));
    assert_eq!(of("DateTime64(3, 'UTC')"), (digits(3), -2_208_988_800_000..=10_413_791_999_999, Some("UTC".into())));
    assert_eq!(of("DateTime64(9)"), (digits(9), -2_208_988_800_000_000_000..=i64::MAX, None));
    assert_eq!(of("Date"), (LogicalType::Date, 0..=65_535, None));
    assert_eq!(of("Date32"), (LogicalType::Date, -25_567..=120_529, None));
    assert_eq!(of("Time"), (LogicalType::Time { digits: 0 }, -3_599_999..=3_599_999, None));
    assert_eq!(of("Time64(3)"), (LogicalType::Time { digits: 3 }, -3_599_999_999..=3_599_999_999, None));
}

#[test]
fn a_variant_is_tried_from_the_narrow_and_sent_by_name() {
    let column = parse("Variant(UInt8, String, Array(String), Bool)").unwrap();
    assert_eq!(column.value.to_string(), "variant(bool, uint8, list(string), string)?");
    assert_eq!(column.wire_name, "Variant(Array(String), Bool, String, UInt8)");
    let Wire::Variant(variants) = column.wire else { panic!("a variant") };
    assert_eq!(variants.order, [2, 0, 3, 1]);
}

#[test]
fn other_types_are_refused_by_name() {
    let mut refusals = String::new();
    for text in [
        "AggregateFunction(quantiles(0.5, 0.9), Float64)",
        "Array(BFloat16)",
        "QBit(Float32, 4)",
        "IntervalDay",
        "Object('json')",
        "Nothing",
        "Geometry",
        "Tuple()",
        "Tuple(a Unknown(3))",
        "Variant(LowCardinality(String), UInt8)",
        "Nullable(Array(String))",
        "FixedString(0)",
        "Time64(10)",
        "DateTime64(10)",
        "DateTime64(3, UTC)",
        "String(3)",
        "",
        "Nullable(",
        "Tuple(a b c)",
    ] {
        refusals += &format!("{}\n", parse(text).unwrap_err());
    }
    insta::assert_snapshot!(refusals, @"
    rowfall cannot write columns of type AggregateFunction(quantiles(0.5, 0.9), Float64): only ClickHouse makes its states: write the plain values, and let a materialized view aggregate
    rowfall cannot write columns of type Array(BFloat16): BFloat16: most values would be rounded: declare it Float32
    rowfall cannot write columns of type QBit(Float32, 4): it is made from an Array by ClickHouse: fill it from one with MATERIALIZED
    rowfall cannot write columns of type IntervalDay: rowfall has no such type: declare the number, such as Int64
    rowfall cannot write columns of type Object('json'): ClickHouse has given it up: declare it JSON
    rowfall cannot write columns of type Nothing: it has no values
    rowfall cannot write columns of type Geometry: nothing says which of its shapes a list of points is: declare the shape, such as Polygon
    rowfall cannot write columns of type Tuple(): Tuple() is not a type that rowfall knows
    rowfall cannot write columns of type Tuple(a Unknown(3)): Unknown(3) is not a type that rowfall knows
    rowfall cannot write columns of type Variant(LowCardinality(String), UInt8): LowCardinality(String) inside Variant
    rowfall cannot write columns of type Nullable(Array(String)): Array(String) cannot be nullable
    rowfall cannot write columns of type FixedString(0): FixedString(0) is not a type that rowfall knows
    rowfall cannot write columns of type Time64(10): Time64(10) is not a type that rowfall knows
    rowfall cannot write columns of type DateTime64(10): DateTime64(10) is not a type that rowfall knows
    rowfall cannot write columns of type DateTime64(3, UTC): DateTime64(3, UTC) is not a type that rowfall knows
    rowfall cannot write columns of type String(3): String(3) is not a type that rowfall knows
    rowfall cannot write columns of type : `` is not a type
    rowfall cannot write columns of type Nullable(: `Nullable(` is not a type
    rowfall cannot write columns of type Tuple(a b c): `b c` is not a type
    ");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}|((Array|Map|Tuple|Nullable|Variant|Enum8|Nested|Int8|String|a|'b'|=|1|,| )\\(?\\)?){0,12}") {
        if let Ok(column) = parse(&text) {
            // What is sent is a type itself, and takes the same values.
            prop_assert_eq!(parse(&column.full_name()).unwrap().value, column.value);
        }
    }
}

#[test]
fn depth_has_an_end() {
    let nested = |depth| format!("{}Int8{}", "Array(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(64)).is_ok());
    assert!(parse(&nested(65)).unwrap_err().0.ends_with("more than 64 types within types"));
    assert!(parse(&nested(100_000)).is_err());
}
