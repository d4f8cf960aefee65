"""The worker that unpacks one layer: `runtime.storage.untar:apply`.

It runs in a process of its own, chrooted into the layer's folder. Everything it needs is imported and
looked up before the chroot; from there on only system calls on bytes.
"""

from __future__ import annotations

import os
import stat

from runtime.storage import tarheader as tar
from runtime.storage.memory import keep_freed
from runtime.storage.recipe import Writer
from runtime.storage.tarheader import Entry, TarError
from runtime.storage.tarreader import Reader, Source
from runtime.storage.tarstream import LayerStream
from runtime.storage.tree import Breakout, Tree, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_SPECIAL = 0o7000


class Unpacker:
    """Members to files, by the rules of an overlay's lower folder."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.size = 0  # bytes of files and links, as dockerd counts a layer's size
        self.count = 0
        self._directories: dict[bytes, tuple[int, int, int]] = {}
        self._setgid = False

    def put(self, entry: Entry, reader: Reader) -> None:
        """Place one member. Raises TarError, Breakout, OSError."""
        path = clean(entry.name)
        self.count += 1
        if not path:
            reader.skip_data(entry)  # the root's own attributes are not the layer's, as in dockerd
            return
        base = path[path.rfind(b"/") + 1 :]
        if base.startswith(WHITEOUT):
            reader.skip_data(entry)
            self._whiteout(path, base, entry)
            return
        self._make(path, entry, reader)

    def _make(self, path: bytes, entry: Entry, reader: Reader) -> None:
        kind = entry.type
        if kind == tar.REGULAR:
            self._file(path, entry, reader)
            return
        if kind == tar.DIRECTORY:
            self._folder(path, entry)
        elif kind == tar.HARDLINK:
            self._hardlink(path, entry)
        elif kind == tar.SYMLINK:
            self._symlink(path, entry)
        elif kind in (tar.CHARACTER, tar.BLOCK_DEVICE, tar.FIFO):
            self._node(path, entry)
        else:
            raise TarError(f"unhandled tar header type {kind[0]}")
        reader.skip_data(entry)

    def _file(self, path: bytes, entry: Entry, reader: Reader) -> None:
        parent, name = self.tree.parent(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, entry.mode & 0o777, dir_fd=parent)
        except FileExistsError:
            self.tree.remove(path)
            parent, name = self.tree.parent(path)
            fd = os.open(name, flags, entry.mode & 0o777, dir_fd=parent)
        try:
            # A file reached through a link may be elsewhere when it is looked for again
            reader.write_data(entry, b"" if self.tree.linked(path) else path, fd)
            if entry.uid or entry.gid or self._setgid:
                os.fchown(fd, entry.uid, entry.gid)
            if entry.mode & _SPECIAL:
                os.fchmod(fd, entry.mode)
            if entry.xattrs:
                _set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=_times(entry))
        finally:
            os.close(fd)
        self.size += entry.size

    def _folder(self, path: bytes, entry: Entry) -> None:
        parent, name = self.tree.parent(path)
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            old = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(old.st_mode):
                # Removed below and made anew in one layer: the lower folder's content must not shine through
                opaque = stat.S_ISCHR(old.st_mode) and old.st_rdev == 0
                self.tree.remove(path)
                parent, name = self.tree.parent(path)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = self.tree.directory(path)
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        if entry.mode & stat.S_ISGID:
            self._setgid = True  # new files inherit the group: say the owner of each from here on
        if opaque:
            os.setxattr(fd, b"trusted.overlay.opaque", b"y")
        if entry.xattrs:
            _set_xattrs(fd, entry.xattrs)
        self._directories[path] = (*_times(entry), entry.mode)

    def _hardlink(self, path: bytes, entry: Entry) -> None:
        target = clean(entry.link)
        if not target:
            raise Breakout
        if target == path:
            return
        try:
            self._link(target, path)
        except FileExistsError:
            self.tree.remove(path)
            self._link(target, path)
        self._same_file(path, entry)

    def _same_file(self, path: bytes, entry: Entry) -> None:
        """A hard link's own header counts for the file that it is a name of, as in dockerd."""
        parent, name = self.tree.parent(path)
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        owned = (info.st_uid, info.st_gid) != (entry.uid, entry.gid)
        if owned:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            return
        if owned or stat.S_IMODE(info.st_mode) != entry.mode:
            os.chmod(name, entry.mode, dir_fd=parent)  # no symlink, and nobody else is here
        if entry.xattrs:
            os.fchdir(parent)
            _set_xattrs(name, entry.xattrs)
        if info.st_mtime_ns != entry.mtime:
            os.utime(name, ns=_times(entry), dir_fd=parent, follow_symlinks=False)

    def _link(self, target: bytes, path: bytes) -> None:
        # Two lookups may share the one fd for folders behind links, so the first is duplicated
        source, old = self.tree.parent(target)
        source = os.dup(source)
        try:
            parent, name = self.tree.parent(path)
            os.link(old, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _symlink(self, path: bytes, entry: Entry) -> None:
        parent, name = self.tree.parent(path)
        try:
            os.symlink(entry.link, name, dir_fd=parent)
        except FileExistsError:
            self.tree.remove(path)
            parent, name = self.tree.parent(path)
            os.symlink(entry.link, name, dir_fd=parent)
        self._finish(parent, name, entry, chmod=False)
        self.size += len(entry.link)

    def _node(self, path: bytes, entry: Entry) -> None:
        kinds = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
        mode = kinds[entry.type] | (entry.mode & 0o777)
        device = 0
        if entry.type != tar.FIFO:
            if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
                raise TarError("archive/tar: invalid tar header")
            device = os.makedev(entry.major, entry.minor)
        parent, name = self.tree.parent(path)
        try:
            os.mknod(name, mode, device, dir_fd=parent)
        except FileExistsError:
            self.tree.remove(path)
            parent, name = self.tree.parent(path)
            os.mknod(name, mode, device, dir_fd=parent)
        self._finish(parent, name, entry, chmod=bool(entry.mode & _SPECIAL))

    def _finish(self, parent: int, name: bytes, entry: Entry, *, chmod: bool) -> None:
        """Owner, attributes and times of what cannot be opened."""
        if entry.uid or entry.gid or self._setgid:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if chmod:
            os.chmod(name, entry.mode, dir_fd=parent)  # just made by us, and no symlink
        if entry.xattrs:
            os.fchdir(parent)
            _set_xattrs(name, entry.xattrs)
        os.utime(name, ns=_times(entry), dir_fd=parent, follow_symlinks=False)

    def _whiteout(self, path: bytes, base: bytes, entry: Entry) -> None:
        folder = path[: len(path) - len(base)].rstrip(b"/")
        if base == OPAQUE:
            fd = self.tree.directory(folder) if folder else self.tree.root
            os.setxattr(fd, b"trusted.overlay.opaque", b"y")
            return
        if base.startswith(WHITEOUT + WHITEOUT):
            return  # aufs' own bookkeeping
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise Breakout
        parent = self.tree.directory(folder) if folder else self.tree.root
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
            if entry.uid or entry.gid:
                os.chown(hidden, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            # It hides what is below, not what this layer itself holds (OCI image layer, "Whiteouts")
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                fd = self.tree.directory((folder + b"/" + hidden).lstrip(b"/"))
                os.setxattr(fd, b"trusted.overlay.opaque", b"y")

    def finish(self) -> None:
        """Folder times (and set-group-ID bits that a chown cleared), now that nothing more is put in."""
        for path, (atime, mtime, mode) in self._directories.items():
            try:
                parent, name = self.tree.parent(path)
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # replaced meanwhile
            if not stat.S_ISDIR(found.st_mode):
                continue
            if found.st_mode & 0o7777 != mode:
                os.chmod(name, mode, dir_fd=parent)
            os.utime(name, ns=(atime, mtime), dir_fd=parent, follow_symlinks=False)


def _times(entry: Entry) -> tuple[int, int]:
    return max(entry.atime, entry.mtime), entry.mtime


def _set_xattrs(target: int | bytes, xattrs: dict[bytes, bytes]) -> None:
    for name, value in xattrs.items():
        # An image must not be able to write the overlay's own bookkeeping
        if name.startswith((b"trusted.overlay.", b"user.overlay.")):
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            # As dockerd: a file system without this kind of attributes is no reason to refuse an image
            if error.errno not in (95, 1):
                raise


class Recipe:
    """The recipe and the lost files of a layer folder, opened before anything hostile is read."""

    def __init__(self, layer: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.mkdir("lost", 0o700, dir_fd=layer)
        self._layer = layer
        self.lost = os.open("lost", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=layer)
        self._fd = os.open("recipe", flags, 0o600, dir_fd=layer)
        self.writer = Writer(self._fd)

    def close(self, *, keep: bool) -> None:
        """Finish it, or remove it when the blob is kept anyway."""
        if keep:
            self.writer.finish()
        else:
            os.unlink("recipe", dir_fd=self._layer)
        os.close(self._fd)
        os.close(self.lost)
        try:
            os.rmdir("lost", dir_fd=self._layer)
        except OSError:
            pass  # it holds something


def unpack(tree: Tree, source: Source) -> Unpacker:
    """Place all members of a tar into `tree`, and read the stream to its end. Raises as `Unpacker.put`."""
    unpacker = Unpacker(tree)
    reader = Reader(source)
    while (entry := reader.next()) is not None:
        try:
            unpacker.put(entry, reader)
        except Breakout:
            raise TarError(f'invalid path "{_shown(entry.name)}"') from None
        except OSError as error:
            text = f"/{_shown(entry.name)}: {(error.strerror or str(error)).lower()}"
            raise Failed(text, error.errno) from error
    unpacker.finish()
    source.drain()
    return unpacker


class Failed(Exception):
    """A member could not be placed: (text for the client, errno)."""


def apply(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Unpack the (compressed) tar read from `fds[0]` into the folder `diff` of `arguments["layer"]`.

    Arguments: "layer": absolute path of a folder with an empty `diff`; "hash_raw": false when the caller
    knows the compressed digest already; "plain": true for a tar that is not compressed, whatever its first
    member's name looks like; "blob": name of a new file in it for the bytes as received, when
    they come compressed and are wanted. Of a plain tar a recipe is written instead (see `recipe`).
    Answer: {"digest", "size" (as received), "diff_id", "plain_size", "compression", "layer_size" (bytes of
    files), "entries"}; or {"error": text} for an archive or a disk that is at fault.
    """
    keep_freed()
    try:
        layer = os.open(arguments["layer"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stream = LayerStream(fds[0], hash_raw=arguments.get("hash_raw", True))
        stream.open(plain=arguments.get("plain", False))
        recipe = None
        if not stream.kind:
            recipe = Recipe(layer)
        elif arguments.get("blob"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            stream.copy = os.open(arguments["blob"], flags, 0o600, dir_fd=layer)
        root = os.open("diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=layer)
        os.fchdir(root)
        os.chroot(".")
        os.umask(0)
        if recipe:
            tree = Tree(root, recipe.lost, recipe.writer.moved)
            unpacker = unpack(tree, Source(stream.chunks(), recipe.writer))
            recipe.close(keep=True)
        else:
            unpacker = unpack(Tree(root), Source(stream.chunks()))
    except Failed as error:
        return {"error": error.args[0], "errno": error.args[1]}
    except TarError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {**stream.digests(), "layer_size": unpacker.size, "entries": unpacker.count}


def _shown(name: bytes) -> str:
    return name.strip(b"/").decode("utf-8", "replace")[:300]
