//! Purging the Raft log a moment later than openraft does.
//!
//! A stream of entries to a follower that waits between two tries may ask for entries that openraft
//! has purged meanwhile, because a heartbeat told it that the follower has them. openraft stops a
//! leader that cannot read its log, so what it purges stays readable until no stream can be that
//! old.

use crate::raft::Runtime;
use journal::{Journal, LogPosition};
use openraft::Instant;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Purges<R: Runtime> {
    journal: Arc<Journal>,
    delay: Duration,
    /// What openraft has purged and the journal has not, oldest first.
    waiting: Mutex<VecDeque<(R::Instant, LogPosition)>>,
}

impl<R: Runtime> Purges<R> {
    pub(crate) fn new(journal: Arc<Journal>, delay: Duration) -> Self {
        Purges { journal, delay, waiting: Mutex::default() }
    }

    /// openraft will not need entries up to `at`.
    pub(crate) fn add(&self, at: LogPosition) {
        self.waiting.lock().push_back((R::Instant::now(), at));
    }

    /// Moves the journal's floor over what was purged long enough ago. Returns whether it moved.
    pub(crate) fn carry_out(&self) -> bool {
        let now = R::Instant::now();
        let mut waiting = self.waiting.lock();
        let mut moved = false;
        while let Some((_, at)) = waiting.pop_front_if(|(when, _)| *when + self.delay <= now) {
            self.journal.purge(at);
            moved = true;
        }
        moved
    }
}
