//! A block as `FORMAT Native`, made chunk by chunk, so that no whole encoded copy of it ever exists.
//!
//! The format (<https://clickhouse.com/docs/interfaces/formats/Native>, as it is over HTTP, revision 0): the number of
//! columns and of rows as varints; then for each column its name and its type (each a varint length and bytes), for a
//! nullable one a byte per row that is 1 for null, and the values side by side, little-endian.

#[cfg(target_endian = "big")]
compile_error!("columns are sent as they lie in memory, and ClickHouse wants little-endian");

use std::fmt::Display;
use std::mem::discriminant;

use bytemuck::Pod;

use super::types::{self, Wire};
use crate::contract::{Block, Column, ColumnDefault, Error, Mark, Marks, TableColumn, Text, Values};

/// The longest varint of a u64.
const MAX_VARINT: usize = 10;

/// Values that are narrowed or turned around at a time, on the stack.
const STAGED: usize = 256;

/// A block on its way to bytes.
pub(super) struct Encoder<'a> {
    rows: usize,
    chunk_size: usize,
    columns: Vec<SentColumn<'a>>,
    /// The column whose part comes next.
    column: usize,
    part: Part,
}

/// What of a column comes next; the rows before `row` are out already.
enum Part {
    Head,
    Nulls { row: usize },
    Values { row: usize },
}

struct SentColumn<'a> {
    target: &'a TableColumn,
    values: &'a Column,
    wire: Wire,
    /// What stands before the values: name and type, before the first column also the block's own head.
    head: Vec<u8>,
    with_nulls: bool,
}

impl<'a> Encoder<'a> {
    /// Prepares a block for chunks of about `chunk_size` bytes.
    ///
    /// Columns without a single value are left out, so that they get their defaults without being sent; at least one
    /// stays. A column with a default expression and some absent rows is sent as nullable with nulls there, which the
    /// server replaces by the default (`input_format_null_as_default`). Without an expression the default is the
    /// type's, which needs no help from the server.
    ///
    /// # Errors
    /// When the block holds what the contract excludes and ClickHouse would accept with another meaning.
    pub(super) fn new(block: &'a Block, chunk_size: usize) -> Result<Self, Error> {
        let rows = block.rows;
        let mut columns = Vec::with_capacity(block.columns.len());
        for (target, values) in block.layout.columns().zip(&block.columns) {
            let broken = |what: &dyn Display| {
                let table = &block.layout.table.name;
                Error::pause(format!("column {} of table {table}: {what}", target.name))
                    .with_hint("this is a mistake in rowfall: please report it")
            };
            if values.len() != rows {
                return Err(broken(&format_args!("a block of {rows} rows has {} here", values.len())));
            }
            let column_type = types::parse(&target.type_text).map_err(|refusal| broken(&refusal))?;
            if discriminant(&values.values) != discriminant(&Values::for_type(column_type.logical)) {
                return Err(broken(&format_args!("the values do not have the layout of type {}", target.type_text)));
            }
            let marks = MarksSeen::of(values);
            if marks.null && !column_type.nullable {
                return Err(broken(&"a row is null, but the column cannot be"));
            }
            if marks.absent && marks.present && column_type.nullable && target.default == ColumnDefault::Expression {
                return Err(broken(&"a row is absent, but null and default cannot be told apart here"));
            }
            let with_nulls = column_type.nullable || (marks.absent && target.default == ColumnDefault::Expression);
            let wire_name = match with_nulls {
                true => types::nullable(&column_type.wire_name),
                false => column_type.wire_name,
            };
            let mut head = Vec::with_capacity(target.name.len() + wire_name.len() + 2 * MAX_VARINT);
            push_text(&mut head, target.name.as_bytes());
            push_text(&mut head, wire_name.as_bytes());
            let wire = match column_type.wire {
                Wire::Date32 if with_nulls || !marks.absent => Wire::Same,
                wire => wire,
            };
            let sent = SentColumn { target, values, wire, head, with_nulls };
            columns.push((sent, marks.present));
        }
        // A block without columns would have no rows either.
        if columns.iter().any(|(_, present)| *present) {
            columns.retain(|(_, present)| *present);
        } else {
            columns.truncate(1);
        }
        let mut columns: Vec<_> = columns.into_iter().map(|(sent, _)| sent).collect();
        if let Some(first) = columns.len().checked_sub(1).map(|_| &columns[0]) {
            let mut head = Vec::with_capacity(first.head.len() + 2 * MAX_VARINT);
            push_varint(&mut head, columns.len());
            push_varint(&mut head, rows);
            head.extend_from_slice(&first.head);
            columns[0].head = head;
        }
        Ok(Self { rows, chunk_size, columns, column: 0, part: Part::Head })
    }

    /// The columns that are sent, in the block's order: what the INSERT must list.
    pub(super) fn columns(&self) -> impl Iterator<Item = &'a TableColumn> {
        self.columns.iter().map(|column| column.target)
    }

    /// Puts the next chunk in place of what `buffer` holds; false when there is none.
    ///
    /// A chunk is no longer than the encoder's chunk size, unless a single text is longer than that.
    pub(super) fn next_chunk(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let mut out = Chunk { buffer, size: self.chunk_size };
        while let Some(column) = self.columns.get(self.column) {
            let next = match self.part {
                Part::Head if !out.has_room(column.head.len()) => break,
                Part::Head => {
                    out.buffer.extend_from_slice(&column.head);
                    if column.with_nulls { Some(Part::Nulls { row: 0 }) } else { Some(Part::Values { row: 0 }) }
                }
                Part::Nulls { row } => match row + out.nulls(column.values.marks.as_bytes(), row, self.rows) {
                    row if row < self.rows => {
                        self.part = Part::Nulls { row };
                        break;
                    }
                    _ => Some(Part::Values { row: 0 }),
                },
                Part::Values { row } => match row + out.values(column, row) {
                    row if row < self.rows => {
                        self.part = Part::Values { row };
                        break;
                    }
                    _ => None,
                },
            };
            self.column += usize::from(next.is_none());
            self.part = next.unwrap_or(Part::Head);
        }
        !buffer.is_empty()
    }
}

/// Which kinds of rows a column has.
struct MarksSeen {
    present: bool,
    null: bool,
    absent: bool,
}

impl MarksSeen {
    fn of(column: &Column) -> Self {
        let marks = column.marks.as_bytes();
        let null = marks.contains(&(Mark::Null as u8));
        let absent = marks.contains(&(Mark::Absent as u8));
        let all_absent = absent && marks.len() == column.len() && marks.iter().all(|mark| *mark == Mark::Absent as u8);
        Self { present: !all_absent, null, absent }
    }
}

/// A chunk being filled.
struct Chunk<'b> {
    buffer: &'b mut Vec<u8>,
    size: usize,
}

impl Chunk<'_> {
    /// Whether so many bytes more can go in. An empty chunk takes anything, so that there is always progress.
    fn has_room(&self, bytes: usize) -> bool {
        self.buffer.is_empty() || self.buffer.len() + bytes <= self.size
    }

    /// How many items of this width can go in.
    fn room_for(&self, width: usize) -> usize {
        let room = self.size.saturating_sub(self.buffer.len()) / width;
        if self.buffer.is_empty() { room.max(1) } else { room }
    }

    /// The null map from `row` on; returns the rows that went in.
    fn nulls(&mut self, marks: &[u8], row: usize, rows: usize) -> usize {
        let count = self.room_for(1).min(rows - row);
        let marked = marks.len().clamp(row, row + count);
        let marks = marks.get(row..marked).unwrap_or_default();
        self.buffer.extend(marks.iter().map(|mark| u8::from(*mark != Mark::Value as u8)));
        self.buffer.resize(self.buffer.len() + count - marks.len(), 0);
        count
    }

    /// The values from `row` on; returns the rows that went in.
    fn values(&mut self, column: &SentColumn<'_>, row: usize) -> usize {
        match (column.wire, &column.values.values) {
            (Wire::Date, Values::Int32(v)) => {
                self.staged(&v[row..], |days| u16::try_from(days).expect("a day within the column's range"))
            }
            (Wire::Date32, Values::Int32(v)) => self.dates_or_default(v, &column.values.marks, row),
            (Wire::DateTime, Values::Int64(v)) => {
                self.staged(&v[row..], |seconds| u32::try_from(seconds).expect("a second within the column's range"))
            }
            (Wire::Uuid, Values::Uuid(v)) => self.staged(&v[row..], |bytes| {
                // Reversing all sixteen bytes puts the low half first: swap the halves.
                u128::from_be_bytes(bytes).rotate_left(64)
            }),
            (Wire::String, Values::Text(text)) => self.texts(text, row),
            (_, Values::Bool(v) | Values::UInt8(v)) => self.same(&v[row..]),
            (_, Values::Int8(v)) => self.same(&v[row..]),
            (_, Values::Int16(v)) => self.same(&v[row..]),
            (_, Values::Int32(v)) => self.same(&v[row..]),
            (_, Values::Int64(v)) => self.same(&v[row..]),
            (_, Values::UInt16(v)) => self.same(&v[row..]),
            (_, Values::UInt32(v)) => self.same(&v[row..]),
            (_, Values::UInt64(v)) => self.same(&v[row..]),
            (_, Values::Float32(v)) => self.same(&v[row..]),
            (_, Values::Float64(v)) => self.same(&v[row..]),
            (_, Values::Int128(v)) => self.same(&v[row..]),
            (_, Values::Int256(v)) => self.same(&v[row..]),
            (_, Values::Uuid(_) | Values::Text(_)) => {
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

    /// Dates of a column in which absent rows get the type's default, which is not zero.
    fn dates_or_default(&mut self, days: &[i32], marks: &Marks, row: usize) -> usize {
        let count = self.room_for(size_of::<i32>()).min(days.len() - row);
        for (row, days) in days.iter().enumerate().skip(row).take(count) {
            let days = if marks.get(row) == Mark::Value { *days } else { types::DATE32_DEFAULT };
            self.buffer.extend_from_slice(&days.to_le_bytes());
        }
        count
    }

    fn texts(&mut self, text: &Text, row: usize) -> usize {
        let mut start = if row == 0 { 0 } else { text.ends[row - 1] as usize };
        for (count, end) in text.ends[row..].iter().enumerate() {
            let end = *end as usize;
            let bytes = &text.bytes[start..end];
            if !self.has_room(bytes.len() + varint_len(bytes.len())) {
                return count;
            }
            push_text(self.buffer, bytes);
            start = end;
        }
        text.ends.len() - row
    }
}

fn push_text(buffer: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// LEB128.
fn push_varint(buffer: &mut Vec<u8>, mut value: usize) {
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
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::contract::{Layout, LogicalType, TableName, TableSchema};

    fn table(columns: &[(&str, &str, ColumnDefault)]) -> TableSchema {
        let column = |(name, type_text, default): &(&str, &str, ColumnDefault)| {
            let column = types::parse(type_text).unwrap();
            TableColumn {
                name: (*name).into(),
                type_text: (*type_text).into(),
                logical: Ok(column.logical),
                nullable: column.nullable,
                default: *default,
                range: column.range,
                zone: column.zone,
            }
        };
        TableSchema {
            name: TableName { schema: Some("shop".into()), name: "orders".into() },
            kind: "MergeTree".into(),
            columns: columns.iter().map(column).collect(),
        }
    }

    /// A block that fills all of the table's columns; each is made of values and marks by `fill`.
    fn block(table: TableSchema, rows: usize, fill: impl FnOnce(&mut [Column])) -> Block {
        let targets = (0..table.columns.len()).collect();
        let layout = Arc::new(Layout { table: Arc::new(table), targets });
        let mut columns = layout.empty_columns();
        fill(&mut columns);
        Block { layout, columns, rows }
    }

    fn chunks(block: &Block, chunk_size: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(block, chunk_size).unwrap();
        let mut chunks = Vec::new();
        let mut buffer = Vec::new();
        while encoder.next_chunk(&mut buffer) {
            chunks.push(buffer.clone());
        }
        chunks
    }

    /// The bytes, with those that are printable as they are.
    fn encoded(block: &Block) -> String {
        chunks(block, 1 << 20).concat().escape_ascii().to_string()
    }

    fn texts(rows: &[&str]) -> Values {
        let mut text = Text::default();
        rows.iter().for_each(|row| text.push(row));
        Values::Text(text)
    }

    #[test]
    fn values_stand_side_by_side() {
        let table = table(&[
            ("id", "Int32", ColumnDefault::None),
            ("name", "LowCardinality(String)", ColumnDefault::None),
            ("day", "Date", ColumnDefault::None),
            ("at", "DateTime('UTC')", ColumnDefault::None),
            ("uid", "UUID", ColumnDefault::None),
        ]);
        let block = block(table, 2, |columns| {
            columns[0].values = Values::Int32(vec![1, -2]);
            columns[1].values = texts(&["ab", ""]);
            columns[2].values = Values::Int32(vec![1, 65_535]);
            columns[3].values = Values::Int64(vec![2, i64::from(u32::MAX)]);
            columns[4].values = Values::Uuid(vec![*b"0123456789abcdef"; 2]);
        });
        insta::assert_snapshot!(encoded(&block), @r"\x05\x02\x02id\x05Int32\x01\x00\x00\x00\xfe\xff\xff\xff\x04name\x06String\x02ab\x00\x03day\x04Date\x01\x00\xff\xff\x02at\x0fDateTime(\'UTC\')\x02\x00\x00\x00\xff\xff\xff\xff\x03uid\x04UUID76543210fedcba9876543210fedcba98");
    }

    #[test]
    fn nulls_stand_before_the_values() {
        let table = table(&[
            ("a", "Nullable(Int16)", ColumnDefault::None),
            ("b", "LowCardinality(Nullable(String))", ColumnDefault::None),
        ]);
        let block = block(table, 3, |columns| {
            columns[0].push_mark(Mark::Null);
            columns[0].push_mark(Mark::Absent);
            let Values::Int16(values) = &mut columns[0].values else { panic!("an int16 column holds i16") };
            values.push(258);
            for row in ["x", "y", "z"] {
                let Values::Text(text) = &mut columns[1].values else { panic!("a string column holds text") };
                text.push(row);
            }
        });
        insta::assert_snapshot!(encoded(&block), @r"\x02\x03\x01a\x0fNullable(Int16)\x01\x01\x00\x00\x00\x00\x00\x02\x01\x01b\x10Nullable(String)\x00\x00\x00\x01x\x01y\x01z");
    }

    #[test]
    fn absent_rows_become_nulls_where_an_expression_fills_them() {
        let absent_then = |column: &mut Column, values: Values| {
            column.push_mark(Mark::Absent);
            match (&mut column.values, values) {
                (Values::Int32(all), Values::Int32(more)) => all.extend(more),
                (Values::UInt8(all), Values::UInt8(more)) => all.extend(more),
                _ => panic!("other columns do not occur here"),
            }
        };
        let table = table(&[
            ("e", "UInt8", ColumnDefault::Expression),
            ("n", "UInt8", ColumnDefault::None),
            ("d", "Date32", ColumnDefault::None),
        ]);
        let block = block(table, 2, |columns| {
            absent_then(&mut columns[0], Values::UInt8(vec![7]));
            absent_then(&mut columns[1], Values::UInt8(vec![7]));
            absent_then(&mut columns[2], Values::Int32(vec![7]));
        });
        insta::assert_snapshot!(encoded(&block), @r"\x03\x02\x01e\x0fNullable(UInt8)\x01\x00\x00\x07\x01n\x05UInt8\x00\x07\x01d\x06Date32!\x9c\xff\xff\x07\x00\x00\x00");
    }

    #[test]
    fn columns_without_values_are_left_out_but_for_one() {
        let table = table(&[("a", "UInt8", ColumnDefault::None), ("b", "UInt8", ColumnDefault::Expression)]);
        let mut block = block(table, 1, |columns| {
            columns[0].push_mark(Mark::Absent);
            columns[1].values = Values::UInt8(vec![7]);
        });
        let names = |block: &Block| {
            let encoder = Encoder::new(block, 1).unwrap();
            encoder.columns().map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&block), ["b"]);
        insta::assert_snapshot!(encoded(&block), @r"\x01\x01\x01b\x05UInt8\x07");
        block.columns[1] = Column::new(LogicalType::UInt8);
        block.columns[1].push_mark(Mark::Absent);
        assert_eq!(names(&block), ["a"]);
    }

    #[test]
    fn what_the_contract_excludes_is_refused() {
        let message = |type_text, default, rows, fill: &dyn Fn(&mut Column)| {
            let block = block(table(&[("c", type_text, default)]), rows, |columns| fill(&mut columns[0]));
            Encoder::new(&block, 1).err().unwrap().to_string()
        };
        let null = |column: &mut Column| column.push_mark(Mark::Null);
        insta::assert_snapshot!(message("Int8", ColumnDefault::None, 1, &null), @"column c of table shop.orders: a row is null, but the column cannot be");
        insta::assert_snapshot!(message("Nullable(Int8)", ColumnDefault::None, 2, &null), @"column c of table shop.orders: a block of 2 rows has 1 here");
        let wrong = |column: &mut Column| column.values = Values::Int16(vec![1]);
        insta::assert_snapshot!(message("Int8", ColumnDefault::None, 1, &wrong), @"column c of table shop.orders: the values do not have the layout of type Int8");
        let both = |column: &mut Column| {
            column.push_mark(Mark::Null);
            column.push_mark(Mark::Absent);
        };
        insta::assert_snapshot!(message("Nullable(Int8)", ColumnDefault::Expression, 2, &both), @"column c of table shop.orders: a row is absent, but null and default cannot be told apart here");
    }

    #[test]
    fn varints_are_as_long_as_said() {
        for value in [0, 1, 127, 128, 16_383, 16_384, usize::MAX] {
            let mut buffer = Vec::new();
            push_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_len(value), "{value}");
        }
    }

    const ALL: &[&str] = &[
        "Bool",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Decimal(9, 2)",
        "Decimal(18, 2)",
        "Decimal(38, 2)",
        "Decimal(76, 2)",
        "String",
        "UUID",
        "Date",
        "Date32",
        "DateTime",
        "DateTime64(3)",
    ];

    /// One value whose bytes all differ from their neighbours', within every type's range.
    fn push(values: &mut Values, seed: u8) {
        let seed16 = 0x1000 + u16::from(seed);
        match values {
            Values::Bool(v) => v.push(seed & 1),
            Values::Int8(v) => v.push(i8::from_le_bytes([seed])),
            Values::Int16(v) => v.push(seed16.cast_signed()),
            Values::Int32(v) => v.push(seed16.into()),
            Values::Int64(v) => v.push(0x1234_0000 + i64::from(seed16)),
            Values::UInt8(v) => v.push(seed),
            Values::UInt16(v) => v.push(seed16),
            Values::UInt32(v) => v.push(0x1234_0000 + u32::from(seed16)),
            Values::UInt64(v) => v.push(0x1234_5678_9abc_0000 + u64::from(seed16)),
            Values::Float32(v) => v.push(f32::from(seed16) / 3.0),
            Values::Float64(v) => v.push(f64::from(seed16) / 3.0),
            Values::Int128(v) => v.push(0x1234_5678_9abc_def0_1234_5678_0000 + i128::from(seed16)),
            Values::Int256(v) => v.push(std::array::from_fn(|i| seed.wrapping_add(u8::try_from(i).unwrap()))),
            Values::Uuid(v) => v.push(std::array::from_fn(|i| seed.wrapping_add(u8::try_from(i).unwrap()))),
            Values::Text(text) => text.push(&"ü".repeat(usize::from(seed))),
        }
    }

    fn any_block() -> impl Strategy<Value = Block> {
        let column = (proptest::sample::select(ALL), any::<bool>(), any::<bool>());
        let rows = proptest::collection::vec(any::<u8>(), 1..600);
        (proptest::collection::vec(column, 1..6), rows).prop_map(|(columns, seeds)| {
            let wishes: Vec<_> = columns
                .iter()
                .enumerate()
                .map(|(index, (type_text, nullable, expression))| {
                    let type_text = if *nullable { types::nullable(type_text) } else { (*type_text).to_owned() };
                    // Null and default cannot be told apart in a nullable column, so that one has no expression.
                    let expression = *expression && !*nullable;
                    let default = if expression { ColumnDefault::Expression } else { ColumnDefault::None };
                    (format!("c{index}"), type_text, default)
                })
                .collect();
            let wishes: Vec<_> = wishes.iter().map(|(name, text, default)| (&**name, &**text, *default)).collect();
            block(table(&wishes), seeds.len(), |filled| {
                for (index, (column, (_, nullable, _))) in filled.iter_mut().zip(&columns).enumerate() {
                    for seed in &seeds {
                        match seed.wrapping_add(u8::try_from(index).unwrap()) % 8 {
                            0 if *nullable => column.push_mark(Mark::Null),
                            1 => column.push_mark(Mark::Absent),
                            _ => push(&mut column.values, *seed),
                        }
                    }
                }
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_chunk_size_does_not_change_the_bytes(block in any_block()) {
            let whole = chunks(&block, 1 << 20);
            prop_assert_eq!(whole.len(), 1);
            for size in [1, 7, 100, 1000] {
                let chunks = chunks(&block, size);
                // Whatever is larger than a chunk must be a single item: a head, a value, a text of up to 510 bytes.
                prop_assert!(chunks.iter().all(|chunk| chunk.len() <= size.max(512)));
                prop_assert_eq!(&chunks.concat(), &whole[0]);
            }
        }
    }
}
