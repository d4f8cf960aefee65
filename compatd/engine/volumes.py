"""Volumes of the local driver: a folder each, below `<data-root>/volumes` (API: Volume).

Options of the driver (`type`, `device`, `o`) are kept with the volume; such a volume is mounted by the
container's own start.
"""

import re
import secrets
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from compatd.engine.errors import Conflict, InvalidParameter, NotFound
from compatd.engine.timestamps import rfc3339
from runtime.storage.base import remove

Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_OPTIONS = frozenset({"type", "o", "device", "size"})
ANONYMOUS = "com.docker.volume.anonymous"
FILTERS = frozenset({"dangling", "driver", "label", "name"})


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
        anonymous = not name
        name = name or secrets.token_hex(32)
        if driver not in ("", "local"):
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        if name in self._volumes:
            return self._volumes[name]
        try:
            _check_name(name)
            _check_options(options or {})
        except InvalidParameter as error:
            raise InvalidParameter(f"create {name}: {error.message}") from None
        data = self._root / name / "_data"
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        data.chmod(0o755)
        data.parent.chmod(0o701)
        document: Json = {
            "CreatedAt": rfc3339(time.time_ns() // 1_000_000_000 * 1_000_000_000),
            "Driver": "local",
            "Labels": {ANONYMOUS: "", **(labels or {})} if anonymous else labels or None,
            "Mountpoint": str(data),
            "Name": name,
            "Options": options or None,
            "Scope": "local",
        }
        self._table.put(name, document)
        self._volumes[name] = document
        self._events.emit("volume", "create", name, {"driver": "local"})
        return document

    def get(self, name: str) -> Json:
        """The volume (API: Volume). Raises NotFound."""
        if name not in self._volumes:
            raise NotFound(f"get {name}: no such volume")
        return self._volumes[name]

    def find_all(self, filters: dict[str, list[str]] | None = None) -> list[Json]:
        """Volumes that pass the filters. Raises InvalidParameter for an unknown filter."""
        filters = filters or {}
        for name in filters:
            if name not in FILTERS:
                raise InvalidParameter(f"invalid filter '{name}'")
        return [volume for volume in self._volumes.values() if self._matches(volume, filters)]

    def _matches(self, volume: Json, filters: dict[str, list[str]]) -> bool:
        name = volume["Name"]
        if filters.get("name") and not any(re.search(value, name) for value in filters["name"]):
            return False
        if filters.get("driver") and volume["Driver"] not in filters["driver"]:
            return False
        labels = volume["Labels"] or {}
        for wanted in filters.get("label") or []:
            key, equals, value = wanted.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        dangling = filters.get("dangling")
        if dangling:
            values = {value in ("1", "true") for value in dangling}
            if len(values) > 1 or not set(dangling) <= {"0", "1", "true", "false"}:
                raise InvalidParameter(f"invalid filter 'dangling={dangling}'")
            return values == {not self._users.get(name)}
        return True

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its files. Raises NotFound, or Conflict while a container refers to it."""
        if name not in self._volumes:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        users = self._users.get(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(users))}]")
        self._table.delete(name)
        del self._volumes[name]
        _discard(self._root / name, self._tmp)
        self._events.emit("volume", "destroy", name, {"driver": "local"})

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


def _discard(folder: Path, tmp: Path) -> None:
    """Remove a folder in the background, however much a container has put there, and however deep."""
    doomed = tmp / f"gone-{secrets.token_hex(8)}"
    try:
        folder.rename(doomed)
    except OSError:  # another file system
        remove(str(folder))
        return
    threading.Thread(target=remove, args=(str(doomed),), name="remove", daemon=True).start()


def _check_name(name: str) -> None:
    if len(name) == 1:
        raise InvalidParameter(
            "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.match(name):
        raise InvalidParameter(
            f'"{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )


def _check_options(options: dict[str, str]) -> None:
    for option in options:
        if option not in _OPTIONS:
            raise InvalidParameter(f'invalid option: "{option}"')
    if "size" in options:
        raise InvalidParameter("quota size requested but no quota support")
    if "type" in options and "device" not in options:
        raise InvalidParameter('missing required option: "device"')
    for needed in ("device", "type"):
        if "o" in options and needed not in options:
            raise InvalidParameter(f'missing required option: "{needed}"')
