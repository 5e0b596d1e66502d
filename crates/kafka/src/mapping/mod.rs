//! Kafka's requests as the broker's, and back. One file per subject; one table of errors.

mod cluster;
mod commit;
mod configs;
mod elect;
mod epochs;
mod error;
mod fetch;
mod fetch_session;
mod group;
mod group_admin;
mod grow;
mod leaders;
mod metadata;
mod nodes;
mod offsets;
mod placement;
mod produce;
mod reassign;
mod topics;
mod trim;

use crate::codec::api_key::ApiKey;
use crate::codec::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::codec::body::{RequestBody, ResponseBody};
use crate::codec::primitive::Uuid;
use crate::codec::text::Text;
use crate::directory::Directory;
use broker::request::{PartitionRef, TopicRef};
use broker::{Reply, Request};
use fetch_session::FetchSessions;
use gateway::{ProtocolCounters, Seats};
use model::{NodeId, TopicId, limit};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What a session knows of its node and its client.
#[derive(Clone)]
pub struct Context {
    /// This node.
    pub node: NodeId,
    /// The cluster.
    pub cluster: u128,
    /// The host by which the client reached us. It is told to clients while the node is alone, or has told
    /// nobody where Kafka's clients reach it; else they are told that.
    pub host: String,
    /// The port by which the client reached us.
    pub port: u16,
    /// Where the client is, for people.
    pub client: String,
    /// Draws a random number.
    pub random: fn() -> u128,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// A seat for each partition that the node's fetch sessions may remember.
    pub fetch_places: Seats,
    /// What the node's sessions count: see [`crate::session::counters()`].
    pub counters: Arc<ProtocolCounters>,
    /// What the node may hold for clients.
    pub memory: broker::Memory,
    /// Where the other nodes are, and who leads what.
    pub directory: Arc<dyn Directory>,
}

/// What a session's requests leave for later ones.
pub(crate) struct Memory {
    /// What is wrong with what the client sends.
    pub(crate) rejections: Rejecting,
    /// Its fetch session.
    fetches: fetch::Sessions,
}

impl Memory {
    pub(crate) fn new(context: &Context) -> Self {
        let fetches = Arc::new(Mutex::new(FetchSessions::new(context.fetch_places.clone())));
        Memory { rejections: Rejecting::default(), fetches }
    }
}

/// Shared with the answers that are on their way.
pub(crate) type Rejecting = Arc<Mutex<Rejections>>;

/// Parts of requests that were refused because they are malformed.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    count: u64,
    last: Option<String>,
}

impl Rejections {
    fn note(&mut self, what: String) {
        self.count += 1;
        self.last = Some(what);
    }

    /// How many since the last call, and what the last one was.
    pub(crate) fn take(&mut self) -> Option<(u64, String)> {
        Some((std::mem::take(&mut self.count), self.last.take()?))
    }
}

/// What to do with a request.
pub(crate) enum Step {
    /// Answer it.
    Reply(ResponseBody),
    /// The client wants no answer.
    Silent,
    /// The client wants no answer, or would make the wrong thing of it, and is told by the end of the connection that
    /// something went wrong: what an answer would have said.
    Close(Vec<i16>),
    /// Ask the broker, then go on.
    Ask(Request, Then),
}

/// What to do with the broker's answer.
pub(crate) type Then = Box<dyn FnOnce(Reply) -> Step + Send>;

/// Asks the broker and answers with what `then` makes of its reply.
pub(crate) fn ask(request: Request, then: impl FnOnce(Reply) -> ResponseBody + Send + 'static) -> Step {
    Step::Ask(request, Box::new(|reply| Step::Reply(then(reply))))
}

/// The APIs that work: an API either works or is not advertised.
const SPOKEN: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

/// Whether requests of `api` are answered.
pub(crate) fn is_spoken(api: ApiKey) -> bool {
    SPOKEN.contains(&api)
}

/// What ApiVersions answers.
pub(crate) fn spoken() -> Vec<ApiVersion> {
    SPOKEN.iter().map(|api| api.entry()).collect()
}

/// From version 3 on a client says what it is, in words that metrics could name (KIP-511).
fn api_versions(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let legal = |name: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let ends = [name.bytes().next(), name.bytes().next_back()];
        ends.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric())) && name.bytes().all(inner)
    };
    if version >= 3 && !(legal(&request.client_software_name) && legal(&request.client_software_version)) {
        let error_code = error::invalid_request();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    ApiVersionsResponse { api_keys: spoken(), ..ApiVersionsResponse::default() }
}

/// What to do with a request of a version that is spoken.
pub(crate) fn handle(
    context: &Arc<Context>,
    memory: &mut Memory,
    version: i16,
    client_id: Option<Text>,
    body: RequestBody,
) -> Step {
    match body {
        RequestBody::ApiVersions(request) => Step::Reply(ResponseBody::ApiVersions(api_versions(version, &request))),
        RequestBody::Metadata(request) => metadata::handle(context, version, request),
        RequestBody::FindCoordinator(request) => group::find_coordinator(context, version, &request),
        RequestBody::Produce(request) => produce::handle(context, &memory.rejections, version, request),
        RequestBody::InitProducerId(request) => produce::init_producer(&request),
        RequestBody::Fetch(request) => fetch::handle(context, &memory.fetches, version, request),
        RequestBody::ListOffsets(request) => offsets::handle(version, request),
        RequestBody::CreateTopics(request) => topics::create(context, request),
        RequestBody::DeleteTopics(request) => topics::delete(version, request),
        RequestBody::JoinGroup(request) => group::join(context, version, client_id, request),
        RequestBody::SyncGroup(request) => group::sync(request),
        RequestBody::Heartbeat(request) => group::heartbeat(&request),
        RequestBody::LeaveGroup(request) => group::leave(version, request),
        RequestBody::OffsetCommit(request) => commit::commit(version, request),
        RequestBody::OffsetFetch(request) => commit::fetch(version, request),
        RequestBody::DescribeGroups(request) => group_admin::describe(version, request),
        RequestBody::ListGroups(request) => group_admin::list(request),
        RequestBody::DeleteGroups(request) => group_admin::delete(request),
        RequestBody::OffsetDelete(request) => group_admin::delete_offsets(request),
        RequestBody::DeleteRecords(request) => trim::handle(request),
        RequestBody::OffsetForLeaderEpoch(request) => epochs::handle(request),
        RequestBody::DescribeConfigs(request) => configs::describe(context, request),
        RequestBody::AlterConfigs(request) => configs::alter(request),
        RequestBody::IncrementalAlterConfigs(request) => configs::alter_incrementally(request),
        RequestBody::CreatePartitions(request) => grow::handle(context, request),
        RequestBody::ElectLeaders(request) => elect::handle(request),
        RequestBody::AlterPartitionReassignments(request) => reassign::alter(context, request),
        RequestBody::ListPartitionReassignments(_) => reassign::list(),
        RequestBody::DescribeCluster(request) => cluster::describe(context, &request),
        RequestBody::DescribeLogDirs(request) => cluster::log_dirs(request),
        RequestBody::DescribeTopicPartitions(request) => metadata::partitions(context, request),
        // `is_spoken` keeps the others away.
        _ => Step::Silent,
    }
}

/// The topic a request names: by id from some version on, by name before.
fn topic_ref(name: &str, id: Uuid, by_id: bool) -> TopicRef {
    if by_id { TopicRef::Id(TopicId(id.0)) } else { topic_named(name) }
}

/// The topic of this name. What is longer than any name is cut, for there may be a copy for each partition.
fn topic_named(name: &str) -> TopicRef {
    TopicRef::Name(name[..name.floor_char_boundary(limit::NAME_BYTES_MAX + 1)].to_owned())
}

fn partition_ref(topic: &TopicRef, partition: i32) -> PartitionRef {
    // No topic has partition u32::MAX, so what is negative is not found.
    PartitionRef { topic: topic.clone(), partition: u32::try_from(partition).unwrap_or(u32::MAX) }
}

/// Whether Kafka can spell the name: others are hidden from it.
fn is_kafka_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}
