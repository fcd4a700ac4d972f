use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::contract::{Refusal, TableName, TableSpec};

/// How a SQL database wants its statements written.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    /// What stands around an identifier, and is doubled inside it.
    pub quote: char,
    /// Whether names that differ in case only are one name.
    pub ignores_case: bool,
    /// The most parameters that one statement may have.
    pub max_parameters: usize,
    /// The most rows that one `INSERT … VALUES` should have: beyond some hundreds nothing is gained.
    pub max_rows: usize,
    /// What stands behind `INSERT INTO table` for a row of defaults alone.
    pub empty_row: &'static str,
}

impl Syntax {
    /// An identifier in quotes, whatever characters it holds.
    #[must_use]
    pub fn identifier(&self, name: &str) -> String {
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push(self.quote);
        for c in name.chars() {
            if c == self.quote {
                quoted.push(c);
            }
            quoted.push(c);
        }
        quoted.push(self.quote);
        quoted
    }

    /// A table's name in quotes, with its schema where it has one.
    #[must_use]
    pub fn table(&self, table: &TableName) -> String {
        match &table.schema {
            Some(schema) => format!("{}.{}", self.identifier(schema), self.identifier(&table.name)),
            None => self.identifier(&table.name),
        }
    }

    /// `CREATE TABLE IF NOT EXISTS`, one column a line. The column types are taken as they are: the grammar has read
    /// them before.
    ///
    /// # Errors
    /// For what no SQL database keeps as a table: no columns, one name twice, a NUL inside a name.
    pub fn create_table(&self, table: &TableSpec) -> Result<String, Refusal> {
        self.names(table)?;
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", self.table(&table.name));
        for (index, column) in table.columns.iter().enumerate() {
            let separator = if index == 0 { "\n" } else { ",\n" };
            let takes_null = column.nullable.unwrap_or(!table.key.contains(&column.name));
            let definition = self.definition(&column.type_text, takes_null, column.default.as_deref());
            let _ = write!(sql, "{separator}    {} {definition}", self.identifier(&column.name));
        }
        if !table.key.is_empty() {
            let _ = write!(sql, ",\n    PRIMARY KEY ({})", self.list(&table.key));
        }
        sql.push_str("\n)");
        Ok(sql)
    }

    /// What stands behind a column's name.
    pub(crate) fn definition(&self, type_text: &str, takes_null: bool, default: Option<&str>) -> String {
        let not_null = if takes_null { "" } else { " NOT NULL" };
        // Only in parentheses may it be any expression.
        let default = default.map_or_else(String::new, |text| format!(" DEFAULT ({text})"));
        format!("{type_text}{not_null}{default}")
    }

    /// Names in quotes, with commas between.
    fn list(&self, names: &[impl AsRef<str>]) -> String {
        names.iter().map(|name| self.identifier(name.as_ref())).collect::<Vec<_>>().join(", ")
    }

    fn names(&self, table: &TableSpec) -> Result<(), Refusal> {
        let name = &table.name;
        if table.columns.is_empty() {
            return Err(Refusal(format!("table `{name}` would have no columns")));
        }
        let mut seen = HashMap::new();
        for column in &table.columns {
            let key = if self.ignores_case { column.name.to_ascii_lowercase() } else { column.name.clone() };
            if let Some(twin) = seen.insert(key, &column.name) {
                return Err(Refusal(format!("table `{name}`: `{twin}` and `{}` are the same name", column.name)));
            }
        }
        let identifiers = [Some(&name.name), name.schema.as_ref()].into_iter().flatten();
        match identifiers.chain(table.columns.iter().map(|column| &column.name)).find(|name| name.contains('\0')) {
            Some(bad) => Err(Refusal(format!("{bad:?} holds a NUL, which no SQL name can"))),
            None => Ok(()),
        }
    }

    /// How many rows one `INSERT` into so many columns takes.
    #[must_use]
    pub fn rows_per_insert(&self, columns: usize) -> usize {
        match columns {
            0 => 1,
            columns => (self.max_parameters / columns).clamp(1, self.max_rows),
        }
    }

    /// `INSERT INTO … VALUES (?,?),(?,?)`: one parameter per value, row by row. Without columns it inserts one row of
    /// defaults.
    pub(crate) fn insert(&self, table: &TableName, columns: &[&str], rows: usize) -> Statement {
        Statement::new(self.insert_text(table, columns, rows))
    }

    /// As [`Syntax::insert`], for what goes on behind it.
    pub(crate) fn insert_text(&self, table: &TableName, columns: &[&str], rows: usize) -> String {
        let table = self.table(table);
        if columns.is_empty() {
            return format!("INSERT INTO {table} {}", self.empty_row);
        }
        let mut sql = format!("INSERT INTO {table} ({}) VALUES ", self.list(columns));
        let row = format!("({}),", vec!["?"; columns.len()].join(","));
        sql.reserve(row.len() * rows);
        for _ in 0..rows {
            sql.push_str(&row);
        }
        sql.pop();
        sql
    }
}

/// A statement's text that was made here: its identifiers are quoted and its values are parameters.
#[derive(Clone, Debug)]
pub(crate) struct Statement(Arc<str>);

impl Statement {
    fn new(sql: String) -> Self {
        Self(sql.into())
    }

    /// A statement that a [`Grammar`](crate::contract::Grammar) made with [`Syntax`], come back through the pipeline.
    pub(crate) fn ddl(sql: &str) -> Self {
        Self(sql.into())
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SqlSafeStr for &Statement {
    fn into_sql_str(self) -> SqlStr {
        // The only such assertion in the crate: what comes here went through `Syntax`.
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ColumnSpec, Storage};
    use insta::assert_snapshot;

    const SYNTAX: Syntax = Syntax { quote: '"', ignores_case: true, max_parameters: 10, max_rows: 4, empty_row: "DEFAULT VALUES" };

    fn spec(name: &str, columns: &[(&str, &str, bool)]) -> TableSpec {
        let column = |&(name, type_text, nullable): &(&str, &str, bool)| ColumnSpec::new(name, type_text, nullable);
        TableSpec {
            name: TableName::parse(name),
            columns: columns.iter().map(column).collect(),
            key: Vec::new(),
            storage: Storage::default(),
        }
    }

    #[test]
    fn a_table_is_created_with_its_quotes_doubled() {
        let spec = spec("main.we`\"`ird", &[("id", "INTEGER", false), ("a \"note\"", "TEXT", true)]);
        assert_snapshot!(SYNTAX.create_table(&spec).unwrap(), @r#"
        CREATE TABLE IF NOT EXISTS "main"."we""ird" (
            "id" INTEGER NOT NULL,
            "a ""note""" TEXT
        )
        "#);
        let backquotes = Syntax { quote: '`', ..SYNTAX };
        assert_snapshot!(backquotes.identifier("a`b\"c"), @r#"`a``b"c`"#);
    }

    #[test]
    fn rows_are_inserted_with_one_parameter_per_value() {
        let table = TableName::parse("orders");
        assert_snapshot!(SYNTAX.insert(&table, &["id", "no te"], 3).as_str(), @r#"INSERT INTO "orders" ("id", "no te") VALUES (?,?),(?,?),(?,?)"#);
        assert_snapshot!(SYNTAX.insert(&table, &["id"], 1).as_str(), @r#"INSERT INTO "orders" ("id") VALUES (?)"#);
        assert_snapshot!(SYNTAX.insert(&table, &[], 1).as_str(), @r#"INSERT INTO "orders" DEFAULT VALUES"#);
    }

    #[test]
    fn a_statement_stays_below_both_caps() {
        let rows: Vec<_> = [0, 1, 3, 5, 10, 11].map(|columns| SYNTAX.rows_per_insert(columns)).into();
        assert_eq!(rows, [1, 4, 3, 2, 1, 1]);
    }

    #[test]
    fn what_cannot_be_a_table_is_refused_by_name() {
        let refusal = |spec| SYNTAX.create_table(&spec).unwrap_err().to_string();
        assert_snapshot!(refusal(spec("t", &[])), @"table `t` would have no columns");
        assert_snapshot!(refusal(spec("t", &[("Id", "INTEGER", false), ("id", "TEXT", true)])), @"table `t`: `Id` and `id` are the same name");
        assert_snapshot!(refusal(spec("t", &[("i\0d", "INTEGER", false)])), @r#""i\0d" holds a NUL, which no SQL name can"#);
    }
}
