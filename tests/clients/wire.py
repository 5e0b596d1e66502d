"""Just enough of Kafka's protocol to say what no client would: raw frames, and batches made by hand.

Old, inflexible versions wherever they serve, because they are simple. The layouts are Kafka's message schemas.
"""

import gzip
import socket
import struct
import zlib
from dataclasses import dataclass

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 1, 2, 3, 18, 22
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36
ALTER_CONFIGS, INCREMENTAL_ALTER_CONFIGS = 33, 44

OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
INVALID_TOPIC = 17
INVALID_REQUIRED_ACKS = 21
INVALID_TIMESTAMP = 32
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
OUT_OF_ORDER_SEQUENCE = 45
INVALID_PRODUCER_EPOCH = 47
UNSUPPORTED_COMPRESSION = 76
TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
KAFKA_STORAGE_ERROR = 56
INVALID_RECORD = 87

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


class Connection:
    """A connection to the broker. Fails a test that would wait for ever."""

    def __init__(self, address: str, timeout: float = 10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, content: bytes):
        self.socket.sendall(content)

    def ask(self, api: int, version: int, body: bytes = b"") -> "Reader":
        """Sends a request and returns the body of its response."""
        self.correlation += 1
        self.send(request(api, version, self.correlation, body))
        return self.answer(self.correlation)

    def answer(self, correlation: int) -> "Reader":
        """The body of the next response, which must be this one."""
        answer = Reader(self.frame())
        got = answer.i32()
        assert got == correlation, f"the answer to request {got} came when that to {correlation} was due"
        return answer

    def frame(self) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def is_closed(self) -> bool:
        """Whether the broker closes the connection without another word."""
        try:
            said = self.socket.recv(1)
        except ConnectionResetError:
            return True
        assert not said, f"the broker said {said!r} instead of closing the connection"
        return True

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self.socket.recv(min(length - len(parts), 1 << 20))
            if not part:
                raise EOFError(f"closed after {len(parts)} of {length} bytes")
            parts += part
        return bytes(parts)


class Reader:
    """Takes values off a response."""

    def __init__(self, content: bytes):
        self.content = content
        self.at = 0

    def take(self, length: int) -> bytes:
        assert self.at + length <= len(self.content), "the response is too short"
        self.at += length
        return self.content[self.at - length : self.at]

    def _number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def i8(self) -> int:
        return self._number(">b")

    def i16(self) -> int:
        return self._number(">h")

    def i32(self) -> int:
        return self._number(">i")

    def i64(self) -> int:
        return self._number(">q")

    def text(self) -> str | None:
        length = self.i16()
        return None if length < 0 else self.take(length).decode()

    def bytes(self) -> bytes:
        return self.take(max(self.i32(), 0))

    def array(self, element) -> list:
        return [element(self) for _ in range(self.i32())]

    def end(self):
        assert self.at == len(self.content), f"{len(self.content) - self.at} bytes too many in the response"


def text(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def request(api: int, version: int, correlation: int, body: bytes = b"") -> bytes:
    """A frame with a request in it."""
    content = struct.pack(">hhi", api, version, correlation) + text("raw") + body
    return struct.pack(">i", len(content)) + content


@dataclass
class Appended:
    error: int
    base: int


def produce_body(topic: str, partition: int, records: bytes | None, acks: int = -1) -> bytes:
    """Of version 3 to 8."""
    sized = struct.pack(">i", -1) if records is None else struct.pack(">i", len(records)) + records
    head = text(None) + struct.pack(">hi", acks, 30_000)
    return head + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, partition) + sized


def produced(answer: Reader) -> Appended:
    """The outcome for the only partition, in a response of version 3 or 4."""
    def partition(answer):
        answer.i32()
        appended = Appended(answer.i16(), answer.i64())
        answer.i64()
        return appended

    ((outcome,),) = answer.array(lambda topic: (topic.text(), topic.array(partition))[1])
    answer.i32()
    answer.end()
    return outcome


def produce(connection: Connection, topic: str, partition: int, records: bytes | None, acks: int = -1) -> Appended:
    return produced(connection.ask(PRODUCE, 3, produce_body(topic, partition, records, acks)))


@dataclass
class Fetched:
    error: int
    end: int
    records: bytes


def fetch_body(
    topic: str, partition: int, offset: int, max_bytes: int = 1 << 20, max_wait: int = 0, min_bytes: int = 1
) -> bytes:
    """Of version 4."""
    head = struct.pack(">iiiib", -1, max_wait, min_bytes, max_bytes, 0)
    return head + struct.pack(">i", 1) + text(topic) + struct.pack(">iiqi", 1, partition, offset, max_bytes)


def fetched(answer: Reader) -> Fetched:
    ((_, outcome),) = fetched_each(answer)
    return outcome


def fetched_each(answer: Reader) -> list[tuple[int, Fetched]]:
    """The outcome for each partition of the only topic, in the order of the answer."""
    def partition(answer):
        number = answer.i32()
        error, end = answer.i16(), answer.i64()
        answer.i64()
        answer.array(lambda _: (answer.i64(), answer.i64()))
        return number, Fetched(error, end, answer.bytes())

    answer.i32()
    (outcomes,) = answer.array(lambda topic: (topic.text(), topic.array(partition))[1])
    answer.end()
    return outcomes


def fetch_each(
    connection: Connection, topic: str, partitions: list[int], max_bytes: int
) -> list[tuple[int, Fetched]]:
    """From the beginning of each partition, for which there is no limit but that of the whole answer."""
    places = b"".join(struct.pack(">iqi", partition, 0, 1 << 20) for partition in partitions)
    head = struct.pack(">iiiib", -1, 0, 1, max_bytes, 0)
    body = head + struct.pack(">i", 1) + text(topic) + struct.pack(">i", len(partitions)) + places
    return fetched_each(connection.ask(FETCH, 4, body))


def fetch(connection: Connection, topic: str, partition: int = 0, offset: int = 0, **more) -> Fetched:
    return fetched(connection.ask(FETCH, 4, fetch_body(topic, partition, offset, **more)))


def fetch_in_rack(connection: Connection, topic: str, partition: int, offset: int, rack: str) -> Fetched:
    """From the node that is asked, which need not lead, unless another one is in the rack. By version 11, the first
    that says in which rack a client is, and outside of any session."""
    head = struct.pack(">iiiibii", -1, 0, 1, 1 << 20, 0, 0, -1)
    place = struct.pack(">i", 1) + text(topic) + struct.pack(">iiiqqi", 1, partition, -1, offset, -1, 1 << 20)
    answer = connection.ask(FETCH, 11, head + place + struct.pack(">i", 0) + text(rack))

    def of_partition(answer):
        answer.i32()
        error, end = answer.i16(), answer.i64()
        answer.i64(), answer.i64()
        answer.array(lambda _: (answer.i64(), answer.i64()))
        assert answer.i32() == -1, "sent to another node"
        return Fetched(error, end, answer.bytes())

    assert (answer.i32(), answer.i16(), answer.i32()) == (0, 0, 0)
    ((outcome,),) = answer.array(lambda answer: (answer.text(), answer.array(of_partition))[1])
    answer.end()
    return outcome


def metadata(connection: Connection, topics: list[str] | None, create: bool) -> dict[str, tuple[int, int]]:
    """Error code and number of partitions of each topic."""
    def partition(answer):
        answer.i16(), answer.i32(), answer.i32()
        answer.array(Reader.i32), answer.array(Reader.i32)

    def topic(answer):
        error, name = answer.i16(), answer.text()
        answer.i8()
        return name, (error, len(answer.array(partition)))

    names = struct.pack(">i", -1) if topics is None else struct.pack(">i", len(topics)) + b"".join(map(text, topics))
    answer = connection.ask(METADATA, 4, names + struct.pack(">?", create))
    answer.i32()
    assert len(answer.array(described_broker)) == 1
    answer.text(), answer.i32()
    topics = answer.array(topic)
    answer.end()
    return dict(topics)


def brokers(connection: Connection) -> list[tuple[str, int]]:
    """The host and the port of every broker that clients are told of."""
    answer = connection.ask(METADATA, 4, struct.pack(">i?", 0, False))
    answer.i32()
    return [(host, port) for _, host, port, _ in answer.array(described_broker)]


def described_broker(answer: Reader) -> tuple[int, str, int, str | None]:
    """Node, host, port and rack."""
    return answer.i32(), answer.text(), answer.i32(), answer.text()


LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3


def list_offset(connection: Connection, topic: str, partition: int, time: int) -> tuple[int, int, int]:
    """Error code, timestamp and offset. By version 7, the first that knows MAX_TIMESTAMP, which has counts
    plus one and the length of a short text in a byte, and tagged fields, of which there are none."""
    name = topic.encode()
    assert len(name) < 127
    head = struct.pack(">bib", 0, -1, 0)
    place = struct.pack(">iiqb", partition, -1, time, 0)
    answer = connection.ask(LIST_OFFSETS, 7, head + bytes([2, len(name) + 1]) + name + bytes([2]) + place + bytes(2))
    answer.i8(), answer.i32()
    assert (answer.i8(), answer.i8()) == (2, len(name) + 1)
    assert (answer.take(len(name)), answer.i8(), answer.i32()) == (name, 2, partition)
    outcome = answer.i16(), answer.i64(), answer.i64()
    # The epoch, and the tagged fields of partition, topic and answer.
    answer.i32(), answer.take(3)
    answer.end()
    return outcome


def alter_config(
    connection: Connection, api: int, kind: int, name: str, key: str, value: str
) -> tuple[int, str | None]:
    """Error code and message for the only resource. By version 0 of either API."""
    how = b"\0" if api == INCREMENTAL_ALTER_CONFIGS else b""
    setting = struct.pack(">i", 1) + text(key) + how + text(value)
    answer = connection.ask(api, 0, struct.pack(">ib", 1, kind) + text(name) + setting + struct.pack(">?", False))
    answer.i32()
    (outcome,) = answer.array(lambda answer: (answer.i16(), answer.text(), answer.i8(), answer.text()))
    answer.end()
    assert outcome[2:] == (kind, name)
    return outcome[:2]


def api_versions(answer: Reader) -> tuple[int, dict[int, tuple[int, int]]]:
    """Error code, and first and last version by API, in a response of version 0."""
    error = answer.i16()
    versions = answer.array(lambda answer: (answer.i16(), (answer.i16(), answer.i16())))
    answer.end()
    return error, dict(versions)


def new_producer(connection: Connection) -> int:
    answer = connection.ask(INIT_PRODUCER_ID, 0, text(None) + struct.pack(">i", 60_000))
    answer.i32()
    assert answer.i16() == 0
    return answer.i64()


def varint(value: int) -> bytes:
    zigzag = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes(out + bytes([zigzag]))


def record(nth: int, value: bytes, later: int = 0, headers: bytes = b"\0") -> bytes:
    """A record without a key. `later` than the first by so many milliseconds."""
    content = b"\0" + varint(later) + varint(nth) + varint(-1) + varint(len(value)) + value + headers
    return varint(len(content)) + content


BATCH_HEAD = struct.Struct(">qiibIhiqqqhii")
COVERED = 21


def batch(
    values: list[bytes],
    times: list[int] | None = None,
    codec: int = NONE,
    producer: tuple[int, int, int] = (-1, -1, -1),
    attributes: int = 0,
    **overrides,
) -> bytes:
    """A record batch. `producer` is its id, epoch and first sequence; `overrides` are lies about it."""
    times = times or [1_700_000_000_000] * len(values)
    records = b"".join(record(nth, value, time - times[0]) for nth, (value, time) in enumerate(zip(values, times)))
    records = overrides.get("records", records)
    if codec == GZIP and "records" not in overrides:
        records = gzip.compress(records)
    length = overrides.get("length", BATCH_HEAD.size - 12 + len(records))
    last = overrides.get("last_offset_delta", len(values) - 1)
    count = overrides.get("count", len(values))
    magic = overrides.get("magic", 2)
    fields = [attributes | codec, last, times[0], max(times), *producer, count]
    covered = BATCH_HEAD.pack(0, 0, 0, 0, 0, *fields)[COVERED:] + records
    checksum = crc32c(covered) ^ overrides.get("checksum_flip", 0)
    return BATCH_HEAD.pack(0, length, -1, magic, checksum, *fields)[:COVERED] + covered


def whole_batches(records: bytes) -> list[bytes]:
    """Those in what Fetch returned. Of the last there may be only a part."""
    found, at = [], 0
    while at + BATCH_HEAD.size <= len(records):
        length = 12 + struct.unpack_from(">i", records, at + 8)[0]
        if at + length > len(records):
            break
        found.append(records[at : at + length])
        at += length
    return found


def next_offset(batch: bytes) -> int:
    """The offset behind a batch's last record."""
    return struct.unpack_from(">q", batch)[0] + struct.unpack_from(">i", batch, COVERED + 2)[0] + 1


def codecs(records: bytes, larger_than: int = 0) -> list[int]:
    """The codec of each whole batch in what Fetch returned."""
    batches = [batch for batch in whole_batches(records) if len(batch) > larger_than]
    return [struct.unpack_from(">h", batch, COVERED)[0] & 7 for batch in batches]


def old_message_set(value: bytes, magic: int) -> bytes:
    """What producers before Kafka 0.11 sent: magic 0 or 1."""
    time = struct.pack(">q", 1_700_000_000_000) if magic == 1 else b""
    covered = struct.pack(">bb", magic, 0) + time + struct.pack(">ii", -1, len(value)) + value
    message = struct.pack(">I", zlib.crc32(covered)) + covered
    return struct.pack(">qi", 0, len(message)) + message


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C_TABLE = _crc32c_table()


def crc32c(content: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in content:
        value = CRC32C_TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
