//! The headers before requests and responses. Which version of them is used follows from the API and
//! its version.
//!
//! | | fields |
//! |---|---|
//! | request 1 | i16 API, i16 version, i32 correlation id, nullable text client id |
//! | request 2 | the same, then tagged fields |
//! | response 0 | i32 correlation id |
//! | response 1 | the same, then tagged fields |
//!
//! Flexible versions of an API (KIP-482) have request header 2 and response header 1. The exception is
//! the response to ApiVersions, always 0, for the client does not know yet what the server speaks. The
//! client id keeps its older encoding in all versions for the same reason. Request header 0 was that of
//! ControlledShutdown 0 alone, between brokers; nothing here uses it.

use super::api_key::ApiKey;
use super::decode_error::DecodeError;
use super::reader::Reader;
use super::text::Text;
use super::writer::Writer;

/// What precedes every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The number of the API, known or not.
    pub api_key: i16,
    /// The version of the API, supported or not.
    pub api_version: i16,
    /// Chosen by the client, repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Text>,
}

impl RequestHeader {
    /// Reads a header. That of an API or version unknown here is read as far as it can be, so that the
    /// request can be refused by name: an ApiVersions request of a newer version is ordinary.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let place = |error: DecodeError| error.within("RequestHeader");
        let header = RequestHeader {
            api_key: reader.i16().map_err(place)?,
            api_version: reader.i16().map_err(place)?,
            correlation_id: reader.i32().map_err(place)?,
            client_id: reader.nullable_text(false).map_err(place)?,
        };
        if header.api().is_some_and(|api| request_header_version(api, header.api_version) >= 2) {
            reader.skip_tags().map_err(place)?;
        }
        Ok(header)
    }

    /// Writes the header.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_text(self.client_id.as_ref(), false);
        if self.api().is_some_and(|api| request_header_version(api, self.api_version) >= 2) {
            writer.unsigned_varint(0);
        }
    }

    /// The API, if it is known.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::try_from(self.api_key).ok()
    }
}

/// What precedes every response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response of `api` in `version`.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn decode(reader: &mut Reader, api: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let place = |error: DecodeError| error.within("ResponseHeader");
        let correlation_id = reader.i32().map_err(place)?;
        if response_header_version(api, version) >= 1 {
            reader.skip_tags().map_err(place)?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes the header of a response of `api` in `version`.
    pub fn encode(self, writer: &mut Writer<'_>, api: ApiKey, version: i16) {
        writer.i32(self.correlation_id);
        if response_header_version(api, version) >= 1 {
            writer.unsigned_varint(0);
        }
    }
}

/// The version of the header before a request of `api` in `version`: 1 or 2.
#[must_use]
pub fn request_header_version(api: ApiKey, version: i16) -> i16 {
    if api.is_flexible(version) { 2 } else { 1 }
}

/// The version of the header before a response of `api` in `version`: 0 or 1.
#[must_use]
pub fn response_header_version(api: ApiKey, version: i16) -> i16 {
    if api != ApiKey::ApiVersions && api.is_flexible(version) { 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::api_versions::ApiVersionsRequest;
    use crate::codec::frame;
    use crate::codec::message::Message;
    use bytes::BytesMut;

    /// What librdkafka 2.16.0 sends first, captured from confluent-kafka-python 2.16.1.
    const LIBRDKAFKA: &[u8] = b"\0\0\0\x40\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\
        \x17confluent-kafka-python\x162.16.1-rdkafka-2.16.0\0";

    #[test]
    fn reads_and_writes_what_librdkafka_sends_first() {
        let mut received = BytesMut::from(LIBRDKAFKA);
        let frame = frame::split(&mut received, 1 << 20).unwrap().unwrap();
        assert!(received.is_empty());
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!(header.api(), Some(ApiKey::ApiVersions));
        assert_eq!((header.api_version, header.correlation_id), (3, 1));
        assert_eq!(header.client_id, Some(Text::from("rdkafka")));
        let request = ApiVersionsRequest::decode(&mut reader, 3).unwrap();
        reader.finish().unwrap();
        assert_eq!(request.client_software_name, "confluent-kafka-python");
        assert_eq!(request.client_software_version, "2.16.1-rdkafka-2.16.0");

        let mut sent = BytesMut::new();
        frame::write(&mut sent, |writer| {
            header.encode(writer);
            request.encode(writer, 3);
        })
        .unwrap();
        assert_eq!(&sent[..], LIBRDKAFKA);
    }

    #[test]
    fn reads_headers_of_what_is_not_spoken() {
        let newer = b"\0\x12\0\x63\0\0\0\x07\xff\xff\0rest";
        let mut reader = Reader::new(newer.as_slice().into());
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!((header.api_version, header.correlation_id, header.client_id), (99, 7, None));
        assert_eq!(reader.remaining(), 4);

        let mut unknown = newer.to_vec();
        unknown[1] = 0xff;
        let mut reader = Reader::new(unknown.into());
        assert_eq!(RequestHeader::decode(&mut reader).unwrap().api(), None);
    }

    #[test]
    fn only_the_response_to_api_versions_keeps_the_first_header() {
        for &api in ApiKey::ALL {
            for version in api.versions().iter() {
                let (request, response) = (request_header_version(api, version), response_header_version(api, version));
                let flexible = if api == ApiKey::ApiVersions { 0 } else { request - 1 };
                assert_eq!(response, flexible, "{api} {version}");
            }
        }
    }
}
