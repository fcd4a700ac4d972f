//! How rows of a key become one: whether a table's engine does that, by which columns, and what could undo it.
//!
//! ClickHouse only adds rows. A ReplacingMergeTree keeps of the rows that are equal in its ORDER BY the one of the highest
//! version, when it merges them or is read with FINAL, and none where that one says that it is deleted; a
//! CoalescingMergeTree puts a row together from the last value of each column that is not null.

use super::engine_text::{EngineText, calls, column, expressions, uses};
use super::engines;
use super::{create, type_names, types};
use crate::contract::{ColumnSpec, ColumnStorage, Refusal, Storage, TableName, TableSpec, Upserts};

/// The engine of tables that rowfall makes for upserts, and the columns that it names.
pub(super) const ENGINE: &str = "ReplacingMergeTree(_version, _deleted)";

/// What is known of a table that is there, or of one that is to be.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) name: TableName,
    pub(super) engine: EngineText,
    /// The expressions that it is sorted by; what they are where they are columns.
    pub(super) sorting_key: Vec<String>,
    pub(super) primary_key: Vec<String>,
    pub(super) columns: Vec<Known>,
    /// Of a Distributed table: the one behind it, where it can be looked at.
    pub(super) behind: Option<Box<Facts>>,
}

/// A column of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) type_text: String,
    /// DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL or nothing.
    pub(super) default_kind: String,
    pub(super) default_expression: String,
    /// `CODEC(…)` or nothing.
    pub(super) codec: String,
    pub(super) comment: String,
}

impl Known {
    /// Whether a null in it means that there is no value. A Variant's is a value like any other.
    fn is_nullable(&self) -> bool {
        types::parse(&self.type_text).is_ok_and(|column| column.has_null_map())
    }

    fn is_stored(&self) -> bool {
        !matches!(self.default_kind.as_str(), "ALIAS" | "EPHEMERAL")
    }
}

/// How a table keeps one row of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) key: Vec<String>,
    pub(super) version: Option<String>,
    pub(super) deleted: Option<String>,
    pub(super) partial: bool,
}

impl Facts {
    /// Of a table that is to be created.
    pub(super) fn of_spec(engine: EngineText, table: &TableSpec) -> Self {
        let TableSpec { columns, storage, .. } = table;
        let list = |list: &[String]| list.iter().flat_map(|expression| expressions(expression)).collect();
        let known = |column: &ColumnSpec| Known {
            name: column.name.clone(),
            type_text: match column.nullable {
                Some(true) => type_names::nullable(&column.type_text).unwrap_or_else(|_| column.type_text.clone()),
                _ => column.type_text.clone(),
            },
            default_kind: if column.default.is_some() { "DEFAULT".into() } else { String::new() },
            default_expression: column.default.clone().unwrap_or_default(),
            ..Known::default()
        };
        let settings = storage.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>();
        Self {
            name: table.name.clone(),
            engine: engine
                .with("PARTITION BY", storage.partition_by.as_deref().unwrap_or_default())
                .with("TTL", storage.ttl.as_deref().unwrap_or_default())
                .with("SETTINGS", settings.join(", ")),
            sorting_key: list(&storage.order_by),
            primary_key: list(&storage.primary_key),
            columns: columns.iter().map(known).collect(),
            behind: None,
        }
    }

    /// The table whose engine decides: the one behind a Distributed one.
    pub(super) fn local(&self) -> &Self {
        self.behind.as_deref().unwrap_or(self)
    }

    /// As the contract has it.
    pub(super) fn upserts(&self) -> Upserts {
        match self.versions() {
            Ok(Versions { key, version, deleted, partial }) => Upserts::Versions { key, version, deleted, partial },
            Err(why) => Upserts::Never { why, hint: self.statement() },
        }
    }

    /// How it keeps one row of a key, or why it does not.
    pub(super) fn versions(&self) -> Result<Versions, String> {
        let name = &self.engine.name;
        let never = |why: &str| Err(format!("{name} {why}"));
        match self.engine.family() {
            "ReplacingMergeTree" => {
                let mut arguments = self.engine.own_arguments().iter().map(|argument| column(argument));
                let (version, deleted) = (arguments.next().flatten(), arguments.next().flatten());
                Ok(Versions { key: self.sorting_columns()?, version, deleted, partial: false })
            }
            "CoalescingMergeTree" => self.coalesced(),
            "EmbeddedRocksDB" | "KeeperMap" | "Redis" => {
                let key = self.primary_key.iter().filter_map(|expression| column(expression)).collect();
                Ok(Versions { key, version: None, deleted: None, partial: false })
            }
            "Distributed" => self.distributed(),
            "MergeTree" | "Memory" | "Log" | "TinyLog" | "StripeLog" => never("keeps every row that is written"),
            "Null" => never("keeps no row"),
            "Join" | "Set" => never("keeps the first row of a key, not the last"),
            family if engines::is_merge_tree(family) => {
                never("merges the rows of a key in a way of its own, which is not to keep the last")
            }
            _ => never("is not known to keep one row for each key"),
        }
    }

    /// The columns that it is sorted by, where nothing else tells rows apart.
    fn sorting_columns(&self) -> Result<Vec<String>, String> {
        let name = &self.engine.name;
        let key: Vec<_> = self.sorting_key.iter().filter_map(|expression| self.column(expression)).collect();
        // What is computed from the key tells no more than the key.
        let further = self.sorting_key.iter().find(|expression| !self.is_of(expression, &key));
        match further {
            Some(expression) => Err(format!("{name} is sorted by {expression}, which is not a column")),
            None if key.is_empty() => Err(format!("{name} is sorted by nothing, so that all its rows are one key's")),
            None => Ok(key),
        }
    }

    fn column(&self, expression: &str) -> Option<String> {
        column(expression).filter(|name| self.columns.iter().any(|column| column.name == *name))
    }

    /// Whether an expression is computed from these columns alone.
    pub(super) fn is_of(&self, expression: &str, of: &[String]) -> bool {
        self.columns.iter().all(|column| of.contains(&column.name) || !uses(expression, &column.name))
    }

    fn coalesced(&self) -> Result<Versions, String> {
        let name = &self.engine.name;
        let key = self.sorting_columns()?;
        let listed: Vec<_> = self.engine.own_arguments().iter().flat_map(|argument| expressions(argument)).collect();
        let listed: Vec<_> = listed.iter().filter_map(|argument| column(argument)).collect();
        let partition = self.engine.clause("PARTITION BY");
        for column in self.columns.iter().filter(|column| !key.contains(&column.name)) {
            if column.default_kind == "EPHEMERAL" {
                return Err(format!("{name} cannot tell which columns are to be computed from {}", column.name));
            }
            let is_kept = listed.is_empty() || listed.contains(&column.name) || uses(partition, &column.name);
            if column.is_stored() && !is_kept {
                return Err(format!("{name} keeps the first value of {}, not the last", column.name));
            }
        }
        Ok(Versions { key, version: None, deleted: None, partial: true })
    }

    fn distributed(&self) -> Result<Versions, String> {
        let Some(behind) = &self.behind else {
            return Err("Distributed passes rows to a table that cannot be looked at on this server".into());
        };
        let versions = behind.versions().map_err(|why| format!("Distributed passes rows to a table of which {why}"))?;
        let Some(sharding) = self.engine.own_arguments().get(3) else { return Ok(versions) };
        // Functions whose answers differ from row to row without a column.
        let by_chance = |name: String| ["rand", "now", "generate"].iter().any(|start| name.starts_with(start));
        if behind.is_of(sharding, &versions.key) && !calls(sharding).any(by_chance) {
            return Ok(versions);
        }
        Err(format!("Distributed may send rows of one key to several shards: it shards by {sharding}, not by the key"))
    }

    /// Whether it matters which of two inserts came first.
    pub(super) fn heeds_order(&self) -> bool {
        let local = self.local();
        if !engines::heeds_order(&local.engine.name) {
            return false;
        }
        // Times tie, and of equal versions the one inserted last is kept; so it is where a DEFAULT may stand for all.
        let decides = |column: &&Known| {
            let is_number = column.type_text.starts_with("UInt") || column.type_text.starts_with("Int");
            is_number && column.default_kind.is_empty()
        };
        let version = local.versions().ok().and_then(|versions| versions.version);
        let version = version.and_then(|version| local.columns.iter().find(|column| column.name == version));
        version.is_none_or(|column| !decides(&column))
    }

    /// What to know of its upserts beyond what the engine promises anyway.
    pub(super) fn promise(&self) -> Option<String> {
        let local = self.local();
        let versions = local.versions().ok()?;
        let partition = local.engine.clause("PARTITION BY");
        if local.engine.family().ends_with("MergeTree") && !local.is_of(partition, &versions.key) {
            return Some(format!(
                "rows of one key are in several partitions where {partition} differs: merges do not bring them \
                 together, reading with FINAL does"
            ));
        }
        let with_default = |column: &&Known| column.default_kind == "DEFAULT" && column.is_nullable();
        let column = local.columns.iter().find(with_default).filter(|_| versions.partial)?;
        Some(format!("an upsert that lacks {} leaves it alone, in a new row too: its DEFAULT is not used", column.name))
    }

    /// A table of the same columns that would keep one row of each key.
    pub(super) fn statement(&self) -> String {
        let local = self.local();
        let key = local.sorting_columns().unwrap_or_default();
        let mut storage = Storage { engine: Some(ENGINE.into()), ..Storage::default() };
        if key.is_empty() {
            storage.order_by = vec!["(/* the key's columns */)".into()];
        }
        let column = |known: &Known| {
            let Known { name, type_text, default_kind, default_expression, codec, comment } = known;
            let type_text = match key.contains(name) {
                true => type_names::not_nullable(type_text),
                false => type_text.clone(),
            };
            let mut column = ColumnSpec::new(name.as_str(), type_text, false);
            match default_kind.as_str() {
                "" => {}
                "DEFAULT" => column.default = Some(default_expression.clone()),
                kind => column.type_text = format!("{} {kind} {default_expression}", column.type_text),
            }
            let codec = codec.strip_prefix("CODEC(").and_then(|codec| codec.strip_suffix(')')).map(Into::into);
            column.storage =
                ColumnStorage { codec, comment: Some(comment.clone()).filter(|c| !c.is_empty()), ttl: None };
            column
        };
        let name = TableName { schema: local.name.schema.clone(), name: format!("{}_by_key", local.name.name) };
        let mut columns: Vec<_> = local.columns.iter().map(column).collect();
        add_columns(&EngineText::parse(ENGINE), &mut columns);
        match create::statement(&TableSpec { name, columns, key: key.clone(), storage }, &mut Vec::new()) {
            Ok((_, sql)) => sql,
            Err(Refusal(why)) => why,
        }
    }
}

/// The columns that a replacing engine names and a new table would lack, at the end.
pub(super) fn add_columns(engine: &EngineText, columns: &mut Vec<ColumnSpec>) {
    if engine.family() != "ReplacingMergeTree" {
        return;
    }
    for (argument, type_text) in engine.own_arguments().iter().zip(["UInt64", "UInt8"]) {
        let Some(name) = column(argument) else { continue };
        if !columns.iter().any(|column| column.name == name) {
            columns.push(ColumnSpec::new(name, type_text, false));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
