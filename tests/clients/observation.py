"""What a broker shows of itself from outside: its process, its log, its metrics."""

import os
import time
import urllib.request
from pathlib import Path


def resident_bytes(broker) -> int:
    status = Path(f"/proc/{broker.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def open_files(broker) -> int:
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def said(broker) -> str:
    return broker.stderr.read_text()


def samples(broker, name: str) -> dict[str, float]:
    """A metric by its labels, as they are written."""
    with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line.split("{")[0].split(" ")[0] == name]
    assert found, f"no metric is called {name}"
    return {sample.removeprefix(name): float(value) for sample, value in found}


def metric(broker, name: str, **labels: str) -> float:
    """The sum of a metric over its labels, or over those samples that have these."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [value for sample, value in samples(broker, name).items() if all(label in sample for label in wanted)]
    assert found, f"nothing of {name} has {labels}"
    return sum(found)


def wait_until(what: str, condition, seconds: float = 10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to be within {seconds} seconds"
        time.sleep(0.02)
