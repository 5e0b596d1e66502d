//! Fetch.

use super::error::fetch_code;
use super::fetch_session::{Asked, FetchSessions};
use super::leaders::{Leader, Leaders};
use super::nodes::Node;
use super::{Context, Step, ask, partition_ref, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use crate::codec::records::Records;
use broker::request::{EpochEnd, ReadPart, ReadQuery, ReadRange};
use broker::{BrokerError, Chunk, Reply, Request};
use gateway::Output;
use model::limit;
use model::{LeaderEpoch, Offset};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A connection's fetch session, shared with the answers that are on their way.
pub(crate) type Sessions = Arc<Mutex<FetchSessions>>;

/// The first version that names topics by id.
const BY_ID: i16 = 13;
/// The first version that names leaders (KIP-951).
const LEADERS: i16 = 16;
/// Nobody waits longer than this.
const WAIT_MAX: Duration = Duration::from_secs(300);

fn bytes(asked: i32) -> usize {
    usize::try_from(asked).unwrap_or(0).min(limit::FETCH_BYTES_MAX)
}

pub(super) fn handle(context: &Arc<Context>, sessions: &Sessions, version: i16, mut request: FetchRequest) -> Step {
    let asked = match sessions.lock().take(&mut request, version >= BY_ID, (context.random)()) {
        Ok(asked) => asked,
        Err(error) => {
            let error_code = error.code();
            return Step::Reply(ResponseBody::Fetch(FetchResponse { error_code, ..FetchResponse::default() }));
        }
    };
    let Asked { topics: wanted, session, incremental } = asked;
    // Whoever says where it is may be sent to a replica that is nearer, and does not insist on the leader
    // (KIP-392).
    let rack: &str = &request.rack_id;
    let (mut parts, mut is_sent_away) = (Vec::new(), false);
    let mut topics = Vec::new();
    for topic in wanted {
        let from = topic_ref(&topic.topic, topic.topic_id, version >= BY_ID);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let mut answer = PartitionData { partition_index: partition.partition, ..PartitionData::default() };
            let from = partition_ref(&from, partition.partition);
            let nearest = (!rack.is_empty()).then(|| context.directory.nearest_replica(&from, rack)).flatten();
            if let Some(nearest) = nearest {
                // It is asked from now on, for what it has.
                answer.preferred_read_replica = nearest.0 as i32;
                answer.high_watermark = -1;
                // None at all would be no answer to librdkafka.
                answer.records = Some(Records::default());
                partitions.push(answer);
                is_sent_away = true;
                continue;
            }
            partitions.push(answer);
            parts.push(ReadRange {
                from,
                // Below every offset there is, so answered as out of range.
                offset: Offset(u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX)),
                max_bytes: bytes(partition.partition_max_bytes),
                epoch: u32::try_from(partition.current_leader_epoch).ok().map(LeaderEpoch),
                last_epoch: u32::try_from(partition.last_fetched_epoch).ok().map(LeaderEpoch),
            });
        }
        topics.push(FetchableTopicResponse { topic: topic.topic, topic_id: topic.topic_id, partitions });
    }
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    // With nothing to read from there is nothing to wait for.
    let min_bytes = if parts.is_empty() || is_sent_away { 0 } else { bytes(request.min_bytes) };
    let (in_files, any_replica) = (true, !rack.is_empty());
    let query = ReadQuery { parts, min_bytes, max_wait, max_bytes: bytes(request.max_bytes), in_files, any_replica };
    let (context, sessions) = (context.clone(), sessions.clone());
    let read_committed = request.isolation_level == 1;
    ask(Request::Read(query), move |reply| {
        let Reply::Read { parts: outcomes, .. } = reply else { return ResponseBody::Fetch(FetchResponse::default()) };
        let (mut outcomes, mut leaders) = (outcomes.into_iter(), Leaders::new(&context));
        for FetchableTopicResponse { topic, topic_id, partitions } in &mut topics {
            for partition in partitions.iter_mut().filter(|partition| partition.preferred_read_replica < 0) {
                match outcomes.next() {
                    Some(Ok(part)) => {
                        fill(partition, part);
                        partition.aborted_transactions = read_committed.then(Vec::new);
                    }
                    Some(Err(error)) => {
                        let is_stale = matches!(error, BrokerError::NotLeader(_) | BrokerError::FencedEpoch);
                        if version >= LEADERS && is_stale {
                            let from = topic_ref(topic, *topic_id, version >= BY_ID);
                            let leader = leaders.find(&partition_ref(&from, partition.partition_index));
                            partition.current_leader = leader.map_or_else(LeaderIdAndEpoch::default, named);
                        }
                        refuse(partition, &error, version);
                    }
                    None => refuse(partition, &BrokerError::Unavailable, version),
                }
            }
        }
        sessions.lock().tell(session, incremental, &mut topics);
        let node_endpoints = leaders.endpoints(endpoint);
        let response = FetchResponse { responses: topics, node_endpoints, ..FetchResponse::default() };
        ResponseBody::Fetch(FetchResponse { session_id: session, ..response })
    })
}

fn named(leader: Leader) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch }
}

fn endpoint(Node { id, host, port, rack }: Node) -> NodeEndpoint {
    NodeEndpoint { node_id: id, host, port, rack }
}

fn fill(partition: &mut PartitionData, part_of: ReadPart) {
    partition.high_watermark = part_of.end.0 as i64;
    partition.last_stable_offset = part_of.end.0 as i64;
    partition.log_start_offset = part_of.start.0 as i64;
    if let Some(EpochEnd { epoch, end }) = part_of.diverges {
        partition.diverging_epoch.epoch = epoch.map_or(-1, |epoch| epoch.0 as i32);
        partition.diverging_epoch.end_offset = end.map_or(-1, |end| end.0 as i64);
    }
    let part = |chunk| match chunk {
        Chunk::Slice(slice) => Output::Bytes(slice.bytes),
        Chunk::File { range, .. } => Output::File(range),
    };
    partition.records = Some(Records { parts: part_of.chunks.into_iter().map(part).collect() });
}

fn refuse(partition: &mut PartitionData, error: &BrokerError, version: i16) {
    partition.error_code = match error {
        BrokerError::UnknownTopic if version >= BY_ID => ErrorCode::UnknownTopicId.code(),
        error => fetch_code(error),
    };
    if matches!(error, BrokerError::UnknownTopic | BrokerError::UnknownPartition) {
        partition.aborted_transactions = Some(Vec::new());
    }
    partition.high_watermark = -1;
    partition.records = Some(Records::default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fetch::{FetchPartition, FetchTopic};
    use crate::codec::primitive::Uuid;
    use crate::fake::Fake;
    use broker::request::TopicRef;
    use gateway::Seats;
    use model::{NodeId, TopicId};

    const ID: [u8; 16] = [7; 16];

    /// What a fetch from partitions 0, 1 and 2 is answered, of which the broker says these.
    fn fetched(fake: Fake, version: i16, outcomes: Vec<Result<ReadPart, BrokerError>>) -> FetchResponse {
        let context = Arc::new(fake.context());
        let sessions = Arc::new(Mutex::new(FetchSessions::new(Seats::new(9))));
        let partition = |partition| FetchPartition { partition, ..FetchPartition::default() };
        let topic = FetchTopic {
            topic: if version < BY_ID { "elsewhere".into() } else { "".into() },
            topic_id: Uuid(ID),
            partitions: (0..3).map(partition).collect(),
        };
        let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
        let Step::Ask(Request::Read(_), then) = handle(&context, &sessions, version, request) else {
            panic!("not asked")
        };
        match then(Reply::Read { parts: outcomes, waited: Duration::ZERO }) {
            Step::Reply(ResponseBody::Fetch(response)) => response,
            _ => panic!("another answer"),
        }
    }

    /// Partition 0 is led by node 3, partition 1 by nobody known.
    fn by_id() -> Fake {
        let mut fake = Fake::three();
        let leaders = std::mem::take(&mut fake.leaders);
        let by_id = |((_, partition), leader)| ((TopicRef::Id(TopicId(ID)), partition), leader);
        fake.leaders = leaders.into_iter().map(by_id).collect();
        fake
    }

    /// What the broker is asked when somebody in a rack reads partitions 0, 1 and 2, and what it is told then.
    fn read_from(rack: &str) -> (ReadQuery, FetchResponse) {
        let context = Arc::new(Fake::three().context());
        let sessions = Arc::new(Mutex::new(FetchSessions::new(Seats::new(9))));
        let partition =
            |partition| FetchPartition { partition, partition_max_bytes: 1000, ..FetchPartition::default() };
        let topics = vec![FetchTopic {
            topic: "elsewhere".into(),
            partitions: (0..3).map(partition).collect(),
            ..FetchTopic::default()
        }];
        let (rack_id, min_bytes, max_wait_ms, max_bytes) = (rack.into(), 1, 500, 9000);
        let request = FetchRequest { topics, rack_id, min_bytes, max_wait_ms, max_bytes, ..FetchRequest::default() };
        let Step::Ask(Request::Read(query), then) = handle(&context, &sessions, 12, request) else {
            panic!("not asked")
        };
        let part = |part: &ReadRange| {
            let (topic, end, start) = (TopicId(ID), Offset(100 + u64::from(part.from.partition)), Offset(7));
            Ok(ReadPart { topic, end, start, chunks: Vec::new(), diverges: None })
        };
        let parts = query.parts.iter().map(part).collect();
        match then(Reply::Read { parts, waited: Duration::ZERO }) {
            Step::Reply(ResponseBody::Fetch(response)) => (query, response),
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn whoever_is_in_a_rack_is_sent_to_the_replica_there() {
        let (query, response) = read_from("rack-2");
        let asked: Vec<u32> = query.parts.iter().map(|part| part.from.partition).collect();
        assert_eq!(asked, [0, 2], "of the partition that is nearer elsewhere nothing is read here");
        assert!(query.any_replica, "nobody insists on the leader");
        assert_eq!(query.min_bytes, 0, "it is told at once");
        let told = |partition: &PartitionData| {
            let PartitionData { partition_index, preferred_read_replica, high_watermark, .. } = partition;
            (*partition_index, *preferred_read_replica, *high_watermark)
        };
        let partitions = &response.responses[0].partitions;
        assert_eq!(partitions.iter().map(told).collect::<Vec<_>>(), [(0, -1, 100), (1, 2, -1), (2, -1, 102)]);
        assert!(partitions.iter().all(|partition| partition.error_code == 0));
        assert!(partitions.iter().all(|partition| partition.records.as_ref().is_some_and(Records::is_empty)));
    }

    #[test]
    fn whoever_is_where_no_replica_is_reads_here() {
        for (rack, any_replica) in [("rack-9", true), ("", false)] {
            let (query, response) = read_from(rack);
            assert_eq!((query.parts.len(), query.min_bytes, query.any_replica), (3, 1, any_replica), "{rack}");
            let partitions = &response.responses[0].partitions;
            assert!(partitions.iter().all(|partition| partition.preferred_read_replica == -1), "{rack}");
            assert!(partitions.iter().all(|partition| partition.high_watermark >= 100), "{rack}");
        }
    }

    fn leaders(response: &FetchResponse) -> Vec<(i32, i32)> {
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|p| (p.current_leader.leader_id, p.current_leader.leader_epoch)).collect()
    }

    #[test]
    fn who_leads_is_said_where_it_is_known() {
        let elsewhere = || Err(BrokerError::NotLeader(Some(NodeId(3))));
        let outcomes = || vec![elsewhere(), elsewhere(), Err(BrokerError::OffsetOutOfRange)];
        let response = fetched(by_id(), 16, outcomes());
        let codes: Vec<i16> = response.responses[0].partitions.iter().map(|p| p.error_code).collect();
        let expected = [ErrorCode::NotLeaderOrFollower, ErrorCode::NotLeaderOrFollower, ErrorCode::OffsetOutOfRange];
        assert_eq!(codes, expected.map(ErrorCode::code));
        assert_eq!(leaders(&response), [(3, 7), (-1, -1), (-1, -1)]);
        let place = NodeEndpoint { node_id: 3, host: "node-3".into(), port: 9093, rack: Some("rack-3".into()) };
        assert_eq!(response.node_endpoints, [place]);
        let fenced = vec![Err(BrokerError::FencedEpoch), elsewhere(), elsewhere()];
        assert_eq!(leaders(&fetched(by_id(), 18, fenced))[0], (3, 7));
        for (version, fake) in [(12, Fake::three()), (15, by_id())] {
            let older = fetched(fake, version, outcomes());
            assert_eq!(leaders(&older), [(-1, -1); 3], "{version}");
            assert!(older.node_endpoints.is_empty(), "{version}");
        }
    }
}
