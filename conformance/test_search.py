"""search: a registry that has an index, one that has none, and filters."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.registry import Registry

SEARCH = "ImageSearch"
FOUND = [
    {
        "name": "one/tool",
        "description": "cuts",
        "star_count": 7,
        "is_official": True,
        "is_automated": False,
    },
    {"name": "two/tool", "description": "", "star_count": 1, "is_official": False, "is_automated": False},
]


class _Index(BaseHTTPRequestHandler):
    """The search of a registry of version 1."""

    asked: list[dict[str, list[str]]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/v1/search":
            self.asked.append(parse_qs(parts.query))
        body = json.dumps({"results": FOUND} if parts.path == "/v1/search" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def index() -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """`host:port` of such a registry, and what it has been asked."""
    asked: list[dict[str, list[str]]] = []
    handler = type("Handler", (_Index,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = netns.listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.socket.getsockname()[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def search(engine: Engine, term: str, **query: Any) -> Any:
    answer = engine.wire.request("GET", "/images/search", term=term, **query)
    assert answer.status == 200, answer
    return answer.json()


@pytest.mark.operation(SEARCH)
def test_what_is_found(engine: Engine, index: tuple[str, list[dict[str, list[str]]]], cli: Cli) -> None:
    address, asked = index
    assert search(engine, f"{address}/a tool") == FOUND
    assert asked[-1] == {"q": ["a tool"], "n": ["25"]}
    assert search(engine, f"{address}/tool", limit=3) == FOUND
    assert asked[-1] == {"q": ["tool"], "n": ["3"]}
    out = cli.text("search", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", f"{address}/tool")
    assert [line.split()[:2] for line in out.splitlines()] == [["one/tool", "7"], ["two/tool", "1"]]


@pytest.mark.operation(SEARCH)
def test_filters(engine: Engine, index: tuple[str, list[dict[str, list[str]]]]) -> None:
    term = f"{index[0]}/tool"
    for filters, names in (
        ({"stars": ["3"]}, ["one/tool"]),
        ({"stars": ["1", "9"]}, []),
        ({"is-official": ["true"]}, ["one/tool"]),
        ({"is-official": ["false"]}, ["two/tool"]),
    ):
        found = search(engine, term, filters=json.dumps(filters))
        assert [item["name"] for item in found] == names, filters
    for wrong in ({"stars": ["x"]}, {"is-official": ["x"]}, {"nope": ["1"]}):
        answer = engine.wire.request("GET", "/images/search", term=term, filters=json.dumps(wrong))
        assert answer.status == 400 and "invalid filter" in answer.message.lower(), answer


@pytest.mark.operation(SEARCH)
def test_what_cannot_be_asked(engine: Engine, registry: Registry) -> None:
    """A registry of today has no search."""
    answer = engine.wire.request("GET", "/images/search", term=f"{registry.address}/x")
    assert (answer.status, answer.message.lower()) == (500, "unexpected status code 404")
    answer = engine.wire.request("GET", "/images/search", term=f"{registry.address}/x", limit=101)
    assert answer.status == 400
    assert answer.message.lower() == "limit 101 is outside the range of [1, 100]"
    answer = engine.wire.request("GET", "/images/search", term="http://x/y")
    assert answer.status in {400, 500} and "invalid repository name" in answer.message.lower()
    port = netns.free_port()
    answer = engine.wire.request("GET", "/images/search", term=f"127.0.0.1:{port}/x")
    assert answer.status >= 400 and "connection refused" in answer.message
