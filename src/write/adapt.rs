//! Blocks for a table that another process has altered since: the same values, as its columns take them now.

use std::sync::Arc;

use rowfall_dialects::contract::{Block, Column, Layout, TableSchema, Values};

/// The block for the table as it is now; `None` when a column that it fills is gone or takes other values than before.
pub(super) fn adapt(block: &Block, now: TableSchema) -> Option<Block> {
    let targets = block.layout.columns().map(|column| now.columns.iter().position(|c| c.name == column.name));
    let targets = targets.collect::<Option<Vec<_>>>()?;
    let pairs = block.layout.columns().zip(&targets).zip(&block.columns);
    let columns = pairs.map(|((before, target), column)| {
        let (before, after) = (before.value.as_ref().ok()?, now.columns[*target].value.as_ref().ok()?);
        if before.nullable && !after.nullable {
            return None;
        }
        if before.logical == after.logical {
            return Some(column.clone());
        }
        Some(Column { values: widen(&column.values, &Values::for_type(&after.logical))?, marks: column.marks.clone() })
    });
    let columns = columns.collect::<Option<Vec<_>>>()?;
    let layout = Layout { key: block.layout.key.clone(), ..Layout::new(Arc::new(now), targets) };
    Some(Block {
        layout: Arc::new(layout),
        columns,
        rows: block.rows,
        ops: block.ops.clone(),
        token: block.token.clone(),
    })
}

/// The same numbers in a wider type.
fn widen(values: &Values, to: &Values) -> Option<Values> {
    macro_rules! integers {
        ($values:expr) => {{
            let values = $values;
            match to {
                Values::Int16(_) => {
                    values.iter().map(|v| i16::try_from(*v).ok()).collect::<Option<_>>().map(Values::Int16)
                }
                Values::Int32(_) => {
                    values.iter().map(|v| i32::try_from(*v).ok()).collect::<Option<_>>().map(Values::Int32)
                }
                Values::Int64(_) => {
                    values.iter().map(|v| i64::try_from(*v).ok()).collect::<Option<_>>().map(Values::Int64)
                }
                Values::UInt16(_) => {
                    values.iter().map(|v| u16::try_from(*v).ok()).collect::<Option<_>>().map(Values::UInt16)
                }
                Values::UInt32(_) => {
                    values.iter().map(|v| u32::try_from(*v).ok()).collect::<Option<_>>().map(Values::UInt32)
                }
                Values::UInt64(_) => {
                    values.iter().map(|v| u64::try_from(*v).ok()).collect::<Option<_>>().map(Values::UInt64)
                }
                _ => None,
            }
        }};
    }
    match values {
        Values::Int8(v) => integers!(v),
        Values::Int16(v) => integers!(v),
        Values::Int32(v) => integers!(v),
        Values::UInt8(v) => integers!(v),
        Values::UInt16(v) => integers!(v),
        Values::UInt32(v) => integers!(v),
        Values::Float32(v) if matches!(to, Values::Float64(_)) => {
            Some(Values::Float64(v.iter().map(|v| f64::from(*v)).collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowfall_dialects::contract::{ColumnDefault, LogicalType, Mark, TableColumn, TableName, ValueType};

    fn table(columns: &[(&str, LogicalType, bool)]) -> TableSchema {
        let column = |(name, logical, nullable): &(&str, LogicalType, bool)| TableColumn {
            name: (*name).to_owned(),
            type_text: String::new(),
            value: Ok(ValueType { nullable: *nullable, ..logical.clone().into() }),
            default: ColumnDefault::None,
        };
        TableSchema::new(TableName::parse("t"), "table", columns.iter().map(column).collect())
    }

    #[test]
    fn values_stay_what_they_are_or_the_block_does_not_fit() {
        use LogicalType as T;
        let layout = Layout::new(Arc::new(table(&[("a", T::Int32, true), ("b", T::String, false)])), [0, 1]);
        let mut columns = layout.empty_columns();
        columns[0].values = Values::Int32(vec![-7]);
        columns[0].push_mark(Mark::Null);
        for column in &mut columns[1..] {
            let Values::Text(text) = &mut column.values else { unreachable!() };
            text.push("x");
            text.push("y");
        }
        let block = Block::new(Arc::new(layout), columns, 2);
        let new = [("c", T::Bool, true), ("b", T::String, true), ("a", T::Int64, true)];
        let adapted = adapt(&block, table(&new)).unwrap();
        assert_eq!(*adapted.layout.targets, [2, 1]);
        assert_eq!(
            (&adapted.columns[0].values, adapted.columns[0].marks.get(1)),
            (&Values::Int64(vec![-7, 0]), Mark::Null)
        );
        assert_eq!(adapted.columns[1], block.columns[1]);
        for misfit in [
            vec![("a", T::Int64, true)],
            vec![("a", T::Int64, false), ("b", T::String, false)],
            vec![("a", T::UInt64, true), ("b", T::String, false)],
            vec![("a", T::Int64, true), ("b", T::Json, false)],
        ] {
            assert!(adapt(&block, table(&misfit)).is_none(), "{misfit:?}");
        }
    }
}
