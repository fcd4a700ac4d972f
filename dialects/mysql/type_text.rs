//! Column types as texts: as `information_schema` prints them and as people write them.

/// A type's text, taken apart: `decimal(10,2) unsigned`, `enum('a','b')`, `varchar(20) collate latin1_bin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TypeText {
    /// Lower case, the words before the parenthesis: `double precision`.
    pub(super) name: String,
    /// Numbers between the parentheses.
    pub(super) numbers: Vec<u64>,
    /// Texts between the parentheses.
    pub(super) texts: Vec<String>,
    /// Numbers are not negative.
    pub(super) unsigned: bool,
    /// The character set, where one is given or the collation names it.
    pub(super) charset: Option<String>,
    /// The collation.
    pub(super) collation: Option<String>,
}

enum Token {
    /// Lower case.
    Word(String),
    Number(u64),
    Text(String),
    Sign(char),
}

impl TypeText {
    /// `None` when it is anything but a type with what may stand behind one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = tokens(text)?.into_iter().peekable();
        let mut parsed = Self::default();
        let mut words = Vec::new();
        while let Some(Token::Word(_)) = tokens.peek() {
            let Some(Token::Word(word)) = tokens.next() else { break };
            words.push(word);
        }
        if let Some(Token::Sign('(')) = tokens.peek() {
            tokens.next();
            loop {
                match tokens.next()? {
                    Token::Number(number) => parsed.numbers.push(number),
                    Token::Text(text) => parsed.texts.push(text),
                    Token::Word(_) | Token::Sign(_) => return None,
                }
                match tokens.next()? {
                    Token::Sign(',') => {}
                    Token::Sign(')') => break,
                    _ => return None,
                }
            }
        }
        let after = tokens.map(|token| if let Token::Word(word) = token { Some(word) } else { None });
        let after = after.collect::<Option<Vec<_>>>()?;
        // Without parentheses nothing separates the name from what stands behind it.
        let is_attribute = |at: usize| match words[at].as_str() {
            "character" => words.get(at + 1).is_some_and(|next| next == "set"),
            word => matches!(word, "unsigned" | "zerofill" | "signed" | "charset" | "collate"),
        };
        let end = (0..words.len()).find(|at| is_attribute(*at)).unwrap_or(words.len());
        let mut attributes = words.split_off(end).into_iter().chain(after);
        parsed.name = words.join(" ");
        while let Some(word) = attributes.next() {
            match word.as_str() {
                "unsigned" | "zerofill" => parsed.unsigned = true,
                "signed" => {}
                "charset" => parsed.charset = Some(attributes.next()?),
                "character" if attributes.next()? == "set" => parsed.charset = Some(attributes.next()?),
                "collate" => parsed.collation = Some(attributes.next()?),
                _ => return None,
            }
        }
        if parsed.charset.is_none() {
            // Every collation but `binary` has its set's name in front.
            parsed.charset = parsed.collation.as_ref().and_then(|name| name.split('_').next()).map(str::to_owned);
        }
        Some(parsed)
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            // `information_schema` prints how a column is stored in comments.
            '/' => rest.strip_prefix("/*")?.find("*/")? + 4,
            '(' | ')' | ',' => {
                tokens.push(Token::Sign(first));
                1
            }
            '\'' => {
                let (text, length) = quoted(rest)?;
                tokens.push(Token::Text(text));
                length
            }
            _ => {
                let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
                let word = &rest[..length];
                tokens.push(match word.parse() {
                    Ok(number) => Token::Number(number),
                    Err(_) if word.is_empty() => return None,
                    Err(_) => Token::Word(word.to_ascii_lowercase()),
                });
                length
            }
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// A text in single quotes, which are doubled inside it, and its length with the quotes.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                content.push('\'');
            }
            '\'' => return Some((content, at + 1)),
            _ => content.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_debug_snapshot;
    use proptest::prelude::*;

    #[test]
    fn types_are_taken_apart() {
        let parts = |text| {
            let TypeText { name, numbers, texts, unsigned, charset, collation } = TypeText::parse(text)?;
            Some(format!("{name} {numbers:?} {texts:?} {unsigned} {charset:?} {collation:?}"))
        };
        let texts = [
            "INT",
            "bigint(20) unsigned zerofill",
            "DOUBLE PRECISION",
            "decimal( 10 , 2 )",
            "enum('a','it''s','(,)')",
            "varchar(20) collate latin1_swedish_ci",
            "Text Character Set utf8mb3",
            "char(5) charset binary",
            "character varying(7)",
            "text /*M!100301 COMPRESSED*/",
            "binary(3)",
            "blob collate binary",
        ];
        assert_debug_snapshot!(texts.map(parts), @r#"
        [
            Some(
                "int [] [] false None None",
            ),
            Some(
                "bigint [20] [] true None None",
            ),
            Some(
                "double precision [] [] false None None",
            ),
            Some(
                "decimal [10, 2] [] false None None",
            ),
            Some(
                "enum [] [\"a\", \"it's\", \"(,)\"] false None None",
            ),
            Some(
                "varchar [20] [] false Some(\"latin1\") Some(\"latin1_swedish_ci\")",
            ),
            Some(
                "text [] [] false Some(\"utf8mb3\") None",
            ),
            Some(
                "char [5] [] false Some(\"binary\") None",
            ),
            Some(
                "character varying [7] [] false None None",
            ),
            Some(
                "text [] [] false None None",
            ),
            Some(
                "binary [3] [] false None None",
            ),
            Some(
                "blob [] [] false Some(\"binary\") Some(\"binary\")",
            ),
        ]
        "#);
    }

    #[test]
    fn what_is_more_than_a_type_is_none() {
        for text in [
            "text); DROP TABLE x; --",
            "int -- x",
            "int default 7",
            "enum('a",
            "int(",
            "int()",
            "int(1 2)",
            "varchar(20) collate",
            "int /* x",
            "a.b",
            "`int`",
        ] {
            assert_eq!(TypeText::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_enum_is_read_back(texts in proptest::collection::vec("[^\0]{0,5}", 1..5)) {
            let list: Vec<_> = texts.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect();
            let parsed = TypeText::parse(&format!("enum({})", list.join(","))).unwrap();
            prop_assert_eq!(parsed.texts, texts);
        }

        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = TypeText::parse(&text);
        }
    }
}
