//! What a table looks like, from `system.tables` and `system.columns`.

use super::grammar::{literal, quote, quote_table};
use super::server::ClickHouse;
use super::types;
use crate::contract::{ColumnDefault, Error, TableColumn, TableName, TableSchema};

/// Engines that rowfall does not write to, why not, and what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    ("View", "keeps no rows", "name the table that it reads"),
    (
        "MaterializedView",
        "is filled by inserts into its source",
        "name the table that it reads, or the table that it writes TO",
    ),
    ("LiveView", "keeps no rows", "name the table that it reads"),
    ("WindowView", "is filled by inserts into its source", "name the table that it reads"),
    ("Buffer", "loses acknowledged rows when the server crashes", "name the table behind it: rowfall batches already"),
    ("Dictionary", "is loaded from its source", "name the table that it is loaded from"),
    (
        "Kafka",
        "is a queue that would send the rows back to Kafka",
        "name the table that its materialized view fills, and drop both: rowfall takes their place",
    ),
    ("RabbitMQ", "is a queue", "name the table that its materialized view fills"),
    ("NATS", "is a queue", "name the table that its materialized view fills"),
    ("FileLog", "reads files", "name the table that its materialized view fills"),
    ("S3Queue", "reads a bucket", "name the table that its materialized view fills"),
    ("AzureQueue", "reads a container", "name the table that its materialized view fills"),
    ("GenerateRandom", "keeps no rows", "name a table of the MergeTree family"),
    ("MaterializedPostgreSQL", "is replicated from Postgres", "name a table of the MergeTree family"),
];

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
    if let Some((_, why, mend)) = REFUSED.iter().find(|(engine, ..)| *engine == kind) {
        return Err(Error::pause(format!("{table} is a {kind}, which {why}")).with_hint(*mend));
    }

    let sql = format!(
        "SELECT name, type, default_kind FROM system.columns WHERE database = {database} AND table = {name} \
         ORDER BY position"
    );
    let rows = session.answer(&doing, session.question(&sql).fetch_all::<(String, String, String)>()).await?;
    let columns =
        rows.into_iter().map(|(name, type_text, default_kind)| column(name, type_text, &default_kind)).collect();
    Ok(Some(TableSchema { name: table.clone(), kind, columns }))
}

fn hidden(session: &ClickHouse, table: &TableName) -> Error {
    let (user, quoted_table) = (session.user(), quote_table(table));
    Error::pause(format!("{table} does not exist, or user {user} has no rights on it"))
        .with_code("497")
        .with_hint(format!("create it if need be, and GRANT INSERT ON {quoted_table} TO {}", quote(user)))
}

fn column(name: String, type_text: String, default_kind: &str) -> TableColumn {
    let default = match default_kind {
        "" => ColumnDefault::None,
        "DEFAULT" => ColumnDefault::Expression,
        // EPHEMERAL is insertable but not stored: it only feeds other columns' defaults. Nothing maps to such a
        // column by accident, and a read of the table never shows what was written, so it is left alone until someone
        // asks for it by name.
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
        for kind in ["MATERIALIZED", "ALIAS", "EPHEMERAL"] {
            assert_eq!(column("c".into(), "Int8".into(), kind).default, ColumnDefault::Generated);
        }
    }
}
