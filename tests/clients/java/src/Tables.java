import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/** A Kafka Streams application that keeps a table of a compacted topic, and counts its values. */
final class Tables {
    private Tables() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("table", Tables::table);
    }

    /**
     * Reads `topic` as a table, counts how many keys have each value into the topic `counts`, and returns both
     * tables once the first has `size` keys, with the value `done` for the key `last`, and all are counted.
     */
    private static Object table(JsonNode asked) throws Exception {
        var settings = new Properties();
        settings.put("application.id", asked.get("application").asText());
        settings.put("bootstrap.servers", asked.get("broker").asText());
        settings.put("default.key.serde", Serdes.StringSerde.class);
        settings.put("default.value.serde", Serdes.StringSerde.class);
        settings.put("state.dir", asked.get("folder").asText());
        settings.put("commit.interval.ms", 100);
        settings.put("num.stream.threads", 1);

        var builder = new StreamsBuilder();
        builder
            .table(Administration.topic(asked), Materialized.<String, String>as(Stores.inMemoryKeyValueStore("table")))
            .groupBy((key, value) -> KeyValue.pair(value, key), Grouped.as("by-value"))
            .count(Materialized.as(Stores.inMemoryKeyValueStore("counts")))
            .toStream()
            .mapValues(String::valueOf)
            .to(asked.get("counts").asText());

        var failure = new AtomicReference<Throwable>();
        var streams = new KafkaStreams(builder.build(), settings);
        try {
            streams.setUncaughtExceptionHandler(error -> {
                failure.set(error);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            var deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Agent.SECONDS);
            while (failure.get() == null) {
                if (streams.state() != KafkaStreams.State.RUNNING && System.nanoTime() < deadline) {
                    Thread.sleep(20);
                    continue;
                }
                Map<String, String> table = rows(streams, "table");
                Map<String, Long> counts = rows(streams, "counts");
                long counted = counts.values().stream().mapToLong(Long::longValue).sum();
                int size = asked.get("size").asInt();
                if (table.size() == size && counted == size && "done".equals(table.get("last"))) {
                    counts.values().removeIf(count -> count == 0);
                    return Agent.line("table", table, "counts", counts);
                }
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(table.size() + " keys, of which " + counted + " are counted");
                }
                Thread.sleep(20);
            }
            throw new IllegalStateException("Kafka Streams failed", failure.get());
        } finally {
            // By default the next start would wait until the group has given this one up.
            streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        }
    }

    private static <V> Map<String, V> rows(KafkaStreams streams, String store) {
        var type = QueryableStoreTypes.<String, V>keyValueStore();
        Map<String, V> found = new TreeMap<>();
        try (var rows = streams.store(StoreQueryParameters.fromNameAndType(store, type)).all()) {
            rows.forEachRemaining(row -> found.put(row.key, row.value));
        }
        return found;
    }
}
