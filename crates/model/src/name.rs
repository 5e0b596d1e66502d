//! Names of topics and queues.

use crate::limit;
use crate::wire::{Input, Wire, WireError};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A topic's or queue's name: 1 to [`limit::NAME_BYTES_MAX`] bytes of UTF-8 without control
/// characters. A protocol may allow fewer; names it cannot spell are hidden from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes.
    #[error("a name must not be empty")]
    Empty,
    /// Too many bytes.
    #[error("a name of {0} bytes is longer than {max}", max = limit::NAME_BYTES_MAX)]
    TooLong(usize),
    /// A control character.
    #[error("a name must not contain control characters")]
    Control,
}

impl Name {
    /// Checks and wraps `text`.
    ///
    /// # Errors
    /// When `text` is not a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > limit::NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Name(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Wire for Name {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.to_string().put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let text = String::take(input)?;
        Name::new(&text).map_err(|_| WireError::Invalid("not a name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_text() {
        assert!(Name::new("orders.eu/2026 ü").is_ok());
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(Name::new("a\nb"), Err(NameError::Control));
    }
}
