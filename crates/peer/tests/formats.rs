//! What travels between nodes byte by byte. That no bytes panic is tested beside the codec.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../model/tests/golden/mod.rs"]
mod golden;

use golden::golden;
use model::NodeId;
use model::checksum::crc32c;
use peer::codec::answer::{Answer, Verdict};
use peer::codec::decoder::Decoder;
use peer::codec::frame::{FrameKind, Header};
use peer::codec::greeting::Versions;
use peer::codec::hello::Hello;

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const VERSIONS: Versions = Versions { oldest: 1, newest: 2 };
const NONCE: [u8; 32] = [0xdd; 32];
const CLUSTER: u128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;

#[test]
fn the_handshake_is_as_drawn() {
    let hello = Hello { versions: VERSIONS, lane: 2, cluster: CLUSTER, from: NodeId(3), to: NodeId(4), nonce: [0; 32] };
    assert_eq!(Hello::decode(&golden(HERE, "hello", &hello.encode())), Ok(hello));
    let accepted = Answer::open(VERSIONS, Ok(2), CLUSTER, NodeId(4));
    assert_eq!(Answer::decode(&golden(HERE, "answer", &accepted.encode())), Ok(accepted));
    let secret = Hello { nonce: NONCE, ..hello };
    assert_eq!(Hello::decode(&golden(HERE, "hello_secret", &secret.encode())), Ok(secret));
    let proved = Answer { nonce: NONCE, proof: [0xee; 32], ..accepted };
    assert_eq!(Answer::decode(&golden(HERE, "answer_secret", &proved.encode())), Ok(proved));
    let refused = Answer { outcome: Err(Verdict::UnknownLane), ..accepted };
    assert_eq!(Answer::decode(&golden(HERE, "answer_refused", &refused.encode())), Ok(refused));
}

#[test]
fn frames_are_as_drawn() {
    let frames = [
        (FrameKind::Request, 1, 7, &b"question"[..]),
        (FrameKind::Response, 1, 0, b"answer"),
        (FrameKind::Error, 2, 0, b"\x02\x00no room"),
        (FrameKind::Ping, 0, 0, b""),
        (FrameKind::Pong, 0, 0, b""),
        (FrameKind::GoAway, 1, 0, b""),
    ];
    let mut bytes = Vec::new();
    for (kind, id, channel, payload) in frames {
        let header = Header { length: payload.len() as u32, kind, id, channel, checksum: crc32c(payload) };
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(payload);
    }
    let bytes = golden(HERE, "frames", &bytes);
    let mut decoder = Decoder::new(1000);
    decoder.space().extend_from_slice(&bytes);
    for (kind, id, channel, payload) in frames {
        let frame = decoder.next_frame().unwrap().expect("a whole frame");
        assert_eq!((frame.kind, frame.id, frame.channel, &frame.payload[..]), (kind, id, channel, payload));
    }
    assert_eq!(decoder.next_frame(), Ok(None));
}
