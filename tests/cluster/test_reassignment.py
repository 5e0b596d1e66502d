"""Kafka's tool that moves replicas by hand: it is told where they are, and that the cluster places them itself."""

import json

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import InvalidReplicationAssignmentError, NoReassignmentInProgressError, PolicyViolationError

from cluster import metadata

TOOL = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
TOPIC = "placed"
UNKNOWN = 77
SECONDS = 30


def create(cluster) -> dict[int, list[int]]:
    """A topic, and where its partitions are."""
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, 2)])[TOPIC].result(SECONDS)
    return placed(cluster.kafka)


def placed(address: str) -> dict[int, list[int]]:
    partitions = metadata(address, TOPIC).topics[TOPIC].partitions
    return {number: partition.replicas for number, partition in partitions.items()}


@pytest.mark.java
@pytest.mark.python
def test_kafka_reassign_partitions(cluster, java_agent, tmp_path):
    cluster.form()
    there = create(cluster)
    asked = tmp_path / "reassignment.json"

    def tool(action: str, replicas: list[int], code: int = 0) -> str:
        wanted = {"topic": TOPIC, "partition": 0, "replicas": replicas}
        asked.write_text(json.dumps({"version": 1, "partitions": [wanted]}))
        arguments = ["--bootstrap-server", cluster.kafka, action, "--reassignment-json-file", str(asked)]
        said = java_agent.ask("tool", cluster.kafka, main=TOOL, arguments=arguments, input="")
        assert said["code"] == code, said
        return said["output"] + said["complaints"]

    said = tool("--execute", there[0])
    assert f"Successfully started partition reassignment for {TOPIC}-0" in said, said
    said = tool("--verify", there[0])
    assert f"Reassignment of partition {TOPIC}-0 is completed" in said, said
    said = tool("--execute", there[0][:2], code=1)
    assert "the cluster places the replicas of a shard" in said, said
    said = tool("--execute", [*there[0][:2], UNKNOWN], code=1)
    assert f"Unknown broker id {UNKNOWN}" in said, said
    for node in cluster.nodes.values():
        assert placed(node.kafka) == there


@pytest.mark.python
def test_any_node_says_what_becomes_of_a_reassignment(cluster):
    cluster.form()
    there = create(cluster)
    partition = TopicPartition(TOPIC, 0)
    for node in cluster.nodes.values():
        admin = KafkaAdminClient(bootstrap_servers=node.kafka)
        try:
            for replicas, outcome in [
                (there[0], None),
                (there[0][::-1], None),
                (there[0][:2], PolicyViolationError),
                ([*there[0][:2], UNKNOWN], InvalidReplicationAssignmentError),
                ([there[0][0], there[0][0]], InvalidReplicationAssignmentError),
                (None, NoReassignmentInProgressError),
            ]:
                assert admin.alter_partition_reassignments({partition: replicas}) == {partition: outcome}, replicas
            assert admin.list_partition_reassignments() == {}
        finally:
            admin.close()
    assert placed(cluster.kafka) == there
