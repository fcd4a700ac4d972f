//! Rows on their way: the unit that is filled, closed, written and committed together.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use rowfall_dialects::contract::{Block, Column, Layout, Op};

use crate::budget::{Budget, Permit};
use crate::decode::{BadRecord, Folding, Record, RowDecoder};
use crate::fold::fold;
use crate::source::position::{Offset, Owned, Span};

/// What one worker has read of one topic: blocks for 1..n tables, all cut at the same offsets.
#[derive(Debug)]
pub struct Unit {
    /// One per table.
    pub blocks: Vec<Block>,
    /// One per partition that it holds records or gaps of.
    pub spans: Vec<Span>,
    /// Whether its age closed it: a larger one would have been possible.
    pub aged: bool,
    /// How rows of one key become one, before they are written.
    pub folding: Option<Folding>,
    /// Held until the unit's columns are given back or dropped.
    permit: Permit,
    home: Sender<Spare>,
}

impl Unit {
    /// Gives the columns back to the worker that filled them, once their rows are written or given up: memory that is
    /// used again costs no page faults.
    pub fn give_back(self) {
        let columns = self.blocks.into_iter().next().map_or_else(Vec::new, |block| block.columns);
        // A worker that has ended needs no columns.
        let _ = self.home.send(Spare { columns, permit: self.permit });
    }

    /// Makes rows of one key one, where rows have keys. What was filled is dropped when its copy is made, and the copy's
    /// columns are those that are filled again.
    #[must_use]
    pub fn fold(mut self) -> Self {
        let Some(folding) = self.folding.take() else { return self };
        for block in &mut self.blocks {
            *block = fold(block, folding);
        }
        self
    }

    /// Rows of all blocks.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.rows).sum()
    }
}

/// Columns to be filled again; their memory counts against the budget meanwhile.
#[derive(Debug)]
pub struct Spare {
    columns: Vec<Column>,
    permit: Permit,
}

/// Where one worker's units of one topic come from and where their columns return to.
#[derive(Debug)]
pub struct Units {
    layout: Arc<Layout>,
    budget: Arc<Budget>,
    home: Sender<Spare>,
    spares: Receiver<Spare>,
}

impl Units {
    /// Units of this layout.
    #[must_use]
    pub fn new(layout: Arc<Layout>, budget: Arc<Budget>) -> Self {
        let (home, spares) = std::sync::mpsc::channel();
        Self { layout, budget, home, spares }
    }

    /// An empty unit, in columns that were used before where there are any.
    #[must_use]
    pub fn open(&self) -> OpenUnit {
        let Spare { mut columns, permit } = self
            .spares
            .try_recv()
            .unwrap_or_else(|_| Spare { columns: self.layout.empty_columns(), permit: self.budget.permit() });
        for column in &mut columns {
            column.truncate(0);
        }
        OpenUnit {
            layout: Arc::clone(&self.layout),
            columns,
            ops: Vec::new(),
            rows: 0,
            value_bytes: 0,
            spans: Vec::new(),
            last: 0,
            opened: Instant::now(),
            permit,
            home: self.home.clone(),
        }
    }

    /// Frees the columns that wait to be used again.
    pub fn drop_spares(&self) {
        while self.spares.try_recv().is_ok() {}
    }
}

/// A unit that is being filled.
#[derive(Debug)]
pub struct OpenUnit {
    layout: Arc<Layout>,
    columns: Vec<Column>,
    /// What each row does, where rows have keys.
    ops: Vec<Op>,
    rows: usize,
    /// Bytes of the records' values.
    value_bytes: usize,
    spans: Vec<Span>,
    /// Index in `spans` of the partition that was seen last.
    last: usize,
    opened: Instant,
    permit: Permit,
    home: Sender<Spare>,
}

impl OpenUnit {
    /// Decodes a record into a row.
    ///
    /// # Errors
    /// When the record is bad; the unit is as it was before.
    #[inline]
    pub fn push(&mut self, decoder: &mut RowDecoder, owned: &Arc<Owned>, record: &Record<'_>) -> Result<(), BadRecord> {
        let op = decoder.decode(record, &mut self.columns, self.rows)?;
        self.ops.extend(op);
        self.rows += 1;
        self.value_bytes += record.value.map_or(0, <[u8]>::len);
        let offset = Offset(record.offset);
        self.span(owned, offset).end = offset.next();
        Ok(())
    }

    /// Extends the partition's span over a gap, if it has one here.
    pub fn extend(&mut self, owned: &Arc<Owned>, end: Offset) -> bool {
        match self.spans.iter_mut().find(|span| span.owned == *owned) {
            Some(span) => {
                span.end = end;
                true
            }
            None => false,
        }
    }

    #[inline]
    fn span(&mut self, owned: &Arc<Owned>, offset: Offset) -> &mut Span {
        if !self.spans.get(self.last).is_some_and(|span| Arc::ptr_eq(&span.owned, owned)) {
            self.last = match self.spans.iter().position(|span| Arc::ptr_eq(&span.owned, owned)) {
                Some(index) => index,
                None => {
                    self.spans.push(Span { owned: Arc::clone(owned), start: offset, end: offset });
                    self.spans.len() - 1
                }
            };
        }
        &mut self.spans[self.last]
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the records' values so far.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// When its first record came.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Tells the budget what the unit occupies, and answers the bytes of its rows.
    pub fn account(&mut self) -> usize {
        let bytes = self.columns.iter().map(Column::used).sum();
        // Columns that were used before still hold what they held then.
        self.permit.raise(bytes);
        bytes
    }

    /// Closes it. What it occupies is accounted for, also when it was filled faster than anyone asked.
    #[must_use]
    pub fn close(mut self, aged: bool, folding: Option<Folding>) -> Unit {
        self.account();
        Unit {
            blocks: vec![Block { ops: self.ops, ..Block::new(self.layout, self.columns, self.rows) }],
            folding,
            spans: self.spans,
            aged,
            permit: self.permit,
            home: self.home,
        }
    }
}
