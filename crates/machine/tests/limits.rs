//! What happens at the limits, where a script would be thousands of lines.
//!
//! Every table that requests can fill has a limit, and at the limit a refusal, or something older
//! that makes room. What a deletion or a window leaves behind goes in bounded steps.

mod piece;

use bytes::Bytes;
use machine::catalog::{Endpoint, NodeState};
use machine::command::{CommittedOffset, NewTopic};
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::refusal::{Fault, Limit};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::config::{Settlement, StreamConfig};
use model::wire::Wire;
use model::{
    Entry, EntryBuilder, Hlc, Incarnation, Name, NodeId, Offset, PieceHead, ProducerId, ShardId, StreamId, Timestamp,
    TopicId, limit,
};
use piece::Batch;
use std::collections::BTreeMap;

const STREAM: StreamId = StreamId(1);

/// A shard whose leader proposes one entry after the other.
struct Shard {
    machine: Machine,
    at: Position,
    time: Hlc,
}

impl Shard {
    fn new(id: ShardId) -> Self {
        Shard { machine: Machine::new(id), at: Position { term: 1, index: 0 }, time: Hlc(0) }
    }

    /// With one stream in it.
    fn with_stream(config: StreamConfig) -> Self {
        let mut shard = Shard::new(ShardId(1));
        shard.one(&Command::CreateStream { stream: STREAM, config });
        shard
    }

    fn apply(&mut self, builder: &mut EntryBuilder) -> Vec<Reply> {
        self.at.index += 1;
        let entry = Entry::parse(builder.finish(self.time)).expect("within the limits of an entry");
        self.machine.apply(self.at, &entry).expect("commands of this version").replies
    }

    /// Applies `commands` in as many entries as they need.
    fn all(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut builder = EntryBuilder::new();
        for command in commands {
            builder.add_command(&command);
            if builder.command_count() as usize == limit::ENTRY_COMMANDS_MAX {
                replies.extend(self.apply(&mut builder));
            }
        }
        replies.extend(self.apply(&mut builder));
        replies
    }

    fn one(&mut self, command: &Command) -> Reply {
        let mut builder = EntryBuilder::new();
        builder.add_command(command);
        self.apply(&mut builder).remove(0)
    }

    /// Appends batches and message ids, in as many entries as they need.
    fn append(&mut self, requests: impl IntoIterator<Item = (Batch, Option<Bytes>)>) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut sequencer = Sequencer::new(self.at.term);
        let mut builder = EntryBuilder::new();
        for (batch, message_id) in requests {
            let request =
                AppendRequest { stream: STREAM, bytes: Bytes::from(batch.encode()), message_id, durability: None };
            let (ticket, now) = (self.at.index + 1, self.time);
            let sequenced = sequencer.append(&self.machine.messaging, &request, &mut builder, ticket, now);
            if let Sequenced::Answer(reply) = sequenced {
                replies.push(reply);
            }
            if builder.command_count() as usize == limit::ENTRY_COMMANDS_MAX {
                replies.extend(self.apply(&mut builder));
                sequencer.on_applied(self.at.index);
            }
        }
        replies.extend(self.apply(&mut builder));
        replies
    }
}

fn numbered(producer: u64, first_sequence: i32) -> (Batch, Option<Bytes>) {
    (Batch { producer: Some((producer, 0, first_sequence)), ..Batch::default() }, None)
}

#[test]
fn the_longest_idle_producer_makes_room_for_a_new_one() {
    let mut shard = Shard::with_stream(StreamConfig::default());
    let most = limit::STREAM_PRODUCERS_MAX as u64;
    for producer in 0..most {
        shard.append([numbered(producer, 0)]);
    }
    // Zero is the first that came, and not idle any more.
    shard.append([numbered(0, 1)]);
    let known = |shard: &Shard, producer| shard.machine.messaging.producer(STREAM, ProducerId(producer)).is_some();
    assert!(known(&shard, 1));
    shard.append([numbered(most, 0)]);
    assert!(known(&shard, 0) && !known(&shard, 1) && known(&shard, 2) && known(&shard, most));
    // One that is known takes nobody's place.
    shard.append([numbered(2, 1)]);
    assert!(known(&shard, 3));
    shard.append([numbered(most + 1, 0)]);
    assert!(known(&shard, 2) && !known(&shard, 3));
}

/// A queue with as many settled intervals as there may be, in front of an unsettled record each.
fn queue_full_of_gaps() -> Shard {
    let mut shard = Shard::with_stream(StreamConfig { settlement: Settlement::Each, ..StreamConfig::default() });
    let most = limit::SETTLED_INTERVALS_MAX as u64;
    shard.append([(Batch { records: 2 * most as u32 + 2, ..Batch::default() }, None)]);
    let ranges = (0..most).map(|nth| (2 * nth + 1, 2 * nth + 2)).collect();
    assert_eq!(shard.one(&Command::Settle { stream: STREAM, ranges }), Reply::Done);
    shard
}

#[test]
fn settling_out_of_order_is_refused_at_a_number_of_intervals() {
    let mut shard = queue_full_of_gaps();
    let last = 2 * limit::SETTLED_INTERVALS_MAX as u64 + 1;
    let settle = |from, to| Command::Settle { stream: STREAM, ranges: vec![(from, to)] };
    let full = Reply::Refused(Refusal::LimitReached(Limit::SettledIntervals));
    assert_eq!(shard.one(&settle(last, last + 1)), full);
    // Trimming makes room: the two intervals below.
    shard.one(&Command::Trim { stream: STREAM, to: Offset(4) });
    assert_eq!(shard.one(&settle(last, last + 1)), Reply::Done);
}

#[test]
fn a_queue_full_of_gaps_can_be_settled_from_its_head() {
    let mut shard = queue_full_of_gaps();
    assert_eq!(shard.one(&Command::Settle { stream: STREAM, ranges: vec![(0, 1)] }), Reply::Done);
    assert_eq!(shard.machine.messaging.stream(STREAM).expect("the queue").start, Offset(2));
    // Full again. Whatever joins intervals, or is at the head, is no new one.
    let last = 2 * limit::SETTLED_INTERVALS_MAX as u64 + 1;
    let mut settle = |ranges: &[(u64, u64)]| shard.one(&Command::Settle { stream: STREAM, ranges: ranges.into() });
    assert_eq!(settle(&[(last, last + 1)]), Reply::Done);
    let full = Reply::Refused(Refusal::LimitReached(Limit::SettledIntervals));
    assert_eq!(settle(&[(last - 2, last - 1)]), Reply::Done, "three become one");
    assert_eq!(settle(&[(4, 5), (6, 7), (2, 3)]), Reply::Done, "and more, with the head");
    assert_ne!(settle(&[(20, 21), (18, 22)]), full);
}

#[test]
fn the_head_of_a_queue_full_of_gaps_is_no_interval() {
    let mut shard = Shard::with_stream(StreamConfig { settlement: Settlement::Each, ..StreamConfig::default() });
    let most = limit::SETTLED_INTERVALS_MAX as u64;
    shard.append([(Batch { records: 2 * most as u32 + 9, ..Batch::default() }, None)]);
    let mut settle = |ranges| shard.one(&Command::Settle { stream: STREAM, ranges });
    assert_eq!(settle((0..most).map(|nth| (2 * nth + 3, 2 * nth + 4)).collect()), Reply::Done);
    let full = Reply::Refused(Refusal::LimitReached(Limit::SettledIntervals));
    assert_eq!(settle(vec![(1, 2)]), full);
    assert_eq!(settle(vec![(0, 1), (2 * most + 5, 2 * most + 6)]), full, "the head does not pay for another");
    assert_eq!(settle(vec![(0, 1)]), Reply::Done);
    assert_eq!(settle(vec![(1, 2)]), Reply::Done, "it is the head now");
}

#[test]
fn message_ids_are_refused_at_a_number_until_some_expire() {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let most = limit::DEDUP_IDS_MAX as u32;
    let with_id = |id: u32| (Batch::default(), Some(Bytes::copy_from_slice(&id.to_le_bytes())));
    let replies = shard.append((0..most).map(with_id));
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Appended { .. })));
    // The sequencer refuses it, and the machine if it did not.
    let full = Reply::Refused(Refusal::LimitReached(Limit::MessageIds));
    assert_eq!(shard.append([with_id(most)]), std::slice::from_ref(&full));
    let end = shard.machine.messaging.stream(STREAM).expect("the stream").end;
    assert_eq!(append_past_the_sequencer(&mut shard, end, with_id(most).1), full);
    // Which does not keep anything out that carries no id.
    let end = shard.machine.messaging.stream(STREAM).expect("the stream").end;
    assert_eq!(shard.append([(Batch::default(), None)]), [Reply::Appended { base: end, start: Offset::ZERO }]);

    // An id whose window is over makes room, whether or not it was time for a tick.
    shard.time = Hlc::default().next(Timestamp(1_000));
    let replies = shard.append((most..most + 3).map(with_id));
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Appended { .. })), "{replies:?}");
    shard.one(&Command::Tick);
    assert!(matches!(shard.append([with_id(0)])[..], [Reply::Appended { .. }]));
}

#[test]
fn message_ids_in_flight_take_room() {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let most = limit::DEDUP_IDS_MAX as u32;
    let with_id = |id: u32| (Batch::default(), Some(Bytes::copy_from_slice(&id.to_le_bytes())));
    shard.append((0..most - 2).map(with_id));
    let replies = shard.append((most..most + 3).map(with_id));
    let full = Reply::Refused(Refusal::LimitReached(Limit::MessageIds));
    assert_eq!(replies[0], full, "answered at once, the others when they are applied");
    assert!(matches!(replies[1..], [Reply::Appended { .. }, Reply::Appended { .. }]), "{replies:?}");
}

fn append_past_the_sequencer(shard: &mut Shard, base: Offset, message_id: Option<Bytes>) -> Reply {
    let batch = Batch::default().encode();
    let head = PieceHead::parse(&batch).expect("a piece");
    let mut builder = EntryBuilder::new();
    let first = builder.add_piece(STREAM, base, model::LeaderEpoch(0), &head, batch.clone().into(), None);
    builder.add_command(&Command::Append { first, pieces: 1, producer: None, message_id });
    shard.apply(&mut builder).remove(0)
}

#[test]
fn a_message_id_has_a_longest_length() {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let append =
        |shard: &mut Shard, base, bytes| append_past_the_sequencer(shard, base, Some(Bytes::from(vec![7; bytes])));
    let most = limit::DEDUP_ID_BYTES_MAX;
    assert_eq!(append(&mut shard, Offset(0), most), Reply::Appended { base: Offset(0), start: Offset(0) });
    let long = Reply::Refused(Refusal::LimitReached(Limit::MessageIdBytes));
    assert_eq!(append(&mut shard, Offset(1), most + 1), long);
    // A stream that looks at no ids does not measure them.
    shard.one(&Command::ConfigureStream { stream: STREAM, config: StreamConfig::default() });
    assert_eq!(append(&mut shard, Offset(1), most + 1), Reply::Appended { base: Offset(1), start: Offset(0) });
}

#[test]
fn the_oldest_of_many_epochs_is_forgotten() {
    let mut shard = Shard::with_stream(StreamConfig::default());
    let most = limit::STREAM_EPOCHS_MAX as u64;
    for term in 1..=most + 1 {
        shard.at.term = term;
        shard.append([(Batch::default(), None)]);
    }
    let epochs = &shard.machine.messaging.stream(STREAM).expect("the stream").epochs;
    assert_eq!(epochs.len() as u64, most);
    let ends = [epochs[0], epochs[epochs.len() - 1]].map(|(epoch, base)| (u64::from(epoch.0), base.0));
    assert_eq!(ends, [(1, 1), (most, most)]);
}

fn create_topic(nth: u32, partitions: u32) -> Command {
    let mut id = [1; 16];
    id[..4].copy_from_slice(&nth.to_le_bytes());
    let name = Name::new(&format!("topic-{nth}")).expect("a name");
    let (config, settings) = (StreamConfig::default(), Vec::new());
    Command::CreateTopic { topic: NewTopic { name, id: TopicId(id), partitions, config, settings } }
}

/// Changes something that the streams have to be told of.
fn configure_topic(id: TopicId) -> Command {
    let config = StreamConfig { dedup_window_millis: 1, ..StreamConfig::default() };
    Command::ConfigureTopic { id, revision: 0, config, settings: Vec::new() }
}

/// A catalog with `shards` shards.
fn catalog(shards: u32) -> Shard {
    let mut shard = Shard::new(ShardId::CATALOG);
    assert_eq!(shard.one(&Command::AddShards { shards: (1..=shards).map(ShardId).collect() }), Reply::Done);
    shard
}

#[test]
fn a_full_outbox_refuses_decisions_until_items_are_delivered() {
    let mut shard = catalog(limit::SHARDS_MAX);
    // Each topic is an item for each shard. The last one fills the outbox but for one item.
    let topics = limit::OUTBOX_ITEMS_MAX as u32 / limit::SHARDS_MAX;
    let partitions = |nth| if nth == topics { limit::SHARDS_MAX - 1 } else { limit::SHARDS_MAX };
    let ids: Vec<TopicId> = (1..=topics)
        .map(|nth| match shard.one(&create_topic(nth, partitions(nth))) {
            Reply::Topic(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    let items = |shard: &Shard| {
        let outbox = &shard.machine.outbox;
        outbox.destinations().into_iter().map(|to| outbox.pending(to).count()).sum::<usize>()
    };
    assert_eq!(items(&shard), limit::OUTBOX_ITEMS_MAX - 1);
    let before = shard.machine.digest();

    let full = Reply::Refused(Refusal::LimitReached(Limit::Outbox));
    assert_eq!(shard.one(&create_topic(topics + 1, 2)), full);
    assert_eq!(shard.one(&Command::DeleteTopic { id: ids[0] }), full);
    assert_eq!(shard.one(&configure_topic(ids[0])), full);
    assert!(shard.machine.catalog.topic_named(&format!("topic-{}", topics + 1)).is_none());
    assert_ne!(shard.machine.digest(), before, "time moved");
    assert_eq!(items(&shard), limit::OUTBOX_ITEMS_MAX - 1, "a refused decision has no consequences");

    shard.one(&Command::Delivered { to: ShardId(1), items: vec![1] });
    assert!(matches!(shard.one(&create_topic(topics + 1, 2)), Reply::Topic(_)));
}

#[test]
fn shards_have_a_largest_number() {
    let mut shard = catalog(limit::SHARDS_MAX);
    let add = |shards: &[u32]| Command::AddShards { shards: shards.iter().copied().map(ShardId).collect() };
    assert_eq!(shard.one(&add(&[1, 2])), Reply::Done, "they are there already");
    let full = Reply::Refused(Refusal::LimitReached(Limit::Shards));
    assert_eq!(shard.one(&add(&[1, limit::SHARDS_MAX + 1])), full);
    let known: Vec<ShardId> = shard.machine.catalog.shards().collect();
    assert_eq!(known.len(), limit::SHARDS_MAX as usize);
}

fn endpoint(host_bytes: usize) -> Endpoint {
    let host = Bytes::from(vec![b'a'; host_bytes]);
    Endpoint { protocol: Bytes::from_static(b"kafka"), host, port: 9092 }
}

fn allocate(incarnation: u128, endpoints: Vec<Endpoint>) -> Command {
    Command::AllocateNode {
        incarnation: Incarnation(incarnation),
        wanted: None,
        peer: endpoint(1),
        endpoints,
        rack: Some(Bytes::from_static(b"r")),
        version: 2,
    }
}

/// A catalog that may have nodes.
fn catalog_of_nodes() -> Shard {
    let mut shard = Shard::new(ShardId::CATALOG);
    assert_eq!(shard.one(&Command::Barrier { version: 2 }), Reply::Done);
    shard
}

#[test]
fn nodes_have_a_largest_number_and_so_have_those_there_ever_were() {
    let mut shard = catalog_of_nodes();
    let most = limit::NODES_MAX as u64;
    let replies = shard.all((1..=most).map(|nth| allocate(nth.into(), Vec::new())));
    assert!(replies.into_iter().eq((1..=most).map(|id| Reply::Node(NodeId(id)))));
    let full = Reply::Refused(Refusal::LimitReached(Limit::Nodes));
    assert_eq!(shard.one(&allocate(u128::MAX, Vec::new())), full);
    assert_eq!(shard.one(&allocate(1, Vec::new())), Reply::Node(NodeId(1)), "which is no new one");
    // Whoever drains is still there; whoever was removed makes room, and keeps the id.
    let set = |id, state| Command::SetNodeState { node: NodeId(id), state };
    shard.one(&set(7, NodeState::Draining));
    assert_eq!(shard.one(&allocate(u128::MAX, Vec::new())), full);
    assert_eq!(shard.one(&set(7, NodeState::Removed)), Reply::Done);
    assert_eq!(shard.one(&allocate(u128::MAX, Vec::new())), Reply::Node(NodeId(most + 1)));

    let rows = limit::NODE_ROWS_MAX as u64;
    let replace = |id: u64| [set(id, NodeState::Removed), allocate(id.into(), Vec::new())];
    // Each that goes is followed by a new one.
    let replies = shard.all((most + 1..rows).flat_map(replace));
    assert!(!replies.iter().any(|reply| matches!(reply, Reply::Refused(_))), "{:?}", replies.last());
    assert_eq!(shard.machine.catalog.nodes().count() as u64, rows);
    assert_eq!(shard.one(&set(rows, NodeState::Removed)), Reply::Done);
    let full = Reply::Refused(Refusal::LimitReached(Limit::NodeRows));
    assert_eq!(shard.one(&allocate(u128::MAX - 1, Vec::new())), full, "rather than a number twice");
    let removed = shard.machine.catalog.node(NodeId(rows)).expect("remembered");
    assert!(removed.endpoints.is_empty() && removed.rack.is_none());
}

#[test]
fn what_a_node_says_of_itself_is_bounded() {
    let mut shard = catalog_of_nodes();
    let longest = limit::NODE_NAME_BYTES_MAX;
    assert_eq!(shard.one(&allocate(1, vec![endpoint(longest); limit::ENDPOINTS_MAX])), Reply::Node(NodeId(1)));
    let full = Reply::Refused(Refusal::LimitReached(Limit::Endpoints));
    assert_eq!(shard.one(&allocate(2, vec![endpoint(1); limit::ENDPOINTS_MAX + 1])), full);
    let wrong = Reply::Refused(Refusal::Invalid(Fault::Endpoint));
    assert_eq!(shard.one(&allocate(2, vec![endpoint(longest + 1)])), wrong);
    assert_eq!(shard.one(&allocate(2, vec![endpoint(0)])), wrong);
    let update = |rack: usize| Command::UpdateNode {
        node: NodeId(1),
        incarnation: Incarnation(1),
        peer: endpoint(1),
        endpoints: Vec::new(),
        rack: Some(Bytes::from(vec![b'r'; rack])),
        version: 2,
    };
    let wrong = Reply::Refused(Refusal::Invalid(Fault::Rack));
    assert_eq!(
        [0, 1, longest, longest + 1].map(|rack| shard.one(&update(rack))),
        [wrong.clone(), Reply::Done, Reply::Done, wrong]
    );
}

#[test]
fn a_topic_of_any_size_can_be_deleted() {
    let mut shard = catalog(limit::SHARDS_MAX);
    let Reply::Topic(id) = shard.one(&create_topic(1, limit::TOPIC_PARTITIONS_MAX)) else { panic!("no topic") };
    assert_eq!(shard.one(&configure_topic(id)), Reply::Done);
    assert_eq!(shard.one(&Command::DeleteTopic { id }), Reply::Done);
    let outbox = &shard.machine.outbox;
    assert_eq!(outbox.destinations().len(), limit::SHARDS_MAX as usize);
    assert!(outbox.destinations().into_iter().all(|to| outbox.pending(to).count() == 3), "one item each time");
}

/// A stream with as many producers and positions over it as need more than one entry to forget.
fn stream_with_many_rows() -> Shard {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let with_id = |id: u32| (Batch::default(), Some(Bytes::copy_from_slice(&id.to_le_bytes())));
    shard.append((0..limit::ENTRY_FORGETS_MAX as u32).map(with_id));
    shard.append([numbered(1, 0), numbered(2, 0)]);
    let position = || CommittedOffset { stream: STREAM, offset: Offset(1), leader_epoch: -1, metadata: String::new() };
    shard.one(&Command::CommitOffsets { group: "g".into(), offsets: vec![position()] });
    shard
}

/// Brings a checkpoint up to date; returns how many objects changed.
fn checkpoint(shard: &mut Shard, objects: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> usize {
    let changes = shard.machine.take_changes();
    let count = changes.len();
    for (key, object) in changes {
        match object {
            Some(object) => objects.insert(key, object.bytes()),
            None => objects.remove(&key),
        };
    }
    count
}

#[test]
fn a_stream_with_many_rows_is_forgotten_in_bounded_steps() {
    let mut shard = stream_with_many_rows();
    let mut objects = BTreeMap::new();
    let before = checkpoint(&mut shard, &mut objects);
    assert_eq!(before, limit::ENTRY_FORGETS_MAX + 5, "clock, stream, two producers, a position, and the ids");
    shard.one(&Command::DeleteStreams { streams: vec![STREAM] });
    // It is gone for everybody at once.
    assert!(shard.machine.messaging.stream(STREAM).is_none());
    let changed = checkpoint(&mut shard, &mut objects);
    assert_eq!(changed, limit::ENTRY_FORGETS_MAX + 3, "clock, stream, what is gone, and what one entry may");
    assert_eq!(objects.get(&[22, 1, 0, 0, 0, 0, 0, 0, 0][..]).map(Vec::as_slice), Some(&[][..]));
    // After a restart it goes on.
    let restored = objects.iter().map(|(key, value)| (&key[..], &value[..]));
    let restored = Machine::restore(ShardId(1), restored).expect("what a machine wrote can be read");
    assert_eq!(restored.digest(), shard.machine.digest());
    shard.machine = restored;
    assert!(shard.machine.messaging.groups.offset("g", STREAM).is_some());
    assert!(shard.machine.next_deadline().is_some_and(|at| at <= shard.machine.time().timestamp()), "there is more");
    // What is left is not mistaken for a later stream's.
    let create = Command::CreateStream { stream: STREAM, config: StreamConfig::default() };
    assert!(matches!(shard.one(&create), Reply::Refused(Refusal::Invalid(_))));

    shard.one(&Command::Tick);
    assert_eq!(shard.machine.next_deadline(), None);
    assert!(shard.machine.messaging.groups.offset("g", STREAM).is_none());
    checkpoint(&mut shard, &mut objects);
    assert_eq!(objects.keys().collect::<Vec<_>>(), [&[1]], "only the clock is left");
}

#[test]
fn a_tick_expires_a_bounded_number() {
    let mut shard = stream_with_many_rows();
    let more = Some(Bytes::from_static(b"one more"));
    assert!(matches!(shard.append([(Batch::default(), more.clone())])[..], [Reply::Appended { .. }]));
    shard.time = Hlc::default().next(Timestamp(1_000));
    shard.machine.take_changes();
    // However many ticks stand in one entry.
    shard.all([Command::Tick, Command::Tick]);
    assert_eq!(shard.machine.take_changes().len(), 1 + limit::ENTRY_FORGETS_MAX);
    assert_eq!(shard.machine.next_deadline(), Some(Timestamp(1_000)), "there is more");
    shard.one(&Command::Tick);
    assert_eq!(shard.machine.take_changes().len(), 2);
    assert_eq!(shard.machine.next_deadline(), None);
}

fn deliver(item: u64, command: &Command) -> Command {
    Command::Deliver { from: ShardId::CATALOG, item, command: Bytes::from(command.to_wire()) }
}

#[test]
fn groups_and_their_positions_have_largest_numbers() {
    let mut shard = Shard::new(ShardId(1));
    let position = |stream| CommittedOffset {
        stream: StreamId(stream),
        offset: Offset(1),
        leader_epoch: -1,
        metadata: String::new(),
    };
    let commit = |group: &str, streams: std::ops::Range<u64>| {
        let offsets = streams.map(position).collect();
        Command::CommitOffsets { group: group.into(), offsets }
    };
    let most = limit::GROUP_POSITIONS_MAX as u64;
    assert_eq!(shard.one(&commit("g", 0..most)), Reply::Done);
    let full = Reply::Refused(Refusal::LimitReached(Limit::GroupPositions));
    assert_eq!(shard.one(&commit("g", most - 1..most + 1)), full);
    assert_eq!(shard.one(&commit("g", 0..most)), Reply::Done, "which are no new ones");
    // A deleted stream makes room.
    shard.one(&Command::DeleteStream { stream: StreamId(0) });
    assert_eq!(shard.one(&commit("g", most..most + 1)), Reply::Done);

    let save = |group: String| Command::SaveGroup { group, state: Bytes::new() };
    let replies = shard.all((1..limit::GROUPS_MAX).map(|nth| save(format!("group-{nth}"))));
    assert!(replies.iter().all(|reply| *reply == Reply::Done));
    let full = Reply::Refused(Refusal::LimitReached(Limit::Groups));
    assert_eq!(shard.one(&save("one more".into())), full);
    assert_eq!(shard.one(&commit("one more", 0..1)), full);
    assert_eq!(shard.one(&save("g".into())), Reply::Done);
    assert_eq!(shard.one(&commit("group-1", 0..1)), Reply::Done);
    shard.one(&Command::DeleteGroup { group: "group-1".into() });
    assert_eq!(shard.one(&commit("one more", 0..1)), Reply::Done);
    // A group without a generation goes with its last position.
    shard.one(&Command::DeleteStream { stream: StreamId(0) });
    assert_eq!(shard.one(&save("another".into())), Reply::Done);
    assert_eq!(shard.one(&save("one more".into())), full);

    let long = Reply::Refused(Refusal::LimitReached(Limit::GroupNameBytes));
    let name = "x".repeat(limit::GROUP_NAME_BYTES_MAX + 1);
    assert_eq!(shard.one(&save(name.clone())), long);
    assert_eq!(shard.one(&commit(&name, 0..1)), long);
}

#[test]
fn generations_and_metadata_have_a_largest_size() {
    let mut shard = Shard::new(ShardId(1));
    let save = |bytes| Command::SaveGroup { group: "g".into(), state: Bytes::from(vec![0; bytes]) };
    assert_eq!(shard.one(&save(limit::GROUP_BYTES_MAX)), Reply::Done);
    assert_eq!(shard.one(&save(limit::GROUP_BYTES_MAX + 1)), Reply::Refused(Refusal::LimitReached(Limit::GroupBytes)),);
    let position = |stream, bytes| CommittedOffset {
        stream: StreamId(stream),
        offset: Offset(1),
        leader_epoch: -1,
        metadata: "x".repeat(bytes),
    };
    let commit = |offsets| Command::CommitOffsets { group: "g".into(), offsets };
    let most = limit::OFFSET_METADATA_BYTES_MAX;
    assert_eq!(shard.one(&commit(vec![position(1, most)])), Reply::Done);
    let long = Reply::Refused(Refusal::LimitReached(Limit::OffsetMetadata));
    assert_eq!(shard.one(&commit(vec![position(2, 0), position(3, most + 1)])), long);
    let streams: Vec<StreamId> = shard.machine.messaging.groups.offsets("g").map(|(stream, _)| stream).collect();
    assert_eq!(streams, [StreamId(1)], "all positions of a commit or none");
}

#[test]
fn a_request_that_no_entry_can_hold_is_refused() {
    let shard = Shard::with_stream(StreamConfig::default());
    let piece = model::record::Message::default().encode().expect("a message");
    let bytes = Bytes::from(piece.repeat(limit::ENTRY_PIECES_MAX + 1));
    let request = AppendRequest { stream: STREAM, bytes, message_id: None, durability: None };
    let mut builder = EntryBuilder::new();
    let sequenced = Sequencer::new(1).append(&shard.machine.messaging, &request, &mut builder, 2, Hlc(1));
    assert!(matches!(sequenced, Sequenced::Answer(Reply::Refused(_))), "{sequenced:?}");
    Entry::parse(builder.finish(Hlc(1))).expect("what was sequenced can be applied");
}

#[test]
fn the_largest_item_number_is_a_number() {
    let mut shard = Shard::with_stream(StreamConfig::default());
    shard.one(&deliver(u64::MAX, &Command::Tick));
    shard.one(&deliver(u64::MAX, &Command::DeleteStream { stream: STREAM }));
    assert!(shard.machine.messaging.stream(STREAM).is_some(), "received once");
}

#[test]
fn the_largest_stream_id_is_an_id() {
    let mut shard = Shard::new(ShardId(1));
    let stream = StreamId(u64::MAX);
    shard.one(&Command::CreateStream { stream, config: StreamConfig::default() });
    shard.one(&Command::DeleteStream { stream });
    assert!(shard.machine.messaging.stream(stream).is_none());
}

#[test]
fn time_does_not_run_backwards_from_its_end() {
    let mut shard = Shard::new(ShardId(1));
    shard.time = Hlc(u64::MAX);
    shard.one(&Command::Tick);
    shard.time = Hlc(1);
    shard.one(&Command::Tick);
    assert_eq!(shard.machine.time(), Hlc(u64::MAX));
}

#[test]
fn what_no_entry_has_room_for_is_refused_and_the_entry_stays_whole() {
    let config = StreamConfig { piece_bytes_max: u32::MAX, ..StreamConfig::default() };
    let shard = Shard::with_stream(config);
    let mut sequencer = Sequencer::new(1);
    let mut builder = EntryBuilder::new();
    let mut append = |bytes: usize| {
        let batch = Batch { bytes, ..Batch::default() }.encode();
        let request = AppendRequest { stream: STREAM, bytes: Bytes::from(batch), message_id: None, durability: None };
        sequencer.append(&shard.machine.messaging, &request, &mut builder, 2, Hlc(1))
    };
    let refused = Sequenced::Answer(Reply::Refused(Refusal::TooLarge));
    assert_eq!(append(limit::ENTRY_BYTES_MAX), refused);
    assert_eq!(append(limit::PIECE_BYTES_MAX), Sequenced::Added, "a largest piece has room");
    assert_eq!(append(limit::MIB), refused, "but nothing like it beside it");
    assert_eq!(append(100), Sequenced::Added);
    Entry::parse(builder.finish(Hlc(1))).expect("what was sequenced can be applied");
}
