//! Avro's values, as rows are made of them.

use super::wire::Reader;
use crate::decode::cell::Misfit;
use crate::decode::typed::{Fault, Input, Schema, Type, TypeId, Typed, unscaled};

const TOO_LARGE: Fault = Fault::Misfit(Misfit::Range);

impl Input for Reader<'_> {
    const ORDERED: bool = true;

    #[inline]
    fn branch<'s>(&mut self, schema: &'s Schema, id: TypeId) -> Result<&'s Type, Fault> {
        match schema.of(id) {
            Type::Union(branches) => Ok(schema.of(branches[self.index(branches.len())?])),
            known => Ok(known),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn scalar<R, E: From<Fault>>(&mut self, kind: &Type, take: impl FnOnce(Typed<'_>) -> Result<R, E>) -> Result<R, E> {
        match kind {
            Type::Integer { short: false } => take(Typed::Integer(self.long()?)),
            Type::Integer { short: true } => take(Typed::Integer(self.int()?.into())),
            Type::String | Type::UuidText | Type::TimestampText => take(Typed::Text(self.string()?)),
            Type::Double => take(Typed::Double(self.double()?)),
            Type::Float => take(Typed::Float(self.float()?)),
            Type::Boolean => take(Typed::Bool(self.boolean()?)),
            Type::Timestamp { digits, local } => {
                take(Typed::Timestamp { ticks: self.long()?, digits: *digits, local: *local })
            }
            Type::Decimal { scale, size, .. } => {
                let bytes = match size {
                    Some(size) => self.fixed(*size)?,
                    None => self.bytes()?,
                };
                take(Typed::Decimal { unscaled: unscaled(bytes).ok_or(TOO_LARGE)?, scale: *scale })
            }
            Type::Enum(symbols) => take(Typed::Text(&symbols[self.index(symbols.len())?])),
            Type::Date => take(Typed::Date(self.int()?.into())),
            Type::Time { digits } => take(Typed::Time { ticks: self.long()?, digits: *digits }),
            Type::Bytes => take(Typed::Bytes(self.bytes()?)),
            Type::Fixed(size) => take(Typed::Bytes(self.fixed(*size)?)),
            Type::Uuid => take(Typed::Uuid(self.fixed(16)?.try_into().expect("16 bytes"))),
            Type::Json => take(Typed::Json(self.string()?)),
            Type::VariableDecimal => {
                let scale = self.int()?;
                let number = unscaled(self.bytes()?).ok_or(TOO_LARGE)?;
                // A scale below zero counts tens.
                take(Typed::Decimal { unscaled: number, scale: u8::try_from(scale).map_err(|_| TOO_LARGE)? })
            }
            Type::Duration => {
                let [months, days, milliseconds] =
                    [(); 3].map(|()| self.fixed(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes"))));
                take(Typed::Duration { months: months?, days: days?, milliseconds: milliseconds? })
            }
            Type::Null | Type::Union(_) | Type::Array(_) | Type::Map(_) | Type::Record(_) => {
                unreachable!("whoever reads values looks for these first")
            }
        }
    }

    fn elements<E: From<Fault>>(
        &mut self,
        empty: bool,
        mut take: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter()?;
        loop {
            let count = self.block(empty)?;
            if count == 0 {
                break;
            }
            (0..count).try_for_each(|_| take(self))?;
        }
        self.leave();
        Ok(())
    }

    fn entries<E: From<Fault>>(&mut self, mut take: impl FnMut(&str, &mut Self) -> Result<(), E>) -> Result<(), E> {
        self.elements(false, |input| {
            let key = input.string()?;
            take(key, input)
        })
    }

    #[inline]
    fn fields<'n, E: From<Fault>>(
        &mut self,
        count: usize,
        _: impl Fn(usize) -> &'n str,
        mut take: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.enter()?;
        (0..count).try_for_each(|at| take(at, self))?;
        self.leave();
        Ok(count)
    }

    #[inline]
    fn skip(&mut self, schema: &Schema, id: TypeId) -> Result<(), Fault> {
        match self.branch(schema, id)? {
            Type::Null => Ok(()),
            Type::Array(item) => self.elements(schema.may_be_empty(*item), |input| input.skip(schema, *item)),
            Type::Map(value) => self.entries(|_, input| input.skip(schema, *value)),
            Type::Record(fields) => {
                self.fields(fields.len(), |_| "", |at, input| input.skip(schema, fields[at].id)).map(drop)
            }
            scalar => self.scalar(scalar, |_| Ok(())),
        }
    }
}
