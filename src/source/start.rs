//! Where a partition begins to be read, and what a commit remembers for the next one who asks.

use std::fmt;
use std::sync::Arc;

use super::position::Offset;
use crate::claim::Claim;
use crate::problem::Problem;

/// What tells a topic from another one of the same name, before or after it; as Kafka's own tools write it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Arc<str>);

impl TopicId {
    /// An id in Kafka's notation, which is ASCII without spaces. librdkafka has `+` and `/` where Kafka's own tools have
    /// `-` and `_`: both are one id, whichever a commit was made with.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.replace('+', "-").replace('/', "_").into())
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of the metadata that this program writes: the word `rowfall=`. Without it they are of the time before
/// there were claims.
const VERSION: u32 = 1;

/// What a commit says besides the offset, in its metadata: words `key=value`, in ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitNote {
    /// `topic=`: whose offset it is.
    pub topic: Option<TopicId>,
    /// `partitions=`: how many partitions the topic had when the group began to read it. Those above have appeared
    /// since.
    pub partitions: Option<i32>,
    /// `count=`: how many partitions the topic has.
    pub count: Option<i32>,
    /// `era=`: how often the topic was created again, or got partitions, since the group began to read it. Of two
    /// records of a key the one of the higher era is later, whatever their offsets are.
    pub era: u16,
    /// `epoch=`: the offset follows the progress that the database keeps with its rows, in this epoch. Without it the
    /// group alone knows the offset.
    pub epoch: Option<i64>,
}

impl CommitNote {
    /// Reads the metadata of a commit, with the claims that stand in it. Without any there is nothing to be read.
    ///
    /// # Errors
    /// When a later version of this program wrote them, or another program.
    pub fn read(metadata: &str) -> Result<(Self, Vec<Claim>), Unreadable> {
        let words = || metadata.split(' ').filter_map(|word| word.split_once('='));
        let value = |key: &str| words().find(|(known, _)| *known == key).map(|(_, value)| value);
        let number = |key: &str| value(key).and_then(|number| number.parse::<u32>().ok());
        match number("rowfall") {
            Some(version) if version > VERSION => return Err(Unreadable::Newer(version)),
            Some(_) => {}
            None if metadata.is_empty() || value("topic").is_some() || value("partitions").is_some() => {}
            None => return Err(Unreadable::Foreign),
        }
        let note = Self {
            topic: value("topic").filter(|id| !id.is_empty()).map(TopicId::new),
            partitions: value("partitions").and_then(|number| number.parse().ok()),
            count: value("count").and_then(|number| number.parse().ok()),
            era: value("era").and_then(|number| number.parse().ok()).unwrap_or(0),
            epoch: value("epoch").and_then(|number| number.parse().ok()),
        };
        let claims = words().filter(|(key, _)| *key == "claim").map(|(_, text)| Claim::parse(text));
        Ok((note, claims.collect::<Option<_>>().ok_or(Unreadable::Foreign)?))
    }
}

impl CommitNote {
    /// The metadata of an offset behind which this is claimed.
    #[must_use]
    pub fn with(&self, claims: &[Claim]) -> String {
        claims.iter().fold(self.to_string(), |text, claim| format!("{text} claim={claim}"))
    }
}

/// Why the metadata of a committed offset cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A later version of this program wrote them.
    Newer(u32),
    /// Another program did.
    Foreign,
}

impl Unreadable {
    /// Why a partition of which they were committed is not read, in this group.
    #[must_use]
    pub fn problem(self, group: &str) -> Problem {
        match self {
            Self::Newer(version) => Problem::new(
                format!("the offset in group {group} was committed by a later version of rowfall (format {version})"),
                "run that version, at least until it has stopped by itself with nothing left to write",
            ),
            Self::Foreign => Problem::new(
                format!("the offset in group {group} was committed by another program, with metadata of its own"),
                "give the pipeline a `name` of its own; to take the group over, stop the other program and set the \
                 offsets anew: kafka-consumer-groups --reset-offsets --to-current",
            ),
        }
    }
}

impl fmt::Display for CommitNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            Some(format!("rowfall={VERSION}")),
            self.topic.as_ref().map(|topic| format!("topic={topic}")),
            self.partitions.map(|partitions| format!("partitions={partitions}")),
            self.count.map(|count| format!("count={count}")),
            Some(self.era).filter(|era| *era > 0).map(|era| format!("era={era}")),
            self.epoch.map(|epoch| format!("epoch={epoch}")),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// What the group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: Offset,
    /// What was remembered with it.
    pub note: CommitNote,
    /// What may be on its way into the database from there on; it holds, whoever claimed it. Or why that cannot be told.
    pub claims: Result<Vec<Claim>, Unreadable>,
}

impl Committed {
    /// An offset from which on nothing was claimed.
    #[must_use]
    pub fn at(offset: Offset, note: CommitNote) -> Self {
        Self { offset, note, claims: Ok(Vec::new()) }
    }

    /// An offset with the metadata that stand by it.
    #[must_use]
    pub fn read(offset: Offset, metadata: &str) -> Self {
        match CommitNote::read(metadata) {
            Ok((note, claims)) => Self { offset, note, claims: Ok(claims) },
            Err(why) => Self { offset, note: CommitNote::default(), claims: Err(why) },
        }
    }
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where the group has come to.
    At(Offset),
    /// At the oldest record: what the group has committed belongs to a topic that is no more.
    Recreated(Offset),
    /// At the oldest record: the partition appeared after the group had begun to read the topic.
    Appeared,
    /// Where `kafka.start_from` says.
    Configured,
}

/// The topic's note for the commits to come: what this process knows of it, and what the group has remembered.
#[must_use]
pub fn note<'c>(known: CommitNote, committed: impl Iterator<Item = &'c Committed>) -> CommitNote {
    let mut note = known;
    for before in committed {
        let then = &before.note;
        let recreated = matches!((&then.topic, &note.topic), (Some(then), Some(now)) if then != now);
        let grown = matches!((then.count, note.count), (Some(then), Some(now)) if then != now);
        let era = then.era.saturating_add(u16::from(recreated || grown));
        note.era = note.era.max(era);
        match (&before.note.topic, &note.topic) {
            // A topic that was created again appeared as a whole.
            (Some(then), Some(now)) if then != now => note.partitions = Some(0),
            _ => note.partitions = before.note.partitions.into_iter().chain(note.partitions).min(),
        }
    }
    note
}

/// Where the partition of this number begins.
#[must_use]
pub fn begin(partition: i32, committed: Option<&Committed>, note: &CommitNote) -> Begin {
    match committed {
        Some(Committed { offset, note: then, .. }) => match (&then.topic, &note.topic) {
            (Some(then), Some(now)) if then != now => Begin::Recreated(*offset),
            _ => Begin::At(*offset),
        },
        None if note.partitions.is_some_and(|partitions| partition >= partitions) => Begin::Appeared,
        None => Begin::Configured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(topic: &str, partitions: i32) -> CommitNote {
        CommitNote { topic: Some(TopicId::new(topic)), partitions: Some(partitions), ..CommitNote::default() }
    }

    fn committed(offset: i64, note: CommitNote) -> Committed {
        Committed::at(Offset(offset), note)
    }

    #[test]
    fn notes_are_read_as_they_are_written() {
        let in_epoch = CommitNote { epoch: Some(3), ..noted("a", 8) };
        for note in [
            noted("b8sMDFJTSAOEDHWOpOBsNw", 8),
            CommitNote::default(),
            CommitNote { topic: None, ..noted("x", 0) },
            CommitNote { count: Some(9), era: 3, ..noted("x", 8) },
            in_epoch.clone(),
        ] {
            assert_eq!(CommitNote::read(&note.to_string()), Ok((note, Vec::new())));
        }
        assert_eq!(noted("a", 8).to_string(), "rowfall=1 topic=a partitions=8");
        assert_eq!(CommitNote::read("topic=b+8/M partitions=8"), Ok((noted("b-8_M", 8), Vec::new())));
        assert_eq!(in_epoch.to_string(), "rowfall=1 topic=a partitions=8 epoch=3");
        assert_eq!(CommitNote::read("later=1 topic=a epoch=3 partitions=8"), Ok((in_epoch, Vec::new())));
        for nothing in ["", "topic=", "partitions=many", "rowfall=1"] {
            assert_eq!(CommitNote::read(nothing), Ok((CommitNote::default(), Vec::new())), "{nothing}");
        }
    }

    #[test]
    fn claims_stand_behind_the_note_in_their_order() {
        let [one, two] = ["00000000000000ff/1800000000/0:100+20,7:5+1", "0000000000000001/1800000001/0:120+1"];
        let read = CommitNote::read(&format!("rowfall=1 topic=a partitions=8 claim={one} claim={two}"));
        let claims = [one, two].map(|text| Claim::parse(text).unwrap());
        assert_eq!(read, Ok((noted("a", 8), claims.to_vec())));
    }

    #[test]
    fn what_another_wrote_is_not_taken_for_ours() {
        for foreign in ["hello", "topics=a", "epoch=", "=", "topic", "{\"offset\":1}", "rowfall=1 claim=x"] {
            assert_eq!(CommitNote::read(foreign), Err(Unreadable::Foreign), "{foreign}");
        }
        assert_eq!(CommitNote::read("rowfall=2 topic=a"), Err(Unreadable::Newer(2)));
    }

    #[test]
    fn a_partition_begins_where_the_group_has_come_to_unless_the_topic_is_another() {
        let now = noted("new", 4);
        assert_eq!(begin(1, Some(&committed(7, noted("new", 4))), &now), Begin::At(Offset(7)));
        assert_eq!(begin(1, Some(&committed(7, noted("old", 4))), &now), Begin::Recreated(Offset(7)));
        // Commits of others, and brokers without ids: nothing can be told.
        assert_eq!(begin(1, Some(&committed(7, CommitNote::default())), &now), Begin::At(Offset(7)));
        assert_eq!(begin(1, Some(&committed(7, noted("old", 4))), &CommitNote::default()), Begin::At(Offset(7)));
        assert_eq!(begin(3, None, &now), Begin::Configured);
        assert_eq!(begin(4, None, &now), Begin::Appeared);
        assert_eq!(begin(4, None, &CommitNote::default()), Begin::Configured);
    }

    #[test]
    fn an_era_begins_where_offsets_begin_anew_or_keys_may_move() {
        let of = |topic, count, era| CommitNote { count: Some(count), era, ..noted(topic, 4) };
        let before = [committed(7, of("t", 4, 2)), committed(9, of("t", 4, 1)), committed(9, CommitNote::default())];
        let era = |topic, count| note(of(topic, count, 0), before.iter()).era;
        assert_eq!((era("t", 4), era("t", 8), era("u", 4)), (2, 3, 3));
        // The next time it is asked, and others have committed meanwhile.
        let before = [committed(7, of("t", 8, 3)), committed(9, of("t", 4, 2))];
        assert_eq!(note(of("t", 8, 0), before.iter()).era, 3);
    }

    #[test]
    fn what_the_group_began_with_is_kept_over_restarts() {
        // Eight are there now; the group began with four, and nobody has committed the others yet.
        let before = [committed(7, noted("t", 4)), committed(9, CommitNote::default()), committed(3, noted("t", 4))];
        let now = note(noted("t", 8), before.iter());
        assert_eq!(now, noted("t", 4));
        assert_eq!(begin(5, None, &now), Begin::Appeared);
        // A first commit.
        assert_eq!(note(noted("t", 8), [].iter()), noted("t", 8));
        // Created again: whatever it has is new.
        assert_eq!(note(noted("u", 8), before.iter()), CommitNote { era: 1, ..noted("u", 0) });
    }
}
