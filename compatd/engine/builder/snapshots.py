"""Writable roots on top of layers, without containers; what is written there becomes a layer in place.

A snapshot is the same below `rw/` as a container's changes, so that the shim mounts it alike. Of an
overlay the upper folder itself becomes the layer: a worker walks it once (`runtime.storage.sealing`), and it
is renamed.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images import Images
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Layer
from runtime.client.types import WorkerError
from runtime.storage.base import LAYER_MODE, Storage
from runtime.storage.recipe import empty_recipe
from runtime.storage.sealing import remove_work

Json = dict[str, Any]

SEAL = "runtime.storage.sealing:seal"
EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The diff ID of a layer without anything: a tar's two zero blocks."""

_EMPTY_RESULT: Json = {
    "diff_id": EMPTY, "digest": EMPTY, "size": 1024, "plain_size": 1024, "compression": "", "layer_size": 0,
}  # fmt: skip


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
    """Makes and takes away snapshots. The next start removes what a killed daemon leaves, as a
    container's.
    """

    def __init__(self, images: Images, storage: Storage, runtime: Any) -> None:
        self._images, self._storage, self._runtime = images, storage, runtime

    async def create(self, chain_ids: Sequence[str]) -> Snapshot:
        """A new writable root on these layers (none: empty), pinned by the caller. Raises EngineError."""
        snapshot = Snapshot(new_id(), tuple(chain_ids))
        try:
            self._storage.create_rw(snapshot.id)
            work = self._storage.fill_work(snapshot.id, list(chain_ids))
            if work:
                await self._work(*work)
        except BaseException as error:
            self.discard(snapshot)
            if isinstance(error, OSError):
                raise EngineError(f"cannot make a snapshot: {error}") from error
            raise
        return snapshot

    def root_plan(self, snapshot: Snapshot) -> Json:
        """`shim.json`'s "root" for what runs in it: with Docker's mount points, as in a container."""
        plan = self._storage.root_plan(snapshot.id, list(snapshot.chain_ids))
        if not snapshot.chain_ids:  # there is nothing to lay it over
            plan["overlay"] = {"lower": [], "flat": str(self._diff(snapshot))}
        return plan

    def view(self, snapshot: Snapshot) -> Json:
        """How a worker reads and writes it, as `root_plan`'s "overlay" but without Docker's mount points."""
        if self._storage.is_flat(snapshot.id) or not snapshot.chain_ids:
            return {"lower": [], "flat": str(self._diff(snapshot))}
        lower = [str(path) for path in self._storage.image_lower(list(snapshot.chain_ids))]
        work = self._storage.rw / snapshot.id / "work"
        return {"lower": lower, "upper": str(self._diff(snapshot)), "work": str(work)}

    async def tree_lower(self, tree: LayerTree) -> list[str]:
        """The folders, top first, to mount (or, if it is but one, to read) for these layers alone."""
        chain_ids = list(tree.chain_ids)
        work = self._storage.image_work(chain_ids)
        if work:
            try:
                await self._work(*work)
            finally:
                self._storage.discard(Path(work[1]["scratch"]))
        return [str(path) for path in self._storage.image_lower(chain_ids)]

    async def commit(
        self, snapshot: Snapshot, pins: Pins, *, parent: str | None = None, keep_empty: bool = True
    ) -> Layer | None:
        """Make a layer of what was written on top of `parent` (None: what it stands on); the snapshot is
        gone.

        None when nothing was written, unless `keep_empty`. Raises EngineError.
        """
        if parent is None:
            parent = snapshot.chain_ids[-1] if snapshot.chain_ids else ""
        folder = self._storage.rw / snapshot.id
        try:
            if self._storage.is_flat(snapshot.id) or self._limited:
                work = self._storage.layer_work(snapshot.id)
                layer = await self._images.layers.from_worker(*work, pins, parent=parent)
                return layer if keep_empty or layer.diff_id != EMPTY else None
            result = await self.seal(folder)
            if (folder / "work").exists():
                self._storage.discard(folder / "work")
            if result["diff_id"] == EMPTY and not keep_empty:
                return None
            return self._images.layers.from_folder(folder, parent, result, pins)
        finally:
            self.discard(snapshot)

    @property
    def _limited(self) -> bool:
        """Folders with a limit of their own cannot be moved to where there is none."""
        return bool(self._storage.quotas is not None and self._storage.size)

    async def seal(self, folder: Path) -> Json:
        """Make the folder `diff` in this one whole as a layer: what `Layers.from_folder` takes. Raises
        EngineError.
        """
        with os.scandir(folder / "diff") as found:
            empty = next(found, None) is None
        if empty:
            (folder / "diff").chmod(LAYER_MODE)
            (folder / "recipe").write_bytes(empty_recipe())
            remove_work(str(folder))
            return _EMPTY_RESULT
        return await self._work(SEAL, {"layer": str(folder)})

    async def _work(self, function: str, arguments: Json) -> Json:
        try:
            answer: Json = await self._runtime.worker(function, arguments)
        except WorkerError as error:
            raise EngineError(str(error)) from error
        if answer.get("error"):
            raise EngineError(answer["error"])
        return answer

    def _diff(self, snapshot: Snapshot) -> Path:
        return self._storage.rw / snapshot.id / "diff"

    def discard(self, snapshot: Snapshot) -> None:
        """Take it away; one that is gone already is no error."""
        self._storage.remove_rw(snapshot.id)


def new_id() -> str:
    """64 random hex digits."""
    return secrets.token_hex(32)
