//! What a topic is set to: Kafka's topic configurations.

use super::bounded::Unique;
use model::limit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// A value of a configuration, as the text that Kafka has for it. Numbers and booleans may be written as
/// they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfigValue(pub String);

impl<'de> Deserialize<'de> for ConfigValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = ConfigValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true or false")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ConfigValue, E> {
                Ok(ConfigValue(text.to_owned()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<ConfigValue, E> {
                Ok(ConfigValue(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<ConfigValue, E> {
                Ok(ConfigValue(value.to_string()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<ConfigValue, E> {
                Ok(ConfigValue(value.to_string()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<ConfigValue, E> {
                Ok(ConfigValue(value.to_string()))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

impl JsonSchema for ConfigValue {
    fn schema_name() -> Cow<'static, str> {
        "ConfigValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A value, as the text that Kafka has for it. Numbers and booleans may be written as they are."
        })
    }
}

/// Configurations by name. `null` takes one back to its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Configs(pub BTreeMap<String, Option<ConfigValue>>);

impl<'de> Deserialize<'de> for Configs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unique = Unique { max: limit::TOPIC_SETTINGS_MAX, of: PhantomData };
        deserializer.deserialize_map(unique).map(Configs)
    }
}

/// A configuration of a topic, its value and where that comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicConfig {
    /// The name, in Kafka's words.
    pub name: String,
    /// What is in force.
    pub value: String,
    /// What would be without being set for the topic.
    pub default: String,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// What it does.
    pub documentation: String,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// It was set for the topic.
    Topic,
    /// The node was configured to have it for every topic that says nothing else.
    Node,
    /// Nobody set it.
    Default,
}
