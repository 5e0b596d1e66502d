"""A client in a process of its own, asked in lines of JSON: one scenario can then be played by each.

A request is `{"op": ..., "broker": ..., ...}` on standard input, its answer a line with `ok`, or with
`error` and Kafka's `code` for it, or with `unsupported` and the reason. In between come the events of
group members: `{"event": "owns" | "read" | "committed" | "lost" | "failed", "member": ..., ...}`. Bytes travel in
Base64. What the operations are, is said by the agents: python/confluent_agent.py is the one to read.
"""

import base64
import json
import queue
import subprocess
import threading
from dataclasses import dataclass, field

ANSWER_SECONDS = 60


class Refused(Exception):
    """The client was told no, with this code of Kafka's."""

    def __init__(self, said: str, code: int):
        super().__init__(f"{said} (code {code})")
        self.code = code


class Unsupported(Exception):
    """The client cannot do this, whoever the broker is."""


@dataclass
class Record:
    """What goes into a topic, and what comes out of it."""

    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    timestamp: int | None = None
    partition: int = 0
    offset: int | None = None


@dataclass
class Member:
    """What a member of a group has said so far."""

    name: str
    owned: set[int] = field(default_factory=set)
    # (partition, offset, value) in the order of reading.
    records: list[tuple[int, int, str]] = field(default_factory=list)
    # Where to go on from, by partition.
    committed: dict[int, int] = field(default_factory=dict)
    failure: str | None = None
    # Partitions that it got: how many records it had read by then, which, and what it had committed of all.
    gains: list[tuple[int, set[int], dict[int, int]]] = field(default_factory=list)
    # Partitions that the group took from it without asking; a failure unless it may come to that.
    may_lose: bool = False
    losses: list[list[int]] = field(default_factory=list)

    def values(self) -> list[str]:
        return [value for _, _, value in list(self.records)]


class Agent:
    """A running agent. Ends with its standard input."""

    # Whether its members commit when and only when the test wants them to, and say so.
    commits_on_demand = True

    def __init__(self, command: list[str]):
        self.members: dict[str, Member] = {}
        self._answers = queue.Queue()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._said: list[str] = []
        self._threads = [threading.Thread(target=run, daemon=True) for run in [self._listen, self._drain]]
        for thread in self._threads:
            thread.start()

    def _drain(self):
        for line in self.process.stderr:
            self._said.append(line)
            del self._said[:-200]

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "event" not in said:
                self._answers.put(said)
                continue
            member = self.members[said["member"]]
            match said["event"]:
                case "owns":
                    owned = set(said["partitions"])
                    if owned - member.owned:
                        member.gains.append((len(member.records), owned - member.owned, dict(member.committed)))
                    member.owned = owned
                case "lost":
                    member.losses.append(said["partitions"])
                    if not member.may_lose:
                        member.failure = f"lost {said['partitions']}"
                case "read":
                    member.records.append((said["partition"], said["offset"], said["value"]))
                case "committed":
                    member.committed.update({int(partition): at for partition, at in said["offsets"].items()})
                case "failed":
                    member.failure = said["why"]
        self._answers.put(None)

    def ask(self, op: str, broker: str, **more):
        """Carries out one operation against the broker with that address."""
        try:
            self.process.stdin.write(json.dumps({"op": op, "broker": broker, **more}) + "\n")
            self.process.stdin.flush()
            answer = self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"no answer to {op} within {ANSWER_SECONDS} seconds:\n{self.said()}") from None
        except BrokenPipeError:
            answer = None
        assert answer is not None, f"the client ended at {op}:\n{self.said()}"
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise Refused(answer["error"], answer["code"])
        return answer["ok"]

    def join(self, name: str, broker: str, group: str, topic: str, may_lose: bool = False) -> Member:
        """A new member of the group, which reads and commits until it leaves or is killed."""
        member = self.members[name] = Member(name, may_lose=may_lose)
        self.ask("join", broker, member=name, group=group, topic=topic)
        return member

    def hold(self, broker: str, name: str):
        """The member reads on, but commits no more."""
        self.ask("hold", broker, member=name)

    def leave(self, broker: str, name: str):
        self.ask("leave", broker, member=name)

    def said(self) -> str:
        """The end of its standard error."""
        return "".join(self._said)

    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self):
        """As kill -9 does. What it had said before counts."""
        self.process.kill()
        self.process.wait(10)
        for thread in self._threads:
            thread.join(10)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


def packed(record: Record) -> dict:
    """A record as an agent reads it."""
    return {
        "partition": record.partition,
        "key": encoded(record.key),
        "value": encoded(record.value),
        "headers": [[name, encoded(value)] for name, value in record.headers],
        "timestamp": record.timestamp,
    }


def unpacked(said: dict) -> Record:
    """A record as an agent says it."""
    return Record(
        value=decoded(said["value"]),
        key=decoded(said["key"]),
        headers=[(name, decoded(value)) for name, value in said["headers"]],
        timestamp=said["timestamp"],
        partition=said["partition"],
        offset=said["offset"],
    )


def encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def decoded(said: str | None) -> bytes | None:
    return None if said is None else base64.b64decode(said)
