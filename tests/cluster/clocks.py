"""Wall clocks of nodes that can be set wrong, while those of everybody else are right."""

import subprocess
from pathlib import Path

from cluster import Node

SOURCE = Path(__file__).with_name("skew.c")
# What they are made with.
COMPILER = "cc"


class Clocks:
    def __init__(self, folder: Path):
        self.folder = folder
        self.library = folder / "skew.so"
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", self.library, SOURCE], check=True)
        self._files: dict[Node, Path] = {}

    def give(self, node: Node):
        """Before it is started. The clock is right."""
        self._files[node] = self.folder / f"skew-{len(self._files)}"
        self.set(node, 0)
        node.environment |= {"LD_PRELOAD": str(self.library), "SKEW_FILE": str(self._files[node])}

    def set(self, node: Node, millis: int):
        """Its clock is so far ahead from now on."""
        # At once: it is read all the time.
        new = self._files[node].with_suffix(".new")
        new.write_text(str(millis))
        new.rename(self._files[node])
