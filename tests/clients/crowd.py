"""Clients that are a burden: idle ones, slow ones, and an attack."""

import selectors
import socket
import threading
import time

import wire


class Crowd:
    """Connections that do something on the side, until the end of the block."""

    def __init__(self):
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.failure = None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the crowd does not end"
        if self.failure:
            raise self.failure

    def run(self):
        try:
            self.work()
        except Exception as failure:  # It belongs to the test, not to this thread.
            self.failure = failure

    def work(self):
        raise NotImplementedError


class Slow(Crowd):
    """Half of them send a byte a second of a request that never ends, half read a byte a second of much."""

    def __init__(self, address: str, count: int, ask: bytes):
        super().__init__()
        self.senders = [connected(address) for _ in range(count // 2)]
        self.readers = [connected(address) for _ in range(count - count // 2)]
        self.rest = wire.request(wire.METADATA, 4, 1, bytes(2000))
        for reader in self.readers:
            reader.sendall(ask)

    def work(self):
        nth = 0
        while not self.ended.wait(1):
            for sender in self.senders:
                sender.sendall(self.rest[nth : nth + 1])
            for reader in self.readers:
                assert len(reader.recv(1)) == 1
            nth += 1
        for connection in self.senders + self.readers:
            connection.close()


class Attack(Crowd):
    """Each sends one of these requests again and again, as fast as it is taken, and reads a little at times."""

    READ_BYTES = 4096

    def __init__(self, address: str, requests: list[bytes], count: int):
        super().__init__()
        self.address = address
        self.requests = requests
        self.count = count
        # Requests that were sent in full, of each kind.
        self.sent = [0] * len(requests)

    def work(self):
        selector = selectors.DefaultSelector()
        for nth in range(self.count):
            self.begin(selector, nth % len(self.requests))
        while not self.ended.is_set():
            for key, _ in selector.select(0.1):
                self.go_on(selector, key.fileobj, key.data)
        for key in list(selector.get_map().values()):
            key.fileobj.close()

    def begin(self, selector, kind: int):
        connection = connected(self.address)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_WRITE, {"kind": kind, "at": 0, "looked": time.monotonic()})

    def go_on(self, selector, connection: socket.socket, state: dict):
        request = self.requests[state["kind"]]
        try:
            if time.monotonic() - state["looked"] > 0.5:
                state["looked"] = time.monotonic()
                connection.recv(self.READ_BYTES)
            state["at"] += connection.send(memoryview(request)[state["at"] : state["at"] + (1 << 20)])
        except BlockingIOError:
            return
        except OSError:
            # Dropped: another takes its place.
            selector.unregister(connection)
            connection.close()
            self.begin(selector, state["kind"])
            return
        if state["at"] == len(request):
            self.sent[state["kind"]] += 1
            state["at"] = 0


def connected(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), 20)
