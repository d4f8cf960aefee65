"""A Dockerfile and a target → the stages that are needed, what each one stands on and takes from.

Pure: the configs of base images are not known here. The caller resolves them for `Plan.needed`, adds their
ONBUILD triggers (`Plan.with_triggers`, which may bring new needs), then evaluates each stage in order
(`evaluate.evaluate`). Source: moby/buildkit frontend/dockerfile/dockerfile2llb (rules, texts of errors).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import lint, typed
from compatd.engine.builder.dockerfile.errors import DockerfileError, Lines, suggested, suggestion
from compatd.engine.builder.dockerfile.expand import Expanded, Lexer
from compatd.engine.builder.dockerfile.mounts import mount_target
from compatd.engine.builder.dockerfile.parser import Dockerfile, parse
from compatd.engine.builder.dockerfile.text import quote
from compatd.engine.builder.scope import (
    SCRATCH,
    check_default_bases,
    global_args,
    lint_options,
    named_context,
    platform_args,
)
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import platform as platforms
from compatd.engine.images.platform import Platform


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from: another stage (its index in Plan.stages), or the build context (None)."""

    stage: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """An instruction, and where it takes files from: one source for COPY and ADD, one a mount for RUN."""

    instruction: i.Instruction
    sources: tuple[Source, ...] = ()
    triggered: bool = False  # by ONBUILD of the base


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage, or an image that COPY --from or a mount names (`declared` false, nothing to do in it).

    Its base is one of: `parent` (a stage), `context` (a named context: the client's name for it), scratch
    (`base` is "scratch"), else the image `base`. `name` is how progress shows it. A context of the stage's
    own name stands for all of it: it has no instructions then.
    """

    index: int
    name: str
    base: str
    start: i.From | None = None
    lines: Lines = (0, 0)
    parent: int | None = None
    context: str = ""
    platform: Platform | None = None  # None: the target's
    instructions: tuple[Planned, ...] = ()

    @property
    def declared(self) -> bool:
        return self.start is not None

    @property
    def needs(self) -> dict[int, Lines]:
        """The other stages that its instructions take from, and where they say so."""
        return {
            source.stage: planned.instruction.lines
            for planned in self.instructions
            for source in planned.sources
            if source.stage is not None
        }


@dataclass(frozen=True, slots=True)
class Options:
    """What a build is asked for. `contexts` are the names of the client's named contexts."""

    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None  # None: the builder's
    contexts: Collection[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    several_platforms: bool = False  # then progress names them
    label_steps: bool = False  # labels are LABEL instructions at the target's end, as in the classic builder


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in the order of the Dockerfile; `target` is the index of the one asked for."""

    stages: tuple[PlannedStage, ...]
    target: int
    options: Options
    build_platform: Platform
    global_args: dict[str, str]
    lexer: Lexer
    linter: lint.Linter
    source: str

    @property
    def platform(self) -> Platform:
        return self.options.platform or self.build_platform

    @property
    def needed(self) -> list[int]:
        """The stages that the target needs, and itself: each one after all that it needs."""
        order: list[int] = []
        seen: set[int] = set()
        stack = [(self.target, False)]
        while stack:
            index, done = stack.pop()
            if done:
                order.append(index)
            elif index not in seen:
                seen.add(index)
                stage = self.stages[index]
                parents = [stage.parent] if stage.parent is not None else []
                stack.append((index, True))
                stack += [(other, False) for other in (*parents, *stage.needs)]
        return order

    def with_triggers(self, index: int, triggers: Iterable[str]) -> "Plan":
        """With the ONBUILD triggers of a stage's base before its instructions. Raises DockerfileError.

        For a stage whose base is another stage `triggers` are that one's own ONBUILD instructions:
        `own_triggers`.
        """
        stage = self.stages[index]
        table = _Table(self.stages, self.options.contexts)
        found = []
        try:
            for trigger in triggers:
                nodes = parse(trigger.encode("utf-8", "surrogateescape")).nodes
                if len(nodes) != 1:
                    raise DockerfileError("onbuild trigger should be a single expression")
                nodes[0].lines = stage.lines
                instruction = typed.instruction(nodes[0])
                if isinstance(instruction, i.From):
                    raise DockerfileError("FROM isn't allowed as an ONBUILD trigger")
                found.append(table.planned(instruction, triggered=True))
        except DockerfileError as error:
            raise DockerfileError(error.message, [stage.lines]) from None
        table.stages[index] = replace(stage, instructions=(*found, *stage.instructions))
        return _checked(replace(self, stages=tuple(table.stages)))

    def own_triggers(self, index: int) -> list[str]:
        """The ONBUILD instructions of a stage, for those that stand on it."""
        planned = self.stages[index].instructions
        return [one.instruction.trigger for one in planned if isinstance(one.instruction, i.Onbuild)]


def plan(dockerfile: Dockerfile, options: Options, build_platform: Platform | None = None) -> Plan:
    """Read all instructions, resolve bases and sources, find the target. Raises DockerfileError.

    `build_platform` is the builder's own, this machine's by default. Warnings are in `Plan.linter`, whose
    `finish` the caller asks at the end of the evaluation.
    """
    linter = lint.Linter(lint_options(dockerfile, options.build_args))
    lint.check_continuations(linter, dockerfile)
    program = typed.program(dockerfile, linter)
    lint.check_program(linter, dockerfile, program.stages)
    here = build_platform or platforms.host()
    lexer = Lexer(dockerfile.escape)
    goal = options.target or program.stages[-1].start.stage
    predefined = platform_args(here, options.platform or here, goal, options.build_args)
    check_default_bases(linter, lexer, program, predefined)
    args, known = global_args(lexer, program.arguments, predefined, options.build_args)
    table = _Table((), options.contexts)
    for stage in program.stages:
        table.add(_Resolver(lexer, args, known | args.keys(), linter, options).stage(stage, table))
    target = table.target(options.target)
    for index, stage in enumerate(program.stages):
        if stage.start.stage and table.stages[index].context == stage.start.stage:
            continue  # the client's context stands for the whole stage
        planned = tuple(map(table.planned, stage.instructions))
        table.stages[index] = replace(table.stages[index], instructions=planned)
    if options.label_steps:
        table.stages[target] = _with_labels(table.stages[target], options.labels)
    stages = tuple(table.stages)
    made = _checked(Plan(stages, target, options, here, args, lexer, linter, dockerfile.source))
    return replace(made, stages=(replace(stages[0], name=""),)) if len(stages) == 1 else made


def _with_labels(stage: PlannedStage, labels: Mapping[str, str]) -> PlannedStage:
    pairs = [i.Pair(key, value) for key, value in sorted(labels.items())]
    added = [
        i.Label(keyword="LABEL", original=f"LABEL {pair}", lines=stage.lines, pairs=(pair,), literal=True)
        for pair in pairs
    ]
    return replace(stage, instructions=(*stage.instructions, *map(Planned, added)))


def _checked(made: Plan) -> Plan:
    """Raise DockerfileError for stages that need each other, or one that comes later."""
    _check_circles(made.stages)
    for index in made.needed:
        stage = made.stages[index]
        for planned in stage.instructions:
            for at, source in enumerate(planned.sources):
                if source.stage is None or source.stage < index or not made.stages[source.stage].declared:
                    continue
                one = planned.instruction
                if isinstance(one, i.Run):
                    name, where = one.mounts[at].source_stage, mount_target(one.mount_flags[at])
                    text = f"cannot mount from stage {quote(name)} to {quote(where)}, stage needs to be defined before current command"  # noqa: E501
                else:
                    name = one.source_stage if isinstance(one, i.Copy) else ""
                    text = f"cannot copy from stage {quote(name)}, it needs to be defined before current stage {quote(stage.name)}"  # noqa: E501
                raise DockerfileError(text, [one.lines])
    return made


@dataclass(slots=True)
class _Resolver:
    """Expands what FROM says."""

    lexer: Lexer
    args: dict[str, str]
    known: set[str]
    linter: lint.Linter
    options: Options

    def stage(self, stage: i.Stage, table: "_Table") -> PlannedStage:
        start = stage.start
        linter = self.linter.with_comments(start.comments)
        index = len(table.stages)
        base = self._word(start.base, start, linter, "")
        if not base.text:
            raise DockerfileError(f"base name ({start.base}) should not be blank", [start.lines])
        found = PlannedStage(index, start.stage or f"stage-{index}", base.text, start, start.lines)
        if start.platform:
            found = replace(found, platform=self._platform(start, linter))
        if start.stage and start.stage in self.options.contexts and start.stage not in (SCRATCH, "context"):
            return replace(found, context=start.stage)
        return replace(found, parent=table.names.get(base.text), context=self._context(base.text, table))

    def _context(self, base: str, table: "_Table") -> str:
        return "" if base in table.names else named_context(base, self.options.contexts)

    def _word(self, text: str, start: i.From, linter: lint.Linter, failed: str) -> Expanded:
        try:
            found = self.lexer.word(text, self.args)
        except DockerfileError as error:
            raise error.at(start.lines, failed) from None
        for name in sorted(found.unset - self.known):
            linter.warn("UndefinedArgInFrom", start.lines, name, hint=suggestion(name, self.known))
        return found

    def _platform(self, start: i.From, linter: lint.Linter) -> Platform:
        given = start.platform
        found = self._word(given, start, linter, "failed to process arguments for platform : ")
        if found.used == {"TARGETPLATFORM"} and not found.unset and found.text == self.args["TARGETPLATFORM"]:
            linter.warn("RedundantTargetPlatform", start.lines, given)
        hints = [hint for name in sorted(found.unset) if (hint := suggestion(name, self.args))]
        meant = f" (did you mean {hints[0]}?)" if hints else ""
        if not found.text:
            raise DockerfileError(f"empty platform value from expression {given}{meant}", [start.lines])
        try:
            platform = platforms.parse(found.text)
        except InvalidParameter as error:
            text = f"failed to parse platform {given}: {error.message}{meant}"
            raise DockerfileError(text, [start.lines, start.lines]) from None
        named = platform.os in start.stage or platform.architecture in start.stage
        if not found.used and not found.unset and not named:
            linter.warn("FromPlatformFlagConstDisallowed", start.lines, quote(found.text))
        return platform


class _Table:
    """Stages as they are found, by index and by name (in lower case)."""

    def __init__(self, stages: Iterable[PlannedStage], contexts: Collection[str]) -> None:
        self.contexts = contexts
        self.stages: list[PlannedStage] = []
        self.names: dict[str, int] = {}
        self.images: dict[str, int] = {}
        for stage in stages:
            self.add(stage)

    def add(self, stage: PlannedStage) -> None:
        self.stages.append(stage)
        if stage.start is None:
            self.images[stage.base] = stage.index
        elif stage.start.stage:
            self.names[stage.start.stage] = stage.index

    def target(self, name: str) -> int:
        if not name:
            return len(self.stages) - 1
        found = self.names.get(name.lower())
        if found is None:
            names = [stage.name for stage in self.stages]
            raise DockerfileError(suggested(f"target stage {quote(name)} could not be found", name, names))
        return found

    def planned(self, instruction: i.Instruction, *, triggered: bool = False) -> Planned:
        sources: list[Source] = []
        if isinstance(instruction, i.Copy) and instruction.source_stage:
            sources.append(self._copy_source(instruction))
        elif isinstance(instruction, i.Transfer):
            sources.append(Source())
        elif isinstance(instruction, i.Run):
            for mount in instruction.mounts:
                name = mount.source_stage
                sources.append(self._source(name, instruction.lines) if name else Source())
        return Planned(instruction, tuple(sources), triggered)

    def _copy_source(self, copy: i.Copy) -> Source:
        name = copy.source_stage
        if Lexer().word(name, {}).text != name:
            raise DockerfileError(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
                "global scope as a workaround"
            )
        digits = name.removeprefix("-").removeprefix("+")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            return self._source(name, copy.lines)
        if not 0 <= int(name) < len(self.stages):
            raise DockerfileError(f"invalid stage index {int(name)}")
        return Source(int(name))

    def _source(self, name: str, lines: Lines) -> Source:
        found = self.names.get(name.lower(), self.images.get(name))
        if found is None:
            found = len(self.stages)
            # A number given to COPY --from could name it from here on, as in BuildKit.
            context = named_context(name, self.contexts)
            self.add(PlannedStage(found, "", name, lines=lines, context=context))
        return Source(found)


def _check_circles(stages: tuple[PlannedStage, ...]) -> None:
    """Raise DockerfileError when stages take files from each other (a base is always an earlier one)."""
    done: set[int] = set()
    for root in range(len(stages)):
        path: dict[int, Lines] = {}
        stack = [(root, (0, 0), False)]
        while stack:
            index, lines, leaving = stack.pop()
            if leaving:
                del path[index]
                done.add(index)
            elif index in path:
                steps = [*list(path.values())[1:], lines]
                name = stages[root].name
                raise DockerfileError(f"circular dependency detected on stage: {name}", steps)
            elif index not in done:
                path[index] = lines
                stack.append((index, lines, True))
                stack += [(other, where, False) for other, where in stages[index].needs.items()]
