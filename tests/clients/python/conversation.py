"""The agents' side of agent.py: requests in, answers and events out, one line of JSON each."""

import base64
import json
import sys
import threading

_OUT = threading.Lock()


class Unsupported(Exception):
    """Raised by an operation that this client does not offer."""


def say(line: dict):
    with _OUT:
        print(json.dumps(line), flush=True)


def event(kind: str, member: str, **more):
    say({"event": kind, "member": member, **more})


def serve(operations: dict, code_of):
    """Answers until standard input ends. `code_of` finds Kafka's error code in an exception."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            operation = operations[request.pop("op")]
            say({"ok": operation(**request)})
        except Unsupported as error:
            say({"unsupported": str(error)})
        except Exception as error:
            say({"error": repr(error), "code": code_of(error)})


def encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def decoded(said: str | None) -> bytes | None:
    return None if said is None else base64.b64decode(said)


class Membership:
    """A thread that reads as a member of a group until it is told to leave."""

    def __init__(self, member: str):
        self.member = member
        self.leaving = threading.Event()
        self.holding = threading.Event()
        self._owned: set[int] = set()
        self._thread = None

    def start(self, run):
        """`run` reads until `leaving` is set."""
        def guarded():
            try:
                run()
            except BaseException as error:
                event("failed", self.member, why=repr(error))
                raise

        self._thread = threading.Thread(target=guarded, daemon=True)
        self._thread.start()

    def gained(self, partitions):
        self._owned.update(partitions)
        event("owns", self.member, partitions=sorted(self._owned))

    def lost(self, partitions):
        self._owned.difference_update(partitions)
        event("owns", self.member, partitions=sorted(self._owned))

    def read(self, partition: int, offset: int, value: bytes):
        event("read", self.member, partition=partition, offset=offset, value=value.decode())

    def committed(self, offsets: dict[int, int]):
        event("committed", self.member, offsets=offsets)

    def leave(self):
        self.leaving.set()
        self._thread.join(30)
        if self._thread.is_alive():
            raise TimeoutError(f"{self.member} does not leave")
