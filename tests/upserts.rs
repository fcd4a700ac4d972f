//! Rows that are changed and deleted by their keys, in ClickHouse: which engines do it and how, what is refused, and
//! tables that get columns while they are written. `conformance` has what every database does.

use std::sync::Arc;

use insta::assert_snapshot;
use rowfall_dialects::contract::{
    Advice, Block, Change, Column, ColumnSpec, Compression, Connection, Ddl, Error, Intent, Layout, Mark, Op, Receipt,
    Storage, TableName, TableSchema, TableSpec, Target, Upserts, Values,
};
use rowfall_services::ClickHouse;
use tokio::runtime::Runtime;

use crate::support::{self, query};

/// One table, and the dialect to write it.
struct Table {
    clickhouse: ClickHouse,
    runtime: Runtime,
    connection: Connection,
    name: String,
}

impl Table {
    /// `create` stands behind the table's name.
    fn made(create: &str) -> Self {
        let table = Self::named(support::unique("upserts"));
        query(&table.clickhouse, &format!("CREATE TABLE {} {create}", table.name));
        table
    }

    fn named(name: String) -> Self {
        let clickhouse = support::services().clickhouse;
        let runtime = Runtime::new().expect("a runtime");
        let target = Target::parse(&support::target(&clickhouse), Compression::Auto).expect("a URL");
        let connection = runtime.block_on(rowfall_dialects::connect(&target)).expect("connected");
        Self { clickhouse, runtime, connection, name }
    }

    fn schema(&self) -> TableSchema {
        let name = TableName { schema: None, name: self.name.clone() };
        self.runtime.block_on(self.connection.session.describe(&name)).expect("described").expect("there")
    }

    /// Rows of these columns: `.` is absent, `-` null, else a number or a text.
    fn try_write(&self, columns: &[&str], rows: &[(Op, &[&str])]) -> Result<Receipt, Error> {
        let schema = self.schema();
        let key = match &schema.upserts {
            Upserts::Versions { key, .. } => key.clone(),
            Upserts::Keys(_) | Upserts::Never { .. } => Vec::new(),
        };
        let place = |name: &str| schema.columns.iter().position(|column| column.name == name).expect("a column");
        let targets: Vec<_> = columns.iter().map(|name| place(name)).collect();
        let key = key.iter().filter_map(|key| columns.iter().position(|column| column == key)).collect();
        let layout = Layout { key, ..Layout::new(Arc::new(schema), targets) };
        let mut block = layout.empty_columns();
        for (_, cells) in rows {
            block.iter_mut().zip(*cells).for_each(|(column, cell)| push(column, cell));
        }
        let ops = rows.iter().map(|(op, _)| *op).collect();
        let block = Block { ops, ..Block::new(Arc::new(layout), block, rows.len()) };
        self.runtime.block_on(self.connection.session.write(&[&block], None))
    }

    fn write(&self, columns: &[&str], rows: &[(Op, &[&str])]) {
        let receipt = self.try_write(columns, rows).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(receipt.rows, rows.len());
    }

    fn refused(&self, columns: &[&str], rows: &[(Op, &[&str])]) -> String {
        let error = self.try_write(columns, rows).expect_err("refused");
        self.told(&error)
    }

    fn told(&self, error: &Error) -> String {
        let hint = error.hint.as_deref().unwrap_or_default();
        format!("{:?}: {error}\n{hint}", error.advice).replace(&self.name, "NAME")
    }

    /// What its readers see.
    fn rows(&self, columns: &str) -> String {
        query(&self.clickhouse, &format!("SELECT {columns} FROM {} FINAL ORDER BY 1", self.name)).replace('\t', " ")
    }

    fn problems(&self) -> Vec<Error> {
        let schema = self.schema();
        let intent = Intent::Write { table: &schema, keyed: true, cluster: None };
        self.runtime.block_on(self.connection.session.check(intent)).expect("checked")
    }

    fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        self.runtime.block_on(self.connection.session.execute(ddl))
    }
}

fn push(column: &mut Column, cell: &str) {
    match (cell, &mut column.values) {
        (".", _) => column.push_mark(Mark::Absent),
        ("-", _) => column.push_mark(Mark::Null),
        (text, Values::UInt64(v)) => v.push(text.parse().expect("a number")),
        (text, Values::UInt8(v)) => v.push(text.parse().expect("a number")),
        (text, Values::Int64(v)) => v.push(text.parse().expect("a number")),
        (text, Values::Text(v)) => v.push(text),
        (_, values) => panic!("no test writes {values:?}"),
    }
}

const REPLACING: &str = "(id UInt64, note Nullable(String) DEFAULT 'none', tags Array(UInt8) DEFAULT [7], v UInt64, \
                         gone Bool) ENGINE = ReplacingMergeTree(v, gone) ORDER BY id";

#[test]
fn the_highest_version_is_the_row() {
    let table = Table::made(REPLACING);
    let schema = table.schema();
    let (key, version, deleted) = (vec!["id".into()], Some("v".into()), Some("gone".into()));
    assert_eq!(schema.upserts, Upserts::Versions { key, version, deleted, partial: false });
    assert_eq!((schema.parallel, table.problems().len()), (4, 0));
    let columns = ["id", "note", "tags", "v"];
    let upsert = |cells: &'static [&'static str]| (Op::Upsert, cells);
    table.write(
        &columns,
        &[upsert(&["1", "a", ".", "10"]), upsert(&["2", "-", ".", "11"]), upsert(&["3", ".", ".", "12"])],
    );
    assert_eq!(table.rows("id, note, tags"), "1 a [7]\n2 \\N [7]\n3 none [7]");
    let deletes: &[(Op, &[&str])] = &[(Op::Upsert, &["1", "b", ".", "20"]), (Op::Delete, &["2", ".", ".", "21"])];
    table.write(&columns, deletes);
    assert_eq!(table.rows("id, note"), "1 b\n3 none");
    // What comes late, and what comes again, changes nothing.
    table.write(&columns, &[upsert(&["1", "late", ".", "15"]), upsert(&["2", "late", ".", "20"])]);
    table.write(&columns, deletes);
    assert_eq!(table.rows("id, note"), "1 b\n3 none");
    table.write(&columns, &[(Op::Replace, &["2", "back", ".", "30"])]);
    assert_eq!(table.rows("id, note"), "1 b\n2 back\n3 none");
    query(&table.clickhouse, &format!("OPTIMIZE TABLE {} FINAL", table.name));
    assert_eq!(table.rows("id, note, gone"), "1 b false\n2 back false\n3 none false");
    assert_snapshot!(table.refused(&columns, &[upsert(&["1", "a", ".", "."])]), @"
    Split: a row of default.NAME has no version: column v
    have the records hold v, or name another column as the version
    ");
}

/// Rows that lack different columns travel apart, in an order of their own: that must change nothing.
#[test]
fn rows_that_lack_columns_keep_their_versions() {
    let table = Table::made(REPLACING);
    let numbers: Vec<_> = (0..3000).map(|number: u32| number.to_string()).collect();
    for round in ["1", "2"] {
        let rows: Vec<_> = numbers
            .iter()
            .enumerate()
            .map(|(row, id)| {
                let note = if row % 2 == 0 { "." } else { "given" };
                (if row % 7 == 3 { Op::Delete } else { Op::Upsert }, [id.as_str(), note, round])
            })
            .collect();
        let rows: Vec<_> = rows.iter().map(|(op, cells)| (*op, cells.as_slice())).collect();
        table.write(&["id", "note", "v"], &rows);
    }
    let found = "count(), sum(id % 7 = 3), sum(note = if(id % 2 = 0, 'none', 'given')), uniqExact(v)";
    let found = query(&table.clickhouse, &format!("SELECT {found} FROM {} FINAL", table.name));
    assert_eq!(found, "2571\t0\t2571\t1");
}

#[test]
fn null_leaves_a_column_alone_where_rows_are_put_together() {
    let table = Table::made(
        "(id UInt64, a Nullable(UInt64), b Nullable(String) DEFAULT 'none', c UInt64) ENGINE = CoalescingMergeTree \
         ORDER BY id",
    );
    let schema = table.schema();
    let key = vec!["id".into()];
    assert_eq!(schema.upserts, Upserts::Versions { key, version: None, deleted: None, partial: true });
    assert_eq!((schema.parallel, table.problems().len()), (1, 0));
    assert_snapshot!(schema.promise.unwrap_or_default(), @"an upsert that lacks b leaves it alone, in a new row too: its DEFAULT is not used");
    let columns = ["id", "a", "b", "c"];
    table.write(&columns, &[(Op::Upsert, &["1", "5", "x", "1"]), (Op::Upsert, &["2", ".", ".", "2"])]);
    table.write(&columns, &[(Op::Upsert, &["1", ".", "y", "3"])]);
    table.write(&["id", "a", "c"], &[(Op::Upsert, &["1", "6", "4"]), (Op::Upsert, &["2", ".", "5"])]);
    assert_eq!(table.rows("*"), "1 6 y 4\n2 \\N \\N 5");
    assert_snapshot!(table.refused(&columns, &[(Op::Upsert, &["1", "-", "y", "3"])]), @"
    Split: column a of table default.NAME is to become null, and CoalescingMergeTree keeps what it was
    leave the field out of the record where it has not changed, or write to a ReplacingMergeTree
    ");
    assert_snapshot!(table.refused(&columns, &[(Op::Upsert, &["1", "7", "y", "."])]), @"
    Split: column c of table default.NAME is absent, and CoalescingMergeTree keeps only nullable ones as they are
    make c nullable, or have all records hold it
    ");
    assert_snapshot!(table.refused(&["id", "a", "b"], &[(Op::Upsert, &["1", "7", "y"])]), @"
    Pause: column c of table default.NAME is in no record, and CoalescingMergeTree would reset it
    make c nullable, or have all records hold it
    ");
    assert_snapshot!(table.refused(&columns, &[(Op::Replace, &["1", "7", "y", "1"])]), @"
    Pause: a row of default.NAME is to be replaced as a whole, and CoalescingMergeTree keeps what it had
    write to a ReplacingMergeTree
    ");
    assert_snapshot!(table.refused(&columns, &[(Op::Delete, &["1", ".", ".", "."])]), @"
    Pause: a row of default.NAME is to be deleted, and CoalescingMergeTree has no column that says so
    write to a ReplacingMergeTree(version, is_deleted), or leave deletes out
    ");
    assert_eq!(table.rows("*"), "1 6 y 4\n2 \\N \\N 5");
}

/// Any upserts that lack any columns, cut into inserts anywhere and merged at any time, leave what a map would hold.
#[test]
fn rows_that_are_put_together_end_as_a_map_would() {
    let table = Table::made(
        "(id UInt64, a Nullable(UInt64), b Nullable(String), c Nullable(UInt64) DEFAULT 8, d UInt64) ENGINE = \
         CoalescingMergeTree ORDER BY id",
    );
    let mut seed = 1_u64;
    let mut below = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    let mut expected = std::collections::BTreeMap::new();
    for round in 0..60 {
        let mut block = std::collections::BTreeMap::new();
        for _ in 0..=below(20) {
            let values: [_; 4] = std::array::from_fn(|column| match below(3) {
                0 if column < 3 => ".".to_owned(),
                _ => below(1000).to_string(),
            });
            block.insert(below(30), values);
        }
        for (id, values) in &block {
            let stored = expected.entry(*id).or_insert_with(|| ["\\N", "\\N", "\\N", ""].map(String::from));
            stored
                .iter_mut()
                .zip(values)
                .filter(|(_, value)| *value != ".")
                .for_each(|(stored, value)| stored.clone_from(value));
        }
        let block: Vec<_> = block.into_iter().map(|(id, [a, b, c, d])| [id.to_string(), a, b, c, d]).collect();
        let block: Vec<_> = block.iter().map(|cells| cells.each_ref().map(String::as_str)).collect();
        let rows: Vec<_> = block.iter().map(|cells| (Op::Upsert, cells.as_slice())).collect();
        table.write(&["id", "a", "b", "c", "d"], &rows);
        if round % 17 == 0 {
            query(&table.clickhouse, &format!("OPTIMIZE TABLE {} FINAL", table.name));
        }
    }
    let expected: Vec<_> = expected.iter().map(|(id, values)| format!("{id} {}", values.join(" "))).collect();
    assert_eq!(table.rows("*"), expected.join("\n"));
}

#[test]
fn a_store_of_keys_keeps_the_last_row() {
    let table = Table::made("(id UInt64, a Nullable(UInt64)) ENGINE = EmbeddedRocksDB PRIMARY KEY id");
    let key = vec!["id".into()];
    assert_eq!(table.schema().upserts, Upserts::Versions { key, version: None, deleted: None, partial: false });
    assert_eq!((table.schema().parallel, table.problems().len()), (1, 0));
    table.write(&["id", "a"], &[(Op::Upsert, &["1", "5"]), (Op::Upsert, &["2", "-"])]);
    table.write(&["id", "a"], &[(Op::Upsert, &["1", "-"]), (Op::Replace, &["2", "6"])]);
    let rows = query(&table.clickhouse, &format!("SELECT * FROM {} ORDER BY id", table.name));
    assert_eq!(rows, "1\t\\N\n2\t6");
}

/// The hint is what serves: it is run as it stands.
#[test]
fn a_table_that_keeps_every_row_is_refused_with_one_that_does_not() {
    let table = Table::made(
        "(id UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'it''s', note LowCardinality(Nullable(String)) DEFAULT 'a,)', at \
         DateTime64(3, 'UTC'), raw String EPHEMERAL 'x', size UInt64 DEFAULT length(raw), day Date MATERIALIZED \
         toDate(at)) ENGINE = MergeTree ORDER BY id",
    );
    let problems = table.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_snapshot!(table.told(&problems[0]), @r"
    Pause: default.NAME takes no upserts and deletes: MergeTree keeps every row that is written
    CREATE TABLE IF NOT EXISTS `default`.`NAME_by_key` (
        `id` UInt64 COMMENT 'it\'s' CODEC(Delta(8), ZSTD(1)),
        `note` LowCardinality(Nullable(String)) DEFAULT 'a,)',
        `at` DateTime64(3, 'UTC'),
        `raw` String EPHEMERAL 'x',
        `size` UInt64 DEFAULT length(raw),
        `day` Date MATERIALIZED toDate(at),
        `_version` UInt64,
        `_deleted` UInt8
    )
    ENGINE = ReplacingMergeTree(_version, _deleted)
    ORDER BY `id`
    SETTINGS non_replicated_deduplication_window = 25000
    ");
    assert_snapshot!(table.refused(&["id"], &[(Op::Upsert, &["1"])]).lines().next().unwrap_or_default(), @"Pause: default.NAME takes no upserts and deletes: MergeTree keeps every row that is written");
    query(&table.clickhouse, problems[0].hint.as_deref().expect("a statement"));
    let serves = Table::named(format!("{}_by_key", table.name));
    assert!(serves.problems().is_empty());
    let columns = ["id", "_version"];
    serves.write(&columns, &[(Op::Upsert, &["1", "1"]), (Op::Upsert, &["2", "1"])]);
    serves.write(&columns, &[(Op::Delete, &["2", "2"])]);
    assert_eq!(serves.rows("id, note, size, _version"), "1 a,) 1 1");
}

/// Merges drop what is expired, each in its partition: the row that says that a key is deleted, and then it is not.
#[test]
fn a_ttl_that_forgets_deletes_is_refused_and_the_hint_mends_it() {
    let table = Table::made(
        "(id UInt64, at DateTime, v UInt64, gone UInt8) ENGINE = ReplacingMergeTree(v, gone) PARTITION BY gone \
         ORDER BY id TTL at + INTERVAL 1 YEAR",
    );
    let now = query(&table.clickhouse, "SELECT toUnixTimestamp(now())");
    let (upsert, columns) = ([(Op::Upsert, ["1", now.as_str(), "1"])], ["id", "at", "v"]);
    let upsert = [(upsert[0].0, upsert[0].1.as_slice())];
    let delete: &[(Op, &[&str])] = &[(Op::Delete, &["1", ".", "2"])];
    table.write(&columns, &upsert);
    let deleted = || {
        table.write(&columns, delete);
        query(&table.clickhouse, &format!("OPTIMIZE TABLE {} FINAL", table.name));
        table.rows("id")
    };
    assert_eq!(deleted(), "1", "if ClickHouse had learned to keep it, this refusal could go");
    let problems = table.problems();
    assert_snapshot!(problems.iter().map(|problem| table.told(problem)).collect::<Vec<_>>().join("\n"), @"
    Pause: default.NAME cannot be trusted with upserts and deletes: its TTL drops the row that says that a key is deleted, which has no values but the key's, and the deleted row comes back
    ALTER TABLE `default`.`NAME` MODIFY TTL at + toIntervalYear(1) DELETE WHERE `gone` = 0
    ");
    query(&table.clickhouse, problems[0].hint.as_deref().expect("a statement"));
    assert!(table.problems().is_empty());
    assert_eq!(deleted(), "");
}

#[test]
fn what_is_created_with_a_key_is_described_with_it() {
    let table = Table::named(support::unique("upserts"));
    let columns = [("id", "UInt64"), ("part", "String"), ("note", "String")];
    let columns =
        columns.map(|(name, type_text)| ColumnSpec { nullable: None, ..ColumnSpec::new(name, type_text, false) });
    let name = TableName { schema: None, name: table.name.clone() };
    let key = vec!["part".to_owned(), "id".to_owned()];
    let spec = TableSpec { name, columns: columns.into(), key: key.clone(), storage: Storage::default() };
    let may = table.runtime.block_on(table.connection.session.check(Intent::Create(&spec))).expect("checked");
    assert!(may.is_empty(), "{may:?}");
    table.execute(&table.connection.grammar.create_table(&spec).expect("it can be")).expect("created");
    let (version, deleted) = (Some("_version".into()), Some("_deleted".into()));
    assert_eq!(table.schema().upserts, Upserts::Versions { key, version, deleted, partial: false });
    assert_eq!((table.schema().parallel, table.problems().len()), (4, 0));
}

fn widen(name: &str, type_text: &str, nullable: bool) -> Change {
    Change::Widen(ColumnSpec::new(name, type_text, nullable))
}

/// Each type that is widened, with its smallest and its largest value before and after.
#[test]
fn what_is_widened_keeps_its_values() {
    let steps = [
        ("Int8", "Int16", "-128", "127"),
        ("Int32", "Int64", "-2147483648", "2147483647"),
        ("UInt32", "Int64", "0", "4294967295"),
        ("Int64", "Int256", "-9223372036854775808", "9223372036854775807"),
        ("Float32", "Float64", "-0.5", "16777216"),
        ("Decimal(9, 2)", "Decimal(38, 10)", "-9999999.99", "9999999.99"),
        ("Decimal(18, 4)", "Decimal(76, 4)", "-99999999999999.9999", "99999999999999.9999"),
        ("Enum8('a' = -1, 'z' = 3)", "Enum16('a' = -1, 'z' = 3, 'new' = 300)", "'a'", "'z'"),
        ("Date", "Date32", "'1970-01-01'", "'2149-06-06'"),
        ("DateTime('Asia/Tokyo')", "DateTime64(9, 'UTC')", "'1970-01-01 09:00:00'", "'2106-02-07 15:28:15'"),
        ("DateTime64(3)", "DateTime64(6)", "'1900-01-01 00:00:00.000'", "'2299-12-31 23:59:59.999'"),
        ("Time", "Time64(3)", "'-999:59:59'", "'999:59:59'"),
        ("LowCardinality(String)", "LowCardinality(String)", "''", "'x'"),
        ("Array(Int8)", "Array(Nullable(Int64))", "[-128]", "[127]"),
    ];
    let columns: Vec<_> = steps.iter().enumerate().map(|(index, (from, ..))| format!("c{index} {from}")).collect();
    let table = Table::made(&format!("(id UInt64, {}) ENGINE = MergeTree ORDER BY id", columns.join(", ")));
    let values = |of: fn(&(&str, &'static str, &'static str, &'static str)) -> &'static str| {
        steps.iter().map(of).collect::<Vec<_>>().join(", ")
    };
    let (small, large) = (values(|step| step.2), values(|step| step.3));
    query(&table.clickhouse, &format!("INSERT INTO {} VALUES (1, {small}), (2, {large})", table.name));
    // Without the zeros behind a point.
    let text =
        |index| format!(r"trim(TRAILING '.' FROM replaceRegexpOne(toString(c{index}), '(\\.[0-9]*?)0*$', '\\1'))");
    let texts: Vec<_> = (0..steps.len()).map(text).collect();
    let read = || query(&table.clickhouse, &format!("SELECT {} FROM {} ORDER BY id", texts.join(", "), table.name));
    let before = read();
    for nullable in [false, true] {
        let wide = |(index, (_, wide, ..)): (usize, &(&str, &str, &str, &str))| {
            widen(&format!("c{index}"), wide, nullable && !wide.starts_with("Array"))
        };
        let changes: Vec<_> = steps.iter().enumerate().map(wide).collect();
        let ddl = table.connection.grammar.alter_table(&table.schema(), &changes, None).expect("wider");
        assert_eq!(ddl.statements.len(), 1);
        table.execute(&ddl).expect("altered");
        assert_eq!(read(), before);
        let again = table.connection.grammar.alter_table(&table.schema(), &changes, None).expect("wider");
        assert_eq!(again.statements, [""; 0], "nothing is left to do");
    }
    let narrower = table.connection.grammar.alter_table(&table.schema(), &[widen("c0", "Int8", false)], None);
    assert_eq!(narrower.expect("the same").statements, [""; 0], "nothing is made narrower");
}

#[test]
fn the_columns_of_a_key_stay() {
    let table = Table::made("(id UInt32, p UInt8, note String) ENGINE = MergeTree PARTITION BY p ORDER BY id");
    for (column, what) in [("id", "key"), ("p", "partition key")] {
        let ddl = table.connection.grammar.alter_table(&table.schema(), &[widen(column, "UInt64", false)], None);
        let error = table.execute(&ddl.expect("the server knows its keys")).expect_err("refused");
        assert_eq!((error.advice, error.code.as_deref()), (Advice::Pause, Some("524")), "{error}");
        assert!(error.to_string().contains(&format!("{what} column {column}")), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("make a new table")));
    }
    let kept = Table::made("(id UInt32, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY id");
    let refusal = kept.connection.grammar.alter_table(&kept.schema(), &[widen("id", "UInt64", false)], None);
    assert_snapshot!(refusal.expect_err("refused").0.replace(&kept.name, "NAME"), @"column id of table default.NAME: ClickHouse cannot make a UInt64 of it, since it tells which rows are one key's: make a new table");
}

/// Each knows the table as it was before the other came.
#[test]
fn two_processes_alter_one_table_at_once() {
    const ADDED: usize = 40;
    const WIDENED: usize = 8;
    let table = Table::made("(id UInt64) ENGINE = MergeTree ORDER BY id");
    let other = Table::named(table.name.clone());
    let alter = |table: &Table, schema: &TableSchema, changes: &[Change]| {
        table.execute(&table.connection.grammar.alter_table(schema, changes, None).expect("wider"))
    };
    let both = |ours: &[Change], theirs: &[Change]| {
        let schema = table.schema();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| alter(&other, &schema, theirs));
            [alter(&table, &schema, ours), other.join().expect("no panic")]
        })
    };
    let names: Vec<_> = (0..ADDED).map(|number| format!("c{number}")).collect();
    for name in &names {
        let add = [Change::Add(ColumnSpec::new(name.as_str(), "Int32", false))];
        both(&add, &add).into_iter().for_each(|done| done.expect("added"));
    }
    query(
        &table.clickhouse,
        &format!(
            "INSERT INTO {0} (id, {1}) VALUES (1, {2})",
            table.name,
            names.join(", "),
            vec!["-7"; ADDED].join(", ")
        ),
    );

    // One makes it wider, the other nullable: none undoes what the other did, or it is told and asks again.
    for name in &names[..WIDENED] {
        let changes = [widen(name, "Int64", false), widen(name, "Int32", true)];
        let done = both(&changes[..1], &changes[1..]);
        for (change, done) in changes.iter().zip(done) {
            let Err(error) = done else { continue };
            assert!(matches!(error.advice, Advice::Refresh | Advice::Retry), "{error}");
            alter(&table, &table.schema(), std::slice::from_ref(change)).expect("altered");
        }
        let now = table.schema().columns.into_iter().find(|column| column.name == *name).map(|column| column.type_text);
        assert_eq!(now.as_deref(), Some("Nullable(Int64)"), "{name}");
    }
    let kept: Vec<_> = names.iter().map(|name| format!("({name} = -7)")).collect();
    let kept = query(&table.clickhouse, &format!("SELECT {} FROM {}", kept.join(" + "), table.name));
    assert_eq!(kept, ADDED.to_string());
}
