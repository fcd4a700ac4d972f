//! One configuration, several databases: but for the target's URL nothing differs, and the tables hold the same rows.
//!
//! What they must hold is computed here, record by record, without any of rowfall's code; each database is asked for it
//! in its own SQL, as integers and texts that mean the same everywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::{MySql, Product};
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Database, Decode, Executor, IntoArguments, Row, SqlSafeStr, Type};

use crate::support::{self, Rowfall};
use crate::workload;

const PARTITIONS: u64 = 4;

/// How many records of each phase; `ROWFALL_RECORDS` says more.
fn records() -> u64 {
    std::env::var("ROWFALL_RECORDS").map_or(5_000, |count| count.parse().expect("a number"))
}

/// What a row holds: name, cents, eighths, milliseconds since 1970, ok, note.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    name: String,
    cents: i64,
    eighths: i64,
    at: i64,
    ok: bool,
    note: Option<String>,
}

impl Item {
    fn random(random: &mut StdRng) -> Self {
        let number: i64 = random.random_range(0..1_000_000);
        Self {
            name: format!("item {number} it's \"so\" \\ ☃🦀"),
            cents: random.random_range(-99_999_999..99_999_999),
            eighths: random.random_range(-8_000..8_000),
            at: 1_764_000_000_000 + random.random_range(0..10_000_000_000),
            ok: random.random(),
            note: random.random_bool(0.7).then(|| format!("note {number}")),
        }
    }

    fn json(&self, id: Option<i64>) -> String {
        let sign = if self.cents < 0 { "-" } else { "" };
        let cents = self.cents.unsigned_abs();
        let at = jiff::Timestamp::from_millisecond(self.at).expect("in range");
        #[allow(clippy::cast_precision_loss, reason = "it is small")]
        let score = self.eighths as f64 / 8.0;
        let mut text = String::from("{");
        if let Some(id) = id {
            write!(text, "\"id\":{id},").expect("a String");
        }
        write!(
            text,
            r#""name":{},"amount":{sign}{}.{:02},"score":{score:?},"at":"{at:.3}","ok":{},"note":{}}}"#,
            serde_json::json!(self.name),
            cents / 100,
            cents % 100,
            self.ok,
            serde_json::json!(self.note),
        )
        .expect("a String");
        text
    }

    /// As [`Target::read`] answers it.
    fn line(&self, id: i64) -> String {
        let Self { name, cents, eighths, at, ok, note } = self;
        let note = note.as_deref().unwrap_or("–");
        format!("{id}|{name}|{cents}|{eighths}|{at}|{}|{note}", u8::from(*ok))
    }
}

/// A database.
struct Target {
    url: String,
    /// All rows of a table in one column of lines, in the order of their ids; of a table that replaces rows those that count.
    read: Box<Read>,
}

type Read = dyn Fn(&str, bool) -> Vec<String>;

/// The lines that a statement answers.
pub(crate) fn lines<C>(url: &str, sql: &str) -> Vec<String>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    <C::Database as Database>::Arguments: IntoArguments<C::Database>,
    for<'r> String: Decode<'r, C::Database> + Type<C::Database>,
    usize: ColumnIndex<<C::Database as Database>::Row>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = C::connect(url).await.expect("connected");
        let rows = (&mut connection).fetch_all(sqlx::query(AssertSqlSafe(sql).into_sql_str())).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.try_get(0).expect("a text")).collect()
    })
}

fn clickhouse() -> Target {
    let server = support::services().clickhouse;
    let url = support::target(&server);
    let read = move |table: &str, replaces: bool| {
        let sql = format!(
            "SELECT concat(toString(id), '|', name, '|', toString(toInt64(amount * 100)), '|', toString(toInt64(score * 8)), \
             '|', toString(toUnixTimestamp64Milli(at)), '|', toString(toUInt8(ok)), '|', ifNull(note, '–')) \
             FROM {table} {} ORDER BY id FORMAT TSVRaw",
            if replaces { "FINAL" } else { "" }
        );
        support::query(&server, &sql).lines().map(str::to_owned).collect()
    };
    Target { url, read: Box::new(read) }
}

fn sqlite(folder: &tempfile::TempDir) -> Target {
    let url = format!("sqlite://{}", folder.path().join("shop.db").display());
    let file = url.clone();
    let read = move |table: &str, _: bool| {
        let sql = format!(
            "SELECT id || '|' || name || '|' || CAST(replace(amount, '.', '') AS INTEGER) || '|' || CAST(score * 8 AS INTEGER) \
             || '|' || (CAST(strftime('%s', at) AS INTEGER) * 1000 + CAST(substr(at, 21, 3) AS INTEGER)) \
             || '|' || ok || '|' || coalesce(note, '–') FROM {table} ORDER BY id"
        );
        lines::<sqlx::SqliteConnection>(&file, &sql)
    };
    Target { url, read: Box::new(read) }
}

fn postgres() -> Target {
    let url = support::services().postgres.url();
    let server = url.clone();
    let read = move |table: &str, _: bool| {
        let sql = format!(
            "SELECT concat_ws('|', id, name, (amount * 100)::bigint, (score * 8)::bigint, \
             (extract(epoch FROM at) * 1000)::bigint, ok::int, coalesce(note, '–')) FROM {table} ORDER BY id"
        );
        lines::<sqlx::PgConnection>(&server, &sql)
    };
    Target { url, read: Box::new(read) }
}

fn mysql(product: Product) -> Target {
    let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
    lines::<sqlx::MySqlConnection>(&server.url(""), "CREATE DATABASE IF NOT EXISTS rowfall_test_databases");
    let url = server.url("rowfall_test_databases");
    let database = url.clone();
    let read = move |table: &str, _: bool| {
        let sql = format!(
            "SELECT CAST(concat_ws('|', id, name, CAST(amount * 100 AS SIGNED), CAST(score * 8 AS SIGNED), \
             CAST(timestampdiff(MICROSECOND, '1970-01-01', at) / 1000 AS SIGNED), ok, coalesce(note, '–')) AS CHAR) \
             FROM {table} ORDER BY id"
        );
        lines::<sqlx::MySqlConnection>(&database, &sql)
    };
    Target { url, read: Box::new(read) }
}

/// What the tables must hold, while records are produced.
struct Course {
    kafka: rowfall_services::Kafka,
    name: String,
    items: BTreeMap<i64, Item>,
    log: Vec<(i64, Item)>,
    random: StdRng,
}

impl Course {
    fn new() -> Self {
        let (kafka, name) = (support::services().kafka, support::unique("databases"));
        for topic in ["log", "items"] {
            support::create_topic(&kafka, &format!("{name}_{topic}"), PARTITIONS.try_into().expect("small"), &[]);
        }
        Self { kafka, name, items: BTreeMap::new(), log: Vec::new(), random: StdRng::seed_from_u64(20_261_125) }
    }

    /// Produces a record of each id to both topics; without an item it deletes.
    fn produce(&mut self, ids: impl Iterator<Item = i64>, deletes: bool) {
        let producer = workload::producer(&self.kafka.brokers);
        let (log, items) = (format!("{}_log", self.name), format!("{}_items", self.name));
        for id in ids {
            let key = format!(r#"{{"id":{id}}}"#);
            // All records of a key are in one partition.
            let partition = i32::try_from(id.unsigned_abs() % PARTITIONS).expect("small");
            if deletes {
                workload::send(&producer, BaseRecord::<str, str>::to(&items).key(&key).partition(partition));
                self.items.remove(&id);
                continue;
            }
            let item = Item::random(&mut self.random);
            let value = item.json(None);
            workload::send(
                &producer,
                BaseRecord::<str, str>::to(&items).key(&key).payload(&value).partition(partition),
            );
            let number = i64::try_from(self.log.len()).expect("small");
            let value = item.json(Some(number));
            workload::send(&producer, BaseRecord::<str, str>::to(&log).payload(&value).partition(partition));
            self.items.insert(id, item.clone());
            self.log.push((number, item));
        }
        producer.flush(Duration::from_secs(60)).expect("all are acknowledged");
    }

    fn run(&self, target: &Target) -> u64 {
        let name = &self.name;
        let columns = "columns: { name: string, amount: 'decimal(18,2)', score: float64, at: timestamp(3), ok: bool, note: string";
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ndelivery: at-least-once\ntopics:\n  \
             {name}_log: {{ {columns}, id: {{ type: int64, nullable: false }} }} }}\n  \
             {name}_items: {{ mode: upsert, primary_key: 'record-key:id', deletes: true, {columns}, \
             id: {{ type: int64, nullable: false }} }} }}\n",
            self.kafka.brokers, target.url
        ));
        let arguments = ["--until-end", "--output", "json"];
        Rowfall::with_config("run", &config, &arguments).start().wait(Duration::from_secs(300)).rows()
    }

    fn assert_equal(&self, target: &Target) {
        let expected: Vec<_> = self.items.iter().map(|(id, item)| item.line(*id)).collect();
        assert_lines(&(target.read)(&format!("{}_items", self.name), true), &expected);
        let expected: Vec<_> = self.log.iter().map(|(id, item)| item.line(*id)).collect();
        assert_lines(&(target.read)(&format!("{}_log", self.name), false), &expected);
    }
}

/// Fails with the first line that differs, not with all of them.
fn assert_lines(read: &[String], expected: &[String]) {
    for (read, expected) in read.iter().zip(expected) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.len(), expected.len(), "rows");
}

fn moves_the_same(target: &Target) {
    let count = i64::try_from(records()).expect("small");
    let mut course = Course::new();
    course.produce(0..count, false);
    course.run(target);
    course.assert_equal(target);
    // Three in ten are of a key that was there, some of them several times; in one batch, and over several runs.
    let ids: Vec<_> = (count..2 * count)
        .map(|id| if course.random.random_bool(0.3) { course.random.random_range(0..id) } else { id })
        .collect();
    course.produce(ids.into_iter(), false);
    course.run(target);
    course.assert_equal(target);
    let deleted: Vec<_> = (0..count / 5).map(|_| course.random.random_range(0..2 * count)).collect();
    course.produce(deleted.iter().copied(), true);
    // Some come back, in the batch that deletes them.
    course.produce(deleted.iter().step_by(3).copied(), false);
    course.run(target);
    course.assert_equal(target);
    assert_eq!(course.run(target), 0, "nothing is left to move");
}

#[test]
fn clickhouse_moves_inserts_upserts_and_deletes() {
    moves_the_same(&clickhouse());
}

#[test]
fn postgres_moves_inserts_upserts_and_deletes() {
    moves_the_same(&postgres());
}

#[test]
fn mariadb_moves_inserts_upserts_and_deletes() {
    moves_the_same(&mysql(Product::MariaDb));
}

#[test]
fn mysql_moves_inserts_upserts_and_deletes() {
    moves_the_same(&mysql(Product::MySql));
}

#[test]
fn sqlite_moves_inserts_upserts_and_deletes() {
    let folder = tempfile::tempdir().expect("a folder");
    moves_the_same(&sqlite(&folder));
}
