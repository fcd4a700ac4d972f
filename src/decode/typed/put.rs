//! A value of a schema's into a column, or into a JSON text.

use rowfall_dialects::contract::{Column, LogicalType, Values};

use super::{Fault, Field, Input, Schema, Type, TypeId, Typed, quoted};
use crate::decode::cell::{Cell, Misfit};
use crate::decode::nested::within;
use crate::decode::program::ValueRule;

const MAP: &str = "a map";
const RECORD: &str = "a record";

impl Schema {
    /// Appends one value to the column, which gains exactly one row; after an error it may hold part of one.
    #[inline]
    fn put(&self, id: TypeId, input: &mut impl Input, rule: &ValueRule, column: &mut Column) -> Result<(), Fault> {
        match input.branch(self, id)? {
            Type::Null => Ok(Cell { rule, column }.null()?),
            nested @ (Type::Array(_) | Type::Map(_) | Type::Record(_)) => self.put_nested(nested, input, rule, column),
            scalar => input.scalar(scalar, |value| Ok(value.put(rule, column)?)),
        }
    }

    /// The same for a value that holds others, and is of this type.
    pub(super) fn put_nested(
        &self,
        nested: &Type,
        input: &mut impl Input,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        match (nested, &rule.logical, &mut column.values) {
            (Type::Array(item), LogicalType::List(_), Values::List(list)) => {
                let (element, mut at) = (&rule.parts[0], 0_usize);
                input.elements(self.may_be_empty(*item), |input| {
                    let done = self.put(*item, input, element, &mut list.values);
                    done.map_err(|fault| inside(&format_args!("element {at}"), element, fault))?;
                    at += 1;
                    Ok::<_, Fault>(())
                })?;
                list.end_row();
            }
            (Type::Map(value), LogicalType::Map(_), Values::List(list)) => {
                let [key_rule, value_rule] = rule.parts.as_slice() else { return Err(no(MAP)) };
                let Values::Struct(pairs) = &mut list.values.values else { return Err(no(MAP)) };
                let [keys, values] = pairs.parts.as_mut_slice() else { return Err(no(MAP)) };
                let rows = &mut pairs.rows;
                input.entries(|key, input| {
                    let key = Typed::Text(key).put(key_rule, keys);
                    key.map_err(|misfit| inside(&format_args!("key {rows}"), key_rule, misfit.into()))?;
                    let done = self.put(*value, input, value_rule, values);
                    done.map_err(|fault| inside(&format_args!("value {rows}"), value_rule, fault))?;
                    *rows += 1;
                    Ok::<_, Fault>(())
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
        Ok(())
    }

    /// A record's fields into the parts of these names; a part that the record lacks is null.
    fn put_struct(
        &self,
        fields: &[Field],
        input: &mut impl Input,
        rule: &ValueRule,
        column: &mut Column,
    ) -> Result<(), Fault> {
        let (LogicalType::Struct(parts), Values::Struct(record)) = (&rule.logical, &mut column.values) else {
            return Err(no(RECORD));
        };
        // Parts that have no names are told by their places.
        let unnamed = parts.iter().all(|part| part.name.is_none());
        let row = record.rows;
        input.fields(
            fields.len(),
            |at| &fields[at].name,
            |at, input| {
                let field = &fields[at];
                let index = match unnamed {
                    true => (at < parts.len()).then_some(at),
                    false => parts.iter().position(|part| part.name.as_deref() == Some(&*field.name)),
                };
                let lacks = || Misfit::Part(format!("has the part `{}`, which the type lacks", field.name));
                let index = index.ok_or_else(lacks)?;
                if record.parts[index].len() > row {
                    return Err(Misfit::Part(format!("has the part `{}` twice", field.name)).into());
                }
                let part_rule = &rule.parts[index];
                let done = self.put(field.id, input, part_rule, &mut record.parts[index]);
                done.map_err(|fault| inside(&format_args!("{}", field.name), part_rule, fault))
            },
        )?;
        for (index, part) in record.parts.iter_mut().enumerate().filter(|(_, part)| part.len() == row) {
            let missing =
                || Misfit::Part(format!("lacks the part `{}`", parts[index].name.as_deref().unwrap_or_default()));
            Cell { rule: &rule.parts[index], column: part }.null().map_err(|_| missing())?;
        }
        record.rows += 1;
        Ok(())
    }

    /// Appends the value to a JSON text. Of a union it is the value alone, not its branch.
    pub(super) fn json(&self, id: TypeId, input: &mut impl Input, out: &mut String) -> Result<(), Fault> {
        self.json_of(input.branch(self, id)?, input, out)
    }

    fn json_of(&self, kind: &Type, input: &mut impl Input, out: &mut String) -> Result<(), Fault> {
        let mut separator = "";
        match kind {
            Type::Array(item) => {
                out.push('[');
                input.elements(self.may_be_empty(*item), |input| {
                    out.push_str(std::mem::replace(&mut separator, ","));
                    self.json(*item, input, out)
                })?;
                out.push(']');
            }
            Type::Map(value) => {
                out.push('{');
                input.entries(|key, input| {
                    out.push_str(std::mem::replace(&mut separator, ","));
                    quoted(out, key);
                    out.push(':');
                    self.json(*value, input, out)
                })?;
                out.push('}');
            }
            Type::Record(fields) => {
                out.push('{');
                input.fields(
                    fields.len(),
                    |at| &fields[at].name,
                    |at, input| {
                        out.push_str(std::mem::replace(&mut separator, ","));
                        quoted(out, &fields[at].name);
                        out.push(':');
                        self.json(fields[at].id, input, out)
                    },
                )?;
                out.push('}');
            }
            Type::Null => out.push_str("null"),
            scalar => input.scalar(scalar, |value| Ok::<_, Fault>(value.json(out)?))?,
        }
        Ok(())
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
