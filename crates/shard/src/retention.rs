//! What a retention says has expired.

use journal::{Journal, ReadError};
use machine::Machine;
use machine::messaging::stream::Stream;
use model::{Offset, StreamId, Timestamp};
use parking_lot::RwLock;

/// Where streams with a retention shall start at `now`. Blocks on the disk.
///
/// # Errors
/// When the journal cannot be read.
pub fn expired(
    journal: &Journal,
    machine: &RwLock<Machine>,
    now: Timestamp,
) -> Result<Vec<(StreamId, Offset)>, ReadError> {
    let streams: Vec<_> = {
        let machine = machine.read();
        let limited = machine.messaging.streams().filter(|(_, stream)| {
            let config = &stream.config;
            stream.start < stream.end && (config.retention_millis.is_some() || config.retention_bytes.is_some())
        });
        let what = |(id, stream): (StreamId, &Stream)| {
            // Older records that are in another shard go first, or something would be missing in the middle.
            let has_older = machine.messaging.older(id).is_some();
            (id, stream.start, stream.end, stream.config.clone(), has_older)
        };
        limited.map(what).collect()
    };
    let mut trims = Vec::new();
    for (id, start, end, config, has_older) in streams {
        let mut to = start;
        if let Some(millis) = config.retention_millis.filter(|_| !has_older) {
            let kept = journal.find_timestamp(id, start, end, now.minus(millis))?;
            to = to.max(kept.map_or(end, |(base, _)| base));
        }
        if let Some(bytes) = config.retention_bytes {
            to = to.max(journal.find_size(id, to, end, bytes)?);
        }
        if to > start {
            trims.push((id, to));
        }
    }
    Ok(trims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::disk::Folder;
    use journal::{CacheBudget, Options};
    use machine::command::Adoption;
    use machine::{Command, Position};
    use model::record::Message;
    use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, PieceHead, ShardId, StreamConfig};
    use std::sync::Arc;

    const STREAM: StreamId = StreamId(1);

    fn apply(machine: &mut Machine, index: u64, command: &Command, with_piece_at: Option<u64>) {
        let mut builder = EntryBuilder::new();
        if let Some(base) = with_piece_at {
            let body = Message::default().encode().unwrap();
            let head = PieceHead::parse(&body).unwrap();
            builder.add_piece(STREAM, Offset(base), LeaderEpoch(1), &head, body.clone().into(), None);
        }
        builder.add_command(command);
        let entry = Entry::parse(builder.finish(Hlc(index << 16))).unwrap();
        let outcome = machine.apply(Position { term: 1, index }, &entry).unwrap();
        assert!(!matches!(outcome.replies[0], machine::Reply::Refused(_)), "{outcome:?}");
    }

    #[test]
    fn nothing_expires_while_older_records_are_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(ShardId(1), CacheBudget::new(1 << 20), 7);
        let (journal, _writer, _) = Journal::open(Arc::new(Folder::open(folder.path()).unwrap()), options).unwrap();
        let mut machine = Machine::new(ShardId(1));
        let adoption = Adoption {
            from: ShardId(2),
            config: StreamConfig { retention_millis: Some(10), ..StreamConfig::default() },
            start: Offset(3),
            end: Offset(5),
            epochs: Vec::new(),
            epoch: LeaderEpoch(1),
            max_timestamp: Timestamp(0),
            bytes_appended: 100,
        };
        apply(&mut machine, 1, &Command::Barrier { version: 3 }, None);
        apply(&mut machine, 2, &Command::AdoptStream { stream: STREAM, adoption }, None);
        let append = Command::Append { first: 0, pieces: 1, producer: None, message_id: None };
        apply(&mut machine, 3, &append, Some(5));
        let machine = RwLock::new(machine);
        let expired = || expired(&journal, &machine, Timestamp(1_000_000)).unwrap();
        assert_eq!(expired(), [], "or something would be missing in the middle");
        let gone = Command::OlderStarts { stream: STREAM, from: ShardId(2), start: Offset(5) };
        apply(&mut machine.write(), 4, &gone, None);
        assert_eq!(expired(), [(STREAM, Offset(6))]);
    }
}
