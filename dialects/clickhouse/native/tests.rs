use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clickhouse::type_names;
use crate::contract::{
    ColumnDefault, Layout, List, LogicalType, StructField, TableName, TableSchema, Text, ValueType, Values,
};

fn table(columns: &[(&str, &str, ColumnDefault)]) -> TableSchema {
    let column = |(name, type_text, default): &(&str, &str, ColumnDefault)| {
        let column = types::parse(type_text).unwrap();
        TableColumn { name: (*name).into(), type_text: (*type_text).into(), value: Ok(column.value), default: *default }
    };
    let name = TableName { schema: Some("shop".into()), name: "orders".into() };
    TableSchema::new(name, "MergeTree", columns.iter().map(column).collect())
}

/// A block that fills all of the table's columns; each is made of values and marks by `fill`.
fn block(table: TableSchema, rows: usize, fill: impl FnOnce(&mut [Column])) -> Block {
    let targets: Vec<_> = (0..table.columns.len()).collect();
    let layout = Arc::new(Layout::new(Arc::new(table), targets));
    let mut columns = layout.empty_columns();
    fill(&mut columns);
    Block::new(layout, columns, rows)
}

fn encoder(block: &Block, chunk_size: usize) -> Result<Encoder<'_>, Error> {
    let given = block.layout.columns().zip(&block.columns);
    Encoder::of(&block.layout.table.name, block.rows, given, Absent::Default, chunk_size)
}

fn chunks(block: &Block, chunk_size: usize) -> Vec<Vec<u8>> {
    all_chunks(encoder(block, chunk_size).unwrap())
}

fn all_chunks(mut encoder: Encoder<'_>) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut buffer = Vec::new();
    while encoder.next_chunk(&mut buffer) {
        chunks.push(buffer.clone());
    }
    chunks
}

/// The bytes, with those that are printable as they are.
fn encoded(block: &Block) -> String {
    chunks(block, 1 << 20).concat().escape_ascii().to_string()
}

fn texts(rows: &[&str]) -> Values {
    let mut text = Text::default();
    rows.iter().for_each(|row| text.push(row));
    Values::Text(text)
}

#[test]
fn values_stand_side_by_side() {
    let table = table(&[
        ("id", "Int32", ColumnDefault::None),
        ("name", "LowCardinality(String)", ColumnDefault::None),
        ("day", "Date", ColumnDefault::None),
        ("at", "DateTime('UTC')", ColumnDefault::None),
        ("uid", "UUID", ColumnDefault::None),
    ]);
    let block = block(table, 2, |columns| {
        columns[0].values = Values::Int32(vec![1, -2]);
        columns[1].values = texts(&["ab", ""]);
        columns[2].values = Values::Int32(vec![1, 65_535]);
        columns[3].values = Values::Int64(vec![2, i64::from(u32::MAX)]);
        columns[4].values = Values::Uuid(vec![*b"0123456789abcdef"; 2]);
    });
    insta::assert_snapshot!(encoded(&block), @r"\x05\x02\x02id\x05Int32\x01\x00\x00\x00\xfe\xff\xff\xff\x04name\x06String\x02ab\x00\x03day\x04Date\x01\x00\xff\xff\x02at\x0fDateTime(\'UTC\')\x02\x00\x00\x00\xff\xff\xff\xff\x03uid\x04UUID76543210fedcba9876543210fedcba98");
}

#[test]
fn nulls_stand_before_the_values() {
    let table = table(&[
        ("a", "Nullable(Int16)", ColumnDefault::None),
        ("b", "LowCardinality(Nullable(String))", ColumnDefault::None),
    ]);
    let block = block(table, 3, |columns| {
        columns[0].push_mark(Mark::Null);
        columns[0].push_mark(Mark::Absent);
        let Values::Int16(values) = &mut columns[0].values else { panic!("an int16 column holds i16") };
        values.push(258);
        for row in ["x", "y", "z"] {
            let Values::Text(text) = &mut columns[1].values else { panic!("a string column holds text") };
            text.push(row);
        }
    });
    insta::assert_snapshot!(encoded(&block), @r"\x02\x03\x01a\x0fNullable(Int16)\x01\x01\x00\x00\x00\x00\x00\x02\x01\x01b\x10Nullable(String)\x00\x00\x00\x01x\x01y\x01z");
}

#[test]
fn absent_rows_become_nulls_where_an_expression_fills_them() {
    let absent_then = |column: &mut Column, values: Values| {
        column.push_mark(Mark::Absent);
        match (&mut column.values, values) {
            (Values::Int32(all), Values::Int32(more)) => all.extend(more),
            (Values::UInt8(all), Values::UInt8(more)) => all.extend(more),
            _ => panic!("other columns do not occur here"),
        }
    };
    let table = table(&[
        ("e", "UInt8", ColumnDefault::Expression),
        ("n", "UInt8", ColumnDefault::None),
        ("d", "Date32", ColumnDefault::None),
    ]);
    let block = block(table, 2, |columns| {
        absent_then(&mut columns[0], Values::UInt8(vec![7]));
        absent_then(&mut columns[1], Values::UInt8(vec![7]));
        absent_then(&mut columns[2], Values::Int32(vec![7]));
    });
    insta::assert_snapshot!(encoded(&block), @r"\x03\x02\x01e\x0fNullable(UInt8)\x01\x00\x00\x07\x01n\x05UInt8\x00\x07\x01d\x06Date32!\x9c\xff\xff\x07\x00\x00\x00");
}

#[test]
fn columns_without_values_are_left_out_but_for_one() {
    let table = table(&[("a", "UInt8", ColumnDefault::None), ("b", "UInt8", ColumnDefault::Expression)]);
    let mut block = block(table, 1, |columns| {
        columns[0].push_mark(Mark::Absent);
        columns[1].values = Values::UInt8(vec![7]);
    });
    let names = |block: &Block| {
        let encoder = encoder(block, 1).unwrap();
        encoder.columns().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&block), ["b"]);
    insta::assert_snapshot!(encoded(&block), @r"\x01\x01\x01b\x05UInt8\x07");
    block.columns[1] = Column::new(&LogicalType::UInt8);
    block.columns[1].push_mark(Mark::Absent);
    assert_eq!(names(&block), ["a"]);
}

/// One column of its own, filled.
fn nested(type_text: &str, fill: impl FnOnce(&mut Column)) -> Block {
    let mut column = Column::new(&types::parse(type_text).unwrap().value.logical);
    fill(&mut column);
    let rows = column.len();
    block(table(&[("c", type_text, ColumnDefault::None)]), rows, |columns| columns[0] = column)
}

fn list(column: &mut Column) -> &mut List {
    let Values::List(list) = &mut column.values else { panic!("a list column holds lists") };
    list
}

#[test]
fn lists_end_before_their_elements() {
    let block = nested("Array(Array(Nullable(UInt8)))", |column| {
        let outer = list(column);
        let inner = list(&mut outer.values);
        inner.values.values = Values::UInt8(vec![7]);
        inner.values.push_mark(Mark::Null);
        inner.end_row();
        inner.end_row();
        outer.end_row();
        column.push_mark(Mark::Absent);
    });
    insta::assert_snapshot!(encoded(&block), @r"\x01\x02\x01c\x1dArray(Array(Nullable(UInt8)))\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x07\x00");
}

#[test]
fn maps_and_tuples_are_sent_part_by_part() {
    let block = nested("Map(LowCardinality(String), Tuple(a UInt8, `b c` Nullable(Date32), d Date32))", |column| {
        let map = list(column);
        let Values::Struct(pairs) = &mut map.values.values else { panic!("a map holds pairs") };
        pairs.parts[0].values = texts(&["x", "yz"]);
        pairs.rows = 2;
        let Values::Struct(of) = &mut pairs.parts[1].values else { panic!("a tuple column holds structs") };
        of.parts[0].values = Values::UInt8(vec![5, 6]);
        of.rows = 2;
        // What a tuple lacks is null, or what ClickHouse calls the type's default.
        (0..2).for_each(|_| of.parts[1].push_mark(Mark::Absent));
        (0..2).for_each(|_| of.parts[2].push_mark(Mark::Absent));
        map.end_row();
    });
    insta::assert_snapshot!(encoded(&block), @r"\x01\x01\x01cAMap(String, Tuple(`a` UInt8, `b c` Nullable(Date32), `d` Date32))\x02\x00\x00\x00\x00\x00\x00\x00\x01x\x02yz\x05\x06\x01\x01!\x9c\xff\xff!\x9c\xff\xff!\x9c\xff\xff!\x9c\xff\xff");
}

#[test]
fn variants_are_told_by_number_in_the_order_of_names() {
    let fill = |column: &mut Column| {
        let Values::Variant(of) = &mut column.values else { panic!("a variant column holds variants") };
        of.kinds = vec![0, 1, 255, 0];
        of.columns[0].values = Values::UInt8(vec![7, 8]);
        of.columns[1].values = texts(&["x"]);
    };
    // Tried as UInt8, JSON, sent as JSON, UInt8.
    insta::assert_snapshot!(encoded(&nested("Variant(JSON, UInt8)", fill)), @r"\x01\x04\x01c\x14Variant(JSON, UInt8)\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\xff\x01\x01x\x07\x08");
    let dynamic = nested("Dynamic", |column| {
        let Values::Variant(of) = &mut column.values else { panic!("a variant column holds variants") };
        of.kinds = vec![1, 255];
        of.columns[1].values = Values::Int64(vec![7]);
    });
    insta::assert_snapshot!(encoded(&dynamic), @r"\x01\x02\x01c\x07Dynamic\x03\x00\x00\x00\x00\x00\x00\x00\x05\x04Bool\x05Int64\x06UInt64\x07Float64\x06String\x01\x05\x07\x00\x00\x00\x00\x00\x00\x00");
}

#[test]
fn json_is_sent_as_text() {
    let block = nested("Tuple(JSON(a UInt8), Nullable(JSON))", |column| {
        let Values::Struct(of) = &mut column.values else { panic!("a tuple column holds structs") };
        of.parts[0].values = texts(&[r#"{"a":1}"#]);
        of.parts[1].push_mark(Mark::Null);
        of.rows = 1;
    });
    insta::assert_snapshot!(encoded(&block), @r#"\x01\x01\x01c$Tuple(JSON(a UInt8), Nullable(JSON))\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07{\"a\":1}\x01\x02{}"#);
}

#[test]
fn narrow_types_are_narrowed_and_fixed_ones_filled_up() {
    let table = table(&[
        ("e", "Enum8('a' = -2, 'b' = 1)", ColumnDefault::None),
        ("f", "FixedString(3)", ColumnDefault::None),
        ("t", "Time", ColumnDefault::None),
        ("i", "IPv4", ColumnDefault::None),
        ("j", "IPv6", ColumnDefault::None),
    ]);
    let block = block(table, 2, |columns| {
        columns[0].values = Values::Int16(vec![1]);
        columns[0].push_mark(Mark::Absent);
        columns[1].values = texts(&["ab", ""]);
        columns[2].values = Values::Int64(vec![-1, 2]);
        columns[3].values = Values::UInt32(vec![0x0102_0304, 0]);
        columns[4].values = Values::Uuid(vec![*b"0123456789abcdef"; 2]);
    });
    insta::assert_snapshot!(encoded(&block), @r"\x05\x02\x01e\x18Enum8(\'a\' = -2, \'b\' = 1)\x01\xfe\x01f\x0eFixedString(3)ab\x00\x00\x00\x00\x01t\x04Time\xff\xff\xff\xff\x02\x00\x00\x00\x01i\x04IPv4\x04\x03\x02\x01\x00\x00\x00\x00\x01j\x04IPv60123456789abcdef0123456789abcdef");
}

#[test]
fn what_cannot_be_nullable_is_left_out_of_the_rows_that_lack_it() {
    let table = table(&[("a", "Array(UInt8)", ColumnDefault::Expression), ("n", "UInt8", ColumnDefault::None)]);
    let mut block = block(table, 3, |columns| {
        let of = list(&mut columns[0]);
        of.values.values = Values::UInt8(vec![5]);
        of.end_row();
        columns[0].push_mark(Mark::Absent);
        columns[0].push_mark(Mark::Absent);
        columns[1].values = Values::UInt8(vec![1, 2, 3]);
    });
    insta::assert_snapshot!(encoded(&block), @r"\x02\x01\x01a\x0cArray(UInt8)\x01\x00\x00\x00\x00\x00\x00\x00\x05\x01n\x05UInt8\x01\x01\x02\x01n\x05UInt8\x02\x03");
    // Without a column that is always there, a row would have none.
    block.columns[1] = Column::new(&LogicalType::UInt8);
    (0..3).for_each(|_| block.columns[1].push_mark(Mark::Absent));
    let names: Vec<_> = encoder(&block, 1).unwrap().columns().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["a", "n"]);
    let mut schema = TableSchema::clone(&block.layout.table);
    schema.columns[1].default = ColumnDefault::Expression;
    schema.columns[1].type_text = "Nullable(UInt8)".into();
    block.layout = Arc::new(Layout::new(Arc::new(schema), [0, 1]));
    let refused = encoder(&block, 1).err().unwrap();
    insta::assert_snapshot!(refused, @"table shop.orders: a row holds none of the columns, and ClickHouse cannot be told that a is to have its default");
}

#[test]
fn what_the_contract_excludes_is_refused() {
    let message = |type_text, default, rows, fill: &dyn Fn(&mut Column)| {
        let block = block(table(&[("c", type_text, default)]), rows, |columns| fill(&mut columns[0]));
        encoder(&block, 1).err().unwrap().to_string()
    };
    let null = |column: &mut Column| column.push_mark(Mark::Null);
    insta::assert_snapshot!(message("Int8", ColumnDefault::None, 1, &null), @"column c of table shop.orders: a row is null, but the column cannot be");
    insta::assert_snapshot!(message("Nullable(Int8)", ColumnDefault::None, 2, &null), @"column c of table shop.orders: a block of 2 rows has 1 here");
    let wrong = |column: &mut Column| column.values = Values::Int16(vec![1]);
    insta::assert_snapshot!(message("Int8", ColumnDefault::None, 1, &wrong), @"column c of table shop.orders: the values do not have the layout of type Int8");
    let long = |column: &mut Column| column.values = texts(&["abc", "é"]);
    insta::assert_snapshot!(message("FixedString(2)", ColumnDefault::None, 2, &long), @"column c of table shop.orders: a text has 3 bytes");
    let inner = |column: &mut Column| {
        list(column).values.push_mark(Mark::Null);
        list(column).end_row();
    };
    insta::assert_snapshot!(message("Array(Int8)", ColumnDefault::None, 1, &inner), @"column c of table shop.orders: a row is null, but the column cannot be");
    let kind = |column: &mut Column| {
        let Values::Variant(of) = &mut column.values else { panic!("a variant column holds variants") };
        of.kinds.push(1);
    };
    insta::assert_snapshot!(message("Variant(Int8)", ColumnDefault::None, 1, &kind), @"column c of table shop.orders: a row is of a type that the variant does not have");
}

const ALL: &[&str] = &[
    "Bool",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Decimal(9, 2)",
    "Decimal(18, 2)",
    "Decimal(38, 2)",
    "Decimal(76, 2)",
    "String",
    "UUID",
    "Date",
    "Date32",
    "DateTime",
    "DateTime64(3)",
    "Int128",
    "UInt128",
    "UInt256",
    "FixedString(510)",
    "Enum8('a' = -1, 'b' = 2)",
    "Enum16('a' = -1, 'b' = 2)",
    "Time",
    "Time64(6)",
    "IPv4",
    "IPv6",
    "JSON",
    "Array(Nullable(UInt16))",
    "Array(Array(LowCardinality(String)))",
    "Map(String, Tuple(a Date32, b Array(Nullable(Enum8('x' = 3)))))",
    "Tuple(String, Nullable(Tuple(Int64, UUID)))",
    "Variant(String, Array(UInt8), UInt64)",
    "Array(Dynamic)",
    "MultiPolygon",
];

/// One value whose bytes all differ from their neighbours', within every type's range.
fn push(column: &mut Column, value: &ValueType, seed: u8) {
    let seed16 = 0x1000 + u16::from(seed);
    let bytes = |at: usize| seed.wrapping_add(u8::try_from(at).unwrap());
    match &mut column.values {
        Values::Bool(v) => v.push(seed & 1),
        Values::Int8(v) => v.push(i8::from_le_bytes([seed])),
        Values::Int16(v) if matches!(value.logical, LogicalType::Enum(_)) => v.push(i16::from(seed & 3)),
        Values::Int16(v) => v.push(seed16.cast_signed()),
        Values::Int32(v) => v.push(seed16.into()),
        Values::Int64(v) if matches!(value.logical, LogicalType::Time { digits: 0 }) => v.push(seed16.into()),
        Values::Int64(v) => v.push(0x1234_0000 + i64::from(seed16)),
        Values::UInt8(v) => v.push(seed),
        Values::UInt16(v) => v.push(seed16),
        Values::UInt32(v) => v.push(0x1234_0000 + u32::from(seed16)),
        Values::UInt64(v) => v.push(0x1234_5678_9abc_0000 + u64::from(seed16)),
        Values::Float32(v) => v.push(f32::from(seed16) / 3.0),
        Values::Float64(v) => v.push(f64::from(seed16) / 3.0),
        Values::Int128(v) => v.push(0x1234_5678_9abc_def0_1234_5678_0000 + i128::from(seed16)),
        Values::UInt128(v) => v.push(0x1234_5678_9abc_def0_1234_5678_0000 + u128::from(seed16)),
        Values::Int256(v) => v.push(std::array::from_fn(bytes)),
        Values::Uuid(v) => v.push(std::array::from_fn(bytes)),
        Values::Text(text) => text.push(&"ü".repeat(usize::from(seed))),
        Values::List(list) => {
            let element = match &value.logical {
                LogicalType::List(element) => ValueType::clone(element),
                LogicalType::Map(pair) => {
                    let part = |value: &ValueType| StructField { name: None, value: value.clone() };
                    LogicalType::Struct([part(&pair.0), part(&pair.1)].into()).into()
                }
                _ => panic!("a list"),
            };
            (0..seed % 4).for_each(|at| push_any(&mut list.values, &element, seed.wrapping_mul(7).wrapping_add(at)));
            list.end_row();
        }
        Values::Struct(of) => {
            let LogicalType::Struct(fields) = &value.logical else { panic!("a struct") };
            fields.iter().zip(&mut of.parts).for_each(|(field, part)| push_any(part, &field.value, seed));
            of.rows += 1;
        }
        Values::Variant(of) => {
            let LogicalType::Variant(types) = &value.logical else { panic!("a variant") };
            let kind = seed % u8::try_from(types.len()).unwrap();
            push(&mut of.columns[usize::from(kind)], &types[usize::from(kind)], seed);
            of.kinds.push(kind);
        }
    }
}

/// A value or none.
fn push_any(column: &mut Column, value: &ValueType, seed: u8) {
    match seed % 8 {
        0 if value.nullable => column.push_mark(Mark::Null),
        1 => column.push_mark(Mark::Absent),
        _ => push(column, value, seed),
    }
}

fn any_block() -> impl Strategy<Value = Block> {
    let column = (proptest::sample::select(ALL), any::<bool>(), any::<bool>());
    let rows = proptest::collection::vec(any::<u8>(), 1..600);
    (proptest::collection::vec(column, 1..6), rows).prop_map(|(columns, seeds)| {
        let wishes: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(index, (type_text, nullable, expression))| {
                let plain = || (*type_text).to_owned();
                let type_text =
                    if *nullable { type_names::nullable(type_text).unwrap_or_else(|_| plain()) } else { plain() };
                let default = if *expression { ColumnDefault::Expression } else { ColumnDefault::None };
                (format!("c{index}"), type_text, default)
            })
            .collect();
        let wishes: Vec<_> = wishes.iter().map(|(name, text, default)| (&**name, &**text, *default)).collect();
        let table = table(&wishes);
        let values: Vec<_> = table.columns.iter().map(|column| column.value.clone().unwrap()).collect();
        block(table, seeds.len(), |filled| {
            for (index, (column, value)) in (0..).zip(filled.iter_mut().zip(&values)) {
                seeds.iter().for_each(|seed| push_any(column, value, seed.wrapping_add(index)));
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_chunk_size_does_not_change_the_bytes(block in any_block()) {
        // A row that holds none of the columns is refused where they all have expressions.
        let Ok(encoder) = encoder(&block, 1 << 24) else { return Ok(()) };
        let whole = all_chunks(encoder);
        prop_assert_eq!(whole.len(), 1);
        for size in [1, 7, 100, 1000] {
            let chunks = chunks(&block, size);
            // Whatever is larger than a chunk must be a single item: a head, a value, a text of up to 510 bytes.
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= size.max(512)));
            prop_assert_eq!(&chunks.concat(), &whole[0]);
        }
    }

    #[test]
    fn rows_that_change_places_stay_themselves(block in any_block(), seed in any::<u32>()) {
        let rows = u32::try_from(block.rows).unwrap();
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_by_key(|row| row.wrapping_mul(2_654_435_761).wrapping_add(seed).wrapping_mul(seed | 1));
        let mut back = vec![0; block.rows];
        (0..).zip(&order).for_each(|(at, row): (u32, _)| back[*row as usize] = at);
        for column in &block.columns {
            let taken = column.gather(&order);
            prop_assert_eq!(taken.len(), column.len());
            prop_assert_eq!(&taken.gather(&back), column);
            if let Some(row) = order.first() {
                prop_assert_eq!(taken.gather(&[0]), column.gather(&[*row]));
            }
        }
    }
}

#[test]
fn rows_that_lack_the_same_columns_come_together_where_their_order_means_nothing() {
    let columns = [("id", "UInt32", ColumnDefault::None), ("a", "Nullable(UInt8)", ColumnDefault::Expression)];
    let alternating = |kind: &str, run: u32| {
        let mut schema = table(&columns);
        schema.kind = kind.into();
        block(schema, 2000, |columns| {
            columns[0].values = Values::UInt32((0..2000).collect());
            for row in 0..2000 {
                columns[1].push_mark(if (row / run).is_multiple_of(2) { Mark::Absent } else { Mark::Null });
            }
        })
    };
    let blocks = |block: &Block| encoded(block).matches("id\\x06UInt32").count();
    let bad = alternating("MergeTree", 1);
    assert_eq!(blocks(&bad), 2000);
    let good = regroup(&bad).unwrap().expect("its rows alternate");
    assert_eq!(blocks(&good), 2);
    let Values::UInt32(ids) = &good.columns[0].values else { panic!("numbers") };
    assert!(ids[..1000].iter().all(|id| id % 2 == 0) && ids[..1000].is_sorted() && ids[1000..].is_sorted());
    assert!(regroup(&alternating("MergeTree", 500)).unwrap().is_none(), "long runs stay");
    assert!(regroup(&alternating("ReplacingMergeTree", 1)).unwrap().is_none(), "the last of a key wins there");
}
