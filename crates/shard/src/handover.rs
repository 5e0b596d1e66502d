//! Handing leadership to another replica.
//!
//! openraft's leader proposes nothing from the moment it hands over until somebody else leads. So it is
//! asked only when the other one can take over: it answers, it is not in doubt, its disk has room, and it is not
//! ourselves.
//!
//! Yet the other one may fail at that very moment, and when nobody else can stand for election, because
//! too many are in doubt, the leader would remain one that proposes nothing. openraft has no way back. So
//! the leader gives its vote to the one it handed to, for the next term, as if that one had asked for it:
//! then it is a follower like others, and stands for election when nobody leads. A vote that nobody hears
//! of elects nobody, and it is kept as any other.

use crate::batcher::Pending;
use crate::doubt;
use crate::leadership::last_heard;
use crate::membership::MembershipError;
use crate::raft::{Raft, Runtime, Vote, leading};
use crate::replica::Replica;
use crate::store::log_id;
use model::NodeId;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::VoteRequest;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The other one leads by then: some elections long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often stepping down is tried.
const INTERVAL: Duration = Duration::from_millis(100);

/// Hands leadership to the one of `heirs` that can take over and has most of the log, one whose clock is wrong only if
/// there is no other, and waits a while until somebody else leads. Returns who does.
///
/// # Errors
/// When this replica does not lead, none of them can take over now, or has not done so yet.
pub(crate) async fn hand_over<R: Runtime>(
    raft: &Raft<R>,
    replica: &Arc<Replica<R>>,
    heirs: &BTreeSet<NodeId>,
) -> Result<NodeId, MembershipError> {
    let term = leading(raft).map_err(MembershipError::NotLeader)?;
    let others = heirs.iter().copied().filter(|heir| *heir != replica.me);
    let asked = others.map(|heir| async move { (doubt::ask(replica, heir, false).await, heir) });
    let answers = futures::future::join_all(asked).await;
    let wrong = replica.wrong_clocks.lock().clone();
    let fit = answers.into_iter().filter_map(|(standing, heir)| {
        let standing = standing.filter(|standing| !standing.in_doubt && standing.has_room)?;
        Some((!wrong.contains(&heir), standing.last, Reverse(heir)))
    });
    let Some((_, _, Reverse(to))) = fit.max() else {
        tracing::warn!(shard = %replica.shard, ?heirs, "leadership stays: no other replica can take over now");
        return Err(MembershipError::Unknown("no other replica can take over now".into()));
    };
    if leading(raft) != Ok(term) {
        return Err(MembershipError::NotLeader(leading(raft).err().flatten()));
    }
    // From now on the other one may lead whenever it wants.
    replica.handed_over_in.store(term, SeqCst);
    let mut metrics = raft.metrics();
    raft.trigger().transfer_leader(to.0).await.map_err(|_| MembershipError::Stopped)?;
    drop(R::spawn(step_down(raft.clone(), replica.clone(), term, to)));
    let taken = async {
        loop {
            match leading(raft) {
                Err(Some(leader)) => return Ok(leader),
                Ok(now) if now != term => return Err(MembershipError::Unknown("it came back".into())),
                Ok(_) | Err(None) => metrics.changed().await.map_err(|_| MembershipError::Stopped)?,
            }
        }
    };
    let taken = R::timeout(PATIENCE, taken).await;
    taken.unwrap_or_else(|_| Err(MembershipError::Unknown(format!("{to} has not taken over yet"))))
}

/// Leads no longer in this term, when the other one has not taken over for a while.
async fn step_down<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, term: u64, to: NodeId) {
    R::sleep(PATIENCE).await;
    while !replica.journal.is_stopping() && leading(&raft) == Ok(term) {
        tracing::warn!(shard = %replica.shard, %to, "the other replica did not take over: this one leads no longer, either");
        if !give_vote(&raft, &replica, term, to).await {
            return;
        }
        R::sleep(INTERVAL).await;
    }
}

/// Gives this replica's vote for the term after the one it leads in to another, as if that one had asked for it.
/// Whether that can be tried again.
async fn give_vote<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>, term: u64, to: NodeId) -> bool {
    let last = log_id::<R>(replica.journal.last());
    let mut request = VoteRequest::new(Vote::<R>::new(term + 1, to.0), last);
    request.leadership_transfer = true;
    raft.vote(request).await.is_ok()
}

/// A leader that most of the others have not confirmed for so long leads no longer.
const UNHEARD: Duration = Duration::from_secs(2);
/// What was proposed by a leader that leads no longer is given up after this: it may yet be applied, or not.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(250);

/// Steps down when most of the others have not been heard for a while. They may have elected somebody else, and
/// clients that still reach this replica would wait here for what does not come to be. So they are told, too, that
/// nobody knows what becomes of what this replica proposed when it led: a new leader that keeps it makes itself heard
/// sooner.
pub(crate) async fn step_down_unheard<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, pending: Arc<Pending>) {
    let (mut led, mut lost) = (None, None);
    while !replica.journal.is_stopping() {
        // Whoever decides alone hears itself.
        let is_alone = raft.server_metrics().borrow_watched().membership_config.voter_ids().count() < 2;
        R::sleep(if is_alone { UNHEARD } else { LOOK }).await;
        let now = R::Instant::now();
        let leads_in = leading(&raft).ok();
        if !pending.has_lost(leads_in) {
            lost = None;
        } else if now >= *lost.get_or_insert(now) + GIVEN_UP_AFTER {
            pending.give_up_lost(leads_in);
            lost = None;
        }
        let Some(term) = leads_in else {
            led = None;
            continue;
        };
        let since = match led {
            Some((known, since)) if known == term => since,
            _ => now,
        };
        led = Some((term, since));
        let (heard, heir) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let others = metrics.membership_config.voter_ids().map(NodeId).find(|node| *node != replica.me);
            let voters = metrics.membership_config.get_joint_config();
            (last_heard(&replica, term, voters).map_or(since, |heard| heard.max(since)), others)
        };
        let Some(heir) = heir.filter(|_| now >= heard + UNHEARD) else { continue };
        tracing::warn!(shard = %replica.shard, term, "most of the others have not been heard: this replica leads no longer");
        if !give_vote(&raft, &replica, term, heir).await {
            return;
        }
    }
}
