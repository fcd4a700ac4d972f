//! Tables that stand on every server of a cluster.
//!
//! `ON CLUSTER` may be acknowledged by the server that took the statement before the others have followed, and a row
//! that meets one of those is refused. So each server is asked what it has.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::grammar::literal;
use super::server::ClickHouse;
use crate::contract::{Advice, Error, TableSchema};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until every server of the cluster shows the table with these columns.
pub(super) async fn everywhere(
    session: &ClickHouse,
    cluster: &str,
    table: &TableSchema,
    patience: Duration,
) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let lacking = match servers(session, cluster, table).await {
            Ok(servers) => match lacking(table, &servers) {
                None => return Ok(()),
                Some(what) => behind(cluster, table, patience, &what),
            },
            // A server that is away now may be back in time.
            Err(error) if error.advice == Advice::Retry => error,
            Err(error) => return Err(error),
        };
        if Instant::now() + PAUSE > deadline {
            return Err(lacking);
        }
        sleep(PAUSE).await;
    }
}

/// One server, and the columns of the table as it shows them: name and type.
struct Server {
    name: String,
    columns: Vec<(String, String)>,
}

async fn servers(session: &ClickHouse, cluster: &str, table: &TableSchema) -> Result<Vec<Server>, Error> {
    let doing = format!("cannot see whether every server of cluster {cluster} has {}", table.name);
    let mend = |error: Error| match error.code.as_deref() {
        Some("497") => {
            error.with_hint(format!("grant user {} what docs/clickhouse.md lists for clusters", session.user()))
        }
        Some("701") => error.with_hint("`SELECT cluster FROM system.clusters` lists the ones that this server knows"),
        _ => error,
    };
    // Each replica counts as a shard of its own here. A server without the table answers the first question only.
    let of = |table: &str| format!("clusterAllReplicas({}, system.{table})", literal(cluster));
    let sql = format!("SELECT _shard_num, hostName() FROM {}", of("one"));
    let hosts = session.answer(&doing, session.question(&sql).fetch_all::<(u32, String)>()).await.map_err(mend)?;
    let name = &table.name;
    let sql = format!(
        "SELECT _shard_num, name, type FROM {} WHERE database = {} AND table = {}",
        of("columns"),
        literal(name.schema.as_deref().unwrap_or_default()),
        literal(&name.name)
    );
    let columns = session.question(&sql).fetch_all::<(u32, String, String)>();
    let columns = session.answer(&doing, columns).await.map_err(mend)?;
    let mut servers = BTreeMap::new();
    for (number, host) in hosts {
        servers.insert(number, Server { name: format!("{host} (server {number})"), columns: Vec::new() });
    }
    for (number, column, type_text) in columns {
        if let Some(server) = servers.get_mut(&number) {
            server.columns.push((column, type_text));
        }
    }
    Ok(servers.into_values().collect())
}

/// What the first server that is behind lacks.
fn lacking(table: &TableSchema, servers: &[Server]) -> Option<String> {
    servers.iter().find_map(|Server { name, columns }| {
        if columns.is_empty() {
            return Some(format!("{name} lacks the table"));
        }
        table.columns.iter().find_map(|wanted| match columns.iter().find(|(column, _)| *column == wanted.name) {
            None => Some(format!("{name} lacks column {}", wanted.name)),
            Some((column, type_text)) => (*type_text != wanted.type_text)
                .then(|| format!("{name} has column {column} as {type_text}, not {}", wanted.type_text)),
        })
    })
}

fn behind(cluster: &str, table: &TableSchema, patience: Duration, what: &str) -> Error {
    let waited = if patience.is_zero() { String::new() } else { format!(" after {} s", patience.as_secs()) };
    let message = format!("{} is not the same on every server of cluster {cluster}{waited}: {what}", table.name);
    Error::new(Advice::Retry, message).with_hint(
        "look into system.distributed_ddl_queue for what keeps that server, or make the table there as it is here",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ColumnDefault, LogicalType, TableColumn, TableName};

    #[test]
    fn the_server_that_is_behind_is_named() {
        let column = |name: &str, type_text: &str| TableColumn {
            name: name.into(),
            type_text: type_text.into(),
            value: Ok(LogicalType::Int8.into()),
            default: ColumnDefault::None,
        };
        let name = TableName { schema: Some("shop".into()), name: "orders".into() };
        let table = TableSchema::new(name, "MergeTree", vec![column("id", "Int8"), column("note", "Int8")]);
        let server = |number: u32, columns: &[(&str, &str)]| Server {
            name: format!("db{number} (server {number})"),
            columns: columns.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect(),
        };
        let both = [("note", "Int8"), ("id", "Int8")];
        let what = |second: &[(&str, &str)]| lacking(&table, &[server(1, &both), server(2, second)]);
        assert_eq!(what(&both), None);
        insta::assert_snapshot!(what(&[]).unwrap(), @"db2 (server 2) lacks the table");
        insta::assert_snapshot!(what(&both[..1]).unwrap(), @"db2 (server 2) lacks column id");
        insta::assert_snapshot!(what(&[both[0], ("id", "Int16")]).unwrap(), @"db2 (server 2) has column id as Int16, not Int8");
        let told = behind("shop", &table, Duration::from_secs(60), "db2 (server 2) lacks column id");
        insta::assert_snapshot!(told, @"shop.orders is not the same on every server of cluster shop after 60 s: db2 (server 2) lacks column id");
    }
}
