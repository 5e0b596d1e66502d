//! A replica that is too far behind for the log copies a snapshot, whatever comes in between.

#![allow(clippy::disallowed_methods, reason = "real nodes: real threads and the real clock")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "catch_up/cluster.rs"]
mod cluster;

use cluster::{
    Asked, CHUNK_BYTES, Clock, Fate, FullFolder, Net, Node, VALUES, Waiting, append, caught_up, follow, founder,
    snapshot_bytes, take, until,
};
use model::{NodeId, limit};
use shard::{Bandwidth, CatchUp, Copying, Pace, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Chunks that arrive before a snapshot is interrupted: more than one file, and less than all.
const SOME: usize = 100;

/// Lets `SOME` chunks arrive that `by` asks for, and no more.
fn interrupted(by: u64) -> impl FnMut(&Asked) -> Fate + Send + 'static {
    let mut left = SOME;
    move |asked| {
        if asked.by != by {
            return Fate::Arrives;
        }
        left = left.saturating_sub(1);
        if left > 0 { Fate::Arrives } else { Fate::Lost }
    }
}

/// How far each file's chunks have come.
fn reach(arrived: &[Asked]) -> BTreeMap<Vec<u8>, u64> {
    let mut reach = BTreeMap::new();
    for asked in arrived.iter().filter(|asked| asked.is_of_file()) {
        let far: &mut u64 = reach.entry(asked.part.clone()).or_default();
        *far = asked.position.max(*far);
    }
    reach
}

/// Where each file was begun, or gone on with.
fn begun(arrived: &[Asked]) -> BTreeMap<Vec<u8>, u64> {
    let mut begun = BTreeMap::new();
    for asked in arrived.iter().filter(|asked| asked.is_of_file()) {
        begun.entry(asked.part.clone()).or_insert(asked.position);
    }
    begun
}

/// What has arrived, in bytes.
fn bytes(arrived: &[Asked]) -> u64 {
    arrived.iter().map(|asked| asked.bytes).sum()
}

/// A follower that has some of a snapshot and gets no more of it.
async fn interrupted_follower(folder: &Path, net: &Net, leader: &Node) -> Node {
    net.decide(interrupted(2));
    let behind = Node::start(2, folder, net).await;
    follow(leader, 2);
    until("some of it has come", || net.arrived() >= SOME - 1).await;
    behind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cut_off_goes_on_in_the_middle_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let behind = interrupted_follower(folder.path(), &net, &leader).await;
    let before = net.take_arrived();
    let (_, cut_at) = reach(&before).into_iter().next_back().unwrap();
    assert!(cut_at > 0, "in the middle of a file");
    let copying = |of: &Node| of.shard.copying().get(&NodeId(2)).copied();
    let far = Some(Copying { pulled: bytes(&before), of: snapshot_bytes(&leader) });
    until("both know how far it is", || copying(&behind) == far && copying(&leader) == far).await;
    net.decide(|_| Fate::Arrives);
    caught_up(&behind, &leader).await;
    let all = bytes(&before) + bytes(&net.take_arrived());
    let size = snapshot_bytes(&leader);
    assert!((size..=size + CHUNK_BYTES as u64).contains(&all), "{all} bytes for {size}");
    until("both know that it is over", || copying(&behind).is_none() && copying(&leader).is_none()).await;
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_goes_on_from_what_was_on_stable_storage() {
    let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let behind = interrupted_follower(folder.path(), &net, &leader).await;
    let before = bytes(&net.take_arrived());
    until("and is there", || behind.shard.copying().values().any(|copying| copying.pulled == before)).await;
    behind.kill(folder.path(), after.path()).await;
    net.take_arrived();
    net.decide(|_| Fate::Arrives);
    let behind = Node::start(2, after.path(), &net).await;
    caught_up(&behind, &leader).await;
    let [resumed, _, refused, _] = behind.counts();
    assert_eq!((resumed, refused), (1, 0), "{:?}", behind.counts());
    let (all, size) = (before + bytes(&net.take_arrived()), snapshot_bytes(&leader));
    // So much may have come since stable storage was last made sure of.
    let unsynced = 16 * CHUNK_BYTES as u64;
    assert!((size..=size + unsynced).contains(&all), "{all} bytes for {size}");
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_has_changed_meanwhile_is_copied_again_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let behind = interrupted_follower(folder.path(), &net, &leader).await;
    behind.stop().await;
    let before = net.take_arrived();
    let names =
        std::fs::read_dir(folder.path().join(NodeId(2).to_string())).unwrap().map(|entry| entry.unwrap().path());
    let mut parts: Vec<_> = names.filter(|path| path.to_string_lossy().ends_with(".log")).collect();
    parts.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("pulled-"));
    parts.sort();
    let mut part = std::fs::read(&parts[0]).unwrap();
    part[CHUNK_BYTES + 5] ^= 1;
    std::fs::write(&parts[0], part).unwrap();
    net.decide(|_| Fate::Arrives);
    let behind = Node::start(2, folder.path(), &net).await;
    caught_up(&behind, &leader).await;
    let [resumed, _, refused, _] = behind.counts();
    assert_eq!((resumed, refused), (1, 1), "{:?}", behind.counts());
    let begun = begun(&net.take_arrived());
    let again: Vec<u64> = reach(&before).keys().filter_map(|part| begun.get(part).copied()).collect();
    assert!(again.len() == 2 && again[0] == 0 && again[1] > 0, "{again:?}");
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_takes_the_time_that_its_bandwidth_allows() {
    const RATE: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let clock = Arc::new(Clock(Waiting::new(true)));
    let bandwidth = Bandwidth::new(NonZeroU64::new(RATE).unwrap(), clock.clone());
    let behind = Node::start_with(2, folder.path(), &net, Some(bandwidth)).await;
    let (watch, began) = (clock.clone(), clock.now());
    let mut asked_for = 0;
    net.decide(move |asked| {
        asked_for += asked.bytes;
        let allowed = (watch.now() - began + Duration::from_millis(100)).as_millis() as u64 * RATE / 1000;
        // A chunk more has begun its time.
        assert!(asked_for <= allowed + 2 * CHUNK_BYTES as u64, "{asked_for} when {allowed} may have come");
        Fate::Arrives
    });
    follow(&leader, 2);
    caught_up(&behind, &leader).await;
    let (took, size) = (clock.now() - began, snapshot_bytes(&leader));
    let least = Duration::from_millis(size * 1000 / RATE - 200);
    assert!((least..least + Duration::from_millis(300)).contains(&took), "{took:?} for {size} bytes");
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_snapshot_waits_for_bandwidth_records_are_appended_and_the_leader_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let waiting = Waiting::new(false);
    let bandwidth = Bandwidth::new(NonZeroU64::new(1 << 20).unwrap(), Arc::new(Clock(waiting.clone())));
    let behind = Node::start_with(2, folder.path(), &net, Some(bandwidth)).await;
    follow(&leader, 2);
    until("the first chunks are there", || net.arrived() > 0).await;
    let term = leader.shard.term();
    for nth in VALUES..VALUES + 50 {
        append(&leader.shard, nth).await;
    }
    let appended = std::time::Instant::now();
    // It answers a heartbeat that was sent after all that.
    until("the one that copies hears the leader", || {
        leader.shard.silences().get(&NodeId(2)).is_some_and(|silence| *silence < appended.elapsed())
    })
    .await;
    let copying = behind.shard.copying()[&NodeId(2)];
    assert!(copying.pulled < copying.of / 4, "all of that happened while it copied: {copying:?}");
    assert!(behind.shard.applied() < leader.shard.applied());
    waiting.open();
    caught_up(&behind, &leader).await;
    assert_eq!(leader.shard.term(), term, "nobody stood for election");
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_starts_again_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let behind = interrupted_follower(folder.path(), &net, &leader).await;
    behind.stop().await;
    let before = reach(&net.take_arrived());
    assert_eq!(before.len(), 2, "one file and some of the next");
    net.decide(|_| Fate::Arrives);
    let behind = Node::start(2, folder.path(), &net).await;
    caught_up(&behind, &leader).await;
    let [resumed, reused, refused, _] = behind.counts();
    assert!(resumed == 1 && reused >= 2 && refused == 0, "{:?}", behind.counts());
    let after = begun(&net.take_arrived());
    let again: Vec<_> = before.iter().filter_map(|(part, far)| Some((*far, *after.get(part)?))).collect();
    let [(far, from)] = again[..] else { panic!("of the two one was there whole: {again:?}") };
    assert!(from > 0 && from <= far + CHUNK_BYTES as u64, "from {from} on, when {far} had come");
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leader_with_the_same_files_goes_on_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let first = founder(folder.path(), &net).await;
    let second = Node::start(2, folder.path(), &net).await;
    follow(&first, 2);
    caught_up(&second, &first).await;
    first.shard.change_voters([NodeId(1), NodeId(2)].into(), true).await.unwrap();
    net.take_arrived();
    net.decide(interrupted(3));
    let third = Node::start(3, folder.path(), &net).await;
    follow(&first, 3);
    until("some of it is there", || net.arrived() >= SOME - 1).await;
    let before: BTreeSet<Vec<u8>> = reach(&net.take_arrived()).into_keys().collect();
    assert_eq!(before.len(), 2, "one file and some of the next");
    net.decide(|asked| if asked.of == 1 { Fate::Lost } else { Fate::Arrives });
    first.shard.hand_over(Some(NodeId(2))).await.unwrap();
    until("another one leads", || second.shard.role() == Role::Leader).await;
    caught_up(&third, &second).await;
    let [resumed, reused, refused, _] = third.counts();
    assert!(resumed == 1 && reused == 1 && refused == 0, "{:?}", third.counts());
    let arrived = net.take_arrived();
    assert!(arrived.iter().all(|asked| asked.of == 2));
    let after = begun(&arrived);
    let again: Vec<_> = before.iter().filter_map(|part| after.get(part)).collect();
    assert!(again.len() == 1 && *again[0] > 0, "the first file is whole, the second is gone on with: {again:?}");
    for node in [third, second, first] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_flip_on_the_way_are_found_and_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let mut nth = 0;
    net.decide(move |_| {
        nth += 1;
        if nth % 10 == 0 { Fate::Altered } else { Fate::Arrives }
    });
    let behind = Node::start(2, folder.path(), &net).await;
    follow(&leader, 2);
    caught_up(&behind, &leader).await;
    let [_, _, parts, chunks] = behind.counts();
    assert!(parts == 0 && chunks > 10, "{:?}", behind.counts());
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_chunk_is_on_its_way_some_more_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    net.delay(Duration::from_millis(10));
    let behind = Node::start(2, folder.path(), &net).await;
    follow(&leader, 2);
    caught_up(&behind, &leader).await;
    assert_eq!(net.most_under_way(), limit::CHUNKS_AHEAD_MAX);
    behind.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_space_does_not_keep_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let catch_up = CatchUp::default();
    let disk = FullFolder::open(&folder.path().join("full"));
    let behind = Node::start_on(2, Arc::new(disk.clone()), &net, catch_up.clone()).await;
    follow(&leader, 2);
    until("it has no space", || disk.has_refused()).await;
    let others = take(&catch_up.turn).await;
    disk.make_room();
    assert_eq!(net.take_arrived(), []);
    drop(others);
    caught_up(&behind, &leader).await;
    behind.stop().await;
    leader.stop().await;
}

/// Whoever has the turn may wait for the space.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_its_turn_has_given_up_what_it_has_no_use_for() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::new();
    let leader = founder(folder.path(), &net).await;
    let own = folder.path().join(NodeId(2).to_string());
    std::fs::create_dir(&own).unwrap();
    for sequence in 0..limit::PULL_PARTS_UNCLAIMED_MAX + 5 {
        let part = own.join(format!("pulled-0000000000000bad-{sequence:016x}.log"));
        std::fs::write(&part, "").unwrap();
        std::fs::write(part.with_extension("log.progress"), "").unwrap();
    }
    let catch_up = CatchUp::default();
    let others = take(&catch_up.turn).await;
    let disk = journal::disk::Folder::open(&own).unwrap();
    let behind = Node::start_on(2, Arc::new(disk), &net, catch_up).await;
    let kept = || behind.shard.journal().kept_parts();
    assert_eq!(kept(), limit::PULL_PARTS_UNCLAIMED_MAX + 5);
    follow(&leader, 2);
    until("some are gone", || kept() == limit::PULL_PARTS_UNCLAIMED_MAX).await;
    assert_eq!(net.take_arrived(), [], "it is not its turn");
    drop(others);
    caught_up(&behind, &leader).await;
    behind.stop().await;
    leader.stop().await;
}
