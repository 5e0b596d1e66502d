import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

/**
 * Between Kafka's message classes and JSON, by reflection. Kafka's own converters want every field of the
 * version in a request; here what is left out has its default.
 */
final class Messages {
    /** Fields that are not the protocol's. */
    private static final Set<String> INTERNAL = Set.of("_unknownTaggedFields", "next", "prev");

    private Messages() {}

    private static List<Field> fields(Object message) {
        List<Field> fields = new ArrayList<>();
        for (Field field : message.getClass().getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !INTERNAL.contains(field.getName())) {
                field.setAccessible(true);
                fields.add(field);
            }
        }
        return fields;
    }

    /** Puts the values that are given into the message. */
    static void fill(Object message, JsonNode values) throws ReflectiveOperationException {
        Map<String, Field> fields = new LinkedHashMap<>();
        fields(message).forEach(field -> fields.put(field.getName(), field));
        for (var entry : values.properties()) {
            Field field = fields.get(entry.getKey());
            if (field == null) {
                throw new NoSuchFieldException(entry.getKey() + " in " + message.getClass().getSimpleName());
            }
            field.set(message, value(field.getGenericType(), entry.getValue()));
        }
    }

    private static Object value(Type type, JsonNode said) throws ReflectiveOperationException {
        if (said.isNull()) {
            return null;
        }
        if (type instanceof ParameterizedType list) {
            Collection<Object> elements = new ArrayList<>();
            for (JsonNode element : said) {
                elements.add(value(list.getActualTypeArguments()[0], element));
            }
            return elements;
        }
        Class<?> kind = (Class<?>) type;
        if (kind == boolean.class) {
            return said.asBoolean();
        } else if (kind == byte.class || kind == Byte.class) {
            return (byte) said.asInt();
        } else if (kind == short.class || kind == Short.class) {
            return (short) said.asInt();
        } else if (kind == int.class || kind == Integer.class) {
            return said.asInt();
        } else if (kind == long.class || kind == Long.class) {
            return said.asLong();
        } else if (kind == double.class) {
            return said.asDouble();
        } else if (kind == String.class) {
            return said.asText();
        } else if (kind == Uuid.class) {
            return Uuid.fromString(said.asText());
        } else if (kind == byte[].class) {
            return binary(said);
        } else if (kind == ByteBuffer.class) {
            return ByteBuffer.wrap(binary(said));
        } else if (kind == BaseRecords.class) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(binary(said)));
        }
        var constructor = kind.getDeclaredConstructor();
        if (Collection.class.isAssignableFrom(kind)) {
            Type element = ((ParameterizedType) kind.getGenericSuperclass()).getActualTypeArguments()[0];
            @SuppressWarnings("unchecked")
            var elements = (Collection<Object>) constructor.newInstance();
            for (JsonNode one : said) {
                elements.add(value(element, one));
            }
            return elements;
        }
        Object struct = constructor.newInstance();
        fill(struct, said);
        return struct;
    }

    private static byte[] binary(JsonNode said) {
        try {
            return said.binaryValue();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The message in terms that JSON has. Bytes are in Base64, records are taken apart. */
    static Object plain(Object value) throws ReflectiveOperationException {
        if (value instanceof Message) {
            Map<String, Object> said = new LinkedHashMap<>();
            for (Field field : fields(value)) {
                said.put(field.getName(), plain(field.get(value)));
            }
            return said;
        } else if (value instanceof Iterable<?> elements && !(value instanceof BaseRecords)) {
            List<Object> said = new ArrayList<>();
            for (Object element : elements) {
                said.add(plain(element));
            }
            return said;
        } else if (value instanceof MemoryRecords records) {
            List<Object> said = new ArrayList<>();
            records.batches().forEach(batch -> said.add(batch(batch)));
            return said;
        } else if (value instanceof ByteBuffer buffer) {
            byte[] content = new byte[buffer.remaining()];
            buffer.duplicate().get(content);
            return content;
        } else if (value instanceof Uuid uuid) {
            return uuid.toString();
        }
        return value;
    }

    private static Object batch(RecordBatch batch) {
        List<Object> records = new ArrayList<>();
        for (Record record : batch) {
            records.add(Agent.line(
                "offset", record.offset(),
                "timestamp", record.timestamp(),
                "key", content(record.key()),
                "value", content(record.value())));
        }
        return Agent.line(
            "baseOffset", batch.baseOffset(),
            "lastOffset", batch.lastOffset(),
            "partitionLeaderEpoch", batch.partitionLeaderEpoch(),
            "magic", batch.magic(),
            "compression", batch.compressionType().name,
            "timestampType", batch.timestampType().name,
            "maxTimestamp", batch.maxTimestamp(),
            "producerId", batch.producerId(),
            "producerEpoch", batch.producerEpoch(),
            "baseSequence", batch.baseSequence(),
            "isTransactional", batch.isTransactional(),
            "isControlBatch", batch.isControlBatch(),
            "records", records);
    }

    private static byte[] content(ByteBuffer buffer) {
        if (buffer == null) {
            return null;
        }
        byte[] content = new byte[buffer.remaining()];
        buffer.duplicate().get(content);
        return content;
    }
}
