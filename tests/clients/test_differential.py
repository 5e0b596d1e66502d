"""What Apache Kafka answers, our broker answers: field by field, in every version that both speak.

What stays different is explained in differences.toml: a difference that is not explained fails, and so does
an explanation of nothing.
"""

import time

import pytest

import differential
import wire
from agent import Agent
from broker import Broker
from differential import NO_TOPIC_ID, Difference, Explanation, Note, Pair
from environment import java, setting
from kafka_server import KafkaServer

pytestmark = pytest.mark.java

EPOCH = 1_700_000_000_000
# A topic that nobody makes, and an id that nobody has drawn.
MISSING = "missing"
UNKNOWN_ID = "ABEiM0RVZneImaq7zN3u_w"
READY_SECONDS = 10
CASES = []


@pytest.fixture
def both(tmp_path):
    """Apache Kafka and our broker, ready for topics, groups and producers."""
    kafka, ours = KafkaServer(java(), tmp_path), Broker(setting("MAINSTEM_BIN"), tmp_path)
    agent = Agent([*java(), "Agent"])
    try:
        kafka.start()
        ours.start()
        pair = Pair(agent, kafka.kafka, ours.kafka)
        warm_up(pair)
        yield pair
        ours.stop()
    finally:
        for process in [agent, kafka, ours]:
            if process.running():
                (process.kill9 if process is not agent else process.kill)()


def cases(play):
    """Marks a function that plays cases on a pair; each becomes a part of the test."""
    CASES.append(play)
    return play


def warm_up(pair: Pair):
    """Kafka makes its internal topics when they are first needed."""
    def ready(side):
        side.send(pair.apis["FindCoordinator"], 2, {"key": "warm", "keyType": 0})
        if side.receive()["errorCode"] != 0:
            return False
        side.send(pair.apis["OffsetFetch"], 5, {"groupId": "warm", "topics": None})
        if side.receive()["errorCode"] != 0:
            return False
        side.send(pair.apis["InitProducerId"], 1, {"transactionalId": None, "transactionTimeoutMs": 60_000})
        return side.receive()["errorCode"] == 0

    for side in pair.sides:
        await_(lambda: ready(side), "groups and producers")


def await_(condition, what: str):
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to be"
        time.sleep(0.02)


def known(pair: Pair, topic: str, partitions: int | None):
    """Waits until both lead so many partitions of the topic, or know it no more."""
    for side in pair.sides:
        def there():
            side.send(pair.apis["Metadata"], 12, {"topics": [{"name": topic}], "allowAutoTopicCreation": False})
            (found,) = side.receive()["topics"]
            side.notes[f"id of {topic}"] = found["topicId"]
            return found["errorCode"] == 3 if partitions is None else len(found["partitions"]) == partitions

        def led(partition):
            side.send(pair.apis["ListOffsets"], 5, listing(5, topic, -1, partition))
            return side.receive()["topics"][0]["partitions"][0]["errorCode"] == 0

        await_(there, f"{partitions} partitions of {topic} at {'Kafka' if side is pair.kafka else 'ours'}")
        for partition in range(partitions or 0):
            await_(lambda: led(partition), f"a leader of partition {partition} of {topic}")


def create(pair: Pair, topic: str, partitions: int = 1, **config):
    """Makes a topic on both, whose id is noted. It keeps records, whose times are long past."""
    config.setdefault("retention_ms", "-1")
    settings = [{"name": name.replace("_", "."), "value": value} for name, value in config.items() if value]
    new = {"name": topic, "numPartitions": partitions, "replicationFactor": 1, "configs": settings}
    for side in pair.sides:
        side.send(pair.apis["CreateTopics"], 5, {"topics": [new], "timeoutMs": 10_000})
        side.receive()
    known(pair, topic, partitions)


def named(topic: str, version: int, ids_from: int, key: str = "name") -> dict:
    """How a request names a topic: by its id in newer versions. `missing` is nowhere."""
    if version < ids_from:
        return {key: topic}
    return {"topicId": UNKNOWN_ID if topic == MISSING else Note(f"id of {topic}")}


# Produce and Fetch ---------------------------------------------------------------------------------------


def production(topic: str, version: int, records: bytes | None, partition: int = 0, acks: int = -1) -> dict:
    data = [{"index": partition, "records": records}]
    return {"acks": acks, "timeoutMs": 10_000, "topicData": [{**named(topic, version, 13), "partitionData": data}]}


def fill(pair: Pair, topic: str, records: bytes, partition: int = 0):
    answers = []
    for side in pair.sides:
        side.send(pair.apis["Produce"], 9, production(topic, 9, records, partition))
        answers.append(side.receive())
    for answer in answers:
        assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer


@cases
def produce(pair):
    create(pair, "produced", 2)
    for topic in ["ahead", "lying"]:
        # One that takes what the other refuses would show it in all offsets from there on.
        create(pair, topic)
    create(pair, "small", max_message_bytes="1000")
    create(pair, "stamped", message_timestamp_type="LogAppendTime")
    soon = int(time.time() * 1000) + 7_200_000
    for version in pair.range("Produce"):
        if version < 3:
            continue

        def ask(case, topic, records, **more):
            pair.ask(f"Produce: {case}", "Produce", version, production(topic, version, records, **more))

        ask("a batch", "produced", wire.batch([b"one", b"two"]))
        ask("a compressed batch", "produced", wire.batch([b"one", b"two"] * 50, codec=wire.GZIP))
        ask("acks=1", "produced", wire.batch([b"one"]), acks=1)
        ask("append time", "stamped", wire.batch([b"one"]))
        ask("an unknown topic", MISSING, wire.batch([b"one"]))
        ask("an unknown partition", "produced", wire.batch([b"one"]), partition=9)
        ask("a wrong checksum", "produced", wire.batch([b"one"], checksum_flip=1))
        ask("the message format before 0.11", "produced", wire.old_message_set(b"one", 1))
        ask("a magic nobody knows", "produced", wire.batch([b"one"], magic=9))
        ask("too large a batch", "small", wire.batch([b"x" * 2000]))
        ask("acks=2", "produced", wire.batch([b"one"]), acks=2)
        ask("a timestamp two hours ahead", "ahead", wire.batch([b"one"], times=[soon]))
        ask("no records", "produced", b"")
        ask("a batch cut short", "produced", wire.batch([b"one"])[:-1])
        ask("two batches at a time", "produced", wire.batch([b"one"]) + wire.batch([b"two"]))
        ask("a count that lies", "lying", wire.batch([b"one"], count=2, last_offset_delta=1))
        ask("a control batch", "produced", wire.batch([b"one"], attributes=0x20))
        ask("a transactional batch without transaction", "produced", wire.batch([b"one"], attributes=0x10))


@cases
def produce_to_compacted(pair):
    create(pair, "compacted", cleanup_policy="compact")
    for version in pair.range("Produce"):
        if version >= 3:
            request = production("compacted", version, wire.batch([b"one"]))
            pair.ask("Produce: no key in a compacted topic", "Produce", version, request)


def producer(pair: Pair, name: str):
    """A new producer's id on both sides."""
    for side in pair.sides:
        side.send(pair.apis["InitProducerId"], 1, {"transactionalId": None, "transactionTimeoutMs": 60_000})
        side.notes[name] = side.receive()["producerId"]


class Sequenced:
    """A batch with a producer's id, which differs by side, in the place of records."""

    def __init__(self, pair: Pair, name: str):
        self.pair = pair
        self.name = name

    def ask(self, case: str, version: int, values: list[bytes], sequence: int, epoch: int = 0):
        for side in self.pair.sides:
            records = wire.batch(values, producer=(side.notes[self.name], epoch, sequence))
            side.send(self.pair.apis["Produce"], version, production("sequenced", version, records))
        self.pair.receive(f"Produce: {case}", version)


@cases
def sequences(pair):
    create(pair, "sequenced")
    for version in pair.range("Produce"):
        if version < 3:
            continue
        producer(pair, "producer")
        one = Sequenced(pair, "producer")
        one.ask("the first sequence", version, [b"a", b"b"], 0)
        one.ask("the next sequence", version, [b"c"], 2)
        one.ask("a sequence again", version, [b"c"], 2)
        one.ask("an older sequence again", version, [b"a", b"b"], 0)
        one.ask("a gap in sequences", version, [b"e"], 7)
        one.ask("a newer epoch", version, [b"d"], 0, epoch=1)
        one.ask("an older epoch", version, [b"d"], 3, epoch=0)
        one.ask("a newer epoch that does not begin with 0", version, [b"d"], 5, epoch=2)
        producer(pair, "late")
        Sequenced(pair, "late").ask("a producer whose first sequence is not 0", version, [b"x"], 5)


def fetching(version: int, *topics: dict, session: tuple = (0, -1), forgotten: list = (), **more) -> dict:
    request = {"maxWaitMs": 0, "minBytes": 0, "maxBytes": 1 << 20, "topics": list(topics), **more}
    if version <= 14:
        request["replicaId"] = -1
    if version >= 7:
        request |= {"sessionId": session[0], "sessionEpoch": session[1], "forgottenTopicsData": list(forgotten)}
    return request


def of(topic: str, version: int, offset: int = 0, partition: int = 0, **more) -> dict:
    place = {"partition": partition, "fetchOffset": offset, "partitionMaxBytes": 1 << 20, **more}
    return {**named(topic, version, 13, "topic"), "partitions": [place]}


@cases
def fetch(pair):
    create(pair, "fetched", 2)
    fill(pair, "fetched", wire.batch([b"one", b"two"]))
    fill(pair, "fetched", wire.batch([b"three"] * 20, codec=wire.GZIP))
    for version in pair.range("Fetch"):
        def ask(case, *topics, **more):
            pair.ask(f"Fetch: {case}", "Fetch", version, fetching(version, *topics, **more))

        ask("from the beginning", of("fetched", version))
        ask("from within a batch", of("fetched", version, 5))
        ask("from the end", of("fetched", version, 22))
        ask("an empty partition", of("fetched", version, partition=1))
        ask("beyond the end", of("fetched", version, 23))
        ask("a negative offset", of("fetched", version, -1))
        ask("an unknown topic", of(MISSING, version))
        ask("an unknown partition", of("fetched", version, partition=9))
        ask("one byte", of("fetched", version), maxBytes=1)
        ask("one byte of a partition", of("fetched", version, partitionMaxBytes=1))
        ask("no topics")
        ask("minBytes that are not there", of("fetched", version, 22), minBytes=1, maxWaitMs=10)
        ask("read committed", of("fetched", version), isolationLevel=1)
        if version >= 9:
            ask("the epoch there is", of("fetched", version, currentLeaderEpoch=0))
            ask("an epoch to come", of("fetched", version, currentLeaderEpoch=99))
        if version >= 12:
            ask("the epoch it read last", of("fetched", version, 2, lastFetchedEpoch=0))
            ask("an epoch it cannot have read", of("fetched", version, 2, lastFetchedEpoch=7))


@cases
def fetch_sessions(pair):
    create(pair, "watched", 2)
    for version in pair.range("Fetch"):
        if version < 7:
            continue
        session = Note("session")

        def ask(case, *topics, **more):
            request = fetching(version, *topics, **more)
            note = {"session": lambda answer: answer["sessionId"]} if case == "the first" else None
            return pair.ask(f"Fetch session: {case}", "Fetch", version, request, note=note)

        places = [of("watched", version, Note("end")), of("watched", version, 0, partition=1)]
        for side in pair.sides:
            side.send(pair.apis["ListOffsets"], 5, listing(5, "watched", -1))
            side.notes["end"] = side.receive()["topics"][0]["partitions"][0]["offset"]
        both = {**places[0], "partitions": places[0]["partitions"] + places[1]["partitions"]}
        ask("the first", both, session=(0, 0))
        ask("nothing new", session=(session, 1))
        fill(pair, "watched", wire.batch([b"new"]))
        ask("what is new", session=(session, 2))
        ask("the same epoch again", session=(session, 2))
        ask("an epoch left out", session=(session, 9))
        forgotten = {**named("watched", version, 13, "topic"), "partitions": [0]}
        ask("a partition forgotten", session=(session, 3), forgotten=[forgotten])
        ask("only what is left", session=(session, 4))
        ask("a partition added", places[0], session=(session, 5))
        ask("the end", session=(session, -1))
        ask("after the end", session=(session, 6))
        ask("a session nobody has", session=(1_234_567, 1))


def listing(version: int, topic: str, timestamp: int, partition: int = 0, **more) -> dict:
    places = [{"partitionIndex": partition, "timestamp": timestamp, **more}]
    return {"replicaId": -1, "topics": [{"name": topic, "partitions": places}]}


@cases
def list_offsets(pair):
    create(pair, "listed", 2)
    fill(pair, "listed", wire.batch([b"a", b"b", b"c"], times=[EPOCH, EPOCH + 50, EPOCH + 10]))
    fill(pair, "listed", wire.batch([b"d", b"e"], times=[EPOCH + 20, EPOCH + 90]))
    for version in pair.range("ListOffsets"):
        def ask(case, timestamp, topic="listed", **more):
            pair.ask(f"ListOffsets: {case}", "ListOffsets", version, listing(version, topic, timestamp, **more))

        # Those that mean something, each from some version on, and some that nothing means yet.
        special = ["latest", "earliest", "max timestamp", "earliest local", "latest tiered", "earliest pending upload"]
        for nth, name in enumerate([*special, "-7", "-8", "-9"], start=1):
            ask(name, -nth)
        ask("latest of an empty partition", -1, partition=1)
        ask("by time", EPOCH + 15)
        ask("by a time to come", EPOCH + 100)
        ask("by time in an empty partition", EPOCH, partition=1)
        ask("an unknown topic", -1, topic="missing")
        ask("an unknown partition", -1, partition=9)
        ask("max timestamp of an empty partition", -3, partition=1)
        if version >= 4:
            ask("the epoch there is", -1, currentLeaderEpoch=0)
            ask("an epoch to come", -1, currentLeaderEpoch=99)


@cases
def offset_for_leader_epoch(pair):
    create(pair, "epochs")
    fill(pair, "epochs", wire.batch([b"a", b"b"]))
    for version in pair.range("OffsetForLeaderEpoch"):
        def ask(case, epoch, topic="epochs", partition=0, current=-1):
            place = {"partition": partition, "currentLeaderEpoch": current, "leaderEpoch": epoch}
            request = {"topics": [{"topic": topic, "partitions": [place]}]}
            request |= {"replicaId": -1} if version >= 3 else {}
            pair.ask(f"OffsetForLeaderEpoch: {case}", "OffsetForLeaderEpoch", version, request)

        ask("the epoch there is", 0)
        ask("an epoch to come", 5)
        ask("an epoch there cannot be", -1)
        ask("an unknown topic", 0, topic="missing")
        ask("an unknown partition", 0, partition=9)
        ask("when the current epoch is known", 0, current=0)
        ask("when the current epoch is not known", 0, current=99)


@cases
def delete_records(pair):
    for version in pair.range("DeleteRecords"):
        topic = f"cut-{version}"
        create(pair, topic, 2)
        fill(pair, topic, wire.batch([b"x"] * 10))

        def ask(case, offset, topic=topic, partition=0):
            places = [{"partitionIndex": partition, "offset": offset}]
            request = {"topics": [{"name": topic, "partitions": places}], "timeoutMs": 10_000}
            pair.ask(f"DeleteRecords: {case}", "DeleteRecords", version, request)

        ask("some", 4)
        ask("some again", 4)
        ask("fewer", 2)
        ask("beyond the end", 11)
        ask("a negative offset", -2)
        pair.ask("DeleteRecords: what a fetch of the deleted says", "Fetch", 11, fetching(11, of(topic, 11, 1)))
        pair.ask("DeleteRecords: what a fetch of the rest says", "Fetch", 11, fetching(11, of(topic, 11, 5)))
        ask("all", -1)
        pair.ask("DeleteRecords: where it begins then", "ListOffsets", 5, listing(5, topic, -2))
        ask("of an empty partition", -1, partition=1)
        ask("of an unknown topic", 0, topic="missing")
        ask("of an unknown partition", 0, partition=9)


# Topics --------------------------------------------------------------------------------------------------


@cases
def api_versions(pair):
    for version in pair.range("ApiVersions"):
        request = {"clientSoftwareName": "differential", "clientSoftwareVersion": "1"} if version >= 3 else {}
        answers = []
        for side in pair.sides:
            side.send(pair.apis["ApiVersions"], version, request)
            answers.append(side.receive())
        names = {number: name for name, number in pair.apis.items()}
        for answer in answers:
            told = {names[entry["apiKey"]]: (entry["minVersion"], entry["maxVersion"]) for entry in answer["apiKeys"]}
            answer["apiKeys"] = told
        pair.compare_all("ApiVersions", version, answers)
        if version >= 3:
            nameless = {"clientSoftwareName": "", "clientSoftwareVersion": "!"}
            pair.ask("ApiVersions: a client without a proper name", "ApiVersions", version, nameless)


@cases
def metadata(pair):
    create(pair, "described", 3)
    for version in pair.range("Metadata"):
        def ask(case, topics, **more):
            request = {"topics": topics, **more}
            if version >= 4:
                request["allowAutoTopicCreation"] = False
            pair.ask(f"Metadata: {case}", "Metadata", version, request)

        ask("a topic", [{"name": "described"}])
        ask("a topic twice", [{"name": "described"}, {"name": "described"}])
        if version >= 1:
            ask("no topics", [])
        if version >= 4:
            ask("an unknown topic", [{"name": "missing"}])
            ask("an unknown and a known topic", [{"name": "missing"}, {"name": "described"}])
            ask("an invalid name", [{"name": "not valid"}])
            ask("an empty name", [{"name": ""}])
        if 8 <= version:
            ask("what one may do", [{"name": "described"}], includeTopicAuthorizedOperations=True)
        if 8 <= version <= 10:
            ask("what one may do with the cluster", [], includeClusterAuthorizedOperations=True)
        if version >= 10:
            ask("by id", [{"name": None if version >= 10 else "", "topicId": Note("id of described")}])
            ask("by an unknown id", [{"name": None, "topicId": UNKNOWN_ID}])
            ask("by no id and no name", [{"name": None, "topicId": NO_TOPIC_ID}])
            ask("by name and id", [{"name": "described", "topicId": Note("id of described")}])


@cases
def create_topics(pair):
    create(pair, "there")
    for version in pair.range("CreateTopics"):
        def ask(case, name, partitions=1, replicas=1, configs=(), assignments=(), **more):
            new = {"name": name, "numPartitions": partitions, "replicationFactor": replicas}
            new["configs"] = [{"name": key, "value": value} for key, value in configs]
            new["assignments"] = [{"partitionIndex": at, "brokerIds": list(ids)} for at, ids in assignments]
            request = {"topics": [new], "timeoutMs": 10_000, **more}
            pair.ask(f"CreateTopics: {case}", "CreateTopics", version, request)

        ask("a topic", f"made-{version}", 3)
        ask("a topic with settings", f"set-{version}", configs=[("retention.ms", "5000"), ("cleanup.policy", "compact")])
        ask("a topic that is there", "there")
        ask("an invalid name", "not valid")
        ask("an empty name", "")
        ask("a name of dots", "..")
        ask("a name of 250 letters", "x" * 250)
        # Metrics once took both characters for the same.
        ask("a name that differs in a dot", f"made.{version}")
        ask("no partitions", f"none-{version}", 0)
        ask("fewer than no partitions", f"none-{version}", -7)
        ask("three replicas on one broker", f"none-{version}", 1, 3)
        ask("no replicas", f"none-{version}", 1, 0)
        ask("an unknown setting", f"none-{version}", configs=[("no.such.setting", "1")])
        ask("an invalid setting", f"none-{version}", configs=[("retention.ms", "soon")])
        ask("a setting without value", f"null-{version}", configs=[("retention.ms", None)])
        ask("a setting twice", f"twice-{version}", configs=[("retention.ms", "1"), ("retention.ms", "2")])
        ask("validation of a topic", f"none-{version}", validateOnly=True)
        ask("validation of a topic that is there", "there", validateOnly=True)
        ask("validation of an invalid setting", f"none-{version}", configs=[("retention.ms", "?")], validateOnly=True)
        ask("replicas by hand", f"placed-{version}", -1, -1, assignments=[(0, [1]), (1, [1])])
        ask("replicas by hand and a number", f"none-{version}", 2, 1, assignments=[(0, [1])])
        ask("replicas by hand that leave one out", f"none-{version}", -1, -1, assignments=[(1, [1])])
        ask("a replica on an unknown broker", f"none-{version}", -1, -1, assignments=[(0, [77])])
        if version >= 4:
            ask("as many as usual", f"usual-{version}", -1, -1)
        again = {"name": f"again-{version}", "numPartitions": 1, "replicationFactor": 1}
        pair.ask("CreateTopics: a name twice", "CreateTopics", version, {"topics": [again, again], "timeoutMs": 10_000})
        pair.ask("CreateTopics: nothing", "CreateTopics", version, {"topics": [], "timeoutMs": 10_000})


@cases
def delete_topics(pair):
    for version in pair.range("DeleteTopics"):
        def ask(case, *names, key="name"):
            topics = [{"name": None, key: name} if key == "topicId" else {"name": name} for name in names]
            request = {"topics": topics} if version >= 6 else {"topicNames": list(names)}
            pair.ask(f"DeleteTopics: {case}", "DeleteTopics", version, {**request, "timeoutMs": 10_000})

        create(pair, "doomed")
        create(pair, "doomed-too")
        ask("a topic", "doomed")
        known(pair, "doomed", None)
        ask("the topic again", "doomed")
        ask("an unknown and a known topic", "missing", "doomed-too")
        known(pair, "doomed-too", None)
        ask("a topic twice", "missing", "missing")
        ask("nothing")
        if version >= 6:
            create(pair, "doomed")
            ask("by id", Note("id of doomed"), key="topicId")
            known(pair, "doomed", None)
            ask("by an unknown id", UNKNOWN_ID, key="topicId")


@cases
def create_partitions(pair):
    for version in pair.range("CreatePartitions"):
        topic = f"grown-{version}"
        create(pair, topic, 2)

        def ask(case, count, topic=topic, assignments=None, validate=False):
            new = {"name": topic, "count": count}
            new["assignments"] = None if assignments is None else [{"brokerIds": ids} for ids in assignments]
            request = {"topics": [new], "timeoutMs": 10_000, "validateOnly": validate}
            pair.ask(f"CreatePartitions: {case}", "CreatePartitions", version, request)

        ask("validation of more", 5, validate=True)
        ask("more", 4)
        known(pair, topic, 4)
        ask("as many as there are", 4)
        ask("fewer", 3)
        ask("none", 0)
        ask("of an unknown topic", 3, topic="missing")
        ask("with replicas by hand", 5, assignments=[[1]])
        known(pair, topic, 5)
        ask("with replicas for too few", 7, assignments=[[1]])
        ask("with a replica on an unknown broker", 6, assignments=[[77]])


@cases
def describe_topic_partitions(pair):
    create(pair, "paged-1", 3)
    create(pair, "paged-2", 2)
    for version in pair.range("DescribeTopicPartitions"):
        def ask(case, names, limit=2000, cursor=None):
            request = {"topics": [{"name": name} for name in names], "responsePartitionLimit": limit, "cursor": cursor}
            pair.ask(f"DescribeTopicPartitions: {case}", "DescribeTopicPartitions", version, request)

        ask("two topics", ["paged-1", "paged-2"])
        ask("an unknown topic", ["missing"])
        ask("an invalid name", ["not valid"])
        ask("the first page", ["paged-1", "paged-2"], 2)
        ask("the second page", ["paged-1", "paged-2"], 2, {"topicName": "paged-1", "partitionIndex": 2})
        ask("from a topic that is gone", ["paged-2"], 2, {"topicName": "paged-1", "partitionIndex": 0})


# Configurations ------------------------------------------------------------------------------------------

TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = range(4)


@cases
def describe_configs(pair):
    create(pair, "described-configs", retention_ms="5000")
    for version in pair.range("DescribeConfigs"):
        def ask(case, kind, name, keys=None, **more):
            asked = {"resourceType": kind, "resourceName": name, "configurationKeys": keys}
            request = {"resources": [asked], **more}
            pair.ask(f"DescribeConfigs: {case}", "DescribeConfigs", version, request)

        ask("a topic", TOPIC, "described-configs", includeSynonyms=True)
        ask("some settings of a topic", TOPIC, "described-configs", ["retention.ms", "cleanup.policy"])
        ask("an unknown setting of a topic", TOPIC, "described-configs", ["no.such.setting"])
        ask("no settings of a topic", TOPIC, "described-configs", [])
        ask("an unknown topic", TOPIC, "missing")
        ask("an invalid topic", TOPIC, "not valid")
        ask("a broker", BROKER, "1", includeSynonyms=True)
        ask("all brokers", BROKER, "")
        ask("an unknown broker", BROKER, "77")
        ask("a broker whose name is no number", BROKER, "one")
        ask("a broker's loggers", BROKER_LOGGER, "1")
        ask("an unknown kind", 99, "x")
        if version >= 3:
            ask("with documentation", TOPIC, "described-configs", ["retention.ms"], includeDocumentation=True)


def settings_of(pair: Pair, case: str, topic: str, *keys: str):
    asked = {"resourceType": TOPIC, "resourceName": topic, "configurationKeys": list(keys)}
    pair.ask(case, "DescribeConfigs", 1, {"resources": [asked]})


@cases
def alter_configs(pair):
    for version in pair.range("AlterConfigs"):
        topic = f"altered-{version}"
        create(pair, topic, segment_bytes="10000000", retention_ms=None)

        def ask(case, values, name=topic, kind=TOPIC, validate=False):
            configs = [{"name": key, "value": value} for key, value in values]
            asked = {"resourceType": kind, "resourceName": name, "configs": configs}
            pair.ask(f"AlterConfigs: {case}", "AlterConfigs", version, {"resources": [asked], "validateOnly": validate})
            time.sleep(0.05)
            keys = ["retention.ms", "segment.bytes", "cleanup.policy"]
            settings_of(pair, f"AlterConfigs: what is set after {case}", topic, *keys)

        ask("validation", [("retention.ms", "1")], validate=True)
        ask("setting", [("retention.ms", "6000")])
        ask("an unknown setting", [("no.such.setting", "1")])
        ask("an invalid value", [("retention.ms", "soon")])
        ask("no value", [("retention.ms", None)])
        ask("a setting twice", [("retention.ms", "1"), ("retention.ms", "2")])
        ask("an unknown topic", [("retention.ms", "1")], name="missing")
        ask("an unknown kind", [("retention.ms", "1")], kind=99)
        ask("a broker", [("message.max.bytes", "2000000")], name="1", kind=BROKER, validate=True)
        ask("a broker's loggers", [("root", "INFO")], name="1", kind=BROKER_LOGGER, validate=True)
        ask("clearing", [])


@cases
def incremental_alter_configs(pair):
    for version in pair.range("IncrementalAlterConfigs"):
        topic = f"increments-{version}"
        create(pair, topic, retention_ms=None)

        def ask(case, *changes, name=topic, kind=TOPIC, validate=False):
            configs = [{"name": key, "configOperation": how, "value": value} for how, key, value in changes]
            asked = {"resourceType": kind, "resourceName": name, "configs": configs}
            request = {"resources": [asked], "validateOnly": validate}
            pair.ask(f"IncrementalAlterConfigs: {case}", "IncrementalAlterConfigs", version, request)
            time.sleep(0.05)
            keys = ["retention.ms", "cleanup.policy", "max.message.bytes"]
            settings_of(pair, f"IncrementalAlterConfigs: what is set after {case}", topic, *keys)

        ask("validation", (SET, "retention.ms", "1"), validate=True)
        ask("set", (SET, "retention.ms", "6000"), (SET, "max.message.bytes", "2000000"))
        ask("append", (APPEND, "cleanup.policy", "compact"))
        ask("append what is there", (APPEND, "cleanup.policy", "compact"))
        ask("subtract", (SUBTRACT, "cleanup.policy", "delete"))
        ask("subtract what is not there", (SUBTRACT, "cleanup.policy", "delete"))
        ask("append to what is no list", (APPEND, "retention.ms", "1"))
        ask("delete", (DELETE, "retention.ms", None))
        ask("delete what is not set", (DELETE, "retention.ms", None))
        ask("an unknown setting", (SET, "no.such.setting", "1"))
        ask("an invalid value", (SET, "retention.ms", "soon"))
        ask("no value", (SET, "retention.ms", None))
        ask("one invalid value of two", (SET, "retention.ms", "77"), (SET, "max.message.bytes", "-5"))
        ask("a setting twice", (SET, "retention.ms", "1"), (DELETE, "retention.ms", None))
        ask("an unknown operation", (9, "retention.ms", "1"))
        ask("an unknown topic", (SET, "retention.ms", "1"), name="missing")
        ask("an unknown kind", (SET, "retention.ms", "1"), kind=99)
        ask("a broker", (SET, "message.max.bytes", "2000000"), name="1", kind=BROKER, validate=True)
        ask("a broker's loggers", (SET, "root", "INFO"), name="1", kind=BROKER_LOGGER, validate=True)
        ask("nothing")


# Groups --------------------------------------------------------------------------------------------------


@cases
def find_coordinator(pair):
    for version in pair.range("FindCoordinator"):
        def ask(case, key, kind=0):
            request = {"coordinatorKeys": [key]} if version >= 4 else {"key": key}
            request |= {"keyType": kind} if version >= 1 else {}
            pair.ask(f"FindCoordinator: {case}", "FindCoordinator", version, request)

        ask("of a group", "anybody")
        ask("of a group without name", "")
        ask("of an unknown kind", "anybody", 9) if version >= 1 else None
        if version >= 4:
            pair.ask("FindCoordinator: of two groups", "FindCoordinator", version, {"coordinatorKeys": ["a", "b"]})
            pair.ask("FindCoordinator: of none", "FindCoordinator", version, {"coordinatorKeys": []})


PROTOCOL = [{"name": "range", "metadata": b"\0\1\0\0\0\1\0\6shared\0\0\0\0"}]


class Membership:
    """A classic member on both sides, speaking one version of each request."""

    def __init__(self, pair: Pair, group: str, step: int, name: str = "member"):
        self.pair = pair
        self.group = group
        self.step = step
        self.name = name

    def version(self, api: str) -> int:
        versions = self.pair.range(api)
        return min(versions[-1], versions[0] + self.step)

    def ask(self, case: str, api: str, note=None, **request) -> dict:
        return self.pair.ask(f"{api}: {case}", api, self.version(api), request, self.name, note)

    def joining(self, member="", **more) -> dict:
        request = {
            "groupId": self.group, "sessionTimeoutMs": 10_000, "memberId": member,
            "protocolType": "consumer", "protocols": PROTOCOL,
        }
        if self.version("JoinGroup") >= 1:
            request["rebalanceTimeoutMs"] = 10_000
        return {**request, **more}

    def noted(self) -> dict:
        """What an answer to JoinGroup tells the member, be it only its id."""
        def telling(field):
            # By the code of an error that tells nothing this raises KeyError, and nothing is noted.
            return lambda answer: {0: answer, 79: answer}[answer["errorCode"]][field]

        return {self.name: telling("memberId"), f"generation of {self.name}": telling("generationId")}

    def join(self, case: str, **more) -> dict:
        """Once more with the id that newer versions hand out first."""
        note = self.noted()
        answer = self.ask(case, "JoinGroup", note, **self.joining(**more))
        if answer.get("errorCode") == 79:
            answer = self.ask(f"{case}, with the id given", "JoinGroup", note, **self.joining(Note(self.name), **more))
        return answer

    def place(self, **more) -> dict:
        return {
            "groupId": self.group, "memberId": Note(self.name), "generationId": Note(f"generation of {self.name}"), **more
        }

    def sync(self, case: str, **more) -> dict:
        request = self.place(assignments=[{"memberId": Note(self.name), "assignment": b"\0\1\0\0\0\0\0\0\0\0"}])
        if self.version("SyncGroup") >= 5:
            request |= {"protocolType": "consumer", "protocolName": "range"}
        return self.ask(case, "SyncGroup", **{**request, **more})

    def leave(self, case: str, member=None, **more) -> dict:
        member = Note(self.name) if member is None else member
        if self.version("LeaveGroup") >= 3:
            return self.ask(case, "LeaveGroup", groupId=self.group, members=[{"memberId": member, **more}])
        return self.ask(case, "LeaveGroup", groupId=self.group, memberId=member)

    def commit(self, case: str, topic="shared", offset=5, metadata="", place=None, partition=0) -> dict:
        where = {"groupId": self.group, "memberId": Note(self.name)} if place is None else place
        where.setdefault("generationIdOrMemberEpoch", Note(f"generation of {self.name}"))
        partitions = [{"partitionIndex": partition, "committedOffset": offset, "committedMetadata": metadata}]
        name = named(topic, self.version("OffsetCommit"), 10)
        return self.ask(case, "OffsetCommit", **where, topics=[{**name, "partitions": partitions}])

    def fetch(self, case: str, places: dict[str, list[int]] | None, group: str | None = None) -> dict:
        """Of partitions by topic; None asks for everything."""
        group = self.group if group is None else group
        topics = None if places is None else [
            {**named(topic, self.version("OffsetFetch"), 10), "partitionIndexes": partitions}
            for topic, partitions in places.items()
        ]
        if self.version("OffsetFetch") >= 8:
            return self.ask(case, "OffsetFetch", groups=[{"groupId": group, "topics": topics}])
        return self.ask(case, "OffsetFetch", groupId=group, topics=topics)


STEPS = range(11)


@cases
def group_membership(pair):
    create(pair, "shared", 2)
    for step in STEPS:
        one = Membership(pair, f"group-{step}", step)
        one.join("the first member")
        one.sync("of the leader")
        one.sync("again")
        one.join("again, alone", member=Note("member"))
        one.sync("of the next generation")
        one.ask("of a member", "Heartbeat", **one.place())
        one.ask("of an unknown member", "Heartbeat", **one.place(memberId="nobody"))
        one.ask("of another generation", "Heartbeat", **one.place(generationId=99))
        one.ask("in an unknown group", "Heartbeat", **one.place(groupId="missing"))
        one.ask("in a group without name", "Heartbeat", **one.place(groupId=""))
        one.sync("of an unknown member", memberId="nobody")
        one.sync("of another generation", generationId=99)
        one.sync("in an unknown group", groupId="missing")
        one.join("an unknown member", member="nobody")
        stranger = Membership(pair, f"group-{step}", step, "stranger")
        stranger.join("with another protocol type", protocolType="connect")
        stranger.join("with another protocol", protocols=[{"name": "other", "metadata": b""}])
        stranger.join("without protocols", protocols=[])
        stranger.join("with too short a session", sessionTimeoutMs=10)
        stranger.join("with too long a session", sessionTimeoutMs=100_000_000)
        stranger.join("a group without name", groupId="")
        # The member that is asked to let go learns it by its heartbeat; then both join.
        if one.version("JoinGroup") >= 4:
            pair.ask(
                "JoinGroup: a second member asks for an id", "JoinGroup", one.version("JoinGroup"), stranger.joining(),
                "stranger", stranger.noted(),
            )
            pair.send("JoinGroup", one.version("JoinGroup"), stranger.joining(Note("stranger")), "stranger")
            await_(lambda: all(beat(pair, side, one) == 27 for side in pair.sides), "a rebalance")
            one.ask("during a rebalance", "Heartbeat", **one.place())
            one.commit("during a rebalance")
            one.join("by its leader during a rebalance", member=Note("member"))
            pair.receive("JoinGroup: the second member", one.version("JoinGroup"), "stranger", stranger.noted())
            one.sync("of the leader of two")
            stranger.sync("of the follower", assignments=[])
            stranger.leave("of a member")
        one.leave("of an unknown member", member="nobody")
        one.leave("of the last member" if one.version("JoinGroup") < 4 else "of the leader")
        one.leave("again")
        one.ask("after leaving", "Heartbeat", **one.place())


def beat(pair: Pair, side, one: Membership) -> int:
    side.send(pair.apis["Heartbeat"], one.version("Heartbeat"), one.place(), "member")
    return side.receive("member").get("errorCode")


@cases
def static_members(pair):
    create(pair, "shared-statically", 2)
    for step in STEPS:
        one = Membership(pair, f"static-{step}", step, "static")
        if one.version("JoinGroup") < 5 or one.version("Heartbeat") < 3 or one.version("SyncGroup") < 3:
            continue
        instance = {"groupInstanceId": "one"}
        one.join("a static member", **instance)
        one.sync("of a static member", **instance)
        one.ask("of a static member", "Heartbeat", **one.place(**instance))
        for side in pair.sides:
            side.notes["the old static"] = side.notes["static"]
        one.join("a static member that comes back", **instance)
        one.sync("of a static member that came back", **instance)
        one.ask("of the member it replaced", "Heartbeat", **one.place(memberId=Note("the old static"), **instance))
        one.sync("of the member it replaced", memberId=Note("the old static"), **instance)
        one.join("the member it replaced", member=Note("the old static"), **instance)
        one.ask("of an unknown instance", "Heartbeat", **one.place(groupInstanceId="nobody"))
        describe_group(pair, "with a static member", f"static-{step}")
        one.leave("of an instance", member="", **instance)
        one.leave("of the instance again", member="", **instance)
        one.leave("of an unknown instance", member="", groupInstanceId="nobody")


@cases
def offsets(pair):
    create(pair, "shared-offsets", 3)
    topic = "shared-offsets"
    for step in STEPS:
        one = Membership(pair, f"offsets-{step}", step, "offsets")
        alone = {"groupId": f"offsets-{step}", "memberId": "", "generationIdOrMemberEpoch": -1}
        one.commit("by nobody", topic, place=dict(alone))
        one.commit("by nobody, of an unknown topic", "missing", place=dict(alone))
        one.commit("by nobody, of an unknown partition", topic, partition=9, place=dict(alone))
        one.commit("by nobody, of a negative offset", topic, -1, partition=2, place=dict(alone))
        one.commit("by nobody, with metadata", topic, 6, "a note", place=dict(alone), partition=1)
        one.commit("by nobody, with much metadata", topic, 6, "x" * 5000, place=dict(alone))
        one.commit("by nobody, without metadata", topic, 7, None, place=dict(alone))
        one.commit("to a group without name", topic, place={**alone, "groupId": ""})
        one.commit("by an unknown member", topic, place={**alone, "memberId": "nobody", "generationIdOrMemberEpoch": 1})
        one.commit("with a generation of an unknown group", topic, place={
            "groupId": "missing", "memberId": "nobody", "generationIdOrMemberEpoch": 1
        })
        one.fetch("of a topic", {topic: [0, 1, 2]})
        one.fetch("of an unknown topic", {MISSING: [0]})
        one.fetch("of an unknown partition", {topic: [9]})
        one.fetch("of an unknown group", {topic: [0]}, "missing")
        one.fetch("of nothing", {})
        if one.version("OffsetFetch") >= 2:
            one.fetch("of everything", None)
            one.fetch("of everything of an unknown group", None, "missing")
        if one.version("OffsetFetch") >= 8:
            both = [{"groupId": f"offsets-{step}", "topics": None}, {"groupId": "missing", "topics": None}]
            one.ask("of two groups", "OffsetFetch", groups=both)
        one.join("after commits")
        one.sync("after commits")
        one.commit("by a member", topic)
        one.commit("by nobody while there are members", topic, place=dict(alone))
        one.commit("by a member of another generation", topic, place={
            "groupId": f"offsets-{step}", "memberId": Note("offsets"), "generationIdOrMemberEpoch": 99
        })
        one.commit("by an unknown member while there are members", topic, place={
            "groupId": f"offsets-{step}", "memberId": "nobody", "generationIdOrMemberEpoch": Note("generation of offsets")
        })
        if one.version("OffsetCommit") >= 7:
            one.commit("by an unknown instance", topic, place={
                "groupId": f"offsets-{step}", "memberId": Note("offsets"), "groupInstanceId": "nobody"
            })
        one.leave("after commits")


def describe_group(pair: Pair, case: str, *groups: str):
    for version in pair.range("DescribeGroups"):
        pair.ask(f"DescribeGroups: {case}", "DescribeGroups", version, {"groups": list(groups)})


@cases
def describe_list_and_delete_groups(pair):
    create(pair, "told", 2)
    member = Membership(pair, "told-busy", 9, "told")
    member.join("to be described")
    describe_group(pair, "while it completes a rebalance", "told-busy")
    member.sync("to be described")
    member.commit("to be described", "told")
    idle = {"groupId": "told-idle", "memberId": "", "generationIdOrMemberEpoch": -1}
    member.commit("to an idle group", "told", place=idle)
    describe_group(pair, "stable", "told-busy")
    describe_group(pair, "empty", "told-idle")
    describe_group(pair, "unknown", "missing")
    describe_group(pair, "without name", "")
    describe_group(pair, "two", "told-busy", "missing")
    for version in pair.range("DescribeGroups"):
        if version >= 3:
            request = {"groups": ["told-busy"], "includeAuthorizedOperations": True}
            pair.ask("DescribeGroups: with what one may do", "DescribeGroups", version, request)

    def listed(case, version, **request):
        """Only the groups of this test, whatever the others left behind."""
        answers = []
        for side in pair.sides:
            side.send(pair.apis["ListGroups"], version, request)
            answer = side.receive()
            if "groups" in answer:
                answer["groups"] = [group for group in answer["groups"] if group["groupId"].startswith("told-")]
            answers.append(answer)
        pair.compare_all(f"ListGroups: {case}", version, answers)

    for version in pair.range("ListGroups"):
        listed("all", version)
        if version >= 4:
            for states in [["Stable"], ["Empty"], ["stable", "Dead"], ["NoSuchState"]]:
                listed(f"in state {' or '.join(states)}", version, statesFilter=states)
        if version >= 5:
            for types in [["classic"], ["consumer"], ["Classic"], ["nosuchtype"]]:
                listed(f"of type {types[0]}", version, typesFilter=types)

    def forget(case, group, topic="told", partition=0):
        topics = [{"name": topic, "partitions": [{"partitionIndex": partition}]}]
        pair.ask(f"OffsetDelete: {case}", "OffsetDelete", 0, {"groupId": group, "topics": topics})

    forget("of a topic somebody reads", "told-busy")
    forget("of an idle group", "told-idle")
    forget("of an idle group again", "told-idle")
    forget("of an unknown topic", "told-idle", "missing")
    forget("of an unknown partition", "told-idle", partition=9)
    forget("of an unknown group", "missing")
    forget("of a group without name", "")

    for version in pair.range("DeleteGroups"):
        def delete(case, *groups):
            pair.ask(f"DeleteGroups: {case}", "DeleteGroups", version, {"groupsNames": list(groups)})

        idle = {"groupId": f"told-{version}", "memberId": "", "generationIdOrMemberEpoch": -1}
        member.commit("to a group to delete", "told", place=idle)
        delete("an empty one", f"told-{version}")
        delete("an empty one again", f"told-{version}")
        delete("one with members", "told-busy")
        delete("an unknown one", "missing")
        delete("one without name", "")
        delete("an unknown one and one with members", "missing", "told-busy")
    member.leave("to be described")


@cases
def init_producer_id(pair):
    for version in pair.range("InitProducerId"):
        def ask(case, **more):
            request = {"transactionalId": None, "transactionTimeoutMs": 60_000, **more}
            pair.ask(f"InitProducerId: {case}", "InitProducerId", version, request)

        ask("without transactions")
        ask("an empty transactional id", transactionalId="")
        if version >= 3:
            ask("with an id and no transactions", producerId=1, producerEpoch=1)
            ask("with an epoch and no id", producerEpoch=1)


# The broker ----------------------------------------------------------------------------------------------


@cases
def describe_cluster(pair):
    for version in pair.range("DescribeCluster"):
        pair.ask("DescribeCluster", "DescribeCluster", version, {})
        operations = {"includeClusterAuthorizedOperations": True}
        pair.ask("DescribeCluster: with what one may do", "DescribeCluster", version, operations)
        if version >= 1:
            for kind in [2, 9]:
                pair.ask(f"DescribeCluster: endpoints {kind}", "DescribeCluster", version, {"endpointType": kind})


@cases
def elections(pair):
    create(pair, "elected", 2)
    kinds = {"preferred": 0, "unclean": 1, "unknown": 9}
    for version in pair.range("ElectLeaders"):
        for kind, number in kinds.items() if version >= 1 else [("preferred", None)]:
            def ask(case, topics):
                request = {"topicPartitions": topics, "timeoutMs": 10_000}
                if number is not None:
                    request["electionType"] = number
                pair.ask(f"ElectLeaders: {kind}, {case}", "ElectLeaders", version, request)

            ask("of a topic", [{"topic": "elected", "partitions": [0, 1]}])
            ask("of an unknown partition", [{"topic": "elected", "partitions": [1, 7, -1]}])
            ask("of an unknown topic", [{"topic": MISSING, "partitions": [0]}])
            ask("of nothing", [])
            ask("of all", None)


@cases
def partition_reassignments(pair):
    create(pair, "placed", 2)
    for version in pair.range("AlterPartitionReassignments"):
        def alter(case, partition, replicas, topic="placed"):
            asked = {"name": topic, "partitions": [{"partitionIndex": partition, "replicas": replicas}]}
            request = {"topics": [asked], "timeoutMs": 10_000}
            pair.ask(f"AlterPartitionReassignments: {case}", "AlterPartitionReassignments", version, request)

        alter("to where it is", 0, [1])
        alter("to an unknown broker", 0, [77])
        alter("to a broker twice", 0, [1, 1])
        alter("to no broker", 0, [])
        alter("to stop what does not move", 0, None)
        alter("of an unknown partition", 7, [1])
        alter("of an unknown topic", 0, [1], topic="missing")
        nothing = {"topics": [], "timeoutMs": 10_000}
        pair.ask("AlterPartitionReassignments: of nothing", "AlterPartitionReassignments", version, nothing)
    for version in pair.range("ListPartitionReassignments"):
        def listed(case, topics):
            request = {"topics": topics, "timeoutMs": 10_000}
            pair.ask(f"ListPartitionReassignments: {case}", "ListPartitionReassignments", version, request)

        listed("all", None)
        listed("of a topic", [{"name": "placed", "partitionIndexes": [0, 1]}])
        listed("of an unknown partition", [{"name": "placed", "partitionIndexes": [7]}])
        listed("of an unknown topic", [{"name": "missing", "partitionIndexes": [0]}])


@cases
def describe_log_dirs(pair):
    create(pair, "stored", 2)
    fill(pair, "stored", wire.batch([b"x" * 100]))
    for version in pair.range("DescribeLogDirs"):
        def ask(case, topics):
            pair.ask(f"DescribeLogDirs: {case}", "DescribeLogDirs", version, {"topics": topics})

        ask("of a topic", [{"topic": "stored", "partitions": [0, 1]}])
        ask("of an unknown topic", [{"topic": "missing", "partitions": [0]}])
        ask("of nothing", [])


@pytest.mark.timeout(180)
def test_answers_are_those_of_kafka(both, subtests):
    """One test with many parts, so that they share the two brokers."""
    explained = differential.explanations()
    for play in CASES:
        before = len(both.found)
        with subtests.test(play.__name__):
            play(both)
            unexplained(both.found[before:], explained)
    missing = untried(both)
    assert not missing, f"the broker advertises these, and no case asks them: {missing}"
    idle = [
        entry for entry in explained
        if any(differential.fits(entry.case, case) for case, _ in both.tried)
        and not any(entry.fits(difference) for difference in both.found)
    ]
    assert not idle, f"nothing differs here any more, so differences.toml need not explain it: {idle}"


def untried(pair: Pair) -> list[str]:
    """What our broker advertises and Kafka knows, and no case compares. The name of a case begins with its API."""
    tried = {(case.split(":")[0], version) for case, version in pair.tried}
    advertised = [api for api, number in pair.apis.items() if number in pair.ours.versions]
    wanted = {(api, version) for api in advertised for version in pair.range(api)}
    # Advertised, as Kafka does, and spoken by neither.
    wanted -= {("Produce", version) for version in range(3)}
    return [f"{api} v{version}" for api, version in sorted(wanted - tried)]


def unexplained(found: list[Difference], explained: list[Explanation]):
    """Fails if answers differed in a way that nobody explained."""
    new = [difference for difference in found if not any(entry.fits(difference) for entry in explained)]
    # Of each field the first: the other versions say the same again.
    first = {(difference.case, difference.field): difference for difference in reversed(new)}
    lines = "\n".join(f"  {difference}" for difference in reversed(first.values()))
    if new:
        what = f"{len(first)} fields differ from Apache Kafka, and differences.toml does not say why:\n{lines}"
        pytest.fail(what, pytrace=False)
