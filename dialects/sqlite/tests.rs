mod keyed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::conformance::{self, Probe};
use crate::contract::{
    Advice, Block, ColumnDefault, Compression, Connection, Ddl, Error, Intent, Layout, LogicalType, Mark, TableColumn,
    TableName, TableSchema, Target, Values,
};
use crate::generic::Statement;
use crate::sqlite::grammar::SYNTAX;
use crate::sqlite::{connect, file};

/// A directory of its own for each test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("rowfall-sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("orders.db")
    }

    async fn connect(&self) -> Connection {
        connect(&target(&format!("sqlite://{}", self.file().display()))).await.unwrap()
    }

    /// Another connection to the file, as another program has it.
    async fn other(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.file()).create_if_missing(true).connect().await.unwrap()
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(&Statement::ddl(sql)).execute(&mut self.other().await).await.unwrap();
    }

    async fn read(&self, table: &TableSchema) -> Vec<Vec<Option<String>>> {
        Reader(self.file()).read(&table.name, &table.columns).await
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Reader(PathBuf);

#[async_trait::async_trait]
impl Probe for Reader {
    async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
        let names: Vec<_> = columns.iter().map(|column| SYNTAX.identifier(&column.name)).collect();
        let sql = format!("SELECT {} FROM {} ORDER BY 1", names.join(", "), SYNTAX.table(table));
        let mut connection = SqliteConnectOptions::new().filename(&self.0).connect().await.unwrap();
        let rows = sqlx::query(&Statement::ddl(&sql)).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| columns.iter().enumerate().map(|(i, column)| text(row, i, column)).collect()).collect()
    }
}

fn text(row: &sqlx::sqlite::SqliteRow, index: usize, column: &TableColumn) -> Option<String> {
    match column.value.as_ref().unwrap().logical {
        LogicalType::Bool => row.get::<Option<i64>, _>(index).map(|v| match v {
            0 => "false".into(),
            1 => "true".into(),
            other => format!("{other}"),
        }),
        LogicalType::Int64 => row.get::<Option<i64>, _>(index).map(|v| v.to_string()),
        LogicalType::Float64 => row.get::<Option<f64>, _>(index).map(|v| format!("{v:?}")),
        // As a reader of the table would do: what is a number is rounded to the scale.
        LogicalType::Decimal { scale, .. } if !column.type_text.contains("TEXT") => {
            row.get_unchecked::<Option<f64>, _>(index).map(|v| format!("{v:.width$}", width = usize::from(scale)))
        }
        _ => row.get_unchecked::<Option<String>, _>(index),
    }
}

fn target(url: &str) -> Target {
    Target::new(url.parse().unwrap(), Compression::Auto)
}

fn ddl(statement: &str) -> Ddl {
    Ddl::new(TableName::parse("t"), vec![statement.to_owned()])
}

fn intent(table: &TableSchema) -> Intent<'_> {
    Intent::Write { table, keyed: false, cluster: None }
}

async fn describe(connection: &Connection, table: &str) -> Arc<TableSchema> {
    Arc::new(connection.session.describe(&TableName::parse(table)).await.unwrap().unwrap())
}

/// A block for all of a table's columns; `fill` pushes one row after the other.
fn block(table: &Arc<TableSchema>, rows: usize, mut fill: impl FnMut(usize, &mut [crate::contract::Column])) -> Block {
    let layout = Layout::new(Arc::clone(table), (0..table.columns.len()).collect::<Vec<_>>());
    let mut columns = layout.empty_columns();
    for row in 0..rows {
        fill(row, &mut columns);
    }
    Block::new(Arc::new(layout), columns, rows)
}

fn push_i64(column: &mut crate::contract::Column, value: i64) {
    let Values::Int64(values) = &mut column.values else { panic!("not an int64 column") };
    values.push(value);
}

fn push_text(column: &mut crate::contract::Column, value: &str) {
    let Values::Text(values) = &mut column.values else { panic!("not a string column") };
    values.push(value);
}

fn push_f64(column: &mut crate::contract::Column, value: f64) {
    let Values::Float64(values) = &mut column.values else { panic!("not a float64 column") };
    values.push(value);
}

#[tokio::test]
async fn keeps_the_contract_and_the_values_when_it_is_opened_again() {
    let directory = Directory::new();
    for schema in [None, Some("main")] {
        let connection = directory.connect().await;
        conformance::run(&connection, schema, &Reader(directory.file())).await;
        conformance::compete(&connection, &directory.connect().await, schema, &Reader(directory.file())).await;
        let table = describe(&connection, "rowfall_conformance_types").await;
        let before = directory.read(&table).await;
        drop(connection);
        let again = describe(&directory.connect().await, "rowfall_conformance_types").await;
        assert_eq!(again, table);
        assert_eq!(directory.read(&again).await, before);
    }
}

#[tokio::test]
async fn nothing_is_created_by_looking() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    assert_eq!(connection.session.describe(&TableName::parse("orders")).await.unwrap(), None);
    assert!(connection.session.server().await.unwrap().starts_with("SQLite 3."));
    assert!(!directory.file().exists());
    connection.session.execute(&ddl("CREATE TABLE t (a TEXT)")).await.unwrap();
    assert!(directory.file().exists());
    assert!(connection.session.server().await.unwrap().starts_with("SQLite 3."));
}

#[tokio::test]
async fn a_new_file_is_in_wal_mode_and_an_old_one_stays_as_it_is() {
    for (before, after) in [(None, "wal"), (Some("CREATE TABLE old (a TEXT)"), "delete")] {
        let directory = Directory::new();
        if let Some(sql) = before {
            directory.run(sql).await;
        }
        directory.connect().await.session.execute(&ddl("CREATE TABLE t (a TEXT)")).await.unwrap();
        let mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut directory.other().await).await.unwrap();
        assert_eq!(mode.get::<String, _>(0), after);
    }
}

#[test]
fn the_path_is_the_one_that_sqlx_reads() {
    let urls = [
        "sqlite://orders.db",
        "sqlite:orders.db",
        "sqlite://data/orders.db",
        "sqlite://Data.D/orders.db",
        "sqlite://./orders.db",
        "sqlite://../data/orders.db",
        "sqlite:///tmp/x.db",
        "sqlite:///tmp/a%20b%3F.db?mode=rwc",
    ];
    let mut paths = String::new();
    for url in urls {
        let url = target(url).url;
        let file = file(&url).unwrap();
        let theirs = SqliteConnectOptions::from_url(&url).unwrap();
        assert_eq!(file.path, theirs.get_filename());
        paths += &format!("{url} {}\n", file.path.display());
    }
    assert_snapshot!(paths, @"
    sqlite://orders.db orders.db
    sqlite:orders.db orders.db
    sqlite://data/orders.db data/orders.db
    sqlite://Data.D/orders.db Data.D/orders.db
    sqlite://./orders.db ./orders.db
    sqlite://../data/orders.db ../data/orders.db
    sqlite:///tmp/x.db /tmp/x.db
    sqlite:///tmp/a%20b%3F.db?mode=rwc /tmp/a b?.db
    ");
}

#[tokio::test]
async fn a_url_that_would_lose_rows_is_refused() {
    let mut refusals = String::new();
    for url in [
        "sqlite::memory:",
        "sqlite://x.db?mode=memory",
        "sqlite://%3Amemory%3A",
        "sqlite://",
        "sqlite://x.db?mode=ro",
        "sqlite://x.db?cache=shared",
        "sqlite:file:x.db",
        "sqlite:///no/such/directory/x.db",
        "sqlite:///tmp/rowfall-no-such-file.db?mode=rw",
    ] {
        let Err(error) = connect(&target(url)).await else { panic!("{url} was accepted") };
        assert_eq!(error.advice, Advice::Pause);
        refusals += &format!("{error} | {}\n", error.hint.clone().unwrap_or_default());
    }
    assert_snapshot!(refusals, @"
    SQLite URL `sqlite::memory:`: a database in memory would lose what it acknowledged | name a file
    SQLite URL `sqlite://x.db?mode=memory`: a database in memory would lose what it acknowledged | name a file
    SQLite URL `sqlite://%3Amemory%3A`: a database in memory would lose what it acknowledged | name a file
    SQLite URL `sqlite://`: it names no file | use sqlite://orders.db or sqlite:///srv/orders.db
    SQLite URL `sqlite://x.db?mode=ro`: `mode=ro` is not possible | use mode=rw or nothing
    SQLite URL `sqlite://x.db?cache=shared`: `cache=shared` is not possible | use mode=rw or nothing
    SQLite URL `sqlite:file:x.db`: SQLite opens no file of that name | 
    directory `/no/such/directory` of the SQLite file does not exist | create it, or name another file
    SQLite file `/tmp/rowfall-no-such-file.db` does not exist | leave `mode=rw` out of the URL to have it created
    ");
}

#[tokio::test]
async fn a_foreign_table_is_described_as_it_is() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory
        .run(
            r#"CREATE TABLE "Orders" (
                id INTEGER PRIMARY KEY,
                amount DECIMAL(10,2) NOT NULL,
                big DECIMAL(38,4),
                free NUMERIC,
                blob BLOB,
                untyped,
                doc JSON,
                name VARCHAR(20) DEFAULT 'x',
                "nothing" TEXT DEFAULT NULL,
                at DATETIME DEFAULT CURRENT_TIMESTAMP,
                total REAL GENERATED ALWAYS AS (amount * 2) STORED,
                twice TEXT AS (name || name)
            );
            CREATE TABLE keyed (a INTEGER, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
            CREATE TABLE single (a INTEGER PRIMARY KEY, b TEXT) WITHOUT ROWID;
            CREATE TABLE descending (a INTEGER PRIMARY KEY DESC);
            CREATE TABLE strict (a INTEGER PRIMARY KEY, b INT, c ANY, d TEXT NOT NULL) STRICT;
            CREATE VIEW v AS SELECT 1;
            CREATE VIRTUAL TABLE words USING fts5(word);"#,
        )
        .await;
    let mut text = String::new();
    for table in ["orders", "keyed", "single", "descending", "strict"] {
        let table = describe(&connection, table).await;
        text += &format!("{} ({})\n", table.name, table.kind);
        for column in &table.columns {
            let takes = match &column.value {
                Ok(value) => format!("{}, {}", value.logical, if value.nullable { "null" } else { "not null" }),
                Err(why) => why.clone(),
            };
            text += &format!("  {} {takes}, {:?}\n", column.name, column.default);
        }
    }
    assert_snapshot!(text, @"
    main.Orders (table)
      id int64, not null, Expression
      amount decimal(10,2), not null, None
      big SQLite type `DECIMAL(38,4)`: SQLite would store it as a double, which is exact up to 15 digits only: declare it TEXT or DECIMAL_TEXT(p,s), None
      free SQLite type `NUMERIC`: an exact number needs a precision: declare DECIMAL(p,s) or TEXT, None
      blob bytes, null, None
      untyped SQLite type ``: nothing says what the column takes: declare a type, None
      doc SQLite type `JSON`: not a type that rowfall knows, and its NUMERIC affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is, None
      name string, null, Expression
      nothing string, null, None
      at timestamp(6), null, Expression
      total float64, null, Generated
      twice string, null, Generated
    main.keyed (table without rowid)
      a int64, not null, None
      b string, not null, None
    main.single (table without rowid)
      a int64, not null, None
      b string, null, None
    main.descending (table)
      a int64, null, None
    main.strict (strict table)
      a int64, not null, Expression
      b int64, null, None
      c SQLite type `ANY`: nothing says what the column takes: declare a type, None
      d string, not null, None
    ");
    let mut refusals = String::new();
    for table in ["v", "words", "words_data", "sqlite_schema", "shop.orders"] {
        let error = connection.session.describe(&TableName::parse(table)).await.unwrap_err();
        refusals += &format!("{error}\n");
    }
    assert_snapshot!(refusals, @"
    `v` is a view, which takes no rows
    `words` is a virtual table, which takes no rows
    `words_data` is a shadow table, which takes no rows
    `sqlite_schema` is SQLite's own, which takes no rows
    table `shop.orders`: SQLite has no schema `shop`: a file is one database, called `main`
    ");
}

#[tokio::test]
async fn odd_values_arrive_or_are_refused() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (i INTEGER, f REAL, s TEXT, d DATE)").await;
    let table = describe(&connection, "t").await;
    let long = "é".repeat(500_000);
    let texts = ["", "a\0b", "\0", &long, "9007199254740993.0", " 1"];
    let floats = [f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, -0.0, f64::MAX, 5e-324];
    let values = block(&table, texts.len(), |row, columns| {
        push_i64(&mut columns[0], [i64::MIN, -1, 0, 1, 2, i64::MAX][row]);
        push_f64(&mut columns[1], floats[row]);
        push_text(&mut columns[2], texts[row]);
        columns[3].push_mark(Mark::Null);
    });
    connection.session.write(&[&values], None).await.unwrap();
    let rows = directory.read(&table).await;
    for ((row, text), float) in rows.iter().zip(texts).zip(floats) {
        assert_eq!(row[2].as_deref(), Some(text));
        // SQLite keeps −0.0 as 0.0, which compares equal.
        assert_eq!(row[1].as_deref().unwrap().parse::<f64>().unwrap(), float);
    }
    assert_eq!(
        (rows[0][0].as_deref(), rows[5][0].as_deref()),
        (Some("-9223372036854775808"), Some("9223372036854775807"))
    );

    let refused = |float: f64, days: i32| {
        let mut block = block(&table, 1, |_, columns| {
            columns[0].push_mark(Mark::Null);
            push_f64(&mut columns[1], float);
            columns[2].push_mark(Mark::Null);
        });
        let Values::Int32(dates) = &mut block.columns[3].values else { panic!("not a date column") };
        dates.push(days);
        block
    };
    let nan = connection.session.write(&[&refused(f64::NAN, 0)], None).await.unwrap_err();
    assert_snapshot!(nan, @"table `main.t`, column `f` REAL: NaN, which SQLite would turn into NULL");
    let far = connection.session.write(&[&refused(0.0, i32::MAX)], None).await.unwrap_err();
    assert_snapshot!(far, @"table `main.t`, column `d` DATE: the year is not between 0 and 9999");
    assert_eq!((nan.advice, far.advice), (Advice::Split, Advice::Split));
    assert_eq!(directory.read(&table).await.len(), rows.len());
}

#[tokio::test]
async fn every_decimal_of_15_digits_survives_as_a_number() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory
        .run("CREATE TABLE t (a INTEGER, b DECIMAL(15,2), c NUMERIC(15,15), d DECIMAL(15), e DECIMAL_TEXT(9,3))")
        .await;
    let table = describe(&connection, "t").await;
    let mut unscaled = 1_u64;
    let mut written = Vec::new();
    let values = block(&table, 20_000, |row, columns| {
        // Any spread of values of up to 15 digits will do.
        unscaled = unscaled.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = i64::try_from(unscaled >> 1).unwrap() % 10_i64.pow(u32::try_from(row % 15).unwrap() + 1);
        let value = if row % 2 == 0 { value } else { -value };
        push_i64(&mut columns[0], i64::try_from(row).unwrap());
        for column in &mut columns[1..4] {
            push_i64(column, value);
        }
        let Values::Int32(small) = &mut columns[4].values else { panic!("a decimal of 9 digits is an i32") };
        small.push(i32::try_from(value % 1_000_000_000).unwrap());
        written.push(value);
    });
    connection.session.write(&[&values], None).await.unwrap();
    let decimal = |value: i64, scale| {
        let mut text = String::new();
        crate::generic::push_decimal(&mut text, value, scale);
        Some(text)
    };
    for (row, value) in directory.read(&table).await.iter().zip(written) {
        let expected = [decimal(value, 2), decimal(value, 15), decimal(value, 0), decimal(value % 1_000_000_000, 3)];
        let unsigned_zero = |text: &Option<String>| text.as_deref().map(|text| text.trim_start_matches('-').to_owned());
        if value == 0 {
            assert_eq!(row[1..].iter().map(unsigned_zero).collect::<Vec<_>>(), expected);
        } else {
            assert_eq!(row[1..], expected);
        }
    }
}

#[tokio::test]
async fn texts_keep_their_class_in_columns_of_numeric_affinity() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (day DATE, at DATETIME(3), id UUID, money DECIMAL_TEXT(30,2), ok BOOLEAN)").await;
    let table = describe(&connection, "t").await;
    let values = block(&table, 1, |_, columns| {
        let [day, at, id, money, ok] = columns else { panic!("five columns") };
        match (&mut day.values, &mut at.values, &mut id.values, &mut money.values, &mut ok.values) {
            (Values::Int32(day), Values::Int64(at), Values::Uuid(id), Values::Int128(money), Values::Bool(ok)) => {
                day.push(19_782);
                at.push(1_709_210_096_123);
                id.push([0x12; 16]);
                money.push(-10);
                ok.push(1);
            }
            _ => panic!("other types"),
        }
    });
    connection.session.write(&[&values], None).await.unwrap();
    let sql = "SELECT typeof(day)||typeof(at)||typeof(id)||typeof(money)||typeof(ok), \
               day||' '||at||' '||id||' '||money||' '||ok, strftime('%Y %j %H %f', at) FROM t";
    let row = sqlx::query(sql).fetch_one(&mut directory.other().await).await.unwrap();
    assert_snapshot!(row.get::<String, _>(0), @"texttexttexttextinteger");
    assert_snapshot!(row.get::<String, _>(1), @"2024-02-29 2024-02-29 12:34:56.123 12121212-1212-1212-1212-121212121212 -0.10 1");
    assert_snapshot!(row.get::<String, _>(2), @"2024 060 12 56.123");
}

#[tokio::test]
async fn defaults_apply_per_row_and_row_numbers_are_made_up() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'none', b INTEGER)").await;
    let table = describe(&connection, "t").await;
    assert_eq!(table.columns[0].default, ColumnDefault::Expression);
    let values = block(&table, 5, |row, columns| {
        match row {
            0 => push_i64(&mut columns[0], 41),
            _ => columns[0].push_mark(Mark::Absent),
        }
        match row {
            1 | 2 => push_text(&mut columns[1], "given"),
            _ => columns[1].push_mark(Mark::Absent),
        }
        columns[2].push_mark(Mark::Absent);
    });
    connection.session.write(&[&values], None).await.unwrap();
    let rows = directory.read(&table).await;
    let texts: Vec<_> = rows.iter().map(|row| row.iter().flatten().map(String::as_str).collect::<Vec<_>>()).collect();
    assert_eq!(texts, [["41", "none"], ["42", "given"], ["43", "given"], ["44", "none"], ["45", "none"]]);

    let only = Layout::new(Arc::clone(&table), [0]);
    let mut columns = only.empty_columns();
    columns[0].push_mark(Mark::Absent);
    columns[0].push_mark(Mark::Absent);
    let values = Block::new(Arc::new(only), columns, 2);
    connection.session.write(&[&values], None).await.unwrap();
    assert_eq!(directory.read(&table).await.len(), 7);

    let null = block(&table, 1, |_, columns| {
        columns[0].push_mark(Mark::Null);
        push_text(&mut columns[1], "x");
        push_i64(&mut columns[2], 1);
    });
    let error = connection.session.write(&[&null], None).await.unwrap_err();
    assert_snapshot!(error, @"table `main.t`, column `id` INTEGER: a value is missing, and the column takes no null");
    assert_eq!(error.advice, Advice::Split);
}

#[tokio::test]
async fn a_block_is_written_whole_or_not_at_all() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER UNIQUE, b TEXT)").await;
    let table = describe(&connection, "t").await;
    let rows = |first: i64, count: i64, last: i64| {
        block(&table, usize::try_from(count).unwrap(), |row, columns| {
            let row = i64::try_from(row).unwrap();
            push_i64(&mut columns[0], if row == count - 1 { last } else { first + row });
            push_text(&mut columns[1], "x");
        })
    };
    let error = connection.session.write(&[&rows(0, 2500, 7)], None).await.unwrap_err();
    assert_snapshot!(error, @"code SQLITE_CONSTRAINT (2067): writing table `main.t`: UNIQUE constraint failed: t.a");
    assert_eq!(error.advice, Advice::Split);
    assert!(directory.read(&table).await.is_empty());
    assert_eq!(connection.session.write(&[&rows(0, 2500, 2499)], None).await.unwrap().rows, 2500);

    // A call that is dropped half-way leaves nothing behind and no lock.
    let more = rows(2500, 300_000, -1);
    let more = [&more];
    let write = connection.session.write(&more, None);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), write).await.is_err());
    directory.run("INSERT INTO t VALUES (-5, 'by another program')").await;
    assert_eq!(directory.read(&table).await.len(), 2501);
    let again = block(&table, 1, |_, columns| {
        push_i64(&mut columns[0], -1);
        push_text(&mut columns[1], "x");
    });
    connection.session.write(&[&again], None).await.unwrap();
}

#[tokio::test]
async fn a_lock_is_waited_for_and_then_told() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER)").await;
    let table = describe(&connection, "t").await;
    let mut other = directory.other().await;
    sqlx::raw_sql("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").execute(&mut other).await.unwrap();
    let one = block(&table, 1, |_, columns| push_i64(&mut columns[0], 2));
    let error = connection.session.write(&[&one], None).await.unwrap_err();
    assert_snapshot!(error.to_string().replace(&directory.0.display().to_string(), "…"), @"code SQLITE_BUSY (5): writing SQLite file `…/orders.db`: database is locked");
    assert_eq!(error.advice, Advice::Retry);
    assert!(connection.session.check(intent(&table)).await.unwrap().is_empty());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    connection.session.write(&[&one], None).await.unwrap();
}

#[tokio::test]
async fn a_table_that_went_away_asks_for_a_new_description() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER)").await;
    let table = describe(&connection, "t").await;
    let one = block(&table, 1, |_, columns| push_i64(&mut columns[0], 2));
    connection.session.write(&[&one], None).await.unwrap();
    directory.run("DROP TABLE t").await;
    let error = connection.session.write(&[&one], None).await.unwrap_err();
    assert_snapshot!(error, @"code SQLITE_ERROR (1): writing table `main.t`: no such table: main.t");
    assert_eq!(error.advice, Advice::Refresh);
    directory.run("CREATE TABLE t (a INTEGER)").await;
    connection.session.write(&[&one], None).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_or_cannot_be_written_is_told() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "id,amount\n1,2\n".repeat(100)).unwrap();
    let connection = directory.connect().await;
    let says = |error: Error| {
        format!("{:?} {error} | {}", error.advice, error.hint.clone().unwrap_or_default())
            .replace(&directory.0.display().to_string(), "…")
    };
    assert_snapshot!(says(connection.session.server().await.unwrap_err()), @"Pause code SQLITE_NOTADB (26): opening SQLite file `…/orders.db`: file is not a database | name a SQLite database, or a file that does not exist yet");
    assert_snapshot!(says(connection.session.describe(&TableName::parse("t")).await.unwrap_err()), @"Pause code SQLITE_NOTADB (26): opening SQLite file `…/orders.db`: file is not a database | name a SQLite database, or a file that does not exist yet");
    assert_snapshot!(says(connection.session.execute(&ddl("CREATE TABLE t (a TEXT)")).await.unwrap_err()), @"Pause code SQLITE_NOTADB (26): opening SQLite file `…/orders.db`: file is not a database | name a SQLite database, or a file that does not exist yet");
    std::fs::remove_file(directory.file()).unwrap();
    assert_snapshot!(says(connection.session.execute(&ddl("CREATE TABEL t")).await.unwrap_err()), @r#"Pause code SQLITE_ERROR (1): running DDL in SQLite file `…/orders.db`: near "TABEL": syntax error |"#);
}

#[cfg(unix)]
#[tokio::test]
async fn check_finds_a_file_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER)").await;
    let table = describe(&connection, "t").await;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    // Root may write in spite of the mode: then there is no problem to be found.
    let is_root = {
        mode(&directory.0, 0o555);
        std::fs::write(directory.0.join("probe"), "").is_ok()
    };
    for journal in ["delete", "wal"] {
        mode(&directory.0, 0o755);
        directory.run(&format!("PRAGMA journal_mode = {journal}")).await;
        for (file, directory_mode) in [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555)] {
            mode(&directory.file(), file);
            mode(&directory.0, directory_mode);
            let problems = connection.session.check(intent(&table)).await.unwrap();
            assert_eq!(problems.is_empty(), is_root, "{journal} {file:o} {directory_mode:o} {problems:?}");
            assert!(problems.iter().all(|problem| problem.hint.is_some() && problem.advice == Advice::Pause));
        }
        mode(&directory.0, 0o755);
        mode(&directory.file(), 0o644);
        // SQLite makes these with the mode that the file has at that time.
        for beside in ["orders.db-wal", "orders.db-shm"] {
            let _ = std::fs::remove_file(directory.0.join(beside));
        }
        assert!(connection.session.check(intent(&table)).await.unwrap().is_empty());
    }
    let version = sqlx::query("PRAGMA user_version").fetch_one(&mut directory.other().await).await.unwrap();
    assert_eq!(version.get::<i64, _>(0), 0);
}
