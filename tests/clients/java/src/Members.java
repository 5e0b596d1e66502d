import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Members of groups, each reading in a thread of its own until it leaves. */
final class Members {
    private static final Map<String, Membership> MEMBERS = new HashMap<>();

    private Members() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("consume_group", Members::consumeGroup);
        operations.put("join", asked -> {
            var membership = new Membership(asked);
            MEMBERS.put(asked.get("member").asText(), membership);
            membership.start();
            return null;
        });
        operations.put("hold", asked -> {
            MEMBERS.get(asked.get("member").asText()).holding = true;
            return null;
        });
        operations.put("leave", asked -> {
            var membership = MEMBERS.remove(asked.get("member").asText());
            membership.leaving = true;
            membership.join(Agent.SECONDS * 1000L);
            if (membership.isAlive()) {
                throw new IllegalStateException(membership.member + " does not leave");
            }
            return null;
        });
    }

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode asked, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("group.id", asked.get("group").asText());
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        // Soon enough to ask another one when a broker hangs.
        settings.put("request.timeout.ms", 8000);
        settings.put("auto.offset.reset", "earliest");
        return Records.consumer(asked, settings);
    }

    private static Object consumeGroup(JsonNode asked) {
        int count = asked.get("count").asInt();
        // Never more than are due: what is polled counts as read.
        try (var consumer = consumer(asked, Map.of("max.poll.records", 1))) {
            consumer.subscribe(List.of(Administration.topic(asked)));
            var records = Records.take(consumer, count);
            consumer.commitSync();
            return records;
        }
    }

    private static final class Membership extends Thread implements ConsumerRebalanceListener {
        final String member;
        volatile boolean holding;
        volatile boolean leaving;
        private final JsonNode asked;
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final TreeSet<Integer> owned = new TreeSet<>();
        /** Where to go on from, as far as that is not committed. */
        private final Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();

        Membership(JsonNode asked) {
            this.member = asked.get("member").asText();
            this.asked = asked;
            this.consumer = consumer(asked, Map.of());
            setDaemon(true);
        }

        @Override
        public void run() {
            try (consumer) {
                consumer.subscribe(List.of(Administration.topic(asked)), this);
                while (!leaving) {
                    for (var record : consumer.poll(Duration.ofMillis(50))) {
                        positions.put(
                            new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                        Agent.say(Agent.line(
                            "event", "read", "member", member, "partition", record.partition(),
                            "offset", record.offset(), "value", new String(record.value(), StandardCharsets.UTF_8)));
                    }
                    commit();
                }
            } catch (Throwable error) {
                error.printStackTrace();
                Agent.say(Agent.line("event", "failed", "member", member, "why", error.toString()));
            }
        }

        private void commit() {
            if (positions.isEmpty() || holding) {
                return;
            }
            consumer.commitSync(positions);
            Map<Integer, Long> offsets = new TreeMap<>();
            positions.forEach((place, offset) -> offsets.put(place.partition(), offset.offset()));
            Agent.say(Agent.line("event", "committed", "member", member, "offsets", offsets));
            positions.clear();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> places) {
            places.forEach(place -> owned.add(place.partition()));
            Agent.say(Agent.line("event", "owns", "member", member, "partitions", owned));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> places) {
            commit();
            places.forEach(place -> owned.remove(place.partition()));
            Agent.say(Agent.line("event", "owns", "member", member, "partitions", owned));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> places) {
            places.forEach(place -> owned.remove(place.partition()));
            positions.keySet().removeAll(places);
            var numbers = places.stream().map(TopicPartition::partition).toList();
            Agent.say(Agent.line("event", "lost", "member", member, "partitions", numbers));
            Agent.say(Agent.line("event", "owns", "member", member, "partitions", owned));
        }
    }
}
