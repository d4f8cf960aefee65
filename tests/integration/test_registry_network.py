"""How registries are reached: TLS with certificates of their own, mirrors, proxies; login and search."""

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError, InvalidParameter, Unauthorized
from compatd.engine.images import Images
from compatd.engine.images.registry import backoff, endpoints
from compatd.engine.images.registry.login import login
from compatd.engine.images.registry.proxies import proxy_for
from tests.integration.registrykit import FakeRegistry, digest, fake_registry, status
from tests.integration.test_registry_pull import pull
from tests.integration.test_storage_images import config_of, layer_tar
from tests.unit.images.imagekit import make_images

pytestmark = pytest.mark.root

TAR = layer_tar(a=b"1" * 3000)
LAYER = gzip.compress(TAR, mtime=0)
CONFIG = config_of(TAR)
WRONG = {"username": "joe", "password": "wrong"}
JOE = {"username": "joe", "password": "secret"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add([LAYER], CONFIG, tag="1")
        yield registry


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(backoff, "SECOND", 0)
    monkeypatch.setattr(endpoints, "CERTIFICATES", tmp_path / "certs.d")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    images = make_images(tmp_path / "store", max_download_attempts=2)
    images.storage.open()
    return images


# TLS ------------------------------------------------------------------------------------------------------


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.crt`, and pairs of it: `server` (for localhost), `client`."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl(
        folder, "req", "-x509", *key, "-keyout", "ca.key", "-subj", "/CN=x", "-out", "ca.crt", "-days", "2"
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        _openssl(folder, "req", *key, "-keyout", f"{name}.key", "-subj", f"/CN={name}", "-out", "request")
        _openssl(
            folder, "x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", f"{name}.cert",
        )  # fmt: skip
    return folder


def context(folder: Path, *, client: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.cert", folder / "server.key")
    if client:
        made.load_verify_locations(folder / "ca.crt")
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is no insecure registry."""
    monkeypatch.setattr(endpoints, "_LOOPBACK", ())


def trust(images: Images, host: str, folder: Path, *names: str) -> None:
    """Put these files into the registry's folder of certs.d."""
    target = endpoints.CERTIFICATES / host
    target.mkdir(parents=True)
    for name in names:
        (target / name).write_bytes((folder / name).read_bytes())


def test_a_private_ca(images: Images, certificates: Path, strict: None) -> None:
    with fake_registry(context(certificates)) as registry:
        registry.add([LAYER], CONFIG, tag="1")
        host = registry.host.replace("127.0.0.1", "localhost")
        unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        with pytest.raises(EngineError) as caught:
            pull(images, f"{host}/a/b:1")
        assert caught.value.message == f'Get "https://{host}/v2/": {unknown}'
        trust(images, host, certificates, "ca.crt")
        pull(images, f"{host}/a/b:1")
        assert images.resolve(f"{host}/a/b:1").id == digest(CONFIG)
        trust(images, registry.host, certificates, "ca.crt")
        with pytest.raises(EngineError, match=r"x509: certificate is not valid for 127.0.0.1"):
            pull(images, f"{registry.host}/a/b:1")


def test_an_insecure_registry_needs_no_certificate(images: Images, certificates: Path, strict: None) -> None:
    with fake_registry(context(certificates)) as registry:
        registry.add([LAYER], CONFIG, tag="1")
        images.config.insecure_registries = ["127.0.0.0/8"]
        pull(images, f"{registry.host}/a/b:1")


def test_no_plain_http_for_a_registry_that_is_not_insecure(
    images: Images, registry: FakeRegistry, strict: None
) -> None:
    with pytest.raises(EngineError) as caught:
        pull(images, f"{registry.host}/a/b:1")
    text = "http: server gave HTTP response to HTTPS client"
    assert caught.value.message == f'Get "https://{registry.host}/v2/": {text}'
    assert registry.seen == []


def test_a_clients_certificate(images: Images, certificates: Path, strict: None) -> None:
    with fake_registry(context(certificates, client=True)) as registry:
        registry.add([LAYER], CONFIG, tag="1")
        host = registry.host.replace("127.0.0.1", "localhost")
        trust(images, host, certificates, "ca.crt")
        with pytest.raises(EngineError):
            pull(images, f"{host}/a/b:1")
        folder = endpoints.CERTIFICATES / host
        for present, text in (
            ("client.cert", "missing key client.key for client certificate client.cert. CA certificates"),
            ("client.key", "missing client certificate client.cert for key client.key"),
        ):
            (folder / present).write_bytes((certificates / present).read_bytes())
            with pytest.raises(EngineError, match=text):
                pull(images, f"{host}/a/b:1")
            (folder / present).unlink()
        for name in ("client.cert", "client.key"):
            (folder / name).write_bytes((certificates / name).read_bytes())
        pull(images, f"{host}/a/b:1")
        (folder / "ca.crt").write_text("nonsense")
        with pytest.raises(EngineError, match=f"certificates in {folder}: "):
            pull(images, f"{host}/a/b:1")


# Mirrors ----------------------------------------------------------------------------------------------------


def test_a_mirror_of_any_registry(images: Images, registry: FakeRegistry) -> None:
    with fake_registry() as origin:
        origin.auth = registry.auth = "basic"
        origin.manifests, origin.blobs = dict(registry.manifests), registry.blobs
        images.config.registries = {origin.host: {"mirrors": [f"http://{registry.host}"]}}
        pull(images, f"{origin.host}/a/b:1", auth=JOE)
        assert {seen.authorization for seen in registry.seen} == {""}  # they are for another
        assert registry.seen
        assert origin.paths("GET", "manifests")  # the mirror wanted some, so the registry was asked
        images.delete(f"{origin.host}/a/b:1")
        registry.auth = ""
        origin.seen.clear()
        pull(images, f"{origin.host}/a/b:1", auth=JOE)
        assert origin.seen == []
        assert images.resolve(f"{origin.host}/a/b:1").id == digest(CONFIG)


def test_a_mirror_that_fails(images: Images, registry: FakeRegistry) -> None:
    with fake_registry() as mirror:
        mirror.fault("/v2/", status(500), times=100)
        images.config.registries = {
            registry.host: {"mirrors": ["http://127.0.0.1:1", f"http://{mirror.host}"]}
        }
        pull(images, f"{registry.host}/a/b:1")


# Proxies ----------------------------------------------------------------------------------------------------


def test_through_a_proxy(images: Images, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry whose name only the proxy knows."""
    monkeypatch.setenv("http_proxy", registry.host)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{registry.host}")
    images.config.insecure_registries = ["registry.test:5000"]
    pull(images, "registry.test:5000/a/b:1")
    assert images.resolve("registry.test:5000/a/b:1").id == digest(CONFIG)


@pytest.mark.parametrize(
    ("url", "spared", "proxied"),
    [
        ("http://a.test/", "", True),
        ("https://a.test/", "", False),  # only HTTP_PROXY is set
        ("http://localhost:5000/", "", False),
        ("http://127.0.0.9/", "", False),
        ("http://[::1]:1/", "", False),
        ("http://a.test/", "*", False),
        ("http://a.test/", "b.test, a.test", False),
        ("http://x.a.test/", "a.test", False),
        ("http://xa.test/", "a.test", True),
        ("http://a.test/", ".a.test", True),
        ("http://x.a.test/", "*.a.test", False),
        ("http://a.test:81/", "a.test:80", True),
        ("http://a.test/", "a.test:80", False),
        ("http://192.0.2.7/", "192.0.2.0/24", False),
        ("http://192.0.3.7/", "192.0.2.0/24,192.0.2.7", True),
        ("http://192.0.2.7:5000/", "192.0.2.7", False),
        ("http://[2001:db8::1]/", "2001:db8::/32", False),
        ("http://[2001:db8::1]/", "[2001:db8::1]:80", False),
    ],
)
def test_who_is_spared_a_proxy(url: str, spared: str, proxied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", spared)
    assert proxy_for(url) == ("http://proxy.test:3128" if proxied else None)


# Login and search -------------------------------------------------------------------------------------------


def logged_in(images: Images, registry: FakeRegistry, **credentials: str) -> str:
    return asyncio.run(login(images.config, {"serveraddress": registry.host, **credentials}))


def test_login_with_an_identity_token(images: Images, registry: FakeRegistry) -> None:
    registry.auth, registry.refresh = "bearer", "refresh"
    assert logged_in(images, registry, **JOE) == "refresh"
    (asked,) = [seen for seen in registry.seen if seen.path == "/token"]
    assert asked.query == {
        "service": ["it"], "offline_token": ["true"], "client_id": ["docker"], "account": ["joe"]
    }  # fmt: skip
    assert logged_in(images, registry, identitytoken="refresh") == "refresh"
    with pytest.raises(Unauthorized) as caught:
        logged_in(images, registry, **WRONG)
    text = "unauthorized: incorrect username or password"
    assert caught.value.message == f'Get "http://{registry.host}/v2/": {text}'


def test_login_with_basic_credentials(images: Images, registry: FakeRegistry) -> None:
    registry.auth = "basic"
    assert logged_in(images, registry, **JOE) == ""
    with pytest.raises(
        Unauthorized, match=r"login attempt to http://.*/v2/ failed with status: 401 Unauthorized"
    ):
        logged_in(images, registry, **WRONG)
    with pytest.raises(EngineError, match="no basic auth credentials"):
        logged_in(images, registry)


RESULTS: list[dict[str, Any]] = [
    {"name": "one", "description": "d", "star_count": 7, "is_official": True, "is_automated": True},
    {"name": "two", "star_count": "x"},
]


def test_search(images: Images, registry: FakeRegistry) -> None:
    def found(term: str = "", limit: int = 0, **filters: list[str]) -> list[str]:
        named = {name.replace("_", "-"): values for name, values in filters.items()}
        return [item["name"] for item in asyncio.run(images.search(f"{registry.host}/{term}", limit, named))]

    with pytest.raises(EngineError, match="unexpected status code 404"):
        found("x")
    registry.results = RESULTS
    assert asyncio.run(images.search(f"{registry.host}/x y", 0, {})) == [
        {"name": "one", "description": "d", "star_count": 7, "is_official": True, "is_automated": False},
        {"name": "two", "description": "", "star_count": 0, "is_official": False, "is_automated": False},
    ]
    assert registry.seen[-1].query == {"q": ["x y"], "n": ["25"]}
    assert found(limit=100, stars=["3"]) == ["one"]
    assert found(is_official=["true"]) == ["one"]
    assert found(is_official=["0"]) == ["two"]
    assert found(is_automated=["1"]) == []
    for wrong in ({"limit": 101}, {"stars": ["x"]}, {"is_official": ["x"]}):
        with pytest.raises(InvalidParameter):
            found(**wrong)
    with pytest.raises(InvalidParameter, match="should not have a scheme"):
        asyncio.run(images.search("http://x", 0, {}))


def test_inspect_with_credentials(images: Images, registry: FakeRegistry) -> None:
    from compatd.engine.images.reference import parse

    registry.auth = "bearer"
    wanted: Any = parse(f"{registry.host}/a/b:1")
    shown = asyncio.run(images.distribution(wanted, JOE))
    assert shown["Descriptor"]["digest"] == digest(registry.manifests["1"][0])
    with pytest.raises(Unauthorized):
        asyncio.run(images.distribution(wanted, {}))
