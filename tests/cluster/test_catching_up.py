"""A node that lacks more than the others' log has copies files: no faster than it may, nothing twice, and without a
client that notices."""

import time

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from load import PARTITIONS
from observation import metric, wait_until

pytestmark = pytest.mark.python

MIB = 1 << 20
TOPIC = "large"
# More than is logged before the log is forgotten.
RECORDS = 48
RECORD_BYTES = MIB - 4096
BYTES_PER_SECOND = 4 * MIB
# What may have come since stable storage was last made sure of, and what is on its way.
LOST_BYTES_MAX = 4 * MIB + MIB
SECONDS = 60
# Twice what three replicas keep of the log, and more.
RECORDS_FORGOTTEN = 144
# So that it takes ten seconds and more.
BYTES_PER_SECOND_UNDER_LOAD = 8 * MIB
SILENCE_SECONDS = 2


def write(address: str, records: int):
    """Returns when they are acknowledged."""
    failures = []
    producer = confluent_kafka.Producer({"bootstrap.servers": address, "acks": "all", "message.max.bytes": 2 * MIB})
    for number in range(records):
        value = number.to_bytes(8) * (RECORD_BYTES // 8)
        producer.produce(TOPIC, value, on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
    assert (producer.flush(SECONDS), failures) == (0, [])


def copying(node, of: int) -> dict:
    """How far node `of` is, as another says; with zeros when it does not copy."""
    members = [member for member in node.ask("/v1/nodes")["nodes"] if member["node"] == of]
    found = [replica["copying"] for member in members for replica in member["replicas"] if replica["copying"]]
    return max(found, key=lambda each: each["total_bytes"], default={"copied_bytes": 0, "total_bytes": 0})


def forgotten(node, shard: int) -> float:
    """Bytes of a shard's files that the log has let go of."""
    of_shard = {"shard": str(shard)}
    taken, needed = (metric(node, f"mainstem_journal_{what}_bytes", **of_shard) for what in ["file", "log_needed"])
    return taken - needed


def shards_of(node, topic: str) -> set[int]:
    return {partition["shard"] for partition in node.ask(f"/v1/topics/{topic}")["partitions"]}


def test_a_node_that_is_killed_while_it_copies_goes_on_and_keeps_to_its_bandwidth(cluster, measured):
    first = cluster.found()
    # It is needed until the answer is there.
    admin = AdminClient({"bootstrap.servers": first.kafka})
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(SECONDS)
    write(first.kafka, RECORDS)
    wait_until("there is a checkpoint", lambda: metric(first, "mainstem_journal_checkpoint_bytes_total") > 0, SECONDS)
    second = cluster.joiner(2)
    second.options += ["--cluster-catch-up-bytes-per-second", f"{BYTES_PER_SECOND // MIB}MiB"]
    cluster.start(second)
    wait_until("some of it is there", lambda: copying(first, 2)["copied_bytes"] > 12 * MIB, SECONDS)
    # Whoever writes does not notice.
    write(first.kafka, 1)
    seen = copying(second, 2)
    second.kill9()
    assert 12 * MIB < seen["copied_bytes"] < seen["total_bytes"] - 8 * MIB, seen
    second.start()
    began = time.monotonic()
    cluster.wait_settled(1)
    took = time.monotonic() - began
    assert copying(first, 2)["copied_bytes"] == copying(second, 2)["copied_bytes"] == 0
    rest = metric(second, "mainstem_journal_pulled_bytes_total")
    measured(f"{rest / MIB:.1f} MiB in {took:.1f} s after the kill, {seen} before")
    assert rest <= seen["total_bytes"] - seen["copied_bytes"] + LOST_BYTES_MAX
    assert took > rest / BYTES_PER_SECOND - 3, "faster than it may"
    assert metric(second, "mainstem_journal_pulls_refused_total") == 0


def test_clients_do_not_notice_that_a_replica_copies(cluster, new_load, measured):
    """The others are most, and take records of the same shard meanwhile."""
    cluster.form()
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result(SECONDS)
    first, third = cluster.nodes[1], cluster.nodes[3]
    third.kill9()
    write(cluster.kafka, RECORDS_FORGOTTEN)
    (shard,) = shards_of(first, TOPIC)
    for node in cluster.running():
        wait_until("its log has forgotten some", lambda: forgotten(node, shard) > 32 * MIB, SECONDS)
    load = new_load()
    load.wait_for_more()
    assert shard in shards_of(first, load.topic)
    third.options += ["--cluster-catch-up-bytes-per-second", f"{BYTES_PER_SECOND_UNDER_LOAD // MIB}MiB"]
    began = time.monotonic()
    third.start()
    wait_until("it copies", lambda: copying(third, 3)["copied_bytes"] > 0, SECONDS)
    load.wait_for_more()
    wait_until("it has copied", lambda: copying(third, 3)["total_bytes"] == 0, SECONDS)
    ended = time.monotonic()
    cluster.wait_settled()
    pulled = metric(third, "mainstem_journal_pulled_bytes_total")
    silence = max(load.history.longest_silence(partition, began, ended) for partition in range(PARTITIONS))
    records = load.finish()
    measured(f"{pulled / MIB:.1f} MiB in {ended - began:.1f} s under {records} records, {silence:.2f} s without service")
    assert ended - began > 5, "too short to tell"
    assert silence < SILENCE_SECONDS
