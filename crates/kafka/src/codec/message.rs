//! What every request and response is, and the notation they are declared in.
//!
//! A message is a struct whose fields come and go with the version of its API. The macro
//! `messages!` of this module turns one declaration into the struct and its codec. The notation:
//!
//! ```text
//! messages! {
//!     /// Docs.
//!     struct ThingRequest [api 99, versions 0..=4, flexible 3, response ThingResponse] {
//!         name: Text;                              // in all versions
//!         limit: i32 = -1, in 2..;                 // since version 2; -1 when not on the wire
//!         groups: Option<Vec<Part>>, null 1..;     // may be null since version 1
//!         cluster_id: Option<Text>, in 3.., tag 0; // a tagged field
//!     }
//!
//!     /// Docs.
//!     struct ThingResponse [answers ThingRequest] { ... }
//!
//!     /// Docs. A struct inside of one of the above.
//!     struct Part { ... }
//! }
//! ```
//!
//! Per field, in this order and all but the type optional:
//!
//! - `= default`: its value when it is not on the wire, for a tagged field also the value that is not
//!   sent. `Default::default()` unless stated, so null for every `Option`.
//! - `in range`: the versions it is on the wire in, all unless stated.
//! - `null range`: the versions in which an `Option` may be null, all unless stated. In the others
//!   `None` is written as the default of the type inside: empty text, an empty array.
//! - `tag number`: the field is tagged (KIP-482). Tagged fields stand in order of their tags.
//!
//! A field outside of its versions is neither read nor written, whatever its value. A bracket without
//! `flexible` means that no version is flexible. Types and their encodings: [`primitive`](super::primitive).

use super::decode_error::{DecodeError, Fault};
use super::primitive::{Form, Wire};
use super::reader::Reader;
use super::writer::Writer;

/// Versions of an API, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub min: i16,
    /// The newest.
    pub max: i16,
}

impl VersionRange {
    /// Whether `version` is one of them.
    #[must_use]
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Each of them, oldest first.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

/// A request or a response.
pub trait Message: Sized {
    /// The name of the schema in Kafka, such as `FetchRequest`.
    const NAME: &'static str;
    /// The versions it can be read and written in.
    const VERSIONS: VersionRange;
    /// The first flexible version; past every version if there is none.
    const FIRST_FLEXIBLE: i16;

    /// Reads one, leaving what follows it unread.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, or [`Fault::UnsupportedVersion`].
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes it. For a version outside of [`Message::VERSIONS`] the bytes mean nothing.
    fn encode(&self, writer: &mut Writer<'_>, version: i16);
}

/// A message that clients send.
pub trait Request: Message {
    /// The number of the API.
    const KEY: i16;
    /// The message that answers it, in the same version.
    type Response: Message;
}

/// The form that a message of type `M` has in `version`.
pub(crate) fn form<M: Message>(version: i16) -> Form {
    Form { version, flexible: version >= M::FIRST_FLEXIBLE }
}

pub(crate) fn decode<M: Message + Wire>(reader: &mut Reader, version: i16) -> Result<M, DecodeError> {
    if !M::VERSIONS.contains(version) {
        return Err(reader.error(Fault::UnsupportedVersion(version)).within(M::NAME));
    }
    M::read(reader, form::<M>(version))
}

/// Writes an `Option` in a version in which it may not be null.
pub(crate) fn write_present<T: Wire + Default>(value: &Option<T>, writer: &mut Writer<'_>, form: Form) {
    match value {
        Some(value) => value.write(writer, form),
        None => T::default().write(writer, form),
    }
}

macro_rules! messages {
    ($(
        $(#[$doc:meta])+
        struct $name:ident $([$($role:tt)+])? {$(
            $(#[$field_doc:meta])*
            $field:ident: $type:ty
                $(= $default:expr)? $(, in $versions:expr)? $(, null $null:expr)? $(, tag $tag:literal)?;
        )*}
    )+) => {$(
        // What is optional goes on in brackets, empty or not, so that it can be passed around whole.
        messages!(@structure [$(#[$doc])+] $name {$(
            [$(#[$field_doc])*] $field: $type, [$($default)?] [$($versions)?] [$($null)?] [$($tag)?];
        )*});
        $( messages!(@role $name $($role)+); )?
    )+};

    (@structure [$($doc:tt)+] $name:ident {$(
        [$($field_doc:tt)*] $field:ident: $type:ty, $default:tt $versions:tt $null:tt $tag:tt;
    )*}) => {
        $($doc)+
        #[allow(missing_docs, reason = "fields are named as in Kafka's schemas, which describe them")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($($field_doc)* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: messages!(@default $default),)* }
            }
        }

        impl $crate::codec::primitive::Wire for $name {
            fn read(
                reader: &mut $crate::codec::reader::Reader,
                form: $crate::codec::primitive::Form,
            ) -> Result<Self, $crate::codec::decode_error::DecodeError> {
                let mut this = Self::default();
                $(
                    messages!(@untagged $tag {
                        if messages!(@within $versions form) {
                            this.$field = messages!(@read $null reader, form).map_err(|error| {
                                error.within(concat!(stringify!($name), ".", stringify!($field)))
                            })?;
                        }
                    });
                )*
                let tags = if form.flexible { reader.tag_count()? } else { 0 };
                for _ in 0..tags {
                    #[allow(unused_variables, unused_mut, reason = "not every struct knows tags")]
                    let (found, mut value) = reader.tagged()?;
                    $(
                        messages!(@tagged $tag number {
                            if found == number && messages!(@within $versions form) {
                                this.$field = messages!(@read $null &mut value, form)
                                    .and_then(|field| value.finish().map(|()| field))
                                    .map_err(|error| {
                                        error.within(concat!(stringify!($name), ".", stringify!($field)))
                                    })?;
                                continue;
                            }
                        });
                    )*
                    // KIP-482: what is not known is stepped over.
                }
                Ok(this)
            }

            fn write(
                &self,
                writer: &mut $crate::codec::writer::Writer<'_>,
                form: $crate::codec::primitive::Form,
            ) {
                $(
                    messages!(@untagged $tag {
                        if messages!(@within $versions form) {
                            messages!(@write $null &self.$field, writer, form);
                        }
                    });
                )*
                if form.flexible {
                    #[allow(unused_mut, reason = "not every struct has tagged fields")]
                    let mut tags = 0;
                    $(
                        messages!(@tagged $tag _number {
                            if messages!(@within $versions form) {
                                let unsent: $type = messages!(@default $default);
                                tags += u32::from(self.$field != unsent);
                            }
                        });
                    )*
                    writer.unsigned_varint(tags);
                    $(
                        messages!(@tagged $tag number {
                            let unsent: $type = messages!(@default $default);
                            if messages!(@within $versions form) && self.$field != unsent {
                                writer.tagged(number, |writer| {
                                    messages!(@write $null &self.$field, writer, form);
                                });
                            }
                        });
                    )*
                }
            }

            #[allow(unused_variables, reason = "not every struct has fields")]
            fn errors(&self, _field: &'static str, note: &mut dyn FnMut(i16)) {
                $(
                    $crate::codec::primitive::Wire::errors(&self.$field, stringify!($field), note);
                )*
            }

            #[cfg(test)]
            fn sample(seed: &mut $crate::codec::sample::Seed, form: $crate::codec::primitive::Form) -> Self {
                let mut this = Self::default();
                $(
                    if messages!(@within $versions form) {
                        this.$field = messages!(@sample $null seed, form);
                    }
                )*
                this
            }
        }

        impl $crate::codec::primitive::Nullable for $name {
            fn read_nullable(
                reader: &mut $crate::codec::reader::Reader,
                form: $crate::codec::primitive::Form,
            ) -> Result<Option<Self>, $crate::codec::decode_error::DecodeError> {
                if reader.i8()? < 0 {
                    return Ok(None);
                }
                $crate::codec::primitive::Wire::read(reader, form).map(Some)
            }

            fn write_nullable(
                value: Option<&Self>,
                writer: &mut $crate::codec::writer::Writer<'_>,
                form: $crate::codec::primitive::Form,
            ) {
                writer.i8(if value.is_some() { 1 } else { -1 });
                if let Some(value) = value {
                    $crate::codec::primitive::Wire::write(value, writer, form);
                }
            }
        }
    };

    (@role $name:ident
        api $key:literal, versions $min:literal..=$max:literal $(, flexible $flexible:literal)?,
        response $response:ident
    ) => {
        messages!(@message $name,
            $crate::codec::message::VersionRange { min: $min, max: $max },
            messages!(@flexible $($flexible)?));

        impl $crate::codec::message::Request for $name {
            const KEY: i16 = $key;
            type Response = $response;
        }
    };
    (@role $name:ident answers $request:ident) => {
        messages!(@message $name,
            <$request as $crate::codec::message::Message>::VERSIONS,
            <$request as $crate::codec::message::Message>::FIRST_FLEXIBLE);
    };

    (@message $name:ident, $versions:expr, $flexible:expr) => {
        impl $crate::codec::message::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: $crate::codec::message::VersionRange = $versions;
            const FIRST_FLEXIBLE: i16 = $flexible;

            fn decode(
                reader: &mut $crate::codec::reader::Reader,
                version: i16,
            ) -> Result<Self, $crate::codec::decode_error::DecodeError> {
                $crate::codec::message::decode(reader, version)
            }

            fn encode(&self, writer: &mut $crate::codec::writer::Writer<'_>, version: i16) {
                let form = $crate::codec::message::form::<Self>(version);
                $crate::codec::primitive::Wire::write(self, writer, form);
            }
        }
    };

    (@flexible) => { i16::MAX };
    (@flexible $flexible:literal) => { $flexible };

    (@default []) => { Default::default() };
    (@default [$default:expr]) => { $default };

    (@untagged [] $then:block) => { $then };
    (@untagged [$tag:literal] $then:block) => {};

    (@tagged [] $number:ident $then:block) => {};
    (@tagged [$tag:literal] $number:ident $then:block) => {{
        let $number: u32 = $tag;
        $then
    }};

    (@within [] $form:ident) => { true };
    (@within [$versions:expr] $form:ident) => { ($versions).contains(&$form.version) };

    (@read [] $reader:expr, $form:ident) => { $crate::codec::primitive::Wire::read($reader, $form) };
    (@read [$null:expr] $reader:expr, $form:ident) => {
        if ($null).contains(&$form.version) {
            $crate::codec::primitive::Wire::read($reader, $form)
        } else {
            $crate::codec::primitive::Wire::read($reader, $form).map(Some)
        }
    };

    (@write [] $value:expr, $writer:ident, $form:ident) => {
        $crate::codec::primitive::Wire::write($value, $writer, $form)
    };
    (@write [$null:expr] $value:expr, $writer:ident, $form:ident) => {
        if ($null).contains(&$form.version) {
            $crate::codec::primitive::Wire::write($value, $writer, $form)
        } else {
            $crate::codec::message::write_present($value, $writer, $form)
        }
    };

    (@sample [] $seed:ident, $form:ident) => { $crate::codec::primitive::Wire::sample($seed, $form) };
    (@sample [$null:expr] $seed:ident, $form:ident) => {
        if ($null).contains(&$form.version) {
            $crate::codec::primitive::Wire::sample($seed, $form)
        } else {
            Some($crate::codec::primitive::Wire::sample($seed, $form))
        }
    };
}

pub(crate) use messages;
