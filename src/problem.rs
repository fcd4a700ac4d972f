//! What went wrong and what to do about it, for people.

use std::fmt;

/// A failure as an operator meets it: what happened and where, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What happened and where, in lower case.
    pub what: String,
    /// What to do, an imperative sentence in lower case; empty when there is nothing to say.
    pub hint: String,
}

impl Problem {
    /// A problem with its mend.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// The same problem, met while doing something: `doing: what`.
    #[must_use]
    pub fn within(mut self, doing: &str) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// The same problem with this mend, if it has none yet.
    #[must_use]
    pub fn or_hint(mut self, hint: &str) -> Self {
        if self.hint.is_empty() {
            hint.clone_into(&mut self.hint);
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.hint.is_empty() {
            return Ok(());
        }
        write!(f, "\n  → {}", self.hint)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// What a dialect says went wrong, with the causes below it.
    #[must_use]
    pub fn from_ref(error: &rowfall_dialects::contract::Error) -> Self {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !what.contains(&text) {
                what = format!("{what}: {text}");
            }
            source = cause.source();
        }
        Self { what, hint: error.hint.clone().unwrap_or_default() }
    }
}

impl From<rowfall_dialects::contract::Error> for Problem {
    fn from(error: rowfall_dialects::contract::Error) -> Self {
        Self::from_ref(&error)
    }
}
