//! Handing leadership to another replica.
//!
//! openraft's leader proposes nothing from the moment it hands over until somebody else leads. So it is
//! asked only when the other one can take over: it answers, it is not in doubt, and it is not ourselves.
//!
//! Yet the other one may fail at that very moment, and when nobody else can stand for election, because
//! too many are in doubt, the leader would remain one that proposes nothing. openraft has no way back. So
//! the leader gives its vote to the one it handed to, for the next term, as if that one had asked for it:
//! then it is a follower like others, and stands for election when nobody leads. A vote that nobody hears
//! of elects nobody, and it is kept as any other.

use crate::doubt;
use crate::raft::{Raft, Runtime, Vote, leading};
use crate::replica::Replica;
use crate::store::log_id;
use model::NodeId;
use openraft::raft::VoteRequest;
use std::sync::Arc;
use std::time::Duration;

/// The other one leads by then: some elections long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often stepping down is tried.
const INTERVAL: Duration = Duration::from_millis(100);

/// Hands leadership to `to`, if we lead and it can take over.
pub(crate) async fn hand_over<R: Runtime>(raft: &Raft<R>, replica: &Arc<Replica<R>>, to: NodeId) {
    let me = NodeId(*raft.node_id());
    if to == me || leading(raft).is_err() {
        return;
    }
    match doubt::ask(replica, me, to, false).await {
        Some(standing) if !standing.in_doubt => {
            let Ok(term) = leading(raft) else { return };
            let _ = raft.trigger().transfer_leader(to.0).await;
            drop(R::spawn(step_down(raft.clone(), replica.clone(), term, to)));
        }
        _ => tracing::warn!(shard = %replica.shard, %to, "leadership stays: the other replica cannot take over now"),
    }
}

/// Leads no longer in this term, when the other one has not taken over for a while.
async fn step_down<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, term: u64, to: NodeId) {
    R::sleep(PATIENCE).await;
    while !replica.journal.is_stopping() && leading(&raft) == Ok(term) {
        tracing::warn!(shard = %replica.shard, %to, "the other replica did not take over: this one leads no longer, either");
        let last = log_id::<R>(replica.journal.last());
        let mut request = VoteRequest::new(Vote::<R>::new(term + 1, to.0), last);
        request.leadership_transfer = true;
        if raft.vote(request).await.is_err() {
            return;
        }
        R::sleep(INTERVAL).await;
    }
}
