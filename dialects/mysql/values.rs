//! A block's values as parameters of statements.

use std::net::{Ipv4Addr, Ipv6Addr};

use ethnum::I256;
use sqlx::Arguments as _;
use sqlx::mysql::{MySql, MySqlArguments};

use crate::contract::{Advice, Block, Error, LogicalType, Mark, TableColumn, Values};
use crate::generic::{changed_number, depth, push_date, push_decimal, push_time, push_timestamp, push_uuid};
use crate::mysql::grammar::Flavor;
use crate::mysql::types::{self, Charset, Room, Special};

/// What a row and its parameters need beside their values: types, lengths, the statement's head.
const PER_VALUE: usize = 16;

/// How deep objects and arrays may lie in each other in MySQL's `json`; the server does not name the column.
const JSON_DEPTH: usize = 100;

/// A block whose columns were looked at once.
pub(super) struct Source<'a> {
    /// The block.
    pub(super) block: &'a Block,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    target: &'a TableColumn,
    nullable: bool,
    cells: Cells<'a>,
    marks: &'a [u8],
    /// Texts only.
    charset: Charset,
    /// Texts only.
    spaces: Spaces,
    /// Dates, times and timestamps: the first and the last that the column holds.
    range: (i64, i64),
}

/// What becomes of spaces at the end of a text.
#[derive(Clone, Copy)]
struct Spaces {
    /// All are taken away.
    lost: bool,
    /// Those beyond the column's length are.
    room: Room,
    /// They count for nothing when texts are compared.
    ignored: bool,
}

/// A column's values by how they are sent.
enum Cells<'a> {
    Bool(&'a [u8]),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Year(&'a [u16]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal32(&'a [i32], u8),
    Decimal64(&'a [i64], u8),
    Decimal128(&'a [i128], u8),
    Decimal256(&'a [[u8; 32]], u8),
    Date(&'a [i32]),
    Time(&'a [i64], u8),
    Timestamp(&'a [i64], u8),
    Uuid(&'a [[u8; 16]]),
    Ipv4(&'a [u32]),
    Ipv6(&'a [[u8; 16]]),
    /// Checked to be UTF-8 once per block, not once per row.
    Text(&'a str, &'a [u32]),
    Bytes(&'a [u8], &'a [u32]),
    /// JSON whose numbers the server changes, if they are not such as it keeps.
    Numbers(&'a str, &'a [u32]),
}

/// The parameters of one statement.
pub(super) struct Chunk {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) arguments: MySqlArguments,
}

impl<'a> Source<'a> {
    /// # Errors
    /// When the block does not fit its layout.
    pub(super) fn new(flavor: Flavor, block: &'a Block) -> Result<Self, Error> {
        let fields = block.layout.columns().zip(&block.columns).enumerate().map(|(index, (target, column))| {
            let is_key = block.layout.key.contains(&index);
            Field::new(flavor, target, &column.values, column.marks.as_bytes(), is_key).map_err(|why| {
                Error::pause(format!("table `{}`, column `{}`: {why}", block.layout.table.name, target.name))
            })
        });
        Ok(Self { block, fields: fields.collect::<Result<_, _>>()? })
    }

    /// The parameters for `rows`: all of them, or fewer when they are large, but at least one. Row by row, each in the
    /// order of `columns`, which are places in the block.
    ///
    /// # Errors
    /// When a value has no place in its column, or a row none in a statement: [`Advice::Split`].
    pub(super) fn chunk(&self, rows: &[u32], columns: &[usize], limits: Limits) -> Result<Chunk, Error> {
        let mut chunk = Chunk { rows: 0, bytes: 0, arguments: MySqlArguments::default() };
        chunk.arguments.reserve(rows.len() * columns.len(), rows.len() * columns.len() * 8);
        let mut text = String::new();
        for row in rows {
            for column in columns {
                let field = &self.fields[*column];
                let bytes = field.add(*row as usize, &mut chunk.arguments, &mut text);
                chunk.bytes += bytes.map_err(|why| self.refuse(field.target, &why))?;
            }
            chunk.rows += 1;
            if chunk.bytes + chunk.rows * columns.len() * PER_VALUE >= limits.statement {
                break;
            }
        }
        if chunk.rows == 1 && chunk.bytes + columns.len() * PER_VALUE >= limits.packet {
            let table = &self.block.layout.table.name;
            return Err(Error::new(
                Advice::Split,
                format!("table `{table}`: a row of {} bytes is more than the server takes at once", chunk.bytes),
            )
            .with_hint("raise `max_allowed_packet`"));
        }
        Ok(chunk)
    }

    fn refuse(&self, column: &TableColumn, why: &str) -> Error {
        let table = &self.block.layout.table.name;
        Error::new(Advice::Split, format!("table `{table}`, column `{}` {}: {why}", column.name, column.type_text))
    }
}

/// How much a statement may hold.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Enough for one statement.
    pub(super) statement: usize,
    /// Too much for one.
    pub(super) packet: usize,
}

impl<'a> Field<'a> {
    fn new(
        flavor: Flavor,
        target: &'a TableColumn,
        values: &'a Values,
        marks: &'a [u8],
        is_key: bool,
    ) -> Result<Self, String> {
        let declared = types::parse(&target.type_text).map_err(|why| why.0)?;
        let text = |text: &'a crate::contract::Text| {
            let all = std::str::from_utf8(&text.bytes).map_err(|_| "a text is not UTF-8")?;
            Ok::<_, String>((all, text.ends.as_slice()))
        };
        let cells = match (values, &declared.logical) {
            (Values::Bool(v), LogicalType::Bool) => Cells::Bool(v),
            (Values::Int8(v), LogicalType::Int8) => Cells::Int8(v),
            (Values::Int16(v), LogicalType::Int16 | LogicalType::Enum(_)) => Cells::Int16(v),
            (Values::Int32(v), LogicalType::Int32) => Cells::Int32(v),
            (Values::Int64(v), LogicalType::Int64) => Cells::Int64(v),
            (Values::UInt8(v), LogicalType::UInt8) => Cells::UInt8(v),
            (Values::UInt16(v), LogicalType::UInt16) if declared.special == Some(Special::Year) => Cells::Year(v),
            (Values::UInt16(v), LogicalType::UInt16) => Cells::UInt16(v),
            (Values::UInt32(v), LogicalType::UInt32) => Cells::UInt32(v),
            (Values::UInt64(v), LogicalType::UInt64) => Cells::UInt64(v),
            (Values::Float32(v), LogicalType::Float32) => Cells::Float32(v),
            (Values::Float64(v), LogicalType::Float64) => Cells::Float64(v),
            (Values::Int32(v), LogicalType::Decimal { scale, .. }) => Cells::Decimal32(v, *scale),
            (Values::Int64(v), LogicalType::Decimal { scale, .. }) => Cells::Decimal64(v, *scale),
            (Values::Int128(v), LogicalType::Decimal { scale, .. }) => Cells::Decimal128(v, *scale),
            (Values::Int256(v), LogicalType::Decimal { scale, .. }) => Cells::Decimal256(v, *scale),
            (Values::Int32(v), LogicalType::Date) => Cells::Date(v),
            (Values::Int64(v), LogicalType::Time { digits }) => Cells::Time(v, *digits),
            (Values::Int64(v), LogicalType::Timestamp { digits }) => Cells::Timestamp(v, *digits),
            (Values::Uuid(v), LogicalType::Uuid) => Cells::Uuid(v),
            (Values::UInt32(v), LogicalType::Ipv4) => Cells::Ipv4(v),
            (Values::Uuid(v), LogicalType::Ipv6) => Cells::Ipv6(v),
            (Values::Text(v), LogicalType::Bytes) => Cells::Bytes(&v.bytes, &v.ends),
            (Values::Text(v), LogicalType::Json) if flavor == Flavor::MySql => {
                let (all, ends) = text(v)?;
                Cells::Numbers(all, ends)
            }
            (Values::Text(v), LogicalType::String | LogicalType::Json) => {
                let (all, ends) = text(v)?;
                Cells::Text(all, ends)
            }
            (_, logical) => return Err(format!("the block's values are not {logical}")),
        };
        let range = types::range(&declared).map_or((i64::MIN, i64::MAX), |range| (*range.start(), *range.end()));
        let spaces = Spaces {
            lost: matches!(declared.room, Room::Characters(_, true)),
            room: declared.room,
            ignored: is_key && declared.ignores_trailing_spaces(),
        };
        // A null is never the key of a stored row.
        let nullable = target.value.as_ref().is_ok_and(|value| value.nullable) && !is_key;
        Ok(Self { target, nullable, cells, marks, charset: declared.charset, spaces, range })
    }

    fn mark(&self, row: usize) -> Mark {
        match self.marks.get(row) {
            None | Some(0) => Mark::Value,
            Some(1) => Mark::Null,
            Some(_) => Mark::Absent,
        }
    }

    /// Adds the parameter of a row and returns its bytes.
    #[inline]
    fn add(&self, row: usize, out: &mut MySqlArguments, text: &mut String) -> Result<usize, String> {
        if self.mark(row) != Mark::Value {
            if !self.nullable {
                return Err("a value is missing, and the column takes no null".into());
            }
            return self.add_null(out);
        }
        let mut written = |write: &mut dyn FnMut(&mut String)| {
            text.clear();
            write(text);
            add(out, text.as_str(), text.len())
        };
        match self.cells {
            Cells::Bool(v) => add(out, v[row], 1),
            Cells::Int8(v) => add(out, v[row], 1),
            Cells::Int16(v) => add(out, v[row], 2),
            Cells::Int32(v) => add(out, v[row], 4),
            Cells::Int64(v) => add(out, v[row], 8),
            Cells::UInt8(v) => add(out, v[row], 1),
            Cells::UInt16(v) => add(out, v[row], 2),
            Cells::UInt32(v) => add(out, v[row], 4),
            Cells::UInt64(v) => add(out, v[row], 8),
            Cells::Year(v) => match v[row] {
                // The server takes the others for years of this or the last century.
                year @ 1901..=2155 => add(out, year, 2),
                _ => Err("the year is not between 1901 and 2155".into()),
            },
            Cells::Float32(v) if v[row].is_finite() => add(out, v[row], 4),
            Cells::Float64(v) if v[row].is_finite() => add(out, v[row], 8),
            Cells::Float32(_) | Cells::Float64(_) => Err("NaN and the infinities have no place there".into()),
            Cells::Decimal32(v, scale) => written(&mut |text| push_decimal(text, v[row], scale)),
            Cells::Decimal64(v, scale) => written(&mut |text| push_decimal(text, v[row], scale)),
            Cells::Decimal128(v, scale) => written(&mut |text| push_decimal(text, v[row], scale)),
            Cells::Decimal256(v, scale) => written(&mut |text| push_decimal(text, I256::from_le_bytes(v[row]), scale)),
            Cells::Date(v) => {
                let days = self.within_range(v[row].into())?;
                written(&mut |text| push_date(text, days))
            }
            Cells::Time(v, digits) => {
                let ticks = self.within_range(v[row])?;
                written(&mut |text| push_time(text, ticks, digits))
            }
            Cells::Timestamp(v, digits) => {
                let ticks = self.within_range(v[row])?;
                written(&mut |text| push_timestamp(text, ticks, digits))
            }
            Cells::Uuid(v) => written(&mut |text| push_uuid(text, &v[row])),
            Cells::Ipv4(v) => {
                let address = Ipv4Addr::from(v[row]);
                written(&mut |text| text.push_str(&address.to_string()))
            }
            Cells::Ipv6(v) => {
                let address = Ipv6Addr::from(v[row]);
                written(&mut |text| text.push_str(&address.to_string()))
            }
            Cells::Text(all, ends) => {
                let value = part(all, ends, row);
                if value.ends_with(' ') {
                    self.check_spaces(value)?;
                }
                if !self.charset.has(value) {
                    return Err("its character set lacks a character of the text: declare it with utf8mb4".into());
                }
                add(out, value, value.len())
            }
            Cells::Bytes(all, ends) => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                let value = &all[start..ends[row] as usize];
                add(out, value, value.len())
            }
            Cells::Numbers(all, ends) => {
                let value = part(all, ends, row);
                if changed_number(value) {
                    return Err("MySQL would change a number in it, which is neither an integer of 64 bits nor a \
                                double: declare it longtext"
                        .into());
                }
                if value.len() > JSON_DEPTH && depth(value) > JSON_DEPTH {
                    return Err(format!(
                        "objects and arrays lie more than {JSON_DEPTH} deep in each other, which MySQL does not take: \
                         declare it longtext"
                    ));
                }
                add(out, value, value.len())
            }
        }
    }

    /// Of the type that the column's values have, since a server prepares a statement anew when types change.
    fn add_null(&self, out: &mut MySqlArguments) -> Result<usize, String> {
        match self.cells {
            Cells::Bool(_) | Cells::UInt8(_) => add(out, None::<u8>, 0),
            Cells::Int8(_) => add(out, None::<i8>, 0),
            Cells::Int16(_) => add(out, None::<i16>, 0),
            Cells::Int32(_) => add(out, None::<i32>, 0),
            Cells::Int64(_) => add(out, None::<i64>, 0),
            Cells::UInt16(_) | Cells::Year(_) => add(out, None::<u16>, 0),
            Cells::UInt32(_) => add(out, None::<u32>, 0),
            Cells::UInt64(_) => add(out, None::<u64>, 0),
            Cells::Float32(_) => add(out, None::<f32>, 0),
            Cells::Float64(_) => add(out, None::<f64>, 0),
            Cells::Bytes(..) => add(out, None::<&[u8]>, 0),
            _ => add(out, None::<&str>, 0),
        }
    }

    fn within_range(&self, value: i64) -> Result<i64, String> {
        if (self.range.0..=self.range.1).contains(&value) {
            return Ok(value);
        }
        let ends = [self.range.0, self.range.1].map(|end| {
            let mut text = String::new();
            match self.cells {
                Cells::Date(_) => push_date(&mut text, end),
                Cells::Time(_, digits) => push_time(&mut text, end, digits),
                Cells::Timestamp(_, digits) => push_timestamp(&mut text, end, digits),
                _ => {}
            }
            text
        });
        Err(format!("the value is not between {} and {}", ends[0], ends[1]))
    }

    fn check_spaces(&self, text: &str) -> Result<(), String> {
        if self.spaces.lost {
            return Err("the server would take away the spaces at its end: declare it varchar".into());
        }
        if self.spaces.ignored {
            return Err("the column's collation takes a key with spaces at its end for the one without".into());
        }
        let fits = match self.spaces.room {
            Room::Characters(most, _) => u64::try_from(text.chars().count()).is_ok_and(|count| count <= most),
            Room::Bytes(most) => u64::try_from(text.len()).is_ok_and(|count| count <= most),
        };
        if fits { Ok(()) } else { Err("the server would cut off the spaces at its end: make the column longer".into()) }
    }
}

fn part<'a>(all: &'a str, ends: &[u32], row: usize) -> &'a str {
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    &all[start..ends[row] as usize]
}

fn add<'q, T>(out: &mut MySqlArguments, value: T, bytes: usize) -> Result<usize, String>
where
    T: sqlx::Encode<'q, MySql> + sqlx::Type<MySql>,
{
    out.add(value).map(|()| bytes).map_err(|error| error.to_string())
}
