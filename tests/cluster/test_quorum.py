"""Nodes without a majority of the others: they say so, take nothing, and can be stopped."""

import signal

import pytest

from observation import wait_until

pytestmark = pytest.mark.python

SECONDS = 30


def test_a_node_alone_of_three_is_not_ready_and_says_why(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    last = cluster.nodes[1]
    assert last.health() == (200, "ready\n")
    cluster.nodes[2].kill9()
    load.wait_for_more()
    cluster.nodes[3].kill9()
    wait_until("it says that it is not ready", lambda: last.health()[0] == 503, SECONDS)
    assert "has no leader" in last.health()[1]
    # With a second one it is, without the third.
    cluster.nodes[2].start()
    wait_until("it is ready", lambda: last.health() == (200, "ready\n"), SECONDS)
    load.wait_for_more()
    cluster.nodes[3].start()
    cluster.wait_settled()
    load.finish()


def test_a_start_that_waits_for_others_says_so_and_can_be_stopped(cluster):
    cluster.form()
    cluster.kill_all()
    first = cluster.nodes[1]
    first.said.clear()
    first.launch()
    # It serves whoever asks how it is, and nobody is told that it is ready.
    wait_until("it answers", lambda: answers(first), SECONDS)
    status, why = first.health()
    assert status == 503 and "has no leader" in why
    wait_until("it says what it waits for", lambda: "not ready yet" in first.stderr.read_text(), SECONDS)
    assert first.said == []
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(SECONDS) == 0
    cluster.start_all()
    cluster.wait_settled()


def answers(node) -> bool:
    try:
        node.health()
    except OSError:
        return False
    return True
