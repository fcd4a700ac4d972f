//! A block as `FORMAT Native`, made chunk by chunk, so that no whole encoded copy of it ever exists.
//!
//! The format (<https://clickhouse.com/docs/interfaces/formats/Native>, as it is over HTTP, revision 0): the number of
//! columns and of rows as varints; then for each column its name and its type (each a varint length and bytes), and
//! its streams (see `streams`).

#[cfg(target_endian = "big")]
compile_error!("columns are sent as they lie in memory, and ClickHouse wants little-endian");

mod gaps;

use std::fmt::Display;
use std::ops::Range;

use super::chunk::{Chunk, MAX_VARINT, push_text, push_varint};
use super::ops::Further;
use super::streams::{self, Stream};
use super::types::{self, ColumnType, Scalar, Wire};
use crate::contract::{Advice, Block, Column, Error, Mark, TableColumn, TableName};

pub(super) use gaps::regroup;

/// A block on its way to bytes.
pub(super) struct Encoder<'a> {
    rows: usize,
    chunk_size: usize,
    columns: Vec<SentColumn<'a>>,
    /// Where the rows start for which there are no streams yet.
    next: Option<usize>,
    streams: Vec<Stream<'a>>,
    /// The stream that comes next, and how many of its rows are out.
    stream: usize,
    done: usize,
}

/// What an absent value is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The column's default.
    Default,
    /// Null, over which the engine keeps the value that is there.
    Kept,
}

/// How a column is sent.
pub(super) struct Sent<'a> {
    pub(super) name: &'a str,
    pub(super) type_text: String,
    /// Whether rows lack a value that only the server can fill in; they are null.
    pub(super) has_gaps: bool,
    /// Whether it is left out of the rows that lack it.
    pub(super) is_optional: bool,
}

struct SentColumn<'a> {
    target: &'a TableColumn,
    values: &'a Column,
    column_type: ColumnType,
    marks: MarksSeen,
    /// Whether a byte for each row tells nulls, of which the column may have none itself.
    with_nulls: bool,
}

impl<'a> Encoder<'a> {
    /// Prepares a block, with the columns that its operations add to it, for chunks of about `chunk_size` bytes.
    ///
    /// Columns without a single value are left out, so that they get their defaults without being sent; at least one
    /// stays. A column with a default expression and some absent rows is sent as nullable with nulls there, which the
    /// server replaces by the default (`input_format_null_as_default`). Without an expression the default is the
    /// type's, which needs no help from the server.
    ///
    /// Where a null cannot stand for that (the column is nullable, so that null is a value of its own, or it cannot be:
    /// lists, maps, JSON, …), it is left out of the rows in which it is absent: each run of rows with the same columns
    /// is a Native block of its own. The server puts the blocks of an insert together again
    /// before it stores them.
    ///
    /// # Errors
    /// When the block holds what the contract excludes and ClickHouse would accept with another meaning.
    pub(super) fn new(block: &'a Block, further: &'a Further, chunk_size: usize) -> Result<Self, Error> {
        let columns = block.layout.columns().zip(&block.columns).chain(further.columns(&block.layout.table));
        let absent = if further.keeps_absent { Absent::Kept } else { Absent::Default };
        Self::of(&block.layout.table.name, block.rows, columns, absent, chunk_size)
    }

    /// As [`Encoder::new`], of some columns.
    pub(super) fn of(
        table: &TableName,
        rows: usize,
        given: impl Iterator<Item = (&'a TableColumn, &'a Column)>,
        absent: Absent,
        chunk_size: usize,
    ) -> Result<Self, Error> {
        let mut columns = Vec::with_capacity(given.size_hint().0);
        for (target, values) in given {
            let broken = |what: &dyn Display| {
                Error::pause(format!("column {} of table {table}: {what}", target.name))
                    .with_hint("this is a mistake in rowfall: please report it")
            };
            let column_type = types::parse(&target.type_text).map_err(|refusal| broken(&refusal))?;
            streams::check(&column_type, values, rows).map_err(|what| broken(&what))?;
            if streams::changes_numbers(&column_type, values) {
                let what =
                    "ClickHouse would change a number in its JSON, which is neither an integer of 64 bits nor a double";
                return Err(Error::new(Advice::Split, format!("column {} of table {table}: {what}", target.name))
                    .with_hint("declare it String"));
            }
            let marks = match absent {
                Absent::Default => MarksSeen::of(values),
                // Sent as it is: the marks of rows without a value are nulls.
                Absent::Kept => MarksSeen { present: true, absent: false },
            };
            let column = SentColumn { target, values, column_type, marks, with_nulls: false };
            let with_nulls = column.column_type.has_null_map() || (column.has_gaps() && column.tells_gaps_by_nulls());
            columns.push(SentColumn { with_nulls, ..column });
        }
        leave_out_absent(&mut columns, rows).map_err(|what| {
            Error::pause(format!("table {table}: {what}"))
                .with_hint("give the table a column without a default expression, or drop this one's")
        })?;
        Ok(Self { rows, chunk_size, columns, next: Some(0), streams: Vec::new(), stream: 0, done: 0 })
    }

    /// The columns that are sent, in the block's order: what the INSERT must list.
    pub(super) fn columns(&self) -> impl Iterator<Item = &'a TableColumn> {
        self.columns.iter().map(|column| column.target)
    }

    /// The same with their types on the wire.
    pub(super) fn sent(&self) -> impl Iterator<Item = Sent<'a>> {
        self.columns.iter().map(|column| Sent {
            name: &column.target.name,
            type_text: column.wire_name(),
            has_gaps: column.has_gaps(),
            is_optional: column.is_optional(),
        })
    }

    /// Puts the next chunk in place of what `buffer` holds; false when there is none.
    ///
    /// A chunk is no longer than the encoder's chunk size, unless a single text is longer than that.
    pub(super) fn next_chunk(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let mut out = Chunk { buffer, size: self.chunk_size };
        loop {
            let Some(stream) = self.streams.get(self.stream) else {
                if self.begin_rows() {
                    continue;
                }
                break;
            };
            if !stream.put(&mut self.done, &mut out) {
                break;
            }
            self.stream += 1;
            self.done = 0;
        }
        !buffer.is_empty()
    }

    /// Makes the streams of the next rows that have the same columns; false when there are none.
    fn begin_rows(&mut self) -> bool {
        let Some(start) = self.next else { return false };
        let given: Vec<_> = self.columns.iter().map(|column| column.is_given(start)).collect();
        let rows = start..self.end_of_run(start, &given);
        self.next = (rows.end < self.rows).then_some(rows.end);

        let columns = || self.columns.iter().zip(&given).filter_map(|(column, given)| given.then_some(column));
        let mut head = Vec::with_capacity(2 * MAX_VARINT);
        push_varint(&mut head, columns().count());
        push_varint(&mut head, rows.len());
        self.streams.clear();
        self.streams.push(Stream::Head(head));
        for column in columns() {
            column.push_streams(rows.clone(), &mut self.streams);
        }
        self.stream = 0;
        true
    }

    fn end_of_run(&self, start: usize, given: &[bool]) -> usize {
        let optional: Vec<_> = self.columns.iter().zip(given).filter(|(column, _)| column.is_optional()).collect();
        if optional.is_empty() {
            return self.rows;
        }
        let differs = |row: &usize| optional.iter().any(|(column, given)| column.is_given(*row) != **given);
        (start..self.rows).find(differs).unwrap_or(self.rows)
    }
}

/// Drops the columns without a value, but leaves one where a row would have none.
fn leave_out_absent(columns: &mut Vec<SentColumn<'_>>, rows: usize) -> Result<(), String> {
    let is_bare = |row| columns.iter().all(|column| !column.marks.present || !column.is_given(row));
    let must_stay = match columns.iter().any(|column| column.marks.present && !column.is_optional()) {
        true => None,
        false if rows > 0 && !(0..rows).any(is_bare) => None,
        false => {
            // An absent row must be told as such, or be the same as the type's zero.
            let can_stay =
                |column: &SentColumn<'_>| !column.marks.present && (!column.has_gaps() || column.tells_gaps_by_nulls());
            let stays = columns.iter().position(can_stay);
            if stays.is_none() && !columns.is_empty() {
                return Err(format!(
                    "a row holds none of the columns, and ClickHouse cannot be told that {} is to have its default",
                    columns[0].target.name
                ));
            }
            stays
        }
    };
    let mut index = 0;
    columns.retain(|column| {
        index += 1;
        column.marks.present || Some(index - 1) == must_stay
    });
    Ok(())
}

impl<'a> SentColumn<'a> {
    /// Whether rows lack a value that only the server can fill in.
    fn has_gaps(&self) -> bool {
        self.marks.absent && self.target.default.fills_in()
    }

    /// Whether other rows do have one.
    fn is_mixed(&self) -> bool {
        self.has_gaps() && self.marks.present
    }

    /// Whether the server reads a null in it as the wish for its default.
    fn tells_gaps_by_nulls(&self) -> bool {
        !self.column_type.value.nullable
            && matches!(self.column_type.wire, Wire::Scalar(scalar) if scalar != Scalar::Json)
    }

    /// Whether it is left out of the rows that lack it.
    fn is_optional(&self) -> bool {
        self.is_mixed() && !self.tells_gaps_by_nulls()
    }

    fn wire_name(&self) -> String {
        match self.with_nulls {
            true => format!("Nullable({})", self.column_type.wire_name),
            false => self.column_type.wire_name.clone(),
        }
    }

    fn is_given(&self, row: usize) -> bool {
        !self.is_optional() || self.values.marks.get(row) != Mark::Absent
    }

    fn push_streams(&self, rows: Range<usize>, streams: &mut Vec<Stream<'a>>) {
        let Self { target, column_type, with_nulls, .. } = self;
        let wire_name = self.wire_name();
        let mut head = Vec::with_capacity(target.name.len() + wire_name.len() + 2 * MAX_VARINT);
        push_text(&mut head, target.name.as_bytes());
        push_text(&mut head, wire_name.as_bytes());
        streams::push_prefix(column_type, &mut head);
        streams.push(Stream::Head(head));
        streams::push_streams(column_type, *with_nulls, self.values, rows, streams);
    }
}

/// Which kinds of rows a column has.
struct MarksSeen {
    present: bool,
    absent: bool,
}

impl MarksSeen {
    fn of(column: &Column) -> Self {
        let marks = column.marks.as_bytes();
        let absent = marks.contains(&(Mark::Absent as u8));
        let all_absent = absent && marks.len() == column.len() && marks.iter().all(|mark| *mark == Mark::Absent as u8);
        Self { present: !all_absent, absent }
    }
}

#[cfg(test)]
mod tests;
