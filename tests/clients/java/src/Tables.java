import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
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
     * Reads `topic` as a table, counts how many keys have each value into the topic `counts`, and returns the
     * table once it has `size` keys and the key `last` has the value `done`.
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
        var table = builder.table(
            Administration.topic(asked), Materialized.<String, String>as(Stores.inMemoryKeyValueStore("table")));
        table.groupBy((key, value) -> org.apache.kafka.streams.KeyValue.pair(value, key), Grouped.as("by-value"))
            .count(Materialized.as(Stores.inMemoryKeyValueStore("counts")))
            .toStream()
            .mapValues(String::valueOf)
            .to(asked.get("counts").asText());

        var failure = new AtomicReference<Throwable>();
        var running = new CountDownLatch(1);
        try (var streams = new KafkaStreams(builder.build(), settings)) {
            streams.setUncaughtExceptionHandler(error -> {
                failure.set(error);
                return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler
                    .StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.setStateListener((now, before) -> {
                if (now == KafkaStreams.State.RUNNING || now == KafkaStreams.State.ERROR) {
                    running.countDown();
                }
            });
            streams.start();
            running.await(Agent.SECONDS, TimeUnit.SECONDS);
            var type = QueryableStoreTypes.<String, String>keyValueStore();
            var deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Agent.SECONDS);
            while (failure.get() == null) {
                Map<String, String> found = new java.util.TreeMap<>();
                try (var rows = streams.store(StoreQueryParameters.fromNameAndType("table", type)).all()) {
                    rows.forEachRemaining(row -> found.put(row.key, row.value));
                }
                if (found.size() == asked.get("size").asInt() && "done".equals(found.get("last"))) {
                    return found;
                }
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the table has only " + found.size() + " keys");
                }
                Thread.sleep(20);
            }
            throw new IllegalStateException("Kafka Streams failed", failure.get());
        }
    }
}
