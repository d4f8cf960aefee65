"""The server of each test module here, once per event loop implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.http import streaming
from tests.unit.http.harness import Running


def new_loops() -> list[Any]:
    loops: list[Any] = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        return loops
    return [*loops, uvloop.new_event_loop]


@pytest.fixture(scope="module", params=new_loops(), ids=lambda new: new.__module__.partition(".")[0])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The server of a test module, with its HANDLERS or the streaming ones; once per event loop."""
    server = Running(getattr(request.module, "HANDLERS", streaming.HANDLERS), request.param())
    yield server
    server.stop()
