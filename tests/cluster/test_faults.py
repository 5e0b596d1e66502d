"""Nodes on hosts of their own, and what happens to hosts: networks that part, lose and delay, processes that
hang, disks that fill up or are slow, clocks that are wrong, machines that burn down. The clients and the checks
are those of the other tests; what was found goes into docs/reliability.md.
"""

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import network
import wire
from clocks import COMPILER, Clocks
from cluster import Cluster, Node, leaders
from conftest import CLUSTERS
from environment import setting
from load import PARTITIONS, TURN_SECONDS, Load, read
from network import CLIENTS, Network, address, own_namespace
from reliability import ROWS, Row
from router import Weather
from wire import KAFKA_STORAGE_ERROR

pytestmark = [pytest.mark.python, pytest.mark.faults, pytest.mark.timeout(900)]

# Loose, for machines that do much else. What was measured is printed.
SILENCE_SECONDS = 20
# Where packets are late and lost, TCP itself waits for seconds, and leaders change. Less than the patience of clients.
SILENCE_SECONDS_BAD = 100
# What such a network carries is less than clients otherwise write.
TURN_SECONDS_BAD = 0.05
SKEW_MILLIS = 40_000
DISK_BYTES = 192 << 20
FULL_SECONDS = 5
SYNC_DELAY_MICROS = 150_000


class Host(Node):
    """A node on a host of its own."""

    def __init__(self, program: str, folder: Path, number: int | None, join: str | None, wrapper: list[str], at: str):
        super().__init__(program, folder, number, join)
        self.wrapper = wrapper
        self.addresses = dict.fromkeys(self.addresses, f"{at}:0")


class Hosts(Cluster):
    """A cluster whose nodes are on hosts of their own."""

    def __init__(self, program: str, folder: Path, net: Network):
        super().__init__(program, folder)
        self.net = net

    def new_node(self, number: int | None, join: str | None = None, name: str | None = None) -> Node:
        host = len(self.made) + 1
        wrapper = self.net.add(host)
        node = Host(self.program, self.folder / (name or f"node-{host}"), number, join, wrapper, address(host))
        node.host = host
        self.prepare(node)
        self.made.append(node)
        return node

    def close(self):
        """For hosts that leave something behind."""

    def hosts(self) -> list[int]:
        return [node.host for node in self.made]


@pytest.fixture(scope="module")
def apart():
    """The tests run where nothing else is."""
    missing = network.available()
    if missing is not None:
        pytest.skip(missing)
    with own_namespace():
        yield


@pytest.fixture
def chance():
    """A failure is repeated, as far as timing allows, by putting the printed seed here."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def cluster(request, apart, chance, tmp_path):
    """Hosts without nodes yet, of the kind that the test is marked with; in the place of the fixture that the other
    tests have."""
    mark = request.node.get_closest_marker("hosts")
    kind, needs = (mark.args[0], mark.kwargs["needs"]) if mark else (Hosts, [])
    missing = [program for program in needs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"there is no {missing[0]}")
    net = Network(chance.randrange(1 << 32))
    hosts = kind(setting("MAINSTEM_BIN"), tmp_path, net)
    request.node.stash[CLUSTERS] = [hosts]
    try:
        yield hosts
        net.heal()
        hosts.stop_all()
    finally:
        for node in hosts.made:
            if node.running():
                node.kill9()
        hosts.close()
        net.close()


@dataclass(frozen=True)
class Setting:
    """Whose clients use a cluster of how many nodes while something happens to it, and how often it does."""

    client: str
    nodes: int
    # Of what a test does with the client of the first row.
    share: float = 1.0


SETTINGS = [
    Setting("confluent-kafka", 3),
    Setting("confluent-kafka", 5, 0.2),
    Setting("java", 3, 0.2),
    Setting("java", 5, 0.4),
    Setting("franz-go", 3, 0.2),
    Setting("franz-go", 5, 0.4),
]
MARKS = {"confluent-kafka": [], "java": [pytest.mark.java], "franz-go": [pytest.mark.go]}


# In every run, in their short form and the first setting. The others are for those who ask for all of them.
BRIEF = {
    "test_a_process_that_is_killed",
    "test_all_processes_are_killed_at_once",
    "test_a_leader_that_is_cut_off_is_followed_by_another",
    "test_what_one_node_says_to_nobody_and_hears_of_nobody",
}


def pytest_generate_tests(metafunc):
    if "setting_of" in metafunc.fixturenames:
        is_brief = metafunc.function.__name__ in BRIEF
        metafunc.parametrize("setting_of", [param(each, is_brief and each is SETTINGS[0]) for each in SETTINGS])


def param(each: Setting, is_brief: bool):
    marks = MARKS[each.client] + [pytest.mark.brief] * is_brief
    return pytest.param(each, marks=marks, id=f"{each.client}-{each.nodes}")


class Trial:
    """Something that happens to a cluster under load, so many times, and what comes of it."""

    def __init__(self, what: str, setting: Setting, cluster: Hosts, load: Load, times: int, limit: float, report):
        self.what = what
        self.setting = setting
        self.cluster = cluster
        self.load = load
        self.times = times
        self.limit = limit
        self._report = report
        # When it began, and when all was well again.
        self.windows: list[tuple[float, float]] = []

    def victim(self, number: int) -> Node:
        """Leads a partition, each time another."""
        return self.cluster.leader_of(self.load.topic, number % PARTITIONS)

    def suffer(self, broken):
        """Enters `broken(victim)` so many times: the cluster must serve within it, and recover after."""
        for number in range(self.times):
            self.load.wait_for_more()
            victim = self.victim(number)
            began = time.monotonic()
            with broken(victim):
                # Twice: what was under way before may be answered late.
                self.load.wait_for_more()
                self.load.wait_for_more()
            self.cluster.wait_settled()
            self.windows.append((began, time.monotonic()))
        self._finish()

    def _finish(self):
        records = self.load.finish()
        history = self.load.history
        silences = [max(history.longest_silence(place, *window) for place in range(PARTITIONS)) for window in self.windows]
        self._report(Row(self.what, self.setting.client, self.setting.nodes, records, silences))
        assert max(silences) < self.limit


@pytest.fixture
def trial(request, cluster, new_load, start_agent, setting_of, quick, measured):
    """trial(what, times): a cluster under load to which that happens. With `bad` the network carries little; nothing
    can be written for up to `outage` seconds."""

    def start(what: str, times: int, bad: bool = False, outage: float = 0) -> Trial:
        cluster.form(setting_of.nodes)
        agents = [] if setting_of.client == "confluent-kafka" else [start_agent(setting_of.client)]
        times = 1 if quick else max(1, round(times * setting_of.share))

        def report(row: Row):
            measured(row.line())
            request.config.stash[ROWS].append(row)

        load = new_load(*agents, turn_seconds=TURN_SECONDS_BAD if bad else TURN_SECONDS)
        limit = outage + (SILENCE_SECONDS_BAD if bad else SILENCE_SECONDS)
        return Trial(what, setting_of, cluster, load, times, limit, report)

    return start


def others(cluster, victim) -> list[int]:
    return [host for host in cluster.hosts() if host != victim.host]


def test_a_process_that_is_killed(trial):
    """Others lead until it is back."""

    @contextmanager
    def broken(victim):
        victim.kill9()
        yield
        victim.start()

    trial("kill -9 of a leader", 10).suffer(broken)


def test_all_processes_are_killed_at_once(trial):
    trial = trial("kill -9 of all nodes at once", 4)

    @contextmanager
    def broken(_):
        trial.cluster.kill_all()
        trial.cluster.start_all()
        yield

    trial.suffer(broken)


def test_one_node_after_the_other_is_restarted(trial):
    """As for an upgrade."""
    trial = trial("all nodes restarted one after the other (SIGTERM)", 2)

    @contextmanager
    def broken(_):
        for node in list(trial.cluster.nodes.values()):
            node.stop()
            node.start()
            trial.cluster.wait_settled()
        yield

    trial.suffer(broken)


def test_a_node_joins(trial):
    trial = trial("a node joins and takes replicas over", 2)

    @contextmanager
    def broken(_):
        trial.cluster.start(trial.cluster.joiner(None))
        trial.cluster.wait_settled()
        yield

    trial.suffer(broken)


def test_a_leader_that_is_cut_off_is_followed_by_another(trial):
    """It goes on thinking that it leads; nobody may be told by it what is not so."""
    trial = trial("a leader cut off from the other nodes, not from clients, 3 s and longer", 6)
    net = trial.cluster.net

    @contextmanager
    def broken(victim):
        net.isolate(victim.host, others(trial.cluster, victim))
        yield
        time.sleep(3)
        net.heal()

    trial.suffer(broken)


def test_a_host_that_nobody_reaches_is_not_missed(trial):
    """Not even by the clients."""
    trial = trial("a leader's host cut off from everybody", 4)
    net = trial.cluster.net

    @contextmanager
    def broken(victim):
        net.isolate(victim.host, [CLIENTS, *others(trial.cluster, victim)])
        yield
        net.heal()

    trial.suffer(broken)


def test_one_direction_that_is_dead_does_not_stop_the_cluster(trial, chance):
    trial = trial("one direction between two nodes dead, 2 s and longer", 8)
    net = trial.cluster.net

    @contextmanager
    def broken(_):
        net.cut(*chance.sample(trial.cluster.hosts(), 2))
        yield
        time.sleep(2)
        net.heal()

    trial.suffer(broken)


def test_what_one_node_says_to_nobody_and_hears_of_nobody(trial):
    """A leader that sends and hears nothing back, and one that hears and cannot send."""
    trial = trial("a leader that the other nodes do not hear, or that does not hear them", 4)
    net = trial.cluster.net

    @contextmanager
    def broken(victim):
        deaf = len(trial.windows) % 2 == 0
        for other in others(trial.cluster, victim):
            net.cut(*((other, victim.host) if deaf else (victim.host, other)))
        yield
        net.heal()

    trial.suffer(broken)


@pytest.mark.parametrize(
    "weather",
    [Weather(loss=0.2), Weather(delay_seconds=0.2), Weather(loss=0.2, delay_seconds=0.2)],
    ids=["loss", "delay", "both"],
)
def test_a_network_that_loses_a_fifth_and_takes_its_time(trial, weather):
    """Between all nodes, in both directions."""
    kinds = [f"{weather.loss:.0%} loss"] * (weather.loss > 0)
    kinds += [f"{weather.delay_seconds * 1000:.0f} ms of delay in each direction"] * (weather.delay_seconds > 0)
    trial = trial(f"{' and '.join(kinds)} between all nodes, 15 s", 2, bad=len(kinds) > 1)
    net = trial.cluster.net

    @contextmanager
    def broken(_):
        net.set_weather(trial.cluster.hosts(), weather)
        time.sleep(15)
        yield
        net.heal()

    trial.suffer(broken)


def test_a_process_that_hangs_is_not_waited_for(trial, quick):
    """It comes back with what it believed before."""
    seconds = 5 if quick else 30
    trial = trial(f"SIGSTOP of a leader for {seconds} s", 3)

    @contextmanager
    def broken(victim):
        os.kill(victim.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            yield
            time.sleep(max(0.0, stopped + seconds - time.monotonic()))
        finally:
            os.kill(victim.pid, signal.SIGCONT)

    trial.suffer(broken)


def test_a_machine_that_burnt_down_is_replaced(trial):
    """By a node with an empty disk, which gets a number of its own."""
    trial = trial("a node replaced by one with an empty disk", 1)
    cluster = trial.cluster

    @contextmanager
    def broken(victim):
        known = set(cluster.nodes)
        victim.kill9()
        del cluster.nodes[victim.number]
        yield
        new = cluster.start(cluster.joiner(None, "replacement"))
        assert new.number not in known
        server = ["--server", f"http://{cluster.running()[0].http}"]
        subprocess.run([cluster.program, "node", "replace", str(victim.number), *server], check=True, timeout=120)

    trial.suffer(broken)


class SkewedHosts(Hosts):
    """Hosts whose wall clocks can be set wrong."""

    def __init__(self, program: str, folder: Path, net: Network):
        super().__init__(program, folder, net)
        self.clocks = Clocks(folder)

    def prepare(self, node: Host):
        self.clocks.give(node)


@pytest.mark.hosts(SkewedHosts, needs=[COMPILER])
def test_clocks_that_differ_and_jump(trial, chance):
    trial = trial(f"a leader's clock jumps by {SKEW_MILLIS // 1000} s, and back 2 s later", 5)

    @contextmanager
    def broken(victim):
        trial.cluster.clocks.set(victim, chance.choice([-SKEW_MILLIS, SKEW_MILLIS]))
        yield
        time.sleep(2)
        trial.cluster.clocks.set(victim, 0)

    trial.suffer(broken)


class Ballast:
    """Much that nobody reads, in a topic of its own, so that disks fill up."""

    RECORD = bytes(256 << 10)
    SECONDS = 60

    def __init__(self, cluster: Cluster, partitions: int = PARTITIONS):
        self.cluster = cluster
        self.topic = "ballast"
        self.partitions = partitions
        self.admin = AdminClient({"bootstrap.servers": cluster.kafka})
        new = NewTopic(self.topic, num_partitions=partitions, replication_factor=-1)
        self.admin.create_topics([new])[self.topic].result(30)
        self.producer = Producer({"bootstrap.servers": cluster.kafka, "acks": "all", "log_level": 2})

    def write_until(self, done):
        deadline = time.monotonic() + self.SECONDS
        while not done():
            assert time.monotonic() < deadline, "a disk that is full is not noticed"
            for partition in range(self.partitions):
                self.producer.produce(self.topic, self.RECORD, partition=partition)
            # What is refused is not missed.
            self.producer.flush(1)
            self.producer.purge()

    def takes_nothing(self) -> bool:
        """Whether every partition refuses one more record for want of room, but for those whose leaders wait."""
        led = leaders(self.cluster.kafka, self.topic)
        with ThreadPoolExecutor(self.partitions) as pool:
            answers = set(pool.map(self._answer, led.keys(), led.values()))
        return KAFKA_STORAGE_ERROR in answers and answers <= {KAFKA_STORAGE_ERROR, None}

    def _answer(self, partition: int, leader: int) -> int | None:
        """To one more record; None without an answer."""
        try:
            with wire.Connection(self.cluster.nodes[leader].kafka, timeout=3) as connection:
                return wire.produce(connection, self.topic, partition, wire.batch([b"one more"])).error
        except (KeyError, EOFError, OSError):
            return None

    def end(self):
        """What it takes is free again."""
        self.producer.purge()
        self.producer.flush(10)
        self.admin.delete_topics([self.topic])[self.topic].result(30)


class SmallDisks(Hosts):
    """Hosts whose disks are small, each a file system of its own."""

    def prepare(self, node: Host):
        image = self.folder / f"disk-{node.host}"
        image.write_bytes(b"")
        os.truncate(image, DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        node.data.mkdir()
        subprocess.run(["mount", "-o", "loop", image, node.data], check=True)

    def fill(self, node: Host):
        """Leaves no room, and writes until the node has noticed: it goes on in files that it has."""
        self.blow_up(node)
        ballast = Ballast(self)
        try:
            ballast.write_until(lambda: self.is_full(node))
        finally:
            ballast.end()

    def fill_all(self) -> Ballast:
        """The same of all nodes, until every shard takes nothing more. It cannot be deleted until there is room."""
        # So many that each shard gets one.
        ballast = Ballast(self, 4 * PARTITIONS)

        def takes_nothing() -> bool:
            self.keep_full()
            return all(map(self.is_full, self.running())) and ballast.takes_nothing()

        ballast.write_until(takes_nothing)
        return ballast

    def keep_full(self):
        """Takes what nodes have given back of their own."""
        for node in self.running():
            self.blow_up(node)

    def is_full(self, node: Host) -> bool:
        return "has no room on disk" in node.health()[1]

    def blow_up(self, node: Host):
        with open(node.data / "balloon", "ab") as balloon:
            for size in [1 << 20, 1 << 12]:
                try:
                    while True:
                        os.write(balloon.fileno(), bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def empty(self, node: Host):
        (node.data / "balloon").unlink()

    def close(self):
        for node in self.made:
            subprocess.run(["umount", node.data], check=False)


@pytest.mark.hosts(SmallDisks, needs=["mkfs.ext4", "mount"])
def test_disks_that_are_full_for_a_while(trial):
    """What was accepted is kept, and others lead who have room."""
    trial = trial("a leader's disk full, others have room", 3)

    @contextmanager
    def broken(victim):
        trial.cluster.fill(victim)
        yield
        trial.cluster.empty(victim)

    trial.suffer(broken)


@pytest.mark.hosts(SmallDisks, needs=["mkfs.ext4", "mount"])
def test_all_disks_are_full_at_once(trial):
    """Writers are told so and wait, readers read, and with room it goes on by itself."""
    trial = trial(f"all disks full at once, {FULL_SECONDS} s and longer", 2, outage=FULL_SECONDS + Ballast.SECONDS)
    cluster, load = trial.cluster, trial.load

    @contextmanager
    def broken(_):
        ballast = cluster.fill_all()
        full = time.monotonic()
        acknowledged = load.writers[0].progress()
        there = read(cluster, load.topic)
        assert all(len(there[partition]) >= count for partition, count in enumerate(acknowledged))
        while time.monotonic() < full + FULL_SECONDS:
            cluster.keep_full()
            time.sleep(0.1)
        assert ballast.takes_nothing()
        for node in cluster.running():
            cluster.empty(node)
        load.wait_for_more(SILENCE_SECONDS)
        yield
        ballast.end()

    trial.suffer(broken)


@pytest.mark.hosts(Hosts, needs=["strace"])
def test_a_disk_that_is_slow(trial):
    """Each of its syncs takes long: the others are most."""
    trial = trial(f"each sync of a leader's disk takes {SYNC_DELAY_MICROS // 1000} ms longer, 10 s", 2)

    @contextmanager
    def broken(victim):
        slow = subprocess.Popen([
            "strace", "-qq", "-f", "-p", str(victim.pid), "-o", os.devnull, "-e", "trace=fdatasync,fsync",
            "-e", f"inject=fdatasync,fsync:delay_exit={SYNC_DELAY_MICROS}",
        ])
        try:
            yield
            time.sleep(10)
        finally:
            slow.terminate()
            slow.wait(10)

    trial.suffer(broken)
