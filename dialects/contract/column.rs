use crate::contract::LogicalType;

/// The values of one column for many rows.
///
/// Laid out as Arrow does: fixed-width values side by side, texts as ends and bytes. A row is appended by pushing one
/// value into [`Column::values`], or by [`Column::push_mark`]; a row that fails half-way is undone by
/// [`Column::truncate`], which leaves no trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One value per row; a row that is marked holds the type's zero.
    pub values: Values,
    /// Which rows hold no value.
    pub marks: Marks,
}

/// The physical values. Which variant a [`LogicalType`] uses is fixed by [`Values::for_type`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 0 or 1.
    Bool(Vec<u8>),
    /// Int8
    Int8(Vec<i8>),
    /// Int16; Enum as its number
    Int16(Vec<i16>),
    /// Int32; Date as days since 1970-01-01; Decimal of at most 9 digits, unscaled
    Int32(Vec<i32>),
    /// Int64; Timestamp as ticks since 1970-01-01T00:00:00Z; Time as ticks; Decimal of at most 18 digits, unscaled
    Int64(Vec<i64>),
    /// UInt8
    UInt8(Vec<u8>),
    /// UInt16
    UInt16(Vec<u16>),
    /// UInt32; Ipv4, the first byte written the most significant
    UInt32(Vec<u32>),
    /// UInt64
    UInt64(Vec<u64>),
    /// Float32
    Float32(Vec<f32>),
    /// Float64
    Float64(Vec<f64>),
    /// Decimal of at most 38 digits, unscaled
    Int128(Vec<i128>),
    /// UInt128
    UInt128(Vec<u128>),
    /// Int256, UInt256; Decimal of at most 76 digits, unscaled: (two's complement,) 32 bytes, little-endian
    Int256(Vec<[u8; 32]>),
    /// Uuid, Ipv6: bytes in the order in which they are written
    Uuid(Vec<[u8; 16]>),
    /// String, Bytes, FixedString, Json
    Text(Text),
    /// List; Map as a list of two-part structs
    List(List),
    /// Struct
    Struct(Struct),
    /// Variant
    Variant(Variant),
}

/// Lists, one behind the other. Row `i` is the rows `ends[i−1]..ends[i]` of `values`.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Where each row ends in `values`.
    pub ends: Vec<u32>,
    /// The elements of all rows.
    pub values: Box<Column>,
}

impl List {
    /// Ends the row whose elements were appended to `values`.
    ///
    /// # Panics
    /// When the column would hold 2³² elements or more.
    pub fn end_row(&mut self) {
        self.ends.push(u32::try_from(self.values.len()).expect("a list column of a batch stays below 2³² elements"));
    }
}

impl List {
    fn gather(&self, rows: &[u32]) -> Self {
        let (mut elements, mut ends) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in rows {
            elements.extend(start_of(&self.ends, *row)..self.ends[*row as usize]);
            ends.push(u32::try_from(elements.len()).expect("no more than the list column may hold"));
        }
        Self { ends, values: Box::new(self.values.gather(&elements)) }
    }
}

/// Where a row starts, given where each ends.
fn start_of(ends: &[u32], row: u32) -> u32 {
    if row == 0 { 0 } else { ends[row as usize - 1] }
}

/// Structs: a column per part, all of the same number of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// The parts, in the type's order.
    pub parts: Vec<Column>,
    /// Rows, since there may be no part.
    pub rows: usize,
}

/// Values of several types: each row is the next row of one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// For each row the index of its type, or [`Variant::NULL`].
    pub kinds: Vec<u8>,
    /// The values of each type, in the type's order: rows that are not of a type are not in it.
    pub columns: Vec<Column>,
}

impl Variant {
    /// The kind of a row without a value.
    pub const NULL: u8 = 255;

    fn gather(&self, rows: &[u32]) -> Self {
        // For each row its place among those of its type.
        let mut counts = [0u32; 256];
        let place = |kind: &u8| {
            let count = &mut counts[usize::from(*kind)];
            *count += 1;
            *count - 1
        };
        let places: Vec<_> = self.kinds.iter().map(place).collect();
        let kinds: Vec<_> = rows.iter().map(|row| self.kinds[*row as usize]).collect();
        let of_kind = |kind: u8| -> Vec<u32> {
            rows.iter().filter(|row| self.kinds[**row as usize] == kind).map(|row| places[*row as usize]).collect()
        };
        let columns = (0..Self::NULL).zip(&self.columns).map(|(kind, column)| column.gather(&of_kind(kind))).collect();
        Self { kinds, columns }
    }
}

/// Texts, one behind the other. Row `i` is `bytes[ends[i−1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
    /// All rows' bytes; valid UTF-8 each, but those of Bytes.
    pub bytes: Vec<u8>,
}

impl Text {
    /// Appends one row.
    ///
    /// # Panics
    /// When the column would hold 4 GiB or more: whoever fills a batch closes it long before.
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end_row();
    }

    /// Ends the row whose bytes were appended to `bytes`.
    ///
    /// # Panics
    /// As [`Text::push`].
    #[inline]
    pub fn end_row(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a text column of a batch stays below 4 GiB");
        self.ends.push(end);
    }

    /// The bytes of one row.
    #[inline]
    #[must_use]
    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    fn gather(&self, rows: &[u32]) -> Self {
        let mut gathered = Self { ends: Vec::with_capacity(rows.len()), bytes: Vec::new() };
        for row in rows {
            gathered.bytes.extend_from_slice(self.row(*row as usize));
            gathered.end_row();
        }
        gathered
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }
}

/// Why a row holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// It holds one.
    Value = 0,
    /// The record says null.
    Null = 1,
    /// The record does not have the field: the database's default applies, and an upsert leaves the column alone.
    Absent = 2,
}

/// One [`Mark`] per row, kept only up to the last row that is not [`Mark::Value`], so that columns without nulls pay
/// nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks(Vec<u8>);

impl Marks {
    /// The mark of a row; rows beyond the last marked one hold values.
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> Mark {
        match self.0.get(row) {
            None | Some(0) => Mark::Value,
            Some(1) => Mark::Null,
            Some(_) => Mark::Absent,
        }
    }

    /// True when every row holds a value.
    #[must_use]
    pub fn all_values(&self) -> bool {
        self.0.iter().all(|mark| *mark == 0)
    }

    /// The raw marks ([`Mark`] as u8) of the rows up to the last marked one; all rows beyond hold values.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn gather(&self, rows: &[u32]) -> Self {
        if self.0.is_empty() {
            return Self::default();
        }
        let mut marks: Vec<_> = rows.iter().map(|row| self.0.get(*row as usize).copied().unwrap_or(0)).collect();
        marks.truncate(marks.iter().rposition(|mark| *mark != Mark::Value as u8).map_or(0, |last| last + 1));
        Self(marks)
    }

    fn truncate(&mut self, rows: usize) {
        self.0.truncate(rows);
        while self.0.last() == Some(&(Mark::Value as u8)) {
            self.0.pop();
        }
    }

    fn push(&mut self, row: usize, mark: Mark) {
        self.0.resize(row, Mark::Value as u8);
        self.0.push(mark as u8);
    }
}

macro_rules! each_vec {
    ($values:expr, $v:ident => $do:expr, $text:ident => $do_text:expr, $list:ident => $do_list:expr,
     $struct:ident => $do_struct:expr, $variant:ident => $do_variant:expr) => {
        match $values {
            Values::Bool($v) | Values::UInt8($v) => $do,
            Values::Int8($v) => $do,
            Values::Int16($v) => $do,
            Values::Int32($v) => $do,
            Values::Int64($v) => $do,
            Values::UInt16($v) => $do,
            Values::UInt32($v) => $do,
            Values::UInt64($v) => $do,
            Values::Float32($v) => $do,
            Values::Float64($v) => $do,
            Values::Int128($v) => $do,
            Values::UInt128($v) => $do,
            Values::Int256($v) => $do,
            Values::Uuid($v) => $do,
            Values::Text($text) => $do_text,
            Values::List($list) => $do_list,
            Values::Struct($struct) => $do_struct,
            Values::Variant($variant) => $do_variant,
        }
    };
}

impl Values {
    /// Empty values of the physical type that holds `logical`.
    #[must_use]
    pub fn for_type(logical: &LogicalType) -> Self {
        match logical {
            LogicalType::Bool => Self::Bool(Vec::new()),
            LogicalType::Int8 => Self::Int8(Vec::new()),
            LogicalType::Int16 | LogicalType::Enum(_) => Self::Int16(Vec::new()),
            LogicalType::Int32 | LogicalType::Date => Self::Int32(Vec::new()),
            LogicalType::Int64 | LogicalType::Timestamp { .. } | LogicalType::Time { .. } => Self::Int64(Vec::new()),
            LogicalType::UInt8 => Self::UInt8(Vec::new()),
            LogicalType::UInt16 => Self::UInt16(Vec::new()),
            LogicalType::UInt32 | LogicalType::Ipv4 => Self::UInt32(Vec::new()),
            LogicalType::UInt64 => Self::UInt64(Vec::new()),
            LogicalType::Float32 => Self::Float32(Vec::new()),
            LogicalType::Float64 => Self::Float64(Vec::new()),
            LogicalType::Decimal { precision: 0..=9, .. } => Self::Int32(Vec::new()),
            LogicalType::Decimal { precision: 10..=18, .. } => Self::Int64(Vec::new()),
            LogicalType::Decimal { precision: 19..=38, .. } => Self::Int128(Vec::new()),
            LogicalType::Decimal { .. } => Self::Int256(Vec::new()),
            LogicalType::Int128 => Self::Int128(Vec::new()),
            LogicalType::UInt128 => Self::UInt128(Vec::new()),
            LogicalType::Int256 | LogicalType::UInt256 => Self::Int256(Vec::new()),
            LogicalType::Uuid | LogicalType::Ipv6 => Self::Uuid(Vec::new()),
            LogicalType::String | LogicalType::Bytes | LogicalType::FixedString { .. } | LogicalType::Json => {
                Self::Text(Text::default())
            }
            LogicalType::List(element) => {
                Self::List(List { ends: Vec::new(), values: Box::new(Column::new(&element.logical)) })
            }
            LogicalType::Map(pair) => {
                let parts = vec![Column::new(&pair.0.logical), Column::new(&pair.1.logical)];
                let pairs = Column { values: Self::Struct(Struct { parts, rows: 0 }), marks: Marks::default() };
                Self::List(List { ends: Vec::new(), values: Box::new(pairs) })
            }
            LogicalType::Struct(fields) => {
                let parts = fields.iter().map(|field| Column::new(&field.value.logical)).collect();
                Self::Struct(Struct { parts, rows: 0 })
            }
            LogicalType::Variant(types) => {
                let columns = types.iter().map(|value| Column::new(&value.logical)).collect();
                Self::Variant(Variant { kinds: Vec::new(), columns })
            }
        }
    }

    /// Rows held.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        each_vec!(self, v => v.len(), text => text.ends.len(), list => list.ends.len(), s => s.rows, any => any.kinds.len())
    }

    /// True without a row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Column {
    /// An empty column for values of this type.
    #[must_use]
    pub fn new(logical: &LogicalType) -> Self {
        Self { values: Values::for_type(logical), marks: Marks::default() }
    }

    /// Rows held.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True without a row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a row without a value: the type's zero, marked.
    pub fn push_mark(&mut self, mark: Mark) {
        let row = self.len();
        each_vec!(&mut self.values, v => v.push(Default::default()), text => text.end_row(), list => list.end_row(), s => {
            s.parts.iter_mut().for_each(|part| part.push_mark(Mark::Absent));
            s.rows += 1;
        }, any => any.kinds.push(Variant::NULL));
        self.marks.push(row, mark);
    }

    /// Forgets all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        each_vec!(&mut self.values, v => v.truncate(rows), text => text.truncate(rows), list => {
            list.ends.truncate(rows);
            list.values.truncate(list.ends.last().map_or(0, |end| *end as usize));
        }, s => {
            s.parts.iter_mut().for_each(|part| part.truncate(rows));
            s.rows = s.rows.min(rows);
        }, any => {
            any.kinds.truncate(rows);
            for (kind, column) in (0u8..).zip(&mut any.columns) {
                column.truncate(any.kinds.iter().filter(|k| **k == kind).count());
            }
        });
        self.marks.truncate(rows);
    }

    /// A column of some of the rows, in this order.
    ///
    /// # Panics
    /// When the column does not have one of them.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        macro_rules! gathered {
            ($($plain:ident)*) => {
                match &self.values {
                    $(Values::$plain(v) => Values::$plain(rows.iter().map(|row| v[*row as usize]).collect()),)*
                    Values::Text(text) => Values::Text(text.gather(rows)),
                    Values::List(list) => Values::List(list.gather(rows)),
                    Values::Struct(of) => {
                        let parts = of.parts.iter().map(|part| part.gather(rows)).collect();
                        Values::Struct(Struct { parts, rows: rows.len() })
                    }
                    Values::Variant(any) => Values::Variant(any.gather(rows)),
                }
            };
        }
        let values = gathered!(
            Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64 Int128 UInt128 Int256 Uuid
        );
        Self { values, marks: self.marks.gather(rows) }
    }

    /// Bytes in use by the rows, without spare capacity.
    #[must_use]
    pub fn used(&self) -> usize {
        each_vec!(
            &self.values,
            v => size_of_val(v.as_slice()),
            text => text.ends.len() * 4 + text.bytes.len(),
            list => list.ends.len() * 4 + list.values.used(),
            s => s.parts.iter().map(Self::used).sum(),
            any => any.kinds.len() + any.columns.iter().map(Self::used).sum::<usize>()
        ) + self.marks.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::contract::{StructField, ValueType};

    #[test]
    fn a_truncated_row_leaves_no_trace() {
        let mut column = Column::new(&LogicalType::String);
        let Values::Text(text) = &mut column.values else { panic!("a string column holds text") };
        text.push("one");
        column.push_mark(Mark::Null);
        let before = column.clone();
        let Values::Text(text) = &mut column.values else { panic!("a string column holds text") };
        text.push("three");
        column.push_mark(Mark::Absent);
        column.truncate(2);
        assert_eq!(column, before);
        // The first mark at all, behind a row that holds a value.
        column.truncate(1);
        let unmarked = column.clone();
        assert_eq!(unmarked.marks, Marks::default());
        column.push_mark(Mark::Null);
        column.truncate(1);
        assert_eq!(column, unmarked);
    }

    #[test]
    fn marks_beyond_the_last_marked_row_are_values() {
        let mut column = Column::new(&LogicalType::Int64);
        let push = |column: &mut Column, v| match &mut column.values {
            Values::Int64(values) => values.push(v),
            _ => panic!("an int64 column holds i64"),
        };
        push(&mut column, 1);
        assert!(column.marks.all_values());
        column.push_mark(Mark::Absent);
        push(&mut column, 3);
        let marks: Vec<_> = (0..column.len()).map(|row| column.marks.get(row)).collect();
        assert_eq!(marks, [Mark::Value, Mark::Absent, Mark::Value]);
    }

    /// A value of a column that nests everything: struct(text, list(int64 or null), variant(int64, string)).
    #[derive(Clone, Debug)]
    struct Model {
        mark: Mark,
        text: String,
        list: Vec<Option<i64>>,
        any: Option<Result<i64, String>>,
    }

    fn model() -> impl Strategy<Value = Model> {
        let mark = prop_oneof![4 => Just(Mark::Value), 1 => Just(Mark::Null), 1 => Just(Mark::Absent)];
        let variant = prop_oneof![
            Just(None),
            any::<i64>().prop_map(|number| Some(Ok(number))),
            "[a-z]{0,4}".prop_map(|text| Some(Err(text)))
        ];
        (mark, "[a-zß]{0,5}", proptest::collection::vec(any::<Option<i64>>(), 0..4), variant)
            .prop_map(|(mark, text, list, any)| Model { mark, text, list, any })
    }

    fn built<'m>(models: impl Iterator<Item = &'m Model>) -> Column {
        let field = |value| StructField { name: None, value };
        let null = |logical: LogicalType| ValueType { nullable: true, ..logical.into() };
        let list = LogicalType::List(Arc::new(null(LogicalType::Int64)));
        let any = LogicalType::Variant([LogicalType::Int64.into(), LogicalType::String.into()].into());
        let logical = [LogicalType::String.into(), list.into(), any.into()].map(field);
        let mut column = Column::new(&LogicalType::Struct(logical.into()));
        for model in models {
            if model.mark != Mark::Value {
                column.push_mark(model.mark);
                continue;
            }
            let Values::Struct(of) = &mut column.values else { unreachable!() };
            of.rows += 1;
            let [text, list, any] = of.parts.as_mut_slice() else { unreachable!() };
            let Values::Text(text) = &mut text.values else { unreachable!() };
            text.push(&model.text);
            let Values::List(list) = &mut list.values else { unreachable!() };
            for element in &model.list {
                match (element, &mut list.values.values) {
                    (Some(number), Values::Int64(numbers)) => numbers.push(*number),
                    _ => list.values.push_mark(Mark::Null),
                }
            }
            list.end_row();
            let Values::Variant(any) = &mut any.values else { unreachable!() };
            match (&model.any, any.columns.as_mut_slice()) {
                (Some(Ok(number)), [Column { values: Values::Int64(numbers), .. }, _]) => {
                    any.kinds.push(0);
                    numbers.push(*number);
                }
                (Some(Err(text)), [_, Column { values: Values::Text(texts), .. }]) => {
                    any.kinds.push(1);
                    texts.push(text);
                }
                _ => any.kinds.push(Variant::NULL),
            }
        }
        column
    }

    proptest! {
        /// Gathered rows are those that a column made of them alone would hold, marks and nested values included.
        #[test]
        fn gathered_rows_are_the_rows(
            models in proptest::collection::vec(model(), 1..30),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let picks: Vec<_> = picks.iter().map(|pick| pick.index(models.len())).collect();
            let rows: Vec<_> = picks.iter().map(|row| u32::try_from(*row).unwrap()).collect();
            let gathered = built(models.iter()).gather(&rows);
            prop_assert_eq!(gathered, built(picks.iter().map(|row| &models[*row])));
        }
    }
}
