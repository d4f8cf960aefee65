"""Asks the resolver of a container as a program in it would, and a DNS server to be asked by the resolver."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conformance.dns import Server
from runtime import syscalls
from tests.integration.daemon import Daemon, wait_until

A, PTR = 1, 12


def query(name: str, kind: int = A, id: int = 7) -> bytes:
    """A query as clients send it."""
    labels = b"".join(bytes((len(label),)) + label for label in name.encode().split(b"."))
    return struct.pack("!HHHHHH", id, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def inside(netns: str, work: Callable[[], Any]) -> Any:
    """The result of `work` in a network namespace: in a thread, which alone goes there."""
    results: list[Any] = []

    def run() -> None:
        fd = os.open(netns, os.O_RDONLY)
        try:
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
            results.append(work())
        except OSError as error:
            results.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], OSError):
        raise results[0]
    return results[0]


def netns_of(daemon: Daemon, container: str) -> str:
    return f"/proc/{daemon.inspect(container)['State']['Pid']}/ns/net"


def ask(netns: str, name: str, kind: int = A, *, tcp: bool = False, seconds: float = 20) -> bytes | None:
    """The answer of 127.0.0.11, None without one in that time."""
    family = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with inside(netns, lambda: socket.socket(socket.AF_INET, family)) as sock:
        sock.settimeout(seconds)
        raw = query(name, kind)
        try:
            sock.connect(("127.0.0.11", 53))
            if not tcp:
                sock.send(raw)
                return bytes(sock.recv(4096))
            sock.sendall(len(raw).to_bytes(2, "big") + raw)
            with sock.makefile("rb") as file:
                return bytes(file.read(int.from_bytes(file.read(2), "big")))
        except OSError:
            return None


def addresses(netns: str, name: str, *, tcp: bool = False, seconds: float = 20) -> list[str] | None:
    """The addresses that a name has, [] for a failure, None without an answer."""
    answer = ask(netns, name, tcp=tcp, seconds=seconds)
    if answer is None:
        return None
    end = 12 + len(query(name)) - 12
    count = int.from_bytes(answer[6:8], "big")
    return sorted(socket.inet_ntoa(answer[end + 16 * i + 12 : end + 16 * i + 16]) for i in range(count))


def becomes(netns: str, name: str, expected: list[str] | None, what: str) -> None:
    """Waits until the addresses are these."""
    wait_until(lambda: addresses(netns, name, seconds=0.5) == expected, what)


def resolver(daemon: Daemon) -> int | None:
    """The resolver's process."""
    title = f"compatd-resolver {daemon.exec_root}/".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(title):
                    return int(entry.name)
    return None


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Zone:
    """Every name is `address`. `asked` is how: by UDP or TCP."""

    def __init__(self, address: str) -> None:
        self.address = socket.inet_aton(address)
        self.asked: list[str] = []

    def answer(self, raw: bytes, by: str) -> bytes:
        self.asked.append(by)
        end = raw.index(b"\0", 12) + 5
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 5, 4) + self.address
        return raw[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + raw[12:end] + record


@contextlib.contextmanager
def serving(netns: str, listen: str, address: str) -> Iterator[Zone]:
    """A DNS server in a network namespace while the test runs, port 53."""
    udp = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    tcp = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    udp.bind((listen, 53))
    tcp.bind((listen, 53))
    tcp.listen(8)
    zone = Zone(address)
    server = Server(udp, tcp, zone.answer)
    try:
        yield zone
    finally:
        server.close()


def network(daemon: Daemon, name: str, **fields: Any) -> str:
    daemon.call("POST", "/networks/create", {"Name": name, **fields})
    return name


def sleeper(daemon: Daemon, name: str, on: str, *aliases: str, **host: Any) -> tuple[str, str]:
    """A container on a network: where its namespace is, and its address there."""
    daemon.run(
        ["sleep", "100000"],
        name,
        HostConfig={"NetworkMode": on, **host},
        NetworkingConfig={"EndpointsConfig": {on: {"Aliases": list(aliases)}}},
    )
    address = daemon.inspect(name)["NetworkSettings"]["Networks"][on]["IPAddress"]
    return netns_of(daemon, name), str(address)


def pause() -> None:
    """For what must not happen."""
    time.sleep(0.3)
