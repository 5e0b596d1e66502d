//! What the parts of one replica share: the machine, the journal, how far it has applied.

use crate::environment::Environment;
use crate::hearing::Hearing;
use crate::lease::Leases;
use crate::membership::Membership;
use crate::permits::Permits;
use crate::pull::Pulls;
use crate::purges::Purges;
use crate::raft::{Runtime, StoredMembership};
use crate::store::{encode_membership, log_id, position, take_membership};
use journal::checkpoint::{Changes, Objects};
use journal::skips::Skip;
use journal::{Journal, LogPosition};
use machine::table::Object;
use machine::{ApplyError, Machine};
use model::wire::{Input, Wire, WireError};
use model::{NodeId, ShardId};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

/// Key of the membership among a checkpoint's objects. The machine's keys start at 1.
const MEMBERSHIP_KEY: [u8; 1] = [0];

/// Objects that changed, by key; none where one is gone.
type Unsaved = BTreeMap<Vec<u8>, Option<Arc<dyn Object>>>;

/// How far a replica has applied.
pub(crate) struct AppliedState<R: Runtime> {
    pub(crate) at: LogPosition,
    pub(crate) membership: StoredMembership<R>,
}

pub(crate) struct Replica<R: Runtime> {
    /// The node it is on.
    pub(crate) me: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) environment: Environment,
    pub(crate) journal: Arc<Journal>,
    pub(crate) purges: Arc<Purges<R>>,
    pub(crate) machine: RwLock<Machine>,
    pub(crate) applied: Mutex<AppliedState<R>>,
    /// Rung after every applied entry.
    pub(crate) progress: tokio::sync::Notify,
    /// Entries that are applied as if they were blank: an operator has decided so.
    pub(crate) skips: Arc<BTreeSet<u64>>,
    /// Something died since the files were last checked for it.
    pub(crate) shrank: AtomicBool,
    /// Another replica's form of streams is being taken over.
    pub(crate) is_taking_over: AtomicBool,
    /// What the journal's checkpoint covers, and the membership in it.
    pub(crate) saved: Mutex<(LogPosition, StoredMembership<R>)>,
    /// How far the clocks of most replicas are ahead of ours, in milliseconds.
    pub(crate) clock_offset: AtomicI64,
    /// Those whose clocks differ from most others.
    pub(crate) wrong_clocks: Mutex<BTreeSet<NodeId>>,
    /// When it last heard of a leader, or gave its vote to a candidate.
    pub(crate) heard: Mutex<Option<R::Instant>>,
    /// What it hears of others while it leads.
    pub(crate) hearing: Mutex<Hearing<R::Instant>>,
    /// The term in which it last handed leadership over.
    pub(crate) handed_over_in: AtomicU64,
    /// Changes taken out of the machine that no checkpoint holds yet.
    pub(crate) unsaved: Mutex<Unsaved>,
    /// Snapshots that other replicas copy from here.
    pub(crate) leases: Leases<R>,
    /// What this one copies.
    pub(crate) pulls: Pulls<R>,
    /// What it has permitted to others as a leader.
    pub(crate) permits: tokio::sync::Mutex<Permits>,
}

/// Why a replica's state cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The checkpoint cannot be read.
    #[error("{0}. What it held is nowhere else on this node: restore the data folder from a backup")]
    Checkpoint(#[from] journal::checkpoint::CheckpointError),
    /// Its objects are not this version's.
    #[error(transparent)]
    Machine(#[from] ApplyError),
    /// What an operator decided to skip cannot be read.
    #[error(transparent)]
    Skips(#[from] journal::skips::SkipsError),
    /// Its membership is not one.
    #[error("checkpoint: membership: {0}")]
    Membership(WireError),
}

/// The machine and the membership that a checkpoint's objects are.
pub(crate) fn rebuild<R: Runtime>(
    shard: ShardId,
    objects: &Objects,
) -> Result<(Machine, StoredMembership<R>), RestoreError> {
    let membership = match objects.get(&MEMBERSHIP_KEY[..]) {
        Some(bytes) => decode_stored::<R>(bytes).map_err(RestoreError::Membership)?,
        None => StoredMembership::<R>::default(),
    };
    let objects = objects.iter().filter(|(key, _)| **key != MEMBERSHIP_KEY);
    let machine = Machine::restore(shard, objects.map(|(key, value)| (key.as_slice(), value.as_slice())))?;
    Ok((machine, membership))
}

/// Passes a known fault on to the machine, in builds that have any.
pub(crate) fn switch_faults_on(journal: &Journal, machine: &mut Machine) {
    #[cfg(feature = "canary")]
    {
        use journal::canary::Fault;
        use machine::canary::Canary;
        if journal.faulty(Fault::HashMapIteration) {
            machine.iterate_over_hash_maps();
        }
        let known = [
            (Fault::UnfencedMove, Canary::UnfencedMove),
            (Fault::ForgetfulMove, Canary::ForgetfulMove),
            (Fault::TrimTooFar, Canary::TrimTooFar),
            (Fault::UnfencedProducer, Canary::UnfencedProducer),
        ];
        if let Some((_, canary)) = known.into_iter().find(|(fault, _)| journal.faulty(*fault)) {
            machine.switch_on(canary);
        }
    }
    #[cfg(not(feature = "canary"))]
    let _ = (journal, machine);
}

pub(crate) fn decode_stored<R: Runtime>(bytes: &[u8]) -> Result<StoredMembership<R>, WireError> {
    let mut input = Input::new(bytes);
    let at = LogPosition::take(&mut input)?;
    let membership = take_membership(&mut input)?;
    input.end()?;
    Ok(StoredMembership::<R>::new(log_id::<R>(at), membership))
}

pub(crate) fn encode_stored<R: Runtime>(stored: &StoredMembership<R>) -> Vec<u8> {
    let mut bytes = stored.log_id().as_ref().map(position::<R>).unwrap_or_default().to_wire();
    bytes.extend_from_slice(&encode_membership(stored.membership()));
    bytes
}

impl<R: Runtime> Replica<R> {
    /// Rebuilds the replica from the journal's checkpoint. Blocks on the disk.
    pub(crate) fn restore(me: NodeId, environment: Environment, journal: Arc<Journal>) -> Result<Self, RestoreError> {
        let shard = journal.shard();
        let (at, objects) = journal.read_checkpoint()?;
        let (mut machine, membership) = rebuild::<R>(shard, &objects)?;
        switch_faults_on(&journal, &mut machine);
        let purges = Arc::new(Purges::new(journal.clone(), environment.upkeep.purge_delay));
        let mut skips = BTreeSet::new();
        for Skip { index, decided, reason } in journal.skips()? {
            tracing::warn!(%shard, index, decided = decided.0, reason, "this entry is skipped");
            skips.insert(index);
        }
        Ok(Replica {
            me,
            shard,
            environment,
            journal,
            purges,
            machine: RwLock::new(machine),
            saved: Mutex::new((at, membership.clone())),
            applied: Mutex::new(AppliedState { at, membership }),
            skips: Arc::new(skips),
            progress: tokio::sync::Notify::new(),
            shrank: AtomicBool::new(true),
            is_taking_over: AtomicBool::new(false),
            clock_offset: AtomicI64::new(0),
            wrong_clocks: Mutex::default(),
            heard: Mutex::default(),
            hearing: Mutex::default(),
            handed_over_in: AtomicU64::new(0),
            unsaved: Mutex::default(),
            leases: Leases::default(),
            pulls: Pulls::default(),
            permits: tokio::sync::Mutex::default(),
        })
    }

    /// Tells the journal whether other replicas have what this one has: not those that only follow it, which may
    /// have nothing yet; but what one that only follows has came from those that vote.
    pub(crate) fn note_replicated(&self) {
        let members = Membership::of(self.applied.lock().membership.membership());
        self.journal.set_replicated(members.others_vote(self.me));
    }

    /// Takes what changed since the last checkpoint, in memory only. Called between two entries.
    /// With `all`, everything there is.
    pub(crate) fn take_changes(&self, all: bool) -> (LogPosition, StoredMembership<R>) {
        let (at, membership) = {
            let applied = self.applied.lock();
            (applied.at, applied.membership.clone())
        };
        let changes = {
            let mut machine = self.machine.write();
            if all { machine.take_all() } else { machine.take_changes() }
        };
        self.unsaved.lock().extend(changes);
        (at, membership)
    }

    /// The unsaved changes as bytes, with the membership they go with.
    pub(crate) fn unsaved_bytes(&self, membership: &StoredMembership<R>) -> Changes {
        let unsaved: Vec<_> = self.unsaved.lock().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut changes: Changes = vec![(MEMBERSHIP_KEY.to_vec(), Some(encode_stored::<R>(membership)))];
        changes.extend(unsaved.into_iter().map(|(key, value)| (key, value.map(|value| value.bytes()))));
        changes
    }

    /// Returns when everything appended so far is on stable storage; `false` when the journal stops.
    pub(crate) async fn flushed(&self) -> bool {
        flushed(&self.journal).await
    }
}

/// Returns when everything appended so far is on stable storage; `false` when the journal stops.
pub(crate) async fn flushed(journal: &Journal) -> bool {
    let (done, wait) = futures::channel::oneshot::channel();
    journal.flush(Box::new(move || {
        let _ = done.send(());
    }));
    wait.await.is_ok()
}
