//! `mainstem node`: the nodes of the cluster, and the shards that they have.

use super::api::Api;
use super::failure::Failure;
use super::output::Output;
use super::progress::Progress;
use super::ranges::ranges;
use super::server::ServerFlag;
use super::table::Table;
use super::{amount, visible};
use admin::shape::{ClusterNode, Copying, NodeList, NodeState, Replica};
use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  mainstem node list
  mainstem node drain 3
  mainstem node drain 3 --wait && mainstem node remove 3
  mainstem node replace 3
  mainstem node restart-safe && systemctl restart mainstem
  mainstem node list --json | jq -r '.nodes[] | select(.state == \"active\") | .endpoints.kafka'";
/// Stands for what there is not, or what nobody can say.
const NONE: &str = "-";

/// The nodes of the cluster: list, drain, activate, remove, replace, restart-safe
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NodeOptions {
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
    /// List the nodes: where they are, which shards they lead and have, how far they are behind
    List,
    /// Empty a node: others get its replicas, one after the other
    Drain(Drain),
    /// Let a node have replicas again that was to be emptied
    Activate(Which),
    /// Remove a node for ever; it has to be empty
    Remove(Which),
    /// Replace a node that is gone, or is to go: empty it, wait, and remove it. Another has to have joined
    Replace(Which),
    /// Tell whether the node that is asked can be stopped without anybody noticing; ends with 1 if not
    RestartSafe,
}

#[derive(Debug, Args)]
struct Which {
    /// The number of the node
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..=i32::MAX as u64))]
    node: u64,
}

#[derive(Debug, Args)]
struct Drain {
    #[command(flatten)]
    which: Which,
    /// Return only when it is empty
    #[arg(long)]
    wait: bool,
}

/// How often nodes are looked at that are waited for.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn run(options: &NodeOptions, output: &mut Output) -> Result<(), Failure> {
    let NodeOptions { server, json, action } = options;
    let api = Api::new(server.server()?);
    let list = match action {
        Action::List => api.nodes()?,
        Action::Drain(Drain { which: Which { node }, wait }) => {
            let list = api.alter_node(*node, NodeState::Draining)?;
            if *wait { wait_empty(&api, *node, list)? } else { list }
        }
        Action::Activate(Which { node }) => api.alter_node(*node, NodeState::Active)?,
        Action::Remove(Which { node }) => api.alter_node(*node, NodeState::Removed)?,
        Action::Replace(Which { node }) => {
            let list = api.alter_node(*node, NodeState::Draining)?;
            wait_empty(&api, *node, list)?;
            api.alter_node(*node, NodeState::Removed)?
        }
        Action::RestartSafe => return restart_safe(&api, *json, output),
    };
    if *json { output.json(&list) } else { output.text(&text(&list)) }
}

/// Waits until others have all replicas of a node, and shows how far that is. Not for ones that nobody else can have.
fn wait_empty(api: &Api, node: u64, mut list: NodeList) -> Result<NodeList, Failure> {
    let all = replicas_left(&list, node);
    let mut progress = Progress::new(Some(all), true);
    loop {
        let left = replicas_left(&list, node);
        if left == 0 {
            return Ok(list);
        }
        if let Some(why) = list.nodes.iter().filter(|known| known.node == node).find_map(kept) {
            return Err(Failure::failed(why));
        }
        progress.say(all.saturating_sub(left), |_| stand(&list, node, so_far));
        progress.step(stand(&list, node, in_tenths));
        thread::sleep(LOOK);
        list = api.nodes()?;
    }
}

/// How far it is that a node is emptied, and what others copy meanwhile, each shown as `of_copy` does.
fn stand(list: &NodeList, node: u64, of_copy: fn(Copying) -> String) -> String {
    let left = amount::of(replicas_left(list, node), "replica");
    let copies = copies(list).map(|(to, shard, copying)| format!("; {}", copies_shard(to, shard, &of_copy(copying))));
    format!("{left} left{}", copies.collect::<String>())
}

/// The copies that are under way as far as the node that was asked knows: node, shard and how far it is.
fn copies(list: &NodeList) -> impl Iterator<Item = (u64, u32, Copying)> {
    let of_node = |node: &ClusterNode| {
        let id = node.node;
        node.replicas.iter().filter_map(move |replica| Some((id, replica.shard, replica.copying?))).collect::<Vec<_>>()
    };
    list.nodes.iter().flat_map(of_node)
}

fn copies_shard(node: u64, shard: u32, how_far: &str) -> String {
    format!("node {node} copies shard {shard}: {how_far}")
}

fn so_far(Copying { copied_bytes, total_bytes }: Copying) -> String {
    format!("{} of {}", amount::bytes(copied_bytes), amount::bytes(total_bytes))
}

/// Changes ten times on the way, however much it is.
fn in_tenths(Copying { copied_bytes, total_bytes }: Copying) -> String {
    let tenths = copied_bytes.checked_div(total_bytes / 10).unwrap_or(0).min(10);
    format!("{}% of {}", tenths * 10, amount::bytes(total_bytes))
}

/// What a node cannot give away, if there is anything.
fn kept(node: &ClusterNode) -> Option<String> {
    let (noun, ranges) = (if node.keeps.len() == 1 { "shard" } else { "shards" }, ranges(&node.keeps));
    let said = format!("node {} keeps {noun} {ranges}: no other node can take over; add one", node.node);
    (!node.keeps.is_empty()).then_some(said)
}

/// How many shards a node has a part in. The catalog it follows as long as it is one.
fn replicas_left(list: &NodeList, node: u64) -> u64 {
    let replicas = list.nodes.iter().filter(|known| known.node == node).flat_map(|known| &known.replicas);
    replicas.filter(|replica| replica.shard != 0 || replica.voter).count() as u64
}

fn restart_safe(api: &Api, json: bool, output: &mut Output) -> Result<(), Failure> {
    let safety = api.restart_safety()?;
    if json {
        output.json(&safety)?;
    } else if safety.safe {
        output.text(&format!("node {} can be stopped\n", safety.node))?;
    }
    match safety.hindrances.as_slice() {
        [] => Ok(()),
        hindrances => Err(Failure::failed(format!("node {} is needed: {}", safety.node, hindrances.join("; ")))),
    }
}

/// The nodes for people.
fn text(list: &NodeList) -> String {
    let columns = ["#node", "state", "rack", "leads", "votes in", "follows", "#behind", "clients", "nodes"];
    let mut table = Table::new(&columns);
    for node in &list.nodes {
        let clients: Vec<_> =
            node.endpoints.iter().map(|(protocol, address)| format!("{protocol}={address}")).collect();
        table.row([
            node.node.to_string(),
            in_words(node.state).to_owned(),
            or_none(node.rack.clone().unwrap_or_default()),
            or_none(ranges(&node.leads)),
            or_none(ranges(&shards(node, |replica| replica.voter))),
            or_none(ranges(&shards(node, |replica| !replica.voter))),
            behind(node).map_or(NONE.into(), amount::count),
            or_none(clients.join(" ")),
            or_none(node.peer.clone().unwrap_or_default()),
        ]);
    }
    let problems: String = problems(list).iter().map(|problem| format!("{}\n", visible::line(problem))).collect();
    let between = if problems.is_empty() { "" } else { "\n" };
    format!("{}{between}{problems}", table.text())
}

fn in_words(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
        NodeState::Removed => "removed",
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.into() } else { text }
}

fn shards(node: &ClusterNode, which: impl Fn(&Replica) -> bool) -> Vec<u32> {
    node.replicas.iter().filter(|replica| which(replica)).map(|replica| replica.shard).collect()
}

/// How many entries the node lacks in the shard where it lacks most, as far as that is known.
fn behind(node: &ClusterNode) -> Option<u64> {
    node.replicas.iter().filter_map(|replica| replica.behind).max()
}

/// What stands out.
fn problems(list: &NodeList) -> Vec<String> {
    let of_all = |of_node: fn(&ClusterNode) -> Vec<u32>| list.nodes.iter().flat_map(of_node).collect::<BTreeSet<_>>();
    let led = of_all(|node| node.leads.clone());
    let there = of_all(|node| shards(node, |_| true));
    let without: Vec<u32> = there.difference(&led).copied().collect();
    let mut problems = Vec::new();
    if !without.is_empty() {
        let (noun, ranges) = (if without.len() == 1 { "shard" } else { "shards" }, ranges(&without));
        problems.push(format!("problem: node {} knows no leader of {noun} {ranges}", list.node));
    }
    problems.extend(copies(list).map(|(node, shard, copying)| copies_shard(node, shard, &so_far(copying))));
    problems.extend(list.nodes.iter().filter_map(kept));
    let follows = |node: &ClusterNode| node.replicas.iter().any(|replica| !replica.voter);
    if list.nodes.len() == 2 && list.nodes.iter().any(follows) {
        problems.push(
            "with two nodes each shard needs only the one that votes: a majority of two would need both. A third \
             node makes it three voters, of which one may fail"
                .into(),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node: u64, leads: &[u32], replicas: &[(u32, bool, Option<u64>)]) -> ClusterNode {
        let replica = |(shard, voter, behind): &(u32, bool, Option<u64>)| Replica {
            shard: *shard,
            voter: *voter,
            behind: *behind,
            copying: None,
        };
        ClusterNode {
            node,
            state: NodeState::Active,
            rack: (node == 2).then(|| "r\x1b".into()),
            cluster_version_max: 2,
            peer: Some(format!("a{node}:9190")),
            endpoints: [("kafka".to_owned(), format!("a{node}:9092"))].into(),
            leads: leads.to_vec(),
            replicas: replicas.iter().map(replica).collect(),
            keeps: Vec::new(),
        }
    }

    fn list(nodes: Vec<ClusterNode>) -> NodeList {
        NodeList { node: 1, cluster_version: 2, controller: Some(1), nodes }
    }

    #[test]
    fn every_node_has_a_line() {
        let mut nodes = vec![
            node(1, &[0, 1, 2], &[(0, true, Some(0)), (1, true, Some(0)), (2, true, Some(0))]),
            node(2, &[3], &[(0, true, Some(12)), (1, true, Some(1500)), (2, false, Some(3)), (3, true, None)]),
            node(3, &[], &[]),
        ];
        nodes[2].state = NodeState::Draining;
        (nodes[2].peer, nodes[2].endpoints) = (None, [].into());
        assert_eq!(
            text(&list(nodes)),
            "node  state     rack  leads  votes in  follows  behind  clients        nodes\n   \
             1  active    -     0-2    0-2       -             0  kafka=a1:9092  a1:9190\n   \
             2  active    r␛    3      0-1,3     2         1,500  kafka=a2:9092  a2:9190\n   \
             3  draining  -     -      -         -             -  -              -\n"
        );
    }

    #[test]
    fn whoever_follows_the_catalog_alone_is_empty() {
        let nodes = vec![
            node(1, &[0, 1], &[(0, true, Some(0)), (1, true, Some(0))]),
            node(2, &[], &[(0, true, Some(0)), (1, false, Some(0))]),
            node(3, &[], &[(0, false, Some(0))]),
        ];
        assert_eq!([1, 2, 3, 4].map(|node| replicas_left(&list(nodes.clone()), node)), [2, 2, 0, 0]);
    }

    #[test]
    fn a_shard_without_a_leader_stands_out() {
        let replicas = [(0, true, None), (1, true, None), (2, true, None)];
        let nodes = vec![node(1, &[], &replicas), node(2, &[1], &replicas), node(3, &[], &replicas)];
        let text = text(&list(nodes));
        assert!(text.ends_with("\n\nproblem: node 1 knows no leader of shards 0,2\n"), "{text}");
    }

    #[test]
    fn whoever_copies_a_shard_tells_how_far_it_is() {
        let mut nodes: Vec<_> = [1, 2, 3].map(|id| node(id, &[], &[(4, true, None)])).into();
        nodes[0].leads.push(4);
        nodes[2].replicas[0].copying = Some(Copying { copied_bytes: 3 << 29, total_bytes: 5 << 30 });
        assert_eq!(problems(&list(nodes)), ["node 3 copies shard 4: 1.5 GiB of 5.0 GiB"]);
    }

    #[test]
    fn whoever_waits_is_told_what_is_left_and_what_is_copied() {
        let stands = |list: &NodeList| [stand(list, 1, so_far), stand(list, 1, in_tenths)];
        let mut nodes: Vec<_> = [1, 2, 3].map(|id| node(id, &[], &[(0, false, None), (4, true, None)])).into();
        assert_eq!(stands(&list(nodes.clone())), ["1 replica left", "1 replica left"]);
        let copying = |copied_bytes, total_bytes| Some(Copying { copied_bytes, total_bytes });
        nodes[2].replicas[1].copying = copying(3 << 29, 5 << 30);
        nodes[1].replicas[0].copying = copying(0, 0);
        assert_eq!(
            stands(&list(nodes.clone())),
            [
                "1 replica left; node 2 copies shard 0: 0 B of 0 B; node 3 copies shard 4: 1.5 GiB of 5.0 GiB",
                "1 replica left; node 2 copies shard 0: 0% of 0 B; node 3 copies shard 4: 30% of 5.0 GiB",
            ]
        );
        let tenths =
            [(0, 99), (9, 99), (98, 99), (99, 99), (9, 9)].map(|(copied, of)| in_tenths(copying(copied, of).unwrap()));
        assert_eq!(tenths, ["0% of 99 B", "10% of 99 B", "100% of 99 B", "100% of 99 B", "0% of 9 B"]);
    }

    #[test]
    fn what_nobody_can_take_stands_out() {
        let mut nodes: Vec<_> = [1, 2, 3].map(|id| node(id, &[], &[])).into();
        nodes[2].keeps = vec![0, 1, 2];
        assert_eq!(problems(&list(nodes)), ["node 3 keeps shards 0-2: no other node can take over; add one"]);
    }

    #[test]
    fn two_nodes_are_no_cluster_that_survives() {
        let alone = node(1, &[0], &[(0, true, Some(0))]);
        assert!(problems(&list(vec![alone.clone()])).is_empty());
        let follows = node(2, &[], &[(0, false, Some(0))]);
        let said = problems(&list(vec![alone.clone(), follows.clone()]));
        assert!(said.len() == 1 && said[0].contains("A third node makes it three voters"), "{said:?}");
        assert!(problems(&list(vec![alone, follows.clone(), ClusterNode { node: 3, ..follows }])).is_empty());
    }
}
