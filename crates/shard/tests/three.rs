//! Several replicas in one process, over a network that is made of calls: who leads and may answer, and how
//! the members of a shard change. And what a leader that is cut off may do to what was acknowledged.

#![allow(clippy::disallowed_methods, reason = "real nodes: real threads and the real clock")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "three/cluster.rs"]
mod cluster;

use cluster::{Cluster, STREAM, Setup, append, append_to, append_to_key, content, members, propose, set, values_of};
use journal::canary::Fault;
use machine::command::CommittedOffset;
use machine::{Command, Reply};
use model::config::Cleanup;
use model::{NodeId, Offset, StreamConfig, StreamId};
use shard::{Lane, Membership, MembershipError, ProposeError, Request, Role, Shard, Upkeep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A replica that is no further behind may vote.
const LAG_MAX: u64 = 64;

/// Where each record is that was acknowledged.
type Acknowledged = Vec<(Offset, Vec<u8>)>;

/// Appends to whoever leads until told to stop.
async fn write(shards: Vec<Shard>, stop: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Vec::new();
    for nth in 0u64.. {
        if stop.load(SeqCst) {
            break;
        }
        let value = format!("{nth} {}", "x".repeat(200)).into_bytes();
        for shard in shards.iter().filter(|shard| shard.role() == Role::Leader) {
            match append(shard, &value).await {
                Ok(Reply::Appended { base, .. }) => acknowledged.push((base, value.clone())),
                Err(ProposeError::NotLeader(_) | ProposeError::Unknown) => {}
                other => panic!("{other:?}"),
            }
        }
        tokio::task::yield_now().await;
    }
    acknowledged
}

/// Waits until all have applied what the leader has now, and compares.
async fn all_have(cluster: &Cluster, leader: u64, acknowledged: &Acknowledged) {
    let last = cluster.shard(leader).applied();
    cluster.until("all have applied it", |cluster| cluster.shards().all(|shard| shard.applied() >= last)).await;
    let whole = content(cluster.shard(leader));
    for (Offset(at), value) in acknowledged {
        assert_eq!(whole[*at as usize], *value, "acknowledged at {at}");
    }
    for shard in cluster.shards() {
        assert_eq!(content(shard)[..whole.len()], whole[..]);
    }
}

async fn caught_up(cluster: &Cluster, leader: u64, others: usize) {
    cluster
        .until("they have caught up", |cluster| {
            let lags = cluster.shard(leader).lags();
            lags.len() == others && lags.values().all(|lag| *lag <= LAG_MAX)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_leader_is_asked_only_when_it_has_applied_what_came_before() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    let new = old % 3 + 1;
    let last = cluster.shard(old).applied();
    cluster.until("the stream is there", |cluster| cluster.shard(new).applied() >= last).await;
    let closed = cluster.node(new).gate.close();
    for _ in 0..10 {
        assert!(matches!(append(cluster.shard(old), b"before").await, Ok(Reply::Appended { .. })));
    }
    assert_eq!(cluster.shard(old).hand_over(Some(NodeId(new))).await, Ok(NodeId(new)));
    assert_ne!(cluster.shard(old).role(), Role::Leader);
    let shard = cluster.shard(new);
    cluster.until("it leads", |_| shard.role() == Role::Leader).await;
    assert_eq!(shard.leading(), Err(None), "it has not applied what was acknowledged before");
    assert!(!shard.is_sure_to_lead());
    assert!(content(shard).len() < 10, "the test holds nothing up");
    drop(closed);
    cluster.until("it is ready", |_| shard.leading().is_ok()).await;
    assert_eq!(shard.leading(), Ok(shard.term()));
    assert_eq!(content(shard), vec![b"before".to_vec(); 10]);
    cluster.until("it is sure", |_| shard.is_sure_to_lead()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_nobody_hears_is_not_sure() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    cluster.until("it is sure", |cluster| cluster.shard(old).is_sure_to_lead()).await;
    cluster.net.cut(NodeId(old));
    let shard = cluster.shard(old).clone();
    let waits = tokio::spawn(async move { shard.command(Command::Tick).await });
    cluster.until("it is not sure any more", |cluster| !cluster.shard(old).is_sure_to_lead()).await;
    let leads = |cluster: &Cluster, id: u64| cluster.shard(id).leading().is_ok();
    let another = |cluster: &Cluster| (1..=3).any(|id| id != old && leads(cluster, id));
    cluster.until("another leads", another).await;
    assert!(!cluster.shard(old).is_sure_to_lead());
    // What nobody confirms is not waited for: whoever asks it is told to look elsewhere.
    cluster.until("it leads no longer", |cluster| matches!(cluster.shard(old).role(), Role::Follower(_))).await;
    let told = tokio::time::timeout(Duration::from_secs(20), waits).await.expect("an answer while it is cut off");
    assert_eq!(told.unwrap(), Err(ProposeError::Unknown));
    cluster.net.heal();
    cluster.until("it follows", |cluster| matches!(cluster.shard(old).role(), Role::Follower(Some(_)))).await;
    cluster.stop().await;
}

/// What is in flight when it happens, and what was to follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_for_a_leader_that_nobody_hears_is_told() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    cluster.net.cut(NodeId(old));
    let shard = cluster.shard(old);
    let before = shard.journal().last();
    let first = tokio::spawn({
        let shard = shard.clone();
        async move { append(&shard, b"first").await }
    });
    cluster.until("the first is logged", |_| shard.journal().last() > before).await;
    // They wait behind it, and nobody comes after them.
    let others = (0..5).map(|_| append(shard, b"behind it"));
    let told = futures::future::join_all(others).await;
    assert!(told.iter().all(|told| *told == Err(ProposeError::NotLeader(None))), "{told:?}");
    assert_eq!(first.await.unwrap(), Err(ProposeError::Unknown));
    cluster.stop().await;
}

/// No heartbeat is answered before the next is due, and a vote takes longer than a failover among neighbours.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_are_far_apart_have_a_leader_who_is_sure() {
    const DELAY: Duration = Duration::from_millis(180);
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    cluster.net.delay(DELAY);
    let old = cluster.leader().await;
    let shard = cluster.shard(old);
    assert!(matches!(append(shard, b"far").await, Ok(Reply::Appended { .. })));
    let (term, watched) = (shard.term(), Instant::now());
    while watched.elapsed() < Duration::from_secs(4) {
        assert!(shard.is_sure_to_lead() && shard.term() == term, "after {:?}", watched.elapsed());
        // What an answer says is as old as what it answers.
        let silences = shard.silences();
        assert_eq!(silences.len(), 2);
        assert!(silences.values().all(|silence| *silence >= 2 * DELAY), "{silences:?} after {:?}", watched.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nothing but heartbeats has kept it so.
    assert!(matches!(append(shard, b"after a pause").await, Ok(Reply::Appended { .. })));
    cluster.net.cut(NodeId(old));
    let leads = |id: u64| id != old && cluster.shard(id).is_sure_to_lead();
    cluster.until("another leads", |_| (1..=3).any(leads)).await;
    cluster.stop().await;
}

/// As far apart as nodes may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_in_doubt_that_is_far_from_the_others_gets_into_step() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    assert!(matches!(append(cluster.shard(old), b"before").await, Ok(Reply::Appended { .. })));
    cluster.net.delay(Duration::from_millis(200));
    // It leads no more, and the others do without it.
    let cluster = cluster.restart_in_doubt(old).await;
    let others = || (1..=3).filter(|id| *id != old);
    cluster.until("another leads", |cluster| others().any(|id| cluster.shard(id).is_sure_to_lead())).await;
    cluster.until("it is in step", |cluster| !cluster.shard(old).is_in_doubt()).await;
    let leader = cluster.leader().await;
    assert!(matches!(append(cluster.shard(leader), b"after").await, Ok(Reply::Appended { .. })));
    all_have(&cluster, leader, &vec![(Offset(0), b"before".to_vec()), (Offset(1), b"after".to_vec())]).await;
    // What it votes counts again.
    cluster.net.cut(NodeId(leader));
    let another = |id: u64| id != leader && cluster.shard(id).is_sure_to_lead();
    cluster.until("yet another leads", |_| (1..=3).any(another)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_replica_grows_to_three_under_writes() {
    let cluster = Cluster::founded(3, &[1]).await;
    let shard = cluster.shard(1);
    assert!(shard.is_founded() && shard.is_sure_to_lead() && shard.lags().is_empty());
    for id in [2, 3] {
        assert!(!cluster.shard(id).is_founded());
        assert_eq!(cluster.shard(id).membership(), Membership::default());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(cluster.shards().cloned().collect(), stop.clone()));
    assert_eq!(cluster.shard(2).follow(NodeId(3)).await, Err(MembershipError::NotLeader(None)));
    for id in [2, 3, 3] {
        shard.follow(NodeId(id)).await.unwrap();
    }
    assert_eq!(shard.membership(), members(&[&[1]], &[2, 3]));
    caught_up(&cluster, 1, 2).await;
    assert!(!shard.journal().is_replicated(), "nobody else votes yet");
    for id in [2, 3] {
        let shard = cluster.shard(id);
        cluster.until("it knows the members", |_| shard.membership() == members(&[&[1]], &[2, 3])).await;
        assert!(shard.is_founded() && shard.journal().is_replicated(), "what it has came from another");
    }
    shard.change_voters(set(&[1, 2, 3]), false).await.unwrap();
    assert_eq!(shard.membership(), members(&[&[1, 2, 3]], &[]));
    let before = shard.applied();
    cluster.until("three write on", |_| shard.applied().index > before.index + 10).await;
    assert!(shard.journal().is_replicated());
    stop.store(true, SeqCst);
    let acknowledged = writer.await.unwrap();
    let leader = cluster.leader().await;
    all_have(&cluster, leader, &acknowledged).await;
    assert_eq!(cluster.shard(2).membership(), members(&[&[1, 2, 3]], &[]));
    // Any two of them do without the third.
    cluster.kill(1).await;
    let leader = cluster.leader().await;
    assert!(matches!(append(cluster.shard(leader), b"after").await, Ok(Reply::Appended { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_whose_leader_died_in_between_is_finished() {
    let cluster = Cluster::founded(4, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    let shard = cluster.shard(old);
    assert_eq!(shard.finish_change().await, Ok(()), "nothing is half done");
    shard.follow(NodeId(4)).await.unwrap();
    caught_up(&cluster, old, 3).await;
    let all = members(&[&[1, 2, 3], &[1, 2, 3, 4]], &[]);
    // The first half is logged and not committed when whoever has asked for the change goes.
    cluster.net.hold_entries(true);
    let change = tokio::spawn({
        let shard = shard.clone();
        async move { shard.change_voters(set(&[1, 2, 3, 4]), false).await }
    });
    cluster.until("the first half is logged", |_| shard.membership() == all).await;
    assert_eq!(shard.forget(NodeId(4)).await, Err(MembershipError::InProgress));
    change.abort();
    assert!(change.await.unwrap_err().is_cancelled());
    cluster.net.hold_entries(false);
    cluster.until("the first half is everywhere", |cluster| cluster.shards().all(|s| s.membership() == all)).await;
    cluster.kill(old).await;
    let new = cluster.leader().await;
    let shard = cluster.shard(new);
    assert_eq!(shard.membership(), all);
    let mut finished = shard.finish_change().await;
    while finished == Err(MembershipError::InProgress) {
        tokio::task::yield_now().await;
        finished = shard.finish_change().await;
    }
    assert_eq!(finished, Ok(()));
    assert_eq!(shard.membership(), members(&[&[1, 2, 3, 4]], &[]));
    assert!(matches!(append(shard, b"after").await, Ok(Reply::Appended { .. })));
    cluster.stop().await;
}

/// It leads where the change before it was left half done, and has no vote when that is finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_a_half_done_change_removes_hands_over_before_that_is_finished() {
    let cluster = Cluster::founded(4, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    cluster.shard(old).follow(NodeId(4)).await.unwrap();
    caught_up(&cluster, old, 3).await;
    let (going, other) = (old % 3 + 1, (old + 1) % 3 + 1);
    // Without those who stay, the first half is not committed.
    cluster.net.hold_entries_from(&set(&[other, 4]));
    let change = tokio::spawn({
        let shard = cluster.shard(old).clone();
        async move { shard.change_voters(set(&[old, other, 4]), true).await }
    });
    let both = Membership { voters: vec![set(&[1, 2, 3]), set(&[old, other, 4])], ..Membership::default() };
    cluster.until("the first half is logged", |cluster| cluster.shard(going).membership() == both).await;
    assert_eq!(cluster.shard(old).hand_over(Some(NodeId(going))).await, Ok(NodeId(going)));
    cluster.net.hold_entries_from(&set(&[]));
    assert!(change.await.unwrap().is_err(), "it leads no more");
    cluster.until("the next leader is ready", |cluster| cluster.shard(going).leading().is_ok()).await;
    assert_eq!(cluster.shard(going).membership(), both);
    let Err(MembershipError::NotLeader(Some(NodeId(new)))) = cluster.shard(going).finish_change().await else {
        panic!("one of those who stay is to finish it");
    };
    assert!([old, other, 4].contains(&new));
    cluster.until("it is ready", |cluster| cluster.shard(new).leading().is_ok()).await;
    assert_eq!(cluster.shard(new).membership(), both, "nothing was changed yet");
    cluster.shard(new).finish_change().await.unwrap();
    assert_eq!(
        cluster.shard(new).membership(),
        Membership { voters: vec![set(&[old, other, 4])], learners: set(&[going]) }
    );
    assert!(matches!(append(cluster.shard(new), b"after").await, Ok(Reply::Appended { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_is_removed_hands_over() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let old = cluster.leader().await;
    let staying: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    let Err(MembershipError::NotLeader(Some(NodeId(new)))) =
        cluster.shard(old).change_voters(set(&staying), false).await
    else {
        panic!("the leader goes, and somebody else is to be asked");
    };
    assert!(staying.contains(&new));
    cluster.until("it is ready", |cluster| cluster.shard(new).leading().is_ok()).await;
    assert_eq!(cluster.shard(new).membership(), members(&[&[1, 2, 3]], &[]), "nothing was changed yet");
    cluster.shard(new).change_voters(set(&staying), true).await.unwrap();
    assert_eq!(cluster.shard(new).membership(), members(&[&staying[..]], &[old]));
    cluster.shard(new).forget(NodeId(old)).await.unwrap();
    cluster.shard(new).forget(NodeId(old)).await.unwrap();
    assert_eq!(cluster.shard(new).membership(), members(&[&staying[..]], &[]));
    let voter = cluster.shard(new).forget(NodeId(new)).await;
    assert!(matches!(voter, Err(MembershipError::Unknown(_))), "{voter:?}");
    assert!(matches!(append(cluster.shard(new), b"after").await, Ok(Reply::Appended { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_moves_from_one_node_to_another() {
    let cluster = Cluster::founded(2, &[1]).await;
    assert!(matches!(append(cluster.shard(1), b"before").await, Ok(Reply::Appended { .. })));
    let nobody = cluster.shard(1).hand_over(None).await;
    assert!(matches!(nobody, Err(MembershipError::Unknown(_))), "{nobody:?}");
    assert!(cluster.shard(1).is_sure_to_lead(), "it still leads");
    cluster.shard(1).follow(NodeId(2)).await.unwrap();
    let learner = cluster.shard(1).hand_over(Some(NodeId(2))).await;
    assert!(matches!(learner, Err(MembershipError::Unknown(_))), "it has no vote: {learner:?}");
    caught_up(&cluster, 1, 1).await;
    cluster.shard(1).change_voters(set(&[2]), false).await.unwrap();
    cluster.until("the other one leads", |cluster| cluster.shard(2).leading().is_ok()).await;
    assert_eq!(cluster.shard(2).membership(), members(&[&[2]], &[]));
    assert!(cluster.shard(2).is_sure_to_lead());
    assert!(!cluster.shard(1).is_sure_to_lead());
    assert!(matches!(append(cluster.shard(2), b"after").await, Ok(Reply::Appended { .. })));
    assert_eq!(content(cluster.shard(2)), [b"before".to_vec(), b"after".to_vec()]);
    cluster.until("it counts for nobody else", |cluster| !cluster.shard(2).journal().is_replicated()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_catches_up_by_a_snapshot_rings_for_all_that_it_did_not_see() {
    // Nothing is kept for those who lag.
    let upkeep = Upkeep { log_kept_bytes: 0, purge_delay: Duration::ZERO, ..Upkeep::default() };
    let cluster = Cluster::founded_with(2, &[1], Setup { upkeep, ..Setup::default() }).await;
    let shard = cluster.shard(1);
    for _ in 0..10 {
        assert!(matches!(append(shard, b"before").await, Ok(Reply::Appended { .. })));
    }
    shard.checkpoint().await;
    cluster.until("the log is gone", |_| shard.journal().floor().index >= 10).await;
    let node = cluster.node(2);
    assert!(!node.catalog_changed.load(SeqCst));
    // Whoever looks at the state when it rings sees all of it.
    shard.follow(NodeId(2)).await.unwrap();
    cluster.until("it rings", |_| node.catalog_changed.load(SeqCst)).await;
    assert!(node.shard.journal().floor().index >= 10, "no snapshot was installed");
    assert_eq!(content(&node.shard), vec![b"before".to_vec(); 10]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_starts_again_votes_for_nobody_for_a_while() {
    let cluster = Cluster::founded(3, &[1, 2, 3]).await;
    let leader = cluster.leader().await;
    let (again, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let last = cluster.shard(leader).applied();
    cluster.until("all know the leader", |cluster| cluster.shards().all(|shard| shard.applied() >= last)).await;
    // A candidate's question, as it was asked before.
    let question = cluster.net.last(Lane::Control, NodeId(leader)).unwrap();
    let mut cluster = cluster;
    for _ in 0..20 {
        let began = Instant::now();
        cluster = cluster.restart(again).await;
        let answer = cluster.shard(again).handle(NodeId(other), question.clone()).await;
        // On a machine that is busy it may have been that long.
        if began.elapsed() < Duration::from_millis(400) {
            assert!(answer.unwrap_err().to_string().contains("no votes yet"));
            return cluster.stop().await;
        }
    }
    panic!("it starts too slowly to be asked");
}

const HOUR_MILLIS: u32 = 3_600_000;

/// A leader compacts when it holds a newer record of a key that is not committed and never will be. Returns what its
/// journal has of the key when it follows another.
async fn left_of_a_key(fault: Option<Fault>) -> Vec<Vec<u8>> {
    // Nothing is kept for those who lag, so that files can be rewritten. How much there is never makes compaction due,
    // only how long it has been there: so a clock says when.
    let upkeep = Upkeep {
        log_kept_bytes: 0,
        purge_delay: Duration::ZERO,
        compaction_interval: Duration::ZERO,
        ..Upkeep::default()
    };
    let stream = StreamConfig {
        cleanup: Cleanup::Compact,
        dirty_permille: 1000,
        compaction_lag_max_millis: Some(HOUR_MILLIS.into()),
        ..StreamConfig::default()
    };
    let cluster = Cluster::founded_with(3, &[1, 2, 3], Setup { upkeep, stream, fault }).await;
    let old = cluster.leader().await;
    let shard = cluster.shard(old);
    let journal = shard.journal();
    let large = vec![b'x'; 4096];
    for (key, value) in [("key", &b"1"[..]), ("other", b"first"), ("other", b"second"), ("large", &large)] {
        assert!(matches!(append_to_key(shard, key.as_bytes(), value).await, Ok(Reply::Appended { .. })));
    }
    // The last one begins another file. The others may have what this one has not written yet.
    cluster.until("it has written them", |_| journal.flushed() >= shard.applied().index).await;
    journal.roll();
    assert!(matches!(append_to_key(shard, b"last", b"").await, Ok(Reply::Appended { .. })));
    let committed = shard.applied();
    cluster.until("all have it", |cluster| cluster.shards().all(|shard| shard.applied() >= committed)).await;
    shard.checkpoint().await;
    cluster.until("there is something to compact", |_| journal.compactable_end(STREAM).unwrap() == Offset(4)).await;
    assert_eq!(journal.compacted(), []);

    cluster.net.hold_entries(true);
    let newer = tokio::spawn({
        let shard = shard.clone();
        async move { append_to_key(&shard, b"key", b"2").await }
    });
    cluster.until("the newer one is logged", |_| journal.last() > committed).await;
    cluster.net.cut(NodeId(old));
    cluster.net.hold_entries(false);
    cluster.node(old).ahead_millis.store(HOUR_MILLIS.into(), SeqCst);
    let compacted = || journal.compacted().iter().any(|kept| (kept.stream, kept.to) == (STREAM, Offset(4)));
    cluster.until("it has compacted", |_| compacted()).await;
    assert_eq!(values_of(shard, b"other"), [b"second"]);
    assert_eq!((shard.applied(), journal.last().term), (committed, committed.term), "the newer one is still there");

    let others = || (1..=3).filter(|id| *id != old);
    cluster.until("another leads", |cluster| others().any(|id| cluster.shard(id).leading().is_ok())).await;
    cluster.net.heal();
    cluster.until("it has what came instead", |_| shard.applied().term > committed.term).await;
    assert!(journal.counters.truncations.load(SeqCst) > 0, "the newer one was dropped");
    assert_eq!(newer.await.unwrap(), Err(ProposeError::Unknown));
    for id in others() {
        assert_eq!(values_of(cluster.shard(id), b"key"), [b"1"], "it was committed");
    }
    assert_eq!(journal.installs(), 0, "its files are its own");
    let left = values_of(shard, b"key");
    cluster.stop().await;
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compaction_removes_nothing_for_what_is_not_committed() {
    assert_eq!(left_of_a_key(None).await, [b"1"]);
}

/// A canary: see [`Fault::CompactUncommitted`].
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compaction_for_what_is_not_committed_is_caught() {
    let left = left_of_a_key(Some(Fault::CompactUncommitted)).await;
    assert!(left.is_empty(), "the fault does no harm here: {left:?}");
}

const GROUP: &str = "readers";

/// Says how far the group is.
fn commit(offset: u64) -> Command {
    let offset = CommittedOffset { stream: STREAM, offset: Offset(offset), leader_epoch: -1, metadata: String::new() };
    Command::CommitOffsets { group: GROUP.to_owned(), offsets: vec![offset] }
}

/// A leader that is cut off has a command ready to be proposed, and leads again when another has led and taken a newer
/// one. Returns what was answered to the first, and where the group is.
async fn commit_by_a_leader_of_the_past(fault: Option<Fault>) -> (Result<Reply, ProposeError>, Option<Offset>) {
    let cluster = Cluster::founded_with(3, &[1, 2, 3], Setup { fault, ..Setup::default() }).await;
    let old = cluster.leader().await;
    let shard = cluster.shard(old);
    let before = shard.applied();
    cluster.until("all have the stream", |cluster| cluster.shards().all(|shard| shard.applied() >= before)).await;

    cluster.net.hold_entries(true);
    let in_flight = propose(shard, Request::Command(commit(1))).await;
    cluster.until("it is under way", |_| shard.journal().last() > before).await;
    let ready = propose(shard, Request::Command(commit(2))).await;
    // What comes after it is looked at after it, and this is answered then.
    let unknown = append_to(shard, StreamId(99), b"nowhere").await;
    assert!(!matches!(unknown, Ok(Reply::Appended { .. })), "{unknown:?}");
    cluster.net.cut(NodeId(old));
    cluster.net.hold_entries(false);

    let leads = |cluster: &Cluster, id: u64| id != old && cluster.shard(id).leading().is_ok();
    cluster.until("another leads", |cluster| (1..=3).any(|id| leads(cluster, id))).await;
    let new = (1..=3).find(|id| leads(&cluster, *id)).unwrap();
    assert_eq!(cluster.shard(new).command(commit(20)).await, Ok(Reply::Done));
    cluster.net.heal();
    cluster.until("it has what came instead", |_| shard.applied().term > before.term).await;
    assert_eq!(in_flight.await.unwrap(), Err(ProposeError::Unknown));
    caught_up(&cluster, new, 2).await;
    assert_eq!(cluster.shard(new).hand_over(Some(NodeId(old))).await, Ok(NodeId(old)));
    cluster.until("it leads again", |_| shard.leading().is_ok()).await;
    assert!(matches!(append(shard, b"next").await, Ok(Reply::Appended { .. })));

    let answer = ready.await.unwrap();
    let position = shard.machine().messaging.groups.offset(GROUP, STREAM).map(|committed| committed.offset);
    cluster.stop().await;
    (answer, position)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_leader_of_the_past_was_about_to_propose_is_dropped() {
    let (answer, position) = commit_by_a_leader_of_the_past(None).await;
    assert_eq!((answer, position), (Err(ProposeError::NotLeader(None)), Some(Offset(20))));
}

/// A canary: see [`Fault::UnfencedTerm`].
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_of_the_past_that_proposes_is_caught() {
    let (_, position) = commit_by_a_leader_of_the_past(Some(Fault::UnfencedTerm)).await;
    assert_eq!(position, Some(Offset(2)), "the fault does no harm here");
}
