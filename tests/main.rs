//! rowfall against real servers: Kafka and ClickHouse, started by `./x services up`. Each test has topics and tables
//! of its own, so that all run side by side; faults that would disturb the others have servers of their own.

mod support;
#[path = "../benches/workload.rs"]
mod workload;

mod configurations;
mod conformance;
mod edges;
mod faults;
mod moving;
mod plan;
mod records;
mod types;
mod until_end;
