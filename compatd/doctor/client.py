"""What the docker command line of this user would speak to, and whether it may."""

import hashlib
import json
from collections.abc import Iterator

from compatd.config.hosts import DEFAULT_UNIX
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "client"
_SOCKET = DEFAULT_UNIX.partition("://")[2]


def check(machine: Machine, served: list[str]) -> Iterator[Finding]:
    """Where the command line looks, and this user's rights there. served: where the daemon listens."""
    host, why, undo = _target(machine)
    if not host:
        yield Finding(NAME, PROBLEM, why, undo)
        return
    own = host in served
    if why:
        level = OK if own else WARNING
        yield Finding(NAME, level, f"the docker command line speaks to {host}: {why}", [] if own else undo)
    if host.startswith("ssh://"):
        yield Finding(
            NAME, OK, f"{host} was not asked: to try it, run ssh {host.partition('://')[2]} docker version"
        )
        return
    answer = machine.ask(host, "/_ping")
    match answer.error:
        case "":
            yield Finding(NAME, OK, f"{host} answers this user")
        case "denied":
            yield from _rights(machine, host)
        case "missing" | "refused" if not own:
            yield Finding(NAME, PROBLEM, f"nothing listens on {host}", undo or ["systemctl start docker"])
        case "missing" | "refused":
            pass  # the daemon's own check has more to say
        case error:
            yield Finding(NAME, PROBLEM, f"{host} cannot be reached: {error}", undo)


def _target(machine: Machine) -> tuple[str, str, list[str]]:
    """The engine's address, why it is not the default one, and how to go back. No address: `why` says it."""
    if host := machine.environment.get("DOCKER_HOST"):
        return host, "DOCKER_HOST is set", ["unset DOCKER_HOST"]
    folder = machine.environment.get("DOCKER_CONFIG") or f"{machine.environment.get('HOME', '')}/.docker"
    undo = ["docker context use default"]
    if name := machine.environment.get("DOCKER_CONTEXT"):
        why, undo = f"DOCKER_CONTEXT is {name}", ["unset DOCKER_CONTEXT"]
    else:
        text = machine.read(f"{folder}/config.json")
        try:
            settings = json.loads(text) if text.strip() else {}
            name = settings.get("currentContext", "")
        except (ValueError, AttributeError):
            return (
                "",
                f"{folder}/config.json is no JSON",
                [f"mv {folder}/config.json {folder}/config.json.bad"],
            )
        why = f"the context {name} is chosen in {folder}/config.json"
    if not name or name == "default":
        return DEFAULT_UNIX, "", []
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        meta = json.loads(machine.read(f"{folder}/contexts/meta/{digest}/meta.json"))
        return str(meta["Endpoints"]["docker"]["Host"]), why, undo
    except (ValueError, KeyError, TypeError):
        return "", f"{why}, but there is no such context", undo


def _rights(machine: Machine, host: str) -> Iterator[Finding]:
    """Why this user may not open the socket."""
    path = host.partition("://")[2]
    try:
        info = machine.path(path).stat()
        group, members, gid = _group(machine, info.st_gid)
        mode = info.st_mode
    except OSError:
        yield Finding(
            NAME, PROBLEM, f"a folder above {path} keeps this user out", [f"namei -l {path}", "use sudo"]
        )
        return
    user = _user(machine)
    if mode & 0o060 != 0o060:
        yield Finding(NAME, PROBLEM, f"{path} is for its owner only (mode {mode & 0o777:o})",
                      ["sudo systemctl restart docker.socket docker"])  # fmt: skip
    elif gid in machine.gids:
        yield Finding(NAME, PROBLEM, f"{path} is denied though this session has its group {group}",
                      [f"ls -l {path}", "ask who keeps sessions from it (AppArmor, SELinux)"])  # fmt: skip
    elif user in members:
        yield Finding(
            NAME,
            PROBLEM,
            f"{user} was added to the group {group}, but this session does not have it yet",
            [f"newgrp {group}", "or log out and in again"],
        )
    else:
        yield Finding(
            NAME,
            PROBLEM,
            f"{user} may not use {path}: it is for root and the group {group} (who is in it can become root)",
            [f"sudo usermod -aG {group} {user}", f"newgrp {group}", "or put sudo before docker"],
        )


def _group(machine: Machine, gid: int) -> tuple[str, list[str], int]:
    for line in machine.read("/etc/group").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2] == str(gid):
            return fields[0], fields[3].split(","), gid
    return str(gid), [], gid


def _user(machine: Machine) -> str:
    for line in machine.read("/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(machine.uid):
            return fields[0]
    return str(machine.uid)


def group_exists(machine: Machine, name: str) -> bool:
    """Whether the group is in /etc/group."""
    return any(line.startswith(f"{name}:") for line in machine.read("/etc/group").splitlines())
