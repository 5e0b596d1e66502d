import java.util.Map;

final class Wire {
    static void addTo(Map<String, Agent.Operation> operations) {}
}
