//! JSON and Avro records into ClickHouse's columns, on one core. The marks: 1.8 M and 9 M records/s.

mod memory;
mod workload;

use std::hint::black_box;

use apache_avro::reader::datum::GenericDatumReader;
use divan::Bencher;
use divan::counter::ItemsCount;
use rowfall::config::Format;
use rowfall::decode::{Decoder, JsonDecoder, Schema};
use rowfall::schemas::{RecordPart, Schemas};
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

/// Avro records into typed columns.
#[divan::bench]
fn avro_into_columns(bencher: Bencher<'_, '_>) {
    let records = memory::avro(COUNT.into());
    bencher.counter(ItemsCount::new(COUNT)).bench_local(decode_avro(&records));
}

/// The usual way: the Avro project's own library, into its values.
#[divan::bench]
fn avro_into_values(bencher: Bencher<'_, '_>) {
    let records = memory::avro(COUNT.into());
    let schema = apache_avro::Schema::parse_str(memory::AVRO).expect("a schema");
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| avro_values(&schema, &records));
}

fn decode_avro(records: &Records) -> impl FnMut() {
    let program = memory::program();
    let mut columns = program.layout.empty_columns();
    let schema = Schema::of_avro(memory::AVRO, &[] as &[&str]).expect("a schema");
    let mut decoder = Decoder::new(program, &Format::Avro(Schemas::of_file(schema)), RecordPart::Value);
    move || {
        columns.iter_mut().for_each(|column| column.truncate(0));
        for (row, record) in records.iter().enumerate() {
            decoder.decode(record, &(), &mut columns, row).expect("a good record");
        }
        black_box(&columns);
    }
}

fn avro_values(schema: &apache_avro::Schema, records: &Records) {
    let reader = GenericDatumReader::builder(schema).build().expect("a reader");
    for mut record in records.iter() {
        black_box(reader.read_value(&mut record).expect("Avro"));
    }
}

fn decode(records: &Records) -> impl FnMut() {
    let program = memory::program();
    let mut columns = program.layout.empty_columns();
    let mut decoder = JsonDecoder::new(program);
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
    let records = memory::avro(COUNT.into());
    let schema = apache_avro::Schema::parse_str(memory::AVRO).expect("a schema");
    let seconds = in_turn([&mut decode_avro(&records), &mut || avro_values(&schema, &records)]);
    let [columns, values] = seconds.map(|seconds| f64::from(COUNT) / seconds / 1e6);
    println!(
        "Avro: {columns:.2} M records/s a core, {:.1} times apache_avro's values ({values:.2}); {} bytes a record",
        columns / values,
        records.bytes() / records.len()
    );
}
