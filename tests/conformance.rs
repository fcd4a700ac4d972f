//! ClickHouse keeps the dialects' contract, on a real server.

use async_trait::async_trait;
use rowfall_dialects::conformance::{self, Probe};
use rowfall_dialects::contract::{Compression, LogicalType, TableColumn, TableName, Target};
use rowfall_services::ClickHouse;

use crate::support;

/// Reads tables back over HTTP, as texts that the server makes.
struct Reader<'a> {
    clickhouse: &'a ClickHouse,
    /// Of tables that are named without one.
    database: &'a str,
}

#[async_trait]
impl Probe for Reader<'_> {
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
        let quote = |name: &str| format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"));
        let text = |column: &TableColumn| {
            let name = quote(&column.name);
            match column.value.as_ref().map(|value| &value.logical) {
                // `toString` leaves the zeros at the end of a decimal out.
                Ok(LogicalType::Decimal { scale, .. }) => format!("toDecimalString({name}, {scale})"),
                _ => format!("toString({name})"),
            }
        };
        let texts: Vec<_> = columns.iter().map(text).collect();
        let from = format!("{}.{}", quote(table.schema.as_deref().unwrap_or(self.database)), quote(&table.name));
        let engine = support::query(self.clickhouse, &format!("SHOW CREATE TABLE {from} FORMAT TSVRaw"));
        let readers_see = if engine.contains("ENGINE = ReplacingMergeTree") { " FINAL" } else { "" };
        let sql = format!(
            "SELECT {} FROM {from}{readers_see} ORDER BY {} FORMAT JSONCompactEachRow",
            texts.join(", "),
            quote(&columns[0].name),
        );
        let rows = support::query(self.clickhouse, &sql);
        rows.lines().map(|row| serde_json::from_str(row).expect("an array of texts and nulls")).collect()
    }
}

/// Once with the target's own database, sent as it is, and once with the tables' database named, compressed.
#[test]
fn clickhouse_keeps_the_contract() {
    let services = support::services();
    let clickhouse = &services.clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (compression, named) in [(Compression::None, false), (Compression::Lz4, true)] {
        let database = support::unique("conformance");
        support::query(clickhouse, &format!("CREATE DATABASE {database}"));
        let own = if named { "default" } else { &database };
        let url = support::target(clickhouse).replace("/default", &format!("/{own}"));
        let target = Target::new(url.parse().expect("a URL"), compression);
        runtime.block_on(async {
            let connection = rowfall_dialects::connect(&target).await.expect("the server answers");
            let reader = Reader { clickhouse, database: &database };
            let schema = named.then_some(database.as_str());
            conformance::run(&connection, schema, &reader).await;
            let other = rowfall_dialects::connect(&target).await.expect("the server answers");
            conformance::compete(&connection, &other, schema, &reader).await;
        });
        support::query(clickhouse, &format!("DROP DATABASE {database}"));
    }
}
