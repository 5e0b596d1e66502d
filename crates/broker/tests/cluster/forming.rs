//! One node becomes three, while it works.

use crate::nodes::{append, config, create, describe, end, read, start, stop, three, until, wait_for_voters};
use broker::members::NodeState;
use broker::request::CreateTopic;
use broker::{Broker, BrokerError, Reply, Request, Settings};
use model::{NodeId, ShardId};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn one_node_becomes_three_and_two_of_them_go_on() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    create(&first, "before", 3).await.unwrap();
    for nth in 0..30 {
        append(&[&first], "before", nth % 3, "x").await;
    }
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    assert_eq!(second.node(), NodeId(2));
    let third = start(folders[2].path(), config(second.peer_address())).await.unwrap();
    assert_eq!((third.node(), third.cluster()), (NodeId(3), first.cluster()));
    let all = [&first, &second, &third];
    wait_for_voters(&all, &[1, 2, 3]).await;
    // What was there is everywhere, and whoever is asked makes more.
    assert_eq!(describe(&third, "before").await.unwrap().partitions.len(), 3);
    let made = create(&third, "after", 4).await.unwrap();
    assert!(made.partitions.iter().all(|partition| partition.replicas.len() == 3));
    assert!(describe(&third, "after").await.is_ok(), "who has answered knows it");
    for nth in 0..40 {
        append(&all, "after", nth % 4, "y").await;
    }
    for partition in 0..3 {
        assert_eq!(end(&all, "before", partition).await, 10);
    }
    // Any replica may be asked for what it has.
    for broker in all {
        until("a follower has what the leader has", async || {
            (read(broker, "after", 0, true).await == Ok(10)).then_some(())
        })
        .await;
    }
    // Two go on without the first, which led everything in the beginning.
    first.hand_over().await;
    stop(first, folders[0].path()).await;
    let left = [&second, &third];
    for nth in 0..8 {
        append(&left, "after", nth % 4, "z").await;
    }
    create(&second, "without", 1).await.unwrap();
    // It comes back and has what it missed, although nobody is at the address that it had.
    let first = start(folders[0].path(), config(None)).await.unwrap();
    until("the first has caught up", async || {
        (read(&first, "after", 0, true).await == Ok(12) && describe(&first, "without").await.is_ok()).then_some(())
    })
    .await;
    for (broker, folder) in [first, second, third].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_that_decides_and_one_that_follows() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let second = start(folders[1].path(), config(first.peer_address())).await.unwrap();
    create(&second, "topic", 1).await.unwrap();
    append(&[&first], "topic", 0, "x").await;
    until("the second follows", async || (read(&second, "topic", 0, true).await == Ok(1)).then_some(())).await;
    wait_for_voters(&[&first], &[1]).await;
    // The second is not missed.
    stop(second, folders[1].path()).await;
    append(&[&first], "topic", 0, "y").await;
    create(&first, "another", 1).await.unwrap();
    stop(first, folders[0].path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_emptied_and_left_out() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    create(&first, "topic", 2).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    wait_for_voters(&[&first, &second, &third], &[1, 2, 3]).await;
    for nth in 0..20 {
        append(&[&first, &second, &third], "topic", nth % 2, "x").await;
    }
    let removed = async |broker: &Broker| broker.set_node_state(NodeId(1), NodeState::Removed).await;
    assert_eq!(removed(&third).await, Err(BrokerError::NodeInUse), "it has replicas");
    third.set_node_state(NodeId(1), NodeState::Draining).await.unwrap();
    // Of three it keeps them, and its vote on the catalog, but others lead.
    let kept: Vec<_> = first.shards().iter().map(|shard| (NodeId(1), shard.id())).collect();
    until("the first leads nothing", async || {
        (third.kept_replicas().into_iter().eq(kept.iter().copied())
            && first.replicas().iter().all(|shard| shard.leader.is_some_and(|leader| leader != NodeId(1))))
        .then_some(())
    })
    .await;
    wait_for_voters(&[&first, &second, &third], &[1, 2, 3]).await;
    assert_eq!(removed(&third).await, Err(BrokerError::NodeInUse), "and does so still");
    for validate_only in [true, false] {
        let (name, settings) = ("made meanwhile".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(1), replicas: None, settings, validate_only };
        let Reply::TopicsCreated(mut made) = third.call(Request::CreateTopics(vec![topic])).await.await else {
            panic!("another answer")
        };
        let mut replicas = made.remove(0).unwrap().partitions.remove(0).replicas;
        replicas.sort_unstable();
        assert_eq!(replicas, [1, 2, 3].map(NodeId), "{validate_only}");
    }
    let fourth = start(folders[3].path(), config(second.peer_address())).await.unwrap();
    let staying = [&second, &third, &fourth];
    wait_for_voters(&staying, &[2, 3, 4]).await;
    until("the first has nothing left but the catalog", async || (first.replicas().len() == 1).then_some(())).await;
    create(&first, "made where no replica is", 1).await.unwrap();
    third.set_node_state(NodeId(1), NodeState::Removed).await.unwrap();
    until("the first is forgotten", async || {
        let members = staying.iter().all(|broker| broker.members().nodes.len() == 3);
        let replicas = staying.iter().flat_map(|broker| broker.replicas());
        (members && replicas.into_iter().all(|status| !status.learners.contains(&NodeId(1)))).then_some(())
    })
    .await;
    assert!(fourth.kept_replicas().is_empty());
    let again = fourth.set_node_state(NodeId(1), NodeState::Active).await;
    assert_eq!(again, Err(BrokerError::NodeRemoved), "for ever");
    assert_eq!(end(&staying, "topic", 0).await + end(&staying, "topic", 1).await, 20);
    for (broker, folder) in [first, second, third, fourth].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

/// The shards that a node leads.
fn led_by(broker: &Broker) -> BTreeSet<ShardId> {
    let shards = broker.shards().into_iter();
    shards.filter(|shard| shard.leading().is_ok()).map(|shard| shard.id()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_to_leave_does_not_wait_until_others_lead() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let all = three(&folders).await;
    let brokers = all.each_ref();
    let leads = |broker: &&Broker| !led_by(broker).is_empty();
    let before = until("one of them leads", async || brokers.into_iter().find(leads)).await;
    let (handed, began) = (led_by(before), Instant::now());
    before.hand_over().await;
    let leads_now = |broker: &&Broker| broker.node() != before.node() && !led_by(broker).is_disjoint(&handed);
    let leader = until("another one does", async || brokers.into_iter().find(leads_now)).await;
    before.set_node_state(leader.node(), NodeState::Draining).await.unwrap();
    until("it leads nothing", async || led_by(leader).is_empty().then_some(())).await;
    // What it has led since then goes back after ten seconds otherwise.
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    until("somebody leads each shard", async || {
        (brokers.into_iter().flat_map(led_by).count() == leader.shards().len()).then_some(())
    })
    .await;
    for (broker, folder) in all.into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_alone_does_not_leave_itself_out() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path(), config(None)).await.unwrap();
    until("it is written down", async || {
        let catalog = first.shards().into_iter().find(|shard| shard.id() == ShardId::CATALOG)?;
        let machine = catalog.machine();
        (machine.catalog.node(NodeId(1)).is_some() && machine.catalog.placement(ShardId(1)).is_some()).then_some(())
    })
    .await;
    stop(first, folder.path()).await;
    let mut alone = config(None);
    alone.cluster.listen = None;
    let first = start(folder.path(), alone).await.unwrap();
    for state in [NodeState::Active, NodeState::Draining] {
        first.set_node_state(NodeId(1), state).await.unwrap();
        let removed = first.set_node_state(NodeId(1), NodeState::Removed).await;
        assert_eq!(removed, Err(BrokerError::NodeInUse), "{state:?}");
    }
    assert_eq!(first.kept_replicas().len(), 2);
    stop(first, folder.path()).await;
}
