"""Who may see what on `metrics-addr`, over real sockets; the engine is a small stand-in."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.events import Events
from compatd.http.plain import Page, PlainServer
from compatd.status import service
from compatd.status.service import Status, StatusError


async def _nothing(**_: Any) -> list[Any]:
    return []


async def _no_samples(_: Any) -> list[Any]:
    return []


def engine() -> Any:
    containers = SimpleNamespace(
        counts=lambda: (1, 2, 3),
        list=_nothing,
        all=list,
        stats=SimpleNamespace(many=_no_samples),
    )
    about = {"ID": "x", "Driver": "overlay2", "OperatingSystem": 'De"bian', "OSVersion": "12"}
    return SimpleNamespace(
        config=SimpleNamespace(access=[]),
        containers=containers,
        events=Events(),
        system=SimpleNamespace(about=lambda: about),
        images=SimpleNamespace(list=lambda filters: []),
        networks=SimpleNamespace(list=list),
        volumes=SimpleNamespace(find_all=list),
    )


async def ask(port: int, request: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        return (await reader.read()).decode()
    finally:
        writer.close()


def get(path: str, host: str = "localhost:9323", *more: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *more, "", ""])


def served(test: Callable[[Status, int], Awaitable[None]], *, page: bool = True) -> None:
    async def run() -> None:
        status = Status(engine())
        await status.start("127.0.0.1:0")
        status.with_page = page
        port = status._server._servers[0].sockets[0].getsockname()[1]
        try:
            await asyncio.wait_for(test(status, port), 120)
        finally:
            await status.stop()

    asyncio.run(run())


def test_metrics() -> None:
    async def test(_: Status, port: int) -> None:
        answer = await ask(port, get("/metrics", "anything.example"))
        assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8")
        assert 'engine_daemon_container_states_containers{state="paused"} 2\n' in answer
        assert 'os="De\\"bian"' in answer
        assert 'engine_daemon_container_actions_seconds_bucket{action="create",le="+Inf"}' in answer

    served(test)


def test_the_page_lets_only_itself_run() -> None:
    async def test(_: Status, port: int) -> None:
        answer = await ask(port, get("/"))
        head, _, body = answer.partition("\r\n\r\n")
        policy = re.search(r"Content-Security-Policy: (.*)\r", head)
        assert policy is not None
        assert "default-src 'none'" in policy[1]
        assert "unsafe" not in policy[1]
        assert "innerHTML" not in body
        assert "document.write" not in body
        assert not re.search(r'(src|href)="(?!data:,|#)', body)  # nothing is loaded from anywhere
        assert not re.search(r"\son\w+=", body)

    served(test)


@pytest.mark.parametrize(
    ("host", "more", "status"),
    [
        ("localhost:9323", [], 200),
        ("127.0.0.1:9323", [], 200),
        ("[::1]:9323", [], 200),
        ("localhost", ["Sec-Fetch-Site: same-origin"], 200),
        ("localhost", ["Sec-Fetch-Site: cross-site"], 403),
        ("evil.example:9323", [], 403),
        ("localhost.evil.example", [], 403),
        ("192.0.2.1:9323", [], 403),
        ("", [], 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/status.json"])
def test_other_sites_do_not_get_in(path: str, host: str, more: list[str], status: int) -> None:
    async def test(_: Status, port: int) -> None:
        answer = await ask(port, get(path, host, *more))
        assert answer.startswith(f"HTTP/1.1 {status} ")

    served(test)


def test_beyond_loopback_there_are_metrics_only() -> None:
    async def test(_: Status, port: int) -> None:
        for path in ("/", "/status.json", "/events"):
            assert (await ask(port, get(path))).startswith("HTTP/1.1 404 Not Found\r\n")
        assert (await ask(port, get("/metrics"))).startswith("HTTP/1.1 200 ")

    served(test, page=False)


def test_with_access_rules_there_is_no_page() -> None:
    async def test(status: Status, port: int) -> None:
        assert (await ask(port, get("/"))).startswith("HTTP/1.1 200 ")
        status._engine.config.access = [{"user": "ann", "read-only": True}]  # a reload brings them
        for path in ("/", "/status.json", "/events"):
            assert (await ask(port, get(path))).startswith("HTTP/1.1 404 Not Found\r\n")
        assert (await ask(port, get("/metrics"))).startswith("HTTP/1.1 200 ")

    served(test)


def test_which_addresses_are_loopback() -> None:
    async def page_on(address: str) -> bool:
        status = Status(engine())
        await status.start(address)
        try:
            return status.with_page
        finally:
            await status.stop()

    assert asyncio.run(page_on("127.0.0.1:0"))
    assert not asyncio.run(page_on("0.0.0.0:0"))
    assert not asyncio.run(page_on(":0"))


@pytest.mark.parametrize(
    ("address", "text"),  # as dockerd 26.1 says it
    [
        ("nonsense", "error parsing tcp address: address nonsense: missing port in address"),
        ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
        ("192.0.2.9:9323", "listen tcp 192.0.2.9:9323: bind: cannot assign requested address"),
    ],
)
def test_addresses_that_cannot_be(address: str, text: str) -> None:
    with pytest.raises(StatusError) as error:
        asyncio.run(Status(engine()).start(address))
    assert str(error.value) == f"failed to start metrics server: {text}"


def test_events_come_as_they_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_BEAT", 0.01)

    async def test(status: Status, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/events").encode())
        await reader.readuntil(b": here\n\n")
        await reader.readuntil(b": still here\n\n")
        status._engine.events.emit("container", "start", "id1", {"name": "web", "secret": "label"})
        event = await reader.readuntil(b'"name": "web"')
        assert b'"action": "start"' in event
        assert b"secret" not in event + await reader.readuntil(b"}\n\n")
        assert status._engine.events.listeners == 1
        writer.close()
        while status._engine.events.listeners:
            await asyncio.sleep(0.01)

    served(test)


@pytest.mark.parametrize("request_text", ["POST / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n", "G" * 40000, ""])
def test_bad_requests_end(request_text: str) -> None:
    async def test(_: Status, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_text.encode())
        writer.write_eof()
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 405 ")
        assert (await ask(port, get("/metrics"))).startswith("HTTP/1.1 200 ")

    served(test)


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compatd.http.plain._MOST", 1)

    async def run() -> None:
        async def slow(path: str, headers: Any) -> Page:
            await asyncio.sleep(3600)
            raise AssertionError

        import socket

        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        server = PlainServer(slow)
        await server.start([sock])
        first = asyncio.ensure_future(ask(port, get("/")))
        while not server._tasks:
            await asyncio.sleep(0.01)
        assert (await ask(port, get("/"))).startswith("HTTP/1.1 503 ")
        await server.stop()
        assert await first == ""

    asyncio.run(asyncio.wait_for(run(), 120))
