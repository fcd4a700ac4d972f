//! What a sample of schemaless records shows of their fields.

use std::collections::HashSet;
use std::time::Duration;

use rowfall_dialects::contract::LogicalType;

use crate::config::{Envelope, Format, Route};
use crate::decode::{Flattening, Headers, Record, Schema, is_too_deep, row_in, split_connect, text_kind};
use crate::problem::Problem;
use crate::schemas::{RecordPart, Schemas};

/// A field as the sample shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferredField {
    /// Its name.
    pub name: String,
    /// The narrowest type that holds every value of the sample.
    pub logical: LogicalType,
    /// Whether it is null throughout.
    pub is_null: bool,
    /// Whether it may be null, where a schema says so.
    pub nullable: Option<bool>,
}

/// The fields of these records' values: as their schemas say, or as the values show.
///
/// # Errors
/// When a schema is needed, and nobody says it.
pub fn fields<'r>(route: &Route, records: impl IntoIterator<Item = Record<'r>>) -> Result<Vec<InferredField>, Problem> {
    let values = records.into_iter().filter_map(|record| Some((record.value?, record.headers)));
    match &route.value {
        Format::Avro(schemas) => of_schemas(schemas, RecordPart::Value, values, |schema| schema.fields(route)),
        Format::ConnectJson => Ok(of_connect(values.map(|(value, _)| value), |schema| schema.fields(route))),
        Format::Json | Format::String => {
            let rows = values.filter_map(|(value, _)| match route.envelope {
                Envelope::None => Some(value),
                Envelope::Debezium => row_in(value).map(str::as_bytes),
            });
            Ok(infer(rows, route))
        }
    }
}

/// The fields of all schemas that these bring with them.
pub(crate) fn of_connect<'r>(
    values: impl Iterator<Item = &'r [u8]>,
    fields: impl Fn(&Schema) -> Vec<InferredField>,
) -> Vec<InferredField> {
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    for value in values {
        // What has none, the decoder refuses by name.
        let Ok((text, _)) = split_connect(value) else { continue };
        if seen.insert(text)
            && let Ok(schema) = Schema::of_connect(text)
        {
            join(&mut all, fields(&schema));
        }
    }
    all
}

/// Adds the fields of another schema.
fn join(all: &mut Vec<InferredField>, fields: Vec<InferredField>) {
    for field in fields {
        match all.iter_mut().find(|known| known.name == field.name) {
            Some(known) => known.join(field),
            None => all.push(field),
        }
    }
}

/// The fields of all schemas that these name.
pub(crate) fn of_schemas<'r>(
    schemas: &Schemas,
    part: RecordPart,
    values: impl Iterator<Item = (&'r [u8], &'r dyn Headers)>,
    fields: impl Fn(&Schema) -> Vec<InferredField>,
) -> Result<Vec<InferredField>, Problem> {
    let (mut seen, mut all) = (HashSet::new(), Vec::<InferredField>::new());
    for (value, headers) in values {
        // What names none, or one that nobody knows, the decoder refuses by name.
        let Ok((id, _)) = schemas.name(value, headers, part) else { continue };
        if !seen.insert(id.clone()) {
            continue;
        }
        let Ok(schema) = schemas.get(&id, PATIENCE)? else { continue };
        join(&mut all, fields(&schema));
    }
    Ok(all)
}

impl InferredField {
    /// The same field in another schema.
    fn join(&mut self, other: Self) {
        if other.is_null {
            self.nullable = None;
            return;
        }
        let known = std::mem::replace(&mut self.logical, other.logical);
        if self.is_null || known == self.logical {
            (self.is_null, self.nullable) = (false, self.nullable.and(other.nullable));
            return;
        }
        self.nullable = self.nullable.and(other.nullable);
        self.logical = match (&known, &self.logical) {
            (LogicalType::Int32, LogicalType::Int64) | (LogicalType::Int64, LogicalType::Int32) => LogicalType::Int64,
            (LogicalType::Float32, LogicalType::Float64) | (LogicalType::Float64, LogicalType::Float32) => {
                LogicalType::Float64
            }
            (LogicalType::Timestamp { digits }, LogicalType::Timestamp { digits: more }) => {
                LogicalType::Timestamp { digits: *digits.max(more) }
            }
            _ => LogicalType::String,
        };
    }
}

/// How long a registry may take to say what a table needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one value, or several together, can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Null,
    Bool,
    /// An integer that i64 holds.
    Int,
    /// A non-negative one that only u64 holds.
    UInt,
    Float,
    Date,
    /// With this many digits behind the second.
    Timestamp(u8),
    Uuid,
    Text,
    /// An object that is flattened.
    Object,
}

/// The fields of these JSON objects, in the order in which they are first seen, by the names that the route's columns
/// have where it flattens objects, and fields that a `from` leads to by that way. Values that are no objects are left
/// out: the decoder will refuse them by name. Fields that are null throughout become strings.
///
/// An object that is flattened is no field itself, unless it is something else, too, or always empty.
#[must_use]
pub fn infer<'v>(values: impl IntoIterator<Item = &'v [u8]>, route: &Route) -> Vec<InferredField> {
    let ways = route.columns.iter().map(|c| c.from.as_str()).filter(|from| from.contains('.')).collect();
    let mut sample = Sample { flattening: Flattening::without_table(route), ways, fields: Vec::new() };
    for value in values {
        let Ok(text) = std::str::from_utf8(value) else { continue };
        if is_too_deep(value) || sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(text).is_err() {
            continue;
        }
        sample.add(text, &Place { name: None, way: None, depth: 1 }, None);
    }
    sample.finish()
}

struct Sample<'r> {
    flattening: Flattening<'r>,
    /// The ways that `from` says.
    ways: Vec<&'r str>,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    shape: Shape,
    /// The objects that it was seen in, indices of fields; the record is none.
    inside: Vec<Option<usize>>,
}

/// Where an object stands.
struct Place {
    /// What stands before its fields' names, where it is flattened or the record.
    name: Option<String>,
    /// The same for ways.
    way: Option<String>,
    depth: usize,
}

impl Sample<'_> {
    fn add(&mut self, object: &str, place: &Place, inside: Option<usize>) {
        for field in sonic_rs::to_object_iter(object) {
            let Ok((key, value)) = field else { return };
            let raw = value.as_raw_str();
            let way = place.way.as_deref().map_or_else(|| key.to_string(), |way| format!("{way}.{key}"));
            if place.way.is_some() && self.ways.contains(&way.as_str()) {
                self.see(&way, Shape::of(raw), inside);
                continue;
            }
            let name = match (&place.name, place.depth) {
                (Some(name), _) => Some(format!("{name}{}{key}", self.flattening.separator())),
                (None, 1) => Some(self.flattening.name_of(&key).to_owned()),
                (None, _) => None,
            };
            let is_object = raw.starts_with('{');
            let flattened = name.as_ref().is_some_and(|name| self.flattening.opens(name, place.depth));
            let on_the_way = self.ways.iter().any(|w| w.strip_prefix(&way).is_some_and(|rest| rest.starts_with('.')));
            let known = match &name {
                Some(name) if is_object && flattened => Some(self.see(name, Shape::Object, inside)),
                Some(_) if is_object && on_the_way => None,
                // A field by its own name, as `from` may say it.
                Some(_) if place.depth == 1 && !flattened => Some(self.see(&key, Shape::of(raw), inside)),
                Some(name) => Some(self.see(name, Shape::of(raw), inside)),
                None => None,
            };
            if is_object && (flattened || on_the_way) {
                let inner = Place {
                    name: name.filter(|_| flattened),
                    way: Some(way).filter(|_| on_the_way),
                    depth: place.depth + 1,
                };
                self.add(raw, &inner, known);
            }
        }
    }

    fn see(&mut self, name: &str, shape: Shape, inside: Option<usize>) -> usize {
        let index = self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Field { name: name.to_owned(), shape, inside: Vec::new() });
            self.fields.len() - 1
        });
        let field = &mut self.fields[index];
        field.shape = field.shape.with(shape);
        if !field.inside.contains(&inside) {
            field.inside.push(inside);
        }
        index
    }

    fn finish(self) -> Vec<InferredField> {
        let is_there: Vec<_> = (0..self.fields.len()).map(|index| self.is_there(index)).collect();
        let mut is_full = vec![false; self.fields.len()];
        for (field, _) in self.fields.iter().zip(&is_there).filter(|(_, is_there)| **is_there) {
            field.inside.iter().flatten().for_each(|outer| is_full[*outer] = true);
        }
        // An object whose fields are gone, since it is something else as well, is a text.
        let columns = self.fields.into_iter().zip(is_there.into_iter().zip(is_full));
        columns
            .filter(|(field, (is_there, is_full))| *is_there && !(*is_full && field.shape == Shape::Object))
            .map(|(Field { name, shape, .. }, _)| InferredField {
                name,
                logical: shape.logical(),
                is_null: shape == Shape::Null,
                nullable: None,
            })
            .collect()
    }

    /// Whether the field is in the record, or in an object that is nothing but an object.
    fn is_there(&self, index: usize) -> bool {
        self.fields[index].inside.iter().any(|outer| match outer {
            Some(outer) => self.fields[*outer].shape == Shape::Object && self.is_there(*outer),
            None => true,
        })
    }
}

impl Shape {
    fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => match text_kind(&raw[1..raw.len() - 1]) {
                Some(LogicalType::Date) => Self::Date,
                Some(LogicalType::Timestamp { digits }) => Self::Timestamp(digits),
                Some(LogicalType::Uuid) => Self::Uuid,
                _ => Self::Text,
            },
            Some(b'{' | b'[') => Self::Text,
            _ if raw.parse::<i64>().is_ok() => Self::Int,
            _ if raw.parse::<u64>().is_ok() => Self::UInt,
            // An integer of more digits than any number type keeps as a double.
            _ if raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') => Self::Text,
            _ => Self::Float,
        }
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, known) | (known, Self::Null) => known,
            (Self::Int | Self::UInt, Self::Float) | (Self::Float, Self::Int | Self::UInt) => Self::Float,
            (Self::Int, Self::UInt) | (Self::UInt, Self::Int) => Self::UInt,
            (Self::Timestamp(a), Self::Timestamp(b)) => Self::Timestamp(a.max(b)),
            _ => Self::Text,
        }
    }

    fn logical(self) -> LogicalType {
        match self {
            Self::Bool => LogicalType::Bool,
            Self::Int => LogicalType::Int64,
            Self::UInt => LogicalType::UInt64,
            Self::Float => LogicalType::Float64,
            Self::Date => LogicalType::Date,
            Self::Timestamp(digits) => LogicalType::Timestamp { digits },
            Self::Uuid => LogicalType::Uuid,
            Self::Null | Self::Text | Self::Object => LogicalType::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ColumnSettings, Nested};
    use rowfall_dialects::contract::TableName;

    fn inferred(records: &[&str]) -> String {
        inferred_for(&Route::new("t", TableName::parse("t")), records)
    }

    fn inferred_for(route: &Route, records: &[&str]) -> String {
        let values: Vec<_> = records.iter().map(|r| r.as_bytes().to_vec()).collect();
        let text = |f: InferredField| format!("{} {}", f.name, f.logical);
        infer(values.iter().map(Vec::as_slice), route).into_iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_narrowest_type_that_holds_the_sample() {
        assert_eq!(inferred(&[r#"{"a":1,"b":"x","c":true}"#, r#"{"b":"y","a":-2}"#]), "a int64, b string, c bool");
        assert_eq!(inferred(&[r#"{"a":1}"#, r#"{"a":1.5}"#, r#"{"a":null}"#]), "a float64");
        assert_eq!(inferred(&[r#"{"a":18446744073709551615}"#, r#"{"a":1}"#]), "a uint64");
        assert_eq!(inferred(&[r#"{"a":184467440737095516150}"#]), "a string");
        assert_eq!(inferred(&[r#"{"a":1}"#, r#"{"a":"1"}"#]), "a string");
        assert_eq!(inferred(&[r#"{"a":null,"b":{"c":1},"d":[1]}"#]), "a string, b string, d string");
        assert_eq!(
            inferred(&[r#"{"t":"2024-02-29T12:00:00Z","d":"2024-02-29","u":"00000000-0000-0000-0000-000000000001"}"#]),
            "t timestamp(3), d date, u uuid"
        );
        assert_eq!(inferred(&[r#"{"t":"2024-02-29T12:00:00.1234+02:00"}"#]), "t timestamp(6)");
        assert_eq!(inferred(&[r#"{"t":"2024-02-29T12:00:00"}"#]), "t string");
        assert_eq!(inferred(&["[1]", "x", r#"{"a":1}"#]), "a int64");
    }

    #[test]
    fn flattened_objects_become_columns() {
        let mut route = Route::new("t", TableName::parse("t"));
        route.nested = Nested::Flatten;
        let inferred = |route: &Route, records: &[&str]| inferred_for(route, records);
        assert_eq!(
            inferred(&route, &[r#"{"a":{"b":{"c":1},"d":[1]},"e":{}}"#, r#"{"a":null,"a_d":"x","f":{"g":true}}"#]),
            "a_b_c int64, a_d string, e string, f_g bool"
        );
        assert_eq!(inferred(&route, &[r#"{"a":{"b":1}}"#, r#"{"a":5,"a_c":2}"#]), "a string, a_c int64");
        assert_eq!(inferred(&route, &[r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":"x"}}"#]), "a_b string");
        route.flatten.depth = 2;
        assert_eq!(inferred(&route, &[r#"{"a":{"b":{"c":1}}}"#]), "a_b string");
        let column = |name: &str, from: &str, nested| ColumnSettings {
            from: from.to_owned(),
            nested,
            ..ColumnSettings::new(name)
        };
        route.columns = vec![column("a", "a", Some(Nested::Json)), column("x", "b.c.d", None)];
        let record = r#"{"a":{"b":1},"b":{"c":{"d":1,"e":2},"f":3}}"#;
        assert_eq!(inferred(&route, &[record]), "a string, b.c.d int64, b_f int64");
        route.nested = Nested::Native;
        assert_eq!(inferred(&route, &[record]), "a string, b.c.d int64");
        route.columns = vec![column("p", "b", Some(Nested::Flatten))];
        route.flatten.depth = 3;
        assert_eq!(inferred(&route, &[record]), "a string, p_c_d int64, p_c_e int64, p_f int64");
    }
}
