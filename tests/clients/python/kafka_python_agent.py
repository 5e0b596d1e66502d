"""What a scenario asks, done by kafka-python. See agent.py for the form of the conversation, and
confluent_agent.py for what each operation returns."""

from contextlib import closing

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import AlterConfigOp, ConfigResource, OffsetSpec
from kafka.structs import OffsetAndMetadata

from conversation import Membership, Unsupported, decoded, encoded, serve

MILLISECONDS = 30_000
MEMBERS: dict[str, Membership] = {}


def admin(broker: str):
    return closing(KafkaAdminClient(bootstrap_servers=broker))


def create_topic(broker, topic, partitions, config):
    with admin(broker) as client:
        client.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": config}})


def delete_topic(broker, topic):
    with admin(broker) as client:
        client.delete_topics([topic])


def topics(broker):
    with admin(broker) as client:
        return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}


def add_partitions(broker, topic, count):
    with admin(broker) as client:
        client.create_partitions({topic: count})


def describe_config(broker, topic):
    with admin(broker) as client:
        found = client.describe_configs([ConfigResource("topic", topic)], config_filter="all")
    return {name: entry["value"] for name, entry in found["topic"][topic].items()}


def alter_config(broker, topic, values, delete):
    changes = {name: (AlterConfigOp.SET, value) for name, value in values.items()}
    changes |= {name: (AlterConfigOp.DELETE, None) for name in delete}
    with admin(broker) as client:
        client.alter_configs([ConfigResource("topic", topic, changes)])


def delete_records(broker, topic, partition, before):
    place = TopicPartition(topic, partition)
    with admin(broker) as client:
        return client.delete_records({place: before})[place]["low_watermark"]


def offsets(broker, topic, partition):
    place = TopicPartition(topic, partition)
    with admin(broker) as client:
        return [
            client.list_partition_offsets({place: spec})[place].offset
            for spec in [OffsetSpec.EARLIEST, OffsetSpec.LATEST]
        ]


def produce(broker, topic, codec, records):
    if any(value is None for record in records for _, value in record["headers"]):
        raise Unsupported("kafka-python does not send a header without a value")
    if any(record["value"] is None and record["key"] is None for record in records):
        raise Unsupported("kafka-python does not send a record without key and value")
    producer = KafkaProducer(
        bootstrap_servers=broker, compression_type=None if codec == "none" else codec, linger_ms=50, acks="all"
    )
    with closing(producer):
        sent = [
            producer.send(
                topic,
                value=decoded(record["value"]),
                key=decoded(record["key"]),
                headers=[(name, decoded(value)) for name, value in record["headers"]],
                partition=record["partition"],
                timestamp_ms=record["timestamp"],
            )
            for record in records
        ]
        producer.flush(MILLISECONDS / 1000)
        return [future.get(MILLISECONDS / 1000).offset for future in sent]


def said(record):
    return {
        "partition": record.partition,
        "offset": record.offset,
        "key": encoded(record.key),
        "value": encoded(record.value),
        "headers": [[name, encoded(value)] for name, value in record.headers],
        "timestamp": record.timestamp,
    }


def consume(broker, topic, partitions):
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer = KafkaConsumer(
        bootstrap_servers=broker, group_id=None, auto_offset_reset="none", consumer_timeout_ms=MILLISECONDS
    )
    with closing(consumer):
        consumer.assign(places)
        first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, first[place])
        due = sum(end[place] - first[place] for place in places)
        found = []
        while len(found) < due:
            found.append(said(next(consumer)))
        return found


def group_consumer(broker, group):
    return KafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=MILLISECONDS,
    )


def consume_group(broker, group, topic, count):
    with closing(group_consumer(broker, group)) as consumer:
        consumer.subscribe([topic])
        found = [said(next(consumer)) for _ in range(count)]
        consumer.commit()
        return found


def committed(broker, group, topic, partitions):
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    with admin(broker) as client:
        found = client.list_group_offsets({group: places})[group]
    offsets = [found[place].offset if place in found else -1 for place in places]
    return [None if offset < 0 else offset for offset in offsets]


def groups(broker):
    with admin(broker) as client:
        return {group["group_id"]: group["group_state"].lower() for group in client.list_groups()}


def describe_group(broker, group):
    with admin(broker) as client:
        found = client.describe_groups([group])[group]
    assert found["error"] is None, found["error"]
    members = []
    for member in found["members"]:
        assigned = member["member_assignment"]["assigned_partitions"]
        members.append(sorted(partition for topic in assigned for partition in topic["partitions"]))
    return {"state": found["group_state"].lower(), "members": members}


def delete_group(broker, group):
    with admin(broker) as client:
        outcome = client.delete_groups([group])[group]
    if outcome != "OK":
        raise getattr(errors, outcome)


class Listener(ConsumerRebalanceListener):
    def __init__(self, membership, commit):
        self.membership, self.commit = membership, commit

    def on_partitions_assigned(self, assigned):
        self.membership.gained([place.partition for place in assigned])

    def on_partitions_revoked(self, revoked):
        self.commit()
        self.membership.lost([place.partition for place in revoked])


def join(broker, member, group, topic):
    membership = MEMBERS[member] = Membership(member)

    def run():
        consumer = group_consumer(broker, group)
        positions = {}

        def commit():
            if not positions or membership.holding.is_set():
                return
            consumer.commit({
                TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in positions.items()
            })
            membership.committed(positions)
            positions.clear()

        consumer.subscribe([topic], listener=Listener(membership, commit))
        while not membership.leaving.is_set():
            for records in consumer.poll(timeout_ms=50).values():
                for record in records:
                    positions[record.partition] = record.offset + 1
                    membership.read(record.partition, record.offset, record.value)
            commit()
        consumer.close()

    membership.start(run)


def hold(broker, member):
    MEMBERS[member].holding.set()


def leave(broker, member):
    MEMBERS.pop(member).leave()


def code_of(error: Exception) -> int:
    return getattr(error, "errno", None) or -1 if isinstance(error, errors.KafkaError) else -1


if __name__ == "__main__":
    operations = [
        create_topic, delete_topic, topics, add_partitions, describe_config, alter_config, delete_records, offsets,
        produce, consume, consume_group, committed, groups, describe_group, delete_group, join, hold, leave,
    ]
    serve({operation.__name__: operation for operation in operations}, code_of)
