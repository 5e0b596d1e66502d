//! The types that the fields of messages have, and the encoding of each.
//!
//! | type | older versions | flexible versions (KIP-482) |
//! |---|---|---|
//! | `bool`, `i8` .. `i64`, `Uuid` | fixed width, big-endian | the same |
//! | `Text` | i16 length, -1 null | unsigned varint of length + 1, 0 null |
//! | `Bytes` | i32 length, -1 null | unsigned varint of length + 1, 0 null |
//! | `Vec<T>` | i32 count, -1 null | unsigned varint of count + 1, 0 null |
//! | struct | its fields | its fields, then its tagged fields |
//! | `Option<struct>` | i8, negative null | the same |
//!
//! Record batches travel as `Option<Bytes>` and are read by [`batch`](super::batch).

use super::decode_error::{DecodeError, Fault};
use super::reader::Reader;
use super::text::Text;
use super::writer::Writer;
use bytes::Bytes;

#[cfg(test)]
use super::sample::Seed;

/// 16 bytes that identify something, such as a topic (KIP-516).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zero: how the wire says that there is none.
    pub const ZERO: Uuid = Uuid([0; 16]);
}

/// How a field is encoded, other than by its own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The version of the API.
    pub(crate) version: i16,
    /// Whether that version is flexible.
    pub(crate) flexible: bool,
}

/// A value with a form on the wire.
pub(crate) trait Wire: Sized {
    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError>;
    fn write(&self, writer: &mut Writer<'_>, form: Form);

    /// Tells of every error code in it, and that there is none where there is none. `field` is what it is
    /// called where it stands.
    fn errors(&self, _field: &'static str, _note: &mut dyn FnMut(i16)) {}

    /// An arbitrary value that `form` can carry.
    #[cfg(test)]
    fn sample(seed: &mut Seed, form: Form) -> Self;
}

/// A value whose form on the wire has room for null.
pub(crate) trait Nullable: Wire {
    fn read_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError>;
    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>, form: Form);
}

/// Elements an array has room for before the first of them is read. A count is cheap to claim; the
/// rest of the room comes as elements do.
const FIRST_CAPACITY: usize = 64;

macro_rules! fixed_width {
    ($($type:ty: $method:ident),*) => {$(
        impl Wire for $type {
            fn read(reader: &mut Reader, _: Form) -> Result<Self, DecodeError> {
                reader.$method()
            }

            fn write(&self, writer: &mut Writer<'_>, _: Form) {
                writer.$method(*self);
            }

            #[cfg(test)]
            fn sample(seed: &mut Seed, _: Form) -> Self {
                seed.$method()
            }
        }
    )*};
}

fixed_width!(bool: bool, i8: i8, i32: i32, i64: i64, Uuid: uuid);

impl Wire for i16 {
    fn read(reader: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        reader.i16()
    }

    fn write(&self, writer: &mut Writer<'_>, _: Form) {
        writer.i16(*self);
    }

    fn errors(&self, field: &'static str, note: &mut dyn FnMut(i16)) {
        if field == "error_code" {
            note(*self);
        }
    }

    #[cfg(test)]
    fn sample(seed: &mut Seed, _: Form) -> Self {
        seed.i16()
    }
}

/// A type with a null, read and written without it. An unexpected null is the caller's to place.
macro_rules! never_null {
    () => {
        fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
            let at = reader.position();
            Self::read_nullable(reader, form)?.ok_or_else(|| DecodeError::new(Fault::NullNotAllowed, at))
        }

        fn write(&self, writer: &mut Writer<'_>, form: Form) {
            Self::write_nullable(Some(self), writer, form);
        }
    };
}

impl Wire for Text {
    never_null!();

    #[cfg(test)]
    fn sample(seed: &mut Seed, _: Form) -> Self {
        seed.text()
    }
}

impl Nullable for Text {
    fn read_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        reader.nullable_text(form.flexible)
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>, form: Form) {
        writer.nullable_text(value, form.flexible);
    }
}

impl Wire for Bytes {
    never_null!();

    #[cfg(test)]
    fn sample(seed: &mut Seed, _: Form) -> Self {
        seed.bytes()
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        reader.nullable_bytes(form.flexible)
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>, form: Form) {
        writer.nullable_bytes(value.map(Bytes::as_ref), form.flexible);
    }
}

impl<T: Wire> Wire for Vec<T> {
    never_null!();

    fn errors(&self, field: &'static str, note: &mut dyn FnMut(i16)) {
        self.iter().for_each(|element| element.errors(field, note));
    }

    #[cfg(test)]
    fn sample(seed: &mut Seed, form: Form) -> Self {
        (0..seed.below(4)).map(|_| T::sample(seed, form)).collect()
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.nullable_count(form.flexible)? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count.min(FIRST_CAPACITY));
        for _ in 0..count {
            elements.push(T::read(reader, form)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>, form: Form) {
        writer.length(value.map(Vec::len), form.flexible);
        for element in value.into_iter().flatten() {
            element.write(writer, form);
        }
    }
}

impl<T: Nullable> Wire for Option<T> {
    fn read(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        T::read_nullable(reader, form)
    }

    fn write(&self, writer: &mut Writer<'_>, form: Form) {
        T::write_nullable(self.as_ref(), writer, form);
    }

    fn errors(&self, field: &'static str, note: &mut dyn FnMut(i16)) {
        self.iter().for_each(|value| value.errors(field, note));
    }

    #[cfg(test)]
    fn sample(seed: &mut Seed, form: Form) -> Self {
        seed.bool().then(|| T::sample(seed, form))
    }
}
