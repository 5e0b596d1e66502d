//! Protocols, by API.

use super::family::{Family, Number};
use gateway::ProtocolCounters;
use gateway::protocol::ApiCounters;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const LABELS: &[&str] = &["protocol", "api"];

type Read = fn(&ApiCounters) -> Number;

const NUMBERS: &[(Family, Read)] = &[
    (
        Family::counter(
            "protocol_requests",
            LABELS,
            "Requests that were answered, or carried out where the client wants no answer",
        ),
        |api| api.requests.load(Relaxed).into(),
    ),
    (Family::counter("protocol_request_bytes", LABELS, "Bytes of these requests"), |api| {
        api.request_bytes.load(Relaxed).into()
    }),
    (Family::counter("protocol_response_bytes", LABELS, "Bytes of the answers"), |api| {
        api.response_bytes.load(Relaxed).into()
    }),
    (Family::counter("protocol_waits", LABELS, "Requests that waited on purpose for records to come"), |api| {
        api.waits.load(Relaxed).into()
    }),
    (Family::counter("protocol_wait_seconds", LABELS, "How long they did so"), |api| api.waited().as_secs_f64().into()),
];

const SECONDS: Family = Family::histogram(
    "protocol_request_seconds",
    LABELS,
    "How long requests took, from when all of a request had come until its answer was ready to be sent. Not \
     counted is how long a request waited on purpose for records to come; counted is how long a member of a \
     group waited for the others, in JoinGroup and SyncGroup",
);

const ERRORS: Family = Family::counter(
    "protocol_errors",
    &["protocol", "api", "error"],
    "Errors answered, those about a partition, a topic or a group each for itself, by the protocol's name for \
     the error. Some belong to normal work, such as those that tell a member of a group to join again",
);

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family).chain([&SECONDS, &ERRORS])
}

pub(super) fn encode(protocols: &[Arc<ProtocolCounters>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    // An API that nobody has called has nothing to tell.
    let used = || {
        let all = protocols.iter().flat_map(|protocol| protocol.apis().map(|api| (protocol.name, api)));
        all.filter(|(_, api)| api.requests.load(Relaxed) > 0)
    };
    for (family, read) in NUMBERS {
        let mut samples = family.begin(encoder)?;
        for (protocol, api) in used() {
            samples.number(&[protocol, api.name], read(api))?;
        }
    }
    let mut samples = SECONDS.begin(encoder)?;
    for (protocol, api) in used() {
        samples.histogram(&[protocol, api.name], &api.seconds.read())?;
    }
    let mut samples = ERRORS.begin(encoder)?;
    for protocol in protocols {
        for api in protocol.apis() {
            for (error, count) in protocol.errors(api) {
                samples.number(&[protocol.name, api.name, error], count)?;
            }
        }
    }
    Ok(())
}
