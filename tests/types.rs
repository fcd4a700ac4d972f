//! Every ClickHouse type, from JSON text to the server: random tables and random records, written by rowfall's program
//! and encoder into one table and by ClickHouse's own JSONEachRow into its twin. The two must be equal.

use std::fmt::Write as _;
use std::sync::Arc;

use rowfall::config::Route;
use rowfall::decode::{JsonDecoder, Program};
use rowfall_dialects::contract::{Block, Compression, Connection, TableName, Target};
use rowfall_services::ClickHouse;

use crate::support;

/// Tables in a run of the suite; a long run sets more.
const TABLES: u64 = 120;
const ROWS: usize = 12;

/// A small generator that depends on its seed alone (xorshift64*), so that a failing table can be made again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn digits(&mut self, most: usize) -> String {
        let count = 1 + self.below(most);
        let mut text: String =
            (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).expect("a digit"))).collect();
        text = text.trim_start_matches('0').to_owned();
        if text.is_empty() { "0".to_owned() } else { text }
    }
}

/// A type's text, and what makes a random JSON value for it.
#[derive(Clone)]
enum Kind {
    Integer(&'static str, &'static str, &'static str),
    Float(&'static str),
    Decimal(usize, usize),
    Bool,
    Text(&'static str),
    Fixed(usize),
    Enum,
    Date(&'static str),
    DateTime(&'static str),
    DateTime64(usize),
    Uuid,
    Ipv4,
    Ipv6,
    Json,
    Point,
    Variant,
    Nullable(Box<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Tuple(Vec<Kind>),
    Positional(Vec<Kind>),
    Wrapped(&'static str, Box<Kind>),
}

const INTEGERS: &[(&str, &str, &str)] = &[
    ("Int8", "-128", "127"),
    ("Int16", "-32768", "32767"),
    ("Int32", "-2147483648", "2147483647"),
    ("Int64", "-9223372036854775808", "9223372036854775807"),
    ("Int128", "-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"),
    (
        "Int256",
        "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
        "57896044618658097711785492504343953926634992332820282019728792003956564819967",
    ),
    ("UInt8", "0", "255"),
    ("UInt16", "0", "65535"),
    ("UInt32", "0", "4294967295"),
    ("UInt64", "0", "18446744073709551615"),
    ("UInt128", "0", "340282366920938463463374607431768211455"),
    ("UInt256", "0", "115792089237316195423570985008687907853269984665640564039457584007913129639935"),
];

impl Kind {
    fn scalar(random: &mut Random) -> Self {
        match random.below(17) {
            0..=4 => {
                let (name, least, most) = INTEGERS[random.below(INTEGERS.len())];
                Self::Integer(name, least, most)
            }
            5 => Self::Float(random.one_of(&["Float32", "Float64"])),
            6 | 7 => {
                let precision = 1 + random.below(76);
                Self::Decimal(precision, random.below(precision + 1))
            }
            8 => Self::Bool,
            9 => Self::Text(random.one_of(&["String", "LowCardinality(String)"])),
            10 => Self::Fixed(1 + random.below(20)),
            11 => Self::Enum,
            12 => Self::Date(random.one_of(&["Date", "Date32"])),
            13 => Self::DateTime(random.one_of(&["DateTime('UTC')", "DateTime('Asia/Tokyo')"])),
            14 => Self::DateTime64(random.below(10)),
            15 => Self::Uuid,
            _ => [Self::Ipv4, Self::Ipv6][random.below(2)].clone(),
        }
    }

    fn any(random: &mut Random, depth: usize) -> Self {
        let nested = |random: &mut Random| Box::new(Self::any(random, depth + 1));
        match random.below(if depth < 3 { 20 } else { 12 }) {
            0..=8 => Self::scalar(random),
            9..=11 => Self::Nullable(Box::new(Self::scalar(random))),
            12 | 13 => Self::Array(nested(random)),
            14 => Self::Map(nested(random)),
            15 => Self::Tuple((0..=random.below(3)).map(|_| *nested(random)).collect()),
            16 => Self::Positional((0..=random.below(3)).map(|_| *nested(random)).collect()),
            17 if depth == 0 => Self::Json,
            18 if depth == 0 => Self::Variant,
            19 if depth == 0 => Self::Wrapped(
                "SimpleAggregateFunction(anyLast, ",
                Box::new(Self::Integer(INTEGERS[3].0, INTEGERS[3].1, INTEGERS[3].2)),
            ),
            _ => Self::Point,
        }
    }

    fn type_text(&self) -> String {
        let joined = |kinds: &[Self], named: bool| {
            let part = |(index, kind): (usize, &Self)| {
                let name = if named { format!("`p {index}` ") } else { String::new() };
                format!("{name}{}", kind.type_text())
            };
            kinds.iter().enumerate().map(part).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Integer(name, ..)
            | Self::Float(name)
            | Self::Text(name)
            | Self::Date(name)
            | Self::DateTime(name) => (*name).to_owned(),
            Self::Decimal(precision, scale) => format!("Decimal({precision}, {scale})"),
            Self::Bool => "Bool".to_owned(),
            Self::Fixed(bytes) => format!("FixedString({bytes})"),
            Self::Enum => "Enum16('a' = -32768, 'it\\'s' = 0, 'ü, (z)' = 300)".to_owned(),
            Self::DateTime64(digits) => format!("DateTime64({digits}, 'UTC')"),
            Self::Uuid => "UUID".to_owned(),
            Self::Ipv4 => "IPv4".to_owned(),
            Self::Ipv6 => "IPv6".to_owned(),
            Self::Json => "JSON(a.b UInt32, max_dynamic_paths = 4)".to_owned(),
            Self::Point => "Point".to_owned(),
            Self::Variant => "Variant(Array(Int64), Int64, String)".to_owned(),
            Self::Nullable(kind) => {
                format!("Nullable({})", kind.type_text().replace("LowCardinality(String)", "String"))
            }
            Self::Array(kind) => format!("Array({})", kind.type_text()),
            Self::Map(kind) => format!("Map(String, {})", kind.type_text()),
            Self::Tuple(kinds) => format!("Tuple({})", joined(kinds, true)),
            Self::Positional(kinds) => format!("Tuple({})", joined(kinds, false)),
            Self::Wrapped(before, kind) => format!("{before}{})", kind.type_text()),
        }
    }

    fn json(&self, random: &mut Random) -> String {
        match self {
            Self::Integer(_, least, most) => match random.below(4) {
                0 => (*least).to_owned(),
                1 => format!("\"{most}\""),
                2 => "0".to_owned(),
                // Fewer digits than the most has: always within the range.
                _ => random.digits(most.len() - 1),
            },
            Self::Float(_) => random
                .one_of(&["0", "0.1", "-1.5e-7", "16777217", "1e30", "-0.30000000000000004", "3.4028234e38"])
                .to_owned(),
            Self::Decimal(precision, scale) => {
                let sign = random.one_of(&["", "-"]);
                let whole = if precision > scale { random.digits(precision - scale) } else { "0".to_owned() };
                // Quoted beyond what a double keeps: the server reads a bare number as one in places.
                if *scale == 0 {
                    return format!("\"{sign}{whole}\"");
                }
                let fraction = random.digits(*scale);
                format!("\"{sign}{whole}.{fraction}\"")
            }
            Self::Bool => random.one_of(&["true", "false"]).to_owned(),
            Self::Text(_) => {
                let text = random.one_of(&["", "plain", "grüß 😀", "quote \" and \\ and \u{0} and \n", "\u{10ffff}"]);
                let repeated = text.repeat(if random.below(20) == 0 { 300 } else { 1 });
                serde_json::to_string(&repeated).expect("a string can be written")
            }
            Self::Fixed(bytes) => format!("\"{}\"", "x".repeat(random.below(bytes + 1))),
            Self::Enum => random.one_of(&["\"a\"", "\"it's\"", "\"ü, (z)\""]).to_owned(),
            Self::Date("Date") => random.one_of(&["\"1970-01-01\"", "\"2024-02-29\"", "\"2149-06-06\""]).to_owned(),
            Self::Date(_) => random.one_of(&["\"1900-01-01\"", "\"1969-12-31\"", "\"2299-12-31\""]).to_owned(),
            Self::DateTime(_) => random
                .one_of(&["\"1970-01-02 00:00:00\"", "\"2024-02-29 12:34:56\"", "\"2106-02-06 00:00:00\""])
                .to_owned(),
            Self::DateTime64(digits) => {
                let second = random.one_of(&["1969-12-31 23:59:59", "2024-02-29 12:34:56", "2250-01-01 00:00:00"]);
                let fraction: String = "123456789".chars().take(*digits).collect();
                if fraction.is_empty() { format!("\"{second}\"") } else { format!("\"{second}.{fraction}\"") }
            }
            Self::Uuid => {
                let hex: String = format!("{:016x}{:016x}", random.next(), random.next());
                format!("\"{}-{}-{}-{}-{}\"", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            }
            Self::Ipv4 => random.one_of(&["\"0.0.0.0\"", "\"127.0.0.1\"", "\"255.255.255.254\""]).to_owned(),
            Self::Ipv6 => random.one_of(&["\"::\"", "\"2001:db8::8a2e:370:7334\"", "\"::ffff:1.2.3.4\""]).to_owned(),
            Self::Json => random
                .one_of(&[
                    "{}",
                    r#"{"a":{"b":7},"c":[1,2]}"#,
                    r#"{"d":"x","e":9007199254740993,"f":null}"#,
                    r#"{"g":{"h":{"i":true}}}"#,
                    r#"{"t":"2024-01-02T03:04:05Z","u":"2024-01-02"}"#,
                ])
                .to_owned(),
            Self::Point => random.one_of(&["[0,0]", "[1.5,-2.25]"]).to_owned(),
            Self::Variant => random.one_of(&["42", "\"text\"", "[1,2,3]", "null", "-9223372036854775808"]).to_owned(),
            Self::Nullable(kind) if random.below(3) > 0 => kind.json(random),
            Self::Nullable(_) => "null".to_owned(),
            Self::Array(kind) => {
                let elements: Vec<_> = (0..random.below(4)).map(|_| kind.json(random)).collect();
                format!("[{}]", elements.join(","))
            }
            Self::Map(kind) => {
                let pairs: Vec<_> =
                    (0..random.below(3)).map(|index| format!("\"k{index}\":{}", kind.json(random))).collect();
                format!("{{{}}}", pairs.join(","))
            }
            Self::Tuple(kinds) => {
                let parts: Vec<_> = kinds
                    .iter()
                    .enumerate()
                    .map(|(index, kind)| format!("\"p {index}\":{}", kind.json(random)))
                    .collect();
                format!("{{{}}}", parts.join(","))
            }
            Self::Positional(kinds) => {
                let parts: Vec<_> = kinds.iter().map(|kind| kind.json(random)).collect();
                format!("[{}]", parts.join(","))
            }
            Self::Wrapped(_, kind) => kind.json(random),
        }
    }
}

/// Decodes the records by the table's program and writes them as one block.
pub(crate) async fn write(connection: &Connection, name: &str, records: &[String]) {
    let name = TableName::parse(name);
    let table = connection.session.describe(&name).await.expect("described").expect("exists");
    let route = Route::new("t", name);
    let program = Program::compile(&Arc::new(table), &route);
    let program = Arc::new(program.unwrap_or_else(|refused| panic!("{refused:?}")));
    let mut columns = program.layout.empty_columns();
    let mut decoder = JsonDecoder::new(Arc::clone(&program));
    for (row, record) in records.iter().enumerate() {
        decoder.decode(record.as_bytes(), &mut columns, row).unwrap_or_else(|bad| panic!("{bad}\n{record}"));
    }
    let block = Block::new(Arc::clone(&program.layout), columns, records.len());
    connection.session.write(&[&block], None).await.expect("written");
}

fn compare(clickhouse: &ClickHouse, connection: &Connection, runtime: &tokio::runtime::Runtime, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let kinds: Vec<_> = (0..=random.below(20)).map(|_| Kind::any(&mut random, 0)).collect();
    let mut columns = "`row` UInt32".to_owned();
    for (index, kind) in kinds.iter().enumerate() {
        write!(columns, ", `c {index}` {}", kind.type_text()).expect("a String can be written to");
    }
    let records: Vec<_> = (0..ROWS)
        .map(|row| {
            let mut record = format!("{{\"row\":{row}");
            for (index, kind) in kinds.iter().enumerate() {
                write!(record, ",\"c {index}\":{}", kind.json(&mut random)).expect("a String can be written to");
            }
            record + "}"
        })
        .collect();
    let (ours, twin) = (support::unique("ours"), support::unique("twin"));
    for table in [&ours, &twin] {
        support::query(clickhouse, &format!("CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY `row`"));
    }
    runtime.block_on(write(connection, &ours, &records));
    let values = records.join("\n");
    support::query(
        clickhouse,
        &format!(
            "INSERT INTO {twin} SETTINGS date_time_input_format = 'basic', input_format_json_read_objects_as_strings = 1, \
             input_format_try_infer_dates = 0, input_format_try_infer_datetimes = 0 \
             FORMAT JSONEachRow {values}"
        ),
    );
    for (index, kind) in kinds.iter().enumerate() {
        let shown = format!("toJSONString(tuple(`c {index}`))");
        let sql = format!(
            "SELECT a.row, {shown_a}, {shown_b} FROM {ours} AS a JOIN {twin} AS b ON a.row = b.row \
             WHERE {shown_a} != {shown_b} ORDER BY a.row LIMIT 1",
            shown_a = shown.replace("`c", "a.`c"),
            shown_b = shown.replace("`c", "b.`c"),
        );
        let different = support::query(clickhouse, &sql);
        let type_text = kind.type_text();
        assert!(
            different.is_empty(),
            "seed {seed}, `c {index}` {type_text}: row, ours, JSONEachRow's: {different}\n{values}"
        );
    }
    let counts =
        support::query(clickhouse, &format!("SELECT (SELECT count() FROM {ours}), (SELECT count() FROM {twin})"));
    assert_eq!(counts, format!("{ROWS}\t{ROWS}"), "seed {seed}");
    for table in [&ours, &twin] {
        support::query(clickhouse, &format!("DROP TABLE {table}"));
    }
}

#[test]
fn random_tables_equal_what_the_server_reads_from_the_same_json() {
    let clickhouse = support::services().clickhouse;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = support::target(&clickhouse).parse().expect("a URL");
    let target = Target::new(url, Compression::Auto);
    let connection = runtime.block_on(rowfall_dialects::connect(&target)).expect("connected");
    let tables = std::env::var("ROWFALL_TABLES").map_or(TABLES, |text| text.parse().expect("a number of tables"));
    for seed in 1..=tables {
        compare(&clickhouse, &connection, &runtime, seed);
    }
    println!("{tables} tables are equal");
}
