"""The classic builder's text as messages, in the order of the Dockerfile while stages run side by side."""

import asyncio
import codecs
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.engine.builder.progress import STDERR, Log, Observer, StepEvent

Json = dict[str, Any]
Write = Callable[[Json], Awaitable[None]]

IN_MEMORY = 256 << 10  # bytes of a stage that waits for its turn; what is more goes to a file
MAX_WAITING = 16 << 20  # bytes of output of such a stage; what is more is left out, and that is told
CLIPPED = f"[output clipped, {MAX_WAITING >> 20}MiB are kept of a stage that waits for others]\n"


def short(identifier: str) -> str:
    """The twelve digits that the text calls a container or an image; "" for none."""
    return identifier.rpartition(":")[2][:12]


class Buffer:
    """Messages kept for later, in memory and, if they are many, in a file without a name."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(folder))

    def put(self, message: Json) -> None:
        """Keep one."""
        line = json.dumps(message).encode() + b"\n"
        self.size += len(line)
        self._file.write(line)

    def take(self) -> Iterator[Json]:
        """All of them; then it is closed."""
        self._file.seek(0)
        try:
            for line in self._file:
                yield json.loads(line)
        finally:
            self.close()

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class _Stage:
    """A stage that has begun: the numbers of its first and newest step, whether that is done, its image."""

    first: int
    last: int = 0
    idle: bool = False
    image: str = ""
    waiting: Buffer | None = None
    clipped: bool = False
    container: str = ""
    decoders: dict[int, codecs.IncrementalDecoder] = field(default_factory=dict)


class ClassicText(Observer):
    """Hears a build, and writes the messages of the classic stream.

    A stage's text goes out as it comes when all stages before it are done; what comes of later ones waits, in
    buffers with bounds. `folder` is where their files go. `aux`: image IDs are told, too. `remove`, `force`:
    it is told that containers go, and that they do after a failure.
    """

    def __init__(
        self, write: Write, folder: Path, *, aux: bool = True, remove: bool = True, force: bool = False
    ) -> None:
        self._write, self._folder, self._aux = write, folder, aux
        self._remove, self._force = remove, force
        self._stages: dict[int, _Stage] = {}
        self._current: _Stage | None = None
        self._lock = asyncio.Lock()

    async def step(self, event: StepEvent) -> None:
        async with self._lock:
            stage = self._stages.get(event.stage)
            if stage is None:
                stage = self._stages[event.stage] = _Stage(event.number, waiting=Buffer(self._folder))
            if event.kind == "begin":
                if stage.last == event.number:
                    return  # FROM of the first stage, which was told before its base was looked for
                stage.last, stage.idle = event.number, event.stage < 0
                await self._next()
            if event.kind in ("removed", "done"):
                await self._end_of_output(stage)
            if event.kind != "removed" or self._remove:
                for text in _texts(event):
                    await self._put(stage, {"stream": text})
            stage.container = event.id if event.kind == "running" else ""
            if event.kind == "done":
                stage.image, stage.idle = event.image, True
                await self._next()

    async def log(self, log: Log) -> None:
        async with self._lock:
            stage = self._stages[int(log.vertex)]  # so does the classic builder call its lines
            decoder = stage.decoders.get(log.stream)
            if decoder is None:
                decoder = stage.decoders[log.stream] = codecs.getincrementaldecoder("utf-8")("replace")
            await self._output(stage, log.stream, decoder.decode(log.data))

    async def pulled(self, message: Json) -> None:
        """Pulls are told as they are elsewhere."""
        await self.message(message)

    @property
    def shown(self) -> int:
        """The number of the last step that has been shown; 0 for none."""
        return self._current.last if self._current else 0

    async def message(self, message: Json) -> None:
        """One of another kind, as it is."""
        async with self._lock:
            await self._write(message)

    async def say(self, text: str) -> None:
        """A line of the door's own."""
        await self.message({"stream": text})

    async def warn(self, text: str) -> None:
        """One that is not to be overlooked."""
        await self.say(f"\x1b[91m[WARNING]: {text}\n\x1b[0m")

    async def finish(self, *, failed: bool = False) -> None:
        """Write what still waits; without a failure it is the end of the last stage, too."""
        async with self._lock:
            if self._current:
                await self._end(self._current, failed=failed)
            elif self._stages:
                self._current = min(self._stages.values(), key=lambda stage: stage.first)
            for stage in sorted(self._stages.values(), key=lambda stage: stage.first):
                if stage.waiting:
                    await self._flush(stage)
                    await self._end(stage, failed=failed)

    def close(self) -> None:
        """Let go of what nobody wants any more."""
        for stage in self._stages.values():
            if stage.waiting:
                stage.waiting.close()

    async def _next(self) -> None:
        """Once a stage is done, the one that begins with the next number has its turn."""
        while self._current is None or self._current.idle:
            turn = self._current.last + 1 if self._current else 1
            found = next((stage for stage in self._stages.values() if stage.first == turn), None)
            if found is None:
                return
            if self._current:
                await self._end(self._current)
            self._current = found
            await self._flush(found)

    async def _end(self, stage: _Stage, *, failed: bool = False) -> None:
        await self._end_of_output(stage)
        if failed and self._force and stage.container:
            await self._write({"stream": _removed(stage.container)})
        if self._aux and stage.image and not failed:
            await self._write({"aux": {"ID": stage.image}})

    async def _flush(self, stage: _Stage) -> None:
        waiting, stage.waiting = stage.waiting, None
        if waiting:
            for message in waiting.take():
                await self._write(message)

    async def _put(self, stage: _Stage, message: Json) -> None:
        if stage.waiting is None:
            await self._write(message)
        else:
            stage.waiting.put(message)

    async def _output(self, stage: _Stage, stream: int, text: str) -> None:
        if not text:
            return
        if stage.waiting and stage.waiting.size > MAX_WAITING:
            if not stage.clipped:
                stage.clipped = True
                stage.waiting.put({"stream": CLIPPED})
            return
        await self._put(stage, {"stream": f"\x1b[91m{text}\x1b[0m" if stream == STDERR else text})

    async def _end_of_output(self, stage: _Stage) -> None:
        for stream, decoder in stage.decoders.items():
            await self._output(stage, stream, decoder.decode(b"", final=True))
        stage.decoders.clear()


def _removed(container: str) -> str:
    return f" ---> Removed intermediate container {short(container)}\n"


def _texts(event: StepEvent) -> list[str]:
    if event.kind == "begin":
        return [f"Step {event.number}/{event.total} : {event.text}", "\n"]
    if event.kind == "running":
        return [f" ---> Running in {short(event.id)}\n"]
    if event.kind == "removed":
        return [_removed(event.id)]
    if event.kind == "cached":
        return [" ---> Using cache\n"]
    if event.kind == "note":
        return [f"Note: {event.text}\n"]
    if event.kind == "triggers":
        return [f"# Executing {event.number} build trigger", *(["s"] if event.number > 1 else []), "\n"]
    return [f" ---> {short(event.image)}\n"] if event.kind == "done" else []
