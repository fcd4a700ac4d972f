//! Keys, types and words that are refused.

use super::*;

#[test]
fn unknown_keys() {
    insta::assert_snapshot!(refused_with_rest("bacth: { rows: 1 }\n"), @"
     × unknown key `bacth`; did you mean `batch`?
      ╭─[rowfall.yaml:1:1]
    1 │ bacth: { rows: 1 }
      · ──┬──
      ·   ╰── no such key
    2 │ name: shop
      ╰────
     help: the keys at the top are `name`, `kafka`, `registry`, `target`, `delivery`, `batch`,
           `memory`, `workers`, `errors` and `topics`
    ");
    insta::assert_snapshot!(refused_with_rest("kafka:\n  brokers: a:1\n  group.id: x\n"), @r#"
     × unknown key `kafka."group.id"`
      ╭─[rowfall.yaml:3:3]
    2 │   brokers: a:1
    3 │   group.id: x
      ·   ────┬───
      ·       ╰── no such key
    4 │ name: shop
      ╰────
     help: the keys in `kafka` are `brokers`, `start_from`, `instance`, `rack` and `properties`;
           librdkafka's own properties stand in `kafka.properties`
    "#);
    insta::assert_snapshot!(refused_with_rest("topics:\n  orders:\n    columns:\n      id: { typ: int64 }\n"), @"
     × unknown key `topics.orders.columns.id.typ`; did you mean `type`?
      ╭─[rowfall.yaml:4:13]
    3 │     columns:
    4 │       id: { typ: int64 }
      ·             ─┬─
      ·              ╰── no such key
    5 │ name: shop
      ╰────
     help: the keys in `topics.orders.columns.id` are `from`, `type`, `nullable`, `default`, `drop`,
           `codec`, `comment`, `ttl`, `nested` and `unit`
    ");
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(refused_with_rest("batch: { rows: many }\n"), @r#"
     × `batch.rows` takes a whole number such as `1000`, not a text
      ╭─[rowfall.yaml:1:16]
    1 │ batch: { rows: many }
      ·                ──┬─
      ·                  ╰── here
    2 │ name: shop
      ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("batch: 5\n"), @r#"
     × `batch` takes a map such as `{ rows: 500000, age: 1s }`, not a number
      ╭─[rowfall.yaml:1:8]
    1 │ batch: 5
      ·        ┬
      ·        ╰── here
    2 │ name: shop
      ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("batch: { rows: -1, bytes: 1.5MiB, age: 1 }\nmemory: [1]\nworkers: many\n"), @r#"
      × the configuration has 5 problems

    Error:
      × `batch.rows` takes a whole number such as `1000`
       ╭─[rowfall.yaml:1:16]
     1 │ batch: { rows: -1, bytes: 1.5MiB, age: 1 }
       ·                ─┬
       ·                 ╰── here
     2 │ memory: [1]
       ╰────

    Error:
      × `batch.bytes` takes a size such as `64MiB`, `64MB` or `65536` (bytes)
       ╭─[rowfall.yaml:1:27]
     1 │ batch: { rows: -1, bytes: 1.5MiB, age: 1 }
       ·                           ───┬──
       ·                              ╰── here
     2 │ memory: [1]
       ╰────

    Error:
      × `batch.age` takes a duration with its unit, such as `1s`, `100ms` or `1m`
       ╭─[rowfall.yaml:1:40]
     1 │ batch: { rows: -1, bytes: 1.5MiB, age: 1 }
       ·                                        ┬
       ·                                        ╰── here
     2 │ memory: [1]
       ╰────

    Error:
      × `memory` takes a size such as `64MiB`, `64MB` or `65536` (bytes), not a list
       ╭─[rowfall.yaml:2:9]
     1 │ batch: { rows: -1, bytes: 1.5MiB, age: 1 }
     2 │ memory: [1]
       ·         ┬
       ·         ╰── here
     3 │ workers: many
       ╰────

    Error:
      × `workers` takes `auto` or a whole number such as `4`
       ╭─[rowfall.yaml:3:10]
     2 │ memory: [1]
     3 │ workers: many
       ·          ──┬─
       ·            ╰── here
     4 │ name: shop
       ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("errors: { show_values: maybe }\n"), @r#"
     × `errors.show_values` takes `true` or `false`, not a text
      ╭─[rowfall.yaml:1:24]
    1 │ errors: { show_values: maybe }
      ·                        ──┬──
      ·                          ╰── here
    2 │ name: shop
      ╰────
    "#);
    insta::assert_snapshot!(refused_with_rest("topics:\n  orders:\n    columns: [id]\n    clickhouse: { order_by: [[x]] }\n"), @r#"
      × the configuration has 2 problems

    Error:
      × `topics.orders.columns` takes a map from names to settings, not a list
       ╭─[rowfall.yaml:3:14]
     2 │   orders:
     3 │     columns: [id]
       ·              ┬
       ·              ╰── here
     4 │     clickhouse: { order_by: [[x]] }
       ╰────

    Error:
      × `topics.orders.clickhouse.order_by.0` takes a text, not a list
       ╭─[rowfall.yaml:4:30]
     3 │     columns: [id]
     4 │     clickhouse: { order_by: [[x]] }
       ·                              ┬
       ·                              ╰── here
     5 │ name: shop
       ╰────
    "#);
    insta::assert_snapshot!(refused("- a\n"), @r#"
     × the file takes a map of settings, not a list
      ╭─[rowfall.yaml:1:1]
    1 │ - a
      · ▲
      · ╰── here
      ╰────
    "#);
}

#[test]
fn wrong_words() {
    insta::assert_snapshot!(refused_with_rest("kafka: { brokers: a, start_from: earlist }\n"), @"
     × `kafka.start_from` takes `earliest`, `latest`, a time such as `2026-11-24T00:00:00Z` or `2026-
     │ 11-24`, or an offset such as `1000`
      ╭─[rowfall.yaml:1:34]
    1 │ kafka: { brokers: a, start_from: earlist }
      ·                                  ───┬───
      ·                                     ╰── here
    2 │ name: shop
      ╰────
    ");
    insta::assert_snapshot!(refused_with_rest("topics: { orders: { mode: merge, value: {} } }\n"), @"
      × the configuration has 2 problems

    Error:
      × `topics.orders.mode` cannot be `merge`
       ╭─[rowfall.yaml:1:27]
     1 │ topics: { orders: { mode: merge, value: {} } }
       ·                           ──┬──
       ·                             ╰── here
     2 │ name: shop
       ╰────
      help: it takes `insert` or `upsert`

    Error:
      × `topics.orders.value` takes `json`, `connect-json` or `avro`, not a map
       ╭─[rowfall.yaml:1:34]
     1 │ topics: { orders: { mode: merge, value: {} } }
       ·                                  ──┬──
       ·                                    ╰── here
     2 │ name: shop
       ╰────
    ");
}

#[test]
fn what_is_not_available_yet() {
    insta::assert_snapshot!(refused_with_rest("http: 127.0.0.1:9101\n"), @"
     × `http` is not available yet in this version
      ╭─[rowfall.yaml:1:1]
    1 │ http: 127.0.0.1:9101
      · ──┬─
      ·   ╰── not available yet
    2 │ name: shop
      ╰────
    ");
}

/// Every name in the table is refused, and as something to come.
#[test]
fn all_names_to_come_are_refused_by_name() {
    let path = |pattern: &str| pattern.replacen('*', "orders", 1).replacen('*', "id", 1);
    for key in not_yet::KEYS {
        assert!(!reference::has_key(key), "`{key}` is there: take it off the list");
        let text = with_flags(REST, &set(&[&format!("{}=1", path(key))]));
        assert!(text.contains("is not available yet in this version"), "{key}: {text}");
    }
    for (key, words) in not_yet::VALUES {
        for word in words {
            let text = with_flags(REST, &set(&[&format!("{}={word}", path(key))]));
            assert!(text.contains("is not available yet in this version"), "{key}: {word}: {text}");
        }
    }
}

#[test]
fn a_registry_is_told_whole_or_not_at_all() {
    let refused = [
        "registry: { url: 'ftp://a' }\n",
        "registry: { token: x }\n",
        "registry: { url: 'http://a', username: x }\n",
        "registry: { url: 'http://u:p@a', token: x }\n",
        "registry: { url: 'http://a', certificate: a.pem }\n",
        "registry: { url: 'http://a', oauth: { url: 'http://b', client_id: x } }\n",
        "topics: { orders: { value: avro } }\n",
        "registry: { url: 'http://a' }\ntopics: { orders: { value: avro, table: '${field:x}' } }\n",
    ];
    let refused = refused.map(refused_with_rest).join("\n");
    insta::assert_snapshot!(refused, @"
     × `registry.url` is no URL of HTTP
      ╭─[rowfall.yaml:1:18]
    1 │ registry: { url: 'ftp://a' }
      ·                  ────┬────
      ·                      ╰── here
    2 │ name: shop
      ╰────
     help: say where the schemas are: `registry: { url: http://localhost:8081 }`
     × `registry.token` needs `registry.url`
      ╭─[rowfall.yaml:1:20]
    1 │ registry: { token: * *
      ·                    ┬
      ·                    ╰── here
    2 │ name: shop
      ╰────
     help: say where the schemas are: `registry: { url: http://localhost:8081 }`
     × `registry.username` needs `registry.password`
      ╭─[rowfall.yaml:1:40]
    1 │ registry: { url: 'http://a', username: x }
      ·                                        ┬
      ·                                        ╰── here
    2 │ name: shop
      ╰────
     × `registry` says who we are in more than one way
      ╭─[rowfall.yaml:1:1]
    1 │ registry: { url: 'http://u:*@a', token: * *
      · ────┬───
      ·     ╰── here
    2 │ name: shop
      ╰────
     help: say a user with a password, or a token, or where tokens are got
     × `registry.certificate` needs `registry.private_key`
      ╭─[rowfall.yaml:1:43]
    1 │ registry: { url: 'http://a', certificate: a.pem }
      ·                                           ──┬──
      ·                                             ╰── here
    2 │ name: shop
      ╰────
     × `registry.oauth.client_secret` is missing
      ╭─[rowfall.yaml:1:30]
    1 │ registry: { url: 'http://a', oauth: { url: 'http://b', client_id: x } }
      ·                              ──┬──
      ·                                ╰── here
    2 │ name: shop
      ╰────
     help: it is best kept in the environment: ${env:SECRET}
     × `topics.orders.value: avro` needs `registry.url`
      ╭─[rowfall.yaml:1:28]
    1 │ topics: { orders: { value: avro } }
      ·                            ──┬─
      ·                              ╰── here
    2 │ name: shop
      ╰────
     help: say where the schemas are: `registry: { url: http://localhost:8081 }`
     × `${field:x}` needs `value: json`
      ╭─[rowfall.yaml:2:42]
    1 │ registry: { url: 'http://a' }
    2 │ topics: { orders: { value: avro, table: '${field:x}' } }
      ·                                          ─────┬────
      ·                                               ╰── here
    3 │ name: shop
      ╰────
     help: let a header say it: `${header:x}`
    ");
}

#[test]
fn properties_of_rowfall() {
    insta::assert_snapshot!(refused_with_rest("kafka:\n  brokers: a\n  properties:\n    group.id: x\n    log_cb: x\n    isolation.level: none\n    linger.ms: 5\n"), @r#"
      × the configuration has 3 problems

    Error:
      × `kafka.properties.group.id` is rowfall's own
       ╭─[rowfall.yaml:4:5]
     3 │   properties:
     4 │     group.id: x
       ·     ────┬───
       ·         ╰── here
     5 │     log_cb: x
       ╰────
      help: use `name`

    Error:
      × `kafka.properties.isolation.level` takes `read_committed` or `read_uncommitted`
       ╭─[rowfall.yaml:6:22]
     5 │     log_cb: x
     6 │     isolation.level: none
       ·                      ──┬─
       ·                        ╰── here
     7 │     linger.ms: 5
       ╰────

    Error:
      × `kafka.properties.log_cb` is rowfall's own
       ╭─[rowfall.yaml:5:5]
     4 │     group.id: x
     5 │     log_cb: x
       ·     ───┬──
       ·        ╰── here
     6 │     isolation.level: none
       ╰────
      help: a callback is code and cannot be set here
    "#);
    for (name, _) in check::OWNED_PROPERTIES {
        let text = with_flags(REST, &set(&[&format!("kafka.properties.{}=x", name.replace('*', "stats"))]));
        assert!(text.contains("is rowfall's own"), "{text}");
    }
    let allowed = [
        "kafka.properties.isolation.level=read_uncommitted",
        "kafka.properties.partition.assignment.strategy=range,roundrobin",
        "kafka.properties.fetch.queue.backoff.ms=5",
        "kafka.properties.enable.ssl.certificate.verification=false",
        "kafka.properties.x=0.50",
    ];
    let settings = load_text(REST, &set(&allowed)).unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(settings.kafka.properties["enable.ssl.certificate.verification"], "false");
    assert_eq!(settings.kafka.properties["x"], "0.50");
}

/// Keys that mean no topic, or one that another key means already, and templates that stand for nothing.
#[test]
fn keys_of_topics() {
    insta::assert_snapshot!(refused_with_rest("topics:\n  /orders-(.*/: {}\n"), @"
     × `/orders-(.*/` is no regular expression: unclosed group
      ╭─[rowfall.yaml:2:3]
    1 │ topics:
    2 │   /orders-(.*/: {}
      ·   ──────┬─────
      ·         ╰── here
    3 │ name: shop
      ╰────
     help: write it as the Rust crate `regex` knows it: no look-around, no back-references
    ");
    insta::assert_snapshot!(refused_with_rest("topics:\n  /orders: {}\n"), @"
     × the regular expression `/orders` has no `/` at its end
      ╭─[rowfall.yaml:2:3]
    1 │ topics:
    2 │   /orders: {}
      ·   ───┬───
      ·      ╰── here
    3 │ name: shop
      ╰────
     help: write /orders-(.*)/
    ");
    insta::assert_snapshot!(refused_with_rest("topics:\n  orders, my topic: {}\n"), @"
     × `my topic` cannot be the name of a topic
      ╭─[rowfall.yaml:2:3]
    1 │ topics:
    2 │   orders, my topic: {}
      ·   ────────┬───────
      ·           ╰── here
    3 │ name: shop
      ╰────
     help: 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`; several names with commas
           between; a regular expression stands between slashes: /orders-(.*)/
    ");
    insta::assert_snapshot!(refused_with_rest("topics:\n  /ord.*/: {}\n  orders, returns: {}\n  returns:\n"), @"
      × the configuration has 2 problems

    Error:
      × `orders` is taken by the key `/ord.*/` already
       ╭─[rowfall.yaml:3:3]
     2 │   /ord.*/: {}
     3 │   orders, returns: {}
       ·   ───────┬───────
       ·          ╰── here
     4 │   returns:
       ╰────
      help: the first key that matches a topic holds: take it out of one, or put this one first

    Error:
      × `returns` is taken by the key `orders, returns` already
       ╭─[rowfall.yaml:4:3]
     3 │   orders, returns: {}
     4 │   returns:
       ·   ───┬───
       ·      ╰── here
     5 │ name: shop
       ╰────
      help: the first key that matches a topic holds: take it out of one, or put this one first
    ");
    insta::assert_snapshot!(refused_with_rest("topics:\n  /orders-(.*)/:\n    table: o_${2}\n  returns: { table: 'r_${1}' }\n"), @"
      × the configuration has 2 problems

    Error:
      × `${2}` stands for nothing: the regular expression has one group
       ╭─[rowfall.yaml:3:14]
     2 │   /orders-(.*)/:
     3 │     table: o_${2}
       ·              ──┬─
       ·                ╰── here
     4 │   returns: { table: 'r_${1}' }
       ╰────
      help: `${topic}` is the topic's name, `${1}` the first group of the key's regular expression,
            `${header:x}` and `${field:x}` are a record's

    Error:
      × `${1}` stands for nothing: the key is no regular expression
       ╭─[rowfall.yaml:4:24]
     3 │     table: o_${2}
     4 │   returns: { table: 'r_${1}' }
       ·                        ──┬─
       ·                          ╰── here
     5 │ name: shop
       ╰────
      help: `${topic}` is the topic's name, `${1}` the first group of the key's regular expression,
            `${header:x}` and `${field:x}` are a record's
    ");
}

#[test]
fn what_records_say() {
    let topics = "topics:\n  a: { table: 'x_${field:a..b}', max_tables: 0 }\n  b: { mode: upsert, primary_key: ['header:x', id] }\n  c: { mode: upsert, primary_key: 'header:' }\n";
    insta::assert_snapshot!(refused_with_rest(topics), @"
      × the configuration has 4 problems

    Error:
      × `${field:a..b}` names nothing
       ╭─[rowfall.yaml:2:18]
     1 │ topics:
     2 │   a: { table: 'x_${field:a..b}', max_tables: 0 }
       ·                  ──────┬──────
       ·                        ╰── here
     3 │   b: { mode: upsert, primary_key: ['header:x', id] }
       ╰────
      help: `${topic}` is the topic's name, `${1}` the first group of the key's regular expression,
            `${header:x}` and `${field:x}` are a record's

    Error:
      × `topics.a.max_tables` must be at least 1
       ╭─[rowfall.yaml:2:46]
     1 │ topics:
     2 │   a: { table: 'x_${field:a..b}', max_tables: 0 }
       ·                                              ┬
       ·                                              ╰── here
     3 │   b: { mode: upsert, primary_key: ['header:x', id] }
       ╰────

    Error:
      × `topics.b.primary_key` names no key
       ╭─[rowfall.yaml:3:35]
     2 │   a: { table: 'x_${field:a..b}', max_tables: 0 }
     3 │   b: { mode: upsert, primary_key: ['header:x', id] }
       ·                                   ┬
       ·                                   ╰── here
     4 │   c: { mode: upsert, primary_key: 'header:' }
       ╰────
      help: write columns, each once: `[customer, id]`; or `record-key`, or `record-key:id`; or
            `header:id`; or `coordinates`

    Error:
      × `topics.c.primary_key` names no key
       ╭─[rowfall.yaml:4:35]
     3 │   b: { mode: upsert, primary_key: ['header:x', id] }
     4 │   c: { mode: upsert, primary_key: 'header:' }
       ·                                   ────┬────
       ·                                       ╰── here
     5 │ name: shop
       ╰────
      help: write columns, each once: `[customer, id]`; or `record-key`, or `record-key:id`; or
            `header:id`; or `coordinates`
    ");
}

#[test]
fn starts_and_members() {
    insta::assert_snapshot!(refused_with_rest("kafka: { brokers: a, start_from: 2026-13-01 }\n"), @"
     × `kafka.start_from` takes `earliest`, `latest`, a time such as `2026-11-24T00:00:00Z` or `2026-
     │ 11-24`, or an offset such as `1000`
      ╭─[rowfall.yaml:1:34]
    1 │ kafka: { brokers: a, start_from: 2026-13-01 }
      ·                                  ─────┬────
      ·                                       ╰── here
    2 │ name: shop
      ╰────
    ");
    insta::assert_snapshot!(refused_with_rest("kafka: { brokers: a, start_from: -5 }\n"), @"
     × `kafka.start_from` takes `earliest`, `latest`, a time such as `2026-11-24T00:00:00Z` or `2026-
     │ 11-24`, or an offset such as `1000`
      ╭─[rowfall.yaml:1:34]
    1 │ kafka: { brokers: a, start_from: -5 }
      ·                                  ─┬
      ·                                   ╰── here
    2 │ name: shop
      ╰────
    ");
    insta::assert_snapshot!(refused_with_rest("kafka:\n  brokers: a\n  instance: one\n  rack: ''\n  properties: { group.instance.id: two, client.rack: r }\n"), @"
      × the configuration has 3 problems

    Error:
      × `kafka.properties.group.instance.id` and `kafka.instance` are the same setting
       ╭─[rowfall.yaml:5:17]
     4 │   rack: ''
     5 │   properties: { group.instance.id: two, client.rack: r }
       ·                 ────────┬────────
       ·                         ╰── here
     6 │ name: shop
       ╰────
      help: leave `kafka.instance` and take this away

    Error:
      × `kafka.rack` is empty
       ╭─[rowfall.yaml:4:9]
     3 │   instance: one
     4 │   rack: ''
       ·         ─┬
       ·          ╰── here
     5 │   properties: { group.instance.id: two, client.rack: r }
       ╰────

    Error:
      × `kafka.properties.client.rack` and `kafka.rack` are the same setting
       ╭─[rowfall.yaml:5:41]
     4 │   rack: ''
     5 │   properties: { group.instance.id: two, client.rack: r }
       ·                                         ─────┬─────
       ·                                              ╰── here
     6 │ name: shop
       ╰────
      help: leave `kafka.rack` and take this away
    ");
}

#[test]
fn nested_fields_and_units() {
    let orders = |yaml: &str| refused_with_rest(&format!("topics:\n  orders:\n{yaml}"));
    insta::assert_snapshot!(orders("    nested: tree\n    flatten: { separator: '', depth: 1 }\n"), @r"
     × `topics.orders.nested` cannot be `tree`
      ╭─[rowfall.yaml:3:13]
    2 │   orders:
    3 │     nested: tree
      ·             ──┬─
      ·               ╰── here
    4 │     flatten: { separator: '', depth: 1 }
      ╰────
     help: it takes `native`, `json` or `flatten`
    ");
    insta::assert_snapshot!(orders("    flatten: { separator: '', depth: 1 }\n"), @r"
      × the configuration has 2 problems

    Error:
      × `topics.orders.flatten.separator` is empty
       ╭─[rowfall.yaml:3:27]
     2 │   orders:
     3 │     flatten: { separator: '', depth: 1 }
       ·                           ─┬
       ·                            ╰── here
     4 │ name: shop
       ╰────
      help: without one a column's name would not say which field it is: write `_`

    Error:
      × `topics.orders.flatten.depth` must be from 2 to 64
       ╭─[rowfall.yaml:3:38]
     2 │   orders:
     3 │     flatten: { separator: '', depth: 1 }
       ·                                      ┬
       ·                                      ╰── here
     4 │ name: shop
       ╰────
      help: it counts the names in a column's name: `a_b_c` has 3
    ");
    insta::assert_snapshot!(orders("    columns: { at: { unit: minutes }, a: { nested: flaten } }\n"), @r"
      × the configuration has 2 problems

    Error:
      × `topics.orders.columns.at.unit` cannot be `minutes`
       ╭─[rowfall.yaml:3:28]
     2 │   orders:
     3 │     columns: { at: { unit: minutes }, a: { nested: flaten } }
       ·                            ───┬───
       ·                               ╰── here
     4 │ name: shop
       ╰────
      help: it takes `s`, `ms`, `us`, `ns` or `days`

    Error:
      × `topics.orders.columns.a.nested` cannot be `flaten`; did you mean `flatten`?
       ╭─[rowfall.yaml:3:52]
     2 │   orders:
     3 │     columns: { at: { unit: minutes }, a: { nested: flaten } }
       ·                                                    ───┬──
       ·                                                       ╰── here
     4 │ name: shop
       ╰────
      help: it takes `native`, `json` or `flatten`
    ");
    let yaml = "    nested: flatten\n    flatten: { separator: __, depth: 3 }\n    columns: { a: { nested: json }, at: { unit: ms } }\n";
    let rest = REST.replace("topics: { orders: {} }\n", "");
    let settings = loaded(&format!("{rest}topics:\n  orders:\n{yaml}"));
    let route = settings.routes.of("orders").expect("a route");
    assert_eq!(route.nested, Nested::Flatten);
    assert_eq!(route.flatten, Flatten { separator: "__".to_owned(), depth: 3 });
    assert_eq!((route.columns[0].nested, route.columns[1].unit), (Some(Nested::Json), Some(Unit::Milliseconds)));
}
