//! JSON values whose types a schema says.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decode::cell::Misfit;
use crate::decode::decimal;
use crate::decode::json::{Backend, Sonic};
use crate::decode::typed::{Fault, Input, Schema, Type, TypeId, Typed, unscaled};

const NO_JSON: Fault = Fault::Wire("it is not JSON");
const OTHER: Fault = Fault::Wire("a value is of another type");
const TOO_LARGE: Fault = Fault::Misfit(Misfit::Range);

/// A value as it is written.
pub(super) struct JsonInput<'r> {
    raw: &'r str,
}

impl<'r> JsonInput<'r> {
    pub(super) fn new(raw: &'r str) -> Self {
        Self { raw }
    }
}

impl Input for JsonInput<'_> {
    const ORDERED: bool = false;

    #[inline]
    fn branch<'s>(&mut self, schema: &'s Schema, id: TypeId) -> Result<&'s Type, Fault> {
        let known = match schema.beside_null(id) {
            Some(_) if self.raw == "null" => return Ok(&Type::Null),
            Some(other) => schema.of(other),
            None => schema.of(id),
        };
        if self.raw == "null" { Err(Fault::Wire("a value is null that cannot be")) } else { Ok(known) }
    }

    fn scalar<R, E: From<Fault>>(&mut self, kind: &Type, take: impl FnOnce(Typed<'_>) -> Result<R, E>) -> Result<R, E> {
        let raw = self.raw;
        let text = || Sonic::unquote(raw).filter(|_| raw.starts_with('"')).ok_or(OTHER);
        let bytes = || STANDARD.decode(&*text()?).map_err(|_| Fault::Wire("bytes are not base64"));
        let integer = || raw.parse::<i64>().map_err(|_| OTHER);
        let number: Cow<'_, str> = match kind {
            Type::Float | Type::Double if raw.starts_with('"') => text()?,
            _ => Cow::Borrowed(raw),
        };
        match kind {
            Type::Boolean => take(Typed::Bool(raw.parse().map_err(|_| OTHER)?)),
            Type::Integer { .. } => take(Typed::Integer(integer()?)),
            Type::Float => take(Typed::Float(number.parse().map_err(|_| OTHER)?)),
            Type::Double => take(Typed::Double(number.parse().map_err(|_| OTHER)?)),
            Type::String | Type::UuidText | Type::TimestampText => take(Typed::Text(&text()?)),
            Type::Json => take(Typed::Json(&text()?)),
            Type::Bytes => take(Typed::Bytes(&bytes()?)),
            Type::Decimal { scale, .. } => {
                // As bytes, or with `decimal.format=NUMERIC` as a number.
                let unscaled = match raw.starts_with('"') {
                    true => unscaled(&bytes()?),
                    false => decimal::parse(raw, 76, (*scale).into()).map_err(|_| OTHER)?.signed(),
                };
                take(Typed::Decimal { unscaled: unscaled.ok_or(TOO_LARGE)?, scale: *scale })
            }
            Type::Date => take(Typed::Date(integer()?)),
            Type::Time { digits } => take(Typed::Time { ticks: integer()?, digits: *digits }),
            Type::Timestamp { digits, local } => {
                take(Typed::Timestamp { ticks: integer()?, digits: *digits, local: *local })
            }
            Type::VariableDecimal => {
                let (mut scale, mut number) = (None, None);
                for member in sonic_rs::to_object_iter(raw) {
                    let (name, value) = member.map_err(|_| NO_JSON)?;
                    match &*name {
                        "scale" => scale = value.as_raw_str().parse().ok(),
                        "value" => {
                            let text = Sonic::unquote(value.as_raw_str()).ok_or(OTHER)?;
                            number = unscaled(&STANDARD.decode(&*text).map_err(|_| OTHER)?);
                        }
                        _ => {}
                    }
                }
                take(Typed::Decimal { unscaled: number.ok_or(TOO_LARGE)?, scale: scale.ok_or(TOO_LARGE)? })
            }
            // No schema of Connect's has these.
            Type::Enum(_) | Type::Fixed(_) | Type::Uuid | Type::Duration => Err(OTHER.into()),
            Type::Null | Type::Union(_) | Type::Array(_) | Type::Map(_) | Type::Record(_) => {
                unreachable!("whoever reads values looks for these first")
            }
        }
    }

    fn elements<E: From<Fault>>(&mut self, _: bool, mut take: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.must_begin('[')?;
        sonic_rs::to_array_iter(self.raw).try_for_each(|element| {
            let element = element.map_err(|_| NO_JSON)?;
            take(&mut JsonInput { raw: within(self.raw, element.as_raw_str()) })
        })
    }

    fn entries<E: From<Fault>>(&mut self, mut take: impl FnMut(&str, &mut Self) -> Result<(), E>) -> Result<(), E> {
        if self.raw.starts_with('{') {
            return sonic_rs::to_object_iter(self.raw).try_for_each(|member| {
                let (name, value) = member.map_err(|_| NO_JSON)?;
                take(&name, &mut JsonInput { raw: within(self.raw, value.as_raw_str()) })
            });
        }
        // Keys that are no texts: an array of pairs.
        self.elements(false, |pair| {
            let (mut key, mut value) = (None, None);
            pair.elements(false, |part| {
                match key {
                    None => key = Some(part.raw),
                    Some(_) => value = Some(part.raw),
                }
                Ok::<_, E>(())
            })?;
            let (key, raw) = key.zip(value).ok_or(OTHER)?;
            let name = if key.starts_with('"') { Sonic::unquote(key).ok_or(OTHER)? } else { Cow::Borrowed(key) };
            take(&name, &mut JsonInput { raw })
        })
    }

    #[inline]
    fn fields<'n, E: From<Fault>>(
        &mut self,
        count: usize,
        name: impl Fn(usize) -> &'n str,
        mut take: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.must_begin('{')?;
        let (mut expected, mut seen) = (0, 0);
        for member in sonic_rs::to_object_iter(self.raw) {
            let (field, value) = member.map_err(|_| NO_JSON)?;
            let is = |at: &usize| name(*at) == &*field;
            let at = Some(expected).filter(|at| *at < count && is(at)).or_else(|| (0..count).find(is));
            let at = at.ok_or(Fault::Wire("a record has a field that its schema lacks"))?;
            expected = at + 1;
            seen += 1;
            take(at, &mut JsonInput { raw: within(self.raw, value.as_raw_str()) })?;
        }
        Ok(seen)
    }

    fn skip(&mut self, _: &Schema, _: TypeId) -> Result<(), Fault> {
        Ok(())
    }
}

impl JsonInput<'_> {
    #[inline]
    fn must_begin(&self, bracket: char) -> Result<(), Fault> {
        if self.raw.starts_with(bracket) { Ok(()) } else { Err(OTHER) }
    }
}

/// The members of a text that is one object and nothing else: their names, and their values as they are written.
///
/// # Errors
/// The byte at which it is not.
pub(crate) fn members<'r>(text: &'r str, mut take: impl FnMut(&str, &'r str)) -> Result<(), usize> {
    let inside = text.trim_start().strip_prefix('{').ok_or(0_usize)?;
    let mut end = text.len() - inside.len();
    for member in sonic_rs::to_object_iter(text) {
        let (name, value) = member.map_err(|error| error.offset())?;
        let value = within(text, value.as_raw_str());
        end = value.as_ptr() as usize - text.as_ptr() as usize + value.len();
        take(&name, value);
    }
    // The iterator does not look behind the object.
    if text[end..].trim() == "}" { Ok(()) } else { Err(end) }
}

/// The same text as a part of the whole, for as long as that lives.
#[inline]
fn within<'r>(whole: &'r str, part: &str) -> &'r str {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    &whole[start..start + part.len()]
}
