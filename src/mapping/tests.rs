use super::*;
use crate::config::{Absent, Format, KeySource, Mode, Nested};
use crate::infer::infer;
use crate::reconcile;
use crate::testing::column;
use insta::assert_snapshot;
use rowfall_dialects::contract::{TableName, TableSchema, Upserts};

fn route() -> Route {
    Route::new("t", TableName::parse("t"))
}

/// A table of these columns (`name type`, with `?` behind it where it takes null), and records as key and value.
fn told(route: &Route, columns: &[&str], records: &[(Option<&str>, Option<&str>)]) -> String {
    let table = TableSchema::new(TableName::parse("t"), "table", columns.iter().map(|text| column(text)).collect());
    let table = Arc::new(TableSchema { upserts: Upserts::Keys(vec![vec!["id".to_owned()]]), ..table });
    let program = reconcile::compile(route, &table).unwrap();
    let values: Vec<_> = records.iter().filter_map(|(_, value)| value.map(|v| v.as_bytes().to_vec())).collect();
    let records = records.iter().zip(0..).map(|((key, value), offset)| {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        Record { key, value, headers: &(), topic: "t", partition: 0, offset, era: 0 }
    });
    let survey = Survey::of(&program, records);
    let line = |line: Line| {
        let fit = line.fit.map_or_else(|| "–".to_owned(), |fit| fit.to_string());
        format!("{} → {}: {fit}: {}", line.field, line.column.as_deref().unwrap_or("–"), line.remark)
    };
    let mut lines: Vec<_> =
        survey.lines(route, &infer(values.iter().map(Vec::as_slice), route)).into_iter().map(line).collect();
    let first = survey.first_refused.map(|(_, offset, bad)| format!(", first at {offset}: {bad}"));
    lines.push(format!("{} of {} refused{}", survey.refused, survey.records, first.unwrap_or_default()));
    lines.join("\n")
}

fn values(route: &Route, columns: &[&str], values: &[&str]) -> String {
    told(route, columns, &values.iter().map(|value| (None, Some(*value))).collect::<Vec<_>>())
}

#[test]
fn exact_and_wider_columns_take_all() {
    let columns = [
        "id int32",
        "u uint64",
        "f float64",
        "d decimal(18,2)",
        "m decimal(18,2)",
        "i int128",
        "x float64",
        "b bool",
        "day date",
        "at timestamp(0)",
        "fine timestamp(6)",
        "on timestamp(3)",
        "text string",
        "n string",
        "ok string",
        "who uuid",
        "doc json",
        "none string?",
        "gone int8?",
    ];
    let record = r#"{"id":1,"u":18446744073709551615,"f":0.1,"d":2.5,"m":3,"i":4,"x":5,"b":true,"day":"2024-02-29",
        "at":"2024-02-29T12:00:00Z","fine":"2024-02-29T12:00:00.5Z","on":"2024-02-29","text":"a","n":1.50,"ok":false,
        "who":"550e8400-e29b-41d4-a716-446655440000","doc":{"a":[1]},"none":null}"#;
    assert_snapshot!(values(&route(), &columns, &[record]), @"
    id → id int32: exact: must be in the record
    u → u uint64: exact: must be in the record
    f → f float64: exact: must be in the record
    d → d decimal(18,2): exact: must be in the record
    m → m decimal(18,2): widens: integers as decimal(18,2); must be in the record
    i → i int128: widens: integers as int128; must be in the record
    x → x float64: widens: integers as float64; must be in the record
    b → b bool: exact: must be in the record
    day → day date: exact: must be in the record
    at → at timestamp(0): exact: must be in the record
    fine → fine timestamp(6): widens: timestamps as timestamp(6); must be in the record
    on → on timestamp(3): widens: dates as timestamp(3); must be in the record
    text → text string: exact: must be in the record
    n → n string: widens: numbers as text; must be in the record
    ok → ok string: widens: booleans as text; must be in the record
    who → who uuid: exact: must be in the record
    doc → doc json: exact: must be in the record
    none → none string?: –: null where the record lacks it
    gone → gone int8?: –: null where the record lacks it
    0 of 1 refused
    ");
}

#[test]
fn what_a_column_would_change_is_lossy() {
    let columns = ["id int8", "at timestamp(3)", "whole int32", "money decimal(6,2)", "f float32", "big float64"];
    let records = [
        r#"{"id":1,"at":"2024-02-29T12:00:00.123Z","whole":1.0,"money":1,"f":0.1,"big":9007199254740993}"#,
        r#"{"id":300,"at":"2024-02-29T12:00:00.123456Z","whole":1,"money":1,"f":1,"big":1}"#,
        r#"{"id":1,"at":"2024-02-29T12:00:00.1234Z","whole":1.5,"money":1.234,"f":1e300,"big":1}"#,
    ];
    assert_snapshot!(values(&route(), &columns, &records), @"
    id → id int8: lossy: 1 of 3: takes int8, the value is out of its range
    at → at timestamp(3): lossy: 2 of 3: takes timestamp(3), the value has more digits behind the point
    whole → whole int32: lossy: 1 of 3: takes int32, the value has more digits behind the point
    money → money decimal(6,2): lossy: 1 of 3: takes decimal(6,2), the value has more digits behind the point
    f → f float32: lossy: 1 of 3: takes float32, the value is out of its range
    big → big float64: lossy: large integers become the nearest float64; must be in the record
    2 of 3 refused, first at 1: column `id` int8: takes int8, the value is out of its range
    ");
    assert_snapshot!(values(&route(), &columns[4..], &[r#"{"f":1.5,"big":-18014398509481984}"#]), @"
    f → f float32: lossy: numbers become the nearest float32; must be in the record
    big → big float64: lossy: large integers become the nearest float64; must be in the record
    0 of 1 refused
    ");
}

#[test]
fn what_a_column_does_not_take_is_refused() {
    let columns = ["id int64", "n int32", "day date", "must string", "b bool?"];
    let records = [
        r#"{"id":null,"n":"one","day":"2024-02-29T12:00:00Z","more":1,"must":"a"}"#,
        r#"{"id":1,"n":1,"day":5,"b":"yes"}"#,
        r#"{"id":1,"n":1,"day":"2024-02-29","must":"a"}"#,
        "[1]",
    ];
    assert_snapshot!(values(&route(), &columns, &records), @"
    id → id int64: refused: 1 of 4: is not nullable, the record has null
    n → n int32: refused: 1 of 4: takes int32, the text is not a number
    day → day date: refused: 2 of 4: takes date, the text is not a date, `2024-02-29`
    must → must string: refused: 1 of 4: the record lacks the field, and the column is neither nullable nor has it a DEFAULT
    b → b bool?: refused: 1 of 4: takes bool, the record has a string
    more → –: refused: the table has no column for it
    3 of 4 refused, first at 0: column `id` int64: is not nullable, the record has null
    ");
}

#[test]
fn fields_without_a_column_go_where_the_route_says() {
    let columns = ["id int64", "rest string?", "a_b int64?"];
    let record = [r#"{"id":1,"more":1,"none":null,"a":{"b":1,"c":2}}"#];
    let told =
        |unknown_fields| values(&Route { unknown_fields, nested: Nested::Flatten, ..route() }, &columns, &record);
    assert_snapshot!(told(UnknownFields::Error), @"
    id → id int64: exact: must be in the record
    rest → rest string?: –: null where the record lacks it
    a_b → a_b int64?: exact: null where the record lacks it
    more → –: refused: the table has no column for it
    none → –: refused: the table has no column for it
    a_c → –: refused: the table has no column for it
    1 of 1 refused, first at 0: field `more`: the table has no column for it
    ");
    assert_snapshot!(told(UnknownFields::Add), @"
    id → id int64: exact: must be in the record
    rest → rest string?: –: null where the record lacks it
    a_b → a_b int64?: exact: null where the record lacks it
    more → –: refused: the table has no column for it
    none → –: –: null so far, which needs no column
    a_c → –: refused: the table has no column for it
    1 of 1 refused, first at 0: field `more`: the table has no column for it
    ");
    assert_snapshot!(told(UnknownFields::Ignore), @"
    id → id int64: exact: must be in the record
    rest → rest string?: –: null where the record lacks it
    a_b → a_b int64?: exact: null where the record lacks it
    more → –: –: ignored
    none → –: –: ignored
    a_c → –: –: ignored
    0 of 1 refused
    ");
    assert_snapshot!(told(UnknownFields::Column("rest".to_owned())), @"
    id → id int64: exact: must be in the record
    a_b → a_b int64?: exact: null where the record lacks it
    … → rest string?: exact: all other fields
    0 of 1 refused
    ");
}

#[test]
fn keys_and_tombstones_are_tried_too() {
    let upsert = |deletes| {
        let key = KeySource::Record(Vec::new());
        Route { mode: Mode::Upsert { key, format: Format::Json, deletes, absent: Absent::Keep }, ..route() }
    };
    let columns = ["id int32", "note string?"];
    let note = Some(r#"{"note":"a"}"#);
    let records = [(Some("1"), note), (None, note), (Some("3000000000"), note), (Some("1"), None)];
    assert_snapshot!(told(&upsert(true), &columns, &records), @"
    note → note string?: exact: as it was where the record lacks it
    id → –: –: dropped
    record's key → id int32: refused: 1 of 4: the record's key: takes int32, the value is out of its range
    2 of 4 refused, first at 1: the record has no key
    ");
    assert_snapshot!(told(&upsert(false), &columns, &records[3..]), @"
    note → note string?: –: as it was where the record lacks it
    id → –: –: dropped
    record's key → id int32: –: part of the key
    1 of 1 refused, first at 0: the record has no value: a tombstone says delete, and the route does not say `deletes: true`
    ");
}

#[test]
fn without_records_only_the_columns_are_told() {
    assert_snapshot!(values(&route(), &["id int32", "note string?"], &[]), @"
    id → id int32: –: must be in the record
    note → note string?: –: null where the record lacks it
    0 of 0 refused
    ");
}
