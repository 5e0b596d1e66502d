//! Reading a stream's older records, which are in the shard that it came from (ADR 12): from this node's replica of
//! that shard, or else from another node's. What lies below a fence never changes, so any replica will do.

use crate::broker::{Broker, Inner};
use crate::cluster::call::{NodeAnswer, NodeCall, OlderPieces};
use crate::request::BrokerError;
use crate::world::Moment;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use journal::{Journal, ReadError, Slice};
use machine::messaging::moving::Older;
use model::{NodeId, Offset, ShardId, StreamId, Timestamp, limit};
use shard::Shard;
use std::sync::Arc;
use std::time::Duration;

/// How long other nodes are asked for what they have.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node that has not answered for so long is not waited for alone.
const HANGS: Duration = Duration::from_millis(150);

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
    /// This node's replica of the shard that has the older records of a stream, if it has the one at `from`, and up
    /// to where it has them. `fence` is where they end.
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
        loop {
            if let Some(node) = nodes.next().filter(|_| !self.is_over(deadline)) {
                let (network, call) = (&network, &call);
                asked.push(async move { (node, self.ask(&**network, node, call, deadline).await) });
            } else if asked.is_empty() || self.is_over(deadline) {
                break;
            }
            let patience = if nodes.len() > 0 { HANGS } else { deadline.since(self.world.now()) };
            match self.world.timeout(patience, asked.next()).await.flatten() {
                Some((_, Ok(NodeAnswer::Older { pieces }))) => return Ok(pieces.into_iter().map(slice).collect()),
                Some((node, Ok(NodeAnswer::NotNow { why }))) => {
                    tracing::debug!(%node, %stream, why, "older records are not read there")
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

    /// The other nodes that have a replica of a shard, whoever leads it first.
    fn who_has(&self, shard: ShardId) -> Vec<NodeId> {
        let leader = self.whom_to_ask(shard, 0).filter(|node| *node != self.me());
        let mut nodes: Vec<NodeId> = leader.into_iter().collect();
        nodes.extend(self.replicas_of(shard).into_iter().filter(|node| *node != self.me() && Some(*node) != leader));
        nodes
    }

    fn is_over(&self, deadline: Moment) -> bool {
        self.world.now() >= deadline
    }

    /// Reads older records for another node.
    pub(crate) async fn read_for_another(&self, shard: ShardId, wanted: Wanted) -> NodeAnswer {
        let not_now = |why: &str| NodeAnswer::NotNow { why: why.to_owned() };
        let Some(replica) = self.shards.get(shard).filter(|shard| !shard.is_in_doubt()) else {
            return not_now("there is no replica here that can be read");
        };
        let Some((start, end)) = replica.machine().messaging.stream(wanted.stream).map(|of| (of.start, of.end)) else {
            return not_now("there is no such stream here");
        };
        if wanted.since.is_some() && end < wanted.to {
            return not_now("some of them are not here yet");
        }
        let wanted = Wanted { from: wanted.from.max(start), to: wanted.to.min(end), ..wanted };
        if wanted.from >= wanted.to {
            return not_now("there are no such records here");
        }
        let wanted = Wanted { bytes_max: wanted.bytes_max.min(limit::OLDER_BYTES_MAX), ..wanted };
        // Not waited for: who asks holds memory meanwhile. The first piece comes whole, however large it is.
        let largest = replica.machine().messaging.stream(wanted.stream).map_or(0, |of| of.config.piece_bytes_max);
        let bytes = wanted.bytes_max.max(largest as usize).max(limit::ANSWER_BYTES_ORDINARY);
        let Some(held) = self.memory.answers.try_take(bytes) else {
            return not_now("there is no memory for it");
        };
        let journal = replica.journal().clone();
        match self.world.blocking(move || (read(&journal, wanted), held)).await {
            Some((Ok(slices), _held)) => NodeAnswer::Older { pieces: slices.into_iter().map(pieces).collect() },
            Some((Err(error), _)) => not_now(&error.to_string()),
            None => not_now("the node stops"),
        }
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
