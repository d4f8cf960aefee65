"""All metrics of the engine, by dockerd's names and with its help texts where it has them."""

import os
import platform
import resource
from pathlib import Path
from typing import Any

from compatd import VERSION
from compatd.engine import metrics
from compatd.engine.engine import Engine
from compatd.status.text import counter, family, histogram, one

_ENGINE = "engine_daemon_"


def render(engine: Engine, process: list[str]) -> bytes:
    """The page `/metrics`. process: the lines of `of_process`, which are read in a thread."""
    running, paused, stopped = engine.containers.counts()
    states = {"paused": paused, "running": running, "stopped": stopped}
    info = engine.system.about()
    lines = [
        *family(
            "builder_builds_failed_total",
            "counter",
            "Number of failed image builds",
            [({"reason": reason}, count) for reason, count in metrics.builds_failed.values.items()],
        ),
        *counter(
            "builder_builds_triggered_total", "Number of triggered image builds", metrics.builds_triggered
        ),
        *histogram(
            f"{_ENGINE}container_actions_seconds",
            "The number of seconds it takes to process each container action",
            "action",
            metrics.container_actions,
        ),
        *family(
            f"{_ENGINE}container_states_containers",
            "gauge",
            "The count of containers in various states",
            [({"state": state}, count) for state, count in states.items()],
        ),
        *one(
            f"{_ENGINE}engine_cpus_cpus",
            "gauge",
            "The number of cpus that the host system of the engine has",
            len(os.sched_getaffinity(0)),
        ),
        *family(
            f"{_ENGINE}engine_info",
            "gauge",
            "The information related to the engine and the OS it is running on",
            [({**_engine(info), "version": VERSION, "commit": ""}, 1)],
        ),
        *one(
            f"{_ENGINE}engine_memory_bytes",
            "gauge",
            "The number of bytes of memory that the host system of the engine has",
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        ),
        *one(
            f"{_ENGINE}events_subscribers_total",
            "gauge",
            "The number of current subscribers to events",
            engine.events.listeners,
        ),
        *counter(f"{_ENGINE}events_total", "The number of events logged", metrics.events),
        *histogram(
            f"{_ENGINE}health_check_start_duration_seconds",
            "The number of seconds it takes to prepare to run health checks",
            "",
            metrics.health_starts,
        ),
        *counter(
            f"{_ENGINE}health_checks_failed_total",
            "The total number of failed health checks",
            metrics.health_checks_failed,
        ),
        *counter(f"{_ENGINE}health_checks_total", "The total number of health checks", metrics.health_checks),
        *histogram(
            f"{_ENGINE}host_info_functions_seconds",
            "The number of seconds it takes to call functions gathering info about the host",
            "function",
            metrics.host_info,
        ),
        *histogram(
            f"{_ENGINE}network_actions_seconds",
            "The number of seconds it takes to process each network action",
            "action",
            metrics.network_actions,
        ),
        *process,
    ]
    return ("\n".join(lines) + "\n").encode()


def _engine(info: dict[str, Any]) -> dict[str, str]:
    return {
        "architecture": platform.machine(),
        "daemon_id": info["ID"],
        "graphdriver": info["Driver"],
        "kernel": platform.release(),
        "os": info["OperatingSystem"],
        "os_type": "linux",
        "os_version": info["OSVersion"],
    }


def of_process(proc: Path = Path("/proc")) -> list[str]:
    """The daemon's own process (proc(5)), as Prometheus' clients tell it."""
    own = proc / "self"
    fields = (own / "stat").read_text().rpartition(")")[2].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    booted = next(
        int(line.split()[1]) for line in (proc / "stat").read_text().splitlines() if line.startswith("btime ")
    )
    received, sent = _traffic((own / "net/dev").read_text())
    files, memory = (
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        resource.getrlimit(resource.RLIMIT_AS)[0],
    )
    rows = (
        (
            "cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            (int(fields[11]) + int(fields[12])) / ticks,
        ),
        ("max_fds", "gauge", "Maximum number of open file descriptors.", _unlimited(files)),
        (
            "network_receive_bytes_total",
            "counter",
            "Number of bytes received by the process over the network.",
            received,
        ),
        (
            "network_transmit_bytes_total",
            "counter",
            "Number of bytes sent by the process over the network.",
            sent,
        ),
        ("open_fds", "gauge", "Number of open file descriptors.", len(os.listdir(own / "fd"))),
        ("resident_memory_bytes", "gauge", "Resident memory size in bytes.", int(fields[21]) * page),
        (
            "start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            booted + int(fields[19]) / ticks,
        ),
        ("virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", int(fields[20])),
        (
            "virtual_memory_max_bytes",
            "gauge",
            "Maximum amount of virtual memory available in bytes.",
            _unlimited(memory),
        ),
    )
    return [line for name, kind, about, value in rows for line in one(f"process_{name}", kind, about, value)]


def _unlimited(limit: int) -> float:
    return float(1 << 64) if limit == resource.RLIM_INFINITY else float(limit)


def _traffic(text: str) -> tuple[int, int]:
    """Bytes in and out of all interfaces of the daemon's network namespace (net/dev)."""
    rows = [line.partition(":")[2].split() for line in text.splitlines() if ":" in line]
    return sum(int(row[0]) for row in rows), sum(int(row[8]) for row in rows)
