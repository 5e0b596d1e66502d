//! What happens at the limits, where a script would be thousands of lines.
//!
//! Every table that requests can fill has a limit, and at the limit a refusal, or something older
//! that makes room. The ignored tests are bugs in `src` that are known: each says what should be.

mod piece;

use bytes::Bytes;
use machine::command::{CommittedOffset, NewTopic};
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::config::{Settlement, StreamConfig};
use model::wire::Wire;
use model::{
    Entry, EntryBuilder, Hlc, Name, Offset, PieceHead, ProducerId, ShardId, StreamId, Timestamp, TopicId, limit,
};
use piece::Batch;

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
            assert_eq!(sequenced, Sequenced::Added);
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
    let full = Reply::Refused(Refusal::LimitReached("settled intervals"));
    assert_eq!(shard.one(&settle(last, last + 1)), full);
    // Trimming makes room: the two intervals below.
    shard.one(&Command::Trim { stream: STREAM, to: Offset(4) });
    assert_eq!(shard.one(&settle(last, last + 1)), Reply::Done);
}

#[test]
#[ignore = "bug: streams.rs counts every range as a new interval, so a full queue can never be settled again"]
fn a_queue_full_of_gaps_can_be_settled_from_its_head() {
    let mut shard = queue_full_of_gaps();
    assert_eq!(shard.one(&Command::Settle { stream: STREAM, ranges: vec![(0, 1)] }), Reply::Done);
    assert_eq!(shard.machine.messaging.stream(STREAM).expect("the queue").start, Offset(2));
}

#[test]
fn message_ids_are_refused_at_a_number_until_some_expire() {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let most = limit::DEDUP_IDS_MAX as u32;
    let with_id = |id: u32| (Batch::default(), Some(Bytes::copy_from_slice(&id.to_le_bytes())));
    let replies = shard.append((0..most).map(with_id));
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Appended { .. })));
    let full = Reply::Refused(Refusal::LimitReached("message ids in the window"));
    assert_eq!(shard.append([with_id(most)]), [full]);
    // Which does not keep anything out that carries no id.
    let end = shard.machine.messaging.stream(STREAM).expect("the stream").end;
    assert_eq!(shard.append([(Batch::default(), None)]), [Reply::Appended { base: end, start: Offset::ZERO }]);

    shard.time = Hlc::default().next(Timestamp(1_000));
    shard.one(&Command::Tick);
    assert!(matches!(shard.append([with_id(most)])[..], [Reply::Appended { .. }]));
}

#[test]
fn a_message_id_has_a_longest_length() {
    let mut shard = Shard::with_stream(StreamConfig { dedup_window_millis: 1_000, ..StreamConfig::default() });
    let append = |shard: &mut Shard, base, bytes| {
        let batch = Batch::default().encode();
        let head = PieceHead::parse(&batch).expect("a piece");
        let mut builder = EntryBuilder::new();
        let first = builder.add_piece(STREAM, base, model::LeaderEpoch(0), &head, &batch, None);
        let message_id = Some(Bytes::from(vec![7; bytes]));
        builder.add_command(&Command::Append { first, pieces: 1, producer: None, message_id });
        shard.apply(&mut builder).remove(0)
    };
    let most = limit::DEDUP_ID_BYTES_MAX;
    assert_eq!(append(&mut shard, Offset(0), most), Reply::Appended { base: Offset(0), start: Offset(0) });
    let long = Reply::Refused(Refusal::LimitReached("message id bytes"));
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
    Command::CreateTopic { topic: NewTopic { name, id: TopicId(id), partitions, config: StreamConfig::default() } }
}

#[test]
fn a_full_outbox_refuses_decisions_until_items_are_delivered() {
    let mut shard = Shard::new(ShardId::CATALOG);
    shard.one(&Command::AddShards { shards: vec![ShardId(1)] });
    // The last topic fills the outbox but for one item.
    let most = limit::OUTBOX_ITEMS_MAX as u32;
    let (topics, last) = (most / 10_000, most % 10_000 - 1);
    let ids: Vec<TopicId> = (0..topics)
        .map(|nth| match shard.one(&create_topic(nth, 10_000)) {
            Reply::Topic(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(shard.one(&create_topic(topics, last)), Reply::Topic(_)));

    let before = shard.machine.outbox.pending(ShardId(1)).count();
    assert_eq!(before, limit::OUTBOX_ITEMS_MAX - 1);
    let full = Reply::Refused(Refusal::LimitReached("outbox"));
    assert_eq!(shard.one(&create_topic(topics + 1, 2)), full);
    assert_eq!(shard.one(&Command::DeleteTopic { id: ids[0] }), full);
    assert_eq!(shard.one(&Command::ConfigureTopic { id: ids[0], config: StreamConfig::default() }), full);
    assert!(shard.machine.catalog.topic_named(&format!("topic-{}", topics + 1)).is_none());
    assert_eq!(shard.machine.outbox.pending(ShardId(1)).count(), before, "a refused decision has no consequences");

    shard.one(&Command::Delivered { to: ShardId(1), items: vec![1] });
    assert!(matches!(shard.one(&create_topic(topics + 1, 2)), Reply::Topic(_)));
}

#[test]
#[ignore = "bug: deleting puts partitions x shards items at once, from 7 shards on more than an outbox holds"]
fn a_topic_of_any_size_can_be_deleted() {
    let mut shard = Shard::new(ShardId::CATALOG);
    shard.one(&Command::AddShards { shards: (1..8).map(ShardId).collect() });
    let Reply::Topic(id) = shard.one(&create_topic(1, limit::TOPIC_PARTITIONS_MAX)) else { panic!("no topic") };
    for to in 1..8 {
        let items = shard.machine.outbox.pending(ShardId(to)).map(|(number, _)| number).collect();
        shard.one(&Command::Delivered { to: ShardId(to), items });
    }
    assert!(shard.machine.outbox.destinations().is_empty());
    assert_eq!(shard.one(&Command::DeleteTopic { id }), Reply::Done);
}

fn deliver(item: u64, command: &Command) -> Command {
    Command::Deliver { from: ShardId::CATALOG, item, command: Bytes::from(command.to_wire()) }
}

#[test]
fn items_far_out_of_order_are_refused_at_a_number_of_gaps() {
    let mut shard = Shard::new(ShardId(1));
    let most = limit::INBOX_GAPS_MAX as u64;
    // Every other one is missing.
    let replies = shard.all((1..=most).map(|nth| deliver(2 * nth, &Command::Tick)));
    assert!(replies.iter().all(|reply| *reply == Reply::Done));
    let full = Reply::Refused(Refusal::LimitReached("inbox gaps"));
    assert_eq!(shard.one(&deliver(2 * most + 2, &Command::Tick)), full);
    // What was received is still known.
    let repeated = Command::CreateStream { stream: STREAM, config: StreamConfig::default() };
    assert_eq!(shard.one(&deliver(2 * most, &repeated)), Reply::Done);
    assert!(shard.machine.messaging.stream(STREAM).is_none());
}

#[test]
fn generations_and_metadata_have_a_largest_size() {
    let mut shard = Shard::new(ShardId(1));
    let save = |bytes| Command::SaveGroup { group: "g".into(), state: Bytes::from(vec![0; bytes]) };
    assert_eq!(shard.one(&save(limit::GROUP_BYTES_MAX)), Reply::Done);
    assert_eq!(shard.one(&save(limit::GROUP_BYTES_MAX + 1)), Reply::Refused(Refusal::LimitReached("group bytes")),);
    let position = |stream, bytes| CommittedOffset {
        stream: StreamId(stream),
        offset: Offset(1),
        leader_epoch: -1,
        metadata: "x".repeat(bytes),
    };
    let commit = |offsets| Command::CommitOffsets { group: "g".into(), offsets };
    let most = limit::OFFSET_METADATA_BYTES_MAX;
    assert_eq!(shard.one(&commit(vec![position(1, most)])), Reply::Done);
    let long = Reply::Refused(Refusal::LimitReached("offset metadata"));
    assert_eq!(shard.one(&commit(vec![position(2, 0), position(3, most + 1)])), long);
    let streams: Vec<StreamId> = shard.machine.messaging.groups.offsets("g").map(|(stream, _)| stream).collect();
    assert_eq!(streams, [StreamId(1)], "all positions of a commit or none");
}

#[test]
#[ignore = "bug: sequencer.rs bounds neither the pieces nor the bytes of a request, and such an entry cannot be read"]
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
#[ignore = "bug: outbox.rs adds one to an item's number"]
fn the_largest_item_number_is_a_number() {
    let mut shard = Shard::with_stream(StreamConfig::default());
    shard.one(&deliver(u64::MAX, &Command::Tick));
    shard.one(&deliver(u64::MAX, &Command::DeleteStream { stream: STREAM }));
    assert!(shard.machine.messaging.stream(STREAM).is_some(), "received once");
}

#[test]
#[ignore = "bug: dedup.rs adds one to a stream's id"]
fn the_largest_stream_id_is_an_id() {
    let mut shard = Shard::new(ShardId(1));
    let stream = StreamId(u64::MAX);
    shard.one(&Command::CreateStream { stream, config: StreamConfig::default() });
    shard.one(&Command::DeleteStream { stream });
    assert!(shard.machine.messaging.stream(stream).is_none());
}

#[test]
#[ignore = "bug: machine.rs adds one to the last entry's time"]
fn time_does_not_run_backwards_from_its_end() {
    let mut shard = Shard::new(ShardId(1));
    shard.time = Hlc(u64::MAX);
    shard.one(&Command::Tick);
    shard.time = Hlc(1);
    shard.one(&Command::Tick);
    assert_eq!(shard.machine.time(), Hlc(u64::MAX));
}
