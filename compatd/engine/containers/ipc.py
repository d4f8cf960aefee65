"""The /dev/shm of a container that shares its IPC namespace (`--ipc shareable`): a tmpfs on the host.

A mount of another mount namespace cannot be bind-mounted, so what is to be shared is mounted by the daemon,
below the container's folder, for as long as the container runs.
"""

import contextlib
from pathlib import Path

from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError
from runtime import syscalls


def shm_path(container: Container) -> Path:
    """Where the shared /dev/shm is mounted."""
    return container.dir / "mounts" / "shm"


def mount_shm(container: Container) -> None:
    """Mount it when the container shares its IPC namespace. Raises EngineError."""
    if container.host_config["IpcMode"] != "shareable":
        return
    path = shm_path(container)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_mount():
            flags = syscalls.MS_NOEXEC | syscalls.MS_NOSUID | syscalls.MS_NODEV
            options = f"mode=1777,size={container.host_config['ShmSize']}"
            syscalls.mount("shm", str(path), "tmpfs", flags, options)
    except OSError as error:
        raise EngineError(f"mounting shm tmpfs: {(error.strerror or str(error)).lower()}") from error


def unmount_shm(container: Container) -> None:
    """Take it away after the container's end; containers that joined keep theirs. Never raises."""
    if container.host_config["IpcMode"] == "shareable":
        with contextlib.suppress(OSError):
            syscalls.umount(str(shm_path(container)), syscalls.MNT_DETACH)
