//! Mending what is damaged on this replica's disk.
//!
//! Tables are rebuilt from what they describe. Entries above the Raft log's floor are asked for by
//! their position, which no other entry ever has; records below it by stream and offset, where only
//! what was committed can be read. Where the others have compacted those otherwise, their form of the whole
//! stream is taken over (see [`crate::takeover`]). Alone, damage stays, and reads that meet it are refused.

use crate::raft::Runtime;
use crate::replica::Replica;
use crate::rpc::{self, EntryCopy, Question, SliceCopy};
use crate::takeover::take_over;
use crate::transport::Lane;
use bytes::Bytes;
use journal::canary::Fault;
use journal::{Damage, Liveness, LogPosition, ReclaimError, Slice};
use machine::messaging::stream::Stream;
use model::config::Settlement;
use model::wire::Wire;
use model::{NodeId, Offset, StreamId, limit};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::liveness::MachineLiveness;

/// How long another replica has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// So many ranges are tried at a time.
const AT_ONCE: usize = 32;

/// Mends what can be mended, asking `peers`. What cannot be mended now must not hold up the rest: each
/// `turn` begins with others.
pub(crate) async fn mend<R: Runtime>(replica: &Arc<Replica<R>>, peers: &[NodeId], turn: usize) {
    if replica.journal.faulty(Fault::MendNothing) {
        return;
    }
    let damaged = replica.journal.damage();
    let count = damaged.len();
    let mut other_form: BTreeMap<StreamId, Range<Offset>> = BTreeMap::new();
    for damage in damaged.into_iter().cycle().skip(turn * AT_ONCE % count.max(1)).take(count.min(AT_ONCE)) {
        let tried = match damage {
            Damage::Table { file } => {
                let journal = replica.journal.clone();
                replica.environment.blocking(move || journal.repair_table(file).map_err(io_error)).await
            }
            Damage::Entry { index } => Some(mend_entry(replica, peers, index).await),
            Damage::Records { stream, from, to } => match mend_records(replica, peers, stream, from, to).await {
                Ok(Copies::OtherForm) => {
                    let range = other_form.entry(stream).or_insert(from..to);
                    *range = from.min(range.start)..to.max(range.end);
                    None
                }
                other => Some(other.map(drop)),
            },
        };
        if let Some(Err(error)) = tried {
            tracing::warn!(shard = %replica.shard, %damage, %error, "not repaired this time");
        }
    }
    // It may take long, and the rest goes on meanwhile.
    if !other_form.is_empty() && !replica.is_taking_over.swap(true, SeqCst) {
        let (replica, peers) = (replica.clone(), peers.to_vec());
        drop(R::spawn(async move {
            take_over(&replica, &peers, &other_form).await;
            replica.is_taking_over.store(false, SeqCst);
        }));
    }
}

/// What others had of damaged records.
enum Copies {
    /// What was needed: they are as they were, or nobody wants them.
    Right,
    /// All of the range, and not as it was here: it is compacted otherwise.
    OtherForm,
    /// Too little.
    Missing,
}

async fn mend_entry<R: Runtime>(replica: &Arc<Replica<R>>, peers: &[NodeId], index: u64) -> io::Result<()> {
    let Some(term) = replica.journal.damaged_entry(index) else { return Ok(()) };
    let at = LogPosition { term, index };
    for peer in peers {
        let Some(answer) = ask(replica, *peer, Question::Entry { at }).await else { continue };
        let copy = EntryCopy::from_wire(&answer).map_err(io::Error::other)?;
        let Some(entry) = copy.into_entry(at) else { continue };
        let journal = replica.journal.clone();
        if let Some(true) = replica.environment.blocking(move || journal.repair_entry(&entry)).await.transpose()? {
            return Ok(());
        }
    }
    Ok(())
}

async fn mend_records<R: Runtime>(
    replica: &Arc<Replica<R>>,
    peers: &[NodeId],
    stream: StreamId,
    from: Offset,
    to: Offset,
) -> io::Result<Copies> {
    let damage = Damage::Records { stream, from, to };
    // What nobody wants any more needs no copies.
    if repair_records(replica, damage, Vec::new()).await? {
        return Ok(Copies::Right);
    }
    let mut other_form = false;
    for peer in peers {
        let mut copies = Vec::new();
        let mut next = from;
        while next < to {
            let question = Question::Records { stream, from: next, to };
            let Some(answer) = ask(replica, *peer, question).await else { break };
            let slices: Vec<SliceCopy> = Wire::from_wire(&answer).map_err(io::Error::other)?;
            let end = slices.last().map(|slice| slice.base.plus(u64::from(slice.count)));
            let Some(end) = end.filter(|end| *end > next) else { break };
            next = end;
            copies.extend(slices.into_iter().map(SliceCopy::into_slice));
        }
        other_form |= next >= to;
        if !copies.is_empty() && repair_records(replica, damage, copies).await? {
            return Ok(Copies::Right);
        }
    }
    // Records of a queue go one by one, so nobody can tell what of another's form is missing.
    let ordered = is_stream(replica, stream, |stream| stream.config.settlement == Settlement::Position);
    Ok(if other_form && ordered { Copies::OtherForm } else { Copies::Missing })
}

fn is_stream<R: Runtime>(replica: &Replica<R>, stream: StreamId, what: impl Fn(&Stream) -> bool) -> bool {
    replica.machine.read().messaging.stream(stream).is_some_and(what)
}

async fn repair_records<R: Runtime>(replica: &Arc<Replica<R>>, damage: Damage, copies: Vec<Slice>) -> io::Result<bool> {
    let Damage::Records { stream, from, to } = damage else { return Ok(false) };
    let replica_too = replica.clone();
    let repaired = replica.environment.blocking(move || {
        let live = MachineLiveness(&replica_too.machine).live(stream, from, to);
        if live.is_empty() {
            replica_too.journal.forget_damage(damage);
            return Ok(true);
        }
        let compacted = is_stream(&replica_too, stream, |stream| stream.config.cleanup.compacts());
        replica_too.journal.repair_records(damage, &live, &copies, compacted)
    });
    repaired.await.unwrap_or(Ok(false)).map_err(io_error)
}

pub(crate) fn io_error(error: ReclaimError) -> io::Error {
    match error {
        ReclaimError::Io(error) => error,
        other => io::Error::other(other),
    }
}

pub(crate) async fn ask<R: Runtime>(replica: &Replica<R>, whom: NodeId, question: Question) -> Option<Bytes> {
    let sent = replica.environment.transport.call(whom, replica.shard, Lane::Bulk, rpc::encode_question(&question));
    R::timeout(ANSWER_TIMEOUT, sent).await.ok()?.ok()
}

/// Notes, once the machine has applied what it had, which records were lost with entries that
/// recovery could not find. Blocks on the disk.
pub(crate) fn note_missing<R: Runtime>(replica: &Replica<R>) -> io::Result<Missing> {
    let streams: Vec<_> = {
        let machine = replica.machine.read();
        machine.messaging.streams().map(|(id, stream)| (id, stream.start, stream.end)).collect()
    };
    let mut count = 0;
    for (stream, start, end) in streams {
        let live = MachineLiveness(&replica.machine).live(stream, start, end);
        for range in replica.journal.absent(stream, &live)? {
            count += 1;
            replica.journal.note_damage(Damage::Records { stream, from: Offset(range.start), to: Offset(range.end) });
        }
    }
    if replica.journal.damage_count() >= limit::DAMAGE_NOTED_MAX as u64 {
        // Reads go on refusing every gap.
        return Ok(Missing::MoreThanFit);
    }
    replica.journal.note_gaps_known();
    Ok(if count == 0 { Missing::Nothing } else { Missing::Noted })
}

/// What was lost with entries.
pub(crate) enum Missing {
    /// Nothing that anybody wants.
    Nothing,
    /// All of it is noted as damage.
    Noted,
    /// There is more than can be noted at a time.
    MoreThanFit,
}
