"""A restart of one node after the other, as for an upgrade: applications do not notice."""

import time

import pytest

from load import PARTITIONS

TURNS = 2


def roll(cluster, load, turns: int, after_each=lambda began: None):
    """Stops and starts each node in turn, with SIGTERM, which must end it with 0."""
    for _ in range(turns):
        for node in cluster.nodes.values():
            load.wait_for_more()
            began = time.monotonic()
            node.stop()
            load.wait_for_more()
            after_each(began)
            node.start()
            cluster.wait_settled()


@pytest.mark.timeout(600)
@pytest.mark.python
def test_no_error_reaches_an_application(cluster, new_load, quick, measured):
    cluster.form()
    load = new_load()
    found = []

    def note(began):
        found.append(max(load.history.longest_silence(partition, began) for partition in range(PARTITIONS)))

    roll(cluster, load, 1 if quick else TURNS, note)
    records = load.finish()
    measured(f"longest time without an answer: {max(found):.2f} s, of {', '.join(f'{each:.2f}' for each in found)}")
    measured(f"{records} records")
    assert load.history.errors == []


@pytest.mark.timeout(600)
@pytest.mark.python
@pytest.mark.parametrize(
    "client",
    [pytest.param("java", marks=pytest.mark.java), pytest.param("franz-go", marks=pytest.mark.go)],
)
def test_no_error_reaches_an_application_of_other_clients(cluster, new_load, start_agent, client, quick, measured):
    cluster.form()
    load = new_load(start_agent(client))
    roll(cluster, load, 1 if quick else TURNS)
    measured(f"{load.finish()} records")
    assert load.history.errors == []
