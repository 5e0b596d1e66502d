"""The broker as a service: starting, saying so, being watched, stopping, starting again."""

import random
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import reader
import text
import wire
import writer
from broker import FREE_PORTS, Broker, parse_ready
from environment import setting

pytestmark = pytest.mark.python

TOPIC = "kept"
PARTITIONS = 4
TEXT_BYTES = 20_000_000
START_SECONDS = 5
MIB = 1 << 20


def get(broker, path: str) -> tuple[int, str, str]:
    """Status, content type and content."""
    try:
        with urllib.request.urlopen(f"http://{broker.http}{path}", timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"] or "", error.read().decode()


def metrics(broker) -> dict[str, float]:
    """The sum over all labels of every sample."""
    status, kind, content = get(broker, "/metrics")
    assert status == 200
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert content.endswith("# EOF\n")
    sums = {}
    for family in text_string_to_metric_families(content):
        assert family.documentation, f"{family.name} does not say what it is"
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def write(broker) -> list[text.Digest]:
    writer.create_topic(broker, TOPIC, PARTITIONS)
    sources = [text.lines(f"service {partition}", TEXT_BYTES // PARTITIONS) for partition in range(PARTITIONS)]
    return writer.with_confluent(broker, TOPIC, "none", sources)


def timed_start(broker) -> float:
    began = time.monotonic()
    broker.start()
    return time.monotonic() - began


def test_a_stopped_broker_starts_as_if_nothing_had_happened(broker):
    written = write(broker)
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 10
    seen = broker.stderr.stat().st_size
    assert timed_start(broker) < START_SECONDS
    said = broker.stderr.read_bytes()[seen:].decode(errors="replace")
    # A clean checkpoint leaves nothing to recover and nothing in doubt.
    for word in ["WARN", "ERROR", "doubt", "recover"]:
        assert word not in said, said
    assert get(broker, "/health/ready")[:1] == (200,)
    assert reader.with_confluent(broker, TOPIC, PARTITIONS) == written
    # Nor does stopping and starting with nothing in between.
    for _ in range(5):
        broker.stop()
        assert timed_start(broker) < START_SECONDS
    assert reader.with_confluent(broker, TOPIC, PARTITIONS) == written


def test_a_killed_broker_starts_and_has_everything(broker):
    written = write(broker)
    broker.kill9()
    assert timed_start(broker) < START_SECONDS
    assert get(broker, "/health/ready")[:1] == (200,)
    assert reader.with_confluent(broker, TOPIC, PARTITIONS) == written
    # Killed while it recovers, too: no ready line is waited for.
    broker.kill9()
    for wait in [0.005, 0.01, 0.02, 0.04, 0.08]:
        command = [broker.program, "serve", "--data-dir", str(broker.data)]
        command += FREE_PORTS
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.kill()
        process.wait(10)
    broker.start()
    assert reader.with_confluent(broker, TOPIC, PARTITIONS) == written


def test_sigterm_in_the_middle_of_work_is_clean_and_loses_nothing(broker):
    """Clients that hang on to their connections, and requests that wait, do not hold it up."""
    writer.create_topic(broker, TOPIC)
    waiting = [wire.Connection(broker.kafka) for _ in range(20)]
    for connection in waiting:
        connection.send(wire.request(wire.FETCH, 4, 1, wire.fetch_body(TOPIC, 0, 0, max_wait=60_000)))
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 5
    for connection in waiting:
        assert connection.is_closed()
    broker.start()
    acknowledged = 0
    with wire.Connection(broker.kafka) as connection:
        body = wire.produce_body(TOPIC, 0, wire.batch([b"x"]))
        connection.send(b"".join(wire.request(wire.PRODUCE, 3, number, body) for number in range(100)))
        wire.produced(connection.answer(0))
        acknowledged += 1
        broker.stop()
        try:
            while True:
                assert wire.produced(connection.answer(acknowledged)) == wire.Appended(0, acknowledged)
                acknowledged += 1
        except (EOFError, ConnectionResetError):
            pass
    broker.start()
    with wire.Connection(broker.kafka) as connection:
        assert wire.list_offset(connection, TOPIC, 0, wire.LATEST)[2] >= acknowledged


HTTP_SENT = {"silent": b"", "cut": b"GET /hea", "kept alive": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"}


@pytest.mark.parametrize("sent", HTTP_SENT.values(), ids=HTTP_SENT)
def test_an_open_http_connection_does_not_hold_up_sigterm(broker, sent):
    host, port = broker.http.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(sent)
        if sent.endswith(b"\r\n\r\n"):
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.2)
        began = time.monotonic()
        broker.stop()
        assert time.monotonic() - began < 5
    broker.start()


def test_a_second_start_on_the_same_data_is_refused(broker):
    command = [broker.program, "serve", "--data-dir", str(broker.data)]
    command += FREE_PORTS
    second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert second.returncode not in [0, None] and second.returncode > 0
    assert second.stdout == "", "only a broker that serves says that it is ready"
    assert str(broker.data) in second.stderr
    assert "in use by another mainstem process" in second.stderr
    # The first does not mind.
    writer.create_topic(broker, TOPIC)
    with wire.Connection(broker.kafka) as connection:
        assert wire.produce(connection, TOPIC, 0, wire.batch([b"still here"])) == wire.Appended(0, 0)
    # And what it leaves behind is no obstacle.
    broker.kill9()
    broker.start()


def test_a_start_on_a_port_that_is_taken_is_refused(broker, tmp_path):
    command = [broker.program, "serve", "--data-dir", str(tmp_path / "other"), "--listen", "peer=off"]
    for listeners in [[f"kafka={broker.kafka}", "http=127.0.0.1:0"], ["kafka=127.0.0.1:0", f"http={broker.http}"]]:
        options = [option for listener in listeners for option in ["--listen", listener]]
        second = subprocess.run(command + options, capture_output=True, text=True, timeout=20)
        assert second.returncode > 0
        assert second.stdout == ""
        assert "Address already in use" in second.stderr
        (taken,) = [listener for listener in listeners if not listener.endswith(":0")]
        assert taken in second.stderr, "it says which listener"


WRONG_ARGUMENTS = {
    "unknown protocol": ["--listen", "amqp=127.0.0.1:1"],
    "no protocol": ["--listen", "9092"],
    "two listeners of one protocol": ["--listen", "kafka=127.0.0.1:1", "--listen", "kafka=127.0.0.1:2"],
    "unknown option": ["--no-such-option"],
}


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_a_wrong_command_line_is_explained(arguments, tmp_path):
    command = [setting("MAINSTEM_BIN"), "serve", "--data-dir", str(tmp_path / "data"), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert said.returncode == 2
    assert arguments[-1] in said.stderr
    assert not (tmp_path / "data").exists()


def test_one_ready_line_names_every_listener(tmp_path):
    broker = Broker(setting("MAINSTEM_BIN"), tmp_path)
    broker.addresses["peer"] = "127.0.0.1:0"
    broker.start()
    first = dict(broker.addresses)
    assert first.keys() == {"kafka", "http", "peer"}
    for address in first.values():
        assert int(address.rsplit(":", 1)[1]) > 0
    # Each is real: the one speaks Kafka, the other HTTP.
    with wire.Connection(broker.kafka) as connection:
        assert wire.api_versions(connection.ask(wire.API_VERSIONS, 0))[0] == 0
    assert get(broker, "/health/live")[0] == 200
    broker.restart()
    assert broker.addresses == first
    broker.stop()
    assert [parse_ready(line) for line in broker.said] == [first, first], "one line per start and nothing else"


def test_health(broker):
    assert get(broker, "/health/live")[0] == 200
    assert get(broker, "/health/ready")[0] == 200
    assert get(broker, "/health/nothing")[0] == 404
    broker.stop()
    with pytest.raises(OSError):
        get(broker, "/health/live")
    broker.start()


def test_metrics_are_open_metrics_and_move(broker):
    before = metrics(broker)
    written = write(broker)
    after = metrics(broker)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert TEXT_BYTES < grown["mainstem_journal_log_bytes_total"] < 2 * TEXT_BYTES
    assert grown["mainstem_journal_fsyncs_total"] > 0
    assert grown["mainstem_shard_streams"] == PARTITIONS
    assert grown["mainstem_shard_applied_index"] > 0
    assert grown["mainstem_journal_disk_bytes"] > 0
    assert after["mainstem_journal_storage_errors_total"] == 0
    assert after["mainstem_shard_leads"] >= 2, "the catalog and at least one more"
    assert sum(digest.count for digest in written) > 0
    again = metrics(broker)
    for name in after:
        if name.endswith("_total"):
            assert again[name] >= after[name], f"{name} went down"


def test_a_consumer_that_keeps_up_costs_no_disk_read(broker):
    """Several log files behind is still keeping up: what fits the cache is answered from it."""
    pieces = 60
    writer.create_topic(broker, TOPIC)
    before = metrics(broker)["mainstem_journal_cache_misses_total"]
    with wire.Connection(broker.kafka) as connection:
        for number in range(pieces):
            records = wire.batch([random.Random(number).randbytes(MIB // 2)])
            assert wire.produce(connection, TOPIC, 0, records).error == 0
        # Files are finished in the meantime: for a second, nothing may be read from them.
        until = time.monotonic() + 1
        while time.monotonic() < until:
            records = wire.fetch(connection, TOPIC, 0, 0, max_bytes=32 * MIB).records
            assert len(wire.codecs(records)) == pieces
    assert metrics(broker)["mainstem_journal_cache_misses_total"] == before
