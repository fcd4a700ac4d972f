//! An engine with all that stands behind it, as `system.tables` spells it in `engine_full` and CREATE TABLE takes it.

use super::type_text::{quoted, string};

/// What stands behind an engine, each with an expression or a list of them.
const CLAUSES: &[&str] = &["PARTITION BY", "PRIMARY KEY", "ORDER BY", "SAMPLE BY", "TTL", "SETTINGS", "COMMENT"];

/// An engine, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EngineText {
    /// `ReplicatedReplacingMergeTree`.
    pub(super) name: String,
    /// What stands in its parentheses.
    pub(super) arguments: Vec<String>,
    clauses: Vec<(&'static str, String)>,
}

impl EngineText {
    pub(super) fn parse(text: &str) -> Self {
        let outside = words(text).filter(|word| word.depth == 0);
        let places: Vec<_> = outside.filter_map(|word| Some((word.start, clause_at(&text[word.start..])?))).collect();
        let head = &text[..places.first().map_or(text.len(), |(start, _)| *start)];
        let (name, arguments) = head.split_once('(').unwrap_or((head, ""));
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        let ends = places.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
        let clause = |((start, keyword), end): (&(usize, &'static str), usize)| {
            (*keyword, text[start + keyword.len()..end].trim().to_owned())
        };
        Self {
            name: name.trim().to_owned(),
            arguments: expressions(arguments),
            clauses: places.iter().zip(ends).map(clause).collect(),
        }
    }

    /// The same with a clause.
    pub(super) fn with(mut self, keyword: &'static str, text: impl Into<String>) -> Self {
        self.clauses.push((keyword, text.into()));
        self
    }

    /// What a clause says; empty without it.
    pub(super) fn clause(&self, keyword: &str) -> &str {
        self.clauses.iter().find(|(known, _)| *known == keyword).map_or("", |(_, text)| text)
    }

    /// The engine without what says where it is kept: `ReplacingMergeTree` of `SharedReplacingMergeTree`.
    pub(super) fn family(&self) -> &str {
        let name = self.name.as_str();
        let plain = |kind| name.strip_prefix(kind).filter(|name| name.ends_with("MergeTree"));
        plain("Replicated").or_else(|| plain("Shared")).unwrap_or(name)
    }

    /// Its arguments but for a replica's path and name.
    pub(super) fn own_arguments(&self) -> &[String] {
        let strings = if self.family() == self.name { 0 } else { 2 };
        let skipped = self.arguments.iter().take(strings).take_while(|argument| string(argument).is_some()).count();
        &self.arguments[skipped..]
    }
}

fn clause_at(text: &str) -> Option<&'static str> {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    CLAUSES.iter().copied().find(|keyword| text.strip_prefix(keyword).is_some_and(ends))
}

/// A list without the parentheses around it: `a, f(b, c)`, `(a, f(b, c))`, `tuple(a)`.
pub(super) fn expressions(list: &str) -> Vec<String> {
    let list = list.trim();
    let inner = list.strip_prefix("tuple").unwrap_or(list).trim_start();
    if let Some(inner) = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'))
        && splits(inner).1
    {
        return expressions(inner);
    }
    let parts = splits(list).0.into_iter().map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

/// The column that an expression is, in whichever direction it is sorted.
pub(super) fn column(expression: &str) -> Option<String> {
    let expression = expression.trim();
    let expression = expression.strip_suffix(" DESC").or_else(|| expression.strip_suffix(" ASC")).unwrap_or(expression);
    let found = words(expression).collect::<Vec<_>>();
    match found.as_slice() {
        [word] if word.end - word.start == expression.len() => Some(word.text.clone()),
        _ => None,
    }
}

/// The functions that an expression calls.
pub(super) fn calls(expression: &str) -> impl Iterator<Item = String> {
    words(expression).filter(|word| word.is_call).map(|word| word.text)
}

/// Whether an expression names the column, or a part of it.
pub(super) fn uses(expression: &str, column: &str) -> bool {
    let is_it = |name: &str| name.strip_prefix(column).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    words(expression).any(|word| !word.is_call && is_it(&word.text))
}

/// A name in an expression.
struct Word {
    text: String,
    start: usize,
    end: usize,
    /// Parentheses that it stands in.
    depth: usize,
    is_call: bool,
}

/// All words outside strings: identifiers, functions and keywords, quoted or not.
fn words(text: &str) -> impl Iterator<Item = Word> {
    let (mut at, mut depth) = (0, 0_usize);
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let start = at;
            match rest.chars().next()? {
                '\'' => at = text.len() - quoted(rest)?.1.len(),
                '`' | '"' => {
                    let (name, behind) = quoted(rest)?;
                    at = text.len() - behind.len();
                    return Some(Word { text: name, start, end: at, depth, is_call: false });
                }
                c if c.is_alphanumeric() || c == '_' => {
                    let length = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')));
                    let word = &rest[..length.unwrap_or(rest.len())];
                    at += word.len();
                    if c.is_ascii_digit() {
                        continue;
                    }
                    let is_call = text[at..].trim_start().starts_with('(');
                    return Some(Word { text: word.to_owned(), start, end: at, depth, is_call });
                }
                c => {
                    match c {
                        '(' | '[' => depth += 1,
                        ')' | ']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    at += c.len_utf8();
                }
            }
        }
    })
}

/// The parts between a list's own commas, and whether its parentheses are in pairs.
fn splits(list: &str) -> (Vec<&str>, bool) {
    let (mut parts, mut start, mut at, mut depth, mut in_pairs) = (Vec::new(), 0, 0, 0_i32, true);
    while let Some(c) = list[at..].chars().next() {
        match c {
            '\'' | '`' | '"' => match quoted(&list[at..]) {
                Some((_, behind)) => {
                    at = list.len() - behind.len();
                    continue;
                }
                None => in_pairs = false,
            },
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        in_pairs &= depth >= 0;
        at += c.len_utf8();
    }
    parts.push(&list[start..]);
    (parts, in_pairs && depth == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_engine_is_taken_apart() {
        let engine = EngineText::parse(
            "ReplicatedReplacingMergeTree('/t/{uuid}, TTL x', '{replica}', `v``x`, d) PARTITION BY toYYYYMM(at) ORDER BY \
             (id, `ORDER BY`) TTL at + toIntervalDay(1) WHERE d = 0 SETTINGS index_granularity = 8192",
        );
        assert_eq!((engine.name.as_str(), engine.family()), ("ReplicatedReplacingMergeTree", "ReplacingMergeTree"));
        assert_eq!(engine.own_arguments(), ["`v``x`", "d"]);
        assert_eq!(engine.clause("PARTITION BY"), "toYYYYMM(at)");
        assert_eq!(engine.clause("ORDER BY"), "(id, `ORDER BY`)");
        assert_eq!(engine.clause("TTL"), "at + toIntervalDay(1) WHERE d = 0");
        assert_eq!(engine.clause("SETTINGS"), "index_granularity = 8192");
        assert_eq!(engine.clause("SAMPLE BY"), "");
        let plain = EngineText::parse("MergeTree ORDER BY tuple()");
        assert_eq!((plain.name.as_str(), plain.arguments.len()), ("MergeTree", 0));
        let distributed = EngineText::parse("Distributed('main', 'shop', 'orders', cityHash64(id, region))");
        assert_eq!(distributed.own_arguments(), ["'main'", "'shop'", "'orders'", "cityHash64(id, region)"]);
        assert_eq!(EngineText::parse("SharedReplacingMergeTree('/a', '{r}', v)").own_arguments(), ["v"]);
    }

    #[test]
    fn lists_lose_their_parentheses() {
        assert_eq!(expressions("a, f(b, c)"), ["a", "f(b, c)"]);
        assert_eq!(expressions("(a, f(b, c))"), ["a", "f(b, c)"]);
        assert_eq!(expressions("(a), (b)"), ["(a)", "(b)"]);
        assert_eq!(expressions("tuple(id DESC)"), ["id DESC"]);
        assert_eq!(expressions("f(a)"), ["f(a)"]);
        for empty in ["", "tuple()", "()", " "] {
            assert_eq!(expressions(empty), [""; 0], "{empty}");
        }
    }

    #[test]
    fn columns_are_told_from_expressions() {
        assert_eq!(column("id").as_deref(), Some("id"));
        assert_eq!(column(" `i d` DESC").as_deref(), Some("i d"));
        for expression in ["f(id)", "id + 1", "-id", "1", "'id'", "", "(id)"] {
            assert_eq!(column(expression), None, "{expression}");
        }
        assert!(uses("toDateTime(at) + toIntervalDay(1)", "at") && uses("t.a", "t") && uses("`x y`+1", "x y"));
        assert!(!uses("at(x) + 'at' + atx", "at"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[a-zA-Z0-9_ ()',`\"\\\\ü\\[\\].]{0,40}|(ORDER BY|TTL|[a-z(),'` ]){0,12}") {
            let engine = EngineText::parse(&text);
            let _ = (engine.own_arguments(), expressions(&text), column(&text), calls(&text).count());
        }
    }
}
