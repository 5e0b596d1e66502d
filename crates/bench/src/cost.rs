//! What work took: wall time, and CPU time of a process with all its threads.

use crate::Outcome;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The unit of /proc's CPU times, `USER_HZ`: 100 on every architecture we build for.
const TICKS_A_SECOND: u64 = 100;

/// Records done so far, counted by whoever makes the load.
#[derive(Debug, Default)]
pub(crate) struct Done {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Done {
    pub(crate) fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Records and what they took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Cost {
    pub(crate) fn records_a_second(&self) -> f64 {
        self.records as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn mib_a_second(&self) -> f64 {
        self.bytes as f64 / (1 << 20) as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of CPU for each record.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.records.max(1) as f64
    }
}

/// What is done within `window`, after `warm_up`, at the CPU of process `pid`.
pub(crate) fn watch(done: &Done, pid: u32, warm_up: Duration, window: Duration) -> Outcome<Cost> {
    thread::sleep(warm_up);
    let (records, bytes, cpu, start) = (done.records(), done.bytes(), cpu_of(pid)?, Instant::now());
    thread::sleep(window);
    Ok(Cost {
        records: done.records() - records,
        bytes: done.bytes() - bytes,
        cpu: cpu_of(pid)? - cpu,
        wall: start.elapsed(),
    })
}

/// CPU time, user and system, that the process and its threads have taken, also those that ended.
pub(crate) fn cpu_of(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, which may hold spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// A field of one of a process' files below /proc, such as `Pss:` of `smaps_rollup`, as a number.
pub(crate) fn proc_field(pid: u32, file: &str, field: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("/proc/{pid}/{file} has no {field}").into())
}

/// The middle of `values`; of an even number of them, the upper one of the two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_grows_with_work() {
        let before = cpu_of(std::process::id()).unwrap();
        let start = Instant::now();
        let mut sum = 0u64;
        while cpu_of(std::process::id()).unwrap() == before && start.elapsed() < Duration::from_secs(10) {
            sum = (0..1_000_000u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(cpu_of(std::process::id()).unwrap() > before, "{sum}");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 4.0);
    }
}
