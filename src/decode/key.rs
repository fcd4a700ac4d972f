//! A record's key, or the headers that stand for it, into the key's columns.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use rowfall_dialects::contract::Column;
use serde::de::IgnoredAny;

use super::{BadRecord, Decoder, Program, Record};
use crate::config::Format;
use crate::schemas::RecordPart;

/// What fills the key's columns.
#[derive(Debug)]
pub(super) struct KeyProgram {
    pub(super) program: Arc<Program>,
    pub(super) format: Format,
    /// The headers that say the key; where there are none, it is the record's key.
    pub(super) headers: Vec<CString>,
}

/// Runs the program of a record's key, or of the headers that stand for it.
#[derive(Debug)]
pub(super) struct KeyDecoder {
    decoder: Decoder,
    format: Format,
    /// Each header with what stands before its value in the object that is made of them: `{"tenant":`, `,"id":`.
    headers: Vec<(CString, Box<[u8]>)>,
    /// What stands before a key that is no object, to make it one: `{"id":`.
    opening: Box<[u8]>,
    made: Vec<u8>,
}

impl KeyDecoder {
    pub(super) fn new(KeyProgram { program, format, headers }: &KeyProgram) -> Self {
        // Headers are made into JSON.
        let written = if headers.is_empty() { format } else { &Format::Json };
        let before =
            |start: &str, field: &str| format!("{start}{}:", serde_json::Value::from(field)).into_bytes().into();
        let headers = headers.iter().enumerate().map(|(index, name)| {
            let start = if index == 0 { "{" } else { "," };
            (name.clone(), before(start, &name.to_string_lossy()))
        });
        let decoder = Decoder::new(Arc::clone(program), written, RecordPart::Key);
        let opening = before("{", program.first_field());
        Self { decoder, format: written.clone(), headers: headers.collect(), opening, made: Vec::new() }
    }

    /// As [`Decoder::is_ready`].
    pub(super) fn is_ready(&mut self, record: &Record<'_>) -> bool {
        record.key.is_none_or(|key| self.decoder.is_ready(key, record.headers))
    }

    /// Fills the key's columns, the first; answers how many they are.
    pub(super) fn decode(
        &mut self,
        record: &Record<'_>,
        columns: &mut [Column],
        row: usize,
    ) -> Result<usize, BadRecord> {
        let Self { decoder, format, headers, opening, made } = self;
        let columns = &mut columns[..decoder.program().layout.targets.len()];
        made.clear();
        let (key, whose) = match headers.is_empty() {
            true => (key_object(record.key, format, columns.len(), opening, made)?, "the record's key"),
            false => (header_object(record, headers, made)?, "the record's headers"),
        };
        decoder.decode(key, record.headers, columns, row).map_err(|bad| BadRecord {
            reason: format!("{whose}: {}", bad.reason),
            cure: None,
            ..bad
        })?;
        Ok(columns.len())
    }
}

pub(crate) fn bad(reason: impl Into<String>, hint: &str) -> BadRecord {
    BadRecord { field: None, column: None, reason: reason.into(), hint: hint.to_owned(), cure: None }
}

/// A record's key as a JSON object: itself, or one that is made with what stands before its only value.
fn key_object<'k>(
    key: Option<&'k [u8]>,
    format: &Format,
    columns: usize,
    opening: &[u8],
    made: &'k mut Vec<u8>,
) -> Result<&'k [u8], BadRecord> {
    let key = key.ok_or_else(|| bad("the record has no key", "mend the producer, or say another `primary_key`"))?;
    let is_whole = match format {
        Format::Json => key.trim_ascii_start().first() == Some(&b'{'),
        Format::String => false,
        Format::Avro(_) | Format::ConnectJson => true,
    };
    if is_whole {
        return Ok(key);
    }
    if columns > 1 {
        let reason = format!("the record's key is one value, and the table's key has {columns} columns");
        return Err(bad(reason, "mend the producer: the key must be a JSON object with a field per column"));
    }
    let text = std::str::from_utf8(key).map_err(|_| bad("the record's key is not UTF-8", "mend the producer"))?;
    made.extend_from_slice(opening);
    match format {
        // Otherwise more than one value could hide in the object that is made of it.
        Format::Json if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            let hint = "set `key: string` for the topic if its keys are plain text";
            return Err(bad("the record's key is not JSON", hint));
        }
        Format::Json => made.extend_from_slice(key),
        Format::String => serde_json::to_writer(&mut *made, text).expect("a Vec takes it"),
        Format::Avro(_) | Format::ConnectJson => unreachable!("it is whole"),
    }
    made.push(b'}');
    Ok(made)
}

/// A JSON object of the record's headers.
fn header_object<'k>(
    record: &Record<'_>,
    headers: &[(CString, Box<[u8]>)],
    made: &'k mut Vec<u8>,
) -> Result<&'k [u8], BadRecord> {
    for (name, before) in headers {
        let text = header_text(record, name)?;
        made.extend_from_slice(before);
        serde_json::to_writer(&mut *made, text).expect("a Vec takes it");
    }
    made.push(b'}');
    Ok(made)
}

/// The text of the record's last header of this name.
pub(crate) fn header_text<'r>(record: &Record<'r>, name: &CStr) -> Result<&'r str, BadRecord> {
    let header = || format!("header `{}`", name.to_string_lossy());
    let refuse = |what: String| bad(what, "mend the producer, or change the route, which needs the header");
    match record.headers.last(name) {
        None => Err(refuse(format!("the record has no {}", header()))),
        Some(None) => Err(refuse(format!("the record's {} has no value", header()))),
        Some(Some(value)) => {
            std::str::from_utf8(value).map_err(|_| refuse(format!("the record's {} is not UTF-8", header())))
        }
    }
}
