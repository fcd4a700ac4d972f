use rowfall_dialects::contract::{Mark, TableName, TableSchema, Upserts, Values};

use super::*;
use crate::config::{Absent, Envelope, Format, KeySource, Mode, Route};
use crate::decode::{Record, RowDecoder};
use crate::reconcile;
use crate::testing::column;

/// The schema of a field.
fn field(name: &str, kind: &str, meaning: &str, more: &str) -> String {
    let meaning = if meaning.is_empty() { String::new() } else { format!(r#","name":"{meaning}""#) };
    format!(r#"{{"type":"{kind}","optional":true,"field":"{name}"{meaning}{more}}}"#)
}

fn message(fields: &[String], payload: &str) -> String {
    let fields = fields.join(",");
    format!(r#"{{"schema":{{"type":"struct","optional":false,"fields":[{fields}]}},"payload":{payload}}}"#)
}

/// Rows as their columns hold them, or why there is none.
fn row(decoder: &mut RowDecoder, key: Option<&str>, value: &str) -> String {
    let (key, value) = (key.map(str::as_bytes), Some(value.as_bytes()));
    let record = Record { key, value, headers: &(), topic: "t", partition: 0, offset: 7, era: 0 };
    let mut columns = decoder.program().layout.empty_columns();
    let text = |column: &Column| match (&column.values, column.marks.get(0)) {
        (Values::Text(text), Mark::Value) => String::from_utf8_lossy(text.row(0)).into_owned(),
        (Values::Int64(values), Mark::Value) => values[0].to_string(),
        (Values::Int32(values), Mark::Value) => values[0].to_string(),
        (Values::Float64(values), Mark::Value) => values[0].to_string(),
        (_, mark) => format!("{mark:?}"),
    };
    match decoder.decode(&record, &mut columns, 0) {
        Ok(op) => format!("{op:?} {}", columns.iter().map(text).collect::<Vec<_>>().join(" | ")),
        Err(bad) => {
            assert!(columns.iter().all(Column::is_empty), "no trace is left");
            bad.to_string()
        }
    }
}

fn decoder(columns: &[&str], route: Route) -> RowDecoder {
    let table = TableSchema::new(TableName::parse("t"), "table", columns.iter().map(|text| column(text)).collect());
    let upserts = Upserts::Keys(vec![vec!["id".to_owned()]]);
    RowDecoder::new(reconcile::compile(&route, &Arc::new(TableSchema { upserts, ..table })).unwrap())
}

fn route(value: Format) -> Route {
    Route { value, ..Route::new("t", TableName::parse("t")) }
}

#[test]
fn values_are_read_as_their_schema_says() {
    let fields = [
        field("id", "int64", "", ""),
        field("sum", "bytes", "org.apache.kafka.connect.data.Decimal", r#","parameters":{"scale":"2"}"#),
        field("day", "int32", "io.debezium.time.Date", ""),
        field("at", "int64", "io.debezium.time.MicroTimestamp", ""),
        field("zoned", "string", "io.debezium.time.ZonedTimestamp", ""),
        field(
            "any",
            "struct",
            "io.debezium.data.VariableScaleDecimal",
            r#","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}]"#,
        ),
        field("doc", "string", "io.debezium.data.Json", ""),
        field("tags", "array", "", r#","items":{"type":"string"}"#),
        field("by", "map", "", r#","keys":{"type":"int32"},"values":{"type":"bytes"}"#),
        field("x", "double", "", ""),
    ];
    let columns = [
        "id int64",
        "sum decimal(18,2)?",
        "day date?",
        "at timestamp(6)?",
        "zoned timestamp(3)?",
        "any string?",
        "doc string?",
        "tags string?",
        "by string?",
        "x float64?",
    ];
    let mut decoder = decoder(&columns, route(Format::ConnectJson));
    let payload = r#"{"id":1,"sum":"z8c=","day":19782,"at":1709210096789012,"zoned":"2024-02-29T12:34:56.789+02:00",
        "any":{"scale":3,"value":"AQAA"},"doc":"{\"a\": 1.50}","tags":["a","\u00fc\""],"by":[[1,"AP8="]],"x":1e3}"#;
    let told = [
        row(&mut decoder, None, &message(&fields, payload)),
        row(&mut decoder, None, &message(&fields, r#"{"id":2,"sum":null,"day":null,"x":"NaN"}"#)),
        row(&mut decoder, None, &message(&fields, r#"{"id":null}"#)),
        row(&mut decoder, None, &message(&fields, r#"{"id":"1"}"#)),
        row(&mut decoder, None, &message(&fields, r#"{"id":1,"id":2}"#)),
        row(&mut decoder, None, &message(&fields, r#"{"id":1,"more":2}"#)),
        row(&mut decoder, None, &message(&fields, "[]")),
        row(&mut decoder, None, &(message(&fields, r#"{"id":1}"#) + " x")),
        row(&mut decoder, None, &(message(&fields, r#"{"id":3}"#) + " \n")),
        row(&mut decoder, None, r#"{"id":1}"#),
        row(&mut decoder, None, r#"{"schema":null,"payload":{"id":1}}"#),
        row(&mut decoder, None, r#"{"schema":{"type":"int99"},"payload":{"id":1}}"#),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    None 1 | -12345 | 19782 | 1709210096789012 | 1709202896789 | 65.536 | {"a": 1.50} | ["a","ü\""] | {"1":"AP8="} | 1000
    None 2 | Null | Null | Null | Null | Null | Null | Null | Null | NaN
    column `id` int64: is not nullable, the record has null
    the bytes are not what their schema says: a value is of another type
    column `id` int64: the record has the field twice
    the bytes are not what their schema says: a record has a field that its schema lacks
    the bytes are not what their schema says: a value is of another type
    the value is not a JSON object (byte 962)
    None 3 | Null | Null | Null | Null | Null | Null | Null | Null | Null
    the value has a field `id` beside `schema` and `payload`
    the record has no schema
    the schema in the record cannot be read: no schema has the type `int99`
    "#);
}

#[test]
fn an_envelope_says_what_becomes_of_the_row() {
    let mode = |absent| Mode::Upsert {
        key: KeySource::Value(vec!["id".to_owned()]),
        format: Format::Json,
        deletes: true,
        absent,
    };
    let debezium = |value, absent| Route { envelope: Envelope::Debezium, mode: mode(absent), ..route(value) };
    let mut plain = decoder(&["id int64", "note string?"], debezium(Format::Json, Absent::Keep));
    let key = Some(r#"{"id":1}"#);
    let mut told = vec![];
    for value in [
        r#"{"before":null,"after":{"id":1,"note":"a"},"source":{"lsn":1},"op":"c","ts_ms":1}"#,
        r#"{"op":"r","after":{"id":1,"note":null}}"#,
        r#"{"op":"u","before":{"id":1,"note":"a"},"after":{"id":1,"note":"__debezium_unavailable_value"}}"#,
        r#"{"op":"d","before":{"id":1},"after":null}"#,
        r#"{"op":"t","before":null,"after":null}"#,
        r#"{"op":"m","message":{}}"#,
        r#"{"id":1,"note":"a"}"#,
        r#"{"op":"c","after":{"id":1,"note":"a","more":2}}"#,
        "[1]",
    ] {
        told.push(row(&mut plain, key, value));
    }
    let row_schema = |name: &str| {
        field(
            name,
            "struct",
            "",
            &format!(r#","fields":[{},{}]"#, field("id", "int64", "", ""), field("note", "string", "", "")),
        )
    };
    let schema = [row_schema("before"), row_schema("after"), field("op", "string", "", "")];
    let mut connect = decoder(&["id int64", "note string?"], debezium(Format::ConnectJson, Absent::Default));
    for payload in [
        r#"{"before":null,"after":{"id":1,"note":"a"},"op":"c"}"#,
        r#"{"before":null,"after":{"id":1,"note":"__debezium_unavailable_value"},"op":"u"}"#,
        r#"{"before":{"id":1,"note":"a"},"after":null,"op":"d"}"#,
    ] {
        told.push(row(&mut connect, key, &message(&schema, payload)));
    }
    insta::assert_snapshot!(told.join("\n"), @"
    Some(Upsert) 1 | a
    Some(Upsert) 1 | Null
    Some(Upsert) 1 | Absent
    Some(Delete) 1 | Absent
    the source table was truncated
    the value is no change event of Debezium's: it has no row under `after` and no `op` that says so
    the value is no change event of Debezium's: it has no row under `after` and no `op` that says so
    field `more`: the table has no column for it
    the value is no change event of Debezium's: it has no row under `after` and no `op` that says so
    Some(Upsert) 1 | a
    column `note` string?: the source does not say the value, which had not changed, and the row is written as a whole
    Some(Delete) 1 | Absent
    ");
}
