//! A block's values in the binary form of `COPY`, which is also that of the elements of arrays: a length and the bytes.

use std::net::IpAddr;

use ethnum::I256;

use crate::contract::{Advice, Block, Column, Error, LogicalType, Mark, TableColumn, Values};
use crate::postgres::numeric;
use crate::postgres::types::{self, Declared, Kind};

/// What stands before the rows: the signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// The length of a null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Postgres counts from 2000-01-01.
const DAYS: i32 = 10_957;
const MICROSECONDS: i64 = 10_957 * 86_400 * 1_000_000;

/// A block whose columns were looked at once.
pub(super) struct Source<'a> {
    /// The block.
    pub(super) block: &'a Block,
    /// Its columns.
    pub(super) fields: Vec<Field<'a>>,
}

/// One column of the block.
pub(super) struct Field<'a> {
    pub(super) target: &'a TableColumn,
    pub(super) declared: Declared,
    cells: Cells<'a>,
    marks: &'a [u8],
}

/// The values of a column with what is needed to write one of them.
enum Cells<'a> {
    Bool(&'a [u8]),
    Int2(&'a [i16]),
    Int4(&'a [i32]),
    Int8(&'a [i64]),
    Float4(&'a [f32]),
    Float8(&'a [f64]),
    Uuid(&'a [[u8; 16]]),
    Date(&'a [i32]),
    /// Microseconds are `ticks × factor − start`, of ticks from the first to the last.
    Ticks {
        ticks: &'a [i64],
        factor: i64,
        start: i64,
        first: i64,
        last: i64,
    },
    Numeric {
        values: Unscaled<'a>,
        scale: u8,
        fixed: bool,
    },
    /// Most columns hold no NUL at all, which is seen at once.
    Text {
        bytes: &'a [u8],
        ends: &'a [u32],
        rule: TextRule,
        has_nul: bool,
    },
    Array {
        ends: &'a [u32],
        element: u32,
        cells: Box<Cells<'a>>,
        marks: &'a [u8],
    },
}

enum Unscaled<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Int128(&'a [i128]),
    Int256(&'a [[u8; 32]]),
}

/// What a text has to be.
#[derive(Clone, Copy)]
enum TextRule {
    Any,
    /// Of at most so many characters.
    AtMost(usize),
    /// The same, and not ending in a space.
    Padded(usize),
    Jsonb,
    Inet,
}

impl<'a> Source<'a> {
    /// # Errors
    /// When the block does not fit its layout.
    pub(super) fn new(block: &'a Block) -> Result<Self, Error> {
        let fields = block.layout.columns().zip(&block.columns).map(|(target, column)| {
            let refuse = |why: String| {
                Error::pause(format!("table `{}`, column `{}`: {why}", block.layout.table.name, target.name))
            };
            let declared = types::parse(&target.type_text).map_err(|why| refuse(why.0))?;
            let cells = Cells::new(column, &declared)
                .ok_or_else(|| refuse(format!("the block's values are not {}", declared.logical)))?;
            Ok(Field { target, declared, cells, marks: column.marks.as_bytes() })
        });
        Ok(Self { block, fields: fields.collect::<Result<_, _>>()? })
    }

    /// Appends one row with these columns of the block.
    ///
    /// # Errors
    /// When a value has no place in Postgres: [`Advice::Split`].
    pub(super) fn put_row(&self, out: &mut Vec<u8>, row: u32, columns: &[usize]) -> Result<(), Error> {
        let count = u16::try_from(columns.len()).expect("a table has at most 1,600 columns");
        out.extend_from_slice(&count.to_be_bytes());
        columns.iter().try_for_each(|column| self.put(out, row as usize, &self.fields[*column]))
    }

    /// Appends an array of these rows of a column.
    ///
    /// # Errors
    /// As [`Source::put_row`].
    pub(super) fn put_column(&self, out: &mut Vec<u8>, rows: &[u32], column: usize) -> Result<(), Error> {
        let field = &self.fields[column];
        put_array_header(out, field.declared.wire().oid, rows.len(), true);
        rows.iter().try_for_each(|row| self.put(out, *row as usize, field))
    }

    fn put(&self, out: &mut Vec<u8>, row: usize, field: &Field<'a>) -> Result<(), Error> {
        field.put(out, row).map_err(|why| {
            let (table, column) = (&self.block.layout.table.name, field.target);
            Error::new(Advice::Split, format!("table `{table}`, column `{}` {}: {why}", column.name, column.type_text))
        })
    }
}

impl Field<'_> {
    /// What a value has to be cast to in a statement.
    pub(super) fn cast(&self) -> Option<&str> {
        types::cast(&self.target.type_text, &self.declared)
    }

    fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<(), &'static str> {
        match mark(self.marks, row) {
            Mark::Value => self.cells.put(out, row),
            Mark::Null | Mark::Absent => {
                out.extend_from_slice(&NULL);
                Ok(())
            }
        }
    }
}

fn mark(marks: &[u8], row: usize) -> Mark {
    match marks.get(row) {
        None | Some(0) => Mark::Value,
        Some(1) => Mark::Null,
        Some(_) => Mark::Absent,
    }
}

impl<'a> Cells<'a> {
    /// `None` when the column does not hold values of that type.
    fn new(column: &'a Column, declared: &Declared) -> Option<Self> {
        Some(match (&declared.kind, &column.values) {
            (Kind::Bool, Values::Bool(v)) => Self::Bool(v),
            (Kind::Int2, Values::Int16(v)) => Self::Int2(v),
            (Kind::Int4, Values::Int32(v)) => Self::Int4(v),
            (Kind::Int8, Values::Int64(v)) => Self::Int8(v),
            (Kind::Float4, Values::Float32(v)) => Self::Float4(v),
            (Kind::Float8, Values::Float64(v)) => Self::Float8(v),
            (Kind::Uuid, Values::Uuid(v)) => Self::Uuid(v),
            (Kind::Date, Values::Int32(v)) => Self::Date(v),
            (Kind::Time | Kind::Timestamp { .. }, Values::Int64(ticks)) => {
                let (LogicalType::Time { digits } | LogicalType::Timestamp { digits }) = declared.logical else {
                    return None;
                };
                let (first, last) = types::range(&declared.logical)?.into_inner();
                let start = if declared.kind == Kind::Time { 0 } else { MICROSECONDS };
                let factor = 10_i64.pow(6_u8.checked_sub(digits)?.into());
                Self::Ticks { ticks, factor, start, first, last }
            }
            (Kind::Numeric { fixed_scale }, values) => {
                let LogicalType::Decimal { scale, .. } = declared.logical else { return None };
                let values = match values {
                    Values::Int32(v) => Unscaled::Int32(v),
                    Values::Int64(v) => Unscaled::Int64(v),
                    Values::Int128(v) => Unscaled::Int128(v),
                    Values::Int256(v) => Unscaled::Int256(v),
                    _ => return None,
                };
                Self::Numeric { values, scale, fixed: *fixed_scale }
            }
            (kind, Values::Text(text)) => {
                let rule = match *kind {
                    Kind::Text { max: None, .. } | Kind::Enum | Kind::Json | Kind::Bytea => TextRule::Any,
                    Kind::Text { max: Some(max), padded: false } => TextRule::AtMost(max as usize),
                    Kind::Text { max: Some(max), padded: true } => TextRule::Padded(max as usize),
                    Kind::Jsonb => TextRule::Jsonb,
                    Kind::Inet => TextRule::Inet,
                    _ => return None,
                };
                Self::Text {
                    bytes: &text.bytes,
                    ends: &text.ends,
                    rule,
                    has_nul: *kind != Kind::Bytea && text.bytes.contains(&0),
                }
            }
            (Kind::Array(element), Values::List(list)) => Self::Array {
                ends: &list.ends,
                element: element.wire().oid,
                cells: Box::new(Self::new(&list.values, element)?),
                marks: list.values.marks.as_bytes(),
            },
            _ => return None,
        })
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<(), &'static str> {
        match self {
            Self::Bool(v) => put(out, [v[row]]),
            Self::Int2(v) => put(out, v[row].to_be_bytes()),
            Self::Int4(v) => put(out, v[row].to_be_bytes()),
            Self::Int8(v) => put(out, v[row].to_be_bytes()),
            Self::Float4(v) => put(out, v[row].to_be_bytes()),
            Self::Float8(v) => put(out, v[row].to_be_bytes()),
            Self::Uuid(v) => put(out, v[row]),
            Self::Date(v) => {
                let range = types::range(&LogicalType::Date).ok_or(OUTSIDE)?;
                if !range.contains(&v[row].into()) {
                    return Err(OUTSIDE);
                }
                put(out, (v[row] - DAYS).to_be_bytes());
            }
            Self::Ticks { ticks, factor, start, first, last } => {
                if !(*first..=*last).contains(&ticks[row]) {
                    return Err(OUTSIDE);
                }
                // Within the range the product may only just be too large for 64 bits, the difference never is.
                let microseconds = i128::from(ticks[row]) * i128::from(*factor) - i128::from(*start);
                put(out, i64::try_from(microseconds).map_err(|_| OUTSIDE)?.to_be_bytes());
            }
            Self::Numeric { values, scale, fixed } => match values {
                Unscaled::Int32(v) => numeric::put_i64(out, v[row].into(), *scale, *fixed),
                Unscaled::Int64(v) => numeric::put_i64(out, v[row], *scale, *fixed),
                Unscaled::Int128(v) => numeric::put_i128(out, v[row], *scale, *fixed),
                Unscaled::Int256(v) => numeric::put_i256(out, I256::from_le_bytes(v[row]), *scale, *fixed),
            },
            Self::Text { bytes, ends, rule, has_nul } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                let text = &bytes[start..ends[row] as usize];
                if *has_nul && text.contains(&0) {
                    return Err("a NUL character, which Postgres takes in no text");
                }
                return rule.put(out, text);
            }
            Self::Array { ends, element, cells, marks } => return put_array(out, row, ends, *element, cells, marks),
        }
        Ok(())
    }
}

const OUTSIDE: &str = "outside of what the type can hold";

#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&u32::try_from(N).expect("a few bytes").to_be_bytes());
    out.extend_from_slice(&bytes);
}

fn put_array(
    out: &mut Vec<u8>,
    row: usize,
    ends: &[u32],
    element: u32,
    cells: &Cells<'_>,
    marks: &[u8],
) -> Result<(), &'static str> {
    let rows = if row == 0 { 0 } else { ends[row - 1] }..ends[row];
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_array_header(out, element, rows.len(), true);
    for row in rows {
        let row = row as usize;
        match mark(marks, row) {
            Mark::Value => cells.put(out, row)?,
            Mark::Null | Mark::Absent => out.extend_from_slice(&NULL),
        }
    }
    let length = u32::try_from(out.len() - start - 4).map_err(|_| "an array of more than 4 GiB")?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Dimensions, whether there are nulls, the elements' type; the length and the first index.
fn put_array_header(out: &mut Vec<u8>, element: u32, length: usize, nulls: bool) {
    let length = u32::try_from(length).expect("a block has fewer than 2³² elements");
    for number in [u32::from(length > 0), nulls.into(), element] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    if length > 0 {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&1_u32.to_be_bytes());
    }
}

impl TextRule {
    #[inline]
    fn put(self, out: &mut Vec<u8>, text: &[u8]) -> Result<(), &'static str> {
        const TOO_LONG: &str = "more characters than the column takes";
        let version: &[u8] = match self {
            Self::Any => &[],
            Self::AtMost(most) if is_longer(text, most) => return Err(TOO_LONG),
            Self::AtMost(_) => &[],
            Self::Padded(most) if is_longer(text, most) => return Err(TOO_LONG),
            Self::Padded(_) if text.last() == Some(&b' ') => {
                return Err("a space at the end, which could not be told from those that fill up the column");
            }
            Self::Padded(_) => &[],
            Self::Jsonb if holds_escaped_nul(text) => return Err("\\u0000, which jsonb cannot hold"),
            Self::Jsonb => &[1],
            Self::Inet => return put_inet(out, text).ok_or("not an IP address or network"),
        };
        let length = u32::try_from(version.len() + text.len()).map_err(|_| "a text of more than 4 GiB")?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(version);
        out.extend_from_slice(text);
        Ok(())
    }
}

/// Counts characters only where the bytes are too many.
fn is_longer(text: &[u8], most: usize) -> bool {
    text.len() > most && text.iter().filter(|byte| **byte & 0xc0 != 0x80).count() > most
}

/// Whether JSON text has `\u0000` in one of its strings: a backslash that is not itself escaped stands before it.
fn holds_escaped_nul(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        if rest[at + 1..].starts_with(b"u0000") {
            return true;
        }
        rest = &rest[(at + 2).min(rest.len())..];
    }
    false
}

/// Family, bits of the network, not `cidr`, bytes of the address.
fn put_inet(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
    };
    match address.parse().ok()? {
        IpAddr::V4(address) => {
            let bits = bits.unwrap_or(32);
            put(out, [2, bits, 0, 4]);
            append(out, &address.octets());
            (bits <= 32).then_some(())
        }
        IpAddr::V6(address) => {
            let bits = bits.unwrap_or(128);
            put(out, [3, bits, 0, 16]);
            append(out, &address.octets());
            (bits <= 128).then_some(())
        }
    }
}

/// Adds bytes to the value of four bytes that was put last.
fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = out.len() - 8;
    out[length + 3] += u8::try_from(bytes.len()).expect("an address");
    out.extend_from_slice(bytes);
}
