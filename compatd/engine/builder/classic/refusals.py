"""What the classic builder does not do, and says so: found before anything is built."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from compatd.engine.builder.dockerfile import instructions as i
from compatd.engine.builder.dockerfile import parser, typed
from compatd.engine.builder.dockerfile.errors import DockerfileError, Lines
from compatd.engine.builder.dockerfile.text import quote
from compatd.engine.builder.state import PROXIES
from compatd.engine.errors import InvalidParameter

BUILDKIT = (
    "the --{} option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to build "
    "images with BuildKit enabled"
)
_FLAG = re.compile(r"run\s+--([a-z-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the text: what it shows, where that is in the file; `refused` says why it is not done.

    `container`: dockerd makes one for it.
    """

    text: str
    lines: Lines
    refused: str = ""
    container: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A Dockerfile as the classic builder takes it: its steps up to the target, and the ARGs that it has."""

    steps: tuple[Step, ...]
    arguments: frozenset[str]
    global_arguments: int = 0  # how many of the steps are before the first FROM
    continued: tuple[str, ...] = ()  # instructions with empty lines in between

    @property
    def refused(self) -> int | None:
        """The index of the first step that is refused."""
        return next((index for index, step in enumerate(self.steps) if step.refused), None)

    @property
    def first_container(self) -> int | None:
        """The index of the first step for which dockerd makes a container."""
        return next((index for index, step in enumerate(self.steps) if step.container), None)

    def at(self, lines: Lines) -> int | None:
        """The index of the step that is at these lines."""
        return next((index for index, step in enumerate(self.steps) if step.lines == lines), None)


def read(dockerfile: bytes, name: str, target: str, labels: Mapping[str, str]) -> Reading:
    """Linear in the file's size, but long for a large one: off the event loop. Raises InvalidParameter."""
    try:
        parsed = parser.parse(dockerfile, name)
        program = typed.program(parsed)
    except DockerfileError as error:
        raise InvalidParameter(error.classic(name)) from None
    stages = list(program.stages)
    if target:
        names = [stage.start.stage for stage in stages]
        if target.lower() not in names:
            raise InvalidParameter(f"target stage {quote(target)} could not be found")
        stages = stages[: len(names) - names[::-1].index(target.lower())]
    steps = [Step(one.original, one.lines) for one in program.arguments]
    known: set[str] = set()
    arguments = {pair.key for one in program.arguments for pair in one.pairs}
    for index, stage in enumerate(stages):
        used = f"{stage.start.stage} stage name already used" if stage.start.stage in known else ""
        steps.append(Step(stage.start.original, stage.start.lines, used))
        if stage.start.stage:
            known.add(stage.start.stage)
        for one in stage.instructions:
            container = not isinstance(one, i.Transfer)
            steps.append(Step(one.original, one.lines, _refused(one, index), container))
            if isinstance(one, i.Arg):
                arguments |= {pair.key for pair in one.pairs}
    steps += [Step(f"LABEL {key}={labels[key]}", (0, 0), container=True) for key in sorted(labels)]
    ends = set(parsed.empty_continuations)
    continued = tuple(node.original for node in parsed.nodes if node.lines[1] in ends)
    return Reading(tuple(steps), frozenset(arguments), len(program.arguments), continued)


def _refused(one: i.Instruction, stage: int) -> str:
    if isinstance(one, i.Run):
        flag = _FLAG.match(one.original)
        return BUILDKIT.format(flag[1].lower()) if flag else ""
    if not isinstance(one, i.Transfer):
        return ""
    if one.chmod:
        return BUILDKIT.format("chmod")
    if one.contents and not one.sources:
        return f"{'ADD' if isinstance(one, i.Add) else 'COPY'} failed: no source files were specified"
    name = one.source_stage if isinstance(one, i.Copy) else ""
    if re.fullmatch(r"[0-9]{1,9}", name) and int(name) >= stage:
        why = "refers to current build stage" if int(name) == stage else "index out of bounds"
        return f"invalid from flag value {name}: {why}"
    return ""


def unused(given: Mapping[str, str | None], arguments: frozenset[str], triggers: list[str]) -> list[str]:
    """The build arguments that no ARG asked for, sorted; `triggers` are those of the images built on."""
    known = set(arguments)
    for trigger in triggers:
        try:
            one = typed.instruction(parser.parse(trigger.encode("utf-8", "surrogateescape")).nodes[0])
        except DockerfileError:
            continue
        if isinstance(one, i.Arg):
            known |= {pair.key for pair in one.pairs}
    return sorted(name for name in given if name not in known and name.lower() not in PROXIES)
