"""Apache Kafka's command-line tools do what they do with Apache Kafka, and so does Kafka Streams.

By their main classes, in the process of the Java agent: starting one for each takes longer.
"""

import json
import re
import subprocess
import threading
from collections import Counter

import pytest

from group_member import SESSION_SECONDS, wait_until
from reader import by_offset_when

pytestmark = [
    pytest.mark.java,
    pytest.mark.parametrize("shards", [1, 7], ids="{} shards".format),
    pytest.mark.parametrize("client", ["kafka-tools"]),
]

TOOLS = "org.apache.kafka.tools."
LINES = [f"line {number}" for number in range(200)]


class Tools:
    """Runs tools against the broker of a test."""

    def __init__(self, agent, broker, java_tool=None):
        self.agent = agent
        self.broker = broker
        self.java_tool = java_tool

    def alone(self, main: str, *arguments: str) -> list[str]:
        """In a process of its own, for a tool that says the last things while that ends."""
        return self.java_tool(TOOLS + main, ["--bootstrap-server", self.broker.kafka, *arguments]).decode().splitlines()

    def run(self, main: str, *arguments: str, lines: list[str] = (), code: int = 0) -> list[str]:
        """The lines on standard output of a tool that ends with that code."""
        main = main if main.startswith("kafka.") else TOOLS + main
        given = "".join(f"{line}\n" for line in lines)
        said = self.agent.ask("tool", self.broker.kafka, main=main, arguments=list(arguments), input=given)
        everything = f"{main} ended with {said['code']}:\n{said['output'][-4000:]}\n{said['complaints'][-8000:]}"
        assert said["code"] == code, everything
        return said["output"].splitlines()

    def __call__(self, main: str, *arguments: str, **more) -> list[str]:
        return self.run(main, "--bootstrap-server", self.broker.kafka, *arguments, **more)

    def topics(self, *arguments: str, **more) -> list[str]:
        return self("TopicCommand", *arguments, **more)

    def groups(self, *arguments: str, **more) -> list[str]:
        return self("consumer.group.ConsumerGroupCommand", *arguments, **more)

    def configs(self, *arguments: str, **more) -> list[str]:
        return self("kafka.admin.ConfigCommand", *arguments, **more)

    def write(self, topic: str, lines: list[str], *arguments: str):
        self("ConsoleProducer", "--topic", topic, *arguments, lines=lines)

    def read(self, topic: str, count: int, *arguments: str) -> list[str]:
        arguments = ["--topic", topic, "--max-messages", str(count), "--timeout-ms", "20000", *arguments]
        return self("consumer.ConsoleConsumer", *arguments)

    def offsets(self, topic: str, time: str = "-1") -> dict[int, int]:
        found = (line.split(":") for line in self("GetOffsetShell", "--topic", topic, "--time", time))
        return {int(partition): int(offset) for _, partition, offset in found}


@pytest.fixture
def tools(broker, client, client_agent, java_tool):
    return Tools(client_agent("java"), broker, java_tool)


def scenario(name: str):
    return pytest.mark.scenario(name)


@scenario("kafka-topics: create, list, describe, alter, delete")
def test_topics(tools):
    tools.topics("--create", "--topic", "made", "--partitions", "3", "--config", "retention.ms=1000000")
    tools.topics("--create", "--topic", "made", code=1)
    tools.topics("--create", "--topic", "made", "--if-not-exists")
    tools.topics("--create", "--topic", "other")
    assert tools.topics("--list") == ["made", "other"]
    head, *partitions = tools.topics("--describe", "--topic", "made")
    assert re.search(r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=1000000", head), head
    assert len(partitions) == 3
    for number, line in enumerate(partitions):
        found = re.search(r"Topic: made\s+Partition: (\d+)\s+Leader: (\d+)\s+Replicas: (\d+)\s+Isr: (\d+)", line)
        partition, leader, replicas, in_sync = found.groups()
        assert int(partition) == number and leader == replicas == in_sync
    assert tools.topics("--describe", "--under-replicated-partitions") == []
    tools.topics("--alter", "--topic", "made", "--partitions", "5")
    tools.topics("--alter", "--topic", "made", "--partitions", "4", code=1)
    assert len(tools.topics("--describe", "--topic", "made")) == 6
    tools.topics("--delete", "--topic", "made")
    assert tools.topics("--list") == ["other"]


@scenario("kafka-console-producer and kafka-console-consumer")
def test_console(tools):
    tools.topics("--create", "--topic", "lines", "--partitions", "3")
    keyed = [f"{number % 10}\t{line}" for number, line in enumerate(LINES)]
    properties = ["parse.key=true", "key.separator=\t"]
    tools.write("lines", keyed, *(word for name in properties for word in ["--reader-property", name]))
    printed = ["--formatter-property", "print.key=true", "--formatter-property", "print.partition=true"]
    got = [line.split("\t") for line in tools.read("lines", 200, "--from-beginning", *printed)]
    assert sorted(line for _, _, line in got) == sorted(LINES)
    assert all(int(line.split()[1]) % 10 == int(key) for _, key, line in got)
    assert all(len({where for where, key, _ in got if key == wanted}) == 1 for wanted in map(str, range(10)))
    # From an offset, and by a group that goes on where it was.
    tools.topics("--create", "--topic", "single")
    tools.write("single", LINES, "--compression-codec", "lz4")
    assert tools.read("single", 50, "--partition", "0", "--offset", "120") == LINES[120:170]
    assert tools.read("single", 80, "--group", "console", "--from-beginning") == LINES[:80]
    assert tools.read("single", 120, "--group", "console") == LINES[80:]


@scenario("kafka-verifiable-producer and kafka-verifiable-consumer")
def test_verifiable(tools):
    tools.topics("--create", "--topic", "verified", "--partitions", "2")
    said = [json.loads(line) for line in tools.alone(
        "VerifiableProducer", "--topic", "verified", "--max-messages", "300", "--acks", "-1"
    )]
    acknowledged = [line for line in said if line["name"] == "producer_send_success"]
    assert {int(line["value"]) for line in acknowledged} == set(range(300))
    assert said[-1]["name"] == "tool_data" and said[-1]["sent"] == said[-1]["acked"] == 300
    said = [json.loads(line) for line in tools.alone(
        "VerifiableConsumer", "--topic", "verified", "--group-id", "verifiers", "--max-messages", "300",
        "--reset-policy", "earliest",
    )]
    assert sum(line["count"] for line in said if line["name"] == "records_consumed") == 300
    commits = [line for line in said if line["name"] == "offsets_committed"]
    assert commits and all(line["success"] for line in commits)


class Verifiable:
    """A verifiable producer or consumer in a process of its own, which says in lines of JSON what happens to it."""

    def __init__(self, command: list[str], folder, name: str):
        self.events: list[dict] = []
        self.complaints = folder / f"{name}.stderr"
        with open(self.complaints, "wb") as complaints:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self.process.stdout:
            # One that is killed may not end its last.
            if line.endswith("\n"):
                self.events.append(json.loads(line))

    @property
    def failure(self) -> str | None:
        """What it complained of, should it have ended."""
        return None if self.process.poll() is None else self.complaints.read_text()[-4000:]

    def all(self, name: str) -> list[dict]:
        return [event for event in list(self.events) if event["name"] == name]

    def owned(self) -> set[int]:
        """The partitions that it has now."""
        owned = set()
        for event in list(self.events):
            partitions = {place["partition"] for place in event.get("partitions", [])}
            if event["name"] == "partitions_assigned":
                owned |= partitions
            elif event["name"] == "partitions_revoked":
                owned -= partitions
        return owned

    def read(self) -> list[tuple[int, int, str]]:
        """Partition, offset and value of every record that it consumed, in the order of reading."""
        return [(event["partition"], event["offset"], event["value"]) for event in self.all("record_data")]

    def committed(self) -> dict[int, int]:
        """Where to go on from, by partition."""
        commits = self.all("offsets_committed")
        assert all(commit["success"] for commit in commits), commits
        return {place["partition"]: place["offset"] for commit in commits for place in commit["offsets"]}

    def ended(self) -> int:
        """Its exit code, once it has said everything."""
        code = self.process.wait(60)
        self._thread.join(10)
        return code

    def kill(self):
        self.process.kill()
        self.ended()


def test_verifiable_consumers_share_and_take_over(tools, java_command, tmp_path):
    """Two in a group, one of which is killed while records come: what all of them tell accounts for every record."""
    partitions, count = 4, 2000
    tools.topics("--create", "--topic", "verified", "--partitions", str(partitions))
    place = ["--bootstrap-server", tools.broker.kafka, "--topic", "verified"]
    started = []

    def start(name: str, main: str, *arguments: str) -> Verifiable:
        started.append(Verifiable([*java_command(TOOLS + main), *place, *arguments], tmp_path, name))
        return started[-1]

    group = ["--group-id", "verifiers", "--session-timeout", str(SESSION_SECONDS * 1000), "--reset-policy", "earliest"]
    try:
        victim, survivor = [start(name, "VerifiableConsumer", *group, "--verbose") for name in ["victim", "survivor"]]
        everything = set(range(partitions))

        def is_shared() -> bool:
            mine, theirs = victim.owned(), survivor.owned()
            return len(mine) == len(theirs) == 2 and mine | theirs == everything

        wait_until("a fair share", is_shared, started, seconds=60)
        shares = victim.owned(), survivor.owned()
        producer = start(
            "producer", "VerifiableProducer", "--max-messages", str(count), "--throughput", "400", "--acks", "-1",
            "--repeating-keys", "100",
        )
        reading = [victim, survivor]
        enough = count // 10
        wait_until("records for both", lambda: all(len(one.read()) > enough for one in reading), reading, seconds=60)
        victim.kill()
        assert len(producer.all("producer_send_success")) < count, "killed while records come"
        assert producer.ended() == 0
        acknowledged = {
            (event["partition"], event["offset"]): event["value"] for event in producer.all("producer_send_success")
        }
        assert sorted(map(int, acknowledged.values())) == list(range(count))

        def read() -> dict[tuple[int, int], str]:
            return {(partition, offset): value for one in reading for partition, offset, value in one.read()}

        wait_until("a sole owner", lambda: survivor.owned() == everything, [survivor], seconds=60)
        wait_until("all records", lambda: len(read()) == count, [survivor], seconds=60)
        wait_until("commits", lambda: sum(survivor.committed().values()) == count, [survivor])
        survivor.process.terminate()
        survivor.ended()
    finally:
        for one in started:
            one.kill()
    assert survivor.events[-1]["name"] == "shutdown_complete"
    assert read() == acknowledged
    for one, share in zip(reading, shares):
        own = [(partition, offset) for partition, offset, _ in one.read()]
        assert len(own) == len(set(own)), "nobody reads a record twice"
        assert {partition for partition, _ in own} == (share if one is victim else everything)
    # Again came only what the one that was killed had not committed, as far as it could tell.
    committed = victim.committed()
    twice = {(partition, offset) for partition, offset, _ in victim.read()} & {
        (partition, offset) for partition, offset, _ in survivor.read()
    }
    assert all(offset >= committed.get(partition, 0) for partition, offset in twice), (committed, twice)


def rows(lines: list[str]) -> list[dict[str, str]]:
    """A table with a head, as tools print it."""
    table = [line.split() for line in lines if line.strip()]
    head = next(number for number, words in enumerate(table) if words[0] == "GROUP")
    return [dict(zip(table[head], words)) for words in table[head + 1 :]]


@scenario("kafka-consumer-groups: list, describe, reset and delete offsets, delete")
def test_groups(tools, broker):
    tools.topics("--create", "--topic", "shared", "--partitions", "2")
    tools.agent.ask("produce", broker.kafka, topic="shared", codec="none", records=[
        {"partition": number % 2, "key": None, "value": "QQ==", "headers": [], "timestamp": None} for number in range(20)
    ])
    member = tools.agent.join("member", broker.kafka, "busy", "shared")
    wait_until("commits", lambda: member.committed == {0: 10, 1: 10}, [member])
    assert len(tools.read("shared", 4, "--group", "idle", "--from-beginning")) == 4
    assert sorted(tools.groups("--list")) == ["busy", "idle"]
    assert tools.groups("--list", "--state", "stable")[1].split() == ["busy", "Stable"]
    described = rows(tools.groups("--describe", "--group", "busy"))
    assert {row["PARTITION"]: (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) for row in described} == {
        "0": ("10", "10", "0"), "1": ("10", "10", "0"),
    }
    (state,) = rows(tools.groups("--describe", "--group", "busy", "--state"))
    assert "Stable" in state.values()
    (one,) = rows(tools.groups("--describe", "--group", "busy", "--members"))
    assert one["#PARTITIONS"] == "2"
    # Not while somebody is there.
    reset = ["--reset-offsets", "--group", "busy", "--topic", "shared", "--execute"]
    assert "the current state is Stable" in "\n".join(tools.groups(*reset, "--to-earliest"))
    assert "Error: Deletion of some consumer groups failed" in "\n".join(tools.groups("--delete", "--group", "busy"))
    tools.agent.leave(broker.kafka, "member")

    def committed(group: str) -> dict[str, str]:
        return {row["PARTITION"]: row["CURRENT-OFFSET"] for row in rows(tools.groups("--describe", "--group", group))}

    for how, expected in [(["--to-earliest"], "0"), (["--shift-by", "3"], "3"), (["--to-latest"], "10")]:
        assert {row["NEW-OFFSET"] for row in rows(tools.groups(*reset, *how))} == {expected}
        assert committed("busy") == {"0": expected, "1": expected}
    # Of one partition only.
    tools.groups("--delete-offsets", "--group", "busy", "--topic", "shared:1")
    assert committed("busy") == {"0": "10"}
    tools.groups("--delete", "--group", "busy", "--group", "idle")
    assert tools.groups("--list") == []


@scenario("kafka-configs: describe, alter, delete")
def test_configs(tools):
    tools.topics("--create", "--topic", "set")
    topic = ["--entity-type", "topics", "--entity-name", "set"]

    def settings(*more) -> dict[str, str]:
        lines = tools.configs("--describe", *topic, *more)
        return dict(line.split()[0].split("=", 1) for line in lines if line.startswith("  "))

    assert settings() == {}
    defaults = settings("--all")
    assert defaults["cleanup.policy"] == "delete" and defaults["retention.ms"] == "604800000"
    tools.configs("--alter", *topic, "--add-config", "retention.ms=5000,cleanup.policy=[compact,delete]")
    assert settings() == {"retention.ms": "5000", "cleanup.policy": "compact,delete"}
    tools.configs("--alter", *topic, "--delete-config", "retention.ms")
    assert settings() == {"cleanup.policy": "compact,delete"}
    tools.configs("--alter", *topic, "--add-config", "no.such.setting=1", code=1)
    tools.configs("--alter", *topic, "--add-config", "retention.ms=soon", code=1)
    assert settings() == {"cleanup.policy": "compact,delete"}
    tools.configs("--alter", *topic, "--delete-config", "cleanup.policy")
    assert settings("--all") == defaults
    (node,) = {re.search(r"Leader: (\d+)", line).group(1) for line in tools.topics("--describe", "--topic", "set")[1:]}
    broker = tools.configs("--describe", "--entity-type", "brokers", "--entity-name", node, "--all")
    assert any(re.match(r"\s+log.retention.(hours|ms)=", line) for line in broker)


@scenario("kafka-producer-perf-test and kafka-consumer-perf-test")
def test_performance(tools, broker):
    tools.topics("--create", "--topic", "fast", "--partitions", "2")
    count = 20_000
    for codec in ["none", "zstd"]:
        said = tools.run(
            "ProducerPerformance", "--topic", "fast", "--num-records", str(count), "--record-size", "100",
            "--throughput", "-1", "--bootstrap-server", broker.kafka,
            "--command-property", f"compression.type={codec}",
        )
        assert said[-1].startswith(f"{count} records sent, "), said
    assert sum(tools.offsets("fast").values()) == 2 * count
    head, read = tools("ConsumerPerformance", "--topic", "fast", "--num-records", str(2 * count))[-2:]
    found = dict(zip(head.split(", "), read.split(", ")))
    assert int(found["data.consumed.in.nMsg"]) >= 2 * count


@scenario("kafka-get-offsets and kafka-delete-records")
def test_offsets(tools, tmp_path):
    tools.topics("--create", "--topic", "cut", "--partitions", "2")
    tools.write("cut", LINES[:50])
    ends = tools.offsets("cut")
    assert sum(ends.values()) == 50
    assert tools.offsets("cut", "earliest") == {0: 0, 1: 0}
    full = max(ends, key=ends.get)
    assert tools.offsets("cut", "max-timestamp")[full] <= ends[full] - 1
    wanted = {"partitions": [{"topic": "cut", "partition": full, "offset": 10}], "version": 1}
    (tmp_path / "cut.json").write_text(json.dumps(wanted))
    said = tools("DeleteRecordsCommand", "--offset-json-file", str(tmp_path / "cut.json"))
    assert any(re.search(rf"cut-{full}\s+low_watermark: 10", line) for line in said), said
    assert tools.offsets("cut", "earliest")[full] == 10
    assert tools.offsets("cut") == ends
    read = tools.read("cut", 1, "--partition", str(full), "--offset", "earliest")
    printed = tools.read("cut", 1, "--partition", str(full), "--offset", "10")
    assert read == printed


@scenario("kafka-log-dirs, kafka-broker-api-versions, kafka-groups, kafka-cluster")
def test_about_the_broker(tools):
    tools.topics("--create", "--topic", "stored", "--partitions", "2")
    tools.write("stored", LINES)
    (said,) = [line for line in tools("LogDirsCommand", "--describe", "--topic-list", "stored") if line.startswith("{")]
    (node,) = json.loads(said)["brokers"]
    (folder,) = node["logDirs"]
    assert folder["error"] is None
    sizes = {partition["partition"]: partition["size"] for partition in folder["partitions"]}
    assert sizes.keys() == {"stored-0", "stored-1"}
    assert sum(sizes.values()) > sum(map(len, LINES))
    versions = tools("BrokerApiVersionsCommand")
    assert any(line.strip().startswith("Produce(0):") for line in versions)
    assert not any("UNSUPPORTED" in line and re.match(r"\s+(Fetch|Metadata|Produce)\(", line) for line in versions)
    tools.read("stored", 1, "--group", "readers", "--from-beginning")
    assert [line.split()[:3] for line in tools("GroupsCommand", "--list")[1:]] == [["readers", "Classic", "consumer"]]
    assert re.match(r"Cluster ID: \S+", tools.run("ClusterTool", "cluster-id", "--bootstrap-server", tools.broker.kafka)[0])


@pytest.mark.python
@scenario("Kafka Streams: a table of a compacted topic")
def test_streams(tools, broker, tmp_path):
    broker.options = ["--compaction-seconds", "1"]
    broker.restart()
    configs = ["--config", "cleanup.policy=compact", "--config", "min.cleanable.dirty.ratio=0.01"]
    tools.topics("--create", "--topic", "rows", "--partitions", "1", *configs)
    tools.topics("--create", "--topic", "counts", "--partitions", "1")
    properties = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=="]
    rows = [f"key {number % 50}=value {number // 50 + number % 3}" for number in range(500)]
    tools.write("rows", [*rows, "last=done"], *properties)
    expected = dict(row.split("=") for row in [*rows, "last=done"])

    def tables(application: str) -> dict:
        return tools.agent.ask(
            "table", broker.kafka, topic="rows", counts="counts", size=len(expected), application=application,
            folder=str(tmp_path / application),
        )

    def await_compaction():
        """Until the topic has nothing else than the table."""
        found = by_offset_when(broker, "rows", lambda found: len(found) <= len(expected))
        assert {key.decode(): value.decode() for key, value in found.values()} == expected
        assert max(found) >= len(rows), "offsets stay"

    await_compaction()
    assert tables("first") == {"table": expected, "counts": dict(Counter(expected.values()))}
    # The application remembers its place; one that starts anew reads the whole topic.
    tools.write("rows", ["key 0=changed"], *properties)
    expected["key 0"] = "changed"
    await_compaction()
    for application in ["first", "second"]:
        changed = {"table": expected, "counts": dict(Counter(expected.values()))}
        wait_until(f"the change in {application}", lambda: tables(application) == changed)
    made = {"first-counts-changelog", "first-by-value-repartition"}
    assert made <= set(tools.topics("--list"))
    printed = tools.read("counts", 1, "--from-beginning", "--formatter-property", "print.key=true")
    assert re.fullmatch(r"(value \d+|done)\t\d+", printed[0])
