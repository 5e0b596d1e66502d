//! Elections that somebody asks for.

use crate::nodes::{append, config, create, describe, end, start, stop, three, until, wait_for_voters};
use broker::group::GroupError;
use broker::members::ReplicaStatus;
use broker::request::{Elected, Election, LeaderQuery, OffsetFetch, PartitionRef, TopicRef};
use broker::{Broker, BrokerError, Reply, Request};
use model::{LeaderEpoch, NodeId, ShardId};
use std::time::Duration;

/// What becomes of an election of these partitions of a topic, or of all there are.
async fn elect(broker: &Broker, election: Election, partitions: Option<&[u32]>) -> Vec<Result<Elected, BrokerError>> {
    let of = |partition: &u32| PartitionRef { topic: TopicRef::Name("topic".to_owned()), partition: *partition };
    let partitions = partitions.map(|partitions| partitions.iter().map(of).collect());
    let query = LeaderQuery { partitions, election, patience: Duration::from_secs(20) };
    let Reply::LeadersElected(elected) = broker.call(Request::ElectLeaders(query)).await.await else { panic!() };
    elected.into_iter().map(|elected| elected.outcome).collect()
}

/// Who leads the first partition, as a node knows it, and who is preferred to.
async fn first_partition(broker: &Broker) -> (Option<NodeId>, NodeId) {
    let info = describe(broker, "topic").await.unwrap();
    (info.partitions[0].leader, info.partitions[0].replicas[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_preferred_leads_when_somebody_asks_any_node_for_it() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    create(&first, "topic", 3).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    let mut all = vec![(first, &folders[0]), (second, &folders[1]), (third, &folders[2])];
    wait_for_voters(&all.iter().map(|(broker, _)| broker).collect::<Vec<_>>(), &[1, 2, 3]).await;
    until("everybody leads what it shall, and nothing else is told of all", async || {
        elect(&all[1].0, Election::Preferred, None).await.is_empty().then_some(())
    })
    .await;
    // The one that is preferred leads no longer, until somebody asks another for it.
    let (_, preferred) = first_partition(&all[0].0).await;
    let nth = all.iter().position(|(broker, _)| broker.node() == preferred).unwrap();
    let (asked, other) = ((nth + 1) % 3, (nth + 2) % 3);
    all[nth].0.hand_over().await;
    let elected = until("whoever leads instead has heard of it", async || {
        let elected = elect(&all[asked].0, Election::Preferred, Some(&[0, 9, 1])).await;
        (elected[0] != Ok(Elected::NotYet)).then_some(elected)
    })
    .await;
    assert_eq!(elected, [Ok(Elected::Now), Err(BrokerError::UnknownPartition), Ok(Elected::Now)]);
    for (broker, _) in &all {
        until("everybody knows who leads", async || {
            (first_partition(broker).await == (Some(preferred), preferred)).then_some(())
        })
        .await;
    }
    for election in [Election::Preferred, Election::Any] {
        assert_eq!(elect(&all[other].0, election, Some(&[0])).await, [Ok(Elected::Before)]);
    }
    let brokers: Vec<&Broker> = all.iter().map(|(broker, _)| broker).collect();
    append(&brokers, "topic", 0, "x").await;
    // Nobody else is elected in its place, and it is not waited for.
    let (gone, folder) = all.remove(nth);
    gone.hand_over().await;
    stop(gone, folder.path()).await;
    let left: Vec<&Broker> = all.iter().map(|(broker, _)| broker).collect();
    until("it is known to be away", async || {
        (elect(left[0], Election::Preferred, Some(&[0])).await == [Ok(Elected::NotYet)]).then_some(())
    })
    .await;
    assert_eq!(elect(left[1], Election::Any, Some(&[0])).await, [Ok(Elected::Before)]);
    assert_eq!(end(&left, "topic", 0).await, 1);
    for (broker, folder) in all {
        stop(broker, folder.path()).await;
    }
}

/// A replica of the shard that has the groups, if a node has one that is where it shall be.
fn of_groups(broker: &Broker) -> Option<ReplicaStatus> {
    broker.replicas().into_iter().find(|status| status.shard == ShardId(1) && !status.joint && status.voters.len() == 3)
}

const PARTITIONS: u32 = 8;

/// Waits until a node tells of each partition the leader and the leader epoch that the leader tells: those epochs.
async fn tells_epochs(broker: &Broker, all: &[&Broker]) -> Vec<LeaderEpoch> {
    until("it tells the epochs that leaders tell", async || {
        let told = describe(broker, "topic").await.ok()?.partitions;
        let mut epochs = Vec::new();
        for (nth, partition) in told.into_iter().enumerate() {
            let leader = all.iter().find(|broker| Some(broker.node()) == partition.leader)?;
            let there = describe(leader, "topic").await.ok()?.partitions.swap_remove(nth);
            epochs
                .push(partition.epoch.filter(|epoch| (there.leader, there.epoch) == (partition.leader, Some(*epoch)))?);
        }
        Some(epochs)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_replica_hears_who_leads() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let seed = first.peer_address();
    let mut all = vec![first];
    for folder in &folders[1..] {
        all.push(start(folder.path(), config(seed)).await.unwrap());
    }
    // Each of the four has replicas of three of the four shards.
    let outside = until("one of them is without a replica", async || {
        let (with, without): (Vec<&Broker>, Vec<&Broker>) = all.iter().partition(|broker| of_groups(broker).is_some());
        let is_over = without.first()?.replicas().iter().all(|status| status.shard != ShardId(1));
        (with.len() == 3 && without.len() == 1 && is_over).then(|| without[0].clone())
    })
    .await;
    let leader = || all.iter().find_map(|broker| of_groups(broker)?.leader.filter(|leader| *leader == broker.node()));
    let hears = async |not: Option<NodeId>| {
        until("it hears who leads", async || {
            let leader = leader().filter(|leader| Some(*leader) != not)?;
            (outside.coordinator("group") == Ok(leader)).then_some(leader)
        })
        .await
    };
    let before = hears(None).await;
    let brokers: Vec<&Broker> = all.iter().collect();
    create(&outside, "topic", PARTITIONS).await.unwrap();
    for partition in 0..PARTITIONS {
        append(&brokers, "topic", partition, "x").await;
    }
    let epochs = tells_epochs(&outside, &brokers).await;
    all.iter().find(|broker| broker.node() == before).unwrap().hand_over().await;
    hears(Some(before)).await;
    let later = tells_epochs(&outside, &brokers).await;
    assert!(later.iter().zip(&epochs).any(|(later, before)| later > before), "{epochs:?}, {later:?}");
    drop(outside);
    for (broker, folder) in all.into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

/// Whether a node tells where a group begins.
async fn ask_for_positions(broker: &Broker) -> Result<(), BrokerError> {
    let fetch = OffsetFetch { group: "group".to_owned(), partitions: None };
    let Reply::OffsetsFetched(mut found) = broker.call(Request::FetchOffsets(vec![fetch])).await.await else {
        panic!()
    };
    found.remove(0).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_coordinated_a_group_sends_clients_on_as_soon_as_it_knows_where_to() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let all = three(&folders).await;
    let brokers = all.each_ref();
    let coordinator = until("somebody coordinates the group", async || {
        for broker in brokers {
            if ask_for_positions(broker).await.is_ok() {
                return Some(broker);
            }
        }
        None
    })
    .await;
    coordinator.hand_over().await;
    let next = until("it knows who does", async || match ask_for_positions(coordinator).await {
        Err(BrokerError::Group(GroupError::CoordinatorMoved(next))) => Some(next),
        // It coordinates until somebody else does, and may not hear at once who that is.
        Ok(()) | Err(BrokerError::Group(GroupError::CoordinatorMoving)) => None,
        Err(error) => panic!("a client may give up for good: {error}"),
    })
    .await;
    assert_ne!(next, coordinator.node());
    let next = brokers.into_iter().find(|broker| broker.node() == next).unwrap();
    until("the other one does", async || ask_for_positions(next).await.ok()).await;
    for (broker, folder) in all.into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}
