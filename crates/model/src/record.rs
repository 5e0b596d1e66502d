//! One message in our compact form: what every protocol but Kafka writes.
//!
//! Follows the prefix that all pieces share (see [`crate::piece`]); drawn in docs/formats/piece.md:
//!
//! ```text
//! 21  u8      flags: 1 key, 2 message id, 4 expiry, 8 priority, 16 headers, 32 properties
//! 22  i64 BE  timestamp, milliseconds
//! 30  key         varint length, bytes          when flag 1
//!     message id  varint length, bytes          when flag 2
//!     expiry      i64 BE, milliseconds          when flag 4
//!     priority    u8                            when flag 8
//!     headers     varint count, then name and value, each varint length and bytes   when flag 16
//!     properties  u8 protocol, varint length, bytes in that protocol's own form     when flag 32
//!     value       the rest
//! ```

use crate::checksum::crc32c;
use crate::limit;
use crate::piece::{LENGTH_END, MAGIC_MESSAGE, MESSAGE_HEAD_BYTES, PREFIX_BYTES};
use crate::time::Timestamp;
use crate::wire::{Input, WireError, put_varint};

const KEY: u8 = 1;
const MESSAGE_ID: u8 = 2;
const EXPIRY: u8 = 4;
const PRIORITY: u8 = 8;
const HEADERS: u8 = 16;
const PROPERTIES: u8 = 32;
const ALL: u8 = 63;

/// A message, borrowing from the bytes it was read from or will be written from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// What orders, compacts or groups it.
    pub key: Option<&'a [u8]>,
    /// What recognises a repeated one.
    pub message_id: Option<&'a [u8]>,
    /// When it is worthless.
    pub expiry: Option<Timestamp>,
    /// Its priority level; absent is the lowest.
    pub priority: Option<u8>,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Name and value, in order, names may repeat.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// The protocol that wrote it and that protocol's own properties, byte for byte.
    pub properties: Option<(u8, &'a [u8])>,
    /// The body.
    pub value: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message as a piece, with base offset and epoch zero until it is sequenced.
    ///
    /// # Errors
    /// When it would be larger than any stream accepts.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = vec![0; PREFIX_BYTES];
        out.push(self.flags());
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        let put = |bytes: &[u8], out: &mut Vec<u8>| {
            put_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        };
        if let Some(key) = self.key {
            put(key, &mut out);
        }
        if let Some(id) = self.message_id {
            put(id, &mut out);
        }
        if let Some(expiry) = self.expiry {
            out.extend_from_slice(&expiry.0.to_be_bytes());
        }
        if let Some(priority) = self.priority {
            out.push(priority);
        }
        if !self.headers.is_empty() {
            put_varint(self.headers.len() as u64, &mut out);
            for (name, value) in &self.headers {
                put(name, &mut out);
                put(value, &mut out);
            }
        }
        if let Some((protocol, bytes)) = self.properties {
            out.push(protocol);
            put(bytes, &mut out);
        }
        out.extend_from_slice(self.value);
        if out.len() > limit::PIECE_BYTES_MAX {
            return Err(WireError::Invalid("message larger than any stream accepts"));
        }
        let length = (out.len() - LENGTH_END) as u32;
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[16] = MAGIC_MESSAGE;
        let crc = crc32c(&out[PREFIX_BYTES..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(out)
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        flag(self.key.is_some(), KEY)
            | flag(self.message_id.is_some(), MESSAGE_ID)
            | flag(self.expiry.is_some(), EXPIRY)
            | flag(self.priority.is_some(), PRIORITY)
            | flag(!self.headers.is_empty(), HEADERS)
            | flag(self.properties.is_some(), PROPERTIES)
    }

    /// Reads the message that the one piece in `bytes` is. The checksum is not verified.
    ///
    /// # Errors
    /// When the bytes are not a message.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() < MESSAGE_HEAD_BYTES || bytes[16] != MAGIC_MESSAGE {
            return Err(WireError::Invalid("not a message"));
        }
        let mut input = Input::new(&bytes[PREFIX_BYTES..]);
        let [flags] = input.array()?;
        if flags & !ALL != 0 {
            return Err(WireError::Tag { what: "message flags", tag: flags.into() });
        }
        let mut message = Message { timestamp: Timestamp(i64::from_be_bytes(input.array()?)), ..Message::default() };
        fn field<'a>(input: &mut Input<'a>) -> Result<&'a [u8], WireError> {
            let len = input.count()?;
            input.bytes(len)
        }
        if flags & KEY != 0 {
            message.key = Some(field(&mut input)?);
        }
        if flags & MESSAGE_ID != 0 {
            message.message_id = Some(field(&mut input)?);
        }
        if flags & EXPIRY != 0 {
            message.expiry = Some(Timestamp(i64::from_be_bytes(input.array()?)));
        }
        if flags & PRIORITY != 0 {
            let [priority] = input.array()?;
            message.priority = Some(priority);
        }
        if flags & HEADERS != 0 {
            for _ in 0..input.count()? {
                message.headers.push((field(&mut input)?, field(&mut input)?));
            }
        }
        if flags & PROPERTIES != 0 {
            let [protocol] = input.array()?;
            message.properties = Some((protocol, field(&mut input)?));
        }
        let left = input.left();
        message.value = input.bytes(left)?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece;
    use proptest::prelude::*;

    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<u8>, Vec<(Vec<u8>, Vec<u8>)>);

    fn blob() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..40)
    }

    proptest! {
        #[test]
        fn round_trips(parts in (proptest::option::of(blob()), proptest::option::of(blob()), any::<Option<i64>>(),
                                 any::<Option<u8>>(), proptest::collection::vec((blob(), blob()), 0..4)),
                       properties in proptest::option::of((any::<u8>(), blob())), value in blob(), at: i64) {
            let (key, id, expiry, priority, headers): Parts = parts;
            let message = Message {
                key: key.as_deref(),
                message_id: id.as_deref(),
                expiry: expiry.map(Timestamp),
                priority,
                timestamp: Timestamp(at),
                headers: headers.iter().map(|(n, v)| (&n[..], &v[..])).collect(),
                properties: properties.as_ref().map(|(p, b)| (*p, &b[..])),
                value: &value,
            };
            let bytes = message.encode().unwrap();
            piece::verify(&bytes).unwrap();
            let head = piece::PieceHead::parse(&bytes).unwrap();
            prop_assert_eq!((head.form, head.count, head.bytes), (piece::Form::Message, 1, bytes.len()));
            prop_assert_eq!(head.max_timestamp, Timestamp(at));
            prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
        }

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if bytes.len() > 16 { bytes[16] = MAGIC_MESSAGE; }
            let _ = Message::decode(&bytes);
        }
    }
}
