"""Many clients, slow clients, and clients that want the broker's memory: the others are served as before."""

import os
import random
import resource
import select
import statistics
import struct
import time
from contextlib import ExitStack

import pytest

import wire
import writer
from crowd import Attack, Slow, connected
from observation import metric, resident_bytes, said, wait_until

pytestmark = pytest.mark.python

TOPIC = "crowded"
KIB, MIB = 1 << 10, 1 << 20
LARGEST_FRAME = 100 * MIB
# What everybody wants.
IDLE = 10_000
SLOW = 100
# Descriptors that the broker keeps for its journals, and that it and this process need besides those of the idle.
FILES_OF_JOURNALS = 8192
SPARE_FILES = 400
IDLE_BYTES = 10 * KIB
ROUNDS = 400


@pytest.fixture
def open_file_limit():
    """The hard limit, which the soft one is raised to while the test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Latencies:
    """Seconds that requests took, of one kind."""

    def __init__(self, seconds: list[float]):
        self.median = statistics.median(seconds)
        self.p99 = statistics.quantiles(seconds, n=100)[98]

    def __repr__(self):
        return f"median {self.median * 1000:.2f} ms, p99 {self.p99 * 1000:.2f} ms"


def busy(broker, rounds: int = ROUNDS) -> tuple[Latencies, Latencies]:
    """Appends records and reads each, one after the other."""
    appends, reads = [], []
    with wire.Connection(broker.kafka) as connection:
        offset = wire.list_offset(connection, TOPIC, 0, wire.LATEST)[2]
        batch = wire.batch([bytes(KIB)])
        for nth in range(rounds):
            began = time.perf_counter()
            assert wire.produce(connection, TOPIC, 0, batch) == wire.Appended(0, offset + nth)
            appended = time.perf_counter()
            got = wire.fetch(connection, TOPIC, 0, offset + nth)
            reads.append(time.perf_counter() - appended)
            appends.append(appended - began)
            assert (got.error, len(got.records)) == (0, len(batch))
    return Latencies(appends), Latencies(reads)


def check_latencies(alone, crowded, crowd: str):
    """The machine has other things to do, too, so the slowest may be several times as slow."""
    for what, before, after in zip(["append", "read"], alone, crowded):
        shown = f"{what} alone: {before}; with {crowd}: {after}"
        print(shown)
        assert after.median <= 3 * before.median + 0.002, shown
        assert after.p99 <= 5 * before.p99 + 0.05, shown


def fill(broker, mebibytes: int):
    with wire.Connection(broker.kafka) as connection:
        for number in range(2 * mebibytes):
            records = wire.batch([random.Random(number).randbytes(MIB // 2)])
            assert wire.produce(connection, TOPIC, 0, records).error == 0


def test_idle_and_slow_connections_do_not_slow_the_busy(open_file_limit, broker):
    needed = IDLE + FILES_OF_JOURNALS + SPARE_FILES
    if open_file_limit < needed:
        few = f"{open_file_limit} open files are allowed here, and {needed} are needed"
        assert os.environ.get("CI") != "true", few
        pytest.skip(few)
    writer.create_topic(broker, TOPIC)
    fill(broker, 8)
    busy(broker, 100)
    alone = busy(broker)
    crowd = f"{IDLE} idle connections"
    before = resident_bytes(broker)
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(broker.kafka)) for _ in range(IDLE)]
        # Each of them has been busy once.
        for connection in idle:
            connection.sendall(wire.request(wire.API_VERSIONS, 0, 1))
        for connection in idle:
            assert connection.recv(4096), "an idle client is answered"
        assert metric(broker, "mainstem_connections", listener="kafka") == IDLE
        each = (resident_bytes(broker) - before) / IDLE
        print(f"{each:.0f} bytes for each of {crowd}")
        assert each <= IDLE_BYTES, f"{each:.0f} bytes for each of {crowd}"
        check_latencies(alone, busy(broker), crowd)
        ask = wire.request(wire.FETCH, 4, 1, wire.fetch_body(TOPIC, 0, 0, 8 * MIB))
        with Slow(broker.kafka, SLOW, ask):
            check_latencies(alone, busy(broker), f"{SLOW} slow and {crowd}")
    wait_until("their end", lambda: metric(broker, "mainstem_connections", listener="kafka") == 0)


STALL_SECONDS = 2


@pytest.fixture
def impatient(new_broker):
    """A broker that waits for nobody for long."""
    new_broker.options = ["--limits-stall-seconds", str(STALL_SECONDS)]
    new_broker.start()
    writer.create_topic(new_broker, TOPIC)
    return new_broker


def check_dropped(broker, connection, why: str):
    """The connection ends in time, it is said and counted, and what it held is given back."""
    before = metric(broker, "mainstem_connection_timeouts_total", listener="kafka")
    origin = "{}:{}".format(*connection.socket.getsockname())
    seconds = 4 * STALL_SECONDS
    wait_until("the drop", lambda: metric(broker, "mainstem_connection_timeouts_total", listener="kafka") > before, seconds)
    (line,) = [line for line in said(broker).splitlines() if origin in line and "closed" in line]
    assert why in line
    wait_until("its memory", lambda: metric(broker, "mainstem_memory_used_bytes") == 0)


def test_a_client_that_never_reads_is_bounded_and_dropped(impatient):
    fill(impatient, 40)
    before = resident_bytes(impatient)
    with wire.Connection(impatient.kafka) as connection:
        for number in range(50):
            connection.send(wire.request(wire.FETCH, 4, number, wire.fetch_body(TOPIC, 0, 0, 64 * MIB)))
        wait_until("its answer", lambda: metric(impatient, "mainstem_memory_used_bytes", pool="answers") > 20 * MIB)
        check_dropped(impatient, connection, "does not read its answers")
    assert resident_bytes(impatient) - before < 200 * MIB


@pytest.mark.parametrize("trickles", [False, True], ids=["stops", "trickles"])
@pytest.mark.parametrize("length, sent", [(LARGEST_FRAME, LARGEST_FRAME // 2), (100 * KIB, 50 * KIB), (200, 100)])
def test_the_rest_of_a_request_has_to_come(impatient, length, sent, trickles):
    with wire.Connection(impatient.kafka) as connection:
        connection.send(struct.pack(">i", length) + bytes(sent))
        if length > 16 * KIB:
            wait_until("memory", lambda: metric(impatient, "mainstem_memory_used_bytes") >= length)
        if trickles:
            for _ in range(STALL_SECONDS * 4 - 2):
                time.sleep(0.25)
                connection.send(b"\0")
        check_dropped(impatient, connection, "the rest of a request did not come")


def test_a_slow_request_that_goes_on_is_waited_for(impatient):
    """Longer than a client may stand still, but it never does."""
    body = wire.produce_body(TOPIC, 0, wire.batch([bytes(700 * KIB)]))
    request = wire.request(wire.PRODUCE, 3, 1, body)
    part = 100 * KIB
    with wire.Connection(impatient.kafka) as connection:
        began = time.monotonic()
        for at in range(0, len(request), part):
            connection.send(request[at : at + part])
            time.sleep(0.6)
        assert time.monotonic() - began > 2 * STALL_SECONDS
        assert wire.produced(connection.answer(1)) == wire.Appended(0, 0)


IDLE_SECONDS = 3


def test_who_neither_asks_nor_waits_is_dropped_in_time(new_broker):
    """Kafka's connections.max.idle.ms."""
    new_broker.options = ["--limits-idle-seconds", str(IDLE_SECONDS)]
    new_broker.start()
    writer.create_topic(new_broker, TOPIC)
    address = new_broker.kafka
    with wire.Connection(address) as idle, wire.Connection(address) as asks, wire.Connection(address) as waits:
        began = time.monotonic()
        wire.api_versions(idle.ask(wire.API_VERSIONS, 0))
        waits.send(wire.request(wire.FETCH, 4, 1, wire.fetch_body(TOPIC, 0, 0, MIB, max_wait=3000 * IDLE_SECONDS)))
        ended = None
        while time.monotonic() - began < 2 * IDLE_SECONDS:
            wire.api_versions(asks.ask(wire.API_VERSIONS, 0))
            if select.select([idle.socket] if ended is None else [], [], [], IDLE_SECONDS / 4)[0]:
                assert idle.is_closed()
                ended = time.monotonic()
        assert ended is not None, "it is not dropped"
        assert ended - began >= IDLE_SECONDS, "it is dropped too soon"
        assert metric(new_broker, "mainstem_connection_timeouts_total", listener="kafka") == 1
        origin = "{}:{}".format(*idle.socket.getsockname())
        (line,) = [line for line in said(new_broker).splitlines() if origin in line and "closed" in line]
        assert "idle" in line
        # Nothing came from this one for longer, and it is answered.
        got = wire.fetched(waits.answer(1))
        assert (got.error, got.records) == (0, b"")
        assert time.monotonic() - began >= 2.5 * IDLE_SECONDS


MEMORY = 128 * MIB
CACHE = 32 * MIB
# Beside what is configured: the program itself, answers that a decoder or the allocator has in hand.
SLACK = 200 * MIB
ATTACKERS = 200


def test_an_attack_on_memory(open_file_limit, new_broker, quick):
    """Requests as large as there may be, answers as large as there are, and more parts than anybody has."""
    new_broker.options = ["--limits-memory", str(MEMORY), "--cache-bytes", str(CACHE)]
    new_broker.start()
    # Records of these tests are of 2023.
    writer.create_topic(new_broker, TOPIC, config={"retention.ms": "-1"})
    fill(new_broker, 60)
    before = resident_bytes(new_broker)
    names = struct.pack(">i", 128 * KIB) + bytes(2 * 128 * KIB) + b"\0"
    large = [
        wire.request(wire.PRODUCE, 3, 1, wire.produce_body("nowhere", 0, bytes(LARGEST_FRAME - KIB))),
        wire.request(wire.PRODUCE, 3, 1, wire.produce_body("nowhere", 0, bytes(MIB))),
        wire.request(wire.FETCH, 4, 1, wire.fetch_body(TOPIC, 0, 0, 64 * MIB)),
    ]
    # Of the last a few are enough to keep processors busy, and this is about memory.
    attack = large * 16 + [wire.request(wire.METADATA, 4, 1, names)]
    most, slowest, rounds = 0, 0.0, 0
    with Attack(new_broker.kafka, attack, ATTACKERS) as crowd:
        until = time.monotonic() + (5 if quick else 10)
        while time.monotonic() < until or rounds == 0:
            began = time.monotonic()
            with wire.Connection(new_broker.kafka, timeout=60) as connection:
                offset = wire.list_offset(connection, TOPIC, 0, wire.LATEST)[2]
                for records in [wire.batch([b"small"]), wire.batch([bytes(900 * KIB)])]:
                    assert wire.produce(connection, TOPIC, 0, records) == wire.Appended(0, offset)
                    got = wire.fetch(connection, TOPIC, 0, offset, max_bytes=MIB)
                    # In need the answer may have nothing in it: then it is asked for again.
                    while got.error == 0 and not got.records:
                        got = wire.fetch(connection, TOPIC, 0, offset, max_bytes=MIB)
                    assert got.error == 0, got.error
                    assert got.records[wire.COVERED :] == records[wire.COVERED :]
                    offset += 1
            rounds += 1
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, resident_bytes(new_broker))
    shown = f"{most >> 20} MiB at most, {before >> 20} before; {rounds} rounds, {slowest:.1f} s at most"
    sent = [sum(crowd.sent[kind:-1:3]) for kind in range(3)] + crowd.sent[-1:]
    shown += f"; sent of each kind: {sent}"
    print(shown)
    # The largest take their time, one after the other.
    assert min(sent[1:]) > 0, shown
    assert most <= MEMORY + CACHE + SLACK, shown
    assert slowest < 40, shown
    wait_until("their memory", lambda: metric(new_broker, "mainstem_memory_used_bytes") == 0, 30)
    assert metric(new_broker, "mainstem_memory_waiting") == 0
