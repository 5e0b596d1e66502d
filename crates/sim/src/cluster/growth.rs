//! One replica becomes three: whoever leads is asked for one step after the other, however often that fails.

use super::checker::Ledger;
use super::client::{Replicas, now};
use super::facts::Facts;
use crate::trace::Trace;
use model::NodeId;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{MembershipError, Shard};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often a step is taken.
const INTERVAL: Duration = Duration::from_millis(200);
/// A replica that is no further behind may vote.
const LAG_MAX: u64 = 64;

/// See the module's documentation.
pub(super) struct Growth {
    /// Who is to vote in the end.
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) replicas: Replicas,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) trace: Trace,
}

impl Growth {
    /// Returns when all vote.
    pub(super) async fn run(self) {
        loop {
            SimRuntime::sleep(INTERVAL).await;
            let leader = self.replicas.lock().values().find(|shard| shard.leading().is_ok()).cloned();
            let Some(leader) = leader else { continue };
            if leader.membership().voters == [self.nodes.clone()] {
                self.trace.line(format_args!("{:?} all vote", now()));
                self.ledger.lock().losses.not_alone_any_more(now());
                self.facts.lock().grown += 1;
                return;
            }
            if let Err(error) = self.step(&leader).await {
                self.trace.line(format_args!("{:?} the shard does not grow: {error:?}", now()));
            }
        }
    }

    async fn step(&self, leader: &Shard) -> Result<(), MembershipError> {
        let members = leader.membership();
        if members.is_joint() {
            return leader.finish_change().await;
        }
        let known = members.nodes();
        if let Some(new) = self.nodes.iter().find(|node| !known.contains(node)) {
            return leader.follow(*new).await;
        }
        let (running, in_doubt) = {
            let replicas = self.replicas.lock();
            (replicas.len(), replicas.values().any(Shard::is_in_doubt))
        };
        let close = leader.lags().values().all(|lag| *lag <= LAG_MAX);
        if running == self.nodes.len() && !in_doubt && close {
            return leader.change_voters(self.nodes.clone(), false).await;
        }
        Ok(())
    }
}
