//! Taking a snapshot that another replica offers: a task of its own, which is asked how far it is.
//!
//! It goes on as long as it is asked about, whatever that takes, and nothing waits for it: entries are applied
//! and served meanwhile. What has come is kept ([`journal::parts`]), so a pull that ends early is gone on with by the
//! next. Of a replica's pulls one runs at a time, and of a node's shards one and the catalog, all of them within the
//! node's bandwidth (`bandwidth`). How a part is pulled is in `part`.

mod part;

use crate::raft::{Raft, Runtime, Vote};
use crate::replica::{Replica, rebuild};
use crate::rpc::Progress;
use crate::snapshot::snapshot;
use crate::store::{decode_vote, encode_vote};
use bytes::Bytes;
use journal::checkpoint::CheckpointError;
use journal::install::{OfferKey, Part, SnapshotOffer};
use model::wire::WireError;
use model::{NodeId, ShardId};
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// A pull that nobody has asked about for so long ends. Its parts are kept.
const UNASKED_MAX: Duration = Duration::from_secs(60);
/// How long a disk that did not take a part is left alone.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// Whoever waits looks so often whether it shall still.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So often it is looked for useless parts in the time that they are kept.
const USELESS_LOOKS: u32 = 8;

/// How far a replica is with a snapshot that it copies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// So many are here...
    pub pulled: u64,
    /// ... of so many.
    pub of: u64,
}

/// The pulls of a replica.
pub(crate) struct Pulls<R: Runtime> {
    latest: Mutex<Option<Arc<Pull<R>>>>,
    /// Held by the one that writes parts.
    writing: tokio::sync::Mutex<()>,
    useless: Mutex<Useless<R>>,
}

/// Parts that are here and that nobody asks for.
struct Useless<R: Runtime> {
    /// When it was last looked for them.
    looked: R::Instant,
    /// Since when there are some.
    since: Option<R::Instant>,
}

impl<R: Runtime> Default for Pulls<R> {
    fn default() -> Self {
        Pulls {
            latest: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            useless: Mutex::new(Useless { looked: R::Instant::now(), since: None }),
        }
    }
}

/// What a pull is asked about.
struct Asked<R: Runtime> {
    /// By a leader with this vote.
    vote: Bytes,
    at: R::Instant,
}

/// A pull.
struct Pull<R: Runtime> {
    from: NodeId,
    key: OfferKey,
    offer: Arc<SnapshotOffer>,
    /// How much there is, and how much of it is here.
    of: u64,
    pulled: AtomicU64,
    asked: Mutex<Asked<R>>,
    /// Something else is offered.
    replaced: AtomicBool,
    outcome: Mutex<Option<Progress>>,
}

/// Why a pull came to nothing.
struct Failure {
    why: String,
    /// A part that is damaged where it comes from.
    damaged: Option<Part>,
}

/// What came of pulling parts.
enum Pulled {
    /// They are here.
    Whole,
    /// The disk is full: not yet.
    NoSpace,
}

/// Why a pull does not go on.
enum Stop {
    /// What it would bring has come otherwise.
    Overtaken,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

fn failed(why: impl ToString) -> Failure {
    Failure { why: why.to_string(), damaged: None }
}

fn node_stops() -> Stop {
    failed("the node stops").into()
}

/// What is answered to a leader whose time is over: the vote it has to give way to.
fn superseded<R: Runtime>(raft: &Raft<R>, vote: &[u8]) -> Result<Option<Progress>, WireError> {
    let theirs: Vote<R> = decode_vote::<R>(vote)?;
    let metrics = raft.server_metrics();
    let ours = metrics.borrow_watched().vote;
    let over = ours.leader_id.term > theirs.leader_id.term;
    Ok(over.then(|| Progress::Installed { vote: encode_vote::<R>(&ours) }))
}

/// Begins to pull what a leader offers, or goes on with it.
pub(crate) fn begin<R: Runtime>(
    raft: &Raft<R>,
    replica: &Arc<Replica<R>>,
    from: NodeId,
    vote: Bytes,
    offer: SnapshotOffer,
) -> Result<Progress, WireError> {
    if let Some(over) = superseded(raft, &vote)? {
        return Ok(over);
    }
    let key = offer.key();
    let mut latest = replica.pulls.latest.lock();
    if let Some(pull) = &*latest {
        if pull.key == key && !pull.has_failed() {
            return Ok(pull.progress(vote));
        }
        pull.replaced.store(true, Relaxed);
    }
    let now = R::Instant::now();
    let pull = Arc::new(Pull {
        from,
        key,
        of: offer.bytes(),
        offer: Arc::new(offer),
        pulled: AtomicU64::new(0),
        asked: Mutex::new(Asked { vote: vote.clone(), at: now }),
        replaced: AtomicBool::new(false),
        outcome: Mutex::default(),
    });
    *latest = Some(pull.clone());
    let progress = pull.progress(vote);
    drop(latest);
    let (at, bytes) = (key.at.index, pull.of);
    tracing::info!(shard = %replica.shard, %from, at, bytes, "pulling a snapshot");
    drop(R::spawn(run(raft.clone(), replica.clone(), pull)));
    Ok(progress)
}

/// How far the pull of what a leader offered is.
pub(crate) fn look<R: Runtime>(
    raft: &Raft<R>,
    replica: &Replica<R>,
    vote: Bytes,
    offered: OfferKey,
) -> Result<Progress, WireError> {
    if let Some(over) = superseded(raft, &vote)? {
        return Ok(over);
    }
    let latest = replica.pulls.latest.lock();
    Ok(match &*latest {
        Some(pull) if pull.key == offered => pull.progress(vote),
        _ => Progress::Unknown,
    })
}

async fn run<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, pull: Arc<Pull<R>>) {
    let writing = replica.pulls.writing.lock().await;
    let outcome = match pull.carry_out(&raft, &replica).await {
        Ok(vote) => {
            tracing::info!(shard = %replica.shard, at = pull.key.at.index, "the snapshot is done with");
            Progress::Installed { vote: encode_vote::<R>(&vote) }
        }
        Err(Failure { why, damaged }) => {
            let pulled = pull.pulled.load(Relaxed);
            tracing::warn!(shard = %replica.shard, from = %pull.from, pulled, of = pull.of, why, "the snapshot is not pulled now");
            Progress::Failed { why, damaged }
        }
    };
    *pull.outcome.lock() = Some(outcome);
    drop(writing);
}

impl<R: Runtime> Pulls<R> {
    /// How far the one is that goes on, if one does.
    pub(crate) fn copying(&self) -> Option<Copying> {
        let latest = self.latest.lock();
        latest.as_ref().filter(|pull| pull.outcome.lock().is_none()).map(|pull| pull.copying())
    }
}

impl<R: Runtime> Replica<R> {
    /// Forgets pulls that are over, and removes parts that nobody has asked for in a while. While a pull runs, it does
    /// that.
    pub(crate) async fn tidy_pulls(&self) {
        let is_over = |pull: &Arc<Pull<R>>| pull.outcome.lock().is_some() && pull.is_unasked();
        drop(self.pulls.latest.lock().take_if(|pull| is_over(pull)));
        if self.journal.kept_parts() > 0
            && let Ok(_writing) = self.pulls.writing.try_lock()
        {
            self.discard_old_parts(None).await;
        }
    }

    /// Removes what was of no use to `offer` and others for a while. Of whoever holds [`Pulls::writing`].
    async fn discard_old_parts(&self, offer: Option<&Arc<SnapshotOffer>>) {
        let (now, kept) = (R::Instant::now(), self.environment.catch_up.parts_kept);
        {
            let mut useless = self.pulls.useless.lock();
            if now < useless.looked + kept / USELESS_LOOKS {
                return;
            }
            useless.looked = now;
            let some = self.journal.count_useless_parts(offer.map(|offer| &**offer)) > 0;
            useless.since = some.then(|| useless.since.unwrap_or(now));
            if useless.since.is_none_or(|since| now < since + kept) {
                return;
            }
        }
        self.discard_parts(offer.cloned()).await;
    }

    async fn discard_parts(&self, but: Option<Arc<SnapshotOffer>>) {
        let journal = self.journal.clone();
        let gone = self.environment.blocking(move || journal.discard_parts(but.as_deref())).await;
        if let Some(parts @ 1..) = gone {
            tracing::info!(shard = %self.shard, parts, "parts of snapshots that nobody needs are gone");
        }
    }
}

/// Whether it may be read the next time.
fn is_passing(error: &CheckpointError) -> bool {
    use io::ErrorKind::{NotFound, UnexpectedEof};
    matches!(error, CheckpointError::Io(error) if !matches!(error.kind(), NotFound | UnexpectedEof))
}

impl<R: Runtime> Pull<R> {
    fn has_failed(&self) -> bool {
        matches!(*self.outcome.lock(), Some(Progress::Failed { .. }))
    }

    /// A leader with this vote asks.
    fn progress(&self, vote: Bytes) -> Progress {
        *self.asked.lock() = Asked { vote, at: R::Instant::now() };
        let pulling = || {
            let Copying { pulled, of } = self.copying();
            Progress::Pulling { pulled, of }
        };
        self.outcome.lock().clone().unwrap_or_else(pulling)
    }

    fn copying(&self) -> Copying {
        Copying { pulled: self.pulled.load(Relaxed), of: self.of }
    }

    fn is_unasked(&self) -> bool {
        self.asked.lock().at + UNASKED_MAX < R::Instant::now()
    }

    /// Whether it shall go on.
    fn look(&self, replica: &Replica<R>) -> Result<(), Stop> {
        if replica.journal.is_stopping() {
            return Err(node_stops());
        }
        if self.replaced.load(Relaxed) {
            return Err(failed("another snapshot is offered").into());
        }
        if self.is_unasked() {
            return Err(failed("nobody asks about it any more").into());
        }
        if replica.applied.lock().at >= self.offer.manifest.at {
            return Err(Stop::Overtaken);
        }
        Ok(())
    }

    async fn carry_out(&self, raft: &Raft<R>, replica: &Arc<Replica<R>>) -> Result<Vote<R>, Failure> {
        // What is here already is not pulled, and must still be here when the snapshot is installed.
        let files: Vec<_> = self.offer.manifest.files.iter().map(|file| file.id).collect();
        replica.journal.pin(files.iter().copied());
        let done = self.pull_and_install(raft, replica).await;
        replica.journal.unpin(files);
        let vote = match done {
            Err(Stop::Overtaken) => {
                let membership = replica.applied.lock().membership.clone();
                let nothing = snapshot::<R>(self.offer.manifest.at, membership, None);
                self.hand_to_raft(raft, nothing).await?
            }
            Err(Stop::Failed(failure)) => return Err(failure),
            Ok(vote) => vote,
        };
        // Whoever is told that it is installed never asks again. A leader that came meanwhile may offer the same files.
        if replica.applied.lock().at < self.offer.manifest.at {
            return Err(failed("another leader has come"));
        }
        replica.discard_parts(None).await;
        Ok(vote)
    }

    async fn pull_and_install(&self, raft: &Raft<R>, replica: &Arc<Replica<R>>) -> Result<Vote<R>, Stop> {
        // Whoever has the turn may need the space.
        let (journal, offer) = (replica.journal.clone(), self.offer.clone());
        replica.environment.blocking(move || journal.trim_parts(&offer)).await;
        loop {
            let turn = self.turn(replica).await?;
            if let Pulled::NoSpace = self.pull_parts(replica).await? {
                // It may be taken by parts of another shard, which become files, and then make others useless, only
                // when that has its turn.
                drop(turn);
                R::sleep(DISK_RETRY).await;
                continue;
            }
            let (journal, offer) = (replica.journal.clone(), self.offer.clone());
            let read = replica.environment.blocking(move || journal.read_pulled(&offer)).await;
            let objects = match read.ok_or_else(node_stops)? {
                Ok(objects) => objects,
                Err(error) => {
                    tracing::warn!(shard = %replica.shard, %error, "a pulled checkpoint cannot be read");
                    if !is_passing(&error) {
                        let (journal, offer) = (replica.journal.clone(), self.offer.clone());
                        replica.environment.blocking(move || journal.drop_unusable_parts(&offer)).await;
                    }
                    R::sleep(DISK_RETRY).await;
                    continue;
                }
            };
            drop(turn);
            let (_, membership) = rebuild::<R>(replica.shard, &objects).map_err(failed)?;
            let pulled = snapshot::<R>(self.offer.manifest.at, membership, Some(self.offer.clone()));
            return self.hand_to_raft(raft, pulled).await.map_err(Stop::from);
        }
    }

    async fn hand_to_raft(
        &self,
        raft: &Raft<R>,
        snapshot: openraft::alias::SnapshotOf<crate::raft::Types<R>, crate::snapshot::Snapshot>,
    ) -> Result<Vote<R>, Failure> {
        let vote = decode_vote::<R>(&self.asked.lock().vote).map_err(failed)?;
        let response = raft.install_full_snapshot(vote, snapshot).await.map_err(failed)?;
        Ok(response.vote)
    }

    /// Waits until no other shard of this node pulls. The catalog does not: it is small, and what is pulled for others
    /// may take hours.
    async fn turn(&self, replica: &Replica<R>) -> Result<Option<OwnedSemaphorePermit>, Stop> {
        if replica.shard == ShardId::CATALOG {
            return Ok(None);
        }
        let mut turn = Box::pin(replica.environment.catch_up.turn.clone().acquire_owned());
        loop {
            self.look(replica)?;
            replica.discard_old_parts(Some(&self.offer)).await;
            if let Ok(turn) = R::timeout(LOOK_INTERVAL, &mut turn).await {
                return turn.map(Some).map_err(|_| node_stops());
            }
        }
    }

    async fn pull_parts(&self, replica: &Arc<Replica<R>>) -> Result<Pulled, Stop> {
        let mut before = 0;
        for wanted in self.offer.wanted() {
            self.pulled.store(before, Relaxed);
            replica.discard_old_parts(Some(&self.offer)).await;
            let wanted = Arc::new(wanted);
            if let Pulled::NoSpace = self.pull_part(replica, &wanted, before).await? {
                return Ok(Pulled::NoSpace);
            }
            before = before.saturating_add(wanted.length);
        }
        self.pulled.store(before, Relaxed);
        Ok(Pulled::Whole)
    }
}
