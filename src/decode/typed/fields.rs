//! What the fields of a schema's records would be as columns.

use std::sync::Arc;

use rowfall_dialects::contract::{LogicalType, MAX_DECIMAL_PRECISION, StructField, ValueType};

use super::schema::{Field, Schema, Type, TypeId};
use crate::config::{Envelope, Nested, Route};
use crate::decode::Flattening;
use crate::infer::InferredField;

/// Types inside each other beyond which a value becomes a text: a type may hold itself.
const MAX_DEPTH: usize = 16;

/// Where a record stands.
struct Place {
    /// What stands before its fields' names, where it is flattened or the record.
    name: Option<String>,
    /// The same for ways.
    way: Option<String>,
    depth: usize,
    /// Whether it may be null, or stands in one that may be.
    nullable: bool,
}

impl Schema {
    /// The fields of its records, by the names that the route's columns have where it flattens objects, and fields that a
    /// `from` leads to by that way. None where it is a schema of other values than records.
    pub(crate) fn fields(&self, route: &Route) -> Vec<InferredField> {
        let ways = route.columns.iter().map(|c| c.from.as_str()).filter(|from| from.contains('.')).collect();
        let mut walk = Walk { schema: self, route, flattening: Flattening::without_table(route), ways, fields: vec![] };
        let row = match route.envelope {
            Envelope::None => Some(self.root),
            Envelope::Debezium => {
                self.record(self.root).and_then(|fields| Some(fields.iter().find(|field| &*field.name == "after")?.id))
            }
        };
        if let Some(fields) = row.and_then(|row| self.record(row)) {
            walk.record(fields, &Place { name: None, way: None, depth: 1, nullable: false });
        }
        walk.fields
    }

    /// The field that a value of this schema is, where it is no record, under this name.
    pub(crate) fn as_field(&self, name: &str) -> Option<InferredField> {
        match self.of(self.root) {
            Type::Record(_) | Type::Array(_) | Type::Map(_) => None,
            _ => Some(self.field(name.to_owned(), self.root, true)),
        }
    }

    fn field(&self, name: String, id: TypeId, native: bool) -> InferredField {
        let ValueType { logical, nullable, .. } = self.value(id, native, 0);
        let is_null = matches!(self.of(id), Type::Null);
        InferredField { name, logical, is_null, nullable: (!nullable).then_some(false) }
    }

    /// What such values are. `native`: with parts of their own, not as JSON text.
    fn value(&self, id: TypeId, native: bool, depth: usize) -> ValueType {
        let text = || LogicalType::String;
        let nested = native && depth < MAX_DEPTH;
        let part = |id: TypeId| self.value(id, native, depth + 1);
        let logical = match self.of(id) {
            Type::Boolean => LogicalType::Bool,
            Type::Integer { short: true } => LogicalType::Int32,
            Type::Integer { short: false } => LogicalType::Int64,
            Type::Float => LogicalType::Float32,
            Type::Double => LogicalType::Float64,
            Type::Bytes | Type::Fixed(_) => LogicalType::Bytes,
            Type::Decimal { precision, scale, .. } => match u8::try_from(*precision) {
                Ok(precision @ ..=MAX_DECIMAL_PRECISION) => LogicalType::Decimal { precision, scale: *scale },
                _ => text(),
            },
            Type::Uuid | Type::UuidText => LogicalType::Uuid,
            Type::Date => LogicalType::Date,
            Type::Time { digits } => LogicalType::Time { digits: *digits },
            Type::Timestamp { digits, .. } => LogicalType::Timestamp { digits: *digits },
            Type::Json => LogicalType::Json,
            Type::Array(item) if nested => LogicalType::List(Arc::new(part(*item))),
            Type::Map(value) if nested => LogicalType::Map(Arc::new((LogicalType::String.into(), part(*value)))),
            Type::Record(fields) if nested && !fields.is_empty() => {
                let field = |field: &Field| StructField { name: Some((*field.name).into()), value: part(field.id) };
                LogicalType::Struct(fields.iter().map(field).collect())
            }
            Type::Union(branches) => {
                let is_null = |branch: &&TypeId| matches!(self.of(**branch), Type::Null);
                let nullable = branches.iter().any(|branch| is_null(&branch));
                let others: Vec<_> = branches.iter().filter(|branch| !is_null(branch)).collect();
                return match others[..] {
                    [only] => ValueType { nullable, ..self.value(*only, native, depth) },
                    _ => ValueType { nullable, ..text().into() },
                };
            }
            Type::Null => return ValueType { nullable: true, ..text().into() },
            Type::TimestampText => LogicalType::Timestamp { digits: 6 },
            // A scale that each value has for itself, parts that do not add up, names; what is not taken apart.
            Type::VariableDecimal | Type::Duration | Type::Enum(_) | Type::String => text(),
            Type::Array(_) | Type::Map(_) | Type::Record(_) => text(),
        };
        logical.into()
    }
}

struct Walk<'w> {
    schema: &'w Schema,
    route: &'w Route,
    flattening: Flattening<'w>,
    /// The ways that `from` says.
    ways: Vec<&'w str>,
    fields: Vec<InferredField>,
}

impl Walk<'_> {
    fn record(&mut self, fields: &[Field], place: &Place) {
        for field in fields {
            let key = &*field.name;
            let way = place.way.as_deref().map_or_else(|| key.to_owned(), |way| format!("{way}.{key}"));
            if place.way.is_some() && self.ways.contains(&way.as_str()) {
                self.put(way, field.id, place);
                continue;
            }
            let name = match (&place.name, place.depth) {
                (Some(name), _) => Some(format!("{name}{}{key}", self.flattening.separator())),
                (None, 1) => Some(self.flattening.name_of(key).to_owned()),
                (None, _) => None,
            };
            let record = self.schema.record(field.id);
            let opens = name.as_ref().is_some_and(|name| self.flattening.opens(name, place.depth));
            let flattened = record.is_some() && opens;
            let on_the_way = record.is_some()
                && self.ways.iter().any(|w| w.strip_prefix(&way).is_some_and(|rest| rest.starts_with('.')));
            match &name {
                Some(_) if flattened || on_the_way => {}
                // By its own name, as `from` may say it.
                Some(_) if place.depth == 1 => self.put(key.to_owned(), field.id, place),
                Some(name) => self.put(name.clone(), field.id, place),
                None => {}
            }
            if let Some(inner) = record.filter(|_| flattened || on_the_way) {
                let inner_place = Place {
                    name: name.filter(|_| flattened),
                    way: Some(way).filter(|_| on_the_way),
                    depth: place.depth + 1,
                    nullable: place.nullable || !matches!(self.schema.of(field.id), Type::Record(_)),
                };
                // A type that holds itself is flattened as deep as the route says.
                if place.depth < MAX_DEPTH {
                    self.record(inner, &inner_place);
                }
            }
        }
    }

    fn put(&mut self, name: String, id: TypeId, place: &Place) {
        if self.fields.iter().any(|known| known.name == name) {
            return;
        }
        let settings = self.route.columns.iter().find(|c| c.from == name || c.name == name);
        let native = settings.and_then(|c| c.nested).unwrap_or(self.route.nested) != Nested::Json;
        let field = self.schema.field(name, id, native);
        self.fields.push(InferredField { nullable: field.nullable.filter(|_| !place.nullable), ..field });
    }
}
