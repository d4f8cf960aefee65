"""The mounts of a container: Docker's defaults, the user's, and the files that Docker writes for it."""

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from compatd.engine.containers.mountspec import tmpfs_options
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from runtime.init.options import FLAGS, PROPAGATION, WITHIN

if TYPE_CHECKING:
    from compatd.engine.containers.spec.build import Surroundings

Json = dict[str, Any]

_SHARED = ("shared", "rshared")
_SLAVE = ("slave", "rslave")
_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
_ALWAYS_WRITABLE = ("/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev")


def _defaults(host: Json) -> list[Json]:
    plain = ["nosuid", "noexec", "nodev"]
    found = [
        _mount("/proc", "proc", "proc", plain),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/sys", "sysfs", "sysfs", [*plain, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", *plain]),
        _mount("/dev/mqueue", "mqueue", "mqueue", plain),
    ]
    if host["IpcMode"] != "none":
        found.append(_mount("/dev/shm", "tmpfs", "shm", [*plain, "mode=1777", f"size={host['ShmSize']}"]))
    return found


def _mount(destination: str, kind: str, source: str, options: list[str]) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def mounts(container: Container, around: "Surroundings", *, init: str = "") -> list[Json]:
    """All mounts in the order in which they are made. Raises EngineError for impossible propagation."""
    host = container.host_config
    own = sorted(_user_mounts(container, around), key=lambda mount: mount["destination"].count("/"))
    taken = {mount["destination"] for mount in own}
    found = []
    for mount in _defaults(host):
        destination = mount["destination"]
        if destination in taken or ("/dev" in taken and destination.startswith("/dev/")):
            continue
        found.append(mount)
    found += _shared_ipc(container, around, taken, found)
    if host["ReadonlyRootfs"]:
        for mount in found:
            if mount["destination"] not in _ALWAYS_WRITABLE and "ro" not in mount["options"]:
                mount["options"].append("ro")
    found += own
    found += _files(container, taken)
    if host["Privileged"]:
        _writable(found, "sysfs")
    writable_cgroups = around.security.writable_cgroups
    if host["Privileged"] if writable_cgroups is None else writable_cgroups:
        _writable(found, "cgroup")
    if init:
        found.append(_mount("/sbin/docker-init", "bind", init, ["bind", "ro"]))
    return found


def _writable(found: list[Json], kind: str) -> None:
    for mount in found:
        if mount["type"] == kind:
            mount["options"] = [option for option in mount["options"] if option != "ro"]


def _shared_ipc(
    container: Container, around: "Surroundings", taken: set[str], found: list[Json]
) -> list[Json]:
    """With another's IPC namespace comes its /dev/shm; one that is to be shared is a mount of the host."""
    mode = container.host_config["IpcMode"]
    word, _, other = mode.partition(":")
    if "/dev/shm" in taken or not (mode in ("host", "shareable") or (word == "container" and other)):
        return []
    known = {"shareable": around.own_shm, "host": "/dev/shm"}
    source = known.get(mode) or around.shm_of(other)
    found[:] = [mount for mount in found if mount["destination"] != "/dev/shm"]
    return [_mount("/dev/shm", "bind", source, ["rbind", "rprivate"])]


def _user_mounts(container: Container, around: "Surroundings") -> list[Json]:
    found = []
    tmpfs = dict(container.host_config.get("Tmpfs") or {})
    for point in container.mounts:
        if point["Type"] == "tmpfs":
            tmpfs[point["Destination"]] = tmpfs_options(point["Options"], read_only=point["ReadOnly"])
    for destination, options in tmpfs.items():
        found.append(_mount(destination, "tmpfs", "tmpfs", merge_tmpfs(options)))
    for point in container.mounts:
        if point["Destination"] in tmpfs or point["Destination"] in _FILES:
            continue
        found.append(_bound(point, around))
    return found


def _bound(point: Json, around: "Surroundings") -> Json:
    kind, source, options = point["Type"], point["Source"], point["Options"]
    words = ["bind" if kind == "bind" and options.get("NonRecursive") else "rbind"]
    if kind == "volume" and options.get("Subpath"):
        root = os.path.realpath(source)
        source = _subpath(root, options["Subpath"])
        words.append(f"{WITHIN}{root}")
    words += _readonly(point, around)
    if kind == "image":
        found = _mount(point["Destination"], "image", point["ImageId"], [*words, point["Propagation"]])
        return {
            **found,
            "lower": around.layers_of(point["ChainIds"]),
            "subpath": options.get("Subpath") or "",
        }
    if point["Propagation"]:
        check_propagation(source, point["Propagation"])
        words.append(point["Propagation"])
    return _mount(point["Destination"], "bind", source, words)


def _readonly(point: Json, around: "Surroundings") -> list[str]:
    """`rro` makes all mounts below read-only, too; `ro` only the one itself (API 1.44: ReadOnlyNonRecursive).

    Raises EngineError for options that contradict each other, or that cannot be kept.
    """
    options = point["Options"] if point["Type"] == "bind" else {}
    alone, force = bool(options.get("ReadOnlyNonRecursive")), bool(options.get("ReadOnlyForceRecursive"))
    for name, given in (("ReadOnlyNonRecursive", alone), ("ReadOnlyForceRecursive", force)):
        if given and not point["ReadOnly"]:
            raise EngineError(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if alone and force:
        raise EngineError(
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
        )
    if point["RW"]:
        return []
    if force and around.recursive_readonly:
        raise EngineError(around.recursive_readonly)
    return ["ro" if alone or around.recursive_readonly else "rro"]


def _subpath(root: str, path: str) -> str:
    """A folder inside a volume; links that lead out of the volume are refused."""
    found = os.path.realpath(posixpath.join(root, path))
    if found != root and not found.startswith(root + "/"):
        raise InvalidParameter(
            f"path concatenation escapes the base directory, base: {root}, subpath: {path}"
        )
    if not Path(found).exists():
        raise NotFound(f"cannot access path {found}: lstat {found}: no such file or directory")
    return found


_TMPFS_DATA = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
_NOT_TMPFS = frozenset({"defaults", "iversion", "noiversion", "lazytime", "silent", "loud", "symfollow"})
_NOT_TMPFS |= {"nosymfollow"}


def merge_tmpfs(options: str) -> list[str]:
    """Docker's defaults for a tmpfs with the user's options; of two of a kind the last one counts.

    Raises EngineError `invalid tmpfs option "…"`, which names the option without its value.
    """
    seen: set[str | int] = set()
    words: list[str] = []
    for word in reversed(["noexec", "nosuid", "nodev", "rprivate", *options.split(",")]):
        name, equals, _ = word.partition("=")
        kind: str | int
        if not word or word == "defaults":
            continue
        if word in PROPAGATION:
            kind = "propagation"
        elif word in FLAGS and word not in _NOT_TMPFS:
            kind = FLAGS[word][0]
        elif equals and name in _TMPFS_DATA:
            kind = name
        else:
            raise EngineError(f'invalid tmpfs option "{name}"')
        if kind not in seen:
            words.insert(0, word)
            seen.add(kind)
    return words


def _files(container: Container, taken: set[str]) -> list[Json]:
    """resolv.conf, hostname and hosts; a user's mount of one of them takes its place."""
    found = []
    by_destination = {point["Destination"]: point for point in container.mounts}
    for destination, path in zip(
        _FILES,
        (container.resolv_conf_path, container.hostname_path, container.hosts_path),
        strict=True,
    ):
        point = by_destination.get(destination)
        source = point["Source"] if point else path
        if not source or destination in taken or not Path(source).exists():
            continue
        writable = point["RW"] if point else not container.host_config["ReadonlyRootfs"]
        words = ["rbind", "rprivate"] if writable else ["rbind", "ro", "rprivate"]
        found.append(_mount(destination, "bind", source, words))
    return found


def propagation_of_root(container: Container) -> str:
    """The root's propagation that the mounts need, "" for the runtime's own default."""
    wanted = {point["Propagation"] for point in container.mounts if point["Type"] == "bind"}
    if wanted & set(_SHARED):
        return "shared"
    return "rslave" if wanted & set(_SLAVE) else ""


def check_propagation(source: str, propagation: str, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Raise EngineError when the mount that holds `source` cannot give the propagation asked for."""
    if propagation not in _SHARED + _SLAVE:
        return
    real = os.path.realpath(source)
    best, optional = "", ""
    for line in mountinfo.read_text().splitlines():
        fields = line.split(" ")
        point = fields[4]
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, optional = point, " ".join(fields[6 : fields.index("-", 6)])
    if propagation in _SHARED and "shared:" not in optional:
        raise EngineError(f"path {source} is mounted on {best} but it is not a shared mount")
    if propagation in _SLAVE and "shared:" not in optional and "master:" not in optional:
        raise EngineError(f"path {source} is mounted on {best} but it is not a shared or slave mount")
