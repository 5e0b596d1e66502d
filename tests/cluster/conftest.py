"""What every test of a cluster shares: a cluster of its own, clients, and what was measured.

Run by `cargo xtask test`, which says where the broker and the clients are, as for the client tests, of whose
modules these use those that start a broker and drive a client.
"""

import os

import pytest

from cluster import Cluster
from environment import ENVIRONMENT, OURS, new_agent, setting
from load import Load
from reliability import ROWS, write

STDERR_TAIL_BYTES = 20_000
CLUSTERS = pytest.StashKey()
MEASURED = pytest.StashKey()


@pytest.fixture
def quick() -> bool:
    """Whether the person who runs this wants the short form of long tests."""
    return ENVIRONMENT.get("MAINSTEM_QUICK") == "1"


@pytest.fixture(scope="session", autouse=True)
def unconfigured():
    """No node inherits what configures these tests, or a broker of whoever runs them."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]


@pytest.fixture
def cluster(request, tmp_path):
    """A cluster without nodes yet. Those that run in the end are stopped by SIGTERM, which must end them with 0."""
    cluster = Cluster(setting("MAINSTEM_BIN"), tmp_path)
    request.node.stash[CLUSTERS] = [cluster]
    try:
        yield cluster
        cluster.stop_all()
    finally:
        for node in cluster.made:
            if node.running():
                node.kill9()


@pytest.fixture
def start_agent():
    """start_agent(client): a client of that name."""
    agents = []

    def start(client: str):
        agents.append(new_agent(client))
        return agents[-1]

    yield start
    for agent in agents:
        agent.kill()


@pytest.fixture
def java_agent(start_agent):
    """Kafka's Java client."""
    return start_agent("java")


@pytest.fixture
def new_load(cluster):
    """new_load(agent, ...): clients that write and read until they are told to finish. Made before the test, so that
    it ends before the cluster does."""
    loads = []

    def start(agent=None, **more) -> Load:
        loads.append(Load(cluster, agent, **more))
        return loads[-1]

    yield start
    for load in loads:
        load.abandon()


@pytest.fixture
def measured(request):
    """measured(sentence): said at the end of the run, whether the test passes or not."""
    name = request.node.nodeid.split("::")[-1]
    return lambda what: request.config.stash[MEASURED].append(f"{name}: {what}")


def pytest_configure(config):
    config.stash[MEASURED] = []
    config.stash[ROWS] = []


def pytest_sessionfinish(session, exitstatus):
    """With REWRITE=1 a run in which every test of a fault passed, none in its short form, writes the document."""
    is_asked = ENVIRONMENT.get("REWRITE") == "1" and ENVIRONMENT.get("MAINSTEM_QUICK") != "1"
    if is_asked and exitstatus == 0 and session.config.stash[ROWS]:
        write(session.config.stash[ROWS])


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[MEASURED]:
        terminalreporter.section("measured")
        for line in config.stash[MEASURED]:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Shows what the nodes of a failed test said."""
    report = yield
    if report.failed:
        for node in [node for cluster in item.stash.get(CLUSTERS, []) for node in cluster.made]:
            if node.stderr.exists():
                said = node.stderr.read_bytes()[-STDERR_TAIL_BYTES:].decode(errors="replace")
                report.sections.append((f"standard error of node {node.number} ({node.stderr})", said))
    return report
