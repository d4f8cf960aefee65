"""One build for one platform: stages side by side, their steps one after another, each cached or carried
out.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compatd.engine.builder import cachekeys, copying, finishing, planning, steps
from compatd.engine.builder.bases import Base, Bases
from compatd.engine.builder.board import Board
from compatd.engine.builder.context import Context
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.foresight import Foresight, shown
from compatd.engine.builder.intermediate import Intermediate, Numbers
from compatd.engine.builder.planning import Program
from compatd.engine.builder.progress import Observer, Vertex
from compatd.engine.builder.records import REGULAR, Record
from compatd.engine.builder.request import (
    CLASSIC,
    BuildRequest,
    ContextSource,
    PlatformResult,
    StepRecord,
)
from compatd.engine.builder.squash import squash
from compatd.engine.builder.stand import Stand
from compatd.engine.builder.state import Step
from compatd.engine.errors import EngineError
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Image, Layer
from compatd.engine.images.platform import Platform
from compatd.engine.images.together import together

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]


class Execution:
    """`run` once. `pins` keep the layers; they are the caller's."""

    def __init__(
        self, builder: "Builder", request: BuildRequest, platform: Platform, observer: Observer, pins: Pins
    ) -> None:
        self.builder, self.request, self.platform, self.pins = builder, request, platform, pins
        self.observer = observer
        self.board = Board(observer, str(platform))
        self.bases = Bases(
            builder.engine.images,
            self.board,
            pins,
            pull=request.pull,
            auth=request.auth,
            local=request.door == CLASSIC,
        )
        self._lines: dict[str, asyncio.Task[tuple[Vertex, str]]] = {}
        self.program: Program
        self._stages: dict[int, asyncio.Task[Stand]] = {}
        self._classic: Intermediate | None = None
        self._context: asyncio.Task[Context] | None = None
        self._copies: dict[int, copying.Copy] = {}
        self._foresight: Foresight | None = None

    async def run(self) -> PlatformResult:
        """Raises DockerfileError, BuildError, EngineError; what was begun has ended then."""
        try:
            self.program = await planning.prepare(self.request, self.platform, self.bases, self.pins)
            if self.request.door == CLASSIC:
                self._classic = Intermediate(self, Numbers(self.program, self.program.arguments))
            if self.program.wants_context and self.request.context:
                self._context = asyncio.ensure_future(self._load(self.request.context))
            for index in await self._needed():
                self._begun(index)
            # An image that copies come from fails the step that wants it, in the classic builder's words
            images = self.program.images if self._classic else ()
            await together([task for index, task in self._stages.items() if index not in images])
            target = self.program.plan.target
            return await self._result(self._stages[target].result())
        finally:
            begun = [
                *self._stages.values(),
                *self._lines.values(),
                *([self._context] if self._context else []),
            ]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
            if self._foresight:
                await self._foresight.close()
            await self.bases.close()

    async def _result(self, stand: Stand) -> PlatformResult:
        if stand.context:
            raise BuildError("the target is a context of files, and no image")
        found = finishing.result(
            self.program, self.request, stand, self.platform, self.diff_ids(stand.chain_ids)
        )
        if self._classic is None:
            return found
        image = self.builder.engine.images.index.images.get(stand.image)
        if image is None:
            raise EngineError("No image was generated. Is your Dockerfile empty?")
        if self.request.squash:
            image = await squash(self.builder, image, self._from(), self.pins)
            found = replace(found, chain_ids=tuple(image.chain_ids))
        return replace(found, image=image.id, config=image.raw.encode())

    def _from(self) -> Image | None:
        """The image that the target's FROM names."""
        stage = self.program.plan.stages[self.program.plan.target]
        origin = self.program.origins.get(stage.index)
        name = origin.image if isinstance(origin, Base) else ""
        if stage.parent is not None:
            name = self._stages[stage.parent].result().image
        return self.builder.engine.images.index.images.get(name)

    def diff_ids(self, chain_ids: Sequence[str]) -> list[str]:
        """Of these layers, which are pinned."""
        layers = self.builder.engine.images.index.layers
        return [layers[chain_id].diff_id for chain_id in chain_ids]

    # Stages ------------------------------------------------------------------------------------------------

    async def _needed(self) -> list[int]:
        """The stages to begin with: all that are needed, but for those that imported caches make needless."""
        request, program = self.request, self.program
        if not request.definitions:
            return program.order
        self._foresight = Foresight(self.builder, request, program, self._loaded, self._copies)
        if not request.skip:
            return program.order
        needed = await self._foresight.needed()
        for step in shown(program, needed):
            with self.board.running(self.board.vertex(step.title, (), id(step))) as vertex:
                vertex.cached = True
        return needed

    def _begun(self, index: int) -> asyncio.Task[Stand]:
        if index not in self._stages:
            self._stages[index] = asyncio.ensure_future(self._stage(index))
        return self._stages[index]

    async def _stage(self, index: int) -> Stand:
        try:
            return await self._built(index)
        except EngineError:
            # The classic builder builds the stages before it first, and they fail first
            if self._classic and index not in self.program.images:
                before = [task for other, task in self._stages.items() if other < index]
                await together([asyncio.shield(task) for task in before])
            raise

    async def _built(self, index: int) -> Stand:
        stage = self.program.plan.stages[index]
        origin = self.program.origins.get(index)
        if self._classic:
            await self._classic.begin(index)
        if isinstance(origin, EngineError):
            raise origin
        stand = await self._begin(index, origin)
        if self._classic:
            await self._classic.began(index, stand)
        at = 0
        for step in self.program.steps[index]:
            at += not step.triggered
            try:
                stand = await self._step(index, 0 if step.triggered else at, step, stand)
            except BuildError as error:
                error.locations = error.locations or [step.instruction.lines]
                raise
        return replace(stand, state=self.program.states[index]) if stage.declared else stand

    async def _begin(self, index: int, origin: Base | Context | None) -> Stand:
        stage = self.program.plan.stages[index]
        if stage.parent is not None:
            return await asyncio.shield(self._begun(stage.parent))
        state = self.program.states[index]
        if isinstance(origin, Context):
            return Stand("", context=origin, state=state)
        if origin is None:
            return Stand(cachekeys.base_key((), self.platform), state=state)
        return await self._on_base(index, origin)

    async def _on_base(self, index: int, base: Base) -> Stand:
        key = cachekeys.base_key(base.chain_ids, base.platform)
        name = f"{base.line or base.title} {base.platform}"
        line = self._lines.get(name)
        if line is None:  # the first stage on an image names its line
            line = self._lines[name] = asyncio.ensure_future(self._fetched(index, base, key))
        vertex, record = await asyncio.shield(line)
        times = finishing.known_times(base.document)
        step = StepRecord(key, (), base.chain_ids[-1] if base.chain_ids else None, base.description,
                          vertex.digest, kind="from")  # fmt: skip
        return Stand(
            key, base.chain_ids, len(times), times, None, record, vertex.digest, base.image, (step,), (base,)
        )

    async def _fetched(self, index: int, base: Base, key: str) -> tuple[Vertex, str]:
        """The line of an image that is here now, and its record in the cache."""
        several = self.request.options.several_platforms
        title = planning.from_title(self.program, self.program.plan.stages[index], base, several=several)
        vertex = self.board.vertex(title, ())
        with self.board.running(vertex):
            if base.bring:
                await base.bring(vertex)
            if self.request.door == CLASSIC:
                return vertex, ""
            name = cachekeys.record_key(key, ())
            found = self.builder.cache.find(name)
            vertex.cached = found is not None
            if found is None:
                found = self.builder.cache.put(Record(name, REGULAR, base.description, base.chain_ids, key))
            else:
                self.builder.cache.use(found)
            return vertex, found.id

    async def _place(self, stage: int | None) -> tuple[Context | Any, Stand | None]:
        """Where a source's files are, and the stage that it is."""
        if stage is not None:
            stand = await asyncio.shield(self._begun(stage))
            return stand.place, stand
        return await self._loaded(), None

    async def _loaded(self) -> Context | None:
        return await asyncio.shield(self._context) if self._context else None

    async def _load(self, source: ContextSource) -> Context:
        """The build context, once one worker has looked at all that steps copy from it."""
        context = await source.load(self.program.paths)
        classic = self.request.door == CLASSIC
        for step in self.program.copies():
            self._copies[id(step)] = copying.Copy(step, context, classic=classic)
        await copying.ahead(self.builder, list(self._copies.values()))
        return context

    # Steps -------------------------------------------------------------------------------------------------

    async def _step(self, index: int, at: int, step: Step, stand: Stand) -> Stand:
        if self._classic:
            await self._classic.announce(index, at, step)
        if not step.layer:
            if self._classic:
                return await self._classic.step(index, at, step, stand, None)
            return stand.after(step.state)
        definition, foreseen = await self._foreseen(step, stand)
        if self._foresight and foreseen:
            vertex = self.board.vertex(
                step.title, [stand.vertex], index, len(stand.times), list(stand.chain_ids[-1:])
            )
            below = dict.fromkeys((*stand.bases, *self._foresight.bases(step)))
            with self.board.running(vertex):
                vertex.cached = True
                return self._done(step, replace(stand, bases=tuple(below)), vertex, *foreseen, [], definition)
        try:
            found = [await self._place(source.stage) for source in step.sources]
        except EngineError as error:
            if self._classic is None:
                raise
            raise self._classic.missing(step, error) from error
        sources = [one for _, one in found if one is not None]
        places = [place for place, _ in found]
        copy = self._copies.get(id(step))
        action = steps.make(self.builder, self.request, step, places, stand.chain_ids, copy)
        inputs = [stand.vertex, *(one.vertex for one in sources)]
        vertex = self.board.vertex(step.title, inputs, index, len(stand.times), list(stand.chain_ids[-1:]))
        bases = (*stand.bases, *(base for one in sources for base in one.bases))
        stand = replace(stand, bases=tuple(dict.fromkeys(bases)))
        try:
            if self._classic:
                return await self._classic.step(index, at, step, stand, action)
            with self.board.running(vertex):
                key, record = await self._carry(index, stand, action, vertex, sources)
                return self._done(step, stand, vertex, key, record, sources, definition)
        finally:
            await action.close()

    async def _foreseen(self, step: Step, stand: Stand) -> tuple[str, tuple[str, Record] | None]:
        """A step's definition, and what it came to elsewhere, brought here, if caches know of it."""
        if self._foresight is None:
            return "", None
        definition = await self._foresight.definition(step, stand.key)
        key = await self._foresight.key(definition) if self.request.skip else ""
        if not key:
            return definition, None
        async with self._alone(key, stand):
            action = steps.make(self.builder, self.request, step, (), stand.chain_ids)
            record = await self._recalled(key, action.description, stand, [])
        return definition, (key, record) if record else None

    async def _carry(
        self, index: int, stand: Stand, action: steps.Action, vertex: Vertex, sources: list[Stand]
    ) -> tuple[str, Record]:
        """The step's key, and what is in the cache of it now."""
        key = await action.key(stand.key)
        fresh = self.fresh(index)
        async with self._alone(key, stand, wait=not fresh):
            found = None if fresh else await self._recalled(key, action.description, stand, sources)
            vertex.cached = found is not None
            if found is None:
                made = time.time_ns()
                layer = await self.make(action, stand, vertex)
                assert layer is not None
                found = self._put(key, action.description, stand, sources, layer, made)
            return key, found

    def _alone(self, key: str, stand: Stand, *, wait: bool = True) -> AbstractAsyncContextManager[None]:
        """One at a time of an owner's: others' may be stuck."""
        record = cachekeys.record_key(key, stand.chain_ids)
        return self.builder.cache.alone(f"{record} {self.request.owner}", wait=wait)

    async def _recalled(
        self, key: str, description: str, stand: Stand, sources: list[Stand]
    ) -> Record | None:
        """The record of a step in the cache or in one that is imported; its layers are pinned."""
        record = self.builder.cache.find(cachekeys.record_key(key, stand.chain_ids))
        if record is not None:
            self.builder.cache.use(record)
            return self._pinned(record)
        for source in self.request.cache_from:
            if imported := await source.find(key, stand.chain_ids, self.pins):
                return self._put(key, description, stand, sources, *imported)
        return None

    def _put(
        self, key: str, description: str, stand: Stand, sources: list[Stand], layer: Layer, made: int
    ) -> Record:
        name, chain_ids = cachekeys.record_key(key, stand.chain_ids), (*stand.chain_ids, layer.chain_id)
        parents = tuple(one for one in (stand.record, *(s.record for s in sources)) if one)
        record = Record(
            name, REGULAR, description, chain_ids, key, parents, layer.size, created=made, history=made
        )
        return self._pinned(self.builder.cache.put(record))

    def _pinned(self, record: Record) -> Record:
        for chain_id in record.chain_ids:
            self.pins.add(chain_id)
        return record

    def _done(
        self, step: Step, stand: Stand, vertex: Vertex, key: str, record: Record, sources: list[Stand],
        definition: str,
    ) -> Stand:  # fmt: skip
        """Where a step has brought its stage."""
        done = StepRecord(
            key, (stand.key, *(one.key for one in sources)), record.chain_ids[-1], record.description,
            vertex.digest, record.history, vertex.cached, step.kind, definition,
        )  # fmt: skip
        stand = stand.after(step.state, record.history)
        known = {one.key: one for one in (*stand.steps, *(s for one in sources for s in one.steps), done)}
        return replace(stand, key=key, chain_ids=record.chain_ids, record=record.id, vertex=vertex.digest,
                       steps=tuple(known.values()))  # fmt: skip

    def fresh(self, index: int) -> bool:
        """Whether the stage's steps are to be done anew."""
        asked = self.request.no_cache
        return asked if isinstance(asked, bool) else self.program.plan.stages[index].name in asked

    async def make(
        self, action: steps.Action, stand: Stand, vertex: Vertex, *, keep_empty: bool = True
    ) -> Layer | None:
        """Carry out a step on a snapshot; its layer, or None where it is empty and not to be kept."""

        async def output(stream: int, data: bytes) -> None:
            await self.board.log(vertex, stream, data)

        snapshots = self.builder.snapshots
        async with self.builder.slots(self.request.owner):
            snapshot = await snapshots.create(stand.chain_ids)
            try:
                await action.do(snapshot, output)
                return await snapshots.commit(snapshot, self.pins, keep_empty=keep_empty)
            finally:
                snapshots.discard(snapshot)
