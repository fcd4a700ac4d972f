//! What a record's key or value is written in.

use std::sync::Arc;

use rowfall_dialects::contract::Column;

use super::envelope::{self, Change};
use super::{BadRecord, Headers, Program, avro, connect, json};
use crate::config::Format;
use crate::schemas::RecordPart;

/// Runs a [`Program`] over records of one format. One per worker.
#[derive(Debug)]
pub enum Decoder {
    /// JSON objects.
    Json(json::Decoder),
    /// Avro records, each with the id of its schema.
    Avro(avro::Decoder),
    /// JSON with a schema in each record.
    Connect(connect::Decoder),
}

impl Decoder {
    /// A decoder for this program, of records' keys or of their values.
    #[must_use]
    pub fn new(program: Arc<Program>, format: &Format, part: RecordPart) -> Self {
        match format {
            Format::Json | Format::String => Self::Json(json::Decoder::new(program)),
            Format::ConnectJson => Self::Connect(connect::Decoder::new(program, part)),
            Format::Avro(schemas) => Self::Avro(avro::Decoder::new(program, schemas.clone(), part)),
        }
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        match self {
            Self::Json(decoder) => decoder.program(),
            Self::Avro(decoder) => decoder.program(),
            Self::Connect(decoder) => decoder.program(),
        }
    }

    /// Whether what these bytes are written with is known; asks for it where it is not.
    #[inline]
    pub fn is_ready(&mut self, payload: &[u8], headers: &dyn Headers) -> bool {
        match self {
            Self::Json(_) | Self::Connect(_) => true,
            Self::Avro(decoder) => decoder.is_ready(payload, headers),
        }
    }

    /// Appends the record as row `row` to the columns of the program's layout, which all have `row` rows, unless it says
    /// that the row of its key is gone. On an error they have `row` rows still. Waits for what is not known yet.
    ///
    /// # Errors
    /// Says which field does not fit which column, and why.
    #[inline]
    pub fn decode(
        &mut self,
        payload: &[u8],
        headers: &dyn Headers,
        columns: &mut [Column],
        row: usize,
    ) -> Result<Change, BadRecord> {
        match self {
            Self::Json(decoder) if decoder.program().envelope => envelope::decode(decoder, payload, columns, row),
            Self::Json(decoder) => decoder.decode(payload, columns, row).map(|()| Change::Row),
            Self::Connect(decoder) => decoder.decode(payload, columns, row),
            Self::Avro(decoder) => decoder.decode(payload, headers, columns, row),
        }
    }
}
