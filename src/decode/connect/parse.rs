//! A schema as Kafka Connect's JsonConverter writes it.
//!
//! Source: `org.apache.kafka.connect.json.JsonConverter`, and Debezium's semantic types, which are names of schemas.

use serde_json::{Map, Value};

use crate::decode::typed::{Field, Schema, Type, TypeId, meaning};

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_connect(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let mut types = Vec::new();
        let root = read(&value, &mut types)?;
        Ok(Self { types, root })
    }
}

fn read(value: &Value, types: &mut Vec<Type>) -> Result<TypeId, String> {
    let Value::Object(object) = value else { return Err("a type is an object".to_owned()) };
    let said = |key: &str| object.get(key).and_then(Value::as_str);
    let kind = said("type").ok_or("a type has no `type`")?;
    let plain = match kind {
        "boolean" => Type::Boolean,
        "int8" | "int16" | "int32" => Type::Integer { short: true },
        "int64" => Type::Integer { short: false },
        "float" | "float32" => Type::Float,
        "double" | "float64" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "array" => Type::Array(inner(object, "items", types)?),
        "map" => {
            // Keys of other types are written as texts where they can be.
            inner(object, "keys", types)?;
            Type::Map(inner(object, "values", types)?)
        }
        "struct" => record(object, types)?,
        other => return Err(format!("no schema has the type `{other}`")),
    };
    let known = match (&plain, said("name").unwrap_or_default()) {
        (Type::Record(fields), "io.debezium.data.VariableScaleDecimal") if fields.len() == 2 => Type::VariableDecimal,
        (_, name) => {
            let parameter = |key: &str| object.get("parameters")?.get(key)?.as_str()?.parse().ok();
            meaning(plain, name, parameter("connect.decimal.precision"), parameter("scale"))
        }
    };
    types.push(known);
    let id = types.len() - 1;
    if object.get("optional").and_then(Value::as_bool) != Some(true) {
        return Ok(id);
    }
    types.push(Type::Null);
    types.push(Type::Union([id + 1, id].into()));
    Ok(types.len() - 1)
}

fn inner(object: &Map<String, Value>, key: &str, types: &mut Vec<Type>) -> Result<TypeId, String> {
    read(object.get(key).ok_or_else(|| format!("a type has no `{key}`"))?, types)
}

fn record(object: &Map<String, Value>, types: &mut Vec<Type>) -> Result<Type, String> {
    let fields = object.get("fields").and_then(Value::as_array).ok_or("a struct has no `fields`")?;
    let fields = fields.iter().map(|field| {
        let name = field.get("field").and_then(Value::as_str).ok_or("a field has no name")?;
        let id = read(field, types).map_err(|why| format!("field `{name}`: {why}"))?;
        Ok::<_, String>(Field { name: name.into(), aliases: [].into(), id })
    });
    Ok(Type::Record(fields.collect::<Result<_, _>>()?))
}
