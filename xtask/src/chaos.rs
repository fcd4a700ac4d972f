//! `./x chaos`: the courses of `tests/chaos.rs` with many faults, and what became of them in two tables.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::cargo::cargo_with;
use crate::workspace;

#[derive(Args)]
pub(crate) struct Chaos {
    /// How many faults in each course
    #[arg(long, default_value_t = 50)]
    faults: usize,
    /// Which faults; the same ones for the same number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Into these databases only: clickhouse, postgres, mysql, mariadb, sqlite
    #[arg(long = "database", default_values_t = ["clickhouse", "postgres", "mysql", "mariadb", "sqlite"].map(str::to_owned))]
    databases: Vec<String>,
    /// With this delivery only
    #[arg(long)]
    delivery: Option<Delivery>,
    /// In this mode only
    #[arg(long)]
    mode: Option<Mode>,
    /// Break promises instead, one after the other, and see that it is noticed
    #[arg(long)]
    mutants: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Insert,
    Upsert,
}

/// What a course says of itself, a line each.
#[derive(Deserialize)]
struct Course {
    database: String,
    delivery: String,
    course: String,
    produced: u64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    seconds: f64,
    /// By fault, for each time: after how many seconds all was in the table; none where the next fault came before.
    faults: BTreeMap<String, Vec<Option<f64>>>,
}

/// Those of several courses.
type Times<'c> = BTreeMap<&'c str, Vec<Option<f64>>>;

impl Chaos {
    pub(crate) fn run(&self) -> Result<()> {
        if self.mutants {
            let command =
                ["test", "--test", "real", "--", "chaos::with", "--test-threads", "1", "--ignored", "--show-output"];
            return cargo_with(&[], command, &[]);
        }
        let report = workspace().join("target").join("chaos.jsonl");
        if report.exists() {
            std::fs::remove_file(&report).with_context(|| format!("cannot remove {}", report.display()))?;
        }
        let given = [
            ("ROWFALL_FAULTS", self.faults.to_string()),
            ("ROWFALL_SEED", self.seed.to_string()),
            ("ROWFALL_CHAOS", report.display().to_string()),
        ];
        let command = ["test", "--test", "real", "--", "--test-threads", "1", "--nocapture", "--include-ignored"];
        let ran = cargo_with(&given, command, &self.courses());
        tell(&report)?;
        ran
    }

    /// The beginnings of their tests' names.
    fn courses(&self) -> Vec<String> {
        let deliveries = match self.delivery {
            Some(Delivery::ExactlyOnce) => &["exactly_once"][..],
            Some(Delivery::AtLeastOnce) => &["at_least_once"],
            None => &["exactly_once", "at_least_once"],
        };
        let mode = match self.mode {
            Some(Mode::Insert) => "insert",
            Some(Mode::Upsert) => "upsert",
            None => "",
        };
        let of = |database: &String| -> Vec<_> {
            deliveries.iter().map(|delivery| format!("chaos::{database}::{delivery}::{mode}")).collect()
        };
        self.databases.iter().flat_map(of).collect()
    }
}

fn tell(report: &Path) -> Result<()> {
    let text = std::fs::read_to_string(report).context("no course has come to its end")?;
    let courses =
        text.lines().map(serde_json::from_str).collect::<Result<Vec<Course>, _>>().context("a course's line")?;
    println!("\n| database | delivery | course | faults | produced | lost | doubled | reordered | seconds |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let row = |database: &str, delivery: &str, course: &str, of: &[&Course]| {
        let sum = |value: fn(&Course) -> u64| of.iter().map(|course| value(course)).sum::<u64>();
        println!(
            "| {database} | {delivery} | {course} | {} | {} | {} | {} | {} | {:.0} |",
            of.iter().flat_map(|course| course.faults.values()).map(Vec::len).sum::<usize>(),
            sum(|c| c.produced),
            sum(|c| c.lost),
            sum(|c| c.doubled),
            sum(|c| c.reordered),
            of.iter().map(|c| c.seconds).sum::<f64>(),
        );
    };
    courses.iter().for_each(|course| row(&course.database, &course.delivery, &course.course, &[course]));
    row("all", "", "", &courses.iter().collect::<Vec<_>>());

    let mut into: BTreeMap<(&str, &str), Times<'_>> = BTreeMap::new();
    for course in &courses {
        let faults = into.entry((&course.database, &course.delivery)).or_default();
        for (fault, times) in &course.faults {
            faults.entry(fault).or_default().extend(times);
        }
    }
    println!("\n| times (median seconds until all was in the table) |{}", heads(into.keys()));
    println!("| --- |{}", " ---: |".repeat(into.len()));
    let names: std::collections::BTreeSet<_> = into.values().flat_map(BTreeMap::keys).collect();
    for name in names {
        let cell = |faults: &Times<'_>| faults.get(*name).map_or_else(String::new, |t| times(t));
        println!("| {name} |{}", into.values().map(|faults| format!(" {} |", cell(faults))).collect::<String>());
    }
    Ok(())
}

fn heads<'k>(keys: impl Iterator<Item = &'k (&'k str, &'k str)>) -> String {
    keys.map(|(database, delivery)| format!(" {database}, {delivery} |")).collect()
}

fn times(all: &[Option<f64>]) -> String {
    let mut known: Vec<_> = all.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    let median = known.get(known.len() / 2).map(|median| format!(" ({median:.1})")).unwrap_or_default();
    format!("{}{median}", all.len())
}
