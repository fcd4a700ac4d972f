//! Records with their keys and places into rows: several programs, each for a part of a row's columns.

use std::sync::Arc;

use rowfall_dialects::contract::{Column, Layout, Mark, Op, TableSchema, Values};

use super::key::{KeyDecoder, KeyProgram, bad};
use super::{BadRecord, Change, Decoder, Lacking, Mapped, Part, Program, Record, RefusedColumn};
use crate::config::{Format, HeaderColumn, KeySource, Route};
use crate::schemas::RecordPart;

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
    pub format: Format,
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
    /// What fills the key's columns from the record's key or headers, the first of all.
    key: Option<KeyProgram>,
    /// What fills columns from the record's value.
    value: Arc<Program>,
    /// How the value is written.
    format: Format,
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
                format: route.value.clone(),
                value_at: 0,
                coordinates: false,
                version: false,
                deletes: false,
                folding: None,
            });
        };
        let by_value = matches!(keyed.source, KeySource::Value(_));
        // By its key or its headers: not by its value.
        let by_record = matches!(keyed.source, KeySource::Record(_) | KeySource::Headers(_));
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
            let program = Arc::new(Program::compile_part(table, route, &part)?);
            let headers = match &keyed.source {
                KeySource::Headers(headers) => headers.iter().map(HeaderColumn::c_name).collect(),
                _ => Vec::new(),
            };
            Some(KeyProgram { program, format: keyed.format.clone(), headers })
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
            format: route.value.clone(),
            value_at,
            coordinates,
            version: own_version.is_some(),
            deletes: keyed.deletes,
            folding: Some(Folding { version: version_at, whole: keyed.lacking != Lacking::Keep }),
        })
    }

    /// For people: each field, the column that it fills, and what to know of it.
    #[must_use]
    pub fn mapping(&self) -> Vec<Mapped> {
        let mut rows = self.value.mapping();
        rows.iter_mut().for_each(|row| row.column = row.column.map(|column| self.value_at + column));
        let mut from = |what: &str, at: usize, count: usize, remark| {
            rows.extend((at..at + count).map(|at| Mapped { field: what.to_owned(), column: Some(at), remark }));
        };
        let by_headers = self.key.as_ref().is_some_and(|key| !key.headers.is_empty());
        from(if by_headers { "record's header" } else { "record's key" }, 0, self.value_at, "part of the key");
        if self.coordinates {
            from("record's place", self.behind_value(), 3, "part of the key");
        }
        if self.version {
            let last = self.layout.targets.len() - 1;
            from("record's offset", last, 1, "the version: later records replace earlier ones");
        }
        rows
    }

    /// What fills this one of the layout's columns alone from a record's value, and reads over whatever else it has;
    /// none where the value does not fill it.
    #[must_use]
    pub fn alone(&self, column: usize) -> Option<Decoder> {
        let filled = self.value_at..self.behind_value();
        let alone =
            || Decoder::new(Arc::new(self.value.alone(column - self.value_at)), &self.format, RecordPart::Value);
        filled.contains(&column).then(alone)
    }

    /// The first column behind those of the value.
    fn behind_value(&self) -> usize {
        self.value_at + self.value.layout.targets.len()
    }
}

/// Runs a [`RowProgram`] over records. One per worker.
#[derive(Debug)]
pub struct RowDecoder {
    program: Arc<RowProgram>,
    key: Option<KeyDecoder>,
    value: Decoder,
}

impl RowDecoder {
    /// A decoder for this program.
    #[must_use]
    pub fn new(program: Arc<RowProgram>) -> Self {
        let key = program.key.as_ref().map(KeyDecoder::new);
        let value = Decoder::new(Arc::clone(&program.value), &program.format, RecordPart::Value);
        Self { program, key, value }
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &Arc<RowProgram> {
        &self.program
    }

    /// Whether all that the record is written with is known; asks for it where it is not. Who decodes it all the same
    /// waits.
    #[inline]
    pub fn is_ready(&mut self, record: &Record<'_>) -> bool {
        let value = record.value.is_none_or(|value| self.value.is_ready(value, record.headers));
        // An envelope may say that the row is gone as well.
        let deletes = record.value.is_none() || self.program.value.envelope;
        let key = self.key.as_mut().filter(|_| deletes || self.program.value_at > 0);
        value && key.is_none_or(|key| key.is_ready(record))
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
                match self.value.decode(value, record.headers, columns, row)? {
                    Change::Row => Ok(None),
                    Change::Gone => Err(tombstone(&self.program)),
                }
            }
            _ => self.decode_keyed(record, columns, row).map(Some).inspect_err(|_| {
                for column in columns.iter_mut() {
                    column.truncate(row);
                }
            }),
        }
    }

    fn decode_keyed(&mut self, record: &Record<'_>, columns: &mut [Column], row: usize) -> Result<Op, BadRecord> {
        let Self { program, key, value } = self;
        let value_at = program.value_at;
        let behind_value = program.behind_value();
        let payload = match record.value {
            Some(payload) => value.decode(payload, record.headers, &mut columns[value_at..behind_value], row)?,
            None => Change::Gone,
        };
        let op = match payload {
            Change::Gone if !program.deletes => return Err(tombstone(program)),
            Change::Gone => {
                let key = key.as_mut().expect("compiled where tombstones delete");
                let behind_key = key.decode(record, columns, row)?;
                for column in &mut columns[behind_key..behind_value] {
                    column.push_mark(Mark::Absent);
                }
                Op::Delete
            }
            Change::Row => {
                if let Some(key) = key.as_mut().filter(|_| value_at > 0) {
                    key.decode(record, columns, row)?;
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
}

#[cold]
fn tombstone(program: &RowProgram) -> BadRecord {
    let reason = match program.folding {
        Some(_) => "the record has no value: a tombstone says delete, and the route does not say `deletes: true`",
        None => "the record has no value: a tombstone says delete, and `mode: insert` cannot",
    };
    bad(reason, "set `mode: upsert` and `deletes: true`, or keep tombstones out of the topic (cleanup.policy=delete)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Absent, Mode};
    use crate::decode::Headers;
    use crate::reconcile;
    use crate::testing::column;
    use rowfall_dialects::contract::{TableName, Upserts};

    /// A decoder for a table of these columns (`name type`), of which `key` is the key.
    fn decoder(columns: &[&str], key: &[&str], source: KeySource, format: Format) -> RowDecoder {
        let table = TableSchema::new(TableName::parse("t"), "table", columns.iter().map(|text| column(text)).collect());
        let upserts = Upserts::Keys(vec![key.iter().map(|name| (*name).to_owned()).collect()]);
        let deletes = source != KeySource::Coordinates;
        let mode = Mode::Upsert { key: source, format, deletes, absent: Absent::Keep };
        let route = Route { mode, ..Route::new("t", TableName::parse("t")) };
        RowDecoder::new(reconcile::compile(&route, &Arc::new(TableSchema { upserts, ..table })).unwrap())
    }

    /// The row as its columns hold it, or why there is none.
    fn row(decoder: &mut RowDecoder, key: Option<&str>, value: Option<&str>) -> String {
        row_with(decoder, key, value, &())
    }

    fn row_with(decoder: &mut RowDecoder, key: Option<&str>, value: Option<&str>, headers: &dyn Headers) -> String {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        let record = Record { key, value, headers, topic: "orders", partition: 3, offset: 7, era: 2 };
        let mut columns = decoder.program().layout.empty_columns();
        match decoder.decode(&record, &mut columns, 0) {
            Ok(op) => {
                let text = |column: &Column| match (&column.values, column.marks.get(0)) {
                    (Values::Text(text), Mark::Value) => String::from_utf8(text.row(0).to_vec()).unwrap(),
                    (Values::Int64(values), Mark::Value) => values[0].to_string(),
                    (Values::Int32(values), Mark::Value) => values[0].to_string(),
                    (_, mark) => format!("{mark:?}"),
                };
                format!("{:?} {}", op.unwrap(), columns.iter().map(text).collect::<Vec<_>>().join(" | "))
            }
            Err(bad) => {
                assert!(columns.iter().all(Column::is_empty), "no trace is left");
                bad.to_string()
            }
        }
    }

    #[test]
    fn a_key_is_an_object_or_one_value() {
        let columns = ["note string", "id int64"];
        let mut json = decoder(&columns, &["id"], KeySource::Record(Vec::new()), Format::Json);
        let note = Some(r#"{"note":"a","id":9}"#);
        assert_eq!(row(&mut json, Some("42"), note), "Upsert 42 | a");
        assert_eq!(row(&mut json, Some(r#" {"id":42}"#), note), "Upsert 42 | a");
        assert_eq!(row(&mut json, Some("42"), None), "Delete 42 | Absent");
        insta::assert_snapshot!(row(&mut json, Some(r#"42,"id":43"#), note), @"the record's key is not JSON");
        insta::assert_snapshot!(row(&mut json, None, note), @"the record has no key");
        let mut text = decoder(&["id string", "note string"], &["id"], KeySource::Record(Vec::new()), Format::String);
        assert_eq!(row(&mut text, Some("it's \"so\" {"), note), "Upsert it's \"so\" { | a");
        let two = ["id int64", "region string", "note string"];
        let mut two = decoder(&two, &["region", "id"], KeySource::Value(Vec::new()), Format::Json);
        assert_eq!(row(&mut two, None, Some(r#"{"id":1,"region":"eu","note":"a"}"#)), "Upsert eu | 1 | a");
        assert_eq!(row(&mut two, Some(r#"{"id":1,"region":"eu","more":1}"#), None), "Delete eu | 1 | Absent");
        insta::assert_snapshot!(row(&mut two, Some("1"), None), @"the record's key is one value, and the table's key has 2 columns");
    }

    #[test]
    fn headers_are_a_key_as_texts() {
        let fills = |column: &str| HeaderColumn { header: column.to_owned(), column: column.to_owned() };
        let source = KeySource::Headers(vec![fills("id"), fills("region")]);
        let columns = ["note string", "id int64", "region string"];
        let mut decoder = decoder(&columns, &["region", "id"], source, Format::Json);
        let headers = |region: Option<&str>, id: &str| {
            let value = |text: &str| Some(text.as_bytes().to_vec());
            vec![("region".to_owned(), region.and_then(value)), ("id".to_owned(), value(id))]
        };
        let eu = || headers(Some("eu \"☃"), "42");
        let note = Some(r#"{"note":"a","id":9}"#);
        assert_eq!(row_with(&mut decoder, Some("7"), note, &eu()), "Upsert eu \"☃ | 42 | a");
        assert_eq!(row_with(&mut decoder, None, None, &eu()), "Delete eu \"☃ | 42 | Absent");
        let refused = [headers(None, "42"), headers(Some("eu"), "4x"), Vec::new()];
        let refused = refused.map(|headers| row_with(&mut decoder, None, note, &headers)).join("\n");
        insta::assert_snapshot!(refused, @"
        the record's header `region` has no value
        column `id` int64: the record's headers: takes int64, the text is not a number
        the record has no header `id`
        ");
    }

    #[test]
    fn coordinates_are_the_records_place() {
        let columns = ["_topic string", "_partition int32", "_offset int64", "note string"];
        let key = ["_topic", "_partition", "_offset"];
        let mut decoder = decoder(&columns, &key, KeySource::Coordinates, Format::Json);
        assert_eq!(row(&mut decoder, None, Some(r#"{"note":"a"}"#)), "Upsert a | orders | 3 | 7");
    }
}
