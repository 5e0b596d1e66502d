//! When an open load sends: fixed before it starts, whatever the broker does. A latency is counted from
//! the time a batch was meant to be sent, so a broker that stalls answers for all that had to wait
//! meanwhile, not only for what was under way (coordinated omission).

use crate::Outcome;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;

/// Batches at a fixed rate, handed to so many producers in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedule {
    /// Batches a second, of all producers.
    pub(crate) rate: f64,
    pub(crate) producers: usize,
}

impl Schedule {
    /// When producer `producer` is to send its batch `number`, counted from the start.
    pub(crate) fn due(&self, producer: usize, number: u64) -> Duration {
        let nth = number as f64 * self.producers as f64 + producer as f64;
        Duration::from_nanos((nth / self.rate * 1e9) as u64)
    }

    /// How many batches a producer is to send before `end`.
    pub(crate) fn count(&self, producer: usize, end: Duration) -> u64 {
        let nth = end.as_secs_f64() * self.rate;
        ((nth - producer as f64) / self.producers as f64).ceil().max(0.0) as u64
    }
}

/// A clock to wait by. Tokio's own timers know milliseconds only.
pub(crate) struct Pacer {
    /// A timer that is read like a pipe: of what tokio can wait for, the one that takes any descriptor.
    timer: pipe::Receiver,
}

impl Pacer {
    pub(crate) fn new() -> Outcome<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Pacer { timer: pipe::Receiver::from_owned_fd_unchecked(timer)? })
    }

    /// Waits until `due`, if it is not past.
    pub(crate) async fn until(&self, due: Instant) -> Outcome<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) },
        };
        timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_take_turns_at_the_rate() {
        let schedule = Schedule { rate: 1000.0, producers: 4 };
        let mut all: Vec<Duration> = Vec::new();
        for producer in 0..4 {
            let count = schedule.count(producer, Duration::from_millis(10));
            all.extend((0..count).map(|number| schedule.due(producer, number)));
        }
        all.sort();
        let wanted: Vec<Duration> = (0..10).map(Duration::from_millis).collect();
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_pacer_does_not_wake_before_its_time() {
        let runtime = crate::broker::client_runtime().unwrap();
        runtime.block_on(async {
            let pacer = Pacer::new().unwrap();
            for micros in [0, 100, 700, 1500] {
                let due = Instant::now() + Duration::from_micros(micros);
                pacer.until(due).await.unwrap();
                assert!(Instant::now() >= due);
            }
            pacer.until(Instant::now()).await.unwrap();
        });
    }
}
