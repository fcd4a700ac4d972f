//! `plan` and `check`: what a run would do, without touching anything.

use std::fmt::Write as _;
use std::sync::Arc;

use rowfall_dialects::contract::{ColumnDefault, Connection, Ddl, Intent, TableSchema};

use crate::config::{Evolve, Route, Rule, Settings};
use crate::decode::RowProgram;
use crate::evolve;
use crate::infer::fields;
use crate::mapping::{Line, Survey};
use crate::pipeline::{self, Found, Unready};
use crate::problem::Problem;
use crate::reconcile::{self, Table};
use crate::source::topics::{Sample, SampleRecord, TopicInfo};

/// What was found.
#[derive(Debug, Default)]
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
    let mut preview = Preview::default();
    let found = pipeline::look(settings, connection).await?;
    for key in unmatched(settings, &found) {
        line(&mut preview.text, &format!("{key}: no topic at {} matches it yet", settings.kafka.brokers));
        line(&mut preview.text, "");
    }
    for mut found in found {
        let records = if found.table.is_ok() { found.take_records(settings)? } else { Vec::new() };
        let Found { route, topic, paused, table, .. } = found;
        let partitions = plural(topic.partitions.len(), "partition") + if paused { ", paused" } else { "" };
        let planned = match table {
            Ok(table) => planned(settings, connection, &route, &topic, table, &records).await.map_err(Unready::Problem),
            Err(unready) => Err(unready),
        };
        let text = &mut preview.text;
        match planned {
            Ok(planned) => {
                text.push_str(&format!("topic {} ({partitions}) → table {}", topic.name, planned.text));
                preview.to_do |= planned.to_do;
            }
            Err(Unready::Empty) => {
                line(text, &format!("topic {} ({partitions}) → table {}: {EMPTY}", topic.name, route.table))
            }
            Err(Unready::Problem(problem)) if is_pattern(settings, &topic.name) => {
                preview.to_do = true;
                line(text, &format!("topic {} ({partitions}): cannot be moved: {problem}", topic.name));
            }
            Err(Unready::Problem(problem)) => return Err(problem),
        }
        line(text, "");
    }
    Ok(preview)
}

/// What a run would do with the table and with these records, the topic's first.
async fn planned(
    settings: &Settings,
    connection: &Connection,
    route: &Route,
    topic: &TopicInfo,
    table: Table,
    records: &[SampleRecord],
) -> Result<Preview, Problem> {
    let mut preview = Preview::default();
    match table {
        Table::There(schema) => {
            line(&mut preview.text, &format!("{} {}: exists", schema.name, schema.kind));
            let altered = preview.alterations(connection, route, &schema, records)?;
            preview.mapping(route, &reconcile::compile(route, &altered)?, records)?;
            let computed = altered.columns.iter().filter(|column| column.default == ColumnDefault::Generated);
            let computed: Vec<_> = computed.map(|column| format!("`{}`", column.name)).collect();
            if !computed.is_empty() {
                line(&mut preview.text, &format!("  computed by the database: {}", computed.join(", ")));
            }
            if let Some(promise) = &schema.promise {
                line(&mut preview.text, &format!("  note: {}: {promise}", schema.kind));
            }
            for Problem { what, hint } in pipeline::repeats(settings, connection, topic, &schema).await? {
                preview.to_do = true;
                line(&mut preview.text, &format!("  to do first: {what}\n    {hint}"));
            }
        }
        Table::Missing { spec, ddl, sampled } => {
            preview.to_do = true;
            line(&mut preview.text, &format!("{}: to be created", spec.name));
            let origin = sampled.map_or_else(
                || format!("columns as `topics.{}.columns` says", route.key),
                |records| format!("columns inferred from {}", plural(records, "record")),
            );
            line(&mut preview.text, &format!("  {origin}"));
            statements(&mut preview.text, &ddl);
            if !records.is_empty() {
                line(&mut preview.text, "");
                let described = || Box::new(spec.described(&*connection.grammar));
                let table = Arc::new(*ddl.described.unwrap_or_else(described));
                match reconcile::compile(route, &table) {
                    Ok(program) => preview.mapping(route, &program, records)?,
                    Err(problem) => {
                        line(&mut preview.text, &format!("  how fields fit shows when it is there: {problem}"))
                    }
                }
            }
        }
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
    for problem in tokio::task::block_in_place(|| pipeline::missing_rights(settings, connection))? {
        preview.finish("", vec![problem]);
    }
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
                let problems = pipeline::problems(settings, connection, &topic, Intent::Create(&spec)).await?;
                preview.finish(&format!("table {} will be created (see `rowfall plan`)", spec.name), problems);
                ddl.notes.iter().for_each(|note| line(&mut preview.text, &format!("note    {note}")));
            }
            Ok(Table::There(schema)) => {
                let mut problems =
                    pipeline::problems(settings, connection, &topic, pipeline::intent(&route, &schema)).await?;
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

impl Preview {
    /// How these records would change the table; the table as it would be.
    fn alterations(
        &mut self,
        connection: &Connection,
        route: &Route,
        table: &Arc<TableSchema>,
        records: &[SampleRecord],
    ) -> Result<Arc<TableSchema>, Problem> {
        if route.evolve == Evolve::None {
            return Ok(Arc::clone(table));
        }
        let as_records = records.iter().map(SampleRecord::as_record);
        let (changes, altered) = evolve::foresee(&*connection.grammar, route, table, as_records)?;
        if !changes.is_empty() {
            self.to_do = true;
            let ddl = evolve::ddl(&*connection.grammar, table, &changes, route.storage.cluster.as_deref())?;
            line(
                &mut self.text,
                &format!("  to be altered, as {} show", plural(Sample::of(records).values(), "record")),
            );
            statements(&mut self.text, &ddl);
            line(&mut self.text, "");
        }
        Ok(altered)
    }

    /// Which field fills which column, and how well, as these records show.
    fn mapping(&mut self, route: &Route, program: &Arc<RowProgram>, records: &[SampleRecord]) -> Result<(), Problem> {
        let as_records = || records.iter().map(SampleRecord::as_record);
        let fields = fields(route, as_records())?;
        let survey = Survey::of(program, as_records());
        rows(&mut self.text, &survey.lines(route, &fields));
        let tried = format!("  tried with {}", plural(survey.records, "record"));
        match &survey.first_refused {
            None if survey.records == 0 => {}
            None => line(&mut self.text, &format!("{tried}: all fit")),
            Some((partition, offset, bad)) => {
                self.to_do = true;
                let verb = if survey.refused == 1 { "is" } else { "are" };
                let place = format!("the first at {}[{partition}] offset {offset}", route.topic);
                line(&mut self.text, &format!("{tried}: {} {verb} refused, {place}: {bad}", survey.refused));
                line(&mut self.text, &format!("    → {}", bad.hint));
            }
        }
        Ok(())
    }

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

/// Four columns, aligned; three where nothing is known of how fields fit.
fn rows(text: &mut String, lines: &[Line]) {
    let cells = |line: &Line| {
        let fit = line.fit.map_or_else(String::new, |fit| fit.to_string());
        [line.field.clone(), line.column.clone().unwrap_or_else(|| "–".to_owned()), fit]
    };
    let table: Vec<_> = lines.iter().map(cells).collect();
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    for ([field, column, fit], Line { remark, .. }) in table.iter().zip(lines) {
        let fit = if third == 0 { String::new() } else { format!("{fit:third$}  ") };
        line(text, format!("  {field:first$}  →  {column:second$}  {fit}{remark}").trim_end());
    }
}
