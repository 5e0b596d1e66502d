//! How Kafka's record batches are looked into, for every protocol that writes or searches them. What is
//! neither asks with looks of its own: see [`Inspect`](crate::request::Inspect) and
//! [`FindRecord`](crate::request::FindRecord).

use crate::request::{BrokerError, Search};
use batch::inspection::{self, Fault};
use batch::{RecordError, search};
use bytes::Bytes;
use model::config::StreamConfig;
use model::{Offset, Timestamp};

/// Looks at every record of a batch whose head was checked before. See [`crate::request::Inspect`].
///
/// # Errors
/// When the topic does not accept it, by the record that is at fault if it is one.
pub fn inspect(
    bytes: &Bytes,
    config: &StreamConfig,
    now: Timestamp,
    limit: usize,
) -> Result<Option<Bytes>, BrokerError> {
    inspection::inspect(bytes, config, now, limit).map_err(|refused| {
        let error = match refused.fault {
            Fault::Record(why) => BrokerError::InvalidRecord(why),
            Fault::Timestamp(why) => BrokerError::InvalidTimestamp(why),
        };
        match refused.nth {
            Some(nth) => BrokerError::InRecord { nth, error: Box::new(error) },
            None => error,
        }
    })
}

/// Looks for the first record that is not before `time`. See [`crate::request::FindRecord`].
#[must_use]
pub fn find_record(piece: &Bytes, time: Timestamp, limit: usize) -> Search {
    match search::first(piece, time.0, limit) {
        Ok(Some((offset, timestamp))) => Search::Found(Offset(offset as u64), Timestamp(timestamp)),
        Err(RecordError::TooLarge { .. }) => Search::TooMuch,
        Ok(None) | Err(_) => Search::Nothing,
    }
}
