//! The fuzz targets of this crate for a moment, on ordinary Rust. They are in `tests/fuzz`; what they begin
//! with is made here, where every request and every response can be sampled: one of each API and version.

use crate::codec::api_key::{ApiKey, for_each_api};
use crate::codec::header::ResponseHeader;
use crate::codec::message::Message;
use crate::codec::round_trip::{encoded, sampled};
use crate::codec::writer::Writer;
use bytes::BytesMut;

#[path = "../tests/fuzz/request.rs"]
mod request;
#[path = "../tests/fuzz/response.rs"]
mod response;
#[path = "../../model/tests/seeds/mod.rs"]
mod seeds;
#[path = "../tests/fuzz/session.rs"]
mod session;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// A frame with a request in it.
fn framed(api: ApiKey, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    content.extend_from_slice(&api.number().to_be_bytes());
    content.extend_from_slice(&version.to_be_bytes());
    content.extend_from_slice(&7_i32.to_be_bytes());
    content.extend_from_slice(b"\0\x01c");
    if flexible {
        content.push(0);
    }
    content.extend_from_slice(body);
    [&(content.len() as i32).to_be_bytes()[..], &content].concat()
}

/// A response, behind the API and the version that its reader knows.
fn answered(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut head = BytesMut::new();
    ResponseHeader { correlation_id: 7 }.encode(&mut Writer::new(&mut head), api, version);
    [&api.number().to_be_bytes()[..], &version.to_be_bytes(), &head, body].concat()
}

macro_rules! every_message {
    ($($api:ident $module:ident: $request:ident, $response:ident;)*) => {
        fn requests() -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            $({
                type Asked = crate::codec::$module::$request;
                for version in Asked::VERSIONS.iter() {
                    let seed = u64::from(version.unsigned_abs()) + 1;
                    let body = encoded(&sampled::<Asked>(seed, version), version);
                    all.push(framed(ApiKey::$api, version, version >= Asked::FIRST_FLEXIBLE, &body));
                }
            })*
            all
        }

        fn responses() -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            $({
                type Answered = crate::codec::$module::$response;
                for version in Answered::VERSIONS.iter() {
                    let seed = u64::from(version.unsigned_abs()) + 1;
                    let body = encoded(&sampled::<Answered>(seed, version), version);
                    all.push(answered(ApiKey::$api, version, &body));
                }
            })*
            all
        }
    };
}

for_each_api!(every_message);

#[test]
fn requests_of_every_api_and_version() {
    seeds::play(FOLDER, "request", &requests(), request::run);
}

#[test]
fn responses_of_every_api_and_version() {
    seeds::play(FOLDER, "response", &responses(), response::run);
}

#[test]
fn connections_with_requests_of_every_api_and_version() {
    seeds::play(FOLDER, "session", &requests(), session::run);
}
