//! How long to leave a node alone that could not be reached.

use std::time::Duration;

/// The wait before the next attempt: nothing at first, then doubling up to a maximum.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Option<Duration>,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Backoff { min, max, next: None }
    }

    /// Whether no attempt has failed since the last reset.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next.is_none()
    }

    pub(crate) fn reset(&mut self) {
        self.next = None;
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self) {
        self.next = Some(self.next.map_or(self.min, |wait| wait * 2).min(self.max));
    }

    /// The wait, with half of it left to chance so that nodes do not knock in step.
    pub(crate) fn wait(&self) -> Duration {
        self.next.map_or(Duration::ZERO, |wait| wait.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_maximum_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(150));
        assert_eq!(backoff.wait(), Duration::ZERO);
        for most in [50, 100, 150, 150] {
            backoff.failed();
            for _ in 0..20 {
                let wait = backoff.wait();
                assert!(wait >= Duration::from_millis(most / 2) && wait <= Duration::from_millis(most), "{wait:?}");
            }
        }
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.wait(), Duration::ZERO);
    }
}
