"""Who can be stopped without anybody noticing, and who leads when they are back."""

import pytest
from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import leaders, preferred
from observation import wait_until

pytestmark = pytest.mark.python

TOPIC = "led"
# Leaders go back after ten of them.
SECONDS = 60


def await_safe(node):
    """Waits until the node can be stopped, and asks in each way whether it can."""
    wait_until(f"node {node.number} can go", lambda: node.health("restart-safe") == (200, "safe\n"), SECONDS)
    assert node.ask("/v1/node/restart-safe") == {"node": node.number, "safe": True, "hindrances": []}
    assert node.commands()("node", "restart-safe") == f"node {node.number} can be stopped\n"


def await_needed(node, why: str):
    wait_until(f"node {node.number} is needed", lambda: why in node.health("restart-safe")[1], SECONDS)
    assert node.health("restart-safe")[0] == 503
    told = node.ask("/v1/node/restart-safe")
    assert not told["safe"] and any(why in hindrance for hindrance in told["hindrances"]), told
    said = node.commands().refused("node", "restart-safe")
    assert said.startswith(f"node {node.number} is needed: ") and why in said, said


def await_leaders(cluster, wanted: dict[int, int]):
    """Waits until every node says that these lead."""
    nodes = cluster.running()
    wait_until(f"{wanted} lead", lambda: all(leaders(node.kafka, TOPIC) == wanted for node in nodes), SECONDS)


def test_a_node_says_whether_it_is_needed_and_gets_back_what_it_led(cluster):
    first = cluster.found()
    await_needed(first, "has no other replica")
    for number in [2, 3]:
        cluster.start(cluster.joiner(number))
    cluster.wait_settled()
    for node in cluster.running():
        await_safe(node)

    # A partition in each shard, of which each node is to lead one.
    admin = AdminClient({"bootstrap.servers": cluster.kafka})
    admin.create_topics([NewTopic(TOPIC, 3)])[TOPIC].result(SECONDS)
    wait_until("each is to lead", lambda: set(preferred(cluster.kafka, TOPIC).values()) == {1, 2, 3}, SECONDS)
    wanted = preferred(cluster.kafka, TOPIC)
    # At once, this time.
    admin.elect_leaders(ElectionType.PREFERRED).result(SECONDS)
    await_leaders(cluster, wanted)
    cluster.nodes[3].kill9()
    for node in cluster.running():
        await_needed(node, "has no quorum without this node: at hand are")
    wait_until("others lead", lambda: set(leaders(cluster.kafka, TOPIC).values()) == {1, 2}, SECONDS)
    cluster.nodes[3].start()
    cluster.wait_settled()
    for node in cluster.running():
        await_safe(node)
    assert preferred(cluster.kafka, TOPIC) == wanted
    await_leaders(cluster, wanted)
