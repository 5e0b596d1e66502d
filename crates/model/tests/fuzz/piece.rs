//! Pieces back to back, and messages: what can be read is written and read again.

use model::record::Message;
use model::{IntervalSet, Wire, piece};

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    for found in piece::walk(data) {
        let Ok((head, range)) = found else { break };
        assert_eq!(range.len(), head.bytes);
        let _ = piece::verify(&data[range]);
    }
    if let Ok(message) = Message::decode(data) {
        let bytes = message.encode().expect("no larger than it was");
        // No headers and an empty list of them are the same message.
        assert_eq!(Message::decode(&bytes), Ok(message));
    }
    if let Ok(set) = IntervalSet::from_wire(data) {
        assert_eq!(IntervalSet::from_wire(&set.to_wire()), Ok(set));
    }
}
