use async_trait::async_trait;

use crate::contract::{
    Block, Ddl, Error, Intent, Partition, Progress, Receipt, Resumed, Session, TableName, TableSchema,
};
use crate::failpoint;
use crate::generic::{Statement, answered};
use crate::mysql::pool::{Live, Pool};
use crate::mysql::values::Source;
use crate::mysql::{check, codes, describe, grammar, progress, write};

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
            .with(async |live| match intent {
                Intent::Write { table, keyed, .. } => check::write(live, table, keyed).await,
                Intent::Create(spec) => check::create(live, spec).await,
                Intent::Deduplicate { .. } => Ok(Vec::new()),
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
    failpoint::at("sent");
    answered(sqlx::raw_sql("COMMIT").execute(&mut live.connection)).await.map_err(statement)?;
    Ok(receipt)
}
