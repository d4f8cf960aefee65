"""The daemon: whether it runs, where, and whether it answers.

"Cannot connect to the Docker daemon" begins here.
"""

from collections.abc import Iterator

from compatd.config import Config
from compatd.config.hosts import DEFAULT_UNIX
from compatd.doctor.client import group_exists
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "daemon"
_START = ["systemctl start docker", "or, without systemd: sudo dockerd"]
_LOOK = "journalctl -u docker -n 50"


def check(machine: Machine, config: Config) -> Iterator[Finding]:
    """Its process, its sockets, the units that start it."""
    pid = _pid(machine, config)
    systemd = machine.exists("/run/systemd/system")
    start = _START if systemd else ["sudo dockerd"]
    answered = False
    for host in served(config):
        answer = machine.ask(host, "/_ping")
        scheme, _, path = host.partition("://")
        if not answer.error:
            answered = True
            yield _who(machine, host)
        elif answer.error == "denied":
            answered = True
            yield Finding(NAME, OK, f"{host} is there (this user may not ask it: see client)")
        elif pid and answer.error == "missing":
            yield Finding(
                NAME,
                PROBLEM,
                f"the daemon runs (PID {pid}), but not on {path}: it has another -H, or somebody removed "
                "the socket",
                [f"tr '\\0' ' ' </proc/{pid}/cmdline", "systemctl restart docker.socket docker"],
            )
        elif answer.error == "missing":
            yield Finding(NAME, PROBLEM, f"the daemon does not run: there is no {path}", start)
        elif answer.error == "refused":
            text = f"{path} is left over of" if scheme == "unix" else f"nothing listens on {host}:"
            yield Finding(NAME, PROBLEM, f"{text} a daemon that does not run any more", [*start, _LOOK])
        elif answer.error == "silent":
            yield Finding(
                NAME,
                PROBLEM,
                f"{host} takes connections, but the daemon does not answer"
                + (f" (PID {pid})" if pid else ""),
                [_LOOK, "systemctl kill -s KILL docker && systemctl start docker (containers run on)"],
            )
        else:
            yield Finding(NAME, PROBLEM, f"{host} answers wrongly: {answer.error}", [_LOOK])
    if not group_exists(machine, config.group) and config.group:
        yield Finding(
            NAME,
            WARNING,
            f"there is no group {config.group}: only root may use the socket",
            [f"groupadd --system {config.group}", "systemctl restart docker.socket docker"],
        )
    if systemd:
        yield from _units(machine, answered=answered)


def served(config: Config) -> list[str]:
    """Where the daemon listens; what systemd hands over is the default socket."""
    hosts = [host for host in config.hosts if not host.startswith("fd://")]
    return hosts or [DEFAULT_UNIX]


def _pid(machine: Machine, config: Config) -> int | None:
    pid = machine.number(config.pidfile) if config.pidfile else None
    return pid if pid and machine.exists(f"/proc/{pid}") else None


def _who(machine: Machine, host: str) -> Finding:
    version = machine.ask_json(host, "/version") if host.startswith("unix://") else None
    if not isinstance(version, dict):
        return Finding(NAME, OK, f"{host} answers")
    platform = (version.get("Platform") or {}).get("Name") or "another engine"
    text = f"{host} answers: {platform} {version.get('Version')}, API {version.get('ApiVersion')}"
    if platform == "compatd":
        return Finding(NAME, OK, text)
    return Finding(
        NAME,
        WARNING,
        f"{text}: this is not compatd",
        [
            "systemctl disable --now docker containerd",
            "apt install ./compatd_*.deb (it takes the other's place)",
        ],
    )


def _units(machine: Machine, *, answered: bool) -> Iterator[Finding]:
    for unit in ("docker.service", "docker.socket"):
        told = machine.run(
            "systemctl", "show", unit, "--property=LoadState,ActiveState,SubState,UnitFileState"
        )
        if told.code != 0:
            continue
        state = dict(line.split("=", 1) for line in told.output.splitlines() if "=" in line)
        active = state.get("ActiveState", "")
        if state.get("LoadState") == "not-found":
            if not answered:
                yield Finding(
                    NAME, WARNING, f"systemd knows no {unit}", ["apt install ./compatd_*.deb", "sudo dockerd"]
                )
        elif state.get("LoadState") == "masked":
            yield Finding(
                NAME, PROBLEM, f"{unit} is masked", [f"systemctl unmask {unit}", f"systemctl start {unit}"]
            )
        elif active == "failed":
            fix = [
                f"systemctl status {unit}",
                _LOOK,
                f"systemctl reset-failed {unit} && systemctl start {unit}",
            ]
            yield Finding(NAME, PROBLEM, f"{unit} has failed", fix)
        else:
            yield Finding(NAME, OK, f"{unit} is {active} ({state.get('SubState', '')})")
            if state.get("UnitFileState") == "disabled":
                fix = [f"systemctl enable {unit}"]
                yield Finding(NAME, WARNING, f"{unit} does not start at boot", fix)
