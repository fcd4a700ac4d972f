//! Records that do not fit and records that do: a bad one stops its partition and nothing else, a good one arrives as
//! it was written, to the last digit.

use insta::assert_snapshot;
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::Services;

use crate::support::{self, ConfigFile, Output, Rowfall};
use crate::workload;

const COLUMNS: &str = "id UInt64, name String, small Int8, at DateTime64(3, 'UTC'), note Nullable(String)";

/// Stands in for whatever may not be told of a record.
const SECRET: &str = "471147114711";

fn record(id: i64) -> String {
    format!(r#"{{"id":{id},"name":"n","small":1,"at":"2024-02-29T12:00:00Z"}}"#)
}

/// `run --until-end`, which may not tell what is in the records.
fn run(config: &ConfigFile) -> Output {
    let output = Rowfall::with_config("run", config, &["--until-end", "--output", "json"]).output();
    for said in [&output.stdout, &output.stderr] {
        assert!(!said.contains(SECRET), "a value is shown: {said}");
    }
    output
}

/// Fails unless the run was stopped; why, sorted, with the topic's and the table's name as NAME.
fn stopped(output: &Output, name: &str) -> String {
    assert_eq!(output.code(), 1, "{output:#?}");
    let mut reasons: Vec<_> = output.stderr.split("rowfall: stopped: ").skip(1).collect();
    reasons.sort_unstable();
    reasons.concat().replace(name, "NAME")
}

fn topic(services: &Services, partitions: i32, columns: &str) -> String {
    let name = support::unique("records");
    support::create_topic(&services.kafka, &name, partitions, &[]);
    support::query(&services.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
    name
}

fn ids(services: &Services, name: &str) -> String {
    support::query(&services.clickhouse, &format!("SELECT arraySort(groupArray(id)) FROM {name}"))
}

#[test]
fn a_bad_record_stops_its_partition_and_no_other() {
    let services = support::services();
    let name = topic(&services, 3, COLUMNS);
    let good = |ids: std::ops::Range<i64>| ids.map(record).collect::<Vec<_>>();
    let bad = vec![format!(r#"{{"id":12,"name":"n","small":"{SECRET}","at":"2024-02-29T12:00:00Z"}}"#)];
    for (partition, values) in [(0, good(0..3)), (1, [good(10..12), bad, good(13..15)].concat()), (2, good(20..23))] {
        support::produce(&services.kafka, &name, partition, &values.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let config = support::topic_with(&services, &name, "{}");
    // The second run meets the record again, and doubles nothing.
    let [first, second] = [(); 2].map(|()| {
        let said = stopped(&run(&config), &name);
        assert_eq!(ids(&services, &name), "[0,1,2,10,11,20,21,22]", "all but what stands behind the bad record");
        let committed = support::committed_and_end(&services.kafka, &name, &name, 3);
        assert_eq!(committed, [(Some(3), 3), (Some(2), 5), (Some(3), 3)]);
        said
    });
    assert_eq!(first, second);
    assert_snapshot!(first, @"
    NAME[1] offset 2: table default.NAME, column `small` Int8: takes int8, the value is out of its range
      → alter the column, or mend the producer
    ");

    support::query(&services.clickhouse, &format!("ALTER TABLE {name} MODIFY COLUMN small Int64"));
    assert_eq!(run(&config).rows(), 3, "the altered column takes it");
    assert_eq!(ids(&services, &name), "[0,1,2,10,11,12,13,14,20,21,22]");
}

/// A partition for each way in which a record can be bad; each stops at its second record.
#[test]
fn each_kind_of_bad_record_is_told() {
    let services = support::services();
    let bad = [
        Some(format!("{SECRET} is not JSON")),
        Some(format!(r#"["{SECRET}"]"#)),
        Some(format!(r#"{{"id":"{SECRET}x","name":"n","small":1,"at":"2024-02-29T12:00:00Z"}}"#)),
        Some(format!(r#"{{"id":1,"name":"n","small":{SECRET},"at":"2024-02-29T12:00:00Z"}}"#)),
        Some(format!(r#"{{"id":1,"name":"n","small":true,"at":{{"is":"{SECRET}"}}}}"#)),
        Some(format!(r#"{{"id":1,"name":"n","small":1,"at":"2024-02-29T12:00:00.{SECRET}Z"}}"#)),
        Some(format!(r#"{{"id":1,"name":"{SECRET}","small":1}}"#)),
        Some(format!(r#"{{"id":1,"name":null,"small":1,"at":"2024-02-29T12:00:00Z","note":"{SECRET}"}}"#)),
        Some(format!(r#"{{"id":1,"name":"n","small":1,"at":"2024-02-29T12:00:00Z","more":"{SECRET}"}}"#)),
        Some(format!(r#"{{"id":1,"name":"n","small":1,"at":"2024-02-29T12:00:00Z","id":{SECRET}}}"#)),
        None,
    ];
    let partitions = i32::try_from(bad.len()).expect("few");
    let name = topic(&services, partitions, COLUMNS);
    let producer = workload::producer(&services.kafka.brokers);
    for (partition, value) in (0..).zip(&bad) {
        let good = record(partition.into());
        for value in [Some(&good), value.as_ref(), Some(&good)] {
            let mut record = BaseRecord::<(), str>::to(&name).partition(partition);
            record.payload = value.map(String::as_str);
            workload::send(&producer, record);
        }
    }
    producer.flush(std::time::Duration::from_secs(60)).expect("all are acknowledged");

    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(stopped(&run(&config), &name), @"
    NAME[0] offset 1: table default.NAME, the value is a number, not an object
      → each record must be an object with a field per column
    NAME[10] offset 1: table default.NAME, the record has no value: a tombstone says delete, and `mode: insert` cannot
      → set `mode: upsert` and `deletes: true`, or keep tombstones out of the topic (cleanup.policy=delete)
    NAME[1] offset 1: table default.NAME, the value is an array, not an object
      → each record must be an object with a field per column
    NAME[2] offset 1: table default.NAME, column `id` UInt64: takes uint64, the text is not a number
      → alter the column, or mend the producer
    NAME[3] offset 1: table default.NAME, column `small` Int8: takes int8, the value is out of its range
      → alter the column, or mend the producer
    NAME[4] offset 1: table default.NAME, column `at` DateTime64(3, 'UTC'): takes timestamp(3), the record has an object
      → alter the column, or mend the producer
    NAME[5] offset 1: table default.NAME, column `at` DateTime64(3, 'UTC'): takes timestamp(3), the value has more digits behind the point
      → alter the column, or mend the producer
    NAME[6] offset 1: table default.NAME, column `at` DateTime64(3, 'UTC'): the record lacks the field, and the column is neither nullable nor has it a DEFAULT
      → alter the column, set `null: default` for the topic, or `columns.at.drop: true`
    NAME[7] offset 1: table default.NAME, column `name` String: is not nullable, the record has null
      → alter the column, or mend the producer
    NAME[8] offset 1: table default.NAME, field `more`: the table has no column for it
      → add the column, set `evolve: add` to have it added, or `unknown_fields: ignore`
    NAME[9] offset 1: table default.NAME, column `id` UInt64: the record has the field twice
      → mend the producer: which of the two counts cannot be told
    ");
    let each_first = format!("[{}]", (0..partitions).map(|id| id.to_string()).collect::<Vec<_>>().join(","));
    assert_eq!(ids(&services, &name), each_first);
    let committed = support::committed_and_end(&services.kafka, &name, &name, partitions);
    assert_eq!(committed, vec![(Some(1), 3); bad.len()]);
}

#[test]
fn fields_without_a_column_are_left_out_on_request() {
    let services = support::services();
    let name = topic(&services, 1, COLUMNS);
    let more = r#"{"id":1,"more":{"a":[1,"}"]},"name":"n","small":1,"at":"2024-02-29T12:00:00Z","id2":2}"#;
    support::produce(&services.kafka, &name, 0, &[&record(0), more, &record(2)]);
    let config = support::topic_with(&services, &name, "{}");
    assert_snapshot!(stopped(&run(&config), &name), @"
    NAME[0] offset 1: table default.NAME, field `more`: the table has no column for it
      → add the column, set `evolve: add` to have it added, or `unknown_fields: ignore`
    ");
    let config = support::topic_with(&services, &name, "{ unknown_fields: ignore }");
    assert_eq!(run(&config).rows(), 2);
    assert_eq!(ids(&services, &name), "[0,1,2]");
}

/// The server takes a batch whole or not at all, so that all partitions with records in it stop.
#[test]
fn a_batch_that_the_server_refuses_stops_its_partitions() {
    let services = support::services();
    let name = topic(&services, 2, "id UInt64, amount Int64, CONSTRAINT positive CHECK amount > 0");
    support::produce(&services.kafka, &name, 0, &[r#"{"id":0,"amount":1}"#, r#"{"id":1,"amount":1}"#]);
    let bad = format!(r#"{{"id":11,"amount":-{SECRET}}}"#);
    support::produce(&services.kafka, &name, 1, &[r#"{"id":10,"amount":1}"#, &bad, r#"{"id":12,"amount":1}"#]);
    let config = support::config_file(&format!(
        "name: {name}
kafka: {{ brokers: '{}' }}
target: {{ url: '{}' }}
workers: 1
topics: {{ {name}: {{}} }}
",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    let [first, second] = [(); 2].map(|()| {
        // Which partition's records come first is left to chance.
        let said = stopped(&run(&config), &name).replace("at row 4", "at row 2");
        assert_eq!(ids(&services, &name), "[]");
        assert_eq!(support::committed_and_end(&services.kafka, &name, &name, 2), [(Some(0), 2), (Some(0), 3)]);
        said
    });
    // The second run finds what the first one had begun.
    let begun = "topic NAME, writing again what was claimed (partition 0 from 0 to 2, partition 1 from 0 to 3): ";
    let reason = first.lines().next().and_then(|line| line.split_once("to 2: ")).expect("a reason").1;
    assert_eq!(second.lines().next(), Some(format!("{begun}{reason}").as_str()));
    // The table's UUID stands in parentheses.
    let uuid = first.find('(').map_or("", |at| &first[at..=at + 37]);
    assert_snapshot!(first.replace(uuid, "(UUID)"), @"
    NAME[0] offsets 0 to 2: table default.NAME, batch of 5 rows: code 469: cannot write to default.NAME: Constraint `positive` for table default.NAME (UUID) is violated at row 2. Expression: (amount > 0) (VIOLATED_CONSTRAINT)
      → alter the table, or mend the producer
    NAME[1] offsets 0 to 3: table default.NAME, batch of 5 rows: code 469: cannot write to default.NAME: Constraint `positive` for table default.NAME (UUID) is violated at row 2. Expression: (amount > 0) (VIOLATED_CONSTRAINT)
      → alter the table, or mend the producer
    ");

    support::query(&services.clickhouse, &format!("ALTER TABLE {name} DROP CONSTRAINT positive"));
    assert_eq!(run(&config).rows(), 5);
    assert_eq!(ids(&services, &name), "[0,1,10,11,12]");
}

#[test]
fn values_arrive_to_the_last_digit() {
    let services = support::services();
    let columns = "id UInt64, i64 Int64, u64 UInt64, whole Decimal(76, 0), part Decimal(76, 38), f64 Float64, \
         text String, bytes String MATERIALIZED hex(text), tag LowCardinality(Nullable(String)), ok Bool, \
         key UUID, day Date32, utc DateTime64(6, 'UTC'), berlin DateTime64(3, 'Europe/Berlin'), \
         number Int32 DEFAULT 7, word String DEFAULT concat('id ', toString(id)), twice UInt64 ALIAS id * 2";
    let name = topic(&services, 1, columns);
    let nines = "9".repeat(76);
    let part = format!("{}.{}", "9".repeat(38), "9".repeat(38));
    let records = [
        // Numbers as numbers, times with offsets, whatever a text may hold.
        format!(
            r#"{{"id":1,"i64":-9223372036854775808,"u64":18446744073709551615,"whole":{nines},"part":-{part},
                "f64":0.1,"text":"é 🦀 a\u0000b\n\ud83e\udd80","tag":"a","ok":true,
                "key":"550E8400-e29b-41d4-a716-446655440000","day":"1900-01-01",
                "utc":"2024-02-29T23:59:59.999999-05:30","berlin":"2024-07-01T12:00:00.5+02:00",
                "number":-2147483648,"word":""}}"#
        ),
        // The same kinds as strings, which JavaScript's producers prefer; wall time in the column's zone; nulls.
        format!(
            r#"{{"id":"2","i64":"9223372036854775807","u64":"9007199254740993","whole":"-{nines}","part":"{part}",
                "f64":"-5e-324","text":"","tag":null,"ok":false,
                "key":"550e8400e29b41d4a716446655440000","day":"2299-12-31",
                "utc":"1969-12-31 23:59:59.000001","berlin":"2024-07-01 12:00:00.5","number":"1"}}"#
        ),
        // What the record lacks is left to the database; zeros and exponents say nothing new.
        r#"{"id":3,"i64":1e3,"u64":9007199254740993.000,"whole":1.5e75,"part":1e-38,"f64":1e308,"text":"{}","ok":1,
            "key":"00000000-0000-0000-0000-000000000000","day":"1970-01-01","utc":"2299-12-31T23:59:59.999999Z",
            "berlin":"1900-01-01T00:00:00Z"}"#
            .to_owned(),
    ];
    support::produce(&services.kafka, &name, 0, &records.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run(&support::topic_with(&services, &name, "{}")).rows(), 3);
    let rows = format!("SELECT * REPLACE ('' AS text), bytes, twice FROM {name} ORDER BY id FORMAT Vertical");
    let rows = support::query(&services.clickhouse, &rows);
    assert_snapshot!(rows.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), @"
    Row 1:
    ──────
    id:     1
    i64:    -9223372036854775808
    u64:    18446744073709551615
    whole:  9999999999999999999999999999999999999999999999999999999999999999999999999999 -- 10000000000000.00 vigintillion
    part:   -99999999999999999999999999999999999999.99999999999999999999999999999999999999 -- -100.00 undecillion
    f64:    0.1
    text:
    tag:    a
    ok:     true
    key:    550e8400-e29b-41d4-a716-446655440000
    day:    1900-01-01
    utc:    2024-03-01 05:29:59.999999
    berlin: 2024-07-01 12:00:00.500
    number: -2147483648 -- -2.15 billion
    word:
    bytes:  C3A920F09FA680206100620AF09FA680
    twice:  2

    Row 2:
    ──────
    id:     2
    i64:    9223372036854775807
    u64:    9007199254740993 -- 9.01 quadrillion
    whole:  -9999999999999999999999999999999999999999999999999999999999999999999999999999 -- -10000000000000.00 vigintillion
    part:   99999999999999999999999999999999999999.99999999999999999999999999999999999999 -- 100.00 undecillion
    f64:    -5e-324
    text:
    tag:    ᴺᵁᴸᴸ
    ok:     false
    key:    550e8400-e29b-41d4-a716-446655440000
    day:    2299-12-31
    utc:    1969-12-31 23:59:59.000001
    berlin: 2024-07-01 12:00:00.500
    number: 1
    word:   id 2
    bytes:
    twice:  4

    Row 3:
    ──────
    id:     3
    i64:    1000
    u64:    9007199254740993 -- 9.01 quadrillion
    whole:  1500000000000000000000000000000000000000000000000000000000000000000000000000 -- 1500000000000.00 vigintillion
    part:   0.00000000000000000000000000000000000001
    f64:    1e308 -- 9.999999999999997e244 vigintillion
    text:
    tag:    ᴺᵁᴸᴸ
    ok:     true
    key:    00000000-0000-0000-0000-000000000000
    day:    1970-01-01
    utc:    2299-12-31 23:59:59.999999
    berlin: 1900-01-01 01:00:00.000
    number: 7
    word:   id 3
    bytes:  7B7D
    twice:  6
    ");
}

#[test]
fn objects_are_flattened_and_numbers_count_what_their_unit_says() {
    let services = support::services();
    let name = support::unique("records");
    support::create_topic(&services.kafka, &name, 1, &[]);
    let records = [
        r#"{"id":1,"customer":{"name":"a","address":{"city":"x","geo":{"lat":1.5}}},"tags":["t"],"raw":{"b":1}}"#,
        r#"{"id":2,"customer":{"name":"b","address":null},"raw":{"b":2}}"#,
        r#"{"id":3,"customer":null,"at":1700000000.25}"#,
    ];
    support::produce(&services.kafka, &name, 0, &records);
    let settings = "{ nested: flatten, flatten: { depth: 3 }, columns: { raw: { nested: json }, town: { from: customer.address.city } } }";
    assert_eq!(run(&support::topic_with(&services, &name, settings)).rows(), 3);
    let rows = format!("SELECT * FROM {name} ORDER BY id FORMAT JSONEachRow");
    assert_snapshot!(support::query(&services.clickhouse, &rows), @r#"
    {"id":1,"customer_name":"a","town":"x","customer_address_geo":"{\"lat\":1.5}","tags":"[\"t\"]","raw":"{\"b\":1}","at":null}
    {"id":2,"customer_name":"b","town":null,"customer_address_geo":null,"tags":null,"raw":"{\"b\":2}","at":null}
    {"id":3,"customer_name":null,"town":null,"customer_address_geo":null,"tags":null,"raw":null,"at":1700000000.25}
    "#);

    // The same records into a table that is there.
    support::query(&services.clickhouse, &format!("DROP TABLE {name}"));
    support::query(
        &services.clickhouse,
        &format!(
            "CREATE TABLE {name} (id UInt64, customer_name Nullable(String), customer_address JSON, \
             at Nullable(DateTime64(3, 'UTC')), rest String) ENGINE = MergeTree ORDER BY id"
        ),
    );
    let again = support::config_file(&format!(
        "name: {name}_2\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\ntopics: {{ {name}: {{ nested: flatten, \
         unknown_fields: rest, \"null\": default, columns: {{ at: {{ unit: s }} }} }} }}\n",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    assert_eq!(run(&again).rows(), 3);
    assert_snapshot!(support::query(&services.clickhouse, &rows), @r#"
    {"id":1,"customer_name":"a","customer_address":{"city":"x","geo":{"lat":1.5}},"at":null,"rest":"{\"tags\":[\"t\"],\"raw\":{\"b\":1}}"}
    {"id":2,"customer_name":"b","customer_address":{},"at":null,"rest":"{\"raw\":{\"b\":2}}"}
    {"id":3,"customer_name":null,"customer_address":{},"at":"2023-11-14 22:13:20.250","rest":"{}"}
    "#);
}
