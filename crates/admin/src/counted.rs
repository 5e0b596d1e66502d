//! What the API counts: requests, errors, bytes of bodies and time, by the route's id and the answer's code.

use crate::answer::Answer;
use crate::api::Call;
use crate::route::ROUTES;
use crate::shape::Code;
use gateway::ProtocolCounters;
use gateway::protocol::Answered;
use std::sync::LazyLock;
use std::time::Instant;

/// What is refused before it is known which route is meant.
const OTHER: &str = "other";

/// The codes' names, as answers have them.
static CODES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let name = |code: &Code| serde_json::to_value(code).ok().and_then(|name| name.as_str().map(str::to_owned));
    Code::ALL.iter().map(|code| name(code).unwrap_or_default()).collect()
});

/// A request, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    row: usize,
    bytes: usize,
    came: Instant,
}

impl Asked {
    /// One of which nothing is known but that it comes now.
    #[must_use]
    pub fn now() -> Self {
        Asked { row: 0, bytes: 0, came: Instant::now() }
    }

    /// It is this one.
    #[must_use]
    pub fn known(self, call: &Call) -> Self {
        let route = ROUTES.iter().position(|route| std::ptr::eq(route, call.route));
        Asked { row: route.map_or(0, |nth| nth + 1), ..self }
    }

    /// All of it has come now, with a body of so many bytes.
    #[must_use]
    pub fn complete(self, bytes: usize) -> Self {
        Asked { bytes, came: Instant::now(), ..self }
    }
}

/// Counters of nothing yet.
pub(crate) fn counters() -> ProtocolCounters {
    let apis: Vec<_> = std::iter::once(OTHER).chain(ROUTES.iter().map(|route| route.id)).collect();
    let errors: Vec<_> = CODES.iter().map(String::as_str).collect();
    ProtocolCounters::new("http", &apis, &errors)
}

pub(crate) fn note(counters: &ProtocolCounters, asked: Asked, answer: &Answer) {
    let Asked { row, bytes, came } = asked;
    let answered = Answered {
        request_bytes: bytes,
        response_bytes: answer.body.len(),
        took: came.elapsed(),
        waited: answer.waited,
    };
    counters.note(row, answered);
    if let Some(error) = answer.code.and_then(|code| Code::ALL.iter().position(|known| *known == code)) {
        counters.note_error(row, error);
    }
}
