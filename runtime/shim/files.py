"""Small files of a bundle: read and written whole."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_json(path: str) -> Any:
    """The file's value. Raises OSError, ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return json.loads(os.read(fd, os.fstat(fd).st_size).decode())
    finally:
        os.close(fd)


def write_json(path: str, value: Any) -> None:
    """Write by rename: a reader sees the old file or the new one. Raises OSError."""
    temporary = path + ".tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(value).encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot: with the PID it names a process for good.

    Raises ProcessLookupError when there is none.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return int(fields[19])  # proc(5): field 22


def has_ended(pid: int) -> bool:
    """Whether a child of ours is a zombie (or gone already)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except FileNotFoundError:
        return True


def is_alive(pid: int, started: int) -> bool:
    """Whether the process of that PID still is the one that started then."""
    try:
        return start_time(pid) == started
    except OSError:
        return False
