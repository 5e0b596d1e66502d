//! Bytes being written. Writing cannot fail: a value that the wire cannot carry cannot be built, and
//! what would not fit in a frame is refused by [`frame`](super::frame) as a whole.

use super::primitive::Uuid;
use super::text::Text;
use bytes::{BufMut, BytesMut};
use gateway::Output;

/// Appends Kafka's primitive types to a buffer. Where a method takes `flexible`, true is the compact
/// encoding, as for [`Reader`](super::reader::Reader).
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    /// What belongs between the bytes of `out` and is not copied: behind how many of them, and what.
    /// Without it everything is copied.
    parts: Option<&'a mut Vec<(usize, Output)>>,
}

/// Bytes of a part that are copied rather than sent by themselves: a part in memory keeps the whole log
/// entry there that it is of, which is a multiple of this.
const COPIED_BYTES_MAX: usize = 64 * 1024;

macro_rules! fixed_width {
    ($($name:ident: $put:ident),*) => {
        /// Integers and floats of fixed width, big-endian.
        #[allow(missing_docs, reason = "each writes the type it is named after")]
        impl Writer<'_> {
            $(pub fn $name(&mut self, value: $name) {
                self.out.$put(value);
            })*
        }
    };
}

fixed_width!(
    i8: put_i8, i16: put_i16, i32: put_i32, i64: put_i64, u16: put_u16, u32: put_u32, f64: put_f64
);

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Writer { out, parts: None }
    }

    /// Appends to `out` what is small, and to `parts` what is large, each with its place: behind so many
    /// bytes of `out`.
    pub fn in_parts(out: &'a mut BytesMut, parts: &'a mut Vec<(usize, Output)>) -> Self {
        Writer { out, parts: Some(parts) }
    }

    /// What may be large, or not even in memory.
    pub fn part(&mut self, part: &Output) {
        match (part, &mut self.parts) {
            (Output::Bytes(bytes), _) if bytes.len() <= COPIED_BYTES_MAX => self.out.put_slice(bytes),
            (part, Some(parts)) => parts.push((self.out.len(), part.clone())),
            (Output::Bytes(bytes), None) => self.out.put_slice(bytes),
            // Only what is sent is made of files.
            (Output::File(_), None) => {}
        }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// A boolean, as 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    /// A UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.out.put_slice(&value.0);
    }

    /// Unsigned LEB128, of 1 to 5 bytes.
    pub fn unsigned_varint(&mut self, value: u32) {
        self.unsigned_varlong(u64::from(value));
    }

    /// Unsigned LEB128, of 1 to 10 bytes.
    pub fn unsigned_varlong(&mut self, mut value: u64) {
        while value > 0x7f {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    /// LEB128 of the zigzag of `value`.
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint((value << 1) as u32 ^ (value >> 31) as u32);
    }

    /// LEB128 of the zigzag of `value`.
    pub fn varlong(&mut self, value: i64) {
        self.unsigned_varlong((value << 1) as u64 ^ (value >> 63) as u64);
    }

    /// Text, or null.
    pub fn nullable_text(&mut self, text: Option<&Text>, flexible: bool) {
        let text = text.map(Text::as_str);
        match (text, flexible) {
            (text, true) => self.length(text.map(str::len), true),
            (Some(text), false) => self.i16(text.len() as i16), // at most Text::MAX
            (None, false) => self.i16(-1),
        }
        self.raw(text.unwrap_or_default().as_bytes());
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, bytes: Option<&[u8]>, flexible: bool) {
        self.length(bytes.map(<[u8]>::len), flexible);
        self.raw(bytes.unwrap_or_default());
    }

    /// The number of elements of an array, or the length of bytes, or null.
    pub fn length(&mut self, length: Option<usize>, flexible: bool) {
        // A length that the casts would cut belongs to bytes that no frame can hold.
        match (length, flexible) {
            (Some(length), true) => self.unsigned_varint(length as u32 + 1),
            (None, true) => self.unsigned_varint(0),
            (Some(length), false) => self.i32(length as i32),
            (None, false) => self.i32(-1),
        }
    }

    /// One tagged field. The caller writes how many there are first, and them in order of their tags.
    pub fn tagged(&mut self, tag: u32, value: impl FnOnce(&mut Writer<'_>)) {
        // Its size stands before it and takes as many bytes as it takes.
        let mut bytes = BytesMut::new();
        value(&mut Writer::new(&mut bytes));
        self.unsigned_varint(tag);
        self.unsigned_varint(bytes.len() as u32);
        self.raw(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Reader {
        let mut bytes = BytesMut::new();
        write(&mut Writer::new(&mut bytes));
        Reader::new(bytes.freeze())
    }

    proptest! {
        #[test]
        fn numbers_come_back(bits: u64, shift in 0_u32..64) {
            let value = bits >> shift;
            let (long, int) = (value as i64, value as i32);
            prop_assert_eq!(written(|w| w.unsigned_varlong(value)).unsigned_varlong(), Ok(value));
            prop_assert_eq!(written(|w| w.unsigned_varint(int as u32)).unsigned_varint(), Ok(int as u32));
            for (long, int) in [(long, int), (!long, !int)] {
                prop_assert_eq!(written(|w| w.varlong(long)).varlong(), Ok(long));
                prop_assert_eq!(written(|w| w.varint(int)).varint(), Ok(int));
                prop_assert_eq!(written(|w| w.i64(long)).i64(), Ok(long));
                prop_assert_eq!(written(|w| w.i32(int)).i32(), Ok(int));
            }
            prop_assert_eq!(written(|w| w.u16(value as u16)).u16(), Ok(value as u16));
            prop_assert_eq!(written(|w| w.u32(value as u32)).u32(), Ok(value as u32));
            prop_assert_eq!(written(|w| w.f64(value as f64)).f64(), Ok(value as f64));
        }
    }

    #[test]
    fn zigzag_matches_the_published_examples() {
        for (value, byte) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (63, 126), (-64, 127)] {
            assert_eq!(&written(|w| w.varint(value)).take(1).unwrap()[..], [byte]);
        }
    }
}
