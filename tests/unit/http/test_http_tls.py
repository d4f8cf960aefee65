"""TLS on the API's TCP sockets: who is let in, half-closed connections, slow and wrong handshakes."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.http import tlstransport
from compatd.http.call import Call
from compatd.http.tls import TLSError, make_context
from compatd.http.tlstransport import Handshakes, Layer
from tests.unit.http import certs
from tests.unit.http.conftest import new_loops
from tests.unit.http.harness import Running, receive_all, receive_until


async def echo_after_eof(engine: Any, call: Call) -> None:
    """Reads all, and only then answers: what `cat` at the end of a pipe does."""
    client = await call.hijack()
    received = b""
    while data := await client.read():
        received += data
    await client.write(b"got " + received)
    await client.write_eof()


async def digest_of_body(engine: Any, call: Call) -> None:
    total = hashlib.sha256()
    async for data in call.chunks():
        total.update(data)
    stream = await call.stream("text/plain")
    await stream.write(total.hexdigest().encode())


async def flood(engine: Any, call: Call) -> None:
    stream = await call.stream("application/octet-stream")
    for _ in range(256):
        await stream.write(bytes(65536))


async def talk_first(engine: Any, call: Call) -> None:
    """Ends its own side first and goes on reading."""
    client = await call.hijack()
    await client.write(b"bye")
    await client.write_eof()
    received = b""
    while data := await client.read():
        received += data
    LATE.append(received)


LATE: list[bytes] = []
HANDLERS = {
    "ContainerAttach": echo_after_eof,
    "ImageLoad": digest_of_body,
    "ContainerExport": flood,
    "ExecStart": talk_first,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module", params=new_loops(), ids=lambda new: new.__module__.partition(".")[0])
def secured(request: pytest.FixtureRequest, folder: Path) -> Iterator[Running]:
    """A server whose second address wants a client's certificate."""
    server = Running(HANDLERS, request.param(), tls=server_context(folder))
    yield server
    server.stop()


def server_context(folder: Path) -> ssl.SSLContext:
    names = (str(folder / name) for name in ("server-cert.pem", "server-key.pem", "ca.pem"))
    return make_context(*names, verify=True)


def client(folder: Path, name: str = "client", version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name:
        context.load_cert_chain(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Talk:
    """A TLS client by hand over a socket: it can close one side as Go's does, unlike Python's own."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._until_done(self.tls.do_handshake)

    def _until_done(self, action: Any, *arguments: Any) -> Any:
        while True:
            try:
                result = action(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    self.incoming.write_eof()
                self.incoming.write(data)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self._flush()

    def close_writing(self) -> None:
        """close_notify, and nothing else."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self._flush()

    def receive(self, end: bytes = b"") -> bytes:
        """Up to `end`, or until the server closes its side."""
        data = b""
        while not end or not data.endswith(end):
            try:
                piece = self._until_done(self.tls.read, 65536)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return data
            if not piece:
                return data
            data += piece
        return data


def head(method: str, target: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: docker", *lines, "", ""]).encode()


UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_answer_after_the_client_s_close_notify(
    secured: Running, folder: Path, version: ssl.TLSVersion
) -> None:
    talk = Talk(secured.port, client(folder, version=version))
    talk.send(head("POST", "/containers/x/attach?stream=1", *UPGRADE))
    assert b"101 UPGRADED" in talk.receive(b"\r\n\r\n")
    talk.send(b"some ")
    talk.send(b"input")
    talk.close_writing()
    assert talk.receive() == b"got some input"
    talk.sock.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_input_after_the_server_s_close_notify(
    secured: Running, folder: Path, version: ssl.TLSVersion
) -> None:
    LATE.clear()
    talk = Talk(secured.port, client(folder, version=version))
    talk.send(
        head("POST", "/exec/x/start", *UPGRADE, "Content-Type: application/json", "Content-Length: 2") + b"{}"
    )
    assert talk.receive().endswith(b"bye")
    talk.send(b"late words" * 20_000)
    talk.close_writing()
    talk.sock.shutdown(socket.SHUT_WR)
    assert receive_all(talk.sock) == b""
    end = time.monotonic() + 30
    while not LATE and time.monotonic() < end:
        time.sleep(0.01)
    assert LATE == [b"late words" * 20_000]
    talk.sock.close()


def test_big_bodies_both_ways(secured: Running, folder: Path) -> None:
    body = bytes(range(256)) * 40_000
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as raw:
        sock = client(folder).wrap_socket(raw, server_hostname="localhost")
        sock.sendall(head("POST", "/images/load", f"Content-Length: {len(body)}", "Connection: close") + body)
        assert hashlib.sha256(body).hexdigest().encode() in receive_all(sock)
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as raw:
        sock = client(folder).wrap_socket(raw, server_hostname="localhost")
        sock.sendall(head("GET", "/containers/x/export", "Connection: close"))
        time.sleep(0.2)  # the server must wait for us, and we for it
        assert len(receive_all(sock)) > 256 * 65536


def test_requests_one_after_another(secured: Running, folder: Path) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as raw:
        sock = client(folder).wrap_socket(raw, server_hostname="localhost")
        assert sock.selected_alpn_protocol() is None
        for _ in range(3):
            sock.sendall(head("GET", "/_ping"))
            assert receive_until(sock, b"\r\n\r\nOK").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("name", ["", "stranger"])
def test_a_client_without_our_certificate_is_refused(secured: Running, folder: Path, name: str) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as raw:
        with pytest.raises(ssl.SSLError) as error:
            sock = client(folder, name).wrap_socket(raw, server_hostname="localhost")
            sock.sendall(head("GET", "/_ping"))
            sock.recv(1)
        assert error.value.reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA")


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_old_versions_are_refused(secured: Running, folder: Path) -> None:
    context = client(folder, version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", secured.port), timeout=60) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_plain_http_gets_go_s_answer(secured: Running) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as sock:
        sock.sendall(head("GET", "/_ping"))
        answer = receive_all(sock)
    assert b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n" in answer


def test_unix_sockets_stay_plain(secured: Running) -> None:
    assert secured.request("GET", "/_ping")[0] == "HTTP/1.1 200 OK"


def test_an_idle_handshake_is_given_up(
    secured: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tlstransport, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as sock:
        sock.sendall(b"\x16\x03\x01")
        try:
            assert receive_all(sock) == b""
        except ConnectionResetError:
            pass


def test_many_idle_handshakes_keep_nobody_out(
    secured: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tlstransport, "HANDSHAKES", 4)
    idle = [socket.create_connection(("127.0.0.1", secured.port), timeout=60) for _ in range(20)]
    try:
        talk = Talk(secured.port, client(folder))
        talk.send(head("GET", "/_ping", "Connection: close"))
        assert talk.receive().endswith(b"OK")
        talk.sock.close()
        try:
            assert idle[0].recv(1) == b""
        except ConnectionResetError:
            pass
    finally:
        for sock in idle:
            sock.close()


def test_nothing_is_left_of_a_broken_handshake(folder: Path) -> None:
    async def run() -> None:
        handshakes = Handshakes()
        layer = Layer(server_context(folder), asyncio.Protocol(), handshakes)
        layer.connection_made(asyncio.Transport())
        assert len(handshakes) == 1
        layer.connection_lost(None)
        assert len(handshakes) == 0

    asyncio.run(run())


def test_certificates_that_cannot_be_used(tmp_path: Path, folder: Path) -> None:
    server, key = str(folder / "server-cert.pem"), str(folder / "server-key.pem")
    junk = tmp_path / "junk"
    junk.write_text("junk")
    cases = [
        (("", "", ""), 'could not load X509 key pair (cert: "", key: ""): open : no such file or directory'),
        (
            ("/no", key, ""),
            f'could not load X509 key pair (cert: "/no", key: "{key}"): open /no: no such file or directory',
        ),
        ((str(junk), key, ""), "error reading X509 key pair - make sure the key is not encrypted (cert: "),
        ((server, key, "/no"), 'could not read CA certificate "/no": open /no: no such file or directory'),
        ((server, key, str(junk)), f'failed to append certificates from PEM file: "{junk}"'),
    ]
    for names, text in cases:
        with pytest.raises(TLSError) as error:
            make_context(*names, verify=True)
        assert str(error.value).startswith(text)
