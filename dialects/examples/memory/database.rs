//! The server's part: nothing here has a counterpart in a dialect of yours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rowfall_dialects::contract::{ColumnDefault, Grammar as _, Partition, Resumed, TableColumn};

use crate::grammar::MemoryGrammar;

/// A value per column; none is null.
pub(crate) type Row = Vec<Option<String>>;

#[derive(Clone, Default)]
pub(crate) struct Database {
    tables: BTreeMap<String, Arc<Table>>,
    pub(crate) views: BTreeSet<String>,
    /// By pipeline and partition.
    pub(crate) offsets: BTreeMap<(String, Partition), Resumed>,
}

#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<TableColumn>,
    /// One per column, where it has one.
    pub(crate) defaults: Vec<i64>,
    pub(crate) key: Vec<usize>,
    /// By key; by number, where there is none.
    pub(crate) rows: BTreeMap<Vec<String>, Row>,
}

impl Database {
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name).map(Arc::as_ref)
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.get_mut(name).map(Arc::make_mut)
    }

    pub(crate) fn rows(&self, table: &str) -> Vec<&Row> {
        self.table(table).map(|table| table.rows.values().collect()).unwrap_or_default()
    }

    /// Runs `CREATE TABLE`, `ALTER TABLE`, `DROP` and what there is of views.
    pub(crate) fn run(&mut self, statement: &str) -> Result<(), String> {
        let unknown = || format!("cannot run `{statement}`");
        let tokens = tokens(statement);
        let (names, words): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| matches!(token, Token::Name(_)));
        let words: Vec<_> = words.iter().map(|token| token.text()).collect();
        let name = names.first().map(|name| name.text().to_owned()).ok_or_else(unknown)?;
        match words.as_slice() {
            ["DROP", "TABLE", ..] => drop(self.tables.remove(&name)),
            ["DROP", "VIEW", ..] => drop(self.views.remove(&name)),
            ["CREATE", "VIEW", ..] => drop(self.views.insert(name)),
            ["CREATE", "TABLE", ..] if self.tables.contains_key(&name) => {}
            ["CREATE", "TABLE", "IF", "NOT", "EXISTS", ..] => {
                let table = Table::parse(tokens.get(7..tokens.len() - 1).unwrap_or_default());
                self.tables.insert(name, Arc::new(table));
            }
            ["ALTER", "TABLE", "ADD", "COLUMN", "IF", "NOT", "EXISTS", ..] => {
                self.table_mut(&name).ok_or_else(unknown)?.add(tokens.get(8..).unwrap_or_default());
            }
            ["ALTER", "TABLE", "ALTER", "COLUMN", "DROP", "NOT", "NULL"] => {
                let table = self.table_mut(&name).ok_or_else(unknown)?;
                let column =
                    table.columns.iter_mut().find(|column| names.get(1).is_some_and(|n| n.text() == column.name));
                if let Ok(value) = &mut column.ok_or_else(unknown)?.value {
                    value.nullable = true;
                }
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

impl Table {
    /// What stands between the parentheses of `CREATE TABLE`.
    fn parse(tokens: &[Token]) -> Self {
        let mut table = Self::default();
        for part in parts(tokens) {
            match part {
                [Token::Word(word), ..] if word == "PRIMARY" => {
                    let place = |token: &Token| table.columns.iter().position(|column| column.name == token.text());
                    table.key = part.iter().filter_map(place).collect();
                }
                column => table.add(column),
            }
        }
        table
    }

    /// A column as it is declared: a name, a type, NOT NULL and a default, which is a sum.
    fn add(&mut self, declared: &[Token]) {
        let [Token::Name(name), Token::Word(type_text), rest @ ..] = declared else { return };
        if self.columns.iter().any(|column| column.name == *name) {
            return;
        }
        let words: Vec<_> = rest.iter().map(Token::text).collect();
        let mut value = MemoryGrammar.parse_type(type_text).map_err(|why| why.0);
        if let Ok(value) = &mut value {
            value.nullable = !words.contains(&"NULL");
        }
        let sum = words.iter().filter_map(|word| word.parse::<i64>().ok()).sum();
        let has_default = words.contains(&"DEFAULT");
        let default = if has_default { ColumnDefault::Expression } else { ColumnDefault::None };
        self.columns.push(TableColumn { name: name.clone(), type_text: type_text.clone(), value, default });
        self.defaults.push(sum);
        for row in self.rows.values_mut() {
            row.push(has_default.then(|| sum.to_string()));
        }
    }

    /// The place of the row that holds these values in its key.
    pub(crate) fn find<'a>(
        &self,
        key: impl Iterator<Item = (usize, &'a Option<Option<String>>)>,
    ) -> Option<Vec<String>> {
        let given: BTreeMap<_, _> = key.collect();
        let of_key = |place: &usize| given.get(place).and_then(|cell| cell.as_ref()?.clone());
        self.key.iter().map(of_key).collect::<Option<Vec<_>>>().filter(|key| self.rows.contains_key(key))
    }

    pub(crate) fn insert(&mut self, row: Row) -> Result<(), &'static str> {
        let key = if self.key.is_empty() {
            vec![format!("{:020}", self.rows.len())]
        } else {
            let of_key = |place: &usize| row[*place].clone();
            self.key.iter().map(of_key).collect::<Option<_>>().ok_or("a key is null")?
        };
        match self.rows.insert(key, row) {
            None => Ok(()),
            Some(_) => Err("a row of that key is there"),
        }
    }
}

enum Token {
    /// In quotes.
    Name(String),
    Word(String),
}

impl Token {
    fn text(&self) -> &str {
        let (Self::Name(text) | Self::Word(text)) = self;
        text
    }
}

fn tokens(statement: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = statement.chars().peekable();
    while let Some(first) = characters.next() {
        let mut text = String::new();
        match first {
            '"' => {
                while let Some(c) = characters.next() {
                    if c != '"' || characters.next_if_eq(&'"').is_some() {
                        text.push(c);
                    } else {
                        break;
                    }
                }
                tokens.push(Token::Name(text));
            }
            c if c.is_alphanumeric() => {
                text.push(c);
                while let Some(c) = characters.next_if(|c| c.is_alphanumeric()) {
                    text.push(c);
                }
                tokens.push(Token::Word(text));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Word(c.into())),
        }
    }
    tokens
}

/// What stands between commas, but for those in parentheses.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let is_end = |token: &Token| {
        depth += i32::from(token.text() == "(") - i32::from(token.text() == ")");
        depth == 0 && token.text() == ","
    };
    tokens.split(is_end).collect()
}
