//! How often a replica's upkeep comes, in a run whose files are small.

use crate::rng::Rng;
use shard::Upkeep;
use std::time::Duration;

/// Draws one under which logs are checkpointed, purged and compacted many times in a run.
pub(crate) fn draw(rng: &mut Rng) -> Upkeep {
    Upkeep {
        checkpoint_log_bytes: rng.one_of([24 << 10, 64 << 10, 160 << 10]),
        log_kept_bytes: rng.one_of([8 << 10, 48 << 10, 256 << 10]),
        purge_delay: Duration::from_secs(2),
        compaction_interval: Duration::from_secs(2),
    }
}
