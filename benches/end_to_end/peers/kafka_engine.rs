//! ClickHouse's own Kafka table engine: a materialized view moves what its consumers read, all inside the server.

use std::time::{Duration, Instant};

use crate::stage::{Done, Stage};
use crate::{PARTITIONS, support, workload};

use super::Peer;

/// For the server that it runs in, what rowfall sets for itself too: with librdkafka's default, a partition whose queue was
/// full is not asked for more for a second.
pub(crate) const SERVER_CONFIG: &str =
    "<clickhouse><kafka><fetch_queue_backoff_ms>5</fetch_queue_backoff_ms></kafka></clickhouse>";

pub(super) enum KafkaEngine {
    /// The format's parser fills the columns.
    JsonEachRow { consumers: usize },
    /// The view takes each record apart with one JSONExtract into a tuple.
    RawBlob { consumers: usize },
}

impl Peer for KafkaEngine {
    fn name(&self) -> String {
        match self {
            KafkaEngine::JsonEachRow { .. } => "Kafka engine, JSONEachRow".to_owned(),
            KafkaEngine::RawBlob { .. } => "Kafka engine, RawBLOB and JSONExtract".to_owned(),
        }
    }

    fn fill(&self, stage: &Stage<'_>, table: &str) -> Result<Done, String> {
        let queue = Queue::create(stage, self)?;
        queue.move_into(table, &self.select())?;
        let seconds = queue.wait(table, stage.topic.records.into())?;
        Ok(Done { seconds, own: None })
    }
}

impl KafkaEngine {
    /// The queue's columns, its format, and how many consumers it has.
    fn source(&self) -> (String, &str, usize) {
        match self {
            KafkaEngine::JsonEachRow { consumers } => {
                // The parser makes columns for each message by itself: one with a dictionary costs it half as much again.
                // The view turns them into the table's.
                (workload::COLUMNS.replace("LowCardinality(String)", "String"), "JSONEachRow", *consumers)
            }
            KafkaEngine::RawBlob { consumers } => ("record String".to_owned(), "RawBLOB", *consumers),
        }
    }

    /// What the view takes from the queue.
    fn select(&self) -> String {
        match self {
            KafkaEngine::JsonEachRow { .. } => "SELECT *".to_owned(),
            KafkaEngine::RawBlob { .. } => {
                let column = |column: &str| {
                    let name = column.split(' ').next().unwrap_or_default();
                    format!("tuple.{name} AS {name}")
                };
                let columns: Vec<_> = workload::columns().into_iter().map(column).collect();
                let tuple = format!("Tuple({})", workload::COLUMNS).replace('\'', "\\'");
                format!("WITH JSONExtract(record, '{tuple}') AS tuple SELECT {}", columns.join(", "))
            }
        }
    }
}

/// A table of the engine, and the view that empties it; both gone when dropped.
struct Queue<'s> {
    stage: &'s Stage<'s>,
    name: String,
}

impl<'s> Queue<'s> {
    /// Tuned as the engine's documentation advises: a consumer for each core with a thread of its own, which then writes
    /// its own blocks; blocks as large and as old as rowfall's batches. With the default age the last rows would wait for
    /// up to 7.5 seconds.
    fn create(stage: &'s Stage<'s>, engine: &KafkaEngine) -> Result<Self, String> {
        let queue = Self { stage, name: support::unique("queue") };
        let (columns, format, consumers) = engine.source();
        let created = queue.say(&format!(
            "CREATE TABLE {name} ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{brokers}', \
             kafka_topic_list = '{topic}', kafka_group_name = '{name}', kafka_format = '{format}', \
             kafka_num_consumers = {consumers}, kafka_thread_per_consumer = 1, kafka_max_block_size = 524288, \
             kafka_poll_max_batch_size = 65536, kafka_flush_interval_ms = 1000",
            name = queue.name,
            brokers = stage.kafka.brokers,
            topic = stage.topic.name,
        ));
        match created {
            // The server in its packaged form says that it is being shut down, and yet has created the table.
            Err(error) if !error.contains("Shutdown was called") => Err(error),
            _ => Ok(queue),
        }
    }

    fn say(&self, sql: &str) -> Result<(), String> {
        self.stage.clickhouse.query(sql).map(drop).map_err(|error| error.to_string())
    }

    fn view(&self) -> String {
        format!("{}_view", self.name)
    }

    fn move_into(&self, table: &str, select: &str) -> Result<(), String> {
        let (view, name) = (self.view(), &self.name);
        self.say(&format!("CREATE MATERIALIZED VIEW {view} TO {table} AS {select} FROM {name}"))
    }

    /// Until the table has these many rows; the seconds since all partitions were assigned.
    fn wait(&self, table: &str, records: u64) -> Result<f64, String> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let ask = |question: String| self.stage.query(&question).parse::<u64>().expect("a number");
        let asked = Instant::now();
        let partitions = PARTITIONS.unsigned_abs().into();
        let assigned = || {
            ask(format!(
                "SELECT sum(length(assignments.partition_id)) FROM system.kafka_consumers WHERE table = '{}'",
                self.name
            ))
        };
        while assigned() < partitions {
            if asked.elapsed() > PATIENCE {
                return Err(format!("no partitions after {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let started = Instant::now();
        let (mut rows, mut last_change) = (0, started);
        while rows < records {
            // A question costs the server a millisecond.
            std::thread::sleep(Duration::from_millis(50));
            let now = ask(format!("SELECT count() FROM {table}"));
            if now > rows {
                (rows, last_change) = (now, Instant::now());
            } else if last_change.elapsed() > PATIENCE {
                return Err(format!("{rows} of {records} rows, and no more for {} s", PATIENCE.as_secs()));
            }
        }
        Ok(last_change.duration_since(started).as_secs_f64())
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // A server that is stopped with such a table does not start again.
        for (kind, name) in [("VIEW", self.view()), ("TABLE", self.name.clone())] {
            if let Err(error) = self.say(&format!("DROP {kind} IF EXISTS {name} SYNC")) {
                eprintln!("{name} is left behind: {error}");
            }
        }
    }
}
