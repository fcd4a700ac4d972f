//! JSON records: a `serde` seed that pushes each value into its column as the parser meets it.
//!
//! The parser is sonic-rs; the seed is generic over the deserializer, so that a test can run the same program over
//! serde_json and compare.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, LogicalType, Mark};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::BadRecord;
use super::cell::{Cell, Misfit};
use super::envelope::UNAVAILABLE;
use super::failure::Failure;
use super::fields::{Field, Object};
use super::nested;
use super::program::{ColumnRule, Program, Unknown};

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
    /// Per object of the program: the attempt that met it last.
    met: Box<[u64]>,
    attempt: u64,
    /// Objects of the program that are null in the record.
    nulls: Vec<usize>,
}

impl Decoder {
    /// A decoder for this program.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        let needs_text = |c: &ColumnRule| c.value.needs_text();
        let by_text = program.columns.iter().map(needs_text).collect();
        let all = vec![true; program.columns.len()].into();
        let met = vec![0; program.objects.len()].into();
        Self { program, by_text, all, rest: String::new(), met, attempt: 0, nulls: Vec::new() }
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
            cure: None,
        })?;
        if is_too_deep(payload) {
            return Err(BadRecord {
                field: None,
                column: None,
                reason: format!("objects and arrays lie more than {MAX_DEPTH} deep in each other"),
                hint: "mend the producer: nobody means this".to_owned(),
                cure: None,
            });
        }
        let mut all_by_text = false;
        loop {
            let by_text = if all_by_text { &*self.all } else { &*self.by_text };
            self.attempt += 1;
            let mut run = Run {
                program: &self.program,
                text,
                by_text,
                all_by_text,
                columns,
                row,
                filled: 0,
                rest: &mut self.rest,
                met: &mut self.met,
                attempt: self.attempt,
                nulls: &mut self.nulls,
                failure: None,
            };
            run.rest.clear();
            run.nulls.clear();
            let failure = match B::run(text, &mut run, 0) {
                Ok(()) if run.filled == self.program.columns.len() => return Ok(()),
                Ok(()) => match run.fill_absent() {
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
    /// Runs over the whole text, which is the program's object of this index. What is wrong with the syntax, if anything
    /// is: the run's failure goes before it.
    fn run(text: &str, run: &mut Run<'_>, object: usize) -> Result<(), String>;

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

/// Objects and arrays inside each other beyond which a value is not read: JSON libraries spend stack on each. ClickHouse
/// reads as many.
const MAX_DEPTH: usize = 1000;

/// Whether objects and arrays lie more than [`MAX_DEPTH`] deep in each other.
#[inline]
pub(crate) fn is_too_deep(json: &[u8]) -> bool {
    // Each has a byte at least, and nearly every long value has fewer of them in all.
    json.len() > MAX_DEPTH && opening(json) > MAX_DEPTH && depth(json) > MAX_DEPTH
}

/// Where a backslash stands before what JSON gives no meaning to. sonic-rs does not look into strings that it reads over
/// or hands out as they are written, and the database would refuse the whole batch for one.
fn wrong_escape(json: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = json[from..].iter().position(|byte| *byte == b'\\').map(|at| from + at) {
        from = match json[at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at + 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => at + 6,
            _ => return Some(at),
        };
    }
    None
}

/// Whether half of a surrogate pair stands in a string, which JSON's grammar allows and Unicode does not. The escapes were
/// seen to be right.
pub(super) fn has_half_a_pair(json: &str) -> bool {
    let unit = |at: usize| {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut from = 0;
    while let Some(at) = json[from..].find('\\').map(|at| from + at) {
        from = match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at + 12,
            Some(0xd800..=0xdfff) => return true,
            Some(_) => at + 6,
            None => at + 2,
        };
    }
    false
}

/// How many objects and arrays begin, counting those in strings. In runs that a byte can count, which is what compilers
/// make vector instructions of.
fn opening(json: &[u8]) -> usize {
    let of = |run: &[u8]| run.iter().map(|byte| u8::from(*byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(128).map(|run| usize::from(of(run))).sum()
}

#[cold]
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

const JSON: Misfit = Misfit::Form("JSON");

/// The parser of every run.
pub(super) struct Sonic;

impl Backend for Sonic {
    fn run(text: &str, run: &mut Run<'_>, object: usize) -> Result<(), String> {
        let mut deserializer = sonic_rs::Deserializer::from_str(text);
        let result = Whole::<Self>(run, object, PhantomData).deserialize(&mut deserializer);
        // The library's own text quotes the record, which a message must not.
        let place = |e: &sonic_rs::Error| format!("the value is not JSON (byte {})", e.offset());
        result.and_then(|()| deserializer.end()).map_err(|e| place(&e))
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
        wrong_escape(text.as_bytes()).is_none() && sonic_rs::from_str::<IgnoredAny>(text).is_ok()
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
    all_by_text: bool,
    columns: &'a mut [Column],
    row: usize,
    /// Columns that have their value.
    filled: usize,
    rest: &'a mut String,
    met: &'a mut [u64],
    attempt: u64,
    nulls: &'a mut Vec<usize>,
    failure: Option<Failure>,
}

impl Run<'_> {
    fn fill_absent(&mut self) -> Result<(), Failure> {
        while let Some(object) = self.nulls.pop() {
            for column in &self.program.objects[object].below {
                if self.columns[*column].len() == self.row {
                    self.put_null(*column).map_err(|misfit| Failure::Misfit(*column, misfit))?;
                }
            }
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.len() == self.row {
                let mark = self.program.columns[index].when_absent.ok_or(Failure::Absent(index))?;
                column.push_mark(mark);
            }
        }
        Ok(())
    }

    /// Refuses a value, as it is written, with a string that is none of JSON's. The parser looks into those only that it
    /// unescapes.
    fn check_strings<E: serde::de::Error>(&mut self, raw: &str) -> Result<(), E> {
        match wrong_escape(raw.as_bytes()) {
            None => Ok(()),
            Some(at) => {
                Err(self.fail(Failure::Syntax(format!("the value is not JSON (byte {at} of what stands in a field)"))))
            }
        }
    }

    /// Counts the object as met, which a record may have once.
    fn meet(&mut self, object: usize) -> Result<(), Failure> {
        if self.met[object] == self.attempt {
            return Err(Failure::Twice(object));
        }
        self.met[object] = self.attempt;
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
        self.put_null(column).map_err(|misfit| self.fail(Failure::Misfit(column, misfit)))
    }

    /// The source does not say the value, since it did not change.
    #[cold]
    fn keep<E: serde::de::Error>(&mut self, column: usize) -> Result<(), E> {
        if !self.program.keeps {
            return Err(self.fail(Failure::Unavailable(column)));
        }
        self.columns[column].push_mark(Mark::Absent);
        Ok(())
    }

    #[inline]
    fn put_null(&mut self, column: usize) -> Result<(), Misfit> {
        self.program.columns[column].put_null(&mut self.columns[column])
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

/// One of the program's objects as a whole text: the record, or one inside it.
struct Whole<'r, 'a, B>(&'r mut Run<'a>, usize, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Whole<'_, '_, B> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! not_an_object {
    ($($visit:ident($type:ty) $what:literal)*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<(), E> {
            Err(self.0.fail(Failure::NotAnObject($what)))
        }
    )*};
}

impl<'de, B: Backend> Visitor<'de> for Whole<'_, '_, B> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        let Self(run, object, _) = self;
        put_fields::<B, M>(run, object, map)?;
        if let (0, Unknown::Collected(column)) = (object, run.program.unknown) {
            let json = if run.rest.is_empty() {
                "{}"
            } else {
                run.rest.push('}');
                run.rest.as_str()
            };
            let cell = Cell { rule: &run.program.columns[column].value, column: &mut run.columns[column] };
            cell.nested(json, "an object").map_err(|misfit| run.fail(Failure::Misfit(column, misfit)))?;
            run.filled += 1;
        }
        Ok(())
    }

    not_an_object! {
        visit_bool(bool) "a boolean"
        visit_i64(i64) "a number"
        visit_u64(u64) "a number"
        visit_f64(f64) "a number"
        visit_str(&str) "a string"
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.0.fail(Failure::NotAnObject("null")))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<(), S::Error> {
        Err(self.0.fail(Failure::NotAnObject("an array")))
    }
}

/// The fields of an object, each where the program says.
#[inline]
fn put_fields<'de, B: Backend, M: MapAccess<'de>>(
    run: &mut Run<'_>,
    object: usize,
    mut map: M,
) -> Result<(), M::Error> {
    let known = &run.program.objects[object];
    let (mut expected, mut filled) = (0, 0);
    while let Some(field) = map.next_key_seed(Key { run, known, expected })? {
        let Some(field) = field else {
            map.next_value_seed(Rest::<B>(run, PhantomData))?;
            continue;
        };
        expected = field + 1;
        let field = &known.fields[field];
        if let Some(inner) = field.object {
            map.next_value_seed(Inner::<B>(run, field, inner, PhantomData))?;
        } else if let Some(column) = field.column {
            if run.columns[column].len() > run.row {
                return Err(run.fail(Failure::Duplicate(column)));
            }
            map.next_value_seed(Value::<B>(run, column, PhantomData))?;
            filled += 1;
        } else {
            map.next_value_seed(Skipped::<B>(run, PhantomData))?;
        }
    }
    run.filled += filled;
    Ok(())
}

/// A field's name, to its index in the object; `None` for one that is not known.
struct Key<'r, 'a, 'o> {
    run: &'r mut Run<'a>,
    known: &'o Object,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    #[inline]
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        match self.known.field(name, self.expected) {
            Some(field) => Ok(Some(field)),
            None => match self.run.program.unknown {
                Unknown::Refused => Err(self.run.fail(Failure::Unknown(format!("{}{name}", self.known.prefix)))),
                Unknown::Ignored => Ok(None),
                Unknown::Added => {
                    self.run.rest.clear();
                    self.run.rest.extend([&*self.known.prefix, name]);
                    Ok(None)
                }
                Unknown::Collected(_) => {
                    self.run.collect(&self.known.prefix, name);
                    Ok(None)
                }
            },
        }
    }
}

impl Run<'_> {
    /// Begins a member of the collected fields, up to its value.
    fn collect(&mut self, prefix: &str, name: &str) {
        let separator = if self.rest.is_empty() { '{' } else { ',' };
        self.rest.push(separator);
        let name = serde_json::to_string(&format_args!("{prefix}{name}"));
        self.rest.push_str(&name.expect("a string can be written"));
        self.rest.push(':');
    }
}

/// The value of a field that is not known: collected as it is written, or read over.
struct Rest<'r, 'a, B>(&'r mut Run<'a>, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Rest<'_, '_, B> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw = B::raw(deserializer)?;
        self.0.check_strings(&raw)?;
        match self.0.program.unknown {
            Unknown::Collected(_) => self.0.rest.push_str(&raw),
            // Null says nothing of the column that the table would get, and is what it would hold.
            Unknown::Added if &*raw != "null" => {
                let field = std::mem::take(self.0.rest);
                return Err(self.0.fail(Failure::Unknown(field)));
            }
            Unknown::Added | Unknown::Ignored | Unknown::Refused => {}
        }
        Ok(())
    }
}

/// A value that is read over.
struct Skipped<'r, 'a, B>(&'r mut Run<'a>, PhantomData<B>);

impl<'de, B: Backend> DeserializeSeed<'de> for Skipped<'_, '_, B> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw = B::raw(deserializer)?;
        self.0.check_strings(&raw)
    }
}

/// The value of a field whose own fields are known: most often an object. The field, the program's object.
struct Inner<'r, 'a, B>(&'r mut Run<'a>, &'a Field, usize, PhantomData<B>);

impl<'a, B: Backend> Inner<'_, 'a, B> {
    /// Null: so is whatever is inside.
    fn null<E: serde::de::Error>(self) -> Result<(), E> {
        let Self(run, _, object, _) = self;
        run.meet(object).map_err(|failure| run.fail(failure))?;
        run.nulls.push(object);
        Ok(())
    }

    /// Neither an object nor null, and there is no column that takes it.
    fn other<E: serde::de::Error>(self) -> Result<(), E> {
        match self.0.program.unknown {
            Unknown::Refused | Unknown::Added => Err(self.0.fail(Failure::NotOpened(self.2))),
            Unknown::Ignored | Unknown::Collected(_) => Ok(()),
        }
    }

    /// From its text, where that may be needed as it is written.
    fn raw<E: serde::de::Error>(self, raw: &str) -> Result<(), E> {
        let Self(run, field, object, _) = self;
        run.check_strings(raw)?;
        if raw.starts_with('{') {
            run.meet(object).map_err(|failure| run.fail(failure))?;
            return B::run(raw, run, object).map_err(E::custom);
        }
        let is_null = raw == "null";
        match field.column {
            Some(column) if run.columns[column].len() > run.row => {
                return Err(run.fail(Failure::Duplicate(column)));
            }
            Some(column) if is_null => {
                run.null(column)?;
                run.filled += 1;
            }
            Some(column) => {
                let rule = &run.program.columns[column].value;
                nested::put::<B>(rule, &mut run.columns[column], raw)
                    .map_err(|misfit| run.fail(Failure::Misfit(column, misfit)))?;
                run.filled += 1;
            }
            None if !is_null && matches!(run.program.unknown, Unknown::Collected(_)) => {
                run.collect("", &run.program.objects[object].name);
                run.rest.push_str(raw);
            }
            None => {}
        }
        match is_null {
            true => Inner::<B>(run, field, object, PhantomData).null(),
            false if field.column.is_none() => Inner::<B>(run, field, object, PhantomData).other(),
            false => Ok(()),
        }
    }
}

impl<'de, B: Backend> DeserializeSeed<'de> for Inner<'_, '_, B> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let collects = matches!(self.0.program.unknown, Unknown::Collected(_));
        if self.1.column.is_some() || collects || self.0.all_by_text {
            let raw = B::raw(deserializer)?;
            self.raw(&raw)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

macro_rules! other {
    ($($visit:ident($type:ty))*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<(), E> {
            self.other()
        }
    )*};
}

impl<'de, B: Backend> Visitor<'de> for Inner<'_, '_, B> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    #[inline]
    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        let Self(run, _, object, _) = self;
        run.meet(object).map_err(|failure| run.fail(failure))?;
        put_fields::<B, M>(run, object, map)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.null()
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut elements: S) -> Result<(), S::Error> {
        while elements.next_element_seed(Skipped::<B>(self.0, PhantomData))?.is_some() {}
        self.other()
    }

    other! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }
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
        if run.program.envelope && raw.get(1..raw.len() - 1) == Some(UNAVAILABLE) {
            return run.keep(column);
        }
        if raw.starts_with(['{', '[']) {
            run.check_strings(&raw)?;
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
        if self.0.program.envelope && text == UNAVAILABLE {
            return self.0.keep(self.1);
        }
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

#[cfg(any(test, fuzzing))]
mod oracle;

#[cfg(test)]
mod flatten_tests;
#[cfg(test)]
mod tests;
