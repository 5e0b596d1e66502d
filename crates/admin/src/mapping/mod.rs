//! Requests to the broker's and back: one file per subject, one table of errors.

pub(crate) mod bounds;
pub(crate) mod consume;
mod error;
pub(crate) mod groups;
pub(crate) mod moves;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod offsets;
mod page;
mod partitioner;
pub(crate) mod produce;
pub(crate) mod topics;
pub(crate) mod trim;

use crate::api::{Inner, in_time};
use crate::refusal::Refusal;
use crate::shape::Code;
use broker::request::{NodeInfo, PartitionRef, TopicInfo, TopicRef, TopicsQuery};
use broker::{BrokerError, Reply, Request};
use error::{Subject, refusal};

/// An answer to something that was not asked.
pub(crate) fn mismatch() -> Refusal {
    Refusal::new(Code::Internal, "the node answered what was not asked; see its log")
}

pub(crate) fn partition_ref(topic: &str, partition: u32) -> PartitionRef {
    PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition }
}

/// The topic of this name. A description takes memory for answers before it is made.
async fn find_topic(api: &Inner, name: &str) -> Result<TopicInfo, Refusal> {
    let query = TopicsQuery { topics: Some(vec![TopicRef::Name(name.to_owned())]), create_missing: false };
    let Reply::Topics(mut found) = in_time(api.ask(Request::Topics(query))).await? else { return Err(mismatch()) };
    found.pop().unwrap_or(Err(BrokerError::UnknownTopic)).map_err(|error| refusal(&error, Subject::Topic(name)))
}

async fn node_info(api: &Inner) -> Result<NodeInfo, Refusal> {
    let Reply::Node(node) = api.ask(Request::Node).await else { return Err(mismatch()) };
    Ok(node)
}
