//! Listeners and their connections.

use super::family::Family;
use gateway::Counters;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const LABELS: &[&str] = &["listener"];

type Read = fn(&Counters) -> &AtomicU64;

const NUMBERS: &[(Family, Read)] = &[
    (Family::gauge("connections", LABELS, "Connections open"), |c| &c.open),
    (Family::counter("connections_accepted", LABELS, "Connections served since the start"), |c| &c.accepted),
    (Family::counter("connections_refused", LABELS, "Connections closed at once, all seats being taken"), |c| {
        &c.refused
    }),
    (Family::counter("accept_errors", LABELS, "Connections the operating system would not accept"), |c| {
        &c.accept_errors
    }),
    (Family::counter("protocol_violations", LABELS, "Connections closed because the client broke the protocol"), |c| {
        &c.violations
    }),
    (Family::counter("protocol_rejections", LABELS, "Malformed parts of requests that were refused"), |c| {
        &c.rejections
    }),
    (
        Family::counter("connection_timeouts", LABELS, "Connections closed because the client was idle or stood still"),
        |c| &c.timeouts,
    ),
    (
        Family::counter("connection_slow_readers", LABELS, "Of these, those whose client did not read its answers"),
        |c| &c.slow_readers,
    ),
    (Family::counter("connection_bytes_in", LABELS, "Bytes received from clients"), |c| &c.bytes_in),
    (Family::counter("connection_bytes_out", LABELS, "Bytes sent to clients"), |c| &c.bytes_out),
];

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family)
}

pub(super) fn encode(listeners: &[(&'static str, Arc<Counters>)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (family, read) in NUMBERS {
        let mut samples = family.begin(encoder)?;
        for (listener, counters) in listeners {
            samples.number(&[listener], read(counters).load(Relaxed))?;
        }
    }
    Ok(())
}
