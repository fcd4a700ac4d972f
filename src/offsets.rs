//! `offsets`: how far the group has come, what was begun and is not known to be written, and how that ends where the
//! database cannot tell any more.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::claim::{Claim, Range};
use crate::config::Settings;
use crate::problem::Problem;
use crate::source::consumer::{Answer, Consumer, Due};
use crate::source::position::TopicPartition;
use crate::source::rights::Right;
use crate::source::start::{Committed, Unreadable};
use crate::source::topics;
use crate::source::transactions::Transactions;

/// What an operator has found out of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its rows are in their tables.
    Written,
    /// They are not.
    Missing,
}

/// The group's offsets, before which everything is written, and what was begun behind them.
///
/// # Errors
/// When the brokers do not answer, or a topic is missing.
pub fn show(settings: &Settings) -> Result<String, Problem> {
    let (consumer, committed) = committed(settings)?;
    let width = committed.iter().map(|(partition, _)| partition.to_string().len()).max().unwrap_or(0).max(9);
    let mut text = format!("{:width$}  {:>12}  {:>12}  {:>12}\n", "partition", "committed", "end", "behind");
    for (partition, committed) in &committed {
        let (oldest, end) = consumer.range(partition)?;
        let at = committed.as_ref().map_or_else(|| "-".to_owned(), |committed| committed.offset.to_string());
        let behind = end.0 - committed.as_ref().map_or(oldest, |committed| committed.offset).0;
        let _ = writeln!(text, "{:width$}  {at:>12}  {end:>12}  {behind:>12}", partition.to_string());
        match committed.as_ref().map(|committed| &committed.claims) {
            Some(Ok(claims)) => {
                for (claim, range) in claims.iter().filter_map(|claim| Some((claim, claim.of(partition.partition)?))) {
                    let (start, end, nonce, age) = (range.start, range.end, claim.nonce, claim.age().as_secs());
                    let _ = writeln!(text, "{:width$}  begun {age} s ago: {start} to {end}, {nonce:016x}", "");
                }
            }
            Some(Err(Unreadable::Foreign)) => _ = writeln!(text, "{:width$}  committed by another program", ""),
            Some(Err(Unreadable::Newer(_))) => _ = writeln!(text, "{:width$}  committed by a later version", ""),
            None => {}
        }
    }
    Ok(text)
}

/// Ends a claim, while no process of the pipeline runs: the group goes on behind it, or it is written under a new token.
///
/// # Errors
/// When there is no such claim, when it is not the first one of its partitions, and when the group has members.
pub fn end(settings: &Settings, nonce: u64, verdict: Verdict) -> Result<String, Problem> {
    let (consumer, committed) = committed(settings)?;
    consumer.refuse_members()?;
    let mut due = Vec::new();
    let mut fresh = None;
    let mut deleted = String::new();
    for (partition, committed) in committed {
        let Some(Committed { offset, note, claims: Ok(claims) }) = committed else { continue };
        let Some(index) = claims.iter().position(|claim| claim.nonce == nonce) else { continue };
        if index > 0 {
            let first = claims[0].nonce;
            let what = format!("{partition}: {first:016x} was begun before {nonce:016x}");
            return Err(Problem::new(what, "end that one first"));
        }
        let end = claims[0].of(partition.partition).map_or(offset, |range| range.end);
        let (offset, claims) = match verdict {
            Verdict::Written => (end, claims[1..].to_vec()),
            Verdict::Missing => {
                // The same one for all its partitions.
                let fresh = match &mut fresh {
                    Some(fresh) => fresh,
                    None => fresh.insert(what_is_left(&consumer, &partition.topic, &claims[0], &mut deleted)?),
                };
                let start = fresh.of(partition.partition).map_or(end, |range| range.start);
                let fresh = Some(fresh.clone()).filter(|fresh| !fresh.ranges.is_empty());
                (start, fresh.into_iter().chain(claims[1..].iter().cloned()).collect())
            }
        };
        due.push(Due { partition, offset, metadata: note.with(&claims) });
    }
    if due.is_empty() {
        let what = format!("group {} has nothing under way that is called {nonce:016x}", settings.name);
        return Err(Problem::new(what, "`rowfall offsets` lists what it has"));
    }
    let id = format!("{}-offsets", settings.name);
    let transactions = Transactions::start(&id, &settings.name, &settings.kafka, &AtomicBool::new(false))?;
    let commit = consumer.commit(&due, transactions.as_ref());
    loop {
        match commit.answer(Duration::from_secs(1)) {
            None => {}
            Some(Answer::Taken(_)) => break,
            Some(Answer::Unreadable) => {
                let names = due.iter().map(|due| &*due.partition.topic).collect::<Vec<_>>();
                let name = consumer.unreadable(&names).into_iter().next().unwrap_or_else(|| names[0].to_owned());
                return Err(Right::Topic(&name).missing());
            }
            Some(Answer::Refused(problem) | Answer::Unknown(problem) | Answer::Fatal(problem)) => return Err(problem),
        }
    }
    let what = match verdict {
        Verdict::Written => "the next run goes on behind it",
        Verdict::Missing => "the next run writes it again",
    };
    Ok(format!("{deleted}{nonce:016x}, {} partitions: {what}\n", due.len()))
}

/// The claim of what the topic still has of this one, under a new number; what it has not is told.
fn what_is_left(consumer: &Consumer, topic: &Arc<str>, claim: &Claim, deleted: &mut String) -> Result<Claim, Problem> {
    let mut ranges = Vec::new();
    for range in &claim.ranges {
        let partition = TopicPartition { topic: Arc::clone(topic), partition: range.partition };
        let (oldest, _) = consumer.range(&partition)?;
        let start = oldest.max(range.start).min(range.end);
        if start > range.start {
            let _ = writeln!(deleted, "{partition}: the records from {} to {start} were deleted", range.start);
        }
        if start < range.end {
            ranges.push(Range { start, ..*range });
        }
    }
    Ok(Claim::new(ranges))
}

/// What the group has of all partitions that the routes take.
#[expect(clippy::type_complexity, reason = "it is taken apart where it is asked for")]
fn committed(settings: &Settings) -> Result<(Consumer, Vec<(TopicPartition, Option<Committed>)>), Problem> {
    let topics = topics::find(&settings.kafka, &settings.routes)?;
    let partitions: Vec<_> = topics.iter().flat_map(|topic| topic.each_partition()).collect();
    let consumer = Consumer::new(&settings.name, &settings.kafka, 1 << 20, false)?;
    let committed = consumer.committed(&partitions)?;
    Ok((consumer, partitions.into_iter().zip(committed).collect()))
}
