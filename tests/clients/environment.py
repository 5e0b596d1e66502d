"""What `cargo xtask test` has built and installed, as it says in the environment, and how it is started."""

import os
import sys
from pathlib import Path

from agent import Agent
from kcat_agent import KcatAgent

# What configures these tests begins as what configures a broker does.
OURS = "MAINSTEM_"
ENVIRONMENT = dict(os.environ)


def setting(name: str) -> str:
    value = ENVIRONMENT.get(name)
    assert value, f"{name} is not set: run these tests through `cargo xtask test`"
    return value


def java() -> list[str]:
    """Java with Kafka's jars. The main class follows."""
    # A small heap and the first compiler only: these are short-lived, and two run at a time.
    options = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return ["java", *options, "-cp", setting("MAINSTEM_KAFKA_CP")]


def new_agent(client: str) -> Agent | KcatAgent:
    """A client that does what it is asked. They are named as in docs/compatibility.md."""
    match client:
        case "confluent-kafka" | "kafka-python":
            name = {"confluent-kafka": "confluent_agent.py", "kafka-python": "kafka_python_agent.py"}[client]
            return Agent([sys.executable, str(Path(__file__).parent / "python" / name)])
        case "java":
            return Agent([*java(), "Agent"])
        case "franz-go":
            return Agent([setting("MAINSTEM_GO_AGENT")])
        case "kcat":
            return KcatAgent()
