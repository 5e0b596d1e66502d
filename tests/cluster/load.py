"""Clients that write and read while something happens to the cluster, and what becomes of what they did."""

import threading
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import checks
import reader
from agent import Agent
from cluster import Cluster, leaders
from history import History, Look, Records, Span, Value
from replicas import disks, read_replicas

PARTITIONS = 4
GROUP = "readers"
MEMBERS = 2
# A turn is a record to each partition.
TURN_SECONDS = 0.004
# So many unanswered at most: an outage does not fill the memory.
AHEAD = 20_000
# Longer than any outage: a record that is given up is a failure.
PATIENCE_SECONDS = 120
COMMIT_SECONDS = 0.25
PROGRESS_SECONDS = 60
# Clients come back at once when a node does, and give up soon on one that hangs: they would for a minute.
IMPATIENT = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10_000, "log_level": 2}


class Writer:
    """confluent-kafka's producer: sends numbers to each partition until it is told to finish."""

    def __init__(self, history: History, address: str, topic: str, name: str, turn_seconds: float):
        self.history = history
        self.topic = topic
        self.name = name
        self.turn_seconds = turn_seconds
        self._stop = threading.Event()
        self._producer = confluent_kafka.Producer({
            "bootstrap.servers": address,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 2,
            # Small ones, so that there are many in flight.
            "batch.num.messages": 50,
            "message.timeout.ms": PATIENCE_SECONDS * 1000,
            "request.timeout.ms": 8_000,
            "retry.backoff.ms": 20,
            "error_cb": self._on_error,
            **IMPATIENT,
        })
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_error(self, error):
        # All others are about connections, and tried again by the client.
        if error.fatal():
            self.history.on_failure(f"{self.name}: fatal: {error}")

    def _run(self):
        number = 0
        while not self._stop.is_set():
            if len(self._producer) < AHEAD:
                for partition in range(PARTITIONS):
                    value = Value(self.name, partition, number)
                    self.history.on_sent(value)
                    key = f"{self.name}-{partition}".encode()
                    self._producer.produce(
                        self.topic, value.encoded(), key, partition=partition, on_delivery=self._on_delivery
                    )
                number += 1
            self._producer.poll(0)
            time.sleep(self.turn_seconds)

    def _on_delivery(self, error, message):
        if error is None:
            self.history.on_acknowledged(Value.decoded(message.value()), message.offset())
        else:
            self.history.on_failure(f"not delivered: {message.value()}: {error}")

    def progress(self) -> list[int]:
        """Rises in each place as records are acknowledged."""
        return [self.history.count(partition) for partition in range(PARTITIONS)]

    def abandon(self):
        self._stop.set()
        self._thread.join(10)
        self._producer.purge()

    def finish(self):
        self._stop.set()
        self._thread.join(30)
        left = self._producer.flush(PATIENCE_SECONDS)
        if left > 0:
            self.history.on_failure(f"{left} records of {self.name} are not answered")


class Member:
    """confluent-kafka's consumer in a group: reads and commits until it is told to leave."""

    def __init__(self, history: History, address: str, topic: str, name: str):
        self.history = history
        self.topic = topic
        self.name = name
        self._stop = threading.Event()
        # The spans that go on, by partition.
        self._spans: dict[int, Span] = {}
        # Where to go on from, as far as that is not committed.
        self._positions: dict[int, int] = {}
        self._consumer = confluent_kafka.Consumer({
            "bootstrap.servers": address,
            "group.id": GROUP,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 500,
            # Only for the first time. A member that begins anew is found out.
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **IMPATIENT,
        })
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        told = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
        self._consumer.subscribe([self.topic], **told)
        due = time.monotonic() + COMMIT_SECONDS
        try:
            while not self._stop.is_set():
                # One at a time: a batch may hold records of a partition that was revoked while it was gathered.
                message = self._consumer.poll(0.1)
                if message is not None:
                    self._take(message)
                if time.monotonic() > due:
                    self._commit()
                    due = time.monotonic() + COMMIT_SECONDS
            self._commit()
        except Exception as error:
            self.history.on_failure(f"{self.name} ended: {error!r}")
        finally:
            self._consumer.close()

    def _take(self, message):
        if message.error() is not None:
            self.history.on_error(f"{self.name} reading: {message.error()}")
            return
        record = message.offset(), Value.decoded(message.value())
        self._spans[message.partition()].records.append(record)
        self._positions[message.partition()] = message.offset() + 1

    def _commit(self):
        """What cannot be committed now is committed later."""
        if not self._positions:
            return
        offsets = [TopicPartition(self.topic, partition, offset) for partition, offset in self._positions.items()]
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self.history.on_error(f"{self.name} committing: {error}")
            return
        for answer in answers:
            if answer.error is None:
                self.history.on_committed(answer.partition, answer.offset)
                del self._positions[answer.partition]
            else:
                self.history.on_error(f"{self.name} committing partition {answer.partition}: {answer.error}")

    def _on_assign(self, _consumer, partitions):
        for place in partitions:
            self._spans[place.partition] = self.history.on_assigned(self.name, place.partition)

    def _on_revoke(self, _consumer, partitions):
        self._commit()
        self._drop(partitions)

    def _on_lost(self, _consumer, partitions):
        numbers = [place.partition for place in partitions]
        self.history.on_error(f"{self.name} lost {numbers}: the group took it for dead")
        self._drop(partitions)

    def _drop(self, partitions):
        for place in partitions:
            self._spans.pop(place.partition, None)
            self._positions.pop(place.partition, None)

    def reached(self) -> dict[int, int]:
        """The offset behind the last record that it read, of each partition that it has had."""
        spans = [span for span in list(self.history.spans) if span.member == self.name and span.records]
        return {span.partition: span.records[-1][0] + 1 for span in spans}

    def abandon(self):
        self._stop.set()
        self._thread.join(20)

    def leave(self):
        self._stop.set()
        self._thread.join(60)
        if self._thread.is_alive():
            self.history.on_failure(f"{self.name} does not leave")


class Watcher:
    """Asks for what the group has committed, over and over, as a tool would."""

    def __init__(self, history: History, address: str, topic: str):
        self.history = history
        self.topic = topic
        self._stop = threading.Event()
        self._consumer = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": GROUP, **IMPATIENT})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.1):
            before = {partition: self.history.committed(partition) for partition in range(PARTITIONS)}
            asked = [TopicPartition(self.topic, partition) for partition in before]
            try:
                answers = self._consumer.committed(asked, timeout=10)
            except KafkaException as error:
                self.history.on_error(f"asking for committed offsets: {error}")
                continue
            for answer in answers:
                if answer.error is None:
                    # A negative one says that nothing is committed.
                    self.history.on_look(Look(answer.partition, before[answer.partition], max(answer.offset, 0)))
                else:
                    self.history.on_error(f"asking for the committed offset of {answer.partition}: {answer.error}")

    def abandon(self):
        self._stop.set()
        self._thread.join(20)

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        self._consumer.close()


class AgentWriter:
    """A producer of another client, in its agent: as [`Writer`]."""

    def __init__(self, history: History, agent: Agent, address: str, topic: str, name: str):
        self.history = history
        self.agent = agent
        self.address = address
        self.name = name
        agent.ask("write", address, writer=name, topic=topic, partitions=PARTITIONS)

    def progress(self) -> list[int]:
        return self.agent.ask("written", self.address, writer=self.name)

    def abandon(self):
        """The agent ends with the test."""

    def finish(self):
        said = self.agent.ask("finish_writing", self.address, writer=self.name)
        for failure in said["failures"]:
            self.history.on_failure(f"{self.name}: {failure}")
        for partition, count in enumerate(said["sent"]):
            if count > 0:
                self.history.on_sent(Value(self.name, partition, count - 1))
        # The agent has another clock.
        ahead = time.time() - time.monotonic()
        for partition, number, offset, millis in said["acknowledged"]:
            self.history.on_acknowledged(Value(self.name, partition, number), offset, millis / 1000 - ahead)


class AgentMember:
    """A consumer of another client in a group, in its agent."""

    def __init__(self, history: History, agent: Agent, address: str, topic: str, name: str):
        self.history = history
        self.agent = agent
        self.address = address
        self.name = name
        self.member = agent.join(name, address, GROUP, topic, may_lose=True)

    def reached(self) -> dict[int, int]:
        return {partition: offset + 1 for partition, offset, _ in list(self.member.records)}

    def abandon(self):
        """The agent ends with the test."""

    def leave(self):
        """Tells the history what it read: a span from each time that it got a partition."""
        self.agent.leave(self.address, self.name)
        if self.member.failure is not None:
            self.history.on_failure(f"{self.name}: {self.member.failure}")
        for partitions in self.member.losses:
            self.history.on_error(f"{self.name} lost {partitions}: the group took it for dead")
        gains, spans = list(self.member.gains), {}
        for nth, (partition, offset, value) in enumerate(self.member.records):
            while gains and gains[0][0] <= nth:
                _, gained, committed = gains.pop(0)
                for place in gained:
                    spans[place] = Span(self.name, place, committed.get(place, 0))
                    self.history.spans.append(spans[place])
            spans[partition].records.append((offset, Value.decoded(value)))
        for partition, offset in self.member.committed.items():
            self.history.on_committed(partition, offset)


class Load:
    """Writers and readers of one topic. Runs until it is finished, which says what is wrong."""

    def __init__(
        self, cluster: Cluster, agent: Agent | None = None, topic: str = "numbers", turn_seconds: float = TURN_SECONDS
    ):
        self.cluster = cluster
        self.topic = topic
        self.history = History()
        address = cluster.kafka
        # The cluster says how many replicas.
        new = NewTopic(topic, num_partitions=PARTITIONS, replication_factor=-1)
        # Kept until it is answered.
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([new])[topic].result(30)
        if agent is None:
            self.writers = [Writer(self.history, address, topic, name, turn_seconds) for name in ["one", "two"]]
            self.members = [Member(self.history, address, topic, f"member-{number}") for number in range(MEMBERS)]
        else:
            self.writers = [AgentWriter(self.history, agent, address, topic, "agent")]
            self.members = [AgentMember(self.history, agent, address, topic, "agent")]
        self.watcher = Watcher(self.history, address, topic)

    def wait_for_more(self, seconds: float = PROGRESS_SECONDS):
        """Waits until records of each writer to each partition were acknowledged that were not before."""
        before = [writer.progress() for writer in self.writers]
        deadline = time.monotonic() + seconds
        while not all(self._has_grown(*pair) for pair in zip(self.writers, before)):
            assert not self.history.failures, self.history.failures[: checks.SHOWN]
            assert time.monotonic() < deadline, f"no records for {seconds} seconds: {self._lacking(before)}"
            time.sleep(0.02)

    def _has_grown(self, writer: Writer | AgentWriter, before: list[int]) -> bool:
        return all(now > then for now, then in zip(writer.progress(), before))

    def _lacking(self, before: list[list[int]]) -> str:
        """Which partitions took nothing more of whom, and who leads them, as each node says."""
        lacking = []
        for writer, then in zip(self.writers, before):
            stuck = [nth for nth, (now, old) in enumerate(zip(writer.progress(), then)) if now <= old]
            lacking += [f"{writer.name} to {stuck}"] * bool(stuck)
        views = {number: self._leaders_at(node) for number, node in self.cluster.nodes.items()}
        return f"{', '.join(lacking)}; nodes say that who leads is {views}"

    def _leaders_at(self, node) -> dict[int, int] | str:
        try:
            return leaders(node.kafka, self.topic)
        except KafkaException as error:
            return str(error)

    def abandon(self):
        """Ends it, whatever becomes of it."""
        for client in [*self.writers, *self.members, self.watcher]:
            client.abandon()

    def finish(self) -> int:
        """Ends it and checks all that the clients were told, and what each node has of it. How many records there
        are."""
        for writer in self.writers:
            writer.finish()
        log = read(self.cluster, self.topic)
        ends = {partition: len(records) for partition, records in log.items()}
        deadline = time.monotonic() + PROGRESS_SECONDS
        while (reached := self._reached()) != ends and time.monotonic() < deadline:
            time.sleep(0.1)
        for member in self.members:
            member.leave()
        self.watcher.stop()
        assert reached == ends, f"readers are at {reached} of {ends}; {self.history.errors[-checks.SHOWN:]}"
        found = checks.violations(self.history, log)
        found += checks.violations_of_nodes(read_replicas(self.cluster, self.topic, ends), disks(self.cluster))
        assert found == [], "\n".join(found)
        return sum(ends.values())

    def _reached(self) -> dict[int, int]:
        """How far the members have got together."""
        reached = {}
        for member in self.members:
            for partition, offset in member.reached().items():
                reached[partition] = max(offset, reached.get(partition, 0))
        return reached


def read(cluster: Cluster, topic: str, stall_seconds: float = 30) -> dict[int, Records]:
    """Every record of each partition, from its beginning to the end it has now."""
    consumer = reader.without_commits(cluster)
    log = {partition: [] for partition in range(PARTITIONS)}
    ended = set()
    heard = time.monotonic()
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in log])
        while len(ended) < PARTITIONS:
            for message in consumer.consume(10_000, timeout=0.2):
                heard = time.monotonic()
                if message.error() is None:
                    log[message.partition()].append((message.offset(), Value.decoded(message.value())))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise AssertionError(f"cannot read {topic}: {message.error()}")
            assert time.monotonic() - heard < stall_seconds, f"nothing more to read; ended: {ended}"
    finally:
        consumer.close()
    return log
