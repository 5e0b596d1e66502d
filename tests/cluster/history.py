"""What clients were told, as they were told it. Nothing here knows the broker."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple


class Value(NamedTuple):
    """What a record holds: who wrote it, to which partition, and how many of these came before."""

    writer: str
    partition: int
    number: int

    def encoded(self) -> bytes:
        return f"{self.writer}:{self.partition}:{self.number}".encode()

    @staticmethod
    def decoded(content: bytes | str) -> "Value":
        text = content if isinstance(content, str) else content.decode()
        writer, partition, number = text.split(":")
        return Value(writer, int(partition), int(number))


# Offset and value of each record, in the order in which they were read.
Records = list[tuple[int, Value]]


@dataclass
class Span:
    """What a member of a group read of a partition, from getting it to losing it."""

    member: str
    partition: int
    # What the group was known to have committed when the member got it.
    committed: int
    records: Records = field(default_factory=list)


class Look(NamedTuple):
    """The group's position in a partition, looked at from outside."""

    partition: int
    # What was known to be committed before the question was asked.
    committed: int
    found: int


class History:
    """Written by the threads of all clients."""

    def __init__(self):
        self._lock = threading.Lock()
        # How many each writer has sent to each partition: numbers from 0.
        self.sent: dict[tuple[str, int], int] = {}
        # Where each value is that was acknowledged.
        self.acknowledged: dict[Value, int] = {}
        # Of each partition, when something was acknowledged.
        self._times: dict[int, list[float]] = {}
        self.spans: list[Span] = []
        self.looks: list[Look] = []
        # The largest offset of each partition of which a commit was acknowledged.
        self._committed: dict[int, int] = {}
        # What was not done at all.
        self.failures: list[str] = []
        # What an application was told, and had to deal with.
        self.errors: list[str] = []

    def on_sent(self, value: Value):
        with self._lock:
            self.sent[value.writer, value.partition] = value.number + 1

    def on_acknowledged(self, value: Value, offset: int, at: float | None = None):
        """At a time of the monotonic clock, or just now."""
        with self._lock:
            if value in self.acknowledged:
                self.failures.append(f"{value} was acknowledged twice")
            self.acknowledged[value] = offset
            self._times.setdefault(value.partition, []).append(time.monotonic() if at is None else at)

    def on_failure(self, why: str):
        with self._lock:
            self.failures.append(why)

    def on_error(self, why: str):
        with self._lock:
            self.errors.append(why)

    def on_assigned(self, member: str, partition: int) -> Span:
        with self._lock:
            span = Span(member, partition, self._committed.get(partition, 0))
            self.spans.append(span)
            return span

    def on_committed(self, partition: int, offset: int):
        with self._lock:
            self._committed[partition] = max(offset, self._committed.get(partition, 0))

    def committed(self, partition: int) -> int:
        with self._lock:
            return self._committed.get(partition, 0)

    def on_look(self, look: Look):
        with self._lock:
            self.looks.append(look)

    def count(self, partition: int) -> int:
        """How many records of a partition were acknowledged, with the time of each known."""
        with self._lock:
            return len(self._times.get(partition, []))

    def longest_silence(self, partition: int, since: float, until: float = math.inf) -> float:
        """The longest time without an acknowledgement of the partition, of those that ended after `since` and began
        before `until`."""
        with self._lock:
            times = sorted(self._times.get(partition, []))
        found = [later - earlier for earlier, later in zip(times, times[1:]) if later > since and earlier < until]
        return max(found, default=0.0)
