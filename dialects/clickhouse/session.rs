use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clickhouse::error::Error as ClientError;

use super::codes::Of;
use super::native::{Encoder, regroup};
use super::server::ClickHouse;
use super::{check, cluster, describe, grammar};
use crate::contract::{Block, Error, Receipt, Session, Storage, TableName, TableSchema, TableSpec};

/// Bytes that are encoded and sent at a time; with compression one frame of it, for which 1 MiB is ClickHouse's own
/// measure.
const CHUNK: usize = 1 << 20;

/// How many inserts into one table may be under way: enough to keep the network and two or three of the server's cores
/// busy. Each leaves a part to merge and holds a block, so more would cost both sides memory.
const PARALLEL_WRITES: usize = 4;

/// For DDL, which may wait for other replicas.
const DDL_TIMEOUT: Duration = Duration::from_secs(300);

/// For the connection and for each chunk to be taken. Longer than the server's own patience with a silent client
/// (`http_receive_timeout`, 30 s), so that a stalled server is told from a stalled network by its answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// From the last byte of an insert to its acknowledgement, materialized views and replicas included. As long as
/// `receive_timeout` in ClickHouse's own clients: giving up on an insert that succeeds means sending it twice.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(300);

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
        check::check(self, table).await
    }

    async fn check_create(&self, table: &TableSpec) -> Result<Vec<Error>, Error> {
        let name = self.resolve(&table.name);
        check::check_create(self, &name, &table.storage).await
    }

    async fn everywhere(&self, table: &TableSchema, storage: &Storage, patience: Duration) -> Result<(), Error> {
        match &storage.cluster {
            Some(cluster) => cluster::everywhere(self, cluster, table, patience).await,
            None => Ok(()),
        }
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
        let regrouped = regroup(block)?;
        let block = regrouped.as_ref().unwrap_or(block);
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
