//! An answer, as whoever asks reads it: as each kind that there is. What can be read is written and read again.

use admin::shape::{
    AlteredTopic, CreatedTopic, DeletedOffsets, ErrorBody, Group, GroupList, MovedOffsets, MovedPartition, Node,
    NodeList, Records, RestartSafety, Topic, TopicList, Trimmed, Written,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let _ = read(data);
}

/// How many kinds of answers it can be.
pub(crate) fn read(data: &[u8]) -> usize {
    // Some have fractions, of which a reader may lose the last digit.
    let inexact = [again::<Node>(data).is_some(), again::<Group>(data).is_some()];
    let exact = [
        same::<ErrorBody>(data),
        same::<TopicList>(data),
        same::<Topic>(data),
        same::<CreatedTopic>(data),
        same::<AlteredTopic>(data),
        same::<Records>(data),
        same::<Written>(data),
        same::<Trimmed>(data),
        same::<GroupList>(data),
        same::<MovedOffsets>(data),
        same::<MovedPartition>(data),
        same::<DeletedOffsets>(data),
        same::<NodeList>(data),
        same::<RestartSafety>(data),
    ];
    inexact.iter().chain(&exact).filter(|is_read| **is_read).count()
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> bool {
    let Some((value, back)) = again::<T>(data) else { return false };
    assert_eq!(back, value);
    true
}

/// What was read, and what was read of it after it was written.
fn again<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<(T, T)> {
    let value: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let back = serde_json::from_slice(&written).expect("what was written can be read");
    Some((value, back))
}
