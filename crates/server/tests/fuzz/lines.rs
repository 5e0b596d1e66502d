//! A line of JSON as `produce --json` takes it. What can be read is written as `consume --json` does, and read
//! again; so is the record that it is.

use super::line::Line;
use admin::shape::NewRecord;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(line) = Line::parse(data) else { return };
    let written = serde_json::to_vec(&line).expect("what was read can be written");
    assert_eq!(Line::parse(&written).as_ref(), Ok(&line));
    if let Ok(record) = line.into_new() {
        let written = serde_json::to_vec(&record).expect("a record can be written");
        assert_eq!(serde_json::from_slice::<NewRecord>(&written).ok(), Some(record));
    }
}
