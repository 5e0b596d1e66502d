//! Who a node is, and who it is not let in as.

use crate::nodes::{config, create, describe, start, stop, until};
use broker::cluster::ClusterConfig;
use broker::{Config, NodeError};
use model::NodeId;
use std::net::SocketAddr;

fn wanting(join: Option<SocketAddr>, node: u64) -> Config {
    let Config { cluster, .. } = config(join);
    Config { cluster: ClusterConfig { node: Some(NodeId(node)), ..cluster }, ..config(join) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_given_once() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), wanting(None, 7)).await.unwrap();
    assert_eq!(first.node(), NodeId(7));
    let seed = first.peer_address();
    let taken = start(folders[1].path(), wanting(seed, 7)).await.err().unwrap();
    assert!(matches!(taken, NodeError::Join { .. }), "{taken}");
    let second = start(folders[1].path(), wanting(seed, 3)).await.unwrap();
    assert_eq!(second.node(), NodeId(3));
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    assert_eq!(third.node(), NodeId(8), "a number that nobody had");
    // It keeps what it was given.
    stop(second, folders[1].path()).await;
    let other = start(folders[1].path(), wanting(seed, 4)).await.err().unwrap();
    assert!(matches!(other, NodeError::OtherNode { found: NodeId(3), wanted: NodeId(4), .. }), "{other}");
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    assert_eq!(second.node(), NodeId(3));
    for (broker, folder) in [first, second, third].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_cluster_of_its_own_joins_no_other() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let other = start(folders[1].path(), config(None)).await.unwrap();
    create(&other, "mine", 1).await.unwrap();
    stop(other, folders[1].path()).await;
    let error = start(folders[1].path(), config(first.peer_address())).await.err().unwrap();
    assert!(matches!(error, NodeError::OtherCluster { .. }), "{error}");
    let error = start(folders[1].path(), config(Some(nobody()))).await.err().unwrap();
    assert!(matches!(error, NodeError::Founded(_)), "{error}");
    until("it goes on alone", async || {
        let other = start(folders[1].path(), config(None)).await.ok()?;
        assert!(describe(&other, "mine").await.is_ok());
        stop(other, folders[1].path()).await;
        Some(())
    })
    .await;
    stop(first, folders[0].path()).await;
}

/// Where nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_a_cluster_joins_no_other() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let other = start(folders[1].path(), config(None)).await.unwrap();
    let second = start(folders[2].path(), config(first.peer_address())).await.unwrap();
    create(&first, "mine", 1).await.unwrap();
    stop(second, folders[2].path()).await;
    let error = start(folders[2].path(), config(other.peer_address())).await.err().unwrap();
    assert!(matches!(error, NodeError::OtherCluster { .. }), "{error}");
    // Whoever it joined may be gone, or be another node of its cluster by now.
    for seed in [nobody(), first.peer_address().unwrap()] {
        let second = start(folders[2].path(), config(Some(seed))).await.unwrap();
        assert_eq!((second.node(), second.cluster()), (NodeId(2), first.cluster()));
        until("it knows what it missed", async || describe(&second, "mine").await.is_ok().then_some(())).await;
        stop(second, folders[2].path()).await;
    }
    assert_eq!(other.members().nodes.len(), 1);
    for (broker, folder) in [first, other].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_folder_is_not_filled_under_its_old_number() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let second = start(folders[1].path(), config(first.peer_address())).await.unwrap();
    until("the second has a replica", async || (second.replicas().len() == 2).then_some(())).await;
    stop(second, folders[1].path()).await;
    std::fs::remove_dir_all(folders[1].path().join("shards").join("00000001")).unwrap();
    let error = start(folders[1].path(), config(first.peer_address())).await.err().unwrap();
    assert!(matches!(error, NodeError::Missing { .. }), "{error}");
    std::fs::remove_file(folders[1].path().join("identity")).unwrap();
    let error = start(folders[1].path(), config(first.peer_address())).await.err().unwrap();
    assert!(matches!(error, NodeError::NoIdentity(_)), "{error}");
    let error = start(folders[1].path(), config(None)).await.err().unwrap();
    assert!(matches!(error, NodeError::NoIdentity(_)), "a second catalog of the same: {error}");
    stop(first, folders[0].path()).await;
}
