//! Rows on their way: the unit that is filled, closed, written and committed together.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use rowfall_dialects::contract::{Block, Column, Op, Token};
use tokio::sync::oneshot;

use crate::budget::{Budget, Permit};
use crate::claim::PARTITIONS;
use crate::decode::{BadRecord, Record, RowDecoder, RowProgram};
use crate::fold::fold;
use crate::source::position::{Offset, Owned, Span};

/// What one worker has read of one topic: blocks for 1..n tables, all cut at the same offsets.
#[derive(Debug)]
pub struct Unit {
    /// One per table that the worker knew, in its order; some may have no rows.
    pub blocks: Vec<Block>,
    /// How the rows of each block came to be.
    programs: Vec<Arc<RowProgram>>,
    /// One per partition that it holds records or gaps of.
    pub spans: Vec<Span>,
    /// Whether its age closed it: a larger one would have been possible.
    pub aged: bool,
    /// With claims: brings the token under which it is written, once its claim is committed. It is not written before,
    /// and not at all when the other end is dropped.
    pub claimed: Option<oneshot::Receiver<Token>>,
    /// Held until the unit's columns are given back or dropped.
    permit: Permit,
    home: Sender<Spare>,
}

impl Unit {
    /// Gives the columns back to the worker that filled them, once their rows are written or given up: memory that is
    /// used again costs no page faults.
    pub fn give_back(self) {
        let columns = self.programs.into_iter().zip(self.blocks).map(|(program, block)| (program, block.columns));
        // A worker that has ended needs no columns.
        let _ = self.home.send(Spare { columns: columns.collect(), permit: self.permit });
    }

    /// Makes rows of one key one, where rows have keys. What was filled is dropped when its copy is made, and the copy's
    /// columns are those that are filled again.
    #[must_use]
    pub fn fold(mut self) -> Self {
        for (block, program) in self.blocks.iter_mut().zip(&self.programs) {
            if let Some(folding) = program.folding {
                *block = fold(block, folding);
            }
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
    /// Those of each table, with the program that filled them.
    columns: Vec<(Arc<RowProgram>, Vec<Column>)>,
    permit: Permit,
}

/// Where one worker's units of one topic come from and where their columns return to.
#[derive(Debug)]
pub struct Units {
    budget: Arc<Budget>,
    home: Sender<Spare>,
    spares: Receiver<Spare>,
}

impl Units {
    /// Units that count against this budget.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        let (home, spares) = std::sync::mpsc::channel();
        Self { budget, home, spares }
    }

    /// An empty unit, in columns that were used before where there are any.
    #[must_use]
    pub fn open(&self) -> OpenUnit {
        let spare = self.spares.try_recv();
        let Spare { columns, permit } =
            spare.unwrap_or_else(|_| Spare { columns: Vec::new(), permit: self.budget.permit() });
        OpenUnit {
            parts: columns.into_iter().map(|(program, columns)| Part::new(program, columns)).collect(),
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
    /// By the number that the worker gives a table.
    parts: Vec<Part>,
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

/// The rows of one table.
#[derive(Debug)]
struct Part {
    program: Arc<RowProgram>,
    columns: Vec<Column>,
    /// What each row does, where rows have keys.
    ops: Vec<Op>,
    rows: usize,
}

impl Part {
    fn new(program: Arc<RowProgram>, mut columns: Vec<Column>) -> Self {
        for column in &mut columns {
            column.truncate(0);
        }
        Self { program, columns, ops: Vec::new(), rows: 0 }
    }

    fn empty(program: &Arc<RowProgram>) -> Self {
        Self::new(Arc::clone(program), program.layout.empty_columns())
    }
}

impl OpenUnit {
    /// Makes room for tables that are filled by these programs, in the order of their numbers. To be called before a
    /// row of a new table, and never when one of the programs has rows here and is another now.
    pub fn fit<'p>(&mut self, programs: impl Iterator<Item = &'p Arc<RowProgram>>) {
        for (table, program) in programs.enumerate() {
            match self.parts.get_mut(table) {
                Some(part) if Arc::ptr_eq(&part.program, program) => {}
                // Its columns were filled for the table as it was.
                Some(part) => *part = Part::empty(program),
                None => self.parts.push(Part::empty(program)),
            }
        }
    }

    /// Decodes a record into a row of this table.
    ///
    /// # Errors
    /// When the record is bad; the unit is as it was before.
    #[inline]
    pub fn push(
        &mut self,
        table: usize,
        decoder: &mut RowDecoder,
        owned: &Arc<Owned>,
        record: &Record<'_>,
    ) -> Result<(), BadRecord> {
        let part = &mut self.parts[table];
        let op = decoder.decode(record, &mut part.columns, part.rows)?;
        part.ops.extend(op);
        part.rows += 1;
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

    /// Whether it can hold records of this partition: its spans have to fit one claim.
    #[must_use]
    pub fn has_room_for(&self, owned: &Arc<Owned>) -> bool {
        self.spans.len() < PARTITIONS || self.spans.iter().any(|span| Arc::ptr_eq(&span.owned, owned))
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
        let bytes = self.parts.iter().flat_map(|part| &part.columns).map(Column::used).sum();
        // Columns that were used before still hold what they held then.
        self.permit.raise(bytes);
        bytes
    }

    /// Closes it. What it occupies is accounted for, also when it was filled faster than anyone asked.
    #[must_use]
    pub fn close(mut self, aged: bool) -> Unit {
        self.account();
        let (mut blocks, mut programs) = (Vec::with_capacity(self.parts.len()), Vec::with_capacity(self.parts.len()));
        for Part { program, columns, ops, rows } in self.parts {
            blocks.push(Block { ops, ..Block::new(Arc::clone(&program.layout), columns, rows) });
            programs.push(program);
        }
        Unit { blocks, programs, spans: self.spans, aged, claimed: None, permit: self.permit, home: self.home }
    }
}
