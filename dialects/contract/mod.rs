//! What flows between the pipeline and a database, and what a database must offer.
//!
//! In the order in which a record meets them: [`LogicalType`] says what a value is, [`Column`] holds the values of
//! many records, a [`Block`] is the columns for one table, [`TableSchema`] is the table as the database describes it,
//! [`Grammar`] and [`Session`] are the two halves of a dialect, [`Error`] carries the [`Advice`] that the pipeline
//! follows.

mod block;
mod column;
mod dialect;
mod error;
mod table;
mod types;

pub use block::{Block, COORDINATES, Layout, Op, Token};
pub use column::{Column, List, Mark, Marks, Struct, Text, Values, Variant};
pub use dialect::{
    Compression, Connection, Ddl, ExactlyOnce, Grammar, Intent, Move, Partition, Progress, Receipt, Resumed, Session,
    Target,
};
pub use error::{Advice, Error, Refusal};
pub use table::{
    Change, ColumnDefault, ColumnSpec, ColumnStorage, Storage, TableColumn, TableName, TableSchema, TableSpec, Upserts,
};
pub use types::{EnumValue, LogicalType, MAX_DECIMAL_PRECISION, ParseTypeError, StructField, ValueType};
