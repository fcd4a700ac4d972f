//! Tables that grow with their records: what has to change so that a record fits, and the change itself.
//!
//! A record that does not fit says which change would let it in ([`Cure`]). The worker that met it closes its unit, has
//! the table altered, and goes on with a program for the table as it is then. Others do the same when they meet such a
//! record, or find that it was done: whoever comes second finds nothing to do. No change loses anything that is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{
    Advice, Change, ColumnSpec, Connection, Ddl, Grammar, LogicalType, Refusal, TableColumn, TableSchema,
};

use crate::config::{Evolve, Nested, Route};
use crate::decode::{BadRecord, Cure, Record, RowDecoder, RowProgram};
use crate::infer::{InferredField, fields};
use crate::problem::Problem;
use crate::reconcile;

/// How long a table may take to be altered before its partition stops.
const PATIENCE: Duration = Duration::from_secs(60);
/// What to do where the database does not make a change.
const YOURSELF: &str = "alter the table yourself, or mend the producer";
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Alters the table of one route.
pub struct Evolver {
    connection: Connection,
    route: Route,
    runtime: tokio::runtime::Handle,
}

impl Evolver {
    /// For this route, if its table may be altered.
    #[must_use]
    pub fn new(connection: &Connection, route: &Route, runtime: &tokio::runtime::Handle) -> Option<Self> {
        (route.evolve != Evolve::None).then(|| Self {
            connection: connection.clone(),
            route: route.clone(),
            runtime: runtime.clone(),
        })
    }

    /// Waits until the table is another than the program was made for, and answers the program for it; alters it, where
    /// that would let the record in. `None` when nothing would. To be called from threads that are none of the runtime's.
    ///
    /// # Errors
    /// When the database refuses, or does not answer in time.
    pub fn evolve(
        &self,
        program: &RowProgram,
        bad: &BadRecord,
        record: &Record<'_>,
    ) -> Result<Option<Arc<RowProgram>>, Problem> {
        let table = &program.layout.table;
        let doing = format!("altering table {}", table.name);
        let fields = fields(&self.route, [*record])?;
        self.runtime.block_on(self.alter(table, bad, &fields)).map_err(|problem| problem.within(&doing))
    }

    async fn alter(
        &self,
        table: &TableSchema,
        bad: &BadRecord,
        fields: &[InferredField],
    ) -> Result<Option<Arc<RowProgram>>, Problem> {
        let Connection { session, grammar, .. } = &self.connection;
        let deadline = Instant::now() + PATIENCE;
        let mut altered = false;
        loop {
            let failure = match session.describe(&table.name).await {
                Ok(None) => return Err(Problem::new("it was dropped", "create it again, then start rowfall again")),
                Ok(Some(now)) if now != *table => return reconcile::compile(&self.route, &Arc::new(now)).map(Some),
                // Such as a name that the database takes for one that is there.
                Ok(Some(_)) if altered => {
                    let what = "the database did as it was told, and the table is as it was";
                    return Err(Problem::new(what, YOURSELF));
                }
                Ok(Some(now)) => {
                    let Some(changes) = changes(&**grammar, &self.route, &now, bad, fields) else { return Ok(None) };
                    let cluster = self.route.storage.cluster.as_deref();
                    let ddl = ddl(&**grammar, &now, &changes, cluster)?;
                    for statement in &ddl.statements {
                        tracing::info!(table = %now.name, "{statement}");
                    }
                    match session.execute(&ddl).await {
                        Ok(()) => {
                            altered = true;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // Another process may be altering it at this moment.
            let again = matches!(failure.advice, Advice::Retry | Advice::Slow | Advice::Refresh);
            if !again {
                return Err(Problem::from(failure).or_hint(YOURSELF));
            }
            if Instant::now() > deadline {
                return Err(Problem::from(failure));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What changes the table so.
///
/// # Errors
/// When the database cannot do it.
pub fn ddl(
    grammar: &dyn Grammar,
    table: &TableSchema,
    changes: &[Change],
    cluster: Option<&str>,
) -> Result<Ddl, Problem> {
    let refused = |refusal: Refusal| Problem::new(refusal.to_string(), YOURSELF);
    grammar.alter_table(table, changes, cluster).map_err(refused)
}

/// What a run would change in the table for these records, and the table as it would be then. Records that no change
/// lets in are passed over.
///
/// # Errors
/// When the route cannot fill the table, as it is or as it would be.
pub fn foresee<'r>(
    grammar: &dyn Grammar,
    route: &Route,
    table: &Arc<TableSchema>,
    records: impl IntoIterator<Item = Record<'r>>,
) -> Result<(Vec<Change>, Arc<TableSchema>), Problem> {
    let (mut all, mut table) = (Vec::new(), Arc::clone(table));
    let mut decoder = RowDecoder::new(reconcile::compile(route, &table)?);
    for record in records.into_iter().filter(|record| record.value.is_some()) {
        // Keys and places are the same for all: whether they fit is not asked here.
        let record = Record { key: None, ..record };
        loop {
            let mut columns = decoder.program().layout.empty_columns();
            let Err(bad) = decoder.decode(&record, &mut columns, 0) else { break };
            let Some(changes) = changes(grammar, route, &table, &bad, &fields(route, [record])?) else { break };
            let mut changed = TableSchema::clone(&table);
            for change in &changes {
                apply(grammar, change, &mut changed);
            }
            if changed == *table {
                break;
            }
            all.extend(changes);
            table = Arc::new(changed);
            decoder = RowDecoder::new(reconcile::compile(route, &table)?);
        }
    }
    Ok((all, table))
}

fn apply(grammar: &dyn Grammar, change: &Change, table: &mut TableSchema) {
    let (Change::Add(spec) | Change::Widen(spec)) = change;
    let column = spec.described(grammar, true);
    match table.columns.iter_mut().find(|column| column.name == spec.name) {
        Some(before) => *before = TableColumn { default: before.default, ..column },
        None => table.columns.push(column),
    }
}

/// What lets the record in, as far as the route allows it.
fn changes(
    grammar: &dyn Grammar,
    route: &Route,
    table: &TableSchema,
    bad: &BadRecord,
    fields: &[InferredField],
) -> Option<Vec<Change>> {
    let settings = |field: &str| route.columns.iter().find(|c| c.from == field && c.nested != Some(Nested::Flatten));
    let name = |field: &str| settings(field).map_or_else(|| field.to_owned(), |c| c.name.clone());
    let changes: Vec<_> = match bad.cure? {
        Cure::Columns if route.evolve >= Evolve::Add => {
            let new = fields.iter().filter(|field| {
                let has = |name: &str| table.columns.iter().any(|column| column.name == name);
                !field.is_null && !has(&name(&field.name)) && !settings(&field.name).is_some_and(|c| c.drop)
            });
            let add = new.map(|field| {
                let settings = settings(&field.name);
                let own = settings.and_then(|c| c.type_text.clone());
                let type_text = match own.as_ref().map(|text| text.parse::<LogicalType>()) {
                    Some(Ok(logical)) => grammar.column_type(&logical),
                    Some(Err(_)) => Ok(own.unwrap_or_default()),
                    None => reconcile::storable(grammar, &field.logical),
                };
                let spec = ColumnSpec {
                    nullable: settings.and_then(|c| c.nullable),
                    default: settings.and_then(|c| c.default.clone()),
                    storage: settings.map(|c| c.storage.clone()).unwrap_or_default(),
                    ..ColumnSpec::new(name(&field.name), type_text.ok()?, true)
                };
                Some(Change::Add(spec))
            });
            add.collect::<Option<_>>()?
        }
        Cure::Width | Cure::Type if route.evolve == Evolve::Widen => {
            let (name_of_column, _) = bad.column.as_ref()?;
            let column = table.columns.iter().find(|c| c.name == *name_of_column)?;
            let now = column.value.as_ref().ok()?;
            let field = fields.iter().find(|field| name(&field.name) == column.name)?;
            let spec = if field.is_null && !now.nullable {
                ColumnSpec::new(&column.name, &column.type_text, true)
            } else {
                let wider = wider(&now.logical, &field.logical)?;
                ColumnSpec::new(&column.name, grammar.column_type(&wider).ok()?, now.nullable)
            };
            vec![Change::Widen(spec)]
        }
        Cure::Length(characters) if route.evolve == Evolve::Widen => {
            let (name_of_column, _) = bad.column.as_ref()?;
            let column = table.columns.iter().find(|c| c.name == *name_of_column)?;
            let now = column.value.as_ref().ok()?;
            let type_text = longer(grammar, &column.type_text, now.length?, characters)?;
            vec![Change::Widen(ColumnSpec::new(&column.name, type_text, now.nullable))]
        }
        Cure::Columns | Cure::Width | Cure::Type | Cure::Length(_) => return None,
    };
    Some(changes).filter(|changes| !changes.is_empty())
}

/// The type that holds every value of `now` and of `new`, exactly, where one of `now`'s kind does.
fn wider(now: &LogicalType, new: &LogicalType) -> Option<LogicalType> {
    use LogicalType as T;
    Some(match (now, new) {
        (T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32, T::Int64) => T::Int64,
        (T::UInt8 | T::UInt16 | T::UInt32, T::UInt64) => T::UInt64,
        (T::Float32, T::Float64 | T::Int64 | T::UInt64) => T::Float64,
        (T::Timestamp { digits }, T::Timestamp { digits: more }) if more > digits => T::Timestamp { digits: *more },
        _ => return None,
    })
}

/// A `varchar(length)` with room for so many characters; beyond a few thousand a type without a limit. Those that are
/// filled up with spaces stay as they are: more of them would change what is stored.
fn longer(grammar: &dyn Grammar, type_text: &str, length: u32, characters: u32) -> Option<String> {
    const LONGEST: u32 = 4_096;
    let (name, _) = type_text.split_once(&format!("({length})"))?;
    if !name.to_ascii_lowercase().contains("var") {
        return None;
    }
    let room = characters.checked_next_power_of_two()?;
    if room > LONGEST {
        return grammar.column_type(&LogicalType::String).ok();
    }
    let type_text = format!("{name}({room})");
    // A domain over such a type is not one.
    grammar.parse_type(&type_text).is_ok_and(|value| value.length > Some(length)).then_some(type_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowfall_dialects::contract::{ColumnDefault, TableName, TableSpec, ValueType};

    /// Its column types are the logical ones' own texts.
    struct Plain;

    impl Grammar for Plain {
        fn name(&self) -> &'static str {
            "Plain"
        }

        fn quote(&self, identifier: &str) -> String {
            identifier.to_owned()
        }

        fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
            Ok(logical.to_string())
        }

        fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
            let length =
                text.strip_prefix("var").unwrap_or(text).strip_prefix("char(").and_then(|rest| rest.strip_suffix(')'));
            if let Some(length) = length {
                return Ok(ValueType { length: length.parse().ok(), ..LogicalType::String.into() });
            }
            text.parse::<LogicalType>().map(Into::into).map_err(|error| Refusal(error.to_string()))
        }

        fn create_table(&self, table: &TableSpec) -> Result<Ddl, Refusal> {
            Ok(Ddl::new(table.name.clone(), Vec::new()))
        }
    }

    fn foreseen(evolve: Evolve, columns: &[&str], records: &[&str]) -> String {
        let column = |text: &&str| {
            let (name, logical) = text.split_once(' ').unwrap();
            let value = ValueType { nullable: !name.starts_with("not_"), ..Plain.parse_type(logical).unwrap() };
            TableColumn {
                name: name.to_owned(),
                type_text: logical.to_owned(),
                value: Ok(value),
                default: ColumnDefault::None,
            }
        };
        let name = TableName::parse("t");
        let table = Arc::new(TableSchema::new(name.clone(), "table", columns.iter().map(column).collect()));
        let unknown_fields = crate::config::UnknownFields::Add;
        let route = Route { evolve, unknown_fields, ..Route::new("t", name) };
        let records = records.iter().map(|value| {
            let value = Some(value.as_bytes());
            Record { key: None, value, headers: &(), topic: "", partition: 0, offset: 0, era: 0 }
        });
        let (changes, after) = foresee(&Plain, &route, &table, records).unwrap();
        let text = |change: &Change| match change {
            Change::Add(spec) => format!("add {} {}", spec.name, spec.type_text),
            Change::Widen(spec) => format!("widen {} {} {:?}", spec.name, spec.type_text, spec.nullable),
        };
        assert_eq!(changes.is_empty(), after == table);
        changes.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn fields_become_columns_when_they_hold_something() {
        let records = [r#"{"id":1,"note":null}"#, r#"{"id":2,"note":"a","at":"2026-01-01T00:00:00.5Z"}"#];
        insta::assert_snapshot!(foreseen(Evolve::Add, &["id int64"], &records), @"add note string, add at timestamp(3)");
        assert_eq!(foreseen(Evolve::Add, &["id int64"], &records[..1]), "");
        assert_eq!(foreseen(Evolve::None, &["id int64"], &records), "");
    }

    #[test]
    fn columns_become_wider_when_all_that_is_stored_stays() {
        let columns = ["id int32", "u uint8", "f float32", "t timestamp(0)", "not_null int64", "text string"];
        let records = [
            r#"{"id":3000000000,"not_null":1}"#,
            r#"{"id":1,"u":-1,"f":1e300,"t":"2026-01-01T00:00:00.123456Z","not_null":1}"#,
            r#"{"not_null":null}"#,
            r#"{"id":"text","not_null":1.5}"#,
        ];
        insta::assert_snapshot!(foreseen(Evolve::Widen, &columns, &records), @"widen id int64 Some(true), widen u int64 Some(true), widen f float64 Some(true), widen t timestamp(6) Some(true), widen not_null int64 Some(true)");
        assert_eq!(foreseen(Evolve::Add, &columns, &records), "");
    }

    #[test]
    fn texts_get_room() {
        let columns = ["v varchar(4)", "c char(4)"];
        let of = |characters: usize| format!(r#"{{"v":"{}"}}"#, "ü".repeat(characters));
        let foreseen = |records: &[&str]| foreseen(Evolve::Widen, &columns, records);
        assert_eq!(foreseen(&[&of(4)]), "");
        assert_eq!(foreseen(&[&of(5), &of(8)]), "widen v varchar(8) Some(true)");
        assert_eq!(foreseen(&[&of(5), &of(300)]), "widen v varchar(8) Some(true), widen v varchar(512) Some(true)");
        assert_eq!(foreseen(&[&of(4_097)]), "widen v string Some(true)");
        assert_eq!(foreseen(&[r#"{"v":123456}"#]), "widen v varchar(8) Some(true)");
        assert_eq!(foreseen(&[r#"{"c":"12345"}"#]), "");
    }
}
