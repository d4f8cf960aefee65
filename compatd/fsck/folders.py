"""Containers' and volumes' folders, half work, and what is of nobody's."""

import shutil
import time
from functools import partial
from pathlib import Path

from compatd.engine.builder.cache import FOLDERS
from compatd.engine.timestamps import rfc3339
from compatd.fsck.report import Report
from compatd.fsck.state import State
from runtime.storage.base import Storage

_ID_LENGTH = 64
_OURS = frozenset(
    {"state.db", "state.db-wal", "state.db-shm", "lock", "blobs", "layers", "l", "rw", "tmp", FOLDERS}
)
_IN_RW = frozenset({"diff", "work", "base"})

CLASSES = {
    "": "other",
    "compatd": "state",
    "compatd/blobs": "blobs",
    f"compatd/{FOLDERS}": "build cache",
    "compatd/l": "layers",
    "compatd/layers": "layers",
    "compatd/rw": "containers",
    "compatd/tmp": "half work",
    "containers": "containers",
    "volumes": "volumes",
}
"""What the folders below the data root belong to; all else is another program's, and is left alone."""


def held_layers(state: State) -> dict[str, str]:
    """Chain IDs that containers have below them or mounted, and one of the containers."""
    held: dict[str, str] = {}
    for container_id, document in state.rows("containers"):
        chains = [*(document.get("ChainIds") or ())]
        for point in document.get("MountPoints") or ():
            chains += point.get("ChainIds") or ()
        for chain_id in chains:
            held.setdefault(chain_id, container_id)
    return held


class FolderCheck:
    """One check of all that is no image."""

    def __init__(self, state: State, storage: Storage, data_root: Path, report: Report) -> None:
        self._state = state
        self._storage = storage
        self._root = data_root
        self._report = report

    def run(self) -> None:
        """Look at all folders."""
        self._containers()
        self._volumes()
        self._half_work()
        for path in sorted(self._storage.root.iterdir()):
            if path.name not in _OURS:
                self._report.add("stray", f"compatd/{path.name}: remove it if it is nobody's", path=path)

    def _containers(self) -> None:
        known = {container_id for container_id, _ in self._state.rows("containers")}
        folder = self._root / "containers"
        rw = self._storage.rw
        for place in (folder, rw):
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                if path.name in known:
                    continue
                shown = path.relative_to(self._root)
                if len(path.name) != _ID_LENGTH:
                    self._report.add("stray", f"{shown}: remove it if it is nobody's", path=path)
                else:
                    self._report.add("orphan", f"folder {shown}", partial(self._storage.discard, path), path)
        for container_id in sorted(known):
            if not (folder / container_id).is_dir():
                make = partial((folder / container_id).mkdir, 0o710, parents=True)
                self._report.add("missing", f"folder containers/{container_id}", make)
            self._root_of(container_id)

    def _root_of(self, container_id: str) -> None:
        path = self._storage.rw / container_id
        if not (path / "diff").is_dir():
            hint = f"remove the container with `docker rm {container_id[:12]}`"
            self._report.add("missing", f"the files of container {container_id}; {hint}")
            return
        if not (path / "base").exists() and not (path / "work").is_dir():
            self._report.add(
                "missing", f"folder rw/{container_id}/work", partial((path / "work").mkdir, 0o700)
            )
        for inner in sorted(path.iterdir()):
            if inner.name not in _IN_RW:
                text = f"rw/{container_id}/{inner.name}"
                self._report.add("stray", text, partial(self._storage.discard, inner), inner)

    def _volumes(self) -> None:
        """A volume's files may be all that somebody has: what has content is taken up, not removed."""
        known = {name for name, _ in self._state.rows("volumes")}
        place = self._root / "volumes"
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.name in known or not path.is_dir() or path.is_symlink():
                continue
            data = path / "_data"
            if data.is_dir() and any(data.iterdir()):
                text = f"volume {path.name}, which the state does not know; repairing takes it up again"
                self._report.add("orphan", text, partial(self._take_up, path.name, data), path)
            elif any(inner != data for inner in path.iterdir()):
                self._report.add("stray", f"volumes/{path.name}: remove it if it is nobody's", path=path)
            else:
                text = f"empty volume {path.name}"
                self._report.add("orphan", text, partial(shutil.rmtree, path), path)
        for name in sorted(known):
            data = place / name / "_data"
            if not data.is_dir():
                make = partial(data.mkdir, 0o755, parents=True, exist_ok=True)
                self._report.add("missing", f"folder volumes/{name}/_data", make)

    def _take_up(self, name: str, data: Path) -> None:
        created = rfc3339(time.time_ns() // 1_000_000_000 * 1_000_000_000)
        document = {
            "CreatedAt": created, "Driver": "local", "Labels": None, "Mountpoint": str(data), "Name": name,
            "Options": None, "Scope": "local",
        }  # fmt: skip
        self._state.put("volumes", name, document)

    def _half_work(self) -> None:
        for path in sorted(self._storage.tmp.iterdir()):
            discard = partial(self._storage.discard, path)
            self._report.add("orphan", f"half work tmp/{path.name}", discard, path)
