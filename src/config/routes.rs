//! The keys under `topics:`: which topics each one means, and the table that each topic goes to.

use regex::Regex;

use super::settings::Route;
use super::template::{TableTemplate, by_record, templates};

/// All keys, in the file's order.
#[derive(Clone, Debug)]
pub struct Routes {
    rules: Vec<Rule>,
}

/// One key under `topics:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As it is written.
    pub key: String,
    /// Whether its topics are not read for now.
    pub paused: bool,
    pub(super) topics: Topics,
    /// The route of its topics, with the templates of the table still in it.
    pub(super) template: Route,
}

impl Routes {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The keys, in the file's order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first key that takes this topic; `None` when none does.
    #[must_use]
    pub fn rule(&self, topic: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.topics.take(topic))
    }

    /// The topic's route: that of the first key that takes it.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<Route> {
        self.rule(topic).map(|rule| rule.route(topic))
    }

    /// The topics that are called by their names, which therefore must be there; each once, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| rule.topics.names()).map(String::as_str)
    }

    /// Whether any key takes topics that it does not name.
    #[must_use]
    pub fn have_patterns(&self) -> bool {
        self.rules.iter().any(Rule::is_pattern)
    }
}

impl Rule {
    /// Whether it is a regular expression: then its topics may come and go.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        matches!(self.topics, Topics::Matching { .. })
    }

    /// The topics that it calls by their names; none where it is a regular expression.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.topics.names()
    }

    fn route(&self, topic: &str) -> Route {
        let captures = match &self.topics {
            Topics::Named(_) => None,
            Topics::Matching { regex, .. } => regex.captures(topic),
        };
        let table = TableTemplate::new(&self.template.table, topic, captures.as_ref());
        Route {
            topic: topic.to_owned(),
            table: table.text(),
            by_record: table.varies().then_some(table),
            ..self.template.clone()
        }
    }
}

/// The topics that a key means.
#[derive(Clone, Debug)]
pub(super) enum Topics {
    /// These; at least one.
    Named(Vec<String>),
    /// All whose whole name matches.
    Matching {
        /// Anchored at both ends.
        regex: Regex,
        /// Whether it may take Kafka's own topics.
        internal: bool,
    },
}

impl Topics {
    /// Reads a key. What is wrong with it is told with its mend.
    pub(super) fn parse(key: &str) -> Result<Self, (String, String)> {
        if let Some(pattern) = key.strip_prefix('/') {
            let pattern = pattern.strip_suffix('/').ok_or_else(|| {
                (format!("the regular expression `{key}` has no `/` at its end"), "write /orders-(.*)/".to_owned())
            })?;
            // Also compiled alone: what is wrong in it is then told of what was written, and `a)|(b` is wrong.
            let regex = Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$")));
            let regex = regex.map_err(|error| {
                // The last line says what is wrong, those before show where.
                let what = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
                let help = "write it as the Rust crate `regex` knows it: no look-around, no back-references";
                (format!("`{key}` is no regular expression: {what}"), help.to_owned())
            })?;
            return Ok(Self::Matching { regex, internal: pattern.starts_with("__") });
        }
        let names: Vec<_> = key.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_topic(name)) {
            None => Ok(Self::Named(names)),
            Some(name) => {
                let help = "1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`; several names with commas \
                            between; a regular expression stands between slashes: /orders-(.*)/";
                Err((format!("`{name}` cannot be the name of a topic"), help.to_owned()))
            }
        }
    }

    /// Whether it means this topic.
    pub(super) fn take(&self, topic: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == topic),
            Self::Matching { regex, internal } => {
                (*internal || !topic.starts_with("__")) && is_topic(topic) && regex.is_match(topic)
            }
        }
    }

    /// The topics that it names.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Named(names) => names,
            Self::Matching { .. } => &[],
        }
    }

    /// Whether all templates in a table's name can be filled in; otherwise the first that cannot, and why.
    pub(super) fn check_template<'t>(&self, table: &'t str) -> Result<(), (&'t str, String)> {
        let groups = match self {
            Self::Named(_) => 0,
            Self::Matching { regex, .. } => regex.captures_len() - 1,
        };
        for (template, inner) in templates(table) {
            let Some(inner) = inner.filter(|inner| *inner != "topic") else { continue };
            match by_record(inner) {
                Some(Ok(_)) => continue,
                Some(Err(())) => return Err((template, format!("`{template}` names nothing"))),
                None => {}
            }
            if !inner.parse().is_ok_and(|group: usize| (1..=groups).contains(&group)) {
                let has = match (self, groups) {
                    (Self::Named(_), _) => "the key is no regular expression".to_owned(),
                    (Self::Matching { .. }, 0) => "the regular expression has no groups".to_owned(),
                    (Self::Matching { .. }, 1) => "the regular expression has one group".to_owned(),
                    (Self::Matching { .. }, groups) => format!("the regular expression has {groups} groups"),
                };
                return Err((template, format!("`{template}` stands for nothing: {has}")));
            }
        }
        Ok(())
    }
}

/// What Kafka takes as a topic's name.
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::{Piece, parse_table};
    use rowfall_dialects::contract::TableName;

    fn topics(key: &str) -> Topics {
        Topics::parse(key).unwrap_or_else(|(message, _)| panic!("{key}: {message}"))
    }

    #[test]
    fn a_key_takes_the_topics_that_it_means() {
        let cases: [(&str, &[&str], &[&str]); 7] = [
            ("orders", &["orders"], &["orders2", "order"]),
            ("orders, returns", &["orders", "returns"], &["orders, returns", ""]),
            ("/orders-(.*)/", &["orders-eu", "orders-"], &["orders", "my-orders-eu", "orders-/"]),
            // Anchored as a whole.
            ("/a|b/", &["a", "b"], &["ab", "ax", "xb"]),
            ("/.*/", &["a"], &["__consumer_offsets"]),
            ("/(__)?.*/", &["a"], &["__consumer_offsets"]),
            ("/__.*/", &["__consumer_offsets"], &["a"]),
        ];
        for (key, taken, left) in cases {
            let topics = topics(key);
            taken.iter().for_each(|topic| assert!(topics.take(topic), "{key} takes {topic}"));
            left.iter().for_each(|topic| assert!(!topics.take(topic), "{key} leaves {topic}"));
        }
    }

    #[test]
    fn what_records_say_stays_for_them() {
        let table = parse_table("${header:tenant}.e_$${x}_${topic}_${field:after.kind}");
        let table = TableTemplate::new(&table, "t", None);
        assert!(table.varies());
        assert_eq!(table.schema, Some(vec![Piece::Header(c"tenant".to_owned())]));
        let text = Piece::Text("e_${x}_t_".to_owned());
        assert_eq!(table.name, [text, Piece::Field(vec!["after".to_owned(), "kind".to_owned()])]);
        assert_eq!(topics("orders").check_template("${header:x}_${field:a.b}"), Ok(()));
        for name in ["a\0b", "a\u{e000}b_${field:x.y}"] {
            assert_eq!(parse_table(&format!("s.{name}")), TableName { schema: Some("s".into()), name: name.into() });
        }
    }

    #[test]
    fn templates_are_filled_in() {
        let regex = topics("/(a+)-(b)?(.*)/");
        let Topics::Matching { regex: compiled, .. } = &regex else { panic!("a regular expression") };
        let captures = compiled.captures("aa-x.y").expect("it matches");
        for (text, filled_in) in [
            ("t", "t"),
            ("${topic}", "aa-x.y"),
            ("x_${1}_${3}", "x_aa_x.y"),
            // A group without a match.
            ("${2}t", "t"),
            ("$${1}_${1}", "${1}_aa"),
            ("ü${1}ü", "üaaü"),
        ] {
            assert_eq!(regex.check_template(text), Ok(()), "{text}");
            let table = TableName { schema: None, name: text.to_owned() };
            let table = TableTemplate::new(&table, "aa-x.y", Some(&captures));
            assert!(!table.varies(), "{text}");
            assert_eq!(table.text().name, filled_in, "{text}");
        }
        for text in ["${0}", "${4}", "x${99999999999999999999}", "${header:}", "${field:}", "${field:a..b}"] {
            assert!(regex.check_template(text).is_err(), "{text}");
        }
        assert!(topics("orders").check_template("${1}").is_err());
    }
}
