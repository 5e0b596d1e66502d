"""Nodes whose machines lost power, as far as they know: what of their page cache was lost they cannot tell."""

from pathlib import Path

import pytest

from cluster import Node
from observation import metric, wait_until
from wire import crc32c

pytestmark = pytest.mark.python

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
IN_DOUBT = "mainstem_shard_in_doubt"
LOSSES = "mainstem_shard_possible_losses_total"
SECONDS = 60


def lose_power(node: Node):
    """Has a node that was killed find that its machine has booted since. Nothing else changes: the page cache is
    still there."""
    boot = int(BOOT_ID.read_text().strip().replace("-", ""), 16).to_bytes(16, "little")
    manifests = list(node.data.glob("shards/*/manifest"))
    assert manifests
    for manifest in manifests:
        content = manifest.read_bytes()
        copy = content[: len(content) // 2]
        assert copy * 2 == content and copy.count(boot) == 1
        changed = copy[:-4].replace(boot, bytes(byte ^ 0xFF for byte in boot))
        manifest.write_bytes(2 * (changed + crc32c(changed).to_bytes(4, "little")))


def test_one_in_doubt_is_told_by_the_others_and_all_in_doubt_go_on_with_the_longest_log(cluster, new_load):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    first, second, third = cluster.nodes.values()
    shards = [shard["shard"] for shard in first.ask("/v1/node")["shards"]]

    # The others know what there is: nothing can be lost.
    third.kill9()
    lose_power(third)
    third.start()
    cluster.wait_settled()
    assert "in doubt: acknowledged records may be missing here" in third.stderr.read_text()
    wait_until("it is out of doubt", lambda: metric(third, IN_DOUBT) == 0, SECONDS)
    assert sum(metric(node, LOSSES) for node in cluster.running()) == 0
    load.wait_for_more()

    cluster.kill_all()
    for node in [first, second, third]:
        lose_power(node)
        node.said.clear()
    seen = {node: node.stderr.stat().st_size for node in [first, second]}
    for node in [first, second]:
        node.launch()
    for node in [first, second]:
        # Two of three are most, but the third may have more.
        wait_until("it waits", lambda: b"not ready yet" in node.stderr.read_bytes()[seen[node] :], SECONDS)
        status, why = node.health()
        assert status == 503 and node.said == []
        for shard in shards:
            assert f"shard {shard} is in doubt: acknowledged records may be missing here" in why, why
        assert (metric(node, IN_DOUBT), metric(node, LOSSES)) == (len(shards), 0)
    third.start()
    cluster.wait_settled()
    for node in cluster.running():
        wait_until("it is ready", lambda: node.health() == (200, "ready\n"), SECONDS)
        assert metric(node, IN_DOUBT) == 0
    # Whoever leads says that something may be missing, although nothing is.
    for shard in shards:
        assert sum(metric(node, LOSSES, shard=str(shard)) for node in cluster.running()) >= 1
    load.wait_for_more()
    load.finish()
