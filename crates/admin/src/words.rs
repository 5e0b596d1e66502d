//! What serde says of JSON, in words of people rather than of Rust.

/// The words for what ends too early, such as "EOF while parsing an object".
const CUT: &str = "EOF while parsing ";
/// Syntax that is told of in words of parsers, and what to say instead.
const SYNTAX: [(&str, &str); 5] = [
    ("expected ident", "expected null, true or false"),
    // Also where there is a value, but of another kind.
    ("expected value", "expected another value"),
    ("trailing characters", "something follows the JSON"),
    ("recursion limit exceeded", "it is nested too deep"),
    ("lone leading surrogate in hex escape", "half of a character is escaped"),
];

/// The same sentence with the place at its end, if it has one.
#[must_use]
pub fn plain(said: &str) -> String {
    let (what, place) = match said.rfind(" at line ") {
        Some(at) => said.split_at(at),
        None => (said, ""),
    };
    format!("{}{place}", sentence(what))
}

fn sentence(what: &str) -> String {
    if let Some(part) = what.strip_prefix(CUT) {
        return format!("it ends in the middle of {part}");
    }
    if let Some(word) = what.strip_prefix("unknown variant ") {
        return format!("found {word}");
    }
    let wrong = what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: "));
    // What was found may hold anything, but what is expected does not.
    if let Some((found, expected)) = wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        return format!("found {}, expected {}", thing(found), kind(expected));
    }
    SYNTAX.iter().find(|(theirs, _)| what == *theirs).map_or(what, |(_, ours)| ours).to_owned()
}

fn thing(found: &str) -> String {
    match found {
        "map" => return "an object".into(),
        "sequence" => return "a list".into(),
        _ => {}
    }
    let after = |kind: &str| found.strip_prefix(kind).map(|rest| rest.trim_matches('`'));
    if let Some(number) = after("integer ").or_else(|| after("floating point ")) {
        return format!("the number {number}");
    }
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    after("boolean ").unwrap_or(found).to_owned()
}

fn kind(expected: &str) -> String {
    match expected {
        "a string" => "text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" | "map" => "an object".into(),
        "string or map" => "text or an object".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => format!("a whole number from 0 to {}", u64::MAX),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        "i64" => format!("a whole number from {} to {}", i64::MIN, i64::MAX),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{CreateTopic, MoveOffsets, NewRecords};
    use serde::de::DeserializeOwned;

    fn said<T: DeserializeOwned>(json: &str) -> String {
        plain(&serde_json::from_str::<T>(json).err().unwrap().to_string())
    }

    #[test]
    fn no_word_is_of_rust() {
        for (json, words) in [
            (r#"{"name":1}"#, "found the number 1, expected text at line 1 column 9"),
            (r#"{"name":1.5}"#, "found the number 1.5, expected text at line"),
            (r#"{"name":[]}"#, "found a list, expected text at line"),
            (r#"{"name":null}"#, "found null, expected text at line"),
            (r#"{"name":"a","partitions":-1}"#, "found the number -1, expected a whole number from 0 to 4294967295"),
            (r#"{"name":"a","partitions":"x, expected y"}"#, r#"found the text "x, expected y", expected a whole"#),
            (r#"{"name":"a","validate_only":1}"#, "found the number 1, expected true or false"),
            (r#"{"name":true}"#, "found true, expected text"),
            ("{", "it ends in the middle of an object at line 1"),
            (r#"{"name":"#, "it ends in the middle of a value at line 1"),
            (r#"{"name":nil}"#, "expected null, true or false at line 1"),
            (r#"{"name":x}"#, "expected another value at line 1"),
            (r#"{"name":"a"} x"#, "something follows the JSON at line 1"),
            (r#"{"name":"a","name":"b"}"#, "duplicate field `name` at line 1"),
        ] {
            let said = said::<CreateTopic>(json);
            assert!(said.starts_with(words), "{json}: {said}");
        }
        assert!(said::<MoveOffsets>(r#"{"to":"newest"}"#).starts_with("found `newest`, expected one of `earliest`"));
        assert!(said::<MoveOffsets>(r#"{"to":5}"#).starts_with("expected another value at"));
        let offset = said::<MoveOffsets>(r#"{"to":{"offset":-1}}"#);
        assert!(offset.starts_with("found the number -1, expected a whole number from 0 to"), "{offset}");
        assert!(said::<NewRecords>(r#"{"records":5}"#).starts_with("found the number 5, expected a list of at most"));
    }

    #[test]
    fn what_is_said_otherwise_stays() {
        for said in ["", " at line ", "missing field `name` at line 1 column 2", "invalid type: ", "integer"] {
            assert_eq!(plain(said), said);
        }
    }
}
