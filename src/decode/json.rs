//! JSON records: a `serde` seed that pushes each value into its column as the parser meets it.
//!
//! The parser is sonic-rs; the seed is generic over the deserializer, so that a test can run the same program over
//! serde_json and compare.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, LogicalType, Mark, Values, Variant};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::BadRecord;
use super::cell::{Cell, Misfit};
use super::nested;
use super::program::{COMPUTED, ColumnRule, Program, Unknown};

/// Runs a [`Program`] over JSON records. One per worker.
#[derive(Debug)]
pub struct Decoder {
    program: Arc<Program>,
    /// Per column: read the value as text first. Set for the types that need it, and learnt for the others from the
    /// first value that does.
    by_text: Box<[bool]>,
    /// The same, for every column: the second and last attempt on what the parser refuses.
    all: Box<[bool]>,
    /// The fields of the record that have no column, where they are collected: members of an object, being written.
    rest: String,
}

impl Decoder {
    /// A decoder for this program.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        let needs_text = |c: &ColumnRule| c.value.needs_text();
        let by_text = program.columns.iter().map(needs_text).collect();
        let all = vec![true; program.columns.len()].into();
        Self { program, by_text, all, rest: String::new() }
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
            let mut run =
                Run { program: &self.program, text, by_text, columns, row, rest: &mut self.rest, failure: None };
            run.rest.clear();
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
pub(super) trait Backend: Sized {
    /// Runs over the whole text; the number of columns that were filled, or what is wrong with the syntax.
    fn run(text: &str, run: &mut Run<'_>) -> Result<usize, String>;

    /// The next value as it is written, without white space around it.
    fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error>;

    /// A JSON string as it is written, quotes included, to what it says.
    fn unquote(raw: &str) -> Option<Cow<'_, str>>;

    /// Whether this is one JSON value and nothing else.
    fn is_valid(text: &str) -> bool;

    /// Hands on each element of an array as it is written. The array's syntax was seen to be right.
    fn each_element(raw: &str, take: &mut dyn FnMut(&str) -> Result<(), Misfit>) -> Result<(), Misfit>;

    /// Hands on each member of an object: its name, and its value as it is written.
    fn each_member(raw: &str, take: &mut dyn FnMut(&str, &str) -> Result<(), Misfit>) -> Result<(), Misfit>;
}

const JSON: Misfit = Misfit::Form("JSON");

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

    fn is_valid(text: &str) -> bool {
        sonic_rs::from_str::<IgnoredAny>(text).is_ok()
    }

    fn each_element(raw: &str, take: &mut dyn FnMut(&str) -> Result<(), Misfit>) -> Result<(), Misfit> {
        sonic_rs::to_array_iter(raw).try_for_each(|element| take(element.map_err(|_| JSON)?.as_raw_str()))
    }

    fn each_member(raw: &str, take: &mut dyn FnMut(&str, &str) -> Result<(), Misfit>) -> Result<(), Misfit> {
        sonic_rs::to_object_iter(raw).try_for_each(|member| {
            let (name, value) = member.map_err(|_| JSON)?;
            take(&name, value.as_raw_str())
        })
    }
}

/// One record on its way into the columns.
pub(super) struct Run<'a> {
    program: &'a Program,
    text: &'a str,
    by_text: &'a [bool],
    columns: &'a mut [Column],
    row: usize,
    rest: &'a mut String,
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
        self.program.columns[column].value.logical == LogicalType::Float64
            && self.text.as_bytes().windows(3).any(|w| w[..2] == *b"-0" && !w[2].is_ascii_digit())
    }

    #[cold]
    fn fail<E: serde::de::Error>(&mut self, failure: Failure) -> E {
        self.failure = Some(failure);
        E::custom("")
    }

    #[inline]
    fn null<E: serde::de::Error>(&mut self, column: usize) -> Result<(), E> {
        if self.program.columns[column].null_is_absent {
            self.columns[column].push_mark(Mark::Absent);
            return Ok(());
        }
        // A variant has a null of its own, which is no mark.
        if let Values::Variant(variant) = &mut self.columns[column].values {
            variant.kinds.push(Variant::NULL);
            return Ok(());
        }
        self.put(column, |cell| cell.null())
    }

    #[inline]
    fn put<E: serde::de::Error>(
        &mut self,
        column: usize,
        put: impl FnOnce(Cell<'_>) -> Result<(), Misfit>,
    ) -> Result<(), E> {
        let cell = Cell { rule: &self.program.columns[column].value, column: &mut self.columns[column] };
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
                map.next_value_seed(Rest::<B>(run, PhantomData))?;
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
        if let Unknown::Collected(column) = run.program.unknown {
            let json = if run.rest.is_empty() {
                "{}"
            } else {
                run.rest.push('}');
                run.rest.as_str()
            };
            let cell = Cell { rule: &run.program.columns[column].value, column: &mut run.columns[column] };
            cell.nested(json, "an object").map_err(|misfit| run.fail(Failure::Misfit(column, misfit)))?;
            filled += 1;
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
            Some(field) => Ok(Some(field)),
            None => match self.run.program.unknown {
                Unknown::Refused => Err(self.run.fail(Failure::Unknown(name.to_owned()))),
                Unknown::Ignored => Ok(None),
                Unknown::Collected(_) => {
                    let separator = if self.run.rest.is_empty() { '{' } else { ',' };
                    self.run.rest.push(separator);
                    self.run.rest.push_str(&serde_json::to_string(name).expect("a string can be written"));
                    self.run.rest.push(':');
                    Ok(None)
                }
            },
        }
    }
}

/// The value of a field without a column: collected as it is written, or read over.
struct Rest<'r, 'a, B>(&'r mut Run<'a>, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Rest<'_, '_, B> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if matches!(self.0.program.unknown, Unknown::Collected(_)) {
            self.0.rest.push_str(&B::raw(deserializer)?);
        } else {
            IgnoredAny::deserialize(deserializer)?;
        }
        Ok(())
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
        if &*raw == "null" {
            return run.null(column);
        }
        let rule = &run.program.columns[column].value;
        nested::put::<B>(rule, &mut run.columns[column], &raw)
            .map_err(|misfit| run.fail(Failure::Misfit(column, misfit)))
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
        self.0.null(self.1)
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
            Self::Unknown(field) if program.computes(&field) => {
                let hint = format!("leave the field out with `columns.{field}.drop: true`, or with `unknown_fields`");
                of_record(Some(field), format!("the column of this name cannot be filled: {COMPUTED}"), hint)
            }
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
                let name = &program.columns[column].table_column.name;
                of_column(
                    column,
                    "the record lacks the field, and the column is neither nullable nor has it a DEFAULT".to_owned(),
                    format!("alter the column, set `null: default` for the topic, or `columns.{name}.drop: true`"),
                )
            }
            Self::Misfit(column, misfit) => {
                let takes = program.columns[column].value.logical.to_string();
                of_column(column, misfit.describe(&takes), "alter the column, or mend the producer".to_owned())
            }
        }
    }
}

impl Misfit {
    /// What is wrong with a value of something that takes this.
    fn describe(&self, takes: &str) -> String {
        match self {
            Self::Kind(found) => format!("takes {takes}, the record has {found}"),
            Self::Range => format!("takes {takes}, the value is out of its range"),
            Self::Precision => format!("takes {takes}, the value has more digits behind the point"),
            Self::Form(form) => format!("takes {takes}, the text is not {form}"),
            Self::Null => "is not nullable, the record has null".to_owned(),
            Self::Unknown => format!("takes {takes}, which does not have the record's value"),
            Self::Part(what) => format!("takes {takes}, the value {what}"),
            Self::Length => format!("takes {takes}, the text is longer"),
            Self::NeedsText => format!("takes {takes}, the record has another"),
            Self::Within(place, takes, misfit) => format!("{place} {}", misfit.describe(takes)),
        }
    }
}

#[cfg(test)]
mod tests;
