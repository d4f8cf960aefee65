"""Hostile registries: credentials stay where they belong, and what comes is what was asked for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """A registry that answers from a table: path → (status, headers, body). It keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {"/v2/": (200, {}, b"{}")}
        self.seen: list[tuple[str, dict[str, str]]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.seen.append((self.path, dict(self.headers)))
                status, headers, body = registry.answers.get(self.path.partition("?")[0], (404, {}, b"{}"))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.name = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def manifest(self, value: Any, name: str = "1") -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        self.answers[f"/v2/x/manifests/{name}"] = (200, {"Content-Type": kind}, data)


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    try:
        yield registry
    finally:
        registry.server.shutdown()
        registry.server.server_close()


@pytest.fixture(scope="module")
def puller() -> Iterator[Any]:
    """Ask as the daemon does, but in this process: its network namespace has no way to our registry."""
    import asyncio

    from compatd.engine.images.registry.client import Repository
    from compatd.engine.images.registry.endpoints import Endpoint

    def pull(registry: Registry, work: Any, **credentials: str) -> Any:
        async def run() -> Any:
            endpoint = Endpoint(f"http://{registry.name}", insecure=True)
            async with Repository(endpoint, "x", credentials) as repository:
                await repository.ping()
                return await work(repository)

        return asyncio.run(run())

    yield pull


def test_a_redirect_to_another_host_takes_no_credentials_along(registry: Registry, puller: Any) -> None:
    other = Registry()
    try:
        config = b"{}"
        challenge = {"WWW-Authenticate": 'Basic realm="x"'}
        registry.answers["/v2/"] = (401, challenge, b"{}")
        where = {"Location": f"http://{other.name}/stolen"}
        registry.answers[f"/v2/x/blobs/{digest(config)}"] = (307, where, b"")
        other.answers["/stolen"] = (200, {}, config)
        work = lambda repository: repository.config(digest(config))  # noqa: E731
        assert puller(registry, work, username="me", password="secret")  # noqa: S106 == config
    finally:
        other.server.shutdown()
        other.server.server_close()
    assert any("Authorization" in headers for _, headers in registry.seen)
    assert [headers for _, headers in other.seen if "Authorization" in headers] == []


def test_no_password_of_netrc_is_sent(
    registry: Registry, puller: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login root password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    registry.manifest({})
    puller(registry, lambda repository: repository.manifest("1"))
    assert [headers for _, headers in registry.seen if "Authorization" in headers] == []


def test_what_a_registry_sends_must_have_the_digest_asked_for(registry: Registry, puller: Any) -> None:
    wanted = digest(b"wanted")
    registry.manifest(b'{"other": 1}', name=wanted)
    registry.answers[f"/v2/x/blobs/{wanted}"] = (200, {}, b"other")
    for work in (lambda r: r.manifest(wanted), lambda r: r.config(wanted)):
        with pytest.raises(Exception, match="verification failed for digest"):
            puller(registry, work)


def test_a_manifest_without_end_is_cut_off(registry: Registry, puller: Any) -> None:
    registry.manifest(b" " * (5 << 20))
    with pytest.raises(Exception, match="manifest is too large"):
        puller(registry, lambda repository: repository.manifest("1"))


def test_cve_2021_41190_a_manifest_that_is_also_an_index() -> None:
    from compatd.engine.images.pulling import _parse
    from compatd.engine.images.reference import parse

    both = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "layers": [],
        "config": {},
        "manifests": [],
    }
    for document in (both, {**both, "mediaType": "application/vnd.oci.image.index.v1+json"}):
        with pytest.raises(Exception, match="unsupported manifest format"):
            _parse(json.dumps(document).encode(), "", parse("x"))


def test_a_header_cannot_be_smuggled_in_a_token(registry: Registry, puller: Any) -> None:
    registry.answers["/v2/"] = (401, {"WWW-Authenticate": 'Bearer realm="http://x.test/token"'}, b"{}")
    with pytest.raises(Exception, match=r"(?i)header|character|newline"):
        puller(registry, lambda repository: repository.manifest("1"), registrytoken="a\r\nEvil: 1")
    assert [path for path, _ in registry.seen] == ["/v2/"]
