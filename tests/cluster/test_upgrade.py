"""Nodes of two builds side by side: the newer knows one version more of what nodes write for one another.

The newer build is this tree's with the feature `next-version`. What clients see of the version in force: a trim beyond
a partition's end is refused until the next one, which takes all there is.
"""

import pytest
from confluent_kafka import ElectionType, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import CATALOG, VOTERS, leaders, places
from environment import setting
from observation import said, wait_until

pytestmark = pytest.mark.python

SECONDS = 60
# Several for each shard, so that each node leads one.
PARTITIONS = 6
# Records of each partition. What is asked to go are more.
RECORDS = 3
PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT, KafkaError._TIMED_OUT,
}


def versions(cluster) -> tuple[set[int], dict[int, int]]:
    """What is in force, as the nodes know it, and the newest version of each."""
    views = [node.ask("/v1/nodes") for node in cluster.running()]
    newest = {member["node"]: member["cluster_version_max"] for member in views[0]["nodes"]}
    return {view["cluster_version"] for view in views}, newest


def states(cluster) -> list[dict[int, int]]:
    """The checksum of each shard's state, as each node has it."""
    answers = [node.ask("/v1/node/states")["shards"] for node in cluster.running()]
    return [{shard["shard"]: shard["checksum"] for shard in shards} for shards in answers]


def await_same_states(cluster):
    """Waits until three nodes have the same, as those have that have applied the same. Nobody may write."""
    shards = {shard["shard"] for shard in cluster.nodes[1].ask("/v1/node")["shards"]}
    wait_until("the same states", lambda: is_one(states(cluster), shards), SECONDS)


def is_one(found: list[dict[int, int]], shards: set[int]) -> bool:
    return len(found) == VOTERS and found[0].keys() == shards and all(states == found[0] for states in found)


class Trims:
    """Topics whose partitions are asked for more than they have."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.admin = AdminClient({"bootstrap.servers": cluster.kafka, "log_level": 2})
        # One for each node that came, so that each leads something.
        wait_until("a shard for each node", lambda: len(self._shards()) == len(cluster.nodes), SECONDS)

    def _shards(self) -> set[int]:
        members = self.cluster.nodes[1].ask("/v1/nodes")["nodes"]
        return {shard for member in members for shard in places(member)} - {CATALOG}

    def new_topic(self, name: str) -> str:
        new = NewTopic(name, num_partitions=PARTITIONS, replication_factor=-1)
        self.admin.create_topics([new])[name].result(SECONDS)
        producer = Producer({"bootstrap.servers": self.cluster.kafka, "acks": "all", "log_level": 2})
        for number in range(RECORDS * PARTITIONS):
            producer.produce(name, str(number), partition=number % PARTITIONS)
        assert producer.flush(SECONDS) == 0
        return name

    def answers(self, topic: str) -> list[int]:
        """What is left from, of each partition, or the error's number, negative; asked while each node leads some."""
        wait_until("each node leads", lambda: self._all_lead(topic), SECONDS)
        return [self._answer(TopicPartition(topic, partition, RECORDS + 1)) for partition in range(PARTITIONS)]

    def _all_lead(self, topic: str) -> bool:
        self.admin.elect_leaders(ElectionType.PREFERRED, None).result(SECONDS)
        views = [leaders(node.kafka, topic) for node in self.cluster.running()]
        return all(view == views[0] and set(view.values()) == set(self.cluster.nodes) for view in views)

    def _answer(self, place: TopicPartition) -> int:
        while True:
            [asked] = self.admin.delete_records([place]).values()
            try:
                return asked.result(SECONDS).low_watermark
            except KafkaException as error:
                code = error.args[0].code()
                if code not in PASSING:
                    return -code


REFUSED = [-KafkaError.OFFSET_OUT_OF_RANGE] * PARTITIONS
EMPTIED = [RECORDS] * PARTITIONS


@pytest.mark.timeout(900)
def test_nodes_are_upgraded_one_after_the_other_under_load(cluster, new_load):
    cluster.form()
    [old], _ = versions(cluster)
    load = new_load()
    trims = Trims(cluster)
    before = trims.new_topic("before")
    upgraded = {}
    for number, node in cluster.nodes.items():
        load.wait_for_more()
        # Until the last has been upgraded, the old builds have to read what the new ones write, and all do what the
        # old ones do.
        assert versions(cluster) == ({old}, {other: old + (other in upgraded) for other in cluster.nodes})
        assert trims.answers(before) == REFUSED
        node.stop()
        node.program = setting("MAINSTEM_NEXT_BIN")
        node.start()
        cluster.wait_settled()
        upgraded[number] = node
        wait_until("the node's version", lambda: versions(cluster)[1][number] == old + 1)
    wait_until("the version in force", lambda: versions(cluster)[0] == {old + 1})
    load.wait_for_more()
    assert trims.answers(trims.new_topic("after")) == EMPTIED
    # Replicas whose nodes are started again find the new version in their checkpoints and journals.
    cluster.kill_all()
    cluster.start_all()
    cluster.wait_settled()
    assert versions(cluster)[0] == {old + 1}
    load.wait_for_more()
    assert trims.answers(trims.new_topic("later")) == EMPTIED
    load.finish()
    assert load.history.errors == []
    # In `before` a replica of another opinion would have lost what the others have.
    await_same_states(cluster)


def test_an_old_build_is_not_let_in_where_a_new_version_is_in_force(cluster):
    old_build, cluster.program = cluster.program, setting("MAINSTEM_NEXT_BIN")
    first = cluster.found()
    newest = first.ask("/v1/nodes")["nodes"][0]["cluster_version_max"]
    wait_until("the version in force", lambda: versions(cluster)[0] == {newest})
    joiner = cluster.joiner(2)
    joiner.program = old_build
    why = joiner.refused()
    assert f"works in version {newest}" in why and f"up to {newest - 1}" in why, why
    # With the newer build, the same folder is let in.
    joiner.program = setting("MAINSTEM_NEXT_BIN")
    cluster.start(joiner)
    cluster.wait_settled(voters=1)


def test_a_node_does_not_go_back_to_a_build_that_cannot_read_what_is_there(cluster):
    old_build, cluster.program = cluster.program, setting("MAINSTEM_NEXT_BIN")
    node = cluster.found()
    newest = node.ask("/v1/nodes")["nodes"][0]["cluster_version_max"]
    wait_until("the version in force", lambda: versions(cluster)[0] == {newest})
    node.stop()
    node.program = old_build
    node.said.clear()
    assert f"behaviour {newest}" in node.refused()
    node.program = cluster.program
    node.start()


def test_one_of_three_that_goes_back_harms_nobody(cluster, new_load):
    """It says why it is none of them, whether it finds the version that it does not know in its log or in a checkpoint."""
    old_build, cluster.program = cluster.program, setting("MAINSTEM_NEXT_BIN")
    cluster.form()
    _, known = versions(cluster)
    newest = known[3]
    wait_until("the version in force", lambda: versions(cluster)[0] == {newest})
    load = new_load()
    load.wait_for_more()
    back = cluster.nodes[3]
    knows = f"this build knows up to {newest - 1}"

    def forward():
        back.program = cluster.program
        back.said.clear()
        back.start()
        cluster.wait_settled()
        load.wait_for_more()

    back.kill9()
    back.program = old_build
    back.said.clear()
    back.launch()
    wait_until("it says why", lambda: f"switches to behaviour {newest}, {knows}" in said(back), SECONDS)
    load.wait_for_more()
    assert back.said == []
    if back.running():
        back.kill9()
    forward()

    # Its shards have checkpoints now.
    back.stop()
    back.program = old_build
    back.said.clear()
    why = back.refused()
    assert f"behaviour {newest} is in force, {knows}" in why, why
    load.wait_for_more()
    forward()

    load.finish()
    await_same_states(cluster)
