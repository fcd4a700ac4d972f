//! Exactly once into ClickHouse, as an operator meets it: what a table lacks, what was begun, what is too long ago.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use rowfall_dialects::contract::{
    Advice, Block, Column, Compression, Error, Layout, Op, Receipt, TableName, TableSchema, Target, Text, Token, Values,
};
use rowfall_services::Services;

use crate::support::{self, ConfigFile, Output, Rowfall, eventually, query};
use crate::workload;

pub(crate) const COUNT: u64 = 300;

/// A topic with records, a table made like this of the workload's columns, and the file that moves one into the other.
fn course(services: &Services, name: &str, table: &str) -> (String, ConfigFile) {
    let name = support::unique(name);
    support::create_topic(&services.kafka, &name, 2, &[]);
    workload::produce(&services.kafka.brokers, &name, 2, 0..COUNT);
    query(&services.clickhouse, &format!("CREATE TABLE {name} ({}) {table}", workload::COLUMNS));
    // How many batches may come hangs on the number of workers, and a killed member is one until its session is over.
    let config = support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}', properties: {{ session.timeout.ms: 6000 }} }}\n\
         target: {{ url: '{}' }}\nworkers: 2\ntopics: {{ {name}: {{}} }}\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    (name, config)
}

pub(crate) fn rowfall(command: &str, config: &ConfigFile, more: &[&str]) -> Output {
    Rowfall::with_config(command, config, more).output()
}

pub(crate) fn until_end(config: &ConfigFile) -> Output {
    rowfall("run", config, &["--until-end", "--output", "json"])
}

/// What stops a run, without the table's name.
fn refused(config: &ConfigFile, name: &str) -> String {
    let output = until_end(config);
    assert_eq!(output.code(), 1, "{output:#?}");
    let said = output.stderr.lines().skip_while(|line| !line.starts_with("rowfall: ")).collect::<Vec<_>>();
    said.join("\n").replace(name, "NAME")
}

#[test]
fn a_table_without_a_window_is_told_how_to_get_one() {
    let services = support::services();
    let (name, config) =
        course(&services, "window", "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 0");
    let plan = rowfall("plan", &config, &[]);
    assert_eq!(plan.code(), 3, "there is something to do");
    let to_do = plan.stdout.lines().skip_while(|line| !line.contains("to do first")).collect::<Vec<_>>().join("\n");
    assert_snapshot!(to_do.replace(&name, "NAME"), @"
    to do first: table default.NAME: default.NAME does not drop blocks that come again: non_replicated_deduplication_window is 0, or not to be seen; exactly-once needs that
      ALTER TABLE `default`.`NAME` MODIFY SETTING non_replicated_deduplication_window = 25000; or set `delivery: at-least-once`
    ");
    assert_snapshot!(refused(&config, &name), @"
    rowfall: topic NAME: table default.NAME: default.NAME does not drop blocks that come again: non_replicated_deduplication_window is 0, or not to be seen; exactly-once needs that
      → ALTER TABLE `default`.`NAME` MODIFY SETTING non_replicated_deduplication_window = 25000; or set `delivery: at-least-once`
    ");
    assert_eq!(query(&services.clickhouse, &format!("SELECT count() FROM {name}")), "0");
    let alter = format!("ALTER TABLE {name} MODIFY SETTING non_replicated_deduplication_window = 25000");
    query(&services.clickhouse, &alter);
    assert_eq!(until_end(&config).rows(), COUNT);
    support::assert_holds_exactly(&services.clickhouse, &name, COUNT);
}

#[test]
fn what_would_have_rows_twice_is_refused_by_name() {
    let services = support::services();
    let (small, config) =
        course(&services, "small", "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100");
    assert_snapshot!(refused(&config, &small), @"
    rowfall: topic NAME: table default.NAME: default.NAME remembers 100 parts, and needs 2400 for batches that close as often; exactly-once needs that
      → ALTER TABLE `default`.`NAME` MODIFY SETTING non_replicated_deduplication_window = 25000; or set `delivery: at-least-once`
    ");

    let (moving, config) = course(&services, "moving", "ENGINE = MergeTree ORDER BY id");
    query(&services.clickhouse, &format!("DROP TABLE {moving}"));
    let columns = format!("{}, day Date MATERIALIZED today()", workload::COLUMNS);
    query(
        &services.clickhouse,
        &format!("CREATE TABLE {moving} ({columns}) ENGINE = MergeTree PARTITION BY day ORDER BY id"),
    );
    assert_snapshot!(refused(&config, &moving), @"
    rowfall: topic NAME: table default.NAME: default.NAME is partitioned by column day, which the server fills in anew when a block comes again (today()): it would go to another partition, which does not know it; exactly-once needs that
      → partition by what the records hold, or ALTER TABLE `default`.`NAME` MODIFY COLUMN `day` REMOVE MATERIALIZED; or set `delivery: at-least-once`
    ");

    let (viewed, config) = course(&services, "viewed", "ENGINE = MergeTree ORDER BY id");
    query(&services.clickhouse, &format!("CREATE TABLE {viewed}_copy AS {viewed} ENGINE = Log"));
    query(
        &services.clickhouse,
        &format!("CREATE MATERIALIZED VIEW {viewed}_view TO {viewed}_copy AS SELECT * FROM {viewed}"),
    );
    assert_snapshot!(refused(&config, &viewed), @"
    rowfall: topic NAME: table default.NAME: materialized view NAME_view copies rows of default.NAME into default.NAME_copy, which is a Log and keeps rows that come again
      → have it write to a table of the MergeTree family, or set `delivery: at-least-once`
    ");
}

/// A process that dies between the claim and the insert leaves something begun.
fn begun(services: &Services, name: &str) -> (String, ConfigFile, String) {
    let (name, config) = course(services, name, "ENGINE = MergeTree ORDER BY id");
    let number = die(&config, "claimed");
    (name, config, number)
}

/// Has a process die at this place; the number of the first claim that it leaves.
pub(crate) fn die(config: &ConfigFile, failpoint: &str) -> String {
    let mut process = Rowfall::with_config("run", config, &[]).env("ROWFALL_FAILPOINT", failpoint).start();
    eventually("it ends at its place", Duration::from_secs(60), || !process.is_running());
    drop(process);
    let offsets = rowfall("offsets", config, &[]);
    assert_eq!(offsets.code(), 0, "{offsets:#?}");
    let line = offsets.stdout.lines().find(|line| line.contains("  begun ")).expect("something was begun");
    line.rsplit(' ').next().expect("its number").to_owned()
}

/// Says it as soon as the group has forgotten the process that died.
pub(crate) fn say(config: &ConfigFile, what: &str, number: &str) -> String {
    let mut said = String::new();
    eventually("the group is empty", Duration::from_secs(60), || {
        let output = rowfall("offsets", config, &[what, number]);
        said.clone_from(&output.stdout);
        output.code() == 0
    });
    said
}

#[test]
fn what_was_begun_is_finished_by_the_next_run() {
    let services = support::services();
    let (name, config, _) = begun(&services, "begun");
    until_end(&config).rows();
    support::assert_holds_exactly(&services.clickhouse, &name, COUNT);
    let offsets = rowfall("offsets", &config, &[]).stdout;
    assert!(!offsets.contains("  begun "), "{offsets}");
}

#[test]
fn an_operator_may_say_what_became_of_it() {
    let services = support::services();
    let (name, config, number) = begun(&services, "said");
    let early = rowfall("offsets", &config, &["--write-again", &number]);
    assert!(early.code() == 1 && early.stderr.contains("stop all processes of the pipeline first"), "{early:#?}");
    let said = say(&config, "--write-again", &number);
    assert!(said.contains("the next run writes it again"), "{said}");
    until_end(&config).rows();
    support::assert_holds_exactly(&services.clickhouse, &name, COUNT);

    let (name, config, number) = begun(&services, "written");
    let said = say(&config, "--written", &number);
    assert!(said.contains("the next run goes on behind it"), "{said}");
    let rest = until_end(&config).rows();
    let rows: u64 = query(&services.clickhouse, &format!("SELECT count() FROM {name}")).parse().expect("a number");
    assert!(rest < COUNT && rows == rest, "what was said to be there is not written: {rest} of {COUNT}, {rows} rows");

    let unknown = rowfall("offsets", &config, &["--written", "12ab"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("has nothing under way that is called 00000000000012ab"), "{unknown:#?}");
}

/// Blocks of one row, by their tokens.
struct Writer {
    connection: rowfall_dialects::contract::Connection,
    table: Arc<TableSchema>,
}

impl Writer {
    async fn to(services: &Services, name: &str) -> Self {
        let url = Target::parse(&support::target(&services.clickhouse), Compression::None).expect("a URL");
        let connection = rowfall_dialects::connect(&url).await.expect("a session");
        let table = connection.session.describe(&TableName::parse(name)).await.expect("an answer").expect("a table");
        Self { connection, table: Arc::new(table) }
    }

    async fn write(&self, token: &str, age: Duration) -> Result<(), Error> {
        let layout = Arc::new(Layout::new(Arc::clone(&self.table), [0]));
        self.send(&block(layout, vec![Values::UInt64(vec![1])], 1, token, age)).await.map(drop)
    }

    /// The records of these offsets, the even ones in partition 0.
    fn coordinates(&self, token: &str, offsets: std::ops::Range<i64>, age: Duration) -> Block {
        let layout = Layout { key: [0, 1, 2].into(), ..Layout::new(Arc::clone(&self.table), [0, 1, 2, 3]) };
        let rows = usize::try_from(offsets.end - offsets.start).expect("small");
        let mut topics = Text::default();
        (0..rows).for_each(|_| topics.push("it's a topic"));
        let partitions = offsets.clone().map(|offset| i32::from(offset % 2 == 1)).collect();
        let values = vec![
            Values::Text(topics),
            Values::Int32(partitions),
            Values::Int64(offsets.collect()),
            Values::UInt64(vec![7; rows]),
        ];
        let ops = vec![Op::Upsert; rows];
        Block { ops, ..block(Arc::new(layout), values, rows, token, age) }
    }

    async fn send(&self, block: &Block) -> Result<Receipt, Error> {
        self.connection.session.write(&[block], None).await
    }
}

/// A block of a claim that was made so long ago.
fn block(layout: Arc<Layout>, values: Vec<Values>, rows: usize, token: &str, age: Duration) -> Block {
    let columns = layout.empty_columns().into_iter().zip(values);
    let columns = columns.map(|(column, values)| Column { values, ..column }).collect();
    let token = Token { text: token.into(), since: Some(SystemTime::now() - age) };
    Block { token: Some(token), ..Block::new(layout, columns, rows) }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_block_that_is_too_old_is_not_trusted_to_its_token() {
    let services = support::services();
    let name = support::unique("old");
    let settings = "non_replicated_deduplication_window = 20";
    query(
        &services.clickhouse,
        &format!("CREATE TABLE {name} (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS {settings}"),
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let writer = Writer::to(&services, &name).await;
        writer.write("a", Duration::ZERO).await.expect("written");
        writer.write("a", Duration::ZERO).await.expect("it is there");
        // An outage in which nobody wrote: it may be as old as it likes.
        writer.write("a", HOUR).await.expect("it is there");
        assert_eq!(query(&services.clickhouse, &format!("SELECT count() FROM {name}")), "1");
        for token in 0..11 {
            writer.write(&format!("b{token}"), Duration::ZERO).await.expect("written");
        }
        let error = writer.write("a", HOUR).await.expect_err("others came since");
        assert_eq!(error.advice, Advice::Pause);
        let text = error.to_string().replace(&name, "NAME").replace("3600 s", "SECONDS s");
        assert_snapshot!(text, @"default.NAME may have these rows already, from SECONDS s ago, and may not know that any more: up to 14 parts came since, and it remembers 20");
    });
    assert_eq!(query(&services.clickhouse, &format!("SELECT count() FROM {name}")), "12");
}

#[test]
fn a_table_that_has_the_records_coordinates_says_what_it_has_of_an_old_block() {
    let services = support::services();
    let name = support::unique("coordinates");
    query(
        &services.clickhouse,
        &format!(
            "CREATE TABLE {name} (_topic String, _partition Int32, _offset Int64, id UInt64) ENGINE = ReplacingMergeTree \
             ORDER BY (_topic, _partition, _offset) SETTINGS non_replicated_deduplication_window = 20"
        ),
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let writer = Writer::to(&services, &name).await;
        let (there, fresh) = (writer.coordinates("a", 0..50, Duration::ZERO), Duration::ZERO);
        writer.send(&there).await.expect("written");
        for number in 0..11 {
            let other = writer.coordinates(&format!("b{number}"), 1_000 + number..1_001 + number, fresh);
            writer.send(&other).await.expect("written");
        }
        let rows = || query(&services.clickhouse, &format!("SELECT count() FROM {name} FINAL"));
        assert_eq!(rows(), "61");
        // The token is forgotten, the rows are there.
        let receipt = writer.send(&writer.coordinates("a", 0..50, HOUR)).await.expect("it is there");
        assert_eq!((receipt.rows, receipt.bytes), (50, 0), "nothing was sent");
        // None of these is.
        let receipt = writer.send(&writer.coordinates("c", 50..60, HOUR)).await.expect("written now");
        assert!(receipt.bytes > 0);
        assert_eq!(rows(), "71");
        // Some of these are, and nobody knows why.
        let error = writer.send(&writer.coordinates("d", 55..65, HOUR)).await.expect_err("some are there");
        assert_eq!(error.advice, Advice::Pause);
        assert_eq!(rows(), "71");
    });
}
