//! An Avro schema, as the Avro specification (1.12) writes it.
//!
//! It is read here and not by a library, since converters say what a value means by attributes of types that have no name
//! (`connect.name`), which libraries drop.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::decode::typed::{Field, Schema, Type, TypeId, meaning};

impl Schema {
    /// Reads a schema that may speak of types which stand in others, the references.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_avro(text: &str, references: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for reference in references {
            parser.document(reference.as_ref())?;
        }
        let root = parser.document(text)?;
        Ok(Self { types: parser.types, root })
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
                let id = self.push(named_meaning(object, Type::Fixed(size)));
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
                Some(primitive) => Ok(self.push(named_meaning(object, primitive))),
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
                    self.push(named_meaning(field, primitive))
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
fn named_meaning(object: &Map<String, Value>, plain: Type) -> Type {
    let said = |key: &str| object.get(key).and_then(Value::as_str);
    let number = |key: &str| object.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let name = said("logicalType").or_else(|| said("connect.name")).unwrap_or_default();
    meaning(plain, name, number("precision"), number("scale"))
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
        Schema::of_avro(text, &[] as &[&str]).unwrap()
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
        let schema = Schema::of_avro(order, &[address]).unwrap();
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
        let why = refused.map(|text| Schema::of_avro(text, &[] as &[&str]).unwrap_err()).join("\n");
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
