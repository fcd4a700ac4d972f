//! `mode` and what belongs to it.

use super::Checker;
use crate::config::raw::{KeyFormat as RawKeyFormat, Mode as RawMode, RawAbsent, RawTopic};
use crate::config::scalars::Ordered;
use crate::config::settings::{Absent, Format, HeaderColumn, KeySource, Mode};
use crate::config::tree::dotted;
use crate::schemas::Schemas;

impl Checker<'_> {
    /// What records do to the table, and whether the keys that go with it fit together.
    pub(super) fn mode(&mut self, topic: &str, raw: &RawTopic, schemas: Option<&Schemas>) -> Mode {
        let &RawTopic { ref primary_key, columns: Ordered(ref settings), mode, key, deletes, absent, .. } = raw;
        let primary_key = &primary_key.0;
        let path = ["topics", topic, "primary_key"];
        if matches!(mode, RawMode::Insert) {
            let changed = [
                ("primary_key", !primary_key.is_empty()),
                ("deletes", deletes),
                ("key", !matches!(key, RawKeyFormat::Json)),
                ("key_schema", raw.key_schema.is_some()),
                ("absent", !matches!(absent, RawAbsent::Keep)),
            ];
            for (name, _) in changed.into_iter().filter(|(_, changed)| *changed) {
                let path = ["topics", topic, name];
                let help = "rows that are only added have no use for it: set `mode: upsert`, or take it away";
                self.refuse(&path, format!("`{}` needs `mode: upsert`", dotted(&path)), help);
            }
            return Mode::Insert;
        }
        let headers: Vec<_> = primary_key.iter().filter_map(|text| text.strip_prefix("header:")).collect();
        let of_record: Vec<_> = primary_key.iter().filter_map(|text| text.strip_prefix("record-key")).collect();
        let source = match primary_key.as_slice() {
            [word] if word == "coordinates" => KeySource::Coordinates,
            [word] if word == "record-key" => KeySource::Record(Vec::new()),
            columns if !columns.is_empty() && of_record.len() == columns.len() => {
                let names = of_record.iter().filter_map(|rest| rest.strip_prefix(':')).map(str::to_owned);
                KeySource::Record(names.collect())
            }
            columns if !headers.is_empty() && headers.len() == columns.len() => {
                // The column that says `from: x`, else the one of the header's name.
                let column = |header: &str| {
                    let from = settings.iter().find(|(_, column)| column.from.as_deref() == Some(header));
                    from.map_or(header, |(name, _)| name).to_owned()
                };
                let fills = |header: &&str| HeaderColumn { header: (*header).to_owned(), column: column(header) };
                KeySource::Headers(headers.iter().map(fills).collect())
            }
            columns => KeySource::Value(columns.to_vec()),
        };
        if source == KeySource::Coordinates {
            if deletes {
                let path = ["topics", topic, "deletes"];
                let help = "each record has coordinates of its own, so that none deletes another's row";
                self.refuse(
                    &path,
                    format!("`{}` and `primary_key: coordinates` exclude each other", dotted(&path)),
                    help,
                );
            }
            return Mode::Upsert { key: source, format: Format::Json, deletes: false, absent: absent.into() };
        };
        let names = source.columns();
        let twice = (1..names.len()).find(|at| names[..*at].contains(&names[*at]));
        let whole = match &source {
            KeySource::Value(_) => headers.is_empty(),
            KeySource::Record(names) => names.is_empty() || names.len() == primary_key.len(),
            KeySource::Headers(_) | KeySource::Coordinates => true,
        };
        let empty = names.iter().any(|name| name.trim().is_empty()) || headers.iter().any(|name| name.contains('\0'));
        if empty || twice.is_some() || !whole {
            let help = "write columns, each once: `[customer, id]`; or `record-key`, or `record-key:id`; or `header:id`; or \
                 `coordinates`";
            self.refuse(&path, format!("`{}` names no key", dotted(&path)), help);
        }
        let format = self.key_format(topic, raw, schemas);
        Mode::Upsert { key: source, format, deletes, absent: absent.into() }
    }
}

impl From<RawAbsent> for Absent {
    fn from(raw: RawAbsent) -> Self {
        match raw {
            RawAbsent::Keep => Self::Keep,
            RawAbsent::Default => Self::Default,
        }
    }
}
