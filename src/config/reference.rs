//! The reference page and the JSON Schema, made of the raw types.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::check::OWNED_PROPERTIES;
use super::not_yet;
use super::raw::Raw;

/// The example at the top of the page; a test loads it.
pub(super) const EXAMPLE: &str = "\
name: shop
kafka:
  brokers: localhost:9092
  start_from: earliest
  properties:
    fetch.queue.backoff.ms: 5
target:
  url: clickhouse://app:${env:CH_PASSWORD}@localhost:8123/shop
  compression: auto
delivery: exactly-once            # or at-least-once
batch: { rows: 500000, bytes: 64MiB, age: 1s }
memory: 256MiB
workers: auto
errors: { bad_record: stop, show_values: false }
topics:
  customers:                    # all defaults: into the table `customers`
  shop.orders:
    table: orders
    value: json
    mode: insert
    create: true
    unknown_fields: ignore
    columns:
      id: int64
      amount: { from: amt, type: \"decimal(18,2)\", nullable: false }
      note: { drop: true }
    clickhouse: { engine: MergeTree, order_by: [customer, id], settings: { index_granularity: 8192 } }
  returns, refunds:             # both into the table `returned`
    table: returned
  /events-(.*)/:                # events-eu into `events_eu`, and so on, also those that appear later
    table: events_${1}
";

const INTRODUCTION: &str = "\
<!-- Made of src/config/raw.rs and src/config/reference.rs by `./x docs`: change those. -->

# Configuration

One YAML file says what a process of rowfall does. `rowfall run -c FILE` reads it; without `-c` it is `rowfall.yaml` in
the working directory. It is checked before anything else happens: unknown keys are errors, and all that is wrong is
reported at once. `rowfall schema` prints the JSON Schema of the file, for editors.
";

const FLAGS: &str = r#"
## Flags

Flags go before the file:

| flag | sets |
|---|---|
| `--name NAME` | `name` |
| `--brokers HOST:PORT` | `kafka.brokers` |
| `--to URL` | `target.url` |
| `--topic TOPIC` | the topics of this run, once for each: a name, or whatever else a key of `topics` may be. Those that the file has, under the same key, keep their settings; the others that it has are left out |
| `--set PATH=VALUE` | anything; may be given more than once. The value is YAML: `--set batch.rows=1000`, `--set 'topics.orders.columns.id={type: int64, nullable: false}'` |

A name that holds a dot stands in quotes: `--set 'topics."shop.orders".table=orders'`. Behind `kafka.properties.` it
does not need them: `--set kafka.properties.fetch.min.bytes=1000`.

With `--brokers`, `--topic` or `--to` a file is read only when `-c` names one:
`rowfall run --brokers localhost:9092 --topic orders --to sqlite://orders.db` needs none.

## Values from elsewhere

In every value, but not in keys:

| written | becomes |
|---|---|
| `${env:NAME}` | the environment variable; it must be set |
| `${env:NAME:-default}` | the environment variable, or the default where it is not set or empty |
| `${file:/path}` | what the file holds, without the line break at its end |
| `$${` | `${` |

What comes before the `@` of `target.url` is taken literally, whatever characters it holds: a password need not, and
must not, be percent-encoded in the variable. Inside `{ }` YAML wants quotes: `{ url: "${env:URL}" }`.

Messages never show what was filled in, and passwords that stand in the file are masked.

## Sizes and durations

A size is a number of bytes or has a unit: `65536`, `64KiB`, `64MiB`, `1GiB` (powers of 1024), `64kB`, `64MB`, `1GB`
(powers of 1000). A duration has its unit: `100ms`, `1s`, `1m`, `1m 30s`.
"#;

/// The JSON Schema of the file, for editors: what `rowfall schema` prints.
#[must_use]
pub fn json_schema() -> String {
    let schema = schema();
    format!("{schema:#}\n")
}

/// The text of `docs/configuration.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page =
        format!("{INTRODUCTION}\n```yaml\n{EXAMPLE}```\n\n## Settings\n\nA key without a value takes its default.\n");
    section(&mut page, "", &schema());
    page.push_str(FLAGS);
    owned_properties(&mut page);
    not_available(&mut page);
    page
}

fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Raw>().to_value()
}

/// A table of the keys of one map, then the maps inside.
fn section(page: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    if !path.is_empty() {
        let _ = write!(page, "\n### `{path}`\n");
        let description = text(schema, "description");
        if !description.is_empty() {
            let _ = write!(page, "\n{description}\n");
        }
    }
    page.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, property) in properties {
        let _ = writeln!(page, "| `{key}` | {} | {} | {} |", kind(property), default(property), meaning(property));
    }
    for (key, property) in properties {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if property["properties"].is_object() {
            section(page, &below, property);
        } else if property["additionalProperties"]["properties"].is_object() {
            let name = key.strip_suffix('s').unwrap_or(key);
            section(page, &format!("{below}.<{name}>"), &property["additionalProperties"]);
        }
    }
}

fn text(schema: &Value, key: &str) -> String {
    // The comments' line breaks mean nothing.
    schema[key].as_str().unwrap_or_default().replace('\n', " ")
}

/// The words that an enum takes, with their meanings.
fn words(schema: &Value) -> Vec<(String, String)> {
    if let Some(some) = schema["anyOf"].get(0) {
        return words(some);
    }
    let of = |schema: &Value| (text(schema, "const"), text(schema, "description"));
    schema["oneOf"].as_array().map_or_else(Vec::new, |all| all.iter().map(of).collect())
}

fn kind(schema: &Value) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    let name = match &schema["type"] {
        Value::Array(types) => types[0].as_str(),
        one => one.as_str(),
    };
    match name {
        Some("string") => "text".to_owned(),
        Some("integer") => "number".to_owned(),
        Some("object") => "map".to_owned(),
        other => other.unwrap_or_default().to_owned(),
    }
}

fn default(schema: &Value) -> String {
    match &schema["default"] {
        Value::Null => String::new(),
        Value::String(text) => format!("`{text}`"),
        Value::Object(_) | Value::Array(_) => String::new(),
        other => format!("`{other}`"),
    }
}

fn meaning(schema: &Value) -> String {
    let mut meaning = text(schema, "description");
    for (word, description) in words(schema) {
        let _ = write!(meaning, "<br>`{word}`: {description}");
    }
    meaning.replace('|', "\\|")
}

fn owned_properties(page: &mut String) {
    page.push_str("\n## librdkafka properties that rowfall sets itself\n\n| property | instead, or why |\n|---|---|\n");
    for (property, reason) in OWNED_PROPERTIES {
        let _ = writeln!(page, "| `{property}` | {reason} |");
    }
    page.push_str(
        "\n`isolation.level` is `read_committed` unless it is set. `partition.assignment.strategy` takes `range`,\n\
         `roundrobin` and `cooperative-sticky`. A name that librdkafka does not know is refused at the start.\n",
    );
}

fn not_available(page: &mut String) {
    page.push_str("\n## Not available yet\n\nLater versions have these; this one refuses them by name.\n\n");
    for key in not_yet::KEYS {
        let _ = writeln!(page, "- `{}`", key.replacen('*', "<topic>", 1).replace('*', "<column>"));
    }
    for (key, words) in not_yet::VALUES {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        let _ = writeln!(page, "- `{}`: {}", key.replace('*', "<topic>"), words.join(", "));
    }
}

/// The schema below the properties of a path; `*` stands for the values of a map.
#[cfg(test)]
pub(super) fn has_key(path: &str) -> bool {
    let mut schema = schema();
    path.split('.').all(|step| {
        let key = if step == "*" { "additionalProperties" } else { "properties" };
        let below = if step == "*" { schema[key].take() } else { schema[key][step].take() };
        schema = below;
        schema.is_object()
    })
}
