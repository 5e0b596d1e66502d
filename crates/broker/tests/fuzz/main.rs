//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod groups;
mod nodes;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;
mod settings;

use broker::cluster::call::{NodeAnswer, NodeCall};
use broker::group::request::Protocol;
use broker::group::stored::{Stored, StoredGroup, StoredMember, StoredPhase};
use broker::setting::SETTINGS;
use bytes::Bytes;
use machine::Reply;
use machine::catalog::Endpoint;
use model::{NodeId, ShardId, Timestamp, Wire};

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
    ];
    assert!(seeds[..4].iter().all(|seed| broker::group::is_readable(seed)), "they are what they are meant to be");
    seeds::play(FOLDER, "groups", &seeds, groups::run);
}

#[test]
fn calls_answers_and_identities_of_nodes() {
    let endpoint = |protocol: &'static str| Endpoint { protocol: protocol.into(), host: "10.0.0.2".into(), port: 9092 };
    let calls = [
        NodeCall::Join {
            incarnation: 7,
            wanted: Some(NodeId(2)),
            peer: endpoint("peer"),
            endpoints: vec![endpoint("kafka"), endpoint("admin")],
            rack: Some("r1".into()),
            version: 2,
        },
        NodeCall::Propose { shard: ShardId(0), command: Bytes::from_static(&[8]) },
        NodeCall::Deliver { from: ShardId(0), to: ShardId(2), items: vec![(7, Bytes::from_static(&[8]))] },
        NodeCall::Standing { shard: ShardId(2) },
        NodeCall::HandOver { shard: ShardId(2), to: NodeId(3) },
    ];
    let answers = [
        NodeAnswer::Joined { node: NodeId(2), nodes: vec![(NodeId(1), endpoint("peer"))] },
        NodeAnswer::Proposed { reply: Reply::Done, applied: 300 },
        NodeAnswer::Delivered { items: vec![7, 8] },
        NodeAnswer::NotLeader { leader: Some(NodeId(3)) },
        NodeAnswer::Unknown,
        NodeAnswer::Refused { why: "no".to_owned() },
        NodeAnswer::NotNow { why: "later".to_owned() },
        NodeAnswer::Standing {
            voters: vec![vec![NodeId(1)], vec![NodeId(1), NodeId(2)]],
            learners: vec![NodeId(3)],
            at_hand: vec![NodeId(1)],
            version: 2,
        },
        NodeAnswer::HandedOver { leader: NodeId(3) },
    ];
    let identities = ["identity", "identity2"].map(|name| seeds::golden(FOLDER, name, &[]));
    let mut seeds: Vec<Vec<u8>> = calls.iter().map(Wire::to_wire).chain(answers.iter().map(Wire::to_wire)).collect();
    seeds.extend(identities);
    seeds::play(FOLDER, "nodes", &seeds, nodes::run);
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
