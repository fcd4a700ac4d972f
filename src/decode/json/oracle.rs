//! The same program over serde_json, for tests and for fuzzing: the two libraries must agree.

use super::*;

#[cfg(fuzzing)]
impl Decoder {
    /// [`Decoder::decode`] over serde_json.
    ///
    /// # Errors
    /// As there.
    pub fn decode_by_oracle(&mut self, payload: &[u8], columns: &mut [Column], row: usize) -> Result<(), BadRecord> {
        self.decode_with::<SerdeJson>(payload, columns, row)
    }
}

/// The oracle: the same seed over serde_json.
pub(super) struct SerdeJson;

impl Backend for SerdeJson {
    fn run(text: &str, run: &mut Run<'_>, object: usize) -> Result<(), String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let result = Whole::<Self>(run, object, PhantomData).deserialize(&mut deserializer);
        result.and_then(|()| deserializer.end()).map_err(|_| "the value is not JSON".to_owned())
    }

    fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        Ok(Cow::Borrowed(<&serde_json::value::RawValue>::deserialize(deserializer)?.get()))
    }

    fn unquote(raw: &str) -> Option<Cow<'_, str>> {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    }

    fn is_valid(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    fn each_element(raw: &str, take: &mut dyn FnMut(&str) -> Result<(), Misfit>) -> Result<(), Misfit> {
        let elements: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw).map_err(|_| JSON)?;
        elements.into_iter().try_for_each(|element| take(element.get()))
    }

    fn each_member(raw: &str, take: &mut dyn FnMut(&str, &str) -> Result<(), Misfit>) -> Result<(), Misfit> {
        struct Members<'t>(&'t mut dyn FnMut(&str, &str) -> Result<(), Misfit>);
        impl<'de> Visitor<'de> for Members<'_> {
            type Value = Result<(), Misfit>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut result = Ok(());
                while let Some((name, value)) = map.next_entry::<String, &serde_json::value::RawValue>()? {
                    result = result.and_then(|()| (self.0)(&name, value.get()));
                }
                Ok(result)
            }
        }
        serde_json::Deserializer::from_str(raw).deserialize_map(Members(take)).map_err(|_| JSON)?
    }
}
