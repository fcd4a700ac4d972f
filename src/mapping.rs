//! How well a topic's fields fit the columns of its table, as its first records show: what `plan` prints.
//!
//! The records go through the program that a run uses, so that what is told is what a run would do with them.

use std::fmt;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, LogicalType, Mark, Values};

use crate::config::{Route, UnknownFields};
use crate::decode::{BadRecord, Cure, Decoder, Mapped, Record, RowDecoder, RowProgram};
use crate::infer::InferredField;

/// How well the values of a field fit a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each is kept as it is.
    Exact,
    /// Each is kept, in a column that holds more than such values.
    Widens,
    /// The column takes such values, and could hold some of them only changed: those are refused, but for numbers in
    /// float columns, which hold the nearest.
    Lossy,
    /// The column does not take some of them, or there is none.
    Refused,
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::Widens => "widens",
            Self::Lossy => "lossy",
            Self::Refused => "refused",
        })
    }
}

/// What some records of a topic show of a program.
#[derive(Debug)]
pub struct Survey {
    decoder: RowDecoder,
    /// One row at most.
    row: Vec<Column>,
    /// Once a record is refused: one per column, what fills it alone.
    alone: Vec<Option<Decoder>>,
    /// One per column.
    seen: Vec<Seen>,
    /// Fields without a column for which records are refused.
    fields: Vec<BadRecord>,
    /// Records that were looked at.
    pub records: usize,
    /// Those of them that a run would refuse.
    pub refused: usize,
    /// The first of those: partition, offset and why.
    pub first_refused: Option<(i32, i64, BadRecord)>,
}

/// What the records have for one column.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Whether one has a value for it.
    value: bool,
    /// Whether a value is a float so large that not every integer there is one.
    beyond_integers: bool,
    /// How many records it refuses, and why the first of them.
    refused: usize,
    why: Option<BadRecord>,
}

/// A line of the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The field, or what else fills the column.
    pub field: String,
    /// The column with its type in the database's words; none for a field that goes nowhere.
    pub column: Option<String>,
    /// How its values fit, where there are some.
    pub fit: Option<Fit>,
    /// What to know of it.
    pub remark: String,
}

impl Survey {
    /// Runs the program over these records.
    #[must_use]
    pub fn of<'r>(program: &Arc<RowProgram>, records: impl IntoIterator<Item = Record<'r>>) -> Self {
        let columns = program.layout.targets.len();
        let mut survey = Self {
            decoder: RowDecoder::new(Arc::clone(program)),
            row: program.layout.empty_columns(),
            alone: Vec::new(),
            seen: vec![Seen::default(); columns],
            fields: Vec::new(),
            records: 0,
            refused: 0,
            first_refused: None,
        };
        records.into_iter().for_each(|record| survey.add(&record));
        survey
    }

    fn add(&mut self, record: &Record<'_>) {
        self.records += 1;
        match self.decoder.decode(record, &mut self.row, 0) {
            Ok(_) => self.seen.iter_mut().zip(&self.row).for_each(|(seen, column)| seen.add(column)),
            Err(bad) => self.add_refused(record, bad),
        }
        self.row.iter_mut().for_each(|column| column.truncate(0));
    }

    /// A record is refused at the first thing that does not fit: the other columns are asked one by one.
    fn add_refused(&mut self, record: &Record<'_>, bad: BadRecord) {
        self.refused += 1;
        let program = Arc::clone(self.decoder.program());
        if self.alone.is_empty() {
            self.alone = (0..self.seen.len()).map(|column| program.alone(column)).collect();
        }
        let mut told = false;
        for (index, alone) in self.alone.iter_mut().enumerate() {
            let (Some(alone), Some(value)) = (alone, record.value) else { continue };
            let row = &mut self.row[index..=index];
            match alone.decode(value, row, 0) {
                Ok(()) => self.seen[index].add(&row[0]),
                Err(other) if other.column.is_some() => {
                    told |= other.column == bad.column;
                    self.seen[index].refuse(other);
                }
                // Of the record as a whole.
                Err(_) => {}
            }
        }
        let of_column = bad.column.as_ref().filter(|_| !told).map(|(name, _)| name);
        let of_column = program.layout.columns().position(|column| Some(&column.name) == of_column);
        if let Some(index) = of_column {
            self.seen[index].refuse(bad.clone());
        } else if bad.column.is_none() && bad.field.is_some() && !self.fields.iter().any(|f| f.field == bad.field) {
            self.fields.push(bad.clone());
        }
        self.first_refused.get_or_insert((record.partition, record.offset, bad));
    }

    /// A line for each field and each column. `fields`: what the same records show of them.
    #[must_use]
    pub fn lines(&self, route: &Route, fields: &[InferredField]) -> Vec<Line> {
        let mapped = self.decoder.program().mapping();
        let elsewhere = self.without_column(route, &mapped, fields);
        mapped.iter().map(|mapped| self.line(mapped, fields)).chain(elsewhere).collect()
    }

    fn line(&self, mapped: &Mapped, fields: &[InferredField]) -> Line {
        let Mapped { field, column, remark } = mapped;
        let Some(index) = *column else {
            return Line { field: field.clone(), column: None, fit: None, remark: (*remark).to_owned() };
        };
        let column = self.decoder.program().layout.columns().nth(index).expect("a column of the layout");
        let text = format!("{} {}", column.name, column.type_text);
        let line = |fit, remark| Line { field: field.clone(), column: Some(text), fit, remark };
        let seen = &self.seen[index];
        if let Some(why) = &seen.why {
            let fit = match why.cure {
                Some(Cure::Width | Cure::Length(_)) => Fit::Lossy,
                _ => Fit::Refused,
            };
            return line(Some(fit), format!("{} of {}: {}", seen.refused, self.records, why.reason));
        }
        if !seen.value {
            return line(None, (*remark).to_owned());
        }
        let from = fields.iter().find(|inferred| inferred.name == *field).map(|inferred| &inferred.logical);
        let to = column.value.as_ref().map(|value| &value.logical);
        match (from, to) {
            (Some(from), Ok(to)) => {
                let (fit, how) = fit(from, to, seen.beyond_integers);
                let remarks: Vec<_> = how.into_iter().chain([(*remark).to_owned()]).collect();
                line(Some(fit), remarks.join("; "))
            }
            _ => line(Some(Fit::Exact), (*remark).to_owned()),
        }
    }

    /// Fields that no column takes.
    fn without_column(&self, route: &Route, mapped: &[Mapped], fields: &[InferredField]) -> Vec<Line> {
        let line = |field: &str, fit, remark: &str| Line {
            field: field.to_owned(),
            column: None,
            fit,
            remark: remark.to_owned(),
        };
        let refused =
            self.fields.iter().filter_map(|bad| Some(line(bad.field.as_deref()?, Some(Fit::Refused), &bad.reason)));
        let mut lines: Vec<_> = refused.collect();
        for InferredField { name, is_null, .. } in fields {
            if mapped.iter().any(|mapped| mapped.field == *name) || lines.iter().any(|line| line.field == *name) {
                continue;
            }
            lines.extend(match &route.unknown_fields {
                UnknownFields::Column(_) => None,
                UnknownFields::Ignore => Some(line(name, None, "ignored")),
                UnknownFields::Add if *is_null => Some(line(name, None, "null so far, which needs no column")),
                UnknownFields::Add | UnknownFields::Error => {
                    Some(line(name, Some(Fit::Refused), "the table has no column for it"))
                }
            });
        }
        lines
    }
}

impl Seen {
    /// What the first row of the column holds.
    fn add(&mut self, column: &Column) {
        if column.marks.get(0) != Mark::Value {
            return;
        }
        self.value = true;
        self.beyond_integers |= match &column.values {
            Values::Float64(values) => values[0].abs() >= 2_f64.powi(53),
            Values::Float32(values) => values[0].abs() >= 2_f32.powi(24),
            _ => false,
        };
    }

    fn refuse(&mut self, bad: BadRecord) {
        self.refused += 1;
        self.why.get_or_insert(bad);
    }
}

/// How values of such a field are kept by a column that has refused none of them, and what becomes of them where that is
/// not plain.
fn fit(from: &LogicalType, to: &LogicalType, beyond_integers: bool) -> (Fit, Option<String>) {
    use LogicalType as T;
    let widens = |what: &str| (Fit::Widens, Some(format!("{what} as {to}")));
    let rounds = |what: &str| (Fit::Lossy, Some(format!("{what} become the nearest {to}")));
    match (from, to) {
        (T::Int64 | T::UInt64, T::Float32 | T::Float64) if beyond_integers => rounds("large integers"),
        (T::Int64 | T::UInt64, T::Float32 | T::Float64 | T::Decimal { .. }) => widens("integers"),
        (T::Int64 | T::UInt64, T::Int128 | T::UInt128 | T::Int256 | T::UInt256) => widens("integers"),
        (T::Float64, T::Float32) => rounds("numbers"),
        (T::Int64 | T::UInt64 | T::Float64, T::String) => (Fit::Widens, Some("numbers as text".to_owned())),
        (T::Bool, T::String) => (Fit::Widens, Some("booleans as text".to_owned())),
        (T::Date, T::Timestamp { .. }) => widens("dates"),
        (T::Timestamp { digits: from }, T::Timestamp { digits: to }) if from < to => widens("timestamps"),
        (_, T::List(_) | T::Map(_) | T::Struct(_)) if rounds_inside(to) => rounds("numbers in it"),
        _ => (Fit::Exact, None),
    }
}

/// Whether a part of it holds the nearest float of 32 bits.
fn rounds_inside(logical: &LogicalType) -> bool {
    match logical {
        LogicalType::Float32 => true,
        LogicalType::List(element) => rounds_inside(&element.logical),
        LogicalType::Map(pair) => rounds_inside(&pair.0.logical) || rounds_inside(&pair.1.logical),
        LogicalType::Struct(parts) => parts.iter().any(|part| rounds_inside(&part.value.logical)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Absent, KeyFormat, KeySource, Mode, Nested};
    use crate::infer::infer;
    use crate::reconcile;
    use insta::assert_snapshot;
    use rowfall_dialects::contract::{ColumnDefault, TableColumn, TableName, TableSchema, Upserts, ValueType};

    fn route() -> Route {
        Route::new("t", TableName::parse("t"))
    }

    /// A table of these columns (`name type`, with `?` behind it where it takes null), and records as key and value.
    fn told(route: &Route, columns: &[&str], records: &[(Option<&str>, Option<&str>)]) -> String {
        let column = |text: &&str| {
            let (name, type_text) = text.split_once(' ').unwrap();
            let logical = type_text.trim_end_matches('?').parse::<LogicalType>().unwrap();
            TableColumn {
                name: name.to_owned(),
                type_text: type_text.to_owned(),
                value: Ok(ValueType { nullable: type_text.ends_with('?'), ..logical.into() }),
                default: ColumnDefault::None,
            }
        };
        let table = TableSchema::new(TableName::parse("t"), "table", columns.iter().map(column).collect());
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
        let mut lines: Vec<_> = survey.lines(route, &infer(&values, route)).into_iter().map(line).collect();
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
            Route { mode: Mode::Upsert { key, format: KeyFormat::Json, deletes, absent: Absent::Keep }, ..route() }
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
}
