"""A host of its own for network tests: namespaces for the "host", for containers and for an outside machine.

The calling thread itself moves into the host's namespace, so the code under test works on it; sockets belong
to the namespace that they were made in, so one thread can play all parts.
"""

import contextlib
import ctypes
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from compatd.engine.networks import NetworkLease, Networks
from runtime.net import plan, rtnetlink

NEWNET = 0x40000000
TIMEOUT = 60.0  # seconds; only reached when a test fails
NO_ANSWER = 0.4  # seconds to wait for what must not come
_libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: int) -> None:
    """A libc call that must succeed."""
    if getattr(_libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), function)


def current() -> int:
    """An fd of the thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Tables:
    """Stands for the store."""

    def __init__(self) -> None:
        self.networks = Table()
        self.endpoints = Table()
        self.meta = Table()


class Table:
    """One table, in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        """One document."""
        return self.rows.get(key)

    def put(self, key: str, document: dict[str, Any]) -> None:
        """Writes one, as JSON: nobody sees it change."""
        self.rows[key] = json.loads(json.dumps(document))

    def delete(self, key: str) -> None:
        """Removes one."""
        self.rows.pop(key, None)

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All of them."""
        yield from list(self.rows.items())


class Events:
    """Keeps what was emitted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, dict[str, str]]] = []

    def emit(self, kind: str, action: str, actor: str, attributes: dict[str, str]) -> None:
        """Takes one event."""
        self.seen.append((kind, action, actor, attributes))


def config(**changes: Any) -> SimpleNamespace:
    """The daemon's configuration with its defaults."""
    values: dict[str, Any] = {
        "bridge": "", "bip": "", "default_address_pools": [], "dns": [],
        "host_gateway_ips": [], "dns_search": [], "dns_opts": [],
        "mtu": 1500, "icc": True, "ip_forward": True, "iptables": True, "ip_masq": True,
        "userland_proxy": True, "default_ip": "0.0.0.0", "exec_root": "/run/docker",
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


def container(name: str, folder: Path | None = None, **host_config: Any) -> SimpleNamespace:
    """A container as the networks see it; its ID is made from the name."""
    number = name.encode().hex().ljust(64, "0")[:64]
    given = {"Hostname": number[:12], "Domainname": "", "ExposedPorts": host_config.pop("exposed", None)}
    return SimpleNamespace(
        id=number, name=name, config=given, host_config=host_config, networking={}, network_settings={},
        dir=folder, pid=0,
    )  # fmt: skip


class Lab:
    """The namespaces. Use `host_lab`."""

    def __init__(self) -> None:
        self.home = current()
        self.fds = [self.home]
        call("unshare", NEWNET)
        self.host = self._keep()
        plan.write_sysctl("net.ipv4.ip_forward", "0")  # a new namespace has the machine's value
        self.outside = self.new_namespace()
        with rtnetlink.open_route() as sock:
            sock.run(
                [
                    rtnetlink.set_link("lo", up=True),
                    rtnetlink.add_veth("uplink", "eth0", netns_fd=self.outside),
                ]
            )
            index = socket.if_nametoindex("uplink")
            sock.run([rtnetlink.add_address(index, a) for a in ("198.51.100.1/24", "2001:db8:100::1/64")])
            sock.run([rtnetlink.set_link("uplink", up=True)])
        with self.inside(self.outside), rtnetlink.open_route() as sock:
            index = socket.if_nametoindex("eth0")
            sock.run(
                [
                    rtnetlink.set_link("lo", up=True),
                    rtnetlink.add_address(index, "198.51.100.2/24"),
                    rtnetlink.add_address(index, "2001:db8:100::2/64"),
                    rtnetlink.set_link("eth0", up=True),
                ]
            )

    def _keep(self) -> int:
        fd = current()
        self.fds.append(fd)
        return fd

    def new_namespace(self) -> int:
        """A new, empty namespace; the thread stays where it is."""
        here = current()
        try:
            call("unshare", NEWNET)
            return self._keep()
        finally:
            call("setns", here, NEWNET)
            os.close(here)

    @contextlib.contextmanager
    def inside(self, fd: int) -> Iterator[None]:
        """The thread is in another namespace meanwhile."""
        here = current()
        call("setns", fd, NEWNET)
        try:
            yield
        finally:
            call("setns", here, NEWNET)
            os.close(here)

    def start(self, networks: Networks, which: SimpleNamespace) -> tuple[NetworkLease, int]:
        """Plans a container and gives it its namespace: the lease and the namespace's fd."""
        lease = networks.plan(which)
        fd = self.new_namespace()
        plan.apply(lease.plan, fd)
        which.pid = os.getpid()
        return lease, fd

    def drop(self, fd: int) -> None:
        """Ends a namespace: nothing else holds it."""
        self.fds.remove(fd)
        os.close(fd)

    def close(self) -> None:
        """Goes home; the namespaces end with their fds."""
        call("setns", self.home, NEWNET)
        for fd in self.fds:
            os.close(fd)


@contextlib.contextmanager
def host_lab() -> Iterator[Lab]:
    """A lab, undone at the end."""
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()


def wait_until(true: Callable[[], bool]) -> None:
    """Waits for what comes by itself; fails after TIMEOUT."""
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def serve(port: int, kind: int = socket.SOCK_STREAM, address: str = "0.0.0.0") -> socket.socket:
    """A server's socket in the present namespace."""
    sock = socket.socket(family_of(address), kind)
    sock.settimeout(TIMEOUT)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(5)
    return sock


def talk(server: socket.socket, address: tuple[str, int], kind: int = socket.SOCK_STREAM) -> str:
    """Sends a word from the present namespace and gets an answer: the client's address as the server saw it.

    Raises OSError when there is no way.
    """
    with connected(address, kind) as client:
        if kind == socket.SOCK_DGRAM:
            return _exchange(server, client)
        peer, seen = server.accept()
        with peer:
            client.sendall(b"word")
            peer.settimeout(TIMEOUT)
            peer.sendall(b"answer " + peer.recv(100))
            assert client.recv(100) == b"answer word"
        return str(seen[0])


def _exchange(server: socket.socket, client: socket.socket) -> str:
    """A datagram and its answer, again until they arrive: a first one may be lost."""
    end = time.monotonic() + TIMEOUT
    for sock in (server, client):
        sock.settimeout(1.0)
    try:
        while True:
            try:
                client.send(b"word")
                data, seen = server.recvfrom(100)
                server.sendto(b"answer " + data, seen)
                assert client.recv(100) == b"answer word"
                return str(seen[0])
            except OSError as e:
                lost = isinstance(e, TimeoutError) or e.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
                if not lost or time.monotonic() > end:
                    raise
    finally:
        server.settimeout(TIMEOUT)


def connected(address: tuple[str, int], kind: int) -> socket.socket:
    """A client's socket. A new interface knows its neighbours in the kernel's own time, IPv6 above all."""
    end = time.monotonic() + TIMEOUT
    while True:
        client = socket.socket(family_of(address[0]), kind)
        client.settimeout(TIMEOUT)
        try:
            client.connect(address)
        except OSError as e:
            client.close()
            if e.errno not in (errno.EHOSTUNREACH, errno.ENETUNREACH) or time.monotonic() > end:
                raise
            time.sleep(0.05)
            continue
        return client


def unreachable(address: tuple[str, int], source: str = "") -> bool:
    """Whether a TCP connection from the present namespace gets no answer or a refusal."""
    with socket.socket(family_of(address[0]), socket.SOCK_STREAM) as client:
        client.settimeout(NO_ANSWER)
        try:
            if source:
                client.bind((source, 0))
            client.connect(address)
        except OSError:
            return True
    return False


def family_of(address: str) -> socket.AddressFamily:
    """Of a text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def route(gateway: str, destination: str, link: str = "eth0") -> None:
    """One more way in the present namespace."""
    with rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_route(socket.if_nametoindex(link), gateway, destination)])
