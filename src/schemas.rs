//! The schemas that records were written with: which one a record names, and what a registry says of it.
//!
//! - [`SchemaId`]: what stands before a record's bytes, or in a header
//! - [`Schemas`]: each schema is asked for once, in a thread of its own, for as long as the registry takes; whoever waits
//!   is told [`Lookup::Later`] meanwhile
//! - `registry`: the questions themselves, over HTTP

mod registry;

use std::collections::HashMap;
use std::ffi::CStr;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::registry::{Answer, Registry};
use crate::config::RegistrySettings;
use crate::decode::{BadRecord, Headers, Schema, bad};
use crate::outage::Outage;
use crate::problem::Problem;

/// Between two questions about the same schema, doubled up to the second of them while nobody answers.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// A schema that a registry does not have may come to it later, from another registry.
const FORGET: Duration = Duration::from_secs(30);
/// How long those wait who cannot do anything else meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a record's key or its value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordPart {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// What a record calls its schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// The number that the registry gave it.
    Number(u32),
    /// Its GUID, in the order in which it is written.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(guid) => write!(f, "{}", uuid::Uuid::from_bytes(*guid)),
        }
    }
}

impl SchemaId {
    /// The id in front of these bytes or in the record's headers, and what is left of the bytes: the framing of
    /// Confluent's serializers. A header (`__key_schema_id`, `__value_schema_id`) goes before.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub(crate) fn of<'p>(
        payload: &'p [u8],
        headers: &dyn Headers,
        part: RecordPart,
    ) -> Result<(Self, &'p [u8]), String> {
        const NAMES: [&CStr; 2] = [c"__key_schema_id", c"__value_schema_id"];
        let name = NAMES[usize::from(part == RecordPart::Value)];
        if let Some(Some(header)) = headers.last(name) {
            return match Self::split(header) {
                Some((id, [])) => Ok((id, payload)),
                _ => Err(format!("the header `{}` is no id of a schema", name.to_string_lossy())),
            };
        }
        Self::split(payload).ok_or_else(|| {
            let whose = if part == RecordPart::Key { "key" } else { "value" };
            format!("the {whose} does not begin with the id of a schema")
        })
    }

    #[inline]
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        match bytes {
            [0, a, b, c, d, rest @ ..] => Some((Self::Number(u32::from_be_bytes([*a, *b, *c, *d])), rest)),
            [1, rest @ ..] => {
                let (guid, rest) = rest.split_first_chunk()?;
                Some((Self::Guid(*guid), rest))
            }
            _ => None,
        }
    }
}

/// What is known of a schema: itself, or why records that name it are bad.
pub(crate) type Known = Result<Arc<Schema>, BadRecord>;

/// What can be said of a schema at once.
pub(crate) enum Lookup {
    /// What is known of it.
    Known(Known),
    /// It is asked for.
    Later,
}

/// The schemas of one registry, shared by all who read records.
#[derive(Clone)]
pub struct Schemas(Arc<Shared>);

struct Shared {
    source: Source,
    state: Mutex<State>,
    /// Told when a schema is known.
    changed: Condvar,
    /// Takes questions, once there was one.
    asker: OnceLock<UnboundedSender<SchemaId>>,
}

/// Where schemas come from.
#[derive(Debug)]
enum Source {
    /// From a registry, one for each id.
    Registry(RegistrySettings),
    /// All records are written with this one, and name none.
    File(Known),
}

#[derive(Default)]
struct State {
    known: HashMap<SchemaId, (Known, Option<Instant>)>,
    asked: Vec<SchemaId>,
    outage: Outage,
    /// Why the registry does not answer, while it does not.
    why: Option<String>,
}

/// Two are the same when they ask the same registry.
impl PartialEq for Schemas {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Schemas {}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::Registry(settings) => f.debug_tuple("Schemas").field(settings).finish(),
            Source::File(_) => f.write_str("Schemas"),
        }
    }
}

impl Schemas {
    /// Those of this registry. Asks nothing yet.
    #[must_use]
    pub fn new(settings: RegistrySettings) -> Self {
        Self::of(Source::Registry(settings))
    }

    /// The one of all records, which do not name it.
    #[must_use]
    pub fn of_file(schema: Schema) -> Self {
        Self::of(Source::File(Ok(Arc::new(schema))))
    }

    fn of(source: Source) -> Self {
        let shared = Shared { source, state: Mutex::default(), changed: Condvar::new(), asker: OnceLock::new() };
        Self(Arc::new(shared))
    }

    /// What these bytes call their schema, and what is left of them.
    ///
    /// # Errors
    /// When they call none.
    #[inline]
    pub(crate) fn name<'p>(
        &self,
        payload: &'p [u8],
        headers: &dyn Headers,
        part: RecordPart,
    ) -> Result<(SchemaId, &'p [u8]), String> {
        match &self.0.source {
            Source::Registry(_) => SchemaId::of(payload, headers, part),
            Source::File(_) => Ok((SchemaId::Number(0), payload)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of this schema; asks for it where nothing is.
    pub(crate) fn look_up(&self, id: &SchemaId) -> Lookup {
        let settings = match &self.0.source {
            Source::Registry(settings) => settings,
            Source::File(known) => return Lookup::Known(known.clone()),
        };
        let mut state = self.state();
        match state.known(id) {
            Some(known) => Lookup::Known(known),
            None => {
                if !state.asked.contains(id) {
                    state.asked.push(id.clone());
                    // It runs for as long as this process.
                    let _ = self.0.asker.get_or_init(|| self.start(settings)).send(id.clone());
                }
                Lookup::Later
            }
        }
    }

    /// The same for those who cannot go on without it.
    ///
    /// # Errors
    /// When the registry does not answer within `patience`.
    pub(crate) fn get(&self, id: &SchemaId, patience: Duration) -> Result<Known, Problem> {
        let deadline = Instant::now() + patience;
        loop {
            if let Lookup::Known(known) = self.look_up(id) {
                return Ok(known);
            }
            let state = self.state();
            if state.known(id).is_some() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = state.why.clone().unwrap_or_else(|| "the registry does not answer".to_owned());
                return Err(Problem::new(format!("schema {id}: {why}"), "see whether `registry` says where it is"));
            }
            drop(self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The same, a registry that does not answer being no more than a record that cannot be read now.
    pub(crate) fn wait_for(&self, id: &SchemaId) -> Known {
        self.get(id, PATIENCE).unwrap_or_else(|problem| Err(bad(problem.what, &problem.hint)))
    }

    /// Starts the thread that asks.
    fn start(&self, settings: &RegistrySettings) -> UnboundedSender<SchemaId> {
        let (asker, mut questions) = unbounded_channel();
        let (schemas, settings) = (self.clone(), settings.clone());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime of one thread needs little");
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let registry = Arc::new(Registry::new(&settings));
                while let Some(id) = questions.recv().await {
                    // One that takes its time does not keep the others waiting.
                    tokio::task::spawn_local(schemas.clone().ask(Arc::clone(&registry), id));
                }
            });
        };
        std::thread::Builder::new().name("schemas".to_owned()).spawn(run).expect("a thread can be started");
        asker
    }

    /// Asks until there is an answer.
    async fn ask(self, registry: Arc<Result<Registry, Problem>>, id: SchemaId) {
        let [mut pause, longest] = PAUSES;
        loop {
            let answer = match &*registry {
                Ok(registry) => registry.schema(&id).await,
                Err(problem) => Answer::Later(problem.to_string()),
            };
            match answer {
                Answer::Schema { kind, text, references } => {
                    let known = match kind.as_str() {
                        "AVRO" => Schema::of_avro(&text, &references).map(Arc::new).map_err(|why| {
                            let hint = "mend it in the registry, and write the records again";
                            bad(format!("schema {id} cannot be read: {why}"), hint)
                        }),
                        other => Err(bad(
                            format!("schema {id} is {other}, and the topic is read as Avro"),
                            "see whether `value:` and `key:` name the formats of the topic",
                        )),
                    };
                    return self.learn(id, known, None);
                }
                Answer::Refused(why) => {
                    let hint = "see whether `registry` is the one that the producer uses";
                    return self.learn(id, Err(bad(why, hint)), Some(Instant::now() + FORGET));
                }
                Answer::Later(why) => {
                    let mut state = self.state();
                    if let Some(lasted) = state.outage.goes_on() {
                        match lasted.as_secs() {
                            0 => tracing::warn!("waiting for schema {id}: {why}"),
                            seconds => tracing::warn!("waiting for schema {id} since {seconds} s: {why}"),
                        }
                    }
                    state.why = Some(why);
                }
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (2 * pause).min(longest);
        }
    }

    fn learn(&self, id: SchemaId, known: Known, until: Option<Instant>) {
        let mut state = self.state();
        if let Some(lasted) = state.outage.over() {
            tracing::info!("the schema registry answers again, after {} s", lasted.as_secs());
        }
        state.why = None;
        state.asked.retain(|asked| *asked != id);
        state.known.insert(id, (known, until));
        drop(state);
        self.0.changed.notify_all();
    }
}

impl State {
    fn known(&self, id: &SchemaId) -> Option<Known> {
        let (known, until) = self.known.get(id)?;
        until.is_none_or(|until| Instant::now() < until).then(|| known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_schema_before_its_bytes_or_in_a_header() {
        let guid = [[1_u8].as_slice(), &[7; 16]].concat();
        let of = |payload: &[u8], headers: &dyn Headers| {
            SchemaId::of(payload, headers, RecordPart::Value).map(|(id, rest)| (id.to_string(), rest.to_vec()))
        };
        assert_eq!(of(&[0, 0, 0, 1, 2, 9], &()), Ok(("258".to_owned(), vec![9])));
        let text = "07070707-0707-0707-0707-070707070707".to_owned();
        assert_eq!(of(&guid, &()), Ok((text.clone(), vec![])));
        let header = vec![("__value_schema_id".to_owned(), Some(guid))];
        assert_eq!(of(&[0, 0, 0, 1, 2, 9], &header), Ok((text, vec![0, 0, 0, 1, 2, 9])));
        for bytes in [&b""[..], b"{}", &[0, 0, 0, 1]] {
            assert!(of(bytes, &()).is_err());
        }
        let header = vec![("__value_schema_id".to_owned(), Some(vec![3]))];
        assert!(of(&[0, 0, 0, 1, 2, 9], &header).is_err());
    }
}
