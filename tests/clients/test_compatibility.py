"""docs/compatibility.md knows every client and every scenario, and no others."""

from pathlib import Path

import pytest

import compatibility
from conftest import SCENARIOS


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
