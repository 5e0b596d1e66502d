//! Reading a stream's older records, which are in the shard that it came from (ADR 12): from this node's replica of
//! that shard, or else from another node's. What lies below a fence never changes, so any replica will do.

use crate::broker::{Broker, Inner};
use crate::cluster::call::{NodeAnswer, NodeCall, OlderPieces};
use crate::request::BrokerError;
use crate::world::Moment;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use journal::{Journal, ReadError, Slice};
use machine::messaging::moving::Older;
use model::wire::Wire;
use model::{NodeId, Offset, ShardId, StreamId, Timestamp, limit};
use shard::Shard;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long other nodes are asked for what they have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Older records that are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) stream: StreamId,
    /// From this one on.
    pub(crate) from: Offset,
    /// Below the fence.
    pub(crate) to: Offset,
    /// Only the first piece that has something this new.
    pub(crate) since: Option<Timestamp>,
    /// No more bytes than this beyond the first piece.
    pub(crate) bytes_max: usize,
}

impl Inner {
    /// Where the older records of a stream start, as far as is known here. The shard that keeps them removes them first
    /// and tells the one that the stream goes on in then.
    pub(crate) fn older_start(&self, older: Older, stream: StreamId) -> Offset {
        let shard = self.shards.get(older.shard).filter(|shard| !shard.is_in_doubt());
        let kept = shard.and_then(|shard| start_of(&shard, stream));
        kept.map_or(older.start, |kept| kept.max(older.start))
    }

    /// This node's replica of the shard that has the older records of a stream, if it may have the one at `from`, and
    /// up to where it has them. `fence` is where they end.
    pub(crate) fn older_here(
        &self,
        older: Older,
        stream: StreamId,
        from: Offset,
        fence: Offset,
    ) -> Option<(Shard, Offset)> {
        let shard = self.shards.get(older.shard).filter(|shard| !shard.is_in_doubt())?;
        let end = shard.machine().messaging.stream(stream)?.end.min(fence);
        (from < end).then_some((shard, end))
    }

    /// Has another node read older records of a stream.
    pub(crate) async fn read_elsewhere(
        &self,
        shard: ShardId,
        wanted: Wanted,
        deadline: Moment,
    ) -> Result<Vec<Slice>, BrokerError> {
        let network = self.network.clone().ok_or(BrokerError::Unavailable)?;
        let Wanted { stream, from, to, since, bytes_max } = wanted;
        let bytes_max = bytes_max as u64;
        let call = NodeCall::ReadOlder { shard, stream, from, to, since, bytes_max };
        let (mut nodes, mut asked) = (self.who_has(shard).into_iter(), FuturesUnordered::new());
        // Since when those that have not answered were asked.
        let mut awaited = BTreeMap::new();
        loop {
            let mut patience = deadline.since(self.world.now());
            if let Some(node) = nodes.next().filter(|_| !self.is_over(deadline)) {
                let (network, call) = (&network, &call);
                asked.push(async move { (node, self.ask(&**network, node, call, deadline).await) });
                awaited.insert(node, self.world.now());
                if nodes.len() > 0 {
                    patience = patience.min(self.hedge.patience(node));
                }
            } else if asked.is_empty() || self.is_over(deadline) {
                break;
            }
            let Some((node, answer)) = self.world.timeout(patience, asked.next()).await.flatten() else { continue };
            let began = awaited.remove(&node);
            match answer {
                Ok(NodeAnswer::Older { pieces }) => {
                    let now = self.world.now();
                    if let Some(began) = began {
                        self.hedge.note(node, now.since(began));
                    }
                    for (silent, began) in awaited {
                        self.hedge.note_silence(silent, now.since(began));
                    }
                    return Ok(pieces.into_iter().map(slice).collect());
                }
                // Any replica may have removed them first.
                Ok(NodeAnswer::OlderGone { start }) if from < start => return Err(BrokerError::OffsetOutOfRange),
                Ok(NodeAnswer::NotNow { why }) => {
                    tracing::debug!(%node, %stream, why, "older records are not read there");
                }
                _ => {}
            }
        }
        // An invitation to ask again.
        Err(BrokerError::Unavailable)
    }

    /// Until when others may be waited for, all that are asked for one request.
    pub(crate) fn older_deadline(&self) -> Moment {
        self.world.now() + PATIENCE
    }

    /// The other nodes that have a replica of a shard: whoever answers soonest first, and where that is not known,
    /// whoever leads it.
    fn who_has(&self, shard: ShardId) -> Vec<NodeId> {
        let leader = self.whom_to_ask(shard, 0).filter(|node| *node != self.me());
        let mut nodes: Vec<NodeId> = leader.into_iter().collect();
        nodes.extend(self.replicas_of(shard).into_iter().filter(|node| *node != self.me() && Some(*node) != leader));
        self.hedge.sort(&mut nodes);
        nodes
    }

    fn is_over(&self, deadline: Moment) -> bool {
        self.world.now() >= deadline
    }

    /// Reads older records for another node: the answer, which holds the memory that it takes until it is sent.
    pub(crate) async fn read_for_another(&self, shard: ShardId, wanted: Wanted) -> Bytes {
        match self.pieces_for_another(shard, wanted).await {
            Ok((pieces, mut held)) => {
                let answer = NodeAnswer::Older { pieces }.to_wire();
                drop(held.split(held.num_permits().saturating_sub(answer.len())));
                Bytes::from_owner(Unsent { answer, _held: held })
            }
            Err(answer) => answer.to_wire().into(),
        }
    }

    /// They, and the memory that was taken before they were read; or what is answered instead.
    async fn pieces_for_another(
        &self,
        shard: ShardId,
        wanted: Wanted,
    ) -> Result<(Vec<OlderPieces>, OwnedSemaphorePermit), NodeAnswer> {
        let not_now = |why: &str| NodeAnswer::NotNow { why: why.to_owned() };
        let replica = self.shards.get(shard).filter(|shard| !shard.is_in_doubt());
        let replica = replica.ok_or_else(|| not_now("there is no replica here that can be read"))?;
        let state = replica.machine().messaging.stream(wanted.stream).map(|of| {
            // The first piece comes whole, however large it is.
            (of.start, of.end, of.config.piece_bytes_max as usize)
        });
        let (start, end, largest) = state.ok_or_else(|| not_now("there is no such stream here"))?;
        if wanted.since.is_some() && end < wanted.to {
            return Err(not_now("some of them are not here yet"));
        }
        // Whoever searches by time finds what is left. Whoever reads on would take what is gone for nothing.
        let from = wanted.from;
        let gone = |start: Offset| (wanted.since.is_none() && from < start).then_some(NodeAnswer::OlderGone { start });
        if let Some(gone) = gone(start) {
            return Err(gone);
        }
        let bytes_max = wanted.bytes_max.min(limit::OLDER_BYTES_MAX);
        let wanted = Wanted { from: wanted.from.max(start), to: wanted.to.min(end), bytes_max, ..wanted };
        if wanted.from >= wanted.to {
            return Err(not_now("there are no such records here"));
        }
        // Not waited for: who asks holds memory meanwhile.
        let bytes = u32::try_from(bytes_max + largest.min(limit::PIECE_BYTES_MAX)).unwrap_or(u32::MAX);
        let held = self.unsent.clone().try_acquire_many_owned(bytes);
        let held = held.map_err(|_| not_now("what was read for others before has not been sent yet"))?;
        let journal = replica.journal().clone();
        // The work goes on when whoever asked leaves, and so it has what it takes.
        let (slices, held) = self
            .world
            .blocking(move || (read(&journal, wanted), held))
            .await
            .ok_or_else(|| not_now("the node stops"))?;
        // Some may have gone meanwhile.
        let start =
            start_of(&replica, wanted.stream).ok_or_else(|| not_now("there is no such stream here any more"))?;
        if let Some(gone) = gone(start) {
            return Err(gone);
        }
        let slices = slices.map_err(|error| not_now(&error.to_string()))?;
        Ok((slices.into_iter().map(pieces).collect(), held))
    }
}

/// An answer that has not been sent yet, and memory for it.
struct Unsent {
    answer: Vec<u8>,
    _held: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Broker {
    /// The first piece of a stream's older records that has something as new as `time`. `fence` is where they end.
    pub(crate) async fn find_older(
        &self,
        older: Older,
        stream: StreamId,
        fence: Offset,
        time: Timestamp,
        deadline: Moment,
    ) -> Result<Option<Slice>, BrokerError> {
        let wanted = Wanted { stream, from: older.start, to: fence, since: Some(time), bytes_max: 0 };
        match self.inner.older_here(older, stream, Offset(fence.0.saturating_sub(1)), fence) {
            Some((shard, _)) => {
                let journal = shard.journal().clone();
                let found = self.inner.world.blocking(move || read(&journal, wanted)).await;
                found.ok_or(BrokerError::Unavailable)?.map(|found| found.into_iter().next()).map_err(BrokerError::from)
            }
            None => Ok(self.inner.read_elsewhere(older.shard, wanted, deadline).await?.into_iter().next()),
        }
    }
}

/// Where a stream starts in a shard, if it is there.
fn start_of(shard: &Shard, stream: StreamId) -> Option<Offset> {
    shard.machine().messaging.stream(stream).map(|of| of.start)
}

/// Whether the record at `offset` is gone, of a stream that this replica had records of a moment ago.
pub(crate) fn is_gone(shard: &Shard, stream: StreamId, offset: Offset) -> bool {
    // When all are gone, the stream is.
    start_of(shard, stream).is_none_or(|start| offset < start)
}

/// Blocks on the disk.
fn read(journal: &Arc<Journal>, wanted: Wanted) -> Result<Vec<Slice>, ReadError> {
    let Wanted { stream, from, to, since, bytes_max } = wanted;
    let Some(time) = since else { return journal.read(stream, from, to, bytes_max) };
    let Some((base, _)) = journal.find_timestamp(stream, from, to, time)? else { return Ok(Vec::new()) };
    journal.read(stream, base, base.plus(1), 0)
}

fn pieces(slice: Slice) -> OlderPieces {
    let Slice { base, count, epoch, max_timestamp, bytes } = slice;
    OlderPieces { base, count, epoch, max_timestamp, bytes }
}

fn slice(pieces: OlderPieces) -> Slice {
    let OlderPieces { base, count, epoch, max_timestamp, bytes } = pieces;
    Slice { base, count, epoch, max_timestamp, bytes }
}

impl From<ReadError> for BrokerError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { .. } => BrokerError::Damaged,
            ReadError::Table(_) | ReadError::Io(_) => BrokerError::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{AppendPart, CreateTopic, PartitionRef, Reply, Request, TopicRef, TrimPart};
    use crate::setting::Settings;
    use model::record::Message;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_read_for_others_is_held_until_it_is_sent_and_takes_nothing_from_clients() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), Config { shards: 1, ..Config::default() }).await.unwrap();
        let (name, settings) = ("t".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(1), replicas: None, settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
        let partition = PartitionRef { topic: TopicRef::Name("t".into()), partition: 0 };
        let message = Message { timestamp: Timestamp(1), value: &[7; 5000], ..Message::default() };
        for _ in 0..2 {
            let part = AppendPart {
                to: partition.clone(),
                bytes: Bytes::from(message.encode().unwrap()),
                durability: None,
                inspect: |bytes, _, _, _| Ok(Some(bytes.clone())),
            };
            let Reply::Appended(mut appended) = broker.call(Request::Append(vec![part])).await.await else { panic!() };
            appended.remove(0).unwrap();
        }
        let inner = &broker.inner;
        let place = inner.resolve(&partition).unwrap();
        let wanted = Wanted { stream: place.stream, from: Offset(0), to: Offset(1), since: None, bytes_max: 1 };
        let free = || inner.unsent.available_permits();

        let answer = inner.read_for_another(place.shard, wanted).await;
        let Ok(NodeAnswer::Older { pieces }) = NodeAnswer::from_wire(&answer) else { panic!("{answer:?}") };
        assert_eq!((pieces.len(), pieces[0].base), (1, Offset(0)));
        assert!(answer.len() > 5000);
        assert_eq!(free(), limit::OLDER_BYTES_UNSENT_MAX - answer.len(), "what it takes, while it is there");
        assert_eq!(inner.memory.answers.used(), 0, "clients' answers have theirs");
        // Who sends it has parts of it.
        let part = answer.slice(10..);
        drop(answer);
        assert!(free() < limit::OLDER_BYTES_UNSENT_MAX);
        drop(part);
        assert_eq!(free(), limit::OLDER_BYTES_UNSENT_MAX);

        let all = inner.unsent.clone().try_acquire_many_owned(limit::OLDER_BYTES_UNSENT_MAX as u32).unwrap();
        let refused = NodeAnswer::from_wire(&inner.read_for_another(place.shard, wanted).await);
        assert!(matches!(&refused, Ok(NodeAnswer::NotNow { why }) if why.contains("not been sent")), "{refused:?}");
        drop(all);

        // What has gone is not passed over, but found is what is left.
        let trim = TrimPart { partition, to: Some(Offset(1)) };
        broker.call(Request::Trim(vec![trim])).await.await;
        let wanted = Wanted { to: Offset(2), ..wanted };
        let answer = async |wanted| NodeAnswer::from_wire(&inner.read_for_another(place.shard, wanted).await);
        assert_eq!(answer(wanted).await, Ok(NodeAnswer::OlderGone { start: Offset(1) }));
        for wanted in [Wanted { from: Offset(1), ..wanted }, Wanted { since: Some(Timestamp(1)), ..wanted }] {
            let Ok(NodeAnswer::Older { pieces }) = answer(wanted).await else { panic!("another answer") };
            assert_eq!((pieces.len(), pieces[0].base), (1, Offset(1)));
        }
        broker.stop().await;
    }
}
