import com.fasterxml.jackson.databind.JsonNode;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Single requests and their answers, of any version, as JSON: Kafka's own message classes encode and decode,
 * and `Messages` goes between them and JSON.
 */
final class Wire {
    /** A connection with what was asked on it and not yet answered. */
    private static final class Connection implements AutoCloseable {
        final Socket socket;
        int correlation;
        ApiMessageType api;
        short version;

        Connection(String broker) throws IOException {
            int colon = broker.lastIndexOf(':');
            socket = new Socket(broker.substring(0, colon), Integer.parseInt(broker.substring(colon + 1)));
            socket.setTcpNoDelay(true);
        }

        void send(ApiMessageType asked, short version, JsonNode request) throws ReflectiveOperationException, IOException {
            this.api = asked;
            this.version = version;
            var header = new RequestHeaderData()
                .setRequestApiKey(asked.apiKey()).setRequestApiVersion(version)
                .setCorrelationId(++correlation).setClientId("differential");
            Message body = asked.newRequest();
            Messages.fill(body, request);
            ByteBuffer head = bytes(header, asked.requestHeaderVersion(version));
            ByteBuffer rest = bytes(body, version);
            ByteBuffer frame = ByteBuffer.allocate(4 + head.remaining() + rest.remaining());
            frame.putInt(head.remaining() + rest.remaining()).put(head).put(rest);
            socket.getOutputStream().write(frame.array());
        }

        /** The answer; or null if the broker closed the connection. */
        Object receive(int milliseconds) throws ReflectiveOperationException, IOException {
            socket.setSoTimeout(milliseconds);
            var in = new DataInputStream(socket.getInputStream());
            byte[] frame;
            try {
                frame = new byte[in.readInt()];
                in.readFully(frame);
            } catch (EOFException | SocketException closed) {
                return null;
            }
            var readable = new ByteBufferAccessor(ByteBuffer.wrap(frame));
            var header = new ResponseHeaderData();
            header.read(readable, api.responseHeaderVersion(version));
            if (header.correlationId() != correlation) {
                throw new IOException("answer " + header.correlationId() + " came when " + correlation + " was due");
            }
            Message body = api.newResponse();
            // A version that is not known is answered in the first one.
            short first = ByteBuffer.wrap(frame, 4, frame.length - 4).getShort();
            boolean unknown = api == ApiMessageType.API_VERSIONS && first == 35;
            body.read(readable, unknown ? 0 : version);
            if (readable.remaining() > 0) {
                throw new IOException(readable.remaining() + " bytes too many in the answer");
            }
            return Messages.plain(body);
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    private static final Map<String, Connection> CONNECTIONS = new HashMap<>();

    private Wire() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("send", Wire::send);
        operations.put("receive", Wire::receive);
        operations.put("requests", asked -> requests());
    }

    private static String name(JsonNode asked) {
        return asked.get("broker").asText() + " " + asked.get("connection").asText();
    }

    private static Object send(JsonNode asked) throws Exception {
        Connection connection = CONNECTIONS.get(name(asked));
        if (connection == null) {
            connection = new Connection(asked.get("broker").asText());
            CONNECTIONS.put(name(asked), connection);
        }
        var api = ApiMessageType.fromApiKey((short) asked.get("api").asInt());
        connection.send(api, (short) asked.get("version").asInt(), asked.get("request"));
        return null;
    }

    private static Object receive(JsonNode asked) throws Exception {
        Connection connection = CONNECTIONS.get(name(asked));
        try {
            Object answer = connection.receive(asked.get("milliseconds").asInt());
            if (answer != null) {
                return answer;
            }
            CONNECTIONS.remove(name(asked)).close();
            return Agent.line("closed", true);
        } catch (SocketTimeoutException error) {
            CONNECTIONS.remove(name(asked)).close();
            return Agent.line("unanswered", true);
        }
    }

    private static ByteBuffer bytes(Message message, short version) {
        var cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        return buffer.flip();
    }

    /** Number of every API by its name. */
    private static Object requests() {
        Map<String, Integer> numbers = new HashMap<>();
        Arrays.stream(ApiMessageType.values()).forEach(api -> numbers.put(api.name, (int) api.apiKey()));
        return numbers;
    }
}
