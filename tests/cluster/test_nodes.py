"""An operator empties nodes, takes that back, removes and replaces them, by command and under clients."""

import re

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import CATALOG, leaders, places
from observation import wait_until

pytestmark = pytest.mark.python

SECONDS = 60
STEP = re.compile(r"(\d+) replicas? left(; node \d+ copies shard \d+: \d+% of [\d.]+ \w+)*")


def seen(cluster, number: int) -> list[dict]:
    """A node, as each of those that run knows it."""
    views = [node.ask("/v1/nodes")["nodes"] for node in cluster.running()]
    return [member for view in views for member in view if member["node"] == number]


def leave(cluster, number: int):
    """A node that was removed goes."""
    cluster.nodes.pop(number).stop()
    cluster.wait_settled()


def test_nodes_are_emptied_replaced_taken_back_and_removed(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    mainstem = cluster.nodes[1].commands()
    keep_and_replace(cluster, mainstem, load)
    take_back_and_remove(cluster, mainstem, load)
    load.finish()
    assert load.history.errors == []


def drain_and_watch(mainstem, number: str):
    """Where there is no terminal, a line tells of each replica that is gone, and of what is copied, if it is not over at
    once."""
    done = mainstem.run("node", "drain", number, "--wait")
    said = done.stderr.decode()
    assert done.returncode == 0, said
    lines = said.splitlines()
    assert all(map(STEP.fullmatch, lines)), said


def keep_and_replace(cluster, mainstem, load):
    """Of three nodes one keeps what nobody else can take, but leads nothing. With a fourth it goes."""
    in_use = "node 3 has replicas: drain it, and remove it when it has none"
    assert mainstem.refused("node", "remove", "3") == in_use
    keeps = "node 3 keeps shards 0-3: no other node can take over; add one"
    assert mainstem.refused("node", "drain", "3", "--wait") == keeps
    assert keeps in mainstem("node", "list").splitlines()
    wait_until("others lead", lambda: not any(member["leads"] for member in seen(cluster, 3)), SECONDS)
    wait_until("clients know", lambda: 3 not in leaders(cluster.kafka, load.topic).values(), SECONDS)
    # It votes on, on the catalog, too: without it, nobody could be lost.
    cluster.wait_settled()
    admin = AdminClient({"bootstrap.servers": cluster.nodes[1].kafka})
    admin.create_topics([NewTopic("of-three", 1, 3)])["of-three"].result(SECONDS)
    assert mainstem.refused("node", "replace", "3") == keeps
    assert mainstem.refused("node", "remove", "3") == in_use
    load.wait_for_more()

    cluster.start(cluster.joiner(4))
    mainstem("node", "replace", "3")
    leave(cluster, 3)
    load.wait_for_more()
    assert "for ever" in mainstem.refused("node", "activate", "3")
    assert "given to another node" in cluster.new_node(3, cluster.nodes[1].peer, "a second 3").refused()


def take_back_and_remove(cluster, mainstem, load):
    """A fourth is emptied, gets replicas again, and is removed."""
    number = cluster.start(cluster.joiner(None, "another")).number
    assert number == 5, "a number is given once"
    cluster.wait_settled()
    drain_and_watch(mainstem, "5")
    # It follows the catalog as long as it is a node.
    emptied = [("draining", [CATALOG])] * 4
    wait_until("all know", lambda: [(node["state"], places(node)) for node in seen(cluster, 5)] == emptied, SECONDS)
    load.wait_for_more()
    mainstem("node", "activate", "5")
    wait_until("it leads again", lambda: all(member["leads"] for member in seen(cluster, 5)), SECONDS)
    mainstem("node", "drain", "5", "--wait")
    mainstem("node", "remove", "5")
    leave(cluster, 5)
    assert "for ever" in mainstem.refused("node", "activate", "5")
    assert "there is no node 9" in mainstem.refused("node", "drain", "9")
    load.wait_for_more()
