//! `plan` and `check`: they say what a run would do and touch nothing; the run then does it.

use insta::assert_snapshot;
use rowfall_services::{ClickHouse, Product, Services};

use crate::exactly_once::{self, Place};
use crate::support::{self, ConfigFile, Output, Rowfall};

const SAMPLE: [&str; 4] = [
    r#"{"id":1,"at":"2024-02-29T12:00:00.5Z","day":"2024-02-29","who":"550e8400-e29b-41d4-a716-446655440000"}"#,
    r#"{"id":2,"at":"2024-02-29T12:00:00.000001+02:00","price":1,"ok":true,"note":null,"tags":["a","b"]}"#,
    r#"{"id":3,"price":2.5,"address":{"city":"Köln","zip":[5,0,6]},"mixed":1,"large":18446744073709551615}"#,
    r#"{"id":4,"price":null,"mixed":"x","large":1,"local":"2024-02-29 12:00:00"}"#,
];

/// What a command prints, with whatever differs from run to run replaced.
fn said(services: &Services, name: &str, output: &Output, status: i32) -> String {
    assert_eq!(output.code(), status, "{output:#?}");
    assert!(!format!("{output:?}").contains("-secret"), "a password is shown: {output:#?}");
    let (host, port) = ("127.0.0.1:", services.clickhouse.http_port.to_string());
    let version = support::query(&services.clickhouse, "SELECT version()");
    let said = if status == 1 { output.stderr.as_str() } else { output.stdout.as_str() };
    said.replace(name, "NAME")
        .replace(&services.kafka.brokers, "KAFKA")
        .replace(&format!("{host}{port}"), "SERVER")
        .replace(&version, "VERSION")
        .trim()
        .to_owned()
}

fn plan(services: &Services, name: &str, config: &ConfigFile, status: i32) -> String {
    said(services, name, &Rowfall::with_config("plan", config, &[]).output(), status)
}

fn check(services: &Services, name: &str, config: &ConfigFile, status: i32) -> String {
    said(services, name, &Rowfall::with_config("check", config, &[]).output(), status)
}

fn topic(services: &Services, values: &[&str]) -> String {
    let name = support::unique("plan");
    support::create_topic(&services.kafka, &name, 1, &[]);
    support::produce(&services.kafka, &name, 0, values);
    name
}

fn exists(services: &Services, name: &str) -> bool {
    support::query(&services.clickhouse, &format!("EXISTS TABLE {name}")) == "1"
}

/// Nothing was created, nothing was committed.
fn assert_untouched(services: &Services, name: &str, records: i64) {
    assert!(!exists(services, name));
    assert_eq!(support::committed_and_end(&services.kafka, name, name, 1), [(None, records)]);
}

#[test]
fn a_table_is_inferred_from_a_sample_shown_and_created_by_the_run() {
    let services = support::services();
    let name = topic(&services, &SAMPLE);
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(plan(&services, &name, &config, 3), @"
    topic NAME (1 partition) → table NAME: to be created
      columns inferred from 4 records

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` Nullable(Int64),
            `at` Nullable(DateTime64(6, 'UTC')),
            `day` Nullable(Date32),
            `who` Nullable(UUID),
            `price` Nullable(Float64),
            `ok` Nullable(Bool),
            `note` Nullable(String),
            `tags` Nullable(String),
            `address` Nullable(String),
            `mixed` Nullable(String),
            `large` Nullable(UInt64),
            `local` Nullable(String)
        )
        ENGINE = MergeTree
        ORDER BY tuple()
        SETTINGS non_replicated_deduplication_window = 25000;

      id       →  id Nullable(Int64)                 exact  null where the record lacks it
      at       →  at Nullable(DateTime64(6, 'UTC'))  exact  null where the record lacks it
      day      →  day Nullable(Date32)               exact  null where the record lacks it
      who      →  who Nullable(UUID)                 exact  null where the record lacks it
      price    →  price Nullable(Float64)            exact  null where the record lacks it
      ok       →  ok Nullable(Bool)                  exact  null where the record lacks it
      note     →  note Nullable(String)                     null where the record lacks it
      tags     →  tags Nullable(String)              exact  null where the record lacks it
      address  →  address Nullable(String)           exact  null where the record lacks it
      mixed    →  mixed Nullable(String)             exact  null where the record lacks it
      large    →  large Nullable(UInt64)             exact  null where the record lacks it
      local    →  local Nullable(String)             exact  null where the record lacks it
      tried with 4 records: all fit
    ");
    assert_untouched(&services, &name, 4);
    assert_snapshot!(check(&services, &name, &config, 0), @"
    ok      ClickHouse VERSION at clickhouse://rowfall:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    ok      table NAME will be created (see `rowfall plan`)
    ");
    assert_untouched(&services, &name, 4);

    let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(run().rows(), 4);
    assert_snapshot!(
        support::query(&services.clickhouse, &format!("SELECT * FROM {name} ORDER BY id FORMAT JSONEachRow")), @r#"
    {"id":1,"at":"2024-02-29 12:00:00.500000","day":"2024-02-29","who":"550e8400-e29b-41d4-a716-446655440000","price":null,"ok":null,"note":null,"tags":null,"address":null,"mixed":null,"large":null,"local":null}
    {"id":2,"at":"2024-02-29 10:00:00.000001","day":null,"who":null,"price":1,"ok":true,"note":null,"tags":"[\"a\",\"b\"]","address":null,"mixed":null,"large":null,"local":null}
    {"id":3,"at":null,"day":null,"who":null,"price":2.5,"ok":null,"note":null,"tags":null,"address":"{\"city\":\"Köln\",\"zip\":[5,0,6]}","mixed":"1","large":18446744073709551615,"local":null}
    {"id":4,"at":null,"day":null,"who":null,"price":null,"ok":null,"note":null,"tags":null,"address":null,"mixed":"x","large":1,"local":"2024-02-29 12:00:00"}
    "#
    );
    assert_snapshot!(plan(&services, &name, &config, 0), @"
    topic NAME (1 partition) → table default.NAME MergeTree: exists
      id       →  id Nullable(Int64)                 exact  null where the record lacks it
      at       →  at Nullable(DateTime64(6, 'UTC'))  exact  null where the record lacks it
      day      →  day Nullable(Date32)               exact  null where the record lacks it
      who      →  who Nullable(UUID)                 exact  null where the record lacks it
      price    →  price Nullable(Float64)            exact  null where the record lacks it
      ok       →  ok Nullable(Bool)                  exact  null where the record lacks it
      note     →  note Nullable(String)                     null where the record lacks it
      tags     →  tags Nullable(String)              exact  null where the record lacks it
      address  →  address Nullable(String)           exact  null where the record lacks it
      mixed    →  mixed Nullable(String)             exact  null where the record lacks it
      large    →  large Nullable(UInt64)             exact  null where the record lacks it
      local    →  local Nullable(String)             exact  null where the record lacks it
      tried with 4 records: all fit
    ");
}

#[test]
fn a_table_is_made_as_the_configuration_says() {
    let services = support::services();
    let name = topic(&services, &[r#"{"id":1,"amt":12.5,"at":"2024-02-29T12:00:00Z","kind":"a","junk":[]}"#]);
    let config = support::topic_with(
        &services,
        &name,
        "{ columns: { id: { type: uint64, nullable: false }, amount: { from: amt, type: \"decimal(18,2)\" }, \
         at: { type: \"timestamp(3)\", nullable: false }, kind: LowCardinality(String), junk: { drop: true } }, \
         clickhouse: { order_by: [id, at], partition_by: toYYYYMM(at), settings: { index_granularity: 1024 } } }",
    );
    assert_snapshot!(plan(&services, &name, &config, 3), @"
    topic NAME (1 partition) → table NAME: to be created
      columns as `topics.NAME.columns` says

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` UInt64,
            `amount` Nullable(Decimal(18, 2)),
            `at` DateTime64(3, 'UTC'),
            `kind` LowCardinality(Nullable(String))
        )
        ENGINE = MergeTree
        PARTITION BY toYYYYMM(at)
        ORDER BY (id, at)
        SETTINGS non_replicated_deduplication_window = 25000, index_granularity = 1024;

      id    →  id UInt64                              exact  must be in the record
      amt   →  amount Nullable(Decimal(18, 2))        exact  null where the record lacks it
      at    →  at DateTime64(3, 'UTC')                exact  must be in the record
      kind  →  kind LowCardinality(Nullable(String))  exact  null where the record lacks it
      junk  →  –                                             dropped
      tried with 1 record: all fit
    ");
    assert_untouched(&services, &name, 1);

    assert_eq!(Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output().rows(), 1);
    assert_eq!(
        support::query(&services.clickhouse, &format!("SELECT * FROM {name}")),
        "1\t12.5\t2024-02-29 12:00:00.000\ta"
    );
    let made = format!("SELECT sorting_key, partition_key FROM system.tables WHERE name = '{name}'");
    assert_eq!(support::query(&services.clickhouse, &made), "id, at\ttoYYYYMM(at)");
}

#[test]
fn a_table_that_exists_is_shown_with_its_mapping() {
    let services = support::services();
    let name = topic(&services, &[]);
    support::query(
        &services.clickhouse,
        &format!(
            "CREATE TABLE {name} (id UInt64, amount Decimal(18, 2), note Nullable(String), \
             source LowCardinality(String) DEFAULT 'kafka', old Nullable(Int8) DEFAULT 1, \
             day Date MATERIALIZED today(), at DateTime) ENGINE = MergeTree ORDER BY id"
        ),
    );
    let config = support::topic_with(&services, &name, "{ columns: { amount: { from: amt }, at: { drop: true } } }");
    assert_snapshot!(plan(&services, &name, &config, 0), @"
    topic NAME (1 partition) → table default.NAME MergeTree: exists
      id      →  id UInt64                      must be in the record
      amt     →  amount Decimal(18, 2)          must be in the record
      note    →  note Nullable(String)          null where the record lacks it
      source  →  source LowCardinality(String)  DEFAULT where the record lacks it
      old     →  old Nullable(Int8)             DEFAULT where the record lacks it
      at      →  –                              dropped
      computed by the database: `day`
    ");
    assert_snapshot!(check(&services, &name, &config, 0), @"
    ok      ClickHouse VERSION at clickhouse://rowfall:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    ok      table default.NAME MergeTree
    ");
}

#[test]
fn an_empty_topic_shows_no_table() {
    let services = support::services();
    let name = topic(&services, &[]);
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(plan(&services, &name, &config, 1), @"
    rowfall: topic NAME into table NAME: the table does not exist and the topic has no record to infer it from
      → say its columns under `topics.NAME.columns`, create the table, or start when there are records
    ");
    assert_untouched(&services, &name, 0);
}

#[test]
fn check_tells_what_has_to_be_done() {
    let services = support::services();
    let name = topic(&services, &[]);
    support::query(&services.clickhouse, &format!("CREATE TABLE {name} (id UInt64, tags BFloat16) ORDER BY id"));
    let (user, password) = ClickHouse::READER;
    let config = support::config_file(&format!(
        "name: {name}
kafka: {{ brokers: '{}' }}
target: {{ url: 'clickhouse://{user}:{password}@127.0.0.1:{}/default' }}
topics: {{ {name}: {{}} }}
",
        services.kafka.brokers, services.clickhouse.http_port,
    ));
    assert_snapshot!(check(&services, &name, &config, 3), @"
    ok      ClickHouse VERSION at clickhouse://reader:***@SERVER/default
    ok      topic NAME at KAFKA: 1 partition
    to do   table default.NAME: code 497: user reader may not insert into default.NAME
      → GRANT INSERT ON `default`.`NAME` TO `reader`
    to do   topic NAME into table default.NAME: column `tags` BFloat16: rowfall cannot write columns of type BFloat16: most values would be rounded: declare it Float32; set `columns.tags.drop: true` to leave it to its default
    ");
}

/// A topic of these records, and the file that moves it to this place.
fn to_place(place: &Place, records: &[&str]) -> (String, ConfigFile) {
    let services = support::services();
    let name = topic(&services, records);
    let config = support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{}} }}\n",
        services.kafka.brokers, place.url,
    ));
    (name, config)
}

/// What is told of how fields fit, without what differs from run to run.
fn mapping(name: &str, plan: &Output) -> String {
    let told = plan.stdout.lines().skip_while(|line| !line.contains("  →  "));
    told.collect::<Vec<_>>().join("\n").replace(name, "NAME").trim_end().to_owned()
}

/// Whatever fits is moved, and what `plan` says is refused stops the run. `columns`: the table's, in SQL, and what follows them.
fn fits_as_told(place: &Place, columns: &str) -> String {
    let records = [
        r#"{"id":1,"small":1,"price":1.5,"at":"2024-02-29T12:00:00.123Z","ratio":1.5,"note":7,"tag":"ok"}"#,
        r#"{"id":2,"small":2,"price":2,"at":"2024-02-29","ratio":2,"note":"seven","tag":"ok"}"#,
        r#"{"id":"three","small":3000000000,"price":1.005,"at":"2024-02-29T12:00:00.123456Z","ratio":0.1,"note":null,"tag":"longer","more":1}"#,
    ];
    let mut told = Vec::new();
    for (records, status) in [(&records[..2], 0), (&records[..], 3)] {
        let (name, config) = to_place(place, records);
        (place.ask)(&place.url, &format!("CREATE TABLE {name} {columns}")).expect("created");
        let plan = Rowfall::with_config("plan", &config, &[]).output();
        assert_eq!(plan.code(), status, "{plan:#?}");
        told.push(mapping(&name, &plan));
        let run = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
        assert_eq!(run.code() == 0, status == 0, "{run:#?}");
        let rows = (place.ask)(&place.url, &format!("SELECT count(*) FROM {name}")).expect("there");
        assert_eq!(rows, [[Some(2)]]);
    }
    told.join("\n\n")
}

/// A table that is to be created is told as what it becomes.
fn told_before_it_is_there(place: &Place) {
    let (name, config) = to_place(place, &SAMPLE);
    let plan = |status| {
        let plan = Rowfall::with_config("plan", &config, &[]).output();
        assert_eq!(plan.code(), status, "{plan:#?}");
        let told = mapping(&name, &plan);
        // The type may be called otherwise by the database.
        let fit = |line: &str| ["exact", "widens", "lossy", "refused"].map(|word| line.contains(&format!("  {word}")));
        let field = |line: &str| line.trim_start().split(' ').next().map(str::to_owned);
        told.lines().map(|line| (field(line), fit(line))).collect::<Vec<_>>()
    };
    let before = plan(3);
    assert_eq!(before.len(), 13, "12 fields, and what was tried");
    assert_eq!(Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output().rows(), 4);
    assert_eq!(plan(0), before);
}

#[test]
fn fields_fit_as_told_in_postgres() {
    let place = exactly_once::postgres();
    let columns = "(id bigint NOT NULL, small smallint, price numeric(6,2), at timestamptz(3), ratio real, note text, tag varchar(4))";
    assert_snapshot!(fits_as_told(&place, columns), @"
    id     →  id bigint                       exact  must be in the record
    small  →  small smallint                  exact  null where the record lacks it
    price  →  price numeric(6,2)              exact  null where the record lacks it
    at     →  at timestamp(3) with time zone  exact  null where the record lacks it
    ratio  →  ratio real                      lossy  numbers become the nearest float32; null where the record lacks it
    note   →  note text                       exact  null where the record lacks it
    tag    →  tag character varying(4)        exact  null where the record lacks it
    tried with 2 records: all fit

    id     →  id bigint                       refused  1 of 3: takes int64, the text is not a number
    small  →  small smallint                  lossy    1 of 3: takes int16, the value is out of its range
    price  →  price numeric(6,2)              lossy    1 of 3: takes decimal(6,2), the value has more digits behind the point
    at     →  at timestamp(3) with time zone  lossy    1 of 3: takes timestamp(3), the value has more digits behind the point
    ratio  →  ratio real                      lossy    numbers become the nearest float32; null where the record lacks it
    note   →  note text                       exact    null where the record lacks it
    tag    →  tag character varying(4)        lossy    1 of 3: takes string of up to 4 characters, the text is longer
    more   →  –                               refused  the table has no column for it
    tried with 3 records: 1 is refused, the first at NAME[0] offset 2: column `id` bigint: takes int64, the text is not a number
      → alter the column, or mend the producer
    ");
    told_before_it_is_there(&place);
}

#[test]
fn fields_fit_as_told_in_mysql_and_mariadb() {
    let columns = "(id bigint NOT NULL, small smallint, price decimal(6,2), at datetime(3), ratio float, note text, tag varchar(4))";
    let [mysql, mariadb] = [Product::MySql, Product::MariaDb].map(|product| {
        let place = exactly_once::mysql(product);
        told_before_it_is_there(&place);
        let told = fits_as_told(&place, columns);
        // What the two call a column's type differs.
        let words = |line: &str| line.split("  ").last().map(str::to_owned);
        (told.lines().map(words).collect::<Vec<_>>(), told)
    });
    assert_snapshot!(mysql.1, @"
    id     →  id bigint                                  exact  must be in the record
    small  →  small smallint                             exact  null where the record lacks it
    price  →  price decimal(6,2)                         exact  null where the record lacks it
    at     →  at datetime(3)                             exact  null where the record lacks it
    ratio  →  ratio float                                lossy  numbers become the nearest float32; null where the record lacks it
    note   →  note text collate utf8mb4_0900_ai_ci       exact  null where the record lacks it
    tag    →  tag varchar(4) collate utf8mb4_0900_ai_ci  exact  null where the record lacks it
    tried with 2 records: all fit

    id     →  id bigint                                  refused  1 of 3: takes int64, the text is not a number
    small  →  small smallint                             lossy    1 of 3: takes int16, the value is out of its range
    price  →  price decimal(6,2)                         lossy    1 of 3: takes decimal(6,2), the value has more digits behind the point
    at     →  at datetime(3)                             lossy    1 of 3: takes timestamp(3), the value has more digits behind the point
    ratio  →  ratio float                                lossy    numbers become the nearest float32; null where the record lacks it
    note   →  note text collate utf8mb4_0900_ai_ci       exact    null where the record lacks it
    tag    →  tag varchar(4) collate utf8mb4_0900_ai_ci  lossy    1 of 3: takes string of up to 4 characters, the text is longer
    more   →  –                                          refused  the table has no column for it
    tried with 3 records: 1 is refused, the first at NAME[0] offset 2: column `id` bigint: takes int64, the text is not a number
      → alter the column, or mend the producer
    ");
    assert_eq!(mariadb.0[..8], mysql.0[..8]);
}

#[test]
fn fields_fit_as_told_in_sqlite() {
    let place = exactly_once::sqlite();
    told_before_it_is_there(&place);
    let columns = "(id INTEGER NOT NULL, small INTEGER, price REAL, at TEXT, ratio REAL, note TEXT, tag TEXT)";
    assert_snapshot!(fits_as_told(&place, columns), @"
    id     →  id INTEGER     exact  must be in the record
    small  →  small INTEGER  exact  null where the record lacks it
    price  →  price REAL     exact  null where the record lacks it
    at     →  at TEXT        exact  null where the record lacks it
    ratio  →  ratio REAL     exact  null where the record lacks it
    note   →  note TEXT      exact  null where the record lacks it
    tag    →  tag TEXT       exact  null where the record lacks it
    tried with 2 records: all fit

    id     →  id INTEGER     refused  1 of 3: takes int64, the text is not a number
    small  →  small INTEGER  exact    null where the record lacks it
    price  →  price REAL     exact    null where the record lacks it
    at     →  at TEXT        exact    null where the record lacks it
    ratio  →  ratio REAL     exact    null where the record lacks it
    note   →  note TEXT      exact    null where the record lacks it
    tag    →  tag TEXT       exact    null where the record lacks it
    more   →  –              refused  the table has no column for it
    tried with 3 records: 1 is refused, the first at NAME[0] offset 2: column `id` INTEGER: takes int64, the text is not a number
      → alter the column, or mend the producer
    ");
}

#[test]
fn fields_fit_as_told_in_clickhouse() {
    let services = support::services();
    let ask = |_: &str, sql: &str| {
        let text = support::query(&support::services().clickhouse, sql);
        Ok(exactly_once::rows_of(&text))
    };
    let place = Place { url: support::target(&services.clickhouse), ask, _folder: None };
    let columns = "(id Int64, small Int16, price Decimal(6, 2), at DateTime64(3), ratio Float32, note Nullable(String), tag String) ORDER BY id";
    assert_snapshot!(fits_as_told(&place, columns), @"
    id     →  id Int64               exact  must be in the record
    small  →  small Int16            exact  must be in the record
    price  →  price Decimal(6, 2)    exact  must be in the record
    at     →  at DateTime64(3)       exact  must be in the record
    ratio  →  ratio Float32          lossy  numbers become the nearest float32; must be in the record
    note   →  note Nullable(String)  exact  null where the record lacks it
    tag    →  tag String             exact  must be in the record
    tried with 2 records: all fit

    id     →  id Int64               refused  1 of 3: takes int64, the text is not a number
    small  →  small Int16            lossy    1 of 3: takes int16, the value is out of its range
    price  →  price Decimal(6, 2)    lossy    1 of 3: takes decimal(6,2), the value has more digits behind the point
    at     →  at DateTime64(3)       lossy    1 of 3: takes timestamp(3), the value has more digits behind the point
    ratio  →  ratio Float32          lossy    numbers become the nearest float32; must be in the record
    note   →  note Nullable(String)  exact    null where the record lacks it
    tag    →  tag String             exact    must be in the record
    more   →  –                      refused  the table has no column for it
    tried with 3 records: 1 is refused, the first at NAME[0] offset 2: column `id` Int64: takes int64, the text is not a number
      → alter the column, or mend the producer
    ");
    told_before_it_is_there(&place);
}

/// An ALTER comes first, and fields are told as they fit then.
#[test]
fn a_table_that_would_be_altered_is_told_as_it_would_be() {
    let place = exactly_once::postgres();
    let services = support::services();
    let name = topic(&services, &[r#"{"id":3000000000,"tag":"longer","more":"2024-02-29","none":null}"#]);
    (place.ask)(&place.url, &format!("CREATE TABLE {name} (id int, tag varchar(4))")).expect("created");
    let plan = |evolve: &str, status| {
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{ {evolve} }} }}\n",
            services.kafka.brokers, place.url,
        ));
        let plan = Rowfall::with_config("plan", &config, &[]).output();
        assert_eq!(plan.code(), status, "{plan:#?}");
        let schema = place.url.rsplit("%3D").next().expect("a schema");
        plan.stdout.replace(&name, "NAME").replace(schema, "SCHEMA").trim_end().to_owned()
    };
    assert_snapshot!(plan("evolve: widen, unknown_fields: add", 3), @r#"
    topic NAME (1 partition) → table SCHEMA.NAME table: exists
      to be altered, as 1 record show

        ALTER TABLE "SCHEMA"."NAME" ADD COLUMN IF NOT EXISTS "more" date;

        ALTER TABLE "SCHEMA"."NAME"
            ALTER COLUMN "id" TYPE bigint,
            ALTER COLUMN "tag" TYPE character varying(8);
      note: column `id`: the server writes the whole table anew, and locks it until it has done so

      id    →  id bigint                 exact  null where the record lacks it
      tag   →  tag character varying(8)  exact  null where the record lacks it
      more  →  more date                 exact  null where the record lacks it
      none  →  –                                null so far, which needs no column
      tried with 1 record: all fit
    "#);
    assert_snapshot!(plan("unknown_fields: ignore", 3), @"
    topic NAME (1 partition) → table SCHEMA.NAME table: exists
      id    →  id integer                lossy  1 of 1: takes int32, the value is out of its range
      tag   →  tag character varying(4)  lossy  1 of 1: takes string of up to 4 characters, the text is longer
      more  →  –                                ignored
      none  →  –                                ignored
      tried with 1 record: 1 is refused, the first at NAME[0] offset 0: column `id` integer: takes int32, the value is out of its range
        → alter the column, or mend the producer
    ");
}
