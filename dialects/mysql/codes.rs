//! The servers' error numbers and what each means for the pipeline; the only place that knows.

use sqlx::mysql::MySqlDatabaseError;

use crate::contract::{Advice, Error};
use crate::generic::{Verb, is_passing};

/// An error number, as the reference manuals of MySQL and MariaDB list it.
struct Code {
    number: u16,
    name: &'static str,
    advice: Advice,
    hint: Option<&'static str>,
}

const fn code(number: u16, name: &'static str, advice: Advice) -> Code {
    Code { number, name, advice, hint: None }
}

const fn hinted(number: u16, name: &'static str, advice: Advice, hint: &'static str) -> Code {
    Code { number, name, advice, hint: Some(hint) }
}

/// For a server that takes no writes.
pub(super) const READ_ONLY: &str = "connect to the server that takes writes, or set `read_only` off";
/// For a missing right, where it is not known which statement gives it.
pub(super) const GRANT: &str = "grant the right to the user of the URL";

/// What is not listed is [`Advice::Pause`].
const CODES: &[Code] = &[
    // It may go well the next time: locks, connections, servers that come and go, what runs full.
    code(1020, "ER_CHECKREAD", Advice::Retry),
    hinted(1021, "ER_DISK_FULL", Advice::Retry, "free space on the server's disk"),
    hinted(1030, "ER_GET_ERRNO", Advice::Retry, "see the server's error log"),
    code(1037, "ER_OUTOFMEMORY", Advice::Retry),
    code(1038, "ER_OUT_OF_SORTMEMORY", Advice::Retry),
    hinted(1040, "ER_CON_COUNT_ERROR", Advice::Retry, "raise `max_connections`"),
    code(1041, "ER_OUT_OF_RESOURCES", Advice::Retry),
    code(1047, "ER_UNKNOWN_COM_ERROR", Advice::Retry),
    code(1053, "ER_SERVER_SHUTDOWN", Advice::Retry),
    code(1077, "ER_NORMAL_SHUTDOWN", Advice::Retry),
    code(1079, "ER_SHUTDOWN_COMPLETE", Advice::Retry),
    code(1080, "ER_FORCING_CLOSE", Advice::Retry),
    hinted(1114, "ER_RECORD_FILE_FULL", Advice::Retry, "free space on the server's disk, or raise the table's limit"),
    code(1152, "ER_ABORTING_CONNECTION", Advice::Retry),
    code(1158, "ER_NET_READ_ERROR", Advice::Retry),
    code(1159, "ER_NET_READ_INTERRUPTED", Advice::Retry),
    code(1160, "ER_NET_ERROR_ON_WRITE", Advice::Retry),
    code(1161, "ER_NET_WRITE_INTERRUPTED", Advice::Retry),
    code(1180, "ER_ERROR_DURING_COMMIT", Advice::Retry),
    code(1181, "ER_ERROR_DURING_ROLLBACK", Advice::Retry),
    code(1184, "ER_NEW_ABORTING_CONNECTION", Advice::Retry),
    hinted(1203, "ER_TOO_MANY_USER_CONNECTIONS", Advice::Retry, "raise the user's `max_user_connections`"),
    hinted(1205, "ER_LOCK_WAIT_TIMEOUT", Advice::Retry, "see who holds the lock: `SHOW ENGINE INNODB STATUS`"),
    code(1206, "ER_LOCK_TABLE_FULL", Advice::Retry),
    code(1213, "ER_LOCK_DEADLOCK", Advice::Retry),
    hinted(1226, "ER_USER_LIMIT_REACHED", Advice::Retry, "raise the user's limits per hour"),
    code(1297, "ER_GET_TEMPORARY_ERRMSG", Advice::Retry),
    code(1317, "ER_QUERY_INTERRUPTED", Advice::Retry),
    code(1412, "ER_TABLE_DEF_CHANGED", Advice::Retry),
    code(1614, "ER_XA_RBDEADLOCK", Advice::Retry),
    code(1615, "ER_NEED_REPREPARE", Advice::Retry),
    code(1927, "ER_CONNECTION_KILLED", Advice::Retry),
    code(1969, "ER_STATEMENT_TIMEOUT", Advice::Retry),
    code(2006, "CR_SERVER_GONE_ERROR", Advice::Retry),
    code(2013, "CR_SERVER_LOST", Advice::Retry),
    code(3024, "ER_QUERY_TIMEOUT", Advice::Retry),
    code(3032, "ER_SERVER_OFFLINE_MODE", Advice::Retry),
    code(3100, "ER_RUN_HOOK_ERROR", Advice::Retry),
    code(3101, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT", Advice::Retry),
    code(4031, "ER_CLIENT_INTERACTION_TIMEOUT", Advice::Retry),
    // The table is not as it was described.
    code(1054, "ER_BAD_FIELD_ERROR", Advice::Refresh),
    code(1146, "ER_NO_SUCH_TABLE", Advice::Refresh),
    code(1364, "ER_NO_DEFAULT_FOR_FIELD", Advice::Refresh),
    code(1906, "ER_WARNING_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN", Advice::Refresh),
    code(3105, "ER_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN", Advice::Refresh),
    // Some of the rows are bad.
    code(1048, "ER_BAD_NULL_ERROR", Advice::Split),
    code(1062, "ER_DUP_ENTRY", Advice::Split),
    hinted(1153, "ER_NET_PACKET_TOO_LARGE", Advice::Split, "raise `max_allowed_packet`"),
    code(1216, "ER_NO_REFERENCED_ROW", Advice::Split),
    code(1217, "ER_ROW_IS_REFERENCED", Advice::Split),
    code(1264, "ER_WARN_DATA_OUT_OF_RANGE", Advice::Split),
    code(1265, "WARN_DATA_TRUNCATED", Advice::Split),
    code(1292, "ER_TRUNCATED_WRONG_VALUE", Advice::Split),
    code(1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", Advice::Split),
    code(1367, "ER_ILLEGAL_VALUE_FOR_TYPE", Advice::Split),
    hinted(1406, "ER_DATA_TOO_LONG", Advice::Split, "make the column longer: ALTER TABLE … MODIFY"),
    code(1411, "ER_WRONG_VALUE_FOR_TYPE", Advice::Split),
    code(1451, "ER_ROW_IS_REFERENCED_2", Advice::Split),
    code(1452, "ER_NO_REFERENCED_ROW_2", Advice::Split),
    hinted(1526, "ER_NO_PARTITION_FOR_GIVEN_VALUE", Advice::Split, "add a partition for such values"),
    code(1586, "ER_DUP_ENTRY_WITH_KEY_NAME", Advice::Split),
    hinted(1644, "ER_SIGNAL_EXCEPTION", Advice::Split, "see the table's triggers"),
    code(1690, "ER_DATA_OUT_OF_RANGE", Advice::Split),
    code(1748, "ER_ROW_DOES_NOT_MATCH_GIVEN_PARTITION_SET", Advice::Split),
    code(3140, "ER_INVALID_JSON_TEXT", Advice::Split),
    code(3141, "ER_INVALID_JSON_TEXT_IN_PARAM", Advice::Split),
    code(3144, "ER_INVALID_JSON_CHARSET", Advice::Split),
    code(3150, "ER_JSON_VALUE_TOO_BIG", Advice::Split),
    code(3157, "ER_JSON_DOCUMENT_TOO_DEEP", Advice::Split),
    code(3819, "ER_CHECK_CONSTRAINT_VIOLATED", Advice::Split),
    code(3988, "ER_IMPOSSIBLE_STRING_CONVERSION", Advice::Split),
    code(4025, "ER_CONSTRAINT_FAILED", Advice::Split),
    // Listed for their hints.
    hinted(1044, "ER_DBACCESS_DENIED_ERROR", Advice::Pause, GRANT),
    hinted(1045, "ER_ACCESS_DENIED_ERROR", Advice::Pause, "see user and password of the URL"),
    hinted(1046, "ER_NO_DB_ERROR", Advice::Pause, "name a database: mysql://user:password@host/database"),
    hinted(1049, "ER_BAD_DB_ERROR", Advice::Pause, "create the database, or name another one"),
    hinted(1129, "ER_HOST_IS_BLOCKED", Advice::Pause, "type `FLUSH HOSTS` there, and see why connections fail"),
    hinted(1130, "ER_HOST_NOT_PRIVILEGED", Advice::Pause, "let the user in from this host"),
    hinted(1142, "ER_TABLEACCESS_DENIED_ERROR", Advice::Pause, GRANT),
    hinted(1143, "ER_COLUMNACCESS_DENIED_ERROR", Advice::Pause, GRANT),
    hinted(1227, "ER_SPECIFIC_ACCESS_DENIED_ERROR", Advice::Pause, GRANT),
    hinted(1290, "ER_OPTION_PREVENTS_STATEMENT", Advice::Pause, READ_ONLY),
    hinted(1665, "ER_BINLOG_STMT_MODE_AND_ROW_ENGINE", Advice::Pause, "set `binlog_format` to ROW or MIXED"),
    hinted(1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", Advice::Pause, READ_ONLY),
    hinted(1820, "ER_MUST_CHANGE_PASSWORD", Advice::Pause, "the user's password has run out: set a new one"),
    hinted(1836, "ER_READ_ONLY_MODE", Advice::Pause, READ_ONLY),
    hinted(1862, "ER_MUST_CHANGE_PASSWORD_LOGIN", Advice::Pause, "the user's password has run out: set a new one"),
    hinted(3159, "ER_SECURE_TRANSPORT_REQUIRED", Advice::Pause, "the server wants TLS: set `ssl-mode=required`"),
];

/// A column of that name is there already.
const DUPLICATE_COLUMN: u16 = 1060;

/// The error that the pipeline sees. `doing` says what was tried, with the table's name.
pub(super) fn error(doing: &str, error: sqlx::Error) -> Error {
    let Some(database) = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
    else {
        return match error {
            sqlx::Error::Tls(_) => tls(doing, error),
            // What rustls says of a certificate comes as this.
            sqlx::Error::Io(ref io) if io.kind() == std::io::ErrorKind::InvalidData && !is_passing(io) => {
                tls(doing, error)
            }
            // The connection, or a server that was shut down in the middle of an answer.
            sqlx::Error::Io(_) => Error::new(Advice::Retry, doing).with_source(error),
            // Without TLS the password would be sent under a key that anybody may have put there.
            sqlx::Error::Configuration(_) => {
                Error::pause(format!("{doing}: the user's password is asked for over TLS"))
                    .with_hint("set `ssl-mode=required`")
                    .with_source(error)
            }
            _ => Error::pause(doing).with_source(error),
        };
    };
    of(database.number(), database.code(), doing, database.message())
}

fn tls(doing: &str, error: sqlx::Error) -> Error {
    Error::pause(format!("{doing}: TLS could not be agreed on"))
        .with_hint("see `ssl-mode` and `ssl-ca` of the URL")
        .with_source(error)
}

/// Says it in words when an upsert found its row by another unique key than its own: the statement then sets a column of
/// the key to null, and nothing else in it can be null where that is not allowed.
pub(super) fn of_another_key(error: Error, verb: Verb) -> Error {
    if verb == Verb::Upsert && error.code.as_deref().is_some_and(|code| code.starts_with("1048 ")) {
        let message = format!("{}: another unique key of the table belongs to another row", error.message);
        return Error { message, ..error };
    }
    error
}

/// Whether a column could not be added because it is there.
pub(super) fn is_duplicate_column(error: &sqlx::Error) -> bool {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.is_some_and(|error| error.number() == DUPLICATE_COLUMN)
}

fn of(number: u16, state: Option<&str>, doing: &str, message: &str) -> Error {
    // MySQL uses MariaDB's number for a failed CHECK for something else.
    let known = |code: &&Code| code.number == number && (number != 4025 || state == Some("23000"));
    let listed = CODES.iter().find(known);
    let (name, advice, hint) = listed.map_or(("", Advice::Pause, None), |code| (code.name, code.advice, code.hint));
    let label = if name.is_empty() { number.to_string() } else { format!("{number} {name}") };
    let error = Error::new(advice, format!("{doing}: {}", without_value(message))).with_code(label);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The message without the value that it quotes: `Duplicate entry 'x' for key 'k'`, `Incorrect date value: 'x' for
/// column …`. What stands behind the value names key and column.
fn without_value(message: &str) -> String {
    // The last one: the value may hold anything.
    let behind = [" for key ", " for column "].iter().filter_map(|text| message.rfind(text)).max();
    match (behind, message.find('\'')) {
        (Some(behind), Some(before)) if before < behind => format!("{}…{}", &message[..before], &message[behind..]),
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
            let _ = writeln!(table, "{} {} {:?}", code.number, code.name, code.advice);
        }
        assert_snapshot!(table, @"
        1020 ER_CHECKREAD Retry
        1021 ER_DISK_FULL Retry
        1030 ER_GET_ERRNO Retry
        1037 ER_OUTOFMEMORY Retry
        1038 ER_OUT_OF_SORTMEMORY Retry
        1040 ER_CON_COUNT_ERROR Retry
        1041 ER_OUT_OF_RESOURCES Retry
        1047 ER_UNKNOWN_COM_ERROR Retry
        1053 ER_SERVER_SHUTDOWN Retry
        1077 ER_NORMAL_SHUTDOWN Retry
        1079 ER_SHUTDOWN_COMPLETE Retry
        1080 ER_FORCING_CLOSE Retry
        1114 ER_RECORD_FILE_FULL Retry
        1152 ER_ABORTING_CONNECTION Retry
        1158 ER_NET_READ_ERROR Retry
        1159 ER_NET_READ_INTERRUPTED Retry
        1160 ER_NET_ERROR_ON_WRITE Retry
        1161 ER_NET_WRITE_INTERRUPTED Retry
        1180 ER_ERROR_DURING_COMMIT Retry
        1181 ER_ERROR_DURING_ROLLBACK Retry
        1184 ER_NEW_ABORTING_CONNECTION Retry
        1203 ER_TOO_MANY_USER_CONNECTIONS Retry
        1205 ER_LOCK_WAIT_TIMEOUT Retry
        1206 ER_LOCK_TABLE_FULL Retry
        1213 ER_LOCK_DEADLOCK Retry
        1226 ER_USER_LIMIT_REACHED Retry
        1297 ER_GET_TEMPORARY_ERRMSG Retry
        1317 ER_QUERY_INTERRUPTED Retry
        1412 ER_TABLE_DEF_CHANGED Retry
        1614 ER_XA_RBDEADLOCK Retry
        1615 ER_NEED_REPREPARE Retry
        1927 ER_CONNECTION_KILLED Retry
        1969 ER_STATEMENT_TIMEOUT Retry
        2006 CR_SERVER_GONE_ERROR Retry
        2013 CR_SERVER_LOST Retry
        3024 ER_QUERY_TIMEOUT Retry
        3032 ER_SERVER_OFFLINE_MODE Retry
        3100 ER_RUN_HOOK_ERROR Retry
        3101 ER_TRANSACTION_ROLLBACK_DURING_COMMIT Retry
        4031 ER_CLIENT_INTERACTION_TIMEOUT Retry
        1054 ER_BAD_FIELD_ERROR Refresh
        1146 ER_NO_SUCH_TABLE Refresh
        1364 ER_NO_DEFAULT_FOR_FIELD Refresh
        1906 ER_WARNING_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN Refresh
        3105 ER_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN Refresh
        1048 ER_BAD_NULL_ERROR Split
        1062 ER_DUP_ENTRY Split
        1153 ER_NET_PACKET_TOO_LARGE Split
        1216 ER_NO_REFERENCED_ROW Split
        1217 ER_ROW_IS_REFERENCED Split
        1264 ER_WARN_DATA_OUT_OF_RANGE Split
        1265 WARN_DATA_TRUNCATED Split
        1292 ER_TRUNCATED_WRONG_VALUE Split
        1366 ER_TRUNCATED_WRONG_VALUE_FOR_FIELD Split
        1367 ER_ILLEGAL_VALUE_FOR_TYPE Split
        1406 ER_DATA_TOO_LONG Split
        1411 ER_WRONG_VALUE_FOR_TYPE Split
        1451 ER_ROW_IS_REFERENCED_2 Split
        1452 ER_NO_REFERENCED_ROW_2 Split
        1526 ER_NO_PARTITION_FOR_GIVEN_VALUE Split
        1586 ER_DUP_ENTRY_WITH_KEY_NAME Split
        1644 ER_SIGNAL_EXCEPTION Split
        1690 ER_DATA_OUT_OF_RANGE Split
        1748 ER_ROW_DOES_NOT_MATCH_GIVEN_PARTITION_SET Split
        3140 ER_INVALID_JSON_TEXT Split
        3141 ER_INVALID_JSON_TEXT_IN_PARAM Split
        3144 ER_INVALID_JSON_CHARSET Split
        3150 ER_JSON_VALUE_TOO_BIG Split
        3157 ER_JSON_DOCUMENT_TOO_DEEP Split
        3819 ER_CHECK_CONSTRAINT_VIOLATED Split
        3988 ER_IMPOSSIBLE_STRING_CONVERSION Split
        4025 ER_CONSTRAINT_FAILED Split
        1044 ER_DBACCESS_DENIED_ERROR Pause
        1045 ER_ACCESS_DENIED_ERROR Pause
        1046 ER_NO_DB_ERROR Pause
        1049 ER_BAD_DB_ERROR Pause
        1129 ER_HOST_IS_BLOCKED Pause
        1130 ER_HOST_NOT_PRIVILEGED Pause
        1142 ER_TABLEACCESS_DENIED_ERROR Pause
        1143 ER_COLUMNACCESS_DENIED_ERROR Pause
        1227 ER_SPECIFIC_ACCESS_DENIED_ERROR Pause
        1290 ER_OPTION_PREVENTS_STATEMENT Pause
        1665 ER_BINLOG_STMT_MODE_AND_ROW_ENGINE Pause
        1792 ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION Pause
        1820 ER_MUST_CHANGE_PASSWORD Pause
        1836 ER_READ_ONLY_MODE Pause
        1862 ER_MUST_CHANGE_PASSWORD_LOGIN Pause
        3159 ER_SECURE_TRANSPORT_REQUIRED Pause
        ");
        let mut numbers: Vec<_> = CODES.iter().map(|code| code.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CODES.len(), "a number is listed twice");
    }

    #[test]
    fn what_is_not_listed_waits_for_an_operator() {
        assert_eq!(of(1064, None, "", "").advice, Advice::Pause);
        assert_eq!(of(4025, Some("23000"), "", "").advice, Advice::Split);
        assert_eq!(of(4025, Some("HY000"), "", "").advice, Advice::Pause);
    }

    #[test]
    fn messages_do_not_tell_values() {
        let told = |message| of(1, None, "writing table `t`", message).message;
        assert_snapshot!(told("Duplicate entry 'a secret' for key 'k'-x' for key 't.PRIMARY'"), @"writing table `t`: Duplicate entry … for key 't.PRIMARY'");
        assert_snapshot!(told("Incorrect string value: '\\xF0\\x9F\\xA6\\x80' for column `d`.`t`.`a` at row 1"), @"writing table `t`: Incorrect string value: … for column `d`.`t`.`a` at row 1");
        assert_snapshot!(told("Data too long for column 'a' at row 2"), @"writing table `t`: Data too long for column 'a' at row 2");
        assert_snapshot!(told("Unknown column 'x' in 'field list'"), @"writing table `t`: Unknown column 'x' in 'field list'");
    }
}
