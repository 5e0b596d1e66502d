"""The command line as people and scripts use it: the real program against a running broker."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

from environment import setting

SECONDS = 60


class Commands:
    """Runs `mainstem ...` against a broker, which it finds by the environment."""

    def __init__(self, server: str):
        self.program = setting("MAINSTEM_BIN")
        self.environment = {**os.environ, "MAINSTEM_SERVER": server}

    def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess:
        """Runs a command to its end, whatever that is."""
        command = [self.program, *arguments]
        given = {"input": stdin, "env": self.environment | environment, "timeout": SECONDS}
        return subprocess.run(command, capture_output=True, **given)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> str:
        """What a command prints that does what it is asked."""
        return self.bytes(*arguments, stdin=stdin).decode()

    def bytes(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr.decode()}"
        return done.stdout

    def json(self, *arguments: str, stdin: bytes = b""):
        return json.loads(self(*arguments, "--json", stdin=stdin))

    def lines(self, *arguments: str) -> list[dict]:
        """Records as `--json` prints them."""
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]

    def refused(self, *arguments: str, code: int = 1, stdin: bytes = b"", **environment: str) -> str:
        """What a command says that cannot be done: one sentence, and nothing else."""
        done = self.run(*arguments, stdin=stdin, **environment)
        said = done.stderr.decode()
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{said}"
        assert said.startswith("error: "), said
        if code == 1:
            assert len(said.splitlines()) == 1, said
        return said.removeprefix("error: ").strip()

    def start(self, *arguments: str, **pipes) -> subprocess.Popen:
        """A command that runs until somebody ends it."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
        return subprocess.Popen([self.program, *arguments], env=self.environment, **pipes)

    def at_terminal(self, *arguments: str, columns: int = 100, rows: int = 30) -> "AtTerminal":
        return AtTerminal([self.program, *arguments], self.environment, columns, rows)


class AtTerminal:
    """A command at a terminal of its own."""

    def __init__(self, command: list[str], environment: dict, columns: int, rows: int):
        self.terminal, theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.terminal)
        given = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        self.process = subprocess.Popen(command, env=environment | {"TERM": "xterm"}, **given)
        # Ours stays open, so that the terminal's modes can be looked at when the command has ended.
        self.theirs = theirs
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        os.close(self.terminal)
        os.close(self.theirs)

    def resize(self, columns: int, rows: int):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str):
        os.write(self.terminal, text.encode())

    def look(self, seconds: float) -> bool:
        """Reads what the command shows within this time, if it shows anything."""
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            self.seen += os.read(self.terminal, 65536)
        return bool(ready)

    def wait_for(self, text: str) -> bytes:
        """Reads until the command has shown `text`; what it has shown since the last time."""
        deadline = time.monotonic() + SECONDS
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            self.look(left)
        seen, self.seen = self.seen, b""
        return seen

    def end(self) -> int:
        """Waits for the command to end, and reads what it shows until then."""
        deadline = time.monotonic() + SECONDS
        while True:
            if not self.look(0.05) and self.process.poll() is not None:
                return self.process.returncode
            assert time.monotonic() < deadline, f"it did not end: {self.seen!r}"

    def is_as_before(self) -> bool:
        """Whether the terminal's modes are what they were."""
        return termios.tcgetattr(self.terminal) == self.before
