//! The table, as Markdown that can be read as it is.

use std::fmt::Write;
use std::path::Path;

use rowfall_services::Services;

use crate::cost::Cost;
use crate::support;

pub(crate) struct Row {
    pub(crate) name: String,
    /// Millions of rows a second.
    pub(crate) rate: f64,
    /// CPU in seconds per million records.
    pub(crate) cost: Cost,
}

/// Cells under a head, and the lines that stand below them.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()], notes: Vec::new() }
    }

    /// One cell for each of the head's.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.rows[0].len(), "cells of {}", cells[0]);
        self.rows.push(cells.into());
    }

    pub(crate) fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }

    /// Prints it, and writes it into this file beside what cargo builds.
    pub(crate) fn publish(&self, file: &str) {
        let text = self.markdown();
        println!("{text}");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(file);
        std::fs::write(&file, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    fn markdown(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<_> = (0..self.rows[0].len()).map(width).collect();
        let rule = |(column, width): (usize, &usize)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width - 1) + ":",
        };
        let mut rows = self.rows.clone();
        rows.insert(1, widths.iter().enumerate().map(rule).collect());
        let mut text = String::new();
        for row in rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(text, "| {cell:<width$} |"),
                    _ => write!(text, " {cell:>width$} |"),
                }
                .expect("a String can be written to");
            }
            text.push('\n');
        }
        text.push_str(
            "\nCPU in seconds per million records, of whole processes. s: from the assignment of the partitions, the \
             reader's first record, or the first byte sent, to the last row. Own CPU: start and end included.\n",
        );
        for line in &self.notes {
            writeln!(text, "{line}.").expect("a String can be written to");
        }
        text
    }
}

/// With these many digits; a dash where there is none.
pub(crate) fn number(value: impl Into<Option<f64>>, digits: usize) -> String {
    value.into().map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

pub(crate) fn ratio(value: Option<f64>, ceiling: Option<f64>) -> String {
    number(value.zip(ceiling).map(|(value, ceiling)| value / ceiling), 2)
}

/// What it runs on.
pub(crate) fn machine(services: &Services) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = read("/proc/loadavg");
    let kafka = rowfall_services::status(&["kafka".to_owned()]).expect("a service");
    let version = support::query(&services.clickhouse, "SELECT version()");
    format!(
        "{cores} cores{}, shared with the servers; Kafka {}, ClickHouse {version}, librdkafka {}; load before the start {}",
        cpu.trim_start_matches([' ', '\t', ':']).split(" @").next().map(|cpu| format!(" ({cpu})")).unwrap_or_default(),
        kafka[0].split_whitespace().nth(1).unwrap_or_default(),
        rdkafka::util::get_rdkafka_version().1,
        load.split(' ').next().unwrap_or_default(),
    )
}

/// 4000000 as 4,000,000.
pub(crate) fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
