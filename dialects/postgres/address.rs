//! The target's URL.

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::contract::Error;

/// What may stand behind the `?`.
const PARAMETERS: &[&str] =
    &["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name", "options", "search_path"];
/// How a connection is encrypted. libpq's `allow` is none of them: it would not be done.
const SSL_MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];
/// Prepared statements that a connection keeps: few, since there are few texts.
const CACHED_STATEMENTS: usize = 32;

/// Reads the URL.
///
/// # Errors
/// For parameters that are not known, by name, and values that are not possible.
pub(super) fn options(url: &Url) -> Result<PgConnectOptions, Error> {
    let mut ours = url.clone();
    let refuse = |why: String| {
        let mut shown = url.clone();
        let _ = shown.set_password(shown.password().map(|_| "***"));
        shown.set_query(None);
        Error::pause(format!("Postgres URL `{shown}`: {why}"))
    };
    let mut search_path = None;
    ours.query_pairs_mut().clear();
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "user" | "password" | "dbname" | "port" | "hostaddr" => {
                return Err(refuse(format!("`{key}` stands behind the `?`"))
                    .with_hint("write postgres://user:password@host:port/database"));
            }
            "sslmode" if !SSL_MODES.contains(&value.as_ref()) => {
                return Err(refuse(format!("`sslmode={value}` is not possible"))
                    .with_hint(format!("use one of {}", SSL_MODES.join(", "))));
            }
            "search_path" => search_path = Some(value.into_owned()),
            key if PARAMETERS.contains(&key) => {
                ours.query_pairs_mut().append_pair(key, &value);
            }
            key => {
                return Err(
                    refuse(format!("`{key}` is not known")).with_hint(format!("known are {}", PARAMETERS.join(", ")))
                );
            }
        }
    }
    let named_application = url.query_pairs().any(|(key, _)| key == "application_name");
    let options = PgConnectOptions::from_url(&ours)
        .map_err(|error| refuse(format!("it cannot be read: {error}")))?
        .statement_cache_capacity(CACHED_STATEMENTS)
        .disable_statement_logging();
    let options = match search_path {
        Some(path) => options.options([("search_path", path)]),
        None => options,
    };
    Ok(if named_application { options } else { options.application_name("rowfall") })
}
