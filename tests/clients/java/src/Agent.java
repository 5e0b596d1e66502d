import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.protocol.Errors;

/**
 * What a scenario asks, done by Kafka's own Java clients, and by its tools and its message classes. See
 * agent.py for the form of the conversation, and python/confluent_agent.py for what each operation
 * returns. One process does all of it, because starting one takes longer than most scenarios.
 */
public final class Agent {
    static final ObjectMapper JSON = new ObjectMapper();
    static final int SECONDS = 30;

    /** An operation: what it was asked in, what it answers out. */
    interface Operation {
        Object carryOut(JsonNode asked) throws Exception;
    }

    /** Kept from the start. What else is printed, by a tool's left-over thread for example, is no answer. */
    private static final PrintStream OUT = System.out;

    private Agent() {}

    /** Says one line. */
    static void say(Map<String, ?> line) {
        try {
            String text = JSON.writeValueAsString(line);
            synchronized (OUT) {
                OUT.println(text);
                OUT.flush();
            }
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    static Map<String, Object> line(Object... pairs) {
        Map<String, Object> line = new LinkedHashMap<>();
        for (int at = 0; at < pairs.length; at += 2) {
            line.put((String) pairs[at], pairs[at + 1]);
        }
        return line;
    }

    public static void main(String[] arguments) throws Exception {
        System.setOut(System.err);
        Map<String, Operation> operations = new HashMap<>();
        Administration.addTo(operations);
        Records.addTo(operations);
        Writers.addTo(operations);
        Members.addTo(operations);
        Tools.addTo(operations);
        Tables.addTo(operations);
        Wire.addTo(operations);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String said = lines.readLine(); said != null; said = lines.readLine()) {
            JsonNode asked = JSON.readTree(said);
            try {
                say(line("ok", operations.get(asked.get("op").asText()).carryOut(asked)));
            } catch (Throwable error) {
                Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                cause.printStackTrace();
                say(line("error", cause.toString(), "code", Errors.forException(cause).code()));
            }
        }
        // Threads that somebody forgot to end do not keep it running.
        Runtime.getRuntime().halt(0);
    }
}
