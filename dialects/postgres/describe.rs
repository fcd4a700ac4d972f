//! Tables as the catalog knows them.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, Row as _};

use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema, Upserts};
use crate::generic::answered;
use crate::postgres::codes;
use crate::postgres::grammar::check_name;
use crate::postgres::types;

/// Without a schema, what the search path leads to.
const RELATION: &str = "
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       c.relpersistence::text AS persistence
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE CASE WHEN $2::text IS NULL THEN c.oid = pg_catalog.to_regclass(pg_catalog.quote_ident($1))
           ELSE c.relname = $1 AND n.nspname = $2 END";

/// Each column with the base of its type, through all domains, which may add NOT NULL and a default.
const COLUMNS: &str = "
WITH RECURSIVE chain AS (
    SELECT attnum, atttypid AS type, atttypmod AS modifier, attnotnull AS not_null, FALSE AS has_default
    FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT c.attnum, t.typbasetype, t.typtypmod, c.not_null OR t.typnotnull, c.has_default OR t.typdefault IS NOT NULL
    FROM chain AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.type AND t.typtype = 'd'
)
SELECT a.attname::text AS name, a.attgenerated::text AS generated, a.attidentity::text AS identity,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS declared,
       pg_catalog.format_type(c.type, c.modifier) AS base, t.typtype::text AS kind, e.typtype::text AS element,
       c.not_null, c.has_default, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression
FROM chain AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1 AND a.attnum = c.attnum
JOIN pg_catalog.pg_type AS t ON t.oid = c.type AND t.typtype <> 'd'
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = $1 AND d.adnum = c.attnum
ORDER BY c.attnum";

/// Unique indexes that `ON CONFLICT` can use, that of the primary key first, each with its columns in order. A
/// collation that finds different texts equal makes it none of ours.
const KEYS: &str = "
SELECT (SELECT pg_catalog.array_agg(a.attname::text ORDER BY part.place)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS part (number, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = part.number
        WHERE part.place <= i.indnkeyatts) AS columns,
       (SELECT pg_catalog.string_agg(c.collname::text, ', ')
        FROM unnest(i.indcollation::oid[]) AS part (oid) JOIN pg_catalog.pg_collation AS c ON c.oid = part.oid
        WHERE NOT c.collisdeterministic) AS folding
FROM pg_catalog.pg_index AS i
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY NOT i.indisprimary, i.indexrelid";

/// The table as it is now.
pub(super) async fn describe(connection: &mut PgConnection, table: &TableName) -> Result<Option<TableSchema>, Error> {
    // A longer name would be cut, and another table found.
    for name in table.schema.iter().chain([&table.name]) {
        check_name(name).map_err(|why| {
            Error::pause(format!("table `{}`: {why}", table.to_string().escape_debug())).with_hint("say another name")
        })?;
    }
    let failed = |error| codes::error(&format!("describing table `{table}`"), error);
    // Both questions see the same table.
    let mut transaction =
        answered(connection.begin_with("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            .await
            .map_err(failed)?;
    let relation = sqlx::query(RELATION).bind(&table.name).bind(&table.schema);
    let Some(found) = answered(relation.fetch_optional(&mut *transaction)).await.map_err(failed)? else {
        answered(transaction.commit()).await.map_err(failed)?;
        return Ok(None);
    };
    let text = |column| found.try_get::<String, _>(column).map_err(failed);
    let name = TableName { schema: Some(text("schema")?), name: text("name")? };
    let kind = match (text("kind")?.as_str(), text("persistence")?.as_str()) {
        ("r", "u") => "unlogged table",
        ("p", "u") => "unlogged partitioned table",
        ("r", _) => "table",
        ("p", _) => "partitioned table",
        (other, _) => {
            let what = match other {
                "v" => "a view",
                "m" => "a materialized view",
                "f" => "a foreign table",
                "S" => "a sequence",
                "i" | "I" => "an index",
                "c" => "a composite type",
                _ => "something else",
            };
            let message = format!("`{name}` is {what}, which takes no rows of rowfall's");
            return Err(Error::pause(message).with_hint("name a table"));
        }
    };
    let oid: sqlx::postgres::types::Oid = found.try_get("oid").map_err(failed)?;
    let rows = answered(sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *transaction)).await.map_err(failed)?;
    let keys = answered(sqlx::query(KEYS).bind(oid).fetch_all(&mut *transaction)).await.map_err(failed)?;
    answered(transaction.commit()).await.map_err(failed)?;
    let columns: Vec<_> = rows.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
    let upserts = upserts(&keys, &columns).map_err(failed)?;
    let promise = kind.starts_with("unlogged").then(|| "its rows are gone when the server crashes".to_owned());
    Ok(Some(TableSchema { upserts, promise, ..TableSchema::new(name, kind, columns) }))
}

fn upserts(keys: &[PgRow], columns: &[TableColumn]) -> Result<Upserts, sqlx::Error> {
    let mut usable: Vec<Vec<String>> = Vec::new();
    let mut never = None;
    for key in keys {
        let names: Vec<String> = key.try_get("columns")?;
        let parts: Vec<_> = columns.iter().filter(|column| names.contains(&column.name)).collect();
        // Nulls are never equal to each other; where an index says otherwise, `=` still does not find them.
        if parts.iter().any(|column| column.value.as_ref().is_ok_and(|value| value.nullable)) {
            continue;
        }
        let is_ambiguous = |column: &&TableColumn| {
            column.type_text.contains("citext")
                || types::parse(&column.type_text).is_ok_and(|declared| declared.is_ambiguous())
        };
        let why = match key.try_get::<Option<String>, _>("folding")? {
            Some(collation) => Some(format!("compares texts by {collation}, which takes different ones for one")),
            None => parts.iter().find(|column| is_ambiguous(column)).map(|column| {
                format!("has values of type {}, which are compared otherwise than they are written", column.type_text)
            }),
        };
        match why {
            None => usable.push(names),
            Some(why) => _ = never.get_or_insert(format!("its key ({}) {why}", names.join(", "))),
        }
    }
    Ok(match never {
        Some(why) if usable.is_empty() => {
            let hint = "make a unique index of columns with other types or collations".into();
            Upserts::Never { why, hint }
        }
        _ => Upserts::Keys(usable),
    })
}

fn column(row: &PgRow) -> Result<TableColumn, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let expression: Option<String> = row.try_get("expression")?;
    // A default of null says what no default says.
    let is_null = |text: &str| text == "NULL" || text.starts_with("NULL::");
    let has_default = match expression.as_deref() {
        Some(expression) => !is_null(expression),
        None => row.try_get("has_default")?,
    };
    let identity = text("identity")?;
    let default = match identity.as_str() {
        // `COPY` would write into an identity that is always generated, against its declaration.
        _ if identity == "a" || !text("generated")?.is_empty() => ColumnDefault::Generated,
        "" if !has_default => ColumnDefault::None,
        _ => ColumnDefault::Expression,
    };
    let type_text = types::described(&text("declared")?, &text("base")?, &text("kind")?);
    let nullable = !row.try_get::<bool, _>("not_null")?;
    let element: Option<String> = row.try_get("element")?;
    let value = match (text("kind")?.as_str(), element.as_deref()) {
        ("b" | "e", None | Some("b")) => types::parse(&type_text).map(|declared| types::value(&declared, nullable)),
        ("b", Some(_)) => Err(types::refuse_array(&type_text)),
        ("c", _) => Err(types::refuse(&type_text, "a composite type: declare a column for each part, or json")),
        ("r" | "m", _) => Err(types::refuse(&type_text, "a range: declare a column for each end")),
        _ => Err(types::refuse(&type_text, "not a type that rowfall knows: declare it text")),
    };
    Ok(TableColumn { name: text("name")?, type_text, value: value.map_err(|why| why.0), default })
}
