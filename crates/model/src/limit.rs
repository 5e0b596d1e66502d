//! Every maximum in one place, and proofs of how they relate.
//!
//! A limit is named for what it bounds, unit last. When one has to change, the assertions at the
//! end say which others depend on it.

/// Bytes in one KiB.
pub const KIB: usize = 1024;
/// Bytes in one MiB.
pub const MIB: usize = 1024 * KIB;

/// The largest piece any stream accepts, whatever its configuration says.
pub const PIECE_BYTES_MAX: usize = 32 * MIB;
/// The largest piece a stream accepts unless configured otherwise: Kafka's `max.message.bytes`.
pub const PIECE_BYTES_DEFAULT: usize = 1_048_588;
/// Bytes that the records of one piece may take when they are decompressed to be looked at.
pub const PIECE_DECOMPRESSED_BYTES_MAX: usize = 4 * PIECE_BYTES_MAX;
/// Of these so many are looked at on the connection's own task; more work is done where it holds up
/// nobody.
pub const INSPECT_INLINE_BYTES_MAX: usize = 256 * KIB;
/// A Raft entry is closed at this size even when more requests wait.
pub const ENTRY_BYTES_TARGET: usize = 256 * KIB;
/// The largest Raft entry: one largest piece and its description.
pub const ENTRY_BYTES_MAX: usize = PIECE_BYTES_MAX + MIB;
/// Pieces in one entry.
pub const ENTRY_PIECES_MAX: usize = 16 * KIB;
/// Commands in one entry.
pub const ENTRY_COMMANDS_MAX: usize = 16 * KIB;
/// Entries proposed and not yet applied. Measured: 32 in flight halves throughput.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 8;
/// Bytes in one AppendEntries to a follower.
pub const APPEND_BYTES_MAX: usize = ENTRY_BYTES_MAX;
/// Requests waiting in front of one shard's batcher.
pub const SHARD_REQUESTS_WAITING_MAX: usize = 4096;
/// Bytes waiting in front of one shard's batcher.
pub const SHARD_BYTES_WAITING_MAX: usize = 2 * PIECE_BYTES_MAX;

/// The largest log file. A file also rolls when it reaches [`FILE_EXTENTS_MAX`].
pub const LOG_FILE_BYTES_MAX: u64 = 64 * MIB as u64;
/// The smallest log file; an idle shard holds no more.
pub const LOG_FILE_BYTES_MIN: u64 = 4 * MIB as u64;
/// Extents in one file's table; bounds the memory of the active file's index.
pub const FILE_EXTENTS_MAX: usize = 64 * KIB;
/// The largest packed file.
pub const PACKED_FILE_BYTES_MAX: u64 = 256 * MIB as u64;
/// Bodies in one frame of a packed file.
pub const PACKED_FRAME_BYTES_TARGET: usize = MIB;
/// A page of an extent table: the unit read from disk to answer a look-up.
pub const TABLE_PAGE_EXTENTS: usize = 85;

/// Within this time the scrubber reads every file once: a week.
pub const SCRUB_PERIOD_SECONDS: u64 = 7 * 24 * 3600;
/// Damaged ranges remembered per shard; further ones are found again when these are repaired.
pub const DAMAGE_NOTED_MAX: usize = 4096;

/// Bytes of recent entries kept in memory, over all shards of a node, unless configured otherwise. What is on its
/// way to the disk is kept beyond that.
pub const TAIL_CACHE_BYTES: usize = 32 * MIB;
/// A slice smaller than this is copied out of the cache instead of pinning the entry it lies in.
pub const PIN_BYTES_MIN: usize = 4 * KIB;

/// Pieces that lie in a file in a row go from there to a socket when they are so many bytes.
pub const SEND_FILE_BYTES_MIN: usize = 16 * KIB;

/// Bytes that readers who catch up may leave in the page cache, over all shards of a node, where nobody says
/// otherwise.
pub const COLD_PAGES_BYTES_DEFAULT: u64 = 1024 * MIB as u64;
/// The least of this: some readers at a time need what they are about to send.
pub const COLD_PAGES_BYTES_MIN: u64 = 256 * MIB as u64;
/// Parts of files that are remembered for it; one has two MiB and more, but at a file's end.
pub const COLD_PARTS_MAX: usize = 64 * KIB;

/// Leader epochs remembered per stream.
pub const STREAM_EPOCHS_MAX: usize = 64;
/// Idempotent producers remembered per stream; the longest idle one is forgotten first.
pub const STREAM_PRODUCERS_MAX: usize = 4096;
/// Batches remembered per producer and stream, to recognise a repeated one. Kafka promises five.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Message ids remembered per stream for deduplication within its window.
pub const DEDUP_IDS_MAX: usize = 256 * KIB;
/// Bytes of one message id.
pub const DEDUP_ID_BYTES_MAX: usize = 128;
/// Streams that move from shard to shard at a time.
pub const MOVES_MAX: usize = 16;
/// Producers, or message ids, of a stream that moves that one command takes along.
pub const ADOPTED_ROWS_MAX: usize = 1024;
/// Intervals in a settled set before further acknowledgements out of order are refused.
pub const SETTLED_INTERVALS_MAX: usize = 1 << 20;
/// Keys that one pass of compaction remembers, about 60 bytes each. What comes after them is for the next.
pub const COMPACTION_KEYS_MAX: usize = 1 << 20;
/// Items waiting in one shard's outbox.
pub const OUTBOX_ITEMS_MAX: usize = 64 * KIB;
/// Rows that one entry forgets, of what expired or was deleted. The rest waits for the next Tick.
pub const ENTRY_FORGETS_MAX: usize = 16 * KIB;

/// Bytes of a topic or queue name: Kafka's limit is 249, RabbitMQ's 255.
pub const NAME_BYTES_MAX: usize = 255;
/// Partitions of one topic.
pub const TOPIC_PARTITIONS_MAX: u32 = 10_000;
/// Settings of one topic that were set by somebody.
pub const TOPIC_SETTINGS_MAX: usize = 64;
/// Bytes of the settings of one topic, names and values.
pub const TOPIC_SETTINGS_BYTES_MAX: usize = 16 * KIB;
/// Topics of a cluster.
pub const TOPICS_MAX: usize = 100_000;
/// Streams of a cluster.
pub const STREAMS_MAX: u64 = 4_000_000;
/// Topics that one request has made because it names them; those beyond are for the next.
pub const TOPICS_MADE_AT_ONCE_MAX: usize = 100;
/// How far the clock of a shard's leader may differ from that of most replicas, in milliseconds.
/// Beyond it leadership is handed away.
pub const CLOCK_SKEW_MILLIS_MAX: u64 = 10_000;
/// Bytes of a stream's older records that one node reads for another at once, beyond the first piece.
pub const OLDER_BYTES_MAX: usize = MIB;
/// Bytes of older records that a node has read for others and that have not been sent yet. They are not taken from what
/// clients' answers have.
pub const OLDER_BYTES_UNSENT_MAX: usize = 64 * MIB;
/// Streams of which a node counts what each takes, from one look to the next.
pub const LOAD_STREAMS_MAX: usize = 4096;
/// Streams of one shard of which it tells others.
pub const LOAD_STREAMS_TOLD_MAX: usize = 16;
/// Streams whose leader epochs a node asks of others at once.
pub const EPOCHS_ASKED_MAX: usize = 4096;
/// Streams of other nodes whose leader epochs a node remembers.
pub const EPOCHS_KNOWN_MAX: usize = 65_536;
/// What other nodes ask of a node that it has not answered yet.
pub const FORWARDS_MAX: usize = 256;
/// What clients of other nodes want of a node that it has not answered yet.
pub const ERRANDS_MAX: usize = HTTP_CONNECTIONS_MAX;
/// Bytes of outbox items that go to another node at once, if there is more than one.
pub const DELIVERY_BYTES_MAX: usize = 256 * KIB;
/// The largest id of a node: Kafka's clients have 31 bits for it.
pub const NODE_ID_MAX: u64 = i32::MAX as u64;
/// Slots that consumer groups, transactional ids and sessions hash to.
pub const SLOTS: u32 = 4096;
/// Shards of one cluster.
pub const SHARDS_MAX: u32 = 1024;
/// Nodes of a cluster, without those that were removed.
pub const NODES_MAX: usize = 128;
/// Nodes that a catalog knows, those that were removed too: it remembers them for their ids not to be given again.
pub const NODE_ROWS_MAX: usize = 4096;
/// Replicas of one shard.
pub const REPLICAS_MAX: usize = 5;
/// Nodes that vote in the catalog's shard. All others follow it.
pub const CATALOG_VOTERS_MAX: usize = 5;
/// Endpoints of one node, besides that for other nodes.
pub const ENDPOINTS_MAX: usize = 16;
/// Bytes of a name in a node's description: of a host, a protocol, a rack.
pub const NODE_NAME_BYTES_MAX: usize = 255;
/// Entries that a replica may be behind when it becomes a voter. Further behind it would hold up what needs its
/// vote.
pub const LEARNER_LAG_ENTRIES_MAX: u64 = 64;
/// Bytes of a consumer group's name.
pub const GROUP_NAME_BYTES_MAX: usize = NAME_BYTES_MAX;
/// Consumer groups of one shard.
pub const GROUPS_MAX: usize = 100_000;
/// Streams that one consumer group has committed positions over.
pub const GROUP_POSITIONS_MAX: usize = 64 * KIB;
/// Bytes of one committed offset's metadata: Kafka's `offset.metadata.max.bytes`.
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;
/// Members of one consumer group.
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Bytes of one consumer group's stored generation.
pub const GROUP_BYTES_MAX: usize = 8 * MIB;

/// Requests of a connection that may wait for answers; more are not read.
pub const CONNECTION_REQUESTS_MAX: usize = 128;
/// The largest request of a client: Kafka's `socket.request.max.bytes`.
pub const REQUEST_BYTES_MAX: usize = 100 * MIB;
/// The largest request that arrives beside the others. Larger ones have memory of their own, so that they
/// do not keep out what clients send by default, of which Kafka's `max.request.size` is 1 MiB.
pub const REQUEST_BYTES_ORDINARY: usize = 2 * MIB;
/// The most that a fetch returns while others wait for memory, beyond its first piece.
pub const ANSWER_BYTES_ORDINARY: usize = 2 * MIB;
/// Elements of arrays in one request, all of them together.
pub const REQUEST_PARTS_MAX: usize = 128 * KIB;
/// Bytes that an element of a request is taken to need until it is answered, besides what it takes on the
/// wire: as it is read, as the broker is asked, as it is answered.
pub const REQUEST_PART_BYTES: usize = 512;
/// Requests with more elements than this wait for memory of their own, as those of many bytes do.
pub const REQUEST_PARTS_ORDINARY: usize = 4 * KIB;
/// Requests of no more than this are worked on also when there is no memory for others...
pub const REQUEST_BYTES_SMALL: usize = 4 * KIB;
/// ...if they have no more elements than this.
pub const REQUEST_PARTS_FEW: usize = 128;
/// Bytes of a request that arrive before memory is taken for it.
pub const INPUT_BYTES_FREE: usize = 16 * KIB;
/// Bytes that a connection may hold in requests, and again in answers, before they are counted.
pub const CONNECTION_BYTES_FREE: usize = 64 * KIB;
/// Bytes that clients can make a node take, unless configured otherwise.
pub const MEMORY_BYTES_DEFAULT: u64 = 1024 * MIB as u64;
/// The least that can be configured: each of the five pools has room for what is usual.
pub const MEMORY_BYTES_MIN: u64 = 32 * MIB as u64;
/// The most that one fetch returns, beyond its first piece: Kafka's `fetch.max.bytes`.
pub const FETCH_BYTES_MAX: usize = 55 * MIB;
/// Partitions that the fetch sessions of all connections remember, about 200 bytes each.
pub const FETCH_SESSION_PLACES_MAX: usize = 1_000_000;
/// Requests waiting for one shard's group coordinator.
pub const GROUP_REQUESTS_WAITING_MAX: usize = 1024;
/// Entries that are skipped by one decision.
pub const SKIPS_AT_ONCE_MAX: u64 = 1_000;
/// Bytes of the reason for skipping entries.
pub const SKIP_REASON_BYTES_MAX: usize = 1024;
/// Bytes of the record of skipped entries.
pub const SKIPS_BYTES_MAX: u64 = 16 * MIB as u64;
/// Bytes of what a journal remembers of compaction.
pub const COMPACTED_BYTES_MAX: u64 = 64 * MIB as u64;
/// Bytes of a journal's manifest.
pub const MANIFEST_BYTES_MAX: u64 = 64 * MIB as u64;
/// Bytes of a block of a checkpoint.
pub const CHECKPOINT_BLOCK_BYTES_MAX: usize = 64 * MIB;
/// Bytes taken from the queue of a journal's writer for one write.
pub const WRITE_BYTES_MAX: usize = 8 * MIB;
/// A write to a log file of at least so many bytes goes around the page cache, unless somebody reads behind.
pub const WRITE_AROUND_BYTES_MIN: u64 = 64 * KIB as u64;
/// Whoever has read from a file while so many bytes were written last is expected to go on.
pub const READ_BEHIND_BYTES: u64 = 256 * MIB as u64;
/// Bytes written that need no sync: with more, a sync is made.
pub const UNSYNCED_BYTES_MAX: usize = 16 * MIB;
/// Topics that metrics show by name. The others are summed up.
pub const METRIC_TOPICS_MAX: usize = 1_000;
/// Consumer groups that metrics show by name. The others are summed up.
pub const METRIC_GROUPS_MAX: usize = 1_000;
/// Pairs of a consumer group and a topic whose lag metrics show. The others are summed up.
pub const METRIC_LAGS_MAX: usize = 2_000;
/// Partitions that are looked at to tell how large the topics are that metrics show.
pub const METRIC_PARTITIONS_MAX: usize = 100_000;
/// Positions of consumer groups that are looked at to tell how far these are behind.
pub const METRIC_POSITIONS_MAX: usize = 100_000;
/// Connections to the HTTP listener.
pub const HTTP_CONNECTIONS_MAX: usize = 64;
/// Bytes of the body of a request to the admin API that carries records.
pub const ADMIN_RECORDS_BODY_BYTES_MAX: usize = 8 * MIB;
/// Bytes of the body of any other request to the admin API.
pub const ADMIN_BODY_BYTES_MAX: usize = MIB;
/// Records that one request to the admin API writes.
pub const ADMIN_RECORDS_WRITTEN_MAX: usize = 10_000;
/// Headers of a record that the admin API writes.
pub const ADMIN_HEADERS_MAX: usize = 1_000;
/// Topics that one request to the admin API names.
pub const ADMIN_TOPICS_NAMED_MAX: usize = 1_000;
/// Elements of one answer of the admin API: topics, groups, records.
pub const ADMIN_PAGE_MAX: usize = 1_000;
/// Partitions that one page of topics looks at, beyond those of its first topic.
pub const ADMIN_PAGE_PARTITIONS_MAX: usize = TOPIC_PARTITIONS_MAX as usize;
/// Bytes of an answer of the admin API that carries records, beyond its first record.
pub const ADMIN_ANSWER_BYTES_MAX: usize = 16 * MIB;
/// The same, when nobody says otherwise.
pub const ADMIN_ANSWER_BYTES_DEFAULT: usize = MIB;
/// How long a request to the admin API may wait for records, in milliseconds.
pub const ADMIN_WAIT_MILLIS_MAX: u64 = 30_000;
/// Requests to the admin API that wait for records: so many connections remain for others.
pub const ADMIN_WAITS_MAX: usize = HTTP_CONNECTIONS_MAX / 2;
/// The same of those that come from other nodes: so many turns remain for what does not wait.
pub const ERRANDS_WAITING_MAX: usize = ERRANDS_MAX / 2;
/// Pages of records that the admin API decompresses at a time, each of which may take
/// [`PIECE_DECOMPRESSED_BYTES_MAX`] for a moment.
pub const ADMIN_PAGES_DECODED_AT_ONCE: usize = 4;
/// Connections of clients, if there are file descriptors for them.
pub const CONNECTIONS_MAX: u64 = 20_000;
/// Chunks of a snapshot that are asked for ahead: with 10 ms on the way there and back, 256 KiB each are 200 MB/s.
pub const CHUNKS_AHEAD_MAX: usize = 8;
/// Bytes of what says how much of a part of a snapshot is here.
pub const PULL_PROGRESS_BYTES_MAX: u64 = MIB as u64;
/// Bytes a second that a node copies of snapshots unless somebody says otherwise: about half of what a gigabit a second
/// carries, and well below what a disk writes, so that clients and replication keep the rest. A TiB takes five hours.
pub const CATCH_UP_BYTES_PER_SECOND_DEFAULT: u64 = 64 * MIB as u64;
/// The least that may be said: the default number of bytes asked for at a time takes four seconds then.
pub const CATCH_UP_BYTES_PER_SECOND_MIN: u64 = 64 * KIB as u64;
/// Parts of snapshots that are kept although the snapshot that is being copied has no use for them: another leader
/// may offer them again.
pub const PULL_PARTS_UNCLAIMED_MAX: usize = 256;
/// Bytes of such parts.
pub const PULL_PARTS_UNCLAIMED_BYTES_MAX: u64 = 1024 * MIB as u64;
/// AppendEntries of one leader that wait for their turn with a follower.
pub const APPENDS_WAITING_MAX: usize = 64;
/// AppendEntries of one shard on their way to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 16;
/// Bytes of entries in them. One more request may have been read and wait for room.
pub const APPEND_BYTES_IN_FLIGHT_MAX: usize = 2 * APPEND_BYTES_MAX;
/// Calls of all shards that wait for their turn in one lane to another node.
pub const LANE_CALLS_WAITING_MAX: usize = 32 * KIB;
/// Bytes of such calls. They often are the same memory for every node.
pub const LANE_BYTES_WAITING_MAX: usize = 256 * MIB;
/// Calls of other nodes that a node works on at a time, those of shards not counted.
pub const NODE_CALLS_MAX: usize = 256;

const _: () = {
    assert!(PIECE_BYTES_DEFAULT <= PIECE_BYTES_MAX);
    assert!(ENTRY_BYTES_TARGET <= ENTRY_BYTES_MAX);
    assert!(PIECE_BYTES_MAX + ENTRY_PIECES_MAX * 40 + 24 <= ENTRY_BYTES_MAX, "a largest piece fits an entry");
    assert!(ENTRY_BYTES_MAX as u64 + 4096 <= LOG_FILE_BYTES_MAX, "an entry fits a log file");
    assert!(LOG_FILE_BYTES_MAX <= PULL_PARTS_UNCLAIMED_BYTES_MAX, "a part at least may stay that nobody claims now");
    assert!(CATCH_UP_BYTES_PER_SECOND_MIN <= CATCH_UP_BYTES_PER_SECOND_DEFAULT);
    assert!(ENTRY_PIECES_MAX <= FILE_EXTENTS_MAX, "the extents of an entry fit a file's table");
    assert!(APPEND_BYTES_MAX >= ENTRY_BYTES_MAX, "every entry can be replicated");
    assert!(PACKED_FRAME_BYTES_TARGET + PIECE_BYTES_MAX < PACKED_FILE_BYTES_MAX as usize);
    assert!(SHARD_BYTES_WAITING_MAX >= PIECE_BYTES_MAX);
    assert!(GROUP_BYTES_MAX < ENTRY_BYTES_MAX);
    assert!(REQUEST_BYTES_MAX > PIECE_BYTES_MAX, "a largest piece fits a request");
    assert!(REQUEST_PARTS_MAX >= TOPICS_MAX, "a request can name every topic");
    assert!(REQUEST_PARTS_MAX > GROUP_POSITIONS_MAX, "a request can name all that a group has committed");
    assert!(REQUEST_PARTS_FEW * REQUEST_PART_BYTES <= CONNECTION_BYTES_FREE, "a small request is never waited for");
    assert!(MEMORY_BYTES_MIN / 4 >= REQUEST_BYTES_ORDINARY as u64, "an ordinary request fits where it arrives");
    assert!(
        MEMORY_BYTES_MIN / 8 >= (REQUEST_BYTES_ORDINARY + REQUEST_PARTS_ORDINARY * REQUEST_PART_BYTES) as u64,
        "an ordinary request fits where it is worked on"
    );
    assert!(MEMORY_BYTES_MIN / 4 >= ANSWER_BYTES_ORDINARY as u64, "an ordinary answer fits its pool");
    assert!(MEMORY_BYTES_MIN <= MEMORY_BYTES_DEFAULT);
    assert!(ADMIN_RECORDS_BODY_BYTES_MAX < PIECE_BYTES_MAX, "what a request carries fits a piece");
    assert!(ADMIN_WAITS_MAX < HTTP_CONNECTIONS_MAX, "whoever waits leaves room for health and metrics");
    assert!(ERRANDS_WAITING_MAX < ERRANDS_MAX, "and for what other nodes want at once");
    assert!(FETCH_BYTES_MAX > PIECE_BYTES_MAX, "a largest piece fits an answer");
    assert!(COLD_PAGES_BYTES_MIN > 2 * FETCH_BYTES_MAX as u64, "an answer from files is in memory until it is sent");
    assert!(COLD_PAGES_BYTES_MIN <= COLD_PAGES_BYTES_DEFAULT);
    assert!(SKIPS_AT_ONCE_MAX as usize * SKIP_REASON_BYTES_MAX < SKIPS_BYTES_MAX as usize);
    assert!(APPENDS_WAITING_MAX >= APPENDS_IN_FLIGHT_MAX, "a follower takes all that a leader sends");
    assert!(APPEND_BYTES_IN_FLIGHT_MAX >= APPEND_BYTES_MAX, "a largest append is sent");
    assert!(APPEND_BYTES_IN_FLIGHT_MAX <= u32::MAX as usize, "permits");
    assert!(LANE_BYTES_WAITING_MAX <= u32::MAX as usize, "permits");
    assert!(
        LANE_CALLS_WAITING_MAX >= (1 + SHARDS_MAX as usize) * APPENDS_IN_FLIGHT_MAX,
        "neither the catalog's appends nor a shard's find the lane full of those of others"
    );
    assert!(LANE_BYTES_WAITING_MAX >= 2 * APPEND_BYTES_IN_FLIGHT_MAX, "nor when two shards send all that they may");
    assert!(
        OLDER_BYTES_MAX <= ANSWER_BYTES_ORDINARY && OLDER_BYTES_MAX < APPEND_BYTES_MAX,
        "older records fit a frame"
    );
    assert!(OLDER_BYTES_UNSENT_MAX >= OLDER_BYTES_MAX + PIECE_BYTES_MAX, "a largest piece is read for others, too");
    assert!(OLDER_BYTES_UNSENT_MAX <= u32::MAX as usize, "permits");
    assert!(LOG_FILE_BYTES_MIN <= LOG_FILE_BYTES_MAX);
    assert!(ADOPTED_ROWS_MAX * (DEDUP_ID_BYTES_MAX + 32) <= ENTRY_BYTES_TARGET, "what moves at once fits an entry");
    assert!(ADOPTED_ROWS_MAX * (32 + PRODUCER_BATCHES_MAX * 16) <= ENTRY_BYTES_TARGET, "nor are producers too many");
    assert!(
        MOVES_MAX * (2 + (STREAM_PRODUCERS_MAX + DEDUP_IDS_MAX) / ADOPTED_ROWS_MAX) <= OUTBOX_ITEMS_MAX / 8,
        "the items of moves, which find room in any case, are few"
    );
    assert!(OUTBOX_ITEMS_MAX >= SHARDS_MAX as usize, "an empty outbox takes a decision about any topic");
    assert!(NODE_ROWS_MAX >= NODES_MAX);
    assert!(REPLICAS_MAX <= NODES_MAX && CATALOG_VOTERS_MAX <= REPLICAS_MAX, "the catalog's shard is placed like any");
    assert!(REPLICAS_MAX % 2 == 1 && CATALOG_VOTERS_MAX % 2 == 1, "an even number survives no more than one less");
    assert!((ENDPOINTS_MAX + 2) * 2 * (NODE_NAME_BYTES_MAX + 8) <= ENTRY_BYTES_TARGET, "a node fits an entry");
    assert!(TOPIC_PARTITIONS_MAX as usize * 8 + KIB <= ENTRY_BYTES_MAX, "an item about a whole topic fits an entry");
    assert!(GROUP_POSITIONS_MAX >= TOPIC_PARTITIONS_MAX as usize, "a group can consume a whole topic");
    assert!(METRIC_PARTITIONS_MAX >= TOPIC_PARTITIONS_MAX as usize, "the size of the largest topic can be told");
    assert!(METRIC_POSITIONS_MAX >= GROUP_POSITIONS_MAX, "the lag of the largest group can be told");
    assert!(ENTRY_FORGETS_MAX >= ENTRY_COMMANDS_MAX, "a Tick forgets as many message ids as an entry adds");
};
