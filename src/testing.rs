//! What several modules' tests begin with.

use rowfall_dialects::contract::{ColumnDefault, LogicalType, TableColumn, ValueType};

use crate::decode::Record;
use crate::source::position::Owned;

/// A column by its name and its logical type, `name int64`, with `?` behind where it takes null.
pub(crate) fn column(text: &str) -> TableColumn {
    let (name, type_text) = text.split_once(' ').expect("name and type");
    let logical = type_text.trim_end_matches('?').parse::<LogicalType>().expect("a type");
    TableColumn {
        name: name.to_owned(),
        type_text: type_text.to_owned(),
        value: Ok(ValueType { nullable: type_text.ends_with('?'), ..logical.into() }),
        default: ColumnDefault::None,
    }
}

/// A record of this partition that has a value alone.
pub(crate) fn record<'v>(owned: &'v Owned, offset: i64, value: &'v str) -> Record<'v> {
    Record {
        key: None,
        value: Some(value.as_bytes()),
        headers: &(),
        topic: &owned.partition.topic,
        partition: owned.partition.partition,
        offset,
        era: 0,
    }
}
