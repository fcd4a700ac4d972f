//! An Avro schema, as the Avro specification (1.12) writes it.
//!
//! It is read here and not by a library, since converters say what a value means by attributes of types that have no name
//! (`connect.name`), which libraries drop.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// A type's place in [`Schema::types`].
pub(super) type TypeId = usize;

/// The types of a schema in one list, so that a type can hold itself.
#[derive(Debug)]
pub struct Schema {
    pub(super) types: Vec<Type>,
    /// What a value is.
    pub(super) root: TypeId,
}

/// What a value is, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    /// An `int` or a `long`, which are written alike; whether it has only 32 bits.
    Integer {
        short: bool,
    },
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// The names, by their numbers.
    Enum(Box<[Box<str>]>),
    Array(TypeId),
    Map(TypeId),
    Union(Box<[TypeId]>),
    Record(Box<[Field]>),
    /// An unscaled number, in bytes or in `size` of them.
    Decimal {
        precision: usize,
        scale: u8,
        size: Option<usize>,
    },
    /// Debezium's: a record of a scale and an unscaled number in bytes.
    VariableDecimal,
    /// In 16 bytes.
    Uuid,
    /// As a text.
    UuidText,
    /// Days.
    Date,
    /// Since midnight, in units of 10^−`digits` seconds.
    Time {
        digits: u8,
    },
    /// Since 1970, in units of 10^−`digits` seconds; `local`: as clocks on the wall show it, in no zone.
    Timestamp {
        digits: u8,
        local: bool,
    },
    /// Months, days and milliseconds.
    Duration,
    /// A text that holds JSON.
    Json,
}

/// One of a union's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) index: usize,
    /// How many there are.
    pub(super) of: usize,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// What it was called before.
    pub(super) aliases: Box<[Box<str>]>,
    pub(super) id: TypeId,
}

impl Schema {
    /// Reads a schema that may speak of types which stand in others, the references.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, references: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for reference in references {
            parser.document(reference.as_ref())?;
        }
        let root = parser.document(text)?;
        Ok(Self { types: parser.types, root })
    }

    /// The type behind an id.
    #[inline]
    pub(super) fn of(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The fields of a type that is a record, or a record or null; which branch of how many the record is there.
    pub(super) fn record(&self, id: TypeId) -> Option<(Option<Branch>, &[Field])> {
        let fields = |id: TypeId| match self.of(id) {
            Type::Record(fields) => Some(&**fields),
            _ => None,
        };
        let Type::Union(branches) = self.of(id) else { return Some((None, fields(id)?)) };
        let [first, second] = **branches else { return None };
        match (self.of(first), self.of(second)) {
            (Type::Null, _) => Some((Some(Branch { index: 1, of: 2 }), fields(second)?)),
            (_, Type::Null) => Some((Some(Branch { index: 0, of: 2 }), fields(first)?)),
            _ => None,
        }
    }

    /// A type in the specification's words.
    pub(super) fn name(&self, id: TypeId) -> String {
        let unit = |digits: u8| match digits {
            3 => "millis",
            6 => "micros",
            _ => "nanos",
        };
        match self.of(id) {
            Type::Null => "null".to_owned(),
            Type::Boolean => "boolean".to_owned(),
            Type::Integer { short: true } => "int".to_owned(),
            Type::Integer { short: false } => "long".to_owned(),
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::String => "string".to_owned(),
            Type::Fixed(size) => format!("fixed({size})"),
            Type::Enum(_) => "enum".to_owned(),
            Type::Array(_) => "array".to_owned(),
            Type::Map(_) => "map".to_owned(),
            Type::Record(_) => "record".to_owned(),
            Type::Union(branches) => branches.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(" or "),
            Type::Decimal { precision, scale, .. } => format!("decimal({precision},{scale})"),
            Type::VariableDecimal => "decimal of any scale".to_owned(),
            Type::Uuid | Type::UuidText => "uuid".to_owned(),
            Type::Date => "date".to_owned(),
            Type::Time { digits } => format!("time-{}", unit(*digits)),
            Type::Timestamp { digits, local: false } => format!("timestamp-{}", unit(*digits)),
            Type::Timestamp { digits, local: true } => format!("local-timestamp-{}", unit(*digits)),
            Type::Duration => "duration".to_owned(),
            Type::Json => "JSON".to_owned(),
        }
    }

    /// Whether a value may take no byte at all, so that an array may have any number of them.
    pub(super) fn may_be_empty(&self, id: TypeId) -> bool {
        // A type that holds itself and nothing else has no values.
        fn look(schema: &Schema, id: TypeId, depth: usize) -> bool {
            match schema.of(id) {
                Type::Null | Type::Fixed(0) | Type::Decimal { size: Some(0), .. } => true,
                Type::Record(fields) => depth > 64 || fields.iter().all(|field| look(schema, field.id, depth + 1)),
                _ => false,
            }
        }
        look(self, id, 0)
    }
}

struct Parser {
    types: Vec<Type>,
    /// Types with names, by their full names.
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn document(&mut self, text: &str) -> Result<TypeId, String> {
        // Some registries hand out a bare name, `string`, without the quotes that JSON asks for.
        let value = match primitive(text.trim()) {
            Some(_) => Value::from(text.trim()),
            None => serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?,
        };
        self.read(&value, None)
    }

    fn read(&mut self, value: &Value, namespace: Option<&str>) -> Result<TypeId, String> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.read(branch, namespace));
                let branches = branches.collect::<Result<Box<[_]>, _>>()?;
                Ok(self.push(Type::Union(branches)))
            }
            Value::Object(object) => self.object(object, namespace),
            _ => Err("a type is a name, an object or an array".to_owned()),
        }
    }

    fn push(&mut self, known: Type) -> TypeId {
        self.types.push(known);
        self.types.len() - 1
    }

    fn named(&mut self, name: &str, namespace: Option<&str>) -> Result<TypeId, String> {
        if let Some(primitive) = primitive(name) {
            return Ok(self.push(primitive));
        }
        let full = full_name(name, namespace);
        let known = self.names.get(&full).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| format!("it speaks of a type `{full}`, which is defined nowhere"))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: Option<&str>) -> Result<TypeId, String> {
        let kind = object.get("type").ok_or("a type has no `type`")?;
        let Value::String(kind) = kind else { return self.read(kind, namespace) };
        match kind.as_str() {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = array(object, "symbols")?.iter().map(|symbol| text(symbol, "a symbol"));
                let symbols = symbols.map(|symbol| symbol.map(Into::into)).collect::<Result<_, _>>()?;
                let id = self.push(Type::Enum(symbols));
                self.define(object, namespace, id)?;
                Ok(id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a `fixed` has no `size`")?;
                let id = self.push(meaning(object, Type::Fixed(size)));
                self.define(object, namespace, id)?;
                Ok(id)
            }
            "array" => {
                let items = self.read(object.get("items").ok_or("an `array` has no `items`")?, namespace)?;
                Ok(self.push(Type::Array(items)))
            }
            "map" => {
                let values = self.read(object.get("values").ok_or("a `map` has no `values`")?, namespace)?;
                Ok(self.push(Type::Map(values)))
            }
            name => match primitive(name) {
                Some(primitive) => Ok(self.push(meaning(object, primitive))),
                None => self.named(name, namespace),
            },
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: Option<&str>) -> Result<TypeId, String> {
        // Known before its fields, which may be of its own type.
        let id = self.push(Type::Record([].into()));
        let full = self.define(object, namespace, id)?;
        let inner = full.rsplit_once('.').map(|(namespace, _)| namespace);
        let mut fields = Vec::new();
        for field in array(object, "fields")? {
            let Value::Object(field) = field else { return Err("a field is no object".to_owned()) };
            let name = text(field.get("name").unwrap_or(&Value::Null), "a field's name")?;
            let within = |why: String| format!("field `{name}`: {why}");
            // What a field's own attributes say of a type that is a bare name is said of the type, as many write it.
            let id = match field.get("type") {
                Some(Value::String(kind)) if primitive(kind).is_some() => {
                    let primitive = primitive(kind).expect("just seen");
                    self.push(meaning(field, primitive))
                }
                Some(kind) => self.read(kind, inner).map_err(within)?,
                None => return Err(within("it has no type".to_owned())),
            };
            let aliases = field.get("aliases").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let aliases = aliases.iter().filter_map(Value::as_str).map(Into::into).collect();
            fields.push(Field { name: name.into(), aliases, id });
        }
        self.types[id] = match full.as_str() {
            "io.debezium.data.VariableScaleDecimal" if is_variable_decimal(&fields, &self.types) => {
                Type::VariableDecimal
            }
            _ => Type::Record(fields.into()),
        };
        Ok(id)
    }

    /// Notes a type with a name; answers its full name.
    fn define(&mut self, object: &Map<String, Value>, outer: Option<&str>, id: TypeId) -> Result<String, String> {
        let name = text(object.get("name").unwrap_or(&Value::Null), "a type's name")?;
        let namespace = object.get("namespace").and_then(Value::as_str).or(outer).filter(|space| !space.is_empty());
        let full = full_name(name, namespace);
        if self.names.insert(full.clone(), id).is_some() {
            return Err(format!("it defines the type `{full}` twice"));
        }
        Ok(full)
    }
}

fn full_name(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Integer { short: true },
        "long" => Type::Integer { short: false },
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::String,
        _ => return None,
    })
}

fn is_variable_decimal(fields: &[Field], types: &[Type]) -> bool {
    match fields {
        [scale, value] => {
            (&*scale.name, &types[scale.id]) == ("scale", &Type::Integer { short: true })
                && (&*value.name, &types[value.id]) == ("value", &Type::Bytes)
        }
        _ => false,
    }
}

/// What a type stands for: by its logical type, or by the name that Kafka Connect's converters give it. A logical type
/// that its underlying type cannot have is passed over, as the specification asks for.
fn meaning(object: &Map<String, Value>, plain: Type) -> Type {
    let said = |key: &str| object.get(key).and_then(Value::as_str);
    let name = said("logicalType").or_else(|| said("connect.name")).unwrap_or_default();
    let local = |digits| Type::Timestamp { digits, local: true };
    let instant = |digits| Type::Timestamp { digits, local: false };
    match (&plain, name) {
        (Type::Bytes, "decimal" | "org.apache.kafka.connect.data.Decimal") => decimal(object, None).unwrap_or(plain),
        (Type::Fixed(size), "decimal") => decimal(object, Some(*size)).unwrap_or(plain),
        (Type::Fixed(16), "uuid") => Type::Uuid,
        (Type::Fixed(12), "duration") => Type::Duration,
        (Type::String, "uuid" | "io.debezium.data.Uuid") => Type::UuidText,
        (Type::String, "io.debezium.data.Json") => Type::Json,
        (Type::Integer { short: true }, "date" | "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date") => {
            Type::Date
        }
        (
            Type::Integer { short: true },
            "time-millis" | "org.apache.kafka.connect.data.Time" | "io.debezium.time.Time",
        ) => Type::Time { digits: 3 },
        (Type::Integer { short: false }, "time-micros" | "io.debezium.time.MicroTime") => Type::Time { digits: 6 },
        (Type::Integer { short: false }, "io.debezium.time.NanoTime") => Type::Time { digits: 9 },
        (Type::Integer { short: false }, "timestamp-millis" | "org.apache.kafka.connect.data.Timestamp") => instant(3),
        (Type::Integer { short: false }, "timestamp-micros") => instant(6),
        (Type::Integer { short: false }, "timestamp-nanos") => instant(9),
        (Type::Integer { short: false }, "local-timestamp-millis" | "io.debezium.time.Timestamp") => local(3),
        (Type::Integer { short: false }, "local-timestamp-micros" | "io.debezium.time.MicroTimestamp") => local(6),
        (Type::Integer { short: false }, "local-timestamp-nanos" | "io.debezium.time.NanoTimestamp") => local(9),
        _ => plain,
    }
}

fn decimal(object: &Map<String, Value>, size: Option<usize>) -> Option<Type> {
    let number = |key: &str| object.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    // Connect's converters say both among their own parameters as well.
    let precision = number("precision").filter(|precision| *precision > 0)?;
    let scale = number("scale").unwrap_or(0);
    (scale <= precision).then_some(())?;
    Some(Type::Decimal { precision, scale: u8::try_from(scale).ok()?, size })
}

fn array<'v>(object: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], String> {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("a type has no `{key}`"))
}

fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("{what} is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Schema {
        Schema::parse(text, &[] as &[&str]).unwrap()
    }

    fn fields(schema: &Schema) -> Vec<(&str, &Type)> {
        match schema.of(schema.root) {
            Type::Record(fields) => fields.iter().map(|field| (&*field.name, schema.of(field.id))).collect(),
            other => panic!("{other:?} is no record"),
        }
    }

    #[test]
    fn a_schema_may_hold_itself_and_others() {
        let address =
            r#"{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"}]}"#;
        let order = r#"{"type":"record","name":"shop.Order","fields":[
            {"name":"to","type":"Address","aliases":["address"]},{"name":"next","type":["null","Order"]}]}"#;
        let schema = Schema::parse(order, &[address]).unwrap();
        let Type::Record(of) = schema.of(schema.root) else { panic!("a record") };
        assert_eq!(*of[0].aliases, ["address".into()]);
        assert!(matches!(schema.of(of[0].id), Type::Record(_)));
        let Type::Union(branches) = schema.of(of[1].id) else { panic!("a union") };
        assert_eq!(branches[1], schema.root);
    }

    #[test]
    fn logical_types_are_known_by_either_name() {
        let schema = parsed(
            r#"{"type":"record","name":"r","fields":[
            {"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"b","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},
            {"name":"c","type":"long","logicalType":"timestamp-millis"},
            {"name":"d","type":{"type":"int","logicalType":"timestamp-millis"}},
            {"name":"e","type":{"type":"fixed","name":"f","size":16,"logicalType":"uuid"}}]}"#,
        );
        let expected = [
            ("a", &Type::Decimal { precision: 9, scale: 2, size: None }),
            ("b", &Type::Timestamp { digits: 6, local: true }),
            ("c", &Type::Timestamp { digits: 3, local: false }),
            ("d", &Type::Integer { short: true }),
            ("e", &Type::Uuid),
        ];
        assert_eq!(fields(&schema), expected);
    }

    #[test]
    fn what_is_no_schema_says_why() {
        let refused = [
            "{",
            "7",
            r#"{"name":"r"}"#,
            r#"{"type":"record","name":"r","fields":[{"name":"a","type":"Missing"}]}"#,
            r#"{"type":"record","name":"r","fields":[{"name":"a"}]}"#,
            r#"[{"type":"fixed","name":"f","size":1},{"type":"fixed","name":"f","size":2}]"#,
        ];
        let why = refused.map(|text| Schema::parse(text, &[] as &[&str]).unwrap_err()).join("\n");
        insta::assert_snapshot!(why, @"
        it is no JSON: EOF while parsing an object at line 1 column 1
        a type is a name, an object or an array
        a type has no `type`
        field `a`: it speaks of a type `Missing`, which is defined nowhere
        field `a`: it has no type
        it defines the type `f` twice
        ");
    }
}
