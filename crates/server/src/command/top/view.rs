//! What `top` shows, computed from two looks at the metrics.
//!
//! A metric that a node does not have leaves its place empty; nothing here depends on all of them.

use crate::command::exposition::Exposition;
use serde::Serialize;
use std::collections::BTreeMap;

/// Parts of all that are said of latencies: half of them, and all but one in a hundred.
const HALF: f64 = 0.5;
const MOST: f64 = 0.99;

/// One screen of numbers. What is not known is absent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct View {
    /// Seconds between the two looks.
    pub(crate) seconds: f64,
    /// Processors kept busy: 1.5 is one and a half of them.
    pub(crate) cpu: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) open_files: Option<f64>,
    /// By listener.
    pub(crate) connections: BTreeMap<String, f64>,
    /// By protocol. Those over HTTP are not counted.
    pub(crate) requests_per_second: BTreeMap<String, f64>,
    pub(crate) request_seconds: Option<Latency>,
    pub(crate) fsync_seconds: Option<Latency>,
    pub(crate) all: Flow,
    /// The busiest first.
    pub(crate) topics: Vec<Topic>,
    /// The one that is furthest behind first.
    pub(crate) groups: Vec<Group>,
}

/// How long something took, as far as the buckets of a histogram tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What goes in and out in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Flow {
    pub(crate) records_in: f64,
    pub(crate) bytes_in: f64,
    pub(crate) records_out: f64,
    pub(crate) bytes_out: f64,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Topic {
    pub(crate) topic: String,
    #[serde(flatten)]
    pub(crate) flow: Flow,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) lag_records: f64,
    pub(crate) lag_seconds: Option<f64>,
}

impl View {
    /// What happened from `then` to `now`, which was so many `seconds`.
    pub(crate) fn between(then: &Exposition, now: &Exposition, seconds: f64) -> Self {
        let looks = Looks { then, now, seconds };
        let topics = looks.topics();
        let mut all = Flow::default();
        for topic in &topics {
            all.records_in += topic.flow.records_in;
            all.bytes_in += topic.flow.bytes_in;
            all.records_out += topic.flow.records_out;
            all.bytes_out += topic.flow.bytes_out;
        }
        let connections = now.by("mainstem_connections", ["listener"]);
        View {
            seconds,
            cpu: looks.rate("process_cpu_seconds_total"),
            memory_bytes: now.total("process_resident_memory_bytes"),
            open_files: now.total("process_open_fds"),
            connections: connections.into_iter().map(|([listener], open)| (listener, open)).collect(),
            requests_per_second: looks.requests(),
            request_seconds: looks.latency("mainstem_protocol_request_seconds"),
            fsync_seconds: looks.latency("mainstem_journal_fsync_seconds"),
            all,
            topics,
            groups: groups(now),
        }
    }
}

struct Looks<'a> {
    then: &'a Exposition,
    now: &'a Exposition,
    seconds: f64,
}

impl Looks<'_> {
    fn rate(&self, counter: &str) -> Option<f64> {
        let then = self.then.total(counter).unwrap_or(0.0);
        self.now.total(counter).map(|now| self.per_second(then, now))
    }

    /// A counter that went back began anew, at a restart.
    fn per_second(&self, then: f64, now: f64) -> f64 {
        let grown = if now >= then { now - then } else { now };
        if self.seconds > 0.0 { grown / self.seconds } else { 0.0 }
    }

    fn latency(&self, name: &str) -> Option<Latency> {
        let then = self.then.histogram(name).unwrap_or_default();
        let lately = self.now.histogram(name)?.since(&then);
        Some(Latency { p50: lately.quantile(HALF)?, p99: lately.quantile(MOST)? })
    }

    fn requests(&self) -> BTreeMap<String, f64> {
        const NAME: &str = "mainstem_protocol_requests_total";
        let then = self.then.by(NAME, ["protocol"]);
        let rate = |(key, now): ([String; 1], f64)| {
            let rate = self.per_second(then.get(&key).copied().unwrap_or(0.0), now);
            let [protocol] = key;
            (protocol, rate)
        };
        self.now.by(NAME, ["protocol"]).into_iter().map(rate).collect()
    }

    fn topics(&self) -> Vec<Topic> {
        type Place = fn(&mut Flow) -> &mut f64;
        let counters: [(&str, Place); 4] = [
            ("mainstem_topic_records_in_total", |flow| &mut flow.records_in),
            ("mainstem_topic_bytes_in_total", |flow| &mut flow.bytes_in),
            ("mainstem_topic_records_out_total", |flow| &mut flow.records_out),
            ("mainstem_topic_bytes_out_total", |flow| &mut flow.bytes_out),
        ];
        let mut flows: BTreeMap<String, Flow> = BTreeMap::new();
        for (name, place) in counters {
            let then = self.then.by(name, ["topic"]);
            for (key, now) in self.now.by(name, ["topic"]) {
                let rate = self.per_second(then.get(&key).copied().unwrap_or(0.0), now);
                let [topic] = key;
                *place(flows.entry(topic).or_default()) = rate;
            }
        }
        let mut topics: Vec<_> = flows.into_iter().map(|(topic, flow)| Topic { topic, flow }).collect();
        let bytes = |topic: &Topic| topic.flow.bytes_in + topic.flow.bytes_out;
        topics.sort_by(|one, other| bytes(other).total_cmp(&bytes(one)));
        topics
    }
}

fn groups(now: &Exposition) -> Vec<Group> {
    let labels = ["group", "topic"];
    let seconds = now.by("mainstem_group_lag_seconds", labels);
    let records = now.by("mainstem_group_lag_records", labels);
    let group = |(key, lag_records): ([String; 2], f64)| {
        let lag_seconds = seconds.get(&key).copied();
        let [group, topic] = key;
        Group { group, topic, lag_records, lag_seconds }
    };
    let mut groups: Vec<_> = records.into_iter().map(group).collect();
    groups.sort_by(|one, other| other.lag_records.total_cmp(&one.lag_records));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "process_cpu_seconds_total 10\n\
        mainstem_topic_records_in_total{topic=\"a\"} 100\n\
        mainstem_topic_bytes_in_total{topic=\"a\"} 1000\n\
        mainstem_topic_records_in_total{topic=\"restarted\"} 1000\n\
        mainstem_protocol_requests_total{protocol=\"kafka\",api=\"Fetch\"} 5\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"0.001\"} 100\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"0.01\"} 100\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"+Inf\"} 100\n";
    const NOW: &str = "process_cpu_seconds_total 11\n\
        process_resident_memory_bytes 4096\n\
        mainstem_connections{listener=\"kafka\"} 3\n\
        mainstem_connections{listener=\"http\"} 1\n\
        mainstem_topic_records_in_total{topic=\"a\"} 120\n\
        mainstem_topic_bytes_in_total{topic=\"a\"} 3000\n\
        mainstem_topic_records_in_total{topic=\"restarted\"} 10\n\
        mainstem_topic_bytes_out_total{topic=\"new\"} 9000\n\
        mainstem_protocol_requests_total{protocol=\"kafka\",api=\"Fetch\"} 8\n\
        mainstem_protocol_requests_total{protocol=\"kafka\",api=\"Produce\"} 7\n\
        mainstem_group_lag_records{group=\"g\",topic=\"a\"} 5\n\
        mainstem_group_lag_records{group=\"h\",topic=\"a\"} 50\n\
        mainstem_group_lag_seconds{group=\"h\",topic=\"a\"} 1.5\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"0.001\"} 190\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"0.01\"} 200\n\
        mainstem_journal_fsync_seconds_bucket{shard=\"1\",le=\"+Inf\"} 200\n";

    fn view(then: &str, now: &str) -> View {
        View::between(&Exposition::parse(then), &Exposition::parse(now), 2.0)
    }

    #[test]
    fn rates_are_what_happened_in_between() {
        let view = view(THEN, NOW);
        assert_eq!((view.cpu, view.memory_bytes, view.open_files), (Some(0.5), Some(4096.0), None));
        assert_eq!(view.requests_per_second, [("kafka".to_owned(), 5.0)].into());
        assert_eq!(view.fsync_seconds, Some(Latency { p50: 0.001, p99: 0.01 }));
        assert_eq!(view.request_seconds, None);
        assert_eq!(view.connections["kafka"], 3.0);
    }

    #[test]
    fn the_busiest_topic_comes_first_and_a_restart_does_not_count_backwards() {
        let view = view(THEN, NOW);
        let shown: Vec<_> = view.topics.iter().map(|topic| (topic.topic.as_str(), topic.flow)).collect();
        assert_eq!(
            shown,
            [
                ("new", Flow { bytes_out: 4500.0, ..Flow::default() }),
                ("a", Flow { records_in: 10.0, bytes_in: 1000.0, ..Flow::default() }),
                ("restarted", Flow { records_in: 5.0, ..Flow::default() }),
            ]
        );
        assert_eq!(view.all, Flow { records_in: 15.0, bytes_in: 1000.0, records_out: 0.0, bytes_out: 4500.0 });
    }

    #[test]
    fn the_group_that_is_furthest_behind_comes_first() {
        let view = view(THEN, NOW);
        let shown: Vec<_> = view.groups.iter().map(|g| (g.group.as_str(), g.lag_records, g.lag_seconds)).collect();
        assert_eq!(shown, [("h", 50.0, Some(1.5)), ("g", 5.0, None)]);
    }

    #[test]
    fn a_node_that_says_nothing_has_an_empty_view() {
        assert_eq!(view("", ""), View { seconds: 2.0, ..View::default() });
    }
}
