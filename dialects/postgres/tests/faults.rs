//! What happens when something is in the way: bad rows, locks, dropped calls, a server that is killed.

use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use rowfall_services::Postgres;

use super::{Shop, block, describe, other, push_i64, push_text, target};
use crate::contract::{Advice, Block, Ddl, Mark, Move, Partition, Progress, Resumed, TableName, TableSchema};
use crate::generic::Statement;
use crate::postgres::connect;

/// Rows `first..first + count`; the last has the number `last`.
fn rows(table: &Arc<TableSchema>, first: i64, count: i64, last: i64) -> Block {
    block(table, usize::try_from(count).unwrap(), |row, columns| {
        let row = i64::try_from(row).unwrap();
        push_i64(&mut columns[0], if row == count - 1 { last } else { first + row });
        push_text(&mut columns[1], "x");
    })
}

#[tokio::test]
async fn a_write_is_whole_or_not_at_all() {
    let shop = Shop::new().await;
    shop.run("CREATE TABLE t (a bigint UNIQUE, b text); CREATE TABLE other (a bigint, b text)").await;
    let connection = shop.connect();
    let (table, other) = (describe(&connection, "t").await, describe(&connection, "other").await);
    let count = async || shop.ask("SELECT ((SELECT count(*) FROM t) + (SELECT count(*) FROM other))::text").await;
    for many in [2500, 25_000] {
        let blocks = [&rows(&other, 0, 5, 5), &rows(&table, 0, many, 7)];
        let error = connection.session.write(&blocks, None).await.unwrap_err();
        assert_eq!(error.advice, Advice::Split);
        assert!(error.to_string().ends_with("duplicate key value violates unique constraint \"t_a_key\""), "{error}");
        assert_eq!(count().await, "0");
    }
    let receipt = connection.session.write(&[&rows(&table, 0, 25_000, 24_999)], None).await.unwrap();
    assert_eq!(receipt.rows, 25_000);

    // A call that is dropped half-way leaves nothing behind and no lock.
    let more = rows(&table, 25_000, 400_000, -1);
    let blocks = [&more];
    let write = connection.session.write(&blocks, None);
    assert!(tokio::time::timeout(Duration::from_millis(50), write).await.is_err());
    shop.run("SET lock_timeout = '20s'; LOCK TABLE t; INSERT INTO t VALUES (-5, 'by another program')").await;
    assert_eq!(count().await, "25001");
    connection.session.write(&[&rows(&table, -1, 1, -1)], None).await.unwrap();
}

#[tokio::test]
async fn a_lock_is_waited_for_and_then_told() {
    let shop = Shop::new().await;
    shop.run("CREATE TABLE t (a bigint, b text)").await;
    let url = format!("{}&options=-c%20lock_timeout%3D200", shop.url(super::ALL));
    let connection = connect(&target(&url)).unwrap();
    let table = describe(&connection, "t").await;
    let mut locker = shop.other().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE t").execute(&mut locker).await.unwrap();
    let error = connection.session.write(&[&rows(&table, 0, 1, 1)], None).await.unwrap_err();
    assert_snapshot!(error.to_string().replace(&shop.schema, "SCHEMA"), @"code 55P03: writing table `SCHEMA.t`: canceling statement due to lock timeout");
    assert_eq!(error.advice, Advice::Retry);
    sqlx::raw_sql("COMMIT").execute(&mut locker).await.unwrap();
    connection.session.write(&[&rows(&table, 0, 1, 1)], None).await.unwrap();
}

#[tokio::test]
async fn a_table_that_changed_asks_for_a_new_description() {
    let shop = Shop::new().await;
    let connection = shop.connect();
    let mut told = String::new();
    for change in [
        "DROP TABLE t",
        "ALTER TABLE t DROP COLUMN b",
        "ALTER TABLE t ALTER COLUMN a TYPE text",
        "ALTER TABLE t ALTER COLUMN a TYPE double precision",
        "ALTER TABLE t DROP COLUMN b, ADD COLUMN b text GENERATED ALWAYS AS ('x') STORED",
    ] {
        for many in [1, 20_000] {
            shop.run("DROP TABLE IF EXISTS t; CREATE TABLE t (a bigint, b text)").await;
            let table = describe(&connection, "t").await;
            connection.session.write(&[&rows(&table, 0, many, 0)], None).await.unwrap();
            shop.run(change).await;
            let error = connection.session.write(&[&rows(&table, 0, many, 0)], None).await.unwrap_err();
            told += &format!(
                "{many} rows: {:?} {error}
",
                error.advice
            );
        }
    }
    assert_snapshot!(told.replace(&shop.schema, "SCHEMA"), @r#"
    1 rows: Refresh code 42P01: writing table `SCHEMA.t`: relation "SCHEMA.t" does not exist
    20000 rows: Refresh code 42P01: writing table `SCHEMA.t`: relation "SCHEMA.t" does not exist
    1 rows: Refresh writing table `SCHEMA.t`: column `b` is gone
    20000 rows: Refresh writing table `SCHEMA.t`: column `b` is gone
    1 rows: Refresh writing table `SCHEMA.t`: column `a` is text now, not bigint
    20000 rows: Refresh writing table `SCHEMA.t`: column `a` is text now, not bigint
    1 rows: Refresh writing table `SCHEMA.t`: column `a` is double precision now, not bigint
    20000 rows: Refresh writing table `SCHEMA.t`: column `a` is double precision now, not bigint
    1 rows: Refresh code 428C9: writing table `SCHEMA.t`: cannot insert a non-DEFAULT value into column "b"
    20000 rows: Refresh code 42P10: writing table `SCHEMA.t`: column "b" is a generated column
    "#);
}

fn progress(pipeline: &str, epoch: i64, from: Option<i64>, to: i64) -> Progress {
    let partition = Partition { topic: "orders".into(), partition: 3 };
    Progress { pipeline: pipeline.into(), moves: vec![Move { partition, epoch, from, to }] }
}

/// A server is killed again and again while it writes: what it holds afterwards is what its progress says.
#[tokio::test(flavor = "multi_thread")]
async fn rows_and_progress_survive_kill_9_together() {
    let directory = std::env::temp_dir().join(format!("rowfall-postgres-{}", std::process::id()));
    let server = Postgres::start_private(&directory).unwrap();
    let connection = connect(&target(&server.url())).unwrap();
    let create = Ddl::new(TableName::parse("t"), vec!["CREATE TABLE t (a bigint, b text)".into()]);
    connection.session.execute(&create).await.unwrap();
    let table = describe(&connection, "t").await;
    let partitions = [Partition { topic: "orders".into(), partition: 3 }];
    let mut retried = 0;
    for round in 0..3 {
        let Resumed { epoch, next } = connection.session.resume("shop", &partitions).await.unwrap()[0];
        assert_eq!(epoch, round + 1);
        let killed = std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                server.server.kill9().unwrap();
                server.server.start().unwrap();
            });
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let mut at = next;
                    while !killer.is_finished() {
                        let (from, to) = (at.unwrap_or(0), at.unwrap_or(0) + 2000);
                        let block = rows(&table, from, 2000, to - 1);
                        match connection.session.write(&[&block], Some(&progress("shop", epoch, at, to))).await {
                            Ok(receipt) => {
                                assert_eq!(receipt.rows, 2000);
                                at = Some(to);
                            }
                            Err(error) => {
                                assert_eq!(error.advice, Advice::Retry, "{error}");
                                retried += 1;
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    at
                })
            })
        });
        let mut reader = other(&server, "public").await;
        let sql = "SELECT count(*), count(DISTINCT a), coalesce(max(a), -1) + 1 FROM t";
        let (count, distinct, end): (i64, i64, i64) =
            sqlx::query_as(&Statement::ddl(sql)).fetch_one(&mut reader).await.unwrap();
        assert_eq!((count, distinct, Some(count)), (end, end, killed));
    }
    assert!(retried > 0, "no write met a server that was gone");
    let stale = connection.session.write(&[], Some(&progress("shop", 1, Some(0), 1))).await.unwrap_err();
    assert_eq!(stale.advice, Advice::Fenced);
    drop(server);
    let _ = std::fs::remove_dir_all(directory);
}

#[tokio::test]
async fn a_row_that_a_trigger_refuses_is_split_off() {
    let shop = Shop::new().await;
    shop.run(
        "CREATE TABLE t (a bigint, b text);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a = 1) EXECUTE FUNCTION refuse()",
    )
    .await;
    let connection = shop.connect();
    let table = describe(&connection, "t").await;
    let error = connection.session.write(&[&rows(&table, 0, 3, 9)], None).await.unwrap_err();
    assert_snapshot!(error.to_string().replace(&shop.schema, "SCHEMA"), @"code P0001: writing table `SCHEMA.t`: not today");
    assert_eq!(error.advice, Advice::Split);
    let null = block(&table, 1, |_, columns| columns.iter_mut().for_each(|column| column.push_mark(Mark::Null)));
    connection.session.write(&[&null], None).await.unwrap();
}
