//! Whether the other side of a connection is alive.

use crate::options::Options;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Watches what moves on a connection. It is asked at every beat, and told how many bytes have been
/// received and written since the beginning.
///
/// Silence is counted in beats and not in time: when this process was stopped for a while, what came
/// meanwhile waits to be read, and one beat is all it costs.
#[derive(Debug)]
pub(crate) struct Pulse {
    patience: u128,
    received: u64,
    written: u64,
    /// Beats since the last sign of life.
    silent: u128,
    /// Where the unanswered ping ends, counted in bytes written.
    ping: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Alive,
    /// Nothing was heard since the last beat, and no ping is under way.
    Quiet,
    Dead,
}

impl Pulse {
    pub(crate) fn new(options: &Options) -> Self {
        let patience = options.silence_max.as_nanos().div_ceil(period(options).as_nanos());
        Pulse { patience, received: 0, written: 0, silent: 0, ping: None }
    }

    /// When to ask.
    pub(crate) fn beats(options: &Options) -> Interval {
        let mut beats = interval(period(options));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.reset();
        beats
    }

    /// A ping was queued; it is written when so many bytes are.
    pub(crate) fn pinged(&mut self, end: u64) {
        self.ping = Some(end);
        self.silent = 0;
    }

    /// A pong came. Whether it was waited for.
    pub(crate) fn ponged(&mut self) -> bool {
        self.ping.take().is_some()
    }

    /// The question of the side that pings.
    ///
    /// While a ping waits behind other bytes, written bytes are a sign of life. Once it is written
    /// they are not: they may be going nowhere but into our own buffers.
    pub(crate) fn beat(&mut self, received: u64, written: u64) -> Beat {
        let heard = received > self.received;
        let moved = written > self.written && self.ping.is_some_and(|end| self.written < end);
        (self.received, self.written) = (received, written);
        match self.ping {
            None if heard => Beat::Alive,
            None => Beat::Quiet,
            Some(_) => self.judge(heard || moved),
        }
    }

    /// The question of the side that is pinged: it hears something, or has something to say.
    pub(crate) fn beat_of_pinged(&mut self, received: u64, written: u64) -> Beat {
        let alive = received > self.received || written > self.written;
        (self.received, self.written) = (received, written);
        self.judge(alive)
    }

    fn judge(&mut self, alive: bool) -> Beat {
        self.silent = if alive { 0 } else { self.silent + 1 };
        if self.silent >= self.patience { Beat::Dead } else { Beat::Alive }
    }
}

fn period(options: &Options) -> Duration {
    options.ping_interval.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patient for five beats.
    fn pulse() -> Pulse {
        let options = Options {
            ping_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            ..Options::default()
        };
        Pulse::new(&options)
    }

    #[test]
    fn who_is_heard_is_not_pinged() {
        let mut pulse = pulse();
        for beat in 1..100 {
            assert_eq!(pulse.beat(beat, 0), Beat::Alive);
        }
        assert_eq!(pulse.beat(99, 0), Beat::Quiet);
    }

    #[test]
    fn a_ping_without_an_answer_is_death_even_while_bytes_are_written() {
        let mut pulse = pulse();
        assert_eq!(pulse.beat(0, 0), Beat::Quiet);
        pulse.pinged(28);
        for beat in 1..=5 {
            assert_eq!(pulse.beat(0, 28 * beat), Beat::Alive);
        }
        assert_eq!(pulse.beat(0, 28 * 6), Beat::Dead);
    }

    #[test]
    fn a_ping_waits_behind_a_long_frame_as_long_as_that_moves() {
        let mut pulse = pulse();
        assert_eq!(pulse.beat(0, 0), Beat::Quiet);
        pulse.pinged(1000);
        for beat in 1..=60 {
            assert_eq!(pulse.beat(0, beat), Beat::Alive);
        }
        for _ in 0..4 {
            assert_eq!(pulse.beat(0, 60), Beat::Alive);
        }
        assert_eq!(pulse.beat(0, 60), Beat::Dead);
    }

    #[test]
    fn an_answer_that_takes_long_to_arrive_is_a_sign_of_life() {
        let mut pulse = pulse();
        assert_eq!(pulse.beat(0, 0), Beat::Quiet);
        pulse.pinged(28);
        for beat in 1..100 {
            assert_eq!(pulse.beat(beat, 28), Beat::Alive);
        }
    }

    #[test]
    fn a_pong_starts_afresh() {
        let mut pulse = pulse();
        assert!(!pulse.ponged());
        assert_eq!(pulse.beat(0, 0), Beat::Quiet);
        pulse.pinged(28);
        assert!(pulse.ponged());
        assert_eq!(pulse.beat(28, 28), Beat::Alive);
        assert_eq!(pulse.beat(28, 28), Beat::Quiet);
    }

    #[test]
    fn the_pinged_side_lives_on_either_direction() {
        let mut pulse = pulse();
        assert_eq!(pulse.beat_of_pinged(1, 0), Beat::Alive);
        assert_eq!(pulse.beat_of_pinged(1, 1), Beat::Alive);
        for _ in 0..4 {
            assert_eq!(pulse.beat_of_pinged(1, 1), Beat::Alive);
        }
        assert_eq!(pulse.beat_of_pinged(1, 1), Beat::Dead);
    }
}
