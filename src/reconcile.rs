//! A route and its table: what the database has, what would have to be created, and the program that fills it.

mod key;
mod new;

use std::sync::Arc;

use rowfall_dialects::contract::{
    Advice, ColumnDefault, Connection, Ddl, Grammar, LogicalType, Refusal, TableSchema, TableSpec, ValueType,
};

use crate::config::Route;
use crate::decode::RowProgram;
use crate::problem::Problem;
use crate::source::topics::Sample;

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

/// Looks at the route's table; changes nothing. `sample` is asked for records of the topic when the table is missing
/// and no types are configured.
///
/// # Errors
/// When the database cannot be asked, the table cannot be written, or it is missing and cannot be created.
pub async fn look(
    connection: &Connection,
    route: &Route,
    sample: impl FnOnce() -> Result<Sample, Problem>,
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
        Ok(None) => new::missing(connection, route, sample).map_err(|p| p.within(&doing)),
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
    let hint = format!("change `topics.{}`, or create the table yourself", route.key);
    connection.session.execute(ddl).await.map_err(|error| match error.advice {
        Advice::Pause => Problem::from(error).within(&doing).or_hint(&hint),
        _ => Problem::from(error).within(&doing),
    })?;
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
pub fn compile(route: &Route, table: &Arc<TableSchema>) -> Result<Arc<RowProgram>, Problem> {
    let doing = || format!("topic {} into table {}", route.topic, table.name);
    let keyed = key::keyed(route, table).map_err(|problem| problem.within(&doing()))?;
    RowProgram::compile(table, route, keyed.as_ref()).map(Arc::new).map_err(|refused| {
        let lines: Vec<_> = refused.iter().map(ToString::to_string).collect();
        Problem::new(format!("{}: {}", doing(), lines.join("\n  ")), "")
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

/// The type of a column that holds such values: where the database has no nested types, one that holds their JSON.
///
/// # Errors
/// When there is none.
pub(crate) fn storable(grammar: &dyn Grammar, logical: &LogicalType) -> Result<String, Refusal> {
    let text = || grammar.column_type(&LogicalType::String);
    grammar.column_type(logical).or_else(|refusal| match logical {
        LogicalType::Map(_) | LogicalType::Struct(_) => grammar.column_type(&LogicalType::Json).or_else(|_| text()),
        // A JSON column takes objects only.
        LogicalType::List(_) | LogicalType::Json => text(),
        _ => Err(refusal),
    })
}

fn column_type(connection: &Connection, logical: &LogicalType, column: &str) -> Result<String, Problem> {
    connection.grammar.column_type(logical).map_err(|refusal| {
        Problem::new(format!("column `{column}`: {refusal}"), format!("say another type under `columns.{column}`"))
    })
}
