//! Any bytes as records of several schemas, Avro's and Connect's: never a crash, no trace of what is refused, and what is
//! taken as Avro is read by the Avro project's own library to the same end.

#![no_main]

use std::sync::{Arc, LazyLock};

use apache_avro::reader::datum::GenericDatumReader;
use libfuzzer_sys::fuzz_target;
use rowfall::config::{Envelope, Format, Route, UnknownFields};
use rowfall::decode::{Decoder, Program, Schema};
use rowfall::schemas::{RecordPart, Schemas};
use rowfall_dialects::contract::{Column, ColumnDefault, LogicalType, TableColumn, TableName, TableSchema, ValueType};

/// Schemas that hold each type, in each other and in themselves.
const SCHEMAS: &[&str] = &[
    r#"{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","long"]},
        {"name":"c","type":"string"},{"name":"d","type":"bytes"},{"name":"e","type":"double"},{"name":"f","type":"float"},
        {"name":"g","type":"boolean"},{"name":"h","type":{"type":"fixed","name":"h","size":3}}]}"#,
    r#"{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":60,"scale":9}},
        {"name":"b","type":{"type":"long","logicalType":"timestamp-nanos"}},{"name":"c","type":{"type":"int","logicalType":"date"}},
        {"name":"d","type":{"type":"array","items":["null","string",{"type":"map","values":"double"}]}},
        {"name":"e","type":{"type":"enum","name":"e","symbols":["x","y"]}}]}"#,
    r#"{"type":"record","name":"r","fields":[{"name":"a","type":["null","r"]},{"name":"b","type":{"type":"array","items":"null"}},
        {"name":"c","type":{"type":"map","values":["int",{"type":"array","items":"r"}]}}]}"#,
];

struct Case {
    avro: apache_avro::Schema,
    program: Arc<Program>,
    format: Format,
}

fn program(columns: &[(&str, LogicalType)], envelope: Envelope) -> Arc<Program> {
    let column = |(name, logical): &(&str, LogicalType)| TableColumn {
        name: (*name).to_owned(),
        type_text: logical.to_string(),
        value: Ok(ValueType { nullable: true, ..logical.clone().into() }),
        default: ColumnDefault::None,
    };
    let name = TableName { schema: None, name: "t".to_owned() };
    let table = TableSchema::new(name.clone(), "table", columns.iter().map(column).collect());
    let route = Route { unknown_fields: UnknownFields::Ignore, envelope, ..Route::new("t", name) };
    Arc::new(Program::compile(&Arc::new(table), &route).expect("it fits"))
}

/// What takes anything: texts, and JSON of what is nested.
fn texts() -> Vec<(&'static str, LogicalType)> {
    ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, LogicalType::String)).into()
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let case = |text: &&str| Case {
        avro: apache_avro::Schema::parse_str(text).expect("a schema"),
        program: program(&texts(), Envelope::None),
        format: Format::Avro(Schemas::of_file(Schema::of_avro(text, &[] as &[&str]).expect("a schema"))),
    };
    SCHEMAS.iter().map(case).collect()
});

static CONNECT: LazyLock<[Arc<Program>; 2]> =
    LazyLock::new(|| [Envelope::None, Envelope::Debezium].map(|envelope| program(&texts(), envelope)));

fn is_taken(program: &Arc<Program>, format: &Format, bytes: &[u8]) -> bool {
    let mut columns: Vec<Column> = program.layout.empty_columns();
    let mut decoder = Decoder::new(Arc::clone(program), format, RecordPart::Value);
    let taken = decoder.decode(bytes, &(), &mut columns, 0).is_ok();
    assert!(taken || columns.iter().all(Column::is_empty), "a record that is refused leaves no trace");
    taken
}

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let which = usize::from(*which) % (SCHEMAS.len() + 3);
    if let Some(Case { avro, program, format }) = CASES.get(which) {
        if is_taken(program, format, bytes) {
            let mut rest = bytes;
            let read = GenericDatumReader::builder(avro).build().expect("a reader").read_value(&mut rest);
            assert!(read.is_ok() && rest.is_empty(), "the other library refuses it");
        }
        return;
    }
    match which - SCHEMAS.len() {
        0 => _ = is_taken(&CONNECT[0], &Format::ConnectJson, bytes),
        1 => _ = is_taken(&CONNECT[1], &Format::ConnectJson, bytes),
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = Schema::of_avro(text, &[] as &[&str]);
                let _ = Schema::of_connect(text);
            }
            _ = is_taken(&CONNECT[1], &Format::Json, bytes);
        }
    }
});
