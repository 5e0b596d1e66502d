//! `mainstem group`: consumer groups, and where they are.

use super::api::{self, Api, Groups, state_name};
use super::failure::Failure;
use super::moment::{self, Moment};
use super::output::{Output, note};
use super::ranges::ranges;
use super::server::{Refusal, ServerFlag};
use super::table::{Table, facts};
use super::{amount, confirmation, names, number, visible};
use admin::shape::{
    Code, Group, GroupOffset, GroupState, MoveOffsets, MovedOffset, MovedOffsets, Target, Time, TopicPartitions,
};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::json;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  mainstem group list --state empty
  mainstem group describe billing
  mainstem group reset billing --topic orders --to-earliest
  mainstem group reset billing --topic orders:0,3 --to-time 2026-11-30T12:00:00Z --execute
  mainstem group delete billing --yes";
const RESET_EXAMPLES: &str =
    "Without --execute it only shows what would be done. The group must have no members in either case.

Examples:
  mainstem group reset billing --all-topics --to-latest
  mainstem group reset billing --topic orders --topic payments --by-duration 2h --execute
  mainstem group reset billing --topic orders:0-3,7 --shift-by -100 --execute";
/// Stands for what nobody can say at the moment.
const UNKNOWN: &str = "-";
/// The largest offset there can be.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// Consumer groups: list, describe, move, delete
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GroupOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List groups
    List {
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<State>,
    },
    /// Show a group's members, where it is, and how far it is behind
    Describe {
        /// The group
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Move a group to other offsets
    Reset(ResetOptions),
    /// Remove groups, which must have no members, with their offsets
    Delete {
        /// The groups
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// A group's state as the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
}

impl From<State> for GroupState {
    fn from(state: State) -> Self {
        match state {
            State::Empty => GroupState::Empty,
            State::PreparingRebalance => GroupState::PreparingRebalance,
            State::CompletingRebalance => GroupState::CompletingRebalance,
            State::Stable => GroupState::Stable,
            State::Dead => GroupState::Dead,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = RESET_EXAMPLES)]
#[command(group = ArgGroup::new("which").required(true))]
#[command(group = ArgGroup::new("target").required(true))]
struct ResetOptions {
    /// The group
    #[arg(value_name = "NAME")]
    name: String,
    /// Offsets of this topic, or of some of its partitions. May be given several times
    #[arg(long = "topic", value_name = "TOPIC[:PARTITIONS]", value_parser = topic_partitions, group = "which")]
    topics: Vec<TopicPartitions>,
    /// Everything that the group has offsets of
    #[arg(long, group = "which")]
    all_topics: bool,
    /// To the first record
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// Behind the last record
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To where it is, but inside of what there is
    #[arg(long, group = "target")]
    to_current: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = number::between(0, OFFSET_MAX),
          group = "target")]
    to_offset: Option<u64>,
    /// To the first record that is not older: RFC 3339, '10m ago' or 1764460800000ms
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, allow_hyphen_values = true,
          group = "target")]
    to_time: Option<Moment>,
    /// To the first record that is younger than this: 90s, '1h 30m', 2d or PT10M
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span, allow_hyphen_values = true,
          group = "target")]
    by_duration: Option<i64>,
    /// So many records on, or back when negative
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = number::signed,
          group = "target")]
    shift_by: Option<i64>,
    /// Make the group if there is none
    #[arg(long, conflicts_with = "all_topics")]
    create: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
}

impl ResetOptions {
    /// What is asked of the broker at the time `now`.
    fn request(&self, now: i64) -> MoveOffsets {
        // Nothing is older than 1970.
        let time = |millis: i64| Target::Timestamp(Time(millis.max(0)));
        let to = match (self.to_offset, self.to_time, self.by_duration, self.shift_by) {
            (Some(offset), ..) => Target::Offset(offset),
            (_, Some(moment), ..) => time(moment.millis(now)),
            (_, _, Some(span), _) => time(now.saturating_sub(span)),
            (.., Some(count)) => Target::ShiftBy(count),
            _ if self.to_earliest => Target::Earliest,
            _ if self.to_latest => Target::Latest,
            _ => Target::Current,
        };
        let topics = (!self.all_topics).then(|| self.topics.clone());
        MoveOffsets { topics, to, create: self.create, dry_run: !self.execute }
    }
}

/// Reads `orders`, `orders:3` or `orders:0-3,7`.
fn topic_partitions(text: &str) -> Result<TopicPartitions, String> {
    let Some((topic, numbers)) = text.split_once(':') else {
        return Ok(TopicPartitions { topic: text.to_owned(), partitions: None });
    };
    let wrong = || format!("{numbers:?} names no partitions, expected some such as 0, 0,3 or 0-3,7");
    let mut partitions = Vec::new();
    for part in numbers.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = first.parse().ok().zip(last.parse().ok()).ok_or_else(wrong)?;
        if first > last || last >= model::limit::TOPIC_PARTITIONS_MAX {
            return Err(wrong());
        }
        partitions.extend(first..=last);
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(TopicPartitions { topic: topic.to_owned(), partitions: Some(partitions) })
}

pub(crate) fn run(options: GroupOptions, output: &mut Output) -> Result<(), Failure> {
    let GroupOptions { server, json, action } = options;
    let api = Api::new(server.server()?);
    match action {
        Action::List { state } => list(&api, state, json, output),
        Action::Describe { name } => describe(&api, &name, json, output),
        Action::Reset(options) => reset(&api, &options, json, output),
        Action::Delete { names, yes } => delete(&api, &names, yes, json, output),
    }
}

fn list(api: &Api, state: Option<State>, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let state = state.map(|state| state_name(state.into()));
    let Groups { groups, shards_left_out } = api.groups(state.as_deref())?;
    if as_json {
        output.json(&groups)?;
        return complete(&shards_left_out);
    }
    let mut table = Table::new(&["group", "state", "protocol type"]);
    for group in groups {
        table.row([group.group, in_words(group.state), group.protocol_type]);
    }
    if !table.is_empty() {
        output.text(&table.text())?;
    } else if shards_left_out.is_empty() {
        note(if state.is_some() { "no group is in this state" } else { "there are no groups" });
    }
    complete(&shards_left_out)
}

/// Says of which shards the groups are missing.
fn complete(left_out: &[u32]) -> Result<(), Failure> {
    let shards = match left_out {
        [] => return Ok(()),
        [one] => format!("shard {one}"),
        several => format!("shards {}", ranges(several)),
    };
    Err(Failure::failed(format!("groups of {shards} are not among these: nobody who leads it answers; try again")))
}

fn in_words(state: GroupState) -> String {
    state_name(state).replace('_', " ")
}

fn describe(api: &Api, name: &str, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let group = api.group(name).map_err(|refusal| api.failure_of_group(name, refusal))?;
    if as_json { output.json(&group) } else { output.text(&description(&group)) }
}

/// A group for people.
fn description(group: &Group) -> String {
    // The sum of some of them would look like that of all.
    let all = if group.offsets_left_out == 0 { Some(&group.offsets) } else { None };
    let lag: Option<u64> = all.and_then(|all| all.iter().map(|offset| offset.lag).sum());
    let about = facts(&[
        ("group", group.group.clone()),
        ("state", in_words(group.state)),
        ("assignor", if group.protocol.is_empty() { UNKNOWN.into() } else { group.protocol.clone() }),
        ("members", amount::count(group.members.len() as u64)),
        ("lag", lag.map_or(UNKNOWN.into(), |lag| amount::of(lag, "record"))),
    ]);
    let mut members = Table::new(&["member", "client", "host", "has"]);
    for member in &group.members {
        let id =
            member.instance.as_ref().map_or_else(|| member.member.clone(), |id| format!("{id} ({})", member.member));
        let assignment = member.assignment.iter().flatten();
        let has: Vec<_> = assignment.map(|topic| format!("{}:{}", topic.topic, ranges(&topic.partitions))).collect();
        let has = if has.is_empty() { UNKNOWN.to_owned() } else { has.join(" ") };
        members.row([id, member.client_id.clone(), member.client_host.clone(), has]);
    }
    let mut offsets = Table::new(&["topic", "#partition", "#committed", "#end", "#lag", "#behind", "member"]);
    for offset in &group.offsets {
        let GroupOffset { topic, partition, committed, end, lag, lag_seconds, member, .. } = offset;
        let shown = |number: &Option<u64>| number.map_or(UNKNOWN.into(), amount::count);
        let behind = lag_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        offsets.row([
            topic.clone(),
            partition.to_string(),
            shown(committed),
            shown(end),
            shown(lag),
            behind.map_or(UNKNOWN.into(), amount::span),
            member.clone().unwrap_or_else(|| UNKNOWN.into()),
        ]);
    }
    let mut text = about;
    if !offsets.is_empty() {
        text += &format!("\n{}", offsets.text());
    }
    if group.offsets_left_out > 0 {
        text += &format!("and {} more\n", amount::of(group.offsets_left_out, "offset"));
    }
    if !members.is_empty() {
        text += &format!("\n{}", members.text());
    }
    text
}

fn reset(api: &Api, options: &ResetOptions, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let moved = api.move_offsets(&options.name, &options.request(api::now_millis()));
    let moved = moved.map_err(|refusal| match (&refusal, options.topics.as_slice()) {
        // Where several are named, the broker says which it means.
        (Refusal::Refused(problem), [named]) if problem.code == Code::UnknownTopic => {
            api.failure_of_topic(&named.topic, refusal)
        }
        (Refusal::Refused(problem), _) if problem.code == Code::UnknownGroup && !options.all_topics => {
            api.failure_of_group(&options.name, refusal).with("--create makes it")
        }
        _ => api.failure_of_group(&options.name, refusal),
    })?;
    if as_json {
        return output.json(&moved);
    }
    if moved.offsets.is_empty() {
        note("the group has no offsets there");
        return Ok(());
    }
    output.text(&moves(&moved))?;
    output.flush()?;
    note(&if moved.dry_run {
        "nothing was changed: add --execute to do it".to_owned()
    } else {
        format!("moved {}", amount::of(moved.offsets.len() as u64, "offset"))
    });
    Ok(())
}

/// Where a group was and is, or would be.
fn moves(moved: &MovedOffsets) -> String {
    let mut table = Table::new(&["topic", "#partition", "#old", "#new", "#change", "#start", "#end"]);
    for MovedOffset { topic, partition, old, new, start, end } in &moved.offsets {
        let change = old.map_or(UNKNOWN.into(), |old| change(old, *new));
        table.row([
            topic.clone(),
            partition.to_string(),
            old.map_or(UNKNOWN.into(), amount::count),
            amount::count(*new),
            change,
            amount::count(*start),
            amount::count(*end),
        ]);
    }
    table.text()
}

fn change(old: u64, new: u64) -> String {
    match new.cmp(&old) {
        std::cmp::Ordering::Less => format!("-{}", amount::count(old - new)),
        std::cmp::Ordering::Equal => "0".into(),
        std::cmp::Ordering::Greater => format!("+{}", amount::count(new - old)),
    }
}

fn delete(api: &Api, names: &[String], yes: bool, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    // What is not there is told before anything is asked.
    let mut found = Vec::new();
    let looked = names::each(&names::once(names), |name| {
        api.group(name).map_err(|refusal| api.failure_of_group(name, refusal))?;
        found.push(name.to_owned());
        Ok(())
    });
    if found.is_empty() || !matches!(looked, Ok(()) | Err(Failure::Told)) {
        return looked;
    }
    if !yes {
        confirmation::ask(&format!("delete {} with all offsets", amount::of(found.len() as u64, "group")), &found)?;
    }
    let mut deleted = Vec::new();
    let outcome = names::each(&found, |name| {
        api.delete_group(name).map_err(|refusal| api.failure_of_group(name, refusal))?;
        if !as_json {
            output.text(&format!("deleted {}\n", visible::line(name)))?;
            output.flush()?;
        }
        deleted.push(name.to_owned());
        Ok(())
    });
    if as_json {
        output.json(&json!({ "deleted": deleted }))?;
    }
    outcome.and(looked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::{Assignment, GroupType, Member};
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: ResetOptions,
    }

    fn request(arguments: &[&str]) -> Result<MoveOffsets, String> {
        let line = Line::try_parse_from([&["reset", "g"], arguments].concat());
        line.map(|line| line.options.request(1_000_000)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_target_can_be_asked_for() {
        for (arguments, target) in [
            (&["--to-earliest"] as &[&str], Target::Earliest),
            (&["--to-latest"], Target::Latest),
            (&["--to-current"], Target::Current),
            (&["--to-offset", "7"], Target::Offset(7)),
            (&["--to-time", "1970-01-01T00:00:05Z"], Target::Timestamp(Time(5000))),
            (&["--to-time", "10s ago"], Target::Timestamp(Time(990_000))),
            (&["--by-duration", "PT1M"], Target::Timestamp(Time(940_000))),
            (&["--by-duration", "365d"], Target::Timestamp(Time(0))),
            (&["--shift-by", "-3"], Target::ShiftBy(-3)),
        ] {
            let asked = request(&[&["--topic", "t"], arguments].concat()).unwrap();
            assert_eq!(asked.to, target, "{arguments:?}");
            assert!(asked.dry_run, "nothing is done unless it is said");
        }
        let executed = request(&["--all-topics", "--to-latest", "--execute"]).unwrap();
        assert!(!executed.dry_run && !executed.create);
        assert!(request(&["--topic", "t", "--to-latest", "--create"]).unwrap().create);
    }

    #[test]
    fn a_negative_number_is_refused_for_what_it_is() {
        for (arguments, expected) in [
            (["--to-offset", "-1"], "expected a whole number from 0 to"),
            (["--by-duration", "-1h"], "less than nothing"),
            (["--to-time", "-5"], "\"-5\" is not a time"),
            (["--shift-by", "few"], "expected a whole number"),
        ] {
            let refused = request(&[&["--topic", "t"], &arguments[..]].concat()).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn which_and_where_to_are_said_once() {
        assert_eq!(request(&["--all-topics", "--to-latest"]).unwrap().topics, None);
        let named = request(&["--topic", "a", "--topic", "b:1", "--to-latest"]).unwrap().topics.unwrap();
        assert_eq!(named.len(), 2);
        for arguments in [
            &["--to-latest"] as &[&str],
            &["--topic", "a"],
            &["--topic", "a", "--to-latest", "--to-earliest"],
            &["--topic", "a", "--all-topics", "--to-latest"],
            &["--all-topics", "--to-latest", "--create"],
        ] {
            assert!(request(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn partitions_are_numbers_and_ranges() {
        let partitions = |text| topic_partitions(text).map(|named| (named.topic, named.partitions));
        assert_eq!(partitions("t"), Ok(("t".into(), None)));
        assert_eq!(partitions("t:0-2,7,1"), Ok(("t".into(), Some(vec![0, 1, 2, 7]))));
        for text in ["t:", "t:a", "t:3-1", "t:-1", "t:0-99999999"] {
            assert!(partitions(text).unwrap_err().contains("expected some such as"), "{text}");
        }
    }

    #[test]
    fn a_group_is_described_with_its_lag() {
        let offset = |partition, committed, lag, seconds| GroupOffset {
            topic: "orders".into(),
            partition,
            committed,
            committed_at: None,
            metadata: String::new(),
            start: Some(0),
            end: Some(1000),
            lag,
            lag_seconds: seconds,
            member: committed.map(|_| "m-1".into()),
        };
        let member = Member {
            member: "m-1".into(),
            instance: None,
            client_id: "billing".into(),
            client_host: "10.0.0.1".into(),
            assignment: Some(vec![Assignment { topic: "orders".into(), partitions: vec![0, 1] }]),
        };
        let group = Group {
            group: "g".into(),
            kind: GroupType::Classic,
            state: GroupState::PreparingRebalance,
            protocol_type: "consumer".into(),
            protocol: String::new(),
            coordinator: 1,
            members: vec![member],
            offsets: vec![offset(0, Some(400), Some(600), Some(90.0)), offset(1, None, None, None)],
            offsets_left_out: 1000,
        };
        assert_eq!(
            description(&group),
            "group     g\nstate     preparing rebalance\nassignor  -\nmembers   1\nlag       -\n\n\
             topic   partition  committed    end  lag  behind  member\n\
             orders          0        400  1,000  600  1m 30s  m-1\n\
             orders          1          -  1,000    -       -  -\n\
             and 1,000 offsets more\n\n\
             member  client   host      has\n\
             m-1     billing  10.0.0.1  orders:0-1\n"
        );
    }

    #[test]
    fn a_move_shows_old_and_new() {
        let moved = MovedOffset { topic: "t".into(), partition: 0, old: Some(10), new: 2, start: 0, end: 20 };
        let from_nowhere = MovedOffset { partition: 1, old: None, ..moved.clone() };
        let moved = MovedOffsets { group: "g".into(), dry_run: true, offsets: vec![moved, from_nowhere] };
        assert_eq!(
            moves(&moved),
            "topic  partition  old  new  change  start  end\n\
             t              0   10    2      -8      0   20\n\
             t              1    -    2       -      0   20\n"
        );
        assert_eq!(change(2, 2002), "+2,000");
        assert_eq!(change(2, 2), "0");
    }
}
