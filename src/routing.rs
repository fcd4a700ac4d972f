//! Which of several tables a record goes to, where the table's name has parts that each record says.

use std::collections::HashMap;

use rowfall_dialects::contract::TableName;
use sonic_rs::JsonValueTrait;

use crate::config::{Piece, TableTemplate};
use crate::decode::{BadRecord, Record, bad, header_text};

/// Between schema and name: no part of a name may hold it.
const SEPARATOR: char = '\0';

/// Finds the table of each record. One per worker and topic.
#[derive(Debug)]
pub struct Router {
    template: TableTemplate,
    /// The name of the record's table, filled in anew for each record.
    written: String,
    known: HashMap<Box<str>, usize>,
}

/// Where a record goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// To the table that was learned under this number.
    Known(usize),
    /// To one that no record went to before.
    New(TableName),
}

impl Router {
    /// For tables of such names.
    #[must_use]
    pub fn new(template: &TableTemplate) -> Self {
        Self { template: template.clone(), written: String::new(), known: HashMap::new() }
    }

    /// The record's table.
    ///
    /// # Errors
    /// When the record does not say it.
    #[inline]
    pub fn way(&mut self, record: &Record<'_>) -> Result<Way, BadRecord> {
        self.written.clear();
        if let Some(schema) = &self.template.schema {
            write(schema, record, &mut self.written)?;
            self.written.push(SEPARATOR);
        }
        write(&self.template.name, record, &mut self.written)?;
        match self.known.get(self.written.as_str()) {
            Some(table) => Ok(Way::Known(*table)),
            None => Ok(Way::New(self.table())),
        }
    }

    /// Gives the table of the last record this number.
    pub fn learn(&mut self, table: usize) {
        self.known.insert(self.written.as_str().into(), table);
    }

    fn table(&self) -> TableName {
        match self.written.split_once(SEPARATOR) {
            Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
            None => TableName { schema: None, name: self.written.clone() },
        }
    }
}

fn write(pieces: &[Piece], record: &Record<'_>, written: &mut String) -> Result<(), BadRecord> {
    for piece in pieces {
        let before = written.len();
        match piece {
            Piece::Text(text) => {
                written.push_str(text);
                continue;
            }
            Piece::Header(name) => written.push_str(header_text(record, name)?),
            Piece::Field(way) => write_field(way, record, written)?,
        }
        if written[before..].is_empty() || written[before..].contains(SEPARATOR) {
            return Err(refused(piece, "is empty or holds a NUL, and is a part of the table's name"));
        }
    }
    Ok(())
}

fn write_field(way: &[String], record: &Record<'_>, written: &mut String) -> Result<(), BadRecord> {
    let refuse = |reason: &str| refused(&Piece::Field(way.to_vec()), reason);
    let value = record.value.ok_or_else(|| {
        let hint = "a tombstone can only be led by a header: `${header:…}` in the table's name";
        BadRecord { hint: hint.to_owned(), ..refuse("is missing, as the record has no value") }
    })?;
    let found = sonic_rs::get(value, way).map_err(|error| match error.is_not_found() {
        true => refuse("is missing, and is a part of the table's name"),
        false => refuse("cannot be read: the value is not JSON up to there"),
    })?;
    match found.as_str() {
        Some(text) => written.push_str(text),
        // As they are written: 1 and 1.0 are two names, of which one is none.
        None if found.is_i64() || found.is_u64() || found.is_boolean() => written.push_str(found.as_raw_str()),
        None => return Err(refuse("is no text, integer or boolean, and is a part of the table's name")),
    }
    Ok(())
}

#[cold]
fn refused(piece: &Piece, reason: &str) -> BadRecord {
    let what = match piece {
        Piece::Text(_) => String::new(),
        Piece::Header(name) => format!("header `{}`", name.to_string_lossy()),
        Piece::Field(way) => format!("field `{}`", way.join(".")),
    };
    bad(format!("{what} {reason}"), "mend the producer, or change `table` of the topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(schema: Option<Vec<Piece>>, name: Vec<Piece>) -> Router {
        Router::new(&TableTemplate { schema, name })
    }

    fn field(way: &str) -> Piece {
        Piece::Field(way.split('.').map(str::to_owned).collect())
    }

    type Header<'h> = (&'h str, Option<&'h [u8]>);

    fn way(router: &mut Router, value: Option<&str>, headers: &[Header<'_>]) -> Result<Way, String> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.map(<[u8]>::to_vec))).collect();
        let value = value.map(str::as_bytes);
        let record = Record { key: None, value, headers: &headers, topic: "t", partition: 0, offset: 0, era: 0 };
        router.way(&record).map_err(|bad| bad.to_string())
    }

    fn new(name: &str) -> Result<Way, String> {
        Ok(Way::New(TableName { schema: None, name: name.to_owned() }))
    }

    #[test]
    fn a_field_says_the_table() {
        let mut router = router(None, vec![Piece::Text("e_".to_owned()), field("a.kind")]);
        for (value, name) in [
            (r#"{"a":{"kind":"order"}}"#, "e_order"),
            (r#"{"x":[1,{"a":2}],"a":{"x":1,"kind":"a.b \"\u00fc☃"}}"#, "e_a.b \"ü☃"),
            (r#"{"a":{"kind":12345678901234567890}}"#, "e_12345678901234567890"),
            (r#"{"a":{"kind":-7}}"#, "e_-7"),
            (r#"{"a":{"kind":true}}"#, "e_true"),
        ] {
            assert_eq!(way(&mut router, Some(value), &[]), new(name), "{value}");
        }
        for value in [
            r#"{"a":{"kind":1.5}}"#,
            r#"{"a":{"kind":null}}"#,
            r#"{"a":{"kind":{}}}"#,
            r#"{"a":{"kind":""}}"#,
            r#"{"a":{"kind":"a\u0000b"}}"#,
            r#"{"a":{"kin":"order"}}"#,
            r#"{"a":1}"#,
            r#"{"a":{"kind":"ord"#,
            "[]",
            "",
        ] {
            assert!(way(&mut router, Some(value), &[]).is_err(), "{value}");
        }
        assert!(way(&mut router, None, &[]).is_err());
    }

    #[test]
    fn headers_say_schema_and_table_and_the_last_one_counts() {
        let header = |name: &str| Piece::Header(std::ffi::CString::new(name).unwrap());
        let mut router = router(Some(vec![header("tenant")]), vec![header("kind")]);
        let headers: [Header<'_>; 3] = [("kind", Some(b"a")), ("tenant", Some(b"t")), ("kind", Some(b"order"))];
        let table = TableName { schema: Some("t".to_owned()), name: "order".to_owned() };
        assert_eq!(way(&mut router, None, &headers), Ok(Way::New(table)));
        router.learn(3);
        assert_eq!(way(&mut router, None, &headers), Ok(Way::Known(3)));
        let refused: [&[Header<'_>]; 3] = [
            &headers[..1],
            &[("tenant", Some(b"t")), ("kind", None)],
            &[("tenant", Some(b"t")), ("kind", Some(b"\xff"))],
        ];
        let refused = refused.map(|headers| way(&mut router, None, headers).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"), @"
        the record has no header `tenant`
        the record's header `kind` has no value
        the record's header `kind` is not UTF-8
        ");
    }
}
