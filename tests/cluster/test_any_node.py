"""Whoever asks one node by HTTP or by command is answered for the whole cluster, whoever leads what, also while
leaders are lost."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from admin_api import Api
from cluster import leaders
from observation import wait_until

pytestmark = pytest.mark.python

TOPIC = "wherever"
PARTITIONS = 6
KEYS = 60
GROUPS_OF_A_NODE = 4
SECONDS = 60
# More than a command that nobody reads from takes in, in records of a size.
LARGE_RECORDS = 400
LARGE_BYTES = 100_000


@pytest.fixture
def three(cluster):
    """Three nodes, each of which leads partitions of a topic."""
    cluster.form()
    cluster.nodes[1].commands()("topic", "create", TOPIC, "--partitions", str(PARTITIONS))
    wait_until("each leads some", lambda: set(leaders(cluster.kafka, TOPIC).values()) == {1, 2, 3}, SECONDS)
    return cluster


def keyed(of: int) -> list[str]:
    return [f"key-{number}:{of}-{number}" for number in range(KEYS)]


def names(topics: list[dict]) -> set[str]:
    return {topic["name"] for topic in topics}


def test_records_are_written_and_read_at_any_node(three):
    written = []
    for number, node in three.nodes.items():
        mainstem = node.commands()
        lines = keyed(number)
        mainstem("produce", TOPIC, "--key-separator", ":", "--quiet", stdin="\n".join(lines).encode())
        written += [line.split(":")[1] for line in lines]
        for asked in three.nodes.values():
            assert sorted(asked.commands()("consume", TOPIC).split()) == sorted(written)
    # Those of a key are in one partition, in order.
    for node in three.nodes.values():
        of_key = [line["value"] for line in node.commands().lines("consume", TOPIC) if line["key"] == "key-7"]
        assert of_key == ["1-7", "2-7", "3-7"]
    for node in three.nodes.values():
        api = Api(node)
        for partition in range(PARTITIONS):
            trim_and_wait(node, api, partition)
        assert api.get(f"/v1/topics/{TOPIC}/partitions/{PARTITIONS}/records").code == "unknown_partition"
        assert api.get("/v1/topics/missing/partitions/0/records").code == "unknown_topic"
        refused = api.post(f"/v1/topics/{TOPIC}/records", {"records": [{"value": "x", "partition": PARTITIONS}]})
        assert refused.code == "unknown_partition"
        api.close()


def trim_and_wait(node, api, partition: int):
    """A partition loses its first record, and a reader waits for the next one."""
    before = api.read(TOPIC, partition, offset="earliest", limit=1)
    path = f"/v1/topics/{TOPIC}/partitions/{partition}/records"
    trimmed = api.delete(path, before=before["start"] + 1)
    assert trimmed.value["start"] == before["start"] + 1, trimmed
    assert api.read(TOPIC, partition, offset="earliest", limit=1)["start"] == before["start"] + 1
    assert api.get(path, offset=before["start"]).code == "offset_out_of_range"
    with ThreadPoolExecutor(1) as pool:
        waiting = Api(node)
        found = pool.submit(waiting.read, TOPIC, partition, offset=before["end"], wait_ms=30_000)
        [(of, at)] = api.write(TOPIC, {"value": "awaited", "partition": partition})
        assert (of, at) == (partition, before["end"])
        assert [record["value"] for record in found.result()["records"]] == ["awaited"]
        waiting.close()


def test_a_record_that_is_refused_is_named_wherever_it_goes(three):
    three.nodes[1].commands()("topic", "create", "small", "--partitions", "6", "--config", "max.message.bytes=1000")
    records = [{"value": "x" * (5000 if number == 7 else 10), "partition": number % 6} for number in range(12)]
    for node in three.nodes.values():
        api = Api(node)
        answer = api.post("/v1/topics/small/records", {"records": records})
        told = answer.value["records"]
        # The other record of its partition does not fit with it, and is written alone.
        failed = [(number, record["error"]["code"]) for number, record in enumerate(told) if "error" in record]
        assert (answer.status, answer.value["failed"], failed) == (200, 1, [(7, "record_too_large")])
        api.close()


def test_groups_are_listed_described_moved_and_removed_at_any_node(three):
    first = three.nodes[1].commands()
    first("produce", TOPIC, "--key-separator", ":", "--quiet", stdin="\n".join(keyed(1)).encode())
    groups = []
    for number, node in three.nodes.items():
        for nth in range(GROUPS_OF_A_NODE):
            groups.append(f"group-{number}-{nth}")
            node.commands()("group", "reset", groups[-1], "--topic", TOPIC, "--to-earliest", "--create", "--execute")
    coordinators = set()
    for node in three.nodes.values():
        mainstem = node.commands()
        assert [group["group"] for group in mainstem.json("group", "list")] == groups
        assert mainstem.json("group", "list", "--state", "stable") == []
        for group in groups:
            about = mainstem.json("group", "describe", group)
            coordinators.add(about["coordinator"])
            assert len(about["offsets"]) == PARTITIONS
            assert sum(offset["lag"] for offset in about["offsets"]) == KEYS
            assert all(offset["lag_seconds"] is not None for offset in about["offsets"])
        assert mainstem.refused("group", "describe", "group-1-9").startswith("there is no group group-1-9, did you mean")
    assert len(coordinators) > 1, "the test means little where one node coordinates all of them"
    page_by_page(three, groups)
    for number, node in three.nodes.items():
        mainstem = node.commands()
        for group in groups[number - 1 :: 3]:
            moved = mainstem.json("group", "reset", group, "--all-topics", "--to-latest", "--execute")
            assert sum(offset["new"] - offset["old"] for offset in moved["offsets"]) == KEYS
            back = mainstem.json("group", "reset", group, "--all-topics", "--by-duration", "1h")
            assert [offset["new"] for offset in back["offsets"]] == [offset["start"] for offset in back["offsets"]]
    for node in three.nodes.values():
        for group in groups:
            assert sum(offset["lag"] for offset in node.commands().json("group", "describe", group)["offsets"]) == 0
    for number, node in three.nodes.items():
        api = Api(node)
        forgotten = api.delete(f"/v1/groups/{groups[number - 1]}/offsets/{TOPIC}", partition=0)
        assert forgotten.value["partitions"] == [0]
        api.close()
    for number, node in three.nodes.items():
        node.commands()("group", "delete", "--yes", *groups[number - 1 :: 3])
    assert [node.commands().json("group", "list") for node in three.nodes.values()] == [[], [], []]


def page_by_page(three, groups: list[str]):
    for node in three.nodes.values():
        api = Api(node)
        found, after = [], {}
        while after is not None:
            page = api.get("/v1/groups", prefix="group-", limit=5, **after).value
            assert page["shards_left_out"] == []
            found += [group["group"] for group in page["groups"]]
            after = {"after": page["next"]} if page["next"] is not None else None
        assert found == groups
        api.close()


def test_topics_are_made_described_changed_and_removed_at_any_node(three):
    for number, node in three.nodes.items():
        mainstem = node.commands()
        name = f"of-{number}"
        mainstem("topic", "create", name, "--partitions", "3")
        for asked in three.nodes.values():
            wait_until("it is known", lambda: name in names(asked.commands().json("topic", "list")), SECONDS)
        mainstem("produce", name, "--quiet", stdin=b"a\nb\nc\n")
        mainstem("topic", "alter", name, "--partitions", "5", "--config", "retention.ms=100000")
        wait_until("all are led", lambda: -1 not in leaders(node.kafka, name).values(), SECONDS)
        assert len(mainstem.json("topic", "describe", name)["partitions"]) == 5
        assert sorted(line["value"] for line in mainstem.lines("topic", "peek", name, "-n", "3")) == ["a", "b", "c"]
        mainstem("topic", "delete", name, "--yes")
        assert mainstem.refused("topic", "describe", name).startswith(f"there is no topic {name}")


def lines_until(follower, wanted: set[str]) -> list[str]:
    """What a command prints until it has printed all of these."""
    seen = []
    while not wanted <= set(seen):
        line = follower.stdout.readline().decode().strip()
        assert line, follower.stderr.read()
        seen.append(line)
    return seen


def write_to_all(mainstem, what: str) -> set[str]:
    """A record in each partition, each acknowledged."""
    values = {f"{what}-{partition}" for partition in range(PARTITIONS)}
    for partition in range(PARTITIONS):
        mainstem("produce", TOPIC, "--partition", str(partition), "--quiet", stdin=f"{what}-{partition}\n".encode())
    return values


def test_following_goes_on_when_leaders_and_the_node_that_is_asked_are_lost(three):
    asked, victim = three.nodes[1], three.nodes[2]
    follower = asked.commands().start("consume", TOPIC, "--follow")
    try:
        lines_until(follower, write_to_all(asked.commands(), "first"))
        victim.kill9()
        # A leader is replaced while it is waited for.
        lines_until(follower, write_to_all(asked.commands(), "second"))
        assert sorted(asked.commands()("consume", TOPIC).split()) == sorted(
            f"{what}-{partition}" for what in ["first", "second"] for partition in range(PARTITIONS)
        )
        three.start_all()
        three.wait_settled()
        asked.kill9()
        lines_until(follower, write_to_all(victim.commands(), "third"))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(SECONDS) == -signal.SIGINT
        assert f"http://{asked.http}" in (said := follower.stderr.read().decode()) and "going on at" in said
    finally:
        follower.kill()
        follower.wait(SECONDS)


def test_what_is_read_to_its_end_goes_on_at_another_node(three):
    asked = three.nodes[1]
    lines = [f"{number:08}{'x' * LARGE_BYTES}" for number in range(LARGE_RECORDS)]
    asked.commands()("produce", TOPIC, "--quiet", stdin="\n".join(lines).encode())
    # Unbuffered: what is read beyond the first line here would be missing below.
    reader = asked.commands().start("consume", TOPIC, bufsize=0)
    try:
        first = reader.stdout.readline()
        # It is far from the end: it reads no faster than is read from it.
        asked.kill9()
        rest, said = reader.communicate(timeout=SECONDS)
        assert sorted((first + rest).decode().split()) == lines
        assert (reader.returncode, "going on at" in said.decode()) == (0, True), said
    finally:
        reader.kill()
        reader.wait(SECONDS)
