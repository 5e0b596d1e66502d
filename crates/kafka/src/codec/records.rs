//! The records field of a Fetch response: batches back to back, in as many parts as they were read in.
//!
//! They are not copied into the response: it is sent in parts, and parts that lie in files go from there.

use super::decode_error::DecodeError;
use super::primitive::{Form, Nullable, Wire};
use super::reader::Reader;
use super::writer::Writer;
use bytes::Bytes;
use gateway::Output;

#[cfg(test)]
use super::sample::Seed;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The parts, in order.
    pub parts: Vec<Output>,
}

impl Records {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Output::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in memory, as one: all of them in what was received.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let mut parts = self.parts.into_iter().filter_map(|part| match part {
            Output::Bytes(bytes) => Some(bytes),
            Output::File(_) => None,
        });
        let first = parts.next().unwrap_or_default();
        parts.fold(first, |all, part| [&all[..], &part].concat().into())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records { parts: vec![Output::Bytes(bytes)] }
    }
}

/// By their bytes in memory: for tests, which read what was written.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &Records| {
            let part = |part: &Output| if let Output::Bytes(bytes) = part { bytes.clone() } else { Bytes::new() };
            records.parts.iter().flat_map(part).collect::<Vec<u8>>()
        };
        self.len() == other.len() && bytes(self) == bytes(other)
    }
}

impl Eq for Records {}

impl Wire for Records {
    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Bytes::read(reader, form).map(Records::from)
    }

    fn write(&self, writer: &mut Writer<'_>, form: Form) {
        Self::write_nullable(Some(self), writer, form);
    }

    #[cfg(test)]
    fn sample(seed: &mut Seed, form: Form) -> Self {
        Bytes::sample(seed, form).into()
    }
}

impl Nullable for Records {
    fn read_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(reader, form)?.map(Records::from))
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>, form: Form) {
        writer.length(value.map(Records::len), form.flexible);
        value.into_iter().flat_map(|records| &records.parts).for_each(|part| writer.part(part));
    }
}
