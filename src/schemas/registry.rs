//! What a schema registry says of a schema: Confluent's API, which Apicurio's and Karapace's servers have, too.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::SchemaId;
use crate::config::{RegistryAccess, RegistrySettings};
use crate::problem::Problem;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer at most. Registries take schemas of 1 MB.
const LARGEST: usize = 8 << 20;
/// Schemas that a schema may need.
const MOST: usize = 1_000;
/// A token is asked for again so long before it ends.
const EARLY: Duration = Duration::from_secs(30);

/// What came of a question.
pub(super) enum Answer {
    /// The schema and those that it speaks of, each behind those that it speaks of itself.
    Schema {
        /// Such as `AVRO`.
        kind: String,
        text: String,
        references: Vec<String>,
    },
    /// The registry is sure: there is none, or none that can be used.
    Refused(String),
    /// It may say something else the next time.
    Later(String),
}

/// A registry, or several with the same schemas.
pub(super) struct Registry {
    client: Client,
    urls: Vec<Url>,
    access: RegistryAccess,
    /// A token that was got, and until when it holds.
    token: Mutex<Option<(String, Instant)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema: String,
    /// Absent for Avro.
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

impl Registry {
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, Problem> {
        let mut client = Client::builder().timeout(TIMEOUT).user_agent(concat!("rowfall/", env!("CARGO_PKG_VERSION")));
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| {
                Problem::new(format!("cannot read {}: {error}", path.display()), "see what `registry` says of files")
            })
        };
        let wrong = |what: &str, error: reqwest::Error| {
            Problem::new(format!("`registry.{what}` cannot be used: {error}"), "it must be PEM")
        };
        if let Some(path) = &settings.ca {
            let roots = reqwest::Certificate::from_pem_bundle(&read(path)?).map_err(|error| wrong("ca", error))?;
            client = roots.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        if let Some((certificate, key)) = &settings.certificate {
            let both = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
            let identity = reqwest::Identity::from_pem(&both).map_err(|error| wrong("certificate", error))?;
            client = client.identity(identity);
        }
        let client = client.build().map_err(|error| Problem::new(format!("no client for HTTP: {error}"), ""))?;
        Ok(Self { client, urls: settings.urls.clone(), access: settings.access.clone(), token: Mutex::default() })
    }

    /// What the registry says of this schema.
    pub(super) async fn schema(&self, id: &SchemaId) -> Answer {
        let kind = match id {
            SchemaId::Number(_) => "ids",
            SchemaId::Guid(_) => "guids",
        };
        let path = ["schemas", kind, &id.to_string()];
        let Body { schema, schema_type, references } = match self.body(&path, &format!("schema {id}")).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let mut texts = Vec::new();
        match self.referenced(references, &mut texts).await {
            Ok(()) => Answer::Schema {
                kind: schema_type.unwrap_or_else(|| "AVRO".to_owned()),
                text: schema,
                references: texts,
            },
            Err(answer) => answer,
        }
    }

    /// The schemas that a schema needs, those that they need before them.
    async fn referenced(&self, references: Vec<Reference>, texts: &mut Vec<String>) -> Result<(), Answer> {
        // What is still to be done, the next at the end: a schema to be asked for, or one whose own came before it.
        enum Step {
            Ask(Reference),
            Have(String),
        }
        let mut steps: Vec<_> = references.into_iter().rev().map(Step::Ask).collect();
        let mut seen = HashSet::new();
        while let Some(step) = steps.pop() {
            match step {
                Step::Have(text) => texts.push(text),
                Step::Ask(Reference { subject, version }) => {
                    if !seen.insert((subject.clone(), version)) {
                        continue;
                    }
                    if seen.len() > MOST {
                        return Err(Answer::Refused(format!("a schema needs more than {MOST} others")));
                    }
                    let path = ["subjects", &subject, "versions", &version.to_string()];
                    let body = self.body(&path, &format!("version {version} of subject {subject}")).await?;
                    steps.push(Step::Have(body.schema));
                    steps.extend(body.references.into_iter().rev().map(Step::Ask));
                }
            }
        }
        Ok(())
    }

    /// Asks each server until one answers.
    async fn body(&self, path: &[&str], what: &str) -> Result<Body, Answer> {
        let mut why = String::new();
        for url in &self.urls {
            match self.ask(url, path, what).await {
                Err(Answer::Later(later)) => why = later,
                done => return done,
            }
        }
        Err(Answer::Later(why))
    }

    async fn ask(&self, url: &Url, path: &[&str], what: &str) -> Result<Body, Answer> {
        let shown = shown(url);
        let mut full = url.clone();
        full.path_segments_mut().expect("a URL of HTTP has a path").pop_if_empty().extend(path);
        let request = self.with_access(self.client.get(full)).await.map_err(Answer::Later)?;
        let failed = |error: reqwest::Error| Answer::Later(format!("{shown} does not answer: {}", cause(&error)));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST {
                return Err(match status {
                    StatusCode::OK => Answer::Refused(format!("{what} of {shown} has more than {LARGEST} bytes")),
                    _ => Answer::Later(format!("{shown} answers {status}")),
                });
            }
        }
        let answers = || Answer::Later(format!("{shown} answers {status}{}", said(&bytes)));
        match status {
            StatusCode::OK => serde_json::from_slice(&bytes).map_err(|_| {
                Answer::Later(format!("{shown} answers something that no schema registry says{}", said(&bytes)))
            }),
            // Other servers have no page of this name, too; a registry says so in JSON with a code of its own.
            StatusCode::NOT_FOUND if is_registry(&bytes) => Err(Answer::Refused(format!("{shown} has no {what}"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                *self.token.lock().await = None;
                Err(answers())
            }
            _ => Err(answers()),
        }
    }

    /// The request with what the registry wants to see of us.
    async fn with_access(&self, request: RequestBuilder) -> Result<RequestBuilder, String> {
        match &self.access {
            RegistryAccess::None => Ok(request),
            RegistryAccess::Basic { user, password } => Ok(request.basic_auth(user, Some(password))),
            RegistryAccess::Bearer(token) => Ok(request.bearer_auth(token)),
            RegistryAccess::OAuth { url, client_id, client_secret, scope, headers } => {
                let mut token = self.token.lock().await;
                if token.as_ref().is_none_or(|(_, until)| Instant::now() >= *until) {
                    let mut form = vec![("grant_type", "client_credentials")];
                    form.extend(scope.as_deref().map(|scope| ("scope", scope)));
                    let request = self.client.post(url.clone()).basic_auth(client_id, Some(client_secret)).form(&form);
                    let failed = |error: reqwest::Error| format!("{} gives no token: {}", shown(url), cause(&error));
                    let response =
                        request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
                    let got: Token = response.json().await.map_err(failed)?;
                    let holds = Duration::from_secs(got.expires_in.unwrap_or(300)).saturating_sub(EARLY);
                    *token = Some((got.access_token, Instant::now() + holds));
                }
                let (token, _) = token.as_ref().expect("just got");
                let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
                Ok(request.bearer_auth(token))
            }
        }
    }
}

/// What registries say of an error.
#[derive(Deserialize)]
struct Said {
    error_code: Option<i64>,
    message: Option<String>,
}

fn is_registry(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Said>(bytes).is_ok_and(|said| said.error_code.is_some())
}

/// The message in an answer, where it has one.
fn said(bytes: &[u8]) -> String {
    let said = serde_json::from_slice::<Said>(bytes).ok().and_then(|said| said.message);
    said.map_or_else(String::new, |message| format!(": {}", message.chars().take(200).collect::<String>()))
}

/// Without user and password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// The last of what led to it, which says the most.
fn cause(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server that answers by path, and notes what it is asked.
    struct Fake {
        url: Url,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Fake {
        fn start(answers: &'static [(&'static str, &'static str, &'static str)]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}/api/", listener.local_addr().expect("bound"));
            let asked = Arc::<Mutex<Vec<String>>>::default();
            let noted = Arc::clone(&asked);
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let mut request = Vec::new();
                    let mut some = [0; 4_096];
                    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                        match stream.read(&mut some) {
                            Ok(read @ 1..) => request.extend_from_slice(&some[..read]),
                            _ => break,
                        }
                    }
                    let request = String::from_utf8_lossy(&request).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    let known = answers.iter().find(|(known, ..)| *known == path);
                    let (_, status, body) =
                        known.unwrap_or(&("", "404 Not Found", r#"{"error_code":40403,"message":"no"}"#));
                    noted.lock().expect("no panic while held").push(request);
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                    );
                }
            });
            Self { url: url.parse().expect("a URL"), asked }
        }

        /// The lines of the requests that begin so.
        fn heard(&self, beginning: &str) -> Vec<String> {
            let asked = self.asked.lock().expect("no panic while held");
            let lines = asked.iter().flat_map(|request| request.lines());
            lines.filter(|line| line.to_ascii_lowercase().starts_with(beginning)).map(str::to_owned).collect()
        }
    }

    fn registry(urls: &[&Url], access: RegistryAccess) -> Registry {
        let urls = urls.iter().map(|url| (*url).clone()).collect();
        Registry::new(&RegistrySettings { urls, access, ca: None, certificate: None }).expect("a registry")
    }

    fn ask(registry: &Registry, id: u32) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        match runtime.block_on(registry.schema(&SchemaId::Number(id))) {
            Answer::Schema { kind, text, references } => format!("{kind} {text} {references:?}"),
            Answer::Refused(why) => format!("refused: {why}"),
            Answer::Later(why) => format!("later: {why}"),
        }
    }

    const SCHEMAS: &[(&str, &str, &str)] = &[
        ("/api/schemas/ids/1", "200 OK", r#"{"schema":"\"string\""}"#),
        (
            "/api/schemas/ids/2",
            "200 OK",
            r#"{"schema":"a","schemaType":"AVRO","references":[{"name":"b","subject":"b/c","version":3},{"name":"d","subject":"d","version":1}]}"#,
        ),
        (
            "/api/subjects/b%2Fc/versions/3",
            "200 OK",
            r#"{"schema":"b","references":[{"name":"d","subject":"d","version":1}]}"#,
        ),
        ("/api/subjects/d/versions/1", "200 OK", r#"{"schema":"d"}"#),
        ("/api/schemas/ids/3", "200 OK", r#"{"schema":"x","references":[{"name":"y","subject":"gone","version":1}]}"#),
        ("/api/token", "200 OK", r#"{"access_token":"got","expires_in":600}"#),
    ];

    #[test]
    fn a_schema_comes_with_those_that_it_needs() {
        let fake = Fake::start(SCHEMAS);
        let registry = registry(&[&fake.url], RegistryAccess::None);
        assert_eq!(ask(&registry, 1), r#"AVRO "string" []"#);
        assert_eq!(ask(&registry, 2), r#"AVRO a ["d", "b"]"#);
        assert!(ask(&registry, 3).starts_with("refused: "), "what it needs is not there");
        assert!(ask(&registry, 9).ends_with("has no schema 9"));
    }

    #[test]
    fn it_is_told_who_asks() {
        let fake = Fake::start(SCHEMAS);
        let basic = RegistryAccess::Basic { user: "u".to_owned(), password: "p".to_owned() };
        ask(&registry(&[&fake.url], basic), 1);
        assert_eq!(fake.heard("authorization"), ["authorization: Basic dTpw"]);
        let fake = Fake::start(SCHEMAS);
        ask(&registry(&[&fake.url], RegistryAccess::Bearer("t".to_owned())), 1);
        assert_eq!(fake.heard("authorization"), ["authorization: Bearer t"]);
        let fake = Fake::start(SCHEMAS);
        let oauth = RegistryAccess::OAuth {
            url: fake.url.join("token").expect("a URL"),
            client_id: "u".to_owned(),
            client_secret: "p".to_owned(),
            scope: Some("s".to_owned()),
            headers: BTreeMap::from([("target-sr-cluster".to_owned(), "lsrc-1".to_owned())]),
        };
        let registry = registry(&[&fake.url], oauth);
        ask(&registry, 1);
        ask(&registry, 1);
        let expected = ["authorization: Basic dTpw", "authorization: Bearer got", "authorization: Bearer got"];
        assert_eq!(fake.heard("authorization"), expected, "one token is used for as long as it holds");
        assert_eq!(fake.heard("target-sr-cluster").len(), 2);
    }

    #[test]
    fn the_next_server_is_asked_where_one_does_not_answer() {
        let down = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let down: Url = format!("http://{down}/").parse().expect("a URL");
        let fake = Fake::start(SCHEMAS);
        assert_eq!(ask(&registry(&[&down, &fake.url], RegistryAccess::None), 1), r#"AVRO "string" []"#);
        assert!(ask(&registry(&[&down], RegistryAccess::None), 1).starts_with("later: "));
    }

    #[test]
    fn an_answer_that_is_too_large_is_refused() {
        let huge: &'static str = String::leak(format!(r#"{{"schema":"{}"}}"#, "x".repeat(20 << 20)));
        let answers = Box::leak(Box::new([("/api/schemas/ids/1", "200 OK", huge)]));
        let fake = Fake::start(answers);
        assert!(ask(&registry(&[&fake.url], RegistryAccess::None), 1).ends_with("has more than 8388608 bytes"));
    }
}
