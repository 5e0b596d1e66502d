//! Many streams through Kafka: partitions of topics of a thousand each.

use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::{Client, produce_frame};
use crate::piece::Size;
use std::net::SocketAddr;
use std::thread;

/// Partitions of one topic.
const PARTITIONS_A_TOPIC: usize = 1000;
/// The batches have a time of long ago, by which they would be due to go.
const KEPT: [(&str, &str); 1] = [("retention.ms", "-1")];
/// Requests of one connection that are under way: enough that entries fill up.
const IN_FLIGHT: usize = 64;

/// The topic of a stream, by the stream's number.
pub(crate) fn topic(stream: usize) -> String {
    format!("t{}", stream / PARTITIONS_A_TOPIC)
}

/// Its partition there.
pub(crate) fn partition(stream: usize) -> i32 {
    (stream % PARTITIONS_A_TOPIC) as i32
}

/// The number of a stream.
pub(crate) fn number(topic: &str, partition: i32) -> Option<usize> {
    let topic: usize = topic.strip_prefix('t')?.parse().ok()?;
    Some(topic * PARTITIONS_A_TOPIC + usize::try_from(partition).ok()?)
}

/// Makes so many.
pub(crate) fn create(address: SocketAddr, streams: usize) -> Outcome<()> {
    client_runtime()?.block_on(async {
        let mut client = Client::connect(address).await?;
        for first in (0..streams).step_by(PARTITIONS_A_TOPIC) {
            let partitions = (streams - first).min(PARTITIONS_A_TOPIC);
            client.create_topic_with(&topic(first), partitions, &KEPT).await?;
        }
        Ok(())
    })
}

/// Produces batches without waiting for stable storage, the streams of each connection taking turns,
/// and sees that all of them are there.
pub(crate) fn fill(address: SocketAddr, streams: usize, size: Size, batches: u64, connections: usize) -> Outcome<()> {
    let before = count(address, streams)?;
    let producers: Vec<_> = (0..connections)
        .map(|nth| {
            thread::spawn(move || -> Outcome<()> {
                client_runtime()?.block_on(async {
                    let mut client = Client::connect(address).await?;
                    let batch = size.batch();
                    let own: Vec<usize> = (nth..streams).step_by(connections).collect();
                    let (mut under_way, mine) = (0, (nth as u64..batches).step_by(connections).count());
                    for turn in 0..mine {
                        let stream = own[turn % own.len()];
                        client.send(&produce_frame(&topic(stream), partition(stream), &batch, 1)?).await?;
                        under_way += 1;
                        if under_way == IN_FLIGHT {
                            client.produced().await?;
                            under_way -= 1;
                        }
                    }
                    for _ in 0..under_way {
                        client.produced().await?;
                    }
                    Ok(())
                })
            })
        })
        .collect();
    for producer in producers {
        producer.join().map_err(|_| "a producer panicked")??;
    }
    let (stored, given) = (count(address, streams)? - before, batches * size.records);
    if stored == given { Ok(()) } else { Err(format!("void: {stored} of {given} records").into()) }
}

/// The records of all of them.
pub(crate) fn count(address: SocketAddr, streams: usize) -> Outcome<u64> {
    client_runtime()?.block_on(async {
        let mut client = Client::connect(address).await?;
        let mut sum = 0;
        for first in (0..streams).step_by(PARTITIONS_A_TOPIC) {
            sum += client.count(&topic(first), (streams - first).min(PARTITIONS_A_TOPIC)).await?;
        }
        Ok(sum)
    })
}
