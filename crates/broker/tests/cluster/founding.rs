//! A new shard that its node never founds.

use crate::nodes::{append, config, create, end, start, stop, until, wait_for_voters};
use broker::cluster::call::{NodeAnswer, NodeCall};
use broker::members::NodeState;
use broker::{Broker, BrokerError};
use bytes::Bytes;
use futures::future::BoxFuture;
use machine::catalog::Endpoint;
use machine::machine::VERSION_MAX;
use model::wire::Wire;
use model::{NodeId, ShardId};
use peer::{Handler, Lane, Peers, Rejection, RejectionCode};
use shard::Shard;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The channel of calls that are for a node: docs/formats/peer.md.
const CALLS: u32 = u32::MAX;
const PATIENCE: Duration = Duration::from_secs(10);

struct Nobody;

impl Handler for Nobody {
    fn handle(&self, _: NodeId, _: u32, _: Lane, _: Bytes) -> BoxFuture<'static, Result<Vec<Bytes>, Rejection>> {
        Box::pin(async { Err(Rejection::new(RejectionCode::NoChannel, "nobody is here")) })
    }
}

/// Has a node let into the cluster that never comes.
async fn let_in(seed: SocketAddr) -> NodeId {
    let options = peer::Options::default();
    let found = peer::identify(seed, None, PATIENCE).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let call = NodeCall::Join {
        incarnation: 77,
        wanted: None,
        peer: Endpoint { protocol: "peer".into(), host: "127.0.0.1".into(), port },
        endpoints: Vec::new(),
        rack: None,
        version: VERSION_MAX as u16,
    };
    let peers = Peers::serve(NodeId(0), found.cluster, listener, Arc::new(Nobody), options).unwrap();
    peers.set_address(found.node, seed);
    let answer = peers.call(found.node, CALLS, Lane::Control, vec![call.to_wire().into()], PATIENCE).await;
    peers.stop().await;
    match NodeAnswer::from_wire(&answer.unwrap()) {
        Ok(NodeAnswer::Joined { node, .. }) => node,
        other => panic!("not let in: {other:?}"),
    }
}

fn catalog(broker: &Broker) -> Shard {
    broker.shards().into_iter().find(|shard| shard.id() == ShardId::CATALOG).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_comes_is_removed_and_its_new_shard_is_founded_by_another() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut two_shards = config(None);
    two_shards.shards = 2;
    let first = start(folders[0].path(), two_shards).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    let ghost = let_in(seed.unwrap()).await;
    let placed_on = |shard: u32| {
        catalog(&first).machine().catalog.placement(ShardId(shard)).map(|placement| placement.replicas.clone())
    };
    until("there shall be a third shard, on the node that does not come", async || {
        (placed_on(3)? == [ghost]).then_some(())
    })
    .await;
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    let refused = first.set_node_state(ghost, NodeState::Removed).await;
    assert!(matches!(refused, Err(BrokerError::NodeInUse | BrokerError::Unavailable)), "{refused:?}");
    second.set_node_state(ghost, NodeState::Draining).await.unwrap();
    let all = [&first, &second, &third];
    let voters: Vec<u64> = all.iter().map(|broker| broker.node().0).collect();
    until("nobody needs the node that does not come", async || {
        third.set_node_state(ghost, NodeState::Removed).await.ok()
    })
    .await;
    until("another shard is there in the place of the third", async || {
        (placed_on(4).is_some() && all.iter().all(|broker| broker.shards().len() == 4)).then_some(())
    })
    .await;
    wait_for_voters(&all, &voters).await;
    assert_eq!(placed_on(3), None);
    until("the new shard counts", async || {
        all.iter()
            .all(|broker| catalog(broker).machine().catalog.shards().any(|shard| shard == ShardId(4)))
            .then_some(())
    })
    .await;
    // Three partitions are on three shards.
    create(&first, "topic", 3).await.unwrap();
    for nth in 0..6 {
        append(&all, "topic", nth % 3, "x").await;
    }
    for partition in 0..3 {
        assert_eq!(end(&all, "topic", partition).await, 2);
    }
    for (broker, folder) in [first, second, third].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}
