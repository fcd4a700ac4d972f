//! A route and its table: what the database has, what would have to be created, and the program that fills it.

use std::sync::Arc;

use rowfall_dialects::contract::{
    ColumnDefault, ColumnSpec, Connection, Ddl, LogicalType, TableSchema, TableSpec, ValueType,
};

use crate::config::{ColumnSettings, Nested, Route};
use crate::decode::Program;
use crate::infer::infer;
use crate::problem::Problem;

/// What stands between a route and its first row.
#[derive(Clone, Debug)]
pub enum Table {
    /// It is there.
    There(Arc<TableSchema>),
    /// It is not.
    Missing {
        /// What it will be.
        spec: Box<TableSpec>,
        /// What creates it.
        ddl: Ddl,
        /// Records that the types were inferred from; none: they are configured.
        sampled: Option<usize>,
    },
}

/// Looks at the route's table; changes nothing. `sample` is asked for values of the topic when the table is missing
/// and no types are configured.
///
/// # Errors
/// When the database cannot be asked, the table cannot be written, or it is missing and cannot be created.
pub async fn look(
    connection: &Connection,
    route: &Route,
    sample: impl FnOnce() -> Result<Vec<Vec<u8>>, Problem>,
) -> Result<Table, Problem> {
    let doing = format!("topic {} into table {}", route.topic, route.table);
    match connection.session.describe(&route.table).await {
        Err(error) => Err(Problem::from(error).within(&doing)),
        Ok(Some(table)) => {
            compare_configured(connection, route, &table).map_err(|p| p.within(&doing))?;
            Ok(Table::There(Arc::new(table)))
        }
        Ok(None) if !route.create => Err(Problem::new(
            format!("table {} does not exist", route.table),
            format!("create it, or set `topics.{}.create: true`", route.key),
        )
        .within(&format!("topic {}", route.topic))),
        Ok(None) => missing(connection, route, sample).map_err(|p| p.within(&doing)),
    }
}

/// Makes the table as [`look`] found that it must be.
///
/// # Errors
/// When the database refuses, or describes the new table in a way that does not fit.
pub async fn settle(connection: &Connection, route: &Route, table: Table) -> Result<Arc<TableSchema>, Problem> {
    let schema = match table {
        Table::There(schema) => schema,
        Table::Missing { ddl, .. } => return create(connection, route, &ddl).await,
    };
    // An earlier run may have created the table and ended before it was everywhere.
    let cluster = route.storage.cluster.clone();
    let nothing = Ddl { cluster, ..Ddl::new(schema.name.clone(), Vec::new()) };
    let everywhere = connection.session.execute(&nothing).await;
    everywhere.map_err(|e| Problem::from(e).within(&format!("topic {} into table {}", route.topic, route.table)))?;
    Ok(schema)
}

async fn create(connection: &Connection, route: &Route, ddl: &Ddl) -> Result<Arc<TableSchema>, Problem> {
    let doing = format!("creating table {} for topic {}", route.table, route.topic);
    for statement in &ddl.statements {
        tracing::info!(table = %route.table, "{statement}");
    }
    connection.session.execute(ddl).await.map_err(|e| Problem::from(e).within(&doing))?;
    match connection.session.describe(&route.table).await {
        Ok(Some(schema)) => Ok(Arc::new(schema)),
        Ok(None) => Err(Problem::new(format!("{doing}: it is not there afterwards"), "see whether something drops it")),
        Err(error) => Err(Problem::from(error).within(&doing)),
    }
}

/// Compiles the program that fills the table.
///
/// # Errors
/// Names every column that cannot be written.
pub fn compile(route: &Route, table: &Arc<TableSchema>) -> Result<Arc<Program>, Problem> {
    Program::compile(table, route).map(Arc::new).map_err(|refused| {
        let lines: Vec<_> = refused.iter().map(ToString::to_string).collect();
        Problem::new(format!("topic {} into table {}: {}", route.topic, table.name, lines.join("\n  ")), "")
    })
}

/// Types that are configured for a table that exists must be the types that it has.
fn compare_configured(connection: &Connection, route: &Route, table: &TableSchema) -> Result<(), Problem> {
    for configured in &route.columns {
        let Some(column) = table.columns.iter().find(|c| c.name == configured.name) else { continue };
        if let (Some(default), ColumnDefault::None) = (&configured.default, column.default) {
            return Err(Problem::new(
                format!("column `{}` has no DEFAULT and `columns.{0}` says {default}", column.name),
                format!("alter the table, or take the default out of `columns.{}`", column.name),
            ));
        }
        let Some(type_text) = &configured.type_text else { continue };
        let wanted = parse_type(connection, type_text, &configured.name)?.logical;
        let stored = connection.grammar.column_type(&wanted).ok();
        let stored = stored.and_then(|text| connection.grammar.parse_type(&text).ok()).map(|value| value.logical);
        if let Ok(value) = &column.value
            && value.logical != wanted
            && Some(&value.logical) != stored.as_ref()
        {
            return Err(Problem::new(
                format!("column `{}` is {} and `columns.{0}` says {type_text}", column.name, column.type_text),
                format!("alter the table, or take the type out of `columns.{}`", column.name),
            ));
        }
    }
    Ok(())
}

fn missing(
    connection: &Connection,
    route: &Route,
    sample: impl FnOnce() -> Result<Vec<Vec<u8>>, Problem>,
) -> Result<Table, Problem> {
    let (columns, sampled) = if route.columns.iter().any(|c| c.type_text.is_some()) {
        (configured_columns(connection, route)?, None)
    } else {
        let values = sample()?;
        (inferred_columns(connection, route, &values)?, Some(values.len()))
    };
    let spec = TableSpec { name: route.table.clone(), columns, key: Vec::new(), storage: route.storage.clone() };
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

fn inferred_columns(connection: &Connection, route: &Route, values: &[Vec<u8>]) -> Result<Vec<ColumnSpec>, Problem> {
    let fields = infer(values, route);
    if fields.is_empty() {
        return Err(Problem::new(
            "the table does not exist and the topic has no record to infer it from",
            format!(
                "say its columns under `topics.{}.columns`, create the table, or start when there are records",
                route.key
            ),
        ));
    }
    let mut columns = Vec::new();
    for field in fields {
        let configured = route.columns.iter().find(|c| c.from == field.name && c.nested != Some(Nested::Flatten));
        if configured.is_some_and(|c| c.drop) {
            continue;
        }
        let name = configured.map_or(&field.name, |c| &c.name).clone();
        let type_text = column_type(connection, &field.logical, &name)?;
        columns.push(column_spec(&name, type_text, configured));
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

fn parse_type(connection: &Connection, text: &str, column: &str) -> Result<ValueType, Problem> {
    if let Ok(logical) = text.parse::<LogicalType>() {
        return Ok(logical.into());
    }
    connection.grammar.parse_type(text).map_err(|refusal| {
        Problem::new(
            format!("`columns.{column}`: {refusal}"),
            format!(
                "write a type of {}'s, or one of rowfall's: int64, decimal(18,2), timestamp(3), …",
                connection.grammar.name()
            ),
        )
    })
}

fn column_type(connection: &Connection, logical: &LogicalType, column: &str) -> Result<String, Problem> {
    connection.grammar.column_type(logical).map_err(|refusal| {
        Problem::new(format!("column `{column}`: {refusal}"), format!("say another type under `columns.{column}`"))
    })
}
