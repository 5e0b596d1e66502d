"""What kcat can do of what a scenario asks: an agent as in agent.py, by one run of kcat for each operation."""

import re
import signal
import subprocess
import threading

import program
from agent import Member, Record, Refused, Unsupported, packed, unpacked

# Sizes first, so that keys and values may hold anything.
FORMAT = "%p %o %T %K %S %h\\n%k%s"
NO_ADMIN = "kcat sends no admin requests"


class KcatAgent:
    """Stands in for an Agent."""

    commits_on_demand = False

    def __init__(self):
        self.members: dict[str, Member] = {}
        self._running: dict[str, Membership] = {}

    def ask(self, op: str, broker: str, **more):
        operation = getattr(self, f"_{op}", None)
        if operation is None:
            raise Unsupported(NO_ADMIN)
        return operation(broker, **more)

    def _topics(self, broker):
        said = kcat(broker, ["-L"]).decode()
        return {name: int(count) for name, count in re.findall(r'^  topic "(.*)" with (\d+) partitions', said, re.M)}

    def _produce(self, broker, topic, codec, records):
        """A run for each kind of record: key and headers are arguments. Nobody learns the offsets."""
        runs = {}
        for record in map(unpacked, ({**record, "offset": None} for record in records)):
            if record.timestamp is not None:
                raise Unsupported("kcat cannot set the timestamp of a record")
            kind = (record.partition, record.key, tuple(record.headers), record.value is None)
            runs.setdefault(kind, []).append(record.value or b"")
        for (partition, key, headers, is_null), values in runs.items():
            arguments = ["-P", "-t", topic, "-p", str(partition), "-z", codec, "-X", "acks=all", "-D", "\\x1e"]
            if is_null:
                # An empty line is no record, a key with nothing behind it is one.
                arguments += ["-Z", "-K", "\\x1f"]
                values = [key + b"\x1f" for _ in values]
            elif key is not None:
                arguments += [b"-k", key]
            for name, value in headers:
                arguments += [b"-H", name.encode() if value is None else name.encode() + b"=" + value]
            kcat(broker, arguments, b"\x1e".join(values))

    def _consume(self, broker, topic, partitions):
        found = []
        for partition in range(partitions):
            arguments = ["-C", "-t", topic, "-p", str(partition), "-o", "beginning", "-e", "-q", "-f", FORMAT]
            found += records_in(kcat(broker, arguments))
        return found

    def _consume_group(self, broker, group, topic, count):
        arguments = ["-G", group, "-c", str(count), "-q", "-f", FORMAT, "-X", "auto.offset.reset=earliest", topic]
        return records_in(kcat(broker, arguments))

    def join(self, name: str, broker: str, group: str, topic: str) -> Member:
        member = self.members[name] = Member(name)
        self._running[name] = Membership(member, broker, group, topic)
        return member

    def leave(self, broker: str, name: str):
        self._running.pop(name).end(signal.SIGTERM)

    def said(self) -> str:
        return ""

    def running(self) -> bool:
        return True

    def kill(self):
        for membership in self._running.values():
            membership.end(signal.SIGKILL)
        self._running.clear()

    def stop(self):
        self.kill()


class Membership:
    """A run of `kcat -G`. It commits when it gives a partition away, not in between."""

    def __init__(self, member: Member, broker: str, group: str, topic: str):
        command = ["kcat", "-b", broker, "-G", group, "-u", "-f", "%p %o %s\\n", "-X", "auto.offset.reset=earliest"]
        command += ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500"]
        command += ["-X", "auto.commit.interval.ms=600000", topic]
        self.member = member
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._threads = [threading.Thread(target=run, daemon=True) for run in [self._read, self._heed]]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for line in self.process.stdout:
            partition, offset, value = line.rstrip("\n").split(" ", 2)
            self.member.records.append((int(partition), int(offset), value))

    def _heed(self):
        """Follows the rebalances, which kcat reports on standard error."""
        for line in self.process.stderr:
            if "rebalanced" not in line:
                continue
            named = {int(number) for number in re.findall(r" \[(\d+)\]", line)}
            self.member.owned = self.member.owned | named if "assigned:" in line else self.member.owned - named

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(30)
        for thread in self._threads:
            thread.join(10)


def kcat(broker: str, arguments: list, stdin: bytes | None = None) -> bytes:
    try:
        return program.run(["kcat", "-b", broker, *arguments], stdin, timeout=60)
    except AssertionError as error:
        raise Refused(str(error), -1) from error


def records_in(said: bytes) -> list[dict]:
    """The records that kcat printed in FORMAT."""
    found = []
    while said:
        head, said = said.split(b"\n", 1)
        partition, offset, timestamp, key, value, *headers = head.split(b" ", 5)
        key_bytes, value_bytes = max(int(key), 0), max(int(value), 0)
        record = Record(
            partition=int(partition),
            timestamp=int(timestamp),
            key=None if int(key) < 0 else said[:key_bytes],
            value=None if int(value) < 0 else said[key_bytes : key_bytes + value_bytes],
            headers=[header_in(header) for header in headers[0].split(b",")] if headers and headers[0] else [],
        )
        found.append({**packed(record), "offset": int(offset)})
        said = said[key_bytes + value_bytes :]
    return found


def header_in(said: bytes) -> tuple[str, bytes | None]:
    name, _, value = said.partition(b"=")
    return name.decode(), None if value == b"NULL" else value
