//! Rows that lack the same columns, brought together.
//!
//! Where the server has to fill in a column that cannot tell so by a null, each run of rows that have it or lack it is
//! a Native block of its own. Where such rows alternate, that is a block for each row, some hundred times the work of
//! a large one for the server. So rows change places, where their order means nothing.

use super::{Absent, Encoder};
use crate::clickhouse::{engines, ops};
use crate::contract::{Block, Error, Mark};

/// Shorter runs than this, on average, are worth a copy of the block.
const SHORT: usize = 256;

/// The block with the rows that lack the same columns side by side; `None` where it is as well as it is.
///
/// # Errors
/// As [`Encoder::new`].
pub(in crate::clickhouse) fn regroup(block: &Block) -> Result<Option<Block>, Error> {
    let mut columns = block.layout.columns().zip(&block.columns);
    let any = columns
        .any(|(target, column)| target.default.fills_in() && column.marks.as_bytes().contains(&(Mark::Absent as u8)));
    // With operations there is one row for each key.
    if !any || (block.ops.is_empty() && !engines::forgets_order(&block.layout.table.kind)) || ops::keeps_absent(block) {
        return Ok(None);
    }
    let given = block.layout.columns().zip(&block.columns);
    let encoder = Encoder::of(&block.layout.table.name, block.rows, given, Absent::Default, usize::MAX)?;
    let optional: Vec<_> = encoder.columns.iter().filter(|column| column.is_optional()).collect();
    let Ok(rows) = u32::try_from(block.rows) else { return Ok(None) };
    if optional.is_empty() || optional.len() > 64 {
        return Ok(None);
    }
    // A bit for each column that a row has.
    let mut patterns = vec![0u64; block.rows];
    for (bit, column) in optional.iter().enumerate() {
        for (row, pattern) in patterns.iter_mut().enumerate() {
            *pattern |= u64::from(column.is_given(row)) << bit;
        }
    }
    let runs = 1 + patterns.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let mut order: Vec<_> = (0..rows).collect();
    order.sort_by_key(|row| patterns[*row as usize]);
    let groups = 1 + order.windows(2).filter(|p| patterns[p[0] as usize] != patterns[p[1] as usize]).count();
    if runs * SHORT <= block.rows || groups * 2 > runs {
        return Ok(None);
    }
    Ok(Some(block.gather(&order)))
}
