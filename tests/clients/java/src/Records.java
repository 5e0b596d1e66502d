import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Records in and out. */
final class Records {
    private Records() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("produce", Records::produce);
        operations.put("consume", Records::consume);
    }

    private static byte[] bytesOf(JsonNode said) throws IOException {
        return said.isNull() ? null : said.binaryValue();
    }

    private static Object produce(JsonNode asked) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", asked.get("broker").asText(),
            "compression.type", asked.get("codec").asText(),
            "linger.ms", 50);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        var bytes = new ByteArraySerializer();
        try (var producer = new KafkaProducer<>(settings, bytes, bytes)) {
            for (JsonNode record : asked.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : record.get("headers")) {
                    headers.add(new RecordHeader(header.get(0).asText(), bytesOf(header.get(1))));
                }
                Long timestamp = record.get("timestamp").isNull() ? null : record.get("timestamp").asLong();
                sent.add(producer.send(new ProducerRecord<>(
                    Administration.topic(asked),
                    record.get("partition").asInt(),
                    timestamp,
                    bytesOf(record.get("key")),
                    bytesOf(record.get("value")),
                    headers)));
            }
            producer.flush();
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> record : sent) {
            offsets.add(record.get(Agent.SECONDS, TimeUnit.SECONDS).offset());
        }
        return offsets;
    }

    static KafkaConsumer<byte[], byte[]> consumer(JsonNode asked, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", asked.get("broker").asText());
        settings.put("enable.auto.commit", false);
        var bytes = new ByteArrayDeserializer();
        return new KafkaConsumer<>(settings, bytes, bytes);
    }

    private static Object consume(JsonNode asked) {
        List<TopicPartition> places = new ArrayList<>();
        for (int partition = 0; partition < asked.get("partitions").asInt(); partition++) {
            places.add(new TopicPartition(Administration.topic(asked), partition));
        }
        try (var consumer = consumer(asked, Map.of("auto.offset.reset", "none"))) {
            consumer.assign(places);
            var first = consumer.beginningOffsets(places);
            var end = consumer.endOffsets(places);
            first.forEach(consumer::seek);
            long due = places.stream().mapToLong(place -> end.get(place) - first.get(place)).sum();
            return take(consumer, due);
        }
    }

    /** So many records; no more are asked for than that. */
    static List<Object> take(Consumer<byte[], byte[]> consumer, long due) {
        List<Object> records = new ArrayList<>();
        long deadline = System.nanoTime() + Duration.ofSeconds(Agent.SECONDS).toNanos();
        while (records.size() < due) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(records.size() + " of " + due + " records came");
            }
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                records.add(said(record));
            }
        }
        return records;
    }

    private static Object said(ConsumerRecord<byte[], byte[]> record) {
        List<Object> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            List<Object> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(header.value());
            headers.add(pair);
        }
        return Agent.line(
            "partition", record.partition(),
            "offset", record.offset(),
            "key", record.key(),
            "value", record.value(),
            "headers", headers,
            "timestamp", record.timestamp());
    }
}
