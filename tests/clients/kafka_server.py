"""Apache Kafka itself: one process that is controller and broker, for tests that compare with it."""

import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

READY_SECONDS = 60
STOP_SECONDS = 30
READY = "Kafka Server started"
TRIES = 3

# As much like our broker as can be set: one replica of everything, no waiting for more members, and no
# retention in the middle of a test, whose records have old timestamps.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.initial.task.delay.ms=86400000
"""


class KafkaServer:
    """Has the face of a Broker, as far as tests use it. `java` is a command that a main class can follow."""

    def __init__(self, java: list[str], folder: Path):
        self.java = java
        self.data = folder / "kafka"
        self.properties = folder / "kafka.properties"
        self.stderr = folder / "kafka.stderr"
        self.process = None
        self.port = 0

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.port}"

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Starts, and makes the data folder first if this is the first start."""
        if self.port:
            assert self._launch(), f"Kafka does not start again: {self.stderr.read_text()[-4000:]}"
            return
        for _ in range(TRIES):
            # Free now; somebody else may take one before Kafka does, hence the tries.
            self.port, controller = free_ports()
            self.properties.write_text(PROPERTIES.format(port=self.port, controller=controller, data=self.data))
            self._format()
            if self._launch():
                return
        raise AssertionError(f"Kafka does not start: {self.stderr.read_text()[-4000:]}")

    def _format(self):
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = [*self.java, "kafka.tools.StorageTool", "format", "--ignore-formatted", "--standalone"]
        # An id that begins with a dash would be taken for an option. The feature makes a setting of topics one
        # of the whole cluster.
        command += [f"--cluster-id={cluster}", "-c", str(self.properties)]
        command += ["--feature", "eligible.leader.replicas.version=0"]
        subprocess.run(command, check=True, capture_output=True, timeout=READY_SECONDS)

    def _launch(self) -> bool:
        seen = self.stderr.stat().st_size if self.stderr.exists() else 0
        with open(self.stderr, "ab") as stderr:
            # What Kafka says at the level that tells when it is ready.
            command = [*self.java[:-2], "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info", *self.java[-2:]]
            command += ["kafka.Kafka", str(self.properties)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        deadline = time.monotonic() + READY_SECONDS
        while self.running() and time.monotonic() < deadline:
            with open(self.stderr, "rb") as said:
                said.seek(seen)
                if READY.encode() in said.read():
                    return True
            time.sleep(0.05)
        return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)

    def kill9(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def restart(self):
        if self.running():
            self.stop()
        self.start()


def free_ports() -> tuple[int, int]:
    """Two that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in [one, other]:
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
