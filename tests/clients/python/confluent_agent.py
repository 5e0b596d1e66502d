"""What a scenario asks, done by confluent-kafka. See agent.py for the form of the conversation."""

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from conversation import Membership, decoded, encoded, serve

SECONDS = 30
MEMBERS: dict[str, Membership] = {}


def admin(broker: str) -> AdminClient:
    """A new one each time. Whoever asks it keeps it until it has answered."""
    return AdminClient({"bootstrap.servers": broker})


def only(futures: dict):
    """The result of a request about one thing."""
    (future,) = futures.values()
    return future.result(SECONDS)


def create_topic(broker, topic, partitions, config):
    client = admin(broker)
    only(client.create_topics([NewTopic(topic, partitions, 1, config=config)]))


def delete_topic(broker, topic):
    client = admin(broker)
    only(client.delete_topics([topic]))


def topics(broker):
    """Each topic with its number of partitions."""
    found = admin(broker).list_topics(timeout=SECONDS).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def add_partitions(broker, topic, count):
    """To `count` in all."""
    client = admin(broker)
    only(client.create_partitions([NewPartitions(topic, count)]))


def describe_config(broker, topic):
    """Values by name."""
    client = admin(broker)
    entries = only(client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
    return {name: entry.value for name, entry in entries.items()}


def alter_config(broker, topic, values, delete):
    """Sets some, and gives others their defaults back."""
    changes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    changes += [ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE) for name in delete]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=changes)
    client = admin(broker)
    only(client.incremental_alter_configs([resource]))


def delete_records(broker, topic, partition, before):
    """Returns the first offset that is left."""
    client = admin(broker)
    return only(client.delete_records([TopicPartition(topic, partition, before)])).low_watermark


def offsets(broker, topic, partition):
    """The first offset and the one after the last."""
    place = TopicPartition(topic, partition)
    client = admin(broker)
    return [only(client.list_offsets({place: spec})).offset for spec in [OffsetSpec.earliest(), OffsetSpec.latest()]]


def produce(broker, topic, codec, records):
    """Returns the offset of each record."""
    failures, places = [], [None] * len(records)

    def delivered(number):
        def note(error, message):
            places[number] = message.offset()
            failures.extend([error] if error else [])
        return note

    producer = Producer({
        "bootstrap.servers": broker, "compression.type": codec, "linger.ms": 50, "enable.idempotence": True
    })
    for number, record in enumerate(records):
        stamp = {} if record["timestamp"] is None else {"timestamp": record["timestamp"]}
        headers = [(name, decoded(value)) for name, value in record["headers"]]
        producer.produce(
            topic,
            value=decoded(record["value"]),
            key=decoded(record["key"]),
            headers=headers,
            partition=record["partition"],
            on_delivery=delivered(number),
            **stamp,
        )
    left = producer.flush(SECONDS)
    if failures:
        raise KafkaException(failures[0])
    assert left == 0, f"{left} records were not delivered"
    return places


def said(message):
    assert message.error() is None, message.error()
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "key": encoded(message.key()),
        "value": encoded(message.value()),
        "headers": [[name, encoded(value)] for name, value in message.headers() or []],
        "timestamp": message.timestamp()[1],
    }


def consume(broker, topic, partitions):
    """Every record, from the first to the one that is the last now."""
    consumer = Consumer({
        "bootstrap.servers": broker,
        "group.id": "commits nothing",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
    })
    try:
        marks = {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SECONDS)
            for partition in range(partitions)
        }
        consumer.assign([TopicPartition(topic, partition, low) for partition, (low, _) in marks.items()])
        due = sum(high - low for low, high in marks.values())
        found = []
        while len(found) < due:
            batch = consumer.consume(due - len(found), timeout=SECONDS)
            assert batch, f"{len(found)} of {due} records came"
            found += [said(message) for message in batch]
        return found
    finally:
        consumer.close()


def group_consumer(broker, group) -> Consumer:
    return Consumer({
        "bootstrap.servers": broker,
        "group.id": group,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })


def consume_group(broker, group, topic, count):
    """So many records as the only member of a group, which then commits and leaves."""
    consumer = group_consumer(broker, group)
    try:
        consumer.subscribe([topic])
        found = []
        while len(found) < count:
            message = consumer.poll(SECONDS)
            assert message is not None, f"{len(found)} of {count} records came"
            found.append(said(message))
        consumer.commit(asynchronous=False)
        return found
    finally:
        consumer.close()


def committed(broker, group, topic, partitions):
    """Where the group goes on, by partition; None where it has not committed."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition) for partition in range(partitions)])
    client = admin(broker)
    answer = only(client.list_consumer_group_offsets([asked]))
    places = {place.partition: place.offset for place in answer.topic_partitions}
    return [None if places[partition] < 0 else places[partition] for partition in range(partitions)]


def groups(broker):
    """The state of each group."""
    client = admin(broker)
    found = client.list_consumer_groups(request_timeout=SECONDS).result(SECONDS)
    assert not found.errors, found.errors
    return {group.group_id: group.state.name.lower() for group in found.valid}


def describe_group(broker, group):
    """Its state, and the partitions of each member."""
    client = admin(broker)
    found = only(client.describe_consumer_groups([group], request_timeout=SECONDS))
    members = [sorted(place.partition for place in member.assignment.topic_partitions) for member in found.members]
    return {"state": found.state.name.lower(), "members": members}


def delete_group(broker, group):
    client = admin(broker)
    only(client.delete_consumer_groups([group], request_timeout=SECONDS))


def join(broker, member, group, topic):
    """Reads and commits in a thread, until `leave`."""
    membership = MEMBERS[member] = Membership(member)
    consumer = group_consumer(broker, group)
    # Where to go on from, by partition, as far as that is not committed.
    positions = {}

    def commit():
        if not positions or membership.holding.is_set():
            return
        places = [TopicPartition(topic, partition, offset) for partition, offset in positions.items()]
        failed = [place for place in consumer.commit(offsets=places, asynchronous=False) if place.error is not None]
        assert not failed, f"not committed: {failed}"
        membership.committed(positions)
        positions.clear()

    def on_revoke(_, places):
        commit()
        membership.lost([place.partition for place in places])

    def run():
        consumer.subscribe(
            [topic],
            on_assign=lambda _, places: membership.gained([place.partition for place in places]),
            on_revoke=on_revoke,
        )
        while not membership.leaving.is_set():
            message = consumer.poll(0.05)
            if message is None:
                commit()
                continue
            assert message.error() is None, message.error()
            positions[message.partition()] = message.offset() + 1
            membership.read(message.partition(), message.offset(), message.value())
            if len(positions) > 0 and message.offset() % 20 == 0:
                commit()
        commit()
        consumer.close()

    membership.start(run)


def hold(broker, member):
    """The member commits no more."""
    MEMBERS[member].holding.set()


def leave(broker, member):
    MEMBERS.pop(member).leave()


def code_of(error: Exception) -> int:
    known = isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError)
    return error.args[0].code() if known else -1


if __name__ == "__main__":
    operations = [
        create_topic, delete_topic, topics, add_partitions, describe_config, alter_config, delete_records, offsets,
        produce, consume, consume_group, committed, groups, describe_group, delete_group, join, hold, leave,
    ]
    serve({operation.__name__: operation for operation in operations}, code_of)
