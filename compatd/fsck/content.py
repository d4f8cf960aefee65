"""Content against its digests: the deep part of a check, which reads every byte."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from compatd.engine.images.model import Layer
from runtime.storage import untar
from runtime.storage.base import Storage, remove
from runtime.storage.flat import walk
from runtime.storage.recipe import rebuild
from runtime.storage.tarheader import TarError
from runtime.storage.tarstream import decompressor

_PIECE = 1 << 20


def _digest(pieces: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def tar_fault(folder: Path, layer: Layer) -> str:
    """What is wrong with a layer that came plain: its files and recipe must give the same tar again."""
    try:
        if _digest(rebuild(str(folder))) == layer.diff_id:
            return ""
    except (OSError, ValueError, TarError) as error:
        return f"its tar cannot be made again: {error}"
    return "its files have changed"


def blob_fault(blob: Path, layer: Layer) -> str:
    """What is wrong with the blob of a layer that came compressed."""
    if _digest(_read(blob)) != layer.digest:
        return f"its blob {layer.digest} has another digest"
    try:
        if _digest(decompressor(layer.compression)(_read(blob))) == layer.diff_id:
            return ""
    except TarError as error:
        return f"its blob {layer.digest} cannot be unpacked: {error}"
    return f"its blob {layer.digest} holds another tar"


def files_fault(blob: Path, folder: Path, storage: Storage) -> str:
    """What is wrong with the files of a layer whose blob is right: it is unpacked again and compared."""
    scratch = storage.prepare_layer()
    try:
        _unpack(blob, scratch)
        return _difference(folder / "diff", scratch / "diff")
    except OSError as error:
        return f"its files cannot be compared: {error}"
    finally:
        remove(str(scratch))


def _unpack(blob: Path, target: Path) -> None:
    """Raises OSError. In a process of its own, for the unpacker changes its root."""
    source = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            answer = untar.apply({"layer": str(target), "hash_raw": False}, [source])
            code = answer.get("errno", 255) if "error" in answer else 0
        finally:
            os._exit(min(code, 255))
    os.close(source)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(
            code if 0 < code < 255 else 5, os.strerror(code) if 0 < code < 255 else "unpacking failed"
        )


def _difference(found: Path, wanted: Path) -> str:
    """The first entry that is not the same in both trees, or ""."""
    one, other = (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (found, wanted))
    try:
        ours, theirs = walk(one), walk(other)
        while True:
            left, right = next(ours, None), next(theirs, None)
            if left is None or right is None:
                odd = left or right
                return f"{os.fsdecode(odd[0])} is {'new' if left else 'missing'} in its files" if odd else ""
            if left[0] != right[0]:
                path = min(left[0], right[0])
                return f"{os.fsdecode(path)} is {'new' if path == left[0] else 'missing'} in its files"
            if _entry(left[1], left[2]) != _entry(right[1], right[2]):
                return f"{os.fsdecode(left[0])} has changed in its files"
    finally:
        os.close(one)
        os.close(other)


def _entry(folder: int, name: bytes) -> tuple[object, ...]:
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    same: tuple[object, ...] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev)
    if stat.S_ISLNK(info.st_mode):
        return (*same, os.readlink(name, dir_fd=folder))
    if not stat.S_ISREG(info.st_mode):
        return same
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb", buffering=0) as file:
        return (*same, info.st_size, info.st_mtime_ns, _digest(iter(lambda: file.read(_PIECE), b"")))
