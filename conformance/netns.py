"""Sockets and processes in the engine's network namespace.

An engine under test may live in a network namespace of its own (`CONFORMANCE_NETNS`, a name of `ip netns`),
so that its bridges and firewall rules stay apart from the machine's. Published ports are then reached from
inside.
"""

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h


def name() -> str:
    """The namespace's name, or '' for the one that we are in."""
    return os.environ.get("CONFORMANCE_NETNS", "")


def prefix() -> list[str]:
    """What goes before a command that has to run in the engine's network namespace."""
    return ["nsenter", f"--net=/run/netns/{name()}", "--"] if name() else []


def inside(function: Callable[[], T], pid: int = 0) -> T:
    """Run `function` in a thread that has joined the engine's network namespace, or that of process `pid`.

    Sockets made there stay in it.
    """
    if not name() and not pid:
        return function()
    path = Path(f"/proc/{pid}/ns/net") if pid else Path("/run/netns") / name()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns to {path}")
            finally:
                os.close(fd)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def connect(address: str, port: int, timeout: float = 10) -> socket.socket:
    """A TCP connection made from where the engine's published ports are."""
    return inside(lambda: socket.create_connection((address, port), timeout))


def fetch(address: str, port: int, path: str = "/") -> bytes:
    """The body of a plain GET. Raises OSError when nobody answers, AssertionError on an empty answer."""
    with connect(address, port) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1."), answer
    return body


def udp_ask(address: str, port: int, question: bytes, timeout: float = 1) -> bytes:
    """Send one datagram, return the first answer. Raises OSError when none comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(timeout)
        sock.connect((address, port))
        sock.send(question)
        return sock.recv(65536)


def listener(
    address: str = "127.0.0.1", kind: int = socket.SOCK_STREAM, port: int = 0, pid: int = 0
) -> socket.socket:
    """A socket there (or where process `pid` is); port 0 takes a free one, `getsockname()` tells which."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(16)
        return sock

    return inside(make, pid)


@contextlib.contextmanager
def udp_echo(port: int, pid: int) -> Iterator[None]:
    """Answer datagrams with "got " and what they held, in the network of process `pid`."""
    with listener("0.0.0.0", socket.SOCK_DGRAM, port, pid) as sock:
        sock.settimeout(0.2)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    data, peer = sock.recvfrom(65536)
                    sock.sendto(b"got " + data, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago, below the ephemeral range: nobody is given it by chance."""
    import random

    def find() -> int:
        for _ in range(200):
            port = random.randrange(20000, 32000)  # noqa: S311
            with socket.socket(socket.AF_INET, kind) as sock:
                try:
                    sock.bind(("0.0.0.0", port))
                except OSError:
                    continue
                return port
        raise OSError("no free port found")

    return inside(find)
