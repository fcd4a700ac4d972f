//! A schema and a program into steps, one for each field of a record in the order in which they are written.

use std::collections::HashSet;
use std::sync::Arc;

use rowfall_dialects::contract::Mark;

use super::schema::{Branch, Field, Schema, Type, TypeId};
use crate::decode::BadRecord;
use crate::decode::failure::Failure;
use crate::decode::program::{Program, Unknown};
use crate::decode::typed::quoted;
use crate::schemas::Part;

/// What a record of one schema goes through.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) schema: Arc<Schema>,
    pub(super) steps: Vec<Step>,
    /// Columns that no field of this schema fills.
    pub(super) absent: Vec<(usize, Mark)>,
}

/// What becomes of the next field.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes into a column.
    Put { column: usize, id: TypeId },
    /// It is read over.
    Skip(TypeId),
    /// It goes into the object of all that have no column, and so into one; its name, with the colon.
    Collect { name: Box<str>, id: TypeId, into: usize },
    /// It is a record whose own fields have columns.
    Open {
        /// Where it may be null: which branch it is.
        branch: Option<Branch>,
        steps: Vec<Step>,
        /// The columns that are null where it is.
        below: Vec<usize>,
    },
}

impl Steps {
    /// # Errors
    /// When no record of this schema can become a row.
    pub(super) fn compile(schema: &Arc<Schema>, program: &Program, part: Part) -> Result<Self, BadRecord> {
        let mut compiler = Compiler { schema, program, filled: HashSet::new() };
        let steps = match (schema.of(schema.root), part) {
            (Type::Record(fields), _) => compiler.fields(fields, 0),
            // A key may be one value.
            (Type::Array(_) | Type::Map(_), Part::Key) | (_, Part::Value) => Err(Failure::NotAnObject("no record")),
            (_, Part::Key) if program.layout.targets.len() > 1 => Err(Failure::NotAnObject("one value")),
            (_, Part::Key) => {
                compiler.filled.insert(0);
                Ok(vec![Step::Put { column: 0, id: schema.root }])
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
    /// The steps of a record whose fields the program knows as this object's.
    fn fields(&mut self, fields: &[Field], object: usize) -> Result<Vec<Step>, Failure> {
        let (schema, program) = (self.schema, self.program);
        let known = &program.objects[object];
        let mut steps = Vec::new();
        for field in fields {
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let found = names.find_map(|name| known.field(name, 0)).map(|at| &known.fields[at]);
            let full = || format!("{}{}", known.prefix, field.name);
            steps.push(match found {
                None => self.unknown(full(), field.id)?,
                Some(found) => match (found.object.zip(schema.record(field.id)), found.column) {
                    (Some((inner, (branch, fields))), None) => {
                        let before = self.filled.clone();
                        let steps = self.fields(fields, inner)?;
                        let mut below: Vec<_> = self.filled.difference(&before).copied().collect();
                        below.sort_unstable();
                        Step::Open { branch, steps, below }
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
            });
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
