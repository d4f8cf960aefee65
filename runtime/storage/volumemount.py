"""The worker that mounts a volume of the local driver that has options (`type`, `device`, `o`) on its folder.

A worker, because mount(2) of a network's file system may take minutes: it holds up only who waits for it.
"""

from __future__ import annotations

import os
import socket

from runtime import syscalls as s
from runtime.init.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_mounted(path: str, mountinfo: str = "/proc/self/mountinfo") -> bool:
    """Whether something is mounted on that very path (absolute, without links)."""
    return _escaped(path) in _mount_points(mountinfo)


def volume_folders(place: str) -> list[str]:
    """The folders `_data` of all volumes below `place` that are on its own file system.

    One that something is mounted on is not even looked at: a network's file system may hang.
    """
    if not os.path.isdir(place):
        return []
    mounted = _mount_points()
    found = []
    for entry in os.scandir(os.path.realpath(place)):
        folder = os.path.join(entry.path, "_data")
        if _escaped(folder) not in mounted and os.path.isdir(folder) and not os.path.islink(folder):
            found.append(folder)
    return found


def _mount_points(mountinfo: str = "/proc/self/mountinfo") -> set[bytes]:
    with open(mountinfo, "rb") as file:
        return {line.split(b" ", 5)[4] for line in file}


def _escaped(path: str) -> bytes:
    """As mountinfo writes it."""
    wanted = os.fsencode(path)
    for old, escape in ((b"\\", b"\\134"), (b" ", b"\\040"), (b"\t", b"\\011"), (b"\n", b"\\012")):
        wanted = wanted.replace(old, escape)
    return wanted


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Mount `{"type", "device", "o", "path"}`, unless something is mounted on `path` already.

    Answer: {"mounted": true | false}, or {"error": text} in the words of dockerd (with no password in it).
    """
    path = os.path.realpath(arguments["path"])
    if is_mounted(path):
        return {"mounted": False}
    kind, device, given = (arguments.get(key) or "" for key in ("type", "device", "o"))
    if not device:
        return {"error": "missing device in volume options"}
    options = parse(given.split(","))
    flags = options.flags & ~s.MS_REC if not options.bind else options.flags
    data = ",".join(options.data)
    try:
        data = resolved(kind, data)
        s.mount(device, path, kind, flags, data)
        if options.bind and flags & s.MS_RDONLY:  # a bind takes its other flags only afterwards (mount(2))
            s.mount(device, path, kind, flags | s.MS_REMOUNT, data)
        for propagation in options.propagation:
            s.mount(None, path, None, propagation)
    except OSError as error:
        if isinstance(error, socket.gaierror):
            return {"error": f"error resolving passed in network volume address: {error.strerror}"}
        text = f"mount {device}:{path}"
        text += f", flags: {flags:#x}" if flags else ""
        text += f", data: {without_password(data)}" if data else ""
        return {"error": f"failed to mount local volume: {text}: {os.strerror(error.errno or 0).lower()}"}
    return {"mounted": True}


def resolved(kind: str, data: str) -> str:
    """`addr=NAME` of a network's file system with the name's IPv4 address: the kernel takes no names.

    Raises socket.gaierror.
    """
    if kind not in ("nfs", "nfs4", "cifs"):
        return data
    words = data.split(",")
    for number, word in enumerate(words):
        if word.startswith("addr=") and word != "addr=":
            found = socket.getaddrinfo(word[len("addr=") :], None, type=socket.SOCK_STREAM)
            words[number] = f"addr={found[0][4][0]}"
    return ",".join(words)


def without_password(data: str) -> str:
    """Mount options as they may be told."""
    words = data.split(",")
    return ",".join("password=********" if word.startswith("password=") else word for word in words)
