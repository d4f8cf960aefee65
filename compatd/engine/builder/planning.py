"""From the text of a Dockerfile to the steps of all stages that are needed; bases are fetched on the way."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from compatd.engine.builder import graph
from compatd.engine.builder.bases import Base, Bases
from compatd.engine.builder.context import Context
from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import lint
from compatd.engine.builder.dockerfile.ignore import Matcher
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.graph import Plan, PlannedStage
from compatd.engine.builder.request import CLASSIC, INSECURE, NETWORK_HOST, BuildRequest
from compatd.engine.builder.scope import SCRATCH
from compatd.engine.builder.state import PATH, State, Step
from compatd.engine.errors import EngineError
from compatd.engine.images.index import Pins
from compatd.engine.images.platform import Platform
from compatd.engine.images.together import together

Origin = Base | Context | EngineError | None
"""What a stage without a parent stands on; None: scratch. An error is told when it is the stage's turn: the
classic builder looks for a base only then.
"""


@dataclass(slots=True)
class Program:
    """Everything that is known before the first step runs. `order`: needed stages, each after its needs."""

    plan: Plan
    order: list[int]
    arguments: int = 0  # ARG instructions before the first FROM
    origins: dict[int, Origin] = field(default_factory=dict)
    steps: dict[int, list[Step]] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)

    @property
    def images(self) -> set[int]:
        """The stages that are but images, which steps take files from."""
        return {index for index in self.order if not self.plan.stages[index].declared}

    @property
    def paths(self) -> list[str] | None:
        """The paths of the build context that steps read; None: all of it. No step: []."""
        found: set[str] = set()
        for steps in self.steps.values():
            for step in steps:
                found.update(_context_paths(step))
        return None if found & {"/", "", "."} else sorted(found)

    def copies(self) -> list[Step]:
        """COPY and ADD of nothing but files of the build context."""
        return [
            step
            for steps in self.steps.values()
            for step in steps
            if isinstance(one := step.instruction, i.Transfer)
            and step.sources == (graph.Source(),)
            and one.sources
            and all(map(_local, one.sources))
        ]

    @property
    def wants_context(self) -> bool:
        """Whether any step reads the build context."""
        return any(
            source.stage is None
            for steps in self.steps.values()
            for step in steps
            for source in _reading(step)
        )


def _reading(step: Step) -> list[graph.Source]:
    """The sources that a step takes files from: not those of mounts that begin empty."""
    one = step.instruction
    if isinstance(one, i.Run):
        pairs = zip(one.mounts, step.sources, strict=False)
        return [source for mount, source in pairs if mount.type == "bind" or mount.source_stage]
    if isinstance(one, i.Transfer) and not any(map(_local, one.sources)):
        return []
    return list(step.sources)


def _local(source: str) -> bool:
    from compatd.engine.builder.sources import kind

    return kind(source) == "local"


def _context_paths(step: Step) -> list[str]:
    one = step.instruction
    if isinstance(one, i.Transfer):
        return (
            [] if not step.sources or step.sources[0].stage is not None else list(filter(_local, one.sources))
        )
    if isinstance(one, i.Run):
        pairs = zip(one.mounts, step.sources, strict=False)
        return [
            mount.source or "/" for mount, source in pairs if mount.type == "bind" and source.stage is None
        ]
    return []


async def prepare(request: BuildRequest, platform: Platform, bases: Bases, pins: Pins) -> Program:
    """Raises DockerfileError, and EngineError for bases that cannot be had."""
    options = replace(request.options, platform=platform, contexts=tuple(request.named))
    program = await asyncio.to_thread(_plan, request, options)
    seen: set[int] = set()
    while new := [index for index in _needed(program.plan, request) if index not in seen]:
        seen.update(new)
        tasks = [
            asyncio.ensure_future(_origin(program, index, request, bases, pins))
            for index in new
            if program.plan.stages[index].parent is None
        ]
        await together(tasks)
        for index in new:
            _trigger(program, index)
    program.order = _needed(program.plan, request)
    ignore = await request.ignore() if callable(request.ignore) else request.ignore
    await asyncio.to_thread(_evaluate, program, request, ignore)
    return program


def _plan(request: BuildRequest, options: graph.Options) -> Program:
    dockerfile = parse(request.dockerfile, request.name)
    arguments = 0
    for node in dockerfile.nodes:
        if node.keyword.lower() == "from":
            break
        arguments += 1
    return Program(graph.plan(dockerfile, options), [], arguments)


def _needed(plan: Plan, request: BuildRequest) -> list[int]:
    if not request.every_stage:
        return plan.needed
    order: list[int] = []
    for index, stage in enumerate(plan.stages[: plan.target + 1]):
        if stage.declared:
            order += [one for one in replace(plan, target=index).needed if one not in order]
    return order


async def _origin(program: Program, index: int, request: BuildRequest, bases: Bases, pins: Pins) -> None:
    stage = program.plan.stages[index]
    platform = stage.platform or program.plan.platform
    if stage.context:
        try:
            found = await request.named[stage.context].resolve(platform, pins)
        except EngineError as error:
            raise BuildError(error.message, locations=[stage.lines]) from error
        if isinstance(found, Base):
            for chain_id in found.chain_ids:
                pins.add(chain_id)
        program.origins[index] = found
        return
    if stage.base == SCRATCH:
        program.origins[index] = None
        return
    try:
        base = await bases.get(stage.base, platform)
    except EngineError as error:
        if request.door == CLASSIC:
            program.origins[index] = error
            return
        name = bases.name(stage.base)
        text = f"{stage.base}: failed to resolve source metadata for {name}: {error.message}"
        raise BuildError(text, locations=[stage.lines]) from error
    lint.check_platform(program.plan.linter, stage.base, str(platform), str(base.platform), stage.lines)
    program.origins[index] = base


def _trigger(program: Program, index: int) -> None:
    stage = program.plan.stages[index]
    triggers: Sequence[str] = ()
    if stage.parent is not None:
        triggers = program.plan.own_triggers(stage.parent)
    else:
        origin = program.origins[index]
        if isinstance(origin, Base) and stage.declared:
            triggers = origin.triggers
    if triggers:
        program.plan = program.plan.with_triggers(index, triggers)


def _evaluate(program: Program, request: BuildRequest, ignore: Matcher | None) -> None:
    for index in program.order:
        stage = program.plan.stages[index]
        origin = program.origins.get(index)
        base: State | Mapping[str, object] | None = None
        if isinstance(origin, EngineError) or (
            stage.parent is not None and stage.parent not in program.states
        ):
            continue
        if stage.parent is not None:
            base = program.states[stage.parent]
        elif isinstance(origin, Base):
            base = origin.document
        elif request.door == CLASSIC:
            base = _classic_scratch(program.plan.platform)
        steps, state = evaluate(program.plan, index, base, ignore)
        program.steps[index], program.states[index] = steps, state
    program.plan.linter.finish()
    if request.door != CLASSIC:
        _check_entitlements(program, request)


def _check_entitlements(program: Program, request: BuildRequest) -> None:
    """Raises EngineError when a RUN wants what the client has not been granted."""
    runs = [step.instruction for steps in program.steps.values() for step in steps if step.kind == "run"]
    for one in runs:
        assert isinstance(one, i.Run)
        network = request.network if one.network == "default" else one.network
        for wanted, name in ((network == "host", NETWORK_HOST), (one.security == "insecure", INSECURE)):
            if wanted and name not in request.entitlements:
                raise EngineError(f"failed to load LLB: {name} is not allowed")


def _classic_scratch(platform: Platform) -> dict[str, object]:
    found: dict[str, object] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        found["variant"] = platform.variant
    return found | {"config": {"Env": [f"PATH={PATH}"]}}


def from_title(program: Program, stage: PlannedStage, base: Base, *, several: bool) -> str:
    """`[one 1/6] FROM docker.io/library/busybox:latest`: the line of a stage's base."""
    if base.line:
        return base.line
    if not stage.declared:
        return f"FROM {base.title}"
    steps = 1 + sum(isinstance(one.instruction, i.Run | i.Transfer | i.Workdir) for one in stage.instructions)
    prefix = f"{stage.platform or program.plan.platform} " if several else ""
    prefix += f"{stage.name} " if stage.name else ""
    return f"[{prefix}{1:{int(1 + math.log10(steps))}}/{steps}] FROM {base.title}"
