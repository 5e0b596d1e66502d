//! How long nobody is served when the leader of a partition is killed.

use super::three::Three;
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::{Client, produce_frame};
use crate::kafka::payload::{Shape, Stamp, Template};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const SINGLE: Shape = Shape { record: 1024, batch: 0, keyed: false, lz4: false };
/// Between two records while all is well.
const PACE: Duration = Duration::from_millis(2);
/// A client gives an answer up after this, and looks for the leader again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks for a leader.
const LOOK: Duration = Duration::from_millis(10);
/// So much work before and after.
const CALM: Duration = Duration::from_secs(2);
/// Nobody waits longer for a new leader.
const LIMIT: Duration = Duration::from_secs(60);

/// Milliseconds from the last acknowledgement before the kill to the first one after it, for a client that
/// sends one record after the other and asks again whoever may lead.
pub(super) fn measure(cluster: &mut Three) -> Outcome<f64> {
    let (leader, topic) = cluster.topics(1)?.swap_remove(0);
    let addresses = cluster.addresses();
    let runtime = client_runtime()?;
    let mut last = runtime.block_on(work(leader, &topic, CALM))?;
    cluster.kill(leader)?;
    let killed = Instant::now();
    let others: Vec<SocketAddr> = addresses.into_iter().filter(|address| *address != leader).collect();
    let back = runtime.block_on(async {
        loop {
            for other in &others {
                if let Ok(Ok(new)) = timeout(PATIENCE, find(*other, &topic)).await
                    && new != leader
                    && let Ok(first) = work(new, &topic, Duration::ZERO).await
                {
                    return Outcome::Ok(first);
                }
            }
            if killed.elapsed() > LIMIT {
                return Err("nobody leads after a leader was killed".into());
            }
            sleep(LOOK).await;
        }
    })?;
    last = last.min(killed);
    Ok((back - last).as_secs_f64() * 1000.0)
}

async fn find(address: SocketAddr, topic: &str) -> Outcome<SocketAddr> {
    let (brokers, led) = Client::connect(address).await?.leaders(topic).await?;
    let leader = led.first().and_then(|led| brokers.get(&led.leader));
    leader.copied().ok_or_else(|| "nobody is known to lead".into())
}

/// Sends single records for a while, one at least: when the last was acknowledged.
async fn work(leader: SocketAddr, topic: &str, time: Duration) -> Outcome<Instant> {
    let began = Instant::now();
    let mut template = Template::new(SINGLE, 0)?;
    let mut client = timeout(PATIENCE, Client::connect(leader)).await??;
    loop {
        let batch = Bytes::copy_from_slice(template.stamp(Stamp { producer: 0, number: 0, nanos: 0 }, 0));
        client.send(&produce_frame(topic, 0, &batch, -1)?).await?;
        timeout(PATIENCE, client.produced()).await??;
        let acknowledged = Instant::now();
        if began.elapsed() >= time {
            return Ok(acknowledged);
        }
        sleep(PACE).await;
    }
}
