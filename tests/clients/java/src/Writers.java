import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Producers that send numbers until they are told to finish, each in a thread of its own. */
final class Writers {
    private static final Map<String, Writer> WRITERS = new HashMap<>();
    /** Between two records to the same partition. */
    private static final long PAUSE_MILLIS = 10;
    /** Longer than any outage: a record that is given up is a failure. */
    private static final int PATIENCE_MILLIS = 120_000;
    /** Less than the agent is waited for. */
    private static final long FINISH_MILLIS = 50_000;

    private Writers() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("write", asked -> {
            var writer = new Writer(asked);
            WRITERS.put(writer.name, writer);
            writer.start();
            return null;
        });
        operations.put("written", asked -> WRITERS.get(asked.get("writer").asText()).progress());
        operations.put("finish_writing", asked -> WRITERS.remove(asked.get("writer").asText()).finish());
    }

    private static final class Writer extends Thread {
        final String name;
        private final String topic;
        private final Map<String, Object> settings;
        /** How many were sent to each partition, and how many of them were acknowledged. */
        private final long[] sent;
        private final long[] answered;
        /** Partition, number, offset and time of each record that was acknowledged. */
        private final List<long[]> acknowledged = new ArrayList<>();
        private final List<String> failures = new ArrayList<>();
        private volatile boolean finishing;

        Writer(JsonNode asked) {
            name = asked.get("writer").asText();
            topic = Administration.topic(asked);
            sent = new long[asked.get("partitions").asInt()];
            answered = new long[sent.length];
            settings = Map.of(
                "bootstrap.servers", asked.get("broker").asText(),
                "enable.idempotence", true,
                "acks", "all",
                "linger.ms", 2,
                "delivery.timeout.ms", PATIENCE_MILLIS,
                "request.timeout.ms", 8000,
                "reconnect.backoff.ms", 10,
                "reconnect.backoff.max.ms", 200);
            setDaemon(true);
        }

        @Override
        public void run() {
            var bytes = new ByteArraySerializer();
            try (var producer = new KafkaProducer<>(settings, bytes, bytes)) {
                while (!finishing) {
                    for (int partition = 0; partition < sent.length; partition++) {
                        send(producer, partition, sent[partition]);
                        synchronized (this) {
                            sent[partition]++;
                        }
                    }
                    Thread.sleep(PAUSE_MILLIS);
                }
                producer.flush();
            } catch (Throwable error) {
                error.printStackTrace();
                fail(error);
            }
        }

        private void send(KafkaProducer<byte[], byte[]> producer, int partition, long number) {
            byte[] key = (name + "-" + partition).getBytes(StandardCharsets.UTF_8);
            byte[] value = (name + ":" + partition + ":" + number).getBytes(StandardCharsets.UTF_8);
            producer.send(new ProducerRecord<>(topic, partition, key, value), (place, error) -> {
                if (error == null) {
                    acknowledge(partition, number, place.offset());
                } else {
                    fail(error);
                }
            });
        }

        private synchronized void acknowledge(int partition, long number, long offset) {
            acknowledged.add(new long[] {partition, number, offset, System.currentTimeMillis()});
            answered[partition]++;
        }

        private synchronized void fail(Throwable error) {
            failures.add(error.toString());
        }

        synchronized long[] progress() {
            return answered.clone();
        }

        Object finish() throws InterruptedException {
            finishing = true;
            join(FINISH_MILLIS);
            if (isAlive()) {
                throw new IllegalStateException(name + " does not finish");
            }
            synchronized (this) {
                return Agent.line("sent", sent, "acknowledged", acknowledged, "failures", failures);
            }
        }
    }
}
