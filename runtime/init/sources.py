"""Sources of mounts that are more than a host's path: an image's layers, and a path inside a volume or image.

Who may write to a volume can put a link in a folder's place at any time, and an image may hold links to
anywhere: such a path is opened once, by openat2(2) from the tree's own root, and the mount is a copy of what
was opened.
"""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init.errors import StepError, reason
from runtime.init.mounts import Bind
from runtime.init.options import MountOptions
from runtime.init.road import Road
from runtime.init.rootfs import OverlayRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.spec import Overlay

_EXDEV = 18
_RESOLVE = s.RESOLVE_IN_ROOT | s.RESOLVE_NO_MAGICLINKS


def open_below(root: int, path: str) -> int:
    """O_PATH fd of `path` in the tree of `root`; links inside are followed. Raises StepError."""
    try:
        return s.openat2(root, path, s.O_PATH, s.RESOLVE_BENEATH | s.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == _EXDEV:
            text = f"path concatenation escapes the base directory, subpath: {path}"
            raise StepError(text) from None
        raise StepError(f"cannot access path {path}: {reason(error)}") from None


def layers_tree(lower: list[str], subpath: str, place: str) -> int:
    """A detached read-only mount of an image's layers (absolute, top first), or of a path inside of them.

    place: a folder that is covered for the moment; the caller has a mount namespace of its own, where
    nothing is told to the host's. Changes the working folder. Raises OSError, StepError.
    """
    road = Road(place, None, None)
    OverlayRoot({"lower": lower}).run(road)
    try:
        if not subpath:
            return s.open_tree(road.root, b"")
        below = open_below(road.root, subpath)
        try:
            return s.open_tree(below, b"")
        finally:
            os.close(below)
    finally:
        os.close(road.root)
        s.umount(place, s.MNT_DETACH)


class ImageMount(Bind):
    """An image's files on a container path, without writing (API: Mount of type `image`)."""

    __slots__ = ("lower", "subpath")

    def __init__(
        self, source: str, destination: str, options: MountOptions, lower: list[str], subpath: str
    ) -> None:
        super().__init__(source, destination, options)
        self.lower = lower
        self.subpath = subpath

    def describe(self) -> str:
        below = f"/{self.subpath}" if self.subpath else ""
        return f"image {self.source}{below} on {self.destination}"

    def open_source(self, road: Road, flags: int) -> int:
        tree = layers_tree(self.lower, self.subpath, road.rootfs)
        s.mount_setattr(tree, set=s.MOUNT_ATTR_RDONLY)
        return tree


class TreeMount(Bind):
    """Files of a tree, or a path inside of it, on a container path: mounts of type `tree`, which is ours.

    The tree is a folder of the host (`flat`), or layers (`lower`, top first) with or without something to
    write to (`upper`, `work`). The path is looked up as if the tree were the root: links in it lead nowhere
    else, neither to the host (CVE-2024-1753) nor to another container's files (CVE-2024-9407).
    """

    __slots__ = ("subpath", "tree_plan")

    def __init__(
        self, source: str, destination: str, options: MountOptions, plan: Overlay, subpath: str
    ) -> None:
        super().__init__(source, destination, options)
        self.tree_plan = plan
        self.subpath = subpath

    def describe(self) -> str:
        return f"{self.subpath or '/'} of the tree {self.source} on {self.destination}"

    def open_source(self, road: Road, flags: int) -> int:
        if "flat" in self.tree_plan:
            root = os.open(self.tree_plan["flat"], s.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return self._below(root, flags)
        place = Road(road.rootfs, None, None)
        OverlayRoot(self.tree_plan).run(place)
        try:
            return self._below(place.root, s.OPEN_TREE_CLONE)
        finally:
            s.umount(road.rootfs, s.MNT_DETACH)

    def _below(self, root: int, flags: int) -> int:
        try:
            try:
                below = s.openat2(root, self.subpath or ".", s.O_PATH, _RESOLVE)
            except OSError as error:
                raise StepError(f"open /{self.subpath}: {reason(error)}") from None
            try:
                return s.open_tree(below, b"", flags)
            finally:
                os.close(below)
        finally:
            os.close(root)
