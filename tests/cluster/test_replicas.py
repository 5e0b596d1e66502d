"""How many replicas a topic may ask for, and how many of them may be asked to have what is acknowledged."""

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from cluster import metadata

pytestmark = pytest.mark.python

SECONDS = 30
IN_SYNC = "min.insync.replicas"
# Acks=all is answered when two of three have a record.
MOST = 2


def outcome(future) -> tuple[int, str]:
    """Kafka's code, and what was said."""
    try:
        future.result(SECONDS)
    except KafkaException as refused:
        error = refused.args[0]
        return error.code(), error.str()
    return KafkaError.NO_ERROR, ""


def test_more_replicas_than_there_are_nodes_and_more_in_sync_than_acknowledge_are_refused(cluster):
    cluster.form()
    # Whoever has answered knows it.
    address = cluster.nodes[2].kafka
    admin = AdminClient({"bootstrap.servers": address})

    def create(name: str, factor: int, in_sync: int) -> tuple[int, str]:
        new = NewTopic(name, 2, factor, config={IN_SYNC: str(in_sync)})
        return outcome(admin.create_topics([new])[name])

    def alter(name: str, in_sync: int) -> tuple[int, str]:
        entry = ConfigEntry(IN_SYNC, str(in_sync), incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        [changed] = admin.incremental_alter_configs([topic]).values()
        return outcome(changed)

    assert create("fits", 3, MOST)[0] == KafkaError.NO_ERROR
    assert {len(place.replicas) for place in metadata(address, "fits").topics["fits"].partitions.values()} == {3}
    code, why = create("four", 4, 1)
    assert code == KafkaError.INVALID_REPLICATION_FACTOR and "1 to 3 replicas" in why, why
    for code, why in [create("all", 3, 3), alter("fits", 3)]:
        assert code == KafkaError.INVALID_CONFIG and f"when {MOST} have a record" in why, why
    assert alter("fits", 1)[0] == KafkaError.NO_ERROR
    assert set(metadata(address).topics) == {"fits"}
