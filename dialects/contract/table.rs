use std::collections::BTreeMap;
use std::fmt;

use crate::contract::{Grammar, ValueType};

/// A table's name, with the schema (ClickHouse, MySQL: database) where one is given; unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// Schema or database; the connection's own where absent.
    pub schema: Option<String>,
    /// The name, as the database stores it.
    pub name: String,
}

impl TableName {
    /// Reads `name` or `schema.name`; a part that holds a dot itself stands in double quotes or backquotes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut quote = None;
        for c in text.chars() {
            match (quote, c) {
                (None, '"' | '`') => quote = Some(c),
                (Some(q), _) if q == c => quote = None,
                (None, '.') if parts.len() == 1 => parts.push(String::new()),
                _ => parts.last_mut().expect("never empty").push(c),
            }
        }
        let name = parts.pop().expect("never empty");
        Self { schema: parts.pop(), name }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// A table as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its name, with the schema always filled in where the database has schemas.
    pub name: TableName,
    /// What holds the rows, in the database's words (ClickHouse: the engine); for messages.
    pub kind: String,
    /// All columns in the table's order, those that cannot be inserted into too.
    pub columns: Vec<TableColumn>,
    /// How stored rows are changed by their key.
    pub upserts: Upserts,
    /// How many writes into it may be under way at once. 1 keeps its rows in the order in which they were read.
    pub parallel: usize,
    /// What it promises of the rows that it acknowledged, where that is less than to keep each as it was written; for
    /// people.
    pub promise: Option<String>,
}

impl TableSchema {
    /// A table that takes one write at a time and has no key.
    #[must_use]
    pub fn new(name: TableName, kind: impl Into<String>, columns: Vec<TableColumn>) -> Self {
        Self { name, kind: kind.into(), columns, upserts: Upserts::Keys(Vec::new()), parallel: 1, promise: None }
    }
}

/// How stored rows of a table are changed by their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upserts {
    /// By statements, on one of these unique keys: each the names of its columns, in its order; the primary key first.
    Keys(Vec<Vec<String>>),
    /// By later rows: whatever reads the table, or merges it, keeps for each key the row of the highest version, or
    /// puts one together from them.
    Versions {
        /// The key's columns, in its order.
        key: Vec<String>,
        /// The column that says which row is later; without one the row that was inserted last.
        version: Option<String>,
        /// The column that says that the row is deleted.
        deleted: Option<String>,
        /// Whether a row may lack columns, and those of earlier rows stay.
        partial: bool,
    },
    /// Not at all.
    Never {
        /// Why.
        why: String,
        /// What to do instead: a statement, where one helps.
        hint: String,
    },
}

/// How a table is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets this column.
    Add(ColumnSpec),
    /// Its column of this name becomes this: of a type that holds every value that the present one holds, or nullable.
    Widen(ColumnSpec),
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name, unquoted.
    pub name: String,
    /// Its type in the database's own words, for messages and for the dialect.
    pub type_text: String,
    /// What values it takes, or why rowfall cannot write it.
    pub value: Result<ValueType, String>,
    /// What it holds when an insert leaves it out.
    pub default: ColumnDefault,
}

/// What a column holds when an insert leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnDefault {
    /// Nothing was declared: null where it is nullable, otherwise a value must be given.
    None,
    /// An expression that the database evaluates.
    Expression,
    /// It is never stored: what is inserted into it feeds the other columns' expressions, and when an insert leaves it
    /// out they see its own default.
    Ephemeral,
    /// It is computed and cannot be inserted into.
    Generated,
}

impl ColumnDefault {
    /// Whether an insert may leave the column out and have the database fill it in.
    #[must_use]
    pub fn fills_in(self) -> bool {
        matches!(self, Self::Expression | Self::Ephemeral)
    }
}

/// A table to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name.
    pub name: TableName,
    /// Its columns in order.
    pub columns: Vec<ColumnSpec>,
    /// The columns of its primary key, in the key's order; empty for a table that rows are only added to.
    pub key: Vec<String>,
    /// How the database should keep it.
    pub storage: Storage,
}

impl TableSpec {
    /// As the database will describe it: columns take null unless they are said not to or are in the key, which is the
    /// only one.
    #[must_use]
    pub fn described(&self, grammar: &dyn Grammar) -> TableSchema {
        let column = |spec: &ColumnSpec| spec.described(grammar, !self.key.contains(&spec.name));
        let keys = Some(self.key.clone()).filter(|key| !key.is_empty());
        let table = TableSchema::new(self.name.clone(), "table", self.columns.iter().map(column).collect());
        TableSchema { upserts: Upserts::Keys(keys.into_iter().collect()), ..table }
    }
}

/// A column to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name, unquoted.
    pub name: String,
    /// Its type in the database's own words, without nullability.
    pub type_text: String,
    /// Whether it takes null. `None`: it does where the database can.
    pub nullable: Option<bool>,
    /// DEFAULT: an expression in the database's own words. Every dialect follows it, since it decides what rows hold.
    pub default: Option<String>,
    /// How the database should keep it.
    pub storage: ColumnStorage,
}

impl ColumnSpec {
    /// A column of which nothing else is said.
    pub fn new(name: impl Into<String>, type_text: impl Into<String>, nullable: bool) -> Self {
        let storage = ColumnStorage::default();
        Self { name: name.into(), type_text: type_text.into(), nullable: Some(nullable), default: None, storage }
    }

    /// As the database will describe it; `takes_null` where nothing is said of that.
    pub fn described(&self, grammar: &dyn Grammar, takes_null: bool) -> TableColumn {
        let nullable = self.nullable.unwrap_or(takes_null);
        TableColumn {
            name: self.name.clone(),
            type_text: self.type_text.clone(),
            value: match grammar.parse_type(&self.type_text) {
                Ok(value) => Ok(ValueType { nullable, ..value }),
                Err(refusal) => Err(refusal.0),
            },
            default: if self.default.is_some() { ColumnDefault::Expression } else { ColumnDefault::None },
        }
    }
}

/// How a database should keep a new column. A dialect that has no such choice ignores it, as with [`Storage`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnStorage {
    /// ClickHouse: CODEC, what stands between its parentheses.
    pub codec: Option<String>,
    /// ClickHouse: COMMENT.
    pub comment: Option<String>,
    /// ClickHouse: TTL, an expression.
    pub ttl: Option<String>,
}

/// How a database should keep a new table. A dialect that has no such choice ignores it, so that one configuration
/// serves several databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// ClickHouse: the engine with its arguments; `MergeTree` by default.
    pub engine: Option<String>,
    /// ClickHouse: ORDER BY, expressions; `tuple()` by default.
    pub order_by: Vec<String>,
    /// ClickHouse: PARTITION BY, an expression.
    pub partition_by: Option<String>,
    /// ClickHouse: PRIMARY KEY, expressions; what ORDER BY says by default.
    pub primary_key: Vec<String>,
    /// ClickHouse: SAMPLE BY, an expression.
    pub sample_by: Option<String>,
    /// ClickHouse: TTL, an expression.
    pub ttl: Option<String>,
    /// ClickHouse: SETTINGS of the table.
    pub settings: BTreeMap<String, String>,
    /// ClickHouse: INDEX, by name: an expression with its TYPE and GRANULARITY.
    pub indexes: BTreeMap<String, String>,
    /// ClickHouse: PROJECTION, by name: a SELECT, or an INDEX expression with its TYPE.
    pub projections: BTreeMap<String, String>,
    /// ClickHouse: COMMENT.
    pub comment: Option<String>,
    /// ClickHouse: ON CLUSTER, the cluster whose servers all get the table.
    pub cluster: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_schema() {
        let of = |schema: Option<&str>, name: &str| TableName { schema: schema.map(Into::into), name: name.into() };
        assert_eq!(TableName::parse("orders"), of(None, "orders"));
        assert_eq!(TableName::parse("shop.orders"), of(Some("shop"), "orders"));
        assert_eq!(TableName::parse("`my.shop`.\"or.ders\""), of(Some("my.shop"), "or.ders"));
        assert_eq!(TableName::parse("a.b.c"), of(Some("a"), "b.c"));
    }
}
