"""What must hold of what clients were told, and of what is there in the end. Each check names what is wrong."""

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest

from history import History, Look, Records, Span, Value

# Of one kind, more would not be read.
SHOWN = 5
# The batches of each partition as each node's replica has them, by partition and node.
Replicas = dict[int, dict[int, list[bytes]]]
# What finished files take and what they may take, in bytes, by node and shard.
Disks = dict[int, dict[str, tuple[float, float]]]


def violations(history: History, log: dict[int, Records]) -> list[str]:
    """All that is wrong. `log` has the records of each partition, read from its beginning to its end."""
    checks = [
        unanswered(history.sent, history.acknowledged),
        lost(history.acknowledged, log),
        doubled(log),
        gaps(log),
        disordered(log),
        invented(history.sent, log),
        misread(history.spans, log),
        unread(history.spans, log),
        moved_back(history.looks),
    ]
    return history.failures[:SHOWN] + [what for check in checks for what in few(check)]


def violations_of_nodes(replicas: Replicas, disks: Disks) -> list[str]:
    """All that is wrong with what nodes have, each on its own, once they have everything."""
    return [what for check in [differing(replicas), oversized(disks)] for what in few(check)]


def few(found: Iterator[str]) -> list[str]:
    found = list(found)
    left_out = [f"and {len(found) - SHOWN} more like that"] if len(found) > SHOWN else []
    return found[:SHOWN] + left_out


def unanswered(sent: dict[tuple[str, int], int], acknowledged: dict[Value, int]) -> Iterator[str]:
    """Writers wait for all answers: who retries for long enough gets every record through."""
    answered = Counter((value.writer, value.partition) for value in acknowledged)
    for place, count in sent.items():
        if answered[place] != count:
            yield f"{place}: {count} sent and {answered[place]} acknowledged"


def lost(acknowledged: dict[Value, int], log: dict[int, Records]) -> Iterator[str]:
    there = {partition: dict(records) for partition, records in log.items()}
    for value, offset in acknowledged.items():
        found = there.get(value.partition, {}).get(offset)
        if found != value:
            yield f"{value} was acknowledged at {offset}, where {found} is"


def doubled(log: dict[int, Records]) -> Iterator[str]:
    for records in log.values():
        for value, times in Counter(value for _, value in records).items():
            if times > 1:
                yield f"{value} is there {times} times"


def gaps(log: dict[int, Records]) -> Iterator[str]:
    for partition, records in log.items():
        for expected, (offset, _) in enumerate(records):
            if offset != expected:
                yield f"offset {offset} of partition {partition} is where {expected} is due"
                break


def disordered(log: dict[int, Records]) -> Iterator[str]:
    """Each writer's numbers rise, in each partition, one by one."""
    for records in log.values():
        due: Counter = Counter()
        for offset, value in records:
            place = value.writer, value.partition
            if value.number != due[place]:
                yield f"{value} at {offset} is where number {due[place]} is due"
            due[place] = value.number + 1


def invented(sent: dict[tuple[str, int], int], log: dict[int, Records]) -> Iterator[str]:
    for partition, records in log.items():
        for offset, value in records:
            if value.partition != partition or value.number >= sent.get((value.writer, partition), 0):
                yield f"{value} at {offset} of partition {partition} was never sent there"


def misread(spans: list[Span], log: dict[int, Records]) -> Iterator[str]:
    """A member goes on from where its group has got to, without a gap, and reads what is there."""
    there = {partition: dict(records) for partition, records in log.items()}
    for span in spans:
        if not span.records:
            continue
        first = span.records[0][0]
        if first < span.committed:
            yield f"{span.member} began partition {span.partition} at {first}, {span.committed} was committed"
        for expected, (offset, value) in enumerate(span.records, first):
            if offset != expected:
                yield f"{span.member} read {offset} of partition {span.partition} where {expected} is due"
                break
            if there[span.partition].get(offset) != value:
                yield f"{span.member} read {value} at {offset} of partition {span.partition}, which is not there"


def unread(spans: list[Span], log: dict[int, Records]) -> Iterator[str]:
    """Somebody read each record."""
    read = {(span.partition, offset) for span in spans for offset, _ in span.records}
    for partition, records in log.items():
        for offset, value in records:
            if (partition, offset) not in read:
                yield f"nobody read {value} at {offset} of partition {partition}"


def moved_back(looks: list[Look]) -> Iterator[str]:
    """What a group has committed stays so. Looks are in the order in which they were answered, one at a time."""
    seen: Counter = Counter()
    for look in looks:
        at_least = max(seen[look.partition], look.committed)
        if look.found < at_least:
            yield f"the group is at {look.found} of partition {look.partition}, {at_least} was committed before"
        seen[look.partition] = max(seen[look.partition], look.found)


def differing(replicas: Replicas) -> Iterator[str]:
    """Replicas have the same bytes in the same batches: whoever leads next goes on with what all were told."""
    for partition, by_node in replicas.items():
        (first, expected), *others = by_node.items()
        for node, batches in others:
            pairs = enumerate(zip_longest(expected, batches))
            nth = next((nth for nth, (one, other) in pairs if one != other), None)
            if nth is not None:
                yield f"nodes {first} and {node} differ in batch {nth} of partition {partition}"


def oversized(disks: Disks) -> Iterator[str]:
    """Finished files take no more than is promised: twice what is alive, what the log needs, and 256 MiB."""
    for node, by_shard in disks.items():
        for shard, (taken, bound) in by_shard.items():
            if taken > bound:
                yield f"files of {shard} take {taken:.0f} bytes on node {node}, which may be {bound:.0f}"
