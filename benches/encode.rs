//! A block into ClickHouse's Native format, on one core. The mark: 1 GB/s.

mod memory;
mod workload;

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use rowfall::decode::JsonDecoder;
use rowfall_dialects::clickhouse;
use rowfall_dialects::contract::Block;

use memory::{Records, in_turn};

/// A batch by default.
const ROWS: u32 = 500_000;
/// As much as is sent at a time.
const CHUNK: usize = 48 << 10;

fn main() {
    divan::main();
    if memory::is_measured() {
        compare();
    }
}

/// Columns into chunks.
#[divan::bench]
fn native(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.counter(BytesCount::new(encoded(&block).len())).bench_local(|| encode(&block));
}

/// The same chunks compressed, as they are sent where the server is not on this machine.
#[divan::bench]
fn native_lz4(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.counter(BytesCount::new(encoded(&block).len())).bench_local(|| encode_lz4(&block));
}

/// The ceiling: the encoded bytes copied.
#[divan::bench]
fn copy(bencher: Bencher<'_, '_>) {
    let bytes = encoded(&block());
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| copy_all(&bytes));
}

fn block() -> Block {
    let program = memory::program();
    let layout = std::sync::Arc::clone(&program.layout);
    let mut columns = layout.empty_columns();
    let records = Records::new(ROWS.into());
    records.decode(&mut JsonDecoder::new(program), &mut columns);
    Block::new(layout, columns, records.len())
}

fn encoded(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    clickhouse::encode(block, CHUNK, |chunk| bytes.extend_from_slice(chunk)).expect("a good block");
    bytes
}

fn encode(block: &Block) {
    clickhouse::encode(block, CHUNK, |chunk| _ = black_box(chunk)).expect("a good block");
}

fn encode_lz4(block: &Block) {
    let mut buffer = vec![0; lz4_flex::block::get_maximum_output_size(CHUNK)];
    let compress = |chunk: &[u8]| _ = black_box(lz4_flex::block::compress_into(chunk, &mut buffer).expect("room"));
    clickhouse::encode(block, CHUNK, compress).expect("a good block");
}

fn copy_all(bytes: &[u8]) {
    let mut buffer = Vec::with_capacity(CHUNK);
    for chunk in bytes.chunks(CHUNK) {
        buffer.clear();
        buffer.extend_from_slice(chunk);
        black_box(&buffer);
    }
}

fn compare() {
    let block = block();
    let bytes = encoded(&block);
    let seconds = in_turn([&mut || encode(&block), &mut || encode_lz4(&block), &mut || copy_all(&bytes)]);
    let length = f64::from(u32::try_from(bytes.len()).expect("below 4 GiB"));
    let [native, lz4, copy] = seconds.map(|seconds| length / seconds / 1e9);
    println!(
        "encode: {native:.2} GB/s a core, {:.2} of copying the same bytes ({copy:.2}); with LZ4 {lz4:.2} GB/s; {:.0} bytes \
         a row",
        native / copy,
        length / f64::from(ROWS)
    );
}
