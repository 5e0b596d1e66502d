//! `mainstem status`: how a node is, on one screen.

use super::amount;
use super::api::{Api, now_millis};
use super::exposition::Exposition;
use super::failure::Failure;
use super::moment;
use super::output::Output;
use super::server::ServerFlag;
use super::table::{Table, facts};
use admin::shape::{Node, Shard};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  mainstem status
  mainstem status --json | jq -e '.node.problems == []'";
/// Stands for what the node does not say.
const UNKNOWN: &str = "-";

/// Show how the node is: version, uptime, shards, disk, problems
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Status {
    /// Where the node was asked.
    server: String,
    node: Node,
    groups: u64,
    /// Open ones, by listener. None: the node does not say.
    connections: Option<BTreeMap<String, u64>>,
}

pub(crate) fn run(options: &StatusOptions, output: &mut Output) -> Result<(), Failure> {
    let api = Api::new(options.server.server()?);
    let node = api.node()?;
    let groups = api.groups(None)?.groups.len() as u64;
    // A node that cannot say what it counts can still say the rest.
    let connections = api.metrics().ok().map(|text| connections(&Exposition::parse(&text)));
    let status = Status { server: api.address().to_owned(), node, groups, connections };
    if options.json { output.json(&status) } else { output.text(&screen(&status, now_millis())) }
}

fn connections(metrics: &Exposition) -> BTreeMap<String, u64> {
    let by_listener = metrics.by("mainstem_connections", ["listener"]);
    by_listener.into_iter().map(|([listener], open)| (listener, open as u64)).collect()
}

fn screen(status: &Status, now: i64) -> String {
    let node = &status.node;
    let listeners: Vec<_> = node.listeners.iter().map(|(protocol, address)| format!("{protocol}={address}")).collect();
    let open =
        status.connections.iter().flatten().map(|(listener, open)| format!("{} {listener}", amount::count(*open)));
    let open: Vec<_> = open.collect();
    let uptime = Duration::try_from_secs_f64(node.uptime_seconds).unwrap_or_default();
    let disk = node.disk.as_ref().map_or(UNKNOWN.into(), |disk| {
        let (free, total) = (amount::bytes(disk.free_bytes), amount::bytes(disk.total_bytes));
        format!("{free} of {total} free")
    });
    let facts = facts(&[
        ("node", format!("{} at {}", node.node, status.server)),
        ("cluster", node.cluster.clone()),
        ("version", node.version.clone()),
        ("up", format!("{}, since {}", amount::span(uptime), moment::show(node.started))),
        ("clock", clock(node, now)),
        ("listeners", listeners.join(" ")),
        ("connections", if open.is_empty() { UNKNOWN.into() } else { open.join(", ") }),
        ("topics", amount::count(node.topics)),
        ("groups", amount::count(status.groups)),
        ("data", node.data_folder.clone()),
        ("disk", disk),
        ("state", if node.problems.is_empty() { "ready".into() } else { "not ready".into() }),
    ]);
    let problems: String =
        node.problems.iter().map(|problem| format!("problem: {}\n", super::visible::line(problem))).collect();
    format!("{facts}{problems}\n{}", shards(&node.shards).text())
}

/// How the node's clock stands to ours. Timestamps of records come from one or the other.
fn clock(node: &Node, now: i64) -> String {
    let theirs = node.started.saturating_add((node.uptime_seconds * 1000.0) as i64);
    let differs = Duration::from_millis(now.abs_diff(theirs));
    if differs < Duration::from_secs(2) {
        "as here".into()
    } else {
        let how = if theirs > now { "ahead of" } else { "behind" };
        format!("{} {how} the one here", amount::span(differs))
    }
}

fn shards(shards: &[Shard]) -> Table {
    let mut table = Table::new(&["#shard", "leads", "#streams", "#applied", "#live", "#on disk", "#bound", "state"]);
    for shard in shards {
        table.row([
            shard.shard.to_string(),
            if shard.leads { "yes" } else { "no" }.to_owned(),
            amount::count(shard.streams),
            amount::count(shard.applied),
            amount::bytes(shard.live_bytes),
            amount::bytes(shard.disk_bytes),
            amount::bytes(shard.bound_bytes),
            state(shard),
        ]);
    }
    table
}

fn state(shard: &Shard) -> String {
    let damaged = (shard.damaged > 0).then(|| format!("{} damaged", amount::of(shard.damaged, "range")));
    let doubt = shard.in_doubt.then(|| "in doubt".to_owned());
    let states: Vec<_> = damaged.into_iter().chain(doubt).collect();
    if states.is_empty() { "fine".into() } else { states.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::Disk;

    fn status() -> Status {
        let shard = Shard {
            shard: 0,
            leads: true,
            applied: 1234,
            streams: 7,
            disk_bytes: 8 << 20,
            live_bytes: 2048,
            bound_bytes: 256 << 20,
            in_doubt: false,
            damaged: 0,
        };
        let damaged = Shard { shard: 1, leads: false, in_doubt: true, damaged: 2, ..shard.clone() };
        let node = Node {
            node: 1,
            cluster: "c".into(),
            version: "0.1.0".into(),
            started: 1_000_000,
            uptime_seconds: 80.0,
            data_folder: "/data".into(),
            disk: Some(Disk { total_bytes: 10 << 30, free_bytes: 5 << 30 }),
            listeners: [("kafka".to_owned(), "127.0.0.1:9092".to_owned())].into(),
            default_partitions: 1,
            auto_create_topics: true,
            topics: 3,
            shards: vec![shard, damaged],
            problems: Vec::new(),
        };
        let connections = Some([("kafka".to_owned(), 2)].into());
        Status { server: "http://a:1".into(), node, groups: 4, connections }
    }

    #[test]
    fn one_screen_says_it_all() {
        assert_eq!(
            screen(&status(), 1_080_500),
            "node         1 at http://a:1\ncluster      c\nversion      0.1.0\n\
             up           1m 20s, since 1970-01-01T00:16:40.000Z\nclock        as here\n\
             listeners    kafka=127.0.0.1:9092\nconnections  2 kafka\ntopics       3\ngroups       4\n\
             data         /data\ndisk         5.0 GiB of 10.0 GiB free\nstate        ready\n\n\
             shard  leads  streams  applied     live  on disk      bound  state\n    \
             0  yes          7    1,234  2.0 KiB  8.0 MiB  256.0 MiB  fine\n    \
             1  no           7    1,234  2.0 KiB  8.0 MiB  256.0 MiB  2 ranges damaged, in doubt\n"
        );
    }

    #[test]
    fn problems_are_named() {
        let mut status = status();
        status.node.problems = vec!["shard 1 has no leader\x1b[2J".into()];
        status.connections = None;
        let screen = screen(&status, 0);
        assert!(screen.contains("state        not ready\nproblem: shard 1 has no leader␛[2J\n"), "{screen}");
        assert!(screen.contains("connections  -\n"));
    }

    #[test]
    fn a_clock_that_differs_is_noticed() {
        let node = status().node;
        assert_eq!(clock(&node, 1_081_000), "as here");
        assert_eq!(clock(&node, 1_080_000 - 90_000), "1m 30s ahead of the one here");
        assert_eq!(clock(&node, 1_080_000 + 90_000), "1m 30s behind the one here");
    }
}
