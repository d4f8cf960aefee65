"""What a start writes into the bundle: `config.json` (OCI) and `shim.json` (docs/architecture.md)."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from compatd.engine import logdrivers
from compatd.engine.cgroupdriver import SYSTEMD
from compatd.engine.containers.ipc import shm_path
from compatd.engine.containers.joining import pid_of, shared_shm
from compatd.engine.containers.model import Container
from compatd.engine.containers.runtimes import find_runtime, why_not_recursive
from compatd.engine.containers.security import parse_security_options
from compatd.engine.containers.spec import Surroundings, build_spec
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_INITS = ("docker-init", "tini-static", "tini")
_INIT_PLACES = "/usr/libexec/docker:/usr/lib/docker:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin"


def write_bundle(containers: "Containers", container: Container, plan: Json) -> None:
    """Write both files, and `relays` where ports are published.

    Raises EngineError for what the spec cannot be made of, LogOptionError, OSError for the disk.
    """
    folder = containers.runtime.bundle(container.id)
    (folder / "rootfs").mkdir(parents=True, exist_ok=True)
    spec = build_spec(container, surroundings(containers, container, folder))
    (folder / "config.json").write_bytes(orjson.dumps(spec))
    if relays := plan.get("relays"):
        # Beside, for it can be long, and the shim itself need not know it.
        (folder / "relays").write_bytes(orjson.dumps(relays))
        plan = {**plan, "relays": True}
    (folder / "shim.json").write_bytes(orjson.dumps(shim_config(containers, container, plan)))


def surroundings(containers: "Containers", container: Container, folder: Path) -> Surroundings:
    """What the spec of a container depends on besides itself; `folder` is its bundle. Raises EngineError."""
    config = containers.config
    security = parse_security_options(
        container.host_config["SecurityOpt"], no_new_privileges=config.no_new_privileges
    )
    return Surroundings(
        root=folder / "rootfs",
        folder=container.dir,
        pid_of=lambda kind, other: pid_of(containers, kind, other),
        shm_of=lambda other: shared_shm(containers, other),
        own_shm=str(shm_path(container)),
        layers_of=lambda chain_ids: _layers(containers, chain_ids),
        recursive_readonly=why_not_recursive(
            container.host_config["Runtime"], find_runtime(container.host_config["Runtime"], config.runtimes)
        ),
        seccomp=lambda option, names: _seccomp(option, names, config.seccomp_profile),
        security=security,
        capabilities=containers.capabilities,
        cgroup_v2=containers.info.cgroup_v2,
        cgroup_parent=config.cgroup_parent,
        systemd_cgroups=containers.info.cgroup_driver == SYSTEMD,
        ulimits=config.default_ulimits,
        cdi_folders=config.cdi_folders,
        init=find_init(config.init_path) if wants_init(container, config.init) else "",
    )


def _layers(containers: "Containers", chain_ids: list[str]) -> list[str]:
    """The folders of an image's layers, top first, without the files that containers get."""
    return [str(path) for path in containers.storage.image_lower(chain_ids)]


def _seccomp(option: str, names: list[str], daemons: str) -> Json | None:
    from compatd.engine.security import seccomp_profile

    return seccomp_profile(option, names, daemons=daemons)


def wants_init(container: Container, default: bool) -> bool:
    """`--init`, or the daemon's default."""
    asked = container.host_config.get("Init")
    return default if asked is None else bool(asked)


def find_init(path: str) -> str:
    """The init binary: the configured one, docker-init, or tini. Raises EngineError when there is none."""
    if path:
        return path
    for name in _INITS:
        found = shutil.which(name, path=_INIT_PLACES)
        if found:
            return found
    raise EngineError('exec: "docker-init": executable file not found in $PATH')


def _runtime(containers: "Containers", name: str) -> Json | None:
    chosen = find_runtime(name, containers.config.runtimes)
    if chosen is None or containers.info.cgroup_driver != SYSTEMD:
        return chosen
    return {**chosen, "args": [*(chosen.get("args") or []), "--systemd-cgroup"]}


def shim_config(containers: "Containers", container: Container, plan: Json) -> Json:
    """shim.json. Raises LogOptionError."""
    config, host = container.config, container.host_config
    height, width = host["ConsoleSize"]
    return {
        "id": container.id,
        "root": containers.storage.root_plan(container.id, container.chain_ids),
        "runtime": _runtime(containers, host["Runtime"]),
        "stdin": bool(config["OpenStdin"]),
        "stdin_once": bool(config["StdinOnce"]),
        "log": logdrivers.shim_log(container),
        "network": plan,
        "console": [width, height] if container.tty and (height or width) else None,
        "init": None,
    }
