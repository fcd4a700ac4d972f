//! Objects taken apart: flattened, or followed to what `from` names.

use super::oracle::SerdeJson;
use super::tests::{Decode, column};
use super::*;
use rowfall_dialects::contract::{ColumnDefault, Mark, TableColumn, TableName, TableSchema, Values};

use crate::config::{ColumnSettings, Nested, NullPolicy, Route, UnknownFields};

/// Columns as `name type`, nullable with `?` at the end, with a DEFAULT with `=`.
fn columns(texts: &[&str]) -> Vec<TableColumn> {
    let column = |text: &&str| {
        let (name, logical) = text.split_once(' ').expect("a name and a type");
        let default = if logical.ends_with('=') { ColumnDefault::Expression } else { ColumnDefault::None };
        column(name, logical.trim_end_matches(['?', '=']), logical.contains('?'), default)
    };
    texts.iter().map(column).collect()
}

pub(super) fn settings(name: &str, from: &str, nested: Option<Nested>) -> ColumnSettings {
    ColumnSettings { from: from.to_owned(), nested, ..ColumnSettings::new(name) }
}

fn route() -> Route {
    Route { nested: Nested::Flatten, ..Route::new("t", TableName::parse("t")) }
}

fn compile(texts: &[&str], route: &Route) -> Result<Arc<Program>, String> {
    let table = TableSchema::new(TableName::parse("t"), "", columns(texts));
    let lines = |refused: Vec<crate::decode::RefusedColumn>| {
        refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    Program::compile(&Arc::new(table), route).map(Arc::new).map_err(lines)
}

/// The row that the record becomes, or why it is bad; by both libraries.
fn row(program: &Arc<Program>, record: &str) -> String {
    let run = |decode: Decode| {
        let mut columns = program.layout.empty_columns();
        let mut decoder = Decoder::new(Arc::clone(program));
        if let Err(bad) = decode(&mut decoder, record.as_bytes(), &mut columns, 0) {
            assert_eq!(columns, program.layout.empty_columns(), "a bad record leaves no trace");
            return bad.to_string();
        }
        let value = |column: &Column| match (&column.values, column.marks.get(0)) {
            (_, Mark::Null) => "null".to_owned(),
            (_, Mark::Absent) => "-".to_owned(),
            (Values::Text(text), _) => String::from_utf8_lossy(text.row(0)).into_owned(),
            (Values::Int64(v), _) => v[0].to_string(),
            (Values::Int32(v), _) => v[0].to_string(),
            (values, _) => format!("{values:?}"),
        };
        columns.iter().map(value).collect::<Vec<_>>().join(" | ")
    };
    let (ours, oracle) = (run(Decoder::decode_with::<Sonic>), run(Decoder::decode_with::<SerdeJson>));
    assert_eq!(ours.split(" (byte").next(), oracle.split(" (byte").next(), "{record}");
    ours
}

#[test]
fn an_object_fills_the_columns_that_are_named_by_the_way_to_its_fields() {
    let program = compile(&["id int64", "a_b_c int64?", "a_d string?", "a_b_e decimal(9,2)?"], &route()).unwrap();
    let row = |record| row(&program, record);
    assert_eq!(row(r#"{"id":1,"a":{"b":{"c":2,"e":1.5},"d":"x"}}"#), "1 | 2 | x | 150");
    assert_eq!(row(r#"{"a":{"d":[1, {"f":2}],"b":{}},"id":1}"#), r#"1 | null | [1, {"f":2}] | null"#);
    // Steps may be joined in the record already.
    assert_eq!(row(r#"{"id":1,"a_b":{"c":2},"a_d":"x","a":{"b_e":3}}"#), "1 | 2 | x | 300");
    assert_eq!(row(r#"{"id":1,"a_b_c":2}"#), "1 | 2 | null | null");
    assert_eq!(row(r#"{"id":1}"#), "1 | null | null | null");
    assert_eq!(row(r#"{"id":1,"a":null}"#), "1 | null | null | null");
    assert_eq!(row(r#"{"id":1,"a":{"b":null}}"#), "1 | null | null | null");
    assert_eq!(
        row(r#"{"id":1e0,"a":{"b":{"e":1e400}}}"#),
        "column `a_b_e` DECIMAL(9,2): takes decimal(9,2), the value is out of its range"
    );
}

#[test]
fn two_values_for_one_column_are_refused() {
    let program = compile(&["id int64", "a_b int64?"], &route()).unwrap();
    let row = |record| row(&program, record);
    assert_eq!(row(r#"{"id":1,"a":{"b":2},"a_b":3}"#), "column `a_b` INT64: the record has the field twice");
    assert_eq!(row(r#"{"id":1,"a_b":3,"a":{"b":2}}"#), "column `a_b` INT64: the record has the field twice");
    assert_eq!(row(r#"{"id":1,"a":{"b":2},"a":{"b":2}}"#), "field `a`: the record has the field twice");
    assert_eq!(row(r#"{"id":1,"a":{},"a":null}"#), "field `a`: the record has the field twice");
    // What is null as a whole says nothing of a field that stands beside it.
    assert_eq!(row(r#"{"id":1,"a":null,"a_b":3}"#), "1 | 3");
}

#[test]
fn fields_without_a_column_are_told_by_their_flattened_names() {
    let mut route = route();
    let texts = ["id int64", "a_b int64?", "rest string"];
    let refused = compile(&texts[..2], &route).unwrap();
    assert_eq!(row(&refused, r#"{"id":1,"a":{"c":2}}"#), "field `a_c`: the table has no column for it");
    assert_eq!(row(&refused, r#"{"id":1,"c":{"d":2}}"#), "field `c`: the table has no column for it");
    for other in ["5", "[1,[2]]", "\"x\"", "true", "1.5"] {
        let record = format!(r#"{{"id":1,"a":{other}}}"#);
        assert_eq!(row(&refused, &record), "field `a`: only fields inside it have columns, and here it is no object");
    }
    route.unknown_fields = UnknownFields::Ignore;
    let ignored = compile(&texts[..2], &route).unwrap();
    assert_eq!(row(&ignored, r#"{"a":{"c":[{}],"b":3,"d":1e400},"id":1}"#), "1 | 3");
    assert_eq!(row(&ignored, r#"{"a":[1,{"b":2}],"id":1}"#), "1 | null");
    route.unknown_fields = UnknownFields::Column("rest".to_owned());
    let collected = compile(&texts, &route).unwrap();
    assert_eq!(
        row(&collected, r#"{"a":{"c":[2.50],"b":3,"d \"":{"b":4}},"id":1,"z":null}"#),
        r#"1 | 3 | {"a_c":[2.50],"a_d \"":{"b":4},"z":null}"#
    );
    assert_eq!(row(&collected, r#"{"a":1.50,"id":1}"#), r#"1 | null | {"a":1.50}"#);
    assert_eq!(row(&collected, r#"{"a":null,"id":1}"#), "1 | null | {}");
}

#[test]
fn a_null_object_makes_its_columns_null() {
    let mut route = route();
    let program = compile(&["a_b int64=", "a_c int64?"], &route).unwrap();
    assert_eq!(row(&program, "{}"), "- | null");
    assert_eq!(row(&program, r#"{"a":{}}"#), "- | null");
    assert_eq!(row(&program, r#"{"a":null}"#), "column `a_b` INT64: is not nullable, the record has null");
    route.null = NullPolicy::Default;
    let program = compile(&["a_b int64=", "a_c int64?="], &route).unwrap();
    assert_eq!(row(&program, r#"{"a":null}"#), "- | null");
    assert_eq!(row(&program, r#"{"a":{}}"#), "- | -");
}

#[test]
fn what_lies_too_deep_or_has_a_column_of_its_own_stays_whole() {
    let mut route = route();
    route.flatten.depth = 2;
    let program = compile(&["a_b string?", "c json?", "c_d int64?"], &route).unwrap();
    assert_eq!(row(&program, r#"{"a":{"b":{"c": 1}},"c":{"d":1}}"#), r#"{"c": 1} | {"d":1} | null"#);
    assert_eq!(row(&program, r#"{"c_d":2}"#), "null | null | 2");
    // Unless the column says so itself: then it takes what is no object.
    route.columns = vec![settings("c", "c", Some(Nested::Flatten))];
    let program = compile(&["a_b string?", "c string?", "c_d int64?"], &route).unwrap();
    assert_eq!(row(&program, r#"{"c":{"d":1}}"#), "null | null | 1");
    assert_eq!(row(&program, r#"{"c":[1, 2]}"#), "null | [1, 2] | null");
    assert_eq!(row(&program, r#"{"c":null}"#), "null | null | null");
    assert_eq!(row(&program, r#"{"c":"x","c_d":3}"#), "null | x | 3");
    assert_eq!(row(&program, r#"{"c":"x","c":{"d":3}}"#), "null | x | 3");
}

#[test]
fn a_single_field_may_be_flattened_and_renamed() {
    let mut route = Route { nested: Nested::Native, ..route() };
    route.flatten.separator = "__".to_owned();
    route.columns = vec![settings("a", "address", Some(Nested::Flatten)), settings("b", "b", None)];
    let program = compile(&["a__city string?", "a__geo__lat int64?", "b string?", "b__c int64?"], &route).unwrap();
    assert_eq!(row(&program, r#"{"address":{"city":"x","geo":{"lat":1}},"b":{"c":2}}"#), r#"x | 1 | {"c":2} | null"#);
    assert_eq!(row(&program, r#"{"a":{"city":"x"}}"#), "field `a`: the table has no column for it");
    assert_eq!(row(&program, r#"{"address":{"zip":1}}"#), "field `a__zip`: the table has no column for it");
    let error = compile(&["id int64"], &Route { columns: vec![settings("a", "a", Some(Nested::Flatten))], ..route });
    assert_eq!(
        error.unwrap_err(),
        "column `a`: `nested: flatten`, and no column's name begins with `a__`; add columns for its fields, or take \
         `columns.a.nested` out"
    );
}

#[test]
fn from_may_be_a_way() {
    let mut route = Route::new("t", TableName::parse("t"));
    route.columns = vec![settings("city", "customer.address.city", None), settings("name", "customer.name", None)];
    let texts = ["id int64", "city string?", "name string?"];
    let program = compile(&texts, &route).unwrap();
    assert_eq!(row(&program, r#"{"id":1,"customer":{"address":{"city":"x"},"name":"y"}}"#), "1 | x | y");
    // A field that is called so is the field.
    assert_eq!(row(&program, r#"{"id":1,"customer.name":"y"}"#), "1 | null | y");
    assert_eq!(
        row(&program, r#"{"id":1,"customer":{"name":"y"},"customer.name":"y"}"#),
        "column `name` STRING from field `customer.name`: the record has the field twice"
    );
    assert_eq!(
        row(&program, r#"{"id":1,"customer":{"age":3}}"#),
        "field `customer.age`: the table has no column for it"
    );
    assert_eq!(row(&program, r#"{"id":1,"customer":{"address":null}}"#), "1 | null | null");
    route.columns.push(settings("whole", "customer", None));
    let error = compile(&["id int64", "city string?", "name string?", "whole string?"], &route).unwrap_err();
    assert_eq!(
        error.lines().last().unwrap(),
        "column `city` STRING: field `customer` goes into column `whole` as a whole, and this one wants a part of it; a field \
         fills one column: set `columns.whole.drop: true`, or `from` for one of the two"
    );
}

#[test]
fn a_way_through_a_flattened_object_is_one_way() {
    let mut route = route();
    route.columns = vec![settings("x", "a.b_c.d", None), settings("gone", "a.e", None)];
    route.columns[1].drop = true;
    let program = compile(&["a_b_c_e int64?", "x int64?"], &route).unwrap();
    assert_eq!(row(&program, r#"{"a":{"b_c":{"d":1,"e":2}}}"#), "2 | 1");
    assert_eq!(row(&program, r#"{"a":{"b":{"c":{"e":2}},"e":5}}"#), "2 | null");
    assert_eq!(row(&program, r#"{"a_b":{"c":{"d":1}}}"#), "field `a_b_c_d`: the table has no column for it");
    assert_eq!(row(&program, r#"{"a":{"b":{"c":{"d":1}}}}"#), "field `a_b_c_d`: the table has no column for it");
}

#[test]
fn a_field_fills_one_column() {
    let mut route = Route::new("t", TableName::parse("t"));
    route.columns = vec![settings("x", "a", None)];
    let texts = ["a string?", "x string?"];
    assert_eq!(
        compile(&texts, &route).unwrap_err(),
        "column `x` STRING: field `a` goes into column `a` already; a field fills one column: set `columns.a.drop: true`, \
         or `from` for one of the two"
    );
    route.columns.push(ColumnSettings { drop: true, ..settings("a", "a", None) });
    assert_eq!(row(&compile(&texts, &route).unwrap(), r#"{"a":"v"}"#), "v");
}

#[test]
fn json_text_wants_a_column_that_takes_it() {
    let mut route = Route::new("t", TableName::parse("t"));
    route.nested = Nested::Json;
    let program = compile(&["id int64", "a string?", "b json?"], &route).unwrap();
    assert_eq!(row(&program, r#"{"id":1,"a":[1],"b":{"c":2}}"#), r#"1 | [1] | {"c":2}"#);
    let list = LogicalType::List(Arc::new(LogicalType::Int64.into()));
    let mut table = TableSchema::new(TableName::parse("t"), "", columns(&["a string"]));
    table.columns[0].value = Ok(list.into());
    table.columns[0].type_text = "Array(Int64)".to_owned();
    let refused = Program::compile(&Arc::new(table), &route).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "column `a` Array(Int64): `nested: json` gives it JSON text, and its type takes the parts; make it a string or \
         JSON column, or set `columns.a.nested: native`"
    );
}

#[test]
fn names_of_nothing_but_separators_and_deep_records_are_no_danger() {
    let many = format!("{} int64?", "_".repeat(64));
    let program = compile(&[&many, "a_b int64?"], &route()).unwrap();
    assert_eq!(row(&program, r#"{"a":{"b":1}}"#), "null | 1");
    let deep = |levels| format!("{{\"a\":{}1{}}}", "{\"b\":".repeat(levels), "}".repeat(levels));
    assert_eq!(row(&program, &deep(999)), "column `a_b` INT64: takes int64, the record has an object");
    assert_eq!(row(&program, &deep(1_000_000)), "objects and arrays lie more than 1000 deep in each other");
}
