//! What known faults make of a request before it is sequenced. Without the feature `canary` there are none, and every
//! request stays as it is.

use crate::batcher::Request;
use crate::raft::Runtime;
use crate::replica::Replica;
use bytes::{Bytes, BytesMut};
use journal::canary::Fault;
use machine::{Command, Reply};
use model::checksum::crc32c;

/// Spoils a request, if a fault is switched on that does. Returns an answer where nothing is left to be proposed.
pub(crate) fn spoil<R: Runtime>(replica: &Replica<R>, request: &mut Request) -> Option<Reply> {
    let has = |fault| replica.journal.faulty(fault);
    match request {
        Request::Append(append) => {
            if has(Fault::IgnoreMessageIds) {
                append.message_id = None;
            }
            if has(Fault::SkipSequence) {
                append.bytes = without_numbers(&append.bytes);
            }
            None
        }
        Request::Command(Command::Trim { to, .. }) => has(Fault::ForgetTrim).then_some(Reply::Trimmed { start: *to }),
        Request::Command(Command::Settle { ranges, .. }) => {
            if has(Fault::SettleTooMuch) {
                ranges.iter_mut().for_each(|(from, _)| *from = from.saturating_sub(1));
            }
            has(Fault::ForgetSettlement).then_some(Reply::Done)
        }
        Request::Command(Command::SaveGroup { .. }) => has(Fault::ForgetGeneration).then_some(Reply::Done),
        Request::Command(Command::CommitOffsets { .. }) => has(Fault::ForgetCommit).then_some(Reply::Done),
        Request::Command(Command::DeleteTopic { .. }) => has(Fault::ForgetDeletion).then_some(Reply::Done),
        Request::Command(Command::AllocateProducerIds { count }) => {
            if has(Fault::ReuseProducerId) {
                *count = 0;
            }
            None
        }
        Request::Command(Command::AllocateNode { incarnation, .. }) => {
            let machine = replica.machine.read();
            if has(Fault::ReuseNodeId)
                && let Some((_, other)) = machine.catalog.nodes().next()
            {
                *incarnation = other.incarnation;
            }
            None
        }
        Request::Command(_) => None,
    }
}

/// A batch as a producer sends it that numbers nothing; whatever else it is stays as it is.
fn without_numbers(piece: &Bytes) -> Bytes {
    // Magic 2: of a batch, 43 to 57 are the producer, its epoch and the first number, and the checksum covers all from
    // 21 on.
    if piece.len() < 57 || piece[16] != 2 {
        return piece.clone();
    }
    let mut bytes = BytesMut::from(&piece[..]);
    bytes[43..57].fill(0xff);
    let checksum = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.freeze()
}
