//! One value into one column, whatever the format: exactly, or refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use rowfall_dialects::contract::{Column, LogicalType, Mark, Text, Values, Variant};

use super::json::has_half_a_pair;
use super::program::ValueRule;
use super::{decimal, time};
use crate::config::Unit;

/// A column that awaits the value of the next row.
pub(super) struct Cell<'a> {
    pub(super) rule: &'a ValueRule,
    pub(super) column: &'a mut Column,
}

/// Why a value does not fit a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The column takes no value of this kind; what was found.
    Kind(&'static str),
    /// The value is beyond the column's range.
    Range,
    /// The column does not keep that many digits behind the point.
    Precision,
    /// The text does not have the form that the column's type asks for; that form.
    Form(&'static str),
    /// Null, and the column takes none.
    Null,
    /// A part of a nested value does not fit: where, what it takes, and why.
    Within(String, String, Box<Misfit>),
    /// An enum has no such name or number.
    Unknown,
    /// A struct's part that the value lacks, or that the struct lacks.
    Part(String),
    /// The text is longer than the column's values: the characters, or bytes, that it has.
    Length(usize),
    /// A number for a timestamp that counts no ticks of it, and no unit is configured.
    Ticks,
    /// A number for a date, and no unit is configured.
    TimeNumber,
    /// The value has something that the column does not hold; what.
    Unheld(&'static str),
    /// The value's own text is needed to write it exactly: read the record again with it.
    NeedsText,
}

const NUMBER: &str = "a number";
/// Databases that look into JSON keep texts of Unicode.
const HALF_A_PAIR: Misfit = Misfit::Form("Unicode: half of a surrogate pair stands in it");
const FRACTION: &str = "a number with a fraction";

impl Cell<'_> {
    #[inline]
    pub(super) fn null(self) -> Result<(), Misfit> {
        // A variant has a null of its own, which is no mark.
        if let Values::Variant(variant) = &mut self.column.values {
            variant.kinds.push(Variant::NULL);
            return Ok(());
        }
        if !self.rule.nullable {
            return Err(Misfit::Null);
        }
        self.column.push_mark(Mark::Null);
        Ok(())
    }

    pub(super) fn boolean(self, value: bool) -> Result<(), Misfit> {
        match (&self.rule.logical, &mut self.column.values) {
            (LogicalType::String, Values::Text(texts)) => push(self.rule, texts, if value { "true" } else { "false" })?,
            (LogicalType::Bool, Values::Bool(v)) => v.push(value.into()),
            (LogicalType::Int8, Values::Int8(v)) => v.push(value.into()),
            (LogicalType::UInt8, Values::UInt8(v)) => v.push(value.into()),
            _ => return Err(Misfit::Kind("a boolean")),
        }
        Ok(())
    }

    #[inline]
    pub(super) fn unsigned(self, value: u64) -> Result<(), Misfit> {
        match i64::try_from(value) {
            Ok(value) => self.signed(value),
            Err(_) => match &mut self.column.values {
                Values::UInt64(v) => {
                    v.push(value);
                    Ok(())
                }
                Values::Float64(_) | Values::Text(_) => Err(Misfit::NeedsText),
                _ if self.rule.takes_no_number() => Err(self.rule.no_number()),
                _ if self.rule.counts_time() => Err(Misfit::NeedsText),
                _ if self.rule.needs_text() => Err(Misfit::NeedsText),
                _ => Err(Misfit::Range),
            },
        }
    }

    #[inline]
    pub(super) fn signed(self, value: i64) -> Result<(), Misfit> {
        fn fit<T: TryFrom<i64>>(values: &mut Vec<T>, value: i64) -> Result<(), Misfit> {
            values.push(T::try_from(value).map_err(|_| Misfit::Range)?);
            Ok(())
        }
        match (&self.rule.logical, &mut self.column.values) {
            (LogicalType::Int64, Values::Int64(v)) => {
                v.push(value);
                Ok(())
            }
            (LogicalType::Int32, Values::Int32(v)) => fit(v, value),
            (LogicalType::Int16, Values::Int16(v)) => fit(v, value),
            (LogicalType::Int8, Values::Int8(v)) => fit(v, value),
            (LogicalType::UInt64, Values::UInt64(v)) => fit(v, value),
            (LogicalType::UInt32, Values::UInt32(v)) => fit(v, value),
            (LogicalType::UInt16, Values::UInt16(v)) => fit(v, value),
            (LogicalType::UInt8, Values::UInt8(v)) => fit(v, value),
            (LogicalType::Float64, Values::Float64(v)) => {
                #[expect(clippy::cast_precision_loss, reason = "a float column holds the nearest double, by its type")]
                v.push(value as f64);
                Ok(())
            }
            (LogicalType::Timestamp { digits }, Values::Int64(v)) => {
                let ticks = match self.rule.unit {
                    None => Some(value),
                    // Elsewhere the digits are moved, not a number that may overflow or leave a rest.
                    Some(unit) => unit
                        .digits()
                        .and_then(|counted| digits.checked_sub(counted))
                        .and_then(|more| value.checked_mul(10_i64.pow(more.into()))),
                };
                let ticks = ticks.filter(|ticks| in_range(self.rule, *ticks).is_ok()).ok_or(Misfit::NeedsText)?;
                v.push(ticks);
                Ok(())
            }
            (LogicalType::Time { .. }, Values::Int64(v)) => {
                in_range(self.rule, value)?;
                v.push(value);
                Ok(())
            }
            (LogicalType::Bool, Values::Bool(v)) => {
                v.push(u8::try_from(value).ok().filter(|v| *v <= 1).ok_or(Misfit::Range)?);
                Ok(())
            }
            (LogicalType::Enum(values), Values::Int16(v)) => {
                let known = values.iter().find(|known| i64::from(known.number) == value).ok_or(Misfit::Unknown)?;
                v.push(known.number);
                Ok(())
            }
            _ if self.rule.takes_no_number() => Err(self.rule.no_number()),
            _ => Err(Misfit::NeedsText),
        }
    }

    pub(super) fn float(self, value: f64) -> Result<(), Misfit> {
        match &mut self.column.values {
            Values::Float64(v) => {
                v.push(value);
                Ok(())
            }
            _ if self.rule.takes_no_number() && self.rule.counts_time() => Err(Misfit::TimeNumber),
            _ if self.rule.takes_no_number() || self.rule.logical == LogicalType::Bool => Err(Misfit::Kind(FRACTION)),
            // Whether 1.0, 1e3 or 18446744073709551615.0 is an integer of the column is seen in its digits.
            _ => Err(Misfit::NeedsText),
        }
    }

    /// A number as it was written.
    pub(super) fn number(self, text: &str) -> Result<(), Misfit> {
        match (&self.rule.logical, &mut self.column.values) {
            (LogicalType::String, Values::Text(values)) => push(self.rule, values, text),
            (LogicalType::Enum(_), _) => {
                let number = text.parse().map_err(|_| Misfit::Unknown)?;
                self.signed(number)
            }
            _ if self.rule.takes_no_number() => Err(self.rule.no_number()),
            (LogicalType::Timestamp { .. } | LogicalType::Date, _) => self.time_number(text),
            _ => self.digits(text),
        }
    }

    /// A string.
    #[inline]
    pub(super) fn text(self, text: &str) -> Result<(), Misfit> {
        match (&self.rule.logical, &mut self.column.values) {
            (LogicalType::String, Values::Text(values)) => push(self.rule, values, text),
            (LogicalType::FixedString { bytes }, Values::Text(values)) => {
                if text.len() > *bytes as usize {
                    return Err(Misfit::Length(text.len()));
                }
                values.push(text);
                Ok(())
            }
            (LogicalType::Enum(known), Values::Int16(values)) => {
                let known = known.iter().find(|known| known.name == text).ok_or(Misfit::Unknown)?;
                values.push(known.number);
                Ok(())
            }
            (LogicalType::Time { digits }, Values::Int64(values)) => {
                let ticks = time::parse_time(text, *digits).map_err(|e| misfit_of_time(e, "a time, `12:34:56.789`"))?;
                in_range(self.rule, ticks)?;
                values.push(ticks);
                Ok(())
            }
            (LogicalType::Ipv4, Values::UInt32(values)) => {
                let address: Ipv4Addr = text.parse().map_err(|_| Misfit::Form("an IPv4 address"))?;
                values.push(address.to_bits());
                Ok(())
            }
            (LogicalType::Ipv6, Values::Uuid(values)) => {
                let address: Ipv6Addr = text.parse().map_err(|_| Misfit::Form("an IPv6 address"))?;
                values.push(address.octets());
                Ok(())
            }
            (LogicalType::Timestamp { .. } | LogicalType::Date, _)
                if self.rule.unit.is_some() && decimal::parse(text, 0, 0) != Err(decimal::DecimalError::Syntax) =>
            {
                self.time_number(text)
            }
            (LogicalType::Timestamp { digits }, Values::Int64(values)) => {
                let ticks = time::parse_timestamp(text, *digits, &self.rule.zone)
                    .map_err(|e| misfit_of_time(e, "an ISO 8601 time, `2024-02-29T12:34:56.789Z`"))?;
                in_range(self.rule, ticks)?;
                values.push(ticks);
                Ok(())
            }
            (LogicalType::Date, Values::Int32(values)) => {
                let days = time::parse_date(text).map_err(|e| misfit_of_time(e, "a date, `2024-02-29`"))?;
                in_range(self.rule, days.into())?;
                values.push(days);
                Ok(())
            }
            (LogicalType::Uuid, Values::Uuid(values)) => {
                let uuid = uuid::Uuid::try_parse(text).map_err(|_| Misfit::Form("a UUID"))?;
                values.push(uuid.into_bytes());
                Ok(())
            }
            (LogicalType::Bool | LogicalType::Json | LogicalType::Bytes, _) => Err(Misfit::Kind("a string")),
            // 64-bit numbers and decimals are often quoted, since JavaScript would round them.
            _ => self.digits(text),
        }
    }

    /// A nested object or array, as it was written.
    pub(super) fn nested(self, json: &str, kind: &'static str) -> Result<(), Misfit> {
        match (&self.rule.logical, &mut self.column.values) {
            (LogicalType::String, Values::Text(values)) => push(self.rule, values, json)?,
            (LogicalType::Json, _) if has_half_a_pair(json) => return Err(HALF_A_PAIR),
            (LogicalType::Json, Values::Text(values)) if json.starts_with('{') => values.push(json),
            _ => return Err(Misfit::Kind(kind)),
        }
        Ok(())
    }

    /// A number for a date or a timestamp, as it was written: a count of the rule's unit, or of the column's own ticks.
    fn time_number(self, text: &str) -> Result<(), Misfit> {
        let Self { rule, column } = self;
        let refused = |misfit: Misfit| if rule.unit.is_none() { Misfit::Ticks } else { misfit };
        let moved = match (&rule.logical, rule.unit.and_then(Unit::digits)) {
            (LogicalType::Timestamp { digits }, Some(counted)) => i16::from(*digits) - i16::from(counted),
            _ => 0,
        };
        let number = decimal::parse(text, 78, moved).map_err(|error| refused(misfit_of_decimal(error)))?;
        let number =
            number.signed().and_then(|number| i128::try_from(number).ok()).ok_or(Misfit::Range).map_err(refused)?;
        match &mut column.values {
            Values::Int64(values) => {
                let ticks = i64::try_from(number).map_err(|_| refused(Misfit::Range))?;
                in_range(rule, ticks).map_err(refused)?;
                values.push(ticks);
            }
            Values::Int32(values) => {
                let a_day = match rule.unit.and_then(Unit::digits) {
                    None => 1,
                    Some(digits) => 86_400 * 10_i128.pow(digits.into()),
                };
                if number % a_day != 0 {
                    return Err(Misfit::Unheld("a time of day"));
                }
                let days = i32::try_from(number / a_day).map_err(|_| Misfit::Range)?;
                in_range(rule, days.into())?;
                values.push(days);
            }
            _ => return Err(Misfit::Kind(NUMBER)),
        }
        Ok(())
    }

    fn digits(self, text: &str) -> Result<(), Misfit> {
        let (precision, scale) = match (&self.rule.logical, &mut self.column.values) {
            (_, Values::Float64(v)) => {
                v.push(parse_float(text, f64::is_infinite)?);
                return Ok(());
            }
            (_, Values::Float32(v)) => {
                v.push(parse_float(text, f32::is_infinite)?);
                return Ok(());
            }
            (LogicalType::Decimal { precision, scale }, _) => (*precision, (*scale).into()),
            // Enough for every integer of 256 bits; the conversion below finds what is beyond the column.
            _ => (78, 0),
        };
        let number = decimal::parse(text, precision, scale).map_err(misfit_of_decimal)?;
        if let LogicalType::UInt256 = self.rule.logical {
            let Values::Int256(v) = &mut self.column.values else { return Err(Misfit::Kind(NUMBER)) };
            v.push(number.unsigned().ok_or(Misfit::Range)?.to_le_bytes());
            return Ok(());
        }
        push_integer(&mut self.column.values, number)?;
        match (&self.rule.range, &self.column.values) {
            (Some(_), Values::Int64(v)) => in_range(self.rule, v.last().copied().unwrap_or_default()),
            _ => Ok(()),
        }
    }
}

impl ValueRule {
    /// Whether no number, however it is written, is a value of this type.
    fn takes_no_number(&self) -> bool {
        use LogicalType as T;
        matches!(
            self.logical,
            T::Uuid
                | T::Bytes
                | T::FixedString { .. }
                | T::Ipv4
                | T::Ipv6
                | T::Json
                | T::List(_)
                | T::Map(_)
                | T::Struct(_)
        ) || self.logical == T::Date && self.unit.is_none()
    }

    /// Why such a type takes none.
    fn no_number(&self) -> Misfit {
        if self.counts_time() { Misfit::TimeNumber } else { Misfit::Kind(NUMBER) }
    }
}

pub(super) fn push_integer(values: &mut Values, number: decimal::Integer) -> Result<(), Misfit> {
    fn fit<T: TryFrom<i128>>(values: &mut Vec<T>, number: decimal::Integer) -> Result<(), Misfit> {
        let number = number.signed().and_then(|number| i128::try_from(number).ok()).ok_or(Misfit::Range)?;
        values.push(T::try_from(number).map_err(|_| Misfit::Range)?);
        Ok(())
    }
    match values {
        Values::Bool(v) => {
            fit(v, number)?;
            if v.last().is_some_and(|v| *v > 1) {
                return Err(Misfit::Range);
            }
        }
        Values::Int8(v) => fit(v, number)?,
        Values::Int16(v) => fit(v, number)?,
        Values::Int32(v) => fit(v, number)?,
        Values::Int64(v) => fit(v, number)?,
        Values::UInt8(v) => fit(v, number)?,
        Values::UInt16(v) => fit(v, number)?,
        Values::UInt32(v) => fit(v, number)?,
        Values::UInt64(v) => fit(v, number)?,
        Values::Int128(v) => fit(v, number)?,
        Values::UInt128(v) => {
            let number = number.unsigned().and_then(|number| u128::try_from(number).ok());
            v.push(number.ok_or(Misfit::Range)?);
        }
        Values::Int256(v) => v.push(number.signed().ok_or(Misfit::Range)?.to_le_bytes()),
        _ => return Err(Misfit::Kind(NUMBER)),
    }
    Ok(())
}

/// The nearest float; a number too large for it is refused, while `NaN` and `Infinity` may be said in a string.
fn parse_float<T: std::str::FromStr + Copy>(text: &str, infinite: fn(T) -> bool) -> Result<T, Misfit> {
    let value: T = text.parse().map_err(|_| Misfit::Form("a number"))?;
    if infinite(value) && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(Misfit::Range);
    }
    Ok(value)
}

/// Appends a text to a string column, if there is room for it.
#[inline]
fn push(rule: &ValueRule, texts: &mut Text, text: &str) -> Result<(), Misfit> {
    if let Some(length) = rule.length {
        let length = length as usize;
        // No text has more characters than bytes.
        let characters = if text.len() <= length { 0 } else { text.chars().count() };
        if characters > length {
            return Err(Misfit::Length(characters));
        }
    }
    texts.push(text);
    Ok(())
}

pub(super) fn in_range(rule: &ValueRule, value: i64) -> Result<(), Misfit> {
    match &rule.range {
        Some(range) if !range.contains(&value) => Err(Misfit::Range),
        _ => Ok(()),
    }
}

impl Unit {
    /// It is 10^−this seconds; none for days.
    fn digits(self) -> Option<u8> {
        match self {
            Self::Seconds => Some(0),
            Self::Milliseconds => Some(3),
            Self::Microseconds => Some(6),
            Self::Nanoseconds => Some(9),
            Self::Days => None,
        }
    }
}

fn misfit_of_decimal(error: decimal::DecimalError) -> Misfit {
    match error {
        decimal::DecimalError::Syntax => Misfit::Form("a number"),
        decimal::DecimalError::TooPrecise => Misfit::Precision,
        decimal::DecimalError::TooLarge => Misfit::Range,
    }
}

fn misfit_of_time(error: time::TimeError, form: &'static str) -> Misfit {
    match error {
        time::TimeError::Syntax => Misfit::Form(form),
        time::TimeError::TooPrecise => Misfit::Precision,
        time::TimeError::OutOfRange => Misfit::Range,
        time::TimeError::Unheld(what) => Misfit::Unheld(what),
    }
}
