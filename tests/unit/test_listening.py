"""Sockets by configuration: warnings about open ones, errors in dockerd's words, nothing left behind."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from compatd import listening
from compatd.config import Config


def _load(hosts: list[str], **given: Any) -> list[socket.socket]:
    async def run() -> list[socket.socket]:
        return await listening.load(Config({"hosts": hosts, "group": "0", **given}))

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "given", "slowed"),
    [
        ("tcp://0.0.0.0:0", {}, True),
        ("tcp://0.0.0.0:0", {"tls": False}, False),
        ("tcp://0.0.0.0:0", {"tls": True, "tlsverify": False}, False),
        ("tcp://127.0.0.1:0", {}, False),
        ("tcp://localhost:0", {}, False),
    ],
)
def test_open_addresses_are_warned_of(
    host: str,
    given: dict[str, Any],
    slowed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listening, "SLOWED", 0.05)
    begun = time.monotonic()
    listening.close(_load([host], **given))
    assert "Binding to IP address without --tlsverify is insecure" in caplog.text
    assert ("Startup is intentionally being slowed down" in caplog.text) == slowed
    assert not slowed or time.monotonic() - begun > 0.04


def test_what_is_safe_is_not(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    sockets = _load([f"unix://{path}", "tcp://127.0.0.1:0"], tls=True, tlsverify=True)
    assert caplog.text == ""
    assert path.is_socket()
    listening.close(sockets)
    assert not path.exists()


def test_an_address_in_use_closes_the_others(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(listening.ListenError) as error:
            _load([f"unix://{path}", f"tcp://127.0.0.1:{port}"])
    assert str(error.value) == f"listen tcp 127.0.0.1:{port}: bind: address already in use"
    assert not path.exists()


def test_a_rule_gives_its_socket_a_group(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    own = next(group for group in socket_groups())
    rules = [{"socket": str(path), "socket-group": str(own), "limits": ["own"]}]
    sockets = _load([f"unix://{path}"], access=rules, group="no such group")
    assert path.stat().st_gid == own
    listening.close(sockets)


def socket_groups() -> list[int]:
    """Groups that this process may give a file to."""
    import os

    return [*os.getgroups(), os.getegid()]


# As dockerd 26.1 says it behind "failed to load listeners: ".
@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("tcp://127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
        ("tcp://[::1]:65536", "listen tcp: address 65536: invalid port"),
        ("tcp://no.such.invalid:2375", "failed to lookup no.such.invalid address in host specification"),
        (
            "unix://DIR/no/x",
            "can't create unix socket PATH: listen unix PATH: bind: no such file or directory",
        ),
        ("unix://DIR/folder", "can't create unix socket DIR/folder: is a directory"),
        (
            "unix://DIR/" + "x" * 108,
            "can't create unix socket PATH: listen unix PATH: bind: invalid argument",
        ),
    ],
)
def test_what_cannot_be_listened_on(host: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    host = host.replace("DIR", str(tmp_path))
    with pytest.raises(listening.ListenError) as error:
        _load([host], tls=False)
    assert str(error.value) == text.replace("DIR", str(tmp_path)).replace(
        "PATH", host.removeprefix("unix://")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
