"""Partitions move from shard to shard under clients, which notice nothing."""

import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from load import PARTITIONS
from observation import wait_until

MOVE_SECONDS = 30
# Loose, for machines that do much else. What was measured is printed.
SILENCE_SECONDS = 10


def shard_of(node, topic: str, partition: int) -> tuple[int, int | None]:
    """The shard of a partition, and the one that has older records of it."""
    found = node.ask(f"/v1/topics/{topic}")["partitions"][partition]
    return found["shard"], found["older_shard"]


def move(node, topic: str, partition: int) -> int:
    """Moves a partition to another shard. What may be tried again is: a leader may be lost meanwhile."""
    shard, _ = shard_of(node, topic, partition)
    to = 3 - shard
    deadline = time.monotonic() + MOVE_SECONDS
    while True:
        status, said = ask_to_move(node, topic, partition, to)
        if status == 200:
            assert said == {"topic": topic, "partition": partition, "shard": to}
            return to
        assert status in (503, 504) and time.monotonic() < deadline, said
        time.sleep(0.05)


def ask_to_move(node, topic: str, partition: int, to: int) -> tuple[int, dict]:
    """The status and the answer."""
    path = f"http://{node.http}/v1/topics/{topic}/partitions/{partition}"
    body = json.dumps({"shard": to}).encode()
    ask = urllib.request.Request(path, body, {"Content-Type": "application/json"}, method="PATCH")
    try:
        with urllib.request.urlopen(ask, timeout=MOVE_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def topic(cluster, new_load):
    """Clients that write to a topic of which all partitions are in the first two shards, and read it."""
    cluster.form()
    load = new_load()
    load.wait_for_more()
    return load


@pytest.mark.timeout(300)
@pytest.mark.python
def test_clients_do_not_notice_a_move(topic, cluster, measured):
    load = topic
    movable = [p for p in range(PARTITIONS) if shard_of(cluster.nodes[1], load.topic, p)[0] in (1, 2)]
    assert len(movable) > 1
    silences = []
    for partition in movable:
        began = time.monotonic()
        to = move(cluster.nodes[1 + partition % 3], load.topic, partition)
        load.wait_for_more()
        load.wait_for_more()
        silences.append(load.history.longest_silence(partition, began))
        assert shard_of(cluster.nodes[1], load.topic, partition) == (to, 3 - to), "older records stay"
    records = load.finish()
    measured(f"longest time without an answer: {max(silences):.2f} s, of {', '.join(f'{each:.2f}' for each in silences)}")
    measured(f"{records} records")
    assert load.history.errors == []
    assert max(silences) < SILENCE_SECONDS


@pytest.mark.timeout(300)
@pytest.mark.python
def test_a_leader_is_killed_while_partitions_move(topic, cluster, measured):
    load = topic
    movable = [p for p in range(PARTITIONS) if shard_of(cluster.nodes[1], load.topic, p)[0] in (1, 2)]
    killed = cluster.leader_of(load.topic, movable[0])
    asked = next(node for node in cluster.running() if node is not killed)
    moving = [threading.Thread(target=move, args=(asked, load.topic, partition)) for partition in movable]
    for thread in moving:
        thread.start()
    killed.kill9()
    for thread in moving:
        thread.join(2 * MOVE_SECONDS)
    load.wait_for_more()
    killed.start()
    cluster.wait_settled()
    load.wait_for_more()
    measured(f"{load.finish()} records")
    for partition in movable:
        shard, older = shard_of(cluster.nodes[1], load.topic, partition)
        assert {shard, older} == {1, 2}, "it has moved"


@pytest.mark.python
def test_a_move_that_a_shard_cannot_do_its_part_of_is_refused(cluster):
    """Two nodes with one of two shards each, of which there is no other replica."""
    for number in [1, 2]:
        node = cluster.new_node(number, cluster.nodes[1].peer if number > 1 else None)
        node.options += ["--replication", "1"]
        cluster.start(node)
    first, second = cluster.nodes[1], cluster.nodes[2]
    wait_until("each leads a shard", lambda: len(led(first)[1]) == len(led(first)[2]) == 1, MOVE_SECONDS)
    here, there = (next(iter(led(first)[number])) for number in (1, 2))
    body = json.dumps({"name": "t", "partitions": 2}).encode()
    create = urllib.request.Request(f"http://{first.http}/v1/topics", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(create, timeout=MOVE_SECONDS).close()
    places = {shard_of(first, "t", partition)[0]: partition for partition in (0, 1)}
    second.kill9()
    for partition, to in [(places[here], there), (places[there], here)]:
        status, why = ask_to_move(first, "t", partition, to)
        assert status == 503
        assert why["error"]["message"].startswith(f"shard {there} has no leader that most of its replicas follow")
    told = first.ask("/v1/topics/t")["partitions"]
    assert [(partition["moving_to"], partition["older_shard"]) for partition in told] == [(None, None)] * 2
    second.start()
    assert move(first, "t", places[here]) == there


def led(node) -> dict[int, set[int]]:
    """The shards that each node leads, but for the catalog."""
    return {member["node"]: set(member["leads"]) - {0} for member in node.ask("/v1/nodes")["nodes"]}
