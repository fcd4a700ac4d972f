//! Values: the ends of ranges, what is refused, and that the two ways of writing agree.

use std::sync::Arc;

use ethnum::I256;
use insta::assert_snapshot;

use super::{Shop, block, describe, push_i64, push_text};
use crate::contract::{Advice, Block, Column, Connection, List, Mark, Op, Values};

/// As a program reads the table that is in its own time zone.
async fn row(shop: &Shop, table: &str) -> String {
    shop.ask(&format!("SELECT string_agg(t::text, ' ' ORDER BY id) FROM {table} AS t")).await
}

#[tokio::test]
async fn the_ends_of_ranges_arrive() {
    let shop = Shop::new().await;
    shop.run(
        "CREATE TABLE t (id int, day date, at timestamptz, second timestamp(0), clock time(3), f real, n numeric, w numeric(76,0), d numeric(76,76))",
    )
    .await;
    let connection = shop.connect();
    let table = describe(&connection, "t").await;
    let range = |index: usize| table.columns[index].value.as_ref().unwrap().range.clone().unwrap();
    let ends = |row: usize, index: usize| if row == 0 { *range(index).start() } else { *range(index).end() };
    let nines = I256::from_str_radix(&"9".repeat(76), 10).unwrap();
    let values = block(&table, 4, |row, columns| {
        push_i64(&mut columns[0], i64::try_from(row).unwrap());
        for (index, column) in columns[1..5].iter_mut().enumerate() {
            if row < 2 { push_i64(column, ends(row, index + 1)) } else { column.push_mark(Mark::Null) }
        }
        let Values::Float32(floats) = &mut columns[5].values else { panic!("reals") };
        floats.push([f32::NEG_INFINITY, f32::MAX, f32::NAN, -0.0][row]);
        for column in &mut columns[6..9] {
            let Values::Int256(numbers) = &mut column.values else { panic!("wide numbers") };
            numbers.push([nines, -nines, I256::ZERO, I256::from(10_500)][row].to_le_bytes());
        }
    });
    connection.session.write(&[&values], None).await.unwrap();
    let rows =
        shop.ask("SELECT string_agg(concat_ws(' ', id, day, at, second, clock, f), E'\\n' ORDER BY id) FROM t").await;
    assert_snapshot!(rows, @"
    0 4714-11-24 BC 4714-11-24 00:00:00+00 BC 4714-11-24 00:00:00 BC 00:00:00 -Infinity
    1 5874897-12-31 294247-01-10 04:00:54.775807+00 294276-12-31 23:59:59 24:00:00 3.4028235e+38
    2 NaN
    3 -0
    ");
    let numbers = shop.ask("SELECT string_agg(concat_ws(' ', n, w, d), E'\\n' ORDER BY id) FROM t").await;
    assert_snapshot!(numbers, @"
    99999999999999999999999999999999999999.99999999999999999999999999999999999999 9999999999999999999999999999999999999999999999999999999999999999999999999999 0.9999999999999999999999999999999999999999999999999999999999999999999999999999
    -99999999999999999999999999999999999999.99999999999999999999999999999999999999 -9999999999999999999999999999999999999999999999999999999999999999999999999999 -0.9999999999999999999999999999999999999999999999999999999999999999999999999999
    0 0 0.0000000000000000000000000000000000000000000000000000000000000000000000000000
    0.000000000000000000000000000000000105 10500 0.0000000000000000000000000000000000000000000000000000000000000000000000010500
    ");

    for index in 1..5 {
        for beyond in [range(index).start().checked_sub(1), range(index).end().checked_add(1)].into_iter().flatten() {
            let one = block(&table, 1, |_, columns| {
                for (at, column) in columns.iter_mut().enumerate() {
                    if at == index { push_i64(column, beyond) } else { column.push_mark(Mark::Null) }
                }
            });
            let error = connection.session.write(&[&one], None).await.unwrap_err();
            assert_eq!(error.advice, Advice::Split);
            assert!(error.to_string().ends_with("outside of what the type can hold"), "{error}");
        }
    }
}

async fn refused(connection: &Connection, block: &Block) -> String {
    let error = connection.session.write(&[block], None).await.unwrap_err();
    assert_eq!(error.advice, Advice::Split, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_text_arrives_whole_or_is_refused_by_name() {
    let shop = Shop::new().await;
    shop.run(
        "CREATE TYPE mood AS ENUM ('sad', 'so so'); CREATE DOMAIN tone AS mood CHECK (VALUE <> 'sad');
         CREATE TABLE t (id int NOT NULL, free text, five varchar(5), three char(3), doc jsonb, raw json, mood mood, tone tone, net inet)",
    )
    .await;
    let connection = shop.connect();
    let table = describe(&connection, "t").await;
    let texts = |id: i64, texts: [&str; 8]| {
        block(&table, 1, |_, columns| {
            push_i64(&mut columns[0], id);
            for (column, text) in columns[1..].iter_mut().zip(texts) {
                if text == "-" { column.push_mark(Mark::Null) } else { push_text(column, text) }
            }
        })
    };
    let deep = r#"{"b": 1.10, "a": [12345678901234567890.12345678901234567890], "n": "\\u0000", "a": 2}"#;
    let good = texts(
        1,
        ["é\u{10ffff} \\N \t", "ééééé", "é", deep, r#"{"a":"\u0000", "a":1}"#, "so so", "so so", "::FFFF:1.2.3.4/96"],
    );
    connection.session.write(&[&good], None).await.unwrap();
    let more = texts(2, ["", "", "", "null", " 1", "sad", "-", "10.0.0.0/8"]);
    connection.session.write(&[&more], None).await.unwrap();
    assert_snapshot!(shop.ask("SELECT string_agg(concat_ws('|', free, five, three, doc, raw, mood, tone, net), E'\\n' ORDER BY id) FROM t").await, @r#"
    é􏿿 \N 	|ééééé|é  |{"a": 2, "b": 1.10, "n": "\\u0000"}|{"a":"\u0000", "a":1}|so so|so so|::ffff:1.2.3.4/96
    ||   |null| 1|sad|10.0.0.0/8
    "#);

    let mut refusals = String::new();
    for (index, text) in [
        (0, "a\0b"),
        (1, "éééééé"),
        (1, "four  "),
        (2, "abcd"),
        (2, "ab "),
        (3, r#"{"a": "\\\u0000"}"#),
        (3, "[1e400000]"),
        (5, "glad"),
        (6, "sad"),
        (7, "10.0.0.300"),
        (7, "10.0.0.1/33"),
        (7, "::/129"),
    ] {
        let mut row = ["-"; 8];
        row[index] = text;
        refusals += &format!("{}\n", refused(&connection, &texts(3, row)).await);
    }
    let null = block(&table, 1, |_, columns| columns.iter_mut().for_each(|column| column.push_mark(Mark::Null)));
    refusals += &refused(&connection, &null).await;
    assert_snapshot!(refusals.replace(&shop.schema, "SCHEMA"), @r#"
    table `SCHEMA.t`, column `free` text: a NUL character, which Postgres takes in no text
    table `SCHEMA.t`, column `five` character varying(5): more characters than the column takes
    table `SCHEMA.t`, column `five` character varying(5): more characters than the column takes
    table `SCHEMA.t`, column `three` character(3): more characters than the column takes
    table `SCHEMA.t`, column `three` character(3): a space at the end, which could not be told from those that fill up the column
    table `SCHEMA.t`, column `doc` jsonb: \u0000, which jsonb cannot hold
    code 22003: writing table `SCHEMA.t`: value overflows numeric format
    code 22P02: writing table `SCHEMA.t`: invalid input value for enum mood
    code 23514: writing table `SCHEMA.t`: value for domain tone violates check constraint "tone_check"
    table `SCHEMA.t`, column `net` inet: not an IP address or network
    table `SCHEMA.t`, column `net` inet: not an IP address or network
    table `SCHEMA.t`, column `net` inet: not an IP address or network
    code 23502: writing table `SCHEMA.t`: null value in column "id" of relation "t" violates not-null constraint
    "#);
    assert_eq!(shop.ask("SELECT count(*)::text FROM t").await, "2");
}

/// A list column's next row.
fn push_list(column: &mut Column, elements: &[Option<i64>]) {
    let Values::List(List { ends: _, values }) = &mut column.values else { panic!("a list column") };
    for element in elements {
        match element {
            Some(number) => push_i64(values, *number),
            None => values.push_mark(Mark::Null),
        }
    }
    let Values::List(list) = &mut column.values else { panic!("a list column") };
    list.end_row();
}

#[tokio::test]
async fn arrays_are_inserted_changed_and_deleted() {
    let shop = Shop::new().await;
    shop.run("CREATE TABLE t (id bigint PRIMARY KEY, list bigint[], note text DEFAULT 'none')").await;
    let connection = shop.connect();
    let table = describe(&connection, "t").await;
    let lists: [&[Option<i64>]; 4] = [&[Some(1), None, Some(i64::MIN)], &[], &[Some(7)], &[None]];
    let fill = |row: usize, columns: &mut [Column]| {
        push_i64(&mut columns[0], i64::try_from(row).unwrap());
        push_list(&mut columns[1], lists[row % 4]);
        if row == 2 { columns[2].push_mark(Mark::Absent) } else { push_text(&mut columns[2], "x") }
    };
    connection.session.write(&[&block(&table, 3, fill)], None).await.unwrap();
    assert_snapshot!(row(&shop, "t").await, @r#"(0,"{1,NULL,-9223372036854775808}",x) (1,{},x) (2,{7},none)"#);

    let mut changes = block(&table, 4, |row, columns| {
        push_i64(&mut columns[0], i64::try_from(row).unwrap());
        if row == 1 {
            columns[1].push_mark(Mark::Absent)
        } else {
            push_list(&mut columns[1], lists[3 - row])
        }
        if row == 0 { push_text(&mut columns[2], "new") } else { columns[2].push_mark(Mark::Absent) }
    });
    let mut layout = crate::contract::Layout::clone(&changes.layout);
    layout.key = [0].into();
    changes.layout = Arc::new(layout);
    changes.ops = vec![Op::Upsert, Op::Upsert, Op::Replace, Op::Upsert];
    connection.session.write(&[&changes], None).await.unwrap();
    assert_snapshot!(row(&shop, "t").await, @r#"(0,{NULL},new) (1,{},x) (2,{},none) (3,"{1,NULL,-9223372036854775808}",none)"#);
    let mut deletes = changes.gather(&[0, 3]);
    deletes.ops = vec![Op::Delete; 2];
    connection.session.write(&[&deletes, &deletes], None).await.unwrap();
    assert_snapshot!(row(&shop, "t").await, @"(1,{},x) (2,{},none)");
}

/// Keys of types that statements compare: each must find its row.
#[tokio::test]
async fn rows_are_found_by_keys_of_any_type() {
    let shop = Shop::new().await;
    shop.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN code AS varchar(9);
         CREATE TABLE t (id mood, code code, fix char(4), n numeric(20,2), at timestamptz(3), u uuid, day date, ok boolean,
                         v bigint, PRIMARY KEY (id, code, fix, n, at, u, day, ok))",
    )
    .await;
    let connection = shop.connect();
    let table = describe(&connection, "t").await;
    let mut values = block(&table, 2, |row, columns| {
        push_text(&mut columns[0], ["sad", "glad"][row]);
        push_text(&mut columns[1], "c ");
        push_text(&mut columns[2], "f");
        let Values::Int128(numbers) = &mut columns[3].values else { panic!("decimals") };
        numbers.push(-150);
        push_i64(&mut columns[4], 1_709_210_096_123);
        let Values::Uuid(uuids) = &mut columns[5].values else { panic!("uuids") };
        uuids.push([7; 16]);
        push_i64(&mut columns[6], -1);
        let Values::Bool(flags) = &mut columns[7].values else { panic!("flags") };
        flags.push(1);
        push_i64(&mut columns[8], 1);
    });
    let mut layout = crate::contract::Layout::clone(&values.layout);
    layout.key = (0..8).collect();
    values.layout = Arc::new(layout);
    values.ops = vec![Op::Upsert; 2];
    connection.session.write(&[&values], None).await.unwrap();
    let Values::Int64(v) = &mut values.columns[8].values else { panic!("numbers") };
    v[1] = 2;
    connection.session.write(&[&values], None).await.unwrap();
    assert_snapshot!(row(&shop, "t").await, @r#"(sad,"c ","f   ",-1.50,"2024-02-29 12:34:56.123+00",07070707-0707-0707-0707-070707070707,1969-12-31,t,1) (glad,"c ","f   ",-1.50,"2024-02-29 12:34:56.123+00",07070707-0707-0707-0707-070707070707,1969-12-31,t,2)"#);
    values.ops = vec![Op::Delete, Op::Upsert];
    connection.session.write(&[&values], None).await.unwrap();
    assert_eq!(shop.ask("SELECT count(*)::text FROM t").await, "1");
}
