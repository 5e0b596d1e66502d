"""What /metrics says, held against what was done."""

import os
import struct
import threading
import time
import urllib.request

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import wire
import writer
from reader import UPKEEP_SECONDS

pytestmark = pytest.mark.python

TOPIC = "counted"
GROUP = "counting"
OFFSET_COMMIT = 8
MIB = 1 << 20
SHOWN_TOPICS = 1000
SHOWN_GROUPS = 1000
SHOWN_LAGS = 2000
# Records of the time that batches made by hand have would not be kept otherwise.
KEPT = {"retention.ms": "-1"}
# Half of a whole second is what a scrape of so much may take on a machine that others use, too.
SCRAPE_SECONDS = 0.5
STALL_SECONDS = 1


class Scrape:
    """Every sample, by name and labels."""

    def __init__(self, broker):
        with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=30) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            self.text = answer.read().decode()
        self.samples = {}
        for family in text_string_to_metric_families(self.text):
            assert family.documentation, f"{family.name} does not say what it is"
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = sample.value

    def get(self, name: str, **labels) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def all(self, name: str) -> dict[frozenset, float]:
        return {labels: value for (found, labels), value in self.samples.items() if found == name}

    def sum(self, name: str) -> float:
        return sum(self.all(name).values())

    def topic(self, name: str = TOPIC) -> tuple:
        """Records in and out, of a topic."""
        return tuple(self.get(f"mainstem_topic_records_{way}_total", topic=name) for way in ["in", "out"])

    def api(self, metric: str, api: str) -> float:
        return self.get(f"mainstem_protocol_{metric}", protocol="kafka", api=api)


def produce(broker, count: int, partitions: int, topic: str = TOPIC, **more):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "linger.ms": 5, **more})
    for number in range(count):
        producer.produce(topic, f"value {number}", partition=number % partitions)
    assert producer.flush(30) == 0


def consume(broker, count: int, group: str = GROUP, topic: str = TOPIC, commit: bool = True):
    """Reads so many records and commits exactly these."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe([topic])
    try:
        records = []
        while len(records) < count:
            found = consumer.consume(count - len(records), 30)
            assert found, f"only {len(records)} of {count} records came"
            assert not any(record.error() for record in found)
            records += found
        if commit:
            last = {record.partition(): record.offset() + 1 for record in records}
            consumer.commit(offsets=[TopicPartition(topic, *at) for at in last.items()], asynchronous=False)
        return records
    finally:
        consumer.close()


def commit(broker, group: str, offsets: dict[int, int], topic: str = TOPIC):
    positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    changed = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, positions)])
    changed[group].result(30)


def delete_topic(broker, topic: str):
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    admin.delete_topics([topic])[topic].result(30)


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_records_and_bytes_are_counted_exactly(broker, codec):
    writer.create_topic(broker, TOPIC, 3)
    assert Scrape(broker).topic() == (0, 0)
    produce(broker, 1000, 3, **{"compression.type": codec})
    after = Scrape(broker)
    assert after.topic() == (1000, 0)
    sent = after.get("mainstem_topic_bytes_in_total", topic=TOPIC)
    assert after.get("mainstem_topic_bytes", topic=TOPIC) == sent
    assert after.get("mainstem_topic_partitions", topic=TOPIC) == 3
    assert after.api("requests_total", "Produce") > 0
    assert after.api("request_bytes_total", "Produce") > sent
    assert len(consume(broker, 1000)) == 1000
    after = Scrape(broker)
    assert after.topic() == (1000, 1000)
    assert after.get("mainstem_topic_bytes_out_total", topic=TOPIC) == sent
    assert after.api("response_bytes_total", "Fetch") > sent
    written = sum(after.sum(f"mainstem_journal_{kind}_bytes_total") for kind in ["log", "packed", "checkpoint"])
    assert written > sent
    for listener in ["kafka", "http"]:
        for way in ["in", "out"]:
            assert after.get(f"mainstem_connection_bytes_{way}_total", listener=listener) > 0


def test_records_sent_from_files_are_counted_exactly(broker):
    writer.create_topic(broker, TOPIC)
    broker.options += ["--cache-bytes", str(MIB)]
    broker.restart()
    batches, each = 64, 7
    records = wire.batch([os.urandom(MIB // 8 // each) for _ in range(each)])
    with wire.Connection(broker.kafka) as connection:
        for _ in range(batches):
            assert wire.produce(connection, TOPIC, 0, records).error == 0
        before = Scrape(broker)
        offset = 0
        while offset < batches * each:
            found = wire.fetch(connection, TOPIC, 0, offset, max_bytes=MIB).records
            offset += len(found) // len(records) * each
    after = Scrape(broker)
    assert after.topic() == (batches * each, batches * each)
    assert after.get("mainstem_topic_bytes_out_total", topic=TOPIC) == batches * len(records)
    read = after.sum("mainstem_journal_cache_misses_total") - before.sum("mainstem_journal_cache_misses_total")
    assert read < batches, "some went from a file to the socket without being read"


def test_a_batch_sent_twice_counts_once(broker):
    writer.create_topic(broker, TOPIC)
    with wire.Connection(broker.kafka) as connection:
        records = wire.batch([b"1", b"2"], producer=(wire.new_producer(connection), 0, 0))
        assert wire.produce(connection, TOPIC, 0, records) == wire.Appended(0, 0)
        assert wire.produce(connection, TOPIC, 0, records) == wire.Appended(0, 0)
    assert Scrape(broker).topic() == (2, 0)
    assert Scrape(broker).api("requests_total", "Produce") == 2


def test_errors_are_counted_by_their_names(broker):
    writer.create_topic(broker, TOPIC)
    records = wire.batch([b"a"])
    with wire.Connection(broker.kafka) as connection:
        for _ in range(3):
            assert wire.produce(connection, TOPIC, 7, records).error == wire.UNKNOWN_TOPIC_OR_PARTITION
        assert wire.produce(connection, TOPIC, 0, records[:-1] + b"b").error == wire.CORRUPT_MESSAGE
        assert wire.fetch(connection, TOPIC, 0, 5).error == wire.OFFSET_OUT_OF_RANGE
        # Nobody is told, and it counts all the same.
        connection.send(wire.request(wire.PRODUCE, 3, 1, wire.produce_body(TOPIC, 8, records, acks=0)))
        assert connection.is_closed()
    counted = {}
    for labels, count in Scrape(broker).all("mainstem_protocol_errors_total").items():
        labels = dict(labels)
        assert labels.pop("protocol") == "kafka"
        counted[labels["api"], labels["error"]] = count
    assert counted == {
        ("Produce", "UNKNOWN_TOPIC_OR_PARTITION"): 4,
        ("Produce", "CORRUPT_MESSAGE"): 1,
        ("Fetch", "OFFSET_OUT_OF_RANGE"): 1,
    }


def test_waiting_for_records_is_no_part_of_a_fetch(broker):
    writer.create_topic(broker, TOPIC)
    with wire.Connection(broker.kafka) as connection:
        assert wire.fetch(connection, TOPIC, 0, 0, max_wait=1500).error == 0
    after = Scrape(broker)
    assert after.api("requests_total", "Fetch") == 1
    assert after.api("waits_total", "Fetch") == 1
    assert 1.4 < after.api("wait_seconds_total", "Fetch") < 10
    assert after.api("request_seconds_sum", "Fetch") < 0.7
    assert after.api("request_seconds_count", "Fetch") == 1
    buckets = {dict(labels)["le"]: count for labels, count in after.all("mainstem_protocol_request_seconds_bucket").items()
               if dict(labels)["api"] == "Fetch"}
    assert buckets["+Inf"] == buckets["1.0"] == 1


def test_what_goes_through_a_listener_is_what_its_requests_and_answers_take(broker):
    with wire.Connection(broker.kafka) as connection:
        for _ in range(5):
            wire.metadata(connection, None, False)
        connection.ask(wire.API_VERSIONS, 0)
    after = Scrape(broker)
    for way, part in [("in", "request"), ("out", "response")]:
        through = after.get(f"mainstem_connection_bytes_{way}_total", listener="kafka")
        assert through == after.sum(f"mainstem_protocol_{part}_bytes_total") > 0


def test_lag_is_right_in_records_and_in_seconds(broker):
    writer.create_topic(broker, TOPIC, 2)
    now = int(time.time() * 1000)
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka})
    for age in [3_600_000, 600_000, 60_000]:
        # Each in a batch of its own: of a batch, the newest record is known.
        producer.produce(TOPIC, b"old", partition=0, timestamp=now - age)
        assert producer.flush(30) == 0
    producer.produce(TOPIC, b"new", partition=1, timestamp=now - 5_000)
    assert producer.flush(30) == 0
    commit(broker, GROUP, {0: 1, 1: 0})

    def lag(scrape, group=GROUP):
        labels = {"group": group, "topic": TOPIC}
        return scrape.get("mainstem_group_lag_records", **labels), scrape.get("mainstem_group_lag_seconds", **labels)

    records, seconds = lag(Scrape(broker))
    assert records == 3
    assert 600 <= seconds < 660
    commit(broker, GROUP, {0: 3, 1: 0})
    records, seconds = lag(Scrape(broker))
    assert records == 1
    assert 5 <= seconds < 60
    commit(broker, GROUP, {0: 3, 1: 1})
    assert lag(Scrape(broker)) == (0, 0)
    # Also when nothing is in memory any more.
    commit(broker, GROUP, {0: 1, 1: 1})
    broker.restart()
    records, seconds = lag(Scrape(broker))
    assert records == 2
    assert 600 <= seconds < 700
    scrape = Scrape(broker)
    assert scrape.get("mainstem_group_lag_ages_unknown") == 0
    assert scrape.get("mainstem_groups", state="Empty") == 1
    # A deleted topic leaves nothing behind.
    delete_topic(broker, TOPIC)
    scrape = Scrape(broker)
    assert lag(scrape) == (None, None)
    assert scrape.topic() == (None, None)
    assert scrape.get("mainstem_topics") == 0


def test_a_live_group_has_its_members_and_its_state(broker):
    writer.create_topic(broker, TOPIC)
    produce(broker, 10, 1)
    # Names may be anything, and are one label's value each.
    group = 'a "group"\\ of\nmany {lines}'
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka, "group.id": group, "auto.offset.reset": "earliest",
    })
    consumer.subscribe([TOPIC])
    try:
        assert consumer.poll(30).error() is None
        consumer.commit(asynchronous=False)
        scrape = Scrape(broker)
        assert scrape.get("mainstem_group_members", group=group) == 1
        assert scrape.get("mainstem_groups", state="Stable") == 1
        assert scrape.get("mainstem_group_lag_records", group=group, topic=TOPIC) == 9
    finally:
        consumer.close()
    scrape = Scrape(broker)
    assert scrape.get("mainstem_group_members", group=group) == 0
    assert scrape.get("mainstem_groups", state="Empty") == 1


def commit_first(connection, group: str, topic: str, partitions: int):
    """The group has consumed the first record of each partition."""
    body = wire.text(group) + struct.pack(">i", -1) + wire.text("") + struct.pack(">qi", -1, 1)
    body += wire.text(topic) + struct.pack(">i", partitions)
    for partition in range(partitions):
        body += struct.pack(">iq", partition, 1) + wire.text(None)
    answer = connection.ask(OFFSET_COMMIT, 2, body)
    results = answer.array(lambda topic: (topic.text(), topic.array(lambda at: (at.i32(), at.i16()))))
    assert results == [(topic, [(partition, 0) for partition in range(partitions)])]


def create_topics(broker, names: list[str], partitions: int, **configs: str):
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    for start in range(0, len(names), 250):
        new = [NewTopic(name, partitions, 1, config=configs) for name in names[start : start + 250]]
        for made in admin.create_topics(new, request_timeout=60).values():
            made.result(60)


def test_so_many_topics_are_shown_and_no_more(broker):
    names = [f"topic-{number:04}" for number in range(1500)]
    create_topics(broker, names, 1)
    scrape = Scrape(broker)
    in_all = scrape.all("mainstem_topic_records_in_total")
    shown = [dict(labels)["topic"] for labels in in_all]
    assert sorted(shown) == ["", *names[:SHOWN_TOPICS]]
    assert (scrape.get("mainstem_topics"), scrape.get("mainstem_topics_folded")) == (1500, 500)
    for name, count in [(names[0], 3), (names[1200], 4), (names[1499], 5)]:
        produce(broker, count, 1, name)
    scrape = Scrape(broker)
    assert scrape.topic(names[0]) == (3, 0)
    assert scrape.topic("") == (9, 0)
    # The place of one that is deleted is given away; no other changes hands.
    delete_topic(broker, names[7])
    produce(broker, 1, 1, names[1200])
    scrape = Scrape(broker)
    shown = {dict(labels)["topic"] for labels in scrape.all("mainstem_topic_records_in_total")}
    assert names[7] not in shown
    assert set(names[:7] + names[8:SHOWN_TOPICS]) < shown and len(shown) == SHOWN_TOPICS + 1
    assert scrape.topic("")[0] >= 9, "no counter goes back"
    assert scrape.sum("mainstem_topic_records_in_total") == 13
    assert (scrape.get("mainstem_topics"), scrape.get("mainstem_topics_folded")) == (1499, 499)


def test_so_many_groups_are_shown_and_no_more(broker):
    groups = [f"group-{number:04}" for number in range(SHOWN_GROUPS + 5)]
    topics = {"near": 2, "far": 4}
    for topic in topics:
        writer.create_topic(broker, topic, 1, KEPT)
    with wire.Connection(broker.kafka) as connection:
        for topic, records in topics.items():
            assert wire.produce(connection, topic, 0, wire.batch([b"a"] * records)).error == 0
            for group in groups:
                commit_first(connection, group, topic, 1)
    # It is the last by name, so it is not shown, and its member is one of all others.
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka, "group.id": groups[-1], "enable.auto.commit": False,
    })
    consumer.subscribe(["near"])
    try:
        assert consumer.poll(30).error() is None
        scrape = Scrape(broker)
        members = {dict(labels)["group"]: count for labels, count in scrape.all("mainstem_group_members").items()}
        assert members == {"": 1, **dict.fromkeys(groups[:SHOWN_GROUPS], 0)}
        assert scrape.get("mainstem_groups_folded") == 5
        assert scrape.get("mainstem_groups", state="Empty") == len(groups) - 1
        assert scrape.get("mainstem_groups", state="Stable") == 1
    finally:
        consumer.close()
    for name in ["records", "seconds"]:
        assert len(scrape.all(f"mainstem_group_lag_{name}")) == SHOWN_LAGS + 1
    assert scrape.get("mainstem_group_lags_folded") == 2 * 5
    assert scrape.get("mainstem_group_lag_records", group=groups[0], topic="far") == 3
    assert scrape.get("mainstem_group_lag_records", group="", topic="") == 5 * (1 + 3)
    assert scrape.sum("mainstem_group_lag_records") == len(groups) * (1 + 3), "none is left out"
    # The place of one that is deleted is given away; no other changes hands.
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    admin.delete_consumer_groups([groups[7]])[groups[7]].result(30)
    scrape = Scrape(broker)
    shown = {dict(labels)["group"] for labels in scrape.all("mainstem_group_members")}
    assert groups[7] not in shown
    assert set(groups[:7] + groups[8:SHOWN_GROUPS]) < shown and len(shown) == SHOWN_GROUPS + 1
    assert (scrape.get("mainstem_groups_folded"), scrape.get("mainstem_group_lags_folded")) == (4, 2 * 4)


@pytest.mark.timeout(600)
def test_a_scrape_of_much_is_quick_and_holds_up_no_producer(broker, quick):
    topics, partitions, groups = (50, 10, 100) if quick else (1000, 10, SHOWN_GROUPS)
    names = [f"topic-{number:04}" for number in range(topics)]
    # What is written below has a time of long ago.
    create_topics(broker, names, partitions, **{"retention.ms": "-1"})
    with wire.Connection(broker.kafka) as connection:
        # Something to be behind by, in every partition of some.
        for name in names[:groups]:
            for partition in range(partitions):
                assert wire.produce(connection, name, partition, wire.batch([b"a", b"b"])).error == 0
        for number in range(groups):
            commit_first(connection, f"group-{number:04}", names[number % topics], partitions)
    Scrape(broker)
    slowest, done, failures = [0.0], threading.Event(), []

    def keep_producing():
        try:
            with wire.Connection(broker.kafka) as connection:
                while not done.is_set():
                    began = time.monotonic()
                    assert wire.produce(connection, names[0], 0, wire.batch([b"a"])).error == 0
                    slowest[0] = max(slowest[0], time.monotonic() - began)
        except BaseException as error:
            failures.append(error)

    producer = threading.Thread(target=keep_producing)
    producer.start()
    took = []
    try:
        for _ in range(10):
            began = time.monotonic()
            with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=30) as answer:
                answer.read()
            took.append(time.monotonic() - began)
    finally:
        done.set()
        producer.join(30)
    assert not failures
    scrape = Scrape(broker)
    assert scrape.get("mainstem_groups", state="Empty") == groups
    lags = scrape.all("mainstem_group_lag_records")
    assert len(lags) == groups
    # Of the first topic there are more by now.
    assert sorted(lags.values())[0] == partitions
    assert scrape.get("mainstem_group_lag_ages_unknown") == 0
    print("scrapes took", [round(seconds, 3) for seconds in sorted(took)], "slowest produce", slowest[0])
    assert sorted(took)[len(took) // 2] < SCRAPE_SECONDS
    assert slowest[0] < STALL_SECONDS


def test_the_process_is_plausible(broker):
    scrape = Scrape(broker)
    with open(f"/proc/{broker.pid}/status") as status:
        said = dict(line.split(":\t", 1) for line in status)
    memory = scrape.get("process_resident_memory_bytes")
    assert memory == pytest.approx(int(said["VmRSS"].split()[0]) * 1024, rel=0.5)
    assert memory < scrape.get("process_virtual_memory_bytes")
    assert scrape.get("process_threads") == pytest.approx(int(said["Threads"]), abs=10)
    open_files = len(os.listdir(f"/proc/{broker.pid}/fd"))
    assert scrape.get("process_open_fds") == pytest.approx(open_files, abs=5)
    assert scrape.get("process_open_fds") < scrape.get("process_max_fds")
    assert abs(time.time() - scrape.get("process_start_time_seconds")) < 120
    writer.create_topic(broker, TOPIC)
    before, began, used = scrape.get("process_cpu_seconds_total"), time.monotonic(), 0
    # It is told in hundredths of a second, in which much can be done.
    while used < 0.05:
        produce(broker, 100_000, 1)
        used = Scrape(broker).get("process_cpu_seconds_total") - before
        took = time.monotonic() - began
        assert took < 100
    assert used < took * os.cpu_count()


def test_the_journal_tells_how_long_it_takes(broker):
    writer.create_topic(broker, TOPIC)
    before = Scrape(broker)
    with wire.Connection(broker.kafka) as connection:
        for _ in range(20):
            assert wire.produce(connection, TOPIC, 0, wire.batch([b"a"])).error == 0
    after = Scrape(broker)
    for name in ["write", "fsync", "append"]:
        metric = f"mainstem_journal_{name}_seconds"
        count = after.sum(f"{metric}_count") - before.sum(f"{metric}_count")
        assert 20 <= count, f"{name}: {count}"
        assert 0 < after.sum(f"{metric}_sum") - before.sum(f"{metric}_sum") < 20
    assert after.sum("mainstem_journal_fsync_seconds_count") == after.sum("mainstem_journal_fsyncs_total")
    assert after.sum("mainstem_journal_file_bytes") <= after.sum("mainstem_journal_bound_bytes")


# All records share files.
@pytest.mark.parametrize("shards", [1])
def test_packing_is_told_and_keeps_files_within_their_bound(broker):
    """Far more is written than the bound allows, and one record in so many stays: files have to be rewritten."""
    every, written, kept_bytes = 32, 640, 8 * MIB
    writer.create_topic(broker, "stays", config=KEPT)
    writer.create_topic(broker, TOPIC, config={**KEPT, "retention.bytes": str(kept_bytes)})
    values = [os.urandom(1_000_000) for _ in range(2)]
    goes, stays = [wire.batch([value]) for value in values]
    with wire.Connection(broker.kafka, timeout=60) as connection:
        for number in range(written):
            topic, records = ("stays", stays) if number % every == 0 else (TOPIC, goes)
            assert wire.produce(connection, topic, 0, records).error == 0
    sent = written * len(goes)
    live = kept_bytes + written // every * len(stays)
    deadline = time.monotonic() + UPKEEP_SECONDS
    while True:
        scrape = Scrape(broker)

        def journal(name: str) -> float:
            # The other shard, 0, has the catalog.
            return scrape.get(f"mainstem_journal_{name}", shard="1")

        # The bound falls with what is alive, and with what the Raft log needs: so far that files would not keep to
        # it by themselves.
        fallen = journal("live_bytes") < 1.1 * live and journal("bound_bytes") < sent - 100 * MIB
        # What was read to be rewritten stays, and little more is written.
        read = journal("pack_read_bytes_total")
        rewritten = 0 < read <= journal("packed_bytes_total") <= 1.1 * read and journal("packing") == 0
        if fallen and rewritten and journal("file_bytes") <= journal("bound_bytes"):
            break
        assert time.monotonic() < deadline, scrape.text
        time.sleep(0.2)
    assert journal("log_bytes_total") > sent
    assert journal("packs_total") > 0
    assert journal("files_removed_total") > 0
    assert journal("reclaimed_bytes_total") > sent - journal("bound_bytes")
    on_disk = sum(file.stat().st_size for file in broker.data.rglob("*") if file.is_file())
    assert on_disk < sent - 100 * MIB
    left = consume(broker, written // every, topic="stays")
    assert [record.value() for record in left] == [values[1]] * (written // every)
