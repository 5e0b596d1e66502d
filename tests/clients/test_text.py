"""Much text, in with one client and out with another, with every codec: nothing lost, changed or moved."""

import os

import confluent_kafka
import pytest

import reader
import text
import wire
import writer

PARTITIONS = 2
# Of each of the five large tests, one for each codec, unless somebody has less time.
BYTES = int(os.environ.get("MAINSTEM_TEXT_BYTES", "1000000000"))
BYTES_QUICK = 5_000_000
BYTES_SMALL = 300_000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
LARGE = pytest.mark.timeout(240 + BYTES // 1_000_000)


@pytest.fixture
def sources(request, quick):
    """The text for each partition, different in every test."""
    size = BYTES_QUICK if quick else BYTES
    return [text.lines(f"{request.node.name} {partition}", size // PARTITIONS) for partition in range(PARTITIONS)]


@LARGE
@pytest.mark.kcat
@pytest.mark.java
def test_none_from_kcat_to_java(broker, kcat, java_tool, sources, tmp_path):
    writer.create_topic(broker, "text", PARTITIONS)
    written = writer.with_kcat(kcat, "text", "none", sources, tmp_path)
    assert stored_codecs(broker, "text", 0) == stored_codecs(broker, "text", 1) == {"none"}
    assert reader.with_java(java_tool, broker, "text", PARTITIONS, count(written), tmp_path) == written


@LARGE
@pytest.mark.java
@pytest.mark.python
def test_gzip_from_java_to_confluent(broker, java_tool, sources, tmp_path):
    writer.create_topic(broker, "text", PARTITIONS)
    written = writer.with_java(java_tool, broker, "text", "gzip", sources, tmp_path)
    assert stored_codecs(broker, "text", 0) == stored_codecs(broker, "text", 1) == {"gzip"}
    assert reader.with_confluent(broker, "text", PARTITIONS) == written


@LARGE
@pytest.mark.python
@pytest.mark.java
def test_snappy_from_confluent_to_java(broker, java_tool, sources, tmp_path):
    writer.create_topic(broker, "text", PARTITIONS)
    written = writer.with_confluent(broker, "text", "snappy", sources)
    assert stored_codecs(broker, "text", 0) == stored_codecs(broker, "text", 1) == {"snappy"}
    assert reader.with_java(java_tool, broker, "text", PARTITIONS, count(written), tmp_path) == written


@LARGE
@pytest.mark.kcat
@pytest.mark.python
def test_lz4_from_kcat_over_a_restart_to_confluent(broker, kcat, sources, tmp_path):
    writer.create_topic(broker, "text", PARTITIONS)
    written = writer.with_kcat(kcat, "text", "lz4", sources, tmp_path)
    assert stored_codecs(broker, "text", 0) == stored_codecs(broker, "text", 1) == {"lz4"}
    broker.restart()
    assert reader.with_confluent(broker, "text", PARTITIONS) == written


@LARGE
@pytest.mark.python
@pytest.mark.kcat
def test_zstd_from_confluent_over_a_kill_to_kcat(broker, kcat, sources, tmp_path):
    writer.create_topic(broker, "text", PARTITIONS)
    written = writer.with_confluent(broker, "text", "zstd", sources)
    assert stored_codecs(broker, "text", 0) == stored_codecs(broker, "text", 1) == {"zstd"}
    broker.kill9()
    broker.start()
    assert reader.with_kcat(kcat, "text", PARTITIONS, tmp_path) == written


@pytest.mark.timeout(180)
@pytest.mark.python
@pytest.mark.kcat
@pytest.mark.java
def test_every_client_reads_every_codec_of_every_client(broker, kcat, java_tool, tmp_path):
    """All in one partition, so that batches of every kind lie beside each other."""
    writer.create_topic(broker, "mixed")
    written = text.Digest()
    for codec in CODECS:
        for client in ["kcat", "confluent", "java"]:
            lines = list(text.lines(f"{codec} {client}", BYTES_SMALL))
            if client == "kcat":
                writer.with_kcat(kcat, "mixed", codec, [lines], tmp_path)
            elif client == "confluent":
                writer.with_confluent(broker, "mixed", codec, [lines])
            else:
                writer.with_java(java_tool, broker, "mixed", codec, [lines], tmp_path)
            for line in lines:
                written.add(line)
    assert stored_codecs(broker, "mixed", 0, max_bytes=32 << 20) == set(CODECS)
    assert reader.with_kcat(kcat, "mixed", 1, tmp_path) == [written]
    assert reader.with_confluent(broker, "mixed", 1) == [written]
    assert reader.with_java(java_tool, broker, "mixed", 1, written.count, tmp_path) == [written]


@pytest.mark.python
def test_a_producer_that_gathers_nothing(broker):
    """Every record in a request of its own, and as many requests at once as librdkafka likes: a million."""
    writer.create_topic(broker, "single")
    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.kafka,
        "linger.ms": 0,
        "batch.num.messages": 1,
        "max.in.flight.requests.per.connection": 1_000_000,
    })
    lines = list(text.lines("single", BYTES_SMALL))
    for line in lines:
        producer.produce("single", line, partition=0)
    assert producer.flush(30) == 0
    assert reader.with_confluent(broker, "single", 1) == [text.Digest(lines)]


def stored_codecs(broker, topic: str, partition: int, max_bytes: int = 1 << 20) -> set[str]:
    """The codecs of the first batches: what a client quietly does not compress tests nothing.

    But for a batch of a few lines, which librdkafka sends as it is when that is shorter.
    """
    with wire.Connection(broker.kafka) as connection:
        records = wire.fetch(connection, topic, partition, max_bytes=max_bytes).records
    return {CODECS[codec] for codec in wire.codecs(records, larger_than=2000)}


def count(digests) -> int:
    return sum(digest.count for digest in digests)
