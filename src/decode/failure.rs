//! Why a record is bad, in words.

use super::cell::Misfit;
use super::program::{COMPUTED, Program};
use super::{BadRecord, Cure};

/// What a record failed at.
pub(super) enum Failure {
    Syntax(String),
    /// The bytes are not what their schema says.
    Wire(&'static str),
    /// The route says that there is an envelope, and there is none.
    NoEnvelope,
    /// The source was emptied.
    Truncate,
    /// The source does not say the value, which had not changed.
    Unavailable(usize),
    NotAnObject(&'static str),
    /// A field without a column.
    Unknown(String),
    /// A field of which only parts have columns, and it is no object.
    NotOpened(usize),
    /// Two objects of which only one can count.
    Twice(usize),
    Duplicate(usize),
    Absent(usize),
    Misfit(usize, Misfit),
}

impl Failure {
    #[cold]
    pub(super) fn describe(self, program: &Program) -> BadRecord {
        let of_column = |column: usize, reason: String, hint: String| {
            let rule = &program.columns[column];
            let table_column = &rule.table_column;
            BadRecord {
                field: Some(rule.field.clone()),
                column: Some((table_column.name.clone(), table_column.type_text.clone())),
                reason,
                hint,
                cure: None,
            }
        };
        let of_record = |field: Option<String>, reason: String, hint: String| BadRecord {
            field: field.map(Into::into),
            column: None,
            reason,
            hint,
            cure: None,
        };
        match self {
            Self::Syntax(reason) => {
                of_record(None, reason, "see whether the topic's values are JSON: `value:` names the format".to_owned())
            }
            Self::Wire(why) => of_record(
                None,
                format!("the bytes are not what their schema says: {why}"),
                "mend the producer, or see whether the registry is the one that it uses".to_owned(),
            ),
            Self::NoEnvelope => of_record(
                None,
                "the value is no change event of Debezium's: it has no row under `after` and no `op` that says so"
                    .to_owned(),
                "take `envelope: debezium` out where a transform has unwrapped the rows".to_owned(),
            ),
            Self::Truncate => of_record(
                None,
                "the source table was truncated".to_owned(),
                "empty this table yourself, and set `skipped.operations=t` in the connector".to_owned(),
            ),
            Self::Unavailable(column) => of_column(
                column,
                "the source does not say the value, which had not changed, and the row is written as a whole"
                    .to_owned(),
                "set REPLICA IDENTITY FULL on the source table, or `absent: keep` where the database can".to_owned(),
            ),
            Self::NotAnObject(found) => of_record(
                None,
                format!("the value is {found}, not an object"),
                "each record must be an object with a field per column".to_owned(),
            ),
            Self::Unknown(field) if program.computes(&field) => {
                let hint = format!("leave the field out with `columns.{field}.drop: true`, or with `unknown_fields`");
                of_record(Some(field), format!("the column of this name cannot be filled: {COMPUTED}"), hint)
            }
            Self::Unknown(field) => BadRecord {
                cure: Some(Cure::Columns),
                ..of_record(
                    Some(field),
                    "the table has no column for it".to_owned(),
                    "add the column, set `evolve: add` to have it added, or `unknown_fields: ignore`".to_owned(),
                )
            },
            Self::NotOpened(object) => of_record(
                Some(program.objects[object].name.to_string()),
                "only fields inside it have columns, and here it is no object".to_owned(),
                "add a column for it, or set `unknown_fields: ignore`".to_owned(),
            ),
            Self::Twice(object) => of_record(
                Some(program.objects[object].name.to_string()),
                "the record has the field twice".to_owned(),
                "mend the producer: which of the two counts cannot be told".to_owned(),
            ),
            Self::Duplicate(column) => of_column(
                column,
                "the record has the field twice".to_owned(),
                "mend the producer: which of the two counts cannot be told".to_owned(),
            ),
            Self::Absent(column) => {
                let name = &program.columns[column].table_column.name;
                if program.layout.key.contains(&column) {
                    let reason = "the record lacks the field, which is part of the key".to_owned();
                    return of_column(column, reason, "mend the producer, or say another `primary_key`".to_owned());
                }
                if program.whole_rows {
                    let reason = "the record lacks the field, and the database replaces the row as a whole".to_owned();
                    let hint = "set `absent: default` for the topic, or make the table a CoalescingMergeTree";
                    return of_column(column, reason, hint.to_owned());
                }
                of_column(
                    column,
                    "the record lacks the field, and the column is neither nullable nor has it a DEFAULT".to_owned(),
                    format!("alter the column, set `null: default` for the topic, or `columns.{name}.drop: true`"),
                )
            }
            Self::Misfit(column, misfit) => {
                let rule = &program.columns[column];
                let takes = match rule.value.length {
                    Some(length) => format!("{} of up to {length} characters", rule.value.logical),
                    None => rule.value.logical.to_string(),
                };
                let hint = match misfit.is_number_for_time() && rule.value.unit.is_none() {
                    true => format!(
                        "say what such numbers count, `columns.{}.unit: s` (ms, us, ns; days for dates), alter the \
                         column, or mend the producer",
                        rule.table_column.name
                    ),
                    false => "alter the column, or mend the producer".to_owned(),
                };
                let key = program.layout.key.contains(&column);
                let cure = misfit.cure().filter(|_| !key);
                BadRecord { cure, ..of_column(column, misfit.describe(&takes), hint) }
            }
        }
    }
}

impl Misfit {
    /// What is wrong with a value of something that takes this.
    fn describe(&self, takes: &str) -> String {
        match self {
            Self::Kind(found) => format!("takes {takes}, the record has {found}"),
            Self::Range => format!("takes {takes}, the value is out of its range"),
            Self::Precision => format!("takes {takes}, the value has more digits behind the point"),
            Self::Ticks => format!("takes {takes}, the number is no count of its ticks in its range"),
            Self::TimeNumber => format!("takes {takes}, the record has a number"),
            Self::Unheld(what) => format!("takes {takes}, the value has {what}"),
            Self::Form(form) => format!("takes {takes}, the text is not {form}"),
            Self::Null => "is not nullable, the record has null".to_owned(),
            Self::Unknown => format!("takes {takes}, which does not have the record's value"),
            Self::Part(what) => format!("takes {takes}, the value {what}"),
            Self::Length(_) => format!("takes {takes}, the text is longer"),
            Self::NeedsText => format!("takes {takes}, the record has another"),
            Self::Within(place, takes, misfit) => format!("{place} {}", misfit.describe(takes)),
        }
    }

    /// What change of the column may let the value in.
    fn cure(&self) -> Option<Cure> {
        match self {
            Self::Range | Self::Precision | Self::Ticks => Some(Cure::Width),
            Self::Kind(_) | Self::Null => Some(Cure::Type),
            Self::Length(characters) => u32::try_from(*characters).ok().map(Cure::Length),
            Self::Within(_, _, misfit) => misfit.cure(),
            _ => None,
        }
    }

    fn is_number_for_time(&self) -> bool {
        match self {
            Self::Within(_, _, misfit) => misfit.is_number_for_time(),
            misfit => matches!(misfit, Self::Ticks | Self::TimeNumber),
        }
    }
}
