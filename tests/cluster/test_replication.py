"""More replicas than the three that shards have by default: as many failures more, and a way back."""

import pytest

from cluster import Cluster, places
from observation import wait_until

pytestmark = pytest.mark.python

NODES = 5
# As many as nodes, besides the catalog.
ALL_SHARDS = set(range(1, NODES + 1))
SECONDS = 60


def form(cluster: Cluster, replicas: int):
    """Five nodes, each of which is told how many replicas there shall be."""
    for number in range(1, NODES + 1):
        node = cluster.new_node(number, cluster.nodes[1].peer if number > 1 else None)
        node.options += ["--replication", str(replicas)]
        cluster.start(node)
    cluster.wait_settled(voters=replicas)


def wait_placed(cluster: Cluster, have: dict[int, set[int]]):
    """Waits until all that run agree that nodes have these shards, and the catalog."""

    def is_placed(view: dict) -> bool:
        return {member["node"]: {*places(member)} - {0} for member in view["nodes"]} == have

    wait_until(
        f"nodes have {have}", lambda: all(is_placed(node.ask("/v1/nodes")) for node in cluster.running()), SECONDS
    )


def test_with_five_replicas_two_nodes_can_be_lost(cluster, new_load):
    form(cluster, NODES)
    load = new_load()
    load.wait_for_more()
    lost = [cluster.leader_of(load.topic, 0)]
    lost[0].kill9()
    load.wait_for_more()
    lost.append(cluster.leader_of(load.topic, 1))
    lost[1].kill9()
    # What was under way before may be answered late.
    load.wait_for_more()
    load.wait_for_more()
    for node in lost:
        node.start()
    cluster.wait_settled(voters=NODES)
    load.finish()


def test_what_is_more_than_is_wanted_goes_with_a_node_that_is_emptied(cluster, new_load):
    form(cluster, NODES)
    load = new_load()
    load.wait_for_more()
    for node in cluster.nodes.values():
        node.stop()
        node.options[node.options.index("--replication") + 1] = "3"
        node.start()
    cluster.wait_settled(voters=NODES)
    wait_placed(cluster, dict.fromkeys(cluster.nodes, ALL_SHARDS))
    mainstem = cluster.nodes[1].commands()
    mainstem("node", "drain", "5", "--wait")
    wait_placed(cluster, dict.fromkeys(cluster.nodes, ALL_SHARDS) | {5: set()})
    mainstem("node", "remove", "5")
    cluster.nodes.pop(5).stop()
    # Four have a replica, of which three vote.
    cluster.wait_settled()
    wait_placed(cluster, dict.fromkeys(cluster.nodes, ALL_SHARDS))
    load.wait_for_more()
    load.finish()
