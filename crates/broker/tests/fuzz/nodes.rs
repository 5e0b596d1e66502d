//! What nodes ask one another and answer, and a node's identity.

use broker::cluster::call::{NodeAnswer, NodeCall};
use broker::identity::{Found, Identity};
use model::Wire;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    if let Ok(call) = NodeCall::from_wire(data) {
        assert_eq!(NodeCall::from_wire(&call.to_wire()), Ok(call));
    }
    if let Ok(answer) = NodeAnswer::from_wire(data) {
        assert_eq!(NodeAnswer::from_wire(&answer.to_wire()), Ok(answer));
    }
    if let Ok(Found::Whole(identity)) = Identity::decode(data) {
        assert_eq!(Identity::decode(&identity.to_wire()), Ok(Found::Whole(identity)));
    }
}
