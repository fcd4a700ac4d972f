//! What a table looks like, from `system.tables` and `system.columns`.

use super::grammar::{literal, quote, quote_table};
use super::server::ClickHouse;
use super::{engines, types};
use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema};

/// How many inserts into one table may be under way: enough to keep the network and two or three of the server's cores
/// busy. Each leaves a part to merge and holds a block, so more would cost both sides memory.
const PARALLEL_WRITES: usize = 4;

/// The table as it is now; `None` when there is none.
pub(super) async fn describe(session: &ClickHouse, table: &TableName) -> Result<Option<TableSchema>, Error> {
    let doing = format!("cannot describe {table}");
    let database = literal(table.schema.as_deref().unwrap_or_default());
    let name = literal(&table.name);

    let sql = format!("SELECT engine FROM system.tables WHERE database = {database} AND name = {name}");
    let engine = session.answer(&doing, session.question(&sql).fetch_optional::<String>()).await?;
    let Some(kind) = engine else {
        // System tables hide what a user has no rights on. This statement says so instead.
        let exists = session.question(&format!("EXISTS TABLE {}", quote_table(table))).fetch_one::<u8>();
        return match session.answer(&doing, exists).await {
            Ok(_) => Ok(None),
            Err(error) if error.code.as_deref() == Some("497") => Err(hidden(session, table)),
            Err(error) => Err(error),
        };
    };
    if let Some((why, mend)) = engines::refused(&kind) {
        return Err(Error::pause(format!("{table} is a {kind}, which {why}")).with_hint(mend));
    }

    let sql = format!(
        "SELECT name, type, default_kind FROM system.columns WHERE database = {database} AND table = {name} \
         ORDER BY position"
    );
    let rows = session.answer(&doing, session.question(&sql).fetch_all::<(String, String, String)>()).await?;
    let columns =
        rows.into_iter().map(|(name, type_text, default_kind)| column(name, type_text, &default_kind)).collect();
    let promise = engines::promise(&kind).map(Into::into);
    let parallel = if engines::heeds_order(&kind) { 1 } else { PARALLEL_WRITES };
    Ok(Some(TableSchema { parallel, promise, ..TableSchema::new(table.clone(), kind, columns) }))
}

fn hidden(session: &ClickHouse, table: &TableName) -> Error {
    let (user, quoted_table) = (session.user(), quote_table(table));
    Error::pause(format!("{table} does not exist, or user {user} has no rights on it")).with_code("497").with_hint(
        format!("GRANT INSERT ON {quoted_table} TO {}, and CREATE TABLE too if rowfall is to create it", quote(user)),
    )
}

fn column(name: String, type_text: String, default_kind: &str) -> TableColumn {
    let default = match default_kind {
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

    #[test]
    fn a_column_is_told_whole() {
        let at = column("at".into(), "Nullable(DateTime64(3, 'Asia/Tokyo'))".into(), "DEFAULT");
        assert_eq!(at.default, ColumnDefault::Expression);
        let value = ValueType {
            logical: LogicalType::Timestamp { digits: 3 },
            nullable: true,
            range: Some(-2_208_988_800_000..=10_413_791_999_999),
            zone: Some("Asia/Tokyo".into()),
        };
        assert_eq!(at.value, Ok(value));
    }

    #[test]
    fn a_column_that_cannot_be_written_says_why() {
        let tags = column("tags".into(), "BFloat16".into(), "");
        insta::assert_snapshot!(tags.value.unwrap_err(), @"rowfall cannot write columns of type BFloat16: most values would be rounded: declare it Float32");
        assert_eq!(tags.default, ColumnDefault::None);
    }

    #[test]
    fn computed_columns_are_left_alone() {
        for kind in ["MATERIALIZED", "ALIAS"] {
            assert_eq!(column("c".into(), "Int8".into(), kind).default, ColumnDefault::Generated);
        }
        assert_eq!(column("c".into(), "Int8".into(), "EPHEMERAL").default, ColumnDefault::Ephemeral);
    }
}
