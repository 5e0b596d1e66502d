//! A request: a line with method, path and query, and behind it a body, which is read as each kind of body
//! that there is. What can be read is written and read again; what cannot is refused in a short sentence.

use admin::shape::{AlterNode, AlterTopic, CreateTopic, ErrorBody, MoveOffsets, MovePartition, NewRecords};
use admin::{Answer, Call, Claims, Gate, Head, api, body};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const SENTENCE_LETTERS_MAX: usize = 5_000;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    if let Ok(line) = std::str::from_utf8(line)
        && let Err(refused) = judge(line, !body.is_empty())
    {
        let said: ErrorBody = serde_json::from_slice(&refused.body).expect("an error is JSON");
        assert_eq!(said.error.code.status(), refused.status);
        check(&said.error.message);
    }
    read::<CreateTopic>(body);
    read::<AlterTopic>(body);
    read::<NewRecords>(body);
    read::<MoveOffsets>(body);
    read::<AlterNode>(body);
    read::<MovePartition>(body);
}

/// The request of a line, as the API takes it.
pub(crate) fn judge(line: &str, has_body: bool) -> Result<Call, Answer> {
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let gate = Gate { loopback: true, advertised: Vec::new() };
    let claims = Claims { host: Some("localhost"), ..Claims::default() };
    let head = Head { method, path, query, content_type: Some("application/json"), has_body, claims };
    api::judge(&gate, &head)
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    match body::read::<T>(body) {
        Ok(value) => {
            let again = serde_json::to_vec(&value).expect("what was read can be written");
            assert_eq!(body::read::<T>(&again).as_ref(), Ok(&value));
        }
        Err(refusal) => check(&refusal.message),
    }
}

fn check(sentence: &str) {
    assert!(sentence.len() <= SENTENCE_LETTERS_MAX, "{sentence}");
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
}
