//! A block as statements.

use crate::contract::{Error, Receipt};
use crate::generic::{Group, Plan, Statement, Verb, answered};
use crate::mysql::codes;
use crate::mysql::grammar::SYNTAX;
use crate::mysql::pool::Live;
use crate::mysql::statements;
use crate::mysql::values::Source;

/// Keys per `DELETE`. MariaDB makes a table of its own of lists from 1,000 on.
const KEYS: usize = 500;

/// Writes a block in the transaction that is open: what is deleted first, then what is added or changed.
pub(super) async fn write(live: &mut Live, source: &Source<'_>) -> Result<Receipt, Error> {
    let layout = &source.block.layout;
    let plan = Plan::new(source.block);
    let mut receipt = Receipt { rows: source.block.rows, bytes: 0 };
    let most = SYNTAX.rows_per_statement(layout.key.len()).min(KEYS);
    let delete = |rows| SYNTAX.delete(layout, rows);
    receipt.bytes += run(live, source, &plan.deletes, &layout.key, most, delete).await?;
    for group in &plan.groups {
        let flavor = live.server.flavor;
        receipt.bytes += if group.verb == Verb::Update {
            update(live, source, group).await?
        } else {
            let most = SYNTAX.rows_per_statement(group.given.len());
            let write = |rows| statements::write(flavor, layout, group, rows);
            let written = run(live, source, &group.rows, &group.given, most, write).await;
            written.map_err(|error| codes::of_another_key(error, group.verb))?
        };
    }
    Ok(receipt)
}

/// Runs `text`, which says how so many rows are written, for all of these rows and columns; returns the bytes of the
/// parameters.
async fn run(
    live: &mut Live,
    source: &Source<'_>,
    rows: &[u32],
    columns: &[usize],
    most: usize,
    text: impl Fn(usize) -> Statement,
) -> Result<usize, Error> {
    let mut bytes = 0;
    if rows.is_empty() {
        return Ok(bytes);
    }
    let doing = doing(source);
    let failed = |error| codes::error(&doing, error);
    let limits = live.server.limits();
    let full = (rows.len() >= most).then(|| text(most));
    let next = |start: usize| source.chunk(&rows[start..rows.len().min(start + most)], columns, limits);
    let mut start = 0;
    let mut chunk = next(start)?;
    loop {
        start += chunk.rows;
        bytes += chunk.bytes;
        let odd;
        let (statement, is_full) = match &full {
            Some(full) if chunk.rows == most => (full, true),
            _ => {
                odd = text(chunk.rows);
                (&odd, false)
            }
        };
        let query = sqlx::query_with(statement, chunk.arguments).persistent(is_full);
        let running = answered(query.execute(&mut live.connection));
        if start == rows.len() {
            running.await.map_err(failed)?;
            return Ok(bytes);
        }
        // While the server works the next parameters are made here.
        let (ran, following) = tokio::join!(biased; running, async { next(start) });
        ran.map_err(failed)?;
        chunk = following?;
    }
}

/// Changes stored rows, one by one: neither server knows an `UPDATE` that takes a list of rows and their types from
/// where they go.
async fn update(live: &mut Live, source: &Source<'_>, group: &Group) -> Result<usize, Error> {
    let layout = &source.block.layout;
    let statement = statements::write(live.server.flavor, layout, group, 1);
    let columns = [group.given.as_slice(), &layout.key].concat();
    let mut bytes = 0;
    for row in &group.rows {
        let chunk = source.chunk(&[*row], &columns, live.server.limits())?;
        bytes += chunk.bytes;
        let query = sqlx::query_with(&statement, chunk.arguments);
        let done = answered(query.execute(&mut live.connection)).await;
        // Rows that were found, not only those that were changed.
        if done.map_err(|error| codes::error(&doing(source), error))?.rows_affected() == 0 {
            return Err(group.refuse_new(layout));
        }
    }
    Ok(bytes)
}

fn doing(source: &Source<'_>) -> String {
    format!("writing table `{}`", source.block.layout.table.name)
}
