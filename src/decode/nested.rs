//! Values inside values: lists, maps, structs and variants from their JSON text.

use rowfall_dialects::contract::{Column, LogicalType, Values};

use super::cell::{Cell, Misfit};
use super::json::{Backend, is_too_deep};
use super::program::ValueRule;

const OBJECT: &str = "an object";
const ARRAY: &str = "an array";

/// Appends one value to the column, which gains exactly one row; after an error it may hold part of one.
pub(super) fn put<B: Backend>(rule: &ValueRule, column: &mut Column, raw: &str) -> Result<(), Misfit> {
    if matches!(rule.logical, LogicalType::Variant(_)) {
        return put_variant::<B>(rule, column, raw);
    }
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text = B::unquote(raw).ok_or(Misfit::Form("a string that JSON allows"))?;
            put_text::<B>(rule, column, &text)
        }
        Some(b'n') => Cell { rule, column }.null(),
        Some(b't') => Cell { rule, column }.boolean(true),
        Some(b'f') => Cell { rule, column }.boolean(false),
        Some(b'{') => put_object::<B>(rule, column, raw),
        Some(b'[') => put_array::<B>(rule, column, raw),
        _ => Cell { rule, column }.number(raw),
    }
}

/// A string, or JSON in a string where the column takes nothing else.
pub(super) fn put_text<B: Backend>(rule: &ValueRule, column: &mut Column, text: &str) -> Result<(), Misfit> {
    let inner = match rule.logical {
        LogicalType::Json | LogicalType::List(_) | LogicalType::Map(_) | LogicalType::Struct(_) => text.trim(),
        _ => return Cell { rule, column }.text(text),
    };
    if inner.starts_with(['{', '[']) && !is_too_deep(inner.as_bytes()) && B::is_valid(inner) {
        put::<B>(rule, column, inner)
    } else {
        Err(Misfit::Kind("a string"))
    }
}

fn put_object<B: Backend>(rule: &ValueRule, column: &mut Column, raw: &str) -> Result<(), Misfit> {
    match (&rule.logical, &mut column.values) {
        (LogicalType::Map(_), Values::List(list)) => {
            let [key_rule, value_rule] = rule.parts.as_slice() else { return Err(Misfit::Kind(OBJECT)) };
            let Values::Struct(pairs) = &mut list.values.values else { return Err(Misfit::Kind(OBJECT)) };
            let [keys, values] = pairs.parts.as_mut_slice() else { return Err(Misfit::Kind(OBJECT)) };
            B::each_member(raw, &mut |name, value| {
                put_text::<B>(key_rule, keys, name)
                    .map_err(|misfit| within(&format!("key {}", pairs.rows), key_rule, misfit))?;
                put::<B>(value_rule, values, value)
                    .map_err(|misfit| within(&format!("value {}", pairs.rows), value_rule, misfit))?;
                pairs.rows += 1;
                Ok(())
            })?;
            list.end_row();
            Ok(())
        }
        (LogicalType::Struct(fields), Values::Struct(record)) => {
            let row = record.rows;
            B::each_member(raw, &mut |name, value| {
                let index = fields.iter().position(|field| field.name.as_deref() == Some(name));
                let index =
                    index.ok_or_else(|| Misfit::Part(format!("has the part `{name}`, which the type lacks")))?;
                let part = &mut record.parts[index];
                if part.len() > row {
                    return Err(Misfit::Part(format!("has the part `{name}` twice")));
                }
                put::<B>(&rule.parts[index], part, value).map_err(|misfit| within(name, &rule.parts[index], misfit))
            })?;
            for (index, part) in record.parts.iter_mut().enumerate().filter(|(_, part)| part.len() == row) {
                let missing =
                    || Misfit::Part(format!("lacks the part `{}`", fields[index].name.as_deref().unwrap_or("")));
                Cell { rule: &rule.parts[index], column: part }.null().map_err(|_| missing())?;
            }
            record.rows += 1;
            Ok(())
        }
        _ => Cell { rule, column }.nested(raw, OBJECT),
    }
}

fn put_array<B: Backend>(rule: &ValueRule, column: &mut Column, raw: &str) -> Result<(), Misfit> {
    match (&rule.logical, &mut column.values) {
        (LogicalType::List(_), Values::List(list)) => {
            let element = &rule.parts[0];
            let mut index = 0usize;
            B::each_element(raw, &mut |value| {
                put::<B>(element, &mut list.values, value)
                    .map_err(|misfit| within(&format!("element {index}"), element, misfit))?;
                index += 1;
                Ok(())
            })?;
            list.end_row();
            Ok(())
        }
        (LogicalType::Struct(_), Values::Struct(record)) => {
            let mut index = 0;
            B::each_element(raw, &mut |value| {
                let (Some(part), Some(part_rule)) = (record.parts.get_mut(index), rule.parts.get(index)) else {
                    return Err(Misfit::Part(format!("has more than {} parts", rule.parts.len())));
                };
                put::<B>(part_rule, part, value)
                    .map_err(|misfit| within(&format!("part {index}"), part_rule, misfit))?;
                index += 1;
                Ok(())
            })?;
            if index < rule.parts.len() {
                return Err(Misfit::Part(format!("has {index} parts instead of {}", rule.parts.len())));
            }
            record.rows += 1;
            Ok(())
        }
        _ => Cell { rule, column }.nested(raw, ARRAY),
    }
}

/// The first type that the value fits.
fn put_variant<B: Backend>(rule: &ValueRule, column: &mut Column, raw: &str) -> Result<(), Misfit> {
    if raw == "null" {
        return Cell { rule, column }.null();
    }
    put_first(rule, column, |logical| is_of_kind(logical, raw), |rule, column| put::<B>(rule, column, raw))
}

/// Puts a value into the first of a variant's types that it fits: first those of its own kind, so that a number does not
/// become a text where there is a type for numbers.
pub(super) fn put_first(
    rule: &ValueRule,
    column: &mut Column,
    is_of_kind: impl Fn(&LogicalType) -> bool,
    put: impl Fn(&ValueRule, &mut Column) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let Values::Variant(variant) = &mut column.values else { return Err(Misfit::Kind("a value")) };
    for own_kind in [true, false] {
        for (kind, (part_rule, part)) in (0u8..).zip(rule.parts.iter().zip(&mut variant.columns)) {
            if is_of_kind(&part_rule.logical) != own_kind {
                continue;
            }
            let rows = part.len();
            if put(part_rule, part).is_ok() {
                variant.kinds.push(kind);
                return Ok(());
            }
            part.truncate(rows);
        }
    }
    Err(Misfit::Kind("a value that fits none of them"))
}

fn is_of_kind(logical: &LogicalType, raw: &str) -> bool {
    use LogicalType as T;
    match raw.as_bytes().first() {
        Some(b'"') => *logical == T::String,
        Some(b't' | b'f') => *logical == T::Bool,
        Some(b'{') => matches!(logical, T::Struct(_) | T::Map(_) | T::Json),
        Some(b'[') => matches!(logical, T::List(_)),
        _ if raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') => logical.is_integer(),
        _ => matches!(logical, T::Float32 | T::Float64 | T::Decimal { .. }),
    }
}

#[cold]
pub(super) fn within(place: &str, rule: &ValueRule, misfit: Misfit) -> Misfit {
    match misfit {
        Misfit::Within(inner, takes, misfit) => Misfit::Within(format!("{place}, {inner}"), takes, misfit),
        misfit => Misfit::Within(place.to_owned(), rule.logical.to_string(), Box::new(misfit)),
    }
}
