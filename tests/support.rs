//! What the tests share: names, the rowfall process, questions to ClickHouse.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rowfall_services::{ClickHouse, Kafka, Services};

use crate::workload;

/// A number that whoever runs the tests gives: how many, or which seed.
pub(crate) fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The shared servers. A test that needs them fails when they are not there.
pub(crate) fn services() -> Services {
    rowfall_services::running().unwrap_or_else(|error| panic!("{error}"))
}

/// A name for a topic and its table that no other test and no earlier run has.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    format!("{name}_{now:x}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A topic and an empty ClickHouse table of the workload's columns, both of this name.
pub(crate) fn topic_and_table(kafka: &Kafka, clickhouse: &ClickHouse, name: &str, partitions: i32) {
    create_topic(kafka, name, partitions, &[]);
    query(clickhouse, &format!("CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS));
}

/// A topic, which the broker knows from now on: under load that takes a moment longer than its answer.
pub(crate) fn create_topic(kafka: &Kafka, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(workload::create_topic(&kafka.brokers, name, partitions, settings));
    let producer = workload::producer(&kafka.brokers);
    eventually("the broker knows the topic", Duration::from_secs(60), || {
        let metadata = producer.client().fetch_metadata(Some(name), Duration::from_secs(1));
        metadata.is_ok_and(|m| m.topics().iter().all(|topic| topic.error().is_none()))
    });
}

/// Topics of one partition, all at once: one by one many take a minute.
pub(crate) fn create_topics(kafka: &Kafka, names: &[String]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("an admin client");
    let new: Vec<_> = names.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let created = runtime.block_on(admin.create_topics(&new, &AdminOptions::new())).expect("the broker answers");
    created.iter().for_each(|topic| _ = topic.as_ref().unwrap_or_else(|error| panic!("{error:?}")));
}

/// ClickHouse's answer, without the last line break.
pub(crate) fn query(clickhouse: &ClickHouse, text: &str) -> String {
    clickhouse.query(text).unwrap_or_else(|error| panic!("{text}: {error}")).trim_end().to_owned()
}

/// Fails unless the table holds exactly the workload's records `0..count`, each value compared by the server.
pub(crate) fn assert_holds_exactly(clickhouse: &ClickHouse, table: &str, count: u64) {
    assert_eq!(lost_and_doubled(clickhouse, table, count), (0, 0, 0), "{table}: lost, doubled, changed");
}

/// How many of the workload's records `0..count` the table lacks, how many rows it has beyond one each, and how many of
/// its rows have a value that is not the produced one.
pub(crate) fn lost_and_doubled(clickhouse: &ClickHouse, table: &str, count: u64) -> (u64, u64, u64) {
    let numbers = |text: String| -> Vec<u64> { text.split('\t').map(|n| n.parse().expect("a number")).collect() };
    let ids =
        numbers(query(clickhouse, &format!("SELECT count(), uniqExact(id), countIf(id >= {count}) FROM {table}")));
    let differs = workload::differs();
    let changed = numbers(query(
        clickhouse,
        &format!(
            "SELECT countIf({differs}) FROM {table} AS t \
             JOIN (SELECT {} FROM numbers({count})) AS e ON t.id = e.id",
            workload::EXPECTED
        ),
    ));
    (count.saturating_sub(ids[1] - ids[2]), ids[0] - ids[1], changed[0])
}

/// A configuration file in a folder that lives as long as this.
pub(crate) struct ConfigFile {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn config_file(text: &str) -> ConfigFile {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rowfall.yaml");
    std::fs::write(&path, text).expect("written");
    ConfigFile { _folder: folder, path }
}

/// The configuration that moves one topic into the ClickHouse table of its name; `more` is further top-level YAML.
pub(crate) fn one_topic(kafka: &Kafka, clickhouse: &ClickHouse, name: &str, more: &str) -> ConfigFile {
    config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{}} }}\n{more}\n",
        kafka.brokers,
        target(clickhouse),
    ))
}

/// The URL of the shared database as rowfall takes it.
pub(crate) fn target(clickhouse: &ClickHouse) -> String {
    format!("clickhouse://{}:{}@127.0.0.1:{}/default", clickhouse.user, clickhouse.password, clickhouse.http_port)
}

/// The `rowfall` command with these arguments, started by [`Rowfall::start`] or waited for by [`Rowfall::output`].
pub(crate) struct Rowfall(Command);

impl Rowfall {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowfall"));
        command
            .args(arguments)
            .env_remove("ROWFALL_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    /// `rowfall COMMAND -c FILE ARGUMENTS…`
    pub(crate) fn with_config(command: &str, file: &ConfigFile, arguments: &[&str]) -> Self {
        let path = file.path.to_str().expect("UTF-8");
        Self::new(&[&[command, "-c", path], arguments].concat())
    }

    /// With this in its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn start(mut self) -> Process {
        let mut child = self.0.spawn().expect("rowfall starts");
        let said = Arc::default();
        let (stdout, stderr) =
            (drain(child.stdout.take(), Arc::default()), drain(child.stderr.take(), Arc::clone(&said)));
        Process { child, said, stdout: Some(stdout), stderr: Some(stderr) }
    }

    /// Runs it to its end, at most two minutes.
    pub(crate) fn output(self) -> Output {
        self.start().wait(Duration::from_secs(120))
    }
}

/// Reads a pipe to its end on a thread, so that it never fills; what has come so far is in `said`.
fn drain(pipe: Option<impl Read + Send + 'static>, said: Arc<Mutex<Vec<u8>>>) -> std::thread::JoinHandle<String> {
    let mut pipe = pipe.expect("piped");
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let count = pipe.read(&mut bytes).expect("readable");
            let mut said = said.lock().expect("no panic while held");
            said.extend_from_slice(&bytes[..count]);
            if count == 0 {
                return String::from_utf8_lossy(&said).into_owned();
            }
        }
    })
}

/// A running `rowfall`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    stdout: Option<std::thread::JoinHandle<String>>,
    stderr: Option<std::thread::JoinHandle<String>>,
}

/// How it ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Fails unless it ended well; the rows that its JSON summary counts.
    pub(crate) fn rows(&self) -> u64 {
        assert_eq!(self.code(), 0, "{self:#?}");
        let summary: serde_json::Value = serde_json::from_str(self.stdout.trim()).expect("a JSON summary");
        summary["rows"].as_u64().expect("a number")
    }
}

pub(crate) fn send_signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    let status = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
    assert!(status.success(), "kill -s {signal} {pid}");
}

impl Process {
    pub(crate) fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    /// What it has written to stderr so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic while held")).into_owned()
    }

    /// The process id, and what it writes to stderr: for a thread that watches it.
    #[allow(dead_code, reason = "for benches/soak")]
    pub(crate) fn watched(&self) -> (u32, Arc<Mutex<Vec<u8>>>) {
        (self.child.id(), Arc::clone(&self.said))
    }

    /// The most memory that it has occupied so far, in MiB; `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
    }

    /// What it has spent on the processors so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its own child").is_none()
    }

    /// Where its threads are, as far as gdb is there to tell.
    fn threads(&self) -> String {
        let pid = self.child.id().to_string();
        let gdb = Command::new("gdb").args(["-batch", "-ex", "thread apply all backtrace 30", "-p", &pid]).output();
        gdb.map_or_else(|error| format!("gdb: {error}"), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn kill9(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    pub(crate) fn wait(mut self, at_most: Duration) -> Output {
        let deadline = Instant::now() + at_most;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its own child") {
                break status;
            }
            if Instant::now() > deadline {
                let threads = self.threads();
                self.child.kill().expect("killed");
                let stderr = self.stderr.take().expect("not yet taken").join().expect("read");
                panic!("rowfall did not end within {at_most:?}:\n{stderr}\n{threads}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = |pipe: Option<std::thread::JoinHandle<String>>| pipe.expect("once").join().expect("read");
        Output { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("process {} said:\n{}", self.child.id(), self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done`, at most this long; what is waited for is named in the failure.
pub(crate) fn eventually(what: &str, at_most: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !done() {
        assert!(Instant::now() < deadline, "not within {at_most:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The configuration that moves one topic into the ClickHouse table of its name, with these settings of the topic, in
/// YAML's braces.
pub(crate) fn topic_with(services: &Services, name: &str, settings: &str) -> ConfigFile {
    config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {settings} }}\n",
        services.kafka.brokers,
        target(&services.clickhouse),
    ))
}

/// The same for a table that cannot drop what comes again.
pub(crate) fn at_least_once(config: ConfigFile) -> ConfigFile {
    let text = std::fs::read_to_string(&config.path).expect("readable");
    std::fs::write(&config.path, text + "delivery: at-least-once\n").expect("written");
    config
}

/// Produces these values to a partition, in this order, and waits for all to be acknowledged.
pub(crate) fn produce(kafka: &Kafka, topic: &str, partition: i32, values: &[&str]) {
    let producer = workload::producer(&kafka.brokers);
    for value in values {
        workload::send(&producer, BaseRecord::<(), str>::to(topic).partition(partition).payload(value));
    }
    producer.flush(Duration::from_secs(60)).expect("all are acknowledged");
}

/// Deletes all records of the partition before this offset, as retention does.
pub(crate) fn delete_records(kafka: &Kafka, topic: &str, partition: i32, before: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("an admin client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).expect("the broker answers");
    for element in deleted.elements() {
        element.error().unwrap_or_else(|error| panic!("{topic}[{partition}]: {error}"));
    }
}

/// How many records the topic's one partition holds.
pub(crate) fn records(kafka: &Kafka, topic: &str) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset that can be set");
    consumer.assign(&list).expect("assigned");
    let mut count = 0;
    loop {
        match consumer.poll(Duration::from_secs(60)) {
            Some(Ok(_)) => count += 1,
            Some(Err(KafkaError::PartitionEOF(_))) => return count,
            Some(Err(error)) => panic!("{error}"),
            None => panic!("the partition does not end"),
        }
    }
}

/// Per partition, what the group has committed and where the records end that a reader may see (the last stable offset).
pub(crate) fn committed_and_end(kafka: &Kafka, group: &str, topic: &str, partitions: i32) -> Vec<(Option<i64>, i64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    (0..partitions).for_each(|partition| _ = list.add_partition(topic, partition));
    let patience = Duration::from_secs(10);
    let committed = consumer.committed_offsets(list, patience).expect("the group's coordinator answers");
    let of = |partition: i32| {
        let committed = committed.find_partition(topic, partition).expect("asked for").offset().to_raw();
        let (_, end) = consumer.fetch_watermarks(topic, partition, patience).expect("the leader answers");
        (committed.filter(|offset| *offset >= 0), end)
    };
    (0..partitions).map(of).collect()
}
