"""Carries packets between hosts, loses some, and takes its time: what lies between the nodes of a test.

Each host has a TUN device, whose other end is here. Everything a host sends to another comes through, as IP
packets, so TCP sees what it would see of a bad network: loss, delay, one direction dead.
"""

import fcntl
import heapq
import os
import random
import selectors
import struct
import threading
import time
from dataclasses import dataclass

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
PACKET_BYTES_MAX = 65_535
# Beyond it packets are dropped, as a router's buffer does.
QUEUE_MAX = 20_000


@dataclass(frozen=True)
class Weather:
    """How a way is, in one direction."""

    # Of packets, from 0 to 1.
    loss: float = 0.0
    delay_seconds: float = 0.0
    # No packet comes through.
    cut: bool = False


FINE = Weather()


def open_device(name: str) -> int:
    """Makes a TUN device in this thread's network namespace. It goes when the returned file is closed."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


class Router:
    """Between hosts, which are numbers: the last byte of their addresses."""

    def __init__(self, seed: int):
        self._chance = random.Random(seed)
        self._files: dict[int, int] = {}
        self._weather: dict[tuple[int, int], Weather] = {}
        self._selector = selectors.DefaultSelector()
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._numbers = 0
        self._stop = False
        self.carried = 0
        self.lost = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plug(self, host: int, file: int):
        self._files[host] = file
        self._selector.register(file, selectors.EVENT_READ, host)
        self._wake()

    def set_weather(self, source: int, target: int, weather: Weather):
        """From now on, in this direction."""
        self._weather[source, target] = weather

    def clear(self):
        """Fine weather everywhere. What is delayed arrives when it is due."""
        self._weather.clear()

    def close(self):
        self._stop = True
        self._wake()
        self._thread.join(10)
        for file in self._files.values():
            os.close(file)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self):
        os.write(self._wake_write, b".")

    def _run(self):
        while not self._stop:
            pause = None
            if self._waiting:
                pause = max(0.0, self._waiting[0][0] - time.monotonic())
            for key, _ in self._selector.select(pause):
                if key.data is None:
                    self._drain_wake()
                else:
                    self._receive(key.data, key.fd)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, target, packet = heapq.heappop(self._waiting)
                self._deliver(target, packet)

    def _drain_wake(self):
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def _receive(self, source: int, file: int):
        # A few at a time, so that no host starves the others.
        for _ in range(64):
            try:
                packet = os.read(file, PACKET_BYTES_MAX)
            except (BlockingIOError, OSError):
                return
            # Version 4 only; the destination is behind the source.
            if len(packet) < 20 or packet[0] >> 4 != 4:
                continue
            self._send(source, packet[19], packet)

    def _send(self, source: int, target: int, packet: bytes):
        weather = self._weather.get((source, target), FINE)
        lost = weather.cut or (weather.loss > 0 and self._chance.random() < weather.loss)
        if lost or len(self._waiting) >= QUEUE_MAX:
            self.lost += 1
        elif weather.delay_seconds > 0:
            self._numbers += 1
            due = time.monotonic() + weather.delay_seconds
            heapq.heappush(self._waiting, (due, self._numbers, target, packet))
        else:
            self._deliver(target, packet)

    def _deliver(self, target: int, packet: bytes):
        file = self._files.get(target)
        if file is None:
            return
        try:
            os.write(file, packet)
            self.carried += 1
        except OSError:
            # The host is gone, or its buffer is full.
            self.lost += 1
