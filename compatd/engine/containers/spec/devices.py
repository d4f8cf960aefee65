"""Device nodes in a container, and who may use which (API: Devices, DeviceCgroupRules, Privileged)."""

import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from compatd.engine.containers.spec import cdi
from compatd.engine.errors import EngineError

Json = dict[str, Any]

_RULE = re.compile(r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})\Z")
_STANDARD = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
"""zero, null, urandom, random, tty, console"""

_SKIPPED = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
"""Below /dev: what a container has of its own."""


def add_devices(linux: Json, host: Json) -> None:
    """Fill in `devices` and `resources.devices`. Raises EngineError for a device that is not there."""
    rules = linux["resources"]["devices"]
    if host["Privileged"]:
        linux["devices"] += host_devices()
        for mapping in host["Devices"] or []:
            if mapping["PathOnHost"] != mapping["PathInContainer"]:
                linux["devices"] += [device for device, _ in _mapped(mapping)]
        rules.append({"allow": True, "access": "rwm"})
        return
    rules.append({"allow": False, "access": "rwm"})
    rules += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in _STANDARD
    ]
    rules.append({"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
    for mapping in host["Devices"] or []:
        for device, rule in _mapped(mapping):
            linux["devices"].append(device)
            rules.append(rule)
    for text in host["DeviceCgroupRules"] or []:
        rules.append(parse_rule(text))


def add_requested(spec: Json, host: Json, cdi_folders: list[str]) -> None:
    """Edit the spec for the DeviceRequests: those of the driver `cdi`, unless there are no folders for it.

    Raises EngineError for every other driver, and for what cannot be done.
    """
    for request in host["DeviceRequests"] or []:
        driver = request.get("Driver") or ""
        if driver != cdi.DRIVER or not cdi_folders:
            wanted = " ".join(f"[{' '.join(names)}]" for names in request.get("Capabilities") or [])
            raise EngineError(f'could not select device driver "{driver}" with capabilities: [{wanted}]')
        if request.get("Count"):
            raise EngineError("unexpected count in CDI device request")
        if request.get("Options"):
            raise EngineError("unexpected options in CDI device request")
        if request.get("DeviceIDs"):
            cdi.inject(spec, request["DeviceIDs"], cdi_folders)


def parse_rule(text: str) -> Json:
    """`c 1:* rwm`. Raises EngineError in Docker's words."""
    match = _RULE.match(text)
    if not match:
        raise EngineError(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    return {
        "allow": True,
        "type": kind,
        "major": -1 if major == "*" else int(major),
        "minor": -1 if minor == "*" else int(minor),
        "access": access,
    }


def _mapped(mapping: Json) -> Iterator[tuple[Json, Json]]:
    """Node and rule of each device that a `--device` names; all in it for a folder."""
    on_host = mapping["PathOnHost"]
    inside = mapping.get("PathInContainer") or on_host
    access = mapping.get("CgroupPermissions") or "rwm"
    real = os.path.realpath(on_host)
    try:
        found = _device(real)
    except OSError as error:
        raise EngineError(_gathering(on_host, (error.strerror or "").lower())) from None
    if found:
        yield {**found, "path": inside}, _rule(found, access)
        return
    children = list(_below(real)) if os.path.isdir(real) else []  # noqa: PTH112
    if not children:
        raise EngineError(_gathering(on_host, "not a device node"))
    for device in children:
        yield {**device, "path": inside + device["path"].removeprefix(real)}, _rule(device, access)


def _gathering(path: str, reason: str) -> str:
    return f'error gathering device information while adding custom device "{path}": {reason}'


def _rule(device: Json, access: str) -> Json:
    return {
        "allow": True,
        "type": device["type"],
        "major": device["major"],
        "minor": device["minor"],
        "access": access,
    }


def _device(path: str) -> Json | None:
    info = os.lstat(path)
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(info.st_mode))
    if not kind:
        return None
    return {
        "path": path,
        "type": kind,
        "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev),
        "fileMode": info.st_mode & 0o7777,
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def _below(folder: str) -> Iterator[Json]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = f"{folder}/{name}"
        try:
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                if name not in _SKIPPED:
                    yield from _below(path)
                continue
            device = _device(path)
        except OSError:
            continue
        if device and name != "console":
            yield device


def host_devices() -> list[Json]:
    """Every device node of the host that a privileged container gets."""
    return list(_below("/dev"))
