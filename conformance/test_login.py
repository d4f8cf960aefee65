"""login: credentials at a registry that asks for them, and at one that is not there."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine

AUTH = "SystemAuth"
GOOD = "Basic " + base64.b64encode(b"somebody:secret").decode()


class _Guarded(BaseHTTPRequestHandler):
    """The least of a registry: `/v2/` for those who may."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == GOOD
        self.send_response(200 if allowed else 401)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if not allowed:
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
        body = (
            b"{}" if allowed else b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        )
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """`host:port` of such a registry, on the loopback of the engine's network."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Guarded, bind_and_activate=False)
    server.socket.close()
    server.socket = netns.listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        server.server_close()


def auth(engine: Engine, address: str, password: str) -> tuple[int, str]:
    body = {"username": "somebody", "password": password, "serveraddress": address}
    answer = engine.wire.request("POST", "/auth", body)
    return answer.status, answer.json().get("Status") or answer.message


@pytest.mark.operation(AUTH)
def test_credentials(engine: Engine, guarded: str) -> None:
    assert auth(engine, guarded, "secret") == (200, "Login Succeeded")
    assert auth(engine, f"http://{guarded}", "secret") == (200, "Login Succeeded")
    status, text = auth(engine, guarded, "wrong")
    assert status in {401, 500}
    assert text == f"login attempt to http://{guarded}/v2/ failed with status: 401 Unauthorized"


@pytest.mark.operation(AUTH)
def test_nobody_there(engine: Engine) -> None:
    port = netns.free_port()
    status, text = auth(engine, f"127.0.0.1:{port}", "x")
    assert status == 500
    assert text == (
        f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


@pytest.mark.operation(AUTH)
def test_docker_login(engine: Engine, cli: Cli, guarded: str) -> None:
    done = cli("login", "-u", "somebody", "--password-stdin", guarded, stdin=b"secret\n")
    assert "Login Succeeded" in done.out
    cli("logout", guarded)
    done = cli("login", "-u", "somebody", "--password-stdin", guarded, stdin=b"wrong\n", check=False)
    assert done.code == 1 and "401 Unauthorized" in done.err
