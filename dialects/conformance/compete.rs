//! What two processes do at once.

use std::collections::BTreeSet;

use super::progress::partition;
use super::{Suite, ok};
use crate::contract::{Advice, Error, Partition, Resumed};

const ROUNDS: i64 = 25;

pub(super) async fn run(one: &Suite<'_>, other: &Suite<'_>) {
    creates_and_alters(one, other).await;
    if one.connection.is_transactional() {
        takes_over(one, other).await;
        writes_once(one, other).await;
    }
}

async fn creates_and_alters(one: &Suite<'_>, other: &Suite<'_>) {
    let keyed = one.makes_keys();
    for _ in 0..ROUNDS {
        let spec = if keyed { one.keyed_spec("competed") } else { one.every_type() };
        one.run_ddl(&format!("DROP TABLE IF EXISTS {}", one.quoted(&spec.name))).await;
        let ddl = ok("create_table()", one.connection.grammar.create_table(&spec));
        let (a, b) = tokio::join!(one.connection.session.execute(&ddl), other.connection.session.execute(&ddl));
        ok("creating a table that another process creates", a.and(b));
        let table = one.describe(&spec.name).await;
        let Some(ddl) = one.altered(&table, &one.new_columns()) else { continue };
        let (a, b) = tokio::join!(one.connection.session.execute(&ddl), other.connection.session.execute(&ddl));
        ok("adding columns that another process adds", a.and(b));
        let columns = table.columns.len();
        for suite in [one, other] {
            let described = suite.describe(&spec.name).await;
            assert_eq!(described.columns.len(), columns + 3, "columns of a table to which two processes added three");
        }
    }
}

async fn takes_over(one: &Suite<'_>, other: &Suite<'_>) {
    let pipeline = one.pipeline("taken over").await;
    // In opposite orders, so that who locks them as they come waits for the other.
    let (ours, theirs) = ([partition(0), partition(1)], [partition(1), partition(0)]);
    let mut epochs = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..ROUNDS {
        let (a, b) = tokio::join!(resume(one, &pipeline.name, &ours), resume(other, &pipeline.name, &theirs));
        for resumed in [[a[0], a[1]], [b[1], b[0]]] {
            for (epochs, Resumed { epoch, next }) in epochs.iter_mut().zip(resumed) {
                assert_eq!(next, None, "where a partition goes on of which nothing is kept");
                assert!(epochs.insert(epoch), "two processes own a partition in epoch {epoch}");
            }
        }
    }
    for (epochs, first) in epochs.iter().zip(pipeline.epochs) {
        assert!(epochs.iter().all(|epoch| *epoch > first), "an epoch does not rise: {first}, then {epochs:?}");
    }
}

/// As the pipeline does it.
async fn resume(suite: &Suite<'_>, pipeline: &str, partitions: &[Partition]) -> Vec<Resumed> {
    loop {
        match suite.connection.session.resume(pipeline, partitions).await {
            Err(Error { advice: Advice::Retry, .. }) => {}
            resumed => return ok("taking over what another process takes over", resumed),
        }
    }
}

/// An attempt whose answer was lost may still be under way when the next one comes.
async fn writes_once(one: &Suite<'_>, other: &Suite<'_>) {
    let table = one.plain("competed").await;
    let pipeline = one.pipeline("written").await;
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        let block = Suite::inserts_of(&table, &[round]);
        let progress = pipeline.moved((round > 0).then_some(round), round + 1);
        let (blocks, progress) = ([&block], Some(&progress));
        let (a, b) = tokio::join!(
            one.connection.session.write(&blocks, progress),
            other.connection.session.write(&blocks, progress)
        );
        let is_retried = |error: &Error| error.advice == Advice::Retry;
        for written in [a, b] {
            assert!(written.as_ref().err().is_none_or(is_retried), "the same write twice at once: {written:?}");
            if written.is_err() {
                ok("the same write once more", one.connection.session.write(&blocks, progress).await);
            }
        }
        rows.push(round);
    }
    one.expect_rows(&table, &rows, "after each write was made by two processes at once").await;
}
