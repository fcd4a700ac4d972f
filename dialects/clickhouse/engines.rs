//! Table engines: which are written, and what each promises of the rows that it acknowledged.

/// Engines that rowfall does not write to, why not, and what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    ("View", "keeps no rows", "name the table that it reads"),
    (
        "MaterializedView",
        "is filled by inserts into its source",
        "name the table that it reads, or the table that it writes TO",
    ),
    ("LiveView", "keeps no rows", "name the table that it reads"),
    ("WindowView", "is filled by inserts into its source", "name the table that it reads"),
    ("Buffer", "loses acknowledged rows when the server crashes", "name the table behind it: rowfall batches already"),
    ("Dictionary", "is loaded from its source", "name the table that it is loaded from"),
    ("Merge", "only reads other tables", "name one of them"),
    ("Executable", "reads what a program writes", "name a table of the MergeTree family"),
    ("ExecutablePool", "reads what a program writes", "name a table of the MergeTree family"),
    (
        "Kafka",
        "is a queue that would send the rows back to Kafka",
        "name the table that its materialized view fills, and drop both: rowfall takes their place",
    ),
    ("RabbitMQ", "is a queue", "name the table that its materialized view fills"),
    ("NATS", "is a queue", "name the table that its materialized view fills"),
    ("FileLog", "reads files", "name the table that its materialized view fills"),
    ("S3Queue", "reads a bucket", "name the table that its materialized view fills"),
    ("AzureQueue", "reads a container", "name the table that its materialized view fills"),
    ("GenerateRandom", "keeps no rows", "name a table of the MergeTree family"),
    ("FuzzJSON", "keeps no rows", "name a table of the MergeTree family"),
    ("FuzzQuery", "keeps no rows", "name a table of the MergeTree family"),
    ("MaterializedPostgreSQL", "is replicated from Postgres", "name a table of the MergeTree family"),
];

const LOG: &str = "one insert at a time, the others wait; a crash of the server in the middle of an insert can leave \
                   part of it, or lose what it had not yet handed to the disk; the table cannot drop rows that come \
                   twice";

/// What to know of the engines that keep less than each row as it was written, whole inserts at a time.
const PROMISES: &[(&[&str], &str)] = &[
    (
        &["SummingMergeTree"],
        "it sums the rows of a key, so rows that come twice after a crash are counted twice for good, and it drops rows \
         whose sums are all zero",
    ),
    (
        &["AggregatingMergeTree", "CollapsingMergeTree", "VersionedCollapsingMergeTree"],
        "it merges the rows of a key into one, so rows that come twice after a crash are counted twice for good",
    ),
    (
        &["Distributed"],
        "rows are acknowledged when their shards have them, but an insert is as many inserts as shards: a retry after \
         a lost answer may double its rows on some of them",
    ),
    (&["GraphiteMergeTree"], "it rolls values up by the server's graphite_rollup, those of one insert at once"),
    (&["Memory"], "its rows are gone when the server restarts"),
    (&["Null"], "it keeps nothing: rows are where its materialized views put them, and nowhere without one"),
    (&["Log", "TinyLog", "StripeLog"], LOG),
    (&["Set", "Join"], "it keeps one row for each key, in the server's memory"),
    (&["EmbeddedRocksDB", "KeeperMap", "Redis"], "it keeps one row for each key: the last that was written"),
    (
        &["File", "URL", "S3", "GCS", "OSS", "COSN", "HDFS", "AzureBlobStorage"],
        "what is kept, and whether whole inserts are, is up to the storage behind it; rows that come twice stay",
    ),
    (
        &["MySQL", "PostgreSQL", "SQLite", "ODBC", "JDBC", "MongoDB", "Remote", "RemoteSecure"],
        "the server hands the rows on: whether whole inserts are kept is up to the database behind it",
    ),
];

const REPLICATED: &str = "an insert is acknowledged by one replica, and is lost with it before the others have it, \
                          unless the target's url sets insert_quorum";

/// Why an engine is not written to, and what to do instead.
pub(super) fn refused(engine: &str) -> Option<(&'static str, &'static str)> {
    REFUSED.iter().find(|(name, ..)| *name == engine).map(|(_, why, mend)| (*why, *mend))
}

/// What to know before rows are trusted to an engine, given with or without its arguments.
pub(super) fn promise(engine: &str) -> Option<&'static str> {
    let engine = name(engine);
    // ClickHouse Cloud's own family keeps what is acknowledged as its plain one does.
    let engine = engine.strip_prefix("Shared").unwrap_or(engine);
    let of = |engine: &str| PROMISES.iter().find(|(names, _)| names.contains(&engine)).map(|(_, text)| *text);
    match engine.strip_prefix("Replicated") {
        Some(engine) if is_merge_tree(engine) => of(engine).or(Some(REPLICATED)),
        _ => of(engine),
    }
}

/// Whether it is of the family that sorts.
pub(super) fn is_merge_tree(engine: &str) -> bool {
    name(engine).ends_with("MergeTree")
}

/// Whether it is of that family, and each server keeps a table by itself.
pub(super) fn is_plain_merge_tree(engine: &str) -> bool {
    let engine = name(engine);
    is_merge_tree(engine) && !engine.starts_with("Replicated") && !engine.starts_with("Shared")
}

/// Whether the order of the rows within an insert means nothing: no merge picks one of them by it.
pub(super) fn forgets_order(engine: &str) -> bool {
    ["MergeTree", "ReplicatedMergeTree", "SharedMergeTree"].contains(&name(engine))
}

/// Whether it matters which of two inserts came first: of the rows of a key it keeps the last, or it takes one insert at
/// a time anyway.
pub(super) fn heeds_order(engine: &str) -> bool {
    let engine = name(engine);
    let family = engine.trim_start_matches("Shared").trim_start_matches("Replicated");
    matches!(
        family,
        "ReplacingMergeTree"
            | "CoalescingMergeTree"
            | "CollapsingMergeTree"
            | "AggregatingMergeTree"
            | "GraphiteMergeTree"
            | "Log"
            | "TinyLog"
            | "StripeLog"
            | "Set"
            | "Join"
            | "EmbeddedRocksDB"
            | "KeeperMap"
            | "Redis"
    )
}

/// An engine without its arguments.
pub(super) fn name(engine: &str) -> &str {
    engine.split('(').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_known_with_and_without_arguments() {
        assert!(is_merge_tree("ReplacingMergeTree (at)") && is_merge_tree("MergeTree") && !is_merge_tree("Log"));
        assert_eq!(promise("Distributed(a, b, c)"), promise("Distributed"));
        assert!(promise("SharedMergeTree").is_none() && promise("MergeTree()").is_none() && promise("").is_none());
        assert_eq!(promise("SharedSummingMergeTree"), promise("SummingMergeTree"));
        assert_eq!(promise("ReplicatedMergeTree"), Some(REPLICATED));
        assert_eq!(promise("ReplicatedSummingMergeTree"), promise("SummingMergeTree(x)"));
    }

    #[test]
    fn no_engine_is_refused_and_promised() {
        for (engine, ..) in REFUSED {
            assert!(promise(engine).is_none() && refused(engine).is_some(), "{engine}");
        }
    }
}
