"""Other engines on the machine."""

from collections.abc import Iterator

from compatd.config import Config
from compatd.doctor.finding import OK, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "others"
_PACKAGES = ("docker.io", "docker-ce", "moby-engine", "podman-docker")


def check(machine: Machine, config: Config) -> Iterator[Finding]:
    """Packages and processes that want the same socket."""
    found = False
    for package in _PACKAGES:
        told = machine.run("dpkg-query", "-W", "-f", "${Status}", package)
        if told.code == 0 and told.output.endswith(" installed"):
            found = True
            yield Finding(
                NAME,
                WARNING,
                f"the package {package} is installed, too: it wants the same socket and the same units",
                [f"apt remove {package}"],
            )
    for pid in (name for name in machine.entries("/proc") if name.isdecimal()):
        if machine.read(f"/proc/{pid}/comm").strip() != "dockerd":
            continue
        words = machine.read(f"/proc/{pid}/cmdline").split("\0")
        if _is_go(machine, pid) and _clashes(words, config) and not _in_container(machine, pid):
            found = True
            yield Finding(
                NAME, WARNING, f"another dockerd runs (PID {pid}: {' '.join(words).strip()})",
                ["systemctl stop docker", f"kill {pid}"],
            )  # fmt: skip
    if not found:
        yield Finding(NAME, OK, "no other Docker Engine is in the way")


def _clashes(words: list[str], config: Config) -> bool:
    """Whether it has our socket or our data root: without `-H` and `--data-root` it has the default ones."""
    line = " ".join(words)
    own_socket = any(host in line for host in config.hosts) or " -H" not in line.replace(" -H fd://", "")
    return own_socket or "--data-root" not in line or f"--data-root {config.data_root} " in line


def _in_container(machine: Machine, pid: str) -> bool:
    for line in machine.read(f"/proc/{pid}/status").splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) > 2
    return False


def _is_go(machine: Machine, pid: str) -> bool:
    """Whether its program is not an interpreter; when we may not look, it is taken for one of another's."""
    try:
        return "python" not in str(machine.path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return True
