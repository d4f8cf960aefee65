"""What the page shows of the engine: names, states and numbers. No labels, environments, commands or logs."""

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import Any

from compatd import COMPATD_VERSION, VERSION
from compatd.engine.engine import Engine

Json = dict[str, Any]


class Snapshots:
    """Gives everybody who asks within `fresh` seconds the same one: many readers cost no more than one."""

    def __init__(self, engine: Engine, fresh: float = 0.9) -> None:
        self._engine, self._fresh = engine, fresh
        self._began = time.time()
        self._lock = asyncio.Lock()
        self._last: tuple[float, Json] | None = None

    async def get(self) -> Json:
        """The newest one."""
        async with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > self._fresh:
                self._last = (now, await self._take())
            return self._last[1]

    async def _take(self) -> Json:
        engine = self._engine
        rows = await engine.containers.list(all=True)
        running = [item for item in engine.containers.all() if item.state.running]
        samples = {item["id"]: item for item in await engine.containers.stats.many(running)}
        about = engine.system.about()
        return {
            "engine": {
                "name": platform.node(),
                "version": VERSION,
                "compatd": COMPATD_VERSION,
                "kernel": platform.release(),
                "system": about["OperatingSystem"],
                "storage": about["Driver"],
                "since": self._began,
            },
            "host": await asyncio.to_thread(host),
            "containers": [_container(row, samples.get(row["Id"])) for row in rows],
            "images": [
                {
                    "id": row["Id"],
                    "tags": row["RepoTags"] or [],
                    "size": row["Size"],
                    "created": row["Created"],
                }
                for row in engine.images.list({})
            ],
            "networks": [
                {
                    "id": row["Id"],
                    "name": row["Name"],
                    "driver": row["Driver"],
                    "subnets": [
                        pool.get("Subnet", "") for pool in (row.get("IPAM") or {}).get("Config") or []
                    ],
                }
                for row in engine.networks.list()
            ],
            "volumes": [
                {"name": row["Name"], "driver": row["Driver"], "created": row.get("CreatedAt", "")}
                for row in engine.volumes.find_all()
            ],
        }


def _container(row: Json, sample: Json | None) -> Json:
    shown: Json = {
        "id": row["Id"],
        "name": (row["Names"] or ["/"])[0].lstrip("/"),
        "image": row["Image"],
        "state": row["State"],
        "status": row["Status"],
        "ports": [
            f"{port.get('IP', '')}:{port['PublicPort']}->{port['PrivatePort']}/{port['Type']}"
            for port in row.get("Ports") or []
            if port.get("PublicPort")
        ],
    }
    if sample is not None:
        cpu, memory = sample.get("cpu_stats") or {}, sample.get("memory_stats") or {}
        shown["cpu"] = (cpu.get("cpu_usage") or {}).get("total_usage", 0) / 1e9
        shown["memory"] = memory.get("usage", 0)
        shown["limit"] = memory.get("limit", 0)
    return shown


def host(proc: Path = Path("/proc")) -> Json:
    """The machine: seconds of CPU used, how many there are, memory in bytes, load (proc(5))."""
    ticks = [int(word) for word in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    memory = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in (proc / "meminfo").read_text().splitlines()
        if len(line.split()) > 2
    }
    busy = sum(ticks) - ticks[3] - ticks[4]  # all but idle and iowait
    return {
        "time": time.time(),
        "cpus": os.cpu_count() or 1,
        "cpu": busy / os.sysconf("SC_CLK_TCK"),
        "memory": memory["MemTotal"] - memory.get("MemAvailable", 0),
        "limit": memory["MemTotal"],
        "load": float((proc / "loadavg").read_text().split()[0]),
    }
