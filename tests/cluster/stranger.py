"""Says to nodes, by the format that docs/formats/peer.md draws, what no node would say."""

import socket
import struct
from dataclasses import dataclass

from wire import crc32c

MAGIC = b"MSpeer\r\n"
GREETING_BYTES = 116
HEADER_BYTES = 28
ASKING, CONTROL, APPEND, BULK = range(4)
REQUEST, RESPONSE, REJECTION = 1, 2, 3
LET_IN, NO_COMMON_VERSION, OTHER_CLUSTER, OTHER_NODE = range(4)
# The channel of what is for the node itself.
NODE = 0xFFFF_FFFF


def hello(
    lane: int, cluster: bytes = bytes(16), sender: int = 0, to: int = 0, versions: tuple[int, int] = (1, 1)
) -> bytes:
    said = MAGIC + struct.pack("<HHHBB", GREETING_BYTES, *versions, lane, 0)
    said += cluster + struct.pack("<QQ", sender, to) + bytes(64)
    return said + struct.pack("<I", crc32c(said))


def request(nth: int, channel: int, payload: bytes) -> bytes:
    said = struct.pack("<IB3xQII", len(payload), REQUEST, nth, channel, crc32c(payload))
    return said + struct.pack("<I", crc32c(said)) + payload


@dataclass
class Answer:
    verdict: int
    cluster: bytes
    node: int
    # The version to go on in; 0 where it is refused.
    chosen: int


class Stranger:
    """A connection to the address where a node listens for others. Fails a test that would wait for ever."""

    def __init__(self, address: str, timeout: float = 10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, content: bytes):
        """As much as the node still reads."""
        try:
            self.socket.sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def greet(self, *arguments, **more) -> Answer:
        self.say(hello(*arguments, **more))
        said = self._exactly(GREETING_BYTES)
        assert said[:8] == MAGIC
        return Answer(said[14], said[16:32], *struct.unpack_from("<QH", said, 32))

    def frame(self) -> tuple[int, bytes]:
        """Kind and payload of the next one."""
        length, kind = struct.unpack_from("<IB", self._exactly(HEADER_BYTES))
        return kind, self._exactly(length)

    def is_closed(self) -> bool:
        """Whether the node closes the connection without another word."""
        try:
            said = self.socket.recv(1)
        except ConnectionResetError:
            return True
        assert not said, f"the node said {said!r} instead of closing the connection"
        return True

    def _exactly(self, length: int) -> bytes:
        said = bytearray()
        while len(said) < length:
            part = self.socket.recv(length - len(said))
            assert part, f"the connection ends after {len(said)} of {length} bytes"
            said += part
        return bytes(said)
