//! What becomes of a JSON text in databases that take it apart: MySQL and ClickHouse keep a number as an integer of 64 bits
//! or as a double, and none takes objects and arrays in each other without end.

/// Whether a number of a JSON text would be changed: it is neither an integer of 64 bits nor what a double is written as.
pub(crate) fn changed_number(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = bytes[at..].iter().take_while(is_part).count();
                if !is_kept(&json[at..at + length]) {
                    return true;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    false
}

/// How many objects and arrays lie in each other.
pub(crate) fn depth(json: &str) -> usize {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at) - 1,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// Behind the quote that ends the text which starts at `at`.
fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_kept(number: &str) -> bool {
    let is_integer = !number.contains(['.', 'e', 'E']);
    if is_integer && (number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()) {
        // −0 would become 0.
        return number != "-0";
    }
    match number.parse::<f64>() {
        // The shortest text that is this double and no other: what the server prints.
        Ok(double) if double.is_finite() => digits_and_exponent(number) == digits_and_exponent(&format!("{double:e}")),
        _ => false,
    }
}

/// A number as its significant digits and the power of ten of the last of them.
fn digits_and_exponent(number: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{behind}", whole.trim_start_matches('-'));
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return (number.starts_with('-'), String::new(), 0);
    }
    let dropped = digits.len() - significant.len();
    let shift = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    // Exponents beyond this are no doubles.
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX / 4);
    (
        number.starts_with('-'),
        significant.to_owned(),
        exponent.saturating_add(shift(dropped)).saturating_sub(shift(behind.len())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_a_double_or_an_integer_is_are_kept() {
        for json in [
            "1",
            "0",
            "-5",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1.10",
            "1e5",
            "1E+300",
            "2.5e-3",
            "100.000",
            "0.0",
            "3.141592653589793",
            r#"{"a":[1,2.5,"99999999999999999999.9999"],"b\"1":"-","c":null}"#,
        ] {
            assert!(!changed_number(json), "{json}");
        }
        for json in [
            "18446744073709551616",
            "-9223372036854775809",
            "0.1000000000000000055",
            "1e400",
            "[1,{\"a\":12345678901234567.5}]",
            "3.14159265358979323846",
            "-0",
        ] {
            assert!(changed_number(json), "{json}");
        }
    }

    #[test]
    fn depth_counts_what_is_open() {
        for (json, expected) in [("1", 0), ("{}", 1), (r#"{"a":[{}],"b":[]}"#, 3), (r#"["[[\"[",[]]"#, 2)] {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_double_is_kept(double in any::<f64>().prop_filter("a number", |double| double.is_finite())) {
            prop_assert!(!changed_number(&format!("{double:?}")), "{double:?}");
            prop_assert!(!changed_number(&format!("[{double:e}]")), "{double:e}");
        }

        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = (changed_number(&text), depth(&text));
        }
    }
}
