//! Dates and instants from ISO 8601 text, exactly.

use jiff::civil;
use jiff::tz::TimeZone;
use rowfall_dialects::contract::LogicalType;

/// Why a text is no date or instant for the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeError {
    /// It is not `YYYY-MM-DD`, or not `YYYY-MM-DD[T| ]hh:mm:ss[.fraction][Z|±hh:mm]`.
    Syntax,
    /// Its fraction has digits other than zero that the column does not keep.
    TooPrecise,
    /// It is beyond what 64 bits of the column's ticks can count.
    OutOfRange,
    /// It is ISO 8601, and no column holds it: what it has.
    Unheld(&'static str),
}

/// What stands for no instant in a database, or may stand for several.
const LEAP_SECOND: TimeError = TimeError::Unheld("a leap second, `:60`");
const END_OF_DAY: TimeError = TimeError::Unheld("the hour 24: say 00 of the next day");
const LONG_YEAR: TimeError = TimeError::Unheld("a year that is not four digits");
const OTHER_DAY: TimeError = TimeError::Unheld("a week or a day of the year: say month and day");

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Result<i32, TimeError> {
    let (days, rest) = date_prefix(text.as_bytes()).ok_or_else(|| no_date(text))?;
    if rest.is_empty() { Ok(days) } else { Err(TimeError::Syntax) }
}

/// An instant as ticks of 10^−`digits` seconds since 1970-01-01T00:00:00Z.
///
/// A text without an offset is wall time in `zone`; where a zone skips or repeats that time, RFC 5545's rule applies
/// (the offset before the gap; the first of the two).
pub(crate) fn parse_timestamp(text: &str, digits: u8, zone: &TimeZone) -> Result<i64, TimeError> {
    let (days, rest) = date_prefix(text.as_bytes()).ok_or_else(|| no_date(text))?;
    let (seconds, rest) = match rest {
        [] => (0, rest),
        [b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] => {
            let hour = two(*h1, *h2).filter(|h| *h <= 24).ok_or(TimeError::Syntax)?;
            let minute = two(*m1, *m2).filter(|m| *m < 60).ok_or(TimeError::Syntax)?;
            let second = two(*s1, *s2).filter(|s| *s <= 60).ok_or(TimeError::Syntax)?;
            if hour == 24 {
                return Err(END_OF_DAY);
            }
            if second == 60 {
                return Err(LEAP_SECOND);
            }
            (hour * 3600 + minute * 60 + second, rest)
        }
        _ => return Err(TimeError::Syntax),
    };
    let (fraction, rest) = match rest {
        [b'.' | b',', rest @ ..] => {
            let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if length == 0 {
                return Err(TimeError::Syntax);
            }
            (fraction(&rest[..length], digits)?, &rest[length..])
        }
        _ => (0, rest),
    };
    // Go and Ruby put a space before the offset.
    let rest = match rest {
        [b' ', offset @ ..] if matches!(offset, [b'+' | b'-', ..]) => offset,
        _ => rest,
    };
    let wall = i64::from(days) * 86_400 + i64::from(seconds);
    let offset = match rest {
        [] => match zone.to_fixed_offset() {
            Ok(fixed) => i64::from(fixed.seconds()),
            Err(_) => zone_offset(wall, zone)?,
        },
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hour, minute) = match rest {
                [h1, h2] => (two(*h1, *h2), Some(0)),
                [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (two(*h1, *h2), two(*m1, *m2)),
                _ => return Err(TimeError::Syntax),
            };
            let hour = hour.filter(|h| *h < 24).ok_or(TimeError::Syntax)?;
            let minute = minute.filter(|m| *m < 60).ok_or(TimeError::Syntax)?;
            let seconds = i64::from(hour * 3600 + minute * 60);
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return Err(TimeError::Syntax),
    };
    (wall - offset)
        .checked_mul(10i64.pow(u32::from(digits)))
        .and_then(|ticks| ticks.checked_add(fraction))
        .ok_or(TimeError::OutOfRange)
}

/// `[-]h+:mm:ss[.fraction]` as ticks of 10^−`digits` seconds.
pub(crate) fn parse_time(text: &str, digits: u8) -> Result<i64, TimeError> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let colon = bytes.iter().position(|b| *b == b':').filter(|at| (1..=6).contains(at)).ok_or(TimeError::Syntax)?;
    let (hours, rest) = bytes.split_at(colon);
    if !hours.iter().all(u8::is_ascii_digit) {
        return Err(TimeError::Syntax);
    }
    let hours = hours.iter().fold(0, |hours, digit| hours * 10 + i64::from(digit - b'0'));
    let [b':', m1, m2, b':', s1, s2, rest @ ..] = rest else { return Err(TimeError::Syntax) };
    let minute = two(*m1, *m2).filter(|m| *m < 60).ok_or(TimeError::Syntax)?;
    let second = two(*s1, *s2).filter(|s| *s < 60).ok_or(TimeError::Syntax)?;
    let fraction = match rest {
        [] => 0,
        [b'.', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => fraction(rest, digits)?,
        _ => return Err(TimeError::Syntax),
    };
    let seconds = hours * 3_600 + i64::from(minute * 60 + second);
    let ticks = seconds.checked_mul(10i64.pow(u32::from(digits))).and_then(|ticks| ticks.checked_add(fraction));
    ticks.map(|ticks| if negative { -ticks } else { ticks }).ok_or(TimeError::OutOfRange)
}

/// What a text is beyond a string, if it is so without doubt: a date, an instant that says its offset (with 3, 6 or 9
/// digits, whichever holds it), a hyphenated UUID.
#[must_use]
pub fn text_kind(text: &str) -> Option<LogicalType> {
    if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
        return Some(LogicalType::Uuid);
    }
    if parse_date(text).is_ok() {
        return Some(LogicalType::Date);
    }
    let has_offset = text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    [3, 6, 9]
        .into_iter()
        .find(|digits| has_offset && parse_timestamp(text, *digits, &TimeZone::UTC).is_ok())
        .map(|digits| LogicalType::Timestamp { digits })
}

pub(crate) fn zone_offset(wall: i64, zone: &TimeZone) -> Result<i64, TimeError> {
    let as_utc = jiff::Timestamp::from_second(wall).map_err(|_| TimeError::OutOfRange)?;
    let civil: civil::DateTime = TimeZone::UTC.to_datetime(as_utc);
    let instant = zone.to_timestamp(civil).map_err(|_| TimeError::OutOfRange)?;
    Ok(wall - instant.as_second())
}

/// The fraction in ticks, all digits kept or refused.
fn fraction(text: &[u8], digits: u8) -> Result<i64, TimeError> {
    let mut ticks = 0i64;
    for position in 0..text.len().max(usize::from(digits)) {
        let digit = text.get(position).map_or(0, |b| b - b'0');
        if position < usize::from(digits) {
            ticks = ticks * 10 + i64::from(digit);
        } else if digit != 0 {
            return Err(TimeError::TooPrecise);
        }
    }
    Ok(ticks)
}

/// What a text is instead of a date, where that has a name.
#[cold]
fn no_date(text: &str) -> TimeError {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text.as_bytes() {
        [b'+' | b'-', rest @ ..] if digits(&text[1..]) >= 4 && rest.get(digits(&text[1..])) == Some(&b'-') => LONG_YEAR,
        bytes if digits(text) > 4 && bytes.get(digits(text)) == Some(&b'-') => LONG_YEAR,
        [_, _, _, _, b'-', b'W', ..] | [_, _, _, _, b'W', ..] if digits(text) == 4 => OTHER_DAY,
        [_, _, _, _, b'-', _, _, _] if digits(text) == 4 && digits(&text[5..]) == 3 => OTHER_DAY,
        _ => TimeError::Syntax,
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

fn date_prefix(text: &[u8]) -> Option<(i32, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    (1..=last).contains(&day).then(|| (days_from_civil(year, month, day), rest))
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms"), for years 0 … 9999.
fn days_from_civil(year: u32, month: u32, day: u32) -> i32 {
    let number = |v: u32| i32::try_from(v).expect("dates of four-digit years fit");
    let year = number(year) - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * number((month + 9) % 12) + 2) / 5 + number(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_offsets_zones_and_fractions() {
        let utc = TimeZone::UTC;
        assert_eq!(parse_timestamp("2024-02-29T12:34:56.789Z", 3, &utc), Ok(1_709_210_096_789));
        assert_eq!(parse_timestamp("2024-02-29 12:34:56", 0, &utc), Ok(1_709_210_096));
        assert_eq!(parse_timestamp("2024-02-29T12:34:56+02:00", 0, &utc), Ok(1_709_210_096 - 7200));
        assert_eq!(parse_timestamp("2024-02-29T12:34:56-0530", 0, &utc), Ok(1_709_210_096 + 19_800));
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.5Z", 1, &utc), Ok(-5));
        assert_eq!(parse_timestamp("2024-02-29", 0, &utc), Ok(1_709_164_800));
        assert_eq!(parse_timestamp("2024-02-29T12:34:56.7890", 3, &utc), Ok(1_709_210_096_789));
        assert_eq!(parse_timestamp("2024-02-29T12:34:56.7891", 3, &utc), Err(TimeError::TooPrecise));
        assert_eq!(parse_timestamp("2300-01-01T00:00:00Z", 9, &utc), Err(TimeError::OutOfRange));
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone of the bundled database");
        assert_eq!(parse_timestamp("2024-07-01 12:00:00", 0, &berlin), Ok(1_719_828_000));
        assert_eq!(parse_timestamp("2024-01-01 12:00:00", 0, &berlin), Ok(1_704_106_800));
    }

    #[test]
    fn reads_every_spelling_of_an_instant() {
        let noon = 1_709_208_000;
        for text in [
            "2024-02-29T12:00:00Z",
            "2024-02-29t12:00:00z",
            "2024-02-29 12:00:00Z",
            "2024-02-29 12:00:00",
            "2024-02-29T12:00:00+00:00",
            "2024-02-29T12:00:00-00:00",
            "2024-02-29T14:00:00+02",
            "2024-02-29T14:00:00+0200",
            "2024-02-29T14:00:00 +0200",
            "2024-02-29 14:00:00 +02:00",
            "2024-03-01T11:59:00+23:59",
            "2024-02-29T12:00:00.000000000000000000Z",
            "2024-02-29T12:00:00,0Z",
        ] {
            assert_eq!(parse_timestamp(text, 0, &TimeZone::UTC), Ok(noon), "{text}");
        }
        let nanos = |text| parse_timestamp(text, 9, &TimeZone::UTC);
        assert_eq!(nanos("2024-02-29T12:00:00.1234567890000Z"), Ok(noon * 1_000_000_000 + 123_456_789));
        assert_eq!(nanos("2024-02-29T12:00:00.1234567890001Z"), Err(TimeError::TooPrecise));
    }

    #[test]
    fn what_no_column_holds_is_refused_by_name() {
        let utc = |text| parse_timestamp(text, 0, &TimeZone::UTC);
        assert_eq!(utc("2016-12-31T23:59:60Z"), Err(LEAP_SECOND));
        assert_eq!(utc("2024-02-29T24:00:00Z"), Err(END_OF_DAY));
        for text in ["-0044-03-15", "+002024-02-29T12:00:00Z", "12024-02-29", "-2024-02-29T00:00:00"] {
            assert_eq!(utc(text), Err(LONG_YEAR), "{text}");
        }
        for text in ["2024-W09-4", "2024W094", "2024-W09-4T12:00:00Z", "2024-060"] {
            assert_eq!(parse_date(text), Err(OTHER_DAY), "{text}");
        }
        assert_eq!(utc("0000-01-01"), Ok(-62_167_219_200));
        assert_eq!(utc("9999-12-31T23:59:59Z"), Ok(253_402_300_799));
    }

    /// Where a zone skips a time, the offset before the gap counts; where it repeats one, the first of the two.
    #[test]
    fn wall_time_in_gaps_and_overlaps() {
        for (zone, text, expected) in [
            ("Europe/Berlin", "2024-03-31 01:59:59", "2024-03-31 00:59:59Z"),
            ("Europe/Berlin", "2024-03-31 02:30:00", "2024-03-31 01:30:00Z"),
            ("Europe/Berlin", "2024-03-31 03:00:00", "2024-03-31 01:00:00Z"),
            ("Europe/Berlin", "2024-10-27 02:30:00", "2024-10-27 00:30:00Z"),
            ("Europe/Berlin", "2024-10-27 03:00:00", "2024-10-27 02:00:00Z"),
            ("America/New_York", "2024-11-03 01:30:00", "2024-11-03 05:30:00Z"),
            ("Asia/Tokyo", "1951-05-06 00:30:00", "1951-05-05 15:30:00Z"),
            ("Australia/Lord_Howe", "2024-10-06 02:15:00", "2024-10-05 15:45:00Z"),
            // A whole day that was never there.
            ("Pacific/Apia", "2011-12-30 12:00:00", "2011-12-30 22:00:00Z"),
            ("Asia/Tokyo", "2024-07-01 12:00:00", "2024-07-01 03:00:00Z"),
        ] {
            let in_zone = parse_timestamp(text, 0, &TimeZone::get(zone).expect("a zone of the bundled database"));
            assert_eq!(in_zone, parse_timestamp(expected, 0, &TimeZone::UTC), "{zone} {text}");
        }
    }

    #[test]
    fn reads_times_of_day_and_spans() {
        assert_eq!(parse_time("12:34:56", 0), Ok(45_296));
        assert_eq!(parse_time("-999:59:59.5", 1), Ok(-35_999_995));
        assert_eq!(parse_time("1:02:03.250", 2), Ok(372_325));
        assert_eq!(parse_time("1:02:03.255", 2), Err(TimeError::TooPrecise));
        for text in ["", "12:34", "12:60:00", ":00:00", "1:2:3", "12:34:56.", "a:00:00", "+1:00:00", "12:34:56Z"] {
            assert_eq!(parse_time(text, 0), Err(TimeError::Syntax), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2024",
            "2024-13-01",
            "2024-02-30",
            "2023-02-29",
            "2024-02-29T",
            "24-02-29",
            "2024-02-29T12:34",
            "2024-02-29T12:34:61Z",
            "2024-02-29 12:34:56 Z",
            "2024-02-29 12:34:56  +02:00",
            "2024-02-29T25:00:00Z",
            "2024-02-29T12:34:56+24:00",
            "2024-02-29T12:34:56+02:60",
            "20240229T123456Z",
            "ü024-02-29",
            "-",
            "2024-02-29T12:34:56.",
            "2024-02-29T12:34:56X",
            "2024-02-29T12:34:56+2",
            "2024-02-29T12:34:56Z ",
        ] {
            assert_eq!(parse_timestamp(text, 3, &TimeZone::UTC), Err(TimeError::Syntax), "{text:?}");
        }
        assert_eq!(parse_date("2024-02-29T00:00:00Z"), Err(TimeError::Syntax));
    }

    proptest! {
        #[test]
        fn equals_jiff(seconds in -62_000_000_000i64..253_000_000_000, nanos in 0i32..1_000_000_000) {
            let instant = jiff::Timestamp::new(seconds, 0).expect("in range");
            let text = format!("{}.{nanos:09}Z", instant.strftime("%Y-%m-%dT%H:%M:%S"));
            let expected = seconds.checked_mul(1_000_000_000).and_then(|t| t.checked_add(i64::from(nanos)));
            prop_assert_eq!(parse_timestamp(&text, 9, &TimeZone::UTC).ok(), expected);
            let day = i32::try_from(seconds.div_euclid(86_400)).expect("in range");
            prop_assert_eq!(parse_date(&text[..10]), Ok(day));
        }
    }
}
