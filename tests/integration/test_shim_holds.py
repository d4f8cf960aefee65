"""Host ports in a real shim: held, let go, carried by one relay that ends with the container. Needs root."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from compatd.engine.networks import ports
from runtime.client import RuntimeError_
from tests.integration.shimkit import Kit, with_kit

pytestmark = pytest.mark.root


def bound(*, listening: bool = False) -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    if listening:
        sock.listen(8)
    return sock


def is_free(port: int) -> bool:
    """For another container: connections that have ended (TIME_WAIT) are not in its way."""
    try:
        ports.hold("127.0.0.1", port, "tcp").close()
    except OSError:
        return False
    return True


async def ask(port: int, server: socket.socket) -> int:
    """A word through the relay and back; the PID of the relay."""
    server.setblocking(False)
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer, _ = await loop.sock_accept(server)
    await loop.sock_sendall(peer, b"hello")
    assert await reader.readexactly(5) == b"hello"
    (relay,) = relays(os.getpid())
    peer.close()
    writer.close()
    return relay


def relays(daemon: int) -> list[int]:
    """Relays of shims that this process's zygote has forked."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"compatd-relay"):
                zygote = parent(parent(int(entry.name)))
                if parent(zygote) == daemon:
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_ports_are_carried_moved_and_let_go() -> None:
    async def body(kit: Kit) -> None:
        first, second = bound(listening=True), bound(listening=True)
        held, more = bound(), bound()
        port, other = held.getsockname()[1], more.getsockname()[1]
        bundle = kit.bundle("one", "sleep", "1000", network={"mode": "new", "endpoints": [], "relays": True})
        (bundle / "relays").write_text(f'[["tcp","127.0.0.1",{port},"127.0.0.1",{first.getsockname()[1]}]]')
        started = await kit.runtime.start("one", [], [held])
        assert not is_free(port) and relays(os.getpid()) == []
        relay = await ask(port, first)
        assert await ask(port, first) == relay  # one process for all
        # The container is on another network now, and has one more port.
        ways = [
            ("tcp", "127.0.0.1", number, "127.0.0.1", second.getsockname()[1]) for number in (port, other)
        ]
        await kit.runtime.hold("one", [more], ways)
        assert more.fileno() < 0
        assert await ask(other, second) != relay
        await ask(port, second)
        await kit.runtime.hold("one", [], ways[:1], [("tcp", "127.0.0.1", other)])
        assert is_free(other) and not is_free(port)
        relay = await ask(port, second)
        os.kill(started.pid, signal.SIGKILL)
        await kit.event("one", "exit")
        await kit.gone(lambda: relays(os.getpid()))
        await kit.gone(lambda: not is_free(port))
        with pytest.raises(RuntimeError_, match="is not running"):
            await kit.runtime.hold("one", [], [])
        await kit.runtime.delete("one")
        assert not bundle.exists()
        first.close()
        second.close()

    with_kit(body)


def test_the_relay_ends_with_its_shim_and_outlives_the_daemon() -> None:
    async def body(kit: Kit) -> None:
        server, held = bound(listening=True), bound()
        port = held.getsockname()[1]
        bundle = kit.bundle("one", "sleep", "1000", network={"mode": "new", "endpoints": [], "relays": True})
        (bundle / "relays").write_text(f'[["tcp","127.0.0.1",{port},"127.0.0.1",{server.getsockname()[1]}]]')
        await kit.runtime.start("one", [], [held])
        relay = await ask(port, server)
        shim = kit.shim_of("one")
        await kit.restart()
        assert Path(f"/proc/{relay}").exists() and parent(relay) == shim
        os.kill(shim, signal.SIGKILL)
        await kit.gone(lambda: Path(f"/proc/{relay}").exists())
        await kit.gone(lambda: not is_free(port))
        server.close()

    with_kit(body)
