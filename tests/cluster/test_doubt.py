"""Nodes whose machines lost power, as far as they know: what of their page cache was lost they cannot tell."""

import operator
import re
import struct
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import Cluster, Node
from history import Value
from load import PARTITIONS, read
from observation import metric, said, wait_until
from wire import crc32c

pytestmark = pytest.mark.python

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
IN_DOUBT = "mainstem_shard_in_doubt"
LOSSES = "mainstem_shard_possible_losses_total"
SECONDS = 60
# Records of each partition that were acknowledged when the power went.
RECORDS = 300
LOG_FILE = re.compile(r"[0-9a-f]{16}-([0-9a-f]{16})\.log")
FILE_HEADER_BYTES = 64
FRAME_HEAD = struct.Struct("<4s4xII8x8xQ8xQB7x")
FRAME_MARK = b"MSF1"
ENTRY = 1


def lose_power(node: Node):
    """Has a node that was killed find that its machine has booted since. Nothing else changes: the page cache is
    still there."""
    boot = int(BOOT_ID.read_text().strip().replace("-", ""), 16).to_bytes(16, "little")
    manifests = list(node.data.glob("shards/*/manifest"))
    assert manifests
    for manifest in manifests:
        content = manifest.read_bytes()
        copy = content[: len(content) // 2]
        assert copy * 2 == content and copy.count(boot) == 1
        changed = copy[:-4].replace(boot, bytes(byte ^ 0xFF for byte in boot))
        manifest.write_bytes(2 * (changed + crc32c(changed).to_bytes(4, "little")))


def test_one_in_doubt_is_told_by_the_others_and_all_in_doubt_go_on_with_the_longest_log(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    first, second, third = cluster.nodes.values()
    shards = [shard["shard"] for shard in first.ask("/v1/node")["shards"]]

    # The others know what there is: nothing can be lost.
    third.kill9()
    lose_power(third)
    third.start()
    cluster.wait_settled()
    assert "in doubt: acknowledged records may be missing here" in third.stderr.read_text()
    wait_until("it is out of doubt", lambda: metric(third, IN_DOUBT) == 0, SECONDS)
    assert sum(metric(node, LOSSES) for node in cluster.running()) == 0
    load.wait_for_more()

    cluster.kill_all()
    for node in [first, second, third]:
        lose_power(node)
        node.said.clear()
    seen = {node: node.stderr.stat().st_size for node in [first, second]}
    for node in [first, second]:
        node.launch()
    for node in [first, second]:
        # Two of three are most, but the third may have more.
        wait_until("it waits", lambda: b"not ready yet" in node.stderr.read_bytes()[seen[node] :], SECONDS)
        status, why = node.health()
        assert status == 503 and node.said == []
        for shard in shards:
            assert f"shard {shard} is in doubt: acknowledged records may be missing here" in why, why
        assert (metric(node, IN_DOUBT), metric(node, LOSSES)) == (len(shards), 0)
    third.start()
    cluster.wait_settled()
    for node in cluster.running():
        wait_until("it is ready", lambda: node.health() == (200, "ready\n"), SECONDS)
        assert metric(node, IN_DOUBT) == 0
    # Whoever leads says that something may be missing, although nothing is.
    for shard in shards:
        assert sum(metric(node, LOSSES, shard=str(shard)) for node in cluster.running()) >= 1
    load.wait_for_more()
    load.finish()


class Frame(NamedTuple):
    """An entry, or something else, in a log file."""

    begin: int
    end: int
    index: int
    # So many bytes of the file were known to be on stable storage when it was written.
    stable: int
    kind: int


class Log:
    """The end of what a node has of a shard: the log file that it was writing."""

    def __init__(self, node: Node, shard: int):
        folder = node.data / "shards" / f"{shard:08}"
        names = [name for name in folder.iterdir() if LOG_FILE.fullmatch(name.name)]
        self.path = max(names, key=lambda path: LOG_FILE.fullmatch(path.name)[1])
        self.frames: list[Frame] = []
        with open(self.path, "rb") as file:
            begin = FILE_HEADER_BYTES
            while True:
                file.seek(begin)
                head = file.read(FRAME_HEAD.size)
                if len(head) < FRAME_HEAD.size or not head.startswith(FRAME_MARK):
                    break
                _, meta, body, index, stable, kind = FRAME_HEAD.unpack(head)
                end = begin + (FRAME_HEAD.size + meta + body + 7) // 8 * 8
                self.frames.append(Frame(begin, end, index, stable, kind))
                begin = end

    @property
    def index(self) -> int:
        return self.frames[-1].index if self.frames else 0

    def unsynced(self) -> list[Frame]:
        """The entries at its end that nothing says are on stable storage."""
        found = []
        for frame in reversed(self.frames):
            if frame.kind != ENTRY or frame.begin < self.frames[-1].stable:
                break
            found.append(frame)
        return found[::-1]

    def lose(self, frames: list[Frame]):
        """As when they had never been written."""
        if frames:
            with open(self.path, "r+b") as file:
                file.seek(frames[0].begin)
                file.write(bytes(frames[-1].end - frames[0].begin))


class Writer:
    """Writes one record to each partition, again when all are acknowledged, until the cluster dies under it."""

    def __init__(self, cluster: Cluster, topic: str):
        self.topic = topic
        # Of each partition.
        self.acknowledged = [0] * PARTITIONS
        self._stop = threading.Event()
        # Each record once, in order: its number is its offset.
        self._producer = Producer({"bootstrap.servers": cluster.kafka, "acks": "all", "retries": 0, "log_level": 0})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._stop.is_set():
            for partition in range(PARTITIONS):
                value = Value("writer", partition, number).encoded()
                self._producer.produce(self.topic, value, partition=partition, on_delivery=self._on_delivery)
            while len(self._producer) > 0 and not self._stop.is_set():
                self._producer.poll(0.01)
            number += 1

    def _on_delivery(self, error, message):
        if error is None:
            self.acknowledged[message.partition()] = message.offset() + 1
        else:
            self._stop.set()

    def stop(self):
        self._stop.set()
        self._thread.join(10)
        self._producer.purge()
        self._producer.flush(10)


def lose_unsynced(cluster: Cluster, shard: int):
    """Of the replica with the longest log the last entry is lost, of the others all that nothing says was synced."""
    logs = sorted((Log(node, shard) for node in cluster.nodes.values()), key=lambda log: log.index)
    for log in logs[:-1]:
        log.lose(log.unsynced())
    logs[-1].lose(logs[-1].unsynced()[-1:])


def test_what_was_only_in_memory_may_be_lost_and_nothing_before_it(cluster, measured):
    """With quorum-memory: the power of all nodes goes in the midst of writes, and the longest log leads."""
    cluster.form()
    topic = "remembered"
    new = NewTopic(topic, PARTITIONS, -1, config={"mainstem.durability": "quorum-memory"})
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([new])[topic].result(SECONDS)
    partitions = cluster.nodes[1].ask(f"/v1/topics/{topic}")["partitions"]
    shards = {partition["shard"] for partition in partitions}
    writer = Writer(cluster, topic)
    try:
        wait_until("records", lambda: min(writer.acknowledged) > RECORDS, SECONDS)
        cluster.kill_all()
    finally:
        writer.stop()
    for shard in shards:
        lose_unsynced(cluster, shard)
    for node in cluster.nodes.values():
        lose_power(node)
    cluster.start_all()
    cluster.wait_settled()
    for node in cluster.running():
        assert "in doubt: acknowledged records may be missing here" in said(node)
        wait_until("it is out of doubt", lambda: metric(node, IN_DOUBT) == 0, SECONDS)
    for shard in shards:
        assert sum(metric(node, LOSSES, shard=str(shard)) for node in cluster.running()) >= 1
    log = read(cluster, topic)
    lost = [acknowledged - len(log[partition]) for partition, acknowledged in enumerate(writer.acknowledged)]
    measured(f"lost, of {writer.acknowledged} acknowledged records of each partition: {lost}")
    for partition, records in log.items():
        assert records == [(offset, Value("writer", partition, offset)) for offset in range(len(records))]
    # What the last entry of the longest log had. The others had lost more.
    assert max(lost) <= 1
    again = Writer(cluster, topic)
    wait_until("more records", lambda: all(map(operator.gt, again.acknowledged, map(len, log.values()))), SECONDS)
    again.stop()
