//! Avro records with the schemas of a real registry: tables made from schemas, changed with them, filled by key; and
//! registries that are down, slow, or say what no registry says.

use std::time::Duration;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use insta::assert_snapshot;
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::{MySql, Product, SchemaRegistry, Services};
use serde_json::json;

use crate::databases::lines;
use crate::front::Front;
use crate::support::{self, ConfigFile, Rowfall};
use crate::workload;

/// A topic, and a registry for its schemas.
struct Case {
    services: Services,
    registry: SchemaRegistry,
    name: String,
}

/// A schema in the registry.
struct Registered {
    id: u32,
    schema: Schema,
}

impl Case {
    fn new(name: &str) -> Self {
        let services = support::services();
        let registry = SchemaRegistry::running().unwrap_or_else(|error| panic!("{error}"));
        let name = support::unique(name);
        support::create_topic(&services.kafka, &name, 1, &[]);
        Self { services, registry, name }
    }

    /// Registers a schema as the next version of a subject of this topic's.
    fn register(&self, subject: &str, schema: &serde_json::Value) -> Registered {
        let text = schema.to_string();
        let body = json!({ "schema": text }).to_string();
        let answer = self.registry.register(&format!("{}-{subject}", self.name), &body);
        let answer: serde_json::Value = serde_json::from_str(&answer.unwrap_or_else(|e| panic!("{e}"))).expect("JSON");
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id");
        Registered { id, schema: Schema::parse_str(&text).expect("a schema") }
    }

    /// Produces a record.
    fn produce(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let producer = workload::producer(&self.services.kafka.brokers);
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.name).partition(0);
        record.key = key;
        record.payload = value;
        producer.send(record).map_err(|(error, _)| error).expect("there is room");
        producer.flush(Duration::from_secs(60)).expect("acknowledged");
    }

    fn config(&self, target: &str, registry: &str, topic: &str) -> ConfigFile {
        support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\nregistry: {registry}\ntarget: {{ url: '{target}' }}\n\
             topics: {{ {name}: {topic} }}\n",
            self.services.kafka.brokers,
            name = self.name,
        ))
    }

    fn clickhouse_config(&self, topic: &str) -> ConfigFile {
        let registry = format!("{{ url: '{}' }}", self.registry.url);
        self.config(&support::target(&self.services.clickhouse), &registry, topic)
    }

    fn rows(&self, columns: &str) -> String {
        let sql = format!("SELECT {columns} FROM {} ORDER BY 1 FORMAT TSVRaw SETTINGS final = 1", self.name);
        support::query(&self.services.clickhouse, &sql)
    }

    /// What is said, with whatever differs from run to run replaced.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.name, "NAME").replace(&self.services.kafka.brokers, "KAFKA")
    }
}

impl Registered {
    fn bytes(&self, value: impl Into<Value>) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(&self.schema).build().expect("a writer");
        let value = writer.write_value_to_vec(value.into()).expect("it fits");
        [&[0][..], &self.id.to_be_bytes(), &value].concat()
    }

    fn record(&self, fields: &[(&str, Value)]) -> Vec<u8> {
        self.bytes(Value::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    }
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn null() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

/// What a shop might have, of each kind of type.
fn order() -> serde_json::Value {
    json!({ "type": "record", "name": "Order", "namespace": "shop", "fields": [
        { "name": "id", "type": "int" },
        { "name": "customer", "type": ["null", "string"], "default": null },
        { "name": "price", "type": { "type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2 } },
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } },
        { "name": "day", "type": ["null", { "type": "int", "logicalType": "date" }] },
        { "name": "state", "type": { "type": "enum", "name": "State", "symbols": ["NEW", "PAID"] } },
        { "name": "ref", "type": { "type": "string", "logicalType": "uuid" } },
        { "name": "raw", "type": "bytes" },
        { "name": "tags", "type": { "type": "array", "items": "string" } },
        { "name": "counts", "type": { "type": "map", "values": "long" } },
        { "name": "address", "type": { "type": "record", "name": "Address", "fields": [
            { "name": "city", "type": "string" }, { "name": "zip", "type": ["null", "int"] }] } },
    ]})
}

fn fields(id: i32) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    vec![
        ("id", Value::Int(id)),
        ("customer", some(text("Zoë \"☃\""))),
        ("price", Value::Decimal(Decimal::from((-12_345_i64 * i64::from(id)).to_be_bytes()))),
        ("at", Value::TimestampMicros(1_709_210_096_789_012)),
        ("day", some(Value::Date(19_782))),
        ("state", Value::Enum(1, "PAID".to_owned())),
        ("ref", Value::Uuid(apache_avro::Uuid::from_u128(7))),
        ("raw", Value::Bytes(vec![0, 255, 10])),
        ("tags", Value::Array(vec![text("a"), text("")])),
        ("counts", Value::Map([("x".to_owned(), Value::Long(i64::MAX))].into())),
        ("address", Value::Record(vec![("city".to_owned(), text("Köln")), ("zip".to_owned(), null())])),
    ]
}

#[test]
fn a_schema_becomes_a_table_and_changes_with_it() {
    let case = Case::new("avro");
    let first = case.register("value", &order());
    case.produce(None, Some(&first.record(&fields(1))));
    let config = case.clickhouse_config("{ value: avro, evolve: widen }");
    let plan = Rowfall::with_config("plan", &config, &[]).output();
    assert_eq!(plan.code(), 3, "{plan:#?}");
    assert_snapshot!(case.plain(plan.stdout.trim()), @"
    topic NAME (1 partition) → table NAME: to be created
      columns inferred from 1 record

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` Int32,
            `customer` Nullable(String),
            `price` Decimal(10, 2),
            `at` DateTime64(6, 'UTC'),
            `day` Nullable(Date32),
            `state` String,
            `ref` UUID,
            `raw` String,
            `tags` Array(String),
            `counts` Map(String, Int64),
            `address` Tuple(`city` String, `zip` Nullable(Int32))
        )
        ENGINE = MergeTree
        ORDER BY tuple()
        SETTINGS non_replicated_deduplication_window = 25000;

      id        →  id Int32                                             exact  must be in the record
      customer  →  customer Nullable(String)                            exact  null where the record lacks it
      price     →  price Decimal(10, 2)                                 exact  must be in the record
      at        →  at DateTime64(6, 'UTC')                              exact  must be in the record
      day       →  day Nullable(Date32)                                 exact  null where the record lacks it
      state     →  state String                                         exact  must be in the record
      ref       →  ref UUID                                             exact  must be in the record
      raw       →  raw String                                           exact  must be in the record
      tags      →  tags Array(String)                                   exact  must be in the record
      counts    →  counts Map(String, Int64)                            exact  must be in the record
      address   →  address Tuple(`city` String, `zip` Nullable(Int32))  exact  must be in the record
      tried with 1 record: all fit
    ");
    let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(run().rows(), 1);

    // A later version of the schema: a column more, one that is wider. Both versions stand side by side in the topic.
    let mut later = order();
    later["fields"][0]["type"] = json!("long");
    later["fields"].as_array_mut().expect("an array").push(json!({ "name": "note", "type": "string" }));
    let second = case.register("value", &later);
    let mut more = fields(0);
    more[0].1 = Value::Long(5_000_000_000);
    more[1].1 = null();
    more.push(("note", Value::String("new".to_owned())));
    case.produce(None, Some(&second.record(&more)));
    case.produce(None, Some(&first.record(&fields(3))));
    assert_eq!(run().rows(), 2);
    assert_snapshot!(case.rows("id, customer, price, at, day, state, ref, hex(raw), tags, counts, address, note"), @r#"
    1	Zoë "☃"	-123.45	2024-02-29 12:34:56.789012	2024-02-29	PAID	00000000-0000-0000-0000-000000000007	00FF0A	['a','']	{'x':9223372036854775807}	('Köln',NULL)	\N
    3	Zoë "☃"	-370.35	2024-02-29 12:34:56.789012	2024-02-29	PAID	00000000-0000-0000-0000-000000000007	00FF0A	['a','']	{'x':9223372036854775807}	('Köln',NULL)	\N
    5000000000	\N	0	2024-02-29 12:34:56.789012	2024-02-29	PAID	00000000-0000-0000-0000-000000000007	00FF0A	['a','']	{'x':9223372036854775807}	('Köln',NULL)	new
    "#);
}

#[test]
fn a_schema_becomes_a_table_in_every_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = Case::new("avro_all");
    let schema = case.register("value", &order());
    case.produce(None, Some(&schema.record(&fields(1))));
    let registry = format!("{{ url: '{}' }}", case.registry.url);
    let table = &case.name;
    let file = format!("sqlite://{}", folder.path().join("shop.db").display());
    let [mariadb, mysql] = [Product::MariaDb, Product::MySql].map(|product| {
        let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
        lines::<sqlx::MySqlConnection>(&server.url(""), "CREATE DATABASE IF NOT EXISTS rowfall_test_avro");
        server.url("rowfall_test_avro")
    });
    let postgres = case.services.postgres.url();
    let columns = |text: &str, hex: &str| {
        ["id", "customer", "price", "at", "day", "state", "ref", hex, "tags", "counts", "address"]
            .map(|column| text.replace("COLUMN", column))
            .join(", ")
    };
    let mut told = String::new();
    for (name, url) in [("postgres", &postgres), ("mysql", &mysql), ("mariadb", &mariadb), ("sqlite", &file)] {
        let config = case.config(url, &registry, "{ value: avro }");
        let plan = Rowfall::with_config("plan", &config, &[]).output();
        assert_eq!(plan.code(), 3, "{plan:#?}");
        let types = plan.stdout.lines().skip_while(|line| !line.contains("CREATE")).skip(1);
        let types: Vec<_> = types.take_while(|line| !line.contains(')') || line.contains('(')).map(str::trim).collect();
        // A group of its own: what another has read is not read again.
        let group = format!("name={table}_{name}");
        let flags = ["--until-end", "--output", "json", "--set", &group];
        let run = Rowfall::with_config("run", &config, &flags).output();
        assert_eq!(run.rows(), 1, "{run:#?}");
        let row = match name {
            "postgres" => lines::<sqlx::PgConnection>(
                url,
                &format!("SELECT concat_ws('|', {}) FROM {table}", columns("COLUMN", "encode(raw, 'hex')")),
            ),
            "sqlite" => lines::<sqlx::SqliteConnection>(
                url,
                &format!("SELECT concat_ws('|', {}) FROM {table}", columns("COLUMN", "hex(raw)")),
            ),
            _ => lines::<sqlx::MySqlConnection>(
                url,
                &format!(
                    "SELECT concat_ws('|', {}) FROM {table}",
                    columns("CAST(COLUMN AS CHAR)", "hex(raw)")
                        .replace("AS CHAR)", "AS CHAR CHARACTER SET utf8mb4)")
                        .replace("(ref", "(`ref`")
                ),
            ),
        };
        told += &format!("{name}: {}\n  {}\n", types.join(" "), row.join("\n"));
    }
    assert_snapshot!(case.plain(&told), @r#"
    postgres: "id" integer NOT NULL, "customer" text, "price" numeric(10,2) NOT NULL, "at" timestamp(6) with time zone NOT NULL, "day" date, "state" text NOT NULL, "ref" uuid NOT NULL, "raw" bytea NOT NULL, "tags" text[] NOT NULL, "counts" jsonb NOT NULL, "address" jsonb NOT NULL
      1|Zoë "☃"|-123.45|2024-02-29 12:34:56.789012+00|2024-02-29|PAID|00000000-0000-0000-0000-000000000007|00ff0a|{a,""}|{"x": 9223372036854775807}|{"zip": null, "city": "Köln"}
    mysql: `id` int NOT NULL, `customer` longtext, `price` decimal(10,2) NOT NULL, `at` datetime(6) NOT NULL, `day` date, `state` longtext NOT NULL, `ref` char(36) NOT NULL, `raw` longblob NOT NULL, `tags` longtext NOT NULL, `counts` json NOT NULL, `address` json NOT NULL
      1|Zoë "☃"|-123.45|2024-02-29 12:34:56.789012|2024-02-29|PAID|00000000-0000-0000-0000-000000000007|00FF0A|["a",""]|{"x": 9223372036854775807}|{"zip": null, "city": "Köln"}
    mariadb: `id` int NOT NULL, `customer` longtext, `price` decimal(10,2) NOT NULL, `at` datetime(6) NOT NULL, `day` date, `state` longtext NOT NULL, `ref` uuid NOT NULL, `raw` longblob NOT NULL, `tags` longtext NOT NULL, `counts` json NOT NULL, `address` json NOT NULL
      1|Zoë "☃"|-123.45|2024-02-29 12:34:56.789012|2024-02-29|PAID|00000000-0000-0000-0000-000000000007|00FF0A|["a",""]|{"x":9223372036854775807}|{"city":"Köln","zip":null}
    sqlite: "id" INTEGER NOT NULL, "customer" TEXT, "price" DECIMAL(10,2) NOT NULL, "at" DATETIME(6) NOT NULL, "day" DATE, "state" TEXT NOT NULL, "ref" UUID NOT NULL, "raw" BLOB NOT NULL, "tags" TEXT NOT NULL, "counts" TEXT NOT NULL, "address" TEXT NOT NULL
      1|Zoë "☃"|-123.45|2024-02-29 12:34:56.789012|2024-02-29|PAID|00000000-0000-0000-0000-000000000007|00FF0A|["a",""]|{"x":9223372036854775807}|{"city":"Köln","zip":null}
    "#);
}

#[test]
fn a_file_has_the_schema_of_records_that_name_none() {
    let case = Case::new("avro_file");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("order.avsc");
    std::fs::write(&path, order().to_string()).expect("written");
    let schema = Registered { id: 0, schema: Schema::parse_str(&order().to_string()).expect("a schema") };
    case.produce(None, Some(&schema.record(&fields(1))[5..]));
    let topic = format!("{{ value: avro, value_schema: '{}' }}", path.display());
    let config = case.config(&support::target(&case.services.clickhouse), "{}", &topic);
    let run = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(run.code(), 0, "{run:#?}");
    assert_eq!(case.rows("id, price, state"), "1\t-123.45\tPAID");
}

#[test]
fn rows_are_changed_and_deleted_by_avro_keys() {
    let case = Case::new("avro_keys");
    let key = case.register("key", &json!("long"));
    let value = case.register(
        "value",
        &json!({ "type": "record", "name": "Item", "fields": [
        { "name": "name", "type": "string" }, { "name": "stock", "type": ["null", "int"] }] }),
    );
    let item = |name: &str, stock: Value| value.record(&[("name", Value::String(name.to_owned())), ("stock", stock)]);
    for (id, item) in [
        (1_i64, Some(item("one", some(Value::Int(1))))),
        (2, Some(item("two", null()))),
        (1, Some(item("uno", null()))),
        (3, Some(item("three", null()))),
        (2, None),
    ] {
        case.produce(Some(&key.bytes(Value::Long(id))), item.as_deref());
    }
    let topic = "{ value: avro, key: avro, mode: upsert, primary_key: 'record-key:id', deletes: true }";
    let run =
        Rowfall::with_config("run", &case.clickhouse_config(topic), &["--until-end", "--output", "json"]).output();
    assert_eq!(run.code(), 0, "{run:#?}");
    assert_eq!(case.rows("id, name, stock"), "1\tuno\t\\N\n3\tthree\t\\N");
}

#[test]
fn what_is_no_avro_says_so() {
    type Bad = fn(&Registered) -> Vec<u8>;
    let good = |schema: &Registered| schema.record(&[("a", Value::Int(1)), ("b", Value::TimestampMillis(1_000))]);
    let bad: [Bad; 5] = [
        |_| br#"{"a":1}"#.to_vec(),
        |schema| {
            Registered { id: 4_000_000, schema: schema.schema.clone() }
                .record(&[("a", Value::Int(1)), ("b", Value::TimestampMillis(1_000))])
        },
        |_| Vec::new(),
        |schema| schema.record(&[("a", Value::Int(300)), ("b", Value::TimestampMillis(1_000))]),
        |schema| schema.record(&[("a", Value::Int(1)), ("b", Value::TimestampMillis(1_001))]),
    ];
    let mut told = String::new();
    for bad in bad {
        let case = Case::new("no_avro");
        let schema = case.register(
            "value",
            &json!({ "type": "record", "name": "r", "fields": [
            { "name": "a", "type": "int" },
            { "name": "b", "type": { "type": "long", "logicalType": "timestamp-millis" } }] }),
        );
        let sql = format!("CREATE TABLE {} (a Int8, b DateTime('UTC')) ENGINE = MergeTree ORDER BY a", case.name);
        support::query(&case.services.clickhouse, &sql);
        case.produce(None, Some(&good(&schema)));
        case.produce(None, Some(&bad(&schema)));
        let run = Rowfall::with_config("run", &case.clickhouse_config("{ value: avro }"), &["--until-end"]).output();
        assert_eq!(run.code(), 1, "{run:#?}");
        assert_eq!(case.rows("a"), "1", "what stood before it is there");
        let said = run.stderr.lines().skip_while(|line| !line.starts_with("rowfall: "));
        let said = said.fold(String::new(), |told, line| told + line.trim() + "\n");
        let server = case.registry.url.split("/apis").next().expect("a part");
        told += &case.plain(&said).replace(server, "REGISTRY");
    }
    assert_snapshot!(told, @"
    rowfall: stopped: NAME[0] offset 1: table default.NAME, the value does not begin with the id of a schema
    → see whether the topic's records are Avro of a schema registry: `value:` and `key:` name the formats
    rowfall: stopped: NAME[0] offset 1: table default.NAME, REGISTRY/apis/ccompat/v7 has no schema 4000000
    → see whether `registry` is the one that the producer uses
    rowfall: stopped: NAME[0] offset 1: table default.NAME, the value does not begin with the id of a schema
    → see whether the topic's records are Avro of a schema registry: `value:` and `key:` name the formats
    rowfall: stopped: NAME[0] offset 1: table default.NAME, column `a` Int8: takes int8, the value is out of its range (it is int)
    → alter the column, or mend the producer
    rowfall: stopped: NAME[0] offset 1: table default.NAME, column `b` DateTime('UTC'): takes timestamp(0), the value has more digits behind the point (it is timestamp-millis)
    → alter the column, or mend the producer
    ");
}

#[test]
fn a_registry_that_does_not_answer_is_waited_for() {
    let case = Case::new("registry");
    let schema =
        case.register("value", &json!({ "type": "record", "name": "r", "fields": [{ "name": "a", "type": "int" }] }));
    let sql = format!("CREATE TABLE {} (a Int32) ENGINE = MergeTree ORDER BY a", case.name);
    support::query(&case.services.clickhouse, &sql);
    let port = case.registry.url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
    let front = Front::start(port.expect("a port"));
    let registry = format!("{{ url: 'http://127.0.0.1:{}/apis/ccompat/v7' }}", front.port);
    let config = case.config(&support::target(&case.services.clickhouse), &registry, "{ value: avro }");
    let mut told = String::new();
    for (number, (status, body)) in [
        ("500 Internal Server Error", r#"{"error_code":50001,"message":"Error in the backend data store"}"#),
        ("429 Too Many Requests", ""),
        ("401 Unauthorized", r#"{"error_code":401,"message":"Unauthorized"}"#),
        ("200 OK", "<html>Welcome</html>"),
        ("404 Not Found", "<html>nginx</html>"),
    ]
    .into_iter()
    .enumerate()
    {
        let number = i32::try_from(number).expect("small");
        front.answer(status, body);
        case.produce(None, Some(&schema.record(&[("a", Value::Int(number))])));
        let process = Rowfall::with_config("run", &config, &[]).start();
        support::eventually("it says that it waits", Duration::from_secs(60), || {
            process.said().contains("waiting for")
        });
        assert_eq!(case.rows("count()"), number.to_string(), "nothing of it is written, nothing else lost");
        front.pass();
        support::eventually("the row is there", Duration::from_secs(60), || {
            case.rows("count()") == (number + 1).to_string()
        });
        support::eventually("it says that it goes on", Duration::from_secs(10), || {
            process.said().contains("answers again")
        });
        process.signal("TERM");
        let output = process.wait(Duration::from_secs(60));
        assert_eq!(output.code(), 0, "{output:#?}");
        let waits = output.stderr.lines().find(|line| line.contains("waiting for")).expect("just seen");
        let waits = &waits[waits.find("waiting").expect("just seen")..];
        told += &format!(
            "{}\n",
            waits.replace(&format!("schema {}:", schema.id), "schema ID:").replace(&front.port.to_string(), "PORT")
        );
    }
    assert_eq!(case.rows("a"), "0\n1\n2\n3\n4");
    assert_snapshot!(told, @"
    waiting for schema ID: http://127.0.0.1:PORT/apis/ccompat/v7 answers 500 Internal Server Error: Error in the backend data store
    waiting for schema ID: http://127.0.0.1:PORT/apis/ccompat/v7 answers 429 Too Many Requests
    waiting for schema ID: http://127.0.0.1:PORT/apis/ccompat/v7 answers 401 Unauthorized: Unauthorized
    waiting for schema ID: http://127.0.0.1:PORT/apis/ccompat/v7 answers something that no schema registry says
    waiting for schema ID: http://127.0.0.1:PORT/apis/ccompat/v7 answers 404 Not Found
    ");
}
