/// Words that make the value of a key a secret.
const SECRET_WORDS: [&str; 7] = ["password", "passwd", "secret", "token", "credential", "jaas", ".pem"];

/// The text with what is, or may be, a secret replaced by asterisks: passwords in URLs and the values of keys whose
/// name says so. Byte for byte as long as before, so that places stay valid.
///
/// It reads lines rather than YAML, because a file that is no YAML is shown too, and it masks too much rather than
/// too little. A value that is nothing but `${…}` is no secret and stays.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The indentation of a secret's key, while its value goes on in the lines below.
    let mut block: Option<usize> = None;
    let mut literal = false;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        // A topic may be called `password-resets`: settings below it are no secret.
        let is_setting = !literal && !line.trim_start().starts_with(['"', '\'']) && has_key(line);
        if block.is_some_and(|key| indent > key || line.trim().is_empty()) && !is_setting {
            masked.push_str(&stars(line, 0, line.len()));
            continue;
        }
        block = None;
        let mut line = line.to_owned();
        for (start, end) in url_passwords(&line) {
            line = stars(&line, start, end);
        }
        if let Some(start) = secret_value(&line) {
            literal = line[start..].trim_start().starts_with(['|', '>']);
            if !is_template(line[start..].trim()) {
                line = stars(&line, start, line.len());
            }
            block = Some(indent);
        }
        masked.push_str(&line);
    }
    masked
}

fn has_key(line: &str) -> bool {
    line.contains(": ") || line.trim_end().ends_with(':')
}

fn stars(line: &str, start: usize, end: usize) -> String {
    let mut out = line[..start].to_owned();
    for c in line[start..end].chars() {
        match c.is_whitespace() {
            true => out.push(c),
            false => (0..c.len_utf8()).for_each(|_| out.push('*')),
        }
    }
    out + &line[end..]
}

/// `user:password@` behind each `://`: from the first colon outside `${…}` to the last `@` of the line.
fn url_passwords(line: &str) -> Vec<(usize, usize)> {
    let passwords = line.match_indices("://").filter_map(|(scheme, _)| {
        let start = scheme + 3;
        let end = start + line[start..].find(" #").unwrap_or(line.len() - start);
        let at = start + line[start..end].rfind('@')?;
        let mut depth = 0usize;
        let colon = line[start..at].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            *c == ':' && depth == 0
        });
        let password = start + colon?.0 + 1;
        (!is_template(&line[password..at])).then_some((password, at))
    });
    passwords.collect()
}

/// Where the value of the line's first secret key begins.
fn secret_value(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let starts = SECRET_WORDS.iter().flat_map(|word| lower.match_indices(word).map(|(at, _)| at + word.len()));
    let values = starts.filter_map(|end| {
        let separator = line[end..].find([':', '='])?;
        let key = &line[end..end + separator];
        key.chars().all(|c| c.is_ascii_alphanumeric() || "._-\"' ".contains(c)).then_some(end + separator + 1)
    });
    values.min()
}

/// One `${env:X}` or `${file:X}` without a default.
fn is_template(text: &str) -> bool {
    let inner = text.trim_matches(['"', '\'']).strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']) && !inner.contains(":-"))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_masked_and_lengths_kept() {
        let cases = [
            ("url: clickhouse://app:hunter2@h:1/d", "url: clickhouse://app:*******@h:1/d"),
            ("url: clickhouse://app:p@ss:w@h", "url: clickhouse://app:******@h"),
            ("url: clickhouse://app:${env:PW}@h", "url: clickhouse://app:${env:PW}@h"),
            ("url: clickhouse://${env:U}:${env:PW}@h", "url: clickhouse://${env:U}:${env:PW}@h"),
            ("url: clickhouse://h:8123/d # me@x", "url: clickhouse://h:8123/d # me@x"),
            ("sasl.password: pässword", "sasl.password: *********"),
            ("sasl.password: ${file:/run/pw}", "sasl.password: ${file:/run/pw}"),
            ("{ ssl.key.password: 'a b', x: 1 }", "{ ssl.key.password: ** *** ** * *"),
            ("--set kafka.properties.sasl.password=x", "--set kafka.properties.sasl.password=*"),
            ("ssl.key.pem: |\n  -----\n  abc\nname: x", "ssl.key.pem: *\n  *****\n  ***\nname: x"),
            ("url: http://h/?password=abc", "url: http://h/?password=***"),
            ("sasl.password:\n  hunter2\nname: x", "sasl.password:\n  *******\nname: x"),
            ("password-resets:\n  table: x\n  mode: y", "password-resets:\n  table: x\n  mode: y"),
            ("name: shop", "name: shop"),
        ];
        for (text, expected) in cases {
            assert_eq!(mask(text), expected);
            assert_eq!(mask(text).len(), text.len());
        }
    }
}
