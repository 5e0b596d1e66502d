//! Keys and values of records: bytes that are mostly text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Bytes in JSON, in one of three spellings:
///
/// - `"text"`: the bytes of the text in UTF-8;
/// - `{"base64": "AAEC"}`: any bytes (RFC 4648, with padding);
/// - `{"json": ...}`: the bytes of this JSON, as it is written.
///
/// The server answers with the first two, so what was read can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text.
    Text(String),
    /// Any bytes.
    Base64(Vec<u8>),
    /// JSON, as it is written.
    Json(String),
}

const SPELLINGS: &[&str] = &["base64", "json"];

/// How deep JSON may be nested: what most readers of it can take.
const DEPTH_MAX: usize = 128;

/// Whether valid JSON is nested deeper than that.
fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

impl Data {
    /// What is meant.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Data::Text(text) | Data::Json(text) => text.into_bytes(),
            Data::Base64(bytes) => bytes,
        }
    }

    /// What is meant.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Data::Text(text) | Data::Json(text) => text.as_bytes(),
            Data::Base64(bytes) => bytes,
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Data::Text(text) => serializer.serialize_str(text),
            Data::Base64(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(bytes))?;
                map.end()
            }
            Data::Json(text) => {
                let value: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("json", value)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelled;

        impl<'de> Visitor<'de> for Spelled {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"text, {"base64": "..."} or {"json": ...}"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Data, E> {
                Ok(Data::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Data, E> {
                Ok(Data::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Data, A::Error> {
                let data = match fields.next_key::<Cow<'de, str>>()?.as_deref() {
                    Some("base64") => {
                        let text = fields.next_value::<Cow<'de, str>>()?;
                        Data::Base64(STANDARD.decode(&*text).map_err(|error| {
                            A::Error::custom(format_args!("not base64 with padding (RFC 4648): {error}"))
                        })?)
                    }
                    Some("json") => {
                        let json = fields.next_value::<Box<RawValue>>()?;
                        if is_too_deep(json.get()) {
                            return Err(A::Error::custom(format_args!("JSON nested more than {DEPTH_MAX} deep")));
                        }
                        Data::Json(json.get().to_owned())
                    }
                    Some(other) => return Err(A::Error::unknown_field(other, SPELLINGS)),
                    None => return Err(A::Error::custom(r#"expected {"base64": "..."} or {"json": ...}"#)),
                };
                match fields.next_key::<Cow<'de, str>>()? {
                    None => Ok(data),
                    Some(more) => {
                        Err(A::Error::custom(format_args!("field `{more}` beside another: data is spelled in one way")))
                    }
                }
            }
        }

        deserializer.deserialize_any(Spelled)
    }
}

impl JsonSchema for Data {
    fn schema_name() -> Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes. As a string: the bytes of the text in UTF-8. As `{\"base64\": \"...\"}`: any bytes. \
                As `{\"json\": ...}`: the bytes of this JSON as it is written; the server does not answer with it.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                    "required": ["base64"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "json": {} },
                    "required": ["json"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Data, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn three_spellings_of_bytes() {
        for (json, data, bytes) in [
            (r#""grüße""#, Data::Text("grüße".into()), "grüße".as_bytes()),
            (r#"{"base64":"AP8="}"#, Data::Base64(vec![0, 255]), &[0, 255]),
            (r#"{"json":{"b":1.0,"a":[ ]}}"#, Data::Json(r#"{"b":1.0,"a":[ ]}"#.into()), br#"{"b":1.0,"a":[ ]}"#),
        ] {
            let read = read(json).unwrap();
            assert_eq!((read.as_bytes(), &read), (bytes, &data));
            assert_eq!(serde_json::to_string(&data).unwrap(), json);
            assert_eq!(data.into_bytes(), bytes);
        }
    }

    #[test]
    fn brackets_in_text_nest_nothing() {
        let text = format!(r#"["\\\"{}"]"#, "[".repeat(500));
        assert!(!is_too_deep(&text), "{text}");
        assert!(is_too_deep(&"[".repeat(129)) && !is_too_deep(&"[".repeat(128)));
    }

    #[test]
    fn anything_else_is_explained() {
        assert!(read("1").unwrap_err().contains(r#"expected text, {"base64": "..."} or {"json": ...}"#));
        assert!(read("{}").unwrap_err().contains(r#"expected {"base64""#));
        assert!(read(r#"{"base64":"A"}"#).unwrap_err().contains("not base64"));
        assert!(read(r#"{"base46":"AA=="}"#).unwrap_err().contains("unknown field `base46`"));
        assert!(read(r#"{"base64":"AA==","json":1}"#).unwrap_err().contains("spelled in one way"));
    }
}
