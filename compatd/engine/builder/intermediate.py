"""The classic builder's way: each step comes to an image, untagged, and that image is the cache.

A step is cached when the same step on the same image came to an image that is still here, as in dockerd: its
cache goes with the images. What is compared is the whole config, not the words alone (CVE-2024-24557).
"""

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from compatd.engine.builder import cachekeys, snapshots, steps
from compatd.engine.builder.classic.cachefrom import CacheFrom
from compatd.engine.builder.classic.documents import child, config_of
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile.text import show_list
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.planning import Program
from compatd.engine.builder.progress import StepEvent, Vertex
from compatd.engine.builder.records import IMAGE, Record
from compatd.engine.builder.stand import Stand
from compatd.engine.builder.state import Step
from compatd.engine.errors import EngineError
from compatd.engine.images.model import Image

if TYPE_CHECKING:
    from compatd.engine.builder.executor import Execution


MAX_DOCUMENTS = 16 << 20
"""Bytes of one build's: each step's image holds the history of all before it, and they are kept in memory."""
_LONG = 1 << 20  # of them: from then on, each takes too long for the event loop


class Numbers:
    """`Step 3/7`: counts all instructions of the stages that are built, in the order of the Dockerfile."""

    def __init__(self, program: Program, arguments: int) -> None:
        self.first: dict[int, int] = {}
        number = arguments
        for index in sorted(program.order):
            stage = program.plan.stages[index]
            if stage.declared:
                self.first[index] = number + 1
                number += 1 + sum(not one.triggered for one in stage.instructions)
        self.total = number


class Intermediate:
    """Steps of one classic build."""

    def __init__(self, execution: "Execution", numbers: Numbers) -> None:
        self._execution, self._numbers = execution, numbers
        self._builder, self._observer = execution.builder, execution.observer
        self._images = execution.builder.engine.images
        self._index = self._images.index
        self._written = 0
        self._triggers: dict[int, int] = {}  # how many of a stage are still to come
        names = execution.request.cache_images
        self._sources = CacheFrom(self._images, names) if names else None

    async def begin(self, stage: int) -> None:
        """FROM comes."""
        planned = self._execution.program.plan.stages[stage]
        if planned.start:
            await self._tell("begin", stage, planned.start.original, number=self._numbers.first[stage])

    async def began(self, stage: int, stand: Stand) -> None:
        """FROM has been done."""
        planned = self._execution.program.plan.stages[stage]
        if planned.start is None:
            return
        triggers = self._triggers[stage] = sum(one.triggered for one in planned.instructions)
        if triggers:
            await self._tell("triggers", stage, number=triggers)
        else:
            await self._tell("done", stage, image=stand.image)

    async def _tell(
        self, kind: str, stage: int, text: str = "", *, number: int = 0, id: str = "", image: str = ""
    ) -> None:
        event = StepEvent(kind, stage, number, self._numbers.total, text, id, image)
        await self._observer.step(event)

    async def announce(self, stage: int, at: int, step: Step) -> None:
        """An instruction comes, the `at`-th of the stage (from 1; 0 for a triggered one)."""
        if at:
            number = self._numbers.first[stage] + at
            await self._tell("begin", stage, step.instruction.original, number=number)
        test = (step.before.config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        if isinstance(step.instruction, i.Healthcheck) and test[0] != "NONE":
            await self._tell("note", stage, f"overriding previous HEALTHCHECK: {show_list(test)}")

    def missing(self, step: Step, error: EngineError) -> EngineError:
        """What is said of an image that cannot be had, and that a step copies from."""
        one = step.instruction
        images = self._execution.program.images.intersection(source.stage for source in step.sources)
        if not isinstance(one, i.Copy) or not images or isinstance(error, BuildError):
            return error
        return BuildError(f"invalid from flag value {one.source_stage}: {error.message}")

    async def step(self, stage: int, at: int, step: Step, stand: Stand, action: steps.Action | None) -> Stand:
        """Carry out one instruction that was announced."""
        await asyncio.sleep(0)  # many have nothing to wait for, and each takes its milliseconds
        if action:
            await action.key(stand.key)
        created_by = action.created_by() if action else step.classic_created_by
        document = {**step.state.image, "config": config_of(step.state.config, stand.image)}
        key = cachekeys.image_key(stand.image or str(self._execution.platform), created_by, document)
        fresh = self._execution.fresh(stage)
        async with self._builder.cache.alone(f"{key} {self._execution.request.owner}", wait=not fresh):
            image = None if fresh else self._cached(key, step, stand, created_by)
            if image:
                await self._tell("cached", stage)
            else:
                image = await self._make(stage, step, stand, action, created_by)
                self._builder.cache.put(Record(key, IMAGE, created_by, image=image.id))
        for chain_id in image.chain_ids:
            self._execution.pins.add(chain_id)
        self._triggers[stage] -= not at
        if at or not self._triggers[stage]:  # triggers are part of FROM, and end with it
            await self._tell("done", stage, image=image.id)
        stand = stand.after(step.state, image.created)
        return replace(stand, key=key, chain_ids=tuple(image.chain_ids), image=image.id)

    def _cached(self, key: str, step: Step, stand: Stand, created_by: str) -> Image | None:
        image = self._known(key)
        if self._sources is None or (image and self._sources.holds(image)):
            return image
        parent = self._index.images.get(stand.image)
        found = self._sources.find(parent, created_by, step.state.config)
        if found:
            self._builder.cache.put(Record(key, IMAGE, created_by, image=found.id))
        return found

    def _known(self, key: str) -> Image | None:
        record = self._builder.cache.find(key)
        if record is None:
            return None
        self._builder.cache.use(record)
        return self._index.images[record.image]

    async def _make(
        self, stage: int, step: Step, stand: Stand, action: steps.Action | None, created_by: str
    ) -> Image:
        id = "" if isinstance(step.instruction, i.Transfer) else snapshots.new_id()
        if id:
            await self._tell("running", stage, id=id)
        chain_ids = stand.chain_ids
        if action:
            vertex = Vertex(str(stage), step.title)
            if isinstance(action, steps.RunAction):
                action.id = id
            layer = await self._execution.make(action, stand, vertex, keep_empty=False)
            chain_ids = (*chain_ids, layer.chain_id) if layer else chain_ids
        if id:
            await self._tell("removed", stage, id=id)
        about = stage, step, stand, chain_ids, created_by, id
        large = self._written > _LONG
        document = await asyncio.to_thread(self._document, *about) if large else self._document(*about)
        self._written += len(document)
        if self._written > MAX_DOCUMENTS:
            text = f"the configurations of the images of all steps take more than {MAX_DOCUMENTS >> 20} MiB"
            raise BuildError(f"{text}: use BuildKit, or fewer instructions")
        image = self._index.create(document, stand.image)
        self._images.emit(image, "create", image.id)
        return image

    def _document(
        self,
        stage: int,
        step: Step,
        stand: Stand,
        chain_ids: tuple[str, ...],
        created_by: str,
        container: str,
    ) -> bytes:
        parent = self._index.images.get(stand.image)
        platform = {key: step.state.image.get(key) for key in ("architecture", "os", "variant")}
        own = step.state.image.get("author") or ""
        inherited = self._execution.program.steps[stage][0].before.image.get("author")
        new = len(chain_ids) > len(stand.chain_ids)
        return child(
            parent.config if parent else platform,
            step.state.config,
            created_by=created_by,
            created=time.time_ns(),
            parent_id=stand.image,
            author="" if own == inherited else own,
            container=container,
            diff_id=self._execution.diff_ids(chain_ids)[-1] if new else None,
        )
