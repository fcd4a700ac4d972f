//! A schema and a program into steps, one for each field of a record in the order in which they are written.

use std::collections::HashSet;
use std::sync::Arc;

use rowfall_dialects::contract::Mark;

use super::schema::{Field, Schema, Type, TypeId};
use crate::decode::BadRecord;
use crate::decode::failure::Failure;
use crate::decode::program::{Program, Unknown};
use crate::decode::typed::quoted;
use crate::schemas::RecordPart;

/// What a record of one schema goes through.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) schema: Arc<Schema>,
    pub(crate) steps: Vec<Named>,
    /// Columns that no field of this schema fills.
    pub(crate) absent: Vec<(usize, Mark)>,
}

/// A field, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Box<str>,
    pub(crate) step: Step,
}

/// What becomes of a field.
#[derive(Debug)]
pub(crate) enum Step {
    /// It goes into a column.
    Put { column: usize, id: TypeId },
    /// It is read over.
    Skip(TypeId),
    /// It goes into the object of all that have no column, and so into one; its name, with the colon.
    Collect { name: Box<str>, id: TypeId, into: usize },
    /// It is a record whose own fields have columns.
    Open {
        id: TypeId,
        steps: Vec<Named>,
        /// The columns that are null where it is.
        below: Vec<usize>,
    },
    /// It is the row, in an envelope; null where that is gone.
    After { id: TypeId, steps: Vec<Named> },
    /// It says what happened to the row.
    Op(TypeId),
}

impl Steps {
    /// # Errors
    /// When no record of this schema can become a row.
    pub(crate) fn compile(schema: &Arc<Schema>, program: &Program, part: RecordPart) -> Result<Self, BadRecord> {
        let mut compiler = Compiler { schema, program, filled: HashSet::new() };
        let steps = match (schema.of(schema.root), part) {
            (Type::Record(fields), _) if program.envelope => compiler.envelope(fields),
            (Type::Record(fields), _) => compiler.fields(fields, 0),
            // A key may be one value.
            (Type::Array(_) | Type::Map(_), RecordPart::Key) | (_, RecordPart::Value) => {
                Err(Failure::NotAnObject("no record"))
            }
            (_, RecordPart::Key) if program.layout.targets.len() > 1 => Err(Failure::NotAnObject("one value")),
            (_, RecordPart::Key) => {
                compiler.filled.insert(0);
                Ok(vec![Named { name: "".into(), step: Step::Put { column: 0, id: schema.root } }])
            }
        };
        let described = |failure: Failure| failure.describe(program);
        let steps = steps.map_err(described)?;
        let mut absent = Vec::new();
        for (column, rule) in program.columns.iter().enumerate() {
            if !compiler.filled.contains(&column) && program.unknown != Unknown::Collected(column) {
                let mark = rule.when_absent.ok_or(Failure::Absent(column)).map_err(described)?;
                absent.push((column, mark));
            }
        }
        Ok(Self { schema: Arc::clone(schema), steps, absent })
    }
}

struct Compiler<'c> {
    schema: &'c Schema,
    program: &'c Program,
    /// Columns that have a field.
    filled: HashSet<usize>,
}

impl Compiler<'_> {
    /// The steps of a record around the row.
    fn envelope(&mut self, fields: &[Field]) -> Result<Vec<Named>, Failure> {
        let mut steps = Vec::new();
        for field in fields {
            let step = match &*field.name {
                "after" => {
                    let fields = self.schema.record(field.id).ok_or(Failure::NoEnvelope)?;
                    Step::After { id: field.id, steps: self.fields(fields, 0)? }
                }
                "op" => Step::Op(field.id),
                _ => Step::Skip(field.id),
            };
            steps.push(Named { name: field.name.clone(), step });
        }
        let has = |wanted: fn(&Step) -> bool| steps.iter().any(|named| wanted(&named.step));
        match has(|step| matches!(step, Step::After { .. })) && has(|step| matches!(step, Step::Op(_))) {
            true => Ok(steps),
            false => Err(Failure::NoEnvelope),
        }
    }

    /// The steps of a record whose fields the program knows as this object's.
    fn fields(&mut self, fields: &[Field], object: usize) -> Result<Vec<Named>, Failure> {
        let (schema, program) = (self.schema, self.program);
        let known = &program.objects[object];
        let mut steps = Vec::new();
        for field in fields {
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let found = names.find_map(|name| known.field(name, 0)).map(|at| &known.fields[at]);
            let full = || format!("{}{}", known.prefix, field.name);
            let step = match found {
                None => self.unknown(full(), field.id)?,
                Some(found) => match (found.object.zip(schema.record(field.id)), found.column) {
                    (Some((inner, fields)), None) => {
                        let before = self.filled.clone();
                        let steps = self.fields(fields, inner)?;
                        let mut below: Vec<_> = self.filled.difference(&before).copied().collect();
                        below.sort_unstable();
                        Step::Open { id: field.id, steps, below }
                    }
                    (_, Some(column)) if !self.filled.insert(column) => return Err(Failure::Duplicate(column)),
                    (_, Some(column)) => Step::Put { column, id: field.id },
                    (None, None) if found.object.is_some() => match self.program.unknown {
                        Unknown::Refused | Unknown::Added => {
                            return Err(Failure::NotOpened(found.object.expect("just seen")));
                        }
                        Unknown::Ignored | Unknown::Collected(_) => self.unknown(full(), field.id)?,
                    },
                    (None, None) => Step::Skip(field.id),
                },
            };
            steps.push(Named { name: field.name.clone(), step });
        }
        Ok(steps)
    }

    fn unknown(&self, name: String, id: TypeId) -> Result<Step, Failure> {
        match self.program.unknown {
            Unknown::Refused | Unknown::Added => Err(Failure::Unknown(name)),
            Unknown::Ignored => Ok(Step::Skip(id)),
            Unknown::Collected(into) => {
                let mut member = String::new();
                quoted(&mut member, &name);
                member.push(':');
                Ok(Step::Collect { name: member.into(), id, into })
            }
        }
    }
}
