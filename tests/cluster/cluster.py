"""Nodes of a cluster as their users run them: processes with folders and ports of their own, on loopback."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka.admin import AdminClient

from broker import STOP_SECONDS, Broker
from command import Commands

# Shards besides the catalog: more than one, so that several nodes can lead.
SHARDS = 2
VOTERS = 3
CATALOG = 0
# How far a replica may be behind and still count as up to date, while clients go on writing.
BEHIND_MAX = 64
SETTLE_SECONDS = 60
LEADER_SECONDS = 30


class Node(Broker):
    """A node. Without `join` it founds a cluster."""

    def __init__(self, program: str, folder: Path, number: int | None, join: str | None = None):
        folder.mkdir()
        super().__init__(program, folder, SHARDS if join is None else None)
        # None: the cluster chooses one.
        self.number = number
        self.addresses["peer"] = "127.0.0.1:0"
        self.options = [] if number is None else ["--node-id", str(number), "--rack", f"rack-{number}"]
        if join is not None:
            self.options += ["--join", join]

    def start(self):
        super().start()
        if self.number is None:
            self.number = self.ask("/v1/node")["node"]

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return json.load(answer)

    def health(self, of: str = "ready") -> tuple[int, str]:
        """Status and text of `/health/ready`, or of another page."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/health/{of}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def commands(self) -> Commands:
        """The command line, asking this node."""
        return Commands(f"http://{self.http}")

    def refused(self) -> str:
        """Starts the node, which must end by itself with one sentence about why: that sentence."""
        seen = self.stderr.stat().st_size if self.stderr.exists() else 0
        self.launch()
        code = self.process.wait(STOP_SECONDS)
        said = self.stderr.read_text()[seen:]
        assert (code, self.said) == (1, []), f"it ended with {code}:\n{said}"
        errors = [line for line in said.splitlines() if "ERROR" in line]
        assert len(errors) == 1, said
        return errors[0]


class Cluster:
    """All nodes there are, by number, running or not."""

    def __init__(self, program: str, folder: Path):
        self.program = program
        self.folder = folder
        self.nodes: dict[int, Node] = {}
        # Every node that was made, for what it said.
        self.made: list[Node] = []

    @property
    def kafka(self) -> str:
        """The addresses for `bootstrap.servers`."""
        return ",".join(node.kafka for node in self.nodes.values())

    def running(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.running()]

    def new_node(self, number: int | None, join: str | None = None, name: str | None = None) -> Node:
        """A node that is not started, and belongs to nothing yet."""
        node = Node(self.program, self.folder / (name or f"node-{number}"), number, join)
        self.prepare(node)
        self.made.append(node)
        return node

    def prepare(self, node: Node):
        """For tests whose nodes are special."""

    def found(self) -> Node:
        """Starts the first node."""
        return self.start(self.new_node(1))

    def joiner(self, number: int | None, name: str | None = None) -> Node:
        """A node that is not started and will join the cluster."""
        return self.new_node(number, self.running()[0].peer, name)

    def start(self, node: Node) -> Node:
        """Starts it; from then on it belongs to the cluster."""
        node.start()
        self.nodes[node.number] = node
        return node

    def form(self, nodes: int = VOTERS) -> "Cluster":
        """So many nodes, over which the replicas of all shards are spread."""
        self.found()
        for number in range(2, nodes + 1):
            self.start(self.joiner(number))
        self.wait_settled()
        return self

    def kill_all(self):
        """As a loss of power would, as far as processes can: all at once."""
        running = self.running()
        for node in running:
            node.process.kill()
        for node in running:
            node.process.wait(STOP_SECONDS)

    def start_all(self):
        """At the same time: none of them is ready without others."""
        self._at_once(Node.start, [node for node in self.nodes.values() if not node.running()])

    def stop_all(self):
        """At the same time, each by SIGTERM, which must end it with 0."""
        self._at_once(Node.stop, [node for node in self.made if node.running()])

    def _at_once(self, what, nodes: list[Node]):
        with ThreadPoolExecutor(max(1, len(nodes))) as pool:
            # Raises what went wrong.
            list(pool.map(what, nodes))

    def wait_settled(self, voters: int = VOTERS, seconds: float = SETTLE_SECONDS):
        """Waits until all nodes run, know each other, and every shard has so many voters, the catalog up to five, and
        replicas that are up to date."""
        deadline = time.monotonic() + seconds
        while (why := self.unsettled(voters)) is not None:
            assert time.monotonic() < deadline, f"after {seconds} seconds {why}"
            time.sleep(0.1)

    def unsettled(self, voters: int) -> str | None:
        """What the cluster lacks; None when it lacks nothing."""
        # Whoever leads a shard knows how far the others are.
        behind: dict[tuple[int, int], int] = {}
        views = {}
        for number, node in self.nodes.items():
            try:
                views[number] = node.ask("/v1/nodes")
            except OSError as error:
                return f"node {number} does not answer: {error}"
        shards = 1 + max(shard for view in views.values() for member in view["nodes"] for shard in places(member))
        for number, view in views.items():
            known = {member["node"]: member for member in view["nodes"]}
            if known.keys() != self.nodes.keys():
                return f"node {number} knows of {sorted(known)}"
            if view["controller"] is None:
                return f"node {number} knows of nobody who leads the catalog"
            for shard in range(shards):
                replicas = {
                    member: replica
                    for member, about in known.items()
                    for replica in about["replicas"]
                    if replica["shard"] == shard
                }
                leaders = [member for member, about in known.items() if shard in about["leads"]]
                voting = [member for member, replica in replicas.items() if replica["voter"]]
                if len(leaders) != 1:
                    return f"node {number} takes {leaders} for the leaders of shard {shard}"
                if len(voting) != (voters if shard > CATALOG or voters < VOTERS else catalog_voters(len(self.nodes))):
                    return f"node {number} takes {voting} for the voters of shard {shard}"
                if leaders == [number]:
                    behind |= {(shard, member): replica["behind"] for member, replica in replicas.items()}
        for shard in range(shards):
            # With one voter the others follow all the same, and every node follows the catalog.
            here = {member: lacks for (place, member), lacks in behind.items() if place == shard}
            if len(here) < (len(self.nodes) if shard == CATALOG else min(VOTERS, len(self.nodes))):
                return f"shard {shard} has replicas on {sorted(here)}"
            for member, lacks in here.items():
                if lacks is None or lacks > BEHIND_MAX:
                    return f"node {member} lacks {lacks} entries of shard {shard}"
        return None

    def leads(self, shard: int) -> Node:
        """The running node that leads a shard."""
        return self._node_of(f"leader of shard {shard}", lambda: self._leader_of_shard(shard))

    def _leader_of_shard(self, shard: int) -> int | None:
        for node in self.running():
            for member in node.ask("/v1/nodes")["nodes"]:
                if member["node"] == node.number and shard in member["leads"]:
                    return node.number
        return None

    def leader_of(self, topic: str, partition: int) -> Node:
        """The running node that leads a partition, as Kafka's clients are told."""
        return self._node_of(f"leader of {topic} {partition}", lambda: leaders(self.kafka, topic).get(partition))

    def _node_of(self, what: str, ask) -> Node:
        deadline = time.monotonic() + LEADER_SECONDS
        while True:
            node = self.nodes.get(ask())
            if node is not None and node.running():
                return node
            assert time.monotonic() < deadline, f"there is no {what} for {LEADER_SECONDS} seconds"
            time.sleep(0.05)


def places(member: dict) -> list[int]:
    """The shards that a node has a replica of."""
    return [replica["shard"] for replica in member["replicas"]]


def catalog_voters(nodes: int) -> int:
    """An odd number of them, and five at most."""
    return min(5, nodes - (nodes + 1) % 2)


def metadata(address: str, topic: str | None = None):
    """What clients are told that come to `address`."""
    return AdminClient({"bootstrap.servers": address, "log_level": 2}).list_topics(topic, timeout=LEADER_SECONDS)


def leaders(address: str, topic: str) -> dict[int, int]:
    """The number of the node that leads each partition, -1 where there is none."""
    partitions = metadata(address, topic).topics[topic].partitions
    return {number: partition.leader for number, partition in partitions.items()}


def preferred(address: str, topic: str) -> dict[int, int]:
    """The first replica of each partition, which is to lead."""
    partitions = metadata(address, topic).topics[topic].partitions
    return {number: partition.replicas[0] for number, partition in partitions.items()}
