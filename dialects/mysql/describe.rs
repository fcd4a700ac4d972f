use std::collections::HashSet;

use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema, Upserts};
use crate::generic::answered;
use crate::mysql::codes;
use crate::mysql::grammar::{Flavor, SYNTAX, check_name};
use crate::mysql::pool::Live;
use crate::mysql::types;

/// The casts are for servers that give their own texts as bytes.
const TABLE: &str = "
SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(table_type AS CHAR), CAST(t.engine AS CHAR),
       CAST(e.transactions AS CHAR)
FROM information_schema.tables AS t LEFT JOIN information_schema.engines AS e ON e.engine = t.engine
WHERE table_schema = coalesce(?, database()) AND table_name = ?";

const COLUMNS: &str = "
SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'YES', CAST(column_default AS CHAR),
       CAST(extra AS CHAR), coalesce(generation_expression, '') <> '', CAST(collation_name AS CHAR)
FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";

/// Unique keys, the primary one first, the others by name.
const KEYS: &str = "
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), sub_part IS NULL
FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0
ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index";

/// MariaDB: its `json` is a text with this check.
const JSON: &str = "
SELECT CAST(constraint_name AS CHAR) FROM information_schema.check_constraints
WHERE constraint_schema = ? AND table_name = ? AND level = 'Column'
      AND check_clause = concat('json_valid(`', replace(constraint_name, '`', '``'), '`)')";

/// The table as it is now, or `None` when it does not exist.
pub(super) async fn describe(live: &mut Live, table: &TableName) -> Result<Option<TableSchema>, Error> {
    // The server would say that it cannot compare.
    for name in table.schema.iter().chain([&table.name]) {
        check_name(table, name).map_err(|why| Error::pause(why.0).with_hint("say another name"))?;
    }
    let doing = format!("describing table `{table}`");
    let failed = |error| codes::error(&doing, error);
    let Live { connection, server } = live;
    let query = sqlx::query(TABLE).bind(&table.schema).bind(&table.name);
    let found = answered(query.fetch_all(&mut *connection)).await.map_err(failed)?;
    // The comparison may know no case where the server does.
    let is_it = |row: &&MySqlRow| !server.tells_case || row.try_get::<&str, _>(1).is_ok_and(|name| name == table.name);
    let Some(found) = found.iter().find(is_it) else { return Ok(None) };
    let text = |index| found.try_get::<Option<String>, _>(index).map_err(failed);
    let name = TableName { schema: text(0)?, name: text(1)?.unwrap_or_default() };
    match text(2)?.unwrap_or_default().as_str() {
        "BASE TABLE" | "SYSTEM VERSIONED" => {}
        other => {
            let what = format!("`{table}` is a {}, which takes no rows", other.to_lowercase());
            return Err(Error::pause(what).with_hint("name a table"));
        }
    }
    let engine = text(3)?.unwrap_or_default();
    let transactional = text(4)?.as_deref() == Some("YES");
    let of_table = |sql| sqlx::query::<sqlx::MySql>(sql).bind(name.schema.clone()).bind(name.name.clone());
    let mut json = HashSet::new();
    if server.flavor == Flavor::MariaDb {
        for row in answered(of_table(JSON).fetch_all(&mut *connection)).await.map_err(failed)? {
            json.insert(row.try_get::<String, _>(0).map_err(failed)?);
        }
    }
    let columns = answered(of_table(COLUMNS).fetch_all(&mut *connection)).await.map_err(failed)?;
    let columns = columns.iter().map(|row| column(row, &json)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let keys = answered(of_table(KEYS).fetch_all(&mut *connection)).await.map_err(failed)?;
    let keys = keys.iter().map(key_part).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut schema = TableSchema::new(name, engine, columns);
    if transactional {
        schema.upserts = upserts(&schema, &keys);
    } else {
        let engine = &schema.kind;
        let hint = format!("ALTER TABLE {} ENGINE = InnoDB", SYNTAX.table(&schema.name));
        let why = format!("its engine {engine} has no transactions");
        schema.upserts = Upserts::Never { why, hint };
        schema.promise = Some(format!("{engine} has no transactions: a write that fails half-way leaves rows"));
    }
    Ok(Some(schema))
}

fn column(row: &MySqlRow, json: &HashSet<String>) -> Result<TableColumn, sqlx::Error> {
    let name: String = row.try_get(0)?;
    let mut type_text: String = row.try_get(1)?;
    let nullable: bool = row.try_get(2)?;
    let default: Option<String> = row.try_get(3)?;
    let extra = row.try_get::<Option<String>, _>(4)?.unwrap_or_default().to_ascii_lowercase();
    let collation: Option<String> = row.try_get(6)?;
    if json.contains(&name) {
        type_text = "json".into();
    } else if let Some(collation) =
        collation.filter(|_| !type_text.starts_with("enum") && !type_text.starts_with("set"))
    {
        type_text = format!("{type_text} collate {collation}");
    }
    // A default of NULL says what no default says; MariaDB gives it as a text.
    let has_default = default.is_some_and(|text| !text.eq_ignore_ascii_case("null"));
    let default = if row.try_get::<bool, _>(5)? || extra.contains(" generated") {
        ColumnDefault::Generated
    } else if has_default || extra.contains("auto_increment") {
        ColumnDefault::Expression
    } else {
        ColumnDefault::None
    };
    let value = types::parse(&type_text).map(|declared| types::value(&declared, nullable)).map_err(|why| why.0);
    Ok(TableColumn { name, type_text, value, default })
}

struct KeyPart {
    index: String,
    /// None of an expression.
    column: Option<String>,
    /// Not only the beginning of the column's values.
    whole: bool,
}

fn key_part(row: &MySqlRow) -> Result<KeyPart, sqlx::Error> {
    Ok(KeyPart { index: row.try_get(0)?, column: row.try_get(1)?, whole: row.try_get(2)? })
}

/// The unique keys whose columns tell one row: none takes null, and texts that differ are two.
fn upserts(table: &TableSchema, parts: &[KeyPart]) -> Upserts {
    let mut keys = Vec::new();
    let mut blurred = None;
    for parts in parts.chunk_by(|a, b| a.index == b.index) {
        let column = |part: &KeyPart| {
            let name = part.column.as_ref().filter(|_| part.whole)?;
            let column = table.columns.iter().find(|column| &column.name == name)?;
            column.value.as_ref().is_ok_and(|value| !value.nullable).then_some(column)
        };
        let Some(columns) = parts.iter().map(column).collect::<Option<Vec<_>>>() else { continue };
        let blurs = |column: &&&TableColumn| {
            types::parse(&column.type_text).is_ok_and(|declared| !declared.tells_texts_apart())
        };
        match columns.iter().find(blurs) {
            Some(column) => blurred = blurred.or(Some(*column)),
            None => keys.push(columns.iter().map(|column| column.name.clone()).collect()),
        }
    }
    match (keys.is_empty(), blurred) {
        (true, Some(column)) => Upserts::Never {
            why: format!(
                "its key's column `{}` {} takes texts that differ in case for one",
                column.name, column.type_text
            ),
            hint: format!(
                "ALTER TABLE {} MODIFY {} {} NOT NULL",
                SYNTAX.table(&table.name),
                SYNTAX.identifier(&column.name),
                binary(&column.type_text),
            ),
        },
        _ => Upserts::Keys(keys),
    }
}

/// The same type with a collation that tells all texts apart.
fn binary(type_text: &str) -> String {
    let (name, collation) = type_text.split_once(" collate ").unwrap_or((type_text, "utf8mb4"));
    let charset = collation.split('_').next().unwrap_or_default();
    format!("{name} COLLATE {charset}_bin")
}
