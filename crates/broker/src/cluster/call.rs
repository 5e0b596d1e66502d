//! What nodes ask one another beside what replicas do: drawn in docs/formats/node.md. Tags are never
//! renumbered or reused.

use bytes::Bytes;
use machine::Reply;
use machine::catalog::Endpoint;
use model::wire::Wire;
use model::{LeaderEpoch, NodeId, Offset, ShardId, StreamId, Timestamp, limit};
use shard::Lane;

/// Larger calls keep what is urgent waiting.
const URGENT_BYTES_MAX: usize = 4 * limit::KIB;

model::wire_enum! {
    /// What a node asks another.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum NodeCall {
        /// Asks to be let into the cluster. Asked again, it is answered the same.
        1 = Join {
            /// Drawn at random when the folder of who asks was made.
            incarnation: u128,
            /// The number it wants, if it wants a certain one.
            wanted: Option<NodeId>,
            /// Where it listens for other nodes.
            peer: Endpoint,
            /// Where clients reach it.
            endpoints: Vec<Endpoint>,
            /// Where it stands.
            rack: Option<Bytes>,
            /// The newest behaviour that it knows.
            version: u16,
        },
        /// Asks the leader of a shard to propose a command.
        2 = Propose {
            /// The shard.
            shard: ShardId,
            /// The command, in its own form.
            command: Bytes,
        },
        /// Asks the leader of a shard to log outbox items of another.
        3 = Deliver {
            /// The shard whose items they are.
            from: ShardId,
            /// The shard they are for.
            to: ShardId,
            /// Their numbers, ascending, and commands in their own form.
            items: Vec<(u64, Bytes)>,
        },
        /// Asks the leader of a shard who has a replica of it.
        4 = Standing {
            /// The shard.
            shard: ShardId,
        },
        /// Asks the leader of a shard to have another replica lead.
        6 = HandOver {
            /// The shard.
            shard: ShardId,
            /// The node that shall lead.
            to: NodeId,
        },
        /// Asks for records of a stream that goes on in another shard.
        5 = ReadOlder {
            /// The shard that has them.
            shard: ShardId,
            /// The stream.
            stream: StreamId,
            /// From this offset on.
            from: Offset,
            /// Below this one.
            to: Offset,
            /// Only the first piece that has something this new.
            since: Option<Timestamp>,
            /// No more bytes than this, beyond the first piece.
            bytes_max: u64,
        },
        /// Asks what the shards take and keep that a node leads.
        7 = Load,
        /// Says what a node leads of which whoever is told has no replica.
        8 = Leading {
            /// Each shard, and in which term.
            shards: Vec<(ShardId, u64)>,
        },
        /// Asks which replicas of a node cannot be counted on, though they answer.
        10 = Unfit,
        /// Asks the leader of a shard for leader epochs.
        11 = Epochs {
            /// The shard.
            shard: ShardId,
            /// Of these streams.
            streams: Vec<StreamId>,
        },
        /// Asks for what a client wants of another node and this one leads.
        9 = Serve {
            /// What is to be done, in the words of the client's protocol.
            errand: Errand,
        },
    }
}

impl NodeCall {
    /// The lane in which a call travels, from its bytes. Clients, or what becomes of the cluster, wait for questions that
    /// are small and whose answers are: these do not wait behind files and records.
    #[must_use]
    pub fn lane_of(call: &[u8]) -> Lane {
        if call.len() > URGENT_BYTES_MAX {
            return Lane::Bulk;
        }
        match NodeCall::from_wire(call) {
            Ok(
                NodeCall::Join { .. }
                | NodeCall::Propose { .. }
                | NodeCall::Standing { .. }
                | NodeCall::HandOver { .. }
                | NodeCall::Leading { .. }
                | NodeCall::Epochs { .. }
                | NodeCall::Unfit,
            ) => Lane::Control,
            Ok(NodeCall::Deliver { .. } | NodeCall::ReadOlder { .. } | NodeCall::Load | NodeCall::Serve { .. })
            | Err(_) => Lane::Bulk,
        }
    }
}

model::wire_struct! {
    /// What a client asks for. The broker hands it on and does not look into it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Errand {
        /// What is to be done with it.
        pub method: String,
        /// What it is about: a path, and a query behind a question mark.
        pub target: String,
        /// What comes with it.
        pub body: Bytes,
    }
}

model::wire_struct! {
    /// Pieces of a stream, back to back.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OlderPieces {
        /// Offset of the first record.
        pub base: Offset,
        /// Offsets taken.
        pub count: u32,
        /// Leader epoch of the first piece.
        pub epoch: LeaderEpoch,
        /// Greatest timestamp.
        pub max_timestamp: Timestamp,
        /// The pieces' bytes.
        pub bytes: Bytes,
    }
}

model::wire_enum! {
    /// What is answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum NodeAnswer {
        /// Who asked is in.
        1 = Joined {
            /// Its number.
            node: NodeId,
            /// Where all nodes listen for others.
            nodes: Vec<(NodeId, Endpoint)>,
        },
        /// The command was applied.
        2 = Proposed {
            /// Its answer.
            reply: Reply,
            /// A Raft index at which its effect is part of the state.
            applied: u64,
        },
        /// These items have been logged, or need not be.
        3 = Delivered {
            /// Their numbers.
            items: Vec<u64>,
        },
        /// Nothing was done: who was asked does not lead.
        4 = NotLeader {
            /// Who does, if it is known.
            leader: Option<NodeId>,
        },
        /// It may or may not have been done.
        5 = Unknown,
        /// Nothing was done, and another try will not help.
        6 = Refused {
            /// Why.
            why: String,
        },
        /// Nothing was done; another try may help.
        7 = NotNow {
            /// Why.
            why: String,
        },
        /// Who has a replica of the shard.
        8 = Standing {
            /// Who votes: one set, or two while it changes.
            voters: Vec<Vec<NodeId>>,
            /// Who follows without a vote.
            learners: Vec<NodeId>,
            /// Those of them that are there and have, but for a moment, all there is; the leader among them.
            at_hand: Vec<NodeId>,
            /// The behaviour in force in it.
            version: u32,
        },
        /// Another replica leads.
        10 = HandedOver {
            /// Who.
            leader: NodeId,
        },
        /// Records of a stream that goes on in another shard.
        9 = Older {
            /// In order. None when no piece is as new as was asked for.
            pieces: Vec<OlderPieces>,
        },
        /// Of the records that were asked for the first are gone, and so may be others.
        13 = OlderGone {
            /// Those that are kept start here.
            start: Offset,
        },
        /// It was heard.
        12 = Heard,
        /// What the shards take that a node leads, in bytes a second, and keep.
        11 = Load {
            /// Each of them.
            shards: Vec<(ShardId, u64)>,
            /// Their streams that take most.
            streams: Vec<(StreamId, ShardId, u64)>,
            /// Bytes of the shards' files.
            kept: Vec<(ShardId, u64)>,
        },
        /// Replicas that do not vote, as they are in doubt, or take nothing new, as their disk is full.
        14 = Unfit {
            /// Of these shards.
            shards: Vec<ShardId>,
        },
        /// Leader epochs, which stay as they are for a term.
        15 = Epochs {
            /// The term of who answers.
            term: u64,
            /// Of those of the streams that there are.
            epochs: Vec<(StreamId, LeaderEpoch)>,
        },
        /// What is answered to a client.
        16 = Served {
            /// What became of it, in numbers of the client's protocol.
            status: u16,
            /// How many milliseconds it was waited on purpose.
            waited: u32,
            /// The answer.
            body: Bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;

    fn endpoint(protocol: &'static str, port: u16) -> Endpoint {
        Endpoint { protocol: protocol.into(), host: "10.0.0.2".into(), port }
    }

    #[test]
    fn what_is_small_and_waited_for_does_not_wait_behind_what_is_large() {
        let lane = |call: NodeCall| NodeCall::lane_of(&call.to_wire());
        let shard = ShardId(2);
        assert_eq!(lane(NodeCall::Standing { shard }), Lane::Control);
        let propose = |bytes| NodeCall::Propose { shard, command: vec![0; bytes].into() };
        assert_eq!(lane(propose(100)), Lane::Control);
        assert_eq!(lane(propose(URGENT_BYTES_MAX)), Lane::Bulk);
        assert_eq!(lane(NodeCall::Deliver { from: ShardId(0), to: shard, items: Vec::new() }), Lane::Bulk);
        assert_eq!(lane(NodeCall::Load), Lane::Bulk, "its answer is as large as what a node leads");
        assert_eq!(NodeCall::lane_of(b"?"), Lane::Bulk);
    }

    #[test]
    fn calls_are_as_drawn() {
        let calls = [
            NodeCall::Join {
                incarnation: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
                wanted: Some(NodeId(2)),
                peer: endpoint("peer", 9190),
                endpoints: vec![endpoint("kafka", 9092)],
                rack: Some("r1".into()),
                version: 2,
            },
            NodeCall::Propose { shard: ShardId(0), command: Bytes::from_static(&[8]) },
            NodeCall::Deliver { from: ShardId(0), to: ShardId(2), items: vec![(7, Bytes::from_static(&[8]))] },
            NodeCall::Standing { shard: ShardId(2) },
            NodeCall::HandOver { shard: ShardId(2), to: NodeId(3) },
            NodeCall::ReadOlder {
                shard: ShardId(2),
                stream: StreamId(7),
                from: Offset(3),
                to: Offset(9),
                since: Some(Timestamp(500)),
                bytes_max: 1024,
            },
            NodeCall::Load,
            NodeCall::Leading { shards: vec![(ShardId(2), 5)] },
            NodeCall::Unfit,
            NodeCall::Epochs { shard: ShardId(2), streams: vec![StreamId(7)] },
            NodeCall::Serve {
                errand: Errand { method: "GET".into(), target: "/a?b=c".into(), body: Bytes::from_static(b"body") },
            },
        ];
        let bytes: Vec<u8> = calls.iter().flat_map(Wire::to_wire).collect();
        let bytes = golden(env!("CARGO_MANIFEST_DIR"), "node-calls", &bytes);
        let mut input = model::wire::Input::new(&bytes);
        for call in calls {
            assert_eq!(NodeCall::take(&mut input), Ok(call));
        }
        assert_eq!(input.end(), Ok(()));
    }

    #[test]
    fn answers_are_as_drawn() {
        let answers = [
            NodeAnswer::Joined { node: NodeId(2), nodes: vec![(NodeId(1), endpoint("peer", 9190))] },
            NodeAnswer::Proposed { reply: Reply::Done, applied: 300 },
            NodeAnswer::Delivered { items: vec![7, 8] },
            NodeAnswer::NotLeader { leader: Some(NodeId(3)) },
            NodeAnswer::Unknown,
            NodeAnswer::Refused { why: "no".into() },
            NodeAnswer::NotNow { why: "later".into() },
            NodeAnswer::Standing {
                voters: vec![vec![NodeId(1), NodeId(2)]],
                learners: vec![NodeId(3)],
                at_hand: vec![NodeId(1)],
                version: 2,
            },
            NodeAnswer::HandedOver { leader: NodeId(3) },
            NodeAnswer::Older {
                pieces: vec![OlderPieces {
                    base: Offset(3),
                    count: 2,
                    epoch: LeaderEpoch(1),
                    max_timestamp: Timestamp(600),
                    bytes: Bytes::from_static(b"piece"),
                }],
            },
            NodeAnswer::Heard,
            NodeAnswer::Load {
                shards: vec![(ShardId(2), 900)],
                streams: vec![(StreamId(7), ShardId(2), 800)],
                kept: vec![(ShardId(2), 1 << 20)],
            },
            NodeAnswer::OlderGone { start: Offset(5) },
            NodeAnswer::Unfit { shards: vec![ShardId(2)] },
            NodeAnswer::Epochs { term: 5, epochs: vec![(StreamId(7), LeaderEpoch(1))] },
            NodeAnswer::Served { status: 200, waited: 30, body: Bytes::from_static(b"{}") },
        ];
        let bytes: Vec<u8> = answers.iter().flat_map(Wire::to_wire).collect();
        let bytes = golden(env!("CARGO_MANIFEST_DIR"), "node-answers", &bytes);
        let mut input = model::wire::Input::new(&bytes);
        for answer in answers {
            assert_eq!(NodeAnswer::take(&mut input), Ok(answer));
        }
        assert_eq!(input.end(), Ok(()));
    }
}
