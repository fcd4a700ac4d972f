//! Values with a notation of their own: sizes, durations, `auto`, starts, one or many, maps in the file's order.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use super::settings::StartFrom;

/// Bytes: `64MiB`, `64MB` or `65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

const UNITS: [(&str, usize); 7] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1000),
    ("b", 1),
];

impl Size {
    /// `None` for anything else, and for what does not fit into memory.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (number, unit) = match UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))) {
            Some((number, unit)) => (number.trim_end(), unit),
            None => (text.as_str(), 1),
        };
        let digits = number.replace('_', "");
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        Some(Self(digits.parse::<usize>().ok().filter(|_| plain)?.checked_mul(unit)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match binary.into_iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A duration with its unit: `1s`, `100ms`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(pub(super) Duration);

impl Age {
    fn parse(text: &str) -> Option<Self> {
        Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok().map(Self)
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(duration) => f.write_str(&format!("{duration:#}").replace(' ', "")),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// `auto` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Workers {
    #[default]
    Auto,
    Exactly(usize),
}

impl Workers {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            number => number.parse().ok().map(Self::Exactly),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(number) => number.fmt(f),
        }
    }
}

impl StartFrom {
    fn parse(text: &str) -> Option<Self> {
        let day = |date: jiff::civil::Date| jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Self::Offset),
            _ => {
                let time =
                    text.parse().ok().or_else(|| text.parse().ok().filter(|_| text.len() == 10).and_then(day))?;
                // The brokers take -1 and -2 for the end and the beginning.
                Some(Self::Time(time)).filter(|_| time >= jiff::Timestamp::UNIX_EPOCH)
            }
        }
    }
}

impl fmt::Display for StartFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => time.fmt(f),
            Self::Offset(offset) => offset.fmt(f),
        }
    }
}

/// A type that is written as one word, in YAML a text or a number.
macro_rules! word {
    ($type:ty, $name:literal, $expecting:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl Visitor<'_> for Word {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        <$type>::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }

                deserializer.deserialize_any(Word)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

word!(Size, "size", "a size such as `64MiB`, `64MB` or `65536` (bytes)", {
    "title": "size", "type": ["string", "integer"], "minimum": 0
});
word!(Age, "duration", "a duration with its unit, such as `1s`, `100ms` or `1m`", {
    "title": "duration", "type": "string"
});
word!(Workers, "workers", "`auto` or a whole number such as `4`", {
    "title": "`auto` or number", "type": ["string", "integer"], "minimum": 1
});
word!(
    StartFrom,
    "start",
    "`earliest`, `latest`, a time such as `2026-11-24T00:00:00Z` or `2026-11-24`, or an offset such as `1000`",
    { "title": "`earliest`, `latest`, time or offset", "type": ["string", "integer"], "minimum": 0 }
);

/// A text, number or boolean, as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Scalar(pub(super) String);

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "text, number or boolean", "type": ["string", "number", "boolean"] })
    }
}

/// A text or a list of texts.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts such as `[customer, id]`")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "texts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "text or list of texts", "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// A map that keeps the file's order.
#[derive(Clone, Debug)]
pub(super) struct Ordered<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Map<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Ordered<V>, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Ordered(map))
            }
        }

        deserializer.deserialize_map(Map(PhantomData))
    }
}

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<V: JsonSchema> JsonSchema for Ordered<V> {
    fn schema_name() -> Cow<'static, str> {
        format!("map_of_{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut value = generator.subschema_for::<V>();
        if value.get("type").is_some_and(|kind| kind == "object") {
            value.insert("type".to_owned(), serde_json::json!(["object", "null"]));
        }
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("65536", 65_536),
            ("64MiB", 64 << 20),
            ("64 MB", 64_000_000),
            ("1gib", 1 << 30),
            ("3B", 3),
            ("1_000", 1000),
        ];
        for (text, bytes) in cases {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "64M", "1.5MiB", "-1", "+1", "64 TiB", "99999999999GiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        for bytes in [0, 1, 1000, 1024, 64 << 20, 3 << 30] {
            assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
        }
    }

    #[test]
    fn starts() {
        let time = |text: &str| Some(StartFrom::Time(text.parse().expect("a time")));
        let cases = [
            ("earliest", Some(StartFrom::Earliest)),
            ("latest", Some(StartFrom::Latest)),
            ("0", Some(StartFrom::Offset(0))),
            ("1000", Some(StartFrom::Offset(1000))),
            ("2026-11-24T01:02:03.5+02:00", time("2026-11-23T23:02:03.5Z")),
            ("2026-11-24", time("2026-11-24T00:00:00Z")),
        ];
        for (text, start) in cases {
            assert_eq!(StartFrom::parse(text), start, "{text}");
            let written = start.expect("one").to_string();
            assert_eq!(StartFrom::parse(&written), start, "{written}");
        }
        // Without its zone a time is not one moment.
        for text in ["", "-1", "+1", "1.5", "99999999999999999999", "2026-11-24T00:00:00", "1969-12-31", "earlist"] {
            assert_eq!(StartFrom::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        let cases = [("1s", 1000), ("100ms", 100), ("1m", 60_000), ("1m 30s", 90_000), ("2 hours", 7_200_000)];
        for (text, millis) in cases {
            assert_eq!(Age::parse(text), Some(Age(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "1", "s", "-1s", "1s ago", "1 month"] {
            assert_eq!(Age::parse(text), None, "{text}");
        }
        for millis in [1, 100, 1000, 60_000, 90_000] {
            let age = Age(Duration::from_millis(millis));
            assert_eq!(Age::parse(&age.to_string()), Some(age), "{age}");
        }
    }
}
