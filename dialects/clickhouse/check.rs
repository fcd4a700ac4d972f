//! What would keep a user from writing a table, found without writing.

use super::grammar::{literal, quote, quote_table};
use super::hazards::{Hazard, hazards};
use super::server::ClickHouse;
use super::settings::{EXPECTED, PINNED};
use super::{create, describe, engines};
use crate::contract::{Advice, ColumnDefault, Error, TableName, TableSchema, TableSpec, Upserts};

/// The obstacles, each with what mends it.
pub(super) async fn check(session: &ClickHouse, table: &TableSchema, keyed: bool) -> Result<Vec<Error>, Error> {
    let mut problems = Vec::new();
    if keyed {
        problems.extend(upserts(session, table).await?);
    }
    problems.extend(rights(session, table).await?);
    problems.extend(settings(session, table).await?);
    problems.extend(replica(session, table).await?);
    Ok(problems)
}

/// What would keep a user from creating a table and writing it then.
pub(super) async fn check_create(
    session: &ClickHouse,
    table: &TableName,
    spec: &TableSpec,
) -> Result<Vec<Error>, Error> {
    let on_table = quote_table(table);
    let engine = engines::name(create::engine(spec));
    let mut wanted = vec![("CREATE TABLE", on_table.clone()), ("INSERT", on_table)];
    if engine.chars().all(|c| c.is_ascii_alphanumeric()) {
        // Where the server asks for no such right, everyone has it.
        wanted.push(("TABLE ENGINE", engine.to_owned()));
    }
    if spec.storage.cluster.is_some() {
        // The second and the rest are for the question whether every server has the table.
        let everything = || "*.*".to_owned();
        wanted.extend([("CLUSTER", everything()), ("REMOTE", everything()), ("CREATE TEMPORARY TABLE", everything())]);
        wanted.extend(["one", "columns"].map(|table| ("SELECT", format!("system.{table}"))));
    }
    let mut problems = Vec::new();
    for (right, on) in wanted {
        if !granted(session, table, right, &on).await? {
            let user = quote(session.user());
            problems.push(
                Error::pause(format!("user {} may not create {table}: no right {right} ON {on}", session.user()))
                    .with_code("497")
                    .with_hint(format!("GRANT {right} ON {on} TO {user}")),
            );
        }
    }
    if problems.is_empty() {
        problems.extend(database(session, table).await?);
    }
    Ok(problems)
}

/// What would keep rows of a key from being changed, or bring back what they were.
async fn upserts(session: &ClickHouse, table: &TableSchema) -> Result<Vec<Error>, Error> {
    let name = &table.name;
    if let Upserts::Never { why, hint } = &table.upserts {
        return Ok(vec![Error::pause(format!("{name} takes no upserts and deletes: {why}")).with_hint(hint)]);
    }
    let Some(facts) = describe::facts(session, &format!("cannot check {name}"), name).await? else {
        return Ok(Vec::new());
    };
    let problem = |hazard: Hazard| {
        Error::pause(format!("{name} cannot be trusted with upserts and deletes: {}", hazard.what))
            .with_hint(hazard.statement(&facts.local().name))
    };
    Ok(hazards(&facts).into_iter().map(problem).collect())
}

/// Whoever may create tables in a database may see it.
async fn database(session: &ClickHouse, table: &TableName) -> Result<Option<Error>, Error> {
    let database = table.schema.as_deref().unwrap_or_default();
    let sql = format!("SELECT count() FROM system.databases WHERE name = {}", literal(database));
    let doing = format!("cannot look for database {database}");
    let found = session.answer(&doing, session.question(&sql).fetch_one::<u64>()).await?;
    Ok((found == 0).then(|| {
        Error::pause(format!("database {database} does not exist"))
            .with_hint(format!("CREATE DATABASE {}, or name another in the target's url", quote(database)))
    }))
}

async fn rights(session: &ClickHouse, table: &TableSchema) -> Result<Option<Error>, Error> {
    let name = &table.name;
    let writable = table.columns.iter().filter(|c| c.value.is_ok() && c.default != ColumnDefault::Generated);
    let columns: Vec<_> = writable.map(|column| quote(&column.name)).collect();
    let right = format!("INSERT({})", columns.join(", "));
    let granted = granted(session, name, &right, &quote_table(name)).await?;
    Ok((!granted).then(|| {
        Error::pause(format!("user {} may not insert into {name}", session.user())).with_code("497").with_hint(format!(
            "GRANT INSERT ON {} TO {}",
            quote_table(name),
            quote(session.user())
        ))
    }))
}

/// `CHECK GRANT` answers for roles and column grants too, and needs no right itself.
pub(super) async fn granted(session: &ClickHouse, table: &TableName, right: &str, on: &str) -> Result<bool, Error> {
    let sql = format!("CHECK GRANT {right} ON {on}");
    let granted = session.answer(&format!("cannot check {table}"), session.question(&sql).fetch_one::<u8>()).await;
    match granted {
        Ok(granted) => Ok(granted == 1),
        // Servers before 24.12 do not know the statement, or the right; the first statement that needs it will tell.
        Err(error) if error.code.as_deref() == Some("62") => Ok(true),
        Err(error) => Err(error),
    }
}

/// Sends the settings of an insert with a question, and asks for them.
async fn settings(session: &ClickHouse, table: &TableSchema) -> Result<Vec<Error>, Error> {
    let names: Vec<_> = PINNED.iter().chain(EXPECTED).map(|(name, _)| literal(name)).collect();
    let sql = format!("SELECT name, value FROM system.settings WHERE name IN ({})", names.join(", "));
    let doing = format!("cannot use the settings that inserts into {} need", table.name);
    let values = session.inserts.clone().with_compression(clickhouse::Compression::None).query_raw(&sql);
    match session.answer(&doing, values.fetch_all::<(String, String)>()).await {
        Ok(values) => Ok(differing(&values)),
        Err(error) if error.advice == Advice::Retry && error.code.is_none() => Err(error),
        Err(error) => Ok(vec![error]),
    }
}

fn differing(values: &[(String, String)]) -> Vec<Error> {
    let wrong = |(name, pinned): &(&str, &str)| {
        let (_, value) = values.iter().find(|(known, _)| known == name)?;
        (value != pinned).then(|| {
            Error::pause(format!("the server keeps {name} at {value}, where rowfall needs {pinned}"))
                .with_hint(format!("set {name} to {pinned} in the user's settings profile"))
        })
    };
    PINNED.iter().chain(EXPECTED).filter_map(wrong).collect()
}

/// A replica that lost its Keeper takes no inserts.
async fn replica(session: &ClickHouse, table: &TableSchema) -> Result<Option<Error>, Error> {
    if !table.kind.starts_with("Replicated") {
        return Ok(None);
    }
    let name = &table.name;
    let sql = format!(
        "SELECT is_readonly FROM system.replicas WHERE database = {} AND table = {}",
        literal(name.schema.as_deref().unwrap_or_default()),
        literal(&name.name)
    );
    let doing = format!("cannot check {name}");
    match session.answer(&doing, session.question(&sql).fetch_optional::<u8>()).await {
        Ok(Some(1)) => Ok(Some(
            Error::new(Advice::Retry, format!("the replica of {name} on this server is read-only"))
                .with_hint("look for its last error in system.replicas: has it lost ClickHouse Keeper?"),
        )),
        Ok(_) => Ok(None),
        // That table needs a right of its own, which writing does not.
        Err(error) if error.code.as_deref() == Some("497") => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_does_not_stay_is_told() {
        let mut values: Vec<_> = PINNED.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert!(differing(&values).is_empty());
        values[0].1 = "1".into();
        let errors = differing(&values);
        insta::assert_snapshot!(errors[0], @"the server keeps async_insert at 1, where rowfall needs 0");
        assert_eq!(errors.len(), 1);
    }
}
