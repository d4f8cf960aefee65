"""Workers for `docker cp` and `docker export`: a container's files as a tar, and a tar into them.

All but `export` take `containerfs.enter`'s arguments as "view" and a "path"; from the moment they have
entered, they use only what was imported before. An answer {"error": text, "missing": bool} says that the
path cannot be used; `pack` tells about the path in front of the archive: four bytes of length (big endian)
and JSON.
"""

from __future__ import annotations

import json
import os
import stat as modes
from collections.abc import Iterator

from runtime import syscalls
from runtime.init.errors import UserError
from runtime.init.users import resolve
from runtime.storage import containerfs
from runtime.storage.bodystream import Body, Cut, Malformed
from runtime.storage.copyin import CopyFailed, unpack
from runtime.storage.memory import keep_freed
from runtime.storage.packer import Output, Packer
from runtime.storage.tarheader import TarError
from runtime.storage.tarstream import plain, read_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_LOCATE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 255
# Go's os.FileMode, in which the stat header tells the mode
_GO_KINDS = {
    modes.S_IFDIR: 1 << 31,
    modes.S_IFLNK: 1 << 27,
    modes.S_IFBLK: 1 << 26,
    modes.S_IFIFO: 1 << 25,
    modes.S_IFSOCK: 1 << 24,
    modes.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {modes.S_ISUID: 1 << 23, modes.S_ISGID: 1 << 22, modes.S_ISVTX: 1 << 20}


def absolute(path: bytes) -> bytes:
    """`path` from the root, `..` taken out lexically; a slash or `/.` at its end is kept, as it matters."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    plain = b"/" + b"/".join(parts)
    ending = b"." if path == b"." or path.endswith(b"/.") else b""
    if ending or path.endswith(b"/"):
        return plain.rstrip(b"/") + b"/" + ending
    return plain


def base(path: bytes) -> bytes:
    """The last part of an absolute path, as Go's filepath.Base: `/` of `/`, `.` of `/d/.`, `d` of `/d/`."""
    return path.rstrip(b"/").rpartition(b"/")[2] or b"/"


def go_mode(mode: int) -> int:
    """st_mode as Go's os.FileMode."""
    bits = sum(go for bit, go in _GO_BITS.items() if mode & bit)
    return mode & 0o777 | bits | _GO_KINDS.get(modes.S_IFMT(mode), 0)


class Found:
    """What a path is: its folder (an fd) and name there, or the folder itself when name is None."""

    def __init__(self, folder: int, name: bytes | None, info: os.stat_result) -> None:
        self.folder, self.name, self.info = folder, name, info


def find(root: int, path: bytes) -> Found:
    """What `path` (from `absolute`) is; a link at its end is followed only with a slash. Raises OSError."""
    if path.endswith((b"/", b"/.")):
        fd = syscalls.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY, _LOCATE)
        return Found(fd, None, os.fstat(fd))
    above, _, name = path.rpartition(b"/")
    folder = syscalls.openat2(root, above or b"/", syscalls.O_PATH | os.O_DIRECTORY, _LOCATE)
    return Found(folder, name, os.stat(name, dir_fd=folder, follow_symlinks=False))


def follow(root: int, path: bytes) -> bytes:
    """Where the links on `path` lead inside `root`, as far as there is something. Raises OSError (ELOOP)."""
    todo = [part for part in path.split(b"/") if part]
    done: list[bytes] = []
    links = 0
    while todo:
        part = todo.pop(0)
        if part == b"..":
            del done[-1:]
        if part in (b".", b"..", b""):
            continue
        try:
            above = b"/" + b"/".join(done)
            folder = syscalls.openat2(root, above, syscalls.O_PATH | os.O_DIRECTORY, _LOCATE)
            try:
                target = os.readlink(part, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(40, os.strerror(40))
        if target.startswith(b"/"):
            done.clear()
        todo[:0] = target.split(b"/")
    return b"/" + b"/".join(done)


def describe(root: int, path: bytes, info: os.stat_result) -> Json:
    """container.PathStat with the mtime in ns."""
    link = b""
    if modes.S_ISLNK(info.st_mode):
        link = follow(root, path)
    return {
        "name": os.fsdecode(base(path)),
        "size": info.st_size,
        "mode": go_mode(info.st_mode),
        "mtime": info.st_mtime_ns,
        "linkTarget": os.fsdecode(link),
    }


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


class Refused(Exception):
    """The path cannot be used: the answer to give."""

    def __init__(self, answer: Json) -> None:
        self.answer = answer


def _look(root: int, path: bytes) -> tuple[Found, Json]:
    shown = os.fsdecode(path)
    try:
        found = find(root, path)
    except OSError as error:
        missing = error.errno == 2
        raise Refused({"error": f"lstat {shown}: {_reason(error)}", "missing": missing}) from None
    try:
        return found, describe(root, path, found.info)
    except OSError:
        raise Refused({"error": f"evalSymlinksInScope: too many links in {shown}"}) from None


def stat(arguments: Json, fds: list[int]) -> Json:
    """{"stat": container.PathStat} of "path"."""
    path = absolute(os.fsencode(arguments["path"]))
    try:
        view = containerfs.enter(arguments["view"])
        return {"stat": _look(view.root, path)[1]}
    except Refused as refused:
        return refused.answer


def pack(arguments: Json, fds: list[int]) -> Json:
    """Write what "path" is to `fds[0]`, compressed by "encoding"; {"entries": n}."""
    path = absolute(os.fsencode(arguments["path"]))
    packer = Packer(Output(fds[0], arguments.get("encoding", "")))
    try:
        view = containerfs.enter(arguments["view"])
        found, told = _look(view.root, path)
        head = json.dumps(told).encode()
        os.write(fds[0], len(head).to_bytes(4, "big") + head)
        if found.name is None:
            packer.top(found.folder, base(path))
        else:
            packer.put(found.folder, found.name, base(path))
        packer.out.end()
    except Refused as refused:
        return refused.answer
    except BrokenPipeError:
        return {"error": "the reader went away"}
    return {"entries": packer.count}


def export(arguments: Json, fds: list[int]) -> Json:
    """Write the whole root of "view", without itself, to `fds[0]`; {"entries": n}."""
    packer = Packer(Output(fds[0]))
    try:
        view = containerfs.enter(arguments["view"])
        packer.below(view.root, b"")
        packer.out.end()
    except BrokenPipeError:
        return {"error": "the reader went away"}
    return {"entries": packer.count}


def extract(arguments: Json, fds: list[int]) -> Json:
    """Unpack the (compressed) tar from `fds[0]` into the folder "path".

    "body": null, or what `bodystream.Body` must know when that is the client's socket; its state afterwards
    is in the answer, as "body". {"cut": true} says that the client went away.
    "no_overwrite": a folder is not replaced by something else, nor the other way round; "owner": null, or
    the user (`name|uid[:group|gid]`) that everything belongs to then; "read_only": the root must not be
    written to, "mounts" of the view that are not writable neither.
    Answers {"entries": n}; {"error", "missing", "kind": "invalid" for what the client can help}.
    """
    keep_freed()
    body = Body(fds[0], arguments["body"]) if arguments.get("body") else None
    answer = _extract(arguments, body.pieces() if body else read_pieces(fds[0]))
    return {**answer, "body": body.state()} if body else answer


def _extract(arguments: Json, pieces: Iterator[bytes]) -> Json:
    try:
        path = absolute(os.fsencode(arguments["path"]))
        chunks = plain(pieces)
        view = containerfs.enter(arguments["view"])
        folder = _destination(view, path, arguments)
        owner = None
        if arguments.get("owner"):
            user = resolve(view.root, arguments["owner"])
            owner = (user.uid, user.gid)
        count = unpack(
            folder,
            chunks,
            shown=os.fsdecode(path.rstrip(b"/.") or b"/"),
            no_overwrite=arguments["no_overwrite"],
            owner=owner,
        )
    except Refused as refused:
        return refused.answer
    except UserError as error:
        return {"error": str(error), "kind": "invalid"}
    except Malformed:
        return {"error": "malformed chunked encoding", "kind": "invalid"}
    except Cut:
        return {"error": "unexpected EOF", "cut": True}
    except (CopyFailed, TarError) as error:
        return {"error": str(error)}
    return {"entries": count}


def _destination(view: containerfs.View, path: bytes, arguments: Json) -> int:
    shown = os.fsdecode(path)
    try:
        fd = syscalls.openat2(view.root, path, syscalls.O_PATH, _LOCATE)
    except OSError as error:
        text = f"lstat {shown}: {_reason(error)}" if error.errno != 40 else "EvalSymlinks: too many links"
        raise Refused({"error": text, "missing": error.errno == 2}) from None
    if not modes.S_ISDIR(os.fstat(fd).st_mode):
        raise Refused({"error": "extraction point is not a directory", "kind": "invalid"})
    real = os.fsdecode(view.path_of(fd))
    _check_writable(real, arguments)
    folder = syscalls.openat2(fd, b".", os.O_RDONLY | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    os.close(fd)
    return folder


def _check_writable(path: str, arguments: Json) -> None:
    for mount in arguments["volumes"]:
        place = mount["destination"].rstrip("/")
        if path == place or path.startswith(place + "/"):
            if mount["writable"]:
                return
            raise Refused({"error": "mounted volume is marked read-only", "kind": "invalid"})
    if arguments["read_only"]:
        raise Refused({"error": "container rootfs is marked read-only", "kind": "invalid"})
