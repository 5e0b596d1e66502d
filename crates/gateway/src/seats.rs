//! How many connections a node serves at a time.
//!
//! A connection costs a file descriptor, and the journals need theirs: without one they can neither
//! roll a log file nor leave a checkpoint. So connections are counted before they are served, over all
//! listeners of protocols (HTTP has few of its own), and one too many is closed at once rather than
//! taking a descriptor from the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Refusals are logged no more often than this: whoever is refused tries again.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// The seats of a node. Clones are the same seats.
#[derive(Clone, Debug)]
pub struct Seats {
    free: Arc<Semaphore>,
    count: usize,
}

/// A seat, given back when dropped.
pub type Seat = OwnedSemaphorePermit;

impl Seats {
    /// So many seats.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Seats { free: Arc::new(Semaphore::new(count)), count }
    }

    /// How many there are, taken ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes as many seats as one, if so many are free.
    #[must_use]
    pub fn take_many(&self, count: usize) -> Option<Seat> {
        self.free.clone().try_acquire_many_owned(u32::try_from(count).ok()?).ok()
    }

    /// Takes a seat, if one is free.
    #[must_use]
    pub fn take(&self) -> Option<Seat> {
        self.free.clone().try_acquire_owned().ok()
    }
}

/// Keeps the log readable while connections are refused.
#[derive(Debug, Default)]
pub struct Refusals {
    unsaid: u64,
    said: Option<Instant>,
}

impl Refusals {
    /// Notes one. Returns how many to speak of now, if it is time to.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAY_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_comes_back() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some());
        assert!(seats.take().is_none());
        drop(first);
        assert!(seats.clone().take().is_some());
    }

    #[test]
    fn refusals_are_said_once_a_second_and_none_is_forgotten() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.note(start), Some(1));
        assert_eq!(refusals.note(start + SAY_EVERY / 4), None);
        assert_eq!(refusals.note(start + SAY_EVERY / 2), None);
        assert_eq!(refusals.note(start + SAY_EVERY), Some(3));
    }
}
