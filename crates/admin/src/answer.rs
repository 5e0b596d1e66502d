//! What goes back to a client.

use crate::refusal::Refusal;
use crate::shape::{Code, ErrorBody, Problem};
use broker::memory::Held;
use bytes::Bytes;
use serde::Serialize;
use std::time::Duration;

/// A header of an answer.
pub type Header = (&'static str, String);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Bytes,
    /// Headers besides those that say what the body is.
    pub headers: Vec<Header>,
    /// What went wrong, if something did.
    pub code: Option<Code>,
    /// How long it was waited on purpose for records to come.
    pub waited: Duration,
    /// When the client sent what makes no sense: what that was, for the log.
    pub malformed: Option<String>,
    /// Room for the body, given back when it was sent.
    pub room: Option<Held>,
}

/// How long a client should wait before it tries again what is not possible now.
const RETRY_SECONDS: u32 = 1;

impl Answer {
    /// An answer with a body.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Result<Answer, Refusal> {
        let bytes = serde_json::to_vec(body).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        Ok(Answer::of(status, Bytes::from(bytes)))
    }

    /// It was done, and there is nothing to say about it.
    pub(crate) fn done() -> Answer {
        Answer::of(204, Bytes::new())
    }

    pub(crate) fn of(status: u16, body: Bytes) -> Answer {
        Answer { status, body, headers: Vec::new(), code: None, waited: Duration::ZERO, malformed: None, room: None }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Answer {
        self.headers.push((name, value));
        self
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let malformed = refusal.is_malformed().then(|| refusal.message.clone());
        let Refusal { code, message } = refusal;
        let body = ErrorBody { error: Problem { code, message } };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let answer = Answer { code: Some(code), malformed, ..Answer::of(code.status(), Bytes::from(body)) };
        match code.status() {
            503 => answer.with_header("retry-after", RETRY_SECONDS.to_string()),
            _ => answer,
        }
    }
}
