"""Bytes that no client would send. The broker refuses them, stores nothing of them and stays healthy."""

import random
import resource
import socket
import struct
import time
import urllib.request

import pytest

import wire
import writer
from observation import metric, open_files, resident_bytes, said, wait_until

pytestmark = pytest.mark.python

TOPIC = "hostile"
LARGEST_FRAME = 100 << 20
MIB = 1 << 20


@pytest.fixture
def healthy(broker):
    """A broker with a topic that must work as well after the test as before."""
    writer.create_topic(broker, TOPIC)
    assert stored(broker) == 0
    yield broker
    check_health(broker)


def check_health(broker):
    with urllib.request.urlopen(f"http://{broker.http}/health/ready", timeout=5) as answer:
        assert answer.status == 200
    with wire.Connection(broker.kafka) as connection:
        before = wire.list_offset(connection, TOPIC, 0, wire.LATEST)[2]
        batch = wire.batch([b"still", b"here"])
        assert wire.produce(connection, TOPIC, 0, batch) == wire.Appended(0, before)
        got = wire.fetch(connection, TOPIC, 0, before)
        assert (got.error, got.end) == (0, before + 2)
        # But for base offset and leader epoch, which the broker gives, what went in comes out.
        assert got.records[wire.COVERED :] == batch[wire.COVERED :]


def stored(broker) -> int:
    with wire.Connection(broker.kafka) as connection:
        error, _, offset = wire.list_offset(connection, TOPIC, 0, wire.LATEST)
        assert error == 0
        return offset


def valid_request(correlation: int) -> bytes:
    return wire.request(wire.API_VERSIONS, 0, correlation)


def test_a_log_that_is_no_terminal_has_no_colours(healthy):
    healthy.restart()
    assert said(healthy) != ""
    assert "\x1b" not in said(healthy)


def test_bytes_after_a_request_are_stepped_over(healthy):
    """As Kafka does. librdkafka 2.16 relies on it: this is how it asks for all topics, in version 13."""
    captured = bytes.fromhex("00000019 0003 000d 00000003 0007 72646b61666b61 00 00 00000001 0000")
    with wire.Connection(healthy.kafka) as connection:
        connection.send(captured)
        answer = connection.answer(3)
        assert TOPIC.encode() in answer.content


def test_garbage(healthy):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(300):
        with wire.Connection(healthy.kafka) as connection:
            kind = chance.randrange(3)
            content = chance.randbytes(chance.randrange(1, 2000))
            if kind == 1:
                # A frame of garbage.
                content = struct.pack(">i", len(content)) + content
            elif kind == 2:
                # A request whose body is garbage.
                api, version = chance.randrange(0, 70), chance.randrange(0, 14)
                content = wire.request(api, version, 1, content[: chance.randrange(100)])
            try:
                connection.send(content)
            except (BrokenPipeError, ConnectionResetError):
                pass


def test_a_request_that_is_cut_off(healthy):
    """At every byte: the broker must wait for the rest, then take the end of the connection for an end."""
    records = wire.batch([b"never whole"])
    whole = wire.request(wire.PRODUCE, 3, 1, wire.produce_body(TOPIC, 0, records))
    for length in range(1, len(whole)):
        with wire.Connection(healthy.kafka) as connection:
            connection.send(whole[:length])
    time.sleep(0.2)
    assert stored(healthy) == 0


def test_a_request_byte_by_byte(healthy):
    with wire.Connection(healthy.kafka) as connection:
        for byte in wire.request(wire.PRODUCE, 3, 1, wire.produce_body(TOPIC, 0, wire.batch([b"slowly"]))):
            connection.send(bytes([byte]))
        assert wire.produced(connection.answer(1)) == wire.Appended(0, 0)


def test_frames_promised_and_not_sent_take_no_memory(healthy):
    before = resident_bytes(healthy)
    connections = [wire.Connection(healthy.kafka) for _ in range(50)]
    for connection in connections:
        connection.send(struct.pack(">i", LARGEST_FRAME) + b"and then nothing")
    time.sleep(0.5)
    grown = resident_bytes(healthy) - before
    for connection in connections:
        connection.socket.close()
    assert grown < 50 * MIB, f"{grown >> 20} MiB for 50 promises"


def test_api_versions_from_the_future(healthy):
    """KIP-511: version 99 is answered in version 0, with what is spoken."""
    with wire.Connection(healthy.kafka) as connection:
        error, versions = wire.api_versions(connection.ask(wire.API_VERSIONS, 99, b"\0 no tags, then anything"))
        assert error == wire.UNSUPPORTED_VERSION
        error, same = wire.api_versions(connection.ask(wire.API_VERSIONS, 0))
        assert error == 0
        assert versions == same
        assert {wire.PRODUCE, wire.FETCH, wire.METADATA, wire.API_VERSIONS} <= versions.keys()


def test_every_advertised_version_answers_or_is_refused_politely(healthy):
    """An empty body is malformed for most: what matters is that none of them hurts."""
    with wire.Connection(healthy.kafka) as connection:
        _, versions = wire.api_versions(connection.ask(wire.API_VERSIONS, 0))
    for api, (first, last) in versions.items():
        for version in range(first, last + 1):
            for body in [b"", bytes(8), bytes(64), b"\xff" * 64]:
                with wire.Connection(healthy.kafka) as connection:
                    connection.send(wire.request(api, version, 1, body))


def test_a_bad_batch_without_acknowledgement_ends_the_connection(healthy):
    """Nobody waits for an answer, so the end of the connection is how Kafka says that something is wrong."""
    with wire.Connection(healthy.kafka) as connection:
        records = wire.batch([b"corrupt"], checksum_flip=1)
        connection.send(wire.request(wire.PRODUCE, 3, 1, wire.produce_body(TOPIC, 0, records, acks=0)))
        assert connection.is_closed()
    with wire.Connection(healthy.kafka) as connection:
        connection.send(wire.request(wire.PRODUCE, 3, 2, wire.produce_body(TOPIC, 0, wire.batch([b"good"]), acks=0)))
        wait_until("the good record", lambda: stored(healthy) == 1)
    assert metric(healthy, "mainstem_protocol_rejections_total") >= 1


def test_wrong_acks_and_places(healthy):
    good = wire.batch([b"good"])
    with wire.Connection(healthy.kafka) as connection:
        assert wire.produce(connection, TOPIC, 0, good, acks=2).error == wire.INVALID_REQUIRED_ACKS
        for partition in [1, -1, (1 << 31) - 1]:
            assert wire.produce(connection, TOPIC, partition, good).error == wire.UNKNOWN_TOPIC_OR_PARTITION
            assert wire.fetch(connection, TOPIC, partition).error == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.produce(connection, "nowhere", 0, good).error == wire.UNKNOWN_TOPIC_OR_PARTITION
        for offset in [1, 1 << 62, -1, -(1 << 63)]:
            assert wire.fetch(connection, TOPIC, 0, offset).error == wire.OFFSET_OUT_OF_RANGE
    assert stored(healthy) == 0


def test_sequences_of_an_idempotent_producer(healthy):
    def produce(epoch, sequence, count=1):
        values = [b"%d" % number for number in range(sequence, sequence + count)]
        return wire.produce(connection, TOPIC, 0, wire.batch(values, producer=(producer, epoch, sequence)))

    with wire.Connection(healthy.kafka) as connection:
        producer = wire.new_producer(connection)
        assert wire.new_producer(connection) != producer
        assert produce(0, 0, count=3) == wire.Appended(0, 0)
        assert produce(0, 4).error == wire.OUT_OF_ORDER_SEQUENCE
        assert produce(0, 3) == wire.Appended(0, 3)
        # Repeats are answered with where the first went.
        assert produce(0, 3) == wire.Appended(0, 3)
        assert produce(0, 0, count=3) == wire.Appended(0, 0)
        # A batch that overlaps is neither new nor a repeat.
        assert produce(0, 2, count=3).error == wire.OUT_OF_ORDER_SEQUENCE
        # A new epoch begins afresh and fences the old one, a restart of the broker notwithstanding.
        assert produce(1, 0) == wire.Appended(0, 4)
        assert produce(0, 4).error == wire.INVALID_PRODUCER_EPOCH
    healthy.kill9()
    healthy.start()
    with wire.Connection(healthy.kafka) as connection:
        assert produce(1, 0) == wire.Appended(0, 4)
        assert produce(0, 4).error == wire.INVALID_PRODUCER_EPOCH
        assert produce(1, 1) == wire.Appended(0, 5)


@pytest.mark.parametrize("requests", [100, 1000])
def test_answers_come_in_the_order_of_requests(healthy, requests):
    """Some need the disk, some wait, most do neither. librdkafka sends as many at once, if it may."""
    chance = random.Random(requests)
    kinds = chance.choices(["produce", "fetch", "versions", "offsets"], k=requests)
    offsets_body = struct.pack(">ibi", -1, 0, 1) + wire.text(TOPIC) + struct.pack(">iiq", 1, 0, wire.LATEST)
    with wire.Connection(healthy.kafka) as connection:
        frames = []
        for number, kind in enumerate(kinds):
            if kind == "produce":
                body = wire.produce_body(TOPIC, 0, wire.batch([b"%d" % number]))
                frames.append(wire.request(wire.PRODUCE, 3, number, body))
            elif kind == "fetch":
                frames.append(wire.request(wire.FETCH, 4, number, wire.fetch_body(TOPIC, 0, 0, 200, max_wait=5)))
            elif kind == "versions":
                frames.append(valid_request(number))
            else:
                frames.append(wire.request(wire.LIST_OFFSETS, 2, number, offsets_body))
        connection.send(b"".join(frames))
        appended = 0
        for number, kind in enumerate(kinds):
            answer = connection.answer(number)
            if kind == "produce":
                assert wire.produced(answer) == wire.Appended(0, appended)
                appended += 1


def test_many_requests_without_an_answer_do_not_hold_up_the_next(healthy):
    """More than may wait at a time, and nothing is ever sent back that could make the broker look again."""
    requests = 1000
    body = wire.produce_body(TOPIC, 0, wire.batch([b"unanswered"]), acks=0)
    with wire.Connection(healthy.kafka) as connection:
        frames = [wire.request(wire.PRODUCE, 3, number, body) for number in range(requests)]
        connection.send(b"".join(frames) + valid_request(requests))
        wire.api_versions(connection.answer(requests))
    wait_until("the last record", lambda: stored(healthy) == requests)


@pytest.fixture
def open_file_limit():
    """The hard limit. The soft one may be changed: it is put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_than_a_thousand_idle_connections(open_file_limit, healthy):
    """Started with the soft limit for open files that most systems have, which is there to be raised."""
    if open_file_limit < 4096:
        pytest.skip(f"this system allows {open_file_limit} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, open_file_limit))
    healthy.restart()
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_file_limit, open_file_limit))
    before = open_files(healthy)
    connections = [wire.Connection(healthy.kafka) for _ in range(1200)]
    check_health(healthy)
    for nth, connection in enumerate(connections):
        if nth % 100 == 0:
            wire.api_versions(connection.ask(wire.API_VERSIONS, 0))
    assert resident_bytes(healthy) < 500 * MIB
    for connection in connections:
        connection.socket.close()
    wait_until("the end of the connections", lambda: open_files(healthy) <= before + 10)


FEW_FILES = 256


def test_connections_leave_descriptors_for_the_journals(open_file_limit, healthy):
    """More connections than descriptors: those that are too many are closed, and records are still taken."""
    healthy.stop()
    # A child takes its limits with it, so that this process keeps its own.
    healthy.wrapper = ["sh", "-c", f'ulimit -n {FEW_FILES} && exec "$@"', "sh"]
    healthy.start()
    seats = FEW_FILES // 2
    with wire.Connection(healthy.kafka) as first:
        connections = [wire.Connection(healthy.kafka) for _ in range(2 * FEW_FILES)]
        refused = [connection for connection in connections if not is_open(connection)]
        assert len(refused) == len(connections) + 1 - seats
        assert metric(healthy, "mainstem_connections_refused_total") == len(refused)
        assert metric(healthy, "mainstem_accept_errors_total") == 0
        # And the one that asks.
        wait_until("the count", lambda: metric(healthy, "mainstem_connections") == seats + 1)
        assert "refused" in said(healthy)
        # Enough for the journal to begin several files.
        for number in range(60):
            records = wire.batch([random.Random(number).randbytes(MIB // 2)])
            assert wire.produce(first, TOPIC, 0, records).error == 0
    for connection in connections:
        connection.socket.close()
    wait_until("the end of the connections", lambda: metric(healthy, "mainstem_connections") == 1)
    check_health(healthy)


def is_open(connection) -> bool:
    """Whether the broker serves the connection rather than closing it."""
    try:
        wire.api_versions(connection.ask(wire.API_VERSIONS, 0))
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return False
    return True


def test_more_http_connections_than_operators_have(healthy):
    """Those that are too many are closed; those that send no request are, too, and make room."""
    host, port = healthy.http.rsplit(":", 1)
    connections = [socket.create_connection((host, int(port)), 20) for _ in range(100)]
    for connection in connections:
        connection.settimeout(20)
    # The last were refused at once.
    assert connections[-1].recv(1) == b""
    began = time.monotonic()
    assert connections[0].recv(100) == b""
    assert time.monotonic() - began < 15
    wait_until("room", lambda: metric_or_none(healthy, "mainstem_connections_refused_total") is not None)
    assert metric(healthy, "mainstem_connections_refused_total") >= 100 - 64
    for connection in connections:
        connection.close()


def metric_or_none(broker, name: str) -> float | None:
    try:
        return metric(broker, name)
    except OSError:
        return None


def test_a_large_request_leaves_no_memory_behind(healthy):
    """A connection that was busy once costs no more than one that never was."""
    body = wire.produce_body(TOPIC, 0, bytes(80 * MIB))
    with wire.Connection(healthy.kafka) as first, wire.Connection(healthy.kafka) as second:
        before = resident_bytes(healthy)
        for connection in [first, second]:
            assert wire.produced(connection.ask(wire.PRODUCE, 3, body)).error == wire.INVALID_RECORD
        wait_until("memory given back", lambda: resident_bytes(healthy) - before < 40 * MIB)
        assert is_open(first) and is_open(second)


def test_a_client_that_asks_for_much_and_reads_nothing(healthy):
    """100 requests for 30 MiB each on one connection must not take 3 GiB of the broker's memory."""
    with wire.Connection(healthy.kafka) as connection:
        for number in range(60):
            records = wire.batch([random.Random(number).randbytes(MIB // 2)])
            assert wire.produce(connection, TOPIC, 0, records).error == 0
    before = resident_bytes(healthy)
    with wire.Connection(healthy.kafka) as connection:
        for number in range(100):
            connection.send(wire.request(wire.FETCH, 4, number, wire.fetch_body(TOPIC, 0, 0, 64 * MIB)))
        most = 0
        for _ in range(30):
            time.sleep(0.1)
            most = max(most, resident_bytes(healthy) - before)
        assert most < 500 * MIB, f"{most >> 20} MiB for a client that does not read"
