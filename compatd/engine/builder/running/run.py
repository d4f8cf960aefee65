"""Carries out a RUN: container, streams, end."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from compatd.engine.builder.running.model import Run

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Output = Callable[[int, bytes], Awaitable[None]]


async def run(engine: "Engine", run: Run, output: Output) -> int:
    """Run it to its end; the exit code (137 when it was killed). Nothing of it is left but the snapshot.

    `output(stream, data)` gets stdout (1) and stderr (2) as they come; while it waits the command is held
    back. Cancelled: all its processes are killed and all is cleared away first. Raises BuildError with the
    builders' texts for what cannot be started.
    """
    raise NotImplementedError
