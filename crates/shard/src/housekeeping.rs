//! What a replica does for itself: finishing files, checkpoints, retention, giving space back.
//!
//! Nobody waits for it, and whatever fails is tried again. Retention is the leader's: it reads the
//! journal to find out what has expired and proposes where the stream shall start; only that entry
//! makes anything dead.

use crate::compaction::{Compaction, Pass};
use crate::door::WeakDoor;
use crate::liveness::MachineLiveness;
use crate::raft::{Raft, Runtime, leading};
use crate::repair::{Missing, note_missing};
use crate::replica::Replica;
use crate::retention::expired;
use crate::skew;
use crate::store::{from_raft, to_raft};
use journal::scrub::ScrubCursor;
use machine::Command;
use model::{NodeId, limit};
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often a replica looks after itself.
const INTERVAL: Duration = Duration::from_millis(250);
/// At most so many entries that a checkpoint covers stay in the Raft log.
const LOG_KEPT_ENTRIES: u64 = 1024;
/// Checking files for what died may take this share of the time: one part in so many.
const RECLAIM_SHARE: u32 = 10;
/// How often streams are looked through for what has expired.
const RETENTION_INTERVAL: Duration = Duration::from_secs(10);
/// How often damage that could not be mended is tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(1);
/// The scrubber reads a little so often...
const SCRUB_INTERVAL: Duration = Duration::from_secs(1);
/// ... at least so much, or what the journal's period asks for...
const SCRUB_BYTES_MIN: u64 = limit::MIB as u64;
/// ... beginning so long after the start.
const SCRUB_DELAY: Duration = Duration::from_secs(10);
/// How long a checkpoint may take before somebody who waits for it goes on: a full disk refuses it
/// until what comes after it has given space back.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Housekeeping<R: Runtime> {
    raft: Raft<R>,
    replica: Arc<Replica<R>>,
    door: WeakDoor,
    logged_at_checkpoint: u64,
    logged_at_reclaim: u64,
    /// What the checkpoint covered when the log was last purged.
    purged_under: u64,
    next_reclaim: R::Instant,
    /// Files that others copied, or this replica needed for a copy, when it was last looked.
    pinned: usize,
    next_retention: R::Instant,
    next_compaction: R::Instant,
    compaction: Compaction,
    /// Compaction waits for files to be finished, and for the Raft log to let go of them.
    compaction_waits: bool,
    next_mend: R::Instant,
    /// What was lost with entries was looked for since the start.
    looked_for_missing: bool,
    /// Rounds of mending so far.
    mends: usize,
    next_scrub: R::Instant,
    scrub_cursor: ScrubCursor,
}

impl<R: Runtime> Housekeeping<R> {
    pub(crate) fn new(raft: Raft<R>, replica: Arc<Replica<R>>, door: WeakDoor) -> Self {
        let now = R::Instant::now();
        let scrub_cursor = replica.journal.scrub_cursor();
        let compaction = Compaction::new(&replica.journal);
        let next_compaction = now + replica.environment.upkeep.compaction_interval;
        Housekeeping {
            raft,
            replica,
            door,
            logged_at_checkpoint: 0,
            logged_at_reclaim: 0,
            purged_under: 0,
            next_reclaim: now,
            pinned: 0,
            next_retention: now + RETENTION_INTERVAL,
            next_compaction,
            compaction,
            compaction_waits: false,
            next_mend: now,
            mends: 0,
            looked_for_missing: false,
            // Not while the node starts.
            next_scrub: now + SCRUB_DELAY,
            scrub_cursor,
        }
    }

    pub(crate) async fn run(mut self) {
        while !self.replica.journal.is_stopping() {
            R::sleep(INTERVAL).await;
            self.mend().await;
            self.finish_files().await;
            self.replica.leases.end_old(self.replica.environment.catch_up.lease);
            self.replica.tidy_pulls().await;
            self.scrub_if_due().await;
            self.checkpoint_if_due().await;
            self.purge_if_due().await;
            self.reclaim_if_due().await;
            self.compact_if_due().await;
            if leading(&self.raft).is_ok() {
                self.tick_if_due().await;
                self.retain_if_due().await;
            }
        }
    }

    /// Runs `work` where it may block; says what went wrong.
    async fn blocking<E: std::fmt::Display + Send + 'static, T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Option<T> {
        match self.replica.environment.blocking(work).await? {
            Ok(done) => Some(done),
            // Of a replica that was given up, the folder may be gone.
            Err(error) if self.replica.journal.is_stopping() => {
                tracing::debug!(shard = %self.replica.shard, %error, what, "left undone");
                None
            }
            Err(error) => {
                tracing::warn!(shard = %self.replica.shard, %error, what, "will be tried again");
                None
            }
        }
    }

    /// Notes what recovery found lost, once the machine can say what of it is wanted, and mends what is
    /// damaged.
    async fn mend(&mut self) {
        let journal = &self.replica.journal;
        let (peers, committed) = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let me = *self.raft.node_id();
            let others = metrics.membership_config.nodes().map(|(id, ())| *id).filter(|id| *id != me);
            (others.map(NodeId).collect::<Vec<_>>(), journal.committed().min(journal.last().index))
        };
        // Again only when what was found the last time is mended.
        let due = !self.looked_for_missing || journal.damage().is_empty();
        if due && !journal.lost_entries().is_empty() && journal.applied() >= committed {
            let replica = self.replica.clone();
            let looked = move || match note_missing(&replica)? {
                Missing::Nothing => replica.journal.forget_lost_entries(),
                Missing::Noted | Missing::MoreThanFit => Ok(()),
            };
            self.looked_for_missing = true;
            self.blocking("looking for what was lost", looked).await;
        }
        if !self.replica.journal.damage().is_empty() && R::Instant::now() >= self.next_mend {
            crate::repair::mend(&self.replica, &peers, self.mends).await;
            self.mends = self.mends.wrapping_add(1);
            self.next_mend = R::Instant::now() + MEND_INTERVAL;
        }
    }

    /// Reads a little of every file, so that all of them have been read within the journal's period.
    async fn scrub_if_due(&mut self) {
        let now = R::Instant::now();
        if now < self.next_scrub {
            return;
        }
        let journal = self.replica.journal.clone();
        let period = journal.scrub_period();
        // A pass takes half of the period at most, so that restarts and new files do no harm.
        let steps = (period.as_millis() / 2 / SCRUB_INTERVAL.as_millis()).max(1);
        let step_bytes = (journal.disk_bytes() / steps as u64).max(SCRUB_BYTES_MIN);
        let mut cursor = self.scrub_cursor;
        let scrubbed = self.replica.environment.blocking(move || {
            let over = journal.scrub(&mut cursor, step_bytes);
            (cursor, over)
        });
        let Some((cursor, over)) = scrubbed.await else { return };
        self.scrub_cursor = cursor;
        self.next_scrub = now + if over { period / 2 } else { SCRUB_INTERVAL };
    }

    async fn finish_files(&self) {
        let journal = self.replica.journal.clone();
        let work = move || {
            journal.refill_reserve()?;
            journal.remove_leftovers()?;
            journal.write_due_manifest()?;
            while journal.finish_next()? {}
            Ok::<(), std::io::Error>(())
        };
        self.blocking("finishing log files", work).await;
    }

    async fn checkpoint_if_due(&mut self) {
        let logged = self.replica.journal.counters.log_bytes.load(Relaxed);
        let due = logged - self.logged_at_checkpoint >= self.replica.environment.upkeep.checkpoint_log_bytes;
        let waited_for = self.compaction_waits && logged > self.logged_at_checkpoint;
        if !due && !waited_for && !self.replica.journal.wants_base() {
            return;
        }
        self.logged_at_checkpoint = logged;
        checkpoint(&self.raft, &self.replica).await;
        let journal = self.replica.journal.clone();
        self.blocking("merging the checkpoint", move || journal.merge_checkpoint()).await;
    }

    /// Moves the Raft log's floor: not above the checkpoint, and with other replicas leaving them
    /// something to catch up from.
    async fn purge_if_due(&mut self) {
        if self.replica.purges.carry_out() {
            // What only the log needed can be given back.
            self.replica.shrank.store(true, Relaxed);
        }
        // As openraft knows, a moment later than the journal: it purges no further, and would not be asked again.
        let covered = self.raft.metrics().borrow_watched().snapshot.map_or(0, |id| from_raft(id.index()));
        if covered == self.purged_under {
            return;
        }
        self.purged_under = covered;
        let alone = self.raft.server_metrics().borrow_watched().membership_config.nodes().count() <= 1;
        let kept = if alone {
            u64::MAX
        } else {
            self.replica.journal.index_keeping(self.replica.environment.upkeep.log_kept_bytes)
        };
        let upto = covered.min(kept.saturating_sub(1)).max(covered.saturating_sub(LOG_KEPT_ENTRIES));
        if upto > self.replica.journal.floor().index {
            let _ = self.raft.trigger().purge_log(to_raft(upto)).await;
        }
    }

    async fn reclaim_if_due(&mut self) {
        let started = R::Instant::now();
        if started < self.next_reclaim {
            return;
        }
        // What only a copy needed can be given back.
        let pinned = self.replica.journal.pinned();
        if std::mem::replace(&mut self.pinned, pinned) > pinned {
            self.replica.shrank.store(true, Relaxed);
        }
        let logged = self.replica.journal.counters.log_bytes.load(Relaxed);
        let grown = logged - self.logged_at_reclaim >= self.replica.environment.upkeep.checkpoint_log_bytes;
        if !self.replica.shrank.swap(false, Relaxed) && !grown {
            return;
        }
        self.logged_at_reclaim = logged;
        let replica = self.replica.clone();
        let plan = move || replica.journal.plan_reclaim(&MachineLiveness(&replica.machine));
        let planned = self.blocking("checking what is alive", plan).await;
        let mut took = R::Instant::now() - started;
        let mut done = planned.is_some();
        // What the plan rests on must be on stable storage before anything is removed. A full disk
        // makes that wait long, which is no work.
        if let Some(plan) = planned.filter(|plan| !plan.is_empty())
            && self.replica.flushed().await
        {
            let resumed = R::Instant::now();
            let journal = self.replica.journal.clone();
            let freed = self.blocking("giving space back", move || journal.reclaim(plan)).await;
            tracing::debug!(shard = %self.replica.shard, freed, "space given back");
            took += R::Instant::now() - resumed;
            done = freed.is_some();
        }
        if !done {
            self.replica.shrank.store(true, Relaxed);
        }
        self.next_reclaim = R::Instant::now() + took * RECLAIM_SHARE;
    }

    /// Removes records of compacted streams whose keys have later ones.
    async fn compact_if_due(&mut self) {
        let started = R::Instant::now();
        if started < self.next_compaction {
            return;
        }
        self.next_compaction = started + self.replica.environment.upkeep.compaction_interval;
        let now = (self.replica.environment.wall)();
        let due = self.compaction.due(&self.replica, now);
        if due.is_empty() {
            self.compaction_waits = false;
            return;
        }
        // Keys take much memory.
        let turns = self.replica.environment.turns.clone();
        let Ok(_turn) = turns.acquire().await else { return };
        let replica = self.replica.clone();
        let plan = move || Pass::plan(&replica, due, now);
        let Some(mut pass) = self.blocking("looking for what was overwritten", plan).await else { return };
        self.compaction_waits = pass.waits;
        if pass.waits {
            self.replica.journal.roll();
            // The next entry begins another file, and there may not be one for long.
            if leading(&self.raft).is_ok()
                && let Some(door) = self.door.upgrade()
            {
                let _ = door.command(Command::Tick).await;
            }
        }
        // A record goes only for one that is on stable storage.
        if self.replica.flushed().await {
            let replica = self.replica.clone();
            let carry_out = move || pass.carry_out(&replica).map(|freed| (freed, pass));
            if let Some((freed, pass)) = self.blocking("compaction", carry_out).await {
                tracing::debug!(shard = %self.replica.shard, freed, "compacted");
                let journal = self.replica.journal.clone();
                let (kept, installs) = (self.compaction.note(&pass, journal.installs()), pass.installs);
                self.blocking("remembering compaction", move || journal.keep_compacted(&kept, installs)).await;
                self.replica.shrank.store(true, Relaxed);
            }
        }
        let took = R::Instant::now() - started;
        self.next_compaction = self.next_compaction.max(R::Instant::now() + took * RECLAIM_SHARE);
    }

    /// What expires without anybody touching it needs an entry to do so.
    async fn tick_if_due(&self) {
        let due = self.replica.machine.read().next_deadline();
        if due.is_some_and(|due| due <= (self.replica.environment.wall)())
            && let Some(door) = self.door.upgrade()
        {
            let _ = door.command(Command::Tick).await;
        }
    }

    async fn retain_if_due(&mut self) {
        if R::Instant::now() < self.next_retention {
            return;
        }
        self.next_retention = R::Instant::now() + RETENTION_INTERVAL;
        let now = (self.replica.environment.wall)();
        let replica = self.replica.clone();
        let work = move || expired(&replica.journal, &replica.machine, now);
        let Some(trims) = self.blocking("retention", work).await else { return };
        // One that has just jumped ahead lets everything expire, and what is trimmed does not come back.
        if trims.is_empty() || !skew::agrees(&self.raft, &self.replica).await {
            return;
        }
        for (stream, to) in trims {
            let Some(door) = self.door.upgrade() else { return };
            let _ = door.command(Command::Trim { stream, to }).await;
        }
    }
}

/// Writes a checkpoint of what is applied now, and waits for it.
pub(crate) async fn checkpoint<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) {
    let at = replica.applied.lock().at.index;
    let wanted = replica.journal.checkpoint_at().index < at || replica.journal.wants_base();
    if !wanted || raft.trigger().snapshot().await.is_err() {
        return;
    }
    let written = |metrics: &openraft::RaftMetrics<_>| {
        metrics.snapshot.is_some_and(|id| from_raft(id.index()) >= at) || metrics.running_state.is_err()
    };
    let _ = raft.wait(Some(CHECKPOINT_TIMEOUT)).metrics(written, "checkpoint").await;
}
