"""Log servers behind TLS: the first handshake is waited for, later ones are not."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.logs.base import LogError
from runtime.logs.channel import Channel
from runtime.shim.loop import Loop
from tests.unit.logs.logkit import turn_until

_COMMAND = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(_COMMAND.split(), cwd=folder, check=True, capture_output=True)
    return folder


class TlsServer:
    """Takes connections one after the other; `hang_up` ends the one at hand."""

    def __init__(self, folder: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self.text = b""
        self.peer: ssl.SSLSocket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._sock.accept()
                self.peer = self._context.wrap_socket(raw, server_side=True)
                while data := self.peer.recv(65536):
                    self.text += data
            except ssl.SSLError:
                continue
            except OSError:
                if self._sock.fileno() < 0:
                    return

    def hang_up(self) -> None:
        assert self.peer is not None
        self.peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        if self.peer is not None:
            self.peer.close()
        self._thread.join(10)


@pytest.fixture
def server(certificate: Path) -> Iterator[TlsServer]:
    made = TlsServer(certificate)
    yield made
    made.close()


def options(server: TlsServer, **tls: Any) -> dict[str, Any]:
    tls = {"ca": "", "cert": "", "key": "", "verify": True, **tls}
    return {"network": "tcp+tls", "address": server.address, "wait": 0.01, "tls": tls}


def test_messages_arrive_over_a_second_connection_too(server: TlsServer, certificate: Path) -> None:
    loop = Loop()
    tls = options(server, ca=str(certificate / "cert.pem"))
    channel = Channel(loop, tls, limit=1_000_000, lossy=False)
    channel.open()
    channel.send(b"one\n")
    turn_until(loop, lambda: b"one\n" in server.text)
    server.hang_up()
    turn_until(loop, lambda: channel._state == "away")
    channel.send(b"two\n")
    turn_until(loop, lambda: b"two\n" in server.text)
    big = b"x" * 500_000 + b"\n"
    channel.send(big)
    turn_until(loop, lambda: server.text.endswith(big))
    channel.close()


def test_a_server_that_nobody_vouches_for_is_refused(server: TlsServer) -> None:
    channel = Channel(Loop(), options(server), limit=1, lossy=False)
    with pytest.raises(LogError, match=r"^tls: failed to verify certificate: x509: "):
        channel.open()
    channel = Channel(Loop(), options(server, verify=False), limit=1, lossy=False)
    channel.open()
    channel.close()


def test_files_that_are_missing_are_named(server: TlsServer) -> None:
    channel = Channel(Loop(), options(server, ca="/no/such"), limit=1, lossy=False)
    with pytest.raises(LogError) as caught:
        channel.open()
    assert str(caught.value) == (
        'could not read CA certificate "/no/such": open /no/such: no such file or directory'
    )
