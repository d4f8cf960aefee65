"""The worker that mounts volumes with options: what it says and hides (its mounts: tests/integration)."""

import socket
from pathlib import Path

import pytest

from runtime.storage import volumemount


def test_is_mounted_reads_escaped_paths(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("30 1 0:26 / /a\\040b rw shared:1 - tmpfs x rw\n31 1 0:27 / /cd rw - tmpfs y rw\n")
    assert volumemount.is_mounted("/a b", str(table))
    assert volumemount.is_mounted("/cd", str(table))
    assert not volumemount.is_mounted("/c", str(table))
    assert not volumemount.is_mounted("/a", str(table))


def test_an_address_is_resolved_for_network_file_systems_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(name: str, port: None, type: int) -> list[tuple[object, ...]]:
        assert (name, type) == ("files.example", socket.SOCK_STREAM)
        return [(2, 1, 6, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert volumemount.resolved("nfs", "rw,addr=files.example,soft") == "rw,addr=192.0.2.7,soft"
    assert volumemount.resolved("tmpfs", "addr=files.example") == "addr=files.example"
    assert volumemount.resolved("cifs", "addr=,soft") == "addr=,soft"


def test_passwords_are_not_told() -> None:
    assert volumemount.without_password("user=a,password=b,vers=3") == "user=a,password=********,vers=3"


def test_a_volume_without_device(tmp_path: Path) -> None:
    answer = volumemount.run({"type": "tmpfs", "device": "", "o": "", "path": str(tmp_path)}, [])
    assert answer == {"error": "missing device in volume options"}


def test_folders_of_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is mounted, nor a link, nor what is no volume."""
    for name in ("plain", "with space", "mounted"):
        (tmp_path / name / "_data").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/_data").symlink_to(tmp_path)
    points = {str(tmp_path / "mounted/_data").encode()}
    monkeypatch.setattr(volumemount, "_mount_points", lambda: points)
    found = sorted(volumemount.volume_folders(str(tmp_path)))
    assert found == [str(tmp_path / "plain/_data"), str(tmp_path / "with space/_data")]
    assert volumemount.volume_folders(str(tmp_path / "no-such")) == []
