"""Credentials in every form that clients send them in, through the API to a registry that wants them."""

import base64
import gzip
import json
from collections.abc import Iterator

import pytest

from tests.integration.daemon import Daemon, UnixConnection, running_daemon
from tests.integration.killkit import registry_process
from tests.integration.registrykit import FakeRegistry
from tests.integration.test_storage_images import config_of, layer_tar

pytestmark = pytest.mark.root

LAYER = layer_tar(a=b"1" * 3000)
# Of a length and with characters that make padding, and show the difference between the two alphabets
JOE = json.dumps({"username": "joe", "password": "secret", "email": "~~~???>>>"}).encode()
REFRESH = json.dumps({"identitytoken": "refresh"}).encode()
REFUSED = "no basic auth credentials"


def _fill(registry: FakeRegistry, auth: str) -> None:
    registry.add([gzip.compress(LAYER)], config_of(LAYER), tag="1")
    registry.auth = auth


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def basic(daemon: Daemon) -> Iterator[str]:
    with registry_process(lambda made: _fill(made, "basic"), daemon.name) as host:
        yield host


@pytest.fixture(scope="module")
def bearer(daemon: Daemon) -> Iterator[str]:
    with registry_process(lambda made: _fill(made, "bearer"), daemon.name) as host:
        yield host


def ask(daemon: Daemon, path: str, header: str | None = None, body: bytes | None = None) -> str:
    """The whole answer of a pull or push."""
    connection = UnixConnection(daemon.socket)
    try:
        connection.request("POST", path, body, {} if header is None else {"X-Registry-Auth": header})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "header",
    [
        base64.urlsafe_b64encode(JOE).decode(),
        base64.urlsafe_b64encode(JOE).decode().rstrip("="),
        base64.b64encode(JOE).decode(),
        base64.b64encode(JOE).decode().rstrip("="),
    ],
    ids=["url-safe", "unpadded", "standard", "standard-unpadded"],
)
def test_in_the_header(daemon: Daemon, basic: str, header: str) -> None:
    assert "digest: sha256:" in ask(daemon, f"/images/create?fromImage={basic}/a/b&tag=1", header).lower()
    assert '"Tag":"1"' in ask(daemon, f"/images/{basic}/a/b/push?tag=1", header)


@pytest.mark.parametrize("header", [None, "", "e30=", "!", "bnVsbA=="])
def test_none(daemon: Daemon, basic: str, header: str | None) -> None:
    assert REFUSED in ask(daemon, f"/images/create?fromImage={basic}/a/b&tag=1", header)


def test_in_the_body_of_a_push(daemon: Daemon, basic: str) -> None:
    """As the first clients did; a header, even a broken one, goes before it."""
    path = f"/images/{basic}/a/b/push?tag=1"
    ask(daemon, f"/images/create?fromImage={basic}/a/b&tag=1", base64.urlsafe_b64encode(JOE).decode())
    assert '"Tag":"1"' in ask(daemon, path, body=JOE)
    assert '"Tag":"1"' in ask(daemon, path, "", JOE)
    assert REFUSED in ask(daemon, path, "e30=", JOE)
    for body in (None, b"", b"{}", b"nonsense", b"[" * 100_000):
        assert REFUSED in ask(daemon, path, body=body)


def test_an_identity_token(daemon: Daemon, bearer: str) -> None:
    """What a login gave instead of the password: it is exchanged at the token server."""
    path = f"/images/create?fromImage={bearer}/a/b&tag=1"
    assert "Digest: sha256:" in ask(daemon, path, base64.urlsafe_b64encode(REFRESH).decode())
    wrong = base64.urlsafe_b64encode(REFRESH.replace(b"refresh", b"wrong")).decode()
    assert "incorrect username or password" in ask(daemon, path, wrong)
