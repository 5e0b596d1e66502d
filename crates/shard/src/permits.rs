//! What a leader permits to replicas in doubt: that their logs have become shorter.
//!
//! openraft forgets a permit when use is made of it. A replica that has lost nothing would keep its permit for as long
//! as the leader leads, and if it lost something later, without a doubt, nobody would notice. So a permit is taken back
//! when the replica says that its doubt is over. It may be in doubt again by the time that this is heard: then it has
//! been given another permit, and keeps that one.

use crate::doubt;
use crate::membership::membership;
use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use model::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often whoever has a permit is asked whether it is still in doubt.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often each replica was given a permit in a term, until that is taken back. Held while openraft is told, so that
/// it is told in this order.
#[derive(Debug, Default)]
pub(crate) struct Permits(BTreeMap<(u64, NodeId), u64>);

impl Permits {
    /// Gives one. Whether nobody looks after it yet.
    fn give(&mut self, term: u64, node: NodeId) -> bool {
        let given = self.0.entry((term, node)).or_default();
        *given += 1;
        *given == 1
    }

    fn given(&self, term: u64, node: NodeId) -> Option<u64> {
        self.0.get(&(term, node)).copied()
    }

    /// A replica has said that it is not in doubt, asked when so many had been `given`. Whether its permit goes.
    fn take_back(&mut self, term: u64, node: NodeId, given: u64) -> bool {
        let is_latest = self.given(term, node) == Some(given);
        if is_latest {
            self.0.remove(&(term, node));
        }
        is_latest
    }
}

/// Permits a replica in doubt that its log has become shorter, once, until its doubt is over. Nothing for whoever is no
/// member.
pub(crate) async fn permit<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, term: u64, node: NodeId) {
    let mut permits = replica.permits.lock().await;
    let told = raft.trigger().allow_next_revert(&node.0, true).await;
    if matches!(told, Ok(Ok(()))) && permits.give(term, node) {
        drop(R::spawn(take_back_when_settled(raft, replica.clone(), term, node)));
    }
}

async fn take_back_when_settled<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, term: u64, node: NodeId) {
    let is_member = || membership(&raft).nodes().contains(&node);
    while !replica.journal.is_stopping() && leading(&raft) == Ok(term) && is_member() {
        R::sleep(INTERVAL).await;
        let Some(given) = replica.permits.lock().await.given(term, node) else { return };
        let standing = doubt::ask(&replica, node, false).await;
        if standing.is_none_or(|standing| standing.in_doubt) {
            continue;
        }
        let mut permits = replica.permits.lock().await;
        if permits.take_back(term, node, given) {
            let _ = raft.trigger().allow_next_revert(&node.0, false).await;
            return;
        }
    }
    replica.permits.lock().await.0.remove(&(term, node));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_back_no_permit_that_was_given_since_it_was_asked_for() {
        let (mut permits, node) = (Permits::default(), NodeId(2));
        assert!(permits.give(7, node), "somebody has to look after it");
        let asked = permits.given(7, node).unwrap();
        // It has lost power again since it answered.
        assert!(!permits.give(7, node));
        assert!(!permits.take_back(7, node, asked));
        let asked = permits.given(7, node).unwrap();
        assert!(permits.take_back(7, node, asked));
        assert_eq!(permits.given(7, node), None);
        assert!(!permits.take_back(7, node, asked), "there is none");
        assert!(permits.give(7, node) && permits.give(8, node), "each term is looked after by itself");
    }
}
