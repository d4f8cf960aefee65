"""Volumes of the local driver: a folder each, below `<data-root>/volumes` (API: Volume).

Options of the driver (`type`, `device`, `o`) are kept with the volume; `volumemounts` mounts such a volume on
its folder while somebody uses it.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from compatd.engine.foldersize import folder_size
from compatd.engine.timestamps import rfc3339
from compatd.engine.volumemounts import VolumeMounts, real_folder, unmount
from compatd.engine.volumes_filters import ANONYMOUS, LISTS, PRUNES, Filters, check, matcher, prune_labels
from compatd.engine.volumes_options import check_name, check_options
from runtime.storage.base import Storage, remove
from runtime.storage.quota import Quotas
from runtime.storage.volumemount import is_mounted, volume_folders

Json = dict[str, Any]
logger = logging.getLogger(__name__)

_GONE = ".gone-"
"""Begins the name of a folder that is being removed; no volume's name begins so."""


class _Config(Protocol):
    @property
    def data_root(self) -> str: ...


class _Store(Protocol):
    @property
    def volumes(self) -> Any: ...


class _Events(Protocol):
    def emit(
        self, kind: str, action: str, actor: str, attributes: dict[str, str], scope: str = ...
    ) -> Any: ...


class Volumes:
    """All volumes, and which containers refer to which; to be used from the event loop."""

    def __init__(self, config: _Config, store: _Store, events: _Events) -> None:
        self._root = Path(config.data_root) / "volumes"
        self._tmp = Path(config.data_root) / "compatd" / "tmp"  # emptied at start by the storage
        self._table = store.volumes
        self._events = events
        self._volumes: dict[str, Json] = dict(self._table.all())
        self._users: dict[str, set[str]] = {}
        self._pruning = False
        self.mounts: VolumeMounts | None = None  # set by containers: who has a volume with options mounted
        self.quotas: Quotas | None = None
        self._look_around()

    def _look_around(self) -> None:
        """End removals that a killed daemon has begun; folders that nobody knows are volumes, too.

        (As in dockerd: a backup put back by hand, or what was made just before the daemon was killed.)
        """
        for entry in sorted(os.scandir(self._root), key=lambda e: e.name) if self._root.is_dir() else ():
            if entry.name.startswith(_GONE):
                _remove_behind(entry.path)
            elif entry.name not in self._volumes and entry.is_dir(follow_symlinks=False):
                options = Path(entry.path, "opts.json")  # another engine's, which knows what to mount there
                if Path(entry.path, "_data").is_dir() and not options.exists():
                    self._add(entry.name, None, None, entry.stat().st_ctime_ns)

    def open(self, storage: Storage) -> None:
        """Whether volumes can be limited; with the storage's quotas when both are on one file system.

        For then they share the numbers of projects, too. Call it after the storage has been opened.
        """
        if self._root.stat().st_dev == storage.rw.stat().st_dev:
            self.quotas = storage.quotas
            return
        with contextlib.suppress(OSError):
            self.quotas = Quotas(self._root, [Path(folder) for folder in volume_folders(str(self._root))])

    def create(
        self,
        name: str = "",
        driver: str = "",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Json:
        """Make a volume, or give the one that exists with that name (no name: a new one with a random name).

        Raises InvalidParameter for a bad name or option, NotFound for an unknown driver.
        """
        if not name:
            name, labels = secrets.token_hex(32), {**(labels or {}), ANONYMOUS: ""}
        if driver not in ("", "local"):
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        if name in self._volumes:
            return self._volumes[name]
        try:
            check_name(name)
            size = check_options(options or {}, quotas=self.quotas is not None)
        except InvalidParameter as error:
            raise InvalidParameter(f"create {name}: {error.message}") from None
        data = self._root / name / "_data"
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        data.chmod(0o755)
        data.parent.chmod(0o701)
        if size and self.quotas:
            try:
                self.quotas.limit(data, size)
            except OSError as error:
                self._discard(data.parent)
                raise EngineError(f"create {name}: failed to set quota limit: {error.strerror}") from None
        document = self._add(name, options, labels, time.time_ns())
        self._events.emit("volume", "create", name, {"driver": "local"})
        return document

    def _add(self, name: str, options: dict[str, str] | None, labels: dict[str, str] | None, at: int) -> Json:
        document: Json = {
            "CreatedAt": rfc3339(at // 1_000_000_000 * 1_000_000_000),
            "Driver": "local",
            "Labels": labels,
            "Mountpoint": str(self._root / name / "_data"),
            "Name": name,
            "Options": options,
            "Scope": "local",
        }
        self._table.put(name, document)
        self._volumes[name] = document
        return document

    def get(self, name: str) -> Json:
        """The volume (API: Volume). Raises NotFound."""
        if name not in self._volumes:
            raise NotFound(f"get {name}: no such volume")
        return self._volumes[name]

    def find_all(self, filters: Filters | None = None) -> list[Json]:
        """Volumes that pass the filters. Raises InvalidParameter for an unknown filter."""
        filters = filters or {}
        check(filters, LISTS)
        matches = matcher(filters, self._in_use)
        return [volume for volume in self._volumes.values() if matches(volume)]

    def _in_use(self, name: str) -> bool:
        return bool(self._users.get(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its files. Raises NotFound, or Conflict while a container refers to it.

        force: a volume that is not there is no error.
        """
        if name not in self._volumes:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        users = self._users.get(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(users))}]")
        self._take_off(self._volumes[name])
        self._table.delete(name)
        del self._volumes[name]
        self._discard(self._root / name)
        self._events.emit("volume", "destroy", name, {"driver": "local"})

    def _take_off(self, volume: Json) -> None:
        """Nothing may be mounted on the folder when its files are removed: they are somebody else's."""
        if not VolumeMounts.needed(volume):
            return
        name, folder = volume["Name"], volume["Mountpoint"]
        if self.mounts and self.mounts.held(name):
            raise EngineError(f"remove {name}: volume has active mounts")
        unmount(folder)
        if is_mounted(real_folder(folder)):
            raise EngineError(f"remove {name}: {folder}: device or resource busy")

    def _discard(self, folder: Path) -> None:
        """Remove a folder in the background, however much a container has put there, and however deep."""
        unique = secrets.token_hex(8)  # the volumes may be on a file system of their own
        for target in (self._tmp / f"gone-{unique}", self._root / f"{_GONE}{unique}"):
            try:
                folder.rename(target)
            except OSError:
                continue
            _remove_behind(str(target))
            return
        if folder.exists():
            logger.warning("cannot remove %s", folder)

    async def prune(self, filters: Filters, *, named_too: bool = False) -> Json:
        """Remove what no container refers to (API: VolumePruneReport): anonymous volumes, or all.

        named_too: for clients older than 1.42 all are meant. Volumes with options stay.
        Raises InvalidParameter for filters, Conflict while another prune runs.
        """
        if self._pruning:
            raise Conflict("a prune operation is already running")
        self._pruning = True
        try:
            labels = prune_labels(filters, named_too=named_too)
            check(filters, PRUNES)
            wanted = {**filters, "label": labels, "dangling": ["true"]}
            matches = matcher(wanted, self._in_use)
            deleted, reclaimed = [], 0
            for volume in [v for v in self._volumes.values() if not v["Options"] and matches(v)]:
                size = await asyncio.to_thread(folder_size, volume["Mountpoint"])
                try:
                    self.remove(volume["Name"])
                except EngineError as error:  # in use, or removed, since
                    logger.warning("could not remove volume %s: %s", volume["Name"], error.message)
                    continue
                reclaimed += size
                deleted.append(volume["Name"])
        finally:
            self._pruning = False
        self._events.emit("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    def reference(self, name: str, container_id: str) -> None:
        """Note that a container uses the volume."""
        self._users.setdefault(name, set()).add(container_id)

    def release(self, name: str, container_id: str) -> None:
        """Forget what `reference` noted; unknown ones are no error."""
        users = self._users.get(name)
        if users:
            users.discard(container_id)
            if not users:
                del self._users[name]

    def users(self, name: str) -> set[str]:
        """The IDs of the containers that refer to the volume."""
        return set(self._users.get(name, ()))


def _remove_behind(path: str) -> None:
    threading.Thread(target=remove, args=(path,), name="remove", daemon=True).start()
