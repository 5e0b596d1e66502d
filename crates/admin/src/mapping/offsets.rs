//! Moving and forgetting a group's positions.

use super::bounds::bounds;
use super::error::{Subject, refusal};
use super::groups::{committed, find, positions};
use super::{find_topic, mismatch, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::between::{Bounds, Place};
use crate::body;
use crate::query::{OFFSET_MAX, shown};
use crate::refusal::Refusal;
use crate::shape::{Code, DeletedOffsets, MoveOffsets, MovedOffset, MovedOffsets, Target, TopicPartitions};
use broker::group::GroupState;
use broker::request::{FetchedOffset, NewOffset, OffsetCommit, OffsetDelete, PartitionRef, TopicRef};
use broker::{BrokerError, Reply, Request};
use model::{Offset, Timestamp, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a group has been: by topic and partition.
type Positions = BTreeMap<Place, Offset>;

pub(crate) async fn move_to(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let group = call.name(0);
    let MoveOffsets { topics, to, create, dry_run } = body::read(&call.body)?;
    if let Target::Offset(offset) = to
        && offset > OFFSET_MAX
    {
        return Err(Refusal::new(Code::InvalidBody, format!("offset {offset} is more than {OFFSET_MAX}")));
    }
    check_idle(&api, group, create, topics.is_some()).await?;
    let old = known(positions(&api, group).await?);
    let places = match topics {
        Some(topics) => named(&api, topics).await?,
        None => old.keys().cloned().collect(),
    };
    let time = match &to {
        Target::Timestamp(time) => Some(Timestamp(time.0)),
        _ => None,
    };
    let found = bounds(&api, &places, time).await;
    let mut moved = Vec::with_capacity(places.len());
    for (place, found) in places.into_iter().zip(found) {
        let old = old.get(&place).copied();
        moved.push(moved_one(place, old, &to, found?)?);
    }
    if !dry_run {
        commit(&api, group, &moved).await?;
    }
    Answer::json(200, &MovedOffsets { group: group.to_owned(), dry_run, offsets: moved })
}

/// A group with members is theirs. One that is not there is made when that is asked for, and said of what: the
/// group may as well be another whose name is misspelt.
async fn check_idle(api: &Inner, group: &str, create: bool, named: bool) -> Result<(), Refusal> {
    match find(api, group).await {
        Ok(found) if matches!(found.state, GroupState::Empty | GroupState::Dead) => Ok(()),
        Ok(found) => {
            let members = match found.members.len() {
                1 => "1 member".to_owned(),
                count => format!("{count} members"),
            };
            let (group, state) = (shown(group), found.state.name());
            let message = format!("group {group} has {members} and is {state}; stop its consumers first");
            Err(Refusal::new(Code::GroupNotEmpty, message))
        }
        Err(refusal) if refusal.code != Code::UnknownGroup => Err(refusal),
        // Kafka's simple consumers may have one, but nobody means to make it.
        Err(_) if group.is_empty() => Err(Refusal::new(Code::InvalidName, "the name of the group is missing")),
        Err(_) if create && named => Ok(()),
        Err(Refusal { message, .. }) => {
            let how = if create { "name the topics of which to make it" } else { "\"create\": true makes it" };
            Err(Refusal::new(Code::UnknownGroup, format!("{message}; {how}")))
        }
    }
}

fn known(positions: Vec<FetchedOffset>) -> Positions {
    let known = |position: FetchedOffset| {
        let offset = committed(&position)?;
        Some(((position.topic, position.partition), offset))
    };
    positions.into_iter().filter_map(known).collect()
}

/// The partitions that are named, each once and no more than a group has positions.
async fn named(api: &Inner, topics: Vec<TopicPartitions>) -> Result<Vec<Place>, Refusal> {
    let mut places = Vec::new();
    for (topic, partitions) in each_once(topics) {
        let count = find_topic(api, &topic).await?.partitions.len() as u32;
        add_places(&mut places, &topic, partitions, count)?;
        tokio::task::yield_now().await;
    }
    Ok(places)
}

/// What is named of each topic, which is all of it where no partitions are.
fn each_once(topics: Vec<TopicPartitions>) -> BTreeMap<String, Option<BTreeSet<u32>>> {
    let mut named = BTreeMap::<String, Option<BTreeSet<u32>>>::new();
    for TopicPartitions { topic, partitions } in topics {
        let so_far = named.entry(topic).or_insert_with(|| Some(BTreeSet::new()));
        match (so_far.as_mut(), partitions) {
            (Some(so_far), Some(more)) => so_far.extend(more),
            _ => *so_far = None,
        }
    }
    named
}

/// Adds partitions of a topic that has so many.
fn add_places(
    places: &mut Vec<Place>,
    topic: &str,
    partitions: Option<BTreeSet<u32>>,
    count: u32,
) -> Result<(), Refusal> {
    let more = partitions.as_ref().map_or(count as usize, BTreeSet::len);
    if let Some(missing) = partitions.as_ref().and_then(BTreeSet::last).filter(|last| **last >= count) {
        return Err(refusal(&BrokerError::UnknownPartition, Subject::Partition(topic, *missing)));
    }
    if places.len() + more > limit::GROUP_POSITIONS_MAX {
        let message = format!("a group has at most {} positions, these are more", limit::GROUP_POSITIONS_MAX);
        return Err(Refusal::new(Code::LimitReached, message));
    }
    let partitions = partitions.unwrap_or_else(|| (0..count).collect());
    places.extend(partitions.into_iter().map(|partition| (topic.to_owned(), partition)));
    Ok(())
}

fn moved_one(
    (topic, partition): Place,
    old: Option<Offset>,
    to: &Target,
    found: Bounds,
) -> Result<MovedOffset, Refusal> {
    let (start, end) = (Offset(found.start), Offset(found.end));
    let new = match to {
        Target::Timestamp(_) => Offset(found.at),
        other => target(other, old, start, end).ok_or_else(|| {
            let message = format!(
                "the group has no position over partition {partition} of topic {} that could be kept or shifted; \
                 name another target",
                shown(&topic)
            );
            Refusal::new(Code::OffsetOutOfRange, message)
        })?,
    };
    Ok(MovedOffset { topic, partition, old: old.map(|offset| offset.0), new: new.0, start: start.0, end: end.0 })
}

/// Where that is, inside of the partition; `None` when it depends on a position that there is none of.
fn target(to: &Target, old: Option<Offset>, start: Offset, end: Offset) -> Option<Offset> {
    let wanted = match to {
        Target::Earliest => start,
        Target::Latest | Target::Timestamp(_) => end,
        Target::Offset(offset) => Offset(*offset),
        Target::Current => old?,
        Target::ShiftBy(by) => Offset(old?.0.saturating_add_signed(*by)),
    };
    Some(wanted.min(end).max(start))
}

/// Commits as a consumer outside of the group protocol does, which is refused while there are members.
async fn commit(api: &Inner, group: &str, moved: &[MovedOffset]) -> Result<(), Refusal> {
    if moved.is_empty() {
        return Ok(());
    }
    let offset = |moved: &MovedOffset| NewOffset {
        partition: partition_ref(&moved.topic, moved.partition),
        offset: Offset(moved.new),
        leader_epoch: -1,
        metadata: String::new(),
    };
    let commit = OffsetCommit {
        group: group.to_owned(),
        member: String::new(),
        instance: None,
        generation: -1,
        offsets: moved.iter().map(offset).collect(),
    };
    let Reply::OffsetsCommitted(outcomes) = api.ask(Request::CommitOffsets(commit)).await else {
        return Err(mismatch());
    };
    for (moved, outcome) in moved.iter().zip(outcomes) {
        outcome.map_err(|error| refusal(&error, Subject::Positions(group, &moved.topic)))?;
    }
    Ok(())
}

pub(crate) async fn delete(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let (group, topic) = (call.name(0), call.name(1));
    let only = call.query.natural("partition").map(|partition| partition as u32);
    find(&api, group).await?;
    let count = find_topic(&api, topic).await?.partitions.len() as u32;
    if let Some(partition) = only.filter(|partition| *partition >= count) {
        return Err(refusal(&BrokerError::UnknownPartition, Subject::Partition(topic, partition)));
    }
    let of_topic = positions(&api, group).await?.into_iter().filter(|position| position.topic == topic);
    let partitions: Vec<u32> = of_topic.map(|position| position.partition).collect();
    let partitions: Vec<u32> =
        partitions.into_iter().filter(|partition| only.is_none_or(|only| only == *partition)).collect();
    let place = |partition: &u32| PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition: *partition };
    // Also where there is nothing to forget: whether it could be is told.
    let places =
        if partitions.is_empty() { vec![place(&only.unwrap_or(0))] } else { partitions.iter().map(place).collect() };
    let delete = OffsetDelete { group: group.to_owned(), partitions: places };
    let Reply::OffsetsDeleted(outcome) = api.ask(Request::DeleteOffsets(delete)).await else {
        return Err(mismatch());
    };
    let subject = Subject::Positions(group, topic);
    let outcomes = outcome.map_err(|error| refusal(&error, subject))?;
    outcomes.into_iter().try_for_each(|outcome| outcome.map_err(|error| refusal(&error, subject)))?;
    Answer::json(200, &DeletedOffsets { group: group.to_owned(), topic: topic.to_owned(), partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_named_many_times_is_one() {
        let named = |topic: &str, partitions: Option<&[u32]>| TopicPartitions {
            topic: topic.into(),
            partitions: partitions.map(<[u32]>::to_vec),
        };
        let topics = vec![named("b", Some(&[2, 1])), named("a", None), named("b", Some(&[1])), named("a", Some(&[7]))];
        let once: Vec<_> = each_once(topics).into_iter().collect();
        assert_eq!(once, [("a".to_owned(), None), ("b".to_owned(), Some([1, 2].into()))]);
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_made() {
        let mut places = Vec::new();
        let most = limit::TOPIC_PARTITIONS_MAX;
        let refused = (0..1000).find_map(|_| add_places(&mut places, "t", None, most).err()).unwrap();
        assert_eq!(refused.code, Code::LimitReached);
        assert!(places.len() <= limit::GROUP_POSITIONS_MAX);
        let missing = add_places(&mut Vec::new(), "t", Some([0, 9].into()), 9).unwrap_err();
        assert_eq!(missing.code, Code::UnknownPartition);
        assert!(missing.message.contains("partition 9"), "{missing}");
    }

    #[test]
    fn targets_stay_inside_of_the_partition() {
        let (start, end) = (Offset(10), Offset(20));
        let at = |to: Target, old: Option<u64>| target(&to, old.map(Offset), start, end).map(|offset| offset.0);
        assert_eq!(at(Target::Earliest, None), Some(10));
        assert_eq!(at(Target::Latest, None), Some(20));
        assert_eq!(at(Target::Offset(15), None), Some(15));
        assert_eq!(at(Target::Offset(5), None), Some(10));
        assert_eq!(at(Target::Offset(OFFSET_MAX), None), Some(20));
        assert_eq!(at(Target::Current, Some(12)), Some(12));
        assert_eq!(at(Target::Current, Some(2)), Some(10));
        assert_eq!(at(Target::ShiftBy(-3), Some(15)), Some(12));
        assert_eq!(at(Target::ShiftBy(i64::MIN), Some(15)), Some(10));
        assert_eq!(at(Target::ShiftBy(i64::MAX), Some(15)), Some(20));
        assert_eq!((at(Target::Current, None), at(Target::ShiftBy(1), None)), (None, None));
    }
}
