//! Handing a snapshot out: offering it, asking how far the other one is, and keeping its files meanwhile.
//!
//! The other one pulls; however long that takes, it is only asked about. It may be cut off, or start again, and
//! find what it needs here when it comes back: files stay as they are for a while after it was last heard of.

use crate::pull::Copying;
use crate::raft::Runtime;
use crate::replica::Replica;
use crate::rpc::{self, Progress, Question};
use crate::transport::Lane;
use bytes::Bytes;
use journal::Damage;
use journal::install::{Hold, Part, SnapshotOffer};
use model::NodeId;
use model::wire::Wire;
use openraft::Instant;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long one question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After so many questions in a row without an answer, the snapshot is offered anew.
const LOST_MAX: u32 = 3;
/// The pause before the next question; doubles up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What is kept for whom.
pub(crate) struct Leases<R: Runtime>(Mutex<BTreeMap<NodeId, Lease<R>>>);

struct Lease<R: Runtime> {
    _hold: Arc<Hold>,
    /// When that one was last heard of, and how far it was.
    heard: R::Instant,
    copying: Copying,
}

impl<R: Runtime> Default for Leases<R> {
    fn default() -> Self {
        Leases(Mutex::default())
    }
}

impl<R: Runtime> Leases<R> {
    fn renew(&self, whose: NodeId, hold: &Arc<Hold>, copying: Copying) {
        self.0.lock().insert(whose, Lease { _hold: hold.clone(), heard: R::Instant::now(), copying });
    }

    fn end(&self, whose: NodeId) {
        self.0.lock().remove(&whose);
    }

    /// Lets go of what nobody has asked for in a while.
    pub(crate) fn end_old(&self, grace: Duration) {
        let now = R::Instant::now();
        self.0.lock().retain(|_, lease| now < lease.heard + grace);
    }

    /// How far those are who copy from here.
    pub(crate) fn copying(&self) -> BTreeMap<NodeId, Copying> {
        self.0.lock().iter().map(|(node, lease)| (*node, lease.copying)).collect()
    }
}

/// Offers a snapshot to a replica, and returns when it is installed there: that one's vote.
///
/// # Errors
/// Why it is not; what was pulled is kept there for the next offer.
pub(crate) async fn hand_out<R: Runtime>(
    replica: Arc<Replica<R>>,
    to: NodeId,
    vote: Bytes,
    offer: SnapshotOffer,
) -> io::Result<Bytes> {
    let (journal, manifest) = (replica.journal.clone(), offer.manifest.clone());
    let held = replica.environment.blocking(move || journal.hold(&manifest)).await;
    // For one that never answers nothing is kept beyond this call.
    let hold = Arc::new(held.ok_or_else(|| io::Error::other("the node stops"))??);
    let again = Question::Installing { vote: vote.clone(), offered: offer.key() };
    let whole = Question::Install { vote, offer };
    let (mut known, mut lost, mut pause) = (false, 0, PAUSE_MIN);
    loop {
        // What names every file may be long.
        let (question, lane) = if known { (&again, Lane::Control) } else { (&whole, Lane::Bulk) };
        let request = rpc::encode_question(question);
        let sent = replica.environment.transport.call(to, replica.shard, lane, request);
        let answer = match R::timeout(ANSWER_TIMEOUT, sent).await {
            Ok(Ok(answer)) => Some(Progress::from_wire(&answer).map_err(io::Error::other)?),
            Ok(Err(error)) => {
                tracing::debug!(shard = %replica.shard, %to, %error, "no word of the snapshot");
                None
            }
            Err(_) => None,
        };
        match answer {
            Some(Progress::Installed { vote }) => {
                replica.leases.end(to);
                return Ok(vote);
            }
            Some(Progress::Failed { why, damaged }) => {
                if let Some(part) = damaged {
                    tracing::error!(shard = %replica.shard, %to, ?part, "a snapshot's part is damaged here");
                    // What is lent is not mended.
                    replica.leases.end(to);
                    if let Part::File { id, .. } = part {
                        replica.journal.note_damage(Damage::Table { file: id });
                    }
                }
                return Err(io::Error::other(why));
            }
            Some(Progress::Pulling { pulled, of }) => {
                replica.leases.renew(to, &hold, Copying { pulled, of });
                (known, lost) = (true, 0);
            }
            Some(Progress::Unknown) if known => (known, lost) = (false, 0),
            Some(Progress::Unknown) | None => lost += 1,
        }
        if lost == LOST_MAX {
            return Err(io::Error::other("no answer to the offer of a snapshot"));
        }
        R::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
