"""docs/compatibility.md: which client, of which version, can do what. Written from a run of the tests.

A row is a client and a scenario, and says how each of the scenario's runs ended, by the number of shards.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parent.parent / "docs" / "compatibility.md"

HEAD = """\
# Compatibility

What real clients can do with the broker, each against a release build with one shard and with seven.
Written by `REWRITE=1 cargo xtask test --only clients` from how those tests ended; what they do is in
[tests/clients](../tests/clients). A client that cannot do what a scenario asks, whoever the broker is, is
skipped, and its row says why.

| client | version | scenario | 1 shard | 7 shards |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    client: str
    version: str
    scenario: str
    outcomes: tuple[str, ...] = ()

    def line(self) -> str:
        return "| " + " | ".join([self.client, self.version, self.scenario, *self.outcomes]) + " |\n"


def version_of(client: str) -> str:
    """Pinned beside the tests, but for kcat, which the system brings."""
    match client:
        case "confluent-kafka" | "kafka-python":
            return found(rf"^{client}(?:\[.*\])?==(.+)$", "python/requirements.txt")
        case "java" | "kafka-tools":
            return found(r"<kafka.version>(.+)</kafka.version>", "java/pom.xml")
        case "franz-go":
            return found(r"twmb/franz-go v(\S+)", "go/go.mod")
        case "kcat":
            said = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
            return " with librdkafka ".join(re.search(r"Version (\S+) .*librdkafka (\S+)", said, re.S).groups())


def found(pattern: str, path: str) -> str:
    return re.search(pattern, (FOLDER / path).read_text(), re.M).group(1)


def written() -> list[Row]:
    """The rows of the document as it is."""
    lines = DOCUMENT.read_text().removeprefix(HEAD).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(client, version, scenario, tuple(outcomes)) for client, version, scenario, *outcomes in cells]


def document(rows: list[Row]) -> str:
    return HEAD + "".join(row.line() for row in rows)


class Outcomes:
    """How scenarios ended, by client, scenario and number of shards."""

    def __init__(self):
        self.ended: dict[tuple[str, str, int], str] = {}

    def note(self, client: str, scenario: str, shards: int, outcome: str):
        """A test is reported in parts; the first that does not pass counts."""
        if self.ended.get((client, scenario, shards), "pass") == "pass":
            self.ended[client, scenario, shards] = outcome

    def missing(self, expected: list) -> list[str]:
        return [f"{client}: {name}" for client, name, shards in expected if (client, name, shards) not in self.ended]

    def rows(self, expected: list) -> list[Row]:
        """By client, then in the order in which the scenarios stand in the tests."""
        rows = {}
        for client, name, shards in expected:
            rows.setdefault((client, name), {})[shards] = self.ended[client, name, shards]
        return [
            Row(client, version_of(client), name, tuple(ended[shards] for shards in sorted(ended)))
            for (client, name), ended in sorted(rows.items(), key=lambda item: item[0][0])
        ]
