//! What would keep this user from writing or creating a table, found without doing it: the server itself says so, of
//! statements that concern no row or are only prepared.

use sqlx::{Executor as _, SqlSafeStr as _};

use crate::contract::{Advice, ColumnDefault, Error, Grammar as _, TableName, TableSchema, TableSpec};
use crate::generic::{Statement, answered};
use crate::mysql::grammar::{MySqlGrammar, SYNTAX};
use crate::mysql::pool::Live;
use crate::mysql::{codes, statements};

const ME: &str = "SELECT CAST(current_user() AS CHAR)";

/// The database where one is meant that does not exist, or the one that was chosen.
const MISSING: &str =
    "SELECT count(*) = 0 FROM information_schema.schemata WHERE schema_name = coalesce(?, database())";

const READ_ONLY: &str = "SELECT CAST(@@global.read_only AS SIGNED) <> 0";

/// Writes nothing, in each of the ways in which rows will be written.
pub(super) async fn write(live: &mut Live, table: &TableSchema, keyed: bool) -> Result<Vec<Error>, Error> {
    let writable = table.columns.iter().filter(|column| column.default != ColumnDefault::Generated);
    let names: Vec<_> = writable.map(|column| column.name.as_str()).collect();
    let mut tries = vec![statements::insert_nothing(&table.name, &names, keyed)];
    let mut rights = "INSERT";
    if keyed {
        tries.push(statements::delete_nothing(&table.name, &names));
        rights = "SELECT, INSERT, UPDATE, DELETE";
    }
    let doing = format!("writing table `{}`", table.name);
    let mut problems: Vec<Error> = Vec::new();
    for statement in tries {
        let tried = answered(sqlx::raw_sql(&statement).execute(&mut live.connection)).await;
        if let Err(error) = tried {
            let problem = problem(live, &table.name, rights, codes::error(&doing, error)).await?;
            // What mends the first mends the second.
            problems.extend(problem.filter(|problem| problems.is_empty() || problem.hint.is_none()));
        }
    }
    Ok(problems)
}

/// Prepares what creates the table.
pub(super) async fn create(live: &mut Live, spec: &TableSpec) -> Result<Vec<Error>, Error> {
    let doing = format!("creating table `{}`", spec.name);
    let failed = |error| codes::error(&doing, error);
    let ddl = match MySqlGrammar::of(live.server.flavor).create_table(spec) {
        Ok(ddl) => ddl,
        Err(why) => return Ok(vec![Error::pause(why.0)]),
    };
    let mut problems = Vec::new();
    let missing = sqlx::query_scalar(MISSING).bind(&spec.name.schema);
    if answered(missing.fetch_one(&mut live.connection)).await.map_err(failed)? {
        let schema = spec.name.schema.as_deref().unwrap_or_default();
        let hint = format!("CREATE DATABASE {}, or let the user see it", SYNTAX.identifier(schema));
        problems.push(Error::pause(format!("{doing}: there is no such database")).with_hint(hint));
    }
    for statement in &ddl.statements {
        let statement = Statement::ddl(statement);
        let prepared = answered(live.connection.prepare((&statement).into_sql_str())).await;
        if let Err(error) = prepared {
            let error = codes::error(&doing, error);
            problems.extend(problem(live, &spec.name, "CREATE, SELECT, INSERT", error).await?);
        }
    }
    let read_only = sqlx::query_scalar(READ_ONLY);
    if answered(read_only.fetch_one(&mut live.connection)).await.map_err(failed)? {
        problems.push(Error::pause(format!("{doing}: the server is read-only")).with_hint(codes::READ_ONLY));
    }
    Ok(problems)
}

/// What the error of a try says of the real thing; with the statement that gives the right, where one is missing.
async fn problem(live: &mut Live, table: &TableName, rights: &str, error: Error) -> Result<Option<Error>, Error> {
    if error.advice == Advice::Retry {
        // Somebody else's lock is no problem.
        return Ok(None);
    }
    if error.hint.as_deref() != Some(codes::GRANT) {
        return Ok(Some(error));
    }
    let me = answered(sqlx::query_scalar::<_, String>(ME).fetch_one(&mut live.connection)).await;
    let me = me.map_err(|error| codes::error("asking who this user is", error))?;
    let (user, host) = me.rsplit_once('@').unwrap_or((&me, "%"));
    let hint = format!("GRANT {rights} ON {} TO '{user}'@'{host}'", SYNTAX.table(table));
    Ok(Some(error.with_hint(hint)))
}
