"""An operator has those lead who are preferred to, with Kafka's tool and by the admin client."""

import time

import pytest
from confluent_kafka import ElectionType, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import leaders, preferred

TOOL = "org.apache.kafka.tools.LeaderElectionCommand"
TOPIC = "elected"
PARTITIONS = 3
# After ten seconds leaders go back by themselves, and on a slow machine nobody was asked before.
TRIES = 3
SECONDS = 30


def await_preferred(cluster, wanted: dict[int, int]):
    """Waits until every node says that those lead who are preferred to."""
    deadline = time.monotonic() + SECONDS
    while not all(leaders(node.kafka, TOPIC) == wanted for node in cluster.running()):
        assert time.monotonic() < deadline, [leaders(node.kafka, TOPIC) for node in cluster.running()]
        time.sleep(0.05)


def create(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result(SECONDS)
    cluster.wait_settled()


@pytest.mark.java
@pytest.mark.python
def test_kafka_leader_election(cluster, java_agent):
    def tool(node, *arguments, code=0) -> str:
        arguments = ["--bootstrap-server", node.kafka, "--election-type", *arguments]
        said = java_agent.ask("tool", node.kafka, main=TOOL, arguments=arguments, input="")
        assert said["code"] == code, said
        return said["output"] + said["complaints"]

    cluster.form()
    create(cluster)
    tool(cluster.nodes[1], "preferred", "--all-topic-partitions")
    wanted = preferred(cluster.kafka, TOPIC)
    await_preferred(cluster, wanted)
    gone = cluster.nodes[wanted[0]]
    asked = next(node for node in cluster.nodes.values() if node is not gone)
    one = ["--topic", TOPIC, "--partition", "0"]
    for _ in range(TRIES):
        gone.restart()
        cluster.wait_settled()
        said = tool(asked, "preferred", *one)
        if "Successfully completed leader election (PREFERRED)" in said:
            break
        assert "Valid replica already elected" in said, said
    else:
        pytest.fail("leaders went back before anybody asked for it")
    await_preferred(cluster, wanted)
    assert "Valid replica already elected" in tool(asked, "preferred", *one)
    assert "Valid replica already elected" in tool(asked, "unclean", *one)
    gone.stop()
    said = tool(asked, "preferred", *one, code=1)
    assert "PreferredLeaderNotAvailable" in said, said
    gone.start()


@pytest.mark.python
def test_elect_leaders(cluster):
    cluster.form()
    create(cluster)

    def elect(kind, *partitions) -> dict[int, int]:
        admin = AdminClient({"bootstrap.servers": cluster.nodes[2].kafka})
        asked = [TopicPartition(TOPIC, partition) for partition in partitions] or None
        found = admin.elect_leaders(kind, asked).result(SECONDS)
        assert all(part.topic == TOPIC for part in found)
        return {part.partition: 0 if error is None else error.code() for part, error in found.items()}

    # Those that lead already are not told of.
    assert set(elect(ElectionType.PREFERRED).values()) <= {0}
    wanted = preferred(cluster.kafka, TOPIC)
    await_preferred(cluster, wanted)
    assert elect(ElectionType.PREFERRED) == {}
    not_needed, unknown = KafkaError.ELECTION_NOT_NEEDED, KafkaError.UNKNOWN_TOPIC_OR_PART
    for kind in [ElectionType.PREFERRED, ElectionType.UNCLEAN]:
        assert elect(kind, 0, 9) == {0: not_needed, 9: unknown}
    gone = cluster.nodes[next(node for node in wanted.values() if node != 2)]
    theirs = [partition for partition, node in wanted.items() if node == gone.number]
    gone.kill9()
    deadline = time.monotonic() + SECONDS
    while (found := elect(ElectionType.PREFERRED, *theirs)) != dict.fromkeys(
        theirs, KafkaError.PREFERRED_LEADER_NOT_AVAILABLE
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    gone.start()
