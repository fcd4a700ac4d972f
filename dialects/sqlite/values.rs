//! A block's values as parameters of statements.

use std::sync::Arc;

use ethnum::I256;
use sqlx::Arguments as _;
use sqlx::sqlite::SqliteArguments;

use crate::contract::{Advice, Block, Error, LogicalType, Mark, TableColumn, Text, Values};
use crate::generic::{push_date, push_decimal, push_timestamp, push_uuid};
use crate::sqlite::types::{self, Declared};

/// A statement's parameters hold no more text than this, so that a block of long texts is not copied as a whole.
const MAX_BYTES: usize = 1 << 20;

/// A block whose columns were looked at once.
pub(super) struct Source<'a> {
    /// The block.
    pub(super) block: &'a Block,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    target: &'a TableColumn,
    declared: Declared,
    nullable: bool,
    values: Cells<'a>,
    marks: &'a [u8],
}

/// Texts are checked to be UTF-8 once per block, not once per row.
enum Cells<'a> {
    Text { all: &'a str, ends: &'a [u32] },
    Bytes(&'a Text),
    Other(&'a Values),
}

/// The parameters of one statement.
pub(super) struct Chunk {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) arguments: SqliteArguments,
}

impl<'a> Source<'a> {
    /// # Errors
    /// When the block does not fit its layout.
    pub(super) fn new(block: &'a Block) -> Result<Self, Error> {
        let layout = &block.layout;
        let fields = layout.columns().zip(&block.columns).enumerate().map(|(index, (target, column))| {
            let refuse =
                |why: String| Error::pause(format!("table `{}`, column `{}`: {why}", layout.table.name, target.name));
            let declared = types::parse(&target.type_text).map_err(|why| refuse(why.0))?;
            let values = match &column.values {
                Values::Text(bytes) if declared.logical == LogicalType::Bytes => Cells::Bytes(bytes),
                Values::Text(text) => {
                    let all = std::str::from_utf8(&text.bytes).map_err(|_| refuse("a text is not UTF-8".into()))?;
                    Cells::Text { all, ends: &text.ends }
                }
                values => Cells::Other(values),
            };
            // A null is never the key of a stored row, also where a key's column takes it.
            let nullable = target.value.as_ref().is_ok_and(|value| value.nullable) && !layout.key.contains(&index);
            Ok(Field { target, declared, nullable, values, marks: column.marks.as_bytes() })
        });
        Ok(Self { block, fields: fields.collect::<Result<_, _>>()? })
    }

    /// The parameters for rows and columns of the block: all of the rows, or fewer when they are large, but at least one.
    ///
    /// # Errors
    /// When a value has no place in SQLite: [`Advice::Split`].
    pub(super) fn chunk(&self, rows: &[u32], columns: &[usize]) -> Result<Chunk, Error> {
        let fields: Vec<_> = columns.iter().map(|column| &self.fields[*column]).collect();
        let mut chunk = Chunk { rows: 0, bytes: 0, arguments: SqliteArguments::default() };
        chunk.arguments.reserve(rows.len() * fields.len(), 0);
        let mut text = String::new();
        for row in rows {
            for field in &fields {
                field.add(*row as usize, &mut chunk, &mut text).map_err(|why| self.refuse(field, &why))?;
            }
            chunk.rows += 1;
            if chunk.bytes >= MAX_BYTES {
                break;
            }
        }
        Ok(chunk)
    }

    fn refuse(&self, field: &Field<'_>, why: &str) -> Error {
        let (table, column) = (&self.block.layout.table.name, field.target);
        Error::new(Advice::Split, format!("table `{table}`, column `{}` {}: {why}", column.name, column.type_text))
    }
}

impl Field<'_> {
    fn mark(&self, row: usize) -> Mark {
        match self.marks.get(row) {
            None | Some(0) => Mark::Value,
            Some(1) => Mark::Null,
            Some(_) => Mark::Absent,
        }
    }

    fn add(&self, row: usize, chunk: &mut Chunk, text: &mut String) -> Result<(), String> {
        if self.mark(row) != Mark::Value {
            if !self.nullable {
                // SQLite would say so as well, but for `INTEGER PRIMARY KEY`, where it makes up a number instead.
                return Err("a value is missing, and the column takes no null".into());
            }
            return chunk.add(None::<i32>, 0);
        }
        let values = match &self.values {
            Cells::Text { all, ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                return chunk.add_text(&all[start..ends[row] as usize]);
            }
            Cells::Bytes(bytes) => {
                let bytes = bytes.row(row);
                return chunk.add(bytes.to_vec(), bytes.len());
            }
            Cells::Other(values) => *values,
        };
        match (values, &self.declared.logical) {
            (Values::Int32(v), LogicalType::Decimal { scale, .. }) => {
                self.add_decimal(v[row].into(), *scale, chunk, text)
            }
            (Values::Int64(v), LogicalType::Decimal { scale, .. }) => self.add_decimal(v[row], *scale, chunk, text),
            (Values::Int128(v), LogicalType::Decimal { scale, .. }) => {
                chunk.add_written(text, |text| push_decimal(text, v[row], *scale))
            }
            (Values::Int256(v), LogicalType::Decimal { scale, .. }) => {
                chunk.add_written(text, |text| push_decimal(text, I256::from_le_bytes(v[row]), *scale))
            }
            (Values::Int32(v), LogicalType::Date) => {
                let days = self.within_range(v[row].into())?;
                chunk.add_written(text, |text| push_date(text, days))
            }
            (Values::Int64(v), LogicalType::Timestamp { digits }) => {
                let ticks = self.within_range(v[row])?;
                chunk.add_written(text, |text| push_timestamp(text, ticks, *digits))
            }
            (Values::Uuid(v), LogicalType::Uuid) => chunk.add_written(text, |text| push_uuid(text, &v[row])),
            (Values::Bool(v), LogicalType::Bool) => chunk.add(v[row], 1),
            (Values::Int64(v), LogicalType::Int64) => chunk.add(v[row], 8),
            (Values::Float64(v), LogicalType::Float64) if v[row].is_nan() => {
                Err("NaN, which SQLite would turn into NULL".into())
            }
            (Values::Float64(v), LogicalType::Float64) => chunk.add(v[row], 8),
            // `types::parse` yields no other type, and `Values::for_type` no other values for these.
            (_, logical) => Err(format!("the block's values are not {logical}")),
        }
    }

    fn add_decimal(&self, unscaled: i64, scale: u8, chunk: &mut Chunk, text: &mut String) -> Result<(), String> {
        if !self.declared.number {
            return chunk.add_written(text, |text| push_decimal(text, unscaled, scale));
        }
        // Both are below 10¹⁵ and so doubles themselves; one division of two doubles is rounded correctly, which makes
        // the quotient the double that is nearest to the decimal. A whole number becomes an INTEGER by affinity.
        #[expect(clippy::cast_precision_loss, reason = "at most 15 digits")]
        chunk.add(unscaled as f64 / 10_f64.powi(scale.into()), 8)
    }

    fn within_range(&self, value: i64) -> Result<i64, String> {
        match types::range(&self.declared.logical) {
            Some(range) if !range.contains(&value) => Err("the year is not between 0 and 9999".into()),
            _ => Ok(value),
        }
    }
}

impl Chunk {
    fn add<'q, T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        &mut self,
        value: T,
        bytes: usize,
    ) -> Result<(), String> {
        self.bytes += bytes;
        self.arguments.add(value).map_err(|error| error.to_string())
    }

    fn add_text(&mut self, text: &str) -> Result<(), String> {
        // sqlx owns its arguments; an `Arc<str>` is the one form that costs a single allocation.
        self.add(Arc::<str>::from(text), text.len())
    }

    fn add_written(&mut self, text: &mut String, write: impl FnOnce(&mut String)) -> Result<(), String> {
        text.clear();
        write(text);
        self.add_text(text)
    }
}
