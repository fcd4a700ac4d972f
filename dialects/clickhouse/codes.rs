//! The server's exceptions: what the pipeline should do about each, and what the operator can do.
//!
//! Codes and names: `src/Common/ErrorCodes.cpp` in ClickHouse. Over HTTP an exception is a text,
//! `Code: 60. DB::Exception: Table shop.orders does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)`.

use crate::contract::{Advice, Error};

/// What a statement was about, as it decides whom a code blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// An insert: the rows may be bad, and the table may have changed.
    Rows,
    /// Anything else: what it says is our own or the configuration's.
    Statement,
}

struct Code {
    code: u16,
    name: &'static str,
    advice: Advice,
    hint: Option<&'static str>,
}

const fn code(code: u16, name: &'static str, advice: Advice) -> Code {
    Code { code, name, advice, hint: None }
}

const fn hinted(code: u16, name: &'static str, advice: Advice, hint: &'static str) -> Code {
    Code { code, name, advice, hint: Some(hint) }
}

const CREDENTIALS: &str =
    "check user and password in the target's url; characters such as @ : / % stand percent-encoded there";

const TOO_MANY_PARTITIONS: &str = "partition the table more coarsely, make batches smaller (batch.rows), or raise the \
     limit at the end of the target's url: ?max_partitions_per_insert_block=1000";

const SETTINGS: &str = "rowfall sets what an exact insert needs with each statement: let the user's profile allow it";

/// Every code that does not simply mean [`Advice::Pause`], and those that have a hint; ascending.
const CODES: &[Code] = &[
    code(3, "UNEXPECTED_END_OF_FILE", Advice::Retry),
    code(6, "CANNOT_PARSE_TEXT", Advice::Split),
    // The insert names its columns, so one of them was dropped or renamed since the table was described.
    code(16, "NO_SUCH_COLUMN_IN_TABLE", Advice::Refresh),
    code(26, "CANNOT_PARSE_QUOTED_STRING", Advice::Split),
    code(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", Advice::Split),
    code(33, "CANNOT_READ_ALL_DATA", Advice::Refresh),
    code(38, "CANNOT_PARSE_DATE", Advice::Split),
    code(41, "CANNOT_PARSE_DATETIME", Advice::Split),
    hinted(
        44,
        "ILLEGAL_COLUMN",
        Advice::Pause,
        "name columns in order_by and partition_by that are not nullable, or set `allow_nullable_key: 1` in the table's settings",
    ),
    hinted(47, "UNKNOWN_IDENTIFIER", Advice::Pause, "check the names in order_by, partition_by, ttl and engine"),
    // Columns are sent under their described types, so one was altered since.
    code(53, "TYPE_MISMATCH", Advice::Refresh),
    hinted(60, "UNKNOWN_TABLE", Advice::Pause, "create the table, or let rowfall create it with `create: true`"),
    code(69, "ARGUMENT_OUT_OF_BOUND", Advice::Split),
    code(70, "CANNOT_CONVERT_TYPE", Advice::Split),
    code(72, "CANNOT_PARSE_NUMBER", Advice::Split),
    hinted(
        81,
        "UNKNOWN_DATABASE",
        Advice::Pause,
        "create it with CREATE DATABASE, or name another at the end of the target's url",
    ),
    code(107, "FILE_DOESNT_EXIST", Advice::Retry),
    hinted(115, "UNKNOWN_SETTING", Advice::Pause, "check the settings in the target's url, or upgrade the server"),
    code(117, "INCORRECT_DATA", Advice::Split),
    code(131, "TOO_LARGE_STRING_SIZE", Advice::Refresh),
    code(159, "TIMEOUT_EXCEEDED", Advice::Retry),
    hinted(164, "READONLY", Advice::Retry, SETTINGS),
    code(192, "UNKNOWN_USER", Advice::Pause),
    hinted(193, "WRONG_PASSWORD", Advice::Pause, CREDENTIALS),
    hinted(194, "REQUIRED_PASSWORD", Advice::Pause, CREDENTIALS),
    hinted(195, "IP_ADDRESS_NOT_ALLOWED", Advice::Pause, "allow this host in the user's networks"),
    code(198, "DNS_ERROR", Advice::Retry),
    code(201, "QUOTA_EXCEEDED", Advice::Retry),
    code(202, "TOO_MANY_SIMULTANEOUS_QUERIES", Advice::Retry),
    code(203, "NO_FREE_CONNECTION", Advice::Retry),
    code(209, "SOCKET_TIMEOUT", Advice::Retry),
    code(210, "NETWORK_ERROR", Advice::Retry),
    code(236, "ABORTED", Advice::Retry),
    code(241, "MEMORY_LIMIT_EXCEEDED", Advice::Retry),
    code(242, "TABLE_IS_READ_ONLY", Advice::Retry),
    code(243, "NOT_ENOUGH_SPACE", Advice::Retry),
    code(244, "UNEXPECTED_ZOOKEEPER_ERROR", Advice::Retry),
    hinted(
        252,
        "TOO_MANY_PARTS",
        Advice::Slow,
        "merges do not keep up, and rowfall writes less often meanwhile: raise batch.age and batch.rows, give the server \
         more merge threads (background_pool_size), or partition the table more coarsely",
    ),
    code(254, "NO_ACTIVE_REPLICAS", Advice::Retry),
    code(265, "NO_AVAILABLE_REPLICA", Advice::Retry),
    code(279, "ALL_CONNECTION_TRIES_FAILED", Advice::Retry),
    code(285, "TOO_FEW_LIVE_REPLICAS", Advice::Retry),
    code(286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", Advice::Retry),
    code(289, "REPLICA_IS_NOT_IN_QUORUM", Advice::Retry),
    code(290, "LIMIT_EXCEEDED", Advice::Retry),
    hinted(291, "DATABASE_ACCESS_DENIED", Advice::Pause, "let the user use this database"),
    code(297, "SHARD_HAS_NO_CONNECTIONS", Advice::Retry),
    code(319, "UNKNOWN_STATUS_OF_INSERT", Advice::Retry),
    code(321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", Advice::Split),
    code(349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", Advice::Split),
    code(364, "RECEIVED_ERROR_TOO_MANY_REQUESTS", Advice::Retry),
    code(384, "PART_IS_TEMPORARILY_LOCKED", Advice::Retry),
    // A server that shuts down cancels what runs on it.
    code(394, "QUERY_WAS_CANCELLED", Advice::Retry),
    code(425, "SYSTEM_ERROR", Advice::Retry),
    code(441, "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", Advice::Split),
    hinted(452, "SETTING_CONSTRAINT_VIOLATION", Advice::Pause, SETTINGS),
    code(469, "VIOLATED_CONSTRAINT", Advice::Split),
    // Another statement holds the table, or alters it.
    code(473, "DEADLOCK_AVOIDED", Advice::Retry),
    code(497, "ACCESS_DENIED", Advice::Pause),
    hinted(516, "AUTHENTICATION_FAILED", Advice::Pause, CREDENTIALS),
    code(517, "CANNOT_ASSIGN_ALTER", Advice::Retry),
    hinted(
        524,
        "ALTER_OF_COLUMN_IS_FORBIDDEN",
        Advice::Pause,
        "ClickHouse does not change what a table is sorted or partitioned by: make a new table with the type that is needed",
    ),
    code(691, "UNKNOWN_ELEMENT_OF_ENUM", Advice::Split),
    code(999, "KEEPER_EXCEPTION", Advice::Retry),
    code(1000, "POCO_EXCEPTION", Advice::Retry),
];

/// The longest part of a server's message that is passed on: a syntax error lists all that it would have accepted.
const MAX_MESSAGE: usize = 500;

/// The error that an exception's text stands for, or `None` when the text is no exception. `doing` says what failed.
pub(super) fn from_exception(doing: &str, of: Of, text: &str) -> Option<Error> {
    let text = text.trim();
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = rest.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let known = CODES.iter().find(|code| number.parse() == Ok(code.code));
    let mut advice = known.map_or(Advice::Pause, |code| code.advice);
    if of == Of::Statement && matches!(advice, Advice::Split | Advice::Refresh) {
        advice = Advice::Pause;
    }

    let said = rest.trim_start_matches(['.', ' ']);
    let said = said.split_once("Exception: ").map_or(said, |(_, said)| said);
    let (said, name) = without_trailer(said);
    let name = name.or(known.map(|code| code.name));
    let hint = match number {
        "497" => grant(said),
        "44" if said.contains("is reserved for") => Some("call the column otherwise: `columns.<name>.from`".into()),
        // The same code as for slow merges, but no wait helps.
        "252" if said.contains("partitions for single INSERT block") => {
            advice = Advice::Cut;
            Some(TOO_MANY_PARTITIONS.into())
        }
        _ => known.and_then(|code| code.hint).map(Into::into),
    };
    let said = if advice == Advice::Split { without_values(said) } else { said.to_owned() };

    let mut message = doing.to_owned();
    if !said.is_empty() {
        message.push_str(": ");
        message.push_str(shortened(&said).trim_end_matches('.'));
    }
    if let Some(name) = name {
        message.push_str(" (");
        message.push_str(name);
        message.push(')');
    }
    let mut error = Error::new(advice, message).with_code(number);
    error.hint = hint;
    Some(error)
}

/// A message and the exception's name, from `message. (NAME) (version …)`.
fn without_trailer(said: &str) -> (&str, Option<&str>) {
    let said = said.rsplit_once(" (version ").map_or(said, |(said, _)| said).trim_end();
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    match said.rsplit_once(" (").and_then(|(said, name)| Some((said, name.strip_suffix(')')?))) {
        Some((said, name)) if is_name(name) => (said, Some(name)),
        _ => (said, None),
    }
}

/// What the server says of bad rows without what stood in them: it quotes texts, shows numbers bare, and lists the
/// columns of a row that violates a constraint at the end.
fn without_values(said: &str) -> String {
    for before in [" Column values:", " here: {"] {
        if let Some((said, _)) = said.split_once(before) {
            return said.to_owned();
        }
    }
    // A text may have quotes of its own, so everything between the first and the last goes.
    let said = match (said.find('\''), said.rfind('\'')) {
        (Some(first), Some(last)) => format!("{}'…'{}", &said[..first], said.get(last + 1..).unwrap_or_default()),
        _ => said.to_owned(),
    };
    let is_number = |word: &&str| {
        word.trim_matches(|c: char| !c.is_alphanumeric()).chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e'))
            && word.contains(|c: char| c.is_ascii_digit())
    };
    let words: Vec<_> = said.split(' ').map(|word| if is_number(&word) { "…" } else { word }).collect();
    words.join(" ")
}

/// The GRANT that mends `user: Not enough privileges. To execute this query, it's necessary to have the grant … ON …`.
fn grant(said: &str) -> Option<String> {
    let (user, _) = said.split_once(": ")?;
    let (_, right) = said.split_once("necessary to have the grant ")?;
    let right = right.split_once(". ").map_or(right, |(right, _)| right).trim_end_matches('.');
    // `: while pushing to view …`
    let right = right.split_once(": ").map_or(right, |(right, _)| right);
    Some(format!("GRANT {right} TO {}", super::grammar::quote(user)))
}

fn shortened(said: &str) -> String {
    match said.char_indices().nth(MAX_MESSAGE) {
        None => said.to_owned(),
        Some((end, _)) => format!("{}…", &said[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Error {
        from_exception("cannot write to shop.orders", Of::Rows, text).expect("an exception")
    }

    #[test]
    fn codes_ascend() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn an_exception_is_taken_apart() {
        let error = error(
            "Code: 252. DB::Exception: Too many parts (3000 with average size of 1.00 KiB) in table 'shop.orders'. \
             Merges are processing significantly slower than inserts. (TOO_MANY_PARTS) (version 26.9.2.1 (official build))\n",
        );
        assert_eq!((error.advice, error.code.as_deref()), (Advice::Slow, Some("252")));
        insta::assert_snapshot!(error, @"code 252: cannot write to shop.orders: Too many parts (3000 with average size of 1.00 KiB) in table 'shop.orders'. Merges are processing significantly slower than inserts (TOO_MANY_PARTS)");
    }

    #[test]
    fn a_missing_right_becomes_a_grant() {
        let error = error(
            "Code: 497. DB::Exception: app: Not enough privileges. To execute this query, it's necessary to have the \
             grant INSERT(a, b) ON rf.other. (ACCESS_DENIED) (version 26.9.2.1)",
        );
        assert_eq!(error.advice, Advice::Pause);
        assert_eq!(error.hint.unwrap(), "GRANT INSERT(a, b) ON rf.other TO `app`");
        let of_a_view = self::error(
            "Code: 497. DB::Exception: app: Not enough privileges. To execute this query, it's necessary to have the \
             grant SELECT(at) ON rf.t: while pushing to view rf.v. (ACCESS_DENIED) (version 26.9.2.1)",
        );
        assert_eq!(of_a_view.hint.unwrap(), "GRANT SELECT(at) ON rf.t TO `app`");
    }

    #[test]
    fn bad_rows_are_told_without_their_values() {
        let violated = error(
            "Code: 469. DB::Exception: Constraint `positive` for table shop.orders (a1b2) is violated at row 7. \
             Expression: (amount > 0). Column values: amount = -4711. (VIOLATED_CONSTRAINT) (version 26.9.2.1)",
        );
        assert_eq!(violated.advice, Advice::Split);
        insta::assert_snapshot!(violated, @"code 469: cannot write to shop.orders: Constraint `positive` for table shop.orders (a1b2) is violated at row 7. Expression: (amount > 0) (VIOLATED_CONSTRAINT)");
        let object = error(
            "Code: 117. DB::Exception: Cannot parse JSON object here: {\"a\":\"secret\"}: While executing Native. (INCORRECT_DATA)",
        );
        insta::assert_snapshot!(object, @"code 117: cannot write to shop.orders: Cannot parse JSON object (INCORRECT_DATA)");
        let unparsed = error("Code: 6. DB::Exception: Cannot parse string 'secret' as UInt8. (CANNOT_PARSE_TEXT)");
        insta::assert_snapshot!(unparsed, @"code 6: cannot write to shop.orders: Cannot parse string '…' as UInt8 (CANNOT_PARSE_TEXT)");
        let quotes = error("Code: 6. DB::Exception: Cannot parse 'it's secret' in 'x'. (CANNOT_PARSE_TEXT)");
        insta::assert_snapshot!(quotes, @"code 6: cannot write to shop.orders: Cannot parse '…' (CANNOT_PARSE_TEXT)");
        let number = error("Code: 321. DB::Exception: Value -4711.5 of type Float64 does not fit Int8. (X)");
        insta::assert_snapshot!(number, @"code 321: cannot write to shop.orders: Value … of type Float64 does not fit Int8 (X)");
    }

    #[test]
    fn a_bare_code_is_enough() {
        let error = error("Code: 241");
        assert_eq!(error.advice, Advice::Retry);
        insta::assert_snapshot!(error, @"code 241: cannot write to shop.orders (MEMORY_LIMIT_EXCEEDED)");
    }

    #[test]
    fn only_inserts_blame_rows_and_tables() {
        let text = "Code: 27. DB::Exception: Cannot parse input: expected 'eof' before: 'abc'. (X) (version 26.9.2.1)";
        assert_eq!(error(text).advice, Advice::Split);
        let error = from_exception("cannot use the server", Of::Statement, text).unwrap();
        assert_eq!(error.advice, Advice::Pause);
        insta::assert_snapshot!(error, @"code 27: cannot use the server: Cannot parse input: expected 'eof' before: 'abc' (X)");
    }

    #[test]
    fn too_many_partitions_are_not_too_many_parts() {
        let error = error(
            "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100). The limit is \
             controlled by 'max_partitions_per_insert_block' setting. (TOO_MANY_PARTS) (version 26.9.2.1)",
        );
        assert_eq!(error.advice, Advice::Cut);
        assert!(error.hint.unwrap().contains("max_partitions_per_insert_block=1000"));
    }

    #[test]
    fn unknown_codes_pause() {
        let error = error("Code: 9999. DB::Exception: Whatever. (NEW_ONE) (version 30.1)");
        assert_eq!((error.advice, error.code.as_deref()), (Advice::Pause, Some("9999")));
    }

    #[test]
    fn other_texts_are_no_exceptions() {
        for text in ["502 Bad Gateway", "Code: none", ""] {
            assert!(from_exception("cannot write", Of::Rows, text).is_none(), "{text}");
        }
    }
}
