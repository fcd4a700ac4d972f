//! How well a topic's fields fit the columns of its table, as its first records show: what `plan` prints.
//!
//! The records go through the program that a run uses, so that what is told is what a run would do with them.

use std::fmt;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, LogicalType, Mark, Values};

use crate::config::{Route, UnknownFields};
use crate::decode::{BadRecord, Change, Cure, Decoder, Mapped, Record, RowDecoder, RowProgram};
use crate::infer::InferredField;

/// How well the values of a field fit a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each is kept as it is.
    Exact,
    /// Each is kept, in a column that holds more than such values.
    Widens,
    /// The column takes such values, and could hold some of them only changed: those are refused, but for numbers in
    /// float columns, which hold the nearest.
    Lossy,
    /// The column does not take some of them, or there is none.
    Refused,
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::Widens => "widens",
            Self::Lossy => "lossy",
            Self::Refused => "refused",
        })
    }
}

/// What some records of a topic show of a program.
#[derive(Debug)]
pub struct Survey {
    decoder: RowDecoder,
    /// One row at most.
    row: Vec<Column>,
    /// Once a record is refused: one per column, what fills it alone.
    alone: Vec<Option<Decoder>>,
    /// One per column.
    seen: Vec<Seen>,
    /// Fields without a column for which records are refused.
    fields: Vec<BadRecord>,
    /// Records that were looked at.
    pub records: usize,
    /// Those of them that a run would refuse.
    pub refused: usize,
    /// The first of those: partition, offset and why.
    pub first_refused: Option<(i32, i64, BadRecord)>,
}

/// What the records have for one column.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Whether one has a value for it.
    value: bool,
    /// Whether a value is a float so large that not every integer there is one.
    beyond_integers: bool,
    /// How many records it refuses, and why the first of them.
    refused: usize,
    why: Option<BadRecord>,
}

/// A line of the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The field, or what else fills the column.
    pub field: String,
    /// The column with its type in the database's words; none for a field that goes nowhere.
    pub column: Option<String>,
    /// How its values fit, where there are some.
    pub fit: Option<Fit>,
    /// What to know of it.
    pub remark: String,
}

impl Survey {
    /// Runs the program over these records.
    #[must_use]
    pub fn of<'r>(program: &Arc<RowProgram>, records: impl IntoIterator<Item = Record<'r>>) -> Self {
        let columns = program.layout.targets.len();
        let mut survey = Self {
            decoder: RowDecoder::new(Arc::clone(program)),
            row: program.layout.empty_columns(),
            alone: Vec::new(),
            seen: vec![Seen::default(); columns],
            fields: Vec::new(),
            records: 0,
            refused: 0,
            first_refused: None,
        };
        records.into_iter().for_each(|record| survey.add(&record));
        survey
    }

    fn add(&mut self, record: &Record<'_>) {
        self.records += 1;
        match self.decoder.decode(record, &mut self.row, 0) {
            Ok(_) => self.seen.iter_mut().zip(&self.row).for_each(|(seen, column)| seen.add(column)),
            Err(bad) => self.add_refused(record, bad),
        }
        self.row.iter_mut().for_each(|column| column.truncate(0));
    }

    /// A record is refused at the first thing that does not fit: the other columns are asked one by one.
    fn add_refused(&mut self, record: &Record<'_>, bad: BadRecord) {
        self.refused += 1;
        let program = Arc::clone(self.decoder.program());
        if self.alone.is_empty() {
            self.alone = (0..self.seen.len()).map(|column| program.alone(column)).collect();
        }
        let mut told = false;
        for (index, alone) in self.alone.iter_mut().enumerate() {
            let (Some(alone), Some(value)) = (alone, record.value) else { continue };
            let row = &mut self.row[index..=index];
            match alone.decode(value, record.headers, row, 0) {
                Ok(Change::Row) => self.seen[index].add(&row[0]),
                Ok(Change::Gone) => {}
                Err(other) if other.column.is_some() => {
                    told |= other.column == bad.column;
                    self.seen[index].refuse(other);
                }
                // Of the record as a whole.
                Err(_) => {}
            }
        }
        let of_column = bad.column.as_ref().filter(|_| !told).map(|(name, _)| name);
        let of_column = program.layout.columns().position(|column| Some(&column.name) == of_column);
        if let Some(index) = of_column {
            self.seen[index].refuse(bad.clone());
        } else if bad.column.is_none() && bad.field.is_some() && !self.fields.iter().any(|f| f.field == bad.field) {
            self.fields.push(bad.clone());
        }
        self.first_refused.get_or_insert((record.partition, record.offset, bad));
    }

    /// A line for each field and each column. `fields`: what the same records show of them.
    #[must_use]
    pub fn lines(&self, route: &Route, fields: &[InferredField]) -> Vec<Line> {
        let mapped = self.decoder.program().mapping();
        let elsewhere = self.without_column(route, &mapped, fields);
        mapped.iter().map(|mapped| self.line(mapped, fields)).chain(elsewhere).collect()
    }

    fn line(&self, mapped: &Mapped, fields: &[InferredField]) -> Line {
        let Mapped { field, column, remark } = mapped;
        let Some(index) = *column else {
            return Line { field: field.clone(), column: None, fit: None, remark: (*remark).to_owned() };
        };
        let column = self.decoder.program().layout.columns().nth(index).expect("a column of the layout");
        let text = format!("{} {}", column.name, column.type_text);
        let line = |fit, remark| Line { field: field.clone(), column: Some(text), fit, remark };
        let seen = &self.seen[index];
        if let Some(why) = &seen.why {
            let fit = match why.cure {
                Some(Cure::Width | Cure::Length(_)) => Fit::Lossy,
                _ => Fit::Refused,
            };
            return line(Some(fit), format!("{} of {}: {}", seen.refused, self.records, why.reason));
        }
        if !seen.value {
            return line(None, (*remark).to_owned());
        }
        let from = fields.iter().find(|inferred| inferred.name == *field).map(|inferred| &inferred.logical);
        let to = column.value.as_ref().map(|value| &value.logical);
        match (from, to) {
            (Some(from), Ok(to)) => {
                let (fit, how) = fit(from, to, seen.beyond_integers);
                let remarks: Vec<_> = how.into_iter().chain([(*remark).to_owned()]).collect();
                line(Some(fit), remarks.join("; "))
            }
            _ => line(Some(Fit::Exact), (*remark).to_owned()),
        }
    }

    /// Fields that no column takes.
    fn without_column(&self, route: &Route, mapped: &[Mapped], fields: &[InferredField]) -> Vec<Line> {
        let line = |field: &str, fit, remark: &str| Line {
            field: field.to_owned(),
            column: None,
            fit,
            remark: remark.to_owned(),
        };
        let refused =
            self.fields.iter().filter_map(|bad| Some(line(bad.field.as_deref()?, Some(Fit::Refused), &bad.reason)));
        let mut lines: Vec<_> = refused.collect();
        for InferredField { name, is_null, .. } in fields {
            if mapped.iter().any(|mapped| mapped.field == *name) || lines.iter().any(|line| line.field == *name) {
                continue;
            }
            lines.extend(match &route.unknown_fields {
                UnknownFields::Column(_) => None,
                UnknownFields::Ignore => Some(line(name, None, "ignored")),
                UnknownFields::Add if *is_null => Some(line(name, None, "null so far, which needs no column")),
                UnknownFields::Add | UnknownFields::Error => {
                    Some(line(name, Some(Fit::Refused), "the table has no column for it"))
                }
            });
        }
        lines
    }
}

impl Seen {
    /// What the first row of the column holds.
    fn add(&mut self, column: &Column) {
        if column.marks.get(0) != Mark::Value {
            return;
        }
        self.value = true;
        self.beyond_integers |= match &column.values {
            Values::Float64(values) => values[0].abs() >= 2_f64.powi(53),
            Values::Float32(values) => values[0].abs() >= 2_f32.powi(24),
            _ => false,
        };
    }

    fn refuse(&mut self, bad: BadRecord) {
        self.refused += 1;
        self.why.get_or_insert(bad);
    }
}

/// How values of such a field are kept by a column that has refused none of them, and what becomes of them where that is
/// not plain.
fn fit(from: &LogicalType, to: &LogicalType, beyond_integers: bool) -> (Fit, Option<String>) {
    use LogicalType as T;
    let widens = |what: &str| (Fit::Widens, Some(format!("{what} as {to}")));
    let rounds = |what: &str| (Fit::Lossy, Some(format!("{what} become the nearest {to}")));
    match (from, to) {
        (T::Int64 | T::UInt64, T::Float32 | T::Float64) if beyond_integers => rounds("large integers"),
        (T::Int64 | T::UInt64, T::Float32 | T::Float64 | T::Decimal { .. }) => widens("integers"),
        (T::Int64 | T::UInt64, T::Int128 | T::UInt128 | T::Int256 | T::UInt256) => widens("integers"),
        (T::Float64, T::Float32) => rounds("numbers"),
        (T::Int64 | T::UInt64 | T::Float64, T::String) => (Fit::Widens, Some("numbers as text".to_owned())),
        (T::Bool, T::String) => (Fit::Widens, Some("booleans as text".to_owned())),
        (T::Date, T::Timestamp { .. }) => widens("dates"),
        (T::Timestamp { digits: from }, T::Timestamp { digits: to }) if from < to => widens("timestamps"),
        (_, T::List(_) | T::Map(_) | T::Struct(_)) if rounds_inside(to) => rounds("numbers in it"),
        _ => (Fit::Exact, None),
    }
}

/// Whether a part of it holds the nearest float of 32 bits.
fn rounds_inside(logical: &LogicalType) -> bool {
    match logical {
        LogicalType::Float32 => true,
        LogicalType::List(element) => rounds_inside(&element.logical),
        LogicalType::Map(pair) => rounds_inside(&pair.0.logical) || rounds_inside(&pair.1.logical),
        LogicalType::Struct(parts) => parts.iter().any(|part| rounds_inside(&part.value.logical)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
