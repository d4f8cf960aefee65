"""Limits of the kernel that many containers run into, and the clock."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "limits"

# file below /proc/sys, the least that is enough, what it is set to, what fails
_LEAST = (
    ("fs/inotify/max_user_instances", 512, 8192, "programs that watch files: 'too many open files'"),
    ("fs/inotify/max_user_watches", 65536, 524288, "programs that watch files: 'no space left on device'"),
    ("kernel/keys/root_maxkeys", 10000, 1000000, "docker run: 'join session keyring: disk quota exceeded'"),
    ("kernel/pid_max", 32768, 4194304, "docker run: 'resource temporarily unavailable'"),
    ("kernel/threads-max", 16384, 131072, "docker run: 'resource temporarily unavailable'"),
    ("fs/file-max", 65536, 1048576, "all programs: 'too many open files in system'"),
    ("vm/max_map_count", 65530, 262144, "databases (Elasticsearch asks for 262144)"),
)


def check(machine: Machine, now: Callable[[], float] | None = None) -> Iterator[Finding]:
    """Each limit against what some dozens of containers need; the clock against sense."""
    low = False
    for name, least, better, fails in _LEAST:
        value = machine.number(f"/proc/sys/{name}")
        if value is None or value >= least:
            continue
        low = True
        key = name.replace("/", ".")
        yield Finding(
            NAME,
            WARNING,
            f"{key} is {value}; with many containers fail {fails}",
            [f"echo {key}={better} >/etc/sysctl.d/60-docker.conf && sysctl -p /etc/sysctl.d/60-docker.conf"],
        )
    if not low:
        yield Finding(NAME, OK, "inotify, keys, processes and files are enough for many containers")
    yield _clock(machine, now)


def _clock(machine: Machine, now: Callable[[], float] | None) -> Finding:
    moment = datetime.fromtimestamp(now(), UTC) if now else datetime.now(UTC)
    fix = ["timedatectl set-ntp true"]
    if moment.year < 2025:
        text = f"the clock says {moment:%Y-%m-%d}: certificates of registries count as not valid yet"
        return Finding(NAME, PROBLEM, text, fix)
    told = machine.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if told.code == 0 and told.output.strip() == "no":
        return Finding(NAME, WARNING, "the clock is not kept by NTP", fix)
    return Finding(NAME, OK, f"the clock says {moment:%Y-%m-%d %H:%M} UTC")
