//! A value of a type into a column, into a JSON text, or over it.

use rowfall_dialects::contract::{Column, LogicalType, Values};

use super::super::cell::{Cell, Misfit};
use super::super::nested::within;
use super::super::program::ValueRule;
use super::super::typed::{Typed, quoted, unscaled};
use super::schema::{Field, Schema, Type, TypeId};
use super::wire::{Fault, Reader};

const MAP: &str = "a map";
const RECORD: &str = "a record";
const TOO_LARGE: Fault = Fault::Misfit(Misfit::Range);

impl Schema {
    /// Appends one value to the column, which gains exactly one row; after an error it may hold part of one.
    #[inline]
    pub(super) fn put(
        &self,
        id: TypeId,
        input: &mut Reader<'_>,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        match self.branch(id, input)? {
            Type::Null => Ok(Cell { rule, column }.null()?),
            kind => self.put_of(kind, input, rule, column),
        }
    }

    /// The same for a value that is of this type, and not null.
    #[inline]
    pub(super) fn put_of(
        &self,
        kind: &Type,
        input: &mut Reader<'_>,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        match kind {
            nested @ (Type::Array(_) | Type::Map(_) | Type::Record(_)) => self.put_nested(nested, input, rule, column),
            scalar => Ok(scalar.read(input)?.put(rule, column)?),
        }
    }

    /// The type of the value that follows: of a union the branch that it is of.
    #[inline]
    pub(super) fn branch(&self, id: TypeId, input: &mut Reader<'_>) -> Result<&Type, Fault> {
        match self.of(id) {
            Type::Union(branches) => Ok(self.of(branches[input.index(branches.len())?])),
            known => Ok(known),
        }
    }

    fn put_nested(
        &self,
        nested: &Type,
        input: &mut Reader<'_>,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        input.enter()?;
        match (nested, &rule.logical, &mut column.values) {
            (Type::Array(item), LogicalType::List(_), Values::List(list)) => {
                let element = &rule.parts[0];
                let (free, mut at) = (self.may_be_empty(*item), 0_usize);
                each(input, free, |input| {
                    let done = self.put(*item, input, element, &mut list.values);
                    done.map_err(|fault| inside(&format_args!("element {at}"), element, fault))?;
                    at += 1;
                    Ok(())
                })?;
                list.end_row();
            }
            (Type::Map(value), LogicalType::Map(_), Values::List(list)) => {
                let [key_rule, value_rule] = rule.parts.as_slice() else { return Err(no(MAP)) };
                let Values::Struct(pairs) = &mut list.values.values else { return Err(no(MAP)) };
                let [keys, values] = pairs.parts.as_mut_slice() else { return Err(no(MAP)) };
                let rows = &mut pairs.rows;
                each(input, false, |input| {
                    let key = Typed::Text(input.string()?).put(key_rule, keys);
                    key.map_err(|misfit| inside(&format_args!("key {rows}"), key_rule, misfit.into()))?;
                    let done = self.put(*value, input, value_rule, values);
                    done.map_err(|fault| inside(&format_args!("value {rows}"), value_rule, fault))?;
                    *rows += 1;
                    Ok(())
                })?;
                list.end_row();
            }
            (Type::Record(fields), LogicalType::Struct(_), _) => self.put_struct(fields, input, rule, column)?,
            (_, LogicalType::String | LogicalType::Json, _) => {
                let mut text = String::new();
                self.json_of(nested, input, &mut text)?;
                Cell { rule, column }.nested(&text, kind(nested))?;
            }
            _ => return Err(no(kind(nested))),
        }
        input.leave();
        Ok(())
    }

    /// A record's fields into the parts of these names; a part that the record lacks is null.
    fn put_struct(
        &self,
        fields: &[Field],
        input: &mut Reader<'_>,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        let (LogicalType::Struct(parts), Values::Struct(record)) = (&rule.logical, &mut column.values) else {
            return Err(no(RECORD));
        };
        // Parts that have no names are told by their places.
        let unnamed = parts.iter().all(|part| part.name.is_none());
        for (at, field) in fields.iter().enumerate() {
            let index = match unnamed {
                true => (at < parts.len()).then_some(at),
                false => parts.iter().position(|part| part.name.as_deref() == Some(&*field.name)),
            };
            let lacks = || Misfit::Part(format!("has the part `{}`, which the type lacks", field.name));
            let index = index.ok_or_else(lacks)?;
            let part_rule = &rule.parts[index];
            let done = self.put(field.id, input, part_rule, &mut record.parts[index]);
            done.map_err(|fault| inside(&format_args!("{}", field.name), part_rule, fault))?;
        }
        for (index, part) in record.parts.iter_mut().enumerate().filter(|(_, part)| part.len() == record.rows) {
            let missing =
                || Misfit::Part(format!("lacks the part `{}`", parts[index].name.as_deref().unwrap_or_default()));
            Cell { rule: &rule.parts[index], column: part }.null().map_err(|_| missing())?;
        }
        record.rows += 1;
        Ok(())
    }

    /// Appends the value to a JSON text. Of a union it is the value alone, not its branch.
    pub(super) fn json(&self, id: TypeId, input: &mut Reader<'_>, out: &mut String) -> Result<(), Fault> {
        self.json_of(self.branch(id, input)?, input, out)
    }

    fn json_of(&self, kind: &Type, input: &mut Reader<'_>, out: &mut String) -> Result<(), Fault> {
        let mut separator = "";
        match kind {
            Type::Array(item) => {
                input.enter()?;
                out.push('[');
                each(input, self.may_be_empty(*item), |input| {
                    out.push_str(std::mem::replace(&mut separator, ","));
                    self.json(*item, input, out)
                })?;
                out.push(']');
                input.leave();
            }
            Type::Map(value) => {
                input.enter()?;
                out.push('{');
                each(input, false, |input| {
                    out.push_str(std::mem::replace(&mut separator, ","));
                    quoted(out, input.string()?);
                    out.push(':');
                    self.json(*value, input, out)
                })?;
                out.push('}');
                input.leave();
            }
            Type::Record(fields) => {
                input.enter()?;
                out.push('{');
                for field in fields {
                    out.push_str(std::mem::replace(&mut separator, ","));
                    quoted(out, &field.name);
                    out.push(':');
                    self.json(field.id, input, out)?;
                }
                out.push('}');
                input.leave();
            }
            Type::Null => out.push_str("null"),
            scalar => scalar.read(input)?.json(out)?,
        }
        Ok(())
    }

    /// Reads over a value.
    #[inline]
    pub(super) fn skip(&self, id: TypeId, input: &mut Reader<'_>) -> Result<(), Fault> {
        match self.branch(id, input)? {
            Type::Null => Ok(()),
            Type::Array(item) => {
                input.enter()?;
                each(input, self.may_be_empty(*item), |input| self.skip(*item, input))?;
                input.leave();
                Ok(())
            }
            Type::Map(value) => {
                input.enter()?;
                each(input, false, |input| {
                    input.bytes()?;
                    self.skip(*value, input)
                })?;
                input.leave();
                Ok(())
            }
            Type::Record(fields) => {
                input.enter()?;
                fields.iter().try_for_each(|field| self.skip(field.id, input))?;
                input.leave();
                Ok(())
            }
            scalar => scalar.read(input).map(drop),
        }
    }
}

impl Type {
    /// The value that follows, which is of this type and holds no others.
    #[inline]
    fn read<'v, 'r: 'v>(&'v self, input: &mut Reader<'r>) -> Result<Typed<'v>, Fault> {
        Ok(match self {
            Self::Integer { short: false } => Typed::Integer(input.long()?),
            Self::Integer { short: true } => Typed::Integer(input.int()?.into()),
            Self::String | Self::UuidText => Typed::Text(input.string()?),
            Self::Double => Typed::Double(input.double()?),
            Self::Float => Typed::Float(input.float()?),
            Self::Boolean => Typed::Bool(input.boolean()?),
            Self::Timestamp { digits, local } => {
                Typed::Timestamp { ticks: input.long()?, digits: *digits, local: *local }
            }
            Self::Decimal { scale, size, .. } => {
                let bytes = match size {
                    Some(size) => input.fixed(*size)?,
                    None => input.bytes()?,
                };
                Typed::Decimal { unscaled: unscaled(bytes).ok_or(TOO_LARGE)?, scale: *scale }
            }
            Self::Enum(symbols) => Typed::Text(&symbols[input.index(symbols.len())?]),
            Self::Date => Typed::Date(input.int()?.into()),
            Self::Time { digits } => Typed::Time { ticks: input.long()?, digits: *digits },
            Self::Bytes => Typed::Bytes(input.bytes()?),
            Self::Fixed(size) => Typed::Bytes(input.fixed(*size)?),
            Self::Uuid => Typed::Uuid(input.fixed(16)?.try_into().expect("16 bytes")),
            Self::Json => Typed::Json(input.string()?),
            Self::VariableDecimal => {
                let scale = input.int()?;
                let number = unscaled(input.bytes()?).ok_or(TOO_LARGE)?;
                // A scale below zero counts tens.
                let scale = u8::try_from(scale).map_err(|_| TOO_LARGE)?;
                Typed::Decimal { unscaled: number, scale }
            }
            Self::Duration => {
                let [months, days, milliseconds] = [(); 3]
                    .map(|()| input.fixed(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes"))));
                Typed::Duration { months: months?, days: days?, milliseconds: milliseconds? }
            }
            Self::Null | Self::Union(_) | Self::Array(_) | Self::Map(_) | Self::Record(_) => {
                unreachable!("whoever reads values looks for these first")
            }
        })
    }
}

/// Each element of an array or a map.
fn each<'r>(
    input: &mut Reader<'r>,
    free: bool,
    mut take: impl FnMut(&mut Reader<'r>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        let count = input.block(free)?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            take(input)?;
        }
    }
}

fn kind(nested: &Type) -> &'static str {
    match nested {
        Type::Array(_) => "an array",
        Type::Map(_) => MAP,
        _ => RECORD,
    }
}

#[cold]
fn no(kind: &'static str) -> Fault {
    Fault::Misfit(Misfit::Kind(kind))
}

#[cold]
fn inside(place: &std::fmt::Arguments<'_>, rule: &ValueRule, fault: Fault) -> Fault {
    match fault {
        Fault::Misfit(misfit) => Fault::Misfit(within(&place.to_string(), rule, misfit)),
        wire => wire,
    }
}
