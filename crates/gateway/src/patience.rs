//! How long a client may stand still in the middle of a request or of its answers.
//!
//! What counts is not that a byte moves at times, for that costs an attacker nothing, but that so many do
//! within the time. While others wait for the memory that is held meanwhile, the time is short.

use std::time::{Duration, Instant};

/// So many bytes, or all that are left, have to move within the time.
const STEP_BYTES: usize = 64 << 10;
/// The time while others wait for memory.
const WANTED: Duration = Duration::from_secs(2);
/// How often it is looked whether others wait.
const LOOK: Duration = Duration::from_secs(1);

/// Since when too little has moved.
#[derive(Debug)]
pub struct Patience {
    since: Instant,
    bytes: usize,
}

impl Patience {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        Patience { since: Instant::now(), bytes: 0 }
    }

    /// So many bytes have moved.
    pub fn progress(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= STEP_BYTES {
            *self = Patience::start();
        }
    }

    /// How long until it is to be looked again, at most; nothing when it is over. Usually it lasts for `stall`.
    #[must_use]
    pub fn left(&self, stall: Duration, wanted: bool) -> Option<Duration> {
        let most = if wanted { stall.min(WANTED) } else { stall };
        let left = most.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero());
        left.map(|left| left.min(LOOK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_while_others_wait() {
        let three_ago = || Patience { since: Instant::now() - Duration::from_secs(3), bytes: 0 };
        let minute = Duration::from_secs(60);
        assert_eq!(three_ago().left(minute, false), Some(LOOK));
        assert_eq!(three_ago().left(minute, true), None);
        assert_eq!(three_ago().left(WANTED, false), None);
    }

    #[test]
    fn a_trickle_is_no_progress() {
        let mut patience = Patience { since: Instant::now() - Duration::from_secs(3), bytes: 0 };
        for _ in 0..10 {
            patience.progress(1);
        }
        assert_eq!(patience.left(WANTED, false), None);
        patience.progress(STEP_BYTES);
        assert!(patience.left(WANTED, false).is_some());
    }
}
