//! Every message in every version against the crate kafka-protocol, which is generated from Kafka's
//! schemas: what we write it reads, and what it writes of that is the same bytes.

use super::api_key::{ApiKey, for_each_api};
use super::header::{request_header_version, response_header_version};
use super::message::Message;
use super::primitive::Wire;
use super::round_trip::{encoded, sampled};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message as Theirs};
use proptest::prelude::*;

fn check<Ours: Message + Wire, T: Theirs + Decodable + Encodable>(seed: u64) {
    // Versions newer than the crate are compared with Apache Kafka itself, in tests/clients.
    for version in Ours::VERSIONS.iter().filter(|version| *version <= T::VERSIONS.max) {
        assert!(version >= T::VERSIONS.min, "{} {version}", Ours::NAME);
        let ours = encoded(&sampled::<Ours>(seed, version), version);
        let mut unread = ours.clone();
        let message = T::decode(&mut unread, version);
        let message = message.unwrap_or_else(|error| panic!("{} {version}: {error}", Ours::NAME));
        assert!(unread.is_empty(), "{} {version}", Ours::NAME);
        let mut again = BytesMut::new();
        message.encode(&mut again, version).unwrap();
        assert_eq!(again.freeze(), ours, "{} {version}", Ours::NAME);
    }
}

macro_rules! check_each {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(
                #[test]
                fn $module(seed: u64) {
                    check::<super::$module::$request, theirs::$request>(seed);
                    check::<super::$module::$response, theirs::$response>(seed);
                }
            )*
        }

        #[test]
        fn numbers_and_headers() {
            $(
                assert_eq!(ApiKey::$api.number(), theirs::ApiKey::$api as i16);
                let newest = <theirs::$request as Theirs>::VERSIONS.max;
                for version in ApiKey::$api.versions().iter().filter(|version| *version <= newest) {
                    assert_eq!(
                        request_header_version(ApiKey::$api, version),
                        theirs::$request::header_version(version)
                    );
                    assert_eq!(
                        response_header_version(ApiKey::$api, version),
                        theirs::$response::header_version(version)
                    );
                }
            )*
        }
    };
}

for_each_api!(check_each);

#[test]
fn our_ranges_end_where_theirs_do() {
    // Where they do not: versions that Kafka 4.3 has and the crate does not.
    let ahead = [(ApiKey::OffsetCommit, 9), (ApiKey::OffsetFetch, 9), (ApiKey::ListOffsets, 10)];
    macro_rules! newest {
        ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {$(
            let theirs = <theirs::$request as Theirs>::VERSIONS;
            let ours = ApiKey::$api.versions();
            let newest = ahead.iter().find(|(api, _)| *api == ApiKey::$api);
            assert_eq!(newest.map_or(ours.max, |(_, newest)| *newest), theirs.max, "{}", ApiKey::$api);
            assert_eq!(ours.min, theirs.min, "{}", ApiKey::$api);
        )*};
    }
    for_each_api!(newest);
}

#[test]
fn request_headers() {
    use super::header::RequestHeader;
    use super::reader::Reader;
    for version in [2, 3] {
        let header = theirs::RequestHeader::default()
            .with_request_api_key(ApiKey::ApiVersions.number())
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some("client".into()));
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes, request_header_version(ApiKey::ApiVersions, version)).unwrap();
        let bytes: Bytes = bytes.freeze();
        let mut reader = Reader::new(bytes.clone());
        let header = RequestHeader::decode(&mut reader).unwrap();
        reader.finish().unwrap();
        let mut again = BytesMut::new();
        header.encode(&mut super::writer::Writer::new(&mut again));
        assert_eq!(again.freeze(), bytes);
    }
}
