"""Topics made, described and removed; offsets found by position and by time."""

import select
import struct
import time

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import wire
import writer

pytestmark = pytest.mark.python

EPOCH = 1_700_000_000_000
# Records of that time would not be kept otherwise.
KEPT = {"retention.ms": "-1"}
GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
TOPICS = "org.apache.kafka.tools.TopicCommand"


@pytest.fixture
def admin(broker):
    return AdminClient({"bootstrap.servers": broker.kafka})


def create(admin, name: str, partitions: int = 1, replicas: int = 1, **more) -> int:
    """The error code, 0 for none."""
    validate_only = more.pop("validate_only", False)
    new = NewTopic(name, num_partitions=partitions, replication_factor=replicas, **more)
    return code_of(admin.create_topics([new], validate_only=validate_only)[name])


def code_of(future) -> int:
    try:
        future.result(30)
        return 0
    except confluent_kafka.KafkaException as error:
        return error.args[0].code()


def test_topics_are_made_described_and_removed(broker, admin):
    assert create(admin, "small") == 0
    assert create(admin, "large", partitions=64) == 0
    assert create(admin, "default", partitions=-1, replicas=-1) == 0
    topics = admin.list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {"small": 1, "large": 64, "default": 1}
    (node,) = admin.list_topics(timeout=10).brokers.values()
    assert f"{node.host}:{node.port}" == broker.kafka
    for partition in topics["large"].partitions.values():
        assert (partition.leader, partition.replicas, partition.isrs) == (node.id, [node.id], [node.id])

    broker.restart()
    assert len(admin.list_topics("large", timeout=10).topics["large"].partitions) == 64
    deleted = admin.delete_topics(["large", "never there"])
    assert code_of(deleted["large"]) == 0
    assert code_of(deleted["never there"]) == KafkaError.UNKNOWN_TOPIC_OR_PART
    broker.kill9()
    broker.start()
    assert set(admin.list_topics(timeout=10).topics) == {"small", "default"}


def test_what_cannot_be_made_is_refused_with_its_reason(broker, admin):
    assert create(admin, "there") == 0
    assert create(admin, "there") == KafkaError.TOPIC_ALREADY_EXISTS
    for name in ["", ".", "..", "white space", "slash/ed", "ünicode", "x" * 250]:
        assert create(admin, name) == KafkaError.TOPIC_EXCEPTION, name
    assert create(admin, "x" * 249) == 0
    assert create(admin, "with.dots-dashes_and_underscores") == 0
    assert create(admin, "none", partitions=0) == KafkaError.INVALID_PARTITIONS
    assert create(admin, "many", partitions=100_000) == KafkaError.INVALID_PARTITIONS
    assert create(admin, "copied", replicas=3) == KafkaError.INVALID_REPLICATION_FACTOR
    for setting in [
        {"no.such.setting": "1"},
        {"retention.ms": "soon"},
        {"max.message.bytes": "-1"},
        {"message.timestamp.type": "Never"},
        {"cleanup.policy": "shred"},
        {"min.insync.replicas": "2"},
    ]:
        assert create(admin, "configured", config=setting) == KafkaError.INVALID_CONFIG, setting
    assert create(admin, "alone", config={"min.insync.replicas": "1"}) == 0
    assert create(admin, "imagined", validate_only=True) == 0
    assert create(admin, "there", validate_only=True) == KafkaError.TOPIC_ALREADY_EXISTS
    expected = {"there", "alone", "x" * 249, "with.dots-dashes_and_underscores"}
    assert set(admin.list_topics(timeout=10).topics) == expected


def test_configurations_take_effect(broker, admin):
    assert create(admin, "short", config={"max.message.bytes": "1000"}) == 0
    assert create(admin, "long", config={"max.message.bytes": "4000000"}) == 0
    assert create(admin, "stamped", config={"message.timestamp.type": "LogAppendTime"}) == 0
    accepted = ["retention.ms", "retention.bytes", "segment.bytes"]
    assert create(admin, "kept", config={**dict.fromkeys(accepted, "100000"), "cleanup.policy": "delete"}) == 0
    with wire.Connection(broker.kafka) as connection:
        assert wire.produce(connection, "short", 0, wire.batch([bytes(2000)])).error == wire.MESSAGE_TOO_LARGE
        assert wire.produce(connection, "short", 0, wire.batch([bytes(800)])).error == 0
        assert wire.produce(connection, "long", 0, wire.batch([bytes(3_000_000)])).error == 0
        before = time.time() * 1000 - 1
        assert wire.produce(connection, "stamped", 0, wire.batch([b"1", b"2"], times=[EPOCH, EPOCH])).error == 0
        after = time.time() * 1000 + 1
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "none"})
    consumer.assign([TopicPartition("stamped", 0, 0)])
    for message in consumer.consume(2, timeout=10):
        kind, stamp = message.timestamp()
        assert kind == confluent_kafka.TIMESTAMP_LOG_APPEND_TIME
        assert before <= stamp <= after
    consumer.close()


def test_batches_are_compressed_as_the_topic_says(broker, admin):
    """Or as the producer did it. The records are the same."""
    codecs = {"uncompressed": wire.NONE, "gzip": wire.GZIP, "snappy": wire.SNAPPY, "lz4": wire.LZ4, "zstd": wire.ZSTD}
    values = [b"the same words, number %d" % number for number in range(100)]
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "none", "check.crcs": True})
    for setting in ["producer", *codecs]:
        assert create(admin, setting, config={"compression.type": setting, **KEPT}) == 0
        with wire.Connection(broker.kafka) as connection:
            for codec in [wire.NONE, wire.GZIP]:
                assert wire.produce(connection, setting, 0, wire.batch(values, codec=codec)).error == 0
            stored = wire.codecs(wire.fetch(connection, setting).records)
        assert stored == ([wire.NONE, wire.GZIP] if setting == "producer" else [codecs[setting]] * 2)
        consumer.assign([TopicPartition(setting, 0, 0)])
        assert [message.value() for message in consumer.consume(200, timeout=10)] == values * 2, setting
    consumer.close()


def test_a_topic_made_again_is_another(broker, admin):
    """Records, sequences and positions of the first do not show in the second."""
    assert create(admin, "again", partitions=2) == 0
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka})
    for number in range(100):
        producer.produce("again", b"old", partition=number % 2)
    assert producer.flush(10) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "both"})
    assert consumer.get_watermark_offsets(TopicPartition("again", 0), timeout=10) == (0, 50)
    assert code_of(admin.delete_topics(["again"])["again"]) == 0
    with wire.Connection(broker.kafka) as connection:
        assert wire.fetch(connection, "again").error == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.produce(connection, "again", 0, wire.batch([b"late"])).error == wire.UNKNOWN_TOPIC_OR_PARTITION
    assert create(admin, "again", partitions=3) == 0
    # One that has not met the first.
    consumer.close()
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "both"})
    for partition in range(3):
        assert consumer.get_watermark_offsets(TopicPartition("again", partition), timeout=10) == (0, 0)
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka})
    producer.produce("again", b"new", partition=0)
    assert producer.flush(10) == 0
    consumer.assign([TopicPartition("again", 0, 0)])
    assert [message.value() for message in consumer.consume(1, timeout=10)] == [b"new"]
    consumer.close()


def test_an_unknown_topic_is_made_only_if_the_client_allows_it(broker):
    with wire.Connection(broker.kafka) as connection:
        unknown = (wire.UNKNOWN_TOPIC_OR_PARTITION, 0)
        assert wire.metadata(connection, ["wanted"], create=False) == {"wanted": unknown}
        assert wire.metadata(connection, None, create=True) == {}
        assert wire.metadata(connection, ["wanted"], create=True) == {"wanted": (0, 1)}
        assert wire.metadata(connection, ["wanted"], create=False) == {"wanted": (0, 1)}
        # A name that cannot be is refused, and nothing is made.
        assert wire.metadata(connection, ["no name"], create=True) == {"no name": (wire.INVALID_TOPIC, 0)}
        assert wire.metadata(connection, None, create=False) == {"wanted": (0, 1)}
        # In the order asked for, each with its own answer.
        answers = wire.metadata(connection, ["missing", "wanted", "no name"], create=False)
        assert list(answers.values()) == [unknown, (0, 1), (wire.INVALID_TOPIC, 0)]


def test_a_consumer_of_an_unknown_topic_is_told(broker):
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka,
        "group.id": "none",
        "allow.auto.create.topics": False,
    })
    consumer.subscribe(["missing"])
    message = consumer.poll(10)
    assert message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    consumer.close()
    assert AdminClient({"bootstrap.servers": broker.kafka}).list_topics(timeout=10).topics == {}


@pytest.fixture
def timed(broker):
    """A topic with three compressed batches whose timestamps go back and forth. Offsets and times:

        0: 50  1: 30  2: 90 | 3: 10  4: 20 | 5: 95  6: 99  7: 99  8: 60
    """
    writer.create_topic(broker, "timed", 2, KEPT)
    with wire.Connection(broker.kafka) as connection:
        for times in [[50, 30, 90], [10, 20], [95, 99, 99, 60]]:
            values = [b"at %d" % time for time in times]
            records = wire.batch(values, times=[EPOCH + time for time in times], codec=wire.GZIP)
            assert wire.produce(connection, "timed", 0, records).error == 0
        # It was compressed on the way in and is on the way out.
        assert wire.codecs(wire.fetch(connection, "timed").records) == [wire.GZIP] * 3
        yield connection


# Time asked for; offset and time of the record found: the first at or after it.
BY_TIME = [(0, 0, 50), (10, 0, 50), (50, 0, 50), (51, 2, 90), (90, 2, 90), (91, 5, 95), (96, 6, 99), (99, 6, 99)]


def test_offsets_by_position_and_time(broker, timed):
    def check():
        assert wire.list_offset(connection, "timed", 0, wire.EARLIEST) == (0, -1, 0)
        assert wire.list_offset(connection, "timed", 0, wire.LATEST) == (0, -1, 9)
        assert wire.list_offset(connection, "timed", 0, wire.MAX_TIMESTAMP) == (0, EPOCH + 99, 6)
        for asked, offset, found in BY_TIME:
            assert wire.list_offset(connection, "timed", 0, EPOCH + asked) == (0, EPOCH + found, offset), asked
        assert wire.list_offset(connection, "timed", 0, EPOCH + 100) == (0, -1, -1)
        for time, offset in [(wire.EARLIEST, 0), (wire.LATEST, 0), (wire.MAX_TIMESTAMP, -1), (EPOCH, -1), (0, -1)]:
            assert wire.list_offset(connection, "timed", 1, time) == (0, -1, offset)
        assert wire.list_offset(connection, "timed", 2, wire.LATEST)[0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.list_offset(connection, "missing", 0, wire.LATEST)[0] == wire.UNKNOWN_TOPIC_OR_PARTITION

    connection = timed
    check()
    for leave in [broker.stop, broker.kill9]:
        leave()
        broker.start()
        with wire.Connection(broker.kafka) as connection:
            check()


def test_offsets_through_confluent(broker, admin, timed):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "none"})
    assert consumer.get_watermark_offsets(TopicPartition("timed", 0), timeout=10) == (0, 9)
    for asked, offset, _ in BY_TIME:
        (found,) = consumer.offsets_for_times([TopicPartition("timed", 0, EPOCH + asked)], timeout=10)
        assert found.offset == offset, asked
    (found,) = consumer.offsets_for_times([TopicPartition("timed", 0, EPOCH + 100)], timeout=10)
    assert found.offset == confluent_kafka.OFFSET_END
    consumer.close()
    place = TopicPartition("timed", 0)
    for which, offset, time in [
        (OffsetSpec.earliest(), 0, -1),
        (OffsetSpec.latest(), 9, -1),
        (OffsetSpec.max_timestamp(), 6, EPOCH + 99),
        (OffsetSpec.for_timestamp(EPOCH + 51), 2, EPOCH + 90),
    ]:
        found = admin.list_offsets({place: which})[place].result(10)
        assert (found.offset, found.timestamp) == (offset, time)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_offsets_by_time_within_a_batch_of_every_codec(broker, codec):
    """Exact to the record, although the record lies inside of a compressed batch."""
    writer.create_topic(broker, "codec", config=KEPT)
    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.kafka,
        "compression.type": codec,
        # Until the batch is full or flushed, however slow this machine is.
        "linger.ms": 10_000,
        "batch.num.messages": 500,
    })
    for number in range(1000):
        producer.produce("codec", b"the same words, number %d" % number, partition=0, timestamp=EPOCH + 10 * number)
        if number == 0:
            # Alone, so that the others meet a partition that is known. Those that wait for metadata are
            # handed over one by one, and a flush in the meantime sends each handful as a batch.
            assert producer.flush(10) == 0
    assert producer.flush(10) == 0
    with wire.Connection(broker.kafka) as connection:
        batches = wire.codecs(wire.fetch(connection, "codec").records)
        # The first is so small that librdkafka sends it as it is.
        assert set(batches[1:]) == {["none", "gzip", "snappy", "lz4", "zstd"].index(codec)}
        assert len(batches) < 10
        for number in [0, 1, 499, 500, 501, 777, 999]:
            found = wire.list_offset(connection, "codec", 0, EPOCH + 10 * number - 9)
            assert found == (0, EPOCH + 10 * number, number)
        assert wire.list_offset(connection, "codec", 0, wire.MAX_TIMESTAMP) == (0, EPOCH + 9990, 999)


@pytest.mark.java
def test_topics_and_offsets_through_java(broker, timed, java_tool):
    def topics(*arguments) -> list[str]:
        return java_tool(TOPICS, ["--bootstrap-server", broker.kafka, *arguments]).decode().splitlines()

    topics("--create", "--topic", "made", "--partitions", "3", "--config", "retention.ms=1000000")
    assert sorted(topics("--list")) == ["made", "timed"]
    topics("--delete", "--topic", "made")
    assert topics("--list") == ["timed"]
    arguments = ["--bootstrap-server", broker.kafka, "--topic", "timed", "--time"]
    for time, expected in {"-2": "0", "-1": "9", "-3": "6", str(EPOCH + 91): "5"}.items():
        lines = java_tool(GET_OFFSETS, [*arguments, time]).decode().splitlines()
        assert f"timed:0:{expected}" in lines, time


def test_deleting_a_topic_ends_a_fetch_that_waits(broker, admin):
    """A consumer that polls a quiet topic is told at once, not when its wait is over."""
    assert create(admin, "quiet") == 0
    with wire.Connection(broker.kafka, timeout=20) as connection:
        connection.send(wire.request(wire.FETCH, 4, 1, wire.fetch_body("quiet", 0, 0, max_wait=15_000)))
        time.sleep(0.3)
        asked = time.monotonic()
        assert code_of(admin.delete_topics(["quiet"])["quiet"]) == 0
        assert wire.fetched(connection.answer(1)).error == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert time.monotonic() - asked < 5


def test_a_fetch_waits_for_records_and_no_longer(broker, admin):
    assert create(admin, "quiet") == 0
    with wire.Connection(broker.kafka) as waiting, wire.Connection(broker.kafka) as producing:
        asked = time.monotonic()
        assert wire.fetch(waiting, "quiet", max_wait=700) == wire.Fetched(0, 0, b"")
        assert 0.6 < time.monotonic() - asked < 3
        waiting.send(wire.request(wire.FETCH, 4, 99, wire.fetch_body("quiet", 0, 0, max_wait=9_000)))
        time.sleep(0.3)
        records = wire.batch([b"at last"])
        asked = time.monotonic()
        assert wire.produce(producing, "quiet", 0, records).error == 0
        got = wire.fetched(waiting.answer(99))
        assert time.monotonic() - asked < 2
        assert (got.error, got.end) == (0, 1)
        assert struct.unpack_from(">q", got.records)[0] == 0
        assert got.records[wire.COVERED :] == records[wire.COVERED :]


def test_a_fetch_waits_for_as_many_bytes_as_it_asks_for(broker, admin):
    assert create(admin, "quiet") == 0
    records = wire.batch([bytes(1000)])
    size = len(records)
    with wire.Connection(broker.kafka) as waiting, wire.Connection(broker.kafka) as producing:
        assert wire.produce(producing, "quiet", 0, records).error == 0
        # What is enough is answered at once.
        asked = time.monotonic()
        assert len(wire.fetch(waiting, "quiet", max_wait=9_000, min_bytes=size).records) == size
        assert time.monotonic() - asked < 2
        # What is not is answered when the wait is over.
        asked = time.monotonic()
        assert len(wire.fetch(waiting, "quiet", max_wait=700, min_bytes=size + 1).records) == size
        assert 0.6 < time.monotonic() - asked < 3
        # Or as soon as there is enough, not at the next record.
        body = wire.fetch_body("quiet", 0, 0, max_wait=9_000, min_bytes=3 * size)
        waiting.send(wire.request(wire.FETCH, 4, 99, body))
        assert wire.produce(producing, "quiet", 0, records).error == 0
        assert select.select([waiting.socket], [], [], 0.5) == ([], [], []), "two batches are answered, three wanted"
        asked = time.monotonic()
        assert wire.produce(producing, "quiet", 0, records).error == 0
        assert len(wire.fetched(waiting.answer(99)).records) == 3 * size
        assert time.monotonic() - asked < 2


def test_partitions_share_the_bytes_that_a_fetch_asks_for(broker, admin):
    """In the order asked for; only the first batch of all may be larger than what is asked for."""
    assert create(admin, "shared", partitions=4) == 0
    records = wire.batch([bytes(1000)])
    size = len(records)
    with wire.Connection(broker.kafka) as connection:
        # Partition 0 has none.
        for partition in [1, 2, 3] * 3:
            assert wire.produce(connection, "shared", partition, records).error == 0

        def batches(order: list[int], max_bytes: int) -> list[int]:
            """How many come of each partition, in that order."""
            answers = wire.fetch_each(connection, "shared", order, max_bytes)
            assert [partition for partition, _ in answers] == order
            for partition, got in answers:
                assert (got.error, got.end) == (0, 3 if partition else 0)
            whole = [len(wire.codecs(got.records)) for _, got in answers]
            # A batch may be cut where the bytes end.
            assert sum(len(got.records) for _, got in answers) <= max(max_bytes, size)
            return whole

        for max_bytes, expected in [
            (1, [0, 1, 0, 0]),
            (size, [0, 1, 0, 0]),
            (2 * size, [0, 2, 0, 0]),
            (3 * size + size // 2, [0, 3, 0, 0]),
            (5 * size, [0, 3, 2, 0]),
            (9 * size, [0, 3, 3, 3]),
        ]:
            assert batches([0, 1, 2, 3], max_bytes) == expected, max_bytes
        assert batches([3, 0, 2, 1], 4 * size) == [3, 0, 1, 0]
