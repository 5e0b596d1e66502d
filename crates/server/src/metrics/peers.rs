//! Connections with other nodes.

use super::family::Family;
use broker::cluster::{PeerCounts, PeerRefusal};
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

const LABELS: &[&str] = &[];

type Read = fn(&PeerCounts) -> u64;

const NUMBERS: &[(Family, Read)] = &[
    (Family::counter("peer_connections_accepted", LABELS, "Connections of other nodes that were let in"), |c| {
        c.accepted
    }),
    (Family::counter("peer_connections_made", LABELS, "Connections made to other nodes"), |c| c.dialled),
    (
        Family::counter(
            "peer_connections_failed",
            LABELS,
            "Attempts to connect to other nodes that failed or were refused",
        ),
        |c| c.dials_failed,
    ),
    (
        Family::counter(
            "peer_protocol_violations",
            LABELS,
            "Connections cut because the other side broke the protocol",
        ),
        |c| c.violations,
    ),
    (
        Family::counter(
            "peer_connection_timeouts",
            LABELS,
            "Connections cut because nothing was heard of the other side",
        ),
        |c| c.silenced,
    ),
    (Family::counter("peer_requests_in", LABELS, "Requests of other nodes that were started"), |c| c.requests_received),
    (Family::counter("peer_requests_out", LABELS, "Requests sent to other nodes"), |c| c.requests_sent),
    (Family::counter("peer_connection_bytes_in", LABELS, "Bytes received from other nodes, after handshakes"), |c| {
        c.bytes_received
    }),
    (Family::counter("peer_connection_bytes_out", LABELS, "Bytes sent to other nodes, after handshakes"), |c| {
        c.bytes_sent
    }),
];

const REFUSED: Family = Family::counter(
    "peer_connections_refused",
    &["reason"],
    "Connections that were not let in. It was said too slowly who connected (`slow`), or the connection ended first \
     (`ended`); it was no node (`garbage`); only one side encrypts or one does not trust the other's certificate \
     (`insecure`); it speaks no `version` in common, belongs to another `cluster`, looked for another `node` or for a \
     `lane` that there is not, or does not share the `secret`; or there are too many connections (`full`)",
);

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family).chain([&REFUSED])
}

pub(super) fn encode(counts: Option<&PeerCounts>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (family, read) in NUMBERS {
        let mut samples = family.begin(encoder)?;
        if let Some(counts) = counts {
            samples.number(&[], read(counts))?;
        }
    }
    let mut samples = REFUSED.begin(encoder)?;
    for (counts, why) in counts.into_iter().flat_map(|counts| PeerRefusal::ALL.map(|why| (counts, why))) {
        samples.number(&[why.name()], counts.refused_for(why))?;
    }
    Ok(())
}
