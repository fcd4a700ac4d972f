//! A thread that reads its partitions' queue and hands each record to its [`Intake`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use rdkafka::consumer::ConsumerContext;
use rdkafka::types::RDKafkaErrorCode;

use super::position::{Offset, Owned, TopicPartition};
use super::queue::{Content, Message, MessageBatch, MessageQueue};
use crate::problem::Problem;

/// Messages taken from librdkafka at once.
const BATCH: usize = 1_000;
/// How long a worker waits for messages before it looks at its clock: a batch's age is exact to this.
const TICK: Duration = Duration::from_millis(20);
/// After so long a record is tried again that could not be taken yet.
const WAIT: Duration = Duration::from_millis(2);

/// What a worker does with what it reads. Its methods run on the worker's thread.
pub trait Intake: Send {
    /// Takes a record: a message with its value, if it has one. An error stops the record's partition, from this record on.
    ///
    /// # Errors
    /// Why the record cannot be taken.
    fn record(&mut self, owned: &Arc<Owned>, message: Message<'_>, value: Option<&[u8]>) -> Result<Taken, Problem>;

    /// There is no record up to `end` any more behind those taken.
    fn passed(&mut self, owned: &Arc<Owned>, start: Offset, end: Offset);

    /// The partition was stopped at this offset, for this reason; nothing of it is handed over any more.
    fn stopped(&mut self, owned: &Arc<Owned>, offset: Offset, why: Problem);

    /// A period of owning a partition begins; its records come after this.
    fn begins(&mut self, owned: &Arc<Owned>);

    /// There is no record at this offset where the partition was to be read on, for this reason; nothing of it is
    /// handed over any more.
    fn lost_place(&mut self, owned: &Arc<Owned>, offset: Offset, why: Problem);

    /// The partition's end offset was reached; nothing of it is handed over any more.
    fn reached_end(&mut self, owned: &Arc<Owned>);

    /// Called between any two batches of messages, at least every few milliseconds. False when there is no memory for
    /// more records: the worker then calls again instead of reading.
    fn tick(&mut self) -> bool;

    /// Closes whatever is open, now.
    fn flush(&mut self);
}

/// Whether a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was.
    Now,
    /// Not yet: it comes again, and nothing of its partition before.
    Later,
}

/// What a worker is told.
pub enum Command {
    /// Take the records of this partition; up to and without `end`, where one is given.
    Own {
        /// The partition and the period of owning it.
        owned: Arc<Owned>,
        /// The offset at which it is read from, where that is known.
        from: Option<Offset>,
        /// Where to end.
        end: Option<Offset>,
    },
    /// Take no further records of these, close what is open, then answer.
    Release(Vec<TopicPartition>, Sender<()>),
    /// Answer with the place behind what was taken, for each partition of which anything was.
    Positions(Sender<Vec<(TopicPartition, Offset)>>),
    /// Take no further records of these; what was taken stays.
    Halt(Vec<TopicPartition>),
    /// Close what is open, answer, and end the thread.
    Finish(Sender<()>),
}

/// How much of what it was told a worker has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Obeyed {
    /// All of it.
    All,
    /// What came up to a release, and that: the rest is for when no messages are in hand.
    UpToRelease,
    /// It is to end.
    Finish,
}

/// The partitions of one worker, and what it does with their records.
pub struct Worker<C: ConsumerContext, I> {
    queue: Arc<MessageQueue<C>>,
    commands: Receiver<Command>,
    intake: I,
    reads: Vec<Read>,
    /// From (topic handle, partition) to the index in `reads`; forgotten when the partitions change.
    found: HashMap<(usize, i32), Option<usize>>,
    /// The last entry of `found` that was used: messages come in runs of a partition.
    last: ((usize, i32), Option<usize>),
}

/// A partition that is being read.
struct Read {
    owned: Arc<Owned>,
    /// Behind the last record or gap that was seen.
    position: Option<Offset>,
    end: Option<Offset>,
    halted: bool,
}

impl<C: ConsumerContext, I: Intake> Worker<C, I> {
    /// A worker for this queue.
    pub fn new(queue: Arc<MessageQueue<C>>, commands: Receiver<Command>, intake: I) -> Self {
        Self { queue, commands, intake, reads: Vec::new(), found: HashMap::new(), last: ((0, -1), None) }
    }

    /// Reads until it is told to finish.
    pub fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut batch = MessageBatch::with_capacity(BATCH);
        let mut room = true;
        loop {
            // A worker that was held up has been told much, and takes what comes now by that.
            if self.obey(false) == Obeyed::Finish {
                return;
            }
            if room {
                // First what is there, then what comes: a batch of messages is not held back to be filled.
                let mut messages = queue.receive(&mut batch, Duration::ZERO);
                if messages.is_empty() {
                    drop(messages);
                    messages = queue.receive(&mut batch, TICK);
                }
                // Only now: whatever was assigned or revoked before these messages came is known.
                let mut obeyed = self.obey(true);
                for message in messages.iter() {
                    while obeyed != Obeyed::Finish && self.take(message) == Taken::Later {
                        std::thread::sleep(WAIT);
                        self.intake.tick();
                        if obeyed == Obeyed::All {
                            obeyed = self.obey(true);
                        }
                    }
                }
                if obeyed == Obeyed::Finish {
                    return;
                }
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
            room = self.intake.tick();
        }
    }

    /// Does what it is told. With messages in hand a release is the last command that is obeyed.
    fn obey(&mut self, in_hand: bool) -> Obeyed {
        while let Ok(command) = self.commands.try_recv() {
            self.found.clear();
            self.last = ((0, -1), None);
            match command {
                Command::Own { owned, from, end } => {
                    self.reads.retain(|read| read.owned.partition != owned.partition);
                    self.intake.begins(&owned);
                    self.reads.push(Read { owned, position: from, end, halted: false });
                }
                Command::Release(partitions, done) => {
                    self.intake.flush();
                    self.reads.retain(|read| !partitions.contains(&read.owned.partition));
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                    // Messages in hand are of the period that ended: a next one of the same partitions, which may be
                    // told already, begins when they are done with.
                    if in_hand {
                        return Obeyed::UpToRelease;
                    }
                }
                Command::Positions(answer) => {
                    let reads = self.reads.iter().filter(|read| !read.halted);
                    let positions = reads.filter_map(|read| Some((read.owned.partition.clone(), read.position?)));
                    let _ = answer.send(positions.collect());
                }
                Command::Halt(partitions) => {
                    for read in self.reads.iter_mut().filter(|read| partitions.contains(&read.owned.partition)) {
                        read.halted = true;
                    }
                }
                Command::Finish(done) => {
                    self.intake.flush();
                    let _ = done.send(());
                    return Obeyed::Finish;
                }
            }
        }
        Obeyed::All
    }

    #[inline]
    fn take(&mut self, message: Message<'_>) -> Taken {
        let Some(index) = self.find(message) else { return Taken::Now };
        let read = &mut self.reads[index];
        if read.halted {
            return Taken::Now;
        }
        let offset = message.offset();
        let halt = match message.content() {
            // Taken already; after a seek the client may hand over the same again.
            Content::Record(_) if read.position.is_some_and(|position| offset < position) => false,
            Content::Record(_) if read.end.is_some_and(|end| offset >= end) => {
                read.pass(&mut self.intake, read.end.expect("just seen"));
                self.intake.reached_end(&read.owned);
                true
            }
            Content::Record(value) => match self.intake.record(&read.owned, message, value) {
                Ok(Taken::Later) => return Taken::Later,
                Ok(Taken::Now) => {
                    read.position = Some(offset.next());
                    let reached = read.end.is_some_and(|end| offset.next() >= end);
                    if reached {
                        self.intake.reached_end(&read.owned);
                    }
                    reached
                }
                Err(why) => {
                    self.intake.stopped(&read.owned, offset, why);
                    true
                }
            },
            Content::EndOfPartition => {
                read.pass(&mut self.intake, offset);
                let reached = read.end.is_some_and(|end| offset >= end);
                if reached {
                    self.intake.reached_end(&read.owned);
                }
                reached
            }
            Content::Error(code) => {
                match super::consumer::partition_problem(code, message.topic(), &message.error_text()) {
                    Some(why) => {
                        let at = read.position.unwrap_or(offset);
                        if super::consumer::is_out_of_range(code) {
                            self.intake.lost_place(&read.owned, at, why);
                        } else {
                            self.intake.stopped(&read.owned, at, why);
                        }
                        true
                    }
                    // Whoever looks at the topics tells of one that was deleted, once and not for each partition.
                    None if matches!(
                        code,
                        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition
                    ) =>
                    {
                        tracing::debug!(partition = %read.owned.partition, "{}", message.error_text());
                        false
                    }
                    None => {
                        tracing::warn!(partition = %read.owned.partition, "{}", message.error_text());
                        false
                    }
                }
            }
        };
        read.halted = halt;
        Taken::Now
    }

    #[inline]
    fn find(&mut self, message: Message<'_>) -> Option<usize> {
        let key = (message.topic_handle(), message.partition());
        if self.last.0 != key {
            let is = |p: &TopicPartition| p.partition == key.1 && *p.topic == *message.topic();
            let reads = &self.reads;
            let index = self.found.entry(key).or_insert_with(|| reads.iter().position(|r| is(&r.owned.partition)));
            self.last = (key, *index);
        }
        self.last.1
    }
}

impl Read {
    fn pass(&mut self, intake: &mut impl Intake, end: Offset) {
        let start = self.position.unwrap_or(end);
        // Never back: the offsets committed would go back, too.
        if self.position.is_none_or(|position| position < end) {
            intake.passed(&self.owned, start, end);
            self.position = Some(end);
        }
    }
}
