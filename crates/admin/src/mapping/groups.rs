//! Consumer groups: listing, describing, removing.

use super::bounds::lags;
use super::error::{Subject, refusal};
use super::mismatch;
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::between::{LedGroups, Position};
use crate::errand::{self, Tries};
use crate::refusal::Refusal;
use crate::shape::{Assignment, Group, GroupEntry, GroupList, GroupOffset, GroupState, GroupType, Member};
use broker::cluster::errand::Errand;
use broker::group::{self, Description, GroupReply, GroupRequest, MemberDescription};
use broker::request::{FetchedOffset, Lag, OffsetFetch};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use futures::future::{join, join_all};
use model::{Name, Offset, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a node may take to list its groups.
const LIST_TIME: Duration = Duration::from_secs(3);

pub(crate) async fn list(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let query = call.target.split_once('?').map_or("", |(_, query)| query);
    let errand = Errand { method: "GET".into(), target: format!("/peer/groups?{query}"), body: Bytes::new() };
    let mut tries = Tries::default();
    loop {
        let others = api.broker.others().into_iter();
        let others = others.map(|node| errand::ask::<LedGroups>(&api, node, errand.clone(), LIST_TIME));
        let (here, others) = join(led(&api, &call), join_all(others)).await;
        let answers = std::iter::once(here).chain(others.into_iter().flatten());
        let wanted = api.broker.group_shards().into_iter().map(|shard| shard.0);
        let list = merged(answers.collect(), most(&call), wanted.collect());
        // A shard that has lost its leader gets another one.
        if list.shards_left_out.is_empty() || !tries.again().await {
            return Answer::json(200, &list);
        }
    }
}

/// Answers another node.
pub(crate) async fn tell_led(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    Answer::json(200, &led(&api, &call).await)
}

/// How many groups are asked for.
fn most(call: &Call) -> usize {
    call.query.natural("limit").unwrap_or(u64::MAX).min(limit::ADMIN_PAGE_MAX as u64) as usize
}

/// Those that are asked for of the groups that this node leads.
async fn led(api: &Inner, call: &Call) -> LedGroups {
    let query = &call.query;
    let prefix = query.text("prefix").unwrap_or_default();
    let after = query.text("after").unwrap_or_default();
    let (shards, mut groups) = api.broker.led_groups().await;
    // There is one type.
    groups.retain(|entry| {
        let wanted = query.text("state").is_none_or(|wanted| wanted == word(entry.state));
        wanted && entry.group.starts_with(prefix) && (after.is_empty() || entry.group.as_str() > after)
    });
    groups.sort_by(|a, b| a.group.cmp(&b.group));
    let more = groups.len() > most(call);
    groups.truncate(most(call));
    let entry = |entry: group::ListedGroup| GroupEntry {
        group: entry.group,
        kind: GroupType::Classic,
        state: state(entry.state),
        protocol_type: entry.protocol_type,
    };
    let shards = shards.into_iter().map(|shard| shard.0).collect();
    LedGroups { shards, groups: groups.into_iter().map(entry).collect(), more }
}

/// What several nodes say as one list of so many groups, of the shards that are wanted.
fn merged(answers: Vec<LedGroups>, most: usize, wanted: BTreeSet<u32>) -> GroupList {
    let mut told = BTreeSet::new();
    let mut by_name = BTreeMap::new();
    let mut more = false;
    for led in answers {
        told.extend(led.shards);
        // Whoever has just lost a group to another may still tell of it.
        by_name.extend(led.groups.into_iter().map(|group| (group.group.clone(), group)));
        more |= led.more;
    }
    more |= by_name.len() > most;
    let groups: Vec<GroupEntry> = by_name.into_values().take(most).collect();
    let next = groups.last().filter(|_| more).map(|last| last.group.clone());
    GroupList { groups, next, shards_left_out: wanted.difference(&told).copied().collect() }
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
    let Standing { offsets, left_out, .. } = Standing::new(&found, positions(&api, name).await?);
    let mut offsets: Vec<GroupOffset> = offsets.into_values().collect();
    let asked = |offset: &GroupOffset| Position {
        place: (offset.topic.clone(), offset.partition),
        next: offset.committed.unwrap_or(0),
    };
    let asked: Vec<Position> = offsets.iter().map(asked).collect();
    let lags = lags(&api, &asked).await;
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
        // Whoever coordinates it does this.
        coordinator: api.broker.node().0,
        members: found.members.into_iter().map(member).collect(),
        offsets,
        offsets_left_out: left_out,
    };
    Answer::json(200, &group)
}

/// Where a group stands in its partitions: what an answer holds of it.
#[derive(Default)]
struct Standing {
    offsets: BTreeMap<(String, u32), GroupOffset>,
    /// What they take.
    bytes: usize,
    /// How many more there are.
    left_out: u64,
}

/// What one takes besides its texts, at most.
const OFFSET_BYTES: usize = 256;

const _: () = assert!(limit::ADMIN_ANSWER_BYTES_MAX / OFFSET_BYTES <= limit::GROUP_POSITIONS_MAX);

impl Standing {
    /// Where the group stands in every partition that it has a position or a member for. What members were
    /// assigned is what some client said: many partitions, and names as long as it liked.
    fn new(group: &Description, mut positions: Vec<FetchedOffset>) -> Self {
        let mut standing = Standing::default();
        positions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let fits = |position: &FetchedOffset| {
            let metadata = position.committed.as_ref().map_or(0, |committed| committed.metadata.len());
            standing.make_room(position.topic.len() + metadata)
        };
        let shown = positions.iter().map(fits).take_while(|fits| *fits).count();
        let hidden = positions.split_off(shown);
        standing.left_out = hidden.len() as u64;
        for position in positions {
            standing.add_position(position);
        }
        let is_hidden = |topic: &str, partition: u32| {
            let found =
                hidden.binary_search_by(|other| (other.topic.as_str(), other.partition).cmp(&(topic, partition)));
            found.is_ok()
        };
        for member in &group.members {
            let assigned = group::assignment::partitions(&member.assignment).unwrap_or_default();
            for (topic, partitions) in assigned.iter().filter(|(topic, _)| Name::new(topic).is_ok()) {
                for partition in partitions.iter().filter(|partition| !is_hidden(topic, **partition)) {
                    standing.add_member(topic, *partition, &member.member);
                }
            }
        }
        standing
    }

    /// Whether there is room for so many bytes of texts; they take it then.
    fn make_room(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes + OFFSET_BYTES + bytes;
        let fits = bytes <= limit::ADMIN_ANSWER_BYTES_MAX;
        if fits {
            self.bytes = bytes;
        }
        fits
    }

    fn add_position(&mut self, position: FetchedOffset) {
        let mut offset = nothing(&position.topic, position.partition);
        offset.committed = committed(&position).map(|offset| offset.0);
        if let Some(committed) = position.committed {
            offset.committed_at = Some(committed.time.timestamp().0);
            offset.metadata = committed.metadata;
        }
        self.offsets.insert((position.topic, position.partition), offset);
    }

    fn add_member(&mut self, topic: &str, partition: u32, member: &str) {
        // As many texts as it takes, at most.
        if !self.make_room(topic.len() + member.len()) {
            self.left_out += 1;
            // Without its member it would not be what it is.
            self.offsets.remove(&(topic.to_owned(), partition));
            return;
        }
        let offset = self.offsets.entry((topic.to_owned(), partition));
        offset.or_insert_with(|| nothing(topic, partition)).member = Some(member.to_owned());
    }
}

/// A partition of which nothing is known yet.
fn nothing(topic: &str, partition: u32) -> GroupOffset {
    GroupOffset {
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
    }
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

    fn group_of(members: Vec<MemberDescription>) -> Description {
        Description {
            group: "g".into(),
            state: group::GroupState::Stable,
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members,
        }
    }

    fn assigned(name: &str, topic: &str, partitions: std::ops::Range<u32>) -> MemberDescription {
        let mut assignment = b"\0\x01\0\0\0\x01".to_vec();
        assignment.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        assignment.extend_from_slice(topic.as_bytes());
        assignment.extend_from_slice(&(partitions.len() as u32).to_be_bytes());
        partitions.for_each(|partition| assignment.extend_from_slice(&partition.to_be_bytes()));
        MemberDescription {
            member: name.into(),
            instance: None,
            client_id: "c".into(),
            client_host: "127.0.0.1".into(),
            metadata: Bytes::new(),
            assignment: Bytes::from(assignment),
        }
    }

    fn position(partition: u32, offset: u64, metadata: &str) -> FetchedOffset {
        FetchedOffset {
            topic: "t".into(),
            id: model::TopicId([1; 16]),
            partition,
            known: true,
            committed: Some(Committed {
                offset: Offset(offset),
                leader_epoch: -1,
                metadata: metadata.into(),
                time: model::Hlc(5 << 16),
            }),
        }
    }

    #[test]
    fn every_partition_with_a_position_or_a_member_is_told() {
        let group = group_of(vec![assigned("m", "t", 1..3)]);
        let positions = vec![position(3, u64::MAX, "note"), position(0, 10, "note"), position(1, 20, "note")];
        let standing = Standing::new(&group, positions);
        assert_eq!(standing.left_out, 0);
        let told: Vec<_> = standing.offsets.into_values().collect();
        let facts: Vec<_> =
            told.iter().map(|offset| (offset.partition, offset.committed, offset.member.as_deref())).collect();
        assert_eq!(facts, [(0, Some(10), None), (1, Some(20), Some("m")), (2, None, Some("m")), (3, None, None)]);
        assert_eq!((told[0].metadata.as_str(), told[0].committed_at), ("note", Some(5)));
        assert_eq!(told[2].committed_at, None);
    }

    #[test]
    fn an_answer_holds_so_many_positions_and_no_more() {
        let metadata = "x".repeat(4096);
        let positions = |count: u32| (0..count).map(|partition| position(partition, 1, &metadata)).collect();
        // What is left out is so once, whoever was assigned it.
        let standing = Standing::new(&group_of(vec![assigned("m", "t", 9_000..10_000)]), positions(10_000));
        let shown = standing.offsets.len();
        assert!((3_000..5_000).contains(&shown), "{shown}");
        assert_eq!(standing.left_out, 10_000 - shown as u64);
        let few = Standing::new(&group_of(Vec::new()), positions(100));
        assert_eq!((few.offsets.len(), few.left_out), (100, 0));
    }

    #[test]
    fn a_hostile_assignment_is_not_multiplied() {
        let long = "n".repeat(30_000);
        let standing = Standing::new(&group_of(vec![assigned("m", &long, 0..500_000)]), Vec::new());
        assert_eq!((standing.offsets.len(), standing.left_out), (0, 0), "there is no such topic");
        for member in [assigned("m", "t", 0..500_000), assigned(&long, "t", 0..500_000)] {
            let standing = Standing::new(&group_of(vec![member]), Vec::new());
            assert!(standing.bytes <= limit::ADMIN_ANSWER_BYTES_MAX && !standing.offsets.is_empty());
            assert_eq!(standing.offsets.len() as u64 + standing.left_out, 500_000);
        }
    }

    #[test]
    fn lag_is_not_known_where_nothing_was_committed() {
        let lag = Lag { start: Offset(1), end: Offset(10), records: 9, millis: Some(1500) };
        let mut offset = nothing("t", 0);
        fill(&mut offset, lag);
        assert_eq!((offset.start, offset.end, offset.lag, offset.lag_seconds), (Some(1), Some(10), None, None));
        offset.committed = Some(1);
        fill(&mut offset, lag);
        assert_eq!((offset.lag, offset.lag_seconds), (Some(9), Some(1.5)));
    }

    #[test]
    fn what_nodes_tell_is_one_list_and_of_whom_nobody_tells_is_said() {
        let entry = |name: &str| GroupEntry {
            group: name.into(),
            kind: GroupType::Classic,
            state: GroupState::Empty,
            protocol_type: String::new(),
        };
        let led = |shards: &[u32], names: &[&str], more| LedGroups {
            shards: shards.iter().copied().collect(),
            groups: names.iter().map(|name| entry(name)).collect(),
            more,
        };
        let list = |answers, most| {
            let GroupList { groups, next, shards_left_out } = merged(answers, most, [1, 2, 3].into());
            let names: Vec<String> = groups.into_iter().map(|group| group.group).collect();
            (names.join(" "), next, shards_left_out)
        };
        let all = || vec![led(&[1, 3], &["a", "c"], false), led(&[2], &["b", "c"], false)];
        assert_eq!(list(all(), 3), ("a b c".into(), None, vec![]));
        assert_eq!(list(all(), 2), ("a b".into(), Some("b".into()), vec![]));
        assert_eq!(list(vec![led(&[1], &["a"], false)], 2), ("a".into(), None, vec![2, 3]));
        // Of one that has more, what comes behind is not known.
        assert_eq!(list(vec![led(&[1, 2, 3], &["a", "b"], true)], 2), ("a b".into(), Some("b".into()), vec![]));
        assert_eq!(list(vec![led(&[1, 2, 3], &[], false)], 2), (String::new(), None, vec![]));
    }

    #[test]
    fn states_are_spelled_as_in_answers() {
        use group::GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        for known in [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead] {
            assert_eq!(serde_json::to_value(state(known)).unwrap(), word(known));
        }
    }
}
