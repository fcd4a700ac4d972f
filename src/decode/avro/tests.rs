use std::collections::HashMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema as TheirSchema};
use ethnum::I256;
use proptest::prelude::*;
use rowfall_dialects::contract::{LogicalType, Mark, TableColumn, TableName, TableSchema, Values};
use serde_json::json;

use super::*;
use crate::config::{Envelope, Nested, RegistryAccess, RegistrySettings, Route, UnknownFields};
use crate::testing::column;

/// A type as a test wants it.
#[derive(Clone, Debug)]
enum Kind {
    Plain(&'static str),
    Logical(&'static str, &'static str),
    Decimal(u8, u8, Option<usize>),
    Fixed(usize),
    Enum,
    Nullable(Box<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<Kind>),
}

fn kind() -> impl Strategy<Value = Kind> {
    let plain = prop::sample::select(vec!["boolean", "int", "long", "float", "double", "bytes", "string"]);
    let logical = prop::sample::select(vec![
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "timestamp-nanos"),
        ("long", "local-timestamp-micros"),
        ("string", "uuid"),
    ]);
    let decimal = (1_u8..=76, 0_u8..=76, prop::option::of(Just(32_usize)));
    let leaf = prop_oneof![
        plain.prop_map(Kind::Plain),
        logical.prop_map(|(of, name)| Kind::Logical(of, name)),
        decimal.prop_map(|(precision, scale, size)| Kind::Decimal(precision, scale.min(precision), size)),
        (1_usize..20).prop_map(Kind::Fixed),
        Just(Kind::Enum),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_filter("no union in a union", |kind| !matches!(kind, Kind::Nullable(_)))
                .prop_map(|kind| Kind::Nullable(Box::new(kind))),
            inner.clone().prop_map(|kind| Kind::Array(Box::new(kind))),
            inner.clone().prop_map(|kind| Kind::Map(Box::new(kind))),
            prop::collection::vec(inner, 1..4).prop_map(Kind::Record),
        ]
    })
}

impl Kind {
    /// As a schema; `names`: how many types with names came before.
    fn schema(&self, names: &mut usize) -> serde_json::Value {
        let mut name = || {
            *names += 1;
            format!("t{names}")
        };
        match self {
            Self::Plain(name) => json!(name),
            Self::Logical(of, name) => json!({ "type": of, "logicalType": name }),
            Self::Decimal(precision, scale, None) => {
                json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
            }
            Self::Decimal(precision, scale, Some(size)) => {
                json!({ "type": "fixed", "name": name(), "size": size, "logicalType": "decimal", "precision": precision, "scale": scale })
            }
            Self::Fixed(size) => json!({ "type": "fixed", "name": name(), "size": size }),
            Self::Enum => json!({ "type": "enum", "name": name(), "symbols": ["a", "b", "c"] }),
            Self::Nullable(kind) => json!(["null", kind.schema(names)]),
            Self::Array(kind) => json!({ "type": "array", "items": kind.schema(names) }),
            Self::Map(kind) => json!({ "type": "map", "values": kind.schema(names) }),
            Self::Record(kinds) => {
                let name = name();
                let field =
                    |(at, kind): (usize, &Self)| json!({ "name": format!("f{at}"), "type": kind.schema(names) });
                let fields: Vec<_> = kinds.iter().enumerate().map(field).collect();
                json!({ "type": "record", "name": name, "fields": fields })
            }
        }
    }

    fn value(&self) -> BoxedStrategy<Value> {
        match self {
            Self::Plain("boolean") => any::<bool>().prop_map(Value::Boolean).boxed(),
            Self::Plain("int") => any::<i32>().prop_map(Value::Int).boxed(),
            Self::Plain("long") => any::<i64>().prop_map(Value::Long).boxed(),
            Self::Plain("float") => any::<f32>().prop_map(Value::Float).boxed(),
            Self::Plain("double") => any::<f64>().prop_map(Value::Double).boxed(),
            Self::Plain("bytes") => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
            Self::Plain(_) => any::<String>().prop_map(Value::String).boxed(),
            Self::Logical(_, "date") => (-700_000_i32..2_900_000).prop_map(Value::Date).boxed(),
            Self::Logical(_, "time-millis") => (0..86_400_000_i32).prop_map(Value::TimeMillis).boxed(),
            Self::Logical(_, "time-micros") => (0..86_400_000_000_i64).prop_map(Value::TimeMicros).boxed(),
            Self::Logical(_, "timestamp-millis") => any::<i64>().prop_map(Value::TimestampMillis).boxed(),
            Self::Logical(_, "timestamp-micros") => any::<i64>().prop_map(Value::TimestampMicros).boxed(),
            Self::Logical(_, "timestamp-nanos") => any::<i64>().prop_map(Value::TimestampNanos).boxed(),
            Self::Logical(_, "local-timestamp-micros") => any::<i64>().prop_map(Value::LocalTimestampMicros).boxed(),
            Self::Logical(..) => any::<u128>().prop_map(|bits| Value::Uuid(apache_avro::Uuid::from_u128(bits))).boxed(),
            Self::Decimal(precision, _, size) => {
                let most = I256::new(10).pow(u32::from(*precision)) - 1;
                let size = *size;
                (any::<[u8; 32]>(), any::<bool>())
                    .prop_map(move |(bytes, extreme)| {
                        let number = if extreme { most } else { I256::from_be_bytes(bytes) % (most + 1) };
                        let bytes = number.to_be_bytes();
                        Value::Decimal(Decimal::from(if size.is_some() { &bytes[..] } else { shortest(&bytes) }))
                    })
                    .boxed()
            }
            Self::Fixed(size) => {
                let size = *size;
                prop::collection::vec(any::<u8>(), size).prop_map(move |bytes| Value::Fixed(size, bytes)).boxed()
            }
            Self::Enum => (0_u32..3).prop_map(|at| Value::Enum(at, ["a", "b", "c"][at as usize].to_owned())).boxed(),
            Self::Nullable(kind) => prop_oneof![
                Just(Value::Union(0, Box::new(Value::Null))),
                kind.value().prop_map(|value| Value::Union(1, Box::new(value)))
            ]
            .boxed(),
            Self::Array(kind) => prop::collection::vec(kind.value(), 0..4).prop_map(Value::Array).boxed(),
            Self::Map(kind) => {
                prop::collection::hash_map(any::<String>(), kind.value(), 0..3).prop_map(Value::Map).boxed()
            }
            Self::Record(kinds) => {
                let values: Vec<_> = kinds.iter().map(Self::value).collect();
                values
                    .prop_map(|values| {
                        let field = |(at, value): (usize, Value)| (format!("f{at}"), value);
                        Value::Record(values.into_iter().enumerate().map(field).collect())
                    })
                    .boxed()
            }
        }
    }
}

/// Without the bytes that only repeat the sign.
fn shortest(bytes: &[u8; 32]) -> &[u8] {
    let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let more = |at: &usize| bytes[*at] == fill && bytes[at + 1] & 0x80 == fill & 0x80;
    &bytes[(0..31).take_while(more).count()..]
}

/// A value as the library has it, in the words of [`shown`].
fn expected(value: &Value) -> String {
    let list = |values: Vec<String>| format!("[{}]", values.join(","));
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => u8::from(*value).to_string(),
        Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => value.to_string(),
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::TimestampMillis(value)
        | Value::TimestampMicros(value)
        | Value::TimestampNanos(value)
        | Value::LocalTimestampMicros(value) => value.to_string(),
        Value::Float(value) => value.to_bits().to_string(),
        Value::Double(value) => value.to_bits().to_string(),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => format!("{bytes:?}"),
        Value::String(text) | Value::Enum(_, text) => format!("{:?}", text.as_bytes()),
        Value::Uuid(uuid) => format!("{:?}", uuid.as_bytes()),
        Value::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.try_into().unwrap();
            crate::decode::typed::unscaled(&bytes).unwrap().to_string()
        }
        Value::Union(_, value) => expected(value),
        Value::Array(values) => list(values.iter().map(expected).collect()),
        Value::Map(values) => {
            let pair = |(key, value): (&String, &Value)| format!("[{:?},{}]", key.as_bytes(), expected(value));
            let mut pairs: Vec<_> = values.iter().map(pair).collect();
            pairs.sort();
            list(pairs)
        }
        Value::Record(fields) => list(fields.iter().map(|(_, value)| expected(value)).collect()),
        other => panic!("{other:?} is no value of these tests"),
    }
}

/// A row of a column.
fn shown(column: &Column, row: usize, is_map: bool) -> String {
    if column.marks.get(row) != Mark::Value {
        return format!("{:?}", column.marks.get(row)).to_lowercase();
    }
    match &column.values {
        Values::Bool(v) => v[row].to_string(),
        Values::Int16(v) => v[row].to_string(),
        Values::Int32(v) => v[row].to_string(),
        Values::Int64(v) => v[row].to_string(),
        Values::Int128(v) => v[row].to_string(),
        Values::Int256(v) => I256::from_le_bytes(v[row]).to_string(),
        Values::Float32(v) => v[row].to_bits().to_string(),
        Values::Float64(v) => v[row].to_bits().to_string(),
        Values::Uuid(v) => format!("{:?}", v[row]),
        Values::Text(v) => format!("{:?}", v.row(row)),
        Values::List(v) => {
            let start = if row == 0 { 0 } else { v.ends[row - 1] };
            let mut rows: Vec<_> = (start..v.ends[row]).map(|row| shown(&v.values, row as usize, false)).collect();
            if is_map {
                rows.sort();
            }
            format!("[{}]", rows.join(","))
        }
        Values::Struct(v) => {
            let parts: Vec<_> = v.parts.iter().map(|part| shown(part, row, false)).collect();
            format!("[{}]", parts.join(","))
        }
        other => panic!("{other:?} is no column of these tests"),
    }
}

fn nobody() -> Schemas {
    let settings = RegistrySettings { urls: vec![], access: RegistryAccess::None, ca: None, certificate: None };
    Schemas::new(settings)
}

/// A decoder that knows this schema as number 1, for a table of these columns.
fn decoder(schema: &str, columns: &[&str], route: Route) -> Decoder {
    let table = TableSchema::new(TableName::parse("t"), "table", columns.iter().map(|text| column(text)).collect());
    let program = Program::compile(&Arc::new(table), &route).unwrap();
    with_schema(schema, Arc::new(program))
}

fn with_schema(schema: &str, program: Arc<Program>) -> Decoder {
    let mut decoder = Decoder::new(program, nobody(), RecordPart::Value);
    decoder.compile(SchemaId::Number(1), &Arc::new(Schema::of_avro(schema, &[] as &[&str]).unwrap()));
    decoder
}

/// As the other library writes it.
fn written(schema: &TheirSchema, value: &Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value.clone()).unwrap()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 1], bytes].concat()
}

fn route() -> Route {
    Route::new("t", TableName::parse("t"))
}

/// A table with a column of its own type for each field.
fn table_of(schema: &Schema) -> TableSchema {
    use rowfall_dialects::contract::{ColumnDefault, ValueType};
    let column = |field: crate::infer::InferredField| TableColumn {
        name: field.name,
        type_text: field.logical.to_string(),
        value: Ok(ValueType { nullable: field.nullable.is_none(), ..field.logical.into() }),
        default: ColumnDefault::None,
    };
    TableSchema::new(TableName::parse("t"), "table", schema.fields(&route()).into_iter().map(column).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Whatever the Avro project's own library writes is in the columns as it was, and nothing but that.
    #[test]
    fn records_are_read_as_another_library_writes_them(
        (kinds, rows) in prop::collection::vec(kind(), 1..6).prop_flat_map(|kinds| {
            let value = Kind::Record(kinds.clone()).value();
            (Just(kinds), prop::collection::vec(value, 1..4))
        }),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = Kind::Record(kinds.clone()).schema(&mut 0).to_string();
        let theirs = TheirSchema::parse_str(&text).unwrap();
        let ours = Schema::of_avro(&text, &[] as &[&str]).unwrap();
        let table = Arc::new(table_of(&ours));
        let program = Arc::new(Program::compile(&table, &route()).unwrap());
        let mut columns = program.layout.empty_columns();
        let mut decoder = with_schema(&text, program);
        for (row, value) in rows.iter().enumerate() {
            let bytes = framed(&written(&theirs, value));
            decoder.decode(&bytes, &(), &mut columns, row).unwrap_or_else(|bad| panic!("{bad}\n{text}\n{value:?}"));
            let Value::Record(fields) = value else { panic!("a record") };
            for (((_, value), column), kind) in fields.iter().zip(&columns).zip(&kinds) {
                let is_map = matches!(kind, Kind::Map(_))
                    || matches!(kind, Kind::Nullable(kind) if matches!(**kind, Kind::Map(_)));
                // Maps inside others have no order that two libraries share.
                if !holds_map(kind) || is_map && !holds_map_inside(kind) {
                    prop_assert_eq!(expected(value), shown(column, row, is_map), "{}", text);
                }
            }
            // A record that ends early, or goes on, is none.
            let end = cut.index(bytes.len() - 5) + 5;
            if end < bytes.len() {
                prop_assert!(decoder.decode(&bytes[..end], &(), &mut columns, row + 1).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert!(decoder.decode(&longer, &(), &mut columns, row + 1).is_err());
            prop_assert!(columns.iter().all(|column| column.len() == row + 1), "no trace is left");
        }
    }

    /// Bytes that are no record are refused, and what is taken is what the other library reads.
    #[test]
    fn any_bytes_are_read_as_the_other_library_reads_them(
        kinds in prop::collection::vec(kind(), 1..4),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let text = Kind::Record(kinds).schema(&mut 0).to_string();
        let theirs = TheirSchema::parse_str(&text).unwrap();
        let ours = Schema::of_avro(&text, &[] as &[&str]).unwrap();
        let program = Arc::new(Program::compile(&Arc::new(table_of(&ours)), &route()).unwrap());
        let mut columns = program.layout.empty_columns();
        let taken = with_schema(&text, program).decode(&framed(&bytes), &(), &mut columns, 0);
        if taken.is_ok() {
            let mut rest = &bytes[..];
            let read = GenericDatumReader::builder(&theirs).build().unwrap().read_value(&mut rest);
            prop_assert!(read.is_ok(), "{} {:?}", text, bytes);
            prop_assert!(rest.is_empty());
        }
    }
}

fn holds_map(kind: &Kind) -> bool {
    match kind {
        Kind::Map(_) => true,
        Kind::Nullable(inner) | Kind::Array(inner) => holds_map(inner),
        Kind::Record(kinds) => kinds.iter().any(holds_map),
        _ => false,
    }
}

fn holds_map_inside(kind: &Kind) -> bool {
    match kind {
        Kind::Map(inner) => holds_map(inner),
        Kind::Nullable(inner) => holds_map_inside(inner),
        _ => false,
    }
}

/// One value of this type in a column of that, or why not.
fn put(kind: &str, value: Value, into: &str) -> String {
    let text = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{kind}}}]}}"#);
    let theirs = TheirSchema::parse_str(&text).unwrap();
    let bytes = written(&theirs, &Value::Record(vec![("a".to_owned(), value)]));
    let mut decoder = decoder(&text, &[&format!("a {into}")], route());
    let mut columns = decoder.program().layout.empty_columns();
    match decoder.decode(&framed(&bytes), &(), &mut columns, 0) {
        Ok(_) => match &columns[0].values {
            Values::Text(text) if columns[0].marks.all_values() => String::from_utf8_lossy(text.row(0)).into_owned(),
            _ => shown(&columns[0], 0, false),
        },
        Err(bad) => bad.to_string(),
    }
}

const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
const LOCAL: &str = r#"{"type":"long","logicalType":"local-timestamp-micros"}"#;
const DATE: &str = r#"{"type":"int","logicalType":"date"}"#;
const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}"#;

#[test]
fn values_arrive_exactly_or_are_refused() {
    let money = |unscaled: i64| Value::Decimal(Decimal::from(unscaled.to_be_bytes()));
    let cases = [
        put(MILLIS, Value::TimestampMillis(1_709_210_096_789), "timestamp(6)"),
        put(MILLIS, Value::TimestampMillis(1_709_210_096_789), "timestamp(0)"),
        put(MILLIS, Value::TimestampMillis(1_709_210_096_000), "timestamp(0)"),
        put(MILLIS, Value::TimestampMillis(i64::MAX), "timestamp(9)"),
        put(MILLIS, Value::TimestampMillis(-1), "string"),
        put(MILLIS, Value::TimestampMillis(1_709_210_096_789), "int64"),
        put(MILLIS, Value::TimestampMillis(1_709_164_800_000), "date"),
        put(MILLIS, Value::TimestampMillis(1_709_164_800_001), "date"),
        put(MILLIS, Value::TimestampMillis(1), "uuid"),
        put(LOCAL, Value::LocalTimestampMicros(1_709_210_096_789_000), "string"),
        put(DATE, Value::Date(-719_528), "string"),
        put(DATE, Value::Date(19_782), "timestamp(3)"),
        put(DATE, Value::Date(i32::MAX), "string"),
        put(MONEY, money(-12_345), "decimal(9,3)"),
        put(MONEY, money(-12_345), "decimal(9,1)"),
        put(MONEY, money(12_300), "int16"),
        put(MONEY, money(12_345), "string"),
        put(MONEY, money(12_345), "float64"),
        put(MONEY, money(-5), "string"),
        put(MONEY, money(1_000_000_000), "decimal(9,2)"),
        put("\"double\"", Value::Double(0.1), "float32"),
        put("\"double\"", Value::Double(0.5), "float32"),
        put("\"double\"", Value::Double(0.1), "decimal(9,2)"),
        put("\"double\"", Value::Double(f64::NAN), "string"),
        put("\"double\"", Value::Double(f64::NAN), "decimal(9,2)"),
        put("\"float\"", Value::Float(0.1), "string"),
        put("\"long\"", Value::Long(1 << 40), "int32"),
        put("\"long\"", Value::Long(7), "decimal(40,2)"),
        put("\"long\"", Value::Long(7), "string"),
        put("\"bytes\"", Value::Bytes(vec![0xff]), "string"),
        put("\"bytes\"", Value::Bytes(b"text".to_vec()), "string"),
        put("\"bytes\"", Value::Bytes(vec![1]), "int32"),
        put("\"string\"", Value::String("12".to_owned()), "int32"),
        put("\"string\"", Value::String("x".to_owned()), "int32"),
        put("\"boolean\"", Value::Boolean(true), "string"),
        put(r#"["null","long"]"#, Value::Union(0, Box::new(Value::Null)), "int64"),
        put(r#"["null","long"]"#, Value::Union(0, Box::new(Value::Null)), "int64?"),
        put(r#"["long","string"]"#, Value::Union(1, Box::new(Value::String("a".to_owned()))), "string"),
    ];
    insta::assert_snapshot!(cases.join("\n"), @"
    1709210096789000
    column `a` timestamp(0): takes timestamp(0), the value has more digits behind the point (it is timestamp-millis)
    1709210096
    column `a` timestamp(9): takes timestamp(9), the value is out of its range (it is timestamp-millis)
    1969-12-31T23:59:59.999Z
    1709210096789
    19782
    column `a` date: takes date, the value has a time of day (it is timestamp-millis)
    column `a` uuid: takes uuid, the record has a timestamp (it is timestamp-millis)
    2024-02-29T12:34:56.789
    0000-01-01
    1709164800000
    column `a` string: takes string, the value is out of its range (it is date)
    -123450
    column `a` decimal(9,1): takes decimal(9,1), the value has more digits behind the point (it is decimal(20,2))
    123
    123.45
    4638387438405602509
    -0.05
    column `a` decimal(9,2): takes decimal(9,2), the value is out of its range (it is decimal(20,2))
    column `a` float32: takes float32, the value has more digits behind the point (it is double)
    1056964608
    10
    NaN
    column `a` decimal(9,2): takes decimal(9,2), the record has a number that is not finite (it is double)
    0.1
    column `a` int32: takes int32, the value is out of its range (it is long)
    700
    7
    column `a` string: takes string, the text is not UTF-8 (it is bytes)
    text
    column `a` int32: takes int32, the record has bytes (it is bytes)
    12
    column `a` int32: takes int32, the text is not a number (it is string)
    true
    column `a` int64: is not nullable, the record has null
    null
    a
    ");
}

#[test]
fn nested_values_become_json_where_a_column_holds_text() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"record","name":"n","fields":[
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"raw","type":"bytes"},
        {"name":"x","type":"double"},
        {"name":"next","type":["null","n"]},
        {"name":"tags","type":{"type":"map","values":{"type":"array","items":"string"}}}]}}]}"#;
    let theirs = TheirSchema::parse_str(schema).unwrap();
    let node = |next: Value| {
        Value::Record(vec![
            ("at".into(), Value::TimestampMillis(1)),
            ("sum".into(), Value::Decimal(Decimal::from([1, 0]))),
            ("raw".into(), Value::Bytes(vec![0, 255])),
            ("x".into(), Value::Double(1e300)),
            ("next".into(), next),
            (
                "tags".into(),
                Value::Map(HashMap::from([("k\"".to_owned(), Value::Array(vec![Value::String("ü".into())]))])),
            ),
        ])
    };
    let inner = Value::Union(1, Box::new(node(Value::Union(0, Box::new(Value::Null)))));
    let bytes = written(&theirs, &Value::Record(vec![("a".into(), node(inner))]));
    let mut decoder = decoder(schema, &["a string"], route());
    let mut columns = decoder.program().layout.empty_columns();
    decoder.decode(&framed(&bytes), &(), &mut columns, 0).unwrap();
    let Values::Text(text) = &columns[0].values else { panic!("text") };
    insta::assert_snapshot!(std::str::from_utf8(text.row(0)).unwrap(), @r#"{"at":"1970-01-01T00:00:00.001Z","sum":2.56,"raw":"AP8=","x":1e300,"next":{"at":"1970-01-01T00:00:00.001Z","sum":2.56,"raw":"AP8=","x":1e300,"next":null,"tags":{"k\"":["ü"]}},"tags":{"k\"":["ü"]}}"#);
}

#[test]
fn fields_without_a_column_are_as_the_route_says() {
    let schema =
        r#"{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"more","type":["null","string"]}]}"#;
    let bytes = framed(&[2, 2, 2, b'x']);
    let mut told = String::new();
    for unknown_fields in
        [UnknownFields::Error, UnknownFields::Ignore, UnknownFields::Add, UnknownFields::Column("rest".to_owned())]
    {
        let mut decoder = decoder(schema, &["a int32", "rest string?"], Route { unknown_fields, ..route() });
        let mut columns = decoder.program().layout.empty_columns();
        told += &match decoder.decode(&bytes, &(), &mut columns, 0) {
            Ok(_) => columns.iter().map(|column| shown(column, 0, false)).collect::<Vec<_>>().join(" "),
            Err(bad) => format!("{bad} {:?}", bad.cure),
        };
        told.push('\n');
    }
    insta::assert_snapshot!(told, @"
    field `more`: the table has no column for it Some(Columns)
    1 null
    field `more`: the table has no column for it Some(Columns)
    1 [123, 34, 109, 111, 114, 101, 34, 58, 34, 120, 34, 125]
    ");
}

#[test]
fn a_bomb_is_refused_at_once() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    let mut decoder = decoder(schema, &["a string"], route());
    let mut columns = decoder.program().layout.empty_columns();
    let many = framed(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]);
    assert!(decoder.decode(&many, &(), &mut columns, 0).is_err());
    let list = r#"{"type":"record","name":"l","fields":[{"name":"next","type":["null","l"]}]}"#;
    let mut decoder = self::decoder(list, &["next string?"], route());
    let deep = framed(&[&[2; 100_000][..], &[0]].concat());
    insta::assert_snapshot!(decoder.decode(&deep, &(), &mut columns, 0).unwrap_err().to_string(), @"the bytes are not what their schema says: values lie more than 200 deep in each other");
}

/// Rows of the columns, each as texts, or why there is none.
fn rows(decoder: &mut Decoder, schema: &TheirSchema, values: &[Value]) -> String {
    let row = |value: &Value| {
        let mut columns = decoder.program().layout.empty_columns();
        let change = decoder.decode(&framed(&written(schema, value)), &(), &mut columns, 0);
        let text = |column: &Column| match &column.values {
            _ if column.is_empty() => "nothing".to_owned(),
            Values::Text(text) if column.marks.all_values() => String::from_utf8_lossy(text.row(0)).into_owned(),
            Values::Variant(variant) => format!("{:?} {:?}", variant.kinds, variant.columns),
            _ => shown(column, 0, false),
        };
        match change {
            Ok(change) => format!("{change:?} {}", columns.iter().map(text).collect::<Vec<_>>().join(" | ")),
            Err(bad) => bad.to_string(),
        }
    };
    values.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn record(fields: &[(&str, Value)]) -> Value {
    Value::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn records_inside_are_taken_apart_and_old_names_count() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":["null",{"type":"record","name":"i","fields":[{"name":"b","type":"int"},
            {"name":"c","type":["null",{"type":"record","name":"j","fields":[{"name":"d","type":"string"}]}]}]}]},
        {"name":"title","type":"string","aliases":["name"]},
        {"name":"span","type":{"type":"fixed","name":"f","size":12,"logicalType":"duration"}}]}"#;
    let route = Route { nested: Nested::Flatten, ..route() };
    let parsed = Schema::of_avro(schema, &[] as &[&str]).unwrap();
    let names: Vec<_> = parsed.fields(&route).into_iter().map(|field| field.name).collect();
    assert_eq!(names, ["a_b", "a_c_d", "title", "span"]);
    let columns = ["a_b int32?", "a_c_d string?", "name string", "span string"];
    let mut decoder = decoder(schema, &columns, route);
    let union = |index, value| Value::Union(index, Box::new(value));
    let span = Value::Duration(apache_avro::Duration::from([1, 0, 0, 0, 2, 0, 0, 0, 0xbc, 0x0b, 0, 0]));
    let whole = |a: Value| record(&[("a", a), ("title", text("t")), ("span", span.clone())]);
    let inner = |c: Value| union(1, record(&[("b", Value::Int(7)), ("c", c)]));
    let values = [
        whole(inner(union(1, record(&[("d", text("x"))])))),
        whole(inner(union(0, Value::Null))),
        whole(union(0, Value::Null)),
    ];
    let told = rows(&mut decoder, &TheirSchema::parse_str(schema).unwrap(), &values);
    insta::assert_snapshot!(told, @"
    Row 7 | x | t | P1M2DT3.004S
    Row 7 | null | t | P1M2DT3.004S
    Row null | null | t | P1M2DT3.004S
    ");
}

#[test]
fn each_branch_of_a_union_goes_into_its_own_type_of_a_variant() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":["null","long","string"]}]}"#;
    let variant = LogicalType::Variant([LogicalType::Int64.into(), LogicalType::String.into()].into());
    let table = TableColumn { value: Ok(variant.into()), ..column("a string") };
    let table = Arc::new(TableSchema::new(TableName::parse("t"), "table", vec![table]));
    let mut decoder = with_schema(schema, Arc::new(Program::compile(&table, &route()).unwrap()));
    let a = |index, value| record(&[("a", Value::Union(index, Box::new(value)))]);
    let values = [a(1, Value::Long(7)), a(2, text("7")), a(0, Value::Null)];
    let told = rows(&mut decoder, &TheirSchema::parse_str(schema).unwrap(), &values);
    insta::assert_snapshot!(told, @"
    Row [0] [Column { values: Int64([7]), marks: Marks([]) }, Column { values: Text(Text { ends: [], bytes: [] }), marks: Marks([]) }]
    Row [1] [Column { values: Int64([]), marks: Marks([]) }, Column { values: Text(Text { ends: [1], bytes: [55] }), marks: Marks([]) }]
    Row [255] [Column { values: Int64([]), marks: Marks([]) }, Column { values: Text(Text { ends: [], bytes: [] }), marks: Marks([]) }]
    ");
}

#[test]
fn the_row_in_an_envelope_is_taken_out() {
    let schema = r#"{"type":"record","name":"e","fields":[
        {"name":"before","type":["null",{"type":"record","name":"v","fields":[{"name":"id","type":"int"},
            {"name":"at","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},{"name":"note","type":"string"}]}]},
        {"name":"after","type":["null","v"]},{"name":"op","type":"string"}]}"#;
    let route = Route { envelope: Envelope::Debezium, ..route() };
    let mut decoder = decoder(schema, &["id int32", "at timestamp(6)", "note string"], route);
    let union = |index, value| Value::Union(index, Box::new(value));
    let row = |note: &str| union(1, record(&[("id", Value::Int(1)), ("at", Value::Long(2)), ("note", text(note))]));
    let event =
        |before: Value, after: Value, op: &str| record(&[("before", before), ("after", after), ("op", text(op))]);
    let nothing = || union(0, Value::Null);
    let values = [
        event(nothing(), row("a"), "c"),
        event(row("a"), nothing(), "d"),
        event(row("a"), row("__debezium_unavailable_value"), "u"),
        event(nothing(), nothing(), "t"),
        event(nothing(), nothing(), "u"),
    ];
    let told = rows(&mut decoder, &TheirSchema::parse_str(schema).unwrap(), &values);
    insta::assert_snapshot!(told, @"
    Row 1 | 2 | a
    Gone nothing | nothing | nothing
    column `note` string: the source does not say the value, which had not changed, and the row is written as a whole
    the source table was truncated
    the value is no change event of Debezium's: it has no row under `after` and no `op` that says so
    ");
}
