"""The process part of a spec: arguments, environment, user, capabilities, limits."""

from typing import TYPE_CHECKING, Any

from compatd.engine.containers import capabilities
from compatd.engine.containers.merge import override_environment
from compatd.engine.containers.model import Container

if TYPE_CHECKING:
    from compatd.engine.containers.spec.build import Surroundings

Json = dict[str, Any]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(container: Container, *, tty: bool) -> list[str]:
    """PATH, HOSTNAME and TERM as Docker sets them, then the container's own. HOME is the runtime's part."""
    base = [f"PATH={PATH}", f"HOSTNAME={container.config['Hostname']}"]
    if tty:
        base.append("TERM=xterm")
    return override_environment(base, container.config["Env"] or [])


def process(container: Container, around: "Surroundings", *, init: str) -> Json:
    """The container's first process; with `init` a path, that is pid 1 and runs the command."""
    config, host = container.config, container.host_config
    args = [container.path, *container.args]
    allowed = capabilities.effective(
        host["CapAdd"], host["CapDrop"], privileged=host["Privileged"], have=around.capabilities
    )
    result: Json = {
        "terminal": container.tty,
        "user": user(config["User"], host["GroupAdd"]),
        "args": [init, "--", *args] if init else args,
        "env": environment(container, tty=container.tty),
        "cwd": config["WorkingDir"] or "/",
        "capabilities": capability_sets(allowed),
        "noNewPrivileges": around.security.no_new_privileges,
        "oomScoreAdj": host["OomScoreAdj"],
        "rlimits": rlimits(host["Ulimits"], around.ulimits or {}),
    }
    if container.apparmor:
        result["apparmorProfile"] = container.apparmor
    height, width = host["ConsoleSize"]
    if container.tty and (height or width):
        result["consoleSize"] = {"height": height, "width": width}
    return result


def user(name: str, groups: list[str] | None) -> Json:
    """A user to be looked up in the container; root when no name is given."""
    found: Json = {"uid": 0, "gid": 0, "username": name}
    if groups:
        found["additionalGroups"] = [str(group) for group in groups]
    return found


def capability_sets(names: list[str]) -> Json:
    """Bounding, effective and permitted; never inheritable (CVE-2022-24769)."""
    return {"bounding": names, "effective": names, "permitted": names}


def rlimits(given: list[Json] | None, defaults: dict[str, Json]) -> list[Json]:
    """`--ulimit`s, then the daemon's defaults that are not among them."""
    wanted = list(given or [])
    named = {limit.get("Name") for limit in wanted}
    wanted += [{**limit, "Name": name} for name, limit in defaults.items() if name not in named]
    return [
        {
            "type": f"RLIMIT_{str(limit['Name']).upper()}",
            "soft": _unsigned(limit.get("Soft", 0)),
            "hard": _unsigned(limit.get("Hard", 0)),
        }
        for limit in wanted
    ]


def _unsigned(value: int) -> int:
    return value if value >= 0 else (1 << 64) - 1


def exec_process(container: Container, spec_process: Json, options: Json) -> Json:
    """A further process in a running container, from the container's own and the exec's options.

    `options` (API: ExecConfig): Cmd, Env, User, WorkingDir, Tty, Privileged, ConsoleSize.
    """
    tty = bool(options.get("Tty"))
    result = {
        **spec_process,
        "terminal": tty,
        "args": options["Cmd"],
        "env": override_environment(environment(container, tty=tty), options.get("Env") or []),
        "cwd": options.get("WorkingDir") or container.config["WorkingDir"] or "/",
        "user": user(options.get("User") or container.config["User"], container.host_config["GroupAdd"]),
    }
    result.pop("consoleSize", None)
    size = options.get("ConsoleSize")
    if tty and size and any(size):
        result["consoleSize"] = {"height": size[0], "width": size[1]}
    if options.get("Privileged"):
        result["capabilities"] = capability_sets(capabilities.available())
    return result
