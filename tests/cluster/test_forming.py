"""A node that serves alone becomes a cluster of three while clients use it, and nobody gets in who must not."""

import signal
import socket
import time

import pytest

from cluster import metadata
from load import PARTITIONS
from observation import wait_until

pytestmark = pytest.mark.python

# When a node that joins is killed: while it looks around, is let in, copies.
LIVES = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
LIVES_QUICK = [0.05, 0.4]
# How many nodes begin to join until one is killed at the right moment.
TRIES = 20
# In a node's identity.
JOINING = 2


def voters(node) -> dict[int, set[int]]:
    """Of each shard, as a node knows it."""
    found = {}
    for member in node.ask("/v1/nodes")["nodes"]:
        for replica in member["replicas"]:
            if replica["voter"]:
                found.setdefault(replica["shard"], set()).add(member["node"])
    return found


def test_one_node_becomes_three_under_load(cluster, new_load, measured):
    first = cluster.found()
    load = new_load()
    load.wait_for_more()
    began = time.monotonic()
    cluster.start(cluster.joiner(2))
    # A majority of two would need both: until there are three, one votes and the other follows.
    cluster.wait_settled(voters=1)
    assert set(map(frozenset, voters(first).values())) == {frozenset([1])}
    load.wait_for_more()
    cluster.start(cluster.joiner(3))
    cluster.wait_settled()
    measured(f"three voters {time.monotonic() - began:.1f} s after the second node was started")
    load.wait_for_more()
    # Whichever node is asked, clients are told the same.
    told = []
    for node in cluster.nodes.values():
        seen = metadata(node.kafka, load.topic)
        brokers = {number: f"{broker.host}:{broker.port}" for number, broker in seen.brokers.items()}
        partitions = {number: sorted(place.replicas) for number, place in seen.topics[load.topic].partitions.items()}
        told.append((brokers, partitions, seen.cluster_id))
    assert told == [told[0]] * 3
    brokers, partitions, _ = told[0]
    assert brokers == {number: node.kafka for number, node in cluster.nodes.items()}
    assert partitions == {number: [1, 2, 3] for number in range(PARTITIONS)}
    measured(f"{load.finish()} records")


@pytest.mark.timeout(400)
def test_a_node_that_is_killed_while_it_joins_joins_after_all(cluster, new_load, quick):
    cluster.found()
    load = new_load()
    load.wait_for_more()
    second = cluster.joiner(2)
    for life in LIVES_QUICK if quick else LIVES:
        second.launch()
        time.sleep(life)
        second.kill9()
        # The others neither wait for it nor lose anything.
        load.wait_for_more()
    cluster.start(second)
    cluster.start(cluster.joiner(3))
    cluster.wait_settled()
    load.wait_for_more()
    load.finish()


def test_a_node_that_does_not_say_gets_a_number_of_its_own(cluster):
    cluster.found()
    others = [cluster.start(cluster.joiner(None, name)) for name in ["one more", "another"]]
    numbers = {node.number for node in others}
    assert len(numbers | {1}) == 3
    cluster.wait_settled()
    # It keeps it.
    others[0].restart()
    assert others[0].ask("/v1/node")["node"] == others[0].number


def test_joining_once_more_is_an_ordinary_start(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    second = cluster.nodes[2]
    before = second.ask("/v1/node")
    second.stop()
    # Whoever was joined then may be gone.
    at = second.options.index("--join")
    second.options[at + 1] = f"127.0.0.1:{free_port()}"
    second.start()
    after = second.ask("/v1/node")
    assert (after["node"], after["cluster"]) == (before["node"], before["cluster"])
    cluster.wait_settled()
    second.options[at : at + 2] = []
    second.restart()
    cluster.wait_settled()
    load.finish()


def test_a_number_that_is_taken_is_refused(cluster):
    cluster.found()
    cluster.start(cluster.joiner(2))
    for number in [1, 2]:
        why = cluster.new_node(number, cluster.nodes[1].peer, f"a second {number}").refused()
        assert "cannot join" in why and "given to another node" in why, why
    cluster.wait_settled(voters=1)
    assert [member["node"] for member in cluster.nodes[1].ask("/v1/nodes")["nodes"]] == [1, 2]


def test_a_folder_with_another_clusters_data_is_refused_and_left_as_it_is(cluster, tmp_path):
    cluster.found()
    alone = cluster.new_node(2, name="alone")
    alone.start()
    before = alone.ask("/v1/node")
    assert before["cluster"] != cluster.nodes[1].ask("/v1/node")["cluster"]
    alone.stop()
    alone.options += ["--join", cluster.nodes[1].peer]
    # What it says at its own starts is no output of the one that is refused.
    alone.said.clear()
    assert str(alone.data) in alone.refused()
    del alone.options[-2:]
    alone.start()
    after = alone.ask("/v1/node")
    assert (after["node"], after["cluster"], after["problems"]) == (2, before["cluster"], [])
    assert [member["node"] for member in cluster.nodes[1].ask("/v1/nodes")["nodes"]] == [1]


def test_a_members_folder_is_taken_to_no_other_cluster(cluster, tmp_path):
    cluster.found()
    second = cluster.start(cluster.joiner(2))
    cluster.wait_settled(voters=1)
    other = cluster.new_node(1, name="another cluster")
    other.start()
    second.stop()
    at = 1 + second.options.index("--join")
    ours, second.options[at] = second.options[at], other.peer
    second.said.clear()
    why = second.refused()
    assert f"{second.data} is the data of a node of another cluster than that of {other.peer}" in why, why
    assert [member["node"] for member in other.ask("/v1/nodes")["nodes"]] == [1]
    second.options[at] = ours
    second.start()
    cluster.wait_settled(voters=1)


def test_who_has_begun_to_join_joins_no_other_cluster(cluster):
    first = cluster.found()
    other = cluster.new_node(1, name="another cluster")
    other.start()
    # It is killed once it knows its cluster, and has not seen itself in it: of several, one is at that point.
    for number in range(2, 2 + TRIES):
        joiner = cluster.joiner(number)
        joiner.launch()
        wait_until("it knows its cluster", lambda: identity(joiner)[0] != bytes(16))
        joiner.kill9()
        cluster_id, stage = identity(joiner)
        if stage == JOINING:
            break
    else:
        pytest.fail("they all became members at once")
    at = 1 + joiner.options.index("--join")
    joiner.options[at] = other.peer
    why = joiner.refused()
    assert f"cannot join at {other.peer}: that is a node of another cluster" in why, why
    assert [member["node"] for member in other.ask("/v1/nodes")["nodes"]] == [1]
    # It is where it was, and where it began to join it is let in.
    assert identity(joiner) == (cluster_id, JOINING)
    joiner.options[at] = first.peer
    joiner.start()
    assert joiner.ask("/v1/node")["cluster"] == first.ask("/v1/node")["cluster"]


def identity(node) -> tuple[bytes, int]:
    """Its cluster, zeros while it knows none, and how far it is on its way into it: see docs/formats/identity.md."""
    path = node.data / "identity"
    content = path.read_bytes() if path.exists() else bytes(45)
    return content[4:20], content[44]


def free_port() -> int:
    """A port that nobody listens on, a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_node_waits_for_whom_it_joins_and_can_be_stopped_meanwhile(cluster):
    first = cluster.found()
    joiner = cluster.new_node(2, f"127.0.0.1:{free_port()}")
    joiner.launch()
    time.sleep(1)
    assert joiner.running() and joiner.said == [], "nobody has let it in"
    joiner.process.send_signal(signal.SIGTERM)
    assert joiner.process.wait(10) == 1
    assert "stopped before the start was done" in joiner.stderr.read_text()
    # It is a member of nothing, and can join whoever is there.
    joiner.options[joiner.options.index("--join") + 1] = first.peer
    cluster.start(joiner)
    cluster.wait_settled(voters=1)
