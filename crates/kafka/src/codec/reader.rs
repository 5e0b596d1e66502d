//! Bytes being read. Trusts nothing: no length or count is acted on before it is held against the
//! bytes that remain.

use super::decode_error::{DecodeError, Fault};
use super::primitive::Uuid;
use super::text::Text;
use bytes::{Buf, Bytes};
use model::limit;

/// Reads Kafka's primitive types off the front of some bytes. What it hands out as [`Bytes`] or
/// [`Text`] shares their memory.
///
/// Where a method takes `flexible`, true is the compact encoding of KIP-482: lengths and counts as
/// unsigned varints of one more than the value, 0 for null. A negative length of the older encoding
/// is null, whichever it is, as in Kafka.
#[derive(Clone, Debug)]
pub struct Reader {
    rest: Bytes,
    at: usize,
    /// Elements of arrays that may still be read.
    parts: usize,
}

impl Reader {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Reader { rest: bytes, at: 0, parts: limit::REQUEST_PARTS_MAX }
    }

    /// As many elements of arrays may be read, all of them together.
    #[must_use]
    pub fn with_parts(self, parts: usize) -> Self {
        Reader { parts, ..self }
    }

    /// Elements of arrays that may still be read.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Fault::TrailingBytes`] if anything remains.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(Fault::TrailingBytes(self.rest.len()))) }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.rest.len() {
            return Err(self.error(Fault::Truncated { wanted: length, left: self.rest.len() }));
        }
        self.at += length;
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn error(&self, fault: Fault) -> DecodeError {
        DecodeError::new(fault, self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.first_chunk::<N>() {
            Some(chunk) => {
                let chunk = *chunk;
                self.rest.advance(N);
                self.at += N;
                Ok(chunk)
            }
            None => Err(self.error(Fault::Truncated { wanted: N, left: self.rest.len() })),
        }
    }
}

macro_rules! fixed_width {
    ($($name:ident),*) => {
        /// Integers and floats of fixed width, big-endian. All fail with [`Fault::Truncated`] only.
        #[allow(missing_docs, reason = "each reads the type it is named after")]
        impl Reader {
            $(pub fn $name(&mut self) -> Result<$name, DecodeError> {
                self.array().map($name::from_be_bytes)
            })*
        }
    };
}

fixed_width!(i8, i16, i32, i64, u8, u16, u32, f64);

impl Reader {
    /// A boolean: any byte but 0 is true.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// A UUID.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid)
    }

    /// An unsigned LEB128 integer of at most 32 bits in at most 5 bytes.
    ///
    /// # Errors
    /// [`Fault::InvalidVarint`], [`Fault::Truncated`].
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let start = self.at;
        let value = self.leb128(5)?;
        u32::try_from(value).map_err(|_| DecodeError::new(Fault::InvalidVarint, start))
    }

    /// An unsigned LEB128 integer of at most 64 bits in at most 10 bytes.
    ///
    /// # Errors
    /// [`Fault::InvalidVarint`], [`Fault::Truncated`].
    pub fn unsigned_varlong(&mut self) -> Result<u64, DecodeError> {
        self.leb128(10)
    }

    /// A signed integer of 32 bits: LEB128 of its zigzag.
    ///
    /// # Errors
    /// [`Fault::InvalidVarint`], [`Fault::Truncated`].
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let zigzag = self.unsigned_varint()?;
        Ok((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
    }

    /// A signed integer of 64 bits: LEB128 of its zigzag.
    ///
    /// # Errors
    /// [`Fault::InvalidVarint`], [`Fault::Truncated`].
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let zigzag = self.unsigned_varlong()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    // Padding with zero groups is let through within the longest form, as Kafka does.
    fn leb128(&mut self, longest: u32) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0_u64;
        for index in 0..longest {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index;
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(Fault::InvalidVarint, start))
    }

    /// Text, or null.
    ///
    /// # Errors
    /// Those of a length, [`Fault::TextTooLong`], [`Fault::InvalidUtf8`].
    pub fn nullable_text(&mut self, flexible: bool) -> Result<Option<Text>, DecodeError> {
        let length = if flexible { self.compact_length()? } else { usize::try_from(self.i16()?).ok() };
        let Some(length) = length else { return Ok(None) };
        let start = self.at;
        let text = Text::from_bytes(self.take(length)?);
        text.map(Some).map_err(|fault| DecodeError::new(fault, start))
    }

    /// Bytes, or null.
    ///
    /// # Errors
    /// Those of a length.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// The number of elements of an array, or null. No element is smaller than one byte.
    ///
    /// # Errors
    /// [`Fault::CountTooLarge`], [`Fault::TooManyParts`], and those of a length.
    pub fn nullable_count(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        let count = self.bounded(count, 1)?;
        let Some(left) = self.parts.checked_sub(count) else {
            return Err(self.error(Fault::TooManyParts { count, left: self.parts }));
        };
        self.parts = left;
        Ok(Some(count))
    }

    /// The number of tagged fields that follow. Each takes a tag and a size at least.
    ///
    /// # Errors
    /// [`Fault::CountTooLarge`], and those of a varint.
    pub fn tag_count(&mut self) -> Result<usize, DecodeError> {
        let count = self.unsigned_varint()? as usize;
        self.bounded(count, 2)
    }

    /// One tagged field (KIP-482): its tag, and a reader of exactly its bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`], and those of a varint.
    pub fn tagged(&mut self) -> Result<(u32, Reader), DecodeError> {
        let tag = self.unsigned_varint()?;
        let size = self.unsigned_varint()? as usize;
        let at = self.at;
        Ok((tag, Reader { rest: self.take(size)?, at, parts: self.parts }))
    }

    /// Steps over tagged fields, none of which is known to the caller.
    ///
    /// # Errors
    /// Those of [`Reader::tag_count`] and [`Reader::tagged`].
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count()? {
            self.tagged()?;
        }
        Ok(())
    }

    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn bounded(&self, count: usize, smallest: usize) -> Result<usize, DecodeError> {
        if count > self.rest.len() / smallest {
            return Err(self.error(Fault::CountTooLarge { count: count as u64, left: self.rest.len() }));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn refuses_varints_that_do_not_fit() {
        assert_eq!(reader(b"\xff\xff\xff\xff\x0f").unsigned_varint(), Ok(u32::MAX));
        for bytes in [b"\xff\xff\xff\xff\x1f".as_slice(), b"\x80\x80\x80\x80\x80\x00"] {
            assert_eq!(reader(bytes).unsigned_varint().unwrap_err().fault, Fault::InvalidVarint);
        }
        let most = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(reader(most).unsigned_varlong(), Ok(u64::MAX));
        let more = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert_eq!(reader(more).unsigned_varlong().unwrap_err().fault, Fault::InvalidVarint);
        assert_eq!(reader(b"\x80").varint().unwrap_err().fault, Fault::Truncated { wanted: 1, left: 0 });
    }

    #[test]
    fn refuses_counts_beyond_the_bytes() {
        let error = reader(b"\x7f\xff\xff\xff\0\0").nullable_count(false).unwrap_err();
        assert_eq!(error.fault, Fault::CountTooLarge { count: 0x7fff_ffff, left: 2 });
        let error = reader(b"\xff\xff\xff\xff\x0f\0").nullable_count(true).unwrap_err();
        assert_eq!(error.fault, Fault::CountTooLarge { count: 0xffff_fffe, left: 1 });
        let error = reader(b"\x02\0\0\0").skip_tags().unwrap_err();
        assert_eq!(error.fault, Fault::CountTooLarge { count: 2, left: 3 });
        let error = reader(b"\x7f\xff\xff\xff\0").nullable_bytes(false).unwrap_err();
        assert_eq!(error.fault, Fault::Truncated { wanted: 0x7fff_ffff, left: 1 });
    }

    #[test]
    fn says_where() {
        let mut reader = reader(b"\0\x05ab");
        assert_eq!(reader.nullable_text(false).unwrap_err().at, 2);
    }
}
