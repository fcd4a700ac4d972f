//! The program over sonic-rs, with serde_json as the oracle.

use super::oracle::SerdeJson;
use super::*;
use proptest::prelude::*;
use rowfall_dialects::contract::{
    ColumnDefault, EnumValue, Mark, StructField, TableColumn, TableName, TableSchema, ValueType, Values,
};

use crate::config::{ColumnSettings, NullPolicy, Route, Unit, UnknownFields};

pub(super) type Decode = fn(&mut Decoder, &[u8], &mut [Column], usize) -> Result<(), BadRecord>;

pub(super) fn column(name: &str, logical: &str, nullable: bool, default: ColumnDefault) -> TableColumn {
    TableColumn {
        name: name.to_owned(),
        type_text: logical.to_uppercase(),
        value: Ok(ValueType { nullable, ..ValueType::from(logical.parse::<LogicalType>().expect("a type")) }),
        default,
    }
}

fn program(columns: Vec<TableColumn>, unknown_fields: UnknownFields) -> Arc<Program> {
    let name = TableName::parse("shop.orders");
    let table = Arc::new(TableSchema::new(name.clone(), "MergeTree", columns));
    let route = Route { unknown_fields, ..Route::new("orders", name) };
    Arc::new(Program::compile(&table, &route).expect("compiles"))
}

/// What one value becomes in this column, as `show` shows it, or why it is refused; by both libraries, which must agree.
fn decoded(column: TableColumn, json: &str, show: impl Fn(&Column) -> String) -> String {
    decoded_by(column, None, json, show)
}

fn decoded_by(column: TableColumn, unit: Option<Unit>, json: &str, show: impl Fn(&Column) -> String) -> String {
    let name = column.type_text.clone();
    let settings = ColumnSettings { unit, ..super::flatten_tests::settings(&column.name, &column.name, None) };
    let table = TableName::parse("shop.orders");
    let route = Route { columns: vec![settings], ..Route::new("orders", table.clone()) };
    let table = Arc::new(TableSchema::new(table, "MergeTree", vec![column]));
    let program = Arc::new(Program::compile(&table, &route).expect("compiles"));
    let record = format!("{{\"v\":{json}}}");
    let run = |decode: Decode| {
        let mut columns = program.layout.empty_columns();
        let mut decoder = Decoder::new(Arc::clone(&program));
        match decode(&mut decoder, record.as_bytes(), &mut columns, 0) {
            Err(bad) => {
                assert_eq!(columns, program.layout.empty_columns(), "a bad record leaves no trace");
                bad.reason
            }
            Ok(()) => show(&columns[0]),
        }
    };
    let (ours, oracle) = (run(Decoder::decode_with::<Sonic>), run(Decoder::decode_with::<SerdeJson>));
    // Where the syntax is wrong they point to different bytes.
    assert_eq!(ours.split(" (byte").next(), oracle.split(" (byte").next(), "{name} {json}");
    ours
}

/// [`decoded`] in a column of a nested type.
fn nested_value(logical: &LogicalType, json: &str) -> String {
    let column = TableColumn {
        name: "v".to_owned(),
        type_text: logical.to_string(),
        value: Ok(logical.clone().into()),
        default: ColumnDefault::None,
    };
    decoded(column, json, |column| format!("{:?}", column.values))
}

/// [`decoded`] in a nullable column of a type with a name.
fn value(logical: &str, json: &str) -> String {
    decoded(column("v", logical, true, ColumnDefault::None), json, |column| match &column.values {
        _ if column.marks.get(0) == Mark::Null => "null".to_owned(),
        Values::Text(text) => String::from_utf8_lossy(text.row(0)).into_owned(),
        Values::Int256(v) => ethnum::I256::from_le_bytes(v[0]).to_string(),
        values => format!("{values:?}").split_once('[').expect("a list").1.replace("])", ""),
    })
}

fn one(logical: &str) -> Arc<Program> {
    program(vec![column("v", logical, true, ColumnDefault::None)], UnknownFields::Error)
}

#[test]
fn numbers_arrive_exactly_or_are_refused() {
    assert_eq!(value("int64", "9007199254740993"), "9007199254740993");
    assert_eq!(value("int64", "\"9007199254740993\""), "9007199254740993");
    assert_eq!(value("int64", "-9223372036854775808"), "-9223372036854775808");
    assert_eq!(value("int64", "9223372036854775808"), "takes int64, the value is out of its range");
    assert_eq!(value("uint64", "18446744073709551615"), "18446744073709551615");
    assert_eq!(value("uint64", "18446744073709551616"), "takes uint64, the value is out of its range");
    assert_eq!(value("uint8", "-1"), "takes uint8, the value is out of its range");
    assert_eq!(value("int8", "128"), "takes int8, the value is out of its range");
    assert_eq!(value("int32", "1.0"), "1");
    assert_eq!(value("int32", "1e3"), "1000");
    assert_eq!(value("int32", "1.5"), "takes int32, the value has more digits behind the point");
    assert_eq!(value("int32", "true"), "takes int32, the record has a boolean");
    assert_eq!(value("int32", "\"x\""), "takes int32, the text is not a number");
    assert_eq!(value("float64", "0.1"), "0.1");
    assert_eq!(value("float64", "0"), "0.0");
    assert_eq!(value("float64", "-0"), "-0.0");
    assert_eq!(value("float64", "-0.0"), "-0.0");
    assert_eq!(value("int64", "-0"), "0");
    assert_eq!(value("float64", "1e400"), "takes float64, the value is out of its range");
    assert_eq!(value("float32", "16777217.000000001"), "16777218.0");
    assert_eq!(value("float32", "1e39"), "takes float32, the value is out of its range");
    assert_eq!(value("decimal(9,2)", "12.30"), "1230");
    assert_eq!(value("decimal(9,2)", "\"-12.3\""), "-1230");
    assert_eq!(value("decimal(9,2)", "0.005"), "takes decimal(9,2), the value has more digits behind the point");
    let digits = "7".repeat(76);
    assert_eq!(value("decimal(76,0)", &digits), digits);
    assert_eq!(value("bool", "true"), "1");
    assert_eq!(value("bool", "0"), "0");
    assert_eq!(value("bool", "2"), "takes bool, the value is out of its range");
}

#[test]
fn texts_keep_what_was_written() {
    assert_eq!(value("string", r#""grüß \"Gott\" \ud83d\ude00\u0000""#), "grüß \"Gott\" 😀\0");
    assert_eq!(value("string", "1.10"), "1.10");
    assert_eq!(value("string", "123456789012345678901234567890"), "123456789012345678901234567890");
    assert_eq!(value("string", r#"{"a": [1, 2.50]}"#), r#"{"a": [1, 2.50]}"#);
    assert_eq!(value("string", "false"), "false");
    assert_eq!(value("string", "null"), "null");
    assert_eq!(value("string", "1e400"), "1e400");
    assert_eq!(value("string", r#""\ud800""#), "takes string, the text is not a string that JSON allows");
    assert_eq!(value("string", r#"{"a":"\ud800"}"#), r#"{"a":"\ud800"}"#, "as it was written");
}

#[test]
fn json_that_is_taken_apart_is_unicode() {
    for whole in [r#"{"a":"\ud83e\udd80"}"#, r#"{"a":"\\ud800"}"#, r#"{"a":"\u0000\ue000"}"#, r#"{"a":"🦀\\"}"#] {
        assert_eq!(value("json", whole), whole);
    }
    for half in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":["\udd80\ud83e"]}"#, r#"{"a":"\ud83e\ud83e\udd80"}"#] {
        assert_eq!(
            value("json", half),
            "takes json, the text is not Unicode: half of a surrogate pair stands in it",
            "{half}"
        );
    }
}

#[test]
fn numbers_that_count_time() {
    let timestamp = |digits| LogicalType::Timestamp { digits };
    let counted = |logical: LogicalType, unit, json: &str| {
        let column = TableColumn {
            name: "v".to_owned(),
            type_text: logical.to_string(),
            value: Ok(logical.into()),
            default: ColumnDefault::None,
        };
        decoded_by(column, Some(unit), json, |column| format!("{:?}", column.values))
    };
    for json in ["1700000000.123", "1700000000.1230", "\"1700000000.123\"", "1700000000123e-3", "\"1.700000000123E9\""]
    {
        assert_eq!(counted(timestamp(3), Unit::Seconds, json), "Int64([1700000000123])", "{json}");
    }
    assert_eq!(counted(timestamp(0), Unit::Seconds, "1700000000"), "Int64([1700000000])");
    assert_eq!(counted(timestamp(9), Unit::Seconds, "1700000000"), "Int64([1700000000000000000])");
    assert_eq!(counted(timestamp(9), Unit::Seconds, "-0.000000001"), "Int64([-1])");
    assert_eq!(counted(timestamp(3), Unit::Microseconds, "1700000000123000"), "Int64([1700000000123])");
    let too_precise = "takes timestamp(3), the value has more digits behind the point";
    assert_eq!(counted(timestamp(3), Unit::Microseconds, "1700000000123001"), too_precise);
    assert_eq!(counted(timestamp(3), Unit::Seconds, "1700000000.1234"), too_precise);
    assert_eq!(counted(timestamp(6), Unit::Nanoseconds, "1700000000123456000"), "Int64([1700000000123456])");
    assert_eq!(counted(timestamp(0), Unit::Milliseconds, "1700000000000"), "Int64([1700000000])");
    let out = "takes timestamp(9), the value is out of its range";
    assert_eq!(counted(timestamp(9), Unit::Seconds, "17000000000"), out);
    assert_eq!(counted(timestamp(9), Unit::Milliseconds, "18446744073709551615"), out);
    assert_eq!(counted(timestamp(3), Unit::Seconds, "\"2024-02-29T12:34:56.789Z\""), "Int64([1709210096789])");
    assert_eq!(counted(timestamp(3), Unit::Seconds, "true"), "takes timestamp(3), the record has a boolean");
    assert_eq!(counted(LogicalType::Date, Unit::Days, "19782"), "Int32([19782])");
    assert_eq!(counted(LogicalType::Date, Unit::Days, "\"-1\""), "Int32([-1])");
    assert_eq!(counted(LogicalType::Date, Unit::Days, "\"2024-02-29\""), "Int32([19782])");
    assert_eq!(counted(LogicalType::Date, Unit::Milliseconds, "1709164800000"), "Int32([19782])");
    assert_eq!(
        counted(LogicalType::Date, Unit::Milliseconds, "1709164800001"),
        "takes date, the value has a time of day"
    );
    assert_eq!(counted(LogicalType::Date, Unit::Days, "1.5"), "takes date, the value has more digits behind the point");
    let list = LogicalType::List(Arc::new(timestamp(3).into()));
    assert!(counted(list, Unit::Seconds, "[1, 0.5]").contains("Int64([1000, 500])"));
}

#[test]
fn a_number_that_counts_no_time_says_how_to_name_its_unit() {
    let hint = |logical: &str, json: &str| {
        let program = one(logical);
        let mut columns = program.layout.empty_columns();
        let record = format!("{{\"v\":{json}}}");
        let bad = Decoder::new(program).decode(record.as_bytes(), &mut columns, 0).expect_err("refused");
        (bad.reason, bad.hint.contains("`columns.v.unit: s`"))
    };
    let ticks = "takes timestamp(3), the number is no count of its ticks in its range".to_owned();
    assert_eq!(hint("timestamp(3)", "1700000000.5"), (ticks.clone(), true));
    assert_eq!(hint("timestamp(3)", "18446744073709551615"), (ticks, true));
    assert_eq!(hint("date", "19782"), ("takes date, the record has a number".to_owned(), true));
    assert_eq!(hint("date", "19782.5"), ("takes date, the record has a number".to_owned(), true));
    assert!(!hint("timestamp(3)", "\"2024-02-30\"").1);
    assert!(!hint("int8", "300").1);
}

#[test]
fn times_and_uuids() {
    assert_eq!(value("timestamp(3)", "\"2024-02-29T12:34:56.789Z\""), "1709210096789");
    assert_eq!(value("timestamp(3)", "1709210096789"), "1709210096789");
    assert_eq!(
        value("timestamp(3)", "\"2024-02-29T12:34:56.7891Z\""),
        "takes timestamp(3), the value has more digits behind the point"
    );
    assert_eq!(value("date", "\"2024-02-29\""), "19782");
    assert_eq!(value("date", "19782"), "takes date, the record has a number");
    assert_eq!(value("uuid", "\"00000000-0000-0000-0000-000000000001\"").matches('0').count(), 15);
    assert_eq!(value("uuid", "\"x\""), "takes uuid, the text is not a UUID");
}

#[test]
fn wide_integers_addresses_and_times() {
    let widest = ethnum::U256::MAX.to_string();
    assert_eq!(value("int128", "-170141183460469231731687303715884105728"), i128::MIN.to_string());
    assert_eq!(value("uint128", &u128::MAX.to_string()), u128::MAX.to_string());
    assert_eq!(value("uint128", "-1"), "takes uint128, the value is out of its range");
    assert_eq!(value("uint256", &widest), "-1", "all bits are set");
    assert_eq!(value("uint256", "0"), "0");
    assert_eq!(value("int256", &widest), "takes int256, the value is out of its range");
    assert_eq!(value("int256", &ethnum::I256::MIN.to_string()), ethnum::I256::MIN.to_string());
    assert_eq!(value("ipv4", "\"127.0.0.1\""), "2130706433");
    assert_eq!(value("ipv4", "\"127.0.0.256\""), "takes ipv4, the text is not an IPv4 address");
    assert_eq!(value("ipv6", "\"::1\"").matches('0').count(), 15);
    assert_eq!(value("ipv6", "1"), "takes ipv6, the record has a number");
    assert_eq!(value("time(3)", "\"-12:34:56.5\""), "-45296500");
    assert_eq!(value("json", r#"{"a": 9007199254740993}"#), r#"{"a": 9007199254740993}"#);
    assert_eq!(value("json", r#""{\"a\":1}""#), r#"{"a":1}"#);
    assert_eq!(value("json", "[1]"), "takes json, the record has an array");
}

#[test]
fn nested_values_arrive_whole_or_say_where_they_do_not_fit() {
    let list = |element: ValueType| LogicalType::List(Arc::new(element));
    let nullable = |logical| ValueType { nullable: true, ..ValueType::from(logical) };
    let numbers = list(LogicalType::UInt8.into());
    let nested = list(list(nullable(LogicalType::UInt8)).into());
    assert!(nested_value(&nested, "[[1, null],[], [3]]").contains("UInt8([1, 0, 3])"));
    assert_eq!(nested_value(&numbers, "[1, 256]"), "element 1 takes uint8, the value is out of its range");
    assert_eq!(nested_value(&numbers, "[null]"), "element 0 is not nullable, the record has null");
    assert_eq!(
        nested_value(&nested, "[[1],[2,-3]]"),
        "element 1, element 1 takes uint8, the value is out of its range"
    );
    assert_eq!(nested_value(&numbers, "1"), "takes list(uint8), the record has a number");
    assert!(nested_value(&numbers, "\"[1,2]\"").contains("UInt8([1, 2])"), "JSON in a string");
    let map = LogicalType::Map(Arc::new((LogicalType::String.into(), LogicalType::Int64.into())));
    assert!(nested_value(&map, r#"{"a":1,"b":2}"#).contains("Int64([1, 2])"));
    assert_eq!(nested_value(&map, r#"{"a":"x"}"#), "value 0 takes int64, the text is not a number");
    let by_number = LogicalType::Map(Arc::new((LogicalType::UInt8.into(), LogicalType::Bool.into())));
    assert!(nested_value(&by_number, r#"{"1":true}"#).contains("UInt8([1])"));
    let field = |name: &str, value: ValueType| StructField { name: Some(name.to_owned()), value };
    let record =
        LogicalType::Struct([field("a", LogicalType::Int8.into()), field("b", nullable(LogicalType::String))].into());
    assert!(nested_value(&record, r#"{"b":"x","a":1}"#).contains("Int8([1])"));
    assert!(nested_value(&record, r#"{"a":1}"#).contains("Marks([1])"));
    assert!(nested_value(&record, r#"[1,"x"]"#).contains("Int8([1])"));
    assert_eq!(nested_value(&record, r#"{"b":"x"}"#), "takes struct(a int8, b string?), the value lacks the part `a`");
    assert_eq!(
        nested_value(&record, r#"{"a":1,"c":2}"#),
        "takes struct(a int8, b string?), the value has the part `c`, which the type lacks"
    );
    assert_eq!(
        nested_value(&record, r#"{"a":1,"a":2}"#),
        "takes struct(a int8, b string?), the value has the part `a` twice"
    );
    assert_eq!(nested_value(&record, "[1]"), "takes struct(a int8, b string?), the value has 1 parts instead of 2");
    let any =
        LogicalType::Variant([numbers.clone(), LogicalType::String, LogicalType::UInt64].map(ValueType::from).into());
    assert!(nested_value(&any, "42").contains("kinds: [2]"), "a number is a number before it is a text");
    assert!(nested_value(&any, "\"42\"").contains("kinds: [1]"));
    assert!(nested_value(&any, "[42]").contains("kinds: [0]"));
    assert!(nested_value(&any, "null").contains("kinds: [255]"));
    let color = |name: &str, number| EnumValue { name: name.to_owned(), number };
    let colors = LogicalType::Enum([color("red", -1), color("green", 300)].into());
    assert_eq!(nested_value(&colors, "\"green\""), "Int16([300])");
    assert_eq!(nested_value(&colors, "-1"), "Int16([-1])");
    assert_eq!(nested_value(&colors, "\"blue\""), "takes enum, which does not have the record's value");
    let code = LogicalType::FixedString { bytes: 3 };
    assert!(nested_value(&code, "\"ab\"").contains("[97, 98]"));
    assert_eq!(nested_value(&code, "\"abcd\""), "takes fixed(3), the text is longer");
}

/// JSON libraries spend stack on each, and the end of the stack is the end of the process.
#[test]
fn a_value_without_bottom_is_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(value("string", &deep(999)), deep(999));
    for levels in [1000, 100_000, 1_000_000] {
        assert_eq!(value("string", &deep(levels)), "objects and arrays lie more than 1000 deep in each other");
        assert_eq!(value("int8", &deep(levels)[..levels]), "objects and arrays lie more than 1000 deep in each other");
    }
    let many = format!("[{}[]]", "[],".repeat(2000));
    assert_eq!(value("string", &many), many);
    let in_string = format!("\"{}\"", "[\\\"".repeat(2000));
    assert_eq!(value("string", &in_string), "[\"".repeat(2000));
    let list = LogicalType::List(Arc::new(LogicalType::Int8.into()));
    let in_string = format!("\"{}\"", deep(1_000_000));
    assert_eq!(nested_value(&list, &in_string), "takes list(int8), the record has a string");
}

/// What fuzzing found: a string that is read over, or kept as it is written, is a string of JSON all the same.
#[test]
fn strings_without_a_column_of_their_own_are_checked_too() {
    for wrong in [r#""\u{5df""#, r#""\x""#, r#""\u00g0""#, "\"\u{1}\"", "\"\n\""] {
        for logical in ["string", "json"] {
            for json in [format!("[{wrong}]"), format!("{{\"a\":{wrong}}}"), format!("{{{wrong}:1}}")] {
                assert!(value(logical, &json).starts_with("the value is not JSON"), "{logical} {json}");
            }
        }
        let id = column("id", "int64", true, ColumnDefault::None);
        let program = program(vec![id], UnknownFields::Ignore);
        for decode in [Decoder::decode_with::<Sonic> as Decode, Decoder::decode_with::<SerdeJson>] {
            let mut columns = program.layout.empty_columns();
            let record = format!("{{\"x\":[{wrong}]}}");
            let bad = decode(&mut Decoder::new(Arc::clone(&program)), record.as_bytes(), &mut columns, 0);
            assert!(bad.is_err(), "{record}");
        }
    }
    assert_eq!(value("string", r#"["\ud800\/\"\\"]"#), r#"["\ud800\/\"\\"]"#);
}

#[test]
fn what_a_record_may_lack() {
    let program = program(
        vec![
            column("id", "int64", false, ColumnDefault::None),
            column("note", "string", true, ColumnDefault::None),
            column("at", "int64", false, ColumnDefault::Expression),
        ],
        UnknownFields::Error,
    );
    let mut decoder = Decoder::new(Arc::clone(&program));
    let mut columns = program.layout.empty_columns();
    let mut decode = |json: &str, row| decoder.decode(json.as_bytes(), &mut columns, row).map_err(|b| b.to_string());
    assert_eq!(decode(r#"{"id":1}"#, 0), Ok(()));
    assert_eq!(decode(r#" {"at":7,"note":"x","id":2} "#, 1), Ok(()));
    let error = |json: &str, expected: &str, decode: &mut dyn FnMut(&str, usize) -> Result<(), String>| {
        assert_eq!(decode(json, 2), Err(expected.to_owned()));
    };
    error(
        r#"{"note":"x"}"#,
        "column `id` INT64: the record lacks the field, and the column is neither nullable nor has it a DEFAULT",
        &mut decode,
    );
    error(r#"{"id":null}"#, "column `id` INT64: is not nullable, the record has null", &mut decode);
    error(r#"{"id":1,"idd":2}"#, "field `idd`: the table has no column for it", &mut decode);
    error(r#"{"id":1,"id":2}"#, "column `id` INT64: the record has the field twice", &mut decode);
    error(r#"[1]"#, "the value is an array, not an object", &mut decode);
    error(r#""#, "the value is not JSON (byte 0)", &mut decode);
    error(r#"{"id":1} x"#, "the value is not JSON (byte 9)", &mut decode);
    assert_eq!(columns.iter().map(Column::len).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!((columns[1].marks.get(0), columns[2].marks.get(0)), (Mark::Null, Mark::Absent));
    assert_eq!((columns[1].marks.get(1), columns[2].marks.get(1)), (Mark::Value, Mark::Value));
}

#[test]
fn unknown_fields_may_be_collected() {
    let id = column("id", "int64", false, ColumnDefault::None);
    let rest = column("rest", "string", false, ColumnDefault::None);
    let program = program(vec![id, rest], UnknownFields::Column("rest".to_owned()));
    let mut decoder = Decoder::new(Arc::clone(&program));
    let mut columns = program.layout.empty_columns();
    for (row, json) in [r#"{"a":1.50,"id":1,"b \"":{"c":[2]}}"#, r#"{"id":2}"#].into_iter().enumerate() {
        decoder.decode(json.as_bytes(), &mut columns, row).expect("decodes");
    }
    let Values::Text(text) = &columns[1].values else { panic!("a string column holds text") };
    assert_eq!(text.row(0), br#"{"a":1.50,"b \"":{"c":[2]}}"#);
    assert_eq!(text.row(1), b"{}");
}

#[test]
fn null_may_mean_the_default() {
    let name = TableName::parse("t");
    let columns =
        vec![column("id", "int64", false, ColumnDefault::None), column("n", "string", true, ColumnDefault::None)];
    let table = Arc::new(TableSchema::new(name.clone(), "", columns));
    let route = Route { null: NullPolicy::Default, ..Route::new("t", name) };
    let program = Arc::new(Program::compile(&table, &route).expect("compiles"));
    let mut decoder = Decoder::new(Arc::clone(&program));
    let mut columns = program.layout.empty_columns();
    for (row, json) in [r#"{"id":null,"n":null}"#, "{}"].into_iter().enumerate() {
        decoder.decode(json.as_bytes(), &mut columns, row).expect("decodes");
        assert_eq!((columns[0].marks.get(row), columns[1].marks.get(row)), (Mark::Absent, Mark::Null));
    }
}

proptest! {
    #[test]
    fn both_libraries_agree_on_any_number(integer in any::<i128>(), float in any::<f64>(), kind in 0usize..8) {
        let logical = ["int64", "uint64", "int8", "float64", "float32", "string", "decimal(38,4)", "timestamp(9)"];
        value(logical[kind], &integer.to_string());
        if float.is_finite() {
            value(logical[kind], &float.to_string());
            value(logical[kind], &format!("{float:e}"));
        }
    }

    #[test]
    fn both_libraries_agree_on_any_text(text in any::<String>()) {
        prop_assert_eq!(value("string", &serde_json::to_string(&text).expect("serializes")), text);
    }

    #[test]
    fn garbage_never_panics_and_leaves_no_trace(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let program = one("string");
        let mut columns = program.layout.empty_columns();
        if Decoder::new(Arc::clone(&program)).decode(&bytes, &mut columns, 0).is_err() {
            prop_assert_eq!(columns, program.layout.empty_columns());
        }
    }
}
