//! rowfall against real servers: Kafka and ClickHouse, started by `./x services up`. Each test has topics and tables
//! of its own, so that all run side by side; faults that would disturb the others have servers of their own.

#[path = "../benches/load.rs"]
mod load;
mod support;
#[path = "../benches/workload.rs"]
mod workload;

mod avro;
mod chaos;
mod claims;
mod clickhouse_docs;
mod clusters;
mod configurations;
mod conformance;
mod databases;
mod debezium;
mod edges;
mod evolving;
mod exactly_once;
mod faults;
mod front;
mod hostile;
mod moving;
mod mysql;
mod places;
mod plan;
mod postgres;
mod pressure;
mod ranges;
mod records;
mod rights;
mod rivals;
mod routing;
mod tables;
mod topics;
mod types;
mod until_end;
mod upserts;
mod widening;
