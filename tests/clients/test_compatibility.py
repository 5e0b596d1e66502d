"""docs/compatibility.md knows every client and every scenario, and no others."""

import os
from pathlib import Path

import pytest

import compatibility
import differential
from conftest import SCENARIOS

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocols" / "kafka.md"
# Ends what is written by hand: the table follows, to the end of the document.
DIFFERENCES = """## Where it differs

Requests of every API are sent to the broker and to Apache Kafka, in every version, and the answers compared
field by field (`tests/clients/test_differential.py`). What differs and stays so:
"""


@pytest.mark.python
def test_the_document_has_a_row_for_every_scenario(request):
    collected = {(client, name) for client, name, _ in request.config.stash[SCENARIOS]}
    rows = compatibility.written()
    documented = {(row.client, row.scenario) for row in rows}
    how = "REWRITE=1 cargo xtask test --only clients writes the document anew"
    assert collected <= documented, how
    here = {path for path in Path(__file__).parent.glob("test_*.py") if "scenario" in path.read_text()}
    if here <= {item.path for item in request.session.items} | {Path(__file__)}:
        assert documented <= collected, how
    for row in rows:
        if row.client != "kcat":
            assert row.version == compatibility.version_of(row.client), how
    assert compatibility.document(rows) == compatibility.DOCUMENT.read_text(), how


@pytest.mark.python
def test_the_protocol_document_lists_what_differs_from_kafka():
    text = PROTOCOL.read_text()
    before, _, _ = text.partition(DIFFERENCES)
    expected = before + DIFFERENCES + "\n" + differential.table()
    if os.environ.get("REWRITE") == "1":
        PROTOCOL.write_text(expected)
        return
    assert text == expected, "REWRITE=1 cargo xtask test --only clients writes the table anew"
