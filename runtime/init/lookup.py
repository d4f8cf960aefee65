"""Where execve finds its program: Go's exec.LookPath, with the error texts that runc passes on.

Run inside the container as the container's user: no name here is looked up in the host's tree.
"""

from __future__ import annotations

import os

from runtime.init.errors import StepError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ENOENT = "executable file not found in $PATH"
_REGULAR, _KIND, _FOLDER = 0o100000, 0o170000, 0o040000


def search_path(environment: Sequence[str]) -> str:
    """PATH of the process; the last one counts, as with Go's os.Setenv in a loop."""
    value = ""
    for entry in environment:
        if entry.startswith("PATH="):
            value = entry[5:]
    return value


def find(name: str, path: str) -> str:
    """The program's path. Raises StepError: `exec: "nope": executable file not found in $PATH` and its
    kin."""
    if "/" in name:
        if problem := _executable(name):
            raise StepError(f'exec: "{name}": {problem}')
        return name
    for folder in path.split(":") if name else ():
        candidate = os.path.join(folder or ".", name)
        if not _executable(candidate):
            if not candidate.startswith("/"):
                # Go 1.19 refuses what only the current folder would give.
                raise StepError(f'exec: "{name}": cannot run executable found relative to current directory')
            return candidate
    raise StepError(f'exec: "{name}": {_ENOENT}')


def _executable(path: str) -> str:
    """'' or what is wrong with it."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"stat {path}: {reason(error)}"
    if status.st_mode & _KIND == _FOLDER:
        return "is a directory"
    if not status.st_mode & 0o111:
        return "permission denied"
    if not os.access(path, os.X_OK, effective_ids=True):
        return "permission denied"
    return ""
