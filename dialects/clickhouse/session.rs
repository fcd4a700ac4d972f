use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clickhouse::error::Error as ClientError;
use tokio::time::sleep;

use super::codes::Of;
use super::hosts::Hosts;
use super::native::{Encoder, regroup};
use super::ops::Further;
use super::server::ClickHouse;
use super::{again, alter, check, cluster, describe, grammar};
use crate::contract::{
    Advice, Block, Ddl, Error, Intent, Progress, Receipt, Session, TableColumn, TableName, TableSchema,
};
use crate::failpoint;

/// Bytes that are encoded and sent at a time; with compression one frame of it. They stay in the processor's cache until they
/// are sent, and are small enough to be taken from the heap again and again.
const CHUNK: usize = 48 << 10;

/// For DDL, which may wait for other replicas.
const DDL_TIMEOUT: Duration = Duration::from_secs(300);

/// How long every server of a cluster may take to show what DDL changed.
const EVERYWHERE_TIMEOUT: Duration = Duration::from_secs(60);

/// After a column was changed, until others who looked at it before have changed it too.
const ALTERED_BY_ALL: Duration = Duration::from_millis(300);

/// For the connection and for each chunk to be taken. Longer than the server's own patience with a silent client
/// (`http_receive_timeout`, 30 s), so that a stalled server is told from a stalled network by its answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// From the last byte of an insert to its acknowledgement, materialized views and replicas included. As long as
/// `receive_timeout` in ClickHouse's own clients: giving up on an insert that succeeds means sending it twice.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(300);

#[async_trait]
impl Session for Hosts {
    async fn server(&self) -> Result<String, Error> {
        self.ask(async |server| {
            let version = server.question("SELECT version()").fetch_one::<String>();
            let version = server.answer("cannot use the server", version).await?;
            Ok(format!("ClickHouse {version}"))
        })
        .await
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        let table = &self.any().resolve(table);
        self.ask(|server| describe::describe(server, table)).await
    }

    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error> {
        match intent {
            Intent::Write { table, keyed, cluster } => {
                let mut problems = self.check_write(table, keyed).await?;
                if let Some(cluster) = cluster {
                    problems.extend(self.everywhere(cluster, table, Duration::ZERO).await.err());
                }
                Ok(problems)
            }
            Intent::Deduplicate { table, blocks, within } => {
                let mut problems =
                    self.ask(|server| again::problems(server, table, blocks, within, &self.moving)).await?;
                problems.extend(again::only_one(table, self.all().len()));
                Ok(problems)
            }
            Intent::Create(spec) => {
                let name = &self.any().resolve(&spec.name);
                self.ask(|server| check::check_create(server, name, spec)).await
            }
        }
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        for statement in &ddl.statements {
            let Some(statement) = &self.still_needed(&ddl.table, statement).await? else { continue };
            let done = self.ask(async |server| {
                // The status is sent when the statement is done, not when it starts.
                let done = server.question(statement).with_setting("wait_end_of_query", "1").execute();
                server.within(DDL_TIMEOUT, "cannot execute the statement", done).await
            });
            let done = done.await;
            if !alter::modifies(statement) {
                done?;
                continue;
            }
            // No lock spans the look and the change: who looked before this change may be about to undo it.
            sleep(ALTERED_BY_ALL).await;
            let is_as_before = match self.still_needed(&ddl.table, statement).await {
                Ok(left) if done.is_ok() => !left.is_some_and(|left| alter::modifies(&left)),
                Ok(left) => left.as_ref() == Some(statement),
                Err(error) => error.advice != Advice::Refresh,
            };
            if !is_as_before {
                let what = format!("{} was altered by another process at the same time", ddl.table);
                return Err(Error::new(Advice::Refresh, what));
            }
            done?;
        }
        let Some(cluster) = &ddl.cluster else { return Ok(()) };
        match self.describe(&ddl.table).await? {
            Some(table) => self.everywhere(cluster, &table, EVERYWHERE_TIMEOUT).await,
            None => Err(Error::new(Advice::Retry, format!("{} is not there yet", ddl.table))),
        }
    }

    async fn write(&self, blocks: &[&Block], _: Option<&Progress>) -> Result<Receipt, Error> {
        let mut written = Receipt::default();
        for block in blocks.iter().filter(|block| block.rows > 0) {
            let host = self.turn();
            self.moving.refuse(&host.server.resolve(&block.layout.table.name), block)?;
            let receipt = host.remember(insert(&host.server, block).await);
            if receipt.as_ref().is_err_and(|error| error.advice == Advice::Cut) {
                self.cuts.refused(&host.server.resolve(&block.layout.table.name));
            }
            written += receipt?;
        }
        Ok(written)
    }

    async fn cut(&self, block: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
        self.ask(|server| self.cuts.pieces(server, block)).await
    }
}

impl Hosts {
    async fn still_needed(&self, table: &TableName, statement: &str) -> Result<Option<String>, Error> {
        if !alter::modifies(statement) {
            return Ok(Some(statement.to_owned()));
        }
        match self.describe(table).await? {
            Some(table) => alter::still_needed(statement, &table),
            None => Err(Error::new(Advice::Refresh, format!("{table} is not there any more"))),
        }
    }

    async fn everywhere(&self, cluster: &str, table: &TableSchema, patience: Duration) -> Result<(), Error> {
        self.ask(|server| cluster::everywhere(server, cluster, table, patience)).await
    }

    /// What keeps this user from writing the table, on each host.
    async fn check_write(&self, table: &TableSchema, keyed: bool) -> Result<Vec<Error>, Error> {
        if let [host] = self.all() {
            return check::check(&host.server, table, keyed).await;
        }
        let (mut problems, mut failure) = (Vec::new(), None);
        for host in self.all() {
            let endpoint = &host.server.address().endpoint;
            let found = async {
                match same_table(&host.server, table).await? {
                    Some(problem) => Ok(vec![problem]),
                    None => check::check(&host.server, table, keyed).await,
                }
            };
            match host.remember(found.await) {
                Ok(found) => problems.extend(found.into_iter().map(|problem| at(endpoint, problem))),
                Err(error) if error.advice == Advice::Retry => {
                    tracing::warn!(table = %table.name, "{endpoint} is left out while it does not answer: {error}");
                    failure = Some(failure.map_or((error, 1), |(error, count)| (error, count + 1)));
                }
                Err(error) => problems.push(at(endpoint, error)),
            }
        }
        match failure {
            Some((error, count)) if count == self.all().len() => Err(error),
            _ => Ok(problems),
        }
    }
}

/// What keeps a host from being written to as the one that described the table is.
async fn same_table(server: &ClickHouse, table: &TableSchema) -> Result<Option<Error>, Error> {
    let name = &table.name;
    const HINT: &str = "every host in the target's url has to reach the same table: a replica of it, or a Distributed \
                        table over it";
    let Some(other) = describe::describe(server, name).await? else {
        return Ok(Some(Error::pause(format!("{name} does not exist here, but on another host")).with_hint(HINT)));
    };
    if other.columns == table.columns {
        return Ok(None);
    }
    let differs = |column: &&TableColumn| !other.columns.contains(column);
    let column =
        table.columns.iter().find(differs).or_else(|| other.columns.iter().find(|c| !table.columns.contains(c)));
    let which = column.map_or_else(|| "in the order of its columns".into(), |c| format!("in column {}", c.name));
    Ok(Some(
        Error::pause(format!("{name} is not the same table as on another host: it differs {which}")).with_hint(HINT),
    ))
}

/// The error with the host that it is about.
fn at(endpoint: &str, error: Error) -> Error {
    Error { message: format!("{endpoint}: {}", error.message), ..error }
}

/// With the columns that may be meant, where the server does not take a JSON text and does not say whose it is.
fn of_json(block: &Block, error: Error) -> Error {
    let columns = block.layout.columns().filter(|column| column.type_text.contains("JSON"));
    let columns: Vec<_> = columns.map(|column| format!("`{}`", column.name)).collect();
    if error.code.as_deref() != Some("117") || !error.message.contains("JSON") || columns.is_empty() {
        return error;
    }
    Error { message: format!("{}, in column {}", error.message, columns.join(" or ")), ..error }
}

async fn insert(server: &ClickHouse, block: &Block) -> Result<Receipt, Error> {
    let regrouped = regroup(block)?;
    let block = regrouped.as_ref().unwrap_or(block);
    let further = Further::of(block)?;
    let mut encoder = Encoder::new(block, &further, CHUNK)?;
    let table = server.resolve(&block.layout.table.name);
    if !again::is_to_be_sent(server, &table, block).await? {
        return Ok(Receipt { rows: block.rows, bytes: 0 });
    }
    let columns: Vec<_> = encoder.columns().map(|column| grammar::quote(&column.name)).collect();
    let sql = format!("INSERT INTO {} ({}) FORMAT Native", grammar::quote_table(&table), columns.join(", "));
    let doing = format!("cannot write to {table}");
    let failure = |error| of_json(block, server.failure(&doing, Of::Rows, error));

    let mut insert =
        server.inserts.insert_formatted_with(sql).with_timeouts(Some(SEND_TIMEOUT), Some(ACKNOWLEDGE_TIMEOUT));
    // Equal rows that come without a token are meant to be there twice: the server would take them for the same block.
    let token = block.token.as_ref().filter(|_| !failpoint::breaks("deduplication"));
    let token = token.map_or_else(again::fresh, |token| Arc::clone(&token.text));
    insert = insert.with_setting("insert_deduplication_token", &*token);
    let mut bytes = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        if !encoder.next_chunk(&mut chunk) {
            break;
        }
        bytes += chunk.len();
        match insert.send(Bytes::from(chunk)).await {
            Ok(()) => failpoint::at("in the body"),
            // Dropping the insert aborts it.
            Err(error @ ClientError::TimedOut) => return Err(failure(error)),
            // The server answered before it had everything. What it said is better than "channel closed"; that it
            // was content cannot be.
            Err(error) => {
                let answer = insert.end().await;
                return Err(failure(answer.err().unwrap_or(error)));
            }
        }
    }
    failpoint::at("sent");
    insert.end().await.map_err(failure)?;
    // The client keeps the server's own count (X-ClickHouse-Summary) to itself; an insert is taken whole.
    Ok(Receipt { rows: block.rows, bytes })
}
