"""Single files of a context, read and removed inside it: no link leads out. Blocking, for threads."""

import os
import stat
from pathlib import Path

from compatd.engine.errors import EngineError, NotFound
from runtime import syscalls

MAX_FILE = 16 << 20
_LOCATE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


def read(folder: Path, path: str) -> bytes:
    """A file's content. Raises NotFound, EngineError (no file, too large).

    Nothing but a file is opened: opening a device is enough to start a watchdog, or to rewind a tape.
    """
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = syscalls.openat2(root, path, syscalls.O_PATH | os.O_CLOEXEC, _LOCATE)
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = os.strerror(error.errno or 0).lower()
        raise NotFound(f"open {path}: {reason}") from None
    except OSError as error:
        raise EngineError(f"open {path}: {os.strerror(error.errno or 0).lower()}") from None
    finally:
        os.close(root)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise EngineError(f"read {path}: is a directory")
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            data = file.read(MAX_FILE + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_FILE:
        raise EngineError(f"{path} is larger than {MAX_FILE} bytes")
    return data


def remove(folder: Path, path: str) -> None:
    """Remove a file; what is not there, or no file, stays as it is."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    above, _, name = path.rstrip("/").rpartition("/")
    try:
        parent = syscalls.openat2(root, above or ".", syscalls.O_PATH | os.O_DIRECTORY, _LOCATE)
        try:
            os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError:
        pass
    finally:
        os.close(root)
