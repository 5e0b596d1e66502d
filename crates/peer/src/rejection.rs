//! A handler's refusal, as it travels.

use crate::limit::REJECTION_TEXT_BYTES_MAX;
use bytes::Bytes;
use std::fmt;

/// What a handler says instead of an answer. For what concerns the connection and the dispatch; the
/// errors of the caller's own operations belong into its payloads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Rejection {
    /// What kind, for programs.
    pub code: RejectionCode,
    /// What happened, for the log.
    pub text: String,
}

/// The kinds of rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionCode {
    /// Nobody listens on the channel. Nothing was done.
    NoChannel,
    /// There is no room for the request. Nothing was done.
    Busy,
    /// The request cannot be read. Nothing was done.
    Malformed,
    /// It went wrong half-way.
    Failed,
    /// The handler took longer than its node allows.
    TimedOut,
}

const CODES: [(RejectionCode, u16, &str); 5] = [
    (RejectionCode::NoChannel, 1, "no such channel"),
    (RejectionCode::Busy, 2, "busy"),
    (RejectionCode::Malformed, 3, "malformed request"),
    (RejectionCode::Failed, 4, "failed"),
    (RejectionCode::TimedOut, 5, "took too long"),
];

impl RejectionCode {
    /// Whether the request may have been carried out all the same.
    #[must_use]
    pub fn may_have_happened(self) -> bool {
        matches!(self, RejectionCode::Failed | RejectionCode::TimedOut)
    }

    fn row(self) -> (u16, &'static str) {
        CODES.iter().find(|(code, ..)| *code == self).map_or((4, "failed"), |(_, number, name)| (*number, name))
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

impl Rejection {
    /// A rejection.
    #[must_use]
    pub fn new(code: RejectionCode, text: impl Into<String>) -> Self {
        Rejection { code, text: text.into() }
    }

    /// The payload of an error frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let text = &self.text[..self.text.floor_char_boundary(REJECTION_TEXT_BYTES_MAX)];
        [&self.code.row().0.to_le_bytes(), text.as_bytes()].concat().into()
    }

    /// Reads an error frame's payload. A code that only a newer version knows is read as
    /// [`RejectionCode::Failed`], the one that promises least.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Rejection> {
        let (code, text) = payload.split_first_chunk::<2>()?;
        if text.len() > REJECTION_TEXT_BYTES_MAX {
            return None;
        }
        let number = u16::from_le_bytes(*code);
        let code = CODES.iter().find(|(_, n, _)| *n == number).map_or(RejectionCode::Failed, |(code, ..)| *code);
        Some(Rejection { code, text: std::str::from_utf8(text).ok()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for (code, ..) in CODES {
            let rejection = Rejection::new(code, "because");
            assert_eq!(Rejection::decode(&rejection.encode()), Some(rejection));
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let sent = Rejection::new(RejectionCode::Failed, "é".repeat(REJECTION_TEXT_BYTES_MAX) + "x");
        let cut = Rejection::decode(&sent.encode()).unwrap();
        assert_eq!(cut.text, "é".repeat(REJECTION_TEXT_BYTES_MAX / 2));
    }

    #[test]
    fn unknown_codes_promise_least_and_garbage_is_refused() {
        assert_eq!(Rejection::decode(b"\xff\xffnew"), Some(Rejection::new(RejectionCode::Failed, "new")));
        assert_eq!(Rejection::decode(b"\x01"), None);
        assert_eq!(Rejection::decode(b"\x01\x00\xff"), None);
        assert_eq!(Rejection::decode(&[0; 2 + REJECTION_TEXT_BYTES_MAX + 1]), None);
    }
}
