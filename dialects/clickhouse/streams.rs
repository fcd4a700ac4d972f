//! A column as the runs of bytes that make it up, in ClickHouse's order: the one place that knows how values nest.
//!
//! Nested or not, a column is a list of streams, each with one item of one kind per row (of its own rows: those of a
//! list's elements are as many as all its lists are long), so that whoever sends them can stop and go on anywhere:
//!
//! - nullable: a byte per row that is 1 for null, then the values;
//! - list, map: where each row ends as a u64, counted from the first, then the elements of all rows;
//! - tuple: its parts, each with all its rows;
//! - variant: the number of each row's type as a byte, 255 for null, then the values of each type;
//! - all others: the values.
//!
//! Ahead of all that stand the prefixes of a column's parts, also in that order.

use std::mem::discriminant;
use std::ops::Range;

use super::chunk::{Chunk, push_text, push_varint};
use super::types::{ColumnType, Scalar, Variants, Wire};
use crate::contract::{Column, Mark, Values, Variant};
use crate::generic::changed_number;

/// How JSON is sent: as texts.
const JSON_AS_TEXT: u64 = 1;

/// How a variant's types are told: a number for each row.
const NUMBER_PER_ROW: u64 = 0;

/// How a Dynamic is sent: the names of its types, and then as a variant, but that null has the number behind the last.
const DYNAMIC_FLATTENED: u64 = 3;

/// One item per row of `rows`.
pub(super) enum Stream<'a> {
    /// What stands before a column's rows, one item as a whole.
    Head(Vec<u8>),
    Nulls {
        marks: &'a [u8],
        rows: Range<usize>,
    },
    Ends {
        ends: &'a [u32],
        base: u32,
        rows: Range<usize>,
    },
    Kinds {
        kinds: &'a [u8],
        numbers: Box<[u8; 256]>,
        rows: Range<usize>,
    },
    Values {
        scalar: Scalar,
        column: &'a Column,
        rows: Range<usize>,
    },
}

impl Stream<'_> {
    /// Puts rows from `row` on into the chunk until it is full; `done` counts those that are out already. True when
    /// nothing is left.
    pub(super) fn put(&self, done: &mut usize, chunk: &mut Chunk<'_>) -> bool {
        let rows = match self {
            Self::Head(bytes) => {
                if !chunk.has_room(bytes.len()) {
                    return false;
                }
                chunk.buffer.extend_from_slice(bytes);
                return true;
            }
            Self::Nulls { rows, .. }
            | Self::Ends { rows, .. }
            | Self::Kinds { rows, .. }
            | Self::Values { rows, .. } => rows,
        };
        let row = rows.start + *done;
        *done += match self {
            Self::Head(_) => 0,
            Self::Nulls { marks, .. } => chunk.nulls(marks, row, rows.end),
            Self::Ends { ends, base, .. } => chunk.ends(&ends[row..rows.end], *base),
            Self::Kinds { kinds, numbers, .. } => chunk.kinds(&kinds[row..rows.end], numbers),
            Self::Values { scalar, column, .. } => chunk.values(*scalar, column, row, rows.end),
        };
        *done == rows.len()
    }
}

/// What stands before all streams of such a column.
pub(super) fn push_prefix(column_type: &ColumnType, prefix: &mut Vec<u8>) {
    match &column_type.wire {
        Wire::Scalar(Scalar::Json) => prefix.extend(JSON_AS_TEXT.to_le_bytes()),
        Wire::Scalar(_) => {}
        Wire::List(element) => push_prefix(element, prefix),
        Wire::Tuple(parts) => parts.iter().for_each(|part| push_prefix(part, prefix)),
        Wire::Variant(variants) if variants.dynamic => {
            prefix.extend(DYNAMIC_FLATTENED.to_le_bytes());
            push_varint(prefix, variants.types.len());
            variants.order.iter().for_each(|index| push_text(prefix, variants.types[*index].wire_name.as_bytes()));
        }
        Wire::Variant(variants) => {
            prefix.extend(NUMBER_PER_ROW.to_le_bytes());
            variants.order.iter().for_each(|index| push_prefix(&variants.types[*index], prefix));
        }
    }
}

/// The streams of some of a column's rows. The column was found to [`check`].
pub(super) fn push_streams<'a>(
    column_type: &ColumnType,
    with_nulls: bool,
    column: &'a Column,
    rows: Range<usize>,
    streams: &mut Vec<Stream<'a>>,
) {
    if with_nulls {
        streams.push(Stream::Nulls { marks: column.marks.as_bytes(), rows: rows.clone() });
    }
    match (&column_type.wire, &column.values) {
        (Wire::List(element), Values::List(list)) => {
            let (base, end) = (start_of(&list.ends, rows.start), start_of(&list.ends, rows.end));
            streams.push(Stream::Ends { ends: &list.ends, base, rows });
            push_streams(element, element.has_null_map(), &list.values, base as usize..end as usize, streams);
        }
        (Wire::Tuple(types), Values::Struct(of)) => {
            for (part, column) in types.iter().zip(&of.parts) {
                push_streams(part, part.has_null_map(), column, rows.clone(), streams);
            }
        }
        (Wire::Variant(variants), Values::Variant(of)) => {
            let (before, within) = (counts(&of.kinds[..rows.start]), counts(&of.kinds[rows.clone()]));
            streams.push(Stream::Kinds { kinds: &of.kinds, numbers: Box::new(numbers(variants)), rows });
            for index in &variants.order {
                let rows = before[*index]..before[*index] + within[*index];
                push_streams(&variants.types[*index], false, &of.columns[*index], rows, streams);
            }
        }
        (Wire::Scalar(scalar), _) => streams.push(Stream::Values { scalar: *scalar, column, rows }),
        _ => unreachable!("the layout was compared with the type when the encoder was made"),
    }
}

/// Whether a JSON text in the column has a number that the server would change: where the type does not say what the path
/// holds, it keeps an integer of 64 bits or a double.
pub(super) fn changes_numbers(column_type: &ColumnType, column: &Column) -> bool {
    match (&column_type.wire, &column.values) {
        (Wire::Scalar(Scalar::Json), Values::Text(text)) => {
            let is_setting =
                |argument: &str| ["max_dynamic_", "SKIP"].iter().any(|word| argument.trim().starts_with(word));
            let arguments = column_type.wire_name.strip_prefix("JSON(").and_then(|rest| rest.strip_suffix(')'));
            let is_changed = |row| std::str::from_utf8(text.row(row)).is_ok_and(changed_number);
            arguments.is_none_or(|arguments| arguments.split(',').all(is_setting))
                && (0..text.ends.len()).any(is_changed)
        }
        (Wire::List(element), Values::List(list)) => changes_numbers(element, &list.values),
        (Wire::Tuple(types), Values::Struct(of)) => {
            types.iter().zip(&of.parts).any(|(part, column)| changes_numbers(part, column))
        }
        (Wire::Variant(variants), Values::Variant(of)) => {
            variants.types.iter().zip(&of.columns).any(|(part, column)| changes_numbers(part, column))
        }
        _ => false,
    }
}

/// Whether a column of so many rows is what the contract says of one of this type.
pub(super) fn check(column_type: &ColumnType, column: &Column, rows: usize) -> Result<(), String> {
    if column.len() != rows {
        return Err(format!("a block of {rows} rows has {} here", column.len()));
    }
    let logical = &column_type.value.logical;
    if discriminant(&column.values) != discriminant(&Values::for_type(logical)) {
        return Err(format!("the values do not have the layout of type {}", column_type.wire_name));
    }
    if !column_type.value.nullable && column.marks.as_bytes().contains(&(Mark::Null as u8)) {
        return Err("a row is null, but the column cannot be".into());
    }
    match (&column_type.wire, &column.values) {
        (Wire::List(element), Values::List(list)) => check(element, &list.values, start_of(&list.ends, rows) as usize),
        (Wire::Tuple(types), Values::Struct(of)) if types.len() == of.parts.len() => {
            types.iter().zip(&of.parts).try_for_each(|(part, column)| check(part, column, rows))
        }
        (Wire::Variant(variants), Values::Variant(of)) if variants.types.len() == of.columns.len() => {
            let counts = counts(&of.kinds);
            if counts[variants.types.len()..usize::from(Variant::NULL)].iter().any(|count| *count > 0) {
                return Err("a row is of a type that the variant does not have".into());
            }
            let mut columns = variants.types.iter().zip(&of.columns).zip(counts);
            columns.try_for_each(|((column_type, column), count)| check(column_type, column, count))
        }
        (Wire::Scalar(Scalar::FixedString(width)), Values::Text(text)) => {
            let mut starts = 0;
            let longest = text.ends.iter().map(|end| end - std::mem::replace(&mut starts, *end)).max().unwrap_or(0);
            if longest as usize > *width { Err(format!("a text has {longest} bytes")) } else { Ok(()) }
        }
        (Wire::Scalar(_), _) => Ok(()),
        _ => Err(format!("the values do not have the parts of type {}", column_type.wire_name)),
    }
}

fn start_of(ends: &[u32], row: usize) -> u32 {
    if row == 0 { 0 } else { ends[row - 1] }
}

fn counts(kinds: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    kinds.iter().for_each(|kind| counts[usize::from(*kind)] += 1);
    counts
}

/// What ClickHouse calls each of the types.
fn numbers(variants: &Variants) -> [u8; 256] {
    let null =
        if variants.dynamic { u8::try_from(variants.types.len()).unwrap_or(Variant::NULL) } else { Variant::NULL };
    let mut numbers = [null; 256];
    for (number, index) in (0..Variant::NULL).zip(&variants.order) {
        numbers[*index] = number;
    }
    numbers
}
