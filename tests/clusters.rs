//! Two servers as a cluster: rows that are spread over both, and tables that must be on both before the first row.
//!
//! The test server has no Keeper and so no `ON CLUSTER`: the statement is tested as text, and the wait with tables that
//! are made by hand.

use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use rowfall_dialects::connect;
use rowfall_dialects::contract::{
    Advice, Block, Compression, Ddl, Intent, Layout, Op, TableName, Target, Upserts, Values,
};
use rowfall_services::ClickHouse;

use crate::support::{self, Rowfall, query};
use crate::workload;

const CLUSTER: &str = "rowfall_two_shards";

#[test]
fn two_servers_are_one_cluster() {
    const COUNT: u64 = 5000;
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let servers = ClickHouse::start_private_cluster(folder.path(), CLUSTER).expect("servers of its own");
    let name = support::unique("cluster");
    support::create_topic(&services.kafka, &name, 2, &[]);
    workload::produce(&services.kafka.brokers, &name, 2, 0..COUNT);
    for server in &servers {
        query(server, &format!("CREATE TABLE {name}_local ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS));
        query(
            server,
            &format!(
                "CREATE TABLE {name} AS {name}_local \
                 ENGINE = Distributed({CLUSTER}, default, {name}_local, id)"
            ),
        );
    }
    let config = support::one_topic(&services.kafka, &servers[0], &name, "delivery: at-least-once");
    let plan = Rowfall::with_config("plan", &config, &[]).output();
    let note = plan.stdout.lines().find(|line| line.contains("note: ")).unwrap_or_default();
    assert_snapshot!(note.trim(), @"note: Distributed: rows are acknowledged when their shards have them, but an insert is as many inserts as shards: a retry after a lost answer may double its rows on some of them");
    let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(run().rows(), COUNT);
    // At once, not after a queue: the setting is pinned.
    for server in &servers {
        support::assert_holds_exactly(server, &name, COUNT);
        let local = query(server, &format!("SELECT count(), countIf(id % 2 = 0) IN (0, count()) FROM {name}_local"));
        assert_eq!(local, format!("{}\t1", COUNT / 2), "half of the rows are on each");
    }

    // A shard that is away: nothing is acknowledged until it is back.
    servers[1].server.stop().expect("stopped");
    workload::produce(&services.kafka.brokers, &name, 2, COUNT..COUNT + 10);
    let process = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).start();
    support::eventually("a complaint", Duration::from_secs(60), || process.said().contains("on shard 1 replica 0"));
    servers[1].server.start().expect("started again");
    assert_eq!(process.wait(Duration::from_secs(120)).rows(), 10);
    let ids = query(&servers[0], &format!("SELECT uniqExact(id) FROM {name}"));
    assert_eq!(ids, (COUNT + 10).to_string(), "nothing is lost; what the other shard had taken may be twice");

    // The same two servers, for what else needs a server of its own.
    keyed_rows_over_two_shards(&servers);
    graphite(&servers[0]);
    a_queue_is_refused(&servers[0]);
    waits_for_every_server(&servers);
}

/// A Distributed table is what is behind it, as long as the rows of a key meet there.
fn keyed_rows_over_two_shards(servers: &[ClickHouse; 2]) {
    let columns = "(id UInt64, part UInt8, v UInt64, gone UInt8)";
    for server in servers {
        query(server, &format!("CREATE TABLE keyed_local {columns} ENGINE = ReplacingMergeTree(v, gone) ORDER BY id"));
    }
    for (name, sharding) in [("keyed", "cityHash64(id)"), ("keyed_by_part", "part"), ("keyed_by_chance", "rand()")] {
        let engine = format!("Distributed({CLUSTER}, default, keyed_local, {sharding})");
        query(&servers[0], &format!("CREATE TABLE {name} {columns} ENGINE = {engine}"));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let target = Target::parse(&support::target(&servers[0]), Compression::Auto).expect("a URL");
    let session = runtime.block_on(connect(&target)).expect("connected").session;
    let described = |name: &str| {
        let name = TableName { schema: None, name: name.into() };
        runtime.block_on(session.describe(&name)).expect("described").expect("there")
    };
    let schema = described("keyed");
    let (key, version, deleted) = (vec!["id".into()], Some("v".into()), Some("gone".into()));
    assert_eq!(schema.upserts, Upserts::Versions { key, version, deleted, partial: false });
    for (name, sharding) in [("keyed_by_part", "part"), ("keyed_by_chance", "rand()")] {
        let Upserts::Never { why, .. } = described(name).upserts else { panic!("{name} would mix shards") };
        assert!(why.contains(&format!("shards by {sharding}, not by the key")), "{why}");
    }
    let layout = Arc::new(Layout { key: [0].into(), ..Layout::new(Arc::new(schema), [0, 1, 2]) });
    for (version, op) in [(1, Op::Upsert), (2, Op::Delete)] {
        let mut columns = layout.empty_columns();
        // The second time every other one is deleted.
        let ids: Vec<u64> = (0..1000).filter(|id| version == 1 || id % 2 == 0).collect();
        columns[1].values = Values::UInt8(ids.iter().map(|id| u8::from(id % 3 == version)).collect());
        columns[2].values = Values::UInt64(vec![version; ids.len()]);
        let (rows, ops) = (ids.len(), vec![op; ids.len()]);
        columns[0].values = Values::UInt64(ids);
        let block = Block { ops, ..Block::new(Arc::clone(&layout), columns, rows) };
        runtime.block_on(session.write(&[&block], None)).expect("written");
    }
    assert_eq!(query(&servers[0], "SELECT count(), sum(id % 2) FROM keyed FINAL"), "500\t500");
    assert_ne!(query(&servers[1], "SELECT count() FROM keyed_local FINAL"), "0", "both have some");
}

fn graphite(server: &ClickHouse) {
    let services = support::services();
    let name = support::unique("graphite");
    support::create_topic(&services.kafka, &name, 1, &[]);
    let records = [r#"{"Path":"a.b","Time":1700000040,"Value":1.5}"#, r#"{"Path":"a.c","Time":1700000100,"Value":2}"#];
    support::produce(&services.kafka, &name, 0, &records);
    let columns = "Path String, Time DateTime('UTC'), Value Float64, Timestamp DateTime DEFAULT 0";
    let engine = "GraphiteMergeTree('graphite_rollup') ORDER BY (Path, Time)";
    query(server, &format!("CREATE TABLE {name} ({columns}) ENGINE = {engine}"));
    let config = support::one_topic(&services.kafka, server, &name, "");
    let output = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(output.rows(), 2);
    let rows = query(server, &format!("SELECT Path, toUnixTimestamp(Time), Value FROM {name} ORDER BY Path"));
    assert_eq!(rows, "a.b\t1700000040\t1.5\na.c\t1700000100\t2");
}

fn a_queue_is_refused(server: &ClickHouse) {
    let services = support::services();
    let name = support::unique("queue");
    support::create_topic(&services.kafka, &name, 1, &[]);
    // The test server complains and makes it all the same; it does not start again with one.
    let _ = server.query(&format!("CREATE TABLE {name} (id UInt64) ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'CSV')"));
    let config = support::one_topic(&services.kafka, server, &name, "");
    let output = Rowfall::with_config("check", &config, &[]).output();
    query(server, &format!("DROP TABLE {name} SYNC"));
    assert_snapshot!(output.stderr.replace(&name, "NAME").trim(), @"
    rowfall: topic NAME into table NAME: default.NAME is a Kafka, which is a queue that would send the rows back to Kafka
      → name the table that its materialized view fills, and drop both: rowfall takes their place
    ");
}

fn waits_for_every_server(servers: &[ClickHouse; 2]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let target = Target::parse(&support::target(&servers[0]), Compression::Auto).expect("a URL");
    let connection = runtime.block_on(connect(&target)).expect("connected");
    let table = TableName { schema: Some("shop".into()), name: "late".into() };
    servers.iter().for_each(|server| _ = query(server, "CREATE DATABASE shop"));
    let columns = "id UInt64, note String DEFAULT 'x', day Date MATERIALIZED today()";
    let make = format!("CREATE TABLE shop.late ({columns}) ENGINE = MergeTree ORDER BY id");
    query(&servers[0], &make);
    let look = |cluster: &str| {
        runtime.block_on(async {
            let schema = connection.session.describe(&table).await.expect("described").expect("there");
            let intent = Intent::Write { table: &schema, keyed: false, cluster: Some(cluster) };
            connection.session.check(intent).await.expect("checked")
        })
    };
    let wait = || {
        let nothing = Ddl { cluster: Some(CLUSTER.into()), ..Ddl::new(table.clone(), Vec::new()) };
        runtime.block_on(connection.session.execute(&nothing))
    };
    let host = query(&servers[0], "SELECT hostName()");
    let message = |cluster: &str| {
        let mut problems = look(cluster);
        let error = problems.pop().expect("it is not everywhere");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(error.advice == Advice::Retry, cluster == CLUSTER, "{error}");
        format!("{error}\n{}", error.hint.as_deref().unwrap_or_default()).replace(&host, "HOST")
    };
    assert_snapshot!(message(CLUSTER), @"
    shop.late is not the same on every server of cluster rowfall_two_shards: HOST (server 2) lacks the table
    look into system.distributed_ddl_queue for what keeps that server, or make the table there as it is here
    ");
    assert_snapshot!(message("no_such"), @"
    code 701: cannot see whether every server of cluster no_such has shop.late: Requested cluster 'no_such' not found (CLUSTER_DOESNT_EXIST)
    `SELECT cluster FROM system.clusters` lists the ones that this server knows
    ");

    std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(700));
            query(&servers[1], "CREATE TABLE shop.late (id UInt64) ENGINE = MergeTree ORDER BY id");
            std::thread::sleep(Duration::from_millis(700));
            assert_snapshot!(message(CLUSTER), @"
            shop.late is not the same on every server of cluster rowfall_two_shards: HOST (server 2) lacks column note
            look into system.distributed_ddl_queue for what keeps that server, or make the table there as it is here
            ");
            query(&servers[1], "ALTER TABLE shop.late ADD COLUMN note Int8, ADD COLUMN day Date");
            std::thread::sleep(Duration::from_millis(700));
            assert_snapshot!(message(CLUSTER), @"
            shop.late is not the same on every server of cluster rowfall_two_shards: HOST (server 2) has column note as Int8, not String
            look into system.distributed_ddl_queue for what keeps that server, or make the table there as it is here
            ");
            query(&servers[1], "DROP TABLE shop.late SYNC");
            query(&servers[1], &make);
        });
        let begun = std::time::Instant::now();
        wait().expect("everywhere in the end");
        assert!(begun.elapsed() > Duration::from_secs(2), "it did not wait");
        late.join().expect("made");
    });

    // A server that is away counts as one that is behind.
    servers[1].server.stop().expect("stopped");
    let error = look(CLUSTER).pop().expect("a server is away");
    assert_eq!((error.advice, error.code.as_deref()), (Advice::Retry, Some("279")), "{error}");
    servers[1].server.start().expect("started again");
    wait().expect("everywhere again");
}
