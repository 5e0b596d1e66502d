//! Moving a partition to another shard.

use super::error::{Subject, refusal};
use super::partition_ref;
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::body;
use crate::query::shown;
use crate::refusal::Refusal;
use crate::shape::{Code, MovePartition, MovedPartition};
use broker::BrokerError;
use model::ShardId;
use std::sync::Arc;

pub(crate) async fn move_partition(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let MovePartition { shard } = body::read(&call.body)?;
    let (topic, partition) = (call.name(0), call.partition());
    let moved = api.broker.move_partition(&partition_ref(topic, partition), ShardId(shard)).await;
    moved.map_err(|error| not_moved(&error, topic, partition, shard))?;
    Answer::json(200, &MovedPartition { topic: topic.to_owned(), partition, shard })
}

/// Why a partition is not where it shall be.
fn not_moved(error: &BrokerError, topic: &str, partition: u32, shard: u32) -> Refusal {
    match error {
        BrokerError::UnknownShard => Refusal::new(
            Code::UnknownShard,
            format!("there is no shard {shard} that partitions can be in; GET /v1/nodes tells which shards there are"),
        ),
        BrokerError::Unknown => Refusal::new(
            Code::OutcomeUnknown,
            format!(
                "partition {partition} of topic {} is not in shard {shard} yet; as long as moving_to of the topic's \
                 description says so it is on its way, and gets there by itself",
                shown(topic)
            ),
        ),
        _ => refusal(error, Subject::Partition(topic, partition)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_named_that_is_not_there_and_what_is_on_its_way_is_not_to_be_asked_for_again() {
        let refused = not_moved(&BrokerError::UnknownShard, "t", 4, 9);
        assert_eq!(refused.code, Code::UnknownShard);
        assert!(refused.message.starts_with("there is no shard 9 "), "{refused}");
        let late = not_moved(&BrokerError::Unknown, "t", 4, 9);
        assert_eq!(late.code, Code::OutcomeUnknown);
        assert!(late.message.starts_with("partition 4 of topic t is not in shard 9 yet; "), "{late}");
    }
}
