//! What Debezium wraps around a row: `{"before": …, "after": …, "op": "u", "source": {…}}`.
//!
//! Source: <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-change-events-value>.

use rowfall_dialects::contract::Column;

use super::connect::members;
use super::failure::Failure;
use super::json::is_too_deep;
use super::{BadRecord, json};

/// Stands for a value that the source did not log, since it had not changed.
pub(super) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// What a record's value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is a row.
    Row,
    /// The row of its key is gone.
    Gone,
}

/// What is known of a change, field by field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Envelope {
    /// Whether `after` was there, and held a row.
    pub(super) after: Option<bool>,
    /// The first letter of `op`.
    pub(super) op: Option<u8>,
}

impl Envelope {
    /// What the change is.
    pub(super) fn change(self) -> Result<Change, Failure> {
        match (self.op, self.after) {
            (Some(b'c' | b'u' | b'r'), Some(true)) => Ok(Change::Row),
            (Some(b'd'), Some(false)) => Ok(Change::Gone),
            (Some(b't'), _) => Err(Failure::Truncate),
            _ => Err(Failure::NoEnvelope),
        }
    }
}

/// Decodes the row in a JSON envelope without a schema.
pub(super) fn decode(
    decoder: &mut json::Decoder,
    payload: &[u8],
    columns: &mut [Column],
    row: usize,
) -> Result<Change, BadRecord> {
    let (envelope, after) = unwrap(payload).map_err(|failure| failure.describe(decoder.program()))?;
    match envelope.change().map_err(|failure| failure.describe(decoder.program()))? {
        Change::Gone => Ok(Change::Gone),
        Change::Row => decoder.decode(after.as_bytes(), columns, row).map(|()| Change::Row),
    }
}

/// The row in a JSON envelope, if there is one.
pub(crate) fn row_in(payload: &[u8]) -> Option<&str> {
    unwrap(payload).ok().filter(|(envelope, _)| envelope.after == Some(true)).map(|(_, after)| after)
}

/// What a JSON envelope says, and the row in it.
fn unwrap(payload: &[u8]) -> Result<(Envelope, &str), Failure> {
    let no_json = |at: usize| Failure::Syntax(format!("the value is not JSON (byte {at})"));
    let text = std::str::from_utf8(payload).map_err(|error| no_json(error.valid_up_to()))?;
    let (mut envelope, mut after) = (Envelope::default(), "");
    if !text.trim_start().starts_with('{') || is_too_deep(payload) {
        return Err(Failure::NoEnvelope);
    }
    let read = members(text, |name, value| match name {
        "after" => {
            envelope.after = Some(value != "null");
            after = value;
        }
        "op" => envelope.op = value.as_bytes().get(1).copied(),
        _ => {}
    });
    read.map_err(no_json)?;
    Ok((envelope, after))
}
