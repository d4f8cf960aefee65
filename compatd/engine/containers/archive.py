"""`docker cp`: files out of a container and into it, running or not.

Workers do it (`runtime.storage.archive`). Who writes holds the container's lock, as in Docker, so that a
stopped container does not start under it; who reads needs no lock.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from compatd.engine.containers import filesystem
from compatd.engine.containers.download import Download
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images.layers import piped
from compatd.engine.timestamps import rfc3339
from runtime.client import WorkerError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_GATHER = 512 * 1024
_STAT = "runtime.storage.archive:stat"
_PACK = "runtime.storage.archive:pack"
_EXTRACT = "runtime.storage.archive:extract"


def _check(answer: Json, reference: str, path: str) -> None:
    """Raise what the worker's answer says: NotFound, InvalidParameter, EngineError."""
    if answer.get("missing"):
        raise NotFound(f"Could not find the file {path} in container {reference}")
    if answer.get("kind") == "invalid":
        raise InvalidParameter(answer["error"])
    if "error" in answer:
        raise EngineError(answer["error"])


def path_stat(found: Json) -> Json:
    """container.PathStat out of a worker's: the time as text."""
    return {**found, "mtime": rfc3339(found["mtime"])}


async def stat(containers: "Containers", reference: str, path: str) -> Json:
    """container.PathStat of a path, a link at its end not followed. Raises NotFound, EngineError."""
    container = containers.find(reference)
    arguments = {"view": filesystem.view(containers, container, write=False), "path": path}
    try:
        async with filesystem.volumes_held(containers, container):
            answer = await containers.runtime.worker(_STAT, arguments)
    except WorkerError as error:
        raise EngineError(str(error)) from error
    _check(answer, reference, path)
    return path_stat(answer["stat"])


class Lent(Protocol):
    """What is needed of `compatd.http.lending.Lent`."""

    fd: int
    told: Json

    def give_back(self, state: Json | None) -> None: ...


class Packed:
    """An archive on its way: `stat` is told before the first chunk. To be closed."""

    def __init__(self, stat: Json, download: Download) -> None:
        self.stat = stat
        self._download = download

    def chunks(self) -> AsyncIterator[bytes]:
        """The tar. Raises EngineError."""
        return self._download.chunks()

    def close(self) -> None:
        """End it, wherever it is."""
        self._download.close()


async def pack(containers: "Containers", reference: str, path: str, encoding: str = "") -> Packed:
    """A path as a tar, compressed by `encoding` ("gzip", "deflate"). Raises NotFound, EngineError."""
    container = containers.find(reference)
    arguments = {
        "view": filesystem.view(containers, container, write=False),
        "path": path,
        "encoding": encoding,
    }
    async with filesystem.volumes_held(containers, container):
        download = Download(containers.runtime, _PACK, arguments)
        try:
            head = await download.exactly(4)
            if len(head) == 4:
                told = json.loads(await download.exactly(int.from_bytes(head, "big")))
                containers.emit(container, "archive-path")
                return Packed(path_stat(told), download)
            answer = await download.answer()
        except BaseException:
            download.close()
            raise
        download.close()
    _check(answer, reference, path)
    raise EngineError("the archive ended early")


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces: each wakes the worker, which costs more than the bytes do."""
    pieces: list[bytes] = []
    size = 0
    async for data in chunks:
        pieces.append(data)
        size += len(data)
        if size >= _GATHER:
            yield b"".join(pieces)
            pieces.clear()
            size = 0
    if pieces:
        yield b"".join(pieces)


async def extract(
    containers: "Containers",
    reference: str,
    path: str,
    chunks: AsyncIterator[bytes],
    *,
    no_overwrite: bool = False,
    copy_owner: bool = False,
    lend: Callable[[], Awaitable[Lent | None]] | None = None,
) -> None:
    """Unpack a (compressed) tar into a folder. Raises NotFound, InvalidParameter, EngineError.

    It comes as `chunks`, or the worker reads it from the client's socket if `lend` gives that.

    `no_overwrite`: no folder takes the place of something else, nor the other way round. `copy_owner`: all
    belongs to the container's user.
    """
    container = containers.find(reference)
    async with container.lock, filesystem.volumes_held(containers, container):
        arguments = {
            "view": filesystem.view(containers, container, write=True),
            "path": path,
            "no_overwrite": no_overwrite,
            "owner": (container.config.get("User") or None) if copy_owner else None,
            "volumes": filesystem.volumes(container),
            "read_only": bool(container.host_config.get("ReadonlyRootfs")),
        }

        async def work(source: int) -> Json:
            answer: Json = await containers.runtime.worker(_EXTRACT, arguments, [source])
            return answer

        lent = await lend() if lend else None
        try:
            if lent:
                answer = {}
                try:
                    answer = await containers.runtime.worker(
                        _EXTRACT, {**arguments, "body": lent.told}, [lent.fd]
                    )
                finally:
                    lent.give_back(answer.get("body"))
            else:
                answer = await piped(gathered(chunks), work)
        except WorkerError as error:
            raise EngineError(str(error)) from error
    _check(answer, reference, path)
    containers.emit(container, "extract-to-dir")
