"""Writable roots on top of layers, without containers; what is written there becomes a layer in place.

A snapshot is the same below `rw/` as a container's changes, so that the shim mounts it alike. Of an
overlay the upper folder itself becomes the layer: a worker walks it once (`runtime.storage.sealing`), and it
is renamed.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compatd.engine.images import Images
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Layer
from runtime.storage.base import Storage

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Folder:
    """A tree of files that is a folder of the host: a context. What is read must never lead out of it."""

    path: Path


@dataclass(frozen=True, slots=True)
class LayerTree:
    """A tree of files that is layers, base first: an image, or what a stage came to."""

    chain_ids: tuple[str, ...]


Tree = Folder | LayerTree
"""What COPY takes files from, and what bind mounts read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A writable root; `id` is 64 hex digits, as a container's."""

    id: str
    chain_ids: tuple[str, ...]


class Snapshots:
    """Makes and takes away snapshots. What a killed daemon leaves is removed at its next start (`sweep`)."""

    def __init__(self, images: Images, storage: Storage, runtime: Any) -> None:
        self._images, self._storage, self._runtime = images, storage, runtime

    async def create(self, chain_ids: Sequence[str]) -> Snapshot:
        """A new writable root on these layers (none: empty), pinned by the caller. Raises EngineError."""
        raise NotImplementedError

    def root_plan(self, snapshot: Snapshot) -> Json:
        """`shim.json`'s "root" for what runs in it: with Docker's mount points, as in a container."""
        return self._storage.root_plan(snapshot.id, list(snapshot.chain_ids))

    def view(self, snapshot: Snapshot) -> Json:
        """How a worker reads and writes it: {"lower": [top first], "upper", "work"} to mount an overlay of
        (with no lower folders `upper` itself is the root), or {"flat"}: the root itself.
        """
        raise NotImplementedError

    async def tree_lower(self, tree: LayerTree) -> list[str]:
        """The folders, top first, to mount (or, if it is but one, to read) for these layers alone."""
        raise NotImplementedError

    async def commit(self, snapshot: Snapshot, pins: Pins) -> Layer | None:
        """Make a layer of what was written (None: nothing was); the snapshot is gone. Raises EngineError."""
        raise NotImplementedError

    def discard(self, snapshot: Snapshot) -> None:
        """Take it away; one that is gone already is no error."""
        self._storage.remove_rw(snapshot.id)


def new_id() -> str:
    """64 random hex digits."""
    return secrets.token_hex(32)
