//! How fast seeds are run.

use std::fmt;
use std::time::Duration;

/// So many seeds in so much time, and how much time passed in them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// How many.
    pub seeds: u64,
    /// How long they took.
    pub took: Duration,
    /// How long they took by their own clocks; a journal alone has none.
    pub simulated: Duration,
}

impl Pace {
    /// Adds those of another campaign.
    pub fn add(&mut self, other: Pace) {
        self.seeds += other.seeds;
        self.took += other.took;
        self.simulated += other.simulated;
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { seeds, took, simulated } = *self;
        let a_minute = seeds as f64 * 60.0 / took.as_secs_f64().max(0.001);
        write!(
            f,
            "{seeds} seeds in {took:.1?}, {a_minute:.0} a minute, {:.2} simulated hours",
            simulated.as_secs_f64() / 3_600.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_add_up() {
        let seconds = Duration::from_secs;
        let mut pace = Pace { seeds: 10, took: seconds(20), simulated: seconds(1_800) };
        pace.add(Pace { seeds: 5, took: seconds(10), simulated: seconds(0) });
        assert_eq!(pace.to_string(), "15 seeds in 30.0s, 30 a minute, 0.50 simulated hours");
    }
}
