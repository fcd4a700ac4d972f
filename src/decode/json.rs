//! JSON records: a `serde` seed that pushes each value into its column as the parser meets it.
//!
//! The parser is sonic-rs; the seed is generic over the deserializer, so that a test can run the same program over
//! serde_json and compare.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, LogicalType};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::BadRecord;
use super::cell::{Cell, Misfit};
use super::program::{ColumnRule, Program};
use crate::config::UnknownFields;

/// Runs a [`Program`] over JSON records. One per worker.
#[derive(Debug)]
pub struct Decoder {
    program: Arc<Program>,
    /// Per column: read the value as text first. Set for the types that need it, and learnt for the others from the
    /// first value that does.
    by_text: Box<[bool]>,
    /// The same, for every column: the second and last attempt on what the parser refuses.
    all: Box<[bool]>,
}

impl Decoder {
    /// A decoder for this program.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        let needs_text = |c: &ColumnRule| matches!(c.logical, LogicalType::Decimal { .. } | LogicalType::Float32);
        let by_text = program.columns.iter().map(needs_text).collect();
        let all = vec![true; program.columns.len()].into();
        Self { program, by_text, all }
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Appends the record as row `row` to the columns of the program's layout, which all have `row` rows. On an error
    /// they have `row` rows still.
    ///
    /// # Errors
    /// Says which field does not fit which column, and why.
    pub fn decode(&mut self, payload: &[u8], columns: &mut [Column], row: usize) -> Result<(), BadRecord> {
        self.decode_with::<Sonic>(payload, columns, row)
    }

    fn decode_with<B: Backend>(&mut self, payload: &[u8], columns: &mut [Column], row: usize) -> Result<(), BadRecord> {
        let text = std::str::from_utf8(payload).map_err(|e| BadRecord {
            field: None,
            column: None,
            reason: format!("the value is not UTF-8 (byte {})", e.valid_up_to()),
            hint: "see whether the topic's values are JSON: `value:` names the format".to_owned(),
        })?;
        let mut all_by_text = false;
        loop {
            let by_text = if all_by_text { &*self.all } else { &*self.by_text };
            let mut run = Run { program: &self.program, text, by_text, columns, row, failure: None };
            let failure = match B::run(text, &mut run) {
                Ok(filled) if filled == self.program.columns.len() => return Ok(()),
                Ok(_) => match run.fill_absent() {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                },
                Err(syntax) => run.failure.unwrap_or(Failure::Syntax(syntax)),
            };
            for column in columns.iter_mut() {
                column.truncate(row);
            }
            match failure {
                Failure::Misfit(column, Misfit::NeedsText) if !by_text[column] => self.by_text[column] = true,
                // A number beyond a double, 1e400, is JSON still, and a decimal or a text can hold it.
                Failure::Syntax(_) if !all_by_text => all_by_text = true,
                failure => return Err(failure.describe(&self.program)),
            }
        }
    }
}

/// What a JSON library has to offer to the seed.
trait Backend: Sized {
    /// Runs over the whole text; the number of columns that were filled, or what is wrong with the syntax.
    fn run(text: &str, run: &mut Run<'_>) -> Result<usize, String>;

    /// The next value as it is written, without white space around it.
    fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error>;

    /// A JSON string as it is written, quotes included, to what it says.
    fn unquote(raw: &str) -> Option<Cow<'_, str>>;
}

struct Sonic;

impl Backend for Sonic {
    fn run(text: &str, run: &mut Run<'_>) -> Result<usize, String> {
        let mut deserializer = sonic_rs::Deserializer::from_str(text);
        let result = Record::<Self>(run, PhantomData).deserialize(&mut deserializer);
        // The library's own text quotes the record, which a message must not.
        let place = |e: &sonic_rs::Error| format!("the value is not JSON (byte {})", e.offset());
        result.and_then(|filled| deserializer.end().map(|()| filled)).map_err(|e| place(&e))
    }

    fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        Ok(sonic_rs::LazyValue::deserialize(deserializer)?.as_raw_cow())
    }

    fn unquote(raw: &str) -> Option<Cow<'_, str>> {
        match raw.get(1..raw.len() - 1) {
            Some(inner) if !inner.contains('\\') => Some(Cow::Borrowed(inner)),
            _ => sonic_rs::from_str::<String>(raw).ok().map(Cow::Owned),
        }
    }
}

/// One record on its way into the columns.
struct Run<'a> {
    program: &'a Program,
    text: &'a str,
    by_text: &'a [bool],
    columns: &'a mut [Column],
    row: usize,
    failure: Option<Failure>,
}

enum Failure {
    Syntax(String),
    NotAnObject(&'static str),
    Unknown(String),
    Duplicate(usize),
    Absent(usize),
    Misfit(usize, Misfit),
}

impl Run<'_> {
    fn fill_absent(&mut self) -> Result<(), Failure> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.len() == self.row {
                let mark = self.program.columns[index].when_absent.ok_or(Failure::Absent(index))?;
                column.push_mark(mark);
            }
        }
        Ok(())
    }

    /// Whether a zero for this column may have been written as −0, which sonic-rs reads as 0.
    #[inline]
    fn may_be_minus_zero(&self, column: usize) -> bool {
        self.program.columns[column].logical == LogicalType::Float64
            && self.text.as_bytes().windows(3).any(|w| w[..2] == *b"-0" && !w[2].is_ascii_digit())
    }

    #[cold]
    fn fail<E: serde::de::Error>(&mut self, failure: Failure) -> E {
        self.failure = Some(failure);
        E::custom("")
    }

    #[inline]
    fn put<E: serde::de::Error>(
        &mut self,
        column: usize,
        put: impl FnOnce(Cell<'_>) -> Result<(), Misfit>,
    ) -> Result<(), E> {
        let cell = Cell { rule: &self.program.columns[column], column: &mut self.columns[column] };
        put(cell).map_err(|misfit| self.fail(Failure::Misfit(column, misfit)))
    }
}

/// The record's object. Yields how many columns it filled.
struct Record<'r, 'a, B>(&'r mut Run<'a>, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Record<'_, '_, B> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! not_an_object {
    ($($visit:ident($type:ty) $what:literal)*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<usize, E> {
            Err(self.0.fail(Failure::NotAnObject($what)))
        }
    )*};
}

impl<'de, B: Backend> Visitor<'de> for Record<'_, '_, B> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<usize, M::Error> {
        let run = self.0;
        let (mut expected, mut filled) = (0, 0);
        while let Some(field) = map.next_key_seed(Key { run, expected })? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = field + 1;
            match run.program.fields[field].column {
                None => _ = map.next_value::<IgnoredAny>()?,
                Some(column) if run.columns[column].len() > run.row => {
                    return Err(run.fail(Failure::Duplicate(column)));
                }
                Some(column) => {
                    map.next_value_seed(Value::<B>(run, column, PhantomData))?;
                    filled += 1;
                }
            }
        }
        Ok(filled)
    }

    not_an_object! {
        visit_bool(bool) "a boolean"
        visit_i64(i64) "a number"
        visit_u64(u64) "a number"
        visit_f64(f64) "a number"
        visit_str(&str) "a string"
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<usize, E> {
        Err(self.0.fail(Failure::NotAnObject("null")))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<usize, S::Error> {
        Err(self.0.fail(Failure::NotAnObject("an array")))
    }
}

/// A field's name, to its index in the program; `None` for one that is read over.
struct Key<'r, 'a> {
    run: &'r mut Run<'a>,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    #[inline]
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        match self.run.program.field(name, self.expected) {
            None if self.run.program.unknown_fields == UnknownFields::Error => {
                Err(self.run.fail(Failure::Unknown(name.to_owned())))
            }
            field => Ok(field),
        }
    }
}

/// A field's value, into its column.
struct Value<'r, 'a, B>(&'r mut Run<'a>, usize, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Value<'_, '_, B> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.0.by_text[self.1] {
            return deserializer.deserialize_any(self);
        }
        let Self(run, column, _) = self;
        let raw = B::raw(deserializer)?;
        match raw.as_bytes().first() {
            Some(b'"') => {
                let text = B::unquote(&raw).ok_or_else(|| D::Error::custom(""))?;
                run.put(column, |cell| cell.text(&text))
            }
            Some(b'n') => run.put(column, |cell| cell.null()),
            Some(b't') => run.put(column, |cell| cell.boolean(true)),
            Some(b'f') => run.put(column, |cell| cell.boolean(false)),
            Some(b'{') => run.put(column, |cell| cell.nested(&raw, "an object")),
            Some(b'[') => run.put(column, |cell| cell.nested(&raw, "an array")),
            _ => run.put(column, |cell| cell.number(&raw)),
        }
    }
}

impl<'de, B: Backend> Visitor<'de> for Value<'_, '_, B> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    #[inline]
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.put(self.1, |cell| cell.signed(value))
    }

    #[inline]
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if value == 0 && self.0.may_be_minus_zero(self.1) {
            return Err(self.0.fail(Failure::Misfit(self.1, Misfit::NeedsText)));
        }
        self.0.put(self.1, |cell| cell.unsigned(value))
    }

    #[inline]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if value == 0.0 && self.0.may_be_minus_zero(self.1) {
            return Err(self.0.fail(Failure::Misfit(self.1, Misfit::NeedsText)));
        }
        self.0.put(self.1, |cell| cell.float(value))
    }

    #[inline]
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.put(self.1, |cell| cell.text(text))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.0.put(self.1, |cell| cell.boolean(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.0.put(self.1, |cell| cell.null())
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<(), M::Error> {
        Err(self.0.fail(Failure::Misfit(self.1, Misfit::NeedsText)))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<(), S::Error> {
        Err(self.0.fail(Failure::Misfit(self.1, Misfit::NeedsText)))
    }
}

impl Failure {
    #[cold]
    fn describe(self, program: &Program) -> BadRecord {
        let of_column = |column: usize, reason: String, hint: String| {
            let rule = &program.columns[column];
            let table_column = &rule.table_column;
            BadRecord {
                field: Some(rule.field.to_string()),
                column: Some((table_column.name.clone(), table_column.type_text.clone())),
                reason,
                hint,
            }
        };
        let of_record =
            |field: Option<String>, reason: String, hint: String| BadRecord { field, column: None, reason, hint };
        match self {
            Self::Syntax(reason) => {
                of_record(None, reason, "see whether the topic's values are JSON: `value:` names the format".to_owned())
            }
            Self::NotAnObject(found) => of_record(
                None,
                format!("the value is {found}, not an object"),
                "each record must be an object with a field per column".to_owned(),
            ),
            Self::Unknown(field) => of_record(
                Some(field),
                "the table has no column for it".to_owned(),
                "add the column, or set `unknown_fields: ignore`".to_owned(),
            ),
            Self::Duplicate(column) => of_column(
                column,
                "the record has the field twice".to_owned(),
                "mend the producer: which of the two counts cannot be told".to_owned(),
            ),
            Self::Absent(column) => {
                let rule = &program.columns[column];
                let reason = if rule.table_column.nullable {
                    "the record lacks the field, and null and the column's DEFAULT cannot be told apart"
                } else {
                    "the record lacks the field, and the column is neither nullable nor has it a DEFAULT"
                };
                of_column(
                    column,
                    reason.to_owned(),
                    format!("alter the column, or set `columns.{}.drop: true`", rule.table_column.name),
                )
            }
            Self::Misfit(column, misfit) => {
                let logical = program.columns[column].logical;
                let alter = "alter the column, or mend the producer".to_owned();
                match misfit {
                    Misfit::Kind(found) => of_column(column, format!("takes {logical}, the record has {found}"), alter),
                    Misfit::Range => {
                        of_column(column, format!("takes {logical}, the value is out of its range"), alter)
                    }
                    Misfit::Precision => {
                        of_column(column, format!("takes {logical}, the value has more digits behind the point"), alter)
                    }
                    Misfit::Form(form) => of_column(column, format!("takes {logical}, the text is not {form}"), alter),
                    Misfit::Null => of_column(column, "is not nullable, the record has null".to_owned(), alter),
                    Misfit::NeedsText => of_column(column, format!("takes {logical}, the record has another"), alter),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rowfall_dialects::contract::{ColumnDefault, Mark, TableColumn, TableName, TableSchema, Values};

    use crate::config::Route;

    /// The oracle: the same seed over serde_json.
    struct SerdeJson;

    impl Backend for SerdeJson {
        fn run(text: &str, run: &mut Run<'_>) -> Result<usize, String> {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let result = Record::<Self>(run, PhantomData).deserialize(&mut deserializer);
            result
                .and_then(|filled| deserializer.end().map(|()| filled))
                .map_err(|_| "the value is not JSON".to_owned())
        }

        fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
            Ok(Cow::Borrowed(<&serde_json::value::RawValue>::deserialize(deserializer)?.get()))
        }

        fn unquote(raw: &str) -> Option<Cow<'_, str>> {
            serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
        }
    }

    fn column(name: &str, logical: &str, nullable: bool, default: ColumnDefault) -> TableColumn {
        TableColumn {
            name: name.to_owned(),
            type_text: logical.to_uppercase(),
            logical: Ok(logical.parse().expect("a type")),
            nullable,
            default,
            range: None,
            zone: None,
        }
    }

    fn program(columns: Vec<TableColumn>, unknown_fields: UnknownFields) -> Arc<Program> {
        let name = TableName::parse("shop.orders");
        let table = Arc::new(TableSchema { name: name.clone(), kind: "MergeTree".to_owned(), columns });
        let route = Route {
            topic: "orders".to_owned(),
            table: name,
            create: false,
            unknown_fields,
            columns: Vec::new(),
            storage: Default::default(),
        };
        Arc::new(Program::compile(&table, &route).expect("compiles"))
    }

    fn one(logical: &str) -> Arc<Program> {
        program(vec![column("v", logical, true, ColumnDefault::None)], UnknownFields::Error)
    }

    /// What one value becomes in a column of this type, by both libraries, which must agree.
    fn value(logical: &str, json: &str) -> String {
        let program = one(logical);
        let record = format!("{{\"v\":{json}}}");
        type Decode = fn(&mut Decoder, &[u8], &mut [Column], usize) -> Result<(), BadRecord>;
        let run = |decode: Decode| {
            let mut columns = program.layout.empty_columns();
            let mut decoder = Decoder::new(Arc::clone(&program));
            match decode(&mut decoder, record.as_bytes(), &mut columns, 0) {
                Err(bad) => {
                    assert_eq!(columns, program.layout.empty_columns(), "a bad record leaves no trace");
                    bad.reason
                }
                Ok(()) if columns[0].marks.get(0) == Mark::Null => "null".to_owned(),
                Ok(()) => match &columns[0].values {
                    Values::Text(text) => String::from_utf8_lossy(text.row(0)).into_owned(),
                    Values::Int256(v) => ethnum::I256::from_le_bytes(v[0]).to_string(),
                    values => format!("{values:?}").split_once('[').expect("a list").1.replace("])", ""),
                },
            }
        };
        let ours = run(Decoder::decode_with::<Sonic>);
        let oracle = run(Decoder::decode_with::<SerdeJson>);
        assert_eq!(ours.split(" (byte").next(), oracle.split(" (byte").next(), "{logical} {json}");
        ours
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
        assert!(value("string", r#""\ud800""#).starts_with("the value is not JSON"));
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
        let mut decode =
            |json: &str, row| decoder.decode(json.as_bytes(), &mut columns, row).map_err(|b| b.to_string());
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
}
