//! The process, as Linux tells of it and under the names that Prometheus' clients give it. Elsewhere there
//! is nothing.

use super::family::{Family, Number};
use prometheus_client::encoding::DescriptorEncoder;
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::fs;

/// Ticks of a second in what Linux tells programs, whatever its own are.
const TICKS: f64 = 100.0;

type Read = fn(&Process) -> Option<Number>;

const NUMBERS: &[(Family, Read)] = &[
    (Family::counter("process_cpu_seconds", &[], "Processor time used"), |p| Some(p.cpu_seconds.into())),
    (Family::gauge("process_resident_memory_bytes", &[], "Memory in use"), |p| Some(p.resident_bytes.into())),
    (Family::gauge("process_virtual_memory_bytes", &[], "Address space in use"), |p| Some(p.virtual_bytes.into())),
    (Family::gauge("process_threads", &[], "Threads"), |p| Some(p.threads.into())),
    (Family::gauge("process_open_fds", &[], "File descriptors in use"), |p| Some(p.open_files?.into())),
    (Family::gauge("process_max_fds", &[], "File descriptors that may be in use"), |p| Some(p.max_files?.into())),
    (Family::gauge("process_start_time_seconds", &[], "When the process started, since the Unix epoch"), |p| {
        Some(p.started_seconds?.into())
    }),
];

/// What the system says of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_files: Option<u64>,
    max_files: Option<u64>,
    started_seconds: Option<f64>,
}

impl Process {
    /// Asks the system; `None` where it does not tell.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let (process, started) = Process::parse(&stat, &status)?;
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| booted(&stat));
        Some(Process {
            // The folder that is being read is open, too.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: getrlimit(Resource::Nofile).current,
            started_seconds: booted.map(|booted| booted as f64 + started),
            ..process
        })
    }

    /// Reads /proc/self/stat and /proc/self/status, and in seconds since the system started when the process
    /// did.
    fn parse(stat: &str, status: &str) -> Option<(Self, f64)> {
        // The second field is the program's name in parentheses, in which anything may stand.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first of these is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let memory = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
        };
        let process = Process {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS,
            threads: field(20)?,
            virtual_bytes: memory("VmSize")?,
            resident_bytes: memory("VmRSS")?,
            ..Process::default()
        };
        Some((process, field(22)? as f64 / TICKS))
    }
}

/// When the system started, in seconds since the Unix epoch, from /proc/stat.
fn booted(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family)
}

pub(super) fn encode(process: Option<&Process>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(process) = process else { return Ok(()) };
    for (family, read) in NUMBERS {
        if let Some(number) = read(process) {
            family.begin(encoder)?.number(&[], number)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1048576 300 99 1 1";
        let status = "Name:\ta) b (c\nVmSize:\t    1024 kB\nVmRSS:\t     300 kB\nThreads:\t9\n";
        let (process, started) = Process::parse(stat, status).unwrap();
        assert_eq!((process.cpu_seconds, process.threads, started), (3.0, 9, 123.45));
        assert_eq!((process.virtual_bytes, process.resident_bytes), (1 << 20, 300 << 10));
        assert_eq!(Process::parse("7 (a) S 1", status), None);
        assert_eq!(Process::parse("", status), None);
        assert_eq!(Process::parse(stat, "VmSize:\t1024 kB\n"), None);
    }

    #[test]
    fn the_system_says_when_it_started() {
        assert_eq!(booted("cpu 1 2 3\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
        assert_eq!(booted("cpu 1 2 3\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_plausible() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 100_000 && process.resident_bytes < process.virtual_bytes);
        assert!(process.threads >= 1);
        assert!(process.open_files >= Some(3) && process.open_files <= process.max_files);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - process.started_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
