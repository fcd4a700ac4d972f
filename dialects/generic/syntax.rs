use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::contract::{ColumnSpec, Layout, Refusal, TableName, TableSchema, TableSpec};
use crate::generic::{Group, Verb};

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
    /// Whether parameters are numbered (`$1`, `$2`) instead of all being `?`.
    pub numbered: bool,
    /// What stands before the rows of `(a, b) IN (… (?,?),(?,?))`: `VALUES `, or nothing.
    pub in_rows: &'static str,
    /// The comparison that holds for two nulls as well.
    pub same: &'static str,
    /// What stands behind `ADD COLUMN ` to make it harmless where the column is there: `IF NOT EXISTS `, or nothing
    /// where there is no such thing and the error has to be understood.
    pub add_once: &'static str,
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
            let _ = write!(sql, "{separator}    {}", self.column(column, takes_null));
        }
        if !table.key.is_empty() {
            let _ = write!(sql, ",\n    PRIMARY KEY ({})", self.list(&table.key));
        }
        sql.push_str("\n)");
        Ok(sql)
    }

    /// `ALTER TABLE … ADD COLUMN`. The column's type is taken as it is.
    ///
    /// # Errors
    /// For a column that takes no null and has no default: the rows that are there would have nothing in it. For one that
    /// the database would take for another that is there.
    pub fn add_column(&self, table: &TableSchema, column: &ColumnSpec) -> Result<String, Refusal> {
        let refuse = |why: &str| Err(Refusal(format!("table `{}`, column `{}`: {why}", table.name, column.name)));
        let takes_null = column.nullable.unwrap_or(true);
        if !takes_null && column.default.is_none() {
            return refuse("rows that are there have no value for it: let it take null, or give it a default");
        }
        if column.name.contains('\0') {
            return refuse("the name holds a NUL, which no SQL name can");
        }
        let is_twin = |name: &String| *name != column.name && name.eq_ignore_ascii_case(&column.name);
        if let Some(twin) =
            table.columns.iter().map(|column| &column.name).find(|name| self.ignores_case && is_twin(name))
        {
            return refuse(&format!("it is the same name as `{twin}`, which the table has"));
        }
        let definition = self.column(column, takes_null);
        Ok(format!("ALTER TABLE {} ADD COLUMN {}{definition}", self.table(&table.name), self.add_once))
    }

    /// A column as it is declared.
    pub(crate) fn column(&self, column: &ColumnSpec, takes_null: bool) -> String {
        let not_null = if takes_null { "" } else { " NOT NULL" };
        // Only in parentheses may it be any expression.
        let default = column.default.as_ref().map_or_else(String::new, |text| format!(" DEFAULT ({text})"));
        format!("{} {}{not_null}{default}", self.identifier(&column.name), column.type_text)
    }

    /// Names in quotes, with commas between.
    pub(crate) fn list(&self, names: &[impl AsRef<str>]) -> String {
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

    /// How many rows of so many values one statement takes.
    #[must_use]
    pub fn rows_per_statement(&self, values: usize) -> usize {
        match values {
            0 => 1,
            values => (self.max_parameters / values).clamp(1, self.max_rows),
        }
    }

    /// What writes so many rows of a group: one parameter per value, row by row, in the order of [`Group::given`].
    ///
    /// `INSERT` and `UPDATE` say how many rows they concerned: where an `UPDATE` concerned fewer,
    /// [`Group::refuse_new`] is the answer.
    #[must_use]
    pub fn write(&self, layout: &Layout, group: &Group, rows: usize) -> Statement {
        let columns: Vec<_> = group.columns(layout).collect();
        let key: Vec<_> = key(layout).collect();
        let table = &layout.table.name;
        match group.verb {
            Verb::Insert => self.insert(table, &columns, rows),
            Verb::Upsert => self.upsert(table, &columns, &key, rows),
            Verb::Update => self.update(table, &columns, &key, rows),
        }
    }

    /// `INSERT INTO … VALUES (?,?),(?,?)`. Without columns it inserts one row of defaults.
    pub(crate) fn insert(&self, table: &TableName, columns: &[&str], rows: usize) -> Statement {
        let table = self.table(table);
        if columns.is_empty() {
            return Statement::new(format!("INSERT INTO {table} {}", self.empty_row));
        }
        let mut sql = format!("INSERT INTO {table} ({}) VALUES ", self.list(columns));
        self.push_rows(&mut sql, columns.len(), rows);
        Statement::new(sql)
    }

    /// An `INSERT` that changes the row that is there.
    fn upsert(&self, table: &TableName, columns: &[&str], key: &[&str], rows: usize) -> Statement {
        let Statement(insert) = self.insert(table, columns, rows);
        let mut sql = format!("{insert} ON CONFLICT ({}) DO ", self.list(key));
        let mut separator = "UPDATE SET ";
        for name in columns.iter().filter(|name| !key.contains(name)) {
            let name = self.identifier(name);
            let _ = write!(sql, "{separator}{name} = excluded.{name}");
            separator = ", ";
        }
        if separator != ", " {
            sql.push_str("NOTHING");
        }
        Statement::new(sql)
    }

    /// Changes rows that are there. (`column1` is what the standard calls the first column of `VALUES`.)
    fn update(&self, table: &TableName, columns: &[&str], key: &[&str], rows: usize) -> Statement {
        let given = |name: &&str| columns.iter().position(|column| column == name).map_or(0, |index| index + 1);
        let mut sql = format!("UPDATE {} AS stored SET ", self.table(table));
        let changed: Vec<_> = columns.iter().filter(|name| !key.contains(name)).collect();
        // Without anything to change it still counts which rows are there.
        let changed = if changed.is_empty() { key.iter().take(1).collect() } else { changed };
        for (index, name) in changed.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let _ = write!(sql, "{separator}{} = given.column{}", self.identifier(name), given(name));
        }
        sql.push_str(" FROM (VALUES ");
        self.push_rows(&mut sql, columns.len(), rows);
        sql.push_str(") AS given");
        for (index, name) in key.iter().enumerate() {
            let separator = if index == 0 { "WHERE" } else { "AND" };
            let _ = write!(sql, " {separator} stored.{} = given.column{}", self.identifier(name), given(name));
        }
        Statement::new(sql)
    }

    /// Deletes so many rows by their keys: one parameter per column of the key, row by row.
    #[must_use]
    pub fn delete(&self, layout: &Layout, rows: usize) -> Statement {
        let key: Vec<_> = key(layout).collect();
        let mut sql = format!("DELETE FROM {} WHERE ", self.table(&layout.table.name));
        match key.as_slice() {
            [one] => {
                let _ = write!(sql, "{} IN ", self.identifier(one));
                self.push_rows(&mut sql, rows, 1);
            }
            several => {
                let _ = write!(sql, "({}) IN ({}", self.list(several), self.in_rows);
                self.push_rows(&mut sql, several.len(), rows);
                sql.push(')');
            }
        }
        Statement::new(sql)
    }

    /// `(?,?),(?,?)`
    fn push_rows(&self, sql: &mut String, columns: usize, rows: usize) {
        sql.reserve(rows * (2 + columns * if self.numbered { 6 } else { 2 }));
        let mut number = 0;
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..columns {
                if column > 0 {
                    sql.push(',');
                }
                number += 1;
                self.push_parameter(sql, number);
            }
            sql.push(')');
        }
    }

    fn push_parameter(&self, sql: &mut String, number: usize) {
        if self.numbered {
            let _ = write!(sql, "${number}");
        } else {
            sql.push('?');
        }
    }

    /// A text with `?` for each parameter, as this database writes them.
    pub(super) fn parameters(&self, text: &str) -> Statement {
        let mut sql = String::with_capacity(text.len() + 16);
        for (number, part) in text.split('?').enumerate() {
            if number > 0 {
                self.push_parameter(&mut sql, number);
            }
            sql.push_str(part);
        }
        Statement::new(sql)
    }
}

fn key(layout: &Layout) -> impl Iterator<Item = &str> {
    layout.key.iter().map(|index| layout.table.columns[layout.targets[*index]].name.as_str())
}

/// A statement's text that was made here: its identifiers are quoted and its values are parameters.
#[derive(Clone, Debug)]
pub struct Statement(Arc<str>);

impl Statement {
    fn new(sql: String) -> Self {
        Self(sql.into())
    }

    /// A statement that a [`Grammar`](crate::contract::Grammar) made with [`Syntax`], come back through the pipeline.
    pub(crate) fn ddl(sql: &str) -> Self {
        Self(sql.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
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
    use crate::contract::Storage;
    use crate::generic::tests::{SQL, layout};
    use insta::assert_snapshot;

    const SYNTAX: Syntax = Syntax { max_parameters: 10, max_rows: 4, ..SQL };

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

    fn group(verb: Verb, given: &[usize]) -> Group {
        Group { verb, given: given.into(), rows: Vec::new() }
    }

    #[test]
    fn rows_are_written_with_one_parameter_per_value() {
        let write = |verb, given: &[usize], rows| SYNTAX.write(&layout(&[0]), &group(verb, given), rows).0;
        assert_snapshot!(write(Verb::Insert, &[0, 1, 3], 3), @r#"INSERT INTO "orders" ("id", "at", "amount") VALUES (?,?,?),(?,?,?),(?,?,?)"#);
        assert_snapshot!(write(Verb::Insert, &[0], 1), @r#"INSERT INTO "orders" ("id") VALUES (?)"#);
        assert_snapshot!(write(Verb::Insert, &[], 1), @r#"INSERT INTO "orders" DEFAULT VALUES"#);
        assert_snapshot!(write(Verb::Upsert, &[0, 1, 3], 2), @r#"INSERT INTO "orders" ("id", "at", "amount") VALUES (?,?,?),(?,?,?) ON CONFLICT ("id") DO UPDATE SET "at" = excluded."at", "amount" = excluded."amount""#);
        assert_snapshot!(write(Verb::Upsert, &[0], 2), @r#"INSERT INTO "orders" ("id") VALUES (?),(?) ON CONFLICT ("id") DO NOTHING"#);
        assert_snapshot!(write(Verb::Update, &[0, 3], 2), @r#"UPDATE "orders" AS stored SET "amount" = given.column2 FROM (VALUES (?,?),(?,?)) AS given WHERE stored."id" = given.column1"#);
        assert_snapshot!(write(Verb::Update, &[0], 2), @r#"UPDATE "orders" AS stored SET "id" = given.column1 FROM (VALUES (?),(?)) AS given WHERE stored."id" = given.column1"#);
        assert_snapshot!(SYNTAX.delete(&layout(&[0]), 3).0, @r#"DELETE FROM "orders" WHERE "id" IN (?,?,?)"#);
    }

    #[test]
    fn a_key_of_two_columns_is_compared_as_a_row() {
        let write = |verb| SYNTAX.write(&layout(&[1, 0]), &group(verb, &[0, 1, 2]), 2).0;
        assert_snapshot!(write(Verb::Upsert), @r#"INSERT INTO "orders" ("id", "at", "no ""te""") VALUES (?,?,?),(?,?,?) ON CONFLICT ("at", "id") DO UPDATE SET "no ""te""" = excluded."no ""te""""#);
        assert_snapshot!(write(Verb::Update), @r#"UPDATE "orders" AS stored SET "no ""te""" = given.column3 FROM (VALUES (?,?,?),(?,?,?)) AS given WHERE stored."at" = given.column2 AND stored."id" = given.column1"#);
        assert_snapshot!(SYNTAX.delete(&layout(&[1, 0]), 2).0, @r#"DELETE FROM "orders" WHERE ("at", "id") IN (VALUES (?,?),(?,?))"#);
        let numbered = Syntax { numbered: true, in_rows: "", ..SYNTAX };
        assert_snapshot!(numbered.delete(&layout(&[1, 0]), 2).0, @r#"DELETE FROM "orders" WHERE ("at", "id") IN (($1,$2),($3,$4))"#);
    }

    #[test]
    fn a_column_is_added() {
        let table = TableSchema { name: TableName::parse("shop.orders"), ..TableSchema::clone(&layout(&[0]).table) };
        let spec = |nullable, default: Option<&str>| ColumnSpec {
            nullable,
            default: default.map(Into::into),
            ..ColumnSpec::new("no\"te", "TEXT", true)
        };
        assert_snapshot!(SYNTAX.add_column(&table, &spec(None, None)).unwrap(), @r#"ALTER TABLE "shop"."orders" ADD COLUMN "no""te" TEXT"#);
        let once = Syntax { add_once: "IF NOT EXISTS ", ..SYNTAX };
        assert_snapshot!(once.add_column(&table, &spec(Some(false), Some("'-'"))).unwrap(), @r#"ALTER TABLE "shop"."orders" ADD COLUMN IF NOT EXISTS "no""te" TEXT NOT NULL DEFAULT ('-')"#);
        assert_snapshot!(SYNTAX.add_column(&table, &spec(Some(false), None)).unwrap_err(), @r#"table `shop.orders`, column `no"te`: rows that are there have no value for it: let it take null, or give it a default"#);
        let twin = ColumnSpec::new("ID", "TEXT", true);
        assert_snapshot!(SYNTAX.add_column(&table, &twin).unwrap_err(), @"table `shop.orders`, column `ID`: it is the same name as `id`, which the table has");
        let exact = Syntax { ignores_case: false, ..SYNTAX };
        assert_snapshot!(exact.add_column(&table, &twin).unwrap(), @r#"ALTER TABLE "shop"."orders" ADD COLUMN "ID" TEXT"#);
        // Another process may have been faster.
        assert!(SYNTAX.add_column(&table, &ColumnSpec::new("id", "TEXT", true)).is_ok());
    }

    #[test]
    fn a_statement_stays_below_both_caps() {
        let rows: Vec<_> = [0, 1, 3, 5, 10, 11].map(|columns| SYNTAX.rows_per_statement(columns)).into();
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
