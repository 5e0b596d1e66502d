"""A topic gets many more partitions while clients write to it and read it."""

import threading
import time
from collections import Counter

import confluent_kafka
import pytest
from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from cluster import VOTERS, leaders, metadata, places
from load import IMPATIENT
from observation import wait_until

pytestmark = pytest.mark.python

TOPIC = "growing"
FEW, MANY = 10, 100
SECONDS = 30
# Of so many partitions that each of three shares would have 33 of.
SHARE_MIN = 25
# Clients look so often for new partitions.
LOOK = {"topic.metadata.refresh.interval.ms": 200}


class Writer:
    """Writes keyed records to whichever partitions its client knows, until it is told to finish."""

    def __init__(self, address: str):
        self.failures = []
        # By partition: offsets and values.
        self.acknowledged: dict[int, dict[int, bytes]] = {}
        self._stop = threading.Event()
        told = {"enable.idempotence": True, "linger.ms": 2, "error_cb": self._on_error}
        self._producer = confluent_kafka.Producer({"bootstrap.servers": address, **told, **LOOK, **IMPATIENT})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_error(self, error):
        self.failures.append(f"the producer was told: {error}")

    def _on_delivery(self, error, message):
        if error is not None:
            self.failures.append(f"{message.value()} is not delivered: {error}")
            return
        self.acknowledged.setdefault(message.partition(), {})[message.offset()] = message.value()

    def _run(self):
        number = 0
        while not self._stop.is_set():
            for number in range(number, number + 20):
                value = f"record {number}".encode()
                self._producer.produce(TOPIC, value, str(number).encode(), on_delivery=self._on_delivery)
            number += 1
            self._producer.poll(0)
            time.sleep(0.01)

    def counts(self) -> dict[int, int]:
        return {partition: len(records) for partition, records in list(self.acknowledged.items())}

    def finish(self):
        self._stop.set()
        self._thread.join(SECONDS)
        assert self._producer.flush(SECONDS) == 0


class Reader:
    """The only member of a group: it gets the new partitions, too, and reads each from its first record on."""

    def __init__(self, address: str):
        self.failures = []
        self.read: dict[int, list[tuple[int, bytes]]] = {}
        self._stop = threading.Event()
        self._consumer = confluent_kafka.Consumer({
            "bootstrap.servers": address,
            "group.id": "readers of all partitions",
            "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **LOOK,
            **IMPATIENT,
        })
        self._consumer.subscribe([TOPIC])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            for message in self._consumer.consume(1000, 0.1):
                if message.error() is not None:
                    self.failures.append(f"the consumer was told: {message.error()}")
                else:
                    self.read.setdefault(message.partition(), []).append((message.offset(), message.value()))
        self._consumer.close()

    def counts(self) -> dict[int, int]:
        return {partition: len(records) for partition, records in list(self.read.items())}

    def finish(self):
        self._stop.set()
        self._thread.join(SECONDS)


@pytest.fixture
def clients(cluster):
    """A topic of a few partitions, and who writes to it and reads it. They end before the cluster does."""
    cluster.form()
    # Each node shall have a shard to lead.
    shards = lambda: {shard for member in cluster.nodes[1].ask("/v1/nodes")["nodes"] for shard in places(member)}
    wait_until("there are as many shards as nodes", lambda: len(shards()) == 1 + VOTERS, SECONDS)
    cluster.wait_settled()
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, FEW)])[TOPIC].result(SECONDS)
    found = Writer(cluster.kafka), Reader(cluster.kafka)
    yield found
    for client in found:
        client.finish()


def test_ten_partitions_become_a_hundred(cluster, clients, measured):
    writer, reader = clients

    def go_on(partitions: int):
        """All partitions take records, and they are read."""
        before = writer.counts()
        has_more = lambda: all(writer.counts().get(nth, 0) > before.get(nth, 0) for nth in range(partitions))
        wait_until(f"all of {partitions} partitions take records", has_more, SECONDS)
        is_read = lambda: all(reader.counts().get(nth, 0) > before.get(nth, 0) for nth in range(partitions))
        wait_until(f"all of {partitions} partitions are read", is_read, SECONDS)

    go_on(FEW)
    assert set(writer.counts()) == set(range(FEW))
    admin = AdminClient({"bootstrap.servers": cluster.nodes[2].kafka})
    began = time.monotonic()
    admin.create_partitions([NewPartitions(TOPIC, MANY)])[TOPIC].result(SECONDS)
    measured(f"{MANY - FEW} partitions more after {time.monotonic() - began:.2f} s")
    go_on(MANY)
    measured(f"all of them were written and read after {time.monotonic() - began:.2f} s")
    for node in cluster.nodes.values():
        partitions = metadata(node.kafka, TOPIC).topics[TOPIC].partitions
        assert sorted(partitions) == list(range(MANY))
        assert all(sorted(partition.replicas) == [1, 2, 3] for partition in partitions.values())
    shards = Counter(partition["shard"] for partition in cluster.nodes[1].ask(f"/v1/topics/{TOPIC}")["partitions"])
    assert len(shards) == VOTERS and min(shards.values()) >= SHARE_MIN, shards
    # Those who are preferred lead, which they would by themselves after a while.
    admin.elect_leaders(ElectionType.PREFERRED).result(SECONDS)
    led = lambda: Counter(leaders(cluster.nodes[3].kafka, TOPIC).values())
    wait_until("all nodes lead", lambda: len(led()) == VOTERS and min(led().values()) >= SHARE_MIN, SECONDS)
    go_on(MANY)
    writer.finish()
    counts = writer.counts()
    wait_until("everything is read", lambda: reader.counts() == counts, SECONDS)
    reader.finish()
    assert (writer.failures, reader.failures) == ([], [])
    for partition, records in writer.acknowledged.items():
        assert reader.read[partition] == sorted(records.items()), f"of partition {partition}"
        assert [offset for offset, _ in reader.read[partition]] == list(range(len(records)))
    measured(f"{sum(counts.values())} records")
