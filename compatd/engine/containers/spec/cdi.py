"""Devices by their vendors' descriptions (Container Device Interface, CDI specification 1.0).

A description is a JSON or YAML file that names devices `vendor.com/class=name` and says how a container's
spec is to be edited for each.
"""

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError

Json = dict[str, Any]

DRIVER = "cdi"
_KIND = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?\Z")
_SUFFIXES = (".json", ".yaml")
_UNSUPPORTED = {"intelRdt": "Intel RDT", "netDevices": "network devices"}
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_TYPES = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


class CdiError(Exception):
    """A description that cannot be used."""


@dataclass(frozen=True)
class Device:
    """A device's own edits, and those of its description, which are made once for all devices of it."""

    file: str
    common: Json
    edits: Json


def find_devices(folders: Sequence[str]) -> tuple[dict[str, Device], list[str]]:
    """All devices by their full names, and what is wrong with descriptions.

    A later folder's device wins over an earlier one's. One that two files of a folder describe is none.
    """
    found: dict[str, Device] = {}
    faults: list[str] = []
    for folder in folders:
        here: dict[str, Device] = {}
        twice: set[str] = set()
        for path in _files(folder):
            try:
                described = _devices_of(path)
            except CdiError as error:
                faults.append(f"CDI: Error associated with spec file {path}: {error}")
                continue
            for name in described.keys() & here.keys():
                other = here[name].file
                faults.append(
                    f"CDI: Error associated with spec file {path}: "
                    f'conflicting device "{name}" (specs "{path}", "{other}")'
                )
                twice.add(name)
            here.update(described)
        found.update(here)
        for name in twice:
            del found[name]
    return found, faults


def _files(folder: str) -> list[Path]:
    try:
        return sorted(path for path in Path(folder).iterdir() if path.suffix in _SUFFIXES)
    except OSError:
        return []


def _devices_of(path: Path) -> dict[str, Device]:
    try:
        info = path.stat()
    except OSError as error:
        raise CdiError(f'failed to read CDI Spec "{path}": {error}') from None
    return _devices(path, info.st_mtime_ns, info.st_size)


@lru_cache(maxsize=64)
def _devices(path: Path, _changed: int, _size: int) -> dict[str, Device]:
    try:
        document = _parse(path)
    except (OSError, ValueError) as error:
        raise CdiError(f'failed to read CDI Spec "{path}": {error}') from None
    if not isinstance(document, dict) or not document.get("cdiVersion"):
        raise CdiError("missing CDI version")
    kind = document.get("kind")
    if not isinstance(kind, str) or not _KIND.match(kind):
        raise CdiError(f'invalid kind "{kind}"')
    common = _checked(document.get("containerEdits"))
    found: dict[str, Device] = {}
    for device in _list(document.get("devices"), "devices"):
        name = device.get("name") if isinstance(device, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            raise CdiError(f'invalid device name "{name}"')
        try:
            edits = _checked(device.get("containerEdits"))
        except CdiError as error:
            raise CdiError(f'invalid device "{name}": {error}') from None
        if not edits:
            raise CdiError("invalid device, empty device edits")
        if f"{kind}={name}" in found:
            raise CdiError(f'multiple device "{name}"')
        found[f"{kind}={name}"] = Device(str(path), common, edits)
    if not found:
        raise CdiError("no devices")
    return found


def _parse(path: Path) -> Any:
    text = path.read_text()
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise CdiError(f"{name} is not a list")
    return value


def _checked(edits: Any) -> Json:
    """An `containerEdits` object without what is empty. Raises CdiError."""
    if edits is None:
        return {}
    if not isinstance(edits, dict):
        raise CdiError("containerEdits is not an object")
    _check_environment(edits, "invalid container edits: ")
    for hook in _list(edits.get("hooks"), "hooks"):
        name = hook.get("hookName") if isinstance(hook, dict) else None
        if name not in _HOOKS:
            raise CdiError(f'invalid hook name "{name}"')
        if not isinstance(hook.get("path"), str) or not hook["path"]:
            raise CdiError(f'invalid hook "{name}" with empty path')
        _check_environment(hook, f'invalid hook "{name}": ')
    for name, needed in (("deviceNodes", ("path",)), ("mounts", ("hostPath", "containerPath"))):
        for item in _list(edits.get(name), name):
            if not isinstance(item, dict) or not all(isinstance(item.get(field), str) for field in needed):
                raise CdiError(f"invalid {name}: {' and '.join(needed)} needed")
    _list(edits.get("additionalGids"), "additionalGids")
    return {name: value for name, value in edits.items() if value}


def _check_environment(of: Json, prefix: str) -> None:
    for variable in _list(of.get("env"), "env"):
        if not isinstance(variable, str) or variable.find("=") <= 0:
            raise CdiError(f'{prefix}invalid environment variable "{variable}"')


def inject(spec: Json, names: Sequence[str], folders: Sequence[str]) -> None:
    """Edit an OCI spec for the devices of those full names. Raises EngineError in Docker's words."""
    known, _ = find_devices(folders)
    start = "CDI device injection failed: "
    missing = [name for name in names if name not in known]
    if missing:
        raise EngineError(f"{start}unresolvable CDI devices {', '.join(missing)}")
    edits: list[Json] = []
    seen: set[str] = set()
    for device in (known[name] for name in names):
        if device.file not in seen:
            seen.add(device.file)
            edits.append(device.common)
        edits.append(device.edits)
    try:
        for one in edits:
            _apply(spec, one)
    except CdiError as error:
        raise EngineError(f"{start}failed to inject devices: {error}") from None


def _apply(spec: Json, edits: Json) -> None:
    for name, shown in _UNSUPPORTED.items():
        if edits.get(name):
            raise CdiError(f"the device's description asks for {shown}, which this engine does not support")
    process, linux = spec["process"], spec["linux"]
    for variable in edits.get("env", ()):
        name = variable.partition("=")[0]
        process["env"] = [one for one in process["env"] if one.partition("=")[0] != name] + [variable]
    for node in edits.get("deviceNodes", ()):
        device = _device(node)
        linux["devices"] = [one for one in linux["devices"] if one["path"] != device["path"]] + [device]
        if device["type"] != "p":
            linux["resources"]["devices"].append(
                {
                    "allow": True,
                    "type": device["type"],
                    "major": device["major"],
                    "minor": device["minor"],
                    "access": node.get("permissions") or "rwm",
                }
            )
    for mount in edits.get("mounts", ()):
        target = mount["containerPath"]
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != target] + [_mount(mount)]
    if edits.get("mounts"):
        # What lies deeper comes later, or it would be hidden.
        spec["mounts"].sort(key=lambda one: len([part for part in one["destination"].split("/") if part]))
    for hook in edits.get("hooks", ()):
        wanted = {name: hook[name] for name in ("path", "args", "env", "timeout") if hook.get(name)}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(wanted)
    groups = process["user"].setdefault("additionalGroups", [])
    groups += [str(number) for number in edits.get("additionalGids", ()) if number]


def _mount(mount: Json) -> Json:
    options = list(mount.get("options") or [])
    bind = "bind" in options or "rbind" in options
    return {
        "source": mount["hostPath"],
        "destination": mount["containerPath"],
        "type": mount.get("type") or ("bind" if bind else ""),
        "options": options,
    }


def _device(node: Json) -> Json:
    """An OCI device of a `deviceNodes` entry; what the entry does not say is the host's device's."""
    path, host_path = node["path"], node.get("hostPath") or node["path"]
    kind = node.get("type") or ""
    complete = kind == "p" or (kind and node.get("major"))
    device: Json = {
        "path": path,
        "type": kind,
        "major": node.get("major") or 0,
        "minor": node.get("minor") or 0,
    }
    mode = node.get("fileMode")
    try:
        info = os.lstat(host_path)
    except OSError as error:
        if not complete:
            reason = (error.strerror or "").lower()
            raise CdiError(f'failed to stat CDI host device "{host_path}": {reason}') from None
    else:
        mode = info.st_mode & 0o7777 if mode is None else mode
        if not complete:
            real = _TYPES.get(stat.S_IFMT(info.st_mode), "")
            if not real or (kind and kind != real):
                raise CdiError(f'CDI device ("{path}", "{host_path}"), host type mismatch ({kind}, {real})')
            numbers = {"major": os.major(info.st_rdev), "minor": os.minor(info.st_rdev)}
            device |= {"type": real, **({} if device["major"] or real == "p" else numbers)}
    for name, value in (("fileMode", mode), ("uid", node.get("uid")), ("gid", node.get("gid"))):
        if value is not None:
            device[name] = value
    return device
