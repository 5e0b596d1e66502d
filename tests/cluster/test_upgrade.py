"""Nodes of two builds side by side: the newer knows one version more of what nodes write for one another.

The newer build is this tree's with the feature `next-version`.
"""

import pytest

from environment import setting
from observation import wait_until

pytestmark = pytest.mark.python


def versions(cluster) -> tuple[set[int], dict[int, int]]:
    """What is in force, as the nodes know it, and the newest version of each."""
    views = [node.ask("/v1/nodes") for node in cluster.running()]
    newest = {member["node"]: member["cluster_version_max"] for member in views[0]["nodes"]}
    return {view["cluster_version"] for view in views}, newest


@pytest.mark.timeout(600)
def test_nodes_are_upgraded_one_after_the_other_under_load(cluster, new_load):
    cluster.form()
    [old], _ = versions(cluster)
    load = new_load()
    upgraded = {}
    for number, node in cluster.nodes.items():
        load.wait_for_more()
        # Until the last has been upgraded, the old builds have to read what the new ones write.
        assert versions(cluster) == ({old}, {other: old + (other in upgraded) for other in cluster.nodes})
        node.stop()
        node.program = setting("MAINSTEM_NEXT_BIN")
        node.start()
        cluster.wait_settled()
        upgraded[number] = node
        wait_until("the node's version", lambda: versions(cluster)[1][number] == old + 1)
    wait_until("the version in force", lambda: versions(cluster)[0] == {old + 1})
    load.wait_for_more()
    # Replicas whose nodes are started again find the new version in their checkpoints and journals.
    cluster.kill_all()
    cluster.start_all()
    cluster.wait_settled()
    assert versions(cluster)[0] == {old + 1}
    load.wait_for_more()
    load.finish()
    assert load.history.errors == []


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
