//! Values that come with a type of their own, as formats with schemas have them.
//!
//! - [`Typed`]: one such value, into a column or a JSON text
//! - `schema`: what records are; `fields`: the columns that they ask for
//! - `compile`: a schema and a program into steps, one for each field; `row`: a row that is filled by them, `put` its
//!   values
//! - [`Input`]: what a format has to offer for that

mod compile;
mod fields;
mod input;
mod put;
mod row;
mod schema;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ethnum::I256;
use jiff::civil;
use rowfall_dialects::contract::{Column, LogicalType, Values};

pub(crate) use self::compile::{Named, Step, Steps};
pub(crate) use self::input::Input;
pub(crate) use self::row::{Fault, Row};
pub use self::schema::Schema;
pub(crate) use self::schema::{Field, Type, TypeId, meaning};
use super::cell::{Cell, Misfit, in_range, push_integer};
use super::decimal::Integer;
use super::json::Sonic;
use super::program::ValueRule;
use super::{nested, time};

const SECONDS_A_DAY: i64 = 86_400;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Typed<'v> {
    Bool(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Text(&'v str),
    Bytes(&'v [u8]),
    /// A text that holds JSON.
    Json(&'v str),
    /// `unscaled` × 10^−`scale`.
    Decimal {
        unscaled: I256,
        scale: u8,
    },
    /// Days since 1970-01-01.
    Date(i64),
    /// Since midnight, in units of 10^−`digits` seconds.
    Time {
        ticks: i64,
        digits: u8,
    },
    /// Since 1970-01-01T00:00:00, in units of 10^−`digits` seconds: in UTC, or `local`, as clocks on the wall show it.
    Timestamp {
        ticks: i64,
        digits: u8,
        local: bool,
    },
    /// In the order in which it is written.
    Uuid([u8; 16]),
    /// A span of time in parts that do not add up to one number.
    Duration {
        months: u32,
        days: u32,
        milliseconds: u32,
    },
}

impl Typed<'_> {
    /// Appends the value to the column: exactly, or not at all.
    // Where the kind of value is known, little of it is left.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn put(self, rule: &ValueRule, column: &mut Column) -> Result<(), Misfit> {
        if let Values::Variant(_) = column.values {
            return self.put_variant(rule, column);
        }
        match (self, &rule.logical, &mut column.values) {
            (Self::Bool(value), ..) => Cell { rule, column }.boolean(value),
            (Self::Integer(value), ..) => put_integer(value, rule, column),
            (Self::Float(value), _, Values::Float32(values)) => {
                values.push(value);
                Ok(())
            }
            (Self::Double(value), _, Values::Float64(values)) => {
                values.push(value);
                Ok(())
            }
            (Self::Float(value), _, Values::Float64(values)) => {
                values.push(value.into());
                Ok(())
            }
            (Self::Double(value), _, Values::Float32(values)) => {
                values.push(narrow(value)?);
                Ok(())
            }
            (Self::Float(value), ..) => put_float(value.into(), value, rule, column),
            (Self::Double(value), ..) => put_float(value, value, rule, column),
            (Self::Text(text), LogicalType::String, _) => Cell { rule, column }.text(text),
            (Self::Text(text) | Self::Json(text), ..) => nested::put_text::<Sonic>(rule, column, text),
            (Self::Bytes(bytes), ..) => put_bytes(bytes, rule, column),
            (Self::Decimal { unscaled, scale }, LogicalType::Decimal { precision, scale: to }, values) => {
                if scale == *to && put_small(unscaled, *precision, values) {
                    return Ok(());
                }
                let unscaled = rescaled(unscaled, scale, *to)?;
                if unscaled.unsigned_abs() >= power_of_ten(u32::from(*precision)).unsigned_abs() {
                    return Err(Misfit::Range);
                }
                push_integer(values, Integer::from(unscaled))
            }
            (Self::Date(days), LogicalType::Date, Values::Int32(values)) => {
                in_range(rule, days)?;
                values.push(i32::try_from(days).map_err(|_| Misfit::Range)?);
                Ok(())
            }
            (Self::Date(days), LogicalType::Timestamp { digits }, Values::Int64(values)) => {
                let wall = days.checked_mul(SECONDS_A_DAY).ok_or(Misfit::Range)?;
                push_ticks(rule, values, rescaled_ticks(wall, 0, *digits)?, wall, *digits)
            }
            (Self::Time { ticks, digits }, LogicalType::Time { digits: to }, Values::Int64(values)) => {
                let ticks = rescaled_ticks(ticks, digits, *to)?;
                in_range(rule, ticks)?;
                values.push(ticks);
                Ok(())
            }
            (
                Self::Timestamp { ticks, digits, local },
                LogicalType::Timestamp { digits: to },
                Values::Int64(values),
            ) => {
                let moved = rescaled_ticks(ticks, digits, *to)?;
                if local {
                    return push_ticks(rule, values, moved, ticks.div_euclid(10_i64.pow(digits.into())), *to);
                }
                in_range(rule, moved)?;
                values.push(moved);
                Ok(())
            }
            (Self::Timestamp { ticks, digits, .. }, LogicalType::Date, Values::Int32(values)) => {
                let a_day = SECONDS_A_DAY * 10_i64.pow(digits.into());
                if ticks % a_day != 0 {
                    return Err(Misfit::Unheld("a time of day"));
                }
                in_range(rule, ticks / a_day)?;
                values.push(i32::try_from(ticks / a_day).map_err(|_| Misfit::Range)?);
                Ok(())
            }
            // What a number counts is known only here; who wants the number has it.
            (
                Self::Date(number) | Self::Time { ticks: number, .. } | Self::Timestamp { ticks: number, .. },
                logical,
                _,
            ) if logical.is_integer() => put_integer(number, rule, column),
            (Self::Uuid(bytes), LogicalType::Uuid, Values::Uuid(values)) => {
                values.push(bytes);
                Ok(())
            }
            (Self::Uuid(bytes), LogicalType::Bytes, _) => put_bytes(&bytes, rule, column),
            (Self::Decimal { .. }, ..) => Cell { rule, column }.number(&self.text()?),
            (_, LogicalType::String, _) => Cell { rule, column }.text(&self.text()?),
            _ => Err(Misfit::Kind(self.kind())),
        }
    }

    /// Whether it is this text, or its bytes.
    #[inline]
    pub(crate) fn is(self, text: &str) -> bool {
        match self {
            Self::Text(value) | Self::Json(value) => value == text,
            Self::Bytes(value) => value == text.as_bytes(),
            _ => false,
        }
    }

    /// The first type that the value fits.
    fn put_variant(self, rule: &ValueRule, column: &mut Column) -> Result<(), Misfit> {
        nested::put_first(rule, column, |logical| self.is_of_kind(logical), |rule, column| self.put(rule, column))
    }

    fn is_of_kind(self, logical: &LogicalType) -> bool {
        use LogicalType as T;
        match self {
            Self::Bool(_) => *logical == T::Bool,
            Self::Integer(_) => logical.is_integer(),
            Self::Float(_) | Self::Double(_) => matches!(logical, T::Float32 | T::Float64),
            Self::Text(_) => *logical == T::String,
            Self::Bytes(_) => matches!(logical, T::Bytes | T::FixedString { .. }),
            Self::Json(_) => *logical == T::Json,
            Self::Decimal { .. } => matches!(logical, T::Decimal { .. }),
            Self::Date(_) => *logical == T::Date,
            Self::Time { .. } => matches!(logical, T::Time { .. }),
            Self::Timestamp { .. } => matches!(logical, T::Timestamp { .. }),
            Self::Uuid(_) => *logical == T::Uuid,
            Self::Duration { .. } => false,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) | Self::Double(_) => "a number",
            Self::Text(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "JSON",
            Self::Decimal { .. } => "a decimal",
            Self::Date(_) => "a date",
            Self::Time { .. } => "a time of day",
            Self::Timestamp { .. } => "a timestamp",
            Self::Uuid(_) => "a UUID",
            Self::Duration { .. } => "a duration",
        }
    }

    /// As people write it; bytes as base64.
    ///
    /// # Errors
    /// When nobody writes such a value: a day beyond the calendar.
    pub(crate) fn text(self) -> Result<String, Misfit> {
        Ok(match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => float_text(value.into(), value),
            Self::Double(value) => float_text(value, value),
            Self::Text(text) | Self::Json(text) => text.to_owned(),
            Self::Bytes(bytes) => STANDARD.encode(bytes),
            Self::Decimal { unscaled, scale } => decimal_text(unscaled, scale),
            Self::Date(days) => wall(days.checked_mul(SECONDS_A_DAY), 0)?.date().to_string(),
            Self::Time { ticks, digits } => time_text(ticks, digits),
            Self::Timestamp { ticks, digits, local } => {
                let second = 10_i64.pow(digits.into());
                let rest = ticks.rem_euclid(second) * 10_i64.pow(u32::from(9 - digits));
                let text = wall(Some(ticks.div_euclid(second)), i32::try_from(rest).expect("below 10^9"))?.to_string();
                if local { text } else { text + "Z" }
            }
            Self::Uuid(bytes) => uuid::Uuid::from_bytes(bytes).to_string(),
            Self::Duration { months, days, milliseconds } => {
                format!("P{months}M{days}DT{}.{:03}S", milliseconds / 1000, milliseconds % 1000)
            }
        })
    }

    /// Appends it to a JSON text.
    ///
    /// # Errors
    /// As [`Typed::text`].
    pub(crate) fn json(self, out: &mut String) -> Result<(), Misfit> {
        match self {
            Self::Float(value) if !value.is_finite() => quoted(out, &self.text()?),
            Self::Double(value) if !value.is_finite() => quoted(out, &self.text()?),
            // With an exponent where that is shorter.
            Self::Float(value) => write!(out, "{value:?}").expect("a String can be written to"),
            Self::Double(value) => write!(out, "{value:?}").expect("a String can be written to"),
            Self::Bool(_) | Self::Integer(_) | Self::Decimal { .. } => {
                out.push_str(&self.text()?);
            }
            Self::Json(text) => out.push_str(text),
            Self::Text(text) => quoted(out, text),
            _ => quoted(out, &self.text()?),
        }
        Ok(())
    }
}

/// Appends a JSON string.
pub(crate) fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[inline]
fn put_integer(value: i64, rule: &ValueRule, column: &mut Column) -> Result<(), Misfit> {
    match (Cell { rule, column: &mut *column }).signed(value) {
        Err(Misfit::NeedsText) => Cell { rule, column }.number(&value.to_string()),
        done => done,
    }
}

/// `shortest`: the same with as many bits as it came with, whose shortest text is what everybody shows.
fn put_float(value: f64, shortest: impl ToString, rule: &ValueRule, column: &mut Column) -> Result<(), Misfit> {
    if !value.is_finite() && rule.logical != LogicalType::String {
        return Err(Misfit::Kind("a number that is not finite"));
    }
    match (Cell { rule, column: &mut *column }).float(value) {
        Err(Misfit::NeedsText) => Cell { rule, column }.number(&float_text(value, shortest)),
        done => done,
    }
}

fn float_text(value: f64, shortest: impl ToString) -> String {
    match value {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => shortest.to_string(),
    }
}

/// The float of 32 bits that is this number.
#[expect(clippy::cast_possible_truncation, reason = "what it changes is refused")]
fn narrow(value: f64) -> Result<f32, Misfit> {
    let narrow = value as f32;
    if f64::from(narrow) == value || value.is_nan() { Ok(narrow) } else { Err(Misfit::Precision) }
}

fn put_bytes(bytes: &[u8], rule: &ValueRule, column: &mut Column) -> Result<(), Misfit> {
    let fits = match rule.logical {
        LogicalType::Bytes => rule.length.is_none_or(|length| bytes.len() <= length as usize),
        LogicalType::String if rule.binary => true,
        // What is shorter would be filled up.
        LogicalType::FixedString { bytes: size } if rule.binary => bytes.len() == size as usize,
        LogicalType::String | LogicalType::FixedString { .. } => {
            let text = std::str::from_utf8(bytes).map_err(|_| Misfit::Form("UTF-8"))?;
            return Cell { rule, column }.text(text);
        }
        _ => return Err(Misfit::Kind("bytes")),
    };
    match &mut column.values {
        Values::Text(values) if fits => {
            values.bytes.extend_from_slice(bytes);
            values.end_row();
            Ok(())
        }
        _ => Err(Misfit::Length(bytes.len())),
    }
}

/// Appends a decimal of the column's own scale, if it has 64 bits and room: nearly all of them.
#[inline]
fn put_small(unscaled: I256, precision: u8, values: &mut Values) -> bool {
    let Ok(small) = i64::try_from(unscaled) else { return false };
    if small.unsigned_abs() >= POWERS.get(usize::from(precision)).copied().unwrap_or(u64::MAX) {
        return false;
    }
    match (values, i32::try_from(small)) {
        (Values::Int64(values), _) => values.push(small),
        (Values::Int32(values), Ok(smaller)) => values.push(smaller),
        (Values::Int128(values), _) => values.push(small.into()),
        _ => return false,
    }
    true
}

/// Powers of ten of 64 bits.
const POWERS: [u64; 20] = {
    let (mut powers, mut at) = ([1; 20], 1);
    while at < 20 {
        powers[at] = 10 * powers[at - 1];
        at += 1;
    }
    powers
};

fn power_of_ten(exponent: u32) -> I256 {
    match 10_i128.checked_pow(exponent) {
        Some(power) => I256::from(power),
        None => I256::new(10).pow(exponent),
    }
}

#[inline]
fn rescaled(unscaled: I256, from: u8, to: u8) -> Result<I256, Misfit> {
    match u32::from(from.abs_diff(to)) {
        0 => Ok(unscaled),
        // No decimal has so many digits, but for zero.
        77.. if unscaled == 0 => Ok(unscaled),
        77.. => Err(if to > from { Misfit::Range } else { Misfit::Precision }),
        more if to > from => unscaled.checked_mul(power_of_ten(more)).ok_or(Misfit::Range),
        fewer => {
            let power = power_of_ten(fewer);
            if unscaled % power == 0 { Ok(unscaled / power) } else { Err(Misfit::Precision) }
        }
    }
}

#[inline]
fn rescaled_ticks(ticks: i64, from: u8, to: u8) -> Result<i64, Misfit> {
    if from == to {
        return Ok(ticks);
    }
    let power = 10_i64.pow(from.abs_diff(to).into());
    match to >= from {
        true => ticks.checked_mul(power).ok_or(Misfit::Range),
        false if ticks % power == 0 => Ok(ticks / power),
        false => Err(Misfit::Precision),
    }
}

/// Appends what clocks on the wall show in the column's zone; `wall` in seconds.
fn push_ticks(rule: &ValueRule, values: &mut Vec<i64>, ticks: i64, wall: i64, digits: u8) -> Result<(), Misfit> {
    let offset = match rule.zone.to_fixed_offset() {
        Ok(fixed) => i64::from(fixed.seconds()),
        Err(_) => time::zone_offset(wall, &rule.zone).map_err(|_| Misfit::Range)?,
    };
    let offset = offset.checked_mul(10_i64.pow(digits.into()));
    let ticks = offset.and_then(|offset| ticks.checked_sub(offset)).ok_or(Misfit::Range)?;
    in_range(rule, ticks)?;
    values.push(ticks);
    Ok(())
}

/// What clocks show so many seconds after 1970 began.
fn wall(seconds: Option<i64>, nanoseconds: i32) -> Result<civil::DateTime, Misfit> {
    let since = jiff::Timestamp::new(seconds.ok_or(Misfit::Range)?, nanoseconds).map_err(|_| Misfit::Range)?;
    Ok(jiff::tz::TimeZone::UTC.to_datetime(since))
}

fn time_text(ticks: i64, digits: u8) -> String {
    let second = 10_u64.pow(digits.into());
    let (seconds, fraction) = (ticks.unsigned_abs() / second, ticks.unsigned_abs() % second);
    let sign = if ticks < 0 { "-" } else { "" };
    let whole = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => whole,
        _ => format!("{whole}.{fraction:0digits$}", digits = usize::from(digits)).trim_end_matches('0').to_owned(),
    }
}

fn decimal_text(unscaled: I256, scale: u8) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs().to_string(), width = usize::from(scale) + 1);
    let sign = if unscaled < 0 { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A number of any size as converters write it: two's complement, the first byte the most significant. `None` beyond 256
/// bits.
#[inline]
pub(crate) fn unscaled(bytes: &[u8]) -> Option<I256> {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    if bytes.len() <= 16 {
        let mut wide = [fill; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        return Some(I256::from(i128::from_be_bytes(wide)));
    }
    // Some fill up what they write.
    let (more, bytes) = bytes.split_at(bytes.len().saturating_sub(32));
    let is_filling = more.iter().all(|byte| *byte == fill) && (more.is_empty() || bytes[0] & 0x80 == fill & 0x80);
    let mut wide = [fill; 32];
    wide[32 - bytes.len()..].copy_from_slice(bytes);
    is_filling.then(|| I256::from_be_bytes(wide))
}
