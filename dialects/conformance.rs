//! Checks for any dialect. Each dialect's tests run them against a real database; whoever adds one starts here.
//!
//! They go through the two halves of a [`Connection`] as the pipeline does, read back through a [`Probe`], and compare
//! texts that are written here, not computed by the dialect.

mod alter;
mod compete;
mod keyed;
mod ops;
mod progress;
mod sequences;

use std::sync::Arc;

use async_trait::async_trait;
use ethnum::I256;

use crate::contract::{
    Advice, Block, Column, ColumnDefault, ColumnSpec, Connection, Ddl, Error, Intent, Layout, LogicalType, Mark,
    Receipt, Storage, TableColumn, TableName, TableSchema, TableSpec, ValueType, Values,
};
use crate::generic::days_from_civil;

/// Reads tables back, which a [`Session`](crate::contract::Session) never does.
#[async_trait]
pub trait Probe: Send + Sync {
    /// All rows of a table in the order of the first of `columns`, an integer: those that its readers see, where rows are
    /// kept [by versions](crate::contract::Upserts::Versions) and some of them stand for others. `None` is null; a value
    /// is a text:
    ///
    /// | type | text |
    /// |---|---|
    /// | bool | `true`, `false` |
    /// | integers | `-5` |
    /// | floats | any that reads back to the same bits |
    /// | decimal | `-0.10`, with exactly its scale |
    /// | string | itself |
    /// | uuid | `550e8400-e29b-41d4-a716-446655440000` |
    /// | date | `2024-02-29` |
    /// | timestamp | `2024-02-29 12:34:56.123`, UTC, with exactly its digits |
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>>;
}

/// Runs every check in the connection's database, in `schema` where one is given.
///
/// The tables `rowfall_conformance…` are dropped before they are made and left for a look afterwards.
///
/// # Panics
/// On the first promise of the contract that is not kept, saying which.
pub async fn run(connection: &Connection, schema: Option<&str>, probe: &dyn Probe) {
    let suite = Suite { connection, schema, probe };
    suite.inserts().await;
    suite.changes_rows_by_key().await;
    suite.keeps_progress().await;
    suite.alters_tables().await;
}

/// Runs what two processes do at once, each with a connection of its own to the same database.
///
/// # Panics
/// As [`run`].
pub async fn compete(one: &Connection, other: &Connection, schema: Option<&str>, probe: &dyn Probe) {
    let suite = |connection| Suite { connection, schema, probe };
    compete::run(&suite(one), &suite(other)).await;
}

struct Suite<'a> {
    connection: &'a Connection,
    schema: Option<&'a str>,
    probe: &'a dyn Probe,
}

impl Suite<'_> {
    async fn inserts(&self) {
        self.answers().await;
        self.reads_its_own_types();
        self.describes_what_it_created().await;
        self.keeps_every_value().await;
        self.writes_any_number_of_rows().await;
        self.leaves_absent_columns_to_the_database().await;
        self.takes_any_name().await;
        self.asks_for_a_new_description().await;
        self.refuses_a_view().await;
    }

    async fn answers(&self) {
        let server = ok("server()", self.connection.session.server().await);
        assert!(server.chars().any(|c| c.is_ascii_digit()), "server() names no version: {server:?}");
        let missing = self.table("missing");
        self.run_ddl(&format!("DROP TABLE IF EXISTS {}", self.quoted(&missing))).await;
        let described = ok("describe() of a missing table", self.connection.session.describe(&missing).await);
        assert_eq!(described, None, "a missing table was described");
    }

    fn reads_its_own_types(&self) {
        for logical in all_types() {
            let Ok(text) = self.connection.grammar.column_type(&logical) else { continue };
            match self.connection.grammar.parse_type(&text) {
                Ok(read) => {
                    let read = read.logical;
                    assert!(holds(&read, &logical), "{logical} becomes `{text}`, which is read as {read}");
                }
                Err(why) => panic!("{logical} becomes `{text}`, which parse_type refuses: {why}"),
            }
        }
    }

    async fn describes_what_it_created(&self) {
        let spec = self.every_type();
        let table = self.create(&spec).await;
        assert_eq!(table.name.name, spec.name.name, "the table is described under another name");
        let names = |columns: Vec<&String>| columns.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(table.columns.iter().map(|column| &column.name).collect()),
            names(spec.columns.iter().map(|column| &column.name).collect()),
            "the described columns are not the created ones"
        );
        for (column, created) in table.columns.iter().zip(&spec.columns) {
            let name = &column.name;
            assert_eq!(Some(takes(column).nullable), created.nullable, "column `{name}`: nullability");
            assert_eq!(column.default, ColumnDefault::None, "column `{name}` was created without a default");
        }
        let again = ok("create_table()", self.connection.grammar.create_table(&spec));
        ok("the DDL of a table that exists", self.connection.session.execute(&again).await);
        assert!(table.parallel >= 1, "no write may be under way");
        let intent = Intent::Write { table: &table, keyed: false, cluster: None };
        let problems = ok("check()", self.connection.session.check(intent).await);
        assert!(problems.is_empty(), "check() finds problems with a table that can be written: {problems:?}");
    }

    async fn keeps_every_value(&self) {
        let table = self.create(&self.every_type()).await;
        let samples: Vec<_> = self.supported().iter().map(samples).collect();
        let rows = samples.iter().map(Vec::len).max().unwrap_or(0);
        let mut content = Vec::new();
        for row in 0..rows {
            let mut cells = vec![Cell::Value(row.to_string())];
            for samples in &samples {
                let sample = Cell::Value(samples[row % samples.len()].clone());
                let nullable = match row % 3 {
                    0 => sample.clone(),
                    1 => Cell::Null,
                    _ => Cell::Absent,
                };
                cells.extend([sample, nullable]);
            }
            content.push(cells);
        }
        self.write(&table, &content).await;
        self.expect(&table, &content).await;
    }

    async fn writes_any_number_of_rows(&self) {
        let columns = [("row", LogicalType::Int64, false), ("note", LogicalType::String, true)];
        let table = self.create(&self.spec("rows", &columns)).await;
        let mut content = Vec::new();
        for rows in [0, 1, 3, 5000, 2] {
            let from = content.len();
            let block = (from..from + rows).map(|row| {
                let note = if row % 7 == 3 { Cell::Null } else { Cell::Value(format!("note {row}")) };
                vec![Cell::Value(row.to_string()), note]
            });
            let block: Vec<_> = block.collect();
            self.write(&table, &block).await;
            content.extend(block);
            self.expect(&table, &content).await;
        }
    }

    async fn leaves_absent_columns_to_the_database(&self) {
        let columns = [
            ("row", LogicalType::Int64, false),
            ("note", LogicalType::String, true),
            ("seven", LogicalType::Int64, false),
            ("eight or null", LogicalType::Int64, true),
        ];
        let mut spec = self.spec("defaults", &columns);
        spec.columns[2].default = Some("7".into());
        spec.columns[3].default = Some("4 + 4".into());
        let table = self.create(&spec).await;
        for (column, nullable) in table.columns[2..].iter().zip([false, true]) {
            assert_eq!(column.default, ColumnDefault::Expression, "{column:?} was created with a DEFAULT");
            assert_eq!(takes(column).nullable, nullable, "{column:?}: nullability");
        }
        let one = || Cell::Value("1".into());
        let given = [
            [Cell::Absent, Cell::Absent],
            [one(), Cell::Null],
            [Cell::Absent, one()],
            [Cell::Absent, Cell::Null],
            [one(), Cell::Absent],
        ];
        let row = |(row, [seven, eight]): (usize, &[Cell; 2])| {
            vec![Cell::Value(row.to_string()), Cell::Absent, seven.clone(), eight.clone()]
        };
        let content: Vec<_> = given.iter().enumerate().map(row).collect();
        self.write(&table, &content).await;
        let filled = |cell: &Cell, default: &str| match cell {
            Cell::Absent => Cell::Value(default.into()),
            given => given.clone(),
        };
        let expected = content
            .iter()
            .map(|cells| vec![cells[0].clone(), Cell::Null, filled(&cells[2], "7"), filled(&cells[3], "8")]);
        let expected: Vec<_> = expected.collect();
        self.expect(&table, &expected).await;
    }

    async fn takes_any_name(&self) {
        const NAMES: [&str; 12] = [
            "row",
            "select",
            "Order By",
            "a.b",
            "double\"quote",
            "single'quote",
            "back`quote",
            "back\\slash",
            "semi; DROP TABLE x; --",
            "per%cent ?1 $1 :name {x:y}",
            "snow☃man 🦀",
            "[bracket]",
        ];
        for name in ["ro\"w.fa`ll's; 🦀 --", "ro\"w.fa`ll's; --", "group"] {
            let table = format!("rowfall_conformance {name}");
            let spec = |names: &[&str]| {
                let columns: Vec<_> = names.iter().map(|name| (*name, LogicalType::Int64, *name != "row")).collect();
                let mut spec = self.spec("", &columns);
                spec.name.name.clone_from(&table);
                spec
            };
            // What a database cannot take as a name is refused, and named.
            let takes = |name: &str| match self.connection.grammar.create_table(&spec(&["row", name])) {
                Ok(_) => true,
                Err(why) => {
                    assert!(why.0.contains(name) || why.0.contains(&table), "`{name}` is not named: {why}");
                    false
                }
            };
            let names: Vec<_> = NAMES.into_iter().filter(|name| *name == "row" || takes(name)).collect();
            if names.len() == 1 {
                continue;
            }
            let table = self.create(&spec(&names)).await;
            let content = vec![(0..names.len()).map(|value| Cell::Value(value.to_string())).collect()];
            self.write(&table, &content).await;
            self.expect(&table, &content).await;
        }
    }

    async fn asks_for_a_new_description(&self) {
        let columns = [("row", LogicalType::Int64, false), ("was here", LogicalType::Int64, true)];
        let table = self.create(&self.spec("stale", &columns)).await;
        let mut stale = TableSchema::clone(&table);
        stale.columns[1].name = "not there".into();
        let content = [vec![Cell::Value("1".into()), Cell::Value("2".into())]];
        let error =
            self.try_write(&Arc::new(stale), &content).await.expect_err("a column that does not exist was written");
        assert_eq!(error.advice, Advice::Refresh, "the advice for a column that does not exist: {error}");
        assert!(error.to_string().contains("not there"), "the column is not named: {error}");
        self.expect(&table, &[]).await;
        self.write(&table, &content).await;
        self.expect(&table, &content).await;
    }

    async fn refuses_a_view(&self) {
        let view = self.table("view");
        let quoted = self.quoted(&view);
        self.run_ddl(&format!("DROP VIEW IF EXISTS {quoted}")).await;
        self.run_ddl(&format!("CREATE VIEW {quoted} AS SELECT 1 AS a")).await;
        let error = self.connection.session.describe(&view).await.expect_err("a view was described as a table");
        assert!(error.to_string().contains(&view.name), "the view is not named: {error}");
        assert_eq!(error.advice, Advice::Pause, "the advice for a view: {error}");
    }

    /// A table with two columns for each type, one that takes null and one that does not.
    fn every_type(&self) -> TableSpec {
        let mut columns = vec![("row".to_owned(), LogicalType::Int64, false)];
        for logical in self.supported() {
            columns.push((logical.to_string(), logical.clone(), false));
            columns.push((format!("{logical} or null"), logical, true));
        }
        let columns: Vec<_> =
            columns.iter().map(|(name, logical, null)| (name.as_str(), logical.clone(), *null)).collect();
        self.spec("types", &columns)
    }

    fn supported(&self) -> Vec<LogicalType> {
        all_types().into_iter().filter(|logical| self.connection.grammar.column_type(logical).is_ok()).collect()
    }

    fn table(&self, name: &str) -> TableName {
        TableName { schema: self.schema.map(Into::into), name: format!("rowfall_conformance_{name}") }
    }

    fn quoted(&self, table: &TableName) -> String {
        let quote = |name: &str| self.connection.grammar.quote(name);
        match &table.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&table.name)),
            None => quote(&table.name),
        }
    }

    fn spec(&self, name: &str, columns: &[(&str, LogicalType, bool)]) -> TableSpec {
        let column = |(name, logical, nullable): &(&str, LogicalType, bool)| {
            let type_text = ok("column_type()", self.connection.grammar.column_type(logical));
            ColumnSpec::new(*name, type_text, *nullable)
        };
        let columns = columns.iter().map(column).collect();
        TableSpec { name: self.table(name), columns, key: Vec::new(), storage: Storage::default() }
    }

    async fn run_ddl(&self, statement: &str) {
        // None of these statements needs the table's name.
        let ddl = Ddl::new(self.table("any"), vec![statement.to_owned()]);
        ok(statement, self.connection.session.execute(&ddl).await);
    }

    async fn create(&self, spec: &TableSpec) -> Arc<TableSchema> {
        self.run_ddl(&format!("DROP TABLE IF EXISTS {}", self.quoted(&spec.name))).await;
        let ddl = ok("create_table()", self.connection.grammar.create_table(spec));
        ok("creating a table", self.connection.session.execute(&ddl).await);
        self.describe(&spec.name).await
    }

    async fn describe(&self, table: &TableName) -> Arc<TableSchema> {
        let described = ok("describe()", self.connection.session.describe(table).await);
        Arc::new(described.unwrap_or_else(|| panic!("table `{table}` was created, but is not there")))
    }

    async fn try_write(&self, table: &Arc<TableSchema>, content: &[Vec<Cell>]) -> Result<Receipt, Error> {
        let layout = Layout::new(Arc::clone(table), (0..table.columns.len()).collect::<Vec<_>>());
        let mut columns = layout.empty_columns();
        for cells in content {
            for ((column, target), cell) in columns.iter_mut().zip(&table.columns).zip(cells) {
                cell.push(column, &takes(target).logical);
            }
        }
        let block = Block::new(Arc::new(layout), columns, content.len());
        self.connection.session.write(&[&block], None).await
    }

    async fn write(&self, table: &Arc<TableSchema>, content: &[Vec<Cell>]) {
        let receipt = ok(&format!("writing `{}`", table.name), self.try_write(table, content).await);
        assert_eq!(receipt.rows, content.len(), "table `{}`: the receipt counts other rows", table.name);
    }

    async fn expect(&self, table: &TableSchema, content: &[Vec<Cell>]) {
        let rows = self.probe.read(&table.name, &table.columns).await;
        assert_eq!(rows.len(), content.len(), "table `{}` holds another number of rows", table.name);
        for (row, (read, cells)) in rows.iter().zip(content).enumerate() {
            for ((target, read), cell) in table.columns.iter().zip(read).zip(cells) {
                let logical = &takes(target).logical;
                let expected = match cell {
                    Cell::Value(text) => Some(canonical(logical, text)),
                    Cell::Null | Cell::Absent => None,
                };
                assert!(
                    same(logical, read.as_deref(), expected.as_deref()),
                    "table `{}`, column `{}` {}, row {row}: wrote {expected:?}, read {read:?}",
                    table.name,
                    target.name,
                    target.type_text,
                );
            }
        }
    }
}

fn ok<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn takes(column: &TableColumn) -> &ValueType {
    match &column.value {
        Ok(value) => value,
        Err(why) => panic!("column `{}` {} was created, but cannot be written: {why}", column.name, column.type_text),
    }
}

fn all_types() -> Vec<LogicalType> {
    let decimals = [(1, 0), (9, 2), (15, 2), (15, 15), (16, 1), (18, 4), (38, 10), (38, 38), (76, 20)];
    let mut types = vec![
        LogicalType::Bool,
        LogicalType::Int8,
        LogicalType::Int16,
        LogicalType::Int32,
        LogicalType::Int64,
        LogicalType::UInt8,
        LogicalType::UInt16,
        LogicalType::UInt32,
        LogicalType::UInt64,
        LogicalType::Float32,
        LogicalType::Float64,
        LogicalType::String,
        LogicalType::Uuid,
        LogicalType::Date,
    ];
    types.extend(decimals.map(|(precision, scale)| LogicalType::Decimal { precision, scale }));
    types.extend([0, 3, 6, 9].map(|digits| LogicalType::Timestamp { digits }));
    types
}

/// Texts of values, among them the ends of the type.
fn samples(logical: &LogicalType) -> Vec<String> {
    let texts: &[&str] = match *logical {
        LogicalType::Bool => &["true", "false"],
        LogicalType::Int8 => &["0", "-128", "127"],
        LogicalType::Int16 => &["0", "-32768", "32767"],
        LogicalType::Int32 => &["0", "-2147483648", "2147483647"],
        LogicalType::Int64 => &["0", "-9223372036854775808", "9223372036854775807", "9007199254740993"],
        LogicalType::UInt8 => &["0", "255"],
        LogicalType::UInt16 => &["0", "65535"],
        LogicalType::UInt32 => &["0", "4294967295"],
        LogicalType::UInt64 => &["0", "18446744073709551615", "9223372036854775808", "9007199254740993"],
        LogicalType::Float32 => &["0", "-1.5", "0.1", "3.4028235e38", "-3.4028235e38", "1e-45"],
        LogicalType::Float64 => {
            &["0", "-1.5", "0.1", "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324", "9007199254740992"]
        }
        LogicalType::Decimal { precision, scale } => return decimals(precision, scale),
        LogicalType::String => return strings(),
        LogicalType::Uuid => &["00000000-0000-0000-0000-000000000000", "550e8400-e29b-41d4-a716-446655440000"],
        LogicalType::Date => &["1970-01-01", "1969-12-31", "2000-02-29", "2024-12-31", "2100-03-01"],
        LogicalType::Timestamp { digits: 0 } => &["1970-01-01 00:00:00", "2024-02-29 23:59:59"],
        LogicalType::Timestamp { digits: 1..=3 } => &["1969-12-31 23:59:59.9", "2024-02-29 12:34:56.7"],
        LogicalType::Timestamp { digits: 4..=6 } => &["1970-01-01 00:00:00.0001", "2024-02-29 12:34:56.7891"],
        LogicalType::Timestamp { .. } => &["1970-01-01 00:00:00.0000001", "2024-02-29 12:34:56.1234567"],
        _ => unreachable!("all_types() has none of {logical}"),
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn decimals(precision: u8, scale: u8) -> Vec<String> {
    let with_point = |digits: &str| {
        let (whole, behind) = digits.split_at(digits.len() - usize::from(scale));
        let whole = if whole.is_empty() { "0" } else { whole };
        if behind.is_empty() { whole.to_owned() } else { format!("{whole}.{behind}") }
    };
    let largest = with_point(&"9".repeat(precision.into()));
    let smallest = with_point(&format!("{}1", "0".repeat(scale.into())));
    let ones = with_point(&"1".repeat(precision.into()));
    vec!["0".into(), format!("-{largest}"), largest, format!("-{smallest}"), smallest, ones]
}

fn strings() -> Vec<String> {
    let texts = [
        "",
        " ",
        "é 🦀 \u{10FFFF}",
        "007",
        "1e5",
        "0.10",
        "NULL",
        "null",
        "\\N",
        "it's \"so\"",
        "a\tb\r\nc\\",
        "?1 $1",
    ];
    let mut strings: Vec<_> = texts.map(str::to_owned).into();
    strings.push("🦀 ".repeat(200_000));
    strings
}

/// Whether each value of `narrow` is one of `wide`.
fn holds(wide: &LogicalType, narrow: &LogicalType) -> bool {
    use LogicalType as T;
    match (wide, narrow) {
        (wide, narrow) if wide == narrow => true,
        (T::String, _) | (T::Float64, T::Float32) => true,
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision, scale }) => {
            s >= scale && p - s >= precision - scale
        }
        (T::Decimal { precision: p, scale: s }, narrow) => {
            integer(narrow).is_some_and(|(_, bits)| p - s >= if bits > 32 { 20 } else { 10 })
        }
        (T::Timestamp { digits: wide }, T::Timestamp { digits }) => wide >= digits,
        (wide, narrow) => match (integer(wide), integer(narrow)) {
            (Some((signed, wide)), Some((narrow_signed, narrow))) if signed == narrow_signed => wide >= narrow,
            (Some((true, wide)), Some((false, narrow))) => wide > narrow,
            _ => false,
        },
    }
}

/// Signed, and of how many bits.
fn integer(logical: &LogicalType) -> Option<(bool, u8)> {
    match logical {
        LogicalType::Int8 => Some((true, 8)),
        LogicalType::Int16 => Some((true, 16)),
        LogicalType::Int32 => Some((true, 32)),
        LogicalType::Int64 => Some((true, 64)),
        LogicalType::UInt8 => Some((false, 8)),
        LogicalType::UInt16 => Some((false, 16)),
        LogicalType::UInt32 => Some((false, 32)),
        LogicalType::UInt64 => Some((false, 64)),
        _ => None,
    }
}

/// A sample as the probe must return it: with all the digits of the column.
fn canonical(logical: &LogicalType, text: &str) -> String {
    let (LogicalType::Decimal { scale: digits, .. } | LogicalType::Timestamp { digits }) = *logical else {
        return text.to_owned();
    };
    let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
    if digits == 0 { whole.to_owned() } else { format!("{whole}.{behind:0<width$}", width = usize::from(digits)) }
}

fn same(logical: &LogicalType, read: Option<&str>, expected: Option<&str>) -> bool {
    match (logical, read, expected) {
        (LogicalType::Float32, Some(read), Some(expected)) => read.parse::<f32>().ok() == expected.parse::<f32>().ok(),
        (LogicalType::Float64, Some(read), Some(expected)) => read.parse::<f64>().ok() == expected.parse::<f64>().ok(),
        _ => read == expected,
    }
}

/// What a row holds in a column, or is given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Value(String),
    Null,
    Absent,
}

impl Cell {
    fn push(&self, column: &mut Column, logical: &LogicalType) {
        match self {
            Self::Null => column.push_mark(Mark::Null),
            Self::Absent => column.push_mark(Mark::Absent),
            Self::Value(text) => push(&mut column.values, logical, text),
        }
    }
}

fn push(values: &mut Values, logical: &LogicalType, text: &str) {
    const FITS: &str = "a sample fits its type";
    let number = || i128::try_from(unscaled(logical, text)).expect(FITS);
    match values {
        Values::Bool(v) => v.push((text == "true").into()),
        Values::Int8(v) => v.push(number().try_into().expect(FITS)),
        Values::Int16(v) => v.push(number().try_into().expect(FITS)),
        Values::Int32(v) => v.push(number().try_into().expect(FITS)),
        Values::Int64(v) => v.push(number().try_into().expect(FITS)),
        Values::UInt8(v) => v.push(number().try_into().expect(FITS)),
        Values::UInt16(v) => v.push(number().try_into().expect(FITS)),
        Values::UInt32(v) => v.push(number().try_into().expect(FITS)),
        Values::UInt64(v) => v.push(number().try_into().expect(FITS)),
        Values::Int128(v) => v.push(number()),
        Values::Int256(v) => v.push(unscaled(logical, text).to_le_bytes()),
        Values::Float32(v) => v.push(text.parse().expect(FITS)),
        Values::Float64(v) => v.push(text.parse().expect(FITS)),
        Values::Uuid(v) => v.push(u128::from_str_radix(&text.replace('-', ""), 16).expect(FITS).to_be_bytes()),
        Values::Text(v) => v.push(text),
        _ => unreachable!("all_types() has none of {logical}"),
    }
}

/// The integer that stands for a number, a date or an instant.
fn unscaled(logical: &LogicalType, text: &str) -> I256 {
    let whole = |text: &str| text.parse::<i64>().expect("a sample's part is a number");
    let days = |date: &str| days_from_civil(whole(&date[..4]), whole(&date[5..7]), whole(&date[8..]));
    match logical {
        LogicalType::Date => days(text).into(),
        LogicalType::Timestamp { digits } => {
            let seconds = days(&text[..10]) * 86_400 + whole(&text[11..13]) * 3600 + whole(&text[14..16]) * 60;
            let second = canonical(logical, &text[17..]).replace('.', "");
            I256::from(seconds) * I256::from(10).pow((*digits).into()) + I256::from(whole(&second))
        }
        _ => canonical(logical, text).replace('.', "").parse().expect("a sample is a number"),
    }
}
