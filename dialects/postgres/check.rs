//! What would keep this user from writing, found without writing.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use crate::contract::{Error, TableName, TableSchema, TableSpec};
use crate::generic::answered;
use crate::postgres::codes;
use crate::postgres::grammar::SYNTAX;

/// Rights on a table may be given for all columns or one by one. `$4`: the rights, in the order of the answers.
const TABLE: &str = "
SELECT current_user::text AS me, pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may_look,
       ARRAY (
           SELECT pg_catalog.has_table_privilege(c.oid, kind) OR kind <> 'DELETE' AND coalesce((
               SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, name, kind)) FROM unnest($3) AS name
           ), FALSE)
           FROM unnest($4) WITH ORDINALITY AS wanted (kind, place) ORDER BY place
       ) AS rights,
       pg_catalog.row_security_active(c.oid) AS rows_are_hidden,
       EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type = '3') AS has_rules
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2";

const SERVER: &str = "
SELECT pg_catalog.pg_is_in_recovery() AS is_replica,
       pg_catalog.current_setting('default_transaction_read_only') = 'on' AS is_read_only";

const SCHEMA: &str = "
SELECT current_user::text AS me, n.nspname::text AS schema, pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS may_create
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = coalesce($1, current_schema())";

/// What would keep this user from writing the table.
pub(super) async fn write(
    connection: &mut PgConnection,
    table: &TableSchema,
    keyed: bool,
) -> Result<Vec<Error>, Error> {
    // A statement that finds rows by their keys reads these.
    let wanted: &[&str] = if keyed { &["INSERT", "UPDATE", "DELETE", "SELECT"] } else { &["INSERT"] };
    let name = &table.name;
    let failed = |error| codes::error(&format!("checking table `{name}`"), error);
    let mut problems = server(connection, name).await?;
    let columns: Vec<_> =
        table.columns.iter().filter(|column| column.value.is_ok()).map(|column| column.name.clone()).collect();
    let asked = sqlx::query(TABLE).bind(&name.schema).bind(&name.name).bind(columns).bind(wanted);
    let Some(row) = answered(asked.fetch_optional(&mut *connection)).await.map_err(failed)? else {
        return Ok(problems);
    };
    let flag = |column| row.try_get::<Option<bool>, _>(column).map(|flag| flag.unwrap_or(false)).map_err(failed);
    let me = SYNTAX.identifier(&row.try_get::<String, _>("me").map_err(failed)?);
    let quoted = SYNTAX.table(name);
    if !flag("may_look")? {
        let schema = SYNTAX.identifier(name.schema.as_deref().unwrap_or_default());
        problems.push(
            Error::pause(format!("table `{name}`: user {me} may not use its schema"))
                .with_hint(format!("GRANT USAGE ON SCHEMA {schema} TO {me}")),
        );
    }
    let rights: Vec<bool> = row.try_get("rights").map_err(failed)?;
    let missing: Vec<_> = wanted.iter().zip(rights).filter(|(_, has)| !has).map(|(kind, _)| *kind).collect();
    if !missing.is_empty() {
        let kinds = missing.join(", ");
        problems.push(
            Error::pause(format!("table `{name}`: user {me} lacks the right to {kinds}"))
                .with_hint(format!("GRANT {kinds} ON {quoted} TO {me}")),
        );
    }
    if flag("rows_are_hidden")? {
        problems.push(
            Error::pause(format!("table `{name}`: row-level security applies to user {me}, which rules COPY out"))
                .with_hint(format!("ALTER ROLE {me} BYPASSRLS, or write as the owner of the table")),
        );
    }
    if flag("has_rules")? {
        problems.push(
            Error::pause(format!("table `{name}`: it has a rule ON INSERT, which COPY does not follow"))
                .with_hint("use a trigger in place of the rule"),
        );
    }
    Ok(problems)
}

/// What would keep this user from creating the table.
pub(super) async fn create(connection: &mut PgConnection, table: &TableSpec) -> Result<Vec<Error>, Error> {
    let name = &table.name;
    let failed = |error| codes::error(&format!("checking table `{name}`"), error);
    let mut problems = server(connection, name).await?;
    let row =
        answered(sqlx::query(SCHEMA).bind(&name.schema).fetch_optional(&mut *connection)).await.map_err(failed)?;
    let Some(row) = row else {
        let problem = match &name.schema {
            Some(schema) => Error::pause(format!("table `{name}`: there is no schema `{schema}`"))
                .with_hint(format!("CREATE SCHEMA {}", SYNTAX.identifier(schema))),
            None => Error::pause(format!("table `{name}`: no schema of the search path exists"))
                .with_hint("name a schema, or set `search_path` in the target's URL"),
        };
        problems.push(problem);
        return Ok(problems);
    };
    let text = |column| row.try_get::<String, _>(column).map(|name| SYNTAX.identifier(&name)).map_err(failed);
    if !row.try_get::<bool, _>("may_create").map_err(failed)? {
        let (me, schema) = (text("me")?, text("schema")?);
        problems.push(
            Error::pause(format!("table `{name}`: user {me} may not create tables in schema {schema}"))
                .with_hint(format!("GRANT CREATE ON SCHEMA {schema} TO {me}")),
        );
    }
    Ok(problems)
}

async fn server(connection: &mut PgConnection, table: &TableName) -> Result<Vec<Error>, Error> {
    let failed = |error| codes::error(&format!("checking table `{table}`"), error);
    let row = answered(sqlx::query(SERVER).fetch_one(connection)).await.map_err(failed)?;
    let flag = |column| row.try_get::<bool, _>(column).map_err(failed);
    let mut problems = Vec::new();
    if flag("is_replica")? {
        problems.push(
            Error::pause(format!("table `{table}`: the server is a replica, which may only be read"))
                .with_hint("name the primary server in the target's URL"),
        );
    }
    if flag("is_read_only")? {
        problems.push(
            Error::pause(format!("table `{table}`: transactions are read-only for this user or database"))
                .with_hint("set default_transaction_read_only to off"),
        );
    }
    Ok(problems)
}
