"""`GET /containers/{id}/top`: a container's processes, as the host's ps(1) shows them."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import stop
from compatd.engine.containers.model import Container
from compatd.engine.errors import Conflict, EngineError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_PS_ALIAS = re.compile(r"\s+(\S*)=\s*(PID\S*)")


async def top(containers: "Containers", container: Container, arguments: str) -> Json:
    """The container's processes as the host's ps(1) shows them: {"Titles", "Processes"}.

    Raises Conflict when it does not run, EngineError with ps' own message.
    """
    arguments = arguments or "-ef"
    for name, value in _PS_ALIAS.findall(arguments):
        if name != "pid":
            raise EngineError(f'specifying "{name}={value}" is not allowed')
    if not container.state.running:
        raise stop.not_running(container)
    if container.state.restarting:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    pids = await asyncio.to_thread(container_pids, container)
    words = arguments.split(" ")
    code, output, _ = await _ps([*words, "-q" + ",".join(str(pid) for pid in pids)])
    if code:
        code, output, message = await _ps(words)
        if code:
            raise EngineError(f"ps: {message.splitlines()[0] if message else f'exit status {code}'}")
    answer = parse_ps(output, set(pids))
    containers.emit(container, "top")
    return answer


async def _ps(arguments: list[str]) -> tuple[int, str, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise EngineError('ps: exec: "ps": executable file not found in $PATH') from None
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


def parse_ps(output: str, pids: set[int]) -> Json:
    """Titles and the lines of the processes asked for. Raises EngineError when ps shows no PID."""
    lines = output.split("\n")
    titles = lines[0].split()
    if "PID" not in titles:
        raise EngineError("Couldn't find PID field in ps output")
    column, width = titles.index("PID"), len(titles)
    processes: list[list[str]] = []
    inside = False
    for line in lines[1:]:
        fields = line.split()
        if not fields:
            continue
        if fields[column] == "-":  # a thread of the process before
            if inside:
                processes.append([*fields[: width - 1], " ".join(fields[width - 1 :])])
            continue
        try:
            pid = int(fields[column])
        except (ValueError, IndexError):
            raise EngineError(f"Unexpected pid '{fields[column]}'") from None
        inside = pid in pids
        if inside:
            processes.append([*fields[: width - 1], " ".join(fields[width - 1 :])])
    return {"Processes": processes or None, "Titles": titles}


def container_pids(container: Container, proc: Path = Path("/proc")) -> list[int]:
    """Every process in the container's cgroup, and at least its first one."""
    pid = container.state.pid
    groups = _cgroup_folders(proc / str(pid) / "cgroup", container.id)
    pids = {pid}
    for group in groups:
        for file in [group / "cgroup.procs", *group.glob("**/cgroup.procs")]:
            try:
                pids.update(int(line) for line in file.read_text().split() if line != "0")
            except OSError:
                continue
    return sorted(pids)


def _cgroup_folders(file: Path, container_id: str) -> list[Path]:
    """The folder of one hierarchy that knows the container (v2, or v1's pids or memory)."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if container_id not in path:
            continue
        for base in [root / name for name in controllers.split(",") if name] or [root, root / "unified"]:
            folder = base / path.lstrip("/")
            if folder.is_dir():
                return [folder]
    return []
