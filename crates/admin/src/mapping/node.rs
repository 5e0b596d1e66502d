//! The node.

use super::node_info;
use crate::answer::Answer;
use crate::api::{Call, Inner, now};
use crate::refusal::Refusal;
use crate::shape::{Disk, Node, NodeStates, Shard, ShardState};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::ShardStatus;
use std::sync::Arc;

/// An identity as Kafka spells it: 16 bytes in base64 for URLs.
pub(crate) fn identity(bytes: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) async fn describe(api: Arc<Inner>, _: Call) -> Result<Answer, Refusal> {
    let info = node_info(&api).await?;
    let uptime = api.about.began.elapsed();
    let node = Node {
        node: info.node.0,
        cluster: identity(api.broker.cluster().to_be_bytes()),
        version: api.about.version.to_owned(),
        started: now() - uptime.as_millis() as i64,
        uptime_seconds: uptime.as_millis() as f64 / 1000.0,
        data_folder: info.folder.display().to_string(),
        disk: info.disk.map(|(total_bytes, free_bytes)| Disk { total_bytes, free_bytes }),
        listeners: api.about.listeners.clone(),
        default_partitions: info.default_partitions,
        auto_create_topics: info.auto_create_topics,
        topics: info.topics as u64,
        shards: api.broker.status().into_iter().map(shard).collect(),
        problems: api.broker.problems(),
    };
    Answer::json(200, &node)
}

/// What to compare with other nodes.
pub(crate) async fn states(api: Arc<Inner>, _: Call) -> Result<Answer, Refusal> {
    let checksums = api.broker.state_checksums().await;
    let shards = checksums.into_iter().map(|(shard, checksum)| ShardState { shard: shard.0, checksum }).collect();
    Answer::json(200, &NodeStates { node: api.broker.node().0, shards })
}

fn shard(status: ShardStatus) -> Shard {
    Shard {
        shard: status.shard.0,
        leads: status.leads,
        applied: status.applied,
        streams: status.streams,
        disk_bytes: status.disk_bytes,
        live_bytes: status.usage.live_bytes,
        bound_bytes: status.usage.bound(),
        in_doubt: status.in_doubt,
        damaged: status.damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_spelled_as_kafka_does() {
        assert_eq!(identity([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(identity([0xff; 16]), "_____________________w");
    }
}
