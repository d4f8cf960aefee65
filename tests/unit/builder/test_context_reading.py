"""Single files of a context: nothing else is opened."""

import os
import socket
from pathlib import Path

import pytest

from compatd.engine.builder.context.reading import read
from compatd.engine.errors import EngineError, NotFound


def test_devices_of_a_context_are_not_opened(tmp_path: Path) -> None:
    """A session may send a device as its Dockerfile. A socket stands for it: opening one is an error, too."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "Dockerfile"))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("Dockerfile")
    for name in ("Dockerfile", "fifo", "link", "/"):
        with pytest.raises(EngineError, match=f"read {name}: is a directory"):
            read(tmp_path, name)


def test_files_are_read_inside(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "out").symlink_to("../" * 20 + "etc/passwd")
    assert read(tmp_path, "link") == read(tmp_path, "out") == b"mine"
    with pytest.raises(NotFound):
        read(tmp_path, "etc/shadow")
