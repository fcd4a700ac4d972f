//! What the tests of this folder share.

use std::sync::Arc;

use crate::contract::{ColumnDefault, Layout, LogicalType, TableColumn, TableName, TableSchema, ValueType};
use crate::generic::Syntax;

/// As the standard has it, or nearly.
pub(super) const SQL: Syntax = Syntax {
    quote: '"',
    ignores_case: true,
    max_parameters: 1000,
    max_rows: 1000,
    empty_row: "DEFAULT VALUES",
    numbered: false,
    in_rows: "VALUES ",
    same: "IS NOT DISTINCT FROM",
    add_once: "",
};

/// All columns of a table: an `id`, an `at` with a default, a `note` that takes null, an `amount` that must be given.
pub(super) fn layout(key: &[usize]) -> Layout {
    let column = |(name, default, nullable): (&str, ColumnDefault, bool)| TableColumn {
        name: name.into(),
        type_text: "BIGINT".into(),
        value: Ok(ValueType { nullable, ..LogicalType::Int64.into() }),
        default,
    };
    let columns = [
        ("id", ColumnDefault::None, false),
        ("at", ColumnDefault::Expression, false),
        ("no \"te\"", ColumnDefault::None, true),
        ("amount", ColumnDefault::None, false),
    ];
    let table = TableSchema::new(TableName::parse("orders"), "table", columns.map(column).into());
    Layout { key: key.into(), ..Layout::new(Arc::new(table), [0, 1, 2, 3]) }
}
