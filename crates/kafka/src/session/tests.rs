//! One connection, as a transcript.

use super::*;
use crate::fake::Fake;
use gateway::ProtocolCounters;
use gateway::protocol::ApiCounters;
use model::Offset;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const API_VERSIONS: i16 = 18;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const INIT_PRODUCER_ID: i16 = 22;
const OFFSET_FETCH: i16 = 9;
const DESCRIBE_GROUPS: i16 = 15;
const DELETE_TOPICS: i16 = 20;
const DELETE_RECORDS: i16 = 21;

fn session() -> KafkaSession {
    session_in(&broker::Memory::new(limit::MEMORY_BYTES_MIN))
}

fn session_in(memory: &broker::Memory) -> KafkaSession {
    KafkaSession::new(Context { memory: memory.clone(), ..Fake::alone().context() })
}

fn request(api: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    content.extend_from_slice(&api.to_be_bytes());
    content.extend_from_slice(&version.to_be_bytes());
    content.extend_from_slice(&correlation_id.to_be_bytes());
    content.extend_from_slice(&(-1_i16).to_be_bytes());
    content.extend_from_slice(body);
    [&(content.len() as i32).to_be_bytes()[..], &content].concat()
}

/// Of no partitions, which is enough to promise bytes.
fn fetch(correlation_id: i32, max_bytes: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [-1, 0, 0, max_bytes] {
        body.extend_from_slice(&i32::to_be_bytes(number));
    }
    body.extend_from_slice(&[0; 5]);
    request(FETCH, 4, correlation_id, &body)
}

/// InitProducerId: a small request that the broker answers.
fn init(correlation_id: i32) -> Vec<u8> {
    request(INIT_PRODUCER_ID, 0, correlation_id, b"\xff\xff\0\0\0\0")
}

/// DeleteRecords, of so many partitions of one topic.
fn delete_records(correlation_id: i32, partitions: usize) -> Vec<u8> {
    let head = [&1_i32.to_be_bytes()[..], b"\0\x01t", &(partitions as i32).to_be_bytes()].concat();
    request(DELETE_RECORDS, 0, correlation_id, &[head, vec![0; 12 * partitions + 4]].concat())
}

fn of(counters: &ProtocolCounters, api: ApiKey) -> &ApiCounters {
    counters.apis().find(|row| row.name == api.name()).unwrap()
}

fn nothing() -> Reply {
    Reply::Read { parts: Vec::new(), waited: Duration::ZERO }
}

fn answered(session: &mut KafkaSession) -> Vec<i32> {
    let mut output = Vec::new();
    session.take_output(&mut output);
    let correlation = |output: &Output| match output {
        Output::Bytes(bytes) => i32::from_be_bytes(bytes[4..8].try_into().unwrap()),
        Output::File(_) => panic!("nothing is read from files here"),
    };
    output.iter().map(correlation).collect()
}

/// Takes all requests that may be handed on.
fn handed_on(session: &mut KafkaSession, input: &mut BytesMut) -> Vec<RequestId> {
    let mut all = Vec::new();
    loop {
        session.receive(input, Instant::now()).unwrap();
        let more: Vec<_> = std::iter::from_fn(|| session.next_request()).map(|(id, _)| id).collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn a_fetch_is_handed_on_alone() {
    let mut session = session();
    let requests = [init(0), fetch(1, i32::MAX), fetch(2, 1), request(API_VERSIONS, 0, 3, &[]), init(4)];
    let mut input = BytesMut::from(&requests.concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0], "the fetch waits for the one before");
    assert!(!session.wants_input(), "and holds up those behind it");
    session.on_reply(0, Reply::NewProducer(Err(broker::BrokerError::Unavailable)), Instant::now());
    assert_eq!(answered(&mut session), [0]);
    assert_eq!(handed_on(&mut session, &mut input), [1]);
    session.on_reply(1, nothing(), Instant::now());
    assert_eq!(answered(&mut session), [1]);
    assert_eq!(handed_on(&mut session, &mut input), [2]);
    assert!(input.is_empty() && !session.wants_input(), "one more was received, and waits");
    session.on_reply(2, nothing(), Instant::now());
    assert_eq!(answered(&mut session), [2, 3]);
    assert_eq!(handed_on(&mut session, &mut input), [4]);
}

#[test]
fn a_search_by_time_is_handed_on_alone() {
    let list_offsets = |correlation_id, timestamp: i64| {
        let partition = [&b"\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0"[..], &timestamp.to_be_bytes()];
        request(LIST_OFFSETS, 1, correlation_id, &partition.concat())
    };
    let (latest, time) = (-1, 5);
    let mut session = session();
    let mut input = BytesMut::from(&[list_offsets(0, latest), list_offsets(1, latest)].concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0, 1], "these read nothing");
    input.extend_from_slice(&[list_offsets(2, time), list_offsets(3, latest)].concat());
    assert_eq!(handed_on(&mut session, &mut input), [], "it waits for those before");
    for id in [0, 1] {
        session.on_reply(id, Reply::Offsets(Vec::new()), Instant::now());
    }
    assert_eq!(answered(&mut session), [0, 1]);
    assert_eq!(handed_on(&mut session, &mut input), [2]);
    session.on_reply(2, Reply::Offsets(Vec::new()), Instant::now());
    assert_eq!(answered(&mut session), [2]);
    assert_eq!(handed_on(&mut session, &mut input), [3]);
}

#[test]
fn what_is_asked_alone_may_lead_to_another_question() {
    let mut session = session();
    let delete = request(DELETE_TOPICS, 1, 1, b"\0\0\0\x01\0\x01t\0\0\0\0");
    let mut input = BytesMut::from(&[delete, init(2)].concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0]);
    session.on_reply(0, Reply::Topics(vec![Err(broker::BrokerError::UnknownTopic)]), Instant::now());
    assert_eq!(handed_on(&mut session, &mut input), [0, 1], "though the one behind it came before");
    session.on_reply(0, Reply::TopicsDeleted(vec![Ok(())]), Instant::now());
    assert_eq!(answered(&mut session), [1]);
}

#[test]
fn what_is_held_is_counted_until_it_is_sent() {
    let memory = broker::Memory::new(limit::MEMORY_BYTES_MIN);
    let mut session = session_in(&memory);
    let parts = 1000;
    let mut input = BytesMut::from(&delete_records(1, parts)[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0]);
    let counted = memory.requests.used() as usize;
    let all = parts * limit::REQUEST_PART_BYTES;
    assert!((all - limit::CONNECTION_BYTES_FREE..all + limit::CONNECTION_BYTES_FREE).contains(&counted), "{counted}");
    session.on_reply(0, Reply::Trimmed(vec![Ok(Offset(0)); parts]), Instant::now());
    assert_eq!(memory.requests.used(), 0);
    // Small answers are for nothing.
    assert_eq!(memory.answers.used(), 0);
    assert_eq!(answered(&mut session), [1]);
    let mut input = BytesMut::from(&delete_records(2, 20 * parts)[..]);
    assert_eq!(handed_on(&mut session, &mut input), [1]);
    session.on_reply(1, Reply::Trimmed(vec![Ok(Offset(0)); 20 * parts]), Instant::now());
    assert!(memory.answers.used() > 0);
    assert_eq!(answered(&mut session), [2]);
    assert!(memory.answers.used() > 0, "they are on their way");
    assert_eq!(answered(&mut session), [0; 0]);
    assert_eq!((memory.requests.used(), memory.answers.used()), (0, 0));
    let mut input = BytesMut::from(&delete_records(3, 20 * parts)[..]);
    handed_on(&mut session, &mut input);
    assert_eq!(memory.requests.used(), 0, "a large one is counted apart");
    assert!(memory.requests_large.used() > 0);
    drop(session);
    assert_eq!(memory.requests_large.used(), 0);
}

#[test]
fn without_memory_only_small_requests_are_worked_on() {
    let memory = broker::Memory::new(limit::MEMORY_BYTES_MIN);
    let mut all = memory.requests.charge(memory.requests.limit() as usize);
    for (large, left) in [(delete_records(2, limit::REQUEST_PARTS_FEW), 0), (delete_records(2, 4000), 4000)] {
        let mut session = session_in(&memory);
        let mut input = BytesMut::from(&[init(1), large].concat()[..]);
        assert_eq!(handed_on(&mut session, &mut input), [0]);
        assert!(session.waits_for().is_some());
        assert!(input.len() >= left, "what is large stays where it arrived");
        session.receive(&mut input, Instant::now()).unwrap();
        assert!(session.waits_for().is_some(), "still");
        all.resize(0);
        assert_eq!(handed_on(&mut session, &mut input), [1]);
        assert!(session.waits_for().is_none() && input.is_empty());
        all.resize(memory.requests.limit() as usize);
    }
}

#[test]
fn large_requests_wait_and_let_the_others_pass() {
    let memory = broker::Memory::new(limit::MEMORY_BYTES_MIN);
    let all = memory.requests_large.charge(memory.requests_large.limit() as usize);
    let mut session = session_in(&memory);
    let usual = delete_records(1, limit::REQUEST_PARTS_ORDINARY - 1);
    let mut input = BytesMut::from(&[usual, delete_records(2, limit::REQUEST_PARTS_ORDINARY)].concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0]);
    assert!(session.waits_for().is_some());
    assert!(memory.arriving.used() > 0, "it is counted while it waits, and not where others wait");
    drop(all);
    assert_eq!(handed_on(&mut session, &mut input), [1]);
    assert!(memory.requests_large.used() > 0 && memory.arriving.used() == 0);
}

#[test]
fn a_group_that_is_named_again_is_answered_once() {
    let memory = broker::Memory::new(limit::MEMORY_BYTES_MIN);
    let ask = |bytes: Vec<u8>| {
        let mut session = session_in(&memory);
        session.receive(&mut BytesMut::from(&bytes[..]), Instant::now()).unwrap();
        let (_, request) = session.next_request().unwrap();
        assert!(takes_memory(&request));
        request
    };
    let names = b"\0\x01g\0\x01a\0\x01g\0\x01g";
    let describe = request(DESCRIBE_GROUPS, 0, 1, &[&4_i32.to_be_bytes()[..], names].concat());
    let Request::DescribeGroups(groups) = ask(describe) else { panic!("another request") };
    assert_eq!(groups, ["g", "a"]);
    // Version 8, all positions of each.
    let groups = b"\0\x05\x02g\0\0\x02a\0\0\x02g\0\0\x02g\0\0\0\0";
    let Request::FetchOffsets(fetches) = ask(request(OFFSET_FETCH, 8, 1, groups)) else { panic!("another request") };
    let groups: Vec<_> = fetches.iter().map(|fetch| fetch.group.as_str()).collect();
    assert_eq!(groups, ["g", "a"]);
    // Version 2, of a topic that is named twice.
    let topic =
        [&b"\0\x01t"[..], &3_i32.to_be_bytes(), &7_i32.to_be_bytes(), &8_i32.to_be_bytes(), &7_i32.to_be_bytes()];
    let topics = [&b"\0\x01g"[..], &2_i32.to_be_bytes(), &topic.concat(), &topic.concat()].concat();
    let Request::FetchOffsets(fetches) = ask(request(OFFSET_FETCH, 2, 1, &topics)) else { panic!("another request") };
    let partitions = fetches[0].partitions.iter().flatten().map(|asked| asked.partition);
    assert_eq!(partitions.collect::<Vec<_>>(), [7, 8]);
}

#[test]
fn a_request_has_so_many_parts_and_no_more() {
    let receive = |parts| session().receive(&mut BytesMut::from(&delete_records(1, parts)[..]), Instant::now());
    // And the topic itself.
    assert_eq!(receive(limit::REQUEST_PARTS_MAX - 1), Ok(()));
    let refused = receive(limit::REQUEST_PARTS_MAX).unwrap_err();
    assert!(refused.reason.contains("131072 elements, 131071 more are allowed"), "{}", refused.reason);
}

#[test]
fn answers_that_are_not_taken_hold_up_requests_when_memory_is_scarce() {
    let memory = broker::Memory::new(limit::MEMORY_BYTES_MIN);
    let mut session = session_in(&memory);
    let mut input = BytesMut::from(&[init(1), delete_records(2, 20_000)].concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0, 1]);
    session.on_reply(1, Reply::Trimmed(vec![Ok(Offset(0)); 20_000]), Instant::now());
    let mut input = BytesMut::from(&[init(3), init(4)].concat()[..]);
    let all = memory.answers.charge(memory.answers.limit() as usize);
    assert_eq!(handed_on(&mut session, &mut input), [0; 0]);
    drop(all);
    assert_eq!(handed_on(&mut session, &mut input), [2, 3]);
}

#[test]
fn so_many_requests_wait_and_no_more() {
    let mut session = session();
    let requests: Vec<_> = (0..200).map(|number| request(API_VERSIONS, 0, number, &[])).collect();
    let mut input = BytesMut::from(&requests.concat()[..]);
    session.receive(&mut input, Instant::now()).unwrap();
    assert_eq!(answered(&mut session).len(), limit::CONNECTION_REQUESTS_MAX);
    session.receive(&mut input, Instant::now()).unwrap();
    assert_eq!(answered(&mut session).len(), 200 - limit::CONNECTION_REQUESTS_MAX);
    assert!(answered(&mut session).is_empty());
    assert_eq!((session.asked.bytes, session.asked_large.bytes, session.answered.bytes), (0, 0, 0));
}

#[test]
fn a_fetch_takes_as_long_as_it_does_not_wait_for_records() {
    let mut session = session();
    let came = Instant::now();
    let bytes = fetch(1, 1);
    session.receive(&mut BytesMut::from(&bytes[..]), came).unwrap();
    let (id, _) = session.next_request().unwrap();
    let waited = Duration::from_millis(500);
    let reply = Reply::Read { parts: Vec::new(), waited };
    session.on_reply(id, reply, came + waited + Duration::from_millis(3));
    let counters = session.context.counters.clone();
    let fetch = of(&counters, ApiKey::Fetch);
    assert_eq!((fetch.requests.load(Relaxed), fetch.waits.load(Relaxed), fetch.waited()), (1, 1, waited));
    assert_eq!(fetch.seconds.read().sum, Duration::from_millis(3));
    let mut output = Vec::new();
    session.take_output(&mut output);
    let sent: usize = output.iter().map(Output::len).sum();
    assert_eq!(fetch.request_bytes.load(Relaxed), bytes.len() as u64);
    assert_eq!(fetch.response_bytes.load(Relaxed), sent as u64);
}

#[test]
fn errors_in_answers_are_counted_by_name() {
    let mut session = session();
    let requests = [request(API_VERSIONS, 99, 1, &[0]), request(API_VERSIONS, 0, 2, &[])];
    session.receive(&mut BytesMut::from(&requests.concat()[..]), Instant::now()).unwrap();
    let counters = session.context.counters.clone();
    let api_versions = of(&counters, ApiKey::ApiVersions);
    assert_eq!(counters.errors(api_versions).collect::<Vec<_>>(), [("UNSUPPORTED_VERSION", 1)]);
    assert_eq!(api_versions.requests.load(Relaxed), 2);
}

#[test]
fn errors_of_partitions_are_counted_also_when_the_client_wants_no_answer() {
    let mut session = session();
    // Version 3, acks 0 and 7, one topic with two partitions without records.
    let produce = |acks: i16| {
        let mut body = [&(-1_i16).to_be_bytes()[..], &acks.to_be_bytes(), &[0; 4], &1_i32.to_be_bytes()].concat();
        body.extend_from_slice(&[0, 1, b't', 0, 0, 0, 2]);
        for partition in 0..2_i32 {
            body.extend_from_slice(&partition.to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
        }
        request(0, 3, 1, &body)
    };
    let mut input = BytesMut::from(&[produce(7), produce(0)].concat()[..]);
    for _ in 0..2 {
        session.receive(&mut input, Instant::now()).unwrap();
        let (id, _) = session.next_request().unwrap();
        session.on_reply(id, Reply::Appended(Vec::new()), Instant::now());
    }
    let counters = session.context.counters.clone();
    let produce = of(&counters, ApiKey::Produce);
    let errors: Vec<_> = counters.errors(produce).collect();
    assert_eq!(errors, [("INVALID_REQUIRED_ACKS", 2), ("INVALID_RECORD", 2)]);
}
