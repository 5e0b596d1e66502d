//! Bodies of requests: JSON, read strictly.

use crate::query::shown;
use crate::refusal::{Refusal, nearest};
use crate::shape::Code;
use crate::shape::bounded::Object;
use crate::words::plain;
use serde::de::DeserializeOwned;

/// Reads what a body says.
///
/// # Errors
/// What is wrong with it and where, in the words of a sentence.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(Code::InvalidBody, "the body is empty: expected JSON"));
    }
    serde_json::from_slice(body).map(|Object(value)| value).map_err(|error| refusal(&error.to_string()))
}

/// The words in which serde says that a field is not known; the field and the known ones follow.
const UNKNOWN: &str = "unknown field `";

fn refusal(error: &str) -> Refusal {
    let Some(said) = error.strip_prefix(UNKNOWN) else {
        return Refusal::new(Code::InvalidBody, format!("the body is not as expected: {}", plain(error)));
    };
    // What is not known may hold anything, but what is known does not.
    let (unknown, known) = said.rsplit_once("`, expected ").unwrap_or((said, ""));
    let (known, place) = known.rsplit_once(" at line ").unwrap_or((known, "1 column 0"));
    let names = known.split('`').skip(1).step_by(2);
    let nearest = nearest(unknown, names);
    Refusal::new(Code::UnknownField, format!("there is no field {} here (line {place}){nearest}", shown(unknown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{CreateTopic, MoveOffsets, NewRecords};
    use proptest::prelude::*;

    fn refused<T: DeserializeOwned>(body: &str) -> (Code, String) {
        let Refusal { code, message } = read::<T>(body.as_bytes()).err().unwrap();
        (code, message)
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_nearest() {
        let (code, message) = refused::<CreateTopic>(r#"{"name":"a","partition":1}"#);
        assert_eq!(code, Code::UnknownField);
        assert_eq!(message, "there is no field partition here (line 1 column 23); did you mean partitions?");
        let (code, message) = refused::<NewRecords>(r#"{"records":[{"vlaue":"x"}]}"#);
        assert_eq!(code, Code::UnknownField);
        assert!(message.ends_with("did you mean value?"), "{message}");
        let (code, message) = refused::<NewRecords>(r#"{"records":[{"value":{"bas64":"x"}}]}"#);
        assert_eq!(code, Code::UnknownField);
        assert!(message.ends_with("did you mean base64?"), "{message}");
        let (code, _) = refused::<CreateTopic>(r#"{"`, expected `name` at line ":1}"#);
        assert_eq!(code, Code::UnknownField);
    }

    #[test]
    fn what_is_no_such_json_is_refused() {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "1",
            "\"x\"",
            "{}",
            "\u{feff}{}",
            r#"{"name":"a"} x"#,
            r#"["a"]"#,
            r#"{"name":1}"#,
            r#"{"name":null}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","partitions":-1}"#,
            r#"{"name":"a","partitions":1.5}"#,
            r#"{"name":"a","partitions":4294967296}"#,
            r#"{"name":"a","partitions":1e999}"#,
            r#"{"name":"a","partitions":NaN}"#,
            r#"{"name":"a","configs":{"a":1,"a":2}}"#,
            r#"{"name":"a","configs":{"a":[]}}"#,
            r#"{"name":"\ud800"}"#,
        ] {
            assert_eq!(refused::<CreateTopic>(body).0, Code::InvalidBody, "{body}");
        }
        for body in [r#"{"records":[["k"]]}"#, r#"{"records":[{"headers":[["n"]]}]}"#, r#"[[{}]]"#] {
            assert_eq!(refused::<NewRecords>(body).0, Code::InvalidBody, "{body}");
        }
        assert_eq!(refused::<MoveOffsets>(r#"{"topics":[["t"]],"to":"latest"}"#).0, Code::InvalidBody);
        assert_eq!(read::<CreateTopic>(b"{\"name\":\"\xff\"}").unwrap_err().code, Code::InvalidBody);
        assert!(refused::<CreateTopic>(r#"{"name":"a","name":"b"}"#).1.contains("duplicate field `name`"));
        assert!(refused::<CreateTopic>(r#"{"name":"a","configs":{"a":1,"a":2}}"#).1.contains("duplicate field `a`"));
    }

    #[test]
    fn lists_and_nesting_are_bounded() {
        let records = |count: usize| format!(r#"{{"records":[{}]}}"#, vec!["{}"; count].join(","));
        assert!(read::<NewRecords>(records(10_000).as_bytes()).is_ok());
        assert!(refused::<NewRecords>(&records(10_001)).1.contains("more than 10000 elements"));
        let headers = vec![r#"{"name":""}"#; 1001].join(",");
        let body = format!(r#"{{"records":[{{"headers":[{headers}]}}]}}"#);
        assert!(refused::<NewRecords>(&body).1.contains("more than 1000 elements"));
        let nested = |depth: usize| {
            format!(r#"{{"records":[{{"value":{{"json":{}{}}}}}]}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(read::<NewRecords>(nested(100).as_bytes()).is_ok());
        assert!(refused::<NewRecords>(&nested(129)).1.contains("nested"));
        assert!(refused::<NewRecords>(&nested(1_000_000)).1.contains("nested"));
        let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(refused::<CreateTopic>(&deep).0, Code::InvalidBody);
    }

    /// Pieces of bodies, put together at random.
    const WORDS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"name\"",
        "\"records\"",
        "\"value\"",
        "\"json\"",
        "\"base64\"",
        "\"to\"",
        "null",
        "1",
        "-1",
        "1e9",
        "\"AA==\"",
        "\"\\u0000\"",
        "\"shift_by\"",
        "\"configs\"",
        "\"topics\"",
        " ",
    ];

    proptest! {
        #[test]
        fn no_body_panics(bytes: Vec<u8>, words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
            for body in [&bytes, words.concat().as_bytes()] {
                let _ = read::<CreateTopic>(body);
                let _ = read::<NewRecords>(body);
                let _ = read::<MoveOffsets>(body);
            }
        }
    }

    #[test]
    fn every_target_of_a_move_is_read() {
        for to in [
            "\"earliest\"",
            "\"latest\"",
            "\"current\"",
            r#"{"offset":5}"#,
            r#"{"shift_by":-5}"#,
            r#"{"timestamp":"1970-01-01T00:00:00Z"}"#,
        ] {
            assert!(read::<MoveOffsets>(format!(r#"{{"to":{to}}}"#).as_bytes()).is_ok(), "{to}");
        }
        for to in ["\"now\"", r#"{"offset":-1}"#, r#"{"offset":1,"shift_by":1}"#, "null", "{}", r#"{"earliest":1}"#] {
            assert_eq!(refused::<MoveOffsets>(&format!(r#"{{"to":{to}}}"#)).0, Code::InvalidBody, "{to}");
        }
    }
}
