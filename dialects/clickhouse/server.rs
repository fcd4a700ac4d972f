//! A ClickHouse server: how it is asked, and what its failures mean.

use std::time::Duration;

use clickhouse::query::Query;
use clickhouse::{Client, error::Error as ClientError};

use super::address::Address;
use super::codes::{self, Of};
use super::settings::PINNED;
use crate::contract::{Advice, Error, TableName};

/// For a server that should answer at once: version, system tables.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A ClickHouse server. Connections are pooled and made on demand, each statement takes one.
pub(super) struct ClickHouse {
    address: Address,
    queries: Client,
    pub(super) inserts: Client,
}

impl ClickHouse {
    pub(super) fn new(address: Address) -> Self {
        let mut client = Client::default()
            .with_url(&address.endpoint)
            .with_database(&address.database)
            .with_product_info("rowfall", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &address.user {
            client = client.with_user(user);
        }
        if let Some(password) = &address.password {
            client = client.with_password(password);
        }
        for (name, value) in &address.settings {
            client = client.with_setting(name, value);
        }
        // Answers are small, and uncompressed ones cannot be misread (26.9 compresses with zstd where a client allows
        // it). No setting is sent with questions, so that a read-only user can ask them.
        let queries = client.clone().with_compression(clickhouse::Compression::None);
        let inserts = PINNED.iter().fold(client.with_compression(address.compression), |client, (name, value)| {
            client.with_setting(*name, *value)
        });
        Self { address, queries, inserts }
    }

    /// Where it is and how to enter.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// A question of ours, taken verbatim: names in it are quoted already.
    pub(super) fn question(&self, sql: &str) -> Query {
        self.queries.query_raw(sql)
    }

    /// The table with its database.
    pub(super) fn resolve(&self, table: &TableName) -> TableName {
        let schema = table.schema.clone().unwrap_or_else(|| self.address.database.clone());
        TableName { schema: Some(schema), name: table.name.clone() }
    }

    /// The user as the server knows it.
    pub(super) fn user(&self) -> &str {
        self.address.user.as_deref().unwrap_or("default")
    }

    /// Waits for an answer, no longer than questions may take.
    pub(super) async fn answer<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Error> {
        self.within(QUERY_TIMEOUT, doing, answer).await
    }

    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        doing: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(limit, answer).await.unwrap_or(Err(ClientError::TimedOut));
        answer.map_err(|error| self.failure(doing, Of::Statement, error))
    }

    /// What an error of the client means.
    pub(super) fn failure(&self, doing: &str, of: Of, error: ClientError) -> Error {
        let endpoint = &self.address.endpoint;
        match error {
            ClientError::BadResponse(text) => {
                codes::from_exception(doing, of, &text).unwrap_or_else(|| not_clickhouse(doing, endpoint, &text))
            }
            ClientError::TimedOut => Error::new(Advice::Retry, format!("{doing}: {endpoint} did not answer in time"))
                .with_hint(format!(
                    "is {endpoint} overloaded, or a firewall between? `SELECT * FROM system.processes` shows what runs"
                )),
            ClientError::Network(source) => unreachable(doing, endpoint, source),
            error => Error::pause(format!("{doing}: {endpoint} did not answer as ClickHouse does")).with_source(error),
        }
    }
}

/// A connection that could not be made, or broke.
pub(super) fn unreachable(doing: &str, endpoint: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let mut causes = vec![source.to_string()];
    let mut cause: &dyn std::error::Error = &*source;
    while let Some(next) = cause.source() {
        cause = next;
        causes.push(cause.to_string());
    }
    let any = |text: &str| causes.iter().any(|cause| cause.contains(text));
    // The innermost says most: "Connection refused", "failed to lookup address information", "invalid peer certificate".
    let innermost = causes.last().map_or("", String::as_str);
    if any("certificate") {
        return Error::pause(format!("{doing}: {endpoint}: {innermost}"))
            .with_hint("give the server a certificate of a public authority, for the host in the target's url");
    }
    if any("InvalidContentType") {
        return Error::pause(format!("{doing}: {endpoint} does not speak TLS")).with_hint(
            "use clickhouse:// for this port, or clickhouses:// with the server's https_port, 8443 by default",
        );
    }
    let (what, hint) = if any("(Connect)") {
        ("no connection to", "is ClickHouse running there?")
    } else {
        ("a broken connection to", "did ClickHouse stop or restart?")
    };
    Error::new(Advice::Retry, format!("{doing}: {what} {endpoint}: {innermost}"))
        .with_hint(format!(
            "{hint} {endpoint} has to be its HTTP interface, port 8123, or 8443 with TLS and clickhouses://"
        ))
        .with_source(source)
}

/// What proxies, and services that are being woken up, say in place of a server that is away or busy. The client keeps
/// the status only where there was no text, so their pages are read for it.
const PASSING: &[&str] = &[
    "429 too many requests",
    "500 internal server error",
    "502 bad gateway",
    "503 service",
    "504 gateway",
    "too many requests",
    "bad gateway",
    "service unavailable",
    "temporarily unavailable",
    "gateway timeout",
    "gateway time-out",
    "upstream connect error",
    "upstream request timeout",
    "no healthy upstream",
    "waking up",
    "starting up",
    "is idle",
    "try again",
];

/// An answer without an exception: a proxy's, or another server's.
pub(super) fn not_clickhouse(doing: &str, endpoint: &str, text: &str) -> Error {
    let lower = text.to_ascii_lowercase();
    match PASSING.iter().find(|said| lower.contains(**said)) {
        Some(said) => {
            let at = lower.find(said).unwrap_or_default();
            Error::new(Advice::Retry, format!("{doing}: {endpoint} answered: {}", &text[at..at + said.len()]))
                .with_hint("look into the proxy before ClickHouse: the answer is not ClickHouse's own")
        }
        None => {
            let line = text.lines().next().unwrap_or_default().chars().take(100).collect::<String>();
            Error::pause(format!("{doing}: {endpoint} did not answer as ClickHouse does: {line}")).with_hint(
                "give the port of ClickHouse's HTTP interface: 8123, with TLS (clickhouses://) 8443; not 9000, its native protocol's",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "http://db:8123";

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Cause(&'static str, #[source] Option<Box<Cause>>);

    fn network(outer: &'static str, inner: &'static str) -> Error {
        unreachable("cannot write to shop.orders", ENDPOINT, Box::new(Cause(outer, Some(Box::new(Cause(inner, None))))))
    }

    #[test]
    fn connections_fail_in_ways_that_are_told_apart() {
        let refused = network("client error (Connect)", "Connection refused (os error 111)");
        assert_eq!(refused.advice, Advice::Retry);
        insta::assert_snapshot!(refused, @"cannot write to shop.orders: no connection to http://db:8123: Connection refused (os error 111)");
        let broken = network("client error (SendRequest)", "connection closed before message completed");
        assert_eq!(broken.advice, Advice::Retry);
        insta::assert_snapshot!(broken, @"cannot write to shop.orders: a broken connection to http://db:8123: connection closed before message completed");
        let untrusted = network("client error (Connect)", "invalid peer certificate: UnknownIssuer");
        assert_eq!(untrusted.advice, Advice::Pause);
        insta::assert_snapshot!(untrusted, @"cannot write to shop.orders: http://db:8123: invalid peer certificate: UnknownIssuer");
    }

    #[test]
    fn proxies_pass_and_other_servers_stay() {
        let error = |text: &str| not_clickhouse("cannot use the server", ENDPOINT, text);
        let proxy = error("<html><head><title>502 Bad Gateway</title></head></html>");
        assert_eq!(proxy.advice, Advice::Retry);
        insta::assert_snapshot!(proxy, @"cannot use the server: http://db:8123 answered: 502 Bad Gateway");
        for text in ["503 Service Unavailable", "<h1>503 Service Temporarily Unavailable</h1>", "Service waking up"] {
            assert_eq!(error(text).advice, Advice::Retry, "{text}");
        }
        let native = error("Port 50000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.");
        assert_eq!(native.advice, Advice::Pause);
        insta::assert_snapshot!(native, @"cannot use the server: http://db:8123 did not answer as ClickHouse does: Port 50000 is for clickhouse-client program");
    }
}
