//! Moving a partition to another shard.

use super::error::{Subject, refusal};
use super::partition_ref;
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::body;
use crate::refusal::Refusal;
use crate::shape::{MovePartition, MovedPartition};
use model::ShardId;
use std::sync::Arc;

pub(crate) async fn move_partition(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let MovePartition { shard } = body::read(&call.body)?;
    let (topic, partition) = (call.name(0), call.partition());
    let moved = api.broker.move_partition(&partition_ref(topic, partition), ShardId(shard)).await;
    moved.map_err(|error| refusal(&error, Subject::Partition(topic, partition)))?;
    Answer::json(200, &MovedPartition { topic: topic.to_owned(), partition, shard })
}
