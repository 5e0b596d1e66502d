"""Every check finds what it is there for, and nothing where all is well."""

from types import SimpleNamespace

import pytest

import checks
import history
from history import History, Look, Value

pytestmark = pytest.mark.python

PARTITIONS = 2
RECORDS = 6


def value(partition: int, number: int) -> Value:
    return Value("w", partition, number)


def well() -> tuple[History, dict]:
    """A history and a log in which all is well: two members, one after the other, read all of it."""
    told, log = History(), {}
    for partition in range(PARTITIONS):
        log[partition] = [(number, value(partition, number)) for number in range(RECORDS)]
        for number in range(RECORDS):
            told.on_sent(value(partition, number))
            told.on_acknowledged(value(partition, number), number)
        told.on_assigned("one", partition).records += log[partition][:4]
        told.on_committed(partition, 3)
        # What was read and not committed is read again.
        told.on_assigned("two", partition).records += log[partition][3:]
        told.looks += [Look(partition, 0, 0), Look(partition, 3, 3), Look(partition, 3, 5)]
    return told, log


def swap(records: list, one: int, other: int):
    """Exchanges two values; the offsets stay."""
    (first, a), (second, b) = records[one], records[other]
    records[one], records[other] = (first, b), (second, a)


def lose(told: History, log: dict):
    log[1].pop()
    for span in told.spans:
        span.records = [record for record in span.records if record != (5, value(1, 5))]


def repeat(told: History, log: dict):
    log[0].append((RECORDS, value(0, 2)))
    told.spans[1].records.append((RECORDS, value(0, 2)))


FAULTS = {
    "an acknowledged record is not there": (lose, "was acknowledged at 5, where None is"),
    "a record is at another offset": (lambda told, log: told.acknowledged.update({value(0, 1): 2}), "was acknowledged at 2"),
    "an answer never came": (lambda told, log: told.on_sent(value(0, RECORDS)), "7 sent and 6 acknowledged"),
    "an answer came twice": (lambda told, log: told.on_acknowledged(value(0, 0), 0), "acknowledged twice"),
    "a record is there twice": (repeat, "is there 2 times"),
    "an offset is missing": (lambda told, log: log[0].insert(3, (9, value(0, 3))), "is where 3 is due"),
    "two records have changed places": (lambda told, log: swap(log[0], 2, 3), "is where number 2 is due"),
    "a record was never sent": (lambda told, log: log[0].append((RECORDS, value(0, 99))), "was never sent there"),
    "a record is in another partition": (lambda told, log: log[0].append((RECORDS, value(1, 3))), "never sent there"),
    "a member begins too early": (lambda told, log: told.spans[1].records.insert(0, (2, value(0, 2))), "3 was committed"),
    "a member leaves something out": (lambda told, log: told.spans[0].records.pop(1), "where 1 is due"),
    "a member reads what is not there": (lambda told, log: swap(told.spans[0].records, 0, 1), "which is not there"),
    "nobody reads the end": (lambda told, log: told.spans[1].records.pop(), "nobody read"),
    "a group goes back": (lambda told, log: told.on_look(Look(0, 3, 4)), "is at 4 of partition 0, 5 was committed"),
    "a commit is forgotten": (lambda told, log: told.on_look(Look(1, 6, 5)), "6 was committed before"),
    "a write fails": (lambda told, log: told.on_failure("not delivered"), "not delivered"),
}


def test_nothing_is_found_where_all_is_well():
    assert checks.violations(*well()) == []


@pytest.mark.parametrize(("fault", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(fault, said):
    told, log = well()
    fault(told, log)
    found = checks.violations(told, log)
    assert any(said in what for what in found), found


def test_of_many_alike_a_few_are_shown():
    told, log = well()
    log[0].clear()
    found = checks.violations(told, log)
    lost = [what for what in found if "was acknowledged at" in what]
    assert len(lost) == checks.SHOWN
    assert "and 1 more like that" in found


def replicas() -> dict:
    """Two partitions on three nodes, which have the same of them."""
    return {partition: {node: [b"one", b"two", b"three"] for node in [1, 2, 3]} for partition in range(PARTITIONS)}


def disks() -> dict:
    return {node: {"shard 1": (100.0, 200.0), "shard 2": (0.0, 200.0)} for node in [1, 2, 3]}


FAULTS_OF_NODES = {
    "a replica has another batch": (lambda has, _: has[1][2].__setitem__(1, b"TWO"), "nodes 1 and 2 differ in batch 1"),
    "a replica lacks the end": (lambda has, _: has[0][3].pop(), "nodes 1 and 3 differ in batch 2 of partition 0"),
    "a replica has more": (lambda has, _: has[0][3].append(b"four"), "nodes 1 and 3 differ in batch 3 of partition 0"),
    "the others have more": (lambda has, _: has[1][1].clear(), "nodes 1 and 3 differ in batch 0 of partition 1"),
    "files are too large": (lambda _, take: take[2].update({"shard 1": (201.0, 200.0)}), "201 bytes on node 2"),
}


def test_nothing_is_found_where_nodes_are_well():
    assert checks.violations_of_nodes(replicas(), disks()) == []
    assert checks.violations_of_nodes({0: {1: []}}, {}) == [], "alone"


@pytest.mark.parametrize(("fault", "said"), FAULTS_OF_NODES.values(), ids=FAULTS_OF_NODES)
def test_a_fault_of_nodes_is_found(fault, said):
    has, take = replicas(), disks()
    fault(has, take)
    found = checks.violations_of_nodes(has, take)
    assert any(said in what for what in found), found


def test_the_longest_silence_is_the_one_that_ended_since(monkeypatch):
    told = History()
    for number, moment in enumerate([0.0, 5.0, 5.5, 7.5, 8.0]):
        monkeypatch.setattr(history, "time", SimpleNamespace(monotonic=lambda moment=moment: moment))
        told.on_acknowledged(value(0, number), number)
    assert told.longest_silence(0, 0) == 5.0
    assert told.longest_silence(0, 5.2) == 2.0
    assert told.longest_silence(0, 9.0) == 0.0
    assert told.longest_silence(1, 0) == 0.0
