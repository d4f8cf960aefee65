"""Which steps that take files of other stages have a known outcome before those stages are built.

The key of such a step is that of the content it takes, for which the stages must be built. Its definition is
the key of all that leads to the content; caches that travel say which key a definition came to. So a stage of
which all that others take is known there need not be built.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compatd.engine.builder import cachekeys, copying, steps
from compatd.engine.builder.bases import Base
from compatd.engine.builder.context import Context
from compatd.engine.builder.copying import owner
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.planning import Program
from compatd.engine.builder.request import BuildRequest
from compatd.engine.builder.sources import kind
from compatd.engine.builder.state import Step
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder


@dataclass(slots=True)
class Foresight:
    """Of one build for one platform. `context` brings the build's; `copies`: those looked at before."""

    builder: "Builder"
    request: BuildRequest
    program: Program
    context: Callable[[], Awaitable[Context | None]]
    copies: dict[int, copying.Copy]
    _ends: dict[int, asyncio.Task[str]] = field(default_factory=dict)

    def stages(self, step: Step) -> list[int]:
        """The stages, images of named contexts among them, that a step takes files of."""
        origins = self.program.origins
        found = [source.stage for source in step.sources if source.stage is not None]
        return [stage for stage in found if not isinstance(origins.get(stage), Context)]

    async def definition(self, step: Step, parent: str) -> str:
        """Of a step that takes files of stages, on top of the key `parent`; "" where there is none."""
        taken = self.stages(step)
        if not taken or not parent:
            return ""
        ends = [await self._end(stage) for stage in taken]
        own = await self._own(step, parent) if all(ends) else ""
        return cachekeys.digest("definition", own, ends) if own else ""

    async def key(self, definition: str) -> str:
        """What a definition came to where the caches are from; "" if none of them knows."""
        for source in self.request.cache_from if definition else ():
            if found := await source.defined(definition):
                return found
        return ""

    def bases(self, step: Step) -> list[Base]:
        """The images below the stages that a step takes files of."""
        found: list[Base] = []
        todo, seen = self.stages(step), set[int]()
        while todo:
            index = todo.pop()
            if index in seen:
                continue
            seen.add(index)
            origin, parent = self.program.origins.get(index), self.program.plan.stages[index].parent
            found += [origin] if isinstance(origin, Base) else []
            todo += [] if parent is None else [parent]
            todo += [stage for one in self.program.steps[index] for stage in self.stages(one)]
        return found

    async def needed(self) -> list[int]:
        """The stages that must be built, as far as is known: each after its needs."""
        found: set[int] = set()
        todo = [self.program.plan.target]
        while todo:
            index = todo.pop()
            if index not in found:
                found.add(index)
                todo += (await self._walk(index))[1]
        return [index for index in self.program.order if index in found]

    async def _walk(self, index: int) -> tuple[str, list[int]]:
        """The key at the end of a stage ("": not known), and the stages that it needs."""
        parent = self.program.plan.stages[index].parent
        needs = [] if parent is None else [parent]
        key = self._start(index) if parent is None else (await self._walk(parent))[0]
        for step in self.program.steps[index]:
            if not step.layer:
                continue
            context = [one.stage for one in step.sources if one.stage is not None]
            needs += [stage for stage in context if stage not in self.stages(step)]
            if taken := self.stages(step):
                key = await self.key(await self.definition(step, key))
                needs += [] if key else taken
            elif key:
                key = await self._own(step, key)
        return key, needs

    def _start(self, index: int) -> str:
        origin = self.program.origins.get(index)
        if isinstance(origin, Base):
            return cachekeys.base_key(origin.chain_ids, origin.platform)
        return "" if origin is not None else cachekeys.base_key((), self.program.plan.platform)

    async def _end(self, index: int) -> str:
        """What a whole stage is by definition; "" where that cannot be said."""
        if index not in self._ends:
            self._ends[index] = asyncio.ensure_future(self._through(index))
        return await asyncio.shield(self._ends[index])

    async def _through(self, index: int) -> str:
        parent = self.program.plan.stages[index].parent
        key = self._start(index) if parent is None else await self._end(parent)
        for step in self.program.steps[index]:
            if step.layer and key:
                taken = self.stages(step)
                key = await (self.definition(step, key) if taken else self._own(step, key))
        return key

    async def _own(self, step: Step, parent: str) -> str:
        """The key of a step without what it takes of stages; "" where it is known only once it is due."""
        one = step.instruction
        try:
            if isinstance(one, i.Transfer):
                return await self._transfer(step, one, parent)
            places = [await self._place(source.stage) for source in step.sources]
            return await steps.make(self.builder, self.request, step, places, ()).key(parent)
        except EngineError:  # whoever does the step will tell
            return ""

    async def _transfer(self, step: Step, one: i.Transfer, parent: str) -> str:
        if self.stages(step):
            return cachekeys.transfer_key(parent, step, "")
        told = owner.parse(one.chown, classic=False)
        if any(kind(source) != "local" for source in one.sources) or (told and owner.named(told)):
            return ""
        place = await self._place(step.sources[0].stage) if step.sources else None
        known = self.copies.get(id(step))
        copy = copying.Copy(step, place, known=known.known if known else None)
        return cachekeys.transfer_key(parent, step, (await copying.key(self.builder, copy)).digest)

    async def _place(self, stage: int | None) -> Context | None:
        """Where files are that need no stage to be built."""
        if stage is None:
            return await self.context()
        origin = self.program.origins.get(stage)
        return origin if isinstance(origin, Context) else None

    async def close(self) -> None:
        """End what is under way."""
        for task in self._ends.values():
            task.cancel()
        await asyncio.gather(*self._ends.values(), return_exceptions=True)


def shown(program: Program, built: Sequence[int]) -> list[Step]:
    """The steps of stages that are not built, in their order."""
    return [
        step for index in program.order if index not in built for step in program.steps[index] if step.layer
    ]
