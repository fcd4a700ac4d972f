use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clickhouse::query::Query;
use clickhouse::{Client, error::Error as ClientError};

use super::address::Address;
use super::codes::Of;
use super::native::Encoder;
use super::{check, codes, describe, grammar};
use crate::contract::{Advice, Block, Error, Receipt, Session, TableName, TableSchema, Target};

/// What every insert sets, whatever the server's or the user's profile says.
pub(super) const PINNED: &[(&str, &str)] = &[
    // Acknowledged means stored: no queue in the server's memory (the default since 26.3), none on a Distributed
    // table's disk, and no status line before the end is known.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    ("distributed_foreground_insert", "1"),
    ("wait_end_of_query", "1"),
    // Absent rows travel as nulls and become the column's default.
    ("input_format_null_as_default", "1"),
    ("input_format_defaults_for_omitted_fields", "1"),
    // Columns are sent under their own types. Where one has changed since the table was described, the server would
    // cast, and cut what does not fit: 2³³+7 becomes 7. (LowCardinality and nullability are no conversions to it.)
    ("input_format_native_allow_types_conversion", "0"),
    // A column that is gone is an error, not silence.
    ("input_format_skip_unknown_fields", "0"),
];

/// What must be so and is the server's default, but is not sent: servers without the setting would refuse it. With it,
/// one block becomes several parts, which are not kept or lost together.
pub(super) const EXPECTED: (&str, &str) = ("use_strict_insert_block_limits", "0");

/// Bytes that are encoded and sent at a time; with compression one frame of it, for which 1 MiB is ClickHouse's own
/// measure.
const CHUNK: usize = 1 << 20;

/// How many inserts into one table may be under way: enough to keep the network and two or three of the server's cores
/// busy. Each leaves a part to merge and holds a block, so more would cost both sides memory.
const PARALLEL_WRITES: usize = 4;

/// For a server that should answer at once: version, system tables.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// For DDL, which may wait for other replicas.
const DDL_TIMEOUT: Duration = Duration::from_secs(300);

/// For the connection and for each chunk to be taken. Longer than the server's own patience with a silent client
/// (`http_receive_timeout`, 30 s), so that a stalled server is told from a stalled network by its answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// From the last byte of an insert to its acknowledgement, materialized views and replicas included. As long as
/// `receive_timeout` in ClickHouse's own clients: giving up on an insert that succeeds means sending it twice.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(300);

/// A ClickHouse server. Connections are pooled and made on demand, each statement takes one.
pub(super) struct ClickHouse {
    address: Address,
    queries: Client,
    inserts: Client,
}

impl ClickHouse {
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        let address = Address::of(target)?;
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
        let compression = if address.compress { clickhouse::Compression::Lz4 } else { clickhouse::Compression::None };
        let inserts = PINNED
            .iter()
            .fold(client.with_compression(compression), |client, (name, value)| client.with_setting(*name, *value));
        Ok(Self { address, queries, inserts })
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

    async fn within<T>(
        &self,
        limit: Duration,
        doing: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(limit, answer).await.unwrap_or(Err(ClientError::TimedOut));
        answer.map_err(|error| self.failure(doing, Of::Statement, error))
    }

    /// What an error of the client means.
    fn failure(&self, doing: &str, of: Of, error: ClientError) -> Error {
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
fn unreachable(doing: &str, endpoint: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
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

/// What proxies say of servers that are away or busy.
const PASSING: &[&str] = &[
    "429 Too Many Requests",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service",
    "504 Gateway",
    "upstream connect error",
    "no healthy upstream",
];

/// An answer without an exception: a proxy's, or another server's.
fn not_clickhouse(doing: &str, endpoint: &str, text: &str) -> Error {
    // The client keeps the status only where there was no text, so proxies' pages are read for it.
    match PASSING.iter().find(|status| text.contains(**status)) {
        Some(status) => Error::new(Advice::Retry, format!("{doing}: {endpoint} answered: {status}"))
            .with_hint("look into the proxy before ClickHouse: the answer is not ClickHouse's own"),
        None => {
            let line = text.lines().next().unwrap_or_default().chars().take(100).collect::<String>();
            Error::pause(format!("{doing}: {endpoint} did not answer as ClickHouse does: {line}")).with_hint(
                "give the port of ClickHouse's HTTP interface: 8123, with TLS (clickhouses://) 8443; not 9000, its native protocol's",
            )
        }
    }
}

#[async_trait]
impl Session for ClickHouse {
    fn parallel_writes(&self) -> usize {
        PARALLEL_WRITES
    }

    async fn server(&self) -> Result<String, Error> {
        let version = self.question("SELECT version()").fetch_one::<String>();
        let version = self.answer("cannot use the server", version).await?;
        Ok(format!("ClickHouse {version}"))
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        describe::describe(self, &self.resolve(table)).await
    }

    async fn check(&self, table: &TableSchema) -> Result<Vec<Error>, Error> {
        check::check(self, &self.inserts, table).await
    }

    async fn execute(&self, statement: &str) -> Result<(), Error> {
        // The status is sent when the statement is done, not when it starts.
        let done = self.question(statement).with_setting("wait_end_of_query", "1").execute();
        self.within(DDL_TIMEOUT, "cannot execute the statement", done).await
    }

    async fn write(&self, block: &Block) -> Result<Receipt, Error> {
        if block.rows == 0 {
            return Ok(Receipt::default());
        }
        let mut encoder = Encoder::new(block, CHUNK)?;
        let table = self.resolve(&block.layout.table.name);
        let columns: Vec<_> = encoder.columns().map(|column| grammar::quote(&column.name)).collect();
        let sql = format!("INSERT INTO {} ({}) FORMAT Native", grammar::quote_table(&table), columns.join(", "));
        let doing = format!("cannot write to {table}");

        let mut insert =
            self.inserts.insert_formatted_with(sql).with_timeouts(Some(SEND_TIMEOUT), Some(ACKNOWLEDGE_TIMEOUT));
        let mut bytes = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if !encoder.next_chunk(&mut chunk) {
                break;
            }
            bytes += chunk.len();
            match insert.send(Bytes::from(chunk)).await {
                Ok(()) => {}
                // Dropping the insert aborts it.
                Err(error @ ClientError::TimedOut) => return Err(self.failure(&doing, Of::Rows, error)),
                // The server answered before it had everything. What it said is better than "channel closed"; that it
                // was content cannot be.
                Err(error) => {
                    let answer = insert.end().await;
                    return Err(self.failure(&doing, Of::Rows, answer.err().unwrap_or(error)));
                }
            }
        }
        insert.end().await.map_err(|error| self.failure(&doing, Of::Rows, error))?;
        // The client keeps the server's own count (X-ClickHouse-Summary) to itself; an insert is taken whole.
        Ok(Receipt { rows: block.rows, bytes })
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
        let error = |text| not_clickhouse("cannot use the server", ENDPOINT, text);
        let proxy = error("<html><head><title>502 Bad Gateway</title></head></html>");
        assert_eq!(proxy.advice, Advice::Retry);
        insta::assert_snapshot!(proxy, @"cannot use the server: http://db:8123 answered: 502 Bad Gateway");
        let native = error("Port 50000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.");
        assert_eq!(native.advice, Advice::Pause);
        insta::assert_snapshot!(native, @"cannot use the server: http://db:8123 did not answer as ClickHouse does: Port 50000 is for clickhouse-client program");
    }
}
