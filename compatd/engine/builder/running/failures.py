"""The words of both builders for a command that has failed."""

import re

from compatd.engine.builder.dockerfile.text import quote
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.running.model import Run
from compatd.engine.builder.running.runs import End
from compatd.engine.containers.start import creation_failed

PLAIN = ("unable to find user", "unable to find group", "uids and gids must be in range")
# What `runtime.init.sources.TreeMount` says.
_SOURCE = re.compile(r': error mounting ".*" to rootfs at ".*": (open /.*)')
_KERNEL = "cannot allocate memory"


def of(run: Run, what: str, *, code: int = 0, classic: str = "") -> BuildError:
    """What BuildKit says of a command: which it was, and `what` happened."""
    text = f"process {quote(' '.join(run.args))} did not complete successfully: {what}"
    return BuildError(text, code=code, classic=classic)


def ended(run: Run, end: End) -> BuildError:
    """A command that came back with something else than 0. Sources: runcexecutor's exitError; dockerd's
    builder/dockerfile/dispatchers.go."""
    classic = f"The command '{' '.join(run.args)}' returned a non-zero code: {end.code}"
    return of(run, _KERNEL if end.oom else f"exit code: {end.code}", code=end.code, classic=classic)


def not_started(run: Run, text: str) -> tuple[BuildError, bytes]:
    """A command that the runtime could not start, by the runtime's text; and what BuildKit logs of it."""
    if text.startswith(PLAIN):
        return of(run, text, classic=text), b""
    if missing := _SOURCE.search(text):
        return of(run, missing[1]), b""
    classic = creation_failed(text)[1].message
    code = 0 if run.classic else 1  # runc's own
    return of(run, "exit code: 1", code=code, classic=classic), f"runc run failed: {text}\n".encode()
