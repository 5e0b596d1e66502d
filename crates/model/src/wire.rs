//! Our own binary form, for commands in the log, objects in checkpoints and frames between nodes.
//!
//! Little-endian fixed-width integers; counts and lengths as unsigned LEB128; enums by an explicit
//! tag that is never reused. [`wire_struct!`] and [`wire_enum!`] declare a type and its form in one
//! place. Decoding trusts nothing: a count is checked against the bytes that remain before anything
//! is allocated, and nesting is bounded by the types themselves, none of which is recursive.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Why bytes are not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The value needs more bytes than there are.
    #[error("truncated: {wanted} more bytes wanted, {left} left")]
    Truncated {
        /// Bytes the next field needs.
        wanted: usize,
        /// Bytes that remain.
        left: usize,
    },
    /// A count larger than the remaining bytes could hold.
    #[error("a count of {count} cannot fit in {left} bytes")]
    Count {
        /// What the bytes claim.
        count: u64,
        /// Bytes that remain.
        left: usize,
    },
    /// A tag that this version does not know.
    #[error("unknown tag {tag} for {what}")]
    Tag {
        /// The type being read.
        what: &'static str,
        /// The tag found.
        tag: u64,
    },
    /// A variable-length integer of more than 64 bits.
    #[error("variable-length integer too long")]
    Varint,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// Bytes after the end of the value.
    #[error("{0} bytes after the end of the value")]
    Trailing(usize),
    /// The fields are well formed, their values are not allowed together.
    #[error("invalid value: {0}")]
    Invalid(&'static str),
}

/// Bytes being read.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(WireError::Truncated { wanted: count, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(WireError::Truncated { wanted: N, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// An unsigned LEB128 integer.
    ///
    /// # Errors
    /// When truncated or longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    /// A count of things that take at least one byte each.
    ///
    /// # Errors
    /// When the remaining bytes could not hold as many.
    pub fn count(&mut self) -> Result<usize, WireError> {
        let count = self.varint()?;
        match usize::try_from(count) {
            Ok(n) if n <= self.rest.len() => Ok(n),
            _ => Err(WireError::Count { count, left: self.rest.len() }),
        }
    }

    /// Succeeds when everything has been read.
    ///
    /// # Errors
    /// When bytes remain.
    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }
}

/// Appends `value` as unsigned LEB128.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A value with a binary form.
pub trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads a value from the front of `input`.
    ///
    /// # Errors
    /// When the bytes are not such a value.
    fn take(input: &mut Input<'_>) -> Result<Self, WireError>;

    /// The value alone, as bytes.
    fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads a value that fills `bytes` exactly.
    ///
    /// # Errors
    /// When the bytes are not such a value, or more follow.
    fn from_wire(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(bytes);
        let value = Self::take(&mut input)?;
        input.end()?;
        Ok(value)
    }
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Wire for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
                Ok(<$ty>::from_le_bytes(input.array()?))
            }
        }
    )*};
}
integers!(u8 u16 u32 u64 u128 i16 i32 i64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(WireError::Tag { what: "bool", tag: tag.into() }),
        }
    }
}

impl Wire for () {
    fn put(&self, _out: &mut Vec<u8>) {}
    fn take(_input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(())
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let len = input.count()?;
        let text = std::str::from_utf8(input.bytes(len)?).map_err(|_| WireError::Utf8)?;
        Ok(text.to_owned())
    }
}

impl Wire for bytes::Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let len = input.count()?;
        Ok(bytes::Bytes::copy_from_slice(input.bytes(len)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.put(out);
            }
        }
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Wire> Wire for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(Arc::new(T::take(input)?))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        // Grows as items prove to be there: an item may be larger in memory than on the wire.
        let count = input.count()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let count = input.count()?;
        let mut map = BTreeMap::new();
        for _ in 0..count {
            let key = K::take(input)?;
            map.insert(key, V::take(input)?);
        }
        Ok(map)
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            #[allow(non_snake_case)]
            fn put(&self, out: &mut Vec<u8>) {
                let ($($name,)+) = self;
                $($name.put(out);)+
            }
            fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
                Ok(($($name::take(input)?,)+))
            }
        }
    )*};
}
tuples!((A)(A B)(A B C)(A B C D));

/// Declares a struct whose binary form is its fields in order.
///
/// ```
/// model::wire_struct! {
///     /// A place on a map.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Place { pub name: String, pub height: u32 }
/// }
/// # use model::Wire;
/// let place = Place { name: "K2".into(), height: 8611 };
/// assert_eq!(Place::from_wire(&place.to_wire()), Ok(place));
/// ```
#[macro_export]
macro_rules! wire_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $fvis:vis $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])* $vis struct $name { $($(#[$fmeta])* $fvis $field: $ty),* }
        impl $crate::wire::Wire for $name {
            #[allow(unused_variables)]
            fn put(&self, out: &mut Vec<u8>) { $($crate::wire::Wire::put(&self.$field, out);)* }
            #[allow(unused_variables)]
            fn take(input: &mut $crate::wire::Input<'_>) -> Result<Self, $crate::wire::WireError> {
                Ok($name { $($field: $crate::wire::Wire::take(input)?),* })
            }
        }
    };
}

/// Declares an enum whose binary form is a tag byte and the variant's fields in order. Tags are
/// written out because they are on disk: never renumber, never reuse.
///
/// ```
/// model::wire_enum! {
///     /// A move.
///     #[derive(Clone, Debug, PartialEq)]
///     pub enum Step { 1 = Stay, 3 = Go { north: u32, east: u32 }, 4 = To(String) }
/// }
/// # use model::Wire;
/// assert_eq!(Step::Stay.to_wire(), [1]);
/// assert_eq!(Step::from_wire(&[3, 1, 0, 0, 0, 2, 0, 0, 0]), Ok(Step::Go { north: 1, east: 2 }));
/// assert_eq!(Step::from_wire(&[4, 1, b'x']), Ok(Step::To("x".into())));
/// assert!(Step::from_wire(&[2]).is_err());
/// ```
#[macro_export]
macro_rules! wire_enum {
    // A name for the field of a variant without names: a pattern has to mention it to be repeated with it.
    (@bind $value:ident $inner:ty) => { $value };
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$vmeta:meta])* $tag:literal = $variant:ident $(($inner:ty))?
            $({ $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)? })?),* $(,)?
    }) => {
        $(#[$meta])* $vis enum $name { $($(#[$vmeta])* $variant $(($inner))? $({ $($(#[$fmeta])* $field: $ty),* })?),* }
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $(($crate::wire_enum!(@bind value $inner)))? $({ $($field),* })? => {
                        out.push($tag);
                        $(<$inner as $crate::wire::Wire>::put(value, out);)?
                        $($($crate::wire::Wire::put($field, out);)*)?
                    })*
                }
            }
            fn take(input: &mut $crate::wire::Input<'_>) -> Result<Self, $crate::wire::WireError> {
                match <u8 as $crate::wire::Wire>::take(input)? {
                    $($tag => Ok($name::$variant
                        $((<$inner as $crate::wire::Wire>::take(input)?))?
                        $({ $($field: $crate::wire::Wire::take(input)?),* })?),)*
                    tag => Err($crate::wire::WireError::Tag { what: stringify!($name), tag: tag.into() }),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Nested = (BTreeMap<String, Option<u32>>, Vec<i64>, bool);

    proptest! {
        #[test]
        fn what_is_put_is_taken(map in proptest::collection::btree_map(".*", any::<Option<u32>>(), 0..9),
                                list in proptest::collection::vec(any::<i64>(), 0..99), flag: bool) {
            let value: Nested = (map, list, flag);
            prop_assert_eq!(Nested::from_wire(&value.to_wire()), Ok(value));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Nested::from_wire(&bytes);
        }

        #[test]
        fn varints_round_trip(value: u64) {
            let mut out = Vec::new();
            put_varint(value, &mut out);
            prop_assert_eq!(Input::new(&out).varint(), Ok(value));
        }
    }

    #[test]
    fn a_large_count_is_refused_before_anything_is_allocated() {
        let mut bytes = Vec::new();
        put_varint(u64::MAX, &mut bytes);
        assert!(matches!(Vec::<u8>::from_wire(&bytes), Err(WireError::Count { .. })));
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        assert_eq!(Input::new(&[0xff; 10]).varint(), Err(WireError::Varint));
    }
}
