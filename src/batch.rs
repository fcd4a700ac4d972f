//! Rows on their way: the unit that is filled, closed, written and committed together.

use std::sync::Arc;
use std::time::Instant;

use rowfall_dialects::contract::{Block, Column, Layout};

use crate::budget::{Budget, Permit};
use crate::decode::{BadRecord, Decoder};
use crate::source::position::{Offset, Owned, Span};

/// What one worker has read of one topic: blocks for 1..n tables, all cut at the same offsets.
#[derive(Debug)]
pub struct Unit {
    /// One per table.
    pub blocks: Vec<Block>,
    /// One per partition that it holds records or gaps of.
    pub spans: Vec<Span>,
    /// Held until the unit is written or dropped.
    pub permit: Permit,
}

impl Unit {
    /// Rows of all blocks.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.rows).sum()
    }
}

/// A unit that is being filled.
#[derive(Debug)]
pub struct OpenUnit {
    layout: Arc<Layout>,
    columns: Vec<Column>,
    rows: usize,
    /// Bytes of the records' values.
    value_bytes: usize,
    spans: Vec<Span>,
    /// Index in `spans` of the partition that was seen last.
    last: usize,
    opened: Instant,
    permit: Permit,
}

impl OpenUnit {
    /// An empty unit.
    #[must_use]
    pub fn new(layout: &Arc<Layout>, budget: &Arc<Budget>) -> Self {
        Self {
            layout: Arc::clone(layout),
            columns: layout.empty_columns(),
            rows: 0,
            value_bytes: 0,
            spans: Vec::new(),
            last: 0,
            opened: Instant::now(),
            permit: budget.permit(),
        }
    }

    /// Decodes a record into a row.
    ///
    /// # Errors
    /// When the record is bad; the unit is as it was before.
    #[inline]
    pub fn push(
        &mut self,
        decoder: &mut Decoder,
        owned: &Arc<Owned>,
        offset: Offset,
        value: &[u8],
    ) -> Result<(), BadRecord> {
        decoder.decode(value, &mut self.columns, self.rows)?;
        self.rows += 1;
        self.value_bytes += value.len();
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

    /// Tells the budget what the unit occupies, and answers it.
    pub fn account(&mut self) -> usize {
        let bytes = self.columns.iter().map(Column::allocated).sum();
        self.permit.resize(bytes);
        bytes
    }

    /// Closes it.
    #[must_use]
    pub fn close(self) -> Unit {
        Unit {
            blocks: vec![Block { layout: self.layout, columns: self.columns, rows: self.rows }],
            spans: self.spans,
            permit: self.permit,
        }
    }
}
