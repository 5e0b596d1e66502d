//! Spreading bytes over time: when the next may be asked for.

use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// After a pause so much time's bytes may come at once.
const BURST: Duration = Duration::from_millis(100);

/// The time that bytes are spread over.
pub trait Pace: Send + Sync {
    /// How long it is since some moment, always the same.
    fn now(&self) -> Duration;
    /// Ends after so long.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// So many bytes a second for all who take some. Clones share them.
#[derive(Clone)]
pub struct Bandwidth {
    bucket: Arc<Mutex<Bucket>>,
    pace: Arc<dyn Pace>,
}

impl Bandwidth {
    /// So many bytes a second of this time.
    #[must_use]
    pub fn new(bytes_per_second: NonZeroU64, pace: Arc<dyn Pace>) -> Self {
        let bucket = Bucket { bytes_per_second, taken_until: pace.now() };
        Bandwidth { bucket: Arc::new(Mutex::new(bucket)), pace }
    }

    /// Takes `bytes`, first come, first served; returns when they may be asked for. Whoever does not wait for that has
    /// taken them all the same.
    pub(crate) async fn take(&self, bytes: u64) {
        let wait = self.bucket.lock().take(self.pace.now(), bytes);
        if !wait.is_zero() {
            self.pace.sleep(wait).await;
        }
    }
}

impl fmt::Debug for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bandwidth({} bytes a second)", self.bucket.lock().bytes_per_second)
    }
}

/// A bucket of bytes that fills with time. Knows no clock.
struct Bucket {
    bytes_per_second: NonZeroU64,
    /// When everything taken so far has had its time.
    taken_until: Duration,
}

impl Bucket {
    /// Takes `bytes` at `now`; returns how long to wait before they may be asked for.
    fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let from = self.taken_until.max(now.saturating_sub(BURST));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.taken_until = from.saturating_add(time);
        from.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn bytes_come_at_the_rate_and_a_pause_is_not_made_up_for() {
        let mut now = MILLI * 5_000;
        let mut bucket = Bucket { bytes_per_second: NonZeroU64::new(1000).unwrap(), taken_until: Duration::ZERO };
        let began = now;
        for _ in 0..100 {
            now += bucket.take(now, 50);
        }
        assert_eq!(now - began, MILLI * 99 * 50 - BURST, "after what may come at once, 50 bytes every 50 ms");
        now += MILLI * 60_000;
        let after_pause: Duration = (0..10).map(|_| bucket.take(now, 50)).max().unwrap();
        assert_eq!(after_pause, MILLI * 9 * 50 - BURST);
        assert!(bucket.take(now, u64::MAX) < MILLI * 1_000, "what is taken is what the next ones wait for");
        assert!(bucket.take(now, u64::MAX) > MILLI * 1_000_000_000);
        assert!(bucket.take(now, 1) > MILLI * 1_000_000_000, "and nothing overflows");
    }
}
