"""Nodes on hosts of their own, and what happens to hosts: networks that part, lose and delay, processes that
hang, disks that fill up or are slow, clocks that are wrong, machines that burn down. The clients and the checks
are those of the other tests; what was found goes into docs/reliability.md.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import network
from cluster import Cluster, Node
from environment import setting
from load import PARTITIONS
from network import CLIENTS, Network, address, own_namespace
from router import Weather

pytestmark = [pytest.mark.python, pytest.mark.faults, pytest.mark.timeout(600)]

NODES = [1, 2, 3]
# Loose, for machines that do much else. What was measured is printed.
SILENCE_SECONDS = 20
SKEW_MILLIS = 40_000
DISK_BYTES = 192 << 20
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

    def prepare(self, node: Host):
        """For tests whose hosts are special."""

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


def silence(load, since: float) -> float:
    """The longest time without an answer about any partition, once all of them are served again."""
    load.wait_for_more()
    load.wait_for_more()
    return max(load.history.longest_silence(partition, since) for partition in range(PARTITIONS))


def finish(load, measured, found: list[float]):
    records = load.finish()
    worst, middle = max(found), sorted(found)[len(found) // 2]
    measured(f"{len(found)} times; {records} records; without service: median {middle:.2f} s, worst {worst:.2f} s")
    assert worst < SILENCE_SECONDS


def suffer(cluster, load, measured, times: int, broken):
    """Breaks something so many times under load: as long as `broken(nth, victim)` is entered, where the victim leads a
    partition, each time another. The cluster serves meanwhile, and recovers after."""
    found = []
    for number in range(times):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        began = time.monotonic()
        with broken(number, victim):
            found.append(silence(load, began))
        cluster.wait_settled()
    finish(load, measured, found)


@pytest.fixture
def times(quick):
    """times(many): how often, in the form of the run that was asked for."""
    return lambda many: 1 if quick else many


def others(cluster, victim) -> list[int]:
    return [host for host in cluster.hosts() if host != victim.host]


def test_a_leader_that_is_cut_off_is_followed_by_another(cluster, new_load, times, measured):
    """It goes on thinking that it leads; nobody may be told by it what is not so."""

    @contextmanager
    def broken(_, victim):
        # The clients still reach it.
        cluster.net.isolate(victim.host, others(cluster, victim))
        time.sleep(3)
        yield
        cluster.net.heal()

    suffer(cluster.form(), new_load(), measured, times(6), broken)


def test_a_host_that_nobody_reaches_is_not_missed(cluster, new_load, times, measured):
    """Not even by the clients."""

    @contextmanager
    def broken(_, victim):
        cluster.net.isolate(victim.host, [CLIENTS, *others(cluster, victim)])
        yield
        cluster.net.heal()

    suffer(cluster.form(), new_load(), measured, times(4), broken)


def test_one_direction_that_is_dead_does_not_stop_the_cluster(cluster, new_load, times, measured, chance):
    @contextmanager
    def broken(_, _victim):
        cluster.net.cut(*chance.sample(cluster.hosts(), 2))
        time.sleep(2)
        yield
        cluster.net.heal()

    suffer(cluster.form(), new_load(), measured, times(8), broken)


def test_what_one_node_says_to_nobody_and_hears_of_nobody(cluster, new_load, times, measured):
    """A leader that sends and hears nothing back, and one that hears and cannot send."""

    @contextmanager
    def broken(number, victim):
        for other in others(cluster, victim):
            cluster.net.cut(*((victim.host, other) if number % 2 == 0 else (other, victim.host)))
        yield
        cluster.net.heal()

    suffer(cluster.form(), new_load(), measured, times(4), broken)


def test_a_network_that_loses_a_fifth_and_takes_its_time(cluster, new_load, measured):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    for weather in [Weather(loss=0.2), Weather(delay_seconds=0.2), Weather(loss=0.2, delay_seconds=0.2)]:
        cluster.net.set_weather(cluster.hosts(), weather)
        time.sleep(5)
        load.wait_for_more(120)
    cluster.net.heal()
    began = time.monotonic()
    found = silence(load, began)
    cluster.wait_settled()
    finish(load, measured, [found])


def test_a_process_that_hangs_is_not_waited_for(cluster, new_load, quick, times, measured):
    """It comes back with what it believed before."""

    @contextmanager
    def broken(_, victim):
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            time.sleep(5 if quick else 30)
            yield
        finally:
            os.kill(victim.pid, signal.SIGCONT)

    suffer(cluster.form(), new_load(), measured, times(3), broken)


def test_a_machine_that_burnt_down_is_replaced(cluster, new_load, measured):
    """By a node with an empty disk, which gets a number of its own."""
    cluster.form()
    load = new_load()
    load.wait_for_more()
    gone = cluster.leader_of(load.topic, 0)
    began = time.monotonic()
    gone.kill9()
    del cluster.nodes[gone.number]
    found = silence(load, began)
    new = cluster.start(cluster.joiner(None, "replacement"))
    assert new.number not in NODES
    server = ["--server", f"http://{cluster.running()[0].http}"]
    subprocess.run([cluster.program, "node", "replace", str(gone.number), *server], check=True, timeout=120)
    cluster.wait_settled()
    finish(load, measured, [found])


class SkewedHosts(Hosts):
    """Hosts whose wall clocks can be set wrong."""

    def __init__(self, program: str, folder: Path, net: Network):
        super().__init__(program, folder, net)
        self.library = folder / "skew.so"
        source = Path(__file__).with_name("skew.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, source], check=True)

    def prepare(self, node: Host):
        node.skew = self.folder / f"skew-{node.host}"
        node.skew.write_text("0")
        node.environment |= {"LD_PRELOAD": str(self.library), "SKEW_FILE": str(node.skew)}


@pytest.mark.hosts(SkewedHosts, needs=["cc"])
def test_clocks_that_differ_and_jump(cluster, new_load, times, measured, chance):
    @contextmanager
    def broken(_, victim):
        victim.skew.write_text(str(chance.choice([-SKEW_MILLIS, SKEW_MILLIS])))
        time.sleep(2)
        yield
        victim.skew.write_text("0")

    suffer(cluster.form(), new_load(), measured, times(5), broken)


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
        """Leaves no room."""
        with open(node.data / "balloon", "wb") as balloon:
            try:
                while True:
                    balloon.write(bytes(1 << 20))
                    balloon.flush()
            except OSError:
                pass

    def empty(self, node: Host):
        (node.data / "balloon").unlink()

    def close(self):
        for node in self.made:
            subprocess.run(["umount", node.data], check=False)


@pytest.mark.hosts(SmallDisks, needs=["mkfs.ext4", "mount"])
def test_disks_that_are_full_for_a_while(cluster, new_load, times, measured):
    """What was accepted is kept."""

    @contextmanager
    def broken(_, victim):
        cluster.fill(victim)
        time.sleep(5)
        cluster.empty(victim)
        yield

    suffer(cluster.form(), new_load(), measured, times(3), broken)


@pytest.mark.hosts(Hosts, needs=["strace"])
def test_a_disk_that_is_slow(cluster, new_load, times, measured):
    """Each of its syncs takes long: the others are most."""

    @contextmanager
    def broken(_, victim):
        slow = subprocess.Popen([
            "strace", "-qq", "-f", "-p", str(victim.pid), "-o", os.devnull, "-e", "trace=fdatasync,fsync",
            "-e", f"inject=fdatasync,fsync:delay_exit={SYNC_DELAY_MICROS}",
        ])
        try:
            time.sleep(10)
            yield
        finally:
            slow.terminate()
            slow.wait(10)

    suffer(cluster.form(), new_load(), measured, times(2), broken)
