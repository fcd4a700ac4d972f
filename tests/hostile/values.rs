//! Values: what JSON can say that a column cannot hold, and what a column can hold that is easily lost on the way.

use std::sync::LazyLock;

use super::Then::{Is, Refused, Unread};
use super::{Then, Topic, all, fill, run, wrong};
use crate::places::{Database, Place};
use crate::support;

/// A record and what becomes of it in a table with one column, `v`.
struct Case {
    what: &'static str,
    /// Its type, as `columns:` says it: in ClickHouse, Postgres, MySQL, MariaDB, SQLite.
    column: [&'static str; 5],
    record: Vec<u8>,
    then: [Then; 5],
}

fn record(what: &'static str, column: [&'static str; 5], record: impl Into<Vec<u8>>, then: [Then; 5]) -> Case {
    Case { what, column, record: record.into(), then }
}

fn value(what: &'static str, column: &'static str, json: &str, then: [Then; 5]) -> Case {
    record(what, all(column), format!(r#"{{"v":{json}}}"#), then)
}

const RANGE: Then = Refused("out of its range");
const DIGITS: Then = Refused("more digits behind the point");
const NO_NUMBER: Then = Refused("the text is not a number");
const NO_TIME: Then = Refused("the text is not an ISO 8601 time");
const NO_DATE: Then = Refused("the text is not a date");
const NO_JSON: Then = Unread("the value is not JSON");
const LONG_YEAR: Then = Refused("a year");
const SURROGATE: Then = Refused("a string that JSON allows");

const NO_UUID: Then = Refused("the text is not a UUID");
const CHANGED: Then = Refused("would change a number");
const HALF: Then = Refused("half of a surrogate pair");
const NO_OBJECT: Then = Refused("the record has an array");

const NINES: &str = "9999999999999999999999999999999999999999999999999999999999999999999999999999";

/// A timestamp of milliseconds in all five: Postgres shows the zone.
fn instant(text: &'static str) -> [Then; 5] {
    [Is(text), Is(format!("{text}+00").leak()), Is(text), Is(text), Is(text)]
}

fn cases() -> Vec<Case> {
    let long: &str = "🦀".repeat(240_000).leak();
    let json = ["json", "json", "json", "json", "string"];
    let three_bytes = ["string", "string", "text character set utf8mb3", "text character set utf8mb3", "string"];
    vec![
        // Integers.
        value("the largest", "int64", "9223372036854775807", all(Is("9223372036854775807"))),
        value("the smallest", "int64", "-9223372036854775808", all(Is("-9223372036854775808"))),
        value("2^63", "int64", "9223372036854775808", all(RANGE)),
        value("-2^63-1", "int64", "-9223372036854775809", all(RANGE)),
        value("2^63 in a string", "int64", "\"9223372036854775808\"", all(RANGE)),
        value("2^63 with an exponent", "int64", "9.223372036854775808e18", all(RANGE)),
        value("2^63-1 with a point", "int64", "9223372036854775807.0", all(Is("9223372036854775807"))),
        value("2^63 where it fits", "uint64", "9223372036854775808", all(Is("9223372036854775808"))),
        value("2^64-1", "uint64", "18446744073709551615", all(Is("18446744073709551615"))),
        // What has no unsigned integers keeps them in decimals of 20 digits.
        value(
            "2^64",
            "uint64",
            "18446744073709551616",
            [RANGE, Is("18446744073709551616"), RANGE, RANGE, Is("18446744073709551616")],
        ),
        value("10^20", "uint64", "100000000000000000000", all(RANGE)),
        value("less than nothing", "uint64", "-1", [RANGE, Is("-1"), RANGE, RANGE, Is("-1")]),
        // SQLite gives every integer 64 bits.
        value("2^31", "int32", "2147483648", [RANGE, RANGE, RANGE, RANGE, Is("2147483648")]),
        value("a fraction", "int64", "1.5", all(DIGITS)),
        value("a fraction of zeros", "int64", "1.000", all(Is("1"))),
        value("an exponent", "int64", "12e2", all(Is("1200"))),
        value("an exponent beyond doubles", "int64", "1e400", all(RANGE)),
        value("an exponent below doubles", "int64", "1e-400", all(DIGITS)),
        value("nothing times anything", "int64", "0e999999999", all(Is("0"))),
        value("minus nothing", "int64", "-0", all(Is("0"))),
        value("an empty string", "int64", "\"\"", all(NO_NUMBER)),
        value("a space before it", "int64", "\" 1\"", all(NO_NUMBER)),
        value("another script's digit", "int64", "\"\u{ff11}\"", all(NO_NUMBER)),
        value("hexadecimal", "int64", "\"0x10\"", all(NO_NUMBER)),
        value("SQL", "int64", "\"1); DROP TABLE x; --\"", all(NO_NUMBER)),
        value("a boolean", "int64", "true", all(Refused("a boolean"))),
        value("an object", "int64", "{\"a\":1}", all(Refused("an object"))),
        value("an array", "int64", "[1]", all(Refused("an array"))),
        value("null where none may be", "{ type: int64, nullable: false }", "null", all(Refused("is not nullable"))),
        record(
            "nothing where something must be",
            all("{ type: int64, nullable: false }"),
            "{}",
            all(Refused("the record lacks the field")),
        ),
        // Floats.
        value("minus nothing", "float64", "-0.0", [Is("-0"), Is("-0"), Is("-0"), Is("-0"), Is("0.0")]),
        value("the largest", "float64", "1.7976931348623157e308", all(Is("1.7976931348623157e308"))),
        value("beyond the largest", "float64", "1.7976931348623159e308", all(RANGE)),
        value("1e400", "float64", "1e400", all(RANGE)),
        value("-1e400 in a string", "float64", "\"-1e400\"", all(RANGE)),
        value("the smallest denormal", "float64", "5e-324", all(Is("5e-324"))),
        value("the largest denormal", "float64", "-2.225073858507201e-308", all(Is("-2.225073858507201e-308"))),
        value("all digits that tell", "float64", "0.1000000000000000055511151231257827", all(Is("0.1"))),
        value(
            "no number",
            "float64",
            "\"NaN\"",
            [Is("nan"), Is("NaN"), Refused("NaN"), Refused("NaN"), Refused("NaN")],
        ),
        value(
            "infinity",
            "float64",
            "\"-Infinity\"",
            [Is("-inf"), Is("-Infinity"), Refused("infinities"), Refused("infinities"), Is("-Inf")],
        ),
        record("NaN as JavaScript writes it", all("float64"), "{\"v\":NaN}", all(NO_JSON)),
        value("a text", "float64", "\"one\"", all(NO_NUMBER)),
        // Decimals.
        value(
            "76 nines",
            "decimal(76,0)",
            NINES,
            [Is(NINES), Is(NINES), Refused("at most 65 digits"), Refused("at most 65 digits"), Is(NINES)],
        ),
        value(
            "76 digits behind the point",
            "decimal(76,76)",
            &format!("-0.{NINES}"),
            [
                Is(format!("-0.{NINES}").leak()),
                Is(format!("-0.{NINES}").leak()),
                Refused("at most 65 digits"),
                Refused("at most 65 digits"),
                Is(format!("-0.{NINES}").leak()),
            ],
        ),
        value(
            "77 digits",
            "decimal(76,0)",
            &format!("{NINES}9"),
            [RANGE, RANGE, Refused("at most 65 digits"), Refused("at most 65 digits"), RANGE],
        ),
        value(
            "as many as MySQL has",
            "decimal(65,30)",
            "99999999999999999999999999999999999.999999999999999999999999999999",
            all(Is("99999999999999999999999999999999999.999999999999999999999999999999")),
        ),
        value("a digit too many", "decimal(18,2)", "1.005", all(DIGITS)),
        value("a digit too many, in a string", "decimal(18,2)", "\"1.001\"", all(DIGITS)),
        value(
            "zeros at the end",
            "decimal(18,2)",
            "\"12.3400\"",
            [Is("12.34"), Is("12.34"), Is("12.34"), Is("12.34"), Is("12.34")],
        ),
        value("one more than it takes", "decimal(18,2)", "10000000000000000", all(RANGE)),
        value("as many as a double has", "decimal(15,2)", "-9999999999999.99", all(Is("-9999999999999.99"))),
        value("no number", "decimal(18,2)", "\"NaN\"", all(NO_NUMBER)),
        // Texts.
        value(
            "a NUL",
            "string",
            r#""a\u0000b""#,
            [Is("a\0b"), Refused("a NUL character"), Is("a\0b"), Is("a\0b"), Is("a\0b")],
        ),
        value(
            "nothing but a NUL",
            "string",
            r#""\u0000""#,
            [Is("\0"), Refused("a NUL character"), Is("\0"), Is("\0"), Is("\0")],
        ),
        value("SQL", "string", r#""'); DROP TABLE x; --""#, all(Is("'); DROP TABLE x; --"))),
        value("quotes", "string", r#""'\"`\\''\\'$1?%s:x{x:String}""#, all(Is("'\"`\\''\\'$1?%s:x{x:String}"))),
        value("what COPY and TSV mean by null", "string", r#""\\N""#, all(Is("\\N"))),
        value("line breaks", "string", r#""a\r\nb\tc\u001a\u0008""#, all(Is("a\r\nb\tc\u{1a}\u{8}"))),
        value("half a pair", "string", r#""\ud800""#, all(SURROGATE)),
        value("the other half", "string", r#""a\udc00b""#, all(SURROGATE)),
        value("a pair turned round", "string", r#""\udc00\ud800""#, all(SURROGATE)),
        value("a pair", "string", r#""\ud83e\udd80""#, all(Is("🦀"))),
        value("the last character", "string", "\"\u{10ffff}\"", all(Is("\u{10ffff}"))),
        value("what is no character", "string", "\"\u{ffff}\u{fffe}\u{fdd0}\"", all(Is("\u{ffff}\u{fffe}\u{fdd0}"))),
        value("a byte order mark", "string", "\"\u{feff}a\"", all(Is("\u{feff}a"))),
        value("two ways to write one letter", "string", "\"e\u{301}é\"", all(Is("e\u{301}é"))),
        value("from right to left", "string", "\"\u{202e}abc\"", all(Is("\u{202e}abc"))),
        value("spaces around it", "string", "\"  a  \"", all(Is("  a  "))),
        value("nothing", "string", "\"\"", all(Is(""))),
        value("almost a megabyte", "string", &format!("\"{long}\""), all(Is(long))),
        value("a number to the last digit", "string", "-1.50e+400", all(Is("-1.50e+400"))),
        value("an object as it is written", "string", "{\"b\" : [1.0, null] }", all(Is("{\"b\" : [1.0, null] }"))),
        record(
            "four bytes where there is room for three",
            three_bytes,
            "{\"v\":\"a🦀\"}",
            [
                Is("a🦀"),
                Is("a🦀"),
                Refused("its character set lacks a character"),
                Refused("its character set lacks a character"),
                Is("a🦀"),
            ],
        ),
        record("three bytes where there is room for them", three_bytes, "{\"v\":\"☃\u{ffff}\"}", all(Is("☃\u{ffff}"))),
        record(
            "more characters than fit",
            ["FixedString(3)", "varchar(3)", "varchar(3)", "varchar(3)", "string"],
            "{\"v\":\"é☃🦀x\"}",
            [
                Refused("the text is longer"),
                Refused("the text is longer"),
                Refused("the text is longer"),
                Refused("the text is longer"),
                Is("é☃🦀x"),
            ],
        ),
        record(
            "more spaces than fit",
            ["FixedString(3)", "varchar(3)", "varchar(3)", "varchar(3)", "string"],
            "{\"v\":\"é    \"}",
            [
                Refused("the text is longer"),
                Refused("the text is longer"),
                Refused("the text is longer"),
                Refused("the text is longer"),
                Is("é    "),
            ],
        ),
        // JSON in JSON: ClickHouse and MySQL take it apart, Postgres keeps its numbers, the others its text.
        record(
            "an integer of more than 64 bits",
            json,
            r#"{"v":{"a":18446744073709551616}}"#,
            [
                CHANGED,
                Is(r#"{"a": 18446744073709551616}"#),
                CHANGED,
                Is(r#"{"a":18446744073709551616}"#),
                Is(r#"{"a":18446744073709551616}"#),
            ],
        ),
        record(
            "more digits than a double",
            json,
            r#"{"v":{"a":[0.12345678901234567890]}}"#,
            [
                CHANGED,
                Is(r#"{"a": [0.12345678901234567890]}"#),
                CHANGED,
                Is(r#"{"a":[0.12345678901234567890]}"#),
                Is(r#"{"a":[0.12345678901234567890]}"#),
            ],
        ),
        record(
            "a NUL",
            json,
            r#"{"v":{"a":"x\u0000y"}}"#,
            [
                Is(r#"{"a":"x\u0000y"}"#),
                Refused("\\u0000, which jsonb cannot hold"),
                Is(r#"{"a": "x\u0000y"}"#),
                Is(r#"{"a":"x\u0000y"}"#),
                Is(r#"{"a":"x\u0000y"}"#),
            ],
        ),
        record("half a pair", json, r#"{"v":{"a":"\ud800"}}"#, [HALF, HALF, HALF, HALF, Is(r#"{"a":"\ud800"}"#)]),
        record("half a pair as a name", json, r#"{"v":{"\udc00":1}}"#, [HALF, HALF, HALF, HALF, Is(r#"{"\udc00":1}"#)]),
        record(
            "a pair",
            json,
            r#"{"v":{"a":"\ud83e\udd80"}}"#,
            [
                Is(r#"{"a":"🦀"}"#),
                Is(r#"{"a": "🦀"}"#),
                Is(r#"{"a": "🦀"}"#),
                Is(r#"{"a":"\ud83e\udd80"}"#),
                Is(r#"{"a":"\ud83e\udd80"}"#),
            ],
        ),
        // The last one counts in Postgres and MySQL, as their manuals say of these types.
        record(
            "a name twice",
            json,
            r#"{"v":{"a":1,"a":2}}"#,
            [
                Refused("Duplicate path"),
                Is(r#"{"a": 2}"#),
                Is(r#"{"a": 2}"#),
                Is(r#"{"a":1,"a":2}"#),
                Is(r#"{"a":1,"a":2}"#),
            ],
        ),
        record("a name that is empty", json, r#"{"v":{"":1}}"#, parsed(r#"{"":1}"#, r#"{"": 1}"#)),
        record(
            "a name with a dot, which is a path in ClickHouse",
            json,
            r#"{"v":{"a.b":1,"a":{"b":2}}}"#,
            [
                Refused("Duplicate path"),
                Is(r#"{"a": {"b": 2}, "a.b": 1}"#),
                Is(r#"{"a": {"b": 2}, "a.b": 1}"#),
                Is(r#"{"a.b":1,"a":{"b":2}}"#),
                Is(r#"{"a.b":1,"a":{"b":2}}"#),
            ],
        ),
        record(
            "names that differ in case",
            json,
            r#"{"v":{"A":1,"a":2}}"#,
            parsed(r#"{"A":1,"a":2}"#, r#"{"A": 1, "a": 2}"#),
        ),
        record("31 objects in each other", json, nested(31), parsed(nested_text(31), nested_text_spaced(31))),
        record(
            "100 objects in each other",
            json,
            nested(100),
            [
                Is(nested_text(100)),
                Is(nested_text_spaced(100)),
                Is(nested_text_spaced(100)),
                Refused("CONSTRAINT"),
                Is(nested_text(100)),
            ],
        ),
        record(
            "500 objects in each other",
            json,
            nested(500),
            [
                Is(nested_text(500)),
                Is(nested_text_spaced(500)),
                Refused("more than 100 deep"),
                Refused("CONSTRAINT"),
                Is(nested_text(500)),
            ],
        ),
        record("1,001 objects in each other", json, nested(1001), all(Unread("more than 1000 deep"))),
        record("999 objects in each other, as a text", all("string"), nested(999), all(Is(nested_text(999)))),
        record("no object", json, r#"{"v":[1]}"#, [NO_OBJECT, NO_OBJECT, NO_OBJECT, NO_OBJECT, Is("[1]")]),
        // Dates and times.
        value("a day", "date", "\"2024-02-29\"", all(Is("2024-02-29"))),
        value("a day that was not", "date", "\"2023-02-29\"", all(NO_DATE)),
        value("the year 0", "date", "\"0000-01-01\"", [RANGE, Is("0001-01-01 BC"), RANGE, RANGE, Is("0000-01-01")]),
        value("MySQL's zero date", "date", "\"0000-00-00\"", all(NO_DATE)),
        value("the year 999", "date", "\"0999-12-31\"", [RANGE, Is("0999-12-31"), RANGE, RANGE, Is("0999-12-31")]),
        value(
            "the year 9999",
            "date",
            "\"9999-12-31\"",
            [RANGE, Is("9999-12-31"), Is("9999-12-31"), Is("9999-12-31"), Is("9999-12-31")],
        ),
        value("the year 10000", "date", "\"10000-01-01\"", all(LONG_YEAR)),
        value("the year 294276", "date", "\"294276-12-31\"", all(LONG_YEAR)),
        value("Postgres' last word", "date", "\"infinity\"", all(NO_DATE)),
        value("a time for a day", "date", "\"2024-02-29T00:00:00Z\"", all(NO_DATE)),
        value("a number for a day", "date", "0", all(Refused("the record has a number"))),
        value("a zone", "timestamp(3)", "\"2024-02-29T23:59:59.999-05:30\"", instant("2024-03-01 05:29:59.999")),
        value("no zone", "timestamp(3)", "\"2024-02-29 23:59:59.999\"", instant("2024-02-29 23:59:59.999")),
        value("a zone's name", "timestamp(3)", "\"2024-02-29T23:59:59.999[Europe/Berlin]\"", all(NO_TIME)),
        value("a zone of a day", "timestamp(3)", "\"2024-02-29T23:59:59.999+24:00\"", all(NO_TIME)),
        value("more digits than it keeps", "timestamp(3)", "\"2024-02-29T23:59:59.9999Z\"", all(DIGITS)),
        value("a leap second", "timestamp(3)", "\"2016-12-31T23:59:60Z\"", all(Refused("a leap second"))),
        value("the hour 24", "timestamp(3)", "\"2016-12-31T24:00:00Z\"", all(Refused("the hour 24"))),
        value(
            "the year 0, counted",
            "timestamp(3)",
            "-62167219199999",
            [
                Refused("no count"),
                Is("0001-01-01 00:00:00.001+00 BC"),
                Refused("no count"),
                Refused("no count"),
                Is("0000-01-01 00:00:00.001"),
            ],
        ),
        value(
            "the last of 9999",
            "timestamp(3)",
            "\"9999-12-31T23:59:59.999Z\"",
            [
                RANGE,
                Is("9999-12-31 23:59:59.999+00"),
                Is("9999-12-31 23:59:59.999"),
                Is("9999-12-31 23:59:59.999"),
                Is("9999-12-31 23:59:59.999"),
            ],
        ),
        value(
            "beyond 9999 by its zone",
            "timestamp(3)",
            "\"9999-12-31T23:59:59.999-01:00\"",
            [RANGE, Is("10000-01-01 00:59:59.999+00"), RANGE, RANGE, RANGE],
        ),
        value(
            "the last of 294276, counted",
            "timestamp(3)",
            "9224318015999999",
            [
                Refused("no count"),
                Is("294276-12-31 23:59:59.999+00"),
                Refused("no count"),
                Refused("no count"),
                Refused("no count"),
            ],
        ),
        value("one more", "timestamp(3)", "9224318016000000", all(Refused("no count"))),
        value("2^63, counted", "timestamp(3)", "9223372036854775808", all(Refused("no count"))),
        value("the year 294276, written", "timestamp(6)", "\"294276-12-31T23:59:59Z\"", all(LONG_YEAR)),
        value(
            "the longest time of MySQL",
            "time(3)",
            "\"-838:59:59.000\"",
            [
                Is("-838:59:59.000"),
                RANGE,
                Is("-838:59:59.000"),
                Is("-838:59:59.000"),
                Refused("SQLite keeps no time(3)"),
            ],
        ),
        // The rest.
        // MySQL has texts of 36 characters for it.
        value(
            "a UUID in another way",
            "uuid",
            "\"{550E8400-e29b-41d4-A716-446655440000}\"",
            [
                Is("550e8400-e29b-41d4-a716-446655440000"),
                Is("550e8400-e29b-41d4-a716-446655440000"),
                Refused("the text is longer"),
                Is("550e8400-e29b-41d4-a716-446655440000"),
                Is("550e8400-e29b-41d4-a716-446655440000"),
            ],
        ),
        value(
            "a digit too few",
            "uuid",
            "\"550e8400-e29b-41d4-a716-44665544000\"",
            [NO_UUID, NO_UUID, Is("550e8400-e29b-41d4-a716-44665544000"), NO_UUID, NO_UUID],
        ),
        value("two", "bool", "2", all(RANGE)),
        value("yes", "bool", "\"true\"", all(Refused("a string"))),
        // Records that are none.
        record("nothing", all("int64"), "", all(NO_JSON)),
        record("no UTF-8", all("string"), b"{\"v\":\"a\xff\"}", all(Unread("not UTF-8 (byte 7)"))),
        record("a surrogate in UTF-8", all("string"), b"{\"v\":\"\xed\xa0\x80\"}", all(Unread("not UTF-8 (byte 6)"))),
        record(
            "more bytes than a NUL needs",
            all("string"),
            b"{\"v\":\"\xc0\x80\"}",
            all(Unread("not UTF-8 (byte 6)")),
        ),
        record("UTF-16", all("string"), b"\xff\xfe{\0}\0", all(Unread("not UTF-8 (byte 0)"))),
        record("a byte order mark", all("int64"), "\u{feff}{\"v\":1}", all(NO_JSON)),
        record("half of it", all("int64"), "{\"v\":1", all(NO_JSON)),
        record("two of them", all("int64"), "{\"v\":1}{\"v\":2}", all(NO_JSON)),
        record("a NUL behind it", all("int64"), "{\"v\":1}\0", all(NO_JSON)),
        record("a comma too many", all("int64"), "{\"v\":1,}", all(NO_JSON)),
        record("a comment", all("int64"), "{\"v\":1/**/}", all(NO_JSON)),
        record("a number that begins with zero", all("int64"), "{\"v\":01}", all(NO_JSON)),
        record("a number that begins with plus", all("int64"), "{\"v\":+1}", all(NO_JSON)),
        record("a number without an end", all("float64"), "{\"v\":1.}", all(NO_JSON)),
        record("a line break in a string", all("string"), "{\"v\":\"a\nb\"}", all(NO_JSON)),
        record("a line break in a string further in", all("string"), "{\"v\":[\"a\nb\"]}", all(NO_JSON)),
        record("an escape that is none", all("string"), r#"{"v":"\x41"}"#, all(NO_JSON)),
        record("an escape that is none further in", all("string"), r#"{"v":["\x41"]}"#, all(NO_JSON)),
        record("single quotes", all("string"), "{'v':'a'}", all(NO_JSON)),
        record("no object", all("int64"), "[1]", all(Unread("an array, not an object"))),
        record("a field twice", all("int64"), r#"{"v":1,"v":1}"#, all(Refused("the field twice"))),
        record(
            "a field twice, spelt otherwise",
            all("int64"),
            r#"{"v":1,"\u0076":2}"#,
            all(Refused("the field twice")),
        ),
        record(
            "a field without a name",
            all("int64"),
            r#"{"v":1,"":2}"#,
            all(Unread("the table has no column for it")),
        ),
        record("a field whose name is half a pair", all("int64"), r#"{"v":1,"\ud800":2}"#, all(NO_JSON)),
        record("a name that differs in case", all("int64"), r#"{"v":1,"V":2}"#, all(Unread("field `V`"))),
    ]
}

fn nested(depth: usize) -> String {
    format!("{{\"v\":{}}}", nested_text(depth))
}

fn nested_text(depth: usize) -> &'static str {
    format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).leak()
}

/// As Postgres and MySQL write it.
fn nested_text_spaced(depth: usize) -> &'static str {
    nested_text(depth).replace(':', ": ").leak()
}

/// What is read from `json`, where Postgres and MySQL put spaces into it.
fn parsed(plain: &'static str, spaced: &'static str) -> [Then; 5] {
    [Is(plain), Is(spaced), Is(spaced), Is(plain), Is(plain)]
}

/// The cases and the prefix of their topics' names, which are filled once for all databases.
static CASES: LazyLock<(Vec<Case>, String)> = LazyLock::new(|| {
    let (cases, prefix) = (cases(), support::unique("hostile"));
    let topic = |(index, case): (usize, &Case)| Topic {
        name: format!("{prefix}_{index:03}"),
        records: vec![(None, Some(case.record.clone()))],
    };
    fill(&cases.iter().enumerate().map(topic).collect::<Vec<_>>());
    (cases, prefix)
});

fn check(database: Database) {
    let (cases, prefix) = &*CASES;
    let place = Place::new(database);
    let of = database as usize;
    let topics: Vec<_> = (0..cases.len()).map(|index| format!("{prefix}_{index:03}")).collect();
    let settings = cases
        .iter()
        .enumerate()
        .map(|(index, case)| format!("{{ table: v{index:03}, columns: {{ v: {} }} }}", quoted(case.column[of])));
    let routes: Vec<_> = topics.iter().map(String::as_str).zip(settings).collect();
    let whys = run(&place, &routes);
    let mut all = Vec::new();
    for (index, (case, why)) in cases.iter().zip(&whys).enumerate() {
        let table = format!("v{index:03}");
        let same = |expected: &str, read: &str| {
            let bits = |text: &str| text.parse::<f64>().map(f64::to_bits).ok();
            // SQLite keeps a decimal of 15 digits as a double.
            let is_double = case.column[of].starts_with("float")
                || database == Database::Sqlite && case.column[of].starts_with("decimal(15");
            expected == read || is_double && bits(expected) == bits(read) && bits(read).is_some()
        };
        let wrong = wrong(case.then[of], why.as_ref(), &table, "v", || place.read(&table, "v", ""), same);
        all.extend(wrong.map(|wrong| format!("{} ({}): {wrong}", case.what, case.column[of])));
    }
    assert!(all.is_empty(), "{} of {} in {database:?}:\n{}", all.len(), cases.len(), all.join("\n"));
}

/// A type as a value of YAML, unless it is a map already.
fn quoted(column: &str) -> String {
    if column.starts_with('{') { column.to_owned() } else { format!("'{column}'") }
}

#[test]
fn values_of_clickhouse() {
    check(Database::ClickHouse);
}

#[test]
fn values_of_postgres() {
    check(Database::Postgres);
}

#[test]
fn values_of_mysql() {
    check(Database::MySql);
}

#[test]
fn values_of_mariadb() {
    check(Database::MariaDb);
}

#[test]
fn values_of_sqlite() {
    check(Database::Sqlite);
}
