//! JSON that says its own schema, as Kafka Connect's JsonConverter writes it: `{"schema": {…}, "payload": {…}}`.
//!
//! The schema is the same text in record after record: what was compiled for it is found by that text.

mod input;
mod parse;

use std::collections::HashMap;
use std::sync::Arc;

use rowfall_dialects::contract::Column;

use self::input::JsonInput;
pub(crate) use self::input::members;
use super::envelope::Change;
use super::json::is_too_deep;
use super::program::Program;
use super::typed::{Row, Schema, Steps, Type};
use super::{BadRecord, bad};
use crate::schemas::RecordPart;

/// Schemas that are kept at most: a topic has a few at a time.
const KEPT: usize = 256;

const HINT: &str = "see whether the converter has `schemas.enable=true`; without schemas it is `json`";

/// Runs a [`Program`] over such records. One per worker.
#[derive(Debug)]
pub struct Decoder {
    program: Arc<Program>,
    part: RecordPart,
    /// What was compiled for each schema that was seen, by its text; why nothing can be, where that is so.
    compiled: HashMap<Box<str>, Result<Arc<Steps>, BadRecord>>,
    /// The one that was used last.
    last: Option<(Box<str>, Arc<Steps>)>,
    rest: String,
}

impl Decoder {
    /// A decoder for this program, of records' keys or of their values.
    pub(super) fn new(program: Arc<Program>, part: RecordPart) -> Self {
        Self { program, part, compiled: HashMap::new(), last: None, rest: String::new() }
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// As the decoder of JSON does.
    pub(super) fn decode(&mut self, bytes: &[u8], columns: &mut [Column], row: usize) -> Result<Change, BadRecord> {
        let (schema, payload) = split(bytes).map_err(|why| bad(why, HINT))?;
        if self.last.as_ref().is_none_or(|(last, _)| **last != *schema) {
            self.last = Some((schema.into(), self.steps_of(schema)?));
        }
        let Self { last, program, rest, .. } = self;
        let (_, steps) = last.as_ref().expect("just turned to");
        let mut filling = Row::new(steps, program, columns, row, rest);
        let input = &mut JsonInput::new(payload);
        let done = match steps.schema.of(steps.schema.root) {
            Type::Record(_) => filling.take(&steps.steps, input),
            _ => filling.take_alone(&steps.steps, input),
        };
        let failed = match done.and_then(|()| filling.finish()) {
            Ok(change) => return Ok(change),
            Err(failed) => failed,
        };
        for column in columns.iter_mut() {
            column.truncate(row);
        }
        Err(failed.describe(steps, program))
    }

    #[cold]
    fn steps_of(&mut self, text: &str) -> Result<Arc<Steps>, BadRecord> {
        if let Some(known) = self.compiled.get(text) {
            return known.clone();
        }
        let compiled = match Schema::of_connect(text) {
            Ok(schema) => Steps::compile(&Arc::new(schema), &self.program, self.part).map(Arc::new),
            Err(why) => Err(bad(format!("the schema in the record cannot be read: {why}"), HINT)),
        };
        if self.compiled.len() >= KEPT {
            self.compiled.clear();
        }
        self.compiled.insert(text.into(), compiled.clone());
        compiled
    }
}

/// The schema and the payload, as they are written.
///
/// # Errors
/// When it has not both.
pub(crate) fn split(bytes: &[u8]) -> Result<(&str, &str), String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("the value is not UTF-8 (byte {})", error.valid_up_to()))?;
    if is_too_deep(bytes) {
        return Err("objects and arrays lie too deep in each other".to_owned());
    }
    let (mut schema, mut payload, mut other) = (None, None, None);
    let read = members(text, |name, value| match name {
        "schema" => schema = Some(value),
        "payload" => payload = Some(value),
        name => other = Some(name.to_owned()),
    });
    read.map_err(|at| format!("the value is not a JSON object (byte {at})"))?;
    if let Some(name) = other {
        return Err(format!("the value has a field `{name}` beside `schema` and `payload`"));
    }
    match (schema, payload) {
        (Some("null") | None, _) => Err("the record has no schema".to_owned()),
        (Some(schema), Some(payload)) => Ok((schema, payload)),
        (_, None) => Err("the record has no payload".to_owned()),
    }
}

#[cfg(test)]
mod tests;
