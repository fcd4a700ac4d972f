//! Tables get columns, and wider ones, and keep their rows.

use super::{Cell, Suite, canonical, holds, ok, same, samples, takes};
use crate::contract::{Change, ColumnDefault, ColumnSpec, Ddl, LogicalType, TableSchema};

impl Suite<'_> {
    pub(super) async fn alters_tables(&self) {
        self.adds_columns().await;
        self.widens_columns().await;
    }

    /// A new column for each combination of what it holds in rows that are there.
    pub(super) fn new_columns(&self) -> Vec<Change> {
        let text = |logical| ok("column_type()", self.connection.grammar.column_type(&logical));
        let seven =
            ColumnSpec { default: Some("7".into()), ..ColumnSpec::new("new seven", text(LogicalType::Int64), false) };
        let plain = ColumnSpec::new("new \"column\"", text(LogicalType::String), true);
        let unsaid = ColumnSpec { nullable: None, ..ColumnSpec::new("unsaid", text(LogicalType::Float64), true) };
        [plain, seven, unsaid].map(Change::Add).into()
    }

    /// What makes the changes; `None` where the dialect says that it makes none such.
    pub(super) fn altered(&self, table: &TableSchema, changes: &[Change]) -> Option<Ddl> {
        match self.connection.grammar.alter_table(table, changes, None) {
            Ok(ddl) => Some(ddl),
            Err(why) => {
                assert!(why.0.contains(&table.name.name), "the table is not named: {why}");
                None
            }
        }
    }

    async fn adds_columns(&self) {
        let table = self.plain("altered").await;
        let Some(ddl) = self.altered(&table, &self.new_columns()) else { return };
        self.write(&table, &[vec![Cell::Value("1".into()), Cell::Null]]).await;
        // A process that knows the table as it was adds them once more.
        for _ in 0..2 {
            ok("adding columns", self.connection.session.execute(&ddl).await);
        }
        let altered = self.describe(&table.name).await;
        let columns: Vec<_> = altered.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(
            columns,
            ["row", "note", "new \"column\"", "new seven", "unsaid"],
            "the columns after some were added"
        );
        assert!(takes(&altered.columns[2]).nullable, "a column that was to take null does not");
        assert!(!takes(&altered.columns[3]).nullable, "a column that was to take no null does");
        assert_eq!(altered.columns[3].default, ColumnDefault::Expression, "a column that was added with a default");
        let cells = |row: &str, rest: [Cell; 3]| [vec![Cell::Value(row.into()), Cell::Null], rest.into()].concat();
        let value = |text: &str| Cell::Value(text.into());
        let given = cells("2", [value("x"), value("5"), value("0.5")]);
        self.write(&altered, &[given.clone(), cells("3", [Cell::Absent, Cell::Absent, value("1.5")])]).await;
        // What became of `unsaid` in the row that was there is the database's choice.
        let narrow = TableSchema { columns: altered.columns[..4].into(), ..TableSchema::clone(&altered) };
        let rows =
            [cells("1", [Cell::Null, value("7"), Cell::Null]), given, cells("3", [Cell::Null, value("7"), Cell::Null])];
        self.expect(&narrow, &rows).await;
        // Whoever wrote with the old description goes on.
        self.write(&table, &[vec![value("4"), Cell::Null]]).await;
    }

    async fn widens_columns(&self) {
        let decimal = |precision, scale| LogicalType::Decimal { precision, scale };
        let steps = [
            (LogicalType::Int16, LogicalType::Int32),
            (LogicalType::Int32, LogicalType::Int64),
            (LogicalType::UInt32, LogicalType::UInt64),
            (LogicalType::Float32, LogicalType::Float64),
            (decimal(9, 2), decimal(15, 2)),
            (decimal(9, 2), decimal(38, 10)),
        ];
        for (narrow, wide) in steps {
            for nullable in [(false, false), (true, true), (false, true)] {
                self.widens(&narrow, &wide, nullable).await;
            }
        }
        self.widens(&LogicalType::String, &LogicalType::String, (false, true)).await;
    }

    async fn widens(&self, narrow: &LogicalType, wide: &LogicalType, (nullable, then): (bool, bool)) {
        let grammar = &self.connection.grammar;
        let (Ok(_), Ok(type_text)) = (grammar.column_type(narrow), grammar.column_type(wide)) else { return };
        let columns = [("row", LogicalType::Int64, false), ("widened", narrow.clone(), nullable)];
        let table = self.create(&self.spec("widened", &columns)).await;
        let change = Change::Widen(ColumnSpec::new("widened", type_text, then));
        let ddl = match grammar.alter_table(&table, &[change], None) {
            Ok(ddl) => ddl,
            Err(why) => return assert!(why.0.contains("widened"), "the column is not named: {why}"),
        };
        let rows = |from: usize, values: Vec<String>| {
            let row = |(row, value): (usize, String)| vec![Cell::Value((from + row).to_string()), Cell::Value(value)];
            values.into_iter().enumerate().map(row).collect::<Vec<_>>()
        };
        let mut content = rows(0, samples(narrow));
        self.write(&table, &content).await;
        for _ in 0..2 {
            ok("widening a column", self.connection.session.execute(&ddl).await);
        }
        let widened = self.describe(&table.name).await;
        let column = takes(&widened.columns[1]);
        assert!(holds(&column.logical, wide), "a column that was widened from {narrow} to {wide} takes {column}");
        assert!(column.nullable || !then, "a column that was to take null from now on does not: {narrow}");
        let more = rows(content.len(), samples(wide));
        self.write(&widened, &more).await;
        content.extend(more);
        if then {
            let null = vec![Cell::Value(content.len().to_string()), Cell::Null];
            self.write(&widened, std::slice::from_ref(&null)).await;
            content.push(null);
        }
        if *narrow != LogicalType::Float32 {
            return self.expect(&widened, &content).await;
        }
        // A double says of 0.1f32 more than was written, and means the same.
        let read = self.probe.read(&widened.name, &widened.columns).await;
        for (read, cells) in read.iter().zip(&content) {
            let Cell::Value(text) = &cells[1] else { continue };
            let expected = canonical(wide, text);
            let is_same = |logical| same(logical, read[1].as_deref(), Some(&expected));
            assert!(is_same(wide) || is_same(narrow), "a column that was widened from {narrow}: {text} is {read:?}");
        }
    }
}
