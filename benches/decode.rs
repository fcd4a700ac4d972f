//! JSON records into ClickHouse's columns, on one core. The mark: 1.8 M records/s.

mod memory;
mod workload;

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use rowfall::decode::Decoder;
use sonic_rs::LazyValue;

use memory::{Records, in_turn};

const COUNT: u32 = 50_000;

fn main() {
    divan::main();
    if memory::is_measured() {
        compare();
    }
}

/// A record's bytes into typed columns.
#[divan::bench]
fn into_columns(bencher: Bencher<'_, '_>) {
    let records = Records::new(COUNT.into());
    let decode = decode(&records);
    bencher.counter(ItemsCount::new(COUNT)).bench_local(decode);
}

/// The ceiling: the same parser reads over the same bytes.
#[divan::bench]
fn read_over(bencher: Bencher<'_, '_>) {
    let records = Records::new(COUNT.into());
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| read_over_all(&records));
}

/// The usual way: a tree of values, from which columns would be filled yet.
#[divan::bench]
fn into_values(bencher: Bencher<'_, '_>) {
    let records = Records::new(COUNT.into());
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| into_values_all(&records));
}

fn decode(records: &Records) -> impl FnMut() {
    let program = memory::program();
    let mut columns = program.layout.empty_columns();
    let mut decoder = Decoder::new(program);
    move || {
        // Their memory stays, as growing it is measured end to end.
        columns.iter_mut().for_each(|column| column.truncate(0));
        records.decode(&mut decoder, &mut columns);
        black_box(&columns);
    }
}

fn read_over_all(records: &Records) {
    for record in records.iter() {
        black_box(sonic_rs::from_slice::<LazyValue<'_>>(record).expect("JSON"));
    }
}

fn into_values_all(records: &Records) {
    for record in records.iter() {
        black_box(serde_json::from_slice::<serde_json::Value>(record).expect("JSON"));
    }
}

fn compare() {
    let records = Records::new(COUNT.into());
    let mut decode = decode(&records);
    let seconds = in_turn([&mut decode, &mut || read_over_all(&records), &mut || into_values_all(&records)]);
    let [columns, over, values] = seconds.map(|seconds| f64::from(COUNT) / seconds / 1e6);
    println!(
        "decode: {columns:.2} M records/s a core; {:.2} of reading over them ({over:.2}), {:.1} times serde_json::Value \
         ({values:.2})",
        columns / over,
        columns / values
    );
}
