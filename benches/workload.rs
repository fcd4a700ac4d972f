//! The records that tests and benches move: 12 fields, about 250 bytes of JSON, each a function of its number alone,
//! so that a table can be compared with what was produced without keeping it.

#![allow(dead_code, reason = "each test and bench uses a part")]

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

/// The table's columns in ClickHouse.
pub(crate) const COLUMNS: &str = "id UInt64, user_id UInt32, event LowCardinality(String), country LowCardinality(String), \
     price Decimal(18, 2), quantity Int32, ok Bool, score Float64, at DateTime64(3, 'UTC'), session UUID, \
     url String, note Nullable(String)";

/// Each of the columns, name and type; some types have commas in parentheses.
pub(crate) fn columns() -> Vec<&'static str> {
    let mut depth = 0_i32;
    let outside = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    COLUMNS.split(outside).map(str::trim).collect()
}

/// The same columns computed by ClickHouse from `number`: an oracle that shares no code with rowfall.
pub(crate) const EXPECTED: &str = "number AS id, toUInt32(number * 7 % 1000003) AS user_id, \
     ['view','click','cart','order','refund'][number % 5 + 1]::LowCardinality(String) AS event, \
     ['DE','FR','IT','ES','PL','SE','NL'][number % 7 + 1]::LowCardinality(String) AS country, \
     toDecimal64(number * 37 % 10000000, 2) / 100 AS price, toInt32(number % 100) - 50 AS quantity, \
     number % 3 = 0 AS ok, number / 8 AS score, \
     fromUnixTimestamp64Milli(toInt64(1764000000000 + number * 11), 'UTC') AS at, \
     toUUID(concat('6ba7b810-9dad-11d1-80b4-', leftPad(lower(hex(number)), 12, '0'))) AS session, \
     concat('/shop/', toString(number % 1000), '/item-', toString(number), '?ref=mail') AS url, \
     if(number % 4 = 0, NULL, concat('note ', toString(number), ' says nothing much')) AS note";

/// Whether a value of the row `t` of such a table is another than the row `e` of [`EXPECTED`] has.
pub(crate) fn differs() -> String {
    let columns = ["user_id", "event", "country", "price", "quantity", "ok", "score", "at", "session", "url", "note"];
    columns.map(|c| format!("t.{c} IS DISTINCT FROM e.{c}")).join(" OR ")
}

const EVENTS: [&str; 5] = ["view", "click", "cart", "order", "refund"];
const COUNTRIES: [&str; 7] = ["DE", "FR", "IT", "ES", "PL", "SE", "NL"];

/// Appends the record of this number to `out`.
pub(crate) fn write_record(number: u64, out: &mut String) {
    use std::fmt::Write;
    let at = jiff::Timestamp::from_millisecond(i64::try_from(1_764_000_000_000 + number * 11).expect("in range"));
    let at = at.expect("in range");
    let cents = number * 37 % 10_000_000;
    let eighths = ["", ".125", ".25", ".375", ".5", ".625", ".75", ".875"][usize::try_from(number % 8).expect("small")];
    write!(
        out,
        r#"{{"id":{number},"user_id":{},"event":"{}","country":"{}","price":{}.{:02},"quantity":{},"ok":{},"score":{}{eighths},"at":"{at:.3}","session":"6ba7b810-9dad-11d1-80b4-{number:012x}","url":"/shop/{}/item-{number}?ref=mail","note":"#,
        number * 7 % 1_000_003,
        EVENTS[usize::try_from(number % 5).expect("small")],
        COUNTRIES[usize::try_from(number % 7).expect("small")],
        cents / 100,
        cents % 100,
        i64::try_from(number % 100).expect("small") - 50,
        number.is_multiple_of(3),
        number / 8,
        number % 1_000,
    )
    .expect("a String can be written to");
    match number % 4 {
        0 => out.push_str("null}"),
        _ => write!(out, r#""note {number} says nothing much"}}"#).expect("a String can be written to"),
    }
}

/// The record of this number.
pub(crate) fn record(number: u64) -> String {
    let mut out = String::with_capacity(300);
    write_record(number, &mut out);
    out
}

/// Creates a topic with lz4 kept as the producer sends it.
pub(crate) async fn create_topic(brokers: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let result = admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers");
    result[0].as_ref().unwrap_or_else(|e| panic!("topic {topic}: {e:?}"));
}

/// A producer that loses nothing and keeps the order.
pub(crate) fn producer(brokers: &str) -> ThreadedProducer<DefaultProducerContext> {
    producer_of(brokers, &[])
}

/// The same with further properties.
pub(crate) fn producer_of(brokers: &str, properties: &[(&str, &str)]) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "131072");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().expect("a producer")
}

/// Produces the records of these numbers, number `n` to partition `n % partitions`, and waits for all to be acknowledged.
pub(crate) fn produce(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<u64>) {
    let producer = producer(brokers);
    let mut text = String::with_capacity(300);
    for number in numbers {
        text.clear();
        write_record(number, &mut text);
        let partition = i32::try_from(number % u64::try_from(partitions).expect("positive")).expect("small");
        send(&producer, BaseRecord::<(), _>::to(topic).partition(partition).payload(text.as_str()));
    }
    producer.flush(Duration::from_secs(60)).expect("all are acknowledged");
}

/// Sends, waiting while the producer's queue is full.
pub(crate) fn send<K: ToBytes + ?Sized>(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, K, str>,
) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((error, back)) => {
                assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
                record = back;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
