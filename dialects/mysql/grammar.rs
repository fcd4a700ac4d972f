use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use crate::contract::{
    Change, ColumnDefault, ColumnSpec, Ddl, Grammar, LogicalType, Refusal, TableName, TableSchema, TableSpec, ValueType,
};
use crate::generic::Syntax;
use crate::mysql::types::{self, Declared, Room};

/// How both want their statements. Parameters are counted in 16 bits.
pub(super) const SYNTAX: Syntax = Syntax {
    quote: '`',
    ignores_case: true,
    max_parameters: 65_535,
    max_rows: 1000,
    empty_row: "() VALUES ()",
    numbered: false,
    in_rows: "",
    same: "<=>",
    add_once: "",
};

/// The most characters of a name.
const NAME: usize = 64;

/// The most bytes of a key, and of a character.
const KEY: usize = 3072;
const CHARACTER: usize = 4;

/// The most characters of a text in a key that rowfall makes, where the key has room for them.
const KEY_TEXT: usize = 255;

/// Which of the two servers it is; told by its version, since either answers to either scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    MySql,
    MariaDb,
}

impl Flavor {
    /// Its name as its users write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// How new tables compare texts: byte by byte, trailing spaces too.
    fn collation(self) -> &'static str {
        match self {
            Self::MySql => "utf8mb4_0900_bin",
            Self::MariaDb => "utf8mb4_nopad_bin",
        }
    }
}

/// The texts of both.
pub(super) struct MySqlGrammar {
    /// What the URL's scheme says.
    pub(super) expected: Flavor,
    /// What the server says, once it has been asked.
    pub(super) found: Arc<OnceLock<Flavor>>,
}

impl MySqlGrammar {
    /// The grammar of a server that is known.
    pub(super) fn of(flavor: Flavor) -> Self {
        Self { expected: flavor, found: Arc::default() }
    }

    fn flavor(&self) -> Flavor {
        self.found.get().copied().unwrap_or(self.expected)
    }
}

impl Grammar for MySqlGrammar {
    fn name(&self) -> &'static str {
        self.flavor().name()
    }

    fn quote(&self, identifier: &str) -> String {
        SYNTAX.identifier(identifier)
    }

    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
        types::column_type(self.flavor(), logical)
    }

    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
        // Whether a column takes null is never part of its type here.
        types::parse(text).map(|declared| types::value(&declared, true))
    }

    fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal> {
        let schema = table.name.schema.as_ref();
        let columns = table.columns.iter().map(|column| &column.name);
        for name in schema.into_iter().chain([&table.name.name]).chain(columns) {
            check_name(&table.name, name)?;
        }
        let mut spec = table.clone();
        let mut notes = Vec::new();
        for column in &mut spec.columns {
            let declared = declared(&table.name, column)?;
            let in_key = table.key.contains(&column.name);
            if in_key && declared.logical == LogicalType::String && matches!(declared.room, Room::Bytes(_)) {
                let characters = (KEY / CHARACTER / table.key.len()).min(KEY_TEXT);
                let made = format!("varchar({characters})");
                notes.push(format!(
                    "column `{}` is of the key and so {made}, since {} cannot index {}; longer texts are refused",
                    column.name,
                    self.name(),
                    column.type_text
                ));
                column.type_text = made;
            }
        }
        let mut statement = SYNTAX.create_table(&spec)?;
        // Named, since a server's defaults may be an engine without transactions and a set that lacks most characters.
        let _ = write!(statement, " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {}", self.flavor().collation());
        Ok(Ddl { notes, ..Ddl::new(table.name.clone(), vec![statement]) })
    }

    fn alter_table(&self, table: &TableSchema, changes: &[Change], _: Option<&str>) -> Result<Ddl, Refusal> {
        // A statement each: DDL commits by itself, and one that fails because its column is there must not keep the
        // others from being run.
        let statement = |change: &Change| match change {
            Change::Add(column) => {
                check_name(&table.name, &column.name)?;
                declared(&table.name, column)?;
                SYNTAX.add_column(table, column)
            }
            Change::Widen(column) => {
                let (column, takes_null) = widened(table, column)?;
                let definition = SYNTAX.column(&column, takes_null);
                Ok(format!("ALTER TABLE {} MODIFY COLUMN {definition}", SYNTAX.table(&table.name)))
            }
        };
        let statements = changes.iter().map(statement).collect::<Result<_, _>>()?;
        Ok(Ddl::new(table.name.clone(), statements))
    }
}

fn declared(table: &TableName, column: &ColumnSpec) -> Result<Declared, Refusal> {
    types::parse(&column.type_text).map_err(|why| Refusal(format!("table `{table}`, column `{}`: {why}", column.name)))
}

/// A column that is to be changed, with what it keeps, and whether it takes null. MODIFY takes away what it does not repeat, so that only a column
/// that is known whole can be changed.
fn widened(table: &TableSchema, column: &ColumnSpec) -> Result<(ColumnSpec, bool), Refusal> {
    let refuse = |why: &str| Refusal(format!("table `{}`, column `{}`: {why}", table.name, column.name));
    let wide = declared(&table.name, column)?;
    let present = table.columns.iter().find(|present| present.name.eq_ignore_ascii_case(&column.name));
    let present = present.ok_or_else(|| refuse("the table does not have it"))?;
    if present.default != ColumnDefault::None && column.default.is_none() {
        return Err(refuse(
            "rowfall does not change a column that the database fills in, since it cannot repeat how: \
             change it with ALTER TABLE … MODIFY",
        ));
    }
    let mut column = column.clone();
    let takes_null = column.nullable.or(present.value.as_ref().ok().map(|value| value.nullable)).unwrap_or(true);
    let collation = types::parse(&present.type_text).ok().and_then(|present| present.collation);
    if let Some(collation) = collation.filter(|_| wide.logical == LogicalType::String && wide.collation.is_none()) {
        let _ = write!(column.type_text, " collate {collation}");
    }
    Ok((column, takes_null))
}

/// Names are of the characters of the Basic Multilingual Plane, at most 64, and do not end with white space.
pub(super) fn check_name(table: &TableName, name: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("table `{table}`: the name `{name}` {why}")));
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.chars().count() > NAME {
        return refuse("has more than 64 characters");
    }
    if let Some(c) = name.chars().find(|c| *c > '\u{ffff}') {
        return refuse(&format!("holds `{c}`: a name has no characters of four bytes there"));
    }
    if name.ends_with(|c: char| matches!(c, ' ' | '\t'..='\r')) {
        return refuse("ends with white space");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Storage, TableColumn};
    use insta::assert_snapshot;

    fn spec(table: &str, columns: &[(&str, &str, bool)], key: &[&str]) -> TableSpec {
        TableSpec {
            name: TableName::parse(table),
            columns: columns.iter().map(|(name, text, nullable)| ColumnSpec::new(*name, *text, *nullable)).collect(),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            storage: Storage { engine: Some("MergeTree".into()), ..Storage::default() },
        }
    }

    fn text(ddl: &Ddl) -> String {
        ddl.statements.iter().chain(&ddl.notes).cloned().collect::<Vec<_>>().join(";\n")
    }

    #[test]
    fn a_table_is_created_with_its_quotes_doubled() {
        let mut spec = spec(
            "shop.x",
            &[("id", "longtext", false), ("at", "datetime(3)", false), ("a \"no`te\"", "longtext", true)],
            &["id", "at"],
        );
        spec.name.name = "we`ird".into();
        spec.columns[2].default = Some("concat('a', 'b')".into());
        assert_snapshot!(text(&MySqlGrammar::of(Flavor::MySql).create_table(&spec).unwrap()), @r#"
        CREATE TABLE IF NOT EXISTS `shop`.`we``ird` (
            `id` varchar(255) NOT NULL,
            `at` datetime(3) NOT NULL,
            `a "no``te"` longtext DEFAULT (concat('a', 'b')),
            PRIMARY KEY (`id`, `at`)
        ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;
        column `id` is of the key and so varchar(255), since MySQL cannot index longtext; longer texts are refused
        "#);
        assert_snapshot!(text(&MySqlGrammar::of(Flavor::MariaDb).create_table(&spec).unwrap()), @r#"
        CREATE TABLE IF NOT EXISTS `shop`.`we``ird` (
            `id` varchar(255) NOT NULL,
            `at` datetime(3) NOT NULL,
            `a "no``te"` longtext DEFAULT (concat('a', 'b')),
            PRIMARY KEY (`id`, `at`)
        ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
        column `id` is of the key and so varchar(255), since MariaDB cannot index longtext; longer texts are refused
        "#);
    }

    #[test]
    fn a_key_of_many_texts_gets_shorter_ones() {
        let columns = ["a", "b", "c", "d", "e"].map(|name| (name, "longtext", false));
        let ddl =
            MySqlGrammar::of(Flavor::MySql).create_table(&spec("t", &columns, &["a", "b", "c", "d", "e"])).unwrap();
        assert_snapshot!(ddl.notes[4], @"column `e` is of the key and so varchar(153), since MySQL cannot index longtext; longer texts are refused");
    }

    #[test]
    fn what_cannot_be_created_is_refused_by_name() {
        let refusal = |table: &str, column: &str, type_text: &str| {
            let spec = spec(table, &[(column, type_text, true)], &[]);
            MySqlGrammar::of(Flavor::MySql).create_table(&spec).unwrap_err().to_string()
        };
        assert_snapshot!(refusal("t", "🦀", "int"), @"table `t`: the name `🦀` holds `🦀`: a name has no characters of four bytes there");
        assert_snapshot!(refusal("t", &"é".repeat(65), "int"), @"table `t`: the name `ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé` has more than 64 characters");
        assert_snapshot!(refusal("orders ", "a", "int"), @"table `orders `: the name `orders ` ends with white space");
        assert_snapshot!(refusal("t", "", "int"), @"table `t`: the name `` is empty");
        assert_snapshot!(refusal("t", "a", "binary(3)"), @"table `t`, column `a`: type `binary(3)`: it fills values up with zero bytes: declare it varbinary");
        assert_snapshot!(refusal("t", "a", "int); DROP TABLE x; --"), @"table `t`, column `a`: type `int); DROP TABLE x; --`: it cannot be read as a type");
        assert!(
            MySqlGrammar::of(Flavor::MySql).create_table(&spec("t", &[(&"é".repeat(64), "int", true)], &[])).is_ok()
        );
    }

    #[test]
    fn a_table_is_changed_a_statement_each() {
        let column = |name: &str, type_text: &str, default| TableColumn {
            name: name.into(),
            type_text: type_text.into(),
            value: types::parse(type_text).map(|declared| types::value(&declared, false)).map_err(|why| why.0),
            default,
        };
        let columns = vec![
            column("id", "int", ColumnDefault::None),
            column("note", "varchar(20) collate latin1_bin", ColumnDefault::None),
            column("made", "int", ColumnDefault::Expression),
        ];
        let table = TableSchema::new(TableName::parse("shop.orders"), "InnoDB", columns);
        let changes = [
            Change::Add(ColumnSpec::new("more", "decimal(10,2)", true)),
            Change::Widen(ColumnSpec::new("ID", "bigint", false)),
            Change::Widen(ColumnSpec::new("note", "varchar(300)", true)),
        ];
        let grammar = MySqlGrammar::of(Flavor::MySql);
        assert_snapshot!(text(&grammar.alter_table(&table, &changes, None).unwrap()), @"
        ALTER TABLE `shop`.`orders` ADD COLUMN `more` decimal(10,2);
        ALTER TABLE `shop`.`orders` MODIFY COLUMN `ID` bigint NOT NULL;
        ALTER TABLE `shop`.`orders` MODIFY COLUMN `note` varchar(300) collate latin1_bin
        ");
        let refusal = |change| grammar.alter_table(&table, &[change], None).unwrap_err().to_string();
        assert_snapshot!(refusal(Change::Widen(ColumnSpec::new("made", "bigint", false))), @"table `shop.orders`, column `made`: rowfall does not change a column that the database fills in, since it cannot repeat how: change it with ALTER TABLE … MODIFY");
        assert_snapshot!(refusal(Change::Widen(ColumnSpec::new("lost", "bigint", false))), @"table `shop.orders`, column `lost`: the table does not have it");
        assert_snapshot!(refusal(Change::Add(ColumnSpec::new("x", "point", false))), @"table `shop.orders`, column `x`: type `point`: rowfall writes no geometry: declare it text or json");
    }
}
