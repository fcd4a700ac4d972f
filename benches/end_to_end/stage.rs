//! What every case is measured on: the servers, the topic, an empty table for each run, and the check of what arrived.

use std::process::Command;
use std::time::Duration;

use rowfall_services::{ClickHouse, Kafka};

use crate::cost::{self, Cost, Ran};
use crate::table::Row;
use crate::topic::Topic;
use crate::{support, workload};

pub(crate) struct Stage<'s> {
    pub(crate) kafka: &'s Kafka,
    pub(crate) clickhouse: &'s ClickHouse,
    pub(crate) topic: Topic,
    /// The checksum of a table that holds the topic, computed by the server from rows that it made itself.
    expected: String,
}

/// What a case tells of itself when it has done its work.
pub(crate) struct Done {
    /// From the assignment of the partitions, or the first byte sent, to the last row.
    pub(crate) seconds: f64,
    /// What its own processes cost; `None` if it has none.
    pub(crate) own: Option<Ran>,
}

impl<'s> Stage<'s> {
    pub(crate) fn new(kafka: &'s Kafka, clickhouse: &'s ClickHouse, topic: Topic) -> Self {
        let mut stage = Self { kafka, clickhouse, topic, expected: String::new() };
        stage.expected = stage.with_expected_rows(|table| stage.checksum(table));
        stage
    }

    /// Lends a table with the rows of the topic as the server itself computes them.
    pub(crate) fn with_expected_rows<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        let table = self.create_table();
        let (columns, records) = (workload::EXPECTED, self.topic.records);
        self.query(&format!("INSERT INTO {table} SELECT {columns} FROM numbers({records})"));
        let result = work(&table);
        self.drop_table(&table);
        result
    }

    /// Each case in turn, `runs` times, so that whatever else the machine does meets all of them alike; the medians.
    pub(crate) fn rows<C>(
        &self,
        runs: u32,
        cases: impl IntoIterator<Item = (String, C)>,
        measure: impl Fn(&str, &C) -> Result<Cost, String>,
    ) -> Result<Vec<Row>, String> {
        let mut cases: Vec<_> = cases.into_iter().map(|(name, case)| (name, case, Vec::new())).collect();
        for run in 1..=runs {
            for (name, case, costs) in &mut cases {
                let cost = measure(name, case)?;
                eprintln!("run {run}: {name} {:.2} s", cost.seconds);
                costs.push(cost);
            }
        }
        let millions = f64::from(self.topic.records) / 1e6;
        let row = |(name, _, costs): (String, C, Vec<Cost>)| {
            let cost = Cost::median(&costs);
            Row { name, rate: millions / cost.seconds, cost: cost.per_million(millions) }
        };
        Ok(cases.into_iter().map(row).collect())
    }

    /// Lets a case fill an empty table of the workload's columns, and checks every value that is in it then. An error
    /// names the case.
    pub(crate) fn fill(&self, name: &str, work: impl FnOnce(&str) -> Result<Done, String>) -> Result<Cost, String> {
        let table = self.create_table();
        let cost = self.beside(|| work(&table), || self.wait_for_merges(&table));
        let cost = cost.map_err(|error| format!("{name}: {error}"))?;
        let found = self.checksum(&table);
        if found != self.expected {
            let read = |checksum: &str| checksum.replace('\t', ", ");
            return Err(format!(
                "{name}: {table} is not what {} holds: rows, different ids and the sum over all values are {}; they should \
                 be {}",
                self.topic.name,
                read(&found),
                read(&self.expected)
            ));
        }
        self.drop_table(&table);
        Ok(cost)
    }

    /// Counts what the servers do while `work` runs, and until `rest` has returned.
    pub(crate) fn beside(
        &self,
        work: impl FnOnce() -> Result<Done, String>,
        rest: impl FnOnce(),
    ) -> Result<Cost, String> {
        let cpu_of = |pid: Option<u32>| cost::cpu_seconds(pid.expect("a server that runs"));
        let (broker, server) = (|| cpu_of(self.kafka.server.pid()), || cpu_of(self.clickhouse.server.pid()));
        let before = (broker(), server());
        let Done { seconds, own } = work()?;
        let after = (broker(), server());
        rest();
        Ok(Cost {
            seconds,
            own: own.as_ref().map(|ran| ran.cpu),
            server: Some(after.1 - before.1),
            with_merges: Some(server() - before.1),
            broker: Some(after.0 - before.0),
            peak: own.map(|ran| ran.peak),
        })
    }

    /// rowfall with these settings, each as `--set` takes it, moves the topic into the table.
    pub(crate) fn rowfall(&self, table: &str, settings: &[String]) -> Result<Done, String> {
        let (topic, brokers) = (&self.topic.name, &self.kafka.brokers);
        let target = support::target(self.clickhouse);
        let config = format!(
            "name: {table}\nkafka: {{ brokers: '{brokers}' }}\ntarget: {{ url: '{target}' }}\n\
             topics: {{ {topic}: {{ table: {table} }} }}\n"
        );
        rowfall(&config, settings)
    }

    pub(crate) fn query(&self, text: &str) -> String {
        support::query(self.clickhouse, text)
    }

    /// Until the server has merged what it wants to merge for now: two seconds without any, at most a minute.
    fn wait_for_merges(&self, table: &str) {
        let mut quiet = 0;
        for _ in 0..120 {
            std::thread::sleep(Duration::from_millis(500));
            let merges = self.query(&format!("SELECT count() FROM system.merges WHERE table = '{table}'"));
            quiet = if merges == "0" { quiet + 1 } else { 0 };
            if quiet == 4 {
                return;
            }
        }
    }

    fn create_table(&self) -> String {
        let name = support::unique("bench");
        self.query(&format!("CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS));
        name
    }

    fn drop_table(&self, table: &str) {
        self.query(&format!("DROP TABLE {table} SYNC"));
    }

    /// Rows, different ids, and a sum over every value of every row, whatever the rows' order.
    fn checksum(&self, table: &str) -> String {
        self.query(&format!(
            "SELECT count(), uniqExact(id), sum(cityHash64(id, user_id, event, country, price, quantity, ok, score, \
             at, session, url, ifNull(note, 'null'))) FROM {table}"
        ))
    }
}

/// The program with this configuration and these settings, to the topic's end.
pub(crate) fn rowfall(config: &str, settings: &[String]) -> Result<Done, String> {
    let config = support::config_file(config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowfall"));
    command.args(["run", "--until-end", "--output", "json", "-c"]).arg(&config.path).env_remove("ROWFALL_LOG");
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    let ran = cost::run(&mut [command])?;
    let summary: serde_json::Value = serde_json::from_str(ran.stdout.trim()).expect("a JSON summary");
    Ok(Done { seconds: summary["seconds"].as_f64().expect("a number"), own: Some(ran) })
}
