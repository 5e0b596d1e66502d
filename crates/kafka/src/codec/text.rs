//! Text on the wire.

use super::decode_error::Fault;
use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;
use std::ops::Deref;

/// UTF-8 text of at most [`Text::MAX`] bytes. Decoded text shares the memory of its frame; cloning
/// does not copy. What outlives the request is better copied, by `Text::from(text.as_str())`, for it
/// keeps the whole frame in memory otherwise.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(ByteString);

impl Text {
    /// The longest text on the wire, in bytes: what the signed 16-bit length of the older encoding
    /// holds. Kafka holds the newer encoding to it too.
    pub const MAX: usize = i16::MAX as usize;

    /// Takes `bytes` as text, without copying them.
    ///
    /// # Errors
    /// [`Fault::TextTooLong`] and [`Fault::InvalidUtf8`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Fault> {
        if bytes.len() > Self::MAX {
            return Err(Fault::TextTooLong(bytes.len()));
        }
        ByteString::try_from(bytes).map(Text).map_err(|_| Fault::InvalidUtf8)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Cuts what is beyond [`Text::MAX`], at the end of a character. The names of the broker are far
/// shorter, so only a runaway error message is ever cut, and the encoder need not be able to fail.
impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(ByteString::from(&text[..text.floor_char_boundary(Text::MAX)]))
    }
}

/// Cuts what is beyond [`Text::MAX`], as `From<&str>` does.
impl From<String> for Text {
    fn from(mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(Text::MAX));
        Text(ByteString::from(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_than_the_wire_can_carry() {
        assert_eq!(Text::from_bytes(Bytes::from(vec![b'a'; Text::MAX + 1])), Err(Fault::TextTooLong(Text::MAX + 1)));
        assert_eq!(Text::from_bytes(Bytes::from_static(b"\xff")), Err(Fault::InvalidUtf8));
        // The character of two bytes that straddles the limit goes as a whole.
        let long = format!("{}é", "a".repeat(Text::MAX - 1));
        assert_eq!(Text::from(long.as_str()).len(), Text::MAX - 1);
        assert_eq!(Text::from(long).len(), Text::MAX - 1);
    }
}
