//! The query of a request, held against what a route takes.

use crate::path::decode;
use crate::refusal::{Refusal, nearest};
use crate::shape::{Code, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A parameter of a query, or of a path.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    /// Whether there has to be one.
    pub(crate) required: bool,
}

/// What a parameter's value is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Natural {
        least: u64,
        most: u64,
        default: Option<u64>,
    },
    Word(&'static [&'static str]),
    /// [`Time`].
    Time,
    /// [`Position`].
    Position,
    /// [`Position`] without `-N` and `earliest`.
    Bound,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Earliest,
    Latest,
    At(u64),
    /// So many before the end.
    Last(u64),
}

/// Offsets are what fits Kafka's.
pub(crate) const OFFSET_MAX: u64 = i64::MAX as u64;

fn natural(text: &str, least: u64, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| (least..=most).contains(number))
}

impl Position {
    fn parse(text: &str) -> Option<Position> {
        match text {
            "earliest" => Some(Position::Earliest),
            "latest" => Some(Position::Latest),
            _ => match text.strip_prefix('-') {
                Some(last) => natural(last, 1, OFFSET_MAX).map(Position::Last),
                None => natural(text, 0, OFFSET_MAX).map(Position::At),
            },
        }
    }
}

impl Kind {
    fn takes(self, text: &str) -> bool {
        match self {
            Kind::Text => true,
            Kind::Natural { least, most, .. } => natural(text, least, most).is_some(),
            Kind::Word(words) => words.contains(&text),
            Kind::Time => Time::parse(text).is_ok(),
            Kind::Position => Position::parse(text).is_some(),
            Kind::Bound => text == "latest" || natural(text, 0, OFFSET_MAX).is_some(),
        }
    }

    fn expected(self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Natural { least, most, .. } => format!("a whole number from {least} to {most}"),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Time => "milliseconds since 1970 or a time like 2026-11-30T12:00:00Z (RFC 3339)".into(),
            Kind::Position => "an offset, earliest, latest, or -N for the last N".into(),
            Kind::Bound => "an offset or latest".into(),
        }
    }

    /// Its JSON schema.
    pub(crate) fn schema(self) -> Value {
        let mut schema = match self {
            Kind::Text => json!({ "type": "string" }),
            Kind::Natural { least, most, .. } => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Word(words) => json!({ "type": "string", "enum": words }),
            Kind::Time => json!({ "$ref": "#/components/schemas/Time" }),
            Kind::Position => json!({
                "oneOf": [
                    { "type": "integer", "maximum": OFFSET_MAX },
                    { "type": "string", "enum": ["earliest", "latest"] }
                ]
            }),
            Kind::Bound => json!({
                "oneOf": [
                    { "type": "integer", "minimum": 0, "maximum": OFFSET_MAX },
                    { "type": "string", "enum": ["latest"] }
                ]
            }),
        };
        if let Kind::Natural { default: Some(default), .. } = self {
            schema["default"] = json!(default);
        }
        schema
    }
}

impl Parameter {
    /// # Errors
    /// When `text` is not a value of it.
    pub(crate) fn check(&self, text: &str) -> Result<(), Refusal> {
        if self.kind.takes(text) {
            return Ok(());
        }
        let message = format!("{}={}: expected {}", self.name, shown(text), self.kind.expected());
        Err(Refusal::new(Code::InvalidParameter, message))
    }
}

/// As much of what somebody sent as a message holds.
pub(crate) fn shown(text: &str) -> String {
    const LETTERS: usize = 100;
    let short: String = text.chars().take(LETTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(LETTERS).is_some() { short + "..." } else { short }
}

/// The values of a query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    values: BTreeMap<&'static str, String>,
}

impl Query {
    /// # Errors
    /// When it has a parameter that is not among the known ones, one twice, or a value that is not one.
    pub(crate) fn parse(text: &str, known: &'static [Parameter]) -> Result<Query, Refusal> {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // As forms have it, a plus is a space.
            let decoded = decode(&name.replace('+', " ")).zip(decode(&value.replace('+', " ")));
            let (name, value) = decoded.ok_or_else(|| {
                let message = format!("the query {} is not percent-encoded UTF-8", shown(pair));
                Refusal::new(Code::InvalidParameter, message)
            })?;
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                let nearest = nearest(&name, known.iter().map(|parameter| parameter.name));
                let message = format!("there is no parameter {} here{nearest}", shown(&name));
                return Err(Refusal::new(Code::UnknownParameter, message));
            };
            parameter.check(&value)?;
            if query.values.insert(parameter.name, value).is_some() {
                let message = format!("the parameter {name} is given twice");
                return Err(Refusal::new(Code::InvalidParameter, message));
            }
        }
        if let Some(missing) = known.iter().find(|known| known.required && !query.values.contains_key(known.name)) {
            let message = format!("the parameter {} is missing: {}", missing.name, missing.kind.expected());
            return Err(Refusal::new(Code::InvalidParameter, message));
        }
        Ok(query)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn natural(&self, name: &str) -> Option<u64> {
        natural(self.text(name)?, 0, u64::MAX)
    }

    pub(crate) fn time(&self, name: &str) -> Option<Time> {
        Time::parse(self.text(name)?).ok()
    }

    pub(crate) fn position(&self, name: &str) -> Option<Position> {
        Position::parse(self.text(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static KNOWN: [Parameter; 4] = [
        Parameter { name: "prefix", about: "", kind: Kind::Text, required: false },
        Parameter {
            name: "limit",
            about: "",
            kind: Kind::Natural { least: 1, most: 1000, default: Some(1000) },
            required: false,
        },
        Parameter { name: "offset", about: "", kind: Kind::Position, required: false },
        Parameter { name: "state", about: "", kind: Kind::Word(&["empty", "stable"]), required: false },
    ];

    fn refused(text: &str) -> (Code, String) {
        let Refusal { code, message } = Query::parse(text, &KNOWN).unwrap_err();
        (code, message)
    }

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("prefix=a%26b+c%2B&&limit=7&offset=-3", &KNOWN).unwrap();
        assert_eq!(query.text("prefix"), Some("a&b c+"));
        assert_eq!(query.natural("limit"), Some(7));
        assert_eq!(query.position("offset"), Some(Position::Last(3)));
        assert_eq!(query.text("state"), None);
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest() {
        assert_eq!(
            refused("limt=1"),
            (Code::UnknownParameter, "there is no parameter limt here; did you mean limit?".into())
        );
        assert_eq!(refused("%00=1").0, Code::UnknownParameter);
        assert_eq!(refused("prefix=%ff").0, Code::InvalidParameter);
        assert!(refused("limit=1&limit=2").1.contains("given twice"));
    }

    #[test]
    fn giant_numbers_and_no_numbers_are_refused_with_what_is_expected() {
        for wrong in ["0", "1001", "-1", "1.0", "1e2", "NaN", "", "99999999999999999999999", "٣", "0x10", "+1"] {
            let encoded = wrong.replace('+', "%2B");
            let (code, message) = refused(&format!("limit={encoded}"));
            assert_eq!(code, Code::InvalidParameter, "{wrong}");
            assert!(message.contains("a whole number from 1 to 1000"), "{message}");
        }
        for wrong in ["9223372036854775808", "-0", "--1", "-9223372036854775808", "end", "1.5", ""] {
            assert_eq!(refused(&format!("offset={wrong}")).0, Code::InvalidParameter, "{wrong}");
        }
        assert!(Query::parse("offset=9223372036854775807", &KNOWN).is_ok());
        assert!(refused("state=Empty").1.contains("one of empty, stable"));
    }

    proptest! {
        #[test]
        fn no_query_panics(text: String, name in "(prefix|limit|offset|state|%[0-9a-f]{0,2})", value in ".{0,30}") {
            let _ = Query::parse(&text, &KNOWN);
            let _ = Query::parse(&format!("{name}={value}"), &KNOWN);
        }
    }

    #[test]
    fn a_message_holds_no_more_than_some_letters_and_no_control_characters() {
        assert_eq!(shown("a\r\nb"), "a\\r\\nb");
        assert_eq!(shown(&"x".repeat(5000)).len(), 103);
    }
}
