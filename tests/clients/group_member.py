"""A consumer in a process of its own, which a test can kill: reads, commits, and says what happens.

Run as a program, it prints one JSON array per line: ["assigned", partitions], ["revoked", partitions],
["owns", partitions], ["read", partition, offset, value], ["committed", {partition: offset}] and
["failed", why]. `Member` starts it and keeps up with what it says.
"""

import json
import signal
import subprocess
import sys
import threading
import time

SESSION_SECONDS = 6


class Member:
    """A consumer of one topic, from a test's point of view."""

    def __init__(self, broker, group: str, topic: str, strategy: str = "range", instance: str = ""):
        command = [sys.executable, __file__, broker.kafka, group, topic, strategy, instance]
        self.owned = None
        # What its client told it of rebalances: "assigned" or "revoked", and which partitions.
        self.told: list[tuple[str, set[int]]] = []
        self.committed: dict[int, int] = {}
        # (partition, offset, value) in the order of reading.
        self.records: list[tuple[int, int, str]] = []
        self.failure = None
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self.process.stdout:
            event, *details = json.loads(line)
            if event == "owns":
                self.owned = set(details[0])
            elif event in ["assigned", "revoked"]:
                self.told.append((event, set(details[0])))
            elif event == "read":
                self.records.append(tuple(details))
            elif event == "committed":
                self.committed.update({int(partition): offset for partition, offset in details[0].items()})
            else:
                self.failure = details[0]

    def values(self) -> list[str]:
        return [value for _, _, value in list(self.records)]

    def first_offsets(self, since: int = 0) -> dict[int, int]:
        """The first offset it read of each partition, not counting its first `since` records."""
        first = {}
        for partition, offset, _ in self.records[since:]:
            first.setdefault(partition, offset)
        return first

    def close(self):
        """Leaves the group, having committed."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._thread.join(10)
        assert code == 0, f"the consumer failed: {self.failure}"

    def kill(self):
        """The group is not told."""
        self.process.kill()
        self.process.wait(10)
        # What it had said before counts.
        self._thread.join(10)


def wait_until(what: str, condition, members=(), seconds: float = 30):
    """Waits for the condition; a member that fails meanwhile fails the test."""
    deadline = time.monotonic() + seconds
    while not condition():
        for member in members:
            assert member.failure is None, member.failure
        assert time.monotonic() < deadline, f"{what} did not come to be within {seconds} seconds"
        time.sleep(0.02)


def shared_by(members: list[Member], partitions: int):
    """Waits until each partition has exactly one owner and no member owns two more than another."""
    def fair():
        owned = [member.owned or set() for member in members]
        counts = [len(mine) for mine in owned]
        everything = set().union(*owned) == set(range(partitions)) and sum(counts) == partitions
        return everything and max(counts) - min(counts) <= 1

    wait_until(f"a fair share of {partitions} partitions for {len(members)} members", fair, members)


def run(address: str, group: str, topic: str, strategy: str, instance: str):
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    owned = set()
    # Where to go on from, by partition, as far as that is not committed.
    positions = {}

    def say(*event):
        print(json.dumps(event), flush=True)

    def commit():
        if not positions:
            return
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in positions.items()]
        committed = consumer.commit(offsets=offsets, asynchronous=False)
        failed = [partition for partition in committed if partition.error is not None]
        assert not failed, f"not committed: {failed}"
        say("committed", positions)
        positions.clear()

    def commit_unless_rebalancing():
        """A member that keeps partitions while the others rejoin may be a generation behind for a moment."""
        try:
            commit()
        except KafkaException as error:
            if error.args[0].code() not in [KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS]:
                raise

    def on_assign(consumer, partitions):
        say("assigned", [partition.partition for partition in partitions])
        owned.update(partition.partition for partition in partitions)
        if strategy == "cooperative-sticky":
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        say("owns", sorted(owned))

    def on_revoke(consumer, partitions):
        say("revoked", [partition.partition for partition in partitions])
        commit()
        owned.difference_update(partition.partition for partition in partitions)
        if strategy == "cooperative-sticky":
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        say("owns", sorted(owned))

    def on_lost(consumer, partitions):
        say("failed", f"lost {partitions}")

    consumer = Consumer({
        "bootstrap.servers": address,
        "group.id": group,
        # Without one it is a dynamic member.
        **({"group.instance.id": instance} if instance else {}),
        "partition.assignment.strategy": strategy,
        "session.timeout.ms": SESSION_SECONDS * 1000,
        "heartbeat.interval.ms": 500,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "reconnect.backoff.max.ms": 500,
    })
    consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
    uncommitted = 0
    while not stopping.is_set() or positions:
        # One at a time: a batch may hold records of a partition that was revoked while it was gathered.
        message = consumer.poll(0.1)
        if message is not None:
            assert message.error() is None, message.error()
            positions[message.partition()] = message.offset() + 1
            say("read", message.partition(), message.offset(), message.value().decode())
            uncommitted += 1
        if uncommitted >= 50 or stopping.is_set():
            commit_unless_rebalancing()
            uncommitted = 0
    consumer.close()


if __name__ == "__main__":
    try:
        run(*sys.argv[1:])
    except BaseException as error:
        print(json.dumps(["failed", repr(error)]), flush=True)
        raise
