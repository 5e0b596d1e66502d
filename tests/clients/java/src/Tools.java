import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's command-line tools, one at a time, as their scripts would: with arguments,
 * standard input and output, and an exit code. In this process, because starting one for each takes longer.
 */
final class Tools {
    /** Thrown where a tool would have ended the process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;
    }

    private Tools() {}

    static void addTo(Map<String, Agent.Operation> operations) {
        operations.put("tool", Tools::run);
    }

    private static Object run(JsonNode asked) throws Exception {
        List<String> arguments = new ArrayList<>();
        asked.get("arguments").forEach(argument -> arguments.add(argument.asText()));
        byte[] given = asked.get("input").asText().getBytes(StandardCharsets.UTF_8);
        var main = Class.forName(asked.get("main").asText()).getMethod("main", String[].class);

        InputStream in = System.in;
        PrintStream out = System.out;
        PrintStream err = System.err;
        var said = new ByteArrayOutputStream();
        var complained = new ByteArrayOutputStream();
        List<Runnable> atTheEnd = new ArrayList<>();
        // Some tools catch what is thrown here and end once more, with another code: the first counts.
        List<Integer> codes = new ArrayList<>();
        Exit.Procedure end = (code, message) -> {
            codes.add(code);
            throw new Ended();
        };
        try {
            System.setIn(new ByteArrayInputStream(given));
            System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
            Exit.setExitProcedure(end);
            Exit.setHaltProcedure(end);
            Exit.setShutdownHookAdder((name, hook) -> atTheEnd.add(hook));
            main.invoke(null, (Object) arguments.toArray(new String[0]));
        } catch (InvocationTargetException error) {
            if (!(error.getCause() instanceof Ended)) {
                codes.add(1);
                error.getCause().printStackTrace(System.err);
            }
        } finally {
            atTheEnd.forEach(Runnable::run);
            System.out.flush();
            System.err.flush();
            Exit.resetExitProcedure();
            Exit.resetHaltProcedure();
            Exit.resetShutdownHookAdder();
            System.setIn(in);
            System.setOut(out);
            System.setErr(err);
        }
        return Agent.line(
            "code", codes.isEmpty() ? 0 : codes.get(0),
            "output", said.toString(StandardCharsets.UTF_8),
            "complaints", complained.toString(StandardCharsets.UTF_8));
    }
}
