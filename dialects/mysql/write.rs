//! Blocks into tables: multi-row statements, all in the transaction that is open.

use sqlx::MySqlConnection;

use crate::contract::{Block, Error, Receipt};
use crate::generic::Statement;
use crate::mysql::codes;
use crate::mysql::grammar::{Flavor, SYNTAX};
use crate::mysql::pool::{Live, answered};
use crate::mysql::statements;
use crate::mysql::values::{Group, Limits, Source};

/// Keys per `DELETE`. MariaDB makes a table of its own of lists from 1,000 on.
const KEYS: usize = 500;

/// Writes a block: what is deleted first, then what is added or changed.
pub(super) async fn write(live: &mut Live, block: &Block, source: &Source<'_>) -> Result<Receipt, Error> {
    let table = &block.layout.table.name;
    let writer = Writer {
        doing: format!("writing table `{table}`"),
        limits: live.server.limits(),
        flavor: live.server.flavor,
        connection: &mut live.connection,
        block,
        source,
    };
    writer.write().await
}

struct Writer<'a> {
    doing: String,
    limits: Limits,
    flavor: Flavor,
    connection: &'a mut MySqlConnection,
    block: &'a Block,
    source: &'a Source<'a>,
}

impl Writer<'_> {
    async fn write(mut self) -> Result<Receipt, Error> {
        let (block, source, flavor) = (self.block, self.source, self.flavor);
        let table = &block.layout.table.name;
        let mut receipt = Receipt { rows: block.rows, bytes: 0 };
        let key = source.key();
        if !block.ops.is_empty() {
            let group = source.deleted();
            let most = SYNTAX.rows_per_insert(key.len()).min(KEYS);
            let places = block.layout.key.to_vec();
            receipt.bytes += self.run(&group, &places, most, |rows| statements::delete(table, &key, rows)).await?;
        }
        for group in source.groups() {
            let names = source.names(&group.given);
            let most = SYNTAX.rows_per_insert(names.len());
            let places = Source::places(&group.given);
            receipt.bytes += if block.ops.is_empty() {
                self.run(&group, &places, most, |rows| SYNTAX.insert(table, &names, rows)).await?
            } else if let Some(lacking) = source.lacks(&group.given) {
                // Such a row can only change a stored one: an insert would fail before it is found.
                self.update(&group, &names, &places, || source.missing(lacking)).await?
            } else {
                let statement = |rows| statements::upsert(flavor, table, &names, &key, rows);
                self.run(&group, &places, most, statement).await?
            };
        }
        Ok(receipt)
    }

    /// Runs a statement for all rows of a group, as many at once as there can be; returns the bytes of its parameters.
    async fn run(
        &mut self,
        group: &Group,
        places: &[usize],
        most: usize,
        statement: impl Fn(usize) -> Statement,
    ) -> Result<usize, Error> {
        let (source, limits) = (self.source, self.limits);
        let mut rest = group.rows.as_slice();
        if rest.is_empty() {
            return Ok(0);
        }
        let full = (rest.len() >= most).then(|| statement(most));
        let next = |rest: &[u32]| source.chunk(&rest[..rest.len().min(most)], places, limits);
        let mut bytes = 0;
        let mut chunk = next(rest)?;
        loop {
            rest = &rest[chunk.rows..];
            bytes += chunk.bytes;
            let odd;
            let (sql, is_full) = match &full {
                Some(full) if chunk.rows == most => (full, true),
                _ => {
                    odd = statement(chunk.rows);
                    (&odd, false)
                }
            };
            let query = sqlx::query_with(sql, chunk.arguments).persistent(is_full);
            let running = answered(query.execute(&mut *self.connection));
            if rest.is_empty() {
                running.await.map_err(|error| codes::error(&self.doing, error))?;
                return Ok(bytes);
            }
            // While the server works the next parameters are made here.
            let (done, following) = tokio::join!(biased; running, async { next(rest) });
            done.map_err(|error| codes::error(&self.doing, error))?;
            chunk = following?;
        }
    }
    /// Changes stored rows, one by one; `missing` is the error for a row that is not stored.
    async fn update(
        &mut self,
        group: &Group,
        names: &[&str],
        places: &[usize],
        missing: impl Fn() -> Error,
    ) -> Result<usize, Error> {
        let statement = statements::update(&self.block.layout.table.name, names, &self.source.key());
        let places = [places, &self.block.layout.key].concat();
        let mut bytes = 0;
        for row in &group.rows {
            let chunk = self.source.chunk(&[*row], &places, self.limits)?;
            bytes += chunk.bytes;
            let query = sqlx::query_with(&statement, chunk.arguments);
            let done = answered(query.execute(&mut *self.connection)).await;
            if done.map_err(|error| codes::error(&self.doing, error))?.rows_affected() == 0 {
                return Err(missing());
            }
        }
        Ok(bytes)
    }
}
