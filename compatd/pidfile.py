"""The PID file: one daemon a file, a stale one is replaced."""

import os
from pathlib import Path


class PidFileError(Exception):
    """Another daemon runs with this PID file."""


def write(path: Path) -> None:
    """Write our PID. Raises PidFileError when the file names a living process, or cannot be written."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise PidFileError(
            f"failed to create pidfile directory: mkdir {path.parent}: {_why(error)}"
        ) from None
    refusal = f"failed to start daemon, ensure docker is not running or delete {path}: "
    try:
        pid = _read(path)
        if pid > 0 and pid != os.getpid() and _alive(pid):
            raise PidFileError(f"{refusal}process with PID {pid} is still running")
        path.write_text(str(os.getpid()))
        path.chmod(0o644)
    except OSError as error:
        raise PidFileError(f"{refusal}open {path}: {_why(error)}") from None


def _read(path: Path) -> int:
    try:
        return int(path.read_text().strip() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _alive(pid: int) -> bool:
    """Whether the process runs: one that only waits to be collected (proc(5), state Z) does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def remove(path: Path) -> None:
    """Remove the file if it is ours."""
    try:
        if path.read_text().strip() == str(os.getpid()):
            path.unlink()
    except OSError:
        pass
