//! Which replicas are told to readers, and what replicas say that do not lead.

use crate::nodes::{
    append, config, create, describe, partition, range, read, read_from, start, stop, until, wait_for_voters,
};
use broker::cluster::ClusterConfig;
use broker::request::{OffsetQuery, OffsetSpec, ReadRange, Search};
use broker::{Broker, BrokerError, Config, Reply, Request};
use model::{LeaderEpoch, NodeId, Offset};
use std::net::SocketAddr;

fn in_rack(join: Option<SocketAddr>, rack: &str) -> Config {
    let Config { cluster, .. } = config(join);
    Config { cluster: ClusterConfig { rack: Some(rack.to_owned()), ..cluster }, ..config(join) }
}

/// Where it leads the only partition of `topic`, a node says who is read in a rack.
fn nearest(brokers: &[&Broker], rack: &str) -> Option<Option<NodeId>> {
    let of = partition("topic", 0);
    let leads =
        |broker: &&&Broker| matches!(broker.leader_epoch(&of), Some((leader, _)) if leader == Some(broker.node()));
    brokers.iter().find(leads).map(|leader| leader.nearest_replica(&of, rack))
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_sent_to_a_replica_in_their_rack_while_it_answers() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), in_rack(None, "rack-1")).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), in_rack(seed, "rack-2")).await.unwrap();
    let third = start(folders[2].path(), in_rack(seed, "rack-3")).await.unwrap();
    let mut all = vec![(first, &folders[0]), (second, &folders[1]), (third, &folders[2])];
    let brokers: Vec<&Broker> = all.iter().map(|(broker, _)| broker).collect();
    wait_for_voters(&brokers, &[1, 2, 3]).await;
    create(brokers[0], "topic", 1).await.unwrap();
    append(&brokers, "topic", 0, "x").await;
    let leader = until("each is sent to whoever is there, the leader's neighbours to nobody", async || {
        let sent = [1, 2, 3].map(|node| nearest(&brokers, &format!("rack-{node}")));
        let leader = (1..=3).find(|node| sent[node - 1] == Some(None))?;
        (1..=3).all(|node| node == leader || sent[node - 1] == Some(Some(NodeId(node as u64)))).then_some(leader as u64)
    })
    .await;
    assert_eq!(nearest(&brokers, "where nobody is").flatten(), None);

    // Nothing is written, so what is gone lacks nothing.
    let nth = all.iter().position(|(broker, _)| broker.node() != NodeId(leader)).unwrap();
    let (gone, folder) = all.remove(nth);
    let (silent, rack) = (gone.node(), format!("rack-{}", gone.node().0));
    stop(gone, folder.path()).await;
    let left: Vec<&Broker> = all.iter().map(|(broker, _)| broker).collect();
    until("nobody is sent there any more", async || (nearest(&left, &rack) == Some(None)).then_some(())).await;
    until("whoever leads says who is there", async || {
        for broker in &left {
            let told = describe(broker, "topic").await.ok()?.partitions.remove(0);
            if told.leader == Some(broker.node()) {
                let is_without = told.in_sync.len() == 2 && !told.in_sync.contains(&silent);
                return (is_without && told.offline == [silent] && told.replicas.len() == 3).then_some(());
            }
        }
        None
    })
    .await;
    for (broker, folder) in all {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_replica_that_is_cut_off_nobody_waits_for_more() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let second = start(folders[1].path(), config(first.peer_address())).await.unwrap();
    create(&first, "topic", 1).await.unwrap();
    append(&[&first], "topic", 0, "x").await;
    let behind = || ReadRange { offset: Offset(1), ..range("topic", 0) };
    until("the second follows", async || (read(&second, "topic", 0, true).await == Ok(1)).then_some(())).await;
    assert_eq!(read_from(&second, behind(), true).await, Ok(0), "there may be more here soon");
    stop(first, folders[0].path()).await;
    until("it is known to be cut off", async || {
        matches!(read_from(&second, behind(), true).await, Err(BrokerError::NotLeader(None))).then_some(())
    })
    .await;
    assert_eq!(read(&second, "topic", 0, true).await, Ok(1), "what it has is read");
    stop(second, folders[1].path()).await;
}

/// What a reader of a partition is told, and whoever asks for its end.
type Told = (Result<u64, BrokerError>, Result<Option<Offset>, BrokerError>);

fn find_nothing(_: &bytes::Bytes, _: model::Timestamp, _: usize) -> Search {
    Search::Nothing
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_another_leader_is_told_so_after_a_failover() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), config(None)).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    let all = [&first, &second, &third];
    wait_for_voters(&all, &[1, 2, 3]).await;
    create(&first, "topic", 1).await.unwrap();
    append(&all, "topic", 0, "x").await;
    let leading = || {
        let led = |broker: &&Broker| match broker.leader_epoch(&partition("topic", 0)) {
            Some((Some(leader), epoch)) if leader == broker.node() => Some(epoch),
            _ => None,
        };
        all.into_iter().find_map(|broker| Some((broker, led(&broker)?)))
    };
    let (leader, before) = until("somebody leads", async || leading()).await;
    leader.hand_over().await;
    // Leaders may go back to where they were, so all is asked until it fits together.
    let asked = async |broker: &Broker, epoch| {
        let query =
            OffsetQuery { partition: partition("topic", 0), which: OffsetSpec::Latest, find: find_nothing, epoch };
        let Reply::Offsets(mut found) = broker.call(Request::Offsets(vec![query])).await.await else { panic!() };
        let read = read_from(broker, ReadRange { epoch, ..range("topic", 0) }, false).await;
        (read, found.remove(0).map(|found| found.offset))
    };
    until("whoever leads tells epochs apart", async || {
        let (leader, now) = leading().filter(|(_, now)| *now > before)?;
        let told = [Some(before), Some(now), Some(LeaderEpoch(now.0 + 1)), None].map(|epoch| asked(leader, epoch));
        let told = futures::future::join_all(told).await;
        let fenced = (Err(BrokerError::FencedEpoch), Err(BrokerError::FencedEpoch));
        let unknown = (Err(BrokerError::UnknownEpoch), Err(BrokerError::UnknownEpoch));
        let all_there = (Ok(1), Ok(Some(Offset(1))));
        let wanted: [Told; 4] = [fenced, all_there.clone(), unknown, all_there];
        (told == wanted).then_some(())
    })
    .await;
    for (broker, folder) in [first, second, third].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}
