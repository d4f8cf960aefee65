"""One daemon a PID file."""

import os
import subprocess
from pathlib import Path

import pytest

from compatd import pidfile


def test_stale_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "docker.pid"
    pidfile.write(path)
    assert path.read_text() == str(os.getpid())
    path.write_text("999999999")
    pidfile.write(path)
    assert path.read_text() == str(os.getpid())
    pidfile.remove(path)
    assert not path.exists()


def test_a_daemon_that_only_waits_to_be_collected_is_none(tmp_path: Path) -> None:
    path = tmp_path / "docker.pid"
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        path.write_text(str(ended.pid))
        pidfile.write(path)
    assert path.read_text() == str(os.getpid())


def test_living_daemon_is_named(tmp_path: Path) -> None:
    path = tmp_path / "docker.pid"
    path.write_text("1\n")
    with pytest.raises(pidfile.PidFileError, match="process with PID 1 is still running"):
        pidfile.write(path)
    pidfile.remove(path)
    assert path.exists()


def test_what_cannot_be_written_is_told_as_dockerd_does(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(pidfile.PidFileError) as error:
        pidfile.write(tmp_path / "file" / "docker.pid")
    assert str(error.value) == f"failed to create pidfile directory: mkdir {tmp_path}/file: file exists"
    with pytest.raises(pidfile.PidFileError) as error:
        pidfile.write(tmp_path)
    assert str(error.value) == (
        f"failed to start daemon, ensure docker is not running or delete {tmp_path}: "
        f"open {tmp_path}: is a directory"
    )
