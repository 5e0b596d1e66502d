"""Nodes on hosts of their own, and what happens to hosts: networks that part, lose and delay, processes that
hang, disks that fill up or are slow, clocks that are wrong, machines that burn down. The clients and the checks
are those of the other tests; what was found goes into docs/reliability.md.
"""

import os
import random
import signal
import subprocess
import time
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
    """Hosts without nodes yet; in the place of the fixture that the other tests have."""
    net = Network(chance.randrange(1 << 32))
    hosts = Hosts(setting("MAINSTEM_BIN"), tmp_path, net)
    try:
        yield hosts
        hosts.net.heal()
        hosts.stop_all()
    finally:
        for node in hosts.made:
            if node.running():
                node.kill9()
        net.close()


def silence(load, since: float) -> float:
    """The longest time without an answer about any partition, once all of them are served again."""
    load.wait_for_more()
    load.wait_for_more()
    return max(load.history.longest_silence(partition, since) for partition in range(PARTITIONS))


def finish(load, measured, found: list[float]):
    records = load.finish()
    worst = max(found, default=0.0)
    middle = sorted(found)[len(found) // 2] if found else 0.0
    measured(f"{len(found)} times; {records} records; without service: median {middle:.2f} s, worst {worst:.2f} s")
    assert worst < SILENCE_SECONDS


def rounds(quick: bool, many: int) -> range:
    return range(1 if quick else many)


def test_a_leader_that_is_cut_off_is_followed_by_another(cluster, new_load, quick, measured):
    """It goes on thinking that it leads; nobody may be told by it what is not so."""
    cluster.form()
    load = new_load()
    found = []
    for number in rounds(quick, 6):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        began = time.monotonic()
        # The clients still reach it.
        cluster.net.isolate(victim.host, [host for host in cluster.hosts() if host != victim.host])
        time.sleep(3)
        found.append(silence(load, began))
        cluster.net.heal()
        cluster.wait_settled()
    finish(load, measured, found)


def test_a_host_that_nobody_reaches_is_not_missed(cluster, new_load, quick, measured):
    """Not even by the clients."""
    cluster.form()
    load = new_load()
    found = []
    for number in rounds(quick, 4):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        began = time.monotonic()
        cluster.net.isolate(victim.host, [CLIENTS, *(host for host in cluster.hosts() if host != victim.host)])
        found.append(silence(load, began))
        cluster.net.heal()
        cluster.wait_settled()
    finish(load, measured, found)


def test_one_direction_that_is_dead_does_not_stop_the_cluster(cluster, new_load, quick, measured, chance):
    cluster.form()
    load = new_load()
    found = []
    for _ in rounds(quick, 8):
        load.wait_for_more()
        source, target = chance.sample(cluster.hosts(), 2)
        began = time.monotonic()
        cluster.net.cut(source, target)
        time.sleep(2)
        found.append(silence(load, began))
        cluster.net.heal()
        cluster.wait_settled()
    finish(load, measured, found)


def test_what_one_node_says_to_nobody_and_hears_of_nobody(cluster, new_load, quick, measured):
    """A leader that sends and hears nothing back, and one that hears and cannot send."""
    cluster.form()
    load = new_load()
    found = []
    for number in rounds(quick, 4):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        others = [host for host in cluster.hosts() if host != victim.host]
        began = time.monotonic()
        for other in others:
            cluster.net.cut(*((victim.host, other) if number % 2 == 0 else (other, victim.host)))
        found.append(silence(load, began))
        cluster.net.heal()
        cluster.wait_settled()
    finish(load, measured, found)


def test_a_network_that_loses_a_fifth_and_takes_its_time(cluster, new_load, measured):
    cluster.form()
    load = new_load()
    load.wait_for_more()
    cluster.net.set_weather(cluster.hosts(), Weather(loss=0.2))
    time.sleep(5)
    load.wait_for_more(120)
    cluster.net.set_weather(cluster.hosts(), Weather(delay_seconds=0.2))
    time.sleep(5)
    load.wait_for_more(120)
    cluster.net.set_weather(cluster.hosts(), Weather(loss=0.2, delay_seconds=0.2))
    time.sleep(5)
    cluster.net.heal()
    began = time.monotonic()
    found = silence(load, began)
    cluster.wait_settled()
    finish(load, measured, [found])


def test_a_process_that_hangs_is_not_waited_for(cluster, new_load, quick, measured):
    """It comes back with what it believed before."""
    cluster.form()
    load = new_load()
    found = []
    for number in rounds(quick, 3):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        began = time.monotonic()
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            time.sleep(5 if quick else 30)
            found.append(silence(load, began))
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        cluster.wait_settled()
    finish(load, measured, found)


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
    server = ["--server", f"http://{cluster.running()[0].http}"]
    new = cluster.start(cluster.joiner(None, "replacement"))
    assert new.number not in NODES
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


def test_clocks_that_differ_and_jump(apart, chance, tmp_path, new_load_of, quick, measured):
    net = Network(chance.randrange(1 << 32))
    cluster = SkewedHosts(setting("MAINSTEM_BIN"), tmp_path, net)
    try:
        cluster.form()
        load = new_load_of(cluster)
        began = time.monotonic()
        for _ in rounds(quick, 5):
            load.wait_for_more()
            victim = cluster.leader_of(load.topic, chance.randrange(PARTITIONS))
            victim.skew.write_text(str(chance.choice([-SKEW_MILLIS, SKEW_MILLIS])))
            time.sleep(2)
            load.wait_for_more()
            victim.skew.write_text("0")
        found = silence(load, began)
        finish(load, measured, [found])
        cluster.stop_all()
    finally:
        for node in cluster.made:
            if node.running():
                node.kill9()
        net.close()


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

    def unmount(self):
        for node in self.made:
            subprocess.run(["umount", node.data], check=False)


def test_disks_that_are_full_for_a_while(apart, chance, tmp_path, new_load_of, quick, measured):
    """One node's disk is not missed; with two nothing is accepted, and what was accepted is kept."""
    net = Network(chance.randrange(1 << 32))
    cluster = SmallDisks(setting("MAINSTEM_BIN"), tmp_path, net)
    try:
        cluster.form()
        load = new_load_of(cluster)
        found = []
        for number in rounds(quick, 3):
            load.wait_for_more()
            victim = cluster.leader_of(load.topic, number % PARTITIONS)
            began = time.monotonic()
            cluster.fill(victim)
            time.sleep(5)
            cluster.empty(victim)
            found.append(silence(load, began))
            cluster.wait_settled()
        finish(load, measured, found)
        cluster.stop_all()
    finally:
        for node in cluster.made:
            if node.running():
                node.kill9()
        cluster.unmount()
        net.close()


def test_a_disk_that_is_slow(cluster, new_load, quick, measured):
    """Each of its syncs takes long: the others are most."""
    cluster.form()
    load = new_load()
    found = []
    for number in rounds(quick, 2):
        load.wait_for_more()
        victim = cluster.leader_of(load.topic, number % PARTITIONS)
        began = time.monotonic()
        slow = subprocess.Popen([
            "strace", "-qq", "-f", "-p", str(victim.pid), "-o", os.devnull, "-e", "trace=fdatasync,fsync",
            "-e", f"inject=fdatasync,fsync:delay_exit={SYNC_DELAY_MICROS}",
        ])
        try:
            time.sleep(10)
            load.wait_for_more()
        finally:
            slow.terminate()
            slow.wait(10)
        found.append(silence(load, began))
        cluster.wait_settled()
    finish(load, measured, found)
