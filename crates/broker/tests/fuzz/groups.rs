//! What the log has of consumer groups, what members say of their subscriptions and were assigned, and a node's identity.

use broker::group;
use broker::group::stored::Stored;
use broker::node::Identity;
use model::Wire;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let _ = group::is_readable(data);
    let _ = group::assignment::partitions(data);
    if let Ok(stored) = Stored::from_wire(data) {
        assert_eq!(Stored::from_wire(&stored.to_wire()), Ok(stored));
    }
    if let Ok(identity) = Identity::from_wire(data) {
        assert_eq!(Identity::from_wire(&identity.to_wire()), Ok(identity));
    }
}
