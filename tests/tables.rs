//! Every table: created as the route says, of every engine that the test server has, with columns that are filled in
//! other ways than by a field of their name.

use insta::assert_snapshot;
use rowfall_services::{ClickHouse, Services};

use crate::support::{self, Output, Rowfall, query};
use crate::workload;

/// What a command prints, with whatever differs from run to run replaced.
fn said(services: &Services, name: &str, command: &str, config: &support::ConfigFile) -> String {
    let output = Rowfall::with_config(command, config, &[]).output();
    let said = if output.code() == 1 { &output.stderr } else { &output.stdout };
    said.replace(name, "NAME")
        .replace(&services.kafka.brokers, "KAFKA")
        .replace(&format!("127.0.0.1:{}", services.clickhouse.http_port), "SERVER")
        .replace(&query(&services.clickhouse, "SELECT version()"), "VERSION")
        .trim()
        .to_owned()
}

fn run(config: &support::ConfigFile) -> Output {
    Rowfall::with_config("run", config, &["--until-end", "--output", "json"]).output()
}

fn topic(services: &Services, values: &[&str]) -> String {
    let name = support::unique("tables");
    support::create_topic(&services.kafka, &name, 1, &[]);
    support::produce(&services.kafka, &name, 0, values);
    name
}

#[test]
fn a_table_is_created_with_everything_that_the_route_says() {
    let services = support::services();
    let name = topic(&services, &[r#"{"id":7,"at":"2024-02-29T12:00:00Z","note":null,"tags":["a"]}"#]);
    let config = support::topic_with(
        &services,
        &name,
        r#"{
    columns: {
      id: { type: uint64, nullable: false, codec: "Delta, ZSTD(3)", comment: "the shop's number" },
      at: { type: timestamp(3), nullable: false, default: now64(3) },
      note: { type: string, default: "'none'", ttl: toDateTime(at) + INTERVAL 100 YEAR },
      pages: { type: uint32, default: 2 + 2 },
      tags: { type: Array(String), nullable: true } },
    clickhouse: {
      engine: ReplacingMergeTree(at),
      order_by: [id, cityHash64(id)], primary_key: id, partition_by: toYear(at), sample_by: id,
      ttl: toDateTime(at) + INTERVAL 200 YEAR,
      indexes: { by_note: note TYPE bloom_filter(0.01) GRANULARITY 4 },
      projections: { by_year: "SELECT toYear(at), count() GROUP BY toYear(at)" },
      settings: { deduplicate_merge_projection_mode: drop },
      comment: "made by rowfall's test" } }"#,
    );
    assert_snapshot!(said(&services, &name, "plan", &config), @r"
    topic NAME (1 partition) → table NAME: to be created
      columns as `topics.NAME.columns` says

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` UInt64 COMMENT 'the shop\'s number' CODEC(Delta, ZSTD(3)),
            `at` DateTime64(3, 'UTC') DEFAULT now64(3),
            `note` Nullable(String) DEFAULT 'none' TTL toDateTime(at) + INTERVAL 100 YEAR,
            `pages` Nullable(UInt32) DEFAULT 2 + 2,
            `tags` Array(String),
            INDEX `by_note` note TYPE bloom_filter(0.01) GRANULARITY 4,
            PROJECTION `by_year` (SELECT toYear(at), count() GROUP BY toYear(at))
        )
        ENGINE = ReplacingMergeTree(at)
        PARTITION BY toYear(at)
        PRIMARY KEY id
        ORDER BY (id, cityHash64(id))
        SAMPLE BY id
        TTL toDateTime(at) + INTERVAL 200 YEAR
        SETTINGS non_replicated_deduplication_window = 25000, deduplicate_merge_projection_mode = 'drop'
        COMMENT 'made by rowfall\'s test';
      note: column `tags` will not be nullable: ClickHouse has no nullable Array(String)

      id     →  id UInt64                exact  must be in the record
      at     →  at DateTime64(3, 'UTC')  exact  DEFAULT where the record lacks it
      note   →  note Nullable(String)           DEFAULT where the record lacks it
      pages  →  pages Nullable(UInt32)          DEFAULT where the record lacks it
      tags   →  tags Array(String)       exact  must be in the record
      tried with 1 record: all fit
    ");
    assert_eq!(run(&config).rows(), 1);
    let made = query(&services.clickhouse, &format!("SHOW CREATE TABLE {name} FORMAT TSVRaw"));
    assert_snapshot!(made.replace(&name, "NAME"), @r"
    CREATE TABLE default.NAME
    (
        `id` UInt64 COMMENT 'the shop\'s number' CODEC(Delta(8), ZSTD(3)),
        `at` DateTime64(3, 'UTC') DEFAULT now64(3),
        `note` Nullable(String) DEFAULT 'none' TTL toDateTime(at) + toIntervalYear(100),
        `pages` Nullable(UInt32) DEFAULT 2 + 2,
        `tags` Array(String),
        INDEX by_note note TYPE bloom_filter(0.01) GRANULARITY 4,
        PROJECTION by_year
        (
            SELECT
                toYear(at),
                count()
            GROUP BY toYear(at)
        )
    )
    ENGINE = ReplacingMergeTree(at)
    PARTITION BY toYear(at)
    PRIMARY KEY id
    ORDER BY (id, cityHash64(id))
    SAMPLE BY id
    TTL toDateTime(at) + toIntervalYear(200)
    SETTINGS non_replicated_deduplication_window = 25000, deduplicate_merge_projection_mode = 'drop', index_granularity = 8192
    COMMENT 'made by rowfall\'s test'
    ");
    let rows = query(&services.clickhouse, &format!("SELECT id, at, note, pages, tags FROM {name}"));
    assert_snapshot!(rows, @"7	2024-02-29 12:00:00.000	none	4	['a']");
    // A default that the table does not have decides what rows hold: it is not passed over.
    query(&services.clickhouse, &format!("ALTER TABLE {name} MODIFY COLUMN pages REMOVE DEFAULT"));
    assert_snapshot!(said(&services, &name, "plan", &config), @"
    rowfall: topic NAME into table NAME: column `pages` has no DEFAULT and `columns.pages` says 2 + 2
      → alter the table, or take the default out of `columns.pages`
    ");
}

#[test]
fn null_and_default_are_told_apart() {
    let services = support::services();
    let records = [
        r#"{"id":0}"#,
        r#"{"id":1,"a":null,"b":null,"list":[1]}"#,
        r#"{"id":2,"a":3,"list":[]}"#,
        r#"{"id":3,"b":"x"}"#,
        r#"{"id":4,"a":null,"b":"y","none":5}"#,
    ];
    let name = topic(&services, &records);
    let columns = "id UInt64, a Nullable(Int64) DEFAULT id * 10, b LowCardinality(Nullable(String)) DEFAULT 'b', \
         list Array(UInt8) DEFAULT [7, 7], none Nullable(Int8), plain Int8 DEFAULT 9";
    query(&services.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
    assert_eq!(run(&support::topic_with(&services, &name, "{}")).rows(), 5);
    assert_snapshot!(query(&services.clickhouse, &format!("SELECT * FROM {name} ORDER BY id")), @r"
    0	0	b	[7,7]	\N	9
    1	\N	\N	[1]	\N	9
    2	3	b	[]	\N	9
    3	30	x	[7,7]	\N	9
    4	\N	y	[7,7]	5	9
    ");
}

#[test]
fn records_that_lack_a_column_by_turns_arrive_as_clickhouse_reads_them() {
    const COUNT: u64 = 4000;
    let services = support::services();
    let record = |n: u64| {
        let a = ["", r#","a":null"#, r#","a":5"#][usize::try_from(n * 7 % 3).expect("small")];
        let list = if n % 5 < 2 { format!(r#","list":[{},2]"#, n % 200) } else { String::new() };
        let text = if n.is_multiple_of(4) { String::new() } else { format!(r#","text":"text {n}""#) };
        format!(r#"{{"id":{n}{a}{list}{text}}}"#)
    };
    let records: Vec<_> = (0..COUNT).map(record).collect();
    let name = topic(&services, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let columns = "id UInt64, a Nullable(Int64) DEFAULT id * 10, list Array(UInt8) DEFAULT [7, 7], \
         text String DEFAULT concat('d', toString(id)), nested Array(String) DEFAULT [text]";
    let own = format!("{name}_own");
    query(&services.clickhouse, &format!("CREATE TABLE {own} ({columns}) ENGINE = MergeTree ORDER BY id"));
    query(&services.clickhouse, &format!("INSERT INTO {own} FORMAT JSONEachRow {}", records.join("\n")));
    for engine in ["MergeTree", "ReplacingMergeTree"] {
        let table = format!("{name}_{engine}");
        query(&services.clickhouse, &format!("CREATE TABLE {table} ({columns}) ENGINE = {engine} ORDER BY id"));
        assert_eq!(run(&into(&services, &name, &table, "exactly-once")).rows(), COUNT);
        let differing = format!("SELECT count() FROM (SELECT * FROM {own} EXCEPT SELECT * FROM {table})");
        assert_eq!(query(&services.clickhouse, &differing), "0", "{engine}");
        assert_eq!(query(&services.clickhouse, &format!("SELECT count() FROM {table}")), COUNT.to_string());
    }
}

#[test]
fn an_ephemeral_column_is_filled_and_feeds_the_others() {
    let services = support::services();
    let records = [
        r#"{"id":0,"raw":"abc"}"#,
        r#"{"id":1}"#,
        r#"{"id":2,"raw":"abc","length":77}"#,
        r#"{"id":3,"raw":"","list":[1,2]}"#,
        r#"{"id":4,"list":[1,2,3],"perhaps":null}"#,
        r#"{"id":5,"perhaps":"x"}"#,
    ];
    let name = topic(&services, &records);
    let columns = "id UInt64, raw String EPHEMERAL 'empty', length UInt64 DEFAULT length(raw), \
         list Array(UInt8) EPHEMERAL, sum UInt64 DEFAULT arraySum(list), \
         perhaps Nullable(String) EPHEMERAL 'p', kept Nullable(String) DEFAULT upper(perhaps)";
    query(&services.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(said(&services, &name, "plan", &config), @"
    topic NAME (1 partition) → table default.NAME MergeTree: exists
      id       →  id UInt64                 exact  must be in the record
      raw      →  raw String                exact  not stored: feeds other columns' DEFAULTs
      length   →  length UInt64             exact  DEFAULT where the record lacks it
      list     →  list Array(UInt8)         exact  not stored: feeds other columns' DEFAULTs
      sum      →  sum UInt64                       DEFAULT where the record lacks it
      perhaps  →  perhaps Nullable(String)  exact  not stored: feeds other columns' DEFAULTs
      kept     →  kept Nullable(String)            DEFAULT where the record lacks it
      tried with 6 records: all fit
    ");
    assert_eq!(run(&config).rows(), 6);
    assert_snapshot!(query(&services.clickhouse, &format!("SELECT * FROM {name} ORDER BY id")), @r"
    0	3	0	P
    1	5	0	P
    2	77	0	P
    3	0	3	P
    4	5	6	\N
    5	5	0	X
    ");
    // ClickHouse's own reading of the same records.
    query(&services.clickhouse, &format!("CREATE TABLE {name}_own AS {name}"));
    query(
        &services.clickhouse,
        &format!("INSERT INTO {name}_own (id, raw, length, list, perhaps) FORMAT JSONEachRow {}", records.join(" ")),
    );
    let all = |table: &str| query(&services.clickhouse, &format!("SELECT * FROM {table} ORDER BY id"));
    assert_eq!(all(&name), all(&format!("{name}_own")));
}

#[test]
fn a_computed_column_takes_no_field() {
    let services = support::services();
    let name = topic(&services, &[r#"{"id":1,"twice":2}"#]);
    let columns = "id UInt64, twice UInt64 MATERIALIZED id * 2, thrice UInt64 ALIAS id * 3";
    query(&services.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
    let output = run(&support::topic_with(&services, &name, "{}"));
    let message = output.stderr.lines().skip_while(|line| !line.starts_with("rowfall: ")).collect::<Vec<_>>();
    assert_snapshot!(message.join("\n").replace(&name, "NAME"), @"
    rowfall: stopped: NAME[0] offset 0: table default.NAME, field `twice`: the column of this name cannot be filled: the database computes it, and takes no value for it
      → leave the field out with `columns.twice.drop: true`, or with `unknown_fields`
    ");
    let config = support::topic_with(&services, &name, "{ columns: { thrice: { from: x } } }");
    assert_snapshot!(said(&services, &name, "plan", &config), @"rowfall: topic NAME into table default.NAME: column `thrice` UInt64: the database computes it, and takes no value for it; take `columns.thrice` out of the route, or set its `drop: true`");
    let config = support::topic_with(&services, &name, "{ columns: { twice: { drop: true } } }");
    assert_eq!(run(&config).rows(), 1);
    assert_eq!(query(&services.clickhouse, &format!("SELECT id, twice, thrice FROM {name}")), "1\t2\t3");
}

#[test]
fn every_engine_gets_every_row() {
    const COUNT: u64 = 3000;
    let services = support::services();
    let name = support::unique("engines");
    support::create_topic(&services.kafka, &name, 2, &[]);
    workload::produce(&services.kafka.brokers, &name, 2, 0..COUNT);
    let engines = [
        "MergeTree ORDER BY id",
        "ReplacingMergeTree(version) ORDER BY id",
        "SummingMergeTree(version) ORDER BY id",
        "AggregatingMergeTree ORDER BY id",
        "CollapsingMergeTree(sign) ORDER BY id",
        "VersionedCollapsingMergeTree(sign, version) ORDER BY (id, version)",
        "CoalescingMergeTree ORDER BY id",
        "Memory",
        "Log",
        "TinyLog",
        "StripeLog",
        "Join(ANY, LEFT, id)",
        "EmbeddedRocksDB PRIMARY KEY id",
        "File(Native)",
    ];
    for (index, engine) in engines.iter().enumerate() {
        let table = format!("{name}_{index}");
        let columns = format!("{}, sign Int8 DEFAULT 1, version UInt32 DEFAULT 1", workload::COLUMNS);
        query(&services.clickhouse, &format!("CREATE TABLE {table} ({columns}) ENGINE = {engine}"));
        let delivery = if engine.contains("MergeTree") { "exactly-once" } else { "at-least-once" };
        assert_eq!(run(&into(&services, &name, &table, delivery)).rows(), COUNT, "{engine}");
        support::assert_holds_exactly(&services.clickhouse, &table, COUNT);
    }

    let table = format!("{name}_null");
    let make = |statement: String| query(&services.clickhouse, &statement);
    make(format!("CREATE TABLE {table} ({}) ENGINE = Null", workload::COLUMNS));
    make(format!("CREATE TABLE {table}_rows AS {table} ENGINE = MergeTree ORDER BY id"));
    make(format!("CREATE TABLE {table}_sums (country String, rows UInt64) ENGINE = SummingMergeTree ORDER BY country"));
    make(format!("CREATE MATERIALIZED VIEW {table}_to_rows TO {table}_rows AS SELECT * FROM {table}"));
    make(format!(
        "CREATE MATERIALIZED VIEW {table}_to_sums TO {table}_sums AS \
         SELECT country, count() AS rows FROM {table} GROUP BY country"
    ));
    assert_eq!(run(&into(&services, &name, &table, "at-least-once")).rows(), COUNT);
    support::assert_holds_exactly(&services.clickhouse, &format!("{table}_rows"), COUNT);
    let sums = make(format!("SELECT sum(rows), uniqExact(country) FROM {table}_sums"));
    assert_eq!(sums, format!("{COUNT}\t7"));
    assert_eq!(make(format!("SELECT count() FROM {table}")), "0");
}

/// A file that moves the topic into another table, in a group of its own.
fn into(services: &Services, topic: &str, table: &str, delivery: &str) -> support::ConfigFile {
    support::config_file(&format!(
        "name: {table}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {topic}: {{ table: {table} }} }}\n\
         delivery: {delivery}\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ))
}

#[test]
fn what_an_engine_promises_is_told() {
    let services = support::services();
    let name = topic(&services, &[r#"{"id":1}"#]);
    let settings = "{ columns: { id: uint64 }, clickhouse: { engine: StripeLog() } }";
    let config = support::at_least_once(support::topic_with(&services, &name, settings));
    assert_snapshot!(said(&services, &name, "plan", &config), @"
    topic NAME (1 partition) → table NAME: to be created
      columns as `topics.NAME.columns` says

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` Nullable(UInt64)
        )
        ENGINE = StripeLog();
      note: StripeLog(): one insert at a time, the others wait; a crash of the server in the middle of an insert can leave part of it, or lose what it had not yet handed to the disk; the table cannot drop rows that come twice

      id  →  id Nullable(UInt64)  exact  null where the record lacks it
      tried with 1 record: all fit
    ");
    assert_snapshot!(said(&services, &name, "check", &config), @"
    ok      ClickHouse VERSION at clickhouse://rowfall:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    ok      table NAME will be created (see `rowfall plan`)
    note    StripeLog(): one insert at a time, the others wait; a crash of the server in the middle of an insert can leave part of it, or lose what it had not yet handed to the disk; the table cannot drop rows that come twice
    ");
    assert_eq!(run(&config).rows(), 1);
    query(&services.clickhouse, &format!("DROP TABLE {name}"));
    query(&services.clickhouse, &format!("CREATE TABLE {name} (id UInt64) ENGINE = Memory"));
    assert_snapshot!(said(&services, &name, "plan", &config), @"
    topic NAME (1 partition) → table default.NAME Memory: exists
      id  →  id UInt64  exact  must be in the record
      tried with 1 record: all fit
      note: Memory: its rows are gone when the server restarts
    ");
    assert_snapshot!(said(&services, &name, "check", &config), @"
    ok      ClickHouse VERSION at clickhouse://rowfall:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    ok      table default.NAME Memory
    note    Memory: its rows are gone when the server restarts
    ");
}

#[test]
fn what_keeps_no_rows_of_ours_is_refused_by_name() {
    let services = support::services();
    let name = topic(&services, &[]);
    let make = |statement: &str| query(&services.clickhouse, &statement.replace("NAME", &name));
    make("CREATE TABLE NAME_table (id UInt64, v UInt64) ENGINE = MergeTree ORDER BY id");
    let cases = [
        "VIEW NAME_0 AS SELECT * FROM NAME_table",
        "MATERIALIZED VIEW NAME_1 ENGINE = MergeTree ORDER BY id AS SELECT * FROM NAME_table",
        "TABLE NAME_2 AS NAME_table ENGINE = Buffer(default, NAME_table, 1, 10, 100, 10, 100, 10, 100)",
        "DICTIONARY NAME_3 (id UInt64, v UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 'NAME_table')) \
         LAYOUT(FLAT()) LIFETIME(0)",
        "TABLE NAME_4 AS NAME_table ENGINE = Merge(default, 'NAME_table')",
        "TABLE NAME_5 (id UInt64) ENGINE = Executable('x', 'TSV')",
        "TABLE NAME_6 (id UInt64) ENGINE = ExecutablePool('x', 'TSV')",
        "TABLE NAME_7 (id UInt64) ENGINE = GenerateRandom",
        "TABLE NAME_8 (json String) ENGINE = FuzzJSON('{}')",
        "TABLE NAME_9 (query String) ENGINE = FuzzQuery('SELECT 1')",
    ];
    let mut told = String::new();
    for (index, case) in cases.iter().enumerate() {
        make(&format!("CREATE {case}"));
        let config = support::topic_with(&services, &name, &format!("{{ table: {name}_{index} }}"));
        told += &said(&services, &name, "check", &config);
        told.push('\n');
    }
    assert_snapshot!(told, @"
    rowfall: topic NAME into table NAME_0: default.NAME_0 is a View, which keeps no rows
      → name the table that it reads
    rowfall: topic NAME into table NAME_1: default.NAME_1 is a MaterializedView, which is filled by inserts into its source
      → name the table that it reads, or the table that it writes TO
    rowfall: topic NAME into table NAME_2: default.NAME_2 is a Buffer, which loses acknowledged rows when the server crashes
      → name the table behind it: rowfall batches already
    rowfall: topic NAME into table NAME_3: default.NAME_3 is a Dictionary, which is loaded from its source
      → name the table that it is loaded from
    rowfall: topic NAME into table NAME_4: default.NAME_4 is a Merge, which only reads other tables
      → name one of them
    rowfall: topic NAME into table NAME_5: default.NAME_5 is a Executable, which reads what a program writes
      → name a table of the MergeTree family
    rowfall: topic NAME into table NAME_6: default.NAME_6 is a ExecutablePool, which reads what a program writes
      → name a table of the MergeTree family
    rowfall: topic NAME into table NAME_7: default.NAME_7 is a GenerateRandom, which keeps no rows
      → name a table of the MergeTree family
    rowfall: topic NAME into table NAME_8: default.NAME_8 is a FuzzJSON, which keeps no rows
      → name a table of the MergeTree family
    rowfall: topic NAME into table NAME_9: default.NAME_9 is a FuzzQuery, which keeps no rows
      → name a table of the MergeTree family
    ");
}

#[test]
fn check_looks_for_the_right_to_create() {
    let services = support::services();
    let name = topic(&services, &[r#"{"id":1}"#]);
    let with = |(user, password): (&str, &str), database: &str, more: &str| {
        let port = services.clickhouse.http_port;
        support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\n\
             target: {{ url: 'clickhouse://{user}:{password}@127.0.0.1:{port}/{database}' }}\n\
             topics: {{ {name}: {{ columns: {{ id: uint64 }}, {more} }} }}\n",
            services.kafka.brokers,
        ))
    };
    let memory = "clickhouse: { engine: Memory, cluster: shop }";
    let config = support::at_least_once(with(ClickHouse::READER, "default", memory));
    assert_snapshot!(said(&services, &name, "check", &config), @"
    ok      ClickHouse VERSION at clickhouse://reader:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    to do   table NAME: code 497: user reader may not create default.NAME: no right CREATE TABLE ON `default`.`NAME`
      → GRANT CREATE TABLE ON `default`.`NAME` TO `reader`
    to do   table NAME: code 497: user reader may not create default.NAME: no right INSERT ON `default`.`NAME`
      → GRANT INSERT ON `default`.`NAME` TO `reader`
    to do   table NAME: code 497: user reader may not create default.NAME: no right TABLE ENGINE ON Memory
      → GRANT TABLE ENGINE ON Memory TO `reader`
    to do   table NAME: code 497: user reader may not create default.NAME: no right CLUSTER ON *.*
      → GRANT CLUSTER ON *.* TO `reader`
    to do   table NAME: code 497: user reader may not create default.NAME: no right REMOTE ON *.*
      → GRANT REMOTE ON *.* TO `reader`
    to do   table NAME: code 497: user reader may not create default.NAME: no right CREATE TEMPORARY TABLE ON *.*
      → GRANT CREATE TEMPORARY TABLE ON *.* TO `reader`
    note    Memory: its rows are gone when the server restarts
    ");
    let own = (services.clickhouse.user, services.clickhouse.password);
    assert_snapshot!(said(&services, &name, "check", &with(own, "default", "table: no_such.orders")), @"
    ok      ClickHouse VERSION at clickhouse://rowfall:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    to do   table no_such.orders: database no_such does not exist
      → CREATE DATABASE `no_such`, or name another in the target's url
    ");
}
