//! Consumer groups: listing, describing, removing.

use super::error::{Subject, refusal};
use super::{mismatch, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::refusal::Refusal;
use crate::shape::{Assignment, Group, GroupEntry, GroupList, GroupOffset, GroupState, GroupType, Member};
use broker::group::{self, Description, GroupReply, GroupRequest, MemberDescription};
use broker::request::{FetchedOffset, Lag, LagQuery, OffsetFetch};
use broker::{BrokerError, Reply, Request};
use model::{Offset, limit};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) async fn list(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let query = &call.query;
    let prefix = query.text("prefix").unwrap_or_default();
    let after = query.text("after").unwrap_or_default();
    let most = query.natural("limit").unwrap_or(u64::MAX).min(limit::ADMIN_PAGE_MAX as u64) as usize;
    // There is one type.
    let mut groups = match api.ask(Request::Group(GroupRequest::List)).await {
        Reply::Group(Ok(GroupReply::Listed(groups))) => groups,
        Reply::Group(Err(error)) => return Err(refusal(&error, Subject::Group("of any name"))),
        _ => return Err(mismatch()),
    };
    groups.retain(|entry| {
        let wanted = query.text("state").is_none_or(|wanted| wanted == word(entry.state));
        wanted && entry.group.starts_with(prefix) && (after.is_empty() || entry.group.as_str() > after)
    });
    let next = (groups.len() > most).then(|| groups[most - 1].group.clone());
    groups.truncate(most);
    let entry = |entry: group::ListedGroup| GroupEntry {
        group: entry.group,
        kind: GroupType::Classic,
        state: state(entry.state),
        protocol_type: entry.protocol_type,
    };
    Answer::json(200, &GroupList { groups: groups.into_iter().map(entry).collect(), next })
}

fn state(state: group::GroupState) -> GroupState {
    match state {
        group::GroupState::Empty => GroupState::Empty,
        group::GroupState::PreparingRebalance => GroupState::PreparingRebalance,
        group::GroupState::CompletingRebalance => GroupState::CompletingRebalance,
        group::GroupState::Stable => GroupState::Stable,
        group::GroupState::Dead => GroupState::Dead,
    }
}

/// How a query spells it.
fn word(of: group::GroupState) -> &'static str {
    match of {
        group::GroupState::Empty => "empty",
        group::GroupState::PreparingRebalance => "preparing_rebalance",
        group::GroupState::CompletingRebalance => "completing_rebalance",
        group::GroupState::Stable => "stable",
        group::GroupState::Dead => "dead",
    }
}

/// A group as its coordinator has it.
pub(super) async fn find(api: &Inner, name: &str) -> Result<Description, Refusal> {
    let request = GroupRequest::Describe { group: name.to_owned() };
    match api.ask(Request::Group(request)).await {
        Reply::Group(Ok(GroupReply::Described(found))) => Ok(found),
        reply => Err(refused(reply, name)),
    }
}

/// What a coordinator's reply says that is not the one that was hoped for.
fn refused(reply: Reply, group: &str) -> Refusal {
    match reply {
        Reply::Group(Ok(GroupReply::Refused { error, .. })) => {
            refusal(&BrokerError::Group(error), Subject::Group(group))
        }
        Reply::Group(Err(error)) => refusal(&error, Subject::Group(group)),
        _ => mismatch(),
    }
}

/// The positions of a group, by topic and partition. They may be -1: there is none then.
pub(super) async fn positions(api: &Inner, group: &str) -> Result<Vec<FetchedOffset>, Refusal> {
    let fetch = OffsetFetch { group: group.to_owned(), partitions: None };
    let Reply::OffsetsFetched(found) = api.ask(Request::FetchOffsets(vec![fetch])).await else {
        return Err(mismatch());
    };
    let found = found.into_iter().next().ok_or_else(mismatch)?;
    found.map_err(|error| refusal(&error, Subject::Group(group)))
}

/// A committed offset, if it is one.
pub(super) fn committed(offset: &FetchedOffset) -> Option<Offset> {
    offset.committed.as_ref().map(|committed| committed.offset).filter(|offset| i64::try_from(offset.0).is_ok())
}

pub(crate) async fn describe(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let name = call.name(0);
    let found = find(&api, name).await?;
    let mut offsets = offsets(&found, positions(&api, name).await?);
    let left = offsets.len().saturating_sub(offsets_shown(&offsets));
    offsets.truncate(offsets.len() - left);
    let asked = |offset: &GroupOffset| LagQuery {
        partition: partition_ref(&offset.topic, offset.partition),
        position: Offset(offset.committed.unwrap_or(0)),
    };
    let Reply::Lag(lags) = api.ask(Request::Lag(offsets.iter().map(asked).collect())).await else {
        return Err(mismatch());
    };
    for (offset, lag) in offsets.iter_mut().zip(lags) {
        if let Ok(lag) = lag {
            fill(offset, lag);
        }
    }
    let group = Group {
        group: found.group,
        kind: GroupType::Classic,
        state: state(found.state),
        protocol_type: found.protocol_type,
        protocol: found.protocol,
        // A request for a group of another node is refused with its name.
        coordinator: api.broker.node().0,
        members: found.members.into_iter().map(member).collect(),
        offsets,
        offsets_left_out: left as u64,
    };
    Answer::json(200, &group)
}

/// How many of these an answer holds.
fn offsets_shown(offsets: &[GroupOffset]) -> usize {
    /// What one takes besides its texts, at most.
    const BYTES: usize = 256;
    let mut bytes = 0;
    let fits = |offset: &&GroupOffset| {
        bytes += BYTES + offset.topic.len() + offset.metadata.len() + offset.member.as_ref().map_or(0, String::len);
        bytes <= limit::ADMIN_ANSWER_BYTES_MAX
    };
    offsets.iter().take_while(fits).count()
}

/// Where the group stands in every partition that it has a position or a member for.
fn offsets(group: &Description, positions: Vec<FetchedOffset>) -> Vec<GroupOffset> {
    let mut offsets = BTreeMap::<(String, u32), GroupOffset>::new();
    let nothing = |topic: &str, partition| GroupOffset {
        topic: topic.to_owned(),
        partition,
        committed: None,
        committed_at: None,
        metadata: String::new(),
        start: None,
        end: None,
        lag: None,
        lag_seconds: None,
        member: None,
    };
    for position in positions {
        let mut offset = nothing(&position.topic, position.partition);
        offset.committed = committed(&position).map(|offset| offset.0);
        if let Some(committed) = position.committed {
            offset.committed_at = Some(committed.time.timestamp().0);
            offset.metadata = committed.metadata;
        }
        offsets.insert((position.topic, position.partition), offset);
    }
    for member in &group.members {
        for (topic, partitions) in group::assignment::partitions(&member.assignment).unwrap_or_default() {
            for partition in partitions {
                let offset = offsets.entry((topic.clone(), partition));
                offset.or_insert_with(|| nothing(&topic, partition)).member = Some(member.member.clone());
            }
        }
    }
    offsets.into_values().collect()
}

fn fill(offset: &mut GroupOffset, lag: Lag) {
    (offset.start, offset.end) = (Some(lag.start.0), Some(lag.end.0));
    if offset.committed.is_some() {
        offset.lag = Some(lag.records);
        offset.lag_seconds = lag.millis.map(|millis| millis as f64 / 1000.0);
    }
}

fn member(member: MemberDescription) -> Member {
    // Empty while the group is not stable.
    let assignment = group::assignment::partitions(&member.assignment);
    let assigned = |(topic, partitions)| Assignment { topic, partitions };
    Member {
        member: member.member,
        instance: member.instance,
        client_id: member.client_id,
        client_host: member.client_host,
        assignment: assignment.map(|topics| topics.into_iter().map(assigned).collect()),
    }
}

pub(crate) async fn delete(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let name = call.name(0);
    match api.ask(Request::Group(GroupRequest::Delete { group: name.to_owned() })).await {
        Reply::Group(Ok(GroupReply::Deleted)) => Ok(Answer::done()),
        reply => Err(refused(reply, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use machine::messaging::group::Committed;

    #[test]
    fn every_partition_with_a_position_or_a_member_is_told() {
        let member = MemberDescription {
            member: "m".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "127.0.0.1".into(),
            metadata: Bytes::new(),
            assignment: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02"),
        };
        let group = Description {
            group: "g".into(),
            state: group::GroupState::Stable,
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members: vec![member],
        };
        let position = |partition, offset| FetchedOffset {
            topic: "t".into(),
            id: model::TopicId([1; 16]),
            partition,
            known: true,
            committed: Some(Committed {
                offset: Offset(offset),
                leader_epoch: -1,
                metadata: "note".into(),
                time: model::Hlc(5 << 16),
            }),
        };
        let told = offsets(&group, vec![position(0, 10), position(1, 20), position(3, u64::MAX)]);
        let facts: Vec<_> =
            told.iter().map(|offset| (offset.partition, offset.committed, offset.member.as_deref())).collect();
        assert_eq!(facts, [(0, Some(10), None), (1, Some(20), Some("m")), (2, None, Some("m")), (3, None, None)]);
        assert_eq!((told[0].metadata.as_str(), told[0].committed_at), ("note", Some(5)));
        assert_eq!(told[2].committed_at, None);
    }

    #[test]
    fn lag_is_not_known_where_nothing_was_committed() {
        let lag = Lag { start: Offset(1), end: Offset(10), records: 9, millis: Some(1500) };
        let mut offset = offsets_of_one();
        fill(&mut offset, lag);
        assert_eq!((offset.start, offset.end, offset.lag, offset.lag_seconds), (Some(1), Some(10), None, None));
        offset.committed = Some(1);
        fill(&mut offset, lag);
        assert_eq!((offset.lag, offset.lag_seconds), (Some(9), Some(1.5)));
    }

    fn offsets_of_one() -> GroupOffset {
        GroupOffset {
            topic: "t".into(),
            partition: 0,
            committed: None,
            committed_at: None,
            metadata: String::new(),
            start: None,
            end: None,
            lag: None,
            lag_seconds: None,
            member: None,
        }
    }

    #[test]
    fn an_answer_holds_so_many_positions_and_no_more() {
        let large = GroupOffset { metadata: "x".repeat(4096), ..offsets_of_one() };
        let all = vec![large; 10_000];
        let shown = offsets_shown(&all);
        assert!((3_000..5_000).contains(&shown), "{shown}");
        assert_eq!(offsets_shown(&all[..100]), 100);
    }

    #[test]
    fn states_are_spelled_as_in_answers() {
        use group::GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        for known in [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead] {
            assert_eq!(serde_json::to_value(state(known)).unwrap(), word(known));
        }
    }
}
