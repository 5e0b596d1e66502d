//! What sorts of streams there are, and what becomes of their messages.

use crate::rng::Rng;
use model::config::{Settlement, StreamConfig};

const MINUTE_MILLIS: u64 = 60_000;

/// A sort of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A queue with a consumer that keeps up.
    Fast,
    /// A queue whose consumer is far behind and leaves some messages for good.
    Slow,
    /// A queue without a consumer.
    Abandoned,
    /// Expires by age.
    Aged { millis: u64 },
    /// Expires by size.
    Sized { bytes: u64 },
    /// Somebody trims it now and then.
    Trimmed,
}

impl Kind {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0..50 => Kind::Fast,
            50..67 => Kind::Slow,
            67..70 => Kind::Abandoned,
            70..80 => Kind::Aged { millis: MINUTE_MILLIS * [10, 50, 180, 1800][rng.below(4) as usize] },
            80..90 => Kind::Sized { bytes: rng.between(4_000, 60_000) },
            _ => Kind::Trimmed,
        }
    }

    pub(super) fn config(self) -> StreamConfig {
        let settlement = if self.is_queue() { Settlement::Each } else { Settlement::Position };
        let (retention_millis, retention_bytes) = match self {
            Kind::Aged { millis } => (Some(millis), None),
            Kind::Sized { bytes } => (None, Some(bytes)),
            _ => (None, None),
        };
        StreamConfig { settlement, retention_millis, retention_bytes, ..StreamConfig::default() }
    }

    pub(super) fn is_queue(self) -> bool {
        matches!(self, Kind::Fast | Kind::Slow | Kind::Abandoned)
    }

    /// How many entries later a message is settled, if it ever is.
    pub(super) fn settled_after(self, rng: &mut Rng, entries: u64) -> Option<u64> {
        match self {
            Kind::Fast => Some(rng.between(1, 200)),
            Kind::Slow if rng.percent(96) => Some(rng.between(entries / 20 + 1, entries / 3 + 2)),
            _ => None,
        }
    }
}
