"""Consumers that say in which rack they are read from a replica there, and from the leader when that is gone."""

import itertools
import time

import confluent_kafka
import pytest
from confluent_kafka import OFFSET_BEGINNING, ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import leaders, metadata
from load import IMPATIENT
from observation import metric, wait_until

TOPIC = "near"
RECORDS = 20
SECONDS = 30
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


@pytest.fixture
def nodes(cluster):
    """The leader of a topic's only partition, and another node, in another rack."""
    cluster.form()
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(SECONDS)
    # It stays with whoever is preferred.
    admin.elect_leaders(ElectionType.PREFERRED).result(SECONDS)
    first = metadata(cluster.kafka, TOPIC).topics[TOPIC].partitions[0].replicas[0]
    wait_until("it leads", lambda: all(leaders(node.kafka, TOPIC) == {0: first} for node in cluster.running()), SECONDS)
    return cluster.nodes[first], next(node for node in cluster.nodes.values() if node.number != first)


@pytest.fixture
def producer(cluster, nodes):
    return confluent_kafka.Producer({"bootstrap.servers": cluster.kafka, "acks": "all", **IMPATIENT})


def write(producer, value: str):
    """Returns once it is acknowledged."""
    failures = []
    producer.produce(TOPIC, value, on_delivery=lambda error, _: failures.extend([] if error is None else [error]))
    assert producer.flush(SECONDS) == 0 and failures == [], failures


def read_from(node) -> float:
    """How many records of the topic clients have had from a node."""
    return metric(node, "mainstem_topic_records_out_total", topic=TOPIC)


def in_sync(node) -> list[int]:
    return sorted(metadata(node.kafka, TOPIC).topics[TOPIC].partitions[0].isrs)


@pytest.mark.python
def test_a_consumer_reads_in_its_rack_and_elsewhere_once_nobody_is_there(cluster, nodes, producer, measured):
    leader, near = nodes
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": cluster.kafka,
        "group.id": "in a rack",
        "client.rack": f"rack-{near.number}",
        "enable.auto.commit": False,
        **IMPATIENT,
    })
    numbers = itertools.count()

    def pass_on():
        """A record is written, and read."""
        value = str(next(numbers))
        write(producer, value)
        message = consumer.poll(SECONDS)
        assert message is not None, f"record {value} is not read"
        assert message.error() is None, message.error()
        assert message.value().decode() == value

    try:
        consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])

        def is_near() -> bool:
            pass_on()
            return read_from(near) > 0

        wait_until("it reads in its rack", is_near, SECONDS)
        before = read_from(leader), read_from(near)
        for _ in range(RECORDS):
            pass_on()
        assert (read_from(leader), read_from(near)) == (before[0], before[1] + RECORDS)
        # From now on little is written: who is gone is hardly behind.
        near.kill9()
        began = time.monotonic()
        pass_on()
        measured(f"read again {time.monotonic() - began:.1f} s after the replica in the rack was killed")
        wait_until("it is not in sync", lambda: near.number not in in_sync(leader), SECONDS)
        pass_on()
    finally:
        consumer.close()
    near.start()
    cluster.wait_settled()
    wait_until("all are in sync", lambda: in_sync(cluster.leader_of(TOPIC, 0)) == [1, 2, 3], SECONDS)


@pytest.mark.java
@pytest.mark.python
def test_javas_console_consumer_reads_in_its_rack(cluster, nodes, producer, java_agent):
    leader, near = nodes
    values = [str(number) for number in range(RECORDS)]
    for value in values:
        write(producer, value)
    arguments = ["--bootstrap-server", cluster.kafka, "--topic", TOPIC, "--from-beginning"]
    arguments += ["--max-messages", str(RECORDS), "--timeout-ms", str(SECONDS * 1000)]
    arguments += ["--command-property", f"client.rack=rack-{near.number}"]
    said = java_agent.ask("tool", cluster.kafka, main=CONSOLE_CONSUMER, arguments=arguments, input="")
    assert said["code"] == 0, said
    assert said["output"].splitlines() == values
    assert (read_from(leader), read_from(near)) == (0, RECORDS)
