"""What many containers cost: memory and descriptors of a daemon and its shims."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.integration.daemon import Daemon

T = TypeVar("T")
R = TypeVar("R")
NO_NETWORK = {"NetworkMode": "none"}


def at_once(function: Callable[[T], R], items: Iterable[T], width: int = 8) -> list[R]:
    """`function` of every item, some at the same time."""
    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(function, items))


def shim_of(daemon: Daemon, container: str) -> int:
    """PID of a running container's shim."""
    state = json.loads((daemon.exec_root / "compatd/c" / container / "state.json").read_text())
    return int(state["shim"])


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def rss(pid: int) -> int:
    """Resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def pss(pids: Iterable[int]) -> int:
    """Proportional memory of processes, in KiB; those that have ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def abort_attach(daemon: Daemon, container: str) -> int:
    """Attach, read the first frame, and vanish. Returns how many bytes came."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        link.connect(daemon.socket)
        query = "logs=1&stream=1&stdout=1&stderr=1&stdin=1"
        head = "Host: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        link.sendall(f"POST /containers/{container}/attach?{query} HTTP/1.1\r\n{head}".encode())
        got = b""
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < 9:
            data = link.recv(4096)
            if not data:
                raise AssertionError(f"the stream ended: {got[:300]!r}")
            got += data
    return len(got)
