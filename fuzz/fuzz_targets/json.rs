//! Anything at all as records, over programs with every type: sonic-rs and serde_json must fill the same columns or
//! both refuse, and a refused record leaves no trace.
//!
//! The first byte chooses the program, its top bit how the rest is read: as records as they are, or as the choices of
//! a writer of JSON that knows the program's fields.

#![no_main]

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use rowfall::config::{ColumnSettings, Nested, NullPolicy, Route, Unit, UnknownFields};
use rowfall::decode::{JsonDecoder, Program};
use rowfall_dialects::contract::{
    Column, ColumnDefault, Compression, TableColumn, TableName, TableSchema, Target,
};

const SCALARS: &[&str] = &[
    "Int8", "Int64", "UInt64", "UInt256", "Int128", "Float32", "Float64", "Bool", "Decimal(9, 2)", "Decimal(76, 38)",
    "String", "FixedString(3)", "UUID", "IPv4", "IPv6", "Date", "Date32", "DateTime('Europe/Berlin')", "DateTime64(3, 'UTC')",
    "DateTime64(9)", "Time", "Time64(6)", "Enum8('a' = 1, 'b' = -2)",
];

const NESTED: &[&str] = &[
    "Array(Nullable(Int32))", "Array(Array(String))", "Map(String, UInt8)", "Map(Int16, Array(Nullable(Float64)))",
    "Tuple(a Int8, b Nullable(String))", "Tuple(Decimal(18, 4), Array(Tuple(x Date)))", "JSON", "Nullable(JSON)", "Point",
    "MultiPolygon", "Variant(Array(Int64), Bool, Int64, String, Tuple(a Int8))", "Dynamic",
    "Array(Variant(Float64, Map(String, Int8), DateTime64(3)))", "Nested(a Int8, b Array(String))",
];

/// Names of columns; the writer of JSON uses their parts.
const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f", "g"];

static PROGRAMS: LazyLock<Vec<Arc<Program>>> = LazyLock::new(|| {
    let nullable: Vec<String> = SCALARS.iter().map(|text| format!("Nullable({text})")).collect();
    let nullable: Vec<&str> = nullable.iter().map(String::as_str).collect();
    let mut programs = Vec::new();
    let mut add = |types: &[&str], name: &dyn Fn(usize) -> String, change: &dyn Fn(&mut Route)| {
        for (block, types) in types.chunks(NAMES.len()).enumerate() {
            programs.push(program(types, name, |route| {
                change(route);
                if block % 2 == 1 {
                    route.null = NullPolicy::Default;
                }
            }));
        }
    };
    let plain = |at: usize| NAMES[at].to_owned();
    add(&nullable, &plain, &|route| route.unknown_fields = UnknownFields::Ignore);
    add(SCALARS, &plain, &|route| route.null = NullPolicy::Default);
    add(NESTED, &plain, &|route| {
        route.unknown_fields = UnknownFields::Ignore;
        route.null = NullPolicy::Default;
    });
    let flat = |at: usize| ["a_b_c", "a_b_d", "a_e", "b", "b_c", "_", "rest"][at].to_owned();
    let flattened = [nullable[1], nullable[6], nullable[8], nullable[10], "Array(Int8)", nullable[18], "String"];
    for unknown in [UnknownFields::Ignore, UnknownFields::Error, UnknownFields::Column("rest".to_owned())] {
        for own in [false, true] {
            add(&flattened, &flat, &|route| {
                route.nested = Nested::Flatten;
                route.flatten.depth = 3;
                route.null = NullPolicy::Default;
                route.unknown_fields = unknown.clone();
                if own {
                    route.columns = vec![
                        ColumnSettings { nested: Some(Nested::Flatten), ..settings("b", "b") },
                        settings("a_e", "a.b.e"),
                        ColumnSettings { unit: Some(Unit::Microseconds), ..settings("_", "d.a") },
                    ];
                }
            });
        }
    }
    for unit in [Unit::Seconds, Unit::Nanoseconds] {
        add(&["DateTime64(3)", "DateTime", "Date32", "Nullable(Date)", "Array(DateTime64(9))"], &plain, &|route| {
            route.unknown_fields = UnknownFields::Ignore;
            route.null = NullPolicy::Default;
            route.columns =
                NAMES[..5].iter().map(|n| ColumnSettings { unit: Some(unit), ..settings(n, n) }).collect();
        });
    }
    programs
});

fn settings(name: &str, from: &str) -> ColumnSettings {
    ColumnSettings { from: from.to_owned(), ..ColumnSettings::new(name) }
}

fn program(types: &[&str], name: &dyn Fn(usize) -> String, change: impl FnOnce(&mut Route)) -> Arc<Program> {
    let url = "clickhouse://localhost/default".parse().expect("a URL");
    let target = Target::new(url, Compression::None);
    let grammar = rowfall_dialects::clickhouse::connect(&target).expect("a target").grammar;
    let column = |(at, text): (usize, &&str)| TableColumn {
        name: name(at),
        type_text: (*text).to_owned(),
        value: Ok(grammar.parse_type(text).expect("a type that rowfall writes")),
        default: ColumnDefault::None,
    };
    let table_name = TableName { schema: None, name: "t".to_owned() };
    let columns = types.iter().enumerate().map(column).collect();
    let table = TableSchema::new(table_name.clone(), "", columns);
    let mut route = Route::new("t", table_name);
    change(&mut route);
    Arc::new(Program::compile(&Arc::new(table), &route).unwrap_or_else(|refused| panic!("{refused:?}")))
}

/// Values that are at the edge of something.
const VALUES: &[&str] = &[
    "0", "-0", "1", "-1", "127", "128", "255", "1.5", "1e3", "-0.0", "1e400", "1e-400", "0.1", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1700000000.123", "null",
    "true", "false", "\"\"", "\"a\"", "\"1\"", "\"-0\"", "\"2024-02-29\"", "\"2024-02-29T12:34:56.789+02:00\"",
    "\"2024-03-31 02:30:00\"", "\"12:34:56\"", "\"127.0.0.1\"", "\"::1\"", "\"NaN\"", "\"\\ud83e\\udd80\"", "\"\\u0000\"",
    "\"\\ud800\"", "\"[1,2]\"", "\"{\\\"a\\\":1}\"", "\"00000000-0000-0000-0000-000000000001\"", "[]", "{}", "[0,0]",
    "[[[[0,0]]]]",
];

fn write(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> arbitrary::Result<()> {
    match u.int_in_range(0..=if depth == 0 { 7 } else { 15 })? {
        0..=1 => write!(out, "{}", u.arbitrary::<i128>()? >> u.int_in_range(0..=127)?).expect("a String"),
        2 => write!(out, "{:e}", u.arbitrary::<f64>().map(|f| if f.is_finite() { f } else { 0.0 })?).expect("a String"),
        3 => out.push_str(&serde_json::to_string(u.arbitrary::<&str>()?).expect("a string")),
        4..=7 => out.push_str(u.choose(VALUES)?),
        8..=10 => {
            out.push('[');
            for at in 0..u.int_in_range(0..=3)? {
                out.push_str(if at > 0 { "," } else { "" });
                write(u, out, depth - 1)?;
            }
            out.push(']');
        }
        _ => object(u, out, depth - 1)?,
    }
    Ok(())
}

fn object(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> arbitrary::Result<()> {
    out.push('{');
    for at in 0..u.int_in_range(0..=7)? {
        let separator = u.choose(&["", "", "", " ", "\n\t"])?;
        out.push_str(if at > 0 { "," } else { "" });
        let name = u.choose(&["a", "b", "c", "d", "e", "f", "g", "a_b", "b_c", "", "a.b", "a_b_c", "x", "\\u0061"])?;
        write!(out, "{separator}\"{name}\"{separator}:{separator}").expect("a String");
        write(u, out, depth)?;
        out.push_str(separator);
    }
    out.push('}');
    Ok(())
}

fn check(program: &Arc<Program>, records: &[&[u8]]) {
    let mut ours = (JsonDecoder::new(Arc::clone(program)), program.layout.empty_columns());
    let mut oracle = (JsonDecoder::new(Arc::clone(program)), program.layout.empty_columns());
    let mut rows = 0;
    let shown = |columns: &[Column]| format!("{columns:?}");
    for record in records {
        let before = shown(&ours.1);
        let ours_said = ours.0.decode(record, &mut ours.1, rows);
        let oracle_said = oracle.0.decode_by_oracle(record, &mut oracle.1, rows);
        let text = String::from_utf8_lossy(record);
        assert_eq!(ours_said.is_ok(), oracle_said.is_ok(), "{text}\n{ours_said:?}\n{oracle_said:?}");
        assert_eq!(shown(&ours.1), shown(&oracle.1), "{text}");
        if ours_said.is_ok() {
            rows += 1;
        } else {
            assert_eq!(shown(&ours.1), before, "a trace is left: {text}");
        }
        assert!(ours.1.iter().all(|column| column.len() == rows), "{text}");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let program = &PROGRAMS[usize::from(choice & 0x7f) % PROGRAMS.len()];
    if choice & 0x80 == 0 {
        let records: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
        check(program, &records[..records.len().min(4)]);
    } else {
        let mut choices = Unstructured::new(rest);
        let mut records = vec![String::new(); 3];
        for record in &mut records {
            if object(&mut choices, record, 4).is_err() {
                break;
            }
        }
        check(program, &records.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
});
