//! Avro records: what fills the table's columns is compiled once for each schema that a record was written with.
//!
//! - `schema`: a schema as it is written; `wire`: its binary encoding; `put`: one value into a column
//! - `compile`: a schema and a [`Program`] into steps; [`Decoder`] runs them
//! - `fields`: what columns a schema asks for

mod compile;
mod fields;
mod put;
mod schema;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use rowfall_dialects::contract::Column;

use self::compile::{Step, Steps};
pub use self::schema::Schema;
use self::schema::{Branch, TypeId};
use self::wire::{Fault, Reader};
use super::failure::Failure;
use super::program::{Program, Unknown};
use super::{BadRecord, Headers, bad};
use crate::schemas::{Lookup, Part, SchemaId, Schemas};

/// Runs a [`Program`] over Avro records. One per worker.
#[derive(Debug)]
pub struct Decoder {
    program: Arc<Program>,
    schemas: Schemas,
    part: Part,
    /// What was compiled for each schema that was seen; why nothing can be, where that is so.
    compiled: HashMap<SchemaId, Result<Arc<Steps>, BadRecord>>,
    /// The one that was used last.
    last: Option<(SchemaId, Arc<Steps>)>,
    /// Fields without a column, where they are collected: members of an object, being written.
    rest: String,
}

impl Decoder {
    /// A decoder for this program, of records' keys or of their values.
    pub(super) fn new(program: Arc<Program>, schemas: Schemas, part: Part) -> Self {
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
            Lookup::Known(schema) => {
                self.compile(id, &schema);
                true
            }
        }
    }

    /// As the decoder of JSON does. Waits for the schema where it is not known.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        headers: &dyn Headers,
        columns: &mut [Column],
        row: usize,
    ) -> Result<(), BadRecord> {
        let (id, value) = self.schemas.name(payload, headers, self.part).map_err(|reason| bad(reason, FRAMING))?;
        let steps = match &self.last {
            Some((last, steps)) if *last == id => Arc::clone(steps),
            _ => self.turn_to(id)?,
        };
        let mut input = Reader::new(value);
        self.rest.clear();
        let mut run = Run { steps: &steps, program: &self.program, columns, rest: &mut self.rest };
        let failed = match run.run(&mut input) {
            Ok(()) if input.is_done() => return Ok(()),
            Ok(()) => Failed { failure: Failure::Wire("it goes on behind its last value"), id: None },
            Err(failed) => failed,
        };
        for column in columns.iter_mut() {
            column.truncate(row);
        }
        let bad = failed.failure.describe(&self.program);
        Err(match failed.id {
            Some(id) => BadRecord { reason: format!("{} (it is {})", bad.reason, steps.schema.name(id)), ..bad },
            None => bad,
        })
    }

    #[cold]
    fn turn_to(&mut self, id: SchemaId) -> Result<Arc<Steps>, BadRecord> {
        if !self.compiled.contains_key(&id) {
            let schema = self.schemas.wait_for(&id);
            self.compile(id.clone(), &schema);
        }
        let steps = self.compiled[&id].clone()?;
        self.last = Some((id, Arc::clone(&steps)));
        Ok(steps)
    }

    fn compile(&mut self, id: SchemaId, schema: &Result<Arc<Schema>, BadRecord>) {
        let steps = match schema {
            Ok(schema) => Steps::compile(schema, &self.program, self.part).map(Arc::new),
            Err(why) => Err(why.clone()),
        };
        self.compiled.insert(id, steps);
    }
}

const FRAMING: &str =
    "see whether the topic's records are Avro of a schema registry: `value:` and `key:` name the formats";

/// One record on its way into the columns.
struct Run<'a> {
    steps: &'a Steps,
    program: &'a Program,
    columns: &'a mut [Column],
    rest: &'a mut String,
}

impl Run<'_> {
    fn run(&mut self, input: &mut Reader<'_>) -> Result<(), Failed> {
        self.take(&self.steps.steps, input)?;
        if let Unknown::Collected(column) = self.program.unknown {
            if self.rest.is_empty() {
                self.rest.push('{');
            }
            self.rest.push('}');
            let rule = &self.program.columns[column].value;
            let cell = super::cell::Cell { rule, column: &mut self.columns[column] };
            cell.nested(self.rest, "an object").map_err(|misfit| failed(column, None, misfit.into()))?;
        }
        for (column, mark) in &self.steps.absent {
            self.columns[*column].push_mark(*mark);
        }
        Ok(())
    }

    fn take(&mut self, steps: &[Step], input: &mut Reader<'_>) -> Result<(), Failed> {
        let schema = &*self.steps.schema;
        for step in steps {
            match step {
                Step::Put { column, id } => {
                    let rule = &self.program.columns[*column];
                    let into = &mut self.columns[*column];
                    let done = match schema.branch(*id, input) {
                        Ok(schema::Type::Null) => rule.put_null(into).map_err(Fault::Misfit),
                        Ok(kind) => schema.put_of(kind, input, &rule.value, into),
                        Err(fault) => Err(fault),
                    };
                    done.map_err(|fault| failed(*column, Some(*id), fault))?;
                }
                Step::Skip(id) => schema.skip(*id, input).map_err(|fault| failed(0, None, fault))?,
                Step::Collect { name, id, into } => {
                    self.rest.push(if self.rest.is_empty() { '{' } else { ',' });
                    self.rest.push_str(name);
                    schema.json(*id, input, self.rest).map_err(|fault| failed(*into, Some(*id), fault))?;
                }
                Step::Open { branch, steps, below } => {
                    let is_there = match branch {
                        Some(Branch { index, of }) => {
                            input.index(*of).map_err(|fault| failed(0, None, fault))? == *index
                        }
                        None => true,
                    };
                    if is_there {
                        self.take(steps, input)?;
                    } else {
                        for column in below {
                            self.program.columns[*column]
                                .put_null(&mut self.columns[*column])
                                .map_err(|misfit| failed(*column, None, misfit.into()))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a record failed at.
struct Failed {
    failure: Failure,
    /// What the value is that does not fit.
    id: Option<TypeId>,
}

#[cold]
fn failed(column: usize, id: Option<TypeId>, fault: Fault) -> Failed {
    match fault {
        Fault::Wire(why) => Failed { failure: Failure::Wire(why), id: None },
        Fault::Misfit(misfit) => Failed { failure: Failure::Misfit(column, misfit), id },
    }
}

#[cfg(test)]
mod tests;
