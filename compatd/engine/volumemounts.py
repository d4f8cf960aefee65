"""Volumes with options of the local driver: one mount each, on the volume's folder, while somebody uses it.

So all containers of a tmpfs volume see the same files, and nothing stays mounted after the last of them. What
a killed daemon leaves is either taken over with the containers that use it, or taken away by `sweep`.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from compatd.engine.errors import EngineError
from runtime import syscalls

Json = dict[str, Any]


class _Runtime(Protocol):
    async def worker(self, function: str, arguments: Json, fds: Any = ...) -> Any: ...


class VolumeMounts:
    """Which volumes are mounted, and for whom; to be used from the event loop."""

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime
        self._users: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @staticmethod
    def needed(volume: Json) -> bool:
        """Whether the volume (API: Volume) is more than a folder."""
        options = volume.get("Options") or {}
        return volume.get("Driver") == "local" and bool(options.get("type") or options.get("device"))

    def held(self, name: str) -> bool:
        """Whether somebody uses the volume's mount."""
        return bool(self._users.get(name))

    async def hold(self, volume: Json, user: str) -> None:
        """Mount the volume if it is not, and keep it mounted for that user (a container's ID, say).

        Raises EngineError `error while mounting volume '…': …`; then the user holds nothing.
        """
        if not self.needed(volume):
            return
        name, folder = volume["Name"], volume["Mountpoint"]
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not self._users.get(name):
                options = volume.get("Options") or {}
                arguments = {key: options.get(key) or "" for key in ("type", "device", "o")}
                answer = await self._runtime.worker(
                    "runtime.storage.volumemount:run", {**arguments, "path": folder}
                )
                if answer.get("error"):
                    raise EngineError(f"error while mounting volume '{folder}': {answer['error']}")
            self._users.setdefault(name, set()).add(user)

    def adopt(self, volume: Json, user: str) -> None:
        """A container runs that has mounted the volume in another daemon's time."""
        if self.needed(volume):
            self._users.setdefault(volume["Name"], set()).add(user)

    async def drop(self, volume: Json, user: str) -> None:
        """The user needs it no longer; after the last one it is unmounted. Who never held it is no error."""
        if not self.needed(volume):
            return
        name = volume["Name"]
        async with self._locks.setdefault(name, asyncio.Lock()):
            users = self._users.get(name, set())
            users.discard(user)
            if not users:
                self._users.pop(name, None)
                unmount(volume["Mountpoint"])
        if name not in self._users and not self._locks[name].locked():
            del self._locks[name]

    def sweep(self, volumes: list[Json]) -> None:
        """At a start, after every `adopt`: unmount what nobody holds."""
        for volume in volumes:
            if self.needed(volume) and not self._users.get(volume["Name"]):
                unmount(volume["Mountpoint"])


def real_folder(folder: str) -> str:
    """The path without links up to its parent: what is mounted on the folder may hang, and is not asked."""
    path = Path(folder)
    return str(Path(os.path.realpath(path.parent), path.name))


def unmount(folder: str) -> None:
    """Take off all that is mounted on a volume's folder. Never raises."""
    if Path(folder).name != "_data":
        return
    real = real_folder(folder)
    with contextlib.suppress(OSError):
        while True:  # EINVAL: nothing is mounted there
            syscalls.umount(real, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
