"""`-v`, `--mount`, `--tmpfs` and `--volumes-from` as mount points (API: Mount, HostConfig.Binds).

A mount point is a JSON object in the spelling of inspect's `Mounts` (`Type`, `Name`, `Source`, `Destination`,
`Driver`, `Mode`, `RW`, `Propagation`) with additions of ours: `CopyData` (an empty volume takes the image's
files), `CreateSource` (a missing host folder is made), `Options` (the request's BindOptions, VolumeOptions or
TmpfsOptions) and `ReadOnly`.
"""

import os
import posixpath
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter

Json = dict[str, Any]

PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_GROUPS = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
)
_UNITS = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))


def valid_mode(mode: str) -> bool:
    """Whether `ro,z,rslave` names known options, at most one of each kind."""
    if not mode:
        return True
    words = mode.split(",")
    if any(not any(word in group for group in _GROUPS) for word in words):
        return False
    return all(sum(word in group for word in words) <= 1 for group in _GROUPS)


def check_destination(path: str) -> None:
    """Raise InvalidParameter for `/` and relative paths."""
    plain = path.replace("\\", "/")
    if posixpath.normpath(plain) in ("/", "//"):
        raise InvalidParameter("invalid specification: destination can't be '/'")
    if not plain.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{path}' mount path must be absolute")


def check_mount(mount: Json, *, source_must_exist: bool = True) -> None:
    """Check one entry of HostConfig.Mounts. Raises InvalidParameter `invalid mount config for type …`."""
    try:
        _check_mount(mount, source_must_exist)
    except InvalidParameter as error:
        raise InvalidParameter(
            f'invalid mount config for type "{mount.get("Type", "")}": {error.message}'
        ) from None


def _check_mount(mount: Json, source_must_exist: bool) -> None:
    kind, source = mount.get("Type", ""), mount.get("Source") or ""
    for field, owner in (
        ("BindOptions", "bind"),
        ("VolumeOptions", "volume"),
        ("ImageOptions", "image"),
        ("TmpfsOptions", "tmpfs"),
        ("ClusterOptions", "cluster"),
    ):
        if kind != owner and mount.get(field) is not None:
            raise InvalidParameter(f"field {field} must not be specified")
    if not mount.get("Target"):
        raise InvalidParameter("field Target must not be empty")
    check_destination(mount["Target"])
    if kind == "bind":
        _check_bind(mount, source, source_must_exist)
    elif kind == "volume":
        _check_subpath((mount.get("VolumeOptions") or {}).get("Subpath"), anonymous=not source)
    elif kind == "tmpfs":
        if source:
            raise InvalidParameter("field Source must not be specified")
        tmpfs_options(mount.get("TmpfsOptions"), read_only=bool(mount.get("ReadOnly")))
    elif kind == "image":
        if not source:
            raise InvalidParameter("field Source must not be empty")
        _check_subpath((mount.get("ImageOptions") or {}).get("Subpath"), anonymous=False)
    else:
        raise InvalidParameter("mount type unknown")


def _check_bind(mount: Json, source: str, source_must_exist: bool) -> None:
    if not source:
        raise InvalidParameter("field Source must not be empty")
    options = mount.get("BindOptions") or {}
    if options.get("Propagation") and options["Propagation"] not in PROPAGATIONS:
        raise InvalidParameter(f"invalid propagation mode: {options['Propagation']}")
    if not source.replace("\\", "/").startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{source}' mount path must be absolute")
    if source_must_exist and not options.get("CreateMountpoint") and not os.path.lexists(source):
        raise InvalidParameter(f"bind source path does not exist: {source}")


def _check_subpath(path: str | None, *, anonymous: bool) -> None:
    if not path:
        return
    if anonymous:
        raise InvalidParameter("must not set Subpath when using anonymous volumes")
    if path.startswith("/") or posixpath.normpath(path).split("/")[0] == "..":
        raise InvalidParameter("subpath must be a relative path within the volume")


def tmpfs_options(options: Json | None, *, read_only: bool) -> str:
    """TmpfsOptions as mount(8) options: `ro,mode=1777,size=64m`. Raises InvalidParameter."""
    words = ["ro"] if read_only else []
    options = options or {}
    if options.get("Mode"):
        words.append(f"mode={options['Mode']:o}")
    if options.get("SizeBytes"):
        size, suffix = options["SizeBytes"], ""
        for unit, factor in _UNITS:
            if size % factor == 0:
                size, suffix = size // factor, unit
                break
        words.append(f"size={size}{suffix}")
    for option in options.get("Options") or []:
        if not 1 <= len(option) <= 2:
            raise InvalidParameter("invalid option array length")
        if option[0] not in ("exec", "noexec"):
            raise InvalidParameter(f"invalid option: {option[0]}")
        words.append("=".join(option))
    return ",".join(words)


def parse_bind(raw: str, volume_driver: str) -> Json:
    """One of HostConfig.Binds (`source:target[:mode]`) as a mount point.

    Raises EngineError: dockerd answers 500 to a bad one, and 400 to a bad entry of Mounts.
    """
    invalid = EngineError(f"invalid volume specification: '{raw}'")
    parts = raw.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and valid_mode(parts[1])):
        raise invalid
    source, target, mode = ("", parts[0], "") if len(parts) == 1 else (*parts, "")[:3]
    if not valid_mode(mode):
        raise EngineError(f"invalid mode: {mode}")
    words = mode.split(",")
    mount: Json = {
        "Type": "bind" if source.startswith("/") else "volume",
        "Source": source,
        "Target": target,
        "ReadOnly": "ro" in words,
    }
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if mount["Type"] == "bind":
        if propagation:
            mount["BindOptions"] = {"Propagation": propagation}
        if "nocopy" in words:
            raise EngineError(
                invalid.message
                + ': invalid mount config for type "bind": field VolumeOptions must not be specified'
            )
    else:
        if propagation:
            raise EngineError(
                invalid.message
                + ': invalid mount config for type "volume": field BindOptions must not be specified'
            )
        mount["VolumeOptions"] = {
            "NoCopy": "nocopy" in words,
            "DriverConfig": {"Name": volume_driver} if volume_driver else {},
        }
    try:
        check_mount(mount, source_must_exist=False)
    except InvalidParameter as error:
        raise EngineError(f"{invalid.message}: {error.message}") from None
    point = mount_point(mount)
    point["Mode"] = mode
    point["CreateSource"] = True
    return point


def mount_point(mount: Json) -> Json:
    """A checked entry of HostConfig.Mounts as a mount point."""
    kind = mount["Type"]
    options = mount.get(f"{kind.capitalize()}Options") or {}
    point: Json = {
        "Type": kind,
        "Source": "",
        "Destination": _clean(mount["Target"]),
        "Mode": "",
        "RW": not mount.get("ReadOnly"),
        "Propagation": "",
        "Options": options,
        "ReadOnly": bool(mount.get("ReadOnly")),
    }
    if kind == "volume":
        point["Name"] = mount.get("Source") or ""
        point["Driver"] = (options.get("DriverConfig") or {}).get("Name") or ""
        point["CopyData"] = not options.get("NoCopy")
    elif kind == "bind":
        point["Source"] = _clean(mount["Source"])
        point["Propagation"] = options.get("Propagation") or "rprivate"
        point["CreateSource"] = bool(options.get("CreateMountpoint"))
    elif kind == "image":
        point["Source"] = mount["Source"]
        point["Propagation"] = "rprivate"
    return point


def parse_volumes_from(entry: str) -> tuple[str, bool]:
    """`name[:mode]` → the container and whether writing is allowed. Raises InvalidParameter."""
    if not entry:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    name, _, mode = entry.partition(":")
    words = mode.split(",")
    forbidden = PROPAGATIONS | {"nocopy"}
    if not valid_mode(mode) or any(word in forbidden for word in words):
        raise InvalidParameter(f"invalid mode: {mode}")
    return name, "ro" not in words


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path.replace("\\", "/")).lstrip("/")


def shown(point: Json) -> Json:
    """A mount point as inspect shows it."""
    answer = {"Type": point["Type"]}
    for field in ("Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation"):
        if field in ("Name", "Driver") and not point.get(field):
            continue
        answer[field] = point.get(field, "")
    return answer
