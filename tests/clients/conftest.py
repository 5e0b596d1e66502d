"""What every client test shares: a broker of its own, and the programs that talk to it.

Run by `cargo xtask test`, which builds the broker, installs the clients and says where they are in
MAINSTEM_BIN and MAINSTEM_KAFKA_CP. A test carries the marker of each family of clients it uses.
"""

import os

import pytest

import compatibility
import program
from agent import Unsupported
from broker import Broker
from environment import ENVIRONMENT, OURS, java, new_agent, setting
from kafka_server import KafkaServer

FAMILIES = {"python", "kcat", "java", "go"}
STDERR_TAIL_BYTES = 20_000
BROKERS = pytest.StashKey()
# Client, scenario and number of shards of each test that is a scenario, selected or not.
SCENARIOS = pytest.StashKey()


@pytest.fixture
def quick() -> bool:
    """Whether the person who runs this wants the short form of long tests."""
    return ENVIRONMENT.get("MAINSTEM_QUICK") == "1"


@pytest.fixture(scope="session", autouse=True)
def unconfigured():
    """No broker inherits what configures these tests, or a broker of whoever runs them."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]


@pytest.fixture
def shards() -> int | None:
    """How many shards the broker gets; by default it chooses."""
    return None


@pytest.fixture
def new_broker(request, tmp_path, shards):
    """A broker with an empty data folder, not started yet. Stopped by SIGTERM, which must end it with 0."""
    if ENVIRONMENT.get("MAINSTEM_REFERENCE") == "kafka":
        # To see whether a test asks for what Apache Kafka does. Slow, and by hand only.
        broker = KafkaServer(java(), tmp_path)
    else:
        broker = Broker(setting("MAINSTEM_BIN"), tmp_path, shards)
    request.node.stash.setdefault(BROKERS, []).append(broker)
    try:
        yield broker
        # A test may leave its broker killed; one that died by itself fails here.
        if broker.process is not None and broker.process.returncode is None:
            broker.stop()
    finally:
        if broker.running():
            broker.kill9()


@pytest.fixture
def broker(new_broker):
    """A running broker."""
    new_broker.start()
    return new_broker


@pytest.fixture
def kcat(broker):
    """kcat(args, stdin) against the broker; returns its standard output."""

    def run(args, stdin=None, **more):
        return program.run(["kcat", "-b", broker.kafka, *args], stdin, **more)

    return run


@pytest.fixture(scope="session")
def kept_agents():
    """Agents outlive tests, because Java takes longer to start than most scenarios."""
    agents = {}
    yield agents
    for agent in agents.values():
        if agent.running():
            agent.stop()


@pytest.fixture
def client_agent(kept_agents):
    """client_agent(name, fresh): the client of that name, or another process of it that the test may kill."""
    fresh_ones = []

    def get(client, fresh=False):
        if fresh:
            fresh_ones.append(new_agent(client))
            return fresh_ones[-1]
        if client not in kept_agents or not kept_agents[client].running():
            kept_agents[client] = new_agent(client)
        return kept_agents[client]

    yield get
    for agent in fresh_ones:
        if agent.running():
            agent.kill()


@pytest.fixture
def java_command():
    """java_command(main_class): how one of Kafka's tools is started, for its arguments to follow.

    The tools disagree on how a broker is named, so the arguments do that: `--bootstrap-server`.
    """

    def command(main_class):
        return [*java(), main_class]

    return command


@pytest.fixture
def java_tool(java_command):
    """java_tool(main_class, args, stdin) runs one of Kafka's tools; returns its standard output."""

    def run(main_class, args, stdin=None, **more):
        return program.run([*java_command(main_class), *args], stdin, **more)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Before any test is left out because of its markers."""
    config.stash[SCENARIOS] = []
    for item in items:
        if not any(item.get_closest_marker(family) for family in FAMILIES):
            raise pytest.UsageError(f"{item.nodeid} needs a marker that says which clients it uses: {sorted(FAMILIES)}")
        marker = item.get_closest_marker("scenario")
        if marker is not None:
            which = [item.callspec.params["client"], marker.args[0], item.callspec.params["shards"]]
            config.stash[SCENARIOS].append(which)
            # Travels with the report, also from another process.
            item.user_properties.append(("scenario", which))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """What a client cannot do is no failure of the broker."""
    try:
        return (yield)
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Shows what a failed test's broker said."""
    report = yield
    if report.failed:
        for broker in item.stash.get(BROKERS, []):
            if broker.stderr.exists():
                said = broker.stderr.read_bytes()[-STDERR_TAIL_BYTES:].decode(errors="replace")
                report.sections.append((f"broker's standard error ({broker.stderr})", said))
    return report


class Compatibility:
    """Writes docs/compatibility.md once everything in it was run."""

    def __init__(self, config):
        self.config = config
        self.outcomes = compatibility.Outcomes()

    def pytest_runtest_logreport(self, report):
        for name, which in report.user_properties:
            if name == "scenario":
                outcome = {"passed": "pass", "failed": "fail"}.get(report.outcome)
                if outcome is None:
                    outcome = f"skip: {report.longrepr[2].removeprefix('Skipped: ')}"
                self.outcomes.note(*which, outcome)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """One of the processes that share the tests has ended; each of them knows all tests."""
        self.config.stash[SCENARIOS] = getattr(node, "workeroutput", {}).get("scenarios", [])

    def pytest_terminal_summary(self, terminalreporter):
        expected = self.config.stash[SCENARIOS]
        missing = self.outcomes.missing(expected)
        if not expected:
            return
        if missing:
            terminalreporter.write_line(f"docs/compatibility.md is left as it is: not run were {', '.join(missing)}")
        else:
            compatibility.DOCUMENT.write_text(compatibility.document(self.outcomes.rows(expected)))


def pytest_configure(config):
    # The processes that share the tests report to the one that started them.
    if os.environ.get("REWRITE") == "1" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Compatibility(config))


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["scenarios"] = session.config.stash[SCENARIOS]
