//! What the SQL dialects share: the texts of statements and the texts of values. Pure; no I/O.

mod syntax;
mod text;

pub(crate) use syntax::Statement;
pub use syntax::Syntax;
pub(crate) use text::{days_from_civil, push_date, push_decimal, push_time, push_timestamp, push_uuid};
