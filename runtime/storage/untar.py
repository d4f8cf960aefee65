"""The worker that unpacks one layer: `runtime.storage.untar:apply`.

It runs in a process of its own, chrooted into the layer's folder. Everything it needs is imported and
looked up before the chroot; from there on only system calls on bytes.
"""

import os
import stat
from collections.abc import Iterator
from typing import Any

from runtime.storage import tarheader as tar
from runtime.storage.tarheader import BLOCK, Entry, TarError
from runtime.storage.tarstream import LayerStream
from runtime.storage.tree import Breakout, Tree, clean

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_SPECIAL = 0o7000


class Source:
    """Reads of exact lengths out of a stream of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                return True
        return False

    def take(self, count: int) -> bytes:
        """`count` bytes; fewer only at the end of the stream."""
        data = self._chunk[self._at : self._at + count]
        self._at += len(data)
        while len(data) < count and self._more():
            rest = self._chunk[: count - len(data)]
            self._at = len(rest)
            data += rest
        return data

    def write_to(self, fd: int, count: int) -> None:
        """Write the next `count` bytes to `fd`; raises TarError when the stream ends before."""
        while count:
            left = len(self._chunk) - self._at
            if not left:
                if not self._more():
                    raise TarError("unexpected EOF")
                continue
            size = min(left, count)
            view = memoryview(self._chunk)[self._at : self._at + size]
            while view:
                view = view[os.write(fd, view) :]
            self._at += size
            count -= size

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; raises TarError when the stream ends before."""
        while count:
            left = len(self._chunk) - self._at
            if not left:
                if not self._more():
                    raise TarError("unexpected EOF")
                continue
            size = min(left, count)
            self._at += size
            count -= size

    def drain(self) -> None:
        """Read what is left, so that the digests cover all of it."""
        for _ in self._chunks:
            pass


class Reader:
    """The members of a tar, extended headers applied; after each, its data must be read or skipped."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._pending = 0

    def _extended(self, entry: Entry) -> bytes:
        if not 0 <= entry.size <= tar.MAX_EXTENDED:
            raise TarError("archive/tar: header field too long")
        data = self.source.take(entry.size)
        if len(data) < entry.size:
            raise TarError("unexpected EOF")
        self.source.skip(-entry.size % BLOCK)
        return data

    def next(self) -> Entry | None:
        """The next member or None at the end. Raises TarError."""
        long_name = long_link = b""
        records: dict[bytes, bytes] = {}
        while True:
            block = self.source.take(BLOCK)
            if not block:
                return None
            if len(block) < BLOCK:
                raise TarError("unexpected EOF")
            if block == tar.ZERO_BLOCK:
                return None
            entry = tar.parse(block)
            kind = entry.type
            if kind == tar.PAX_LOCAL:
                records = tar.pax_records(self._extended(entry))
            elif kind == tar.PAX_GLOBAL:
                self._extended(entry)  # a comment, as git writes it; dockerd ignores it too
            elif kind == tar.GNU_LONG_NAME:
                long_name = self._extended(entry).rstrip(b"\0")
            elif kind == tar.GNU_LONG_LINK:
                long_link = self._extended(entry).rstrip(b"\0")
            else:
                break
        if kind == tar.GNU_SPARSE:
            self._old_sparse(entry, block)
        if long_name:
            entry.name = long_name
            if kind == tar.REGULAR and long_name.endswith(b"/"):
                entry.type, entry.stored = tar.DIRECTORY, 0
        if long_link:
            entry.link = long_link
        if records:
            tar.apply_pax(entry, records)
            if tar.wants_embedded_map(records) and entry.type == tar.REGULAR:
                self._embedded_map(entry, records)
        self._pad = -entry.stored % BLOCK
        return entry

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        real = tar.number(block[483:495])
        numbers = tar.gnu_sparse_numbers(block, 386, 4)
        more = block[482]
        while more:
            extension = self.source.take(BLOCK)
            if len(extension) < BLOCK:
                raise TarError("unexpected EOF")
            numbers += tar.gnu_sparse_numbers(extension, 0, 21)
            if len(numbers) > 2 * tar.MAX_SPARSE:
                raise TarError("archive/tar: invalid tar header")
            more = extension[504]
        entry.type = tar.REGULAR
        entry.size = real
        entry.sparse = tar.sparse_map(numbers, real)

    def _embedded_map(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        entry.size = tar.number(b"%o" % int(records.get(b"GNU.sparse.realsize", b"0") or 0))
        text = b""
        wanted = -1
        while wanted < 0 or text.count(b"\n") < 1 + 2 * wanted:
            block = self.source.take(BLOCK)
            if len(block) < BLOCK or len(text) > tar.MAX_EXTENDED:
                raise TarError("archive/tar: invalid tar header")
            text += block
            entry.stored -= BLOCK
            if wanted < 0 and b"\n" in text:
                head = text[: text.index(b"\n")]
                if not head.isdigit() or int(head) > tar.MAX_SPARSE:
                    raise TarError("archive/tar: invalid tar header")
                wanted = int(head)
        lines = text.split(b"\n")[1 : 1 + 2 * wanted]
        if entry.stored < 0 or not all(line.isdigit() for line in lines):
            raise TarError("archive/tar: invalid tar header")
        entry.sparse = tar.sparse_map([int(line) for line in lines], entry.size)

    def skip_data(self, entry: Entry) -> None:
        """Pass over the member's data."""
        self.source.skip(entry.stored + self._pad)

    def write_data(self, entry: Entry, fd: int) -> None:
        """Write the member's data to `fd`, holes left as holes, and its padding passed over."""
        if entry.sparse is None:
            if entry.stored:
                self.source.write_to(fd, entry.stored)
            if self._pad:
                self.source.skip(self._pad)
            return
        left = entry.stored
        for offset, length in entry.sparse:
            if length > left:
                raise TarError("archive/tar: sparse file references non-existent data")
            os.lseek(fd, offset, os.SEEK_SET)
            self.source.write_to(fd, length)
            left -= length
        os.ftruncate(fd, entry.size)
        self.source.skip(left + self._pad)


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
            reader.write_data(entry, fd)
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
            parent, name = self.tree.parent(path)
            try:
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                continue
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


def enter(target: str) -> Tree:
    """Make `target` this process's root, for good. Raises OSError."""
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(root)
    os.chroot(".")
    os.umask(0)
    return Tree(root)


def apply(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Unpack the (compressed) tar read from `fds[0]` into the existing folder `arguments["target"]`.

    Arguments: "target": absolute path; "copy": path of a new file for the bytes as received, or absent;
    "hash_raw": false when the caller knows the compressed digest already.
    Answer: {"digest", "size" (as received), "diff_id", "plain_size", "compression", "layer_size" (bytes of
    files), "entries"}; or {"error": text} for an archive or a disk that is at fault.
    """
    copy = -1
    if arguments.get("copy"):
        copy = os.open(arguments["copy"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    entry: Entry | None = None
    try:
        stream = LayerStream(fds[0], copy, hash_raw=arguments.get("hash_raw", True))
        stream.open()
        unpacker = Unpacker(enter(arguments["target"]))
        source = Source(stream.chunks())
        reader = Reader(source)
        while (entry := reader.next()) is not None:
            unpacker.put(entry, reader)
        unpacker.finish()
        source.drain()
        result = stream.digests()
    except Breakout:
        name = _shown(entry.name) if entry else ""
        return {"error": f'invalid path "{name}" is outside of the layer'}
    except TarError as error:
        return {"error": str(error)}
    except OSError as error:
        name = _shown(entry.name) if entry else ""
        return {"error": f"/{name}: {(error.strerror or str(error)).lower()}", "errno": error.errno}
    result["layer_size"] = unpacker.size
    result["entries"] = unpacker.count
    return result


def _shown(name: bytes) -> str:
    return name.strip(b"/").decode("utf-8", "replace")[:300]
