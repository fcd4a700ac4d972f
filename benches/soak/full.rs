//! As much as can be produced, for minutes. What is written is compared and dropped as it goes, in the topic and in the
//! table, so that a run of any length needs little disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::load::Load;
use crate::report::Report;
use crate::stage::{PARTITIONS, Stage, Verdict};
use crate::support;

/// The producer waits while so many records are behind.
const AHEAD: u64 = 2_000_000;
/// Rows of a partition of the table: what is compared and dropped at a time.
const PART: u64 = 5_000_000;
/// The default of `memory`, in MiB.
const MEMORY: u64 = 256;
/// What memory may rise by, in MiB, from the second minute to the end: noise of batches that are of different sizes.
const RISE: f64 = 8.0;

pub(crate) fn run(minutes: u32, report: &mut Report) {
    let table = format!("ENGINE = MergeTree PARTITION BY intDiv(id, {PART}) ORDER BY id");
    let stage = Stage::new("full", &[("segment.bytes", "67108864")], &table, "");
    let committed = Arc::new(AtomicU64::new(0));
    let written = Arc::clone(&committed);
    let load =
        Load::start_with(&stage.kafka, &stage.name, PARTITIONS, move |_| written.load(Ordering::Relaxed) + AHEAD);
    while load.sent() < AHEAD {
        std::thread::sleep(Duration::from_millis(100));
    }
    let (began, run) = (Instant::now(), stage.start());
    let mut seen = Verdict::default();
    let (mut compared, mut looks, mut behind, mut before) = (0, 0, 0, 0);
    for minute in 1..=minutes {
        while began.elapsed() < Duration::from_secs(60 * u64::from(minute)) {
            std::thread::sleep(Duration::from_millis(500));
            let offsets = stage.committed();
            let now = offsets.iter().sum();
            committed.store(now, Ordering::Relaxed);
            looks += 1;
            behind += u32::from(load.sent() > now + AHEAD / 20);
            // Record n stands at offset n / PARTITIONS: all before the smallest are written.
            let complete = PARTITIONS * offsets.iter().min().expect("partitions");
            if complete >= compared + PART {
                let Verdict { lost, doubled, changed } = stage.verdict(compared..compared + PART);
                seen = Verdict {
                    lost: seen.lost + lost,
                    doubled: seen.doubled + doubled,
                    changed: seen.changed + changed,
                };
                let part = compared / PART;
                support::query(&stage.clickhouse, &format!("ALTER TABLE {} DROP PARTITION {part}", stage.name));
                compared += PART;
                delete_records(&stage, compared / PARTITIONS);
            }
        }
        let now = committed.load(Ordering::Relaxed);
        let memory = run.watch.curve(began);
        let memory = memory.get(usize::try_from(minute - 1).expect("small")).copied().unwrap_or_default();
        report.say(&format!("{:>8} rows/s, at most {memory} MiB", (now - before) / 60));
        before = now;
    }
    report.say(&format!("the topic was ahead {} % of the time", behind * 100 / looks.max(1)));
    report.promise(
        (seen.lost, seen.doubled, seen.changed) == (0, 0, 0),
        &format!("{compared} rows compared on the way: {seen:?}"),
    );
    let settled = began + Duration::from_secs(60 * u64::from(minutes.min(2) - u32::from(minutes < 3)));
    let rise = run.watch.rise(settled);
    report.promise(rise <= RISE, &format!("memory is flat: it rose by {rise:.1} MiB, {RISE} may be"));
    run.calm(began, 3 + u64::from(minutes), report);
    run.within_memory(began, MEMORY, report);
    stage.end(compared, load, run, 0, report);
}

/// Deletes all records before this offset, as retention does, but never what is not written yet.
fn delete_records(stage: &Stage, before: u64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &stage.kafka.brokers).create().expect("an admin client");
    let mut list = TopicPartitionList::new();
    let before = Offset::Offset(i64::try_from(before).expect("an offset"));
    for partition in 0..i32::try_from(PARTITIONS).expect("small") {
        list.add_partition_offset(&stage.name, partition, before).expect("an offset");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).expect("the broker answers");
}
