//! `rowfall demo`: the whole way on one machine without anything installed: librdkafka's in-process broker, generated
//! orders, the same pipeline as `run`, a SQLite table.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config::{self, Overrides};
use crate::pipeline::{self, RunOptions};
use crate::problem::Problem;

const TOPIC: &str = "orders";
/// The in-process broker keeps 5 MiB per partition and drops what is older, so the records are spread.
const PARTITIONS: i32 = 8;
/// Kept well below what the broker keeps: about 190 bytes each.
pub const MOST_RECORDS: u32 = 150_000;

/// Runs it; `say` gets each line for people.
///
/// # Errors
/// When any part of it fails.
pub fn run(records: u32, mut say: impl FnMut(&str)) -> Result<(), Problem> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Problem::new(format!("{what}: {error}"), "");
    let cluster = MockCluster::new(1).map_err(|e| failed("the in-process broker does not start", &e))?;
    cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(|e| failed("the topic cannot be created", &e))?;
    let brokers = cluster.bootstrap_servers();
    say(&format!(
        "1. an in-process Kafka broker listens on {brokers}, with a topic `{TOPIC}` of {PARTITIONS} partitions"
    ));

    let started = Instant::now();
    produce(&brokers, records)?;
    let (orders, seconds) = (HumanCount(records.into()), started.elapsed().as_secs_f64());
    say(&format!("2. {orders} generated orders (JSON) are in the topic, after {seconds:.1} s"));
    say(&format!("   {}", order(0)));

    let path = fresh_file().map_err(|e| failed("no place for the SQLite file", &e))?;
    let to = format!("sqlite://{}", path.display());
    let overrides = Overrides {
        brokers: Some(brokers),
        topics: vec![TOPIC.to_owned()],
        to: Some(to),
        // The in-process broker makes a group of the classic protocol wait three seconds.
        set: vec!["kafka.properties.group.protocol=consumer".to_owned()],
        ..Overrides::default()
    };
    let settings = config::load(&overrides).map_err(|e| failed("the demo's configuration", &e))?;
    let runtime = pipeline::runtime()?;
    let options = RunOptions { until_end: true, ..RunOptions::default() };
    let (summary, statements) = {
        let (connection, _) = runtime.block_on(pipeline::connect(&settings))?;
        let preview = runtime.block_on(crate::preview::plan(&settings, &connection))?;
        let preparation = runtime.block_on(pipeline::prepare(&settings, &connection))?;
        (pipeline::run(&settings, &connection, preparation, &options, runtime.handle())?, preview.text)
    };
    if let Some(problem) = summary.stopped.into_iter().next() {
        return Err(problem);
    }
    say("3. rowfall plans the table from a sample of the records:");
    for line in statements.trim_end().lines() {
        say(&format!("   {line}"));
    }
    let seconds = summary.elapsed.as_secs_f64();
    say(&format!(
        "4. rowfall moved {} records into SQLite in {seconds:.1} s; the table says:",
        HumanCount(summary.rows)
    ));
    for line in runtime.block_on(look(&path)).map_err(|e| failed("the table cannot be read", &e))? {
        say(&format!("   {line}"));
    }
    say("");
    say("Look at the table yourself:");
    say(&format!("   sqlite3 {} 'SELECT * FROM orders LIMIT 5'", path.display()));
    say("From here, with your own topic and table:");
    say("   rowfall plan --brokers localhost:9092 --topic orders --to clickhouse://user:password@localhost:8123/shop");
    say("   rowfall run  --brokers localhost:9092 --topic orders --to clickhouse://user:password@localhost:8123/shop");
    Ok(())
}

fn fresh_file() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join("rowfall-demo");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("orders.db");
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(format!("{}{suffix}", path.display())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(path)
}

fn produce(brokers: &str, records: u32) -> Result<(), Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::new(format!("cannot produce: {error}"), "");
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .map_err(|e| failed(&e))?;
    for number in 0..records {
        let (key, value) = (number.to_string(), order(number));
        producer.send(BaseRecord::to(TOPIC).key(&key).payload(&value)).map_err(|(e, _)| failed(&e))?;
    }
    producer.flush(Duration::from_secs(30)).map_err(|e| failed(&e))
}

/// An order that depends on nothing but its number.
fn order(number: u32) -> String {
    let scattered = number.wrapping_mul(2_654_435_761);
    let customer = ["Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances"][(scattered % 6) as usize];
    let item = ["teapot", "kettle", "cup", "saucer", "spoon"][(scattered / 7 % 5) as usize];
    let (quantity, cents) = (1 + scattered / 11 % 9, 100 + scattered / 13 % 9_900);
    let (minute, second) = (number / 60 % 1_440, number % 60);
    format!(
        r#"{{"id":{number},"customer":"{customer}","item":"{item}","quantity":{quantity},"price":{}.{:02},"gift":{},"ordered_at":"2026-11-24T{:02}:{:02}:{second:02}Z"}}"#,
        cents / 100,
        cents % 100,
        scattered.is_multiple_of(10),
        minute / 60,
        minute % 60,
    )
}

async fn look(path: &std::path::Path) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let mut lines = vec![format!("{:10} {:>8} {:>10} {:>14}", "item", "orders", "quantity", "revenue")];
    let query =
        "SELECT item, count(*), sum(quantity), round(sum(quantity * price), 2) FROM orders GROUP BY item ORDER BY item";
    for row in sqlx::query(query).fetch_all(&mut connection).await? {
        let row: SqliteRow = row;
        let (item, orders): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (quantity, revenue): (i64, f64) = (row.try_get(2)?, row.try_get(3)?);
        lines.push(format!("{item:10} {orders:8} {quantity:10} {revenue:14.2}"));
    }
    connection.close().await?;
    Ok(lines)
}
