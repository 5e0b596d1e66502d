"""Configuration as somebody who runs the program meets it: a file, the environment, flags, and what is said."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
)

import wire
from broker import FREE_PORTS, OFF
from environment import setting
from observation import wait_until

pytestmark = pytest.mark.python

SECONDS = 20
LISTENING = "0A"


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the program to its end in `folder`, where relative paths begin."""
    others = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
    given = {"cwd": folder, "env": others | environment, "capture_output": True, "text": True, "timeout": SECONDS}
    return subprocess.run([setting("MAINSTEM_BIN"), *arguments], **given)


def refused(folder: Path, *arguments: str, **environment: str) -> str:
    """What the program says that does not start because of its configuration."""
    done = run(folder, *arguments, **environment)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert not (folder / "data").exists(), "nothing is begun with a configuration that is wrong"
    return done.stderr


def rows(table: str) -> dict[str, tuple[str, str]]:
    """Value and source by key."""
    header, *lines = table.splitlines()
    assert header.split() == ["key", "value", "source"]
    return {key: (value, source) for key, value, source in (line.split(maxsplit=2) for line in lines)}


def listening_ports(pid: int) -> set[int]:
    """The TCP ports that a process listens on, as the system knows them."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    ports = set()
    for name in ["tcp", "tcp6"]:
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in inodes:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


def log_of(broker) -> list[dict]:
    """Every line of a log that is JSON."""
    return [json.loads(line) for line in broker.stderr.read_text().splitlines()]


FILE = """\
# Where this node keeps what it has.
data-dir = "from the file"
topics.partitions = 6
rack = "r1"

[listen]
kafka = "127.0.0.1:1"
http = "127.0.0.1:2"

[cache]
bytes = "64MiB"

[topics.defaults]
retention.ms = 3600000
cleanup.policy = "compact,delete"
min.cleanable.dirty.ratio = 0.25
"""
ENVIRONMENT = {
    "MAINSTEM_LISTEN_HTTP": "127.0.0.1:3",
    "MAINSTEM_NODE_ID": "7",
    "MAINSTEM_TOPICS_PARTITIONS": "12",
    "MAINSTEM_TOPICS_DEFAULTS_RETENTION_MS": "86400000",
    "RUST_LOG": "warn",
}
FLAGS = ["--listen", "http=off", "--log-format", "json", "--topics-defaults", "max.message.bytes=2000000"]
IN_FORCE = {
    "data-dir": ("from the file", "file my.toml:2"),
    "listen.kafka": ("127.0.0.1:1", "file my.toml:7"),
    "listen.http": ("off", "flag --listen"),
    "listen.peer": ("127.0.0.1:9190", "default"),
    "advertise.kafka": ("auto", "default"),
    "advertise.peer": ("auto", "default"),
    "node-id": (7, "environment MAINSTEM_NODE_ID"),
    "join": ("off", "default"),
    "rack": ("r1", "file my.toml:4"),
    "cluster.secret-file": ("off", "default"),
    "cluster.certificate-file": ("off", "default"),
    "cluster.key-file": ("off", "default"),
    "cluster.authority-file": ("off", "default"),
    "cluster.catch-up-bytes-per-second": (64 << 20, "default"),
    "cluster.shed": (True, "default"),
    "replication": (3, "default"),
    "shards": ("auto", "default"),
    "topics.auto-create": (True, "default"),
    "topics.partitions": (12, "environment MAINSTEM_TOPICS_PARTITIONS"),
    "cache.bytes": (64 << 20, "file my.toml:11"),
    "compaction.seconds": (15, "default"),
    "groups.offsets-retention-seconds": (604800, "default"),
    "limits.connections": ("auto", "default"),
    "limits.memory": ("auto", "default"),
    "limits.stall-seconds": (60, "default"),
    "limits.idle-seconds": (600, "default"),
    "log.format": ("json", "flag --log-format"),
    "log.level": ("warn", "environment RUST_LOG"),
    "topics.defaults.cleanup.policy": ("compact,delete", "file my.toml:15"),
    "topics.defaults.compression.type": ("producer", "default"),
    "topics.defaults.delete.retention.ms": (86_400_000, "default"),
    "topics.defaults.flush.messages": (2**63 - 1, "default"),
    "topics.defaults.mainstem.durability": ("quorum-fsync", "default"),
    "topics.defaults.max.compaction.lag.ms": (2**63 - 1, "default"),
    "topics.defaults.max.message.bytes": (2_000_000, "flag --topics-defaults"),
    "topics.defaults.message.timestamp.after.max.ms": (3_600_000, "default"),
    "topics.defaults.message.timestamp.before.max.ms": (2**63 - 1, "default"),
    "topics.defaults.message.timestamp.type": ("CreateTime", "default"),
    "topics.defaults.min.cleanable.dirty.ratio": (0.25, "file my.toml:16"),
    "topics.defaults.min.compaction.lag.ms": (0, "default"),
    "topics.defaults.retention.bytes": (-1, "default"),
    "topics.defaults.retention.ms": (86_400_000, "environment MAINSTEM_TOPICS_DEFAULTS_RETENTION_MS"),
}


@pytest.mark.parametrize("named", ["flag", "environment"])
def test_config_shows_what_is_in_force_and_where_it_came_from(tmp_path, named):
    (tmp_path / "my.toml").write_text(FILE)
    flags, environment = list(FLAGS), dict(ENVIRONMENT)
    if named == "flag":
        flags += ["--config", "my.toml"]
        environment["MAINSTEM_CONFIG"] = "another.toml"
    else:
        environment["MAINSTEM_CONFIG"] = "my.toml"
    done = run(tmp_path, "config", "--json", *flags, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        key: {"value": value, "source": source} for key, (value, source) in IN_FORCE.items()
    }
    done = run(tmp_path, "config", *flags, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    # A path with a space ends the columns earlier than it looks.
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("data-dir ")]
    assert line.removeprefix("data-dir").lstrip().startswith("from the file ")
    shown = rows(done.stdout.replace("from the file", "from-the-file"))
    assert list(shown) == list(IN_FORCE)
    for key, (_, source) in IN_FORCE.items():
        assert shown[key][1].strip() == source
    assert shown["cache.bytes"][0] == "64MiB"
    assert shown["topics.auto-create"][0] == "true"
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"], "it only looks"


def test_without_configuration_no_file_is_read(tmp_path):
    (tmp_path / "mainstem.toml").write_text("shards = 1")
    done = run(tmp_path, "config")
    assert done.returncode == 0
    shown = rows(done.stdout)
    assert {source for _, source in shown.values()} == {"default"}
    assert shown["data-dir"][0] == "data"
    assert shown["listen.kafka"][0] == "127.0.0.1:9092"
    assert shown["listen.http"][0] == "127.0.0.1:8080"
    assert shown["listen.peer"][0] == "127.0.0.1:9190"


def test_a_broker_runs_as_file_environment_and_flags_say(new_broker, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("topics.partitions = 3\nshards = 2\n[listen]\nkafka = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\npeer = 'off'\n")
    new_broker.addresses = {}
    new_broker.options = ["--config", str(file), "--log-format", "json"]
    new_broker.environment = {"MAINSTEM_SHARDS": "3"}
    new_broker.start()
    assert new_broker.addresses.keys() == {"kafka", "http"}
    with wire.Connection(new_broker.kafka) as connection:
        assert wire.metadata(connection, ["made"], True) == {"made": (0, 3)}
        # Whoever makes a topic and leaves the number to the broker gets as many.
        admin = AdminClient({"bootstrap.servers": new_broker.kafka})
        asked = NewTopic("asked-for", num_partitions=-1, replication_factor=-1)
        admin.create_topics([asked])["asked-for"].result(SECONDS)
        assert wire.metadata(connection, ["asked-for"], False) == {"asked-for": (0, 3)}
    (started,) = [line for line in log_of(new_broker) if line["message"] == "started"]
    assert started["shards"] == 3


def test_serving_needs_no_command(tmp_path):
    """The least that can be typed: the file says all the rest."""
    (tmp_path / "my.toml").write_text("listen = { kafka = '127.0.0.1:0', http = 'off', peer = 'off' }\ndata-dir = 'here'\n")
    command = [setting("MAINSTEM_BIN"), "--config", "my.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            word, listener = process.stdout.readline().split()
            assert word == "ready" and listener.startswith("kafka=127.0.0.1:")
            assert (tmp_path / "here").is_dir()
        finally:
            process.terminate()
        assert process.wait(SECONDS) == 0


def test_a_listener_that_is_off_has_no_socket(new_broker):
    new_broker.addresses["http"] = OFF
    new_broker.start()
    assert new_broker.said == [f"ready kafka={new_broker.kafka}\n"]
    assert listening_ports(new_broker.pid) == {port_of(new_broker.kafka)}
    with wire.Connection(new_broker.kafka) as connection:
        assert wire.api_versions(connection.ask(wire.API_VERSIONS, 0))[0] == 0
    new_broker.stop()

    new_broker.addresses |= {"kafka": OFF, "http": "127.0.0.1:0"}
    new_broker.start()
    assert new_broker.said[1:] == [f"ready http={new_broker.http}\n"]
    assert listening_ports(new_broker.pid) == {port_of(new_broker.http)}
    with urllib.request.urlopen(f"http://{new_broker.http}/metrics", timeout=10) as answer:
        assert b'listener="http"' in (said := answer.read()) and b"kafka" not in said


def test_one_listener_has_to_be_on(tmp_path):
    said = refused(tmp_path, "--listen", "kafka=off", MAINSTEM_LISTEN_HTTP="off")
    assert "every listener is off (listen.kafka by flag --listen, listen.http by environment MAINSTEM_LISTEN_HTTP)" in said


JOIN = ["--join", "127.0.0.1:9190"]
EVERYWHERE = "0.0.0.0:0"
WRONG_CLUSTERS = {
    "nobody could reach it": (
        [*JOIN, "--listen", "peer=off"],
        "the cluster to join (join by flag --join) could not reach this node: listen.peer by flag --listen is off",
    ),
    "clients could not be told where it is": (
        [*JOIN, "--listen", f"kafka={EVERYWHERE}"],
        "clients of other nodes cannot be told where this one is, 0.0.0.0:0 (listen.kafka by flag --listen) is every "
        "address and none to connect to: advertise.kafka has to name one",
    ),
    "nodes could not be told where it is": (
        ["--listen", f"peer={EVERYWHERE}"],
        "other nodes cannot be told where this one is, 0.0.0.0:0 (listen.peer by flag --listen) is every address and "
        "none to connect to: advertise.peer has to name one",
    ),
}


@pytest.mark.parametrize(("arguments", "why"), WRONG_CLUSTERS.values(), ids=WRONG_CLUSTERS)
def test_a_node_that_others_could_not_find_does_not_start(tmp_path, arguments, why):
    (line,) = refused(tmp_path, *arguments).splitlines()
    assert "ERROR" in line and line.endswith(why)


def test_shards_mean_nothing_to_a_node_that_joins(tmp_path):
    done = run(tmp_path, "config", *JOIN, "--shards", "4")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "WARN" in line and "shards by flag --shards has no effect: a node that joins others gets" in line


def test_topics_are_made_by_asking_only_if_that_is_configured(new_broker):
    new_broker.options = ["--topics-auto-create", "false", "--topics-partitions", "5"]
    new_broker.start()
    with wire.Connection(new_broker.kafka) as connection:
        assert wire.metadata(connection, ["missing"], True)["missing"][0] == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.metadata(connection, None, False) == {}


def described(admin: AdminClient, kind: ConfigResource.Type, name: str) -> dict[str, ConfigEntry]:
    (answer,) = admin.describe_configs([ConfigResource(kind, name)]).values()
    return answer.result(SECONDS)


def value_and_source(entry: ConfigEntry) -> tuple[str, ConfigSource]:
    return entry.value, ConfigSource(entry.source)


def test_topics_are_set_to_the_nodes_defaults_unless_somebody_says_otherwise(new_broker, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("[topics.defaults]\nretention.ms = 86400000\nmax.message.bytes = 2000\n")
    new_broker.options = ["--config", str(file)]
    new_broker.environment = {"MAINSTEM_TOPICS_DEFAULTS_MESSAGE_TIMESTAMP_TYPE": "LogAppendTime"}
    new_broker.start()
    topic, node = ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER
    configured = ConfigSource.STATIC_BROKER_CONFIG
    admin = AdminClient({"bootstrap.servers": new_broker.kafka})
    own = NewTopic("own", num_partitions=1, replication_factor=1, config={"retention.ms": "1000000"})
    plain = NewTopic("plain", num_partitions=1, replication_factor=1)
    for created in admin.create_topics([own, plain]).values():
        created.result(SECONDS)

    entries = described(admin, topic, "plain")
    assert value_and_source(entries["retention.ms"]) == ("86400000", configured)
    assert value_and_source(entries["max.message.bytes"]) == ("2000", configured)
    assert value_and_source(entries["message.timestamp.type"]) == ("LogAppendTime", configured)
    assert value_and_source(entries["cleanup.policy"]) == ("delete", ConfigSource.DEFAULT_CONFIG)
    # What counts without the topic's own is told below it, by the name that it has for a broker.
    entry = described(admin, topic, "own")["retention.ms"]
    assert value_and_source(entry) == ("1000000", ConfigSource.DYNAMIC_TOPIC_CONFIG)
    assert value_and_source(entry.synonyms["log.retention.ms"]) == ("86400000", configured)
    entries = described(admin, node, "1")
    assert value_and_source(entries["log.retention.ms"]) == ("86400000", configured)
    assert value_and_source(entries["message.max.bytes"]) == ("2000", configured)
    assert value_and_source(entries["log.cleanup.policy"]) == ("delete", ConfigSource.DEFAULT_CONFIG)

    unset = ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)
    resource = ConfigResource(topic, "own", incremental_configs=[unset])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(SECONDS)
    assert value_and_source(described(admin, topic, "own")["retention.ms"]) == ("86400000", configured)

    produce(new_broker.kafka, "plain", 1000)
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        produce(new_broker.kafka, "plain", 3000)

    # A topic that there was before follows another default.
    new_broker.stop()
    file.write_text("")
    new_broker.start()
    wait_until("a larger record is accepted", lambda: is_accepted(new_broker.kafka, "plain", 3000))
    admin = AdminClient({"bootstrap.servers": new_broker.kafka})
    default = ("604800000", ConfigSource.DEFAULT_CONFIG)
    assert value_and_source(described(admin, topic, "plain")["retention.ms"]) == default


def test_a_node_is_not_configured_over_the_wire(broker):
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    node, logger = ConfigResource.Type.BROKER, 8
    before = {name: entry.value for name, entry in described(admin, node, "1").items()}
    assert before["message.max.bytes"] != "2000"
    with wire.Connection(broker.kafka) as connection:
        for api in [wire.ALTER_CONFIGS, wire.INCREMENTAL_ALTER_CONFIGS]:
            # One node, and the default of all.
            for name in ["1", ""]:
                error, why = wire.alter_config(connection, api, node.value, name, "message.max.bytes", "2000")
                assert error == wire.INVALID_REQUEST
                assert why == "a node is configured by its file, environment and flags"
            error, why = wire.alter_config(connection, api, logger, "1", "root", "TRACE")
            assert error == wire.INVALID_REQUEST and "have no settings here" in why
    assert {name: entry.value for name, entry in described(admin, node, "1").items()} == before


def produce(address: str, topic: str, size: int):
    """Produces a record of this size and waits for the answer."""
    answers = []
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, b"x" * size, on_delivery=lambda error, _: answers.append(error))
    assert producer.flush(SECONDS) == 0
    (error,) = answers
    if error is not None:
        raise KafkaException(error)


def is_accepted(address: str, topic: str, size: int) -> bool:
    try:
        produce(address, topic, size)
    except KafkaException:
        return False
    return True


def test_clients_are_told_what_is_advertised(new_broker):
    new_broker.start()
    with wire.Connection(new_broker.kafka) as connection:
        assert wire.brokers(connection) == [("127.0.0.1", port_of(new_broker.kafka))]
    new_broker.stop()
    for given, told in [("kafka.example.com:19092", ("kafka.example.com", 19092)), ("[fd00::7]:1", ("fd00::7", 1))]:
        new_broker.environment = {"MAINSTEM_ADVERTISE_KAFKA": given}
        new_broker.start()
        with wire.Connection(new_broker.kafka) as connection:
            assert wire.brokers(connection) == [told]
        new_broker.stop()


def test_no_more_connections_than_configured(new_broker):
    new_broker.options = ["--limits-connections", "2"]
    new_broker.start()
    with wire.Connection(new_broker.kafka) as one, wire.Connection(new_broker.kafka) as two:
        for connection in [one, two]:
            assert wire.api_versions(connection.ask(wire.API_VERSIONS, 0))[0] == 0
        with wire.Connection(new_broker.kafka) as three:
            assert three.is_closed()


def test_a_log_in_json_is_json_line_by_line(new_broker):
    new_broker.options = ["--log-format", "json", "--log-level", "debug,openraft=error", "--shards", "2"]
    new_broker.start()
    with wire.Connection(new_broker.kafka) as connection:
        connection.send(b"\xff\xff\xff\xff")
        assert connection.is_closed()
    new_broker.stop()
    lines = log_of(new_broker)
    for line in lines:
        assert {"timestamp", "level", "target", "message"} <= line.keys()
        assert line["level"] in ["ERROR", "WARN", "INFO", "DEBUG"]
    assert "closed for a protocol violation" in [line["message"] for line in lines]
    (started,) = [line for line in lines if line["message"] == "started"]
    assert started["level"] == "INFO"
    assert started["version"].count(".") == 2
    assert started["data"] == str(new_broker.data)
    assert len(started["cluster"]) == 32 and int(started["cluster"], 16) > 0
    assert (started["node"], started["shards"]) == (1, 2)
    assert 0 <= started["took_millis"] < SECONDS * 1000
    # The cluster is the same after a restart, and people can read it, too.
    new_broker.options = []
    seen = new_broker.stderr.stat().st_size
    new_broker.start()
    (line,) = [line for line in new_broker.stderr.read_text()[seen:].splitlines() if "started" in line]
    assert f'cluster="{started["cluster"]}"' in line and "INFO" in line


def test_what_stops_a_start_is_logged_in_the_format_that_is_configured(broker, tmp_path):
    """Whoever says it: the configuration or the broker, which finds its folder in use."""
    file = tmp_path / "my.toml"
    file.write_text("log.format = 'json'\nshard = 2\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments, part in [
        (["--config", str(file)], f"{file}:2:1: unknown key `shard`, the nearest known one is `shards`"),
        (["--config", str(tmp_path / "missing"), "--log-format", "json", "--log-level", "mainstem=off"], "missing: No such file or directory"),
        (["--data-dir", str(broker.data), "--log-format", "json", *FREE_PORTS], "in use by another mainstem process"),
    ]:
        said = refused(elsewhere, *arguments)
        (line,) = map(json.loads, said.splitlines())
        assert line["level"] == "ERROR"
        assert part in line["message"]


WRONG_FILES = {
    "no TOML": ("shards = 2\nlisten.kafka = 127.0.0.1:0\n", "my.toml:2:21: not valid TOML: "),
    "unknown key": ("[log]\nlevl = 'info'\n", "my.toml:2:1: unknown key `log.levl`, the nearest known one is `log.level`"),
    "wrong type": ("shards = 'four'\n", "my.toml:1:10: shards: found text, expected a number from 1 to 64, or auto"),
    "no port": ("listen.kafka = '127.0.0.1'\n", 'my.toml:1:16: listen.kafka: "127.0.0.1" has no port, expected ADDRESS:PORT'),
    "a name": ("listen.http = 'localhost:0'\n", "has a name where a listener needs an address, expected ADDRESS:PORT"),
    "Kafka's name": (
        "log.retention.ms = 1\n",
        "unknown key `log.retention.ms`, the nearest known one is `topics.defaults.retention.ms`",
    ),
    "a default that is no value": (
        "[topics.defaults]\ncleanup.policy = 'keep'\n",
        'my.toml:2:18: topics.defaults.cleanup.policy: "keep" is no such value, expected some of compact, delete',
    ),
    "defaults that do not go together": (
        "[topics.defaults]\nmin.compaction.lag.ms = 2\nmax.compaction.lag.ms = 1\n",
        "topics.defaults: invalid configuration: min.compaction.lag.ms is more than max.compaction.lag.ms",
    ),
    "no UTF-8": (b"# \xff\n", "my.toml:1:3: not UTF-8"),
}


@pytest.mark.parametrize(("content", "part"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_stops_the_start_and_says_where(tmp_path, content, part):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "my.toml").write_bytes(content)
    for command in [["serve"], ["config"], ["skip-entry", "--shard", "1", "--index", "1", "--reason", "r"]]:
        said = refused(tmp_path, *command, "--config", "my.toml")
        assert part in said
        assert len(said.splitlines()) == 1


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path):
    said = refused(tmp_path, "--config", "my.toml")
    assert "my.toml: No such file or directory" in said and "--config names this file" in said
    (tmp_path / "my.toml").mkdir()
    said = refused(tmp_path, MAINSTEM_CONFIG="my.toml")
    assert "my.toml: Is a directory" in said and "MAINSTEM_CONFIG names this file" in said
    # It never ends.
    assert "/dev/zero: larger than 1MiB" in refused(tmp_path, "--config", "/dev/zero")


def test_everything_wrong_is_said_at_once_even_to_those_who_log_nothing(tmp_path):
    (tmp_path / "my.toml").write_text("shards = 0\nlog.level = 'off'\nx = 1\n")
    said = refused(tmp_path, "--config", "my.toml", MAINSTEM_TOPICS_PARTITIONS="many").splitlines()
    assert [line.split(": ")[1] for line in said] == ["my.toml:1:10", "my.toml:3:1", "MAINSTEM_TOPICS_PARTITIONS"]


def test_a_mistyped_variable_is_refused_and_a_strange_one_is_named(tmp_path):
    said = refused(tmp_path, MAINSTEM_LISTEN_KAFAK="off")
    assert "unknown environment variable MAINSTEM_LISTEN_KAFAK, the nearest known one is MAINSTEM_LISTEN_KAFKA" in said
    # What Kubernetes sets when there is a service of our name. Its value may be anybody's secret.
    done = run(tmp_path, "config", MAINSTEM_SERVICE_HOST="10.0.0.1")
    assert done.returncode == 0
    assert "WARN" in done.stderr and "MAINSTEM_SERVICE_HOST" in done.stderr
    assert "10.0.0.1" not in done.stdout + done.stderr


def test_an_address_that_others_may_reach_is_warned_of(tmp_path):
    """No machine has this address, so the start fails after the warning."""
    done = run(tmp_path, "--listen", "kafka=192.0.2.1:9092", "--listen", "http=127.0.0.1:0", "--listen", "peer=off")
    assert done.returncode == 1
    warning, *_, error = done.stderr.splitlines()
    assert "WARN" in warning and "192.0.2.1:9092" in warning and "no authentication" in warning
    assert "ERROR" in error and "kafka=192.0.2.1:9092: Cannot assign requested address" in error
    assert "http" not in warning


def test_a_data_folder_that_cannot_be_used_is_named_with_what_can_be_done(broker, tmp_path):
    file = tmp_path / "a file"
    file.write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, parts in [
        (broker.data, [f"{broker.data} is in use by another mainstem process", "--data-dir"]),
        (file, [f"{file} is a file", "--data-dir"]),
        (file / "below", [f"{file} is a file", "--data-dir"]),
        # Nobody can make anything here.
        (Path("/proc/self/data"), ["cannot use /proc/self/data for data: No such file or directory"]),
    ]:
        said = refused(elsewhere, "--data-dir", str(folder), *FREE_PORTS)
        for part in parts:
            assert part in said


def empty(path: Path):
    path.write_bytes(b"")


def checkpoint_of(shard: Path) -> Path:
    return min(shard.glob("checkpoint-*"))


BACKUP = "restore the data folder from a backup"
DAMAGE = {
    "an empty checkpoint": (lambda shard: empty(checkpoint_of(shard)), "checkpoint-", "is damaged"),
    "no checkpoint": (lambda shard: checkpoint_of(shard).unlink(), "checkpoint-", "No such file"),
    "an empty manifest": (lambda shard: empty(shard / "manifest"), "the manifest is damaged", ""),
    "no manifest": (lambda shard: (shard / "manifest").unlink(), ".log", "no manifest"),
    "no folder": (shutil.rmtree, "is missing", "shard s1"),
}


@pytest.mark.parametrize(("damage", "what", "why"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_or_missing_at_the_start_is_named_with_what_can_be_done(new_broker, tmp_path, damage, what, why):
    new_broker.options = ["--shards", "2"]
    new_broker.start()
    new_broker.stop()
    shard = new_broker.data / "shards" / "00000001"
    damage(shard)
    done = run(tmp_path, "--data-dir", str(new_broker.data), *FREE_PORTS)
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.splitlines()[-1]
    assert "ERROR" in said
    for part in [str(shard), what, why]:
        assert part in said
    assert BACKUP in said.lower()


def test_another_number_of_shards_than_the_folder_has_is_warned_of(new_broker):
    new_broker.options = ["--shards", "2"]
    new_broker.start()
    assert "WARN" not in new_broker.stderr.read_text()
    new_broker.stop()
    new_broker.options = ["--shards", "5"]
    new_broker.start()
    (warning,) = [line for line in new_broker.stderr.read_text().splitlines() if "WARN" in line]
    assert "keeps the shards it was made with" in warning and "configured=5 found=2" in warning


def test_skipping_finds_the_data_as_serving_does(tmp_path):
    skip = ["skip-entry", "--shard", "7", "--index", "1", "--reason", "r"]
    done = run(tmp_path, *skip, MAINSTEM_DATA_DIR="elsewhere")
    assert done.returncode == 1
    assert "elsewhere/shards/00000007" in done.stderr
