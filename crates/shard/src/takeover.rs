//! Taking over another replica's form of streams, when what is damaged here has no right bytes anywhere:
//! see [`journal::Takeover`].
//!
//! The other one compacts while it is read. So each answer says which files it came from, and a stream counts
//! only when all its answers came from the same ones; and how far the stream went, for what was removed was
//! removed for records below that, which have to be here.

use crate::liveness::MachineLiveness;
use crate::raft::Runtime;
use crate::repair::{ask, io_error};
use crate::replica::Replica;
use crate::rpc::{FormCopy, Question, SliceCopy};
use journal::file::FileId;
use journal::{Slice, Takeover};
use model::wire::Wire;
use model::{NodeId, Offset, StreamId};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often it is looked whether this replica has applied what the other one had, and how many times.
const APPLIED_INTERVAL: Duration = Duration::from_millis(100);
const APPLIED_TRIES: usize = 50;

/// Takes streams over from the first of `peers` that has them whole. `damaged` are the ranges to be mended.
pub(crate) async fn take_over<R: Runtime>(
    replica: &Arc<Replica<R>>,
    peers: &[NodeId],
    damaged: &BTreeMap<StreamId, Range<Offset>>,
) {
    for peer in peers {
        match take_from(replica, *peer, damaged).await {
            Ok(true) => {
                // Files were written anew, and may be many small ones.
                replica.shrank.store(true, Relaxed);
                tracing::warn!(shard = %replica.shard, %peer, ?damaged, "its compacted files were taken over");
                return;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(shard = %replica.shard, %peer, %error, "not taken over this time"),
        }
    }
}

async fn take_from<R: Runtime>(
    replica: &Arc<Replica<R>>,
    peer: NodeId,
    damaged: &BTreeMap<StreamId, Range<Offset>>,
) -> io::Result<bool> {
    let Some(wanted) = wanted(replica, damaged) else { return Ok(false) };
    let journal = replica.journal.clone();
    let begun = replica.environment.blocking(move || journal.take_over(&wanted).map_err(io::Error::other)).await;
    let Some(mut takeover) = begun.transpose()?.flatten() else { return Ok(false) };
    let (mut files, mut ends) = (BTreeMap::<StreamId, Vec<FileId>>::new(), BTreeMap::<StreamId, Offset>::new());
    while let Some((stream, from, to)) = takeover.wants() {
        let Some(answer) = ask(replica, peer, Question::Form { stream, from, to }).await else { return Ok(false) };
        let FormCopy { end, files: read, slices } = Wire::from_wire(&answer).map_err(io::Error::other)?;
        if *files.entry(stream).or_insert_with(|| read.clone()) != read {
            return Ok(false);
        }
        let known = ends.entry(stream).or_default();
        *known = end.max(*known);
        let slices: Vec<Slice> = slices.into_iter().map(SliceCopy::into_slice).collect();
        let added = replica.environment.blocking(move || {
            let added = takeover.add(&slices).map_err(io_error);
            added.map(|added| (added, takeover))
        });
        let Some((true, more)) = added.await.transpose()? else { return Ok(false) };
        takeover = more;
    }
    if !has_applied(replica, &ends).await || !replica.flushed().await {
        return Ok(false);
    }
    finish(replica, takeover).await
}

async fn finish<R: Runtime>(replica: &Arc<Replica<R>>, takeover: Takeover) -> io::Result<bool> {
    let replica_too = replica.clone();
    let work = move || takeover.finish(&MachineLiveness(&replica_too.machine)).map_err(io_error);
    replica.environment.blocking(work).await.unwrap_or(Ok(false))
}

/// What is to be taken over of each stream; `None` when one of them is gone.
fn wanted<R: Runtime>(
    replica: &Replica<R>,
    damaged: &BTreeMap<StreamId, Range<Offset>>,
) -> Option<BTreeMap<StreamId, Range<Offset>>> {
    let machine = replica.machine.read();
    let all = |(stream, range): (&StreamId, &Range<Offset>)| {
        Some((*stream, machine.messaging.stream(*stream)?.start..range.end))
    };
    damaged.iter().map(all).collect()
}

/// Waits a while for this replica's streams to go as far as the other's went.
async fn has_applied<R: Runtime>(replica: &Replica<R>, ends: &BTreeMap<StreamId, Offset>) -> bool {
    for _ in 0..APPLIED_TRIES {
        let reached = {
            let machine = replica.machine.read();
            ends.iter().all(|(id, end)| machine.messaging.stream(*id).is_some_and(|stream| stream.end >= *end))
        };
        if reached {
            return true;
        }
        R::sleep(APPLIED_INTERVAL).await;
    }
    false
}
