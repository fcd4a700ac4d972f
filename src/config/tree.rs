//! The file as a tree in which every key and value knows its place, before anything is known about its meaning.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::{Place, Problem};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// Whether the value came, in part, out of the environment or a file: then no message may show it.
    pub(super) filled_in: bool,
}

/// What YAML knows about a value. Numbers are kept as they are written.
#[derive(Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Kind {
    /// What it is, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// Reads YAML. `whole` is the place of a text that ends with `yaml`.
    pub(super) fn parse(yaml: &str, whole: &Place) -> Result<Self, Problem> {
        let start = whole.span.end - yaml.len();
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        match serde_saphyr::from_str_with_options::<Spanned<Loose>>(yaml, options) {
            Ok(loose) => Ok(build(loose, yaml, whole, start)),
            Err(error) => Err(syntax_error(&error, yaml, whole, start)),
        }
    }

    /// A value with nothing in it.
    pub(super) fn null(place: Place) -> Self {
        Self { place, kind: Kind::Null, filled_in: false }
    }

    /// The entry at the end of a path. List elements are steps, too: their index.
    pub(super) fn get(&self, path: &[impl AsRef<str>]) -> Option<&Node> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == first.as_ref())?.value.get(rest),
            Kind::List(items) => items.get(first.as_ref().parse::<usize>().ok()?)?.get(rest),
            _ => None,
        }
    }

    /// Where to point for what stands at a path: at a scalar itself, at the key of anything longer.
    pub(super) fn place(&self, path: &[impl AsRef<str>]) -> Option<Place> {
        let node = self.get(path)?;
        match node.kind {
            Kind::Map(_) | Kind::Null => self.key_place(path),
            _ => Some(node.place.clone()),
        }
    }

    /// Where the last key of a path stands.
    pub(super) fn key_place(&self, path: &[impl AsRef<str>]) -> Option<Place> {
        let (last, parent) = path.split_last()?;
        match &self.get(parent)?.kind {
            Kind::Map(entries) => Some(entries.iter().find(|entry| entry.key == last.as_ref())?.place.clone()),
            Kind::List(_) => Some(self.get(path)?.place.clone()),
            _ => None,
        }
    }

    /// Takes out what stands at a path.
    pub(super) fn remove(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            self.kind = Kind::Null;
            return;
        };
        match &mut self.kind {
            Kind::Map(entries) if rest.is_empty() => entries.retain(|entry| entry.key != *first),
            Kind::Map(entries) => {
                entries.iter_mut().filter(|entry| entry.key == *first).for_each(|entry| entry.value.remove(rest));
            }
            Kind::List(items) => {
                let index = first.parse().ok().filter(|index: &usize| *index < items.len());
                match index {
                    Some(index) if rest.is_empty() => drop(items.remove(index)),
                    Some(index) => items[index].remove(rest),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Writes the columns' short form, `amount: decimal(18,2)`, as the long one.
    pub(super) fn expand_columns(&mut self) {
        self.walk(&mut Vec::new(), &mut |path, node| {
            if let [topics, _, columns, _] = path
                && topics == "topics"
                && columns == "columns"
                && matches!(node.kind, Kind::Text(_))
            {
                let (place, value) = (node.place.clone(), node.clone());
                node.kind = Kind::Map(vec![Entry { key: "type".to_owned(), place, value }]);
            }
        });
    }

    /// Calls `visit` for every value, with its path.
    pub(super) fn walk(&mut self, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &mut Node)) {
        visit(path, self);
        let mut step = |key: String, node: &mut Node| {
            path.push(key);
            node.walk(path, visit);
            path.pop();
        };
        match &mut self.kind {
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| step(entry.key.clone(), &mut entry.value)),
            Kind::List(items) => items.iter_mut().enumerate().for_each(|(i, node)| step(i.to_string(), node)),
            _ => {}
        }
    }
}

/// A path as `--set` takes it.
pub(super) fn dotted(path: &[impl AsRef<str>]) -> String {
    let is_property = matches!(path, [kafka, p, _] if kafka.as_ref() == "kafka" && p.as_ref() == "properties");
    let step = |step: &str| match step {
        step if is_property || !step.contains(['.', '=', '"']) => step.to_owned(),
        step if step.contains('"') => format!("'{step}'"),
        step => format!("\"{step}\""),
    };
    path.iter().map(|s| step(s.as_ref())).collect::<Vec<_>>().join(".")
}

/// What serde-saphyr delivers.
enum Loose {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Loose>>),
    /// Without a key where it is YAML's null.
    Map(Vec<(Spanned<Option<String>>, Spanned<Loose>)>),
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
                Ok(Loose::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose::Number(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
                Ok(Loose::Number(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
                Ok(Loose::Number(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
                Ok(Loose::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Loose::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Loose::Map(map))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

fn build(loose: Spanned<Loose>, yaml: &str, whole: &Place, start: usize) -> Node {
    let place = |location: Location| {
        let (from, len) = bytes(location, yaml);
        whole.at(start + from..start + from + len)
    };
    let kind = match loose.value {
        Loose::Null => Kind::Null,
        Loose::Bool(value) => Kind::Bool(value),
        // As it is written: `0755` and `1e3` may be meant as texts.
        Loose::Number(value) => {
            let (from, len) = bytes(loose.defined, yaml);
            let number = |text: &&str| text.starts_with(|c: char| "+-.0123456789".contains(c));
            Kind::Number(yaml.get(from..from + len).filter(number).map_or(value, str::to_owned))
        }
        Loose::Text(text) => Kind::Text(text),
        Loose::List(items) => Kind::List(items.into_iter().map(|item| build(item, yaml, whole, start)).collect()),
        Loose::Map(entries) => {
            // The setting `null:` is a key like others, however YAML reads the word.
            let entry = |(key, value): (Spanned<Option<String>>, Spanned<Loose>)| Entry {
                place: place(key.referenced),
                key: key.value.unwrap_or_else(|| "null".to_owned()),
                value: build(value, yaml, whole, start),
            };
            Kind::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { place: place(loose.referenced), kind, filled_in: false }
}

/// Start and length in bytes; the parser's own errors know only characters.
fn bytes(location: Location, yaml: &str) -> (usize, usize) {
    let span = location.span();
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (from, len) = match (span.byte_offset(), span.byte_len()) {
        (Some(from), Some(len)) => (number(from), number(len)),
        _ => {
            let mut starts = yaml.char_indices().map(|(at, _)| at).skip(number(span.offset()));
            (starts.next().unwrap_or(yaml.len()), number(span.len()).min(1))
        }
    };
    let from = from.min(yaml.len());
    (from, len.min(yaml.len() - from))
}

fn syntax_error(error: &serde_saphyr::Error, yaml: &str, whole: &Place, start: usize) -> Problem {
    use serde_saphyr::Error;
    let (from, len) = error.location().map_or((0, 0), |location| bytes(location, yaml));
    let line = yaml[..from].rfind('\n').map_or(0, |at| at + 1);
    let line = yaml[line..].lines().next().unwrap_or_default();
    let problem = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or_else(String::new, |key| format!(" `{key}`"));
            Problem::new(format!("the key{key} is given twice")).help("keep one of them")
        }
        Error::MultipleDocuments { .. } => Problem::new("the file holds more than one YAML document")
            .help("remove the line `---` and what does not belong to this configuration"),
        _ => {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            let problem = Problem::new(format!("not valid YAML: {text}"));
            match line.contains("${") && line.find('{') < line.find("${") {
                true => problem.help("inside `{ }` a value with `${…}` needs quotes: \"${env:NAME}\""),
                false => problem,
            }
        }
    };
    problem.at(Some(whole.at(start + from..start + from + len)))
}
