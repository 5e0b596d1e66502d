//! What one node sends another for a client of its own: a line with method, path and query, and behind it a body or an
//! answer, which is read as each kind that there is. What can be read is written and read again.

use admin::api;
use admin::between::{Behind, Bounds, LedGroups, Outcome, Position, Share, WantedBounds, read};
use admin::shape::{ErrorBody, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    if let Ok(line) = std::str::from_utf8(line) {
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        if let Err(refused) = api::judge_errand(method, target, body) {
            let said: ErrorBody = serde_json::from_slice(&refused.body).expect("an error is JSON");
            assert_eq!(said.error.code.status(), refused.status);
        }
    }
    let _ = kinds(body);
}

/// How many kinds of bodies and answers it can be.
pub(crate) fn kinds(body: &[u8]) -> usize {
    let share = Share::read(body).ok().inspect(|share| assert_eq!(Share::read(&share.write()).as_ref(), Ok(share)));
    let kinds = [
        again::<WantedBounds>(body),
        again::<Vec<Result<Bounds, Problem>>>(body),
        again::<Vec<Position>>(body),
        again::<Vec<Result<Behind, Problem>>>(body),
        again::<LedGroups>(body),
        again::<Vec<Outcome>>(body),
        share.is_some(),
    ];
    kinds.iter().filter(|is_read| **is_read).count()
}

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> bool {
    let Ok(value) = read::<T>(body) else { return false };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(read::<T>(&written).as_ref(), Ok(&value));
    true
}
