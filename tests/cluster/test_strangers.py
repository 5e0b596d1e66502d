"""Whoever says garbage to nodes, speaks an older protocol or belongs elsewhere is refused. Clients notice nothing."""

import random
import struct
from contextlib import ExitStack

import pytest

from observation import metric
from stranger import (
    APPEND, ASKING, BULK, CONTROL, GREETING_BYTES, LET_IN, MAGIC, NO_COMMON_VERSION, NODE, OTHER_CLUSTER, OTHER_NODE,
    REJECTION, RESPONSE, Stranger, hello, request,
)

pytestmark = pytest.mark.python

# Of a node that there is none of: its connections take nobody's place.
NOBODY = 77
LANES = [CONTROL, APPEND, BULK]
SECONDS = 10
REFUSED = "mainstem_peer_connections_refused_total"
# Why a visitor is refused, and how often at least.
REASONS = {"garbage": 20, "insecure": 1, "version": 1 + len(LANES), "cluster": 1, "node": 1}


def damaged(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def greetings(cluster: bytes) -> list[bytes]:
    """No hello is among them."""
    chance = random.Random(4)
    whole = hello(APPEND, cluster, NOBODY, 1)
    return [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(505),
        bytes(200),
        b"\xff" * 200,
        *(chance.randbytes(chance.randrange(10, 4000)) for _ in range(20)),
        # Lengths that no version has, and one that is too long for what it says.
        *(MAGIC + struct.pack("<H", length) + bytes(200) for length in [0, GREETING_BYTES - 1, 1025, 0xFFFF]),
        *(damaged(whole, at) for at in [13, 20, 47, 79, GREETING_BYTES - 1]),
    ]


def test_strangers_are_refused_while_clients_work(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    with ExitStack() as silent:
        for node in cluster.nodes.values():
            visit(node, silent)
            load.wait_for_more()
    for node in cluster.nodes.values():
        said = node.stderr.read_text()
        for why in [
            "does not begin like a node's message",
            "a length of 115 bytes",
            "the checksum does not match",
            "speaks TLS, and this node has no certificate",
            "which speaks versions 0 to 0: no common protocol version",
            "it belongs to another cluster",
            "another node answers at this address",
        ]:
            assert "a connection was not let in" in said and why in said, why
        assert "panicked" not in said
        refused = {reason: metric(node, REFUSED, reason=reason) for reason in REASONS}
        assert all(refused[reason] >= least for reason, least in REASONS.items()), refused
        assert metric(node, "mainstem_peer_protocol_violations_total") >= len(LANES)
        assert node.ask("/v1/node")["problems"] == []
    load.wait_for_more()
    load.finish()


def visit(node, silent: ExitStack):
    """Says to a node all that it is to refuse."""
    with Stranger(node.peer) as stranger:
        found = stranger.greet(ASKING)
        assert (found.verdict, found.node) == (LET_IN, node.number)
        assert stranger.is_closed(), "nothing follows that question"
    cluster = found.cluster
    for words in greetings(cluster):
        with Stranger(node.peer) as stranger:
            stranger.say(words)
            assert stranger.is_closed(), words[:40]
    for lane in [ASKING, *LANES]:
        with Stranger(node.peer) as stranger:
            answer = stranger.greet(lane, cluster, NOBODY, node.number, versions=(0, 0))
            assert answer.verdict == NO_COMMON_VERSION
            assert stranger.is_closed()
    elsewhere = bytes(byte ^ 0x55 for byte in cluster)
    for of, to, verdict in [(elsewhere, node.number, OTHER_CLUSTER), (cluster, NOBODY, OTHER_NODE)]:
        with Stranger(node.peer) as stranger:
            assert stranger.greet(APPEND, of, NOBODY, to).verdict == verdict
            assert stranger.is_closed()
    chance = random.Random(5)
    frame = request(1, 1, b"x" * 40)
    broken = [bytes(28), b"\xff" * 100, chance.randbytes(4000), *(damaged(frame, at) for at in [0, 21, 50])]
    for lane in LANES:
        for words in broken:
            with Stranger(node.peer) as stranger:
                assert stranger.greet(lane, cluster, NOBODY, node.number).verdict == LET_IN
                stranger.say(words)
                assert stranger.is_closed(), words[:40]
        # Whole frames whose content nobody understands: the connection stays.
        with Stranger(node.peer) as stranger:
            assert stranger.greet(lane, cluster, NOBODY, node.number).verdict == LET_IN
            for nth, channel in enumerate([0, 1, 900, 5000, NODE], start=1):
                stranger.say(request(nth, channel, b"\xff" * 300))
                kind, why = stranger.frame()
                assert kind == (RESPONSE if channel == NODE else REJECTION), (channel, why)
                assert channel != NODE or b"unknown tag 255" in why, why
    # Half a hello, and nothing more until the load has gone on.
    halting = silent.enter_context(Stranger(node.peer))
    halting.say(hello(BULK, cluster, NOBODY, node.number)[:60])
