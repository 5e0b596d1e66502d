"""What each node has on its own: its replica of a topic, batch by batch, and how much its files take."""

import time

import wire
from checks import Disks, Replicas
from cluster import Cluster, Node, metadata
from observation import samples

# Whoever says in which rack it is may read from a replica that does not lead (KIP-392), and nobody is sent to another
# node for the sake of a rack that has none.
NOWHERE = "where no node is"
CATCH_UP_SECONDS = 60


def read_replicas(cluster: Cluster, topic: str, ends: dict[int, int]) -> Replicas:
    """Every partition as each running node has it that has a replica: all that is there, and at least up to the end,
    which it may have to catch up to."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    running = {node.number: node for node in cluster.running()}
    places = metadata(cluster.kafka, topic).topics[topic].partitions
    return {
        partition: {
            number: read_replica(running[number], topic, partition, end, deadline)
            for number in places[partition].replicas
            if number in running
        }
        for partition, end in ends.items()
    }


def read_replica(node: Node, topic: str, partition: int, end: int, deadline: float) -> list[bytes]:
    batches, offset = [], 0
    with wire.Connection(node.kafka) as connection:
        while offset < end:
            answer = wire.fetch_in_rack(connection, topic, partition, offset, NOWHERE)
            if found := wire.whole_batches(answer.records):
                batches += found
                offset, end = wire.next_offset(found[-1]), max(end, answer.end)
                continue
            lacks = f"node {node.number} has partition {partition} up to {offset} of {end} and answers {answer.error}"
            assert time.monotonic() < deadline, lacks
            time.sleep(0.05)
    return batches


def disks(cluster: Cluster) -> Disks:
    """As each running node has last looked for."""
    return {node.number: disk(node) for node in cluster.running()}


def disk(node: Node) -> dict[str, tuple[float, float]]:
    bounds = samples(node, "mainstem_journal_bound_bytes")
    return {shard: (taken, bounds[shard]) for shard, taken in samples(node, "mainstem_journal_file_bytes").items()}
