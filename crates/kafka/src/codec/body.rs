//! Any request and any response: what stands in a frame after the header.

use super::api_key::{ApiKey, for_each_api};
use super::decode_error::DecodeError;
use super::message::Message;
use super::reader::Reader;
use super::writer::Writer;

macro_rules! bodies {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        /// A request of any API.
        #[allow(missing_docs, reason = "each is named after its API")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum RequestBody {
            $($api(super::$module::$request),)*
        }

        /// A response of any API.
        #[allow(missing_docs, reason = "each is named after its API")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ResponseBody {
            $($api(super::$module::$response),)*
        }

        impl RequestBody {
            /// Reads a request. Bytes left over are stepped over, as Kafka does: librdkafka sends some
            /// behind its Metadata request of version 13.
            ///
            /// # Errors
            /// Whatever is wrong with the bytes; an unsupported version.
            pub fn decode(api: ApiKey, version: i16, mut reader: Reader) -> Result<Self, DecodeError> {
                Self::read(api, version, &mut reader)
            }

            /// Reads a request and leaves what is behind it.
            ///
            /// # Errors
            /// Whatever is wrong with the bytes; an unsupported version.
            pub fn read(api: ApiKey, version: i16, reader: &mut Reader) -> Result<Self, DecodeError> {
                Ok(match api {
                    $(ApiKey::$api => RequestBody::$api(super::$module::$request::decode(reader, version)?),)*
                })
            }

            /// Writes it. For an unsupported version the bytes mean nothing.
            pub fn encode(&self, writer: &mut Writer<'_>, version: i16) {
                match self {
                    $(RequestBody::$api(body) => body.encode(writer, version),)*
                }
            }

            /// The API it belongs to.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(RequestBody::$api(_) => ApiKey::$api,)*
                }
            }
        }

        impl ResponseBody {
            /// Reads a response, which must be all that is left to read.
            ///
            /// # Errors
            /// Whatever is wrong with the bytes; an unsupported version; bytes left over.
            pub fn decode(api: ApiKey, version: i16, mut reader: Reader) -> Result<Self, DecodeError> {
                let body = match api {
                    $(ApiKey::$api => ResponseBody::$api(super::$module::$response::decode(&mut reader, version)?),)*
                };
                reader.finish()?;
                Ok(body)
            }

            /// Writes it. For an unsupported version the bytes mean nothing.
            pub fn encode(&self, writer: &mut Writer<'_>, version: i16) {
                match self {
                    $(ResponseBody::$api(body) => body.encode(writer, version),)*
                }
            }

            /// Tells of every error code in it; 0 is none.
            pub(crate) fn errors(&self, note: &mut dyn FnMut(i16)) {
                match self {
                    $(ResponseBody::$api(body) => super::primitive::Wire::errors(body, "", note),)*
                }
            }

            /// The API it belongs to.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(ResponseBody::$api(_) => ApiKey::$api,)*
                }
            }
        }

        $(
            impl From<super::$module::$request> for RequestBody {
                fn from(body: super::$module::$request) -> Self {
                    RequestBody::$api(body)
                }
            }

            impl From<super::$module::$response> for ResponseBody {
                fn from(body: super::$module::$response) -> Self {
                    ResponseBody::$api(body)
                }
            }
        )*
    };
}

for_each_api!(bodies);
