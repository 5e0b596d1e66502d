"""A broker as its users run it: a process, a data folder, and ports that it chose itself."""

import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

READY_SECONDS = 30
STOP_SECONDS = 30
# What the system says when a port is taken, in the words of its error number.
PORT_TAKEN = "Address already in use"
PORT_TAKEN_TRIES = 20
# The address of a listener that there is none of.
OFF = "off"
# For a broker that does not live long enough to be asked for them.
FREE_PORTS = ["--listen", "kafka=127.0.0.1:0", "--listen", "http=127.0.0.1:0", "--listen", "peer=off"]


class Broker:
    """Starts on ports the system chooses; a restart keeps them, as clients expect."""

    def __init__(self, program: str, folder: Path, shards: int | None = None):
        self.program = program
        self.shards = shards
        self.data = folder / "data"
        self.stderr = folder / "broker.stderr"
        # Alone, unless a test says otherwise.
        self.addresses = {"kafka": "127.0.0.1:0", "http": "127.0.0.1:0", "peer": OFF}
        self.process = None
        self._lines = None
        # Begins the command line, for a test that starts the broker in circumstances of its own.
        self.wrapper = []
        # Ends the command line; and what the environment has besides ours.
        self.options = []
        self.environment = {}
        # Every line on standard output since the first start.
        self.said = []

    @property
    def kafka(self) -> str:
        """The address for `bootstrap.servers`."""
        return self.addresses["kafka"]

    @property
    def http(self) -> str:
        return self.addresses["http"]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def peer(self) -> str:
        """Where other nodes find it."""
        return self.addresses["peer"]

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Starts the broker and waits for its ready line.

        While a broker is down, a client that tries to reconnect may be given the broker's port as its
        own for a moment. So a restart that finds its port taken tries again; any other failure counts.
        """
        assert not self.running(), "the broker runs already"
        for attempt in range(PORT_TAKEN_TRIES):
            seen = self.stderr.stat().st_size if self.stderr.exists() else 0
            self.launch()
            line = self._ready_line()
            if line is not None:
                listening = parse_ready(line)
                off = {name for name, address in self.addresses.items() if address == OFF}
                assert not off & listening.keys(), f"a listener is not off: {line!r}"
                self.addresses |= listening
                return
            with open(self.stderr, "rb") as stderr:
                stderr.seek(seen)
                said = stderr.read().decode(errors="replace")
            if PORT_TAKEN not in said:
                raise AssertionError(f"the broker ended with {self.process.returncode} before it was ready:\n{said}")
            time.sleep(0.25)
        raise AssertionError(f"the broker's ports stayed taken: {self.addresses}")

    def launch(self):
        """Starts the process and waits for nothing."""
        command = [*self.wrapper, self.program, "serve", "--data-dir", str(self.data)]
        if self.shards is not None:
            command += ["--shards", str(self.shards)]
        for name, address in self.addresses.items():
            command += ["--listen", f"{name}={address}"]
        command += self.options
        environment = {**os.environ, **self.environment}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
        with open(self.stderr, "ab") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, env=environment, **pipes)
        self._lines = queue.Queue()
        # Reads on after the ready line, so that a broker that says more never fills the pipe.
        threading.Thread(target=drain, args=(self.process.stdout, self._lines, self.said), daemon=True).start()

    def _ready_line(self):
        """Waits for the ready line; None if the process ended without one."""
        try:
            line = self._lines.get(timeout=READY_SECONDS)
        except queue.Empty:
            self.kill9()
            raise AssertionError(f"no ready line within {READY_SECONDS} seconds") from None
        if line is None:
            self.process.wait(STOP_SECONDS)
        return line

    def stop(self):
        """Asks the broker to leave, as a service manager does, and checks that it does so cleanly."""
        self._signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"the broker did not stop within {STOP_SECONDS} seconds of SIGTERM") from None
        assert code == 0, f"the broker ended with {code} after SIGTERM"

    def kill9(self):
        """Ends the process without a word to it. The page cache survives this, so it proves nothing about fsync."""
        self._signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def _signal(self, number):
        code = self.process.poll()
        assert code is None, f"the broker had already ended by itself, with {code}"
        self.process.send_signal(number)

    def restart(self):
        """Starts again on the same data and ports, after a clean stop unless it was killed."""
        if self.process.returncode is None:
            self.stop()
        self.start()


def drain(stream, lines: queue.Queue, said: list):
    """Passes lines on as they come, then None."""
    for line in stream:
        said.append(line)
        lines.put(line)
    lines.put(None)


def parse_ready(line: str) -> dict:
    """`ready kafka=127.0.0.1:9092 http=127.0.0.1:8080` as names and addresses."""
    word, *listeners = line.split()
    assert word == "ready", f"expected the ready line, got {line!r}"
    return dict(listener.split("=", 1) for listener in listeners)
