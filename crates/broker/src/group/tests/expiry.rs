//! What of a group may be forgotten, and when.

use crate::group::*;
use bytes::Bytes;
use model::Timestamp;
use std::collections::BTreeSet;

const DAY: i64 = 24 * 3600 * 1000;
const WEEK: i64 = 7 * DAY;

/// A member's subscription to `orders`, as consumers write it.
const SUBSCRIPTION: &[u8] = b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff";

/// Asks, and lets everything that is to be stored be stored.
fn ask(coordinator: &mut Coordinator, at: i64, request: GroupRequest) -> Vec<GroupReply> {
    let mut out = Vec::new();
    coordinator.handle(Timestamp(at), 1, request, &mut out);
    settle(coordinator, out)
}

fn settle(coordinator: &mut Coordinator, mut out: Vec<Output>) -> Vec<GroupReply> {
    let mut replies = Vec::new();
    while !out.is_empty() {
        for output in std::mem::take(&mut out) {
            match output {
                Output::Reply { reply, .. } => replies.push(reply),
                Output::Save { group, number, then, .. } | Output::Forget { group, number, then, .. } => {
                    replies.extend(then.into_iter().map(|(_, reply)| reply));
                    coordinator.saved(&group, number, true, &mut out);
                }
            }
        }
    }
    replies
}

fn commit(coordinator: &mut Coordinator, at: i64, group: &str) {
    let check =
        GroupRequest::CheckCommit { group: group.into(), member: String::new(), instance: None, generation: -1 };
    assert_eq!(ask(coordinator, at, check), [GroupReply::MayCommit]);
}

/// A group with one member, which consumes `orders`.
fn join(coordinator: &mut Coordinator, at: i64, group: &str, kind: &str) -> String {
    let join = JoinRequest {
        group: group.into(),
        member: String::new(),
        instance: None,
        client_id: "c".into(),
        client_host: "there".into(),
        protocol_type: kind.into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(SUBSCRIPTION) }],
        session_timeout: 10_000,
        rebalance_timeout: 10_000,
        member_id_required: false,
        can_skip_assignment: false,
        random: 7,
    };
    let replies = ask(coordinator, at, GroupRequest::Join(join));
    let [GroupReply::Joined(joined)] = &replies[..] else { panic!("{replies:?}") };
    let sync = SyncRequest {
        group: group.into(),
        member: joined.member.clone(),
        instance: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    let synced = ask(coordinator, at, GroupRequest::Sync(sync));
    assert!(matches!(synced[..], [GroupReply::Synced(_)]), "{synced:?}");
    joined.member.clone()
}

fn leave(coordinator: &mut Coordinator, at: i64, group: &str, member: &str) {
    let members = vec![LeavingMember { member: member.into(), instance: None }];
    let left = ask(coordinator, at, GroupRequest::Leave { group: group.into(), members });
    assert!(matches!(&left[..], [GroupReply::Left(left)] if left[0].result.is_ok()), "{left:?}");
}

fn expirable(coordinator: &Coordinator, at: i64) -> Option<Expirable> {
    coordinator.expirable(Timestamp(at)).pop().map(|(_, expirable)| expirable)
}

fn may_delete(coordinator: &mut Coordinator) -> Vec<GroupReply> {
    ask(coordinator, 0, GroupRequest::CheckDelete { group: "g".into() })
}

fn topics(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_group_is_forgotten_a_while_after_its_last_member_left() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    let member = join(&mut coordinator, 0, "g", "consumer");
    leave(&mut coordinator, DAY, "g", &member);
    assert_eq!(expirable(&coordinator, WEEK + DAY - 1), None);
    assert_eq!(expirable(&coordinator, WEEK + DAY), Some(Expirable::All));
    let mut out = Vec::new();
    coordinator.expire("g", Timestamp(WEEK + DAY), &mut out);
    assert!(matches!(&out[..], [Output::Forget { group, .. }] if group == "g"), "{out:?}");
    settle(&mut coordinator, out);
    assert_eq!(ask(&mut coordinator, WEEK + DAY, GroupRequest::List), [GroupReply::Listed(Vec::new())]);
}

#[test]
fn offsets_of_topics_that_members_consume_stay() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    join(&mut coordinator, 0, "g", "consumer");
    let expected = Expirable::Before { time: Timestamp(DAY), subscribed: topics(&["orders"]) };
    assert_eq!(expirable(&coordinator, WEEK + DAY), Some(expected));
    assert_eq!(may_delete(&mut coordinator), [GroupReply::MayDelete { subscribed: topics(&["orders"]) }]);
    let mut out = Vec::new();
    coordinator.expire("g", Timestamp(WEEK + DAY), &mut out);
    assert_eq!(out, [], "it has members");
}

#[test]
fn of_other_kinds_of_groups_nobody_knows_what_they_need() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    join(&mut coordinator, 0, "g", "connect");
    assert_eq!(expirable(&coordinator, 2 * WEEK), None);
    let refused = GroupReply::Refused { error: GroupError::NonEmpty, member: String::new() };
    assert_eq!(may_delete(&mut coordinator), [refused]);
}

#[test]
fn consumers_outside_of_the_group_protocol_lose_offsets_one_by_one() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    commit(&mut coordinator, DAY, "g");
    let expected = Expirable::Before { time: Timestamp(DAY), subscribed: topics(&[]) };
    assert_eq!(expirable(&coordinator, WEEK + DAY), Some(expected));
    assert_eq!(may_delete(&mut coordinator), [GroupReply::MayDelete { subscribed: topics(&[]) }]);
    // A commit may be under way that the log does not have yet.
    let mut out = Vec::new();
    coordinator.expire("g", Timestamp(DAY + 1000), &mut out);
    assert_eq!(out, []);
    coordinator.expire("g", Timestamp(2 * DAY), &mut out);
    assert!(matches!(&out[..], [Output::Forget { .. }]), "{out:?}");
}
