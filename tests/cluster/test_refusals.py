"""Whoever does not belong to a cluster, or asks it for what cannot be, is told why, and nothing is lost."""

import json
import os
import struct
import urllib.error
import urllib.request

import pytest

import wire
from observation import said, wait_until
from stranger import ASKING, BULK, NO_COMMON_VERSION, Answer, Stranger, hello

pytestmark = pytest.mark.python

SECONDS = 30
VERSION = 1
ALTER_PARTITION_REASSIGNMENTS = 45
INVALID_REPLICA_ASSIGNMENT = 39


def change(node, method: str, path: str, body: dict) -> tuple[int, dict]:
    """Asks the admin API of a node to change something: the status and the answer."""
    content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    ask = urllib.request.Request(f"http://{node.http}{path}", content, headers, method=method)
    try:
        with urllib.request.urlopen(ask, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def refused(node, path: str, body: dict) -> tuple[int, str, str]:
    """The status, the code and the sentence by which a change is refused."""
    status, answer = change(node, "PATCH", path, body)
    assert status >= 400, answer
    return status, answer["error"]["code"], answer["error"]["message"]


def members(node) -> list[int]:
    return [member["node"] for member in node.ask("/v1/nodes")["nodes"]]


def with_secret(node, secret: bytes | None):
    if secret is not None:
        path = node.data.parent / "secret"
        path.write_bytes(secret)
        node.options += ["--cluster-secret-file", str(path)]
    return node


def test_whoever_does_not_know_the_secret_is_not_let_in(cluster, new_load):
    secret = b"what only the nodes of one cluster know"
    cluster.start(with_secret(cluster.new_node(1), secret))
    load = new_load()
    load.wait_for_more()
    for name, other, why in [
        ("without", None, "only one of the two nodes has a secret of the cluster"),
        ("wrong", secret + b"!", "the two nodes have different secrets of the cluster"),
    ]:
        stranger = with_secret(cluster.joiner(2, name), other)
        sentence = stranger.refused()
        assert f"cannot join at {cluster.nodes[1].peer}: {why}" in sentence, sentence
    assert members(cluster.nodes[1]) == [1]
    cluster.start(with_secret(cluster.joiner(2), secret))
    cluster.wait_settled(voters=1)
    load.wait_for_more()
    load.finish()


def test_a_node_of_another_cluster_is_not_taken_for_one_of_this(cluster, new_load):
    """At the address of a node that is down, under its number."""
    cluster.form()
    load = new_load()
    load.wait_for_more()
    second = cluster.nodes[2]
    second.kill9()
    stranger = cluster.new_node(2, name="stranger")
    stranger.addresses["peer"] = second.peer
    stranger.start()
    first = cluster.nodes[1]
    wait_until("it is noticed", lambda: "it belongs to another cluster" in said(first), SECONDS)
    wait_until("on both sides", lambda: "it belongs to another cluster" in said(stranger), SECONDS)
    assert members(stranger) == [2] and stranger.ask("/v1/node")["cluster"] != first.ask("/v1/node")["cluster"]
    load.wait_for_more()
    stranger.stop()
    second.start()
    cluster.wait_settled()
    load.wait_for_more()
    load.finish()


def who(node) -> Answer:
    with Stranger(node.peer) as stranger:
        return stranger.greet(ASKING)


def test_a_peer_that_sends_garbage_is_cut_and_nobody_else(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    first = cluster.nodes[1]
    found = who(first)
    assert (found.verdict, found.node) == (0, 1)
    whole = hello(BULK, found.cluster, 2, 1)
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    http = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for garbage in [http, bytes(1000), os.urandom(1000), damaged, whole[:50] + bytes(66)]:
        with Stranger(first.peer) as stranger:
            stranger.say(garbage)
            assert stranger.is_closed(), "what is no greeting is not answered"
    # One that is let in as a node, and then talks nonsense: that node is connected again.
    header = struct.pack("<IB3xQII", 0xFFFF_FFFF, 1, 1, 0, 0)
    endless = header + struct.pack("<I", wire.crc32c(header))
    for garbage in [os.urandom(4096), bytes(4096), endless]:
        with Stranger(first.peer) as stranger:
            assert stranger.greet(BULK, found.cluster, 2, 1).chosen == VERSION
            stranger.say(garbage)
            assert stranger.is_closed()
    assert "a connection was not let in" in said(first)
    assert "connection cut" in said(first)
    load.wait_for_more()
    cluster.wait_settled()
    load.finish()


def test_a_peer_of_another_version_is_told_so(cluster):
    first = cluster.found()
    found = who(first)
    for oldest, newest in [(0, 0), (VERSION + 1, VERSION + 7)]:
        with Stranger(first.peer) as stranger:
            told = stranger.greet(BULK, found.cluster, 2, 1, versions=(oldest, newest))
            assert (told.verdict, told.chosen) == (NO_COMMON_VERSION, 0)
            assert stranger.is_closed()
        sentence = f"which speaks versions {oldest} to {newest}: no common protocol version"
        wait_until("it is in the log", lambda sentence=sentence: sentence in said(first))
    # One that speaks newer ones, too, is understood.
    with Stranger(first.peer) as stranger:
        assert stranger.greet(BULK, found.cluster, 2, 1, versions=(0, VERSION + 7)).chosen == VERSION


def test_the_last_voter_is_not_removed(cluster, new_load):
    cluster.found()
    load = new_load()
    load.wait_for_more()
    cluster.start(cluster.joiner(2))
    cluster.wait_settled(voters=1)
    first = cluster.nodes[1]
    sentence = "node 1 has replicas: drain it, and remove it when it has none"
    assert refused(first, "/v1/nodes/1", {"state": "removed"}) == (409, "node_in_use", sentence)
    # The other has to have everything before it is asked to decide.
    assert change(first, "PATCH", "/v1/nodes/1", {"state": "draining"})[0] == 200
    second = cluster.nodes[2]
    wait_until("the other decides alone", lambda: voters(second) == {2}, SECONDS)
    load.wait_for_more()
    sentence = "node 2 has replicas: drain it, and remove it when it has none"
    assert refused(second, "/v1/nodes/2", {"state": "removed"}) == (409, "node_in_use", sentence)
    assert change(second, "PATCH", "/v1/nodes/2", {"state": "draining"})[0] == 200
    assert refused(second, "/v1/nodes/2", {"state": "removed"}) == (409, "node_in_use", sentence)
    load.wait_for_more()
    load.finish()


def voters(node) -> set[int]:
    """The nodes that vote in any shard."""
    found = node.ask("/v1/nodes")["nodes"]
    return {member["node"] for member in found if any(replica["voter"] for replica in member["replicas"])}


def test_nothing_goes_to_a_node_or_a_shard_that_is_not_there(cluster):
    first = cluster.found()
    assert change(first, "POST", "/v1/topics", {"name": "t", "partitions": 1})[0] == 201
    status, code, sentence = refused(first, "/v1/nodes/9", {"state": "draining"})
    assert (status, code) == (404, "unknown_node") and "there is no node 9" in sentence, sentence
    wait_until("partitions can move", lambda: moves(first), SECONDS)
    for shard in [0, 9]:
        status, code, sentence = refused(first, "/v1/topics/t/partitions/0", {"shard": shard})
        assert (status, code) == (404, "unknown_shard"), sentence
        assert f"there is no shard {shard} that partitions can be in" in sentence
    with wire.Connection(first.kafka) as connection:
        replicas = struct.pack(">bii", 3, 1, 9)
        partition = struct.pack(">bi", 2, 0) + replicas + b"\0"
        topic = b"\x02" + b"\x02t" + partition + b"\0"
        # Flexible: tagged fields end the header, too.
        told = connection.ask(ALTER_PARTITION_REASSIGNMENTS, 0, b"\0" + struct.pack(">i", 10_000) + topic + b"\0")
    assert struct.pack(">ih", 0, INVALID_REPLICA_ASSIGNMENT) in told.content
    assert b"a replica is on a node that is not there or takes none" in told.content
    assert first.ask("/v1/topics/t")["partitions"][0]["replicas"] == [1]


def moves(node) -> bool:
    """Whether the newest behaviour that the nodes know is in force."""
    known = node.ask("/v1/nodes")
    return all(member["cluster_version_max"] == known["cluster_version"] for member in known["nodes"])
