"""Writes lines to the partitions of a topic, with each of the clients."""

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

import text

# Between a key and its line, for Java's console producer. No generated line has one.
KEY_ENDS = "\t"


def create_topic(broker, topic: str, partitions: int = 1, config: dict | None = None):
    """Makes a topic and waits for it."""
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    new = NewTopic(topic, partitions, 1, config=config or {})
    admin.create_topics([new])[topic].result(30)


def with_kcat(kcat, topic: str, codec: str, sources: list[Iterable[bytes]], folder: Path) -> list[text.Digest]:
    """Source n goes to partition n, one after the other."""
    digests = []
    for partition, lines in enumerate(sources):
        source = folder / f"{topic}-{partition}.txt"
        digests.append(text.write_file(source, lines))
        kcat(["-P", "-t", topic, "-p", str(partition), "-z", codec, "-X", "acks=all"], source)
        source.unlink()
    return digests


def with_confluent(broker, topic: str, codec: str, sources: list[Iterable[bytes]]) -> list[text.Digest]:
    """Source n goes to partition n, all at a time."""
    failures = []

    def on_delivery(error, _message):
        if error is not None:
            failures.append(error)

    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.kafka,
        "compression.type": codec,
        "linger.ms": 20,
        "queue.buffering.max.messages": 500_000,
        "delivery.report.only.error": True,
    })
    digests = [text.Digest() for _ in sources]
    for turn in zip_longest(*sources):
        for partition, line in enumerate(turn):
            if line is None:
                continue
            digests[partition].add(line)
            while True:
                try:
                    producer.produce(topic, line, partition=partition, on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.1)
    assert producer.flush(120) == 0, "not everything was delivered"
    assert not failures, f"{len(failures)} records were not delivered, the first because of {failures[0]}"
    return digests


def with_java(
    java_tool, broker, topic: str, codec: str, sources: list[Iterable[bytes]], folder: Path
) -> list[text.Digest]:
    """Source n goes to partition n, all in one run, line by line. Keys choose the partitions."""
    keys = keys_of(len(sources))
    source = folder / f"{topic}.txt"
    digests = [text.Digest() for _ in sources]
    with open(source, "wb", buffering=1 << 20) as file:
        for turn in zip_longest(*sources):
            for key, digest, line in zip(keys, digests, turn):
                if line is not None:
                    digest.add(line)
                    file.write(b"%s\t%s\n" % (key, line))
    arguments = ["--bootstrap-server", broker.kafka, "--topic", topic, "--compression-codec", codec]
    arguments += ["--reader-property", "parse.key=true", "--reader-property", f"key.separator={KEY_ENDS}"]
    java_tool("org.apache.kafka.tools.ConsoleProducer", arguments, source)
    source.unlink()
    return digests


def keys_of(partitions: int) -> list[bytes]:
    """For each of so many partitions a key that Java's clients put there."""
    keys = {}
    number = 0
    while len(keys) < partitions:
        key = b"key-%d" % number
        keys.setdefault((murmur2(key) & 0x7FFFFFFF) % partitions, key)
        number += 1
    return [keys[partition] for partition in range(partitions)]


def murmur2(data: bytes) -> int:
    """The hash by which Java's clients choose a partition."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        value = value * multiplier & mask ^ (word ^ word >> 24) * multiplier & mask
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15
