//! Records with their keys and places into rows: several programs, each for a part of a row's columns.

use std::borrow::Cow;
use std::sync::Arc;

use rowfall_dialects::contract::{Column, Layout, Mark, Op, TableSchema, Values};
use serde::de::IgnoredAny;

use super::{BadRecord, Decoder, Lacking, Part, Program, RefusedColumn};
use crate::config::{KeyFormat, KeySource, Route};

/// A record as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    /// Its key, where it has one.
    pub key: Option<&'r [u8]>,
    /// Its value; a tombstone has none.
    pub value: Option<&'r [u8]>,
    /// The topic.
    pub topic: &'r str,
    /// The partition's number.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// How often the places of its topic began anew: with offsets they say which of two records of a key is later.
    pub era: u16,
}

/// The version column that rowfall fills itself: era and offset of the record.
pub const OWN_VERSION: &str = "_version";

/// How rows of a table are found by their key. Columns are indices of the table's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The key, in the table's order.
    pub key: Vec<usize>,
    /// Where its values come from.
    pub source: KeySource,
    /// How the records' keys are written.
    pub format: KeyFormat,
    /// Whether tombstones delete.
    pub deletes: bool,
    /// What becomes of columns that a record lacks.
    pub lacking: Lacking,
    /// The column that says which of two rows is later, where the database decides by one.
    pub version: Option<usize>,
    /// Whether that one is [`OWN_VERSION`].
    pub own_version: bool,
    /// The column by which the database knows deleted rows; the dialect fills it.
    pub deleted: Option<usize>,
}

/// How several rows of one key become one, in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// The column, of the block, that says which of two rows is later; without one it is the order.
    pub version: Option<usize>,
    /// Whether the last row stands for itself, or keeps what those before it say of columns that it lacks.
    pub whole: bool,
}

/// How records become rows of a table; compiled once, shared by all workers.
///
/// The columns of a row stand in this order: what the record's key says, what its value says, its coordinates, its
/// version.
#[derive(Debug)]
pub struct RowProgram {
    /// The table and which of its columns are filled.
    pub layout: Arc<Layout>,
    /// What fills the key's columns from the record's key, the first of all.
    key: Option<(Arc<Program>, KeyFormat)>,
    /// What fills columns from the record's value.
    value: Arc<Program>,
    /// Columns before those of the value.
    value_at: usize,
    /// Whether topic, partition and offset follow.
    coordinates: bool,
    /// Whether the version comes last.
    version: bool,
    /// Whether a tombstone deletes.
    deletes: bool,
    /// How rows of one key become one; none where rows are only added.
    pub folding: Option<Folding>,
}

impl RowProgram {
    /// Compiles the route against the table.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile(table: &Arc<TableSchema>, route: &Route, keyed: Option<&Keyed>) -> Result<Self, Vec<RefusedColumn>> {
        let Some(keyed) = keyed else {
            let value = Arc::new(Program::compile(table, route)?);
            let layout = Arc::clone(&value.layout);
            return Ok(Self {
                layout,
                key: None,
                value,
                value_at: 0,
                coordinates: false,
                version: false,
                deletes: false,
                folding: None,
            });
        };
        let by_value = matches!(keyed.source, KeySource::Value(_));
        let by_record = matches!(keyed.source, KeySource::Record(_));
        let own_version = keyed.version.filter(|_| keyed.own_version);
        let mut elsewhere: Vec<_> = keyed.deleted.into_iter().chain(own_version).collect();
        if !by_value {
            elsewhere.extend(&keyed.key);
        }
        let named_version = keyed.version.filter(|_| !keyed.own_version);
        let value = Part {
            key: if by_value { keyed.key.clone() } else { Vec::new() },
            elsewhere,
            required: named_version.into_iter().collect(),
            lacking: keyed.lacking,
            ..Part::default()
        };
        let value = Arc::new(Program::compile_part(table, route, &value)?);
        let key = if by_record || keyed.deletes {
            let part = Part {
                key: keyed.key.clone(),
                key_only: true,
                // What the value says is the row; a key that says more says which row all the same.
                ignore_unknown: by_value,
                lacking: Lacking::Refuse,
                ..Part::default()
            };
            Some((Arc::new(Program::compile_part(table, route, &part)?), keyed.format))
        } else {
            None
        };
        let coordinates = matches!(keyed.source, KeySource::Coordinates);
        let value_at = if by_record { keyed.key.len() } else { 0 };
        let mut targets = Vec::new();
        if by_record {
            targets.extend(&keyed.key);
        }
        targets.extend(&value.layout.targets);
        let coordinates_at = targets.len();
        if coordinates {
            targets.extend(&keyed.key);
        }
        targets.extend(own_version);
        let key_columns = if coordinates { coordinates_at..coordinates_at + 3 } else { 0..keyed.key.len() };
        let place = |column: usize| targets.iter().position(|target| *target == column);
        let version_at = keyed.version.and_then(place);
        let layout = Layout { key: key_columns.collect(), ..Layout::new(Arc::clone(table), targets) };
        Ok(Self {
            layout: Arc::new(layout),
            key,
            value,
            value_at,
            coordinates,
            version: own_version.is_some(),
            deletes: keyed.deletes,
            folding: Some(Folding { version: version_at, whole: keyed.lacking != Lacking::Keep }),
        })
    }

    /// For people: each field, the column that it fills with its type, and what to know of it.
    #[must_use]
    pub fn mapping(&self) -> Vec<[String; 3]> {
        let mut rows = Vec::new();
        let mut from = |what: &str, at: usize, count: usize, remark: &str| {
            for column in self.layout.columns().skip(at).take(count) {
                rows.push([what.to_owned(), format!("{} {}", column.name, column.type_text), remark.to_owned()]);
            }
        };
        from("record's key", 0, self.value_at, "part of the key");
        let values = self.value_at + self.value.layout.targets.len();
        if self.coordinates {
            from("record's place", values, 3, "part of the key");
        }
        if self.version {
            from(
                "record's offset",
                self.layout.targets.len() - 1,
                1,
                "the version: later records replace earlier ones",
            );
        }
        self.value.mapping().into_iter().chain(rows).collect()
    }
}

/// Runs a [`RowProgram`] over records. One per worker.
#[derive(Debug)]
pub struct RowDecoder {
    program: Arc<RowProgram>,
    key: Option<Decoder>,
    value: Decoder,
    /// A key that is no object, made one.
    wrapped: String,
}

impl RowDecoder {
    /// A decoder for this program.
    #[must_use]
    pub fn new(program: Arc<RowProgram>) -> Self {
        let key = program.key.as_ref().map(|(key, _)| Decoder::new(Arc::clone(key)));
        let value = Decoder::new(Arc::clone(&program.value));
        Self { program, key, value, wrapped: String::new() }
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &Arc<RowProgram> {
        &self.program
    }

    /// Appends the record as row `row` to the columns of the program's layout, which all have `row` rows, and answers
    /// what the row does, where it does more than being added. On an error they have `row` rows still.
    ///
    /// # Errors
    /// Says what of the record does not fit, and why.
    #[inline]
    pub fn decode(&mut self, record: &Record<'_>, columns: &mut [Column], row: usize) -> Result<Option<Op>, BadRecord> {
        match record.value {
            // Rows that are only added: one program for all columns.
            Some(value) if self.program.folding.is_none() => {
                self.value.decode(value, columns, row)?;
                Ok(None)
            }
            _ => self.decode_keyed(record, columns, row).map(Some).inspect_err(|_| {
                for column in columns.iter_mut() {
                    column.truncate(row);
                }
            }),
        }
    }

    fn decode_keyed(&mut self, record: &Record<'_>, columns: &mut [Column], row: usize) -> Result<Op, BadRecord> {
        let Self { program, value, .. } = self;
        let (program, value_at) = (Arc::clone(program), program.value_at);
        let behind_value = value_at + program.value.layout.targets.len();
        let op = match record.value {
            None if !program.deletes => return Err(tombstone(&program)),
            None => {
                let key = self.decode_key(record.key, columns, row)?;
                for column in &mut columns[key..behind_value] {
                    column.push_mark(Mark::Absent);
                }
                Op::Delete
            }
            Some(payload) => {
                value.decode(payload, &mut columns[value_at..behind_value], row)?;
                if value_at > 0 {
                    self.decode_key(record.key, columns, row)?;
                }
                Op::Upsert
            }
        };
        let mut rest = columns[behind_value..].iter_mut();
        if program.coordinates {
            for (column, at) in rest.by_ref().take(3).zip(0..) {
                match (at, &mut column.values) {
                    (0, Values::Text(text)) => text.push(record.topic),
                    (_, Values::Int32(values)) => values.push(record.partition),
                    (1, Values::Int64(values)) => values.push(record.partition.into()),
                    (_, Values::Int64(values)) => values.push(record.offset),
                    _ => unreachable!("checked when the key was resolved"),
                }
            }
        }
        if program.version
            && let Some(Values::UInt64(values)) = rest.next().map(|column| &mut column.values)
        {
            values.push(u64::from(record.era) << 48 | record.offset.unsigned_abs());
        }
        Ok(op)
    }

    /// Fills the key's columns, the first; answers how many they are.
    fn decode_key(&mut self, key: Option<&[u8]>, columns: &mut [Column], row: usize) -> Result<usize, BadRecord> {
        let (Some(decoder), Some((program, format))) = (&mut self.key, &self.program.key) else {
            unreachable!("what has no key program needs no key")
        };
        let columns = &mut columns[..program.layout.targets.len()];
        let bad = |reason: &str, hint: &str| BadRecord {
            field: None,
            column: None,
            reason: reason.to_owned(),
            hint: hint.to_owned(),
            cure: None,
        };
        let key = key.ok_or_else(|| bad("the record has no key", "mend the producer, or say another `primary_key`"))?;
        let is_object = *format == KeyFormat::Json && key.trim_ascii_start().first() == Some(&b'{');
        if !is_object && columns.len() > 1 {
            let reason = format!("the record's key is one value, and the table's key has {} columns", columns.len());
            return Err(bad(&reason, "mend the producer: the key must be a JSON object with a field per column"));
        }
        let key = if is_object {
            key
        } else {
            let text =
                std::str::from_utf8(key).map_err(|_| bad("the record's key is not UTF-8", "mend the producer"))?;
            let value = match format {
                // Otherwise more than one value could hide in the object that is made of it.
                KeyFormat::Json if serde_json::from_str::<IgnoredAny>(text).is_err() => {
                    let hint = "set `key: string` for the topic if its keys are plain text";
                    return Err(bad("the record's key is not JSON", hint));
                }
                KeyFormat::Json => Cow::Borrowed(text),
                KeyFormat::String => Cow::Owned(serde_json::Value::from(text).to_string()),
            };
            let field = serde_json::Value::from(program.first_field()).to_string();
            self.wrapped.clear();
            self.wrapped.extend(["{", &field, ":", &value, "}"]);
            self.wrapped.as_bytes()
        };
        decoder.decode(key, columns, row).map_err(|bad| BadRecord {
            reason: format!("the record's key: {}", bad.reason),
            cure: None,
            ..bad
        })?;
        Ok(columns.len())
    }
}

#[cold]
fn tombstone(program: &RowProgram) -> BadRecord {
    let reason = match program.folding {
        Some(_) => "the record has no value: a tombstone says delete, and the route does not say `deletes: true`",
        None => "the record has no value: a tombstone says delete, and `mode: insert` cannot",
    };
    BadRecord {
        field: None,
        column: None,
        reason: reason.to_owned(),
        hint: "set `mode: upsert` and `deletes: true`, or keep tombstones out of the topic (cleanup.policy=delete)"
            .to_owned(),
        cure: None,
    }
}
