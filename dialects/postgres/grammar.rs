use crate::contract::{
    Change, ColumnSpec, Ddl, Grammar, LogicalType, Refusal, TableSchema, TableSpec, Upserts, ValueType,
};
use crate::generic::Syntax;
use crate::postgres::types::{self, Declared};

/// How Postgres wants its statements. (Rows go by `COPY` and in arrays, so that nothing comes near the caps.)
pub(super) const SYNTAX: Syntax = Syntax {
    quote: '"',
    ignores_case: false,
    max_parameters: 65_535,
    max_rows: 1000,
    empty_row: "DEFAULT VALUES",
    numbered: true,
    in_rows: "",
    same: "IS NOT DISTINCT FROM",
    add_once: "IF NOT EXISTS ",
};

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

    fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal> {
        let names = table.name.schema.iter().chain([&table.name.name]);
        names.chain(table.columns.iter().map(|column| &column.name)).try_for_each(|name| check_name(name))?;
        for column in &table.columns {
            types::parse(&column.type_text)
                .map_err(|why| Refusal(format!("table `{}`, column `{}`: {why}", table.name, column.name)))?;
        }
        Ok(Ddl::new(table.name.clone(), vec![SYNTAX.create_table(table)?]))
    }

    fn alter_table(&self, table: &TableSchema, changes: &[Change], _: Option<&str>) -> Result<Ddl, Refusal> {
        let mut ddl = Ddl::new(table.name.clone(), Vec::new());
        let mut actions = Vec::new();
        for change in changes {
            let (Change::Add(column) | Change::Widen(column)) = change;
            check_name(&column.name)?;
            let wanted = types::parse(&column.type_text)
                .map_err(|why| Refusal(format!("table `{}`, column `{}`: {why}", table.name, column.name)))?;
            match change {
                Change::Add(_) => ddl.statements.push(SYNTAX.add_column(table, column)?),
                Change::Widen(_) => widen(&mut actions, &mut ddl.notes, table, column, &wanted)?,
            }
        }
        if !actions.is_empty() {
            // Together, so that the server writes the table anew once at most.
            ddl.statements.push(format!("ALTER TABLE {}\n    {}", SYNTAX.table(&table.name), actions.join(",\n    ")));
        }
        Ok(ddl)
    }
}

/// Adds what makes a column take what is wanted.
fn widen(
    actions: &mut Vec<String>,
    notes: &mut Vec<String>,
    table: &TableSchema,
    wanted: &ColumnSpec,
    declared: &Declared,
) -> Result<(), Refusal> {
    let (name, column) = (&table.name, &wanted.name);
    let Some(present) = table.columns.iter().find(|present| present.name == *column) else {
        return Err(Refusal(format!("table `{name}` has no column `{column}`")));
    };
    let refuse = |why: &str| Err(Refusal(format!("table `{name}`, column `{column}` {}: {why}", present.type_text)));
    let alter = format!("ALTER COLUMN {}", SYNTAX.identifier(column));
    let now = types::parse(&present.type_text)?;
    if now != *declared {
        match types::widening(&present.type_text, &now, declared) {
            None => return refuse(&format!("{} does not hold all that it may hold now", wanted.type_text)),
            Some(rewrites) => {
                actions.push(format!("{alter} TYPE {}", wanted.type_text));
                if rewrites {
                    notes.push(format!(
                        "column `{column}`: the server writes the whole table anew, and locks it until it has done so"
                    ));
                }
            }
        }
    }
    let takes_null = present.value.as_ref().is_ok_and(|value| value.nullable);
    if wanted.nullable == Some(true) && !takes_null {
        if matches!(&table.upserts, Upserts::Keys(keys) if keys.iter().any(|key| key.contains(column))) {
            return refuse("it is part of a key, which takes no null");
        }
        actions.push(format!("{alter} DROP NOT NULL"));
    }
    Ok(())
}

/// Refuses a name that the server would cut, or could not even be asked for.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let why = match name.len() {
        0 => "is empty".to_owned(),
        1..=MAX_NAME if name.contains('\0') => "holds a NUL, which no SQL name can".to_owned(),
        1..=MAX_NAME => return Ok(()),
        length => format!("has {length} bytes, and Postgres keeps {MAX_NAME}: say a shorter one"),
    };
    Err(Refusal(format!("the name `{}` {why}", name.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ColumnDefault, Storage, TableColumn, TableName};
    use insta::assert_snapshot;

    fn spec(table: &str, column: &str, type_text: &str) -> TableSpec {
        TableSpec {
            name: TableName::parse(table),
            columns: vec![ColumnSpec::new("id", "bigint", false), ColumnSpec::new(column, type_text, true)],
            key: vec!["id".into()],
            storage: Storage { engine: Some("MergeTree".into()), ..Storage::default() },
        }
    }

    #[test]
    fn a_table_is_created_once() {
        let statements =
            PostgresGrammar.create_table(&spec("Shop.orders", "or\"der", "numeric(10,2)")).unwrap().statements;
        assert_snapshot!(statements.join(";\n"), @r#"
        CREATE TABLE IF NOT EXISTS "Shop"."orders" (
            "id" bigint NOT NULL,
            "or""der" numeric(10,2),
            PRIMARY KEY ("id")
        )
        "#);
    }

    #[test]
    fn what_cannot_be_created_is_refused_by_name() {
        let refusal = |table: &str, column: &str, type_text| {
            PostgresGrammar.create_table(&spec(table, column, type_text)).unwrap_err().to_string()
        };
        assert_snapshot!(refusal("t", "ID", "text, x int"), @"table `t`, column `ID`: Postgres type `text, x int`: not a type that rowfall knows: declare it text, or as the base of its values");
        assert_snapshot!(refusal("t", "a", "text); DROP TABLE x; --"), @"table `t`, column `a`: Postgres type `text); DROP TABLE x; --`: not a type that rowfall knows: declare it text, or as the base of its values");
        assert_snapshot!(refusal("t", &"é".repeat(32), "text"), @"the name `éééééééééééééééééééééééééééééééé` has 64 bytes, and Postgres keeps 63: say a shorter one");
        assert_snapshot!(refusal(&"t".repeat(64), "a", "text"), @"the name `tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt` has 64 bytes, and Postgres keeps 63: say a shorter one");
        assert_snapshot!(refusal("t", "id", "text"), @"table `t`: `id` and `id` are the same name");
        assert!(PostgresGrammar.create_table(&spec("t", &"é".repeat(31), "text")).is_ok());
    }
    fn table(columns: &[(&str, &str, bool)]) -> TableSchema {
        let column = |&(name, type_text, nullable): &(&str, &str, bool)| TableColumn {
            name: name.into(),
            type_text: type_text.into(),
            value: types::parse(type_text).map(|declared| types::value(&declared, nullable)).map_err(|why| why.0),
            default: ColumnDefault::None,
        };
        let columns = columns.iter().map(column).collect();
        let upserts = Upserts::Keys(vec![vec!["id".into()]]);
        TableSchema { upserts, ..TableSchema::new(TableName::parse("shop.orders"), "table", columns) }
    }

    #[test]
    fn columns_are_added_and_widened() {
        let table = table(&[
            ("id", "integer", false),
            ("price", "numeric(10,2)", false),
            ("note", "character varying(20)", true),
        ]);
        let changes = [
            Change::Add(ColumnSpec::new("new", "boolean", true)),
            Change::Widen(ColumnSpec::new("id", "bigint", false)),
            Change::Widen(ColumnSpec::new("price", "numeric(12,4)", true)),
            Change::Widen(ColumnSpec::new("note", "text", true)),
        ];
        let ddl = PostgresGrammar.alter_table(&table, &changes, None).unwrap();
        assert_snapshot!(ddl.statements.join(";\n"), @r#"
        ALTER TABLE "shop"."orders" ADD COLUMN IF NOT EXISTS "new" boolean;
        ALTER TABLE "shop"."orders"
            ALTER COLUMN "id" TYPE bigint,
            ALTER COLUMN "price" TYPE numeric(12,4),
            ALTER COLUMN "price" DROP NOT NULL,
            ALTER COLUMN "note" TYPE text
        "#);
        assert_snapshot!(ddl.notes.join("\n"), @"
        column `id`: the server writes the whole table anew, and locks it until it has done so
        column `price`: the server writes the whole table anew, and locks it until it has done so
        ");
        let nothing = Change::Widen(ColumnSpec::new("price", "numeric(10,2)", false));
        assert!(PostgresGrammar.alter_table(&table, &[nothing], None).unwrap().statements.is_empty());
    }

    #[test]
    fn a_change_that_could_lose_something_is_refused() {
        let table = table(&[
            ("id", "bigint", false),
            ("price", "numeric(10,2)", false),
            ("size", "shop.size, a domain over integer", true),
        ]);
        let refusal = |change| PostgresGrammar.alter_table(&table, &[change], None).unwrap_err().to_string();
        let widen = |name, type_text, nullable| refusal(Change::Widen(ColumnSpec::new(name, type_text, nullable)));
        assert_snapshot!(widen("id", "integer", false), @"table `shop.orders`, column `id` bigint: integer does not hold all that it may hold now");
        assert_snapshot!(widen("id", "bigint", true), @"table `shop.orders`, column `id` bigint: it is part of a key, which takes no null");
        assert_snapshot!(widen("price", "numeric(10,3)", false), @"table `shop.orders`, column `price` numeric(10,2): numeric(10,3) does not hold all that it may hold now");
        assert_snapshot!(widen("size", "bigint", true), @"table `shop.orders`, column `size` shop.size, a domain over integer: bigint does not hold all that it may hold now");
        assert_snapshot!(widen("other", "bigint", true), @"table `shop.orders` has no column `other`");
        assert_snapshot!(refusal(Change::Add(ColumnSpec::new("new", "boolean", false))), @"table `shop.orders`, column `new`: rows that are there have no value for it: let it take null, or give it a default");
    }
}
