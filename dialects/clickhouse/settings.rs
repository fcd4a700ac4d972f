//! The settings that an insert depends on.

/// What every insert sets, whatever the server's or the user's profile says.
pub(super) const PINNED: &[(&str, &str)] = &[
    // Acknowledged means stored: no queue in the server's memory (the default since 26.3), none on a Distributed
    // table's disk, and no status line before the end is known.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    ("distributed_foreground_insert", "1"),
    ("wait_end_of_query", "1"),
    // Absent rows travel as nulls and become the column's default.
    ("input_format_null_as_default", "1"),
    ("input_format_defaults_for_omitted_fields", "1"),
    // Columns are sent under their own types. Where one has changed since the table was described, the server would
    // cast, and cut what does not fit: 2³³+7 becomes 7. (LowCardinality and nullability are no conversions to it.)
    ("input_format_native_allow_types_conversion", "0"),
    // Texts inside a JSON column stay texts: `2024-01-02T03:04:05Z` would be kept as a time and read back otherwise.
    ("input_format_try_infer_dates", "0"),
    ("input_format_try_infer_datetimes", "0"),
    // An insert of several Native blocks is put together before it is stored: above these limits the server would store
    // what it has so far, as a part of its own. (A single block it never cuts, whatever max_insert_block_size says.)
    // More rows than 2³² it does not let anyone say.
    ("min_insert_block_size_rows", "4294967296"),
    ("min_insert_block_size_bytes", "1099511627776"),
    // A block that comes again under its token is dropped, by the table and by those that materialized views fill from it,
    // each by itself: where the first attempt ended between them the rest is made up for.
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // A column that is gone is an error, not silence.
    ("input_format_skip_unknown_fields", "0"),
];

/// What must be so and is the server's default, but is not sent: servers without the setting would refuse it.
pub(super) const EXPECTED: &[(&str, &str)] = &[
    // With it, one block becomes several parts, which are not kept or lost together.
    ("use_strict_insert_block_limits", "0"),
    // Stands above `insert_deduplicate` since 26.2.
    ("deduplicate_insert", "enable"),
];
