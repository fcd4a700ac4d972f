//! From a record's bytes straight into typed columns.
//!
//! - [`Program`]: what to do with each field, compiled once from the table and the route; `fields`: which field fills which
//!   column
//! - [`Decoder`]: runs it over records of a `format`; a bad record leaves no trace in the columns
//! - [`RowDecoder`]: a [`Record`] into a row: its value, its `key` or headers, its place; several programs together
//! - [`Decoder`] is one of a format: `json`, with `nested` for its values inside values, and `avro`
//! - `cell`: one value into one column, whatever the format; `typed`: one that comes with a type of its own
//! - `decimal`, `time`: exact numbers and instants from text; `failure`: why a record is bad, in words

mod avro;
mod cell;
mod connect;
mod decimal;
mod envelope;
mod failure;
mod fields;
mod format;
mod json;
mod key;
mod nested;
mod program;
mod record;
mod rows;
mod time;
mod typed;

pub(crate) use connect::split as split_connect;
pub use envelope::Change;
pub(crate) use envelope::row_in;
pub(crate) use fields::Flattening;
pub use format::Decoder;
pub use json::Decoder as JsonDecoder;
pub(crate) use json::is_too_deep;
pub(crate) use key::{bad, header_text};
pub use program::{Lacking, Mapped, Part, Program, RefusedColumn};
pub use record::{Headers, Record};
pub use rows::{Folding, Keyed, OWN_VERSION, RowDecoder, RowProgram};
pub use time::text_kind;
pub use typed::Schema;

use std::fmt;

/// Why a record cannot become a row of its table. Never holds the record's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The field concerned, where it is one.
    pub field: Option<Box<str>>,
    /// The column concerned with its type in the database's words, where it is one.
    pub column: Option<(String, String)>,
    /// What is wrong: what the record has, what the column takes.
    pub reason: String,
    /// What an operator can do, an imperative sentence.
    pub hint: String,
    /// What change of the table would let the record in, if one would.
    pub cure: Option<Cure>,
}

/// What change of a table would let a record in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Columns for fields that it has none for.
    Columns,
    /// A wider type for [`BadRecord::column`], which takes values of this kind and could hold this one only cut or
    /// rounded.
    Width,
    /// Another type for [`BadRecord::column`], or null.
    Type,
    /// Room for texts of so many characters in [`BadRecord::column`].
    Length(u32),
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((column, type_text)) = &self.column {
            write!(f, "column `{column}` {type_text}")?;
            match &self.field {
                Some(field) if **field != **column => write!(f, " from field `{field}`: ")?,
                _ => f.write_str(": ")?,
            }
        } else if let Some(field) = &self.field {
            write!(f, "field `{field}`: ")?;
        }
        f.write_str(&self.reason)
    }
}
