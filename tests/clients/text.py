"""Text as people and their programs write it, the same for the same seed; and digests of it.

It compresses about as well as logs and prose do (to a third, roughly), which random bytes do not and
repeated lines do too well.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

WORDS = """
the of and to in a is that it for was on are as with they be at one have this from or had by not but what
some we can out other were all there when up use your how said an each she which do their time if will way
about many then them write would like so these her long make thing see him two has look more day could go
come did number sound no most people my over know water than call first who may down side been now find any
new work part take get place made live where after back little only round man year came show every good me
give our under name very through just form sentence great think say help low line differ turn cause much
mean before move right boy old too same tell does set three want air well also play small end put home read
hand port large spell add even land here must big high such follow act why ask men change went light kind
off need house picture try us again animal point mother world near build self earth father broker record
partition offset leader follower replica commit retry timeout window ledger invoice payment customer order
shipment warehouse refund currency balance account session request response latency Straße Übung naïve café
""".split()
LEVELS = ["INFO ", "INFO ", "INFO ", "INFO ", "WARN ", "DEBUG", "ERROR"]
PHRASES = 5000
LINES_AT_ONCE = 5000


def lines(seed: str, size: int) -> Iterator[bytes]:
    """Lines without their ends, `size` bytes in total or a little more. Each opens with its number."""
    chance = random.Random(seed)
    # Words as unevenly distributed as in a language: the nth is used 1/n as often as the first.
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    phrases = [
        " ".join(chance.choices(WORDS, weights, k=chance.randint(4, 12))).encode() for _ in range(PHRASES)
    ]
    number = written = 0
    while written < size:
        levels = chance.choices(LEVELS, k=LINES_AT_ONCE)
        first = chance.choices(phrases, k=LINES_AT_ONCE)
        second = chance.choices(phrases, k=LINES_AT_ONCE)
        ids = chance.choices(range(1 << 24), k=LINES_AT_ONCE)
        for level, head, tail, session in zip(levels, first, second, ids):
            line = b"%08d %s [%06x] %s, %s." % (number, level.encode(), session, head, tail)
            yield line
            number += 1
            written += len(line) + 1
            if written >= size:
                return


class Digest:
    """How many lines, and a hash that any change to them or to their order changes."""

    def __init__(self, lines: Iterable[bytes] = ()):
        self.count = 0
        self._hash = hashlib.sha256()
        for line in lines:
            self.add(line)

    def add(self, line: bytes):
        self.count += 1
        self._hash.update(line)
        self._hash.update(b"\n")

    def __eq__(self, other):
        return (self.count, self._hash.digest()) == (other.count, other._hash.digest())

    def __repr__(self):
        return f"{self.count} lines, sha256 {self._hash.hexdigest()[:16]}"


def write_file(path: Path, lines: Iterable[bytes], prefix: bytes = b"") -> Digest:
    """Writes the lines, each behind the prefix; returns the digest of the lines without it."""
    digest = Digest()
    with open(path, "wb", buffering=1 << 20) as file:
        for line in lines:
            digest.add(line)
            file.write(b"%s%s\n" % (prefix, line))
    return digest
