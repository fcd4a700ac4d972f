//! A dialect that is no part of rowfall, whole, to start your own from: a "database" whose tables are in this process's
//! memory. It needs nothing but the public contract, and keeps all of it, as the test below shows.
//!
//! ```sh
//! cargo run -p rowfall-dialects --example memory     # write, change and delete rows, and see what is left
//! cargo test -p rowfall-dialects --example memory    # the checks that every dialect has to pass
//! ```
//!
//! - `grammar`: its types and its texts; pure
//! - `session`: what is done with them
//! - `database`: what a server would do: SQL of four statements, rows and transactions. Yours is there already.

mod database;
mod grammar;
mod session;

use std::sync::{Arc, Mutex};

use rowfall_dialects::contract::{
    Block, ColumnSpec, Connection, ExactlyOnce, Layout, LogicalType, Mark, Op, Refusal, Storage, TableName, TableSpec,
    Values,
};

use database::Database;
use grammar::MemoryGrammar;
use session::MemorySession;

/// What `connect(&Target)` is in a dialect of this crate. It promises nothing of the server, and creates nothing.
fn connect(database: &Arc<Mutex<Database>>) -> Connection {
    Connection {
        grammar: Arc::new(MemoryGrammar),
        session: Arc::new(MemorySession(Arc::clone(database))),
        exactly_once: Some(ExactlyOnce::Transactions),
    }
}

/// What the pipeline does, in the same order.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = Arc::default();
    let Connection { grammar, session, .. } = connect(&database);
    println!("{}", session.server().await?);

    let columns = [("id", LogicalType::Int64, false), ("name", LogicalType::String, true)];
    let column = |(name, logical, nullable): (&str, LogicalType, bool)| {
        Ok(ColumnSpec::new(name, grammar.column_type(&logical)?, nullable))
    };
    let spec = TableSpec {
        name: TableName::parse("customers"),
        columns: columns.map(column).into_iter().collect::<Result<_, Refusal>>()?,
        key: vec!["id".into()],
        storage: Storage::default(),
    };
    let ddl = grammar.create_table(&spec)?;
    println!("{}", ddl.statements.join(";\n"));
    session.execute(&ddl).await?;

    let table = session.describe(&spec.name).await?.ok_or("it was created")?;
    let layout = Arc::new(Layout { key: [0].into(), ..Layout::new(Arc::new(table), [0, 1]) });
    session.write(&[&block(&layout, &[(Op::Upsert, 1, Some("Ada")), (Op::Upsert, 2, Some("Grace"))])], None).await?;
    // Absent is not null: the first row keeps its name.
    session.write(&[&block(&layout, &[(Op::Upsert, 1, None), (Op::Delete, 2, None)])], None).await?;
    println!("{:?}", database.lock().map_err(|_| "a write panicked")?.rows("customers"));
    Ok(())
}

/// A block is columns, not rows: each value is pushed onto its column.
fn block(layout: &Arc<Layout>, rows: &[(Op, i64, Option<&str>)]) -> Block {
    let mut columns = layout.empty_columns();
    for (_, id, name) in rows {
        if let Values::Int64(ids) = &mut columns[0].values {
            ids.push(*id);
        }
        match (name, &mut columns[1].values) {
            (Some(name), Values::Text(names)) => names.push(name),
            _ => columns[1].push_mark(Mark::Absent),
        }
    }
    let ops = rows.iter().map(|(op, ..)| *op).collect();
    Block { ops, ..Block::new(Arc::clone(layout), columns, rows.len()) }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use rowfall_dialects::conformance::{self, Probe};
    use rowfall_dialects::contract::TableColumn;

    use super::*;

    /// Reads tables back: by another way than the dialect's, where there is one.
    struct Reader(Arc<Mutex<Database>>);

    #[async_trait]
    impl Probe for Reader {
        async fn read(&self, table: &TableName, columns: &[TableColumn]) -> Vec<Vec<Option<String>>> {
            let database = self.0.lock().unwrap();
            let stored = &database.table(&table.name).unwrap().columns;
            let place = |column: &TableColumn| stored.iter().position(|stored| stored.name == column.name).unwrap();
            let places: Vec<_> = columns.iter().map(place).collect();
            let rows = database.rows(&table.name);
            let mut rows: Vec<Vec<_>> =
                rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect();
            rows.sort_by_key(|row: &Vec<Option<String>>| row[0].as_ref().map(|text| text.parse::<i64>().unwrap()));
            rows
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let database = Arc::default();
        let reader = Reader(Arc::clone(&database));
        let connection = connect(&database);
        conformance::run(&connection, None, &reader).await;
        conformance::compete(&connection, &connect(&database), None, &reader).await;
    }
}
