//! Bytes that nobody honest would send: they are errors or messages, never anything else.

use super::api_key::{ApiKey, for_each_api};
use super::body::{RequestBody, ResponseBody};
use super::decode_error::Fault;
use super::header::RequestHeader;
use super::message::Message;
use super::reader::Reader;
use super::round_trip::{encoded, sampled};
use super::sample::Seed;
use bytes::Bytes;
use proptest::prelude::*;

fn decode_as_everything(bytes: &Bytes) {
    let _ = RequestHeader::decode(&mut Reader::new(bytes.clone()));
    for &api in ApiKey::ALL {
        for version in api.versions().iter() {
            let _ = RequestBody::decode(api, version, Reader::new(bytes.clone()));
            let _ = ResponseBody::decode(api, version, Reader::new(bytes.clone()));
        }
    }
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_as_everything(&bytes.into());
    }

    // Small numbers pass for counts and lengths, so these get further in.
    #[test]
    fn small_bytes(bytes in prop::collection::vec(0_u8..4, 0..200)) {
        decode_as_everything(&bytes.into());
    }
}

/// Every prefix is an error, since the message needs all of its bytes; a changed message is anything.
fn truncate_and_mutate<M: Message + super::primitive::Wire>(seed: u64) {
    for version in M::VERSIONS.iter() {
        let bytes = encoded(&sampled::<M>(seed, version), version);
        for length in 0..bytes.len() {
            let error = M::decode(&mut Reader::new(bytes.slice(..length)), version).err();
            assert!(error.is_some(), "{} {version} cut to {length}", M::NAME);
        }
        let mut choice = Seed(seed);
        for _ in 0..if bytes.is_empty() { 0 } else { 16 } {
            let mut mutated = bytes.to_vec();
            for _ in 0..=choice.below(4) {
                let at = choice.below(bytes.len() as u64);
                mutated[at] = choice.bits() as u8;
            }
            let _ = M::decode(&mut Reader::new(mutated.into()), version);
        }
    }
}

macro_rules! hostile_to_each {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(16))]
            $(
                #[test]
                fn $module(seed: u64) {
                    truncate_and_mutate::<super::$module::$request>(seed);
                    truncate_and_mutate::<super::$module::$response>(seed);
                }
            )*
        }
    };
}

for_each_api!(hostile_to_each);

fn refused(api: ApiKey, version: i16, bytes: &'static [u8]) -> super::decode_error::DecodeError {
    RequestBody::decode(api, version, Reader::new(Bytes::from_static(bytes))).unwrap_err()
}

#[test]
fn errors_say_what_and_where() {
    let error = refused(ApiKey::Heartbeat, 3, b"\0\x01g\0\0\0\x01\0\x05m");
    assert_eq!(error.fault, Fault::Truncated { wanted: 5, left: 1 });
    assert_eq!((error.place, error.at), ("HeartbeatRequest.member_id", 9));
    let error = refused(ApiKey::Heartbeat, 3, b"\xff\xff");
    assert_eq!((error.fault, error.at), (Fault::NullNotAllowed, 0));
    let error = refused(ApiKey::Heartbeat, 5, b"");
    assert_eq!(error.fault, Fault::UnsupportedVersion(5));
    // A response is ours to read only in tests, and there nothing may be left over.
    let bytes = Bytes::from_static(b"\0\0\0\0\0\0x");
    let error = ResponseBody::decode(ApiKey::SaslHandshake, 0, Reader::new(bytes)).unwrap_err();
    assert_eq!(error.fault, Fault::TrailingBytes(1));
    // 2 147 483 647 topics in 2 bytes.
    let error = refused(ApiKey::Metadata, 0, b"\x7f\xff\xff\xff\0\0");
    assert_eq!(error.fault, Fault::CountTooLarge { count: 0x7fff_ffff, left: 2 });
    assert_eq!(error.place, "MetadataRequest.topics");
    // Null topics, which version 0 does not have.
    let error = refused(ApiKey::Metadata, 0, b"\xff\xff\xff\xff");
    assert_eq!(error.fault, Fault::NullNotAllowed);
}

#[test]
fn bytes_after_a_request_are_stepped_over() {
    let decode = |bytes: &'static [u8]| {
        RequestBody::decode(ApiKey::SaslHandshake, 0, Reader::new(Bytes::from_static(bytes))).unwrap()
    };
    assert_eq!(decode(b"\0\x01gx"), decode(b"\0\x01g"));
    // What librdkafka 2.16 asks all topics with, in version 13: three bytes too many.
    let bytes = Bytes::from_static(b"\0\0\0\0\x01\0\0");
    assert!(RequestBody::decode(ApiKey::Metadata, 13, Reader::new(bytes)).is_ok());
}

#[test]
fn tags_are_skipped_if_unknown_and_whole_if_known() {
    let plain = b"\x02g\0\0\0\x01\x02m\0";
    let tagged = b"\x02g\0\0\0\x01\x02m\0\x02\x00\x03abc\x09\x00";
    let decode = |bytes: &'static [u8]| {
        RequestBody::decode(ApiKey::Heartbeat, 4, Reader::new(Bytes::from_static(bytes))).unwrap()
    };
    assert_eq!(decode(tagged), decode(&[plain.as_slice(), b"\0"].concat().leak()[..]));

    // Tag 0 of Fetch is text of one byte, in a field of two bytes, then in one of three.
    let head = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01";
    let fetch = |tags: &[u8]| {
        let bytes = [head.as_slice(), tags].concat();
        RequestBody::decode(ApiKey::Fetch, 15, Reader::new(bytes.into()))
    };
    assert!(fetch(b"\x01\x00\x02\x02c").is_ok());
    let error = fetch(b"\x01\x00\x03\x02cx").unwrap_err();
    assert_eq!((error.fault, error.place), (Fault::TrailingBytes(1), "FetchRequest.cluster_id"));
}
