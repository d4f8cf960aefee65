"""Which addresses there are, and whether and with which files TLS is on, by flags, file and environment."""

from pathlib import Path
from typing import Any

import pytest

from compatd.config import Config, ConfigError, load
from compatd.config.hosts import is_loopback, normal_host


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("tcp://", "tcp://localhost:2375"),
        (":1234", "tcp://localhost:1234"),
        ("10.0.0.1", "tcp://10.0.0.1:2375"),
        ("tcp://0.0.0.0", "tcp://0.0.0.0:2375"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
        ("tcp://[::]", "tcp://[::]:2375"),
        ("unix://", "unix:///var/run/docker.sock"),
        ("unix://x.sock", "unix://x.sock"),
        ("fd://", "fd://"),
    ],
)
def test_addresses(text: str, normal: str) -> None:
    assert normal_host(text) == normal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foo://x", "unsupported proto 'foo'"),
        ("npipe://x", "npipe is for Windows"),
        ("tcp://a:0", "invalid port: 0"),
        ("tcp://a:1/x", "should not contain a path element"),
        ("unix://tcp://x", "invalid unix address: tcp://x"),
    ],
)
def test_addresses_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normal_host(text)


def test_loopback() -> None:
    assert all(map(is_loopback, ("tcp://localhost:1", "tcp://127.0.0.2:1", "tcp://[::1]:1")))
    assert not any(map(is_loopback, ("tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://10.0.0.1:1")))


def _load(folder: Path, text: str, **flags: Any) -> Config:
    file = folder / "daemon.json"
    file.write_text(text)
    return load({key.replace("_", "-"): value for key, value in flags.items()}, str(file))


@pytest.fixture(autouse=True)
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "certs"
    folder.mkdir()
    for name in ("cert.pem", "key.pem"):
        (folder / name).touch()
    monkeypatch.setenv("DOCKER_CERT_PATH", str(folder))
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    return folder


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("{}", {}, (None, None)),
        ("{}", {"tls": True}, (True, True)),
        ("{}", {"tls": False}, (False, False)),
        ("{}", {"tlsverify": True}, (True, True)),
        ("{}", {"tlsverify": False}, (True, False)),
        ('{"tlsverify": true}', {}, (True, True)),
        ('{"tlsverify": false}', {}, (True, False)),
        ('{"tls": true}', {}, (True, True)),
        ('{"tls": false}', {}, (False, False)),
    ],
)
def test_on_or_off(
    tmp_path: Path, text: str, flags: dict[str, Any], expected: tuple[bool | None, bool | None]
) -> None:
    config = _load(tmp_path, text, **flags)
    assert (config.tls, config.tlsverify) == expected
    assert config.hosts == (["tcp://localhost:2376"] if config.tls else ["unix:///var/run/docker.sock"])


def test_files(tmp_path: Path, certificates: Path) -> None:
    config = _load(tmp_path, "{}", tlsverify=True, tlscert="/x")
    assert (config.tlscert, config.tlskey) == ("/x", str(certificates / "key.pem"))
    assert config.tlscacert == str(certificates / "ca.pem")
    (certificates / "key.pem").unlink()
    assert _load(tmp_path, "{}", tlsverify=True).tlskey == ""
    config = _load(tmp_path, '{"tlsverify": true, "tlscert": "/y"}')  # only flags have defaults
    assert (config.tlscacert, config.tlscert, config.tlskey) == ("", "/y", "")


def test_addresses_are_sorted_and_taken_once(tmp_path: Path) -> None:
    config = _load(tmp_path, "{}", hosts=["unix:///b", "tcp://127.0.0.1:1", "unix:///b", " "])
    assert config.hosts == ["tcp://127.0.0.1:1", "unix:///b"]
    with pytest.raises(ConfigError, match="specified both"):
        _load(tmp_path, '{"hosts": ["unix:///a"]}', hosts=["unix:///b"])
