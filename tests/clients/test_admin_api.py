"""The admin API: each endpoint and its errors, and that it sees what Kafka's clients see."""

import base64
import json
import re
import struct
import threading
import time
import urllib.request

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from openapi_spec_validator import validate

from admin_api import Api, quote

pytestmark = pytest.mark.python

EPOCH = 1_700_000_000_000
# Records of that time would not be kept otherwise.
KEPT = {"retention.ms": -1}


@pytest.fixture
def api(broker):
    return Api(broker)


def consumer(broker, group: str = "g", **more):
    return confluent_kafka.Consumer({
        "bootstrap.servers": broker.kafka,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        **more,
    })


def consume(broker, topic: str, count: int, partition: int = 0) -> list:
    reader = consumer(broker)
    reader.assign([TopicPartition(topic, partition, 0)])
    messages = reader.consume(count, timeout=10)
    reader.close()
    assert len(messages) == count and not any(message.error() for message in messages)
    return messages


def records_read(broker, topic: str) -> float:
    with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    return float(re.search(rf'^mainstem_topic_records_out_total{{topic="{topic}"}} (\S+)', metrics, re.MULTILINE)[1])


# The document.


def test_the_document_is_valid_openapi(api):
    document = api.document
    validate(document)
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert any(status.startswith("2") for status in operation["responses"])
            # Whoever is refused is told why.
            assert {"400", "403", "421", "500", "503"} <= operation["responses"].keys()
            described = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert described == {part.strip("{}") for part in path.split("/") if part.startswith("{")}
            assert (method in ["post", "patch"]) == ("requestBody" in operation), (method, path)


def test_every_path_of_the_document_is_answered(api):
    """By what is there or by what is not, but never by nothing."""
    for path, operations in api.document["paths"].items():
        for method, operation in operations.items():
            target = path.replace("{partition}", "0").replace("{", "no-such-").replace("}", "")
            body = b"{}" if "requestBody" in operation else None
            headers = {"Content-Type": "application/json"} if body else {}
            answer = api.raw(method.upper(), target, body, headers)
            assert answer.code not in ["unknown_path", "method_not_allowed", "internal"], (method, path)
    every = {(method.upper(), path) for path, found in api.document["paths"].items() for method in found}
    assert api.seen == every
    nothing = api.get("/v1/nothing")
    assert (nothing.status, nothing.code) == (404, "unknown_path")
    assert api.get("/v1").code == api.get("/v1/").code == "unknown_path"
    refused = api.raw("PUT", "/v1/topics")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, POST")


def test_a_head_is_a_get_without_its_body(broker, api):
    answer = api.raw("HEAD", "/v1/node")
    assert answer.status == 200 and answer.body == b""


# The node.


def test_the_node(broker, api):
    api.create("a", 3)
    node = api.get("/v1/node").value
    assert node["listeners"] == {"kafka": broker.kafka, "http": broker.http}
    assert node["data_folder"] == str(broker.data)
    assert node["topics"] == 1
    assert 0 < node["disk"]["free_bytes"] <= node["disk"]["total_bytes"]
    assert node["problems"] == []
    assert 0 <= node["uptime_seconds"] < 600
    assert abs(node["started"] + node["uptime_seconds"] * 1000 - time.time() * 1000) < 60_000
    assert [shard["shard"] for shard in node["shards"]] == list(range(len(node["shards"])))
    assert sum(shard["streams"] for shard in node["shards"]) == 3
    assert all(shard["leads"] and not shard["in_doubt"] for shard in node["shards"])
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    cluster = admin.describe_cluster().result(10)
    assert (node["cluster"], node["node"]) == (cluster.cluster_id, cluster.nodes[0].id)


def test_the_nodes_of_a_cluster_of_one(broker, api):
    node = api.get("/v1/node").value
    shards = [shard["shard"] for shard in node["shards"]]
    nodes = api.get("/v1/nodes").value
    version, newest = nodes["cluster_version"], nodes["nodes"][0]["cluster_version_max"]
    assert 1 <= version <= newest and nodes == {
        "node": node["node"],
        "cluster_version": version,
        "controller": node["node"],
        "nodes": [
            {
                "node": node["node"],
                "state": "active",
                "rack": None,
                "cluster_version_max": newest,
                "peer": None,
                "endpoints": {"kafka": broker.kafka, "http": broker.http},
                "leads": shards,
                "replicas": [{"shard": shard, "voter": True, "behind": 0, "copying": None} for shard in shards],
                "keeps": [],
            }
        ],
    }


# Topics.


def test_a_topic_is_made_described_changed_and_removed(broker, api):
    made = api.create("orders", 3, **{"retention.ms": 86400000, "cleanup.policy": "compact,delete"})
    assert made.headers["location"] == "/v1/topics/orders"
    assert made.value["partitions"] == 3 and made.value["replicas"] == 1 and not made.value["validate_only"]
    api.write("orders", {"key": "k", "value": "v", "partition": 1}, {"key": "k", "value": "w", "partition": 1})

    topic = api.get("/v1/topics/orders").value
    assert topic["id"] == made.value["id"]
    assert [partition["partition"] for partition in topic["partitions"]] == [0, 1, 2]
    assert [(p["start"], p["end"], p["leader"], p["replicas"]) for p in topic["partitions"]] == [
        (0, 0, 1, [1]),
        (0, 2, 1, [1]),
        (0, 0, 1, [1]),
    ]
    assert topic["records"] == 2
    assert topic["bytes"] == topic["partitions"][1]["bytes"] > 60
    configs = {config["name"]: config for config in topic["configs"]}
    assert configs["retention.ms"]["value"] == "86400000"
    assert (configs["retention.ms"]["source"], configs["retention.ms"]["default"]) == ("topic", "604800000")
    assert configs["max.message.bytes"]["source"] == "default"
    assert all(config["documentation"] for config in topic["configs"])
    # What Kafka's tools see is the same.
    admin = AdminClient({"bootstrap.servers": broker.kafka})
    described = admin.describe_topics(confluent_kafka.TopicCollection(["orders"]))["orders"].result(10)
    # librdkafka spells it in another base64 than Java's tools do.
    assert str(described.topic_id).translate(str.maketrans("+/", "-_")) == topic["id"]

    changed = api.patch("/v1/topics/orders", {"partitions": 5, "configs": {"retention.ms": None, "retention.bytes": 7}})
    assert changed.status == 200
    assert changed.value == {
        "name": "orders",
        "partitions": 5,
        "partitions_added": 2,
        "configs": {"retention.ms": "604800000", "retention.bytes": "7"},
        "validate_only": False,
    }
    topic = api.get("/v1/topics/orders").value
    configs = {config["name"]: config for config in topic["configs"]}
    assert len(topic["partitions"]) == 5
    assert (configs["retention.ms"]["source"], configs["retention.bytes"]["value"]) == ("default", "7")
    assert configs["cleanup.policy"]["value"] == "compact,delete", "what is not named stays"

    gone = api.delete("/v1/topics/orders")
    assert (gone.status, gone.body) == (204, b"")
    assert api.get("/v1/topics/orders").code == "unknown_topic"
    assert api.delete("/v1/topics/orders").code == "unknown_topic"
    assert api.patch("/v1/topics/orders", {}).code == "unknown_topic"
    assert api.create("orders").value["id"] != made.value["id"]


def test_nothing_is_done_when_it_is_only_asked_whether_it_could_be(api):
    wanted = {"name": "t", "partitions": 2, "validate_only": True}
    could = api.post("/v1/topics", wanted)
    assert (could.status, could.value["id"], could.value["partitions"]) == (200, None, 2)
    assert api.get("/v1/topics").value["topics"] == []
    assert api.post("/v1/topics", {**wanted, "partitions": 0}).code == "invalid_partitions"
    api.create("t")
    could = api.patch("/v1/topics/t", {"partitions": 3, "configs": {"retention.ms": 5}, "validate_only": True})
    assert (could.value["partitions"], could.value["configs"]) == (3, {"retention.ms": "5"})
    topic = api.get("/v1/topics/t").value
    assert len(topic["partitions"]) == 1
    assert all(config["source"] == "default" for config in topic["configs"])
    # One part that cannot be done keeps the other from being done.
    both = {"partitions": 20_000, "configs": {"retention.ms": 5}}
    assert api.patch("/v1/topics/t", both).code == "invalid_partitions"
    assert api.get("/v1/topics/t").value == topic
    # As many partitions as there are is no change.
    assert api.patch("/v1/topics/t", {"partitions": 1}).status == 200
    assert api.patch("/v1/topics/t", {}).status == 200


def test_what_cannot_be_made_is_refused_by_name_and_with_what_to_do(api):
    def refused(**wanted):
        answer = api.post("/v1/topics", {"name": "new", **wanted})
        return answer.status, answer.code, answer.message

    api.create("there")
    assert refused(name="there") == (409, "topic_exists", "there is a topic there already")
    assert refused(name="")[:2] == (400, "invalid_name")
    assert refused(name="x" * 256)[:2] == (400, "invalid_name")
    assert refused(name="a\nb")[:2] == refused(name="..")[:2] == (400, "invalid_name")
    assert refused(partitions=0)[:2] == refused(partitions=10_001)[:2] == (400, "invalid_partitions")
    assert refused(replicas=2)[:2] == refused(replicas=0)[:2] == (400, "invalid_replicas")
    status, code, message = refused(configs={"retention.mss": 1})
    assert (status, code) == (400, "invalid_config")
    assert message == "there is no topic configuration retention.mss; did you mean retention.ms?"
    status, code, message = refused(configs={"cleanup.policy": "shred"})
    assert code == "invalid_config" and "some of compact, delete" in message
    status, code, message = refused(partition=3)
    assert (status, code) == (400, "unknown_field")
    assert "did you mean partitions?" in message
    assert api.patch("/v1/topics/there", {"partitions": 0}).code == "enough_partitions"
    api.patch("/v1/topics/there", {"partitions": 4})
    fewer = api.patch("/v1/topics/there", {"partitions": 3})
    assert (fewer.status, fewer.code) == (409, "enough_partitions") and "4 partitions already" in fewer.message
    assert [topic["name"] for topic in api.get("/v1/topics").value["topics"]] == ["there"]


def test_topics_are_listed_page_by_page(api):
    names = sorted([f"app.{number:02}" for number in range(12)] + ["app", "bpp.1", "ünï/çode %"])
    for name in names:
        api.create(name, 2)
    api.write("app.03", *[{"value": "x" * 100}] * 10)

    def pages(**query):
        after = {}
        while True:
            page = api.get("/v1/topics", **query, **after).value
            yield [topic["name"] for topic in page["topics"]]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    assert list(pages()) == [names]
    assert [len(page) for page in pages(limit=5)] == [5, 5, 5]
    assert sum(pages(limit=4), []) == names
    assert sum(pages(prefix="app.", limit=5), []) == [name for name in names if name.startswith("app.")]
    assert list(pages(prefix="ünï/")) == [["ünï/çode %"]]
    assert list(pages(prefix="zzz")) == list(pages(after="ünï/çode %")) == [[]]
    # Behind a name that is not there, and before the prefix.
    assert list(pages(after="app.10x")) == [["app.11", "bpp.1", "ünï/çode %"]]
    assert list(pages(prefix="bpp", after="app")) == [["bpp.1"]]
    (told,) = api.get("/v1/topics", prefix="app.03").value["topics"]
    assert (told["partitions"], told["records"]) == (2, 10) and told["bytes"] > 1000
    assert api.get(f"/v1/topics/{quote('ünï/çode %')}").value["name"] == "ünï/çode %"


# Records.


def test_what_the_api_writes_kafkas_clients_read(broker, api):
    api.create("t", **KEPT)
    written = api.write(
        "t",
        {"key": "k", "value": "grüße", "timestamp": EPOCH, "headers": [{"name": "h", "value": "v"}]},
        {"key": {"base64": "AP8="}, "value": {"base64": "gIE="}, "timestamp": "2023-11-14T22:13:21Z"},
        {"key": None, "value": None},
        {"value": {"json": {"b": 1.50, "a": [None, True]}}},
        {"value": "", "key": "", "headers": [{"name": "n"}, {"name": "n", "value": {"base64": "AA=="}}, {"name": ""}]},
    )
    assert written == [(0, offset) for offset in range(5)]
    messages = consume(broker, "t", 5)
    assert [(message.key(), message.value()) for message in messages] == [
        (b"k", "grüße".encode()),
        (b"\x00\xff", b"\x80\x81"),
        (None, None),
        (None, json.dumps({"b": 1.50, "a": [None, True]}).encode()),
        (b"", b""),
    ]
    assert messages[0].headers() == [("h", b"v")]
    assert messages[4].headers() == [("n", None), ("n", b"\x00"), ("", None)]
    stamps = [message.timestamp() for message in messages]
    assert [stamp for _, stamp in stamps[:2]] == [EPOCH, EPOCH + 1000]
    assert abs(stamps[2][1] - time.time() * 1000) < 60_000


def test_json_is_kept_as_it_is_written(broker, api):
    api.create("t")
    text = '{ "z" : 1e400,\n"a": 12345678901234567890.10, "a": "\\u00fc" }'
    body = '{"records":[{"value":{"json":' + text + "}}]}"
    answer = api.raw("POST", "/v1/topics/t/records", body.encode(), {"Content-Type": "application/json"})
    assert answer.status == 200
    assert consume(broker, "t", 1)[0].value() == text.encode()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_kafkas_clients_write_the_api_reads(broker, api, codec):
    api.create("t", **KEPT)
    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.kafka,
        "compression.type": codec,
        "linger.ms": 100,
    })
    producer.produce("t", b"text", b"key", timestamp=EPOCH, headers=[("h", b"1"), ("h", None), ("b", b"\xff")])
    producer.produce("t", b"\x00\x01", None, timestamp=EPOCH + 1)
    producer.produce("t", None, b"tombstone", timestamp=EPOCH + 2)
    producer.produce("t", b"", b"", timestamp=EPOCH + 3)
    assert producer.flush(10) == 0
    page = api.read("t")
    assert (page["next_offset"], page["start"], page["end"]) == (4, 0, 4)
    expected = [("key", "text"), (None, {"base64": "AAE="}), ("tombstone", None), ("", "")]
    assert [(record["key"], record["value"]) for record in page["records"]] == expected
    assert [record["offset"] for record in page["records"]] == [0, 1, 2, 3]
    assert [record["timestamp"] for record in page["records"]] == [EPOCH + number for number in range(4)]
    assert page["records"][0]["headers"] == [
        {"name": "h", "value": "1"},
        {"name": "h", "value": None},
        {"name": "b", "value": {"base64": "/w=="}},
    ]
    # What was read can be written.
    again = [{field: record[field] for field in ["key", "value", "headers", "timestamp"]} for record in page["records"]]
    api.write("t", *again, compression=codec)
    copies = api.read("t", offset=4)["records"]
    for copy, record in zip(copies, page["records"], strict=True):
        assert {**copy, "offset": 0} == {**record, "offset": 0}
    shown = api.read("t", encoding="base64", limit=1)["records"][0]
    assert (shown["key"], shown["value"]) == ({"base64": "a2V5"}, {"base64": "dGV4dA=="})
    shown = api.read("t", encoding="text", offset=1, limit=1)["records"][0]
    assert shown["value"] == "\x00\x01"


def test_records_go_where_kafkas_clients_send_them(broker, api):
    keys = [f"key {number}" for number in range(60)] + ["", "ü"]
    api.create("ours", 7)
    api.create("theirs", 7)
    written = api.write("ours", *[{"key": key, "value": "x"} for key in keys])
    places = {}
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "partitioner": "murmur2"})
    for key in keys:
        note = lambda error, message: places.update({message.key().decode(): message.partition()})
        producer.produce("theirs", b"x", key.encode(), on_delivery=note)
    assert producer.flush(10) == 0
    assert [partition for partition, _ in written] == [places[key] for key in keys]
    # Without a key they are spread; with a partition they go there.
    spread = [partition for partition, _ in api.write("ours", *[{"value": "x"}] * 14)]
    assert sorted(spread) == sorted(2 * list(range(7)))
    assert api.write("ours", {"key": keys[0], "partition": 6})[0][0] == 6


def test_batches_are_as_large_as_the_topic_takes(broker, api):
    api.create("t", **{"max.message.bytes": 10_000})
    written = api.write("t", *[{"value": f"{number:04}" * 250} for number in range(100)])
    assert written == [(0, offset) for offset in range(100)]
    values = [record["value"][:4] for record in api.read("t", max_bytes=1 << 20)["records"]]
    assert values == [f"{number:04}" for number in range(100)]
    large = {"records": [{"value": "x" * 20_000}]}
    answer = api.post("/v1/topics/t/records", large)
    assert (answer.status, answer.code) == (413, "record_too_large")
    assert "max.message.bytes" in answer.message
    # Compressed it is not too large; beside others it is told of apart.
    api.write("t", {"value": "x" * 20_000}, compression="zstd")
    mixed = api.post("/v1/topics/t/records", {"records": [{"value": "a"}, *large["records"], {"value": "b"}]})
    assert (mixed.status, mixed.value["failed"]) == (200, 1)
    first, second, third = mixed.value["records"]
    assert (first["offset"], third["offset"]) == (101, 102)
    assert second["error"]["code"] == "record_too_large" and "offset" not in second


def test_a_record_is_looked_at_as_if_a_producer_had_sent_it(api):
    api.create("compact", **{"cleanup.policy": "compact"})
    refused = api.post("/v1/topics/compact/records", {"records": [{"value": "no key"}]})
    assert (refused.status, refused.code) == (400, "invalid_record") and "key" in refused.message
    api.create("recent", **{"message.timestamp.before.max.ms": 1000})
    refused = api.post("/v1/topics/recent/records", {"records": [{"value": "x", "timestamp": EPOCH}]})
    assert (refused.status, refused.code) == (400, "invalid_timestamp")
    api.create("stamped", **{"message.timestamp.type": "LogAppendTime", "compression.type": "lz4"})
    api.write("stamped", {"value": "x", "timestamp": EPOCH})
    (record,) = api.read("stamped")["records"]
    assert record["timestamp_type"] == "append" and record["timestamp"] > EPOCH
    for acks in ["all", "1"]:
        api.write("stamped", {"value": "x"}, acks=acks)

    def refused(body, topic="recent"):
        answer = api.post(f"/v1/topics/{topic}/records", body)
        return answer.status, answer.code

    assert refused({"records": [{"value": "x"}]}, "missing") == (404, "unknown_topic")
    assert refused({"records": [{"value": "x", "partition": 1}]}) == (404, "unknown_partition")
    assert refused({"records": []}) == refused({}) == (400, "invalid_body")
    assert refused({"records": [{}], "acks": 1}) == refused({"records": [{}], "acks": "0"}) == (400, "invalid_body")
    assert refused({"records": [{"value": 1}]}) == refused({"records": [[0, "k"]]}) == (400, "invalid_body")
    assert refused({"records": [{"value": {"base64": "A"}}]}) == (400, "invalid_body")
    assert refused({"records": [{"timestamp": -1}]}) == refused({"records": [{"timestamp": "now"}]})
    assert refused({"records": [{}] * 10_001}) == (400, "invalid_body")
    assert refused({"records": [{"headers": [{"key": "h"}]}]}) == (400, "unknown_field")
    assert api.read("recent")["end"] == 0, "nothing of it was written"


def test_reading_begins_where_it_is_asked_to(api):
    api.create("t", **KEPT)
    for batch in range(3):
        records = [{"value": f"{batch}.{number}", "timestamp": EPOCH + 10 * batch + number} for number in range(5)]
        api.write("t", *records, compression="gzip")

    def values(**query):
        return [record["value"] for record in api.read("t", **query)["records"]]

    everything = [f"{batch}.{number}" for batch in range(3) for number in range(5)]
    assert values() == values(offset="earliest") == values(offset=0) == everything
    assert values(offset="latest") == values(offset=15) == []
    assert values(offset=-1) == ["2.4"]
    assert values(offset=-7) == everything[-7:]
    assert values(offset=-1000) == everything
    assert values(offset=7, limit=2) == ["1.2", "1.3"]
    assert values(timestamp=EPOCH + 12, limit=1) == values(timestamp="2023-11-14T22:13:20.012Z", limit=1) == ["1.2"]
    assert values(timestamp="2023-11-14T23:13:20.005+01:00", limit=1) == ["1.0"]
    assert values(timestamp=EPOCH + 100) == []
    assert api.read("t", timestamp=EPOCH + 100)["next_offset"] == 15
    assert api.read("t", offset=3, limit=4)["next_offset"] == 7
    # An answer has one record at least, and is no larger otherwise.
    assert values(max_bytes=1) == ["0.0"]
    some = api.get("/v1/topics/t/partitions/0/records", max_bytes=600)
    assert 1 < len(some.value["records"]) < 15 and len(some.body) < 800

    seen, offset = [], 0
    while offset < 15:
        page = api.read("t", offset=offset, limit=2)
        seen += [record["value"] for record in page["records"]]
        offset = page["next_offset"]
    assert seen == everything


def test_what_cannot_be_read_is_explained(api):
    api.create("t")
    api.write("t", *[{"value": "x"}] * 5)

    def refused(path="/v1/topics/t/partitions/0/records", **query):
        answer = api.get(path, **query)
        return answer.status, answer.code, answer.message

    assert refused(offset=6) == (
        400,
        "offset_out_of_range",
        "offset 6 is not between 0 and 5, where partition 0 of topic t begins and ends",
    )
    assert refused("/v1/topics/no/partitions/0/records")[:2] == (404, "unknown_topic")
    assert refused("/v1/topics/t/partitions/1/records")[:2] == (404, "unknown_partition")
    for partition in ["-1", "x", "4294967296", "1.0", ""]:
        assert refused(f"/v1/topics/t/partitions/{partition}/records")[1] == "invalid_parameter", partition
    for query in [
        {"offset": "newest"},
        {"offset": 1 << 63},
        {"offset": "NaN"},
        {"timestamp": "yesterday"},
        {"timestamp": -1},
        {"limit": 0},
        {"limit": 1001},
        {"max_bytes": 1 << 30},
        {"wait_ms": 30_001},
        {"encoding": "utf-16"},
        {"offset": 0, "timestamp": 0},
    ]:
        assert refused(**query)[:2] == (400, "invalid_parameter"), query
    status, code, message = refused(ofset=1)
    assert (status, code, message) == (400, "unknown_parameter", "there is no parameter ofset here; did you mean offset?")


def test_a_reader_waits_until_there_is_something(broker, api):
    api.create("t")
    began = time.monotonic()
    assert api.read("t", wait_ms=300)["records"] == []
    assert 0.3 <= time.monotonic() - began < 10
    api.write("t", {"value": "there"})
    began = time.monotonic()
    assert api.read("t", wait_ms=30_000)["records"][0]["value"] == "there", "nothing to wait for"
    read = []
    waiting = threading.Thread(target=lambda: read.append(Api(broker).read("t", offset=1, wait_ms=30_000)))
    waiting.start()
    # Whether it waits yet or not, it is answered with what comes.
    time.sleep(0.3)
    api.write("t", {"value": "new"})
    waiting.join(20)
    assert time.monotonic() - began < 20
    assert [record["value"] for record in read[0]["records"]] == ["new"]
    assert records_read(broker, "t") == 2, "each was read once, the one that was waited for too"


def test_the_oldest_records_are_removed(broker, api):
    api.create("t", 2)
    api.write("t", *[{"value": str(number), "partition": 1} for number in range(10)])
    path = "/v1/topics/t/partitions/1/records"
    assert api.delete(path, before=4).value == {"topic": "t", "partition": 1, "start": 4}
    assert api.delete(path, before=2).value["start"] == 4, "what is gone stays gone"
    page = api.read("t", 1)
    assert (page["start"], [record["value"] for record in page["records"]]) == (4, ["4", "5", "6", "7", "8", "9"])
    assert api.get(path, offset=3).code == "offset_out_of_range"
    assert api.delete(path, before=11).code == "offset_out_of_range"
    missing = api.delete(path)
    assert (missing.status, missing.code) == (400, "invalid_parameter") and "before" in missing.message
    assert api.delete("/v1/topics/t/partitions/2/records", before=0).code == "unknown_partition"
    assert api.delete(path, before="latest").value["start"] == 10
    assert api.read("t", 1)["records"] == []
    api.create("compact", **{"cleanup.policy": "compact"})
    refused = api.delete("/v1/topics/compact/partitions/0/records", before="latest")
    assert (refused.status, refused.code) == (409, "not_allowed")


# Groups.


@pytest.fixture
def read_half(broker, api):
    """A topic of three partitions with ten records each, of which group g has consumed five."""
    api.create("t", 3, **KEPT)
    for partition in range(3):
        records = [{"value": "x", "partition": partition, "timestamp": EPOCH + number} for number in range(10)]
        api.write("t", *records)
    reader = consumer(broker)
    positions = [TopicPartition("t", partition, 5, metadata="half") for partition in range(3)]
    reader.commit(offsets=positions, asynchronous=False)
    reader.close()
    return api


def committed(broker, group: str, topic: str = "t", partitions: int = 3) -> list[int]:
    reader = consumer(broker, group)
    found = reader.committed([TopicPartition(topic, partition) for partition in range(partitions)], timeout=10)
    reader.close()
    return [position.offset for position in found]


def test_groups_are_listed_page_by_page(broker, api):
    api.create("t")
    names = sorted([f"app.{number}" for number in range(7)] + ["other/one", "g"])
    for name in names:
        reader = consumer(broker, name)
        reader.commit(offsets=[TopicPartition("t", 0, 0)], asynchronous=False)
        reader.close()

    def pages(**query):
        after = {}
        while True:
            page = api.get("/v1/groups", **query, **after).value
            yield [entry["group"] for entry in page["groups"]]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    assert list(pages()) == [names]
    assert [len(page) for page in pages(limit=3)] == [3, 3, 3]
    assert list(pages(prefix="app.", limit=6)) == [[f"app.{number}" for number in range(6)], ["app.6"]]
    assert list(pages(state="empty", type="classic")) == [names]
    assert list(pages(state="stable")) == [[]]
    (entry,) = api.get("/v1/groups", prefix="other/").value["groups"]
    assert entry == {"group": "other/one", "type": "classic", "state": "empty", "protocol_type": ""}
    assert api.get(f"/v1/groups/{quote('other/one')}").value["group"] == "other/one"
    assert api.get("/v1/groups", state="Stable").code == "invalid_parameter"


def test_a_group_its_members_and_how_far_behind_it_is(broker, read_half):
    api = read_half
    group = api.get("/v1/groups/g").value
    assert (group["state"], group["type"], group["coordinator"]) == ("empty", "classic", 1)
    assert group["members"] == [] and group["offsets_left_out"] == 0
    age = time.time() - EPOCH / 1000
    for number, offset in enumerate(group["offsets"]):
        assert (offset["topic"], offset["partition"]) == ("t", number)
        # The client sends the zero that ends its text, too.
        assert (offset["committed"], offset["metadata"].rstrip("\0"), offset["lag"]) == (5, "half", 5)
        assert (offset["start"], offset["end"], offset["member"]) == (0, 10, None)
        assert abs(offset["lag_seconds"] - age) < 60
        assert abs(offset["committed_at"] - time.time() * 1000) < 60_000

    member = consumer(broker, **{"partition.assignment.strategy": "range", "client.id": "reader"})
    member.subscribe(["t"])
    try:
        assert len(member.consume(15, timeout=30)) == 15
        member.commit(asynchronous=False)
        group = api.get("/v1/groups/g").value
        assert (group["state"], group["protocol_type"], group["protocol"]) == ("stable", "consumer", "range")
        (told,) = group["members"]
        assert told["assignment"] == [{"topic": "t", "partitions": [0, 1, 2]}]
        assert (told["client_host"], told["client_id"], told["instance"]) == ("127.0.0.1", "reader", None)
        assert [entry["state"] for entry in api.get("/v1/groups", state="stable").value["groups"]] == ["stable"]
        for offset in group["offsets"]:
            assert (offset["committed"], offset["lag"], offset["lag_seconds"]) == (10, 0, 0)
            assert offset["member"] == told["member"]
        # It is theirs while there are members.
        refused = api.post("/v1/groups/g/offsets", {"to": "earliest"})
        assert (refused.status, refused.code) == (409, "group_not_empty")
        assert "has 1 member and" in refused.message
        assert api.delete("/v1/groups/g").code == "group_not_empty"
        refused = api.delete("/v1/groups/g/offsets/t")
        assert (refused.status, refused.code) == (409, "group_consumes_topic")
    finally:
        member.close()
    assert api.get("/v1/groups/none").status == 404
    assert api.get("/v1/groups/none").message == "there is no group none"


MOVES = {
    "earliest": ("earliest", [0, 0, 0]),
    "latest": ("latest", [10, 10, 10]),
    "current": ("current", [5, 5, 5]),
    "offset": ({"offset": 7}, [7, 7, 7]),
    "offset beyond": ({"offset": 1000}, [10, 10, 10]),
    "timestamp": ({"timestamp": EPOCH + 3}, [3, 3, 3]),
    "time": ({"timestamp": "2023-11-14T22:13:20.004Z"}, [4, 4, 4]),
    "later": ({"timestamp": EPOCH + 10_000_000}, [10, 10, 10]),
    "back": ({"shift_by": -2}, [3, 3, 3]),
    "on": ({"shift_by": 2}, [7, 7, 7]),
    "far back": ({"shift_by": -100}, [0, 0, 0]),
}


@pytest.mark.parametrize("to, expected", MOVES.values(), ids=MOVES)
def test_positions_are_moved(broker, read_half, to, expected):
    api = read_half
    would = api.post("/v1/groups/g/offsets", {"to": to, "dry_run": True}).value
    assert [(offset["old"], offset["new"]) for offset in would["offsets"]] == [(5, new) for new in expected]
    assert committed(broker, "g") == [5, 5, 5]
    assert api.post("/v1/groups/g/offsets", {"to": to}).value == {**would, "dry_run": False}
    assert committed(broker, "g") == expected


def test_some_positions_are_moved_and_a_group_is_made_by_it(broker, read_half):
    api = read_half
    some = {"topics": [{"topic": "t", "partitions": [1]}], "to": "latest"}
    assert api.post("/v1/groups/g/offsets", some).value["offsets"] == [
        {"topic": "t", "partition": 1, "old": 5, "new": 10, "start": 0, "end": 10}
    ]
    assert committed(broker, "g") == [5, 10, 5]
    refused = api.post("/v1/groups/new/offsets", {"to": "latest"})
    assert (refused.status, refused.code) == (404, "unknown_group")
    assert refused.message == 'there is no group new; "create": true makes it'
    new = {"topics": [{"topic": "t"}], "to": {"offset": 3}}
    assert api.post("/v1/groups/new/offsets", new).code == "unknown_group", "whose name may be misspelt"
    assert api.post("/v1/groups/new/offsets", {"to": "latest", "create": True}).code == "unknown_group", "of what?"
    assert api.post("/v1/groups//offsets", {**new, "create": True}).code == "invalid_name"
    assert api.get("/v1/groups/new").status == 404
    made = api.post("/v1/groups/new/offsets", {**new, "create": True}).value
    assert [(offset["old"], offset["new"]) for offset in made["offsets"]] == [(None, 3)] * 3
    assert committed(broker, "new") == [3, 3, 3]

    def refused(body):
        answer = api.post("/v1/groups/g/offsets", body)
        return answer.status, answer.code

    assert refused({"topics": [{"topic": "no"}], "to": "latest"}) == (404, "unknown_topic")
    assert refused({"topics": [{"topic": "t", "partitions": [3]}], "to": "latest"}) == (404, "unknown_partition")
    assert refused({"to": "newest"}) == refused({}) == refused({"to": {"offset": -1}}) == (400, "invalid_body")
    assert refused({"to": {"offset": 1 << 63}}) == (400, "invalid_body")
    assert refused({"to": "latest", "dryrun": True}) == (400, "unknown_field")
    api.create("u")
    assert refused({"topics": [{"topic": "u"}], "to": {"shift_by": 1}}) == (400, "offset_out_of_range")
    assert committed(broker, "g") == [5, 10, 5]


def test_positions_and_groups_are_forgotten(broker, read_half):
    api = read_half
    path = "/v1/groups/g/offsets/t"
    assert api.delete(path, partition=1).value == {"group": "g", "topic": "t", "partitions": [1]}
    assert committed(broker, "g") == [5, confluent_kafka.OFFSET_INVALID, 5]
    assert api.delete(path, partition=3).code == "unknown_partition"
    assert api.delete("/v1/groups/g/offsets/no").code == "unknown_topic"
    assert api.delete("/v1/groups/no/offsets/t").code == "unknown_group"
    api.create("u")
    assert api.delete("/v1/groups/g/offsets/u").value["partitions"] == []
    assert api.delete(path).value["partitions"] == [0, 2]
    api.post("/v1/groups/g2/offsets", {"topics": [{"topic": "t"}], "to": "latest", "create": True})
    gone = api.delete("/v1/groups/g2")
    assert (gone.status, gone.body) == (204, b"")
    assert api.delete("/v1/groups/g2").code == "unknown_group"
    assert committed(broker, "g2") == [confluent_kafka.OFFSET_INVALID] * 3


def test_what_was_written_survives_a_kill(broker, api):
    api.create("t")
    api.write("t", *[{"value": str(number)} for number in range(100)])
    broker.kill9()
    broker.start()
    api.close()
    assert [record["value"] for record in api.read("t", limit=1000)["records"]] == [str(number) for number in range(100)]


def test_records_of_many_megabytes_go_in_and_come_out(broker, api):
    api.create("t", **{"max.message.bytes": 20_000_000})
    value = base64.b64encode(struct.pack(">Q", 7) * 300_000).decode()
    api.write("t", {"value": {"base64": value}}, {"value": "small"})
    page = api.read("t", limit=1)
    assert page["records"][0]["value"] == {"base64": value}, "larger than an answer, but the first"
    assert api.read("t", offset=1)["records"][0]["value"] == "small"
    # One that no answer can hold is named, and can be passed.
    producer = confluent_kafka.Producer({
        "bootstrap.servers": broker.kafka,
        "message.max.bytes": 30_000_000,
        "compression.type": "zstd",
    })
    producer.produce("t", bytes(17 << 20))
    assert producer.flush(30) == 0
    refused = api.get("/v1/topics/t/partitions/0/records", offset=2)
    assert (refused.status, refused.code) == (413, "record_too_large")
    assert "offset 2" in refused.message and "offset 3" in refused.message
    assert api.read("t", offset=3)["records"] == []


def test_requests_are_counted_by_operation_and_errors_by_code(broker, api):
    api.create("t")
    api.write("t", {"value": "a"})
    for _ in range(3):
        assert api.get("/v1/topics").status == 200
    assert api.get("/v1/topics/none").code == "unknown_topic"
    assert api.raw("GET", "/v1/nothing").status == 404
    assert api.read("t", offset=1, wait_ms=400)["records"] == []
    with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=30) as answer:
        text = answer.read().decode()

    def value(metric: str, operation: str, error: str = "") -> float:
        error = f',error="{error}"' if error else ""
        labels = re.escape(f'{{protocol="http",api="{operation}"{error}}}')
        found = re.findall(rf"^mainstem_protocol_{metric}{labels} (\S+)", text, re.M)
        assert len(found) == 1, (metric, operation, found)
        return float(found[0])

    requests = {operation: value("requests_total", operation) for operation in ["createTopic", "listTopics", "other"]}
    assert requests == {"createTopic": 1, "listTopics": 3, "other": 1}
    assert value("errors_total", "getTopic", "unknown_topic") == value("errors_total", "other", "unknown_path") == 1
    assert value("waits_total", "readRecords") == 1
    assert 0.3 < value("wait_seconds_total", "readRecords")
    assert value("request_seconds_sum", "readRecords") < 0.3, "waiting is no part of it"
    assert value("request_bytes_total", "writeRecords") > 0 < value("response_bytes_total", "listTopics")
