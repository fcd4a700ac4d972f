//! `registry`, and the formats that need it.

use std::path::PathBuf;

use url::Url;

use super::Checker;
use crate::config::raw::{KeyFormat, RawOAuth, RawRegistry, RawTopic, ValueFormat};
use crate::config::settings::{Format, RegistryAccess, RegistrySettings};
use crate::config::template;
use crate::config::tree::dotted;
use crate::decode::Schema;
use crate::schemas::Schemas;

const HELP: &str = "say where the schemas are: `registry: { url: http://localhost:8081 }`";

impl Checker<'_> {
    /// The schemas, where the file says where they are.
    pub(super) fn registry(&mut self, raw: RawRegistry) -> Option<Schemas> {
        let RawRegistry { url, username, password, token, oauth, ca, certificate, private_key } = raw;
        let path = ["registry", "url"];
        let mut urls = Vec::new();
        for text in &url.0 {
            match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => urls.push(url),
                _ => self.refuse(&path, "`registry.url` is no URL of HTTP".to_owned(), HELP),
            }
        }
        let others = [
            ("username", username.is_some()),
            ("password", password.is_some()),
            ("token", token.is_some()),
            ("oauth", oauth.is_some()),
            ("ca", ca.is_some()),
            ("certificate", certificate.is_some()),
            ("private_key", private_key.is_some()),
        ];
        if url.0.is_empty() {
            if let Some((key, _)) = others.iter().find(|(_, said)| *said) {
                self.refuse(&["registry", key], format!("`registry.{key}` needs `registry.url`"), HELP);
            }
            return None;
        }
        // Of a URL with user and password, as `kafka-avro-console-consumer` and others take it.
        let (of_url, without): (Vec<_>, Vec<_>) = urls.iter().map(user_and_password).unzip();
        let basic = match (username, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => of_url.into_iter().flatten().next(),
            (user, _) => {
                let (has, lacks) = if user.is_some() { ("username", "password") } else { ("password", "username") };
                self.refuse(&["registry", has], format!("`registry.{has}` needs `registry.{lacks}`"), "");
                None
            }
        };
        let oauth = oauth.map(|oauth| self.oauth(oauth));
        let access = match (basic, token, oauth) {
            (None, None, None) => RegistryAccess::None,
            (Some((user, password)), None, None) => RegistryAccess::Basic { user, password },
            (None, Some(token), None) => RegistryAccess::Bearer(token),
            (None, None, Some(oauth)) => oauth?,
            _ => {
                let help = "say a user with a password, or a token, or where tokens are got";
                self.refuse(&["registry"], "`registry` says who we are in more than one way".to_owned(), help);
                return None;
            }
        };
        let certificate = match (certificate, private_key) {
            (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
            (None, None) => None,
            (certificate, _) => {
                let names = ["certificate", "private_key"];
                let [has, lacks] = if certificate.is_some() { names } else { [names[1], names[0]] };
                self.refuse(&["registry", has], format!("`registry.{has}` needs `registry.{lacks}`"), "");
                None
            }
        };
        let settings = RegistrySettings { urls: without, access, ca: ca.map(PathBuf::from), certificate };
        Some(Schemas::new(settings))
    }

    fn oauth(
        &mut self,
        RawOAuth { url, client_id, client_secret, scope, headers }: RawOAuth,
    ) -> Option<RegistryAccess> {
        let text = self.required(&["registry", "oauth", "url"], url, "say where tokens are got");
        let client_id = self.required(&["registry", "oauth", "client_id"], client_id, "say who asks for them");
        let secret = ["registry", "oauth", "client_secret"];
        let client_secret = self.required(&secret, client_secret, "it is best kept in the environment: ${env:SECRET}");
        let url = match Url::parse(&text) {
            Ok(url) => url,
            Err(_) if text.is_empty() => return None,
            Err(error) => {
                self.refuse(&["registry", "oauth", "url"], format!("`registry.oauth.url` is no URL: {error}"), "");
                return None;
            }
        };
        Some(RegistryAccess::OAuth { url, client_id, client_secret, scope, headers })
    }

    /// How the values of a topic's records are written.
    pub(super) fn value_format(&mut self, topic: &str, raw: &RawTopic, schemas: Option<&Schemas>) -> Format {
        if let (ValueFormat::Json | ValueFormat::ConnectJson, Some(_)) = (raw.value, &raw.value_schema) {
            self.needless(topic, "value");
        }
        match raw.value {
            ValueFormat::Json => Format::Json,
            ValueFormat::ConnectJson | ValueFormat::Avro => {
                let by_field = raw.table.iter().flat_map(|table| template::templates(table));
                if let Some((template, _)) =
                    by_field.into_iter().find(|(_, inner)| inner.is_some_and(|inner| inner.starts_with("field:")))
                {
                    let place = self.tree.place(&["topics", topic, "table"]).map(|place| place.find(template));
                    let problem = crate::config::error::Problem::new(format!("`{template}` needs `value: json`"));
                    self.problems.push(problem.help("let a header say it: `${header:x}`").at(place));
                }
                if matches!(raw.value, ValueFormat::ConnectJson) {
                    return Format::ConnectJson;
                }
                self.avro(topic, "value", schemas, raw.value_schema.as_deref())
            }
        }
    }

    /// How the keys of a topic's records are written.
    pub(super) fn key_format(&mut self, topic: &str, raw: &RawTopic, schemas: Option<&Schemas>) -> Format {
        if let (KeyFormat::Json | KeyFormat::String | KeyFormat::ConnectJson, Some(_)) = (raw.key, &raw.key_schema) {
            self.needless(topic, "key");
        }
        match raw.key {
            KeyFormat::Json => Format::Json,
            KeyFormat::String => Format::String,
            KeyFormat::ConnectJson => Format::ConnectJson,
            KeyFormat::Avro => self.avro(topic, "key", schemas, raw.key_schema.as_deref()),
        }
    }

    fn needless(&mut self, topic: &str, part: &str) {
        let key = format!("{part}_schema");
        let path = ["topics", topic, &key];
        self.refuse(&path, format!("`{}` needs `{part}: avro`", dotted(&path)), "");
    }

    fn avro(&mut self, topic: &str, key: &str, schemas: Option<&Schemas>, file: Option<&str>) -> Format {
        if let Some(file) = file {
            let schema = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
            let schema = schema.and_then(|text| {
                Schema::of_avro(&text, &[] as &[&str]).map_err(|why| format!("is no Avro schema: {why}"))
            });
            return match schema {
                Ok(schema) => Format::Avro(Schemas::of_file(schema)),
                Err(why) => {
                    let key = format!("{key}_schema");
                    self.refuse(&["topics", topic, &key], format!("`{file}` {why}"), "");
                    Format::Json
                }
            };
        }
        if let Some(schemas) = schemas {
            return Format::Avro(schemas.clone());
        }
        let path = ["topics", topic, key];
        self.refuse(&path, format!("`{}: avro` needs `registry.url`", dotted(&path)), HELP);
        Format::Json
    }
}

/// What a URL says of a user, and the URL without it.
fn user_and_password(url: &Url) -> (Option<(String, String)>, Url) {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user =
        (!url.username().is_empty()).then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
    let mut without = url.clone();
    let _ = without.set_username("");
    let _ = without.set_password(None);
    (user, without)
}
