//! What the log has of consumer groups, and what members say of their subscriptions and were assigned.

use broker::group;
use broker::group::stored::Stored;
use model::Wire;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let _ = group::is_readable(data);
    let _ = group::assignment::partitions(data);
    if let Ok(stored) = Stored::from_wire(data) {
        assert_eq!(Stored::from_wire(&stored.to_wire()), Ok(stored));
    }
}
