//! The admin API as functions, in the types it shares with the server.

use super::failure::Failure;
use super::nearest;
use super::output::note;
use super::position::Position;
use super::server::{Ask, Refusal, Server, is_loopback, path};
use super::visible;
use admin::shape::{
    AlterNode, AlterTopic, AlteredTopic, Code, CreateTopic, CreatedTopic, Group, GroupEntry, GroupList, GroupState,
    MoveOffsets, MovePartition, MovedOffsets, MovedPartition, Node, NodeList, NodeState, Records, RestartSafety, Topic,
    TopicEntry, TopicList, Written,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};
use ureq::http::Method;

const VERSION: &str = "v1";
/// How long a command tries again what the broker cannot do at the moment.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);
/// Pages looked at for a name like the one that was misspelt.
const PAGES_FOR_A_HINT: usize = 5;

/// The admin API of a server.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    server: Server,
    cluster: Option<Cluster>,
}

/// What is known of a server's cluster.
#[derive(Clone, Debug)]
struct Cluster {
    /// Its identity.
    id: String,
    /// Where its nodes are asked, this one included.
    addresses: Vec<String>,
}

/// Which records to read, and how long to wait for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) from: Position,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) wait: Duration,
}

/// Groups, by name.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<GroupEntry>,
    /// Shards whose groups are not among them, because nobody who leads them answers.
    pub(crate) shards_left_out: Vec<u32>,
}

impl Read {
    /// The part of the request's address that says so. Times that are relative are so to `now`.
    fn query(&self, now: i64) -> Vec<(&'static str, String)> {
        let from = match self.from {
            Position::Earliest => ("offset", "earliest".to_owned()),
            Position::Latest => ("offset", "latest".to_owned()),
            Position::Offset(offset) => ("offset", offset.to_string()),
            // The last none are none, but -0 is the first.
            Position::Last(0) => ("offset", "latest".to_owned()),
            Position::Last(count) => ("offset", format!("-{count}")),
            // Nothing is older than 1970.
            Position::Time(moment) => ("timestamp", moment.millis(now).max(0).to_string()),
        };
        let limits = [("limit", self.records_max.to_string()), ("max_bytes", self.bytes_max.to_string())];
        let wait = (!self.wait.is_zero()).then(|| ("wait_ms", self.wait.as_millis().to_string()));
        [from].into_iter().chain(limits).chain(wait).collect()
    }
}

impl Api {
    pub(crate) fn new(server: Server) -> Self {
        Api { server, cluster: None }
    }

    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    pub(crate) fn node(&self) -> Result<Node, Refusal> {
        self.get(&["node"], &[])
    }

    /// Learns where the other nodes of the cluster are asked, for when this one is lost. Without it there is nobody else
    /// to ask.
    pub(crate) fn learn(&mut self) {
        let (Ok(node), Ok(list)) = (self.node(), self.nodes()) else { return };
        let own = self.address().to_owned();
        let others = list.nodes.iter().filter(|other| other.node != node.node);
        let told = others.filter_map(|other| other.endpoints.get("http"));
        // Elsewhere, what a node calls itself would be somebody else here.
        let reachable = told.filter(|told| is_loopback(&own) || !is_loopback(told)).cloned();
        let addresses = std::iter::once(own.clone()).chain(reachable).collect();
        self.cluster = Some(Cluster { id: node.cluster, addresses });
    }

    /// The same cluster by another of its nodes, if one is known that answers.
    pub(crate) fn elsewhere(&self) -> Option<Api> {
        let cluster = self.cluster.as_ref()?;
        let others = cluster.addresses.iter().filter_map(|address| Server::named(address).ok());
        let others = others.filter(|server| server.address() != self.address());
        others.map(|server| Api { server, cluster: self.cluster.clone() }).find(|api| {
            let answer =
                api.server.ask::<Node>(Ask { method: Method::GET, path: "/v1/node", body: None, wait: Duration::ZERO });
            answer.is_ok_and(|node| node.cluster == cluster.id)
        })
    }

    /// Reads as [`Api::read`] does, and goes on at another node when this one is lost.
    pub(crate) fn read_on(&mut self, topic: &str, partition: u32, read: Read) -> Result<Records, Refusal> {
        let mut moves = self.cluster.as_ref().map_or(0, |cluster| cluster.addresses.len());
        loop {
            match self.read(topic, partition, read) {
                Err(Refusal::Unanswered(why)) if moves > 0 => {
                    moves -= 1;
                    let Some(other) = self.elsewhere() else { return Err(Refusal::Unanswered(why)) };
                    note(&format!("{why}; going on at {}", other.address()));
                    *self = other;
                }
                outcome => return outcome,
            }
        }
    }

    /// The nodes of the cluster.
    pub(crate) fn nodes(&self) -> Result<NodeList, Refusal> {
        self.get(&["nodes"], &[])
    }

    /// Says what a node is for; the nodes as they are then.
    pub(crate) fn alter_node(&self, node: u64, state: NodeState) -> Result<NodeList, Refusal> {
        self.send(Method::PATCH, &["nodes", &node.to_string()], &AlterNode { state })
    }

    /// Whether the node can be stopped.
    pub(crate) fn restart_safety(&self) -> Result<RestartSafety, Refusal> {
        self.get(&["node", "restart-safe"], &[])
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> Result<String, Refusal> {
        let ask = Ask { method: Method::GET, path: "/metrics", body: None, wait: Duration::ZERO };
        let text = self.server.exchange(ask)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// All topics whose name begins with `prefix`.
    pub(crate) fn topics(&self, prefix: &str) -> Result<Vec<TopicEntry>, Refusal> {
        self.topics_of_pages(prefix, usize::MAX)
    }

    fn topics_of_pages(&self, prefix: &str, pages: usize) -> Result<Vec<TopicEntry>, Refusal> {
        all_pages(pages, |after| {
            let TopicList { topics, next } = self.get(&["topics"], &page_query(&[("prefix", prefix)], after))?;
            Ok((topics, next))
        })
    }

    pub(crate) fn topic(&self, name: &str) -> Result<Topic, Refusal> {
        self.get(&["topics", name], &[])
    }

    pub(crate) fn create_topic(&self, topic: &CreateTopic) -> Result<CreatedTopic, Refusal> {
        self.send(Method::POST, &["topics"], topic)
    }

    pub(crate) fn alter_topic(&self, name: &str, change: &AlterTopic) -> Result<AlteredTopic, Refusal> {
        self.send(Method::PATCH, &["topics", name], change)
    }

    pub(crate) fn move_partition(&self, topic: &str, partition: u32, shard: u32) -> Result<MovedPartition, Refusal> {
        let segments = ["topics", topic, "partitions", &partition.to_string()];
        self.send(Method::PATCH, &segments, &MovePartition { shard })
    }

    pub(crate) fn delete_topic(&self, name: &str) -> Result<(), Refusal> {
        self.delete(&["topics", name])
    }

    /// Writes records; the body is [`admin::shape::NewRecords`] as JSON.
    pub(crate) fn write(&self, topic: &str, body: Vec<u8>) -> Result<Written, Refusal> {
        let path = path(&[VERSION, "topics", topic, "records"], &[]);
        patiently(|| {
            let body = Some(body.clone());
            self.server.ask(Ask { method: Method::POST, path: &path, body, wait: Duration::ZERO })
        })
    }

    pub(crate) fn read(&self, topic: &str, partition: u32, read: Read) -> Result<Records, Refusal> {
        let segments = [VERSION, "topics", topic, "partitions", &partition.to_string(), "records"];
        let path = path(&segments, &read.query(now_millis()));
        patiently(|| self.server.ask(Ask { method: Method::GET, path: &path, body: None, wait: read.wait }))
    }

    /// All groups, or those in a state.
    pub(crate) fn groups(&self, state: Option<&str>) -> Result<Groups, Refusal> {
        self.groups_of_pages(state, usize::MAX)
    }

    fn groups_of_pages(&self, state: Option<&str>, pages: usize) -> Result<Groups, Refusal> {
        let mut left_out = BTreeSet::new();
        let groups = all_pages(pages, |after| {
            let query = page_query(&[("state", state.unwrap_or_default())], after);
            let GroupList { groups, next, shards_left_out } = self.get(&["groups"], &query)?;
            left_out.extend(shards_left_out);
            Ok((groups, next))
        })?;
        Ok(Groups { groups, shards_left_out: left_out.into_iter().collect() })
    }

    pub(crate) fn group(&self, name: &str) -> Result<Group, Refusal> {
        self.get(&["groups", name], &[])
    }

    pub(crate) fn move_offsets(&self, group: &str, how: &MoveOffsets) -> Result<MovedOffsets, Refusal> {
        self.send(Method::POST, &["groups", group, "offsets"], how)
    }

    pub(crate) fn delete_group(&self, name: &str) -> Result<(), Refusal> {
        self.delete(&["groups", name])
    }

    /// Why it was not done for this topic; where there is none, with the name that may have been meant.
    pub(crate) fn failure_of_topic(&self, name: &str, refusal: Refusal) -> Failure {
        self.failure_of(Code::UnknownTopic, "topic", name, refusal, || {
            let topics = self.topics_of_pages("", PAGES_FOR_A_HINT)?;
            Ok(topics.into_iter().map(|topic| topic.name).collect())
        })
    }

    /// Why it was not done for this group; where there is none, with the name that may have been meant.
    pub(crate) fn failure_of_group(&self, name: &str, refusal: Refusal) -> Failure {
        self.failure_of(Code::UnknownGroup, "group", name, refusal, || {
            let groups = self.groups_of_pages(None, PAGES_FOR_A_HINT)?;
            Ok(groups.groups.into_iter().map(|group| group.group).collect())
        })
    }

    fn failure_of(
        &self,
        unknown: Code,
        noun: &str,
        name: &str,
        refusal: Refusal,
        names: impl Fn() -> Result<Vec<String>, Refusal>,
    ) -> Failure {
        match refusal {
            // In our own words: the broker's tell what to do by HTTP.
            Refusal::Refused(problem) if problem.code == unknown => {
                // Without the list there is no hint, and what went wrong is said all the same.
                let names = names().unwrap_or_default();
                let hint = nearest::hint(name, names.iter().map(String::as_str));
                Failure::Failed(format!("there is no {noun} {}{hint}", visible::line(name)))
            }
            other => other.into(),
        }
    }

    fn get<T: DeserializeOwned>(&self, segments: &[&str], query: &[(&str, String)]) -> Result<T, Refusal> {
        let segments: Vec<_> = [VERSION].iter().chain(segments).copied().collect();
        let path = path(&segments, query);
        patiently(|| self.server.ask(Ask { method: Method::GET, path: &path, body: None, wait: Duration::ZERO }))
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Refusal> {
        let segments: Vec<_> = [VERSION].iter().chain(segments).copied().collect();
        let body = serde_json::to_vec(body).map_err(|error| Refusal::Unanswered(error.to_string()))?;
        self.server.ask(Ask { method, path: &path(&segments, &[]), body: Some(body), wait: Duration::ZERO })
    }

    fn delete(&self, segments: &[&str]) -> Result<(), Refusal> {
        let segments: Vec<_> = [VERSION].iter().chain(segments).copied().collect();
        let path = path(&segments, &[]);
        self.server.exchange(Ask { method: Method::DELETE, path: &path, body: None, wait: Duration::ZERO })?;
        Ok(())
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The query without parameters that are empty, and with where the page begins.
fn page_query(given: &[(&'static str, &str)], after: Option<String>) -> Vec<(&'static str, String)> {
    let given = given.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (*name, (*value).to_owned()));
    given.chain(after.map(|after| ("after", after))).collect()
}

/// Elements of at most so many pages, each of which is asked for by the end of the one before.
fn all_pages<T>(
    pages: usize,
    mut page: impl FnMut(Option<String>) -> Result<(Vec<T>, Option<String>), Refusal>,
) -> Result<Vec<T>, Refusal> {
    let mut all = Vec::new();
    let mut after = None;
    for _ in 0..pages {
        let (elements, next) = page(after)?;
        all.extend(elements);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(all)
}

/// Does it again while the broker says that it was not done and may be done later.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(Refusal::Refused(problem)) if may_be_done_later(problem.code) && began.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Whether the same request may be done in a moment, and was not now.
pub(crate) fn may_be_done_later(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::NotLeader | Code::Busy)
}

/// A state as it is shown and asked for.
pub(crate) fn state_name(state: GroupState) -> String {
    let name = serde_json::to_value(state).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::moment::Moment;
    use super::*;
    use admin::shape::Problem;

    fn query(from: Position) -> String {
        let read = Read { from, records_max: 10, bytes_max: 20, wait: Duration::ZERO };
        path(&[], &read.query(1000))
    }

    #[test]
    fn every_position_can_be_asked_for() {
        for (from, asked) in [
            (Position::Earliest, "offset=earliest"),
            (Position::Latest, "offset=latest"),
            (Position::Offset(7), "offset=7"),
            (Position::Last(7), "offset=-7"),
            (Position::Last(0), "offset=latest"),
            (Position::Time(Moment::Ago(100)), "timestamp=900"),
            (Position::Time(Moment::At(-5)), "timestamp=0"),
        ] {
            assert_eq!(query(from), format!("?{asked}&limit=10&max_bytes=20"));
        }
        let read = Read { from: Position::Latest, records_max: 1, bytes_max: 2, wait: Duration::from_secs(3) };
        assert!(path(&[], &read.query(0)).ends_with("&wait_ms=3000"));
    }

    #[test]
    fn pages_are_read_to_the_last_or_to_the_bound() {
        let page = |after: Option<String>| {
            let first = after.map_or(0, |after| after.parse().unwrap());
            Ok((vec![first, first + 1], (first < 4).then(|| (first + 2).to_string())))
        };
        assert_eq!(all_pages(usize::MAX, page).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(all_pages(2, page).unwrap(), [0, 1, 2, 3]);
        assert_eq!(
            page_query(&[("prefix", ""), ("a", "b")], Some("x".into())),
            [("a", "b".into()), ("after", "x".into())]
        );
    }

    #[test]
    fn what_was_refused_for_good_is_not_tried_again() {
        let mut attempts = 0;
        let refused: Result<(), _> = patiently(|| {
            attempts += 1;
            let code = if attempts < 3 { Code::Busy } else { Code::UnknownTopic };
            Err(Refusal::Refused(Problem { code, message: String::new() }))
        });
        assert!(refused.is_err());
        assert_eq!(attempts, 3);
    }
}
