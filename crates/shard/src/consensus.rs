//! What the handle does with consensus; hides the runtime it runs on.

use crate::doubt::Doubt;
use crate::handover::hand_over;
use crate::housekeeping::checkpoint;
use crate::leadership;
use crate::membership::{self, Membership, MembershipError};
use crate::pull::Copying;
use crate::raft::{Raft, Runtime, leading, to_the_end};
use crate::receiver::Receiver;
use crate::replica::Replica;
use crate::shard::{Role, StartError};
use crate::transport::TransportError;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use journal::LogPosition;
use machine::Machine;
use model::NodeId;
use openraft::async_runtime::WatchReceiver;
use parking_lot::RwLockReadGuard;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// See the module's documentation, and [`crate::Shard`] for what each means.
pub(crate) trait Consensus: Send + Sync {
    fn role(&self) -> Role;
    fn term(&self) -> u64;
    fn leading(&self) -> Result<u64, Option<NodeId>>;
    fn is_sure_to_lead(&self) -> bool;
    fn hears_leader(&self) -> bool;
    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>>;
    fn elect(&self) -> BoxFuture<'_, ()>;
    fn checkpoint(&self) -> BoxFuture<'_, ()>;
    fn shutdown(&self) -> BoxFuture<'_, ()>;
    fn machine(&self) -> RwLockReadGuard<'_, Machine>;
    fn applied(&self) -> LogPosition;
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Vec<Bytes>, TransportError>>;
    fn membership(&self) -> Membership;
    fn lags(&self) -> BTreeMap<NodeId, u64>;
    fn silences(&self) -> BTreeMap<NodeId, Duration>;
    fn copying(&self) -> BTreeMap<NodeId, Copying>;
    fn wait_applied(&self, index: u64) -> BoxFuture<'_, ()>;
    fn follow(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>>;
    fn change_voters(&self, voters: BTreeSet<NodeId>, retain: bool) -> BoxFuture<'_, Result<(), MembershipError>>;
    fn forget(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>>;
    fn finish_change(&self) -> BoxFuture<'_, Result<(), MembershipError>>;
    fn hand_over(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<NodeId, MembershipError>>;
    fn is_in_doubt(&self) -> bool;
    fn clock_offset_millis(&self) -> i64;
    fn wrong_clocks(&self) -> BTreeSet<NodeId>;
}

/// A replica's parts.
pub(crate) struct Inner<R: Runtime> {
    pub(crate) raft: Raft<R>,
    pub(crate) replica: Arc<Replica<R>>,
    pub(crate) doubt: Arc<Doubt>,
    pub(crate) receiver: Arc<Receiver<R>>,
}

impl<R: Runtime> Inner<R> {
    /// Changes who takes part. Whoever wanted it may stop waiting at any time.
    fn change<T, F, C>(&self, change: C) -> impl Future<Output = Result<T, MembershipError>> + Send + use<R, T, F, C>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, MembershipError>> + Send + 'static,
        C: FnOnce(Raft<R>, Arc<Replica<R>>) -> F,
    {
        let replica = self.replica.clone();
        to_the_end(&self.raft, |raft| change(raft, replica)).map(|done| done.unwrap_or(Err(MembershipError::Stopped)))
    }
}

impl<R: Runtime> Consensus for Inner<R> {
    fn role(&self) -> Role {
        // The guard must be gone before the same metrics are read again below: with a writer waiting
        // in between, a second reader would wait for ever.
        let stopped = self.raft.metrics().borrow_watched().running_state.is_err();
        if stopped {
            return Role::Stopped;
        }
        match leading(&self.raft) {
            Ok(_) => Role::Leader,
            Err(leader) => Role::Follower(leadership::named(&self.replica, leader)),
        }
    }

    fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    fn leading(&self) -> Result<u64, Option<NodeId>> {
        leadership::ready(&self.raft, &self.replica)
    }

    fn is_sure_to_lead(&self) -> bool {
        leadership::is_sure_to_lead(&self.raft, &self.replica)
    }

    fn hears_leader(&self) -> bool {
        leadership::hears_leader(&self.replica)
    }

    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            if self.raft.is_initialized().await.map_err(|error| StartError::Consensus(error.to_string()))? {
                return Ok(());
            }
            let voters: BTreeMap<u64, ()> = voters.into_iter().map(|id| (id.0, ())).collect();
            self.raft.initialize(voters).await.map_err(|error| StartError::Consensus(error.to_string()))?;
            // Whoever asks for the members next is told.
            let mut metrics = self.raft.server_metrics();
            while self.membership().voters.is_empty() && metrics.changed().await.is_ok() {}
            Ok(())
        })
    }

    fn elect(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What members there are is told once the core has started, which answers then.
            let _ = self.raft.is_initialized().await;
            // With others, one that starts would disturb whoever leads, and has given its word to them.
            let alone = [BTreeSet::from([self.replica.me])];
            if self.membership().voters == alone {
                let _ = self.raft.trigger().elect(true).await;
            }
        })
    }

    fn checkpoint(&self) -> BoxFuture<'_, ()> {
        let replica = self.replica.clone();
        let written = to_the_end(&self.raft, |raft| async move { checkpoint(&raft, &replica).await });
        Box::pin(async move {
            let _ = written.await;
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        let stopped = to_the_end(&self.raft, |raft| async move { raft.shutdown().await });
        Box::pin(async move {
            let _ = stopped.await;
        })
    }

    fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.replica.machine.read()
    }

    fn applied(&self) -> LogPosition {
        self.replica.applied.lock().at
    }

    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Vec<Bytes>, TransportError>> {
        self.receiver.handle(from, request)
    }

    fn membership(&self) -> Membership {
        membership::membership(&self.raft)
    }

    fn lags(&self) -> BTreeMap<NodeId, u64> {
        membership::lags(&self.raft)
    }

    fn silences(&self) -> BTreeMap<NodeId, Duration> {
        membership::silences(&self.raft, &self.replica)
    }

    fn copying(&self) -> BTreeMap<NodeId, Copying> {
        let mut copying = self.replica.leases.copying();
        copying.extend(self.replica.pulls.copying().map(|own| (self.replica.me, own)));
        copying
    }

    fn wait_applied(&self, index: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                // Watching begins before looking.
                let progress = self.replica.progress.notified();
                if self.replica.applied.lock().at.index >= index {
                    return;
                }
                progress.await;
            }
        })
    }

    fn follow(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(self.change(move |raft, _| async move { membership::follow(&raft, node).await }))
    }

    fn change_voters(&self, voters: BTreeSet<NodeId>, retain: bool) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(self.change(move |raft, replica| async move {
            membership::change_voters(&raft, &replica, voters, retain).await
        }))
    }

    fn forget(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(self.change(move |raft, _| async move { membership::forget(&raft, node).await }))
    }

    fn finish_change(&self) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(self.change(|raft, replica| async move { membership::finish_change(&raft, &replica).await }))
    }

    fn hand_over(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<NodeId, MembershipError>> {
        Box::pin(async move {
            let voters: BTreeSet<NodeId> = self.membership().voters.into_iter().flatten().collect();
            let heirs = match to {
                Some(to) if voters.contains(&to) => BTreeSet::from([to]),
                Some(to) => return Err(MembershipError::Unknown(format!("{to} has no vote"))),
                None => voters,
            };
            self.change(move |raft, replica| async move { hand_over(&raft, &replica, &heirs).await }).await
        })
    }

    fn is_in_doubt(&self) -> bool {
        self.doubt.is_in_doubt()
    }

    fn clock_offset_millis(&self) -> i64 {
        self.replica.clock_offset.load(Relaxed)
    }

    fn wrong_clocks(&self) -> BTreeSet<NodeId> {
        self.replica.wrong_clocks.lock().clone()
    }
}

/// Tells the environment when the leader changes, or the members.
pub(crate) async fn watch_role<R: Runtime>(inner: Arc<Inner<R>>) {
    let mut metrics = inner.raft.server_metrics();
    loop {
        (inner.replica.environment.on_role)(inner.replica.shard);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
