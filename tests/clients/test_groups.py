"""Groups share partitions, and remember how far they came."""

import signal
import subprocess
import threading
import time
from collections import Counter

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition

import writer
from group_member import SESSION_SECONDS, Member, shared_by, wait_until

TOPIC = "shared"
GROUP = "readers"
PARTITIONS = 6
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


class Source:
    """Produces numbered values, round and round the partitions."""

    def __init__(self, broker):
        self.producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "enable.idempotence": True})
        self.values = []

    def produce(self, count: int):
        for _ in range(count):
            number = len(self.values)
            self.values.append(f"value {number}")
            self.producer.produce(TOPIC, self.values[-1], partition=number % PARTITIONS)
        assert self.producer.flush(30) == 0


def committed(broker, group: str = GROUP) -> dict[int, int]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group})
    try:
        asked = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        return {answer.partition: answer.offset for answer in consumer.committed(asked, timeout=30)}
    finally:
        consumer.close()


def commit_beginnings(broker, group: str = GROUP):
    """Lets the group begin at offset 0 of every partition without looking for what is first there.

    A member that has to give a partition away while it looks goes on with it in secret (librdkafka 2.16.0: an answer
    that is outdated starts the search again, though the partition was stopped), and tells of what it read then when
    it gets the partition back.
    """
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group})
    try:
        beginnings = [TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)]
        committed = consumer.commit(offsets=beginnings, asynchronous=False)
        assert [place.error for place in committed] == [None] * PARTITIONS
    finally:
        consumer.close()


@pytest.fixture
def members(broker):
    """Starts members; ends those that a failed test leaves behind."""
    started = []

    def start(**more):
        started.append(Member(broker, GROUP, TOPIC, **more))
        return started[-1]

    yield start
    for member in started:
        if member.process.poll() is None:
            member.process.kill()


@pytest.mark.python
@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_the_partitions_and_the_group_resumes(broker, members, strategy):
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    source.produce(600)
    group = []
    for _ in range(3):
        group.append(members(strategy=strategy))
        shared_by(group, PARTITIONS)

    def everything():
        return sum((member.values() for member in group), [])

    wait_until("reading of the first 600", lambda: len(everything()) >= 600, group)
    before = [len(member.records) for member in group]
    source.produce(600)
    wait_until("reading of 600 more", lambda: len(everything()) >= 1200, group)
    time.sleep(0.5)
    # Members commit what they read before they let go of a partition, so nothing is read twice.
    assert Counter(everything()) == Counter(source.values)
    for member, since in zip(group, before):
        assert set(member.first_offsets(since)) == member.owned, "records came from a partition of somebody else"
    for member in group:
        read = [(partition, offset) for partition, offset, _ in member.records]
        for partition in range(PARTITIONS):
            offsets = [offset for of, offset in read if of == partition]
            assert offsets == sorted(offsets), f"partition {partition} was not read in order"

    # Leaving is noticed at once, not after the session timeout.
    left = time.monotonic()
    group[0].close()
    shared_by(group[1:], PARTITIONS)
    assert time.monotonic() - left < SESSION_SECONDS - 1
    for member in group[1:]:
        member.close()
    assert committed(broker) == {partition: 200 for partition in range(PARTITIONS)}

    # Neither a stop nor a kill of the broker makes the group forget.
    broker.restart()
    broker.kill9()
    broker.start()
    assert committed(broker) == {partition: 200 for partition in range(PARTITIONS)}
    source.produce(60)
    resumed = members(strategy=strategy)
    wait_until("reading of the last 60", lambda: len(resumed.records) >= 60, [resumed])
    time.sleep(0.3)
    assert sorted(resumed.values()) == sorted(source.values[1200:])
    resumed.close()
    assert committed(broker) == {partition: 210 for partition in range(PARTITIONS)}


@pytest.mark.python
@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_partitions_of_a_killed_member_move(broker, members, strategy):
    """At least once: what it had committed is not read again, what it had not is."""
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    commit_beginnings(broker)
    group = [members(strategy=strategy) for _ in range(3)]
    shared_by(group, PARTITIONS)
    stop = threading.Event()

    def keep_producing():
        while not stop.is_set():
            source.produce(30)
            time.sleep(0.02)

    producing = threading.Thread(target=keep_producing)
    producing.start()
    try:
        victim, *others = group
        wait_until("some commits of the victim", lambda: len(victim.committed) == len(victim.owned), group)
        wait_until("more reading", lambda: len(victim.records) > 200, group)
        theirs = [len(member.records) for member in others]
        victim.kill()
        killed = time.monotonic()
        lost = set(victim.owned)
        assert len(lost) == 2
        shared_by(others, PARTITIONS)
        moved = time.monotonic() - killed
        assert SESSION_SECONDS - 1 < moved < SESSION_SECONDS + 4, f"moved after {moved:.1f} seconds"
    finally:
        stop.set()
        producing.join()

    def all_read():
        return set(source.values) <= set(sum((member.values() for member in group), []))

    wait_until("reading of everything", all_read, others)
    read_by_victim = {partition: offset for partition, offset, _ in victim.records}
    for member, since in zip(others, theirs):
        for partition, offset in member.first_offsets(since).items():
            if partition in lost:
                # It may have committed once more and been killed before it could say so.
                assert victim.committed[partition] <= offset <= read_by_victim[partition] + 1
    for member in others:
        member.close()
    per_partition = Counter(number % PARTITIONS for number in range(len(source.values)))
    assert committed(broker) == dict(per_partition)


@pytest.mark.python
def test_a_cooperative_member_gives_up_only_what_moves(broker, members):
    writer.create_topic(broker, TOPIC, PARTITIONS)
    first = members(strategy="cooperative-sticky")
    shared_by([first], PARTITIONS)
    second = members(strategy="cooperative-sticky")
    shared_by([first, second], PARTITIONS)
    # librdkafka tells of rebalances that change nothing, too.
    told = [(what, partitions) for what, partitions in first.told if partitions]
    assert told == [("assigned", set(range(PARTITIONS))), ("revoked", second.owned)]
    # What moves is free before it is given to another.
    assert [partitions for what, partitions in second.told if partitions] == [second.owned]
    for member in [first, second]:
        member.close()


@pytest.mark.python
def test_a_static_member_comes_back_without_a_rebalance(broker, members):
    """Whether it was stopped or killed; and whether it led the group or not."""
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    group = {name: members(instance=name) for name in ["one", "other"]}
    shared_by(list(group.values()), PARTITIONS)
    for name, other, leave in [("one", "other", Member.close), ("other", "one", Member.kill)]:
        stays = group[other]
        owned, told = set(group[name].owned), list(stays.told)
        # Its client does not say that it leaves.
        leave(group[name])
        back = group[name] = members(instance=name)
        wait_until("the same partitions", lambda: back.owned == owned, [back, stays])
        source.produce(60)
        for member in [back, stays]:
            theirs = {value for at, value in enumerate(source.values) if at % PARTITIONS in member.owned}
            new = theirs & set(source.values[-60:])
            wait_until("reading by both", lambda: new <= set(member.values()), [back, stays])
        assert stays.told == told, "the other one was told of a rebalance"
        assert back.told == [("assigned", owned)]


@pytest.mark.python
def test_a_member_survives_a_kill_of_the_broker(broker, members):
    """The group's members and generation are stored: a member goes on without being told to rejoin."""
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    group = [members() for _ in range(2)]
    shared_by(group, PARTITIONS)
    source.produce(600)
    for _ in range(3):
        broker.kill9()
        broker.start()
        source.produce(600)

    def everything():
        return sum((member.values() for member in group), [])

    wait_until("reading of everything", lambda: len(everything()) >= len(source.values), group)
    for member in group:
        member.close()
    assert set(everything()) == set(source.values)
    assert committed(broker) == {partition: len(source.values) // PARTITIONS for partition in range(PARTITIONS)}


@pytest.mark.java
@pytest.mark.python
def test_a_console_consumer_resumes_where_its_group_stopped(broker, java_tool):
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    source.produce(900)

    def consume(count: int, *more) -> list[str]:
        arguments = ["--bootstrap-server", broker.kafka, "--topic", TOPIC, "--group", GROUP]
        arguments += ["--max-messages", str(count), "--timeout-ms", "20000", *more]
        return java_tool(CONSOLE_CONSUMER, arguments).decode().splitlines()

    first = consume(250, "--from-beginning")
    assert len(first) == 250
    assert sum(max(offset, 0) for offset in committed(broker).values()) == 250
    broker.kill9()
    broker.start()
    second = consume(650)
    assert sorted(first + second) == sorted(source.values)
    assert committed(broker) == {partition: 150 for partition in range(PARTITIONS)}


class Kcat:
    """`kcat -G`, which prints the partition, offset and value of what it reads."""

    def __init__(self, broker):
        command = ["kcat", "-b", broker.kafka, "-G", GROUP, "-q", "-u", "-f", "%p %o %s\\n"]
        command += ["-X", "auto.offset.reset=earliest", "-X", f"session.timeout.ms={SESSION_SECONDS * 1000}"]
        command += ["-X", "heartbeat.interval.ms=500", TOPIC]
        self.records = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self.process.stdout:
            partition, offset, value = line.rstrip("\n").split(" ", 2)
            self.records.append((int(partition), int(offset), value))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._thread.join(10)


@pytest.mark.kcat
@pytest.mark.python
def test_balanced_consumers_of_kcat(broker, members):
    writer.create_topic(broker, TOPIC, PARTITIONS)
    source = Source(broker)
    pair = [Kcat(broker), Kcat(broker)]
    try:
        def both_read():
            # Until both have joined, one of them reads everything.
            source.produce(PARTITIONS)
            owned = [{partition for partition, _, _ in consumer.records[-10:]} for consumer in pair]
            return [len(mine) for mine in owned] == [3, 3] and not owned[0] & owned[1]

        wait_until("a fair share for both", both_read)
        settled = len(source.values)
        source.produce(600)

        def values():
            return [value for consumer in pair for _, _, value in list(consumer.records)]

        wait_until("reading of everything", lambda: set(values()) == set(source.values))
        late = Counter(value for value in values() if int(value.split()[1]) >= settled)
        assert set(late.values()) == {1}, "after the rebalance every record is read once"
    finally:
        for consumer in pair:
            consumer.stop()
    # kcat commits when it leaves, and another client of the group goes on from there.
    assert committed(broker) == {partition: len(source.values) // PARTITIONS for partition in range(PARTITIONS)}
    source.produce(60)
    resumed = members()
    wait_until("reading of the last 60", lambda: len(resumed.records) >= 60, [resumed])
    assert sorted(resumed.values()) == sorted(source.values[-60:])
    resumed.close()


@pytest.mark.python
def test_offsets_are_forgotten_when_nobody_has_needed_them_for_so_long(broker):
    broker.stop()
    broker.options = ["--groups-offsets-retention-seconds", "2", "--topics-partitions", str(PARTITIONS)]
    broker.start()
    Source(broker).produce(PARTITIONS)

    def joined(group: str) -> confluent_kafka.Consumer:
        """A member that has read one record of each partition, and has committed that."""
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": broker.kafka,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        })
        consumer.subscribe([TOPIC])
        read = 0
        while read < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None and message.error() is None
            read += 1
        consumer.commit(asynchronous=False)
        return consumer

    everything = dict.fromkeys(range(PARTITIONS), 1)
    stays = joined("stays")
    joined("leaves").close()
    assert committed(broker, "leaves") == everything
    deadline = time.monotonic() + 60
    while any(offset >= 0 for offset in committed(broker, "leaves").values()):
        assert time.monotonic() < deadline, "offsets are kept for longer than they are to be"
        assert stays.poll(0.1) is None
    assert committed(broker, "stays") == everything, "its member is alive, however long ago it was"
    stays.close()
