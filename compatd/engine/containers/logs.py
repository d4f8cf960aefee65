"""`GET /containers/{id}/logs`: reading a container's log, and following it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from compatd.engine import logdrivers
from compatd.engine.containers import exits
from compatd.engine.containers.localentries import LocalConverter
from compatd.engine.containers.logentries import Converter, LogQuery
from compatd.engine.containers.logfiles import Form, Lines, LogReader, Records
from compatd.engine.containers.model import Container
from compatd.engine.containers.watch import Watch
from compatd.engine.errors import Conflict, NotBuilt
from compatd.engine.logdrivers import journal

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

_FORMS: dict[str, tuple[Form, type[Converter]]] = {
    "json": (Lines(), Converter),
    "local": (Records(), LocalConverter),
}


def check_readable(container: Container) -> None:
    """Raise Conflict for a dead container, NotBuilt (501) when its log driver cannot be read."""
    if container.state.removing or container.state.dead:
        raise Conflict("can not get logs from container which is dead or marked for removal")
    if logdrivers.source(container) is None:
        raise NotBuilt("configured logging driver does not support reading")


async def read_logs(containers: "Containers", container: Container, query: LogQuery) -> AsyncIterator[bytes]:
    """Pieces of the answer. With `follow` they end when the container does, or with `until`.

    Raises what `check_readable` raises, before the first piece.
    """
    del containers
    check_readable(container)
    source = logdrivers.source(container)
    assert source is not None
    follow = query.follow and container.state.running and not container.state.restarting
    ended = exits.wait(container, "next-exit") if follow else None
    try:
        if source.form == "journal":
            async for piece in journal.read(container.id, query, framed=not container.tty, ended=ended):
                yield piece
        elif source.path != Path():
            async for piece in _read_files(container, source, query, ended):
                yield piece
    finally:
        if ended:
            ended.cancel()


async def _read_files(
    container: Container,
    source: logdrivers.Source,
    query: LogQuery,
    ended: "asyncio.Future[tuple[int, str]] | None",
) -> AsyncIterator[bytes]:
    form, make = _FORMS[source.form]
    converter = make(query, framed=not container.tty)
    watch = Watch(source.path.parent) if ended is not None else None
    try:
        reader = await asyncio.to_thread(LogReader, source.path, query.tail, form, follow=ended is not None)
        try:
            while True:
                finished = ended is None or ended.done()
                async for piece in _drain(reader, converter):
                    yield piece
                if converter.done or finished or watch is None or ended is None:
                    return
                await watch.changed(ended)
        finally:
            reader.close()
    finally:
        if watch:
            watch.close()


async def _drain(reader: LogReader, converter: Converter) -> AsyncIterator[bytes]:
    def step() -> tuple[bytes, bool]:
        lines = reader.read()
        return (converter.feed(lines), True) if lines else (b"", False)

    while not converter.done:
        data, more = await asyncio.to_thread(step)
        if data:
            yield data
        if not more:
            return
