use std::fmt;

/// What the pipeline does about an [`Error`]; the only thing that it matches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The same call may succeed later: try again with backoff.
    Retry,
    /// As `Retry`, and the database falls behind: whoever writes to that table should write less often and more at a
    /// time.
    Slow,
    /// The rows are too much for one write, and the same write never succeeds:
    /// [`Session::cut`](crate::contract::Session::cut) now says how to write them in pieces.
    Cut,
    /// The table is not as it was described: describe it again, then try once more.
    Refresh,
    /// Some of the rows are bad: the others can be written without them.
    Split,
    /// The partitions are not where the progress moves them from: another process owns them now. Take them over again,
    /// or leave them.
    Fenced,
    /// Nothing but an operator helps: stop the partitions concerned and say so.
    Pause,
}

/// What went wrong between rowfall and a database.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", Code(.code))]
pub struct Error {
    /// What to do about it.
    pub advice: Advice,
    /// The database's own code, as its documentation lists it.
    pub code: Option<String>,
    /// What happened, in lower case, without the values of rows.
    pub message: String,
    /// What the operator can do, an imperative sentence in lower case.
    pub hint: Option<String>,
    /// What the library below said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

struct Code<'a>(&'a Option<String>);

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "code {code}: "),
            None => Ok(()),
        }
    }
}

impl Error {
    /// An error with this advice and message.
    pub fn new(advice: Advice, message: impl Into<String>) -> Self {
        Self { advice, code: None, message: message.into(), hint: None, source: None }
    }

    /// An error that only an operator can mend.
    pub fn pause(message: impl Into<String>) -> Self {
        Self::new(Advice::Pause, message)
    }

    /// Adds what the operator can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the database's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds what the library below said.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// A grammar's answer to something that the database cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);
