//! Postgres' error codes (SQLSTATE) and what each means for the pipeline; the only place that knows.

use std::error::Error as _;

use sqlx::postgres::PgDatabaseError;

use crate::contract::{Advice, Error};
use crate::generic::is_passing;

/// A code, or its first two characters for a whole class, as
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html> lists them. The first that fits counts.
struct Code {
    state: &'static str,
    advice: Advice,
    hint: Option<&'static str>,
}

const fn code(state: &'static str, advice: Advice, hint: Option<&'static str>) -> Code {
    Code { state, advice, hint }
}

/// What is not listed is [`Advice::Pause`].
const CODES: &[Code] = &[
    // Connections, and what an administrator or a shutdown did.
    code("08P01", Advice::Pause, Some("name a Postgres server; a pooler in between may not speak its whole protocol")),
    code("08", Advice::Retry, None),
    code("57014", Advice::Retry, Some("somebody cancelled the statement, or statement_timeout is too short")),
    code("57P04", Advice::Pause, Some("the database was dropped: create it, or name another one")),
    code("57P", Advice::Retry, None),
    // Another transaction was in the way.
    code("40", Advice::Retry, None),
    code("55P03", Advice::Retry, Some("another session holds a lock on the table: let it finish")),
    code("55006", Advice::Retry, Some("somebody else uses what has to be changed")),
    code(
        "25006",
        Advice::Pause,
        Some("the server or the user may only read: name the primary server, and check default_transaction_read_only"),
    ),
    code("25P03", Advice::Retry, None),
    // Resources that come back.
    code("53300", Advice::Retry, Some("raise max_connections, or close other connections")),
    code("53", Advice::Retry, Some("free disk space or memory on the server")),
    code("58030", Advice::Retry, None),
    // The table is another one than it was.
    code("42P01", Advice::Refresh, None),
    code("42703", Advice::Refresh, None),
    code("42704", Advice::Refresh, None),
    code("42804", Advice::Refresh, None),
    code("42846", Advice::Refresh, None),
    // Also of a unique index that `ON CONFLICT` names.
    code("42P10", Advice::Refresh, None),
    code("428C9", Advice::Refresh, None),
    code("3F000", Advice::Refresh, Some("create the schema: CREATE SCHEMA")),
    code("0A000", Advice::Pause, None),
    // The rows.
    code("22P04", Advice::Pause, Some("this is a mistake of rowfall's: please report it")),
    code("22", Advice::Split, None),
    code("23", Advice::Split, None),
    code("44", Advice::Split, None),
    code("54", Advice::Split, None),
    // A trigger that refuses a row raises this one unless it says another.
    code("P0001", Advice::Split, None),
    // Rights.
    code("42501", Advice::Pause, Some("GRANT the user what is missing")),
    code("28", Advice::Pause, Some("check user and password in the target's URL, and the server's pg_hba.conf")),
    code("3D000", Advice::Pause, Some("create the database, or name another one in the target's URL")),
    code("42", Advice::Pause, None),
    code("XX001", Advice::Pause, Some("the server's data are damaged: check its disks, restore a backup")),
];

/// What one of two that change the same table at once is told; the same statement succeeds, or does nothing, afterwards.
const RACES: &[&str] = &["23505", "42P07", "42701", "42710", "42P06", "XX000", "40P01", "40001", "55006"];

/// The error that the pipeline sees. `doing` says what was tried, with the table's name.
pub(super) fn error(doing: &str, error: sqlx::Error) -> Error {
    if let Some(database) = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) {
        return of(database.code(), doing, &said(database));
    }
    // Everything else is about the way there.
    let (advice, hint) = match &error {
        sqlx::Error::Tls(_) => (Advice::Pause, Some(TLS)),
        sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData && !is_passing(io) => {
            (Advice::Pause, Some(TLS))
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => (Advice::Retry, None),
        _ => (Advice::Pause, None),
    };
    let mut why = error.to_string();
    if let Some(source) = error.source().map(ToString::to_string).filter(|source| !why.contains(source)) {
        why = format!("{why}: {source}");
    }
    with_hint(Error::new(advice, format!("{doing}: {why}")).with_source(error), hint)
}

const TLS: &str = "check the server's certificate and `sslmode` and `sslrootcert` in the target's URL";

/// Whether DDL should simply be tried again.
pub(super) fn is_race(error: &Error) -> bool {
    error.code.as_deref().is_some_and(|code| RACES.contains(&code))
}

fn of(state: &str, doing: &str, said: &str) -> Error {
    let listed = CODES.iter().find(|code| state.starts_with(code.state));
    let (advice, hint) = listed.map_or((Advice::Pause, None), |code| (code.advice, code.hint));
    with_hint(Error::new(advice, format!("{doing}: {said}")).with_code(state), hint)
}

fn with_hint(error: Error, hint: Option<&'static str>) -> Error {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The server's message with the column, and without values: those stand in details, which are left out, and behind
/// `: "` in what is said of bad data.
fn said(error: &PgDatabaseError) -> String {
    let mut message = error.message();
    if error.code().starts_with("22") {
        message = message.split(": \"").next().unwrap_or(message);
    }
    let context = error.r#where().and_then(|context| context.lines().next()).unwrap_or_default();
    match context.strip_prefix("COPY ").and_then(|context| context.rsplit_once(", column ")) {
        Some((_, column)) if !column.contains(": ") => format!("column `{column}`: {message}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use std::fmt::Write as _;

    #[test]
    fn each_code_has_its_advice() {
        let mut table = String::new();
        for code in CODES {
            let _ = writeln!(table, "{} {:?}", code.state, code.advice);
        }
        assert_snapshot!(table, @"
        08P01 Pause
        08 Retry
        57014 Retry
        57P04 Pause
        57P Retry
        40 Retry
        55P03 Retry
        55006 Retry
        25006 Pause
        25P03 Retry
        53300 Retry
        53 Retry
        58030 Retry
        42P01 Refresh
        42703 Refresh
        42704 Refresh
        42804 Refresh
        42846 Refresh
        42P10 Refresh
        428C9 Refresh
        3F000 Refresh
        0A000 Pause
        22P04 Pause
        22 Split
        23 Split
        44 Split
        54 Split
        P0001 Split
        42501 Pause
        28 Pause
        3D000 Pause
        42 Pause
        XX001 Pause
        ");
    }

    #[test]
    fn a_code_counts_before_its_class() {
        let advice = |state| of(state, "", "").advice;
        assert_eq!(advice("40001"), Advice::Retry); // serialization_failure
        assert_eq!(advice("57P01"), Advice::Retry); // admin_shutdown
        assert_eq!(advice("57P04"), Advice::Pause); // database_dropped
        assert_eq!(advice("22003"), Advice::Split); // numeric_value_out_of_range
        assert_eq!(advice("23505"), Advice::Split); // unique_violation
        assert_eq!(advice("42703"), Advice::Refresh); // undefined_column
        assert_eq!(advice("42601"), Advice::Pause); // syntax_error
        assert_eq!(advice("XX000"), Advice::Pause);
        let error = of("42501", "writing table `public.t`", "permission denied for table t");
        assert_snapshot!(error, @"code 42501: writing table `public.t`: permission denied for table t");
    }
}
