//! A table as SQLite describes it.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema, Upserts};
use crate::sqlite::codes;
use crate::sqlite::grammar::{is_main, no_schema};
use crate::sqlite::types;

const TABLE: &str = "SELECT name, type, wr, strict FROM pragma_table_list(?1) WHERE schema = 'main'";

/// A default of NULL says what no default says.
const COLUMNS: &str = r#"
SELECT name, type, "notnull", coalesce(upper(dflt_value) <> 'NULL', FALSE) AS has_default, pk, hidden,
       count(*) FILTER (WHERE pk > 0) OVER () AS key_columns,
       EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk') AS key_index
FROM pragma_table_xinfo(?1, 'main') ORDER BY cid"#;

/// Unique indexes, that of the primary key first, a row per column; an expression has no name.
const INDEXES: &str = r#"
SELECT list.name AS "index", list.origin, part.name, part.coll
FROM pragma_index_list(?1, 'main') AS list JOIN pragma_index_xinfo(list.name, 'main') AS part
WHERE list."unique" AND NOT list.partial AND part.key
ORDER BY list.origin <> 'pk', list.seq DESC, part.seqno"#;

/// The name is read before there is a connection.
pub(super) fn refuse_name(table: &TableName) -> Result<(), Error> {
    if let Some(schema) = table.schema.as_deref().filter(|schema| !is_main(schema)) {
        return Err(Error::pause(format!("table `{table}`: {}", no_schema(schema))).with_hint("leave the schema out"));
    }
    match table.name.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case("sqlite_") => Err(no_table(table, "SQLite's own")),
        _ => Ok(()),
    }
}

fn no_table(table: &TableName, what: &str) -> Error {
    Error::pause(format!("`{table}` is {what}, which takes no rows")).with_hint("name a table")
}

/// The table as it is now.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Option<TableSchema>, Error> {
    let failed = |error| codes::error(&format!("describing table `{table}`"), error);
    let found = sqlx::query(TABLE).bind(&table.name).fetch_optional(&mut *connection).await.map_err(failed)?;
    let Some(found) = found else { return Ok(None) };
    let name: String = found.try_get("name").map_err(failed)?;
    let kind = match found.try_get("type").map_err(failed)? {
        "table" => match (found.try_get("strict").map_err(failed)?, found.try_get("wr").map_err(failed)?) {
            (true, false) => "strict table",
            (true, true) => "strict table without rowid",
            (false, true) => "table without rowid",
            (false, false) => "table",
        },
        other => return Err(no_table(table, &format!("a {other}{}", if other == "view" { "" } else { " table" }))),
    };
    let rows = sqlx::query(COLUMNS).bind(&name).fetch_all(&mut *connection).await.map_err(failed)?;
    let parts = sqlx::query(INDEXES).bind(&name).fetch_all(&mut *connection).await.map_err(failed)?;
    let columns: Vec<_> = rows.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
    let upserts = upserts(&rows, &parts, &columns).map_err(failed)?;
    let name = TableName { schema: Some("main".into()), name };
    Ok(Some(TableSchema { upserts, ..TableSchema::new(name, kind, columns) }))
}

fn column(row: &SqliteRow) -> Result<TableColumn, sqlx::Error> {
    let type_text: String = row.try_get("type")?;
    let hidden: i64 = row.try_get("hidden")?;
    let key: i64 = row.try_get("pk")?;
    let key_columns: i64 = row.try_get("key_columns")?;
    let key_index: bool = row.try_get("key_index")?;
    // A key of one column without an index is the row's number itself: SQLite makes one up where none is given, for
    // null too, which would not be what the record says.
    let is_row_number = key == 1 && key_columns == 1 && !key_index;
    let default = match (hidden, row.try_get("has_default")?) {
        (2 | 3, _) => ColumnDefault::Generated,
        (_, true) => ColumnDefault::Expression,
        (_, false) if is_row_number => ColumnDefault::Expression,
        (_, false) => ColumnDefault::None,
    };
    let nullable = !row.try_get::<bool, _>("notnull")? && !is_row_number;
    let value = types::parse(&type_text).map(|declared| types::value(declared.logical, nullable)).map_err(|why| why.0);
    Ok(TableColumn { name: row.try_get("name")?, type_text, value, default })
}

/// A unique index.
#[derive(Default)]
struct Key {
    index: String,
    is_primary: bool,
    columns: Vec<String>,
    has_expressions: bool,
    /// One that takes different texts for one.
    collation: Option<String>,
}

fn upserts(rows: &[SqliteRow], parts: &[SqliteRow], columns: &[TableColumn]) -> Result<Upserts, sqlx::Error> {
    let mut found: Vec<Key> = Vec::new();
    for part in parts {
        let index: String = part.try_get("index")?;
        if found.last().is_none_or(|key| key.index != index) {
            let is_primary = part.try_get::<String, _>("origin")? == "pk";
            found.push(Key { index, is_primary, ..Key::default() });
        }
        let Some(key) = found.last_mut() else { continue };
        match part.try_get("name")? {
            Some(name) => key.columns.push(name),
            None => key.has_expressions = true,
        }
        let collation: String = part.try_get("coll")?;
        if collation != "BINARY" {
            key.collation = Some(collation);
        }
    }
    if !found.iter().any(|key| key.is_primary) {
        // The row's number has no index.
        for row in rows.iter().filter(|row| row.try_get::<i64, _>("pk").is_ok_and(|place| place > 0)) {
            let key = Key { is_primary: true, columns: vec![row.try_get("name")?], ..Key::default() };
            found.insert(0, key);
        }
    }
    // Nulls are never equal to each other. In a primary key, where SQLite takes them unless told otherwise, a write
    // refuses them.
    let takes_null = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name);
        column.and_then(|column| column.value.as_ref().ok()).is_none_or(|value| value.nullable)
    };
    found.retain(|key| !key.has_expressions && (key.is_primary || !key.columns.iter().any(takes_null)));
    let (folding, keys): (Vec<_>, Vec<_>) = found.into_iter().partition(|key| key.collation.is_some());
    Ok(match folding.first() {
        Some(Key { columns, collation: Some(collation), .. }) if keys.is_empty() => Upserts::Never {
            why: format!(
                "its key ({}) compares texts by {collation}, which takes different keys for one",
                columns.join(", ")
            ),
            hint: "declare the columns of its key without COLLATE".into(),
        },
        _ => Upserts::Keys(keys.into_iter().map(|key| key.columns).collect()),
    })
}
