import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Requests of the admin client. */
final class Administration {
    private Administration() {}

    /** A request made with an admin client. */
    interface Request {
        Object ask(Admin admin, JsonNode asked) throws Exception;
    }

    static <T> T await(KafkaFuture<T> future) throws Exception {
        return future.get(Agent.SECONDS, TimeUnit.SECONDS);
    }

    static void addTo(Map<String, Agent.Operation> operations) {
        Map<String, Request> requests = new HashMap<>();
        requests.put("create_topic", Administration::createTopic);
        requests.put("delete_topic", (admin, asked) -> await(admin.deleteTopics(List.of(topic(asked))).all()));
        requests.put("topics", Administration::topics);
        requests.put("add_partitions", (admin, asked) -> await(admin.createPartitions(
            Map.of(topic(asked), NewPartitions.increaseTo(asked.get("count").asInt()))).all()));
        requests.put("describe_config", Administration::describeConfig);
        requests.put("alter_config", Administration::alterConfig);
        requests.put("delete_records", Administration::deleteRecords);
        requests.put("offsets", Administration::offsets);
        requests.put("committed", Administration::committed);
        requests.put("groups", Administration::groups);
        requests.put("describe_group", Administration::describeGroup);
        requests.put("delete_group", (admin, asked) -> await(
            admin.deleteConsumerGroups(List.of(asked.get("group").asText())).all()));
        requests.forEach((name, request) -> operations.put(name, asked -> {
            try (Admin admin = Admin.create(Map.of("bootstrap.servers", asked.get("broker").asText()))) {
                return request.ask(admin, asked);
            }
        }));
    }

    static String topic(JsonNode asked) {
        return asked.get("topic").asText();
    }

    private static TopicPartition place(JsonNode asked) {
        return new TopicPartition(topic(asked), asked.get("partition").asInt());
    }

    private static Object createTopic(Admin admin, JsonNode asked) throws Exception {
        Map<String, String> config = new HashMap<>();
        asked.get("config").properties().forEach(entry -> config.put(entry.getKey(), entry.getValue().asText()));
        var topic = new NewTopic(topic(asked), asked.get("partitions").asInt(), (short) 1).configs(config);
        return await(admin.createTopics(List.of(topic)).all());
    }

    private static Object topics(Admin admin, JsonNode asked) throws Exception {
        Map<String, Integer> counts = new TreeMap<>();
        var names = await(admin.listTopics().names());
        await(admin.describeTopics(names).allTopicNames())
            .forEach((name, topic) -> counts.put(name, topic.partitions().size()));
        return counts;
    }

    private static Object describeConfig(Admin admin, JsonNode asked) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(asked));
        Map<String, String> values = new TreeMap<>();
        for (ConfigEntry entry : await(admin.describeConfigs(List.of(resource)).all()).get(resource).entries()) {
            values.put(entry.name(), entry.value());
        }
        return values;
    }

    private static Object alterConfig(Admin admin, JsonNode asked) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        asked.get("values").properties().forEach(entry -> changes.add(new AlterConfigOp(
            new ConfigEntry(entry.getKey(), entry.getValue().asText()), AlterConfigOp.OpType.SET)));
        asked.get("delete").forEach(name -> changes.add(new AlterConfigOp(
            new ConfigEntry(name.asText(), null), AlterConfigOp.OpType.DELETE)));
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(asked));
        return await(admin.incrementalAlterConfigs(Map.of(resource, changes)).all());
    }

    private static Object deleteRecords(Admin admin, JsonNode asked) throws Exception {
        var before = Map.of(place(asked), RecordsToDelete.beforeOffset(asked.get("before").asLong()));
        return await(admin.deleteRecords(before).lowWatermarks().get(place(asked))).lowWatermark();
    }

    private static Object offsets(Admin admin, JsonNode asked) throws Exception {
        List<Long> found = new ArrayList<>();
        for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest())) {
            found.add(await(admin.listOffsets(Map.of(place(asked), spec)).partitionResult(place(asked))).offset());
        }
        return found;
    }

    private static Object committed(Admin admin, JsonNode asked) throws Exception {
        List<TopicPartition> places = new ArrayList<>();
        for (int partition = 0; partition < asked.get("partitions").asInt(); partition++) {
            places.add(new TopicPartition(topic(asked), partition));
        }
        String group = asked.get("group").asText();
        var spec = new ListConsumerGroupOffsetsSpec().topicPartitions(places);
        var found = await(admin.listConsumerGroupOffsets(Map.of(group, spec)).partitionsToOffsetAndMetadata(group));
        List<Long> offsets = new ArrayList<>();
        for (TopicPartition place : places) {
            offsets.add(found.get(place) == null ? null : (Long) found.get(place).offset());
        }
        return offsets;
    }

    private static Object groups(Admin admin, JsonNode asked) throws Exception {
        Map<String, String> states = new TreeMap<>();
        for (var group : await(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all())) {
            states.put(group.groupId(), group.groupState().map(state -> state.toString().toLowerCase()).orElse(null));
        }
        return states;
    }

    private static Object describeGroup(Admin admin, JsonNode asked) throws Exception {
        String name = asked.get("group").asText();
        var group = await(admin.describeConsumerGroups(List.of(name)).all()).get(name);
        List<List<Integer>> members = new ArrayList<>();
        for (var member : group.members()) {
            members.add(member.assignment().topicPartitions().stream().map(TopicPartition::partition).sorted().toList());
        }
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("state", group.groupState().toString().toLowerCase());
        found.put("members", members);
        return found;
    }
}
