//! How far consumers are behind: in records, and in time.
//!
//! The time is the age of the next record to be consumed, as far as the index knows it: by the greatest
//! timestamp of the extent that holds the record, which is a piece or, in a packed file, a run of small ones of
//! up to 64 KiB. No record is read for it, so it may be asked of every
//! group again and again.

use crate::broker::Broker;
use crate::read::Found;
use crate::request::{BrokerError, Lag, LagQuery, Reply};
use model::{Offset, Timestamp};

/// A lag of which the time is not known yet, and where to look for it.
struct Behind {
    lag: Lag,
    search: Option<(Found, Offset)>,
}

impl Broker {
    pub(crate) async fn lags(self, queries: Vec<LagQuery>) -> Reply {
        let count = queries.len();
        let world = self.inner.world.clone();
        let now = world.wall();
        let measured =
            world.blocking(move || queries.iter().map(|query| Ok(self.behind(query)?.measured(now))).collect());
        Reply::Lag(measured.await.unwrap_or_else(|| vec![Err(BrokerError::Unavailable); count]))
    }

    fn behind(&self, query: &LagQuery) -> Result<Behind, BrokerError> {
        let mut found = self.inner.find_stream(&query.partition, None)?;
        let (start, end) = (found.start(), found.state.end);
        // What is gone will not be consumed.
        let next = query.position.max(start);
        let records = end.since(next);
        let lag = Lag { start, end, records, millis: (records == 0).then_some(0) };
        found.look_for_older(&self.inner, next);
        Ok(Behind { lag, search: (records > 0).then_some((found, next)) })
    }
}

impl Behind {
    /// May read files: tables, not records.
    fn measured(self, now: Timestamp) -> Lag {
        let Behind { mut lag, search } = self;
        let Some((found, next)) = search else { return lag };
        let id = found.id;
        let shard = match (found.older_here, next < found.state.start) {
            (_, false) => found.shard,
            (Some((older, _)), true) => older,
            // Another node has it, and is not asked for so little.
            (None, true) => return lag,
        };
        // The first piece that holds it or follows it, whatever its timestamp.
        match shard.journal().find_timestamp(id, next, lag.end, Timestamp(i64::MIN)) {
            Ok(Some((_, time))) => lag.millis = age(time, now),
            // Compaction left nothing.
            Ok(None) => lag.millis = Some(0),
            Err(error) => tracing::debug!(stream = %id, %error, "the age of the next record is not known"),
        }
        lag
    }
}

/// How long ago that was; not known when nobody said when it was.
pub(crate) fn age(time: Timestamp, now: Timestamp) -> Option<u64> {
    (time.0 >= 0).then(|| u64::try_from(now.0.saturating_sub(time.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_tomorrow_is_not_old_and_what_has_no_time_has_no_age() {
        assert_eq!(age(Timestamp(400), Timestamp(1000)), Some(600));
        assert_eq!(age(Timestamp(1400), Timestamp(1000)), Some(0));
        assert_eq!(age(Timestamp(-1), Timestamp(1000)), None);
    }
}
