//! Which field of a record fills which column: by its name, by the way to it through objects (`from: a.b`), and by the
//! name that it has once the objects around it are flattened.
//!
//! All ways are worked out before the first record. An object whose fields are known is an [`Object`]; a flattened
//! column's name, `a_b_c`, may come from the field of that name, from `a: {b_c}`, `a_b: {c}` and `a: {b: {c}}`, so each
//! separator in it may be a step inwards.

use std::collections::{HashMap, HashSet};

use rowfall_dialects::contract::{ColumnDefault, TableSchema};

use crate::config::{ColumnSettings, Nested, Route};

/// An object whose fields have columns: the record, or one inside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    /// What it is called from outside; empty for the record.
    pub(super) name: Box<str>,
    /// What stands before its fields' names where they are named from outside; empty for the record.
    pub(super) prefix: Box<str>,
    /// Every field that is known, in the order of the table's columns: records tend to keep an order, so the field
    /// behind the last one is tried first.
    pub(super) fields: Vec<Field>,
    by_name: HashMap<Box<str>, usize>,
    /// Every column that is filled from inside, at any depth: what is null where the object is.
    pub(super) below: Box<[usize]>,
}

/// A field that is known. Without a column and an object it is read over.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// The column that takes it, an index into `Program::columns`.
    pub(super) column: Option<usize>,
    /// Where it is an object: the one whose fields are known, an index into `Program::objects`.
    pub(super) object: Option<usize>,
    /// Whether its name is that of several steps: most records do not have it.
    joined: bool,
}

impl Object {
    /// The index of a field, trying `expected` first.
    #[inline]
    pub(super) fn field(&self, name: &str, expected: usize) -> Option<usize> {
        match self.fields.get(expected) {
            Some(field) if *field.name == *name => Some(expected),
            _ => self.by_name.get(name).copied(),
        }
    }

    /// The same for one column alone, which becomes the first; knows no more than what leads to it, or every field still.
    pub(super) fn alone(&self, column: usize, whole: bool) -> Self {
        let only = |other: usize| (other == column).then_some(0);
        let fields = self.fields.iter().map(|field| Field { column: field.column.and_then(only), ..field.clone() });
        let fields = fields.filter(|field| whole || field.column.is_some() || field.object.is_some()).collect();
        let below = self.below.iter().filter_map(|other| only(*other)).collect();
        let mut object =
            Self { name: self.name.clone(), prefix: self.prefix.clone(), fields, below, ..Self::default() };
        object.index();
        object
    }

    /// Makes its fields to be found by their names.
    fn index(&mut self) {
        self.by_name = self.fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect();
    }
}

/// Which objects of a route's records are taken apart, and what their fields are called then.
#[derive(Debug)]
pub(crate) struct Flattening<'r> {
    route: &'r Route,
    /// Names that are columns of the table: such a field goes into its column whole.
    whole: HashSet<&'r str>,
}

impl<'r> Flattening<'r> {
    /// For a table that is there.
    fn new(route: &'r Route, table: &'r TableSchema) -> Self {
        let takes = |name: &str| route.columns.iter().all(|c| c.name != name || c.from == name);
        let columns = table.columns.iter().filter(|c| c.default != ColumnDefault::Generated);
        Self { route, whole: columns.map(|c| c.name.as_str()).filter(|name| takes(name)).collect() }
    }

    /// For a table that is to be made.
    pub(crate) fn without_table(route: &'r Route) -> Self {
        Self { route, whole: HashSet::new() }
    }

    /// Between the names of an object and of its field.
    pub(crate) fn separator(&self) -> &'r str {
        &self.route.flatten.separator
    }

    /// Whether the object of this name, as a column would be called, is taken apart. At depth 1 it is a field of the
    /// record, at depth 2 a field of such an object that is taken apart itself, and so on.
    pub(crate) fn opens(&self, name: &str, depth: usize) -> bool {
        if depth >= self.route.flatten.depth {
            return false;
        }
        let settings = self.route.columns.iter().find(|c| c.name == name);
        match settings.map(|c| (c.drop, c.nested, c.from == name)) {
            Some((true, _, _)) => false,
            // `from` names fields of the record.
            Some((_, Some(Nested::Flatten), own_name)) => own_name || depth == 1,
            Some((_, Some(_), true)) => false,
            _ => (depth > 1 || self.route.nested == Nested::Flatten) && !self.whole.contains(name),
        }
    }

    /// What the record calls the object that its columns call so.
    fn field_of<'n>(&self, name: &'n str) -> &'n str
    where
        'r: 'n,
    {
        self.renamed().find(|c| c.name == name).map_or(name, |c| c.from.as_str())
    }

    /// What the columns call the object that the record calls so.
    pub(crate) fn name_of<'n>(&self, field: &'n str) -> &'n str
    where
        'r: 'n,
    {
        self.renamed().find(|c| c.from == field).map_or(field, |c| c.name.as_str())
    }

    fn renamed(&self) -> impl Iterator<Item = &'r ColumnSettings> {
        self.route.columns.iter().filter(|c| c.nested == Some(Nested::Flatten))
    }
}

/// Two columns that want the same field, or one that wants a part of what another takes whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) field: String,
    /// The column that has it.
    pub(super) taken_by: usize,
    /// Whether only a part of it is wanted.
    pub(super) part: bool,
}

/// Works out the objects, column by column.
pub(super) struct Builder<'r> {
    pub(super) flattening: Flattening<'r>,
    objects: Vec<Object>,
    /// Objects by their names and depths.
    flattened: HashMap<(String, usize), usize>,
    /// Objects by the way that `from` says.
    ways: HashMap<String, usize>,
}

impl<'r> Builder<'r> {
    pub(super) fn new(route: &'r Route, table: &'r TableSchema) -> Self {
        let flattening = Flattening::new(route, table);
        let objects = vec![Object::default()];
        Self { flattening, objects, flattened: HashMap::new(), ways: HashMap::new() }
    }

    /// Fills the column from the field of this name, and from fields that have it once flattened; without a column such
    /// a field is read over where no column takes it.
    pub(super) fn name(&mut self, name: &str, column: Option<usize>) -> Result<(), Clash> {
        let separator = self.flattening.separator();
        let (mut steps, mut seen) = (vec![(0, 0, 1)], HashSet::new());
        while let Some((object, start, depth)) = steps.pop() {
            let rest = &name[start..];
            let ends = rest.char_indices().map(|(at, _)| at).filter(|at| rest[*at..].starts_with(separator));
            let mut joined = false;
            for end in ends {
                let outer = &name[..start + end];
                if !self.flattening.opens(outer, depth) {
                    continue;
                }
                joined = true;
                let start = start + end + separator.len();
                let inner = self.flattened(outer, depth + 1);
                let field = if depth == 1 { self.flattening.field_of(outer) } else { &rest[..end] };
                self.field(object, field).object = Some(inner);
                if seen.insert(inner) {
                    steps.push((inner, start, depth + 1));
                }
            }
            self.put(object, rest, column, joined)?;
        }
        Ok(())
    }

    /// Fills the column from the field that `from` names: one of that name, or the last of the steps between its dots.
    /// Comes after all names.
    pub(super) fn way(&mut self, from: &str, column: Option<usize>) -> Result<(), Clash> {
        self.put(0, from, column, from.contains('.'))?;
        let (mut object, mut start) = (0, 0);
        for (end, _) in from.match_indices('.') {
            let step = &from[start..end];
            start = end + 1;
            object = match self.ways.get(&from[..start]) {
                Some(inner) => *inner,
                None => {
                    let field = self.field(object, step);
                    if let (Some(taken_by), None) = (field.column, field.object) {
                        return Err(Clash { field: from[..end].to_owned(), taken_by, part: true });
                    }
                    // Other ways may lead to the flattened object: those are none of this column's.
                    let known = field.object;
                    let inner = known.map_or_else(
                        || Object { name: from[..end].into(), prefix: from[..start].into(), ..Object::default() },
                        |known| self.objects[known].clone(),
                    );
                    let index = self.objects.len();
                    self.objects.push(inner);
                    self.field(object, step).object = Some(index);
                    self.ways.insert(from[..start].to_owned(), index);
                    index
                }
            };
        }
        if start > 0 { self.put(object, &from[start..], column, false) } else { Ok(()) }
    }

    /// Whether fields of this object have columns.
    pub(super) fn is_opened(&self, field: &str) -> bool {
        self.objects[0].by_name.get(field).is_some_and(|at| self.objects[0].fields[*at].object.is_some())
    }

    /// All objects, the record the first.
    pub(super) fn finish(mut self) -> Vec<Object> {
        for object in &mut self.objects {
            // Where a record has both an object and, which is rare, a field that is called like a flattened one.
            object.fields.sort_by_key(|field| field.joined);
            object.index();
        }
        let mut below = vec![None; self.objects.len()];
        (0..self.objects.len()).for_each(|object| self.columns_below(object, &mut below));
        for (object, below) in self.objects.iter_mut().zip(below) {
            object.below = below.unwrap_or_default().into();
        }
        self.objects
    }

    /// Objects hold others that are deeper or further on a way, so that this ends.
    fn columns_below(&self, object: usize, known: &mut [Option<Vec<usize>>]) {
        if known[object].is_some() {
            return;
        }
        let mut below = Vec::new();
        for field in &self.objects[object].fields {
            below.extend(field.column);
            if let Some(inner) = field.object {
                self.columns_below(inner, known);
                below.extend(known[inner].iter().flatten());
            }
        }
        below.sort_unstable();
        below.dedup();
        known[object] = Some(below);
    }

    fn flattened(&mut self, name: &str, depth: usize) -> usize {
        let prefix = format!("{name}{}", self.flattening.separator()).into();
        *self.flattened.entry((name.to_owned(), depth)).or_insert_with(|| {
            self.objects.push(Object { name: name.into(), prefix, ..Object::default() });
            self.objects.len() - 1
        })
    }

    fn field(&mut self, object: usize, name: &str) -> &mut Field {
        let Object { fields, by_name, .. } = &mut self.objects[object];
        let index = *by_name.entry(name.into()).or_insert_with(|| {
            fields.push(Field { name: name.into(), column: None, object: None, joined: false });
            fields.len() - 1
        });
        &mut fields[index]
    }

    fn put(&mut self, object: usize, name: &str, column: Option<usize>, joined: bool) -> Result<(), Clash> {
        let full_name = format!("{}{name}", self.objects[object].prefix);
        let field = self.field(object, name);
        match (field.column, column) {
            (Some(taken_by), Some(_)) => return Err(Clash { field: full_name, taken_by, part: false }),
            (None, Some(_)) => {
                field.column = column;
                field.joined = joined;
            }
            (_, None) => {}
        }
        Ok(())
    }
}
