//! A table that does not exist yet: its columns and its key, from the configuration or from a sample.

use std::borrow::Cow;

use rowfall_dialects::contract::{COORDINATES, ColumnSpec, Connection, LogicalType, TableSpec};

use super::{Table, column_type, parse_type, storable};
use crate::config::{ColumnSettings, Envelope, Format, KeySource, Mode, Nested, Route};
use crate::decode::Schema;
use crate::infer::{InferredField, fields, infer, of_connect, of_schemas};
use crate::problem::Problem;
use crate::schemas::RecordPart;
use crate::source::topics::Sample;

/// The column of a record's key that is one value and has no name.
const KEY: &str = "_key";

/// The table that the route wants, which does not exist.
pub(super) fn missing(
    connection: &Connection,
    route: &Route,
    sample: impl FnOnce() -> Result<Sample, Problem>,
) -> Result<Table, Problem> {
    let (mut columns, sample, sampled) = if route.columns.iter().any(|c| c.type_text.is_some()) {
        (configured_columns(connection, route)?, None, None)
    } else {
        let sample = sample()?;
        let columns = inferred_columns(connection, route, &sample)?;
        let values = sample.values();
        (columns, Some(sample), Some(values))
    };
    let key = key(connection, route, &mut columns, sample.as_ref())?;
    let spec = TableSpec { name: route.table.clone(), columns, key, storage: route.storage.clone() };
    let ddl = connection.grammar.create_table(&spec).map_err(|refusal| {
        Problem::new(refusal.to_string(), format!("change `topics.{}`, or create the table yourself", route.key))
    })?;
    Ok(Table::Missing { spec: Box::new(spec), ddl, sampled })
}

fn configured_columns(connection: &Connection, route: &Route) -> Result<Vec<ColumnSpec>, Problem> {
    let columns = route.columns.iter().filter(|c| !c.drop);
    columns
        .map(|configured| {
            let name = &configured.name;
            let Some(type_text) = &configured.type_text else {
                return Err(Problem::new(
                    format!("the table does not exist and `columns.{name}` has no type"),
                    "give every column a type, or none to have them inferred from a sample",
                ));
            };
            let value = parse_type(connection, type_text, name)?;
            // The database's own words are kept: they may say more than the logical type.
            let own_words = type_text.parse::<LogicalType>().is_err();
            let text = if own_words { type_text.clone() } else { column_type(connection, &value.logical, name)? };
            Ok(column_spec(name, text, Some(configured)))
        })
        .collect()
}

fn inferred_columns(connection: &Connection, route: &Route, sample: &Sample) -> Result<Vec<ColumnSpec>, Problem> {
    let columns = columns_of(connection, route, fields(route, sample.records())?)?;
    if columns.is_empty() {
        return Err(Problem::new(
            "the table does not exist and the topic has no record to infer it from",
            format!(
                "say its columns under `topics.{}.columns`, create the table, or start when there are records",
                route.key
            ),
        ));
    }
    Ok(columns)
}

fn columns_of(connection: &Connection, route: &Route, fields: Vec<InferredField>) -> Result<Vec<ColumnSpec>, Problem> {
    let mut columns = Vec::new();
    for field in fields {
        let configured = route.columns.iter().find(|c| c.from == field.name && c.nested != Some(Nested::Flatten));
        if configured.is_some_and(|c| c.drop) {
            continue;
        }
        let name = configured.map_or(&field.name, |c| &c.name).clone();
        let type_text = storable(&*connection.grammar, &field.logical).or_else(|_| {
            // It says why, and what to do.
            column_type(connection, &field.logical, &name)
        })?;
        let spec = column_spec(&name, type_text, configured);
        columns.push(ColumnSpec { nullable: spec.nullable.or(field.nullable), ..spec });
    }
    Ok(columns)
}

/// A column as the route wants it.
fn column_spec(name: &str, type_text: String, configured: Option<&ColumnSettings>) -> ColumnSpec {
    ColumnSpec {
        name: name.to_owned(),
        type_text,
        nullable: configured.and_then(|c| c.nullable),
        default: configured.and_then(|c| c.default.clone()),
        storage: configured.map(|c| c.storage.clone()).unwrap_or_default(),
    }
}

/// The columns of the new table's key; those that no value fills are added.
fn key(
    connection: &Connection,
    route: &Route,
    columns: &mut Vec<ColumnSpec>,
    sample: Option<&Sample>,
) -> Result<Vec<String>, Problem> {
    let Mode::Upsert { key: source, format, .. } = &route.mode else { return Ok(Vec::new()) };
    let lacks = |columns: &[ColumnSpec], name: &str| !columns.iter().any(|column| column.name == name);
    let path = format!("topics.{}.primary_key", route.key);
    match source {
        KeySource::Value(names) if names.is_empty() => Err(Problem::new(
            "the table does not exist, and `mode: upsert` needs a key",
            format!("say its columns, `{path}: [id]`, or `record-key`"),
        )),
        KeySource::Value(names) => match names.iter().find(|name| lacks(columns, name)) {
            Some(name) => Err(Problem::new(
                format!("`primary_key` says `{name}`, and the new table would have no such column"),
                "say a field that the records have",
            )),
            None => Ok(names.clone()),
        },
        KeySource::Record(names) => {
            let fields = sample.map_or_else(|| Ok(Vec::new()), |sample| fields_of_key(names, format, sample, route))?;
            let known = |name: &String| !lacks(columns, name) || fields.iter().any(|field| field.name == *name);
            let key = if names.is_empty() { fields.iter().map(|f| f.name.clone()).collect() } else { names.clone() };
            match key.iter().find(|name| !known(name)) {
                None if !key.is_empty() => {}
                name => {
                    let name = name.map_or_else(|| "the key's columns".to_owned(), |name| format!("column `{name}`"));
                    return Err(Problem::new(
                        format!("the table does not exist, and nothing shows the type of {name}"),
                        format!("say it under `topics.{}.columns`, and its name in `{path}: record-key:id`", route.key),
                    ));
                }
            }
            let new = fields.into_iter().filter(|field| key.contains(&field.name) && lacks(columns, &field.name));
            let mut new = columns_of(connection, route, new.collect())?;
            new.append(columns);
            *columns = new;
            Ok(key)
        }
        KeySource::Headers(headers) => {
            let mut new = Vec::new();
            for header in headers.iter().filter(|header| lacks(columns, &header.column)) {
                // Headers are texts; whoever knows better says it under `columns`.
                let text = InferredField {
                    name: header.header.clone(),
                    logical: LogicalType::String,
                    is_null: false,
                    nullable: None,
                };
                new.extend(columns_of(connection, route, vec![text])?);
            }
            new.append(columns);
            *columns = new;
            Ok(source.columns())
        }
        KeySource::Coordinates => {
            let types = [LogicalType::String, LogicalType::Int32, LogicalType::Int64];
            for (name, logical) in COORDINATES.into_iter().zip(types) {
                if !lacks(columns, name) {
                    continue;
                }
                columns.push(ColumnSpec::new(name, column_type(connection, &logical, name)?, false));
            }
            Ok(COORDINATES.map(str::to_owned).to_vec())
        }
    }
}

/// What the records' keys show; one that is no object fills the column that `names` says.
fn fields_of_key(
    names: &[String],
    format: &Format,
    sample: &Sample,
    route: &Route,
) -> Result<Vec<InferredField>, Problem> {
    let name = names.first().map_or(KEY, String::as_str);
    // Around keys there is none.
    let route = &Route { envelope: Envelope::None, ..route.clone() };
    let keys = sample.records().filter_map(|record| Some((record.key?, record.headers)));
    if let Format::Avro(schemas) = format {
        let fields = |schema: &Schema| match schema.as_field(name) {
            Some(field) => vec![field],
            None => schema.fields(route),
        };
        return of_schemas(schemas, RecordPart::Key, keys, fields);
    }
    if let Format::ConnectJson = format {
        let fields = |schema: &Schema| schema.as_field(name).map_or_else(|| schema.fields(route), |field| vec![field]);
        return Ok(of_connect(keys.map(|(key, _)| key), fields));
    }
    let object = |key: &[u8]| {
        let text = String::from_utf8_lossy(key);
        let value: Cow<'_, str> = match format {
            Format::Json if text.trim_start().starts_with('{') => return text.into_owned().into_bytes(),
            Format::Json => text,
            Format::String | Format::Avro(_) | Format::ConnectJson => serde_json::Value::from(text).to_string().into(),
        };
        format!("{{{}:{value}}}", serde_json::Value::from(name)).into_bytes()
    };
    let objects: Vec<_> = keys.map(|(key, _)| object(key)).collect();
    let mut fields = infer(objects.iter().map(Vec::as_slice), route);
    // Whatever texts look like: the next key may look otherwise.
    if *format == Format::String {
        fields.iter_mut().for_each(|field| field.logical = LogicalType::String);
    }
    Ok(fields)
}
