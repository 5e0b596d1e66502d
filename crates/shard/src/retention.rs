//! What a retention says has expired.

use journal::{Journal, ReadError};
use machine::Machine;
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
        limited.map(|(id, stream)| (id, stream.start, stream.end, stream.config.clone())).collect()
    };
    let mut trims = Vec::new();
    for (id, start, end, config) in streams {
        let mut to = start;
        if let Some(millis) = config.retention_millis {
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
