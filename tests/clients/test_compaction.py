"""A compacted topic keeps the last record of each key, where it was, through restarts and kills."""

import time

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

import wire
import writer
from reader import by_offset, by_offset_when

pytestmark = pytest.mark.python

# A pass looks at what is new this often; two of them are needed, for a file is finished in between.
INTERVAL_SECONDS = 1
HOUR = 3_600_000


@pytest.fixture
def broker(broker):
    """Looks for what was overwritten more often than by default."""
    broker.stop()
    broker.options = ["--compaction-seconds", str(INTERVAL_SECONDS)]
    broker.start()
    return broker


def produce(broker, codec, records, topic="table", age=0):
    """Key and value of each, as old as that in milliseconds; None is a removal."""
    timestamp = int(time.time() * 1000) - age
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "compression.type": codec, "linger.ms": 5})
    for key, value in records:
        producer.produce(topic, value, key, partition=0, timestamp=timestamp, on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(30) == 0


def delivered(error, _message):
    assert error is None


def table(records) -> dict:
    return {key: value for key, value in records}


def last_of_each_key(records) -> dict:
    """By offset: what compaction leaves of these records."""
    last = {key: offset for offset, (key, _) in enumerate(records)}
    return {offset: records[offset] for offset in sorted(last.values())}


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_last_record_of_each_key_stays_where_it_was(broker, codec):
    writer.create_topic(broker, "table", 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"})
    records = [(b"key-%d" % (n % 20), b"value-%d" % n * 20) for n in range(4000)]
    produce(broker, codec, records)
    last = {key: offset for offset, (key, _) in enumerate(records)}
    found = by_offset_when(broker, "table", lambda found: len(found) < 400)
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
    found = by_offset_when(broker, "table", lambda found: min(found) >= 4000 - 20 and len(found) < 200)
    assert table(found.values()) == table(more)


def test_a_removal_goes_after_its_time(broker):
    config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000"}
    writer.create_topic(broker, "table", 1, config)
    produce(broker, "none", [(b"stays", b"1"), (b"goes", b"2"), (b"goes", None)])
    # Seen by a reader for as long as it is there.
    found = by_offset_when(broker, "table", lambda found: len(found) == 2)
    assert found == {0: (b"stays", b"1"), 2: (b"goes", None)}
    time.sleep(1)
    # Another pass has to have a reason.
    produce(broker, "none", [(b"other", b"3")])
    found = by_offset_when(broker, "table", lambda found: 2 not in found)
    assert found == {0: (b"stays", b"1"), 3: (b"other", b"3")}


def test_records_without_a_key_are_refused(broker):
    writer.create_topic(broker, "table", 1, {"cleanup.policy": "compact"})
    with wire.Connection(broker.kafka) as connection:
        assert wire.produce(connection, "table", 0, wire.batch([b"no key"])).error == wire.INVALID_RECORD
    assert by_offset(broker, "table") == {}


def test_what_is_old_goes_from_a_compacted_topic_too_if_its_policy_says_so(broker):
    """Compaction would keep the old records, whose keys do not come again, and retention the overwritten ones."""
    # Larger than what retention takes for one.
    old = [(b"old-%d" % n, b"o" * 100_000) for n in range(5)]
    recent = [(b"key-%d" % (n % 20), b"value-%d" % n) for n in range(400)]
    left = last_of_each_key(old + recent)
    for topic, policy in [("table", "compact,delete"), ("kept", "compact")]:
        config = {"cleanup.policy": policy, "retention.ms": str(HOUR), "min.cleanable.dirty.ratio": "0.01"}
        writer.create_topic(broker, topic, 1, config)
        produce(broker, "none", old, topic, age=2 * HOUR)
        produce(broker, "none", recent, topic)
    young = {offset: record for offset, record in left.items() if offset >= len(old)}
    found = by_offset_when(broker, "table", lambda found: len(found) <= len(young))
    assert found == young
    with wire.Connection(broker.kafka) as connection:
        assert len(old) <= wire.list_offset(connection, "table", 0, wire.EARLIEST)[2] <= min(young)
    # The same records stay where old ones are not to go; the overwritten ones go there, too.
    assert by_offset_when(broker, "kept", lambda found: len(found) <= len(left)) == left


# Of topics of other shards, others would look at other times.
@pytest.mark.parametrize("shards", [1])
def test_what_is_too_young_to_be_compacted_stays(broker):
    records = [(b"key-%d" % (n % 20), b"value-%d" % n) for n in range(400)]
    for topic, lag in [("table", HOUR), ("free", 0)]:
        config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": str(lag)}
        writer.create_topic(broker, topic, 1, config)
    produce(broker, "none", records, "table")
    # What compacts the records written last comes by those written before.
    for times in [1, 2]:
        produce(broker, "none", records, "free")
        left = last_of_each_key(records * times)
        assert by_offset_when(broker, "free", lambda found: len(found) <= len(left)) == left
        assert by_offset(broker, "table") == dict(enumerate(records))
    # Old enough now.
    entry = ConfigEntry("min.compaction.lag.ms", "0", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "table", incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    admin.incremental_alter_configs([resource])[resource].result(30)
    left = last_of_each_key(records)
    assert by_offset_when(broker, "table", lambda found: len(found) <= len(left)) == left
