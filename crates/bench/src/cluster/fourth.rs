//! How long it takes until a node that comes to three others has its share of what they keep.

use super::three::Three;
use super::until_valid;
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::kafka::payload::Shape;
use crate::kafka::{consumer, fill};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
/// Topics of one partition, led by each of the three.
const A_NODE: usize = 2;
/// Of all of them, so many have a replica on the fourth node in the end. It is what Mainstem's shards come to by
/// themselves: one new shard begins there and has nothing yet, and of those of the three others two get a replica
/// there. Kafka is told to move as many.
const SHARE: usize = 4;
const POLL: Duration = Duration::from_millis(50);
/// Whoever is asked who leads has heard of a change after this.
const SETTLING: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(600);

/// Seconds from the start of a fourth node until it has its share of so many bytes and everything is in sync.
pub(super) fn measure(cluster: &mut Three, bytes: u64) -> Outcome<f64> {
    let targets = cluster.topics(A_NODE)?;
    let mut filled = Vec::new();
    for (leader, topic) in &targets {
        filled.push(fill::fill(*leader, topic, SHAPE, 1, bytes / targets.len() as u64)?);
    }
    cluster.settle()?;
    let began = Instant::now();
    let number = cluster.add()?;
    let runtime = client_runtime()?;
    let near = cluster.addresses()[0];
    if cluster.moves_when_told() {
        runtime.block_on(tell(near, &targets[..SHARE], number, began))?;
    }
    while !runtime.block_on(has_share(near, &targets, number)).unwrap_or(false) {
        if began.elapsed() > LIMIT {
            return Err("the fourth node does not get its share".into());
        }
        thread::sleep(POLL);
    }
    let took = began.elapsed();
    for ((_, topic), filled) in targets.iter().zip(filled) {
        // Leaders may still change places: what is read of one that leads no longer is read again, a while later.
        until_valid(|| {
            let read = runtime.block_on(async {
                let (brokers, led) = Client::connect(near).await?.leaders(topic).await?;
                let leader = led.first().and_then(|led| brokers.get(&led.leader)).ok_or("nobody leads")?;
                consumer::verify(*leader, topic, &filled.plan, &filled.sent).await
            });
            if read.is_err() {
                thread::sleep(SETTLING);
            }
            read
        })?;
    }
    Ok(took.as_secs_f64())
}

/// Asks for replicas on the new node, in the place of the last of those that there are.
async fn tell(near: SocketAddr, topics: &[(SocketAddr, String)], number: i32, began: Instant) -> Outcome<()> {
    let mut client = Client::connect(near).await?;
    while client.leaders(&topics[0].1).await?.0.len() <= super::three::NODES {
        if began.elapsed() > LIMIT {
            return Err("the fourth node does not come".into());
        }
        tokio::time::sleep(POLL).await;
    }
    for (_, topic) in topics {
        let (_, led) = client.leaders(topic).await?;
        let mut replicas = led.first().map(|led| led.replicas.clone()).ok_or("no such topic")?;
        replicas.pop();
        replicas.push(number);
        client.reassign(topic, &replicas).await?;
    }
    Ok(())
}

/// Whether the node has its share, and all replicas are in sync. Leaders are asked: they know.
async fn has_share(near: SocketAddr, topics: &[(SocketAddr, String)], number: i32) -> Outcome<bool> {
    let mut has = 0;
    for (_, topic) in topics {
        let (brokers, led) = Client::connect(near).await?.leaders(topic).await?;
        let leader = led.first().and_then(|led| brokers.get(&led.leader)).ok_or("nobody leads")?;
        let (_, led) = Client::connect(*leader).await?.leaders(topic).await?;
        let led = led.first().ok_or("no such topic")?;
        if led.in_sync.len() != super::three::NODES || led.replicas.len() != super::three::NODES {
            return Ok(false);
        }
        has += usize::from(led.in_sync.contains(&number));
    }
    Ok(has >= SHARE)
}
