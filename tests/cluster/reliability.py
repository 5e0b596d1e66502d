"""docs/reliability.md: what was done to clusters, and what came of it. Written from a run of the tests of faults."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
# What the tests of a run have found.
ROWS = pytest.StashKey()
BEGIN = "<!-- written by the tests -->\n"
END = "<!-- to here -->\n"

TABLE = """\
| fault | client | nodes | times | records | lost | duplicated | without service: median | worst |
|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """What was done, under which client's load on how many nodes, how many records were acknowledged and read, and how
    long, each time, a partition got no answer. Records that were lost or duplicated fail the test, so it has no row."""

    fault: str
    client: str
    nodes: int
    records: int
    silences: list[float] = field(hash=False)

    def line(self) -> str:
        median, worst = statistics.median(self.silences), max(self.silences)
        cells = [self.fault, self.client, self.nodes, len(self.silences), f"{self.records:,}", 0, 0]
        return "| " + " | ".join(map(str, [*cells, f"{median:.2f} s", f"{worst:.2f} s"])) + " |"


def write(rows: list[Row]):
    """Puts the table in the place of the last one."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    lines = "".join(row.line() + "\n" for row in rows)
    DOCUMENT.write_text(before + BEGIN + TABLE + lines + END + after)
