//! The texts of what is written, where they are these servers' own.

use std::fmt::Write as _;

use crate::contract::{Layout, TableName};
use crate::generic::{Group, Statement, Verb};
use crate::mysql::grammar::{Flavor, SYNTAX};

/// What writes so many rows of a group: one parameter per value, row by row, in the order of [`Group::given`]; for
/// [`Verb::Update`] one row, and the parameters of its key once more.
pub(super) fn write(flavor: Flavor, layout: &Layout, group: &Group, rows: usize) -> Statement {
    let columns: Vec<_> = group.columns(layout).collect();
    let key: Vec<_> =
        layout.key.iter().map(|index| layout.table.columns[layout.targets[*index]].name.as_str()).collect();
    match group.verb {
        Verb::Insert => SYNTAX.insert(&layout.table.name, &columns, rows),
        Verb::Upsert => upsert(flavor, &layout.table.name, &columns, &key, rows),
        Verb::Update => update(&layout.table.name, &columns, &key),
    }
}

/// `INSERT … ON DUPLICATE KEY UPDATE`. `columns` holds those of the key too.
///
/// The server updates the row that it finds by *any* unique key. When that is not the row of `key`, the first
/// assignment sets a column of the key to null, which the column does not take: an error rather than a change of
/// somebody else's row.
fn upsert(flavor: Flavor, table: &TableName, columns: &[&str], key: &[&str], rows: usize) -> Statement {
    let mut sql = SYNTAX.insert(table, columns, rows).as_str().to_owned();
    let name = |column: &str| SYNTAX.identifier(column);
    let (stored, new) = match flavor {
        // It wants the new row to have a name; then a column needs one before it.
        Flavor::MySql => {
            sql.push_str(" AS `new row`");
            (format!("{}.", SYNTAX.table(table)), ("`new row`.", ""))
        }
        // It knows only the function.
        Flavor::MariaDb => (String::new(), ("VALUES(", ")")),
    };
    let stored = |column: &str| format!("{stored}{}", name(column));
    let new = |column: &str| format!("{}{}{}", new.0, name(column), new.1);
    let same: Vec<_> = key.iter().map(|column| format!("{} = {}", stored(column), new(column))).collect();
    let first = stored(key[0]);
    let _ = write!(sql, " ON DUPLICATE KEY UPDATE {first} = IF({}, {first}, NULL)", same.join(" AND "));
    for column in columns.iter().filter(|column| !key.contains(column)) {
        let _ = write!(sql, ", {} = {}", stored(column), new(column));
    }
    Statement::ddl(&sql)
}

/// `UPDATE` of one row: a parameter for each of `columns`, then for each of the key.
fn update(table: &TableName, columns: &[&str], key: &[&str]) -> Statement {
    let list = |columns: &[&str], separator: &str| {
        columns.iter().map(|column| format!("{} = ?", SYNTAX.identifier(column))).collect::<Vec<_>>().join(separator)
    };
    Statement::ddl(&format!("UPDATE {} SET {} WHERE {}", SYNTAX.table(table), list(columns, ", "), list(key, " AND ")))
}

/// Inserts no row, for the rights that inserting one takes; with a key, for those that an upsert takes.
pub(super) fn insert_nothing(table: &TableName, columns: &[&str], keyed: bool) -> Statement {
    let names: Vec<_> = columns.iter().map(|column| SYNTAX.identifier(column)).collect();
    let nulls = vec!["NULL"; columns.len()].join(", ");
    let mut sql =
        format!("INSERT INTO {} ({}) SELECT {nulls} FROM DUAL WHERE FALSE", SYNTAX.table(table), names.join(", "));
    if keyed {
        let same = |name: &String| format!("{0}.{name} = {0}.{name}", SYNTAX.table(table));
        let _ = write!(sql, " ON DUPLICATE KEY UPDATE {}", names.iter().map(same).collect::<Vec<_>>().join(", "));
    }
    Statement::ddl(&sql)
}

/// Deletes no row, for the rights that deleting one by its key takes.
pub(super) fn delete_nothing(table: &TableName, key: &[&str]) -> Statement {
    let conditions: Vec<_> = key.iter().map(|column| format!("{} IS NULL", SYNTAX.identifier(column))).collect();
    Statement::ddl(&format!("DELETE FROM {} WHERE FALSE AND {}", SYNTAX.table(table), conditions.join(" AND ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn rows_are_upserted() {
        let table = TableName { schema: Some("shop".into()), name: "or`ders".into() };
        let of = |flavor, columns: &[&str], key: &[&str]| upsert(flavor, &table, columns, key, 2).as_str().to_owned();
        assert_snapshot!(of(Flavor::MySql, &["id", "no`te"], &["id"]), @"INSERT INTO `shop`.`or``ders` (`id`, `no``te`) VALUES (?,?),(?,?) AS `new row` ON DUPLICATE KEY UPDATE `shop`.`or``ders`.`id` = IF(`shop`.`or``ders`.`id` = `new row`.`id`, `shop`.`or``ders`.`id`, NULL), `shop`.`or``ders`.`no``te` = `new row`.`no``te`");
        assert_snapshot!(of(Flavor::MariaDb, &["a", "b", "c"], &["a", "c"]), @"INSERT INTO `shop`.`or``ders` (`a`, `b`, `c`) VALUES (?,?,?),(?,?,?) ON DUPLICATE KEY UPDATE `a` = IF(`a` = VALUES(`a`) AND `c` = VALUES(`c`), `a`, NULL), `b` = VALUES(`b`)");
        assert_snapshot!(of(Flavor::MariaDb, &["a"], &["a"]), @"INSERT INTO `shop`.`or``ders` (`a`) VALUES (?),(?) ON DUPLICATE KEY UPDATE `a` = IF(`a` = VALUES(`a`), `a`, NULL)");
    }

    #[test]
    fn a_row_is_changed_by_its_key() {
        let table = TableName::parse("orders");
        assert_snapshot!(update(&table, &["x", "y"], &["a", "b"]).as_str(), @"UPDATE `orders` SET `x` = ?, `y` = ? WHERE `a` = ? AND `b` = ?");
    }

    #[test]
    fn rights_are_tried_without_a_row() {
        let table = TableName::parse("orders");
        assert_snapshot!(insert_nothing(&table, &["a", "b"], false).as_str(), @"INSERT INTO `orders` (`a`, `b`) SELECT NULL, NULL FROM DUAL WHERE FALSE");
        assert_snapshot!(insert_nothing(&table, &["a", "b"], true).as_str(), @"INSERT INTO `orders` (`a`, `b`) SELECT NULL, NULL FROM DUAL WHERE FALSE ON DUPLICATE KEY UPDATE `orders`.`a` = `orders`.`a`, `orders`.`b` = `orders`.`b`");
        assert_snapshot!(delete_nothing(&table, &["a", "b"]).as_str(), @"DELETE FROM `orders` WHERE FALSE AND `a` IS NULL AND `b` IS NULL");
    }
}
