//! Values that are missing or make no sense, templates, broken files, broken flags.

use std::path::PathBuf;

use super::*;

#[test]
fn what_must_be_there() {
    insta::assert_snapshot!(refused(""), @r#"
      × the configuration has 4 problems

    Error:
      × `name` is missing
      help: it is the consumer group: `name: shop`

    Error:
      × `kafka.brokers` is missing
      help: say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092

    Error:
      × `target.url` is missing
      help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
            orders.db, in `target.url` or with --to

    Error:
      × `topics` is missing or empty
      help: say which topics to read: `topics: { orders: {} }` or --topic orders
    "#);
    insta::assert_snapshot!(refused("name: ''\nkafka:\n  start_from: latest\ntarget:\ntopics: {}\n"), @r#"
      × the configuration has 4 problems

    Error:
      × `name` is empty
       ╭─[rowfall.yaml:1:7]
     1 │ name: ''
       ·       ─┬
       ·        ╰── here
     2 │ kafka:
       ╰────
      help: it is the consumer group: `name: shop`

    Error:
      × `kafka.brokers` is missing
       ╭─[rowfall.yaml:2:1]
     1 │ name: ''
     2 │ kafka:
       · ──┬──
       ·   ╰── here
     3 │   start_from: latest
       ╰────
      help: say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092

    Error:
      × `target.url` is missing
       ╭─[rowfall.yaml:4:1]
     3 │   start_from: latest
     4 │ target:
       · ───┬──
       ·    ╰── here
     5 │ topics: {}
       ╰────
      help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
            orders.db, in `target.url` or with --to

    Error:
      × `topics` is missing or empty
       ╭─[rowfall.yaml:5:1]
     4 │ target:
     5 │ topics: {}
       · ───┬──
       ·    ╰── here
       ╰────
      help: say which topics to read: `topics: { orders: {} }` or --topic orders
    "#);
    insta::assert_snapshot!(with_flags("", &Overrides { topics: vec!["orders".to_owned()], ..Overrides::default() }), @r#"
      × the configuration has 2 problems

    Error:
      × `kafka.brokers` is missing
      help: say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092

    Error:
      × `target.url` is missing
      help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
            orders.db, in `target.url` or with --to
    "#);
    let missing = load(&Overrides { file: Some(PathBuf::from("no/such.yaml")), ..Overrides::default() });
    insta::assert_snapshot!(shown(&missing.expect_err("there is no such file")), @r#"
    × there is no file `no/such.yaml`
    help: name a file with -c, or do without: rowfall run --brokers localhost:9092 --topic orders
          --to sqlite://orders.db
    "#);
}

#[test]
fn values_out_of_range() {
    insta::assert_snapshot!(refused_with_rest("batch: { rows: 0, bytes: 64, age: 0s }\nworkers: 0\n"), @r#"
      × the configuration has 4 problems

    Error:
      × `batch.rows` must be at least 1
       ╭─[rowfall.yaml:1:16]
     1 │ batch: { rows: 0, bytes: 64, age: 0s }
       ·                ┬
       ·                ╰── here
     2 │ workers: 0
       ╰────

    Error:
      × `batch.bytes` must be at least 1KiB
       ╭─[rowfall.yaml:1:26]
     1 │ batch: { rows: 0, bytes: 64, age: 0s }
       ·                          ─┬
       ·                           ╰── here
     2 │ workers: 0
       ╰────
      help: a number without a unit counts bytes: write 64MiB

    Error:
      × `batch.age` must be at least 1ms
       ╭─[rowfall.yaml:1:35]
     1 │ batch: { rows: 0, bytes: 64, age: 0s }
       ·                                   ─┬
       ·                                    ╰── here
     2 │ workers: 0
       ╰────

    Error:
      × `workers` must be from 1 to 1024, or `auto`
       ╭─[rowfall.yaml:2:10]
     1 │ batch: { rows: 0, bytes: 64, age: 0s }
     2 │ workers: 0
       ·          ┬
       ·          ╰── here
     3 │ name: shop
       ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("batch: { bytes: 200MiB }\n"), @r#"
     × `batch.bytes` must be at most half of `memory`
      ╭─[rowfall.yaml:1:17]
    1 │ batch: { bytes: 200MiB }
      ·                 ───┬──
      ·                    ╰── here
    2 │ name: shop
      ╰────
     help: one batch is filled while another is written: raise `memory` or lower `batch.bytes`
    "#);
    insta::assert_snapshot!(refused_with_rest("memory: 1000\n"), @r#"
     × `memory` must be at least 2KiB
      ╭─[rowfall.yaml:1:9]
    1 │ memory: 1000
      ·         ──┬─
      ·           ╰── here
    2 │ name: shop
      ╰────
     help: a number without a unit counts bytes: write 256MiB
    "#);
    insta::assert_snapshot!(refused_with_rest("batch: { bytes: 2GiB }\nmemory: 8GiB\n"), @r#"
     × `batch.bytes` must be at most 1GiB
      ╭─[rowfall.yaml:1:17]
    1 │ batch: { bytes: 2GiB }
      ·                 ──┬─
      ·                   ╰── here
    2 │ memory: 8GiB
      ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("topics:\n  a b:\n    table: ''\n    columns: { x: '' }\n"), @"
      × the configuration has 3 problems

    Error:
      × `a b` cannot be the name of a topic
       ╭─[rowfall.yaml:2:3]
     1 │ topics:
     2 │   a b:
       ·   ─┬─
       ·    ╰── here
     3 │     table: ''
       ╰────
      help: 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`; several names with commas
            between; a regular expression stands between slashes: /orders-(.*)/

    Error:
      × `topics.a b.table` is no table's name
       ╭─[rowfall.yaml:3:12]
     2 │   a b:
     3 │     table: ''
       ·            ─┬
       ·             ╰── here
     4 │     columns: { x: '' }
       ╰────
      help: write `name` or `schema.name`

    Error:
      × `topics.a b.columns.x.type` is empty
       ╭─[rowfall.yaml:4:19]
     3 │     table: ''
     4 │     columns: { x: '' }
       ·                   ─┬
       ·                    ╰── here
     5 │ name: shop
       ╰────
    ");
}

#[test]
fn urls() {
    insta::assert_snapshot!(refused_with_rest("target:\n  url: orders.db\n"), @r#"
     × `target.url` is no URL: relative URL without a base
      ╭─[rowfall.yaml:2:8]
    1 │ target:
    2 │   url: orders.db
      ·        ────┬────
      ·            ╰── here
    3 │ name: shop
      ╰────
     help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
           orders.db, in `target.url` or with --to
    "#);
    insta::assert_snapshot!(refused_with_rest("target:\n  url: oracle://app:hunter2@h/d\n"), @r#"
     × `target.url` names no database that rowfall knows
      ╭─[rowfall.yaml:2:8]
    1 │ target:
    2 │   url: oracle://app:*******@h/d
      ·        ────────────┬───────────
      ·                    ╰── here
    3 │ name: shop
      ╰────
     help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
           orders.db, in `target.url` or with --to
    "#);
    insta::assert_snapshot!(refused_with_rest("target:\n  url: clickhouse:///d\n"), @r#"
     × `target.url` has no host
      ╭─[rowfall.yaml:2:8]
    1 │ target:
    2 │   url: clickhouse:///d
      ·        ───────┬───────
      ·               ╰── here
    3 │ name: shop
      ╰────
     help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
           orders.db, in `target.url` or with --to
    "#);
}

#[test]
fn templates() {
    insta::assert_snapshot!(refused_with_rest("target:\n  url: clickhouse://app:${env:CH_PASSWORD}@localhost:8123/shop\n"), @r#"
     × the environment variable `CH_PASSWORD` for `target.url` is not set
      ╭─[rowfall.yaml:2:25]
    1 │ target:
    2 │   url: clickhouse://app:${env:CH_PASSWORD}@localhost:8123/shop
      ·                         ─────────┬────────
      ·                                  ╰── not set
    3 │ name: shop
      ╰────
     help: set it, or write ${env:CH_PASSWORD:-default}
    "#);
    insta::assert_snapshot!(refused_with_rest("name: ${env:X\n"), @r#"
     × `name` has a `${` without its `}`
      ╭─[rowfall.yaml:1:7]
    1 │ name: ${env:X
      ·       ───┬───
      ·          ╰── here
    2 │ kafka: { brokers: localhost:9092 }
      ╰────
     help: write `$${` for a `${` that stands for itself
    "#);
    insta::assert_snapshot!(refused_with_rest("name: a-${X}\n"), @r#"
     × `${X}` in `name` is no template
      ╭─[rowfall.yaml:1:9]
    1 │ name: a-${X}
      ·         ──┬─
      ·           ╰── here
    2 │ kafka: { brokers: localhost:9092 }
      ╰────
     help: write `${env:NAME}`, `${env:NAME:-default}` or `${file:/path}`, and `$${` for a `${` that
           stands for itself
    "#);
    insta::assert_snapshot!(refused_with_rest("name: ${file:/no/such/file}\n"), @r#"
     × the file `/no/such/file` for `name` cannot be read: No such file or directory (os error 2)
      ╭─[rowfall.yaml:1:7]
    1 │ name: ${file:/no/such/file}
      ·       ──────────┬──────────
      ·                 ╰── cannot be read
    2 │ kafka: { brokers: localhost:9092 }
      ╰────
    "#);
    // What was filled in is not shown.
    insta::assert_snapshot!(refused_with_rest("delivery: ${env:WORDS}\nbatch: { rows: \"${env:WORDS}\" }\n"), @r#"
      × the configuration has 2 problems

    Error:
      × `delivery` has a value that it cannot have
       ╭─[rowfall.yaml:1:11]
     1 │ delivery: ${env:WORDS}
       ·           ──────┬─────
       ·                 ╰── here
     2 │ batch: { rows: "${env:WORDS}" }
       ╰────
      help: it takes `exactly-once` or `at-least-once`

    Error:
      × `batch.rows` takes a whole number such as `1000`, not a text
       ╭─[rowfall.yaml:2:16]
     1 │ delivery: ${env:WORDS}
     2 │ batch: { rows: "${env:WORDS}" }
       ·                ───────┬──────
       ·                       ╰── here
     3 │ name: shop
       ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("target: { url: \"${env:WORDS}\" }\n"), @r#"
     × `target.url` is no URL: relative URL without a base
      ╭─[rowfall.yaml:1:16]
    1 │ target: { url: "${env:WORDS}" }
      ·                ───────┬──────
      ·                       ╰── here
    2 │ name: shop
      ╰────
     help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
           orders.db, in `target.url` or with --to
    "#);
}

#[test]
fn broken_yaml() {
    insta::assert_snapshot!(refused("name: a\nname: b\n"), @r#"
     × the key `name` is given twice
      ╭─[rowfall.yaml:2:1]
    1 │ name: a
    2 │ name: b
      · ──┬─
      ·   ╰── here
      ╰────
     help: keep one of them
    "#);
    insta::assert_snapshot!(refused("kafka: { brokers: a\nname: ü: b\n"), @r#"
     × not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
      ╭─[rowfall.yaml:2:5]
    1 │ kafka: { brokers: a
    2 │ name: ü: b
      ·     ┬
      ·     ╰── here
      ╰────
    "#);
    insta::assert_snapshot!(refused("target: { url: ${env:URL} }\n"), @r#"
     × not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
      ╭─[rowfall.yaml:1:17]
    1 │ target: { url: ${env:URL} }
      ·                 ┬
      ·                 ╰── here
      ╰────
     help: inside `{ }` a value with `${…}` needs quotes: "${env:NAME}"
    "#);
    insta::assert_snapshot!(refused("name: a\n---\nname: b\n"), @r#"
     × the file holds more than one YAML document
      ╭─[rowfall.yaml:3:1]
    2 │ ---
    3 │ name: b
      · ▲
      · ╰── here
      ╰────
     help: remove the line `---` and what does not belong to this configuration
    "#);
    insta::assert_snapshot!(refused("kafka:\n  properties:\n    sasl.password: hunter2\n\tbrokers: x\n"), @r#"
     × not valid YAML: while scanning a plain scalar, found a tab
      ╭─[rowfall.yaml:3:20]
    2 │   properties:
    3 │     sasl.password: *******
      ·                    ┬
      ·                    ╰── here
    4 │     brokers: x
      ╰────
    "#);
}

#[test]
fn wrong_flags() {
    insta::assert_snapshot!(with_flags(REST, &set(&["batch.rows", "batch..rows=1", "topics.'a.b=1", "name.x=1", "bacth.rows=1", "batch.rows=x"])), @r#"
      × the configuration has 6 problems

    Error:
      × --set has no `=`
       ╭─[command line:1:7]
     1 │ --set batch.rows
       ·       ─────┬────
       ·            ╰── here
       ╰────
      help: write --set path=value, such as --set batch.rows=1000; a name that holds a dot stands in
            quotes: --set 'topics."my.topic".table=t'

    Error:
      × --set has an empty name in its path
       ╭─[command line:1:7]
     1 │ --set batch..rows=1
       ·       ──────┬──────
       ·             ╰── here
       ╰────
      help: write --set path=value, such as --set batch.rows=1000; a name that holds a dot stands in
            quotes: --set 'topics."my.topic".table=t'

    Error:
      × --set has a ' without its end
       ╭─[command line:1:7]
     1 │ --set topics.'a.b=1
       ·       ──────┬──────
       ·             ╰── here
       ╰────
      help: write --set path=value, such as --set batch.rows=1000; a name that holds a dot stands in
            quotes: --set 'topics."my.topic".table=t'

    Error:
      × `name` is a text and has no `x`
       ╭─[command line:1:12]
     1 │ --set name.x=1
       ·            ┬
       ·            ╰── here
       ╰────

    Error:
      × unknown key `bacth`; did you mean `batch`?
       ╭─[command line:1:7]
     1 │ --set bacth.rows=1
       ·       ──┬──
       ·         ╰── no such key
       ╰────
      help: the keys at the top are `name`, `kafka`, `registry`, `target`, `delivery`, `batch`,
            `memory`, `workers`, `errors` and `topics`

    Error:
      × `batch.rows` takes a whole number such as `1000`, not a text
       ╭─[command line:1:18]
     1 │ --set batch.rows=x
       ·                  ┬
       ·                  ╰── here
       ╰────
    "#);
    insta::assert_snapshot!(with_flags(REST, &set(&["batch={ rows: 1"])), @r#"
     × not valid YAML: unclosed bracket '{'
      ╭─[command line:1:13]
    1 │ --set batch={ rows: 1
      ·             ┬
      ·             ╰── here
      ╰────
    "#);
    insta::assert_snapshot!(with_flags(REST, &set(&["topics.my.topic.table=t"])), @r#"
     × unknown key `topics.my.topic`
      ╭─[command line:1:17]
    1 │ --set topics.my.topic.table=t
      ·                 ──┬──
      ·                   ╰── no such key
      ╰────
     help: the keys in `topics.my` are `table`, `max_tables`, `value`, `value_schema`, `envelope`,
           `key`, `key_schema`, `mode`, `primary_key`, `deletes`, `absent`, `create`, `paused`,
           `evolve`, `unknown_fields`, `null`, `nested`, `flatten`, `columns` and `clickhouse`; a
           topic whose name holds a dot stands in quotes: --set 'topics."my.topic".table=t'
    "#);
    insta::assert_snapshot!(with_flags(REST, &Overrides { to: Some("oracle://u:hunter2@h/d".to_owned()), ..Overrides::default() }), @r#"
     × `target.url` names no database that rowfall knows
      ╭─[command line:1:6]
    1 │ --to oracle://u:*******@h/d
      ·      ───────────┬──────────
      ·                 ╰── here
      ╰────
     help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
           orders.db, in `target.url` or with --to
    "#);
}

#[test]
fn a_file_that_was_passed_over() {
    let flags = Overrides { topics: vec!["orders".to_owned()], ..Overrides::default() };
    let note = "a file is read only when it is named";
    let several = load_text("", &flags).expect_err("brokers and target are missing").with_note(note);
    insta::assert_snapshot!(shown(&several), @r#"
      × the configuration has 2 problems
      help: a file is read only when it is named

    Error:
      × `kafka.brokers` is missing
      help: say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092

    Error:
      × `target.url` is missing
      help: say where rows go, such as clickhouse://user:password@localhost:8123/shop or sqlite://
            orders.db, in `target.url` or with --to
    "#);
    let flags = Overrides { to: Some("sqlite://orders.db".to_owned()), ..flags };
    let one = load_text("", &flags).expect_err("brokers are missing").with_note(note);
    insta::assert_snapshot!(shown(&one), @r#"
    × `kafka.brokers` is missing
    help: say where Kafka is: `kafka: { brokers: localhost:9092 }` or --brokers localhost:9092; a
          file is read only when it is named
    "#);
}

#[test]
fn the_key_null_needs_no_quotes() {
    for yaml in [
        "topics:\n  orders:\n    null: default\n",
        "topics: { orders: { null: default } }\n",
        "topics: { orders: { \"null\": default } }\n",
    ] {
        let rest = REST.lines().filter(|line| !line.starts_with("topics"));
        let settings = loaded(&format!("{}\n{yaml}", rest.collect::<Vec<_>>().join("\n")));
        assert_eq!(settings.routes.of("orders").expect("a route").null, NullPolicy::Default, "{yaml}");
    }
}
