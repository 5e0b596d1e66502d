"""The same scenarios played by every client, on a broker with one shard and with more than it has topics.

What a client cannot do is skipped, with the reason. docs/compatibility.md tells how each fared.
"""

import time
from collections import Counter

import pytest

import wire
import writer
from agent import Record, Refused, Unsupported, packed, unpacked
from group_member import wait_until

CLIENTS = {"confluent-kafka": "python", "kafka-python": "python", "java": "java", "franz-go": "go", "kcat": "kcat"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
EPOCH = 1_700_000_000_000
PARTITIONS = 6
SESSION_SECONDS = 6
UNKNOWN_TOPIC, TOPIC_EXISTS, NON_EMPTY_GROUP, NO_GROUP, OUT_OF_RANGE = 3, 36, 68, 69, 1

pytestmark = [
    pytest.mark.parametrize("shards", [1, 7], ids="{} shards".format),
    pytest.mark.parametrize(
        "client", [pytest.param(name, marks=getattr(pytest.mark, family)) for name, family in CLIENTS.items()]
    ),
]


class Played:
    """A client at work on the broker of a test."""

    def __init__(self, agent, broker):
        self.agent = agent
        self.broker = broker

    def __getattr__(self, op):
        return lambda **more: self.agent.ask(op, self.broker.kafka, **more)

    def create(self, topic: str, partitions: int = 1, config: dict | None = None):
        """Makes a topic; another client's business where this one makes none."""
        try:
            self.agent.ask("create_topic", self.broker.kafka, topic=topic, partitions=partitions, config=config or {})
        except Unsupported:
            writer.create_topic(self.broker, topic, partitions, config)

    def send(self, topic: str, records: list[Record], codec: str = "none"):
        """Produces, and checks where the records went if the client says so."""
        offsets = self.produce(topic=topic, codec=codec, records=[packed(record) for record in records])
        if offsets is not None:
            assert len(offsets) == len(records)
            for partition in {record.partition for record in records}:
                here = [at for at, record in zip(offsets, records) if record.partition == partition]
                assert here == list(range(here[0], here[0] + len(here))), f"offsets in partition {partition}"

    def everything(self, topic: str, partitions: int = 1) -> list[Record]:
        return [unpacked(said) for said in self.consume(topic=topic, partitions=partitions)]


@pytest.fixture
def played(broker, client, client_agent):
    return Played(client_agent(client), broker)


def scenario(name: str):
    """What the test is called in docs/compatibility.md."""
    return pytest.mark.scenario(name)


def numbered(first: int, count: int) -> list[Record]:
    """Values that say their number, round and round the partitions."""
    return [Record(b"value %d" % number, partition=number % PARTITIONS) for number in range(first, first + count)]


@scenario("create, list and delete topics, add partitions")
def test_topics(played, broker):
    try:
        played.create_topic(topic="made", partitions=2, config={"retention.ms": "100000"})
    except Unsupported:
        # The way of clients without a face for it: by producing to what is not there.
        played.send("made", [Record(b"first")])
        assert played.topics() == {"made": 1}
        assert [record.value for record in played.everything("made")] == [b"first"]
        raise
    with pytest.raises(Refused) as refused:
        played.create_topic(topic="made", partitions=2, config={})
    assert refused.value.code == TOPIC_EXISTS
    assert played.topics() == {"made": 2}
    played.add_partitions(topic="made", count=5)
    wait_until("five partitions", lambda: played.topics() == {"made": 5})
    played.send("made", [Record(b"in the last", partition=4)])
    broker.kill9()
    broker.start()
    assert played.topics() == {"made": 5}
    assert [(record.partition, record.value) for record in played.everything("made", 5)] == [(4, b"in the last")]
    played.delete_topic(topic="made")
    wait_until("no topic", lambda: "made" not in played.topics())
    with pytest.raises(Refused) as refused:
        played.delete_topic(topic="made")
    assert refused.value.code == UNKNOWN_TOPIC


@pytest.mark.parametrize(
    "codec", [pytest.param(codec, marks=scenario(f"produce and consume: {codec}")) for codec in CODECS]
)
def test_codecs(played, broker, codec):
    played.create("text", 2)
    sent = [
        Record(b"%d of the words %x" % (number, number**9), partition=number % 2) for number in range(1000)
    ]
    played.send("text", sent, codec)
    got = played.everything("text", 2)
    for partition in range(2):
        here = [record for record in got if record.partition == partition]
        assert [record.value for record in here] == [record.value for record in sent if record.partition == partition]
        assert [record.offset for record in here] == list(range(500))
        with wire.Connection(broker.kafka) as connection:
            stored = wire.codecs(wire.fetch(connection, "text", partition).records, larger_than=2000)
        assert set(stored) == {CODECS.index(codec)}, "a client that quietly does not compress tests nothing"


@scenario("keys, headers, null and empty values round trip")
def test_keys_and_headers(played):
    played.create("shapes")
    sent = [
        Record(b"plain"),
        Record(b"keyed", key=b"key"),
        Record(bytes(byte for byte in range(1, 256) if byte != 0x1E), key=bytes(range(1, 256))),
        Record(None, key=b"gone"),
        Record(b"headed", headers=[("a", b"1"), ("b", b"2"), ("a", b"3"), ("empty", b"")]),
        Record("ünïcödé".encode(), key="schlüssel".encode(), headers=[("näme", "wért".encode())]),
        Record(b"large" * 100_000),
    ]
    for record in sent:
        played.send("shapes", [record])
    got = played.everything("shapes")
    assert [(record.key, record.value, record.headers) for record in got] == [
        (record.key, record.value, record.headers) for record in sent
    ]


@scenario("timestamps round trip")
def test_timestamps(played):
    # Records of those times would not be kept otherwise.
    played.create("timed", config={"retention.ms": "-1"})
    played.create("stamped", config={"message.timestamp.type": "LogAppendTime"})
    times = [EPOCH, EPOCH + 5, EPOCH - 100_000, 1, EPOCH + 5]
    for topic in ["timed", "stamped"]:
        before = int(time.time() * 1000)
        played.send(topic, [Record(b"%d" % number, timestamp=stamp) for number, stamp in enumerate(times)])
        got = [record.timestamp for record in played.everything(topic)]
        if topic == "timed":
            assert got == times
        else:
            assert len(got) == len(times)
            assert all(before <= stamp <= time.time() * 1000 for stamp in got)


def shared_by(members, partitions: int = PARTITIONS):
    """Waits until each partition has one owner and the shares are equal."""
    def fair():
        owned = [set(member.owned) for member in members]
        return {len(mine) for mine in owned} == {partitions // len(members)} and len(set().union(*owned)) == partitions

    wait_until(f"equal shares for {len(members)} members", fair, members, 60)


@scenario("a group with joins, a leave and a kill")
@pytest.mark.timeout(150)
def test_group(played, broker, client, client_agent):
    """At least once: nothing is lost, and nothing that was committed is read again."""
    near, far = played.agent, client_agent(client, fresh=True)
    played.create("shared", PARTITIONS)
    played.send("shared", numbered(0, 60))
    sent = {f"value {number}" for number in range(60)}
    members = []

    def join(agent, name):
        members.append(agent.join(name, broker.kafka, "readers", "shared"))
        shared_by(members)
        return members[-1]

    def produce(count):
        played.send("shared", numbered(len(sent), count))
        sent.update(f"value {number}" for number in range(len(sent), len(sent) + count))

    everyone = []

    def read():
        return [value for member in everyone for value in member.values()]

    everyone.append(join(near, "first"))
    wait_until("reading of what was there", lambda: set(read()) == sent, members)
    everyone.append(join(near, "second"))
    everyone.append(join(far, "victim"))
    first, second, victim = everyone
    produce(120)
    wait_until("reading by three", lambda: set(read()) == sent, members)

    near.leave(broker.kafka, "second")
    members.remove(second)
    shared_by(members)
    produce(120)
    wait_until("reading by two", lambda: set(read()) == sent, members)
    if near.commits_on_demand:
        assert set(Counter(read()).values()) == {1}, "members commit before they let go, so nothing is read twice"
        ends = Counter(partition for member in everyone for partition, _, _ in member.records)
        wait_until("the victim's commits", lambda: all(
            victim.committed.get(partition) == ends[partition] for partition in victim.owned
        ), members)
        far.hold(broker.kafka, "victim")

    produce(60)
    wait_until("reading of what the victim will not commit", lambda: set(read()) == sent, members)
    orphaned = set(victim.owned)
    assert len(orphaned) == PARTITIONS // 2
    far.kill()
    members.remove(victim)
    killed = time.monotonic()
    shared_by(members)
    assert time.monotonic() - killed < 4 * SESSION_SECONDS
    produce(60)
    settled = {f"value {number}" for number in range(len(sent) - 60, len(sent))}
    wait_until("reading by the survivor", lambda: settled <= set(first.values()), members)
    assert set(read()) == sent
    again = {value: count for value, count in Counter(read()).items() if count > 1}
    assert {int(value.split()[1]) % PARTITIONS for value in again} <= orphaned
    if near.commits_on_demand:
        # Exactly the 30 records that the victim had read and not committed are read once more.
        assert len(again) == 30 and set(again.values()) == {2}
    near.leave(broker.kafka, "first")


@scenario("commit, and resume after a kill of the broker")
def test_resume(played, broker):
    played.create("long", 3)
    sent = [Record(b"%d" % number, partition=number % 3) for number in range(90)]
    played.send("long", sent)
    first = played.consume_group(group="slow", topic="long", count=40)
    broker.kill9()
    broker.start()
    if played.agent.commits_on_demand:
        places = played.committed(group="slow", topic="long", partitions=3)
        expected = Counter(said["partition"] for said in first)
        assert [place or 0 for place in places] == [expected[partition] for partition in range(3)]
    second = played.consume_group(group="slow", topic="long", count=50)
    got = Counter(unpacked(said).value for said in first + second)
    assert got == Counter(record.value for record in sent)


@scenario("describe and alter the configuration of a topic")
def test_configuration(played):
    played.create_topic(topic="set", partitions=1, config={"retention.ms": "100000"})
    before = played.describe_config(topic="set")
    assert before["retention.ms"] == "100000"
    assert before["cleanup.policy"] == "delete"
    assert {"max.message.bytes", "message.timestamp.type", "compression.type", "segment.bytes"} <= before.keys()
    played.alter_config(topic="set", values={"max.message.bytes": "2000", "cleanup.policy": "compact"}, delete=[])
    changed = {"max.message.bytes": "2000", "cleanup.policy": "compact"}
    wait_until("the change", lambda: played.describe_config(topic="set") == {**before, **changed})
    with pytest.raises(Refused):
        played.send("set", [Record(b"x" * 3000, key=b"too large")])
    played.send("set", [Record(b"x" * 1000, key=b"fits")])
    played.alter_config(topic="set", values={}, delete=["max.message.bytes", "retention.ms", "cleanup.policy"])
    week = {"retention.ms": str(7 * 24 * 3600 * 1000)}
    wait_until("the defaults", lambda: played.describe_config(topic="set") == {**before, **week})
    played.send("set", [Record(b"x" * 3000)])


@scenario("delete records")
def test_delete_records(played):
    played.create_topic(topic="cut", partitions=2, config={})
    played.send("cut", [Record(b"%d" % number, partition=number % 2) for number in range(40)])
    assert played.offsets(topic="cut", partition=0) == [0, 20]
    assert played.delete_records(topic="cut", partition=0, before=7) == 7
    assert played.offsets(topic="cut", partition=0) == [7, 20]
    assert played.offsets(topic="cut", partition=1) == [0, 20]
    got = [record.offset for record in played.everything("cut", 2) if record.partition == 0]
    assert got == list(range(7, 20))
    with pytest.raises(Refused) as refused:
        played.delete_records(topic="cut", partition=0, before=21)
    assert refused.value.code == OUT_OF_RANGE
    # -1 is the high watermark.
    assert played.delete_records(topic="cut", partition=0, before=-1) == 20
    assert played.offsets(topic="cut", partition=0) == [20, 20]


@scenario("list, describe and delete groups")
def test_groups(played, broker):
    played.create_topic(topic="shared", partitions=PARTITIONS, config={})
    played.send("shared", numbered(0, 12))
    assert played.groups() == {}
    member = played.agent.join("only", broker.kafka, "busy", "shared")
    wait_until("all partitions", lambda: member.owned == set(range(PARTITIONS)), [member])
    wait_until("commits", lambda: sum(member.committed.values()) == 12, [member])
    assert len(played.consume_group(group="idle", topic="shared", count=5)) == 5
    assert played.groups() == {"busy": "stable", "idle": "empty"}
    assert played.describe_group(group="busy") == {"state": "stable", "members": [list(range(PARTITIONS))]}
    assert played.describe_group(group="idle") == {"state": "empty", "members": []}
    with pytest.raises(Refused) as refused:
        played.delete_group(group="busy")
    assert refused.value.code == NON_EMPTY_GROUP
    played.agent.leave(broker.kafka, "only")
    played.delete_group(group="idle")
    assert played.groups() == {"busy": "empty"}
    assert played.committed(group="busy", topic="shared", partitions=PARTITIONS) == [2] * PARTITIONS
    assert played.committed(group="idle", topic="shared", partitions=PARTITIONS) == [None] * PARTITIONS
    with pytest.raises(Refused) as refused:
        played.delete_group(group="idle")
    assert refused.value.code == NO_GROUP
