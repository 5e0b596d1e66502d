//! What can be configured about groups.

use model::limit;
use std::time::Duration;

/// What can be configured about groups. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// How long the first join of an empty group waits for others
    /// (Kafka's `group.initial.rebalance.delay.ms`, 3000 there). Joins during the wait prolong it,
    /// up to the rebalance timeout.
    pub initial_rebalance_delay: u64,
    /// The shortest session timeout a member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min: u64,
    /// The longest session timeout a member may ask for (`group.max.session.timeout.ms`).
    pub session_timeout_max: u64,
    /// A shorter rebalance timeout is taken as this one; Kafka has no such bound.
    pub rebalance_timeout_min: u64,
    /// A longer rebalance timeout is taken as this one; Kafka has no such bound.
    pub rebalance_timeout_max: u64,
    /// Members of one group, those who were only given an id included (`group.max.size`). At most
    /// [`limit::GROUP_MEMBERS_MAX`].
    pub group_size_max: usize,
    /// Groups of one coordinator.
    pub groups_max: usize,
    /// How long offsets are kept that nobody needs (`offsets.retention.minutes`): those of a group
    /// counted from when its last member left, those of consumers outside of the group protocol and of
    /// topics that no member consumes from when they were committed.
    pub offsets_retention: u64,
    /// Whether a static member that has not rejoined when the join phase ends is removed, as a
    /// dynamic one is. Kafka keeps it, with its old subscription, until its session ends or it
    /// fails to sync within the rebalance timeout, so that a restart does not move its share.
    pub remove_absent_static: bool,
}

/// The longest time between two looks, as in Kafka.
const EXPIRY_PERIOD_MAX: Duration = Duration::from_secs(600);

impl GroupConfig {
    /// How often offsets are looked for that nobody needs (`offsets.retention.check.interval.ms`).
    #[must_use]
    pub fn expiry_period(&self) -> Duration {
        Duration::from_millis(self.offsets_retention / 2).min(EXPIRY_PERIOD_MAX)
    }

    pub(super) fn members_max(&self) -> usize {
        self.group_size_max.min(limit::GROUP_MEMBERS_MAX)
    }

    /// `asked` as a session timeout, if it is within the bounds.
    pub(super) fn session_timeout(&self, asked: i32) -> Option<u64> {
        let asked = u64::try_from(asked).ok()?;
        (self.session_timeout_min..=self.session_timeout_max).contains(&asked).then_some(asked)
    }

    /// The rebalance timeout that is nearest to `asked`.
    pub(super) fn rebalance_timeout(&self, asked: i32) -> u64 {
        let asked = u64::try_from(asked).unwrap_or(0);
        asked.max(self.rebalance_timeout_min).min(self.rebalance_timeout_max)
    }
}

impl Default for GroupConfig {
    /// Kafka's defaults, but for the initial delay: a lone consumer should not wait for nobody.
    fn default() -> Self {
        GroupConfig {
            initial_rebalance_delay: 0,
            session_timeout_min: 6_000,
            session_timeout_max: 1_800_000,
            rebalance_timeout_min: 1_000,
            rebalance_timeout_max: 86_400_000,
            group_size_max: limit::GROUP_MEMBERS_MAX,
            groups_max: 100_000,
            offsets_retention: 7 * 24 * 3600 * 1000,
            remove_absent_static: false,
        }
    }
}
