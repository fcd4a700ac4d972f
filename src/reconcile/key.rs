//! Which stored row a record is about: the route's `primary_key` against the keys that the table has.

use rowfall_dialects::contract::{COORDINATES, LogicalType, TableSchema, Upserts};

use crate::config::{Absent, KeySource, Mode, Route};
use crate::decode::{Keyed, Lacking, OWN_VERSION};
use crate::problem::Problem;

/// How the route finds rows of the table; `None` where it only adds them.
///
/// # Errors
/// When the table has no such key, or cannot do what the route asks for.
pub(super) fn keyed(route: &Route, table: &TableSchema) -> Result<Option<Keyed>, Problem> {
    let Mode::Upsert { key: source, format, deletes, absent } = &route.mode else { return Ok(None) };
    let index = |name: &String| {
        let found = table.columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| {
            Problem::new(format!("table {} has no column `{name}`", table.name), "add it, or say another `primary_key`")
        })
    };
    let wanted = source.columns();
    for name in &wanted {
        index(name)?;
    }
    let keys: Vec<&Vec<String>> = match &table.upserts {
        Upserts::Keys(keys) => keys.iter().collect(),
        Upserts::Versions { key, .. } => vec![key],
        Upserts::Never { why, hint } => {
            return Err(Problem::new(
                format!("`mode: upsert`, and table {} cannot replace rows: {why}", table.name),
                hint.clone(),
            ));
        }
    };
    let same = |key: &&&Vec<String>| key.len() == wanted.len() && wanted.iter().all(|name| key.contains(name));
    let found = if wanted.is_empty() { keys.first() } else { keys.iter().find(same) };
    let Some(key) = found else { return Err(no_key(route, table, &wanted, &keys)) };
    let key = key.iter().map(index).collect::<Result<Vec<_>, _>>()?;
    let mut keyed = Keyed {
        key,
        source: source.clone(),
        format: format.clone(),
        deletes: *deletes,
        lacking: match absent {
            Absent::Keep => Lacking::Keep,
            Absent::Default => Lacking::Default,
        },
        version: None,
        own_version: false,
        deleted: None,
    };
    if let Upserts::Versions { version, deleted, partial, .. } = &table.upserts {
        if *absent == Absent::Keep && !partial {
            keyed.lacking = Lacking::Refuse;
        }
        keyed.version = version.as_ref().map(index).transpose()?;
        keyed.deleted = deleted.as_ref().map(index).transpose()?;
        keyed.own_version = version.as_deref() == Some(OWN_VERSION);
        refuse_versions(&keyed, table)?;
    }
    if *source == KeySource::Coordinates {
        refuse_coordinates(&keyed, table)?;
    }
    Ok(Some(keyed))
}

fn no_key(route: &Route, table: &TableSchema, wanted: &[String], keys: &[&Vec<String>]) -> Problem {
    let listed = |key: &[String]| format!("({})", key.join(", "));
    let has: Vec<_> = keys.iter().map(|key| listed(key)).collect();
    let name = &table.name;
    match (wanted, has.as_slice()) {
        ([], _) => Problem::new(
            format!("`mode: upsert`, and table {name} has no primary key"),
            format!("add one, or a unique index, and say it in `topics.{}.primary_key`", route.key),
        ),
        (_, []) => Problem::new(
            format!("table {name} has no primary key and no unique index, and `primary_key` says {}", listed(wanted)),
            "add a unique index of these columns: without it the database cannot tell which row is meant",
        ),
        (_, has) => Problem::new(
            format!("`primary_key` says {}, and the keys of table {name} are {}", listed(wanted), has.join(" and ")),
            "say one of these, or add a unique index",
        ),
    }
}

/// What a table that replaces rows by version cannot do.
fn refuse_versions(keyed: &Keyed, table: &TableSchema) -> Result<(), Problem> {
    let name = &table.name;
    if keyed.deletes && keyed.deleted.is_none() {
        return Err(Problem::new(
            format!("`deletes: true`, and table {name} has no column that says that a row is deleted"),
            "make it ENGINE = ReplacingMergeTree(version, is_deleted), or take `deletes` out",
        ));
    }
    let Some(version) = keyed.version.map(|version| &table.columns[version]) else { return Ok(()) };
    if keyed.own_version {
        if !matches!(&version.value, Ok(value) if value.logical == LogicalType::UInt64 && !value.nullable) {
            return Err(Problem::new(
                format!(
                    "column `{OWN_VERSION}` of table {name} is {}, and rowfall's versions are UInt64",
                    version.type_text
                ),
                "make it UInt64, or give the version column the name of a field that the records have",
            ));
        }
        if matches!(keyed.source, KeySource::Value(_) | KeySource::Headers(_)) {
            return Err(Problem::new(
                format!(
                    "the versions of table {name} would be offsets, which say which of two records is later only where both are in one partition: those of one record key are, those of one value need not be"
                ),
                "set `primary_key: record-key`, or give the version column the name of a field that the records have",
            ));
        }
    } else if keyed.deletes {
        return Err(Problem::new(
            format!(
                "`deletes: true`, and the versions of table {name} come from field `{}`, which tombstones lack",
                version.name
            ),
            format!("let the version column be `{OWN_VERSION} UInt64`, which rowfall fills, or take `deletes` out"),
        ));
    }
    Ok(())
}

fn refuse_coordinates(keyed: &Keyed, table: &TableSchema) -> Result<(), Problem> {
    for column in keyed.key.iter().map(|index| &table.columns[*index]) {
        let text = column.name == COORDINATES[0];
        let fits = |logical: &LogicalType| match logical {
            LogicalType::String => text,
            LogicalType::Int64 => !text,
            LogicalType::Int32 => column.name == COORDINATES[1],
            _ => false,
        };
        if !matches!(&column.value, Ok(value) if fits(&value.logical)) {
            return Err(Problem::new(
                format!("column `{}` of table {} is {}", column.name, table.name, column.type_text),
                "make `_topic` a string, `_partition` a 32-bit and `_offset` a 64-bit integer",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;
    use crate::testing::column;
    use insta::assert_snapshot;
    use rowfall_dialects::contract::TableName;

    fn table(upserts: Upserts) -> TableSchema {
        let columns = ["note string", "id int64", "region string", "_version uint64", "_deleted uint8"].map(column);
        TableSchema { upserts, ..TableSchema::new(TableName::parse("shop.orders"), "table", columns.into()) }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn keys(keys: &[&[&str]]) -> Upserts {
        Upserts::Keys(keys.iter().map(|key| names(key)).collect())
    }

    fn versions(version: Option<&str>, deleted: Option<&str>) -> Upserts {
        let text = |name: Option<&str>| name.map(str::to_owned);
        Upserts::Versions { key: names(&["id"]), version: text(version), deleted: text(deleted), partial: false }
    }

    fn of(upserts: Upserts, key: KeySource, deletes: bool) -> Result<Keyed, String> {
        let mode = Mode::Upsert { key, format: Format::Json, deletes, absent: Absent::Keep };
        let route = Route { mode, ..Route::new("orders", TableName::parse("orders")) };
        keyed(&route, &table(upserts)).map(|keyed| keyed.unwrap()).map_err(|problem| problem.to_string())
    }

    fn value(columns: &[&str]) -> KeySource {
        KeySource::Value(names(columns))
    }

    #[test]
    fn a_key_is_one_that_the_table_has_in_its_order() {
        let both = || keys(&[&["id"], &["region", "id"]]);
        assert_eq!(of(both(), value(&[]), true).unwrap().key, [1]);
        assert_eq!(of(both(), value(&["id", "region"]), true).unwrap().key, [2, 1]);
        assert_eq!(of(both(), KeySource::Record(Vec::new()), false).unwrap().key, [1]);
        assert_snapshot!(of(both(), value(&["note"]), true).unwrap_err(), @"
        `primary_key` says (note), and the keys of table shop.orders are (id) and (region, id)
          → say one of these, or add a unique index
        ");
        assert_snapshot!(of(both(), value(&["nope"]), true).unwrap_err(), @"
        table shop.orders has no column `nope`
          → add it, or say another `primary_key`
        ");
        assert_snapshot!(of(keys(&[]), value(&[]), true).unwrap_err(), @"
        `mode: upsert`, and table shop.orders has no primary key
          → add one, or a unique index, and say it in `topics.orders.primary_key`
        ");
        assert_snapshot!(of(keys(&[]), value(&["id"]), true).unwrap_err(), @"
        table shop.orders has no primary key and no unique index, and `primary_key` says (id)
          → add a unique index of these columns: without it the database cannot tell which row is meant
        ");
    }

    #[test]
    fn versions_are_offsets_only_where_one_partition_has_all_of_a_key() {
        let own = || versions(Some("_version"), Some("_deleted"));
        let keyed = of(own(), KeySource::Record(Vec::new()), true).unwrap();
        assert_eq!((keyed.version, keyed.own_version, keyed.deleted), (Some(3), true, Some(4)));
        assert_eq!(keyed.lacking, Lacking::Refuse);
        assert_snapshot!(of(own(), value(&["id"]), false).unwrap_err(), @"
        the versions of table shop.orders would be offsets, which say which of two records is later only where both are in one partition: those of one record key are, those of one value need not be
          → set `primary_key: record-key`, or give the version column the name of a field that the records have
        ");
        assert_snapshot!(of(versions(Some("_version"), None), KeySource::Record(Vec::new()), true).unwrap_err(), @"
        `deletes: true`, and table shop.orders has no column that says that a row is deleted
          → make it ENGINE = ReplacingMergeTree(version, is_deleted), or take `deletes` out
        ");
        let named = |deletes| of(versions(Some("note"), Some("_deleted")), value(&["id"]), deletes);
        assert!(!named(false).unwrap().own_version);
        assert_snapshot!(named(true).unwrap_err(), @"
        `deletes: true`, and the versions of table shop.orders come from field `note`, which tombstones lack
          → let the version column be `_version UInt64`, which rowfall fills, or take `deletes` out
        ");
    }
}
