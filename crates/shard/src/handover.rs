//! Handing leadership to another replica.
//!
//! openraft's leader proposes nothing from the moment it hands over until somebody else leads, and
//! there is no way back. So it is asked only when the other one can take over: it answers, it is not
//! in doubt, and it is not ourselves.

use crate::doubt;
use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use model::NodeId;

/// Hands leadership to `to`, if we lead and it can take over.
pub(crate) async fn hand_over<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>, to: NodeId) {
    let me = NodeId(*raft.node_id());
    if to == me || leading(raft).is_err() {
        return;
    }
    match doubt::ask(replica, me, to, false).await {
        Some(standing) if !standing.in_doubt => {
            let _ = raft.trigger().transfer_leader(to.0).await;
        }
        _ => tracing::warn!(shard = %replica.shard, %to, "leadership stays: the other replica cannot take over now"),
    }
}
