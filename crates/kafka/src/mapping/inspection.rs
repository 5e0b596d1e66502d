//! What a topic demands of a batch: the broker asks before it appends one, for only here its form is known.

use batch::inspection::{self, Fault};
use broker::BrokerError;
use bytes::Bytes;
use model::Timestamp;
use model::config::StreamConfig;

/// Looks at every record of a batch whose head was checked before. See [`broker::request::Inspect`].
pub(super) fn inspect(
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
