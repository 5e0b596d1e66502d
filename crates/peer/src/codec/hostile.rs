//! Round trips, and bytes that nobody honest would send.

use super::answer::{Answer, Verdict};
use super::decoder::Decoder;
use super::frame::{Frame, FrameError, FrameKind, HEADER_BYTES, Header};
use super::greeting::{GREETING_BYTES, GreetingError, SECRET_BYTES, Versions, is_tls, length_of};
use super::hello::Hello;
use crate::limit::{FRAME_BYTES_MAX, READ_STEP_BYTES};
use model::NodeId;
use model::checksum::crc32c;
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = FrameKind> {
    prop::sample::select(vec![
        FrameKind::Request,
        FrameKind::Response,
        FrameKind::Error,
        FrameKind::Ping,
        FrameKind::Pong,
        FrameKind::GoAway,
    ])
}

fn frames() -> impl Strategy<Value = Frame> {
    let payload =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<u8>(), 4090..9000)];
    (kinds(), any::<u64>(), any::<u32>(), payload).prop_map(|(kind, id, channel, payload)| Frame {
        kind,
        id,
        channel,
        payload: payload.into(),
    })
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let Frame { kind, id, channel, ref payload } = *frame;
    let header = Header { length: payload.len() as u32, kind, id, channel, checksum: crc32c(payload) };
    [&header.encode()[..], payload].concat()
}

/// All frames in `bytes`, which arrive in parts of `step` bytes.
fn decoded(bytes: &[u8], step: usize, length_max: usize) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new(length_max);
    let mut frames = Vec::new();
    for part in bytes.chunks(step) {
        decoder.space().extend_from_slice(part);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_round_trip_however_they_arrive(frames in prop::collection::vec(frames(), 0..6), step in 1_usize..5000) {
        let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
        prop_assert_eq!(decoded(&bytes, step, 9000), Ok(frames));
    }

    #[test]
    fn a_cut_frame_is_waited_for(frame in frames(), cut: prop::sample::Index) {
        let bytes = encoded(&frame);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(decoded(&bytes[..cut], 1 << 20, 9000), Ok(vec![]));
    }

    #[test]
    fn no_changed_byte_goes_unnoticed(frame in frames(), at: prop::sample::Index, change in 1_u8..) {
        let mut bytes = encoded(&frame);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let error = if at < HEADER_BYTES { FrameError::HeaderChecksum } else { FrameError::PayloadChecksum };
        prop_assert_eq!(decoded(&bytes, 1 << 20, 9000), Err(error));
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), HEADER_BYTES..400)) {
        prop_assert_eq!(decoded(&bytes, 64, 9000), Err(FrameError::HeaderChecksum));
        prop_assert!(Hello::decode(&bytes).is_err());
        prop_assert!(Answer::decode(&bytes).is_err());
    }

    #[test]
    fn hellos_round_trip(oldest: u16, newest: u16, lane: u8, cluster: u128, from: u64, to: u64, nonce: [u8; 32]) {
        let versions = Versions { oldest, newest };
        let hello = Hello { versions, lane, cluster, from: NodeId(from), to: NodeId(to), nonce };
        let bytes = hello.encode();
        prop_assert_eq!(length_of(bytes.first_chunk().unwrap()), Ok(GREETING_BYTES));
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
    }

    #[test]
    fn answers_round_trip(
        versions: (u16, u16), version: u16, verdict in 0_usize..8, cluster: u128, node: u64, nonce: [u8; 32], proof: [u8; 32],
    ) {
        let versions = Versions { oldest: versions.0, newest: versions.1 };
        let verdicts = [
            Verdict::NoCommonVersion, Verdict::OtherCluster, Verdict::OtherNode, Verdict::UnknownLane, Verdict::Full,
            Verdict::OneSidedSecret, Verdict::OtherSecret,
        ];
        let outcome = verdicts.get(verdict).map_or(Ok(version), |verdict| Err(*verdict));
        let answer = Answer { versions, outcome, cluster, node: NodeId(node), nonce, proof };
        prop_assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn no_changed_byte_of_a_hello_goes_unnoticed(at in 0..GREETING_BYTES, change in 1_u8..) {
        let mut bytes = hello().encode();
        bytes[at] ^= change;
        prop_assert!(Hello::decode(&bytes).is_err());
        prop_assert!(Hello::decode(&bytes[..at]).is_err());
    }
}

fn hello() -> Hello {
    Hello { versions: Versions::OURS, lane: 1, cluster: 5, from: NodeId(1), to: NodeId(2), nonce: [0; SECRET_BYTES] }
}

#[test]
fn a_claimed_length_reserves_nothing() {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let header =
        Header { length: FRAME_BYTES_MAX as u32, kind: FrameKind::Request, id: 1, channel: 0, checksum: 0 }.encode();
    decoder.space().extend_from_slice(&header);
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.space();
    assert!(decoder.held() <= 2 * READ_STEP_BYTES, "{}", decoder.held());
    let mut arrived = HEADER_BYTES;
    while arrived < FRAME_BYTES_MAX / 2 {
        let space = decoder.space();
        let room = space.capacity() - space.len();
        space.resize(space.len() + room, 7);
        arrived += room;
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.space();
        assert!(decoder.held() <= 3 * arrived + 2 * READ_STEP_BYTES, "{} for {arrived}", decoder.held());
    }
}

#[test]
fn a_stream_of_small_frames_needs_no_more_than_one_step() {
    let frame = Frame { kind: FrameKind::Request, id: 1, channel: 2, payload: vec![3; 777].into() };
    let bytes = encoded(&frame);
    let mut decoder = Decoder::new(1000);
    for part in bytes.repeat(2000).chunks(4096) {
        decoder.space().extend_from_slice(part);
        while let Some(got) = decoder.next_frame().unwrap() {
            assert_eq!(got, frame);
        }
    }
    assert!(decoder.held() <= 2 * READ_STEP_BYTES, "{}", decoder.held());
}

#[test]
fn a_message_of_a_newer_version_can_be_read() {
    let mut bytes = hello().encode();
    bytes.truncate(GREETING_BYTES - 4);
    bytes.extend_from_slice(b"something new");
    let length = (bytes.len() + 4) as u16;
    bytes[8..10].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c(&bytes).to_le_bytes();
    bytes.extend_from_slice(&checksum);
    assert_eq!(Hello::decode(&bytes), Ok(hello()));
}

#[test]
fn a_greeting_is_known_by_its_first_bytes() {
    assert_eq!(length_of(b"GET / HTTP"), Err(GreetingError::Magic));
    assert_eq!(length_of(b"MSpeer\r\n\xff\xff"), Err(GreetingError::Length(0xffff)));
    assert_eq!(length_of(b"MSpeer\r\n\x01\x00"), Err(GreetingError::Length(1)));
    assert_eq!([*b"MS", [0x15, 3], [0x16, 3], [0x16, 2]].map(is_tls), [false, true, true, false]);
}

#[test]
fn versions_meet_at_the_newest_of_both() {
    let versions = |oldest, newest| Versions { oldest, newest };
    assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
    assert_eq!(versions(2, 5).common(versions(1, 3)), Some(3));
    assert_eq!(versions(1, 1).common(versions(2, 2)), None);
    assert_eq!(versions(3, 2).common(versions(1, 9)), None);
}

/// The bytes of version 1. If this test has to change, so has the version.
#[test]
fn the_handshake_is_as_drawn() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let zeros = "00".repeat(64);
    let bytes = hello().encode();
    let (content, checksum) = bytes.split_last_chunk::<4>().unwrap();
    let head = "4d53706565720d0a7400010001000100";
    let ids = "05000000000000000000000000000000".to_owned() + "0100000000000000" + "0200000000000000";
    assert_eq!(hex(content), format!("{head}{ids}{zeros}"));
    assert_eq!(u32::from_le_bytes(*checksum), crc32c(content));

    let answer = Answer::open(Versions::OURS, Err(Verdict::OtherCluster), 5, NodeId(2));
    let bytes = answer.encode();
    let head = "4d53706565720d0a7400010001000200";
    let ids = "05000000000000000000000000000000".to_owned() + "0200000000000000" + "0000000000000000";
    assert_eq!(hex(&bytes[..GREETING_BYTES - 4]), format!("{head}{ids}{zeros}"));
}
