//! What a block's operations add to its columns: ClickHouse has no other way to say them than rows.

use super::types;
use crate::contract::{
    Advice, Block, Column, ColumnDefault, Error, LogicalType, Mark, Op, TableColumn, TableSchema, Upserts, Values,
};

/// Columns beside those of the block.
#[derive(Debug, Default)]
pub(super) struct Further {
    /// Each by its index in the table's columns.
    columns: Vec<(usize, Column)>,
    /// Whether a row's absent columns are to stay what they are.
    pub(super) keeps_absent: bool,
}

impl Further {
    /// The columns that say what the block's rows do.
    ///
    /// # Errors
    /// When the table cannot be told so.
    pub(super) fn of(block: &Block) -> Result<Self, Error> {
        if block.ops.is_empty() {
            return Ok(Self::default());
        }
        let table = &*block.layout.table;
        match &table.upserts {
            Upserts::Versions { partial: true, .. } => {
                refuse_all(block, &[Op::Delete, Op::Replace])?;
                coalesced(block)
            }
            Upserts::Versions { version, deleted, .. } => {
                if let Some(version) = version {
                    require(block, version)?;
                }
                match deleted {
                    Some(deleted) => Ok(Self { columns: vec![tombstones(block, deleted)?], keeps_absent: false }),
                    None => refuse_all(block, &[Op::Delete]).map(|()| Self::default()),
                }
            }
            Upserts::Never { why, hint } => {
                Err(Error::pause(format!("{} takes no upserts and deletes: {why}", table.name)).with_hint(hint))
            }
            Upserts::Keys(_) => Err(broken(table, "it was not described by this database")),
        }
    }

    /// The columns with what they are in the table.
    pub(super) fn columns<'a>(&'a self, table: &'a TableSchema) -> impl Iterator<Item = (&'a TableColumn, &'a Column)> {
        self.columns.iter().map(|(index, column)| (&table.columns[*index], column))
    }
}

/// Whether the rows of the block keep what they are in the columns that are absent.
pub(super) fn keeps_absent(block: &Block) -> bool {
    !block.ops.is_empty() && matches!(block.layout.table.upserts, Upserts::Versions { partial: true, .. })
}

fn refuse_all(block: &Block, refused: &[Op]) -> Result<(), Error> {
    let table = &*block.layout.table;
    let kind = &table.kind;
    match block.ops.iter().find(|op| refused.contains(op)) {
        None => Ok(()),
        Some(Op::Replace) => Err(Error::pause(format!(
            "a row of {} is to be replaced as a whole, and {kind} keeps what it had",
            table.name
        ))
        .with_hint("write to a ReplacingMergeTree")),
        Some(_) => Err(Error::pause(format!(
            "a row of {} is to be deleted, and {kind} has no column that says so",
            table.name
        ))
        .with_hint("write to a ReplacingMergeTree(version, is_deleted), or leave deletes out")),
    }
}

/// The column that says which rows are deleted.
fn tombstones(block: &Block, deleted: &str) -> Result<(usize, Column), Error> {
    let table = &*block.layout.table;
    let index = table.columns.iter().position(|column| column.name == deleted);
    let index = index.filter(|index| !block.layout.targets.contains(index));
    let index = index.ok_or_else(|| broken(table, format!("column {deleted} is the block's or nobody's")))?;
    let flags = block.ops.iter().map(|op| u8::from(*op == Op::Delete)).collect();
    let values = match table.columns[index].value.as_ref().map(|value| &value.logical) {
        Ok(LogicalType::Bool) => Values::Bool(flags),
        _ => Values::UInt8(flags),
    };
    Ok((index, Column { values, marks: Default::default() }))
}

/// Every row has a version: one without would lose against all others, and nobody would notice.
fn require(block: &Block, version: &str) -> Result<(), Error> {
    let table = &*block.layout.table;
    let column = block.layout.columns().zip(&block.columns).find(|(column, _)| column.name == version);
    let (_, column) = column.ok_or_else(|| broken(table, format!("the block lacks column {version}")))?;
    match column.marks.all_values() {
        true => Ok(()),
        false => Err(Error::new(Advice::Split, format!("a row of {} has no version: column {version}", table.name))
            .with_hint(format!("have the records hold {version}, or name another column as the version"))),
    }
}

/// Rows whose absent columns stay as they are. Where null says so, it cannot say that a column becomes null.
fn coalesced(block: &Block) -> Result<Further, Error> {
    let table = &*block.layout.table;
    let kind = &table.kind;
    let key = |place: &usize| block.layout.key.contains(place);
    for (place, (target, column)) in block.layout.columns().zip(&block.columns).enumerate() {
        let refused = if tells_absent(target) { Mark::Null } else { Mark::Absent };
        if key(&place) || !column.marks.as_bytes().contains(&(refused as u8)) {
            continue;
        }
        let name = format!("column {} of table {}", target.name, table.name);
        return Err(match refused {
            Mark::Null => Error::new(Advice::Split, format!("{name} is to become null, and {kind} keeps what it was"))
                .with_hint(
                    "leave the field out of the record where it has not changed, or write to a ReplacingMergeTree",
                ),
            _ => {
                Error::new(Advice::Split, format!("{name} is absent, and {kind} keeps only nullable ones as they are"))
                    .with_hint(format!("make {} nullable, or have all records hold it", target.name))
            }
        });
    }
    let mut columns = Vec::new();
    for (index, target) in table.columns.iter().enumerate().filter(|(index, _)| !block.layout.targets.contains(index)) {
        match (&target.value, target.default) {
            (_, ColumnDefault::Generated | ColumnDefault::Ephemeral) => {}
            (Ok(_), ColumnDefault::None) if tells_absent(target) => {}
            // Left out, it would become its default.
            (Ok(value), _) if tells_absent(target) => {
                let mut column = Column::new(&value.logical);
                (0..block.rows).for_each(|_| column.push_mark(Mark::Absent));
                columns.push((index, column));
            }
            _ => {
                let name = &target.name;
                let what = format!("column {name} of table {} is in no record, and {kind} would reset it", table.name);
                return Err(Error::pause(what).with_hint(format!("make {name} nullable, or have all records hold it")));
            }
        }
    }
    Ok(Further { columns, keeps_absent: true })
}

/// Whether null means that the engine keeps what is there. A Variant's null is a value like any other.
fn tells_absent(column: &TableColumn) -> bool {
    types::parse(&column.type_text).is_ok_and(|column| column.has_null_map())
}

fn broken(table: &TableSchema, what: impl std::fmt::Display) -> Error {
    Error::pause(format!("table {}: {what}", table.name)).with_hint("this is a mistake in rowfall: please report it")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::native::Encoder;
    use super::*;
    use crate::contract::{Layout, TableName};

    /// A block of (id, note, v) with these operations, for a table that may have columns which the block lacks.
    fn block(upserts: Upserts, further: &[(&str, &str, ColumnDefault)], ops: &[Op]) -> Block {
        let given = [("id", "UInt8"), ("note", "Nullable(String)"), ("v", "UInt8")];
        let given = given.map(|(name, type_text)| (name, type_text, ColumnDefault::None));
        let column = |(name, type_text, default): &(&str, &str, ColumnDefault)| TableColumn {
            name: (*name).into(),
            type_text: (*type_text).into(),
            value: Ok(types::parse(type_text).unwrap().value),
            default: *default,
        };
        let columns = given.iter().chain(further).map(column).collect();
        let name = TableName { schema: Some("shop".into()), name: "orders".into() };
        let table = TableSchema { upserts, ..TableSchema::new(name, "TheMergeTree", columns) };
        let layout = Layout { key: [0].into(), ..Layout::new(Arc::new(table), [0, 1, 2]) };
        let mut columns = layout.empty_columns();
        columns[0].values = Values::UInt8((1..).take(ops.len()).collect());
        ops.iter().for_each(|_| columns[1].push_mark(Mark::Absent));
        columns[2].values = Values::UInt8((7..).take(ops.len()).collect());
        Block { ops: ops.to_vec(), ..Block::new(Arc::new(layout), columns, ops.len()) }
    }

    fn versions(version: Option<&str>, deleted: Option<&str>, partial: bool) -> Upserts {
        let [version, deleted] = [version, deleted].map(|name| name.map(Into::into));
        Upserts::Versions { key: vec!["id".into()], version, deleted, partial }
    }

    fn encoded(block: &Block) -> Result<String, Error> {
        let further = Further::of(block)?;
        let mut encoder = Encoder::new(block, &further, 1 << 20)?;
        let mut bytes = Vec::new();
        assert!(encoder.next_chunk(&mut bytes));
        Ok(bytes.escape_ascii().to_string())
    }

    fn refused(block: &Block) -> String {
        let error = encoded(block).unwrap_err();
        format!("{:?}: {error}: {}", error.advice, error.hint.as_deref().unwrap_or_default())
    }

    const OPS: &[Op] = &[Op::Upsert, Op::Delete, Op::Replace];

    #[test]
    fn a_deleted_row_says_so() {
        for (type_text, name) in [("UInt8", "\\x05UInt8"), ("Bool", "\\x04Bool")] {
            let deleted = [("d", type_text, ColumnDefault::None)];
            let bytes = encoded(&block(versions(Some("v"), Some("d"), false), &deleted, OPS)).unwrap();
            let told = format!("\\x01d{name}\\x00\\x01\\x00");
            assert!(bytes.ends_with(&told), "{bytes}");
        }
        let plain = block(versions(Some("v"), Some("d"), false), &[("d", "UInt8", ColumnDefault::None)], &[]);
        assert!(Further::of(&plain).unwrap().columns.is_empty());
    }

    #[test]
    fn what_a_table_cannot_be_told_is_refused() {
        insta::assert_snapshot!(refused(&block(versions(Some("v"), None, false), &[], OPS)), @"Pause: a row of shop.orders is to be deleted, and TheMergeTree has no column that says so: write to a ReplacingMergeTree(version, is_deleted), or leave deletes out");
        insta::assert_snapshot!(refused(&block(versions(None, None, true), &[], &OPS[1..])), @"Pause: a row of shop.orders is to be deleted, and TheMergeTree has no column that says so: write to a ReplacingMergeTree(version, is_deleted), or leave deletes out");
        insta::assert_snapshot!(refused(&block(versions(None, None, true), &[], &OPS[2..])), @"Pause: a row of shop.orders is to be replaced as a whole, and TheMergeTree keeps what it had: write to a ReplacingMergeTree");
        let never = Upserts::Never { why: "MergeTree keeps every row".into(), hint: "CREATE TABLE …".into() };
        insta::assert_snapshot!(refused(&block(never, &[], OPS)), @"Pause: shop.orders takes no upserts and deletes: MergeTree keeps every row: CREATE TABLE …");
        let mut unversioned = block(versions(Some("v"), None, false), &[], &OPS[..1]);
        unversioned.columns[2].truncate(0);
        unversioned.columns[2].push_mark(Mark::Absent);
        insta::assert_snapshot!(refused(&unversioned), @"Split: a row of shop.orders has no version: column v: have the records hold v, or name another column as the version");
        assert!(encoded(&block(versions(Some("v"), None, false), &[], &[Op::Upsert, Op::Replace])).is_ok());
    }

    #[test]
    fn what_is_absent_stays_where_null_says_so() {
        let further = [
            ("x", "Nullable(UInt8)", ColumnDefault::Expression),
            ("y", "Nullable(UInt8)", ColumnDefault::None),
            ("z", "UInt8", ColumnDefault::Generated),
        ];
        let partial = || versions(None, None, true);
        let mut some = block(partial(), &further, &[Op::Upsert, Op::Upsert]);
        insta::assert_snapshot!(encoded(&some).unwrap(), @r"\x04\x02\x02id\x05UInt8\x01\x02\x04note\x10Nullable(String)\x01\x01\x00\x00\x01v\x05UInt8\x07\x08\x01x\x0fNullable(UInt8)\x01\x01\x00\x00");
        some.columns[1].truncate(1);
        some.columns[1].push_mark(Mark::Null);
        insta::assert_snapshot!(refused(&some), @"Split: column note of table shop.orders is to become null, and TheMergeTree keeps what it was: leave the field out of the record where it has not changed, or write to a ReplacingMergeTree");
        let mut bare = block(partial(), &[], &[Op::Upsert]);
        bare.columns[2].truncate(0);
        bare.columns[2].push_mark(Mark::Absent);
        insta::assert_snapshot!(refused(&bare), @"Split: column v of table shop.orders is absent, and TheMergeTree keeps only nullable ones as they are: make v nullable, or have all records hold it");
        for (type_text, default) in [("UInt8", ColumnDefault::None), ("Dynamic", ColumnDefault::Expression)] {
            let reset = block(partial(), &[("w", type_text, default)], &[Op::Upsert]);
            let told = "Pause: column w of table shop.orders is in no record, and TheMergeTree would reset it: make w \
                        nullable, or have all records hold it";
            assert_eq!(refused(&reset), told);
        }
    }
}
