//! Databases with transactions: rowfall's write of a block beside the bare statement with the same rows, and the whole
//! program from the topic.

mod bare;
mod bench;

use bench::{Bench, Operation};

use rowfall_services::{MySql, Product, Services};

use crate::table::{Table, number, thousands};
use crate::topic::Topic;
use crate::{Arguments, PARTITIONS, marks};

/// The mark: what rowfall's write has to reach of the bare statement.
const LEAST_SHARE: f64 = 0.85;

/// What one operation took, a value for each run.
#[derive(Default)]
struct Measured {
    ceiling: Vec<f64>,
    write: Vec<f64>,
    end_to_end: Vec<f64>,
    cpu: Vec<f64>,
}

/// Prints the table; whether the marks are kept, if they are asked for.
pub(crate) fn run(arguments: &Arguments, services: &Services) -> Result<bool, String> {
    let machine = crate::table::machine(services);
    let records = arguments.records();
    let topic = Topic::filled(&services.kafka, records, PARTITIONS);
    let mut benches = Vec::new();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    for (name, url) in urls(services, &folder)? {
        if name.contains(&arguments.only) {
            benches.push((name, Bench::new(&url, services, &topic)?));
        }
    }
    let mut cases: Vec<_> = (0..benches.len())
        .flat_map(|bench| [Operation::Append, Operation::Upsert].map(|what| (bench, what, Measured::default())))
        .collect();
    for run in 1..=arguments.runs {
        // In turn, so that whatever else the machine does meets all of them alike.
        for (bench, what, measured) in &mut cases {
            let (name, bench) = &mut benches[*bench];
            let failed = |error| format!("{name}, {}: {error}", what.name());
            measured.ceiling.push(bench.ceiling(*what).map_err(failed)?);
            measured.write.push(bench.write(*what).map_err(failed)?);
            let (seconds, cpu) = bench.end_to_end(*what).map_err(failed)?;
            measured.end_to_end.push(seconds);
            measured.cpu.push(cpu);
            let last = |values: &[f64]| values[values.len() - 1];
            eprintln!(
                "run {run}: {name}, {}: {:.2} s bare, {:.2} s by rowfall, {seconds:.2} s from the topic",
                what.name(),
                last(&measured.ceiling),
                last(&measured.write)
            );
        }
    }

    let mut table = Table::new(&[
        "database",
        "rows",
        "bare rows/s",
        "rowfall's write rows/s",
        "of the bare",
        "from the topic rows/s",
        "own CPU",
    ]);
    let mut kept = Vec::new();
    for (bench, what, measured) in &cases {
        let name = benches[*bench].0;
        let rate = |seconds: &[f64]| f64::from(records) / best(seconds);
        let share = best(&measured.ceiling) / best(&measured.write);
        table.row([
            name.to_owned(),
            what.name().to_owned(),
            number(rate(&measured.ceiling), 0),
            number(rate(&measured.write), 0),
            number(share, 2),
            number(rate(&measured.end_to_end), 0),
            number(best(&measured.cpu) / f64::from(records) * 1e6, 2),
        ]);
        kept.push(marks::at_least(&format!("{name}, {}, of the bare statement", what.name()), share, LEAST_SHARE));
    }
    table.note(&format!(
        "{} records of `benches/workload.rs`, {PARTITIONS} partitions, lz4; the best of {} runs",
        thousands(records),
        arguments.runs
    ));
    table.note(&machine);
    table.publish("bench-databases.md");
    Ok(!arguments.marks || marks::all_kept(&kept))
}

/// The best: what else the machine does makes a run slower and never faster, and a share of two medians would tell of it.
fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Each database, and its URL as rowfall takes it.
fn urls(services: &Services, folder: &tempfile::TempDir) -> Result<Vec<(&'static str, String)>, String> {
    let mut urls = vec![("Postgres", services.postgres.url())];
    for (name, product) in [("MariaDB", Product::MariaDb), ("MySQL", Product::MySql)] {
        let server = MySql::running(product).map_err(|error| error.to_string())?;
        bench::create_database(&server.url(""))?;
        urls.push((name, server.url(bench::DATABASE)));
    }
    urls.push(("SQLite", format!("sqlite://{}", folder.path().join("bench.db").display())));
    Ok(urls)
}
