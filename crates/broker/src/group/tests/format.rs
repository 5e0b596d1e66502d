//! The stored form.

use crate::group::request::Protocol;
use crate::group::stored::*;
use bytes::Bytes;
use model::{Timestamp, Wire, WireError};
use proptest::prelude::*;

fn member(id: &str) -> StoredMember {
    StoredMember {
        id: id.to_owned(),
        instance: Some(format!("s{id}")),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        session_timeout: 10_000,
        rebalance_timeout: 60_000,
        protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::from_static(b"ab") }],
        assignment: Bytes::from_static(b"x"),
    }
}

fn group() -> StoredGroup {
    StoredGroup {
        generation: 7,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        leader: Some("m".to_owned()),
        phase: StoredPhase::Stable,
        members: vec![member("m"), member("n")],
    }
}

#[test]
fn the_bytes_do_not_change() {
    let one = StoredGroup { members: vec![member("m")], ..group() };
    let hex: String = one.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_MEMBER);
    let empty = StoredGroup { leader: None, protocol: None, phase: EMPTY, members: Vec::new(), ..group() };
    let hex: String = empty.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_EMPTY);
}

/// Version, generation, type, protocol, leader, phase; then one member: id, static id, client id,
/// host, session timeout, rebalance timeout, protocols, assignment.
const GOLDEN_MEMBER: &str = concat!(
    "01",
    "07000000",
    "0108636f6e73756d6572",
    "010572616e6765",
    "01016d",
    "03",
    "01",
    "016d",
    "0102736d",
    "0163",
    "022f68",
    "1027000000000000",
    "60ea000000000000",
    "010572616e6765026162",
    "0178",
);
/// Without members, empty since 258 ms.
const GOLDEN_EMPTY: &str =
    concat!("01", "07000000", "0108636f6e73756d6572", "00", "00", "01", "0201000000000000", "00");

const EMPTY: StoredPhase = StoredPhase::Empty { since: Timestamp(258) };

#[test]
fn what_cannot_be_is_refused() {
    let good = group();
    assert_eq!(StoredGroup::from_bytes(&good.clone().into_bytes()), Ok(good.clone()));
    let bad = [
        StoredGroup { generation: -1, ..group() },
        StoredGroup { phase: EMPTY, ..group() },
        StoredGroup { members: Vec::new(), ..group() },
        StoredGroup { members: vec![member("n"), member("m")], ..group() },
        StoredGroup { members: vec![member("m"), member("m")], ..group() },
        StoredGroup { leader: Some("o".to_owned()), ..group() },
        StoredGroup { leader: None, ..group() },
        StoredGroup { protocol: Some("rr".to_owned()), ..group() },
        StoredGroup { protocol_type: None, ..group() },
        StoredGroup {
            members: vec![member("m"), StoredMember { instance: member("m").instance, ..member("n") }],
            ..group()
        },
    ];
    for group in bad {
        let bytes = Stored::V1 { group: group.clone() }.to_wire();
        assert!(matches!(StoredGroup::from_bytes(&bytes), Err(WireError::Invalid(_))), "{group:?}");
    }
}

#[test]
fn a_member_is_not_larger_than_its_bound() {
    let stored = member("m");
    assert!(stored.to_wire().len() - stored.assignment.len() <= stored.bytes());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = StoredGroup::from_bytes(&bytes);
    }
}
