"""Reads a topic from its beginning to the end it has now, with each of the clients."""

import time
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from text import Digest

# For compaction and retention to come round on a machine that others use, too.
UPKEEP_SECONDS = 90


def with_kcat(kcat, topic: str, partitions: int, folder: Path) -> list[Digest]:
    """One run of kcat per partition."""
    digests = []
    for partition in range(partitions):
        sink = folder / f"{topic}-{partition}.read"
        kcat(["-C", "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q"], stdout=sink)
        with open(sink, "rb", buffering=1 << 20) as file:
            digests.append(Digest(line.removesuffix(b"\n") for line in file))
        sink.unlink()
    return digests


def with_confluent(broker, topic: str, partitions: int) -> list[Digest]:
    """All partitions at a time. Every record must follow the one before it."""
    digests = [Digest() for _ in range(partitions)]
    for message in messages(broker, topic, partitions):
        digests[message.partition()].add(message.value())
    return digests


def without_commits(broker) -> confluent_kafka.Consumer:
    """A consumer that commits nothing and tells of the end of each partition."""
    return confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka,
        "group.id": "reader that commits nothing",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "check.crcs": True,
        "queued.max.messages.kbytes": 65536,
    })


def messages(broker, topic: str, partitions: int, stall_seconds: float = 30) -> Iterator[confluent_kafka.Message]:
    """Every record of the topic, once each of its partitions has been read to its end."""
    consumer = without_commits(broker)
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        following = [0] * partitions
        ended = set()
        heard = time.monotonic()
        while len(ended) < partitions:
            for message in consumer.consume(10_000, timeout=0.2):
                heard = time.monotonic()
                error = message.error()
                if error is None:
                    partition = message.partition()
                    offset, expected = message.offset(), following[partition]
                    assert offset == expected, f"offset {offset} of partition {partition} follows {expected - 1}"
                    following[partition] = expected + 1
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise AssertionError(f"cannot read {topic}: {error}")
            assert time.monotonic() - heard < stall_seconds, f"nothing more to read; ended: {ended} of {partitions}"
    finally:
        consumer.close()


def by_offset(broker, topic: str) -> dict[int, tuple[bytes | None, bytes | None]]:
    """Key and value of each record of a topic's only partition. Offsets may have gaps."""
    consumer = without_commits(broker)
    found = {}
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(30)
            assert message is not None, "no end within 30 seconds"
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                return found
            assert not found or message.offset() > max(found)
            found[message.offset()] = (message.key(), message.value())
    finally:
        consumer.close()


def by_offset_when(broker, topic: str, condition) -> dict[int, tuple[bytes | None, bytes | None]]:
    """Reads again and again until it is as it should become."""
    deadline = time.monotonic() + UPKEEP_SECONDS
    while True:
        found = by_offset(broker, topic)
        if condition(found):
            return found
        assert time.monotonic() < deadline, f"{len(found)} records: {str(list(found.items())[:20])[:4000]}"
        time.sleep(0.5)


def with_java(java_tool, broker, topic: str, partitions: int, count: int, folder: Path) -> list[Digest]:
    """All partitions in one run. Java's console consumer does not know where the end is, hence `count`."""
    sink = folder / f"{topic}.read"
    arguments = ["--bootstrap-server", broker.kafka, "--topic", topic, "--from-beginning"]
    arguments += ["--max-messages", str(count), "--timeout-ms", "30000"]
    arguments += ["--formatter-property", "print.partition=true"]
    java_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", arguments, stdout=sink)
    digests = [Digest() for _ in range(partitions)]
    with open(sink, "rb", buffering=1 << 20) as file:
        for line in file:
            partition, _, value = line.removesuffix(b"\n").partition(b"\t")
            digests[int(partition.removeprefix(b"Partition:"))].add(value)
    sink.unlink()
    return digests
