"""The worker that takes a tree from a client's session: `runtime.storage.diffcopy:receive`.

The client tells every entry in order; what is there already and looks the same stays, the rest is made anew,
and files' content is asked for. Source: tonistiigi/fsutil receive, diskwriter, diff, validator (rules,
texts). All is done chrooted, by directory fds, and no link is followed.
"""

from __future__ import annotations

import hashlib
import os
import stat

from runtime import syscalls
from runtime.storage import fsutilwire as wire
from runtime.storage.archive import go_mode
from runtime.storage.buildcopy import unlimited
from runtime.storage.buildindex import Hashing, Index
from runtime.storage.buildpaths import reason, shown
from runtime.storage.memory import keep_freed
from runtime.storage.tarstream import load_thread_end
from runtime.storage.tree import OPEN_DIRECTORY, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

MAX_ENTRIES = 1_000_000
_MAX_OPEN = 256  # files whose content comes at the same time; clients send four
_MAX_PACKET = 16 << 20
_TOGETHER = 1 << 17
_FLUSH = 1 << 12  # soon enough for the client to begin
_KINDS = wire.DIR | wire.SYMLINK | wire.DEVICE | wire.PIPE | wire.SOCKET | wire.CHARACTER
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = (b"trusted.overlay.", b"user.overlay.")


class ReceiveError(Exception):
    """The transfer fails; the text is for both sides."""


class Pipe:
    """Packets with their length (four bytes, big endian) in front, over a stream socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = b""
        self._at = 0
        self._out = bytearray()

    def next(self) -> memoryview | None:
        """The next packet; None at the end. What was to be sent goes first. Raises ReceiveError."""
        size = self._need(4)
        if size is None:
            return None
        length = int.from_bytes(size, "big")
        if length > _MAX_PACKET:
            raise ReceiveError("packet too large")
        packet = self._need(length)
        if packet is None:
            raise ReceiveError("unexpected EOF")
        return packet

    def _need(self, count: int) -> memoryview | None:
        while len(self._buffer) - self._at < count:
            self.flush()
            data = os.read(self._fd, 1 << 20)
            if not data:
                return None
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
        start, self._at = self._at, self._at + count
        return memoryview(self._buffer)[start : self._at]

    def send(self, packet: bytes) -> None:
        """With the next `flush`: one for each of many small files would cost more than what it asks for."""
        self._out += len(packet).to_bytes(4, "big") + packet
        if len(self._out) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Raises BrokenPipeError when nobody is there any more."""
        out, self._out = self._out, bytearray()
        view = memoryview(out)
        while view:
            view = view[os.write(self._fd, view) :]


class _Folder:
    """A folder on the way: what of it is there and has not been told yet."""

    __slots__ = ("fd", "last", "left", "mtime", "path")

    def __init__(self, path: bytes, fd: int, left: set[bytes], mtime: int | None) -> None:
        self.path, self.fd, self.left, self.mtime = path, fd, left, mtime
        self.last = b""


class _File:
    """A file whose content comes: pieces of 32 KiB, gathered so that hashing them elsewhere pays."""

    __slots__ = ("digest", "fd", "held", "size", "written")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.digest = hashlib.sha256()
        self.held: list[memoryview] = []
        self.size = self.written = 0


class Receiver:
    """Makes the tree."""

    def __init__(self, root: int, pipe: Pipe, index: Index, *, always: bool) -> None:
        self._root = root
        self._pipe = pipe
        self._index = index
        self._always = always
        self._hashing = Hashing()
        self._stack = [_Folder(b"", root, _present(root), None)]
        self._inodes: dict[tuple[int, int], bytes] = {}
        self._wanted: dict[int, tuple[bytes, int]] = {}  # ID: path, mtime
        self._open: dict[int, _File] = {}
        self._finished: list[tuple[int, Any]] = []
        self.entries = self.requested = self.bytes = 0
        self._ended = False

    def run(self) -> None:
        """All packets up to the client's end. Raises ReceiveError, WireError, OSError."""
        finished = False
        while (packet := self._pipe.next()) is not None:
            kind, number, found, data = wire.parse(packet)
            if kind == wire.STAT:
                if found is None:
                    self._leave(0)
                    self._ended = True
                elif self._ended:
                    raise ReceiveError("changes out of order")
                else:
                    self._entry(found)
            elif kind == wire.DATA:
                self._data(number, data)
            elif kind == wire.ERR:
                raise ReceiveError(f"error from sender: {shown(bytes(data))}")
            elif kind == wire.FIN:
                break
            if self._ended and not self._wanted and not finished:
                finished = True
                self._pipe.send(wire.encode(wire.FIN))
        if not finished:
            raise ReceiveError("unexpected EOF")
        self._pipe.flush()
        self._note()
        self._index.save()

    # The tree ----------------------------------------------------------------------------------------------

    def _entry(self, told: wire.Stat) -> None:
        number, self.entries = self.entries, self.entries + 1
        if self.entries > MAX_ENTRIES:
            raise ReceiveError(f"more than {MAX_ENTRIES} entries")
        above, _, name = told.path.rpartition(b"/")
        if name in (b"", b".", b"..") or b"\0" in told.path or told.path.startswith(b"/"):
            raise ReceiveError(f"{shown(told.path)}: invalid argument")
        while self._stack[-1].path != above:
            if len(self._stack) == 1:
                raise ReceiveError(f'changes out of order: "{shown(told.path)}"')
            self._leave(len(self._stack) - 1)
        folder = self._stack[-1]
        if name <= folder.last:
            raise ReceiveError(f'changes out of order: "{shown(told.path)}" "{shown(folder.last)}"')
        folder.last = name
        old = None
        if name in folder.left:
            folder.left.discard(name)
            old = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        if told.mode & wire.DIR:
            self._folder(folder, name, told, old)
            return
        regular = not told.mode & _KINDS
        if old is not None:
            if not self._always and self._same(folder, name, told, old):
                if regular:
                    self._index.get(old)
                return
            if told.linkname or not regular or not stat.S_ISREG(old.st_mode) or old.st_nlink > 1:
                remove(folder.fd, name, old)
                old = None
        if regular and told.linkname:
            self._link(folder, name, told)
        elif regular:
            self._new_file(folder, name, told, number, old)
        else:
            self._special(folder, name, told)

    def _folder(self, above: _Folder, name: bytes, told: wire.Stat, old: os.stat_result | None) -> None:
        if old is not None and not stat.S_ISDIR(old.st_mode):
            remove(above.fd, name, old)
            old = None
        if old is None:
            os.mkdir(name, 0o700, dir_fd=above.fd)
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=above.fd)
        if old is None or (old.st_uid, old.st_gid, old.st_mode & 0o7777) != (
            told.uid,
            told.gid,
            told.permissions,
        ):
            os.fchown(fd, told.uid, told.gid)
            os.fchmod(fd, told.permissions)
        self._xattrs(fd, told)
        present = _present(fd) if old is not None else set()
        self._stack.append(_Folder(told.path, fd, present, told.mtime))

    def _leave(self, depth: int) -> None:
        """Close folders until only `depth` are open; what was not told of them goes."""
        while len(self._stack) > depth:
            folder = self._stack.pop()
            for name in folder.left:
                remove(folder.fd, name, os.stat(name, dir_fd=folder.fd, follow_symlinks=False))
            if folder.mtime is not None:
                os.utime(folder.fd, ns=(folder.mtime, folder.mtime))
                os.close(folder.fd)

    def _same(self, folder: _Folder, name: bytes, told: wire.Stat, old: os.stat_result) -> bool:
        link = b""
        if stat.S_ISLNK(old.st_mode):
            link = os.readlink(name, dir_fd=folder.fd)
        elif old.st_nlink > 1:
            first = self._inodes.setdefault((old.st_dev, old.st_ino), told.path)
            link = first if first != told.path else b""
        device = (os.major(old.st_rdev), os.minor(old.st_rdev)) if old.st_rdev else (0, 0)
        mode = told.mode | 0o777 if told.mode & wire.SYMLINK else told.mode
        size = old.st_size if told.mode & _KINDS == 0 or told.mode & wire.SYMLINK else told.size
        return (go_mode(old.st_mode), old.st_uid, old.st_gid, size, old.st_mtime_ns, *device, link) == (
            mode, told.uid, told.gid, told.size, told.mtime, told.major, told.minor, told.linkname,
        )  # fmt: skip

    def _new_file(
        self, folder: _Folder, name: bytes, told: wire.Stat, number: int, old: os.stat_result | None
    ) -> None:
        fd = -1
        if old is not None:
            # Written over: to free blocks and take others is slow, above all where each is discarded
            fd = os.open(name, _OLD_FILE, dir_fd=folder.fd)
            if os.listxattr(fd):
                os.close(fd)
                remove(folder.fd, name, old)
                fd = -1
        if fd < 0:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=folder.fd)
        os.fchown(fd, told.uid, told.gid)
        os.fchmod(fd, told.permissions)
        self._xattrs(fd, told)
        os.close(fd)
        self._wanted[number] = (told.path, told.mtime)
        self.requested += 1
        self._pipe.send(wire.encode(wire.REQ, number))

    def _link(self, folder: _Folder, name: bytes, told: wire.Stat) -> None:
        above, _, last = told.linkname.rpartition(b"/")
        if last in (b"", b".", b".."):
            raise ReceiveError(f"invalid link {shown(told.path)} to {shown(told.linkname)}")
        try:
            parent = syscalls.openat2(self._root, above or b".", syscalls.O_PATH | os.O_DIRECTORY, _BENEATH)
            try:
                os.link(last, name, src_dir_fd=parent, dst_dir_fd=folder.fd, follow_symlinks=False)
            finally:
                os.close(parent)
        except OSError as error:
            text = f"failed to link {shown(told.path)} to {shown(told.linkname)}: {reason(error)}"
            raise ReceiveError(text) from None

    def _special(self, folder: _Folder, name: bytes, told: wire.Stat) -> None:
        if told.mode & wire.SYMLINK:
            os.symlink(told.linkname, name, dir_fd=folder.fd)
        else:
            kind = stat.S_IFCHR if told.mode & wire.CHARACTER else stat.S_IFBLK
            if told.mode & wire.PIPE:
                kind = stat.S_IFIFO
            elif told.mode & wire.SOCKET:
                kind = stat.S_IFSOCK
            device = os.makedev(told.major, told.minor) if told.mode & wire.DEVICE else 0
            os.mknod(name, kind | 0o600, device, dir_fd=folder.fd)
            os.chmod(name, told.permissions, dir_fd=folder.fd)
        os.chown(name, told.uid, told.gid, dir_fd=folder.fd, follow_symlinks=False)
        os.utime(name, ns=(told.mtime, told.mtime), dir_fd=folder.fd, follow_symlinks=False)

    def _xattrs(self, fd: int, told: wire.Stat) -> None:
        for name, value in told.xattrs.items():
            if name.startswith(_OWN):
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError:
                continue

    # Content -----------------------------------------------------------------------------------------------

    def _data(self, number: int, data: memoryview) -> None:
        wanted = self._wanted.get(number)
        if wanted is None:
            raise ReceiveError(f"invalid file request {number}")
        if number not in self._open:
            if len(self._open) >= _MAX_OPEN:
                raise ReceiveError("too many files at a time")
            self._open[number] = _File(syscalls.openat2(self._root, wanted[0], _OLD_FILE, _BENEATH))
        file = self._open[number]
        if data:
            self.bytes += len(data)
            file.held.append(data)
            file.size += len(data)
            if file.size >= _TOGETHER:
                self._write(file)
            return
        del self._open[number], self._wanted[number]
        self._write(file)
        if os.fstat(file.fd).st_size != file.written:  # it was longer
            os.ftruncate(file.fd, file.written)
        os.utime(file.fd, ns=(wanted[1], wanted[1]))
        self._finished.append((file.fd, file.digest))
        if len(self._finished) > _MAX_OPEN:
            self._note()

    def _write(self, file: _File) -> None:
        data = file.held[0] if len(file.held) == 1 else memoryview(b"".join(file.held))
        file.held.clear()
        file.written += len(data)
        file.size = 0
        if data:
            self._hashing.update(file.digest, data)
        while data:
            data = data[os.write(file.fd, data) :]

    def _note(self) -> None:
        self._hashing.settle()
        for fd, digest in self._finished:
            self._index.put(os.fstat(fd), digest.digest())
            os.close(fd)
        self._finished.clear()


def _present(folder: int) -> set[bytes]:
    return {os.fsencode(name) for name in os.listdir(folder)}


def receive(arguments: Json, fds: list[int]) -> Json:
    """Fill "folder"/data (and the `Index` beside it) from the packets on the socket `fds[0]`.

    "always": ask for each file's content, whatever it looks like. Answer: {"entries", "requested", "bytes"}
    or {"error": text}, which the client has been told.
    """
    keep_freed()
    unlimited()
    load_thread_end()
    pipe = Pipe(fds[0])
    folder = arguments["folder"]
    try:
        index = Index(f"{folder}/index", fresh=True)
        root = os.open(f"{folder}/data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(root)
        os.chroot(".")
        os.umask(0)
        receiver = Receiver(root, pipe, index, always=arguments.get("always", False))
        receiver.run()
    except (ReceiveError, wire.WireError) as error:
        text = str(error)
    except BrokenPipeError:
        text = "the client went away"
    except OSError as error:
        text = f"failed to write: {reason(error)}"
    else:
        return {"entries": receiver.entries, "requested": receiver.requested, "bytes": receiver.bytes}
    try:
        pipe.send(wire.encode(wire.ERR, 0, text.encode("utf-8", "replace")))
        pipe.flush()
    except OSError:
        pass
    return {"error": text}
