//! Columns that become wider because a record needs it. `evolving` has two processes that do it at once, `upserts` and the
//! dialects' conformance the rest.

use crate::places::{Database, Place};
use crate::support::{self, Rowfall};

fn texts_get_room(database: Database) {
    let place = Place::new(database);
    let (kafka, name) = (support::services().kafka, support::unique("evolve"));
    support::create_topic(&kafka, &name, 1, &[]);
    let utf8 = if place.database == Database::MariaDb { "CHARACTER SET utf8mb4" } else { "" };
    let columns = "id int, v varchar(4) NOT NULL, c char(4), k varchar(4) PRIMARY KEY";
    (place.ask)(&format!("CREATE TABLE {name} ({columns}) {utf8}")).expect("created");
    let text = |characters: usize| "ü🦀".repeat(characters / 2);
    let record = |id: usize, v: &str| format!(r#"{{"id":{id},"v":"{v}","k":"{id}"}}"#);
    let records = [record(1, "ab"), record(2, &text(6)), record(3, &text(300)), record(4, &text(6_000))];
    support::produce(&kafka, &name, 0, &records.each_ref().map(String::as_str));
    let run = || {
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{ evolve: widen }} }}\n",
            kafka.brokers, place.url
        ));
        Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output()
    };
    let output = run();
    assert_eq!(output.code(), 0, "{output:#?}");
    let said = &output.stderr;
    assert!(said.matches("ALTER TABLE").count() == 3 && said.contains("(8)") && said.contains("(512)"), "{said}");
    assert_eq!(place.read(&name, "v", "ORDER BY id").expect("read"), ["ab".into(), text(6), text(300), text(6_000)]);
    // What is filled up with spaces stays as it is.
    support::produce(&kafka, &name, 0, &[r#"{"id":5,"v":"","k":"5","c":"12345"}"#]);
    let output = run();
    let told = ["column `c`", "of up to 4 characters, the text is longer"];
    assert!(output.code() == 1 && told.iter().all(|told| output.stderr.contains(told)), "{output:#?}");
}

#[test]
fn postgres_texts_get_room() {
    texts_get_room(Database::Postgres);
}

#[test]
fn mariadb_texts_get_room() {
    texts_get_room(Database::MariaDb);
}

#[test]
fn mysql_texts_get_room() {
    texts_get_room(Database::MySql);
}
