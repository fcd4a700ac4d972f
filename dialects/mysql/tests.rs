use std::sync::Arc;

use insta::assert_snapshot;
use rowfall_services::{MySql, Product};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::conformance::{self, Probe};
use crate::contract::{
    Advice, Block, Change, Column, ColumnSpec, Compression, Connection, Error, Intent, Layout, LogicalType, Mark, Op,
    Partition, Progress, Storage, TableColumn, TableName, TableSchema, TableSpec, Target, Upserts, Values,
};
use crate::generic::Statement;
use crate::mysql::connect;
use crate::mysql::grammar::SYNTAX;

const BOTH: [Product; 2] = [Product::MariaDb, Product::MySql];

/// A database of its own for each test, dropped by the next one of that name.
struct Database {
    server: MySql,
    name: String,
}

impl Database {
    async fn new(product: Product, name: &str) -> Self {
        let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
        let database = Self { server, name: format!("rowfall_test_{name}") };
        let mut connection = Self::open(&database.server.url("")).await;
        let name = SYNTAX.identifier(&database.name);
        let sql = format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::raw_sql(&Statement::ddl(&sql)).execute(&mut connection).await.unwrap();
        database
    }

    async fn open(url: &str) -> MySqlConnection {
        url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap()
    }

    fn connect(&self) -> Connection {
        connect(&target(&self.server.url(&self.name))).unwrap()
    }

    /// Another connection, as another program has it.
    async fn other(&self) -> MySqlConnection {
        Self::open(&self.server.url(&self.name)).await
    }

    async fn run(&self, sql: &str) {
        let done = sqlx::raw_sql(&Statement::ddl(sql)).execute(&mut self.other().await).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn read(&self, table: &TableSchema) -> Vec<Vec<Option<String>>> {
        Probe::read(self, &table.name, &table.columns).await
    }

    /// The rows with a comma between the columns, `-` for null.
    async fn rows(&self, table: &TableSchema) -> Vec<String> {
        let text = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
        let rows = self.read(table).await;
        rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(",")).collect()
    }
}

#[async_trait::async_trait]
impl Probe for Database {
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
        let expression = |column: &TableColumn| {
            let name = SYNTAX.identifier(&column.name);
            match column.value.as_ref().map(|value| &value.logical) {
                Ok(LogicalType::Float32 | LogicalType::Float64 | LogicalType::String) => name,
                Ok(LogicalType::Bool) => format!("CASE {name} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE {name} END"),
                _ => format!("CAST({name} AS CHAR)"),
            }
        };
        let expressions: Vec<_> = columns.iter().map(expression).collect();
        let first = SYNTAX.identifier(&columns[0].name);
        let sql = format!("SELECT {} FROM {} ORDER BY {first}", expressions.join(", "), SYNTAX.table(table));
        let rows = sqlx::query(&Statement::ddl(&sql)).fetch_all(&mut self.other().await).await.unwrap();
        let text = |row: &sqlx::mysql::MySqlRow, index: usize| match columns[index].value.as_ref().map(|v| &v.logical) {
            Ok(LogicalType::Float32) => row.get::<Option<f32>, _>(index).map(|float| format!("{float:?}")),
            Ok(LogicalType::Float64) => row.get::<Option<f64>, _>(index).map(|float| format!("{float:?}")),
            _ => row.get_unchecked::<Option<String>, _>(index),
        };
        rows.iter().map(|row| (0..columns.len()).map(|index| text(row, index)).collect()).collect()
    }
}

fn target(url: &str) -> Target {
    Target::new(url.parse().unwrap(), Compression::Auto)
}

async fn describe(connection: &Connection, table: &str) -> Arc<TableSchema> {
    Arc::new(connection.session.describe(&TableName::parse(table)).await.unwrap().unwrap())
}

/// A block for all of a table's columns from texts: `-` is null, `~` absent.
fn block(table: &Arc<TableSchema>, key: &[usize], rows: &[(Option<Op>, &[&str])]) -> Block {
    let targets: Vec<_> = (0..table.columns.len()).collect();
    let layout = Layout { key: key.into(), ..Layout::new(Arc::clone(table), targets) };
    let mut columns = layout.empty_columns();
    for (_, cells) in rows {
        for (column, cell) in columns.iter_mut().zip(*cells) {
            push(column, cell);
        }
    }
    let ops = rows.iter().filter_map(|(op, _)| *op).collect();
    Block { ops, ..Block::new(Arc::new(layout), columns, rows.len()) }
}

fn push(column: &mut Column, cell: &str) {
    match (cell, &mut column.values) {
        ("-", _) => column.push_mark(Mark::Null),
        ("~", _) => column.push_mark(Mark::Absent),
        (text, Values::Bool(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int8(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int16(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int32(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int64(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt16(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt32(v)) => v.push(text.parse().unwrap()),
        (text, Values::UInt64(v)) => v.push(text.parse().unwrap()),
        (text, Values::Int128(v)) => v.push(text.parse().unwrap()),
        (text, Values::Float32(v)) => v.push(text.parse().unwrap()),
        (text, Values::Float64(v)) => v.push(text.parse().unwrap()),
        (text, Values::Text(v)) => v.push(text),
        (text, other) => panic!("{text} into {other:?}"),
    }
}

/// Adds rows.
async fn insert(connection: &Connection, table: &Arc<TableSchema>, rows: &[&[&str]]) -> Result<(), Error> {
    let rows: Vec<_> = rows.iter().map(|row| (None, *row)).collect();
    connection.session.write(&[&block(table, &[], &rows)], None).await.map(drop)
}

/// Changes rows by the first column.
async fn change(connection: &Connection, table: &Arc<TableSchema>, rows: &[(Op, &[&str])]) -> Result<(), Error> {
    let rows: Vec<_> = rows.iter().map(|(op, row)| (Some(*op), *row)).collect();
    connection.session.write(&[&block(table, &[0], &rows)], None).await.map(drop)
}

fn says(error: &Error) -> String {
    format!("{:?} {error} | {}", error.advice, error.hint.clone().unwrap_or_default())
}

/// Once with the connection's own database, once with the tables' named.
#[tokio::test]
async fn both_keep_the_contract() {
    let own = Database::new(Product::MySql, "conformance").await;
    conformance::run(&own.connect(), None, &own).await;
    conformance::compete(&own.connect(), &own.connect(), None, &own).await;
    let named = Database::new(Product::MariaDb, "conformance").await;
    let elsewhere = Database::new(Product::MariaDb, "elsewhere").await;
    conformance::run(&elsewhere.connect(), Some(&named.name), &named).await;
    conformance::compete(&elsewhere.connect(), &elsewhere.connect(), Some(&named.name), &named).await;
}

#[tokio::test]
async fn a_foreign_table_is_described_as_it_is() {
    let mut text = String::new();
    for product in BOTH {
        let database = Database::new(product, "describe").await;
        let connection = database.connect();
        let own = match product {
            Product::MariaDb => "u uuid, v4 inet4, v6 inet6, hidden int INVISIBLE DEFAULT 1, v vector(3),",
            Product::MySql => "hidden int INVISIBLE DEFAULT 1, expr int, UNIQUE KEY e ((expr + 1)), v vector(3),",
        };
        let own = if product == Product::MariaDb { own.replace(" v vector(3),", "") } else { own.to_owned() };
        database
            .run(&format!(
                "CREATE TABLE `Orders` (
                    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
                    code varchar(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
                    name varchar(20) COLLATE utf8mb4_general_ci NOT NULL UNIQUE,
                    maybe int UNIQUE,
                    amount decimal(10,2) NOT NULL DEFAULT 1.50,
                    small tinyint, flag bool, m mediumint unsigned, y year, b1 bit, b9 bit(9),
                    f float, d double, rounded float(7,2),
                    c char(3), t text, lt longtext NOT NULL, sjis varchar(5) CHARACTER SET sjis,
                    e enum('a','it''s'), s set('a','b'), j json, bin varbinary(20), pic blob, g geometry,
                    day date, at datetime(6) DEFAULT CURRENT_TIMESTAMP(6), ts timestamp NULL, ti time(3),
                    {own}
                    nothing text DEFAULT NULL,
                    total decimal(10,2) AS (amount * 2) STORED, twice decimal(10,2) AS (amount * 2) VIRTUAL,
                    PRIMARY_ int, UNIQUE KEY part (t(10))
                 );
                 CREATE TABLE ci (id varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY);
                 CREATE TABLE nokey (a int);
                 CREATE TABLE two (a int, b varchar(9) COLLATE utf8mb4_bin NOT NULL, c datetime, PRIMARY KEY (c, a));
                 CREATE TABLE old (a int PRIMARY KEY) ENGINE=MyISAM;
                 CREATE VIEW seen AS SELECT 1 AS a"
            ))
            .await;
        for table in ["Orders", "ci", "nokey", "two", "old"] {
            let table = describe(&connection, table).await;
            text += &format!("{} ({}) {:?} {:?}\n", table.name, table.kind, table.upserts, table.promise);
            for column in table.columns.iter().filter(|_| table.name.name == "Orders") {
                let takes = match &column.value {
                    Ok(value) => format!("{}, {}", value.logical, if value.nullable { "null" } else { "not null" }),
                    Err(why) => why.clone(),
                };
                text += &format!("  {} {}: {takes}, {:?}\n", column.name, column.type_text, column.default);
            }
        }
        for table in ["seen", "information_schema.TABLES"] {
            text += &format!("{}\n", connection.session.describe(&TableName::parse(table)).await.unwrap_err());
        }
        let missing = connection.session.describe(&TableName::parse("orders")).await.unwrap();
        assert_eq!(missing, None, "another case is another table");
    }
    assert_snapshot!(text, @r#"
    rowfall_test_describe.Orders (InnoDB) Keys([["id"], ["code"]]) None
      id bigint(20) unsigned: uint64, not null, Expression
      code varchar(20) collate ascii_bin: string, not null, None
      name varchar(20) collate utf8mb4_general_ci: string, not null, None
      maybe int(11): int32, null, None
      amount decimal(10,2): decimal(10,2), not null, Expression
      small tinyint(4): int8, null, None
      flag tinyint(1): bool, null, None
      m mediumint(8) unsigned: uint32, null, None
      y year(4): uint16, null, None
      b1 bit(1): bool, null, None
      b9 bit(9): uint64, null, None
      f float: float32, null, None
      d double: float64, null, None
      rounded float(7,2): type `float(7,2)`: it would round what it gets: declare it without digits, or decimal(p,s), None
      c char(3) collate utf8mb4_general_ci: string, null, None
      t text collate utf8mb4_general_ci: string, null, None
      lt longtext collate utf8mb4_general_ci: string, not null, None
      sjis varchar(5) collate sjis_japanese_ci: type `varchar(5) collate sjis_japanese_ci`: it is not known whether its character set gives back every text: use utf8mb4, None
      e enum('a','it''s'): enum, null, None
      s set('a','b'): type `set('a','b')`: the server puts its parts into another order: declare it text or json, None
      j json: json, null, None
      bin varbinary(20): bytes, null, None
      pic blob: bytes, null, None
      g geometry: type `geometry`: rowfall writes no geometry: declare it text or json, None
      day date: date, null, None
      at datetime(6): timestamp(6), null, Expression
      ts timestamp: timestamp(0), null, None
      ti time(3): time(3), null, None
      u uuid: uuid, null, None
      v4 inet4: ipv4, null, None
      v6 inet6: ipv6, null, None
      hidden int(11): int32, null, Expression
      nothing text collate utf8mb4_general_ci: string, null, None
      total decimal(10,2): decimal(10,2), null, Generated
      twice decimal(10,2): decimal(10,2), null, Generated
      PRIMARY_ int(11): int32, null, None
    rowfall_test_describe.ci (InnoDB) Never { why: "its key's column `id` varchar(10) collate utf8mb4_unicode_ci takes texts that differ in case for one", hint: "ALTER TABLE `rowfall_test_describe`.`ci` MODIFY `id` varchar(10) COLLATE utf8mb4_bin NOT NULL" } None
    rowfall_test_describe.nokey (InnoDB) Keys([]) None
    rowfall_test_describe.two (InnoDB) Keys([["c", "a"]]) None
    rowfall_test_describe.old (MyISAM) Never { why: "its engine MyISAM has no transactions", hint: "ALTER TABLE `rowfall_test_describe`.`old` ENGINE = InnoDB" } Some("MyISAM has no transactions: a write that fails half-way leaves rows")
    `seen` is a view, which takes no rows
    `information_schema.TABLES` is a system view, which takes no rows
    rowfall_test_describe.Orders (InnoDB) Keys([["id"], ["code"]]) None
      id bigint unsigned: uint64, not null, Expression
      code varchar(20) collate ascii_bin: string, not null, None
      name varchar(20) collate utf8mb4_general_ci: string, not null, None
      maybe int: int32, null, None
      amount decimal(10,2): decimal(10,2), not null, Expression
      small tinyint: int8, null, None
      flag tinyint(1): bool, null, None
      m mediumint unsigned: uint32, null, None
      y year: uint16, null, None
      b1 bit(1): bool, null, None
      b9 bit(9): uint64, null, None
      f float: float32, null, None
      d double: float64, null, None
      rounded float(7,2): type `float(7,2)`: it would round what it gets: declare it without digits, or decimal(p,s), None
      c char(3) collate utf8mb4_0900_ai_ci: string, null, None
      t text collate utf8mb4_0900_ai_ci: string, null, None
      lt longtext collate utf8mb4_0900_ai_ci: string, not null, None
      sjis varchar(5) collate sjis_japanese_ci: type `varchar(5) collate sjis_japanese_ci`: it is not known whether its character set gives back every text: use utf8mb4, None
      e enum('a','it''s'): enum, null, None
      s set('a','b'): type `set('a','b')`: the server puts its parts into another order: declare it text or json, None
      j json: json, null, None
      bin varbinary(20): bytes, null, None
      pic blob: bytes, null, None
      g geometry: type `geometry`: rowfall writes no geometry: declare it text or json, None
      day date: date, null, None
      at datetime(6): timestamp(6), null, Expression
      ts timestamp: timestamp(0), null, None
      ti time(3): time(3), null, None
      hidden int: int32, null, Expression
      expr int: int32, null, None
      v vector(3): type `vector(3)`: not a type that rowfall knows, None
      nothing text collate utf8mb4_0900_ai_ci: string, null, None
      total decimal(10,2): decimal(10,2), null, Generated
      twice decimal(10,2): decimal(10,2), null, Generated
      PRIMARY_ int: int32, null, None
    rowfall_test_describe.ci (InnoDB) Never { why: "its key's column `id` varchar(10) collate utf8mb4_unicode_ci takes texts that differ in case for one", hint: "ALTER TABLE `rowfall_test_describe`.`ci` MODIFY `id` varchar(10) COLLATE utf8mb4_bin NOT NULL" } None
    rowfall_test_describe.nokey (InnoDB) Keys([]) None
    rowfall_test_describe.two (InnoDB) Keys([["c", "a"]]) None
    rowfall_test_describe.old (MyISAM) Never { why: "its engine MyISAM has no transactions", hint: "ALTER TABLE `rowfall_test_describe`.`old` ENGINE = InnoDB" } Some("MyISAM has no transactions: a write that fails half-way leaves rows")
    `seen` is a view, which takes no rows
    `information_schema.TABLES` is a system view, which takes no rows
    "#);
}

#[tokio::test]
async fn what_the_server_would_change_is_refused() {
    for product in BOTH {
        let database = Database::new(product, "exact").await;
        let connection = database.connect();
        let check = async |type_text: &str, values: &[&str], refused: &[&str]| {
            database.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (n int, a {type_text})")).await;
            let table = describe(&connection, "t").await;
            let mut expected = Vec::new();
            for (n, value) in values.iter().enumerate() {
                let written = insert(&connection, &table, &[&[&n.to_string(), value]]).await;
                written.unwrap_or_else(|error| panic!("{product:?} {type_text}: {value:?}: {error}"));
                expected.push(format!("{n},{value}"));
            }
            assert_eq!(database.rows(&table).await, expected, "{product:?} {type_text}");
            let mut told = String::new();
            for value in refused {
                // Between others, so that a statement of several rows is seen to be refused.
                let rows: [&[&str]; 3] = [&["90", "-"], &["91", value], &["92", "-"]];
                match insert(&connection, &table, &rows).await {
                    Ok(()) => panic!("{product:?} {type_text}: {value:?} became {:?}", database.rows(&table).await),
                    Err(error) => {
                        assert_eq!(error.advice, Advice::Split, "{product:?} {type_text} {value:?}: {error}");
                        assert!(!error.to_string().contains(*value) || value.len() < 6, "{error}");
                        told = format!("{type_text}: {error}");
                        let names = ["column `a`", "`t`.`a`", "'a'", "'t.a'", "`t.a`"];
                        assert!(names.iter().any(|name| told.contains(name)), "no column is named: {told}");
                    }
                }
            }
            assert_eq!(database.rows(&table).await, expected, "{product:?} {type_text}");
            told
        };
        check("varchar(5) CHARACTER SET utf8mb4", &["", "ab🦀 d", " a ", "é☃ß🦀x"], &["123456", "12345 ", "abcdefg"])
            .await;
        check("varchar(5) CHARACTER SET utf8mb3", &["", "é☃ß"], &["🦀", "ab🦀"]).await;
        check("varchar(5) CHARACTER SET latin1", &["é", "€"], &["☃", "🦀", "Ā"]).await;
        check("varchar(5) CHARACTER SET ascii", &["a~"], &["é", "☃"]).await;
        check("char(5)", &["", "a", " a", "12345"], &["a ", "123456", " "]).await;
        check("tinytext", &["a "], &[&"x".repeat(256), &format!("{} ", "x".repeat(255)), &"é".repeat(128)]).await;
        check("text", &[&"é ".repeat(20_000)], &[&"x".repeat(65_536)]).await;
        check("enum('a','it''s','c')", &[], &[]).await;
        check("year", &["1901", "2155"], &["0", "5", "1900", "2156", "70"]).await;
        check("bit(9)", &[], &["512"]).await;
        check("mediumint", &["-8388608", "8388607"], &["8388608", "-8388609"]).await;
        check("mediumint unsigned", &["0", "16777215"], &["16777216"]).await;
        check("bigint unsigned", &["18446744073709551615", "9223372036854775808"], &[]).await;
        check("float", &["0.1", "3.4028235e38", "-1e-45"], &["NaN", "inf", "-inf"]).await;
        check("double", &["0.1", "1.7976931348623157e308", "5e-324", "-0.0"], &["NaN", "inf"]).await;
        check("float unsigned", &["0.5"], &["-1"]).await;
        check("date", &[], &["-354286", "2932897", "2147483647"]).await;
        check("datetime", &[], &["-30610224001", "253402300800", "9223372036854775807"]).await;
        check("timestamp NULL", &[], &["0", "-1", "2147483648"]).await;
        check("time", &[], &["3020400", "-3020400"]).await;
        check("decimal(38,0)", &["99999999999999999999999999999999999999"], &[]).await;
        let json = r#"{"a": [1, 2.5, "é🦀", null, true]}"#;
        match product {
            Product::MySql => {
                check("json", &[json, "18446744073709551615", "0.1", "\"x\""], &["12345678901234567890.5", "{\"a\":}"])
                    .await
            }
            Product::MariaDb => {
                check("json", &[json, "12345678901234567890.5", "{\"b\": 1,  \"a\": 1.0}"], &["{\"a\":}", "nonsense"])
                    .await
            }
        };
        if product == Product::MySql {
            let told = check("varchar(5) CHECK (a <> 'no')", &["yes"], &[]).await;
            assert_eq!(told, "");
        }
    }
}

#[tokio::test]
async fn what_other_rows_or_tables_forbid_is_told_without_values() {
    let mut text = String::new();
    for product in BOTH {
        let database = Database::new(product, "forbidden").await;
        let connection = database.connect();
        database
            .run(
                "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
                 CREATE TABLE t (a int UNIQUE, b int, c varchar(9) NOT NULL, CONSTRAINT small CHECK (b < 10),
                                 CONSTRAINT p FOREIGN KEY (b) REFERENCES parent (id));
                 CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW
                 IF NEW.c = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
            )
            .await;
        let table = describe(&connection, "t").await;
        insert(&connection, &table, &[&["700", "1", "x"]]).await.unwrap();
        for row in [["700", "1", "x"], ["2", "99", "x"], ["2", "3", "x"], ["2", "1", "bad"], ["2", "1", "-"]] {
            let error = insert(&connection, &table, &[&["9", "1", "y"], &row]).await.unwrap_err();
            text += &format!("{}\n", says(&error));
        }
        let child = describe(&connection, "parent").await;
        let error = change(&connection, &child, &[(Op::Delete, &["1"])]).await.unwrap_err();
        text += &format!("{}\n", says(&error));
        assert_eq!(database.rows(&table).await, ["700,1,x"], "a write that failed left something");
    }
    assert_snapshot!(text.replace("rowfall_test_", ""), @"
    Split code 1062 ER_DUP_ENTRY: writing table `forbidden.t`: Duplicate entry … for key 'a' | 
    Split code 4025 ER_CONSTRAINT_FAILED: writing table `forbidden.t`: CONSTRAINT `small` failed for `forbidden`.`t` | 
    Split code 1452 ER_NO_REFERENCED_ROW_2: writing table `forbidden.t`: Cannot add or update a child row: a foreign key constraint fails (`forbidden`.`t`, CONSTRAINT `p` FOREIGN KEY (`b`) REFERENCES `parent` (`id`)) | 
    Split code 1644 ER_SIGNAL_EXCEPTION: writing table `forbidden.t`: not this one | see the table's triggers
    Split table `forbidden.t`, column `c` varchar(9) collate utf8mb4_general_ci: a value is missing, and the column takes no null | 
    Split code 1451 ER_ROW_IS_REFERENCED_2: writing table `forbidden.parent`: Cannot delete or update a parent row: a foreign key constraint fails (`forbidden`.`t`, CONSTRAINT `p` FOREIGN KEY (`b`) REFERENCES `parent` (`id`)) | 
    Split code 1062 ER_DUP_ENTRY: writing table `forbidden.t`: Duplicate entry … for key 't.a' | 
    Split code 3819 ER_CHECK_CONSTRAINT_VIOLATED: writing table `forbidden.t`: Check constraint 'small' is violated. | 
    Split code 1452 ER_NO_REFERENCED_ROW_2: writing table `forbidden.t`: Cannot add or update a child row: a foreign key constraint fails (`forbidden`.`t`, CONSTRAINT `p` FOREIGN KEY (`b`) REFERENCES `parent` (`id`)) | 
    Split code 1644 ER_SIGNAL_EXCEPTION: writing table `forbidden.t`: not this one | see the table's triggers
    Split table `forbidden.t`, column `c` varchar(9) collate utf8mb4_0900_ai_ci: a value is missing, and the column takes no null | 
    Split code 1451 ER_ROW_IS_REFERENCED_2: writing table `forbidden.parent`: Cannot delete or update a parent row: a foreign key constraint fails (`forbidden`.`t`, CONSTRAINT `p` FOREIGN KEY (`b`) REFERENCES `parent` (`id`)) |
    ");
}

#[tokio::test]
async fn defaults_apply_per_row_and_numbers_are_made_up() {
    for product in BOTH {
        let database = Database::new(product, "defaults").await;
        let connection = database.connect();
        database
            .run("CREATE TABLE t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a varchar(9) NOT NULL DEFAULT 'none', b int)")
            .await;
        let table = describe(&connection, "t").await;
        let rows: [&[&str]; 4] = [&["0", "x", "1"], &["41", "~", "~"], &["~", "given", "-"], &["~", "~", "7"]];
        insert(&connection, &table, &rows).await.unwrap();
        assert_eq!(database.rows(&table).await, ["0,x,1", "41,none,-", "42,given,-", "43,none,7"]);
        let layout = Layout::new(Arc::clone(&table), [0]);
        let mut columns = layout.empty_columns();
        columns[0].push_mark(Mark::Absent);
        columns[0].push_mark(Mark::Absent);
        connection.session.write(&[&Block::new(Arc::new(layout), columns, 2)], None).await.unwrap();
        assert_eq!(database.rows(&table).await[4..], ["44,none,-", "45,none,-"]);
        let error = insert(&connection, &table, &[&["-", "x", "1"]]).await.unwrap_err();
        assert!(says(&error).starts_with("Split table"), "{error}");
    }
}

#[tokio::test]
async fn rows_are_changed_by_their_key() {
    use Op::{Delete, Replace, Upsert};
    for product in BOTH {
        let database = Database::new(product, "keyed").await;
        let connection = database.connect();
        database
            .run("CREATE TABLE t (id varchar(9) COLLATE utf8mb4_bin PRIMARY KEY, a int DEFAULT 5, b varchar(9), c int NOT NULL)")
            .await;
        let table = describe(&connection, "t").await;
        assert_eq!(table.upserts, Upserts::Keys(vec![vec!["id".into()]]));
        let rows: [(Op, &[&str]); 3] =
            [(Upsert, &["A", "1", "x", "1"]), (Upsert, &["a", "~", "y", "2"]), (Upsert, &["b", "3", "-", "3"])];
        change(&connection, &table, &rows).await.unwrap();
        assert_eq!(database.rows(&table).await, ["A,1,x,1", "a,5,y,2", "b,3,-,3"]);
        // What is absent stays, in a replaced row it is the default again; a column that a new row needs may be absent
        // where the row is there.
        let rows: [(Op, &[&str]); 5] = [
            (Upsert, &["A", "-", "~", "~"]),
            (Replace, &["a", "~", "~", "7"]),
            (Delete, &["b", "~", "~", "~"]),
            (Delete, &["c", "~", "~", "~"]),
            (Replace, &["d", "1", "new", "8"]),
        ];
        for turn in 0..2 {
            change(&connection, &table, &rows).await.unwrap_or_else(|e| panic!("{product:?} {turn} {e}"));
            assert_eq!(database.rows(&table).await, ["A,-,x,1", "a,5,-,7", "d,1,new,8"]);
        }
        let error = change(&connection, &table, &[(Upsert, &["z", "1", "~", "~"])]).await.unwrap_err();
        assert!(says(&error).contains("a row is new, but has no `c`"), "{error}");
        let error = change(&connection, &table, &[(Upsert, &["z ", "1", "-", "1"])]).await.unwrap_err();
        assert!(says(&error).contains("takes a key with spaces at its end for the one without"), "{error}");
        assert_eq!(database.rows(&table).await, ["A,-,x,1", "a,5,-,7", "d,1,new,8"]);
    }
}

#[tokio::test]
async fn another_unique_key_never_changes_the_wrong_row() {
    for product in BOTH {
        let database = Database::new(product, "unique").await;
        let connection = database.connect();
        database
            .run("CREATE TABLE t (id int PRIMARY KEY, mail int UNIQUE, b int); INSERT INTO t VALUES (1,10,0),(2,20,0)")
            .await;
        let table = describe(&connection, "t").await;
        for row in [["3", "10", "1"], ["2", "10", "1"]] {
            let error = change(&connection, &table, &[(Op::Upsert, &row)]).await.unwrap_err();
            assert_eq!(error.advice, Advice::Split, "{error}");
        }
        assert_eq!(database.rows(&table).await, ["1,10,0", "2,20,0"]);
        change(&connection, &table, &[(Op::Upsert, &["2", "21", "1"])]).await.unwrap();
        assert_eq!(database.rows(&table).await, ["1,10,0", "2,21,1"]);

        // By the other key, with the primary one made up.
        database.run("CREATE TABLE u (name varchar(9) COLLATE utf8mb4_bin NOT NULL UNIQUE, id int AUTO_INCREMENT PRIMARY KEY, b int)").await;
        let table = describe(&connection, "u").await;
        assert_eq!(table.upserts, Upserts::Keys(vec![vec!["id".into()], vec!["name".into()]]));
        for b in ["1", "2"] {
            change(&connection, &table, &[(Op::Upsert, &["x", "~", b]), (Op::Upsert, &["y", "~", b])]).await.unwrap();
        }
        let rows = database.rows(&table).await;
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.ends_with(",2")), "{rows:?}");
    }
}

#[tokio::test]
async fn thousands_of_rows_are_changed_at_once() {
    for product in BOTH {
        let database = Database::new(product, "many").await;
        let connection = database.connect();
        database.run("CREATE TABLE t (a int, b varchar(9) COLLATE utf8mb4_bin, c int, PRIMARY KEY (a, b))").await;
        let table = describe(&connection, "t").await;
        let block = |op: &dyn Fn(usize) -> Op, value: &str| {
            let numbers: Vec<_> = (10_000..15_300).map(|n: usize| n.to_string()).collect();
            let rows: Vec<_> = numbers.iter().map(|n| [n.as_str(), "k", value]).collect();
            let rows: Vec<_> = rows.iter().enumerate().map(|(n, row)| (Some(op(n)), row.as_slice())).collect();
            self::block(&table, &[0, 1], &rows)
        };
        connection.session.write(&[&block(&|_| Op::Upsert, "1")], None).await.unwrap();
        let mixed = block(&|n| [Op::Upsert, Op::Delete, Op::Replace][n % 3], "2");
        assert_eq!(connection.session.write(&[&mixed], None).await.unwrap().rows, 5300);
        let rows = database.rows(&table).await;
        assert_eq!(rows.len(), 5300 - 1767);
        assert!(rows.iter().all(|row| row.ends_with(",k,2")));
    }
}

#[tokio::test]
async fn rows_and_progress_are_one_transaction() {
    let mut text = String::new();
    for product in BOTH {
        let database = Database::new(product, "progress").await;
        let (ours, theirs) = (database.connect(), database.connect());
        database
            .run("CREATE TABLE t (a int UNIQUE); CREATE TABLE u (a int); CREATE TABLE m (a int) ENGINE=MyISAM")
            .await;
        let [t, u, m] = ["t", "u", "m"];
        let (t, u, m) = (describe(&ours, t).await, describe(&ours, u).await, describe(&ours, m).await);
        let of = |partition| Partition { topic: "orders".into(), partition };
        let first = ours.session.resume("shop", &[of(1), of(0)]).await.unwrap();
        assert!(first.iter().all(|resumed| (resumed.epoch, resumed.next) == (1, None)), "{first:?}");
        let progress = |epoch, from, to| {
            let step = |partition| crate::contract::Move { partition: of(partition), epoch, from, to };
            Progress { pipeline: "shop".into(), moves: vec![step(1), step(0)] }
        };
        let one = |table: &Arc<TableSchema>, value: &str| block(table, &[], &[(None, &[value])]);
        let write = async |connection: &Connection, value: &str, progress: &Progress| {
            connection.session.write(&[&one(&t, value), &one(&u, value)], Some(progress)).await
        };
        assert_eq!(write(&ours, "1", &progress(1, None, 10)).await.unwrap().rows, 2);
        // The same again: the answer was lost.
        assert_eq!(write(&ours, "1", &progress(1, None, 10)).await.unwrap().rows, 2);
        assert_eq!(database.rows(&u).await, ["1"]);
        // A row that is refused takes the progress with it.
        assert_eq!(write(&ours, "1", &progress(1, Some(10), 11)).await.unwrap_err().advice, Advice::Split);
        assert_eq!(database.rows(&u).await, ["1"]);
        // Somebody else takes over.
        let resumed = theirs.session.resume("shop", &[of(0), of(1)]).await.unwrap();
        assert!(resumed.iter().all(|resumed| (resumed.epoch, resumed.next) == (2, Some(10))), "{resumed:?}");
        let error = write(&ours, "2", &progress(1, Some(10), 12)).await.unwrap_err();
        assert_eq!(error.advice, Advice::Fenced, "{error}");
        text += &format!("{error}\n");
        write(&theirs, "3", &progress(2, Some(10), 12)).await.unwrap();
        let error = write(&theirs, "4", &progress(2, Some(11), 13)).await.unwrap_err();
        assert_eq!(error.advice, Advice::Fenced, "{error}");
        assert_eq!(
            (database.rows(&t).await, database.rows(&u).await),
            (vec!["1".into(), "3".into()], vec!["1".into(), "3".into()])
        );
        // Progress alone, and of another pipeline.
        theirs.session.write(&[], Some(&progress(2, Some(12), 13))).await.unwrap();
        assert_eq!(theirs.session.resume("other", &[of(0)]).await.unwrap()[0].next, None);
        assert_eq!(theirs.session.resume("shop", &[of(0)]).await.unwrap()[0].next, Some(13));
        // Without transactions there is none.
        let error = theirs.session.write(&[&one(&m, "1")], Some(&progress(3, Some(13), 14))).await.unwrap_err();
        text += &format!("{}\n", says(&error));
        theirs.session.write(&[&one(&m, "1")], None).await.unwrap();
        assert_eq!(database.rows(&m).await, ["1"]);
    }
    assert_snapshot!(text.replace("rowfall_test_", ""), @"
    partition 1 of topic `orders` cannot be moved on: it was taken over (epoch 1 here, 2 there)
    Pause table `progress.m`: MyISAM has no transactions: a write that fails half-way leaves rows | ALTER TABLE `progress`.`m` ENGINE = InnoDB, or set `delivery: at-least-once`
    partition 1 of topic `orders` cannot be moved on: it was taken over (epoch 1 here, 2 there)
    Pause table `progress.m`: MyISAM has no transactions: a write that fails half-way leaves rows | ALTER TABLE `progress`.`m` ENGINE = InnoDB, or set `delivery: at-least-once`
    ");
}

#[tokio::test]
async fn rights_are_looked_at_without_a_row() {
    let mut text = String::new();
    for product in BOTH {
        let database = Database::new(product, "rights").await;
        database.run("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int AS (a + 1)); INSERT INTO t (id, a) VALUES (1, 1)").await;
        let writer = ("rowfall_test_writer", "writer-secret");
        database
            .run(&format!(
                "DROP USER IF EXISTS '{0}'@'%'; CREATE USER '{0}'@'%' IDENTIFIED BY '{1}';
                 GRANT INSERT, SELECT ON rowfall_test_rights.t TO '{0}'@'%'",
                writer.0, writer.1
            ))
            .await;
        let table = describe(&database.connect(), "t").await;
        let spec = TableSpec {
            name: TableName::parse("new"),
            columns: vec![ColumnSpec::new("id", "int", false)],
            key: Vec::new(),
            storage: Storage::default(),
        };
        let write = |keyed| Intent::Write { table: &table, keyed, cluster: None };
        let all = [write(false), write(true), Intent::Create(&spec)];
        let own = database.connect();
        for intent in all {
            let problems = own.session.check(intent).await.unwrap();
            assert!(problems.is_empty(), "{product:?}: {problems:?}");
        }
        for user in [MySql::READER, writer] {
            let connection = connect(&target(&database.server.url_as(user, &database.name))).unwrap();
            for intent in all {
                let problems = connection.session.check(intent).await.unwrap();
                let told: Vec<_> = problems.iter().map(says).collect();
                text += &format!("{product:?} {} {}: {}\n", user.0, intent_name(intent), told.join("; "));
            }
        }
        let missing = TableSpec { name: TableName::parse("nowhere.new"), ..spec.clone() };
        let problems = own.session.check(Intent::Create(&missing)).await.unwrap();
        text += &format!("{product:?}: {}\n", problems.iter().map(says).collect::<String>());
        assert_eq!(database.rows(&table).await, ["1,1,2"], "a check changed something");
        assert_eq!(own.session.describe(&spec.name).await.unwrap(), None, "a check created a table");
    }
    // Users are told with the host that they come from.
    assert_snapshot!(text.replace("rowfall_test_", "").replace("localhost", "127.0.0.1"), @"
    MariaDb reader writes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: INSERT command denied to user 'reader'@'127.0.0.1' for table `rights`.`t` | GRANT INSERT ON `rights`.`t` TO 'reader'@'%'
    MariaDb reader changes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: INSERT, UPDATE command denied to user 'reader'@'127.0.0.1' for table `rights`.`t` | GRANT SELECT, INSERT, UPDATE, DELETE ON `rights`.`t` TO 'reader'@'%'
    MariaDb reader creates: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: creating table `new`: CREATE command denied to user 'reader'@'127.0.0.1' for table `rights`.`new` | GRANT CREATE, SELECT, INSERT ON `new` TO 'reader'@'%'
    MariaDb writer writes: 
    MariaDb writer changes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: UPDATE command denied to user 'writer'@'127.0.0.1' for table `rights`.`t` | GRANT SELECT, INSERT, UPDATE, DELETE ON `rights`.`t` TO 'writer'@'%'
    MariaDb writer creates: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: creating table `new`: CREATE command denied to user 'writer'@'127.0.0.1' for table `rights`.`new` | GRANT CREATE, SELECT, INSERT ON `new` TO 'writer'@'%'
    MariaDb: Pause creating table `nowhere.new`: there is no such database | CREATE DATABASE `nowhere`, or let the user see it
    MySql reader writes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: INSERT command denied to user 'reader'@'127.0.0.1' for table 't' | GRANT INSERT ON `rights`.`t` TO 'reader'@'%'
    MySql reader changes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: INSERT, UPDATE command denied to user 'reader'@'127.0.0.1' for table 't' | GRANT SELECT, INSERT, UPDATE, DELETE ON `rights`.`t` TO 'reader'@'%'
    MySql reader creates: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: creating table `new`: CREATE command denied to user 'reader'@'127.0.0.1' for table 'new' | GRANT CREATE, SELECT, INSERT ON `new` TO 'reader'@'%'
    MySql writer writes: 
    MySql writer changes: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: writing table `rights.t`: UPDATE command denied to user 'writer'@'127.0.0.1' for table 't' | GRANT SELECT, INSERT, UPDATE, DELETE ON `rights`.`t` TO 'writer'@'%'
    MySql writer creates: Pause code 1142 ER_TABLEACCESS_DENIED_ERROR: creating table `new`: CREATE command denied to user 'writer'@'127.0.0.1' for table 'new' | GRANT CREATE, SELECT, INSERT ON `new` TO 'writer'@'%'
    MySql: Pause creating table `nowhere.new`: there is no such database | CREATE DATABASE `nowhere`, or let the user see it
    ");
}

fn intent_name(intent: Intent<'_>) -> &'static str {
    match intent {
        Intent::Write { keyed: false, .. } => "writes",
        Intent::Write { .. } => "changes",
        Intent::Deduplicate { .. } => "deduplicates",
        Intent::Create(_) => "creates",
    }
}

#[tokio::test]
async fn a_url_that_promises_something_else_is_refused() {
    let mut refusals = String::new();
    for url in [
        "mysql://u:secret@h/",
        "mysql://u:secret@h:99/d?charset=latin1",
        "mariadb://u:secret@h/d?timezone=%2B01:00",
        "mysql://u:secret@h/d?useSSL=true",
        "mysql://u:secret@h/d?ssl-mode=maybe",
    ] {
        let Err(error) = connect(&target(url)) else { panic!("{url} was accepted") };
        refusals += &format!("{}\n", says(&error));
    }
    // Nobody listens there.
    let connection = connect(&target("mysql://u:secret@127.0.0.1:1/d")).unwrap();
    refusals += &says(&connection.session.server().await.unwrap_err());
    assert_snapshot!(refusals, @"
    Pause URL of `h:3306`: it names no database | name one: mysql://user:password@host/database
    Pause URL of `h:99`: `charset` is rowfall's to choose: utf8mb4, UTC | leave it out
    Pause URL of `h:3306`: `timezone` is rowfall's to choose: utf8mb4, UTC | leave it out
    Pause URL of `h:3306`: `useSSL` is no parameter | use ssl-mode, ssl-ca, ssl-cert, ssl-key or socket
    Pause URL of `h:3306`: `ssl-mode=maybe` is not possible | use ssl-mode=disabled, preferred, required, verify_ca or verify_identity
    Retry connecting to `127.0.0.1:1` |
    ");
}

#[tokio::test]
async fn tls_is_as_the_url_says() {
    for product in BOTH {
        let database = Database::new(product, "tls").await;
        let url = database.server.url(&database.name);
        for mode in ["preferred", "required"] {
            let server = connect(&target(&format!("{url}?ssl-mode={mode}"))).unwrap().session.server().await.unwrap();
            let expected = if product == Product::MySql { "MySQL 9." } else { "MariaDB 11.4" };
            assert!(server.starts_with(expected), "{server}");
        }
        // The server made its own certificate, which nobody else knows of.
        let verified = async |more: &str| {
            let connection = connect(&target(&format!("{url}?ssl-mode=verify_ca{more}"))).unwrap();
            connection.session.server().await
        };
        if product == Product::MySql {
            let ca = database.server.server.logs().with_file_name("data").join("ca.pem");
            verified(&format!("&ssl-ca={}", ca.display())).await.unwrap();
        }
        let error = verified("").await.unwrap_err();
        assert_eq!(error.advice, Advice::Pause, "{error:?}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("ssl-ca")), "{error:?}");
    }
}

#[tokio::test]
async fn columns_are_added_and_widened_and_keep_what_they_hold() {
    for product in BOTH {
        let database = Database::new(product, "evolve").await;
        let connection = database.connect();
        database
            .run("CREATE TABLE t (id int PRIMARY KEY, a varchar(5) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL, b float, c text);
                  INSERT INTO t VALUES (1, 'é', 0.5, 'x')")
            .await;
        let table = describe(&connection, "t").await;
        let changes = [
            Change::Widen(ColumnSpec::new("id", "bigint", false)),
            Change::Widen(ColumnSpec { nullable: None, ..ColumnSpec::new("a", "varchar(50)", true) }),
            Change::Widen(ColumnSpec::new("b", "double", true)),
            Change::Widen(ColumnSpec::new("c", "longtext", true)),
            Change::Add(ColumnSpec::new("d", "longtext", true)),
            Change::Add(ColumnSpec { default: Some("7".into()), ..ColumnSpec::new("e", "int", false) }),
        ];
        let ddl = connection.grammar.alter_table(&table, &changes, None).unwrap();
        // Two processes at once, and one that comes late.
        let other = database.connect();
        let (one, two) = tokio::join!(connection.session.execute(&ddl), other.session.execute(&ddl));
        one.unwrap();
        two.unwrap();
        connection.session.execute(&ddl).await.unwrap();
        let table = describe(&connection, "t").await;
        let types: Vec<_> = table.columns.iter().map(|c| c.type_text.replace("(20)", "").replace("(11)", "")).collect();
        assert_eq!(types[1], "varchar(50) collate latin1_bin");
        assert_eq!((types[0].as_str(), types[2].as_str()), ("bigint", "double"));
        assert!(types[3].starts_with("longtext collate utf8mb4_"), "{types:?}");
        assert!(!table.columns[1].value.as_ref().unwrap().nullable);
        assert_eq!(table.upserts, Upserts::Keys(vec![vec!["id".into()]]));
        assert_eq!(database.rows(&table).await, ["1,é,0.5,x,-,7"]);
    }
}

#[tokio::test]
async fn locks_and_writes_that_are_dropped_leave_nothing() {
    for product in BOTH {
        let database = Database::new(product, "dropped").await;
        let connection = database.connect();
        database.run("CREATE TABLE t (a int PRIMARY KEY, b longtext); INSERT INTO t VALUES (-1, 'x')").await;
        let table = describe(&connection, "t").await;
        let numbers: Vec<_> = (0..20_000).map(|n: usize| n.to_string()).collect();
        let rows: Vec<_> = numbers.iter().map(|n| [n.as_str(), "text"]).collect();
        let rows: Vec<_> = rows.iter().map(|row| (None, row.as_slice())).collect();
        let many = block(&table, &[], &rows);
        let blocks = [&many];
        let write = connection.session.write(&blocks, None);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(30), write).await.is_err(), "it was too fast");
        database.run("DELETE FROM t WHERE a = -1").await;
        assert!(database.rows(&table).await.is_empty());
        insert(&connection, &table, &[&["7", "x"]]).await.unwrap();

        // A row that another program holds is waited for, and then told.
        let mut other = database.other().await;
        sqlx::raw_sql("START TRANSACTION; UPDATE t SET b = 'y'").execute(&mut other).await.unwrap();
        let error = change(&connection, &table, &[(Op::Upsert, &["7", "z"])]).await.unwrap_err();
        assert!(says(&error).starts_with("Retry code 1205 ER_LOCK_WAIT_TIMEOUT: writing table"), "{error}");
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        change(&connection, &table, &[(Op::Upsert, &["7", "z"])]).await.unwrap();
        assert_eq!(database.rows(&table).await, ["7,z"]);
    }
}

/// A server of its own, whose names know no case, which is killed and then takes no writes any more.
#[tokio::test]
async fn a_server_with_other_settings_keeps_what_it_acknowledged() {
    for product in BOTH {
        let directory = std::env::temp_dir().join(format!("rowfall-{product:?}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let settings = "lower_case_table_names=1\nsql_mode=\ndefault_time_zone=-05:00\nmax_allowed_packet=2M\n";
        std::fs::write(directory.join("extra.cnf"), settings).unwrap();
        let server = MySql::start_private(product, &directory).unwrap();
        let setup =
            "CREATE DATABASE d CHARACTER SET latin1; CREATE TABLE d.T (id int PRIMARY KEY, at datetime, b longtext)";
        sqlx::raw_sql(setup).execute(&mut Database::open(&server.url("")).await).await.unwrap();
        let connection = connect(&target(&server.url("d"))).unwrap();
        let table = describe(&connection, "T").await;
        assert_eq!(table.name.to_string(), "d.t");
        let read = async || {
            let mut other = Database::open(&server.url("d")).await;
            let sql = "SELECT CONCAT(id, ' ', CAST(at AS CHAR), ' ', CHAR_LENGTH(b)) FROM t ORDER BY id";
            sqlx::query_scalar::<_, String>(sql).fetch_all(&mut other).await.unwrap()
        };
        let long = "x".repeat(1_500_000);
        insert(&connection, &table, &[&["1", "0", "a"], &["2", "1", &long], &["3", "2", &long]]).await.unwrap();
        let error = insert(&connection, &table, &[&["4", "0", &"x".repeat(2_100_000)]]).await.unwrap_err();
        assert!(says(&error).contains("raise `max_allowed_packet`"), "{error}");
        server.server.kill9().unwrap();
        let error = insert(&connection, &table, &[&["5", "0", "a"]]).await.unwrap_err();
        assert_eq!(error.advice, Advice::Retry, "{error:?}");
        server.server.start().unwrap();
        insert(&connection, &table, &[&["5", "3", "a"]]).await.unwrap();
        assert_eq!(
            read().await,
            [
                "1 1970-01-01 00:00:00 1",
                "2 1970-01-01 00:00:01 1500000",
                "3 1970-01-01 00:00:02 1500000",
                "5 1970-01-01 00:00:03 1"
            ]
        );
        // Who may do everything may write even so; a user who may not is told.
        let user =
            "CREATE USER w IDENTIFIED BY 'w'; GRANT INSERT, SELECT, CREATE ON d.* TO w; SET GLOBAL read_only = 1";
        sqlx::raw_sql(user).execute(&mut Database::open(&server.url("d")).await).await.unwrap();
        let reader = connect(&target(&server.url_as(("w", "w"), "d"))).unwrap();
        let spec = TableSpec {
            name: TableName::parse("new"),
            columns: vec![ColumnSpec::new("id", "int", false)],
            key: Vec::new(),
            storage: Storage::default(),
        };
        for intent in [Intent::Write { table: &table, keyed: false, cluster: None }, Intent::Create(&spec)] {
            let problems = reader.session.check(intent).await.unwrap();
            assert!(problems.iter().any(|problem| says(problem).contains("read_only")), "{product:?} {problems:?}");
        }
        drop(server);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

/// A server that is short of time or of connections may say so in its own words where TLS is expected.
#[tokio::test]
async fn a_server_that_breaks_off_tls_is_asked_again() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let database = Database::new(Product::MariaDb, "broken_tls").await;
    let behind = ("127.0.0.1", database.server.port);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = database.server.url(&database.name).replace(&behind.1.to_string(), &port.to_string());
    let between = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
        let mut greeting = [0; 1024];
        let length = server.read(&mut greeting).await.unwrap();
        client.write_all(&greeting[..length]).await.unwrap();
        // It asks for TLS and begins with it at once.
        let _ = client.read(&mut [0; 4096]).await.unwrap();
        client.write_all(b"\x17\x00\x00\x02\xff\x10\x04#08004Too many connections").await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let connection = connect(&target(&format!("{url}?ssl-mode=required"))).unwrap();
    let (answer, ()) = tokio::join!(connection.session.server(), between);
    let error = answer.unwrap_err();
    assert_eq!(error.advice, Advice::Retry, "{error:?}");
    assert!(format!("{error:?}").contains("InvalidMessage"), "{error:?}");
}
