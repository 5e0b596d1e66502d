"""Clocks of nodes that are wrong: those nodes do not lead, say so, and nothing goes before its time."""

import shutil
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import reader
from clocks import COMPILER, Clocks
from cluster import leaders, preferred
from load import PARTITIONS
from observation import metric, said, wait_until

pytestmark = pytest.mark.python

SECONDS = 60
HOUR_MILLIS = 3_600_000
# So far the clocks of processes of one machine differ, as far as they can tell.
TOLERANCE_MILLIS = 1_000
SKEWED = "mainstem_shard_clock_skewed"
OFFSET = "mainstem_shard_clock_offset_millis"
LEADS = "mainstem_shard_leads"
# Longer than it takes until leaders go back to those who are preferred, and until what has expired is looked for.
WATCHED_SECONDS = 14


@pytest.fixture
def clocks(cluster, tmp_path) -> Clocks:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no {COMPILER}")
    clocks = Clocks(tmp_path)
    cluster.prepare = clocks.give
    return clocks


class Stamped:
    """A topic whose records are stamped by the brokers, and kept for half an hour."""

    NAME = "stamped"

    def __init__(self, cluster):
        self.cluster = cluster
        config = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(HOUR_MILLIS // 2)}
        new = NewTopic(self.NAME, num_partitions=PARTITIONS, replication_factor=-1, config=config)
        admin = AdminClient({"bootstrap.servers": cluster.kafka})
        admin.create_topics([new])[self.NAME].result(SECONDS)
        self.producer = Producer({"bootstrap.servers": cluster.kafka, "acks": "all", "log_level": 2})
        self.written = 0

    def write(self):
        for partition in range(PARTITIONS):
            self.producer.produce(self.NAME, str(self.written), partition=partition)
        self.written += 1
        assert self.producer.flush(SECONDS) == 0

    def check(self):
        """All of it is there, and time did not go back."""
        consumer = reader.without_commits(self.cluster)
        try:
            for partition in range(PARTITIONS):
                consumer.assign([TopicPartition(self.NAME, partition, OFFSET_BEGINNING)])
                found = []
                deadline = time.monotonic() + SECONDS
                while len(found) < self.written and time.monotonic() < deadline:
                    found += [message for message in consumer.consume(self.written, 0.2) if message.error() is None]
                assert [message.offset() for message in found] == list(range(self.written))
                stamps = [message.timestamp() for message in found]
                assert {kind for kind, _ in stamps} == {TIMESTAMP_LOG_APPEND_TIME}
                assert stamps == sorted(stamps)
        finally:
            consumer.close()


def check_that_it_says_so(cluster, wrong, millis: int):
    """The node whose clock is wrong does, in metrics and in its log, and no other one."""

    def shards() -> list[int]:
        return [shard["shard"] for shard in wrong.ask("/v1/node")["shards"]]

    wait_until("it says that its clock is wrong", lambda: metric(wrong, SKEWED) == len(shards()), SECONDS)
    for shard in shards():
        assert abs(metric(wrong, OFFSET, shard=str(shard)) + millis) < TOLERANCE_MILLIS
    assert "this node's clock differs from most others" in said(wrong)
    for node in cluster.nodes.values():
        assert node is wrong or (metric(node, SKEWED), said(node).count("clock differs")) == (0, 0)


def watch(cluster, wrong, load, stamped):
    """It leads nothing meanwhile, and all else goes on."""

    def others_lead() -> bool:
        """Those who are preferred to, where it is not preferred."""
        leading, wanted = leaders(cluster.kafka, load.topic), preferred(cluster.kafka, load.topic)
        return all(wanted[partition] in [wrong.number, leads] for partition, leads in leading.items())

    wait_until("it leads nothing", lambda: metric(wrong, LEADS) == 0, SECONDS)
    wait_until("the others lead", others_lead, SECONDS)
    stamped.write()
    leading = leaders(cluster.kafka, load.topic)
    end = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < end:
        stamped.write()
        load.wait_for_more()
        assert (metric(wrong, LEADS), leaders(cluster.kafka, load.topic)) == (0, leading)
    stamped.check()


def test_a_leader_whose_clock_is_a_day_ahead_leads_no_longer(cluster, clocks, new_load):
    cluster.form()
    load = new_load()
    stamped = Stamped(cluster)
    stamped.write()
    wrong = cluster.leader_of(stamped.NAME, 0)
    clocks.set(wrong, 24 * HOUR_MILLIS)
    stamped.write()
    check_that_it_says_so(cluster, wrong, 24 * HOUR_MILLIS)
    watch(cluster, wrong, load, stamped)
    clocks.set(wrong, 0)
    wait_until("its clock is right", lambda: metric(wrong, SKEWED) == 0, SECONDS)
    wait_until("it leads again", lambda: metric(wrong, LEADS) > 0, SECONDS)
    assert "clock agrees with most others again" in said(wrong)
    stamped.write()
    stamped.check()
    load.finish()


def test_a_node_whose_clock_is_an_hour_ahead_moves_no_leader(cluster, clocks, new_load):
    cluster.found()
    cluster.start(cluster.joiner(2))
    wrong = cluster.joiner(3)
    clocks.set(wrong, HOUR_MILLIS)
    cluster.start(wrong)
    cluster.wait_settled()
    load = new_load()
    stamped = Stamped(cluster)
    stamped.write()
    check_that_it_says_so(cluster, wrong, HOUR_MILLIS)
    watch(cluster, wrong, load, stamped)
    load.finish()
