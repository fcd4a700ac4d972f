//! The edges of every ClickHouse type: its first and its last value, zero, nothing, the longest; each from JSON text
//! through program and encoder into a real table and back as the server's own text, bare and wrapped in whatever may
//! hold it. The expected texts are written down here. What lies just outside is refused by name.

use std::fmt::Write as _;
use std::sync::Arc;

use rowfall::config::Route;
use rowfall::decode::{JsonDecoder, Program};
use rowfall_dialects::contract::{Compression, Connection, TableName, Target};
use rowfall_services::ClickHouse;

use crate::{support, types};

/// A type; values as JSON and as ClickHouse's `toString`; values that are refused, and why.
type Edges = (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

const RANGE: &str = "out of its range";
const DIGITS: &str = "more digits behind the point";

/// Types that may stand in Nullable, Array, Tuple, Map and Variant.
const SCALARS: &[Edges] = &[
    (
        "Int8",
        &[("-128", "-128"), ("127", "127"), ("0", "0"), ("-0", "0"), ("true", "1")],
        &[("-129", RANGE), ("128", RANGE), ("0.5", DIGITS)],
    ),
    ("Int16", &[("-32768", "-32768"), ("32767", "32767")], &[("-32769", RANGE), ("32768", RANGE)]),
    (
        "Int32",
        &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")],
        &[("-2147483649", RANGE), ("2147483648", RANGE)],
    ),
    (
        "Int64",
        &[
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775807", "9223372036854775807"),
            ("9.223372036854775807e18", "9223372036854775807"),
        ],
        &[("-9223372036854775809", RANGE), ("9223372036854775808", RANGE), ("1e400", RANGE)],
    ),
    (
        "Int128",
        &[
            ("-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728"),
            ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
        ],
        &[("-170141183460469231731687303715884105729", RANGE), ("170141183460469231731687303715884105728", RANGE)],
    ),
    (
        "Int256",
        &[
            (
                "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
                "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
            ),
            (
                "57896044618658097711785492504343953926634992332820282019728792003956564819967",
                "57896044618658097711785492504343953926634992332820282019728792003956564819967",
            ),
        ],
        &[
            ("-57896044618658097711785492504343953926634992332820282019728792003956564819969", RANGE),
            ("57896044618658097711785492504343953926634992332820282019728792003956564819968", RANGE),
        ],
    ),
    ("UInt8", &[("0", "0"), ("-0", "0"), ("255", "255")], &[("-1", RANGE), ("256", RANGE)]),
    ("UInt16", &[("0", "0"), ("65535", "65535")], &[("-1", RANGE), ("65536", RANGE)]),
    ("UInt32", &[("0", "0"), ("4294967295", "4294967295")], &[("-1", RANGE), ("4294967296", RANGE)]),
    (
        "UInt64",
        &[("0", "0"), ("18446744073709551615", "18446744073709551615")],
        &[("-1", RANGE), ("18446744073709551616", RANGE)],
    ),
    (
        "UInt128",
        &[("0", "0"), ("340282366920938463463374607431768211455", "340282366920938463463374607431768211455")],
        &[("-1", RANGE), ("340282366920938463463374607431768211456", RANGE)],
    ),
    (
        "UInt256",
        &[
            ("0", "0"),
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            ),
        ],
        &[("-1", RANGE), ("115792089237316195423570985008687907853269984665640564039457584007913129639936", RANGE)],
    ),
    (
        "Float32",
        &[
            ("0", "0"),
            ("-0", "-0"),
            ("1e-45", "1e-45"),
            ("3.4028235e38", "3.4028235e38"),
            ("\"NaN\"", "nan"),
            ("\"-Infinity\"", "-inf"),
            ("16777217", "16777216"),
            ("1e-50", "0"),
        ],
        &[("3.4028236e38", RANGE), ("-1e39", RANGE), ("\"x\"", "not a number")],
    ),
    (
        "Float64",
        &[
            ("0", "0"),
            ("-0", "-0"),
            ("-0.0", "-0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("\"Infinity\"", "inf"),
            ("0.1", "0.1"),
            ("1e-400", "0"),
        ],
        &[("1.7976931348623159e308", RANGE), ("-1e309", RANGE)],
    ),
    (
        "Bool",
        &[("true", "true"), ("false", "false"), ("0", "false"), ("1", "true")],
        &[("2", RANGE), ("-1", RANGE), ("\"true\"", "a string")],
    ),
    (
        "Decimal(9, 2)",
        &[
            ("9999999.99", "9999999.99"),
            ("-9999999.99", "-9999999.99"),
            ("0", "0"),
            ("-0", "0"),
            ("1e-2", "0.01"),
            ("\"1.500\"", "1.5"),
        ],
        &[("10000000", RANGE), ("0.001", DIGITS)],
    ),
    (
        "Decimal(18, 18)",
        &[("0.999999999999999999", "0.999999999999999999"), ("-0.000000000000000001", "-0.000000000000000001")],
        &[("1", RANGE), ("1e-19", DIGITS)],
    ),
    (
        "Decimal(38, 0)",
        &[("99999999999999999999999999999999999999", "99999999999999999999999999999999999999")],
        &[("1e38", RANGE), ("0.1", DIGITS)],
    ),
    (
        "Decimal(76, 38)",
        &[
            (
                "99999999999999999999999999999999999999.99999999999999999999999999999999999999",
                "99999999999999999999999999999999999999.99999999999999999999999999999999999999",
            ),
            (
                "-99999999999999999999999999999999999999.99999999999999999999999999999999999999",
                "-99999999999999999999999999999999999999.99999999999999999999999999999999999999",
            ),
        ],
        &[("1e38", RANGE), ("1e-39", DIGITS)],
    ),
    (
        "String",
        &[
            ("\"\"", ""),
            ("\"a\\u0000b\"", "a\0b"),
            ("\"\\ud83e\\udd80 é\\n\\t\\\\\\\"\"", "🦀 é\n\t\\\""),
            ("1.50", "1.50"),
            ("\"\\u0000\"", "\0"),
        ],
        &[("\"\\ud800\"", "a string that JSON allows")],
    ),
    (
        "FixedString(4)",
        &[("\"\"", ""), ("\"🦀\"", "🦀"), ("\"abcd\"", "abcd"), ("\"\\u0000\"", ""), ("\"\\u0000a\"", "\0a")],
        &[("\"abcde\"", "longer"), ("\"🦀a\"", "longer"), ("1", "a number")],
    ),
    (
        "Enum8('first' = -128, '' = 0, 'ü''s' = 127)",
        &[("\"first\"", "first"), ("\"\"", ""), ("\"ü's\"", "ü's"), ("-128", "first")],
        &[("\"last\"", "does not have"), ("1", "does not have")],
    ),
    (
        "Enum16('a' = -32768, 'b' = 32767)",
        &[("\"a\"", "a"), ("32767", "b")],
        &[("\"A\"", "does not have"), ("0", "does not have")],
    ),
    (
        "UUID",
        &[
            ("\"00000000-0000-0000-0000-000000000000\"", "00000000-0000-0000-0000-000000000000"),
            ("\"FFFFFFFF-ffff-ffff-ffff-fffffffffffe\"", "ffffffff-ffff-ffff-ffff-fffffffffffe"),
        ],
        &[("\"00000000-0000-0000-0000-00000000000\"", "not a UUID"), ("0", "a number")],
    ),
    (
        "IPv4",
        &[("\"0.0.0.0\"", "0.0.0.0"), ("\"255.255.255.255\"", "255.255.255.255")],
        &[("\"256.0.0.0\"", "IPv4"), ("\"::1\"", "IPv4")],
    ),
    (
        "IPv6",
        &[
            ("\"::\"", "::"),
            ("\"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("\"::ffff:1.2.3.4\"", "::ffff:1.2.3.4"),
        ],
        &[("\"1.2.3.4\"", "IPv6")],
    ),
    (
        "Date",
        &[("\"1970-01-01\"", "1970-01-01"), ("\"2149-06-06\"", "2149-06-06")],
        &[("\"1969-12-31\"", RANGE), ("\"2149-06-07\"", RANGE), ("\"2023-02-29\"", "not a date"), ("0", "a number")],
    ),
    (
        "Date32",
        &[("\"1900-01-01\"", "1900-01-01"), ("\"2299-12-31\"", "2299-12-31")],
        &[("\"1899-12-31\"", RANGE), ("\"2300-01-01\"", RANGE), ("\"2024-W09-4\"", "a week")],
    ),
    (
        "DateTime('UTC')",
        &[
            ("\"1970-01-01T00:00:00Z\"", "1970-01-01 00:00:00"),
            ("\"2106-02-07T06:28:15Z\"", "2106-02-07 06:28:15"),
            ("4294967295", "2106-02-07 06:28:15"),
        ],
        &[
            ("\"1969-12-31T23:59:59Z\"", RANGE),
            ("\"2106-02-07T06:28:16Z\"", RANGE),
            ("4294967296", "no count of its ticks"),
            ("\"2024-01-01T00:00:00.5Z\"", DIGITS),
        ],
    ),
    (
        "DateTime('Asia/Tokyo')",
        &[
            ("\"1970-01-01T09:00:00\"", "1970-01-01 09:00:00"),
            ("\"1970-01-01T00:00:00Z\"", "1970-01-01 09:00:00"),
            ("\"2024-07-01 12:00:00 +0200\"", "2024-07-01 19:00:00"),
        ],
        &[("\"1970-01-01T08:59:59\"", RANGE)],
    ),
    (
        "DateTime64(0, 'UTC')",
        &[("\"1900-01-01T00:00:00Z\"", "1900-01-01 00:00:00"), ("\"2299-12-31T23:59:59Z\"", "2299-12-31 23:59:59")],
        &[
            ("\"1899-12-31T23:59:59Z\"", RANGE),
            ("\"2300-01-01T00:00:00Z\"", RANGE),
            ("\"2016-12-31T23:59:60Z\"", "a leap second"),
        ],
    ),
    (
        "DateTime64(3, 'Europe/Berlin')",
        // Summer time begins and ends: before the gap, in it, in the hour that comes twice.
        &[
            ("\"2024-03-31 01:59:59.999\"", "2024-03-31 01:59:59.999"),
            ("\"2024-03-31 02:30:00\"", "2024-03-31 03:30:00.000"),
            ("\"2024-10-27T00:30:00Z\"", "2024-10-27 02:30:00.000"),
            ("\"2299-12-31T23:59:59.999+00:00\"", "2300-01-01 00:59:59.999"),
        ],
        &[("\"2024-03-31 02:30:00.0001\"", DIGITS), ("\"2024-03-31 24:00:00\"", "the hour 24")],
    ),
    (
        "DateTime64(6, 'UTC')",
        &[
            ("\"1900-01-01T00:00:00.000000Z\"", "1900-01-01 00:00:00.000000"),
            ("\"2299-12-31T23:59:59.999999Z\"", "2299-12-31 23:59:59.999999"),
            ("-1", "1969-12-31 23:59:59.999999"),
        ],
        &[("\"2300-01-01T00:00:00Z\"", RANGE)],
    ),
    (
        "DateTime64(9, 'UTC')",
        &[
            ("\"1900-01-01T00:00:00Z\"", "1900-01-01 00:00:00.000000000"),
            ("\"2262-04-11T23:47:16.854775807Z\"", "2262-04-11 23:47:16.854775807"),
            ("9223372036854775807", "2262-04-11 23:47:16.854775807"),
        ],
        &[
            ("\"2262-04-11T23:47:16.854775808Z\"", RANGE),
            ("\"1899-12-31T23:59:59.999999999Z\"", RANGE),
            ("9223372036854775808", "no count of its ticks"),
        ],
    ),
    (
        "Time",
        &[
            ("\"-999:59:59\"", "-999:59:59"),
            ("\"999:59:59\"", "999:59:59"),
            ("\"00:00:00\"", "00:00:00"),
            ("-1", "-00:00:01"),
        ],
        &[("\"1000:00:00\"", RANGE), ("3600000", RANGE), ("\"1:00:00.5\"", DIGITS)],
    ),
    (
        "Time64(9)",
        &[("\"-999:59:59.999999999\"", "-999:59:59.999999999"), ("\"999:59:59.999999999\"", "999:59:59.999999999")],
        &[("\"1000:00:00\"", RANGE)],
    ),
];

/// Types that stand alone.
const NESTED: &[Edges] = &[
    (
        "Array(Int8)",
        &[("[]", "[]"), ("[-128,127]", "[-128,127]"), ("\"[1]\"", "[1]")],
        &[("[1,128]", "element 1"), ("[null]", "element 0"), ("{}", "an object"), ("null", "not nullable")],
    ),
    (
        "Array(Array(Array(Nullable(String))))",
        &[("[[],[[]],[[null,\"\"]]]", "[[],[[]],[[NULL,'']]]")],
        &[("[[1]]", "element 0")],
    ),
    (
        "Map(String, Array(UInt8))",
        &[("{}", "{}"), ("{\"\":[],\"k\":[255]}", "{'':[],'k':[255]}")],
        &[("{\"k\":[256]}", "value 0"), ("[]", "an array")],
    ),
    (
        "Map(Date, Map(UInt64, Bool))",
        &[("{\"1970-01-01\":{\"18446744073709551615\":true}}", "{'1970-01-01':{18446744073709551615:true}}")],
        &[("{\"x\":{}}", "key 0")],
    ),
    (
        "Tuple(a Int8, b Nullable(Int8))",
        &[("{\"a\":1}", "(1,NULL)"), ("[1,2]", "(1,2)")],
        &[("{\"b\":1}", "lacks the part `a`"), ("[1]", "1 parts instead of 2"), ("{\"a\":1,\"c\":1}", "`c`")],
    ),
    ("Nullable(Tuple(Int8, String))", &[("null", "NULL"), ("[1,\"x\"]", "(1,'x')")], &[("[]", "0 parts instead of 2")]),
    ("Point", &[("[0,-1.5]", "(0,-1.5)")], &[("[0]", "1 parts"), ("[0,0,0]", "more than 2 parts")]),
    ("Ring", &[("[]", "[]"), ("[[0,0],[1,1]]", "[(0,0),(1,1)]")], &[("[0,0]", "element 0")]),
    ("LineString", &[("[[0,0],[1,1]]", "[(0,0),(1,1)]")], &[("1", "a number")]),
    ("MultiLineString", &[("[[[0,0]],[]]", "[[(0,0)],[]]")], &[("[[0,0]]", "element 0")]),
    ("Polygon", &[("[[[0,0],[1,1]]]", "[[(0,0),(1,1)]]")], &[("[[[0]]]", "element 0")]),
    ("MultiPolygon", &[("[]", "[]"), ("[[[[0,0]]]]", "[[[(0,0)]]]")], &[("[[[0,0]]]", "element 0")]),
    (
        "JSON",
        &[("{}", "{}"), ("{\"a\":{\"b\":[1,null]}}", "{\"a\":{\"b\":[1,null]}}")],
        &[("[]", "an array"), ("1", "a number")],
    ),
    (
        "Variant(Int64, String, Array(UInt8))",
        &[("null", "NULL"), ("9223372036854775807", "9223372036854775807"), ("\"\"", ""), ("[]", "[]")],
        &[],
    ),
    (
        "Dynamic",
        &[("null", "NULL"), ("18446744073709551615", "18446744073709551615"), ("-0.5", "-0.5"), ("true", "true")],
        &[],
    ),
    ("LowCardinality(Nullable(String))", &[("null", "NULL"), ("\"\"", ""), ("\"🦀\"", "🦀")], &[]),
    ("SimpleAggregateFunction(sum, UInt64)", &[("18446744073709551615", "18446744073709551615")], &[("-1", RANGE)]),
];

/// In what a scalar is wrapped: the type, the JSON around it, what reads it.
const WRAPPED: &[(&str, &str, &str)] = &[
    ("{}", "{}", "{}"),
    ("Nullable({})", "{}", "assumeNotNull({})"),
    ("Array({})", "[{}]", "{}[1]"),
    ("Tuple(x {})", "{\"x\":{}}", "{}.x"),
    ("Map(String, {})", "{\"k\":{}}", "{}['k']"),
    ("Array(Tuple(Nullable({}), Int8))", "[[{},1]]", "assumeNotNull({}[1].1)"),
    ("LowCardinality({})", "{}", "{}"),
    ("Variant({})", "{}", "variantElement({}, '{T}')"),
];

const ALONE: &[(&str, &str, &str)] = &[("{}", "{}", "if(isNull({}), 'NULL', toString({}))")];

fn may_wrap(wrapped: &str, type_text: &str) -> bool {
    let starts = |names: &[&str]| names.iter().any(|name| type_text.starts_with(name));
    match wrapped {
        // Its dictionary keeps one zero for 0 and -0, so that floats are left out too.
        "LowCardinality({})" => !starts(&[
            "Float",
            "Decimal",
            "Enum",
            "Bool",
            "DateTime64",
            "Time",
            "Int256",
            "UInt256",
            "Int128",
            "UInt128",
        ]),
        _ => true,
    }
}

fn connect(clickhouse: &ClickHouse, runtime: &tokio::runtime::Runtime) -> Connection {
    let target = Target::parse(&support::target(clickhouse), Compression::Auto).expect("a URL");
    runtime.block_on(rowfall_dialects::connect(&target)).expect("connected")
}

/// All values of the type, and of it in each of the wraps, in one table.
fn check(
    clickhouse: &ClickHouse,
    connection: &Connection,
    runtime: &tokio::runtime::Runtime,
    edges: &Edges,
    wraps: &[(&str, &str, &str)],
) -> Vec<String> {
    let (type_text, values, refused) = edges;
    let wraps: Vec<_> = wraps.iter().filter(|(wrapped, ..)| may_wrap(wrapped, type_text)).collect();
    let name = support::unique("edges");
    let (mut columns, mut shown) = ("`row` UInt32".to_owned(), "`row`".to_owned());
    for (index, (wrapped, _, read)) in wraps.iter().enumerate() {
        write!(columns, ", c{index} {}", wrapped.replace("{}", type_text)).expect("a String can be written to");
        let read = read.replace("{T}", &type_text.replace('\'', "\\'")).replace("{}", &format!("c{index}"));
        write!(shown, ", ifNull(toString({read}), 'NULL')").expect("a String can be written to");
    }
    support::query(
        clickhouse,
        &format!("CREATE TABLE {name} ({columns}) ENGINE = Memory SETTINGS allow_suspicious_low_cardinality_types = 1"),
    );
    let record = |row: usize, json: &str| {
        let mut record = format!("{{\"row\":{row}");
        for (index, (_, around, _)) in wraps.iter().enumerate() {
            write!(record, ",\"c{index}\":{}", around.replace("{}", json)).expect("a String can be written to");
        }
        record + "}"
    };
    let records: Vec<_> = values.iter().enumerate().map(|(row, (json, _))| record(row, json)).collect();
    runtime.block_on(types::write(connection, &name, &records));
    let rows =
        support::query(clickhouse, &format!("SELECT {shown} FROM {name} ORDER BY `row` FORMAT JSONCompactEachRow"));
    let rows: Vec<Vec<serde_json::Value>> = rows.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    assert_eq!(rows.len(), values.len(), "{type_text}");
    let mut wrong = Vec::new();
    for ((json, expected), row) in values.iter().zip(&rows) {
        for ((wrapped, ..), said) in wraps.iter().zip(&row[1..]) {
            if said != expected {
                wrong.push(format!("{json} in {}: {said}, not {expected}", wrapped.replace("{}", type_text)));
            }
        }
    }

    let table =
        runtime.block_on(connection.session.describe(&TableName::parse(&name))).expect("described").expect("exists");
    let program =
        Arc::new(Program::compile(&Arc::new(table), &Route::new("t", TableName::parse(&name))).expect("compiles"));
    for (json, why) in *refused {
        // One wrap at a time: the first column that refuses ends the record.
        for (index, (wrapped, around, _)) in wraps.iter().enumerate() {
            let mut columns = program.layout.empty_columns();
            let record = format!("{{\"c{index}\":{}}}", around.replace("{}", json));
            let wrapped_type = wrapped.replace("{}", type_text);
            match JsonDecoder::new(Arc::clone(&program)).decode(record.as_bytes(), &mut columns, 0) {
                Ok(()) => wrong.push(format!("{json} in {wrapped_type}: not refused")),
                Err(bad) => {
                    let column = bad.column.as_ref().map(|(name, _)| name.clone());
                    // A variant tries all of its types, and says that none fits.
                    let is_told = bad.reason.contains(why) || wrapped.starts_with("Variant");
                    if column != Some(format!("c{index}")) || !is_told {
                        wrong.push(format!("{json} in {wrapped_type}: {bad}"));
                    }
                }
            }
            assert_eq!(columns, program.layout.empty_columns());
        }
    }
    support::query(clickhouse, &format!("DROP TABLE {name}"));
    wrong
}

#[test]
fn the_edges_of_every_type() {
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let connection = connect(&clickhouse, &runtime);
    let mut wrong = Vec::new();
    for (all, wraps) in [(SCALARS, WRAPPED), (NESTED, ALONE)] {
        all.iter().for_each(|edges| wrong.extend(check(&clickhouse, &connection, &runtime, edges, wraps)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_texts_and_deep_types() {
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let connection = connect(&clickhouse, &runtime);
    let name = support::unique("edges");
    let deep = format!("{}Int8{}", "Array(".repeat(60), ")".repeat(60));
    support::query(
        &clickhouse,
        &format!(
            "CREATE TABLE {name} (s String, l LowCardinality(String), f FixedString(65536), d {deep}, e {deep}) ENGINE = Memory \
             SETTINGS allow_suspicious_fixed_string_types = 1"
        ),
    );
    let long = "🦀\u{0}é".repeat(150_000);
    let fixed = "x".repeat(65_536);
    let text = serde_json::to_string(&long).expect("a string can be written");
    let record =
        format!("{{\"s\":{text},\"l\":{text},\"f\":\"{fixed}\",\"d\":{}7{},\"e\":[]}}", "[".repeat(60), "]".repeat(60));
    runtime.block_on(types::write(&connection, &name, &[record]));
    let said = support::query(
        &clickhouse,
        &format!(
            "SELECT s = repeat('🦀\\0é', 150000), l = s, f = repeat('x', 65536), toString(d) = concat(repeat('[', 60), '7', \
             repeat(']', 60)), toString(e) FROM {name}"
        ),
    );
    assert_eq!(said, "1\t1\t1\t1\t[]");
}

#[test]
fn types_that_are_not_written_are_refused_by_name() {
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let connection = connect(&clickhouse, &runtime);
    let name = support::unique("edges");
    support::query(
        &clickhouse,
        &format!(
            "CREATE TABLE {name} (id Int8, a AggregateFunction(sum, UInt64), b BFloat16, q QBit(Float32, 8), i IntervalDay, \
             g Geometry, t Tuple(), v Variant(LowCardinality(String), UInt8)) ENGINE = Memory \
             SETTINGS allow_experimental_qbit_type = 1"
        ),
    );
    let table =
        runtime.block_on(connection.session.describe(&TableName::parse(&name))).expect("described").expect("exists");
    let refused = Program::compile(&Arc::new(table), &Route::new("t", TableName::parse(&name))).expect_err("refused");
    let told: Vec<_> =
        refused.iter().map(|r| r.reason.trim_start_matches("rowfall cannot write columns of type ")).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    AggregateFunction(sum, UInt64): only ClickHouse makes its states: write the plain values, and let a materialized view aggregate
    BFloat16: most values would be rounded: declare it Float32
    QBit(Float32, 8): it is made from an Array by ClickHouse: fill it from one with MATERIALIZED
    IntervalDay: rowfall has no such type: declare the number, such as Int64
    Geometry: nothing says which of its shapes a list of points is: declare the shape, such as Polygon
    Tuple(): Tuple() is not a type that rowfall knows
    Variant(LowCardinality(String), UInt8): LowCardinality(String) inside Variant
    ");
}
