//! docs/clickhouse.md, run from top to bottom: what it shows is what happens.
//!
//! - `sql` blocks run on the server, as its administrator. GRANTs to `app` are that user's only rights from the start:
//!   the test server cannot change them.
//! - `json` blocks hold the records of the next `yaml` block's topic.
//! - `yaml` blocks are completed with the keys that they leave out, and run as `app`.
//! - A `text` block is what comes of the block before it: the last query's rows, or a part of `rowfall plan`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rowfall_dialects::contract::{Compression, Intent, TableName, Target, Upserts};
use rowfall_services::{ClickHouse, Kafka};

use crate::support::{self, Rowfall};

const PAGE: &str = include_str!("../docs/clickhouse.md");
const USER: (&str, &str) = ("app", "secret");

struct Block<'p> {
    language: &'p str,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for (line, text) in page.lines().enumerate() {
        match text.strip_prefix("```") {
            Some(language) if !inside => blocks.push(Block { language, line: line + 1, text: String::new() }),
            Some(_) => {}
            None if inside => writeln!(blocks.last_mut().expect("begun").text, "{text}").expect("a String"),
            None => continue,
        }
        inside = text != "```";
    }
    assert!(!inside, "a block does not end");
    blocks
}

/// The statements of a block, without the semicolons.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

struct Servers {
    kafka: Kafka,
    clickhouse: [ClickHouse; 2],
    topics: BTreeSet<String>,
}

impl Servers {
    /// Two servers that are the cluster `main`, with as strict an access control as ClickHouse ships, and the user with
    /// the rights that the page gives.
    fn start(folder: &Path, grants: &[String]) -> Self {
        let grants: String = grants.iter().map(|grant| format!("<query>{grant}</query>")).collect();
        let (user, password) = USER;
        let users = format!(
            "<clickhouse><users><{user}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>\
             <profile>default</profile><quota>default</quota><grants>{grants}</grants></{user}></users></clickhouse>"
        );
        let access = "<clickhouse><access_control_improvements>\
             <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\
             <table_engines_require_grant>true</table_engines_require_grant>\
             </access_control_improvements></clickhouse>";
        for server in ["first", "second"] {
            for (file, text) in [("users.d/app.xml", users.as_str()), ("config.d/access.xml", access)] {
                let path = folder.join("clickhouse").join(server).join(file);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                std::fs::write(path, text).expect("written");
            }
        }
        let clickhouse = ClickHouse::start_private_cluster(folder.join("clickhouse"), "main").expect("servers");
        let kafka = Kafka::start_private(folder.join("kafka")).expect("a broker");
        Self { kafka, clickhouse, topics: BTreeSet::new() }
    }

    /// Runs the block; its last statement's rows as they are shown.
    fn sql(&self, text: &str) -> String {
        let mut shown = String::new();
        for statement in statements(text) {
            if statement.starts_with("CREATE USER") || statement.starts_with("GRANT") {
                continue;
            }
            let format = match statement.starts_with("SELECT") {
                true => "\nSETTINGS output_format_pretty_row_numbers = 0 FORMAT PrettyCompactNoEscapesMonoBlock",
                false => "",
            };
            shown = support::query(&self.clickhouse[0], &format!("{statement}{format}"));
            if statement.starts_with("CREATE DATABASE") {
                support::query(&self.clickhouse[1], statement);
            }
        }
        shown
    }

    /// Runs the block after producing the records; what `rowfall plan` says before.
    fn yaml(&mut self, number: usize, text: &str, records: &str) -> String {
        let topic = text.split("topics:").nth(1).expect("a topic").trim_start_matches(['{', ' ', '\n']);
        let topic = topic.split(':').next().expect("a topic").to_owned();
        if self.topics.insert(topic.clone()) {
            support::create_topic(&self.kafka, &topic, 1, &[]);
        }
        let records: Vec<_> = records.lines().collect();
        support::produce(&self.kafka, &topic, 0, &records);

        let (user, password) = USER;
        let defaults = [
            format!("name: docs{number}\n"),
            "kafka: { brokers: localhost:9092 }\n".to_owned(),
            format!("target: {{ url: 'clickhouse://{user}:{password}@localhost:8123/shop' }}\n"),
        ];
        let lacking = |line: &String| {
            let key = line.split(':').next().expect("a key");
            !text.lines().any(|line| line.starts_with(&format!("{key}:")))
        };
        let file: String = defaults.into_iter().filter(lacking).collect();
        let file = (file + text)
            .replace("localhost:8123", &format!("127.0.0.1:{}", self.clickhouse[0].http_port))
            .replace("localhost:9092", &self.kafka.brokers)
            .replace("${env:CH_PASSWORD}", password);
        let config = support::config_file(&file);
        let rowfall = |command: &str, more: &[&str]| Rowfall::with_config(command, &config, more).output();

        let plan = rowfall("plan", &[]);
        assert!(matches!(plan.code(), 0 | 3), "{plan:#?}");
        let check = rowfall("check", &[]);
        assert_eq!(check.code(), 0, "{check:#?}");
        if text.contains("cluster: main") {
            self.create_everywhere(&plan.stdout);
            let check = rowfall("check", &[]);
            assert_eq!(check.code(), 0, "{check:#?}");
        }
        let rows = rowfall("run", &["--until-end", "--output", "json"]).rows();
        assert_eq!(rows, u64::try_from(records.len()).expect("few"), "rows of {topic}");
        plan.stdout
    }

    /// What ON CLUSTER would do.
    fn create_everywhere(&self, plan: &str) {
        let statement =
            plan.split("CREATE TABLE").nth(1).and_then(|rest| rest.split(";\n").next()).expect("a statement");
        let statement =
            format!("CREATE TABLE{statement}").replace(" ON CLUSTER `main`", "").replace("EXISTS ", "EXISTS shop.");
        self.clickhouse.iter().for_each(|server| _ = support::query(server, &statement));
    }
}

#[test]
fn the_page_on_clickhouse_is_true() {
    let blocks = blocks(PAGE);
    let to_app = format!(" TO {}", USER.0);
    let of_sql = blocks.iter().filter(|block| block.language == "sql");
    let grants = of_sql.flat_map(|block| statements(&block.text)).filter(|text| text.starts_with("GRANT"));
    let grants: Vec<_> = grants.map(|grant| grant.strip_suffix(&to_app).expect("to the user").to_owned()).collect();
    assert!(grants.len() > 3, "{grants:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers = Servers::start(folder.path(), &grants);

    let (mut shown, mut records, mut differences) = (String::new(), String::new(), String::new());
    let mut seen = BTreeSet::new();
    for (number, block) in blocks.iter().enumerate() {
        let Block { language, line, text } = block;
        println!("line {line}: {language}");
        seen.insert(*language);
        match *language {
            "sql" => shown = servers.sql(text),
            "json" => records.clone_from(text),
            "yaml" => shown = servers.yaml(number, text, &std::mem::take(&mut records)),
            "text" if is_shown(text, &shown, blocks[number - 1].language) => {}
            "text" => writeln!(differences, "line {line} shows\n{text}but it is\n{shown}\n").expect("a String"),
            other => panic!("line {line}: a block of `{other}`"),
        }
    }
    assert_eq!(seen.len(), 4, "each kind of block is there: {seen:?}");
    assert!(differences.is_empty(), "{differences}");
    upserts_are_as_the_page_says(&servers.clickhouse[0]);
}

/// With no more rights than the page gives.
fn upserts_are_as_the_page_says(server: &ClickHouse) {
    let (user, password) = USER;
    let url = format!("clickhouse://{user}:{password}@127.0.0.1:{}/shop", server.http_port);
    let target = Target::parse(&url, Compression::Auto).expect("a URL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let session = runtime.block_on(rowfall_dialects::connect(&target)).expect("connected").session;
    for (table, deletes, partial) in
        [("customers", true, false), ("sessions", true, false), ("devices", false, true), ("orders", false, false)]
    {
        let name = TableName { schema: None, name: table.into() };
        let schema = runtime.block_on(session.describe(&name)).expect("described").expect("there");
        let Upserts::Versions { deleted, partial: is_partial, .. } = &schema.upserts else { panic!("{schema:?}") };
        assert_eq!((deleted.is_some(), *is_partial), (deletes, partial), "{table}");
        let intent = Intent::Write { table: &schema, keyed: true, cluster: None };
        let problems = runtime.block_on(session.check(intent)).expect("checked");
        assert!(problems.is_empty(), "{table}: {problems:?}");
    }
}

/// Rows are shown whole, a plan in parts, both without their indentation.
fn is_shown(text: &str, shown: &str, language: &str) -> bool {
    let bare = |text: &str| text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    match language {
        "sql" => bare(text) == bare(shown),
        _ => bare(shown).contains(&bare(text)),
    }
}
