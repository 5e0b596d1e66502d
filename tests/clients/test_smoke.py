"""The thin thread through everything: lines in, a restart, the same lines out."""

import pytest

LINES = b"".join(b"line %d\n" % number for number in range(1000))
CONSUME = ["-C", "-t", "smoke", "-p", "0", "-o", "beginning", "-e", "-q"]


@pytest.mark.kcat
def test_lines_survive_a_restart(broker, kcat):
    kcat(["-P", "-t", "smoke", "-p", "0"], LINES)
    assert kcat(CONSUME) == LINES
    broker.restart()
    assert kcat(CONSUME) == LINES


@pytest.mark.kcat
def test_lines_survive_a_kill(broker, kcat):
    kcat(["-P", "-t", "smoke", "-p", "0", "-X", "acks=all"], LINES)
    broker.kill9()
    broker.restart()
    assert kcat(CONSUME) == LINES
