//! SQLite's result codes and what each means for the pipeline; the only place that knows.

use crate::contract::{Advice, Error};

/// A primary result code, as <https://sqlite.org/rescode.html> lists it.
struct Code {
    number: i32,
    name: &'static str,
    advice: Advice,
    hint: Option<&'static str>,
}

const fn code(number: i32, name: &'static str, advice: Advice, hint: Option<&'static str>) -> Code {
    Code { number, name, advice, hint }
}

/// What is not listed is [`Advice::Pause`].
const CODES: &[Code] = &[
    code(1, "SQLITE_ERROR", Advice::Pause, None),
    code(3, "SQLITE_PERM", Advice::Pause, Some("give the user of this process access to the file")),
    code(4, "SQLITE_ABORT", Advice::Retry, None),
    code(5, "SQLITE_BUSY", Advice::Retry, Some("another process holds the database's lock: let it finish")),
    code(6, "SQLITE_LOCKED", Advice::Retry, None),
    code(7, "SQLITE_NOMEM", Advice::Retry, None),
    code(8, "SQLITE_READONLY", Advice::Pause, Some("make the file and its directory writable for this process")),
    code(9, "SQLITE_INTERRUPT", Advice::Retry, None),
    code(10, "SQLITE_IOERR", Advice::Retry, None),
    code(11, "SQLITE_CORRUPT", Advice::Pause, Some("run `PRAGMA integrity_check` and restore the file from a backup")),
    // A full disk empties without us, as ClickHouse's code 243 does; until then each attempt is rolled back whole.
    code(13, "SQLITE_FULL", Advice::Retry, Some("free space on the disk, or raise `PRAGMA max_page_count`")),
    code(14, "SQLITE_CANTOPEN", Advice::Pause, Some("check that the directory exists and is writable")),
    code(15, "SQLITE_PROTOCOL", Advice::Retry, None),
    code(17, "SQLITE_SCHEMA", Advice::Refresh, None),
    code(18, "SQLITE_TOOBIG", Advice::Split, None),
    code(19, "SQLITE_CONSTRAINT", Advice::Split, None),
    code(20, "SQLITE_MISMATCH", Advice::Split, None),
    code(21, "SQLITE_MISUSE", Advice::Pause, None),
    code(22, "SQLITE_NOLFS", Advice::Pause, Some("move the file to a file system that takes large files")),
    code(23, "SQLITE_AUTH", Advice::Pause, None),
    code(26, "SQLITE_NOTADB", Advice::Pause, Some("name a SQLite database, or a file that does not exist yet")),
];

/// Extended codes that differ from their primary code: a disk that lies is not worth another try.
const EXTENDED: &[Code] = &[
    code(8202, "SQLITE_IOERR_DATA", Advice::Pause, Some("the disk returned other data than was written: check it")),
    code(8458, "SQLITE_IOERR_CORRUPTFS", Advice::Pause, Some("the file system is damaged: check it")),
];

/// `SQLITE_ERROR` stands for a table that is not as it was described too; only the text tells.
const STALE: &[&str] =
    &["no such table", "has no column named", "no such column", "cannot INSERT into generated column"];

/// The error that the pipeline sees. `doing` says what was tried, with the table's name.
pub(super) fn error(doing: &str, error: sqlx::Error) -> Error {
    let Some(database) = error.as_database_error() else {
        // Everything else is about our end: the connection's thread, its file handle.
        let advice = match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Advice::Retry,
            _ => Advice::Pause,
        };
        return Error::new(advice, doing).with_source(error);
    };
    let number = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(1);
    of(number, doing, database.message())
}

/// Whether an `ALTER TABLE … ADD COLUMN` found the column there.
pub(super) fn is_there_already(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().starts_with("duplicate column name: "))
}

fn of(number: i32, doing: &str, message: &str) -> Error {
    let primary = number & 0xff;
    let listed = EXTENDED.iter().find(|code| code.number == number);
    let listed = listed.or_else(|| CODES.iter().find(|code| code.number == primary));
    let (name, mut advice, hint) =
        listed.map_or(("SQLite", Advice::Pause, None), |code| (code.name, code.advice, code.hint));
    if primary == 1 && STALE.iter().any(|text| message.contains(text)) {
        advice = Advice::Refresh;
    }
    let error = Error::new(advice, format!("{doing}: {message}")).with_code(format!("{name} ({number})"));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
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
        for code in CODES.iter().chain(EXTENDED) {
            let _ = writeln!(table, "{} {} {:?}", code.number, code.name, code.advice);
        }
        assert_snapshot!(table, @"
        1 SQLITE_ERROR Pause
        3 SQLITE_PERM Pause
        4 SQLITE_ABORT Retry
        5 SQLITE_BUSY Retry
        6 SQLITE_LOCKED Retry
        7 SQLITE_NOMEM Retry
        8 SQLITE_READONLY Pause
        9 SQLITE_INTERRUPT Retry
        10 SQLITE_IOERR Retry
        11 SQLITE_CORRUPT Pause
        13 SQLITE_FULL Retry
        14 SQLITE_CANTOPEN Pause
        15 SQLITE_PROTOCOL Retry
        17 SQLITE_SCHEMA Refresh
        18 SQLITE_TOOBIG Split
        19 SQLITE_CONSTRAINT Split
        20 SQLITE_MISMATCH Split
        21 SQLITE_MISUSE Pause
        22 SQLITE_NOLFS Pause
        23 SQLITE_AUTH Pause
        26 SQLITE_NOTADB Pause
        8202 SQLITE_IOERR_DATA Pause
        8458 SQLITE_IOERR_CORRUPTFS Pause
        ");
    }

    #[test]
    fn an_extended_code_counts_as_its_primary_one() {
        assert_eq!(of(2067, "", "").advice, Advice::Split); // CONSTRAINT_UNIQUE
        assert_eq!(of(517, "", "").advice, Advice::Retry); // BUSY_SNAPSHOT
        assert_eq!(of(1032, "", "").advice, Advice::Pause); // READONLY_DBMOVED
        assert_eq!(of(99, "", "").advice, Advice::Pause);
    }

    #[test]
    fn a_table_that_changed_is_described_again() {
        let of = |message| of(1, "writing table `orders`", message);
        assert_eq!(of("no such table: main.orders").advice, Advice::Refresh);
        assert_eq!(of("near \"SELEC\": syntax error").advice, Advice::Pause);
        let error = of("table orders has no column named note");
        assert_eq!(error.advice, Advice::Refresh);
        assert_snapshot!(error, @"code SQLITE_ERROR (1): writing table `orders`: table orders has no column named note");
    }
}
