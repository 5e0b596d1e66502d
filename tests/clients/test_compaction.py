"""A compacted topic keeps the last record of each key, where it was, through restarts and kills."""

import time

import confluent_kafka
import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

import wire
import writer

pytestmark = pytest.mark.python

# A pass looks at what is new this often; two of them are needed, for a file is finished in between.
INTERVAL_SECONDS = 1
PATIENCE_SECONDS = 90


@pytest.fixture
def broker(broker):
    """Looks for what was overwritten more often than by default."""
    broker.stop()
    broker.options = ["--compaction-seconds", str(INTERVAL_SECONDS)]
    broker.start()
    return broker


def produce(broker, codec, records):
    """Key and value of each; None is a removal."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "compression.type": codec, "linger.ms": 5})
    for key, value in records:
        producer.produce("table", value, key, partition=0, on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(30) == 0


def delivered(error, _message):
    assert error is None


def read(broker) -> dict[int, tuple[bytes, bytes | None]]:
    """What is in the topic, by offset."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka,
        "group.id": "reader that commits nothing",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "check.crcs": True,
    })
    found = {}
    try:
        consumer.assign([TopicPartition("table", 0, OFFSET_BEGINNING)])
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


def read_when(broker, condition) -> dict[int, tuple[bytes, bytes | None]]:
    """Reads again and again until it is as it should become."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = read(broker)
        if condition(found):
            return found
        assert time.monotonic() < deadline, f"{len(found)} records: {list(found.items())[:20]}"
        time.sleep(0.5)


def table(records) -> dict:
    return {key: value for key, value in records}


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_last_record_of_each_key_stays_where_it_was(broker, codec):
    writer.create_topic(broker, "table", 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"})
    records = [(b"key-%d" % (n % 20), b"value-%d" % n * 20) for n in range(4000)]
    produce(broker, codec, records)
    last = {key: offset for offset, (key, _) in enumerate(records)}
    found = read_when(broker, lambda found: len(found) < 400)
    for key, offset in last.items():
        assert found[offset] == records[offset], key
    assert all(found[offset] == records[offset] for offset in found)
    # The end of the topic is what it was, and so is what follows.
    with wire.Connection(broker.kafka) as connection:
        assert wire.list_offset(connection, "table", 0, wire.LATEST)[2] == 4000
        assert wire.list_offset(connection, "table", 0, wire.EARLIEST)[2] == 0
    broker.kill9()
    broker.start()
    more = [(b"key-%d" % (n % 20), b"again-%d" % n) for n in range(400)]
    produce(broker, codec, more)
    found = read_when(broker, lambda found: min(found) >= 4000 - 20 and len(found) < 200)
    assert table(found.values()) == table(more)


def test_a_removal_goes_after_its_time(broker):
    config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000"}
    writer.create_topic(broker, "table", 1, config)
    produce(broker, "none", [(b"stays", b"1"), (b"goes", b"2"), (b"goes", None)])
    # Seen by a reader for as long as it is there.
    found = read_when(broker, lambda found: len(found) == 2)
    assert found == {0: (b"stays", b"1"), 2: (b"goes", None)}
    time.sleep(1)
    # Another pass has to have a reason.
    produce(broker, "none", [(b"other", b"3")])
    found = read_when(broker, lambda found: 2 not in found)
    assert found == {0: (b"stays", b"1"), 3: (b"other", b"3")}


def test_records_without_a_key_are_refused(broker):
    writer.create_topic(broker, "table", 1, {"cleanup.policy": "compact"})
    with wire.Connection(broker.kafka) as connection:
        assert wire.produce(connection, "table", 0, wire.batch([b"no key"])).error == wire.INVALID_RECORD
    assert read(broker) == {}
