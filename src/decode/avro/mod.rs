//! Avro records: what fills the table's columns is compiled once for each schema that a record was written with.
//!
//! `parse`: a schema as it is written; `wire`: its binary encoding; `input`: its values. [`Decoder`] runs the steps that a
//! schema and a [`Program`] are compiled into.

mod input;
mod parse;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use rowfall_dialects::contract::Column;

use self::wire::Reader;
use super::envelope::Change;
use super::failure::Failure;
use super::program::Program;
use super::typed::{Row, Schema, Steps};
use super::{BadRecord, Headers, bad};
use crate::schemas::{Lookup, RecordPart, SchemaId, Schemas};

/// Runs a [`Program`] over Avro records. One per worker.
#[derive(Debug)]
pub struct Decoder {
    program: Arc<Program>,
    schemas: Schemas,
    part: RecordPart,
    /// What was compiled for each schema that was seen; why nothing can be, where that is so.
    compiled: HashMap<SchemaId, Result<Arc<Steps>, BadRecord>>,
    /// The one that was used last.
    last: Option<(SchemaId, Arc<Steps>)>,
    /// Fields without a column, where they are collected: members of an object, being written.
    rest: String,
}

impl Decoder {
    /// A decoder for this program, of records' keys or of their values.
    pub(super) fn new(program: Arc<Program>, schemas: Schemas, part: RecordPart) -> Self {
        Self { program, schemas, part, compiled: HashMap::new(), last: None, rest: String::new() }
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Whether the schema of this record is known; asks for it where it is not.
    pub(super) fn is_ready(&mut self, payload: &[u8], headers: &dyn Headers) -> bool {
        let Ok((id, _)) = self.schemas.name(payload, headers, self.part) else { return true };
        if self.last.as_ref().is_some_and(|(last, _)| *last == id) || self.compiled.contains_key(&id) {
            return true;
        }
        match self.schemas.look_up(&id) {
            Lookup::Later => false,
            Lookup::Known(Ok(schema)) => {
                self.compile(id, &schema);
                true
            }
            // What is said of it holds for a while only.
            Lookup::Known(Err(_)) => true,
        }
    }

    /// As the decoder of JSON does. Waits for the schema where it is not known.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        headers: &dyn Headers,
        columns: &mut [Column],
        row: usize,
    ) -> Result<Change, BadRecord> {
        let (id, value) = self.schemas.name(payload, headers, self.part).map_err(|reason| bad(reason, FRAMING))?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = Some((id.clone(), self.steps_of(id)?));
        }
        let Self { last, program, rest, .. } = self;
        let (_, steps) = last.as_ref().expect("just turned to");
        let mut input = Reader::new(value);
        let mut filling = Row::new(steps, program, columns, row, rest);
        let failed = match filling.take(&steps.steps, &mut input) {
            Ok(()) if !input.is_done() => Failure::Wire("it goes on behind its last value").into(),
            Ok(()) => match filling.finish() {
                Ok(change) => return Ok(change),
                Err(failed) => failed,
            },
            Err(failed) => failed,
        };
        for column in columns.iter_mut() {
            column.truncate(row);
        }
        Err(failed.describe(steps, program))
    }

    #[cold]
    fn steps_of(&mut self, id: SchemaId) -> Result<Arc<Steps>, BadRecord> {
        if !self.compiled.contains_key(&id) {
            let schema = self.schemas.wait_for(&id)?;
            self.compile(id.clone(), &schema);
        }
        self.compiled[&id].clone()
    }

    fn compile(&mut self, id: SchemaId, schema: &Arc<Schema>) {
        let steps = Steps::compile(schema, &self.program, self.part).map(Arc::new);
        self.compiled.insert(id, steps);
    }
}

const FRAMING: &str =
    "see whether the topic's records are Avro of a schema registry: `value:` and `key:` name the formats";

#[cfg(test)]
mod tests;
