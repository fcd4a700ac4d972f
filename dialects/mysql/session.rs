use async_trait::async_trait;
use sqlx::Executor as _;

use crate::contract::{
    Advice, Block, ColumnDefault, Ddl, Error, Intent, Partition, Progress, Receipt, Resumed, Session, TableName,
    TableSchema,
};
use crate::generic::Statement;
use crate::mysql::pool::{Live, Pool, answered};
use crate::mysql::values::Source;
use crate::mysql::{codes, describe, grammar, progress, statements, write};

/// What is done with the servers, on any of the pool's connections.
pub(super) struct MySqlSession {
    pool: Pool,
}

impl MySqlSession {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Session for MySqlSession {
    async fn server(&self) -> Result<String, Error> {
        self.pool.with(async |live| Ok(format!("{} {}", live.server.flavor.name(), live.server.version))).await
    }

    async fn describe(&self, table: &TableName) -> Result<Option<TableSchema>, Error> {
        self.pool.with(async |live| describe::describe(live, table).await).await
    }

    async fn check(&self, intent: Intent<'_>) -> Result<Vec<Error>, Error> {
        self.pool
            .with(async |live| {
                let problem = match intent {
                    Intent::Write { table, keyed, .. } => may_write(live, table, keyed).await,
                    Intent::Create(spec) => {
                        let grammar = grammar::MySqlGrammar::of(live.server.flavor);
                        may_create(live, &grammar, spec).await
                    }
                };
                match problem {
                    // Somebody else's lock is no problem.
                    Err(error) if error.advice != Advice::Retry => Ok(vec![error]),
                    Ok(()) | Err(_) => Ok(Vec::new()),
                }
            })
            .await
    }

    async fn execute(&self, ddl: &Ddl) -> Result<(), Error> {
        self.pool
            .with(async |live| {
                for statement in &ddl.statements {
                    // No patience here: a change of a large table takes as long as it takes.
                    match sqlx::raw_sql(&Statement::ddl(statement)).execute(&mut live.connection).await {
                        Ok(_) => {}
                        // Another process was faster.
                        Err(error) if codes::is_duplicate_column(&error) => {}
                        Err(error) => return Err(codes::error(&format!("DDL of table `{}`", ddl.table), error)),
                    }
                }
                Ok(())
            })
            .await
    }

    async fn write(&self, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
        let blocks: Vec<_> = blocks.iter().copied().filter(|block| block.rows > 0).collect();
        if blocks.is_empty() && progress.is_none() {
            return Ok(Receipt::default());
        }
        for block in &blocks {
            needs_transactions(&block.layout.table, progress.is_some() || !block.ops.is_empty())?;
        }
        self.pool.with(async |live| transaction(live, &blocks, progress).await).await
    }

    async fn resume(&self, pipeline: &str, partitions: &[Partition]) -> Result<Vec<Resumed>, Error> {
        self.pool.with(async |live| progress::resume(&mut live.connection, pipeline, partitions).await).await
    }
}

/// An engine without them keeps its rows when all else is rolled back.
fn needs_transactions(table: &TableSchema, needs: bool) -> Result<(), Error> {
    match &table.promise {
        Some(promise) if needs => Err(Error::pause(format!("table `{}`: {promise}", table.name)).with_hint(format!(
            "ALTER TABLE {} ENGINE = InnoDB, or set `delivery: at-least-once`",
            grammar::SYNTAX.table(&table.name)
        ))),
        _ => Ok(()),
    }
}

/// Everything or nothing.
async fn transaction(live: &mut Live, blocks: &[&Block], progress: Option<&Progress>) -> Result<Receipt, Error> {
    let statement = |error| codes::error("writing", error);
    let flavor = live.server.flavor;
    let sources = blocks.iter().map(|block| Source::new(flavor, block)).collect::<Result<Vec<_>, _>>()?;
    answered(sqlx::raw_sql("START TRANSACTION").execute(&mut live.connection)).await.map_err(statement)?;
    if let Some(progress) = progress
        && !progress::advance(&mut live.connection, progress).await?
    {
        answered(sqlx::raw_sql("ROLLBACK").execute(&mut live.connection)).await.map_err(statement)?;
        progress::settle(&mut live.connection, progress).await?;
        return Ok(Receipt { rows: blocks.iter().map(|block| block.rows).sum(), bytes: 0 });
    }
    let mut receipt = Receipt::default();
    for source in &sources {
        receipt += write::write(live, source).await?;
    }
    answered(sqlx::raw_sql("COMMIT").execute(&mut live.connection)).await.map_err(statement)?;
    Ok(receipt)
}

/// Writes nothing, with the rights that writing takes.
async fn may_write(live: &mut Live, table: &TableSchema, keyed: bool) -> Result<(), Error> {
    let failed = |error| codes::error(&format!("writing table `{}`", table.name), error);
    let writable = table.columns.iter().filter(|column| column.default != ColumnDefault::Generated);
    let names: Vec<_> = writable.map(|column| column.name.as_str()).collect();
    let mut tries = vec![statements::insert_nothing(&table.name, &names, keyed)];
    if keyed {
        tries.push(statements::delete_nothing(&table.name, &names));
    }
    for statement in tries {
        answered(sqlx::raw_sql(&statement).execute(&mut live.connection)).await.map_err(failed)?;
    }
    Ok(())
}

/// Prepares the statement: then rights and database are looked at, and nothing is done.
async fn may_create(
    live: &mut Live,
    grammar: &grammar::MySqlGrammar,
    spec: &crate::contract::TableSpec,
) -> Result<(), Error> {
    use crate::contract::Grammar as _;
    let doing = format!("creating table `{}`", spec.name);
    let ddl = grammar.create_table(spec).map_err(|why| Error::pause(why.0))?;
    for statement in &ddl.statements {
        let statement = Statement::ddl(statement);
        let prepared = answered(live.connection.prepare(sqlx::SqlSafeStr::into_sql_str(&statement))).await;
        prepared.map_err(|error| codes::error(&doing, error))?;
    }
    let read_only: i64 =
        answered(sqlx::query_scalar("SELECT CAST(@@global.read_only AS SIGNED)").fetch_one(&mut live.connection))
            .await
            .map_err(|error| codes::error(&doing, error))?;
    if read_only != 0 {
        return Err(Error::pause(format!("{doing}: the server is read-only"))
            .with_hint("connect to the server that takes writes, or set `read_only` off"));
    }
    Ok(())
}
