use super::{alter, create, type_names, types};
use crate::contract::{Change, Ddl, Grammar, LogicalType, Refusal, TableName, TableSchema, TableSpec, ValueType};

/// ClickHouse's SQL.
#[derive(Debug)]
pub(super) struct ClickHouse;

/// An identifier in backquotes: <https://clickhouse.com/docs/sql-reference/syntax#identifiers>.
pub(super) fn quote(identifier: &str) -> String {
    escape(identifier, '`')
}

/// A string literal: <https://clickhouse.com/docs/sql-reference/syntax#string>.
pub(super) fn literal(text: &str) -> String {
    escape(text, '\'')
}

/// A table's quoted name, with its database where it has one.
pub(super) fn quote_table(table: &TableName) -> String {
    match &table.schema {
        Some(database) => format!("{}.{}", quote(database), quote(&table.name)),
        None => quote(&table.name),
    }
}

fn escape(text: &str, around: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(around);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0' => quoted.push_str("\\0"),
            c if c == around => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push(around);
    quoted
}

impl Grammar for ClickHouse {
    fn name(&self) -> &'static str {
        "ClickHouse"
    }

    fn quote(&self, identifier: &str) -> String {
        quote(identifier)
    }

    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
        type_names::name(logical)
    }

    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
        types::parse(text).map(|column| column.value)
    }

    fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal> {
        create::create_table(table)
    }

    fn alter_table(&self, table: &TableSchema, changes: &[Change], cluster: Option<&str>) -> Result<Ddl, Refusal> {
        alter::alter_table(table, changes, cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_character_can_be_quoted() {
        insta::assert_snapshot!(quote("plain"), @"`plain`");
        insta::assert_snapshot!(quote("a`b\\c'd\"e\nf.g?h ü"), @r#"`a\`b\\c'd"e\nf.g?h ü`"#);
        insta::assert_snapshot!(literal("it's `so`\\"), @r"'it\'s `so`\\'");
    }
}
