"""Hosts of their own for the nodes of a test: network namespaces that nothing else is in, and a router between
them. The test itself, with its clients, is a host, too."""

import ctypes
import os
import subprocess
import sys
from contextlib import contextmanager

from router import Router, Weather, open_device

CLONE_NEWNET = 0x4000_0000
PREFIX = "10.77.0"
# The host that the test and its clients are.
CLIENTS = 250
MTU = 16_000


def available() -> str | None:
    """What is missing for it; None when nothing is."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    try:
        ip("-V")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"there is no iproute2: {error}"
    # Root of a container may not be allowed to.
    try:
        with own_namespace():
            Network(0).try_out()
    except subprocess.CalledProcessError as error:
        return f"no network namespaces can be made here: {error.stderr.strip()}"
    except OSError as error:
        return f"no network namespaces can be made here: {error}"
    return None


def ip(*arguments: str):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def address(host: int) -> str:
    return f"{PREFIX}.{host}"


@contextmanager
def own_namespace():
    """This thread, and what it starts, is alone in a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(outcome: int):
        if outcome != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    must(libc.unshare(CLONE_NEWNET))
    try:
        ip("link", "set", "lo", "up")
        yield
    finally:
        must(libc.setns(before, CLONE_NEWNET))
        os.close(before)


class Network:
    """See above. To be used in a namespace of one's own."""

    def __init__(self, seed: int):
        self.router = Router(seed)
        self._names: dict[int, str] = {}
        device = "clients"
        self.router.plug(CLIENTS, open_device(device))
        self._configure([], device, CLIENTS)

    def add(self, host: int) -> list[str]:
        """Makes a host, and returns what begins the command line of what is to run there."""
        name, device = f"mainstem-{os.getpid()}-{host}", f"host{host}"
        ip("netns", "add", name)
        self._names[host] = name
        file = open_device(device)
        ip("link", "set", device, "netns", name)
        ip("-n", name, "link", "set", "lo", "up")
        self._configure(["-n", name], device, host)
        self.router.plug(host, file)
        return ["ip", "netns", "exec", name]

    def _configure(self, where: list[str], device: str, host: int):
        ip(*where, "address", "add", f"{address(host)}/24", "dev", device)
        ip(*where, "link", "set", device, "mtu", str(MTU), "up")

    def isolate(self, host: int, others: list[int]):
        """Nothing comes from it or to it."""
        for other in others:
            self.cut(host, other)
            self.cut(other, host)

    def cut(self, source: int, target: int):
        """What one sends does not reach the other."""
        self.router.set_weather(source, target, Weather(cut=True))

    def set_weather(self, hosts: list[int], weather: Weather):
        """Between all of these, in both directions."""
        for source in hosts:
            for target in hosts:
                if source != target:
                    self.router.set_weather(source, target, weather)

    def heal(self):
        self.router.clear()

    def try_out(self):
        """Makes a host, and closes."""
        try:
            self.add(1)
        finally:
            self.close()

    def close(self):
        self.router.close()
        for name in self._names.values():
            ip("netns", "del", name)


if __name__ == "__main__":
    # Says on standard error what is missing.
    sys.exit(available())
