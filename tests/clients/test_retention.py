"""What is older than a topic keeps, or more, goes: the oldest first, and for every reader."""

import time

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition

import wire
import writer
from reader import UPKEEP_SECONDS, by_offset

pytestmark = pytest.mark.python

HOUR = 3_600_000
# Larger than what retention takes for one.
VALUE_BYTES = 100_000


def values(count: int) -> list[bytes]:
    return [b"%d " % number + b"x" * VALUE_BYTES for number in range(count)]


def produce(broker, topic: str, values: list[bytes], ages: list[int]):
    """Each in a batch of its own, as old as that in milliseconds."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "batch.num.messages": 1})
    now = int(time.time() * 1000)
    for value, age in zip(values, ages, strict=True):
        producer.produce(topic, value, partition=0, timestamp=now - age)
    assert producer.flush(30) == 0


def await_earliest(broker, topic: str, offset: int):
    """Waits until the topic begins there, as a client sees it. It never begins later."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "none"})
    try:
        deadline = time.monotonic() + UPKEEP_SECONDS
        while True:
            earliest, _ = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
            assert earliest <= offset
            if earliest == offset:
                return
            assert time.monotonic() < deadline, f"the topic begins at {earliest}"
            time.sleep(0.2)
    finally:
        consumer.close()


def holds_from(broker, topic: str, first: int, values: list[bytes]) -> bool:
    """Whether just the values from that offset on can be read."""
    return by_offset(broker, topic) == {offset: (None, values[offset]) for offset in range(first, len(values))}


def test_records_go_when_they_are_too_old(broker):
    everything = values(7)
    ages = [2 * HOUR] * 4 + [0, HOUR // 2, 0]
    for topic, kept in [("short", HOUR), ("forever", -1)]:
        writer.create_topic(broker, topic, config={"retention.ms": str(kept)})
        produce(broker, topic, everything, ages)
    await_earliest(broker, "short", 4)
    assert holds_from(broker, "short", 4, everything)
    with wire.Connection(broker.kafka) as connection:
        assert wire.fetch(connection, "short", 0, 3).error == wire.OFFSET_OUT_OF_RANGE
    assert holds_from(broker, "forever", 0, everything)
    broker.kill9()
    broker.start()
    assert holds_from(broker, "short", 4, everything)
    assert holds_from(broker, "forever", 0, everything)


def test_records_go_when_there_are_too_many_bytes(broker):
    everything = values(20)
    # Room for nine with what is around them.
    bounds = {"small": 10 * VALUE_BYTES, "large": 100 * VALUE_BYTES}
    for topic, kept in bounds.items():
        writer.create_topic(broker, topic, config={"retention.bytes": str(kept)})
        produce(broker, topic, everything, [0] * len(everything))
    await_earliest(broker, "small", 11)
    assert holds_from(broker, "small", 11, everything)
    assert holds_from(broker, "large", 0, everything)
    # What comes pushes out as much.
    everything += values(3)
    produce(broker, "small", everything[-3:], [0] * 3)
    await_earliest(broker, "small", 14)
    assert holds_from(broker, "small", 14, everything)
