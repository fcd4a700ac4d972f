use crate::contract::{Grammar, LogicalType, Refusal, TableSpec, ValueType};
use crate::generic::Syntax;
use crate::postgres::types;

/// How Postgres wants its statements. Rows go by `COPY`, so the caps are those of other statements' parameters.
pub(super) const SYNTAX: Syntax = Syntax { quote: '"', ignores_case: false, max_parameters: 65_535, max_rows: 1000 };

/// The server cuts what is longer, and says so in a notice only.
const MAX_NAME: usize = 63;

/// Postgres' texts.
pub(super) struct PostgresGrammar;

impl Grammar for PostgresGrammar {
    fn name(&self) -> &'static str {
        "Postgres"
    }

    fn quote(&self, identifier: &str) -> String {
        SYNTAX.identifier(identifier)
    }

    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
        types::column_type(logical)
    }

    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
        // Whether a column takes null is never part of its type.
        types::parse(text).map(|declared| types::value(&declared, true))
    }

    fn create_table(&self, table: &TableSpec) -> Result<Vec<String>, Refusal> {
        let names = table.name.schema.iter().chain([&table.name.name]);
        names.chain(table.columns.iter().map(|column| &column.name)).try_for_each(|name| check_name(name))?;
        for column in &table.columns {
            types::parse(&column.type_text)
                .map_err(|why| Refusal(format!("table `{}`, column `{}`: {why}", table.name, column.name)))?;
        }
        Ok(vec![SYNTAX.create_table(table)?])
    }
}

/// Refuses a name that the server would cut.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Refusal(format!("the name `{name}` has {} bytes, and Postgres keeps {MAX_NAME}: say a shorter one", name.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ColumnSpec, Storage, TableName};
    use insta::assert_snapshot;

    fn spec(table: &str, column: &str, type_text: &str) -> TableSpec {
        TableSpec {
            name: TableName::parse(table),
            columns: vec![ColumnSpec::new("id", "bigint", false), ColumnSpec::new(column, type_text, true)],
            storage: Storage { engine: Some("MergeTree".into()), ..Storage::default() },
        }
    }

    #[test]
    fn a_table_is_created_once() {
        let statements = PostgresGrammar.create_table(&spec("Shop.orders", "or\"der", "numeric(10,2)")).unwrap();
        assert_snapshot!(statements.join(";\n"), @r#"
        CREATE TABLE IF NOT EXISTS "Shop"."orders" (
            "id" bigint NOT NULL,
            "or""der" numeric(10,2)
        )
        "#);
    }

    #[test]
    fn what_cannot_be_created_is_refused_by_name() {
        let refusal =
            |table: &str, column: &str, type_text| PostgresGrammar.create_table(&spec(table, column, type_text)).unwrap_err().to_string();
        assert_snapshot!(refusal("t", "ID", "text, x int"), @"table `t`, column `ID`: Postgres type `text, x int`: not a type that rowfall knows: declare it text, or as the base of its values");
        assert_snapshot!(refusal("t", "a", "text); DROP TABLE x; --"), @"table `t`, column `a`: Postgres type `text); DROP TABLE x; --`: not a type that rowfall knows: declare it text, or as the base of its values");
        assert_snapshot!(refusal("t", &"é".repeat(32), "text"), @"the name `éééééééééééééééééééééééééééééééé` has 64 bytes, and Postgres keeps 63: say a shorter one");
        assert_snapshot!(refusal(&"t".repeat(64), "a", "text"), @"the name `tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt` has 64 bytes, and Postgres keeps 63: say a shorter one");
        assert_snapshot!(refusal("t", "id", "text"), @"table `t`: `id` and `id` are the same name");
        assert!(PostgresGrammar.create_table(&spec("t", &"é".repeat(31), "text")).is_ok());
    }
}
