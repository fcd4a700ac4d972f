//! MySQL (8.0.19 and later) and MariaDB (10.11 and later): one protocol, two servers. Which one it is tells the server's
//! version; either scheme reaches either.
//!
//! - `grammar`, `statements`: their texts; `types`, `type_text`: their column types and ours; `codes`: their error
//!   numbers and the pipeline's advice
//! - `pool`: connections whose settings are pinned; `session`, `describe`, `check`, `write`, `progress`: what is done with
//!   them
//! - `values`, `json`: a block's values as parameters of multi-row statements
//!
//! **Durability.** Everything of one write is one transaction, which the server keeps as its `innodb_flush_log_at_trx_commit`
//! says: 1, the default, survives a crash of the machine. A table whose engine has no transactions is described with
//! what it does not promise, and takes neither progress nor changes by key.
//!
//! **Exactness.** Each connection is in strict mode, in UTC and in `utf8mb4`, whatever the server's defaults are. What
//! the server would change without a word even so is refused before it is sent: `types` lists it.

mod check;
mod codes;
mod describe;
mod grammar;
mod pool;
mod progress;
mod session;
mod statements;
mod type_text;
mod types;
mod values;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::Url;

use crate::contract::{Connection, Error, ExactlyOnce, Target};
use grammar::{Flavor, MySqlGrammar};
use pool::Pool;
use session::MySqlSession;

/// Enough for the tables of one pipeline; each holds its parameters in the server's memory, some megabytes.
const CACHED_STATEMENTS: usize = 16;

/// Connects to the server and database that the URL names: `mysql://user:password@host:3306/shop`. Nothing is asked of
/// the server yet.
///
/// `ssl-mode=`: `disabled`, `preferred` (the default: TLS where the server has it), `required`, `verify_ca`,
/// `verify_identity`; with `ssl-ca=`, `ssl-cert=` and `ssl-key=`, files. `socket=`: a Unix socket instead of the host.
///
/// # Errors
/// For a URL without a database, in which progress is kept, or with parameters that are not ours.
pub fn connect(target: &Target) -> Result<Connection, Error> {
    let expected = if target.url.scheme() == "mariadb" { Flavor::MariaDb } else { Flavor::MySql };
    let pool = Pool::new(options(&target.url)?, address(&target.url));
    let grammar = MySqlGrammar { expected, found: pool.flavor() };
    Ok(Connection {
        grammar: Arc::new(grammar),
        session: Arc::new(MySqlSession::new(pool)),
        exactly_once: Some(ExactlyOnce::Transactions),
    })
}

fn options(url: &Url) -> Result<MySqlConnectOptions, Error> {
    let refuse = |why: String| Error::pause(format!("URL of {}: {why}", address(url)));
    if url.path().trim_matches('/').is_empty() {
        return Err(refuse("it names no database".into()).with_hint("name one: mysql://user:password@host/database"));
    }
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "ssl-mode" => {
                let mode = value.parse::<MySqlSslMode>();
                mode.map_err(|_| {
                    refuse(format!("`ssl-mode={value}` is not possible"))
                        .with_hint("use ssl-mode=disabled, preferred, required, verify_ca or verify_identity")
                })?;
            }
            "ssl-ca" | "ssl-cert" | "ssl-key" | "socket" => {}
            "charset" | "collation" | "timezone" | "time-zone" => {
                return Err(refuse(format!("`{key}` is rowfall's to choose: utf8mb4, UTC")).with_hint("leave it out"));
            }
            _ => {
                return Err(refuse(format!("`{key}` is no parameter"))
                    .with_hint("use ssl-mode, ssl-ca, ssl-cert, ssl-key or socket"));
            }
        }
    }
    let options =
        MySqlConnectOptions::from_url(url).map_err(|error| refuse("it cannot be read".into()).with_source(error))?;
    // The pool sets these, all at once.
    let options = options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false);
    Ok(options.statement_cache_capacity(CACHED_STATEMENTS).disable_statement_logging())
}

/// The server, for messages.
fn address(url: &Url) -> String {
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
    format!("`{host}:{}`", url.port().unwrap_or(3306))
}
