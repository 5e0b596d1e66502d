//! One connection, as a transcript.

use super::*;
use gateway::Seats;
use model::{NodeId, Offset};

const API_VERSIONS: i16 = 18;
const FETCH: i16 = 1;
const INIT_PRODUCER_ID: i16 = 22;
const DELETE_TOPICS: i16 = 20;
const DELETE_RECORDS: i16 = 21;

fn session() -> KafkaSession {
    session_in(&broker::Memory::new(limit::MEMORY_BYTES_MIN))
}

fn session_in(memory: &broker::Memory) -> KafkaSession {
    let memory = memory.clone();
    let (host, client) = ("here".to_owned(), "there".to_owned());
    KafkaSession::new(Context {
        node: NodeId(1),
        cluster: 0,
        host,
        port: 1,
        client,
        random: || 0,
        fetch_places: Seats::new(9),
        memory,
    })
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
        session.receive(input).unwrap();
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
    session.on_reply(0, Reply::NewProducer(Err(broker::BrokerError::Unavailable)));
    assert_eq!(answered(&mut session), [0]);
    assert_eq!(handed_on(&mut session, &mut input), [1]);
    session.on_reply(1, Reply::Read(Vec::new()));
    assert_eq!(answered(&mut session), [1]);
    assert_eq!(handed_on(&mut session, &mut input), [2]);
    assert!(input.is_empty() && !session.wants_input(), "one more was received, and waits");
    session.on_reply(2, Reply::Read(Vec::new()));
    assert_eq!(answered(&mut session), [2, 3]);
    assert_eq!(handed_on(&mut session, &mut input), [4]);
}

#[test]
fn what_is_asked_alone_may_lead_to_another_question() {
    let mut session = session();
    let delete = request(DELETE_TOPICS, 1, 1, b"\0\0\0\x01\0\x01t\0\0\0\0");
    let mut input = BytesMut::from(&[delete, init(2)].concat()[..]);
    assert_eq!(handed_on(&mut session, &mut input), [0]);
    session.on_reply(0, Reply::Topics(vec![Err(broker::BrokerError::UnknownTopic)]));
    assert_eq!(handed_on(&mut session, &mut input), [0, 1], "though the one behind it came before");
    session.on_reply(0, Reply::TopicsDeleted(vec![Ok(())]));
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
    session.on_reply(0, Reply::Trimmed(vec![Ok(Offset(0)); parts]));
    assert_eq!(memory.requests.used(), 0);
    // Small answers are for nothing.
    assert_eq!(memory.answers.used(), 0);
    assert_eq!(answered(&mut session), [1]);
    let mut input = BytesMut::from(&delete_records(2, 20 * parts)[..]);
    assert_eq!(handed_on(&mut session, &mut input), [1]);
    session.on_reply(1, Reply::Trimmed(vec![Ok(Offset(0)); 20 * parts]));
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
        session.receive(&mut input).unwrap();
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
fn a_request_has_so_many_parts_and_no_more() {
    let receive = |parts| session().receive(&mut BytesMut::from(&delete_records(1, parts)[..]));
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
    session.on_reply(1, Reply::Trimmed(vec![Ok(Offset(0)); 20_000]));
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
    session.receive(&mut input).unwrap();
    assert_eq!(answered(&mut session).len(), limit::CONNECTION_REQUESTS_MAX);
    session.receive(&mut input).unwrap();
    assert_eq!(answered(&mut session).len(), 200 - limit::CONNECTION_REQUESTS_MAX);
    assert!(answered(&mut session).is_empty());
    assert_eq!((session.asked.bytes, session.asked_large.bytes, session.answered.bytes), (0, 0, 0));
}
