//! What bounds rowfall: reading alone, and the server's insert alone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rowfall::source::queue::{Content, MessageBatch, MessageQueue};
use rowfall_services::ClickHouse;

use crate::PARTITIONS;

/// Reads these many records of the topic in one thread, as rowfall's workers do, and drops them; prints the seconds.
pub(crate) fn read(brokers: &str, topic: &str, records: u32) {
    // As rowfall sets them with its default memory; no group, no commits.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .expect("a consumer");
    let consumer = Arc::new(consumer);
    let queue = MessageQueue::new(Arc::clone(&consumer));
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        queue.forward(topic, partition);
        partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&partitions).expect("assigned");
    // From the first record on: a client without a group takes half a second to find the partitions' leader, which
    // rowfall's has done before its partitions are assigned.
    let mut started = None;
    let mut batch = MessageBatch::with_capacity(1_000);
    let (mut count, mut bytes) = (0, 0);
    while count < records {
        let mut messages = queue.receive(&mut batch, Duration::ZERO);
        if messages.is_empty() {
            drop(messages);
            messages = queue.receive(&mut batch, Duration::from_millis(20));
        }
        for message in messages.iter() {
            match message.content() {
                Content::Record(value) => {
                    started.get_or_insert_with(Instant::now);
                    count += 1;
                    bytes += value.map_or(0, <[u8]>::len);
                }
                Content::EndOfPartition => {}
                Content::Error(code) => panic!("{code}: {}", message.error_text()),
            }
        }
    }
    let seconds = started.expect("at least one record").elapsed().as_secs_f64();
    assert!(count == records && bytes > 0, "{count} records, {bytes} bytes");
    println!("{seconds}");
}

/// The workload's rows as ClickHouse writes them in its own format, in files.
pub(crate) struct Parts(Vec<File>);

/// Rows of a part: rowfall's own default for a batch.
const PART: u32 = 500_000;

impl Parts {
    /// Takes them from a table that holds them.
    pub(crate) fn of(clickhouse: &ClickHouse, table: &str, records: u32) -> Self {
        let starts = (0..records).step_by(PART.try_into().expect("64 bits"));
        let part = |start: u32| {
            let mut file = tempfile::tempfile().expect("a file");
            // One block, as rowfall sends one. In the order in which a consumer meets them, partition by partition as it
            // fetches: sorted rows would be less work for the server than anyone who reads this topic can offer.
            let sql = format!(
                "SELECT * FROM {table} WHERE id >= {start} AND id < {} ORDER BY intDiv(id, 16000), id % {PARTITIONS}, id \
                 SETTINGS max_block_size = {PART} FORMAT Native",
                start.saturating_add(PART)
            );
            let length = sql.len().try_into().expect("short");
            let mut answer = post(clickhouse, "", length, |stream| stream.write_all(sql.as_bytes()));
            io::copy(&mut answer, &mut file).expect("written");
            file
        };
        Self(starts.map(part).collect())
    }

    /// Inserts them into an empty table, in one request or in one for each part; the seconds that it took.
    pub(crate) fn insert(&self, clickhouse: &ClickHouse, table: &str, at_once: bool) -> f64 {
        // Blocks of the format may stand behind each other.
        let requests: Vec<&[File]> = if at_once { vec![&self.0] } else { self.0.chunks(1).collect() };
        let started = Instant::now();
        for files in requests {
            let length = files.iter().map(|file| file.metadata().expect("a file").len()).sum();
            let url = format!("&async_insert=0&query=INSERT%20INTO%20{table}%20FORMAT%20Native");
            let answer = post(clickhouse, &url, length, |stream| {
                for mut file in files {
                    file.rewind()?;
                    io::copy(&mut file, stream)?;
                }
                Ok(())
            });
            io::copy(&mut { answer }, &mut io::sink()).expect("an answer");
        }
        started.elapsed().as_secs_f64()
    }
}

/// Posts a body of this length, and gives what the server answers once it has said that all is well.
fn post(
    clickhouse: &ClickHouse,
    parameters: &str,
    length: u64,
    body: impl FnOnce(&mut TcpStream) -> io::Result<()>,
) -> impl Read {
    let mut stream = TcpStream::connect(("127.0.0.1", clickhouse.http_port)).expect("a connection");
    // HTTP/1.0, because the answer then simply ends with the connection.
    let head = format!(
        "POST /?wait_end_of_query=1{parameters} HTTP/1.0\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\n\
         Content-Length: {length}\r\n\r\n",
        clickhouse.user, clickhouse.password
    );
    stream.write_all(head.as_bytes()).and_then(|()| body(&mut stream)).expect("sent");
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status).expect("an answer");
    if status.split(' ').nth(1) != Some("200") {
        let mut text = String::new();
        answer.read_to_string(&mut text).expect("text");
        panic!("ClickHouse answered {status}{text}");
    }
    let mut line = status;
    while line.trim_end() != "" {
        line.clear();
        answer.read_line(&mut line).expect("a head");
    }
    answer
}
