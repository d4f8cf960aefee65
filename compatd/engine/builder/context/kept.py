"""Folders of local sources that stay between builds, so that clients send only what has changed.

`<root>/build/<hash of the key>-<n>/`: `data`, `index`, and `used`, a JSON of when it was used. One build at a
time has a folder; another one with the same key gets a second one, as in BuildKit.
"""

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from compatd.engine.builder.context.folder import Context
from compatd.engine.errors import EngineError

FOLDER = "build"
_MAX_SAME = 64


@dataclass(frozen=True, slots=True)
class Record:
    """A kept folder: for `docker system df` and prune. Times are ns since 1970."""

    id: str
    name: str
    created: int
    used: int
    uses: int
    size: int
    in_use: bool


class Kept:
    """All of them; `taken` are those in use."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._root: Path = storage.root / FOLDER
        self._taken: set[str] = set()
        self._spoilt: set[str] = set()

    async def take(self, name: str, shared_key: str) -> Context:
        """The folder of that key that nobody has, as its last user left it, or an empty one.

        Raises EngineError.
        """
        prefix = hashlib.sha256(f"{name}\0{shared_key}".encode("utf-8", "surrogateescape")).hexdigest()[:40]
        for number in range(_MAX_SAME):
            identity = f"{prefix}-{number}"
            if identity not in self._taken:
                break
        else:
            raise EngineError(f"too many builds of the same folder at a time ({_MAX_SAME})")
        self._taken.add(identity)
        folder = self._root / identity
        try:
            await asyncio.to_thread(_prepare, folder, name)
        except OSError as error:
            self._taken.discard(identity)
            raise EngineError(f"cannot make a build context: {error}") from error
        return Context(folder, self._back)

    def spoil(self, context: Context) -> None:
        """What is in it is half of something: it goes when it is closed."""
        self._spoilt.add(context.folder.name)

    def _back(self, folder: Path) -> None:
        self._taken.discard(folder.name)
        if folder.name in self._spoilt:
            self._spoilt.discard(folder.name)
            self._storage.discard(folder)

    def records(self) -> list[Record]:
        """What is kept, with sizes. Blocking: for a thread."""
        found = []
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            try:
                told = orjson.loads((folder / "used").read_bytes())
            except (OSError, ValueError):
                continue
            size, taken = _size(folder / "data"), folder.name in self._taken
            times = (told["created"], told["used"], told["uses"])
            found.append(Record(folder.name, told["name"], *times, size, taken))
        return found

    def remove(self, identity: str) -> bool:
        """Take one away; not one that is in use."""
        folder = self._root / identity
        if identity in self._taken or "/" in identity or not folder.is_dir():
            return False
        self._storage.discard(folder)
        return True


def _prepare(folder: Path, name: str) -> None:
    used = folder / "used"
    now = time.time_ns()
    told: dict[str, Any] = {"name": name, "created": now, "used": now, "uses": 0}
    if (folder / "data").is_dir():
        try:
            told = {**told, **orjson.loads(used.read_bytes())}
        except (OSError, ValueError):
            pass
    else:
        folder.parent.mkdir(mode=0o710, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "data").mkdir(mode=0o755)
        (folder / "data").chmod(0o755)
    told |= {"used": now, "uses": told["uses"] + 1}
    new = folder / "used.new"
    new.write_bytes(orjson.dumps(told))
    new.replace(used)


def _size(folder: Path) -> int:
    """Bytes on disk of all files below, hard links once."""
    total = 0
    seen: set[int] = set()
    for _, _, files, fd in os.fwalk(folder):
        for name in files:
            try:
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_blocks * 512
    return total
