//! Reading pieces and finding offsets.

use crate::broker::{Broker, Inner, leading, leading_for_sure};
use crate::memory::Held;
use crate::older::{Wanted, is_gone};
use crate::request::{
    BrokerError, EpochEnd, EpochQuery, FindRecord, FoundOffset, OffsetQuery, OffsetSpec, PartitionRef, ReadPart,
    ReadQuery, ReadRange, Reply, Search,
};
use crate::world::Moment;
use bytes::Bytes;
use journal::{Chunk, ReadError, Slice};
use machine::messaging::moving::Older;
use machine::messaging::stream::Stream;
use model::limit;
use model::{LeaderEpoch, Offset, ShardId, StreamId, Timestamp, TopicId};
use shard::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A reader waits no longer for memory. It is told that there is nothing, and asks again.
const MEMORY_PATIENCE: Duration = Duration::from_secs(10);

/// Other nodes have at least so long to read for a fetch.
const ELSEWHERE_MIN: Duration = Duration::from_millis(500);

/// A partition, found.
pub(crate) struct Found {
    pub(crate) topic: TopicId,
    pub(crate) shard: Shard,
    /// The Raft term this node leads its shard in, or follows it.
    pub(crate) term: u64,
    pub(crate) id: StreamId,
    pub(crate) state: Stream,
    /// Whether this node leads it; else there may be more at whoever does.
    pub(crate) leads: bool,
    /// The shard that it goes on in, when that is another one.
    moved_to: Option<ShardId>,
    /// Its records that are in the shard that it came from.
    pub(crate) older: Option<Older>,
    /// This node's replica of that shard, and up to where it has them: see [`Found::look_for_older`].
    pub(crate) older_here: Option<(Shard, Offset)>,
    /// What another node has read of them.
    older_elsewhere: Vec<Slice>,
}

/// What was read.
struct NowRead {
    parts: Vec<Result<ReadPart, BrokerError>>,
    /// Whether some of what is asked for is in the shard that its stream came from.
    older: bool,
    /// The memory that it takes.
    held: Option<Held>,
}

impl Found {
    /// The first record, wherever it is.
    pub(crate) fn start(&self) -> Offset {
        self.older.map_or(self.state.start, |older| older.start)
    }

    /// Whether the record at `offset` is in the shard that the stream came from.
    fn is_older(&self, offset: Offset) -> bool {
        offset < self.state.start && self.older.is_some_and(|older| offset >= older.start)
    }

    /// Looks whether this node has the older record at `offset`, if it is one.
    pub(crate) fn look_for_older(&mut self, inner: &Inner, offset: Offset) {
        if let Some(older) = self.older.filter(|_| self.is_older(offset)) {
            self.older_here = inner.older_here(older, self.id, offset, self.state.start);
        }
    }
}

impl Broker {
    /// Reads what there is; when that is less than asked for, waits for more.
    pub(crate) async fn read(self, query: ReadQuery) -> Reply {
        let query = Arc::new(query);
        let world = &self.inner.world;
        let deadline = world.now() + query.max_wait;
        let streams = query.parts.iter().filter_map(|part| Some(self.inner.resolve(&part.from).ok()?.stream));
        // Registered before looking, so that what comes in between is not missed.
        let waiting = self.inner.waiters.register(streams.collect());
        let mut waited = Duration::ZERO;
        loop {
            let last = world.now() >= deadline;
            let there = self.inner.readable_bytes(&query);
            if last || there != Some(0) {
                // Taken before anything is read. Whoever asked counts the answer before this is given back.
                let held = match there.filter(|bytes| *bytes > 0) {
                    Some(bytes) => match self.memory_to_read(bytes, world.now() + MEMORY_PATIENCE).await {
                        Some(held) => Some(held),
                        None => return Reply::Read { parts: self.read_now(&query, 0, None).await.parts, waited },
                    },
                    None => None,
                };
                let most = held.as_ref().map_or(query.max_bytes, Held::bytes);
                let NowRead { parts, older, held } = self.read_now(&query, most, held).await;
                let bytes: usize = parts.iter().flatten().map(ReadPart::bytes).sum();
                // What follows older records is read next time, and is there already.
                let enough = bytes >= query.min_bytes || bytes > 0 && older;
                if last || enough || parts.iter().any(Result::is_err) {
                    self.inner.note_read(&parts);
                    return Reply::Read { parts, waited };
                }
                drop(held);
            }
            let began = world.now();
            let _ = world.timeout_at(deadline, waiting.woken()).await;
            waited += world.now().since(began);
        }
    }

    /// Takes so much memory if there is plenty, else waits for what is usual: who asks for much is not served
    /// before those who ask for little. Nothing when that takes until `deadline`.
    async fn memory_to_read(&self, bytes: usize, deadline: Moment) -> Option<Held> {
        let pool = &self.inner.memory.answers;
        if pool.has_plenty()
            && let Some(held) = pool.try_take(bytes)
        {
            return Some(held);
        }
        let usual = bytes.min(limit::ANSWER_BYTES_ORDINARY);
        self.inner.world.timeout_at(deadline, pool.take(usual)).await
    }

    /// Reads so many bytes and no more, beyond the first piece, into memory that was taken for it. With none, only
    /// what is wrong is told, and where partitions begin and end.
    async fn read_now(&self, query: &Arc<ReadQuery>, most: usize, held: Option<Held>) -> NowRead {
        let mut found: Vec<_> = query.parts.iter().map(|range| self.inner.find_to_read(range, query)).collect();
        let is_older = |(range, found): (&ReadRange, &Result<Found, BrokerError>)| {
            found.as_ref().is_ok_and(|found| found.is_older(range.offset))
        };
        let older = query.parts.iter().zip(&found).any(is_older);
        if older {
            self.read_elsewhere(query, &mut found, most).await;
        }
        if query.parts.iter().zip(&found).all(|(range, found)| is_in_memory(range, found.as_ref())) {
            return NowRead { parts: read_parts(query, found, most), older, held };
        }
        let theirs = query.clone();
        // The work goes on when whoever asked leaves, and so it has what it takes.
        let work = move || NowRead { parts: read_parts(&theirs, found, most), older, held };
        let failed = || {
            let parts = query.parts.iter().map(|_| Err(BrokerError::Unavailable)).collect();
            NowRead { parts, older, held: None }
        };
        self.inner.world.blocking(work).await.unwrap_or_else(failed)
    }

    /// Has other nodes read what this one has no replica of: all at once, each a share of what may be read.
    async fn read_elsewhere(&self, query: &ReadQuery, found: &mut [Result<Found, BrokerError>], most: usize) {
        let is_wanted =
            |range: &ReadRange, of: &Found| of.is_older(range.offset) && of.older_here.is_none() && most > 0;
        let wanted: Vec<(usize, Older, Wanted)> = (query.parts.iter().zip(&*found).enumerate())
            .filter_map(|(nth, (range, part))| {
                let of = part.as_ref().ok().filter(|of| is_wanted(range, of))?;
                let (stream, from, to, bytes_max) = (of.id, range.offset, of.state.start, range.max_bytes);
                Some((nth, of.older?, Wanted { stream, from, to, since: None, bytes_max }))
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let share = query.max_bytes.min(most) / wanted.len();
        // Partitions that are here wait no longer for others than whoever asks for them would for more.
        let deadline = self.inner.older_deadline().min(self.inner.world.now() + query.max_wait.max(ELSEWHERE_MIN));
        let asked = wanted.into_iter().map(|(nth, older, wanted)| async move {
            let bytes_max = wanted.bytes_max.min(share).min(limit::OLDER_BYTES_MAX);
            (nth, self.inner.read_elsewhere(older.shard, Wanted { bytes_max, ..wanted }, deadline).await)
        });
        for (nth, read) in futures::future::join_all(asked).await {
            match (read, &mut found[nth]) {
                (Ok(slices), Ok(of)) => of.older_elsewhere = slices,
                (Err(error), part) => *part = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
    }

    pub(crate) async fn offsets(self, queries: Vec<OffsetQuery>) -> Reply {
        let mut found: Vec<Result<FoundOffset, BrokerError>> = Vec::with_capacity(queries.len());
        // What is asked for again is looked for once, for that may take much reading.
        let mut known: BTreeMap<_, usize> = BTreeMap::new();
        // One deadline for all: whoever asks for many would have left long before the last.
        let (patience, elsewhere) = (self.inner.world.now() + MEMORY_PATIENCE, self.inner.older_deadline());
        for query in &queries {
            let nth = *known.entry((&query.partition, query.which, query.epoch)).or_insert(found.len());
            found.push(match found.get(nth) {
                Some(before) => before.clone(),
                None => self.find_offset(query, patience, elsewhere).await,
            });
        }
        Reply::Offsets(found)
    }

    async fn find_offset(
        &self,
        query: &OffsetQuery,
        patience: Moment,
        elsewhere: Moment,
    ) -> Result<FoundOffset, BrokerError> {
        let found = self.inner.find_stream(&query.partition, query.epoch)?;
        let Found { shard, id, term, state, older, .. } = found;
        let first = older.map_or(state.start, |older| self.inner.older_start(older, id));
        // Whoever asks goes by the answer as if there were no more: another leader may have more.
        leading_for_sure(&shard)?;
        let epoch_of = |offset: Offset| {
            let at = state.epochs.partition_point(|(_, base)| *base <= offset);
            at.checked_sub(1).map(|nth| state.epochs[nth].0)
        };
        let time = match query.which {
            OffsetSpec::Earliest => {
                let epoch = epoch_of(first);
                return Ok(FoundOffset { offset: Some(first), timestamp: None, epoch });
            }
            OffsetSpec::Latest => {
                let epoch = Some(state.epoch_in(term));
                return Ok(FoundOffset { offset: Some(state.end), timestamp: None, epoch });
            }
            OffsetSpec::AtOrAfter(time) => time,
            OffsetSpec::MaxTimestamp => state.max_timestamp,
        };
        let (start, end) = (state.start, state.end);
        // Taken before the piece is read that has the record, and held while it is looked into.
        let held = self.memory_to_read(state.config.piece_bytes_max as usize, patience).await;
        let held = held.ok_or(BrokerError::Unavailable)?;
        let older = match older {
            Some(older) => self.find_older(older, id, start, time, elsewhere).await?,
            None => None,
        };
        let (journal, find) = (shard.journal().clone(), query.find);
        let search = self.inner.world.blocking(move || {
            let newest = || {
                let Some((base, _)) = journal.find_timestamp(id, start, end, time)? else { return Ok(None) };
                Ok::<_, ReadError>(journal.read(id, base, base.plus(1), 0)?.into_iter().next())
            };
            let Some(piece) = older.map_or_else(newest, |piece| Ok(Some(piece)))? else { return Ok(None) };
            let found = find(&piece.bytes, time, limit::INSPECT_INLINE_BYTES_MAX);
            Ok::<_, ReadError>(Some((piece, found, held)))
        });
        let (piece, found, held) = match search.await.ok_or(BrokerError::Unavailable)?? {
            Some(found) => found,
            None => return Ok(FoundOffset { offset: None, timestamp: None, epoch: None }),
        };
        let epoch = epoch_of(piece.base);
        let found = match found {
            Search::TooMuch => self.search(find, piece.bytes, time, held).await?,
            found => found,
        };
        let (offset, timestamp) = match found {
            Search::Found(offset, timestamp) => (offset, Some(timestamp)),
            Search::Nothing | Search::TooMuch => (piece.base, None),
        };
        Ok(FoundOffset { offset: Some(offset.max(first)), timestamp, epoch })
    }

    /// Looks for a record where that takes much work, as others do when it is their turn.
    async fn search(&self, find: FindRecord, piece: Bytes, time: Timestamp, held: Held) -> Result<Search, BrokerError> {
        let turn = self.inner.inspecting.clone().acquire_owned().await.map_err(|_| BrokerError::Unavailable)?;
        let work = move || {
            // The work goes on when whoever asked leaves, and so the turn and the memory do.
            let (_turn, _held) = (turn, held);
            find(&piece, time, limit::PIECE_DECOMPRESSED_BYTES_MAX)
        };
        self.inner.world.blocking(work).await.ok_or(BrokerError::Unavailable)
    }
}

impl Broker {
    pub(crate) async fn epoch_ends(self, queries: Vec<EpochQuery>) -> Reply {
        let end = |query: EpochQuery| {
            let found = self.inner.find_stream(&query.partition, query.current)?;
            Ok(epoch_end(&found.state, found.state.epoch_in(found.term), query.epoch))
        };
        Reply::EpochEnds(queries.into_iter().map(end).collect())
    }
}

/// Whether reading will not touch a file. What will find nothing does not, either.
fn is_in_memory(range: &ReadRange, found: Result<&Found, &BrokerError>) -> bool {
    found.map_or(true, |found| {
        let journal = match &found.older_here {
            Some((older, _)) => older.journal(),
            None => found.shard.journal(),
        };
        range.offset >= found.state.end
            || !found.older_elsewhere.is_empty()
            || journal.in_memory(found.id, range.offset)
    })
}

/// May read files.
fn read_parts(
    query: &ReadQuery,
    found: Vec<Result<Found, BrokerError>>,
    most: usize,
) -> Vec<Result<ReadPart, BrokerError>> {
    let mut left = query.max_bytes.min(most);
    let mut nothing_yet = most > 0;
    let mut parts = Vec::with_capacity(query.parts.len());
    for (range, found) in query.parts.iter().zip(found) {
        let part = found.and_then(|found| read_part(&found, range, left, nothing_yet, query.in_files));
        if let Ok(part) = &part {
            let bytes = part.bytes();
            left = left.saturating_sub(bytes);
            nothing_yet &= bytes == 0;
        }
        parts.push(part);
    }
    parts
}

fn read_part(
    found: &Found,
    range: &ReadRange,
    left: usize,
    nothing_yet: bool,
    in_files: bool,
) -> Result<ReadPart, BrokerError> {
    let (topic, start, end) = (found.topic, found.start(), found.state.end);
    let agreed = range.last_epoch.map(|epoch| divergence(found, epoch, range.offset)).transpose()?;
    if let Some(agreed) = agreed.flatten() {
        return Ok(ReadPart { topic, end, start, chunks: Vec::new(), diverges: Some(agreed) });
    }
    // Of a leader that is cut off, another one may have more.
    if range.offset > end && !(found.leads && found.shard.is_sure_to_lead()) {
        return Err(BrokerError::OffsetNotAvailable);
    }
    if range.offset < start || range.offset > end {
        return Err(BrokerError::OffsetOutOfRange);
    }
    let max_bytes = range.max_bytes.min(left);
    if range.offset == end || (max_bytes == 0 && !nothing_yet) {
        return Ok(ReadPart { topic, end, start, chunks: Vec::new(), diverges: None });
    }
    if found.is_older(range.offset) && found.older_here.is_none() {
        let chunks = fitting(&found.older_elsewhere, max_bytes, nothing_yet);
        return Ok(ReadPart { topic, end, start, chunks, diverges: None });
    }
    let (shard, to) = found.older_here.as_ref().map_or((&found.shard, end), |(older, to)| (older, *to));
    let (journal, id, from) = (shard.journal(), found.id, range.offset);
    let chunks = match in_files {
        true => journal.read_chunks(id, from, to, max_bytes),
        false => journal.read(id, from, to, max_bytes).map(|slices| slices.into_iter().map(Chunk::Slice).collect()),
    };
    // The shard that keeps older records removes them first and tells then: what follows them is not passed off as next.
    if found.older_here.as_ref().is_some_and(|(older, _)| is_gone(older, id, from)) {
        return Err(BrokerError::OffsetOutOfRange);
    }
    let mut chunks = chunks.map_err(|error| {
        tracing::error!(stream = %id, %error, "cannot read");
        BrokerError::from(error)
    })?;
    // The first piece of an answer may be larger than asked for, the others not.
    if !nothing_yet && chunks.first().is_some_and(|chunk| chunk.len() > max_bytes) {
        chunks.clear();
    }
    Ok(ReadPart { topic, end, start, chunks, diverges: None })
}

/// As many of these as are not more bytes than asked for, but the first in any case where `nothing_yet` was read.
fn fitting(slices: &[Slice], max_bytes: usize, nothing_yet: bool) -> Vec<Chunk> {
    let mut bytes = 0;
    let fits = |(nth, slice): &(usize, &Slice)| {
        bytes += slice.bytes.len();
        bytes <= max_bytes || (*nth == 0 && nothing_yet)
    };
    slices.iter().enumerate().take_while(fits).map(|(_, slice)| Chunk::Slice(slice.clone())).collect()
}

/// Up to where a reader and the stream agree, when they do not agree up to `offset`, the record before
/// which the reader has of `epoch` (KIP-595).
fn divergence(found: &Found, epoch: LeaderEpoch, offset: Offset) -> Result<Option<EpochEnd>, BrokerError> {
    let current = found.state.epoch_in(found.term);
    let agreed = epoch_end(&found.state, current, i32::try_from(epoch.0).unwrap_or(i32::MAX));
    // Of an epoch to come nobody can have read anything.
    let ours = agreed.epoch.ok_or(BrokerError::OffsetOutOfRange)?;
    let less = ours < epoch || agreed.end.is_some_and(|end| end < offset);
    Ok(less.then_some(agreed))
}

/// Where `asked` ended, or the greatest epoch before it; KIP-101 and KIP-320.
fn epoch_end(stream: &Stream, current: LeaderEpoch, asked: i32) -> EpochEnd {
    let Ok(asked) = u32::try_from(asked).map(LeaderEpoch) else { return EpochEnd { epoch: None, end: None } };
    if asked == current {
        return EpochEnd { epoch: Some(asked), end: Some(stream.end) };
    }
    if asked > current {
        return EpochEnd { epoch: None, end: None };
    }
    let after = stream.epochs.partition_point(|(epoch, _)| *epoch <= asked);
    let end = stream.epochs.get(after).map_or(stream.end, |(_, base)| *base);
    // Of one that is forgotten is only known that it ended where the oldest begins.
    let epoch = after.checked_sub(1).map_or(asked, |nth| stream.epochs[nth].0);
    EpochEnd { epoch: Some(epoch), end: Some(end) }
}

impl Inner {
    fn note_read(&self, parts: &[Result<ReadPart, BrokerError>]) {
        for part in parts.iter().flatten().filter(|part| !part.chunks.is_empty()) {
            let records = part.chunks.iter().map(Chunk::count).sum();
            self.traffic.note_out(part.topic, records, part.bytes() as u64);
        }
    }

    /// How many bytes a read now may find, at most. Nothing when there is something to tell other than
    /// bytes: an error, or that none are asked for.
    fn readable_bytes(&self, query: &ReadQuery) -> Option<usize> {
        let (mut bytes, mut tells) = (0, query.min_bytes == 0);
        for part in &query.parts {
            match self.find_to_read(part, query) {
                Ok(found) if part.offset == found.state.end => {}
                // The first piece comes whole.
                Ok(found) if bytes == 0 => bytes = part.max_bytes.max(found.state.config.piece_bytes_max as usize),
                Ok(_) => bytes += part.max_bytes.min(query.max_bytes),
                Err(_) => tells = true,
            }
            if bytes > query.max_bytes {
                // No more than this, or than a first piece.
                bytes = bytes.min(query.max_bytes.max(limit::PIECE_BYTES_MAX));
                break;
            }
        }
        (bytes > 0 || !tells).then_some(bytes)
    }

    /// The stream to read from: as the leader has it or, where that is enough, as this replica has it. One
    /// in doubt is not read: it may say what was taken back.
    fn find_to_read(&self, range: &ReadRange, query: &ReadQuery) -> Result<Found, BrokerError> {
        let (place, topic) = self.resolve_with(&range.from, |topic, _| topic)?;
        let shard = self.shard(place.shard)?;
        let term = match leading(&shard) {
            Ok(term) => Some(term),
            Err(BrokerError::NotLeader(_)) if query.any_replica && !shard.is_in_doubt() => None,
            Err(error) => return Err(error),
        };
        let mut found = self.found(shard, place.stream, topic, range.epoch, term)?;
        // Of one that goes on elsewhere, what is left is read; what is to come, whoever has that knows.
        if range.offset >= found.state.end {
            self.check_newest(&found)?;
            // Whoever waits at a replica that is cut off would wait in vain.
            if !found.leads && !found.shard.hears_leader() {
                return Err(BrokerError::NotLeader(None));
            }
        }
        found.look_for_older(self, range.offset);
        Ok(found)
    }

    /// The stream as its leader has it.
    pub(crate) fn find_stream(
        &self,
        partition: &PartitionRef,
        epoch: Option<LeaderEpoch>,
    ) -> Result<Found, BrokerError> {
        let (place, topic) = self.resolve_with(partition, |topic, _| topic)?;
        let shard = self.shard(place.shard)?;
        let term = leading(&shard)?;
        let found = self.found(shard, place.stream, topic, epoch, Some(term))?;
        self.check_newest(&found)?;
        Ok(found)
    }

    /// A stream of a replica, which leads in this term if it leads, if whoever asks knows the same leader.
    fn found(
        &self,
        shard: Shard,
        id: StreamId,
        topic: TopicId,
        epoch: Option<LeaderEpoch>,
        leads_in: Option<u64>,
    ) -> Result<Found, BrokerError> {
        let (state, moved_to, older) = {
            let machine = shard.machine();
            let messaging = &machine.messaging;
            match (messaging.stream(id), messaging.moved_to(id)) {
                (Some(state), moved_to) => (state.clone(), moved_to, messaging.older(id)),
                (None, None) => return Err(BrokerError::UnknownTopic),
                (None, Some(to)) => {
                    drop(machine);
                    return Err(BrokerError::NotLeader(self.leader_of(to)));
                }
            }
        };
        let term = leads_in.unwrap_or_else(|| shard.term());
        if let Some(epoch) = epoch {
            let ours = state.epoch_in(term);
            if epoch < ours {
                return Err(BrokerError::FencedEpoch);
            }
            if epoch > ours {
                return Err(BrokerError::UnknownEpoch);
            }
        }
        let (leads, older_here, older_elsewhere) = (leads_in.is_some(), None, Vec::new());
        Ok(Found { topic, leads, shard, term, id, state, moved_to, older, older_here, older_elsewhere })
    }

    /// Refuses a stream that goes on in another shard.
    fn check_newest(&self, found: &Found) -> Result<(), BrokerError> {
        found.moved_to.map_or(Ok(()), |to| Err(BrokerError::NotLeader(self.leader_of(to))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{AppendPart, CreateTopic, Request, TopicRef, TrimPart};
    use crate::setting::Settings;
    use model::config::StreamConfig;
    use model::record::Message;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    static SEARCHES: AtomicUsize = AtomicUsize::new(0);

    /// A broker with a topic of one record.
    async fn with_a_record(folder: &std::path::Path) -> (Broker, PartitionRef) {
        let broker = Broker::start(folder, Config { shards: 2, ..Config::default() }).await.unwrap();
        let (name, settings) = ("a".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(1), replicas: None, settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
        let partition = PartitionRef { topic: TopicRef::Name("a".into()), partition: 0 };
        append(&broker, &partition).await;
        (broker, partition)
    }

    async fn append(broker: &Broker, to: &PartitionRef) {
        let message = Message { timestamp: crate::world::wall(), ..Message::default() };
        let bytes = Bytes::from(message.encode().unwrap());
        let to = to.clone();
        let part = AppendPart { to, bytes, durability: None, inspect: |bytes, _, _, _| Ok(Some(bytes.clone())) };
        let Reply::Appended(appended) = broker.call(Request::Append(vec![part])).await.await else { panic!() };
        appended[0].clone().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn older_records_that_have_just_gone_are_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (broker, partition) = with_a_record(folder.path()).await;
        append(&broker, &partition).await;
        append(&broker, &partition).await;
        // As one finds it that has two older records: here they are in the same shard.
        let mut found = broker.inner.find_stream(&partition, None).unwrap();
        let older = Older { shard: found.shard.id(), start: Offset(0) };
        (found.older, found.state.start) = (Some(older), Offset(2));
        found.look_for_older(&broker.inner, Offset(0));
        let read = |offset| {
            let (from, offset) = (partition.clone(), Offset(offset));
            let range = ReadRange { from, offset, max_bytes: 1, epoch: None, last_epoch: None };
            let part = read_part(&found, &range, 1, true, false)?;
            let slices = part.chunks.into_iter().filter_map(Chunk::into_slice);
            Ok::<Vec<u64>, BrokerError>(slices.map(|slice| slice.base.0).collect())
        };
        assert_eq!([0, 1].map(read), [Ok(vec![0]), Ok(vec![1])]);
        let trim = TrimPart { partition: partition.clone(), to: Some(Offset(1)) };
        broker.call(Request::Trim(vec![trim])).await.await;
        assert_eq!([0, 1].map(read), [Err(BrokerError::OffsetOutOfRange), Ok(vec![1])]);
        assert_eq!(broker.inner.older_start(older, found.id), Offset(1), "and that is where readers are sent");
        drop(found);
        broker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_search_waits_for_memory_and_what_needs_none_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (broker, partition) = with_a_record(folder.path()).await;
        let pool = &broker.memory().answers;
        let all = pool.charge(pool.limit() as usize);
        let find: FindRecord = |_, time, _| Search::Found(Offset(0), time);
        let ask = |which| {
            broker.call(Request::Offsets(vec![OffsetQuery { partition: partition.clone(), which, find, epoch: None }]))
        };
        let mut search = ask(OffsetSpec::AtOrAfter(Timestamp(1))).await;
        assert!(futures::FutureExt::now_or_never(&mut search).is_none());
        assert_eq!(pool.waiting(), 1);
        for which in [OffsetSpec::Earliest, OffsetSpec::Latest] {
            let Reply::Offsets(found) = ask(which).await.await else { panic!() };
            assert!(found[0].is_ok());
        }
        drop(all);
        let Reply::Offsets(found) = search.await else { panic!() };
        assert_eq!(found[0].as_ref().unwrap().offset, Some(Offset(0)));
        assert_eq!((pool.used(), pool.waiting()), (0, 0));
        broker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_asked_for_again_is_looked_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let (broker, partition) = with_a_record(folder.path()).await;
        let query = |which| {
            let find: FindRecord = |_, time, _| {
                SEARCHES.fetch_add(1, Relaxed);
                Search::Found(Offset(0), time)
            };
            OffsetQuery { partition: partition.clone(), which, find, epoch: None }
        };
        let at = |time| query(OffsetSpec::AtOrAfter(Timestamp(time)));
        let queries = vec![at(1), query(OffsetSpec::Latest), at(2), at(1), query(OffsetSpec::Latest), at(1)];
        let Reply::Offsets(found) = broker.call(Request::Offsets(queries)).await.await else { panic!() };
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        let times: Vec<_> = found.iter().map(|found| found.timestamp.map(|time| time.0)).collect();
        assert_eq!(times, [Some(1), None, Some(2), Some(1), None, Some(1)]);
        assert_eq!(found[4].offset, Some(Offset(1)));
        assert_eq!(SEARCHES.load(Relaxed), 2);
        broker.stop().await;
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let mut stream = Stream::new(StreamConfig::default());
        stream.epochs = vec![(LeaderEpoch(2), Offset(10)), (LeaderEpoch(5), Offset(30))];
        stream.end = Offset(50);
        let end = |asked| {
            let EpochEnd { epoch, end } = epoch_end(&stream, LeaderEpoch(6), asked);
            (epoch.map(|epoch| epoch.0), end.map(|end| end.0))
        };
        assert_eq!(end(-1), (None, None));
        assert_eq!(end(0), (Some(0), Some(10)));
        assert_eq!(end(2), (Some(2), Some(30)));
        assert_eq!(end(4), (Some(2), Some(30)));
        assert_eq!(end(5), (Some(5), Some(50)));
        assert_eq!(end(6), (Some(6), Some(50)));
        assert_eq!(end(7), (None, None));
    }
}
