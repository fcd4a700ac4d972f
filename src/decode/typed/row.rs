//! A row that is filled from a record with a schema.

use rowfall_dialects::contract::{Column, Mark};

use super::{Input, Named, Step, Steps, Type, TypeId, Typed};
use crate::decode::BadRecord;
use crate::decode::cell::{Cell, Misfit};
use crate::decode::envelope::{Change, Envelope, UNAVAILABLE};
use crate::decode::failure::Failure;
use crate::decode::program::{Program, Unknown};

/// What cannot be put into a column.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes are not what the schema says.
    Wire(&'static str),
    /// The value is not what the column takes.
    Misfit(Misfit),
}

impl From<Misfit> for Fault {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

/// What a record failed at.
pub(crate) struct Failed {
    failure: Failure,
    /// What the value is that does not fit.
    id: Option<TypeId>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, id: None }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::at(0, None, fault)
    }
}

impl Failed {
    /// A value of the record, on its way into a column.
    #[cold]
    fn at(column: usize, id: Option<TypeId>, fault: Fault) -> Self {
        match fault {
            Fault::Wire(why) => Failure::Wire(why).into(),
            Fault::Misfit(misfit) => Self { failure: Failure::Misfit(column, misfit), id },
        }
    }

    /// In words.
    pub(crate) fn describe(self, steps: &Steps, program: &Program) -> BadRecord {
        let bad = self.failure.describe(program);
        match self.id {
            Some(id) => BadRecord { reason: format!("{} (it is {})", bad.reason, steps.schema.name(id)), ..bad },
            None => bad,
        }
    }
}

/// One record on its way into the columns.
pub(crate) struct Row<'a> {
    steps: &'a Steps,
    program: &'a Program,
    columns: &'a mut [Column],
    /// Its number in them.
    row: usize,
    /// Fields without a column, where they are collected: members of an object, being written.
    rest: &'a mut String,
    envelope: Envelope,
}

impl<'a> Row<'a> {
    pub(crate) fn new(
        steps: &'a Steps,
        program: &'a Program,
        columns: &'a mut [Column],
        row: usize,
        rest: &'a mut String,
    ) -> Self {
        rest.clear();
        Self { steps, program, columns, row, rest, envelope: Envelope::default() }
    }

    /// Does what the steps of a record say with its fields.
    pub(crate) fn take<I: Input>(&mut self, steps: &'a [Named], input: &mut I) -> Result<(), Failed> {
        let count = input.fields(steps.len(), |at| &steps[at].name, |at, input| self.step(&steps[at].step, input))?;
        if count < steps.len() {
            self.fill_left_out(steps)?;
        }
        Ok(())
    }

    /// The same for a value that is no record, and the only column's.
    pub(crate) fn take_alone<I: Input>(&mut self, steps: &'a [Named], input: &mut I) -> Result<(), Failed> {
        steps.iter().try_for_each(|named| self.step(&named.step, input))
    }

    #[inline]
    fn step<I: Input>(&mut self, step: &'a Step, input: &mut I) -> Result<(), Failed> {
        let schema = &*self.steps.schema;
        match step {
            Step::Put { column, id } => {
                let (column, id) = (*column, *id);
                if !I::ORDERED && self.has(column) {
                    return Err(Failure::Duplicate(column).into());
                }
                let at = |fault| Failed::at(column, Some(id), fault);
                match input.branch(schema, id).map_err(at)? {
                    Type::Null => self.put_null(column),
                    nested @ (Type::Array(_) | Type::Map(_) | Type::Record(_)) => {
                        let rule = &self.program.columns[column].value;
                        schema.put_nested(nested, input, rule, &mut self.columns[column]).map_err(at)
                    }
                    scalar => input.scalar(scalar, |value| self.put(column, id, value)),
                }
            }
            Step::Skip(id) => Ok(input.skip(schema, *id)?),
            Step::Collect { name, id, into } => {
                let done = schema.json(*id, input, self.collect(name));
                done.map_err(|fault| Failed::at(*into, Some(*id), fault))
            }
            Step::Open { id, steps, below } => match input.branch(schema, *id)? {
                Type::Null => below.iter().try_for_each(|column| self.put_null(*column)),
                _ => self.take(steps, input),
            },
            Step::After { id, steps } => {
                let is_there = *input.branch(schema, *id)? != Type::Null;
                self.envelope.after = Some(is_there);
                if is_there { self.take(steps, input) } else { Ok(()) }
            }
            Step::Op(id) => match input.branch(schema, *id)? {
                kind @ Type::String => input.scalar(kind, |value| {
                    self.envelope.op = match value {
                        Typed::Text(op) => op.bytes().next(),
                        _ => None,
                    };
                    Ok(())
                }),
                _ => Err(Failure::NoEnvelope.into()),
            },
        }
    }

    /// What a format leaves out is null.
    #[cold]
    fn fill_left_out(&mut self, steps: &[Named]) -> Result<(), Failed> {
        for Named { step, .. } in steps {
            let columns = match step {
                Step::Put { column, .. } => std::slice::from_ref(column),
                Step::Open { below, .. } => below,
                _ => &[],
            };
            for column in columns {
                if !self.has(*column) {
                    self.put_null(*column)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a column has its value.
    #[inline]
    fn has(&self, column: usize) -> bool {
        self.columns[column].len() > self.row
    }

    /// Puts a value into its column.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn put(&mut self, column: usize, id: TypeId, value: Typed<'_>) -> Result<(), Failed> {
        let rule = &self.program.columns[column];
        if self.program.envelope && value.is(UNAVAILABLE) {
            return self.keep(column);
        }
        let done = value.put(&rule.value, &mut self.columns[column]);
        done.map_err(|misfit| Failed::at(column, Some(id), misfit.into()))
    }

    /// The source does not say the value, since it did not change.
    #[cold]
    fn keep(&mut self, column: usize) -> Result<(), Failed> {
        if !self.program.keeps {
            return Err(Failure::Unavailable(column).into());
        }
        self.columns[column].push_mark(Mark::Absent);
        Ok(())
    }

    /// Puts null into it.
    #[inline]
    fn put_null(&mut self, column: usize) -> Result<(), Failed> {
        let done = self.program.columns[column].put_null(&mut self.columns[column]);
        done.map_err(|misfit| Failed::at(column, None, misfit.into()))
    }

    /// Begins a member of the collected fields, and takes its value.
    fn collect(&mut self, name: &str) -> &mut String {
        self.rest.push(if self.rest.is_empty() { '{' } else { ',' });
        self.rest.push_str(name);
        self.rest
    }

    /// Ends the row.
    pub(crate) fn finish(self) -> Result<Change, Failed> {
        if self.program.envelope && self.envelope.change()? == Change::Gone {
            return Ok(Change::Gone);
        }
        if let Unknown::Collected(column) = self.program.unknown {
            if self.rest.is_empty() {
                self.rest.push('{');
            }
            self.rest.push('}');
            let cell = Cell { rule: &self.program.columns[column].value, column: &mut self.columns[column] };
            cell.nested(self.rest, "an object").map_err(|misfit| Failed::at(column, None, misfit.into()))?;
        }
        for (column, mark) in &self.steps.absent {
            self.columns[*column].push_mark(*mark);
        }
        Ok(Change::Row)
    }
}
