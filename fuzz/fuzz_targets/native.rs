//! Any table and any values, encoded as FORMAT Native and read by a real server, whose answer must say the same values.
//!
//! The server is the shared one of `./x services up`. Each run asks one question: what a block holds.

#![no_main]

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use ethnum::I256;
use libfuzzer_sys::fuzz_target;
use rowfall_dialects::contract::{
    Block, Column, ColumnDefault, Compression, Grammar, Layout, LogicalType, Mark, TableColumn, TableName, TableSchema,
    Target, ValueType, Values, Variant,
};
use rowfall_services::ClickHouse;
use serde_json::Value;

const SCALARS: &[&str] = &[
    "Int8", "Int16", "Int32", "Int64", "Int128", "Int256", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128", "UInt256",
    "Float32", "Float64", "Bool", "Decimal(9, 4)", "Decimal(18, 0)", "Decimal(38, 38)", "Decimal(76, 10)", "String",
    "FixedString(5)", "UUID", "IPv4", "IPv6", "Date", "Date32", "DateTime('UTC')", "DateTime64(0, 'UTC')",
    "DateTime64(6, 'UTC')", "DateTime64(9, 'UTC')", "Time", "Time64(3)", "Enum8('a' = -128, 'it\\'s' = 127)",
    "Enum16('x' = -32768, 'ü' = 300)",
];

static SERVER: LazyLock<ClickHouse> = LazyLock::new(|| ClickHouse::running().unwrap_or_else(|error| panic!("{error}")));

static GRAMMAR: LazyLock<Arc<dyn Grammar>> = LazyLock::new(|| {
    let url = "clickhouse://localhost/default".parse().expect("a URL");
    rowfall_dialects::clickhouse::connect(&Target::new(url, Compression::None)).expect("a target").grammar
});

/// What the server must say: a value in JSON, or a number that may be written in several ways.
#[derive(Debug)]
enum Expected {
    Is(Value),
    Float(f64),
    Single(f32),
    /// Ticks of a time, and the digits behind its second.
    Time(i64, u8),
    Address(std::net::IpAddr),
    All(Vec<Expected>),
}

impl Expected {
    fn is(&self, said: &Value) -> bool {
        let shown = said.to_string();
        let text = said.as_str().unwrap_or(&shown);
        match self {
            Self::Is(value) => value == said,
            Self::Float(float) => text.parse::<f64>().is_ok_and(|f| f.to_bits() == float.to_bits()),
            Self::Single(float) => text.parse::<f32>().is_ok_and(|f| f.to_bits() == float.to_bits()),
            Self::Time(ticks, digits) => {
                let parts: Vec<i64> = text.trim_start_matches('-').split([':', '.']).filter_map(|p| p.parse().ok()).collect();
                let whole = parts[..3].iter().fold(0, |sum, part| sum * 60 + part);
                let all = whole * 10_i64.pow((*digits).into()) + parts.get(3).copied().unwrap_or(0);
                *ticks == if text.starts_with('-') { -all } else { all }
            }
            Self::Address(address) => text.parse() == Ok(*address),
            Self::All(parts) => said.as_array().is_some_and(|all| {
                all.len() == parts.len() && parts.iter().zip(all).all(|(part, said)| part.is(said))
            }),
        }
    }
}

fn type_text(u: &mut Unstructured<'_>, depth: usize) -> Result<String> {
    let scalar = |u: &mut Unstructured<'_>| u.choose(SCALARS).map(|text| (*text).to_owned());
    Ok(match u.int_in_range(0..=if depth == 0 { 5 } else { 12 })? {
        0..=3 => scalar(u)?,
        4 => format!("Nullable({})", scalar(u)?),
        5 => u.choose(&["LowCardinality(String)", "LowCardinality(Nullable(String))", "Point", "JSON", "Dynamic"])?.to_string(),
        6 | 7 => format!("Array({})", type_text(u, depth - 1)?),
        8 => format!("Map({}, {})", u.choose(&["String", "UInt16", "Date"])?, type_text(u, depth - 1)?),
        9 => format!("Tuple({}, {})", type_text(u, depth - 1)?, type_text(u, depth - 1)?),
        10 => format!("Tuple(`a b` {})", type_text(u, depth - 1)?),
        11 => u.choose(&["Variant(String, Array(UInt8), UInt64)", "Variant(Date, Map(String, Int8), Bool)"])?.to_string(),
        _ => u.choose(&["Ring", "MultiPolygon", "Array(Nullable(Tuple(Int8, String)))"])?.to_string(),
    })
}

fn text(u: &mut Unstructured<'_>, at_most: usize) -> Result<String> {
    let mut text: String = u.arbitrary::<&str>()?.chars().take(at_most).collect();
    while text.len() > at_most {
        text.pop();
    }
    Ok(text)
}

/// A number of any length, often at an end of the range.
fn integer(u: &mut Unstructured<'_>, from: I256, to: I256) -> Result<I256> {
    Ok(match u.int_in_range(0..=5)? {
        0 => from,
        1 => to,
        2 => I256::ZERO.max(from),
        _ => {
            let any = I256::from_words(u.arbitrary()?, u.arbitrary()?) >> u.int_in_range(0..=255_u32)?;
            if (from..=to).contains(&any) { any } else { I256::from(u.arbitrary::<i8>()?).max(from).min(to) }
        }
    })
}

fn push(u: &mut Unstructured<'_>, column: &mut Column, value: &ValueType) -> Result<Expected> {
    use LogicalType as T;
    if value.nullable && !matches!(value.logical, T::Variant(_)) && u.ratio(1, 4)? {
        column.push_mark(Mark::Null);
        return Ok(Expected::Is(Value::Null));
    }
    let range = |least: I256, most: I256| match &value.range {
        Some(range) => (I256::from(*range.start()), I256::from(*range.end())),
        None => (least, most),
    };
    let quoted = |n: I256| Expected::Is(Value::String(n.to_string()));
    let plain = |n: I256| Expected::Is(Value::from(n.as_i64()));
    macro_rules! int {
        ($v:ident, $t:ty, $show:ident) => {{
            let (least, most) = range(<$t>::MIN.try_into().expect("fits"), <$t>::MAX.try_into().expect("fits"));
            let n = integer(u, least, most)?;
            $v.push(<$t>::try_from(n).expect("in range"));
            $show(n)
        }};
    }
    Ok(match (&value.logical, &mut column.values) {
        (T::Bool, Values::Bool(v)) => {
            let bit = u.arbitrary::<bool>()?;
            v.push(bit.into());
            Expected::Is(bit.into())
        }
        (T::Enum(known), Values::Int16(v)) => {
            let known = &known[u.choose_index(known.len())?];
            v.push(known.number);
            Expected::Is(known.name.clone().into())
        }
        (T::Decimal { precision, scale }, values) => {
            let most = I256::from(10).pow(u32::from(*precision)) - 1;
            let n = integer(u, -most, most)?;
            match values {
                Values::Int32(v) => v.push(n.as_i32()),
                Values::Int64(v) => v.push(n.as_i64()),
                Values::Int128(v) => v.push(n.as_i128()),
                Values::Int256(v) => v.push(n.to_le_bytes()),
                _ => unreachable!("no decimal lies so"),
            }
            let digits = format!("{:0>width$}", n.unsigned_abs().to_string(), width = usize::from(*scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            let sign = if n < I256::ZERO { "-" } else { "" };
            let point = if *scale > 0 { "." } else { "" };
            Expected::Is(format!("{sign}{whole}{point}{fraction}").into())
        }
        (T::Date, Values::Int32(v)) => {
            let (least, most) = range(I256::ZERO, I256::ZERO);
            let days = integer(u, least, most)?.as_i32();
            v.push(days);
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            Expected::Is(date.to_string().into())
        }
        (T::Timestamp { digits }, Values::Int64(v)) => {
            let (least, most) = range(I256::ZERO, I256::ZERO);
            let ticks = integer(u, least, most)?.as_i64();
            v.push(ticks);
            let unit = 10_i64.pow((*digits).into());
            let (seconds, fraction) = (ticks.div_euclid(unit), ticks.rem_euclid(unit));
            let second = jiff::Timestamp::from_second(seconds).expect("in range").strftime("%Y-%m-%d %H:%M:%S");
            let point = if *digits > 0 { format!(".{fraction:0width$}", width = usize::from(*digits)) } else { String::new() };
            Expected::Is(format!("{second}{point}").into())
        }
        (T::Time { digits }, Values::Int64(v)) => {
            let (least, most) = range(I256::ZERO, I256::ZERO);
            let ticks = integer(u, least, most)?.as_i64();
            v.push(ticks);
            Expected::Time(ticks, *digits)
        }
        (T::Ipv4, Values::UInt32(v)) => {
            let bits = u.arbitrary::<u32>()?;
            v.push(bits);
            Expected::Address(std::net::Ipv4Addr::from_bits(bits).into())
        }
        (T::Ipv6, Values::Uuid(v)) => {
            let bytes = u.arbitrary::<[u8; 16]>()?;
            v.push(bytes);
            Expected::Address(std::net::Ipv6Addr::from(bytes).into())
        }
        (T::Uuid, Values::Uuid(v)) => {
            let bytes = u.arbitrary::<[u8; 16]>()?;
            v.push(bytes);
            let mut hex = String::new();
            for (at, byte) in bytes.iter().enumerate() {
                write!(hex, "{}{byte:02x}", if [4, 6, 8, 10].contains(&at) { "-" } else { "" }).expect("a String");
            }
            Expected::Is(hex.into())
        }
        (T::FixedString { bytes }, Values::Text(v)) => {
            let bytes = *bytes as usize;
            let text = text(u, bytes)?;
            v.push(&text);
            Expected::Is(format!("{text}{}", "\0".repeat(bytes - text.len())).into())
        }
        (T::Json, Values::Text(v)) => {
            let object = serde_json::json!({ "k": text(u, 20)? });
            v.push(&object.to_string());
            Expected::Is(object)
        }
        (_, Values::Text(v)) => {
            let text = text(u, 300)?;
            v.push(&text);
            Expected::Is(text.into())
        }
        (_, Values::Int8(v)) => int!(v, i8, plain),
        (_, Values::Int16(v)) => int!(v, i16, plain),
        (_, Values::Int32(v)) => int!(v, i32, plain),
        (_, Values::Int64(v)) => int!(v, i64, quoted),
        (_, Values::UInt8(v)) => int!(v, u8, plain),
        (_, Values::UInt16(v)) => int!(v, u16, plain),
        (_, Values::UInt32(v)) => int!(v, u32, plain),
        (_, Values::UInt64(v)) => int!(v, u64, quoted),
        (_, Values::Int128(v)) => int!(v, i128, quoted),
        (_, Values::UInt128(v)) => int!(v, u128, quoted),
        (T::UInt256, Values::Int256(v)) => {
            let bits = integer(u, I256::MIN, I256::MAX)?;
            v.push(bits.to_le_bytes());
            Expected::Is(bits.as_u256().to_string().into())
        }
        (_, Values::Int256(v)) => {
            let n = integer(u, I256::MIN, I256::MAX)?;
            v.push(n.to_le_bytes());
            quoted(n)
        }
        (_, Values::Float32(v)) => {
            let float = Some(f32::from_bits(u.arbitrary()?)).filter(|f| !f.is_nan()).unwrap_or(-0.0);
            v.push(float);
            Expected::Single(float)
        }
        (_, Values::Float64(v)) => {
            let float = Some(f64::from_bits(u.arbitrary()?)).filter(|f| !f.is_nan()).unwrap_or(-0.0);
            v.push(float);
            Expected::Float(float)
        }
        (T::Map(pair), Values::List(list)) => {
            let mut all = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                let Values::Struct(pairs) = &mut list.values.values else { unreachable!("a map's elements are pairs") };
                let key = push(u, &mut pairs.parts[0], &pair.0)?;
                all.push(Expected::All(vec![key, push(u, &mut pairs.parts[1], &pair.1)?]));
                pairs.rows += 1;
            }
            list.end_row();
            Expected::All(all)
        }
        (T::List(element), Values::List(list)) => {
            let count = u.int_in_range(0..=3)?;
            let all = (0..count).map(|_| push(u, &mut list.values, element)).collect::<Result<_>>()?;
            list.end_row();
            Expected::All(all)
        }
        (T::Struct(fields), Values::Struct(of)) => {
            let parts = fields.iter().zip(&mut of.parts).map(|(field, part)| push(u, part, &field.value));
            let all = parts.collect::<Result<_>>()?;
            of.rows += 1;
            Expected::All(all)
        }
        (T::Variant(types), Values::Variant(of)) => {
            let kind = u.int_in_range(0..=types.len())?;
            if kind == types.len() {
                of.kinds.push(Variant::NULL);
                return Ok(Expected::Is(Value::Null));
            }
            of.kinds.push(u8::try_from(kind).expect("few"));
            push(u, &mut of.columns[kind], &types[kind])?
        }
        (logical, values) => unreachable!("{logical} does not lie as {values:?}"),
    })
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut columns = Vec::new();
    for at in 0..u.int_in_range(1..=6)? {
        let type_text = type_text(u, 3)?;
        let value = GRAMMAR.parse_type(&type_text).unwrap_or_else(|refusal| panic!("{type_text}: {refusal}"));
        columns.push(TableColumn { name: format!("c{at}"), type_text, value: Ok(value), default: ColumnDefault::None });
    }
    let name = TableName { schema: None, name: "t".to_owned() };
    let structure: Vec<_> = columns.iter().map(|c| format!("{} {}", c.name, c.type_text)).collect();
    let structure = structure.join(", ");
    let targets: Vec<_> = (0..columns.len()).collect();
    let layout = Arc::new(Layout::new(Arc::new(TableSchema::new(name, "", columns)), targets));
    let mut filled = layout.empty_columns();
    let rows = u.int_in_range(1..=8)?;
    let mut expected = Vec::new();
    for _ in 0..rows {
        let mut row = Vec::new();
        for (at, column) in filled.iter_mut().enumerate() {
            row.push(push(u, column, layout.table.columns[at].value.as_ref().expect("writable"))?);
        }
        expected.push(Expected::All(row));
    }
    let block = Block::new(layout, filled, rows);
    let mut hex = String::new();
    let chunk_size = u.int_in_range(1..=500)?;
    rowfall_dialects::clickhouse::encode(&block, chunk_size, |bytes| {
        bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").expect("a String"));
    })
    .unwrap_or_else(|error| panic!("{structure}: {error}"));
    if hex.len() > 200_000 {
        return Ok(());
    }
    let literal = structure.replace('\\', "\\\\").replace('\'', "\\'");
    let sql = format!(
        "SELECT * FROM format(Native, '{literal}', unhex('{hex}')) SETTINGS input_format_native_allow_types_conversion = 0, \
         output_format_json_quote_64bit_integers = 1, output_format_json_quote_64bit_floats = 1, \
         output_format_json_quote_decimals = 1, output_format_decimal_trailing_zeros = 1, \
         output_format_json_quote_denormals = 1, output_format_json_named_tuples_as_objects = 0, \
         output_format_json_map_as_array_of_tuples = 1, date_time_output_format = 'simple', \
         input_format_try_infer_dates = 0, input_format_try_infer_datetimes = 0 FORMAT JSONCompactEachRow"
    );
    let answer = SERVER.query(&sql).unwrap_or_else(|error| panic!("{structure}: {error}"));
    let said: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said.len(), rows, "{structure}");
    for (row, (expected, said)) in expected.iter().zip(&said).enumerate() {
        assert!(expected.is(said), "{structure}, row {row}: {expected:?}, the server says {said}");
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Too few choices are no table.
    let _ = run(&mut Unstructured::new(data));
});
