"""The gate: asked before every handler, told of every answer, and its views of answers and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from compatd.engine.errors import Forbidden
from compatd.http.answers import Json
from compatd.http.call import Call
from tests.unit.http.conftest import new_loops
from tests.unit.http.harness import Running


class Gatekeeper:
    """Refuses what has `secret` in its path, and hides odd numbers."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def arrived(self, transport: Any) -> str:
        return "somebody" if transport.get_extra_info("socket") else "nobody"

    def asked(self, caller: str, operation: str, head: Any) -> Any:
        self.seen.append((caller, operation))
        return operation

    def check(self, ticket: str, call: Call) -> None:
        assert ticket == call.operation.id
        if "secret" in call.path.values():
            raise Forbidden("not for you")
        if call.operation.id == "ContainerList":
            call.view = lambda values: [value for value in values if value["Id"] % 2 == 0]
        if call.operation.id == "SystemEvents":
            call.view = lambda value: value if value["n"] % 2 == 0 else None

    def answered(self, ticket: str, status: int) -> None:
        self.seen.append((ticket, status))


CALLED: list[str] = []


async def inspect(engine: Any, call: Call) -> Json:
    CALLED.append(call.path["id"])
    return Json({})


async def listing(engine: Any, call: Call) -> Json:
    return Json([{"Id": number} for number in range(4)], gated=True)


async def events(engine: Any, call: Call) -> None:
    stream = await call.stream("application/json")
    for number in range(4):
        await stream.json({"n": number})


HANDLERS: Any = {"ContainerInspect": inspect, "ContainerList": listing, "SystemEvents": events}


@pytest.fixture(scope="module", params=new_loops(), ids=lambda new: new.__module__.partition(".")[0])
def gated(request: pytest.FixtureRequest) -> Iterator[Running]:
    server = Running(HANDLERS, request.param())
    server.server.gate = Gatekeeper()
    yield server
    server.stop()


def _seen(server: Running) -> list[Any]:
    async def taken() -> list[Any]:
        await asyncio.sleep(0)
        gate: Any = server.server.gate
        found, gate.seen = gate.seen, []
        return found

    return list(server.do(taken()))


def test_what_is_refused_does_not_reach_its_handler(gated: Running) -> None:
    _seen(gated)
    first, _, body = gated.request("GET", "/containers/secret/json")
    assert first == "HTTP/1.1 403 Forbidden"
    assert body == b'{"message":"not for you"}\n'
    assert gated.request("GET", "/v1.24/containers/open/json")[0] == "HTTP/1.1 200 OK"
    assert CALLED.pop() == "open"
    assert not CALLED
    assert _seen(gated) == [
        ("somebody", "ContainerInspect"), ("ContainerInspect", 403),
        ("somebody", "ContainerInspect"), ("ContainerInspect", 200),
    ]  # fmt: skip


def test_operations_without_a_handler_are_asked_for_too(gated: Running) -> None:
    _seen(gated)
    assert gated.request("POST", "/containers/secret/stop")[0] == "HTTP/1.1 403 Forbidden"
    assert gated.request("POST", "/containers/open/stop")[0] == "HTTP/1.1 501 Not Implemented"
    assert gated.request("GET", "/_ping")[0] == "HTTP/1.1 200 OK"
    assert _seen(gated)[-2:] == [("somebody", "SystemPing"), ("SystemPing", 200)]


def test_views(gated: Running) -> None:
    body = gated.request("GET", "/containers/json")[2]
    assert b'"Id":2' in body
    assert b'"Id":3' not in body
    body = gated.request("GET", "/events")[2]
    assert b'{"n":2}' in body
    assert b'{"n":1}' not in body
