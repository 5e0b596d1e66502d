"""Each kind of bad input that docs/protocols/kafka.md tells of: what is answered, that it is logged and counted,
that the connections of others go on, and that nothing is lost that was acknowledged before."""

import gzip
import struct
import time
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

import wire
import writer
from observation import metric, said, wait_until

pytestmark = pytest.mark.python

MIB = 1 << 20
LARGEST_FRAME = 100 * MIB
TOPIC = "kept"
KNOWN = [b"record %d" % number for number in range(100)]
# Topics that take less than others.
CHOOSY = {
    "compacted": {"cleanup.policy": "compact"},
    "recent": {"message.timestamp.before.max.ms": "60000"},
    "small": {"max.message.bytes": "1000"},
}


@pytest.fixture
def keeper(broker):
    """A broker that has known records, and still has them after the test, a kill and a restart."""
    writer.create_topic(broker, TOPIC)
    with wire.Connection(broker.kafka) as connection:
        for nth, value in enumerate(KNOWN):
            assert wire.produce(connection, TOPIC, 0, wire.batch([value])) == wire.Appended(0, nth)
    with wire.Connection(broker.kafka) as bystander:
        yield broker
        # Whoever was connected before is served, and so are others.
        wire.api_versions(bystander.ask(wire.API_VERSIONS, 0))
    check_known(broker)
    broker.kill9()
    broker.start()
    check_known(broker)


def check_known(broker):
    with wire.Connection(broker.kafka) as connection:
        got = wire.fetch(connection, TOPIC)
        assert (got.error, got.end) == (0, len(KNOWN))
        assert [value for value in KNOWN if value not in got.records] == []
        assert wire.list_offset(connection, TOPIC, 0, wire.LATEST)[2] == len(KNOWN)


def header(content: bytes) -> bytes:
    """A frame that is what follows."""
    return struct.pack(">i", len(content)) + content


def flexible(body: bytes) -> bytes:
    """Metadata in version 9, whose header ends with tagged fields, of which there are none."""
    return wire.request(wire.METADATA, 9, 1, b"\0" + body)


# Metadata 9 without topics, as far as its tagged fields.
NO_TOPICS = b"\x01\0\0\0"
# Fetch 15 without topics, as far as its tagged fields.
FETCH_HEAD = b"\0" + bytes(21) + b"\x01\x01\x01"
PARTS = 128 * 1024

# The connection ends after the answers to what came before. What the log says:
FRAMES = {
    # Frames and headers.
    "negative length": (struct.pack(">i", -1), "a frame of -1 bytes"),
    "smallest length": (struct.pack(">i", -(1 << 31)), "a frame of -2147483648 bytes"),
    "length above the maximum": (struct.pack(">i", LARGEST_FRAME + 1), "more than 104857600"),
    "largest length": (struct.pack(">i", (1 << 31) - 1), "a frame of 2147483647 bytes"),
    "empty frame": (struct.pack(">i", 0), "truncated"),
    "half a header": (struct.pack(">ihh", 4, wire.METADATA, 1), "truncated"),
    "client id longer than the frame": (header(struct.pack(">hhih", wire.METADATA, 1, 1, 99)), "99 bytes wanted"),
    "client id that is no UTF-8": (header(struct.pack(">hhih", wire.METADATA, 1, 1, 1) + b"\xff"), "not UTF-8"),
    "tagged fields of the header run on": (wire.request(wire.METADATA, 9, 1, b"\xff" * 6), "out of range"),
    "http": (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", "a frame of 1195725856 bytes"),
    "tls": (bytes.fromhex("16030100c8010000c40303") + bytes(200), "a frame of 369295616 bytes"),
    # Versions.
    "unknown api": (wire.request(999, 0, 1), "API 999 is not spoken here"),
    "negative api": (wire.request(-1, 0, 1), "API -1 is not spoken here"),
    "api between brokers": (wire.request(4, 0, 1), "API 4 is not spoken here"),
    "authentication, which is not there yet": (
        wire.request(wire.SASL_HANDSHAKE, 1, 1, wire.text("PLAIN")),
        "API 17 is not spoken here",
    ),
    "a password, whoever sends it at once": (
        wire.request(wire.SASL_AUTHENTICATE, 1, 1, header(b"\0somebody\0secret")),
        "API 36 is not spoken here",
    ),
    "version from the future": (wire.request(wire.METADATA, 99, 1, b"\0"), "Metadata version 99 is not spoken here"),
    "negative version": (wire.request(wire.METADATA, -1, 1), "Metadata version -1 is not spoken here"),
    "produce of a version before batches": (wire.request(wire.PRODUCE, 2, 1, bytes(10)), "Produce version 2"),
    # Types.
    "body that ends early": (wire.request(wire.METADATA, 1, 1, struct.pack(">ih", 2, 4) + b"name"), "0 left"),
    "array of two billion": (wire.request(wire.METADATA, 1, 1, struct.pack(">i", (1 << 31) - 1)), "2147483647 cannot"),
    "compact array of four billion": (flexible(b"\xff\xff\xff\xff\x0f"), "a count of 4294967294 cannot fit"),
    "null for an array": (wire.request(wire.METADATA, 0, 1, struct.pack(">i", -1)), "null is not allowed"),
    "text longer than the frame": (wire.request(wire.METADATA, 1, 1, struct.pack(">ih", 1, 30000)), "30000 bytes"),
    "text longer than any": (flexible(b"\x02" + b"\x81\x80\x02" + bytes(32768) + NO_TOPICS), "too long"),
    "text that is no UTF-8": (wire.request(wire.METADATA, 1, 1, struct.pack(">ih", 1, 2) + b"\xff\xfe"), "not UTF-8"),
    "varint that runs on": (flexible(b"\x80\x80\x80\x80\x80\x01"), "out of range"),
    "varint of more than 32 bits": (flexible(b"\xff\xff\xff\xff\x1f"), "out of range"),
    "tagged field longer than the frame": (flexible(NO_TOPICS + b"\x01\x05\x64"), "100 bytes wanted"),
    "more tagged fields than bytes": (flexible(NO_TOPICS + b"\x7f"), "a count of 127 cannot fit"),
    "known tagged field that is not filled": (
        wire.request(wire.FETCH, 15, 1, FETCH_HEAD + b"\x01\x00\x03\x02cx"),
        "1 bytes after the end",
    ),
    # What hostile bytes can cost.
    "more parts than there is memory for": (
        wire.request(wire.METADATA, 1, 1, struct.pack(">i", PARTS + 1) + bytes(2 * PARTS + 2)),
        "131073 elements",
    ),
}


@pytest.mark.parametrize("frame, why", FRAMES.values(), ids=FRAMES)
def test_what_is_no_request_ends_the_connection(keeper, frame, why):
    before = metric(keeper, "mainstem_protocol_violations_total", listener="kafka")
    with wire.Connection(keeper.kafka) as connection:
        origin = "{}:{}".format(*connection.socket.getsockname())
        # What came before is answered.
        connection.send(wire.request(wire.API_VERSIONS, 0, 7) + frame)
        wire.api_versions(connection.answer(7))
        assert connection.is_closed()
    counted = lambda: metric(keeper, "mainstem_protocol_violations_total", listener="kafka") == before + 1
    wait_until("the count", counted)
    (line,) = [line for line in said(keeper).splitlines() if origin in line]
    assert "violation" in line and "kafka" in line and why in line


@dataclass
class Bad:
    records: bytes | None
    error: int
    why: str
    topic: str = TOPIC
    # The record that is at fault, where it is one.
    at: int | None = None
    # Whether the answer says where the partition begins, as Kafka's does of what its log refuses.
    tells_start: bool = False


def raw(records: bytes, codec: int = wire.NONE, count: int = 1) -> bytes:
    """A batch of these bytes, of which the head says nothing wrong but that they are records."""
    return wire.batch([b""] * count, records=records, codec=codec)


def malformed(records: bytes, at: int = 0, count: int = 1) -> Bad:
    why = f"record {at} is malformed"
    return Bad(raw(records, count=count), wire.INVALID_RECORD, why, at=at, tells_start=True)


def unreadable(records: bytes, codec: int, why: str = "do not decompress") -> Bad:
    return Bad(raw(records, codec), wire.INVALID_RECORD, why, tells_start=True)


NOW = int(time.time() * 1000)
HOUR = 3_600_000
ONE = wire.record(0, b"one")
# A frame of zstd whose head claims a window of 16 MiB, and an empty block.
LARGE_WINDOW = bytes.fromhex("28b52ffd 00 70 010000")

BATCHES = {
    "checksum": Bad(wire.batch([b"x"], checksum_flip=1), wire.CORRUPT_MESSAGE, "with checksum"),
    "value changed on the way": Bad(wire.batch([b"x"])[:-2] + b"y\0", wire.CORRUPT_MESSAGE, "with checksum"),
    "cut": Bad(wire.batch([b"x"])[:-1], wire.INVALID_RECORD, "68 left"),
    "half a head": Bad(wire.batch([b"x"])[:30], wire.INVALID_RECORD, "30 left"),
    "length too small": Bad(wire.batch([b"x"], length=10), wire.CORRUPT_MESSAGE, "of length 10"),
    "length negative": Bad(wire.batch([b"x"], length=-1), wire.CORRUPT_MESSAGE, "of length -1"),
    "more records than offsets": Bad(wire.batch([b"1", b"2"], count=3), wire.INVALID_RECORD, "3 records with"),
    "more offsets than records": Bad(
        wire.batch([b"1"], last_offset_delta=1_000_000), wire.INVALID_RECORD, "number 1000000", tells_start=True
    ),
    "no records": Bad(wire.batch([b"1"], count=0, last_offset_delta=-1), wire.INVALID_RECORD, "0 records with"),
    "nothing": Bad(b"", wire.INVALID_RECORD, "no bytes in the place"),
    "null": Bad(None, wire.INVALID_RECORD, "no batch"),
    "two batches": Bad(wire.batch([b"one"]) * 2, wire.INVALID_RECORD, "more behind the batch"),
    "control batch": Bad(
        wire.batch([b"one"], attributes=0x20), wire.INVALID_RECORD, "no control batches", tells_start=True
    ),
    "transactional without a transaction": Bad(
        wire.batch([b"one"], attributes=0x10, producer=(1, 0, 0)),
        wire.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    ),
    "unknown codec": Bad(wire.batch([b"one"], codec=5), wire.UNSUPPORTED_COMPRESSION, "compression code 5"),
    "message format 0": Bad(wire.old_message_set(b"old" * 100, 0), wire.INVALID_RECORD, "format 0"),
    "message format 1": Bad(wire.old_message_set(b"old" * 100, 1), wire.INVALID_RECORD, "format 1"),
    "message format 0, shorter than a batch": Bad(wire.old_message_set(b"o", 0), wire.INVALID_RECORD, "format 0"),
    "message format 1, shorter than a batch": Bad(wire.old_message_set(b"o", 1), wire.INVALID_RECORD, "format 1"),
    "message format 3": Bad(wire.batch([b"new"], magic=3), wire.CORRUPT_MESSAGE, "format 3"),
    "too large": Bad(wire.batch([bytes(1_048_589)]), wire.MESSAGE_TOO_LARGE, "record too large"),
    "too large for the topic": Bad(wire.batch([bytes(1001)]), wire.MESSAGE_TOO_LARGE, "too large", topic="small"),
    # The records inside.
    "record longer than the batch": malformed(wire.varint(100) + ONE),
    "record of negative length": malformed(wire.varint(-1)),
    "key longer than its record": malformed(wire.varint(10) + b"\0\0\0" + wire.varint(100) + bytes(5)),
    "value that does not fill its record": malformed(wire.varint(10) + b"\0\0\0\x01\x02x" + bytes(4)),
    "more headers than bytes": malformed(wire.record(0, b"x", headers=wire.varint(1_000_000))),
    "negative count of headers": malformed(wire.record(0, b"x", headers=wire.varint(-2))),
    "header without a key": malformed(wire.record(0, b"x", headers=wire.varint(1) + wire.varint(-1) * 2)),
    "varint in a record that runs on": malformed(b"\xff" * 11),
    "the second record is missing": malformed(ONE, at=1, count=2),
    "gap in numbers": Bad(
        raw(ONE + wire.record(2, b"three"), count=2), wire.INVALID_RECORD, "offset delta 2", at=1, tells_start=True
    ),
    "bytes behind the records": unreadable(ONE + b"more", wire.NONE, "more bytes than records"),
    # Compression.
    "no gzip": unreadable(b"garbage" * 10, wire.GZIP),
    "no snappy": unreadable(b"\x05garbage", wire.SNAPPY),
    "no lz4": unreadable(b"garbage", wire.LZ4),
    "no zstd": unreadable(b"garbage", wire.ZSTD),
    "gzip that ends early": unreadable(gzip.compress(ONE)[:-12], wire.GZIP, ""),
    "chunks of snappy that end early": unreadable(b"\x82SNAPPY\0" + bytes(8) + b"\0\0\1\0", wire.SNAPPY),
    "snappy that claims 32 GiB": unreadable(b"\xff\xff\xff\xff\x7f" + ONE, wire.SNAPPY, ""),
    "zstd with a window of 16 MiB": unreadable(LARGE_WINDOW, wire.ZSTD),
    "bomb": unreadable(gzip.compress(wire.record(0, bytes(129 * MIB)), 1), wire.GZIP, "too many bytes decompressed"),
    # What the topic wants.
    "no key in a compacted topic": Bad(
        wire.batch([b"1", b"2"]), wire.INVALID_RECORD, "without a key", topic="compacted", at=0, tells_start=True
    ),
    "timestamp too far ahead": Bad(
        wire.batch([b"1", b"2"], times=[NOW, NOW + 2 * HOUR]), wire.INVALID_TIMESTAMP, "ahead", at=1, tells_start=True
    ),
    "timestamp too long ago": Bad(
        wire.batch([b"1"], times=[NOW - HOUR]), wire.INVALID_TIMESTAMP, "ago", topic="recent", at=0, tells_start=True
    ),
    "append time by the producer": Bad(
        wire.batch([b"1"], attributes=0x08), wire.INVALID_TIMESTAMP, "when a record was appended", tells_start=True
    ),
}


@dataclass
class Refusal:
    error: int
    base: int
    start: int
    records: list[tuple[int, str | None]]
    message: str | None


def refused(answer: wire.Reader) -> Refusal:
    """The outcome for the only partition, in a response of version 8."""
    def partition(answer):
        answer.i32()
        error, base = answer.i16(), answer.i64()
        answer.i64()
        start = answer.i64()
        records = answer.array(lambda answer: (answer.i32(), answer.text()))
        return Refusal(error, base, start, records, answer.text())

    ((outcome,),) = answer.array(lambda topic: (topic.text(), topic.array(partition))[1])
    answer.i32()
    answer.end()
    return outcome


@pytest.mark.parametrize("bad", BATCHES.values(), ids=BATCHES)
def test_a_bad_batch_is_refused_and_not_stored(keeper, bad):
    if bad.topic in CHOOSY:
        writer.create_topic(keeper, bad.topic, config=CHOOSY[bad.topic])
    before = metric(keeper, "mainstem_protocol_rejections_total", listener="kafka")
    with wire.Connection(keeper.kafka) as connection:
        origin = "{}:{}".format(*connection.socket.getsockname())
        refusal = refused(connection.ask(wire.PRODUCE, 8, wire.produce_body(bad.topic, 0, bad.records)))
        assert (refusal.error, refusal.base) == (bad.error, -1)
        assert refusal.start == (0 if bad.tells_start else -1)
        assert [nth for nth, _ in refusal.records] == ([] if bad.at is None else [bad.at])
        for _, why in refusal.records:
            assert bad.why in why and bad.why in refusal.message
        # The connection goes on, and the next batch is the first in that topic or the next in the other.
        end = wire.list_offset(connection, bad.topic, 0, wire.LATEST)[2]
        assert end == (len(KNOWN) if bad.topic == TOPIC else 0)
    counted = lambda: metric(keeper, "mainstem_protocol_rejections_total", listener="kafka") == before + 1
    wait_until("the count", counted)
    (line,) = [line for line in said(keeper).splitlines() if origin in line]
    assert "refused" in line and bad.topic in line and bad.why in line


def test_a_client_that_wants_to_authenticate_learns_that_it_cannot(keeper):
    """From what is advertised: it sends no password to a broker that would not know what to do with it."""
    told = []
    client = AdminClient({
        "bootstrap.servers": keeper.kafka,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "somebody",
        "sasl.password": "secret",
        "error_cb": told.append,
    })
    wait_until("an error", lambda: client.poll(0) >= 0 and told)
    assert told[0].code() == KafkaError._AUTHENTICATION
    assert "not supported by broker" in told[0].str()
    assert metric(keeper, "mainstem_protocol_violations_total", listener="kafka") == 0


def test_a_version_of_api_versions_from_the_future_is_answered(keeper):
    with wire.Connection(keeper.kafka) as connection:
        error, versions = wire.api_versions(connection.ask(wire.API_VERSIONS, 99, b"\0 no tags, then anything"))
        assert error == wire.UNSUPPORTED_VERSION
        assert wire.PRODUCE in versions


@pytest.mark.parametrize("api", [wire.PRODUCE, wire.METADATA, wire.FETCH])
def test_as_many_parts_as_there_is_memory_for(keeper, api):
    """One less than what ends the connection is answered."""
    many = PARTS - 1
    body = {
        wire.PRODUCE: wire.text(None) + struct.pack(">hii", -1, 1000, 1) + wire.text("nowhere")
        + struct.pack(">i", many) + struct.pack(">ii", 0, -1) * many,
        wire.METADATA: struct.pack(">i", many) + bytes(2 * many) + b"\0",
        wire.FETCH: struct.pack(">iiiibi", -1, 0, 0, MIB, 0, 1) + wire.text("nowhere")
        + struct.pack(">i", many) + struct.pack(">iqi", 0, 0, 1) * many,
    }[api]
    with wire.Connection(keeper.kafka, timeout=60) as connection:
        connection.ask(api, 4, body)
    wait_until("its memory", lambda: metric(keeper, "mainstem_memory_used_bytes") == 0)
