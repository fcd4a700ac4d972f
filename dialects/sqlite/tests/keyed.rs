//! Upserts, deletes, progress and changed tables, where SQLite has a way of its own.

use super::*;
use crate::contract::{Change, ColumnSpec, Move, Op, Partition, Progress, Upserts};

/// A block of int64 and text columns; `.` is absent, `-` null.
fn ops(table: &Arc<TableSchema>, key: &[usize], rows: &[(Op, &[&str])]) -> Block {
    let layout = Layout { key: key.into(), ..Layout::new(Arc::clone(table), (0..rows[0].1.len()).collect::<Vec<_>>()) };
    let mut columns = layout.empty_columns();
    for (_, cells) in rows {
        for (column, cell) in columns.iter_mut().zip(*cells) {
            match (*cell, &mut column.values) {
                (".", _) => column.push_mark(Mark::Absent),
                ("-", _) => column.push_mark(Mark::Null),
                (text, Values::Int64(values)) => values.push(text.parse().unwrap()),
                (text, Values::Text(values)) => values.push(text),
                _ => panic!("neither int64 nor text"),
            }
        }
    }
    let ops = rows.iter().map(|(op, _)| *op).collect();
    Block { ops, ..Block::new(Arc::new(layout), columns, rows.len()) }
}

impl Directory {
    async fn texts(&self, table: &TableSchema) -> String {
        let rows = self.read(table).await;
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|cell| cell.unwrap_or("-".into())).collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[tokio::test]
async fn keys_are_those_that_tell_each_row_of_a_topic_apart() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory
        .run(
            r#"CREATE TABLE number (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT NOT NULL UNIQUE);
            CREATE TABLE text (id TEXT PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL, UNIQUE (b, a));
            CREATE TABLE "two" (b TEXT, a INTEGER, "c d" TEXT, PRIMARY KEY ("c d", a)) WITHOUT ROWID;
            CREATE TABLE parts (a INTEGER NOT NULL, b TEXT NOT NULL);
            CREATE INDEX parts_1 ON parts (a);
            CREATE UNIQUE INDEX parts_2 ON parts (a) WHERE b > '';
            CREATE UNIQUE INDEX parts_3 ON parts (a, lower(b));
            CREATE UNIQUE INDEX parts_4 ON parts (b DESC, a);
            CREATE TABLE folding (id TEXT COLLATE NOCASE PRIMARY KEY);
            CREATE TABLE unfolding (id TEXT COLLATE NOCASE PRIMARY KEY, other INTEGER NOT NULL UNIQUE);
            CREATE TABLE none (a INTEGER);"#,
        )
        .await;
    let mut text = String::new();
    for table in ["number", "text", "two", "parts", "folding", "unfolding", "none"] {
        text += &format!("{table}: {:?}\n", describe(&connection, table).await.upserts);
    }
    assert_snapshot!(text, @r#"
    number: Keys([["id"], ["b"]])
    text: Keys([["id"], ["b", "a"]])
    two: Keys([["c d", "a"]])
    parts: Keys([["b", "a"]])
    folding: Never { why: "its key (id) compares texts by NOCASE, which takes different keys for one", hint: "declare the columns of its key without COLLATE" }
    unfolding: Keys([["other"]])
    none: Keys([])
    "#);
}

#[tokio::test]
async fn each_kind_of_key_finds_its_row() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    let declared = [
        "id INTEGER PRIMARY KEY, n INTEGER, s TEXT",
        "id INTEGER NOT NULL, n INTEGER, s TEXT, PRIMARY KEY (id)",
        "id INTEGER PRIMARY KEY DESC, n INTEGER, s TEXT",
        "id INT PRIMARY KEY, n INTEGER, s TEXT) WITHOUT ROWID --",
        "id BIGINT NOT NULL UNIQUE, n INTEGER, s TEXT",
        "id INTEGER NOT NULL UNIQUE, n INTEGER, s TEXT) STRICT --",
    ];
    for columns in declared {
        directory.run(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t ({columns}\n)").replace("--\n)", "")).await;
        let table = describe(&connection, "t").await;
        let Upserts::Keys(keys) = &table.upserts else { panic!("{columns}: {:?}", table.upserts) };
        assert_eq!(keys, &[["id"]], "{columns}");
        let write = async |rows: &[(Op, &[&str])]| connection.session.write(&[&ops(&table, &[0], rows)], None).await;
        write(&[(Op::Upsert, &["1", "1", "a"]), (Op::Upsert, &["2", "2", "b"]), (Op::Upsert, &["3", "3", "c"])])
            .await
            .unwrap();
        write(&[(Op::Delete, &["1", ".", "."]), (Op::Upsert, &["2", ".", "-"]), (Op::Replace, &["3", "4", "."])])
            .await
            .unwrap();
        assert_eq!(directory.texts(&table).await, "2 2 -, 3 4 -", "{columns}");
        // SQLite would take a null for a key that no row has, or make a number up.
        for op in [Op::Upsert, Op::Replace, Op::Delete] {
            for key in ["-", "."] {
                let error = write(&[(op, &[key, "5", "x"])]).await.unwrap_err();
                assert_eq!(error.advice, Advice::Split, "{columns}: {op:?} {error}");
                assert!(error.to_string().contains("column `id`"), "{columns}: {op:?} {error}");
            }
        }
        assert_eq!(directory.texts(&table).await, "2 2 -, 3 4 -", "{columns}");
    }
}

#[tokio::test]
async fn another_unique_key_makes_a_row_bad() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL UNIQUE, s TEXT)").await;
    let table = describe(&connection, "t").await;
    let write = async |key: &[usize], rows: &[(Op, &[&str])]| {
        connection
            .session
            .write(&[&ops(&table, key, rows)], None)
            .await
            .map_err(|error| (error.advice, error.to_string()))
    };
    write(&[0], &[(Op::Upsert, &["1", "10", "a"]), (Op::Upsert, &["2", "20", "b"])]).await.unwrap();
    let (advice, error) =
        write(&[0], &[(Op::Upsert, &["1", "11", "a"]), (Op::Upsert, &["3", "20", "c"])]).await.unwrap_err();
    assert_eq!(advice, Advice::Split);
    assert_snapshot!(error, @"code SQLITE_CONSTRAINT (2067): writing table `main.t`: UNIQUE constraint failed: t.n");
    assert_eq!(directory.texts(&table).await, "1 10 a, 2 20 b");
    // On that key it is the row that is meant, whose number then changes.
    write(&[1], &[(Op::Upsert, &["3", "20", "c"])]).await.unwrap();
    assert_eq!(directory.texts(&table).await, "1 10 a, 3 20 c");
    let (advice, _) = write(&[1], &[(Op::Upsert, &["1", "20", "c"])]).await.unwrap_err();
    assert_eq!(advice, Advice::Split);
}

#[tokio::test]
async fn rows_are_found_by_their_key_and_not_by_looking_at_all() {
    let directory = Directory::new();
    directory.run("CREATE TABLE t (a TEXT, b INTEGER, n INTEGER NOT NULL, PRIMARY KEY (a, b))").await;
    let table = describe(&directory.connect().await, "t").await;
    let block = ops(&table, &[0, 1], &[(Op::Upsert, &["1", "10", "."]), (Op::Upsert, &["1", "10", "1"])]);
    let plan = crate::generic::Plan::new(&block);
    let mut texts: Vec<_> = plan.groups.iter().map(|group| SYNTAX.write(&block.layout, group, 500)).collect();
    texts.push(SYNTAX.delete(&block.layout, 500));
    let mut details = String::new();
    for text in texts {
        let explain = Statement::ddl(&format!("EXPLAIN QUERY PLAN {}", text.as_str()));
        let rows = sqlx::query(&explain).fetch_all(&mut directory.other().await).await.unwrap();
        let verb = text.as_str().split(' ').next().unwrap_or_default();
        details +=
            &format!("{verb}: {}\n", rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join(", "));
    }
    assert_snapshot!(details, @"
    UPDATE: SCAN 500-ROW VALUES CLAUSE, SEARCH stored USING COVERING INDEX sqlite_autoindex_t_1 (a=? AND b=?)
    INSERT: SCAN 500-ROW VALUES CLAUSE
    DELETE: SEARCH main.t USING COVERING INDEX sqlite_autoindex_t_1 (a=? AND b=?), LIST SUBQUERY 3, SCAN 500-ROW VALUES CLAUSE, CREATE BLOOM FILTER
    ");
}

#[tokio::test]
async fn a_column_that_is_there_already_was_added() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER)").await;
    let table = describe(&connection, "t").await;
    let add = |name: &str| Change::Add(ColumnSpec::new(name, "TEXT", true));
    let ddl = connection.grammar.alter_table(&table, &[add("a"), add("b")], None).unwrap();
    assert_snapshot!(ddl.statements.join("\n"), @r#"
    ALTER TABLE "main"."t" ADD COLUMN "a" TEXT
    ALTER TABLE "main"."t" ADD COLUMN "b" TEXT
    "#);
    connection.session.execute(&ddl).await.unwrap();
    assert_eq!(describe(&connection, "t").await.columns.len(), 2);
    let twice = super::ddl("CREATE TABLE u (a TEXT, a TEXT)");
    assert_snapshot!(connection.session.execute(&twice).await.unwrap_err().message.split(": ").last().unwrap(), @"a");
    // All of it or nothing.
    let broken =
        Ddl::new(table.name.clone(), vec!["ALTER TABLE t ADD COLUMN c TEXT".into(), "ALTER TABLE x ADD y".into()]);
    connection.session.execute(&broken).await.unwrap_err();
    assert_eq!(describe(&connection, "t").await.columns.len(), 2);
}

#[tokio::test]
async fn what_sqlite_cannot_change_is_refused_by_name() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (i INT NOT NULL, s VARCHAR(5), d DECIMAL(5,2), b BLOB)").await;
    let table = describe(&connection, "t").await;
    let alter = |change| match connection.grammar.alter_table(&table, &[change], None) {
        Ok(ddl) => format!("{:?}", ddl.statements),
        Err(why) => why.0,
    };
    let widen = |name: &str, text: &str, nullable| Change::Widen(ColumnSpec::new(name, text, nullable));
    let mut texts = String::new();
    for change in [
        widen("i", "BIGINT", false),
        widen("i", "BIGINT", true),
        widen("S", "TEXT", true),
        widen("d", "DECIMAL(10,2)", true),
        widen("i", "DECIMAL_TEXT(20,0)", false),
        widen("b", "TEXT", true),
        widen("x", "TEXT", true),
        widen("s", "JSON", true),
        Change::Add(ColumnSpec::new("n", "INTEGER", false)),
        Change::Add(ColumnSpec::new("n", "JSONB", true)),
    ] {
        texts += &alter(change);
        texts += "\n";
    }
    assert_snapshot!(texts, @"
    []
    table `main.t`, column `i`: it takes no null, and SQLite cannot change a column: make a new table, copy the rows and rename it (https://sqlite.org/lang_altertable.html, section 7)
    []
    table `main.t`, column `d`: it is DECIMAL(5,2), not DECIMAL(10,2), and SQLite cannot change a column: make a new table, copy the rows and rename it (https://sqlite.org/lang_altertable.html, section 7)
    table `main.t`, column `i`: it is INT, not DECIMAL_TEXT(20,0), and SQLite cannot change a column: make a new table, copy the rows and rename it (https://sqlite.org/lang_altertable.html, section 7)
    table `main.t`, column `b`: it is BLOB, not TEXT, and SQLite cannot change a column: make a new table, copy the rows and rename it (https://sqlite.org/lang_altertable.html, section 7)
    table `main.t` has no column `x`
    table `main.t`, column `s`: SQLite type `JSON`: not a type that rowfall knows, and its NUMERIC affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
    table `main.t`, column `n`: rows that are there have no value for it: let it take null, or give it a default
    table `main.t`, column `n`: SQLite type `JSONB`: not a type that rowfall knows, and its NUMERIC affinity would turn texts like 007 into numbers: declare it TEXT, or as the number that it is
    ");
}

#[tokio::test]
async fn progress_is_kept_in_a_table_that_anyone_can_read() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    let partition = |partition| Partition { topic: "orders".into(), partition };
    let resumed = connection.session.resume("shop", &[partition(0), partition(1)]).await.unwrap();
    assert_eq!(resumed.iter().map(|resumed| resumed.epoch).collect::<Vec<_>>(), [1, 1]);
    let moves = vec![Move { partition: partition(1), epoch: 1, from: None, to: i64::MAX }];
    let progress = Progress { pipeline: "shop".into(), moves };
    connection.session.write(&[], Some(&progress)).await.unwrap();
    let sql = "SELECT group_concat(concat_ws(' ', pipeline, topic, partition, epoch, next_offset), ', '), \
               min(updated_at > '2024-01-01 00:00:00') FROM rowfall_offsets";
    let row = sqlx::query(sql).fetch_one(&mut directory.other().await).await.unwrap();
    assert_snapshot!(row.get::<String, _>(0), @"shop orders 0 1, shop orders 1 1 9223372036854775807");
    assert!(row.get::<bool, _>(1));
    // Whoever drops it stops what writes with progress; nothing goes on from elsewhere.
    directory.run("DROP TABLE rowfall_offsets").await;
    let error = connection.session.write(&[], Some(&progress)).await.unwrap_err();
    assert_eq!(error.advice, Advice::Pause);
    assert_snapshot!(error, @"code SQLITE_ERROR (1): keeping the progress of pipeline `shop` in `rowfall_offsets`: no such table: rowfall_offsets");
}

#[tokio::test]
async fn another_table_of_that_name_is_found_before_a_row_moves() {
    let directory = Directory::new();
    let connection = directory.connect().await;
    directory.run("CREATE TABLE t (a INTEGER)").await;
    let table = describe(&connection, "t").await;
    let mut problems = String::new();
    for made in ["TABLE rowfall_offsets (pipeline TEXT)", "VIEW rowfall_offsets AS SELECT 1"] {
        directory.run(&format!("CREATE {made}")).await;
        for problem in connection.session.check(intent(&table)).await.unwrap() {
            assert_eq!(problem.advice, Advice::Pause);
            problems += &format!("{problem} | {}\n", problem.hint.clone().unwrap_or_default());
        }
        directory.run(&format!("DROP {}", made.split_once(" (").or(made.split_once(" AS")).unwrap().0)).await;
    }
    assert_snapshot!(problems, @"
    code SQLITE_ERROR (1): `rowfall_offsets` is not the table in which rowfall keeps its progress: table rowfall_offsets has no column named topic | give that table or view another name
    code SQLITE_ERROR (1): `rowfall_offsets` is not the table in which rowfall keeps its progress: cannot modify rowfall_offsets because it is a view | give that table or view another name
    ");
    connection.session.resume("shop", &[]).await.unwrap();
    assert!(connection.session.check(intent(&table)).await.unwrap().is_empty());
}
