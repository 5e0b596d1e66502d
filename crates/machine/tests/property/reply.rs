//! What a node answers another is what the other reads, and no bytes make it panic.

use machine::refusal::{Fault, Limit};
use machine::{Refusal, Reply};
use model::{NodeId, Offset, ProducerId, ShardId, TopicId, Wire};
use proptest::collection::vec;
use proptest::prelude::*;

fn refusal() -> impl Strategy<Value = Refusal> {
    let plain = prop::sample::select(vec![
        Refusal::UnknownStream,
        Refusal::WrongOffset,
        Refusal::NotYet,
        Refusal::Changed,
        Refusal::TooNew,
        Refusal::OtherIncarnation,
        Refusal::TooOld,
    ]);
    let limit = prop::sample::select(vec![Limit::Shards, Limit::Outbox, Limit::Nodes, Limit::Endpoints]);
    let fault = prop::sample::select(vec![Fault::ShardKind, Fault::TopicId, Fault::Replicas, Fault::Slots]);
    prop_oneof![
        plain,
        limit.prop_map(Refusal::LimitReached),
        fault.prop_map(Refusal::Invalid),
        any::<u32>().prop_map(Refusal::EnoughPartitions),
        any::<u32>().prop_map(|shard| Refusal::Moved(ShardId(shard))),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let offsets = || (any::<u64>(), any::<u64>()).prop_map(|(base, start)| (Offset(base), Offset(start)));
    prop_oneof![
        Just(Reply::Done),
        offsets().prop_map(|(base, start)| Reply::Appended { base, start }),
        offsets().prop_map(|(base, start)| Reply::Duplicate { base, start }),
        any::<u64>().prop_map(|start| Reply::Trimmed { start: Offset(start) }),
        any::<[u8; 16]>().prop_map(|id| Reply::Topic(TopicId(id))),
        any::<u64>().prop_map(|first| Reply::ProducerIds(ProducerId(first))),
        any::<u64>().prop_map(|id| Reply::Node(NodeId(id))),
        refusal().prop_map(Reply::Refused),
    ]
}

proptest! {
    #[test]
    fn a_reply_survives_the_way(reply in reply()) {
        let bytes = reply.to_wire();
        prop_assert!(bytes.len() <= 17, "whoever reads one knows how much there can be");
        prop_assert_eq!(Reply::from_wire(&bytes), Ok(reply));
    }

    #[test]
    fn bytes_are_a_reply_in_one_way_or_none(tag in 0u8..12, rest in vec(0u8..30, 0..20)) {
        let bytes = [&[tag], &rest[..]].concat();
        if let Ok(reply) = Reply::from_wire(&bytes) {
            prop_assert_eq!(reply.to_wire(), bytes);
        }
    }
}
