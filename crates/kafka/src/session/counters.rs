//! What sessions count: a row for each API, a number for each error.

use crate::codec::api_key::ApiKey;
use crate::codec::error_code::ErrorCode;
use gateway::ProtocolCounters;

/// The protocol, as metrics name it.
const NAME: &str = "kafka";

/// Counters for the sessions of a node.
#[must_use]
pub fn counters() -> ProtocolCounters {
    let apis: Vec<&'static str> = ApiKey::ALL.iter().map(|api| api.name()).collect();
    let errors: Vec<&'static str> = ErrorCode::ALL.iter().map(|error| error.name()).collect();
    ProtocolCounters::new(NAME, &apis, &errors)
}

/// The row of an API.
pub(super) fn row(api: ApiKey) -> usize {
    // They are in order of their numbers.
    ApiKey::ALL.binary_search(&api).unwrap_or(usize::MAX)
}

/// Counts what a response says of errors.
pub(super) fn note_error(counters: &ProtocolCounters, row: usize, code: i16) {
    if code == ErrorCode::None.code() {
        return;
    }
    // They are numbered from -1 on, without gaps.
    counters.note_error(row, usize::try_from(i32::from(code) + 1).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_and_every_error_has_its_place() {
        let counters = counters();
        for api in ApiKey::ALL {
            assert_eq!(counters.apis().nth(row(*api)).map(|row| row.name), Some(api.name()));
        }
        for error in ErrorCode::ALL {
            note_error(&counters, row(ApiKey::Fetch), error.code());
        }
        note_error(&counters, row(ApiKey::Fetch), i16::MAX);
        note_error(&counters, row(ApiKey::Fetch), i16::MIN);
        let fetch = counters.apis().nth(row(ApiKey::Fetch)).unwrap();
        let counted: Vec<_> = counters.errors(fetch).collect();
        let failures = ErrorCode::ALL.iter().filter(|error| **error != ErrorCode::None);
        assert_eq!(counted, failures.map(|error| (error.name(), 1)).collect::<Vec<_>>());
    }
}
