//! `plan` and `check`: what a run would do, without touching anything.

use std::fmt::Write as _;
use std::sync::Arc;

use rowfall_dialects::contract::{ColumnDefault, Connection, Ddl, Intent, TableSchema};

use crate::config::{Evolve, Rule, Settings};
use crate::evolve;
use crate::pipeline::{self, Found, Unready};
use crate::problem::Problem;
use crate::reconcile::{self, Table};

/// What was found.
#[derive(Debug)]
pub struct Preview {
    /// For people.
    pub text: String,
    /// Whether something has to be done before rows can move (`check`), or would be done first (`plan`).
    pub to_do: bool,
}

/// Every table's statements and the mapping of each field.
///
/// # Errors
/// For the first route that cannot work.
pub async fn plan(settings: &Settings, connection: &Connection) -> Result<Preview, Problem> {
    let mut preview = Preview { text: String::new(), to_do: false };
    let found = pipeline::look(settings, connection).await?;
    for key in unmatched(settings, &found) {
        line(&mut preview.text, &format!("{key}: no topic at {} matches it yet", settings.kafka.brokers));
        line(&mut preview.text, "");
    }
    for mut found in found {
        let table = std::mem::replace(&mut found.table, Err(Unready::Empty));
        let Found { route, topic, paused, .. } = &found;
        let paused = *paused;
        let text = &mut preview.text;
        let partitions = plural(topic.partitions.len(), "partition") + if paused { ", paused" } else { "" };
        let compiled = table.and_then(|table| match table {
            Table::There(schema) => match reconcile::compile(route, &schema) {
                Ok(program) => Ok((Table::There(schema), Some(program))),
                Err(problem) => Err(Unready::Problem(problem)),
            },
            missing => Ok((missing, None)),
        });
        match compiled {
            Err(Unready::Empty) => {
                line(text, &format!("topic {} ({partitions}) → table {}: {EMPTY}", topic.name, route.table))
            }
            Err(Unready::Problem(problem)) if is_pattern(settings, &topic.name) => {
                preview.to_do = true;
                line(text, &format!("topic {} ({partitions}): cannot be moved: {problem}", topic.name));
            }
            Err(Unready::Problem(problem)) => return Err(problem),
            Ok((Table::There(schema), program)) => {
                let program = program.expect("compiled where the table is there");
                line(
                    text,
                    &format!("topic {} ({partitions}) → table {} {}: exists", topic.name, schema.name, schema.kind),
                );
                rows(text, &program.mapping());
                let left: Vec<_> = schema
                    .columns
                    .iter()
                    .filter(|c| c.default == ColumnDefault::Generated)
                    .map(|c| format!("`{}`", c.name))
                    .collect();
                if !left.is_empty() {
                    line(text, &format!("  computed by the database: {}", left.join(", ")));
                }
                if let Some(promise) = &schema.promise {
                    line(text, &format!("  note: {}: {promise}", schema.kind));
                }
                if route.evolve != Evolve::None {
                    preview.to_do |= alterations(text, settings, connection, &found, &schema)?;
                }
            }
            Ok((Table::Missing { spec, ddl, sampled }, _)) => {
                preview.to_do = true;
                line(text, &format!("topic {} ({partitions}) → table {}: to be created", topic.name, spec.name));
                let origin = sampled.map_or_else(
                    || format!("columns as `topics.{}.columns` says", route.key),
                    |records| format!("columns inferred from {}", plural(records, "record")),
                );
                line(text, &format!("  {origin}"));
                statements(text, &ddl);
            }
        }
        line(text, "");
    }
    Ok(preview)
}

/// Whether the brokers, the server, the topics, the tables and the rights are there.
///
/// # Errors
/// When a server cannot be asked at all.
pub async fn check(settings: &Settings, connection: &Connection, server: &str) -> Result<Preview, Problem> {
    let mut preview = Preview { text: String::new(), to_do: false };
    line(&mut preview.text, &format!("ok      {server} at {}", settings.target));
    if let Err(problem) = pipeline::delivery(settings, connection) {
        preview.finish("", vec![problem]);
    }
    let found = pipeline::look(settings, connection).await?;
    for key in unmatched(settings, &found) {
        line(&mut preview.text, &format!("ok      {key}: no topic at {} matches it yet", settings.kafka.brokers));
    }
    for Found { route, topic, paused, table, .. } in found {
        let partitions = plural(topic.partitions.len(), "partition") + if paused { ", paused" } else { "" };
        line(&mut preview.text, &format!("ok      topic {} at {}: {partitions}", topic.name, settings.kafka.brokers));
        match table {
            Err(Unready::Empty) => line(&mut preview.text, &format!("ok      table {}: {EMPTY}", route.table)),
            Err(Unready::Problem(problem)) => {
                preview.to_do = true;
                line(&mut preview.text, &format!("to do   {problem}"));
            }
            Ok(Table::Missing { spec, ddl, .. }) => {
                let problems = pipeline::problems(connection, Intent::Create(&spec)).await?;
                preview.finish(&format!("table {} will be created (see `rowfall plan`)", spec.name), problems);
                ddl.notes.iter().for_each(|note| line(&mut preview.text, &format!("note    {note}")));
            }
            Ok(Table::There(schema)) => {
                let mut problems = pipeline::problems(connection, pipeline::intent(&route, &schema)).await?;
                problems.extend(reconcile::compile(&route, &schema).err());
                preview.finish(&format!("table {} {}", schema.name, schema.kind), problems);
                if let Some(promise) = &schema.promise {
                    line(&mut preview.text, &format!("note    {}: {promise}", schema.kind));
                }
            }
        }
    }
    Ok(preview)
}

/// The statements, and what to know of what they do.
fn statements(text: &mut String, ddl: &Ddl) {
    for statement in &ddl.statements {
        line(text, "");
        for part in statement.lines() {
            line(text, &format!("    {part}"));
        }
        text.truncate(text.trim_end().len());
        line(text, ";");
    }
    ddl.notes.iter().for_each(|note| line(text, &format!("  note: {note}")));
}

/// How the topic's first records would change the table; whether they would.
fn alterations(
    text: &mut String,
    settings: &Settings,
    connection: &Connection,
    found: &Found,
    table: &Arc<TableSchema>,
) -> Result<bool, Problem> {
    let (route, sample) = (&found.route, found.sample(settings)?);
    let (changes, _) = evolve::foresee(&*connection.grammar, route, table, &sample)?;
    if changes.is_empty() {
        return Ok(false);
    }
    let ddl = evolve::ddl(&*connection.grammar, table, &changes, route.storage.cluster.as_deref())?;
    line(text, &format!("  to be altered, as {} show", plural(sample.values.len(), "record")));
    statements(text, &ddl);
    Ok(true)
}

impl Preview {
    /// What is fine, or what has to be done first.
    fn finish(&mut self, fine: &str, problems: Vec<Problem>) {
        if problems.is_empty() {
            line(&mut self.text, &format!("ok      {fine}"));
        }
        for problem in problems {
            self.to_do = true;
            line(&mut self.text, &format!("to do   {problem}"));
        }
    }
}

const EMPTY: &str = "to be created when the topic has a record to infer it from";

/// Patterns that no topic matches.
fn unmatched<'s>(settings: &'s Settings, found: &[Found]) -> impl Iterator<Item = &'s str> {
    let matched = |key: &str| found.iter().any(|f| f.route.key == key);
    settings
        .routes
        .rules()
        .iter()
        .filter(|rule| rule.is_pattern())
        .map(|rule| rule.key.as_str())
        .filter(move |key| !matched(key))
}

fn is_pattern(settings: &Settings, topic: &str) -> bool {
    settings.routes.rule(topic).is_some_and(Rule::is_pattern)
}

fn line(text: &mut String, what: &str) {
    writeln!(text, "{what}").expect("a String can be written to");
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Three columns, aligned.
fn rows(text: &mut String, mapping: &[[String; 3]]) {
    let width = |column: usize| mapping.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [field, column, remark] in mapping {
        line(text, format!("  {field:first$}  →  {column:second$}  {remark}").trim_end());
    }
}
