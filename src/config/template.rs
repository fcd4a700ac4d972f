//! Templates in a table's name: parts that the topic says, and parts that each record says.

use std::ffi::CString;

use regex::Captures;
use rowfall_dialects::contract::TableName;

/// The name of a table of which each record says a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTemplate {
    /// Its schema, where the route names one.
    pub schema: Option<Vec<Piece>>,
    /// Its name.
    pub name: Vec<Piece>,
}

/// A piece of a table's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of the record's last header of this name.
    Header(CString),
    /// The value of a field of the record's value: the way to it through objects.
    Field(Vec<String>),
}

impl TableTemplate {
    /// The template with what topic and groups say filled in.
    pub(super) fn new(table: &TableName, topic: &str, captures: Option<&Captures<'_>>) -> Self {
        let pieces = |text: &str| pieces(text, topic, captures);
        Self { schema: table.schema.as_deref().map(pieces), name: pieces(&table.name) }
    }

    /// Whether the records say a part of it.
    pub(super) fn varies(&self) -> bool {
        self.schema.iter().flatten().chain(&self.name).any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The name as it is written, with what topic and groups say filled in.
    pub(super) fn text(&self) -> TableName {
        let text = |pieces: &Vec<Piece>| pieces.iter().map(Piece::text).collect();
        TableName { schema: self.schema.as_ref().map(text), name: text(&self.name) }
    }
}

impl Piece {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Header(name) => format!("${{header:{}}}", name.to_string_lossy()),
            Self::Field(way) => format!("${{field:{}}}", way.join(".")),
        }
    }
}

/// Reads a table's name as [`TableName::parse`] does; a dot inside a template separates nothing.
pub(super) fn parse_table(text: &str) -> TableName {
    let dot = ('\u{e000}'..).find(|c| !text.contains(*c)).expect("no text has them all").to_string();
    let mut masked = text.to_owned();
    for (template, _) in templates(text).filter(|(template, _)| template.contains('.')) {
        masked = masked.replace(template, &template.replace('.', &dot));
    }
    let TableName { schema, name } = TableName::parse(&masked);
    TableName { schema: schema.map(|schema| schema.replace(&dot, ".")), name: name.replace(&dot, ".") }
}

/// Whether what stands between the braces is filled in for each record; an error when it names nothing.
pub(super) fn by_record(inner: &str) -> Option<Result<Piece, ()>> {
    if let Some(name) = inner.strip_prefix("header:") {
        let name = Some(name).filter(|name| !name.is_empty()).and_then(|name| CString::new(name).ok());
        return Some(name.map(Piece::Header).ok_or(()));
    }
    let way: Vec<_> = inner.strip_prefix("field:")?.split('.').map(str::to_owned).collect();
    Some(if way.iter().any(String::is_empty) { Err(()) } else { Ok(Piece::Field(way)) })
}

/// The templates of a table's name, whole and without their braces; without a text inside where it is escaped: `$${`.
pub(super) fn templates(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find("${")?;
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            let escaped = &rest[at - 1..at + 2];
            rest = &rest[at + 2..];
            return Some((escaped, None));
        }
        let end = at + rest[at..].find('}')?;
        let template = &rest[at..=end];
        let inner = &rest[at + 2..end];
        rest = &rest[end + 1..];
        Some((template, Some(inner)))
    })
}

fn pieces(text: &str, topic: &str, captures: Option<&Captures<'_>>) -> Vec<Piece> {
    let (mut pieces, mut literal, mut at) = (Vec::new(), String::new(), 0);
    for (template, inner) in templates(text) {
        let start = template.as_ptr().addr() - text.as_ptr().addr();
        literal.push_str(&text[at..start]);
        at = start + template.len();
        match inner {
            None => literal.push_str("${"),
            Some("topic") => literal.push_str(topic),
            Some(inner) => match by_record(inner) {
                Some(piece) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.extend(piece);
                }
                // A group that took no part in the match is empty.
                None => {
                    let group = inner.parse().ok().and_then(|group| captures?.get(group));
                    literal.push_str(group.map_or("", |group| group.as_str()));
                }
            },
        }
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}
