//! Topics that come and go, members that do, and where a partition begins.

use std::time::Duration;

use insta::assert_snapshot;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rowfall_services::{ClickHouse, Kafka, Services};

use crate::support::{self, ConfigFile, Process, Rowfall, eventually};
use crate::workload;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Each way in which a group may share its partitions.
const PROTOCOLS: [&str; 3] = [
    "partition.assignment.strategy: range",
    "partition.assignment.strategy: cooperative-sticky",
    "group.protocol: consumer",
];

/// A configuration that looks for topics every half second. `kafka` and `topics` are YAML for the inside of braces.
fn config(services: &Services, group: &str, kafka: &str, property: &str, topics: &str) -> ConfigFile {
    support::config_file(&format!(
        "name: {group}\nkafka: {{ brokers: '{}', {kafka} properties: {{ topic.metadata.refresh.interval.ms: 500, {property} }} }}\n\
         target: {{ url: '{}' }}\nbatch: {{ age: 100ms }}\ntopics: {{ {topics} }}\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ))
}

fn start(config: &ConfigFile) -> Process {
    Rowfall::with_config("run", config, &["--output", "json"]).start()
}

/// Runs to the end; how many rows were moved, and what was said.
fn until_end(config: &ConfigFile) -> (u64, String) {
    let output = Rowfall::with_config("run", config, &["--until-end", "--output", "json"]).start().wait(PATIENCE);
    (output.rows(), output.stderr)
}

fn end(process: Process) -> String {
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    assert_eq!(output.code(), 0, "{output:#?}");
    output.stderr
}

fn said(process: &Process, what: &str) {
    said_times(process, what, 1);
}

fn said_times(process: &Process, what: &str, times: usize) {
    eventually(&format!("it says {what:?} {times} times"), PATIENCE, || process.said().matches(what).count() >= times);
}

fn table(clickhouse: &ClickHouse, name: &str) {
    support::query(clickhouse, &format!("CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS));
}

/// Rows, and how many different ones; none where there is no table.
fn rows(clickhouse: &ClickHouse, table: &str) -> (u64, u64) {
    let Ok(counts) = clickhouse.query(&format!("SELECT count(), uniqExact(id) FROM {table}")) else { return (0, 0) };
    let numbers: Vec<u64> = counts.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    (numbers[0], numbers[1])
}

fn holds(clickhouse: &ClickHouse, table: &str, count: u64) {
    let what = format!("{count} rows in {table}");
    eventually(&what, PATIENCE, || rows(clickhouse, table).0 >= count);
    assert_eq!(rows(clickhouse, table), (count, count), "{table}: rows and different ones");
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("an admin client")
}

pub(crate) fn delete_topic(kafka: &Kafka, name: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let result = runtime.block_on(admin(kafka).delete_topics(&[name], &AdminOptions::new())).expect("an answer");
    result.into_iter().for_each(|topic| drop(topic.unwrap_or_else(|error| panic!("{error:?}"))));
}

/// Until it has so many. A broker that has just started may not know the topic yet.
pub(crate) fn add_partitions(kafka: &Kafka, name: &str, count: usize) {
    attempt("it can get partitions", || try_to_add_partitions(kafka, name, count));
}

fn try_to_add_partitions(kafka: &Kafka, name: &str, count: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let more = [NewPartitions::new(name, count)];
    let result = runtime.block_on(admin(kafka).create_partitions(&more, &AdminOptions::new())).expect("an answer");
    // Nothing to do means that an earlier attempt did it.
    let is_done = |code: &RDKafkaErrorCode| *code == RDKafkaErrorCode::InvalidPartitions;
    for topic in result.into_iter().filter_map(Result::err) {
        assert!(is_done(&topic.1), "{topic:?}");
    }
}

/// Tries again while it panics: brokers know of what has just changed a moment later.
fn attempt(what: &str, act: impl Fn()) {
    eventually(what, PATIENCE, || std::panic::catch_unwind(std::panic::AssertUnwindSafe(&act)).is_ok());
}

pub(crate) fn create_again(kafka: &Kafka, name: &str, partitions: i32) {
    attempt("it can be created again", || support::create_topic(kafka, name, partitions, &[]));
}

/// Records of these numbers into one partition.
fn produce_to(kafka: &Kafka, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let producer = workload::producer(&kafka.brokers);
    for number in numbers {
        let text = workload::record(number);
        workload::send(&producer, BaseRecord::<(), str>::to(topic).partition(partition).payload(text.as_str()));
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
}

/// The group's commit of a partition: offset and metadata.
fn committed(kafka: &Kafka, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let list = consumer.committed_offsets(list, 10 * SECOND).expect("the group's coordinator answers");
    let element = list.find_partition(topic, partition).expect("asked for");
    let offset = element.offset().to_raw().filter(|offset| *offset >= 0)?;
    Some((offset, element.metadata().to_owned()))
}

/// Commits as another program may, to a group that nobody is in.
fn commit(kafka: &Kafka, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(topic, partition);
    element.set_offset(Offset::Offset(offset)).expect("an offset");
    element.set_metadata(metadata);
    consumer.commit(&list, CommitMode::Sync).expect("committed");
}

#[test]
fn topics_and_partitions_that_appear_with_ranges() {
    appear(PROTOCOLS[0]);
}

#[test]
fn topics_and_partitions_that_appear_cooperatively() {
    appear(PROTOCOLS[1]);
}

#[test]
fn topics_and_partitions_that_appear_with_the_new_protocol() {
    appear(PROTOCOLS[2]);
}

/// Two processes of one group. What appears is read from its first record, although what was there is read from its end.
fn appear(property: &str) {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("appear");
    let (there, new) = (format!("{name}-there"), format!("{name}-new"));
    let tables = ["there", "new"].map(|topic| format!("{name}_{topic}"));
    support::create_topic(kafka, &there, 2, &[]);
    table(clickhouse, &tables[0]);
    workload::produce(&kafka.brokers, &there, 2, 1_000_000..1_000_100);
    let topics = format!("/{name}-(.*)/: {{ table: '{name}_${{1}}' }}");
    let config = config(&services, &name, "start_from: latest,", property, &topics);
    let processes = [start(&config), start(&config)];
    processes.iter().for_each(|process| said(process, " assigned: "));
    // Nothing of what was there; the starts are committed at once.
    eventually("both starts are committed", PATIENCE, || {
        (0..2).all(|partition| committed(kafka, &name, &there, partition).is_some())
    });
    workload::produce(&kafka.brokers, &there, 2, 0..100);
    holds(clickhouse, &tables[0], 100);

    // A topic, with records before anybody can know of it.
    support::create_topic(kafka, &new, 4, &[]);
    workload::produce(&kafka.brokers, &new, 4, 0..1_000);
    processes.iter().for_each(|process| said(process, &format!("topic {new} (4 partitions) → table")));
    holds(clickhouse, &tables[1], 1_000);
    // Partitions of both.
    for (topic, from, count) in [(&there, 100, 4), (&new, 1_000, 6)] {
        add_partitions(kafka, topic, count);
        attempt("the new partition takes records", || {
            produce_to(kafka, topic, i32::try_from(count).expect("small") - 1, from..from + 500)
        });
    }
    holds(clickhouse, &tables[0], 600);
    holds(clickhouse, &tables[1], 1_500);
    processes.into_iter().for_each(|process| drop(end(process)));
    assert_eq!(until_end(&config).0, 0, "all was committed");
    assert_eq!([rows(clickhouse, &tables[0]), rows(clickhouse, &tables[1])], [(600, 600), (1_500, 1_500)]);
}

/// A group that begins with `latest` and is away while a partition appears reads it from its beginning, too: it has
/// remembered how many there were.
#[test]
fn a_partition_that_appears_between_runs() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("between");
    support::topic_and_table(kafka, clickhouse, &name, 2);
    workload::produce(&kafka.brokers, &name, 2, 1_000..1_100);
    let config = config(&services, &name, "start_from: latest,", "", &format!("{name}: {{}}"));
    assert_eq!(until_end(&config).0, 0);
    let (offset, note) = committed(kafka, &name, &name, 0).expect("the start is committed");
    assert_eq!(offset, 50);
    assert!(note.starts_with("rowfall=1 topic=") && note.ends_with(" partitions=2 count=2"), "{note}");
    add_partitions(kafka, &name, 3);
    std::thread::sleep(SECOND);
    produce_to(kafka, &name, 2, 0..10);
    assert_eq!(until_end(&config).0, 10);
    assert_eq!(rows(clickhouse, &name), (10, 10));
    assert!(committed(kafka, &name, &name, 2).expect("committed").1.contains(" partitions=2 "));
}

#[test]
fn a_pattern_without_a_topic() {
    let services = support::services();
    let name = support::unique("nothing");
    let config = config(&services, &name, "", "", &format!("/{name}-.*/: {{ table: {name} }}"));
    let (rows_moved, text) = until_end(&config);
    assert_eq!(rows_moved, 0);
    assert!(text.contains(&format!("/{name}-.*/: no topic matches it yet")), "{text}");
    let process = start(&config);
    said(&process, &format!("/{name}-.*/: no topic matches it yet"));
    // A topic without a record is nothing yet: there is no table that could be inferred from it.
    support::create_topic(&services.kafka, &format!("{name}-a"), 1, &[]);
    said(&process, &format!("topic {name}-a has no record yet to infer its table from"));
    workload::produce(&services.kafka.brokers, &format!("{name}-a"), 1, 0..10);
    holds(&services.clickhouse, &name, 10);
    assert_eq!(end(process).matches("has no record yet").count(), 1);
}

#[test]
fn several_topics_by_name_and_by_pattern() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("several");
    for topic in ["a", "b", "c-1", "c-2"] {
        support::create_topic(kafka, &format!("{name}-{topic}"), 1, &[]);
    }
    for (topic, numbers) in [("a", 0..10), ("b", 10..30), ("c-1", 30..60), ("c-2", 60..100)] {
        workload::produce(&kafka.brokers, &format!("{name}-{topic}"), 1, numbers);
    }
    let topics = format!(
        "'{name}-a, {name}-b': {{ table: {name} }}, /{name}-c-1/: {{ table: '{name}_${{topic}}' }}, /{name}-(c)-(.)/: {{ table: '{name}_${{1}}${{2}}' }}, /__{name}.*/: {{}}"
    );
    let config = config(&services, &name, "", "", &topics);
    let shown = |command: &str, code: i32| {
        let output = Rowfall::with_config(command, &config, &[]).output();
        assert_eq!(output.code(), code, "{output:#?}");
        let lines = output
            .stdout
            .lines()
            .filter(|line| !line.starts_with("    ") && !line.is_empty() && !line.contains("ClickHouse"));
        let text: Vec<_> = lines.map(|line| line.replace(&name, "NAME").replace(&kafka.brokers, "KAFKA")).collect();
        text.join("\n")
    };
    assert_snapshot!(shown("plan", 3), @"
    /__NAME.*/: no topic at KAFKA matches it yet
    topic NAME-a (1 partition) → table NAME: to be created
      columns inferred from 10 records
      id        →  id Nullable(Int64)                 exact  null where the record lacks it
      user_id   →  user_id Nullable(Int64)            exact  null where the record lacks it
      event     →  event Nullable(String)             exact  null where the record lacks it
      country   →  country Nullable(String)           exact  null where the record lacks it
      price     →  price Nullable(Float64)            exact  null where the record lacks it
      quantity  →  quantity Nullable(Int64)           exact  null where the record lacks it
      ok        →  ok Nullable(Bool)                  exact  null where the record lacks it
      score     →  score Nullable(Float64)            exact  null where the record lacks it
      at        →  at Nullable(DateTime64(3, 'UTC'))  exact  null where the record lacks it
      session   →  session Nullable(UUID)             exact  null where the record lacks it
      url       →  url Nullable(String)               exact  null where the record lacks it
      note      →  note Nullable(String)              exact  null where the record lacks it
      tried with 10 records: all fit
    topic NAME-b (1 partition) → table NAME: to be created
      columns inferred from 20 records
      id        →  id Nullable(Int64)                 exact  null where the record lacks it
      user_id   →  user_id Nullable(Int64)            exact  null where the record lacks it
      event     →  event Nullable(String)             exact  null where the record lacks it
      country   →  country Nullable(String)           exact  null where the record lacks it
      price     →  price Nullable(Float64)            exact  null where the record lacks it
      quantity  →  quantity Nullable(Int64)           exact  null where the record lacks it
      ok        →  ok Nullable(Bool)                  exact  null where the record lacks it
      score     →  score Nullable(Float64)            exact  null where the record lacks it
      at        →  at Nullable(DateTime64(3, 'UTC'))  exact  null where the record lacks it
      session   →  session Nullable(UUID)             exact  null where the record lacks it
      url       →  url Nullable(String)               exact  null where the record lacks it
      note      →  note Nullable(String)              exact  null where the record lacks it
      tried with 20 records: all fit
    topic NAME-c-1 (1 partition) → table NAME_NAME-c-1: to be created
      columns inferred from 30 records
      id        →  id Nullable(Int64)                 exact  null where the record lacks it
      user_id   →  user_id Nullable(Int64)            exact  null where the record lacks it
      event     →  event Nullable(String)             exact  null where the record lacks it
      country   →  country Nullable(String)           exact  null where the record lacks it
      price     →  price Nullable(Float64)            exact  null where the record lacks it
      quantity  →  quantity Nullable(Int64)           exact  null where the record lacks it
      ok        →  ok Nullable(Bool)                  exact  null where the record lacks it
      score     →  score Nullable(Float64)            exact  null where the record lacks it
      at        →  at Nullable(DateTime64(3, 'UTC'))  exact  null where the record lacks it
      session   →  session Nullable(UUID)             exact  null where the record lacks it
      url       →  url Nullable(String)               exact  null where the record lacks it
      note      →  note Nullable(String)              exact  null where the record lacks it
      tried with 30 records: all fit
    topic NAME-c-2 (1 partition) → table NAME_c2: to be created
      columns inferred from 40 records
      id        →  id Nullable(Int64)                 exact  null where the record lacks it
      user_id   →  user_id Nullable(Int64)            exact  null where the record lacks it
      event     →  event Nullable(String)             exact  null where the record lacks it
      country   →  country Nullable(String)           exact  null where the record lacks it
      price     →  price Nullable(Float64)            exact  null where the record lacks it
      quantity  →  quantity Nullable(Int64)           exact  null where the record lacks it
      ok        →  ok Nullable(Bool)                  exact  null where the record lacks it
      score     →  score Nullable(Float64)            exact  null where the record lacks it
      at        →  at Nullable(DateTime64(3, 'UTC'))  exact  null where the record lacks it
      session   →  session Nullable(UUID)             exact  null where the record lacks it
      url       →  url Nullable(String)               exact  null where the record lacks it
      note      →  note Nullable(String)              exact  null where the record lacks it
      tried with 40 records: all fit
    ");
    assert_snapshot!(shown("check", 0), @"
    ok      /__NAME.*/: no topic at KAFKA matches it yet
    ok      topic NAME-a at KAFKA: 1 partition
    ok      table NAME will be created (see `rowfall plan`)
    ok      topic NAME-b at KAFKA: 1 partition
    ok      table NAME will be created (see `rowfall plan`)
    ok      topic NAME-c-1 at KAFKA: 1 partition
    ok      table NAME_NAME-c-1 will be created (see `rowfall plan`)
    ok      topic NAME-c-2 at KAFKA: 1 partition
    ok      table NAME_c2 will be created (see `rowfall plan`)
    ");
    assert_eq!(until_end(&config).0, 100);
    let name_of = |suffix: &str| format!("`{name}{suffix}`");
    for (table, count) in [("", 30), (&format!("_{name}-c-1"), 30), ("_c2", 40)] {
        assert_eq!(rows(clickhouse, &name_of(table)), (count, count), "{table}");
    }
}

#[test]
fn a_topic_that_is_deleted_and_created_again_with_ranges() {
    come_back(PROTOCOLS[0]);
}

#[test]
fn a_topic_that_is_deleted_and_created_again_cooperatively() {
    come_back(PROTOCOLS[1]);
}

#[test]
fn a_topic_that_is_deleted_and_created_again_with_the_new_protocol() {
    come_back(PROTOCOLS[2]);
}

/// First with time enough to see that the topic is gone, then without.
fn come_back(property: &str) {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let (stays, goes) = (support::unique("stays"), support::unique("goes"));
    for name in [&stays, &goes] {
        support::topic_and_table(kafka, clickhouse, name, 2);
        workload::produce(&kafka.brokers, name, 2, 0..500);
    }
    let config = config(&services, &stays, "start_from: latest,", property, &format!("{stays}: {{}}, {goes}: {{}}"));
    // What is there is read, so that latest stands only for what comes.
    [&stays, &goes].into_iter().for_each(|topic| {
        (0..2).for_each(|partition| commit(kafka, &stays, topic, partition, 0, ""));
    });
    let process = start(&config);
    holds(clickhouse, &stays, 500);
    holds(clickhouse, &goes, 500);

    delete_topic(kafka, &goes);
    said(&process, &format!("topic {goes} was deleted, or this user may not see it any more: nothing of it is read"));
    let before = process.cpu_time();
    std::thread::sleep(2 * SECOND);
    let spent = process.cpu_time() - before;
    println!("{property}: {spent:?} of CPU in two seconds with a topic gone");
    assert!(spent < SECOND, "no busy loop: {spent:?}");
    workload::produce(&kafka.brokers, &stays, 2, 500..1_000);
    holds(clickhouse, &stays, 1_000);
    // Fewer records than before, in fewer partitions.
    support::create_topic(kafka, &goes, 1, &[]);
    workload::produce(&kafka.brokers, &goes, 1, 500..600);
    holds(clickhouse, &goes, 600);

    // More records than were committed, at once: whatever was read in the middle before it was noticed comes twice.
    eventually("the end is committed", PATIENCE, || {
        committed(kafka, &stays, &goes, 0).is_some_and(|(at, _)| at == 100)
    });
    delete_topic(kafka, &goes);
    create_again(kafka, &goes, 2);
    workload::produce(&kafka.brokers, &goes, 2, 600..1_600);
    said(&process, &format!("topic {goes} was deleted and created again: it is read from its beginning"));
    eventually("all rows", PATIENCE, || rows(clickhouse, &goes).1 == 1_600);
    workload::produce(&kafka.brokers, &stays, 2, 1_000..1_100);
    holds(clickhouse, &stays, 1_100);
    let text = end(process);
    assert_eq!(text.matches("ERROR").count(), 0, "{text}");
    println!("{property}: {:?} rows and different ones of what was created again", rows(clickhouse, &goes));
    assert_eq!(until_end(&config).0, 0, "all was committed");
    assert_eq!(rows(clickhouse, &goes).1, 1_600);
}

/// Nobody looks for a minute; the place that is not there any more is what tells.
#[test]
fn a_topic_that_is_created_again_at_once_and_shorter() {
    PROTOCOLS.into_iter().for_each(shorter);
}

fn shorter(property: &str) {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("shorter");
    support::topic_and_table(kafka, clickhouse, &name, 2);
    workload::produce(&kafka.brokers, &name, 2, 0..500);
    let config = config(&services, &name, "", property, &format!("{name}: {{}}"));
    let text = std::fs::read_to_string(&config.path).expect("readable");
    std::fs::write(&config.path, text.replace("interval.ms: 500", "interval.ms: 60000")).expect("written");
    let process = start(&config);
    holds(clickhouse, &name, 500);
    eventually("it is committed", PATIENCE, || committed(kafka, &name, &name, 0).is_some_and(|(at, _)| at == 250));
    delete_topic(kafka, &name);
    create_again(kafka, &name, 2);
    workload::produce(&kafka.brokers, &name, 2, 500..600);
    holds(clickhouse, &name, 600);
    let text = end(process);
    println!("{text}");
    assert_eq!(text.matches("ERROR").count(), 0, "{text}");
}

/// What keeps one topic of a pattern from its table is told once; the others go on, and so does it when it is mended.
#[test]
fn a_topic_that_cannot_be_prepared() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("unready");
    let topics = ["good", "bad", "worse"].map(|topic| format!("{name}_{topic}"));
    let [good, bad, worse] = &topics;
    for topic in [good, bad] {
        support::create_topic(kafka, topic, 1, &[]);
        workload::produce(&kafka.brokers, topic, 1, 0..10);
    }
    table(clickhouse, good);
    let config = config(&services, &name, "", "", &format!("/{name}_.*/: {{ create: false }}"));
    let process = start(&config);
    let stopped = |topic: &str| format!("topic stopped: topic {topic}: table {topic} does not exist");
    said(&process, &stopped(bad));
    holds(clickhouse, good, 10);
    support::create_topic(kafka, worse, 1, &[]);
    said(&process, &stopped(worse));
    table(clickhouse, bad);
    holds(clickhouse, bad, 10);
    workload::produce(&kafka.brokers, good, 1, 10..20);
    holds(clickhouse, good, 20);
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    assert_eq!(output.code(), 1, "{output:#?}");
    assert_eq!(output.stderr.matches(&stopped(worse)).count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("rowfall: stopped: topic {worse}: table")), "{}", output.stderr);
    assert!(!output.stderr.contains(&format!("rowfall: stopped: topic {bad}: table")), "{}", output.stderr);
}

/// A commit of the topic before, which landed late or was made by another program, is no offset of this one.
#[test]
fn a_topic_that_was_created_again_between_runs() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("again");
    support::topic_and_table(kafka, clickhouse, &name, 1);
    workload::produce(&kafka.brokers, &name, 1, 0..100);
    let config = config(&services, &name, "", "", &format!("{name}: {{}}"));
    assert_eq!(until_end(&config).0, 100);
    let (offset, note) = committed(kafka, &name, &name, 0).expect("committed");
    assert_eq!(offset, 100);
    let again = |records: std::ops::Range<u64>| {
        delete_topic(kafka, &name);
        create_again(kafka, &name, 1);
        workload::produce(&kafka.brokers, &name, 1, records);
    };
    again(100..250);
    commit(kafka, &name, &name, 0, offset, &note);
    let (moved, text) = until_end(&config);
    assert_eq!(moved, 150);
    let warning = format!(
        "topic {name} was deleted and created again: {name}[0] is read from its beginning, offset 100 was committed of the topic before"
    );
    assert!(text.contains(&warning), "{text}");
    assert_eq!(rows(clickhouse, &name), (250, 250));
    // Shorter than what was committed, and the end is nevertheless not reached before it is read.
    again(250..260);
    commit(kafka, &name, &name, 0, offset, &note);
    assert_eq!(until_end(&config).0, 10);

    // Whose offset it is cannot be told, but it cannot be this topic's.
    again(260..270);
    commit(kafka, &name, &name, 0, 100, "");
    let output = Rowfall::with_config("run", &config, &["--until-end"]).start().wait(PATIENCE);
    assert_eq!(output.code(), 1, "{output:#?}");
    assert!(
        output.stderr.contains(&format!(
            "rowfall: stopped: {name}[0] offset 100: the next offset lies beyond the partition's end 10"
        )),
        "{}",
        output.stderr
    );
}

#[test]
fn an_instance_that_comes_back_disturbs_nobody() {
    comes_back_as_itself(PROTOCOLS[0]);
}

#[test]
fn an_instance_that_comes_back_disturbs_nobody_by_the_new_protocol() {
    comes_back_as_itself(PROTOCOLS[2]);
}

fn comes_back_as_itself(property: &str) {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("instance");
    support::topic_and_table(kafka, clickhouse, &name, 4);
    let of = |instance: &str| {
        let kafka = format!("instance: {instance}, rack: r1,");
        config(&services, &name, &kafka, property, &format!("{name}: {{}}"))
    };
    let (one, two) = (of("one"), of("two"));
    let (first, second) = (start(&one), start(&two));
    [&first, &second].into_iter().for_each(|process| said(process, " assigned: "));
    workload::produce(&kafka.brokers, &name, 4, 0..1_000);
    holds(clickhouse, &name, 1_000);
    std::thread::sleep(2 * SECOND);
    let before = first.said();
    let shares = |text: &str| text.matches(" assigned: ").count() + text.matches(" revoked: ").count();
    end(second);
    let second = start(&two);
    said(&second, " assigned: ");
    workload::produce(&kafka.brokers, &name, 4, 1_000..2_000);
    holds(clickhouse, &name, 2_000);
    std::thread::sleep(3 * SECOND);
    assert_eq!(shares(&first.said()), shares(&before), "{}", first.said());

    // Under the same name once more: one of the two goes, the other goes on.
    let mut both = [second, start(&two)];
    eventually("one of them ends", PATIENCE, || both.iter_mut().any(|process| !process.is_running()));
    let (ended, goes_on): (Vec<_>, Vec<_>) =
        both.into_iter().map(|mut p| (p.is_running(), p)).partition(|(runs, _)| !runs);
    let [(_, ended)] = ended.try_into().map_err(|_| "one").expect("one has ended");
    let output = ended.wait(PATIENCE);
    assert_eq!(output.code(), 1, "{output:#?}");
    let (_, why) = output.stderr.split_once("rowfall: ").expect("it says why");
    assert_eq!(
        why.trim(),
        format!(
            "another process is in the group {name} under the same `kafka.instance`\n  → give each process a `kafka.instance` of its own, or stop the other one; one that was killed is in the group until its session is over"
        )
    );
    workload::produce(&kafka.brokers, &name, 4, 2_000..3_000);
    eventually("all rows", PATIENCE, || rows(clickhouse, &name).1 == 3_000);
    goes_on.into_iter().for_each(|(_, process)| drop(end(process)));
    end(first);
}

#[test]
fn starting_from_a_time_or_an_offset() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("from");
    support::topic_and_table(kafka, clickhouse, &name, 2);
    let producer = workload::producer(&kafka.brokers);
    // Ten seconds apart; partition 0 has twenty records, partition 1 ten.
    let midnight = 1_795_478_400_000; // 2026-11-24T00:00:00Z
    for number in 0..30u64 {
        let (partition, place) = if number < 20 { (0, number) } else { (1, number - 20) };
        let (time, text) = (midnight + i64::try_from(place * 10_000).expect("small"), workload::record(number));
        workload::send(
            &producer,
            BaseRecord::<(), str>::to(&name).partition(partition).timestamp(time).payload(text.as_str()),
        );
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
    let from = |group: &str, start_from: &str| {
        let group = format!("{name}_{group}");
        support::query(clickhouse, &format!("TRUNCATE TABLE {name}"));
        config(&services, &group, &format!("start_from: {start_from},"), "", &format!("{name}: {{}}"))
    };
    let moved = |group: &str, start_from: &str| {
        let config = from(group, start_from);
        let (rows, text) = until_end(&config);
        assert_eq!(until_end(&config).0, 0, "the start was committed");
        (rows, text)
    };
    assert_eq!(moved("midnight", "2026-11-24").0, 30);
    assert_eq!(moved("time", "2026-11-24T00:01:00Z").0, 14 + 4);
    // Behind the newest record of one partition, then of both.
    assert_eq!(moved("late", "2026-11-24T01:02:30+01:00").0, 5);
    assert_eq!(moved("future", "2030-01-01").0, 0);
    assert_eq!(moved("offset", "7").0, 13 + 3);
    let output = Rowfall::with_config("run", &from("beyond", "15"), &["--until-end"]).start().wait(PATIENCE);
    assert_eq!((output.code(), output.stdout.trim().split(' ').next()), (1, Some("5")), "{output:#?}");
    let stopped =
        format!("rowfall: stopped: {name}[1] offset 15: `kafka.start_from: 15` lies beyond the partition's end 10");
    assert!(output.stderr.contains(&stopped), "{}", output.stderr);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&name, 0, Offset::Offset(12)).expect("an offset");
    runtime.block_on(admin(kafka).delete_records(&list, &AdminOptions::new())).expect("deleted");
    let (rows, text) = moved("below", "5");
    assert_eq!(rows, 8 + 5);
    assert!(
        text.contains(&format!("{name}[0] has no record before 12 any more: it is read from there, not from 5")),
        "{text}"
    );
}

#[test]
fn a_paused_topic_is_not_read() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let (read, paused) = (support::unique("read"), support::unique("paused"));
    for name in [&read, &paused] {
        support::topic_and_table(kafka, clickhouse, name, 2);
        workload::produce(&kafka.brokers, name, 2, 0..100);
    }
    let config = config(&services, &read, "", "", &format!("{read}: {{}}, {paused}: {{ paused: true }}"));
    let (moved, text) = until_end(&config);
    assert_eq!(moved, 100);
    let says = format!("topic {paused} is paused: its partitions are taken and not read");
    assert_eq!(text.matches(&says).count(), 1, "{text}");
    let process = start(&config);
    said(&process, &format!("{paused}[1]"));
    workload::produce(&kafka.brokers, &read, 2, 100..200);
    workload::produce(&kafka.brokers, &paused, 2, 100..200);
    holds(clickhouse, &read, 200);
    std::thread::sleep(SECOND);
    end(process);
    assert_eq!(rows(clickhouse, &paused), (0, 0));
    assert_eq!((0..2).filter_map(|p| committed(kafka, &read, &paused, p)).count(), 0);
    let text = std::fs::read_to_string(&config.path).expect("readable").replace("paused: true", "paused: false");
    std::fs::write(&config.path, text).expect("written");
    assert_eq!(until_end(&config).0, 200, "then from where it was");
}

/// A bad record stops its partition, once: not again after each rebalance.
#[test]
fn a_partition_that_stopped_stays_so_over_rebalances() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("stays");
    support::topic_and_table(kafka, clickhouse, &name, 2);
    workload::produce(&kafka.brokers, &name, 2, 0..100);
    support::produce(kafka, &name, 1, &["no JSON"]);
    let config = config(&services, &name, "", PROTOCOLS[0], &format!("{name}: {{}}"));
    let process = start(&config);
    said(&process, &format!("partition stopped: {name}[1] offset 50"));
    holds(clickhouse, &name, 100);
    eventually("what stands before is committed", PATIENCE, || {
        committed(kafka, &name, &name, 1).is_some_and(|c| c.0 == 50)
    });
    let other = start(&config);
    said(&other, " assigned: ");
    said_times(&process, " assigned: ", 2);
    other.signal("TERM");
    other.wait(PATIENCE);
    said(&process, &format!("{name}[1] stays stopped: {name}[1] offset 50"));
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    assert_eq!((output.code(), output.stderr.matches("partition stopped").count()), (1, 1), "{output:#?}");
    assert_eq!(rows(clickhouse, &name), (100, 100));
}
