"""The classic builder's way: each step comes to an image, untagged, and that image is the cache.

A step is cached when the same step on the same image came to an image that is still here, as in dockerd: its
cache goes with the images. What is compared is the whole config, not the words alone (CVE-2024-24557).
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compatd import VERSION
from compatd.engine import gojson, timestamps
from compatd.engine.builder import cachekeys, snapshots, steps
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.planning import Program
from compatd.engine.builder.progress import StepEvent, Vertex
from compatd.engine.builder.records import IMAGE, Record
from compatd.engine.builder.stand import Stand
from compatd.engine.builder.state import Step
from compatd.engine.containers.commit import tidy
from compatd.engine.containers.merge import CONFIG_DEFAULTS
from compatd.engine.images.model import Image

if TYPE_CHECKING:
    from compatd.engine.builder.executor import Execution

Json = dict[str, Any]


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
        self._index = execution.builder.engine.images.index

    async def begin(self, stage: int, stand: Stand) -> None:
        """FROM has been done."""
        planned = self._execution.program.plan.stages[stage]
        if planned.start is None:
            return
        await self._tell("begin", stage, planned.start.original, number=self._numbers.first[stage])
        await self._tell("done", stage, image=stand.image)
        triggers = sum(one.triggered for one in planned.instructions)
        if triggers:
            await self._tell("triggers", stage, number=triggers)

    async def _tell(
        self, kind: str, stage: int, text: str = "", *, number: int = 0, id: str = "", image: str = ""
    ) -> None:
        event = StepEvent(kind, stage, number, self._numbers.total, text, id, image)
        await self._observer.step(event)

    async def step(self, stage: int, at: int, step: Step, stand: Stand, action: steps.Action | None) -> Stand:
        """Carry out one instruction, the `at`-th of the stage (from 1; 0 for a triggered one)."""
        if at:
            number = self._numbers.first[stage] + at
            await self._tell("begin", stage, step.instruction.original, number=number)
        if action:
            await action.key(stand.key)
        created_by = action.created_by() if action else step.classic_created_by
        document = {**step.state.image, "config": self._config(step, stand)}
        key = cachekeys.image_key(stand.image or str(self._execution.platform), created_by, document)
        async with self._builder.cache.alone(key):
            image = None if self._execution.fresh(stage) else self._known(key)
            if image:
                await self._tell("cached", stage)
            else:
                image = await self._make(stage, step, stand, action, created_by)
                self._builder.cache.put(Record(key, IMAGE, created_by, image=image.id))
        for chain_id in image.chain_ids:
            self._execution.pins.add(chain_id)
        await self._tell("done", stage, image=image.id)
        stand = stand.after(step.state, image.created)
        return replace(stand, key=key, chain_ids=tuple(image.chain_ids), image=image.id)

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
        raw = self._document(step, stand, chain_ids, created_by, id)
        return self._index.create(raw, stand.image)

    def _config(self, step: Step, stand: Stand) -> Json:
        config = {key: value for key, value in step.state.config.items() if key != "ArgsEscaped"}
        return tidy({**CONFIG_DEFAULTS, "OnBuild": None, **config, "Image": stand.image})

    def _document(
        self, step: Step, stand: Stand, chain_ids: tuple[str, ...], created_by: str, container: str
    ) -> bytes:
        """The image's config, as dockerd's commit writes it."""
        moment = timestamps.rfc3339(time.time_ns())
        parent = self._index.images.get(stand.image)
        entry: Json = {"created": moment, "created_by": created_by}
        if len(chain_ids) == len(stand.chain_ids):
            entry["empty_layer"] = True
        config = self._config(step, stand)
        words = [*(step.before.config.get("Shell") or ["/bin/sh", "-c"])]
        said = created_by.removeprefix(" ".join(words) + " ")
        command = list(step.args) if isinstance(step.instruction, i.Run) else _nop(words, said)
        image = step.state.image
        document: Json = {
            "architecture": image.get("architecture") or "",
            "author": image.get("author"),
            "config": config,
            "container": container,
            "container_config": tidy({**config, "Hostname": container[:12], "Cmd": command}),
            "created": moment,
            "docker_version": VERSION,
            "history": [*((parent.config.get("history") if parent else None) or []), entry],
            "os": image.get("os") or "linux",
            "rootfs": {"type": "layers", "diff_ids": self._execution.diff_ids(chain_ids)},
            "variant": image.get("variant"),
        }
        return gojson.dumps({key: value for key, value in document.items() if value})


def _nop(words: list[str], said: str) -> list[str]:
    """The command that a container which does nothing is given; most instructions are a word of their own."""
    mark = "#(nop) "
    spaced = mark + " "
    return [*words, mark, said.removeprefix(spaced)] if said.startswith(spaced) else [*words, said]
