"""Sockets to listen on: their kinds, their owners, and what is in the way."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compatd.http import Identity, Server, listen


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="compatd-http-") as name:
        yield Path(name)


def test_unix_socket_is_for_its_group_only(folder: Path) -> None:
    path = folder / "new" / "s.sock"
    path.parent.mkdir()
    (sock,) = listen(f"unix://{path}", group=str(os.getgid()))
    with sock:
        found = path.lstat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getgid())


def test_unknown_groups(folder: Path) -> None:
    with pytest.raises(ValueError, match="group nosuchgroup not found"):
        listen(f"unix://{folder}/a.sock", group="nosuchgroup")
    listen(f"unix://{folder}/b.sock", group=None)[0].close()


def test_stale_socket_is_replaced_and_a_live_one_is_not(folder: Path) -> None:
    address = f"unix://{folder}/s.sock"
    listen(address, group=None)[0].close()
    with listen(address, group=None)[0]:
        for _ in range(2):
            with pytest.raises(OSError, match="address already in use"):
                listen(address, group=None)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/s.sock")


def test_other_files_are_not_removed(folder: Path) -> None:
    (folder / "s.sock").write_text("precious")
    with pytest.raises(FileExistsError):
        listen(f"unix://{folder}/s.sock", group=None)
    assert (folder / "s.sock").read_text() == "precious"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_tcp(host: str) -> None:
    sockets = listen(f"tcp://{host}:0", group=None)
    try:
        assert sockets
        for sock in sockets:
            family = socket.AF_INET6 if sock.family == socket.AF_INET6 and host else socket.AF_INET
            target = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            with socket.socket(family) as client:
                client.connect((target, sock.getsockname()[1]))
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("address", ["nonsense", "tcp://host", "npipe:////./pipe/x", "tcp://:port"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="invalid bind address"):
        listen(address, group=None)


def test_inherited_sockets() -> None:
    pytest.importorskip("systemd.daemon")
    program = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "from compatd.http.listeners import listen\n"
        "for address in ('fd://', 'fd://3', 'fd://api'):\n"
        "    print([sock.getsockname()[1] for sock in listen(address, group=None)])\n"
        "try: listen('fd://other', group=None)\n"
        "except ValueError as error: print(error)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", program, str(sock.fileno())],
            pass_fds=[sock.fileno()],
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.splitlines()[:3] == [f"[{port}]"] * 3
    assert "failed to find other" in done.stdout


def test_the_socket_goes_with_the_server(folder: Path) -> None:
    path = folder / "s.sock"

    async def run() -> None:
        server = Server(None, {}, identity=Identity("x"))
        await server.start(listen(f"unix://{path}", group=None))
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        await server.stop(5)
        assert (await reader.read()).endswith(b"OK")  # an idle connection is closed
        writer.close()

    asyncio.run(run())
    assert not path.exists()


def test_requests_under_way_may_end_before_the_server_does(folder: Path) -> None:
    path = folder / "s.sock"
    ended: list[str] = []

    async def run() -> None:
        release = asyncio.Event()

        async def version(engine: object, call: object) -> None:
            entered.set()
            await release.wait()
            ended.append("version")

        async def info(engine: object, call: object) -> None:
            also.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("info")

        entered, also = asyncio.Event(), asyncio.Event()
        server = Server(None, {"SystemVersion": version, "SystemInfo": info}, identity=Identity("x"))
        await server.start(listen(f"unix://{path}", group=None))
        answers = []
        for target in ("version", "info"):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(f"GET /{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answers.append((reader, writer))
        await entered.wait()
        await also.wait()
        stopping = asyncio.create_task(server.stop(0.5))
        await asyncio.sleep(0)
        release.set()
        assert (await answers[0][0].read()).startswith(b"HTTP/1.1 200 OK")
        assert await answers[1][0].read() == b""
        await stopping
        for _, writer in answers:
            writer.close()

    asyncio.run(run())
    assert ended == ["version", "info"]
