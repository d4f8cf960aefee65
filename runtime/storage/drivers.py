"""The storage drivers by name."""

from pathlib import Path

from runtime.storage.base import Storage
from runtime.storage.overlay import Overlay
from runtime.storage.vfs import Vfs

DRIVERS: dict[str, type[Storage]] = {"overlay2": Overlay, "overlay": Overlay, "vfs": Vfs}


def open_storage(driver: str, root: Path, size: int = 0) -> Storage:
    """The driver of that name (of DRIVERS) below `<data-root>/compatd`; nothing is touched yet.

    size: as `Storage` takes it.
    """
    return DRIVERS[driver](root, size)
