"""Every command of the command line against a live node, as people and as scripts use it."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from command import SECONDS, AtTerminal, Commands
from reader import messages

pytestmark = pytest.mark.python

HOUR = 3_600_000
# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
# As many as the broker's HTTP listener takes.
CONNECTIONS = 64


@pytest.fixture
def mainstem(broker):
    return Commands(f"http://{broker.http}")


def rows(table: str) -> dict[str, list[str]]:
    """The rows of a table without its heading, by their first cell. Cells stand two spaces apart."""
    lines = [re.split(r" {2,}", line.strip()) for line in table.splitlines()[1:] if line.strip()]
    return {first: rest for first, *rest in lines}


def commit(broker, group: str, topic: str, offsets: dict[int, int]):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group})
    try:
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for place in consumer.commit(offsets=places, asynchronous=False):
            assert place.error is None
    finally:
        consumer.close()


def committed(broker, group: str, topic: str, partitions: int) -> list[int]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group})
    try:
        asked = [TopicPartition(topic, partition) for partition in range(partitions)]
        return [answer.offset for answer in consumer.committed(asked, timeout=30)]
    finally:
        consumer.close()


def test_topics_from_their_making_to_their_end(mainstem):
    assert mainstem("topic", "create", "orders", "payments", "-p", "3", "-c", f"retention.ms={HOUR}") == (
        "created orders with 3 partitions\ncreated payments with 3 partitions\n"
    )
    assert mainstem("topic", "create", "orders", "new", "--if-not-exists") == (
        "orders exists already\ncreated new with 1 partition\n"
    )
    mainstem("produce", "orders", "--partition", "2", stdin=b"a\nb\n")
    listed = rows(mainstem("topic", "list"))
    assert list(listed) == ["new", "orders", "payments"]
    assert listed["orders"][:2] == ["3", "2"]
    assert list(rows(mainstem("topic", "list", "--prefix", "pay"))) == ["payments"]

    described = mainstem("topic", "describe", "orders")
    about, partitions, configs = described.split("\n\n")
    assert "topic    orders\n" in about and "records  2\n" in about
    assert {number: cells[4:7] for number, cells in rows(partitions).items()} == {
        "0": ["0", "0", "0"], "1": ["0", "0", "0"], "2": ["0", "2", "2"],
    }
    assert rows(configs) == {"retention.ms": [str(HOUR), "topic"]}
    assert "cleanup.policy" in mainstem("topic", "describe", "orders", "--all")

    altered = mainstem("topic", "alter", "orders", "--partitions", "5", "--config", "cleanup.policy=compact", "--reset", "retention.ms")
    assert altered.startswith("altered orders, which has 5 partitions\n")
    assert "cleanup.policy  compact" in altered
    assert mainstem("topic", "alter", "orders", "--partitions", "5") == "orders has 5 partitions already, nothing was altered\n"
    (configs,) = mainstem("topic", "describe", "orders").split("\n\n")[2:]
    assert rows(configs) == {"cleanup.policy": ["compact", "topic"]}

    assert mainstem("topic", "delete", "orders", "new", "--yes") == "deleted orders\ndeleted new\n"
    assert list(rows(mainstem("topic", "list"))) == ["payments"]
    mainstem("topic", "delete", "payments", "-y")
    done = mainstem.run("topic", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"there are no topics\n")


def test_a_name_may_hold_what_has_a_meaning_in_addresses(mainstem):
    for name in ["a/b", "c d?e=f", "50%", "...", "grüße"]:
        assert mainstem("topic", "create", name) == f"created {name} with 1 partition\n"
        mainstem("produce", name, stdin=b"v\n")
        assert mainstem("consume", name) == "v\n"
        assert mainstem.json("topic", "describe", name)["name"] == name
    assert len(mainstem.json("topic", "list")) == 5
    assert mainstem("topic", "delete", "--yes", "a/b", "...") == "deleted a/b\ndeleted ...\n"


def test_topics_as_json(mainstem):
    assert mainstem.json("topic", "create", "a", "b", "--partitions", "2") == [
        {"name": "a", "created": True, "partitions": 2},
        {"name": "b", "created": True, "partitions": 2},
    ]
    assert mainstem.json("topic", "create", "a", "--if-not-exists") == [{"name": "a", "created": False, "partitions": None}]
    assert [(topic["name"], topic["partitions"], topic["records"]) for topic in mainstem.json("topic", "list")] == [
        ("a", 2, 0), ("b", 2, 0),
    ]
    described = mainstem.json("topic", "describe", "a")
    assert [partition["end"] for partition in described["partitions"]] == [0, 0]
    altered = mainstem.json("topic", "alter", "a", "--config", f"retention.ms={HOUR}")
    assert (altered["name"], altered["configs"]) == ("a", {"retention.ms": str(HOUR)})
    assert mainstem.json("topic", "delete", "a", "b", "--yes") == {"deleted": ["a", "b"]}
    assert mainstem.json("topic", "list") == []


def test_a_topic_that_is_misspelt_is_told_what_was_meant(mainstem):
    mainstem("topic", "create", "orders", "customers")
    for command in [
        ["topic", "describe", "oders"],
        ["topic", "alter", "oders", "--partitions", "2"],
        ["topic", "peek", "oders"],
        ["topic", "delete", "oders", "--yes"],
        ["consume", "oders"],
        ["produce", "oders"],
    ]:
        said = mainstem.refused(*command)
        assert "oders" in said and "did you mean 'orders'?" in said, said
    assert "did you mean" not in mainstem.refused("topic", "describe", "something-else")
    assert [topic["name"] for topic in mainstem.json("topic", "list")] == ["customers", "orders"]


def test_a_refusal_of_one_name_keeps_none_of_the_others(mainstem, broker):
    def done(*command):
        ended = mainstem.run(*command)
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    mainstem("topic", "create", "b", "d")
    assert done("topic", "create", "a", "b", "c", "d", "a") == (
        1,
        "created a with 1 partition\ncreated c with 1 partition\n",
        'error: cannot create "b": there is a topic b already\nerror: cannot create "d": there is a topic d already\n',
    )
    assert done("topic", "delete", "zzz", "a", "b", "a", "--yes") == (
        1, "deleted a\ndeleted b\n", "error: there is no topic zzz\n",
    )
    code, said, errors = done("topic", "delete", "c", "zzz", "--yes", "--json")
    assert (code, json.loads(said), errors) == (1, {"deleted": ["c"]}, "error: there is no topic zzz\n")
    commit(broker, "g", "d", {0: 0})
    assert done("group", "delete", "nobody", "g", "g", "--yes") == (1, "deleted g\n", "error: there is no group nobody\n")
    assert Commands(NOWHERE).refused("topic", "create", "x", "y", "z").endswith("names another. Not tried: y, z")
    assert [topic["name"] for topic in mainstem.json("topic", "list")] == ["d"]


def test_what_the_broker_refuses_is_said_in_a_sentence(mainstem):
    mainstem("topic", "create", "t")
    for command, part in [
        (["topic", "create", "t"], "t"),
        (["topic", "create", "x" * 300], "xxx"),
        (["topic", "create", ""], "name"),
        (["produce", "elsewhere"], "elsewhere. Make it by: mainstem topic create elsewhere"),
        (["topic", "create", "u", "--config", "retention.mss=1"], "retention.ms"),
        (["topic", "create", "u", "--config", "zzz=1"], "there is no topic configuration zzz"),
        (["topic", "alter", "t", "--config", "retention.ms=soon"], "retention.ms"),
        (["group", "describe", "g"], "g"),
        (["consume", "t", "--partition", "3"], "topic t has no partition 3, it has 1 partition"),
        (["topic", "peek", "t", "--partition", "3"], "3"),
    ]:
        assert part in mainstem.refused(*command), command
    assert [topic["name"] for topic in mainstem.json("topic", "list")] == ["t"]


def test_wrong_usage_ends_with_2(mainstem):
    mainstem("topic", "create", "t")
    for command, part in [
        (["topic"], "Usage: mainstem topic"),
        (["node"], "Usage: mainstem node"),
        (["topic", "create"], "<NAME>"),
        (["topic", "alter", "t"], "nothing to alter: give --partitions, --config or --reset"),
        (["topic", "alter", "t", "--config", "a=1", "--reset", "a"], "a is given twice"),
        (["topic", "create", "u", "--config", "a"], "expected NAME=VALUE"),
        (["topic", "delete", "t"], "add --yes"),
        (["group", "delete", "g", "--server", "nonsense nonsense"], "expected http://HOST:PORT"),
        (["topic", "list", "--server", "127.0.0.1"], '"127.0.0.1" names no port, expected http://HOST:PORT'),
        (["topic", "list", "--server", "a:99999"], 'has "99999" for a port, which is a number from 1 to 65535'),
        (["topic", "create", "u", "--partitions", "0"], "expected a whole number from 1 to 10000"),
        (["topic", "create", "u", "--partitions", "-1"], "expected a whole number from 1 to 10000"),
        (["topic", "alter", "t", "--partitions", "20000"], "expected a whole number from 1 to 10000"),
        (["topic", "peek", "t", "-n", "-1"], "expected a whole number from 1 to 1000"),
        (["consume", "t", "-n", "-1"], "expected a whole number, 0 or more"),
        (["group", "reset", "g", "--topic", "t", "--to-offset", "-1"], "expected a whole number from 0 to"),
        (["consume", "t", "--format", "{nope}"], 'a record has no "nope". There are: topic,'),
        (["consume", "t", "--from", "begining"], "neither earliest, latest"),
        (["consume", "t", "--format", "{vaule}"], "did you mean 'value'?"),
        (["produce", "t", "--compression", "zip"], "possible values: none, gzip, snappy, lz4, zstd"),
        (["group", "reset", "g", "--topic", "t"], "--to-earliest"),
        (["status", "--data-dir", "x"], "unexpected argument '--data-dir'"),
    ]:
        done = mainstem.run(*command)
        assert done.returncode == 2, (command, done)
        assert part in done.stderr.decode(), (command, done.stderr)
    assert [topic["name"] for topic in mainstem.json("topic", "list")] == ["t"]


@pytest.mark.parametrize("command", [["topic", "list"], ["node", "list"], ["status"], ["consume", "t"], ["produce", "t"], ["top", "--once"]])
def test_a_broker_that_is_not_there(tmp_path, command):
    said = Commands(NOWHERE).refused(*command, stdin=b"a\n")
    assert said == (
        f"cannot reach {NOWHERE}: connection refused. Is the broker running? --server or MAINSTEM_SERVER names another"
    )


def test_the_flag_wins_over_the_environment_and_neither_reads_the_brokers_configuration(mainstem, broker, tmp_path):
    wrong = {"MAINSTEM_CONFIG": str(tmp_path / "missing"), "MAINSTEM_SHARDS": "none", "RUST_LOG": "debug"}
    done = mainstem.run("topic", "list", "--json", "--server", broker.http, **wrong, MAINSTEM_SERVER=NOWHERE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[]\n", b"")
    # And a broker may have the commands' variable in its environment.
    broker.stop()
    broker.environment = {"MAINSTEM_SERVER": NOWHERE}
    broker.start()
    assert "MAINSTEM_SERVER" not in broker.stderr.read_text()


def test_what_is_no_broker_is_recognised(mainstem, broker):
    """Somebody gives the port of Kafka instead of that of HTTP."""
    said = mainstem.refused("topic", "list", "--server", broker.kafka)
    assert broker.kafka in said and "not the port of HTTP but perhaps that of Kafka's clients" in said


def test_a_broker_whose_connections_are_all_taken_is_told_of(mainstem, broker):
    host, port = broker.http.rsplit(":", 1)
    with contextlib.ExitStack() as held:
        for _ in range(CONNECTIONS):
            held.enter_context(socket.create_connection((host, int(port)), SECONDS))
        assert "as many HTTP connections as it takes" in mainstem.refused("topic", "list")


def test_lines_become_records_that_kafkas_clients_read(mainstem, broker):
    mainstem("topic", "create", "lines", "--partitions", "2")
    done = mainstem.run(
        "produce", "lines", "--key-separator", ":", "-H", "source=test", "-H", "source=again", "--timestamp", "1234567ms",
        "--compression", "zstd", stdin="k1:v1\nk2:grüße\nk1:a:b".encode() + b"\n\xff:\x00\xfe\n",
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rb"wrote 4 records \(\d+ B\) to lines in \S+\n", done.stderr)
    found = {}
    for message in messages(broker, "lines", 2):
        assert message.timestamp() == (confluent_kafka.TIMESTAMP_CREATE_TIME, 1234567)
        assert message.headers() == [("source", b"test"), ("source", b"again")]
        found.setdefault(message.key(), []).append(message.value())
    assert found == {b"k1": [b"v1", b"a:b"], b"k2": ["grüße".encode()], b"\xff": [b"\x00\xfe"]}


def place(message) -> tuple[int, int]:
    return message.partition(), message.offset()


def test_keys_choose_the_partition_that_kafkas_clients_choose(mainstem, broker):
    mainstem("topic", "create", "keyed", "--partitions", "7")
    keys = [f"key {number}" for number in range(50)]
    mainstem("produce", "keyed", "--key-separator", "=", stdin="".join(f"{key}={key}\n" for key in keys).encode())
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "partitioner": "murmur2_random"})
    theirs = {}
    for key in keys:
        producer.produce("keyed", b"theirs", key, on_delivery=lambda _, message: theirs.update({message.key(): message.partition()}))
    assert producer.flush(30) == 0
    ours = {line["key"]: line["partition"] for line in mainstem.lines("consume", "keyed") if line["value"] != "theirs"}
    assert ours == {key.decode(): partition for key, partition in theirs.items()}


def test_a_topic_is_copied_exactly(mainstem, broker):
    """Keys, headers, timestamps, null and any bytes, from one topic to another through two commands."""
    mainstem("topic", "create", "from", "to", "--partitions", "3")
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "linger.ms": 5})
    cases = [
        (b"k", b"v", []),
        (None, b"v", [("h", b"1"), ("h", b"2"), ("null", None), ("empty", b""), ("bytes", b"\xff\x00")]),
        (b"removed", None, []),
        (None, None, []),
        (b"", b"", []),
        (bytes(range(256)), bytes(range(256)), []),
        ("schlüssel\t\n".encode(), '{"quoted": "\\u0000"}\r\n'.encode(), [("hëader", "wert\u009b".encode())]),
        (b"\x1b[2J", b"\x1b]0;title\x07", []),
        (b"large", b"x" * 900_000, []),
    ]
    for number, (key, value, headers) in enumerate(cases * 3):
        producer.produce("from", value, key, partition=number % 3, headers=headers, timestamp=1_700_000_000_000 + number)
    assert producer.flush(30) == 0
    read = mainstem.start("consume", "from", "--json")
    written = mainstem.start("produce", "to", "--json", stdin=read.stdout)
    read.stdout.close()
    _, said = written.communicate(timeout=SECONDS)
    assert written.returncode == 0, said
    assert read.wait(SECONDS) == 0
    assert b"wrote 27 records" in said

    def everything(topic):
        found = [
            (*place(message), message.key(), message.value(), message.headers() or [], message.timestamp())
            for message in messages(broker, topic, 3)
        ]
        return sorted(found, key=lambda record: record[:2])

    original = everything("from")
    assert len(original) == 27
    assert {(key, value) for _, _, key, value, _, _ in original} >= {(key, value) for key, value, _ in cases}
    assert everything("to") == original


def test_json_may_leave_out_and_spell_out(mainstem):
    mainstem("topic", "create", "t", "--partitions", "2")
    lines = [
        b'{}',
        b'{"value":{"json":{"n":1}},"timestamp":"2026-01-01T00:00:00Z","partition":1}',
        b'{"key":{"base64":"AP8="},"headers":[{"name":"h"}]}',
    ]
    mainstem("produce", "t", "--json", "--partition", "0", stdin=b"\n".join(lines))
    by_offset = sorted(mainstem.lines("consume", "t", "--partition", "0"), key=lambda line: line["offset"])
    assert [line["value"] for line in by_offset] == [None, '{"n":1}', None]
    assert by_offset[1]["timestamp"] == 1_767_225_600_000
    assert by_offset[2]["key"] == {"base64": "AP8="}
    assert by_offset[2]["headers"] == [{"name": "h", "value": None}]


def test_what_was_written_before_a_wrong_line_is_said(mainstem):
    mainstem("topic", "create", "t")
    said = mainstem.refused("produce", "t", "--key-separator", ":", stdin=b"a:1\nb:2\nnothing\nc:3\n")
    assert said == '2 records written to t, then: line 3 cannot be written: it has no ":" between a key and a value'
    assert mainstem("consume", "t") == "1\n2\n"
    said = mainstem.refused("produce", "t", "--json", stdin=b'{"vaule":"x"}\n')
    assert said.startswith("line 1 cannot be written: unknown field `vaule`")
    said = mainstem.refused("produce", "t", "--json", stdin=b'{"value":"3"}\n{"value":"4","partition":9}\n')
    assert said == (
        "1 record written to t, then: line 2 cannot be written: topic t has no partition 9, it has 1 partition; "
        "with --ignore-partition the key decides"
    )
    assert mainstem("consume", "t") == "1\n2\n3\n"


def test_much_is_written_and_read_in_bounded_portions(mainstem, tmp_path):
    """More records than one request may have, and more bytes than one answer."""
    mainstem("topic", "create", "many", "--partitions", "3")
    lines = tmp_path / "lines"
    lines.write_bytes(b"".join(b"%d:%s\n" % (number, b"x" * (number % 200)) for number in range(40_000)))
    done = mainstem.run("produce", "many", "--file", str(lines), "--key-separator", ":")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(b"wrote 40,000 records (")
    read = mainstem.bytes("consume", "many", "--keys", "--key-separator", ":")
    assert sorted(read.splitlines()) == sorted(lines.read_bytes().splitlines())
    assert mainstem.run("produce", "many", "--file", str(tmp_path / "none")).returncode == 1
    assert "cannot read" in mainstem.refused("produce", "many", "--file", str(tmp_path / "none"))


@pytest.fixture
def numbers(mainstem):
    """Three partitions with the numbers 0 to 29 in turn, a second apart from 1970 on."""
    mainstem("topic", "create", "numbers", "--partitions", "3")
    lines = (f'{{"value":"{n}","partition":{n % 3},"timestamp":{n * 1000}}}\n' for n in range(30))
    mainstem("produce", "numbers", "--json", "--quiet", stdin="".join(lines).encode())
    return mainstem


def values(text: str) -> list[int]:
    return [int(line) for line in text.split()]


def test_partitions_are_merged_by_time(numbers):
    assert values(numbers("consume", "numbers")) == list(range(30))


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--from", "latest"], []),
    (["--from", "-2"], range(24, 30)),
    (["--from", "8"], range(24, 30)),
    (["--from", "1000"], []),
    (["--from", "20000ms"], range(20, 30)),
    (["--from", "1970-01-01T00:00:20Z", "--to", "1970-01-01T00:00:25Z"], range(20, 25)),
    (["--from", "10m ago"], []),
    (["--to", "2"], range(6)),
    (["--to", "latest"], range(30)),
    (["--from", "2", "--to", "4"], range(6, 12)),
    (["--from", "5", "--to", "3"], []),
    (["-n", "7"], range(7)),
    (["-n", "0"], []),
    (["--partition", "1"], range(1, 30, 3)),
    (["--partition", "1", "--partition", "2", "--from=-1"], [28, 29]),
    (["--partition", "0", "--from", "9"], [27]),
])
def test_what_is_read_is_what_was_asked_for(numbers, arguments, expected):
    assert values(numbers("consume", "numbers", *arguments)) == list(expected)


def test_a_record_is_printed_as_it_is_wanted(mainstem):
    mainstem("topic", "create", "t")
    record = {"key": "k", "value": "v", "timestamp": 1000, "headers": [{"name": "a", "value": "1"}, {"name": "b", "value": None}]}
    mainstem("produce", "t", "--json", stdin=json.dumps(record).encode())
    for arguments, printed in [
        ([], "v\n"),
        (["--keys"], "k\tv\n"),
        (["--keys", "--key-separator", " = "], "k = v\n"),
        (["--offsets", "--timestamps", "--headers", "--keys"], "0:0\t1970-01-01T00:00:01.000Z\ta=1,b=null\tk\tv\n"),
        (["--delimiter", r"\0"], "v\0"),
        (["--format", r"{topic} {partition}/{offset}\t{millis} {{{key}}}"], "t 0/0\t1000 {k}\n"),
        (["--format", "{value}", "--delimiter", ""], "v"),
    ]:
        assert mainstem("consume", "t", *arguments) == printed, arguments
    (line,) = mainstem.lines("consume", "t")
    assert line == record | {"topic": "t", "partition": 0, "offset": 0, "timestamp_type": "create"}


def test_peeking_shows_the_newest_and_changes_nothing(numbers, broker):
    commit(broker, "group", "numbers", {0: 1})
    shown = numbers("topic", "peek", "numbers", "-n", "4")
    assert [line.split("\t")[-1] for line in shown.splitlines()] == ["26", "27", "28", "29"]
    assert shown.startswith("2:8\t1970-01-01T00:00:26.000Z\t")
    assert [line["value"] for line in numbers.lines("topic", "peek", "numbers", "-n", "2", "--partition", "0")] == ["24", "27"]
    assert len(numbers.lines("topic", "peek", "numbers")) == 10
    assert committed(broker, "group", "numbers", 1) == [1]
    numbers("topic", "create", "empty", "against")
    lines = (f'{{"value":"{n}","timestamp":{1000 - n}}}\n' for n in range(3))
    numbers("produce", "against", "--json", "--quiet", stdin="".join(lines).encode())
    assert [line["offset"] for line in numbers.lines("topic", "peek", "against", "-n", "2")] == [1, 2], "whatever their time"
    done = numbers.run("topic", "peek", "empty")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"there are no records\n")


def test_compaction_and_trimming_leave_gaps_that_are_passed_over(numbers, broker):
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    for answer in admin.delete_records([TopicPartition("numbers", 0, 5)]).values():
        answer.result(30)
    assert values(numbers("consume", "numbers", "--partition", "0")) == list(range(15, 30, 3))
    assert values(numbers("consume", "numbers", "--partition", "0", "--from", "2")) == list(range(15, 30, 3))


@pytest.mark.parametrize("partitions", [1, 3, 20])
def test_following_prints_what_comes_as_it_comes(mainstem, partitions):
    mainstem("topic", "create", "t", "--partitions", str(partitions))
    mainstem("produce", "t", "--partition", "0", stdin=b"before\n")
    follower = mainstem.start("consume", "t", "--follow", "--from", "earliest", "-n", str(1 + partitions))
    try:
        assert follower.stdout.readline() == b"before\n"
        for partition in range(partitions):
            mainstem("produce", "t", "--partition", str(partition), "--quiet", stdin=b"in %d\n" % partition)
            assert follower.stdout.readline() == b"in %d\n" % partition
        assert follower.wait(SECONDS) == 0
        assert follower.stderr.read() == b""
    finally:
        follower.kill()
        follower.wait(SECONDS)


def test_following_goes_on_after_a_restart(mainstem, broker):
    mainstem("topic", "create", "t", "--partitions", "2")
    mainstem("produce", "t", "--partition", "1", stdin=b"one\n")
    follower = mainstem.start("consume", "t", "--follow")
    try:
        assert follower.stdout.readline() == b"one\n"
        broker.kill9()
        broker.restart()
        mainstem("produce", "t", "--partition", "1", stdin=b"two\n")
        assert follower.stdout.readline() == b"two\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(SECONDS) == -signal.SIGINT
        assert b"waiting for it" in follower.stderr.read()
    finally:
        follower.kill()
        follower.wait(SECONDS)


def test_a_group_is_shown_with_its_members_and_how_far_it_is_behind(numbers, broker):
    done = numbers.run("group", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"there are no groups\n")
    commit(broker, "behind", "numbers", {0: 4, 1: 10})
    assert rows(numbers("group", "list"))["behind"][0] == "empty"
    assert [group["group"] for group in numbers.json("group", "list", "--state", "empty")] == ["behind"]
    assert numbers.json("group", "list", "--state", "stable") == []
    about, offsets = numbers("group", "describe", "behind").split("\n\n")
    assert "state     empty\n" in about and "members   0\n" in about and "lag       6 records" in about
    lines = [line.split() for line in offsets.splitlines()[1:]]
    assert [line[:5] for line in lines] == [["numbers", "0", "4", "10", "6"], ["numbers", "1", "10", "10", "0"]]
    assert lines[1][5] == "0s", "who has read everything is not behind"
    described = numbers.json("group", "describe", "behind")
    assert [(offset["committed"], offset["lag"]) for offset in described["offsets"]] == [(4, 6), (10, 0)]

    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "with members", "client.id": "someone"})
    try:
        consumer.subscribe(["numbers"])
        while not consumer.assignment():
            consumer.poll(0.1)
        shown = numbers("group", "describe", "with members")
        assert "state     stable\n" in shown and "someone" in shown and "numbers:0-2" in shown
        assert "members" in numbers.refused("group", "delete", "with members", "--yes")
        for more in [[], ["--execute"]]:
            said = numbers.refused("group", "reset", "with members", "--all-topics", "--to-latest", *more)
            assert said.startswith("group with members has 1 member and is "), said
    finally:
        consumer.close()
    assert "did you mean 'behind'?" in numbers.refused("group", "describe", "behnid")
    assert numbers("group", "delete", "behind", "--yes") == "deleted behind\n"
    assert [group["group"] for group in numbers.json("group", "list")] == ["with members"]


@pytest.mark.parametrize(("target", "offsets"), [
    (["--to-earliest"], [0, 0, 0]),
    (["--to-latest"], [10, 10, 10]),
    (["--to-offset", "3"], [3, 3, 3]),
    (["--to-offset", "99"], [10, 10, 10]),
    (["--to-time", "1970-01-01T00:00:20Z"], [7, 7, 6]),
    (["--by-duration", "1d"], [10, 10, 10]),
    (["--shift-by", "-2"], [3, 4, 5]),
    (["--to-current"], [5, 6, 7]),
])
def test_a_group_is_moved_only_when_it_is_said(numbers, broker, target, offsets):
    commit(broker, "g", "numbers", {0: 5, 1: 6, 2: 7})
    reset = ["group", "reset", "g", "--topic", "numbers", *target]
    done = numbers.run(*reset)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"nothing was changed: add --execute to do it\n"
    shown = [line.split() for line in done.stdout.decode().splitlines()[1:]]
    assert [(old, new) for _, _, old, new, *_ in shown] == [(str(old), str(new)) for old, new in zip([5, 6, 7], offsets)]
    assert committed(broker, "g", "numbers", 3) == [5, 6, 7]
    done = numbers.run(*reset, "--execute")
    assert (done.returncode, done.stderr) == (0, b"moved 3 offsets\n")
    assert committed(broker, "g", "numbers", 3) == offsets


def test_some_partitions_of_a_group_are_moved(numbers, broker):
    commit(broker, "g", "numbers", {0: 5, 1: 6, 2: 7})
    moved = numbers.json("group", "reset", "g", "--topic", "numbers:0,2", "--to-earliest", "--execute")
    assert [(offset["partition"], offset["old"], offset["new"]) for offset in moved["offsets"]] == [(0, 5, 0), (2, 7, 0)]
    assert committed(broker, "g", "numbers", 3) == [0, 6, 0]
    assert "did you mean 'numbers'?" in numbers.refused("group", "reset", "g", "--topic", "nunbers", "--to-latest")
    assert "did you mean" not in numbers.refused("group", "reset", "nobody", "--all-topics", "--to-latest")


def test_a_group_is_made_only_when_that_is_said(numbers, broker):
    reset = ["group", "reset", "new", "--topic", "numbers", "--to-offset", "3"]
    for more in [[], ["--execute"]]:
        assert numbers.refused(*reset, *more) == "there is no group new; --create makes it"
    assert numbers("group", "list") == ""
    would = numbers.run(*reset, "--create")
    assert (would.returncode, would.stderr) == (0, b"nothing was changed: add --execute to do it\n")
    assert numbers("group", "list") == ""
    assert numbers.run(*reset, "--create", "--execute").stderr == b"moved 3 offsets\n"
    assert committed(broker, "new", "numbers", 3) == [3, 3, 3]
    said = numbers.refused("group", "reset", "neww", "--topic", "numbers", "--to-latest")
    assert said == "there is no group neww, did you mean 'new'? --create makes it"
    for more in [[], ["--create", "--execute"]]:
        said = numbers.refused("group", "reset", "", "--topic", "numbers", "--to-latest", *more)
        assert said == "the name of the group is missing"
    assert [group["group"] for group in numbers.json("group", "list")] == ["new"]


def test_status_on_one_screen(numbers, broker):
    shown = numbers("status")
    for part in ["node         1 at http://" + broker.http, "topics       1\n", "groups       0\n", "state        ready\n", broker.kafka]:
        assert part in shown, part
    assert "clock        as here\n" in shown
    assert re.search(r"connections  .*1 http", shown)
    status = numbers.json("status")
    assert status["node"]["topics"] == 1
    assert status["node"]["problems"] == []
    assert status["connections"]["http"] == 1
    assert sum(shard["streams"] for shard in status["node"]["shards"]) == 3


def test_a_node_that_is_alone_is_the_whole_list(mainstem, broker):
    shards = len(mainstem.json("status")["node"]["shards"])
    all_of_them = f"0-{shards - 1}"
    clients = f"http={broker.http} kafka={broker.kafka}"
    listed = rows(mainstem("node", "list"))
    assert listed == {"1": ["active", "-", all_of_them, all_of_them, "-", "0", clients, "-"]}
    (node,) = mainstem.json("node", "list")["nodes"]
    assert node["endpoints"] == {"http": broker.http, "kafka": broker.kafka}
    assert node["leads"] == [replica["shard"] for replica in node["replicas"]] == list(range(shards))


def test_top_shows_one_screen_where_nobody_looks(numbers):
    for arguments in [["top", "--interval", "200ms"], ["top", "--once", "--interval", "200ms"]]:
        shown = numbers(*arguments)
        assert shown.startswith("mainstem 0.") and "\x1b" not in shown
        assert re.search(r"^in \S+ .* out .*fsync", shown, re.MULTILINE)
    view = numbers.json("top", "--interval", "200ms")
    assert 0.2 <= view["seconds"] < 10
    assert view["connections"]["http"] == 1
    assert view["all"].keys() == {"records_in", "bytes_in", "records_out", "bytes_out"}


def test_top_at_a_terminal(mainstem, broker):
    """Drawn, drawn again in another size, through a restart of the broker, and the terminal given back."""
    with mainstem.at_terminal("top", "--interval", "100ms", columns=100, rows=30) as top:
        drawn = top.wait_for("q quits")
        assert b"\x1b[?1049h" in drawn, "on the terminal's other screen"
        assert b"mainstem 0." in drawn and b"\x1b[30;1H" in drawn
        assert not top.is_as_before()
        top.resize(60, 12)
        os.kill(top.process.pid, signal.SIGWINCH)
        assert b"\x1b[12;1H" in top.wait_for("\x1b[12;1H")
        top.wait_for("q quits")
        broker.kill9()
        top.wait_for("! ")
        broker.restart()
        # The problem is gone from where it stood: the line below the numbers is empty again.
        top.wait_for("up ")
        top.type("q")
        assert top.end() == 0
        assert b"\x1b[?1049l" in top.seen and b"\x1b[?25h" in top.seen
        assert top.is_as_before()


def test_top_is_as_wide_as_the_terminal_that_shows_it(mainstem):
    """Which is not the one that the command was started from."""
    (_, started_from), (shown_at, shows) = pty.openpty(), pty.openpty()
    for terminal, columns in [(started_from, 80), (shows, 200)]:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(started_from, termios.TIOCSCTTY, 0)

    command = [mainstem.program, "top", "--once", "--interval", "200ms"]
    given = {"stdout": shows, "stderr": subprocess.PIPE, "env": mainstem.environment, "preexec_fn": take_terminal}
    done = subprocess.run(command, timeout=SECONDS, **given)
    assert done.returncode == 0, done.stderr
    title, *_ = os.read(shown_at, 65536).decode().splitlines()
    assert len(title) > 80 and re.search(r"T[\d:.]+Z$", title), title
    for terminal in [started_from, shown_at, shows]:
        os.close(terminal)


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
def test_top_gives_the_terminal_back_however_it_ends(mainstem, how):
    with mainstem.at_terminal("top", "--interval", "1h") as top:
        top.wait_for("q quits")
        if how == "ctrl-c":
            top.type("\x03")
        else:
            os.kill(top.process.pid, signal.SIGTERM)
        assert top.end() == 0
        assert b"\x1b[?1049l" in top.seen
        assert top.is_as_before()


def test_top_without_a_broker_says_so_before_it_takes_the_terminal():
    with Commands(NOWHERE).at_terminal("top") as top:
        assert top.end() == 1
        assert b"cannot reach" in top.seen and b"\x1b[?1049h" not in top.seen


def test_a_terminal_is_never_shown_what_it_would_obey(mainstem):
    mainstem("topic", "create", "t")
    evil = b"\x1b]0;title\x07\x1b[2Jx\r\x9b31m\xc2\x9b31m\n"
    mainstem("produce", "t", "--key", "\x1b[1mkey", "-H", "h\x1b[2J=\x1b[2J", stdin=evil)
    assert mainstem.bytes("consume", "t") == evil, "raw where it is piped"
    obeyed = re.compile(rb"\x1b|\x07|\x9b31m|\r[^\n]|\xc2\x9b")
    for arguments in [
        ["consume", "t"], ["consume", "t", "--keys", "--headers"], ["consume", "t", "--json"], ["topic", "peek", "t"],
        ["consume", "t", "--format", "{headers} {key} {value}"],
    ]:
        with mainstem.at_terminal(*arguments) as command:
            assert command.end() == 0
            assert b"x" in command.seen
            assert not obeyed.search(command.seen), (arguments, command.seen)


def test_deleting_asks_at_a_terminal(mainstem):
    mainstem("topic", "create", "a", "b")
    mainstem("produce", "a", stdin=b"1\n2\n")
    with mainstem.at_terminal("topic", "delete", "a", "b") as command:
        command.wait_for("delete 2 topics with 2 records: a, b? [y/N] ")
        command.type("n\n")
        assert command.end() == 1
        assert b"nothing was done" in command.seen
    assert len(mainstem.json("topic", "list")) == 2
    with mainstem.at_terminal("topic", "delete", "a") as command:
        command.wait_for("[y/N] ")
        command.type("y\n")
        assert command.end() == 0
    assert [topic["name"] for topic in mainstem.json("topic", "list")] == ["b"]


def test_typed_lines_are_written_as_they_are_typed(mainstem):
    mainstem("topic", "create", "t")
    follower = mainstem.start("consume", "t", "--follow")
    try:
        with mainstem.at_terminal("produce", "t") as command:
            for line in ["one", "two"]:
                command.type(f"{line}\n")
                assert follower.stdout.readline() == line.encode() + b"\n"
            command.type("\x04")
            assert command.end() == 0
            assert b"wrote 2 records" in command.seen
    finally:
        follower.kill()
        follower.wait(SECONDS)


def test_long_work_shows_how_far_it_is(mainstem, tmp_path):
    """And leaves nothing of that on the terminal."""
    mainstem("topic", "create", "t")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with mainstem.at_terminal("produce", "t", "--file", str(pipe)) as command, open(pipe, "wb", buffering=0) as lines:
        written = 0
        while not re.search(rb"\d+ records?, [\d.]+ \w+, [\d.]+ \w+/s", command.seen):
            lines.write(b"line\n")
            written += 1
            command.look(0.05)
            assert written < 20 * SECONDS, command.seen
        lines.close()
        assert command.end() == 0
        assert f"wrote {written} records".encode() in command.seen.splitlines()[-1]
    done = mainstem.run("produce", "t", stdin=b"line\n")
    assert done.stderr.startswith(b"wrote 1 record ("), "nobody looks, so nothing is drawn"


BAR = re.compile(r"[█░]{30} +(\d+)%  [\d,]+ records?, [\d.]+ \w+, [\d.]+ \w+/s  \S+ left")


def watch_bar(command: AtTerminal, broker) -> list[int]:
    """Holds the broker up again and again until the command's bar has moved; the percentages that it showed."""
    while True:
        shown = [int(percent) for percent in BAR.findall(command.seen.decode(errors="replace"))]
        if any(0 < percent < 100 for percent in shown):
            return shown
        assert command.process.poll() is None, f"it ended without a bar: {command.seen!r}"
        os.kill(broker.pid, signal.SIGSTOP)
        command.look(0.3)
        os.kill(broker.pid, signal.SIGCONT)
        command.look(0.02)


def test_work_of_known_length_shows_how_much_of_it_is_done(mainstem, broker, tmp_path):
    mainstem("topic", "create", "t")
    lines, copy = tmp_path / "lines", tmp_path / "copy"
    lines.write_bytes(b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(60_000)))
    with mainstem.at_terminal("produce", "t", "--file", str(lines)) as command:
        shown = watch_bar(command, broker)
        assert command.end() == 0
        assert shown == sorted(shown) and shown[-1] <= 100
        assert b"wrote 60,000 records" in command.seen.splitlines()[-1]
    # Records go to a file, and the bar to the terminal.
    consume = ["sh", "-c", 'exec "$0" consume t > "$1"', mainstem.program, str(copy)]
    with AtTerminal(consume, mainstem.environment, 100, 30) as command:
        shown = watch_bar(command, broker)
        assert command.end() == 0
        assert shown == sorted(shown) and shown[-1] <= 100
        assert command.seen.endswith(b"\x1b[2K"), "nothing of it is left"
    assert copy.read_bytes() == lines.read_bytes()


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(mainstem):
    mainstem("topic", "create", "t")
    mainstem("produce", "t", "--quiet", stdin=b"".join(b"%d %s\n" % (n, b"x" * 100) for n in range(20_000)))
    for arguments in [["consume", "t"], ["consume", "t", "--json"], ["consume", "t", "--follow"]]:
        command = mainstem.start(*arguments)
        assert command.stdout.read(10)
        command.stdout.close()
        assert command.wait(SECONDS) == 0, arguments
        assert command.stderr.read() == b"", arguments
    said = b"error: cannot write to standard output: no space left on device\n"
    for arguments in [
        ["consume", "t"], ["topic", "list"], ["status", "--json"], ["top", "--once"], ["completions", "bash"],
        ["--help"], ["topic", "--help"], ["help"], ["--version"],
    ]:
        with open("/dev/full", "wb") as nowhere:
            full = mainstem.start(*arguments, stdout=nowhere)
        assert (full.wait(SECONDS), full.stderr.read()) == (1, said), arguments
    helped = mainstem.start("--help")
    helped.stdout.close()
    assert (helped.wait(SECONDS), helped.stderr.read()) == (0, b"")


def test_a_broker_that_dies_while_it_is_written_to(mainstem, broker):
    """What was acknowledged before is said, and is there afterwards."""
    mainstem("topic", "create", "t")
    producer = mainstem.start("produce", "t", stdin=subprocess.PIPE)
    follower = mainstem.start("consume", "t", "--follow", "-n", "2")
    producer.stdin.write(b"one\ntwo\n")
    producer.stdin.flush()
    assert [follower.stdout.readline() for _ in range(2)] == [b"one\n", b"two\n"]
    follower.wait(SECONDS)
    broker.kill9()
    producer.stdin.write(b"three\n")
    producer.stdin.close()
    assert producer.wait(SECONDS) == 1
    said = producer.stderr.read().decode()
    assert said.startswith("error: 2 records written to t, then: ") and f"http://{broker.http}" in said, said
    broker.restart()
    assert mainstem("consume", "t").startswith("one\ntwo\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_need_no_broker(shell):
    script = Commands(NOWHERE)("completions", shell)
    assert "mainstem" in script and "if-not-exists" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=SECONDS)


@pytest.mark.parametrize(("line", "values"), [
    (["produce", "t", "--compression", ""], ["none", "gzip", "snappy", "lz4", "zstd"]),
    (["produce", "--compression", "z"], ["zstd"]),
    (["group", "list", "--state", "s"], ["stable"]),
    (["group", "re"], ["reset"]),
])
def test_bash_completes_commands_and_values(tmp_path, line, values):
    script = tmp_path / "completions"
    script.write_text(Commands(NOWHERE)("completions", "bash"))
    complete = 'source "$0"; COMP_WORDS=(mainstem "$@"); COMP_CWORD=$#; _mainstem mainstem "${@: -1}" "${COMP_WORDS[-2]}"'
    shown = subprocess.run(
        ["bash", "-c", complete + '; echo "${COMPREPLY[@]}"', str(script), *line],
        capture_output=True, text=True, check=True, timeout=SECONDS,
    )
    assert shown.stdout.split() == values


def test_every_help_has_an_example():
    help_of = Commands(NOWHERE)
    assert "mainstem topic create orders" in help_of("--help")
    for command in ["topic", "group", "node", "produce", "consume", "status", "top", "completions", "group reset"]:
        assert f"  mainstem {command}" in help_of(*command.split(), "--help"), command
