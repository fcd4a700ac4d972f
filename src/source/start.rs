//! Where a partition begins to be read, and what a commit remembers for the next one who asks.

use std::fmt;
use std::sync::Arc;

use super::position::Offset;

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

/// What a commit says besides the offset, in its metadata: words `key=value`, in ASCII. Words of later versions and of
/// other programs are passed over.
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
    /// Reads the metadata of a commit, whoever made it.
    #[must_use]
    pub fn parse(metadata: &str) -> Self {
        let value = |key: &str| metadata.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Self {
            topic: value("topic").filter(|id| !id.is_empty()).map(TopicId::new),
            partitions: value("partitions").and_then(|number| number.parse().ok()),
            count: value("count").and_then(|number| number.parse().ok()),
            era: value("era").and_then(|number| number.parse().ok()).unwrap_or(0),
            epoch: value("epoch").and_then(|number| number.parse().ok()),
        }
    }
}

impl fmt::Display for CommitNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
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
        Some(Committed { offset, note: then }) => match (&then.topic, &note.topic) {
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
        Committed { offset: Offset(offset), note }
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
            assert_eq!(CommitNote::parse(&note.to_string()), note);
        }
        assert_eq!(noted("a", 8).to_string(), "topic=a partitions=8");
        assert_eq!(CommitNote::parse("topic=b+8/M partitions=8"), noted("b-8_M", 8));
        assert_eq!(in_epoch.to_string(), "topic=a partitions=8 epoch=3");
        assert_eq!(CommitNote::parse("claim=1 topic=a epoch=3 partitions=8"), in_epoch);
        for foreign in ["", "hello", "topic=", "topics=a", "partitions=many", "epoch=", "=", "topic"] {
            assert_eq!(CommitNote::parse(foreign), CommitNote::default(), "{foreign}");
        }
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
