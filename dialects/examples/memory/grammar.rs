use rowfall_dialects::contract::{
    Change, ColumnSpec, Ddl, Grammar, LogicalType, Refusal, TableSchema, TableSpec, ValueType,
};
use rowfall_dialects::generic::Syntax;

/// How this database wants its statements: see the fields' docs. `Syntax` writes those of any SQL database.
pub(crate) const SYNTAX: Syntax = Syntax {
    quote: '"',
    ignores_case: false,
    max_parameters: 1000,
    max_rows: 1000,
    empty_row: "DEFAULT VALUES",
    numbered: false,
    in_rows: "",
    same: "IS",
    add_once: "IF NOT EXISTS ",
};

pub(crate) struct MemoryGrammar;

impl Grammar for MemoryGrammar {
    fn name(&self) -> &'static str {
        "Memory"
    }

    fn quote(&self, identifier: &str) -> String {
        SYNTAX.identifier(identifier)
    }

    // A type that holds every such value, or a reason. To refuse is right; to round is not.
    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
        use LogicalType as T;
        let text = match logical {
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => "INT",
            T::Float32 | T::Float64 => "FLOAT",
            T::String => "TEXT",
            other => return Err(Refusal(format!("memory keeps no {other}: a string holds the text"))),
        };
        Ok(text.into())
    }

    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
        match text {
            "INT" => Ok(LogicalType::Int64.into()),
            "FLOAT" => Ok(LogicalType::Float64.into()),
            "TEXT" => Ok(LogicalType::String.into()),
            _ => Err(Refusal(format!("memory has no type `{text}`: declare INT, FLOAT or TEXT"))),
        }
    }

    fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal> {
        for column in &table.columns {
            self.parse_type(&column.type_text)?;
        }
        Ok(Ddl::new(table.name.clone(), vec![SYNTAX.create_table(table)?]))
    }

    fn alter_table(&self, table: &TableSchema, changes: &[Change], _: Option<&str>) -> Result<Ddl, Refusal> {
        let statement = |change: &Change| match change {
            Change::Add(column) => SYNTAX.add_column(table, column),
            Change::Widen(column) => widen(table, column),
        };
        Ok(Ddl::new(table.name.clone(), changes.iter().map(statement).collect::<Result<_, _>>()?))
    }
}

/// An INT is no FLOAT, which rounds it, so all that can be widened is what takes no null.
fn widen(table: &TableSchema, wanted: &ColumnSpec) -> Result<String, Refusal> {
    let refuse = |why| Err(Refusal(format!("table `{}`, column `{}` {why}", table.name, wanted.name)));
    match table.columns.iter().find(|column| column.name == wanted.name) {
        None => refuse("is not there"),
        Some(column) if column.type_text != wanted.type_text => refuse("cannot get another type: make a new table"),
        Some(_) => Ok(format!(
            "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL",
            SYNTAX.table(&table.name),
            SYNTAX.identifier(&wanted.name)
        )),
    }
}
