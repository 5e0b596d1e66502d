"""The same requests to Apache Kafka and to our broker, and their answers compared field by field.

What has to differ is made equal first: ports, ids that are drawn, and texts for people, of which only counts
whether there is one. What differs then is a `Difference`, by the case it came up in and the field, without
version and indices: differences.toml explains those that stay.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from agent import Agent, encoded

EXPLANATIONS = Path(__file__).parent / "differences.toml"
ANSWER_MILLISECONDS = 10_000
NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"

ABSENT = "<absent>"
# Characters of a value in a message.
SHOWN = 300

# Not compared at all: time spent, and when something was done.
IGNORED = {"throttleTimeMs", "logAppendTimeMs", "clusterId"}
# Texts for people, of which an empty one is none.
TEXTS = {"errorMessage", "batchIndexErrorMessage", "documentation"}
# Ids that a broker draws.
DRAWN = {"memberId", "leader", "producerId", "topicId", "sessionId"}
# Amounts of bytes, of which only counts whether there are any.
SIZES = {"totalBytes", "usableBytes", "partitionSize"}
# Arrays of named things of which one side may have more.
BY_NAME = {"configs", "supportedFeatures", "finalizedFeatures"}
# What an array is sorted by, where the order says nothing.
ORDERED_BY = ["apiKey", "name", "topic", "partitionIndex", "partition", "groupId", "nodeId", "memberId", "topicId"]


@dataclass(frozen=True)
class Difference:
    case: str
    field: str
    version: int
    kafka: object
    ours: object

    def __str__(self):
        where = f"{self.case} v{self.version}: {self.field or 'the answer'}"
        return f"{where} is {shortened(self.ours)}, with Kafka {shortened(self.kafka)}"


def shortened(value) -> str:
    said = repr(value)
    return said if len(said) <= SHOWN else f"{said[:SHOWN]}..."


class Side:
    """One of the two brokers, and what it has told: topic ids, member ids and the like differ between them."""

    def __init__(self, agent: Agent, address: str):
        self.agent = agent
        self.address = address
        self.notes: dict[str, object] = {}
        self.versions: dict[int, tuple[int, int]] = {}

    def send(self, api: int, version: int, request: dict, connection: str = "main"):
        request = resolved(request, self)
        self.agent.ask("send", self.address, connection=connection, api=api, version=version, request=request)

    def receive(self, connection: str = "main", milliseconds: int = ANSWER_MILLISECONDS) -> dict:
        return self.agent.ask("receive", self.address, connection=connection, milliseconds=milliseconds)

    def named(self, drawn: str | int) -> str:
        """What a test calls an id that this side drew; ids that no test has noted are all alike."""
        return next((f"<{name}>" for name, noted in self.notes.items() if noted == drawn), "<new>")


class Note(str):
    """In a request: what this side was told earlier, under that name."""


def resolved(value, side: Side):
    match value:
        case Note():
            return side.notes[str(value)]
        case bytes():
            return encoded(value)
        case dict():
            return {key: resolved(inner, side) for key, inner in value.items()}
        case list() | tuple():
            return [resolved(inner, side) for inner in value]
    return value


class Pair:
    """Apache Kafka and our broker, asked the same."""

    def __init__(self, agent: Agent, kafka: str, ours: str):
        self.kafka = Side(agent, kafka)
        self.ours = Side(agent, ours)
        self.sides = [self.kafka, self.ours]
        self.apis: dict[str, int] = agent.ask("requests", kafka)
        self.found: list[Difference] = []
        # Each case that was compared, with the version it was compared in.
        self.tried: set[tuple[str, int]] = set()
        for side in self.sides:
            side.send(self.apis["ApiVersions"], 0, {}, "versions")
            told = side.receive("versions")["apiKeys"]
            side.versions = {entry["apiKey"]: (entry["minVersion"], entry["maxVersion"]) for entry in told}

    def range(self, api: str) -> range:
        """The versions that both speak; ours alone may miss the API, which then every case reports."""
        first, last = self.kafka.versions[self.apis[api]]
        our_first, our_last = self.ours.versions.get(self.apis[api], (first, last))
        return range(max(first, our_first), min(last, our_last) + 1)

    def ask(
        self, case: str, api: str, version: int, request: dict, connection: str = "main",
        note: dict[str, Callable] | None = None,
    ) -> dict:
        """Asks both, and notes how the answers differ and what `note` finds in them. Returns Kafka's."""
        self.send(api, version, request, connection)
        return self.receive(case, version, connection, note)

    def send(self, api: str, version: int, request: dict, connection: str = "main"):
        for side in self.sides:
            side.send(self.apis[api], version, request, connection)

    def receive(self, case: str, version: int, connection: str = "main", note: dict[str, Callable] | None = None):
        answers = [side.receive(connection) for side in self.sides]
        for name, find in (note or {}).items():
            for side, answer in zip(self.sides, answers):
                try:
                    side.notes[name] = find(answer)
                except (KeyError, IndexError):
                    # What it was not told it does not know; the difference shows.
                    side.notes.setdefault(name, None)
        self.compare_all(case, version, answers)
        return answers[0]

    def compare_all(self, case: str, version: int, answers: list[dict]):
        """Notes how the answers differ, Kafka's and ours."""
        self.tried.add((case, version))
        self.compare(case, version, "", *(normal(answer, side) for side, answer in zip(self.sides, answers)))

    def compare(self, case: str, version: int, field: str, kafka, ours):
        """Notes the differences, in the smallest parts that differ."""
        match kafka, ours:
            # One that is empty, or tells that there was no answer, has nothing to compare with.
            case dict(), dict() if kafka and ours and not ours.keys() & {"closed", "unanswered"}:
                for key in kafka | ours:
                    where = f"{field}.{key}".lstrip(".")
                    if key in kafka and key in ours:
                        self.compare(case, version, where, kafka[key], ours[key])
                    elif key in kafka:
                        self.found.append(Difference(case, f"{where} missing here", version, kafka[key], ABSENT))
                    else:
                        self.found.append(Difference(case, f"{where} only here", version, ABSENT, ours[key]))
            case list(), list() if len(kafka) == len(ours):
                for one, other in zip(kafka, ours):
                    self.compare(case, version, f"{field}[]", one, other)
            case _ if kafka != ours:
                self.found.append(Difference(case, field, version, kafka, ours))


def normal(value, side: Side, key: str = ""):
    """Without what has to differ."""
    if isinstance(value, dict):
        return {name: normal(inner, side, name) for name, inner in value.items() if name not in IGNORED}
    if isinstance(value, list):
        inner = [normal(element, side, key) for element in value]
        if key in BY_NAME:
            return {element["name"]: element for element in inner}
        by = next((name for name in ORDERED_BY if inner and isinstance(inner[0], dict) and name in inner[0]), None)
        return sorted(inner, key=lambda element: str(element[by]).zfill(9)) if by else inner
    if key in TEXTS:
        return "<text>" if value else None
    if key in SIZES:
        return "<bytes>" if value > 0 else value
    if key == "logDir":
        return "<folder>"
    if key == "port":
        return "<port>" if str(value) == side.address.rsplit(":", 1)[1] else value
    if key in DRAWN and value not in (None, "", -1, 0, NO_TOPIC_ID):
        return side.named(value)
    return value


@dataclass(frozen=True)
class Explanation:
    case: str
    field: str
    why: str

    def fits(self, difference: Difference) -> bool:
        return fits(self.case, difference.case) and fits(self.field, difference.field)


def fits(pattern: str, name: str) -> bool:
    """Only the asterisk is special in explanations: brackets are part of fields."""
    return fnmatchcase(name, re.sub(r"([\[?])", r"[\1]", pattern))


def explanations() -> list[Explanation]:
    entries = tomllib.loads(EXPLANATIONS.read_text())["difference"]
    return [Explanation(**entry) for entry in entries]


def table() -> str:
    """The explanations for docs/protocols/kafka.md."""
    rows = [f"| {entry.case} | `{entry.field}` | {entry.why} |" for entry in explanations()]
    return "\n".join(["| case | field | why it differs from Apache Kafka |", "|---|---|---|", *rows]) + "\n"
