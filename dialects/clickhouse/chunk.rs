//! A piece of a block's bytes, being filled.

use bytemuck::Pod;

use super::types::{DATE32_DEFAULT, Scalar};
use crate::contract::{Column, Mark, Text, Values};

/// The longest varint of a u64.
pub(super) const MAX_VARINT: usize = 10;

/// Values that are narrowed or turned around at a time, on the stack.
const STAGED: usize = 256;

/// A chunk that is being filled. What puts rows into it stops where it is full and returns how many went in.
pub(super) struct Chunk<'b> {
    pub(super) buffer: &'b mut Vec<u8>,
    pub(super) size: usize,
}

impl Chunk<'_> {
    /// Whether so many bytes more can go in. An empty chunk takes anything, so that there is always progress.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.buffer.is_empty() || self.buffer.len() + bytes <= self.size
    }

    /// How many items of this width can go in.
    fn room_for(&self, width: usize) -> usize {
        let room = self.size.saturating_sub(self.buffer.len()) / width;
        if self.buffer.is_empty() { room.max(1) } else { room }
    }

    /// A byte for each row in `row..rows`, 1 where it has no value.
    pub(super) fn nulls(&mut self, marks: &[u8], row: usize, rows: usize) -> usize {
        let count = self.room_for(1).min(rows - row);
        let marked = marks.len().clamp(row, row + count);
        let marks = marks.get(row..marked).unwrap_or_default();
        self.buffer.extend(marks.iter().map(|mark| u8::from(*mark != Mark::Value as u8)));
        self.buffer.resize(self.buffer.len() + count - marks.len(), 0);
        count
    }

    /// Where each list ends, seen from the first.
    pub(super) fn ends(&mut self, ends: &[u32], base: u32) -> usize {
        self.staged(ends, |end| u64::from(end - base))
    }

    /// A byte per row, each in its place of `numbers`.
    pub(super) fn kinds(&mut self, kinds: &[u8], numbers: &[u8; 256]) -> usize {
        self.staged(kinds, |kind| numbers[usize::from(kind)])
    }

    /// The values of `row..rows`.
    pub(super) fn values(&mut self, scalar: Scalar, column: &Column, row: usize, rows: usize) -> usize {
        let rows = row..rows;
        match (scalar, &column.values) {
            (Scalar::Date, Values::Int32(v)) => {
                self.staged(&v[rows], |days| u16::try_from(days).expect("a day within the column's range"))
            }
            (Scalar::Date32, Values::Int32(v)) => self.or_default(&v[rows], column, row, DATE32_DEFAULT, |days| days),
            (Scalar::DateTime, Values::Int64(v)) => {
                self.staged(&v[rows], |seconds| u32::try_from(seconds).expect("a second within the column's range"))
            }
            (Scalar::Time, Values::Int64(v)) => {
                self.staged(&v[rows], |seconds| i32::try_from(seconds).expect("a second within the column's range"))
            }
            (Scalar::Enum8(default), Values::Int16(v)) => self.or_default(&v[rows], column, row, default, |number| {
                i8::try_from(number).expect("a number of the enum")
            }),
            (Scalar::Enum16(default), Values::Int16(v)) => {
                self.or_default(&v[rows], column, row, default, |number| number)
            }
            (Scalar::Uuid, Values::Uuid(v)) => self.staged(&v[rows], |bytes| {
                // Reversing all sixteen bytes puts the low half first: swap the halves.
                u128::from_be_bytes(bytes).rotate_left(64)
            }),
            (Scalar::String, Values::Text(text)) => self.texts(text, row, rows.end),
            (Scalar::FixedString(width), Values::Text(text)) => self.fixed_texts(text, row, rows.end, width),
            (Scalar::Json, Values::Text(text)) => self.objects(text, row, rows.end),
            (_, Values::Bool(v) | Values::UInt8(v)) => self.same(&v[rows]),
            (_, Values::Int8(v)) => self.same(&v[rows]),
            (_, Values::Int16(v)) => self.same(&v[rows]),
            (_, Values::Int32(v)) => self.same(&v[rows]),
            (_, Values::Int64(v)) => self.same(&v[rows]),
            (_, Values::UInt16(v)) => self.same(&v[rows]),
            (_, Values::UInt32(v)) => self.same(&v[rows]),
            (_, Values::UInt64(v)) => self.same(&v[rows]),
            (_, Values::Float32(v)) => self.same(&v[rows]),
            (_, Values::Float64(v)) => self.same(&v[rows]),
            (_, Values::Int128(v)) => self.same(&v[rows]),
            (_, Values::UInt128(v)) => self.same(&v[rows]),
            (_, Values::Int256(v)) => self.same(&v[rows]),
            (_, Values::Uuid(v)) => self.same(&v[rows]),
            (_, Values::Text(_) | Values::List(_) | Values::Struct(_) | Values::Variant(_)) => {
                unreachable!("the layout was compared with the type when the encoder was made")
            }
        }
    }

    fn same<T: Pod>(&mut self, values: &[T]) -> usize {
        let count = self.room_for(size_of::<T>()).min(values.len());
        self.buffer.extend_from_slice(bytemuck::cast_slice(&values[..count]));
        count
    }

    fn staged<T: Copy, W: Pod>(&mut self, values: &[T], convert: impl Fn(T) -> W) -> usize {
        let count = self.room_for(size_of::<W>()).min(values.len());
        let mut stage = [W::zeroed(); STAGED];
        for values in values[..count].chunks(STAGED) {
            for (staged, value) in stage.iter_mut().zip(values) {
                *staged = convert(*value);
            }
            self.buffer.extend_from_slice(bytemuck::cast_slice(&stage[..values.len()]));
        }
        count
    }

    /// The values of the rows from `row` on, where those that are marked get the type's default, which is not zero.
    fn or_default<T: Copy, W: Pod>(
        &mut self,
        values: &[T],
        column: &Column,
        row: usize,
        default: W,
        convert: impl Fn(T) -> W,
    ) -> usize {
        if column.marks.as_bytes().is_empty() {
            return self.staged(values, convert);
        }
        let count = self.room_for(size_of::<W>()).min(values.len());
        for (row, value) in (row..).zip(&values[..count]) {
            let value = if column.marks.get(row) == Mark::Value { convert(*value) } else { default };
            self.buffer.extend_from_slice(bytemuck::bytes_of(&value));
        }
        count
    }

    fn texts(&mut self, text: &Text, row: usize, rows: usize) -> usize {
        let mut start = if row == 0 { 0 } else { text.ends[row - 1] as usize };
        for (count, end) in text.ends[row..rows].iter().enumerate() {
            let end = *end as usize;
            let bytes = &text.bytes[start..end];
            if !self.has_room(bytes.len() + varint_len(bytes.len())) {
                return count;
            }
            push_text(self.buffer, bytes);
            start = end;
        }
        rows - row
    }

    fn fixed_texts(&mut self, text: &Text, row: usize, rows: usize, width: usize) -> usize {
        let count = self.room_for(width).min(rows - row);
        for row in row..row + count {
            let end = self.buffer.len() + width;
            self.buffer.extend_from_slice(text.row(row));
            self.buffer.resize(end, 0);
        }
        count
    }

    /// A row without a value is still read as JSON.
    fn objects(&mut self, text: &Text, row: usize, rows: usize) -> usize {
        for at in row..rows {
            let bytes = match text.row(at) {
                [] => b"{}",
                bytes => bytes,
            };
            if !self.has_room(bytes.len() + varint_len(bytes.len())) {
                return at - row;
            }
            push_text(self.buffer, bytes);
        }
        rows - row
    }
}

/// A text's length as a varint, and the text.
pub(super) fn push_text(buffer: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// LEB128.
pub(super) fn push_varint(buffer: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        buffer.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    buffer.push(low_seven(value));
}

fn low_seven(value: usize) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits fit")
}

fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_as_long_as_said() {
        for value in [0, 1, 127, 128, 16_383, 16_384, usize::MAX] {
            let mut buffer = Vec::new();
            push_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_len(value), "{value}");
        }
    }
}
