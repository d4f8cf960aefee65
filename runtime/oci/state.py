"""What is kept of a container between two calls: one folder under `--root`, with `state.json`, the spec as
it was at create, and a FIFO that its process waits on until `start`."""

from __future__ import annotations

import json
import os
import shutil
import time

from runtime import cgroups
from runtime.oci.hooks import state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.spec import Spec

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class OciError(Exception):
    """With runc's text."""


class Stored:
    """A container on disk. `data` is its state.json."""

    def __init__(self, root: str, container_id: str) -> None:
        if not container_id or not _ID_CHARACTERS.issuperset(container_id) or set(container_id) <= {"."}:
            raise OciError("invalid container ID format")
        self.id = container_id
        self.folder = os.path.join(root, container_id)
        self.data: dict[str, Any] = {}

    @property
    def fifo(self) -> str:
        return os.path.join(self.folder, "exec.fifo")

    @property
    def told(self) -> str:
        """The FIFO by which the process says what failed after `start`."""
        return os.path.join(self.folder, "told.fifo")

    @property
    def fifos(self) -> tuple[str, str]:
        return self.fifo, self.told

    @property
    def pid(self) -> int:
        return int(self.data["pid"])

    def make(self) -> None:
        """Raises OciError when the ID is taken."""
        os.makedirs(os.path.dirname(self.folder), mode=0o711, exist_ok=True)
        try:
            os.mkdir(self.folder, 0o711)
        except FileExistsError:
            raise OciError("container with given ID already exists") from None
        for path in self.fifos:
            os.mkfifo(path, 0o600)

    def load(self) -> Stored:
        try:
            with open(os.path.join(self.folder, "state.json"), encoding="utf-8") as file:
                self.data = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            raise OciError("container does not exist") from None
        return self

    def save(self, data: dict[str, Any]) -> None:
        self.data = data
        temporary = os.path.join(self.folder, ".state.json")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.rename(temporary, os.path.join(self.folder, "state.json"))

    def spec(self) -> Spec:
        spec: Spec = self.data["spec"]
        return spec

    def cgroup(self) -> cgroups.Cgroup:
        return cgroups.open_cgroup(self.data["cgroup"], systemd=self.data.get("systemd", False))

    def status(self) -> str:
        """created, running, paused or stopped."""
        state, started = process_state(self.pid)
        if state in ("", "Z", "X") or started != self.data["startTime"]:
            return "stopped"
        if os.path.exists(self.fifo):
            return "created"
        return "paused" if self.cgroup().frozen() else "running"

    def describe(self, status: str = "") -> dict[str, Any]:
        """OCI runtime spec, "State", and the fields that runc adds."""
        status = status or self.status()
        spec = self.spec()
        return {
            **state_of(spec, self.id, self.data["bundle"], self.pid, status),
            "rootfs": spec.get("root", {}).get("path", ""),
            "created": self.data["created"],
            "owner": "",
        }

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def stored(root: str) -> list[Stored]:
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(Stored(root, name).load())
        except OciError:
            continue
    return found


def process_state(pid: int) -> tuple[str, int]:
    """(state letter, start time in clock ticks) of proc(5), or ('', 0)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return "", 0
    return fields[0].decode(), int(fields[19])


def now() -> str:
    """RFC 3339 with nanoseconds, UTC."""
    stamp = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp // 10**9)) + f".{stamp % 10**9:09d}Z"
