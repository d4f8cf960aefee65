"""What storage drivers share: layers and blobs on disk, half work, removal, and the shape of a driver.

Below `root` (`<data-root>/compatd`), all 0710 or 0711 so that no user of the host reaches a layer's
set-user-ID programs (CVE-2021-41091):

| path | what |
|---|---|
| `layers/<chain>/diff` | a layer, whole; `<chain>` is the hex of its chain ID |
| `layers/<chain>/init` | the mount points that Docker puts on top of an image whose last layer this is |
| `layers/<chain>/flat` | with vfs: the image whose last layer this is as one tree, when it was mounted |
| `l/<short>` | a link to a layer: mount options have 4 KiB for all the paths |
| `rw/<container>/diff` | a container's own changes; with vfs its whole root |
| `rw/<container>/work` | overlay's scratch folder |
| `rw/<container>/base` | with vfs: what the root began as |
| `blobs/sha256/<hex>` | compressed layers as they came |
| `tmp/` | half work and what is being removed; emptied at start |

Layers are the same for all drivers, so images stay when the driver is changed; and each container stays in
the form that it was made in.
"""

import fcntl
import logging
import os
import secrets
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from runtime.storage import initlayer
from runtime.storage.quota import Quotas
from runtime.storage.tree import OPEN_DIRECTORY, empty
from runtime.storage.volumemount import volume_folders

log = logging.getLogger(__name__)

Work = tuple[str, dict[str, Any]]
"""A worker's function and its arguments."""

SHORT = 26  # hex digits of a chain ID in its link's name: 128 layers' paths stay below 4 KiB
LAYER_MODE = 0o755
_REMOVERS = 4  # threads
BASE = "base"
# linux/fs.h
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_TOPDIR_FL = 0x00020000


class StorageError(Exception):
    """A driver cannot be used as it is configured; in dockerd's words."""


class Storage:
    """The storage below one root. Methods do few system calls, so the event loop may call them."""

    name = ""
    """The driver's name in the API."""

    no_quotas = ""
    """What `--storage-opt size` is told where the file system has no project quotas."""

    def __init__(self, root: Path, size: int = 0) -> None:
        """size: how many bytes a container may write unless it says otherwise; 0 is no limit."""
        self.root = root
        self.size = size
        self.quotas: Quotas | None = None
        self.layers = root / "layers"
        self.links = root / "l"
        self.rw = root / "rw"
        self.tmp = root / "tmp"
        self.blobs = root / "blobs" / "sha256"
        self._removing: list[threading.Thread] = []
        self._removers = 0  # of those threads, how many still take what is doomed
        self._doomed: deque[Path] = deque()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the folders and remove what a killed daemon left half done.

        Raises OSError, StorageError where there is to be a limit and there are no quotas.
        """
        self.make_folders()
        try:
            taken = [path for folder in (self.rw, self.tmp) for path in folder.iterdir() if path.is_dir()]
            taken += map(Path, volume_folders(str(self.root.parent / "volumes")))
            self.quotas = Quotas(self.rw, taken)
        except OSError as error:
            if self.size:
                raise StorageError(self.why_no_quotas(error)) from None
        for folder in (self.layers, self.tmp, self.rw):
            spread(folder)
        for left in list(self.tmp.iterdir()):
            self._discard(left)

    def make_folders(self) -> None:
        """Make the folders that are not there. Raises OSError."""
        for folder in (
            self.root,
            self.layers,
            self.links,
            self.rw,
            self.tmp,
            self.root / "blobs",
            self.blobs,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o710)
        self.root.chmod(0o711)

    # Layers ------------------------------------------------------------------------------------------------

    def layer_path(self, chain_id: str) -> Path:
        """The layer's folder, `diff` and more in it, whether it exists or not."""
        return self.layers / chain_id.removeprefix("sha256:")

    def has_layer(self, chain_id: str) -> bool:
        """Whether the layer is there (then it is whole)."""
        return self.layer_path(chain_id).is_dir()

    def prepare_layer(self) -> Path:
        """A new folder in `tmp/` with an empty `diff` to unpack into."""
        path = self.tmp / f"layer-{secrets.token_hex(8)}"
        path.mkdir(mode=0o710)
        diff = path / "diff"
        diff.mkdir()
        diff.chmod(LAYER_MODE)
        return path

    def commit_layer(self, prepared: Path, chain_id: str) -> None:
        """Make a prepared, filled folder the layer of that chain ID. One that exists already wins."""
        path = self.layer_path(chain_id)
        try:
            prepared.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            self.discard(prepared)
        self._link(chain_id)

    def _link(self, chain_id: str) -> None:
        name = chain_id.removeprefix("sha256:")
        for link, target in (
            (self.links / name[:SHORT], f"../layers/{name}/diff"),
            (self.links / f"{name[:SHORT]}i", f"../layers/{name}/init"),
        ):
            try:
                link.symlink_to(target)
            except FileExistsError:
                pass

    def remove_layer(self, chain_id: str) -> None:
        """Take the layer away; its files go in the background. One that is not there is no error."""
        name = chain_id.removeprefix("sha256:")
        (self.links / name[:SHORT]).unlink(missing_ok=True)
        (self.links / f"{name[:SHORT]}i").unlink(missing_ok=True)
        self.discard(self.layer_path(chain_id))

    def layer_ids(self) -> list[str]:
        """The chain IDs of all layers on disk."""
        return ["sha256:" + path.name for path in self.layers.iterdir()]

    def lower(self, chain_ids: list[str]) -> list[Path]:
        """The folders below a container of an image with these layers (base first), top first."""
        if not chain_ids:
            return []
        paths = self._linked(chain_ids)
        if not (self.layer_path(chain_ids[-1]) / "init").is_dir():
            self._make_init(chain_ids)
        return [self.links / f"{paths[0].name}i", *paths]

    def _linked(self, chain_ids: list[str]) -> list[Path]:
        return [self.links / chain_id.removeprefix("sha256:")[:SHORT] for chain_id in reversed(chain_ids)]

    def image_lower(self, chain_ids: list[str]) -> list[Path]:
        """The folders, top first, to mount for an image alone, without what containers get in theirs."""
        return self._linked(chain_ids)

    def _make_init(self, chain_ids: list[str]) -> None:
        diffs = [str(self.layer_path(chain_id) / "diff") for chain_id in reversed(chain_ids)]
        path = self.prepare_layer()
        initlayer.build(str(path / "diff"), diffs)
        try:
            (path / "diff").rename(self.layer_path(chain_ids[-1]) / "init")
        except OSError:
            if not (self.layer_path(chain_ids[-1]) / "init").is_dir():
                raise
        self.discard(path)

    # Containers: what a driver says -------------------------------------------------------------------------

    def why_no_quotas(self, error: OSError) -> str:
        """The daemon's last words when a limit for all containers cannot be kept."""
        return self.no_quotas

    def create_rw(self, container_id: str, size: int | None = None) -> None:
        """Make a container's writable folder, limited to `size` bytes (None: as all are; 0: not).

        A limit needs `quotas`. Raises FileExistsError, OSError.
        """
        path = self.rw / container_id
        path.mkdir(mode=0o710)
        wanted = self.size if size is None else size
        if wanted and self.quotas is not None:
            self.quotas.limit(path, wanted)  # what is made in it from here on counts
        self._make_diff(path)

    @staticmethod
    def _make_diff(path: Path) -> None:
        (path / "diff").mkdir()
        (path / "diff").chmod(LAYER_MODE)

    def remove_rw(self, container_id: str) -> None:
        """Take a container's writable folder away; its files go in the background."""
        self.discard(self.rw / container_id)

    def fill_work(self, container_id: str, chain_ids: list[str]) -> Work | None:
        """What a worker must do to the new writable folder before anything else, if there is something."""
        return None

    def image_work(self, chain_ids: list[str]) -> Work | None:
        """What a worker must do before an image can be mounted alone, if there is something."""
        return None

    def image_graph_data(self, chain_ids: list[str]) -> dict[str, str] | None:
        """inspect's GraphDriver.Data of an image."""
        return None

    # Containers: by the form each was made in ---------------------------------------------------------------

    def is_flat(self, container_id: str) -> bool:
        """Whether the container's root is one whole tree (vfs), not an overlay."""
        return (self.rw / container_id / BASE).exists()

    def root_plan(self, container_id: str, chain_ids: list[str]) -> dict[str, Any]:
        """`shim.json`'s "root": what to mount as the container's root. Paths are absolute, top first.

        All lower paths are in one folder, so a mount may chdir there and name them by their last part.
        """
        rw = self.rw / container_id
        plan: dict[str, Any] = {"lower": [str(path) for path in self.lower(chain_ids)]}
        if self.is_flat(container_id):
            plan["flat"] = str(rw / "diff")
        else:
            plan |= {"upper": str(rw / "diff"), "work": str(rw / "work")}
        return {"mounts": [], "overlay": plan}

    def graph_data(self, container_id: str, chain_ids: list[str]) -> dict[str, str] | None:
        """inspect's GraphDriver.Data of a container (MergedDir exists only inside its mount namespace)."""
        if self.is_flat(container_id):
            return None
        rw = self.rw / container_id
        layers = [str(self.layer_path(chain_id) / "diff") for chain_id in reversed(chain_ids)]
        if chain_ids:
            layers.insert(0, str(self.layer_path(chain_ids[-1]) / "init"))
        return {
            "LowerDir": ":".join(layers),
            "MergedDir": str(rw / "merged"),
            "UpperDir": str(rw / "diff"),
            "WorkDir": str(rw / "work"),
        }

    def diff_work(self, container_id: str, chain_ids: list[str]) -> Work:
        """The worker that says what a container has changed: {"changes": [[path, kind], …]}."""
        if self.is_flat(container_id):
            return "runtime.storage.flat:diff", self._flat(container_id)
        arguments = {
            "upper": str(self.rw / container_id / "diff"),
            "lower": [str(path) for path in self.lower(chain_ids)],
            "scratch": str(self.tmp),
        }
        return "runtime.storage.changes:diff", arguments

    def layer_work(self, container_id: str) -> Work:
        """The worker that writes what a container has changed as a layer's tar to its fd."""
        if self.is_flat(container_id):
            return "runtime.storage.flat:layer", self._flat(container_id)
        return "runtime.storage.changes:layer", {"upper": str(self.rw / container_id / "diff")}

    def size_work(self, container_id: str) -> Work | None:
        """The worker that says how many bytes a container has written: {"size"}; None: all of its `diff`."""
        return ("runtime.storage.flat:size", self._flat(container_id)) if self.is_flat(container_id) else None

    def _flat(self, container_id: str) -> dict[str, Any]:
        rw = self.rw / container_id
        return {"flat": str(rw / "diff"), "base": str(rw / BASE)}

    # Removal -----------------------------------------------------------------------------------------------

    def discard(self, path: Path) -> None:
        """Move `path` out of the way at once and remove it in the background; missing is no error."""
        doomed = self.tmp / f"gone-{secrets.token_hex(8)}"
        try:
            path.rename(doomed)
        except FileNotFoundError:
            return
        self._discard(doomed)

    def _discard(self, path: Path) -> None:
        with self._lock:
            self._doomed.append(path)
            if self._removers >= _REMOVERS:
                return
            self._removers += 1
        thread = threading.Thread(target=self._remove_all, name="remove", daemon=True)
        self._removing = [other for other in self._removing if other.is_alive()]
        self._removing.append(thread)
        thread.start()

    def _remove_all(self) -> None:
        while True:
            with self._lock:
                if not self._doomed:
                    self._removers -= 1
                    return
                path = self._doomed.popleft()
            try:
                remove(str(path))
            except Exception:
                log.exception("cannot remove %s", path)

    def settle(self, seconds: float | None = None) -> None:
        """Wait, at most so long, until all that was discarded is gone (for tests and an orderly end)."""
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._removing:
            thread.join(None if until is None else max(until - time.monotonic(), 0))


def spread(folder: Path) -> None:
    """Tell ext4 that the folders in this one are unrelated trees: each gets a block group of its own.

    Else all layers share one group, and making files there waits for inodes deleted in the last minutes
    (measured: 9,000 files in 0.7 s against 7 s after a removal). Other file systems refuse, and lose nothing.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))[0]
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags | FS_TOPDIR_FL))
    except OSError:
        pass
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove a file or a whole folder, never following a symlink. What cannot go stays for the next start."""
    try:
        try:
            fd = os.open(path, OPEN_DIRECTORY)
        except FileNotFoundError:
            return
        except OSError:
            os.unlink(path)
            return
        try:
            empty(fd)
        finally:
            os.close(fd)
        os.rmdir(path)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error)
