"""What goes in and out of `runtime.client.Runtime`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any


class RuntimeError_(Exception):
    """The runtime could not do it; the text is for the client.

    `kind` is the name of what went wrong in the shim: `StartError`, `InitError`, `Refused` (not in this
    state), an OSError's class, `Gone` (there is no shim) or `Hung` (it does not answer).
    """

    def __init__(self, message: str, kind: str = "StartError") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind


class WorkerError(Exception):
    """A worker's function raised, or the worker died (`kind` is `Died` then).

    `kind` is the exception's class name; `errno` is set when it was an OSError with one.
    """

    def __init__(self, kind: str, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.errno = errno


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """Which streams an attachment has; `detach_keys` are raw bytes, empty for ctrl-p ctrl-q."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: bytes = b""

    def message(self) -> dict[str, Any]:
        """The form that the shim reads."""
        return {
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "detach_keys": self.detach_keys.hex(),
        }


@dataclass(frozen=True, slots=True)
class Attachment:
    """The shim's end of a SOCK_STREAM pair. It is the runtime's from the call on, which closes it here."""

    sock: socket.socket
    options: AttachOptions


@dataclass(frozen=True, slots=True)
class Started:
    """`pid` as the host sees it; `network`: what `runtime.net.plan` made, one entry per endpoint."""

    pid: int
    network: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Running:
    """Found alive after a daemon's start."""

    pid: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """Ended while no daemon was there; `at`: nanoseconds since the epoch."""

    code: int
    oom: bool
    at: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Neither running nor an exit on disk: its shim was killed, or it never started. Freed."""


Adopted = Running | Exited | Lost
