//! Writing to ClickHouse under every load: several hosts, hosts that are woken up, more partitions than an insert may
//! touch, merges that fall behind, compression.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{
    Advice, Block, Column, Compression, Connection, Layout, Mark, TableName, Target, Values,
};
use rowfall_services::ClickHouse;

use crate::front::Front;
use crate::load::Load;
use crate::support::{self, ConfigFile, Rowfall, eventually};
use crate::workload;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// One topic into the table of its name at this target.
fn into(url: &str, brokers: &str, name: &str, target: &str, more: &str) -> ConfigFile {
    support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{brokers}' }}\ntarget: {{ url: '{url}', {target} }}\n\
         topics: {{ {name}: {{}} }}\n{more}\n"
    ))
}

fn url(clickhouse: &ClickHouse, ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("clickhouse://{}:{}@{}/default", clickhouse.user, clickhouse.password, hosts.join(","))
}

fn rows(clickhouse: &ClickHouse, name: &str) -> u64 {
    // None while it is away.
    clickhouse.query(&format!("SELECT count() FROM {name}")).map_or(0, |count| count.trim().parse().expect("a number"))
}

#[test]
fn a_host_that_is_killed_is_left_out_and_taken_back() {
    let services = support::services();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [one, two] = folders.each_ref().map(|f| ClickHouse::start_private(f.path()).expect("a server of its own"));
    let name = support::unique("hosts");
    support::topic_and_table(&services.kafka, &one, &name, 4);
    let create = format!("CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS);
    support::query(&two, &create);
    let url = url(&one, &[one.http_port, two.http_port]);
    let config =
        into(&url, &services.kafka.brokers, &name, "wait: 0s", "batch: { age: 200ms }\ndelivery: at-least-once");
    let load = Load::start(&services.kafka, &name, 4, 10_000);
    let process = Rowfall::with_config("run", &config, &["--output", "json"]).start();
    eventually("rows on both", PATIENCE, || rows(&one, &name) > 5_000 && rows(&two, &name) > 5_000);

    two.server.kill9().expect("killed");
    let before = rows(&one, &name);
    eventually("the other takes all", PATIENCE, || rows(&one, &name) > before + 30_000);
    two.server.start().expect("started again");
    let before = rows(&two, &name);
    eventually("it has rows again", PATIENCE, || rows(&two, &name) > before + 10_000);

    let count = load.end();
    let ids = |clickhouse: &ClickHouse| support::query(clickhouse, &format!("SELECT id FROM {name} FORMAT TSV"));
    let all = || rows(&one, &name) + rows(&two, &name);
    eventually("all rows", PATIENCE, || all() >= count);
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    assert_eq!(output.code(), 0, "{output:#?}");
    assert!(output.stderr.lines().count() <= 30, "a calm log: {}", output.stderr);
    Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output().rows();

    // Read, not counted: a number that is there twice must not stand for one that is lost.
    let mut numbers: Vec<u64> = [&one, &two]
        .iter()
        .flat_map(|clickhouse| ids(clickhouse).lines().map(|id| id.parse().expect("a number")).collect::<Vec<_>>())
        .collect();
    let total = numbers.len() as u64;
    numbers.sort_unstable();
    numbers.dedup();
    println!("{count} produced, {total} rows on both, {} different; {}", numbers.len(), output.stderr);
    assert!(numbers.iter().copied().eq(0..count), "nothing is lost");
    // What was under way when the host died may have been stored by it and sent again.
    assert!(total - count < 50_000, "{} doubled", total - count);
}

#[test]
fn hosts_with_different_tables_are_refused_by_name() {
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let other = ClickHouse::start_private(folder.path()).expect("a server of its own");
    let name = support::unique("unlike");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 1);
    let url = url(&services.clickhouse, &[services.clickhouse.http_port, other.http_port]);
    let config = into(&url, &services.kafka.brokers, &name, "wait: 0s", "");
    let check = || {
        let output = Rowfall::with_config("run", &config, &["--until-end"]).output();
        assert_eq!(output.code(), 1, "{output:#?}");
        output.stderr
    };
    let missing = check();
    let endpoint = format!("http://127.0.0.1:{}", other.http_port);
    assert!(
        missing.contains(&format!("{endpoint}: default.{name} does not exist here, but on another host")),
        "{missing}"
    );
    support::query(&other, &format!("CREATE TABLE {name} (id UInt32) ENGINE = MergeTree ORDER BY id"));
    let differs = check();
    assert!(
        differs.contains(&format!("{endpoint}: default.{name} is not the same table as on another host")),
        "{differs}"
    );
    assert!(differs.contains("it differs in column id"), "{differs}");
    assert!(differs.contains("a replica of it, or a Distributed table over it"), "{differs}");
}

#[test]
fn a_run_waits_for_a_service_that_is_being_woken_up() {
    let services = support::services();
    let name = support::unique("woken");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 2);
    workload::produce(&services.kafka.brokers, &name, 2, 0..1_000);
    let front = Front::start(services.clickhouse.http_port);
    front.answer("503 Service Unavailable", "{\"message\": \"instance is waking up\"}");
    let url = url(&services.clickhouse, &[front.port]);

    let config = into(&url, &services.kafka.brokers, &name, "wait: 0s", "");
    let output = Rowfall::with_config("run", &config, &["--until-end"]).output();
    assert_eq!(output.code(), 1, "{output:#?}");
    assert!(output.stderr.contains("answered: waking up"), "{}", output.stderr);

    let config = into(&url, &services.kafka.brokers, &name, "wait: 1m", "");
    let process = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).start();
    eventually("it tries again", PATIENCE, || front.refused() >= 3);
    assert!(process.said().contains("for the target to answer (`target.wait`)"), "{}", process.said());
    front.pass();
    assert_eq!(process.wait(PATIENCE).rows(), 1_000);
    support::assert_holds_exactly(&services.clickhouse, &name, 1_000);
}

#[test]
fn a_wait_for_the_target_ends_with_a_signal() {
    let services = support::services();
    let name = support::unique("waiting");
    let config = into("clickhouse://127.0.0.1:1/x", &services.kafka.brokers, &name, "wait: 1m", "");
    let process = Rowfall::with_config("run", &config, &["--output", "json"]).start();
    eventually("it waits", PATIENCE, || process.said().contains("`target.wait`"));
    process.signal("TERM");
    let asked = Instant::now();
    assert_eq!(process.wait(PATIENCE).rows(), 0);
    assert!(asked.elapsed() < 3 * SECOND);
}

#[test]
fn a_proxy_that_has_no_server_for_a_while_is_waited_for() {
    let services = support::services();
    let name = support::unique("proxy");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 2);
    let front = Front::start(services.clickhouse.http_port);
    let url = url(&services.clickhouse, &[front.port]);
    let config = into(&url, &services.kafka.brokers, &name, "wait: 0s", "batch: { age: 100ms }");
    let process = Rowfall::with_config("run", &config, &["--output", "json"]).start();
    workload::produce(&services.kafka.brokers, &name, 2, 0..1_000);
    eventually("rows", PATIENCE, || rows(&services.clickhouse, &name) == 1_000);
    for (status, body, records) in [
        ("429 Too Many Requests", "", 1_000..2_000),
        ("502 Bad Gateway", "<html><h1>Bad Gateway</h1></html>", 2_000..3_000),
        ("504 Gateway Time-out", "", 3_000..4_000),
    ] {
        let refused = front.refused();
        front.answer(status, body);
        // Longer than an idle connection is kept.
        std::thread::sleep(3 * SECOND);
        let end = records.end;
        workload::produce(&services.kafka.brokers, &name, 2, records);
        eventually("refusals", PATIENCE, || front.refused() > refused);
        front.pass();
        eventually("rows", PATIENCE, || rows(&services.clickhouse, &name) >= end);
    }
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE).rows(), 4_000);
    support::assert_holds_exactly(&services.clickhouse, &name, 4_000);
}

/// Moves 50,000 records into a table that is partitioned like this, and asks how many inserts that took.
fn partitioned(name: &str, columns: &str, partition_by: &str) -> u64 {
    let services = support::services();
    let name = support::unique(name);
    support::create_topic(&services.kafka, &name, 1, &[]);
    let create = format!(
        "CREATE TABLE {name} ({}{columns}) ENGINE = MergeTree PARTITION BY {partition_by} ORDER BY id",
        workload::COLUMNS
    );
    support::query(&services.clickhouse, &create);
    workload::produce(&services.kafka.brokers, &name, 1, 0..50_000);
    // One unit, so that the cuts are known.
    let url = support::target(&services.clickhouse);
    let config = into(&url, &services.kafka.brokers, &name, "wait: 0s", "batch: { age: 5s, rows: 50000 }\nworkers: 1");
    let output = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(output.rows(), 50_000);
    support::assert_holds_exactly(&services.clickhouse, &name, 50_000);
    inserts(&services.clickhouse, &name)
}

/// How many were done into this table.
fn inserts(clickhouse: &ClickHouse, name: &str) -> u64 {
    support::query(clickhouse, "SYSTEM FLUSH LOGS query_log");
    let inserts = format!(
        "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' AND query_kind = 'Insert' \
         AND has(tables, 'default.{name}')"
    );
    support::query(clickhouse, &inserts).parse().expect("a number")
}

/// A claim has room for 64 partitions: a batch of 150 is three of them, not one whenever the 65th comes.
#[test]
fn partitions_that_take_turns_are_few_inserts_however_many_they_are() {
    const PARTITIONS: i32 = 150;
    const ROUND: u64 = 600;
    let services = support::services();
    let name = support::unique("turns");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, PARTITIONS);
    // What is acknowledged together is a batch of its own in each partition, and a fetch has room for one of each.
    for round in 0..20 {
        workload::produce(&services.kafka.brokers, &name, PARTITIONS, round * ROUND..(round + 1) * ROUND);
    }
    let config = support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}', properties: {{ fetch.message.max.bytes: 1024 }} }}\n\
         target: {{ url: '{}' }}\ntopics: {{ {name}: {{}} }}\nbatch: {{ age: 60s }}\nworkers: 1\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    let output = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(output.rows(), 20 * ROUND);
    support::assert_holds_exactly(&services.clickhouse, &name, 20 * ROUND);
    assert_eq!(inserts(&services.clickhouse, &name), 3);
}

#[test]
fn a_block_of_too_many_partitions_is_cut() {
    assert_eq!(partitioned("partitions", "", "id % 250"), 3, "250 partitions, 100 at a time");
}

#[test]
fn a_partition_key_that_the_server_computes_is_cut_too() {
    // Neither is in the records.
    let columns = ", bucket UInt16 MATERIALIZED intDiv(id, 250), half Int8 DEFAULT toInt8(bucket % 2)";
    assert_eq!(partitioned("computed", columns, "(bucket, half)"), 2, "200 partitions");
    let columns = ", kind LowCardinality(String) DEFAULT concat(event, toString(id % 30))";
    assert_eq!(partitioned("text", columns, "cityHash64(kind)"), 1, "30 partitions are none too many");
}

#[test]
fn a_partition_key_that_some_records_lack_is_cut_too() {
    let services = support::services();
    let name = support::unique("gaps");
    support::create_topic(&services.kafka, &name, 1, &[]);
    let create = format!(
        "CREATE TABLE {name} (id UInt64, day UInt16 DEFAULT id % 150) ENGINE = MergeTree PARTITION BY day ORDER BY id"
    );
    support::query(&services.clickhouse, &create);
    let record = |id: u32| match id % 2 {
        0 => format!(r#"{{"id":{id}}}"#),
        _ => format!(r#"{{"id":{id},"day":{}}}"#, 1_000 + id % 50),
    };
    let records: Vec<_> = (0..1_000).map(record).collect();
    support::produce(&services.kafka, &name, 0, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let config = into(&support::target(&services.clickhouse), &services.kafka.brokers, &name, "wait: 0s", "");
    let output = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(output.rows(), 1_000);
    let wrong = "countIf(day != if(id % 2 = 0, id % 150, 1000 + id % 50))";
    let found = format!("SELECT count(), uniqExact(id), {wrong}, uniqExact(day) FROM {name}");
    assert_eq!(support::query(&services.clickhouse, &found), "1000\t1000\t0\t100");
}

/// A direct connection, and a table with these columns.
fn connected(
    clickhouse: &ClickHouse,
    runtime: &tokio::runtime::Runtime,
    url: &str,
    columns: &str,
) -> (Connection, Layout) {
    let name = support::unique("blocks");
    support::query(clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY tuple()"));
    support::query(clickhouse, &format!("SYSTEM STOP MERGES {name}"));
    let target = Target::parse(url, Compression::Auto).expect("a URL");
    let connection = runtime.block_on(rowfall_dialects::connect(&target)).expect("connected");
    let table = runtime.block_on(connection.session.describe(&TableName { schema: None, name })).expect("described");
    let table = Arc::new(table.expect("it is there"));
    let targets: Vec<_> = (0..table.columns.len()).collect();
    (connection, Layout::new(table, targets))
}

fn parts(clickhouse: &ClickHouse, layout: &Layout) -> String {
    let name = &layout.table.name.name;
    let active = format!("SELECT count(), sum(rows) FROM system.parts WHERE active AND table = '{name}'");
    support::query(clickhouse, &active)
}

/// What atomicity rests on: rows of one insert, in one partition, are one part.
#[test]
fn an_insert_is_one_part_however_many_rows_it_has() {
    const ROWS: usize = 2_100_000;
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let numbers = || Values::UInt64((0..ROWS as u64).collect());
    let write = |connection: &Connection, block: &Block| {
        let receipt = runtime.block_on(connection.session.write(&[block], None)).expect("written");
        assert_eq!(receipt.rows, ROWS);
        parts(&clickhouse, &block.layout)
    };

    let small_blocks = format!("{}?max_insert_block_size=1000", support::target(&clickhouse));
    let (connection, layout) = connected(&clickhouse, &runtime, &small_blocks, "n UInt64");
    let mut columns = layout.empty_columns();
    columns[0].values = numbers();
    let block = Block::new(Arc::new(layout), columns, ROWS);
    assert_eq!(write(&connection, &block), format!("1\t{ROWS}"), "one Native block");

    // The rows without a list travel apart from those with one.
    let url = support::target(&clickhouse);
    let (connection, layout) = connected(&clickhouse, &runtime, &url, "n UInt64, list Array(UInt8) DEFAULT [1]");
    let mut columns = layout.empty_columns();
    columns[0].values = numbers();
    let third = ROWS / 3;
    for row in 0..ROWS {
        match &mut columns[1] {
            list @ Column { .. } if row / third != 1 => list.push_mark(Mark::Absent),
            Column { values: Values::List(list), .. } => list.end_row(),
            _ => unreachable!(),
        }
    }
    let block = Block::new(Arc::new(layout), columns, ROWS);
    assert_eq!(write(&connection, &block), format!("1\t{ROWS}"), "three Native blocks");
    let lists = format!("SELECT countIf(list = [1]), countIf(empty(list)) FROM {}", block.layout.table.name);
    assert_eq!(support::query(&clickhouse, &lists), format!("{}\t{third}", 2 * third));
}

#[test]
fn the_same_block_is_cut_in_the_same_way_until_the_limit_is_another() {
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let target = format!("{}?max_partitions_per_insert_block=10", support::target(&clickhouse));
    let name = support::unique("cuts");
    let create = format!("CREATE TABLE {name} (n UInt64) ENGINE = MergeTree PARTITION BY n % 25 ORDER BY n");
    support::query(&clickhouse, &create);
    let target = Target::parse(&target, Compression::Auto).expect("a URL");
    let session = runtime.block_on(rowfall_dialects::connect(&target)).expect("connected").session;
    let table = runtime.block_on(session.describe(&TableName { schema: None, name })).expect("described");
    let layout = Layout::new(Arc::new(table.expect("it is there")), [0]);
    let mut columns = layout.empty_columns();
    columns[0].values = Values::UInt64((0..1_000).collect());
    let block = Block::new(Arc::new(layout), columns, 1_000);

    let cut = || runtime.block_on(session.cut(&block)).expect("cut");
    assert_eq!(cut(), None, "nothing was refused yet");
    assert_eq!(runtime.block_on(session.write(&[&block], None)).expect_err("refused").advice, Advice::Cut);
    let pieces = cut().expect("pieces");
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [400, 400, 200]);
    assert_eq!(cut().as_ref(), Some(&pieces));
    for piece in &pieces {
        runtime.block_on(session.write(&[&block.gather(piece)], None)).expect("written");
    }
    let sums = format!("SELECT count(), uniqExact(n) FROM {}", block.layout.table.name);
    assert_eq!(support::query(&clickhouse, &sums), "1000\t1000");
}

#[test]
fn merges_that_fall_behind_slow_a_table_down_and_lose_nothing() {
    let services = support::services();
    let name = support::unique("parts");
    support::create_topic(&services.kafka, &name, 4, &[]);
    let create = format!(
        "CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id \
         SETTINGS parts_to_delay_insert = 8, parts_to_throw_insert = 15",
        workload::COLUMNS
    );
    support::query(&services.clickhouse, &create);
    support::query(&services.clickhouse, &format!("SYSTEM STOP MERGES {name}"));
    let url = support::target(&services.clickhouse);
    let config = into(
        &url,
        &services.kafka.brokers,
        &name,
        "wait: 0s",
        "batch: { age: 50ms }\nworkers: 4\ndelivery: at-least-once",
    );
    let load = Load::start(&services.kafka, &name, 4, 5_000);
    let process = Rowfall::with_config("run", &config, &["--output", "json"]).start();
    eventually("refusals", PATIENCE, || process.said().contains("the database falls behind"));
    std::thread::sleep(5 * SECOND);
    let refusals = format!(
        "SELECT count() FROM system.query_log WHERE exception_code = 252 AND query LIKE '%INSERT INTO%{name}%'"
    );
    support::query(&services.clickhouse, "SYSTEM FLUSH LOGS query_log");
    let refused: u64 = support::query(&services.clickhouse, &refusals).parse().expect("a number");
    support::query(&services.clickhouse, &format!("SYSTEM START MERGES {name}"));
    let before = rows(&services.clickhouse, &name);
    eventually("rows again", PATIENCE, || rows(&services.clickhouse, &name) > before + 10_000);
    let count = load.end();
    eventually("all rows", PATIENCE, || rows(&services.clickhouse, &name) >= count);
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    println!("{count} records, {refused} refusals; {}", output.stderr);
    assert!(refused < 200, "{refused} refusals of up to 16 inserts at a time");
    assert_eq!(output.stderr.matches("the database falls behind").count(), 1, "one line: {}", output.stderr);
    assert!(output.stderr.contains("merges do not keep up"), "{}", output.stderr);
    assert_eq!(output.rows(), count);
    support::assert_holds_exactly(&services.clickhouse, &name, count);
}

#[test]
fn each_compression_sends_the_same_rows_in_fewer_bytes() {
    const RECORDS: u64 = 50_000;
    let services = support::services();
    let sent = ["none", "lz4", "zstd"].map(|compression| {
        let name = support::unique(compression);
        support::topic_and_table(&services.kafka, &services.clickhouse, &name, 1);
        workload::produce(&services.kafka.brokers, &name, 1, 0..RECORDS);
        let front = Front::start(services.clickhouse.http_port);
        let url = url(&services.clickhouse, &[front.port]);
        let target = format!("compression: {compression}, wait: 0s");
        let config = into(&url, &services.kafka.brokers, &name, &target, "batch: { rows: 50000, age: 5s }");
        let output = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
        assert_eq!(output.rows(), RECORDS);
        support::assert_holds_exactly(&services.clickhouse, &name, RECORDS);
        front.sent()
    });
    let [none, lz4, zstd] = sent;
    println!("bytes on the wire: none {none}, lz4 {lz4}, zstd {zstd}");
    assert!(lz4 < none * 2 / 3, "{sent:?}");
    assert!(zstd < lz4 * 3 / 4, "{sent:?}");
}
