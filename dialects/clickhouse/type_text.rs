//! The syntax of ClickHouse's type texts: names, arguments in parentheses, quoted names and strings.

/// `name`, or `name(argument, …)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    /// The arguments' texts; none also where there are no parentheses.
    pub(super) arguments: Vec<&'a str>,
}

/// Takes a type text apart; `None` when it is none.
pub(super) fn call(text: &str) -> Option<Call<'_>> {
    let text = text.trim();
    let (name, rest) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => (name.trim_end(), Some(rest)),
    };
    if name.is_empty() || !name.bytes().all(is_word) {
        return None;
    }
    let arguments = rest.map_or(Some(Vec::new()), arguments)?;
    Some(Call { name, arguments })
}

/// Splits what follows an opening parenthesis, up to the closing one that must end it.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let mut arguments = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => _ = bytes.next(),
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') if depth > 0 => depth -= 1,
            (None, b')') => {
                let last = text[start..at].trim();
                if !last.is_empty() || !arguments.is_empty() {
                    arguments.push(last);
                }
                return (at + 1 == text.len()).then_some(arguments);
            }
            (None, b',') if depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    None
}

/// The name of a tuple's element, where it has one, and its type.
pub(super) fn element(text: &str) -> Option<(Option<String>, &str)> {
    if text.starts_with(['`', '"']) {
        let (name, rest) = quoted(text)?;
        return Some((Some(name), rest.trim_start()));
    }
    let end = text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len());
    let rest = text[end..].trim_start();
    match rest.as_bytes().first() {
        None | Some(b'(') => Some((None, text)),
        Some(_) if end == 0 || text[end..].starts_with(rest) => None,
        Some(_) => Some((Some(text[..end].to_owned()), rest)),
    }
}

/// A string that is all of the text.
pub(super) fn string(text: &str) -> Option<String> {
    let (string, rest) = text.starts_with('\'').then(|| quoted(text))??;
    rest.is_empty().then_some(string)
}

/// A string in quotes of the kind that the text starts with, without its escapes; and what follows it.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices().peekable();
    let (_, quote) = chars.next()?;
    let mut bytes = Vec::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut bytes)?,
            c if c == quote && chars.peek().is_some_and(|(_, next)| *next == quote) => {
                chars.next();
                push(&mut bytes, quote);
            }
            c if c == quote => return Some((String::from_utf8(bytes).ok()?, &text[at + c.len_utf8()..])),
            c => push(&mut bytes, c),
        }
    }
    None
}

/// What stands behind a backslash, as ClickHouse reads it: one that means nothing stays.
fn escape(chars: &mut impl Iterator<Item = (usize, char)>, bytes: &mut Vec<u8>) -> Option<()> {
    let mut next = || chars.next().map(|(_, c)| c);
    match next()? {
        'n' => bytes.push(b'\n'),
        't' => bytes.push(b'\t'),
        'r' => bytes.push(b'\r'),
        '0' => bytes.push(0),
        'a' => bytes.push(0x07),
        'b' => bytes.push(0x08),
        'v' => bytes.push(0x0b),
        'f' => bytes.push(0x0c),
        'e' => bytes.push(0x1b),
        'x' => {
            let digits = [next()?, next()?].map(|digit| digit.to_digit(16));
            bytes.push(u8::try_from(digits[0]? * 16 + digits[1]?).ok()?);
        }
        c @ ('\\' | '\'' | '"' | '`' | '/' | '=') => push(bytes, c),
        c => {
            bytes.push(b'\\');
            push(bytes, c);
        }
    }
    Some(())
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments_end_at_their_own_commas() {
        let arguments = |text| call(text).map(|call| call.arguments);
        assert_eq!(arguments("Int8"), Some(vec![]));
        assert_eq!(arguments("Tuple()"), Some(vec![]));
        assert_eq!(
            arguments("Tuple(a Map(String, Int8), `b,(` Int8)"),
            Some(vec!["a Map(String, Int8)", "`b,(` Int8"])
        );
        assert_eq!(arguments(r"Enum8('a\'b,' = -1, 'it''s)' = 2)"), Some(vec![r"'a\'b,' = -1", "'it''s)' = 2"]));
        for text in ["", "(", "A(", "A)", "A())", "A('", "A('\\')", "A(B", "a b", "A(B) C", "ü"] {
            assert_eq!(call(text), None, "{text}");
        }
    }

    #[test]
    fn elements_have_names_or_none() {
        let of = |name: &str, text| Some((Some(name.to_owned()), text));
        assert_eq!(element("Int8"), Some((None, "Int8")));
        assert_eq!(element("Decimal(9, 2)"), Some((None, "Decimal(9, 2)")));
        assert_eq!(element("a Decimal(9, 2)"), of("a", "Decimal(9, 2)"));
        assert_eq!(element("Int8 Int8"), of("Int8", "Int8"));
        assert_eq!(element(r"`y\`z ü` Int8"), of("y`z ü", "Int8"));
        assert_eq!(element("\"x\"\"y\" Int8"), of("x\"y", "Int8"));
        assert_eq!(element("a'b' Int8"), None);
    }

    #[test]
    fn strings_lose_their_escapes() {
        assert_eq!(string(r"'a\'b\\\n\x41\%''c'").as_deref(), Some("a'b\\\nA\\%'c"));
        for text in ["", "'", "a", "'a", "'a' ", "'\\", "'\\x4'", "'\\xff'"] {
            assert_eq!(string(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in "\\PC{0,20}|[\\\\'`\"\n\t\r\0a,()]{0,12}") {
            let literal = super::super::grammar::literal(&text);
            prop_assert_eq!(string(&literal), Some(text.clone()));
            let quoted_name = super::super::grammar::quote(&text);
            prop_assert_eq!(quoted(&quoted_name), Some((text, "")));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[a-zA-Z0-9_ ()',`\"\\\\ü]{0,40}") {
            let _ = (call(&text), element(&text), string(&text));
        }
    }
}
