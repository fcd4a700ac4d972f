//! Kafka's rights: what is missing is said before a row moves, with the statement that mends it; what is withdrawn
//! meanwhile ends what needs it, and nothing else.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use rowfall_services::Kafka;

use crate::claims::{rowfall, until_end};
use crate::support::{self, ConfigFile, Process, Rowfall, eventually, query};
use crate::workload;

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than anything that is refused at once needs, on two busy cores.
const AT_ONCE: Duration = Duration::from_secs(15);

/// A broker where everybody may do everything with what has no rules, and nothing but what they say with what has; and
/// which takes short metadata only.
struct Broker {
    kafka: Kafka,
    _folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let properties = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                          allow.everyone.if.no.acl.found=true\noffset.metadata.max.bytes=300\n";
        std::fs::write(folder.path().join("extra.properties"), properties).expect("written");
        let kafka = Kafka::start_private(folder.path()).expect("a broker of its own");
        Self { kafka, _folder: folder }
    }

    /// From now on everybody may describe these, and nothing else: `--topic NAME` and the like.
    fn allow_describe_only(&self, resources: &[[&str; 2]]) {
        let mut command = self.kafka.tool("org.apache.kafka.tools.AclCommand");
        command.args(["--bootstrap-server", &self.kafka.brokers, "--add", "--allow-principal", "User:ANONYMOUS"]);
        command.args(["--operation", "Describe"]).args(resources.as_flattened());
        let output = command.output().expect("java runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// A topic with 100 records, its table, and the file that moves one into the other; and these topics.
    fn course(&self, name: &str, partitions: i32, others: &[&str]) -> (String, ConfigFile) {
        let services = support::services();
        let name = support::unique(name);
        support::topic_and_table(&self.kafka, &services.clickhouse, &name, partitions);
        workload::produce(&self.kafka.brokers, &name, partitions, 0..100);
        let topics: Vec<_> =
            std::iter::once(&*name).chain(others.iter().copied()).map(|t| format!("{t}: {{}}")).collect();
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}', instance: one }}\ntarget: {{ url: '{}' }}\nworkers: 1\ntopics: {{ {} }}\n",
            self.kafka.brokers,
            support::target(&services.clickhouse),
            topics.join(", "),
        ));
        (name, config)
    }
}

/// From where it says what stopped it, without the name.
fn told(stderr: &str, name: &str) -> String {
    let lines = stderr.lines().skip_while(|line| !line.starts_with("rowfall: "));
    lines.collect::<Vec<_>>().join("\n").replace(name, "NAME")
}

#[test]
fn what_is_missing_is_told_before_a_row_moves() {
    let broker = Broker::start();
    let (id, by_id) = broker.course("id", 2, &[]);
    let (group, by_group) = broker.course("group", 2, &[]);
    let (topic, by_topic) = broker.course("topic", 2, &[]);
    let (fine, by_nothing) = broker.course("fine", 2, &[]);
    broker.allow_describe_only(&[
        ["--transactional-id", &format!("{id}-one")],
        ["--group", &group],
        ["--topic", &topic],
    ]);
    let refused = |name: &str, config: &ConfigFile| {
        let began = Instant::now();
        let run = until_end(config);
        assert!(run.code() == 1 && began.elapsed() < AT_ONCE, "{:?}: {run:#?}", began.elapsed());
        assert_eq!(query(&support::services().clickhouse, &format!("SELECT count() FROM {name}")), "0");
        told(&run.stderr, name)
    };
    let to_do = |name: &str, config: &ConfigFile, code: i32| {
        let check = rowfall("check", config, &[]);
        assert_eq!(check.code(), code, "{check:#?}");
        let lines = check.stdout.lines().chain(check.stderr.lines()).filter(|line| !line.starts_with("ok "));
        lines.collect::<Vec<_>>().join("\n").replace(name, "NAME")
    };
    assert_snapshot!(to_do(&id, &by_id, 3), @"
    to do   not allowed to use the `transactional.id` NAME-one, which exactly-once needs
      → grant WRITE and DESCRIBE on it to this user: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Write --operation Describe --transactional-id NAME-one; or set `delivery: at-least-once`
    ");
    assert_snapshot!(refused(&id, &by_id), @"
    rowfall: not allowed to use the `transactional.id` NAME-one, which exactly-once needs
      → grant WRITE and DESCRIBE on it to this user: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Write --operation Describe --transactional-id NAME-one; or set `delivery: at-least-once`
    ");
    assert_snapshot!(to_do(&group, &by_group, 3), @"
    to do   not allowed to use the consumer group NAME
      → grant READ on it to this user: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Read --group NAME
    ");
    assert_snapshot!(refused(&group, &by_group), @"
    rowfall: not allowed to use the consumer group NAME
      → grant READ on it to this user: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Read --group NAME
    ");
    assert_snapshot!(to_do(&topic, &by_topic, 1), @"
    rowfall: not allowed to read topic NAME
      → grant READ on it to this user: kafka-acls --bootstrap-server … --add --allow-principal User:… --operation Read --topic NAME
    ");
    refused(&topic, &by_topic);
    assert_eq!(to_do(&fine, &by_nothing, 0), "");
    assert_eq!(until_end(&by_nothing).rows(), 100);

    let (many, by_length) = broker.course("many", 40, &[]);
    assert_snapshot!(refused(&many, &by_length).replace(&broker.kafka.brokers, "BROKERS"), @"
    rowfall: the brokers at BROKERS take less than 4096 bytes with an offset, which exactly-once needs
      → set their `offset.metadata.max.bytes` to 4096, as it is by default, or set `delivery: at-least-once`
    ");
}

#[test]
fn what_is_withdrawn_ends_what_needs_it_alone() {
    let services = support::services();
    let broker = Broker::start();
    let (other, _) = broker.course("other", 1, &[]);
    let (id, by_id) = broker.course("id", 1, &[]);
    let (group, by_group) = broker.course("group", 1, &[]);
    let (topic, by_topic) = broker.course("topic", 1, &[&other]);
    let start = |config: &ConfigFile| Rowfall::with_config("run", config, &[]).start();
    let (on_id, on_group, on_topic) = (start(&by_id), start(&by_group), start(&by_topic));
    let rows = |name: &str| query(&services.clickhouse, &format!("SELECT count() FROM {name}"));
    let all = [&id, &group, &topic, &other];
    eventually("rows", PATIENCE, || all.iter().all(|name| rows(name) == "100"));

    broker.allow_describe_only(&[
        ["--transactional-id", &format!("{id}-one")],
        ["--group", &group],
        ["--topic", &topic],
    ]);
    all.iter().for_each(|name| workload::produce(&broker.kafka.brokers, name, 1, 100..200));
    let end = |process: Process, name: &str| {
        let output = process.wait(PATIENCE);
        assert_eq!(output.code(), 1, "{output:#?}");
        told(&output.stderr, name)
    };
    let by_id = end(on_id, &id);
    assert!(by_id.starts_with("rowfall: not allowed to use the `transactional.id` NAME-one"), "{by_id}");
    let by_group = end(on_group, &group);
    assert!(by_group.starts_with("rowfall: not allowed to use the consumer group NAME"), "{by_group}");
    // A transaction that names the topic is refused as a whole: the other one must not wait for it.
    eventually("the other topic goes on", AT_ONCE, || rows(&other) == "200");
    on_topic.signal("TERM");
    let by_topic = end(on_topic, &topic);
    assert!(
        by_topic.starts_with("rowfall: stopped: NAME[0]") && by_topic.contains("not allowed to read topic NAME"),
        "{by_topic}"
    );
    let [(committed, end)] = support::committed_and_end(&broker.kafka, &topic, &other, 1)[..] else { panic!("one") };
    assert_eq!(committed, Some(end), "and is committed");
}
