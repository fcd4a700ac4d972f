//! What could bring deleted or replaced rows back, in a table that keeps one row of each key.
//!
//! A key that was deleted is a row that says so. Whatever drops that row before all older ones of its key are gone makes
//! the last of those the key's row again.

use super::engine_text::{expressions, uses};
use super::grammar::{quote, quote_table};
use super::types;
use super::upserts::{Facts, Known};
use crate::contract::TableName;

const FORGETS: &str = "its TTL drops the row that says that a key is deleted, which has no values but the key's, and \
                       the deleted row comes back";

/// The setting with which merges drop rows that say that a key is deleted.
const CLEANUP: &str = "enable_replacing_merge_with_cleanup_for_min_age_to_force_merge";
/// Its predecessor, before 23.12.
const OLD_CLEANUP: &str = "clean_deleted_rows";

/// One such thing, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hazard {
    pub(super) what: String,
    mend: Mend,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    Ttl(Option<String>),
    NoSetting(&'static str),
    NotComputed(String),
    NewTable(String),
}

impl Hazard {
    /// What mends a table that is there.
    pub(super) fn statement(&self, table: &TableName) -> String {
        let alter = match &self.mend {
            Mend::Ttl(Some(ttl)) => format!("MODIFY TTL {ttl}"),
            Mend::Ttl(None) => "REMOVE TTL".into(),
            Mend::NoSetting(setting) => format!("RESET SETTING {setting}"),
            Mend::NotComputed(column) => format!("MODIFY COLUMN {} REMOVE MATERIALIZED", quote(column)),
            Mend::NewTable(statement) => return statement.clone(),
        };
        format!("ALTER TABLE {} {alter}", quote_table(table))
    }

    /// What mends the options of one that is to be.
    pub(super) fn options(&self) -> String {
        match &self.mend {
            Mend::Ttl(Some(ttl)) => format!("set its ttl to {ttl}"),
            Mend::Ttl(None) => "leave its ttl out".into(),
            Mend::NoSetting(setting) => format!("leave {setting} out of its settings"),
            Mend::NotComputed(column) => format!("leave it to the records: {column} cannot be computed"),
            Mend::NewTable(_) => "make it not nullable".into(),
        }
    }
}

/// What could bring replaced or deleted rows back, or keeps rows from being told apart.
pub(super) fn hazards(facts: &Facts) -> Vec<Hazard> {
    let local = facts.local();
    let Ok(versions) = local.versions() else { return Vec::new() };
    let mut hazards = Vec::new();
    let known = |name: &String| local.columns.iter().find(|column| column.name == *name);
    for column in versions.key.iter().filter_map(known) {
        if types::parse(&column.type_text).is_ok_and(|column| column.value.nullable) {
            let what = format!("column {} of its key is nullable", column.name);
            hazards.push(Hazard { what, mend: Mend::NewTable(facts.statement()) });
        }
    }
    for Known { name, default_kind, .. } in versions.version.iter().chain(&versions.deleted).filter_map(known) {
        if default_kind == "MATERIALIZED" {
            let what = format!("column {name} of its engine is MATERIALIZED, so that rowfall cannot write it");
            hazards.push(Hazard { what, mend: Mend::NotComputed(name.clone()) });
        }
    }
    let Some(deleted) = &versions.deleted else { return hazards };
    let kept: Vec<_> = versions.key.iter().chain(&versions.version).cloned().collect();
    let (ttl, is_other) = guarded(local.engine.clause("TTL"), deleted, |expression| local.is_of(expression, &kept));
    if is_other {
        hazards.push(Hazard { what: FORGETS.into(), mend: Mend::Ttl(ttl) });
    }
    let settings = expressions(local.engine.clause("SETTINGS"));
    let is_set = |name: &str| {
        let set = settings.iter().filter_map(|setting| setting.split_once('='));
        let is_on = |value: &str| matches!(value.trim().trim_matches('\''), "1" | "true" | "Always");
        set.filter(|(set, _)| set.trim() == name).any(|(_, value)| is_on(value))
    };
    let within = local.is_of(local.engine.clause("PARTITION BY"), &versions.key);
    for (setting, is_harmless) in [(CLEANUP, within), (OLD_CLEANUP, false)] {
        if is_set(setting) && !is_harmless {
            let what = format!(
                "{setting} drops the row that says that a key is deleted before its older rows, which come back"
            );
            hazards.push(Hazard { what, mend: Mend::NoSetting(setting) });
        }
    }
    hazards
}

/// A TTL whose parts leave alone the rows that say that a key is deleted, `None` for no TTL at all; and whether that is
/// another one.
fn guarded(ttl: &str, deleted: &str, is_harmless: impl Fn(&str) -> bool) -> (Option<String>, bool) {
    if is_harmless(ttl) {
        return (None, false);
    }
    if ttl.contains(" GROUP BY ") {
        return (None, true);
    }
    let guard = format!("{} = 0", quote(deleted));
    let mut changed = false;
    let parts = expressions(ttl);
    let part = |part: &String| {
        let moves = ["TO DISK", "TO VOLUME", "RECOMPRESS"].iter().any(|action| part.contains(action));
        let (expression, condition) = part.split_once(" WHERE ").map_or((part.as_str(), None), |(e, c)| (e, Some(c)));
        let expression = expression.trim_end_matches(" DELETE");
        let is_guarded = condition.is_some_and(|condition| {
            let plain = condition.replace('`', "");
            plain == format!("{deleted} = 0") || plain.ends_with(&format!("AND ({deleted} = 0)"))
        });
        if moves || is_guarded || is_harmless(expression) {
            return Some(part.clone());
        }
        changed = true;
        match condition {
            // It is for just those rows.
            Some(condition) if uses(condition, deleted) => None,
            Some(condition) => Some(format!("{expression} DELETE WHERE ({condition}) AND ({guard})")),
            None => Some(format!("{expression} DELETE WHERE {guard}")),
        }
    };
    let parts: Vec<_> = parts.iter().filter_map(part).collect();
    (Some(parts.join(", ")).filter(|parts| !parts.is_empty()), changed)
}

#[cfg(test)]
mod tests {
    use super::super::upserts::tests::{COLUMNS, facts, table};
    use super::*;

    #[test]
    fn what_brings_rows_back_is_told() {
        let told = |engine: &str, columns: &[(&str, &str, &str)]| {
            let hazards = hazards(&facts(engine, columns)).into_iter();
            hazards.map(|hazard| format!("{}\n{}\n", hazard.what, hazard.statement(&table()))).collect::<String>()
        };
        let of = |clauses: &str| told(&format!("ReplacingMergeTree(v, d) {clauses}"), COLUMNS);
        for harmless in [
            "ORDER BY id",
            "ORDER BY id TTL at + toIntervalDay(1) WHERE d = 0, at RECOMPRESS CODEC(ZSTD(3))",
            "ORDER BY id TTL toDateTime(v) + toIntervalDay(1) SETTINGS index_granularity = 1",
            "PARTITION BY id % 7 ORDER BY id SETTINGS enable_replacing_merge_with_cleanup_for_min_age_to_force_merge = 1",
        ] {
            assert_eq!(of(harmless), "", "{harmless}");
        }
        insta::assert_snapshot!(of("ORDER BY id TTL at + toIntervalDay(1), at TO VOLUME 'cold'"), @"
        its TTL drops the row that says that a key is deleted, which has no values but the key's, and the deleted row comes back
        ALTER TABLE `shop`.`orders` MODIFY TTL at + toIntervalDay(1) DELETE WHERE `d` = 0, at TO VOLUME 'cold'
        ");
        insta::assert_snapshot!(of("ORDER BY id TTL at + toIntervalDay(1) WHERE d = 1"), @"
        its TTL drops the row that says that a key is deleted, which has no values but the key's, and the deleted row comes back
        ALTER TABLE `shop`.`orders` REMOVE TTL
        ");
        insta::assert_snapshot!(of("ORDER BY id TTL at GROUP BY id SET d = max(d)"), @"
        its TTL drops the row that says that a key is deleted, which has no values but the key's, and the deleted row comes back
        ALTER TABLE `shop`.`orders` REMOVE TTL
        ");
        insta::assert_snapshot!(of("PARTITION BY region ORDER BY id SETTINGS enable_replacing_merge_with_cleanup_for_min_age_to_force_merge = 1"), @"
        enable_replacing_merge_with_cleanup_for_min_age_to_force_merge drops the row that says that a key is deleted before its older rows, which come back
        ALTER TABLE `shop`.`orders` RESET SETTING enable_replacing_merge_with_cleanup_for_min_age_to_force_merge
        ");
        insta::assert_snapshot!(of("ORDER BY id SETTINGS clean_deleted_rows = 'Always', index_granularity = 8192"), @"
        clean_deleted_rows drops the row that says that a key is deleted before its older rows, which come back
        ALTER TABLE `shop`.`orders` RESET SETTING clean_deleted_rows
        ");
        let odd = [("id", "Nullable(UInt64)", ""), ("v", "UInt64", "MATERIALIZED now()"), ("d", "UInt8", "")];
        insta::assert_snapshot!(told("ReplacingMergeTree(v, d) ORDER BY id", &odd), @"
        column id of its key is nullable
        CREATE TABLE IF NOT EXISTS `shop`.`orders_by_key` (
            `id` UInt64,
            `v` UInt64 MATERIALIZED now(),
            `d` UInt8,
            `_version` UInt64,
            `_deleted` UInt8
        )
        ENGINE = ReplacingMergeTree(_version, _deleted)
        ORDER BY `id`
        SETTINGS non_replicated_deduplication_window = 25000
        column v of its engine is MATERIALIZED, so that rowfall cannot write it
        ALTER TABLE `shop`.`orders` MODIFY COLUMN `v` REMOVE MATERIALIZED
        ");
    }
}
