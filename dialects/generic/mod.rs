//! What the SQL dialects share: what a block asks for, the texts of statements and the texts of values, which failures of
//! TLS end by themselves, how long an answer is waited for. No I/O.

mod json;
mod offsets;
mod patience;
mod plan;
mod syntax;
mod text;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use json::{changed_number, depth};
pub use offsets::{Offsets, settled};
pub(crate) use patience::{answered, answered_at_once};
pub use plan::{Group, Plan, Verb};
pub use syntax::{Statement, Syntax};
pub(crate) use text::{days_from_civil, push_date, push_decimal, push_time, push_timestamp, push_uuid};
pub(crate) use tls::is_passing;
