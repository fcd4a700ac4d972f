//! The table, as Markdown that can be read as it is.

use std::fmt::Write;

use rowfall_services::Services;

use crate::cost::Cost;
use crate::support;

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Millions of rows a second.
    pub(crate) rate: f64,
    /// CPU in seconds per million records.
    pub(crate) cost: Cost,
}

const HEAD: [&str; 10] =
    ["", "s", "M rows/s", "own CPU", "× reader", "server CPU", "with merges", "× POSTs", "broker CPU", "peak MiB"];

/// The table, and the lines that stand below it. `reader` and `posts` are the ceilings that the others are compared with.
pub(crate) fn markdown(rows: &[Row], reader: &Row, posts: &Row, lines: &[&str]) -> String {
    let number = |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |v| format!("{v:.digits$}"));
    let ratio = |value: Option<f64>, ceiling: Option<f64>| number(value.zip(ceiling).map(|(v, c)| v / c), 2);
    let cells = |row: &Row| {
        let Row { name, rate, cost } = row;
        [
            (*name).to_owned(),
            number(Some(cost.seconds), 2),
            number(Some(*rate), 2),
            number(cost.own, 2),
            ratio(cost.own, reader.cost.own),
            number(cost.server, 2),
            number(cost.with_merges, 2),
            ratio(cost.with_merges, posts.cost.with_merges),
            number(cost.broker, 2),
            number(cost.peak, 0),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str());
        cells.chain([HEAD[column]]).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let mut text = String::new();
    let mut line = |cells: [&str; HEAD.len()]| {
        for (column, cell) in cells.into_iter().enumerate() {
            let width = width(column);
            let cell = match column {
                0 => format!("| {cell:<width$} |"),
                _ => format!(" {cell:>width$} |"),
            };
            text.push_str(&cell);
        }
        text.push('\n');
    };
    line(HEAD);
    let rules: Vec<_> =
        (0..HEAD.len()).map(|c| if c == 0 { "-".repeat(width(c)) } else { "-".repeat(width(c) - 1) + ":" }).collect();
    line(std::array::from_fn(|column| rules[column].as_str()));
    rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    text.push_str(
        "\nCPU in seconds per million records, of whole processes. s: from the assignment of the partitions, the \
         reader's first record, or the first byte sent, to the last row. Own CPU: start and end included.\n",
    );
    for line in lines {
        writeln!(text, "{line}.").expect("a String can be written to");
    }
    text
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
