//! File descriptors: as many as we may have, and who may use them.

use model::limit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asked for where the system sets no limit: what Linux allows a process unless told otherwise.
const UNLIMITED: u64 = 1 << 20;
/// With fewer descriptors than this, a node with some data cannot hold its files open.
const FEW: u64 = 1024;
/// More than this are not kept for the journals: half a TiB in log files of 64 MiB, and more in packed ones.
const FOR_JOURNALS_MAX: u64 = 8192;

/// Raises the soft limit of open files to the hard one, and returns what the limit is then. Most systems
/// start a process with a soft limit of 1024, for the sake of programs that use `select`.
pub(crate) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(UNLIMITED), maximum.unwrap_or(UNLIMITED));
    if soft >= hard {
        return warn_of_few(soft);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum }) {
        Ok(()) => warn_of_few(hard),
        Err(error) => {
            tracing::warn!(soft, hard, %error, "cannot raise the limit of open files");
            warn_of_few(soft)
        }
    }
}

fn warn_of_few(limit: u64) -> u64 {
    if limit < FEW {
        tracing::warn!(limit, "few open files are allowed: a limit of {FEW} or more is better");
    }
    limit
}

/// How many connections leave the journals theirs: half of the descriptors, [`FOR_JOURNALS_MAX`] at most. They need
/// one for each of their files; without one they can neither start a log file nor leave a checkpoint. Fewer
/// connections if so configured.
pub(crate) fn for_connections(limit: u64, wanted: Option<u64>) -> usize {
    let most = (limit - (limit / 2).min(FOR_JOURNALS_MAX)).clamp(1, limit::CONNECTIONS_MAX);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
        tracing::warn!(wanted, most, limit, "fewer connections than configured: the journals need open files, too");
    }
    usize::try_from(most.min(wanted.unwrap_or(most))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_journals_half_of_the_descriptors_or_enough() {
        assert_eq!(for_connections(1024, None), 512);
        assert_eq!(for_connections(16_384, None), 8_192);
        assert_eq!(for_connections(20_000, None), 11_808, "ten thousand, and some that work");
        assert_eq!(for_connections(1, None), 1);
        assert_eq!(for_connections(u64::MAX, None), 20_000);
    }

    #[test]
    fn fewer_connections_may_be_configured_and_not_more() {
        assert_eq!(for_connections(1024, Some(100)), 100);
        assert_eq!(for_connections(1024, Some(513)), 512);
    }
}
