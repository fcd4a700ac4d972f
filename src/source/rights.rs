//! What this user may not do in Kafka, and the statement that mends it.

use crate::problem::Problem;

/// A right that exactly one statement gives.
#[derive(Clone, Copy, Debug)]
pub enum Right<'n> {
    /// To read this topic, and to commit its offsets.
    Topic(&'n str),
    /// To be a member of this group, and to commit to it.
    Group(&'n str),
    /// To commit in transactions under this `transactional.id`.
    TransactionalId(&'n str),
}

impl Right<'_> {
    /// What is told when it is missing.
    #[must_use]
    pub fn missing(self) -> Problem {
        let add = "kafka-acls --bootstrap-server … --add --allow-principal User:…";
        match self {
            Self::Topic(name) => Problem::new(
                format!("not allowed to read topic {name}"),
                format!("grant READ on it to this user: {add} --operation Read --topic {name}"),
            ),
            Self::Group(name) => Problem::new(
                format!("not allowed to use the consumer group {name}"),
                format!("grant READ on it to this user: {add} --operation Read --group {name}"),
            ),
            Self::TransactionalId(id) => Problem::new(
                format!("not allowed to use the `transactional.id` {id}, which exactly-once needs"),
                format!(
                    "grant WRITE and DESCRIBE on it to this user: {add} --operation Write --operation Describe \
                     --transactional-id {id}; or set `delivery: at-least-once`"
                ),
            ),
        }
    }
}
