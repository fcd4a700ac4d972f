use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::mask::mask;

/// What is wrong with the configuration: one problem or several, each with its place in the file or in the flag.
///
/// Shows no secret: passwords in the shown source are masked, and values that came out of the environment or a file
/// are never part of a message.
#[derive(Debug)]
pub struct ConfigError {
    /// Never empty.
    problems: Vec<Problem>,
    note: Option<&'static str>,
}

impl ConfigError {
    /// `None` without a problem.
    pub(super) fn new(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self { problems, note: None })
    }

    /// Adds what may explain all of it.
    pub(super) fn with_note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    fn only(&self) -> Option<&Problem> {
        match self.problems.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], note: None }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only() {
            Some(problem) => problem.fmt(f),
            None => write!(f, "the configuration has {} problems", self.problems.len()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// One problem is shown as itself, several as a list.
impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.only().and_then(|problem| problem.help.as_deref());
        match (help, self.note) {
            (Some(help), Some(note)) => Some(Box::new(format!("{help}; {note}"))),
            (help, note) => help.or(note).map(|text| Box::new(text) as Box<dyn fmt::Display>),
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.only()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.only() {
            Some(_) => None,
            None => Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic))),
        }
    }
}

/// A piece of the file or of a flag.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The text with its secrets masked, byte for byte as long as the real one.
    source: Arc<NamedSource<String>>,
    /// In bytes.
    pub(super) span: Range<usize>,
}

impl Place {
    /// All of a text.
    pub(super) fn whole(name: &str, text: &str) -> Self {
        Self { source: Arc::new(NamedSource::new(name, mask(text))), span: 0..text.len() }
    }

    /// Another piece of the same text.
    pub(super) fn at(&self, span: Range<usize>) -> Self {
        Self { source: Arc::clone(&self.source), span }
    }

    /// The first occurrence of `part` in this piece, or all of it.
    pub(super) fn find(&self, part: &str) -> Self {
        let piece = self.source.inner().get(self.span.clone()).unwrap_or_default();
        match piece.find(part) {
            Some(found) => self.at(self.span.start + found..self.span.start + found + part.len()),
            None => self.clone(),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    label: String,
    help: Option<String>,
    place: Option<Place>,
}

impl Problem {
    /// A problem without a place.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: "here".to_owned(), help: None, place: None }
    }

    /// Where it is; nowhere when the setting is not written anywhere.
    pub(super) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// What stands under the underlined piece.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &*place.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = LabeledSpan::new_with_span(Some(self.label.clone()), place.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
