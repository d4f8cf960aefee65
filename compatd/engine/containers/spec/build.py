"""Puts the parts of a spec together (OCI runtime spec 1.1)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.engine.containers.model import Container
from compatd.engine.containers.security import SecurityOptions
from compatd.engine.containers.spec.devices import add_devices, add_requested
from compatd.engine.containers.spec.limits import resources
from compatd.engine.containers.spec.mounts import mounts, propagation_of_root
from compatd.engine.containers.spec.namespaces import namespaces
from compatd.engine.containers.spec.process import process

Json = dict[str, Any]
OCI_VERSION = "1.1.0"
INIT_PATH = "/sbin/docker-init"


@dataclass
class Surroundings:
    """What a spec depends on besides the container.

    `pid_of` gives the pid of another running container by the kind of namespace to join and its ID or name,
    `shm_of` its shared /dev/shm; both raise in Docker's words. `own_shm` is the mounted tmpfs of a container
    that shares its own. `layers_of` gives the folders of an image's layers, top first, by its chain IDs;
    `recursive_readonly` says why the runtime cannot make whole trees read-only, "" when it can. `seccomp` is
    a profile for a set of capabilities. `capabilities` are those available here, `cgroup_parent` and
    `ulimits` the daemon's defaults.
    """

    root: Path
    folder: Path
    pid_of: Callable[[str, str], int]
    shm_of: Callable[[str], str]
    own_shm: str
    layers_of: Callable[[list[str]], list[str]]
    seccomp: Callable[[str, list[str]], Json | None]
    security: SecurityOptions
    capabilities: list[str]
    cgroup_v2: bool
    cgroup_parent: str = ""
    systemd_cgroups: bool = False
    ulimits: dict[str, Json] | None = None
    init: str = ""
    recursive_readonly: str = ""
    time_namespace: bool = False
    cdi_folders: list[str] = field(default_factory=list)


def build_spec(container: Container, around: Surroundings) -> Json:
    """The whole spec. Raises EngineError in Docker's words for what cannot be done on this machine."""
    host, config = container.host_config, container.config
    use_init = bool(around.init) and host["PidMode"] in ("",)
    proc = process(container, around, init=INIT_PATH if use_init else "")
    linux: Json = {
        "namespaces": namespaces(container, around),
        "cgroupsPath": cgroups_path(container, around),
        "resources": resources(host),
        "sysctl": _sysctls(container),
        "maskedPaths": []
        if host["Privileged"] and host["MaskedPaths"] is None
        else host["MaskedPaths"] or [],
        "readonlyPaths": host["ReadonlyPaths"] or [],
        "devices": [],
    }
    if around.security.seccomp or not host["Privileged"]:
        profile = around.seccomp(around.security.seccomp, proc["capabilities"]["bounding"])
        if profile is not None:
            linux["seccomp"] = profile
    add_devices(linux, host)
    spec: Json = {
        "ociVersion": OCI_VERSION,
        "process": proc,
        "root": {"path": str(around.root), "readonly": host["ReadonlyRootfs"]},
        "mounts": mounts(container, around, init=around.init if use_init else ""),
        "linux": linux,
    }
    if host["UTSMode"] != "host":
        spec["hostname"] = config["Hostname"]
    propagation = propagation_of_root(container)
    if propagation:
        linux["rootfsPropagation"] = propagation
    if host.get("Annotations"):
        spec["annotations"] = host["Annotations"]
    add_requested(spec, host, around.cdi_folders)
    return spec


def cgroups_path(container: Container, around: Surroundings) -> str:
    """`/docker/<id>`, or `slice:docker:<id>` with the systemd driver."""
    default = "system.slice" if around.systemd_cgroups else "/docker"
    parent = container.host_config["CgroupParent"] or around.cgroup_parent or default
    if around.systemd_cgroups:
        return f"{parent}:docker:{container.id}"
    return f"{parent.rstrip('/')}/{container.id}"


def _sysctls(container: Container) -> dict[str, str]:
    sysctls: dict[str, str] = {}
    mode = container.network_mode
    if container.config["Domainname"]:
        sysctls["kernel.domainname"] = container.config["Domainname"]
    if mode != "host" and not mode.startswith("container:"):
        for name, value in (
            ("net.ipv4.ping_group_range", "0 2147483647"),
            ("net.ipv4.ip_unprivileged_port_start", "0"),
        ):
            if Path("/proc/sys", *name.split(".")).exists():
                sysctls[name] = value
    sysctls.update(container.host_config.get("Sysctls") or {})
    return sysctls
