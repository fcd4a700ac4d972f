//! From the tree to the raw types: a serde deserializer whose errors know the path, so that all of them can be
//! reported at once and pointed at.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Problem;
use super::not_yet;
use super::tree::{Entry, Kind, Node, dotted};

/// Reads the whole tree. What is refused is taken out and reported, and reading begins again without it: this is why
/// every raw field has a default.
pub(super) fn read<T: DeserializeOwned + Default>(mut tree: Node, problems: &mut Vec<Problem>) -> T {
    loop {
        match T::deserialize(Value(&tree)) {
            Ok(value) => return value,
            Err(mut refused) => {
                refused.path.reverse();
                problems.push(refused.describe(&tree));
                if refused.path.is_empty() {
                    return T::default();
                }
                tree.remove(&refused.path);
            }
        }
    }
}

/// Why a value was refused, and where: the innermost step first.
#[derive(Debug)]
struct Refused {
    path: Vec<String>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// The path's last step is no key.
    Key(&'static [&'static str]),
    /// A word that is not among these.
    Word(&'static [&'static str]),
    /// Another type was expected.
    Type { expected: String, found: Option<&'static str> },
    /// Something else.
    Other(String),
}

impl Refused {
    fn describe(&self, tree: &Node) -> Problem {
        let path = dotted(&self.path);
        let node = tree.get(&self.path);
        match &self.why {
            Why::Key(known) => {
                let (key, parent) = self.path.split_last().expect("a key has a path");
                let place = tree.key_place(&self.path);
                if not_yet::key(&self.path) {
                    return not_yet::problem(&path).at(place);
                }
                let place_name = match parent {
                    [] => "at the top".to_owned(),
                    parent => format!("in `{}`", dotted(parent)),
                };
                let problem = match nearest(key, known) {
                    Some(near) => Problem::new(format!("unknown key `{path}`; did you mean `{near}`?")),
                    None => Problem::new(format!("unknown key `{path}`")),
                };
                let mut help = format!("the keys {place_name} are {}", listed(known, "and"));
                match parent {
                    [kafka] if kafka == "kafka" && key.contains('.') => {
                        help += "; librdkafka's own properties stand in `kafka.properties`";
                    }
                    [topics, _] if topics == "topics" && nearest(key, known).is_none() => {
                        help +=
                            "; a topic whose name holds a dot stands in quotes: --set 'topics.\"my.topic\".table=t'";
                    }
                    _ => {}
                }
                problem.label("no such key").help(help).at(place)
            }
            Why::Word(known) => {
                let word = node.filter(|node| !node.filled_in).and_then(|node| scalar(&node.kind));
                let place = tree.place(&self.path);
                if let Some(word) = &word
                    && not_yet::value(&self.path, word)
                {
                    let instead = listed(known, "or");
                    return not_yet::problem(&format!("{path}: {word}")).help(format!("write {instead}")).at(place);
                }
                let near = word.as_ref().and_then(|word| nearest(word, known));
                let problem = match (word, near) {
                    (Some(word), Some(near)) => {
                        Problem::new(format!("`{path}` cannot be `{word}`; did you mean `{near}`?"))
                    }
                    (Some(word), None) => Problem::new(format!("`{path}` cannot be `{word}`")),
                    (None, _) => Problem::new(format!("`{path}` has a value that it cannot have")),
                };
                problem.help(format!("it takes {}", listed(known, "or"))).at(place)
            }
            Why::Type { expected, found } => {
                let subject = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
                let problem = match found {
                    Some(found) => Problem::new(format!("{subject} takes {expected}, not {found}")),
                    None => Problem::new(format!("{subject} takes {expected}")),
                };
                problem.at(tree.place(&self.path).or_else(|| Some(tree.place.clone())))
            }
            Why::Other(message) => Problem::new(format!("`{path}`: {message}")).at(tree.place(&self.path)),
        }
    }
}

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = word.chars().count().div_ceil(3).min(3);
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    known.iter().copied().min_by_key(distance).filter(|candidate| distance(candidate) <= close)
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str], last: &str) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [init @ .., end] => format!("{} {last} {end}", init.join(", ")),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.why, self.path)
    }
}

impl std::error::Error for Refused {}

impl From<Why> for Refused {
    fn from(why: Why) -> Self {
        Self { path: Vec::new(), why }
    }
}

/// serde's words for what it expects, in ours.
fn expected(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "usize" => "a whole number such as `1000`".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "a text".to_owned(),
        other => other.to_owned(),
    }
}

impl Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Why::Other(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, exp: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "that",
        };
        Why::Type { expected: expected(exp), found: Some(found) }.into()
    }

    fn invalid_value(_: Unexpected<'_>, exp: &dyn Expected) -> Self {
        Why::Type { expected: expected(exp), found: None }.into()
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Why::Key(known).into()
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Why::Word(known).into()
    }
}

fn scalar(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Number(text) | Kind::Text(text) => Some(text.clone()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

#[derive(Clone, Copy)]
struct Value<'a>(&'a Node);

impl Value<'_> {
    fn number<'de, V: Visitor<'de>>(self, text: &str, visitor: V) -> Result<V::Value, Refused> {
        let digits = text.replace('_', "");
        if let Ok(number) = digits.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = digits.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Ok(number) = digits.parse::<f64>() {
            visitor.visit_f64(number)
        } else {
            visitor.visit_str(text)
        }
    }

    fn map<'de, V: Visitor<'de>>(self, skip: &[&str], visitor: V) -> Result<V::Value, Refused> {
        match &self.0.kind {
            Kind::Null => visitor.visit_map(Entries { rest: &[], value: None, skip }),
            Kind::Map(rest) => visitor.visit_map(Entries { rest, value: None, skip }),
            _ => self.deserialize_any(visitor),
        }
    }
}

/// Texts are taken for what they say: `${env:ROWS}` is a text until it is filled in, and a number where a number is
/// asked for.
impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.0.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Number(text) => self.number(text, visitor),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Kind::Map(_) => self.map(&[], visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.0.kind {
            Kind::Text(text) if text == "true" => visitor.visit_bool(true),
            Kind::Text(text) if text == "false" => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.0.kind {
            Kind::Text(text) => self.number(text, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match scalar(&self.0.kind) {
            Some(text) => visitor.visit_string(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match scalar(&self.0.kind) {
            Some(text) => visitor.visit_enum(IntoDeserializer::<Refused>::into_deserializer(text)),
            None => Err(Why::Type { expected: listed(known, "or"), found: Some(self.0.kind.name()) }.into()),
        }
    }

    /// A key without a value leaves the default.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        if let Kind::List(_) = self.0.kind {
            // serde's structs would take a list, field by field.
            return Err(Refused::invalid_type(Unexpected::Seq, &visitor));
        }
        self.map(fields, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.map(&[], visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str bytes byte_buf unit unit_struct seq tuple tuple_struct
        identifier ignored_any
    }
}

struct Entries<'a> {
    rest: &'a [Entry],
    value: Option<&'a Entry>,
    /// Keys that are passed over when they have no value.
    skip: &'a [&'a str],
}

fn inside<T>(step: &str, result: Result<T, Refused>) -> Result<T, Refused> {
    result.map_err(|mut refused| {
        refused.path.push(step.to_owned());
        refused
    })
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        while let Some((entry, rest)) = self.rest.split_first() {
            self.rest = rest;
            if matches!(entry.value.kind, Kind::Null) && self.skip.contains(&entry.key.as_str()) {
                continue;
            }
            self.value = Some(entry);
            let key: StrDeserializer<'_, Refused> = entry.key.as_str().into_deserializer();
            return inside(&entry.key, seed.deserialize(key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let entry = self.value.take().expect("serde asks for a key first");
        inside(&entry.key, seed.deserialize(Value(&entry.value)))
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        inside(&index.to_string(), seed.deserialize(Value(node))).map(Some)
    }
}
