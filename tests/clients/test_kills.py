"""The broker is killed again and again under idempotent producers: nothing is lost, doubled or moved.

A kill -9 spares the page cache, so this is about recovery and deduplication. What a loss of power does
is the simulator's business.
"""

import random
import subprocess
import threading
import time

import confluent_kafka
import pytest

import reader
import writer

TOPIC = "numbers"
PARTITIONS = 4
KILLS = 50
KILLS_QUICK = 5
KILLS_JAVA = 5
# How long a broker lives after it took records again.
LIFE_SECONDS = 0.4
# So many in flight at most: enough that a kill always hits some, and no more memory than that.
AHEAD = 20_000


@pytest.fixture
def chance():
    """A failure is repeated, as far as timing allows, by putting the printed seed here."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


class Numbers:
    """Keeps producing 0, 1, 2 ... to each partition, and remembers where each number went."""

    def __init__(self, broker):
        self.offsets: list[list[int | None]] = [[] for _ in range(PARTITIONS)]
        self.acknowledged = 0
        self.failures = []
        self._stop = threading.Event()
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": broker.kafka,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 2,
                # Small ones, so that there are many in flight.
                "batch.num.messages": 50,
                "message.timeout.ms": 120_000,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "error_cb": self._on_error,
                # Lost connections are no news here.
                "log_level": 2,
            }
        )
        self._thread = threading.Thread(target=self._produce)
        self._thread.start()

    def _on_error(self, error):
        if error.fatal():
            self.failures.append(f"fatal: {error}")

    def _produce(self):
        while not self._stop.is_set() and not self.failures:
            if len(self._producer) > AHEAD:
                self._producer.poll(0.005)
                continue
            for _ in range(20):
                for partition, offsets in enumerate(self.offsets):
                    number = len(offsets)
                    offsets.append(None)
                    self._producer.produce(TOPIC, b"%d" % number, partition=partition, on_delivery=self._on_delivery)
            # Slow enough that the whole is read back in seconds.
            self._producer.poll(0.002)

    def _on_delivery(self, error, message):
        if error is not None:
            self.failures.append(f"not delivered: {error}")
            return
        number = int(message.value())
        offsets = self.offsets[message.partition()]
        if offsets[number] is not None:
            self.failures.append(f"number {number} was delivered twice")
        offsets[number] = message.offset()
        self.acknowledged += 1

    def finish(self):
        self._stop.set()
        self._thread.join(60)
        left = self._producer.flush(90)
        assert not self.failures, self.failures[:5]
        assert left == 0, f"{left} records are not acknowledged"


def wait_for_more(numbers: Numbers, seconds: float = 60):
    before = numbers.acknowledged
    deadline = time.monotonic() + seconds
    while numbers.acknowledged == before:
        assert not numbers.failures, numbers.failures[:5]
        assert time.monotonic() < deadline, f"nothing was acknowledged for {seconds} seconds"
        time.sleep(0.002)


@pytest.mark.timeout(280)
@pytest.mark.python
def test_kills_lose_double_and_move_nothing(broker, quick, chance):
    writer.create_topic(broker, TOPIC, PARTITIONS)
    numbers = Numbers(broker)
    try:
        for _ in range(KILLS_QUICK if quick else KILLS):
            # One in five is killed before it served, some in the middle of its recovery's aftermath.
            if chance.random() < 0.8:
                wait_for_more(numbers)
            time.sleep(chance.uniform(0, LIFE_SECONDS))
            broker.kill9()
            time.sleep(chance.choice([0, 0, 0.1]))
            broker.start()
        wait_for_more(numbers)
    finally:
        numbers.finish()
    read = [0] * PARTITIONS
    for message in reader.messages(broker, TOPIC, PARTITIONS):
        partition = message.partition()
        number = int(message.value())
        # The reader has checked that offsets follow each other: so no gap, no repeat, no other order.
        assert number == read[partition], f"{number} of partition {partition} follows {read[partition] - 1}"
        said = numbers.offsets[partition][number]
        assert said == message.offset(), f"{number} of partition {partition} is not at {said}"
        read[partition] += 1
    assert read == [len(offsets) for offsets in numbers.offsets]
    print(f"{sum(read)} records")


@pytest.mark.timeout(180)
@pytest.mark.java
@pytest.mark.python
def test_kills_under_java_s_console_producer(broker, quick, chance, java_command):
    """It chooses the partitions itself: in each, the numbers rise, and together they are all there."""
    writer.create_topic(broker, TOPIC, PARTITIONS)
    command = java_command("org.apache.kafka.tools.ConsoleProducer") + [
        *["--bootstrap-server", broker.kafka, "--topic", TOPIC, "--compression-codec", "zstd"],
        # Its own defaults give up soon.
        *["--message-send-max-retries", "2147483647", "--request-timeout-ms", "5000", "--max-block-ms", "60000"],
        *["--command-property", "enable.idempotence=true", "--command-property", "delivery.timeout.ms=90000"],
        *["--command-property", "linger.ms=2", "--command-property", "reconnect.backoff.ms=10"],
        *["--command-property", "reconnect.backoff.max.ms=200", "--command-property", "batch.size=2000"],
    ]
    said = broker.data.parent / "producer.stderr"
    with open(said, "wb") as stderr:
        producer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr)
    written = 0
    killing = threading.Event()

    def keep_writing():
        nonlocal written
        while not killing.is_set():
            producer.stdin.write(b"".join(b"%d\n" % number for number in range(written, written + 100)))
            producer.stdin.flush()
            written += 100
            time.sleep(0.01)
        producer.stdin.close()

    writing = threading.Thread(target=keep_writing)
    try:
        writing.start()
        for _ in range(2 if quick else KILLS_JAVA):
            time.sleep(1 + chance.uniform(0, LIFE_SECONDS))
            broker.kill9()
            broker.start()
        time.sleep(1)
        killing.set()
        writing.join(60)
        assert producer.wait(100) == 0, said.read_text()
    finally:
        killing.set()
        producer.kill()
    assert "Error when sending message" not in said.read_text()
    seen = set()
    last = [-1] * PARTITIONS
    for message in reader.messages(broker, TOPIC, PARTITIONS):
        number = int(message.value())
        assert number > last[message.partition()], f"{number} follows {last[message.partition()]}"
        last[message.partition()] = number
        seen.add(number)
    assert seen == set(range(written))
    print(f"{written} records")
