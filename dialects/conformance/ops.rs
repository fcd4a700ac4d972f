//! Rows are changed and deleted by their keys.

use super::keyed::{Rows, cell, change, with_defaults};
use super::{Suite, ok};
use crate::contract::{Advice, Intent, Op, Upserts};

impl Suite<'_> {
    pub(super) async fn changes_rows_by_key(&self) {
        if !self.makes_keys() {
            return;
        }
        self.checks_keyed_writes().await;
        self.changes_one_row_after_the_other().await;
        self.adds_no_row_that_lacks_a_value().await;
        self.changes_any_number_of_rows().await;
        self.ends_as_a_map_would().await;
    }

    async fn checks_keyed_writes(&self) {
        let keyed = self.keyed("keyed").await;
        let intent = Intent::Write { table: &keyed.layout.table, keyed: true, cluster: None };
        let problems = ok("check()", self.connection.session.check(intent).await);
        assert!(problems.is_empty(), "check() finds problems with a table whose rows can be changed: {problems:?}");
    }

    async fn changes_one_row_after_the_other(&self) {
        let keyed = self.keyed("keyed").await;
        let (one, two) = (("a", 1), ("it's", -2));
        keyed.write(&[change(Op::Upsert, one, ["x", "1", "2", "3"])]).await;
        keyed.expect(&[(one, ["x", "1", "2", "3"])], "after an upsert of a new key").await;
        keyed.write(&[change(Op::Upsert, one, ["y", "-", "5", "6"])]).await;
        keyed.expect(&[(one, ["y", "-", "5", "6"])], "after an upsert of a stored key").await;
        keyed.write(&[change(Op::Replace, two, [".", ".", ".", "4"])]).await;
        keyed.expect(&[(one, ["y", "-", "5", "6"]), (two, ["-", "8", "7", "4"])], "after a replace of a new key").await;
        keyed.write(&[change(Op::Replace, one, [".", "1", ".", "6"])]).await;
        let rows = [(one, ["-", "1", "7", "6"]), (two, ["-", "8", "7", "4"])];
        keyed.expect(&rows, "after a replace of a stored key, which resets what it does not give").await;
        if keyed.partial {
            let (three, values) = (("a", 3), [".", "1", ".", "3"]);
            keyed.write(&[change(Op::Upsert, three, values), change(Op::Upsert, one, ["z", ".", ".", "."])]).await;
            let rows = [(one, ["z", "1", "7", "6"]), rows[1], (three, ["-", "1", "7", "3"])];
            keyed
                .expect(&rows, "after upserts that lack columns: new rows get defaults, stored ones keep theirs")
                .await;
            keyed.write(&[change(Op::Upsert, three, [".", ".", ".", "."])]).await;
            keyed.expect(&rows, "after an upsert of nothing but a stored key").await;
            keyed.write(&[change(Op::Replace, three, ["z", "0", "0", "0"])]).await;
        } else {
            keyed.write(&[change(Op::Upsert, one, ["z", "1", "7", "6"])]).await;
            keyed.write(&[change(Op::Upsert, ("a", 3), ["z", "0", "0", "0"])]).await;
        }
        if keyed.deletes {
            let gone = |key| change(Op::Delete, key, ["."; 4]);
            keyed.write(&[gone(one), gone(("never", 0)), change(Op::Upsert, two, ["t", "0", "0", "0"])]).await;
            let rows = [(two, ["t", "0", "0", "0"]), (("a", 3), ["z", "0", "0", "0"])];
            keyed.expect(&rows, "after deletes of a stored and a missing key").await;
            keyed.write(&[change(Op::Upsert, one, ["n", "-", "1", "2"]), gone(two)]).await;
            keyed.expect(&[(one, ["n", "-", "1", "2"]), rows[1]], "after an upsert of a key that was deleted").await;
        }
    }

    async fn adds_no_row_that_lacks_a_value(&self) {
        let keyed = self.keyed("keyed").await;
        if !matches!(keyed.layout.table.upserts, Upserts::Keys(_)) {
            return;
        }
        let there = ("a", 1);
        keyed.write(&[change(Op::Upsert, there, ["x", "1", "2", "3"])]).await;
        let lacking = |key| change(Op::Upsert, key, ["y", ".", ".", "."]);
        let tried = keyed.try_write(&[lacking(there), lacking(("b", 1))], None).await;
        let error = tried.expect_err("a new row was added without a value that has no default and cannot be null");
        assert_eq!(error.advice, Advice::Split, "the advice for a new row without a value: {error}");
        assert!(error.to_string().contains("must"), "the column is not named: {error}");
        if self.connection.is_transactional() {
            keyed.expect(&[(there, ["x", "1", "2", "3"])], "after a write that failed").await;
        }
        keyed.write(&[lacking(there)]).await;
        keyed.expect(&[(there, ["y", "1", "2", "3"])], "after an upsert that lacks what the stored row has").await;
    }

    async fn changes_any_number_of_rows(&self) {
        let keyed = self.keyed("keyed").await;
        let mut rows = Rows::new();
        let key = |row: i64| (["a", "b", "c"][usize::from(row % 3 == 1)], row);
        for (count, round) in [(5000, 0), (0, 1), (5000, 2), (5100, 3)] {
            let mut changes = Vec::new();
            for row in 0..count {
                let number = (row * 10 + round).to_string();
                let whole = ["note", &number, "-1", &number];
                let (op, values) = match (row + round) % 5 {
                    1 if keyed.deletes && round > 0 => (Op::Delete, ["."; 4]),
                    2 => (Op::Replace, [".", &number, ".", "3"]),
                    3 if keyed.partial => (Op::Upsert, [".", &number, ".", "3"]),
                    4 if keyed.partial && round == 0 => (Op::Upsert, ["first", ".", "5", "4"]),
                    _ => (Op::Upsert, whole),
                };
                let change = change(op, key(row), values);
                match rows.get_mut(&change.key) {
                    _ if op == Op::Delete => drop(rows.remove(&change.key)),
                    Some(stored) if op == Op::Upsert => {
                        for (stored, given) in stored.iter_mut().zip(values).filter(|(_, given)| *given != ".") {
                            *stored = cell(given);
                        }
                    }
                    _ => drop(rows.insert(change.key.clone(), with_defaults(&change.values))),
                }
                changes.push(change);
            }
            keyed.write(&changes).await;
            let read = keyed.rows().await;
            assert_eq!(read.len(), rows.len(), "round {round}: another number of rows");
            for (read, row) in read.iter().zip(&rows) {
                assert_eq!(read, row, "round {round}");
            }
        }
    }
}
