//! Two processes under one name: each takes the other's transactions from it, and it is told, not hidden.

use std::time::Duration;

use insta::assert_snapshot;

use crate::claims::until_end;
use crate::load::Load;
use crate::support::{self, Process, Rowfall, eventually, query};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until one of them has ended; it and the other.
fn first_to_end(mut one: Process, mut other: Process) -> (Process, Process) {
    let mut is_first = false;
    eventually("one of them ends", PATIENCE, || {
        is_first = !one.is_running();
        is_first || !other.is_running()
    });
    if is_first { (one, other) } else { (other, one) }
}

/// Hosts of one name, as containers may have: each takes the first number that is free on it.
#[test]
fn processes_of_hosts_with_one_name_do_not_go_on_taking_each_others_transactions() {
    let services = support::services();
    let name = support::unique("hosts");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 4);
    let config = support::one_topic(&services.kafka, &services.clickhouse, &name, "batch: { age: 200ms }\nworkers: 2");
    let load = Load::start(&services.kafka, &name, 4, 2_000);
    let hosts = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let start = |host: &tempfile::TempDir| {
        let host = host.path().to_str().expect("UTF-8");
        Rowfall::with_config("run", &config, &["--output", "json"]).env("TMPDIR", host).start()
    };
    let (ended, other) = first_to_end(start(&hosts[0]), start(&hosts[1]));
    let ended = ended.wait(PATIENCE);
    assert_eq!(ended.code(), 1, "{ended:#?}");
    let fenced = format!("another process has taken the `transactional.id` {name}-");
    assert!(ended.stderr.matches(&fenced).count() >= 4, "it is told each time: {}", ended.stderr);
    let said = ended.stderr.lines().skip_while(|line| !line.starts_with("rowfall: ")).collect::<Vec<_>>().join("\n");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_snapshot!(said.replace(&name, "NAME").replace(host.trim(), "HOST"), @"
    rowfall: another process commits under the same `transactional.id` NAME-HOST-0
      → stop the other one, or give each process a `kafka.instance` of its own: without one it is called as its host is, and hosts may have one name
    ");
    // The other one may have counted as often, and then it has ended, too; nothing hangs on which of them does.
    other.signal("TERM");
    let other = other.wait(PATIENCE);
    println!("the one that ended:\n{}\nthe other:\n{}", ended.stderr, other.stderr);
    let count = load.end();
    until_end(&config).rows();
    support::assert_holds_exactly(&services.clickhouse, &name, count);
}

/// A name that was given twice: the group lets the later one in, and the earlier one ends.
#[test]
fn of_two_members_of_one_name_the_group_keeps_the_later() {
    let services = support::services();
    let name = support::unique("names");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 2);
    let config = support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}', instance: one }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{}} }}\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    let load = Load::start(&services.kafka, &name, 2, 2_000);
    let start = || Rowfall::with_config("run", &config, &["--output", "json"]).start();
    let rows = || query(&services.clickhouse, &format!("SELECT count() FROM {name}"));
    let earlier = start();
    eventually("rows", PATIENCE, || rows() != "0");
    let later = start();
    let ended = earlier.wait(PATIENCE);
    assert_eq!(ended.code(), 1, "{ended:#?}");
    assert!(ended.stderr.contains("under the same `kafka.instance`"), "{}", ended.stderr);
    let before = rows();
    eventually("the later one goes on", PATIENCE, || rows() != before);
    later.signal("TERM");
    later.wait(PATIENCE).rows();
    let count = load.end();
    until_end(&config).rows();
    support::assert_holds_exactly(&services.clickhouse, &name, count);
}
