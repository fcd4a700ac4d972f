//! Values as SQL databases read them from text, exactly. Each function appends to `out`, so that one buffer serves a
//! whole block.

use std::fmt::{Display, Write as _};

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000000000000000";
const SECONDS_PER_DAY: i64 = 86_400;

/// The decimal `unscaled × 10^−scale` with exactly `scale` digits behind the point, at most 76.
pub(crate) fn push_decimal(out: &mut String, unscaled: impl Display, scale: u8) {
    let start = out.len();
    let _ = write!(out, "{unscaled}");
    let scale = usize::from(scale);
    if scale == 0 {
        return;
    }
    let start = start + usize::from(out[start..].starts_with('-'));
    let digits = out.len() - start;
    if digits <= scale {
        out.insert_str(start, &ZEROS[..=scale - digits]);
    }
    out.insert(out.len() - scale, '.');
}

/// `YYYY-MM-DD`, a day of the proleptic Gregorian calendar. Years beyond 0–9999 get more digits or a sign.
pub(crate) fn push_date(out: &mut String, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        let _ = write!(out, "{year:04}");
    } else {
        push_padded(out, year, 4);
    }
    out.push('-');
    push_padded(out, month, 2);
    out.push('-');
    push_padded(out, day, 2);
}

/// `YYYY-MM-DD HH:MM:SS` in UTC, with exactly `digits ≤ 9` digits behind the second.
pub(crate) fn push_timestamp(out: &mut String, ticks: i64, digits: u8) {
    let per_second = 10_i64.pow(digits.into());
    let (seconds, fraction) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    push_date(out, seconds.div_euclid(SECONDS_PER_DAY));
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    for (separator, part) in [(' ', second / 3600), (':', second / 60 % 60), (':', second % 60)] {
        out.push(separator);
        push_padded(out, part, 2);
    }
    if digits > 0 {
        out.push('.');
        push_padded(out, fraction, digits.into());
    }
}

/// `{value:0width$}` of a number that is not negative, without what `write!` costs for each.
fn push_padded(out: &mut String, value: i64, width: usize) {
    let mut digits = [0; 19];
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    while rest > 0 || digits.len() - at < width {
        at -= 1;
        digits[at] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
    }
    out.extend(digits[at..].iter().copied().map(char::from));
}

/// `HH:MM:SS`, with a sign before it where it is below zero and as many hours as there are, and exactly `digits ≤ 9`
/// digits behind the second.
pub(crate) fn push_time(out: &mut String, ticks: i64, digits: u8) {
    let per_second = 10_u64.pow(digits.into());
    if ticks < 0 {
        out.push('-');
    }
    let (seconds, fraction) = (ticks.unsigned_abs() / per_second, ticks.unsigned_abs() % per_second);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if digits > 0 {
        let _ = write!(out, ".{fraction:0width$}", width = usize::from(digits));
    }
}

/// 36 characters, lower case.
pub(crate) fn push_uuid(out: &mut String, uuid: &[u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(HEX[usize::from(byte >> 4)].into());
        out.push(HEX[usize::from(byte & 15)].into());
    }
}

// Both count from 0000-03-01 in eras of 400 years (146,097 days), so that the leap day ends a year:
// https://howardhinnant.github.io/date_algorithms.html

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01.
pub(crate) const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethnum::I256;
    use proptest::prelude::*;

    fn text(push: impl FnOnce(&mut String)) -> String {
        // Something stands before the value, as in a reused buffer.
        let mut out = "7-".to_owned();
        push(&mut out);
        out.split_off(2)
    }

    #[test]
    fn decimals_have_exactly_their_scale() {
        let of = |unscaled: i128, scale| text(|out| push_decimal(out, unscaled, scale));
        assert_eq!(of(-10, 2), "-0.10");
        assert_eq!(of(0, 2), "0.00");
        assert_eq!(of(5, 0), "5");
        assert_eq!(of(-5, 1), "-0.5");
        assert_eq!(of(123_456, 3), "123.456");
        assert_eq!(of(i128::MIN, 38), "-1.70141183460469231731687303715884105728");
        let smallest = text(|out| push_decimal(out, I256::from(1), 76));
        assert_eq!(smallest, format!("0.{}1", "0".repeat(75)));
    }

    #[test]
    fn days_follow_the_calendar() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut days = days_from_civil(-1, 1, 1);
        for year in -1..=10_000 {
            for month in 1..=12 {
                let length = match month {
                    2 if leap(year) => 29,
                    2 => 28,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                for day in 1..=length {
                    assert_eq!(days_from_civil(year, month, day), days);
                    assert_eq!(civil_from_days(days), (year, month, day));
                    days += 1;
                }
            }
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
    }

    #[test]
    fn instants_before_1970_count_down() {
        let of = |ticks, digits| text(|out| push_timestamp(out, ticks, digits));
        assert_eq!(of(0, 0), "1970-01-01 00:00:00");
        assert_eq!(of(-1, 3), "1969-12-31 23:59:59.999");
        assert_eq!(of(1_709_210_096_123_456, 6), "2024-02-29 12:34:56.123456");
        assert_eq!(of(i64::MIN, 9), "1677-09-21 00:12:43.145224192");
        assert_eq!(of(i64::MAX, 9), "2262-04-11 23:47:16.854775807");
    }

    #[test]
    fn times_have_hours_beyond_a_day_and_a_sign() {
        let of = |ticks, digits| text(|out| push_time(out, ticks, digits));
        assert_eq!(of(0, 0), "00:00:00");
        assert_eq!(of(-1, 3), "-00:00:00.001");
        assert_eq!(of(3_020_399_000_000, 6), "838:59:59.000000");
        assert_eq!(of(i64::MIN, 9), "-2562047:47:16.854775808");
    }

    proptest! {
        #[test]
        fn a_decimal_without_its_point_is_the_number(unscaled: i128, scale in 0u8..=38) {
            let written = text(|out| push_decimal(out, unscaled, scale));
            let behind = written.split_once('.').map_or(0, |(_, behind)| behind.len());
            prop_assert_eq!(behind, usize::from(scale));
            prop_assert_eq!(written.replace('.', "").parse::<i128>(), Ok(unscaled));
        }
    }

    #[test]
    fn a_uuid_is_written_in_its_own_order() {
        let uuid = *b"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x0f";
        assert_eq!(text(|out| push_uuid(out, &uuid)), "550e8400-e29b-41d4-a716-44665544000f");
    }
}
