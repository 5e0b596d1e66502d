//! How much memory the machine has, and how much of it clients may have us take.

use model::limit;

/// Clients get one part in so many, and so does what readers who catch up bring into the page cache.
const SHARE: u64 = 4;
const SYSTEM: &str = "/proc/meminfo";
/// Where a container has a limit of its own.
const CONTAINER: &str = "/sys/fs/cgroup/memory.max";

/// A quarter of the machine's memory within bounds; where that cannot be told, the most.
pub(crate) fn for_clients() -> u64 {
    of_clients(share())
}

/// A quarter of the machine's memory, and no less than some readers need; where that cannot be told, the default.
pub(crate) fn for_cold_pages() -> u64 {
    of_cold_pages(share())
}

fn of_clients(share: Option<u64>) -> u64 {
    share.unwrap_or(u64::MAX).clamp(limit::MEMORY_BYTES_MIN, limit::MEMORY_BYTES_DEFAULT)
}

fn of_cold_pages(share: Option<u64>) -> u64 {
    share.unwrap_or(limit::COLD_PAGES_BYTES_DEFAULT).max(limit::COLD_PAGES_BYTES_MIN)
}

fn share() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    share_of(total(&read(SYSTEM)), read(CONTAINER).trim().parse().ok())
}

fn share_of(system: Option<u64>, container: Option<u64>) -> Option<u64> {
    system.into_iter().chain(container).min().map(|all| all / SHARE)
}

/// Bytes, from the line `MemTotal:  16384 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn clients_get_a_quarter_of_what_there_is_within_bounds() {
        let of = |system, container| of_clients(share_of(system, container));
        assert_eq!(of(Some(2 * GIB), None), GIB / 2);
        assert_eq!(of(Some(64 * GIB), None), GIB);
        assert_eq!(of(Some(64 * GIB), Some(GIB)), GIB / 4);
        assert_eq!(of(Some(64 << 20), None), limit::MEMORY_BYTES_MIN);
        assert_eq!(of(None, None), GIB);
    }

    #[test]
    fn readers_who_catch_up_get_a_quarter_of_what_there_is_and_not_too_little() {
        let of = |system, container| of_cold_pages(share_of(system, container));
        assert_eq!(of(Some(64 * GIB), None), 16 * GIB);
        assert_eq!(of(Some(64 * GIB), Some(2 * GIB)), GIB / 2);
        assert_eq!(of(Some(64 << 20), None), limit::COLD_PAGES_BYTES_MIN);
        assert_eq!(of(None, None), GIB);
    }

    #[test]
    fn the_system_says_how_much_there_is() {
        assert_eq!(total("MemTotal:       24683520 kB\nMemFree:  1 kB\n"), Some(24_683_520 << 10));
        assert_eq!(total("MemFree: 1 kB"), None);
    }
}
