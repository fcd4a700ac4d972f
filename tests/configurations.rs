//! Wrong configurations. Each ends soon, with status 2 where the file alone shows the mistake and 1 where a server has
//! to be asked, and says what mends it. No message shows a password, no row moves.

use std::time::Duration;

use insta::assert_snapshot;
use rowfall_services::{ClickHouse, Services};

use crate::support::{self, ConfigFile, Output, Rowfall};

/// `rowfall run -c FILE`, which must not go on for long and must not tell what it must not.
fn run(config: &ConfigFile) -> Output {
    let output = Rowfall::with_config("run", config, &[]).start().wait(Duration::from_secs(15));
    let passwords = ["rowfall-secret", ClickHouse::READER.1, "hunter2"];
    for said in [&output.stdout, &output.stderr] {
        assert!(passwords.iter().all(|password| !said.contains(password)), "a password is shown: {said}");
    }
    output
}

/// How a file that is wrong in itself is refused.
fn refused_file(text: &str) -> String {
    let config = support::config_file(text);
    let output = run(&config);
    assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{output:#?}");
    let path = config.path.to_str().expect("UTF-8");
    output.stderr.replace(path, "rowfall.yaml").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How a file is refused that does not fit what is there. `name` is the topic's and the table's.
fn refused(services: &Services, name: &str, config: &ConfigFile) -> String {
    let output = run(config);
    assert_eq!((output.code(), output.stdout.as_str()), (1, ""), "{output:#?}");
    let (_, said) = output.stderr.split_once("rowfall: ").unwrap_or_else(|| panic!("no reason is said: {output:#?}"));
    said.replace(name, "NAME")
        .replace(&services.kafka.brokers, "KAFKA")
        .replace(&services.clickhouse.http_port.to_string(), "PORT")
}

/// A topic with one record, `{"id":1,"name":"one"}`, and a table of these columns.
fn topic_and_table(services: &Services, columns: &str) -> String {
    let name = topic_with_a_record(services);
    support::query(&services.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
    name
}

fn topic_with_a_record(services: &Services) -> String {
    let name = support::unique("configurations");
    support::create_topic(&services.kafka, &name, 1, &[]);
    support::produce(&services.kafka, &name, 0, &[r#"{"id":1,"name":"one"}"#]);
    name
}

/// No row has moved and the group has committed nothing.
fn assert_untouched(services: &Services, name: &str) {
    assert_eq!(support::query(&services.clickhouse, &format!("SELECT count() FROM {name}")), "0");
    assert_eq!(support::committed_and_end(&services.kafka, name, name, 1), [(None, 1)]);
}

/// A file that moves the topic of this name into a target of one's own.
fn into_target(services: &Services, name: &str, url: &str) -> ConfigFile {
    let brokers = &services.kafka.brokers;
    support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{brokers}' }}\ntarget: {{ url: '{url}', wait: 0s }}\ntopics: {{ {name}: {{}} }}\n"
    ))
}

fn as_user((user, password): (&str, &str), services: &Services) -> String {
    format!("clickhouse://{user}:{password}@127.0.0.1:{}/default", services.clickhouse.http_port)
}

#[test]
fn a_file_that_is_not_there() {
    let output = Rowfall::new(&["run", "-c", "/no/rowfall.yaml"]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{output:#?}");
    assert_snapshot!(output.stderr, @"
    × there is no file `/no/rowfall.yaml`
    help: name a file with -c, or do without: rowfall run --brokers
          localhost:9092 --topic orders --to sqlite://orders.db
    ");
}

#[test]
fn a_file_that_is_no_yaml() {
    assert_snapshot!(refused_file(
        "name: shop
kafka: { brokers: localhost:9092
target: { url: 'clickhouse://app:hunter2@localhost:8123/shop' }
topics: { orders: {} }
"
    ), @"
     × not valid YAML: while parsing a flow mapping, did not find expected ',' or
     │ '}'
      ╭─[rowfall.yaml:3:7]
    2 │ kafka: { brokers: localhost:9092
    3 │ target: { url: 'clickhouse://app:*******@localhost:8123/shop' }
      ·       ┬
      ·       ╰── here
    4 │ topics: { orders: {} }
      ╰────
    ");
}

#[test]
fn a_key_with_a_typing_error() {
    assert_snapshot!(refused_file(
        "name: shop
kafka: { borkers: localhost:9092 }
target: { url: 'clickhouse://app:hunter2@localhost:8123/shop' }
topics: { orders: {} }
"
    ), @"
     × unknown key `kafka.borkers`; did you mean `brokers`?
      ╭─[rowfall.yaml:2:10]
    1 │ name: shop
    2 │ kafka: { borkers: localhost:9092 }
      ·          ───┬───
      ·             ╰── no such key
    3 │ target: { url: 'clickhouse://app:*******@localhost:8123/shop' }
      ╰────
     help: the keys in `kafka` are `brokers`, `start_from`, `instance`, `rack`
           and `properties`
    ");
}

#[test]
fn a_value_of_another_type() {
    assert_snapshot!(refused_file(
        "name: shop
kafka: { brokers: localhost:9092 }
target: { url: 'clickhouse://app:hunter2@localhost:8123/shop' }
batch: { rows: many }
topics: { orders: {} }
"
    ), @"
     × `batch.rows` takes a whole number such as `1000`, not a text
      ╭─[rowfall.yaml:4:16]
    3 │ target: { url: 'clickhouse://app:*******@localhost:8123/shop' }
    4 │ batch: { rows: many }
      ·                ──┬─
      ·                  ╰── here
    5 │ topics: { orders: {} }
      ╰────
    ");
}

#[test]
fn brokers_that_are_not_there() {
    let services = support::services();
    let target = support::target(&services.clickhouse);
    let config = support::config_file(&format!(
        "name: shop\nkafka: {{ brokers: '127.0.0.1:1' }}\ntarget: {{ url: '{target}' }}\ntopics: {{ orders: {{}} }}\n"
    ));
    // librdkafka says how often it tried, which differs.
    let said = refused(&services, "orders", &config);
    assert!(said.starts_with("cannot reach Kafka at 127.0.0.1:1: "), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    assert!(said.ends_with("\n  → see whether the brokers run there and `kafka.brokers` names them\n"), "{said}");
}

#[test]
fn a_server_that_is_not_there() {
    let services = support::services();
    let config = into_target(&services, "orders", "clickhouse://app:hunter2@127.0.0.1:1/default");
    assert_snapshot!(refused(&services, "orders", &config), @"
    target clickhouse://app:***@127.0.0.1:1/default: cannot use the server: no connection to http://127.0.0.1:1: Connection refused (os error 111): client error (Connect): tcp connect error
      → is ClickHouse running there? http://127.0.0.1:1 has to be its HTTP interface, port 8123, or 8443 with TLS and clickhouses://
    ");
}

#[test]
fn a_wrong_password() {
    let services = support::services();
    let config = into_target(&services, "orders", &as_user((services.clickhouse.user, "hunter2"), &services));
    assert_snapshot!(refused(&services, "orders", &config), @"
    target clickhouse://rowfall:***@127.0.0.1:PORT/default: code 516: cannot use the server: rowfall: Authentication failed: password is incorrect, or there is no user with such name (AUTHENTICATION_FAILED)
      → check user and password in the target's url; characters such as @ : / % stand percent-encoded there
    ");
}

#[test]
fn a_user_who_may_not_insert() {
    let services = support::services();
    let name = topic_and_table(&services, "id UInt64, name String");
    let config = into_target(&services, &name, &as_user(ClickHouse::READER, &services));
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME: table default.NAME: code 497: user reader may not insert into default.NAME
      → GRANT INSERT ON `default`.`NAME` TO `reader`
    ");
    assert_untouched(&services, &name);
}

#[test]
fn a_user_who_may_not_create_the_table() {
    let services = support::services();
    let name = topic_with_a_record(&services);
    let config = into_target(&services, &name, &as_user(ClickHouse::READER, &services));
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME: table NAME: code 497: user reader may not create default.NAME: no right CREATE TABLE ON `default`.`NAME`
      → GRANT CREATE TABLE ON `default`.`NAME` TO `reader`
    ");
}

#[test]
fn a_user_who_may_not_see_the_table() {
    let services = support::services();
    let name = topic_and_table(&services, "id UInt64, name String");
    let config = into_target(&services, &name, &as_user(ClickHouse::NOGRANT, &services));
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME into table NAME: code 497: default.NAME does not exist, or user nogrant has no rights on it
      → GRANT INSERT ON `default`.`NAME` TO `nogrant`, and CREATE TABLE too if rowfall is to create it
    ");
}

#[test]
fn a_database_that_is_not_there() {
    let services = support::services();
    let name = topic_with_a_record(&services);
    let config = into_target(&services, &name, &support::target(&services.clickhouse).replace("/default", "/shpo"));
    assert_snapshot!(refused(&services, &name, &config), @"
    target clickhouse://rowfall:***@127.0.0.1:PORT/shpo: code 81: cannot use the server: Database shpo does not exist (UNKNOWN_DATABASE)
      → create it with CREATE DATABASE, or name another at the end of the target's url
    ");
}

#[test]
fn a_table_that_is_not_there_and_shall_not_be_created() {
    let services = support::services();
    let name = topic_with_a_record(&services);
    let config = support::topic_with(&services, &name, "{ create: false }");
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME: table NAME does not exist
      → create it, or set `topics.NAME.create: true`
    ");
}

#[test]
fn a_view_as_the_table() {
    let services = support::services();
    let name = topic_with_a_record(&services);
    support::query(&services.clickhouse, &format!("CREATE VIEW {name} AS SELECT 1 AS id, 'x' AS name"));
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME into table NAME: default.NAME is a View, which keeps no rows
      → name the table that it reads
    ");
}

#[test]
fn a_topic_that_is_not_there() {
    let services = support::services();
    let name = topic_with_a_record(&services);
    let config = support::topic_with(&services, &format!("{name}s"), "{}");
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAMEs does not exist at KAFKA, or this user may not see it
      → did you mean `NAME`? otherwise create the topic, or grant DESCRIBE and READ on it
    ");
}

#[test]
fn a_librdkafka_property_that_does_not_exist() {
    let services = support::services();
    let target = support::target(&services.clickhouse);
    let config = support::config_file(&format!(
        "name: shop
kafka: {{ brokers: '{}', properties: {{ fetch.min.byts: 1, sasl.password: hunter2 }} }}
target: {{ url: '{target}' }}
topics: {{ orders: {{}} }}
",
        services.kafka.brokers,
    ));
    assert_snapshot!(refused(&services, "orders", &config), @r#"
    kafka.properties: fetch.min.byts: No such configuration property: "fetch.min.byts"
      → see librdkafka's CONFIGURATION.md for its names
    "#);
}

#[test]
fn column_types_that_cannot_be_written() {
    let services = support::services();
    let columns = "id UInt64, name String, total AggregateFunction(sum, UInt64), half BFloat16";
    let name = topic_and_table(&services, columns);
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME into table default.NAME: column `total` AggregateFunction(sum, UInt64): rowfall cannot write columns of type AggregateFunction(sum, UInt64): only ClickHouse makes its states: write the plain values, and let a materialized view aggregate; set `columns.total.drop: true` to leave it to its default
      column `half` BFloat16: rowfall cannot write columns of type BFloat16: most values would be rounded: declare it Float32; set `columns.half.drop: true` to leave it to its default
    ");
    assert_untouched(&services, &name);

    let dropped = "{ columns: { total: { drop: true }, half: { drop: true } } }";
    let config = support::topic_with(&services, &name, dropped);
    assert_eq!(
        Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output().rows(),
        1,
        "what it says mends it"
    );
}

#[test]
fn a_column_that_the_table_lacks() {
    let services = support::services();
    let name = topic_and_table(&services, "id UInt64, name String");
    let config = support::topic_with(&services, &name, "{ columns: { nmae: { from: name } } }");
    assert_snapshot!(refused(&services, &name, &config), @"topic NAME into table default.NAME: column `nmae`: table default.NAME has no such column; add it to the table, or take `columns.nmae` out of the route");
    assert_untouched(&services, &name);
}

#[test]
fn a_type_that_the_column_does_not_have() {
    let services = support::services();
    let name = topic_and_table(&services, "id UInt64, name String");
    let config = support::topic_with(&services, &name, "{ columns: { id: int32 } }");
    assert_snapshot!(refused(&services, &name, &config), @"
    topic NAME into table NAME: column `id` is UInt64 and `columns.id` says int32
      → alter the table, or take the type out of `columns.id`
    ");
    assert_untouched(&services, &name);
}
