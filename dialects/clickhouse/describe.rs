//! What a table looks like, from `system.tables` and `system.columns`.

use super::engine_text::{EngineText, expressions};
use super::grammar::{literal, quote, quote_table};
use super::server::ClickHouse;
use super::type_text::string;
use super::upserts::{Facts, Known};
use super::{engines, types};
use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema};

/// How many inserts into one table may be under way: enough to keep the network and two or three of the server's cores
/// busy. Each leaves a part to merge and holds a block, so more would cost both sides memory.
const PARALLEL_WRITES: usize = 4;

/// The table as it is now; `None` when there is none.
pub(super) async fn describe(session: &ClickHouse, table: &TableName) -> Result<Option<TableSchema>, Error> {
    let doing = format!("cannot describe {table}");
    let Some(facts) = facts(session, &doing, table).await? else {
        // System tables hide what a user has no rights on. This statement says so instead.
        let exists = session.question(&format!("EXISTS TABLE {}", quote_table(table))).fetch_one::<u8>();
        return match session.answer(&doing, exists).await {
            Ok(_) => Ok(None),
            Err(error) if error.code.as_deref() == Some("497") => Err(hidden(session, table)),
            Err(error) => Err(error),
        };
    };
    let kind = &facts.engine.name;
    if let Some((why, mend)) = engines::refused(kind) {
        return Err(Error::pause(format!("{table} is a {kind}, which {why}")).with_hint(mend));
    }
    Ok(Some(schema(&facts)))
}

/// As the contract has it.
pub(super) fn schema(facts: &Facts) -> TableSchema {
    let kind = facts.engine.name.clone();
    let promises: Vec<_> = engines::promise(&kind).map(Into::into).into_iter().chain(facts.promise()).collect();
    let columns = facts.columns.iter().map(column).collect();
    TableSchema {
        parallel: if facts.heeds_order() { 1 } else { PARALLEL_WRITES },
        promise: Some(promises.join("; ")).filter(|promise| !promise.is_empty()),
        upserts: facts.upserts(),
        ..TableSchema::new(facts.name.clone(), kind, columns)
    }
}

/// What decides how rows of a key become one; `None` without such a table.
pub(super) async fn facts(session: &ClickHouse, doing: &str, table: &TableName) -> Result<Option<Facts>, Error> {
    let Some(mut facts) = facts_of_one(session, doing, table).await? else { return Ok(None) };
    if facts.engine.name == "Distributed"
        && let [_, database, name, ..] = facts.engine.own_arguments()
        && let (Some(database), Some(name)) = (string(database), string(name))
    {
        let behind = TableName { schema: Some(database), name };
        facts.behind = facts_of_one(session, doing, &behind).await?.map(Box::new);
    }
    Ok(Some(facts))
}

async fn facts_of_one(session: &ClickHouse, doing: &str, table: &TableName) -> Result<Option<Facts>, Error> {
    let database = literal(table.schema.as_deref().unwrap_or_default());
    let name = literal(&table.name);
    let sql = format!(
        "SELECT engine, engine_full, sorting_key, primary_key FROM system.tables WHERE database = {database} AND name = {name}"
    );
    let found = session.question(&sql).fetch_optional::<(String, String, String, String)>();
    let Some((engine, engine_full, sorting_key, primary_key)) = session.answer(doing, found).await? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT name, type, default_kind, default_expression, compression_codec, comment FROM system.columns \
         WHERE database = {database} AND table = {name} ORDER BY position"
    );
    let rows = session.question(&sql).fetch_all::<(String, String, String, String, String, String)>();
    let mut engine_text = EngineText::parse(&engine_full);
    // A view has nothing to say there.
    engine_text.name = engine;
    let known = |(name, type_text, default_kind, default_expression, codec, comment)| Known {
        name,
        type_text,
        default_kind,
        default_expression,
        codec,
        comment,
    };
    let columns = session.answer(doing, rows).await?.into_iter().map(known).collect();
    Ok(Some(Facts {
        name: table.clone(),
        engine: engine_text,
        sorting_key: expressions(&sorting_key),
        primary_key: expressions(&primary_key),
        columns,
        behind: None,
    }))
}

fn hidden(session: &ClickHouse, table: &TableName) -> Error {
    let (user, quoted_table) = (session.user(), quote_table(table));
    Error::pause(format!("{table} does not exist, or user {user} has no rights on it")).with_code("497").with_hint(
        format!("GRANT INSERT ON {quoted_table} TO {}, and CREATE TABLE too if rowfall is to create it", quote(user)),
    )
}

fn column(known: &Known) -> TableColumn {
    let (name, type_text) = (known.name.clone(), known.type_text.clone());
    let default = match known.default_kind.as_str() {
        "" => ColumnDefault::None,
        "DEFAULT" => ColumnDefault::Expression,
        "EPHEMERAL" => ColumnDefault::Ephemeral,
        // MATERIALIZED and ALIAS: the server refuses an insert that names one.
        _ => ColumnDefault::Generated,
    };
    let value = types::parse(&type_text).map(|column| column.value).map_err(|refusal| refusal.0);
    TableColumn { name, type_text, value, default }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{LogicalType, ValueType};

    fn column(name: &str, type_text: &str, default_kind: &str) -> TableColumn {
        let texts = [name, type_text, default_kind].map(String::from);
        let [name, type_text, default_kind] = texts;
        super::column(&Known { name, type_text, default_kind, ..Known::default() })
    }

    #[test]
    fn a_column_is_told_whole() {
        let at = column("at", "Nullable(DateTime64(3, 'Asia/Tokyo'))", "DEFAULT");
        assert_eq!(at.default, ColumnDefault::Expression);
        let value = ValueType {
            logical: LogicalType::Timestamp { digits: 3 },
            nullable: true,
            range: Some(-2_208_988_800_000..=10_413_791_999_999),
            length: None,
            binary: false,
            zone: Some("Asia/Tokyo".into()),
        };
        assert_eq!(at.value, Ok(value));
    }

    #[test]
    fn a_column_that_cannot_be_written_says_why() {
        let tags = column("tags", "BFloat16", "");
        insta::assert_snapshot!(tags.value.unwrap_err(), @"rowfall cannot write columns of type BFloat16: most values would be rounded: declare it Float32");
        assert_eq!(tags.default, ColumnDefault::None);
    }

    #[test]
    fn computed_columns_are_left_alone() {
        for kind in ["MATERIALIZED", "ALIAS"] {
            assert_eq!(column("c", "Int8", kind).default, ColumnDefault::Generated);
        }
        assert_eq!(column("c", "Int8", "EPHEMERAL").default, ColumnDefault::Ephemeral);
    }
}
