//! The binary form of `numeric`: digits of base 10,000 behind a header of four 16-bit numbers.

use ethnum::{I256, U256};

/// Digits of 76 decimal ones and of their fill-ups, at most.
type Groups = [u16; 21];

/// The digits of `value × 10^−scale` from the last one on, and how many stand behind the point; the last of these is
/// filled up to four decimal digits.
trait Magnitude: Copy {
    fn groups(self, scale: u8, groups: &mut Groups) -> usize;
}

/// Splits off what stands behind the last group's border, then groups of four digits.
macro_rules! magnitude {
    ($($type:ty)*) => {$(
        impl Magnitude for $type {
            #[expect(clippy::cast_possible_truncation, reason = "below 10,000")]
            fn groups(mut self, scale: u8, groups: &mut Groups) -> usize {
                let mut count = 0;
                let odd = u32::from(scale % 4);
                if odd > 0 {
                    let unit = (10 as $type).pow(odd);
                    groups[0] = ((self % unit) as u16) * 10_u16.pow(4 - odd);
                    (self, count) = (self / unit, 1);
                }
                while self > 0 {
                    groups[count] = (self % 10_000) as u16;
                    (self, count) = (self / 10_000, count + 1);
                }
                count
            }
        }
    )*};
}

magnitude!(u64 u128);

/// Through pieces of 36 digits, since a division of 256 bits is slow.
impl Magnitude for U256 {
    fn groups(self, scale: u8, groups: &mut Groups) -> usize {
        let unit = U256::from(10_u8).pow(36);
        let odd = u32::from(scale % 4);
        let scaled = if odd == 0 { U256::ZERO } else { self % U256::from(10_u8).pow(odd) };
        let mut rest = if odd == 0 { self } else { self / U256::from(10_u8).pow(odd) };
        let mut count = usize::from(odd > 0);
        if odd > 0 {
            groups[0] = u16::try_from(scaled.as_u32() * 10_u32.pow(4 - odd)).expect("below 10,000");
        }
        while rest > U256::ZERO {
            let mut piece: Groups = [0; 21];
            (rest % unit).as_u128().groups(0, &mut piece);
            let length = 9.min(groups.len() - count);
            groups[count..count + length].copy_from_slice(&piece[..length]);
            (rest, count) = (rest / unit, count + length);
        }
        count
    }
}

/// Appends the value with its length in front. With `fixed` the scale stays as it is, otherwise zeros at the end go.
pub(super) fn put_i64(out: &mut Vec<u8>, unscaled: i64, scale: u8, fixed: bool) {
    put(out, unscaled < 0, unscaled.unsigned_abs(), scale, fixed);
}

/// As [`put_i64`].
pub(super) fn put_i128(out: &mut Vec<u8>, unscaled: i128, scale: u8, fixed: bool) {
    put(out, unscaled < 0, unscaled.unsigned_abs(), scale, fixed);
}

/// As [`put_i64`].
pub(super) fn put_i256(out: &mut Vec<u8>, unscaled: I256, scale: u8, fixed: bool) {
    put(out, unscaled < I256::ZERO, unscaled.unsigned_abs(), scale, fixed);
}

fn put(out: &mut Vec<u8>, negative: bool, magnitude: impl Magnitude, scale: u8, fixed: bool) {
    let mut groups: Groups = [0; 21];
    let mut count = magnitude.groups(scale, &mut groups);
    while count > 0 && groups[count - 1] == 0 {
        count -= 1;
    }
    let behind = usize::from(scale.div_ceil(4));
    let last = groups[..count].iter().position(|group| *group != 0).unwrap_or(count);
    let used = &groups[last..count];
    let scale = if fixed { scale.into() } else { needed_scale(used, behind.saturating_sub(last)) };
    let number = |value: usize| u16::try_from(value).expect("a few digits").to_be_bytes();
    let weight = i16::try_from(count).expect("few") - i16::try_from(behind).expect("few") - 1;
    let sign: u16 = if negative && !used.is_empty() { 0x4000 } else { 0 };
    out.extend_from_slice(&u32::try_from(8 + 2 * used.len()).expect("few").to_be_bytes());
    out.extend_from_slice(&number(used.len()));
    out.extend_from_slice(&if used.is_empty() { 0 } else { weight }.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&number(scale));
    for group in used.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// Decimal digits behind the point up to the last that is not zero, given how many groups are behind it.
fn needed_scale(used: &[u16], behind: usize) -> usize {
    match used.first() {
        Some(last) if behind > 0 => {
            let zeros = (1..4).take_while(|digits| last % 10_u16.pow(*digits) == 0).count();
            behind * 4 - zeros
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the binary form says, as text with its scale.
    fn read(bytes: &[u8]) -> String {
        let numbers: Vec<_> = bytes[4..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let [count, weight, sign, scale, digits @ ..] = numbers.as_slice() else { panic!("a header") };
        assert_eq!((usize::from(*count), bytes.len() - 4), (digits.len(), 8 + 2 * digits.len()));
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let weight = i32::from(weight.cast_signed());
        let group =
            |place: i32| usize::try_from(weight - place).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0);
        let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
        let behind: String = (1..=i32::from(scale.div_ceil(4))).map(|place| format!("{:04}", group(-place))).collect();
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if *sign == 0x4000 { "-" } else { "" };
        match usize::from(*scale) {
            0 => format!("{sign}{whole}"),
            scale => format!("{sign}{whole}.{}", &behind[..scale]),
        }
    }

    fn expected(unscaled: impl std::fmt::Display, scale: u8) -> String {
        let mut text = String::new();
        crate::generic::push_decimal(&mut text, unscaled, scale);
        text
    }

    fn shortened(text: &str) -> &str {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
    }

    proptest! {
        #[test]
        fn every_width_says_the_number(narrow: i64, wide: i128, high: i128, scale in 0u8..=38) {
            let write = |put: &dyn Fn(&mut Vec<u8>, bool), fixed| {
                let mut out = Vec::new();
                put(&mut out, fixed);
                read(&out)
            };
            let widest = I256::from_words(high >> 5, wide);
            let narrow_scale = scale % 19;
            for (put, text) in [
                (&(|out: &mut Vec<u8>, fixed: bool| put_i64(out, narrow, narrow_scale, fixed)) as &dyn Fn(&mut Vec<u8>, bool), expected(narrow, narrow_scale)),
                (&|out: &mut Vec<u8>, fixed: bool| put_i128(out, wide, scale, fixed), expected(wide, scale)),
                (&|out: &mut Vec<u8>, fixed: bool| put_i256(out, widest, scale * 2, fixed), expected(widest, scale * 2)),
                (&|out: &mut Vec<u8>, fixed: bool| put_i256(out, wide.into(), scale, fixed), expected(wide, scale)),
            ] {
                prop_assert_eq!(write(put, true), text.clone());
                prop_assert_eq!(write(put, false), shortened(&text));
            }
        }
    }

    #[test]
    fn zeros_and_ends_are_written() {
        for (unscaled, scale, fixed) in [
            (0, 0, "0"),
            (0, 4, "0.0000"),
            (1, 38, &format!("0.{}1", "0".repeat(37))),
            (10_000, 4, "1.0000"),
            (-5, 1, "-0.5"),
            (120_000, 0, "120000"),
        ] {
            let mut out = Vec::new();
            put_i128(&mut out, unscaled, scale, true);
            assert_eq!(read(&out), fixed);
        }
        let nines = I256::from_str_radix(&"9".repeat(76), 10).unwrap();
        for scale in [0, 1, 2, 3, 4, 38, 75, 76] {
            let mut out = Vec::new();
            put_i256(&mut out, -nines, scale, true);
            assert_eq!(read(&out), expected(-nines, scale));
        }
    }
}
