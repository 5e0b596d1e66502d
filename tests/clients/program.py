"""Runs one client program to its end, with what it reads and what it writes."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

TAIL_BYTES = 4000


def run(command, stdin: bytes | Path | None = None, stdout: Path | None = None, timeout: float = 240) -> bytes:
    """Returns the program's standard output, or writes it to the file `stdout`.

    Much data goes through files, so that a test does not hold it in memory. A program that fails,
    fails the test with the end of what it said.
    """
    with ExitStack() as files:
        given = {"stdin": subprocess.DEVNULL}
        if isinstance(stdin, Path):
            given = {"stdin": files.enter_context(open(stdin, "rb"))}
        elif stdin is not None:
            given = {"input": stdin}
        sink = subprocess.PIPE if stdout is None else files.enter_context(open(stdout, "wb"))
        done = subprocess.run(command, stdout=sink, stderr=subprocess.PIPE, timeout=timeout, **given)
    said = done.stderr[-TAIL_BYTES:].decode(errors="replace")
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said}"
    return done.stdout or b""
