//! Several tables in one write, and progress with them.

use std::sync::Arc;

use super::{Cell, Suite, ok};
use crate::contract::{
    Advice, Block, Error, Layout, LogicalType, Move, Partition, Progress, Receipt, Resumed, TableSchema,
};

impl Suite<'_> {
    pub(super) async fn keeps_progress(&self) {
        self.writes_several_tables().await;
        if !self.connection.is_transactional() {
            let resumed = self.connection.session.resume("rowfall_conformance", &[partition(0)]).await;
            resumed.expect_err("progress is kept without transactions");
            return;
        }
        self.writes_all_tables_or_none().await;
        self.moves_on_only_from_where_it_is().await;
        self.knows_a_lost_answer().await;
        self.fences_who_owned_it_before().await;
        self.takes_over_in_the_order_asked_for().await;
    }

    pub(super) async fn plain(&self, name: &str) -> Arc<TableSchema> {
        self.create(&self.spec(name, &[("row", LogicalType::Int64, false), ("note", LogicalType::String, true)])).await
    }

    pub(super) fn inserts_of(table: &Arc<TableSchema>, rows: &[i64]) -> Block {
        let layout = Layout::new(Arc::clone(table), [0, 1]);
        let mut columns = layout.empty_columns();
        for row in rows {
            Cell::Value(row.to_string()).push(&mut columns[0], &LogicalType::Int64);
            Cell::Null.push(&mut columns[1], &LogicalType::String);
        }
        Block::new(Arc::new(layout), columns, rows.len())
    }

    pub(super) async fn expect_rows(&self, table: &TableSchema, rows: &[i64], when: &str) {
        let read = self.probe.read(&table.name, &table.columns[..1]).await;
        let texts: Vec<_> = rows.iter().map(|row| vec![Some(row.to_string())]).collect();
        assert_eq!(read, texts, "table `{}`, {when}", table.name);
    }

    async fn writes_several_tables(&self) {
        let (one, two) = (self.plain("one").await, self.plain("two").await);
        let blocks = [(&one, [1, 2].as_slice()), (&two, &[3]), (&one, &[]), (&one, &[4])];
        let blocks = blocks.map(|(table, rows)| Self::inserts_of(table, rows));
        let receipt = ok("writing two tables", self.connection.session.write(&blocks.each_ref(), None).await);
        assert_eq!(receipt.rows, 4, "the receipt counts other rows");
        self.expect_rows(&one, &[1, 2, 4], "after a write with another table").await;
        self.expect_rows(&two, &[3], "after a write with another table").await;
        ok("writing nothing", self.connection.session.write(&[], None).await);
    }

    async fn writes_all_tables_or_none(&self) {
        let (one, two) = (self.plain("one").await, self.plain("two").await);
        let mut stale = TableSchema::clone(&two);
        stale.columns[1].name = "not there".into();
        let (good, bad) = (Self::inserts_of(&one, &[1]), Self::inserts_of(&Arc::new(stale), &[2]));
        let pipeline = self.pipeline("all").await;
        for blocks in [[&good, &bad], [&bad, &good]] {
            for progress in [None, Some(&pipeline.moved(None, 5))] {
                let written = self.connection.session.write(&blocks, progress).await;
                written.expect_err("a block for a column that does not exist was written");
                self.expect_rows(&one, &[], "after a write that failed for another table").await;
            }
        }
        // Nothing has moved either.
        ok("writing", self.write_with(&[&good], &pipeline.moved(None, 5)).await);
        self.expect_rows(&one, &[1], "after a write").await;
    }

    async fn moves_on_only_from_where_it_is(&self) {
        let table = self.plain("one").await;
        let pipeline = self.pipeline("moves").await;
        let rows = |row| Self::inserts_of(&table, &[row]);
        ok("the first move", self.write_with(&[&rows(1)], &pipeline.moved(None, 10)).await);
        ok("the second move", self.write_with(&[&rows(2)], &pipeline.moved(Some(10), 20)).await);
        ok("a move without rows", self.write_with(&[], &pipeline.moved(Some(20), 30)).await);
        for from in [None, Some(10), Some(20), Some(40)] {
            let refused = self.write_with(&[&rows(3)], &pipeline.moved(from, 35)).await;
            fenced(refused, &format!("a move from {from:?} instead of 30"));
        }
        self.expect_rows(&table, &[1, 2], "after moves from elsewhere").await;
        // Of two partitions one is elsewhere: neither moves, whichever comes first.
        for order in [[0, 1], [1, 0]] {
            let mut both = pipeline.moved(Some(30), 40);
            both.moves.push(Move { partition: partition(1), epoch: pipeline.epochs[1], from: Some(7), to: 9 });
            both.moves.swap(0, order[0]);
            fenced(self.write_with(&[&rows(3)], &both).await, "a move of a partition that is at its beginning from 7");
        }
        let again = self.take_over(&pipeline.name, &[partition(0), partition(1)]).await;
        assert_eq!(again.map(|resumed| resumed.next), [Some(30), None], "where the partitions are");
        self.expect_rows(&table, &[1, 2], "after a move of two partitions that failed").await;
    }

    async fn knows_a_lost_answer(&self) {
        let table = self.plain("one").await;
        let pipeline = self.pipeline("lost").await;
        let block = Self::inserts_of(&table, &[1, 2]);
        let progress = pipeline.moved(None, 10);
        ok("the first attempt", self.write_with(&[&block], &progress).await);
        for _ in 0..2 {
            let receipt = ok("the same write once more", self.write_with(&[&block], &progress).await);
            assert_eq!(receipt.rows, 2, "a write that was there already acknowledges its rows");
        }
        self.expect_rows(&table, &[1, 2], "after the same write three times").await;
        ok("the next write", self.write_with(&[], &pipeline.moved(Some(10), 11)).await);
        fenced(self.write_with(&[&block], &progress).await, "a write from before the last one");
    }

    async fn fences_who_owned_it_before(&self) {
        let table = self.plain("one").await;
        let old = self.pipeline("fenced").await;
        let block = Self::inserts_of(&table, &[1]);
        ok("writing", self.write_with(&[&block], &old.moved(None, 10)).await);
        let [resumed] = self.take_over(&old.name, &[partition(0)]).await;
        assert_eq!(resumed.next, Some(10), "where a partition that was taken over goes on");
        assert!(resumed.epoch > old.epochs[0], "the epoch does not rise: {resumed:?} after {:?}", old.epochs);
        fenced(self.write_with(&[&block], &old.moved(Some(10), 20)).await, "a write of the former owner");
        fenced(self.write_with(&[&block], &old.moved(None, 10)).await, "a write of the former owner that is there");
        let other = self.pipeline("fenced not").await;
        ok("another pipeline's write", self.write_with(&[], &other.moved(None, 3)).await);
        let new = Pipeline { name: old.name.clone(), epochs: [resumed.epoch; 2] };
        ok("a write of the new owner", self.write_with(&[&block], &new.moved(Some(10), 20)).await);
        self.expect_rows(&table, &[1, 1], "after a write of each owner").await;
    }

    async fn takes_over_in_the_order_asked_for(&self) {
        let pipeline = self.pipeline("order").await;
        let mut progress = pipeline.moved(None, 100);
        progress.moves.push(Move { partition: partition(1), epoch: pipeline.epochs[1], from: None, to: 200 });
        ok("writing", self.write_with(&[], &progress).await);
        let other = Partition { topic: "another".into(), partition: 1 };
        let asked = [partition(1), other, partition(0)];
        let next = self.take_over(&pipeline.name, &asked).await.map(|resumed| resumed.next);
        assert_eq!(next, [Some(200), None, Some(100)], "where partitions go on, in the order asked for");
        let none = ok("resume() of nothing", self.connection.session.resume("rowfall_conformance", &[]).await);
        assert_eq!(none, []);
    }

    pub(super) async fn write_with(&self, blocks: &[&Block], progress: &Progress) -> Result<Receipt, Error> {
        self.connection.session.write(blocks, Some(progress)).await
    }

    /// Takes partitions 0 and 1 over for a pipeline of which nothing is kept.
    pub(super) async fn pipeline(&self, name: &str) -> Pipeline {
        // Each run has pipelines of its own: what is kept of those of earlier ones is not known.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let name = format!("rowfall's \"conformance\" {name} {}", now.map_or(0, |now| now.as_nanos()));
        let resumed = self.take_over(&name, &[partition(0), partition(1)]).await;
        assert_eq!(
            resumed.map(|resumed| resumed.next),
            [None, None],
            "where partitions go on of which nothing is kept"
        );
        Pipeline { name, epochs: resumed.map(|resumed| resumed.epoch) }
    }

    pub(super) async fn take_over<const N: usize>(&self, pipeline: &str, partitions: &[Partition; N]) -> [Resumed; N] {
        let resumed = ok("resume()", self.connection.session.resume(pipeline, partitions).await);
        resumed.try_into().unwrap_or_else(|resumed| panic!("{N} partitions were taken over, and {resumed:?} is told"))
    }
}

/// A pipeline, and its epochs in partitions 0 and 1.
pub(super) struct Pipeline {
    pub(super) name: String,
    pub(super) epochs: [i64; 2],
}

impl Pipeline {
    /// A move of partition 0.
    pub(super) fn moved(&self, from: Option<i64>, to: i64) -> Progress {
        let step = Move { partition: partition(0), epoch: self.epochs[0], from, to };
        Progress { pipeline: self.name.clone(), moves: vec![step] }
    }
}

pub(super) fn partition(partition: i32) -> Partition {
    Partition { topic: "rowfall.conformance".into(), partition }
}

fn fenced(result: Result<Receipt, Error>, what: &str) {
    let error = result.expect_err(&format!("{what} was written"));
    assert_eq!(error.advice, Advice::Fenced, "the advice for {what}: {error}");
}
