//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod groups;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;
mod settings;

use broker::group::request::Protocol;
use broker::group::stored::{Stored, StoredGroup, StoredMember, StoredPhase};
use broker::setting::SETTINGS;
use bytes::Bytes;
use model::{Timestamp, Wire};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The form that all of Kafka's consumers share: a version, and one topic.
const SUBSCRIPTION: &[u8] = b"\0\x03\0\0\0\x01\0\x05topic\xff\xff\xff\xff";

fn member(id: &str) -> StoredMember {
    StoredMember {
        id: id.to_owned(),
        instance: Some(format!("static-{id}")),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: 10_000,
        rebalance_timeout: 60_000,
        protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::from_static(SUBSCRIPTION) }],
        assignment: Bytes::from_static(b"assigned"),
    }
}

#[test]
fn groups_of_every_phase() {
    let group = |phase, members: Vec<StoredMember>| {
        let leader = members.first().map(|member| member.id.clone());
        let protocol = leader.as_ref().map(|_| "range".to_owned());
        let protocol_type = Some("consumer".to_owned());
        Stored::V1 { group: StoredGroup { generation: 7, protocol_type, protocol, leader, phase, members } }.to_wire()
    };
    let seeds = [
        group(StoredPhase::Empty { since: Timestamp(5) }, Vec::new()),
        group(StoredPhase::Completing, vec![member("a")]),
        group(StoredPhase::Stable, vec![member("a"), member("b")]),
        SUBSCRIPTION.to_vec(),
        seeds::golden(FOLDER, "identity", &[]),
    ];
    assert!(seeds[..4].iter().all(|seed| broker::group::is_readable(seed)), "they are what they are meant to be");
    seeds::play(FOLDER, "groups", &seeds, groups::run);
}

#[test]
fn settings_of_every_kind() {
    let of = |value: &dyn Fn(&broker::setting::Setting) -> String| {
        let lines = SETTINGS.iter().map(|setting| format!("{}={}\n", setting.name, value(setting)));
        lines.collect::<String>().into_bytes()
    };
    let seeds = [
        of(&|setting| setting.default.to_owned()),
        of(&|_| "1".to_owned()),
        of(&|_| " Compact , delete,, 5 ".to_owned()),
        b"max.compaction.lag.ms=8\nmin.compaction.lag.ms=9\n".to_vec(),
    ];
    seeds::play(FOLDER, "settings", &seeds, settings::run);
}
