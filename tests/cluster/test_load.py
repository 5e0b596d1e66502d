"""Where little is done some of what is done elsewhere goes: leaders change places, and partitions leave hot shards."""

import threading
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from test_moves import shard_of

TOPIC = "hot"
SHARDS = 6
PARTITIONS = 2 * SHARDS
# Three looks in a row have to see it, ten seconds apart.
SPREAD_SECONDS = 120
RECORD = bytes(64 << 10)
# About 3 MiB a second to each partition that is written to.
TURN_SECONDS = 0.02


class Heat:
    """Much that is written to some partitions, until it is told to finish."""

    def __init__(self, address: str, partitions: list[int]):
        self.partitions = partitions
        self.acknowledged = dict.fromkeys(partitions, 0)
        self.failures = []
        self._stop = threading.Event()
        self._producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 0})
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            for partition in self.partitions:
                self._producer.produce(TOPIC, RECORD, partition=partition, on_delivery=self._on_delivery)
            self._producer.poll(0)
            self._stop.wait(TURN_SECONDS)
        self._producer.flush(60)

    def _on_delivery(self, error, message):
        if error is not None:
            self.failures.append(error)
        else:
            self.acknowledged[message.partition()] += 1

    def finish(self):
        self._stop.set()
        self._thread.join()


@pytest.mark.timeout(300)
@pytest.mark.python
def test_what_is_hot_is_spread(cluster, measured):
    founder = cluster.new_node(1)
    founder.shards = SHARDS
    cluster.start(founder)
    for number in (2, 3):
        cluster.start(cluster.joiner(number))
    cluster.wait_settled()
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=-1)])[TOPIC].result(30)
    by_shard = {}
    for partition in range(PARTITIONS):
        by_shard.setdefault(shard_of(founder, TOPIC, partition)[0], []).append(partition)
    by_leader = {}
    for shard, partitions in by_shard.items():
        by_leader.setdefault(cluster.leader_of(TOPIC, partitions[0]).number, []).append(partitions)
    # One node leads a shard with two partitions that are written to, and another with one.
    together, alone = next(shards for shards in by_leader.values() if len(shards) > 1)[:2]
    hot = [*together, alone[0]]
    heat = Heat(cluster.kafka, hot)
    began = time.monotonic()
    try:
        while True:
            is_shed = len({shard_of(founder, TOPIC, partition)[0] for partition in together}) > 1
            is_led_apart = len({cluster.leader_of(TOPIC, partition).number for partition in hot}) > 1
            if is_shed and is_led_apart:
                break
            what = f"partitions in shards of their own: {is_shed}; led by several: {is_led_apart}"
            assert time.monotonic() - began < SPREAD_SECONDS, what
            time.sleep(0.2)
        measured(f"spread after {time.monotonic() - began:.0f} s")
    finally:
        heat.finish()
    assert heat.failures == []
    assert shard_of(founder, TOPIC, alone[0])[1] is None, "it had no need to move"
    for partition, count in heat.acknowledged.items():
        found = founder.ask(f"/v1/topics/{TOPIC}")["partitions"][partition]
        assert found["end"] == count, "nothing is missing, nothing is there twice"
