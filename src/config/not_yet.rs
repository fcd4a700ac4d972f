//! What the design names and this version does not have yet. It is refused by name, so that nobody takes a setting of
//! a later version for a typing error.

use super::error::Problem;

/// Keys; `*` stands for any topic or column.
pub(super) const KEYS: [&str; 5] =
    ["http", "errors.dead_letter_topic", "errors.max_consecutive", "errors.max_rate", "topics.*.metadata"];

/// Words that a key which is there already will take.
pub(super) const VALUES: [(&str, &[&str]); 3] = [
    ("errors.bad_record", &["dead-letter", "skip"]),
    ("topics.*.value", &["json-schema", "protobuf", "string", "bytes"]),
    ("topics.*.key", &["json-schema", "protobuf", "bytes"]),
];

/// Whether a later version has this key.
pub(super) fn key(path: &[String]) -> bool {
    KEYS.iter().any(|pattern| matches(pattern, path))
}

/// Whether a later version takes this word there.
pub(super) fn value(path: &[String], word: &str) -> bool {
    VALUES.iter().any(|(pattern, words)| matches(pattern, path) && words.contains(&word))
}

/// The message.
pub(super) fn problem(what: &str) -> Problem {
    Problem::new(format!("`{what}` is not available yet in this version")).label("not available yet")
}

fn matches(pattern: &str, path: &[String]) -> bool {
    let steps: Vec<_> = pattern.split('.').collect();
    steps.len() == path.len() && steps.iter().zip(path).all(|(step, key)| *step == "*" || step == key)
}
