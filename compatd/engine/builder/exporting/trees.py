"""The exporters `local` and `tar`: the files of what was built, to the client.

Source: moby/buildkit exporter/local, exporter/tar.
"""

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compatd.engine import gojson
from compatd.engine.builder.context.receiving import split
from compatd.engine.builder.exporting import provenance
from compatd.engine.builder.exporting.attributes import TreeOptions, tree_options
from compatd.engine.builder.exporting.client import send_file
from compatd.engine.builder.exporting.task import Client, Line, Output, Packets, Part, Task
from compatd.engine.builder.request import BuildResult, PlatformResult
from compatd.engine.builder.snapshots import LayerTree
from compatd.engine.containers.download import Download
from compatd.engine.errors import EngineError
from compatd.engine.images.layers import feed
from compatd.engine.images.together import together
from runtime.client.types import WorkerError

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

_TAR, _SEND, _DIGESTS = (
    "runtime.storage.trees:tar", "runtime.storage.treesend:run", "runtime.storage.trees:digests",
)  # fmt: skip
_MAX_PACKET = 1 << 20


def check(output: Output) -> TreeOptions:
    """Read the attributes. Raises InvalidParameter."""
    return tree_options(output.attributes)


@dataclass(slots=True)
class _Trees:
    engine: "Engine"
    options: TreeOptions
    task: Task
    split: bool

    def __post_init__(self) -> None:
        epoch = self.task.epoch if self.options.epoch is None else self.options.epoch
        self.mtime = None if epoch is None else epoch * 1_000_000_000

    mtime: int | None = None

    async def tree(self, one: PlatformResult) -> Json:
        """A platform's files as the workers want them."""
        lower: list[str] = []
        if one.chain_ids:
            lower = await self.engine.builder.snapshots.tree_lower(LayerTree(tuple(one.chain_ids)))
        prefix = str(one.platform).replace("/", "_") if self.split else ""
        tree: Json = {"lower": lower, "prefix": prefix}
        wanted = provenance.wanted(self.task.invocation.attestations)
        if wanted and not wanted.inline_only:
            tree["extra"] = [await self._statement(one, lower, wanted)]
        return tree

    def arguments(self, trees: list[Json]) -> Json:
        """For a worker."""
        return {"trees": trees, "mtime": self.mtime, "scratch": str(self.engine.storage.tmp)}

    async def _statement(self, one: PlatformResult, lower: list[str], wanted: provenance.Wanted) -> Json:
        """The provenance as a file; it is about all files beside it."""
        answer = await self.work(_DIGESTS, self.arguments([{"lower": lower, "prefix": ""}]), [])
        predicate = provenance.predicate(wanted, self.task.invocation, one)
        data = await asyncio.to_thread(_statement, answer["files"], predicate)
        name = self.options.attestation_prefix + wanted.filename
        if self.task.several and not self.split:
            stem, dot, ending = name.rpartition(".")
            name = f"{stem or ending}.{str(one.platform).replace('/', '_')}{dot}{ending if stem else ''}"
        moment = time.time_ns() // 1_000_000_000 * 1_000_000_000
        return {"name": name, "data": data, "mode": 0o600, "mtime": moment}

    async def work(self, function: str, arguments: Json, fds: list[int]) -> Json:
        """Run a worker. Raises EngineError."""
        try:
            answer: Json = await self.engine.runtime.worker(function, arguments, fds)
        except WorkerError as error:
            raise EngineError(str(error)) from error
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer


def _statement(files: list[list[str]], predicate: Json) -> str:
    subjects = [provenance.subject(name, f"sha256:{value}") for name, value in files]
    return gojson.indented(provenance.statement(subjects, predicate)).decode()


def _client(task: Task, output: Output) -> Client:
    if task.client is None:
        raise EngineError(f"{output.type} exporter needs a client's session")
    return task.client


async def export_tar(engine: "Engine", output: Output, result: BuildResult, task: Task) -> dict[str, str]:
    """One tar with all files. Raises EngineError."""
    options, client = check(output), _client(task, output)
    several = len(result.results) > 1 or task.several
    trees = _Trees(engine, options, task, several)
    async with task.vertex("exporting to client tarball") as line:
        made = [await trees.tree(one) for one in result.results]
        with line.part("sending tarball"):
            async with client.sending(output.id, {}) as packets:
                download = Download(engine.runtime, _TAR, trees.arguments(made))
                await send_file(packets, _whole(download))
    return {}


async def _whole(download: Download) -> AsyncIterator[bytes]:
    try:
        async for data in download.chunks():
            yield data
    finally:
        download.close()


async def export_local(engine: "Engine", output: Output, result: BuildResult, task: Task) -> dict[str, str]:
    """All files into the client's folder. Raises EngineError."""
    options, client = check(output), _client(task, output)
    several = len(result.results) > 1 or task.several
    split = several if options.split is None else options.split
    trees = _Trees(engine, options, task, split)
    async with task.vertex("exporting to client directory") as line:
        made = [(one, await trees.tree(one)) for one in result.results]
        if several and not split:
            await _no_duplicates(trees, made)
        await together(
            [asyncio.ensure_future(_send(trees, client, output, one, tree, line)) for one, tree in made]
        )
    return {}


async def _no_duplicates(trees: _Trees, made: list[tuple[PlatformResult, Json]]) -> None:
    """Platforms that go into one folder may not bring the same file."""
    seen: dict[str, str] = {}
    for one, tree in made:
        answer = await trees.work(_DIGESTS, trees.arguments([tree]), [])
        for name, _ in answer["files"]:
            if name in seen:
                raise EngineError(
                    f"cannot overwrite {name} from {seen[name]} with {one.platform} "
                    "when split option is disabled"
                )
            seen[name] = str(one.platform)


async def _send(
    trees: _Trees, client: Client, output: Output, one: PlatformResult, tree: Json, line: Line
) -> None:
    text = f"copying files {one.platform}" if trees.split else "copying files"
    with line.part(text) as part:
        async with client.sending(output.id, {}) as packets:
            await _relay(trees, trees.arguments([tree]), packets, part)


async def _relay(trees: _Trees, arguments: Json, packets: Packets, part: Part) -> None:
    """Packets between the worker and the client, until both are done."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    in_read, in_write = os.pipe2(os.O_CLOEXEC)

    async def work() -> None:
        try:
            await trees.work(_SEND, arguments, [out_write, in_read])
        finally:
            os.close(out_write)
            os.close(in_read)

    async def forward() -> None:
        sent = 0
        async for some in _packets(out_read):
            await packets.send(*some)
            sent += sum(map(len, some))
            part.advance(sent)
        packets.end()

    async def requests() -> AsyncIterator[bytes]:
        while (some := await packets.receive()) is not None:
            if max(map(len, some)) > _MAX_PACKET:
                raise EngineError("a packet of the client's is too large")
            yield b"".join([part for data in some for part in (struct.pack(">I", len(data)), data)])

    working = asyncio.ensure_future(work())
    tasks = [working, asyncio.ensure_future(forward()), asyncio.ensure_future(feed(in_write, requests()))]
    await together(tasks)


async def _packets(fd: int) -> AsyncIterator[Sequence[bytes]]:
    """What comes from the worker; closes the descriptor."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_PACKET)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        async for some in split(reader, _MAX_PACKET):
            yield some
    finally:
        transport.close()
