//! How old rows are when they arrive, at a steady 10,000 records a second: from when each was due to be produced until the
//! server began to store it.

use std::time::{Duration, SystemTime};

use rowfall_services::Services;

use crate::load::Load;
use crate::support::{self, Rowfall, eventually};
use crate::table::{Table, number};
use crate::{Arguments, PARTITIONS, workload};

const PER_SECOND: u64 = 10_000;
const RAN_FOR: Duration = Duration::from_secs(20);
/// Those of the first seconds wait for the process to join its group.
const WARM_UP: u64 = 5 * PER_SECOND;

const CASES: [(&str, &str); 4] =
    [("exactly-once", "1s"), ("at-least-once", "1s"), ("exactly-once", "100ms"), ("at-least-once", "100ms")];

/// Prints the table.
pub(crate) fn run(_: &Arguments, services: &Services) -> Result<(), String> {
    let machine = crate::table::machine(services);
    let mut table = Table::new(&["delivery", "batch.age", "p50 ms", "p99 ms", "longest ms"]);
    for (delivery, age) in CASES {
        let [median, most, longest] = measure(services, delivery, age);
        table.row([delivery.into(), age.into(), number(median, 0), number(most, 0), number(longest, 0)]);
    }
    table.note(&format!(
        "{PER_SECOND} records a second of `benches/workload.rs` for {} s, the first {} left out; {PARTITIONS} partitions.",
        RAN_FOR.as_secs(),
        WARM_UP
    ));
    table.note(&machine);
    table.publish("bench-latency.md");
    Ok(())
}

fn measure(services: &Services, delivery: &str, age: &str) -> [f64; 3] {
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let name = support::unique("latency");
    support::create_topic(kafka, &name, PARTITIONS, &[]);
    let columns = workload::COLUMNS;
    let create = format!(
        "CREATE TABLE {name} ({columns}, arrived DateTime64(6) MATERIALIZED now64(6)) ENGINE = MergeTree ORDER BY id"
    );
    support::query(clickhouse, &create);
    let more = format!("batch: {{ age: {age} }}\ndelivery: {delivery}");
    let config = support::one_topic(kafka, clickhouse, &name, &more);
    let process = Rowfall::with_config("run", &config, &[]).start();
    eventually("it reads", Duration::from_secs(60), || process.said().contains(" assigned: "));
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let load = Load::start(kafka, &name, u64::try_from(PARTITIONS).expect("small"), PER_SECOND);
    std::thread::sleep(RAN_FOR);
    let count = load.end();
    let rows = || support::query(clickhouse, &format!("SELECT count() FROM {name}"));
    eventually("all rows", Duration::from_secs(60), || rows() == count.to_string());
    process.signal("TERM");
    process.wait(Duration::from_secs(30));
    let late = format!("(toUnixTimestamp64Micro(arrived) / 1e6 - ({began} + id / {PER_SECOND})) * 1000");
    let figures = support::query(
        clickhouse,
        &format!(
            "SELECT quantile(0.5)(late), quantile(0.99)(late), max(late) FROM (SELECT {late} AS late FROM {name} WHERE id >= {WARM_UP})"
        ),
    );
    support::query(clickhouse, &format!("DROP TABLE {name} SYNC"));
    let figures: Vec<f64> = figures.split('\t').map(|figure| figure.parse().expect("a number")).collect();
    figures.try_into().expect("three")
}
