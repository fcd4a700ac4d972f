use crate::contract::{Connection, Error, Target};
use crate::{clickhouse, mysql, postgres, sqlite};

/// Connects to the database that the target's URL names. Makes no promise that the server answers:
/// [`Session::server`](crate::contract::Session::server) does.
///
/// # Errors
/// For a scheme without a dialect, and for a URL that the dialect cannot use; each names what is possible.
pub async fn connect(target: &Target) -> Result<Connection, Error> {
    match target.url.scheme() {
        "clickhouse" | "clickhouses" => clickhouse::connect(target),
        "mysql" | "mariadb" => mysql::connect(target),
        "postgres" | "postgresql" => postgres::connect(target),
        "sqlite" => sqlite::connect(target).await,
        scheme => Err(Error::pause(format!("no dialect for `{scheme}://`"))
            .with_hint("use clickhouse://, clickhouses:// (TLS), postgres://, mysql://, mariadb:// or sqlite://")),
    }
}
