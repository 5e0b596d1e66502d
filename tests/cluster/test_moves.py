"""Partitions move from shard to shard under clients, which notice nothing."""

import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from load import PARTITIONS

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
    path = f"http://{node.http}/v1/topics/{topic}/partitions/{partition}"
    deadline = time.monotonic() + MOVE_SECONDS
    while True:
        body = json.dumps({"shard": to}).encode()
        ask = urllib.request.Request(path, body, {"Content-Type": "application/json"}, method="PATCH")
        try:
            with urllib.request.urlopen(ask, timeout=MOVE_SECONDS) as answer:
                assert json.load(answer) == {"topic": topic, "partition": partition, "shard": to}
                return to
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            assert error.code in (503, 504) and time.monotonic() < deadline, said
        time.sleep(0.05)


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
