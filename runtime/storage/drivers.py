"""The storage drivers by name, and which is used when nobody says."""

import logging
import os
import secrets
from pathlib import Path

from runtime import syscalls
from runtime.storage.base import Storage, StorageError, remove
from runtime.storage.overlay import Overlay
from runtime.storage.vfs import Vfs

log = logging.getLogger(__name__)

DRIVERS: dict[str, type[Storage]] = {"overlay2": Overlay, "overlay": Overlay, "vfs": Vfs}


def open_storage(driver: str, root: Path, size: int = 0) -> Storage:
    """The driver of that name (of DRIVERS) below `<data-root>/compatd`; nothing is touched yet.

    size: as `Storage` takes it.
    """
    return DRIVERS[driver](root, size)


def choose_storage(driver: str, root: Path, size: int = 0, *, given: bool) -> Storage:
    """As `open_storage`; but where overlay cannot be mounted it is vfs, unless the driver was `given`.

    Raises StorageError with dockerd's words when it was, or when there are containers that need overlay.
    """
    storage = open_storage(driver, root, size)
    if not isinstance(storage, Overlay):
        return storage
    try:
        _mount_once(root)
        return storage
    except OSError as error:
        text = (error.strerror or str(error)).lower().removeprefix("mount: ")
        fields = {"fields": {"storage-driver": storage.name}}
        log.error("failed to mount overlay: %s", text, extra=fields)
    if given:
        raise StorageError("driver not supported")
    if any(not storage.is_flat(path.name) for path in root.glob("rw/*")):
        log.error("[graphdriver] prior storage driver overlay2 failed: driver not supported")
        raise StorageError("driver not supported")
    log.warning("using the storage driver vfs: each container gets a whole copy of its image")
    return open_storage("vfs", root, size)


def _mount_once(root: Path) -> None:
    """Mount an overlay of two layers on a folder below `root`, and take it away. Raises OSError."""
    folder = root / "tmp" / f"check-overlayfs-support{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        for name in ("lower1", "lower2", "upper", "work", "merged"):
            (folder / name).mkdir()
        options = f"lowerdir={folder}/lower2:{folder}/lower1,upperdir={folder}/upper,workdir={folder}/work"
        syscalls.mount("overlay", os.fspath(folder / "merged"), "overlay", 0, options)
        syscalls.umount(os.fspath(folder / "merged"), syscalls.MNT_DETACH)
    finally:
        remove(os.fspath(folder))
