//! What is wrong with the disk, and for how long.

use super::run::Run;
use crate::disk::Faults;

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Weather {
    /// Steps until it is over.
    left: u64,
}

impl Run {
    /// A step passes; trouble begins and ends.
    pub(super) fn pass_time(&mut self) {
        if self.weather.left > 0 {
            self.weather.left -= 1;
            if self.weather.left == 0 {
                self.clear_weather();
            }
        } else if self.rng.per_mille(self.shape.troubles) {
            self.begin_trouble();
        }
    }

    /// Whether the disk is too slow for the writer to get a turn.
    pub(super) fn is_slow(&self) -> bool {
        self.disk.faults().latency > 0
    }

    pub(super) fn clear_weather(&mut self) {
        self.weather.left = 0;
        if self.disk.faults() != Faults::NONE {
            self.trace.line(format_args!("the disk works again"));
            self.disk.set_faults(|faults| *faults = Faults::NONE);
        }
    }

    pub(super) fn begin_trouble(&mut self) {
        self.weather.left = self.rng.between(2, 25);
        let rate = [100, 300, 1000][self.rng.below(3) as usize];
        let room = self.disk.used() + self.rng.below(2 * self.shape.log_file_bytes);
        let kind = self.rng.below(7);
        self.disk.set_faults(|faults| match kind {
            0 => faults.write_errors = rate,
            1 | 2 => faults.sync_errors = rate,
            3 => faults.read_errors = rate,
            4 => faults.name_errors = rate,
            5 => faults.capacity = room,
            _ => faults.latency = 1,
        });
        self.trace.line(format_args!("trouble for {} steps: {:?}", self.weather.left, self.disk.faults()));
    }
}
