//! Commands to whoever leads a shard: here, or through another node.

use super::call::{NodeAnswer, NodeCall};
use super::leaders::Asked;
use super::network::Network;
use crate::broker::Inner;
use crate::world::Moment;
use bytes::Bytes;
use journal::canary::Fault;
use machine::{Command, Reply};
use model::wire::Wire;
use model::{NodeId, ShardId};
use shard::{ProposeError, TransportError};
use std::time::Duration;

/// Between two tries when nobody is known to lead.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a node may take to answer that it does not lead, or to have a command applied.
const PATIENCE: Duration = Duration::from_secs(10);

impl Inner {
    /// Has a command applied by the catalog, and waits until this node has applied it, too: whoever asks
    /// next finds it here.
    pub(crate) async fn catalog_command(&self, command: Command) -> Result<Reply, ProposeError> {
        self.command(ShardId::CATALOG, command).await
    }

    /// The same by any shard. It is tried again while it is sure that nothing was done, for as long as a
    /// request may take.
    pub(crate) async fn command(&self, shard: ShardId, command: Command) -> Result<Reply, ProposeError> {
        let deadline = self.world.now() + self.config.propose_timeout;
        let (mut bytes, mut attempt, mut asked) = (None, 0, Asked::default());
        loop {
            let role = self.changes.role.notified();
            let named = match asked.next(|| self.whom_to_ask(shard, attempt)) {
                Some(leader) if leader == self.me() => match self.shards.get(shard) {
                    Some(replica) => match replica.command(command.clone()).await {
                        Err(ProposeError::NotLeader(leader)) => leader,
                        done => return done,
                    },
                    None => None,
                },
                Some(leader) => {
                    let Some(network) = &self.network else { return Err(ProposeError::NotLeader(Some(leader))) };
                    let bytes = bytes.get_or_insert_with(|| Bytes::from(command.to_wire()));
                    match self.ask_to_propose(&**network, leader, shard, bytes.clone(), deadline).await {
                        Err(ProposeError::NotLeader(leader)) => leader,
                        done => return done,
                    }
                }
                None => None,
            };
            let refused = ProposeError::NotLeader(named);
            if self.network.is_none() || self.changes.are_over() || self.world.now() >= deadline {
                return Err(refused);
            }
            if asked.follow(named) {
                continue;
            }
            asked.pause();
            attempt += 1;
            // A new leader makes itself heard; one that is not there yet is waited for.
            let pause = (self.world.now() + PAUSE).min(deadline);
            let _ = self.world.timeout_at(pause, role).await;
            if self.world.now() >= deadline {
                return Err(refused);
            }
        }
    }

    async fn ask_to_propose(
        &self,
        network: &dyn Network,
        leader: NodeId,
        shard: ShardId,
        command: Bytes,
        deadline: Moment,
    ) -> Result<Reply, ProposeError> {
        let call = NodeCall::Propose { shard, command };
        let answer = self.ask(network, leader, &call, deadline).await;
        if answer.is_err() {
            self.leaders.forget(shard);
        }
        match answer? {
            NodeAnswer::Proposed { reply, applied } => {
                self.leaders.hear(shard, leader);
                // A node that stops has let go of its replicas already, and still answers by its catalog.
                let replica =
                    if shard == ShardId::CATALOG { Some(self.catalog().clone()) } else { self.shards.get(shard) };
                if let Some(replica) = replica
                    && !replica.journal().faulty(Fault::AnswerBeforeApplied)
                {
                    // It has been done, but whoever asks would look for it here in vain.
                    let here = self.world.timeout_at(deadline, replica.wait_applied(applied)).await;
                    here.ok_or(ProposeError::Unknown)?;
                }
                Ok(reply)
            }
            NodeAnswer::NotLeader { leader } => {
                match leader {
                    Some(leader) => self.leaders.hear(shard, leader),
                    None => self.leaders.forget(shard),
                }
                Err(ProposeError::NotLeader(leader))
            }
            NodeAnswer::NotNow { why } => {
                tracing::debug!(%leader, %shard, why, "a command is tried again");
                Err(ProposeError::NotLeader(None))
            }
            NodeAnswer::Refused { why } => {
                tracing::warn!(%leader, %shard, why, "a command was not taken");
                Err(ProposeError::Stopped)
            }
            NodeAnswer::Unknown
            | NodeAnswer::Joined { .. }
            | NodeAnswer::Delivered { .. }
            | NodeAnswer::Standing { .. }
            | NodeAnswer::HandedOver { .. }
            | NodeAnswer::Older { .. }
            | NodeAnswer::OlderGone { .. }
            | NodeAnswer::Heard
            | NodeAnswer::Unfit { .. }
            | NodeAnswer::Epochs { .. }
            | NodeAnswer::Load { .. }
            | NodeAnswer::Served { .. } => Err(ProposeError::Unknown),
        }
    }

    /// Asks a node.
    pub(crate) async fn ask(
        &self,
        network: &dyn Network,
        node: NodeId,
        call: &NodeCall,
        deadline: Moment,
    ) -> Result<NodeAnswer, ProposeError> {
        let patience = deadline.since(self.world.now()).min(PATIENCE);
        match network.ask(node, call.to_wire().into(), patience).await {
            Ok(answer) => NodeAnswer::from_wire(&answer).map_err(|error| {
                tracing::warn!(%node, %error, "a node answered what cannot be read");
                ProposeError::Unknown
            }),
            Err(TransportError::NotSent(why)) => {
                tracing::debug!(%node, why, "a node cannot be asked");
                Err(ProposeError::NotLeader(None))
            }
            Err(TransportError::Lost(why)) => {
                tracing::debug!(%node, why, "a node did not answer");
                Err(ProposeError::Unknown)
            }
        }
    }
}
