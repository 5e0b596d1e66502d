//! Why bytes are not what they were taken for, and where.

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The value needs more bytes than there are.
    #[error("truncated: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes the value needs.
        wanted: usize,
        /// Bytes that remain.
        left: usize,
    },
    /// A count of elements that the remaining bytes could not hold, were each as small as can be.
    #[error("a count of {count} cannot fit in {left} bytes")]
    CountTooLarge {
        /// What the bytes claim.
        count: u64,
        /// Bytes that remain.
        left: usize,
    },
    /// More elements in the arrays of a message than there is memory for.
    #[error("{count} elements, {left} more are allowed in one request")]
    TooManyParts {
        /// Elements of the array.
        count: usize,
        /// As many as may still come.
        left: usize,
    },
    /// A variable-length integer that does not end, or does not fit, within its 32 or 64 bits.
    #[error("variable-length integer out of range")]
    InvalidVarint,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// Text longer than [`Text::MAX`](super::text::Text::MAX).
    #[error("text of {0} bytes is too long")]
    TextTooLong(usize),
    /// A null where this version has none.
    #[error("null is not allowed here")]
    NullNotAllowed,
    /// Bytes after the end of the value.
    #[error("{0} bytes after the end")]
    TrailingBytes(usize),
    /// A version outside the range that the message is declared for.
    #[error("version {0} is not supported")]
    UnsupportedVersion(i16),
}

/// A [`Fault`] and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, in {place} at byte {at}")]
pub struct DecodeError {
    /// What is wrong.
    pub fault: Fault,
    /// Bytes read before the value at fault, from the start of what the reader was given.
    pub at: usize,
    /// The innermost `Struct.field` being read; empty outside of any.
    pub place: &'static str,
}

impl DecodeError {
    pub(crate) fn new(fault: Fault, at: usize) -> Self {
        DecodeError { fault, at, place: "" }
    }

    /// Names the place, unless something further inside already did.
    pub(crate) fn within(mut self, place: &'static str) -> Self {
        if self.place.is_empty() {
            self.place = place;
        }
        self
    }
}
