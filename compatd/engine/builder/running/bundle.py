"""What the runtime reads of a RUN: `config.json` and `shim.json` of its bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from compatd.engine.builder.running.model import Run
from compatd.engine.containers import bundle
from compatd.engine.containers.model import Container
from compatd.engine.containers.spec import build_spec

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]


def write(
    engine: "Engine", run: Run, container: Container, root: Json, plan: Json, mounts: Sequence[Json]
) -> None:
    """Write both. `mounts` go behind those that every container has. Raises EngineError, OSError."""
    folder = engine.runtime.bundle(run.id)
    (folder / "rootfs").mkdir(parents=True, exist_ok=True)
    spec = build_spec(container, bundle.surroundings(engine.containers, container, folder))
    last = {mount["destination"]: mount for mount in mounts}
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] not in last]
    spec["mounts"] += [mount for mount in mounts if last[mount["destination"]] is mount]
    if not run.classic:
        _as_buildkit(run, spec)
    config = {**bundle.shim_config(engine.containers, container, plan), "root": root}
    (folder / "config.json").write_bytes(orjson.dumps(spec))
    (folder / "shim.json").write_bytes(orjson.dumps(config))


def _as_buildkit(run: Run, spec: Json) -> None:
    """Nothing that only dockerd's containers have."""
    given = {entry.partition("=")[0] for entry in run.environment}
    env = spec["process"]["env"]
    spec["process"]["env"] = [one for one in env if "HOSTNAME" in given or not one.startswith("HOSTNAME=")]
    spec["linux"]["sysctl"] = {}
    if run.resources.get("ShmSize"):
        options = ["nosuid", f"size={run.resources['ShmSize']}"]
        shm = {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs", "options": options}
        spec["mounts"] = [shm if one["destination"] == "/dev/shm" else one for one in spec["mounts"]]


def root_plan(engine: "Engine", run: Run) -> Json:
    """`shim.json`'s "root". BuildKit's roots have no mount points in a layer of their own."""
    snapshots = engine.builder.snapshots
    return snapshots.root_plan(run.snapshot) if run.classic else {"overlay": snapshots.view(run.snapshot)}


def changes(root: Json) -> Path:
    """The folder that gets what a command writes."""
    overlay = root["overlay"]
    return Path(overlay.get("flat") or overlay["upper"])
