//! Names of tables and columns: SQL in them, quotes of each kind, what is too long, what a database keeps for itself.

use std::sync::LazyLock;

use serde_json::json;

use super::Then::{Is, Refused, Unread};
use super::{Then, Topic, all, fill, run, wrong};
use crate::places::{Database, Place};
use crate::support;

/// A name; what becomes of a table that is called so, of a column alone, and of a column beside one that is called `v`.
struct Case {
    name: &'static str,
    table: [Then; 5],
    alone: [Then; 5],
    beside: [Then; 5],
}

/// Taken as the name of a table, not as that of a column by this database (MySQL: nor by MariaDB).
fn reserved(name: &'static str, by: Database, why: &'static str) -> Case {
    let mut column = all(TAKEN);
    column[by as usize] = Refused(why);
    if by == Database::MySql {
        column[Database::MariaDb as usize] = Refused(why);
    }
    Case { alone: column, beside: column, ..taken(name) }
}

/// The value that stands under each name.
const TAKEN: Then = Is("1");
const TWIN: Then = Refused("the same name");
const NUL: Then = Refused("holds a NUL");
const LONG: Then = Refused("has more than 64 characters");

fn taken(name: &'static str) -> Case {
    same(name, all(TAKEN))
}

fn same(name: &'static str, then: [Then; 5]) -> Case {
    Case { name, table: then, alone: then, beside: then }
}

fn cases() -> Vec<Case> {
    let mysql = |mysql: Then| [TAKEN, TAKEN, mysql, mysql, TAKEN];
    vec![
        taken("double\"quote"),
        taken("single'quote"),
        taken("back`quote"),
        taken("back\\slash\\"),
        taken("\"; DROP TABLE x; --"),
        taken("'); DROP TABLE x; --"),
        taken("`; DROP TABLE x; --"),
        taken("/* */ --"),
        taken("a.b"),
        taken(".."),
        taken("../x"),
        taken("two words"),
        taken("select"),
        taken("MixedCase"),
        taken("per%cent %s"),
        taken("what? $1 :x @x #x {x:UInt8}"),
        taken("${topic}"),
        taken("snow☃man"),
        taken("e\u{301}é\u{202e}"),
        taken("tab\tbreak\nend"),
        taken(" space"),
        taken("rowid"),
        reserved("ctid", Database::Postgres, "conflicts with a system column name"),
        reserved("DB_ROW_ID", Database::MySql, "Incorrect column name"),
        reserved("_row_exists", Database::ClickHouse, "reserved for persistent virtual column"),
        taken("excluded"),
        taken("n".repeat(63).leak()),
        Case { beside: [TAKEN, TAKEN, TWIN, TWIN, TWIN], ..taken("V") },
        same("space ", mysql(Refused("ends with white space"))),
        same("emoji 🦀", mysql(Refused("no characters of four bytes"))),
        same("break\n", mysql(Refused("ends with white space"))),
        same("m".repeat(64).leak(), [TAKEN, Refused("has 64 bytes, and Postgres keeps 63"), TAKEN, TAKEN, TAKEN]),
        same("l".repeat(65).leak(), [TAKEN, Refused("has 65 bytes"), LONG, LONG, TAKEN]),
        // Tables are files, whose names take more bytes: up to three for each of these, times three in ClickHouse.
        Case {
            table: [
                Refused("The max length of table name"),
                Refused("has 192 bytes"),
                Refused("Got error 168"),
                Refused("File name too long"),
                TAKEN,
            ],
            ..same("☃".repeat(64).leak(), [TAKEN, Refused("has 192 bytes"), TAKEN, TAKEN, TAKEN])
        },
        same("nul\0", [TAKEN, NUL, NUL, NUL, NUL]),
        same("", [Refused("name"), Refused("is empty"), Refused("is empty"), Refused("is empty"), TAKEN]),
    ]
}

/// In how many ways a name is tried: as that of a table, of a column that is created, of one that is added, and of a key.
const WAYS: [&str; 4] = ["table", "created", "added", "key"];

static CASES: LazyLock<(Vec<Case>, String)> = LazyLock::new(|| {
    let (cases, prefix) = (cases(), support::unique("hostile"));
    let mut topics = Vec::new();
    for (index, Case { name, .. }) in cases.iter().enumerate() {
        let mut topic = |way: &str, records: &[(Option<serde_json::Value>, Option<serde_json::Value>)]| {
            let bytes = |value: &serde_json::Value| value.to_string().into_bytes();
            let records =
                records.iter().map(|(key, value)| (key.as_ref().map(ToString::to_string), value.as_ref().map(bytes)));
            topics.push(Topic { name: format!("{prefix}_{index:03}_{way}"), records: records.collect() });
        };
        let key = |key: i64| Some(json!({ *name: key }));
        let row = |key: i64, v: i64| Some(json!({ *name: key, "v": v }));
        topic("table", &[(None, Some(json!({ "v": 1 })))]);
        topic("created", &[(None, Some(json!({ *name: 1 })))]);
        topic("added", &[(None, Some(json!({ "v": 0 }))), (None, Some(json!({ "v": 1, *name: 1 })))]);
        topic("key", &[(key(1), row(1, 5)), (key(2), row(2, 5)), (key(1), row(1, 7)), (key(2), None)]);
    }
    fill(&topics);
    (cases, prefix)
});

fn check(database: Database) {
    let (cases, prefix) = &*CASES;
    let place = Place::new(database);
    let engine = if database == Database::ClickHouse { " ENGINE = MergeTree ORDER BY id" } else { "" };
    (place.ask)(&format!("CREATE TABLE {} (id INTEGER){engine}", place.table("x"))).expect("created");
    let settings = |way: &str, index: usize, name: &str| match way {
        "table" => format!("{{ table: {}, columns: {{ v: int64 }} }}", json!(in_file(name))),
        // No configuration has a column without a name: this one is inferred.
        "created" if name.is_empty() => format!("{{ table: created{index:03} }}"),
        "created" => format!("{{ table: created{index:03}, columns: {{ {}: int64 }} }}", json!(name)),
        "added" => format!("{{ table: added{index:03}, columns: {{ v: int64 }}, evolve: add }}"),
        _ => {
            let key = match database {
                // Its versions are offsets, which order the records of one key.
                Database::ClickHouse => in_yaml(&format!("record-key:{name}")),
                _ => in_yaml(name),
            };
            let columns = format!("{{ {}: int64, v: int64 }}", json!(name));
            format!("{{ table: key{index:03}, mode: upsert, primary_key: [{key}], deletes: true, columns: {columns} }}")
        }
    };
    // No configuration has a table or a key without a name.
    let tried = cases.iter().enumerate().flat_map(|(index, case)| WAYS.map(|way| (index, way, case)));
    let tried: Vec<_> =
        tried.filter(|(_, way, case)| !case.name.is_empty() || ["created", "added"].contains(way)).collect();
    let topics: Vec<_> = tried.iter().map(|(index, way, _)| format!("{prefix}_{index:03}_{way}")).collect();
    let settings = tried.iter().map(|(index, way, case)| settings(way, *index, case.name));
    let whys = run(&place, &topics.iter().map(String::as_str).zip(settings).collect::<Vec<_>>());
    let (mut all, of) = (Vec::new(), database as usize);
    for ((index, way, case), why) in tried.iter().zip(&whys) {
        let (here, name) = (format!("{way}{index:03}"), case.name);
        let (then, table, column) = match *way {
            // No column is to blame.
            "table" => match case.table[of] {
                Refused(why) => (Unread(why), name, "v"),
                then => (then, name, "v"),
            },
            "created" => (case.alone[of], here.as_str(), name),
            _ => (case.beside[of], here.as_str(), name),
        };
        let more = match *way {
            "added" => "WHERE v = 1",
            "key" if database == Database::ClickHouse => "FINAL",
            _ => "",
        };
        // What cannot be shown is told otherwise.
        let escaped = name.escape_debug().to_string();
        let told = if why.as_ref().is_some_and(|why| why.contains(name)) { name } else { &escaped };
        let table_told = if *way == "table" { told } else { table };
        let wrong = wrong(then, why.as_ref(), table_told, told, || place.read(table, column, more), str::eq);
        all.extend(wrong.map(|wrong| format!("{name:?} as {way}: {wrong}")));
    }
    (place.ask)(&format!("SELECT 'x' FROM {}", place.table("x"))).expect("nothing that a name says is done");
    assert!(all.is_empty(), "{} of {} in {database:?}:\n{}", all.len(), tried.len(), all.join("\n"));
}

/// MySQL compares names beyond ASCII without their case as well, and says of the ALTER only that the column is there.
#[test]
fn a_column_that_only_the_server_takes_for_another_stops_its_partition() {
    for database in [Database::MySql, Database::MariaDb] {
        let (place, topic) = (Place::new(database), support::unique("hostile"));
        (place.ask)("CREATE TABLE t (v bigint, `é` bigint)").expect("created");
        let records = [json!({ "v": 1, "é": 2 }), json!({ "v": 3, "É": 4 })];
        let records = records.iter().map(|record| (None, Some(record.to_string().into_bytes()))).collect();
        fill(&[Topic { name: topic.clone(), records }]);
        let why = run(&place, &[(&topic, "{ table: t, evolve: add }".to_owned())]).remove(0).expect("it stops");
        let said = "the database did as it was told, and the table is as it was";
        assert!(why.contains(&format!("{topic}[0] offset 1: altering table")) && why.contains(said), "{why}");
        assert_eq!(place.read("t", "é", ""), Ok(vec!["2".to_owned()]));
    }
}

/// A text of YAML that stands for itself.
fn in_yaml(text: &str) -> String {
    json!(text.replace("${", "$${")).to_string()
}

/// A name as `table:` takes it, whatever it holds: in backquotes, and backquotes in double ones.
fn in_file(name: &str) -> String {
    let (mut text, mut open) = (String::new(), None);
    for c in name.replace("${", "$${").chars() {
        let quote = if c == '`' { '"' } else { '`' };
        if open != Some(quote) {
            text.extend(open);
            text.push(quote);
            open = Some(quote);
        }
        text.push(c);
    }
    text.extend(open);
    text
}

#[test]
fn names_in_clickhouse() {
    check(Database::ClickHouse);
}

#[test]
fn names_in_postgres() {
    check(Database::Postgres);
}

#[test]
fn names_in_mysql() {
    check(Database::MySql);
}

#[test]
fn names_in_mariadb() {
    check(Database::MariaDb);
}

#[test]
fn names_in_sqlite() {
    check(Database::Sqlite);
}
