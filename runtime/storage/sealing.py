"""The worker that makes a layer of an overlay's upper folder in place: `runtime.storage.sealing:seal`.

The folder stays as it is and is only read: the tar that it would make is hashed, and its headers become the
layer's recipe (see `recipe`). What no tar holds is taken away, so that the layer is the same wherever it
goes.
"""

from __future__ import annotations

import hashlib
import os
import stat

from runtime.storage.changes import shut_in
from runtime.storage.memory import keep_freed
from runtime.storage.packer import PIECE, Output, Packer
from runtime.storage.recipe import Writer
from runtime.storage.tarwriter import END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LAYER_MODE = 0o755


class Hashing(Output):
    """Takes the tar, keeps its digest, and writes the recipe."""

    def __init__(self, recipe: Writer) -> None:
        super().__init__(-1)
        self._recipe = recipe
        self._digest = hashlib.sha256()
        self.size = 0
        self.path = b""  # of the file whose data come next

    def write(self, data: bytes) -> None:
        """Bytes that are no file's data."""
        self._digest.update(data)
        self._recipe.literal(data)
        self.size += len(data)

    def copy(self, file: int, size: int) -> None:
        """A file's data. Raises OSError when they are not all there: nobody may be writing any more."""
        left = size
        while left:
            data = os.read(file, min(left, PIECE))
            if not data:
                raise OSError(5, "a file changed while its layer was made", os.fsdecode(self.path))
            self._digest.update(data)
            left -= len(data)
        if size:
            self._recipe.payload(self.path, 0, size)
        self.size += size

    def end(self) -> None:
        """The two zero blocks."""
        self.write(END)

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return f"sha256:{self._digest.hexdigest()}"


class Sealer(Packer):
    """Counts what a layer's size is, and removes what no archive holds: sockets."""

    def __init__(self, out: Hashing) -> None:
        super().__init__(out, whiteouts=True)
        self.sealed = out
        self.bytes = 0

    def _one(self, parent: int, name: bytes, shown: bytes) -> int | None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISSOCK(info.st_mode):
            os.unlink(name, dir_fd=parent)
            return None
        if stat.S_ISLNK(info.st_mode) or stat.S_ISREG(info.st_mode):
            first = info.st_nlink < 2 or (info.st_dev, info.st_ino) not in self._links
            self.bytes += info.st_size if first else 0
        self.sealed.path = shown
        return super()._one(parent, name, shown)


def seal(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Hash the folder `diff` of "layer" and write `recipe` beside it; overlay's `work` is taken away.

    Answer: as `untar:apply`'s, "entries" 0 for an empty layer; or {"error": text, "errno"}.
    """
    keep_freed()
    try:
        layer = os.open(arguments["layer"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        remove_work(arguments["layer"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        recipe = Writer(os.open("recipe", flags, 0o600, dir_fd=layer))
        folder = shut_in(os.path.join(arguments["layer"], "diff"))
        os.fchown(folder, 0, 0)
        os.fchmod(folder, LAYER_MODE)
        out = Hashing(recipe)
        sealer = Sealer(out)
        sealer.below(folder, b"")
        out.end()
        recipe.finish()
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {
        "diff_id": out.digest, "digest": out.digest, "size": out.size, "plain_size": out.size,
        "compression": "", "layer_size": sealer.bytes, "entries": sealer.count,
    }  # fmt: skip


def remove_work(layer: str) -> None:
    """Overlay's scratch folder is empty once nothing is mounted; else it stays for whoever removes the
    layer.
    """
    for path in ("work/work", "work"):
        try:
            os.rmdir(os.path.join(layer, path))
        except OSError:
            pass
