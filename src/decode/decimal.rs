//! Exact decimals from the text of a number.

use ethnum::{I256, U256};

/// Why a text is no decimal of the wanted precision and scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// It is no number.
    Syntax,
    /// It has digits other than zero behind the last that the scale keeps.
    TooPrecise,
    /// It has more digits than the precision.
    TooLarge,
}

/// An integer of at most 256 bits and a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    negative: bool,
    magnitude: U256,
}

impl From<I256> for Integer {
    fn from(number: I256) -> Self {
        Self { negative: number < 0, magnitude: number.unsigned_abs() }
    }
}

impl Integer {
    /// As a signed number of 256 bits, if it is one.
    pub(crate) fn signed(self) -> Option<I256> {
        match (self.negative, I256::try_from(self.magnitude)) {
            (false, Ok(value)) => Some(value),
            (true, Ok(value)) => Some(-value),
            (true, Err(_)) if self.magnitude == U256::ONE << 255 => Some(I256::MIN),
            (_, Err(_)) => None,
        }
    }

    /// As an unsigned number of 256 bits, if it is one.
    pub(crate) fn unsigned(self) -> Option<U256> {
        (!self.negative || self.magnitude == U256::ZERO).then_some(self.magnitude)
    }
}

/// Reads `[+-]digits[.digits][e[+-]digits]` as an integer count of 10^−`scale` with at most `precision` digits, exactly or
/// not at all.
pub(crate) fn parse(text: &str, precision: u8, scale: i16) -> Result<Integer, DecimalError> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
        None => (bytes, 0),
        Some(at) => (&bytes[..at], parse_exponent(&bytes[at + 1..])?),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    if whole.is_empty() && fraction.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(DecimalError::Syntax);
    }

    let mut digits = Digits { small: 0, large: None, significant: 0 };
    // How many of the digits stand before the unit of the result.
    let kept = i64::try_from(whole.len()).map_err(|_| DecimalError::TooLarge)? + exponent + i64::from(scale);
    let mut position = 0i64;
    for digit in whole.iter().chain(fraction) {
        let digit = digit - b'0';
        if position < kept {
            digits.push(digit, precision)?;
        } else if digit != 0 {
            return Err(DecimalError::TooPrecise);
        }
        position += 1;
    }
    if digits.significant > 0 {
        for _ in position..kept {
            digits.push(0, precision)?;
        }
    }
    Ok(Integer { negative, magnitude: digits.value() })
}

fn parse_exponent(bytes: &[u8]) -> Result<i64, DecimalError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecimalError::Syntax)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    // Beyond what a text's length can make up for only the sign matters: any digit is then too large or too precise.
    let magnitude = digits.parse::<i64>().unwrap_or(1 << 60).min(1 << 60);
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Digits as they come: in 64 bits while they fit, which is nearly always.
struct Digits {
    small: u64,
    large: Option<U256>,
    significant: u8,
}

impl Digits {
    #[inline]
    fn push(&mut self, digit: u8, precision: u8) -> Result<(), DecimalError> {
        if digit == 0 && self.significant == 0 {
            return Ok(());
        }
        self.significant += 1;
        if self.significant > precision {
            return Err(DecimalError::TooLarge);
        }
        match &mut self.large {
            None if self.significant < 19 => self.small = self.small * 10 + u64::from(digit),
            None => self.large = Some(U256::from(self.small) * 10 + U256::from(digit)),
            Some(large) => {
                let more = large.checked_mul(U256::new(10)).and_then(|large| large.checked_add(U256::from(digit)));
                *large = more.ok_or(DecimalError::TooLarge)?;
            }
        }
        Ok(())
    }

    fn value(&self) -> U256 {
        self.large.unwrap_or_else(|| U256::from(self.small))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(text: &str, precision: u8, scale: i16) -> String {
        let signed = |v: Integer| v.signed().map_or_else(|| v.magnitude.to_string(), |v| v.to_string());
        parse(text, precision, scale).map_or_else(|e| format!("{e:?}"), signed)
    }

    #[test]
    fn exact_or_refused() {
        assert_eq!(ok("12.34", 9, 2), "1234");
        assert_eq!(ok("-0.05", 9, 2), "-5");
        assert_eq!(ok("1.50", 9, 1), "15");
        assert_eq!(ok("1.55", 9, 1), "TooPrecise");
        assert_eq!(ok("1e3", 9, 2), "100000");
        assert_eq!(ok("1.23e-2", 9, 4), "123");
        assert_eq!(ok("1.23e-3", 9, 4), "TooPrecise");
        assert_eq!(ok("0e999999999999999999999", 9, 4), "0");
        assert_eq!(ok("1e999999999999999999999", 9, 4), "TooLarge");
        assert_eq!(ok("1e-999999999999999999999", 9, 4), "TooPrecise");
        assert_eq!(ok("99.99", 4, 2), "9999");
        assert_eq!(ok("100.00", 4, 2), "TooLarge");
        assert_eq!(ok("0000000000000000000000000.1", 1, 1), "1");
        assert_eq!(ok("1700000000000", 19, -3), "1700000000");
        assert_eq!(ok("1700000000001", 19, -3), "TooPrecise");
        assert_eq!(ok("1", 19, -9), "TooPrecise");
        assert_eq!(ok("0", 19, -9), "0");
        let far = format!("0.{}1", "0".repeat(1_999_999));
        assert_eq!(ok(&format!("{far}e2000000"), 9, 0), "1");
        assert_eq!(ok(&format!("{far}e3000000"), 9, 0), "TooLarge");
        let nines = "9".repeat(76);
        assert_eq!(ok(&nines, 76, 0), nines);
        assert_eq!(ok(&format!("-{nines}"), 76, 0), format!("-{nines}"));
        let largest = U256::MAX.to_string();
        assert_eq!(ok(&largest, 78, 0), largest);
        assert_eq!(ok(&"9".repeat(78), 78, 0), "TooLarge");
        assert_eq!(ok(&I256::MIN.to_string(), 78, 0), I256::MIN.to_string());
        for text in ["", "-", ".", "1.2.3", "1e", "e1", "0x1", "1 ", "NaN", "١"] {
            assert_eq!(ok(text, 9, 2), "Syntax", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_unscaled_value_comes_back(value in any::<i128>(), scale in 0i16..=38) {
            let digits = value.unsigned_abs().to_string();
            let padded = format!("{digits:0>width$}", width = usize::from(scale.unsigned_abs()) + 1);
            let (whole, fraction) = padded.split_at(padded.len() - usize::from(scale.unsigned_abs()));
            let text = format!("{}{whole}.{fraction}0", if value < 0 { "-" } else { "" });
            prop_assert_eq!(parse(&text, 76, scale).map(Integer::signed), Ok(Some(I256::from(value))));
        }
    }
}
