//! Exactly once, in the databases' transactions and by claims: whatever is killed, frozen, moved or taken over in mid-flight, each
//! record is in the table once. Each test prints what it counted.
//!
//! `exactly_once_into!` at the end runs them for a database; it needs a place to write to and a way to ask it.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::config::ClientConfig;
use rowfall_services::{Kafka, MySql, Product};
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Database, Decode, Executor, IntoArguments, Row, SqlSafeStr, Type};

use crate::load::Load;
use crate::support::{self, ConfigFile, Process, Rowfall, eventually};
use crate::{topics, workload};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything that recovers needs, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: u64 = 4;
/// Records a second: several transactions at any time, and none so long that a kill would always meet it.
const RATE: u64 = 4_000;

/// Kills and changes of the group, at times and to processes that a seed decides. `ROWFALL_FAULTS` says how many each
/// database gets, from all tests together that have some; `ROWFALL_SEED` says the seed.
struct Faults {
    seed: u64,
    count: u64,
    random: StdRng,
}

impl Faults {
    /// Tests of one database among which they are divided.
    const TESTS: u64 = 5;

    /// One test's; `usual` where nobody says how many.
    fn new(usual: u64) -> Self {
        let seed = support::given("ROWFALL_SEED").unwrap_or(20_261_125);
        let count = support::given("ROWFALL_FAULTS").map_or(usual, |all| all.div_ceil(Self::TESTS));
        Self { seed, count, random: StdRng::seed_from_u64(seed) }
    }

    fn after(&mut self, milliseconds: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(milliseconds)));
    }
}

/// Rows of integers.
pub(crate) type Rows = Vec<Vec<Option<i64>>>;
pub(crate) type Answer = Result<Rows, sqlx::Error>;

/// Where rows go.
pub(crate) struct Place {
    pub(crate) url: String,
    /// Asks the database there for integers, or has it do something and asks for none.
    pub(crate) ask: fn(&str, &str) -> Answer,
    /// What lives as long as this.
    pub(crate) _folder: Option<tempfile::TempDir>,
}

/// Runs one statement on a connection of its own.
pub(crate) fn ask<C>(url: &str, sql: &str) -> Answer
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    <C::Database as Database>::Arguments: IntoArguments<C::Database>,
    for<'r> i64: Decode<'r, C::Database> + Type<C::Database>,
    usize: ColumnIndex<<C::Database as Database>::Row>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = C::connect(url).await?;
        let rows = (&mut connection).fetch_all(sqlx::query(AssertSqlSafe(sql).into_sql_str())).await?;
        connection.close().await?;
        rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
    })
}

/// A topic, and the files that have processes of one pipeline move it into a table of its name.
struct Course<'p> {
    kafka: Kafka,
    place: &'p Place,
    name: String,
    configs: Vec<ConfigFile>,
}

impl<'p> Course<'p> {
    /// `kafka`: for each process what stands between the braces of `kafka`, in YAML. `more`: further top-level YAML.
    fn new(place: &'p Place, name: &str, kafka: &[&str], more: &str) -> Self {
        let services = support::services();
        let name = support::unique(name);
        support::create_topic(&services.kafka, &name, i32::try_from(PARTITIONS).expect("small"), &[]);
        let config = |kafka: &&str| {
            support::config_file(&format!(
                "name: {name}\nkafka: {{ brokers: '{}', {kafka} }}\ntarget: {{ url: '{}' }}\nbatch: {{ age: 100ms }}\n\
                 topics: {{ {name}: {{ unknown_fields: ignore, columns: {{ id: int64, note: string }} }} }}\n{more}\n",
                services.kafka.brokers, place.url,
            ))
        };
        let configs = kafka.iter().map(config).collect();
        Self { kafka: services.kafka, place, name, configs }
    }

    fn start(&self, process: usize) -> Process {
        Rowfall::with_config("run", &self.configs[process], &["--output", "json"]).start()
    }

    /// Runs to the end, and answers how many rows were moved.
    fn until_end(&self) -> u64 {
        Rowfall::with_config("run", &self.configs[0], &["--until-end", "--output", "json"])
            .start()
            .wait(PATIENCE)
            .rows()
    }

    fn load(&self) -> Load {
        Load::start(&self.kafka, &self.name, PARTITIONS, RATE)
    }

    fn produce(&self, numbers: std::ops::Range<u64>) {
        workload::produce(&self.kafka.brokers, &self.name, i32::try_from(PARTITIONS).expect("small"), numbers);
    }

    fn ask(&self, sql: &str) -> Vec<Option<i64>> {
        self.try_ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first row.
    fn try_ask(&self, sql: &str) -> Result<Vec<Option<i64>>, sqlx::Error> {
        let rows = (self.place.ask)(&self.place.url, &sql.replace("{table}", &self.name))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Rows; none where there is no table yet.
    fn rows(&self) -> i64 {
        self.try_ask("SELECT count(*) FROM {table}").ok().and_then(|counts| counts[0]).unwrap_or(0)
    }

    /// Rows, different ones, and the highest number.
    fn counts(&self) -> [i64; 3] {
        let counts = self.ask("SELECT count(*), count(DISTINCT id), max(id) FROM {table}");
        counts.into_iter().map(|count| count.expect("a number")).collect::<Vec<_>>().try_into().expect("three")
    }

    /// Waits until the table has so many rows more than now.
    fn wait_for_more(&self, rows: i64) {
        let before = self.rows();
        eventually(&format!("{rows} more rows in {}", self.name), PATIENCE, || self.rows() >= before + rows);
    }

    fn wait_for(&self, count: u64) {
        let count = i64::try_from(count).expect("small");
        eventually(&format!("{count} rows in {}", self.name), PATIENCE, || self.rows() >= count);
    }

    /// The same after faults, which it tells.
    fn verdict_after(&self, faults: &Faults, count: u64) {
        println!("{}: {} faults by seed {}", self.name, faults.count, faults.seed);
        self.verdict(count);
    }

    /// Fails unless each of the records `0..count` is in the table once.
    fn verdict(&self, count: u64) {
        let count = i64::try_from(count).expect("small");
        let [rows, different, last] = self.counts();
        println!("{}: {count} produced, {} lost, {} doubled", self.name, count - different, rows - different);
        assert_eq!([rows, different, last], [count, count, count - 1], "{}: rows, different ones, the last", self.name);
    }
}

fn end(process: Process) -> String {
    process.signal("TERM");
    let output = process.wait(PATIENCE);
    assert_eq!(output.code(), 0, "{output:#?}");
    println!("{}", output.stderr);
    output.stderr
}

fn wait_until_said(process: &Process, what: &str, times: usize) {
    eventually(&format!("{what:?} {times} times"), PATIENCE, || process.said().matches(what).count() >= times);
}

/// One member of the group, which comes back as itself each time: the group does not wait for its session.
fn kills_of_one(place: &Place) {
    let mut faults = Faults::new(14);
    let course = Course::new(place, "kills", &["instance: one"], "");
    let load = course.load();
    for _ in 0..faults.count {
        let process = course.start(0);
        wait_until_said(&process, " assigned: ", 1);
        faults.after(0..600);
        println!("{} rows", course.rows());
        process.kill9();
    }
    let before = course.rows();
    let count = load.end();
    course.until_end();
    course.verdict_after(&faults, count);
    assert!(before > 0, "rows moved between the kills");
}

/// Two members share the partitions, and are killed in turns and together.
fn kills_of_two(place: &Place) {
    let mut faults = Faults::new(14);
    let course = Course::new(place, "kills_of_two", &["instance: one", "instance: two"], "");
    let load = course.load();
    let mut processes = [0, 1].map(|index| course.start(index));
    processes.iter().for_each(|process| wait_until_said(process, " assigned: ", 1));
    for fault in 0..faults.count {
        faults.after(100..700);
        let which: &[usize] = if fault % 4 == 3 { &[0, 1] } else { &[faults.random.random_range(0..2)] };
        for index in which {
            std::mem::replace(&mut processes[*index], course.start(*index)).kill9();
        }
    }
    let count = load.end();
    course.wait_for(count);
    processes.into_iter().for_each(|process| drop(end(process)));
    course.verdict_after(&faults, count);
}

/// A second member joins, one of the two leaves, and so on.
fn join_and_leave(place: &Place, properties: &str) {
    let mut faults = Faults::new(4);
    let kafka = format!("properties: {properties}");
    let course = Course::new(place, "moves", &[&kafka], "");
    let load = course.load();
    let joins = || {
        let process = course.start(0);
        // In a cooperative group it first gets none.
        wait_until_said(&process, &format!(" assigned: {}[", course.name), 1);
        course.wait_for_more(3_000);
        process
    };
    let mut processes = vec![joins()];
    for _ in 0..faults.count {
        if processes.len() == 1 {
            processes.push(joins());
        } else {
            end(processes.swap_remove(faults.random.random_range(0..2)));
            course.wait_for_more(3_000);
        }
        faults.after(0..300);
    }
    processes.into_iter().for_each(|process| drop(end(process)));
    let count = load.end();
    course.until_end();
    course.verdict_after(&faults, count);
}

/// A process that stood still for longer than its session wakes up with rows in its hands that are another's by now.
fn frozen_beyond_its_session(place: &Place) {
    let kafka = "properties: { session.timeout.ms: 6000, heartbeat.interval.ms: 1000 }";
    let course = Course::new(place, "frozen", &[kafka], "");
    let load = course.load();
    let first = course.start(0);
    course.wait_for_more(2_000);
    let second = course.start(0);
    wait_until_said(&second, " assigned: ", 1);
    course.wait_for_more(2_000);
    // It may be frozen within a transaction, which then keeps everyone else waiting: that is another test's subject.
    let asked = Instant::now();
    loop {
        first.signal("STOP");
        let all = second.said().matches(" partitions=4").count();
        eventually("the other one has all", PATIENCE, || {
            second.said().matches(" partitions=4").count() > all || asked.elapsed() > PATIENCE
        });
        let before = course.rows();
        std::thread::sleep(2 * SECOND);
        let moves = course.rows() > before + i64::try_from(RATE).expect("small");
        first.signal("CONT");
        if moves {
            break;
        }
        println!("it was frozen within a transaction");
        wait_until_said(&second, " assigned: ", second.said().matches(" assigned: ").count() + 1);
    }
    course.wait_for_more(8_000);
    let said = end(first);
    assert!(said.contains("lost=true") || said.contains("taken over by another process"), "{said}");
    end(second);
    let count = load.end();
    course.until_end();
    course.verdict(count);
}

/// What the group does not tell: another process takes the partitions over in the database alone.
fn taken_over(place: &Place) {
    let course = Course::new(place, "taken", &[""], "");
    let load = course.load();
    let process = course.start(0);
    course.wait_for_more(2_000);
    for time in 1..=3 {
        course.ask("UPDATE rowfall_offsets SET epoch = epoch + 1 WHERE pipeline = '{table}'");
        wait_until_said(&process, "taken over by another process in the database: ", time);
        course.wait_for_more(6_000);
    }
    let count = load.end();
    course.wait_for(count);
    let said = end(process);
    println!("{said}");
    let times = said.matches("taken over by another process").count();
    assert!(times <= 12, "at most once for each time and partition, not for each batch: {times}");
    course.verdict(count);
}

/// The table decides, not the group; where the table says nothing, the group does.
fn the_table_decides(place: &Place) {
    let course = Course::new(place, "decides", &[""], "");
    course.produce(0..1_000);
    assert_eq!(course.until_end(), 1_000);
    // The group goes back to the beginning, and beyond what was moved.
    for offset in [0, 400] {
        course.produce(1_000 + 10 * offset..1_000 + 10 * offset + 1_000);
        commit(&course.kafka, &course.name, i64::try_from(offset).expect("small"));
        assert_eq!(course.until_end(), 1_000, "with the group at {offset}");
    }
    let behind = support::committed_and_end(&course.kafka, &course.name, &course.name, 4);
    assert!(behind.iter().all(|(committed, end)| *committed == Some(*end)), "the group is told: {behind:?}");
    assert_eq!(course.counts()[..2], [3_000, 3_000]);
    // Half of it is lost, and an older copy comes back: the records are read again from where the copy stands.
    course.ask("DELETE FROM {table} WHERE id >= 1000");
    course.ask("UPDATE rowfall_offsets SET next_offset = 250 WHERE pipeline = '{table}'");
    assert_eq!(course.until_end(), 2_000);
    assert_eq!(course.counts()[..2], [3_000, 3_000]);
    // Without its rows the group goes on where it was told last.
    course.ask("DELETE FROM rowfall_offsets WHERE pipeline = '{table}'");
    assert_eq!(course.until_end(), 0);
}

/// A pipeline that ran at least once in between has told the group alone how far it came.
fn delivery_changes(place: &Place) {
    let course = Course::new(place, "changes", &[""], "");
    let text = std::fs::read_to_string(&course.configs[0].path).expect("readable");
    for (round, delivery) in ["exactly-once", "at-least-once", "exactly-once", "at-least-once"].iter().enumerate() {
        std::fs::write(&course.configs[0].path, format!("{text}delivery: {delivery}\n")).expect("written");
        let from = 1_000 * u64::try_from(round).expect("small");
        course.produce(from..from + 1_000);
        assert_eq!(course.until_end(), 1_000, "{delivery}");
    }
    course.verdict(4_000);
}

/// A topic that was deleted and created again begins anew, while nobody looks and while a process runs.
fn topic_created_again(place: &Place) {
    let every = "properties: { topic.metadata.refresh.interval.ms: 500 }";
    let course = Course::new(place, "again", &[every], "");
    course.produce(0..1_000);
    assert_eq!(course.until_end(), 1_000);
    create_again(&course);
    course.produce(1_000..1_400);
    assert_eq!(course.until_end(), 400, "from its first record");
    let process = course.start(0);
    wait_until_said(&process, " assigned: ", 1);
    create_again(&course);
    course.produce(1_400..3_000);
    course.wait_for(3_000);
    end(process);
    course.verdict(3_000);
}

fn create_again(course: &Course<'_>) {
    topics::delete_topic(&course.kafka, &course.name);
    topics::create_again(&course.kafka, &course.name, i32::try_from(PARTITIONS).expect("small"));
}

/// Commits to the group as an operator may, in all partitions.
fn commit(kafka: &Kafka, name: &str, offset: i64) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", name)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS).expect("small") {
        list.add_partition_offset(name, partition, Offset::Offset(offset)).expect("an offset");
    }
    consumer.commit(&list, CommitMode::Sync).expect("committed");
}

/// All of it for one database, which has transactions or tokens. `$place` makes a [`Place`] of its own for each test.
macro_rules! exactly_once_into {
    (@tokens $place:expr) => {};
    (@transactions $place:expr) => {
        #[test]
        fn taken_over_in_the_database() {
            super::taken_over(&$place());
        }

        #[test]
        fn the_table_decides() {
            super::the_table_decides(&$place());
        }
    };
    ($database:ident, $place:expr, $means:ident) => {
        mod $database {
            #[test]
            fn kills_of_one_process() {
                super::kills_of_one(&$place());
            }

            #[test]
            fn kills_of_two_processes() {
                super::kills_of_two(&$place());
            }

            #[test]
            fn members_join_and_leave_eagerly() {
                super::join_and_leave(&$place(), "{}");
            }

            #[test]
            fn members_join_and_leave_cooperatively() {
                super::join_and_leave(&$place(), "{ partition.assignment.strategy: cooperative-sticky }");
            }

            #[test]
            fn members_join_and_leave_by_the_consumer_protocol() {
                super::join_and_leave(&$place(), "{ group.protocol: consumer }");
            }

            #[test]
            fn frozen_beyond_its_session() {
                super::frozen_beyond_its_session(&$place());
            }

            exactly_once_into!(@$means $place);

            #[test]
            fn delivery_changes() {
                super::delivery_changes(&$place());
            }

            #[test]
            fn topic_created_again() {
                super::topic_created_again(&$place());
            }
        }
    };
}

exactly_once_into!(sqlite, super::sqlite, transactions);

pub(crate) fn sqlite() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("rows.db").display());
    Place { url, ask: ask::<sqlx::SqliteConnection>, _folder: Some(folder) }
}

exactly_once_into!(postgres, super::postgres, transactions);

/// A schema of its own.
pub(crate) fn postgres() -> Place {
    let server = rowfall_services::Postgres::running().unwrap_or_else(|error| panic!("{error}"));
    let schema = support::unique("exactly_once");
    ask::<sqlx::PgConnection>(&server.url(), &format!("CREATE SCHEMA {schema}")).expect("created");
    let url = format!("{}?options=-c%20search_path%3D{schema}", server.url());
    Place { url, ask: ask::<sqlx::PgConnection>, _folder: None }
}

exactly_once_into!(mysql, || super::mysql(rowfall_services::Product::MySql), transactions);
exactly_once_into!(mariadb, || super::mysql(rowfall_services::Product::MariaDb), transactions);

/// A database of its own.
pub(crate) fn mysql(product: Product) -> Place {
    let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
    let database = support::unique("exactly_once");
    ask::<sqlx::MySqlConnection>(&server.url("mysql"), &format!("CREATE DATABASE {database}")).expect("created");
    Place { url: server.url(&database), ask: ask::<sqlx::MySqlConnection>, _folder: None }
}

exactly_once_into!(clickhouse, super::clickhouse, tokens);

/// Where every table has a name of its own.
fn clickhouse() -> Place {
    let answer = |_: &str, sql: &str| {
        let answer = rowfall_services::ClickHouse::running().and_then(|server| server.query(sql));
        // A table that is not there yet is the one thing that may be wrong.
        let answer = answer.map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
        Ok(rows_of(&answer))
    };
    Place { url: support::target(&support::services().clickhouse), ask: answer, _folder: None }
}

/// What ClickHouse answers.
pub(crate) fn rows_of(answer: &str) -> Rows {
    let row = |line: &str| line.split('\t').map(|number| number.parse().ok()).collect();
    answer.lines().map(row).collect()
}

/// While the database is away partitions come, and wait; the group does not notice.
#[test]
fn partitions_wait_for_the_database() {
    let place = sqlite();
    let course = Course::new(&place, "wait", &[""], "");
    course.produce(0..1_000);
    assert_eq!(course.until_end(), 1_000);
    let processes = [0, 0].map(|config| course.start(config));
    processes.iter().for_each(|process| wait_until_said(process, " partitions=2", 1));
    let [first, second] = processes;
    let before = first.said().matches(" assigned: ").count();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let lock = runtime.block_on(async {
        let mut connection = sqlx::SqliteConnection::connect(&place.url).await.expect("it can be opened");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("nobody writes for long");
        connection
    });
    end(second);
    wait_until_said(&first, " assigned: ", before + 1);
    course.produce(1_000..2_000);
    wait_until_said(&first, "the database takes no rows; they wait until it does: ", 1);
    std::thread::sleep(5 * SECOND);
    assert_eq!(course.rows(), 1_000);
    drop(lock);
    course.wait_for(2_000);
    let said = end(first);
    assert!(said.contains(r#"tables="rowfall_offsets""#) && said.contains("the database takes rows again"), "{said}");
    assert!(!said.contains("lost=true"), "it stayed in its group: {said}");
    course.verdict(2_000);
}
